"""Learning curves: error against the number of labels, what may be claimed about differences, and the fitted laws."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from phonograph.report.markup import Content, Markup, bullets, figure, fold, join, tag
from phonograph.report.material import ReportMaterial
from phonograph.report.outline import Section, legend
from phonograph.report.palette import ORANGE
from phonograph.report.sections.curve_tables import difference_table, factor_table, law_table, point_table
from phonograph.report.svg import Chart, data_range, label, log_range, px
from phonograph.report.words import error_unit, listed, number, plural, property_name, sentence_case
from phonograph.types import NO_CLAIM, CurvePoint, Difference, FloatArray, LearningCurve

TITLE = "Learning curves"
MOST_OPEN = 6
"""Charts of more tests are folded."""

MATCHED = "-at-"
"""In the names of samples that have the amplitude of another set."""

GAUSSIAN_MAE = math.sqrt(2.0 / math.pi)
"""Mean absolute value of Gaussian noise of unit standard deviation."""


@dataclass(frozen=True, eq=False)
class Learned:
    """The learning curves of one target, and what their figures share."""

    material: ReportMaterial
    curve: LearningCurve
    target: str

    @cached_property
    def points(self) -> tuple[CurvePoint, ...]:
        """Points of all test labels."""
        return tuple(p for p in self.curve.points if p.target == self.target and p.scope == "all")

    @cached_property
    def trained(self) -> tuple[str, ...]:
        """Training collections, in order of appearance."""
        return tuple(dict.fromkeys(point.trained_on for point in self.points))

    @cached_property
    def tested(self) -> tuple[str, ...]:
        """Tests: those that something was trained on first, samples matched in amplitude last."""
        every = dict.fromkeys(point.tested_on for point in self.points)
        ordered = dict.fromkeys([*(name for name in self.trained if name in every), *every])
        return tuple(sorted(ordered, key=is_matched))

    @cached_property
    def colours(self) -> Mapping[str, str]:
        """One colour per training collection, as everywhere in the report; matched samples have that of their set."""
        known = self.material.colours
        return {name: known.get(name.partition(MATCHED)[0], known[name]) for name in self.trained}

    @cached_property
    def errors_in(self) -> tuple[float, str]:
        """Factor and unit in which the errors read well."""
        return error_unit(self.points[0].unit, [point.mae for point in self.points])

    @cached_property
    def floor(self) -> float:
        """Mean absolute error that label noise alone gives, in the target's unit; NaN where it was not measured."""
        return GAUSSIAN_MAE * self.material.noise.floor(self.target) if self.material.noise else float("nan")

    @cached_property
    def differences(self) -> tuple[Difference, ...]:
        """Comparisons of all test labels at the largest size of each pair."""
        rows = [d for d in self.curve.differences if d.target == self.target and d.scope == "all"]
        largest: dict[tuple[str, str], int] = {}
        for row in rows:
            key = (row.tested_on, row.second)
            largest[key] = max(largest.get(key, 0), row.size)
        return tuple(row for row in rows if row.size == largest[row.tested_on, row.second])

    def of(self, trained_on: str, tested_on: str) -> list[CurvePoint]:
        """Return one curve, smallest size first."""
        found = [p for p in self.points if (p.trained_on, p.tested_on) == (trained_on, tested_on)]
        return sorted(found, key=lambda point: point.size)


def is_matched(name: str) -> bool:
    """Return whether a collection holds the samples of a set that have the amplitude of another one."""
    return MATCHED in name


def learning_curves(material: ReportMaterial) -> Section | None:
    """Return the section; None where no learning curve was measured."""
    curve = material.learning_curve
    if curve is None or not curve.points:
        return None
    names = list(dict.fromkeys(point.target for point in curve.points))
    parts: list[Content] = [_target(Learned(material, curve, names[0]), 0)]
    for place, name in enumerate(names[1:], start=1):
        title = sentence_case(property_name(name))
        parts.append(
            tag("details", tag("summary", title, class_="big"), _target(Learned(material, curve, name), place))
        )
    return Section(key="learning-curves", title=TITLE, lead=_lead(curve, names), body=join(parts))


