"""Rooms 4–7: graphs, networks, their tests and their explanation."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from phonograph.errors import DataError
from phonograph.evaluation import FittedReference, cross_test, fit_references
from phonograph.explanation import explain
from phonograph.files.bundle import load_bundle, save_bundle
from phonograph.files.graphs import load_graphs, save_graphs
from phonograph.files.history import save_history
from phonograph.files.results import (
    load_evaluation,
    load_explanation,
    save_evaluation,
    save_explanation,
)
from phonograph.graphs import build_graphs
from phonograph.steps.context import Context, RunResult
from phonograph.steps.leakage import audit_splits, load_audit
from phonograph.steps.targets import check_targets
from phonograph.tables import to_table
from phonograph.training import FitJob, combine_splits, fit_many, make_split
from phonograph.types import (
    Configurations,
    Crystal,
    Evaluation,
    Explanation,
    Fitted,
    GraphSet,
    Labels,
    LeakageAudit,
    Split,
    join_graphs,
)

CHECKPOINTS = "checkpoints"


def graphs_step(context: Context, result: RunResult) -> RunResult:
    """Room 4: one graph per configuration of every set."""
    spec = context.config.graphs

    def make(folder: Path) -> GraphSet:
        graphs = join_graphs([build_graphs(item, spec) for item in result.sets])
        save_graphs(graphs, folder / "graphs.npz")
        return graphs

    graphs = context.folder.room(
        "graphs",
        {"graphs": to_table(spec)},
        after=["sampling"],
        make=make,
        load=lambda folder: load_graphs(folder / "graphs.npz"),
    )
    return replace(result, graphs=graphs)


def training_step(context: Context, result: RunResult) -> RunResult:
    """Room 5: every target × collection × seed."""
    config = context.config
    graphs, labels = _needed(result)

    def make(folder: Path) -> tuple[LeakageAudit, tuple[Fitted, ...]]:
        check_targets("training.targets", config.training.targets, labels)
        by_collection = splits(context, result.sets).values()
        audit = audit_splits(folder, graphs, result.sets, by_collection, config.training.allow)
        jobs = _jobs(context, result.sets, folder)
        fits = fit_many(
            graphs,
            labels,
            jobs,
            workers=context.workers,
            progress=context.progress,
            on_result=lambda fitted: _save(fitted, folder / fitted.name),
        )
        # A finished model is in its bundle; its checkpoint has served its purpose.
        shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
        return audit, fits

    def load(folder: Path) -> tuple[LeakageAudit, tuple[Fitted, ...]]:
        names = [job.name for job in _jobs(context, result.sets, folder)]
        fits = tuple(load_bundle(folder / name, model=config.training.model) for name in names)
        return load_audit(folder, config.training.allow), fits

    audit, fits = context.folder.room(
        "training",
        {"training": to_table(config.training), "collections": to_table(config.collections), "seed": config.seed},
        after=["labels", "graphs"],
        keep=[CHECKPOINTS],
        make=make,
        load=load,
    )
    return replace(result, leakage=audit, fits=fits)


def _save(fitted: Fitted, folder: Path) -> None:
    save_bundle(fitted, folder)
    save_history(fitted, folder)


def _needed(result: RunResult) -> tuple[GraphSet, Labels]:
    assert result.graphs is not None
    assert result.labels is not None
    return result.graphs, result.labels


def splits(context: Context, sets: tuple[Configurations, ...]) -> Mapping[str, Mapping[int, Split]]:
    """Return collection → seed → split; each set is split once per seed and collections combine those splits."""
    training = context.config.training
    of_set = {
        (item.name, seed): make_split(item.ids, item.group, training.fractions, seed)
        for item in sets
        for seed in training.seeds
        if any(item.name in members for members in context.config.collections.values())
    }
    return {
        name: {seed: combine_splits([of_set[member, seed] for member in members]) for seed in training.seeds}
        for name, members in context.config.collections.items()
    }


def _jobs(context: Context, sets: tuple[Configurations, ...], folder: Path) -> list[FitJob]:
    training = context.config.training
    jobs = []
    for target in training.targets:
        for collection, by_seed in splits(context, sets).items():
            for seed, split in by_seed.items():
                name = f"{target}-{collection}-seed{seed}"
                jobs.append(
                    FitJob(
                        name=name,
                        split=split,
                        model=training.model,
                        target=target,
                        settings=training.settings,
                        trained_on=collection,
                        seed=seed,
                        heads=training.targets if training.joint and len(training.targets) > 1 else (),
                        checkpoint=folder / CHECKPOINTS / f"{name}.safetensors",
                    )
                )
    return jobs


def evaluation_step(context: Context, result: RunResult) -> RunResult:
    """Room 6: every model on its own, the complementary and the combined test parts."""
    graphs, labels = _needed(result)
    config = context.config

    def make(folder: Path) -> Evaluation:
        collections, skipped = _test_collections(context, result, graphs)
        asked = config.evaluation
        references, without = fit_references(
            asked.references, result.fits, result.sets, labels, asked.soap, workers=context.workers
        )
        judged: tuple[Fitted | FittedReference, ...] = (*result.fits, *references)
        evaluation = cross_test(judged, collections, labels, progress=context.progress)
        if asked.paper_filter:
            save_evaluation(cross_test(judged, collections, labels, paper_filter=True), folder / "paper_filter")
        evaluation = replace(evaluation, warnings=(*evaluation.warnings, *without, *skipped))
        save_evaluation(evaluation, folder)
        return evaluation

    evaluation = context.folder.room(
        "evaluation",
        {"evaluation": to_table(config.evaluation)},
        after=["training"],
        make=make,
        load=load_evaluation,
    )
    return replace(result, evaluation=evaluation)


def _test_collections(
    context: Context, result: RunResult, graphs: GraphSet
) -> tuple[dict[str, tuple[GraphSet, Mapping[int, Split]]], list[str]]:
    """Return what to test on: the training collections, and every set that no model trained on, whole."""
    found = splits(context, result.sets)
    collections = {name: (graphs, by_seed) for name, by_seed in found.items()}
    seen = {number for fitted in result.fits for number in fitted.inputs.elements}
    used = {member for members in context.config.collections.values() for member in members}
    skipped = []
    for item in result.sets:
        if item.name in used or item.name in collections:
            continue
        unknown = sorted(set(np.unique(item.numbers).tolist()) - seen)
        if unknown:
            symbols = ", ".join(_symbol(number) for number in unknown)
            skipped.append(f"Set {item.name!r} is not tested: it holds {symbols}, which no training collection holds.")
            continue
        whole = {
            seed: Split(train=(), validation=(), test=item.ids, seed=seed) for seed in context.config.training.seeds
        }
        collections[item.name] = (graphs, whole)
    return collections, skipped


def _symbol(number: int) -> str:
    from ase.data import chemical_symbols

    return str(chemical_symbols[number])


def explanation_step(context: Context, result: RunResult) -> RunResult:
    """Room 7: which bonds the best model of the chosen collection rests on, on its own test part."""
    settings = context.config.explanation
    graphs, _ = _needed(result)

    def make(folder: Path) -> Explanation:
        fitted = _explained(context, result)
        test = set(fitted.split.test)
        places = [place for place, sample in enumerate(graphs.sample_ids) if sample in test]
        explanation = explain(
            fitted,
            graphs.select(places),
            _reference(result, fitted),
            settings.explainer,
            [context.seed("explanation", run) for run in range(settings.runs)],
            n_configurations=settings.configurations,
            progress=context.progress,
        )
        save_explanation(explanation, folder)
        return explanation

    explanation = context.folder.room(
        "explanation",
        {"explanation": to_table(settings), "seed": context.config.seed},
        after=["training"],
        make=make,
        load=load_explanation,
    )
    return replace(result, explanation=explanation)


def _explained(context: Context, result: RunResult) -> Fitted:
    """Return the model of the chosen target and collection with the lowest validation error."""
    config = context.config
    target, collection = config.chosen(config.explanation)
    fits = [fit for fit in result.fits if fit.target == target and fit.trained_on == collection]
    return min(fits, key=lambda fit: fit.history[fit.best_epoch].validation_loss * fit.scaling.scale**2)


def _reference(result: RunResult, fitted: Fitted) -> Crystal:
    """Return the undisplaced crystal that edges refer to: room 1's supercell, or that of a test configuration."""
    if result.phonons is not None:
        return result.phonons.supercell
    wanted = fitted.split.test[0]
    for item in result.sets:
        if wanted in item.ids:
            place = item.ids.index(wanted)
            crystal = item.crystal(place)
            atoms = slice(int(item.offsets[place]), int(item.offsets[place + 1]))
            shift = np.nan_to_num(item.displacements_A[atoms])
            return replace(crystal, positions_A=crystal.positions_A - shift)
    raise DataError(f"test sample {wanted!r} is in no set; run the earlier rooms again")
