"""Items about the best networks: Table 1 and Figure 2."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from phonograph.errors import DataError
from phonograph.evaluation import corrected_t, metric_intervals, overlap_ratio
from phonograph.evaluation.bootstrap import METRICS
from phonograph.report.words import fixed, number, plural
from phonograph.steps.paper.published import TABLE_1, TARGETS, UNITS, WORDS
from phonograph.steps.paper.verdicts import with_bound, with_number, without
from phonograph.types import CurvePredictions, CurveRow, FloatArray
from phonograph.types.curves import Interval
from phonograph.types.paper import AGREES, DISAGREES, Comparison, PaperItem, PaperTable

PARTS = ("train", "validation", "test")
LIKE_SPREAD = 1.25
"""Errors in the target's unit are compared where the spreads of the labels differ by less than this factor."""

NO_OVERFITTING = 1.10
"""Test MAE over train MAE up to which train and test are called alike."""

CENTRED = 0.10
"""Mean error over its standard deviation up to which errors are called centred."""


class Judged:
    """Networks of several seeds, judged on the parts of their own split; only lines of scope ``all`` count."""

    def __init__(
        self, rows: Sequence[CurveRow], predictions: Sequence[CurvePredictions], groups: Mapping[str, str]
    ) -> None:
        self.rows = [row for row in rows if row.scope == "all"]
        self.predictions = predictions
        self.groups = groups

    @property
    def targets(self) -> tuple[str, ...]:
        """Targets of the paper that were trained."""
        there = {row.target for row in self.rows}
        return tuple(target for target in TARGETS if target in there)

    def of(self, target: str, part: str) -> list[CurveRow]:
        """Return one line per seed."""
        return sorted((r for r in self.rows if (r.target, r.tested_on) == (target, part)), key=lambda row: row.seed)

    def pairs(self, target: str, part: str) -> list[CurvePredictions]:
        """Return the predictions of every seed."""
        return [item for item in self.predictions if (item.target, item.tested_on) == (target, part)]

    def interval(self, target: str, part: str, metric: str) -> Interval:
        """Return the mean over seeds with its interval; of one seed, that of the bootstrap over test samples."""
        lines = self.of(target, part)
        if len(lines) == 1:
            item = self.pairs(target, part)[0]
            names = [self.groups.get(sample, sample) for sample in item.sample_ids]
            return metric_intervals(item.truth, item.prediction, names)[metric]
        ratio = 0.0 if part == "train" else overlap_ratio(lines[0].n, lines[0].n_train, lines[0].n_available or None)
        return corrected_t([getattr(line, metric) for line in lines], ratio).interval

    def spread(self, target: str, part: str) -> float:
        """Return the standard deviation of the labels, mean over seeds."""
        return float(np.mean([item.truth.std() for item in self.pairs(target, part)]))

    def errors(self, target: str, part: str) -> FloatArray:
        """Return prediction − truth of all seeds."""
        return np.concatenate([item.prediction - item.truth for item in self.pairs(target, part)])

    def over_seeds(self, values: Sequence[float], target: str) -> Interval:
        """Return the corrected interval of one value per seed."""
        line = self.of(target, "test")[0]
        return corrected_t(values, overlap_ratio(line.n, line.n_train, line.n_available or None)).interval

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the networks."""
        return tuple(sorted({row.seed for row in self.rows}))


def implied_spread(rmse: float, r2: float) -> float:
    """Return σ = RMSE/√(1 − R²), the standard deviation of labels that gives these two numbers."""
    return rmse / math.sqrt(1.0 - r2)


def best_networks(judged: Judged, networks: Mapping[str, str]) -> PaperItem:
    """Return Table 1: MAE, RMSE and R² of the best network of each target on train, validation and test part.

    ``networks`` says in words which network of each target it is.
    """
    if not judged.targets:
        raise DataError("none of the paper's targets was trained; name them in paper.targets")
    comparisons: list[Comparison] = []
    rows: list[tuple[str | float, ...]] = []
    for target in judged.targets:
        for part in PARTS:
            comparisons += _numbers(judged, target, part)
            found = {name: judged.interval(target, part, name) for name in METRICS}
            n = judged.of(target, part)[0].n
            rows.append((WORDS[target], part, n, *(_short(found[name]) for name in METRICS), UNITS[target]))
    comparisons += [_all_r2(judged), _overfitting(judged)]
    told = [f"{WORDS[target]}: {networks[target]}" for target in judged.targets if target in networks]
    return PaperItem(
        key="table1",
        title="Best models",
        comparisons=tuple(comparisons),
        sentences=(
            f"Trained on phonon and random cells together, {plural(len(judged.seeds), 'seed')}, each with its own "
            f"split. {'; '.join(told)}.",
            "The paper's text calls R² a squared Pearson coefficient, the authors' scripts compute the coefficient of "
            "determination: ours agrees where either of the two does. Errors in eV or GPa are compared where the "
            f"labels spread alike (within a factor of {LIKE_SPREAD:g}); the paper's spread follows from its RMSE and "
            "R².",
        ),
        tables=(
            PaperTable(
                title="Ours",
                head=("target", "part", "n", "MAE", "RMSE", "R²", "Pearson r²", "unit"),
                rows=tuple(rows),
            ),
        ),
        seeds=judged.seeds,
    )


def _short(found: Interval) -> str:
    if not found.known:
        return number(found.value)
    return f"{number(found.value)} [{number(found.low)}, {number(found.high)}]"


def _numbers(judged: Judged, target: str, part: str) -> list[Comparison]:
    lines = judged.of(target, part)
    n, key = lines[0].n, f"table1.{target}.{part}"
    of = "cells" if len(lines) == 1 else f"cells, {len(lines)} seeds"
    pearson = with_number(
        f"{key}.r2", judged.interval(target, part, "pearson_r2"), n=n, n_of=of, headline=part == "test"
    )
    other = with_number(f"{key}.r2", judged.interval(target, part, "r2"), n=n, n_of=of, headline=part == "test")
    r2 = other if (pearson.verdict, other.verdict) == (DISAGREES, AGREES) else pearson
    _, rmse, published_r2 = TABLE_1[target][part]
    theirs, ours = implied_spread(rmse, published_r2), judged.spread(target, part)
    found = [r2]
    for place, name in enumerate(("mae", "rmse")):
        interval = judged.interval(target, part, name)
        options = {"n": n, "n_of": of, "headline": part == "test" and name == "mae"}
        if max(ours / theirs, theirs / ours) <= LIKE_SPREAD:
            found.append(with_number(f"{key}.{name}", interval, **options))  # type: ignore[arg-type]
            continue
        published = TABLE_1[target][part][place]
        reason = (
            f"labels spread by {number(ours, 2)} {UNITS[target]} here and {number(theirs, 2)} in the paper; in units "
            f"of the spread {fixed(interval.value / ours, 2)} here, {fixed(published / theirs, 2)} there"
        )
        found.append(without(f"{key}.{name}", reason, ours=interval, unit=UNITS[target], **options))  # type: ignore[arg-type]
    return found


def _all_r2(judged: Judged) -> Comparison:
    per_target = {target: judged.interval(target, "test", "pearson_r2") for target in judged.targets}
    worst = min(per_target, key=lambda target: per_target[target].value)
    return with_bound(
        "table1.all-r2",
        per_target[worst],
        n=len(judged.seeds),
        n_of="seeds",
        at_least=0.79,
        otherwise=f"that of the {WORDS[worst]} is {fixed(per_target[worst].value, 2)}",
        headline=True,
    )


def _overfitting(judged: Judged) -> Comparison:
    found = {}
    for target in judged.targets:
        train = {row.seed: row.mae for row in judged.of(target, "train")}
        ratios = [row.mae / train[row.seed] for row in judged.of(target, "test")]
        found[target] = judged.over_seeds(ratios, target)
    worst = max(found, key=lambda target: found[target].value)
    return with_bound(
        "table1.overfitting",
        found[worst],
        n=len(judged.seeds),
        n_of="seeds",
        at_most=NO_OVERFITTING,
        otherwise=f"for the {WORDS[worst]} the test error is {fixed(found[worst].value, 2)} times the train error",
        headline=True,
    )


def parity(judged: Judged) -> PaperItem:
    """Return Figure 2: predicted against labelled values and the distribution of errors, first seed drawn."""
    comparisons = []
    arrays: dict[str, FloatArray] = {}
    rows: list[tuple[str | float, ...]] = []
    for target in judged.targets:
        for part in PARTS:
            first = judged.pairs(target, part)[0]
            arrays[f"{target}.{part}.truth"], arrays[f"{target}.{part}.prediction"] = first.truth, first.prediction
            errors = judged.errors(target, part)
            rows.append((WORDS[target], part, number(errors.mean(), 2), number(errors.std()), UNITS[target]))
        comparisons.append(_centred(judged, target))
    if "band_gap_eV" in judged.targets and len(judged.targets) > 1:
        comparisons.append(_gap_worst(judged))
    return PaperItem(
        key="fig2",
        title="Predictions of the best models and their errors",
        comparisons=tuple(comparisons),
        sentences=(f"Errors are called centred where their mean is below {CENTRED} of their standard deviation.",),
        tables=(
            PaperTable(title="Errors, all seeds", head=("target", "part", "mean", "sd", "unit"), rows=tuple(rows)),
        ),
        arrays=arrays,
        seeds=judged.seeds,
    )


def _centred(judged: Judged, target: str) -> Comparison:
    parts = [item.prediction - item.truth for item in judged.pairs(target, "test")]
    ratios = [float(errors.mean() / errors.std()) if errors.std() > 0 else 0.0 for errors in parts]
    found = judged.over_seeds(ratios, target)
    if len(parts) == 1:
        half = 1.96 / math.sqrt(len(parts[0]))
        found = Interval(value=ratios[0], low=ratios[0] - half, high=ratios[0] + half)
    size = Interval(value=abs(found.value), low=_smallest(found), high=max(abs(found.low), abs(found.high)))
    return with_bound(
        f"fig2.{target}.bias", size, n=len(parts[0]), n_of="cells", at_most=CENTRED, headline=target == "band_gap_eV"
    )


def _smallest(found: Interval) -> float:
    return 0.0 if found.low <= 0 <= found.high else min(abs(found.low), abs(found.high))


def _gap_worst(judged: Judged) -> Comparison:
    others = [target for target in judged.targets if target != "band_gap_eV"]
    values = {target: {row.seed: row.pearson_r2 for row in judged.of(target, "test")} for target in judged.targets}
    shared = sorted(set.intersection(*(set(found) for found in values.values())))
    differences = [values["band_gap_eV"][seed] - min(values[target][seed] for target in others) for seed in shared]
    found = judged.over_seeds(differences, "band_gap_eV")
    means = {target: float(np.mean(list(values[target].values()))) for target in judged.targets}
    lowest = min(means, key=lambda target: means[target])
    return with_bound(
        "fig2.gap-worst",
        found,
        n=len(shared),
        n_of="seeds",
        at_most=0.0,
        otherwise=f"the lowest is that of the {WORDS[lowest]} ({fixed(means[lowest], 2)})",
        headline=True,
    )