def _lead(curve: LearningCurve, names: Sequence[str]) -> str:
    sizes = sorted({point.size for point in curve.points})
    fits = len({(row.target, row.trained_on, row.size, row.seed, row.candidate) for row in curve.rows})
    seeds = len({row.seed for row in curve.rows})
    trained = listed(dict.fromkeys(point.trained_on for point in curve.points))
    what = listed(property_name(name) for name in names)
    return (
        f"{plural(fits, 'network')} for the {what}, trained on {sizes[0]} to {sizes[-1]} labels of {trained}, "
        f"{plural(seeds, 'seed')} each. What may be claimed, after correction for the number of comparisons:"
    )


def _target(learned: Learned, place: int) -> Markup:
    return join(
        _verdicts(learned),
        _legend(learned),
        _curves(learned, f"L.{3 * place + 1}", hours=False),
        _differences(learned, f"L.{3 * place + 2}"),
        _curves(learned, f"L.{3 * place + 3}", hours=True),
        fold("Power laws", law_table(learned.curve, learned.target, *learned.errors_in)),
        fold("All comparisons", difference_table(learned.curve, learned.target, *learned.errors_in)),
        fold("Labels needed", factor_table(learned.curve, learned.target, *learned.errors_in)),
    )


def _legend(learned: Learned) -> Markup:
    whole = {name: colour for name, colour in learned.colours.items() if not is_matched(name)}
    matched = [name for name in learned.trained if is_matched(name)]
    note = f"dashed, open dots: {listed(matched)}, in the colour of their set" if matched else None
    return join(legend(whole, "trained on"), tag("p", note, class_="quiet") if note else None)


def _verdicts(learned: Learned) -> Markup:
    """Return what may be claimed as a list, and what may not folded below it."""
    several = len({point.target for point in learned.curve.points}) > 1
    own = [line for line in learned.curve.verdicts if not several or line.startswith(f"{learned.target}: ")]
    sentences = [sentence_case(line.removeprefix(f"{learned.target}: ")) + "." for line in own]
    open_ = [line for line in sentences if NO_CLAIM in line]
    told = [line for line in sentences if line not in open_]
    if not any("beats" in line for line in told):
        told = ["No difference between training collections can be claimed.", *told]
    folded = fold(f"{plural(len(open_), 'comparison')} in which {NO_CLAIM}", bullets(open_))
    return join(bullets(told), folded if open_ else None)


def _curves(learned: Learned, number_: str, *, hours: bool) -> Markup | None:
    """Return the log–log charts, one per test; over core-hours only where these are known."""
    known = [p for p in learned.points if not hours or p.label_core_hours > 0]
    if not known:
        return None
    tests = [name for name in learned.tested if any(point.tested_on == name for point in known)]
    span = _mae_span(learned, known)
    charts = {name: _chart(learned, name, span, hours=hours) for name in tests}
    numbers = None if hours else point_table(learned.curve, learned.target, *learned.errors_in)
    open_ = [charts[name] for name in tests[:MOST_OPEN]]
    shown = figure(number_, _caption(learned, hours=hours), *open_, numbers=numbers, columns=3 if len(open_) > 2 else 2)
    if len(tests) <= MOST_OPEN:
        return shown
    rest = tag("div", [charts[name] for name in tests[MOST_OPEN:]], class_="grid g3")
    return join(shown, fold("Further tests", rest))


def _caption(learned: Learned, *, hours: bool) -> str:
    if hours:
        return "The same errors against what the labels have cost (seconds × cores), mean over seeds."
    words = (
        "Mean absolute error against the number of labels, mean over seeds with its 95 % interval (corrected for test "
        "parts that share samples). Lines are power laws a·N^(−b) + c with their 95 % bands, drawn to twice the "
        "largest size and no further. Dashed: the error of predicting the mean training label, the lowest of all "
        "collections."
    )
    if math.isfinite(learned.floor):
        words += " Orange: the mean absolute error that the noise of the labels alone gives."
    return words


