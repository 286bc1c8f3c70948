"""Are two models different?  Paired tests on the same samples, over resampled splits, and over many comparisons.

Sources: C. Nadeau and Y. Bengio, Mach. Learn. 52, 239 (2003), doi:10.1023/A:1024068626366 (corrected t); S. Holm,
Scand. J. Stat. 6, 65 (1979), https://www.jstor.org/stable/4615733 ; X. Bouthillier et al., Proc. Mach. Learn. Syst. 3,
747 (2021), arXiv:2103.03098 (vary split, subset and initial weights together).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from phonograph.errors import DataError
from phonograph.evaluation.bootstrap import DRAWS, bca, group_sums
from phonograph.types import FloatArray
from phonograph.types.curves import LEVEL, Interval


@dataclass(frozen=True, kw_only=True)
class CorrectedT:
    """Result of :func:`corrected_t`: mean with interval, t, two-sided p, standard error and number of repeats."""

    interval: Interval
    t: float
    p: float
    standard_error: float
    repeats: int


def paired_difference(
    first: ArrayLike, second: ArrayLike, groups: Sequence[str], *, seed: int = 0, draws: int = DRAWS
) -> Interval:
    """Return Δ = mean(first − second) over test samples with its 95 % interval, groups drawn as wholes.

    Parameters
    ----------
    first, second
        |error| of two models on the same samples, in the target's unit, shape (n,); where a sample was tested by
        several seeds, its mean over them.
    groups
        Group of each sample.
    seed, draws
        Of the bootstrap.

    Returns
    -------
    Interval
        By :func:`phonograph.evaluation.bootstrap.bca`.  It says how far Δ would move on other samples of the same kind;
        the networks stay as they are.  :func:`corrected_t` also counts the training.
    """
    difference = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    if difference.ndim != 1 or len(groups) != len(difference):
        raise DataError(f"errors and groups must be of equal length; got {difference.shape} and {len(groups)}")
    sums = group_sums(np.stack([np.ones_like(difference), difference], axis=1), groups)
    return bca(sums, lambda totals: totals[..., 1:] / totals[..., :1], seed=seed, draws=draws)[0]


def overlap_ratio(n_test: float, n_train: float, n_available: float | None = None) -> float:
    """Return ρ/(1 − ρ), where ρ is the share of the available samples that test.

    Nadeau and Bengio train on everything that does not test: then it is n_test/n_train.  On a learning curve a small
    subset trains and most samples rest, so that ρ = n_test/n_available with ``n_available`` samples to draw from.
    """
    available = float(n_test + n_train) if n_available is None else max(float(n_available), float(n_test + n_train))
    if not 0 < n_test < available:
        raise DataError(f"a corrected test needs test and training samples; got {n_test:g} and {n_train:g}")
    return float(n_test / (available - n_test))


def corrected_t(values: ArrayLike, ratio: float, *, level: float = LEVEL) -> CorrectedT:
    """Return the corrected resampled t of values over J random splits of the same data.

    t = v̄/√((1/J + ρ/(1−ρ))·s²) with J − 1 degrees of freedom: test sets of different splits share samples, so that
    s²/J alone claims far too much.

    Parameters
    ----------
    values
        One value per split (seed), for example differences in MAE, shape (J,).
    ratio
        ρ/(1 − ρ) of :func:`overlap_ratio`; 0 for independent repeats.
    level
        Confidence level of the interval v̄ ± t_{J−1}·SE.

    Returns
    -------
    CorrectedT
        NaN bounds and p for fewer than two values.
    """
    from scipy.special import stdtr, stdtrit

    known = np.asarray(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    repeats = len(known)
    mean = float(known.mean()) if repeats else float("nan")
    if repeats < 2:
        nan = float("nan")
        return CorrectedT(
            interval=Interval(value=mean, low=nan, high=nan, level=level),
            t=nan,
            p=nan,
            standard_error=nan,
            repeats=repeats,
        )
    error = float(np.sqrt((1.0 / repeats + ratio) * known.var(ddof=1)))
    half = error * float(stdtrit(repeats - 1, 0.5 + 0.5 * level))
    t = mean / error if error > 0 else float("nan") if mean == 0 else float(np.copysign(np.inf, mean))
    return CorrectedT(
        interval=Interval(value=mean, low=mean - half, high=mean + half, level=level),
        t=t,
        p=1.0 if np.isnan(t) else 2.0 * float(stdtr(repeats - 1, -abs(t))),
        standard_error=error,
        repeats=repeats,
    )


def wider(over_samples: Interval, over_seeds: Interval) -> Interval:
    """Return the interval that decides where all seeds share one test part: the wider of the two.

    Each holds still what the other varies.  Unknown where that over samples is, known or not how seeds differ.

    Parameters
    ----------
    over_samples
        Over groups of test samples, the networks as they are.
    over_seeds
        Over networks, the samples as they are: :func:`corrected_t` with a ratio of 0.
    """
    return over_seeds if over_seeds.known and over_seeds.half > over_samples.half else over_samples


def holm(p_values: ArrayLike) -> FloatArray:
    """Return p after Holm's step-down correction, in the order given; NaN stays NaN and does not count.

    With p sorted upwards, p̃_(k) = min(1, max over j ≤ k of (m − j + 1)·p_(j)): the chance of one false claim among all
    m comparisons stays below the level.
    """
    p = np.asarray(p_values, dtype=np.float64)
    corrected = np.full(p.shape, np.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    factors = len(order) - np.arange(len(order))
    corrected[order] = np.minimum(np.maximum.accumulate(factors * p[order]), 1.0) if len(order) else []
    return corrected
