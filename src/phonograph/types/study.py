"""A study of hyperparameters: what was tried, how it ranks, what matters, and what the winner is worth."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from phonograph.types.crystals import Origin


@dataclass(frozen=True, kw_only=True)
class StudyTrial:
    """One trained network and its errors on its own validation part; the outer test part is not looked at.

    Attributes
    ----------
    target
        What it predicts.
    values
        Value of each axis, as text, in the order of :attr:`HyperparameterStudy.axes`.
    seed
        Seed of inner split, initial weights and shuffling.
    rung, epochs
        Rung of successive halving (0 where there is one only) and the epochs that were granted.
    mae, rmse, r2, pearson_r2
        Errors in the target's unit, coefficient of determination and squared Pearson correlation; NaN for a failure.
    best_epoch, parameters
        Of the network.
    core_seconds
        Wall time of its training (of this rung) times the cores held.
    failure
        Why there is no network; empty where there is one.
    """

    target: str
    values: tuple[str, ...]
    seed: int
    rung: int
    epochs: int
    mae: float
    rmse: float
    r2: float
    pearson_r2: float
    best_epoch: int
    parameters: int
    core_seconds: float
    failure: str = ""


@dataclass(frozen=True, kw_only=True)
class StudyCell:
    """One point of the grid (or of a search): mean and standard deviation over seeds, at its last rung.

    Standard deviations have n − 1 in the denominator and are NaN for one seed; ``core_seconds`` is the sum over seeds
    and rungs, ``mse`` the mean of RMSE².  A point with a failed seed ranks behind all others.
    """

    rank: int
    target: str
    unit: str
    values: tuple[str, ...]
    seeds: int
    failed: int
    rung: int
    epochs: int
    mae: float
    mae_sd: float
    rmse: float
    rmse_sd: float
    mse: float
    mse_sd: float
    r2: float
    r2_sd: float
    pearson_r2: float
    pearson_r2_sd: float
    parameters: int
    core_seconds: float


@dataclass(frozen=True, kw_only=True)
class StudyEffect:
    """Main effect of one level: its mean of log₁₀ MAE over all other axes, less that of the whole grid.

    10^``effect`` is the factor by which the (geometric) mean error at this level differs from the grid's.  ``low`` and
    ``high`` are the 95 % interval over seeds (Student's t); NaN for one seed.
    """

    target: str
    axis: str
    level: str
    effect: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class StudyShare:
    """Share of the variance of log₁₀ MAE over the grid that an axis, or a pair of axes beyond both, explains.

    ``axis`` is one name, or two joined by `` × ``; ``rest`` is what more than two axes do together.  ``low`` and
    ``high``: 95 % interval of a jackknife over seeds; NaN for fewer than three.
    """

    target: str
    axis: str
    share: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class StudyFinal:
    """One refitted network on the outer test part, which no choice has seen.

    ``model`` is ``winner``, ``configured`` (the settings of the configuration, untuned) or one of the trivial
    references (:data:`phonograph.types.TRIVIAL_REFERENCES`), fitted on the training part of the winner of this seed.
    ``skill`` = 1 − MAE/MAE of the mean predictor; NaN where undefined.
    """

    target: str
    unit: str
    model: str
    seed: int
    scope: str
    n: int
    mae: float
    rmse: float
    r2: float
    pearson_r2: float
    failure: str = ""
    skill: float = math.nan


@dataclass(frozen=True, kw_only=True)
class StudyVerdict:
    """What the winner of one target is worth on the outer test part.

    All final seeds share that part, so every interval is the wider of the one over groups of its samples, the networks
    as they are, and the one over seeds, the samples as they are; NaN where unknown.

    Attributes
    ----------
    reference
        The trivial reference with the lowest error.
    seeds, groups
        Networks of the winner that were tested, and groups of test samples.
    mae, reference_mae
        Mean over seeds, in ``unit``.
    skill, skill_low, skill_high
        1 − MAE/MAE of the best trivial reference of the seed, mean over seeds, and its 95 % interval.
    difference, difference_low, difference_high
        MAE of the winner less that of the configured network, paired by seed and sample, and its 95 % interval.
    words
        The verdict.
    """

    target: str
    unit: str
    reference: str
    seeds: int
    groups: int
    mae: float
    reference_mae: float
    skill: float
    skill_low: float
    skill_high: float
    difference: float
    difference_low: float
    difference_high: float
    words: str


@dataclass(frozen=True, kw_only=True)
class StudyCheck:
    """Successive halving against full training on points drawn at random, the winner among them.

    Attributes
    ----------
    points
        How many points were trained to the end.
    spearman
        Rank correlation of their errors at the first rung with those after full training.
    regret
        (MAE of the winner − lowest MAE of these points)/lowest MAE, after full training: 0 where none is better.
    better
        How many of them are better than the winner.
    """

    target: str
    points: int
    spearman: float
    regret: float
    better: int


@dataclass(frozen=True, kw_only=True, eq=False)
class HyperparameterStudy:
    """Everything that ``phonograph study`` found.

    Attributes
    ----------
    axes
        Name → values as text, in the order of the grid; for a search, the choices or the two ends of a range.
    units
        Target → unit.
    strategy
        ``full``, ``halving`` or ``optuna``.
    trials, cells
        All networks, and the points ranked per target.
    effects, shares
        Of a full grid (of its first rung, where there are several).
    finals, verdicts, checks
        The winners on the test part, what they are worth there, and the check of successive halving.
    wall_seconds, core_seconds
        What it took: ``core_seconds`` of training in all runs, ``wall_seconds`` of the last run.
    """

    axes: Mapping[str, tuple[str, ...]]
    units: Mapping[str, str]
    strategy: str
    collection: str
    trials: tuple[StudyTrial, ...]
    cells: tuple[StudyCell, ...]
    effects: tuple[StudyEffect, ...] = ()
    shares: tuple[StudyShare, ...] = ()
    finals: tuple[StudyFinal, ...] = ()
    verdicts: tuple[StudyVerdict, ...] = ()
    checks: tuple[StudyCheck, ...] = ()
    wall_seconds: float = math.nan
    core_seconds: float = 0.0
    warnings: tuple[str, ...] = ()
    origin: Origin = field(default_factory=lambda: Origin(room="training"))

    def winner(self, target: str) -> StudyCell:
        """Return the point of rank 1."""
        return next(cell for cell in self.cells if cell.target == target and cell.rank == 1)

    def first_rung(self, target: str) -> tuple[StudyTrial, ...]:
        """Return the networks of the whole grid: all of them, or those of the first rung."""
        return tuple(trial for trial in self.trials if trial.target == target and trial.rung == 0)
