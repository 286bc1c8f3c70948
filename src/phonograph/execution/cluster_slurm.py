"""Slurm, as Parsl's provider of blocks: asked without a shell, at our own pace, and without an accounting database."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from parsl.jobs.states import JobState, JobStatus
from parsl.launchers import SimpleLauncher, SrunLauncher
from parsl.providers import SlurmProvider
from parsl.providers.errors import SubmitException

from phonograph.errors import ConfigurationError, MissingEngineError, WorkerError, one_line
from phonograph.execution.cluster_settings import ClusterSettings

ANSWER_S = 9.0
"""Slurm must answer the first question within this time, s."""

COMMAND_S = 60
"""Later it may be busy for longer, s."""

GONE_S = 40.0
"""Slurm kills a cancelled job 30 s after it was asked to end, s."""

LOOK_S = 0.5

_STATES = {"PD": JobState.PENDING, "CF": JobState.PENDING, "S": JobState.HELD}
_HINTS = {
    "partition": "name a partition that `sinfo` lists in executor.partition",
    "account": "name an account of yours in executor.account",
    "qos": "name a quality of service of yours in executor.qos",
    "node configuration": "ask for less: executor.cores_per_node, memory_per_node_GB, nodes_per_block",
    "time limit": "lower executor.walltime",
    "configuration source": "there is no slurm.conf on this machine; run on the cluster's login node",
    "contact": "wait until `sinfo` answers here, and run again; what is finished is kept",
}


class SlurmBlocks(SlurmProvider):  # type: ignore[misc]
    """Blocks as Slurm jobs.

    Parsl's own provider asks ``squeue`` for job ids, which fails for good once Slurm has forgotten one of them, asks
    once a minute, and leaves a client that does not answer in time running.
    """

    poll_s: float = 15.0
    reasons: dict[str, str]
    refusal: str = ""
    next_try: float = 0.0

    @property
    def status_polling_interval(self) -> float:
        """How often Parsl asks for the state of its jobs, s."""
        return self.poll_s

    def execute_wait(self, cmd: str, timeout: float | None = None) -> tuple[int, str, str]:
        """Run a client program of Slurm; it is ended where it does not answer in time."""
        if cmd.startswith("sacct"):
            return 1, "", "not used"
        return ask(shlex.split(cmd), timeout or COMMAND_S)

    def submit(self, *arguments: Any, **options: Any) -> str:
        """Hand a block in; after a refusal, not again for two polls."""
        if time.monotonic() < self.next_try:
            raise WorkerError(self.refusal)
        try:
            return str(super().submit(*arguments, **options))
        except SubmitException as error:
            self.refusal = one_line(str(error.stderr or error).replace("sbatch: error: ", ""))
            self.next_try = time.monotonic() + 2.0 * self.poll_s
            raise WorkerError(self.refusal) from error

    def _status(self) -> None:
        """Take the states of our jobs from the list of all jobs of this user; no answer is no news."""
        active = {job: entry for job, entry in self.resources.items() if not entry["status"].terminal}
        if not active:
            return
        code, listed, _ = ask(["squeue", "--me", "--noheader", "--format=%i|%t|%r"], COMMAND_S)
        if code:
            return
        states = dict(line.split("|", 1) for line in listed.splitlines() if "|" in line)
        self.reasons = {}
        for job, entry in active.items():
            state, _, reason = states.get(job, "").partition("|")
            found = _STATES.get(state, JobState.RUNNING) if state else JobState.COMPLETED
            if found is JobState.PENDING:
                self.reasons[job] = reason
            entry["status"] = JobStatus(
                found, stdout_path=entry["job_stdout_path"], stderr_path=entry["job_stderr_path"]
            )

    def last_words(self, job: str) -> str:
        """Return the last line that a job wrote to its error file; empty where there is none."""
        try:
            text = Path(self.resources[job]["job_stderr_path"]).read_text(encoding="utf-8", errors="replace")
        except (KeyError, OSError):
            return ""
        lines = [line for line in text.splitlines() if line.strip()]
        return one_line(lines[-1]) if lines else ""


def slurm_blocks(settings: ClusterSettings, init: Sequence[str]) -> SlurmBlocks:
    """Return the provider of blocks; raises a :class:`UserError` of one sentence where Slurm would refuse them."""
    check_queue(settings)
    hours, rest = divmod(settings.walltime_s, 3600)
    launcher = SimpleLauncher(debug=False)
    if settings.nodes_per_block > 1:
        # Since Slurm 22.05 a step does not inherit the cores of its job.
        step = f"--cpus-per-task={settings.cores_per_node} --cpu-bind=none"
        launcher = SrunLauncher(debug=False, overrides=step)
    provider = SlurmBlocks(
        nodes_per_block=settings.nodes_per_block,
        cores_per_node=settings.cores_per_node,
        mem_per_node=settings.memory_per_node_GB or None,
        min_blocks=settings.min_blocks,
        init_blocks=settings.init_blocks,
        max_blocks=settings.max_blocks,
        walltime=f"{hours}:{rest // 60}:{rest % 60}",
        scheduler_options="\n".join(f"#SBATCH {option}" for option in _own_options(settings)),
        worker_init="\n".join(init),
        exclusive=False,
        launcher=launcher,
    )
    provider.poll_s = settings.poll_s
    provider.reasons = {}
    return provider


def check_queue(settings: ClusterSettings) -> None:
    """Ask Slurm whether it would take a block, without handing one in.

    Raises
    ------
    MissingEngineError
        No ``sbatch`` on this machine.
    ConfigurationError
        A block that Slurm refuses, or a Slurm that does not answer; after :data:`ANSWER_S` at most.
    """
    if shutil.which("sbatch") is None:
        raise MissingEngineError(
            "sbatch is not on this machine's PATH; run on the cluster's login node, or remove the executor table to "
            "work on this machine"
        )
    block = [
        f"--nodes={settings.nodes_per_block}",
        "--ntasks-per-node=1",
        f"--cpus-per-task={settings.cores_per_node}",
        f"--time={settings.walltime_s // 60}",
        *([f"--mem={settings.memory_per_node_GB}g"] if settings.memory_per_node_GB else []),
    ]
    code, _, answer = ask(["sbatch", "--test-only", *block, *_own_options(settings), "--wrap=true"], ANSWER_S)
    if code:
        reason = one_line(answer.replace("sbatch: error: ", "").replace("allocation failure: ", ""))
        reason = reason.rpartition("fatal: ")[2]
        hint = next((hint for word, hint in _HINTS.items() if word in reason.lower()), "see the executor table")
        told = reason or f"exit code {code}"
        raise ConfigurationError(f"Slurm takes no block as the executor table asks for: {told}; {hint}")


def cancel_blocks(label: str) -> None:
    """Cancel the jobs that an earlier run of the same label store has left in the queue, and wait until they end."""
    until = time.monotonic() + GONE_S
    if jobs := _jobs_of(label):
        ask(["scancel", *jobs], COMMAND_S)
    while jobs and time.monotonic() < until:
        time.sleep(LOOK_S)
        jobs = _jobs_of(label)


def _jobs_of(label: str) -> list[str]:
    code, listed, _ = ask(["squeue", "--me", "--noheader", "--format=%i|%j"], COMMAND_S)
    return [line.split("|")[0] for line in listed.splitlines() if f".{label}." in line] if code == 0 else []


def ask(command: Sequence[str], seconds: float) -> tuple[int, str, str]:
    """Return exit code, output and error messages of a client program of Slurm."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return 1, "", f"Unable to contact slurm controller ({command[0]} gave no answer within {seconds:g} s)"
    except OSError as error:
        return 127, "", f"{command[0]}: {error.strerror}"
    return done.returncode, done.stdout, done.stderr


def _own_options(settings: ClusterSettings) -> list[str]:
    named = {"partition": settings.partition, "account": settings.account, "qos": settings.qos}
    return [f"--{name}={value}" for name, value in named.items() if value] + list(settings.scheduler_options)


def provider_of(settings: ClusterSettings, init: Sequence[str]) -> Any:
    """Return Parsl's provider for ``settings.scheduler``."""
    if settings.scheduler == "slurm":
        return slurm_blocks(settings, init)
    from parsl.providers import LocalProvider

    return LocalProvider(
        nodes_per_block=settings.nodes_per_block,
        min_blocks=settings.min_blocks,
        init_blocks=settings.init_blocks,
        max_blocks=settings.max_blocks,
        worker_init="\n".join(init) + "\n",
        launcher=SimpleLauncher(debug=False),
    )
