"""The thermal law: identities, limits, reproducibility, policies for soft modes."""

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

from phonograph.errors import ConfigurationError, PhysicsError
from phonograph.lattice import (
    displacement_root,
    harmonic_energy,
    mode_variance,
    normal_modes,
)
from phonograph.sampling import ThermalSampler, sample
from phonograph.streams import each_block
from phonograph.types import Crystal, ForceConstants, Origin


def from_scratch(phonons, temperature_K: float, statistics: str) -> np.ndarray:
    """C in SI units from the supercell's dynamical matrix; the three modes nearest to zero are the translations."""
    from scipy.constants import Boltzmann, angstrom, atomic_mass, electron_volt, hbar

    constants = phonons.force_constants
    size = len(constants.supercell)
    stiffness = np.zeros((3 * size, 3 * size))
    for i in range(size):
        for j in range(size):
            stiffness[3 * i : 3 * i + 3, 3 * j : 3 * j + 3] = constants.values_eV_per_A2[i, j]
    masses = np.repeat(constants.supercell.masses_amu, 3) * atomic_mass
    stiffness *= electron_volt / angstrom**2
    squares, vectors = np.linalg.eigh(stiffness / np.sqrt(np.outer(masses, masses)))
    vibrations = np.argsort(np.abs(squares))[3:]
    omega, vectors = np.sqrt(squares[vibrations]), vectors[:, vibrations]
    if statistics == "classical":
        variance = Boltzmann * temperature_K / omega**2
    elif temperature_K == 0:
        variance = hbar / (2 * omega)
    else:
        variance = hbar / (2 * omega) / np.tanh(hbar * omega / (2 * Boltzmann * temperature_K))
    return (vectors * variance) @ vectors.T / np.sqrt(np.outer(masses, masses)) / angstrom**2


@pytest.mark.parametrize(("temperature_K", "statistics"), [(0, "quantum"), (300, "quantum"), (300, "classical")])
def test_covariance_equals_a_diagonalisation_from_scratch(silver_salt, temperature_K, statistics):
    found = ThermalSampler(temperature_K=temperature_K, statistics=statistics).moments(silver_salt).covariance_A2
    expected = from_scratch(silver_salt, temperature_K, statistics)
    assert np.abs(found - expected).max() < 1e-8 * np.abs(expected).max()


def test_the_centre_of_mass_stays(silver_salt):
    made = sample(silver_salt, ThermalSampler(), 20, 1, name="phonon")
    masses = silver_salt.supercell.masses_amu
    drift = np.einsum("sia,i->sa", made.displacements_A.reshape(20, 40, 3), masses) / masses.sum()
    assert np.abs(drift).max() < 1e-12


def test_mean_harmonic_energy_within_one_per_cent(silver_salt):
    made = sample(silver_salt, ThermalSampler(), 4000, 5, name="phonon")
    values = silver_salt.force_constants.values_eV_per_A2
    found = harmonic_energy(values, made.displacements_A.reshape(4000, 40, 3)).mean()
    size = 120
    flat = values.transpose(0, 2, 1, 3).reshape(size, size)
    expected = 0.5 * np.trace(flat @ from_scratch(silver_salt, 300.0, "quantum"))
    assert abs(found / expected - 1) < 0.01


def test_classical_equipartition(silver_salt):
    """½ tr ΦC = ½ kT for each of the 3n − 3 modes."""
    from scipy.constants import Boltzmann, electron_volt

    covariance = ThermalSampler(temperature_K=250.0, statistics="classical").moments(silver_salt).covariance_A2
    flat = silver_salt.force_constants.values_eV_per_A2.transpose(0, 2, 1, 3).reshape(120, 120)
    assert_allclose(0.5 * np.trace(flat @ covariance), 0.5 * 117 * Boltzmann / electron_volt * 250.0, rtol=1e-9)


def variance_of(phonons, **options) -> float:
    return float(np.trace(ThermalSampler(**options, guard="off").moments(phonons).covariance_A2))


def test_limits_of_temperature(silver_salt):
    assert_allclose(variance_of(silver_salt, temperature_K=1e-3), variance_of(silver_salt, temperature_K=0), rtol=1e-12)
    hot = {"temperature_K": 5e4}
    assert_allclose(variance_of(silver_salt, **hot), variance_of(silver_salt, **hot, statistics="classical"), rtol=1e-5)


