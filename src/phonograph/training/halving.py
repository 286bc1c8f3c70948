"""Successive halving: many points for a few epochs, the best of them for more.

Source: Jamieson and Talwalkar, AISTATS 51, 240 (2016); Li et al., JMLR 18, 1 (2018).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from phonograph.errors import ConfigurationError
from phonograph.streams import stream
from phonograph.types import FloatArray


def rungs(points: int, first_epochs: int, eta: int, epochs: int) -> tuple[tuple[int, int], ...]:
    """Return (points, epochs) of every rung: n_k = ⌈n₀/ηᵏ⌉ points for min(r₀ηᵏ, R) epochs, up to the full budget R.

    Parameters
    ----------
    points, first_epochs, eta, epochs
        n₀, r₀, η and R.

    Raises
    ------
    ConfigurationError
        No points, or factors below 2.
    """
    if points < 1 or first_epochs < 1 or eta < 2 or epochs < 1:
        raise ConfigurationError(
            f"successive halving needs points, epochs and eta of at least 2; got {points} points, {first_epochs} of "
            f"{epochs} epochs, eta = {eta}"
        )
    found = [(points, min(first_epochs, epochs))]
    while found[-1][1] < epochs:
        count, spent = found[-1]
        found.append((max(1, math.ceil(count / eta)), min(spent * eta, epochs)))
    return tuple(found)


def best(errors: Sequence[float], count: int) -> tuple[int, ...]:
    """Return the places of the ``count`` lowest errors, lowest first; NaN is the worst, equal ones keep their order."""
    values = np.asarray(errors, dtype=np.float64)
    order = np.argsort(np.where(np.isnan(values), np.inf, values), kind="stable")
    return tuple(int(place) for place in order[:count])


def drawn(points: int, count: int, winner: int, seed: int) -> tuple[int, ...]:
    """Return ``count`` points drawn at random without replacement, the winner among them, in rising order."""
    others = [place for place in range(points) if place != winner]
    order = stream(seed, "training", "halving check").permutation(len(others))
    return tuple(sorted([winner, *(others[place] for place in order[: max(0, count - 1)])]))


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Return Spearman's ρ of two lists, mean ranks for ties; NaN where one of them does not vary."""
    left, right = (_ranks(np.asarray(values, dtype=np.float64)) for values in (first, second))
    left, right = left - left.mean(), right - right.mean()
    spread = float(np.sqrt((left @ left) * (right @ right)))
    return float(left @ right) / spread if spread > 0 else math.nan


def _ranks(values: FloatArray) -> FloatArray:
    _, place, counts = np.unique(np.where(np.isnan(values), np.inf, values), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2.0)[place], dtype=np.float64)
