"""Phonons to sample from, made directly with phonopy and ASE, so that this room is tested without room 1."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from phonograph.lattice import normal_modes
from phonograph.types import Crystal, ForceConstants, Origin, Phonons, Spectrum
from phonograph.units import THZ_PER_SQRT_EV_PER_A2_AMU


def phonons_of(constants: ForceConstants) -> Phonons:
    """Wrap force constants; the spectrum is not looked at by samplers."""
    frequencies = normal_modes(constants.values_eV_per_A2, constants.supercell.masses_amu).frequencies_THz
    spectrum = Spectrum(q=np.zeros((1, 3)), distance=np.zeros(1), frequencies_THz=np.zeros((1, 3)))
    return Phonons(
        force_constants=constants,
        harmonic=None,
        method="finite-displacement",
        temperature_K=None,
        frequencies_THz=frequencies,
        frequency_error_THz=np.zeros_like(frequencies),
        harmonic_frequencies_THz=frequencies,
        spectrum=spectrum,
        harmonic_spectrum=spectrum,
        rounds=(),
        converged=None,
        warnings=(),
        origin=Origin(room="test"),
    )


def crystal_of(cell) -> Crystal:
    return Crystal(cell_A=cell.cell, positions_A=cell.positions, numbers=cell.numbers, masses_amu=cell.masses)


def from_phonopy(phonon) -> Phonons:
    """Full force constants and cells of a phonopy object, as this package holds them."""
    values = phonon.force_constants
    assert values.shape[0] == values.shape[1]
    return phonons_of(
        ForceConstants(
            unitcell=crystal_of(phonon.unitcell),
            supercell_matrix=np.array(phonon.supercell_matrix).T,
            supercell=crystal_of(phonon.supercell),
            values_eV_per_A2=values,
            origin=Origin(room="test"),
        )
    )


def emt_phonopy(atoms, supercell_matrix, primitive_matrix=None):
    """Finite-displacement phonopy object of an ASE crystal under EMT."""
    from ase import Atoms
    from ase.calculators.emt import EMT
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms

    unit = PhonopyAtoms(symbols=atoms.get_chemical_symbols(), cell=atoms.cell[:], positions=atoms.positions)
    with warnings.catch_warnings():
        # phonopy warns that a skewed supercell breaks the point group; that is what those tests are about.
        warnings.simplefilter("ignore", UserWarning)
        phonon = Phonopy(unit, supercell_matrix=supercell_matrix, primitive_matrix=primitive_matrix, log_level=0)
    phonon.generate_displacements(distance=0.01)
    forces = []
    for cell in phonon.supercells_with_displacements:
        moved = Atoms(numbers=cell.numbers, cell=cell.cell, positions=cell.positions, pbc=True, calculator=EMT())
        forces.append(moved.get_forces())
    phonon.forces = np.array(forces)
    phonon.produce_force_constants(calculate_full_force_constants=True)
    phonon.symmetrize_force_constants()
    return phonon


def real_phonopy(folder: Path):
    """phonopy object of a DFT calculation, without the long-range correction."""
    import phonopy

    with warnings.catch_warnings():
        # phonopy 4 announces the primitive cell it finds; which one it is does not matter here.
        warnings.simplefilter("ignore", UserWarning)
        phonon = phonopy.load(
            folder / "phonopy_disp.yaml",
            force_sets_filename=folder / "FORCE_SETS",
            is_nac=False,
            is_compact_fc=False,
            log_level=0,
        )
    if phonon.force_constants.shape[0] != phonon.force_constants.shape[1]:
        phonon.produce_force_constants(calculate_full_force_constants=True)
    return phonon


def springs(crystal: Crystal, cutoff_A: float = 5.0, stiffness: float = 48.0) -> np.ndarray:
    """Force constants of central springs k = stiffness/r⁴, which obey the acoustic sum rule and are stable."""
    from ase import Atoms
    from ase.neighborlist import neighbor_list

    atoms = Atoms(numbers=crystal.numbers, positions=crystal.positions_A, cell=crystal.cell_A, pbc=True)
    i, j, distance, vector = neighbor_list("ijdD", atoms, cutoff_A)
    unit = vector / distance[:, None]
    blocks = stiffness / distance[:, None, None] ** 4 * unit[:, :, None] * unit[:, None, :]
    values = np.zeros((len(crystal), len(crystal), 3, 3))
    np.add.at(values, (i, j), -blocks)
    np.add.at(values, (i, i), blocks)
    return values


def antiperovskite(halide: int, a: float, repeat: int = 2) -> tuple[Crystal, Crystal]:
    """Cubic Ag3SX: unit cell and its repeat × repeat × repeat supercell."""
    fractional = np.array([[0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5], [0.5, 0.5, 0.5], [0, 0, 0]])
    numbers = np.array([47, 47, 47, 16, halide])
    shifts = np.array(list(np.ndindex(repeat, repeat, repeat)))
    whole = (fractional[:, None] + shifts[None]).reshape(-1, 3) * a
    return (
        Crystal(cell_A=a * np.eye(3), positions_A=fractional * a, numbers=numbers),
        Crystal(cell_A=repeat * a * np.eye(3), positions_A=whole, numbers=np.repeat(numbers, repeat**3)),
    )


@pytest.fixture(scope="session")
def make():
    """Helpers of this folder, by name (the folder's name is not importable)."""
    from types import SimpleNamespace

    return SimpleNamespace(
        phonons_of=phonons_of,
        from_phonopy=from_phonopy,
        emt_phonopy=emt_phonopy,
        real_phonopy=real_phonopy,
        springs=springs,
        antiperovskite=antiperovskite,
    )


@pytest.fixture(scope="session")
def aluminium_phonopy():
    """EMT Al, conventional cell doubled: 32 atoms, replicated from a non-primitive cell."""
    from ase.build import bulk

    return emt_phonopy(bulk("Al", "fcc", a=4.0, cubic=True), np.eye(3) * 2, "F")


@pytest.fixture(scope="session")
def aluminium(aluminium_phonopy) -> Phonons:
    return from_phonopy(aluminium_phonopy)


@pytest.fixture(scope="session")
def silver_salt() -> Phonons:
    """A 40-atom Ag3SBr held by springs: three species, stable."""
    unit, whole = antiperovskite(35, 4.9)
    return phonons_of(
        ForceConstants(
            unitcell=unit,
            supercell_matrix=2 * np.eye(3, dtype=int),
            supercell=whole,
            values_eV_per_A2=springs(whole),
            origin=Origin(room="test"),
        )
    )


@pytest.fixture(scope="session")
def unstable(silver_salt) -> Phonons:
    """The same with the six softest modes turned imaginary."""
    constants = silver_salt.force_constants
    modes = normal_modes(constants.values_eV_per_A2, constants.supercell.masses_amu)
    squares = (modes.frequencies_THz / THZ_PER_SQRT_EV_PER_A2_AMU) ** 2
    squares[:6] *= -1.0
    root = np.sqrt(np.repeat(constants.supercell.masses_amu, 3))
    matrix = (modes.vectors * squares) @ modes.vectors.T * np.outer(root, root)
    size = len(root) // 3
    return phonons_of(replace(constants, values_eV_per_A2=matrix.reshape(size, 3, size, 3).transpose(0, 2, 1, 3)))
