"""Metrics of several seeds brought together, and the baseline that a model has to beat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from phonograph.types import REFERENCES, Evaluation, FloatArray, Metric, Predictions

PARTS = ("train", "validation", "test")


class Case(NamedTuple):
    """One test: a target, the collection its models were trained on, the tested collection and its part."""

    target: str
    trained_on: str
    tested_on: str
    part: str


@dataclass(frozen=True)
class Score:
    """Mean and standard deviation over seeds of the metrics of one case.

    ``naive_mae`` is the error of predicting the mean of the training labels and ``skill`` = 1 − MAE/MAE_naive,
    averaged over seeds; NaN where unknown.
    """

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
    naive_mae: float
    skill: float

    @property
    def count(self) -> str:
        """Configurations per seed: one number, or the range over seeds."""
        return str(self.n[0]) if self.n[0] == self.n[1] else f"{self.n[0]}–{self.n[1]}"


def is_baseline(model: str) -> bool:
    """Return whether a model name is that of a reference, not of a network."""
    return model in REFERENCES


def main_scope(evaluation: Evaluation | None) -> str:
    """Return the scope that is shown first: all labels, or those in range where only these were kept."""
    scopes = {row.scope for row in evaluation.metrics} if evaluation else set()
    return "all" if "all" in scopes or not scopes else sorted(scopes)[0]


def score(evaluation: Evaluation | None, case: Case, scope: str = "") -> Score | None:
    """Return mean and standard deviation (n − 1; NaN for one seed) over the seeds of a case, or None without rows."""
    rows = _rows(evaluation, case, scope or main_scope(evaluation))
    found = [row for row in rows if not is_baseline(row.model)]
    if not found:
        return None
    counts = [row.n for row in found]
    fields: dict[str, float] = {}
    for name in ("mae", "rmse", "r2", "pearson_r2"):
        fields[name], fields[f"{name}_sd"] = _mean_sd([getattr(row, name) for row in found])
    naive = {row.seed: row.mae for row in rows if row.model == REFERENCES[0]} or _naive_errors(evaluation, case)
    known = [(row.mae, naive[row.seed]) for row in found if naive.get(row.seed, 0.0) > 0]
    return Score(
        n=(min(counts), max(counts)),
        seeds=len({row.seed for row in found}),
        naive_mae=_mean_sd([error for _, error in known])[0],
        skill=_mean_sd([1 - mae / error for mae, error in known])[0],
        **fields,
    )


def _rows(evaluation: Evaluation | None, case: Case, scope: str) -> list[Metric]:
    rows = evaluation.metrics if evaluation else ()
    return [row for row in rows if (row.target, row.trained_on, row.tested_on, row.split, row.scope) == (*case, scope)]


def _mean_sd(values: list[float]) -> tuple[float, float]:
    data = np.array([value for value in values if np.isfinite(value)])
    if len(data) == 0:
        return float("nan"), float("nan")
    return float(data.mean()), float(data.std(ddof=1)) if len(data) > 1 else float("nan")


def _naive_errors(evaluation: Evaluation | None, case: Case) -> dict[int, float]:
    """Return seed → error of the mean predictor from the stored predictions, where no rows say it."""
    training = _predictions(evaluation, Case(case.target, case.trained_on, case.trained_on, "train"))
    means = {item.seed: float(item.truth.mean()) for item in training if len(item.truth)}
    tested = [item for item in _predictions(evaluation, case) if len(item.truth) and item.seed in means]
    return {item.seed: float(np.abs(item.truth - means[item.seed]).mean()) for item in tested}


def _predictions(evaluation: Evaluation | None, case: Case) -> list[Predictions]:
    return [
        item
        for item in (evaluation.predictions if evaluation else ())
        if (item.target, item.trained_on, item.tested_on, item.split) == case and not is_baseline(item.model)
    ]


def pooled(evaluation: Evaluation | None, case: Case) -> tuple[FloatArray, FloatArray]:
    """Return (truth, prediction) of all seeds together."""
    found = _predictions(evaluation, case)
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
    """Return the collection with the highest validation skill on its own set; the test part is not looked at.

    Errors on sets of different spread cannot be compared, skills can; without baselines the lowest error decides.
    """
    scores: Mapping[str, Score | None] = {
        name: score(evaluation, Case(target, name, name, "validation"))
        for name in trained_collections(evaluation, target)
    }
    known = {name: found for name, found in scores.items() if found is not None and np.isfinite(found.mae)}
    if all(np.isfinite(found.skill) for found in known.values()):
        return max(known, key=lambda name: known[name].skill, default=next(iter(scores), ""))
    return min(known, key=lambda name: known[name].mae)


def pearson(x: FloatArray, y: FloatArray) -> float:
    """Return Pearson's r of the finite pairs; NaN for fewer than three or without spread."""
    seen = np.isfinite(x) & np.isfinite(y)
    a, b = x[seen], y[seen]
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])
