"""The end of a study: winner and configured network trained again, tested, and a sentence on what the winner is worth.

All final seeds share one test part, so that how their networks differ says nothing of other samples, and other samples
nothing of other networks: an interval is the wider of both (:func:`phonograph.evaluation.comparison.wider`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from phonograph.evaluation import (
    coefficient_of_determination,
    corrected_t,
    fit_references,
    paired_difference,
)
from phonograph.evaluation.comparison import wider
from phonograph.evaluation.intervals import Tested, intervals
from phonograph.evaluation.scoring import MEAN_PREDICTOR
from phonograph.evaluation.skill import BEST_TRIVIAL, skill_against
from phonograph.evaluation.summary import NOISE_R2
from phonograph.report.words import error_unit, fixed, number, plural
from phonograph.steps.fits import FitOutcome, FitRequest
from phonograph.steps.study_tables import failed_final, finals_of
from phonograph.training.grid import GridPoint
from phonograph.types import (
    NO_CLAIM,
    TRIVIAL_REFERENCES,
    Configurations,
    FloatArray,
    HyperparameterStudy,
    Interval,
    Predictions,
    Split,
    StudyFinal,
    StudyVerdict,
)

if TYPE_CHECKING:
    from phonograph.steps.study import Bench

TEST = "test"
WINNER, CONFIGURED = "winner", "configured"

_NAMES = {
    TRIVIAL_REFERENCES[0]: "the mean of the training labels",
    TRIVIAL_REFERENCES[1]: "a linear function of composition and volume",
    TRIVIAL_REFERENCES[2]: "a linear function of composition, volume and ⟨u²⟩",
}
_ALIKE = 1e-9
"""A reference whose error is as good as that of the mean is the mean: composition and volume may not vary."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Final:
    """One refitted network and what it predicts for the test part; of a winner also what trivial references do."""

    outcome: FitOutcome
    found: Predictions
    others: Mapping[str, FloatArray]


@dataclass(frozen=True, kw_only=True)
class _Compared:
    """What a reference is told of the network that it is compared with."""

    name: str
    target: str
    unit: str
    trained_on: str
    train_range: tuple[float, float]
    split: Split
    seed: int


def tested(
    bench: Bench, study: HyperparameterStudy, sets: Sequence[Configurations]
) -> tuple[tuple[StudyFinal, ...], tuple[StudyVerdict, ...]]:
    """Train the winner, and the configured network beside it, again; judge both on the outer test part.

    Parameters
    ----------
    bench, study
        The study, ranked.
    sets
        Configurations of its samples, which the trivial references are functions of.

    Returns
    -------
    finals, verdicts
        Rows per network and trivial reference, and one verdict per target; nothing without final seeds.
    """
    seeds = bench.settings.final_seeds
    if not seeds:
        return (), ()
    outcomes = _trained_again(bench, study)
    groups = dict(zip(bench.graphs.sample_ids, bench.graphs.groups, strict=True))
    rows: list[StudyFinal] = []
    verdicts = []
    for target in bench.targets:
        unit = bench.unit(target)
        winners = {seed: outcomes[target, WINNER, seed] for seed in seeds}
        others = _trivial(bench, target, winners, sets)
        finals: dict[str, dict[int, Final]] = {WINNER: {}, CONFIGURED: {}}
        for model, by_seed in finals.items():
            for seed in seeds:
                outcome = outcomes[target, model, seed]
                if outcome.failure:
                    rows.append(failed_final(target, unit, model, seed, outcome.failure))
                    continue
                found = _predictions(bench, target, model, seed, outcome)
                beside = others[seed] if model == WINNER else {}
                by_seed[seed] = Final(outcome=outcome, found=found, others=beside)
                rows += finals_of(outcome, found, beside)
        why = next((one.failure for one in winners.values() if one.failure), "")
        verdicts.append(verdict(target, unit, finals[WINNER], finals[CONFIGURED], groups, why))
    return tuple(rows), tuple(verdicts)


def _trained_again(bench: Bench, study: HyperparameterStudy) -> dict[tuple[str, str, int], FitOutcome]:
    """Return (target, winner or configured, seed) → what came of it."""
    epochs = bench.context.config.training.settings.epochs
    requests = {}
    for target in bench.targets:
        own = _point_of(bench, study, study.winner(target).values)
        for model, chosen in ((WINNER, own), (CONFIGURED, bench.point({}))):
            for seed in bench.settings.final_seeds:
                requests[target, model, seed] = FitRequest(
                    job=bench.job(target, chosen, seed, epochs),
                    tests={TEST: bench.outer.test},
                    keep=model == WINNER,
                    group=f"{target} {model}",
                )
    return dict(zip(requests, bench.run(bench.graphs, bench.labels, list(requests.values())), strict=True))


