"""The verb of the room: any law of displacements, with or without a composition factor, as one named set."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from phonograph.errors import ConfigurationError, DataError
from phonograph.sampling.composition import (
    Occupation,
    Substitution,
    composition_notes,
    occupation_of,
    substituted,
    vegard_cell,
)
from phonograph.sampling.laws import IndexedSampler, crystal_hash, indices_up_to, origin_of, plain_options, supercell_of
from phonograph.types import Configurations, Crystal, IntArray, Phonons, Progress, Sampler

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,79}")
"""Names of sets become file names."""


def sample(
    reference: Phonons | Crystal,
    sampler: Sampler,
    n: int,
    seed: int,
    *,
    name: str,
    composition: Substitution | None = None,
    progress: Progress | None = None,
) -> Configurations:
    """Return ``n`` displaced configurations of ``reference`` as a set called ``name``.

    Sample i of seed s depends on (s, i) only, never on n, on the set's name or on the process.  Two sets made by
    the same sampler from the same seed therefore hold the same random numbers: give sets that must be independent
    different seeds.  Groups hold the name and the seed, so they are unique within a run.

    Parameters
    ----------
    reference
        Phonons (displacements refer to their supercell), or just the supercell for laws that need no forces.
    sampler
        The law of displacements: any object with the method of :class:`phonograph.types.Sampler`.
    n
        Number of samples.
    seed
        Root seed of the set.
    name
        Name of the set: letters, digits, ``.``, ``_``, ``-``, at most 80 characters.
    composition
        Substitution that is combined with the law; None keeps the parent's atoms.
    progress
        Called as ``progress("sample <name>", done, n)``, once per distinct occupation.

    Raises
    ------
    ConfigurationError
        For a bad name or n, or options that do not fit the crystal.
    PhysicsError
        For imaginary modes or too large amplitudes under the default policies.
    """
    if not NAME.fullmatch(name):
        raise ConfigurationError(
            f"the name of a set may hold letters, digits, '.', '_' and '-' (at most 80, not starting with '.' or '-'); "
            f"got {name!r}"
        )
    indices = indices_up_to(n)
    if composition is None:
        made = sampler.sample(reference, n, seed)
        if len(made) != n:
            raise DataError(f"sampler {type(sampler).__name__} was asked for {n} samples and returned {len(made)}")
    else:
        made = _substituted_samples(reference, sampler, indices, seed, composition, name, progress)
    notes = _balance_notes(sampler, n) + (
        composition_notes(composition, supercell_of(reference)) if composition else ()
    )
    plain = None if composition is None else plain_options(composition)
    origin = origin_of(sampler, reference, seed, name=name, n=int(n), composition=plain)
    if composition is not None and composition.end_member is not None:
        origin = replace(origin, inputs={**origin.inputs, "end_member": crystal_hash(composition.end_member)})
    return replace(
        made,
        name=name,
        group=tuple(f"{name}:{group}" for group in made.group),
        warnings=(*made.warnings, *notes),
        origin=origin,
    )


def _balance_notes(sampler: Sampler, n: int) -> tuple[str, ...]:
    period = sampler.period if isinstance(sampler, IndexedSampler) else 1
    if n % period == 0:
        return ()
    return (
        f"{n} samples are not a multiple of the {period} amplitudes: some amplitudes have one sample more than others",
    )


def _substituted_samples(
    reference: Phonons | Crystal,
    sampler: Sampler,
    indices: Sequence[int],
    seed: int,
    composition: Substitution,
    name: str,
    progress: Progress | None,
) -> Configurations:
    """Sample each distinct occupation once, for all the indices that have it, and put the samples back in order."""
    parent = supercell_of(reference)
    stride, period = (sampler.stride, sampler.period) if isinstance(sampler, IndexedSampler) else (1, 1)
    drawn = [occupation_of(composition, parent, i, seed, stride=stride, period=period) for i in indices]
    members: dict[bytes, list[int]] = {}
    for index, occupation in zip(indices, drawn, strict=True):
        members.setdefault(occupation.key, []).append(index)
    parts, order = [], []
    for same in members.values():
        parts.append(_at_occupation(reference, sampler, same, seed, composition, drawn[same[0]]))
        order.extend(same)
        if progress is not None:
            progress(f"sample {name}", len(order), len(indices))
    return _in_order(parts, np.argsort(order))


def _at_occupation(
    reference: Phonons | Crystal,
    sampler: Sampler,
    indices: Sequence[int],
    seed: int,
    composition: Substitution,
    occupation: Occupation,
) -> Configurations:
    cell = vegard_cell(composition, reference, occupation.fraction)
    crystal = substituted(reference, occupation.numbers, cell)
    if isinstance(sampler, IndexedSampler):
        made = sampler.sample_at(crystal, indices, seed)
    else:
        # The public protocol can only make samples from 0 on; sample i does not depend on how many are made.
        whole = sampler.sample(crystal, max(indices) + 1, seed)
        made = _in_order([whole], np.asarray(indices, dtype=np.int64))
    return replace(made, fraction=np.full(len(made), occupation.fraction))


def _in_order(parts: Sequence[Configurations], order: IntArray) -> Configurations:
    """Return the configurations of all parts, concatenated and then taken in ``order``."""
    sizes = np.concatenate([np.diff(part.offsets) for part in parts])
    starts = np.cumsum(sizes) - sizes
    atoms = np.concatenate([np.arange(starts[i], starts[i] + sizes[i]) for i in order])
    groups = [group for part in parts for group in part.group]

    def packed(name: str, chosen: IntArray) -> Any:
        return np.concatenate([getattr(part, name) for part in parts])[chosen]

    return replace(
        parts[0],
        offsets=np.concatenate([[0], np.cumsum(sizes[order])]),
        numbers=packed("numbers", atoms),
        positions_A=packed("positions_A", atoms),
        displacements_A=packed("displacements_A", atoms),
        cells_A=packed("cells_A", order),
        temperature_K=packed("temperature_K", order),
        amplitude_A=packed("amplitude_A", order),
        fraction=packed("fraction", order),
        index=packed("index", order),
        group=tuple(groups[i] for i in order),
        warnings=_merged([warning for part in parts for warning in part.warnings]),
    )


def _merged(warnings: Sequence[str]) -> tuple[str, ...]:
    """Keep one of the sentences that differ in their numbers only, and tell how many there were."""
    alike: dict[str, list[str]] = {}
    for warning in warnings:
        alike.setdefault(re.sub(r"-?\d+(\.\d+)?", "#", warning), []).append(warning)
    return tuple(
        same[0] if len(set(same)) == 1 else f"{same[0]} (and {len(set(same)) - 1} more occupations, with other numbers)"
        for same in alike.values()
    )
