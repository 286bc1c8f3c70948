"""Violins: how a score spreads at each value of a hyperparameter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from phonograph.report.markup import Markup
from phonograph.report.svg import Chart, data_range
from phonograph.types import FloatArray

POINTS = 80
WIDEST = 0.42
FEWEST = 4
"""With fewer values a violin would show its own smoothing; they are drawn as dots."""


def violin_chart(
    groups: Sequence[tuple[str, FloatArray]],
    x_label: str,
    y_label: str,
    colour: str,
    *,
    title: str = "",
    span: tuple[float, float] | None = None,
    log_y: bool = False,
    width: int = 330,
    height: int = 230,
) -> Markup:
    """Return one violin per (name, values): a normal-kernel density, the quartiles and the median.

    Parameters
    ----------
    groups
        Name and values of each violin, from left to right.
    x_label, y_label, colour, title, width, height
        As in :class:`~phonograph.report.svg.Chart`.
    span
        Range of the values; that of all where not given.
    log_y
        Whether values and densities are on a logarithmic axis; then they must be positive.
    """
    values = [np.asarray(found, dtype=np.float64) for _, found in groups]
    values = [found[np.isfinite(found) & ((found > 0) | (not log_y))] for found in values]
    reach = span or _reach(values, log_y)
    chart = Chart(
        x=(-0.6, len(groups) - 0.4),
        y=reach,
        x_label=x_label,
        y_label=y_label,
        title=title,
        log_y=log_y,
        width=width,
        height=height,
        x_ticks=[(float(place), name) for place, (name, _) in enumerate(groups)],
    )
    for place, found in enumerate(values):
        inside = found[(found >= reach[0]) & (found <= reach[1])]
        if len(inside) < FEWEST or np.ptp(inside) == 0:
            chart.dots(np.full(len(inside), float(place)), inside, colour, radius=2.6)
            continue
        _violin(chart, float(place), inside, colour, log_y)
    return chart.render(f"{title or y_label}: violins for {', '.join(name for name, _ in groups)}")


def _reach(values: Sequence[FloatArray], log_y: bool) -> tuple[float, float]:
    if not log_y:
        return data_range(*values)
    joined = np.concatenate([*values, np.ones(0)])
    if not len(joined):
        return 0.1, 1.0
    return float(joined.min()) / 1.2, float(joined.max()) * 1.2


def _violin(chart: Chart, place: float, found: FloatArray, colour: str, log_y: bool) -> None:
    data = np.log(found) if log_y else found
    # Silverman's rule; the violin ends at the extreme values, beyond which there is nothing.
    spread = min(float(data.std()), float(np.subtract(*np.quantile(data, (0.75, 0.25)))) / 1.34) or float(data.std())
    width = 0.9 * spread * len(data) ** -0.2
    at = np.linspace(data.min(), data.max(), POINTS)
    density = np.exp(-0.5 * ((at[:, None] - data) / width) ** 2).sum(axis=1)
    half = WIDEST * density / density.max()
    along = np.exp(at) if log_y else at
    across = np.concatenate([place - half, (place + half)[::-1]])
    outline = np.concatenate([along, along[::-1]])
    chart.band_of(across, outline, colour)
    low, middle, high = np.quantile(found, (0.25, 0.5, 0.75))
    chart.line([place, place], [low, high], colour, width=4)
    chart.dots([place], [middle], "currentColor", radius=2.6)
