"""Laws with the thermal covariance and less noise: signs, special displacements, Sobol points."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import ndtri
from scipy.stats import chi2, kstest

from phonograph.errors import ConfigurationError, PhysicsError
from phonograph.lattice import harmonic_energy, mode_variance, normal_modes
from phonograph.sampling import (
    DebyeSampler,
    PaperEq3Sampler,
    RattleSampler,
    SignSampler,
    SobolSampler,
    Substitution,
    ThermalSampler,
    ZGSampler,
    certify,
    sample,
    soft_modes,
)
from phonograph.sampling.gauge import canonical_modes, mode_amplitudes
from phonograph.sampling.mode_laws import SOBOL_DIMENSIONS, _sobol_points, tensor_errors
from phonograph.streams import derive_seed
from phonograph.testing import check_sampler

LAWS = (SignSampler(), SignSampler(antithetic=True), ZGSampler(), SobolSampler())
PROCESS_LAWS = (
    SignSampler(),
    ZGSampler(),
    SobolSampler(),
    DebyeSampler(debye_temperature_K=220.0),
    RattleSampler(minimum_distance_A=2.0),
)
GAUSSIAN = (
    ThermalSampler(),
    ThermalSampler(statistics="classical"),
    ThermalSampler(antithetic=True),
    SobolSampler(),
    DebyeSampler(debye_temperature_K=220.0),
)


def names(law) -> str:
    return f"{law.kind}{'-pairs' if getattr(law, 'antithetic', False) else ''}-{law.statistics}"


def coordinates(made) -> np.ndarray:
    return made.displacements_A.reshape(len(made), -1)


def standardised(phonons, made, law) -> np.ndarray:
    """Q_s/σ_s of every sample, from a diagonalisation of its own (any basis of degenerate levels)."""
    constants = phonons.force_constants
    modes = normal_modes(constants.values_eV_per_A2, constants.supercell.masses_amu)
    sigma = np.sqrt(mode_variance(modes.frequencies_THz, law.temperature_K, law.statistics))
    return coordinates(made) * np.sqrt(np.repeat(modes.masses_amu, 3)) @ modes.vectors / sigma


def level_norms(phonons, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Σ x² over each degenerate level, which no choice of basis changes, and the size of the level."""
    starts = np.flatnonzero(np.diff(phonons.frequencies_THz, prepend=-np.inf) > 1e-6)
    return np.add.reduceat(x**2, starts, axis=1), np.diff(starts, append=len(phonons.frequencies_THz))


@pytest.fixture(scope="module")
def skewed(make):
    """EMT copper in a supercell whose matrix is not diagonal: 7 atoms."""
    from ase.build import bulk

    return make.from_phonopy(make.emt_phonopy(bulk("Cu", "fcc", a=3.6), [[2, 1, 0], [0, 2, 1], [-1, 0, 2]]))


# What holds for all of them


@pytest.mark.parametrize("law", LAWS, ids=names)
@pytest.mark.parametrize("statistics", ["quantum", "classical"])
@pytest.mark.parametrize("crystal", ["silver_salt", "aluminium", "skewed"])
def test_the_claimed_covariance_is_the_thermal_one(request, law, statistics, crystal):
    """Degenerate bands (aluminium) and a supercell matrix that is not diagonal included."""
    phonons = request.getfixturevalue(crystal)
    found = replace(law, statistics=statistics).moments(phonons)
    expected = ThermalSampler(statistics=statistics).moments(phonons).covariance_A2
    assert_allclose(found.covariance_A2, expected, atol=1e-10 * np.abs(expected).max())
    assert_allclose(found.independent_A @ found.independent_A.T, expected, atol=1e-10 * np.abs(expected).max())


