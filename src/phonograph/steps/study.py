"""The study: every point of a grid trained with several seeds, ranked, judged, and what matters among its axes.

Selection is nested.  The outer test part is that of the run's own split; graphs and labels of it are not even packed
for the jobs that choose, and only the winner, chosen, is tested.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from phonograph.config_study import StudyConfig
from phonograph.errors import ConfigurationError, DataError
from phonograph.evaluation.effects import main_effects, response, variance_shares
from phonograph.execution.cluster import ParslExecutor
from phonograph.files.shelf import graphs_hash
from phonograph.files.study import SIDECAR, load_study_tables, save_study_tables
from phonograph.steps.context import Context, RunResult
from phonograph.steps.fits import RETRY, FitOutcome, FitRequest, failed_networks, run_fits
from phonograph.steps.leakage import audit_splits
from phonograph.steps.networks import splits
from phonograph.steps.study_finals import tested
from phonograph.steps.study_tables import cells_of, trial_of
from phonograph.tables import to_table
from phonograph.training import FitJob
from phonograph.training.grid import GridPoint, grid, point, text_of
from phonograph.training.halving import best, drawn, rank_correlation, rungs
from phonograph.training.nested import inner_split
from phonograph.types import (
    FloatArray,
    GraphSet,
    HyperparameterStudy,
    Labels,
    Origin,
    Split,
    StudyCheck,
    StudyEffect,
    StudyShare,
    StudyTrial,
)

FOLDER = "study"
TABLE = "jobs.sqlite"


@dataclass(eq=False)
class Bench:
    """What every strategy needs: data, splits, and a way to train points.

    Attributes
    ----------
    context, settings
        The run and its ``[study]``.
    graphs, labels
        Of the collection's samples; those of the outer test part are used by :meth:`finals` alone.
    outer
        The outer split.
    strata
        Sample → set.
    trials, warnings, core_seconds
        What was trained so far.
    """

    context: Context
    settings: StudyConfig
    collection: str
    targets: tuple[str, ...]
    graphs: GraphSet
    labels: Labels
    outer: Split
    strata: Mapping[str, str]
    trials: list[StudyTrial] = field(default_factory=list)
    warnings: dict[str, None] = field(default_factory=dict)
    failures: dict[tuple[Path, int], str] = field(default_factory=dict)
    counted: dict[tuple[Path, int], float] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where everything of the study lies."""
        return self.context.folder.path / FOLDER

    @cached_property
    def chosen_from(self) -> tuple[GraphSet, Labels]:
        """Graphs and labels of the training and validation parts: all that a choice may see."""
        return _restricted(self.graphs, self.labels, (*self.outer.train, *self.outer.validation))

    @cached_property
    def purpose(self) -> str:
        """What the table of jobs is for: axes, seeds and targets may grow, the rest is another study."""
        training = self.context.config.training
        plain = [to_table(training.model), to_table(training.settings), list(training.fractions), self.outer.seed]
        digest = hashlib.sha256(json.dumps([plain, graphs_hash(self.chosen_from[0])]).encode()).hexdigest()
        article = "an" if self.settings.strategy == "optuna" else "a"
        return f"{article} {self.settings.strategy} study of {self.collection} (data and settings {digest[:12]})"

    def points(self) -> tuple[GridPoint, ...]:
        """Return the grid."""
        return grid(self.settings.axes, self.context.config.training.model, self.context.config.training.settings)

    def point(self, values: Mapping[str, Any]) -> GridPoint:
        """Return one point of a search."""
        return point(values, self.context.config.training.model, self.context.config.training.settings)

    def inner(self, seed: int) -> Split:
        """Return the training and validation part of one seed."""
        groups = dict(zip(self.graphs.sample_ids, self.graphs.groups, strict=True))
        fractions = self.context.config.training.fractions
        return inner_split(self.outer, groups, self.strata, fractions[1] / (fractions[0] + fractions[1]), seed)

    def unit(self, target: str) -> str:
        """Return the unit of a target."""
        return self.labels.column(target).unit

    def job(self, target: str, chosen: GridPoint, seed: int, epochs: int) -> FitJob:
        """Return one fit."""
        return FitJob(
            name=f"{target}-study-seed{seed}",
            split=self.inner(seed),
            model=chosen.model,
            target=target,
            settings=replace(chosen.settings, epochs=epochs),
            trained_on=self.collection,
            unit=self.unit(target),
            seed=seed,
        )

    def train(
        self, wanted: Sequence[tuple[str, GridPoint, int, int, FitOutcome | None]], *, rung: int = 0, more: bool = False
    ) -> tuple[FitOutcome, ...]:
        """Train (target, point, seed, epochs, where to go on) and keep the trials.

        Parameters
        ----------
        wanted
            What to train.
        rung
            Of these trials; −1: they are a check and no trials.
        more
            Whether a later rung may go on from here.
        """
        requests = [
            FitRequest(
                job=self.job(target, chosen, seed, epochs), start=start, resumable=more, group=f"{target} {seed}"
            )
            for target, chosen, seed, epochs, start in wanted
        ]
        outcomes = self.run(*self.chosen_from, requests)
        if rung >= 0:
            self.trials += [
                trial_of(target, chosen.texts, seed, rung, epochs, outcome)
                for (target, chosen, seed, epochs, _), outcome in zip(wanted, outcomes, strict=True)
            ]
        return outcomes

    def need_a_network(self) -> None:
        """Raise :class:`DataError` with the first reason for a target of which no network could be trained."""
        for target in self.targets:
            why = [trial.failure for trial in self.trials if trial.target == target]
            if why and all(why):
                raise DataError(f"no network of the study of {target} could be trained: {why[0]}; {RETRY}")

    def run(self, graphs: GraphSet, labels: Labels, requests: Sequence[FitRequest]) -> tuple[FitOutcome, ...]:
        """Run fits in the study's table."""
        executor = self.settings.executor
        outcomes = run_fits(
            graphs,
            labels,
            requests,
            self.folder / TABLE,
            executor=ParslExecutor(settings=executor, say=self.context.say) if executor is not None else None,
            workers=self.context.workers,
            timeout_s=self.settings.timeout_s,
            retry_failed=self.context.retry_failed,
            purpose=self.purpose,
            what="study",
            progress=self.context.progress,
            say=self.context.say,
        )
        for one in outcomes:
            self.counted[one.folder, one.place] = one.core_seconds
            self.warnings |= dict.fromkeys(one.warnings)
            self.failures[one.folder, one.place] = one.failure
        return outcomes


