"""Graphs hold every pair of atoms and images within the cutoff, in any cell, and nothing else."""

from __future__ import annotations

import itertools
import os
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phonograph.errors import ConfigurationError, DataError
from phonograph.graphs import GraphSpec, build_graphs
from phonograph.graphs.neighbours import neighbours
from phonograph.streams import stream
from phonograph.testing import cubic_antiperovskite, displaced
from phonograph.types import Configurations, Crystal, GraphSet


def packed(crystals, name="toy"):
    """Return crystals of any size as one set."""
    count = len(crystals)
    return Configurations(
        name=name,
        sampler="file",
        offsets=np.cumsum([0, *map(len, crystals)]),
        numbers=np.concatenate([c.numbers for c in crystals]),
        positions_A=np.concatenate([c.positions_A for c in crystals]),
        displacements_A=np.full((sum(map(len, crystals)), 3), np.nan),
        cells_A=np.stack([c.cell_A for c in crystals]),
        temperature_K=np.full(count, np.nan),
        amplitude_A=np.full(count, np.nan),
        fraction=np.full(count, np.nan),
        index=np.arange(count),
        group=tuple(f"g{i}" for i in range(count)),
    )


def supercell(crystal, m):
    shifts = np.array(list(itertools.product(range(m), repeat=3))) @ crystal.cell_A
    positions = (shifts[:, None] + crystal.positions_A).reshape(-1, 3)
    return Crystal(cell_A=m * crystal.cell_A, positions_A=positions, numbers=np.tile(crystal.numbers, m**3))


def triclinic(seed, atoms=(1, 6), lengths=(2.5, 9.0), angles=(30.0, 150.0), spread=1.0):
    """Return a random crystal; ``spread`` > 1 puts atoms outside the cell."""
    from ase.cell import Cell

    random = stream(seed, "triclinic")
    while True:
        sides, corners = random.uniform(*lengths, 3), random.uniform(*angles, 3)
        alpha, beta, gamma = np.cos(np.radians(corners))
        # Not every three angles close to a cell.
        if 1 - alpha**2 - beta**2 - gamma**2 + 2 * alpha * beta * gamma > 0.003:
            cell = np.array(Cell.fromcellpar([*sides, *corners]))
            break
    if random.random() < 0.3:
        cell[2] *= -1  # left-handed
    size = int(random.integers(*atoms))
    fractional = random.uniform(0.5 - spread / 2, 0.5 + spread / 2, (size, 3))
    return Crystal(cell_A=cell, positions_A=fractional @ cell, numbers=random.integers(1, 90, size))


def brute_force(crystal, cutoff):
    """Triple loop over atoms, atoms and images; the images reach far enough for any position of the atoms."""
    height = 1 / np.linalg.norm(np.linalg.inv(crystal.cell_A), axis=0)
    span = np.ptp(crystal.fractional, axis=0)
    reach = np.ceil(cutoff / height + span).astype(int)
    found = {}
    for target, source in itertools.product(range(len(crystal)), repeat=2):
        between = crystal.positions_A[source] - crystal.positions_A[target]
        for image in itertools.product(*(range(-r, r + 1) for r in reach)):
            d = float(np.linalg.norm(between + np.array(image) @ crystal.cell_A))
            if 0 < d < cutoff and not (source == target and image == (0, 0, 0)):
                found[target, source, *image] = d
    return found


def as_dict(graphs: GraphSet, index=0):
    edges = slice(graphs.edge_offsets[index], graphs.edge_offsets[index + 1])
    keys = np.column_stack([graphs.target[edges], graphs.source[edges], graphs.image[edges]]).tolist()
    values = dict(zip(map(tuple, keys), graphs.distance_A[edges].tolist(), strict=True))
    assert len(values) == len(keys), "an edge occurs twice"
    return values


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    assert all(abs(found[key] - expected[key]) < 1e-9 for key in found)


@pytest.mark.parametrize("block", range(10))
def test_equals_a_triple_loop_on_random_triclinic_cells(block):
    crystals = [triclinic(100 * block + i, spread=1.0 if i % 2 else 2.5, atoms=(1, 5)) for i in range(22)]
    cutoff = 3.0 + 0.35 * block
    graphs = build_graphs(packed(crystals), GraphSpec(cutoff_A=cutoff))
    for index, crystal in enumerate(crystals):
        assert_same(as_dict(graphs, index), brute_force(crystal, cutoff))


