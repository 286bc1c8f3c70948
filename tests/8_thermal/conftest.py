"""A crystal whose thermal averages are known exactly: classical harmonic springs, and the mean squared bond length.

⟨|r_j − r_i|²⟩ = d² + tr(C_ii + C_jj − C_ij − C_ji) with C the displacement covariance; classical C is proportional
to the temperature.  The property is a user's own network that computes the mean squared edge length, eV per Å².
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from ase.build import make_supercell

from phonograph import lattice
from phonograph.graphs import build_graphs
from phonograph.models import fit_input_scaling
from phonograph.testing import displaced, fcc
from phonograph.types import (
    Configurations,
    Crystal,
    Fitted,
    FloatArray,
    GraphSet,
    GraphSpec,
    IntArray,
    Split,
    TargetScaling,
)

SPRING_EV_PER_A2 = 3.0
SPEC = GraphSpec(cutoff_A=3.4)  # between the first (2.86 Å) and the second (4.05 Å) shell of aluminium


class MeanSquare(torch.nn.Module):
    """y = offset + mean over edges of distance²."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.register_buffer("offset", torch.tensor(0.0, dtype=torch.float64))
        del seed

    def forward(self, batch) -> torch.Tensor:
        graph = batch.batch[batch.edge_index[0]]
        total = torch.zeros(batch.n_graphs, dtype=batch.edge_distance.dtype)
        count = torch.bincount(graph, minlength=batch.n_graphs)
        return self.offset + total.index_add(0, graph, batch.edge_distance**2) / count


@dataclass(frozen=True)
class SquaredLength:
    """A user's own graph model."""

    def build(self, features: int, seed: int) -> MeanSquare:
        return MeanSquare(seed)


@dataclass(frozen=True, eq=False)
class Springs:
    """The harmonic crystal: samples and exact averages."""

    crystal: Crystal
    modes: lattice.Modes
    bonds: IntArray
    length2_A2: float

    def covariance(self, temperature_K: float) -> FloatArray:
        variance = lattice.mode_variance(self.modes.frequencies_THz, temperature_K, "classical")
        return lattice.covariance(self.modes, variance)

    def truth(self, temperature_K: float) -> float:
        if temperature_K == 0:
            return self.length2_A2
        size = len(self.crystal)
        blocks = self.covariance(temperature_K).reshape(size, 3, size, 3).trace(axis1=1, axis2=3)
        i, j = self.bonds
        return float(self.length2_A2 + (blocks[i, i] + blocks[j, j] - 2 * blocks[i, j]).mean())

    def sample(self, temperature_K: float, count: int, rng: np.random.Generator, pairs: bool = False) -> Configurations:
        """Return ``count`` configurations; with ``pairs``, each +u is followed by its −u in the same group."""
        size = len(self.crystal)
        variance = lattice.mode_variance(self.modes.frequencies_THz, temperature_K, "classical")
        root = lattice.displacement_root(self.modes, variance)
        draws = rng.normal(size=(count // 2 if pairs else count, 3 * size)) @ root.T
        if pairs:
            draws = np.stack([draws, -draws], axis=1).reshape(count, 3 * size)
        displacements = draws.reshape(count, size, 3)
        return Configurations(
            name="thermal",
            sampler="file",
            offsets=size * np.arange(count + 1),
            numbers=np.tile(self.crystal.numbers, count),
            positions_A=(self.crystal.positions_A + displacements).reshape(-1, 3),
            displacements_A=displacements.reshape(-1, 3),
            cells_A=np.repeat(self.crystal.cell_A[None], count, axis=0),
            temperature_K=np.full(count, temperature_K),
            amplitude_A=np.full(count, np.nan),
            fraction=np.full(count, np.nan),
            index=np.arange(count),
            group=tuple(f"pair-{k // 2}" if pairs else str(k) for k in range(count)),
        )

    def graphs(self, temperature_K: float, count: int, seed: int = 0, pairs: bool = False) -> GraphSet:
        rng = np.random.default_rng([seed, int(temperature_K)])
        return build_graphs(self.sample(temperature_K, count, rng, pairs), SPEC)


@pytest.fixture(scope="session")
def springs() -> Springs:
    from ase import Atoms

    unit = fcc()
    atoms = make_supercell(Atoms("Al", cell=unit.cell_A, pbc=True), 3 * np.eye(3))
    crystal = Crystal(cell_A=np.array(atoms.cell), positions_A=atoms.positions, numbers=atoms.numbers)
    graphs = build_graphs(displaced(crystal, 1, 0.0), SPEC)
    i, j = graphs.target.astype(int), graphs.source.astype(int)
    vectors = crystal.positions_A[j] + graphs.image @ crystal.cell_A - crystal.positions_A[i]
    unit_vectors = vectors / np.linalg.norm(vectors, axis=1)[:, None]
    values = np.zeros((len(crystal), len(crystal), 3, 3))
    # A spring along each bond and a weaker one across it keep every mode stiff.
    springs_of_bonds = SPRING_EV_PER_A2 * (np.einsum("ea,eb->eab", unit_vectors, unit_vectors) + 0.1 * np.eye(3))
    np.add.at(values, (i, i), springs_of_bonds)
    np.add.at(values, (i, j), -springs_of_bonds)
    modes = lattice.normal_modes(values, crystal.masses_amu)
    assert modes.frequencies_THz.min() > 1.0
    return Springs(
        crystal=crystal, modes=modes, bonds=np.array([i, j]), length2_A2=float((graphs.distance_A**2).mean())
    )


@pytest.fixture(scope="session")
def make_fitted(springs: Springs) -> Callable[..., Fitted]:
    graphs = springs.graphs(300.0, 20)
    split = Split(train=graphs.sample_ids[:16], validation=(), test=(), seed=0)

    def make(seed: int = 0, **changes: object) -> Fitted:
        values: dict[str, object] = {
            "name": f"length-seed{seed}",
            "model": SquaredLength(),
            "weights": {"offset": np.array(0.0)},
            "graph": SPEC,
            "inputs": fit_input_scaling(graphs),
            "scaling": TargetScaling(kind="standard", shift=0.0, scale=1.0),
            "target": "squared_length_eV",
            "unit": "eV",
            "trained_on": "springs",
            "train_range": (0.0, 100.0),
            "split": split,
            "seed": seed,
            "best_epoch": 0,
            "history": (),
        }
        return Fitted(**{**values, **changes})

    return make
