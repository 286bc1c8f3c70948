"""Run an external program for one label: killed with its children in time, its output bounded."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from phonograph.execution import orphans
from phonograph.execution.deadline import remaining_s
from phonograph.labels.execution.worker import ProgramKilled

LARGEST_FILE_BYTES = 2_000_000_000
"""A program that writes a larger file is stopped by the system."""

POLL_S = 0.02
_TAIL_BYTES = 4000
_KILLED_CODES = (-signal.SIGKILL, 128 + signal.SIGKILL)
_LAUNCHERS = ("mpirun", "mpiexec", "mpiexec.hydra", "mpirun.openmpi", "mpiexec.openmpi", "orterun", "prterun", "srun")
_VALUES = ("node", "slot", "core", "socket", "numa", "board", "hwthread", "package", "none")
"""Values of launchers' options that could be names of programs too (``--map-by node``)."""

_MPI = {
    # Open MPI binds the first rank of every run to the first core, where several labels would queue.
    "OMPI_MCA_hwloc_base_binding_policy": "none",
    # Ranks that wait leave their core to others.
    "OMPI_MCA_mpi_yield_when_idle": "1",
}
_AS_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


@dataclass(frozen=True, kw_only=True)
class Ran:
    """How a program ended: exit code (negative: signal; None: it ran out of time), wall seconds, last output."""

    exit_code: int | None
    seconds: float
    tail: str

    @property
    def timed_out(self) -> bool:
        """Whether it was stopped because its time was up."""
        return self.exit_code is None


def find_program(name: str) -> str | None:
    """Return the full path of a program, or None where it is not installed."""
    return shutil.which(name)


def mpi_environment() -> dict[str, str]:
    """Return variables of MPI; started by root, as in containers, Open MPI asks to be told so twice."""
    return {**_MPI, **(_AS_ROOT if os.geteuid() == 0 else {})}


def run_program(
    command: Sequence[str],
    folder: Path,
    *,
    output: str,
    environment: Mapping[str, str] | None = None,
    limit_s: float | None = None,
    largest_file_bytes: int = LARGEST_FILE_BYTES,
) -> Ran:
    """Run ``command`` (a list, never a shell line) in ``folder`` and wait for it.

    The program and everything it starts are killed when its time is up, when it ends, when this process is
    interrupted, and (Linux) when this process dies, however it dies: also ranks of MPI, and children that left the
    process group.

    Parameters
    ----------
    output
        File in ``folder`` that gets the standard output and error.
    environment
        Variables besides those of this process; threads are limited to one unless given.
    limit_s
        Time limit, s; what is left of the label's own limit where that is less.
    largest_file_bytes
        Largest file the program may write, bytes.

    Raises
    ------
    ProgramKilled
        Somebody else killed it (exit code −9, or 137 where a launcher passes that on): the label is tried again.
    """
    limit = min(remaining_s(), limit_s if limit_s is not None else float("inf"))
    started = time.monotonic()
    mark = orphans.new_mark("PROGRAM")
    with (folder / output).open("wb") as stream, orphans.watched(mark):
        process = subprocess.Popen(
            tied_to_parent(command),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {}), mark[0]: mark[1]},
            process_group=0,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file_bytes, largest_file_bytes)),
        )
        try:
            code = _wait(process, started + limit)
        finally:
            _kill(process, mark)
    if code in _KILLED_CODES:
        raise ProgramKilled(f"{Path(command[0]).name}, exit code {code}")
    return Ran(exit_code=code, seconds=time.monotonic() - started, tail=_tail(folder / output))


def tied_to_parent(command: Sequence[str]) -> list[str]:
    """Let the kernel kill the program when its parent dies; ``setpriv`` is part of util-linux.

    Behind a launcher of MPI the ranks are tied to it in the same way, because it gives them process groups of their
    own.  The first argument of a launcher that is a program of this machine is taken for the program it launches.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return list(command)
    tied = [setpriv, "--pdeathsig", "KILL"]
    if Path(command[0]).name in _LAUNCHERS:
        for place, word in enumerate(command[1:], start=1):
            if word not in _VALUES and shutil.which(word) is not None:
                return [*tied, *command[:place], *tied, *command[place:]]
    return [*tied, *command]


def _wait(process: subprocess.Popen[bytes], until: float) -> int | None:
    while (code := process.poll()) is None:
        if time.monotonic() >= until:
            return None
        time.sleep(POLL_S)
    return code


def _kill(process: subprocess.Popen[bytes], mark: tuple[str, str]) -> None:
    """Kill what is left of the group and whoever left it; SIGKILL, because a program may ignore everything else."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    orphans.kill_marked(mark)


def _tail(path: Path) -> str:
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        return stream.read().decode("utf-8", "replace")
