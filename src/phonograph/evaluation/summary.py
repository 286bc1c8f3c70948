"""The cross-test table over seeds, and the verdict whether a network beats the mean of its training labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from phonograph.evaluation.scoring import skills
from phonograph.types import REFERENCES, Metric, MetricInterval, MetricSummary


def summarise(metrics: Sequence[Metric]) -> tuple[MetricSummary, ...]:
    """Return mean ± standard deviation over models for each (target, trained_on, tested_on, split, scope).

    All networks of one line enter alike: seeds, and architectures where several were trained.  Undefined values
    (NaN) are left out of the mean; the standard deviation has n − 1 in its denominator.  Order of first appearance.
    """
    lines = tuple(metrics)
    skill_of = skills(lines)
    groups: dict[tuple[str, ...], list[int]] = {}
    for position, m in enumerate(lines):
        if m.model not in REFERENCES:
            groups.setdefault((m.target, m.unit, m.trained_on, m.tested_on, m.split, m.scope), []).append(position)
    return tuple(
        _summary(key, [lines[p] for p in positions], [skill_of[p] for p in positions])
        for key, positions in groups.items()
    )


def _summary(key: tuple[str, ...], lines: list[Metric], skill: list[float]) -> MetricSummary:
    target, unit, trained_on, tested_on, split, scope = key
    mae, mae_sd = mean_and_spread([m.mae for m in lines])
    rmse, rmse_sd = mean_and_spread([m.rmse for m in lines])
    r2, r2_sd = mean_and_spread([m.r2 for m in lines])
    pearson, pearson_sd = mean_and_spread([m.pearson_r2 for m in lines])
    skill_mean, skill_sd = mean_and_spread(skill)
    return MetricSummary(
        target=target,
        unit=unit,
        trained_on=trained_on,
        tested_on=tested_on,
        split=split,
        scope=scope,
        models=len(lines),
        n=float(np.mean([m.n for m in lines])),
        mae=mae,
        mae_sd=mae_sd,
        rmse=rmse,
        rmse_sd=rmse_sd,
        r2=r2,
        r2_sd=r2_sd,
        pearson_r2=pearson,
        pearson_r2_sd=pearson_sd,
        skill=skill_mean,
        skill_sd=skill_sd,
    )


def mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """Return mean and standard deviation (n − 1) of the finite values; NaN where undefined."""
    known = np.asarray(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    mean = float(known.mean()) if len(known) else float("nan")
    return mean, float(known.std(ddof=1)) if len(known) > 1 else float("nan")


NOISE_R2 = 0.05
"""R² up to which a network has learned nothing that its targets show: labels that are pure noise give as much."""


def verdicts(summary: Sequence[MetricSummary], scope: str, intervals: Sequence[MetricInterval]) -> tuple[str, ...]:
    """Return one sentence per test, in this scope, in which networks do not beat the mean predictor, or may not.

    They beat it where the whole 95 % interval of their skill is above zero, over test samples and, for several
    networks, over seeds, and R² is above :data:`NOISE_R2`.  Where an interval reaches below zero, the data do not say;
    where one is unknown, the other decides; where both are, nothing is claimed.
    """
    certain = {(i.target, i.trained_on, i.tested_on, i.split, i.scope): i for i in intervals if i.metric == "skill"}
    found = []
    for s in summary:
        if s.split != "test" or s.scope != scope or s.n == 0:
            continue
        interval = certain.get((s.target, s.trained_on, s.tested_on, s.split, s.scope))
        words = _how_much(s, interval)
        if words:
            found.append(
                f"{s.target}: models trained on {s.trained_on!r} {words} the mean of their training labels on the test "
                f"part of {s.tested_on!r} (MAE {s.mae:.4g} {s.unit}, skill {s.skill:.2f} over {s.models} models"
                f"{_bounds(interval)})"
            )
    return tuple(found)


def _how_much(summary: MetricSummary, interval: MetricInterval | None) -> str:
    if summary.skill <= 0:
        return "do not beat"
    if interval is None or no_interval(interval) or any(low <= 0 for low in (interval.low, interval.seed_low)):
        return "cannot be claimed to beat"
    return "hardly beat" if summary.r2 <= NOISE_R2 else ""


def no_interval(interval: MetricInterval | None) -> str:
    """Return in words that neither interval of a line is known, and of how few networks and groups; else nothing."""
    if interval is None:
        return "no interval"
    if np.isfinite(interval.low) or np.isfinite(interval.seed_low):
        return ""
    networks = f"{interval.models} network" + ("" if interval.models == 1 else "s")
    return f"no interval: {networks}, {interval.groups} group" + ("" if interval.groups == 1 else "s")


def _bounds(interval: MetricInterval | None) -> str:
    words = no_interval(interval)
    if interval is None or words:
        return f"; {words}"
    if np.isfinite(interval.low):
        words += f"; 95 % interval {interval.low:.2f} to {interval.high:.2f} over {interval.groups} groups of samples"
    if np.isfinite(interval.seed_low):
        words += f"; {interval.seed_low:.2f} to {interval.seed_high:.2f} over seeds"
    return words
