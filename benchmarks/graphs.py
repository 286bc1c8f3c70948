"""Graphs of displaced 40-atom cells: ours against pymatgen's and ASE's neighbour lists, in the same run.

    python benchmarks/graphs.py [--n 4500] [--others 300]

CPU seconds on one core, so that other work on the machine does not count.  The others are timed on ``--others`` of the
cells and scaled to ``--n``; all edges of those are compared.
"""

from __future__ import annotations

import argparse
import itertools
import time

import numpy as np

from phonograph.graphs import GraphSpec, build_graphs
from phonograph.testing import cubic_antiperovskite, displaced
from phonograph.types import Crystal, GraphSet


def cell_40(lattice_A: float = 4.9) -> Crystal:
    unit = cubic_antiperovskite(lattice_A)
    shifts = np.array(list(itertools.product(range(2), repeat=3))) @ unit.cell_A
    positions = (shifts[:, None] + unit.positions_A).reshape(-1, 3)
    return Crystal(cell_A=2 * unit.cell_A, positions_A=positions, numbers=np.tile(unit.numbers, 8))


def as_set(columns: list[np.ndarray]) -> set[tuple[int, ...]]:
    return set(map(tuple, np.column_stack(columns).astype(int).tolist()))


def edges_of(graphs: GraphSet, index: int) -> set[tuple[int, ...]]:
    part = slice(graphs.edge_offsets[index], graphs.edge_offsets[index + 1])
    return as_set([graphs.target[part], graphs.source[part], graphs.image[part]])


def with_ase(crystal: Crystal, cutoff: float) -> list[np.ndarray]:
    from ase.neighborlist import primitive_neighbor_list

    return list(primitive_neighbor_list("ijS", [True] * 3, crystal.cell_A, crystal.positions_A, cutoff))


def pymatgen_structure(crystal: Crystal) -> object:
    from pymatgen.core import Lattice, Structure

    return Structure(Lattice(crystal.cell_A), crystal.numbers, crystal.positions_A, coords_are_cartesian=True)


def with_pymatgen_arrays(crystal: Crystal, cutoff: float) -> list[np.ndarray]:
    return list(pymatgen_structure(crystal).get_neighbor_list(cutoff)[:3])


def with_pymatgen_objects(crystal: Crystal, cutoff: float) -> list[np.ndarray]:
    neighbours = pymatgen_structure(crystal).get_all_neighbors(cutoff)
    rows = [(i, site.index, *site.image) for i, sites in enumerate(neighbours) for site in sites]
    table = np.array(rows, dtype=int)
    return [table[:, 0], table[:, 1], table[:, 2:]]


OTHERS = {
    "pymatgen get_neighbor_list": with_pymatgen_arrays,
    "pymatgen get_all_neighbors": with_pymatgen_objects,
    "ASE primitive_neighbor_list": with_ase,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=4500, help="cells we build")
    parser.add_argument("--others", type=int, default=300, help="cells the other libraries build")
    parser.add_argument("--rms", type=float, default=0.2, help="rms displacement per axis, Å")
    chosen = parser.parse_args()
    configurations, spec = displaced(cell_40(), chosen.n, chosen.rms), GraphSpec()
    build_graphs(displaced(cell_40(), 10, chosen.rms), spec)
    start = time.process_time()
    graphs = build_graphs(configurations, spec)
    ours = time.process_time() - start
    print(f"{chosen.n} cells, {len(graphs.source)} edges")
    print(f"{'phonograph build_graphs':28}{ours:7.2f} s")
    count = min(chosen.others, chosen.n)
    crystals = [configurations.crystal(index) for index in range(count)]
    for name, other in OTHERS.items():
        other(crystals[0], spec.cutoff_A)
        start = time.process_time()
        found = [other(crystal, spec.cutoff_A) for crystal in crystals]
        scaled = (time.process_time() - start) * chosen.n / count
        same = all(as_set(edges) == edges_of(graphs, index) for index, edges in enumerate(found))
        print(f"{name:28}{scaled:7.1f} s (scaled from {count}), same edges: {same}, ratio {scaled / ours:.0f}×")


if __name__ == "__main__":
    main()
