"""What every step gets and gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phonograph.config import Config
from phonograph.run_folder import RunFolder
from phonograph.streams import derive_seed
from phonograph.types import (
    Certificate,
    Configurations,
    Evaluation,
    Explanation,
    Fitted,
    GraphSet,
    Labels,
    LeakageAudit,
    Phonons,
    Progress,
    ThermalCurve,
)

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class RunResult:
    """Everything a run made or found finished; what was not asked for is None or empty."""

    folder: Path
    phonons: Phonons | None = None
    sets: tuple[Configurations, ...] = ()
    certificates: tuple[Certificate, ...] = ()
    labels: Labels | None = None
    graphs: GraphSet | None = None
    fits: tuple[Fitted, ...] = ()
    leakage: LeakageAudit | None = None
    evaluation: Evaluation | None = None
    explanation: Explanation | None = None
    curve: ThermalCurve | None = None
    report: Path | None = None
    summary: str = ""


def without_paths(table: Any) -> Any:
    """Leave out where files lie: their names and content, hashed, decide a result."""
    paths = ("file", "structures", "labels", "end_member_file", "equilibrium")
    if not isinstance(table, dict):
        return table
    return {key: Path(value).name if key in paths else without_paths(value) for key, value in table.items()}


@dataclass(frozen=True, kw_only=True, eq=False)
class Context:
    """The configuration, the run folder and how to tell the user.

    ``retry_classes`` are the failures of labels that are computed again; ``retry_failed`` says whether networks that
    failed in an earlier run of a study, a learning curve or the paper are trained again.
    """

    config: Config
    folder: RunFolder
    progress: Progress
    say: Say
    workers: int
    retry_classes: tuple[str, ...] = ()
    retry_failed: bool = False

    def seed(self, *names: str | int) -> int:
        """Return the 63-bit seed of a named stream of this run."""
        return derive_seed(self.config.seed, *names) % 2**63
