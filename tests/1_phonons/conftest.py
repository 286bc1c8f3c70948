"""Toy crystals and a potential whose self-consistent phonons are known."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
from ase.calculators.calculator import Calculator, all_changes

from phonograph.lattice import covariance, free_energy, mode_variance, normal_modes
from phonograph.phonons import AseForces
from phonograph.streams import stream
from phonograph.types import Crystal
from phonograph.units import BOLTZMANN_EV_PER_K

EDGE_A = 4.0
CORNERS = np.array(list(itertools.product((-0.5, 0.5), repeat=3)))


def bonds_of(supercell: Crystal) -> np.ndarray:
    """(i, j) of every bond from an atom at a corner to the eight body centres around it."""
    sites = np.rint(supercell.positions_A / (EDGE_A / 2)).astype(int)
    size = np.rint(np.diag(supercell.cell_A) / (EDGE_A / 2)).astype(int)
    index = {tuple(site % size): atom for atom, site in enumerate(sites)}
    corners = [atom for atom, number in enumerate(supercell.numbers) if number == 55]
    return np.array(
        [(i, index[tuple((sites[i] + np.rint(2 * c).astype(int)) % size)]) for i in corners for c in CORNERS]
    )


@dataclass(frozen=True)
class Quartic:
    """CsCl lattice with bonds V = Σ_α k d_α²/2 + λ d_α⁴/4, d = u_Cs − u_Cl: self-consistent Φ has k + 3 λ ⟨d_α²⟩.

    A cubic term γ s_α d_α³/3, s the signs of the bond's direction, can be added; it does not change that Φ.
    """

    k: float
    quartic: float
    cubic: float = 0.0

    @property
    def crystal(self) -> Crystal:
        return Crystal(
            cell_A=np.eye(3) * EDGE_A,
            positions_A=np.array([[0, 0, 0], [0.5, 0.5, 0.5]]) * EDGE_A,
            numbers=[55, 17],
            title="toy CsCl",
        )

    def bonds(self, supercell: Crystal) -> tuple[np.ndarray, np.ndarray]:
        """(i, j) of every bond and the signs of its direction."""
        found = bonds_of(supercell)
        return found, np.tile(np.sign(CORNERS), (len(found) // len(CORNERS), 1))

    def forces(self, **settings) -> AseForces:
        return AseForces(factory=lambda: QuarticCalculator(self), name="quartic toy", **settings)

    def constants(self, supercell: Crystal, k: float) -> np.ndarray:
        values = np.zeros((len(supercell), len(supercell), 3, 3))
        for i, j in bonds_of(supercell):
            for a, b, sign in ((i, i, 1), (j, j, 1), (i, j, -1), (j, i, -1)):
                values[a, b] += sign * k * np.eye(3)
        return values

    def solve(self, supercell: Crystal, temperature_K: float, statistics: str) -> tuple[float, np.ndarray, float]:
        """Self-consistent k, its frequencies (THz) and F_harm + ⟨V − V_harm⟩ (eV/atom), by bisection in k."""

        def spread(k: float) -> float:
            modes = normal_modes(self.constants(supercell, k), supercell.masses_amu)
            c = covariance(modes, mode_variance(modes.frequencies_THz, temperature_K, statistics))
            i, j = 3 * bonds_of(supercell)[0]
            return c[i, i] + c[j, j] - 2 * c[i, j]

        low, high = 1e-3, 100.0
        for _ in range(80):
            k = 0.5 * (low + high)
            low, high = (k, high) if self.k + 3 * self.quartic * spread(k) > k else (low, k)
        frequencies = normal_modes(self.constants(supercell, k), supercell.masses_amu).frequencies_THz
        beyond = -0.75 * self.quartic * spread(k) ** 2 * 3 * len(bonds_of(supercell))
        energy = free_energy(frequencies, temperature_K, statistics) + beyond
        return k, frequencies, energy / len(supercell)

    def static(self, supercell: Crystal, temperature_K: float, samples: int = 50_000) -> np.ndarray:
        """Frequencies (THz) of the best harmonic crystal in exact classical equilibrium, Φ = −⟨f uᵀ⟩⟨u uᵀ⟩⁻¹.

        By importance sampling from the self-consistent law, without dynamics; x, y and z do not couple.
        """
        thermal = BOLTZMANN_EV_PER_K * temperature_K
        k, frequencies, _ = self.solve(supercell, temperature_K, "classical")
        modes = normal_modes(self.constants(supercell, k), supercell.masses_amu)
        along_x = covariance(modes, mode_variance(frequencies, temperature_K, "classical"))[::3, ::3]
        values, vectors = np.linalg.eigh(along_x)
        normals = stream(0, "quartic", "static").standard_normal((samples, len(values) - 1))
        u = (normals * np.sqrt(values[1:])) @ vectors[:, 1:].T
        i, j = bonds_of(supercell).T
        d = u[:, i] - u[:, j]
        beyond = (0.25 * self.quartic * d**4 + 0.5 * (self.k - k) * d**2).sum(axis=1)
        pull = self.k * d + self.quartic * d**3
        f = np.zeros_like(u)
        np.add.at(f.T, i, -pull.T)
        np.add.at(f.T, j, pull.T)
        weighted = u * np.exp(-beyond / thermal)[:, None]
        along_x = -(f.T @ weighted) @ np.linalg.pinv(u.T @ weighted, rcond=1e-9, hermitian=True)
        whole = np.kron(0.5 * (along_x + along_x.T), np.eye(3)).reshape(len(i) // 4, 3, -1, 3)
        return normal_modes(whole.transpose(0, 2, 1, 3), supercell.masses_amu).frequencies_THz


class QuarticCalculator(Calculator):
    implemented_properties = ("energy", "forces")

    def __init__(self, toy: Quartic) -> None:
        super().__init__()
        self.toy = toy
        self._bonds: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        half = EDGE_A / 2
        sites = np.rint(atoms.positions / half) * half
        key = sites.tobytes()
        if key not in self._bonds:
            rest = Crystal(cell_A=np.array(atoms.cell), positions_A=sites, numbers=atoms.numbers)
            self._bonds[key] = self.toy.bonds(rest)
        (i, j), signs = self._bonds[key][0].T, self._bonds[key][1]
        u = atoms.positions - sites
        d = u[i] - u[j]
        pull = self.toy.k * d + self.toy.cubic * signs * d**2 + self.toy.quartic * d**3
        forces = np.zeros_like(u)
        np.add.at(forces, i, -pull)
        np.add.at(forces, j, pull)
        energy = (0.5 * self.toy.k * d**2 + self.toy.cubic * signs * d**3 / 3 + 0.25 * self.toy.quartic * d**4).sum()
        self.results = {"energy": float(energy), "forces": forces}


@pytest.fixture(scope="session")
def quartic():
    """The class of quartic toys."""
    return Quartic


@pytest.fixture(scope="session")
def aluminium() -> Crystal:
    """Conventional (non-primitive) fcc Al near EMT's lattice constant."""
    a = 3.9937
    return Crystal(
        cell_A=np.eye(3) * a,
        positions_A=np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]) * a,
        numbers=[13] * 4,
        title="Al",
    )


@pytest.fixture(scope="session")
def primitive_aluminium(aluminium) -> Crystal:
    a = aluminium.cell_A[0, 0]
    return Crystal(
        cell_A=np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) * a / 2, positions_A=np.zeros((1, 3)), numbers=[13]
    )


@pytest.fixture(scope="session")
def silver_sulfide_bromide() -> Crystal:
    """Cubic Ag3SBr, a = 4.90 Å."""
    a = 4.9
    fractional = np.array([[0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5], [0.5, 0.5, 0.5], [0, 0, 0]])
    return Crystal(cell_A=np.eye(3) * a, positions_A=fractional * a, numbers=[47, 47, 47, 16, 35], title="Ag3SBr")
