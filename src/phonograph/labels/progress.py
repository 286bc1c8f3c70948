"""How far a labelling run is: labels on disk, rate, time left, and what failed so far."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from phonograph.execution.pace import duration, pace
from phonograph.types import LabelResult, Progress

SECONDS_BETWEEN_LINES = 60.0


@dataclass
class Meter:
    """Counts labels that are on disk and tells of them.

    Attributes
    ----------
    total, known
        Labels in all, and those that the store had from the start.
    progress
        Called as ``progress("labels", done, total)`` after every commit.
    say
        Called with :attr:`text`, a line, once a minute and at the end.
    """

    total: int
    known: int
    progress: Progress | None = None
    say: Callable[[str], None] | None = None
    fresh: int = 0
    core_seconds: float = 0.0
    failures: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._started = self._last_line = time.monotonic()

    def count(self, result: LabelResult, cores: int) -> None:
        """Count one label that is decided."""
        self.fresh += 1
        self.core_seconds += cores * result.seconds
        if result.failure:
            self.failures[result.failure] += 1

    def tell(self) -> None:
        """Tell how many labels are on disk."""
        if self.progress is not None:
            self.progress("labels", self.known + self.fresh, self.total)
        if self.say is not None and time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            self.say(self.text)

    def close(self) -> None:
        """Say the last line, if anything was computed."""
        if self.say is not None and self.fresh:
            self.say(self.text)

    @property
    def rate_per_s(self) -> float:
        """Labels per second of this run, those it found not counted; 0 before the first."""
        return self.fresh / max(time.monotonic() - self._started, 1e-9)

    @property
    def seconds_left(self) -> float:
        """Time left at this rate, s; infinite before the first label."""
        left = self.total - self.known - self.fresh
        return left / self.rate_per_s if self.fresh else (float("inf") if left else 0.0)

    @property
    def text(self) -> str:
        """The line: ``labels: 120 of 5000 on disk, 2.31 per s, 35 min left, 3 failed (2 timeout, 1 crashed)``."""
        waiting = self.failures["waiting"]
        parts = [f"labels: {self.known + self.fresh - waiting} of {self.total} on disk"]
        if self.fresh:
            parts.append(pace(self.rate_per_s))
            parts.append(f"{self.core_seconds / self.fresh:.3g} core-seconds each")
        if self.fresh and self.seconds_left > 0:
            parts.append(f"{duration(self.seconds_left)} left")
        failed = {kind: times for kind, times in sorted(self.failures.items()) if kind != "waiting"}
        classes = ", ".join(f"{times} {kind}" for kind, times in failed.items())
        parts.append(f"{sum(failed.values())} failed ({classes})" if classes else "none failed")
        parts += [f"{waiting} waiting"] if waiting else []
        return ", ".join(parts)
