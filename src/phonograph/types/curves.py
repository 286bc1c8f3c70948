"""Learning curves: error against the number of labels, their fits, and what may be claimed about differences."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from phonograph.errors import DataError
from phonograph.types.arrays import FloatArray, read_only, set_field
from phonograph.types.crystals import Origin

LEVEL = 0.95
"""Confidence level of every interval."""

ALPHA = 0.05
"""A difference is claimed where its corrected p is below this."""

NAN = float("nan")


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A value and the interval that covers the truth with probability ``level``; NaN bounds where unknown."""

    value: float
    low: float
    high: float
    level: float = LEVEL

    @property
    def known(self) -> bool:
        """Whether both bounds are known."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    @property
    def half(self) -> float:
        """Half the width, in the unit of the value."""
        return 0.5 * (self.high - self.low)


@dataclass(frozen=True, kw_only=True)
class CurveRow:
    """One line of ``learning_curve.csv``: one network, judged on one test part in one scope.

    Attributes
    ----------
    target, unit
        What was learned; the errors are in ``unit``.
    trained_on, tested_on
        Names of the training collection and of the tested set or collection.
    size
        Labels the fit was given: training and, where ``validation`` is ``inside``, validation part together.
    seed
        Seed of the split, the subset, the initial weights and the order of the samples together.
    candidate, chosen
        Setting that was tried, and 1 for the one with the lowest validation error of its seed and size, else 0.
    scope
        ``all``, ``in_range`` or ``out_of_range`` of the training labels.
    n, n_train, n_validation, n_available
        Test samples of this scope that have a label; labels that trained and that stopped the training; labelled
        samples of all parts of the collections involved that the split could have drawn.
    mae, rmse, r2, pearson_r2
        As in :class:`~phonograph.types.Metric`; NaN where undefined.
    naive_mae
        Error of predicting the mean of the training labels for the same samples.
    validation_mae, best_epoch, epochs, steps
        How the training went; ``steps`` counts updates of the weights.
    label_core_hours
        What the ``size`` labels have cost, seconds × cores / 3600; NaN where it is not known.
    """

    target: str
    unit: str
    trained_on: str
    tested_on: str
    size: int
    seed: int
    candidate: str
    chosen: int
    scope: str
    n: int
    n_train: int
    n_validation: int
    n_available: int
    mae: float
    rmse: float
    r2: float
    pearson_r2: float
    naive_mae: float
    validation_mae: float
    best_epoch: int
    epochs: int
    steps: int
    label_core_hours: float = NAN


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """One line of ``points.csv``: the chosen networks of all seeds at one size.

    Mean over ``seeds`` and its 95 % interval (corrected t of resampled splits) of each metric; ``mae_sd`` is the
    standard deviation over seeds (n − 1).  ``skill`` = 1 − MAE/MAE_naive, mean over seeds.  ``n`` is the mean number of
    test samples.  NaN where undefined; intervals need at least two seeds.
    """

    target: str
    unit: str
    trained_on: str
    tested_on: str
    scope: str
    size: int
    seeds: int
    n: float
    mae: float
    mae_low: float
    mae_high: float
    mae_sd: float
    rmse: float
    rmse_low: float
    rmse_high: float
    r2: float
    r2_low: float
    r2_high: float
    pearson_r2: float
    pearson_r2_low: float
    pearson_r2_high: float
    naive_mae: float
    skill: float
    skill_low: float
    skill_high: float
    label_core_hours: float = NAN


@dataclass(frozen=True, kw_only=True)
class PowerLaw:
    """One line of ``fits.csv``: MAE(N) = a·N^(−b) + c, fitted in log space, with 95 % intervals.

    ``a`` and ``c`` are in ``unit`` (of the target), ``b`` has none.  ``smallest`` and ``largest`` are the fitted sizes;
    beyond 2× ``largest`` the law says nothing.  ``residual`` is the rms of ln MAE about the law, ``excluded`` counts
    seeds without all sizes.  ``floor`` is ``free`` (c ≥ 0 fitted) or ``zero`` (c = 0 because there are three sizes).
    """

    target: str
    unit: str
    trained_on: str
    tested_on: str
    scope: str
    sizes: int
    seeds: int
    excluded: int
    smallest: int
    largest: int
    floor: str
    a: float
    a_low: float
    a_high: float
    b: float
    b_low: float
    b_high: float
    c: float
    c_low: float
    c_high: float
    residual: float

    def at(self, size: float) -> float:
        """Return MAE(N) = a·N^(−b) + c in ``unit``.

        Raises
        ------
        DataError
            Where N is below half the smallest or above twice the largest fitted size.
        """
        if not self.smallest / 2 <= size <= 2 * self.largest:
            raise DataError(
                f"the power law of {self.trained_on!r} tested on {self.tested_on!r} was fitted to {self.smallest}–"
                f"{self.largest} labels and says nothing about {size:g}; measure it, or ask within a factor of 2"
            )
        return float(self.a * size**-self.b + self.c)


@dataclass(frozen=True, kw_only=True)
class CurveBand:
    """One line of ``bands.csv``: the fitted law and its 95 % interval at one size, for drawing."""

    target: str
    unit: str
    trained_on: str
    tested_on: str
    scope: str
    size: float
    mae: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One line of ``differences.csv``: MAE of ``first`` − MAE of ``second``, same test samples, same seeds.

    Attributes
    ----------
    first, second
        Training collections; a positive difference means that ``second`` is the better one.
    size, seeds, n
        Labels, paired seeds and mean number of test samples.
    difference, low, high
        Mean over seeds and its 95 % interval by the corrected t, in ``unit``.
    t, p, p_holm
        Statistic, two-sided p and p after Holm's correction over ``family`` comparisons: those of one target, size and
        scope.
    sample_low, sample_high
        95 % interval by the bootstrap over groups of test samples, the networks as they are, in ``unit``; NaN for fewer
        than five groups.
    """

    target: str
    unit: str
    tested_on: str
    scope: str
    size: int
    first: str
    second: str
    seeds: int
    n: float
    difference: float
    low: float
    high: float
    t: float
    p: float
    p_holm: float
    family: int
    sample_low: float = NAN
    sample_high: float = NAN

    @property
    def claimed(self) -> bool:
        """Whether the data support a difference: corrected p below 0.05, and the test samples agree in its sign.

        NaN agrees with nothing: too few groups of samples for an interval are too few for a claim.
        """
        if not self.p_holm < ALPHA:
            return False
        return self.sample_low > 0 if self.difference > 0 else self.sample_high < 0


