"""The self-consistent loop against a potential whose solution is known, and its parts one by one."""

from __future__ import annotations

import numpy as np
import pytest

from phonograph.errors import ConfigurationError
from phonograph.lattice import covariance, mode_variance, normal_modes
from phonograph.phonons import CalculatorForces, Renormalisation, compute_phonons
from phonograph.phonons.evaluate import ForceField
from phonograph.phonons.fit import SymmetricFit, blocks_of_pairs, free_directions, jackknife_frequencies
from phonograph.phonons.harmonic import supercell_of
from phonograph.phonons.law import thermal_law
from phonograph.phonons.renormalise import balance_weights, renormalise
from phonograph.streams import stream
from phonograph.types import Crystal


@pytest.mark.parametrize(
    ("k", "strength", "temperature_K", "statistics"),
    [
        (1.0, 20.0, 300.0, "classical"),
        (1.0, 20.0, 300.0, "quantum"),
        (0.8, 30.0, 0.0, "quantum"),
        (-0.3, 30.0, 600.0, "classical"),  # every harmonic mode is imaginary: a double well in each bond
    ],
)
def test_planted_quartic_is_found_within_error_bars(quartic, k, strength, temperature_K, statistics):
    toy = quartic(k, strength)
    settings = Renormalisation(temperature_K=temperature_K, statistics=statistics, frequency_tolerance_THz=0.12)
    phonons = compute_phonons(toy.crystal, toy.forces(), (2, 2, 2), renormalisation=settings, seed=3)
    assert phonons.converged
    _, expected, energy = toy.solve(phonons.supercell, temperature_K, statistics)
    error = phonons.frequency_error_THz
    assert 0 < error.max() < 0.3
    # Sorting noisy levels that should be degenerate spreads them, so each bound carries the largest error bar.
    assert np.abs(phonons.frequencies_THz - expected).max() < 3.5 * error.max()
    assert np.sqrt(np.mean((phonons.frequencies_THz - expected) ** 2)) < 2 * np.sqrt(np.mean(error**2))
    assert (np.abs(phonons.harmonic_frequencies_THz - expected) > 5 * error.max()).any()
    last = phonons.rounds[-1]
    # The functional is stationary at the solution, so the last law's value is the exact one to its standard error.
    assert abs(last.free_energy_eV_per_atom - energy) < 4 * last.free_energy_error_eV_per_atom + 2e-4


def test_error_bars_are_those_of_repeated_runs(quartic):
    toy = quartic(1.0, 20.0)
    crystal = supercell_of(toy.crystal, np.diag([2, 2, 2]))
    fit = SymmetricFit(crystal)
    law = thermal_law(toy.constants(crystal, 1.6), crystal.masses_amu, 300.0, "classical", 1.0)
    found, errors = [], []
    with ForceField(toy.forces()) as field:
        for run in range(24):
            half = law.draw(stream(run, "repeat").standard_normal((12, 3 * len(crystal))))
            u = np.stack([half, -half], axis=1).reshape(-1, len(crystal), 3)
            forces = field.evaluate(crystal, crystal.positions_A + u).forces_eV_per_A
            found.append(normal_modes(fit(u, forces), crystal.masses_amu).frequencies_THz)
            errors.append(jackknife_frequencies(fit, u, forces, blocks=blocks_of_pairs(len(u), 10)))
    spread = np.std(found, axis=0, ddof=1)
    ratio = np.sqrt(np.mean(np.square(errors), axis=0)).mean() / spread.mean()
    assert 0.75 < ratio < 1.4


def test_harmonic_forces_come_back_unchanged(quartic):
    toy = quartic(0.9, 0.0)
    phonons = compute_phonons(toy.crystal, toy.forces(), (2, 2, 2), renormalisation=Renormalisation(), seed=1)
    assert phonons.converged
    assert len(phonons.rounds) == 2
    assert max(item.change_THz for item in phonons.rounds) < 1e-6
    assert max(item.noise_THz for item in phonons.rounds) < 1e-6
    np.testing.assert_allclose(phonons.force_constants.values_eV_per_A2, phonons.harmonic.values_eV_per_A2, atol=1e-8)
    assert phonons.method == "self-consistent"
    assert phonons.temperature_K == 300.0