def _point_of(bench: Bench, study: HyperparameterStudy, texts: tuple[str, ...]) -> GridPoint:
    if study.strategy != "optuna":
        return next(one for one in bench.points() if one.texts == texts)
    from phonograph.steps.study_search import point_of

    return point_of(bench, dict(zip(study.axes, texts, strict=True)))


def _predictions(bench: Bench, target: str, model: str, seed: int, outcome: FitOutcome) -> Predictions:
    ids, truth, prediction = outcome.predictions(TEST)
    return Predictions(
        target=target,
        unit=bench.unit(target),
        model=model,
        trained_on=bench.collection,
        tested_on=bench.collection,
        split=TEST,
        seed=seed,
        sample_ids=ids,
        truth=truth,
        prediction=prediction,
    )


def _trivial(
    bench: Bench, target: str, winners: Mapping[int, FitOutcome], sets: Sequence[Configurations]
) -> dict[int, dict[str, FloatArray]]:
    """Return seed → trivial reference → its predictions for the test part, fitted as that seed's winner was."""
    config = bench.context.config
    tests = {seed: one.predictions(TEST)[0] for seed, one in winners.items() if not one.failure}
    found = {seed: {MEAN_PREDICTOR: np.full(len(ids), winners[seed].training_mean)} for seed, ids in tests.items()}
    compared = [
        _Compared(
            name=f"the winner of {target}",
            target=target,
            unit=bench.unit(target),
            trained_on=bench.collection,
            train_range=winners[seed].train_range,
            split=bench.inner(seed),
            seed=seed,
        )
        for seed in tests
    ]
    own = [item for item in sets if item.name in config.collections[bench.collection]]
    names = [name for name in config.evaluation.references if name in TRIVIAL_REFERENCES]
    references, warnings = fit_references(names, compared, own, bench.labels)
    bench.warnings |= dict.fromkeys(warnings)
    for one in references:
        prediction = one.predict(tests[one.seed])
        if np.isfinite(prediction).all():
            found[one.seed][one.name] = prediction
            continue
        bench.warnings[
            f"{one.name} is not judged on the test part: undisplaced positions of some of its samples are not known"
        ] = None
    return found


def verdict(
    target: str,
    unit: str,
    winners: Mapping[int, Final],
    configured: Mapping[int, Final],
    groups: Mapping[str, str],
    why: str = "",
) -> StudyVerdict:
    """Return what the winner of a target is worth.

    Parameters
    ----------
    target, unit
        What is predicted, and the unit of errors.
    winners, configured
        Seed → network; those that could not be trained are left out.
    groups
        Sample → group of test samples that are alike.
    why
        Reason of the first failure of the winner.
    """
    skill, count = _skill(winners, groups)
    names = [name for name in TRIVIAL_REFERENCES if all(name in one.others for one in winners.values())]
    errors = {name: _mean_error([(one.found.truth, one.others[name]) for one in winners.values()]) for name in names}
    best = min(errors, key=lambda name: errors[name], default=MEAN_PREDICTOR)
    if not errors.get(best, math.nan) < (1.0 - _ALIKE) * errors.get(MEAN_PREDICTOR, math.nan):
        best = MEAN_PREDICTOR
    difference = _difference(winners, configured, groups)
    mae = _mean_error([(one.found.truth, one.found.prediction) for one in winners.values()])
    own = f"The winner was not tested: {why}."
    if winners:
        own = _against_trivial(unit, mae, skill, best, [one.found for one in winners.values()])
    return StudyVerdict(
        target=target,
        unit=unit,
        reference=best,
        seeds=len(winners),
        groups=count,
        mae=mae,
        reference_mae=errors.get(best, math.nan),
        skill=skill.value,
        skill_low=skill.low,
        skill_high=skill.high,
        difference=difference.value,
        difference_low=difference.low,
        difference_high=difference.high,
        words=" ".join(filter(None, (own, _against_configured(unit, difference, len(winners))))),
    )


def _mean_error(pairs: Sequence[tuple[FloatArray, FloatArray]]) -> float:
    """Return the mean over networks of MAE; NaN where nothing was tested."""
    return float(np.mean([np.abs(p - y).mean() for y, p in pairs])) if pairs and len(pairs[0][0]) else math.nan


