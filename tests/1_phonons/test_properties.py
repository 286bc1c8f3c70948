"""Density of states, thermodynamics and thermal displacements: phonopy, formulas, limits, and the sampler's law."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from phonopy import Phonopy
from phonopy.physical_units import get_physical_units

from phonograph.errors import ConfigurationError
from phonograph.files.force_constants import read_force_constants
from phonograph.lattice import covariance, free_energy, mode_variance, normal_modes
from phonograph.phonons import CalculatorForces, compute_phonons
from phonograph.phonons.cells import phonopy_atoms, phonopy_of
from phonograph.phonons.harmonic import supercell_of
from phonograph.phonons.properties import TEMPERATURES_K, phonon_properties, properties_warnings
from phonograph.types import Crystal, ForceConstants, Origin
from phonograph.units import BOLTZMANN_EV_PER_K, EV_PER_THZ

REAL = ("NaCl", "SnO2", "MgO", "Al2O3", "TiO2-anatase")
T = (0.0, 50.0, 300.0, 1000.0)


def toy_constants(toy, matrix=(2, 2, 2)) -> ForceConstants:
    supercell = supercell_of(toy.crystal, np.diag(matrix))
    return ForceConstants(
        unitcell=toy.crystal,
        supercell_matrix=np.diag(matrix),
        supercell=supercell,
        values_eV_per_A2=toy.constants(supercell, toy.k),
        origin=Origin(room="test"),
    )


def same_temperatures() -> list[float]:
    """Temperatures at which phonopy's kT/hν is ours: its constants are older, and exponentials amplify 6e-7."""
    theirs = get_physical_units()
    return [t * (BOLTZMANN_EV_PER_K / theirs.KB) * (theirs.THzToEv / EV_PER_THZ) for t in T]


