"""The certificate: right sets pass, wrong ones fail, and the numbers are those of a second route."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from phonograph.errors import DataError
from phonograph.sampling import (
    MatchedRandomSampler,
    PaperCodeSampler,
    PaperEq2Sampler,
    PaperEq3Sampler,
    SignSampler,
    Substitution,
    ThermalSampler,
    certify,
    failed_checks,
    sample,
)
from phonograph.sampling.certificate import law_report
from phonograph.sampling.distances import nearest_bonds, shortest_distance
from phonograph.types import Configurations, ForceConstants, Origin

GENERAL = ["shortest distance over sum of covalent radii", "duplicates"]
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
        "paper-code": PaperCodeSampler(amplitudes_A=(0.2, 0.7)),
        "matched": MatchedRandomSampler(law="uniform").matched_to(target),
    }


NAMES = ("thermal", "classical at 0 K", "pairs at 0 K", "eq3 uniform", "eq3 normal by atoms", "eq2", "paper-code")


@pytest.mark.parametrize("composition", [None, MIX], ids=["pure", "solution"])
@pytest.mark.parametrize("law", [*NAMES, "matched"])
def test_sound_sets_pass(silver_salt, law, composition):
    sampler = laws(silver_salt)[law]
    for n, seed in ((3, 1), (60, 2)):
        made = sample(silver_salt, sampler, n, seed, name="set", composition=composition)
        statistics = certify(made, silver_salt)
        assert failed_checks(statistics) == ()
        species = 3 if composition is None else 4
        assert len(statistics.checks) >= species + 6 + 1


def failures(made: Configurations, reference) -> str:
    return " ".join(failed_checks(certify(made, reference)))


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
        check.name for check in certify(replace(literal, origin=thermal.origin), silver_salt).checks if not check.passed
    }
    assert "harmonic energy" in failed
    assert "covariance of nearest Ag-S" in failed
    assert not any(name.startswith("variance") for name in failed)


def test_wrong_amplitudes_fail(silver_salt):
    made = sample(silver_salt, PaperEq2Sampler(amplitudes_A=(0.4,)), 100, 1, name="set")
    one_sided = replace(
        made,
        origin=replace(made.origin, settings={"sampler": {"kind": "paper-code", "amplitudes_A": [0.4]}}),
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
    """Small sound sets: of 1,280 checks at 4 standard errors 0.08 failures are expected."""
    bonds = nearest_bonds(silver_salt.supercell)
    checks = [
        check
        for seed in range(80)
        for check in law_report(sample(silver_salt, ThermalSampler(), 8, seed, name="a"), silver_salt, bonds).checks
    ]
    assert len(checks) == 80 * 16
    assert sum(not check.passed for check in checks) <= 2


@pytest.mark.slow
def test_sound_sets_of_usual_size_do_not_fail(silver_salt):
    """200 sets of 64 samples, 24 checks each: 0.3 failures are expected."""
    made = (sample(silver_salt, ThermalSampler(), 64, seed, name="a") for seed in range(200))
    assert sum(not certify(item, silver_salt).passed for item in made) <= 2


def test_family_bounds_are_not_idle(silver_salt):
    """At a level of one half the largest of all deviations breaks its bound in about half of the sets, not never."""
    from phonograph.sampling import tallies

    bonds = nearest_bonds(silver_salt.supercell)
    names = ("variances per atom", "covariances of the axes", "mean displacements", "Kolmogorov–Smirnov distance")
    found = dict.fromkeys(names, 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tallies, "LEVEL", 0.5)
        for seed in range(40):
            report = law_report(sample(silver_salt, ThermalSampler(), 64, seed, name="a"), silver_salt, bonds)
            for name in found:
                found[name] += sum(check.name.startswith(name) and not check.passed for check in report.checks)
    for count in found.values():
        assert 5 <= count <= 32


def test_bounds_are_standard_errors(silver_salt):
    """The spread of the found values over many sets is a quarter of the stated tolerance."""
    bonds = nearest_bonds(silver_salt.supercell)
    checks = [
        law_report(sample(silver_salt, ThermalSampler(), 64, seed, name="a"), silver_salt, bonds).checks
        for seed in range(80)
    ]
    for column in zip(*checks, strict=True):
        if column[0].kind == "equal":
            spread = np.std([check.found - check.expected for check in column])
            assert 0.65 < 4 * spread / np.mean([check.tolerance for check in column]) < 1.25, column[0].name


# Planted defects


def changed(made: Configurations, change) -> Configurations:
    """The set with other displacements about the same equilibrium positions."""
    u = made.displacements_A.reshape(len(made), -1, 3)
    moved = change(u.copy()).reshape(-1, 3)
    return replace(made, positions_A=made.positions_A - made.displacements_A + moved, displacements_A=moved)


def broken(made: Configurations, reference) -> set[str]:
    return {check.name for check in certify(made, reference).checks if not check.passed}


@pytest.fixture(scope="module")
def sound(silver_salt) -> Configurations:
    made = sample(silver_salt, ThermalSampler(), 600, 1, name="set")
    assert certify(made, silver_salt).passed
    return made


def test_two_per_cent_of_temperature_are_seen(silver_salt):
    made = sample(silver_salt, ThermalSampler(temperature_K=306), 3000, 1, name="set")
    found = broken(replace(made, temperature_K=np.full(3000, 300.0)), silver_salt)
    assert {"harmonic energy", "mean square of the standardised coordinates"} <= found


def test_one_axis_of_one_atom_is_seen(silver_salt, sound):
    def stretch(u):
        u[:, 7, 1] *= 1.2
        return u

    found = broken(changed(sound, stretch), silver_salt)
    assert "variances per atom and axis, largest deviation" in found
    table = certify(changed(sound, stretch), silver_salt)
    outside = np.argwhere(table.covariance_A2 > table.upper_covariance_A2)
    assert outside.tolist() == [[7, 1]]


def test_coupled_axes_of_one_atom_are_seen(silver_salt, sound):
    def mix(u):
        u[:, 5, 1] = 0.4 * u[:, 5, 0] + np.sqrt(1 - 0.4**2) * u[:, 5, 1]
        return u

    assert "covariances of the axes of each atom, largest deviation" in broken(changed(sound, mix), silver_salt)


def test_independent_draws_of_the_right_variance_are_seen(silver_salt, sound):
    """Every atom's displacements are those of another sample: variances are untouched, correlations are gone."""
    order = np.random.default_rng(3)

    def shuffle(u):
        for atom in range(u.shape[1]):
            u[:, atom] = u[order.permutation(len(u)), atom]
        return u

    found = broken(changed(sound, shuffle), silver_salt)
    assert {"covariance of nearest Ag-S", "harmonic energy", "bond-length spread of Ag-S"} <= found
    assert "rigid shift, largest" in found
    assert not any(name.startswith("variance") for name in found)


