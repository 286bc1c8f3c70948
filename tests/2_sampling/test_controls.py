"""Controls matched in what would be confounded: distances of pairs, and labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.stats import ks_2samp

from phonograph.errors import ConfigurationError, DataError
from phonograph.sampling import (
    MatchedRandomSampler,
    PairMatchedSampler,
    PaperEq2Sampler,
    Substitution,
    ThermalSampler,
    certify,
    match_labels,
    sample,
)
from phonograph.testing import check_sampler


def distances(made, crystal, cutoff: float) -> dict[tuple[str, str, int], np.ndarray]:
    """All distances by species and shell, from explicit images and sites (a second route)."""
    symbols = np.array(crystal.symbols)
    images = np.array(list(np.ndindex(3, 3, 3))) - 1
    found: dict[tuple[str, str, int], np.ndarray] = {}
    ideal = crystal.positions_A
    for image in images:
        shift = image @ crystal.cell_A
        length = np.linalg.norm(ideal[None] + shift - ideal[:, None], axis=2)
        i, j = np.nonzero((length < cutoff) & (np.arange(40)[:, None] < np.arange(40)))
        moved = made.positions_A.reshape(len(made), 40, 3)
        lengths = np.linalg.norm(moved[:, j] + shift - moved[:, i], axis=2)
        for place, (a, b) in enumerate(zip(i, j, strict=True)):
            key = (*sorted((symbols[a], symbols[b])), round(100 * length[a, b]))
            found[key] = np.append(found.get(key, np.zeros(0)), lengths[:, place])
    return found


@pytest.fixture(scope="module")
def thermal(silver_salt):
    return sample(silver_salt, ThermalSampler(temperature_K=400.0), 60, 1, name="thermal")


@pytest.fixture(scope="module")
def control(silver_salt, thermal):
    return sample(silver_salt, PairMatchedSampler().matched_to(thermal), 60, 2, name="control")


def test_histograms_of_distances_are_the_targets(silver_salt, thermal, control):
    """Every kind of pair is as near to the target as two halves of the target are; matched-random is not."""
    crystal = silver_salt.supercell
    target, matched = (distances(made, crystal, 5.5) for made in (thermal, control))
    plain = distances(sample(silver_salt, MatchedRandomSampler().matched_to(thermal), 60, 2, name="r"), crystal, 5.5)
    assert len(target) == 8
    half = distances(thermal.first(30), crystal, 5.5)
    floor = max(ks_2samp(half[key], target[key]).statistic for key in target)
    apart = {key: ks_2samp(matched[key], target[key]).statistic for key in target}
    assert max(apart.values()) < max(floor, 0.03)
    assert ks_2samp(plain["Ag", "S", 245], target["Ag", "S", 245]).statistic > 4 * apart["Ag", "S", 245]
    told = " ".join(control.warnings)
    assert f"{max(apart.values()):.3f}" in told


def test_each_configuration_has_the_distances_of_one_of_the_target(silver_salt, thermal, control):
    """Not only the pooled histogram: the spread between configurations is the target's, too."""
    crystal = silver_salt.supercell
    shape = (48, 60)
    target, matched = (
        np.sort(distances(made, crystal, 3.0)["Ag", "S", 245].reshape(shape), axis=0) for made in (thermal, control)
    )
    own = np.sqrt(((matched - target) ** 2).mean(axis=0))
    other = np.sqrt(((matched - np.roll(target, 1, axis=1)) ** 2).mean(axis=0))
    assert own.mean() < 0.7 * other.mean()


def test_the_control_is_otherwise_random(thermal, control, silver_salt):
    """Displacements are not those of the target, and less correlated between neighbours."""
    u, v = (made.displacements_A.reshape(60, -1) for made in (thermal, control))
    overlap = np.einsum("si,si->s", u, v) / np.linalg.norm(u, axis=1) / np.linalg.norm(v, axis=1)
    assert abs(overlap.mean()) < 5 / np.sqrt(60 * 120)
    assert abs(np.mean(v)) < 0.01
    rms = dict(certify(control, silver_salt).species_rms_A)
    for symbol, value in certify(thermal, silver_salt).species_rms_A:
        assert rms[symbol] == pytest.approx(value, rel=0.15)