def theirs_of(constants: ForceConstants, mesh) -> Phonopy:
    """phonopy itself, on the whole mesh without symmetry."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # phonopy remarks on its primitive cell and on the symmetry of the supercell
        phonon = Phonopy(
            phonopy_atoms(constants.unitcell),
            supercell_matrix=constants.supercell_matrix.T,
            primitive_matrix="auto",
            log_level=0,
        )
    phonon.force_constants = np.array(constants.values_eV_per_A2)
    phonon.run_mesh(mesh, is_mesh_symmetry=False, with_eigenvectors=True, is_gamma_center=True)
    return phonon


@pytest.mark.parametrize(
    ("name", "mesh"),
    [("NaCl", (6, 6, 6)), ("SnO2", (4, 4, 6)), ("MgO", (5, 5, 5)), ("Al2O3", (4, 4, 4)), ("TiO2-anatase", (4, 4, 4))],
)
def test_agrees_with_phonopy_on_dft_force_constants(real_data, name, mesh):
    constants = read_force_constants(real_data / name / "FORCE_SETS")
    ours = phonon_properties(constants, T, mesh)
    assert ours.mesh == mesh
    phonon = theirs_of(constants, mesh)
    phonon.run_thermal_properties(temperatures=same_temperatures(), exclude_gamma_acoustic=True)
    thermal = phonon.thermal_properties
    molar = get_physical_units().EvTokJmol
    np.testing.assert_allclose(ours.free_energy_eV, thermal.free_energy / molar, rtol=1e-6)
    np.testing.assert_allclose(ours.entropy_eV_per_K, thermal.entropy / molar / 1000, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(ours.heat_capacity_eV_per_K, thermal.heat_capacity / molar / 1000, rtol=1e-6, atol=1e-12)
    phonon.run_thermal_displacement_matrices(temperatures=same_temperatures(), freq_min=1e-3)
    matrices = phonon.thermal_displacement_matrices.thermal_displacement_matrices
    scale = np.abs(matrices).max(axis=(1, 2, 3), keepdims=True)
    np.testing.assert_allclose(ours.displacement_A2 / scale, np.real(matrices) / scale, rtol=1e-6, atol=1e-7)
    assert ours.displacement_symbols == tuple(phonon.primitive.symbols)


def test_density_of_states_agrees_with_phonopy(real_data):
    constants = read_force_constants(real_data / "NaCl" / "FORCE_SETS")
    ours = phonon_properties(constants, T, (8, 8, 8))
    phonon = theirs_of(constants, (8, 8, 8))
    width = ours.dos_THz[1] - ours.dos_THz[0]
    phonon.run_projected_dos(freq_min=0.0, freq_max=9.0, freq_pitch=width / 8, use_tetrahedron_method=True)
    fine = phonon.projected_dos
    points = np.asarray(fine.frequency_points)
    for place, symbol in enumerate(ours.species):
        # Their curve at many points, averaged over each of our bins.
        atom = ours.displacement_symbols.index(symbol)
        running = np.concatenate([[0.0], np.cumsum(fine.projected_dos[atom][1:] + fine.projected_dos[atom][:-1])])
        running *= 0.5 * (points[1] - points[0])
        ends = np.interp(ours.dos_THz + width / 2, points, running) - np.interp(
            ours.dos_THz - width / 2, points, running
        )
        np.testing.assert_allclose(ours.species_dos_per_THz[place], ends / width, atol=0.02)


@pytest.mark.parametrize("name", REAL)
def test_the_density_of_states_counts_every_mode(real_data, name):
    found = phonon_properties(read_force_constants(real_data / name / "FORCE_SETS"), (0.0,), 30.0)
    width = found.dos_THz[1] - found.dos_THz[0]
    assert found.dos_per_THz.sum() * width == pytest.approx(3 * found.atoms, rel=1e-9)
    np.testing.assert_allclose(found.species_dos_per_THz.sum(axis=0), found.dos_per_THz, atol=1e-12)
    for place, symbol in enumerate(found.species):
        own = 3 * found.displacement_symbols.count(symbol)
        assert found.species_dos_per_THz[place].sum() * width == pytest.approx(own, rel=1e-9)
    # Its first moment is the zero-point energy, which the mesh gives without tetrahedra.
    zero_point = 0.5 * EV_PER_THZ * (found.dos_per_THz * found.dos_THz).sum() * width
    assert zero_point == pytest.approx(found.free_energy_eV[0], rel=0.02)


def test_the_formulas_on_the_mesh_give_the_same(quartic):
    """Frequencies of the mesh one by one, by phonopy; the sums by another function of this library, and by hand."""
    constants = toy_constants(quartic(1.0, 0.0))
    found = phonon_properties(constants, T, (4, 4, 4))
    phonon = phonopy_of(constants.unitcell, constants.supercell_matrix)
    phonon.force_constants = np.array(constants.values_eV_per_A2)
    q = np.stack(np.meshgrid(*[np.arange(4) / 4] * 3), axis=-1).reshape(-1, 3)
    phonon.run_qpoints(q)
    frequencies = np.sort(phonon.qpoints.frequencies.ravel())[3:]
    for place, temperature in enumerate(T):
        expected = free_energy(frequencies, temperature, "quantum") / 64
        assert found.free_energy_eV[place] == pytest.approx(expected, rel=1e-9)
    # S = −dF/dT and C = T dS/dT by differences.
    near = phonon_properties(constants, (299.9, 300.0, 300.1), (4, 4, 4))
    slope = (near.free_energy_eV[2] - near.free_energy_eV[0]) / 0.2
    assert near.entropy_eV_per_K[1] == pytest.approx(-slope, rel=1e-6)
    slope = (near.entropy_eV_per_K[2] - near.entropy_eV_per_K[0]) / 0.2
    assert near.heat_capacity_eV_per_K[1] == pytest.approx(300.0 * slope, rel=1e-6)


def test_limits_of_low_and_high_temperature(quartic):
    found = phonon_properties(toy_constants(quartic(1.0, 0.0)), (0.0, 1.0, 1e5), (4, 4, 4))
    modes = 3 * found.atoms * (1 - found.left_out)
    assert found.heat_capacity_eV_per_K[2] == pytest.approx(modes * BOLTZMANN_EV_PER_K, rel=1e-6)
    assert found.entropy_eV_per_K[0] == 0.0
    assert found.heat_capacity_eV_per_K[0] == 0.0
    assert found.free_energy_eV[1] == pytest.approx(found.free_energy_eV[0], rel=1e-6)
    assert 0 < found.heat_capacity_eV_per_K[1] < 1e-3 * BOLTZMANN_EV_PER_K
    np.testing.assert_allclose(found.displacement_A2[0], found.displacement_A2[1], rtol=1e-3)


def test_a_mesh_of_the_commensurate_points_gives_the_law_of_the_sampler(quartic):
    """The 2×2×2 mesh of a primitive unit cell is what its 2×2×2 supercell shows: the same covariance per atom."""
    constants = toy_constants(quartic(1.0, 0.0))
    found = phonon_properties(constants, (0.0, 300.0), (2, 2, 2))
    modes = normal_modes(constants.values_eV_per_A2, constants.supercell.masses_amu)
    for place, temperature in enumerate((0.0, 300.0)):
        full = covariance(modes, mode_variance(modes.frequencies_THz, temperature, "quantum")).reshape(16, 3, 16, 3)
        for atom, symbol in enumerate(found.displacement_symbols):
            index = constants.supercell.symbols.index(symbol)
            np.testing.assert_allclose(found.displacement_A2[place, atom], full[index, :, index], rtol=1e-6, atol=1e-12)


def test_a_supercell_that_breaks_the_symmetry_is_summed_without_it(aluminium):
    phonons = compute_phonons(aluminium, CalculatorForces(engine="emt"), [[1, 1, 0], [-1, 1, 0], [0, 0, 2]])
    found = phonon_properties(phonons.force_constants, T, (4, 4, 4))
    phonon = theirs_of(phonons.force_constants, (4, 4, 4))
    phonon.run_thermal_properties(temperatures=same_temperatures(), exclude_gamma_acoustic=True)
    np.testing.assert_allclose(
        found.free_energy_eV, phonon.thermal_properties.free_energy / get_physical_units().EvTokJmol, rtol=1e-6
    )
    moves = found.displacement_A2[2, 0]
    assert np.abs(moves - moves[0, 0] * np.eye(3)).max() > 1e-4 * moves[0, 0]


def test_a_flat_band_is_one_bin(quartic):
    """Atoms on springs of their own (an Einstein crystal): all 3n modes at one frequency."""
    toy = quartic(1.0, 0.0)
    constants = toy_constants(toy)
    values = np.zeros_like(constants.values_eV_per_A2)
    masses = constants.supercell.masses_amu
    values[np.arange(16), np.arange(16)] = masses[:, None, None] * np.eye(3) * 0.05
    found = phonon_properties(replace(constants, values_eV_per_A2=values), (300.0,), (4, 4, 4))
    width = found.dos_THz[1] - found.dos_THz[0]
    assert np.sort(found.dos_per_THz * width)[-1] == pytest.approx(6.0, rel=1e-6)


def test_imaginary_modes_are_left_out_and_told(quartic):
    toy = quartic(-0.3, 0.0)
    constants = toy_constants(toy)
    found = phonon_properties(constants, T, (2, 2, 2))
    assert found.left_out == 1.0
    assert (found.free_energy_eV == 0).all()
    (sentence,) = properties_warnings(found, "harmonic phonons")
    assert "imaginary or zero" in sentence
    assert "94 % of the modes on the 2×2×2 mesh" in sentence
    good = phonon_properties(toy_constants(quartic(1.0, 0.0)), T, (2, 2, 2))
    assert good.left_out == pytest.approx(3 / 48)
    assert properties_warnings(good, "harmonic phonons") == ()


def test_defaults(quartic):
    found = phonon_properties(toy_constants(quartic(1.0, 0.0)))
    assert tuple(found.temperatures_K) == TEMPERATURES_K
    assert {0.0, 300.0, 1000.0} <= set(TEMPERATURES_K)
    assert found.mesh == (25, 25, 25)
    np.testing.assert_allclose(found.displacement_A2[6, 0], found.displacement_A2[6, 0, 0, 0] * np.eye(3), atol=1e-12)


def test_large_primitive_cells_get_a_coarser_mesh():
    """Forty atoms without symmetry: the work stays bounded."""
    generator = np.random.default_rng(0)
    crystal = Crystal(
        cell_A=np.diag([9.0, 10.0, 11.0]),
        positions_A=generator.uniform(0, 9, (40, 3)),
        numbers=generator.permutation(40) + 1,
    )
    noise = generator.standard_normal((120, 120))
    values = (noise @ noise.T).reshape(40, 3, 40, 3).transpose(0, 2, 1, 3)
    constants = ForceConstants(
        unitcell=crystal,
        supercell_matrix=np.eye(3),
        supercell=crystal,
        values_eV_per_A2=values,
        origin=Origin(room="test"),
    )
    found = phonon_properties(constants, (300.0,))
    assert 2 <= min(found.mesh)
    assert np.prod(found.mesh) * 120 < 15_000


@pytest.mark.parametrize("temperatures", [(-1.0,), (), (float("nan"),)])
def test_bad_temperatures_are_refused(quartic, temperatures):
    with pytest.raises(ConfigurationError, match="at least 0 K"):
        phonon_properties(toy_constants(quartic(1.0, 0.0)), temperatures)


@pytest.mark.parametrize("mesh", [0.0, (2, 2), (0, 2, 2), float("nan")])
def test_bad_meshes_are_refused(quartic, mesh):
    with pytest.raises(ConfigurationError, match="mesh must be"):
        phonon_properties(toy_constants(quartic(1.0, 0.0)), T, mesh)
