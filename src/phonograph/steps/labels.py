"""Room 3: labels of every configuration, their costs, how far they are, and their noise."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from glob import escape
from pathlib import Path
from typing import Any

from phonograph.config_labels import folding_engines, with_files
from phonograph.errors import ConfigurationError, DataError, InputFileError
from phonograph.execution.cluster import ParslExecutor
from phonograph.execution.pool import WorkerPool
from phonograph.execution.seam import Executor
from phonograph.files.configurations import load_configurations
from phonograph.files.labels import load_labels, save_labels
from phonograph.files.noise import load_noise, save_noise
from phonograph.labels import (
    Export,
    LabelStatus,
    export_store,
    label,
    label_costs,
    label_status,
    open_store,
    save_costs,
)
from phonograph.labels.execution.task import label_needs
from phonograph.labels.failures import PASSING
from phonograph.labels.noise import measure_noise
from phonograph.labels.task import calculation
from phonograph.labels.unfolding import check_folding_at_gamma
from phonograph.run_folder import STAGES, file_hash
from phonograph.steps.context import Context, RunResult
from phonograph.steps.crystals import brought_sets
from phonograph.types import Configurations, Labeller, Labels, NoiseFloor, join_labels

ROOM = "3_labels"
STORE = "labels.sqlite"
TABLE, COSTS, NOISE = "labels.csv", "costs.csv", "noise.json"


def labels_step(context: Context, result: RunResult) -> RunResult:
    """Room 3: labels of every configuration; brought labels are kept, the others computed."""
    config = context.config

    def make(folder: Path) -> Labels:
        brought = {configurations.name: labels for configurations, labels in brought_sets(context)}
        missing = [item for item in result.sets if brought.get(item.name) is None]
        parts = [labels for labels in brought.values() if labels is not None]
        _check_engines(context, missing)
        if missing:
            engines = placed_engines(context)
            parts.append(label_sets(context, missing, engines))
            _say_where_files_wait(context, parts[-1], engines)
            save_costs(label_costs(store_path(context), missing, engines), folder / COSTS)
        labels = join_labels(parts)
        labels = replace(labels, warnings=(*labels.warnings, *_folding_warnings(context, result)))
        save_labels(labels, folder / TABLE)
        return labels

    labels = context.folder.room(
        "labels",
        {
            "engines": plain_engines(context),
            "check_folding": config.labels.check_folding,
        },
        after=["sampling"],
        keep=[*_store_names(context), COSTS, f"{Path(NOISE).stem}.*", *_engine_folders(context)],
        # An explicit retry, and holes that only wait, must not be answered with the holes of the last time.
        fresh=_ask_again(context),
        make=make,
        load=lambda folder: load_labels(folder / TABLE),
    )
    # What later rooms depend on is the labels themselves: a retry that finds nothing new changes nothing.
    context.folder.keys["labels"] = file_hash(_room(context) / TABLE)
    return replace(result, labels=labels)


def _check_engines(context: Context, sets: Sequence[Configurations]) -> None:
    """Refuse sets that did not bring their labels where no engine computes any."""
    if sets and not context.config.labels.engines:
        raise DataError(f"set {sets[0].name!r} has no labels; give a labels file or add [[labels.engines]]")


def _folding_warnings(context: Context, result: RunResult) -> Iterator[str]:
    """Yield what the supercell does not see of the unit cell's band edges, where that was asked for."""
    if not context.config.labels.check_folding:
        return
    if result.phonons is None:
        yield "check_folding: the unit cell of sets that were brought is not known, so that nothing was tested."
        return
    constants = result.phonons.force_constants
    for engine in folding_engines(context.config.labels.engines):
        yield from check_folding_at_gamma(engine, constants.unitcell, constants.supercell_matrix).warnings


def _say_where_files_wait(context: Context, labels: Labels, engines: Sequence[Any]) -> None:
    """Tell where the inputs lie that someone else is to run."""
    if not any(": waiting: " in words for words in labels.status):
        return
    for engine in engines:
        if getattr(engine, "folder", "") and not getattr(engine, "command", ()):
            context.say(
                f"labels: inputs wait in {engine.folder}, a folder per structure, listed in jobs.csv; run "
                "the program in each, then give this command again"
            )


def _room(context: Context) -> Path:
    return context.folder.path / ROOM


def store_path(context: Context) -> Path:
    """Return the label store: the one the configuration names, or that of the run."""
    named = context.config.labels.store
    return _safe(context, context.config.path(named), "labels.store") if named else _room(context) / STORE


def _safe(context: Context, path: Path, option: str) -> Path:
    """Return ``path``, unless it lies where a room's files are removed when the room is made again."""
    place = _inside(path, context.folder.path)
    if place and place[0].partition("_")[2] in STAGES and (place[0] != ROOM or len(place) == 1):
        raise ConfigurationError(
            f"{option} {path} lies among the results of {place[0]}, which are made again when something changes; "
            "choose a place of its own"
        )
    return path


def _inside(path: Path, folder: Path) -> tuple[str, ...]:
    """Return the parts of ``path`` below ``folder``; none where it lies elsewhere."""
    found, root = path.resolve(), folder.resolve()
    return found.relative_to(root).parts if found.is_relative_to(root) else ()