def test_same_seed_same_bits_and_other_seed_other_samples(quartic):
    toy = quartic(1.0, 20.0)
    settings = Renormalisation(max_rounds=2)
    runs = [compute_phonons(toy.crystal, toy.forces(), (2, 2, 2), renormalisation=settings, seed=s) for s in (5, 5, 6)]
    values = [run.force_constants.values_eV_per_A2 for run in runs]
    np.testing.assert_array_equal(values[0], values[1])
    assert np.abs(values[0] - values[2]).max() > 1e-4
    assert runs[0].rounds == runs[1].rounds


def test_workers_do_not_change_the_numbers(aluminium):
    crystal = supercell_of(aluminium, np.diag([2, 2, 2]))
    settings = Renormalisation(max_rounds=2, pairs_per_round=4)
    source = CalculatorForces(engine="emt")
    start = compute_phonons(aluminium, source, (2, 2, 2)).force_constants.values_eV_per_A2
    found = []
    for workers in (1, 2):
        with ForceField(source, workers, startup_s=0.0) as field:
            field.evaluate(crystal, crystal.positions_A[None])  # measures the time, so that the workers start
            found.append(renormalise(crystal, start, settings, field, seed=2))
            assert (field._pool is not None) == (workers == 2)
    np.testing.assert_array_equal(found[0].values_eV_per_A2, found[1].values_eV_per_A2)
    assert found[0].rounds == found[1].rounds


def test_no_convergence_is_told_with_remedies(quartic):
    toy = quartic(-0.3, 30.0)
    settings = Renormalisation(temperature_K=600.0, max_rounds=2)
    phonons = compute_phonons(toy.crystal, toy.forces(), (2, 2, 2), renormalisation=settings)
    assert phonons.converged is False
    assert len(phonons.rounds) == 2
    sentence = next(item for item in phonons.warnings if "did not converge in 2 rounds" in item)
    assert "pairs_per_round" in sentence
    assert "lattice" in sentence


def test_an_unstable_crystal_ends_imaginary_and_says_so(quartic):
    toy = quartic(-0.3, 0.0)  # an inverted parabola: no temperature stabilises it
    settings = Renormalisation(max_rounds=4, pairs_per_round=8)
    phonons = compute_phonons(toy.crystal, toy.forces(), (2, 2, 2), renormalisation=settings)
    assert phonons.converged is False
    assert phonons.frequencies_THz[0] < 0
    assert phonons.rounds[-1].guarded_share >= 0
    assert any("is not positive beyond its error" in sentence for sentence in phonons.warnings)
    assert any(sentence.startswith("renormalised phonons at 300 K: 45 of 45 modes") for sentence in phonons.warnings)


def test_average_positions_that_would_move_are_told():
    a = 3.9
    crystal = Crystal(cell_A=np.diag([a, a, a]), positions_A=[[0, 0, 0], [a / 2, a / 2, 0.46 * a]], numbers=[29, 79])
    assert free_directions(crystal).shape == (6, 1)
    settings = Renormalisation(max_rounds=2, pairs_per_round=12)
    phonons = compute_phonons(crystal, CalculatorForces(engine="emt"), (1, 1, 1), renormalisation=settings)
    assert any("their average positions would move" in sentence for sentence in phonons.warnings)


def test_fixed_sites_have_no_free_directions(quartic, silver_sulfide_bromide):
    for crystal in (quartic(1, 0).crystal, silver_sulfide_bromide):
        assert free_directions(supercell_of(crystal, np.diag([2, 2, 2]))).shape[1] == 0


@pytest.mark.parametrize(("temperature_K", "statistics"), [(300.0, "quantum"), (300.0, "classical"), (0.0, "quantum")])
@pytest.mark.parametrize("k", [0.02, -0.5, 0.0])
def test_guard_bounds_every_mode_and_keeps_a_thermal_law(quartic, k, temperature_K, statistics):
    toy = quartic(1.0, 0.0)
    crystal = supercell_of(toy.crystal, np.diag([2, 2, 2]))
    values = toy.constants(crystal, k)
    law = thermal_law(values, crystal.masses_amu, temperature_K, statistics, 0.05)
    amplitude = np.sqrt(law.variance_amu_A2) * law.modes.largest_share
    assert amplitude.max() <= 0.05 * (1 + 1e-9)
    assert 0 <= law.guarded_share < 1 + 1e-12
    np.testing.assert_allclose(
        law.variance_amu_A2, mode_variance(law.frequencies_THz, temperature_K, statistics), rtol=1e-12
    )
    free = thermal_law(values, crystal.masses_amu, temperature_K, statistics, 1e9)
    untouched = np.sqrt(free.variance_amu_A2) * law.modes.largest_share <= 0.05
    np.testing.assert_allclose(law.variance_amu_A2[untouched], free.variance_amu_A2[untouched], rtol=1e-12)
    if k != 0.0:
        assert free.guarded_share == 0


