"""Shortest distances and nearest bonds of periodic configurations."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from phonograph.types import Configurations, Crystal, FloatArray, IntArray

SEARCH_A = (4.0, 6.0, 9.0, 12.0)
"""Radii tried until every pair of species has been met; pairs farther apart than the last are left out."""
SHELL_WIDTH = 1.1
"""Pairs up to this factor beyond the shortest of their kind belong to the first shell."""


def shortest_distance(configurations: Configurations) -> float:
    """Return the shortest interatomic distance of the whole set, all periodic images included, Å."""
    bounds = zip(configurations.offsets[:-1], configurations.offsets[1:], strict=True)
    return min(
        _shortest(cell, configurations.positions_A[start:stop])
        for cell, (start, stop) in zip(configurations.cells_A, bounds, strict=True)
    )


@lru_cache(maxsize=4)
def _pairs(size: int) -> tuple[IntArray, IntArray]:
    first, second = np.triu_indices(size, k=1)
    return first, second


def _shortest(cell_A: FloatArray, positions_A: FloatArray) -> float:
    first, second = _pairs(len(positions_A))
    fractional = np.linalg.solve(cell_A.T, positions_A.T).T
    separation = fractional[second] - fractional[first]
    separation -= np.rint(separation)
    vectors = separation @ cell_A
    shortest = float(np.sqrt(np.einsum("ij,ij->i", vectors, vectors).min())) if len(vectors) else np.inf
    # A vector shorter than half of the narrowest spacing of lattice planes has all fractional components below
    # one half, so wrapping finds it; anything longer needs the search over images of the reduced cell.
    narrowest = 1.0 / np.linalg.norm(np.linalg.inv(cell_A), axis=0).max()
    return shortest if shortest <= 0.5 * narrowest else _shortest_over_images(cell_A, vectors)


def _shortest_over_images(cell_A: FloatArray, vectors: FloatArray) -> float:
    from ase.geometry import find_mic, minkowski_reduce

    reduced, _ = minkowski_reduce(cell_A)
    own_image = float(np.linalg.norm(reduced, axis=1).min())
    if len(vectors) == 0:
        return own_image
    _, lengths = find_mic(vectors, reduced)
    return min(own_image, float(lengths.min()))


@dataclass(frozen=True, kw_only=True, eq=False)
class Bonds:
    """Nearest neighbours of a crystal by pair of sites: atoms i < j and the periodic image of j, shape (m, 3)."""

    i: IntArray
    j: IntArray
    image: IntArray


def nearest_bonds(crystal: Crystal) -> Bonds:
    """Return the first shell of every pair of species, each bond once; bonds to an atom's own image are left out."""
    from ase import Atoms
    from ase.neighborlist import neighbor_list

    atoms = Atoms(numbers=crystal.numbers, positions=crystal.positions_A, cell=crystal.cell_A, pbc=True)
    species = len(set(crystal.numbers.tolist()))
    for radius in SEARCH_A:
        i, j, distance, image = neighbor_list("ijdS", atoms, radius)
        once = i < j
        i, j, distance, image = i[once], j[once], distance[once], image[once]
        kind = pair_codes(crystal.numbers[i], crystal.numbers[j])
        if (
            len(np.unique(kind)) == species * (species + 1) // 2
            and SHELL_WIDTH * max((distance[kind == k].min() for k in np.unique(kind)), default=0.0) <= radius
        ):
            break
    shell = np.zeros(len(i), dtype=bool)
    for k in np.unique(kind):
        shell |= (kind == k) & (distance <= SHELL_WIDTH * distance[kind == k].min())
    return Bonds(i=i[shell].astype(np.int64), j=j[shell].astype(np.int64), image=image[shell].astype(np.int64))


def pair_codes(first: IntArray, second: IntArray) -> IntArray:
    """Return one integer per unordered pair of atomic numbers."""
    return np.asarray(np.minimum(first, second) * 1000 + np.maximum(first, second), dtype=np.int64)


def pair_name(code: int) -> str:
    """Return for example ``"Ag-S"`` (symbols in alphabetical order)."""
    from ase.data import chemical_symbols

    return "-".join(sorted(chemical_symbols[number] for number in divmod(int(code), 1000)))


def bond_lengths(configurations: Configurations, bonds: Bonds, size: int) -> dict[str, FloatArray]:
    """Return the lengths of the bonds in all configurations, Å, by pair of the species present."""
    count = len(configurations)
    positions = configurations.positions_A.reshape(count, size, 3)
    numbers = configurations.numbers.reshape(count, size)
    shift = np.einsum("bk,nkc->nbc", bonds.image.astype(np.float64), configurations.cells_A)
    lengths = np.linalg.norm(positions[:, bonds.j] + shift - positions[:, bonds.i], axis=2)
    codes = pair_codes(numbers[:, bonds.i], numbers[:, bonds.j])
    return {pair_name(code): lengths[codes == code] for code in np.unique(codes)}