def _mae_span(learned: Learned, points: Sequence[CurvePoint]) -> tuple[float, float]:
    factor, _ = learned.errors_in
    values = [value for p in points for value in (p.mae, p.naive_mae, max(p.mae_low, 0.6 * p.mae), p.mae_high)]
    return log_range([factor * value for value in (*values, learned.floor)])


def _chart(learned: Learned, tested_on: str, span: tuple[float, float], *, hours: bool) -> Markup:
    factor, unit = learned.errors_in
    sizes = sorted({point.size for point in learned.points})
    across = [p.label_core_hours for p in learned.points if p.label_core_hours > 0] if hours else sizes
    chart = Chart(
        x=log_range(across, [] if hours else [2.0 * sizes[-1]]),
        y=span,
        log_x=True,
        log_y=True,
        x_label="cost of the labels (core-hours)" if hours else "labels N",
        y_label=f"MAE ({unit})",
        x_ticks=None if hours else [(float(size), str(size)) for size in _apart(sizes)],
        title=f"Tested on {tested_on}",
        width=340,
        height=290,
    )
    naive = [p.naive_mae for p in learned.points if p.tested_on == tested_on and p.size == sizes[-1]]
    naive = [value for value in naive if math.isfinite(value)]
    if naive:
        chart.rule(y=factor * min(naive), dash="6 4", opacity=0.6)
    if learned.floor > 0:
        ends = np.array([chart.x.low, chart.x.high])
        chart.line(ends, np.full(2, factor * learned.floor), ORANGE, width=1.6)
    for place, trained_on in enumerate(learned.trained):
        if hours:
            _over_hours(chart, learned, trained_on, tested_on)
        else:
            _law(chart, learned, trained_on, tested_on)
            _points(chart, learned, trained_on, tested_on, 1.02 ** (2 * place + 1 - len(learned.trained)))
    return chart.render(f"Error against the number of labels, tested on {tested_on}")


def _apart(sizes: Sequence[int], factor: float = 1.55) -> list[int]:
    """Return sizes whose labels do not run into each other."""
    kept: list[int] = []
    for size in sizes:
        if not kept or size >= factor * kept[-1]:
            kept.append(size)
    return kept


def _law(chart: Chart, learned: Learned, trained_on: str, tested_on: str) -> None:
    factor, _ = learned.errors_in
    key = (learned.target, trained_on, tested_on, "all")
    band = [b for b in learned.curve.bands if (b.target, b.trained_on, b.tested_on, b.scope) == key]
    if not band:
        return
    x = np.array([b.size for b in band])
    low, high, middle = (factor * np.array([getattr(b, name) for b in band]) for name in ("low", "high", "mae"))
    colour = learned.colours[trained_on]
    if np.isfinite(low).all():
        chart.band(x, np.clip(low, chart.y.low, chart.y.high), np.clip(high, chart.y.low, chart.y.high), colour)
    dash = "5 3" if is_matched(trained_on) else ""
    chart.line(x, np.clip(middle, chart.y.low, chart.y.high), colour, width=1.5, dash=dash)


def _points(chart: Chart, learned: Learned, trained_on: str, tested_on: str, shift: float) -> None:
    factor, _ = learned.errors_in
    found = [p for p in learned.of(trained_on, tested_on) if p.mae > 0]
    colour = learned.colours[trained_on]
    x = shift * np.array([float(p.size) for p in found])
    chart.dots(x, factor * np.array([p.mae for p in found]), colour, radius=3.4, hollow=is_matched(trained_on))
    low = np.clip(factor * np.array([p.mae_low for p in found]), chart.y.low, None)
    _bars(chart, x, low, np.clip(factor * np.array([p.mae_high for p in found]), None, chart.y.high), colour)


