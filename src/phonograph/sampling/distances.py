"""Shortest distances and nearest bonds of periodic configurations."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from phonograph.streams import stream
from phonograph.types import Configurations, Crystal, FloatArray, IntArray

SEARCH_A = (4.0, 6.0, 9.0, 12.0)
"""Radii tried until every pair of species has been met; pairs farther apart than the last are left out."""
SHELL_WIDTH = 1.1
"""Pairs up to this factor beyond the shortest of their kind belong to the first shell."""


def shortest_distance(configurations: Configurations) -> float:
    """Return the shortest interatomic distance of the whole set, all periodic images included, Å."""
    return closest_atoms(configurations)[0]


def closest_atoms(configurations: Configurations) -> tuple[float, float]:
    """Return the shortest distance of the set, Å, and the smallest distance in units of the covalent radii's sum."""
    from ase.data import covalent_radii

    bounds = zip(configurations.offsets[:-1], configurations.offsets[1:], strict=True)
    found = [
        _shortest(cell, configurations.positions_A[start:stop], covalent_radii[configurations.numbers[start:stop]])
        for cell, (start, stop) in zip(configurations.cells_A, bounds, strict=True)
    ]
    return min(distance for distance, _ in found), min(share for _, share in found)


@lru_cache(maxsize=4)
def _pairs(size: int) -> tuple[IntArray, IntArray]:
    first, second = np.triu_indices(size, k=1)
    return first, second


def _shortest(cell_A: FloatArray, positions_A: FloatArray, radii_A: FloatArray) -> tuple[float, float]:
    first, second = _pairs(len(positions_A))
    fractional = np.linalg.solve(cell_A.T, positions_A.T).T
    separation = fractional[second] - fractional[first]
    separation -= np.rint(separation)
    vectors = separation @ cell_A
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    # A vector shorter than half of the narrowest spacing of lattice planes has all fractional components below
    # one half, so wrapping finds it; anything longer needs the search over images of the reduced cell.
    narrowest = 1.0 / np.linalg.norm(np.linalg.inv(cell_A), axis=0).max()
    contact = radii_A[first] + radii_A[second]
    shortest = float(lengths.min()) if len(lengths) else np.inf
    # The least relative distance may belong to larger atoms farther apart, up to this length.
    reach = shortest / float(contact.min()) * float(2.0 * radii_A.max()) if len(lengths) else np.inf
    if reach > 0.5 * narrowest:
        own, lengths = _over_images(cell_A, vectors)
        shares = np.append(lengths / contact, own / (2.0 * radii_A.max()))
        return min(own, float(lengths.min(initial=np.inf))), float(shares.min())
    return shortest, float((lengths / contact).min())


def _over_images(cell_A: FloatArray, vectors: FloatArray) -> tuple[float, FloatArray]:
    """Return the shortest lattice vector and the shortest images of ``vectors``, Å."""
    from ase.geometry import find_mic, minkowski_reduce

    reduced, _ = minkowski_reduce(cell_A)
    own_image = float(np.linalg.norm(reduced, axis=1).min())
    if len(vectors) == 0:
        return own_image, np.zeros(0)
    _, lengths = find_mic(vectors, reduced)
    return own_image, np.asarray(lengths, dtype=np.float64)


SAME_A = 1.0e-6
"""Configurations whose atoms all agree to this are duplicates, Å."""


def duplicates(configurations: Configurations) -> int:
    """Return how many configurations repeat an earlier one: same atoms in the same order, cell and positions.

    Positions along one fixed direction are sorted first; only neighbours within the tolerance are compared.
    """
    found = 0
    for members in _same_atoms(configurations):
        rows = np.array([_row(configurations, member) for member in members])
        direction = stream(0, "duplicates").standard_normal(rows.shape[1])
        direction /= float(np.linalg.norm(direction))
        place = rows @ direction
        order = np.argsort(place, kind="stable")
        found += _repeated(rows[order], place[order], SAME_A * np.sqrt(rows.shape[1]))
    return found


def _repeated(rows: FloatArray, place: FloatArray, reach: float) -> int:
    again = np.zeros(len(rows), dtype=bool)
    for lag in range(1, len(rows)):
        near = np.flatnonzero(place[lag:] - place[:-lag] <= reach)
        if len(near) == 0:
            break
        # What repeats a configuration that repeats another need not be compared again.
        near = near[~again[near + lag]]
        again[near + lag] |= np.abs(rows[near + lag] - rows[near]).max(axis=1) <= SAME_A
    return int(again.sum())


def _same_atoms(configurations: Configurations) -> list[list[int]]:
    groups: dict[bytes, list[int]] = {}
    for member in range(len(configurations)):
        atoms = slice(int(configurations.offsets[member]), int(configurations.offsets[member + 1]))
        groups.setdefault(configurations.numbers[atoms].tobytes(), []).append(member)
    return [members for members in groups.values() if len(members) > 1]


def _row(configurations: Configurations, member: int) -> FloatArray:
    atoms = slice(int(configurations.offsets[member]), int(configurations.offsets[member + 1]))
    return np.concatenate([configurations.positions_A[atoms].ravel(), configurations.cells_A[member].ravel()])


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


def bond_vectors(positions_A: FloatArray, cell_A: FloatArray, bonds: Bonds) -> FloatArray:
    """Return the separations of the bonds of one configuration, Å, shape (bonds, 3)."""
    return np.asarray(positions_A[bonds.j] + bonds.image @ cell_A - positions_A[bonds.i])


def bond_lengths(configurations: Configurations, bonds: Bonds, size: int) -> dict[str, FloatArray]:
    """Return the lengths of the bonds in all configurations, Å, by pair of the species present."""
    count = len(configurations)
    positions = configurations.positions_A.reshape(count, size, 3)
    numbers = configurations.numbers.reshape(count, size)
    shift = np.einsum("bk,nkc->nbc", bonds.image.astype(np.float64), configurations.cells_A)
    lengths = np.linalg.norm(positions[:, bonds.j] + shift - positions[:, bonds.i], axis=2)
    codes = pair_codes(numbers[:, bonds.i], numbers[:, bonds.j])
    return {pair_name(code): lengths[codes == code] for code in np.unique(codes)}
