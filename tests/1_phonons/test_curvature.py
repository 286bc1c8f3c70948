"""The curvature of the free energy against its definition, a planted cubic crystal, and the formulas of others."""

from __future__ import annotations

import numpy as np
import pytest

from phonograph.errors import ConfigurationError
from phonograph.lattice import bose_einstein, covariance, mode_variance, normal_modes
from phonograph.phonons import Renormalisation, compute_phonons
from phonograph.phonons.curvature import FreeEnergyCurvature, bubble, third_order_of_modes, variance_slope
from phonograph.phonons.evaluate import ForceField
from phonograph.phonons.fit import SymmetricFit
from phonograph.phonons.harmonic import supercell_of
from phonograph.phonons.law import thermal_law
from phonograph.phonons.third_order import ThirdOrderFit
from phonograph.streams import stream
from phonograph.types import Crystal
from phonograph.units import AMU_A2_PER_EV_S2, BOLTZMANN_EV_PER_K, HBAR_EV_S, THZ_PER_SQRT_EV_PER_A2_AMU


def planted_tensor(toy, supercell: Crystal) -> np.ndarray:
    """Φ³ of γ s d³/3: 2 γ s times the signs with which the ends of the bond enter d."""
    size = len(supercell)
    tensor = np.zeros((size, 3, size, 3, size, 3))
    bonds, signs = toy.bonds(supercell)
    for (i, j), sign in zip(bonds, signs, strict=True):
        for axis in range(3):
            ends = np.zeros(size)
            ends[[i, j]] = 1.0, -1.0
            tensor[:, axis, :, axis, :, axis] += 2 * toy.cubic * sign[axis] * np.einsum("i,j,k->ijk", ends, ends, ends)
    return tensor.reshape(3 * size, 3 * size, 3 * size)


def exact_frequencies(toy, supercell: Crystal, k: float, temperature_K: float) -> np.ndarray:
    """kT ⟨uuᵀ⟩⁻¹ of the whole potential, by importance sampling of one axis (the axes do not couple) from crystal k."""
    thermal = BOLTZMANN_EV_PER_K * temperature_K
    stiffness, vectors = np.linalg.eigh(toy.constants(supercell, k)[:, :, 0, 0])
    stiffness, vectors = stiffness[1:], vectors[:, 1:]
    bonds, signs = toy.bonds(supercell)
    (i, j), signs = bonds.T, signs[:, 0]
    moments, plain, total = np.zeros((len(stiffness),) * 2), np.zeros((len(stiffness),) * 2), 0.0
    for batch in range(4):
        q = stream(batch, "exact").standard_normal((20_000, len(stiffness))) * np.sqrt(thermal / stiffness)
        u = q @ vectors.T
        d = u[:, i] - u[:, j]
        beyond = 0.5 * (toy.k - k) * d**2 + toy.cubic * signs * d**3 / 3 + 0.25 * toy.quartic * d**4
        weights = np.exp(-beyond.sum(axis=1) / thermal)
        moments, plain, total = moments + (q * weights[:, None]).T @ q, plain + q.T @ q, total + weights.sum()
    # What the unweighted samples miss of their known variance, the weighted ones miss too: a control variate.
    moments = moments / total - plain / 80_000 + np.diag(thermal / stiffness)
    along = thermal * vectors @ np.linalg.inv(moments) @ vectors.T
    found = 3.0 * np.kron(along, np.diag([1.0, 0.0, 0.0]))
    # A fit to unit displacements keeps the part that has the crystal's symmetry: it makes the other axes of the first.
    units = np.eye(len(found))
    values = SymmetricFit(supercell)(units.reshape(-1, len(supercell), 3), -found.reshape(-1, len(supercell), 3))
    return normal_modes(values, supercell.masses_amu).frequencies_THz


def measured(curving: FreeEnergyCurvature, fit: SymmetricFit, law, field: ForceField, pairs: int, seed: int):
    """The curvature on pairs drawn from a law."""
    supercell = fit.supercell
    half = law.draw(stream(seed, "measured").standard_normal((pairs, 3 * len(supercell))))
    u = np.stack([half, -half], axis=1).reshape(-1, len(supercell), 3)
    forces = field.evaluate(supercell, supercell.positions_A + u).forces_eV_per_A
    return curving.measure(fit, u, forces, np.ones(len(u)))


