"""Undirected bonds of periodic graphs, and which bond of the reference crystal each of them is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from phonograph.errors import DataError
from phonograph.types import Crystal, FloatArray, GraphSet, IntArray

SHELL_GAP_A = 0.3
"""Reference distances of one species pair that differ by more than this belong to different shells."""

CUTOFF_TOLERANCE_A = 1e-9
"""As in the graphs: a pair this close to the cutoff counts as outside."""


@dataclass(frozen=True, kw_only=True, eq=False)
class UndirectedEdges:
    """Each bond once: from atom i to atom j in periodic image ``image``, i < j, or i = j and image > 0.

    An image is greater than 0 when its first component other than 0 is positive.

    Attributes
    ----------
    key
        (i, j, image) as rows, shape (m, 5), in lexicographic order.
    of_directed
        Bond of each directed edge of the graph, shape (edges,).
    """

    key: IntArray
    of_directed: IntArray


def undirected_edges(graphs: GraphSet, place: int) -> UndirectedEdges:
    """Return the bonds of graph ``place``.

    Raises
    ------
    DataError
        An edge whose opposite direction is missing or doubled.
    """
    edges = slice(int(graphs.edge_offsets[place]), int(graphs.edge_offsets[place + 1]))
    source = graphs.source[edges].astype(np.int64)
    target = graphs.target[edges].astype(np.int64)
    image = graphs.image[edges].astype(np.int64)
    key, of_directed, counts = _unique_bonds(target, source, image)
    if (counts != 2).any():
        raise DataError(
            f"graph {graphs.sample_ids[place]!r} has {int((counts != 2).sum())} edges without exactly one opposite "
            "direction; build the graphs with build_graphs"
        )
    return UndirectedEdges(key=key, of_directed=of_directed)


def _unique_bonds(i: IntArray, j: IntArray, image: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    forward = np.column_stack([i, j, image])
    backward = np.column_stack([j, i, -image])
    differs = forward != backward
    first = differs.argmax(axis=1)
    rows = np.arange(len(forward))
    # i < j, or i = j: then the backward image is the negative one, and the larger of the two rows is wanted.
    keep = np.where(i == j, forward[rows, first] > backward[rows, first], i < j)
    key, inverse, counts = np.unique(
        np.where(keep[:, None], forward, backward), axis=0, return_inverse=True, return_counts=True
    )
    return key, inverse.reshape(-1), counts


def reference_edges(reference: Crystal, cutoff_A: float) -> IntArray:
    """Return the bonds of the reference crystal shorter than the cutoff, as rows (i, j, image), shape (m, 5)."""
    from ase.neighborlist import primitive_neighbor_list

    i, j, distance, image = primitive_neighbor_list(
        "ijdS", (True, True, True), reference.cell_A, reference.positions_A, cutoff_A
    )
    inside = distance < cutoff_A - CUTOFF_TOLERANCE_A
    return _unique_bonds(i[inside].astype(np.int64), j[inside].astype(np.int64), image[inside].astype(np.int64))[0]


def bond_lengths(crystal: Crystal, key: IntArray) -> FloatArray:
    """Return |r_j + image·cell − r_i| of each bond (row (i, j, image)), Å, shape (m,)."""
    vectors = crystal.positions_A[key[:, 1]] + key[:, 2:] @ crystal.cell_A - crystal.positions_A[key[:, 0]]
    return np.asarray(np.linalg.norm(vectors, axis=1))


def species_pairs(crystal: Crystal, key: IntArray) -> tuple[str, ...]:
    """Return the species of each bond in alphabetical order, for example ``"Ag-S"``."""
    symbols = crystal.symbols
    return tuple("-".join(sorted((symbols[i], symbols[j]))) for i, j in key[:, :2])


def shells(pairs: tuple[str, ...], distance_A: FloatArray) -> IntArray:
    """Return the shell of each bond within its species pair, 0 = nearest, shape (m,).

    A new shell begins where sorted reference distances of the pair leave a gap of more than ``SHELL_GAP_A``.
    """
    shell = np.zeros(len(pairs), dtype=np.int64)
    names = np.array(pairs)
    for name in dict.fromkeys(pairs):
        members = np.flatnonzero(names == name)
        order = members[np.argsort(distance_A[members], kind="stable")]
        shell[order] = np.concatenate([[0], np.cumsum(np.diff(distance_A[order]) > SHELL_GAP_A)])
    return shell


def positions_of(key: IntArray, table: IntArray) -> IntArray:
    """Return the row of ``table`` that equals each row of ``key``, −1 where there is none; tables have unique rows."""
    _, inverse = np.unique(np.concatenate([table, key]), axis=0, return_inverse=True)
    inverse = inverse.reshape(-1)
    row = np.full(len(inverse), -1, dtype=np.int64)
    row[inverse[: len(table)]] = np.arange(len(table))
    return row[inverse[len(table) :]]
