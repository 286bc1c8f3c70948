"""How alike two samples are: overlap, distances of distributions, shares, each with a 95 % interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from phonograph.evaluation.bootstrap import bca, group_counts, group_sums
from phonograph.streams import stream
from phonograph.types import FloatArray
from phonograph.types.curves import LEVEL, Interval

DRAWS = 500
PERMUTATIONS = 50


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """Overlap of two distributions: corrected value with interval, as found, and what two samples of one law give."""

    interval: Interval
    raw: float
    ceiling: float


def overlap(first: FloatArray, second: FloatArray, seed: int) -> Overlap:
    """Return the overlap η = Σ_b min(p_b, q_b) of two histograms, 1 for one law and 0 for laws that never meet.

    Two finite samples of one law overlap by η₀ < 1; it is measured by dealing all groups out anew
    (:data:`PERMUTATIONS` times).  What sets them apart by chance adds in quadrature to what does so by law, so that
    1 − √((1 − η)² − (1 − η₀)²) is returned, 1 where η ≥ η₀.  The interval is that of :data:`DRAWS` resamples of the
    groups about η, taken through the same formula with the 95 % range of η₀.

    Parameters
    ----------
    first, second
        Counts per group and bin, shapes (g, bins) and (h, bins), on the same bins; a group is a configuration, or
        several that are alike.
    seed
        Of the resampling.
    """
    found = float(_shared(first.sum(axis=0), second.sum(axis=0)))
    pooled = np.concatenate([first, second])
    generator = stream(seed, "paper", "overlap")
    dealt = []
    for _ in range(PERMUTATIONS):
        order = generator.permutation(len(pooled))
        chosen = pooled[order[: len(first)]].sum(axis=0)
        dealt.append(float(_shared(chosen, pooled.sum(axis=0) - chosen)))
    ceiling = float(np.mean(dealt))
    draws = _shared(
        group_counts(len(first), DRAWS, seed).astype(np.float64) @ first,
        group_counts(len(second), DRAWS, seed + 1).astype(np.float64) @ second,
    )
    low, high = np.quantile(draws - draws.mean(), (0.025, 0.975))
    apart = np.clip(1.0 - (found + np.array([low, 0.0, high])), 0.0, 1.0)
    chance = 1.0 - np.array([np.quantile(dealt, 0.975), ceiling, np.quantile(dealt, 0.025)])
    low, value, high = 1.0 - np.sqrt(np.maximum(apart**2 - chance**2, 0.0))
    interval = Interval(value=float(value), low=float(low), high=float(high))
    return Overlap(interval=interval, raw=found, ceiling=ceiling)


def _shared(first: FloatArray, second: FloatArray) -> FloatArray:
    p = first / np.maximum(first.sum(axis=-1, keepdims=True), 1e-300)
    q = second / np.maximum(second.sum(axis=-1, keepdims=True), 1e-300)
    return np.asarray(np.minimum(p, q).sum(axis=-1))


def grouped_histograms(
    values: Sequence[FloatArray], groups: Sequence[Sequence[str]]
) -> tuple[list[FloatArray], FloatArray]:
    """Return counts per group and bin of several samples on common bins, and the edges.

    2·n^⅓ bins of equal width (Rice's rule for the smaller sample, at most 40) between the 0.5 and 99.5 percent
    quantiles of all, and one open bin at either end.
    """
    joined = np.concatenate(values)
    bins = int(np.clip(round(2.0 * min(map(len, values)) ** (1 / 3)), 6, 40))
    low, high = np.quantile(joined, (0.005, 0.995))
    inner = np.linspace(low, high if high > low else low + 1.0, bins + 1)
    histograms = []
    for sample, names in zip(values, groups, strict=True):
        one_hot = np.zeros((len(sample), bins + 2))
        one_hot[np.arange(len(sample)), np.searchsorted(inner, sample)] = 1.0
        histograms.append(group_sums(one_hot, names))
    return histograms, inner


def distances(
    first: FloatArray, second: FloatArray, groups: tuple[Sequence[str], Sequence[str]], seed: int
) -> tuple[Interval, Interval]:
    """Return the Kolmogorov–Smirnov distance and the earth mover's distance of two samples, with intervals.

    KS = max|F − G|; W₁ = ∫|F − G|dx in the unit of the values.  Percentile intervals of 200 resamples of groups; both
    are a little above zero also for samples of one law.
    """
    generator = stream(seed, "paper", "distances")
    members = [_members(names) for names in groups]
    draws = []
    for _ in range(200):
        chosen = [
            sample[_drawn(own, generator.integers(len(own), size=len(own)))]
            for sample, own in zip((first, second), members, strict=True)
        ]
        draws.append(_apart(chosen[0], chosen[1]))
    low, high = np.quantile(draws, (0.025, 0.975), axis=0)
    values = _apart(first, second)
    intervals = [
        Interval(value=v, low=float(min(a, v)), high=float(max(b, v)))
        for v, a, b in zip(values, low, high, strict=True)
    ]
    return intervals[0], intervals[1]


def _apart(first: FloatArray, second: FloatArray) -> tuple[float, float]:
    at = np.sort(np.concatenate([first, second]))
    steps = [np.searchsorted(np.sort(sample), at, side="right") / len(sample) for sample in (first, second)]
    gap = np.abs(steps[0] - steps[1])
    return float(gap.max()), float((gap[:-1] * np.diff(at)).sum())


def _drawn(members: Sequence[np.ndarray], chosen: np.ndarray) -> np.ndarray:
    """Return the samples of the groups that were drawn."""
    if all(len(own) == 1 for own in members):
        return np.concatenate(members)[chosen]
    return np.concatenate([members[place] for place in chosen])


def _members(groups: Sequence[str]) -> list[np.ndarray]:
    _, owner = np.unique(np.asarray(groups, dtype=np.str_), return_inverse=True)
    order = np.argsort(owner, kind="stable")
    return np.split(order, np.cumsum(np.bincount(owner))[:-1])


def percentiles(value: float, draws: FloatArray, level: float = LEVEL) -> Interval:
    """Return a value with the central quantiles of its resamples, widened where they leave it out."""
    low, high = np.quantile(draws, (0.5 - 0.5 * level, 0.5 + 0.5 * level))
    return Interval(value=value, low=float(min(low, value)), high=float(max(high, value)), level=level)


def share(hits: int, count: int) -> Interval:
    """Return hits/count with Wilson's 95 % interval."""
    if count == 0:
        return Interval(value=float("nan"), low=float("nan"), high=float("nan"))
    z = 1.959963984540054
    p, factor = hits / count, 1.0 + z**2 / count
    middle = (p + z**2 / (2 * count)) / factor
    half = z * np.sqrt(p * (1 - p) / count + z**2 / (4 * count**2)) / factor
    return Interval(value=p, low=float(max(middle - half, 0.0)) if hits else 0.0, high=float(min(middle + half, 1.0)))


def correlation(x: FloatArray, y: FloatArray, groups: Sequence[str], seed: int) -> Interval:
    """Return Pearson's r of two lists with its bootstrap interval over groups."""

    def r(sums: FloatArray) -> FloatArray:
        n, sx, sy, xx, yy, xy = np.moveaxis(sums, -1, 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = np.sqrt(np.maximum(xx - sx**2 / n, 0.0) * np.maximum(yy - sy**2 / n, 0.0))
            return np.where(spread > 0, (xy - sx * sy / n) / spread, np.nan)[..., None]

    a, b = x - x.mean(), y - y.mean()
    sums = group_sums(np.stack([np.ones_like(a), a, b, a**2, b**2, a * b], axis=1), groups)
    return bca(sums, r, seed=seed)[0]
