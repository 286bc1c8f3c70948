"""Rooms 1–3: from a structure file (or the user's own sets) to labelled configurations."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from phonograph.errors import ConfigurationError, DataError
from phonograph.files.configurations import (
    load_configurations,
    load_statistics,
    save_configurations,
    save_statistics,
)
from phonograph.files.force_constants import read_force_constants
from phonograph.files.labels import load_labels, save_labels
from phonograph.files.phonons import load_phonons, save_phonons
from phonograph.files.structures import read_structure
from phonograph.files.user_data import read_user_set
from phonograph.labels import label
from phonograph.phonons import compute_phonons, relax
from phonograph.run_folder import file_hash
from phonograph.sampling import MatchedRandomSampler, sample, set_statistics
from phonograph.steps.context import Context, RunResult
from phonograph.tables import to_table
from phonograph.types import Configurations, Crystal, Labeller, Labels, Phonons, SetStatistics, join_labels

STORE = "labels.sqlite"


def phonons_step(context: Context, result: RunResult) -> RunResult:
    """Room 1: force constants, harmonic or renormalised; skipped where the user brings all sets."""
    config = context.config
    if not config.crystal.file:
        return result
    crystal = read_structure(config.path(config.crystal.file))
    inputs = [config.path(name) for name in (config.crystal.file, config.phonons.file) if name]

    def make(folder: Path) -> Phonons:
        phonons = phonons_at(context, crystal)
        save_phonons(phonons, folder)
        return phonons

    phonons = context.folder.room(
        "phonons",
        {
            "crystal": _without_paths(to_table(config.crystal)),
            "phonons": _without_paths(to_table(config.phonons)),
            "seed": config.seed,
        },
        inputs=[path for path in inputs if path.is_file()],
        make=make,
        load=load_phonons,
    )
    return replace(result, phonons=phonons)


def phonons_at(context: Context, crystal: Crystal, temperature_K: float | None = None) -> Phonons:
    """Compute phonons as configured, or renormalised at another temperature."""
    config = context.config
    forces = config.phonons.forces
    if config.crystal.relaxation is not None:
        crystal = relax(crystal, forces, config.crystal.relaxation)
    renormalisation = config.phonons.renormalisation
    if renormalisation is not None and temperature_K is not None:
        renormalisation = replace(renormalisation, temperature_K=temperature_K)
    constants = None
    if config.phonons.file:
        constants = read_force_constants(
            config.path(config.phonons.file), structure=crystal, supercell_matrix=config.crystal.matrix
        )
    return compute_phonons(
        crystal,
        forces,
        config.crystal.matrix,
        force_constants=constants,
        renormalisation=renormalisation,
        seed=context.seed("phonons"),
        workers=context.workers,
        progress=context.progress,
    )


def sampling_step(context: Context, result: RunResult) -> RunResult:
    """Room 2: displaced supercells of every set, and what they look like."""
    config = context.config

    def make(folder: Path) -> tuple[list[Configurations], list[SetStatistics]]:
        sets = [*_sampled(context, result.phonons), *(configurations for configurations, _ in brought_sets(context))]
        statistics = []
        for configurations in sets:
            phonons = None if configurations.sampler == "file" else result.phonons
            reference = phonons if phonons is not None else configurations.crystal(0)
            statistics.append(set_statistics(configurations, reference))
            save_configurations(configurations, folder / f"{configurations.name}.extxyz")
            save_statistics(statistics[-1], folder / f"{configurations.name}.statistics.json")
            context.progress("sampling", len(statistics), len(sets))
        return sets, statistics

    def load(folder: Path) -> tuple[list[Configurations], list[SetStatistics]]:
        return (
            [load_configurations(folder / f"{name}.extxyz") for name in config.set_names],
            [load_statistics(folder / f"{name}.statistics.json") for name in config.set_names],
        )

    sets, statistics = context.folder.room(
        "sampling",
        {
            "sets": _plain_sets(context),
            "data": [_without_paths(to_table(item)) for item in config.data.sets],
            "seed": config.seed,
        },
        after=["phonons"] if result.phonons is not None else [],
        inputs=_brought_files(context),
        make=make,
        load=load,
    )
    return replace(result, sets=tuple(sets), statistics=tuple(statistics))


def _plain_sets(context: Context) -> list[Any]:
    return [
        [item.name, item.n, item.sampler_name, to_table(item.sampler), _without_paths(to_table(item.composition))]
        for item in context.config.sampling.sets
    ]


def _without_paths(table: Any) -> Any:
    """Leave out where files lie: their names and content, hashed, decide a result."""
    paths = ("file", "structures", "labels", "end_member_file")
    if not isinstance(table, dict):
        return table
    return {key: Path(value).name if key in paths else value for key, value in table.items()}


def _brought_files(context: Context) -> list[Path]:
    """Files whose content decides the sets: user data and end members of solid solutions."""
    config = context.config
    names = [name for item in config.data.sets for name in (item.structures, item.labels) if name]
    names += [item.composition.end_member_file for item in config.sampling.sets if item.composition is not None]
    files: list[Path] = []
    for path in (config.path(name) for name in names if name):
        files += sorted(entry for entry in path.iterdir() if entry.is_file()) if path.is_dir() else [path]
    return [path for path in files if path.is_file()]


def _sampled(context: Context, phonons: Phonons | None) -> list[Configurations]:
    """Sample every set; matched sets come after the set they match, whatever the order in the file."""
    made: dict[str, Configurations] = {}
    order = sorted(context.config.sampling.sets, key=lambda item: isinstance(item.sampler, MatchedRandomSampler))
    for item in order:
        sampler = item.sampler
        if phonons is None:
            raise ConfigurationError(f"set {item.name!r} needs phonons; add [crystal] file = …")
        if isinstance(sampler, MatchedRandomSampler):
            if sampler.match not in made:
                raise ConfigurationError(f"set {item.name!r} must match a sampled set; {sampler.match!r} is not one")
            sampler = sampler.matched_to(made[sampler.match])
        seed = context.seed("sampling", item.name)
        made[item.name] = sample(phonons, sampler, item.n, seed, name=item.name, composition=item.composition)
    return [made[item.name] for item in context.config.sampling.sets]


def brought_sets(context: Context) -> list[tuple[Configurations, Labels | None]]:
    """Read the sets the user brings, with their labels."""
    config = context.config
    return [
        read_user_set(
            item.name,
            config.path(item.structures),
            labels=config.path(item.labels) if item.labels else None,
            units=dict(item.units),
            property=item.property or None,
        )
        for item in config.data.sets
    ]


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
            parts.append(label_sets(context, missing, config.labels.engines))
        labels = join_labels(parts)
        save_labels(labels, folder / "labels.csv")
        return labels

    labels = context.folder.room(
        "labels",
        {
            "engines": plain_engines(context),
            # An explicit retry must not be answered with the holes of the last time.
            "retry": os.urandom(8).hex() if config.labels.retry_failed else "",
        },
        after=["sampling"],
        keep=[STORE, f"{STORE}*"],
        make=make,
        load=lambda folder: load_labels(folder / "labels.csv"),
    )
    # What later rooms depend on is the labels themselves: a retry that finds nothing new changes nothing.
    context.folder.keys["labels"] = file_hash(context.folder.path / "3_labels" / "labels.csv")
    return replace(result, labels=labels)


def plain_engines(context: Context) -> list[Any]:
    """Return the engines with their versions and settings, as plain values."""
    return [[type(engine).__name__, engine.engine, to_table(engine)] for engine in context.config.labels.engines]


def label_sets(context: Context, sets: Sequence[Configurations], engines: Sequence[Labeller]) -> Labels:
    """Label sets through the run's store."""
    config = context.config
    return label(
        sets,
        engines,
        context.folder.path / "3_labels" / STORE,
        workers=context.workers,
        timeout_s=config.labels.timeout_s,
        retry_failed=config.labels.retry_failed,
        progress=context.progress,
    )