def study_step(context: Context, result: RunResult) -> HyperparameterStudy:
    """Run the study that ``[study]`` describes, on the labels and graphs of the run, and save it in ``study/``."""
    started = time.perf_counter()
    bench = _bench(context, result)
    _audit(bench, result)
    checks: tuple[StudyCheck, ...] = ()
    effects: list[StudyEffect] = []
    shares: list[StudyShare] = []
    axes = {name: tuple(map(text_of, values)) for name, values in bench.settings.axes.items()}
    if bench.settings.strategy == "optuna":
        from phonograph.steps.study_search import search

        axes |= search(bench)
        bench.need_a_network()
    else:
        checks = _halving(bench) if bench.settings.strategy == "halving" else _full(bench)
        for target in bench.targets:
            values, stood_in = _as_array(bench, target, axes)
            effects += main_effects(target, axes, values)
            shares += variance_shares(target, axes, values)
            if stood_in:
                bench.warnings[
                    f"{target}: {stood_in} of {values.size} networks of the grid failed; in the effects each counts as "
                    "the worst of the others."
                ] = None
    cells = cells_of(bench.trials, {target: bench.unit(target) for target in bench.targets})
    study = HyperparameterStudy(
        axes=axes,
        units={target: bench.unit(target) for target in bench.targets},
        strategy=bench.settings.strategy,
        collection=bench.collection,
        trials=tuple(bench.trials),
        cells=cells,
        effects=tuple(effects),
        shares=tuple(shares),
        checks=checks,
    )
    finals, verdicts = tested(bench, study, result.sets)
    told = failed_networks(list(bench.failures.values()))
    study = replace(
        study,
        finals=finals,
        verdicts=verdicts,
        wall_seconds=time.perf_counter() - started,
        core_seconds=sum(bench.counted.values()),
        warnings=(*bench.warnings, *([told] if told else ())),
        origin=_origin(bench),
    )
    save_study_tables(study, bench.folder)
    return study


