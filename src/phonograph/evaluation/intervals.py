"""Intervals of the cross-test table: over groups of test samples, and over resampled splits and seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from phonograph.evaluation.bootstrap import METRICS, bca, metric_sums, metrics_of
from phonograph.evaluation.comparison import corrected_t, overlap_ratio
from phonograph.evaluation.scoring import SCOPES, in_range
from phonograph.evaluation.skill import BEST_TRIVIAL, skill_against
from phonograph.types import REFERENCES, TRIVIAL_REFERENCES, FloatArray, Interval, MetricInterval, Predictions

NAMES = (*METRICS, "skill")
DRAWS = 1000
_OWN = 9
"""Sums of a network: those of the metrics and Σ|mean − y|; after them Σ|reference − y| of each reference."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Tested:
    """One network on one part: its predictions, the range and mean of its training labels.

    ``rest`` counts the samples of the tested collection that are in other parts; 0 where all of it tests.
    ``references`` are the predictions of references that were fitted on the same training part, for the same samples.
    """

    predictions: Predictions
    train_range: tuple[float, float]
    mean: float
    rest: int
    references: Mapping[str, FloatArray] = field(default_factory=dict)


def intervals(
    tested: Sequence[Tested], groups: Mapping[str, str], scopes: Sequence[str] = SCOPES
) -> tuple[MetricInterval, ...]:
    """Return the intervals of every line of the cross-test table, one per metric, and of its skill per reference.

    A skill compares pair by pair: both errors on the same groups of samples, and within each seed.

    Parameters
    ----------
    tested
        All networks on all parts; those of one target, training collection, tested collection and part are one line.
    groups
        Sample id → group; groups are drawn as wholes.
    scopes
        Those wanted.
    """
    lines: dict[tuple[str, ...], list[Tested]] = {}
    for item in tested:
        p = item.predictions
        lines.setdefault((p.target, p.unit, p.trained_on, p.tested_on, p.split), []).append(item)
    return tuple(
        found for key, members in lines.items() for scope in scopes for found in _line(key, members, groups, scope)
    )


def _line(
    key: tuple[str, ...], members: Sequence[Tested], groups: Mapping[str, str], scope: str
) -> Iterator[MetricInterval]:
    chosen = [_scope(item, scope) for item in members]
    used = [(item, where) for item, where in zip(members, chosen, strict=True) if where.any()]
    if not used:
        return
    names = sorted({groups[sample] for item, where in used for sample in _samples(item, where)})
    against = [name for name in REFERENCES[1:] if any(name in item.references for item, _ in used)]
    sums = np.concatenate([_sums(item, where, groups, names, against) for item, where in used], axis=1)

    def each_model(totals: FloatArray) -> FloatArray:
        return _each_model(totals.reshape(*totals.shape[:-1], len(used), -1), against)

    over_samples = bca(sums, lambda totals: _mean_over_models(each_model(totals)), draws=DRAWS)
    over_seeds = _over_seeds(used, each_model(sums.sum(axis=0)))
    best = [BEST_TRIVIAL] if set(against) & set(TRIVIAL_REFERENCES) else []
    for place, name in enumerate((*NAMES, *map(skill_against, (*against, *best)))):
        yield MetricInterval(
            target=key[0],
            unit=key[1],
            trained_on=key[2],
            tested_on=key[3],
            split=key[4],
            scope=scope,
            metric=name,
            models=len(used),
            groups=len(names),
            n=float(np.mean([where.sum() for _, where in used])),
            value=over_samples[place].value,
            low=over_samples[place].low,
            high=over_samples[place].high,
            seed_low=over_seeds[place].low,
            seed_high=over_seeds[place].high,
        )


def _scope(item: Tested, scope: str) -> NDArray[np.bool_]:
    inside = in_range(item.predictions.truth, item.train_range)
    return {"all": np.ones(len(inside), dtype=bool), "in_range": inside, "out_of_range": ~inside}[scope]


def _samples(item: Tested, where: NDArray[np.bool_]) -> list[str]:
    return [item.predictions.sample_ids[place] for place in np.flatnonzero(where)]


def _sums(
    item: Tested, where: NDArray[np.bool_], groups: Mapping[str, str], names: Sequence[str], against: Sequence[str]
) -> FloatArray:
    """Return the sums of one network and its references over each group, shape (groups, 9 + references)."""
    truth, prediction = item.predictions.truth[where], item.predictions.prediction[where]
    own = [groups[sample] for sample in _samples(item, where)]
    found = [metric_sums(truth, prediction, own)]
    unknown = np.full(len(where), np.nan)
    for other in (np.full(len(where), item.mean), *(item.references.get(name, unknown) for name in against)):
        found.append(metric_sums(truth, other[where], own)[:, 1:2])
    table = np.zeros((len(names), _OWN + len(against)))
    table[np.searchsorted(names, sorted(set(own)))] = np.concatenate(found, axis=1)
    return table


def _each_model(totals: FloatArray, against: Sequence[str]) -> FloatArray:
    """Return the numbers of each network, shape (…, 9 + references) → (…, 5 + skills)."""
    own, others = totals[..., 1:2], totals[..., _OWN - 1 :]
    trivial = [0, *(1 + place for place, name in enumerate(against) if name in TRIVIAL_REFERENCES)]
    if len(trivial) > 1:
        others = np.concatenate([others, np.fmin.reduce(others[..., trivial], axis=-1, keepdims=True)], axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        skills = np.where(others > 0, 1.0 - own / others, np.nan)
    return np.concatenate([metrics_of(totals[..., : _OWN - 1]), skills], axis=-1)


def _mean_over_models(found: FloatArray) -> FloatArray:
    """Return means over networks of what is defined, shape (…, networks, k) → (…, k)."""
    known = np.isfinite(found)
    count = known.sum(axis=-2)
    with np.errstate(invalid="ignore"):
        return np.where(count > 0, np.where(known, found, 0.0).sum(axis=-2) / np.maximum(count, 1), np.nan)


def _over_seeds(used: Sequence[tuple[Tested, NDArray[np.bool_]]], values: FloatArray) -> list[Interval]:
    """Return the corrected t of each number; where all samples test, splits share nothing but the networks differ."""
    ratios = [overlap_ratio(len(item.predictions.sample_ids), item.rest) if item.rest else 0.0 for item, _ in used]
    return [corrected_t(values[:, place], float(np.mean(ratios))).interval for place in range(values.shape[1])]