def test_planted_cubic_crystal_needs_the_curvature(quartic):
    """Exact classical kT C⁻¹ of a cubic and quartic crystal: the curvature meets it, the self-consistent Φ does not."""
    toy = quartic(1.0, 5.0, 2.0)
    settings = Renormalisation(
        temperature_K=300.0, statistics="classical", frequency_tolerance_THz=0.03, free_energy_curvature=True
    )
    phonons = compute_phonons(toy.crystal, toy.forces(), (2, 2, 2), renormalisation=settings, seed=3)
    assert phonons.converged
    k, even, _ = toy.solve(phonons.supercell, 300.0, "classical")
    exact = exact_frequencies(toy, phonons.supercell, k, 300.0)
    # The cubic term is odd: the self-consistent answer does not know of it.
    assert abs(phonons.frequencies_THz - even).mean() < 0.01
    found, error = phonons.curvature_frequencies_THz, phonons.curvature_errors_THz
    assert 0.002 < error.mean() < 0.02
    # The sampling error of the exact answer is about 0.1 %; beyond the bubble come terms of higher order.
    noise = np.hypot(error, 0.001 * exact)
    assert np.abs((found - exact) / np.hypot(noise, 0.1 * (even - exact))).max() < 3
    assert abs((found - exact).mean()) < 0.005 < 0.015 < (phonons.frequencies_THz - exact).mean()
    # The lowest level and the one that the bubble lowers most.
    for level in (slice(0, 3), slice(21, 24)):
        assert (phonons.frequencies_THz - exact)[level].mean() > 3.5 * noise[level].mean()
        assert abs((found - exact)[level].mean()) < 2.5 * noise[level].mean()


@pytest.mark.parametrize("statistics", ["quantum", "classical"])
def test_bubble_is_the_derivative_of_the_mean_force(statistics):
    """For V = ½ Φ u u + ⅙ Φ³ u u u the self-consistent Φ at shifted sites is Φ + Φ³ R, and ∂F/∂R the mean of ∂V."""
    random, size, temperature = stream(1, "bubble"), 3, 200.0
    masses = np.array([10.0, 30.0, 50.0])
    free = np.kron(np.eye(size) - 1.0 / size, np.eye(3))
    root = random.standard_normal((3 * size, 3 * size))
    flat = free @ (root @ root.T + 4 * np.eye(3 * size)) @ free
    third = random.standard_normal((3 * size,) * 3)
    third = sum(third.transpose(p) for p in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)))
    third = np.einsum("abc,ai,bj,ck->ijk", third, free, free, free)

    def blocked(matrix):
        return matrix.reshape(size, 3, size, 3).transpose(0, 2, 1, 3)

    def gradient(shift):
        modes = normal_modes(blocked(flat + third @ shift), masses)
        spread = covariance(modes, mode_variance(modes.frequencies_THz, temperature, statistics))
        return flat @ shift + 0.5 * np.einsum("ijk,jk->i", third, np.outer(shift, shift) + spread)

    steps = 1e-5 * np.eye(3 * size)
    numeric = np.array([(gradient(step) - gradient(-step)) / 2e-5 for step in steps])
    found = bubble(third, normal_modes(blocked(flat), masses), temperature, statistics)
    added = numeric - flat
    assert np.abs(added).max() > 1e-3
    np.testing.assert_allclose(found.transpose(0, 2, 1, 3).reshape(added.shape), free @ added @ free, atol=1e-7)
    assert np.linalg.eigvalsh(added).max() < 1e-9


def test_variance_slope_is_the_static_two_phonon_propagator():
    frequencies = np.array([0.3, 2.0, 2.0 * (1 + 1e-7), 2.0 * (1 + 3e-4), 7.0])
    omega = 2e12 * np.pi * frequencies
    stiffness = (frequencies / THZ_PER_SQRT_EV_PER_A2_AMU) ** 2
    c, d = np.meshgrid(omega, omega, indexing="ij")
    for temperature in (0.0, 40.0, 300.0):
        n = bose_einstein(frequencies, temperature)
        apart = np.abs(c - d) > 1e-5 * c
        slope = np.zeros_like(c)
        slope[apart] = (np.subtract.outer(n, n)[apart]) / (c - d)[apart]
        thermal = BOLTZMANN_EV_PER_K * temperature
        # Where the two meet it becomes dn/dω = −(ħ/kT) n (n + 1).
        limit = -HBAR_EV_S / thermal * n * (n + 1) if temperature else np.zeros_like(n)
        slope[~apart] = np.broadcast_to(limit, c.shape)[~apart]
        expected = -HBAR_EV_S / (2 * c * d) * ((np.add.outer(n, n) + 1) / (c + d) - slope) * AMU_A2_PER_EV_S2**2
        np.testing.assert_allclose(variance_slope(frequencies, temperature, "quantum"), expected, rtol=1e-6)
    hot = 3e5
    classical = -BOLTZMANN_EV_PER_K * hot / np.outer(stiffness, stiffness)
    np.testing.assert_allclose(variance_slope(frequencies, hot, "classical"), classical, rtol=1e-7)
    np.testing.assert_allclose(variance_slope(frequencies, hot, "quantum"), classical, rtol=1e-6)


