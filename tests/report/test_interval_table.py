"""How certain the cross-test is, in its table and in the sentence at the top."""

from __future__ import annotations

from dataclasses import replace

import pytest

from phonograph.report import ReportMaterial
from phonograph.report.sections.evaluation import evaluation
from phonograph.report.sections.interval_table import interval_table, skill_bounds
from phonograph.report.sections.judged import Judged
from phonograph.types import MetricInterval

METRICS = ("mae", "rmse", "r2", "pearson_r2", "skill")


def with_intervals(
    material: ReportMaterial, low: float, seed_low: float = float("nan")
) -> tuple[ReportMaterial, Judged]:
    """The material with one line of intervals for the pair that the lead is about."""
    judged = Judged(material, material.targets[0])
    lines = tuple(
        MetricInterval(
            target=judged.target,
            unit=judged.unit,
            trained_on=judged.best,
            tested_on=judged.best,
            split=judged.part,
            scope="all",
            metric=name,
            models=5,
            groups=31,
            n=15.0,
            value=0.5,
            low=low,
            high=0.9,
            seed_low=seed_low,
            seed_high=seed_low + 1.0,
        )
        for name in METRICS
    )
    assert material.evaluation is not None
    changed = replace(material, evaluation=replace(material.evaluation, intervals=lines))
    return changed, Judged(changed, judged.target)


def test_without_intervals_nothing_is_said(material: ReportMaterial) -> None:
    judged = Judged(material, material.targets[0])
    assert interval_table(judged) is None
    assert skill_bounds(judged) is None
    assert "interval" not in evaluation(material).lead


def test_the_lead_says_how_certain_the_skill_is(material: ReportMaterial) -> None:
    sure, judged = with_intervals(material, 0.3)
    assert skill_bounds(judged) == (0.3, 0.9)
    assert "95 % interval 30 % to 90 %" in evaluation(sure).lead
    unsure, _ = with_intervals(material, -0.1)
    assert "cannot be told from predicting the training mean" in evaluation(unsure).lead
    _, wider = with_intervals(material, 0.3, seed_low=-0.05)
    assert skill_bounds(wider) == pytest.approx((-0.05, 0.95))


def test_the_table_holds_both_intervals(material: ReportMaterial) -> None:
    changed, judged = with_intervals(material, 0.3, seed_low=0.1)
    shown = interval_table(judged)
    assert shown is not None
    for words in ("31", "0.30 to 0.90", "0.10 to 1.10", "corrected t"):
        assert words in shown
    assert shown in evaluation(changed).body
