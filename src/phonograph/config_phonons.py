"""``[phonons]`` of the configuration: force constants, the route to a temperature, and its molecular dynamics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from phonograph.errors import ConfigurationError
from phonograph.options import check_options, option
from phonograph.phonons import (
    CalculatorForces,
    ForceRegression,
    ModeProjection,
    MolecularDynamics,
    Renormalisation,
)

ROUTES: Mapping[str, type[Any]] = {
    "self-consistent": Renormalisation,
    "mode-projection": ModeProjection,
    "regression": ForceRegression,
}
"""TOML name → settings of a route to phonons at temperature."""


@dataclass(frozen=True, kw_only=True)
class TrajectoryConfig:
    """``[phonons.trajectory]``: molecular dynamics you already have."""

    file: str = option(
        "", "Molecular dynamics of the supercell: extxyz, ASE .traj, XDATCAR, LAMMPS dump, or a folder of parts."
    )
    time_step_fs: float | None = option(
        None, "Time between two stored frames, fs; not given: what the file says.", above=0.0
    )
    step_fs: float | None = option(None, "LAMMPS dumps: length of one integrator step, fs.", above=0.0)
    temperature_K: float | None = option(None, "Temperature, K; not given: what the file says.", above=0.0)

    def __post_init__(self) -> None:
        check_options(self, "phonons.trajectory")
        if not self.file:
            raise ConfigurationError("[phonons.trajectory] needs a file; name one, or remove the table")


@dataclass(frozen=True, kw_only=True)
class PhononsConfig:
    """``[phonons]``: where force constants come from."""

    file: str = option(
        "",
        "Force constants you already have: phonopy.yaml, phonopy_params.yaml (also .xz), FORCE_CONSTANTS, "
        "FORCE_SETS, force_constants.hdf5, or displaced supercells with forces (.extxyz); empty: finite displacements "
        "with [phonons.forces].",
    )
    forces: CalculatorForces = field(default_factory=CalculatorForces)
    renormalisation: Renormalisation | ModeProjection | ForceRegression | None = None
    trajectory: TrajectoryConfig | None = None
    molecular_dynamics: MolecularDynamics | None = None

    def __post_init__(self) -> None:
        _check_route(self)

    @property
    def route(self) -> str:
        """Name of the route of ``renormalisation``; empty where there is none."""
        return next((name for name, cls in ROUTES.items() if type(self.renormalisation) is cls), "")


def _check_route(phonons: PhononsConfig) -> None:
    """Refuse a route without a trajectory, and two sources of one."""
    if phonons.trajectory is not None and phonons.molecular_dynamics is not None:
        raise ConfigurationError(
            "[phonons.trajectory] and [phonons.molecular_dynamics] are two sources of one trajectory; keep one"
        )
    if phonons.route in ("", "self-consistent"):
        return
    asked = getattr(phonons.renormalisation, "temperature_K", None)
    if phonons.molecular_dynamics is not None:
        made = phonons.molecular_dynamics.temperature_K
        if asked is not None and asked != made:
            raise ConfigurationError(
                f"phonons.renormalisation.temperature_K = {asked:g}, but [phonons.molecular_dynamics] runs at {made:g} "
                "K; leave the first out"
            )
    elif phonons.trajectory is None:
        raise ConfigurationError(
            f'phonons.renormalisation.route = "{phonons.route}" needs molecular dynamics; add [phonons.trajectory] '
            "with a file, or [phonons.molecular_dynamics] to run it"
        )