@pytest.mark.parametrize("seed", range(25))
def test_equals_ase(seed):
    from ase import Atoms
    from ase.neighborlist import neighbor_list

    crystal, cutoff = triclinic(5000 + seed, atoms=(1, 14), lengths=(3.0, 12.0)), 5.5
    atoms = Atoms(numbers=crystal.numbers, positions=crystal.positions_A, cell=crystal.cell_A, pbc=True)
    i, j, shift, d = neighbor_list("ijSd", atoms, cutoff)
    expected = {(a, b, *k): x for a, b, k, x in zip(i.tolist(), j.tolist(), shift.tolist(), d, strict=True)}
    assert_same(as_dict(build_graphs(packed([crystal]), GraphSpec(cutoff_A=cutoff))), expected)


def multiset(target, source, image):
    """Return the edges as sorted rows (target, source, image)."""
    rows = np.column_stack([target, source, image]).astype(np.int64)
    return rows[np.lexsort(rows.T[::-1])]


def all_images(crystal, cutoff):
    """O(atoms²·images): every pair in every image that can be within the cutoff, all at once."""
    span = np.ptp(crystal.fractional, axis=0)
    reach = np.ceil(cutoff * np.linalg.norm(np.linalg.inv(crystal.cell_A), axis=0) + span).astype(int)
    images = np.stack(np.meshgrid(*(np.arange(-r, r + 1) for r in reach), indexing="ij"), -1).reshape(-1, 3)
    between = crystal.positions_A[None] - crystal.positions_A[:, None]
    d = np.linalg.norm(between[..., None, :] + images @ crystal.cell_A, axis=-1)
    target, source, place = np.nonzero((d > 1e-9) & (d < cutoff))
    return multiset(target, source, images[place])


@pytest.mark.parametrize("block", range(20))
def test_gate_edges_of_random_cells_by_brute_force_and_by_ase(block):
    """Gate R13: angles 30–150°, left-handed and needle-shaped cells, cutoffs beyond the cell, atoms outside it.

    500 cells; set PHONOGRAPH_GATE_CELLS for more.
    """
    from ase import Atoms
    from ase.neighborlist import primitive_neighbor_list

    count = int(os.environ.get("PHONOGRAPH_GATE_CELLS", "500")) // 20
    seeds = range(10**6 + block * count, 10**6 + (block + 1) * count)
    crystals = [triclinic(s, atoms=(1, 7), lengths=(2.0, 10.0), spread=1.0 if s % 3 else 2.0) for s in seeds]
    cutoff = 2.5 + 0.2 * block
    graphs = build_graphs(packed(crystals), GraphSpec(cutoff_A=cutoff))
    smaller = 0
    for index, crystal in enumerate(crystals):
        edges = slice(graphs.edge_offsets[index], graphs.edge_offsets[index + 1])
        found = multiset(graphs.target[edges], graphs.source[edges], graphs.image[edges])
        assert np.array_equal(found, all_images(crystal, cutoff)), f"cell {seeds[index]}"
        atoms = Atoms(numbers=crystal.numbers, positions=crystal.positions_A, cell=crystal.cell_A, pbc=True)
        i, j, shift = primitive_neighbor_list("ijS", atoms.pbc, atoms.cell, atoms.positions, cutoff)
        assert np.array_equal(found, multiset(i, j, shift)), f"cell {seeds[index]}"
        smaller += int(np.linalg.norm(crystal.cell_A, axis=1).min() < cutoff)
    assert smaller > 0


def test_a_large_cell_equals_ase():
    from ase import Atoms
    from ase.neighborlist import neighbor_list

    configurations = displaced(supercell(cubic_antiperovskite(4.9), 6), 1, 0.2)
    crystal = configurations.crystal(0)
    graphs = build_graphs(configurations, GraphSpec())
    atoms = Atoms(numbers=crystal.numbers, positions=crystal.positions_A, cell=crystal.cell_A, pbc=True)
    i, j, shift, d = neighbor_list("ijSd", atoms, 5.5)
    expected = {(a, b, *k): x for a, b, k, x in zip(i.tolist(), j.tolist(), shift.tolist(), d, strict=True)}
    assert len(crystal) == 1080
    assert_same(as_dict(graphs), expected)


