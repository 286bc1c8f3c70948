"""What is said of the winner of a study follows from its errors on the test part, and from one seed nothing does."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from phonograph.steps.fits import FitOutcome
from phonograph.steps.study_finals import Final, verdict
from phonograph.streams import stream
from phonograph.types import Predictions, StudyVerdict

N = 60
IDS = tuple(f"s{place}" for place in range(N))
GROUPS = {sample: f"g{place // 2}" for place, sample in enumerate(IDS)}


def final(error: float, seed: int, *, bias: float = 0.0, linear: float = math.nan) -> Final:
    """A network with errors of this size on the labels of one test part; ``linear``: those of a linear reference."""
    truth = stream(1, "truth").normal(size=N)
    noise = stream(seed, "noise").normal(size=N)
    others = {"mean-predictor": np.zeros(N)}
    if math.isfinite(linear):
        others["composition-volume"] = truth + linear * stream(2, "linear").normal(size=N)
    found = Predictions(
        target="toy_eV",
        unit="eV",
        model="winner",
        trained_on="toy",
        tested_on="toy",
        split="test",
        seed=seed,
        sample_ids=IDS,
        truth=truth,
        prediction=truth + bias + error * noise,
    )
    outcome = FitOutcome(
        name="toy", failure="", folder=Path(), place=0, training_mean=0.0, train_range=(float("-inf"), float("inf"))
    )
    return Final(outcome=outcome, found=found, others=others)


def said(
    winner: float, configured: float, seeds: int = 5, *, bias: float = 0.0, linear: float = math.nan
) -> StudyVerdict:
    return verdict(
        "toy_eV",
        "eV",
        {seed: final(winner, seed, bias=bias, linear=linear) for seed in range(seeds)},
        {seed: final(configured, 100 + seed) for seed in range(seeds)},
        GROUPS,
    )


def test_a_good_winner_beats_the_mean_and_the_network_as_configured() -> None:
    found = said(0.1, 0.4)
    assert found.skill_low > 0.8
    assert found.difference_high < 0
    assert "On the test part the winner errs by 81.1 meV" in found.words
    assert "(5 seeds) and beats the mean of the training labels, skill 0.9" in found.words
    assert "less than the network as configured." in found.words
    assert found.seeds == 5
    assert found.groups == 30


def test_a_winner_that_explains_nothing_hardly_beats() -> None:
    """Its errors are small for most samples and huge for a few: a skill above zero, and no R²."""
    found = {seed: final(0.05, seed) for seed in range(5)}
    few = np.where(np.arange(N) % 15 == 0, 4.5, 0.0)
    found = {
        seed: replace(one, found=replace(one.found, prediction=one.found.prediction + few))
        for seed, one in found.items()
    }
    words = verdict("toy_eV", "eV", found, found, GROUPS).words
    assert "and hardly beats the mean of the training labels" in words


def test_a_winner_far_worse_than_the_mean_has_won_nothing() -> None:
    found = said(0.1, 0.1, bias=3.0)
    assert found.skill_high < 0
    assert "over the mean of the training labels: it has won nothing." in found.words
    assert "beats" not in found.words
    assert "more than the network as configured." in found.words


def test_what_the_data_do_not_decide_is_not_claimed() -> None:
    found = said(0.9, 0.9)
    assert found.skill_low < 0 < found.skill
    assert "it cannot be claimed to beat that." in found.words
    assert "Against the network as configured no difference can be claimed: MAE differs by" in found.words


def test_one_seed_claims_nothing() -> None:
    found = said(0.1, 0.4, seeds=1)
    assert found.skill > 0.8
    assert math.isnan(found.skill_low)
    assert math.isnan(found.difference_high)
    assert "(1 seed), skill 0.9" in found.words
    assert "it cannot be claimed to beat that, from one seed." in found.words
    assert "no difference can be claimed from one seed: MAE differs by" in found.words


def test_the_best_trivial_model_is_what_has_to_be_beaten() -> None:
    found = said(0.4, 0.4, linear=0.1)
    assert found.reference == "composition-volume"
    assert found.reference_mae < found.mae
    assert "over a linear function of composition and volume: it has won nothing." in found.words


def test_the_interval_is_not_narrower_than_that_over_samples() -> None:
    """All seeds share one part: networks that agree say nothing of other samples."""
    same = {seed: final(0.9, 0) for seed in range(5)}
    found = verdict("toy_eV", "eV", same, same, GROUPS)
    assert found.skill_high - found.skill_low > 0.1
    assert found.words.endswith("Its errors are those of the network as configured.")


@pytest.mark.parametrize("groups", [{sample: f"g{place % 4}" for place, sample in enumerate(IDS)}])
def test_few_groups_of_samples_claim_nothing(groups: dict[str, str]) -> None:
    winners = {seed: final(0.1, seed) for seed in range(5)}
    found = verdict("toy_eV", "eV", winners, winners, groups)
    assert math.isnan(found.skill_low)
    assert "cannot be claimed to beat that, from so few groups of test samples." in found.words


def test_a_winner_that_could_not_be_trained_again_is_said_so() -> None:
    found = verdict("toy_eV", "eV", {}, {0: final(0.1, 0)}, GROUPS, "timeout: no result within 1 s")
    assert found.words == "The winner was not tested: timeout: no result within 1 s."
    assert math.isnan(found.mae)
