"""The time limit of the label that this process is working on, for engines that start programs of their own."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator

_until: list[float] = []


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Let :func:`remaining_s` count down from ``seconds`` while the block runs; blocks nest."""
    _until.append(min(time.monotonic() + seconds, *_until) if _until else time.monotonic() + seconds)
    try:
        yield
    finally:
        _until.pop()


def remaining_s() -> float:
    """Return the time left for the label at hand, s; infinite where nothing limits it."""
    return max(0.0, _until[-1] - time.monotonic()) if _until else math.inf
