"""One target of the evaluation with everything its figures ask for, and the parity chart they share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.spatial import cKDTree

from phonograph.report.markup import Markup
from phonograph.report.material import ReportMaterial
from phonograph.report.palette import GREY, ORANGE
from phonograph.report.scores import (
    Case,
    Score,
    best_collection,
    pooled,
    score,
    tested_collections,
    trained_collections,
)
from phonograph.report.svg import Chart
from phonograph.report.words import error_unit, fixed, number, plural, plus_minus, property_name
from phonograph.types import PROPERTY_UNITS, FloatArray


@dataclass(frozen=True, eq=False)
class Judged:
    """The evaluation of one target.

    ``part`` is the part that the cross-test is read on: the test part where there is one.
    """

    material: ReportMaterial
    target: str

    @cached_property
    def name(self) -> str:
        """The target in words."""
        return property_name(self.target)

    @cached_property
    def part(self) -> str:
        """The part that counts."""
        rows = self.material.evaluation.metrics if self.material.evaluation else ()
        found = {row.split for row in rows if row.target == self.target}
        return "test" if "test" in found or not found else sorted(found)[0]

    @cached_property
    def unit(self) -> str:
        """The unit as the metrics give it."""
        rows = self.material.evaluation.metrics if self.material.evaluation else ()
        return next((row.unit for row in rows if row.target == self.target), PROPERTY_UNITS.get(self.target, ""))

    @cached_property
    def best(self) -> str:
        """The collection whose models have the highest validation skill on their own set."""
        return best_collection(self.material.evaluation, self.target)

    @cached_property
    def trained(self) -> tuple[str, ...]:
        """Training collections."""
        return trained_collections(self.material.evaluation, self.target)

    @cached_property
    def tested(self) -> tuple[str, ...]:
        """Tested collections."""
        return tested_collections(self.material.evaluation, self.target)

    @cached_property
    def cross(self) -> Mapping[tuple[str, str], Score]:
        """(trained on, tested on) → score, where there is one."""
        found = {(a, b): self.score(a, b) for a in self.trained for b in self.tested}
        return {key: value for key, value in found.items() if value is not None}

    @cached_property
    def noise(self) -> float:
        """Standard deviation of the label noise, in :attr:`unit`; NaN where it was not measured."""
        return self.material.noise.floor(self.target) if self.material.noise else float("nan")

    @cached_property
    def errors_in(self) -> tuple[float, str]:
        """Factor and unit in which this target's errors read well."""
        return error_unit(self.unit, [item.mae for item in self.cross.values()])

    def score(self, trained_on: str, tested_on: str, part: str = "", scope: str = "") -> Score | None:
        """Return the score of one case."""
        return score(self.material.evaluation, Case(self.target, trained_on, tested_on, part or self.part), scope)

    def pairs(self, trained_on: str, tested_on: str, part: str = "") -> tuple[FloatArray, FloatArray]:
        """Return (truth, prediction) of all seeds together."""
        return pooled(self.material.evaluation, Case(self.target, trained_on, tested_on, part or self.part))

    def mae_words(self, found: Score) -> str:
        """Return the mean absolute error with its spread, in the unit of :attr:`errors_in`."""
        factor, _ = self.errors_in
        return plus_minus(factor * found.mae, factor * found.mae_sd)


def skill_words(found: Score) -> str:
    """Return the skill over the mean predictor with its sign, for example ``0.62``."""
    return fixed(found.skill, 2)


def parity_chart(
    judged: Judged,
    title: str,
    pairs: tuple[FloatArray, FloatArray],
    span: tuple[float, float],
    found: Score | None,
    colour: str,
    *,
    reach: tuple[float, float] | None = None,
) -> Markup:
    """Return predicted against labelled values; ``reach`` is the range of the training labels, shaded."""
    chart = Chart(
        x=span,
        y=span,
        x_label=f"labelled ({judged.unit})",
        y_label=f"predicted ({judged.unit})",
        title=title,
        width=330,
        height=338,
        margins=(58, 10, 30, 46),
    )
    if reach is not None:
        chart.rectangle((max(span[0], reach[0]), min(span[1], reach[1])), span, GREY, opacity=0.09)
    if judged.noise > 0:
        ends, half = np.array(span), 2.0 * judged.noise
        chart.band(ends, np.clip(ends - half, *span), np.clip(ends + half, *span), ORANGE, opacity=0.25)
    chart.line(span, span, "currentColor", width=1, dash="5 4", opacity=0.6)
    density_dots(chart, *pairs, colour)
    for place, words in enumerate(_inset(judged, found) if found is not None else ()):
        weight = 600 if place == 0 else None
        chart.note(span[0], span[1], words, size=11.5, weight=weight, shift=(9, 17 + 15 * place))
    return chart.render(f"{title}: predicted against labelled {judged.name}")


def _inset(judged: Judged, found: Score) -> tuple[str, str, str]:
    return (
        f"MAE {judged.mae_words(found)} {judged.errors_in[1]}",
        f"R² {fixed(found.r2, 2)}, r² {fixed(found.pearson_r2, 2)}",
        f"n = {found.count}, {plural(found.seeds, 'seed')}",
    )


def density_dots(chart: Chart, x: FloatArray, y: FloatArray, colour: str, *, near_px: float = 9.0) -> None:
    """Add dots, more opaque where more neighbours lie within ``near_px`` pixels; dense ones are drawn last."""
    if len(x) == 0:
        return
    places = np.column_stack([chart.x(x), chart.y(y)])
    neighbours = np.asarray(cKDTree(places).query_ball_point(places, near_px, return_length=True), dtype=np.float64)
    crowd = np.log1p(neighbours - 1) / np.log1p(max(float(neighbours.max()) - 1, 1.0))
    level = np.minimum((4 * crowd).astype(int), 3)
    for step, opacity in enumerate((0.30, 0.48, 0.70, 0.95)):
        chart.dots(x[level == step], y[level == step], colour, radius=2.4, opacity=opacity)


def score_head(judged: Judged) -> list[str]:
    """Return the column heads of :func:`score_cells`."""
    _, unit = judged.errors_in
    return [f"MAE ({unit})", f"RMSE ({unit})", "R²", "Pearson r²", "skill", "n per seed", "seeds"]


def score_cells(judged: Judged, found: Score | None) -> list[str]:
    """Return mean ± standard deviation over seeds of each metric."""
    if found is None:
        return ["–"] * 7
    factor, _ = judged.errors_in
    return [
        judged.mae_words(found),
        plus_minus(factor * found.rmse, factor * found.rmse_sd),
        plus_minus(found.r2, found.r2_sd),
        plus_minus(found.pearson_r2, found.pearson_r2_sd),
        skill_words(found),
        found.count,
        str(found.seeds),
    ]


def naive_words(judged: Judged, found: Score | None) -> str:
    """Return the error of the mean predictor, or a dash."""
    return number(judged.errors_in[0] * found.naive_mae) if found is not None else "–"
