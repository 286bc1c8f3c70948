"""Paired differences of training collections on the same test samples, and what may be said about them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from phonograph.evaluation.comparison import corrected_t, holm, overlap_ratio, paired_difference
from phonograph.evaluation.scoring import in_range
from phonograph.types import NO_CLAIM, CurvePredictions, CurveRow, Difference, FloatArray

SCOPES = ("all", "in_range_of_both")
"""Test samples that enter: all, or those inside the training labels' range of both networks."""


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """Two networks of one seed on the same test part: |error| of both, and where both know the labels' range."""

    sample_ids: tuple[str, ...]
    first: FloatArray
    second: FloatArray
    inside: FloatArray


def paired_differences(
    rows: Sequence[CurveRow],
    predictions: Sequence[CurvePredictions],
    groups: Mapping[str, str],
    reference: str,
    *,
    seed: int = 0,
) -> tuple[Difference, ...]:
    """Compare ``reference`` with every other training collection, on every test and at every size.

    Parameters
    ----------
    rows
        Lines of the table; those that are ``chosen`` count.
    predictions
        Of the same networks.
    groups
        Sample id → group.
    reference
        The ``first`` of every pair.
    seed
        Of the bootstrap over test samples.

    Returns
    -------
    tuple of Difference
        Per target, size, scope, test and other collection; ``p_holm`` is corrected within (target, size, scope).
    """
    chosen = {_key(row): row for row in rows if row.chosen and row.scope == "all"}
    known = {_key(item): item for item in predictions if _key(item) in chosen}
    cases: dict[tuple[str, int, str, str], dict[int, _Pair]] = {}
    for key, item in known.items():
        target, trained_on, tested_on, size, number, _ = key
        if trained_on != reference:
            continue
        for other in (k for k in known if k[0] == target and k[2:5] == (tested_on, size, number) and k[1] != reference):
            cases.setdefault((target, size, tested_on, other[1]), {})[number] = _pair(item, known[other])
    found = [
        difference
        for (target, size, tested_on, other), pairs in cases.items()
        for scope in SCOPES
        for difference in _difference(rows, pairs, groups, scope, (target, size, tested_on, reference, other), seed)
    ]
    return tuple(_with_families(found))


def _key(item: CurveRow | CurvePredictions) -> tuple[str, str, str, int, int, str]:
    return (item.target, item.trained_on, item.tested_on, item.size, item.seed, item.candidate)


def _pair(first: CurvePredictions, second: CurvePredictions) -> _Pair:
    place = {sample: position for position, sample in enumerate(second.sample_ids)}
    shared = [position for position, sample in enumerate(first.sample_ids) if sample in place]
    ids = tuple(first.sample_ids[position] for position in shared)
    others = [place[sample] for sample in ids]
    truth = first.truth[shared]
    return _Pair(
        sample_ids=ids,
        first=np.abs(first.prediction[shared] - truth),
        second=np.abs(second.prediction[others] - second.truth[others]),
        inside=(in_range(truth, first.train_range) & in_range(truth, second.train_range)).astype(np.float64),
    )


def _difference(
    rows: Sequence[CurveRow],
    pairs: Mapping[int, _Pair],
    groups: Mapping[str, str],
    scope: str,
    case: tuple[str, int, str, str, str],
    seed: int,
) -> Iterator[Difference]:
    target, size, tested_on, first, second = case
    weights = [np.ones(len(pair.first)) if scope == "all" else pair.inside for pair in pairs.values()]
    used = [(pair, weight) for pair, weight in zip(pairs.values(), weights, strict=True) if weight.sum() > 0]
    if not used:
        return
    values = [float(weight @ (pair.first - pair.second) / weight.sum()) for pair, weight in used]
    row = next(r for r in rows if (r.target, r.trained_on, r.tested_on, r.size) == (target, first, tested_on, size))
    tested = corrected_t(values, overlap_ratio(row.n, row.n_train, row.n_available))
    samples = _over_samples(used, groups, seed)
    yield Difference(
        target=target,
        unit=row.unit,
        tested_on=tested_on,
        scope=scope,
        size=size,
        first=first,
        second=second,
        seeds=tested.repeats,
        n=float(np.mean([weight.sum() for _, weight in used])),
        difference=tested.interval.value,
        low=tested.interval.low,
        high=tested.interval.high,
        t=tested.t,
        p=tested.p,
        p_holm=math.nan,
        family=0,
        sample_low=samples[0],
        sample_high=samples[1],
    )


def _over_samples(
    used: Sequence[tuple[_Pair, FloatArray]], groups: Mapping[str, str], seed: int
) -> tuple[float, float]:
    """Return the bootstrap bounds over groups of test samples, each with the mean of its seeds."""
    totals: dict[str, list[float]] = {}
    for pair, weight in used:
        for sample, one, other, counts in zip(pair.sample_ids, pair.first, pair.second, weight, strict=True):
            if counts:
                totals.setdefault(sample, []).append(float(one - other))
    means = [float(np.mean(values)) for values in totals.values()]
    interval = paired_difference(means, np.zeros(len(means)), [groups[sample] for sample in totals], seed=seed)
    return interval.low, interval.high


def _with_families(found: Sequence[Difference]) -> Iterator[Difference]:
    families: dict[tuple[str, int, str], list[Difference]] = {}
    for item in found:
        families.setdefault((item.target, item.size, item.scope), []).append(item)
    for members in families.values():
        corrected = holm([item.p for item in members])
        tested = int(np.isfinite([item.p for item in members]).sum())
        yield from (replace(item, p_holm=float(p), family=tested) for item, p in zip(members, corrected, strict=True))


def verdict(item: Difference) -> str:
    """Return the comparison as one sentence with its numbers; a difference is named only where it may be claimed."""
    factor, unit = (1000.0, "m" + item.unit) if item.unit.startswith("eV") else (1.0, item.unit)
    half = 0.5 * (item.high - item.low)
    where = f"on {item.tested_on} at {item.size} labels" + (
        "" if item.scope == "all" else " (labels in the range of both)"
    )
    seeds = f"{item.seeds} seed" + ("" if item.seeds == 1 else "s")
    size = f"{_short(factor * abs(item.difference))} ± {_short(factor * half)} {unit}"
    if item.seeds < 2:
        return f"{item.first} against {item.second} {where}: {NO_CLAIM} from {seeds}"
    tail = f"(corrected p {_p_words(item.p_holm)} among {item.family} comparisons, {seeds}"
    tail += ")" if math.isfinite(item.sample_low) else ", too few groups of test samples for an interval)"
    if item.claimed:
        better, worse = (item.second, item.first) if item.difference > 0 else (item.first, item.second)
        return f"{better}-trained beats {worse}-trained {where} by {size} {tail}"
    return (
        f"{item.first}-trained against {item.second}-trained {where}: {NO_CLAIM}; MAE differs by "
        f"{_short(factor * item.difference)} ± {_short(factor * half)} {unit} {tail}"
    )


def _short(value: float) -> str:
    return f"{value:.3g}".replace("-", "\u2212")


def _p_words(p: float) -> str:
    return f"= {p:.2g}" if p >= 1e-4 else "< 0.0001"
