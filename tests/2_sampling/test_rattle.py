"""Monte Carlo rattling: what it guarantees, the acceptance probability, and reproducibility."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import erf
from scipy.stats import binomtest, kstest

from phonograph.errors import ConfigurationError
from phonograph.sampling import RattleSampler, Substitution, certify, sample
from phonograph.sampling.distances import shortest_distance
from phonograph.testing import check_sampler, cubic_antiperovskite, fcc
from phonograph.types import Crystal


def coordinates(made) -> np.ndarray:
    return made.displacements_A.reshape(len(made), -1)


@pytest.mark.parametrize("cell", ["cubic", "skewed", "one atom"])
def test_no_pair_comes_closer_than_promised(silver_salt, cell):
    """Against a search over all periodic images; the skewed cell is shorter than the displacements allowed."""
    skewed = Crystal(
        cell_A=[[3.0, 0, 0], [1.4, 3.1, 0], [0.3, -1.2, 3.3]],
        positions_A=[[0, 0, 0], [1.6, 1.2, 1.6]],
        numbers=[11, 17],
    )
    crystal, distance = {
        "cubic": (silver_salt.supercell, 2.2),
        "skewed": (skewed, 1.75),
        "one atom": (fcc("Cu", 3.6), 2.4),
    }[cell]
    law = RattleSampler(minimum_distance_A=distance, rattle_std_A=0.15, n_iterations=12)
    made = sample(crystal, law, 40, 3, name="rattled")
    assert shortest_distance(made) >= distance
    assert np.linalg.norm(made.displacements_A, axis=1).max() <= 1.0
    soft = sample(crystal, replace(law, hard=False), 40, 3, name="rattled")
    if cell != "one atom":
        assert shortest_distance(soft) < distance


def test_far_atoms_perform_a_random_walk():
    """Nothing refuses a step: normal with standard deviation rattle_std_A · √n_iterations."""
    crystal = Crystal(cell_A=30 * np.eye(3), positions_A=[[0, 0, 0], [15, 0, 0]], numbers=[18, 18])
    law = RattleSampler(
        minimum_distance_A=2.0, rattle_std_A=0.04, n_iterations=9, maximum_displacement_A=5.0, width_A=0.1
    )
    made = sample(crystal, law, 800, 5, name="rattled")
    assert kstest(made.displacements_A.ravel() / 0.12, "norm").pvalue > 1e-3
    assert "100.0 % of the steps offered were taken; the rms displacement is 0.1" in made.warnings[0]


@pytest.mark.parametrize("hard", [True, False])
def test_a_step_is_taken_with_the_published_probability(hard):
    """One step of the first atom of a pair: the share taken is ⟨½(1 + erf((d − d_min)/w))⟩ over Gaussian steps."""
    rest, closest, width, std, n = 2.5, 2.45, 0.12, 0.1, 4000
    crystal = Crystal(cell_A=20 * np.eye(3), positions_A=[[0, 0, 0], [rest, 0, 0]], numbers=[18, 18])
    law = RattleSampler(
        minimum_distance_A=closest, width_A=width, rattle_std_A=std, n_iterations=1, max_attempts=1, hard=hard
    )
    made = sample(crystal, law, n, 5, name="rattled")
    steps = np.random.default_rng(0).normal(0.0, std, (400_000, 3))
    d = np.linalg.norm(np.array([rest, 0, 0]) - steps, axis=1)
    probability = 0.5 * (1 + erf((d - closest) / width))
    expected = np.where(d >= closest, probability, 0.0).mean() if hard else probability.mean()
    taken = int((np.abs(made.displacements_A[::2]).max(axis=1) > 0).sum())
    assert binomtest(taken, n, expected).pvalue > 1e-3
    assert "found no place in 1 attempts" in made.warnings[1]


def test_sample_depends_on_seed_and_index_only(silver_salt):
    law = RattleSampler(minimum_distance_A=2.25, rattle_std_A=0.1, n_iterations=4)
    long = coordinates(sample(silver_salt, law, 130, 9, name="long"))
    for n in (1, 7, 64, 65):
        assert_array_equal(coordinates(sample(silver_salt, law, n, 9, name="short")), long[:n])
    assert_array_equal(coordinates(law.sample_at(silver_salt, [99, 3, 128], 9)), long[[99, 3, 128]])
    check_sampler(law, cubic_antiperovskite())


def test_rattling_needs_no_phonons_and_combines_with_composition(silver_salt):
    law = RattleSampler(minimum_distance_A=2.0)
    bare = sample(silver_salt.supercell, law, 3, 1, name="a")
    assert_array_equal(bare.displacements_A, sample(silver_salt, law, 3, 1, name="a").displacements_A)
    assert np.isnan(bare.temperature_K).all()
    mixed = sample(silver_salt, law, 6, 1, name="a", composition=Substitution(replace="Br", by="I", lattice="fixed"))
    assert 53 in mixed.numbers
    assert_allclose(mixed.displacements_A[:120], bare.displacements_A)
    certificate = certify(mixed, silver_salt)
    assert not certificate.law_known
    assert [check.name for check in certificate.checks] == [
        "shortest distance over sum of covalent radii",
        "duplicates",
    ]


def test_a_crystal_at_rest_that_is_too_close_is_one_sentence(silver_salt):
    with pytest.raises(ConfigurationError, match=r"Ag and S at 2\.450 Å, closer than minimum_distance_A = 2\.6"):
        sample(silver_salt, RattleSampler(minimum_distance_A=2.6), 2, 0, name="a")


def test_the_minimum_distance_must_be_given():
    from phonograph.tables import from_table

    with pytest.raises(ConfigurationError, match=r"sampling\.sets\[0\]\.minimum_distance_A is required: Dist"):
        from_table(RattleSampler, {}, "sampling.sets[0]")


@pytest.mark.parametrize(
    "options",
    [
        {"minimum_distance_A": 0.0},
        {"rattle_std_A": -0.1},
        {"width_A": 0.0},
        {"n_iterations": 0},
        {"max_attempts": 0},
        {"maximum_displacement_A": float("nan")},
    ],
)
def test_impossible_options_are_refused(options):
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        RattleSampler(**{"minimum_distance_A": 2.0, **options})
