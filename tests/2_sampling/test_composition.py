"""Solid solutions: occupations, Vegard's lattice, masses, and how they combine with every law."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from itertools import combinations, permutations, product

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from phonograph.errors import ConfigurationError, DataError, PhysicsError
from phonograph.sampling import (
    MatchedRandomSampler,
    PaperCodeSampler,
    PaperEq2Sampler,
    PaperEq3Sampler,
    Substitution,
    ThermalSampler,
    occupation_weights,
    sample,
)
from phonograph.sampling.orbits import inequivalent, site_permutations
from phonograph.sampling.quasirandom import clusters_of, correlations, descended, quasirandom, random_alloy
from phonograph.types import Configurations, Crystal

BROMINE, IODINE = 35, 53


@pytest.fixture(scope="module")
def iodide(make):
    """Unit cell and supercell of Ag3SI with a longer lattice."""
    return make.antiperovskite(IODINE, 5.0)


@pytest.fixture(scope="module")
def solution(iodide) -> Substitution:
    return Substitution(replace="Br", by="I", end_member=iodide[0])


FIXED = Substitution(replace="Br", by="I", lattice="fixed")


def iodines(made: Configurations) -> np.ndarray:
    return (made.numbers.reshape(len(made), -1) == IODINE).sum(axis=1)


def test_fractions_take_turns_and_are_recorded(silver_salt, solution):
    made = sample(silver_salt, ThermalSampler(), 9, 1, name="mix", composition=solution)
    assert_array_equal(made.fraction, [0.25, 0.5, 0.75] * 3)
    assert_array_equal(iodines(made), [2, 4, 6] * 3)
    assert_array_equal(made.index, np.arange(9))
    assert "force constants of the parent crystal" in made.warnings[-1]
    assert made.origin.settings["composition"]["by"] == "I"
    assert len(set(made.group)) == 9


def test_lattice_follows_vegard_and_positions_scale(silver_salt, solution):
    made = sample(silver_salt, ThermalSampler(), 3, 1, name="mix", composition=solution)
    for position, x in enumerate((0.25, 0.5, 0.75)):
        assert_allclose(made.cells_A[position], 2 * (4.9 * (1 - x) + 5.0 * x) * np.eye(3), atol=1e-12)
        crystal = made.crystal(position)
        ideal = crystal.positions_A - made.displacements_A[40 * position : 40 * position + 40]
        assert_allclose(ideal @ np.linalg.inv(crystal.cell_A), silver_salt.supercell.fractional, atol=1e-12)


def test_vegard_of_a_sheared_end_member(silver_salt, iodide):
    """Interpolation is by lattice vectors, not by lengths."""
    shear = np.eye(3) + 0.02 * np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]])
    end = Crystal(cell_A=iodide[1].cell_A @ shear, positions_A=iodide[1].positions_A @ shear, numbers=iodide[1].numbers)
    composition = Substitution(replace="Br", by="I", fractions=(0.5,), end_member=end)
    made = sample(silver_salt.supercell, PaperEq2Sampler(), 1, 1, name="mix", composition=composition)
    assert_allclose(made.cells_A[0], 0.5 * silver_salt.supercell.cell_A + 0.5 * end.cell_A, atol=1e-12)


def test_fixed_lattice(silver_salt):
    made = sample(silver_salt, ThermalSampler(), 3, 1, name="mix", composition=FIXED)
    assert_array_equal(made.cells_A, np.broadcast_to(silver_salt.supercell.cell_A, (3, 3, 3)))


def test_occupations_are_random_and_depend_on_seed_and_index_only(silver_salt):
    half = replace(FIXED, fractions=(0.5,))
    long = sample(silver_salt, PaperEq2Sampler(), 700, 5, name="long", composition=half)
    short = sample(silver_salt, PaperEq2Sampler(), 31, 5, name="short", composition=half)
    assert_array_equal(short.numbers, long.numbers[: 31 * 40])
    assert_array_equal(short.positions_A, long.positions_A[: 31 * 40])
    sites = long.numbers.reshape(700, 40)[:, 32:] == IODINE
    counts = Counter(row.tobytes() for row in sites)
    assert len(counts) == 70  # all C(8, 4) occupations
    expected = 700 / 70
    chi_square = sum((count - expected) ** 2 / expected for count in counts.values())
    assert chi_square < 120  # 69 degrees of freedom: p = 1e-4


def test_masses_of_the_substituted_atoms_enter_the_covariance(silver_salt):
    """All sites replaced: the law must be that of the pure iodide with the same force constants."""
    full = Substitution(replace="Br", by="I", fractions=(1.0,), lattice="fixed")
    found = sample(silver_salt, ThermalSampler(), 3, 1, name="mix", composition=full)
    constants = silver_salt.force_constants
    parent = silver_salt.supercell
    heavy = Crystal(
        cell_A=parent.cell_A,
        positions_A=parent.positions_A,
        numbers=np.where(parent.numbers == BROMINE, IODINE, parent.numbers),
    )
    pure = replace(silver_salt, force_constants=replace(constants, supercell=heavy))
    expected = sample(pure, ThermalSampler(), 3, 1, name="mix")
    assert_array_equal(found.displacements_A, expected.displacements_A)
    parent_law = sample(silver_salt, ThermalSampler(), 3, 1, name="mix").displacements_A
    assert np.abs(found.displacements_A - parent_law).max() > 1e-3


def test_same_fraction_different_occupation_has_its_own_modes(silver_salt):
    from phonograph.sampling.composition import substituted

    made = sample(silver_salt, ThermalSampler(), 6, 1, name="mix", composition=FIXED)
    for position in range(6):
        here = substituted(silver_salt, made.crystal(position).numbers)
        own = ThermalSampler().sample_at(here, [position], 1).displacements_A
        assert_array_equal(own, made.displacements_A[40 * position : 40 * position + 40])


def test_antithetic_partners_share_their_occupation(silver_salt):
    sampler = ThermalSampler(antithetic=True)
    made = sample(silver_salt, sampler, 12, 1, name="mix", composition=FIXED)
    numbers = made.numbers.reshape(12, -1)
    u = made.displacements_A.reshape(12, -1)
    assert_array_equal(numbers[0::2], numbers[1::2])
    assert_array_equal(u[0::2], -u[1::2])
    assert_array_equal(made.fraction, np.repeat([0.25, 0.5, 0.75] * 2, 2))
    assert made.group[0] == made.group[1]


def test_every_amplitude_meets_every_fraction(silver_salt):
    """Eight amplitudes and four fractions share a factor; plain turns would confound them."""
    composition = Substitution(replace="Br", by="I", fractions=(0.0, 0.25, 0.5, 1.0), lattice="fixed")
    made = sample(silver_salt.supercell, PaperEq2Sampler(), 32, 1, name="mix", composition=composition)
    assert len(set(zip(made.amplitude_A, made.fraction, strict=True))) == 32


@pytest.mark.parametrize(
    "sampler",
    [
        PaperCodeSampler(),
        PaperEq3Sampler(),
        MatchedRandomSampler(rms_A=(("Ag", 0.2), ("S", 0.1), ("Br", 0.1), ("I", 0.05))),
    ],
)
def test_composition_combines_with_every_law(silver_salt, solution, sampler):
    made = sample(silver_salt, sampler, 6, 1, name="mix", composition=solution)
    assert_array_equal(iodines(made), [2, 4, 6] * 2)
    assert made.sampler == sampler.kind


def test_matched_law_needs_the_new_species_too(silver_salt, solution):
    sampler = MatchedRandomSampler(rms_A=(("Ag", 0.2), ("S", 0.1), ("Br", 0.1)))
    with pytest.raises(ConfigurationError, match="but not for I"):
        sample(silver_salt, sampler, 2, 1, name="mix", composition=solution)


@dataclass(frozen=True)
class Outsider:
    """A sampler with the public method only."""

    def sample(self, reference, n, seed):
        return replace(PaperEq2Sampler(amplitudes_A=(0.1,)).sample(reference, n, seed), sampler="outsider")


def test_composition_combines_with_a_plug_in(silver_salt):
    made = sample(silver_salt, Outsider(), 9, 1, name="mix", composition=FIXED)
    own = sample(silver_salt, PaperEq2Sampler(amplitudes_A=(0.1,)), 9, 1, name="mix", composition=FIXED)
    assert_array_equal(made.positions_A, own.positions_A)
    assert_array_equal(made.numbers, own.numbers)
    assert made.origin.settings["sampler"]["kind"] == "Outsider"


def test_rounded_fractions_are_told_and_recorded(silver_salt):
    composition = Substitution(replace="Br", by="I", fractions=(0.3, 0.5), lattice="fixed")
    made = sample(silver_salt, ThermalSampler(), 2, 1, name="mix", composition=composition)
    assert_array_equal(made.fraction, [0.25, 0.5])
    assert "0.3 becomes 2/8 = 0.25" in made.warnings[-1]
    assert "0.5 becomes" not in made.warnings[-1]


def test_alike_warnings_of_many_occupations_are_one_sentence(silver_salt):
    made = sample(silver_salt, ThermalSampler(soft_modes="floor", floor_THz=3), 12, 1, name="mix", composition=FIXED)
    assert len(made.warnings) == 2
    assert "more occupations, with other numbers" in made.warnings[0]


def test_progress_is_told(silver_salt):
    told = []
    sample(silver_salt, ThermalSampler(), 6, 1, name="mix", composition=FIXED, progress=lambda *what: told.append(what))
    assert told[-1] == ("sample mix", 6, 6)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"replace": "Br", "by": "Xx"}, "chemical symbol"),
        ({"replace": "X", "by": "I"}, "chemical symbol"),
        ({"replace": "Br", "by": "Br"}, "twice"),
        ({"replace": "Br", "by": "I"}, "end_member_file"),
        ({"replace": "Br", "by": "I", "lattice": "linear"}, "lattice"),
        ({"replace": "Br", "by": "I", "lattice": "fixed", "fractions": ()}, "at least one fraction"),
        ({"replace": "Br", "by": "I", "lattice": "fixed", "fractions": (1.5,)}, "at most 1"),
    ],
)
def test_impossible_options_are_refused(options, words):
    with pytest.raises(ConfigurationError, match=words):
        Substitution(**options)


def test_species_that_is_not_there(silver_salt):
    composition = Substitution(replace="Cl", by="I", lattice="fixed")
    with pytest.raises(ConfigurationError, match=r"replaces Cl, but the crystal Ag24S8Br8 holds none"):
        sample(silver_salt, ThermalSampler(), 2, 1, name="mix", composition=composition)


def test_an_end_member_that_was_not_read(silver_salt):
    composition = Substitution(replace="Br", by="I", end_member_file="Ag3SI.vasp")
    with pytest.raises(ConfigurationError, match=r"'Ag3SI.vasp' has not been read"):
        sample(silver_salt, ThermalSampler(), 2, 1, name="mix", composition=composition)


def test_a_wrong_end_member(silver_salt, make, iodide):
    chloride = Substitution(replace="Br", by="I", end_member=make.antiperovskite(17, 4.8)[0])
    with pytest.raises(DataError, match="all Br replaced by I"):
        sample(silver_salt, ThermalSampler(), 2, 1, name="mix", composition=chloride)
    turned = Crystal(
        cell_A=iodide[0].cell_A @ np.array([[0.6, 0.8, 0], [-0.8, 0.6, 0], [0, 0, 1]]),
        positions_A=iodide[0].positions_A,
        numbers=iodide[0].numbers,
    )
    with pytest.raises(DataError, match="same setting"):
        sample(
            silver_salt,
            ThermalSampler(),
            2,
            1,
            name="mix",
            composition=Substitution(replace="Br", by="I", end_member=turned),
        )


def signed_permutations() -> list[np.ndarray]:
    """The 48 point operations of the cube."""
    return [
        np.diag(signs) @ np.eye(3, dtype=int)[list(order)]
        for order in permutations(range(3))
        for signs in product((1, -1), repeat=3)
    ]


def orbits_by_hand(repeat: int, count: int) -> Counter:
    """Sizes of the orbits of ``count`` sites of a repeat³ simple cubic torus, from explicit matrices."""
    sites = list(product(range(repeat), repeat=3))
    group = {
        tuple(tuple((operation @ site + shift) % repeat) for site in sites)
        for operation in signed_permutations()
        for shift in sites
    }
    seen, sizes = set(), Counter()
    for chosen in combinations(range(len(sites)), count):
        key = frozenset(sites[i] for i in chosen)
        if key not in seen:
            orbit = {frozenset(moved[i] for i in chosen) for moved in group}
            seen |= orbit
            sizes[len(orbit)] += 1
    return sizes


@pytest.mark.parametrize("count", range(9))
def test_inequivalent_occupations_of_eight_sites_against_explicit_matrices(silver_salt, count):
    crystal = silver_salt.supercell
    sites = np.flatnonzero(crystal.numbers == BROMINE)
    found = inequivalent(site_permutations(crystal, sites), count)
    assert Counter(found.multiplicity.tolist()) == orbits_by_hand(2, count)


def test_inequivalent_occupations_of_a_larger_cell(make):
    _, crystal = make.antiperovskite(BROMINE, 4.9, repeat=3)
    found = inequivalent(site_permutations(crystal, np.flatnonzero(crystal.numbers == BROMINE)), 2)
    assert Counter(found.multiplicity.tolist()) == orbits_by_hand(3, 2)


def test_a_crystal_without_symmetry_has_every_occupation():
    rng = np.random.default_rng(3)
    crystal = Crystal(
        cell_A=np.eye(3) * 7 + 0.3 * rng.random((3, 3)), positions_A=7 * rng.random((6, 3)), numbers=[35] * 6
    )
    found = inequivalent(site_permutations(crystal, np.arange(6)), 3)
    assert found.multiplicity.tolist() == [1] * 20


INEQUIVALENT = replace(FIXED, occupations="inequivalent")


def nearest_iodine_pairs(made: Configurations) -> np.ndarray:
    """Number of nearest I–I neighbours: the same for equivalent occupations."""
    grid = (made.numbers.reshape(len(made), 40)[:, 32:] == IODINE).astype(int).reshape(-1, 2, 2, 2)
    return sum((grid * np.roll(grid, 1, axis=axis)).sum(axis=(1, 2, 3)) for axis in (1, 2, 3))


def test_weighted_inequivalent_occupations_are_the_random_alloy(silver_salt):
    """Six samples stand for all 70 occupations, and fifteen that repeat some of them do too."""
    every = combinations(range(8), 4)
    grid = np.array([[site in chosen for site in range(8)] for chosen in every], dtype=int).reshape(-1, 2, 2, 2)
    exact = np.mean([sum((g * np.roll(g, 1, axis=axis)).sum() for axis in range(3)) for g in grid])
    composition = replace(INEQUIVALENT, fractions=(0.5,))
    for n in (6, 15):
        made = sample(
            silver_salt.supercell, PaperEq2Sampler(amplitudes_A=(0.1,)), n, 1, name="x", composition=composition
        )
        weights = occupation_weights(made)
        assert weights.sum() == pytest.approx(1)
        assert weights @ nearest_iodine_pairs(made) == pytest.approx(exact)
        if n == 6:
            assert np.mean(nearest_iodine_pairs(made)) < 0.95 * exact


def test_inequivalent_occupations_take_turns_whatever_n(silver_salt):
    long = sample(silver_salt, ThermalSampler(), 24, 1, name="x", composition=INEQUIVALENT)
    short = sample(silver_salt, ThermalSampler(), 7, 1, name="x", composition=INEQUIVALENT)
    assert_array_equal(short.numbers, long.numbers[: 7 * 40])
    assert_array_equal(short.displacements_A, long.displacements_A[: 7 * 40])
    rows = [row.tobytes() for row in long.numbers.reshape(24, 40)]
    assert [len(set(rows[place::3])) for place in range(3)] == [3, 6, 3]
    assert rows[0] == rows[9]  # three occupations of x = 0.25, every third sample
    assert "0.5: 6 symmetry-inequivalent occupations stand for all 70" in " ".join(long.warnings)
    assert "of which this set holds 2" in " ".join(short.warnings)
    assert occupation_weights(long)[long.fraction == 0.5].sum() == pytest.approx(1)


def test_every_amplitude_meets_every_occupation(silver_salt):
    composition = replace(INEQUIVALENT, fractions=(0.5,))
    made = sample(silver_salt.supercell, PaperEq2Sampler(), 48, 1, name="x", composition=composition)
    rows = [row.tobytes() for row in made.numbers.reshape(48, 40)]
    assert len(set(zip(rows, made.amplitude_A, strict=True))) == 48


def test_occupations_may_be_groups(silver_salt):
    sampler = ThermalSampler(antithetic=True)
    alone = sample(silver_salt, sampler, 24, 1, name="x", composition=INEQUIVALENT)
    grouped = sample(silver_salt, sampler, 24, 1, name="x", composition=replace(INEQUIVALENT, group_by_occupation=True))
    assert len(set(alone.group)) == 12
    rows = [row.tobytes() for row in grouped.numbers.reshape(24, 40)]
    assert len(set(grouped.group)) == len(set(rows)) == len(set(zip(rows, grouped.group, strict=True)))
    assert_array_equal(alone.displacements_A, grouped.displacements_A)


def test_too_many_occupations_are_refused(make):
    _, crystal = make.antiperovskite(BROMINE, 4.9, repeat=3)
    with pytest.raises(PhysicsError, match=r"13 of 27 sites can be done in 2.01e\+07 ways.*quasirandom"):
        sample(crystal, PaperEq2Sampler(), 2, 1, name="x", composition=replace(INEQUIVALENT, fractions=(13 / 27,)))


def test_weights_need_enumerated_occupations(silver_salt):
    with pytest.raises(DataError, match="occupations = 'inequivalent'"):
        occupation_weights(sample(silver_salt, ThermalSampler(), 3, 1, name="x", composition=FIXED))


def pair_correlations(crystal: Crystal, sites: np.ndarray, spins: np.ndarray, shells: int) -> np.ndarray:
    """Mean σσ' per shell from all pairs of sites and 5 × 5 × 5 images."""
    images = np.array(list(product(range(-2, 3), repeat=3))) @ crystal.cell_A
    positions = crystal.positions_A[sites]
    vectors = positions[None, :, None] - positions[:, None, None] + images
    distance = np.linalg.norm(vectors, axis=-1).round(3)
    radii = np.unique(distance[distance > 0])[:shells]
    both = np.broadcast_to((spins[:, None] * spins[None])[..., None], distance.shape)
    return np.array([both[distance == radius].mean() for radius in radii])


