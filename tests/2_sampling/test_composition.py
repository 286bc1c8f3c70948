"""Solid solutions: occupations, Vegard's lattice, masses, and how they combine with every law."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from phonograph.errors import ConfigurationError, DataError
from phonograph.sampling import (
    MatchedRandomSampler,
    PaperEq2Sampler,
    PaperEq3Sampler,
    Substitution,
    ThermalSampler,
    sample,
)
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
        PaperEq2Sampler(law="one-sided"),
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
