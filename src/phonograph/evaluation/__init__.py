"""Room 6: how good the models are, on their own kind of samples and on others."""

from __future__ import annotations

from phonograph.evaluation.bootstrap import metric_intervals
from phonograph.evaluation.comparison import corrected_t, holm, overlap_ratio, paired_difference
from phonograph.evaluation.curves import learning_curve
from phonograph.evaluation.descriptors import Soap
from phonograph.evaluation.judging import cross_test, evaluate, merge_evaluations
from phonograph.evaluation.metrics import (
    coefficient_of_determination,
    mean_absolute_error,
    root_mean_squared_error,
    squared_pearson,
)
from phonograph.evaluation.power_law import fit_power_law, label_factor
from phonograph.evaluation.references import FittedReference, fit_references
from phonograph.evaluation.settings import LearningCurveSettings
from phonograph.evaluation.skill import skills_over
from phonograph.evaluation.subsets import nested_subset, within_amplitude
from phonograph.evaluation.summary import summarise

__all__ = [
    "FittedReference",
    "LearningCurveSettings",
    "Soap",
    "coefficient_of_determination",
    "corrected_t",
    "cross_test",
    "evaluate",
    "fit_power_law",
    "fit_references",
    "holm",
    "label_factor",
    "learning_curve",
    "mean_absolute_error",
    "merge_evaluations",
    "metric_intervals",
    "nested_subset",
    "overlap_ratio",
    "paired_difference",
    "root_mean_squared_error",
    "skills_over",
    "squared_pearson",
    "summarise",
    "within_amplitude",
]
