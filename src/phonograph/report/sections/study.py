"""Part 5, continued: the study of hyperparameters (the paper's Figs S5–S8, with what the violins cannot say)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from phonograph.report.markup import Content, Markup, figure, fold, join, paragraph, table, tag
from phonograph.report.palette import BLUE, GREEN, ORANGE, VERMILLION
from phonograph.report.svg import Chart, data_range, label, log_range
from phonograph.report.violins import add_violins
from phonograph.report.words import (
    error_unit,
    fixed,
    listed,
    number,
    percent,
    plural,
    plus_minus,
    property_name,
    sentence_case,
)
from phonograph.types import FloatArray, HyperparameterStudy, StudyCell, StudyFinal, StudyTrial

LOWEST_R2 = -1.0
"""Networks below this are left out of the violins, as in the paper, and counted."""

RANKED = 12
_COLUMNS = ("R²", "MAE", "MSE")
_WORDS = {"architecture": "architecture", "learning_rate": "learning rate", "hidden_channels": "hidden channels"}


def study_lead(study: HyperparameterStudy) -> str:
    """Return the finding in one or two sentences."""
    sentences = []
    for target, unit in study.units.items():
        first = study.winner(target)
        factor, shown = error_unit(unit, [first.mae])
        chosen = listed(f"{axis_name(name)} {value}" for name, value in zip(study.axes, first.values, strict=True))
        sentence = (
            f"Of {plural(sum(cell.target == target for cell in study.cells), 'point')} of a {study.strategy} study the "
            f"{property_name(target)} the lowest validation error is that with {chosen}: MAE "
            f"{number(factor * first.mae)} {shown}"
        )
        shares = [row for row in study.shares if row.target == target and " × " not in row.axis and row.axis != "rest"]
        if shares and shares[0].share > 0:
            sentence += f"; the {axis_name(shares[0].axis)} explains {percent(shares[0].share)} of the variance"
            sentence += _after_first_rung(study, study.first_rung(target))
        sentences.append(sentence + ".")
        sentences += [line.words for line in study.verdicts if line.target == target]
    return " ".join(sentences)


def study_parts(study: HyperparameterStudy) -> list[Content]:
    """Return the figures and tables of a study, the first target open and the others folded."""
    first, *others = study.units
    parts: list[Content] = [
        tag("h3", "Study of hyperparameters"),
        paragraph(_cost(study)),
        *_of(study, first, 3),
    ]
    parts += [
        fold(f"Study: {property_name(target)}", *_of(study, target, 3 + 2 * k))
        for k, target in enumerate(others, start=1)
    ]
    return parts


def axis_name(name: str) -> str:
    """Return an axis in words."""
    return _WORDS.get(name, name.replace("_", " "))


def _cost(study: HyperparameterStudy) -> str:
    words = (
        f"{plural(len(study.trials), 'network')} on {study.collection}, {number(study.core_seconds / 3600.0)} "
        f"core-hours of training. All choices saw training and validation parts only; {_tested(study)}."
    )
    for check in study.checks:
        words += (
            f" Successive halving of the {property_name(check.target)}, checked by full training of "
            f"{plural(check.points, 'point')}: rank correlation of the first rung with the end "
            f"{fixed(check.spearman, 2)}, "
            f"regret {percent(check.regret)}, {check.better} of them better than the winner."
        )
    return words


def _tested(study: HyperparameterStudy) -> str:
    models = {row.model for row in study.finals}
    if not models:
        return "nothing was tested, as there are no final seeds"
    beside = " and the network as configured" if "configured" in models else ""
    return f"of the networks the winner{beside} alone {'were' if beside else 'was'} tested"


def _of(study: HyperparameterStudy, target: str, place: int) -> Iterator[Content]:
    yield _ranking(study, target)
    if study.strategy != "optuna":
        yield _violins(study, target, f"5.{place}")
    if any(row.target == target for row in study.shares):
        yield _effects(study, target, f"5.{place + 1}")
    rows = [row for row in study.finals if row.target == target]
    if rows:
        yield _finals(rows)


def _ranking(study: HyperparameterStudy, target: str) -> Markup:
    cells = sorted((cell for cell in study.cells if cell.target == target), key=lambda cell: cell.rank)
    factor, unit = error_unit(study.units[target], [cell.mae for cell in cells[:RANKED]])
    head = ["rank", *map(axis_name, study.axes), "epochs", "seeds", f"MAE ({unit})", f"RMSE ({unit})", "R²"]
    head += ["Pearson r²", "weights", "core-seconds"]
    rows = [_ranked_row(cell, factor) for cell in cells[:RANKED]]
    more = f"The best {len(rows)} of {len(cells)} points; all are in study/study.csv. " if len(cells) > RANKED else ""
    note = f"{more}Errors on validation parts: mean ± standard deviation over seeds."
    return _noted(table(head, rows, words=1 + len(study.axes)), note)


def _noted(content: Markup, note: str) -> Markup:
    return tag("figure", content, tag("figcaption", note))


def _ranked_row(cell: StudyCell, factor: float) -> list[Content]:
    return [
        str(cell.rank),
        *cell.values,
        str(cell.epochs),
        str(cell.seeds) if not cell.failed else f"{cell.seeds} ({cell.failed} failed)",
        plus_minus(factor * cell.mae, factor * cell.mae_sd),
        plus_minus(factor * cell.rmse, factor * cell.rmse_sd),
        plus_minus(cell.r2, cell.r2_sd),
        plus_minus(cell.pearson_r2, cell.pearson_r2_sd),
        f"{cell.parameters:,}".replace(",", "\u202f"),
        number(cell.core_seconds),
    ]


def _after_first_rung(study: HyperparameterStudy, trials: Sequence[StudyTrial]) -> str:
    """Return how far the networks were trained that a statement about a whole grid rests on."""
    return f" after {trials[0].epochs} epochs, the first rung" if study.strategy == "halving" and trials else ""


def _violins(study: HyperparameterStudy, target: str, place: str) -> Markup:
    trials = [trial for trial in study.first_rung(target) if not trial.failure]
    shown = [trial for trial in trials if trial.r2 >= LOWEST_R2]
    failed = len(study.first_rung(target)) - len(trials)
    factor, unit = error_unit(study.units[target], [trial.mae for trial in shown])
    charts = [
        _violin_chart(study, shown, axis, column, factor, unit)
        for axis in range(len(study.axes))
        for column in _COLUMNS
    ]
    epochs = _after_first_rung(study, trials)
    caption = (
        f"{plural(len(shown), 'network')} of the {property_name(target)}{epochs}, on validation parts, for each level "
        "of each hyperparameter: outline, distribution; bar, quartiles; dot, median. Left out, as in the paper: "
        f"{len(trials) - len(shown)} with R² < −1" + (f", and {failed} that failed." if failed else ".")
    )
    return figure(place, caption, *charts, numbers=_violin_numbers(study, shown, factor, unit), columns=3)


def _column(trials: Sequence[StudyTrial], column: str, factor: float) -> FloatArray:
    if column == "R²":
        return np.array([trial.r2 for trial in trials])
    if column == "MAE":
        return np.array([factor * trial.mae for trial in trials])
    return np.array([(factor * trial.rmse) ** 2 for trial in trials])


def _levels(study: HyperparameterStudy, trials: Sequence[StudyTrial], axis: int) -> list[tuple[str, list[StudyTrial]]]:
    levels = list(study.axes.values())[axis]
    return [(level, [trial for trial in trials if trial.values[axis] == level]) for level in levels]


def _violin_chart(
    study: HyperparameterStudy, trials: Sequence[StudyTrial], axis: int, column: str, factor: float, unit: str
) -> Markup:
    groups = _levels(study, trials, axis)
    everything = _column(trials, column, factor)
    logarithmic = column != "R²"
    units = {"R²": "", "MAE": f" ({unit})", "MSE": f" ({unit}²)"}
    name = axis_name(list(study.axes)[axis])
    chart = Chart(
        x=(0.0, float(len(groups))),
        y=log_range(everything) if logarithmic else data_range(everything, include=(0.0,)),
        log_y=logarithmic,
        x_label=name,
        y_label=f"{column}{units[column]}",
        x_ticks=[(place + 0.5, level) for place, (level, _) in enumerate(groups)],
        width=330,
        height=250,
    )
    colour = {"R²": BLUE, "MAE": GREEN, "MSE": ORANGE}[column]
    add_violins(chart, [_column(members, column, factor) for _, members in groups], colour)
    return chart.render(f"{column} for each {name}")


def _violin_numbers(study: HyperparameterStudy, trials: Sequence[StudyTrial], factor: float, unit: str) -> Markup:
    head = ["hyperparameter", "level", "networks", "median R²", f"median MAE ({unit})", f"median MSE ({unit}²)"]
    rows = []
    for axis, name in enumerate(study.axes):
        for level, members in _levels(study, trials, axis):
            medians = [
                float(np.median(_column(members, column, factor))) if members else math.nan for column in _COLUMNS
            ]
            rows.append([axis_name(name), level, str(len(members)), fixed(medians[0], 3), *map(number, medians[1:])])
    return table(head, rows, words=2)


def _effects(study: HyperparameterStudy, target: str, place: str) -> Markup:
    shares = [row for row in study.shares if row.target == target]
    effects = [row for row in study.effects if row.target == target]
    known = any(math.isfinite(row.low) for row in shares)
    intervals = "bars are 95 % intervals over seeds" if known else "intervals need three seeds"
    caption = (
        "Left: share of the variance of log₁₀ MAE over the grid that each hyperparameter explains alone, that two "
        f"explain beyond both, and the rest; {intervals}. Right: factor on the error of each level, averaged over all "
        "others."
    )
    head = ["term", "share", "95 % interval"]
    rows: list[list[Content]] = [[_term(row.axis), percent(row.share), _span(row.low, row.high)] for row in shares]
    levels = table(
        ["hyperparameter", "level", "factor on MAE", "95 % interval"],
        [[axis_name(row.axis), row.level, number(10**row.effect), _factors(row.low, row.high)] for row in effects],
        words=2,
    )
    pictures = (_share_chart(study, target), _effect_chart(study, target))
    return figure(place, caption, *pictures, numbers=join(table(head, rows), levels), columns=2)


def _term(axis: str) -> str:
    return " × ".join(axis_name(part) for part in axis.split(" × "))


def _span(low: float, high: float) -> str:
    return f"{percent(low)} to {percent(high)}" if math.isfinite(low) else "–"


def _factors(low: float, high: float) -> str:
    return f"{number(10**low)} to {number(10**high)}" if math.isfinite(low) else "–"


def _share_chart(study: HyperparameterStudy, target: str) -> Markup:
    rows = [row for row in study.shares if row.target == target]
    highest = max([row.share for row in rows] + [row.high for row in rows if math.isfinite(row.high)] + [0.01])
    names = [_term(row.axis) for row in rows]
    chart = Chart(
        x=(0.0, min(1.0, 1.1 * highest)),
        y=(0.0, float(len(rows))),
        x_label="share of the variance",
        y_label="",
        y_ticks=(),
        width=500,
        height=70 + 22 * len(rows),
        margins=(min(40 + 6 * max(map(len, names)), 250), 24, 12, 46),
    )
    for at, (row, name) in enumerate(zip(rows, names, strict=True)):
        height = len(rows) - at - 0.5
        chart.rectangle((0.0, row.share), (height - 0.32, height + 0.32), BLUE, opacity=0.6)
        if math.isfinite(row.low):
            chart.spans([row.low], [row.high], [height], "currentColor", width=1.3)
        chart.add(label(chart.x.start - 8, chart.y.at(height) + 4, name, anchor="end", size=11))
    return chart.render("Shares of the variance")


def _effect_chart(study: HyperparameterStudy, target: str) -> Markup:
    rows = [row for row in study.effects if row.target == target]
    factors = [10**value for row in rows for value in (row.effect, row.low, row.high) if math.isfinite(value)]
    names = [f"{axis_name(row.axis)} {row.level}" for row in rows]
    chart = Chart(
        x=log_range(factors),
        y=(0.0, float(len(rows))),
        log_x=True,
        x_label="factor on the MAE",
        y_label="",
        y_ticks=(),
        width=500,
        height=70 + 19 * len(rows),
        margins=(min(40 + 6 * max(map(len, names)), 250), 24, 12, 46),
    )
    chart.rule(x=1.0, dash="3 3")
    for at, (row, name) in enumerate(zip(rows, names, strict=True)):
        height = len(rows) - at - 0.5
        if math.isfinite(row.low):
            chart.spans([10**row.low], [10**row.high], [height], VERMILLION, width=1.6)
        chart.dots([10**row.effect], [height], VERMILLION, radius=3.4)
        chart.add(label(chart.x.start - 8, chart.y.at(height) + 4, name, anchor="end", size=11))
    return chart.render("Factors of the levels")


def _finals(rows: Sequence[StudyFinal]) -> Markup:
    """Return the table of the winner on the test part, beside the untuned and the trivial model."""
    factor, unit = error_unit(rows[0].unit, [row.mae for row in rows])
    head = [
        "on the test part",
        "scope",
        "seeds",
        "samples",
        f"MAE ({unit})",
        f"RMSE ({unit})",
        "R²",
        "Pearson r²",
        "skill",
    ]
    lines: list[list[Content]] = []
    for model, scope in dict.fromkeys((row.model, row.scope) for row in rows):
        own = [row for row in rows if (row.model, row.scope) == (model, scope) and row.n > 0]
        if not own:
            continue
        mae = [row.mae for row in own]
        lines.append(
            [
                sentence_case(model.replace("-", " ")),
                scope.replace("_", " "),
                str(len(own)),
                number(float(np.mean([row.n for row in own]))),
                _spread([factor * value for value in mae]),
                _spread([factor * row.rmse for row in own]),
                _spread([row.r2 for row in own]),
                _spread([row.pearson_r2 for row in own]),
                fixed(float(np.mean([row.skill for row in own])), 3),
            ]
        )
    return _noted(table(head, lines, words=2), _finals_note(rows))


def _finals_note(rows: Sequence[StudyFinal]) -> str:
    seeds = len({row.seed for row in rows})
    models = {row.model for row in rows}
    trained = "The winner and the configured network" if "configured" in models else "The winner"
    beside = ", beside models that know nothing of where atoms went" if models - {"winner", "configured"} else ""
    return (
        f"{trained}, trained again with {plural(seeds, 'seed')} and judged on the outer test part, which no choice has "
        f"seen{beside}{'; mean ± standard deviation over seeds' if seeds > 1 else ''}; skill = 1 − MAE/MAE of the mean "
        "predictor."
    )


def _spread(values: Sequence[float]) -> str:
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
    return plus_minus(float(np.mean(values)), spread)