def _audit(bench: Bench, result: RunResult) -> None:
    """Refuse splits that leak, before anything is trained: those that choose, and the outer test part against them."""
    assert result.graphs is not None
    inner = {seed: bench.inner(seed) for seed in dict.fromkeys((*bench.settings.seeds, *bench.settings.final_seeds))}
    whole = {seed: replace(split, test=bench.outer.test) for seed, split in inner.items()}
    audit = audit_splits(bench.folder, result.graphs, result.sets, [whole], bench.context.config.training.allow)
    bench.warnings |= dict.fromkeys(audit.warnings)


def study_of(context: Context) -> HyperparameterStudy | None:
    """Return the study that was made in this run, or None; told where labels or graphs have changed since."""
    folder = context.folder.path / FOLDER
    if not (folder / SIDECAR).is_file():
        return None
    study = load_study_tables(folder)
    keys = context.folder.keys
    present = {name: keys[name] for name in ("labels", "graphs") if name in keys}
    if {name: study.origin.inputs.get(name) for name in present} == present:
        return study
    old = "The study was made with other labels or graphs than the present ones; run phonograph study again."
    return replace(study, warnings=(*study.warnings, old))


def _bench(context: Context, result: RunResult) -> Bench:
    assert result.graphs is not None
    assert result.labels is not None
    config = context.config
    if config.study is None:
        raise ConfigurationError("there is no study in this configuration; add a [study] table, which may be empty")
    targets = config.study.targets or config.training.targets
    have = [column.name for column in result.labels.columns]
    for target in targets:
        if target not in have:
            raise DataError(f"study target {target!r} has no labels; the labels are {', '.join(have) or 'none'}")
    collection = config.study.collection or list(config.collections)[-1]
    outer = splits(context, result.sets)[collection][config.training.seeds[0]]
    samples = (*outer.train, *outer.validation, *outer.test)
    graphs, labels = _restricted(result.graphs, result.labels, samples)
    for target in targets:
        known = np.isfinite(labels.aligned(target, (*outer.train, *outer.validation))).sum()
        if known < 3:
            raise DataError(
                f"study target {target!r} has {known} labels in the training and validation parts of {collection!r}; "
                "make more"
            )
    return Bench(
        context=context,
        settings=config.study,
        collection=collection,
        targets=tuple(targets),
        graphs=graphs,
        labels=labels,
        outer=outer,
        strata={sample: item.name for item in result.sets for sample in item.ids},
    )


def _restricted(graphs: GraphSet, labels: Labels, samples: Sequence[str]) -> tuple[GraphSet, Labels]:
    """Return graphs and labels of these samples, in the order of the graphs, and nothing of any other."""
    wanted = set(samples)
    places = [place for place, sample in enumerate(graphs.sample_ids) if sample in wanted]
    chosen = graphs.select(places)
    columns = tuple(replace(column, values=labels.aligned(column.name, chosen.sample_ids)) for column in labels.columns)
    count = len(chosen)
    return chosen, Labels(
        sample_ids=chosen.sample_ids, set_names=("",) * count, columns=columns, status=("ok",) * count
    )


def _full(bench: Bench) -> tuple[StudyCheck, ...]:
    epochs = bench.context.config.training.settings.epochs
    points, seeds = bench.points(), bench.settings.seeds
    bench.train([(t, chosen, seed, epochs, None) for t in bench.targets for chosen in points for seed in seeds])
    bench.need_a_network()
    return ()