def test_quasirandom_occupation_is_the_best_of_all(silver_salt):
    """Eight sites: exhaustive search, descents and all 70 occupations counted by hand agree."""
    crystal = silver_salt.supercell
    sites = np.flatnonzero(crystal.numbers == BROMINE)
    clusters = clusters_of(crystal, sites, 3, triplets=False)
    for count in range(1, 8):
        found = quasirandom(clusters, count, seed=1)
        ideal = (2 * count / 8 - 1) ** 2
        weights = 1 / np.sqrt([1, 2, 3])
        by_hand = {}
        for chosen in combinations(range(8), count):
            spins = np.where(np.isin(np.arange(8), chosen), 1.0, -1.0)
            by_hand[chosen] = float(weights @ (pair_correlations(crystal, sites, spins, 3) - ideal) ** 2)
        assert found.objective == pytest.approx(min(by_hand.values()), abs=1e-12)
        assert found.objective == pytest.approx(by_hand[tuple(found.chosen)], abs=1e-12)
        descent = descended(clusters, count, found.random_alloy, seed=2)
        assert by_hand[tuple(descent)] == pytest.approx(found.objective, abs=1e-12)


def test_triplets_against_all_images(silver_salt):
    """Kinds of triplets of the first two shells: (1, 1, 2) and (2, 2, 2), counted by hand."""
    crystal = silver_salt.supercell
    sites = np.flatnonzero(crystal.numbers == BROMINE)
    clusters = clusters_of(crystal, sites, 2, triplets=True)
    spins = np.where(np.isin(np.arange(8), [0, 1, 3]), 1.0, -1.0)
    found = correlations(clusters, np.append(spins, 1.0)[None])[0]
    edge = [v for v in product((-1, 0, 1), repeat=3) if np.dot(v, v) in (1, 2)]
    sums: dict[tuple[int, ...], list[float]] = {}
    for corner, (a, b) in product(product(range(2), repeat=3), product(edge, repeat=2)):
        side = np.dot(np.subtract(a, b), np.subtract(a, b))
        if side in (1, 2):
            places = [np.add(corner, v) % 2 for v in ((0, 0, 0), a, b)]
            value = np.prod([spins[int(place @ [4, 2, 1])] for place in places])
            sums.setdefault(tuple(sorted((np.dot(a, a), np.dot(b, b), side))), []).append(value)
    expected = [np.mean(sums[kind]) for kind in sorted(sums)]
    assert sorted(sums) == [(1, 1, 2), (2, 2, 2)]
    assert_allclose(found[clusters.order == 3], expected, atol=1e-12)
    assert_allclose(found[clusters.order == 2], pair_correlations(crystal, sites, spins, 2), atol=1e-12)


