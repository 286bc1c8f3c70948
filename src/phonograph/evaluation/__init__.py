"""Room 6: how good the models are, on their own kind of samples and on others."""

from __future__ import annotations

from phonograph.evaluation.descriptors import Soap
from phonograph.evaluation.judging import cross_test, evaluate, merge_evaluations
from phonograph.evaluation.metrics import (
    coefficient_of_determination,
    mean_absolute_error,
    root_mean_squared_error,
    squared_pearson,
)
from phonograph.evaluation.references import FittedReference, fit_references
from phonograph.evaluation.skill import skills_over
from phonograph.evaluation.summary import summarise

__all__ = [
    "FittedReference",
    "Soap",
    "coefficient_of_determination",
    "cross_test",
    "evaluate",
    "fit_references",
    "mean_absolute_error",
    "merge_evaluations",
    "root_mean_squared_error",
    "skills_over",
    "squared_pearson",
    "summarise",
]
