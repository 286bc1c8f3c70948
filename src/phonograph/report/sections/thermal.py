"""Part 8: the property as a function of temperature, with its error budget."""

from __future__ import annotations

import math

import numpy as np

from phonograph.report.markup import Content, Markup, figure, join, table, tag
from phonograph.report.material import ReportMaterial
from phonograph.report.outline import Section, legend
from phonograph.report.palette import BLUE, VERMILLION
from phonograph.report.svg import Chart, data_range, px
from phonograph.report.words import (
    axis_label,
    decimals_of,
    fixed,
    number,
    percent,
    property_name,
    sentence_case,
)
from phonograph.types import ThermalCurve, ThermalPoint

TITLE = "Property against temperature"
FLAG_SHARE = 0.05
"""Points with a larger share of predictions outside the training range are flagged."""


def thermal(material: ReportMaterial) -> Section:
    """Return the section with one curve per target."""
    curve = material.curve
    if curve is None or not curve.points:
        return Section(key="thermal", title=TITLE, lead="No curve: the property was not predicted over temperature.")
    targets = sorted(dict.fromkeys(p.target for p in curve.points), key=lambda name: name != material.main_target)
    pictures = [_chart(points_of(curve, name)) for name in targets]
    parts: list[Content] = [
        legend({"model": BLUE, "labels at the same temperature": VERMILLION}) if _labelled(curve) else None
    ]
    parts.append(figure("8.1", _caption(curve), *pictures, columns=1 if len(targets) == 1 else 2))
    parts.append(_table(curve, targets))
    return Section(key="thermal", title=TITLE, lead=_lead(points_of(curve, targets[0]), curve), body=join(parts))


def points_of(curve: ThermalCurve, target: str) -> list[ThermalPoint]:
    """Return the points of one target by temperature."""
    return sorted((p for p in curve.points if p.target == target), key=lambda p: p.temperature_K)


def total_error(point: ThermalPoint) -> float:
    """Return √(Monte-Carlo error² + model spread²), undefined parts left out."""
    return math.sqrt(sum(x**2 for x in (point.standard_error, point.model_spread) if math.isfinite(x)))


def _labelled(curve: ThermalCurve) -> bool:
    return any(p.label_n for p in curve.points)


def _lead(points: list[ThermalPoint], curve: ThermalCurve) -> str:
    first, last = points[0], points[-1]
    name = property_name(first.target)
    if len(points) == 1:
        value = f"{number(first.mean)} {first.unit}"
        return f"At {number(first.temperature_K)} K the {name} is {value} ({curve.statistics} statistics)."
    change = last.mean - first.mean
    # Both ends come from the same models, which share their bias: only the Monte-Carlo errors are independent.
    error = math.hypot(first.standard_error, last.standard_error)
    places = decimals_of(error)
    return (
        f"From {number(first.temperature_K)} K to {number(last.temperature_K)} K the {name} goes from "
        f"{fixed(first.mean, places)} to {fixed(last.mean, places)} {first.unit}, a change of "
        f"{fixed(change, places)} ± {fixed(error, places)} {first.unit} (Monte-Carlo error only; {curve.statistics} "
        "statistics of the vibrations)."
    )


def _caption(curve: ThermalCurve) -> Markup:
    flagged = [p for p in curve.points if p.out_of_range > FLAG_SHARE]
    parts: list[Content] = [
        "Mean over configurations sampled at each temperature. Bars: Monte-Carlo error of the mean; band: standard "
        "deviation of the mean over models.",
    ]
    if _labelled(curve):
        parts.append(
            " Open diamonds: mean of direct labels of configurations at the same temperature, with their error, "
            "shifted a little to the right."
        )
    if flagged:
        parts.append(
            f" Hollow points ({len(flagged)}): more than {percent(FLAG_SHARE)} of the predictions lie outside the "
            "range of the training labels, their share is written above; there the model extrapolates."
        )
    return join(parts)


def _chart(points: list[ThermalPoint]) -> Markup:
    temperature = np.array([p.temperature_K for p in points])
    mean = np.array([p.mean for p in points])
    error = np.nan_to_num([p.standard_error for p in points])
    spread = np.nan_to_num([p.model_spread for p in points])
    labels = np.array([p.label_mean for p in points])
    label_error = np.nan_to_num([p.label_error for p in points])
    reach = data_range(
        mean - spread, mean + spread, mean - error, mean + error, labels - label_error, labels + label_error, pad=0.12
    )
    first = points[0]
    chart = Chart(
        x=data_range(temperature, pad=0.06),
        y=reach,
        x_label="temperature (K)",
        y_label=axis_label(first.target, first.unit),
        width=680,
        height=390,
        title=sentence_case(property_name(first.target)),
    )
    chart.band(temperature, mean - spread, mean + spread, BLUE, opacity=0.16)
    chart.line(temperature, mean, BLUE, width=1.8)
    chart.error_bars(temperature, mean, error, BLUE)
    _points(chart, points)
    known = np.isfinite(labels)
    beside = temperature[known] + 0.014 * (chart.x.high - chart.x.low)
    chart.error_bars(beside, labels[known], label_error[known], VERMILLION)
    chart.diamonds(beside, labels[known], VERMILLION)
    return chart.render(f"{sentence_case(property_name(first.target))} against temperature, with errors")


def _points(chart: Chart, points: list[ThermalPoint]) -> None:
    for point in points:
        flagged = point.out_of_range > FLAG_SHARE
        place = {"cx": px(chart.x.at(point.temperature_K)), "cy": px(chart.y.at(point.mean))}
        chart.add(
            tag(
                "circle",
                **place,
                r=4.4,
                class_="on-paper" if flagged else None,
                fill=None if flagged else BLUE,
                stroke=BLUE,
                stroke_width=1.8,
            )
        )
        if flagged:
            chart.note(
                point.temperature_K,
                point.mean,
                f"{percent(point.out_of_range)} out of range",
                anchor="middle",
                size=10.5,
                shift=(0, -30),
            )


def _table(curve: ThermalCurve, targets: list[str]) -> Markup:
    head = [
        "property",
        "T (K)",
        "mean",
        "Monte-Carlo error",
        "model spread",
        "combined",
        "n",
        "out of range",
        "labels: mean",
        "error",
        "n",
    ]
    rows = []
    for target in targets:
        for p in points_of(curve, target):
            places = max(decimals_of(total_error(p)), 3)
            rows.append(
                [
                    f"{sentence_case(property_name(target))} ({p.unit})",
                    number(p.temperature_K),
                    fixed(p.mean, places),
                    fixed(p.standard_error, places),
                    fixed(p.model_spread, places),
                    fixed(total_error(p), places),
                    str(p.n),
                    percent(p.out_of_range),
                    fixed(p.label_mean, places),
                    fixed(p.label_error, places),
                    str(p.label_n) if p.label_n else "–",
                ]
            )
    return table(head, rows)


def at_temperature(curve: ThermalCurve, target: str, temperature_K: float) -> ThermalPoint | None:
    """Return the point nearest to ``temperature_K``, or None without any."""
    points = points_of(curve, target)
    return min(points, key=lambda p: abs(p.temperature_K - temperature_K)) if points else None
