"""Means of grouped, weighted and correlated samples: hand-computed errors, and error bars that cover the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonograph.errors import DataError
from phonograph.series import correlation_time, effective_samples, grouped_average


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


def test_weights_count_like_copies_of_one_group() -> None:
    values = np.array([1.0, 3.0, 2.0, 6.0])
    weighted = grouped_average(values, ["a", "b", "c", "d"], np.array([2.0, 1.0, 3.0, 1.0]))
    copies = grouped_average(np.repeat(values, [2, 1, 3, 1]), ["a", "a", "b", "c", "c", "c", "d"])
    assert weighted.mean == pytest.approx(copies.mean)
    assert weighted.standard_error == pytest.approx(copies.standard_error)
    with pytest.raises(DataError, match="4 weights that are not negative; got 3"):
        grouped_average(values, ["a", "b", "c", "d"], np.ones(3))


def test_weighted_error_bars_cover_the_truth() -> None:
    """Samples of N(0, 1) reweighted to N(0.5, 1): the mean becomes 0.5."""
    rng = np.random.default_rng(5)
    hits = []
    for _ in range(1000):
        values = rng.normal(size=400)
        found = grouped_average(values, [str(k) for k in range(400)], np.exp(0.5 * values))
        hits.append(abs(found.mean - 0.5) <= 2 * found.standard_error)
    assert np.mean(hits) == pytest.approx(0.94, abs=0.025)


def test_effective_samples() -> None:
    assert effective_samples(np.full(7, 0.3)) == pytest.approx(7)
    assert effective_samples(np.array([1.0, 0.0, 0.0])) == pytest.approx(1)
    assert effective_samples(np.array([3.0, 1.0])) == pytest.approx(1.6)


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.9, 0.98])
def test_correlation_time_of_an_autoregressive_series(memory: float) -> None:
    """x' = φx + noise has ρ(t) = φ^t, so τ = ½ (1 + φ)/(1 − φ)."""
    from scipy.signal import lfilter

    noise = np.random.default_rng(2).normal(size=400_000)
    expected = 0.5 * (1 + memory) / (1 - memory)
    # Relative error of the estimate: √(2(2W + 1)/n), W = 6τ (Sokal).
    error = math.sqrt(2 * (12 * expected + 1) / len(noise))
    assert correlation_time(lfilter([1.0], [1.0, -memory], noise)) == pytest.approx(expected, rel=5 * error)


def test_correlation_time_of_what_does_not_fluctuate() -> None:
    assert correlation_time(np.full(50, 3.7)) == 0.5
    assert correlation_time(np.array([1.0])) == 0.5