def test_third_order_fit_finds_the_planted_tensor(quartic):
    toy = quartic(1.0, 4.0, 3.0)
    supercell = supercell_of(toy.crystal, np.diag([2, 2, 2]))
    u = 0.1 * stream(0, "third").standard_normal((12, len(supercell), 3))
    with ForceField(toy.forces()) as field:
        forces = [field.evaluate(supercell, supercell.positions_A + sign * u).forces_eV_per_A for sign in (1, -1)]
    even = 0.5 * (forces[0] + forces[1])
    expected = planted_tensor(toy, supercell)
    for cutoff in (None, 3.9):  # the bond is 3.46 Å
        fit = ThirdOrderFit(supercell, cutoff)
        equations = fit.equations(u, even, np.ones(len(u)), np.arange(len(u)) % 4)
        for left_out in (None, 2):
            np.testing.assert_allclose(fit.tensor(equations.solve(left_out)), expected, atol=1e-8)
    assert 0 < fit.parameters < ThirdOrderFit(supercell).parameters
    modes = normal_modes(toy.constants(supercell, 1.0), supercell.masses_amu)
    vectors = modes.vectors / np.sqrt(np.repeat(supercell.masses_amu, 3))[:, None]
    np.testing.assert_allclose(
        third_order_of_modes(expected, modes),
        np.einsum("ijk,ia,jb,kc->abc", expected, vectors, vectors, vectors, optimize=True),
        atol=1e-12,
    )


def test_mean_forces_in_free_directions_do_not_enter_the_third_order():
    a = 3.9
    crystal = Crystal(cell_A=np.diag([a, a, a]), positions_A=[[0, 0, 0], [a / 2, a / 2, 0.46 * a]], numbers=[29, 79])
    fit = ThirdOrderFit(crystal)
    u = 0.1 * stream(0, "mean").standard_normal((40, 2, 3))
    u -= u.mean(axis=1, keepdims=True)
    zero, blocks = np.zeros((40, 2, 3)), np.zeros(40, dtype=int)
    push = zero + np.array([[0, 0, 0.3], [0, 0, -0.3]])
    found = fit.tensor(fit.equations(u, push, np.ones(40), blocks).solve())
    np.testing.assert_allclose(found, 0, atol=1e-8)


def test_error_bars_are_those_of_repeated_runs(quartic):
    toy = quartic(1.0, 10.0, 6.0)
    supercell = supercell_of(toy.crystal, np.diag([2, 2, 2]))
    settings = Renormalisation(statistics="classical", free_energy_curvature=True, blocks=6)
    law = thermal_law(toy.constants(supercell, 1.2), supercell.masses_amu, 300.0, "classical", 1.0)
    fit, curving = SymmetricFit(supercell), FreeEnergyCurvature(supercell, settings)
    with ForceField(toy.forces()) as field:
        found = [measured(curving, fit, law, field, 6, seed=run) for run in range(24)]
    spread = np.std([item.frequencies_THz for item in found], axis=0, ddof=1)
    errors = np.array([item.errors_THz for item in found])
    assert 0.7 < np.sqrt((errors**2).mean() / (spread**2).mean()) < 1.5


def test_noise_of_the_forces_does_not_lower_the_curvature(quartic):
    """Noise makes a third order where there is none, whose square would lower all frequencies."""
    toy = quartic(1.0, 0.0)
    supercell = supercell_of(toy.crystal, np.diag([2, 2, 2]))
    settings = Renormalisation(statistics="classical", free_energy_curvature=True)
    values = toy.constants(supercell, 1.0)
    law = thermal_law(values, supercell.masses_amu, 300.0, "classical", 1.0)
    fit, curving = SymmetricFit(supercell), FreeEnergyCurvature(supercell, settings)
    flat = values.transpose(0, 2, 1, 3).reshape(48, 48)
    shifts, biases = [], []
    for run in range(30):
        random = stream(run, "noise")
        half = law.draw(random.standard_normal((10, 48)))
        u = np.stack([half, -half], axis=1).reshape(-1, len(supercell), 3)
        clean = -(u.reshape(-1, 48) @ flat).reshape(u.shape)
        # The noise is even, so that it leaves the second order alone.
        noise = np.repeat(random.standard_normal((10, len(supercell), 3)), 2, axis=0)
        found = curving.measure(fit, u, clean + noise, np.ones(len(u)))
        shifts.append((found.frequencies_THz - law.modes.frequencies_THz).mean())
        tensor = ThirdOrderFit.tensor(curving._third, _solution(curving, u, noise))
        lowered = normal_modes(values + bubble(tensor, law.modes, 300.0, "classical"), supercell.masses_amu)
        biases.append((lowered.frequencies_THz - law.modes.frequencies_THz).mean())
    error = np.std(shifts, ddof=1) / np.sqrt(len(shifts))
    assert max(biases) < 0
    assert abs(np.mean(shifts)) < 3 * error
    assert abs(np.mean(shifts)) < 0.3 * abs(np.mean(biases))


