"""Corrected tests: the published formulas, the right rate of false claims, and many comparisons."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from phonograph.errors import DataError
from phonograph.evaluation import corrected_t, holm, overlap_ratio


def test_corrected_t_is_the_published_formula() -> None:
    values = np.array([0.3, 0.1, 0.25, -0.05, 0.2])
    n_test, n_train = 30, 70
    found = corrected_t(values, overlap_ratio(n_test, n_train))
    error = np.sqrt((1 / 5 + 30 / 70) * values.var(ddof=1))
    assert found.standard_error == pytest.approx(error)
    assert found.t == pytest.approx(values.mean() / error)
    assert found.p == pytest.approx(2 * scipy.stats.t.sf(abs(found.t), 4))
    assert found.interval.high == pytest.approx(values.mean() + scipy.stats.t.ppf(0.975, 4) * error)
    assert (found.p < 0.05) == (found.interval.low > 0)


def test_without_overlap_it_is_the_paired_t_test() -> None:
    first, second = np.random.default_rng(0).normal(size=(2, 12))
    other = scipy.stats.ttest_rel(first, second)
    found = corrected_t(first - second, 0.0)
    assert (found.t, found.p) == pytest.approx((other.statistic, other.pvalue))


def test_share_of_what_is_available() -> None:
    assert overlap_ratio(30, 70) == pytest.approx(30 / 70)
    assert overlap_ratio(30, 70, 100) == pytest.approx(30 / 70)
    assert overlap_ratio(30, 25, 300) == pytest.approx(0.1 / 0.9)
    assert overlap_ratio(30, 400, 300) == pytest.approx(30 / 400)
    with pytest.raises(DataError, match="needs test and training samples"):
        overlap_ratio(0, 10)


def test_one_split_says_nothing() -> None:
    found = corrected_t([0.3], 0.2)
    assert found.interval.value == 0.3
    assert not found.interval.known
    assert np.isnan(found.p)
    assert corrected_t([0.0, 0.0, 0.0], 0.2).p == 1.0
    assert corrected_t([0.1, np.nan, 0.1], 0.2).p == 0.0


def ridge_error(train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]) -> float:
    x, y = train
    weights = np.linalg.solve(x.T @ x + 0.1 * np.eye(x.shape[1]), x.T @ y)
    return float(np.abs(test[0] @ weights - test[1]).mean())


def false_claims(simulations: int, n_train: int, *, pool: int = 120, n_test: int = 24, seeds: int = 10) -> np.ndarray:
    """Return the share of worlds in which a difference is claimed although there is none: (corrected, naive).

    Models train on two pools of the same law and are tested on a part of the first.  Each simulation has its own
    pools; each seed draws test part and subsets from them.
    """
    rng = np.random.default_rng(3)
    weights = rng.normal(size=6)

    def draw() -> tuple[np.ndarray, np.ndarray]:
        x = rng.normal(size=(pool, 6))
        return x, x @ weights + 0.5 * np.abs(x[:, 0]) * rng.normal(size=pool)

    claims = np.zeros(2)
    for _ in range(simulations):
        own, other = draw(), draw()
        values = []
        for _ in range(seeds):
            first, second = rng.permutation(pool), rng.permutation(pool)
            test, mine, theirs = first[:n_test], first[n_test : n_test + n_train], second[:n_train]
            tested = (own[0][test], own[1][test])
            values.append(
                ridge_error((own[0][mine], own[1][mine]), tested)
                - ridge_error((other[0][theirs], other[1][theirs]), tested)
            )
        ratio = overlap_ratio(n_test, n_train, pool)
        claims += [corrected_t(values, ratio).p < 0.05, corrected_t(values, 0.0).p < 0.05]
    return claims / simulations


@pytest.mark.parametrize("n_train", [24, 90])
def test_false_claims_stay_below_the_level_and_the_naive_test_does_not(n_train: int) -> None:
    corrected, naive = false_claims(300, n_train)
    assert corrected <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)
    assert naive > 0.08


def test_real_differences_are_found() -> None:
    rng = np.random.default_rng(1)
    found = [corrected_t(0.02 + 0.01 * rng.normal(size=10), 0.2).p < 0.05 for _ in range(200)]
    assert np.mean(found) > 0.9


def test_holm_on_the_textbook_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    with_hole = holm([0.01, np.nan, 0.04])
    assert with_hole[[0, 2]] == pytest.approx([0.02, 0.04])
    assert np.isnan(with_hole[1])
    assert len(holm([])) == 0


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=7))
def test_holm_is_the_closed_test_of_bonferroni(p_values: list[float]) -> None:
    """Second route: a hypothesis is rejected when Bonferroni rejects every intersection that holds it."""
    corrected = holm(p_values)
    for place in range(len(p_values)):
        others = [i for i in range(len(p_values)) if i != place]
        closed = max(
            min(1.0, (len(members) + 1) * min(p_values[i] for i in (*members, place)))
            for count in range(len(others) + 1)
            for members in itertools.combinations(others, count)
        )
        assert corrected[place] == pytest.approx(closed)
