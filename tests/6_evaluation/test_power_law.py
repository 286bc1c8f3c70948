"""Power laws: planted laws come back, a second route agrees, intervals cover, and nothing is extrapolated."""

from __future__ import annotations

import os

import numpy as np
import pytest
from scipy.optimize import least_squares

from phonograph.errors import DataError
from phonograph.evaluation import corrected_t, fit_power_law, label_factor
from phonograph.evaluation.power_law import LARGEST_EXPONENT, _resampled, law_at

SIZES = np.array([25.0, 50.0, 100.0, 200.0, 400.0, 800.0, 1600.0])
LAW = np.array([0.3, 0.5, 0.01])
SIMULATIONS = int(os.environ.get("PHONOGRAPH_SIMULATIONS", "60"))
"""Worlds in which an interval is asked whether it covers the truth; set it larger for a sharper test."""


def curves(rng: np.random.Generator, law: np.ndarray = LAW, seeds: int = 10, noise: float = 0.1) -> np.ndarray:
    """Errors of several seeds with independent noise of mean one."""
    return law_at(law, SIZES) * np.exp(noise * rng.normal(size=(seeds, len(SIZES))) - 0.5 * noise**2)


@pytest.mark.parametrize("law", [(0.3, 0.5, 0.01), (5.0, 1.2, 0.0), (0.05, 0.1, 0.02), (2.0, 0.7, 0.03)])
def test_a_planted_law_comes_back(law: tuple[float, float, float]) -> None:
    found = fit_power_law(SIZES, law_at(np.array(law), SIZES)[None])
    assert found.law == pytest.approx(law, rel=2e-3, abs=2e-4)
    assert found.residual < 1e-6
    assert found.at(300).value == pytest.approx(float(law_at(np.array(law), 300)), rel=1e-6)


@pytest.mark.parametrize("exponent", [0.5, 1.5, 2.0])
def test_a_fast_fall_to_a_high_floor_comes_back(exponent: float) -> None:
    """Only b and c are bounded: a curve may be flat from its second size on."""
    law = np.array([0.04 * 25**exponent, exponent, 0.29])
    found = fit_power_law(SIZES, law_at(law, SIZES)[None])
    assert found.law == pytest.approx(law, rel=1e-2)
    assert found.residual < 1e-6


