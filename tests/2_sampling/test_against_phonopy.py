"""The sampler's covariance is phonopy's and ASE's, on EMT and on real DFT force constants."""

from __future__ import annotations

import numpy as np
import phonopy
import pytest
from ase.units import Bohr, Rydberg
from numpy.testing import assert_allclose
from phonopy.interface.qe import parse_set_of_forces
from phonopy.structure.atoms import PhonopyAtoms

from phonograph.lattice import covariance, crystal_modes, mode_variance, normal_modes
from phonograph.sampling import ThermalSampler, sample

REAL = ("NaCl", "SnO2", "TiO2-anatase", "Si-QE", "MgO", "Al2O3")


def real_phonopy(make, folder):
    """phonopy object of a DFT calculation in Å and eV; Quantum ESPRESSO's outputs through phonopy's own parser."""
    if (folder / "FORCE_SETS").is_file():
        return make.real_phonopy(folder)
    phonon = phonopy.load(folder / "phonopy_disp.yaml", log_level=0)
    outputs = [str(path) for path in sorted(folder.glob("supercell-*.out"))]
    forces = parse_set_of_forces(len(phonon.supercell), outputs, verbose=False)
    phonon.forces = forces["forces"] if isinstance(forces, dict) else forces
    phonon.produce_force_constants(calculate_full_force_constants=True)
    unit = phonon.unitcell
    in_A = PhonopyAtoms(symbols=unit.symbols, cell=unit.cell * Bohr, scaled_positions=unit.scaled_positions)
    made = phonopy.Phonopy(in_A, phonon.supercell_matrix, phonon.primitive_matrix, log_level=0)
    made.force_constants = phonon.force_constants * Rydberg / Bohr**2
    return made


def phonopy_covariance(phonon, temperature_K: float, statistics: str) -> np.ndarray:
    """phonopy's displacement correlation matrix as (3n, 3n), Å²."""
    from phonopy.phonon.random_displacements import RandomDisplacements

    displacements = RandomDisplacements(
        phonon.supercell, phonon.primitive, phonon.force_constants, dist_func=statistics, cutoff_frequency=0.01
    )
    displacements.run_correlation_matrix(temperature_K)
    size = len(phonon.supercell)
    return displacements.uu.transpose(0, 2, 1, 3).reshape(3 * size, 3 * size)


def assert_same_covariance(found: np.ndarray, expected: np.ndarray) -> None:
    # phonopy's constants mix CODATA sets; they differ from ours by up to 6e-7.
    assert np.abs(found - expected).max() < 1e-6 * np.abs(expected).max()


@pytest.mark.parametrize("statistics", ["quantum", "classical"])
@pytest.mark.parametrize("temperature_K", [1.0, 300.0, 2000.0])
def test_covariance_of_emt_aluminium(make, aluminium_phonopy, temperature_K, statistics):
    sampler = ThermalSampler(temperature_K=temperature_K, statistics=statistics, guard="off")
    found = sampler.moments(make.from_phonopy(aluminium_phonopy)).covariance_A2
    assert_same_covariance(found, phonopy_covariance(aluminium_phonopy, temperature_K, statistics))


@pytest.mark.parametrize(
    "matrix",
    [
        np.diag([2, 3, 1]),
        [[-1, 1, 1], [1, -1, 1], [1, 1, -1]],
        [[2, 1, 0], [0, 2, 1], [1, 0, 2]],
        [[1, 2, 0], [0, 1, 3], [2, 0, 1]],
    ],
    ids=["unequal", "cubic", "skewed", "left-handed or odd"],
)
def test_covariance_of_any_supercell_of_copper(make, matrix):
    from ase.build import bulk

    phonon = make.emt_phonopy(bulk("Cu", "fcc", a=3.6), matrix)
    found = ThermalSampler().moments(make.from_phonopy(phonon)).covariance_A2
    assert_same_covariance(found, phonopy_covariance(phonon, 300.0, "quantum"))


@pytest.mark.parametrize("name", REAL)
def test_covariance_of_real_force_constants(make, real_data, name):
    phonon = real_phonopy(make, real_data / name)
    for temperature_K, statistics in ((0.0, "quantum"), (300.0, "quantum"), (300.0, "classical")):
        sampler = ThermalSampler(temperature_K=temperature_K, statistics=statistics)
        found = sampler.moments(make.from_phonopy(phonon)).covariance_A2
        assert_same_covariance(found, phonopy_covariance(phonon, temperature_K, statistics))


