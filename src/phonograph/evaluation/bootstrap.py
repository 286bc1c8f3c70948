"""Bootstrap intervals of test errors: whole groups of samples are drawn, because samples of a group are alike.

Every metric is a function of sums over samples, so a draw of groups is a product of counts and group sums: thousands of
draws cost one matrix product.

Sources: B. Efron, J. Am. Stat. Assoc. 82, 171 (1987), doi:10.1080/01621459.1987.10478410 (BCa); C. A. Field and
A. H. Welsh, J. R. Stat. Soc. B 69, 369 (2007), doi:10.1111/j.1467-9868.2007.00593.x (clusters); T. C. Hesterberg,
Am. Stat. 69, 371 (2015), doi:10.1080/00031305.2015.1089789 (expanded levels for few groups).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from phonograph.errors import DataError
from phonograph.streams import stream
from phonograph.types import FloatArray, IntArray
from phonograph.types.curves import LEVEL, Interval

METRICS = ("mae", "rmse", "r2", "pearson_r2")
DRAWS = 2000
LEAST_GROUPS = 5
"""With fewer groups a bootstrap says nothing about other groups: the bounds are NaN."""

Statistic = Callable[[FloatArray], FloatArray]
"""Sums, shape (…, k) → m values, shape (…, m)."""


def metric_intervals(
    truth: ArrayLike, prediction: ArrayLike, groups: Sequence[str], *, seed: int = 0, draws: int = DRAWS
) -> Mapping[str, Interval]:
    """Return the 95 % interval of MAE, RMSE, R² and squared Pearson r of one model on one test.

    Parameters
    ----------
    truth, prediction
        Labels y_i and predictions ŷ_i in the target's unit, shape (n,).
    groups
        Group of each sample; groups are drawn with replacement as wholes.
    seed, draws
        Of the bootstrap.

    Returns
    -------
    Mapping
        ``mae``, ``rmse`` (target's unit), ``r2``, ``pearson_r2`` → :class:`~phonograph.types.curves.Interval` by
        :func:`bca`; NaN bounds for fewer than :data:`LEAST_GROUPS` groups.

    Raises
    ------
    DataError
        When the three lists differ in length.
    """
    found = bca(metric_sums(truth, prediction, groups), metrics_of, seed=seed, draws=draws)
    return dict(zip(METRICS, found, strict=True))


def metric_sums(truth: ArrayLike, prediction: ArrayLike, groups: Sequence[str]) -> FloatArray:
    """Return per group n, Σ|e|, Σe², Σy, Σy², Σŷ, Σŷ², Σyŷ with e = ŷ − y, shape (groups, 8).

    y and ŷ are taken about the mean of y: no metric changes, and squares of large values do not cancel.
    """
    observed, predicted = np.asarray(truth, dtype=np.float64), np.asarray(prediction, dtype=np.float64)
    if observed.ndim != 1 or observed.shape != predicted.shape or len(groups) != len(observed):
        raise DataError(
            f"truth, prediction and groups must be of equal length; got {observed.shape}, {predicted.shape} and "
            f"{len(groups)}"
        )
    error = predicted - observed
    middle = observed.mean() if len(observed) else 0.0
    y, f = observed - middle, predicted - middle
    columns = (np.ones_like(y), np.abs(error), error**2, y, y**2, f, f**2, y * f)
    return group_sums(np.stack(columns, axis=1), groups)


def group_sums(values: FloatArray, groups: Sequence[str]) -> FloatArray:
    """Return the sums of ``values``, shape (n, k), over each group, shape (groups, k)."""
    names, owner = np.unique(np.asarray(groups, dtype=np.str_), return_inverse=True)
    sums = np.zeros((len(names), values.shape[1]))
    np.add.at(sums, owner, values)
    return sums


def metrics_of(sums: FloatArray) -> FloatArray:
    """Return MAE, RMSE, R² and squared Pearson r of sums, shape (…, 8) → (…, 4); NaN where undefined."""
    n, absolute, square, y, yy, f, ff, yf = np.moveaxis(sums, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread, spread_f, product = yy - y**2 / n, ff - f**2 / n, yf - y * f / n
        # Below the rounding of the sums there is no spread.
        tiny, tiny_f = 1e-14 * yy, 1e-14 * ff
        r2 = np.where(spread > tiny, 1.0 - square / spread, np.nan)
        both = (spread > tiny) & (spread_f > tiny_f)
        pearson = np.where(both, np.minimum(product**2 / (spread * spread_f), 1.0), np.nan)
        return np.stack([absolute / n, np.sqrt(square / n), r2, pearson], axis=-1)


def bca(
    sums: FloatArray, statistic: Statistic, *, seed: int = 0, draws: int = DRAWS, level: float = LEVEL
) -> tuple[Interval, ...]:
    """Return bias-corrected and accelerated bootstrap intervals of statistics of summed groups.

    θ* of ``draws`` resamples of the G groups; z₀ = Φ⁻¹(share of θ* < θ), acceleration α = Σd³/(6(Σd²)^(3/2)) with
    d = mean − θ without group g; the bounds are the quantiles Φ(z₀ + (z₀ + z)/(1 − α(z₀ + z))) of θ* at
    z = ±√(G/(G−1))·t_{G−1}, which is ±1.96 for many groups.

    Parameters
    ----------
    sums
        Per group, shape (G, k).
    statistic
        Function of the total, shape (…, k) → (…, m).
    seed, draws, level
        Of the resampling, and confidence level.

    Returns
    -------
    tuple of Interval
        One per statistic, m of them.
    """
    total = sums.sum(axis=0)
    values, groups = statistic(total), len(sums)
    if groups < LEAST_GROUPS:
        return tuple(_unknown(float(value), level) for value in values)
    resampled = statistic(group_counts(groups, draws, seed).astype(np.float64) @ sums)
    left_out = statistic(total - sums)
    return tuple(
        _accelerated(float(value), resampled[:, place], left_out[:, place], groups, level)
        for place, value in enumerate(values)
    )


def _unknown(value: float, level: float) -> Interval:
    return Interval(value=value, low=float("nan"), high=float("nan"), level=level)


def group_counts(groups: int, draws: int, seed: int) -> IntArray:
    """Return how often each group is drawn in each resample, shape (draws, groups); every row adds up to groups."""
    generator = stream(seed, "evaluation", "bootstrap", groups)
    drawn = generator.integers(groups, size=(draws, groups)) + groups * np.arange(draws)[:, None]
    return np.bincount(drawn.ravel(), minlength=draws * groups).reshape(draws, groups)


def _accelerated(value: float, resampled: FloatArray, left_out: FloatArray, groups: int, level: float) -> Interval:
    from scipy.special import ndtr, ndtri

    resampled, left_out = resampled[np.isfinite(resampled)], left_out[np.isfinite(left_out)]
    if not np.isfinite(value) or len(resampled) < 100 or len(left_out) < LEAST_GROUPS:
        return _unknown(value, level)
    if np.ptp(resampled) == 0:
        return Interval(value=value, low=value, high=value, level=level)
    share = (np.count_nonzero(resampled < value) + 0.5 * np.count_nonzero(resampled == value)) / len(resampled)
    bias = float(ndtri(np.clip(share, 1.0 / len(resampled), 1.0 - 1.0 / len(resampled))))
    away = left_out.mean() - left_out
    square = float((away**2).sum())
    acceleration = float((away**3).sum()) / (6.0 * square**1.5) if square > 0 else 0.0
    z = expanded_quantile(groups, level) * np.array([-1.0, 1.0])
    inner = np.maximum(1.0 - acceleration * (bias + z), 1e-3)
    low, high = np.quantile(resampled, ndtr(bias + (bias + z) / inner))
    return Interval(value=value, low=float(low), high=float(high), level=level)


def expanded_quantile(groups: int, level: float = LEVEL) -> float:
    """Return √(G/(G−1))·t_{G−1} of a two-sided interval: the bootstrap of few groups is too narrow by this."""
    from scipy.special import stdtrit

    return float(np.sqrt(groups / (groups - 1)) * stdtrit(groups - 1, 0.5 + 0.5 * level))