def _store_names(context: Context) -> Iterator[str]:
    """Yield what belongs to label stores in the room: none of it is a result that is made again."""
    own = _inside(store_path(context), _room(context))[:1]
    for name in dict.fromkeys((STORE, *own)):
        # Files beside it (lock, journal, snapshots), results that wait, job scripts and logs of a cluster.
        yield from (name, f"{escape(name)}*", f"{name}.results", f"{name}.blocks")


def _ask_again(context: Context) -> bool:
    """Return whether to try failures again, or holes of the last table that say nothing of their structure."""
    if context.retry_classes or context.config.labels.retry_failed:
        return True
    try:
        status = load_labels(_room(context) / TABLE).status
    except InputFileError:
        return False
    return any(f": {kind}: " in words for words in status for kind in PASSING)


def plain_engines(context: Context) -> list[Any]:
    """Return the engines as the keys of their calculations: versions and settings that decide a number, no others."""
    return [[type(engine).__name__, calculation(engine).key.hex()] for engine in placed_engines(context)]


def placed_engines(context: Context) -> tuple[Labeller, ...]:
    """Return the engines with their folders inside the run; one that waits for files needs a folder to wait in."""
    return tuple(_placed(context, engine) for engine in context.config.labels.engines)


def _placed(context: Context, engine: Any) -> Labeller:
    """Return the engine with absolute paths: its own folder in the run, its data beside the configuration."""
    engine = with_files(engine, lambda name: str(context.config.path(name)))
    folder = getattr(engine, "folder", "")
    if not folder:
        return engine
    place = _safe(context, (_room(context) / folder).absolute(), f"the folder of {type(engine).__name__}")
    return replace(engine, folder=str(place))


def _engine_folders(context: Context) -> Iterator[str]:
    """Yield the folders of engines inside the room: their files are not results of ours."""
    for engine in placed_engines(context):
        if folder := getattr(engine, "folder", ""):
            yield from _inside(Path(folder), _room(context))[:1]


def label_sets(context: Context, sets: Sequence[Configurations], engines: Sequence[Labeller]) -> Labels:
    """Label sets through the run's store."""
    config = context.config
    return label(
        sets,
        engines,
        store_path(context),
        workers=config.workers,
        timeout_s=config.labels.timeout_s,
        retry_failed=context.retry_classes or config.labels.retry_failed,
        progress=context.progress,
        say=context.say,
        executor=executor(context),
    )


def executor(context: Context) -> Executor | None:
    """Return the cluster of ``[labels.executor]``; None for the processes of this machine."""
    settings = context.config.labels.executor
    if settings is None:
        return None
    if settings.folder:
        settings = replace(settings, folder=str(context.config.path(settings.folder)))
    return ParslExecutor(settings=settings, say=context.say)


def sampled_sets(context: Context) -> list[Configurations]:
    """Return the sets of a run whose room 2 is finished, without making anything.

    Raises
    ------
    ConfigurationError
        Where it is not.
    """
    folder = context.folder.path / "2_sampling"
    names = context.config.set_names
    if not names or not all((folder / f"{name}.extxyz").is_file() for name in names):
        raise ConfigurationError(
            f"the configurations of {context.folder.path} are not drawn yet; run first: phonograph sample CONFIG -o RUN"
        )
    brought = {configurations.name for configurations, labels in brought_sets(context) if labels is not None}
    sets = [load_configurations(folder / f"{name}.extxyz") for name in names if name not in brought]
    _check_engines(context, sets)
    return sets


def status(context: Context) -> LabelStatus:
    """Return how far the labels of a run are, also while another process computes them."""
    engines = placed_engines(context)
    return label_status(store_path(context), sampled_sets(context), engines, workers=_places(context, engines))


def _places(context: Context, engines: Sequence[Labeller]) -> int:
    """Return how many labels of the largest engine run at a time where this configuration runs them."""
    runner = executor(context) or WorkerPool(context.config.workers)
    every = [calculation(engine) for engine in engines]
    needs = [label_needs([one], sys.maxsize, context.config.labels.timeout_s) for one in every]
    return min((runner.places(one) for one in needs), default=1)


def export(context: Context, path: Path, **chosen: Any) -> Export:
    """Write the computed labels of a run: of its sets and engines, whatever else the store holds."""
    sets, labellers = sampled_sets(context), placed_engines(context)
    if not sets:
        raise ConfigurationError(
            f"every set of {context.folder.path} brought its labels; they are in {_room(context) / TABLE}"
        )
    with open_store(store_path(context)) as store:
        held = {item.key for item in store.calculations()}
        if held.isdisjoint(calculation(labeller).key for labeller in labellers):
            labellers = ()  # of engines of other versions: all there is
        return export_store(store, path, configurations=sets, labellers=labellers, **chosen)


def noise(context: Context, n: int, copies: int) -> NoiseFloor:
    """Measure the label noise of a run's sets and keep it in ``3_labels/noise.json`` and ``noise.csv``."""
    config = context.config
    sets = sampled_sets(context)
    if not sets:
        raise ConfigurationError("noise is measured by computing labels again; the labels of this run were brought")
    found = measure_noise(
        sets,
        placed_engines(context),
        store_path(context),
        n=n,
        copies=copies,
        seed=config.seed,
        workers=config.workers,
        timeout_s=config.labels.timeout_s,
        progress=context.progress,
        say=context.say,
        executor=executor(context),
    )
    save_noise(found, _room(context))
    return found


def noise_of(context: Context) -> NoiseFloor | None:
    """Return the label noise that was measured in this run, or None."""
    return load_noise(_room(context)) if (_room(context) / NOISE).is_file() else None
