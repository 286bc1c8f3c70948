"""The certificate: right sets pass, wrong ones fail, and the numbers are those of a second route."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from phonograph.errors import DataError
from phonograph.sampling import (
    MatchedRandomSampler,
    PaperEq2Sampler,
    PaperEq3Sampler,
    Substitution,
    ThermalSampler,
    failed_checks,
    sample,
    set_statistics,
)
from phonograph.sampling.certificate import law_checks
from phonograph.sampling.distances import nearest_bonds, shortest_distance
from phonograph.types import Configurations

MIX = Substitution(replace="Br", by="I", lattice="fixed")


def laws(phonons):
    thermal = ThermalSampler()
    target = sample(phonons, thermal, 200, 8, name="phonon", composition=MIX)
    return {
        "thermal": thermal,
        "classical at 0 K": ThermalSampler(temperature_K=0.0, statistics="classical"),
        "pairs at 0 K": ThermalSampler(temperature_K=0.0, antithetic=True),
        "eq3 uniform": PaperEq3Sampler(),
        "eq3 normal by atoms": PaperEq3Sampler(epsilon="normal", count="atoms"),
        "eq2": PaperEq2Sampler(),
        "eq2 one-sided": PaperEq2Sampler(law="one-sided", amplitudes_A=(0.2, 0.7)),
        "matched": MatchedRandomSampler(law="uniform").matched_to(target),
    }


NAMES = ("thermal", "classical at 0 K", "pairs at 0 K", "eq3 uniform", "eq3 normal by atoms", "eq2", "eq2 one-sided")


@pytest.mark.parametrize("composition", [None, MIX], ids=["pure", "solution"])
@pytest.mark.parametrize("law", [*NAMES, "matched"])
def test_sound_sets_pass(silver_salt, law, composition):
    sampler = laws(silver_salt)[law]
    for n, seed in ((3, 1), (41, 2), (120, 3)):
        made = sample(silver_salt, sampler, n, seed, name="set", composition=composition)
        statistics = set_statistics(made, silver_salt)
        assert failed_checks(statistics) == ()
        species = 3 if composition is None else 4
        assert len(statistics.checks) >= species + 6 + 1


def failures(made: Configurations, reference) -> str:
    return " ".join(failed_checks(set_statistics(made, reference)))


@pytest.mark.parametrize("composition", [None, MIX], ids=["pure", "solution"])
def test_a_set_of_another_temperature_fails(silver_salt, composition):
    made = sample(silver_salt, ThermalSampler(temperature_K=330), 200, 1, name="set", composition=composition)
    lying = replace(made, temperature_K=np.full(200, 300.0))
    sentences = failures(lying, silver_salt)
    assert "harmonic energy" in sentences
    assert "variance of Ag" in sentences
    assert "fails its certificate" in sentences


def test_classical_set_that_claims_to_be_quantum_fails(silver_salt):
    made = sample(silver_salt, ThermalSampler(temperature_K=100, statistics="classical"), 300, 1, name="set")
    quantum = {"sampler": {"kind": "thermal", "statistics": "quantum"}}
    assert "harmonic energy" in failures(replace(made, origin=replace(made.origin, settings=quantum)), silver_salt)


def test_uncorrelated_sets_fail_on_pairs_and_energy_only(silver_salt):
    n = 300
    thermal = sample(silver_salt, ThermalSampler(), n, 1, name="set")
    literal = sample(silver_salt, PaperEq3Sampler(epsilon="normal"), n, 1, name="set")
    failed = {
        check.name
        for check in set_statistics(replace(literal, origin=thermal.origin), silver_salt).checks
        if not check.passed
    }
    assert "harmonic energy" in failed
    assert "covariance of nearest Ag-S" in failed
    assert not any(name.startswith("variance") for name in failed)


def test_wrong_amplitudes_fail(silver_salt):
    made = sample(silver_salt, PaperEq2Sampler(amplitudes_A=(0.4,)), 100, 1, name="set")
    one_sided = replace(
        made,
        origin=replace(
            made.origin, settings={"sampler": {"kind": "paper-eq2", "amplitudes_A": [0.4], "law": "one-sided"}}
        ),
    )
    assert "variance of Ag" in failures(one_sided, silver_salt)
    assert "variance of Ag" in failures(replace(made, amplitude_A=np.full(100, 0.42)), silver_salt)


def test_wrong_masses_fail(silver_salt):
    """A solid solution sampled with the parent's masses is found out."""
    full = Substitution(replace="Br", by="H", fractions=(1.0,), lattice="fixed")
    right = sample(silver_salt, ThermalSampler(), 200, 1, name="set", composition=full)
    assert failures(right, silver_salt) == ""
    parent = sample(silver_salt, ThermalSampler(), 200, 1, name="set")
    assert "variance of H" in failures(replace(parent, numbers=right.numbers), silver_salt)


