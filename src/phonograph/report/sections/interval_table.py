"""How certain the numbers of the cross-test are."""

from __future__ import annotations

import math

from phonograph.report.markup import Content, Markup, fold, table, tag
from phonograph.report.scores import main_scope
from phonograph.report.sections.judged import Judged
from phonograph.report.words import fixed, number
from phonograph.types import MetricInterval

NAMES = {"mae": "MAE", "rmse": "RMSE", "r2": "R²", "pearson_r2": "Pearson r²", "skill": "skill"}
IN_UNIT = ("mae", "rmse")
SCOPES = {"all": "all", "in_range": "in range", "out_of_range": "out of range"}


def interval_table(judged: Judged) -> Markup | None:
    """Return the 95 % intervals of every pair of training and tested set; None where there are none."""
    evaluation = judged.material.evaluation
    lines: dict[tuple[str, ...], dict[str, MetricInterval]] = {}
    for item in evaluation.intervals if evaluation else ():
        if item.target == judged.target and item.split == judged.part:
            lines.setdefault((item.trained_on, item.tested_on, item.scope), {})[item.metric] = item
    if not lines:
        return None
    factor, unit = judged.errors_in
    head: list[Content] = ["trained on", "tested on", "scope", "networks", "groups", "n"]
    head += [f"{name} ({unit})" if key in IN_UNIT else name for key, name in NAMES.items()]
    rows = []
    for (trained, tested, scope), found in lines.items():
        first = found["mae"]
        cells: list[Content] = [trained, tested, SCOPES[scope], str(first.models), str(first.groups), number(first.n)]
        rows.append([*cells, *(_cell(found[key], factor if key in IN_UNIT else 1.0, key in IN_UNIT) for key in NAMES)])
    note = (
        "First range: 95 % bootstrap interval over groups of test samples, the networks as they are. Second range: "
        "95 % interval over resampled splits and seeds (corrected t). A dash where there are too few to say."
    )
    return fold("How certain these numbers are", table(head, rows, words=3), tag("p", note, class_="quiet"))


def skill_bounds(judged: Judged) -> tuple[float, float] | None:
    """Return the wider of the two 95 % intervals of the best collection's skill on its own set; None where unknown."""
    evaluation = judged.material.evaluation
    wanted = (judged.target, judged.best, judged.best, judged.part, main_scope(evaluation), "skill")
    for item in evaluation.intervals if evaluation else ():
        if (item.target, item.trained_on, item.tested_on, item.split, item.scope, item.metric) == wanted:
            spans = [(item.low, item.high), (item.seed_low, item.seed_high)]
            known = [span for span in spans if math.isfinite(span[0]) and math.isfinite(span[1])]
            return max(known, key=lambda span: span[1] - span[0], default=None)
    return None


def _cell(item: MetricInterval, factor: float, scaled: bool) -> Content:
    def words(value: float) -> str:
        return number(factor * value) if scaled else fixed(value, 2)

    def bounds(low: float, high: float) -> str:
        return f"{words(low)} to {words(high)}" if math.isfinite(low) and math.isfinite(high) else "–"

    ranges = (bounds(item.low, item.high), bounds(item.seed_low, item.seed_high))
    return [words(item.value), *(part for text in ranges for part in (tag("br"), text))]