def _solution(curving: FreeEnergyCurvature, u: np.ndarray, even: np.ndarray) -> np.ndarray:
    return curving._third.equations(u[::2], even[::2], np.ones(len(u) // 2), np.zeros(len(u) // 2)).solve()


def test_a_crystal_that_distorts_is_named(quartic):
    """A strong cubic term: the self-consistent modes are real, the free energy falls along the lowest all the same."""
    supercell = supercell_of(quartic(1.0, 0.0).crystal, np.diag([2, 2, 2]))
    settings = Renormalisation(temperature_K=600.0, statistics="classical", free_energy_curvature=True)
    fit, curving = SymmetricFit(supercell), FreeEnergyCurvature(supercell, settings)
    for cubic, words in ((12.0, "lowers its free energy by distorting"), (4.0, "")):
        toy = quartic(0.4, 20.0, cubic)
        k, frequencies, _ = toy.solve(supercell, 600.0, "classical")
        law = thermal_law(toy.constants(supercell, k), supercell.masses_amu, 600.0, "classical", 1.0)
        with ForceField(toy.forces()) as field:
            found = measured(curving, fit, law, field, 80, seed=5)
        assert frequencies[0] > 3
        assert (found.frequencies_THz[0] < 0) == bool(words)
        assert len(found.warnings) == bool(words)
        assert all(words in sentence for sentence in found.warnings)


def test_what_keeps_the_curvature_away_is_one_sentence(quartic, aluminium):
    toy = quartic(1.0, 5.0)
    supercell = supercell_of(toy.crystal, np.diag([2, 2, 2]))
    settings = Renormalisation(free_energy_curvature=True)
    fit, curving = SymmetricFit(supercell), FreeEnergyCurvature(supercell, settings)
    u = np.zeros((4, len(supercell), 3))
    few = curving.measure(fit, u, u, np.ones(4))
    assert few.frequencies_THz is None
    assert "third-order force constants need" in few.warnings[0]
    assert "pairs_per_round" in few.warnings[0]
    same = curving.measure(fit, np.tile(u, (10, 1, 1)), np.tile(u, (10, 1, 1)), np.ones(40))
    assert same.frequencies_THz is None
    large = supercell_of(aluminium, np.diag([3, 3, 3]))
    many = FreeEnergyCurvature(large, settings).measure(fit, u, u, np.ones(4))
    assert "too many" in many.warnings[0]
    for found in (few, same, many):
        assert len(found.warnings) == 1
        assert "\n" not in found.warnings[0]
    with pytest.raises(ConfigurationError, match="no effect without free_energy_curvature"):
        Renormalisation(third_order_cutoff_A=4.0)
    a = 5.0
    tetrahedral = Crystal(
        cell_A=np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) * a / 2,
        positions_A=[[0, 0, 0], [a / 4, a / 4, a / 4]],
        numbers=[30, 16],
    )
    with pytest.raises(ConfigurationError, match="beyond the nearest neighbours"):
        FreeEnergyCurvature(tetrahedral, Renormalisation(free_energy_curvature=True, third_order_cutoff_A=0.5))


def test_without_third_order_the_curvature_is_the_self_consistent_one(quartic):
    toy = quartic(1.0, 5.0)
    # Both atoms of this cell are centres of inversion: symmetry leaves no third order.
    settings = Renormalisation(free_energy_curvature=True, max_rounds=2)
    phonons = compute_phonons(toy.crystal, toy.forces(), (1, 1, 1), renormalisation=settings)
    np.testing.assert_allclose(phonons.curvature_frequencies_THz, phonons.frequencies_THz, rtol=1e-12)
    np.testing.assert_allclose(phonons.curvature_errors_THz, phonons.frequency_error_THz, rtol=1e-6)
    plain = compute_phonons(toy.crystal, toy.forces(), (1, 1, 1), renormalisation=Renormalisation(max_rounds=2))
    assert plain.curvature_frequencies_THz is None
    np.testing.assert_array_equal(plain.frequencies_THz, phonons.frequencies_THz)
