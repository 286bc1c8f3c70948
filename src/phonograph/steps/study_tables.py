"""From outcomes of fits to the rows of a study: trials, ranked points, tests of the winner."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from phonograph.evaluation.metrics import (
    coefficient_of_determination,
    mean_absolute_error,
    root_mean_squared_error,
    squared_pearson,
)
from phonograph.evaluation.scoring import MEAN_PREDICTOR
from phonograph.steps.fits import FitOutcome, FitScore
from phonograph.types import StudyCell, StudyFinal, StudyTrial

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


def finals_of(target: str, unit: str, model: str, seed: int, outcome: FitOutcome, test: str) -> list[StudyFinal]:
    """Return the rows of one refitted network, and with the winner those of the trivial model beside it."""
    if outcome.failure:
        return [
            StudyFinal(
                target=target,
                unit=unit,
                model=model,
                seed=seed,
                scope="all",
                n=0,
                mae=math.nan,
                rmse=math.nan,
                r2=math.nan,
                pearson_r2=math.nan,
                failure=outcome.failure,
            )
        ]
    rows = [
        StudyFinal(
            target=target,
            unit=unit,
            model=model,
            seed=seed,
            scope=score.scope,
            n=score.n,
            **{name: getattr(score, name) for name in _METRICS},
        )
        for score in outcome.scores
        if score.tested_on == test
    ]
    if model == "winner":
        _, truth, _ = outcome.predictions(test)
        mean = np.full(len(truth), outcome.training_mean)
        rows.append(
            StudyFinal(
                target=target,
                unit=unit,
                model=MEAN_PREDICTOR,
                seed=seed,
                scope="all",
                n=len(truth),
                mae=mean_absolute_error(truth, mean),
                rmse=root_mean_squared_error(truth, mean),
                r2=coefficient_of_determination(truth, mean),
                pearson_r2=squared_pearson(truth, mean),
            )
        )
    return rows
