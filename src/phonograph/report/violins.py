"""Violins: the distribution of a number for each level of something, mirrored, with its quartiles and its median."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from phonograph.report.markup import tag
from phonograph.report.palette import GREY
from phonograph.report.svg import Chart, px
from phonograph.types import FloatArray

HALF_WIDTH = 0.42
"""Widest half of a violin, in units of the distance between two of them."""

_POINTS = 60
_REACH = 1.5
"""The outline goes this many bandwidths beyond the data, so that it ends in a tip."""


def add_violins(chart: Chart, groups: Sequence[FloatArray], colour: str) -> None:
    """Draw one violin per group at x = 0.5, 1.5, …; a group of fewer than five values is drawn as dots alone.

    The outline is a Gaussian kernel density with Silverman's bandwidth h = 0.9 min(s, IQR/1.34) n^(−1/5), on the
    logarithm where the chart's axis is logarithmic; every violin has the same greatest width.
    """
    for place, values in enumerate(groups):
        middle = place + 0.5
        shown = np.log10(values) if chart.y.logarithmic else np.asarray(values, dtype=np.float64)
        if len(shown) >= 5 and np.ptp(shown) > 0:
            _outline(chart, middle, shown, colour)
        elif len(shown):
            chart.dots(np.full(len(shown), middle), values, colour, radius=2.6, opacity=0.6)
        if len(shown):
            low, median, high = np.percentile(shown, [25, 50, 75])
            if len(shown) >= 5:
                ends = [chart.y.at(_back(chart, end)) for end in (low, high)]
                at = chart.x.at(middle)
                bar = tag("path", d=f"M{px(at)} {px(ends[0])}V{px(ends[1])}", stroke=GREY, stroke_width=5)
                chart.add(bar)
            chart.dots([middle], [_back(chart, median)], "currentColor", radius=2.8)


def _outline(chart: Chart, middle: float, shown: FloatArray, colour: str) -> None:
    width = _bandwidth(shown)
    grid = np.linspace(shown.min() - _REACH * width, shown.max() + _REACH * width, _POINTS)
    density = np.exp(-0.5 * ((grid[:, None] - shown[None]) / width) ** 2).sum(axis=1)
    half = HALF_WIDTH * density / density.max()
    inside = np.array([chart.y.at(_back(chart, value)) for value in grid])
    top, bottom = sorted((chart.y.start, chart.y.stop))
    inside = np.clip(inside, top, bottom)
    right, left = chart.x(middle + half), chart.x(middle - half)
    points = [*zip(right, inside, strict=True), *zip(left[::-1], inside[::-1], strict=True)]
    path = "M" + "L".join(f"{px(float(a))} {px(float(b))}" for a, b in points) + "Z"
    chart.add(tag("path", d=path, fill=colour, fill_opacity=0.28, stroke=colour, stroke_width=1.2))


def _bandwidth(values: FloatArray) -> float:
    low, high = np.percentile(values, [25, 75])
    spread = float(values.std())
    scale = min(spread, float(high - low) / 1.34) if high > low else spread
    return 0.9 * scale * len(values) ** -0.2


def _back(chart: Chart, value: float) -> float:
    return float(math.pow(10.0, value)) if chart.y.logarithmic else float(value)
