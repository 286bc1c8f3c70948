"""Skill: by how much a network's error is below that of each reference, on the same samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from phonograph.evaluation.scoring import baseline_key
from phonograph.evaluation.summary import mean_and_spread, no_interval
from phonograph.types import REFERENCES, TRIVIAL_REFERENCES, Metric, MetricInterval, Skill

BEST_TRIVIAL = "best-trivial"
"""Of the trivial references the one with the lowest error on the very samples: the hardest to beat."""


OVER = ("samples", "seeds")


def skill_against(reference: str) -> str:
    """Return the name of the skill against a reference in the table of intervals: ``"skill:soap-krr"``."""
    return f"skill:{reference}"


def skills_over(metrics: Sequence[Metric]) -> tuple[Skill, ...]:
    """Return skill = 1 − MAE/MAE_reference of the networks for each line of the cross-test and each reference.

    Mean and standard deviation (n − 1) over the networks of a line (training seeds), each against the reference that
    was fitted on its own split; ``"best-trivial"`` is the best of the trivial ones.  Undefined where the error of the
    reference is zero or unknown.

    Parameters
    ----------
    metrics
        Lines of networks and references, as in :attr:`~phonograph.types.Evaluation.metrics`.
    """
    errors: dict[tuple[object, ...], dict[str, float]] = {}
    for line in metrics:
        if line.model in REFERENCES:
            errors.setdefault(baseline_key(line), {})[line.model] = line.mae
    for found in errors.values():
        trivial = [found[name] for name in TRIVIAL_REFERENCES if np.isfinite(found.get(name, np.nan))]
        if trivial:
            found[BEST_TRIVIAL] = min(trivial)
    groups: dict[tuple[str, ...], list[Metric]] = {}
    for line in metrics:
        if line.model not in REFERENCES:
            key = (line.target, line.unit, line.trained_on, line.tested_on, line.split, line.scope)
            groups.setdefault(key, []).append(line)
    return tuple(skill for key, lines in groups.items() for skill in _skills(key, lines, errors))


def _skills(
    key: tuple[str, ...], lines: Sequence[Metric], errors: dict[tuple[object, ...], dict[str, float]]
) -> Iterator[Skill]:
    target, unit, trained_on, tested_on, split, scope = key
    for name in (*REFERENCES, BEST_TRIVIAL):
        pairs = [(line.mae, errors.get(baseline_key(line), {}).get(name, np.nan)) for line in lines]
        known = [(own, other) for own, other in pairs if np.isfinite(own) and other > 0]
        if not known:
            continue
        skill, skill_sd = mean_and_spread([1 - own / other for own, other in known])
        yield Skill(
            target=target,
            unit=unit,
            trained_on=trained_on,
            tested_on=tested_on,
            split=split,
            scope=scope,
            reference=name,
            models=len(known),
            mae=float(np.mean([own for own, _ in known])),
            reference_mae=float(np.mean([other for _, other in known])),
            skill=skill,
            skill_sd=skill_sd,
        )


def skill_verdicts(skills: Sequence[Skill], scope: str, intervals: Sequence[MetricInterval]) -> tuple[str, ...]:
    """Return one sentence per test in which the networks do not beat every reference other than the mean.

    A network is called good only where its mean skill is above zero against all of them, with its whole 95 % interval
    over groups of samples and, for several networks, over seeds; errors are compared pair by pair.  Where one interval
    is unknown, the other decides; where both are, nothing is claimed.
    """
    certain = {(i.target, i.trained_on, i.tested_on, i.split, i.scope, i.metric): i for i in intervals}
    groups: dict[tuple[str, str, str], list[str]] = {}
    for s in skills:
        if s.split != "test" or s.scope != scope or s.reference not in REFERENCES[1:]:
            continue
        place = (s.target, s.trained_on, s.tested_on, s.split, s.scope, skill_against(s.reference))
        if words := _lost(s, certain.get(place)):
            groups.setdefault((s.target, s.trained_on, s.tested_on), []).append(words)
    return tuple(
        f"{target}: networks trained on {trained_on!r} cannot be called good on the test part of {tested_on!r}: "
        + "; ".join(lost)
        for (target, trained_on, tested_on), lost in groups.items()
    )


def _lost(skill: Skill, interval: MetricInterval | None) -> str:
    """Return in what a reference is not beaten, or nothing."""
    bounds = [] if interval is None else [(interval.low, interval.high), (interval.seed_low, interval.seed_high)]
    known = [
        f"{low:.2f} to {high:.2f} over {over}" for (low, high), over in zip(bounds, OVER, strict=False) if low <= 0
    ]
    unknown = no_interval(interval)
    if skill.skill > 0 and not (known or unknown):
        return ""
    certainty = f", 95 % interval {' and '.join(known)}" if known else f", {unknown}" if unknown else ""
    return (
        f"{skill.reference} has MAE {skill.reference_mae:.4g} {skill.unit}, they have {skill.mae:.4g} (skill "
        f"{skill.skill:.2f}{certainty})"
    )