def test_a_rigid_shift_is_seen(silver_salt, sound):
    shift = 0.001 * np.random.default_rng(1).standard_normal((len(sound), 1, 3))
    assert broken(changed(sound, lambda u: u + shift), silver_salt) == {"rigid shift, largest"}


def test_swapped_atoms_are_seen(silver_salt, sound):
    """A silver and a sulphur atom exchanged: an error of the atoms' order."""

    def swap(u):
        u[:, [0, 30]] = u[:, [30, 0]]
        return u

    found = broken(changed(sound, swap), silver_salt)
    assert {"covariance of nearest Ag-S", "mean square of the standardised coordinates"} <= found


def test_a_mean_displacement_is_seen(silver_salt, sound):
    """Two like atoms moved against each other, so that the centre of mass stays."""

    def drift(u):
        u[:, 2, 0] += 0.04
        u[:, 3, 0] -= 0.04
        return u

    assert "mean displacements, largest deviation" in broken(changed(sound, drift), silver_salt)


def test_another_distribution_of_the_right_covariance_is_seen(silver_salt, sound):
    """Uniform instead of normal coordinates, along the eigenvectors of the covariance."""
    covariance = ThermalSampler().moments(silver_salt).covariance_A2
    values, vectors = np.linalg.eigh(covariance)
    draws = np.sqrt(3) * np.random.default_rng(5).uniform(-1, 1, (len(sound), 117))

    def uniform(u):
        return (draws * np.sqrt(values[3:])) @ vectors[:, 3:].T

    found = broken(changed(sound, uniform), silver_salt)
    assert found == {"Kolmogorov–Smirnov distance to normal coordinates"}


def test_duplicates_are_counted(silver_salt, sound):
    def repeat(u):
        u[17] = u[3]
        u[90] = u[3] + 1e-8
        u[400] = u[399] + 1e-5
        return u

    statement = certify(changed(sound, repeat), silver_salt)
    check = next(check for check in statement.checks if check.name == "duplicates")
    assert (check.found, check.passed) == (2, False)
    assert "duplicates is 2, but at most 0 is allowed" in failed_checks(statement)[-1]


def test_antithetic_partners_are_not_duplicates_but_must_cancel(silver_salt):
    made = sample(silver_salt, ThermalSampler(antithetic=True), 40, 1, name="set")
    assert certify(made, silver_salt).passed

    def loose(u):
        u[5] *= 1.001
        return u

    assert broken(changed(made, loose), silver_salt) == {"sum of antithetic partners, largest"}


