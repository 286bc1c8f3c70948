"""Inequivalent occupations of cells that are not cubic, counted by Burnside's lemma."""

from __future__ import annotations

from itertools import product
from math import comb

import numpy as np
import pytest
import spglib

from phonograph.sampling.orbits import inequivalent, site_permutations
from phonograph.types import Crystal


def repeated(cell: np.ndarray, fractional: list, numbers: list[int], repeat: tuple[int, int, int]) -> Crystal:
    cells = np.array(list(product(*map(range, repeat))))
    positions = (np.array(fractional)[None] + cells[:, None]).reshape(-1, 3) @ cell
    return Crystal(cell_A=cell * np.array(repeat)[:, None], positions_A=positions, numbers=numbers * len(cells))


def wurtzite() -> Crystal:
    cell = np.array([[3.25, 0, 0], [-1.625, 3.25 * np.sqrt(0.75), 0], [0, 0, 5.2]])
    places = [[1 / 3, 2 / 3, 0], [2 / 3, 1 / 3, 0.5], [1 / 3, 2 / 3, 0.38], [2 / 3, 1 / 3, 0.88]]
    return repeated(cell, places, [30, 30, 8, 8], (2, 2, 1))


def rutile() -> Crystal:
    places = [[0, 0, 0], [0.5, 0.5, 0.5], [0.3, 0.3, 0], [0.7, 0.7, 0], [0.2, 0.8, 0.5], [0.8, 0.2, 0.5]]
    return repeated(np.diag([4.6, 4.6, 3.0]), places, [22, 22, 8, 8, 8, 8], (2, 2, 2))


def triclinic() -> Crystal:
    cell = np.array([[5.0, 0, 0], [0.3, 4.2, 0], [1.1, 0.4, 6.0]])
    return repeated(cell, [[0.1, 0.2, 0.3], [0.9, 0.7, 0.2], [0.4, 0.1, 0.8]], [11, 17, 17], (2, 2, 2))


def cycles(permutation: np.ndarray) -> list[int]:
    lengths, seen = [], set()
    for start in range(len(permutation)):
        place, length = start, 0
        while place not in seen:
            seen.add(place)
            place, length = int(permutation[place]), length + 1
        lengths += [length] if length else []
    return lengths


def burnside(crystal: Crystal, sites: np.ndarray, count: int) -> float:
    """The mean over the whole space group of the number of choices that an operation leaves as they are."""
    found = spglib.get_symmetry((crystal.cell_A, crystal.fractional, crystal.numbers), symprec=1e-3)
    places = crystal.fractional[sites]
    group = set()
    for rotation, shift in zip(found["rotations"], found["translations"], strict=True):
        apart = (places @ rotation.T + shift)[:, None] - places
        group.add(tuple(np.abs(apart - np.rint(apart)).max(axis=2).argmin(axis=1).tolist()))
    fixed = 0
    for permutation in group:
        ways = np.eye(1, count + 1, dtype=int)[0]
        for length in cycles(np.array(permutation)):
            ways[length:] += ways[: max(count + 1 - length, 0)].copy()
        fixed += ways[count]
    return fixed / len(group)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize(("crystal", "species"), [(wurtzite(), 8), (rutile(), 22), (triclinic(), 17)])
def test_inequivalent_occupations_by_burnsides_lemma(crystal, species, count):
    sites = np.flatnonzero(crystal.numbers == species)
    found = inequivalent(site_permutations(crystal, sites), count)
    assert len(found.chosen) == burnside(crystal, sites, count)
    assert found.multiplicity.sum() == comb(len(sites), count)
