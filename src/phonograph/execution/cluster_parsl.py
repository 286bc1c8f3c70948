"""Parsl, set up for tasks and ended in order."""

from __future__ import annotations

import contextlib
import hashlib
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

from parsl import Config, DataFlowKernel
from parsl.executors import HighThroughputExecutor
from parsl.executors.high_throughput.executor import DEFAULT_LAUNCH_CMD

from phonograph.errors import ConfigurationError, InputFileError, MissingEngineError
from phonograph.execution.cluster_detached import Ledger
from phonograph.execution.cluster_settings import ClusterSettings
from phonograph.execution.cluster_slurm import cancel_blocks, provider_of
from phonograph.execution.seam import Needs

_PLAIN = re.compile(r"[A-Za-z0-9._/+=,:@~-]+")
_INTERCHANGE = ("-m", "parsl.executors.high_throughput.interchange")
_WORKERS = "-m parsl.executors.high_throughput.process_worker_pool"


def started(settings: ClusterSettings, needs: Needs, beside: Path) -> tuple[Any, Any, Ledger]:
    """Start Parsl's kernel; return it with its pool of blocks and the ledger of its tasks.

    Raises
    ------
    UserError
        A queue that refuses the blocks, settings in which no task fits, or a folder that cannot be used.
    """
    drain_s = settings.drain_s(needs.longest_s)
    workers = settings.workers(needs.cores, needs.memory_GB)
    folder = own_folder(settings, beside)
    label = _label(folder)
    provider = provider_of(settings, _init_lines(settings))
    if settings.scheduler == "slurm":
        cancel_blocks(label)
    ledger = Ledger(folder)
    python = shlex.quote(settings.python or sys.executable)
    pool = HighThroughputExecutor(
        label=label,
        provider=provider,
        launch_cmd=DEFAULT_LAUNCH_CMD.replace("process_worker_pool.py", f"{python} {_WORKERS}", 1),
        interchange_launch_cmd=_interchange_command(settings, ledger, needs.longest_s),
        # Without an address Parsl asks a public service for one.
        address=settings.address or "127.0.0.1",
        worker_port_range=(settings.ports[0], settings.ports[1]),
        cores_per_worker=max(1, needs.cores),
        max_workers_per_node=workers,
        heartbeat_period=settings.heartbeat_s,
        heartbeat_threshold=settings.heartbeat_limit_s,
        drain_period=drain_s,
        block_error_handler=False,
        encrypted=True,
    )
    if not settings.address:
        pool.address, pool.all_addresses = None, own_addresses()
    return DataFlowKernel(_config(settings, pool, folder)), pool, ledger


def cancel_earlier(settings: ClusterSettings, beside: Path) -> None:
    """Cancel the blocks that an earlier run for the same folder of results has left, and wait until they are gone."""
    cancel_blocks(_label(own_folder(settings, beside)))


def _label(folder: Path) -> str:
    """Return the name of the blocks of one folder of results, part of the names of their jobs."""
    return "phonograph-" + hashlib.sha256(str(folder).encode()).hexdigest()[:10]


def _config(settings: ClusterSettings, pool: Any, folder: Path) -> Config:
    return Config(
        executors=[pool],
        run_dir=str(folder),
        strategy="htex_auto_scale",
        strategy_period=min(5.0, settings.poll_s / 3.0),
        max_idletime=settings.idle_s,
        retries=settings.retries,
        retry_handler=_cost,
        usage_tracking=0,
        initialize_logging=False,
    )


def _cost(error: Exception, record: Any) -> float:
    """Let a task go to another block where its block ended; anything else is told at once."""
    return 1.0 if type(error).__name__ == "ManagerLost" else 1e9


def stop(kernel: Any, pool: Any) -> None:
    """Cancel the blocks and end Parsl's processes; what they wrote is removed, with the keys of their connection."""
    jobs = list(pool.job_ids_to_block)
    kernel.cleanup()
    with contextlib.suppress(Exception):
        pool.provider.cancel([job for job in jobs if not pool.provider.resources[job]["status"].terminal])
    shutil.rmtree(kernel.run_dir, ignore_errors=True)


def _interchange_command(settings: ClusterSettings, ledger: Ledger, longest_s: float) -> list[str]:
    """Return what starts Parsl's interchange: it dies with this process, or is told when it may.

    In a session of its own, it does not get the terminal's ^C.
    """
    session = [found] if (found := shutil.which("setsid")) else []
    interchange = [sys.executable, *_INTERCHANGE]
    if settings.detach:
        keeper = [sys.executable, "-m", "phonograph.execution.cluster_detached"]
        return [*session, *keeper, str(ledger.path), ledger.token, str(2.0 * longest_s + 600.0), *interchange]
    if (tie := shutil.which("setpriv")) is None:
        raise MissingEngineError(
            "setpriv is not on PATH, and without it blocks would outlive this process; install util-linux, or set "
            "executor.detach = true"
        )
    return [*session, tie, "--pdeathsig", "TERM", *interchange]


def own_folder(settings: ClusterSettings, beside: Path) -> Path:
    """Return the folder for job scripts and logs, made where missing, whose name job scripts can hold.

    Raises
    ------
    ConfigurationError
        A name with spaces or letters that a shell would read.
    InputFileError
        A folder that cannot be written.
    """
    # Several stores may name one folder: each has its own in it, because a run cancels what it finds there.
    named = Path(settings.folder).expanduser() / _label(beside.absolute()) if settings.folder else None
    folder = (named or beside.with_suffix(".blocks")).resolve()
    if not _PLAIN.fullmatch(str(folder)):
        raise ConfigurationError(
            f"job scripts cannot name the folder {str(folder)!r}: it may have letters, digits and . _ / + = , : @ ~ - "
            "only; set executor.folder to another one that this machine and the nodes share"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / "writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputFileError(f"cannot write {folder}: {error.strerror}; choose another executor.folder") from error
    return folder


def own_addresses() -> set[str]:
    """Return the addresses of this machine's network interfaces; the loopback only where there is no other."""
    import psutil  # type: ignore[import-untyped]  # comes with Parsl

    found = {
        address.address
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family.name == "AF_INET"
    }
    return {address for address in found if not address.startswith("127.")} or found or {"127.0.0.1"}


def _init_lines(settings: ClusterSettings) -> list[str]:
    """Return what a block runs before its workers: one thread each, this Python's programs first, then the user's."""
    lines = ["export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 NUMEXPR_NUM_THREADS=1"]
    lines.append(f"export PARSL_CORES={settings.cores_per_node}")
    if not settings.python:
        lines.append(f"export PATH={shlex.quote(str(Path(sys.prefix) / 'bin'))}:$PATH")
    return [*lines, *settings.worker_init]
