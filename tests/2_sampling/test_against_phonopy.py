"""The sampler's covariance is phonopy's, on EMT and on real DFT force constants."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from phonograph.sampling import ThermalSampler, sample

REAL = ("NaCl", "SnO2", "TiO2-anatase", "MgO", "Al2O3")


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
    phonon = make.real_phonopy(real_data / name)
    for temperature_K, statistics in ((0.0, "quantum"), (300.0, "quantum"), (300.0, "classical")):
        sampler = ThermalSampler(temperature_K=temperature_K, statistics=statistics)
        found = sampler.moments(make.from_phonopy(phonon)).covariance_A2
        assert_same_covariance(found, phonopy_covariance(phonon, temperature_K, statistics))


def test_thermal_displacement_matrices_of_tin_oxide(make, real_data):
    """Second route inside phonopy: the sum over a mesh that equals the commensurate wave vectors."""
    phonon = make.real_phonopy(real_data / "SnO2")
    mesh = np.diag(np.array(phonon.supercell_matrix))
    phonon.run_mesh(mesh, with_eigenvectors=True, is_mesh_symmetry=False, is_gamma_center=True)
    phonon.run_thermal_displacement_matrices(t_min=300, t_max=300, t_step=1, freq_min=1e-2)
    expected = phonon.thermal_displacement_matrices.thermal_displacement_matrices[0]
    covariance = ThermalSampler().moments(make.from_phonopy(phonon)).covariance_A2
    for primitive, atom in enumerate(phonon.primitive.p2s_map):
        block = covariance[3 * atom : 3 * atom + 3, 3 * atom : 3 * atom + 3]
        xx, yy, zz, yz, xz, xy = np.real(_voigt(expected[primitive]))
        assert_allclose(block, [[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]], rtol=1e-6, atol=1e-9)


def _voigt(matrix: np.ndarray) -> np.ndarray:
    matrix = np.asarray(matrix)
    if matrix.shape == (6,):
        return matrix
    return np.array([matrix[0, 0], matrix[1, 1], matrix[2, 2], matrix[1, 2], matrix[0, 2], matrix[0, 1]])


def test_samples_have_the_covariance_of_phonopy(make, aluminium_phonopy):
    """4,000 samples: every element within 5.5 standard errors (96² / 2 comparisons)."""
    made = sample(make.from_phonopy(aluminium_phonopy), ThermalSampler(), 4000, 11, name="al")
    u = made.displacements_A.reshape(4000, -1)
    expected = phonopy_covariance(aluminium_phonopy, 300.0, "quantum")
    variance = np.diag(expected)
    error = np.sqrt((expected**2 + np.outer(variance, variance)) / 4000)
    assert (np.abs(u.T @ u / 4000 - expected) < 5.5 * error).all()
