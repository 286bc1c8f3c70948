"""Small, exact charts as inline SVG: the same bytes from the same numbers, no scripts, text as text.

Axes and text take the page's text colour (``currentColor``), so that charts follow light, dark and print.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from phonograph.report.markup import Content, Markup, tag
from phonograph.report.words import fixed, superscript
from phonograph.types import FloatArray


def px(value: float) -> str:
    """Return a coordinate to a tenth of a pixel, without trailing zeros."""
    words = f"{value:.1f}".removesuffix(".0")
    return "0" if words == "-0" else words


@dataclass(frozen=True)
class Scale:
    """Maps data from ``low``–``high`` to pixels ``start``–``stop``, linearly or by the decimal logarithm."""

    low: float
    high: float
    start: float
    stop: float
    logarithmic: bool = False

    def __call__(self, values: ArrayLike) -> FloatArray:
        """Return pixel positions of ``values``."""
        data = np.asarray(values, dtype=np.float64)
        low, high = self.low, self.high
        if self.logarithmic:
            data, low, high = np.log10(data), math.log10(low), math.log10(high)
        return self.start + (data - low) / (high - low) * (self.stop - self.start)

    def at(self, value: float) -> float:
        """Return the pixel position of one value."""
        return float(self(value))

    def ticks(self, about: int = 5) -> list[tuple[float, str]]:
        """Return (value, label) of round numbers inside the range."""
        return _decades(self.low, self.high) if self.logarithmic else _round_numbers(self.low, self.high, about)


def _round_numbers(low: float, high: float, about: int) -> list[tuple[float, str]]:
    raw = (high - low) / max(about, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = min((factor * power for factor in (1.0, 2.0, 2.5, 5.0, 10.0)), key=lambda s: abs(math.log(s / raw)))
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    if abs(step * 10**decimals - round(step * 10**decimals)) > 1e-6:
        decimals += 1
    first, last = math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6)
    return [(place * step, fixed(place * step, decimals)) for place in range(first, last + 1)]


def _decades(low: float, high: float) -> list[tuple[float, str]]:
    factors = (1,) if math.log10(high / low) > 2 else (1, 2, 5) if math.log10(high / low) > 0.9 else (1, 2, 3, 5, 7)
    found = []
    for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        for factor in factors:
            value = factor * 10.0**power
            if low * 0.999 <= value <= high * 1.001:
                lead = "" if factor == 1 else f"{factor}·"
                words = f"{lead}10{superscript(power)}" if abs(power) > 3 else f"{value:.{max(-power, 0)}f}"
                found.append((value, words))
    return found


def data_range(*values: ArrayLike, pad: float = 0.06, include: Sequence[float] = ()) -> tuple[float, float]:
    """Return the finite range of all values with a margin; (0, 1) where there are none."""
    parts = [np.asarray(value, dtype=np.float64).ravel() for value in (*values, list(include))]
    joined = np.concatenate(parts)
    joined = joined[np.isfinite(joined)]
    if len(joined) == 0:
        return 0.0, 1.0
    low, high = float(joined.min()), float(joined.max())
    margin = pad * (high - low) if high > low else max(abs(high), 1.0) * 0.1
    return low - margin, high + margin


def log_range(*values: ArrayLike) -> tuple[float, float]:
    """Return the range of the positive finite values with a margin of 15 %; (0.1, 1) where there are none."""
    joined = np.concatenate([np.asarray(value, dtype=np.float64).ravel() for value in values])
    joined = joined[np.isfinite(joined) & (joined > 0)]
    if len(joined) == 0:
        return 0.1, 1.0
    return float(joined.min()) / 1.15, float(joined.max()) * 1.15


def _room_beside(ticks: Sequence[tuple[float, str]]) -> int:
    """Return the left margin, in pixels, that keeps the turned axis label clear of the longest tick label."""
    return 30 + math.ceil(6.4 * max((len(words) for _, words in ticks), default=0))


class Chart:
    """One pair of axes that marks are added to, in drawing order, before :meth:`render`.

    Parameters
    ----------
    x, y
        Data range (low, high) of each axis.
    x_label, y_label
        Axis labels with units.
    width, height
        Natural size in pixels.
    title
        Small heading inside the picture.
    log_x, log_y
        Logarithmic axes.
    x_ticks, y_ticks
        (value, label) pairs instead of round numbers; empty for none.
    margins
        Pixels left, right, top, bottom of the axes; left out, what the labels need.
    """

    def __init__(
        self,
        *,
        x: tuple[float, float],
        y: tuple[float, float],
        x_label: str,
        y_label: str,
        width: int = 500,
        height: int = 320,
        title: str = "",
        log_x: bool = False,
        log_y: bool = False,
        x_ticks: Sequence[tuple[float, str]] | None = None,
        y_ticks: Sequence[tuple[float, str]] | None = None,
        margins: tuple[int, int, int, int] | None = None,
    ) -> None:
        left, right, top, bottom = margins or (58, 14, 30 if title else 12, 46)
        self.width, self.height, self.title = width, height, title
        self.y = Scale(*y, height - bottom, top, log_y)
        if margins is None and y_label:
            left = max(left, _room_beside(self.y.ticks() if y_ticks is None else y_ticks))
        self.x = Scale(*x, left, width - right, log_x)
        self.x_label, self.y_label = x_label, y_label
        self.x_ticks, self.y_ticks = x_ticks, y_ticks
        self._marks: list[Markup] = []

    def add(self, *marks: Markup) -> None:
        """Add finished SVG elements."""
        self._marks.extend(marks)

    def line(
        self, x: ArrayLike, y: ArrayLike, colour: str, *, width: float = 1.6, dash: str = "", opacity: float = 1.0
    ) -> None:
        """Add a line; it is interrupted where a value is not finite."""
        self.add(_stroke(_polyline(self.x(x), self.y(y)), colour, width, dash, opacity))

    def lines(self, x: ArrayLike, many: ArrayLike, colour: str, *, width: float = 1.4, opacity: float = 1.0) -> None:
        """Add one line per column of ``many`` as a single path."""
        across = self.x(x)
        path = "".join(_polyline(across, self.y(column)) for column in np.asarray(many).T)
        self.add(_stroke(path, colour, width, "", opacity))

    def band(self, x: ArrayLike, low: ArrayLike, high: ArrayLike, colour: str, *, opacity: float = 0.18) -> None:
        """Fill between two curves."""
        across = np.concatenate([self.x(x), self.x(x)[::-1]])
        along = np.concatenate([self.y(low), self.y(high)[::-1]])
        self.add(tag("path", d=_polyline(across, along) + "Z", fill=colour, fill_opacity=opacity))

    def rectangle(
        self,
        x: tuple[float, float],
        y: tuple[float, float],
        colour: str,
        *,
        opacity: float = 1.0,
        round_: float = 0,
    ) -> None:
        """Fill a rectangle given in data units."""
        left, right = sorted((self.x.at(x[0]), self.x.at(x[1])))
        top, bottom = sorted((self.y.at(y[0]), self.y.at(y[1])))
        size = {"width": px(right - left), "height": px(bottom - top)}
        self.add(
            tag("rect", x=px(left), y=px(top), **size, rx=round_ or None, fill=colour, fill_opacity=_opacity(opacity))
        )

    def dots(
        self,
        x: ArrayLike,
        y: ArrayLike,
        colour: str,
        *,
        radius: float = 3.0,
        opacity: float = 1.0,
        hollow: bool = False,
    ) -> None:
        """Add round markers as one path of zero-length strokes, which keeps thousands of them small."""
        across, along = self.x(x), self.y(y)
        if hollow:
            ring = [
                tag(
                    "circle",
                    cx=px(a),
                    cy=px(b),
                    r=radius,
                    fill=colour,
                    fill_opacity=0.12,
                    stroke=colour,
                    stroke_width=1.4,
                )
                for a, b in zip(across.ravel(), along.ravel(), strict=True)
            ]
            self.add(*ring)
            return
        finite = np.isfinite(across) & np.isfinite(along)
        places = dict.fromkeys(f"M{px(a)} {px(b)}h0" for a, b in zip(across[finite], along[finite], strict=True))
        path = "".join(places)
        if path:
            self.add(
                tag(
                    "path",
                    d=path,
                    stroke=colour,
                    stroke_width=2 * radius,
                    stroke_linecap="round",
                    stroke_opacity=_opacity(opacity),
                )
            )

    def diamonds(self, x: ArrayLike, y: ArrayLike, colour: str, *, radius: float = 4.5) -> None:
        """Add open diamond markers."""
        for a, b in zip(self.x(x).ravel(), self.y(y).ravel(), strict=True):
            corners = (
                f"M{px(a)} {px(b - radius)}L{px(a + radius)} {px(b)}L{px(a)} {px(b + radius)}L{px(a - radius)} {px(b)}Z"
            )
            self.add(tag("path", d=corners, class_="on-paper", stroke=colour, stroke_width=1.6))

    def error_bars(self, x: ArrayLike, y: ArrayLike, error: ArrayLike, colour: str, *, width: float = 1.4) -> None:
        """Add vertical bars y ± error with small caps."""
        centre, half = np.asarray(y, dtype=np.float64), np.asarray(error, dtype=np.float64)
        across, low, high = self.x(x), self.y(centre - half), self.y(centre + half)
        path = "".join(
            f"M{px(a)} {px(b)}V{px(c)}M{px(a - 3)} {px(b)}h6M{px(a - 3)} {px(c)}h6"
            for a, b, c in zip(across.ravel(), low.ravel(), high.ravel(), strict=True)
            if math.isfinite(b) and math.isfinite(c)
        )
        self.add(_stroke(path, colour, width, "", 1.0))

    def spans(self, low: ArrayLike, high: ArrayLike, y: ArrayLike, colour: str, *, width: float = 1.6) -> None:
        """Add horizontal bars from ``low`` to ``high``."""
        left, right, along = self.x(low), self.x(high), self.y(y)
        path = "".join(
            f"M{px(a)} {px(c)}H{px(b)}"
            for a, b, c in zip(left.ravel(), right.ravel(), along.ravel(), strict=True)
            if math.isfinite(a) and math.isfinite(b)
        )
        self.add(_stroke(path, colour, width, "", 1.0))

    def rule(self, *, x: float | None = None, y: float | None = None, dash: str = "", opacity: float = 0.45) -> None:
        """Add a thin line across the axes at ``x`` or ``y``."""
        if x is not None:
            path = f"M{px(self.x.at(x))} {px(self.y.start)}V{px(self.y.stop)}"
        else:
            path = f"M{px(self.x.start)} {px(self.y.at(y or 0.0))}H{px(self.x.stop)}"
        self.add(_stroke(path, "currentColor", 1, dash, opacity))

    def note(
        self,
        x: float,
        y: float,
        words: Content,
        *,
        anchor: str = "start",
        colour: str = "currentColor",
        size: float = 12,
        weight: int | None = None,
        shift: tuple[float, float] = (0, 0),
    ) -> None:
        """Add text at a data point, shifted by pixels."""
        self.add(
            label(
                self.x.at(x) + shift[0],
                self.y.at(y) + shift[1],
                words,
                anchor=anchor,
                colour=colour,
                size=size,
                weight=weight,
            )
        )

    def render(self, description: str) -> Markup:
        """Return the SVG element; ``description`` is what a screen reader says."""
        heading = label(self.x.start, 17, self.title, size=13, weight=600) if self.title else None
        return tag(
            "svg",
            self._grid(),
            tag("g", *self._marks, fill="none", stroke_linejoin="round"),
            self._axes(),
            heading,
            viewBox=f"0 0 {self.width} {self.height}",
            width=self.width,
            height=self.height,
            role="img",
            aria_label=description,
        )

    def _grid(self) -> Markup | None:
        ticks = self.y.ticks() if self.y_ticks is None else self.y_ticks
        path = "".join(f"M{px(self.x.start)} {px(self.y.at(value))}H{px(self.x.stop)}" for value, _ in ticks)
        return _stroke(path, "currentColor", 1, "", 0.09) if path else None

    def _axes(self) -> Markup:
        x_ticks = self.x.ticks() if self.x_ticks is None else self.x_ticks
        y_ticks = self.y.ticks() if self.y_ticks is None else self.y_ticks
        base = f"M{px(self.x.start)} {px(self.y.start)}H{px(self.x.stop)}"
        base += "".join(f"M{px(self.x.at(value))} {px(self.y.start)}v4" for value, _ in x_ticks)
        middle_x, middle_y = (self.x.start + self.x.stop) / 2, (self.y.start + self.y.stop) / 2
        return tag(
            "g",
            _stroke(base, "currentColor", 1, "", 0.5),
            [
                label(self.x.at(v), self.y.start + 17, words, anchor="middle", size=11.5, soft=True)
                for v, words in x_ticks
            ],
            [
                label(self.x.start - 7, self.y.at(v) + 4, words, anchor="end", size=11.5, soft=True)
                for v, words in y_ticks
            ],
            label(middle_x, self.y.start + 37, self.x_label, anchor="middle", size=12) if self.x_label else None,
            label(15, middle_y, self.y_label, anchor="middle", size=12, turn=True) if self.y_label else None,
        )


def label(
    x: float,
    y: float,
    words: Content,
    *,
    anchor: str = "start",
    colour: str = "currentColor",
    size: float = 12,
    weight: int | None = None,
    soft: bool = False,
    turn: bool = False,
) -> Markup:
    """Return text at a pixel position."""
    return tag(
        "text",
        words,
        x=px(x),
        y=px(y),
        text_anchor=None if anchor == "start" else anchor,
        font_size=f"{size:g}",
        font_weight=weight,
        fill=colour,
        fill_opacity=0.72 if soft else None,
        transform=f"rotate(-90 {px(x)} {px(y)})" if turn else None,
    )


def _polyline(x: FloatArray, y: FloatArray) -> str:
    parts, pen = [], "M"
    for a, b in zip(x, y, strict=True):
        if not (math.isfinite(a) and math.isfinite(b)):
            pen = "M"
            continue
        parts.append(f"{pen}{px(a)} {px(b)}")
        pen = "L"
    return "".join(parts)


def _stroke(path: str, colour: str, width: float, dash: str, opacity: float) -> Markup:
    return tag(
        "path",
        d=path,
        fill="none",
        stroke=colour,
        stroke_width=width,
        stroke_dasharray=dash or None,
        stroke_opacity=_opacity(opacity),
    )


def _opacity(value: float) -> str | None:
    return None if value >= 1 else f"{value:g}"
