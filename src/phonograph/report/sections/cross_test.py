"""The cross-test: every training set against every tested set."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from phonograph.report.markup import Content, Markup, figure, fold, join, table, tag
from phonograph.report.scores import Score
from phonograph.report.sections.judged import Judged, naive_words, parity_chart, score_cells, score_head, skill_words
from phonograph.report.svg import data_range
from phonograph.report.words import fixed, number
from phonograph.types import FloatArray


def cross_table(judged: Judged) -> Markup:
    """Return the heat table: error, R², r², skill and counts of every training set on every tested set."""
    tested = [name for name in judged.tested if any(key[1] == name for key in judged.cross)]
    known = [item.mae for item in judged.cross.values() if np.isfinite(item.mae)]
    span = (min(known), max(known)) if known else (0.0, 1.0)
    rows: list[list[Content]] = [
        [f"trained on {name}", *(_cell(judged, name, other, span) for other in tested)] for name in judged.trained
    ]
    naive = [naive_words(judged, judged.cross.get((name, name))) for name in tested]
    rows.append(["own training mean", *(tag("td", tag("b", words), class_="cell") for words in naive)])
    note = (
        f"Mean absolute error in {judged.errors_in[1]} on the {judged.part} part, mean ± standard deviation over "
        "seeds; a deeper colour is a larger error. R² is the coefficient of determination, r² the squared Pearson "
        "correlation, skill = 1 − MAE/MAE of predicting the mean training label of the same models; in range means "
        "inside the range of the training labels. Last row: the error of the mean training label of the tested set."
    )
    heads = ["", *(f"tested on {name}" for name in tested)]
    return join(table(heads, rows, class_="heat"), tag("p", note, class_="quiet"))


def _cell(judged: Judged, trained: str, tested: str, span: tuple[float, float]) -> Markup:
    found = judged.cross.get((trained, tested))
    if found is None:
        return tag("td", "–", class_="cell")
    depth = (found.mae - span[0]) / (span[1] - span[0]) if span[1] > span[0] and np.isfinite(found.mae) else 0.0
    lines = [
        tag("b", judged.mae_words(found)),
        tag("span", f"R² {fixed(found.r2, 2)}, r² {fixed(found.pearson_r2, 2)}"),
        tag("span", f"skill {skill_words(found)}, n {found.count}"),
        *_scopes(judged, trained, tested),
    ]
    return tag("td", lines, class_=f"cell h{min(int(10 * depth), 9)}")


def _scopes(judged: Judged, trained: str, tested: str) -> list[Markup]:
    lines = []
    for scope, words in (("in_range", "in range"), ("out_of_range", "out of range")):
        found = judged.score(trained, tested, scope=scope)
        if found is not None:
            lines.append(tag("span", _scope_words(judged, words, found)))
    return lines


def _scope_words(judged: Judged, words: str, found: Score) -> str:
    return f"{words}: {number(judged.errors_in[0] * found.mae)}, n {found.count}" if found.n[1] else f"{words}: none"


def cross_parity(judged: Judged, number_: str) -> Markup | None:
    """Return the parity charts of training set against tested set; nothing for a single pair.

    Sets that nothing was trained on are folded below, so that rows and columns of the open charts are the same.
    """
    names = [(a, b) for a in judged.trained for b in judged.tested]
    present = {key: pair for key in names if len((pair := judged.pairs(*key))[0])}
    if len(present) < 2:
        return None
    span = data_range(*(values for pair in present.values() for values in pair))
    own = {key: pair for key, pair in present.items() if key[1] in judged.trained}
    others = {key: pair for key, pair in present.items() if key not in own}
    caption = (
        f"Parity of every training set (colour) on every tested set, {judged.part} part, all seeds together. The "
        "shaded strip is the range of the training labels of the last seed: outside it the model extrapolates."
    )
    rows = [[a, b, *score_cells(judged, judged.cross.get((a, b)))] for a, b in present]
    numbers = table(["trained on", "tested on", *score_head(judged)], rows, words=2)
    # As many columns as tested sets, so that a row is one training set.
    open_ = figure(number_, caption, *_charts(judged, own, span), numbers=numbers, columns=min(len(judged.trained), 3))
    if not others:
        return open_
    folded = tag("div", _charts(judged, others, span), class_="grid g3")
    return join(open_, fold("Parity on sets that nothing was trained on", folded))


def _charts(
    judged: Judged, pairs: Mapping[tuple[str, str], tuple[FloatArray, FloatArray]], span: tuple[float, float]
) -> list[Markup]:
    ranges = {item.trained_on: item.train_range for item in judged.material.fits if item.target == judged.target}
    colours = judged.material.colours
    return [
        parity_chart(judged, f"{a} → {b}", pair, span, judged.cross.get((a, b)), colours[a], reach=ranges.get(a))
        for (a, b), pair in pairs.items()
    ]