def _bars(chart: Chart, x: FloatArray, low: FloatArray, high: FloatArray, colour: str) -> None:
    """Add vertical bars between two values; their ends at the frame are those of bars that go on."""
    path = "".join(
        f"M{px(chart.x.at(a))} {px(chart.y.at(b))}V{px(chart.y.at(c))}"
        for a, b, c in zip(x, low, high, strict=True)
        if math.isfinite(b) and math.isfinite(c)
    )
    if path:
        chart.add(tag("path", d=path, stroke=colour, stroke_width=1.4))


def _over_hours(chart: Chart, learned: Learned, trained_on: str, tested_on: str) -> None:
    factor, _ = learned.errors_in
    found = [p for p in learned.of(trained_on, tested_on) if p.mae > 0 and p.label_core_hours > 0]
    x = np.array([p.label_core_hours for p in found])
    y = factor * np.array([p.mae for p in found])
    matched = is_matched(trained_on)
    chart.line(x, y, learned.colours[trained_on], width=1.3, opacity=0.8, dash="5 3" if matched else "")
    chart.dots(x, y, learned.colours[trained_on], radius=3.4, hollow=matched)


def _differences(learned: Learned, number_: str) -> Markup | None:
    """Return the panel of paired differences, one row per test and other collection."""
    rows = learned.differences
    if not rows:
        return None
    factor, unit = learned.errors_in
    first = rows[0].first
    ordered = sorted(rows, key=lambda row: learned.tested.index(row.tested_on))
    bounds = [factor * value for row in rows for value in (row.difference, row.low, row.high)]
    widest = max(len(_row_words(row)) for row in rows)
    chart = Chart(
        x=data_range(bounds, include=(0.0,)),
        y=(0.0, float(len(rows))),
        x_label=f"MAE trained on {first} − MAE trained on the other ({unit})",
        y_label="",
        y_ticks=(),
        width=760,
        height=78 + 25 * len(rows),
        margins=(min(24 + 7 * widest, 330), 96, 24, 46),
    )
    chart.rule(x=0.0, opacity=0.7)
    chart.add(label(chart.x.start, 14, f"← {first} better", size=11, soft=True))
    chart.add(label(chart.x.stop, 14, f"{first} worse →", size=11, soft=True, anchor="end"))
    chart.add(label(chart.x.stop + 12, 14, "corrected p", size=11, soft=True))
    for place, row in enumerate(ordered):
        _difference_row(chart, row, len(rows) - place - 0.5, learned)
    caption = (
        "Paired differences at the largest common number of labels; rows name the test and the other collection. Dot "
        "and thick bar: mean over seeds and its 95 % interval (corrected t); thin bar: 95 % interval over groups of "
        "test samples, the networks as they are. A full dot is a difference that may be claimed after Holm's "
        "correction over all comparisons at that number of labels."
    )
    return figure(number_, caption, chart.render(f"Differences from training on {first}"))


def _row_words(row: Difference) -> str:
    return f"{row.tested_on}: against {row.second}, N = {row.size}"


def _difference_row(chart: Chart, row: Difference, height: float, learned: Learned) -> None:
    factor, _ = learned.errors_in
    colour = learned.colours[row.second]
    at = np.array([height])
    chart.rule(y=height, opacity=0.1)
    chart.spans([factor * row.sample_low], [factor * row.sample_high], at - 0.22, colour, width=1.1)
    chart.spans([factor * row.low], [factor * row.high], at, colour, width=3.0)
    chart.dots([factor * row.difference], at, colour, radius=5.0, hollow=not row.claimed)
    chart.add(label(chart.x.start - 10, chart.y.at(height) + 4, _row_words(row), anchor="end", size=12))
    words = number(row.p_holm, 2) if row.p_holm >= 1e-4 else "< 0.0001" if row.p_holm >= 0 else "–"
    chart.add(label(chart.x.stop + 12, chart.y.at(height) + 4, words, size=12))
