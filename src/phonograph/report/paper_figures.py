"""Figures of the remade paper, each from the arrays of its item."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from phonograph.report.distributions import outlines_chart, rows_chart
from phonograph.report.markup import Markup, figure, join
from phonograph.report.outline import legend
from phonograph.report.palette import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILLION
from phonograph.report.sections.judged import density_dots
from phonograph.report.svg import Chart, data_range, log_range
from phonograph.report.violins import add_violins
from phonograph.report.words import PROPERTY_NAMES, pair_words, sentence_case
from phonograph.types import PROPERTY_UNITS, FloatArray
from phonograph.types.paper import PaperItem

COLOURS: Mapping[str, str] = {"phonon": BLUE, "random": VERMILLION, "combined": PURPLE, "md": GREEN}
PART_COLOURS: Mapping[str, str] = {"train": GREY, "validation": ORANGE, "test": BLUE}
STUDY_TARGETS: Mapping[str, str] = {
    "s5": "energy_eV_per_atom",
    "s6": "band_gap_eV",
    "s7": "vbm_eV",
    "s8": "hydrostatic_stress_GPa",
}
CUTOFF_A = 5.5


def paper_figure(item: PaperItem, number: str) -> Markup | None:
    """Return the figure of an item, or None for a table."""
    draw = FIGURES.get(item.key)
    return draw(item, number) if draw is not None and item.arrays else None


def _names(item: PaperItem, suffix: str) -> list[str]:
    """Return what precedes ``.suffix`` in the names of arrays, by first appearance."""
    return [name.removesuffix(f".{suffix}") for name in item.arrays if name.endswith(f".{suffix}")]


def _pair_lines(item: PaperItem, number: str) -> Markup:
    pictures = []
    for pair in _names(item, "count"):
        distance, count = item.arrays[f"{pair}.distance_A"], item.arrays[f"{pair}.count"]
        chart = Chart(
            x=(0.0, 6.2),
            y=(0.0, 1.12 * float(count.max())),
            x_label="distance (Å)",
            y_label="pairs per cell",
            title=pair_words(pair),
            width=330,
            height=200,
        )
        for d, n in zip(distance, count, strict=True):
            chart.line([d, d], [0.0, n], BLUE, width=2.5)
        chart.rule(x=CUTOFF_A, dash="4 4", opacity=0.8)
        pictures.append(chart.render(f"Distances of {pair} pairs"))
    caption = "Pair distances of the undisplaced crystal, every bond once per direction. Dashed: cutoff 5.5 Å."
    return figure(number, caption, *pictures, columns=3)


def _gap_and_amplitude(item: PaperItem, number: str) -> Markup:
    amplitude, gap = item.arrays["amplitude_A"], item.arrays["gap_eV"]
    steps = np.unique(amplitude)
    between = float(np.diff(steps).min()) if len(steps) > 1 else 0.1
    # Spread over a third of a step by rank, so that every cell is seen; the amplitudes themselves are discrete.
    order = np.argsort(np.argsort(gap, kind="stable"), kind="stable") * 0.6180339887 % 1.0
    chart = Chart(
        x=data_range(amplitude, pad=0.09),
        y=data_range(gap, include=[0.0]),
        x_label="amplitude a (Å)",
        y_label="band gap (eV)",
        width=620,
        height=340,
    )
    density_dots(chart, amplitude + between * 0.35 * (order - 0.5), gap, VERMILLION, near_px=6.0)
    chosen = [gap[amplitude == a] for a in steps]
    means = [float(found.mean()) for found in chosen]
    chart.line(steps, means, "currentColor", width=1.4)
    chart.error_bars(steps, means, [float(found.std()) for found in chosen], "currentColor")
    caption = "Gap of every random cell, beside its amplitude; line: mean ± standard deviation at each amplitude."
    return figure(number, caption, chart.render("Band gap against amplitude"))


def _label_distributions(item: PaperItem, number: str) -> Markup:
    pictures = []
    for target in _names(item, "phonon"):
        phonon, random = item.arrays[f"{target}.phonon"], item.arrays[f"{target}.random"]
        values = {"combined": np.concatenate([phonon, random]), "phonon": phonon, "random": random}
        unit, title = PROPERTY_UNITS.get(target, ""), sentence_case(PROPERTY_NAMES.get(target, target))
        low, high = np.quantile(values["combined"], (0.02, 0.98))
        margin = 0.03 * (high - low)
        pictures.append(
            outlines_chart(
                {name: found[(found >= low) & (found <= high)] for name, found in values.items()},
                COLOURS,
                f"{title} ({unit})",
                title=title,
                unit=unit,
                span=(float(low - margin), float(high + margin)),
                width=430,
                fill=("phonon", "random"),
            )
        )
    colours = {name: COLOURS[name] for name in ("phonon", "random", "combined")}
    caption = "Labels of each set, each outline of unit area; the outermost 4 % of all values are cut off."
    return join(legend(colours), figure(number, caption, *pictures, columns=2))


def _pair_distributions(item: PaperItem, number: str) -> Markup:
    edges = item.arrays["edges_A"]
    across = np.repeat(edges, 2)
    pictures = []
    for pair in _names(item, "phonon"):
        found = {name: item.arrays[f"{pair}.{name}"] for name in ("phonon", "random")}
        heights = {name: count / (count.sum() * np.diff(edges)) for name, count in found.items()}
        chart = Chart(
            x=(1.0, float(edges[-1])),
            y=(0.0, 1.06 * max(float(height.max()) for height in heights.values())),
            x_label="distance (Å)",
            y_label="density (1/Å)",
            title=pair_words(pair),
            width=330,
            height=220,
        )
        for name, height in heights.items():
            along = np.concatenate([[0.0], np.repeat(height, 2), [0.0]])
            shown = across >= 1.0
            chart.band(across[shown], np.zeros(int(shown.sum())), along[shown], COLOURS[name], opacity=0.15)
            chart.line(across[shown], along[shown], COLOURS[name], width=1.4)
        chart.rule(x=CUTOFF_A, dash="4 4", opacity=0.7)
        pictures.append(chart.render(f"Distances of {pair} pairs in phonon and random cells"))
    colours = {name: COLOURS[name] for name in ("phonon", "random")}
    caption = "Distances below 6 Å, each outline of unit area. Dashed: cutoff 5.5 Å."
    return join(legend(colours), figure(number, caption, *pictures, columns=3))


def _space(item: PaperItem, number: str) -> Markup:
    both = {
        role: [item.arrays[f"{role}.{name}"] for name in ("first_A", "second_A", "energy_eV_per_atom")]
        for role in ("random", "phonon")
    }
    limit = 1000 * float(item.arrays["limit_eV_per_atom"][0])
    plane = Chart(
        x=data_range(*(found[0] for found in both.values())),
        y=data_range(*(found[1] for found in both.values())),
        x_label="first component (Å)",
        y_label="second component (Å)",
        title="Projection of the displacements",
        width=430,
        height=380,
    )
    energies = [1000 * np.maximum(found[2], 1e-4) for found in both.values()]
    lift = Chart(
        x=data_range(*(found[0] for found in both.values())),
        y=(0.7 * min(float(found.min()) for found in energies), 1.4 * max(float(found.max()) for found in energies)),
        x_label="first component (Å)",
        y_label="energy above equilibrium (meV/atom)",
        title="How far above equilibrium",
        log_y=True,
        width=430,
        height=380,
    )
    lift.rectangle((lift.x.low, lift.x.high), (lift.y.low, limit), GREY, opacity=0.13)
    for (role, found), energy in zip(both.items(), energies, strict=True):
        density_dots(plane, found[0], found[1], COLOURS[role], near_px=6.0)
        density_dots(lift, found[0], energy, COLOURS[role], near_px=6.0)
    pictures = [plane.render("Configurations in two components"), lift.render("Energy above equilibrium")]
    colours = {name: COLOURS[name] for name in ("phonon", "random")}
    caption = (
        "Every dot is one cell. Shaded: the thermally accessible energies, up to the 99th percentile of phonon cells. "
        "In the projection the sets overlap; what tells them apart is the energy. Below 0.1 meV it is drawn at 0.1."
    )
    return join(legend(colours), figure(number, caption, *pictures, columns=2))


def _parity(item: PaperItem, number: str) -> Markup:
    pictures = []
    for target in dict.fromkeys(name.split(".")[0] for name in item.arrays):
        parts = {
            part: [item.arrays[f"{target}.{part}.{what}"] for what in ("truth", "prediction")] for part in PART_COLOURS
        }
        unit, title = PROPERTY_UNITS.get(target, ""), sentence_case(PROPERTY_NAMES.get(target, target))
        span = data_range(*(values for pair in parts.values() for values in pair))
        for part, (truth, prediction) in parts.items():
            chart = Chart(
                x=span,
                y=span,
                x_label=f"labelled ({unit})",
                y_label=f"predicted ({unit})",
                title=f"{title}, {part}" if part == "train" else sentence_case(part),
                width=250,
                height=250,
            )
            chart.line(span, span, "currentColor", width=1, dash="5 4", opacity=0.6)
            density_dots(chart, truth, prediction, PART_COLOURS[part], near_px=6.0)
            pictures.append(chart.render(f"{title}: predicted against labelled, {part}"))
        errors = {part: prediction - truth for part, (truth, prediction) in parts.items()}
        reach = float(np.quantile(np.abs(np.concatenate(list(errors.values()))), 0.995)) or 1.0
        clipped = {part: found[np.abs(found) <= reach] for part, found in errors.items()}
        pictures.append(
            outlines_chart(
                clipped,
                PART_COLOURS,
                f"error ({unit})",
                title="Errors",
                unit=unit,
                span=(-reach, reach),
                width=250,
                height=250,
                fill=("train",),
            )
        )
    caption = "First seed: predicted against labelled values on each part, darker where dots are dense, and the errors."
    return join(legend(PART_COLOURS), figure(number, caption, *pictures, columns=4))


def _cutoffs(item: PaperItem, number: str) -> Markup:
    cutoff, mae, low, high = item.arrays["mae_eV"].T
    chart = Chart(
        x=data_range(cutoff),
        y=data_range(1000 * mae, *(1000 * bound[np.isfinite(bound)] for bound in (low, high)), include=[0.0]),
        x_label="cutoff (Å)",
        y_label="validation MAE (meV)",
        width=560,
        height=300,
    )
    chart.line(cutoff, 1000 * mae, BLUE)
    chart.dots(cutoff, 1000 * mae, BLUE, radius=3.5)
    chart.error_bars(cutoff, 1000 * mae, 500 * (high - low), BLUE)
    chart.rule(x=CUTOFF_A, dash="4 4", opacity=0.8)
    caption = "Band gap: mean over seeds with its 95 % interval. Dashed: the paper's cutoff."
    return figure(number, caption, chart.render("Validation error against cutoff"))


def _curves(item: PaperItem, number: str) -> Markup:
    tests = {"phonon": "phonon cells", "random": "random cells", "combined": "both together"}
    pictures = []
    for metric, label, factor in (("mae", "MAE (meV)", 1000.0), ("r2", "R²", 1.0)):
        there = [name for name in item.arrays if name.endswith(f".{metric}")]
        sizes = [item.arrays[name][:, 0] for name in there]
        for test, words in tests.items():
            shown = {name.split(".")[0]: item.arrays[name] for name in there if name.split(".")[1] == test}
            if not shown:
                continue
            values = [factor * found[:, 1:] for found in shown.values()]
            low, high = data_range(*values)
            chart = Chart(
                x=(0.85 * min(float(s.min()) for s in sizes), 1.15 * max(float(s.max()) for s in sizes)),
                y=(max(low, -1.0), min(high, 1.02)) if metric == "r2" else (0.0, high),
                x_label="labels",
                y_label=label,
                title=f"Tested on {words}",
                log_x=True,
                width=330,
                height=250,
            )
            for trained, found in shown.items():
                _curve(chart, found * np.array([1.0, factor, factor, factor]), COLOURS[trained])
            pictures.append(chart.render(f"{label} tested on {words} against the number of labels"))
    colours = {name: COLOURS[name] for name in ("phonon", "random", "combined")}
    caption = "Band gap: mean over seeds (line) with its 95 % interval (band), by what the networks were trained on."
    return join(legend(colours, "Trained on"), figure(number, caption, *pictures, columns=3))


def _curve(chart: Chart, found: FloatArray, colour: str) -> None:
    size, value, low, high = found.T
    known = np.isfinite(low)
    below, above = (np.clip(bound[known], chart.y.low, chart.y.high) for bound in (low, high))
    if known.sum() > 1:
        chart.band(size[known], below, above, colour)
    shown = np.where((value >= chart.y.low) & (value <= chart.y.high), value, np.nan)
    chart.line(size, shown, colour, width=1.8)
    chart.dots(size, shown, colour, radius=2.6)


def _importances(item: PaperItem, number: str) -> Markup:
    pictures = []
    pairs = list(dict.fromkeys(name.split(".")[1] for name in item.arrays))
    shades = (VERMILLION, BLUE, GREEN, ORANGE, PURPLE, GREY)
    colours = {pair_words(pair): shades[place % len(shades)] for place, pair in enumerate(pairs)}
    for model in ("good", "poor"):
        values = {
            pair_words(pair): item.arrays[f"{model}.{pair}"] for pair in pairs if f"{model}.{pair}" in item.arrays
        }
        title = f"{sentence_case(model)} model"
        pictures.append(rows_chart(values, colours, "importance", title=title, span=(0.0, 1.0), bins=25, row=46))
    caption = "Importance of every edge of the reference crystal by species pair; triangles mark the means."
    return figure(number, caption, *pictures, columns=2)


def _study(item: PaperItem, number: str) -> Markup:
    axes = [name.removeprefix("level.") for name in item.arrays if name.startswith("level.")]
    # The names of the levels stand in the table of the item.
    levels = {axis: [str(row[1]) for row in item.tables[0].rows if row[0] == axis] for axis in axes}
    unit = PROPERTY_UNITS[STUDY_TARGETS[item.key]]
    pictures = []
    for axis in axes:
        place = item.arrays[f"level.{axis}"]
        present = sorted(set(place.tolist()))
        for metric, label in (("r2", "R²"), ("mae", f"MAE ({unit})"), ("mse", f"MSE (({unit})²)")):
            groups = [item.arrays[metric][place == level] for level in present]
            names = _shown([levels[axis][int(step)] for step in present], axis)
            pictures.append(_violins(groups, names, axis.replace("_", " "), label, metric))
    caption = (
        "Scores on the validation part by hyperparameter; bars: quartiles, dots: medians of what is drawn. Models with "
        "R² < −1 and those that failed are not drawn; in the verdicts and tables they count as R² = −1."
    )
    return figure(number, caption, *pictures, columns=3)


def _violins(groups: Sequence[FloatArray], names: Sequence[str], axis: str, label: str, metric: str) -> Markup:
    logarithmic = metric != "r2"
    chart = Chart(
        x=(0.0, float(len(groups))),
        y=log_range(*groups) if logarithmic else data_range(*groups),
        x_label=axis,
        y_label=label,
        log_y=logarithmic,
        width=330,
        height=220,
        x_ticks=[(place + 0.5, name) for place, name in enumerate(names)],
    )
    add_violins(chart, groups, {"r2": BLUE, "mae": VERMILLION, "mse": ORANGE}[metric])
    return chart.render(f"{label} by {axis}")


def _shown(levels: Sequence[str], axis: str) -> list[str]:
    return [level.replace("1e-0", "1e-") if axis == "learning_rate" else level for level in levels]


FIGURES: Mapping[str, Callable[[PaperItem, str], Markup]] = {
    "s2": _cutoffs,
    "s3": _pair_lines,
    "s9": _gap_and_amplitude,
    "s10": _label_distributions,
    "s11": _pair_distributions,
    "fig2": _parity,
    "fig3": _space,
    "fig4": _curves,
    "fig5": _importances,
    "s5": _study,
    "s6": _study,
    "s7": _study,
    "s8": _study,
}
"""Item → its figure."""
