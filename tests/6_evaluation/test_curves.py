"""From rows to what may be claimed: planted differences are found, planted sameness is not, words say which."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from phonograph.errors import DataError, InputFileError
from phonograph.evaluation import holm, learning_curve
from phonograph.evaluation.curves import choose
from phonograph.evaluation.differences import verdict
from phonograph.evaluation.scoring import score
from phonograph.files.curves import load_learning_curve, save_learning_curve
from phonograph.types import CurvePredictions, CurveRow, LearningCurve, Predictions

SIZES = (25, 50, 100, 200)
TESTS = ("thermal", "md")


def row_of(item: CurvePredictions, scope: str = "all", **changes: object) -> CurveRow:
    plain = Predictions(
        target=item.target,
        unit="eV",
        model="x",
        trained_on=item.trained_on,
        tested_on=item.tested_on,
        split="test",
        seed=item.seed,
        sample_ids=item.sample_ids,
        truth=item.truth,
        prediction=item.prediction,
    )
    line = next(metric for metric in score(plain, item.train_range) if metric.scope == scope)
    naive = float(np.abs(item.truth - 0.8).mean())
    values = {
        **{name: getattr(line, name) for name in ("target", "unit", "trained_on", "tested_on", "seed", "scope", "n")},
        **{name: getattr(line, name) for name in ("mae", "rmse", "r2", "pearson_r2")},
        **{"size": item.size, "candidate": item.candidate, "chosen": 0, "n_train": item.size, "n_validation": 5},
        **{"n_available": 300, "naive_mae": naive, "validation_mae": line.mae, "best_epoch": 3, "epochs": 9},
        **{"steps": 90, "label_core_hours": 0.02 * item.size},
    }
    return CurveRow(**{**values, **changes})  # type: ignore[arg-type]


def world(
    better: float, seeds: int = 10, collections: tuple[str, ...] = ("thermal", "random")
) -> tuple[list[CurveRow], list[CurvePredictions], dict[str, str]]:
    """Predictions whose error falls as N^(-0.5); those of the first collection are smaller by the factor ``better``."""
    rng = np.random.default_rng(3)
    truth = {test: 0.8 + 0.1 * rng.normal(size=300) for test in TESTS}
    predictions = []
    for seed in range(seeds):
        parts = {test: rng.permutation(300)[:45] for test in TESTS}
        for size in SIZES:
            for place, name in enumerate(collections):
                width = 0.3 * size**-0.5 * (better if place == 0 else 1.0)
                for test in TESTS:
                    y = truth[test][parts[test]]
                    predictions.append(
                        CurvePredictions(
                            target="band_gap_eV",
                            trained_on=name,
                            tested_on=test,
                            size=size,
                            seed=seed,
                            candidate="fixed",
                            sample_ids=tuple(f"{test}-{i}" for i in parts[test]),
                            truth=y,
                            prediction=y + width * rng.normal(size=len(y)),
                            train_range=(0.65, 0.95),
                        )
                    )
    rows = [row_of(item, scope) for item in predictions for scope in ("all", "in_range", "out_of_range")]
    groups = {f"{test}-{i}": f"{test}-g{i // 2}" for test in TESTS for i in range(300)}
    return rows, predictions, groups


@pytest.fixture(scope="module")
def found() -> LearningCurve:
    return learning_curve(*world(0.6))


def test_a_planted_difference_is_claimed(found: LearningCurve) -> None:
    last = [d for d in found.differences if d.size == 200 and d.scope == "all"]
    assert {(d.first, d.second, d.tested_on) for d in last} == {("thermal", "random", test) for test in TESTS}
    for item in last:
        assert item.family == 2
        assert item.claimed
        assert item.low < item.difference < item.high < 0
        assert item.difference == pytest.approx(-0.4 * 0.3 * 200**-0.5 * math.sqrt(2 / math.pi), rel=0.3)
        assert verdict(item).startswith(f"thermal-trained beats random-trained on {item.tested_on} at 200 labels by ")
        assert "10 seeds" in verdict(item)
    assert sum("beats" in line for line in found.verdicts) == 2


def test_differences_are_those_of_the_rows(found: LearningCurve) -> None:
    """Two routes: sample by sample from the predictions, and from the errors of the rows."""
    errors = {(r.trained_on, r.tested_on, r.size, r.seed): r.mae for r in found.rows if r.scope == "all"}
    for d in (item for item in found.differences if item.scope == "all"):
        by_hand = [
            errors[d.first, d.tested_on, d.size, seed] - errors[d.second, d.tested_on, d.size, seed]
            for seed in range(10)
        ]
        assert d.difference == pytest.approx(np.mean(by_hand))
        assert d.sample_low < d.difference < d.sample_high
        assert (d.seeds, d.n) == (10, 45.0)


def test_corrected_p_is_that_of_the_whole_family(found: LearningCurve) -> None:
    for size in SIZES:
        for scope in ("all", "in_range_of_both"):
            family = [d for d in found.differences if (d.size, d.scope) == (size, scope)]
            assert [d.p_holm for d in family] == pytest.approx(holm([d.p for d in family]).tolist())
            assert any(d.p_holm > d.p for d in family)


def test_the_order_of_the_test_samples_does_not_matter(found: LearningCurve) -> None:
    rows, predictions, groups = world(0.6)
    turned = [
        replace(p, sample_ids=p.sample_ids[::-1], truth=p.truth[::-1], prediction=p.prediction[::-1])
        if p.trained_on == "random"
        else p
        for p in predictions
    ]
    for a, b in zip(found.differences, learning_curve(rows, turned, groups).differences, strict=True):
        assert (a.difference, a.p) == pytest.approx((b.difference, b.p))


def test_planted_sameness_is_not_claimed() -> None:
    same = learning_curve(*world(1.0))
    assert not any(d.claimed for d in same.differences if d.size == 200)
    assert all("no difference can be claimed" in line for line in same.verdicts)


def test_three_seeds_are_a_pilot() -> None:
    pilot = learning_curve(*world(0.6, seeds=1))
    assert all("no difference can be claimed from 1 seed" in line for line in pilot.verdicts if "against" in line)
    assert any("are a pilot" in line or "is a pilot" in line for line in pilot.warnings)


def test_points_are_means_with_counts(found: LearningCurve) -> None:
    rows, _, _ = world(0.6)
    (point,) = [
        p for p in found.points if (p.trained_on, p.tested_on, p.size, p.scope) == ("random", "md", 100, "in_range")
    ]
    mine = [r for r in rows if (r.trained_on, r.tested_on, r.size, r.scope) == ("random", "md", 100, "in_range")]
    assert point.seeds == 10
    assert point.mae == pytest.approx(np.mean([r.mae for r in mine]))
    assert point.n == pytest.approx(np.mean([r.n for r in mine]))
    assert point.n < 45
    assert point.mae_low < point.mae < point.mae_high
    assert point.label_core_hours == pytest.approx(2.0)
    assert point.skill == pytest.approx(np.mean([1 - r.mae / r.naive_mae for r in mine]))


def test_laws_and_labels_needed(found: LearningCurve) -> None:
    (law,) = [f for f in found.fits if (f.trained_on, f.tested_on, f.scope) == ("random", "md", "all")]
    assert law.b_low < 0.5 < law.b_high
    assert law.at(400) < law.at(200)
    with pytest.raises(DataError, match="says nothing about 500"):
        law.at(500)
    (factor,) = [f for f in found.factors if (f.tested_on, f.scope) == ("md", "all")]
    assert (factor.ours, factor.base) == ("random", "thermal")
    assert factor.factor < 0.7
    assert max(b.size for b in found.bands) <= 400 * (1 + 1e-9)


def test_no_factor_compares_errors_of_different_samples() -> None:
    """Planted: equal networks; the reference knows a narrow range of labels, where its errors are ten times smaller."""
    rows, predictions, groups = world(1.0)
    narrow = [
        replace(
            p,
            train_range=(0.75, 0.85) if p.trained_on == "thermal" else (0.0, 2.0),
            prediction=p.truth + (p.prediction - p.truth) * np.where(np.abs(p.truth - 0.8) < 0.05, 0.1, 1.0),
        )
        for p in predictions
    ]
    rows = [row_of(item, scope) for item in narrow for scope in ("all", "in_range", "out_of_range")]
    curve = learning_curve(rows, narrow, groups)
    assert {f.scope for f in curve.fits} == {"all", "in_range"}
    assert {(f.tested_on, f.scope) for f in curve.factors} == {(test, "all") for test in TESTS}
    assert all(f.low < 1 < f.high for f in curve.factors)


def test_the_reference_is_named(found: LearningCurve) -> None:
    rows, predictions, groups = world(0.6)
    turned = learning_curve(rows, predictions, groups, reference="random")
    for a, b in zip(found.differences, turned.differences, strict=True):
        assert (a.first, a.second) == (b.second, b.first)
        assert a.difference == pytest.approx(-b.difference)
        assert a.p_holm == pytest.approx(b.p_holm)
    with pytest.raises(DataError, match="is no training collection; they are thermal, random"):
        learning_curve(rows, predictions, groups, reference="md")
    with pytest.raises(DataError, match="needs rows"):
        learning_curve([])


def test_rows_without_predictions_still_give_points_and_laws(found: LearningCurve) -> None:
    alone = learning_curve(world(0.6)[0])
    assert repr(alone.points) == repr(found.points)
    assert alone.differences == ()


def test_candidates_are_chosen_by_validation_alone() -> None:
    rows = world(1.0, seeds=2)[0]
    good = [replace(r, candidate="a", validation_mae=0.01 * (1 + r.seed), mae=1.0) for r in rows]
    bad = [replace(r, candidate="b", validation_mae=0.015, mae=0.0) for r in rows]
    chosen = [r for r in choose([*good, *bad]) if r.chosen]
    assert {(r.seed, r.candidate) for r in chosen} == {(0, "a"), (1, "b")}
    assert len(chosen) == len(rows)
    undefined = [replace(r, validation_mae=float("nan")) for r in good]
    assert {r.candidate for r in choose([*undefined, *bad]) if r.chosen} == {"b"}


def test_a_difference_on_few_groups_is_not_claimed() -> None:
    """Four groups give no interval over samples; ten seeds that tested the same few say nothing about others."""
    rows, predictions, groups = world(0.6)
    few = {sample: f"{sample.split('-')[0]}-{int(sample.split('-')[1]) % 4}" for sample in groups}
    found = learning_curve(rows, predictions, few)
    last = [d for d in found.differences if d.size == 200 and d.scope == "all"]
    assert last
    assert all(d.p_holm < 0.05 and math.isnan(d.sample_low) and not d.claimed for d in last)
    assert all("no difference can be claimed" in verdict(d) and "too few groups" in verdict(d) for d in last)


def test_one_seed_cannot_be_claimed_to_beat_the_mean() -> None:
    lines = [line for line in learning_curve(world(1.0, seeds=1)[0]).verdicts if "beat the mean" in line]
    assert len(lines) == 2
    assert all("cannot be claimed" in line and "no interval: 1 seed)" in line for line in lines)


def test_networks_that_beat_no_mean_are_named() -> None:
    rows = [replace(r, naive_mae=0.5 * r.mae) for r in world(1.0)[0]]
    lines = learning_curve(rows).verdicts
    assert len(lines) == 2
    assert all("cannot be claimed to beat the mean" in line and "skill −1.00" in line for line in lines)


def test_errors_at_the_noise_of_the_labels_are_told(found: LearningCurve) -> None:
    rows = world(0.6)[0]
    noisy = learning_curve(rows, floors={"band_gap_eV": 0.0175}).verdicts
    told = [line for line in noisy if "noise of the labels" in line]
    assert len(told) == 2  # the better collection, on both tests
    assert all("200 labels of thermal" in line and "0.014 eV" in line for line in told)
    assert not any("noise" in line for line in found.verdicts)
    assert not any("noise" in line for line in learning_curve(rows, floors={"vbm_eV": 9.0}).verdicts)


def test_an_empty_scope_is_left_open() -> None:
    rows, predictions, groups = world(0.6, seeds=3)
    wide = [replace(item, train_range=(-10.0, 10.0)) for item in predictions]
    rows = [row_of(item, scope) for item in wide for scope in ("all", "in_range", "out_of_range")]
    outside = [p for p in learning_curve(rows, wide, groups).points if p.scope == "out_of_range"]
    assert outside
    assert all(p.n == 0 and math.isnan(p.mae) and math.isnan(p.mae_low) for p in outside)


def test_files_give_the_same_bits(found: LearningCurve, tmp_path: Path) -> None:
    save_learning_curve(found, tmp_path)
    again = load_learning_curve(tmp_path)
    for item in fields(LearningCurve):
        if item.name != "origin":
            assert repr(getattr(again, item.name)) == repr(getattr(found, item.name)), item.name
    for name in ("learning_curve", "points", "fits", "bands", "differences", "label_factors"):
        assert "unit" in (tmp_path / f"{name}.csv").read_text().splitlines()[0].split(","), name
    save_learning_curve(again, tmp_path / "again")
    for path in sorted(tmp_path.glob("*.*")):
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("points.csv", b"a,b\n", "the header must be target,unit"),
        ("fits.csv", None, "fits.csv not found"),
        ("learning_curve.json", b"{}", "the schema must be 'phonograph.learning-curve/1'"),
        (
            "learning_curve.json",
            b'{"schema": "phonograph.learning-curve/1", "warnings": [], "verdicts": [1], "origin": {"room": "x"}}',
            "learning_curve.json",
        ),
    ],
)
def test_broken_files_are_one_sentence(
    found: LearningCurve, tmp_path: Path, name: str, content: bytes | None, words: str
) -> None:
    save_learning_curve(found, tmp_path)
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputFileError) as caught:
        load_learning_curve(tmp_path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
