"""Bonds: each once, both directions together, the reference equal to the graphs, shells as known."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phonograph.errors import DataError
from phonograph.explanation.edges import (
    bond_lengths,
    positions_of,
    reference_edges,
    shells,
    species_pairs,
    undirected_edges,
)
from phonograph.graphs import build_graphs
from phonograph.testing import cubic_antiperovskite, displaced
from phonograph.types import Crystal, GraphSpec


def random_crystal(seed: int) -> Crystal:
    rng = np.random.default_rng(seed)
    cell = rng.uniform(2.2, 5.0) * (np.eye(3) + 0.35 * rng.uniform(-1, 1, (3, 3)))
    size = int(rng.integers(1, 4))
    positions = (np.arange(size)[:, None] / size + 0.1 * rng.uniform(-1, 1, (size, 3))) @ cell
    return Crystal(cell_A=cell, positions_A=positions, numbers=rng.choice([16, 35, 47], size))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_every_bond_once_and_the_reference_equals_the_graphs(seed: int) -> None:
    crystal = random_crystal(seed)
    graphs = build_graphs(displaced(crystal, 1, 0.0), GraphSpec(cutoff_A=4.6))
    found = undirected_edges(graphs, 0)
    assert 2 * len(found.key) == len(graphs.source)
    i, j, image = found.key[:, 0], found.key[:, 1], found.key[:, 2:]
    first = np.array([next((step for step in row if step), 0) for row in image.tolist()])
    assert ((i < j) | ((i == j) & (first > 0))).all()
    assert np.allclose(bond_lengths(crystal, found.key)[found.of_directed], graphs.distance_A, atol=1e-9)
    assert np.array_equal(reference_edges(crystal, 4.6), found.key)


def test_a_missing_direction_is_refused() -> None:
    graphs = build_graphs(displaced(cubic_antiperovskite(), 1, 0.05), GraphSpec(cutoff_A=4.0))
    half = replace(
        graphs,
        edge_offsets=np.array([0, len(graphs.source) - 1]),
        source=graphs.source[1:],
        target=graphs.target[1:],
        image=graphs.image[1:],
        distance_A=graphs.distance_A[1:],
    )
    with pytest.raises(DataError, match="1 edges without exactly one opposite direction"):
        undirected_edges(half, 0)


def test_shells_of_the_cubic_antiperovskite() -> None:
    crystal = cubic_antiperovskite(4.793)
    key = reference_edges(crystal, 5.5)
    assert len(key) == 77  # 154 directed edges
    distance = bond_lengths(crystal, key)
    pairs = species_pairs(crystal, key)
    shell = shells(pairs, distance)
    counted = Counter(zip(pairs, shell.tolist(), strict=True))
    a = 4.793
    expected = {  # bonds per 5-atom cell, by counting neighbours on paper
        ("Ag-S", 0): (6, a / 2),
        ("Ag-S", 1): (24, a * np.sqrt(1.25)),
        ("Ag-Br", 0): (12, a / np.sqrt(2)),
        ("Ag-Ag", 0): (12, a / np.sqrt(2)),
        ("Ag-Ag", 1): (9, a),
        ("Br-S", 0): (8, a * np.sqrt(0.75)),
        ("S-S", 0): (3, a),
        ("Br-Br", 0): (3, a),
    }
    assert counted == {kind: count for kind, (count, _) in expected.items()}
    for kind, (_, length) in expected.items():
        members = [k for k, pair in enumerate(zip(pairs, shell.tolist(), strict=True)) if pair == kind]
        assert np.allclose(distance[members], length)


def test_rows_are_found_in_a_table() -> None:
    rng = np.random.default_rng(0)
    table = np.unique(rng.integers(-3, 4, (200, 5)), axis=0)
    table = table[rng.permutation(len(table))]
    chosen = rng.integers(0, len(table), 30)
    assert np.array_equal(positions_of(table[np.unique(chosen)], table), np.unique(chosen))
    assert (positions_of(np.full((1, 5), 9), table) == -1).all()
