"""Room 3: labels of every configuration, their costs, how far they are, and their noise."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from phonograph.errors import ConfigurationError, DataError, InputFileError
from phonograph.files.configurations import load_configurations
from phonograph.files.labels import load_labels, save_labels
from phonograph.files.noise import load_noise, save_noise
from phonograph.labels import LabelStatus, label, label_costs, label_status, save_costs
from phonograph.labels.engines.tight_binding import XtbLabeller
from phonograph.labels.execution.cluster import ParslExecutor
from phonograph.labels.execution.seam import Executor
from phonograph.labels.failures import PASSING
from phonograph.labels.noise import measure_noise
from phonograph.labels.task import calculation
from phonograph.labels.unfolding import check_folding_at_gamma
from phonograph.run_folder import file_hash
from phonograph.steps.context import Context, RunResult
from phonograph.steps.crystals import brought_sets
from phonograph.types import Configurations, Labeller, Labels, NoiseFloor, join_labels

STORE = "labels.sqlite"
TABLE, COSTS, NOISE = "labels.csv", "costs.csv", "noise.json"


def labels_step(context: Context, result: RunResult) -> RunResult:
    """Room 3: labels of every configuration; brought labels are kept, the others computed."""
    config = context.config

    def make(folder: Path) -> Labels:
        brought = {configurations.name: labels for configurations, labels in brought_sets(context)}
        missing = [item for item in result.sets if brought.get(item.name) is None]
        parts = [labels for labels in brought.values() if labels is not None]
        if missing and not config.labels.engines:
            raise DataError(f"set {missing[0].name!r} has no labels; give a labels file or add [[labels.engines]]")
        if missing:
            engines = placed_engines(context)
            parts.append(label_sets(context, missing, engines))
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
            # An explicit retry, and holes that only wait, must not be answered with the holes of the last time.
            "again": os.urandom(8).hex() if _ask_again(context) else "",
        },
        after=["sampling"],
        keep=[STORE, f"{STORE}*", COSTS, f"{Path(NOISE).stem}.*", *_engine_folders(context)],
        make=make,
        load=lambda folder: load_labels(folder / TABLE),
    )
    # What later rooms depend on is the labels themselves: a retry that finds nothing new changes nothing.
    context.folder.keys["labels"] = file_hash(_room(context) / TABLE)
    return replace(result, labels=labels)


def _folding_warnings(context: Context, result: RunResult) -> Iterator[str]:
    """Yield what the supercell does not see of the unit cell's band edges, where that was asked for."""
    if not context.config.labels.check_folding or result.phonons is None:
        return
    constants = result.phonons.force_constants
    for engine in context.config.labels.engines:
        if isinstance(engine, XtbLabeller):
            yield from check_folding_at_gamma(engine, constants.unitcell, constants.supercell_matrix).warnings


def _room(context: Context) -> Path:
    return context.folder.path / "3_labels"


def store_path(context: Context) -> Path:
    """Return the label store: the one the configuration names, or that of the run."""
    named = context.config.labels.store
    return context.config.path(named) if named else _room(context) / STORE


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
    return [[type(engine).__name__, calculation(engine).key.hex()] for engine in context.config.labels.engines]


def placed_engines(context: Context) -> tuple[Labeller, ...]:
    """Return the engines with their folders inside the run; one that waits for files needs a folder to wait in."""
    return tuple(_placed(context, engine) for engine in context.config.labels.engines)


def _placed(context: Context, engine: Any) -> Labeller:
    """Return the engine with absolute folders: its own in the run, those of potentials beside the configuration."""
    found = {
        item.name: str(context.config.path(getattr(engine, item.name)).absolute())
        for item in fields(engine)
        if item.name.endswith("_folder") and getattr(engine, item.name)
    }
    if folder := getattr(engine, "folder", ""):
        found["folder"] = str((_room(context) / folder).absolute())
    return replace(engine, **found) if found else engine


def _engine_folders(context: Context) -> Iterator[str]:
    """Yield the folders of engines inside the room: their files are not results of ours."""
    for engine in context.config.labels.engines:
        folder = Path(getattr(engine, "folder", ""))
        if folder.parts and not folder.is_absolute():
            yield folder.parts[0]


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
    return ParslExecutor(settings=settings, say=context.say) if settings is not None else None


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
    return [load_configurations(folder / f"{name}.extxyz") for name in names if name not in brought]


def status(context: Context) -> LabelStatus:
    """Return how far the labels of a run are, also while another process computes them."""
    return label_status(
        store_path(context), sampled_sets(context), placed_engines(context), workers=max(1, context.workers)
    )


def noise(context: Context, n: int, copies: int) -> NoiseFloor:
    """Measure the label noise of a run's sets and keep it in ``3_labels/noise.json`` and ``noise.csv``."""
    config = context.config
    found = measure_noise(
        sampled_sets(context),
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
