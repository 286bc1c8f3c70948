"""The authors' filtered cross-test, beside the full one: what it leaves out is counted and told.

Source: scripts of Benítez et al., Why Physics Still Matters (2026), arXiv:2511.15222: test labels outside the
range of the training labels and gaps below 0.4 eV are removed, and models with R² < −1 are not shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from phonograph.evaluation.scoring import MEAN_PREDICTOR, in_range, score, trivial
from phonograph.evaluation.summary import summarise, verdicts
from phonograph.types import Evaluation, Metric, Origin, Predictions

GAP_TARGET = "band_gap_eV"
MINIMUM_GAP_EV = 0.4
MINIMUM_R2 = -1.0


def paper_filtered(evaluation: Evaluation, train_ranges: Mapping[str, tuple[float, float]]) -> Evaluation:
    """Return the evaluation as the authors would: scope ``in_range`` only, small gaps and bad models left out.

    Parameters
    ----------
    evaluation
        The full evaluation, with its predictions.
    train_ranges
        Model name → (min, max) of its training labels.
    """
    means = _trivial_means(evaluation)
    kept = [_filter(p, train_ranges[p.model]) for p in evaluation.predictions]
    metrics: list[Metric] = []
    dropped: list[Metric] = []
    for predictions in kept:
        (line,) = (m for m in score(predictions, train_ranges[predictions.model]) if m.scope == "in_range")
        (dropped if line.r2 < MINIMUM_R2 else metrics).append(line)
        if _key(predictions) in means:
            reference = trivial(predictions, means[_key(predictions)])
            metrics += [m for m in score(reference, train_ranges[predictions.model]) if m.scope == "in_range"]
    unique = tuple({repr(metric): metric for metric in metrics}.values())
    gone = {_key(line) + (line.model,) for line in dropped}
    summary = summarise(unique)
    return Evaluation(
        metrics=unique,
        predictions=tuple(p for p in kept if _key(p) + (p.model,) not in gone),
        summary=summary,
        warnings=(*evaluation.warnings, *_told(evaluation.predictions, kept, dropped), *verdicts(summary, "in_range")),
        origin=_origin(evaluation.origin),
    )


def _key(line: Metric | Predictions) -> tuple[object, ...]:
    return (line.target, line.trained_on, line.tested_on, line.split, line.seed)


def _trivial_means(evaluation: Evaluation) -> dict[tuple[object, ...], float]:
    ...
