"""Every way to replace k of n equivalent sites, up to the symmetry of the crystal."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, combinations
from math import comb

import numpy as np

from phonograph.errors import DataError, PhysicsError
from phonograph.types import Crystal, IntArray

LARGEST_ENUMERATION = 200_000
"""More occupations of one fraction than this are not enumerated."""

SYMMETRY_TOLERANCE_A = 1.0e-3
"""Distance within which an operation must map an atom onto its image."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Orbits:
    """Symmetry-inequivalent occupations: one representative each, and how many occupations it stands for.

    Attributes
    ----------
    chosen
        Replaced sites of each representative, the first of its orbit in lexicographic order; shape (m, k).
    multiplicity
        Size of each orbit, shape (m,); adds up to n!/(k!(n − k)!).
    """

    chosen: IntArray
    multiplicity: IntArray


def inequivalent(permutations: IntArray, count: int) -> Orbits:
    """Return the orbits of all choices of ``count`` sites under a permutation group.

    Two choices are equivalent where a chain of generators joins them, so the orbits are the connected components of
    the graph that joins every choice with its image under every generator.

    Parameters
    ----------
    permutations
        Generators of the group, shape (g, n): site s goes to ``permutations[:, s]``.
    count
        Number of replaced sites, k.

    Raises
    ------
    PhysicsError
        Where there are more than :data:`LARGEST_ENUMERATION` choices.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    choices = all_choices(permutations.shape[1], count)
    place = np.empty(len(choices), dtype=np.int64)
    place[_rank(choices)] = np.arange(len(choices))
    images = [place[_rank(np.sort(permutation[choices], axis=1))] for permutation in permutations]
    start = np.tile(np.arange(len(choices)), len(images))
    edges = coo_array((np.ones(len(start), dtype=np.int8), (start, np.concatenate(images))), shape=(len(choices),) * 2)
    _, orbit = connected_components(edges, directed=False)
    _, first, multiplicity = np.unique(orbit, return_index=True, return_counts=True)
    order = np.argsort(first)
    return Orbits(chosen=choices[first[order]], multiplicity=multiplicity[order].astype(np.int64))


def all_choices(sites: int, count: int) -> IntArray:
    """Return all choices of ``count`` of ``sites`` sites, in lexicographic order, shape (choices, count)."""
    total = comb(sites, count)
    if total > LARGEST_ENUMERATION:
        raise PhysicsError(
            f"replacing {count} of {sites} sites can be done in {total:.3g} ways, too many to enumerate (at most "
            f"{LARGEST_ENUMERATION}); set occupations to 'quasirandom' or 'random', or use a smaller supercell"
        )
    flat = np.fromiter(chain.from_iterable(combinations(range(sites), count)), dtype=np.int64, count=total * count)
    return flat.reshape(total, count)


def _rank(choices: IntArray) -> IntArray:
    """Return the place of each sorted choice c in colexicographic order, Σ_j binomial(c_j, j + 1)."""
    sites, count = int(choices.max(initial=0)) + 1, choices.shape[1]
    table = np.array([[comb(site, j + 1) for j in range(count)] for site in range(sites)], dtype=np.int64)
    return np.asarray(table.reshape(sites, count)[choices, np.arange(count)].sum(axis=1), dtype=np.int64)


def site_permutations(crystal: Crystal, sites: IntArray) -> IntArray:
    """Return how the symmetry of ``crystal`` permutes ``sites``: generators of the group, shape (g, len(sites)).

    The pure translations and one operation of every rotation generate the whole space group of the supercell.

    Parameters
    ----------
    crystal
        The supercell before any substitution.
    sites
        Indices of the sites that may be replaced; every operation must map them onto each other.
    """
    import spglib

    cell = (crystal.cell_A, crystal.fractional, crystal.numbers)
    with warnings.catch_warnings():
        # spglib announces a future change of how it reports errors.
        warnings.simplefilter("ignore", DeprecationWarning)
        found = spglib.get_symmetry(cell, symprec=SYMMETRY_TOLERANCE_A)
    identity = np.arange(len(sites), dtype=np.int64)[None]
    if found is None:
        return identity
    rotations, translations = found["rotations"], found["translations"]
    pure = (rotations == np.eye(3, dtype=rotations.dtype)).all(axis=(1, 2))
    _, one_each = np.unique(rotations.reshape(-1, 9), axis=0, return_index=True)
    fractional = crystal.fractional[sites]
    chosen = sorted({*np.flatnonzero(pure).tolist(), *one_each.tolist()})
    rows = [_permutation(crystal, fractional, rotations[op], translations[op]) for op in chosen]
    return np.array(list(_generators(np.unique(np.vstack([identity, *rows]), axis=0))), dtype=np.int64)


def _permutation(crystal: Crystal, fractional: np.ndarray, rotation: np.ndarray, shift: np.ndarray) -> IntArray:
    """Return where one operation sends each site."""
    moved = fractional @ rotation.T + shift
    separation = moved[:, None] - fractional[None]
    separation -= np.rint(separation)
    distance = np.linalg.norm(separation @ crystal.cell_A, axis=2)
    target = distance.argmin(axis=1)
    if distance.min(axis=1).max() > 10 * SYMMETRY_TOLERANCE_A or len(set(target.tolist())) != len(target):
        raise DataError("a symmetry operation does not map the substituted sites onto each other; check the structure")
    return np.asarray(target, dtype=np.int64)


def _generators(permutations: IntArray) -> Iterator[IntArray]:
    """Yield the permutations that those before do not generate; the identity where there is nothing else."""
    identity = np.arange(permutations.shape[1], dtype=np.int64)
    kept: list[IntArray] = [identity]
    group = {identity.tobytes()}
    for permutation in permutations:
        if permutation.tobytes() in group:
            continue
        kept.append(permutation)
        group = _closure(kept)
    yield from kept


def _closure(generators: list[IntArray]) -> set[bytes]:
    """Return all products of the generators."""
    group = {generators[0].tobytes()}
    frontier = generators[0][None]
    while len(frontier):
        products = np.unique(np.concatenate([permutation[frontier] for permutation in generators]), axis=0)
        fresh = [row for row in products if row.tobytes() not in group]
        group.update(row.tobytes() for row in fresh)
        frontier = np.array(fresh, dtype=np.int64).reshape(-1, products.shape[1])
    return group