@pytest.mark.parametrize("seed", range(20))
def test_the_two_routes_give_the_same_pairs(seed):
    crystal = triclinic(7000 + seed, atoms=(1, 30))
    dense = neighbours(crystal.cell_A, crystal.fractional, 6.0, "dense")
    tree = neighbours(crystal.cell_A, crystal.fractional, 6.0, "tree")
    for one, other in zip(dense, tree, strict=True):
        assert np.array_equal(one, other)


def test_the_published_crystal():
    cell = cubic_antiperovskite(4.793)
    small = build_graphs(displaced(cell, 1, 0.0), GraphSpec())
    large = build_graphs(displaced(supercell(cell, 2), 1, 0.0), GraphSpec())
    assert len(small.source) == 154
    assert len(large.source) == 1232
    degree = {47: 28, 16: 44, 35: 26}
    assert np.bincount(small.target).tolist() == [degree[z] for z in small.numbers]
    assert np.bincount(large.target).tolist() == [degree[z] for z in large.numbers]
    silver_sulphur = (large.numbers[large.source] == 47) & (large.numbers[large.target] == 16)
    lengths = large.distance_A[silver_sulphur].round(2)
    assert dict(zip(*map(np.ndarray.tolist, np.unique(lengths, return_counts=True)), strict=True)) == {
        2.4: 48,
        5.36: 192,
    }


def test_edges_are_sorted_and_come_in_bitwise_equal_pairs():
    graphs = build_graphs(displaced(supercell(cubic_antiperovskite(), 2), 3, 0.2), GraphSpec())
    for index in range(3):
        edges = as_dict(graphs, index)
        assert list(edges) == sorted(edges)
        for (target, source, a, b, c), d in edges.items():
            assert edges[source, target, -a, -b, -c] == d


def test_together_or_alone_gives_the_same_edges():
    crystals = [supercell(cubic_antiperovskite(a), 2) for a in (4.7, 4.9, 5.0)]
    similar = [displaced(c, 4, 0.15, seed=i).crystal(k) for i, c in enumerate(crystals) for k in range(4)]
    mixed = [item for pair in zip(similar, [triclinic(i) for i in range(12)], strict=True) for item in pair]
    together = build_graphs(packed(mixed), GraphSpec())
    for index, crystal in enumerate(mixed):
        assert_same(as_dict(together, index), as_dict(build_graphs(packed([crystal]), GraphSpec())))
    assert together.sample_ids == packed(mixed).ids


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), shift=st.tuples(*[st.floats(-20, 20)] * 3))
def test_translation_changes_no_edge(seed, shift):
    crystal = triclinic(seed)
    moved = replace(crystal, positions_A=crystal.positions_A + np.array(shift))
    one, other = (as_dict(build_graphs(packed([c]), GraphSpec(cutoff_A=5.0))) for c in (crystal, moved))
    assert_same(one, other)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), data=st.data())
def test_reordering_atoms_reorders_edges(seed, data):
    crystal = triclinic(seed, atoms=(2, 8))
    order = np.array(data.draw(st.permutations(range(len(crystal)))))
    reordered = Crystal(cell_A=crystal.cell_A, positions_A=crystal.positions_A[order], numbers=crystal.numbers[order])
    one = as_dict(build_graphs(packed([crystal]), GraphSpec(cutoff_A=5.0)))
    other = as_dict(build_graphs(packed([reordered]), GraphSpec(cutoff_A=5.0)))
    assert_same({(order[t], order[s], *k): d for (t, s, *k), d in other.items()}, one)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), data=st.data())
def test_wrapping_atoms_moves_image_indices_and_nothing_else(seed, data):
    crystal = triclinic(seed, atoms=(2, 8))
    vector = st.tuples(*[st.integers(-3, 3)] * 3)
    shifts = np.array([data.draw(vector) for _ in range(len(crystal))])
    moved = replace(crystal, positions_A=crystal.positions_A + shifts @ crystal.cell_A)
    one = as_dict(build_graphs(packed([crystal]), GraphSpec(cutoff_A=5.0)))
    # Alone, and in a set with the original, where both share one list of candidates.
    for other in (
        as_dict(build_graphs(packed([moved]), GraphSpec(cutoff_A=5.0))),
        as_dict(build_graphs(packed([crystal, moved]), GraphSpec(cutoff_A=5.0)), 1),
    ):
        unwrapped = {(t, s, *(np.array(k) + shifts[s] - shifts[t]).tolist()): d for (t, s, *k), d in other.items()}
        assert_same(unwrapped, one)
        assert list(other) == sorted(other)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), a=st.integers(-4, 4), b=st.integers(-4, 4), c=st.integers(-4, 4))
