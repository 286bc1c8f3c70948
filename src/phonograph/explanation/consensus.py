"""From runs over seeds and configurations to one importance per bond of the reference crystal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from phonograph.explanation.edges import UndirectedEdges, positions_of
from phonograph.types import BondImportance, FloatArray, IntArray

STABLE = 0.8
"""Median rank correlation between seeds above which an explanation is called stable."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Consensus:
    """Mean and standard deviation over runs of each reference bond that at least one configuration has.

    Attributes
    ----------
    rows
        Rows of the reference table, shape (m,).
    mean, sd
        Shape (m,); the standard deviation has n − 1 in its denominator and is 0 for bonds with a single run.
    by_run
        Importance per run and bond, NaN where the configuration lacks the bond, shape (runs, m).
    never, sometimes
        Reference bonds that no configuration, or not every configuration has within the cutoff.
    extra, extra_share
        Bonds, summed over configurations, that the reference does not have within the cutoff, and their share of
        all importance; they are not in the table.
    """

    rows: IntArray
    mean: FloatArray
    sd: FloatArray
    by_run: FloatArray
    never: int
    sometimes: int
    extra: int
    extra_share: float


def consensus(runs: Sequence[Sequence[FloatArray]], bonds: Sequence[UndirectedEdges], table: IntArray) -> Consensus:
    """Join runs.

    Parameters
    ----------
    runs
        Per seed and configuration, the importance of each bond.
    bonds
        Per configuration.
    table
        Bonds of the reference as rows (i, j, image).
    """
    place = [positions_of(edges.key, table) for edges in bonds]
    values = np.full((len(runs) * len(bonds), len(table)), np.nan)
    outside = total = 0.0
    for number, (row, importance) in enumerate((k, imp) for run in runs for k, imp in enumerate(run)):
        known = place[row] >= 0
        values[number, place[row][known]] = importance[known]
        outside += float(importance[~known].sum())
        total += float(importance.sum())
    seen = np.isfinite(values).sum(axis=0)
    rows = np.flatnonzero(seen)
    by_run = values[:, rows]
    mean = np.nansum(by_run, axis=0) / seen[rows]
    squares = np.nansum((by_run - mean) ** 2, axis=0)
    return Consensus(
        rows=rows,
        mean=mean,
        sd=np.sqrt(squares / np.maximum(seen[rows] - 1, 1)),
        by_run=by_run,
        never=int((seen == 0).sum()),
        sometimes=int(((seen > 0) & (seen < len(values))).sum()),
        extra=int(sum((rows_of < 0).sum() for rows_of in place)),
        extra_share=outside / total if total > 0 else 0.0,
    )


def stability(runs: Sequence[Sequence[FloatArray]]) -> float:
    """Return the median Spearman rank correlation of two seeds on the same configuration, over all pairs of seeds.

    NaN for a single seed, or where no run ranks its bonds at all.
    """
    from scipy.stats import rankdata  # slow to import

    correlations = []
    for place in range(len(runs[0])):
        ranks = [rankdata(run[place]) for run in runs]
        centred = [rank - rank.mean() for rank in ranks]
        for first in range(len(centred)):
            for second in range(first):
                a, b = centred[first], centred[second]
                norm = float(np.sqrt((a @ a) * (b @ b)))
                if norm > 0:
                    correlations.append(float(a @ b) / norm)
    return float(np.median(correlations)) if correlations else float("nan")


def by_bond_type(
    found: Consensus, pairs: Sequence[str], shell: IntArray, distance_A: FloatArray
) -> tuple[BondImportance, ...]:
    """Return the importance per species pair and shell, most important first.

    ``importance`` is the mean of the bonds' consensus, ``importance_sd`` the standard deviation over runs of the mean
    of the bonds a run has, ``share`` the part of the sum of all importances.

    Parameters
    ----------
    found
        Consensus of m bonds.
    pairs, shell, distance_A
        Species pair, shell and reference length of the same m bonds.
    """
    names = np.array(pairs)
    lines = []
    for pair, number in dict.fromkeys(zip(pairs, shell.tolist(), strict=True)):
        chosen = np.flatnonzero((names == pair) & (shell == number))
        of_run = [values[np.isfinite(values)].mean() for values in found.by_run[:, chosen] if np.isfinite(values).any()]
        line = BondImportance(
            species_pair=pair,
            shell=number,
            count=len(chosen),
            distance_A=float(distance_A[chosen].mean()),
            importance=float(found.mean[chosen].mean()),
            importance_sd=float(np.std(of_run, ddof=1)) if len(of_run) > 1 else 0.0,
            share=float(found.mean[chosen].sum() / found.mean.sum()) if found.mean.sum() > 0 else 0.0,
        )
        lines.append(line)
    return tuple(sorted(lines, key=lambda line: -line.importance))
