"""Reweighting thermal sets: analytic averages of the new law, the effective sample size, and refusal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from phonograph.errors import DataError, PhysicsError
from phonograph.lattice import harmonic_energy, mode_variance
from phonograph.sampling import (
    PaperEq2Sampler,
    SobolSampler,
    Substitution,
    ThermalSampler,
    reweight,
    sample,
)
from phonograph.sampling.draw import in_order
from phonograph.sampling.reweight import expected_share
from phonograph.sampling.soft_modes import mode_law
from phonograph.units import BOLTZMANN_EV_PER_K


def stiffer(phonons, factor: float):
    constants = phonons.force_constants
    return replace(phonons, force_constants=replace(constants, values_eV_per_A2=factor * constants.values_eV_per_A2))


def squares(made) -> np.ndarray:
    """Σ_i u_i² of each sample."""
    return (made.displacements_A**2).reshape(len(made), -1).sum(axis=1)


@pytest.fixture(scope="module")
def thermal(silver_salt):
    return sample(silver_salt, ThermalSampler(temperature_K=300.0), 4000, 3, name="thermal")


@pytest.mark.parametrize(("temperature", "factor"), [(310.0, 1.0), (285.0, 1.0), (300.0, 1.05), (305.0, 0.97)])
def test_averages_of_the_new_law(silver_salt, thermal, temperature, factor):
    """⟨Σu²⟩ and ⟨V⟩ of other temperatures and force constants are the analytic ones; unweighted they are not."""
    to = stiffer(silver_salt, factor)
    found = reweight(thermal, silver_salt, to, temperature_K=temperature)
    law = ThermalSampler(temperature_K=temperature)
    constants = to.force_constants.values_eV_per_A2
    energies = harmonic_energy(constants, thermal.displacements_A.reshape(4000, 40, 3))
    covariance = law.moments(to).covariance_A2
    matrix = constants.transpose(0, 2, 1, 3).reshape(120, 120)
    for values, exact in (
        (squares(thermal), np.trace(covariance)),
        (energies, 0.5 * np.trace(matrix @ covariance)),
    ):
        average = found.mean(values)
        assert abs(average.mean - exact) < 4 * average.standard_error
        # A sharp test: the change is many error bars.
        assert abs(np.mean(values) - exact) > 6 * average.standard_error
    assert found.weights.sum() == pytest.approx(1)


def test_parts_of_other_temperatures_keep_their_norm(silver_salt, thermal):
    """⟨ρ_to/ρ_made_with⟩ = 1 over the samples of each temperature, so parts of equal size have equal weights in all."""
    warmer = sample(silver_salt, ThermalSampler(temperature_K=320.0), 4000, 4, name="warmer")
    both = in_order([thermal, warmer], np.arange(8000))
    found = reweight(both, silver_salt, silver_salt, temperature_K=310.0)
    for part in (found.weights[:4000], found.weights[4000:]):
        assert part.sum() == pytest.approx(0.5, abs=4 * 4000**0.5 * part.std() + 1e-9)
    assert 4 * 4000**0.5 * found.weights.std() < 0.1


def test_identity_gives_equal_weights(silver_salt, thermal):
    found = reweight(thermal, silver_salt, silver_salt, temperature_K=300.0)
    assert_allclose(found.weights, 1 / 4000, rtol=1e-9)
    assert found.effective_samples == pytest.approx(4000)
    assert found.effective_share == pytest.approx(1)
    assert found.expected_share == pytest.approx(1)
    assert found.warnings == ()


def test_error_bars_of_the_weighted_mean(silver_salt):
    """Over 150 sets the z-scores of the weighted mean have mean 0 and variance 1."""
    exact = np.trace(ThermalSampler(temperature_K=320.0).moments(silver_salt).covariance_A2)
    scores = []
    for seed in range(150):
        made = sample(silver_salt, ThermalSampler(temperature_K=300.0, antithetic=True), 400, seed, name="t")
        average = reweight(made, silver_salt, silver_salt, temperature_K=320.0).mean(squares(made))
        scores.append((average.mean - exact) / average.standard_error)
    assert abs(np.mean(scores)) < 4 / np.sqrt(150)
    assert 0.7 < np.var(scores) < 1.5


def test_effective_sample_size_is_the_analytic_one(silver_salt, thermal):
    """Gaussians of different variance: ESS/n → Π √(λ(2 − λ)), λ = σ²_to/σ²_made_with of each mode."""
    frequencies = silver_salt.frequencies_THz
    for temperature in (310.0, 330.0, 280.0):
        ratios = mode_variance(frequencies, temperature, "quantum") / mode_variance(frequencies, 300.0, "quantum")
        analytic = np.prod(np.sqrt(ratios * (2 - ratios)))
        found = reweight(thermal, silver_salt, silver_salt, temperature_K=temperature)
        assert found.expected_share == pytest.approx(analytic, rel=1e-6)
        assert found.effective_share == pytest.approx(analytic, rel=0.15)


def test_expected_share_does_not_need_common_modes(silver_salt):
    """The generalised eigenvalues of the two covariances, for force constants that do not commute."""
    constants = silver_salt.force_constants
    factors = np.where(constants.supercell.numbers == 47, 1.08, 1.0)
    other = replace(
        silver_salt,
        force_constants=replace(
            constants,
            values_eV_per_A2=constants.values_eV_per_A2 * np.sqrt(np.outer(factors, factors))[:, :, None, None],
        ),
    )
    laws = [mode_law(item, ThermalSampler()) for item in (silver_salt, other)]
    first, second = (ThermalSampler().moments(item).covariance_A2 for item in (silver_salt, other))
    root = np.sqrt(np.repeat(constants.supercell.masses_amu, 3))
    basis = laws[0].modes.vectors
    a, b = (basis.T @ (matrix * np.outer(root, root)) @ basis for matrix in (first, second))
    ratios = np.linalg.eigvals(np.linalg.solve(a, b)).real
    assert expected_share(*laws) == pytest.approx(np.prod(np.sqrt(ratios * (2 - ratios))), rel=1e-6)


def test_several_temperatures_and_quasirandom_draws(silver_salt):
    made = sample(silver_salt, SobolSampler(temperature_K=300.0), 512, 1, name="sobol")
    found = reweight(made, silver_salt, silver_salt, temperature_K=310.0)
    exact = np.trace(ThermalSampler(temperature_K=310.0).moments(silver_salt).covariance_A2)
    assert abs(found.mean(squares(made)).mean - exact) < 4 * found.mean(squares(made)).standard_error


def test_from_quantum_to_classical(silver_salt, thermal):
    """At 300 K these vibrations are nearly classical: ⟨V⟩ becomes kT/2 per mode."""
    found = reweight(thermal, silver_salt, silver_salt, temperature_K=300.0, statistics="classical")
    values = silver_salt.force_constants.values_eV_per_A2
    average = found.mean(harmonic_energy(values, thermal.displacements_A.reshape(4000, 40, 3)))
    assert abs(average.mean - 117 * 0.5 * BOLTZMANN_EV_PER_K * 300.0) < 4 * average.standard_error


def test_collapse_is_refused_and_reported(silver_salt, thermal):
    with pytest.raises(PhysicsError, match=r"the weights collapse: 4000 samples of set 'thermal' are worth \d+.*900 K"):
        reweight(thermal, silver_salt, silver_salt, temperature_K=900.0)
    found = reweight(
        thermal,
        silver_salt,
        silver_salt,
        temperature_K=700.0,
        minimum_effective_share=0.0,
        minimum_effective_samples=1.0,
    )
    assert found.expected_share == 0.0
    assert "no finite variance" in found.warnings[-1]
    with pytest.raises(PhysicsError, match="fewer than the 10 required"):
        reweight(thermal.first(9), silver_salt, silver_salt, temperature_K=301.0)


def test_wrong_sets_are_one_sentence(silver_salt, unstable, thermal):
    eq2 = sample(silver_salt, PaperEq2Sampler(), 8, 1, name="eq2")
    with pytest.raises(DataError, match="no Gaussian law to reweight from"):
        reweight(eq2, silver_salt, silver_salt, temperature_K=300.0)
    with pytest.raises(DataError, match="was not sampled from the phonons given as made_with"):
        reweight(thermal, stiffer(silver_salt, 1.01), silver_salt, temperature_K=300.0)
    mixed = sample(
        silver_salt, ThermalSampler(), 3, 1, name="mix", composition=Substitution(replace="Br", by="I", lattice="fixed")
    )
    with pytest.raises(DataError, match="solid solutions cannot be reweighted"):
        reweight(mixed, silver_salt, silver_salt, temperature_K=300.0)
    with pytest.raises(PhysicsError, match="imaginary"):
        reweight(thermal, silver_salt, unstable, temperature_K=300.0)
    frozen = sample(unstable, ThermalSampler(soft_modes="freeze"), 50, 1, name="frozen")
    with pytest.raises(PhysicsError, match="frozen modes have no density"):
        reweight(frozen, unstable, silver_salt, temperature_K=300.0)


def test_another_crystal_is_refused(silver_salt, thermal):
    constants = silver_salt.force_constants
    crystal = constants.supercell
    larger = replace(crystal, cell_A=1.01 * crystal.cell_A, positions_A=1.01 * crystal.positions_A)
    heavier = replace(crystal, masses_amu=1.01 * crystal.masses_amu)
    for other, words in ((larger, "same lattice and sites"), (heavier, "same atoms and masses")):
        to = replace(silver_salt, force_constants=replace(constants, supercell=other))
        with pytest.raises(DataError, match=words):
            reweight(thermal, silver_salt, to, temperature_K=300.0)
