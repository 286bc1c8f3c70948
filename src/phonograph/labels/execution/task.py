"""A few labels as one task of an executor, and what all of a run's tasks need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from phonograph.execution.deadline import LONGEST_CLOCK_S
from phonograph.execution.seam import Needs
from phonograph.labels.execution import entry
from phonograph.labels.task import Calculation, StructureBytes

GRACE_S = 15.0
"""A task that ends this much later than it should has lost its worker's own clock, s."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelTask:
    """A few structures, one calculation, and the result file that a worker will write.

    Attributes
    ----------
    calculation, structures
        What to label, as data; the worker takes the structures in this order.
    timeout_s
        Time limit of each label, s; the worker's process ends itself soon after it.
    result
        Absolute path of the result file, in a folder that driver and worker share; different for every task.
    """

    calculation: Calculation
    structures: tuple[StructureBytes, ...]
    timeout_s: float
    result: Path

    @property
    def text(self) -> str:
        """The task as JSON, for :func:`phonograph.labels.execution.entry.run_task` in whatever process."""
        timeout_s = min(self.timeout_s, LONGEST_CLOCK_S)
        return entry.describe_task(self.calculation, self.structures, timeout_s, self.result)

    @property
    def limit_s(self) -> float:
        """Time after which the task has certainly ended, s, counted from its start, engine loaded."""
        return entry.BATCH_S + min(self.timeout_s, LONGEST_CLOCK_S) + GRACE_S


def label_needs(calculations: Sequence[Calculation], labels: int, timeout_s: float) -> Needs:
    """Return what the tasks of ``labels`` labels need; all calculations take the same number of cores."""
    return Needs(
        prepare=tuple(entry.describe_preparation(item) for item in calculations),
        cores=calculations[0].cores,
        memory_GB=max(item.memory_GB for item in calculations),
        tasks=labels,
        longest_s=timeout_s + entry.BATCH_S + entry.TOO_LATE_S,
        what="label",
    )
