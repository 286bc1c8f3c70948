"""The verb of the room: any law of displacements, with or without a composition factor, as one named set."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

import numpy as np

from phonograph.errors import ConfigurationError, DataError
from phonograph.sampling.composition import Substitution, substituted, vegard_cell
from phonograph.sampling.laws import IndexedSampler, indices_up_to, origin_of, plain_options, supercell_of
from phonograph.sampling.occupations import Occupation, composition_notes, occupation_table, occupations_of
from phonograph.sampling.snapshots import SnapshotSampler
from phonograph.sampling.soft_modes import HarmonicOptions, renormalised_at
from phonograph.types import Configurations, Crystal, IntArray, Phonons, Progress, Sampler, crystal_hash

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
    renormalise: Callable[[float], Phonons] | None = None,
    progress: Progress | None = None,
) -> Configurations:
    """Return ``n`` displaced configurations of ``reference`` as a set called ``name``.

    Sample i of seed s depends on (s, i) only, never on n, on the set's name or on the process.  Two sets made by
    the same sampler from the same seed therefore hold the same random numbers: give sets that must be independent
    different seeds.  Groups hold the name and the seed, so they are unique within a run; blocks of a trajectory and
    occupations (``group_by_occupation``) are groups that sets share.

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
    renormalise
        Called as ``renormalise(temperature_K)`` for phonons renormalised at the sampler's temperature, where its
        soft-mode policy is ``"renormalise"`` and ``reference`` is not of that temperature.
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
    reference, notes = _at_temperature(reference, sampler, renormalise)
    if isinstance(sampler, SnapshotSampler):
        sampler = sampler.prepared(reference)
    notes, drawn = notes + _balance_notes(sampler, n), list[Occupation]()
    if composition is None:
        made = sampler.sample(reference, n, seed)
        if len(made) != n:
            raise DataError(f"sampler {type(sampler).__name__} was asked for {n} samples and returned {len(made)}")
    else:
        stride, period = (sampler.stride, sampler.period) if isinstance(sampler, IndexedSampler) else (1, 1)
        parent = supercell_of(reference)
        drawn = occupations_of(composition, parent, indices, seed, stride=stride, period=period)
        made = _substituted_samples(reference, sampler, seed, composition, drawn, name, progress)
        notes += composition_notes(composition, parent, drawn)
    plain = None if composition is None else plain_options(composition)
    recorded = {key: value for key, value in made.origin.settings.items() if key != "sampler"}
    origin = origin_of(sampler, reference, seed, **{**recorded, "name": name, "n": int(n), "composition": plain})
    if composition is not None and composition.occupations != "random":
        origin = replace(origin, settings={**origin.settings, "occupations": occupation_table(drawn)})
    if composition is not None and composition.end_member is not None:
        origin = replace(origin, inputs={**origin.inputs, "end_member": crystal_hash(composition.end_member)})
    return replace(
        made,
        name=name,
        group=_groups(made.group, name, sampler, composition),
        warnings=(*made.warnings, *notes),
        origin=origin,
    )


def _groups(groups: tuple[str, ...], name: str, sampler: Sampler, composition: Substitution | None) -> tuple[str, ...]:
    """Return groups that are unique within a run, except for what two sets may share: frames and occupations."""
    if isinstance(sampler, SnapshotSampler):
        if composition is not None and composition.group_by_occupation:
            raise ConfigurationError(
                f"set {name!r} cannot be split by occupation, because blocks of one trajectory must stay together; "
                "set group_by_occupation to false"
            )
        return groups
    if composition is not None and composition.group_by_occupation:
        return groups
    return tuple([f"{name}:{group}" for group in groups])


def _at_temperature(
    reference: Phonons | Crystal, sampler: Sampler, renormalise: Callable[[float], Phonons] | None
) -> tuple[Phonons | Crystal, tuple[str, ...]]:
    """Return the phonons that the soft-mode policy ``"renormalise"`` asks for, and the warnings of those made."""
    if renormalise is None or not isinstance(reference, Phonons) or not isinstance(sampler, HarmonicOptions):
        return reference, ()
    if sampler.soft_modes != "renormalise" or renormalised_at(reference, sampler.temperature_K):
        return reference, ()
    made = renormalise(sampler.temperature_K)
    told = [warning for warning in made.warnings if warning not in reference.warnings]
    return made, tuple(f"phonons renormalised at {sampler.temperature_K:g} K: {warning}" for warning in told)


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
    seed: int,
    composition: Substitution,
    drawn: Sequence[Occupation],
    name: str,
    progress: Progress | None,
) -> Configurations:
    """Sample each distinct occupation once, for all the indices that have it, and put the samples back in order."""
    members: dict[bytes, list[int]] = {}
    for index, occupation in enumerate(drawn):
        members.setdefault(occupation.key, []).append(index)
    parts, order = [], []
    for same in members.values():
        parts.append(_at_occupation(reference, sampler, same, seed, composition, drawn[same[0]]))
        order.extend(same)
        if progress is not None:
            progress(f"sample {name}", len(order), len(drawn))
    return in_order(parts, np.argsort(order))


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
        made = in_order([whole], np.asarray(indices, dtype=np.int64))
    made = replace(made, fraction=np.full(len(made), occupation.fraction))
    if composition.group_by_occupation:
        digest = sha256(occupation.key).hexdigest()[:16]
        made = replace(made, group=(f"occupation:{digest}",) * len(made))
    return made


def in_order(parts: Sequence[Configurations], order: IntArray) -> Configurations:
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
        origin=replace(parts[0].origin, settings={**parts[0].origin.settings, **_mean_share(parts)}),
    )


def _mean_share(parts: Sequence[Configurations]) -> dict[str, float]:
    """Return the share of variance touched, averaged over the configurations of all parts, where laws tell it."""
    if any("touched_share" not in part.origin.settings for part in parts):
        return {}
    shares = [float(part.origin.settings["touched_share"]) for part in parts]
    return {"touched_share": float(np.average(shares, weights=[len(part) for part in parts]))}


def _merged(warnings: Sequence[str]) -> tuple[str, ...]:
    """Keep one of the sentences that differ in their numbers only, and tell how many there were."""
    alike: dict[str, list[str]] = {}
    for warning in warnings:
        alike.setdefault(re.sub(r"-?\d+(\.\d+)?", "#", warning), []).append(warning)
    return tuple(
        same[0] if len(set(same)) == 1 else f"{same[0]} (and {len(set(same)) - 1} more occupations, with other numbers)"
        for same in alike.values()
    )
