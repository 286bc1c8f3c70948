"""``[labels]`` of the configuration: engines, and where their labels are computed and kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from phonograph.labels import ChgnetLabeller, EmtLabeller, XtbLabeller
from phonograph.labels.engines.cp2k import Cp2kLabeller
from phonograph.labels.engines.espresso import EspressoLabeller
from phonograph.labels.engines.vasp import VaspLabeller
from phonograph.labels.execution.cluster_settings import ClusterSettings
from phonograph.options import check_options, option
from phonograph.types import Labeller

__all__ = ["LABELLERS", "ClusterSettings", "LabelsConfig"]

LABELLERS: Mapping[str, type[Any]] = {
    "chgnet": ChgnetLabeller,
    "tblite": XtbLabeller,
    "emt": EmtLabeller,
    "cp2k": Cp2kLabeller,
    "vasp": VaspLabeller,
    "quantum-espresso": EspressoLabeller,
}
"""TOML name → labeller."""


@dataclass(frozen=True, kw_only=True)
class LabelsConfig:
    """``[labels]``: the engines that compute properties."""

    timeout_s: float = option(600.0, "A label that takes longer is stopped and becomes a named hole.", above=0.0)
    retry_failed: bool = option(False, "Compute labels again that failed in an earlier run.")
    store: str = option(
        "", "SQLite file that keeps the labels, relative to this TOML file; empty: in the run. Runs may share one."
    )
    check_folding: bool = option(
        False,
        "Test with tblite whether the supercell sees both band edges of the unit cell, and warn with the points it "
        "misses; costs about four labels.",
    )
    engines: tuple[Labeller, ...] = ()
    executor: ClusterSettings | None = None

    def __post_init__(self) -> None:
        check_options(self, "labels")
