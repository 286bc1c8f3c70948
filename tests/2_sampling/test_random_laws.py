"""Eqs. 2 and 3 of the paper, read literally, and the matched control."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import kstest

from phonograph.errors import ConfigurationError, DataError, PhysicsError
from phonograph.sampling import (
    MatchedRandomSampler,
    PaperCodeSampler,
    PaperEq2Sampler,
    PaperEq3Sampler,
    ThermalSampler,
    sample,
)


def coordinates(made) -> np.ndarray:
    return made.displacements_A.reshape(len(made), -1)


def bloch_zeta_squared(phonon, temperature_K: float) -> np.ndarray:
    """Eq. 3's double sum Σ_{q,ν} with phonopy's q, ω, e: (atoms of the primitive cell, 3), without 1/N, in Å²."""
    from phonopy.harmonic.dynmat_to_fc import get_commensurate_points
    from scipy.constants import Boltzmann, angstrom, atomic_mass, hbar

    matrix = np.linalg.inv(phonon.primitive.cell).T @ phonon.supercell.cell.T
    total = np.zeros(3 * len(phonon.primitive))
    for q in get_commensurate_points(np.rint(matrix).astype(int)):
        phonon.dynamical_matrix.run(q)
        squares, vectors = np.linalg.eigh(phonon.dynamical_matrix.dynamical_matrix)
        from phonopy.physical_units import get_physical_units

        omega = np.sqrt(np.abs(squares)) * get_physical_units().DefaultToTHz * 2e12 * np.pi
        keep = omega > 2e12 * np.pi * 1e-2
        weight = 1 / np.tanh(hbar * omega[keep] / (2 * Boltzmann * temperature_K)) / omega[keep]
        total += (np.abs(vectors[:, keep]) ** 2) @ weight
    masses = np.repeat(phonon.primitive.masses, 3) * atomic_mass
    return (hbar / (2 * masses) * total / angstrom**2).reshape(-1, 3)


def test_eq3_is_the_printed_sum_over_wave_vectors(make, aluminium_phonopy):
    """N = cells and N = atoms against the double sum over q and ν of the primitive cell."""
    phonons = make.from_phonopy(aluminium_phonopy)
    total = bloch_zeta_squared(aluminium_phonopy, 300.0)[0]
    cells = len(phonons.supercell)  # one atom per primitive cell
    found = PaperEq3Sampler(epsilon="normal").moments(phonons).covariance_A2
    assert_allclose(found.reshape(-1, 3), np.tile(total / cells, (32, 1)), rtol=1e-6)
    # Here the conventional cell of 4 atoms was replicated 8 times.
    printed = PaperEq3Sampler(epsilon="normal", count="atoms").moments(phonons).covariance_A2
    assert_allclose(printed, found * 8 / 4, rtol=1e-12)


def test_eq3_by_atoms_is_stated(silver_salt):
    made = sample(silver_salt, PaperEq3Sampler(count="atoms"), 2, 0, name="eq3")
    counted = "N counts atoms of the unit cell (5) instead of cells (8): every variance is multiplied by 1.6"
    assert counted in made.warnings[1]


def test_eq3_energy_against_mode_sampling(make, aluminium):
    """The measured excess of EMT aluminium at 300 K, 32 atoms: 1.35 for normal ε, a third of it for U[−1, 1]."""
    for epsilon, expected in (("normal", 1.35), ("uniform", 0.45)):
        made = sample(aluminium, PaperEq3Sampler(epsilon=epsilon), 2, 0, name="eq3")
        ratio = float(made.warnings[0].split(" times")[0].split()[-1])
        assert abs(ratio - expected) < 0.02


@pytest.mark.parametrize(("epsilon", "law"), [("uniform", ("uniform", (-1, 2))), ("normal", ("norm", (0, 1)))])
def test_eq3_draws_have_their_law_and_are_independent(silver_salt, epsilon, law):
    sampler = PaperEq3Sampler(epsilon=epsilon)
    u = coordinates(sample(silver_salt, sampler, 3000, 7, name="eq3"))
    zeta = np.sqrt(np.diag(ThermalSampler().moments(silver_salt).covariance_A2))
    draws = u / zeta
    for coordinate in (0, 50, 119):
        assert kstest(draws[:, coordinate], law[0], args=law[1]).pvalue > 1e-3
    correlation = np.corrcoef(draws.T) - np.eye(120)
    assert np.abs(correlation).max() < 5.5 / np.sqrt(3000)


def test_eq3_soft_modes_follow_the_same_policies(unstable):
    with pytest.raises(PhysicsError, match="renormalise"):
        sample(unstable, PaperEq3Sampler(), 2, 0, name="eq3")
    assert "frozen" in sample(unstable, PaperEq3Sampler(soft_modes="freeze"), 2, 0, name="eq3").warnings[0]


def test_eq2_amplitudes_take_turns(silver_salt):
    amplitudes = (0.1, 0.4, 0.8)
    made = sample(silver_salt.supercell, PaperEq2Sampler(amplitudes_A=amplitudes), 6, 3, name="random")
    assert_array_equal(made.amplitude_A, [0.1, 0.4, 0.8, 0.1, 0.4, 0.8])
    assert made.warnings == ()
    largest = np.abs(coordinates(made)).max(axis=1)
    assert (largest <= made.amplitude_A).all()
    assert (largest > 0.9 * made.amplitude_A).all()
    uneven = sample(silver_salt.supercell, PaperEq2Sampler(amplitudes_A=amplitudes), 4, 3, name="random")
    assert "not a multiple of the 3 amplitudes" in uneven.warnings[0]
    assert np.isnan(made.temperature_K).all()


@pytest.mark.parametrize(
    ("law", "low", "mean", "variance"),
    [(PaperEq2Sampler, -0.6, 0.0, 0.36 / 3), (PaperCodeSampler, 0.0, 0.3, 0.36 / 12)],
)
def test_uniform_laws(silver_salt, law, low, mean, variance):
    u = coordinates(sample(silver_salt.supercell, law(amplitudes_A=(0.6,)), 500, 3, name="r"))
    assert kstest(u.ravel(), "uniform", args=(low, 0.6 - low)).pvalue > 1e-3
    assert abs(u.mean() - mean) < 5 * np.sqrt(variance / u.size)
    assert abs(u.var() / variance - 1) < 5 * np.sqrt(0.8 / u.size)


@pytest.mark.parametrize(
    "sampler",
    [
        PaperEq2Sampler(),
        PaperEq3Sampler(),
        PaperEq3Sampler(epsilon="normal"),
        MatchedRandomSampler(rms_A=(("Ag", 0.2), ("S", 0.1), ("Br", 0.15))),
    ],
)
def test_prefix_property(silver_salt, sampler):
    long = coordinates(sample(silver_salt, sampler, 130, 1, name="a"))
    assert_array_equal(coordinates(sample(silver_salt, sampler, 17, 1, name="b")), long[:17])
    assert_array_equal(coordinates(sampler.sample_at(silver_salt, [99, 5], 1)), long[[99, 5]])


@pytest.mark.parametrize("law", ["normal", "uniform"])
def test_matched_set_has_the_rms_of_its_target(silver_salt, law):
    thermal = sample(silver_salt, ThermalSampler(), 300, 1, name="phonon")
    sampler = MatchedRandomSampler(law=law).matched_to(thermal, "phonon")
    assert sampler.match == "phonon"
    made = sample(silver_salt.supercell, sampler, 2000, 2, name="matched")
    for symbol, target in sampler.rms_A:
        number = {"Ag": 47, "S": 16, "Br": 35}[symbol]
        mine = made.displacements_A[made.numbers == number]
        own = np.sqrt((thermal.displacements_A[thermal.numbers == number] ** 2).mean())
        assert_allclose(target, own, rtol=1e-9)  # a thermal set has no rigid drift to remove
        assert abs(np.sqrt((mine**2).mean()) / target - 1) < 5 * np.sqrt(0.5 / mine.size)
    name, args = ("norm", (0, 1)) if law == "normal" else ("uniform", (-np.sqrt(3), 2 * np.sqrt(3)))
    silver = made.displacements_A[made.numbers == 47].ravel() / dict(sampler.rms_A)["Ag"]
    assert kstest(silver, name, args=args).pvalue > 1e-3


def test_rigid_drift_is_removed_before_matching(silver_salt):
    """A one-sided set is a symmetric one of half the amplitude about a rigid shift."""
    crystal = silver_salt.supercell
    shifted = sample(crystal, PaperCodeSampler(amplitudes_A=(0.8,)), 400, 1, name="shifted")
    for _, rms in MatchedRandomSampler().matched_to(shifted).rms_A:
        assert abs(rms / (0.8 / np.sqrt(12)) - 1) < 0.03


def test_matched_without_a_target_is_one_sentence(silver_salt):
    with pytest.raises(ConfigurationError, match="no species but not for Ag, Br, S; take them from a set"):
        sample(silver_salt, MatchedRandomSampler(match="phonon"), 2, 0, name="matched")


def test_matching_needs_displacements(silver_salt):
    from dataclasses import replace

    made = sample(silver_salt, ThermalSampler(), 2, 0, name="phonon")
    foreign = replace(made, displacements_A=np.full_like(made.displacements_A, np.nan))
    with pytest.raises(DataError, match="without known displacements"):
        MatchedRandomSampler().matched_to(foreign)


@pytest.mark.parametrize(
    ("law", "options"),
    [
        (PaperEq2Sampler, {"amplitudes_A": ()}),
        (PaperEq2Sampler, {"amplitudes_A": (0.1, -0.2)}),
        (PaperCodeSampler, {"amplitudes_A": (11.0,)}),
        (MatchedRandomSampler, {"rms_A": (("Ag", -0.1),)}),
        (MatchedRandomSampler, {"rms_A": (("Ag", float("nan")),)}),
        (MatchedRandomSampler, {"law": "cauchy"}),
        (PaperEq3Sampler, {"epsilon": "gauss"}),
        (PaperEq3Sampler, {"count": "q"}),
    ],
)
def test_impossible_options_are_refused(law, options):
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        law(**options)
