"""Graphs of displaced 40-atom cells: ours against pymatgen's and ASE's neighbour lists and a plain triple loop.

    python benchmarks/graphs.py [--n 4500] [--others 300] [--loops 3]

All in the same run, in CPU seconds on one core, so that other work on the machine does not count; the best of three for
ours, which is short.  The libraries are timed on ``--others`` of the cells, the loop on ``--loops``, and scaled to
``--n``; all edges of those are compared.  Then ours for one cell of 10³, 10⁴ and 10⁵ atoms.  Written to
``benchmarks/results/graphs.json``.
"""

from __future__ import annotations

import argparse
import itertools
import time

import numpy as np
from kept import RESULTS, keep

from phonograph.graphs import GraphSpec, build_graphs
from phonograph.testing import cubic_antiperovskite, displaced
from phonograph.types import Configurations, Crystal, GraphSet


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


def with_a_triple_loop(crystal: Crystal, cutoff: float) -> list[np.ndarray]:
    """Every pair of atoms in every one of 27 images, in plain Python; enough for cells longer than the cutoff."""
    cell, positions = crystal.cell_A.tolist(), crystal.positions_A.tolist()
    rows = []
    for image in itertools.product((-1, 0, 1), repeat=3):
        shift = [sum(image[k] * cell[k][axis] for k in range(3)) for axis in range(3)]
        for i, (x, y, z) in enumerate(positions):
            for j, (u, v, w) in enumerate(positions):
                square = (u + shift[0] - x) ** 2 + (v + shift[1] - y) ** 2 + (w + shift[2] - z) ** 2
                if 0 < square < cutoff**2:
                    rows.append((i, j, *image))
    table = np.array(rows, dtype=int)
    return [table[:, 0], table[:, 1], table[:, 2:]]


OTHERS = {
    "pymatgen get_neighbor_list": with_pymatgen_arrays,
    "pymatgen get_all_neighbors": with_pymatgen_objects,
    "ASE primitive_neighbor_list": with_ase,
    "plain triple loop": with_a_triple_loop,
}


def seconds_of(configurations: Configurations, spec: GraphSpec, repeats: int) -> tuple[float, GraphSet]:
    best = np.inf
    for _ in range(repeats):
        start = time.process_time()
        graphs = build_graphs(configurations, spec)
        best = min(best, time.process_time() - start)
    return best, graphs


def large(multiple: int) -> Configurations:
    unit = cubic_antiperovskite(4.9)
    shifts = np.array(list(itertools.product(range(multiple), repeat=3))) @ unit.cell_A
    positions = (shifts[:, None] + unit.positions_A).reshape(-1, 3)
    numbers = np.tile(unit.numbers, multiple**3)
    return displaced(Crystal(cell_A=multiple * unit.cell_A, positions_A=positions, numbers=numbers), 1, 0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=4500, help="cells we build")
    parser.add_argument("--others", type=int, default=300, help="cells the other libraries build")
    parser.add_argument("--rms", type=float, default=0.2, help="rms displacement per axis, Å")
    parser.add_argument("--loops", type=int, default=3, help="cells of the plain loop")
    chosen = parser.parse_args()
    configurations, spec = displaced(cell_40(), chosen.n, chosen.rms), GraphSpec()
    build_graphs(displaced(cell_40(), 10, chosen.rms), spec)
    ours, graphs = seconds_of(configurations, spec, 3)
    print(f"{chosen.n} cells, {len(graphs.source)} edges")
    found_here = {"phonograph build_graphs": {"seconds": round(ours, 3), "cells": chosen.n}}
    print(f"{'phonograph build_graphs':28}{ours:7.2f} s")
    count = min(chosen.others, chosen.n)
    crystals = [configurations.crystal(index) for index in range(count)]
    for name, other in OTHERS.items():
        part = crystals[: chosen.loops] if name == "plain triple loop" else crystals
        other(crystals[0], spec.cutoff_A)
        start = time.process_time()
        found = [other(crystal, spec.cutoff_A) for crystal in part]
        scaled = (time.process_time() - start) * chosen.n / len(part)
        same = all(as_set(edges) == edges_of(graphs, index) for index, edges in enumerate(found))
        print(f"{name:28}{scaled:7.1f} s (scaled from {len(part)}), same edges: {same}, ratio {scaled / ours:.0f}×")
        ratio = round(scaled / ours, 1)
        found_here[name] = {"seconds": round(scaled, 2), "cells": len(part), "same_edges": same, "ratio": ratio}
    sizes = {}
    for multiple in (6, 13, 27):
        made = large(multiple)
        taken, one = seconds_of(made, spec, 2)
        atoms, edges = int(made.offsets[-1]), len(one.source)
        print(f"one cell of {atoms:6} atoms {taken:7.2f} s, {edges} edges, {1e6 * taken / edges:.2f} µs an edge")
        sizes[str(atoms)] = {"seconds": round(taken, 3), "edges": edges}
    record = {"unit": "CPU seconds", "edges": len(graphs.source), "routes": found_here, "atoms": sizes}
    keep(RESULTS / "graphs.json", record, "numpy", "ase", "pymatgen")


if __name__ == "__main__":
    main()
