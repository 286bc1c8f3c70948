"""How far a run of jobs is: how many are done, rate, time left, and what failed."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from phonograph.execution.pace import duration, pace
from phonograph.jobs.job import DONE, FAILURES
from phonograph.types import Progress

SECONDS_BETWEEN_LINES = 60.0
_WINDOW = 200
"""Jobs over which the rate is taken: a grid goes from small models to large ones."""


@dataclass
class JobMeter:
    """Counts jobs that are in the table and tells of them.

    Attributes
    ----------
    what
        What they are called.
    total, known
        Jobs in all, and those that the table had from the start.
    work
        Expected work of the jobs that are to be done, :attr:`Job.work` summed.
    progress
        Called as ``progress(what, done, total)`` after every commit.
    say
        Called with :attr:`text`, a line, once a minute and at the end.
    """

    what: str
    total: int
    known: Counter[str]
    work: float
    progress: Progress | None = None
    say: Callable[[str], None] | None = None
    fresh: Counter[str] = field(default_factory=Counter)
    core_seconds: float = 0.0

    def __post_init__(self) -> None:
        self._last_line = time.monotonic()
        self._worked = 0.0
        self._ends: deque[tuple[float, float]] = deque([(self._last_line, 0.0)], maxlen=_WINDOW)

    def count(self, status: str, core_seconds: float, work: float) -> None:
        """Count one job that is decided."""
        self.fresh[status] += 1
        self.core_seconds += core_seconds
        self._worked += work
        self._ends.append((time.monotonic(), self._worked))

    def tell(self) -> None:
        """Tell how many jobs are in the table."""
        if self.progress is not None:
            self.progress(self.what, self.ended, self.total)
        if self.say is not None and time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            self.say(self.text)

    def close(self) -> None:
        """Say the last line, if anything was computed."""
        if self.say is not None and self.fresh:
            self.say(self.text)

    @property
    def ended(self) -> int:
        """Jobs that are decided."""
        return self.known.total() + self.fresh.total()

    @property
    def rate_per_s(self) -> float:
        """Jobs per second lately; 0 before the first."""
        return (len(self._ends) - 1) / max(time.monotonic() - self._ends[0][0], 1e-9)

    @property
    def seconds_left(self) -> float:
        """Time left if work goes on as lately, s; infinite before the first job."""
        if self.ended >= self.total:
            return 0.0
        start, worked = self._ends[0]
        lately = self._worked - worked
        return (self.work - self._worked) / lately * (time.monotonic() - start) if lately > 0 else math.inf

    @property
    def text(self) -> str:
        """The line: ``study: 120 of 480 jobs done, 2.31 per s, about 3 min left, 1 failed (1 refused)``."""
        both = self.known + self.fresh
        # What one job holds is the caller's: a study counts networks elsewhere, and here jobs.
        unit = "" if self.what == "jobs" else " jobs"
        parts = [f"{self.what}: {both[DONE]} of {self.total}{unit} done"]
        if self.fresh and self.ended < self.total:
            parts.append(pace(self.rate_per_s))
            parts.append(f"about {duration(self.seconds_left)} left")
        failed = {kind: both[kind] for kind in FAILURES if both[kind]}
        words = ", ".join(f"{times} {kind}" for kind, times in failed.items())
        parts.append(f"{sum(failed.values())} failed ({words})" if failed else "none failed")
        if self.fresh:
            parts.append(f"{self.core_seconds / 3600:.3g} core-hours")
        return ", ".join(parts)