def test_units_and_labels_only_scale_the_law() -> None:
    errors = curves(np.random.default_rng(0))
    plain = fit_power_law(SIZES, errors, draws=200)
    scaled = fit_power_law(SIZES, 1000 * errors, draws=200)
    assert scaled.law == pytest.approx(plain.law * [1000, 1, 1000], rel=1e-6)
    assert scaled.draws == pytest.approx(plain.draws * [1000, 1, 1000], rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("seed", range(6))
def test_two_routes_find_the_same_minimum(seed: int) -> None:
    errors = curves(np.random.default_rng(seed), seeds=1, noise=0.2)
    logs = np.log(errors[0])

    def away(parameters: np.ndarray) -> np.ndarray:
        log_a, b, c = parameters
        return logs - np.log(np.exp(log_a) * SIZES**-b + c)

    best = min(
        (
            least_squares(away, [np.log(0.3), b, c], bounds=([-20, 0, 0], [20, LARGEST_EXPONENT, 1]), xtol=1e-14)
            for b in (0.1, 0.4, 0.8, 1.5)
            for c in (1e-4, 0.01, 0.02)
        ),
        key=lambda result: result.cost,
    )
    law = fit_power_law(SIZES, errors).law
    cost = 0.5 * float(((logs - np.log(law_at(law, SIZES))) ** 2).sum())
    assert cost <= best.cost * (1 + 1e-6)
    assert (law >= 0).all()


def test_intervals_cover_the_planted_law() -> None:
    rng = np.random.default_rng(11)
    inside = np.zeros(5)
    for seed in range(SIMULATIONS):
        fit = fit_power_law(SIZES, curves(rng), seed=seed, draws=200)
        found = [*fit.parameters()[1:], fit.at(25), fit.at(400), fit.at(3200)]
        truth = [*LAW[1:], *law_at(LAW, [25, 400, 3200])]
        inside += [interval.low <= value <= interval.high for interval, value in zip(found, truth, strict=True)]
    error = 3 * np.sqrt(0.95 * 0.05 / SIMULATIONS)
    assert (np.abs(inside / SIMULATIONS - 0.95) <= error + 0.02).all(), inside / SIMULATIONS


def test_splits_that_share_samples_widen_the_intervals() -> None:
    errors = curves(np.random.default_rng(2))
    free = fit_power_law(SIZES, errors).at(400)
    shared = fit_power_law(SIZES, errors, ratio=0.3).at(400)
    assert shared.value == free.value
    assert shared.half == pytest.approx(2 * free.half, rel=0.15)  # √((0.1 + 0.3)/0.1)


@pytest.mark.parametrize(("seeds", "ratio"), [(10, 0.0), (10, 0.2), (25, 0.1)])
def test_resampled_curves_spread_as_the_corrected_t_says(seeds: int, ratio: float) -> None:
    """Second route: size by size, the draws before fitting have the width of the corrected interval."""
    errors = curves(np.random.default_rng(8), seeds=seeds)
    drawn = _resampled(errors, ratio, 0, 20_000)
    for place in range(len(SIZES)):
        expected = corrected_t(errors[:, place], ratio).interval.half / errors[:, place].mean()
        low, high = np.quantile(drawn[:, place], [0.025, 0.975])
        assert 0.5 * (high - low) == pytest.approx(expected, rel=0.06)


def test_it_says_nothing_beyond_twice_the_sizes() -> None:
    fit = fit_power_law(SIZES, curves(np.random.default_rng(3)))
    fit.at(3200)
    fit.at(12.5)
    for size in (3300, 12):
        with pytest.raises(DataError, match=f"says nothing about {size}"):
            fit.at(size)


def test_three_sizes_do_not_determine_a_floor() -> None:
    fit = fit_power_law(SIZES[:3], law_at(np.array([0.3, 0.5, 0.0]), SIZES[:3])[None])
    assert fit.floor == "zero"
    assert fit.law == pytest.approx([0.3, 0.5, 0.0], rel=1e-6)


def test_what_cannot_be_fitted_is_one_sentence() -> None:
    with pytest.raises(DataError, match="3 or more different sizes"):
        fit_power_law([25, 50], np.ones((4, 2)))
    with pytest.raises(DataError, match="no seed has a positive error at every size"):
        fit_power_law(SIZES, np.full((3, 7), np.nan))
    errors = curves(np.random.default_rng(4), seeds=5)
    errors[2, 3] = np.nan
    fit = fit_power_law(SIZES, errors)
    assert (fit.seeds, fit.excluded) == (4, 1)


def test_one_seed_has_no_interval() -> None:
    found = fit_power_law(SIZES, curves(np.random.default_rng(5), seeds=1)).at(100)
    assert np.isfinite(found.value)
    assert not found.known


def test_a_curve_that_does_not_fall_is_flat() -> None:
    fit = fit_power_law(SIZES, np.full((4, 7), 0.03))
    assert law_at(fit.law, SIZES) == pytest.approx(np.full(7, 0.03))


def test_label_factor_of_planted_laws() -> None:
    """Ours reaches with N what the base needs 4 N for: a·(4N)^(−b)."""
    base = fit_power_law(SIZES, law_at(np.array([0.3, 0.5, 0.0]), SIZES)[None])
    ours = fit_power_law(SIZES, law_at(np.array([0.15, 0.5, 0.0]), SIZES)[None])
    factor, mae, bound, _ = label_factor(ours, base, 1000)
    assert factor.value == pytest.approx(4.0, rel=1e-3)
    assert mae == pytest.approx(0.3 / np.sqrt(1000), rel=1e-4)
    assert bound == ""
    back, _, clipped, _ = label_factor(base, ours, 1000)
    assert clipped == "at most"  # the base would need 4000 labels, and was asked up to 3200
    assert back.value == pytest.approx(1000 / 3200)
    far = fit_power_law(SIZES, law_at(np.array([0.003, 0.5, 0.0]), SIZES)[None])
    assert label_factor(far, base, 1000)[2] == "at least"


def test_label_factor_covers_the_planted_one() -> None:
    rng = np.random.default_rng(12)
    better = np.array([0.15, 0.5, 0.01])
    truth = 800 / ((float(law_at(LAW, 800)) - better[2]) / better[0]) ** (-1 / better[1])
    inside = 0
    for seed in range(SIMULATIONS):
        base = fit_power_law(SIZES, curves(rng), seed=seed, draws=200)
        ours = fit_power_law(SIZES, curves(rng, better), seed=seed + 1, draws=200)
        found = label_factor(ours, base, 800)[0]
        inside += found.low <= truth <= found.high
    assert abs(inside / SIMULATIONS - 0.95) <= 3 * np.sqrt(0.95 * 0.05 / SIMULATIONS) + 0.02


def test_pairs_of_the_same_seeds_stay_paired() -> None:
    """Two collections whose errors share the seed's luck: the factor is known better than either curve."""
    rng = np.random.default_rng(13)
    luck = np.exp(0.2 * rng.normal(size=(10, 1)))
    base = fit_power_law(SIZES, law_at(np.array([0.3, 0.5, 0.0]), SIZES) * luck)
    ours = fit_power_law(SIZES, law_at(np.array([0.15, 0.5, 0.0]), SIZES) * luck)
    found = label_factor(ours, base, 1000)[0]
    assert found.half < 0.1
    assert ours.at(400).half > 0.1 * ours.at(400).value
