"""Planted problems: crystals whose label depends on one kind of bond only, and real networks trained on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pytest
from ase.build import make_supercell

from phonograph.graphs import build_graphs
from phonograph.models import GraphConvNet
from phonograph.testing import cubic_antiperovskite, displaced
from phonograph.training import TrainingSettings, fit, make_split
from phonograph.types import Crystal, Fitted, GraphSet, GraphSpec

PLANTS = {"Ag-S": (47, 16), "Ag-Br": (47, 35), "Ag-Ag": (47, 47)}


@dataclass(frozen=True)
class Planted:
    """Graphs with independently varying bond lengths, and one model per planted bond type (first shell)."""

    reference: Crystal
    graphs: GraphSet
    fits: Mapping[str, Fitted]

    @property
    def test(self) -> GraphSet:
        return self.graphs.select(range(200, 240))


def supercell(lattice_A: float = 4.90) -> Crystal:
    from ase import Atoms

    unit = cubic_antiperovskite(lattice_A)
    atoms = Atoms(numbers=unit.numbers, positions=unit.positions_A, cell=unit.cell_A, pbc=True)
    large = make_supercell(atoms, 2 * np.eye(3))
    return Crystal(cell_A=np.array(large.cell), positions_A=large.positions, numbers=large.numbers)


def independent_bonds(reference: Crystal, count: int, spread_A: float, seed: int) -> GraphSet:
    """Graphs of ``reference`` in which every bond has its own length: no bond can stand for another one."""
    ideal = build_graphs(displaced(reference, 1, 0.0), GraphSpec(cutoff_A=5.2))
    rng = np.random.default_rng(seed)
    bond: dict[tuple[int, ...], int] = {}
    of_edge = []
    for s, t, image in zip(ideal.source.tolist(), ideal.target.tolist(), ideal.image.tolist(), strict=True):
        key = min((s, t, *image), (t, s, *(-step for step in image)))
        of_edge.append(bond.setdefault(key, len(bond)))
    change = spread_A * rng.normal(size=(count, len(bond)))[:, of_edge]
    size, edges = len(reference), len(ideal.source)
    return GraphSet(
        sample_ids=tuple(f"planted-{k}" for k in range(count)),
        groups=tuple(str(k) for k in range(count)),
        node_offsets=size * np.arange(count + 1),
        numbers=np.tile(ideal.numbers, count),
        edge_offsets=edges * np.arange(count + 1),
        source=np.tile(ideal.source, count),
        target=np.tile(ideal.target, count),
        image=np.tile(ideal.image, (count, 1)),
        distance_A=np.clip(ideal.distance_A + change, 1.0, 5.19).ravel(),
        spec=ideal.spec,
    )


def planted_label(graphs: GraphSet, pair: tuple[int, int]) -> np.ndarray:
    """Minus the mean length of the nearest bonds of ``pair``, times ten, eV."""
    size = len(graphs.source) // len(graphs)
    source, target = graphs.source[:size], graphs.target[:size]
    near = np.median(graphs.distance_A.reshape(len(graphs), -1), axis=0) < 4.2
    chosen = (graphs.numbers[source] == pair[0]) & (graphs.numbers[target] == pair[1]) & near
    return -10.0 * graphs.distance_A.reshape(len(graphs), -1)[:, chosen].mean(axis=1)


@pytest.fixture(scope="session")
def reference() -> Crystal:
    return supercell()


@pytest.fixture(scope="session")
def planted(reference: Crystal) -> Planted:
    graphs = independent_bonds(reference, 240, 0.15, seed=1)
    split = make_split(graphs.sample_ids[:200], graphs.groups[:200], (0.8, 0.1, 0.1))
    fits = {}
    for name, pair in PLANTS.items():
        fits[name] = fit(
            graphs,
            planted_label(graphs, pair),
            split,
            GraphConvNet(hidden_channels=24, pooling="mean"),
            TrainingSettings(epochs=60, learning_rate=1e-2),
            target="band_gap_eV",
            trained_on="planted",
            seed=1,
        )
    return Planted(reference=reference, graphs=graphs, fits=fits)