def test_false_alarms_are_rare(silver_salt):
    """1,200 tests of small sound sets: at 4 standard errors 0.1 failures are expected."""
    bonds = nearest_bonds(silver_salt.supercell)
    checks = [
        check
        for seed in range(120)
        for check in law_checks(sample(silver_salt, ThermalSampler(), 8, seed, name="a"), silver_salt, bonds)
    ]
    assert len(checks) == 1200
    assert sum(not check.passed for check in checks) <= 2


def test_bounds_are_standard_errors(silver_salt):
    """The spread of the found values over many sets is a quarter of the stated tolerance."""
    bonds = nearest_bonds(silver_salt.supercell)
    checks = [
        law_checks(sample(silver_salt, ThermalSampler(), 64, seed, name="a"), silver_salt, bonds) for seed in range(80)
    ]
    for column in zip(*checks, strict=True):
        spread = np.std([check.found - check.expected for check in column])
        assert 0.7 < 4 * spread / column[0].tolerance < 1.25


def test_numbers_by_a_second_route(silver_salt):
    from ase import Atoms

    made = sample(silver_salt, ThermalSampler(), 30, 1, name="set")
    statistics = set_statistics(made, silver_salt)
    shortest, bonds = np.inf, []
    for crystal in made.crystals():
        atoms = Atoms(numbers=crystal.numbers, positions=crystal.positions_A, cell=crystal.cell_A, pbc=True)
        distances = atoms.get_all_distances(mic=True)
        shortest = min(shortest, distances[distances > 0].min())
        # 24 Ag, 8 S: in the ideal cell each S has six Ag at a/2.
        bonds.append(np.sort(distances[:24][:, 24:32].ravel())[:48])
    assert_allclose(statistics.minimum_distance_A, shortest, rtol=1e-12)
    pairs = {pair: (mean, spread) for pair, mean, spread in statistics.nearest_bonds}
    assert set(pairs) == {"Ag-Ag", "Ag-S", "Ag-Br", "Br-S", "S-S", "Br-Br"}
    assert_allclose(pairs["Ag-S"], (np.mean(bonds), np.std(bonds)), rtol=1e-9)
    rms = dict(statistics.species_rms_A)
    assert_allclose(rms["S"], np.sqrt((made.displacements_A[made.numbers == 16] ** 2).mean()))
    flat = silver_salt.force_constants.values_eV_per_A2.transpose(0, 2, 1, 3).reshape(120, 120)
    u = made.displacements_A.reshape(30, 120)
    assert_allclose(statistics.harmonic_energy_eV_per_atom, np.mean([0.5 * x @ flat @ x for x in u]) / 40)


def test_shortest_distance_in_any_cell(silver_salt):
    """Against brute force over images, in skewed cells and in cells smaller than the distance."""
    random = np.random.default_rng(5)
    shifts = np.array(list(np.ndindex(9, 9, 9))) - 4
    template = sample(silver_salt.supercell, PaperEq2Sampler(), 1, 0, name="set")
    for _ in range(40):
        atoms = int(random.integers(1, 5))
        cell = np.eye(3) * random.uniform(2, 4) + random.uniform(-1.5, 1.5, (3, 3))
        if abs(np.linalg.det(cell)) < 3:
            continue
        positions = random.uniform(0, 1, (atoms, 3)) @ cell
        separations = positions[None, :, None] + (shifts @ cell) - positions[:, None, None]
        lengths = np.linalg.norm(separations, axis=-1)
        expected = lengths[lengths > 1e-9].min()
        made = replace(
            template,
            offsets=[0, atoms],
            numbers=np.full(atoms, 13),
            positions_A=positions + random.integers(-3, 4, (atoms, 3)) @ cell,
            displacements_A=np.zeros((atoms, 3)),
            cells_A=cell[None],
        )
        assert_allclose(shortest_distance(made), expected, rtol=1e-10)


def test_sets_from_elsewhere_have_nothing_to_test(silver_salt):
    made = sample(silver_salt, ThermalSampler(), 4, 1, name="set")
    unknown = np.full_like(made.displacements_A, np.nan)
    statistics = set_statistics(replace(made, displacements_A=unknown, sampler="file"), silver_salt)
    assert statistics.checks == ()
    assert statistics.species_rms_A == ()
    assert statistics.nearest_bonds == ()
    assert np.isnan(statistics.harmonic_energy_eV_per_atom)
    assert statistics.minimum_distance_A > 1
    bare = set_statistics(made, silver_salt.supercell)
    assert bare.checks == ()
    assert np.isnan(bare.harmonic_energy_eV_per_atom)


def test_random_laws_are_tested_without_phonons(silver_salt):
    made = sample(silver_salt.supercell, PaperEq2Sampler(), 80, 1, name="set")
    statistics = set_statistics(made, silver_salt.supercell)
    assert failed_checks(statistics) == ()
    assert len(statistics.checks) == 9


def test_another_crystal_is_refused(silver_salt, aluminium):
    made = sample(silver_salt, ThermalSampler(), 4, 1, name="set")
    with pytest.raises(DataError, match=r"40 atoms.*the reference has 32"):
        set_statistics(made, aluminium)