@pytest.mark.parametrize("triplets", [False, True])
def test_quasirandom_occupation_of_a_larger_cell(make, triplets):
    """64 sites: far below random occupations, with correlations that a second route confirms."""
    _, crystal = make.antiperovskite(BROMINE, 4.9, repeat=4)
    composition = replace(FIXED, fractions=(0.25, 0.5), occupations="quasirandom", shells=3, triplets=triplets)
    sampler = PaperEq2Sampler(amplitudes_A=(0.1,))
    made = sample(crystal, sampler, 6, 1, name="x", composition=composition)
    rows = made.numbers.reshape(6, -1)
    assert_array_equal(rows[0], rows[4])
    sites = np.flatnonzero(crystal.numbers == BROMINE)
    clusters = clusters_of(crystal, sites, 3, triplets=triplets)
    for place, x in ((0, 0.25), (1, 0.5)):
        spins = np.where(rows[place][sites] == IODINE, 1.0, -1.0)
        assert spins.mean() == pytest.approx(2 * x - 1)
        found = pair_correlations(crystal, sites, spins, 3)
        random_order = [np.random.default_rng(seed).permutation(spins) for seed in range(50)]
        mismatch = correlations(clusters, np.column_stack([random_order, np.ones(50)])) - random_alloy(
            clusters, int(64 * x)
        )
        typical = np.mean(mismatch**2 @ (clusters.radius_A.min() / clusters.radius_A))
        table = made.origin.settings["occupations"][place]
        assert table["objective"] < 0.05 * typical
        assert_allclose(np.array(table["correlations"])[clusters.order == 2], found, atol=1e-12)
    assert "the random alloy's in brackets" in made.warnings[-1]


def test_quasirandom_needs_shells_that_exist():
    crystal = Crystal(cell_A=25 * np.eye(3), positions_A=np.array([[0.0, 0, 0], [3, 0, 0]]), numbers=[BROMINE, BROMINE])
    composition = replace(FIXED, fractions=(0.5,), occupations="quasirandom", shells=6)
    with pytest.raises(PhysicsError, match="fewer than 6 shells"):
        sample(crystal, PaperEq2Sampler(), 1, 1, name="x", composition=composition)
