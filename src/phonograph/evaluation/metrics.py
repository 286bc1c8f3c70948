"""Four numbers that say how far predictions are from the truth, each by its own name.

Symbols: y_i ``truth``, ŷ_i ``prediction``, n their number, ȳ the mean of the truth.  The coefficient of
determination and the squared Pearson correlation are different numbers: the first falls below zero for a biased
model, the second does not see a bias at all.  Both are NaN where they are undefined.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from phonograph.errors import DataError
from phonograph.types import FloatArray


def mean_absolute_error(truth: ArrayLike, prediction: ArrayLike) -> float:
    """Return MAE = (1/n) Σ |ŷ_i − y_i|, in the unit of the values; NaN for n = 0."""
    observed, predicted = _pair(truth, prediction)
    return float(np.abs(predicted - observed).mean()) if len(observed) else float("nan")


def root_mean_squared_error(truth: ArrayLike, prediction: ArrayLike) -> float:
    """Return RMSE = √((1/n) Σ (ŷ_i − y_i)²), in the unit of the values; NaN for n = 0."""
    observed, predicted = _pair(truth, prediction)
    return float(np.sqrt(((predicted - observed) ** 2).mean())) if len(observed) else float("nan")


def coefficient_of_determination(truth: ArrayLike, prediction: ArrayLike) -> float:
    """Return R² = 1 − Σ (ŷ_i − y_i)² / Σ (y_i − ȳ)², dimensionless, at most 1.

    0 is the score of a model that predicts the mean of the test truth; NaN where the truth has no spread.
    """
    observed, predicted = _pair(truth, prediction)
    if not _spreads(observed):
        return float("nan")
    return float(1.0 - ((predicted - observed) ** 2).sum() / ((observed - observed.mean()) ** 2).sum())


def squared_pearson(truth: ArrayLike, prediction: ArrayLike) -> float:
    """Return r² = (Σ δy_i δŷ_i)² / (Σ δy_i² Σ δŷ_i²) with δ the deviation from the mean, in [0, 1].

    It ignores the bias and the slope of the predictions (also a negative slope); NaN where either has no spread.
    """
    observed, predicted = _pair(truth, prediction)
    if not (_spreads(observed) and _spreads(predicted)):
        return float("nan")
    # Scaling by the largest deviation keeps the squares of tiny and huge units in range.
    left, right = (_scaled_deviation(values) for values in (observed, predicted))
    return min(float((left @ right) ** 2 / ((left @ left) * (right @ right))), 1.0)


def _pair(truth: ArrayLike, prediction: ArrayLike) -> tuple[FloatArray, FloatArray]:
    observed = np.asarray(truth, dtype=np.float64)
    predicted = np.asarray(prediction, dtype=np.float64)
    if observed.ndim != 1 or observed.shape != predicted.shape:
        raise DataError(
            f"truth and prediction must be two lists of equal length; got {observed.shape} and {predicted.shape}"
        )
    return observed, predicted


def _spreads(values: FloatArray) -> bool:
    # Equality, not a variance: the variance of equal numbers need not round to zero.
    return len(values) > 1 and bool((values != values[0]).any())


def _scaled_deviation(values: FloatArray) -> FloatArray:
    deviation = values - values.mean()
    return deviation / np.abs(deviation).max()
