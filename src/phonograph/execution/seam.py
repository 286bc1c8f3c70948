"""Where work meets what does it: tasks as text go in, files come out.

An executor is told tasks and tells which of them have ended.  It never carries a result: a worker writes what comes
of its task into the task's result file, and the driver takes it from there into its table.  So an executor that
forgets, dies or tells a task twice costs time, never a result.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class Task(Protocol):
    """A piece of work as data; :class:`phonograph.labels.execution.task.LabelTask` is one kind."""

    @property
    def result(self) -> Path:
        """Absolute path of the result file, in a folder that driver and worker share; different for every task."""
        ...

    @property
    def text(self) -> str:
        """The task as one line of JSON that names its entry; see :mod:`phonograph.execution.dispatch`."""
        ...

    @property
    def limit_s(self) -> float:
        """Time after which the task has certainly ended, s, counted from its start, whatever it needs loaded."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Finished:
    """A task that has ended; its result file says what came of it.

    Attributes
    ----------
    task
        The task as it was given.
    died
        How its worker died, in a few words ("killed, perhaps out of memory"); empty where it ended by itself.
    timed_out
        Whether the executor stopped it because :attr:`Task.limit_s` had passed.
    seconds
        Wall time from its start to the death of its worker, s; 0 where nobody knows.
    """

    task: Task
    died: str = ""
    timed_out: bool = False
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Needs:
    """What the tasks of one run have in common.

    Attributes
    ----------
    prepare
        Texts of tasks that a worker does when it starts, so that what takes long to load is there before the first
        task; what they raise is not told.
    cores, memory_GB
        What one task holds while it runs.
    tasks
        How many pieces of work there are; never more workers than that.
    longest_s
        Time that a task may take, s, with what its worker allows beyond its limit.
    what
        What a task is called in sentences.
    """

    prepare: tuple[str, ...] = ()
    cores: int
    memory_GB: float
    tasks: int
    longest_s: float
    what: str = "task"


class Executor(Protocol):
    """Runs tasks somewhere; the local processes and the cluster are two of them."""

    @property
    def leaves_work(self) -> bool:
        """Whether workers go on when :meth:`run` is closed; their result files are then left to the next run."""
        ...

    def clear(self, results: Path) -> None:
        """End what an earlier run left at work for this folder of results; what it has finished stays there."""
        ...

    def places(self, needs: Needs) -> int:
        """Return how many tasks it would run at a time, at least 1; used to cut the work into tasks."""
        ...

    def run(self, needs: Needs, next_task: Callable[[], Task | None]) -> Generator[list[Finished], None, None]:
        """Take tasks from ``next_task`` as there is room, and yield those that have ended.

        ``next_task`` returns None when there is nothing to do for now; after a yield there may be more, because the
        driver sends again what a dead worker left.  The generator ends when ``next_task`` returned None and nothing
        is in flight.  It yields at least every second (an empty list will do), so that the driver can write to its
        store and answer ^C.  Closing it ends every process that it started (or leaves them to finish, where
        :attr:`leaves_work`).

        Every task taken is told exactly once, unless the generator is closed before.  A worker that dies is told
        by :attr:`Finished.died`; trying again is the driver's business.

        Raises
        ------
        UserError
            What :func:`phonograph.execution.dispatch.run` raised (an engine that is not installed, a folder that
            cannot be written), or why no task can run at all; the driver then ends with that sentence.
        """
        ...
