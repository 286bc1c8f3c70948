"""Samples that are related whatever they are called: copies, near copies, ± pairs, neighbouring frames.

Two crystals that differ by a rigid motion, the order of atoms, the choice of cell, a symmetry operation, a supercell,
and moves of each atom by at most t have neighbour distances that, sorted, differ by at most 2t rank by rank: sorting
never increases the largest difference, and neither does clipping at the cutoff.  So a search box of half-width 2t over
a few ranks of all distances misses no such pair, and the surroundings of every atom are then compared with the same
bound.  Pairs that pass are alike in every distance to the twelve nearest neighbours of each species, whatever made
them so.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from phonograph.streams import stream
from phonograph.types import Configurations, FloatArray, GraphSet, IntArray

TOLERANCE_A = 0.01
"""Largest move of an atom, Å, up to which two crystals count as one; thermal samples differ by 0.05 Å and more."""

SAME_A = 1e-3
"""Distances this close, Å, are those of one structure written twice: files round coordinates."""

ANTITHETIC = 0.05
"""|u + u′| below this share of the mean of |u| and |u′| makes ± pairs of displacements; other samples have about √2."""

FRAMES = 0.3
"""Mean cosine between displacements of consecutive samples above which a set is taken for a trajectory."""

_RANKS = (0, 1, 2, 3, 5, 8, 12, 18, 27, 40)
_NEAREST = 12
_DIMENSIONS = 8
_MOST_PAIRS = 1_000_000
_FEW = 5
_LEAST_FRAMES, _LEAST_FOR_MEAN = 20, 8


class Twins(NamedTuple):
    """Two related samples by their places in the set, how they are related, and by how much they differ (Å)."""

    kind: str
    one: int
    other: int
    difference_A: float


class Copies(NamedTuple):
    """Graphs of the same crystal, by their places.

    ``equal`` has one row per structure, of all samples with its hash: what holds for the first of them holds for all.
    ``alike`` are pairs of such firsts: ``identical-structures`` and ``near-duplicates``.
    """

    equal: list[list[int]]
    alike: list[Twins]


def find_copies(graphs: GraphSet, tolerance_A: float = TOLERANCE_A) -> Copies:
    """Return which graphs are of the same crystal.

    Where more than a million pairs are near each other, the five nearest of each structure.  Takes seconds for 10⁴
    crystals of 40 atoms.

    Parameters
    ----------
    graphs
        All samples; crystals of the same composition are compared, whatever their number of atoms.
    tolerance_A
        Largest move of an atom between near duplicates, Å.
    """
    classes: dict[tuple[tuple[int, int], ...], list[tuple[int, FloatArray]]] = {}
    equal: dict[bytes, list[int]] = {}
    for place in range(len(graphs)):
        formula, units = _formula(graphs, place)
        digest, row = _profile(graphs, place, formula, units)
        equal.setdefault(digest, []).append(place)
        if equal[digest][0] == place:
            classes.setdefault(formula, []).append((place, row))
    return Copies(list(equal.values()), list(_alike(graphs, classes.values(), tolerance_A)))


def _alike(
    graphs: GraphSet, classes: Iterable[Sequence[tuple[int, FloatArray]]], tolerance_A: float
) -> Iterator[Twins]:
    """Yield the pairs of structures of one composition, given with the ranks of their distances, that are alike."""
    for members in classes:
        places = np.array([place for place, _ in members])
        for i, j in _near(np.array([row for _, row in members]), 2 * tolerance_A):
            one, other = sorted((int(places[i]), int(places[j])))
            difference = _difference(graphs, one, other)
            if difference <= 2 * tolerance_A:
                yield Twins(
                    "identical-structures" if difference < SAME_A else "near-duplicates", one, other, difference
                )


def _formula(graphs: GraphSet, place: int) -> tuple[tuple[tuple[int, int], ...], int]:
    """Return the reduced formula as (atomic number, count) and the number of formula units."""
    numbers = graphs.numbers[graphs.node_offsets[place] : graphs.node_offsets[place + 1]]
    elements, counts = np.unique(numbers, return_counts=True)
    units = int(np.gcd.reduce(counts))
    return tuple(zip(elements.tolist(), (counts // units).tolist(), strict=True)), units


def _profile(
    graphs: GraphSet, place: int, formula: tuple[tuple[int, int], ...], units: int
) -> tuple[bytes, FloatArray]:
    """Return a digest of all distances by pair of species, and some ranks of them, the cutoff where there are fewer.

    A supercell of m formula units has every distance m times as often, so ranks are counted in formula units.
    """
    numbers = graphs.numbers[graphs.node_offsets[place] : graphs.node_offsets[place + 1]]
    edges = slice(int(graphs.edge_offsets[place]), int(graphs.edge_offsets[place + 1]))
    kind = np.searchsorted([element for element, _ in formula], numbers)
    one, other = kind[graphs.source[edges]], kind[graphs.target[edges]]
    count, cutoff = len(formula), graphs.spec.cutoff_A
    # Distances stay below 64 Å, so one sort orders pairs of species and distances together.
    keys = np.sort((np.minimum(one, other) * count + np.maximum(one, other)) * 64.0 + graphs.distance_A[edges])
    steps = np.rint(keys / (0.1 * SAME_A)).astype(np.int64)
    digest = hashlib.blake2b(repr((formula, units)).encode() + steps.tobytes(), digest_size=16).digest()
    codes = np.array([i * count + j for i in range(count) for j in range(i, count)])
    if not len(keys):
        return digest, np.full(len(codes) * len(_RANKS), cutoff)
    starts, ends = np.searchsorted(keys, 64.0 * codes), np.searchsorted(keys, 64.0 * (codes + 1))
    wanted = starts[:, None] + np.array(_RANKS) * units
    there = keys[np.minimum(wanted, len(keys) - 1)] - 64.0 * codes[:, None]
    return digest, np.where(wanted < ends[:, None], there, cutoff).ravel()


def _near(rows: FloatArray, radius: float) -> Iterator[tuple[int, int]]:
    """Yield pairs of rows that differ by at most ``radius`` in every column, each pair once."""
    from scipy.spatial import KDTree

    # Any columns keep the bound; those that vary most tell most apart.
    columns = np.argsort(-rows.std(axis=0), kind="stable")[:_DIMENSIONS]
    tree = KDTree(rows[:, columns])
    ends = radius * (1 + 1e-9)
    if tree.count_neighbors(tree, ends, p=np.inf) <= 2 * _MOST_PAIRS + len(rows):
        pairs = tree.query_pairs(ends, p=np.inf, output_type="ndarray")
    else:
        reach, nearest = tree.query(rows[:, columns], k=_FEW + 1, p=np.inf, distance_upper_bound=ends)
        one = np.repeat(np.arange(len(rows)), _FEW + 1)[np.isfinite(reach).ravel()]
        other = nearest.ravel()[np.isfinite(reach).ravel()]
        pairs = np.unique(np.sort(np.column_stack([one, other])[one != other], axis=1), axis=0)
    for start in range(0, len(pairs), 65536):
        block = pairs[start : start + 65536]
        close = (np.abs(rows[block[:, 0]] - rows[block[:, 1]]) <= ends).all(axis=1)
        yield from ((int(i), int(j)) for i, j in block[close])


def _difference(graphs: GraphSet, one: int, other: int) -> float:
    """Return the largest difference between the surroundings of an atom and the most alike of the other crystal, Å."""
    (species_a, around_a), (species_b, around_b) = _surroundings(graphs, one), _surroundings(graphs, other)
    worst = 0.0
    for element in np.unique(species_a):
        a, b = around_a[species_a == element], around_b[species_b == element]
        apart = np.array([np.abs(row - b).max(axis=1) for row in a])
        worst = max(worst, float(apart.min(axis=1).max()), float(apart.min(axis=0).max()))
    return worst


def _surroundings(graphs: GraphSet, place: int) -> tuple[IntArray, FloatArray]:
    """Return the species of each atom and its ascending distances to the nearest neighbours of each species, Å."""
    edges = slice(int(graphs.edge_offsets[place]), int(graphs.edge_offsets[place + 1]))
    numbers = graphs.numbers[graphs.node_offsets[place] : graphs.node_offsets[place + 1]]
    elements, kind = np.unique(numbers, return_inverse=True)
    distance = graphs.distance_A[edges]
    shelf = graphs.target[edges].astype(np.int64) * len(elements) + kind[graphs.source[edges]]
    order = np.lexsort((distance, shelf))
    shelf, distance = shelf[order], distance[order]
    rank = np.arange(len(shelf)) - np.searchsorted(shelf, shelf)
    near = rank < _NEAREST
    table = np.full((len(numbers) * len(elements), _NEAREST), graphs.spec.cutoff_A)
    table[shelf[near], rank[near]] = distance[near]
    return numbers, table.reshape(len(numbers), -1)


def find_antithetic(configurations: Configurations) -> Iterator[Twins]:
    """Yield pairs of samples of one crystal whose displacements are opposite: u′ = −u.

    Energies, and all that is even in u, are nearly the same for both.  Displacements are those of the set; where it has
    none, differences from the mean positions of all samples with the same atoms and cell.
    """
    from scipy.spatial import KDTree

    for members, moves in _displacements(configurations):
        size = np.linalg.norm(moves, axis=1)
        moved = size > 1e-3 * np.sqrt(moves.shape[1] / 3)
        members, moves, size = members[moved], moves[moved], size[moved]
        if len(members) < 2:
            continue
        axes = np.linalg.qr(
            stream(0, "leakage", "axes").normal(size=(moves.shape[1], min(_DIMENSIONS, moves.shape[1])))
        )[0]
        projected = moves @ axes
        near = KDTree(projected).query_ball_point(-projected, ANTITHETIC * size * 1.1)
        for i, candidates in enumerate(near):
            for j in candidates:
                rest = float(np.linalg.norm(moves[i] + moves[j]))
                if i < j and rest <= ANTITHETIC * (size[i] + size[j]) / 2:
                    scale = rest / np.sqrt(moves.shape[1] / 3)
                    yield Twins("antithetic-pairs", int(members[i]), int(members[j]), float(scale))


def find_frames(configurations: Configurations) -> Iterator[Twins]:
    """Yield consecutive samples of a set that is a trajectory cut into single frames.

    A set from a file, whose groups do not hold consecutive samples together, is taken for a trajectory when the mean
    cosine between the displacements of consecutive samples exceeds :data:`FRAMES` and that of distant ones by five
    standard errors.  Draws at random have a mean cosine of 0, whatever the order of their amplitudes.
    """
    count = len(configurations)
    order = np.argsort(configurations.index, kind="stable")
    groups = [configurations.group[place] for place in order]
    together = sum(a == b for a, b in itertools.pairwise(groups))
    if configurations.sampler != "file" or count < _LEAST_FRAMES or 2 * together >= count - 1:
        return
    rank = np.empty(count, dtype=np.int64)
    rank[order] = np.arange(count)
    for members, moves in _displacements(configurations):
        if len(members) < _LEAST_FRAMES:
            continue
        turn = np.argsort(rank[members])
        members, moves = members[turn], moves[turn]
        unit = moves / np.maximum(np.linalg.norm(moves, axis=1, keepdims=True), 1e-12)
        cosine = np.einsum("ia,ia->i", unit[:-1], unit[1:])
        half = len(members) // 2
        distant = np.einsum("ia,ia->i", unit[:-half], unit[half:])
        error = np.hypot(cosine.std() / np.sqrt(len(cosine)), distant.std() / np.sqrt(len(distant)))
        if cosine.mean() > FRAMES and cosine.mean() - distant.mean() > 5 * error:
            for i in np.flatnonzero(cosine > FRAMES):
                yield Twins("trajectory-frames", int(members[i]), int(members[i + 1]), float("nan"))


def _displacements(configurations: Configurations) -> Iterator[tuple[IntArray, FloatArray]]:
    """Yield the members of each class of equal atoms and cells, and their displacements without rigid shift.

    Classes too small for a mean are left out where the set has no displacements of its own: two samples are always
    opposite about their mean.
    """
    offsets = configurations.offsets
    classes: dict[bytes, list[int]] = {}
    for place in range(len(configurations)):
        numbers = configurations.numbers[offsets[place] : offsets[place + 1]]
        cell = np.rint(configurations.cells_A[place] / SAME_A).astype(np.int64)
        classes.setdefault(numbers.tobytes() + cell.tobytes(), []).append(place)
    for members in classes.values():
        if len(members) < 2:
            continue
        rows = [slice(int(offsets[place]), int(offsets[place + 1])) for place in members]
        moves = np.array([configurations.displacements_A[row] for row in rows])
        if not np.isfinite(moves).all():
            if len(members) < _LEAST_FOR_MEAN:
                continue
            moves = _from_mean(
                np.array([configurations.positions_A[row] for row in rows]), configurations.cells_A[members[0]]
            )
        moves = moves - moves.mean(axis=1, keepdims=True)
        yield np.array(members), moves.reshape(len(members), -1)


def _from_mean(positions_A: FloatArray, cell_A: FloatArray) -> FloatArray:
    """Return differences from the mean positions, each atom in the image nearest to that of the first sample."""
    fractional = positions_A @ np.linalg.inv(cell_A)
    moves = fractional - fractional[:1]
    moves -= np.rint(moves)
    return np.asarray((moves - moves.mean(axis=0)) @ cell_A)
