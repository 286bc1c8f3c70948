"""Means of correlated samples and their Monte-Carlo errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from phonograph.errors import DataError
from phonograph.types import FloatArray


class Average(NamedTuple):
    """A mean, its standard error, the statistical inefficiency g of the samples, and their number.

    ``standard_error`` = s·√(g/n) with s the standard deviation of the samples; NaN for fewer than two groups.  ``g`` is
    1 for independent samples, below 1 for antithetic pairs that help, above 1 for copies; NaN where undefined.
    """

    mean: float
    standard_error: float
    inefficiency: float
    n: int


def grouped_average(values: FloatArray, groups: Sequence[str]) -> Average:
    """Return the mean of ``values`` with an error that knows which samples belong together.

    Samples of one group (± pairs, blocks of one trajectory, copies) are correlated in an unknown way; groups are
    independent.  With K groups, r_k the sum over group k of (value − mean) and n samples,

        SE² = K/(K − 1) · Σ_k r_k² / n²,   g = n SE²/s²,

    the standard error of a ratio estimator (Cochran, Sampling Techniques, 3rd ed. (1977), section 9A.2), which is
    s/√n for groups of one and the standard error of the group means for groups of equal size.

    Parameters
    ----------
    values
        Shape (n,), at least one.
    groups
        Group of each value.

    Raises
    ------
    DataError
        No value, or not one group per value.
    """
    if len(values) == 0 or len(values) != len(groups):
        raise DataError(f"an average needs at least one value and one group each; got {len(values)} and {len(groups)}")
    count = len(values)
    mean = float(np.mean(values))
    _, owner = np.unique(np.asarray(groups, dtype=np.str_), return_inverse=True)
    residual = np.bincount(owner, weights=values - mean)
    several = len(residual)
    if several < 2:
        return Average(mean, float("nan"), float("nan"), count)
    square = several / (several - 1) * float(residual @ residual) / count**2
    variance = float(np.var(values, ddof=1))
    return Average(mean, float(np.sqrt(square)), count * square / variance if variance > 0 else float("nan"), count)