def test_quantum_to_classical_ratio_of_one_frequency(make):
    """Two atoms on one spring: every ratio is (x/2) coth(x/2), x = ħω/kT; independent of the sampler's own sums."""
    from scipy.constants import Boltzmann, h

    crystal = Crystal(cell_A=9 * np.eye(3), positions_A=[[0, 0, 0], [2, 0, 0]], numbers=[11, 17])
    block = 3.0 * np.eye(3)
    values = np.array([[block, -block], [-block, block]])
    constants = ForceConstants(
        unitcell=crystal,
        supercell_matrix=np.eye(3),
        supercell=crystal,
        values_eV_per_A2=values,
        origin=Origin(room="t"),
    )
    pair = make.phonons_of(constants)
    assert np.ptp(pair.frequencies_THz) < 1e-9
    for temperature_K in (50.0, 150.0, 300.0, 900.0):
        x = h * pair.frequencies_THz[0] * 1e12 / (Boltzmann * temperature_K)
        ratio = variance_of(pair, temperature_K=temperature_K) / variance_of(
            pair, temperature_K=temperature_K, statistics="classical"
        )
        assert_allclose(ratio, x / 2 / np.tanh(x / 2), rtol=1e-8)


def test_coordinates_are_normal(silver_salt):
    """Kolmogorov–Smirnov: standardised coordinates, and standardised mode energies against χ² of one degree."""
    from scipy.stats import kstest

    made = sample(silver_salt, ThermalSampler(), 4000, 22, name="phonon")
    u = made.displacements_A.reshape(4000, -1)
    spread = np.sqrt(np.diag(from_scratch(silver_salt, 300.0, "quantum")))
    for coordinate in (0, 41, 77, 119):
        assert kstest(u[:, coordinate] / spread[coordinate], "norm").pvalue > 1e-3
    assert kstest(u[:, 0] / spread[0] * np.sign(u[:, 60]), "norm").pvalue > 1e-3


def test_one_atom_has_no_vibration(make):
    from ase.build import bulk

    phonons = make.from_phonopy(make.emt_phonopy(bulk("Cu", "fcc", a=3.6), np.eye(3)))
    made = sample(phonons, ThermalSampler(), 3, 0, name="atom")
    assert_array_equal(made.displacements_A, 0.0)
    assert "one atom" in made.warnings[0]


def test_classical_zero_temperature_stands_still_and_says_so(silver_salt):
    made = sample(silver_salt, ThermalSampler(temperature_K=0, statistics="classical"), 3, 0, name="cold")
    assert_array_equal(made.displacements_A, 0.0)
    assert "zero-point" in made.warnings[0]


@pytest.mark.parametrize("antithetic", [False, True])
def test_sample_depends_on_seed_and_index_only(silver_salt, antithetic):
    sampler = ThermalSampler(antithetic=antithetic)
    long = sample(silver_salt, sampler, 200, 9, name="long").displacements_A.reshape(200, -1)
    for n in (1, 2, 63, 64, 65, 130):
        short = sample(silver_salt, sampler, n, 9, name="short").displacements_A.reshape(n, -1)
        assert_array_equal(short, long[:n])
    for chosen in ([150, 3, 64, 199], range(60, 131), range(129, 131), range(199, 0, -66), [64, 64]):
        made = sampler.sample_at(silver_salt, chosen, 9).displacements_A
        assert_array_equal(made.reshape(len(chosen), -1), long[list(chosen)])
    assert not np.array_equal(sampler.sample(silver_salt, 1, 10).displacements_A.ravel(), long[0])


