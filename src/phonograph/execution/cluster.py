"""Tasks in the queue of a cluster, through Parsl: blocks are jobs, and each holds workers that take task after task.

Parsl's worker pool, its interchange on this machine and its Slurm provider carry JSON text to the nodes and a line
about how each task ended back, encrypted.  Results do not pass here: workers write them into files (see
:mod:`phonograph.execution.seam`), so that nothing is lost with a block, the network or this process.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from phonograph import errors
from phonograph.errors import MissingEngineError, UserError, WorkerError, describe_exception, one_line
from phonograph.execution import cluster_worker
from phonograph.execution.cluster_detached import Ledger
from phonograph.execution.cluster_settings import ClusterSettings
from phonograph.execution.seam import Finished, Needs, Task

TICK_S = 0.5
"""Finished tasks are told at least this often, s."""

LARGEST_FAILED_STARTS = 3
"""Blocks that end without any worker, with no task in between, before no more are asked for."""

LONGEST_REFUSAL_S = 600.0
"""Time for which the queue may refuse blocks, or not answer, before the run ends, s."""

_AHEAD = 3
"""Tasks in flight per worker, so that none waits for the driver."""


def _silent(sentence: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True, kw_only=True)
class ParslExecutor:
    """Runs tasks in blocks of a cluster's queue; see :class:`phonograph.execution.seam.Executor`.

    Attributes
    ----------
    settings
        What a block holds, how many there are, and how long they last.
    say
        Called with a sentence about the queue: why a block waits, that one was refused or has ended.
    """

    settings: ClusterSettings
    say: Callable[[str], None] = field(default=_silent)

    @property
    def leaves_work(self) -> bool:
        """Whether blocks outlive this process."""
        return self.settings.detach

    def clear(self, results: Path) -> None:
        """Cancel the blocks that an earlier run of the same store left in the queue; they may still be at work."""
        if self.settings.scheduler == "slurm" and results.is_dir():
            with _parsl():
                from phonograph.execution.cluster_parsl import cancel_earlier
            cancel_earlier(self.settings, results)

    def places(self, needs: Needs) -> int:
        """Return the number of workers of all blocks together."""
        s = self.settings
        return s.max_blocks * s.nodes_per_block * s.workers(needs.cores, needs.memory_GB)

    def run(self, needs: Needs, next_task: Callable[[], Task | None]) -> Generator[list[Finished], None, None]:
        """Run tasks in blocks; see :meth:`phonograph.execution.seam.Executor.run`."""
        first = next_task()
        if first is None:
            return
        # Blocks that outlive this process have only what they were given.
        ahead = 10**9 if self.settings.detach else _AHEAD * self.places(needs)
        with _blocks(self, needs, first.result.parent) as blocks:
            flights: dict[Future[str], Task] = {blocks.submit(first): first}
            while True:
                while len(flights) < ahead and (task := next_task()) is not None:
                    flights[blocks.submit(task)] = task
                if not flights:
                    break
                done, _ = wait(flights, timeout=TICK_S, return_when=FIRST_COMPLETED)
                yield [blocks.told(flights.pop(future), future) for future in done]
                blocks.look()


def finished_of(task: Task, future: Future[str]) -> Finished:
    """Return how a task ended; raises what ended the whole run."""
    error = future.exception()
    if error is not None:
        kind = type(error).__name__
        if kind in ("WorkerLost", "ManagerLost"):
            return Finished(task=task, died=f"its {'worker' if kind == 'WorkerLost' else 'block'} ended under it")
        raise WorkerError(
            f"the blocks can run no task: {one_line(describe_exception(error))}; check that Phonograph and Parsl are "
            "the same versions there (executor.worker_init, python)"
        ) from error
    told = json.loads(future.result())
    if told["error"] == "bug":
        raise RuntimeError(told["message"])
    if told["error"]:
        kind_of = getattr(errors, told["error"], UserError)
        raise kind_of(told["message"])
    return Finished(task=task, died=told["died"], timed_out=told["timed_out"], seconds=told.get("seconds", 0.0))


class _Blocks:
    """The blocks of one run: Parsl's kernel, its executor, and an eye on the queue."""

    def __init__(self, kernel: Any, pool: Any, ledger: Ledger, say: Callable[[str], None]) -> None:
        from parsl.app.python import PythonApp

        self._run = PythonApp(cluster_worker.run, data_flow_kernel=kernel, executors=[pool.label])
        self._pool = pool
        self._ledger = ledger
        self._tell = say
        self._folders = cluster_worker.import_folders()
        self._said: set[str] = set()
        self._refused_since: float | None = None
        self._missing = self._forgiven = 0

    def submit(self, task: Task) -> Future[str]:
        """Hand a task in."""
        self._ledger.add(task.result)
        return self._run(task.text, task.limit_s, self._folders)

    def told(self, task: Task, future: Future[str]) -> Finished:
        """Return how a task ended."""
        self._ledger.remove(task.result)
        # What has just done a task can start: only blocks that fail from now on count.
        self._forgiven = self._missing
        return finished_of(task, future)

    def look(self) -> None:
        """Tell what is new about the queue; raises :class:`WorkerError` where no block will ever come."""
        status = sorted(self._pool.status_facade.items(), key=lambda item: int(item[0]))
        for block, reason in self._reasons():
            self._say(f"block {block} waits in the queue: {reason}")
        submitted = self._pool.blocks_to_job_id
        missing = [block for block, state in status if state.state.name == "MISSING" and block in submitted]
        for block in missing:
            self._say(f"block {block} ended before any of its workers started: {self._last_words(block)}")
        if len(missing) - self._forgiven >= LARGEST_FAILED_STARTS and not _any_runs(status):
            raise WorkerError(
                f"{LARGEST_FAILED_STARTS} blocks ended before any of their workers started: "
                f"{self._last_words(missing[-1])}; check executor.worker_init, python and the shared folder"
            )
        self._missing = len(missing)
        self._look_at_refusals(status[-1][1] if status and status[-1][0] not in submitted else None)

    def _look_at_refusals(self, refused: Any) -> None:
        if refused is None:
            self._refused_since = None
            return
        self._refused_since = self._refused_since or time.monotonic()
        message = one_line(str(refused.message).partition(": ")[2])
        self._say(f"the queue refuses a block, it is asked again: {message}")
        if time.monotonic() - self._refused_since > LONGEST_REFUSAL_S:
            raise WorkerError(f"the queue has refused blocks for {LONGEST_REFUSAL_S:.0f} s: {message}")

    def _reasons(self) -> Iterator[tuple[str, str]]:
        jobs = self._pool.job_ids_to_block
        for job, reason in dict(getattr(self._pool.provider, "reasons", {})).items():
            if reason not in ("", "None"):
                yield f"{jobs.get(job, '?')} (job {job})", reason

    def _last_words(self, block: str) -> str:
        words = getattr(self._pool.provider, "last_words", lambda job: "")(self._pool.blocks_to_job_id.get(block, ""))
        return words or "it wrote no error"

    def _say(self, sentence: str) -> None:
        if sentence not in self._said:
            self._said.add(sentence)
            self._tell(sentence)


def _any_runs(status: list[tuple[str, Any]]) -> bool:
    return any(state.state.name == "RUNNING" for _, state in status)


@contextlib.contextmanager
def _parsl() -> Iterator[None]:
    """Turn an import that fails because Parsl is not there into one sentence."""
    try:
        yield
    except ModuleNotFoundError as error:
        if not str(error.name).startswith("parsl"):
            raise
        raise MissingEngineError(
            'labels on a cluster need Parsl, which is not installed; install it with: pip install "phonograph[cluster]"'
        ) from error


@contextlib.contextmanager
def _blocks(executor: ParslExecutor, needs: Needs, beside: Path) -> Iterator[_Blocks]:
    """Start Parsl, and end its blocks and processes when the block of code ends, or leave them where asked to."""
    with _parsl():
        from phonograph.execution.cluster_parsl import started, stop
    kernel, pool, ledger = started(executor.settings, needs, beside)
    left = False
    try:
        yield _Blocks(kernel, pool, ledger, executor.say)
    except (KeyboardInterrupt, GeneratorExit):
        left = executor.settings.detach
        raise
    finally:
        if not left:
            stop(kernel, pool)