@pytest.mark.parametrize("law", LAWS, ids=names)
def test_limits_of_temperature_and_the_ratio_of_statistics(silver_salt, law):
    """T → 0, T → ∞, and (x/2) coth(x/2) of each mode between quantum and classical."""
    from scipy.constants import Boltzmann, h

    def variances(**options):
        phonons, options = silver_salt, {"guard": "off", **options}
        return mode_amplitudes(replace(law, **options).law(phonons))

    cold = variances(temperature_K=0.0)
    assert_allclose(variances(temperature_K=1e-3), cold, atol=1e-12)
    zero_point = mode_variance(silver_salt.frequencies_THz, 0.0, "quantum")
    assert_allclose(
        np.sort((cold**2 * np.repeat(silver_salt.supercell.masses_amu, 3)[:, None]).sum(axis=0)),
        np.sort(zero_point),
        rtol=1e-9,
    )
    hot = variances(temperature_K=5e4), variances(temperature_K=5e4, statistics="classical")
    assert_allclose(hot[0], hot[1], rtol=1e-4)
    x = h * silver_salt.frequencies_THz * 1e12 / (Boltzmann * 150.0)
    quantum, classical = variances(temperature_K=150.0), variances(temperature_K=150.0, statistics="classical")
    assert_allclose((quantum**2).sum(0) / (classical**2).sum(0), x / 2 / np.tanh(x / 2), rtol=1e-7)


@pytest.mark.parametrize("law", [*LAWS, DebyeSampler(debye_temperature_K=220.0)], ids=names)
def test_mean_harmonic_energy_within_one_per_cent(silver_salt, law):
    n = 256 if isinstance(law, ZGSampler) else 4000
    made = sample(silver_salt, law, n, 5, name="set")
    values = silver_salt.force_constants.values_eV_per_A2
    found = harmonic_energy(values, made.displacements_A.reshape(n, 40, 3)).mean()
    flat = values.transpose(0, 2, 1, 3).reshape(120, 120)
    assert abs(found / (0.5 * np.trace(flat @ law.moments(silver_salt).covariance_A2)) - 1) < 0.01


@pytest.mark.parametrize("law", LAWS, ids=names)
def test_sample_depends_on_seed_and_index_only(silver_salt, law):
    long = coordinates(sample(silver_salt, law, 200, 9, name="long"))
    for n in (1, 2, 63, 64, 65, 130):
        assert_array_equal(coordinates(sample(silver_salt, law, n, 9, name="short")), long[:n])
    for chosen in ([150, 3, 64, 199], [199, 130]):  # all blocks, and some left out
        assert_array_equal(coordinates(law.sample_at(silver_salt, chosen, 9)), long[chosen])
    check_sampler(law, silver_salt, seeded=not isinstance(law, ZGSampler))


