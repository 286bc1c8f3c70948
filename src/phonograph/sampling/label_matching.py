"""A random control with the label distribution of another set: chosen from a larger pool that has labels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from phonograph.errors import ConfigurationError, DataError
from phonograph.sampling.draw import in_order
from phonograph.streams import stream
from phonograph.types import Configurations, FloatArray, IntArray

LARGEST_ASSIGNMENT = 40_000_000
"""Bound on chosen × pool, which is held in memory."""

SIGNIFICANT = 0.05
"""Kolmogorov–Smirnov tests below this are told."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelMatch:
    """A subset of a pool whose labels are distributed like a target's.

    Attributes
    ----------
    configurations
        The chosen configurations, in the order of the pool.
    positions
        Their positions in the pool, shape (n,).
    values
        Their labels, shape (n,).
    ks_statistic, ks_p_value
        Kolmogorov–Smirnov test of the chosen against the target labels.
    largest_gap
        Largest distance between a chosen label and the one it stands for, in the label's unit.
    uncovered_share
        Share of the target labels outside the range of the pool's.
    warnings
        Sentences for the report.
    """

    configurations: Configurations
    positions: IntArray
    values: FloatArray
    ks_statistic: float
    ks_p_value: float
    largest_gap: float
    uncovered_share: float
    warnings: tuple[str, ...]


def match_labels(
    pool: Configurations,
    pool_values: FloatArray,
    target_values: FloatArray,
    n: int,
    seed: int,
    *,
    name: str = "",
    largest_uncovered_share: float = 0.02,
) -> LabelMatch:
    """Choose ``n`` configurations of a labelled pool whose labels are distributed like those of another set.

    n labels y_r are drawn from the target, one at a random place of each n-th of its distribution, and each is given
    one configuration of the pool, none twice, so that Σ_r (x_r − y_r)² is smallest (an assignment problem).  What is
    left as a difference between the two sets is then not the distribution of the label.

    Parameters
    ----------
    pool
        For example a set of sampler ``paper-eq2`` several times larger than the target.
    pool_values
        Label of each configuration of the pool; NaN where it has none.
    target_values
        Labels of the set to match; NaN where it has none.
    n
        Number of configurations to choose.
    seed
        Of the places within the target distribution.
    name
        Name of the new set, whose sample ids begin with it; ``<pool>-matched`` where empty.
    largest_uncovered_share
        Largest share of the target labels that may lie outside the range of the pool's.

    Raises
    ------
    ConfigurationError
        For an n that is not positive.
    DataError
        When the pool has too few labels, or does not cover the range of the target.
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.stats import ks_2samp

    labels, target, labelled = _checked(pool, pool_values, target_values, n)
    uncovered = float(((target < labels.min()) | (target > labels.max())).mean())
    if uncovered > largest_uncovered_share:
        raise DataError(
            f"the pool {pool.name!r} does not cover the target: {100 * uncovered:.1f} % of the target labels lie "
            f"outside its range {labels.min():.4g} to {labels.max():.4g} (at most "
            f"{100 * largest_uncovered_share:g} % may); label a pool with other amplitudes"
        )
    places = (np.arange(n) + stream(seed, "match-labels").random(n)) / n
    wanted = np.quantile(target, places)
    _, given = linear_sum_assignment((wanted[:, None] - labels[None]) ** 2)
    test = ks_2samp(labels[given], target, method="asymp")
    positions = np.sort(labelled[given])
    gap = float(np.abs(labels[given] - wanted).max())
    notes = _notes(pool, len(labels), n, float(test.statistic), float(test.pvalue), uncovered)
    holes = np.size(target_values) - len(target)
    if holes:
        notes = (*notes, f"{holes} of {np.size(target_values)} target labels are holes and are left out")
    return LabelMatch(
        configurations=replace(
            in_order([pool], positions), name=name or f"{pool.name}-matched", warnings=(*pool.warnings, *notes)
        ),
        positions=positions,
        values=np.asarray(pool_values, dtype=np.float64)[positions],
        ks_statistic=float(test.statistic),
        ks_p_value=float(test.pvalue),
        largest_gap=gap,
        uncovered_share=uncovered,
        warnings=notes,
    )


def _checked(
    pool: Configurations, pool_values: FloatArray, target_values: FloatArray, n: int
) -> tuple[FloatArray, FloatArray, IntArray]:
    """Return the pool's labels, the target's, and the positions of the labelled configurations."""
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
        raise ConfigurationError(f"the number of configurations to choose must be a positive integer; got {n!r}")
    values, target = np.asarray(pool_values, dtype=np.float64), np.asarray(target_values, dtype=np.float64)
    if values.shape != (len(pool),):
        raise DataError(f"pool_values must hold one label per configuration ({len(pool)}); got {values.shape}")
    labelled = np.flatnonzero(np.isfinite(values))
    target = target[np.isfinite(target)]
    if len(labelled) < n or len(target) == 0:
        raise DataError(
            f"choosing {n} configurations needs as many labels in the pool and at least one in the target; got "
            f"{len(labelled)} and {len(target)}"
        )
    if len(labelled) * n > LARGEST_ASSIGNMENT:
        raise DataError(
            f"choosing {n} of {len(labelled)} configurations is too large a problem (at most {LARGEST_ASSIGNMENT:.0e} "
            "pairs); choose fewer, or give a smaller pool"
        )
    return values[labelled], target, labelled


def _notes(
    pool: Configurations, labels: int, n: int, statistic: float, p_value: float, uncovered: float
) -> tuple[str, ...]:
    notes = [
        f"{n} of {labels} labelled configurations of set {pool.name!r} were chosen for their labels "
        f"(Kolmogorov–Smirnov distance to the target {statistic:.3f}, p = {p_value:.2g})"
    ]
    if p_value < SIGNIFICANT:
        notes.append(
            "the pool is too thin where the target is dense: the chosen labels are not distributed like the target's"
        )
    if uncovered > 0:
        notes.append(f"{100 * uncovered:.1f} % of the target labels lie outside the range of the pool")
    return tuple(notes)
