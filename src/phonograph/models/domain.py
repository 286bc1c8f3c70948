"""What the training crystals were like, and where other crystals leave that: a network is tested inside only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from phonograph.types import BoolArray, Fitted, FloatArray, GraphSet, IntArray, TrainingDomain

TOLERANCE = 1e-6
"""Rounding of files: distances (Å), fractions and neighbours per atom this far outside still count as inside."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Outside:
    """How each of n crystals leaves the training range of one network.

    Attributes
    ----------
    short_edges, long_edges
        Number of directed edges shorter than any of their pair of elements in training, and longer than any at all
        (possible where edges are scaled by the training distances); shape (n,).
    composition
        Whether a fraction of an element lies outside those of the training crystals; shape (n,).
    density
        Whether the mean number of neighbours per atom does; shape (n,).
    """

    short_edges: IntArray
    long_edges: IntArray
    composition: BoolArray
    density: BoolArray


def training_domain(graphs: GraphSet, elements: Sequence[int] = ()) -> TrainingDomain:
    """Record what the crystals in ``graphs`` are like; pass those of the *training* split only.

    Parameters
    ----------
    graphs
        Training graphs, at least one.
    elements
        Atomic numbers to record, ascending, all that are in the graphs among them; empty: those in the graphs.
    """
    known = np.array(elements or np.unique(graphs.numbers))
    fractions = _fractions(graphs, known)
    neighbours = _neighbours(graphs)
    shortest = np.full(_pairs(len(known)), graphs.spec.cutoff_A)
    np.minimum.at(shortest, _pair_of_edges(graphs, known), graphs.distance_A)
    return TrainingDomain(
        elements=tuple(known.tolist()),
        fraction_min=tuple(fractions.min(axis=0).tolist()),
        fraction_max=tuple(fractions.max(axis=0).tolist()),
        neighbours_min=float(neighbours.min()),
        neighbours_max=float(neighbours.max()),
        shortest_A=tuple(shortest.tolist()),
    )


def widest(one: TrainingDomain, other: TrainingDomain) -> TrainingDomain:
    """Return the domain of the crystals of two domains of the same elements."""
    return TrainingDomain(
        elements=one.elements,
        fraction_min=tuple(map(min, one.fraction_min, other.fraction_min)),
        fraction_max=tuple(map(max, one.fraction_max, other.fraction_max)),
        neighbours_min=min(one.neighbours_min, other.neighbours_min),
        neighbours_max=max(one.neighbours_max, other.neighbours_max),
        shortest_A=tuple(map(min, one.shortest_A, other.shortest_A)),
    )


def outside(fitted: Fitted, graphs: GraphSet) -> Outside:
    """Return where each crystal leaves the training range of ``fitted``.

    Distances are compared pair of elements by pair of elements; a crystal inside every range is not thereby like a
    training crystal, but one outside is not.  For a network without a recorded range only distances are compared, with
    the shortest and longest of all training edges.

    Parameters
    ----------
    fitted
        A trained network.
    graphs
        Graphs of its own spec, with elements that it knows.
    """
    owner = np.repeat(np.arange(len(graphs)), np.diff(graphs.edge_offsets))
    domain = fitted.domain
    long = graphs.distance_A > fitted.inputs.distance_max_A + TOLERANCE
    composition: BoolArray = np.zeros(len(graphs), dtype=np.bool_)
    density: BoolArray = composition
    if domain is None:
        short = graphs.distance_A < fitted.inputs.distance_min_A - TOLERANCE
    else:
        elements = np.array(domain.elements)
        shortest = np.array(domain.shortest_A)
        short = graphs.distance_A < shortest[_pair_of_edges(graphs, elements)] - TOLERANCE
        fractions, neighbours = _fractions(graphs, elements), _neighbours(graphs)
        below = fractions < np.array(domain.fraction_min) - TOLERANCE
        above = fractions > np.array(domain.fraction_max) + TOLERANCE
        composition = np.asarray((below | above).any(axis=1), dtype=np.bool_)
        few, many = neighbours < domain.neighbours_min - TOLERANCE, neighbours > domain.neighbours_max + TOLERANCE
        density = np.logical_or(few, many)
    return Outside(
        short_edges=np.bincount(owner[short], minlength=len(graphs)),
        long_edges=np.bincount(owner[long], minlength=len(graphs)),
        composition=composition,
        density=density,
    )


def _pairs(count: int) -> int:
    return count * (count + 1) // 2


def _fractions(graphs: GraphSet, elements: IntArray) -> FloatArray:
    """Return the atomic fraction of each element in each crystal, shape (n, elements)."""
    sizes = np.diff(graphs.node_offsets)
    owner = np.repeat(np.arange(len(graphs)), sizes)
    place = owner * len(elements) + np.searchsorted(elements, graphs.numbers)
    counts = np.bincount(place, minlength=len(graphs) * len(elements)).reshape(len(graphs), -1)
    return np.asarray(counts / sizes[:, None])


def _neighbours(graphs: GraphSet) -> FloatArray:
    return np.asarray(np.diff(graphs.edge_offsets) / np.diff(graphs.node_offsets))


def _pair_of_edges(graphs: GraphSet, elements: IntArray) -> IntArray:
    """Return the place of each edge's pair of elements in ``TrainingDomain.shortest_A``."""
    start = np.repeat(graphs.node_offsets[:-1], np.diff(graphs.edge_offsets))
    kind = np.searchsorted(elements, graphs.numbers)
    one, other = kind[start + graphs.source], kind[start + graphs.target]
    low, high = np.minimum(one, other), np.maximum(one, other)
    return np.asarray(low * len(elements) - low * (low - 1) // 2 + high - low)
