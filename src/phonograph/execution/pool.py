"""Worker processes of this machine: a time limit per task, and a dead worker loses only the task at hand."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

from phonograph.errors import ConfigurationError
from phonograph.execution import orphans, process
from phonograph.execution.memory import fitting
from phonograph.execution.seam import Finished, Needs, Task

TICK_S = 0.25
"""Finished tasks are handed over at least this often."""

TASKS_PER_WORKER = 2
"""One to work on and one that waits, so that a worker never waits for the driver."""

LARGEST_BROKEN_STARTS = 3
LARGEST_BROKEN_RESTARTS = 30
LOST_S = 3.0
STARTUP_S = 300.0
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(eq=False)
class _Flight:
    """A task handed to pebble: its slot in the table of processes, its turn in the queue, and what was seen of it."""

    task: Task
    slot: int
    turn: int
    started: float | None = None
    missed: float | None = None


class WorkerPool:
    """The executor of this machine: spawned processes with one thread each.

    One worker is still a process of its own, so that code that aborts takes only its task with it.

    Parameters
    ----------
    workers
        Number of processes; 0: as many as cores and free memory allow (see
        :func:`phonograph.execution.memory.fitting`).
    say
        Called with a sentence where memory, not cores, decides their number.
    """

    def __init__(self, workers: int = 0, *, say: Callable[[str], None] | None = None) -> None:
        if workers < 0:
            raise ConfigurationError(f"workers must be 0 (as many as fit) or more; got {workers}")
        self._asked = workers
        self._say = say
        self._workers = 1
        self._needs: Needs | None = None
        self._pool: Any = None
        self._processes: Any = None
        self._flights: dict[Future[None], _Flight] = {}
        self._again: deque[Task] = deque()
        self._mark = ("", "")
        self._turns = 0
        self._latest_started = -1
        self._broken_starts = 0
        self._any_finished = False
        self._last_sign_of_life = time.monotonic()

    @property
    def leaves_work(self) -> bool:
        """False: worker processes die with this one."""
        return False

    def clear(self, results: Path) -> None:
        """Do nothing: no worker process outlives its driver."""

    def places(self, needs: Needs) -> int:
        """Return the number of worker processes for such tasks."""
        count, why = (self._asked, "") if self._asked else fitting(needs.cores, needs.memory_GB, what=needs.what)
        if why and self._say is not None and count < needs.tasks:
            self._say(why)
            self._say = None
        return max(1, min(count, needs.tasks))

    def run(self, needs: Needs, next_task: Callable[[], Task | None]) -> Generator[list[Finished], None, None]:
        """Yield lists of ended tasks, at least every :data:`TICK_S` seconds (the list may be empty).

        On an interrupt (^C) what has ended is yielded before :class:`KeyboardInterrupt` goes on.  When this generator
        ends or is closed, and when this process dies, every process it started is gone, and what those started.
        """
        self._needs, self._workers = needs, self.places(needs)
        self._mark = orphans.new_mark("POOL")
        with orphans.scratch(self._mark) as scratch, _environment(self._mark, scratch):
            try:
                while self._fill(next_task):
                    try:
                        wait(self._flights, timeout=TICK_S, return_when=FIRST_COMPLETED)
                        ended = self._collect()
                    except KeyboardInterrupt:
                        yield self._collect()
                        raise
                    yield ended + self._lost() + self._stalled()
            finally:
                self._stop()

    @property
    def _what(self) -> str:
        return self._needs.what if self._needs else "task"

    @property
    def _room(self) -> int:
        return TASKS_PER_WORKER * self._workers

    def _fill(self, next_task: Callable[[], Task | None]) -> bool:
        """Keep a task per worker waiting; return whether there is anything to wait for."""
        while len(self._flights) < self._room:
            task = self._again.popleft() if self._again else next_task()
            if task is None:
                break
            if not self._submit(task):
                self._again.append(task)
                if self._flights:
                    break  # the pool broke since the last look; its futures say so too and are collected next
                self._restart()
        return bool(self._flights)

    def _submit(self, task: Task) -> bool:
        if self._pool is None:
            self._start()
        slot = min(set(range(self._room)) - {flight.slot for flight in self._flights.values()})
        self._processes[slot] = 0
        try:
            with _interrupts_held_back():  # the first task starts pebble's processes
                future = self._pool.schedule(process.run, args=(slot, task.text), timeout=task.limit_s)
        except RuntimeError:
            return False
        self._flights[future] = _Flight(task=task, slot=slot, turn=self._turns)
        self._turns += 1
        return True

    def _start(self) -> None:
        from pebble import ProcessPool

        context = multiprocessing.get_context("spawn")
        self._processes = context.RawArray("q", self._room)
        prepare = self._needs.prepare if self._needs else ()
        self._pool = ProcessPool(
            max_workers=self._workers,
            initializer=process.start,
            initargs=(prepare, os.getpid(), self._processes),
            context=context,
        )

    def _collect(self) -> list[Finished]:
        now, ended, broken = time.monotonic(), [], False
        for future, flight in list(self._flights.items()):
            if flight.started is None and (future.running() or future.done()):
                flight.started = self._last_sign_of_life = now
                self._latest_started = max(self._latest_started, flight.turn)
            if future.done():
                del self._flights[future]
                if isinstance(future.exception(), BrokenProcessPool):
                    self._again.append(flight.task)
                    broken = True
                else:
                    ended.append(_ended(future, flight.task, now - (flight.started or now)))
        if ended:
            self._broken_starts, self._any_finished = 0, True
        if any(one.died or one.timed_out for one in ended):
            orphans.kill_abandoned(self._mark)
        if broken:
            # Tasks that pebble had not yet sent to its workers would never hear of it.
            self._again.extend(flight.task for flight in self._flights.values())
            self._flights.clear()
            self._restart()
        return ended

    def _lost(self) -> list[Finished]:
        """Find tasks whose worker died unnoticed: pebble cannot tell whose task it was if the news cross.

        Either the process that took the task is gone, or the task left the queue (a later one was taken) and nobody
        has it.
        """
        now, ended = time.monotonic(), []
        for future, flight in list(self._flights.items()):
            worker = self._processes[flight.slot]
            gone = not _exists(worker) if worker else flight.started is None and flight.turn < self._latest_started
            flight.missed = (flight.missed or now) if gone else None
            if flight.missed is not None and now - flight.missed > LOST_S:
                del self._flights[future]
                held = flight.missed - (flight.started or flight.missed)
                ended.append(Finished(task=flight.task, died="gone without a word", seconds=held))
        return ended

    def _stalled(self) -> list[Finished]:
        """Start afresh where pebble cannot: a worker killed inside its queue's lock keeps the lock for ever.

        Tasks that are beyond their time limit then count as timed out; the others are done again.
        """
        now, flights = time.monotonic(), list(self._flights.values())
        late = [one for one in flights if one.started is not None and now - one.started > one.task.limit_s + LOST_S]
        waiting = bool(flights) and all(flight.started is None for flight in flights)
        if not late and not (waiting and now - self._last_sign_of_life > STARTUP_S):
            return []
        self._again.extend(flight.task for flight in flights if flight not in late)
        self._flights.clear()
        self._restart()
        return [Finished(task=flight.task, timed_out=True) for flight in late]

    def _restart(self) -> None:
        self._stop()
        self._broken_starts += 1
        # Workers that never finished anything will not start to; after the first task, deaths come from outside.
        if self._broken_starts > (LARGEST_BROKEN_RESTARTS if self._any_finished else LARGEST_BROKEN_STARTS):
            raise ConfigurationError(
                f"worker processes died {self._broken_starts} times in a row without finishing a {self._what}; run one "
                f"{self._what} in this process to see why, and in a script start it under: if __name__ == '__main__':"
            )
        self._last_sign_of_life = time.monotonic()

    def _stop(self) -> None:
        if self._pool is not None:
            pool, self._pool = self._pool, None
            pool.stop()
            pool.join()
            orphans.kill_abandoned(self._mark)


def _ended(future: Future[None], task: Task, seconds: float) -> Finished:
    """Translate pebble's news; what the worker raised is raised."""
    from pebble import ProcessExpired

    error = future.exception()
    if error is None:
        return Finished(task=task)
    if isinstance(error, TimeoutError):
        return Finished(task=task, timed_out=True)
    if not isinstance(error, ProcessExpired):
        raise error
    return Finished(task=task, died=how_it_died(getattr(error, "exitcode", None)), seconds=seconds)


def how_it_died(exit_code: int | None) -> str:
    """Return a few words about a process that ended with this code (negative: by this signal)."""
    if exit_code == -signal.SIGKILL:
        return "killed, perhaps out of memory"
    if exit_code is not None and exit_code < 0:
        with contextlib.suppress(ValueError):
            return f"signal {signal.Signals(-exit_code).name}"
    return f"exit code {exit_code}"


def _exists(worker: int) -> bool:
    try:
        os.kill(worker, 0)
    except ProcessLookupError:
        return False
    return True


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Hold ^C back while processes start: they inherit that, and do not die in the middle of an import."""
    # Starting multiprocessing's own helper ends with ^C let through, so it must run already.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _environment(mark: tuple[str, str], scratch: str) -> Iterator[None]:
    """Mark the processes started inside, and give them one numerical thread: libraries read these when loaded."""
    wanted = {**dict.fromkeys(_ONE_THREAD, "1"), mark[0]: mark[1], "TMPDIR": scratch}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
