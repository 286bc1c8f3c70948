"""Words for how fast work goes and how long it will take."""

from __future__ import annotations


def pace(per_s: float) -> str:
    """Return a rate, 1/s, as ``2.31 per s``, or below one per second as ``3.5 s each``."""
    return f"{per_s:.3g} per s" if per_s >= 1 else f"{1 / per_s:.3g} s each"


def duration(seconds: float) -> str:
    """Return a time in the largest unit that leaves two digits."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
