"""Bootstrap intervals: the same numbers as the metrics, as SciPy's BCa, and cover what they should."""

from __future__ import annotations

import os

import numpy as np
import pytest
import scipy.stats

from phonograph.errors import DataError
from phonograph.evaluation import (
    coefficient_of_determination,
    mean_absolute_error,
    metric_intervals,
    paired_difference,
    root_mean_squared_error,
    squared_pearson,
)
from phonograph.evaluation.bootstrap import METRICS, bca, expanded_quantile, group_counts, metric_sums, metrics_of

SIMULATIONS = int(os.environ.get("PHONOGRAPH_SIMULATIONS", "300"))
"""Worlds in which an interval is asked whether it covers the truth; set it larger for a sharper test."""
ONE_BY_ONE = (mean_absolute_error, root_mean_squared_error, coefficient_of_determination, squared_pearson)


def world(rng: np.random.Generator, groups: int, per_group: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth and prediction whose errors are alike within a group, and skewed."""
    group = np.repeat(np.arange(groups), per_group)
    shared = rng.normal(size=groups)[group]
    truth = shared + 0.3 * rng.normal(size=len(group))
    prediction = 0.9 * shared + 0.05 + 0.2 * rng.normal(size=groups)[group] + 0.1 * rng.normal(size=len(group))
    return truth, prediction, np.char.mod("%d", group)


def test_values_are_those_of_the_metrics() -> None:
    truth, prediction, groups = world(np.random.default_rng(1), 40, 3)
    found = metric_intervals(1e4 + truth, 1e4 + prediction, groups)
    for name, metric in zip(METRICS, ONE_BY_ONE, strict=True):
        assert found[name].value == pytest.approx(metric(truth, prediction), rel=1e-9)
        assert found[name].low < found[name].value < found[name].high


def test_two_routes_agree_with_scipy() -> None:
    truth, prediction, _ = world(np.random.default_rng(2), 250, 1)
    found = metric_intervals(truth, prediction, [str(i) for i in range(250)], draws=8000)
    for name, metric in zip(METRICS[:3], ONE_BY_ONE[:3], strict=True):
        other = scipy.stats.bootstrap(
            (truth, prediction),
            metric,
            paired=True,
            vectorized=False,
            method="BCa",
            n_resamples=2000,
            rng=np.random.default_rng(0),
        ).confidence_interval
        width = other.high - other.low
        assert found[name].low == pytest.approx(other.low, abs=0.08 * width), name
        assert found[name].high == pytest.approx(other.high, abs=0.08 * width), name


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_skewed_errors_agree_with_scipy_at_the_expanded_level(seed: int) -> None:
    """Few groups and a long tail: bias and acceleration are both large."""
    values = np.random.default_rng(seed).lognormal(sigma=1.0, size=30)
    found = paired_difference(values, np.zeros(30), [str(i) for i in range(30)], draws=20_000)
    other = scipy.stats.bootstrap(
        (values,),
        np.mean,
        method="BCa",
        n_resamples=20_000,
        confidence_level=2 * scipy.stats.norm.cdf(expanded_quantile(30)) - 1,
        rng=np.random.default_rng(0),
    ).confidence_interval
    width = other.high - other.low
    assert (found.low, found.high) == pytest.approx((other.low, other.high), abs=0.05 * width)
    assert found.high - found.value > 1.3 * (found.value - found.low)


def test_groups_that_are_copies_carry_no_more_than_one_sample_each() -> None:
    truth, prediction, _ = world(np.random.default_rng(3), 60, 1)
    groups = np.char.mod("%d", np.arange(60))
    once = metric_intervals(truth, prediction, groups)["mae"]
    copied = metric_intervals(np.tile(truth, 5), np.tile(prediction, 5), np.tile(groups, 5))["mae"]
    assert (copied.low, copied.high) == pytest.approx((once.low, once.high), rel=1e-12)
    as_if_free = metric_intervals(np.tile(truth, 5), np.tile(prediction, 5), np.char.mod("%d", np.arange(300)))["mae"]
    assert as_if_free.half < 0.55 * once.half


def coverage(groups: int, per_group: int, simulations: int) -> np.ndarray:
    rng = np.random.default_rng(17)
    truth, prediction, _ = world(rng, 200_000, 1)
    exact = metrics_of(metric_sums(truth, prediction, np.zeros(len(truth), dtype=str)).sum(axis=0))
    inside = np.zeros(4)
    for seed in range(simulations):
        found = metric_intervals(*world(rng, groups, per_group), seed=seed, draws=600)
        inside += [found[name].low <= value <= found[name].high for name, value in zip(METRICS, exact, strict=True)]
    return inside / simulations


def assert_covers(share: np.ndarray | float, simulations: int, slack: float = 0.015) -> None:
    """Nominal 95 % within three binomial errors; ``slack`` is what a bootstrap of few groups may miss."""
    error = 3.0 * np.sqrt(0.95 * 0.05 / simulations)
    assert np.all(np.abs(np.asarray(share) - 0.95) <= error + slack), share


def test_intervals_cover_the_truth() -> None:
    assert_covers(coverage(40, 2, SIMULATIONS), SIMULATIONS)


def test_intervals_that_forget_the_groups_do_not() -> None:
    """The same samples taken one by one: the coverage test can fail."""
    rng = np.random.default_rng(5)
    inside = 0
    for seed in range(100):
        error = np.repeat(np.abs(rng.normal(size=30)), 8)
        free = paired_difference(error, np.zeros(240), [str(i) for i in range(240)], seed=seed, draws=300)
        inside += free.low <= np.sqrt(2 / np.pi) <= free.high
    assert inside < 80


def test_paired_difference_is_narrower_than_two_errors_apart() -> None:
    rng = np.random.default_rng(6)
    hard = np.abs(rng.normal(size=80))
    first, second = hard + 0.05, hard + 0.01 * rng.normal(size=80)
    groups = [str(i // 2) for i in range(80)]
    found = paired_difference(first, second, groups)
    assert found.value == pytest.approx(np.mean(first - second))
    assert 0.04 < found.low < 0.05 < found.high < 0.06
    backwards = paired_difference(second, first, groups)
    assert (backwards.value, backwards.low) == pytest.approx((-found.value, -found.high), abs=4e-4)


def test_paired_difference_covers_zero_as_often_as_it_says() -> None:
    rng = np.random.default_rng(7)
    outside = 0
    for seed in range(SIMULATIONS):
        common = np.repeat(rng.normal(size=40), 2)
        first, second = (np.abs(common + 0.5 * rng.normal(size=80)) for _ in range(2))
        found = paired_difference(first, second, np.char.mod("%d", np.arange(80) // 2), seed=seed, draws=600)
        outside += not found.low <= 0 <= found.high
    assert_covers(1 - outside / SIMULATIONS, SIMULATIONS)


def test_too_few_groups_give_no_bounds() -> None:
    truth, prediction, groups = world(np.random.default_rng(8), 4, 30)
    found = metric_intervals(truth, prediction, groups)
    assert np.isfinite(found["mae"].value)
    assert not found["mae"].known


def test_undefined_metrics_stay_undefined() -> None:
    groups = [str(i) for i in range(20)]
    found = metric_intervals(np.ones(20), np.linspace(0.9, 1.1, 20), groups)
    assert np.isnan(found["r2"].value)
    assert np.isnan(found["pearson_r2"].value)
    assert found["mae"].known
    perfect = metric_intervals(np.arange(20.0), np.arange(20.0), groups)
    assert (perfect["mae"].low, perfect["mae"].high) == (0.0, 0.0)


def test_bootstrap_is_a_function_of_its_seed() -> None:
    counts = group_counts(30, 50, seed=1)
    assert counts.shape == (50, 30)
    assert (counts.sum(axis=1) == 30).all()
    assert np.array_equal(counts, group_counts(30, 50, seed=1))
    assert not np.array_equal(counts, group_counts(30, 50, seed=2))
    assert expanded_quantile(10**6) == pytest.approx(1.95996, abs=1e-4)
    assert expanded_quantile(10) > 2.3


def test_lengths_must_agree() -> None:
    with pytest.raises(DataError, match="must be of equal length"):
        metric_intervals([1.0, 2.0], [1.0, 2.0], ["a"])
    with pytest.raises(DataError, match="must be of equal length"):
        paired_difference([1.0], [1.0], ["a", "b"])


def test_mean_of_sums_agrees_with_the_t_interval() -> None:
    values = np.random.default_rng(9).normal(size=400)
    sums = np.stack([np.ones(400), values], axis=1)
    (found,) = bca(sums, lambda total: total[..., 1:] / total[..., :1], draws=8000)
    half = scipy.stats.t.ppf(0.975, 399) * values.std(ddof=1) / 20
    assert found.half == pytest.approx(half, rel=0.05)
