"""What rooms 6–8 give: metrics, explanations and curves."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from phonograph.types.arrays import FloatArray, IntArray, read_only, set_field
from phonograph.types.crystals import Crystal, Origin


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One line of ``metrics.csv``; ``r2`` is the coefficient of determination, ``pearson_r2`` the squared Pearson r.

    ``mae`` and ``rmse`` are in ``unit``.  ``scope`` is ``all``, ``in_range`` or ``out_of_range`` of the training
    labels.  NaN where undefined (n = 0, or no spread).
    """

    target: str
    unit: str
    model: str
    trained_on: str
    tested_on: str
    split: str
    seed: int
    scope: str
    n: int
    mae: float
    rmse: float
    r2: float
    pearson_r2: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """Truth and prediction of one model on one part of one collection, in the target's unit."""

    target: str
    unit: str
    model: str
    trained_on: str
    tested_on: str
    split: str
    seed: int
    sample_ids: tuple[str, ...]
    truth: FloatArray
    prediction: FloatArray

    def __post_init__(self) -> None:
        count = len(self.sample_ids)
        set_field(self, "truth", read_only("truth", self.truth, (count,)))
        set_field(self, "prediction", read_only("prediction", self.prediction, (count,)))


@dataclass(frozen=True, kw_only=True)
class MetricSummary:
    """Mean and standard deviation over the models (training seeds) of one line of the cross-test table.

    ``models`` counts the models, ``n`` is their mean number of test samples.  ``skill`` = 1 − MAE/MAE_mean, where
    MAE_mean belongs to the trivial model that predicts the mean of the training labels: no network is called good
    unless its skill is above zero.  The ``_sd`` columns are NaN for a single model; all are NaN where undefined.
    """

    target: str
    unit: str
    trained_on: str
    tested_on: str
    split: str
    scope: str
    models: int
    n: float
    mae: float
    mae_sd: float
    rmse: float
    rmse_sd: float
    r2: float
    r2_sd: float
    pearson_r2: float
    pearson_r2_sd: float
    skill: float
    skill_sd: float


REFERENCES = ("mean-predictor", "composition-volume", "mean-square-displacement", "soap-krr")
"""Names in the ``model`` column that are no networks but what networks have to beat.

The mean of the training labels; linear in composition and volume; linear in these and ⟨u²⟩ of each element; kernel
ridge regression of SOAP power spectra.
"""

TRIVIAL_REFERENCES = REFERENCES[:3]
"""Those of the references that know nothing about which atom went where."""


@dataclass(frozen=True, kw_only=True)
class Skill:
    """Networks against one reference on the same samples: ``skill`` = 1 − MAE/MAE_reference, mean over networks.

    ``reference`` is one of :data:`REFERENCES`, or ``"best-trivial"``.  ``skill_sd`` is NaN for a single network.
    """

    target: str
    unit: str
    trained_on: str
    tested_on: str
    split: str
    scope: str
    reference: str
    models: int
    mae: float
    reference_mae: float
    skill: float
    skill_sd: float


@dataclass(frozen=True, kw_only=True)
class MetricInterval:
    """One line of ``intervals.csv``: how far one number of the cross-test table is certain.

    Attributes
    ----------
    metric
        ``mae``, ``rmse`` (in ``unit``), ``r2`` (coefficient of determination), ``pearson_r2`` (squared Pearson r) or
        ``skill``.
    models, groups, n
        Networks, groups of test samples, and mean number of test samples.
    value, low, high
        Mean over the networks, and its 95 % bootstrap interval over groups of test samples, the networks as they are.
    seed_low, seed_high
        95 % interval over resampled splits and seeds (corrected t); NaN for one network.
    """

    target: str
    unit: str
    trained_on: str
    tested_on: str
    split: str
    scope: str
    metric: str
    models: int
    groups: int
    n: float
    value: float
    low: float
    high: float
    seed_low: float
    seed_high: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """Metrics of many models on many collections, their summary over seeds, and the predictions behind them.

    Rows whose ``model`` is one of :data:`REFERENCES` are no networks; ``"mean-predictor"`` is the trivial model that
    predicts the mean of the training labels.  ``skills`` compares the networks with each of them.
    """

    metrics: tuple[Metric, ...]
    predictions: tuple[Predictions, ...]
    summary: tuple[MetricSummary, ...] = ()
    skills: tuple[Skill, ...] = ()
    intervals: tuple[MetricInterval, ...] = ()
    warnings: tuple[str, ...] = ()
    origin: Origin = field(default_factory=lambda: Origin(room="evaluation"))


