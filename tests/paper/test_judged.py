"""Table 1 and Figure 2: intervals that hold the truth for other cells, and claims about all targets, one by one."""

from __future__ import annotations

import numpy as np
import pytest
from planted import curve_row, judged_rows, verdicts
from scipy.stats import t as student

from phonograph.evaluation import metric_intervals
from phonograph.steps.paper import models
from phonograph.steps.paper.judged import Judged
from phonograph.steps.paper.published import TARGETS
from phonograph.types import CurvePredictions, CurveRow

GAP = "band_gap_eV"
SIZES = {"train": 280, "validation": 60, "test": 60}


def one_split(draw: int, *, seeds: int = 5, apart: float = 0.02, targets: tuple[str, ...] = (GAP,)) -> Judged:
    """Networks of R² 0.8 on one split: errors of a cell are alike and differ by ``apart`` between seeds."""
    rng = np.random.default_rng([draw, seeds])
    rows: list[CurveRow] = []
    predictions: list[CurvePredictions] = []
    for target in targets:
        for part, n in SIZES.items():
            truth, common = rng.normal(0, 1.0, n), np.sqrt(0.16) * rng.normal(0, 1.0, n)
            for seed in range(seeds):
                prediction = 0.8 * truth + common + apart * rng.normal(0, 1.0, n)
                ids = tuple(f"{part}-{i}" for i in range(n))
                rows.append(row(target, part, seed, n))
                predictions.append(predicted(target, part, seed, ids, truth, prediction))
    return Judged(rows, predictions, {})


def row(target: str, part: str, seed: int, n: int) -> CurveRow:
    more = {"target": target, "n": n, "n_train": SIZES["train"], "n_available": sum(SIZES.values())}
    return curve_row("combined", part, 340, seed, 0.1, 0.8, **more)


def predicted(
    target: str, part: str, seed: int, ids: tuple[str, ...], truth: np.ndarray, prediction: np.ndarray
) -> CurvePredictions:
    return CurvePredictions(
        target=target,
        trained_on="combined",
        tested_on=part,
        size=340,
        seed=seed,
        candidate="",
        sample_ids=ids,
        truth=truth,
        prediction=prediction,
        train_range=(-4.0, 4.0),
    )


def test_seeds_that_share_one_test_part_do_not_know_other_cells() -> None:
    held = dict.fromkeys(("r2", "mae", "train.r2"), 0)
    for draw in range(24):
        judged = one_split(draw)
        truths = {"r2": 0.8, "mae": np.sqrt(2 / np.pi) * np.sqrt(0.2), "train.r2": 0.8}
        for name, truth in truths.items():
            part, _, metric = name.rpartition(".")
            found = judged.interval(GAP, part or "test", metric)
            held[name] += found.low <= truth <= found.high
    # Seeds alone hold it in less than half.
    assert min(held.values()) >= 20, held


def test_the_wider_of_both_intervals_counts() -> None:
    alike = one_split(1, apart=0.02)
    item = alike.pairs(GAP, "test")[0]
    of_cells = metric_intervals(item.truth, item.prediction, item.sample_ids)["mae"]
    assert alike.interval(GAP, "test", "mae").half == pytest.approx(of_cells.half, rel=0.15)
    found = [one_split(1, apart=apart, seeds=2).interval(GAP, "test", "mae").half for apart in (0.02, 1.0)]
    assert found[1] > 2 * found[0]  # two seeds that differ a lot know little


def test_networks_without_bias_are_not_called_biased_for_their_cells() -> None:
    found = [verdicts(models.parity(one_split(draw)))[f"fig2.{GAP}.bias"] for draw in range(30)]
    assert found.count("disagrees") <= 1


def test_networks_that_do_not_overfit_are_not_said_to_for_their_cells() -> None:
    found = [
        verdicts(models.best_networks(one_split(draw, targets=TARGETS), {}))["table1.overfitting"] for draw in range(2)
    ]
    assert "disagrees" not in found


def test_parts_of_different_splits_share_cells_train_parts_most() -> None:
    judged = Judged(*judged_rows(GAP, 0.096, 0.044, n=675), {})
    rows, available = judged.of(GAP, "train"), 4500
    for part in ("train", "test"):
        values = [row.mae for row in judged.of(GAP, part)]
        n = len(judged.pairs(GAP, part)[0].truth)
        half = student.ppf(0.975, 4) * np.std(values, ddof=1) * np.sqrt(1 / 5 + n / (available - n))
        assert judged.interval(GAP, part, "mae").half == pytest.approx(half)
    assert rows[0].n_available == available
    assert not judged.one_split
    assert "parts of different splits share" in " ".join(models.best_networks(judged, {}).sentences)
    assert "same cells" in " ".join(models.best_networks(one_split(1), {}).sentences)


def several(**r2: float) -> Judged:
    """Networks of all targets with a given R², 0.9 where none is given."""
    rows, predictions = [], []
    for target in TARGETS:
        found = judged_rows(target, 0.1, 0.1 * np.sqrt(1 - r2.get(target, 0.9)), n=300)
        rows += found[0]
        predictions += found[1]
    return Judged(rows, predictions, {})


def test_a_claim_about_all_targets_is_decided_target_by_target() -> None:
    assert verdicts(models.best_networks(several(), {}))["table1.all-r2"] == "agrees"
    assert verdicts(models.best_networks(several(vbm_eV=0.6), {}))["table1.all-r2"] == "disagrees"
    assert verdicts(models.best_networks(several(vbm_eV=0.79), {}))["table1.all-r2"] == "undecided"


def test_the_worst_target_by_value_does_not_hide_one_that_is_surely_wrong() -> None:
    judged = several(vbm_eV=0.65)
    # The stress is worse by its value, and so uncertain that it decides nothing.
    for place, item in enumerate(judged.predictions):
        if (item.target, item.tested_on) == ("hydrostatic_stress_GPa", "test"):
            rng = np.random.default_rng(place)
            wrong = item.prediction if item.seed > 1 else rng.permutation(item.prediction)
            object.__setattr__(item, "prediction", wrong)
    item = models.best_networks(judged, {})
    line = next(line for line in item.comparisons if line.key == "table1.all-r2")
    assert line.value == pytest.approx(0.54, abs=0.04)
    assert line.low < 0.79 < line.high
    assert line.verdict == "disagrees"
    assert "valence-band maximum" in line.reason


def test_what_is_said_of_all_targets_is_not_judged_on_some() -> None:
    three = several()
    some = Judged([row for row in three.rows if row.target != "vbm_eV"], three.predictions, {})
    found = {**verdicts(models.best_networks(some, {})), **verdicts(models.parity(some))}
    for key in ("table1.all-r2", "table1.overfitting", "fig2.gap-worst"):
        assert found[key] == "cannot be compared", key


def test_the_gap_is_worst_only_where_every_other_target_is_better() -> None:
    assert verdicts(models.parity(several(band_gap_eV=0.7)))["fig2.gap-worst"] == "agrees"
    assert verdicts(models.parity(several(vbm_eV=0.7)))["fig2.gap-worst"] == "disagrees"
    assert verdicts(models.parity(several(band_gap_eV=0.7, vbm_eV=0.7)))["fig2.gap-worst"] == "undecided"
