"""Room 6: how good the models are, on their own kind of samples and on others."""

from __future__ import annotations

from phonograph.evaluation.judging import cross_test, evaluate, merge_evaluations
from phonograph.evaluation.metrics import (
    coefficient_of_determination,
    mean_absolute_error,
    root_mean_squared_error,
    squared_pearson,
)
from phonograph.evaluation.summary import summarise

__all__ = [
    "coefficient_of_determination",
    "cross_test",
    "evaluate",
    "mean_absolute_error",
    "merge_evaluations",
    "root_mean_squared_error",
    "squared_pearson",
    "summarise",
]
