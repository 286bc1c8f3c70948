"""Items about the best networks: Table 1 and Figure 2."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from phonograph.errors import DataError
from phonograph.evaluation.bootstrap import METRICS, metrics_of
from phonograph.report.words import fixed, listed, number, plural, sentence_case
from phonograph.steps.paper.judged import LIKE_SPREAD, Judged, implied_spread, spread_alike
from phonograph.steps.paper.published import TABLE_1, TARGETS, UNITS, WORDS
from phonograph.steps.paper.verdicts import with_bound, with_every, with_number, without
from phonograph.types import FloatArray
from phonograph.types.curves import Interval
from phonograph.types.paper import AGREES, UNDECIDED, Comparison, PaperItem, PaperTable

PARTS = ("train", "validation", "test")
GAP = "band_gap_eV"

AROUND_080 = 0.79
"""What "around or above 0.80" means: the lowest published test R², that of the band gap."""

NO_OVERFITTING = 1.10
"""Test MAE over train MAE up to which train and test are called alike."""

CENTRED = 0.10
"""Mean error over its standard deviation up to which errors are called centred."""


def best_networks(judged: Judged, networks: Mapping[str, str], splits: str = "each with its own split") -> PaperItem:
    """Return Table 1: MAE, RMSE and R² of the best network of each target on train, validation and test part.

    ``networks`` says in words which network of each target it is, ``splits`` what the seeds share.
    """
    _check_targets(judged)
    comparisons: list[Comparison] = []
    rows: list[tuple[str | float, ...]] = []
    for target in judged.targets:
        for part in PARTS:
            comparisons += _numbers(judged, target, part)
            found = {name: judged.interval(target, part, name) for name in METRICS}
            n = judged.of(target, part)[0].n
            rows.append((WORDS[target], part, n, *(_short(found[name]) for name in METRICS), UNITS[target]))
    comparisons += [_all_r2(judged), _overfitting(judged)]
    told = [f"{sentence_case(WORDS[target])}: {networks[target]}" for target in judged.targets if target in networks]
    return PaperItem(
        key="table1",
        title="Best models",
        comparisons=tuple(comparisons),
        sentences=(
            f"Trained on phonon and random cells together, {plural(len(judged.seeds), 'seed')}, {splits}. "
            f"{_how_sure(judged)}",
            *([f"{'; '.join(told)}."] if told else []),
            "The paper's text calls R² a squared Pearson coefficient, the authors' scripts compute the coefficient of "
            "determination: ours agrees where either of the two does; what is said of all targets goes by the squared "
            "Pearson coefficient alone, which is never below the other. Errors in eV or GPa are compared where the "
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


def _check_targets(judged: Judged) -> None:
    if not judged.targets:
        raise DataError("none of the paper's targets was trained; name them in paper.targets")


def _how_sure(judged: Judged) -> str:
    if len(judged.seeds) == 1:
        return "Intervals are those of a bootstrap over groups of cells."
    if judged.one_split:
        return (
            "All seeds are tested on the same cells, so seeds alone say nothing about other cells: intervals are those "
            "of a bootstrap over groups of cells of the mean over networks, or those over seeds where they are wider."
        )
    return "Intervals are those of the corrected t over seeds, for cells that the parts of different splits share."


def _short(found: Interval) -> str:
    if not found.known:
        return number(found.value)
    return f"{number(found.value)} [{number(found.low)}, {number(found.high)}]"


def _numbers(judged: Judged, target: str, part: str) -> list[Comparison]:
    lines = judged.of(target, part)
    n, key = lines[0].n, f"table1.{target}.{part}"
    of = "cells" if len(lines) == 1 else f"cells, {len(lines)} seeds"
    both = [
        with_number(f"{key}.r2", judged.interval(target, part, name), n=n, n_of=of, headline=part == "test")
        for name in ("pearson_r2", "r2")
    ]
    # The paper may mean either, so that only what neither can be contradicts it.
    r2 = next((line for said in (AGREES, UNDECIDED) for line in both if line.verdict == said), both[0])
    _, rmse, published_r2 = TABLE_1[target][part]
    theirs, ours = implied_spread(rmse, published_r2), judged.spread(target, part)
    found = [r2]
    for place, name in enumerate(("mae", "rmse")):
        interval = judged.interval(target, part, name)
        options = {"n": n, "n_of": of, "headline": part == "test" and name == "mae"}
        if spread_alike(ours, theirs):
            found.append(with_number(f"{key}.{name}", interval, **options))  # type: ignore[arg-type]
            continue
        published = TABLE_1[target][part][place]
        reason = (
            f"the labels spread {number(ours / theirs, 2)} times as wide here; in units of their spread "
            f"{fixed(interval.value / ours, 2)} here, {fixed(published / theirs, 2)} there"
        )
        found.append(without(f"{key}.{name}", reason, ours=interval, unit=UNITS[target], **options))  # type: ignore[arg-type]
    return found


def _missing(judged: Judged) -> str:
    """Return why a statement about all of the paper's targets cannot be judged, or nothing."""
    missing = [WORDS[target] for target in TARGETS if target not in judged.targets]
    return f"it is said of all four targets; not trained here: {listed(missing)}" if missing else ""


