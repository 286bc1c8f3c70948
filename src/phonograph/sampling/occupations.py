"""Which sites of a solid solution are replaced in each sample: at random, in turn, or as a quasirandom structure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb, gcd
from typing import Any

import numpy as np

from phonograph.errors import DataError
from phonograph.sampling.composition import Substitution, atomic_number, substituted_sites
from phonograph.sampling.orbits import inequivalent, site_permutations
from phonograph.sampling.quasirandom import Quasirandom, clusters_of, quasirandom
from phonograph.streams import stream
from phonograph.types import Configurations, Crystal, FloatArray, IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Occupation:
    """Atomic numbers of every site, the fraction x that they realise, and what they stand for.

    Attributes
    ----------
    numbers
        Shape (n,).
    fraction
        Share of the substituted sites.
    replaced
        Indices of the replaced atoms.
    multiplicity
        Number of symmetry-equivalent occupations it stands for; 0 where it was drawn at random.
    distinct
        Number of inequivalent occupations of its fraction; 0 where they were not enumerated.
    quasirandom
        Its correlations, where it was made to match those of the random alloy.
    """

    numbers: IntArray
    fraction: float
    replaced: IntArray
    multiplicity: int = 0
    distinct: int = 0
    quasirandom: Quasirandom | None = None

    @property
    def key(self) -> bytes:
        """Equal for equal occupations."""
        return self.numbers.tobytes()


def occupations_of(
    substitution: Substitution, parent: Crystal, indices: Sequence[int], seed: int, *, stride: int, period: int
) -> list[Occupation]:
    """Return the occupations of the samples ``indices``; each depends on (seed, index // stride) only.

    Raises
    ------
    PhysicsError
        Where there are too many inequivalent occupations to enumerate, or too few shells to match.
    """
    sites = substituted_sites(substitution, parent)
    choices = {
        count: _fixed_choices(substitution, parent, sites, count, seed)
        for count in {_rounded(fraction, len(sites)) for fraction in substitution.fractions}
    }
    made = []
    for index in indices:
        member = index // stride
        fractions = len(substitution.fractions)
        count = _rounded(substitution.fractions[_turn(member, fractions, period)], len(sites))
        fixed = choices[count]
        if fixed:
            made.append(fixed[_turn(member // fractions, len(fixed), period)])
        else:
            chosen = stream(seed, "occupation", member).permutation(len(sites))[:count]
            made.append(_occupation(substitution, parent, sites, chosen))
    return made


def _fixed_choices(
    substitution: Substitution, parent: Crystal, sites: IntArray, count: int, seed: int
) -> list[Occupation]:
    """Return the occupations of one fraction that samples take in turn; none where each sample draws its own."""
    if substitution.occupations == "inequivalent":
        orbits = inequivalent(site_permutations(parent, sites), count)
        return [
            dataclasses.replace(
                _occupation(substitution, parent, sites, chosen), multiplicity=int(size), distinct=len(orbits.chosen)
            )
            for chosen, size in zip(orbits.chosen, orbits.multiplicity, strict=True)
        ]
    if substitution.occupations == "quasirandom":
        clusters = clusters_of(parent, sites, substitution.shells, triplets=substitution.triplets)
        found = quasirandom(clusters, count, seed)
        return [dataclasses.replace(_occupation(substitution, parent, sites, found.chosen), quasirandom=found)]
    return []


def _occupation(substitution: Substitution, parent: Crystal, sites: IntArray, chosen: IntArray) -> Occupation:
    numbers = np.array(parent.numbers)
    numbers[sites[chosen]] = atomic_number(substitution.by, "Substitution.by")
    return Occupation(numbers=numbers, fraction=len(chosen) / len(sites), replaced=np.sort(sites[chosen]))


def occupation_table(occupations: Sequence[Occupation]) -> list[dict[str, Any]]:
    """Return what a set records of its enumerated or quasirandom occupations, one entry each, as plain values."""
    table = []
    for item in {occupation.key: occupation for occupation in occupations}.values():
        row: dict[str, Any] = {"fraction": item.fraction, "replaced": item.replaced.tolist()}
        if item.multiplicity:
            row["multiplicity"] = item.multiplicity
        if item.quasirandom is not None:
            row["correlations"] = item.quasirandom.correlations.tolist()
            row["random_alloy"] = item.quasirandom.random_alloy.tolist()
            row["objective"] = item.quasirandom.objective
        table.append(row)
    return table


def occupation_weights(configurations: Configurations) -> FloatArray:
    """Return the weight of each sample of a set made with ``occupations = "inequivalent"``, shape (n,).

    The samples of one occupation share its weight g/Σg, with g its number of equivalent occupations and the sum over
    those present in the set, so that the weights of one fraction add up to 1 and weighted means are averages over all
    occupations of that fraction.

    Raises
    ------
    DataError
        When the set does not record how many occupations each one stands for.
    """
    table: Sequence[Mapping[str, Any]] = configurations.origin.settings.get("occupations", ())
    size = int(configurations.offsets[1])
    if not table or any("multiplicity" not in row for row in table) or (np.diff(configurations.offsets) != size).any():
        raise DataError(
            f"set {configurations.name!r} does not say how many occupations each of its own stands for; sample it with "
            "a composition that has occupations = 'inequivalent'"
        )
    parent = configurations.origin.settings["composition"]
    by = atomic_number(str(parent["by"]), "Substitution.by")
    rows = configurations.numbers.reshape(-1, size)
    owners = [tuple(np.flatnonzero(row == by).tolist()) for row in rows]
    native = set.intersection(*(set(owner) for owner in owners))  # atoms of the species that the parent holds itself
    native -= {site for row in table for site in row["replaced"]}
    sizes = {tuple(row["replaced"]): float(row["multiplicity"]) for row in table}
    keys = [tuple(site for site in owner if site not in native) for owner in owners]
    weights = np.array([sizes[key] / keys.count(key) for key in keys])
    for fraction in np.unique(configurations.fraction):
        alike = configurations.fraction == fraction
        weights[alike] /= weights[alike].sum()
    return weights


def composition_notes(
    substitution: Substitution, parent: Crystal, occupations: Sequence[Occupation]
) -> tuple[str, ...]:
    """Return what users must know about a substituted set: shared force constants, rounding, and its occupations."""
    sites = len(substituted_sites(substitution, parent))
    notes = [
        f"force constants of the parent crystal {parent.formula} are used for all compositions; masses are those of "
        "the atoms present"
    ]
    rounded = [
        f"{fraction:g} becomes {_rounded(fraction, sites)}/{sites} = {_rounded(fraction, sites) / sites:.4g}"
        for fraction in substitution.fractions
        if abs(fraction * sites - _rounded(fraction, sites)) > 1.0e-6
    ]
    if rounded:
        notes.append(f"fractions that the {sites} sites cannot realise are rounded: {'; '.join(rounded)}")
    return (*notes, *_occupation_notes(occupations, sites))


def _occupation_notes(occupations: Sequence[Occupation], sites: int) -> list[str]:
    """Say how many inequivalent occupations there are and are present, and what a quasirandom one achieves."""
    distinct = {item.key: item for item in occupations}.values()
    notes = []
    for fraction in sorted({item.fraction for item in distinct}):
        first = [item for item in distinct if item.fraction == fraction]
        if first[0].multiplicity:
            total = comb(sites, len(first[0].replaced))
            missing = "" if len(first) == first[0].distinct else f", of which this set holds {len(first)}"
            notes.append(
                f"x = {fraction:.4g}: {first[0].distinct} symmetry-inequivalent occupations stand for all {total}"
                f"{missing}; weight averages with occupation_weights"
            )
        found = first[0].quasirandom
        if found is not None:
            pairs = ", ".join(
                f"{value:.3f} ({ideal:.3f})"
                for value, ideal in zip(found.correlations, found.random_alloy, strict=True)
            )
            notes.append(
                f"x = {fraction:.4g}: correlations of the quasirandom occupation are {pairs}, the random alloy's in "
                f"brackets; weighted square mismatch {found.objective:.2g}, "
                + ("the lowest of all occupations" if found.exhaustive else "the lowest found")
            )
    return notes


def _turn(member: int, fractions: int, period: int) -> int:
    common = gcd(fractions, period)
    cycle = fractions * period // common
    return (member + (member // cycle if common > 1 else 0)) % fractions


def _rounded(fraction: float, sites: int) -> int:
    return int(np.floor(fraction * sites + 0.5))
