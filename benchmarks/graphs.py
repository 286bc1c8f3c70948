"""Graphs of displaced 40-atom cells: ours against pymatgen's and ASE's neighbour lists, in the same run.

    python benchmarks/graphs.py [--n 4500] [--others 300]

The other two are timed on ``--others`` of the cells and scaled to ``--n``; all edges of those are compared.
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


def edges_of(graphs: GraphSet, index: int) -> set[tuple[int, ...]]:
    part = slice(graphs.edge_offsets[index], graphs.edge_offsets[index + 1])
    columns = [graphs.target[part], graphs.source[part], graphs.image[part]]
    return set(map(tuple, np.column_stack(columns).tolist()))


def with_ase(crystal: Crystal, cutoff: float) -> set[tuple[int, ...]]:
    from ase.neighborlist import primitive_neighbor_list

    i, j, shift = primitive_neighbor_list("ijS", [True] * 3, crystal.cell_A, crystal.positions_A, cutoff)
    return set(map(tuple, np.column_stack([i, j, shift]).tolist()))


def with_pymatgen(crystal: Crystal, cutoff: float) -> set[tuple[int, ...]]:
    from pymatgen.core import Lattice, Structure

    structure = Structure(Lattice(crystal.cell_A), crystal.numbers, crystal.positions_A, coords_are_cartesian=True)
    i, j, shift, _ = structure.get_neighbor_list(cutoff)
    return set(map(tuple, np.column_stack([i, j, shift]).astype(int).tolist()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=4500, help="cells we build")
    parser.add_argument("--others", type=int, default=300, help="cells the other libraries build")
    parser.add_argument("--rms", type=float, default=0.2, help="rms displacement per axis, Å")
    chosen = parser.parse_args()
    configurations, spec = displaced(cell_40(), chosen.n, chosen.rms), GraphSpec()
    build_graphs(displaced(cell_40(), 10, chosen.rms), spec)
    start = time.perf_counter()
    graphs = build_graphs(configurations, spec)
    ours = time.perf_counter() - start
    print(f"phonograph  {chosen.n} cells, {len(graphs.source)} edges: {ours:.2f} s")
    count = min(chosen.others, chosen.n)
    crystals = [configurations.crystal(index) for index in range(count)]
    for name, other in (("pymatgen", with_pymatgen), ("ASE", with_ase)):
        other(crystals[0], spec.cutoff_A)
        start = time.perf_counter()
        found = [other(crystal, spec.cutoff_A) for crystal in crystals]
        scaled = (time.perf_counter() - start) * chosen.n / count
        same = all(edges == edges_of(graphs, index) for index, edges in enumerate(found))
        print(f"{name:10}  {scaled:.1f} s (scaled from {count}), same edges: {same}, ratio {scaled / ours:.0f}×")


if __name__ == "__main__":
    main()