def test_another_basis_of_the_same_lattice_gives_the_same_distances(seed, a, b, c):
    crystal = triclinic(seed)
    skewed = replace(crystal, cell_A=np.array([[1, a, b], [0, 1, c], [0, 0, 1]]) @ crystal.cell_A)
    for target in range(len(crystal)):
        one, other = (
            sorted(d for (t, *_), d in as_dict(build_graphs(packed([x]), GraphSpec())).items() if t == target)
            for x in (crystal, skewed)
        )
        assert np.allclose(one, other, atol=1e-9)


def test_a_distance_equal_to_the_cutoff_is_outside_whatever_rounding_says():
    cell = Crystal(cell_A=5.5 * np.eye(3), positions_A=np.zeros((1, 3)), numbers=np.array([47]))
    for shift in np.linspace(0, 3, 40):
        moved = replace(cell, positions_A=np.full((1, 3), shift))
        assert len(build_graphs(packed([moved]), GraphSpec()).source) == 0


def test_isolated_atoms_are_counted():
    lonely = Crystal(cell_A=20 * np.eye(3), positions_A=np.zeros((1, 3)), numbers=np.array([47]))
    graphs = build_graphs(packed([lonely, cubic_antiperovskite(), lonely]), GraphSpec())
    assert "2 atoms in 2 of 3 configurations" in graphs.warnings[0]
    assert np.diff(graphs.edge_offsets).tolist()[::2] == [0, 0]
    assert not build_graphs(packed([cubic_antiperovskite()]), GraphSpec()).warnings


def test_atoms_at_the_same_place_are_refused():
    twice = Crystal(cell_A=5 * np.eye(3), positions_A=np.zeros((2, 3)), numbers=np.array([47, 47]))
    with pytest.raises(DataError, match="toy-00001 are at the same place"):
        build_graphs(packed([cubic_antiperovskite(), twice]), GraphSpec())


def test_very_close_atoms_are_told():
    close = Crystal(cell_A=5 * np.eye(3), positions_A=np.array([[0, 0, 0], [0.05, 0, 0]]), numbers=np.array([47, 16]))
    assert "0.05 Å apart" in build_graphs(packed([close]), GraphSpec()).warnings[0]


@pytest.mark.parametrize("cutoff", [0.0, -1.0, 31.0, float("nan")])
def test_impossible_cutoffs_are_refused(cutoff):
    with pytest.raises(ConfigurationError, match="cutoff_A must be"):
        GraphSpec(cutoff_A=cutoff)


def test_too_many_edges_are_refused_before_they_are_built():
    many = displaced(supercell(cubic_antiperovskite(), 5), 400, 0.1)
    with pytest.raises(DataError, match="choose a smaller cutoff"):
        build_graphs(many, GraphSpec(cutoff_A=30.0))
    with pytest.raises(DataError, match="choose a smaller cutoff"):
        neighbours(np.eye(3), np.random.default_rng(0).random((3000, 3)), 25.0)


def test_a_needle_shaped_cell_takes_no_time():
    cell = np.array([[1.0, 0, 0], [40.0, 1.0, 0], [35.0, 60.0, 1.0]]) * 4
    crystal = Crystal(cell_A=cell, positions_A=np.zeros((1, 3)), numbers=np.array([47]))
    cubic = Crystal(cell_A=4 * np.eye(3), positions_A=np.zeros((1, 3)), numbers=np.array([47]))
    one, other = (build_graphs(packed([c]), GraphSpec()) for c in (crystal, cubic))
    assert np.allclose(np.sort(one.distance_A), np.sort(other.distance_A))


def test_progress_reaches_the_end():
    calls = []
    build_graphs(displaced(cubic_antiperovskite(), 30, 0.1), GraphSpec(), progress=lambda *call: calls.append(call))
    assert calls[-1] == ("graphs", 30, 30)
