"""From truth and prediction to lines of the metrics table, per scope and for the trivial model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from phonograph.evaluation.metrics import (
    coefficient_of_determination,
    mean_absolute_error,
    root_mean_squared_error,
    squared_pearson,
)
from phonograph.evaluation.references import FittedReference
from phonograph.types import Fitted, FloatArray, Labels, Metric, Predictions

MEAN_PREDICTOR = "mean-predictor"
"""Name of the trivial model in the ``model`` column: it predicts the mean of the training labels."""

SCOPES = ("all", "in_range", "out_of_range")
"""Of the test labels: all, those inside the range of the model's training labels (ends included), and the rest."""


def score(predictions: Predictions, train_range: tuple[float, float]) -> tuple[Metric, ...]:
    """Return one :class:`Metric` per scope.

    Parameters
    ----------
    predictions
        Truth and prediction, without holes.
    train_range
        (min, max) of the model's training labels, in the target's unit.
    """
    return tuple(_metric(predictions, scope, chosen) for scope, chosen in _scopes(predictions.truth, train_range))


def _scopes(truth: FloatArray, train_range: tuple[float, float]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    inside = in_range(truth, train_range)
    yield from zip(SCOPES, (np.ones(len(truth), dtype=bool), inside, ~inside), strict=True)


def in_range(values: FloatArray, train_range: tuple[float, float]) -> NDArray[np.bool_]:
    """Return where min ≤ value ≤ max of the training labels."""
    low, high = train_range
    return (values >= low) & (values <= high)


def _metric(predictions: Predictions, scope: str, chosen: NDArray[np.bool_]) -> Metric:
    truth, prediction = predictions.truth[chosen], predictions.prediction[chosen]
    return Metric(
        target=predictions.target,
        unit=predictions.unit,
        model=predictions.model,
        trained_on=predictions.trained_on,
        tested_on=predictions.tested_on,
        split=predictions.split,
        seed=predictions.seed,
        scope=scope,
        n=len(truth),
        mae=mean_absolute_error(truth, prediction),
        rmse=root_mean_squared_error(truth, prediction),
        r2=coefficient_of_determination(truth, prediction),
        pearson_r2=squared_pearson(truth, prediction),
    )


def training_mean(fitted: Fitted | FittedReference, labels: Labels) -> float:
    """Return the mean of the training labels, in the target's unit; NaN where none of them is at hand."""
    values = labels.aligned(fitted.target, fitted.split.train)
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def trivial(predictions: Predictions, mean: float) -> Predictions:
    """Return what the mean predictor says to the same samples."""
    return replace(predictions, model=MEAN_PREDICTOR, prediction=np.full(len(predictions.truth), mean))


def baseline_key(metric: Metric) -> tuple[object, ...]:
    """Return what a network's line and its mean predictor's line have in common."""
    return (metric.target, metric.trained_on, metric.tested_on, metric.split, metric.seed, metric.scope)


def skills(metrics: tuple[Metric, ...]) -> Mapping[int, float]:
    """Return position of each network's line → skill = 1 − MAE/MAE_mean; NaN without a usable baseline."""
    trivial_error = {baseline_key(m): m.mae for m in metrics if m.model == MEAN_PREDICTOR}
    found = {}
    for position, metric in enumerate(metrics):
        if metric.model != MEAN_PREDICTOR:
            reference = trivial_error.get(baseline_key(metric), float("nan"))
            found[position] = 1.0 - metric.mae / reference if reference > 0 else float("nan")
    return found
