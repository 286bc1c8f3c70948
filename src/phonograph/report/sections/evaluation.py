"""Part 6: how far the predictions are from the labels, on own, complementary and combined sets."""

from __future__ import annotations

import numpy as np

from phonograph.report.distributions import outlines_chart
from phonograph.report.markup import Content, Markup, figure, fold, join, table, tag
from phonograph.report.material import ReportMaterial
from phonograph.report.outline import Section, legend
from phonograph.report.palette import BLUE, GREY, ORANGE
from phonograph.report.scores import PARTS, main_scope, trained_collections
from phonograph.report.sections.cross_test import cross_parity, cross_table
from phonograph.report.sections.interval_table import interval_table, skill_bounds
from phonograph.report.sections.judged import Judged, naive_words, parity_chart, score_cells, score_head
from phonograph.report.sections.label_noise import noise_table
from phonograph.report.svg import data_range
from phonograph.report.words import fixed, number, percent, plural, property_name, sentence_case
from phonograph.types import FloatArray

TITLE = "Evaluation"
PART_COLOURS = {"train": GREY, "validation": ORANGE, "test": BLUE}
MOST_METRICS = 1500


def evaluation(material: ReportMaterial) -> Section:
    """Return the section with parity plots, error distributions and the cross-test."""
    targets = [name for name in material.targets if trained_collections(material.evaluation, name)]
    if not targets:
        return Section(key="evaluation", title=TITLE, lead="No model was evaluated in this run.")
    parts: list[Content] = [_target(Judged(material, targets[0]), 0)]
    for place, name in enumerate(targets[1:], start=1):
        title = f"{sentence_case(property_name(name))}: parity, cross-test and errors"
        parts.append(tag("details", tag("summary", title, class_="big"), _target(Judged(material, name), place)))
    parts.append(_all_metrics(material))
    return Section(key="evaluation", title=TITLE, lead=_lead(Judged(material, targets[0])), body=join(parts))


def _lead(judged: Judged) -> str:
    found = judged.score(judged.best, judged.best)
    if found is None:
        return f"Models of the {judged.name} are judged below."
    labels = "" if main_scope(judged.material.evaluation) == "all" else " among labels in the training range"
    sentence = (
        f"Trained and tested on {judged.best}, the networks predict the {judged.name} with a mean absolute error of "
        f"{judged.mae_words(found)} {judged.errors_in[1]}{labels} ({plural(found.seeds, 'seed')}, R² "
        f"{fixed(found.r2, 2)})"
    )
    if not np.isfinite(found.skill):
        return f"{sentence}."
    naive = f"{naive_words(judged, found)} {judged.errors_in[1]}"
    if found.skill <= 0:
        return f"{sentence}. That is no better than predicting the training mean, {naive}."
    certain = skill_bounds(judged)
    if certain is None:
        return f"{sentence}; predicting the training mean gives {naive}, so the skill is {percent(found.skill)}."
    span = f"95 % interval {percent(certain[0])} to {percent(certain[1])}"
    if certain[0] <= 0:
        return f"{sentence}. That cannot be told from predicting the training mean, {naive} (skill {span})."
    return f"{sentence}; predicting the training mean gives {naive}, so the skill is {percent(found.skill)} ({span})."


def _target(judged: Judged, place: int) -> Markup:
    parity, cross, errors = (f"6.{3 * place + step}" for step in (1, 2, 3))
    return join(
        tag("h3", "Parity of the models with the highest validation skill"),
        _parity(judged, parity),
        tag("h3", "Cross-test: trained on one set, tested on another"),
        cross_table(judged),
        interval_table(judged),
        cross_parity(judged, cross),
        _error_figure(judged, errors),
        noise_table(judged),
    )


def _parity(judged: Judged, number_: str) -> Markup:
    own, colour = judged.best, judged.material.colours[judged.best]
    present = {part: pair for part in PARTS if len((pair := judged.pairs(own, own, part))[0])}
    if not present:
        return tag("p", "The predictions behind the metrics were not stored.", class_="quiet")
    span = data_range(*(values for pair in present.values() for values in pair))
    scores = {part: judged.score(own, own, part) for part in present}
    pictures = [
        parity_chart(judged, sentence_case(part), pair, span, scores[part], colour) for part, pair in present.items()
    ]
    numbers = table(["part", *score_head(judged)], [[part, *score_cells(judged, scores[part])] for part in present])
    caption = (
        f"Predicted against labelled {judged.name}, trained on {own}, all seeds together; darker where dots are "
        "dense. Dashed: perfect prediction."
        + (" Shaded: ± two standard deviations of the label noise." if judged.noise > 0 else "")
    )
    return figure(number_, caption, *pictures, numbers=numbers, columns=3)


def _error_figure(judged: Judged, number_: str) -> Markup | None:
    factor, unit = judged.errors_in
    errors: dict[str, dict[str, FloatArray]] = {}
    for trained in judged.trained:
        for part in PARTS:
            truth, predicted = judged.pairs(trained, trained, part)
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
    head = ["trained on", "part", "n (all seeds)", f"mean ({unit})", f"sd ({unit})", f"largest ({unit})"]
    rows = [[name, part, *_spread(values)] for name, parts in errors.items() for part, values in parts.items()]
    caption = "Errors on the own set, all seeds together, each outline normalised to unit area."
    numbers = table(head, rows, words=2)
    return join(legend(PART_COLOURS), figure(number_, caption, *pictures, numbers=numbers, columns=3))


def _spread(values: FloatArray) -> list[str]:
    spread = float(values.std(ddof=1)) if len(values) > 1 else float("nan")
    return [str(len(values)), number(float(values.mean())), number(spread), number(float(np.abs(values).max()))]


def _all_metrics(material: ReportMaterial) -> Markup:
    rows = material.evaluation.metrics if material.evaluation else ()
    head = [
        "target",
        "unit",
        "model",
        "trained on",
        "tested on",
        "part",
        "scope",
        "seed",
        "n",
        "MAE",
        "RMSE",
        "R²",
        "r²",
    ]
    cells = [
        [
            *(row.target, row.unit, row.model, row.trained_on, row.tested_on, row.split, row.scope),
            *(str(row.seed), str(row.n), number(row.mae, 4), number(row.rmse, 4)),
            *(fixed(row.r2, 3), fixed(row.pearson_r2, 3)),
        ]
        for row in rows[:MOST_METRICS]
    ]
    left_out = len(rows) - len(cells)
    note = tag("p", f"{left_out} more rows are in metrics.csv of the run.", class_="quiet") if left_out else None
    return fold(f"All metrics ({len(rows)} rows)", table(head, cells, words=7), note)
