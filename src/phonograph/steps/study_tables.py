"""From outcomes of fits to the rows of a study: trials, ranked points, tests of the winner."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from phonograph.evaluation.scoring import score, trivial
from phonograph.steps.fits import FitOutcome, FitScore
from phonograph.types import FloatArray, Predictions, StudyCell, StudyFinal, StudyTrial

_METRICS = ("mae", "rmse", "r2", "pearson_r2")
_NONE = FitScore(tested_on="", scope="", n=0, mae=math.nan, rmse=math.nan, r2=math.nan, pearson_r2=math.nan)


def trial_of(
    target: str, values: tuple[str, ...], seed: int, rung: int, epochs: int, outcome: FitOutcome
) -> StudyTrial:
    """Return the row of one network."""
    score = _NONE if outcome.failure else outcome.score()
    return StudyTrial(
        target=target,
        values=values,
        seed=seed,
        rung=rung,
        epochs=epochs,
        best_epoch=outcome.best_epoch,
        parameters=outcome.parameters,
        core_seconds=outcome.core_seconds,
        failure=outcome.failure,
        **{name: getattr(score, name) for name in _METRICS},
    )


def cells_of(trials: Sequence[StudyTrial], units: Mapping[str, str]) -> tuple[StudyCell, ...]:
    """Return the points of every target, ranked: those that went further first, then by their mean error."""
    found: list[StudyCell] = []
    for target, unit in units.items():
        groups: dict[tuple[str, ...], list[StudyTrial]] = {}
        for trial in trials:
            if trial.target == target:
                groups.setdefault(trial.values, []).append(trial)
        cells = [_cell(unit, members) for members in groups.values()]
        order = sorted(cells, key=lambda cell: (-cell.rung, cell.failed > 0 or math.isnan(cell.mae), cell.mae))
        found += [replace(cell, rank=rank) for rank, cell in enumerate(order, start=1)]
    return tuple(found)


def _cell(unit: str, members: Sequence[StudyTrial]) -> StudyCell:
    rung = max(trial.rung for trial in members)
    last = [trial for trial in members if trial.rung == rung]
    sound = [trial for trial in last if not trial.failure]
    columns = {name: [getattr(trial, name) for trial in sound] for name in _METRICS}
    columns["mse"] = [trial.rmse**2 for trial in sound]
    means = {name: float(np.mean(values)) if values else math.nan for name, values in columns.items()}
    spreads = {
        f"{name}_sd": float(np.std(values, ddof=1)) if len(values) > 1 else math.nan for name, values in columns.items()
    }
    return StudyCell(
        rank=0,
        target=last[0].target,
        unit=unit,
        values=last[0].values,
        seeds=len(last),
        failed=len(last) - len(sound),
        rung=rung,
        epochs=last[0].epochs,
        parameters=max(trial.parameters for trial in last),
        core_seconds=sum(trial.core_seconds for trial in members),
        **means,
        **spreads,
    )


def failed_final(target: str, unit: str, model: str, seed: int, failure: str) -> StudyFinal:
    """Return the row of a network that could not be trained again."""
    undefined = dict.fromkeys(_METRICS, math.nan)
    return StudyFinal(target=target, unit=unit, model=model, seed=seed, scope="all", n=0, failure=failure, **undefined)


def finals_of(outcome: FitOutcome, found: Predictions, others: Mapping[str, FloatArray]) -> list[StudyFinal]:
    """Return the rows of one refitted network, and of the references that predict the same samples, with skills.

    Parameters
    ----------
    outcome
        What came of the network.
    found
        Its predictions; their ``model`` is the one of the rows.
    others
        Reference → its predictions.
    """
    naive = {line.scope: line.mae for line in score(trivial(found, outcome.training_mean), outcome.train_range)}
    models = (found, *(replace(found, model=name, prediction=values) for name, values in others.items()))
    return [
        StudyFinal(
            target=found.target,
            unit=found.unit,
            model=line.model,
            seed=found.seed,
            scope=line.scope,
            n=line.n,
            skill=1.0 - line.mae / naive[line.scope] if naive[line.scope] > 0 else math.nan,
            **{name: getattr(line, name) for name in _METRICS},
        )
        for one in models
        for line in score(one, outcome.train_range)
    ]
