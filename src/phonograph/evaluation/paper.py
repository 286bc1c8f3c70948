"""The authors' filtered cross-test, beside the full one: what it leaves out is counted and told.

Source: Benítez et al., Why Physics Still Matters (2026), arXiv:2511.15222, and the authors' public scripts: test
labels outside the range of the training labels and gaps below 0.4 eV are removed, models with R² < −1 not shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from phonograph.evaluation.scoring import in_range
from phonograph.types import REFERENCES, Metric, Predictions

GAP_TARGET = "band_gap_eV"
MINIMUM_GAP_EV = 0.4
MINIMUM_R2 = -1.0


@dataclass(kw_only=True)
class PaperFilter:
    """Applies the filter and counts what it removes.

    Attributes
    ----------
    tested, outside, small
        Predictions seen, outside the training range, and (inside it) with a gap below 0.4 eV.
    dropped
        Lines of networks with R² < −1.
    """

    tested: int = 0
    outside: int = 0
    small: int = 0
    dropped: list[Metric] = field(default_factory=list)

    def narrow(self, predictions: Predictions, train_range: tuple[float, float]) -> Predictions:
        """Return the predictions whose label is in the training range and, for gaps, at least 0.4 eV."""
        inside = in_range(predictions.truth, train_range)
        small = inside & (predictions.truth < MINIMUM_GAP_EV) & (predictions.target == GAP_TARGET)
        self.tested += len(inside)
        self.outside += int((~inside).sum())
        self.small += int(small.sum())
        kept = np.flatnonzero(inside & ~small)
        return replace(
            predictions,
            sample_ids=tuple(predictions.sample_ids[position] for position in kept),
            truth=predictions.truth[kept],
            prediction=predictions.prediction[kept],
        )

    def keep(self, metrics: Sequence[Metric]) -> tuple[Metric, ...]:
        """Return the ``in_range`` lines without networks of R² < −1; references always stay."""
        lines = [metric for metric in metrics if metric.scope == "in_range"]
        bad = [line for line in lines if line.model not in REFERENCES and line.r2 < MINIMUM_R2]
        self.dropped += bad
        return tuple(line for line in lines if line not in bad)

    def sentences(self) -> Iterator[str]:
        """Yield what was left out, with counts."""
        yield (
            f"paper filter: of {self.tested} test predictions, {self.outside} with a label outside the training range "
            f"and {self.small} with a band gap below {MINIMUM_GAP_EV} eV are left out"
        )
        if self.dropped:
            names = ", ".join(f"{line.model} on {line.tested_on!r} ({line.r2:.2f})" for line in self.dropped)
            yield f"paper filter: {len(self.dropped)} results with R² < {MINIMUM_R2:g} are left out: {names}"
