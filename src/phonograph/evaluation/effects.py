"""What matters in a full grid: main effects, and the shares of the variance of its axes and of their pairs.

The response of a point is y = log₁₀ MAE, so that effects are factors.  With K axes of L_k levels and S seeds the grid
is a balanced design, in which every average is exact:

    y_s(x) = μ_s + Σ_k f_k(x_k) + Σ_{k<l} f_kl(x_k, x_l) + … + noise,

f_k(a) the mean over all points with x_k = a less the mean of all, f_kl(a, b) the mean over those with x_k = a and
x_l = b less the mean of all, f_k(a) and f_l(b).  Shares are the functional analysis of variance: V_k = mean of f_k²
over levels, likewise V_kl, over the variance V of the seeds' mean over the grid; the noise of that mean, estimated from
the scatter of the seeds about it, is taken off every term.

Source: Hooker, J. Comput. Graph. Stat. 16, 709 (2007), doi:10.1198/106186007X237892; Hutter, Hoos and Leyton-Brown,
ICML 32, 754 (2014).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from phonograph.errors import DataError
from phonograph.types import FloatArray, StudyEffect, StudyShare

REST = "rest"


def response(errors: FloatArray) -> tuple[FloatArray, int]:
    """Return log₁₀ of errors and how many are stood in for: a failed network counts as the worst one there is.

    Raises
    ------
    DataError
        No network has a positive error.
    """
    known = np.isfinite(errors) & (errors > 0)
    if not known.any():
        raise DataError("no network of the grid has a validation error; lower the learning rates, or add labels")
    return np.log10(np.where(known, errors, errors[known].max())), int((~known).sum())


def main_effects(target: str, axes: Mapping[str, Sequence[str]], values: FloatArray) -> tuple[StudyEffect, ...]:
    """Return the main effect of every level of every axis.

    Parameters
    ----------
    target
        Name of the target, kept in the rows.
    axes
        Name → levels.
    values
        y of every seed and point, shape (seeds, levels of the first axis, …).
    """
    from scipy.stats import t

    seeds = len(values)
    rows = []
    for place, (name, levels) in enumerate(axes.items()):
        others = tuple(axis for axis in range(1, values.ndim) if axis != place + 1)
        marginal = values.mean(axis=others) - values.mean(axis=tuple(range(1, values.ndim)))[:, None]
        mean = marginal.mean(axis=0)
        half = np.full(len(levels), math.nan)
        if seeds > 1:
            half = t.ppf(0.975, seeds - 1) * marginal.std(axis=0, ddof=1) / math.sqrt(seeds)
        rows += [
            StudyEffect(
                target=target,
                axis=name,
                level=level,
                effect=float(mean[at]),
                low=float(mean[at] - half[at]),
                high=float(mean[at] + half[at]),
            )
            for at, level in enumerate(levels)
        ]
    return tuple(rows)


def variance_shares(target: str, axes: Mapping[str, Sequence[str]], values: FloatArray) -> tuple[StudyShare, ...]:
    """Return the share of every axis, of every pair beyond its axes, and of the rest, largest first within each kind.

    Intervals are those of the jackknife over the S seeds, θ ± t(S − 1) √((S − 1)/S Σ_s (θ_(s) − θ̄)²) with θ_(s) the
    share without seed s, cut to [0, 1].  For 3 to 8 seeds they hold the true share of planted grids in 93 to 99 % of
    cases; those of a bootstrap over so few seeds did in 66 to 91 %.

    Parameters
    ----------
    target, axes, values
        As for :func:`main_effects`.
    """
    from scipy.stats import t

    names = [*axes, *(f"{a} × {b}" for a, b in itertools.combinations(axes, 2)), REST]
    estimate, seeds = _shares(values), len(values)
    half = np.full(len(names), math.nan)
    if seeds > 2:
        without = np.array([_shares(np.delete(values, place, axis=0)) for place in range(seeds)])
        spread = ((without - without.mean(axis=0)) ** 2).sum(axis=0)
        half = t.ppf(0.975, seeds - 1) * np.sqrt((seeds - 1) / seeds * spread)
    low, high = np.clip(estimate - half, 0.0, 1.0), np.clip(estimate + half, 0.0, 1.0)
    rows = [
        StudyShare(target=target, axis=name, share=float(estimate[k]), low=float(low[k]), high=float(high[k]))
        for k, name in enumerate(names)
    ]
    kinds = [rows[: len(axes)], rows[len(axes) : -1], rows[-1:]]
    return tuple(row for kind in kinds for row in sorted(kind, key=lambda row: -row.share))


def _shares(values: FloatArray) -> NDArray[np.float64]:
    seeds, axes = len(values), range(values.ndim - 1)
    mean = values.mean(axis=0) - values.mean()
    noise = 0.0
    if seeds > 1:
        # Seeds differ as a whole (another inner split); what is left of their scatter is noise of a point.
        scatter = values - values.mean(axis=tuple(range(1, values.ndim)), keepdims=True) - mean
        noise = float((scatter**2).sum() / max((seeds - 1) * (mean.size - 1), 1)) / seeds
    single = [_marginal(mean, (k,)) for k in axes]
    found = [_variance(single[k], mean.shape[k] - 1, mean.size, noise) for k in axes]
    for k, other in itertools.combinations(axes, 2):
        pair = _marginal(mean, (k, other)) - single[k] - single[other]
        freedom = (mean.shape[k] - 1) * (mean.shape[other] - 1)
        found.append(_variance(pair, freedom, mean.size, noise))
    total = max(float((mean**2).mean()) - noise * (mean.size - 1) / mean.size, 0.0)
    parts = np.array(found)
    if total <= 0.0 or parts.sum() <= 0.0:
        return np.zeros(len(found) + 1)
    rest = max(total - float(parts.sum()), 0.0)
    both = np.append(parts, rest)
    return np.asarray(both / both.sum(), dtype=np.float64)


def _marginal(mean: FloatArray, kept: tuple[int, ...]) -> FloatArray:
    """Average over all axes but ``kept``, which keep their place."""
    return np.asarray(mean.mean(axis=tuple(k for k in range(mean.ndim) if k not in kept), keepdims=True))


def _variance(effect: FloatArray, freedom: int, points: int, noise: float) -> float:
    """Return the mean square of an effect less what noise alone would give it: σ²·(degrees of freedom)/points."""
    return max(float((effect**2).mean()) - noise * freedom / points, 0.0)
