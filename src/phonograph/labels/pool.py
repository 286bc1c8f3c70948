"""Worker processes for labels: one thread each, a time limit per label, and a dead worker loses only its label."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import Any

from phonograph.errors import ConfigurationError
from phonograph.labels import worker
from phonograph.labels.failures import failure
from phonograph.types import Crystal, LabelResult

TICK_S = 0.25
"""Finished labels are handed over at least this often."""

LARGEST_ATTEMPTS = 3
"""A label whose worker dies is tried this often before it is the failure ``crashed``."""

LARGEST_BROKEN_STARTS = 3
GRACE_S = 15.0
STARTUP_S = 300.0
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(eq=False)
class Job:
    """One label to compute: a crystal, the number of its labeller, a name for the caller, and how often it crashed."""

    name: int
    labeller: int
    crystal: Crystal
    crashes: int = 0
    running_since: float | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Outcome:
    """A finished attempt; ``final`` is False for a crash that will be tried again."""

    job: Job
    result: LabelResult
    final: bool


def count_workers(workers: int) -> int:
    """Return the number of worker processes: ``workers``, or one per core that this process may use where 0."""
    if workers < 0:
        raise ConfigurationError(f"workers must be 0 (one per core) or more; got {workers}")
    return workers or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


class WorkerPool:
    """Runs jobs in spawned processes; use :meth:`run`.

    One worker is still a process of its own, so that an engine that aborts takes only its label with it.

    Parameters
    ----------
    tasks
        JSON of each labeller (see :class:`phonograph.labels.task.Calculation`).
    workers
        Number of processes.
    timeout_s
        Time limit of one label, s, counted from the moment its worker, engines loaded, takes it.
    grace_s
        Time beyond that after which the whole pool is taken for stuck and replaced, s.
    """

    def __init__(self, tasks: Sequence[str], *, workers: int, timeout_s: float, grace_s: float = GRACE_S) -> None:
        self._tasks = tuple(tasks)
        self._workers = workers
        self._timeout_s = timeout_s
        self._grace_s = grace_s
        self._pool: Any = None
        self._running: dict[Future[LabelResult], Job] = {}
        self._again: deque[Job] = deque()
        self._broken_starts = 0
        self._last_sign_of_life = time.monotonic()

    def run(self, jobs: Iterable[Job]) -> Generator[list[Outcome], None, None]:
        """Yield lists of finished attempts, at least every :data:`TICK_S` seconds (the list may be empty).

        On an interrupt (^C) what has finished is yielded before :class:`KeyboardInterrupt` goes on; the processes
        are always gone when this generator ends or is closed.
        """
        queue = iter(jobs)
        with _one_thread_per_process():
            try:
                while self._fill(queue):
                    try:
                        wait(self._running, timeout=TICK_S, return_when=FIRST_COMPLETED)
                        outcomes = self._collect()
                    except KeyboardInterrupt:
                        yield self._collect()
                        raise
                    yield outcomes + self._restart_if_stalled()
            finally:
                self._stop()

    def _fill(self, queue: Iterator[Job]) -> bool:
        """Keep a few jobs per worker in flight; return whether any is."""
        while len(self._running) < 4 * self._workers:
            job = self._again.popleft() if self._again else next(queue, None)
            if job is None:
                break
            self._submit(job)
        return bool(self._running)

    def _submit(self, job: Job) -> None:
        if self._pool is None:
            self._pool = self._start()
        job.running_since = None
        crystal = job.crystal
        arguments = (job.labeller, crystal.cell_A, crystal.positions_A, crystal.numbers)
        try:
            future = self._pool.schedule(worker.run, args=arguments, timeout=self._timeout_s)
        except RuntimeError:
            # The pool broke since the last look; its futures say so too and are collected next.
            self._again.append(job)
            if not self._running:
                self._restart()
            return
        self._running[future] = job

    def _start(self) -> Any:
        from pebble import ProcessPool

        return ProcessPool(
            max_workers=self._workers,
            initializer=worker.start,
            initargs=(self._tasks, os.getpid()),
            context=multiprocessing.get_context("spawn"),
        )

    def _collect(self) -> list[Outcome]:
        now, outcomes, broken = time.monotonic(), [], False
        for future, job in list(self._running.items()):
            if future.done():
                del self._running[future]
                if isinstance(future.exception(), BrokenProcessPool):
                    self._again.append(job)
                    broken = True
                else:
                    outcomes.append(self._outcome(future, job))
            elif job.running_since is None and future.running():
                job.running_since = self._last_sign_of_life = now
        if outcomes:
            self._broken_starts, self._last_sign_of_life = 0, now
        if broken:
            self._restart()
        return outcomes

    def _outcome(self, future: Future[LabelResult], job: Job) -> Outcome:
        from pebble import ProcessExpired

        error = future.exception()
        if error is None:
            return Outcome(job=job, result=future.result(), final=True)
        if isinstance(error, TimeoutError):
            return Outcome(job=job, result=self._timed_out(), final=True)
        if not isinstance(error, ProcessExpired):
            raise error
        job.crashes += 1
        final = job.crashes >= LARGEST_ATTEMPTS
        if not final:
            self._again.append(job)
        code = getattr(error, "exitcode", None)
        message = f"the worker process died (exit code {code}), {job.crashes} of {LARGEST_ATTEMPTS} attempts"
        return Outcome(job=job, result=failure("crashed", message), final=final)

    def _timed_out(self) -> LabelResult:
        return failure("timeout", f"no result within {self._timeout_s:g} s")

    def _restart_if_stalled(self) -> list[Outcome]:
        """Start afresh where pebble cannot: a worker killed inside its queue's lock keeps the lock for ever.

        Labels that are far beyond their time limit then count as timed out; the others are computed again.
        """
        now = time.monotonic()
        limit = self._timeout_s + self._grace_s
        started = {job.name: job.running_since for job in self._running.values() if job.running_since is not None}
        late = [job for job in self._running.values() if job.name in started and now - started[job.name] > limit]
        stuck = bool(self._running) and not started and now - self._last_sign_of_life > STARTUP_S
        if not late and not stuck:
            return []
        self._again.extend(job for job in self._running.values() if job not in late)
        self._running.clear()
        self._restart()
        return [Outcome(job=job, result=self._timed_out(), final=True) for job in late]

    def _restart(self) -> None:
        self._stop()
        self._broken_starts += 1
        if self._broken_starts > LARGEST_BROKEN_STARTS:
            raise ConfigurationError(
                f"worker processes died {self._broken_starts} times before finishing a label; run one label in this "
                "process to see why, and in a script call label() under: if __name__ == '__main__':"
            )
        self._last_sign_of_life = time.monotonic()

    def _stop(self) -> None:
        if self._pool is not None:
            pool, self._pool = self._pool, None
            pool.stop()
            pool.join()


@contextlib.contextmanager
def _one_thread_per_process() -> Iterator[None]:
    """Give processes started inside one numerical thread: libraries read these variables when they are loaded."""
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
