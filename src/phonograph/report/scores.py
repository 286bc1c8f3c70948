"""Metrics of several seeds brought together, and the baseline that a model has to beat."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from phonograph.types import Evaluation, FloatArray, Metric, Predictions

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Score:
    """Mean and standard deviation over seeds of the metrics of one (model, tested set, part, scope)."""

    n: tuple[int, int]
    seeds: int
    mae: float
    mae_sd: float
    rmse: float
    rmse_sd: float
    r2: float
    r2_sd: float
    pearson_r2: float
    pearson_r2_sd: float

    @property
    def count(self) -> str:
        """Configurations per seed: one number, or the range over seeds."""
        return str(self.n[0]) if self.n[0] == self.n[1] else f"{self.n[0]}–{self.n[1]}"


def is_baseline(model: str) -> bool:
    """Return whether a model name is that of a baseline, not of a network."""
    return "baseline" in model.lower()


def select(
    evaluation: Evaluation | None,
    *,
    target: str,
    trained_on: str,
    tested_on: str,
    split: str,
    scope: str = "all",
    baseline: bool = False,
) -> list[Metric]:
    """Return the rows of the table of metrics that match, one per seed."""
    wanted = (target, trained_on, tested_on, split, scope)
    return [
        row
        for row in (evaluation.metrics if evaluation else ())
        if (row.target, row.trained_on, row.tested_on, row.split, row.scope) == wanted
        and is_baseline(row.model) == baseline
    ]


def summarise(rows: Iterable[Metric]) -> Score | None:
    """Return mean and standard deviation (n − 1; NaN for one seed) over the rows, or None for none."""
    found = list(rows)
    if not found:
        return None
    counts = [row.n for row in found]
    pairs = [_mean_sd([getattr(row, name) for row in found]) for name in ("mae", "rmse", "r2", "pearson_r2")]
    return Score((min(counts), max(counts)), len({row.seed for row in found}), *(x for pair in pairs for x in pair))


def _mean_sd(values: list[float]) -> tuple[float, float]:
    data = np.array([value for value in values if np.isfinite(value)])
    if len(data) == 0:
        return float("nan"), float("nan")
    return float(data.mean()), float(data.std(ddof=1)) if len(data) > 1 else float("nan")


def baseline_mae(evaluation: Evaluation | None, target: str, trained_on: str, tested_on: str, split: str) -> float:
    """Return the mean absolute error of predicting the mean of the training labels, averaged over seeds.

    Taken from the baseline rows of the metrics; computed from the stored predictions where there are none; NaN
    where the training part was not stored either.
    """
    found = summarise(
        select(evaluation, target=target, trained_on=trained_on, tested_on=tested_on, split=split, baseline=True)
    )
    if found is not None:
        return found.mae
    errors = []
    for item in _predictions(evaluation, target, trained_on, tested_on, split):
        train = [p for p in _predictions(evaluation, target, trained_on, trained_on, "train") if p.seed == item.seed]
        if train and len(item.truth):
            errors.append(float(np.abs(item.truth - train[0].truth.mean()).mean()))
    return float(np.mean(errors)) if errors else float("nan")


def _predictions(
    evaluation: Evaluation | None, target: str, trained_on: str, tested_on: str, split: str
) -> list[Predictions]:
    wanted = (target, trained_on, tested_on, split)
    return [
        item
        for item in (evaluation.predictions if evaluation else ())
        if (item.target, item.trained_on, item.tested_on, item.split) == wanted and not is_baseline(item.model)
    ]


def pooled(
    evaluation: Evaluation | None, target: str, trained_on: str, tested_on: str, split: str
) -> tuple[FloatArray, FloatArray]:
    """Return (truth, prediction) of all seeds together."""
    found = _predictions(evaluation, target, trained_on, tested_on, split)
    if not found:
        return np.zeros(0), np.zeros(0)
    return np.concatenate([p.truth for p in found]), np.concatenate([p.prediction for p in found])


def trained_collections(evaluation: Evaluation | None, target: str) -> tuple[str, ...]:
    """Return the training collections of a target in order of appearance."""
    rows = evaluation.metrics if evaluation else ()
    return tuple(dict.fromkeys(row.trained_on for row in rows if row.target == target and not is_baseline(row.model)))


def tested_collections(evaluation: Evaluation | None, target: str) -> tuple[str, ...]:
    """Return the tested collections of a target: the trained ones first, then others, in order of appearance."""
    rows = evaluation.metrics if evaluation else ()
    tested = dict.fromkeys(row.tested_on for row in rows if row.target == target)
    ordered = [name for name in trained_collections(evaluation, target) if name in tested]
    return tuple(dict.fromkeys([*ordered, *tested]))


def best_collection(evaluation: Evaluation | None, target: str) -> str:
    """Return the collection with the lowest validation error on its own set; the test part is not looked at."""
    scores: Mapping[str, Score | None] = {
        name: summarise(select(evaluation, target=target, trained_on=name, tested_on=name, split="validation"))
        for name in trained_collections(evaluation, target)
    }
    known = {name: score.mae for name, score in scores.items() if score is not None and np.isfinite(score.mae)}
    if known:
        return min(known, key=lambda name: known[name])
    return next(iter(scores), "")


def pearson(x: FloatArray, y: FloatArray) -> float:
    """Return Pearson's r of the finite pairs; NaN for fewer than three or without spread."""
    seen = np.isfinite(x) & np.isfinite(y)
    a, b = x[seen], y[seen]
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])