def test_control_samples_do_not_depend_on_n(silver_salt, thermal, control):
    sampler = PairMatchedSampler().matched_to(thermal)
    few = sampler.sample_at(silver_salt, [41, 7], 2)
    assert_array_equal(few.displacements_A.reshape(2, -1), control.displacements_A.reshape(60, -1)[[41, 7]])
    check_sampler(sampler, silver_salt.supercell)


def test_control_of_a_solid_solution(silver_salt):
    """Distances of the species present, from configurations of the same composition."""
    composition = Substitution(replace="Br", by="I", fractions=(0.25, 0.75), lattice="fixed")
    target = sample(silver_salt, ThermalSampler(), 20, 1, name="thermal", composition=composition)
    sampler = PairMatchedSampler(cutoff_A=4.0).matched_to(target)
    made = sample(silver_salt, sampler, 20, 2, name="control", composition=composition)
    assert_array_equal(made.fraction, target.fraction)
    pure = sample(silver_salt, sampler, 3, 2, name="pure")
    assert "target holds no pairs" not in " ".join(pure.warnings)
    absent = Substitution(replace="Br", by="Cl", fractions=(0.25,), lattice="fixed")
    with pytest.raises(ConfigurationError, match="but not for Cl"):
        sample(silver_salt, sampler, 3, 2, name="chlorine", composition=absent)


def test_pair_matching_refuses_what_it_cannot_match(silver_salt, thermal, aluminium):
    with pytest.raises(ConfigurationError, match="needs the set whose distances it matches"):
        sample(silver_salt, PairMatchedSampler(), 2, 1, name="x")
    with pytest.raises(DataError, match="do not hold the 32 atoms"):
        sample(aluminium, PairMatchedSampler().matched_to(thermal), 2, 1, name="x")
    with pytest.raises(ConfigurationError, match="no two atoms are closer than cutoff_A = 1 Å"):
        sample(silver_salt, PairMatchedSampler(cutoff_A=1.0).matched_to(thermal), 2, 1, name="x")


def test_distances_that_cannot_be_matched_are_told(silver_salt, thermal):
    """Two atoms of the target have changed places; thermal displacements alone are matched without a word."""
    sites = silver_salt.supercell.positions_A
    moved = thermal.displacements_A.reshape(60, 40, 3).copy()
    moved[:, 0] += sites[1] - sites[0]
    moved[:, 1] -= sites[1] - sites[0]
    hopped = replace(
        thermal, displacements_A=moved.reshape(-1, 3), positions_A=(sites + moved).reshape(-1, 3), name="hopped"
    )
    told = " ".join(sample(silver_salt, PairMatchedSampler().matched_to(hopped), 30, 2, name="x").warnings)
    assert "could not be matched: do atoms of the target leave their sites?" in told
    assert "Ag-S shell 1" in told
    plain = sample(silver_salt, PairMatchedSampler().matched_to(thermal), 30, 2, name="x")
    assert "could not be matched" not in " ".join(plain.warnings)


@pytest.fixture(scope="module")
def pool(silver_salt):
    amplitudes = tuple(np.linspace(0.1, 0.8, 71))
    return sample(silver_salt.supercell, PaperEq2Sampler(amplitudes_A=amplitudes), 1600, 3, name="pool")


def rms(made) -> np.ndarray:
    """A label that depends on the configuration: its rms displacement, Å."""
    return np.sqrt((made.displacements_A.reshape(len(made), -1) ** 2).mean(axis=1))


