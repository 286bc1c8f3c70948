"""Means of grouped samples: hand-computed errors, and error bars that cover the truth at the nominal rate."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonograph.errors import DataError
from phonograph.thermal import grouped_average


def test_hand_computed() -> None:
    values = np.array([1.0, 3.0, 2.0, 6.0])
    alone = grouped_average(values, ["a", "b", "c", "d"])
    assert alone.mean == 3.0
    assert alone.standard_error == pytest.approx(np.std(values, ddof=1) / 2)
    assert alone.inefficiency == pytest.approx(1.0)
    # Pairs (1, 3) and (2, 6): group means 2 and 4, s = √2, error √2/√2 = 1.
    paired = grouped_average(values, ["p", "p", "q", "q"])
    assert (paired.mean, paired.standard_error, paired.n) == (3.0, pytest.approx(1.0), 4)
    assert paired.standard_error == pytest.approx(np.std(values, ddof=1) * math.sqrt(paired.inefficiency / 4))


def test_undefined_with_one_group() -> None:
    assert math.isnan(grouped_average(np.array([1.0, 2.0]), ["a", "a"]).standard_error)
    assert grouped_average(np.array([1.0]), ["a"]).mean == 1.0


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=20), st.floats(-5, 5), st.floats(0.1, 5))
def test_shift_and_scale(numbers: list[float], shift: float, scale: float) -> None:
    values = np.array(numbers)
    groups = [str(k // 2) for k in range(len(values))] if len(values) > 2 else ["a", "b"]
    first, second = grouped_average(values, groups), grouped_average(scale * values + shift, groups)
    assert second.mean == pytest.approx(scale * first.mean + shift, abs=1e-9)
    assert second.standard_error == pytest.approx(scale * first.standard_error, abs=1e-9)


def test_wrong_use_is_one_sentence() -> None:
    with pytest.raises(DataError, match="at least one value and one group each; got 0 and 0"):
        grouped_average(np.zeros(0), [])
    with pytest.raises(DataError, match="got 2 and 1"):
        grouped_average(np.zeros(2), ["a"])


def coverage(draw, groups: list[str], repeats: int = 1500) -> float:
    """Share of repeats in which the truth, 0, lies within two standard errors of the mean."""
    rng = np.random.default_rng(11)
    found = [grouped_average(draw(rng), groups) for _ in range(repeats)]
    return float(np.mean([abs(average.mean) <= 2 * average.standard_error for average in found]))


def test_copies_and_pairs_cover_only_with_their_groups() -> None:
    size = 40
    groups, alone = [str(k // 2) for k in range(size)], [str(k) for k in range(size)]

    def copies(rng: np.random.Generator) -> np.ndarray:
        return np.repeat(rng.normal(size=size // 2), 2)

    def antithetic(rng: np.random.Generator) -> np.ndarray:
        # P(u) = u₁ + u₁u₂/2: the odd order cancels within a pair, the even one is the same in both.
        first, second = rng.normal(size=(2, size // 2))
        return np.column_stack([first + first * second / 2, -first + first * second / 2]).ravel()

    # Nominal: P(|t| < 2) with 19 degrees of freedom is 0.940; sampling error of the share 0.006.
    assert coverage(copies, groups) == pytest.approx(0.94, abs=0.02)
    assert coverage(copies, alone) < 0.87
    assert coverage(antithetic, groups) == pytest.approx(0.94, abs=0.03)  # a product has heavy tails
    assert coverage(antithetic, alone) > 0.96
