"""Four numbers by name: hand-computed values, identities, and NaN where they are undefined."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from phonograph.errors import DataError
from phonograph.evaluation import (
    coefficient_of_determination,
    mean_absolute_error,
    root_mean_squared_error,
    squared_pearson,
)

NUMBERS = arrays(np.float64, st.integers(2, 30), elements=st.floats(-1e3, 1e3).map(lambda x: round(x, 6)))


def test_hand_computed() -> None:
    truth, prediction = [1.0, 2.0, 4.0], [2.0, 2.0, 3.0]
    # errors 1, 0, −1; mean of the truth 7/3; Σ(y − ȳ)² = 16/9 + 1/9 + 25/9 = 14/3
    assert mean_absolute_error(truth, prediction) == pytest.approx(2 / 3)
    assert root_mean_squared_error(truth, prediction) == pytest.approx(math.sqrt(2 / 3))
    assert coefficient_of_determination(truth, prediction) == pytest.approx(1 - 2 / (14 / 3))
    # δŷ = (−1/3, −1/3, 2/3): covariance (4/9 + 1/9 + 10/9) = 5/3, Σ δŷ² = 2/3
    assert squared_pearson(truth, prediction) == pytest.approx((5 / 3) ** 2 / (14 / 3 * 2 / 3))


def test_r2_sees_a_bias_that_pearson_does_not() -> None:
    truth = np.linspace(0.0, 1.0, 20)
    assert squared_pearson(truth, truth + 5.0) == pytest.approx(1.0)
    assert coefficient_of_determination(truth, truth + 5.0) < -100
    assert squared_pearson(truth, -truth) == pytest.approx(1.0)
    assert coefficient_of_determination(truth, np.full(20, truth.mean())) == pytest.approx(0.0)


@pytest.mark.parametrize("metric", [coefficient_of_determination, squared_pearson])
def test_undefined_without_spread_or_samples(metric) -> None:
    assert math.isnan(metric([], []))
    assert math.isnan(metric([1.0], [2.0]))
    assert math.isnan(metric([0.1] * 10, np.arange(10.0)))  # the variance of ten 0.1 does not round to 0


def test_undefined_cases_of_each() -> None:
    assert math.isnan(squared_pearson([1.0, 2.0], [3.0, 3.0]))
    assert coefficient_of_determination([1.0, 2.0], [3.0, 3.0]) == pytest.approx(-9.0)
    assert math.isnan(mean_absolute_error([], []))
    assert math.isnan(root_mean_squared_error([], []))


def test_unequal_lengths_are_refused() -> None:
    with pytest.raises(DataError, match="equal length"):
        mean_absolute_error([1.0], [1.0, 2.0])


@given(NUMBERS, st.integers(0, 2**32 - 1))
def test_identities(truth: np.ndarray, seed: int) -> None:
    prediction = truth + np.random.default_rng(seed).normal(size=len(truth))
    mae, rmse = mean_absolute_error(truth, prediction), root_mean_squared_error(truth, prediction)
    assert mae <= rmse * (1 + 1e-12)
    if np.ptp(truth) < 1e-3 or np.ptp(prediction) < 1e-3:
        return
    r2, pearson = coefficient_of_determination(truth, prediction), squared_pearson(truth, prediction)
    assert r2 <= pearson + 1e-9  # the best straight line can only do better
    assert r2 == pytest.approx(1 - rmse**2 / truth.var(), rel=1e-9, abs=1e-9)
    assert pearson == pytest.approx(np.corrcoef(truth, prediction)[0, 1] ** 2, rel=1e-6, abs=1e-9)
    assert squared_pearson(truth, 3.0 * prediction - 7.0) == pytest.approx(pearson, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("unit", [1e-150, 1e150])
def test_pearson_does_not_depend_on_the_unit(unit: float) -> None:
    truth, prediction = np.array([1.0, 2.0, 4.0]), np.array([2.0, 2.0, 3.0])
    assert squared_pearson(unit * truth, unit * prediction) == pytest.approx(squared_pearson(truth, prediction))
