"""Averages of samples that are not independent: correlated in time, in groups, or weighted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from phonograph.errors import DataError
from phonograph.types import FloatArray

WINDOW = 6.0
"""The sum over lags stops at this many correlation times: the terms beyond it are noise."""


class Average(NamedTuple):
    """A mean, its standard error, the statistical inefficiency g of the samples, and their number.

    ``standard_error`` = s·√(g/n) with s the standard deviation of the samples; NaN for fewer than two groups.  ``g`` is
    1 for independent samples, below 1 for antithetic pairs that help, above 1 for copies; NaN where undefined.
    """

    mean: float
    standard_error: float
    inefficiency: float
    n: int


def grouped_average(values: FloatArray, groups: Sequence[str], weights: FloatArray | None = None) -> Average:
    """Return the mean of ``values`` with an error that knows which samples belong together.

    Samples of one group (± pairs, blocks of one trajectory, copies) are correlated in an unknown way; groups are
    independent.  With K groups, weights w that add up to 1 (1/n where none are given), and r_k the sum over group k of
    w·(value − mean),

        SE² = K/(K − 1) · Σ_k r_k²,   g = n SE²/s²,

    the standard error of a ratio estimator (Cochran, Sampling Techniques, 3rd ed. (1977), section 9A.2), which is
    s/√n for groups of one and the standard error of the group means for groups of equal size.

    Parameters
    ----------
    values
        Shape (n,), at least one.
    groups
        Group of each value.
    weights
        Weight of each value, not negative; equal where None.

    Raises
    ------
    DataError
        No value, or not one group and one weight per value.
    """
    if len(values) == 0 or len(values) != len(groups):
        raise DataError(f"an average needs at least one value and one group each; got {len(values)} and {len(groups)}")
    count = len(values)
    share = np.full(count, 1.0 / count) if weights is None else _normalised(weights, count)
    mean = float(share @ values) if weights is not None else float(np.mean(values))
    _, owner = np.unique(np.asarray(groups, dtype=np.str_), return_inverse=True)
    residual = np.bincount(owner, weights=share * (values - mean))
    several = len(residual)
    if several < 2:
        return Average(mean, float("nan"), float("nan"), count)
    square = several / (several - 1) * float(residual @ residual)
    variance = float(share @ (values - mean) ** 2) * count / (count - 1)
    return Average(mean, float(np.sqrt(square)), count * square / variance if variance > 0 else float("nan"), count)


def _normalised(weights: FloatArray, count: int) -> FloatArray:
    if len(weights) != count or not (np.asarray(weights) >= 0).all() or not np.sum(weights) > 0:
        raise DataError(f"a weighted average needs {count} weights that are not negative; got {len(weights)}")
    return np.asarray(weights, dtype=np.float64) / np.sum(weights)


def effective_samples(weights: FloatArray) -> float:
    """Return (Σw)²/Σw², the number of equally weighted samples that weighted ones are worth.

    Source: Kong, Liu & Wong, J. Am. Stat. Assoc. 89, 278 (1994), https://doi.org/10.1080/01621459.1994.10476469.
    """
    return float(np.sum(weights) ** 2 / np.sum(np.square(weights)))


def correlation_time(values: FloatArray) -> float:
    """Return the integrated autocorrelation time of an evenly spaced series, in units of its spacing.

    τ = ½ + Σ_{t≥1}^{W} ρ(t), with ρ the normalised autocovariance and W the smallest lag with W ≥ 6 τ(W).  The
    variance of the mean of n values is 2τ s²/n, so that n/2τ of them count as independent; τ = ½ for white noise.

    Parameters
    ----------
    values
        Shape (n,).

    Returns
    -------
    float
        τ, at least ½; ½ for a constant series.

    References
    ----------
    Sokal, in Functional Integration (Springer, 1997), pp. 131–192, https://doi.org/10.1007/978-1-4899-0319-8_6.
    """
    count = len(values)
    centred = np.asarray(values, dtype=np.float64) - np.mean(values)
    # Differences at the level of rounding are no fluctuation.
    if count < 2 or np.ptp(centred) <= 1.0e-12 * max(float(np.abs(values).max()), 1.0e-300):
        return 0.5
    transformed = np.fft.rfft(centred, 2 * count)
    covariance = np.fft.irfft(np.abs(transformed) ** 2, 2 * count)[:count]
    times = 0.5 + np.cumsum(covariance[1:] / covariance[0])
    beyond = np.flatnonzero(np.arange(1, count) >= WINDOW * times)
    return max(0.5, float(times[beyond[0]] if len(beyond) else times.max()))
