"""The Debye-model law: planted springs, the zero-point energy, and Debye's own mean square displacement."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.constants import Boltzmann, angstrom, atomic_mass, h, hbar
from scipy.integrate import quad

from phonograph.errors import ConfigurationError, PhysicsError
from phonograph.sampling import DebyeSampler, ThermalSampler, sample
from phonograph.sampling.debye import model_springs
from phonograph.testing import check_sampler, cubic_antiperovskite
from phonograph.types import Crystal, ForceConstants, Origin


def crystal_of(atoms) -> Crystal:
    return Crystal(cell_A=atoms.cell[:], positions_A=atoms.positions, numbers=atoms.numbers)


@pytest.mark.parametrize("statistics", ["quantum", "classical"])
def test_planted_springs_are_recovered(make, silver_salt, statistics):
    """Phonons of springs 37/r⁴ with their own mean frequency as θ: the same law, and c = 37 is told."""
    crystal = silver_salt.supercell
    constants = ForceConstants(
        unitcell=silver_salt.force_constants.unitcell,
        supercell_matrix=2 * np.eye(3, dtype=int),
        supercell=crystal,
        values_eV_per_A2=37.0 * model_springs(crystal),
        origin=Origin(room="test"),
    )
    planted = make.phonons_of(constants)
    theta = float(planted.frequencies_THz.sum() / 120 * 1e12 * h / Boltzmann / 0.75)
    law = DebyeSampler(debye_temperature_K=theta, statistics=statistics)
    expected = ThermalSampler(statistics=statistics).moments(planted).covariance_A2
    assert_allclose(law.moments(crystal).covariance_A2, expected, atol=1e-10 * np.abs(expected).max())
    assert "c = 37 eV Å²" in sample(crystal, law, 2, 0, name="set").warnings[-1]


def test_springs_are_those_of_the_definition(make, silver_salt):
    """The same sum over pairs by another hand (tests' own springs, at the reach of the model)."""
    crystal = silver_salt.supercell
    reach = 2.0 * (crystal.volume_A3 / 40) ** (1 / 3)
    assert_allclose(model_springs(crystal), make.springs(crystal, reach, 1.0), atol=1e-12)


def test_zero_point_energy_is_nine_eighths_of_k_theta(silver_salt):
    law = DebyeSampler(debye_temperature_K=250.0, temperature_K=0.0)
    found = law.law(silver_salt.supercell).modes.frequencies_THz.sum() * 1e12 * h / 2 / 40
    assert_allclose(found, 9 / 8 * Boltzmann * 250.0, rtol=1e-9)


@pytest.mark.parametrize(("temperature_K", "power", "lowest"), [(0.0, -2 / 3, 0.9), (600.0, -1 / 3, 0.75)])
def test_mean_square_displacement_of_a_monatomic_crystal_is_near_debyes(temperature_K, power, lowest):
    """⟨u²⟩ per axis = (3ħ²/mkθ) [¼ + (T/θ)² ∫ x/(eˣ − 1)], an infinite isotropic continuum.

    A supercell lacks its longest waves, so the value of N atoms falls short by a term in N^(−2/3) (Σ 1/ω) or N^(−1/3)
    (Σ 1/ω²).  Extrapolated from three sizes, aluminium lies below Debye's value, by less than 10 % at 0 K and 25 % at
    600 K; an integration over the Brillouin zone of these springs gives 5 % and 22 %.
    """
    from ase.build import bulk

    theta, mass = 390.0, 26.98 * atomic_mass
    law = DebyeSampler(debye_temperature_K=theta, temperature_K=temperature_K)
    sizes, found = [], []
    for repeat in (2, 3, 4):
        crystal = crystal_of(bulk("Al", "fcc", a=4.05, cubic=True).repeat(repeat))
        sizes.append(len(crystal) ** power)
        found.append(float(np.trace(law.moments(crystal).covariance_A2)) / (3 * len(crystal)))
    thermal = 0.0
    if temperature_K:
        integral, _ = quad(lambda x: x / np.expm1(x), 1e-12, theta / temperature_K)
        thermal = (temperature_K / theta) ** 2 * integral
    debye = 3 * hbar**2 / (mass * Boltzmann * theta) * (0.25 + thermal) / angstrom**2
    extrapolated = np.polyfit(sizes, found, 1)[1]
    assert lowest < extrapolated / debye < 1
    assert found[0] < found[1] < found[2] < debye


def test_heavy_and_light_atoms_move_by_their_masses(silver_salt):
    """At 0 K light atoms move more."""
    variance = DebyeSampler(debye_temperature_K=250.0, temperature_K=0.0).moments(silver_salt.supercell).covariance_A2
    mine = np.diag(variance).reshape(40, 3).mean(axis=1)
    numbers = silver_salt.supercell.numbers
    assert mine[numbers == 16].mean() > mine[numbers == 47].mean()


def test_phonons_at_hand_are_not_used_and_that_is_told(silver_salt):
    law = DebyeSampler(debye_temperature_K=250.0)
    with_phonons = sample(silver_salt, law, 3, 0, name="set")
    without = sample(silver_salt.supercell, law, 3, 0, name="set")
    assert_allclose(with_phonons.displacements_A, without.displacements_A, atol=0)
    assert "not used" in with_phonons.warnings[-1]
    assert "not used" not in without.warnings[-1]
    check_sampler(law, cubic_antiperovskite())


def test_a_cell_that_springs_do_not_hold_is_one_sentence():
    """A chain of three atoms in a wide cell: nothing resists a move across it."""
    chain = Crystal(
        cell_A=np.diag([6.0, 90.0, 90.0]), positions_A=[[0, 0, 0], [2, 0, 0], [4, 0, 0]], numbers=[18, 18, 18]
    )
    with pytest.raises(PhysicsError, match="do not hold the 3 atoms"):
        sample(chain, DebyeSampler(debye_temperature_K=100.0), 1, 0, name="set")


@pytest.mark.parametrize("value", [0.0, -200.0, float("nan")])
def test_a_debye_temperature_that_is_not_positive_is_one_sentence(value):
    with pytest.raises(ConfigurationError, match="debye_temperature_K must be greater than 0"):
        DebyeSampler(debye_temperature_K=value)


def test_a_guard_against_a_temperature_far_too_low(silver_salt):
    with pytest.raises(PhysicsError, match="amplitude_guard_A"):
        sample(silver_salt, DebyeSampler(debye_temperature_K=5.0), 1, 0, name="set")
