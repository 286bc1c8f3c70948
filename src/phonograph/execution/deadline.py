"""Time limits of the task that this process is working on: one that is asked for, and one that ends the process."""

from __future__ import annotations

import contextlib
import faulthandler
import math
import time
from collections.abc import Iterator

LONGEST_CLOCK_S = 1e8
"""Time limits from here on, three years, are none; the system's clock takes no larger ones."""

_until: list[float] = []


@contextlib.contextmanager
def ended_after(seconds: float, descriptor: int) -> Iterator[None]:
    """Let the system end this process after ``seconds``; it writes where the task hung into ``descriptor``."""
    if seconds < LONGEST_CLOCK_S:
        faulthandler.dump_traceback_later(seconds, exit=True, file=descriptor)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Let :func:`remaining_s` count down from ``seconds`` while the block runs; blocks nest."""
    _until.append(min(time.monotonic() + seconds, *_until) if _until else time.monotonic() + seconds)
    try:
        yield
    finally:
        _until.pop()


def remaining_s() -> float:
    """Return the time left for the task at hand, s; infinite where nothing limits it."""
    return max(0.0, _until[-1] - time.monotonic()) if _until else math.inf