def test_law_draws_its_covariance_and_its_density(quartic):
    toy = quartic(1.0, 0.0)
    crystal = supercell_of(toy.crystal, np.diag([1, 1, 1]))
    law = thermal_law(toy.constants(crystal, 1.0), crystal.masses_amu, 300.0, "quantum", 1.0)
    u = law.draw(stream(0, "law").standard_normal((40000, 6)))
    expected = covariance(law.modes, law.variance_amu_A2)
    np.testing.assert_allclose(np.cov(u.reshape(-1, 6).T), expected, atol=5 * expected.max() / np.sqrt(20000))
    flat = u[:50].reshape(50, 6)
    inverse = np.linalg.pinv(expected, rcond=1e-8)
    np.testing.assert_allclose(
        np.diff(law.log_density(u[:50])), np.diff(-0.5 * np.einsum("si,ij,sj->s", flat, inverse, flat)), rtol=1e-6
    )
    np.testing.assert_allclose(
        law.harmonic_energy(u[:50]), 0.5 * np.einsum("si,ij,sj->s", flat, _flat(toy.constants(crystal, 1.0)), flat)
    )


def _flat(values):
    size = 3 * len(values)
    return values.transpose(0, 2, 1, 3).reshape(size, size)


def test_balance_weights_turn_old_samples_into_the_last_law(quartic):
    toy = quartic(1.0, 0.0)
    crystal = supercell_of(toy.crystal, np.diag([1, 1, 1]))
    laws = [
        thermal_law(toy.constants(crystal, k), crystal.masses_amu, 300.0, "classical", 1.0) for k in (0.7, 1.5, 1.0)
    ]
    batches = []
    for number, law in enumerate(laws):
        half = law.draw(stream(number, "balance").standard_normal((20000, 6)))
        batches.append(np.stack([half, -half], axis=1).reshape(-1, 2, 3))
    weights = balance_weights(laws, batches)
    assert weights.mean() == pytest.approx(1.0)
    np.testing.assert_allclose(weights[::2], weights[1::2], rtol=1e-9)
    assert weights.max() < 3.5  # bounded by the number of laws: that is what the balance heuristic is for
    flat = np.concatenate(batches).reshape(-1, 6)
    expected = covariance(laws[-1].modes, laws[-1].variance_amu_A2)
    np.testing.assert_allclose((flat * weights[:, None]).T @ flat / len(flat), expected, atol=0.02 * expected.max())
    np.testing.assert_allclose(balance_weights(laws[:1], batches[:1]), 1.0)


def test_weights_count_samples(quartic):
    toy = quartic(1.0, 5.0)
    crystal = supercell_of(toy.crystal, np.diag([2, 2, 2]))
    fit = SymmetricFit(crystal)
    rng = stream(0, "weights")
    u, f = rng.standard_normal((2, 20, len(crystal), 3))
    weights = np.where(np.arange(20) < 5, 2.0, 1.0)
    twice = np.concatenate([np.arange(20), np.arange(5)])
    np.testing.assert_allclose(fit(u, f, weights), fit(u[twice], f[twice]), atol=1e-9)


def test_too_few_pairs_are_refused_with_the_number_that_suffices():
    rng = np.random.default_rng(0)
    crystal = Crystal(
        cell_A=np.eye(3) * 6.0 + rng.normal(0, 0.3, (3, 3)), positions_A=rng.uniform(0, 6, (8, 3)), numbers=[29] * 8
    )
    with ForceField(CalculatorForces(engine="emt")) as field, pytest.raises(ConfigurationError, match="at least"):
        renormalise(crystal, np.zeros((8, 8, 3, 3)), Renormalisation(pairs_per_round=4), field)


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature_K": -1.0},
        {"temperature_K": float("nan")},
        {"statistics": "boltzmann"},
        {"pairs_per_round": 1},
        {"mixing": 0.0},
        {"mixing": 1.5},
        {"amplitude_guard_A": 0.0},
        {"statistics": "classical", "temperature_K": 0.0},
    ],
)
def test_impossible_settings_are_one_sentence(settings):
    with pytest.raises(ConfigurationError, match="renormalisation"):
        Renormalisation(**settings)
