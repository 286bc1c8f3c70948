"""Histograms of several sets on one axis: rows that share bins, and outlines drawn over each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from phonograph.report.markup import Markup, table, tag
from phonograph.report.svg import Chart, data_range, label, px
from phonograph.report.words import number
from phonograph.types import FloatArray

MOST_BINS = 120
"""Bins of outlines at most, however narrow one of the sets is."""


def finite(values: FloatArray) -> FloatArray:
    """Return the finite values, flat."""
    flat = np.asarray(values, dtype=np.float64).ravel()
    return flat[np.isfinite(flat)]


def bin_count(sizes: Iterable[int], factor: float) -> int:
    """Return ``factor``·n^⅓ bins (Rice's rule has factor 2) for the smallest group, at least 20 and at most 44."""
    smallest = min((size for size in sizes if size), default=1)
    return int(np.clip(round(factor * smallest ** (1 / 3)), 20, 44))


def rows_chart(
    values: Mapping[str, FloatArray],
    colours: Mapping[str, str],
    x_label: str,
    *,
    title: str,
    span: tuple[float, float] | None = None,
    bins: int | None = None,
    row: int = 58,
) -> Markup:
    """Return one row per set: histogram, every single value as a tick, and the mean.

    Rows have the same bins; heights are shares of the set, on one scale, so areas can be compared.  ``span`` must
    hold all values where it is given; ``row`` is the height of a row in pixels.
    """
    present = {name: finite(data) for name, data in values.items() if len(finite(data))}
    reach = span or data_range(*present.values(), pad=0.04)
    edges = np.linspace(*reach, (bins or bin_count(map(len, present.values()), 5.0)) + 1)
    shares = {name: np.histogram(data, edges)[0] / len(data) for name, data in present.items()}
    tallest = max((float(share.max()) for share in shares.values()), default=1.0)
    top = 30
    chart = Chart(
        x=reach,
        y=(0.0, float(max(len(present), 1))),
        x_label=x_label,
        y_label="",
        y_ticks=(),
        title=title,
        width=500,
        height=top + 46 + row * max(len(present), 1),
        margins=(min(22 + 7 * max(map(len, present), default=0), 170), 14, top, 46),
    )
    for place, (name, data) in enumerate(present.items()):
        base = len(present) - 1 - place + 0.16
        _histogram_row(chart, edges, shares[name] / tallest * 0.72, base, colours[name])
        _rug(chart, data, base, colours[name])
        chart.add(label(chart.x.start - 10, chart.y.at(base) + 1, name, anchor="end", size=12))
    return chart.render(f"{title}: histogram per set")


def _histogram_row(chart: Chart, edges: FloatArray, heights: FloatArray, base: float, colour: str) -> None:
    across = np.repeat(edges, 2)
    along = np.concatenate([[0.0], np.repeat(heights, 2), [0.0]]) + base
    chart.band(across, np.full_like(across, base), along, colour, opacity=0.25)
    chart.line(across, along, colour, width=1.3)


def _rug(chart: Chart, data: FloatArray, base: float, colour: str) -> None:
    foot = chart.y.at(base) + 2
    places = dict.fromkeys(px(value) for value in chart.x(np.sort(data)))
    path = "".join(f"M{place} {px(foot)}v5" for place in places)
    chart.add(tag("path", d=path, stroke=colour, stroke_width=0.8, stroke_opacity=0.45))
    middle = chart.x.at(float(data.mean()))
    chart.add(tag("path", d=f"M{px(middle)} {px(foot + 6)}l-4 7h8z", fill=colour))


def outlines_chart(
    values: Mapping[str, FloatArray],
    colours: Mapping[str, str],
    x_label: str,
    *,
    title: str,
    unit: str,
    span: tuple[float, float] | None = None,
    width: int = 330,
    height: int = 250,
    fill: Sequence[str] = (),
) -> Markup:
    """Return normalised histograms drawn as outlines over each other, in 1/``unit``; ``fill`` names shaded ones."""
    present = {name: finite(data) for name, data in values.items() if len(finite(data))}
    reach = span or data_range(*present.values(), pad=0.02)
    # Beside a wide law a narrow one needs its own resolution: half of its standard deviation.
    narrowest = min((float(data.std()) for data in present.values() if data.std() > 0), default=np.inf)
    fine = min(round(2 * (reach[1] - reach[0]) / narrowest), MOST_BINS)
    edges = np.linspace(*reach, max(bin_count(map(len, present.values()), 3.0), fine) + 1)
    heights = {name: np.histogram(data, edges)[0] / (len(data) * np.diff(edges)) for name, data in present.items()}
    tallest = max((float(height.max()) for height in heights.values()), default=1.0)
    chart = Chart(
        x=reach,
        y=(0.0, 1.06 * tallest if tallest > 0 else 1.0),
        x_label=x_label,
        y_label=f"density (1/{unit})",
        title=title,
        width=width,
        height=height,
    )
    for name, height_ in heights.items():
        across = np.repeat(edges, 2)
        along = np.concatenate([[0.0], np.repeat(height_, 2), [0.0]])
        if name in fill:
            chart.band(across, np.zeros_like(across), along, colours[name], opacity=0.2)
        chart.line(across, along, colours[name], width=1.5)
    return chart.render(f"{title}: normalised histogram of {', '.join(present)}")


def summary_table(groups: Sequence[tuple[str, str, FloatArray]], first: str, second: str, unit: str = "") -> Markup:
    """Return n, mean, standard deviation and quantiles of each (first, second, values)."""
    suffix = f" ({unit})" if unit else ""
    head = [first, second, "n", f"mean{suffix}", "sd", "smallest", "5 %", "median", "95 %", "largest"]
    rows = []
    for name, what, values in groups:
        data = finite(values)
        if len(data) == 0:
            rows.append([name, what, "0", *["–"] * 7])
            continue
        spread = float(data.std(ddof=1)) if len(data) > 1 else float("nan")
        quantiles = np.quantile(data, [0.0, 0.05, 0.5, 0.95, 1.0])
        rows.append(
            [
                name,
                what,
                f"{len(data)}",
                number(float(data.mean()), 4),
                number(spread),
                *(number(float(q), 4) for q in quantiles),
            ]
        )
    return table(head, rows, words=2)
