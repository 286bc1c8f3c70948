"""Networks of several seeds, and the interval of any number that follows from their predictions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from phonograph.evaluation import corrected_t, overlap_ratio
from phonograph.evaluation.bootstrap import METRICS, Statistic, bca, metric_sums, metrics_of
from phonograph.evaluation.comparison import wider
from phonograph.steps.paper.published import TARGETS
from phonograph.types import CurvePredictions, CurveRow, FloatArray
from phonograph.types.curves import LEVEL, Interval

LIKE_SPREAD = 1.25
"""Errors in the target's unit are compared where the spreads of the labels differ by less than this factor."""

_SUMS = 8
"""Sums of one network on one part, those of :func:`phonograph.evaluation.bootstrap.metric_sums`."""


class Judged:
    """Networks of several seeds, judged on the parts of their own split; only lines of scope ``all`` count."""

    def __init__(
        self, rows: Sequence[CurveRow], predictions: Sequence[CurvePredictions], groups: Mapping[str, str]
    ) -> None:
        self.rows = [row for row in rows if row.scope == "all"]
        self.predictions = predictions
        self.groups = groups
        self._metrics: dict[tuple[str, str, float], tuple[Interval, ...]] = {}

    @property
    def targets(self) -> tuple[str, ...]:
        """Targets of the paper that were trained."""
        there = {row.target for row in self.rows}
        return tuple(target for target in TARGETS if target in there)

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the networks."""
        return tuple(sorted({row.seed for row in self.rows}))

    @property
    def one_split(self) -> bool:
        """Whether the networks of all seeds were tested on the same samples."""
        target = self.targets[0]
        return self._shared([(target, "test")], [item.seed for item in self.pairs(target, "test")])

    def of(self, target: str, part: str) -> list[CurveRow]:
        """Return one line per seed."""
        return sorted((r for r in self.rows if (r.target, r.tested_on) == (target, part)), key=lambda row: row.seed)

    def pairs(self, target: str, part: str) -> list[CurvePredictions]:
        """Return the predictions of every seed."""
        return [item for item in self.predictions if (item.target, item.tested_on) == (target, part)]

    def spread(self, target: str, part: str) -> float:
        """Return the standard deviation of the labels, mean over seeds."""
        return float(np.mean([item.truth.std() for item in self.pairs(target, part)]))

    def errors(self, target: str, part: str) -> FloatArray:
        """Return prediction − truth of all seeds."""
        return np.concatenate([item.prediction - item.truth for item in self.pairs(target, part)])

    def interval(self, target: str, part: str, metric: str, level: float = LEVEL) -> Interval:
        """Return the mean of one metric over seeds with its interval, see :meth:`over_networks`."""
        key = (target, part, level)
        if key not in self._metrics:
            self._metrics[key] = self.over_networks(
                [(target, part)], lambda sums: metrics_of(sums[..., 0, :]), level=level
            )
        return at_most_one(metric, self._metrics[key][METRICS.index(metric)])

    def over_networks(
        self, places: Sequence[tuple[str, str]], numbers: Statistic, *, level: float = LEVEL
    ) -> tuple[Interval, ...]:
        """Return the mean over seeds of numbers of each seed's networks, each with its interval.

        Where every seed has its own split it is that of the corrected resampled t, v̄ ± t_{J−1}·√((1/J + ρ/(1−ρ))·s²),
        with ρ the share of all samples that a part holds: parts of different splits share samples, train parts most.
        For several places the part counts with the harmonic mean of their sizes, as sampling errors add like 1/n.

        Where all seeds have the same samples, s² holds what initial weights and shuffling do, and nothing of which
        samples there are.  Groups of samples are then drawn, v̄ over networks taken in every draw, and the wider of
        this interval and of the one over seeds (ρ = 0) is returned; of one seed, the one over samples.

        Parameters
        ----------
        places
            Target and part of each network of a seed.
        numbers
            From the sums of one seed, shape (…, places, 8), to m numbers, shape (…, m).
        level
            Confidence level.
        """
        parts = [{item.seed: item for item in self.pairs(*place)} for place in places]
        seeds = sorted(set.intersection(*(set(part) for part in parts)))
        names = sorted({group for part in parts for seed in seeds for group in self._groups(part[seed])})
        sums = np.concatenate([self._sums(part[seed], names) for seed in seeds for part in parts], axis=1)

        def each_seed(totals: FloatArray) -> FloatArray:
            return numbers(totals.reshape(*totals.shape[:-1], len(seeds), len(places), _SUMS))

        shared = self._shared(places, seeds)
        values = each_seed(sums.sum(axis=0))
        ratio = 0.0 if shared else self._ratio(places, [part[seeds[0]] for part in parts])
        over_seeds = tuple(corrected_t(column, ratio, level=level).interval for column in values.T)
        if not shared:
            return over_seeds
        over_samples = bca(sums, lambda totals: _mean(each_seed(totals)), level=level)
        return tuple(map(wider, over_samples, over_seeds))

    def _shared(self, places: Sequence[tuple[str, str]], seeds: Sequence[int]) -> bool:
        found = [{frozenset(item.sample_ids) for item in self.pairs(*place) if item.seed in seeds} for place in places]
        return all(len(samples) == 1 for samples in found)

    def _ratio(self, places: Sequence[tuple[str, str]], items: Sequence[CurvePredictions]) -> float:
        n = len(items) / sum(1.0 / len(item.sample_ids) for item in items)
        return overlap_ratio(n, self.of(*places[0])[0].n_available - n)

    def _groups(self, item: CurvePredictions) -> list[str]:
        return [self.groups.get(sample, sample) for sample in item.sample_ids]

    def _sums(self, item: CurvePredictions, names: Sequence[str]) -> FloatArray:
        """Return the sums over each group, shape (groups, 8); zeros where the part has no sample of it."""
        own = self._groups(item)
        table = np.zeros((len(names), _SUMS))
        table[np.searchsorted(names, sorted(set(own)))] = metric_sums(item.truth, item.prediction, own)
        return table


def _mean(values: FloatArray) -> FloatArray:
    """Return means over networks, shape (…, networks, m) → (…, m)."""
    return np.asarray(values.mean(axis=-2))


def at_most_one(metric: str, found: Interval) -> Interval:
    """Return the interval of R² or r² without what lies above 1; others as they are."""
    if metric not in ("r2", "pearson_r2") or not found.known:
        return found
    return replace(found, low=min(found.low, 1.0), high=min(found.high, 1.0))


def implied_spread(rmse: float, r2: float) -> float:
    """Return σ = RMSE/√(1 − R²), the standard deviation of labels that gives these two numbers."""
    return rmse / math.sqrt(1.0 - r2)


def spread_alike(first: float, second: float) -> bool:
    """Return whether two standard deviations of labels differ by a factor of :data:`LIKE_SPREAD` at most."""
    return max(first / second, second / first) <= LIKE_SPREAD