@dataclass(frozen=True, kw_only=True)
class LabelFactor:
    """One line of ``label_factors.csv``: F = N_base(M*)/N_ours(M*), how many times fewer labels ``ours`` needs.

    ``mae`` is M*, the error of ``base`` at ``base_size`` labels by its power law.  ``bound`` is empty, or
    ``"at least"`` or ``"at most"`` where ``ours`` reaches M* outside the sizes that its law may be asked about.
    ``censored`` is the share of bootstrap draws for which that is so.  ``scope`` is ``all``: both collections are
    judged on the same test samples.
    """

    target: str
    unit: str
    tested_on: str
    scope: str
    base: str
    ours: str
    base_size: float
    mae: float
    factor: float
    low: float
    high: float
    bound: str
    censored: float


NO_CLAIM = "no difference can be claimed"
"""What every verdict says that compares two collections and decides nothing."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LearningCurve:
    """Errors against the number of labels, with fits, differences and what may be said about them in words."""

    rows: tuple[CurveRow, ...]
    points: tuple[CurvePoint, ...] = ()
    fits: tuple[PowerLaw, ...] = ()
    bands: tuple[CurveBand, ...] = ()
    differences: tuple[Difference, ...] = ()
    factors: tuple[LabelFactor, ...] = ()
    verdicts: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    origin: Origin = field(default_factory=lambda: Origin(room="evaluation"))


@dataclass(frozen=True, kw_only=True, eq=False)
class CurvePredictions:
    """What one network of a learning curve said about one test part.

    Attributes
    ----------
    target, trained_on, tested_on, size, seed, candidate
        Which network, and which test.
    sample_ids
        Test samples that have a label.
    truth, prediction
        In the target's unit, shape (samples,).
    train_range
        (min, max) of the training labels.
    """

    target: str
    trained_on: str
    tested_on: str
    size: int
    seed: int
    candidate: str
    sample_ids: tuple[str, ...]
    truth: FloatArray
    prediction: FloatArray
    train_range: tuple[float, float]

    def __post_init__(self) -> None:
        for name in ("truth", "prediction"):
            set_field(self, name, read_only(name, getattr(self, name), (len(self.sample_ids),)))
