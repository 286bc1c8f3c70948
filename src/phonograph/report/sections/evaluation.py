"""Part 6: how far the predictions are from the labels, on own, complementary and combined sets."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.spatial import cKDTree

from phonograph.report.distributions import outlines_chart
from phonograph.report.markup import Content, Markup, figure, fold, join, table, tag
from phonograph.report.material import ReportMaterial
from phonograph.report.outline import Section
from phonograph.report.palette import BLUE, GREY, ORANGE
from phonograph.report.scores import (
    PARTS,
    Score,
    baseline_mae,
    best_collection,
    pooled,
    select,
    summarise,
    tested_collections,
    trained_collections,
)
from phonograph.report.svg import Chart, data_range
from phonograph.report.words import error_unit, fixed, number, percent, plural, property_name, sentence_case
from phonograph.types import PROPERTY_UNITS, FloatArray

TITLE = "Evaluation"
PART_COLOURS = {"train": GREY, "validation": ORANGE, "test": BLUE}


def evaluation(material: ReportMaterial) -> Section:
    """Return the section with parity plots, error distributions and the cross-test."""
    if material.evaluation is None or not material.evaluation.metrics:
        return Section(key="evaluation", title=TITLE, lead="No model was evaluated in this run.")
    targets = [name for name in material.targets if trained_collections(material.evaluation, name)]
    parts: list[Content] = [_target(material, targets[0], 0)]
    for place, name in enumerate(targets[1:], start=1):
        title = f"{sentence_case(property_name(name))}: parity, cross-test and errors"
        parts.append(tag("details", tag("summary", title, class_="big"), _target(material, name, place)))
    parts.append(fold("All metrics", _all_metrics(material)))
    return Section(key="evaluation", title=TITLE, lead=_lead(material, targets[0]), body=join(parts))


def split_of(material: ReportMaterial, target: str) -> str:
    """Return the part that the cross-test is read on: the test part where there is one."""
    assert material.evaluation is not None
    found = {row.split for row in material.evaluation.metrics if row.target == target}
    return "test" if "test" in found else sorted(found)[0]


def unit_of(material: ReportMaterial, target: str) -> str:
    """Return the unit of a target as the metrics give it."""
    rows = material.evaluation.metrics if material.evaluation else ()
    return next((row.unit for row in rows if row.target == target), PROPERTY_UNITS.get(target, ""))


def _lead(material: ReportMaterial, target: str) -> str:
    best, split = best_collection(material.evaluation, target), split_of(material, target)
    score = summarise(select(material.evaluation, target=target, trained_on=best, tested_on=best, split=split))
    if score is None:
        return f"Models of the {property_name(target)} are judged below."
    factor, unit = error_unit(unit_of(material, target), [score.mae])
    naive = baseline_mae(material.evaluation, target, best, best, split)
    sentence = (
        f"Trained and tested on {best}, the networks predict the {property_name(target)} with a mean absolute error of "
        f"{_with_sd(factor * score.mae, factor * score.mae_sd)} {unit} "
        f"({plural(score.seeds, 'seed')}, R² {fixed(score.r2, 2)})"
    )
    if not np.isfinite(naive):
        return f"{sentence}."
    skill = percent(1 - score.mae / naive)
    return f"{sentence}; predicting the training mean gives {number(factor * naive)} {unit}, a skill of {skill}."


def _with_sd(value: float, spread: float) -> str:
    return f"{number(value)} ± {number(spread, 2)}" if np.isfinite(spread) else number(value)


def _target(material: ReportMaterial, target: str, place: int) -> Markup:
    parity, cross, errors = (f"6.{3 * place + step}" for step in (1, 2, 3))
    best = best_collection(material.evaluation, target)
    return join(
        tag("h3", "Parity of the model with the lowest validation error"),
        _parity(material, target, best, parity),
        tag("h3", "Cross-test: trained on one set, tested on another"),
        _cross_table(material, target),
        _cross_parity(material, target, cross),
        _error_figure(material, target, errors),
    )


def _parity(material: ReportMaterial, target: str, trained_on: str, number_: str) -> Markup:
    panels = {part: pooled(material.evaluation, target, trained_on, trained_on, part) for part in PARTS}
    present = {part: pair for part, pair in panels.items() if len(pair[0])}
    if not present:
        return tag("p", "The predictions behind the metrics were not stored.", class_="quiet")
    span = data_range(*(values for pair in present.values() for values in pair))
    pictures = []
    for part, (truth, predicted) in present.items():
        score = summarise(
            select(material.evaluation, target=target, trained_on=trained_on, tested_on=trained_on, split=part)
        )
        title = f"{sentence_case(part)}"
        pictures.append(
            _parity_chart(material, target, title, truth, predicted, span, score, material.colours[trained_on])
        )
    rows = [
        [
            part,
            *_score_cells(
                material,
                target,
                summarise(
                    select(material.evaluation, target=target, trained_on=trained_on, tested_on=trained_on, split=part)
                ),
            ),
        ]
        for part in present
    ]
    caption = (
        f"Predicted against labelled {property_name(target)}, trained on {trained_on}, all seeds together; darker "
        "where "
        "dots are dense. Dashed: perfect prediction."
    )
    numbers = table(["part", *_score_head(material, target)], rows)
    return figure(number_, caption, *pictures, numbers=numbers, columns=3)


def _parity_chart(
    material: ReportMaterial,
    target: str,
    title: str,
    truth: FloatArray,
    predicted: FloatArray,
    span: tuple[float, float],
    score: Score | None,
    colour: str,
    reach: tuple[float, float] | None = None,
) -> Markup:
    unit = unit_of(material, target)
    chart = Chart(
        x=span,
        y=span,
        x_label=f"labelled ({unit})",
        y_label=f"predicted ({unit})",
        title=title,
        width=330,
        height=338,
        margins=(58, 10, 30, 46),
    )
    if reach is not None:
        chart.rectangle((max(span[0], reach[0]), min(span[1], reach[1])), span, GREY, opacity=0.09)
    chart.line(span, span, "currentColor", width=1, dash="5 4", opacity=0.6)
    density_dots(chart, truth, predicted, colour)
    if score is not None:
        factor, small = error_unit(unit, [score.mae])
        lines = [
            f"MAE {_with_sd(factor * score.mae, factor * score.mae_sd)} {small}",
            f"R² {fixed(score.r2, 2)}   r² {fixed(score.pearson_r2, 2)}",
        ]
        lines.append(f"n = {score.count}, {plural(score.seeds, 'seed')}")
        for place, words in enumerate(lines):
            chart.note(
                span[0], span[1], words, size=11.5, weight=600 if place == 0 else None, shift=(9, 17 + 15 * place)
            )
    return chart.render(f"{title}: predicted against labelled {property_name(target)}")


def density_dots(chart: Chart, x: FloatArray, y: FloatArray, colour: str, *, near_px: float = 9.0) -> None:
    """Add dots, more opaque where more neighbours lie within ``near_px`` pixels; dense ones are drawn last."""
    if len(x) == 0:
        return
    places = np.column_stack([chart.x(x), chart.y(y)])
    tree = cKDTree(places)
    neighbours = np.asarray(tree.query_ball_point(places, near_px, return_length=True), dtype=np.float64)
    level = np.minimum((4 * np.log1p(neighbours - 1) / np.log1p(max(float(neighbours.max()) - 1, 1.0))).astype(int), 3)
    for step, opacity in enumerate((0.30, 0.48, 0.70, 0.95)):
        chart.dots(x[level == step], y[level == step], colour, radius=2.4, opacity=opacity)


def _score_head(material: ReportMaterial, target: str) -> list[str]:
    _, unit = _error_scale(material, target)
    return [f"MAE ({unit})", f"RMSE ({unit})", "R²", "Pearson r²", "n per seed", "seeds"]


def _error_scale(material: ReportMaterial, target: str) -> tuple[float, str]:
    rows = material.evaluation.metrics if material.evaluation else ()
    return error_unit(
        unit_of(material, target), [row.mae for row in rows if row.target == target and row.scope == "all"]
    )


def _score_cells(material: ReportMaterial, target: str, score: Score | None) -> list[str]:
    if score is None:
        return ["–"] * 6
    factor, _ = _error_scale(material, target)
    return [
        _with_sd(factor * score.mae, factor * score.mae_sd),
        _with_sd(factor * score.rmse, factor * score.rmse_sd),
        _with_sd(score.r2, score.r2_sd),
        _with_sd(score.pearson_r2, score.pearson_r2_sd),
        score.count,
        str(score.seeds),
    ]


def _cross_scores(material: ReportMaterial, target: str) -> Mapping[tuple[str, str], Score]:
    found = {}
    for trained in trained_collections(material.evaluation, target):
        for tested in tested_collections(material.evaluation, target):
            rows = select(
                material.evaluation,
                target=target,
                trained_on=trained,
                tested_on=tested,
                split=split_of(material, target),
            )
            score = summarise(rows)
            if score is not None:
                found[trained, tested] = score
    return found


def _cross_table(material: ReportMaterial, target: str) -> Markup:
    scores = _cross_scores(material, target)
    split = split_of(material, target)
    factor, unit = error_unit(unit_of(material, target), [score.mae for score in scores.values()])
    tested = [name for name in tested_collections(material.evaluation, target) if any(key[1] == name for key in scores)]
    finite = [score.mae for score in scores.values() if np.isfinite(score.mae)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    rows: list[list[Content]] = []
    for trained in trained_collections(material.evaluation, target):
        cells = [
            _heat_cell(material, target, trained, name, scores.get((trained, name)), (low, high), factor)
            for name in tested
        ]
        rows.append([f"trained on {trained}", *cells])
    naive = [baseline_mae(material.evaluation, target, name, name, split) for name in tested]
    rows.append(
        ["training mean (baseline)", *(tag("td", tag("b", number(factor * value)), class_="cell") for value in naive)]
    )
    note = (
        f"Mean absolute error in {unit} on the {split} part, mean ± standard deviation over seeds; a deeper "
        "colour is a "
        "larger error. R² is the coefficient of determination, r² the squared Pearson correlation. In range: labels "
        "inside the range of the training labels. The baseline predicts the mean training label of the tested set."
    )
    return join(
        table(["", *(f"tested on {name}" for name in tested)], rows, class_="heat"), tag("p", note, class_="quiet")
    )


def _heat_cell(
    material: ReportMaterial,
    target: str,
    trained: str,
    tested: str,
    score: Score | None,
    span: tuple[float, float],
    factor: float,
) -> Markup:
    if score is None:
        return tag("td", "–", class_="cell")
    depth = (score.mae - span[0]) / (span[1] - span[0]) if span[1] > span[0] and np.isfinite(score.mae) else 0.0
    lines = [tag("b", _with_sd(factor * score.mae, factor * score.mae_sd))]
    lines.append(tag("span", f"R² {fixed(score.r2, 2)}, r² {fixed(score.pearson_r2, 2)}, n {score.count}"))
    lines += _scope_lines(material, target, trained, tested, factor)
    return tag("td", lines, class_=f"cell h{min(int(10 * depth), 9)}")


def _scope_lines(material: ReportMaterial, target: str, trained: str, tested: str, factor: float) -> list[Markup]:
    lines = []
    for scope, words in (("in_range", "in range"), ("out_of_range", "out of range")):
        rows = select(
            material.evaluation,
            target=target,
            trained_on=trained,
            tested_on=tested,
            split=split_of(material, target),
            scope=scope,
        )
        score = summarise(rows)
        if score is not None:
            lines.append(tag("span", f"{words}: {number(factor * score.mae)}, n {score.count}"))
    return lines


def _cross_parity(material: ReportMaterial, target: str, number_: str) -> Markup | None:
    split = split_of(material, target)
    trained, tested = trained_collections(material.evaluation, target), tested_collections(material.evaluation, target)
    panels = {(a, b): pooled(material.evaluation, target, a, b, split) for a in trained for b in tested}
    present = {key: pair for key, pair in panels.items() if len(pair[0])}
    if len(present) < 2:
        return None
    span = data_range(*(values for pair in present.values() for values in pair))
    ranges = {item.trained_on: item.train_range for item in material.fits if item.target == target}
    scores = _cross_scores(material, target)
    pictures = [
        _parity_chart(
            material, target, f"{a} → {b}", *pair, span, scores.get((a, b)), material.colours[a], ranges.get(a)
        )
        for (a, b), pair in present.items()
    ]
    caption = (
        f"Parity of every training set (colour) on every tested set, {split} part, all seeds together. The shaded "
        "strip is "
        "the range of the training labels of the last seed: outside it the model extrapolates."
    )
    return figure(number_, caption, *pictures, columns=3)


def _error_figure(material: ReportMaterial, target: str, number_: str) -> Markup | None:
    factor, unit = _error_scale(material, target)
    errors: dict[str, dict[str, FloatArray]] = {}
    for trained in trained_collections(material.evaluation, target):
        for part in PARTS:
            truth, predicted = pooled(material.evaluation, target, trained, trained, part)
            if len(truth):
                errors.setdefault(trained, {})[part] = factor * (predicted - truth)
    if not errors:
        return None
    widest = max(float(np.abs(values).max()) for parts in errors.values() for values in parts.values()) or 1.0
    pictures = [
        outlines_chart(
            parts,
            PART_COLOURS,
            f"predicted − labelled ({unit})",
            title=f"Trained on {name}",
            span=(-widest, widest),
            unit=unit,
            fill=("train",),
        )
        for name, parts in errors.items()
    ]
    rows = [
        [
            name,
            part,
            str(len(values)),
            number(float(values.mean())),
            number(float(values.std(ddof=1)) if len(values) > 1 else float("nan")),
            number(float(np.abs(values).max())),
        ]
        for name, parts in errors.items()
        for part, values in parts.items()
    ]
    numbers = table(
        ["trained on", "part", "n (all seeds)", f"mean ({unit})", f"sd ({unit})", f"largest ({unit})"], rows, words=2
    )
    caption = (
        "Errors on the own set: training (grey), validation (orange) and test (blue), each normalised to unit area."
    )
    return figure(number_, caption, *pictures, numbers=numbers, columns=3)


def _all_metrics(material: ReportMaterial) -> Markup:
    assert material.evaluation is not None
    head = [
        "target",
        "unit",
        "model",
        "trained on",
        "tested on",
        "part",
        "seed",
        "scope",
        "n",
        "MAE",
        "RMSE",
        "R²",
        "Pearson r²",
    ]
    rows = [
        [
            row.target,
            row.unit,
            row.model,
            row.trained_on,
            row.tested_on,
            row.split,
            str(row.seed),
            row.scope,
            str(row.n),
            number(row.mae, 4),
            number(row.rmse, 4),
            fixed(row.r2, 3),
            fixed(row.pearson_r2, 3),
        ]
        for row in material.evaluation.metrics
    ]
    return table(head, rows, words=6)
