"""Part 5: which architectures were tried, and how the networks learned."""

from __future__ import annotations

import numpy as np

from phonograph.report.markup import Content, Markup, figure, fold, join, table, tag
from phonograph.report.material import ReportMaterial
from phonograph.report.outline import Section, legend
from phonograph.report.palette import BLUE, GREY
from phonograph.report.sections.study import study_lead, study_parts
from phonograph.report.svg import Chart, data_range, label, log_range, px
from phonograph.report.words import error_unit, fixed, listed, number, plural, property_name, sentence_case
from phonograph.types import PROPERTY_UNITS, Fitted, Study, StudyRow

TITLE = "Training"


def training(material: ReportMaterial) -> Section:
    """Return the section with the ranking of architectures and the loss curves."""
    if material.study is None and material.hyperparameters is None and not material.fits:
        return Section(key="training", title=TITLE, lead="No network was trained in this run.")
    parts: list[Content] = []
    if material.study is not None and material.study.rows:
        parts += [
            _ranking(material.study, target) for target in dict.fromkeys(row.target for row in material.study.rows)
        ]
    if material.fits:
        parts.append(_losses(material))
    if material.hyperparameters is not None:
        parts += study_parts(material.hyperparameters)
    return Section(key="training", title=TITLE, lead=_lead(material), body=join(parts))


def _lead(material: ReportMaterial) -> str:
    sentences = []
    if material.fits:
        seeds = len({item.seed for item in material.fits})
        targets = listed(property_name(name) for name in dict.fromkeys(item.target for item in material.fits))
        collections = listed(dict.fromkeys(item.trained_on for item in material.fits))
        sentences.append(
            f"{plural(len(material.fits), 'network')} trained: {targets}, on {collections}, {plural(seeds, 'seed')} "
            "each."
        )
    if material.study is not None and material.study.rows:
        first = min(material.study.rows, key=lambda row: row.rank)
        many = len({row.architecture for row in material.study.rows})
        sentences.append(f"Of {plural(many, 'architecture')}, {first.architecture} has the lowest validation error.")
    if material.hyperparameters is not None:
        sentences.append(study_lead(material.hyperparameters))
    return " ".join(sentences)


def _ranking(study: Study, target: str) -> Markup:
    rows = [row for row in study.rows if row.target == target]
    groups: dict[str, list[StudyRow]] = {}
    for row in sorted(rows, key=lambda row: row.rank):
        groups.setdefault(row.architecture, []).append(row)
    factor, unit = error_unit(PROPERTY_UNITS.get(target, ""), [row.validation_mae for row in rows])
    values = [factor * row.validation_mae for row in rows]
    many = len(groups)
    widest = max(len(name) for name in groups)
    chart = Chart(
        x=data_range(values, pad=0.08),
        y=(0.0, float(many)),
        x_label=f"validation MAE of the {property_name(target)} ({unit})",
        y_label="",
        y_ticks=(),
        width=660,
        height=58 + 34 * many,
        margins=(min(40 + 7 * widest, 260), 120, 12, 46),
    )
    for place, (name, members) in enumerate(groups.items()):
        _ranking_row(chart, many - place - 0.5, name, members, factor)
    chart.add(label(chart.x.stop + 14, chart.y.at(many) + 4, "weights", size=11, soft=True))
    head = [
        "rank",
        "architecture",
        "model",
        "seed",
        f"validation MAE ({unit})",
        "validation R²",
        "best epoch",
        "weights",
        "time (s)",
    ]
    numbers = table(head, [_study_row(row, factor) for row in rows], words=3)
    caption = (
        "Architectures ranked by validation error; the test part is not looked at. Small dots are seeds, the bar "
        "is their mean."
    )
    return figure("5.1", caption, chart.render(f"Validation error of {many} architectures"), numbers=numbers)


def _ranking_row(chart: Chart, height: float, name: str, members: list[StudyRow], factor: float) -> None:
    values = np.array([factor * row.validation_mae for row in members])
    chart.rule(y=height, opacity=0.12)
    chart.dots(values, np.full(len(values), height), BLUE, radius=3.4, opacity=0.55)
    middle = chart.x.at(float(values.mean()))
    chart.add(tag("path", d=f"M{px(middle)} {px(chart.y.at(height) - 6)}v12", stroke=BLUE, stroke_width=2.4))
    chart.add(label(middle, chart.y.at(height) - 9, number(float(values.mean())), anchor="middle", size=10.5))
    chart.add(label(chart.x.start - 10, chart.y.at(height) + 4, name, anchor="end"))
    weights = f"{members[0].parameters:,}".replace(",", "\u202f")
    chart.add(label(chart.x.stop + 14, chart.y.at(height) + 4, weights, size=11, soft=True))