def _halving(bench: Bench) -> tuple[StudyCheck, ...]:
    """Train rung after rung, each going on where the one before ended; then check the ranking on a sample."""
    points, seeds, settings = bench.points(), bench.settings.seeds, bench.settings.halving
    full = bench.context.config.training.settings.epochs
    plan = rungs(len(points), settings.first_epochs, settings.eta, full)
    alive = {target: tuple(range(len(points))) for target in bench.targets}
    latest: dict[tuple[str, int, int], FitOutcome] = {}
    first: dict[str, list[float]] = {}
    for rung, (_, epochs) in enumerate(plan):
        bench.context.say(
            f"study: rung {rung + 1} of {len(plan)}, {len(alive[bench.targets[0]])} points, {epochs} epochs"
        )
        places = [(target, at, seed) for target in bench.targets for at in alive[target] for seed in seeds]
        wanted = [(t, points[at], seed, epochs, latest.get((t, at, seed))) for t, at, seed in places]
        outcomes = bench.train(wanted, rung=rung, more=True)
        bench.need_a_network()
        latest |= dict(zip(places, outcomes, strict=True))
        for target in bench.targets:
            errors = [_error([latest[target, at, seed] for seed in seeds]) for at in alive[target]]
            first.setdefault(target, errors)
            count = plan[rung + 1][0] if rung + 1 < len(plan) else len(errors)
            alive[target] = tuple(alive[target][k] for k in best(errors, count))
    if not settings.check or len(points) < 3 or len(plan) < 2:
        return ()
    return tuple(_checked(bench, t, points, latest, first[t], alive[t][0]) for t in bench.targets)


def _error(outcomes: Sequence[FitOutcome]) -> float:
    """Return the mean validation error over seeds; NaN where one of them failed."""
    return float(np.mean([math.nan if one.failure else one.score().mae for one in outcomes]))


def _checked(
    bench: Bench,
    target: str,
    points: Sequence[GridPoint],
    latest: Mapping[tuple[str, int, int], FitOutcome],
    first: Sequence[float],
    winner: int,
) -> StudyCheck:
    """Train a sample of the points to the end, and compare."""
    seeds, epochs = bench.settings.seeds, bench.context.config.training.settings.epochs
    sample = drawn(len(points), min(bench.settings.halving.check, len(points)), winner, bench.context.seed("study"))
    wanted = [(target, points[at], seed, epochs, latest[target, at, seed]) for at in sample for seed in seeds]
    outcomes = bench.train(wanted, rung=-1, more=True)
    errors = [_error(outcomes[k * len(seeds) : (k + 1) * len(seeds)]) for k in range(len(sample))]
    own = errors[sample.index(winner)]
    lowest = float(np.nanmin(errors))
    return StudyCheck(
        target=target,
        points=len(sample),
        spearman=rank_correlation([first[at] for at in sample], errors),
        regret=(own - lowest) / lowest if lowest > 0 else math.nan,
        better=sum(error < own for error in errors),
    )


def _as_array(bench: Bench, target: str, axes: Mapping[str, Sequence[str]]) -> tuple[FloatArray, int]:
    """Return log₁₀ MAE of the whole grid, shape (seeds, levels of each axis), and how many are stood in for."""
    by_place = {(t.seed, t.values): t.mae for t in bench.trials if t.target == target and t.rung == 0}
    errors = np.array([by_place[seed, one.texts] for seed in bench.settings.seeds for one in bench.points()])
    return response(errors.reshape(len(bench.settings.seeds), *(len(levels) for levels in axes.values())))


def _origin(bench: Bench) -> Origin:
    plain = to_table(replace(bench.settings, executor=None))
    keys = bench.context.folder.keys
    inputs: dict[str, str] = {name: keys[name] for name in ("labels", "graphs") if name in keys}
    return Origin(room="training", settings=plain, seed=bench.context.config.seed, inputs=inputs)