def test_another_process_makes_the_same_bits(silver_salt):
    code = f"""
import runpy, numpy as np
tools = runpy.run_path({str(Path(__file__).with_name("conftest.py"))!r})
from phonograph.sampling import DebyeSampler, RattleSampler, SignSampler, SobolSampler, ZGSampler
from phonograph.types import ForceConstants, Origin
unit, whole = tools["antiperovskite"](35, 4.9)
phonons = tools["phonons_of"](ForceConstants(
    unitcell=unit, supercell_matrix=2 * np.eye(3, dtype=int), supercell=whole,
    values_eV_per_A2=tools["springs"](whole), origin=Origin(room="test")))
for law in ({", ".join(map(repr, PROCESS_LAWS))}):
    print(sha256(law.sample_at(phonons, range(60, 70), 4).positions_A.tobytes()).hexdigest())
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    there = subprocess.run(
        [sys.executable, "-c", "from hashlib import sha256\n" + code],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    ).stdout.split()
    for law, digest in zip(PROCESS_LAWS, there, strict=True):
        made = law.sample(silver_salt, 70, 4).positions_A[60 * 40 :]
        assert hashlib.sha256(made.tobytes()).hexdigest() == digest, law.kind


@pytest.mark.parametrize("law", LAWS, ids=names)
@pytest.mark.parametrize("crystal", ["silver_salt", "aluminium"])
def test_no_sample_depends_on_the_eigensolver(request, monkeypatch, law, crystal):
    """Rotate the modes of every degenerate level and change all signs: the samples stay."""
    phonons = request.getfixturevalue(crystal)
    plain = coordinates(law.sample(phonons, 6, 3))
    rng = np.random.default_rng(8)
    genuine = soft_modes.crystal_modes

    def mixed(constants):
        modes = genuine(constants)
        vectors = modes.vectors * rng.choice([-1.0, 1.0], modes.vectors.shape[1])
        starts = np.flatnonzero(np.diff(modes.frequencies_THz, prepend=-np.inf) > 1e-6)
        for start, stop in zip(starts, [*starts[1:], vectors.shape[1]], strict=True):
            turn, _ = np.linalg.qr(rng.normal(size=(stop - start, stop - start)))
            vectors[:, start:stop] = vectors[:, start:stop] @ turn
        assert np.abs(vectors - modes.vectors).max() > 0.1
        return replace(modes, vectors=vectors)

    monkeypatch.setattr(soft_modes, "crystal_modes", mixed)
    assert_allclose(coordinates(law.sample(phonons, 6, 3)), plain, atol=1e-10)


@pytest.mark.parametrize("material", ["NaCl", "SnO2"])
def test_two_diagonalisations_of_dft_force_constants_give_the_same_samples(make, real_data, monkeypatch, material):
    """Wave vector by wave vector and the whole supercell at once: other eigenvectors, same displacements."""
    phonons = make.from_phonopy(make.real_phonopy(real_data / material))
    by_wave = [coordinates(law.sample(phonons, 6, 3)) for law in LAWS]
    monkeypatch.setattr(
        soft_modes,
        "crystal_modes",
        lambda constants: normal_modes(constants.values_eV_per_A2, constants.supercell.masses_amu),
    )
    for law, expected in zip(LAWS, by_wave, strict=True):
        assert_allclose(coordinates(law.sample(phonons, 6, 3)), expected, atol=1e-10)


@pytest.mark.parametrize("law", [SignSampler(), ZGSampler(), SobolSampler()], ids=names)
def test_the_certificate_holds_after_a_round_trip_through_files(silver_salt, tmp_path, law):
    """The energy of these laws has no spread: digits lost in a file would show."""
    from phonograph.files.configurations import load_configurations, save_configurations

    save_configurations(sample(silver_salt, law, 16, 1, name="set"), tmp_path / "set.extxyz")
    certificate = certify(load_configurations(tmp_path / "set.extxyz"), silver_salt)
    assert "harmonic energy" in [check.name for check in certificate.checks]
    assert all(check.passed for check in certificate.checks)


def test_the_canonical_basis_is_one_of_the_same_modes(aluminium):
    constants = aluminium.force_constants
    modes = normal_modes(constants.values_eV_per_A2, constants.supercell.masses_amu)
    chosen = canonical_modes(modes)
    assert_allclose(chosen.vectors.T @ chosen.vectors, np.eye(93), atol=1e-12)
    matrix = (modes.vectors * modes.frequencies_THz) @ modes.vectors.T
    assert_allclose(matrix @ chosen.vectors, chosen.vectors * modes.frequencies_THz, atol=1e-5)


@pytest.mark.parametrize("law", [*LAWS, DebyeSampler(debye_temperature_K=220.0)], ids=names)
def test_one_atom_and_classical_rest(make, silver_salt, law):
    from ase.build import bulk

    atom = make.from_phonopy(make.emt_phonopy(bulk("Cu", "fcc", a=3.6), np.eye(3)))
    made = sample(atom, law, 2, 0, name="atom")
    assert_array_equal(made.displacements_A, 0.0)
    assert "one atom" in made.warnings[0]
    still = sample(silver_salt, replace(law, temperature_K=0.0, statistics="classical"), 2, 0, name="cold")
    assert_array_equal(still.displacements_A, 0.0)
    assert "zero-point" in still.warnings[0]


@pytest.mark.parametrize("law", LAWS, ids=names)
def test_soft_modes_follow_the_policies(unstable, silver_salt, law):
    with pytest.raises(PhysicsError, match="6 of the supercell's 117 modes are imaginary"):
        sample(unstable, law, 2, 0, name="set")
    frozen = sample(unstable, replace(law, soft_modes="freeze"), 4, 0, name="set")
    assert "6 of 117 modes" in frozen.warnings[0]
    assert frozen.origin.settings["touched_share"] > 0.01
    assert_allclose(
        replace(law, soft_modes="absolute").moments(unstable).covariance_A2,
        law.moments(silver_salt).covariance_A2,
        atol=1e-10,
    )


@pytest.mark.parametrize("law", LAWS, ids=names)
@pytest.mark.parametrize("composition", [None, Substitution(replace="Br", by="I", lattice="fixed")])
def test_sound_sets_pass_and_hot_ones_fail(silver_salt, law, composition):
    sizes = ((2, 1), (40, 2), (128, 3)) if composition is None else ((40, 2),)
    for n, seed in sizes:
        made = sample(silver_salt, law, n, seed, name="set", composition=composition)
        statistics = certify(made, silver_salt)
        assert all(check.passed for check in statistics.checks)
        assert len(statistics.checks) >= 3 + 6 + 1
    if composition is None:
        lying = replace(made, temperature_K=np.full(128, 340.0))
        failed = {check.name for check in certify(lying, silver_salt).checks if not check.passed}
        assert "harmonic energy" in failed


@pytest.mark.parametrize("law", [SignSampler, ZGSampler, SobolSampler])
def test_impossible_options_are_refused(law):
    for options in ({"temperature_K": -1.0}, {"temperature_K": float("nan")}, {"statistics": "fermi"}):
        with pytest.raises(ConfigurationError, match=next(iter(options))):
            law(**options)
    with pytest.raises(ConfigurationError, match="soft_modes must be one of"):
        law(soft_modes="hope")


# Distributions


@pytest.mark.parametrize("law", GAUSSIAN, ids=names)
def test_normal_coordinates_are_normal(silver_salt, law):
    """Kolmogorov–Smirnov of single Q/σ and of Σ Q²/σ², with modes from another diagonalisation."""
    phonons = silver_salt
    made = sample(phonons, law, 2048, 21, name="set")
    if isinstance(law, DebyeSampler):
        found = law.law(phonons)
        root = np.sqrt(np.repeat(found.modes.masses_amu, 3))
        x = coordinates(made) * root @ found.modes.vectors / np.sqrt(found.variance_amu_A2)
    else:
        x = standardised(phonons, made, law)
    independent = x[::2] if getattr(law, "antithetic", False) else x
    for mode in (0, 5, 40, 116):
        assert kstest(independent[:, mode], "norm").pvalue > 1e-3
    assert kstest((independent**2).sum(axis=1), "chi2", args=(117,)).pvalue > 1e-3
    assert np.abs(independent.T @ independent / len(independent) - np.eye(117)).max() < 6.5 / np.sqrt(len(independent))


def test_eq3_with_normal_epsilon_is_normal_per_coordinate(silver_salt):
    law = PaperEq3Sampler(epsilon="normal")
    u = coordinates(sample(silver_salt, law, 2048, 21, name="set")) / np.sqrt(law.moments(silver_salt).covariance_A2)
    assert kstest(u[:, [3, 70]].ravel(), "norm").pvalue > 1e-3
    assert kstest((u**2).sum(axis=1), "chi2", args=(120,)).pvalue > 1e-3


# Signs


def signs_of(phonons, made, law) -> np.ndarray:
    return coordinates(made) @ np.linalg.pinv(mode_amplitudes(law.law(phonons))).T


@pytest.mark.parametrize("law", [SignSampler(), SignSampler(antithetic=True), ZGSampler()], ids=names)
def test_every_mode_has_its_rms_amplitude_and_every_sample_the_mean_energy(silver_salt, law):
    made = sample(silver_salt, law, 40, 5, name="set")
    norms, sizes = level_norms(silver_salt, standardised(silver_salt, made, law))
    assert_allclose(norms, np.tile(sizes, (40, 1)), rtol=1e-7)
    values = silver_salt.force_constants.values_eV_per_A2
    energies = harmonic_energy(values, made.displacements_A.reshape(40, 40, 3))
    flat = values.transpose(0, 2, 1, 3).reshape(120, 120)
    assert_allclose(energies, 0.5 * np.trace(flat @ ThermalSampler().moments(silver_salt).covariance_A2), rtol=1e-10)


def test_signs_are_independent_and_equally_likely(silver_salt):
    law, n = SignSampler(), 2000
    x = signs_of(silver_salt, sample(silver_salt, law, n, 12, name="set"), law)
    assert_allclose(np.abs(x), 1.0, atol=1e-8)
    assert 1e-3 < chi2.sf(n * (x.mean(axis=0) ** 2).sum(), 117) < 1 - 1e-3
    pairs = (x.T @ x / n)[np.triu_indices(117, 1)]
    assert 1e-3 < chi2.sf(n * (pairs**2).sum(), len(pairs)) < 1 - 1e-3


def test_sign_pairs_are_antithetic(silver_salt):
    made = sample(silver_salt, SignSampler(antithetic=True), 7, 2, name="pairs")
    u = coordinates(made)
    assert_array_equal(u[0:6:2], -u[1:7:2])
    assert len(set(made.group)) == 4
    assert "1 samples lack" in made.warnings[-1]


def test_the_certificate_of_signs_can_fail_on_amplitudes(silver_salt):
    """A Gaussian set that claims signs has the right covariance but not the constant energy."""
    signs = sample(silver_salt, SignSampler(), 100, 1, name="set")
    normal = sample(silver_salt, ThermalSampler(), 100, 1, name="set")
    checks = certify(replace(normal, origin=signs.origin), silver_salt).checks
    assert "harmonic energy" in {check.name for check in checks if not check.passed}


# Special displacements


def test_neighbours_in_frequency_have_opposite_signs(silver_salt):
    law = ZGSampler()
    made = sample(silver_salt, law, 2, 0, name="zg")
    x = signs_of(silver_salt, made, law)
    assert_allclose(x[0], (-1.0) ** np.arange(117), atol=1e-8)
    assert_array_equal(coordinates(made)[1], -coordinates(made)[0])
    assert made.group[0] == made.group[1]
    assert_array_equal(coordinates(law.sample(silver_salt, 2, 99)), coordinates(made))


def test_blocks_of_the_family_cancel_cross_terms_exactly(silver_salt):
    """2^(j + 1) samples leave only modes 2^j apart; 256 samples give the covariance of 117 modes exactly."""
    law = ZGSampler()
    made = sample(silver_salt, law, 256, 0, name="zg")
    x = signs_of(silver_salt, made, law)
    apart = np.subtract.outer(np.arange(117), np.arange(117))
    for j in (1, 3, 5, 7):
        product = x[: 2 ** (j + 1)].T @ x[: 2 ** (j + 1)] / 2 ** (j + 1)
        assert_allclose(product[apart % 2**j != 0], 0.0, atol=1e-8)
        assert_allclose(np.abs(product[apart % 2**j == 0]), 1.0, atol=1e-8)
    covariance = coordinates(made).T @ coordinates(made) / 256
    assert_allclose(covariance, ThermalSampler().moments(silver_salt).covariance_A2, atol=1e-14)
    assert_allclose(made.displacements_A.reshape(256, -1).mean(axis=0), 0.0, atol=1e-15)


def test_more_configurations_than_there_are_is_one_sentence(silver_salt):
    with pytest.raises(ConfigurationError, match="has 256 configurations for the 117 modes"):
        sample(silver_salt, ZGSampler(), 257, 0, name="zg")


def test_the_error_of_one_configuration_is_told(silver_salt):
    made = sample(silver_salt, ZGSampler(), 256, 0, name="zg")
    assert "replicates the unit cell 8 times" in made.warnings[0]
    covariance = ThermalSampler().moments(silver_salt).covariance_A2.reshape(40, 3, 40, 3)
    u = made.displacements_A.reshape(256, 40, 3)
    silver = np.flatnonzero(silver_salt.supercell.numbers == 47)
    difference = np.zeros((3, 3))
    scale = 0.0
    for atom in silver:
        difference += np.outer(u[0, atom], u[0, atom]) - covariance[atom, :, atom]
        scale += np.trace(covariance[atom, :, atom]) / 3
    expected = np.abs(difference).max() / scale
    assert f"Ag {100 * expected:.0f} % (0 %)" in made.warnings[1]


def test_one_configuration_is_better_in_a_larger_cell(make):
    """Springs of an fcc crystal: the error of one special displacement falls from 3³ to 5³ cells."""
    from phonograph.testing import fcc
    from phonograph.types import Crystal, ForceConstants, Origin

    found = {}
    for repeat in (2, 5):
        unit = fcc("Al", 4.05)
        shifts = np.array(list(np.ndindex(repeat, repeat, repeat))) @ unit.cell_A
        whole = Crystal(cell_A=repeat * unit.cell_A, positions_A=shifts, numbers=np.full(repeat**3, 13))
        constants = ForceConstants(
            unitcell=unit,
            supercell_matrix=repeat * np.eye(3, dtype=int),
            supercell=whole,
            values_eV_per_A2=make.springs(whole),
            origin=Origin(room="test"),
        )
        phonons = make.phonons_of(constants)
        law = ZGSampler(guard="off")
        made = sample(phonons, law, 2, 0, name="zg")
        ((_, found[repeat], _),) = tensor_errors(whole, mode_amplitudes(law.law(phonons)), coordinates(made))
        assert ("replicates" in " ".join(made.warnings)) == (repeat < 5)
    assert found[5] < 0.5 * found[2]


# Sobol points


def test_each_point_alone_has_the_thermal_law(silver_salt):
    """Sample 5 of 200 seeds: random between seeds, standard normal in every mode."""
    law = SobolSampler()
    x = np.concatenate([standardised(silver_salt, law.sample_at(silver_salt, [5], seed), law) for seed in range(200)])
    for mode in (0, 60, 116):
        assert kstest(x[:, mode], "norm").pvalue > 1e-3
    assert kstest((x**2).sum(axis=1), "chi2", args=(117,)).pvalue > 1e-3
    assert np.abs(x.T @ x / 200 - np.eye(117)).max() < 6.5 / np.sqrt(200)


def test_the_best_dimensions_go_to_the_modes_that_move_atoms_most(silver_salt):
    law = SobolSampler().law(silver_salt)
    x = SobolSampler().standard(law, range(64), 3)
    points = ndtri(_sobol_points(x.shape[1], range(64), derive_seed(3, "sobol")))
    dimension = [int(np.flatnonzero((points == column[:, None]).all(axis=0))[0]) for column in x.T]
    moved = law.variance_amu_A2 * (law.modes.vectors**2 / np.repeat(law.modes.masses_amu, 3)[:, None]).sum(axis=0)
    levels = np.split(np.arange(len(moved)), np.flatnonzero(np.diff(law.modes.frequencies_THz) > 1e-6) + 1)
    first = sorted((min(dimension[mode] for mode in level), -moved[level].mean()) for level in levels)
    assert sorted(dimension) == list(range(len(moved)))
    assert [share for _, share in first] == pytest.approx(sorted(share for _, share in first))


def test_sobol_averages_have_less_noise_than_random_ones(silver_salt):
    """Mean harmonic energy and variance of silver, n = 128: variance over 30 seeds; an F-test bounds the ratio."""
    from scipy.stats import f

    silver = np.repeat(silver_salt.supercell.numbers == 47, 3)
    flat = silver_salt.force_constants.values_eV_per_A2.transpose(0, 2, 1, 3).reshape(120, 120)

    def means(law):
        sets = [coordinates(law.sample(silver_salt, 128, seed)) for seed in range(30)]
        return np.array([[0.5 * np.einsum("si,si->", u @ flat, u) / 128, (u[:, silver] ** 2).mean()] for u in sets])

    ratio = means(SobolSampler()).var(axis=0, ddof=1) / means(ThermalSampler()).var(axis=0, ddof=1)
    # The upper 99.9 % bound of the true ratio is ratio · F(0.999); both averages lose at least half their variance.
    assert (ratio * f.ppf(0.999, 29, 29) < 0.5).all()


def test_a_number_that_is_no_power_of_two_is_told(silver_salt):
    assert sample(silver_salt, SobolSampler(), 64, 0, name="a").warnings == ()
    assert "60 samples are not the first 2^k points" in sample(silver_salt, SobolSampler(), 60, 0, name="a").warnings[0]


def test_too_many_dimensions_are_one_sentence():
    with pytest.raises(ConfigurationError, match="at most 21201 dimensions, but this cell has 21202 modes"):
        _sobol_points(SOBOL_DIMENSIONS + 1, [0], 1)
    assert _sobol_points(SOBOL_DIMENSIONS, [0], 1).shape == (1, SOBOL_DIMENSIONS)