def _study_row(row: StudyRow, factor: float) -> list[Content]:
    return [
        str(row.rank),
        row.architecture,
        row.name,
        str(row.seed),
        number(factor * row.validation_mae),
        fixed(row.validation_r2, 3),
        str(row.best_epoch),
        f"{row.parameters:,}".replace(",", "\u202f"),
        number(row.seconds),
    ]


def _losses(material: ReportMaterial) -> Markup:
    main = [item for item in material.fits if item.target == material.main_target] or list(material.fits)
    caption = (
        "Mean squared error of the scaled target by epoch, one pair of lines per seed: training dashed, validation "
        "solid; the dot marks the epoch whose weights are kept."
    )
    open_ = figure("5.2", caption, *_loss_charts(material, main), numbers=_fit_table(material.fits), columns=3)
    others = [name for name in dict.fromkeys(item.target for item in material.fits) if name != main[0].target]
    folded = [
        fold(
            f"Loss curves: {property_name(name)}",
            _grid(_loss_charts(material, [f for f in material.fits if f.target == name])),
        )
        for name in others
    ]
    return join(legend(_colours(material)), open_, folded)


def _colours(material: ReportMaterial) -> dict[str, str]:
    return {name: material.colours[name] for name in dict.fromkeys(item.trained_on for item in material.fits)}


def _grid(charts: list[Markup]) -> Markup:
    return tag("div", charts, class_="grid g3")


def _loss_charts(material: ReportMaterial, fits: list[Fitted]) -> list[Markup]:
    losses = [np.array([[e.train_loss, e.validation_loss] for e in item.history]).reshape(-1, 2) for item in fits]
    span = log_range(*losses)
    longest = max((len(item.history) for item in fits), default=1)
    charts = []
    for name in dict.fromkeys(item.trained_on for item in fits):
        chart = Chart(
            x=(0.0, float(max(longest, 2))),
            y=span,
            log_y=True,
            x_label="epoch",
            y_label="loss (scaled, squared)",
            title=f"{sentence_case(property_name(fits[0].target))}, trained on {name}",
            width=330,
            height=270,
        )
        for item in fits:
            if item.trained_on == name and item.history:
                _loss_lines(chart, item, material.colours[name])
        charts.append(chart.render(f"Loss by epoch, trained on {name}"))
    return charts


def _loss_lines(chart: Chart, item: Fitted, colour: str) -> None:
    epochs = np.array([e.index for e in item.history], dtype=np.float64)
    train = np.array([e.train_loss for e in item.history])
    validation = np.array([e.validation_loss for e in item.history])
    drawable = [np.where(values > 0, values, np.nan) for values in (train, validation)]
    chart.line(epochs, drawable[0], GREY, width=1, dash="3 3", opacity=0.9)
    chart.line(epochs, drawable[1], colour, width=1.5, opacity=0.85)
    best = epochs == item.best_epoch
    chart.dots(epochs[best], drawable[1][best], colour, radius=3.6)


def _fit_table(fits: tuple[Fitted, ...]) -> Markup:
    head = [
        "model",
        "target",
        "trained on",
        "seed",
        "train / validation / test",
        "label range",
        "epochs",
        "best",
        "weights",
    ]
    rows = []
    for item in fits:
        sizes = f"{len(item.split.train)} / {len(item.split.validation)} / {len(item.split.test)}"
        reach = f"{number(item.train_range[0])} to {number(item.train_range[1])} {item.unit}"
        weights = f"{sum(int(np.prod(w.shape)) for w in item.weights.values()):,}".replace(",", "\u202f")
        rows.append(
            [
                item.name,
                property_name(item.target),
                item.trained_on,
                str(item.seed),
                sizes,
                reach,
                str(len(item.history)),
                str(item.best_epoch),
                weights,
            ]
        )
    return table(head, rows, words=3)