@dataclass(frozen=True, kw_only=True, eq=False)
class BondImportance:
    """Importance of one kind of bond: species pair and coordination shell (0 = nearest)."""

    species_pair: str
    shell: int
    count: int
    distance_A: float
    importance: float
    importance_sd: float
    share: float


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """How much predictions move when a share of the bonds is kept or removed, in the target's unit.

    ``sufficiency`` = mean |f(kept edges) − f(all)| (small is good), ``necessity`` = mean |f(without them) − f(all)|
    (large is good).  ``subject`` is ``explanation``, ``random_mask`` or ``random_weights``.  The standard deviations
    are over configurations; ``n`` counts rankings × configurations.
    """

    subject: str
    kept_share: float
    sufficiency: float
    sufficiency_sd: float
    necessity: float
    necessity_sd: float
    n: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Explanation:
    """Edge importances in [0, 1] on one reference supercell: consensus over seeds and configurations.

    Attributes
    ----------
    model, target
        What was explained.
    crystal
        The reference crystal edges refer to.
    i, j, image
        Undirected edges: atom i, atom j in periodic image ``image``; shapes (m,), (m,), (m, 3).
    distance_A, shell, species_pair
        Reference distance, shell index within the species pair, and e.g. ``"Ag-S"``.
    importance, importance_sd
        Consensus mean and standard deviation over runs, shape (m,).
    bonds
        The same per bond type and shell.
    stability
        Median pairwise Spearman correlation of runs with different seeds.
    """

    model: str
    target: str
    crystal: Crystal
    i: IntArray
    j: IntArray
    image: IntArray
    distance_A: FloatArray
    shell: IntArray
    species_pair: tuple[str, ...]
    importance: FloatArray
    importance_sd: FloatArray
    bonds: tuple[BondImportance, ...]
    fidelity: tuple[Fidelity, ...]
    stability: float
    warnings: tuple[str, ...] = ()
    origin: Origin = field(default_factory=lambda: Origin(room="explanation"))

    def __post_init__(self) -> None:
        count = len(self.species_pair)
        for name in ("i", "j", "shell"):
            set_field(self, name, read_only(name, getattr(self, name), (count,), np.int64))
        set_field(self, "image", read_only("image", self.image, (count, 3), np.int64))
        for name in ("distance_A", "importance", "importance_sd"):
            set_field(self, name, read_only(name, getattr(self, name), (count,)))


@dataclass(frozen=True, kw_only=True)
class ThermalPoint:
    """Thermal average of one target at one temperature.

    ``standard_error`` is the Monte-Carlo error of the mean, s·√(g/n); ``model_spread`` the standard deviation of
    the mean over models; ``out_of_range`` the share of predictions outside the training labels' range;
    ``label_mean``, ``label_error`` and ``label_n`` come from directly labelled configurations (NaN, 0 if none).
    """

    target: str
    unit: str
    temperature_K: float
    mean: float
    standard_error: float
    model_spread: float
    n: int
    out_of_range: float = 0.0
    label_mean: float = float("nan")
    label_error: float = float("nan")
    label_n: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class ThermalCurve:
    """A property as a function of temperature, with its error budget."""

    points: tuple[ThermalPoint, ...]
    statistics: str
    warnings: tuple[str, ...] = ()
    origin: Origin = field(default_factory=lambda: Origin(room="thermal"))
