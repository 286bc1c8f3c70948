"""The verb behind ``phonograph learning-curve``: lines of single fits become points, laws, differences and words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from phonograph.errors import DataError
from phonograph.evaluation.bootstrap import METRICS
from phonograph.evaluation.comparison import corrected_t, overlap_ratio
from phonograph.evaluation.differences import paired_differences, verdict
from phonograph.evaluation.power_law import LEAST_SIZES, PowerLawFit, fit_power_law, label_factor
from phonograph.types import (
    CurveBand,
    CurvePoint,
    CurvePredictions,
    CurveRow,
    Difference,
    FloatArray,
    Interval,
    LabelFactor,
    LearningCurve,
    Origin,
    PowerLaw,
)

FITTED_SCOPES = ("all", "in_range")
BAND_POINTS = 33

GAUSSIAN_MAE = math.sqrt(2.0 / math.pi)
"""Mean absolute value of Gaussian noise of unit standard deviation."""

Key = tuple[str, str, str, str]
"""(target, trained_on, tested_on, scope)."""


def learning_curve(
    rows: Sequence[CurveRow],
    predictions: Sequence[CurvePredictions] = (),
    groups: Mapping[str, str] | None = None,
    *,
    reference: str = "",
    floors: Mapping[str, float] | None = None,
    seed: int = 0,
    warnings: Sequence[str] = (),
    origin: Origin | None = None,
) -> LearningCurve:
    """Turn the fits of a learning curve into what may be said about it.

    Parameters
    ----------
    rows
        One line per network, test and scope; where candidates were tried, all of them (:func:`choose` marks the best
        by validation).
    predictions
        Of the same networks, for paired differences; without them there are none.
    groups
        Sample id → group, for the bootstrap over test samples.
    reference
        Training collection that the others are compared with; the first of the rows where not given.
    floors
        Target → standard deviation of the label noise, in the target's unit; where an error is not above what the noise
        alone gives, σ·√(2/π), the verdicts say so.
    seed
        Of every bootstrap.
    warnings, origin
        Carried into the result.

    Returns
    -------
    LearningCurve
        ``points``: mean over seeds with the interval of the corrected t (test parts of different seeds share samples).
        ``fits``, ``bands``: the power law of every curve with three sizes or more.  ``differences``: paired, corrected
        for their number.  ``factors``: how many times fewer labels, scope ``all``.  ``verdicts``: sentences,
        at the largest size.

    Raises
    ------
    DataError
        Without rows, or where ``reference`` is no training collection of them.
    """
    chosen = [row for row in choose(rows) if row.chosen]
    if not chosen:
        raise DataError("a learning curve needs rows; train something first")
    names = list(dict.fromkeys(row.trained_on for row in chosen))
    reference = reference or names[0]
    if reference not in names:
        raise DataError(f"the reference {reference!r} is no training collection; they are {', '.join(names)}")
    laws = _laws(chosen, seed)
    differences = paired_differences(chosen, predictions, groups or {}, reference, seed=seed)
    units = {row.target: row.unit for row in chosen}
    points = tuple(_points(chosen))
    return LearningCurve(
        rows=choose(rows),
        points=points,
        fits=tuple(_law_row(key, fit, units[key[0]]) for key, fit in laws.items()),
        bands=tuple(band for key, fit in laws.items() for band in _bands(key, fit, units[key[0]])),
        differences=differences,
        factors=tuple(_factors(laws, reference, units)),
        verdicts=(*_verdicts(points, differences), *_at_the_floor(points, floors or {})),
        warnings=(*warnings, *_notes(laws, len({row.seed for row in chosen}))),
        origin=origin or Origin(room="evaluation"),
    )


def choose(rows: Sequence[CurveRow]) -> tuple[CurveRow, ...]:
    """Return the rows; ``chosen`` = 1 for the candidate of lowest validation error of its collection, size and seed.

    The test part has no say; of equal ones the first counts.
    """
    best: dict[tuple[str, str, int, int], tuple[float, str]] = {}
    for row in rows:
        key = (row.target, row.trained_on, row.size, row.seed)
        error = row.validation_mae if math.isfinite(row.validation_mae) else math.inf
        if key not in best or error < best[key][0]:
            best[key] = (error, row.candidate)
    return tuple(
        replace(row, chosen=int(best[row.target, row.trained_on, row.size, row.seed][1] == row.candidate))
        for row in rows
    )


def _curve(row: CurveRow) -> Key:
    return (row.target, row.trained_on, row.tested_on, row.scope)


def _points(rows: Sequence[CurveRow]) -> Iterator[CurvePoint]:
    ratios = _ratios(rows)
    cells: dict[tuple[Key, int], list[CurveRow]] = {}
    for row in rows:
        cells.setdefault((_curve(row), row.size), []).append(row)
    for (key, size), lines in cells.items():
        ratio = ratios[(*key[:3], size)]
        found = {name: _mean(lines, name, ratio) for name in METRICS}
        skill = corrected_t([_skill(line) for line in lines], ratio).interval
        yield CurvePoint(
            target=key[0],
            unit=lines[0].unit,
            trained_on=key[1],
            tested_on=key[2],
            scope=key[3],
            size=size,
            seeds=len(lines),
            n=float(np.mean([line.n for line in lines])),
            mae_sd=_sd([line.mae for line in lines]),
            naive_mae=_finite_mean([line.naive_mae for line in lines]),
            skill=skill.value,
            skill_low=skill.low,
            skill_high=skill.high,
            label_core_hours=float(np.mean([line.label_core_hours for line in lines])),
            **{name: found[name].value for name in METRICS},
            **{f"{name}_low": found[name].low for name in METRICS},
            **{f"{name}_high": found[name].high for name in METRICS},
        )


def _mean(lines: Sequence[CurveRow], name: str, ratio: float) -> Interval:
    return corrected_t([getattr(line, name) for line in lines], ratio).interval


def _skill(row: CurveRow) -> float:
    return 1.0 - row.mae / row.naive_mae if row.naive_mae > 0 else math.nan


def _ratios(rows: Sequence[CurveRow]) -> Mapping[tuple[str, str, str, int], float]:
    """Return (target, trained_on, tested_on, size) → ρ/(1 − ρ) of the test parts, mean over seeds."""
    found: dict[tuple[str, str, str, int], list[float]] = {}
    for row in rows:
        if row.scope == "all" and row.n > 0:
            key = (row.target, row.trained_on, row.tested_on, row.size)
            found.setdefault(key, []).append(overlap_ratio(row.n, row.n_train, row.n_available))
    everywhere = {(row.target, row.trained_on, row.tested_on, row.size): math.nan for row in rows}
    return {**everywhere, **{key: float(np.mean(values)) for key, values in found.items()}}


def _sd(values: Sequence[float]) -> float:
    known = np.array([value for value in values if math.isfinite(value)])
    return float(known.std(ddof=1)) if len(known) > 1 else math.nan


def _finite_mean(values: Sequence[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return float(np.mean(known)) if known else math.nan


def _laws(rows: Sequence[CurveRow], seed: int) -> dict[Key, PowerLawFit]:
    """Fit every curve that has three sizes with positive errors of the same seeds; others have no law."""
    ratios = _ratios(rows)
    curves: dict[Key, list[CurveRow]] = {}
    for row in rows:
        if row.scope in FITTED_SCOPES:
            curves.setdefault(_curve(row), []).append(row)
    found = {}
    for key, lines in curves.items():
        sizes = sorted({line.size for line in lines})
        table = _table(lines, sizes)
        usable = np.asarray(np.isfinite(table).any(axis=0))
        sizes = [size for size, has in zip(sizes, usable, strict=True) if has]
        ratio = [ratios[(*key[:3], size)] for size in sizes]
        if len(sizes) >= LEAST_SIZES and _complete(table[:, usable]) and all(map(math.isfinite, ratio)):
            found[key] = fit_power_law(sizes, table[:, usable], ratio=ratio, seed=seed)
    return found


def _table(lines: Sequence[CurveRow], sizes: Sequence[int]) -> FloatArray:
    seeds = sorted({line.seed for line in lines})
    table = np.full((len(seeds), len(sizes)), np.nan)
    for line in lines:
        table[seeds.index(line.seed), sizes.index(line.size)] = line.mae
    return table


def _complete(table: FloatArray) -> bool:
    return bool((np.isfinite(table) & (table > 0)).all(axis=1).any())


def _law_row(key: Key, fit: PowerLawFit, unit: str) -> PowerLaw:
    a, b, c = fit.parameters()
    return PowerLaw(
        target=key[0],
        unit=unit,
        trained_on=key[1],
        tested_on=key[2],
        scope=key[3],
        sizes=len(fit.sizes),
        seeds=fit.seeds,
        excluded=fit.excluded,
        smallest=int(fit.sizes.min()),
        largest=int(fit.sizes.max()),
        floor=fit.floor,
        a=a.value,
        a_low=a.low,
        a_high=a.high,
        b=b.value,
        b_low=b.low,
        b_high=b.high,
        c=c.value,
        c_low=c.low,
        c_high=c.high,
        residual=fit.residual,
    )


def _bands(key: Key, fit: PowerLawFit, unit: str) -> Iterator[CurveBand]:
    target, trained_on, tested_on, scope = key
    low, high = float(fit.sizes.min()), fit.limits[1]
    for size in np.exp(np.linspace(math.log(low), math.log(high), BAND_POINTS)).tolist():
        found = fit.at(min(size, high))
        yield CurveBand(
            target=target,
            unit=unit,
            trained_on=trained_on,
            tested_on=tested_on,
            scope=scope,
            size=size,
            mae=found.value,
            low=found.low,
            high=found.high,
        )


def _factors(laws: Mapping[Key, PowerLawFit], reference: str, units: Mapping[str, str]) -> Iterator[LabelFactor]:
    """Compare every collection with the reference at the largest size that both were fitted to, over all test labels.

    Laws of labels in range have no factor: each collection has a range of its own, and so other test samples.
    """
    for (target, ours, tested_on, scope), fit in laws.items():
        base = laws.get((target, reference, tested_on, scope))
        if scope != "all" or ours == reference or base is None:
            continue
        size = min(float(fit.sizes.max()), float(base.sizes.max()))
        factor, mae, bound, censored = label_factor(fit, base, size)
        yield LabelFactor(
            target=target,
            unit=units[target],
            tested_on=tested_on,
            scope=scope,
            base=reference,
            ours=ours,
            base_size=size,
            mae=mae,
            factor=factor.value,
            low=factor.low,
            high=factor.high,
            bound=bound,
            censored=censored,
        )


def _verdicts(points: Sequence[CurvePoint], differences: Sequence[Difference]) -> Iterator[str]:
    """Yield one sentence per comparison at its largest size, and one per collection that beats no naive error."""
    everything = [item for item in differences if item.scope == "all"]
    largest: dict[tuple[str, str, str], int] = {}
    for item in everything:
        key = (item.target, item.tested_on, item.second)
        largest[key] = max(largest.get(key, 0), item.size)
    several = len({item.target for item in everything}) > 1
    for item in everything:
        if item.size == largest[item.target, item.tested_on, item.second]:
            yield f"{item.target}: {verdict(item)}" if several else verdict(item)
    yield from _not_better(points)


def _not_better(points: Sequence[CurvePoint]) -> Iterator[str]:
    """Name the tests on which networks of the largest size cannot be said to beat their training mean."""
    beaten: dict[tuple[str, str, int], list[str]] = {}
    for point in _last(points):
        # An unknown bound is no claim either: one seed shows nothing.
        if not point.skill_low > 0:
            bounds = f"{_fixed(point.skill_low)} to {_fixed(point.skill_high)}"
            if not math.isfinite(point.skill_low):
                bounds = f"no interval: {point.seeds} seed" + ("" if point.seeds == 1 else "s")
            words = f"{point.tested_on} (skill {_fixed(point.skill)}, {bounds})"
            beaten.setdefault((point.target, point.trained_on, point.size), []).append(words)
    for (target, trained_on, size), tests in beaten.items():
        yield (
            f"{target}: trained on {size} labels of {trained_on}, networks cannot be claimed to beat the mean of their "
            f"training labels on {'; '.join(tests)}"
        )


def _at_the_floor(points: Sequence[CurvePoint], floors: Mapping[str, float]) -> Iterator[str]:
    """Name the tests on which the error is not above that of the label noise: differences there mean nothing."""
    for point in _last(points):
        noise = GAUSSIAN_MAE * floors.get(point.target, math.nan)
        bound = point.mae_low if math.isfinite(point.mae_low) else point.mae
        if bound <= noise:
            yield (
                f"{point.target}: trained on {point.size} labels of {point.trained_on}, the error on {point.tested_on} "
                f"(MAE {point.mae:.3g} {point.unit}) is not above what the noise of the labels alone gives "
                f"({noise:.3g} {point.unit}); no difference below it means anything"
            )


def _last(points: Sequence[CurvePoint]) -> Iterator[CurvePoint]:
    """Yield the point of the largest size of every curve over all test labels."""
    last: dict[tuple[str, str, str], CurvePoint] = {}
    for point in points:
        key = (point.target, point.trained_on, point.tested_on)
        if point.scope == "all" and (key not in last or point.size > last[key].size):
            last[key] = point
    yield from last.values()


def _fixed(value: float) -> str:
    return f"{value:.2f}".replace("-", "\u2212") if math.isfinite(value) else "unknown"


def _notes(laws: Mapping[Key, PowerLawFit], seeds: int) -> Iterator[str]:
    if seeds < LEAST_SEEDS:
        yield (
            f"learning curves of {seeds} seed{'' if seeds == 1 else 's'} are a pilot: differences and intervals need "
            f"{LEAST_SEEDS} or more"
        )
    fixed = sum(fit.floor == "zero" for fit in laws.values())
    if fixed:
        yield f"{fixed} power laws have three sizes, which do not determine a floor; c is held at 0"
    excluded = sum(fit.excluded > 0 for fit in laws.values())
    if excluded:
        yield f"{excluded} power laws leave out seeds that lack a size or a test label; the counts are in fits.csv"


LEAST_SEEDS = 10
