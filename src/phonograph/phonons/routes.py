"""The three routes from harmonic force constants to those of a temperature, with one kind of result.

* self-consistent (:mod:`phonograph.phonons.renormalise`): needs forces; quantum or classical;
* mode projection (:mod:`phonograph.phonons.projection`): needs a trajectory; classical; also gives line widths;
* regression (:mod:`phonograph.phonons.regression`): needs a trajectory or an ensemble with forces; classical.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from phonograph.errors import ConfigurationError, DataError
from phonograph.phonons.evaluate import ForceField
from phonograph.phonons.projection import project
from phonograph.phonons.regression import regress
from phonograph.phonons.renormalise import renormalise
from phonograph.phonons.settings import ForceRegression, ModeProjection, Renormalisation
from phonograph.types import Crystal, FloatArray, Progress, RenormalisationRound, Trajectory
from phonograph.units import A_PER_PS, BOLTZMANN_EV_PER_K

Route = Renormalisation | ModeProjection | ForceRegression
"""Settings of a route; their type says which."""

METHODS: Mapping[type[Any], str] = {
    Renormalisation: "self-consistent",
    ModeProjection: "mode-projection",
    ForceRegression: "regression",
}

SAME_TEMPERATURE = 1.0e-3
"""Two temperatures whose ratio is nearer to 1 than this are the same."""

KINETIC_WARNING = 0.1
"""A kinetic temperature further than this share from the stated one is told."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Followed:
    """What a route found; see :class:`phonograph.types.Phonons` for the meaning of the fields."""

    method: str
    temperature_K: float
    values_eV_per_A2: FloatArray
    frequencies_THz: FloatArray
    errors_THz: FloatArray
    warnings: tuple[str, ...]
    widths_THz: FloatArray | None = None
    width_errors_THz: FloatArray | None = None
    curvature_THz: FloatArray | None = None
    curvature_errors_THz: FloatArray | None = None
    rounds: tuple[RenormalisationRound, ...] = ()
    converged: bool | None = None
    measured: Mapping[str, Any] = field(default_factory=dict)


def check_route(route: Route | None, trajectory: Trajectory | None, forces: object) -> None:
    """Refuse a route without what it needs, and a trajectory that no route would look at.

    Raises
    ------
    ConfigurationError
        One sentence that says what to pass.
    """
    if isinstance(route, (ModeProjection, ForceRegression)):
        if trajectory is None:
            raise ConfigurationError(
                f"the route {METHODS[type(route)]!r} needs a trajectory; pass trajectory=read_trajectory(FILE), or "
                "trajectory=molecular_dynamics(supercell, forces)"
            )
        return
    if trajectory is not None:
        raise ConfigurationError(
            "a trajectory has no effect without a route that uses it; pass renormalisation=ModeProjection() or "
            "ForceRegression()"
        )
    if route is not None and forces is None:
        raise ConfigurationError("renormalisation needs forces; pass forces=CalculatorForces(engine='chgnet')")


def self_consistent(
    supercell: Crystal,
    start_eV_per_A2: FloatArray,
    route: Renormalisation,
    field: ForceField,
    seed: int,
    progress: Progress | None,
) -> Followed:
    """Follow the self-consistent route."""
    found = renormalise(supercell, start_eV_per_A2, route, field, seed=seed, progress=progress)
    return Followed(
        method=METHODS[Renormalisation],
        temperature_K=route.temperature_K,
        values_eV_per_A2=found.values_eV_per_A2,
        frequencies_THz=found.frequencies_THz,
        errors_THz=found.errors_THz,
        rounds=found.rounds,
        converged=found.converged,
        warnings=found.warnings,
        curvature_THz=found.curvature.frequencies_THz if found.curvature is not None else None,
        curvature_errors_THz=found.curvature.errors_THz if found.curvature is not None else None,
        measured={"statistics": route.statistics},
    )


def from_trajectory(
    supercell: Crystal,
    harmonic_eV_per_A2: FloatArray | None,
    route: ModeProjection | ForceRegression,
    trajectory: Trajectory,
    progress: Progress | None,
) -> Followed:
    """Follow a route that takes a trajectory; ``harmonic_eV_per_A2`` gives the modes of the mode projection."""
    temperature, sentences = _temperature(route, trajectory)
    kind = {"statistics": "classical", "frames": len(trajectory), "frame_fs": trajectory.time_step_fs}
    if isinstance(route, ForceRegression):
        fitted = regress(supercell, trajectory, route)
        return Followed(
            method=METHODS[ForceRegression],
            temperature_K=temperature,
            values_eV_per_A2=fitted.values_eV_per_A2,
            frequencies_THz=fitted.frequencies_THz,
            errors_THz=fitted.errors_THz,
            warnings=(*sentences, *fitted.warnings),
            measured={**kind, **{f"fitted_{name}": value for name, value in fitted.summary().items()}},
        )
    assert harmonic_eV_per_A2 is not None
    found = project(supercell, harmonic_eV_per_A2, trajectory, route, progress)
    return Followed(
        method=METHODS[ModeProjection],
        temperature_K=temperature,
        values_eV_per_A2=found.values_eV_per_A2,
        frequencies_THz=found.frequencies_THz,
        errors_THz=found.errors_THz,
        widths_THz=found.widths_THz,
        width_errors_THz=found.width_errors_THz,
        warnings=(*sentences, *found.warnings),
        measured={**kind, **found.summary()},
    )


def _temperature(route: ModeProjection | ForceRegression, trajectory: Trajectory) -> tuple[float, tuple[str, ...]]:
    """Return the temperature of the trajectory, and a sentence where its velocities say otherwise."""
    asked, stated = route.temperature_K, trajectory.temperature_K
    if asked is not None and stated is not None and abs(asked / stated - 1.0) > SAME_TEMPERATURE:
        raise DataError(
            f"the trajectory is of {stated:g} K, but {asked:g} K is asked for; leave temperature_K out, or give the "
            "trajectory of that temperature"
        )
    temperature = asked if asked is not None else stated
    if temperature is None:
        raise DataError(
            "the trajectory does not say its temperature; give temperature_K to the route or when reading the file"
        )
    kinetic = kinetic_temperature(trajectory)
    if kinetic is None or abs(kinetic / temperature - 1.0) <= KINETIC_WARNING:
        return temperature, ()
    return temperature, (
        f"the velocities of the trajectory are those of {kinetic:.4g} K, not of {temperature:g} K: is the temperature "
        "right, and the unit of the velocities?",
    )


def kinetic_temperature(trajectory: Trajectory) -> float | None:
    """Return ⟨Σ m v²⟩ / ((3n − 3) k), K, relative to the centre of mass; None without velocities."""
    velocities = trajectory.velocities_A_per_ps
    if velocities is None or len(trajectory.numbers) < 2:
        return None
    masses = trajectory.masses_amu
    drift = np.einsum("tia,i->ta", velocities, masses / masses.sum())
    twice = float(((velocities - drift[:, None]) ** 2 * masses[:, None]).sum(axis=(1, 2)).mean()) / A_PER_PS**2
    return twice / ((3 * len(masses) - 3) * BOLTZMANN_EV_PER_K)


def describe_route(route: Route) -> dict[str, Any]:
    """Return the settings of a route as plain values, with its name."""
    return {"route": METHODS[type(route)], **dataclasses.asdict(route)}
