"""Harmonic force constants against phonopy, ASE and central differences made here."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT

from phonograph import units
from phonograph.lattice import normal_modes
from phonograph.phonons import AseForces, CalculatorForces, compute_phonons
from phonograph.phonons.cells import phonopy_atoms
from phonograph.phonons.wave_vectors import commensurate_frequencies

FINE = CalculatorForces(engine="emt", displacement_A=0.01)


def central_differences(crystal, step_A):
    """Φ from ± displacements of every atom along every axis: no symmetry, no library."""
    size = len(crystal)
    values = np.zeros((size, size, 3, 3))
    atoms = Atoms(
        numbers=crystal.numbers, positions=crystal.positions_A, cell=crystal.cell_A, pbc=True, calculator=EMT()
    )
    for j in range(size):
        for axis in range(3):
            forces = []
            for sign in (1, -1):
                atoms.positions = crystal.positions_A
                atoms.positions[j, axis] += sign * step_A
                forces.append(atoms.get_forces())
            values[:, j, :, axis] = -(forces[0] - forces[1]) / (2 * step_A)
    return values


@pytest.mark.parametrize("matrix", [(2, 2, 2), [[1, 1, 0], [-1, 1, 0], [0, 0, 2]], [[2, 0, 0], [1, 1, 0], [0, 0, 1]]])
def test_equal_to_central_differences(aluminium, matrix):
    phonons = compute_phonons(aluminium, FINE, matrix)
    found = phonons.force_constants
    rows = np.diag(matrix) if np.ndim(matrix) == 1 else np.array(matrix)
    np.testing.assert_allclose(found.supercell.cell_A, rows @ aluminium.cell_A, atol=1e-12)
    own = central_differences(found.supercell, 0.01)
    assert np.abs(found.values_eV_per_A2 - own).max() < 1e-3
    expected = normal_modes(own, found.supercell.masses_amu).frequencies_THz
    np.testing.assert_allclose(phonons.frequencies_THz, expected, atol=2e-3)


def test_equal_to_phonopy(aluminium):
    from phonopy import Phonopy

    phonon = Phonopy(phonopy_atoms(aluminium), np.diag([2, 2, 2]), primitive_matrix="F", log_level=0)
    phonon.generate_displacements(distance=0.01)
    forces = []
    for cell in phonon.supercells_with_displacements:
        forces.append(
            Atoms(cell.symbols, positions=cell.positions, cell=cell.cell, pbc=True, calculator=EMT()).get_forces()
        )
    phonon.forces = np.array(forces)
    phonon.produce_force_constants()
    phonon.symmetrize_force_constants()
    ours = compute_phonons(aluminium, FINE, (2, 2, 2))
    points, frequencies = commensurate_frequencies(ours.force_constants)
    phonon.run_qpoints(points)
    # The branch at Γ is a root of a number near zero, so it is compared in squares.
    np.testing.assert_allclose(phonon.qpoints.frequencies**2, frequencies**2, atol=2e-2)


def test_equal_to_ase(primitive_aluminium, tmp_path):
    from ase.phonons import Phonons as AsePhonons

    crystal = primitive_aluminium
    atoms = Atoms(numbers=crystal.numbers, positions=crystal.positions_A, cell=crystal.cell_A, pbc=True)
    theirs = AsePhonons(atoms, EMT(), supercell=(3, 3, 3), delta=0.01, name=str(tmp_path / "ase"), center_refcell=True)
    theirs.run()
    theirs.read(acoustic=True, symmetrize=3)
    ours = compute_phonons(crystal, FINE, (3, 3, 3))
    points, frequencies = commensurate_frequencies(ours.force_constants)
    expected = theirs.band_structure(points) / units.EV_PER_THZ
    away = np.abs(points).max(axis=1) > 1e-6
    np.testing.assert_allclose(frequencies[away], expected[away], rtol=2e-3)


def test_primitive_and_conventional_cells_agree(aluminium, primitive_aluminium):
    conventional = compute_phonons(aluminium, FINE, (2, 2, 2))
    primitive = compute_phonons(primitive_aluminium, FINE, 2 * np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]]))
    assert len(conventional.supercell) == len(primitive.supercell) == 32
    np.testing.assert_allclose(conventional.frequencies_THz, primitive.frequencies_THz, atol=2e-3)
    np.testing.assert_allclose(
        np.sort(conventional.spectrum.frequencies_THz[0]), np.sort(primitive.spectrum.frequencies_THz[0]), atol=2e-3
    )
    assert conventional.spectrum.frequencies_THz.shape[1] == primitive.spectrum.frequencies_THz.shape[1] == 3


def test_commensurate_points_hold_the_modes_of_the_supercell(aluminium, quartic):
    for crystal, source, matrix in (
        (aluminium, FINE, [[1, 1, 0], [-1, 1, 0], [0, 0, 2]]),
        (quartic(1.0, 0.0).crystal, quartic(1.0, 0.0).forces(), (2, 2, 2)),
    ):
        phonons = compute_phonons(crystal, source, matrix)
        _, frequencies = commensurate_frequencies(phonons.force_constants)
        folded = np.sort(frequencies.ravel())
        assert np.abs(folded[:3]).max() < 1e-3
        np.testing.assert_allclose(folded[3:], phonons.frequencies_THz, atol=1e-4)


def test_known_force_constants_are_found(quartic):
    toy = quartic(0.7, 0.0)
    phonons = compute_phonons(toy.crystal, toy.forces(), (2, 2, 2))
    np.testing.assert_allclose(
        phonons.force_constants.values_eV_per_A2, toy.constants(phonons.supercell, 0.7), atol=1e-10
    )
    assert phonons.method == "finite-displacement"
    assert phonons.harmonic is None
    assert phonons.converged is None
    assert phonons.origin.settings["displacement_sensitivity_THz"] < 1e-6
    assert phonons.origin.settings["raw_audit"]["sum_rule_eV_per_A2"] < 1e-10
    assert phonons.warnings == ()


def test_anharmonicity_is_seen_as_sensitivity_to_the_displacement(quartic):
    toy = quartic(0.7, 40.0)
    phonons = compute_phonons(toy.crystal, toy.forces(), (2, 2, 2))
    assert phonons.origin.settings["displacement_sensitivity_THz"] > 0.3
    assert any("when the displacement is 0.1 instead of 0.05 Å" in sentence for sentence in phonons.warnings)


def test_forces_at_rest_are_told_and_subtracted():
    from phonograph.types import Crystal

    a = 3.9
    crystal = Crystal(cell_A=np.diag([a, a, a]), positions_A=[[0, 0, 0], [a / 2, a / 2, 0.46 * a]], numbers=[29, 79])
    phonons = compute_phonons(crystal, CalculatorForces(engine="emt"), (1, 1, 1))
    assert any("forces up to" in sentence for sentence in phonons.warnings)
    assert any("stress" in sentence for sentence in phonons.warnings)
    own = normal_modes(central_differences(crystal, 0.05), crystal.masses_amu).frequencies_THz
    np.testing.assert_allclose(phonons.frequencies_THz, own, atol=0.05)


def test_any_ase_calculator_gives_the_same_numbers(aluminium):
    known = compute_phonons(aluminium, CalculatorForces(engine="emt"), (1, 1, 1))
    brought = compute_phonons(aluminium, AseForces(factory=EMT, name="mine"), (1, 1, 1))
    np.testing.assert_array_equal(known.force_constants.values_eV_per_A2, brought.force_constants.values_eV_per_A2)
    assert brought.origin.settings["forces"]["name"] == "mine"
    assert "factory" not in brought.origin.settings["forces"]


@pytest.mark.parametrize("name", ["NaCl", "SnO2"])
def test_real_dft_forces_by_two_routes(real_data, name):
    from phonograph.files.force_constants import read_force_constants

    given = read_force_constants(real_data / name / "FORCE_SETS")
    phonons = compute_phonons(given.unitcell, force_constants=given)
    folded = np.sort(commensurate_frequencies(given)[1].ravel())
    folded = np.sort(np.delete(folded, np.argsort(np.abs(folded))[:3]))
    np.testing.assert_allclose(phonons.frequencies_THz, folded, rtol=5e-6)
    assert phonons.frequencies_THz[0] > 1
    assert phonons.warnings == ()
