"""The graphs of the authors' script: the same edges as their construction spelt out, and known counts."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from phonograph.errors import DataError
from phonograph.graphs import GraphSpec, build_graphs
from phonograph.graphs.published import copies
from phonograph.streams import stream
from phonograph.testing import cubic_antiperovskite, displaced
from phonograph.types import Configurations, Crystal, join_graphs

PAPER_CODE = GraphSpec(convention="paper-code")
SITES = {"Ag": [(0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5)], "S": [(0.5, 0.5, 0.5)], "Br": [(0, 0, 0)]}
NUMBERS = {"Ag": 47, "S": 16, "Br": 35}


def forty_atoms(species, *, by_site, lattice_A=4.793):
    """Return the ideal 2 × 2 × 2 cell with its atoms site after site, or cell after cell."""
    sites = [(NUMBERS[name], site) for name in species for site in SITES[name]]
    cells = list(itertools.product(range(2), repeat=3))
    pairs = [(s, c) for s in sites for c in cells] if by_site else [(s, c) for c in cells for s in sites]
    positions = np.array([np.add(site, cell) for (_, site), cell in pairs]) * lattice_A
    return Crystal(
        cell_A=2 * lattice_A * np.eye(3), positions_A=positions, numbers=np.array([number for (number, _), _ in pairs])
    )


def spelt_out(crystal: Crystal, cutoff_A: float) -> list[tuple[int, int, float]]:
    """Return (source, target, distance) by the authors' construction, with pymatgen making the block of copies."""
    from pymatgen.core import Lattice, Structure

    structure = Structure(
        Lattice(crystal.cell_A), crystal.numbers, crystal.positions_A, coords_are_cartesian=True, to_unit_cell=True
    )
    count = 3
    while min(structure.lattice.abc) * (count - 2) < cutoff_A:
        count += 2
    block = structure.make_supercell([count] * 3).cart_coords.reshape(len(crystal), count**3, 3)
    found = []
    for i, copies_of in enumerate(block):
        distances = np.linalg.norm(block[i:] - copies_of[count**3 // 2 + 1], axis=2)
        for other, copy in np.argwhere((distances < cutoff_A) & (distances > 1e-5)):
            pair = [(i, i + other), (i + other, i)] if other else [(i, i)]
            found += [(*ends, float(distances[other, copy])) for ends in pair]
    return sorted(found)


def edges_of(graphs, place=0):
    part = slice(graphs.edge_offsets[place], graphs.edge_offsets[place + 1])
    columns = (graphs.source[part].tolist(), graphs.target[part].tolist(), graphs.distance_A[part].tolist())
    return sorted(zip(*columns, strict=True))


def same(found, expected):
    assert [edge[:2] for edge in found] == [edge[:2] for edge in expected]
    # Equal pairs at nearly equal distances may be sorted either way.
    np.testing.assert_allclose(np.sort([e[2] for e in found]), np.sort([e[2] for e in expected]), atol=1e-9)


def single(crystal):
    return Configurations.of_crystals("toy", [crystal], ["g0"])


@pytest.mark.parametrize(
    ("species", "by_site", "edges"),
    [
        (("Br", "S", "Ag"), True, 1160),
        (("Ag", "S", "Br"), True, 1136),
        (("S", "Ag", "Br"), True, 1096),
        (("Br", "Ag", "S"), True, 1200),
        (("Ag", "S", "Br"), False, 1172),
    ],
)
def test_counts_in_the_ideal_cell(species, by_site, edges):
    crystal = forty_atoms(species, by_site=by_site)
    assert len(build_graphs(single(crystal), GraphSpec()).source) == 1232
    graphs = build_graphs(single(crystal), PAPER_CODE)
    assert len(graphs.source) == edges
    same(edges_of(graphs), spelt_out(crystal, 5.5))
    assert f"{1232 - edges} of 1232 edges" in graphs.warnings[0]


def test_the_five_atom_cell_is_complete():
    """Its shortest vector is below the cutoff, so five copies along each axis are made, and none is missed."""
    graphs = build_graphs(single(cubic_antiperovskite(4.793)), PAPER_CODE)
    assert (len(graphs.source), graphs.warnings) == (154, ())


@pytest.mark.parametrize("rms_A", [0.1, 0.3])
def test_displaced_cells_miss_what_the_construction_misses(rms_A):
    configurations = displaced(forty_atoms(("Br", "S", "Ag"), by_site=True), 12, rms_A, seed=3)
    graphs, full = build_graphs(configurations, PAPER_CODE), build_graphs(configurations, GraphSpec())
    for place in (0, 5, 11):
        same(edges_of(graphs, place), spelt_out(configurations.crystal(place), 5.5))
    missing = 1 - np.diff(graphs.edge_offsets) / np.diff(full.edge_offsets)
    assert (missing > 0.04).all()
    assert (missing < 0.14).all()


def test_cells_of_any_shape_and_smaller_than_the_cutoff():
    """Also where an atom's own images are found in one direction only, and atoms lie outside the cell."""
    random = stream(5, "published")
    one_sided = 0
    for _ in range(40):
        cell = np.diag(random.uniform(2.4, 7.0, 3)) + random.uniform(-1.2, 1.2, (3, 3))
        size = int(random.integers(1, 6))
        # On a grid, so that no two atoms coincide, and away from rounding at the faces of the cell.
        places = random.permutation(27)[:size]
        fractional = np.stack(np.unravel_index(places, (3, 3, 3)), axis=1) / 3 + random.uniform(0.02, 0.2, (size, 3))
        positions = (fractional + random.integers(-2, 3, (size, 3))) @ cell
        crystal = Crystal(cell_A=cell, positions_A=positions, numbers=random.integers(1, 90, size))
        graphs = build_graphs(single(crystal), PAPER_CODE)
        same(edges_of(graphs), spelt_out(crystal, 5.5))
        own = graphs.source == graphs.target
        one_sided += int(graphs.image[own].sum() != 0)
    assert one_sided > 0


def test_graphs_depend_on_the_origin_but_all_images_do_not():
    crystal = forty_atoms(("Br", "S", "Ag"), by_site=True)
    moved = replace(crystal, positions_A=crystal.positions_A + np.array([0, 0, 5.0]))
    counts = [len(build_graphs(single(c), PAPER_CODE).source) for c in (crystal, moved)]
    assert counts[0] != counts[1]
    assert len(build_graphs(single(moved), GraphSpec()).source) == 1232


def test_rounding_at_a_face_of_the_cell_changes_nothing():
    crystal = forty_atoms(("Br", "S", "Ag"), by_site=True)
    noise = stream(1, "faces").uniform(-1e-10, 1e-10, crystal.positions_A.shape)
    noisy = replace(crystal, positions_A=crystal.positions_A + noise)
    assert len(build_graphs(single(noisy), PAPER_CODE).source) == 1160


def test_copies():
    cells = np.array([1.0, 1.9, 5.4, 5.5, 11.0])[:, None, None] * np.eye(3)
    assert copies(cells, 5.5).tolist() == [9, 5, 5, 3, 3]


def test_conventions_do_not_mix():
    configurations = single(cubic_antiperovskite(4.793))
    parts = [build_graphs(configurations, spec) for spec in (GraphSpec(), PAPER_CODE)]
    with pytest.raises(DataError, match=r"all-images.*paper-code"):
        join_graphs(parts)
