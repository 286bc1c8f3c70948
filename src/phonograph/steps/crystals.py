"""Room 2: from phonons (or the user's own sets) to displaced configurations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from phonograph.config import Config, DataSetConfig
from phonograph.datasets import load_dataset
from phonograph.errors import ConfigurationError, UserError
from phonograph.files.configurations import (
    load_certificate,
    load_configurations,
    save_certificate,
    save_configurations,
)
from phonograph.files.espresso_tree import read_espresso_tree
from phonograph.files.importers import PROPERTY_TABLE
from phonograph.files.trajectory_readers import read_trajectory
from phonograph.files.user_data import read_labelled
from phonograph.files.vasp_tree import read_vasp_tree
from phonograph.sampling import MatchedRandomSampler, PairMatchedSampler, SnapshotSampler, certify, sample
from phonograph.sampling.snapshots import require_same_blocks
from phonograph.steps.context import Context, RunResult, without_paths
from phonograph.steps.phonons import run_trajectory
from phonograph.steps.renormalised import phonons_at_temperature, phonons_of_law
from phonograph.tables import to_table
from phonograph.types import Certificate, Configurations, Crystal, Labels, Phonons

MATCHING = (MatchedRandomSampler, PairMatchedSampler)
"""Samplers that need another set first."""


def sampling_step(context: Context, result: RunResult) -> RunResult:
    """Room 2: displaced supercells of every set, and what they look like."""
    config = context.config

    def make(folder: Path) -> tuple[list[Configurations], list[Certificate]]:
        sets = [*_sampled(context, result.phonons), *(configurations for configurations, _ in brought_sets(context))]
        samplers = {item.name: item.sampler for item in config.sampling.sets}
        certificates = []
        for configurations in sets:
            reference: Phonons | Crystal = configurations.crystal(0)
            if configurations.name in samplers and result.phonons is not None:
                reference = phonons_of_law(context, result.phonons, samplers[configurations.name])
            certificates.append(certify(configurations, reference))
            save_configurations(configurations, folder / f"{configurations.name}.extxyz")
            save_certificate(certificates[-1], folder / f"{configurations.name}.certificate.json")
            context.progress("sampling", len(certificates), len(sets))
        return sets, certificates

    def load(folder: Path) -> tuple[list[Configurations], list[Certificate]]:
        return (
            [load_configurations(folder / f"{name}.extxyz") for name in config.set_names],
            [load_certificate(folder / f"{name}.certificate.json") for name in config.set_names],
        )

    sets, certificates = context.folder.room(
        "sampling",
        {
            "sets": _plain_sets(context),
            "data": [without_paths(to_table(item)) for item in config.data.sets],
            "seed": config.seed,
        },
        after=["phonons"] if result.phonons is not None else [],
        inputs=_brought_files(context),
        make=make,
        load=load,
    )
    return replace(result, sets=tuple(sets), certificates=tuple(certificates))


def _plain_sets(context: Context) -> list[Any]:
    return [
        [item.name, item.n, item.sampler_name, *map(without_paths, map(to_table, (item.sampler, item.composition)))]
        for item in context.config.sampling.sets
    ]


def _brought_files(context: Context) -> list[Path]:
    """Files whose content decides the sets: user data, end members of solid solutions, and trajectories."""
    config = context.config
    named = [config.path(name) for item in config.data.sets for name in item.files()]
    named += [config.structures(item) for item in config.data.sets if item.comes_with_phonograph()]
    names = [item.composition.end_member_file for item in config.sampling.sets if item.composition is not None]
    names += [item.sampler.file for item in config.sampling.sets if isinstance(item.sampler, SnapshotSampler)]
    files: list[Path] = []
    for path in (*named, *(config.path(name) for name in names if name)):
        folder = path.parent if path.name == PROPERTY_TABLE else path
        files += sorted(entry for entry in folder.rglob("*") if entry.is_file()) if folder.is_dir() else [path]
    return [path for path in files if path.is_file()]


def _sampled(context: Context, phonons: Phonons | None) -> list[Configurations]:
    """Sample every set; matched sets come after the set they match, whatever the order in the file."""
    made: dict[str, Configurations] = {}
    order = sorted(context.config.sampling.sets, key=lambda item: isinstance(item.sampler, MATCHING))
    for item in order:
        sampler = item.sampler
        if phonons is None:
            raise ConfigurationError(f"set {item.name!r} needs phonons; add [crystal] file = …")
        if isinstance(sampler, MATCHING):
            if sampler.match not in made:
                raise ConfigurationError(f"set {item.name!r} must match a sampled set; {sampler.match!r} is not one")
            sampler = sampler.matched_to(made[sampler.match])
        if isinstance(sampler, SnapshotSampler):
            sampler = _with_trajectory(context, sampler, phonons.supercell)
        seed = context.seed("sampling", item.name)
        with _about_set(item.name):
            made[item.name] = sample(
                phonons,
                sampler,
                item.n,
                seed,
                name=item.name,
                composition=item.composition,
                renormalise=partial(phonons_at_temperature, context, phonons),
            )
    require_same_blocks(made.values())
    return [made[item.name] for item in context.config.sampling.sets]


@contextmanager
def _about_set(name: str) -> Iterator[None]:
    """Name the set in the sentence of an error: a configuration has many, and a law does not know whose it is."""
    try:
        yield
    except UserError as error:
        if f"set {name!r}" in str(error):
            raise
        raise type(error)(f"set {name!r}: {error}") from error


def _with_trajectory(context: Context, sampler: SnapshotSampler, supercell: Crystal) -> SnapshotSampler:
    """Read the trajectory that the sampler names, or take that of room 1."""
    if not sampler.file:
        return replace(sampler, trajectory=run_trajectory(context))
    trajectory = read_trajectory(
        context.config.path(sampler.file),
        time_step_fs=sampler.time_step_fs,
        temperature_K=sampler.temperature_K,
        reference=supercell,
    )
    return replace(sampler, trajectory=trajectory)


def brought_sets(context: Context) -> list[tuple[Configurations, Labels | None]]:
    """Read the sets the user brings, with their labels."""
    return [_brought(context.config, item) for item in context.config.data.sets]


def _brought(config: Config, item: DataSetConfig) -> tuple[Configurations, Labels | None]:
    configurations, labels = _read(config, item)
    if not item.n or item.n >= len(configurations):
        return configurations, labels
    return configurations.first(item.n), labels.first(item.n) if labels is not None else None


def _read(config: Config, item: DataSetConfig) -> tuple[Configurations, Labels | None]:
    path = config.structures(item)
    if item.format == "dataset":
        return load_dataset(path).part(item.set or item.name, item.name)
    equilibrium = config.path(item.equilibrium) if item.equilibrium else None
    if item.format == "qe-tree":
        return read_espresso_tree(path, item.name, equilibrium=equilibrium)
    if item.format == "vasp-tree":
        return read_vasp_tree(path, item.name, equilibrium=equilibrium, energy=item.energy or "sigma0")
    return read_labelled(
        path,
        name=item.name,
        labels=config.path(item.labels) if item.labels else None,
        units=dict(item.units),
        property=item.property or None,
        energy=item.energy,
        stress=item.stress,
        correction=item.correction,
    )