def _all_r2(judged: Judged) -> Comparison:
    key = "table1.all-r2"
    if missing := _missing(judged):
        return without(key, missing, headline=True)

    def cases(level: float) -> dict[str, Interval]:
        return {f"the {WORDS[t]}": judged.interval(t, "test", "pearson_r2", level) for t in judged.targets}

    return with_every(
        key,
        cases,
        n=len(judged.seeds),
        n_of="seeds",
        at_least=AROUND_080,
        otherwise=lambda worst, found: f"that of {worst} is {fixed(found.value, 2)}",
        headline=True,
    )


def _overfitting(judged: Judged) -> Comparison:
    key = "table1.overfitting"
    if missing := _missing(judged):
        return without(key, missing, headline=True)

    def ratio(sums: FloatArray) -> FloatArray:
        mae = metrics_of(sums)[..., 0]
        return mae[..., :1] / mae[..., 1:]

    def cases(level: float) -> dict[str, Interval]:
        return {
            f"the {WORDS[t]}": judged.over_networks([(t, "test"), (t, "train")], ratio, level=level)[0]
            for t in judged.targets
        }

    return with_every(
        key,
        cases,
        n=len(judged.seeds),
        n_of="seeds",
        at_most=NO_OVERFITTING,
        otherwise=lambda worst, found: f"for {worst} the test error is {fixed(found.value, 2)} times the train error",
        headline=True,
    )


def parity(judged: Judged) -> PaperItem:
    """Return Figure 2: predicted against labelled values and the distribution of errors, first seed drawn."""
    _check_targets(judged)
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
    comparisons.append(_gap_worst(judged))
    return PaperItem(
        key="fig2",
        title="Predictions of the best models and their errors",
        comparisons=tuple(comparisons),
        sentences=(
            f"Errors are called centred where their mean is below {CENTRED} of their standard deviation. "
            f"{_how_sure(judged)}",
        ),
        tables=(
            PaperTable(title="Errors, all seeds", head=("target", "part", "mean", "sd", "unit"), rows=tuple(rows)),
        ),
        arrays=arrays,
        seeds=judged.seeds,
    )


def _centred(judged: Judged, target: str) -> Comparison:
    def bias(sums: FloatArray) -> FloatArray:
        n, _, square, y, _, f, _, _ = np.moveaxis(sums[..., 0, :], -1, 0)
        mean = (f - y) / n
        sd = np.sqrt(np.maximum(square / n - mean**2, 0.0))
        return np.divide(mean, sd, out=np.zeros_like(mean), where=sd > 0)[..., None]

    found = judged.over_networks([(target, "test")], bias)[0]
    size = Interval(value=abs(found.value), low=_smallest(found), high=max(abs(found.low), abs(found.high)))
    n = judged.of(target, "test")[0].n
    return with_bound(f"fig2.{target}.bias", size, n=n, n_of="cells", at_most=CENTRED, headline=target == GAP)


def _smallest(found: Interval) -> float:
    return 0.0 if found.low <= 0 <= found.high else min(abs(found.low), abs(found.high))


def _gap_worst(judged: Judged) -> Comparison:
    key = "fig2.gap-worst"
    if missing := _missing(judged):
        return without(key, missing, headline=True)
    others = [target for target in judged.targets if target != GAP]

    def margins(sums: FloatArray) -> FloatArray:
        pearson = metrics_of(sums)[..., METRICS.index("pearson_r2")]
        return pearson[..., :1] - pearson[..., 1:]

    def cases(level: float) -> dict[str, Interval]:
        places = [(target, "test") for target in (GAP, *others)]
        found = judged.over_networks(places, margins, level=level)
        return {f"the {WORDS[other]}": margin for other, margin in zip(others, found, strict=True)}

    return with_every(
        key,
        cases,
        n=len(judged.seeds),
        n_of="seeds",
        at_most=0.0,
        otherwise=lambda lowest, found: f"that of {lowest} is lower by {fixed(found.value, 2)}",
        headline=True,
    )
