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
from dataclasses import dataclass
from typing import Any

from phonograph.errors import ConfigurationError
from phonograph.labels.execution import worker
from phonograph.labels.failures import failure
from phonograph.types import Crystal, LabelResult

TICK_S = 0.25
"""Finished labels are handed over at least this often."""

LARGEST_ATTEMPTS = 3
"""A label whose worker dies is tried this often before it is the failure ``crashed``."""

LARGEST_BROKEN_STARTS = 3
LARGEST_BROKEN_RESTARTS = 30
LOST_S = 3.0
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


@dataclass(eq=False)
class _Flight:
    """A job handed to pebble: its slot in the table of processes, its turn in the queue, and what was seen of it."""

    job: Job
    slot: int
    turn: int
    started: float | None = None
    missed: float | None = None


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
        self._processes: Any = None
        self._flights: dict[Future[LabelResult], _Flight] = {}
        self._again: deque[Job] = deque()
        self._turns = 0
        self._latest_started = -1
        self._broken_starts = 0
        self._finished = False
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
                        wait(self._flights, timeout=TICK_S, return_when=FIRST_COMPLETED)
                        outcomes = self._collect()
                    except KeyboardInterrupt:
                        yield self._collect()
                        raise
                    yield outcomes + self._lost() + self._stalled()
            finally:
                self._stop()

    @property
    def _room(self) -> int:
        return 4 * self._workers

    def _fill(self, queue: Iterator[Job]) -> bool:
        """Keep a few jobs per worker in flight; return whether there is anything to wait for."""
        while len(self._flights) < self._room:
            job = self._again.popleft() if self._again else next(queue, None)
            if job is None:
                break
            if not self._submit(job):
                self._again.append(job)
                if self._flights:
                    break  # the pool broke since the last look; its futures say so too and are collected next
                self._restart()
        return bool(self._flights)

    def _submit(self, job: Job) -> bool:
        if self._pool is None:
            self._start()
        slot = min(set(range(self._room)) - {flight.slot for flight in self._flights.values()})
        self._processes[slot] = 0
        crystal = job.crystal
        arguments = (slot, job.labeller, crystal.cell_A, crystal.positions_A, crystal.numbers)
        try:
            future = self._pool.schedule(worker.run, args=arguments, timeout=self._timeout_s)
        except RuntimeError:
            return False
        self._flights[future] = _Flight(job=job, slot=slot, turn=self._turns)
        self._turns += 1
        return True

    def _start(self) -> None:
        from pebble import ProcessPool

        context = multiprocessing.get_context("spawn")
        self._processes = context.RawArray("q", self._room)
        self._pool = ProcessPool(
            max_workers=self._workers,
            initializer=worker.start,
            initargs=(self._tasks, os.getpid(), self._processes),
            context=context,
        )

    def _collect(self) -> list[Outcome]:
        now, outcomes, broken = time.monotonic(), [], False
        for future, flight in list(self._flights.items()):
            if flight.started is None and (future.running() or future.done()):
                flight.started = self._last_sign_of_life = now
                self._latest_started = max(self._latest_started, flight.turn)
            if future.done():
                del self._flights[future]
                if isinstance(future.exception(), BrokenProcessPool):
                    self._again.append(flight.job)
                    broken = True
                else:
                    outcomes.append(self._outcome(future, flight.job))
        if outcomes:
            self._broken_starts, self._finished = 0, True
        if broken:
            # Jobs that pebble had not yet sent to its workers would never hear of it.
            self._again.extend(flight.job for flight in self._flights.values())
            self._flights.clear()
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
        return self._crashed(job, f"exit code {getattr(error, 'exitcode', None)}")

    def _crashed(self, job: Job, how: str) -> Outcome:
        job.crashes += 1
        final = job.crashes >= LARGEST_ATTEMPTS
        if not final:
            self._again.append(job)
        message = f"the worker process died ({how}), {job.crashes} of {LARGEST_ATTEMPTS} attempts"
        return Outcome(job=job, result=failure("crashed", message), final=final)

    def _timed_out(self) -> LabelResult:
        return failure("timeout", f"no result within {self._timeout_s:g} s")

    def _lost(self) -> list[Outcome]:
        """Find jobs whose worker died unnoticed: pebble cannot tell whose job it was if the news cross.

        Either the process that took the job is gone, or the job left the queue (a later one was taken) and nobody
        has it.
        """
        now, outcomes = time.monotonic(), []
        for future, flight in list(self._flights.items()):
            process = self._processes[flight.slot]
            gone = not _exists(process) if process else flight.started is None and flight.turn < self._latest_started
            flight.missed = (flight.missed or now) if gone else None
            if flight.missed is not None and now - flight.missed > LOST_S:
                del self._flights[future]
                outcomes.append(self._crashed(flight.job, "unnoticed"))
        return outcomes

    def _stalled(self) -> list[Outcome]:
        """Start afresh where pebble cannot: a worker killed inside its queue's lock keeps the lock for ever.

        Labels that are far beyond their time limit then count as timed out; the others are computed again.
        """
        now, flights = time.monotonic(), list(self._flights.values())
        limit = self._timeout_s + self._grace_s
        late = [flight for flight in flights if flight.started is not None and now - flight.started > limit]
        waiting = bool(flights) and all(flight.started is None for flight in flights)
        if not late and not (waiting and now - self._last_sign_of_life > STARTUP_S):
            return []
        self._again.extend(flight.job for flight in flights if flight not in late)
        self._flights.clear()
        self._restart()
        return [Outcome(job=flight.job, result=self._timed_out(), final=True) for flight in late]

    def _restart(self) -> None:
        self._stop()
        self._broken_starts += 1
        # Workers that never finished anything will not start to; after the first label, deaths come from outside.
        if self._broken_starts > (LARGEST_BROKEN_RESTARTS if self._finished else LARGEST_BROKEN_STARTS):
            raise ConfigurationError(
                f"worker processes died {self._broken_starts} times in a row without finishing a label; run one label "
                "in this process to see why, and in a script call label() under: if __name__ == '__main__':"
            )
        self._last_sign_of_life = time.monotonic()

    def _stop(self) -> None:
        if self._pool is not None:
            pool, self._pool = self._pool, None
            pool.stop()
            pool.join()


def _exists(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


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