def test_draws_are_those_of_the_named_streams(silver_salt):
    """The public recipe: sample i is S z with z row i % 64 of what the generator of block i // 64 draws."""
    constants = silver_salt.force_constants
    modes = normal_modes(constants.values_eV_per_A2, constants.supercell.masses_amu)
    root = displacement_root(modes, mode_variance(modes.frequencies_THz, 300.0, "quantum"))
    made = sample(silver_salt, ThermalSampler(), 90, 6, name="phonon").displacements_A.reshape(90, -1)
    blocks = [generator.standard_normal((64, 120)) for generator in each_block(6, "thermal", (0, 1))]
    for index in (0, 63, 70):
        assert_allclose(made[index], root @ blocks[index // 64][index % 64], atol=1e-13)


def test_blocks_do_not_remember_what_was_drawn_before():
    """An odd number of 32-bit draws leaves half a word in the generator; the next block must not see it."""
    blocks = (5, 0, 2**40, 5)
    alone = [next(each_block(1, "law", [block])).standard_normal(7) for block in blocks]
    assert len({draw.tobytes() for draw in alone}) == 3
    assert_array_equal(alone[0], alone[3])
    for generator, expected in zip(each_block(1, "law", blocks), alone, strict=True):
        assert_array_equal(generator.standard_normal(7), expected)
        generator.integers(9, size=3, dtype="u4")
    assert not np.array_equal(next(each_block(2, "law", [5])).standard_normal(7), alone[0])
    assert not np.array_equal(next(each_block(1, "other", [5])).standard_normal(7), alone[0])


def test_another_process_makes_the_same_bits(silver_salt):
    here = sample(silver_salt, ThermalSampler(), 70, 4, name="phonon")
    code = f"""
import runpy, hashlib, numpy as np
tools = runpy.run_path({str(Path(__file__).with_name("conftest.py"))!r})
from phonograph.sampling import ThermalSampler, sample
from phonograph.types import ForceConstants, Origin
unit, whole = tools["antiperovskite"](35, 4.9)
constants = ForceConstants(unitcell=unit, supercell_matrix=2 * np.eye(3, dtype=int), supercell=whole,
                           values_eV_per_A2=tools["springs"](whole), origin=Origin(room="test"))
made = sample(tools["phonons_of"](constants), ThermalSampler(), 70, 4, name="phonon")
print(hashlib.sha256(made.positions_A.tobytes()).hexdigest())
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    there = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    ).stdout.strip()
    assert there == hashlib.sha256(here.positions_A.tobytes()).hexdigest()


def test_antithetic_pairs(silver_salt):
    made = sample(silver_salt, ThermalSampler(antithetic=True), 7, 2, name="pairs")
    u = made.displacements_A.reshape(7, -1)
    assert_array_equal(u[0:6:2], -u[1:7:2])
    assert made.group[0] == made.group[1] != made.group[2] == made.group[3]
    assert len(set(made.group)) == 4
    assert "1 samples lack" in made.warnings[0]


def test_groups_and_metadata(silver_salt):
    one = sample(silver_salt, ThermalSampler(), 5, 2, name="one")
    other = sample(silver_salt, ThermalSampler(), 5, 3, name="other")
    assert len({*one.group, *other.group}) == 10
    assert_array_equal(one.index, np.arange(5))
    assert_array_equal(one.temperature_K, 300.0)
    assert np.isnan(one.amplitude_A).all()
    assert np.isnan(one.fraction).all()
    assert (one.name, one.sampler, one.origin.seed) == ("one", "thermal", 2)
    assert one.origin.settings["sampler"]["statistics"] == "quantum"
    assert_array_equal(one.positions_A[:40], silver_salt.supercell.positions_A + one.displacements_A[:40])


def test_square_root_is_gauge_independent(silver_salt):
    """Rotating the crystal's degenerate modes by another eigensolver (here: permuted atoms) moves no sample."""
    constants = silver_salt.force_constants
    order = np.random.default_rng(0).permutation(40)
    crystal = constants.supercell
    shuffled = Crystal(
        cell_A=crystal.cell_A,
        positions_A=crystal.positions_A[order],
        numbers=crystal.numbers[order],
        masses_amu=crystal.masses_amu[order],
    )

    def root(values, masses):
        modes = normal_modes(values, masses)
        return displacement_root(modes, mode_variance(modes.frequencies_THz, 300.0, "quantum"))

    plain = root(constants.values_eV_per_A2, crystal.masses_amu)
    other = root(constants.values_eV_per_A2[np.ix_(order, order)], shuffled.masses_amu)
    coordinates = (3 * order[:, None] + np.arange(3)).ravel()
    assert_allclose(other, plain[np.ix_(coordinates, coordinates)], atol=1e-12)


# Soft modes and the amplitude guard


def test_imaginary_modes_raise_and_name_every_remedy(unstable):
    with pytest.raises(PhysicsError) as caught:
        sample(unstable, ThermalSampler(), 2, 0, name="phonon")
    sentence = str(caught.value)
    assert "6 of" not in sentence.split(";")[1]
    assert " 6 of the supercell's 117" in sentence
    assert f"{unstable.frequencies_THz[0]:.3f} THz" in sentence
    for remedy in ("renormalise", "'freeze'", "'absolute'", "'floor'", "floor_THz", "another lattice"):
        assert remedy in sentence


def test_freeze_removes_the_modes_and_tells_their_share(unstable, silver_salt):
    frozen = ThermalSampler(soft_modes="freeze")
    made = sample(unstable, frozen, 4, 0, name="phonon")
    lost = variance_of(silver_salt) - variance_of(unstable, soft_modes="freeze")
    assert f"{100 * lost / variance_of(silver_salt):.1f} %" in made.warnings[0]
    assert "6 of 117 modes" in made.warnings[0]
    assert np.linalg.matrix_rank(frozen.moments(unstable).covariance_A2, tol=1e-9) == 111


def test_absolute_gives_back_the_stable_law(unstable, silver_salt):
    found = ThermalSampler(soft_modes="absolute").moments(unstable).covariance_A2
    assert_allclose(found, ThermalSampler().moments(silver_salt).covariance_A2, atol=1e-10)


def test_floor_raises_every_mode_below_it(unstable):
    made = sample(unstable, ThermalSampler(soft_modes="floor", floor_THz=1.35), 2, 0, name="phonon")
    assert "6 of 117" in made.warnings[0]
    assert "1.35 THz" in made.warnings[0]
    assert variance_of(unstable, soft_modes="floor", floor_THz=1.35) < variance_of(unstable, soft_modes="absolute")
    everything = variance_of(unstable, soft_modes="floor", floor_THz=3.0, statistics="classical")
    assert everything < 0.5 * variance_of(unstable, soft_modes="absolute", statistics="classical")


def test_a_stable_crystal_is_untouched_by_policies(silver_salt):
    plain = sample(silver_salt, ThermalSampler(), 3, 1, name="a").displacements_A
    for policy in ("freeze", "absolute", "floor"):
        made = sample(silver_salt, ThermalSampler(soft_modes=policy), 3, 1, name="a")
        assert_array_equal(made.displacements_A, plain)
        assert made.warnings == ()


def test_guard_names_mode_and_amplitude(silver_salt):
    with pytest.raises(PhysicsError, match=r"mode \d+ of 117 \(.* THz\).*0\.04 Å rms.*amplitude_guard_A = 0\.01"):
        sample(silver_salt, ThermalSampler(amplitude_guard_A=0.01), 2, 0, name="phonon")


def test_guard_can_limit_and_tells_the_share(silver_salt):
    sampler = ThermalSampler(amplitude_guard_A=0.02, guard="limit")
    made = sample(silver_salt, sampler, 2, 0, name="phonon")
    assert "limited to 0.02 Å" in made.warnings[0]
    assert "% of the total displacement variance" in made.warnings[0]
    assert variance_of(silver_salt) > float(np.trace(sampler.moments(silver_salt).covariance_A2)) > 0
    # The crystal is cubic: limiting whole levels must keep every species isotropic.
    blocks = sampler.moments(silver_salt).covariance_A2.reshape(40, 3, 40, 3)
    sulphur = int(np.flatnonzero(silver_salt.supercell.numbers == 16)[0])
    assert_allclose(blocks[sulphur, :, sulphur], blocks[sulphur, 0, sulphur, 0] * np.eye(3), atol=1e-10)


def test_force_constants_of_another_temperature_are_told(silver_salt):
    renormalised = replace(silver_salt, method="self-consistent", temperature_K=300.0)
    assert sample(renormalised, ThermalSampler(), 2, 0, name="a").warnings == ()
    notes = sample(renormalised, ThermalSampler(temperature_K=600), 2, 0, name="a").warnings
    assert "renormalised at 300 K are sampled at 600 K" in notes[0]


# Wrong input


@pytest.mark.parametrize("n", [0, -3, 2.5, True])
def test_number_of_samples_must_be_positive(silver_salt, n):
    with pytest.raises(ConfigurationError, match="positive integer"):
        sample(silver_salt, ThermalSampler(), n, 0, name="phonon")


@pytest.mark.parametrize("name", ["", "../up", "a b", ".hidden", "x" * 81, "a/b", "a\n"])
def test_names_become_file_names(silver_salt, name):
    with pytest.raises(ConfigurationError, match="name of a set"):
        sample(silver_salt, ThermalSampler(), 1, 0, name=name)


@pytest.mark.parametrize(
    "options",
    [
        {"temperature_K": -1.0},
        {"temperature_K": float("nan")},
        {"statistics": "bose"},
        {"soft_modes": "drop"},
        {"guard": "clip"},
        {"floor_THz": 0.0},
        {"amplitude_guard_A": 0.0},
    ],
)
def test_impossible_options_are_refused(options):
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        ThermalSampler(**options)


def test_a_bare_crystal_has_no_thermal_law(silver_salt):
    with pytest.raises(PhysicsError, match="needs phonons"):
        sample(silver_salt.supercell, ThermalSampler(), 2, 0, name="phonon")


@pytest.mark.parametrize(("made_with", "told"), [("classical", True), ("quantum", False)])
def test_classical_force_constants_sampled_quantum_are_told(silver_salt, made_with, told):
    origin = replace(silver_salt.origin, settings={"measured": {"statistics": made_with}})
    notes = (
        ThermalSampler(temperature_K=300.0)
        .sample(replace(silver_salt, temperature_K=300.0, origin=origin), 1, 0)
        .warnings
    )
    assert any("with classical motion are sampled with quantum statistics" in note for note in notes) == told