def _skill(winners: Mapping[int, Final], groups: Mapping[str, str]) -> tuple[Interval, int]:
    """Return the skill of the winner over the best trivial reference of each seed, and the groups of its test."""
    lines = intervals(
        [
            Tested(
                predictions=one.found,
                train_range=one.outcome.train_range,
                mean=one.outcome.training_mean,
                rest=0,  # one part for all seeds: what other parts would share is no matter of these
                references={name: values for name, values in one.others.items() if name != MEAN_PREDICTOR},
            )
            for one in winners.values()
        ],
        groups,
        ("all",),
    )
    by_name = {line.metric: line for line in lines}
    line = by_name.get(skill_against(BEST_TRIVIAL), by_name.get("skill"))
    if line is None:
        return _unknown(math.nan), 0
    over_seeds = Interval(value=line.value, low=line.seed_low, high=line.seed_high)
    return _decided(Interval(value=line.value, low=line.low, high=line.high), over_seeds), line.groups


def _difference(winners: Mapping[int, Final], configured: Mapping[int, Final], groups: Mapping[str, str]) -> Interval:
    """Return MAE of the winner less that of the configured network, paired by seed and sample."""
    both = [(one, configured[seed]) for seed, one in winners.items() if seed in configured]
    if not both or not both[0][0].found.sample_ids:
        return _unknown(math.nan)
    first, second = (
        np.array([np.abs(one.found.prediction - one.found.truth) for one in side]) for side in zip(*both, strict=True)
    )
    own = [groups[sample] for sample in both[0][0].found.sample_ids]
    over_samples = paired_difference(first.mean(axis=0), second.mean(axis=0), own)
    return _decided(over_samples, corrected_t((first - second).mean(axis=1), 0.0).interval)


def _decided(over_samples: Interval, over_seeds: Interval) -> Interval:
    """Return the wider interval; from one seed nothing is claimed."""
    return wider(over_samples, over_seeds) if over_seeds.known else _unknown(over_seeds.value)


def _unknown(value: float) -> Interval:
    return Interval(value=value, low=math.nan, high=math.nan)


def _against_trivial(unit: str, mae: float, skill: Interval, best: str, found: Sequence[Predictions]) -> str:
    seeds = len(found)
    if not math.isfinite(skill.value):
        return "On the test part no skill of the winner is defined: it has no labels, or labels that need no model."
    factor, shown = error_unit(unit, [mae])
    bounds = f" ({fixed(skill.low, 2)} to {fixed(skill.high, 2)})" if skill.known else ""
    told = f"skill {fixed(skill.value, 2)}{bounds}"
    start = f"On the test part the winner errs by {number(factor * mae)} {shown} ({plural(seeds, 'seed')})"
    if skill.value <= 0:
        return f"{start}, {told} over {_NAMES[best]}: it has won nothing."
    if skill.low > 0:
        r2 = float(np.mean([coefficient_of_determination(one.truth, one.prediction) for one in found]))
        return f"{start} and {'beats' if r2 > NOISE_R2 else 'hardly beats'} {_NAMES[best]}, {told}, R² {fixed(r2, 2)}."
    because = "" if skill.known else ", from one seed" if seeds < 2 else ", from so few groups of test samples"
    return f"{start}, {told} over {_NAMES[best]}: it cannot be claimed to beat that{because}."


def _against_configured(unit: str, difference: Interval, seeds: int) -> str:
    if not math.isfinite(difference.value):
        return ""
    if difference.value == difference.low == difference.high == 0:
        return "Its errors are those of the network as configured."
    factor, shown = error_unit(unit, [value for value in (difference.low, difference.high) if math.isfinite(value)])
    low, value, high = (factor * one for one in (difference.low, difference.value, difference.high))
    if difference.low > 0:
        return (
            f"It errs by {number(value)} {shown} ({number(low)} to {number(high)}) more than the network as configured."
        )
    if difference.high < 0:
        return (
            f"It errs by {number(-value)} {shown} ({number(-high)} to {number(-low)}) less than the network as "
            "configured."
        )
    bounds = f" ({number(low)} to {number(high)})" if difference.known else ""
    because = " from one seed" if seeds < 2 else ""
    return f"Against the network as configured {NO_CLAIM}{because}: MAE differs by {number(value)} {shown}{bounds}."
