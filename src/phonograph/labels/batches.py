"""Cut the missing labels into tasks, and decide what comes of each task that has ended."""

from __future__ import annotations

import math
import uuid
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from phonograph.execution.seam import Finished
from phonograph.labels.attempts import SUFFIX, Attempt
from phonograph.labels.execution.entry import BATCH_S, decides
from phonograph.labels.execution.task import LabelTask
from phonograph.labels.failures import failure
from phonograph.labels.plan import Place, Work
from phonograph.labels.results import Brought, brought_by

LARGEST_DEATHS = 3
"""A label whose worker dies is tried this often before it is the failure ``crashed``."""

LARGEST_BATCH = 500
_FORGETTING = 0.5


@dataclass(frozen=True)
class Decided:
    """What one ended task gave: attempts with the label each belongs to, and the files to delete once it is stored."""

    attempts: tuple[tuple[Attempt, Place], ...]
    files: tuple[Path, ...]


@dataclass
class Batches:
    """The tasks of one run.

    Slow labels are tasks of their own; of fast ones as many go together as take :data:`BATCH_S`, because a file that
    is safely on disk costs some ten milliseconds.  What a dead worker left over is sent again; the label it was
    working on has died once more.

    Attributes
    ----------
    missing
        Labels to compute; all calculations take the same number of cores.
    places
        Tasks that run at a time.
    """

    work: Work
    missing: Sequence[Place]
    places: int
    timeout_s: float
    folder: Path
    deaths: Counter[Place] = field(default_factory=Counter)
    flying: dict[Path, tuple[LabelTask, tuple[Place, ...]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._run = uuid.uuid4().hex[:12]
        self._count = 0
        self._again: deque[Place] = deque()
        self._queues: dict[int, deque[Place]] = {}
        for place in self.missing:
            self._queues.setdefault(place[1], deque()).append(place)
        self._seconds: dict[int, float] = {}

    def next_task(self) -> LabelTask | None:
        """Return the next task, or None where there is none for now."""
        places = self._next_places()
        if not places:
            return None
        task = LabelTask(
            calculation=self.work.calculations[places[0][1]],
            structures=tuple(self.work.structures[s] for s, _ in places),
            timeout_s=self.timeout_s,
            result=self.folder.absolute() / f"{self._run}-{self._count}{SUFFIX}",
        )
        self._count += 1
        self.flying[task.result] = (task, places)
        return task

    def _next_places(self) -> tuple[Place, ...]:
        if self._again:
            # What was in a dead worker's hands goes alone, so that it can take nothing with it.
            return (self._again.popleft(),)
        waiting = [queue for queue in self._queues.values() if queue]
        if not waiting:
            return ()
        queue = min(waiting, key=lambda candidate: candidate[0])
        return tuple(queue.popleft() for _ in range(self._size(queue)))

    def _size(self, queue: deque[Place]) -> int:
        """Return how many labels go together: half a second of work, and towards the end less, so that all work."""
        seconds = self._seconds.get(queue[0][1])
        by_time = 1 if seconds is None else max(1, min(LARGEST_BATCH, int(BATCH_S / max(seconds, 1e-9))))
        return min(by_time, math.ceil(len(queue) / (2 * self.places)))

    def ended(self, finished: Finished) -> Decided:
        """Read what an ended task left, and plan again what it did not decide."""
        task, places = self.flying.pop(finished.task.result)
        found = brought_by(task.result)
        attempts = _of_task(found, places, self.work)
        self._learn(places[0][1], [one.result.seconds for one, _ in attempts])
        last = {place: number for number, (_, place) in enumerate(attempts)}
        for place, number in last.items():
            if not decides(attempts[number][0]):
                attempts[number] = (self._counted(attempts[number][0], place), place)
        untouched = [place for place in places if place not in last]
        if untouched and (not found.whole or not last):
            attempts.append((self._death(untouched[0], finished, found), untouched[0]))
            untouched = untouched[1:]
        self._queues.setdefault(places[0][1], deque()).extendleft(reversed(untouched))
        return Decided(tuple(attempts), found.files)

    def _counted(self, attempt: Attempt, place: Place) -> Attempt:
        """Count a death of the label at hand: it is sent again, or its last attempt decides."""
        self.deaths[place] += 1
        final = self.deaths[place] >= LARGEST_DEATHS
        if not final:
            self._again.append(place)
        message = f"{attempt.result.message}, {self.deaths[place]} of {LARGEST_DEATHS} attempts"
        return replace(attempt, final=final, result=replace(attempt.result, message=message))

    def _death(self, place: Place, finished: Finished, found: Brought) -> Attempt:
        """Return the attempt at the label at hand that its worker did not survive."""
        structure, item = self.work.structures[place[0]], self.work.calculations[place[1]]
        if finished.timed_out or found.timed_out:
            result = replace(failure("timeout", f"no result within {self.timeout_s:g} s"), seconds=self.timeout_s)
            return Attempt(structure=structure, calculation=item, result=result, cores=item.cores)
        how = f"the worker process died ({finished.died})" if finished.died else "the worker left no sound result"
        # What it had finished of its task has its own time.
        seconds = max(0.0, finished.seconds - sum(one.result.seconds for one in found.attempts))
        result = replace(failure("crashed", how), seconds=seconds)
        attempt = Attempt(structure=structure, calculation=item, result=result, final=False, cores=item.cores)
        return self._counted(attempt, place)

    def _learn(self, calculation: int, seconds: Sequence[float]) -> None:
        if seconds:
            mean = sum(seconds) / len(seconds)
            before = self._seconds.get(calculation, mean)
            self._seconds[calculation] = before + _FORGETTING * (mean - before)

    def salvage(self) -> list[Decided]:
        """Return what the tasks in flight have finished; their workers are gone."""
        found = []
        for task, places in self.flying.values():
            brought = brought_by(task.result)
            found.append(Decided(tuple(_of_task(brought, places, self.work)), brought.files))
        self.flying.clear()
        return found


def _of_task(found: Brought, places: Sequence[Place], work: Work) -> list[tuple[Attempt, Place]]:
    """Return the attempts with their labels; those at anything else, which no task asked for, are left out."""
    calculation = work.calculations[places[0][1]].key
    place_of = {work.structures[place[0]].key: place for place in places}
    return [
        (one, place_of[one.structure.key])
        for one in found.attempts
        if one.calculation.key == calculation and one.structure.key in place_of
    ]
