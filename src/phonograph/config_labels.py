"""``[labels]`` of the configuration: engines, and where their labels are computed and kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from phonograph.errors import ConfigurationError
from phonograph.execution.cluster_settings import ClusterSettings
from phonograph.labels import ChgnetLabeller, EmtLabeller, XtbLabeller
from phonograph.labels.engines.cp2k import Cp2kLabeller
from phonograph.labels.engines.espresso import EspressoLabeller
from phonograph.labels.engines.vasp import VaspLabeller
from phonograph.options import check_options, option
from phonograph.types import Labeller

__all__ = ["LABELLERS", "ClusterSettings", "LabelsConfig", "folding_engines", "with_files"]

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
        if self.check_folding and self.engines and not folding_engines(self.engines):
            raise ConfigurationError(
                "labels.check_folding is about gaps at Γ of the supercell, and no engine here gives one; remove it"
            )


def folding_engines(engines: Sequence[Any]) -> tuple[XtbLabeller, ...]:
    """Return what tests the folding: tblite as configured, and by its defaults for gaps that others take at Γ alone."""
    own = tuple(engine for engine in engines if isinstance(engine, XtbLabeller))
    at_gamma = any("band_gap_eV" in one.provides and tuple(getattr(one, "k_mesh", ())) == (1, 1, 1) for one in engines)
    return own or ((XtbLabeller(),) if at_gamma else ())


def with_files(engine: Any, moved: Callable[[str], str]) -> Any:
    """Return ``engine`` with every file and folder it reads renamed by ``moved``.

    Its own ``folder`` stays: that lies in the run, the others beside the configuration.
    """
    names = [item.name for item in fields(engine) if item.name.endswith(("_folder", "_file"))]
    found = {name: moved(getattr(engine, name)) for name in names if getattr(engine, name)}
    return replace(engine, **found) if found else engine