def test_colliding_atoms_are_seen(silver_salt, sound):
    def collide(u):
        site = silver_salt.supercell.positions_A
        u[9, 0] = site[24] + [0.8, 0, 0] - site[0]
        return u

    sentences = " ".join(failed_checks(certify(changed(sound, collide), silver_salt)))
    assert "shortest distance over sum of covalent radii" in sentences
    assert "at least 0.4 is demanded" in sentences
    strict = certify(sound, silver_salt, contact=0.95)
    assert [check.name for check in strict.checks if not check.passed] == [
        "shortest distance over sum of covalent radii"
    ]


def test_signs_of_other_amplitudes_are_seen(silver_salt):
    signs = sample(silver_salt, SignSampler(), 30, 1, name="set")
    assert certify(signs, silver_salt).passed
    assert any(
        name.startswith("amplitudes of the modes") for name in broken(changed(signs, lambda u: 1.001 * u), silver_salt)
    )


# Numbers


def test_the_length_of_a_bond_by_a_second_route():
    """Mean and spread of |R + w| against a million draws; the second order alone would miss by ten times more."""
    from phonograph.sampling.bond_spread import _length_moments

    random = np.random.default_rng(2)
    root = 0.25 * random.standard_normal((3, 3))
    bond = np.array([2.4, 0.3, -0.2])
    mean, square = _length_moments(bond[None], (root @ root.T)[None])
    lengths = np.linalg.norm(bond + random.standard_normal((1_000_000, 3)) @ root.T, axis=1)
    assert abs(mean[0] - lengths.mean()) < 5 * lengths.std() / 1000
    assert abs(square[0] - (lengths**2).mean()) < 5 * (lengths**2).std() / 1000


def test_table_of_atoms_by_a_second_route(silver_salt, sound):
    statement = certify(sound, silver_salt)
    covariance = ThermalSampler().moments(silver_salt).covariance_A2.reshape(40, 3, 40, 3)
    u = sound.displacements_A.reshape(600, 40, 3)
    for place, (a, b) in enumerate([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]):
        claimed = [covariance[i, a, i, b] for i in range(40)]
        assert_allclose(statement.claimed_covariance_A2[:, place], claimed, atol=1e-15)
        assert_allclose(statement.covariance_A2[:, place], (u[:, :, a] * u[:, :, b]).mean(axis=0), atol=1e-15)
    assert statement.sites == silver_salt.supercell.symbols
    assert (statement.lower_covariance_A2 < statement.claimed_covariance_A2).all()


def test_large_cells_are_certified_by_probes(make):
    """Beyond 600 coordinates the covariance is not diagonalised."""
    crystal = make.antiperovskite(35, 4.9, 4)[1]
    phonons = make.phonons_of(
        ForceConstants(
            unitcell=make.antiperovskite(35, 4.9)[0],
            supercell_matrix=4 * np.eye(3, dtype=int),
            supercell=crystal,
            values_eV_per_A2=make.springs(crystal),
            origin=Origin(room="test"),
        )
    )
    made = sample(phonons, ThermalSampler(), 20, 1, name="set")
    assert certify(made, phonons).passed
    assert "mean square of the standardised coordinates" in broken(changed(made, lambda u: 1.2 * u), phonons)


def test_numbers_by_a_second_route(silver_salt):
    from ase import Atoms

    made = sample(silver_salt, ThermalSampler(), 30, 1, name="set")
    statistics = certify(made, silver_salt)
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
    statistics = certify(replace(made, displacements_A=unknown, sampler="file"), silver_salt)
    assert not statistics.law_known
    assert [check.name for check in statistics.checks] == GENERAL
    assert statistics.species_rms_A == ()
    assert statistics.nearest_bonds == ()
    assert np.isnan(statistics.harmonic_energy_eV_per_atom)
    assert statistics.minimum_distance_A > 1
    bare = certify(made, silver_salt.supercell)
    assert [check.name for check in bare.checks] == GENERAL
    assert np.isnan(bare.harmonic_energy_eV_per_atom)


def test_random_laws_are_tested_without_phonons(silver_salt):
    made = sample(silver_salt.supercell, PaperEq2Sampler(), 80, 1, name="set")
    statistics = certify(made, silver_salt.supercell)
    assert failed_checks(statistics) == ()
    assert len(statistics.checks) == 15
    assert "shortest distance over sum of covalent radii" not in {check.name for check in statistics.checks}


def test_another_crystal_is_refused(silver_salt, aluminium):
    made = sample(silver_salt, ThermalSampler(), 4, 1, name="set")
    with pytest.raises(DataError, match=r"40 atoms.*the reference has 32"):
        certify(made, aluminium)
