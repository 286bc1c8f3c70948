"""The networks of a learning curve: jobs of a table, read as rows and predictions of curves.

:func:`run_units` is the one place where a learning curve trains; it does so through
:func:`phonograph.steps.fits.run_fits`, as a study does, so that what is finished is never computed again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from phonograph.errors import DataError
from phonograph.evaluation.scoring import score, trivial
from phonograph.execution.seam import Executor
from phonograph.steps.fit_jobs import VALIDATION
from phonograph.steps.fits import RETRY, FitOutcome, FitRequest, failed_networks, run_fits
from phonograph.training import FitJob
from phonograph.types import CurvePredictions, CurveRow, GraphSet, Labels, Predictions, Progress

TABLE = "fits.sqlite"
SEEDS_TOGETHER = 10
"""Seeds 0–9 of one collection and size may train together, and so 10–19, …: more sizes change no finished job."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CurveUnit:
    """One network of a learning curve, and what it is tested on.

    Attributes
    ----------
    job
        The fit; :func:`run_units` gives it its name.
    size, candidate
        Number of labels it is given, and which of several settings it is.
    tests
        Name → sample ids.
    available
        Name → labelled samples of all parts of the tested sets.
    label_core_hours
        What its labels have cost; NaN where it is not known.  This and ``available`` decide no prediction: they are
        written into the rows when these are read, so that other values train nothing again.
    """

    job: FitJob
    size: int
    candidate: str
    tests: Mapping[str, tuple[str, ...]]
    available: Mapping[str, int]
    label_core_hours: float = math.nan

    @property
    def name(self) -> str:
        """Name of the fit."""
        job = self.job
        return f"{job.target}-{job.trained_on}-n{self.size}-seed{job.seed}-{self.candidate}"


@dataclass(frozen=True, kw_only=True, eq=False)
class CurveFit:
    """What came of one unit: its rows (per test and scope) and its predictions (per test), or why there are none."""

    rows: tuple[CurveRow, ...]
    predictions: tuple[CurvePredictions, ...]
    failure: str = ""


def run_units(
    graphs: GraphSet,
    labels: Labels,
    units: Sequence[CurveUnit],
    folder: Path,
    *,
    executor: Executor | None = None,
    workers: int = 0,
    retry_failed: bool = False,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
) -> tuple[CurveFit, ...]:
    """Train every unit that the table in ``folder`` does not have, and return all in the order of ``units``.

    Parameters
    ----------
    graphs, labels
        All samples that the units name.
    units
        What to train and to test.
    folder
        Holds the table of jobs, their inputs, predictions and checkpoints.
    executor, workers, retry_failed, progress, say
        As for :func:`phonograph.steps.fits.run_fits`.

    Raises
    ------
    DataError
        When no network at all could be trained, with the reason of the first.
    """
    requests = [
        FitRequest(
            job=replace(unit.job, name=unit.name),
            tests=unit.tests,
            group=f"{unit.job.target}/{unit.job.trained_on}/{unit.size}/{unit.job.seed // SEEDS_TOGETHER}",
        )
        for unit in units
    ]
    outcomes = run_fits(
        graphs,
        labels,
        requests,
        folder / TABLE,
        executor=executor,
        workers=workers,
        retry_failed=retry_failed,
        purpose="learning curve",
        what="learning curve",
        progress=progress,
        say=say,
    )
    fits = tuple(_read(unit, outcome, labels) for unit, outcome in zip(units, outcomes, strict=True))
    if fits and all(fit.failure for fit in fits):
        raise DataError(f"no network of the learning curve could be trained: {fits[0].failure}; {RETRY}")
    return fits


def failures(units: Sequence[CurveUnit], fits: Sequence[CurveFit]) -> list[str]:
    """Return a sentence about networks that could not be trained, or none."""
    named = [fit.failure and f"{unit.name}: {fit.failure}" for unit, fit in zip(units, fits, strict=True)]
    sentence = failed_networks(named, " and are left out")
    return [sentence] if sentence else []


def _read(unit: CurveUnit, outcome: FitOutcome, labels: Labels) -> CurveFit:
    if outcome.failure:
        return CurveFit(rows=(), predictions=(), failure=outcome.failure)
    predictions = [_predictions(unit, outcome, test) for test in unit.tests]
    rows = [row for item in predictions for row in _rows(unit, outcome, item, labels.column(unit.job.target).unit)]
    return CurveFit(rows=tuple(rows), predictions=tuple(predictions))


def _predictions(unit: CurveUnit, outcome: FitOutcome, test: str) -> CurvePredictions:
    ids, truth, prediction = outcome.predictions(test)
    return CurvePredictions(
        target=unit.job.target,
        trained_on=unit.job.trained_on,
        tested_on=test,
        size=unit.size,
        seed=unit.job.seed,
        candidate=unit.candidate,
        sample_ids=ids,
        truth=truth,
        prediction=prediction,
        train_range=outcome.train_range,
    )


def _rows(unit: CurveUnit, outcome: FitOutcome, item: CurvePredictions, unit_of_target: str) -> list[CurveRow]:
    plain = Predictions(
        target=item.target,
        unit=unit_of_target,
        model=unit.name,
        trained_on=item.trained_on,
        tested_on=item.tested_on,
        split="test",
        seed=item.seed,
        sample_ids=item.sample_ids,
        truth=item.truth,
        prediction=item.prediction,
    )
    naive = {line.scope: line.mae for line in score(trivial(plain, outcome.training_mean), outcome.train_range)}
    batches = max(1, math.ceil(outcome.n_train / unit.job.settings.batch_size))
    return [
        CurveRow(
            target=item.target,
            unit=unit_of_target,
            trained_on=item.trained_on,
            tested_on=item.tested_on,
            size=unit.size,
            seed=item.seed,
            candidate=unit.candidate,
            chosen=0,
            scope=line.scope,
            n=line.n,
            n_train=outcome.n_train,
            n_validation=outcome.n_validation,
            n_available=unit.available[item.tested_on],
            mae=line.mae,
            rmse=line.rmse,
            r2=line.r2,
            pearson_r2=line.pearson_r2,
            naive_mae=naive[line.scope],
            validation_mae=outcome.score(VALIDATION).mae,
            best_epoch=outcome.best_epoch,
            epochs=outcome.epochs,
            steps=batches * outcome.epochs,
            label_core_hours=unit.label_core_hours,
        )
        for line in outcome.scores
        if line.tested_on == item.tested_on
    ]
