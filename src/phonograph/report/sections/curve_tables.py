"""The numbers behind the learning curves, as tables."""

from __future__ import annotations

import math
from collections.abc import Sequence

from phonograph.report.markup import Content, Markup, table
from phonograph.report.words import fixed, number
from phonograph.types import LearningCurve

SCOPE_WORDS = {
    "all": "all",
    "in_range": "in range",
    "out_of_range": "out of range",
    "in_range_of_both": "in both ranges",
}


def point_table(curve: LearningCurve, target: str, factor: float, unit: str) -> Markup:
    """Return MAE, RMSE, R², squared Pearson r and skill of every curve, size and scope, with 95 % intervals."""
    head: list[Content] = ["trained on", "tested on", "scope", "N", "seeds", "n", f"MAE ({unit})", f"RMSE ({unit})"]
    head += ["R²", "Pearson r²", f"naive MAE ({unit})", "skill", "core-hours"]
    rows: list[Sequence[Content]] = []
    for p in curve.points:
        if p.target != target:
            continue
        cells = [p.trained_on, p.tested_on, SCOPE_WORDS[p.scope], str(p.size), str(p.seeds), number(p.n)]
        cells += [_range(factor, p.mae, p.mae_low, p.mae_high), _range(factor, p.rmse, p.rmse_low, p.rmse_high)]
        cells += [_share(p.r2, p.r2_low, p.r2_high), _share(p.pearson_r2, p.pearson_r2_low, p.pearson_r2_high)]
        cells += [number(factor * p.naive_mae), _share(p.skill, p.skill_low, p.skill_high), number(p.label_core_hours)]
        rows.append(cells)
    return table(head, rows, words=3)


def law_table(curve: LearningCurve, target: str, factor: float, unit: str) -> Markup:
    """Return the fitted power laws with 95 % intervals."""
    head = ["trained on", "tested on", "scope", "N", "seeds", f"a ({unit})", "b", f"c ({unit})", "rms of ln MAE"]
    rows = [
        [
            *(f.trained_on, f.tested_on, SCOPE_WORDS[f.scope], f"{f.smallest}–{f.largest}", str(f.seeds)),
            _range(factor, f.a, f.a_low, f.a_high),
            _range(1.0, f.b, f.b_low, f.b_high),
            _range(factor, f.c, f.c_low, f.c_high) if f.floor == "free" else "0, held",
            number(f.residual, 2),
        ]
        for f in curve.fits
        if f.target == target
    ]
    return table(head, rows, words=3)


def difference_table(curve: LearningCurve, target: str, factor: float, unit: str) -> Markup:
    """Return all paired differences with their tests."""
    head = ["difference", "tested on", "scope", "N", "seeds", "n", f"ΔMAE ({unit})", f"over samples ({unit})"]
    head += ["t", "p", "corrected p", "of", "claimed"]
    rows = [
        [
            *(f"{d.first} − {d.second}", d.tested_on, SCOPE_WORDS[d.scope], str(d.size), str(d.seeds), number(d.n)),
            _range(factor, d.difference, d.low, d.high),
            _bounds(factor, d.sample_low, d.sample_high),
            *(fixed(d.t, 2), number(d.p, 2), number(d.p_holm, 2), str(d.family), "yes" if d.claimed else "no"),
        ]
        for d in curve.differences
        if d.target == target
    ]
    return table(head, rows, words=3)


def factor_table(curve: LearningCurve, target: str, factor: float, unit: str) -> Markup:
    """Return how many times fewer labels a collection needs than the reference, over all test labels."""
    head = ["trained on", "instead of", "tested on", f"for MAE ({unit})", "labels of the reference"]
    head += ["times fewer labels", "draws beyond the sizes measured"]
    rows = [
        [
            *(f.ours, f.base, f.tested_on, number(factor * f.mae), number(f.base_size)),
            f"{f.bound} {_range(1.0, f.factor, f.low, f.high)}".strip(),
            f"{fixed(100 * f.censored, 0)} %" if math.isfinite(f.censored) else "–",
        ]
        for f in curve.factors
        if f.target == target
    ]
    return table(head, rows, words=3)


def _range(factor: float, value: float, low: float, high: float) -> str:
    bounds = _bounds(factor, low, high)
    return number(factor * value) if bounds == "–" else f"{number(factor * value)} ({bounds})"


def _bounds(factor: float, low: float, high: float) -> str:
    if not (math.isfinite(low) and math.isfinite(high)):
        return "–"
    return f"{number(factor * low)} to {number(factor * high)}"


def _share(value: float, low: float, high: float) -> str:
    if not (math.isfinite(low) and math.isfinite(high)):
        return fixed(value, 2)
    return f"{fixed(value, 2)} ({fixed(low, 2)} to {fixed(high, 2)})"
