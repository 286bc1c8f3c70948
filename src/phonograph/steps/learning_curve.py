"""Learning curves of a run: which networks to train on which nested subsets, and what their errors say."""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from phonograph.errors import DataError
from phonograph.evaluation.curves import learning_curve
from phonograph.evaluation.settings import LearningCurveSettings
from phonograph.evaluation.subsets import can_fill, nested_subset, within_amplitude
from phonograph.files.curves import load_learning_curve, save_learning_curve
from phonograph.models import GraphConvNet
from phonograph.models.spec import describe
from phonograph.steps.context import Context, RunResult
from phonograph.steps.curve_fits import CurveUnit, failures, run_units
from phonograph.steps.labels import noise_of
from phonograph.steps.leakage import audit_splits
from phonograph.steps.targets import check_targets
from phonograph.tables import to_table
from phonograph.training import FitJob, TrainingSettings, combine_splits, make_split
from phonograph.types import Configurations, GraphSet, Labels, LearningCurve, Origin, Split

FOLDER = "learning_curve"
FITS = "fits"
COSTS = "costs.csv"

SAME_AMPLITUDE = 0.95
"""A set of which this share has the amplitude of the reference is not matched to it once more."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Plan:
    """What is trained and tested.

    ``collections`` and ``tests``: name → names of pools; ``pools``: name → samples; ``parents``: pool → its set.
    """

    settings: LearningCurveSettings
    pools: Mapping[str, frozenset[str]]
    parents: Mapping[str, str]
    collections: Mapping[str, tuple[str, ...]]
    tests: Mapping[str, tuple[str, ...]]
    warnings: tuple[str, ...]


def learning_curve_step(context: Context, result: RunResult) -> LearningCurve:
    """Measure the learning curves of a run whose graphs and labels are there, and save them."""
    assert result.graphs is not None
    assert result.labels is not None
    settings = context.config.learning_curve
    if settings.targets:
        check_targets("learning_curve.targets", settings.targets, result.labels)
    else:
        check_targets("training.targets", context.config.training.targets, result.labels)
    plan = _plan(context, result)
    folder = context.folder.path / FOLDER
    audit = audit_splits(
        folder, result.graphs, result.sets, [_audited(settings, result.sets)], context.config.training.allow
    )
    warnings = [*plan.warnings, *audit.warnings]
    units = _units(context, plan, result, warnings)
    outcomes = run_units(
        result.graphs,
        result.labels,
        units,
        folder / FITS,
        workers=context.workers,
        retry_failed=context.retry_failed,
        progress=context.progress,
        say=context.say,
    )
    warnings += failures(units, outcomes)
    curve = learning_curve(
        [row for outcome in outcomes for row in outcome.rows],
        [item for outcome in outcomes for item in outcome.predictions],
        dict(zip(result.graphs.sample_ids, result.graphs.groups, strict=True)),
        reference=settings.reference,
        floors=_floors(context, units),
        seed=context.seed("evaluation", "learning-curve"),
        warnings=warnings,
        origin=_origin(context),
    )
    save_learning_curve(curve, folder)
    return curve


def _floors(context: Context, units: Sequence[CurveUnit]) -> dict[str, float]:
    """Return target → label noise, where ``phonograph noise`` measured it in this run."""
    noise = noise_of(context)
    if noise is None:
        return {}
    return {target: noise.floor(target) for target in dict.fromkeys(unit.job.target for unit in units)}


def learning_curve_of(context: Context) -> LearningCurve | None:
    """Return the learning curves that were measured in this run, or None; told where the run has changed since."""
    folder = context.folder.path / FOLDER
    if not (folder / "learning_curve.json").is_file():
        return None
    curve = load_learning_curve(folder)
    present = _inputs(context)
    if {key: curve.origin.inputs.get(key) for key in present} == present:
        return curve
    stale = "the learning curves were measured with other labels, graphs or settings than the present ones"
    return replace(curve, warnings=(*curve.warnings, stale))


def _inputs(context: Context) -> dict[str, str]:
    keys = context.folder.keys
    return {name: keys[name] for name in ("labels", "graphs") if name in keys}


def _origin(context: Context) -> Origin:
    config = context.config
    return Origin(
        room="evaluation",
        settings={
            **to_table(config.learning_curve),
            "model": describe(config.training.model),
            "training": to_table(config.training.settings),
        },
        seed=config.seed,
        inputs=_inputs(context),
    )


def _plan(context: Context, result: RunResult) -> _Plan:
    config, settings = context.config, context.config.learning_curve
    sets = {item.name: item for item in result.sets}
    pools = {name: frozenset(item.ids) for name, item in sets.items()}
    parents = {name: name for name in sets}
    wanted = settings.collections or tuple(config.collections)
    collections = {name: config.collections[name] for name in wanted}
    several = {name: members for name, members in config.collections.items() if len(members) > 1}
    warnings: list[str] = []
    if settings.amplitude:
        for name, ids in _at_amplitude(sets, settings.amplitude, warnings):
            pools[name], parents[name] = ids, name.removesuffix(f"-at-{settings.amplitude}")
            if any(members == (parents[name],) for members in collections.values()):
                collections[name] = (name,)
    possible = {**{name: (name,) for name in pools}, **several}
    # An amplitude match that holds no sample was told above.
    tests = {name: possible[name] for name in settings.tests or possible if name in possible}
    return _Plan(
        settings=settings,
        pools=pools,
        parents=parents,
        collections=collections,
        tests=tests,
        warnings=tuple(warnings),
    )


def _at_amplitude(
    sets: Mapping[str, Configurations], reference: str, warnings: list[str]
) -> Iterator[tuple[str, frozenset[str]]]:
    for name, item in sets.items():
        if name == reference:
            continue
        try:
            ids = within_amplitude(item, sets[reference])
        except DataError as error:
            warnings.append(f"no amplitude match: {error}")
            continue
        alike = f"{len(ids)} of {len(item)} samples of {name!r} have the amplitude of {reference!r}"
        if len(ids) >= SAME_AMPLITUDE * len(item):
            warnings.append(f"{alike}; it needs no match")
            continue
        warnings.append(alike)
        if ids:
            yield f"{name}-at-{reference}", frozenset(ids)


def _units(context: Context, plan: _Plan, result: RunResult, warnings: list[str]) -> list[CurveUnit]:
    assert result.graphs is not None
    assert result.labels is not None
    settings = plan.settings
    costs, elements = _core_seconds(context), _elements(result.graphs)
    units: list[CurveUnit] = []
    left_out: list[tuple[str, int]] = []
    for target in settings.targets or context.config.training.targets:
        labelled = _labelled(result.labels, target)
        splits = _splits(plan, result.sets, labelled)
        sizes = {
            collection: [size for size in settings.sizes if _fits_all(splits, members, size, settings)]
            for collection, members in plan.collections.items()
        }
        # Collections are compared at equal sizes, so that all of them get the updates of the same largest size.
        largest = max(itertools.chain(*sizes.values()), default=0)
        for collection, members in plan.collections.items():
            left_out += [(collection, size) for size in settings.sizes if size not in sizes[collection]]
            for size, seed in itertools.product(sizes[collection], settings.seeds):
                subset = nested_subset(
                    [splits[member, seed] for member in members], size, validation=settings.validation
                )
                common = CurveUnit(
                    job=FitJob(
                        name="",
                        split=subset,
                        model=context.config.training.model,
                        target=target,
                        settings=_budget(context.config.training.settings, settings, size, largest),
                        trained_on=collection,
                        seed=seed,
                    ),
                    size=size,
                    candidate="fixed",
                    tests=_tests(plan, splits, seed, subset, elements),
                    available=_available(plan, labelled),
                    label_core_hours=_core_hours(costs, subset),
                )
                units += _candidates(common, settings)
    warnings += _missing(plan, units, left_out, costs)
    return units


def _elements(graphs: GraphSet) -> Mapping[str, frozenset[int]]:
    """Return sample → atomic numbers in it."""
    starts = graphs.node_offsets
    return {
        sample: frozenset(np.unique(graphs.numbers[starts[place] : starts[place + 1]]).tolist())
        for place, sample in enumerate(graphs.sample_ids)
    }


def _tests(
    plan: _Plan,
    splits: Mapping[tuple[str, int], Split],
    seed: int,
    subset: Split,
    elements: Mapping[str, frozenset[int]],
) -> dict[str, tuple[str, ...]]:
    """Return test → samples; without tests that hold an element which the training part lacks, or nothing."""
    seen = frozenset[int]().union(*(elements[sample] for sample in subset.train))
    found = {name: combine_splits([splits[pool, seed] for pool in pools]).test for name, pools in plan.tests.items()}
    return {name: ids for name, ids in found.items() if ids and all(elements[sample] <= seen for sample in ids)}


def _missing(
    plan: _Plan, units: Sequence[CurveUnit], unfilled: Sequence[tuple[str, int]], costs: Mapping[str, float] | None
) -> list[str]:
    """Return sentences about what cannot be measured; raise where that is everything."""
    if not units:
        smallest = min(plan.settings.sizes)
        raise DataError(
            f"no training collection has {smallest} labels to train and validate with, the smallest of "
            "learning_curve.sizes; label more samples, or ask for smaller sizes"
        )
    told = [
        f"{collection!r} has too few labels for sizes {', '.join(str(size) for _, size in found)}; they are left out"
        for collection, group in itertools.groupby(sorted(set(unfilled)), key=lambda item: item[0])
        if (found := list(group))
    ]
    for name in plan.tests:
        lacking = sum(name not in unit.tests for unit in units)
        if lacking:
            told.append(
                f"{name!r} does not test {lacking} of {len(units)} networks: it cannot be split, has no labelled "
                "sample, or holds an element that they were not trained on"
            )
    if costs is None or any(math.isnan(unit.label_core_hours) for unit in units):
        told.append("the cost of some labels is not known (they were brought); their curves have no core-hours")
    return told


def _labelled(labels: Labels, target: str) -> frozenset[str]:
    values = labels.column(target).values
    return frozenset(sample for sample, value in zip(labels.sample_ids, values, strict=True) if math.isfinite(value))


def _splits(plan: _Plan, sets: Sequence[Configurations], labelled: frozenset[str]) -> dict[tuple[str, int], Split]:
    """Return (pool, seed) → split of its labelled samples: a set is split once, its pools inherit the parts."""
    found = {}
    for item in sets:
        for seed in plan.settings.seeds:
            whole = _whole(item, plan.settings, seed)
            for pool, parent in plan.parents.items():
                if parent == item.name:
                    found[pool, seed] = _restricted(whole, plan.pools[pool] & labelled)
    return found


def _audited(settings: LearningCurveSettings, sets: Sequence[Configurations]) -> dict[int, Split]:
    """Return seed → the splits of all sets together: any network may be tested on any set."""
    return {seed: combine_splits([_whole(item, settings, seed) for item in sets]) for seed in settings.seeds}


def _whole(item: Configurations, settings: LearningCurveSettings, seed: int) -> Split:
    """Return the split of a set; empty where it has too few groups to be split."""
    try:
        return make_split(item.ids, item.group, settings.fractions, seed)
    except DataError:
        return Split(train=(), validation=(), test=(), seed=seed)


def _restricted(split: Split, samples: frozenset[str]) -> Split:
    train, validation, test = (
        tuple(sample for sample in part if sample in samples) for part in (split.train, split.validation, split.test)
    )
    return Split(train=train, validation=validation, test=test, seed=split.seed)


def _fits_all(
    splits: Mapping[tuple[str, int], Split], members: Sequence[str], size: int, settings: LearningCurveSettings
) -> bool:
    return all(
        can_fill([splits[member, seed] for member in members], size, validation=settings.validation)
        for seed in settings.seeds
    )


def _available(plan: _Plan, labelled: frozenset[str]) -> dict[str, int]:
    return {name: sum(len(plan.pools[pool] & labelled) for pool in pools) for name, pools in plan.tests.items()}


def _candidates(common: CurveUnit, settings: LearningCurveSettings) -> Iterator[CurveUnit]:
    """Yield the unit itself, or one per candidate of the search."""
    if settings.choose == "fixed":
        yield common
        return
    job, model = common.job, cast(GraphConvNet, common.job.model)
    for rate, hidden, dropout in itertools.product(
        settings.learning_rates or (job.settings.learning_rate,),
        settings.hidden_channels or (model.hidden_channels,),
        settings.dropouts or (model.dropout,),
    ):
        tried = replace(
            job,
            model=replace(model, hidden_channels=hidden, dropout=dropout),
            settings=replace(job.settings, learning_rate=rate),
        )
        yield replace(common, job=tried, candidate=f"lr{rate:g}-h{hidden}-d{dropout:g}")


def _budget(plain: TrainingSettings, settings: LearningCurveSettings, size: int, largest: int) -> TrainingSettings:
    """Return the settings with as many epochs and as much patience as the budget allows at this size.

    ``"steps"``: epochs × batches are those of ``largest`` labels at the epochs of the settings.
    """
    if settings.budget == "epochs":
        return plain
    share = settings.fractions[0] / (settings.fractions[0] + settings.fractions[1])
    kept = share if settings.validation == "inside" else 1.0
    batches = [max(1, math.ceil(kept * n / plain.batch_size)) for n in (size, largest)]
    factor = batches[1] / batches[0]
    return replace(plain, epochs=round(plain.epochs * factor), patience=round(plain.patience * factor))


def _core_seconds(context: Context) -> Mapping[str, float] | None:
    """Return sample → core-seconds of its labels from ``3_labels/costs.csv``; None where the run computed none."""
    path = context.folder.path / "3_labels" / COSTS
    if not path.is_file():
        return None
    with path.open(encoding="utf-8", newline="") as stream:
        try:
            return {row["sample_id"]: float(row["core_seconds"]) for row in csv.DictReader(stream)}
        except (KeyError, ValueError, TypeError) as error:
            raise DataError(f"{path} is not a table of label costs ({error}); run phonograph label again") from error


def _core_hours(costs: Mapping[str, float] | None, subset: Split) -> float:
    """Return what the labels of a subset have cost; the validation part counts wherever it is looked at."""
    used = (*subset.train, *subset.validation)
    if costs is None or any(sample not in costs for sample in used):
        return math.nan
    return math.fsum(costs[sample] for sample in used) / 3600.0