def test_labels_are_distributed_like_the_target(pool):
    target = np.random.default_rng(0).normal(0.2, 0.03, 300)
    found = match_labels(pool, rms(pool), target, 120, 1)
    assert_array_equal(rms(found.configurations), found.values)
    assert len(set(found.positions.tolist())) == 120
    assert ks_2samp(found.values, target).pvalue > 0.2
    assert found.ks_statistic == pytest.approx(ks_2samp(found.values, target).statistic)
    assert ks_2samp(rms(pool), target).pvalue < 1e-6
    assert found.configurations.name == "pool-matched"
    again = match_labels(pool, rms(pool), target, 120, 1)
    assert_array_equal(again.positions, found.positions)


def test_holes_of_the_target_are_told(pool):
    """Also: sixty equal against sixty labels leave no exact p value, and that is nothing to warn of."""
    labels = np.random.default_rng(0).normal(0.0, 1.0, len(pool))
    target = np.random.default_rng(1).normal(0.0, 0.5, 60)
    whole = match_labels(pool, labels, target, 60, 1)
    holed = match_labels(pool, labels, np.append(target, [np.nan, np.nan]), 60, 1)
    assert_array_equal(holed.positions, whole.positions)
    assert "2 of 62 target labels are holes and are left out" in holed.warnings
    assert "holes" not in " ".join(whole.warnings)


def test_matching_is_the_best_assignment():
    """Against all choices of 3 of 6 labels in every order."""
    from itertools import permutations

    from phonograph.streams import stream
    from phonograph.testing import cubic_antiperovskite, displaced

    pool = displaced(cubic_antiperovskite(), 6)
    labels, target = np.array([0.0, 1.0, 1.1, 2.0, 5.0, 9.0]), np.array([0.9, 1.2, 4.0, 8.0])
    found = match_labels(pool, labels, target, 3, 7)
    wanted = np.quantile(target, (np.arange(3) + stream(7, "match-labels").random(3)) / 3)
    best = min(permutations(range(6), 3), key=lambda chosen: ((labels[list(chosen)] - wanted) ** 2).sum())
    assert_array_equal(found.positions, sorted(best))


def test_holes_are_never_chosen(pool):
    values = rms(pool)
    values[::2] = np.nan
    found = match_labels(pool, values, np.linspace(0.1, 0.3, 40), 30, 1)
    assert (found.positions % 2 == 1).all()


def test_a_pool_that_does_not_cover_the_target_is_refused(pool):
    target = np.concatenate([np.full(90, 0.2), np.full(10, 3.0)])
    with pytest.raises(DataError, match=r"10\.0 % of the target labels lie outside its range"):
        match_labels(pool, rms(pool), target, 50, 1)
    found = match_labels(pool, rms(pool), target, 50, 1, largest_uncovered_share=0.2)
    assert found.uncovered_share == pytest.approx(0.1)
    assert "outside the range of the pool" in found.warnings[-1]


def test_a_thin_pool_is_told(pool):
    """Inside the range but too few labels where the target is dense."""
    target = np.random.default_rng(0).normal(0.25, 0.002, 400)
    found = match_labels(pool, rms(pool), target, 400, 1)
    assert any("too thin" in warning for warning in found.warnings)
    assert found.ks_p_value < 0.05


def test_impossible_label_matches_are_one_sentence(pool):
    with pytest.raises(DataError, match=r"one label per configuration \(1600\)"):
        match_labels(pool, np.zeros(3), np.zeros(3), 2, 1)
    with pytest.raises(DataError, match="as many labels in the pool"):
        match_labels(pool.first(5), np.arange(5.0), np.arange(5.0), 6, 1)
    with pytest.raises(ConfigurationError, match="positive integer; got 0"):
        match_labels(pool, rms(pool), rms(pool), 0, 1)


def test_a_named_subset_keeps_its_samples(pool):
    found = match_labels(pool, rms(pool), np.linspace(0.1, 0.3, 40), 5, 1, name="matched")
    assert found.configurations.ids[0] == "matched-00000"
    for place, position in enumerate(found.positions):
        assert_array_equal(found.configurations.crystal(place).positions_A, pool.crystal(position).positions_A)
        assert found.configurations.group[place] == pool.group[position]
    assert replace(found.configurations, name="pool").sampler == "paper-eq2"