@pytest.mark.parametrize("name", REAL)
def test_thermal_displacement_matrices_of_real_force_constants(make, real_data, name):
    """Second route inside phonopy: the sum over a mesh that equals the commensurate wave vectors of the unit cell."""
    phonon = real_phonopy(make, real_data / name)
    plain = phonopy.Phonopy(phonon.unitcell, phonon.supercell_matrix, np.eye(3), log_level=0)
    plain.force_constants = phonon.force_constants
    mesh = np.diag(np.array(phonon.supercell_matrix))
    assert np.array_equal(np.diag(mesh), phonon.supercell_matrix)
    plain.run_mesh(mesh, with_eigenvectors=True, is_mesh_symmetry=False, is_gamma_center=True)
    plain.run_thermal_displacement_matrices(temperatures=[0.0, 300.0], freq_min=1e-2)
    for row, temperature_K in enumerate((0.0, 300.0)):
        expected = plain.thermal_displacement_matrices.thermal_displacement_matrices[row]
        covariance = ThermalSampler(temperature_K=temperature_K).moments(make.from_phonopy(phonon)).covariance_A2
        for primitive, atom in enumerate(plain.primitive.p2s_map):
            block = covariance[3 * atom : 3 * atom + 3, 3 * atom : 3 * atom + 3]
            xx, yy, zz, yz, xz, xy = np.real(_voigt(expected[primitive]))
            # phonopy's constants mix CODATA sets; they differ from ours by up to 6e-7.
            assert_allclose(block, [[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]], rtol=1e-6, atol=1e-6 * xx)


def _voigt(matrix: np.ndarray) -> np.ndarray:
    matrix = np.asarray(matrix)
    if matrix.shape == (6,):
        return matrix
    return np.array([matrix[0, 0], matrix[1, 1], matrix[2, 2], matrix[1, 2], matrix[0, 2], matrix[0, 1]])


def ase_covariance(values: np.ndarray, masses: np.ndarray, temperature_K: float, quantum: bool) -> np.ndarray:
    """C = Σ d dᵀ over displacements by ASE in which one mode alone has unit amplitude and phase π/2."""
    from ase.md.velocitydistribution import phonon_harmonics

    size = 3 * len(masses)
    flat = values.transpose(0, 2, 1, 3).reshape(size, size)
    covariance = np.zeros((size, size))
    for mode in range(size - 3):
        one = np.arange(size - 3) == mode
        answers = iter([np.where(one, 1.0 - np.exp(-0.5), 0.0), np.full(size - 3, 0.25)])
        moved, _ = phonon_harmonics(
            flat, masses, temperature_K=temperature_K, rng=lambda _, each=answers: next(each), quantum=quantum
        )
        covariance += np.outer(moved.ravel(), moved.ravel())
    return covariance


@pytest.mark.parametrize("quantum", [True, False], ids=["quantum", "classical"])
@pytest.mark.parametrize("name", ["aluminium", "silver_salt"])
def test_covariance_of_ase(request, name, quantum):
    phonons = request.getfixturevalue(name)
    statistics = "quantum" if quantum else "classical"
    found = ThermalSampler(statistics=statistics).moments(phonons).covariance_A2
    expected = ase_covariance(
        phonons.force_constants.values_eV_per_A2, phonons.supercell.masses_amu, 300.0, quantum=quantum
    )
    assert_same_covariance(found, expected)


@pytest.mark.parametrize("name", REAL)
def test_real_force_constants_are_diagonalised_by_wave_vector(make, real_data, name):
    """All of phonopy's examples are invariant under their translations, and both ways give the same covariance."""
    constants = make.from_phonopy(real_phonopy(make, real_data / name)).force_constants
    by_wave = crystal_modes(constants)
    assert by_wave.cells is not None
    whole = normal_modes(constants.values_eV_per_A2, constants.supercell.masses_amu)
    assert_allclose(by_wave.frequencies_THz, whole.frequencies_THz, atol=1e-9)
    found, expected = (covariance(m, mode_variance(m.frequencies_THz, 300.0, "quantum")) for m in (by_wave, whole))
    assert np.abs(found - expected).max() < 1e-10 * np.abs(expected).max()


def test_samples_have_the_covariance_of_phonopy(make, aluminium_phonopy):
    """4,000 samples: every element within 5.5 standard errors (96² / 2 comparisons)."""
    made = sample(make.from_phonopy(aluminium_phonopy), ThermalSampler(), 4000, 11, name="al")
    u = made.displacements_A.reshape(4000, -1)
    expected = phonopy_covariance(aluminium_phonopy, 300.0, "quantum")
    variance = np.diag(expected)
    error = np.sqrt((expected**2 + np.outer(variance, variance)) / 4000)
    assert (np.abs(u.T @ u / 4000 - expected) < 5.5 * error).all()
