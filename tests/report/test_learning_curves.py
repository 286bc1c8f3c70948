"""The section of learning curves: every test a chart, claims first, floors and costs drawn where they are known."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from phonograph.evaluation import learning_curve
from phonograph.report import ReportMaterial, render_report
from phonograph.report.sections.learning_curves import learning_curves
from phonograph.types import CurvePredictions, CurveRow, LearningCurve, NoiseFloor, NoiseRow

SIZES = (25, 50, 100, 200, 400)
TESTS = ("thermal", "random", "md")
WIDTHS = {"thermal": 0.3, "random": 0.5, "combined": 0.36, "random-at-thermal": 0.31}


def made(target: str = "band_gap_eV", hours: float = 0.01, seeds: int = 10) -> LearningCurve:
    """Errors that fall as N^(-0.4) to a floor, another width for every training collection."""
    rng = np.random.default_rng(1)
    rows, predictions = [], []
    labels = {test: 0.8 + 0.1 * rng.normal(size=200) for test in TESTS}
    for seed in range(seeds):
        for name, width in WIDTHS.items():
            for size in SIZES if "-at-" not in name else SIZES[:3]:
                for test in TESTS:
                    places = [(seed * 17 + place) % 200 for place in range(40)]
                    truth = labels[test][places]
                    error = (width * size**-0.4 + 0.008) * rng.normal(size=40)
                    ids = tuple(f"{test}-{place}" for place in places)
                    common = {"target": target, "trained_on": name, "tested_on": test, "size": size, "seed": seed}
                    predictions.append(
                        CurvePredictions(
                            **common,
                            candidate="fixed",
                            sample_ids=ids,
                            truth=truth,
                            prediction=truth + error,
                            train_range=(0.5, 1.1),
                        )
                    )
                    mae = float(np.abs(error).mean())
                    rows.append(
                        CurveRow(
                            **common,
                            unit="eV",
                            candidate="fixed",
                            chosen=0,
                            scope="all",
                            n=40,
                            n_train=size,
                            n_validation=5,
                            n_available=270,
                            mae=mae,
                            rmse=1.25 * mae,
                            r2=0.5,
                            pearson_r2=0.6,
                            naive_mae=0.08,
                            validation_mae=mae,
                            best_epoch=1,
                            epochs=2,
                            steps=3,
                            label_core_hours=hours * size * (3.0 if name == "random" else 1.0),
                        )
                    )
    groups = {f"{test}-{i}": f"{test}-{i}" for test in TESTS for i in range(200)}
    return learning_curve(rows, predictions, groups)


def noise(sd: float) -> NoiseFloor:
    row = NoiseRow(
        set_name="thermal",
        property="band_gap_eV",
        unit="eV",
        engine="x",
        cause="rotated",
        changed="",
        structures=10,
        copies=2,
        holes=0,
        sd=sd,
        sd_error=0.1 * sd,
        mean=0.0,
        rms=sd,
        largest=3 * sd,
    )
    return NoiseFloor(rows=(row,))


@pytest.fixture(scope="module")
def curve() -> LearningCurve:
    return made()


@pytest.fixture(scope="module")
def section(curve: LearningCurve) -> str:
    found = learning_curves(ReportMaterial(title="x", learning_curve=curve, noise=noise(0.01)))
    assert found is not None
    return found.render("")


def test_nothing_is_shown_where_nothing_was_measured() -> None:
    assert learning_curves(ReportMaterial(title="x")) is None
    assert 'id="learning-curves"' not in render_report(ReportMaterial(title="x"))


def test_every_test_has_a_chart_and_every_figure_its_numbers(section: str, curve: LearningCurve) -> None:
    for name in TESTS:
        assert section.count(f"Tested on {name}") == 2  # against labels and against core-hours
    assert re.findall(r"Figure (L\.\d)", section) == ["L.1", "L.2", "L.3"]
    for point in curve.points:
        assert f">{point.size}<" in section
    for words in ("Power laws", "All comparisons", "Labels needed", "The same numbers as a table"):
        assert words in section


def test_claims_come_first_and_the_rest_is_folded(section: str, curve: LearningCurve) -> None:
    claims = [line for line in curve.verdicts if "beats" in line]
    assert claims
    first = section.index("Thermal-trained beats")
    assert first < section.index("no difference can be claimed</summary>")
    for item in curve.differences:
        if item.size == 400 and item.claimed:
            assert f"beats {item.second}-trained on {item.tested_on}" in section


def test_no_claim_is_said_in_words() -> None:
    found = learning_curves(ReportMaterial(title="x", learning_curve=made(seeds=1)))
    assert found is not None
    assert "No difference between training collections can be claimed." in found.body


def test_floor_is_that_of_the_noise(section: str, curve: LearningCurve) -> None:
    orange = '#E69F00" stroke-width="1.6"'
    assert section.count(orange) == 6
    assert "the noise of the labels alone gives" in section
    without = learning_curves(ReportMaterial(title="x", learning_curve=curve))
    assert without is not None
    assert orange not in without.body


def test_costs_are_drawn_only_where_they_are_known(curve: LearningCurve) -> None:
    unknown = learning_curves(ReportMaterial(title="x", learning_curve=made(hours=float("nan"))))
    assert unknown is not None
    assert "core-hours)" not in unknown.body


def test_several_targets_are_told_apart(curve: LearningCurve) -> None:
    other = made(target="vbm_eV")
    joined = replace(
        curve,
        **{name: getattr(curve, name) + getattr(other, name) for name in ("rows", "points", "fits", "bands")},
        differences=curve.differences + other.differences,
        verdicts=tuple(f"{t}: {line}" for t in ("band_gap_eV", "vbm_eV") for line in curve.verdicts),
    )
    found = learning_curves(ReportMaterial(title="x", learning_curve=joined))
    assert found is not None
    assert "Valence-band maximum" in found.body
    assert re.findall(r"Figure (L\.\d)", found.body) == [f"L.{i}" for i in range(1, 7)]


def test_the_page_is_a_function_of_the_material_and_escapes_names(curve: LearningCurve) -> None:
    hostile = "<script>x</script>"
    points = tuple(replace(p, trained_on=hostile) if p.trained_on == "random" else p for p in curve.points)
    second = tuple(replace(d, second=hostile) if d.second == "random" else d for d in curve.differences)
    material = ReportMaterial(title="x", learning_curve=replace(curve, points=points, differences=second))
    page = render_report(material)
    assert hostile not in page
    assert page == render_report(material)
    assert page.index('href="#learning-curves"') < page.index('href="#warnings"')
