"""Room 1: force constants, harmonic or by a route to a temperature, and the molecular dynamics that a route needs."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from phonograph.atomic import write_text
from phonograph.audit_checks import audit_lines
from phonograph.config_files import plain_phonons
from phonograph.errors import ConfigurationError
from phonograph.files.force_constants import read_force_constants
from phonograph.files.phonons import load_phonons, save_phonons
from phonograph.files.structures import read_structure
from phonograph.files.trajectories import load_part, save_part
from phonograph.files.trajectory_readers import read_trajectory
from phonograph.phonons import ForceSource, MolecularDynamics, compute_phonons, relax
from phonograph.phonons.cells import as_supercell_matrix
from phonograph.phonons.dynamics import Part, dynamics_parts
from phonograph.phonons.engines import engine_versions
from phonograph.phonons.harmonic import supercell_of
from phonograph.steps.context import Context, RunResult, without_paths
from phonograph.tables import to_table
from phonograph.types import Crystal, FloatArray, Phonons, Progress, Trajectory, join_trajectories

KEPT = "at_*/*"
"""Files of phonons at further temperatures in the room's folder; each temperature has a record of its own."""

DYNAMICS = "molecular_dynamics"
"""Folder in room 1's where trajectories lie, one folder each, named by temperature and by what decides them."""


def phonons_step(context: Context, result: RunResult) -> RunResult:
    """Room 1: force constants, harmonic or renormalised; skipped where the user brings all sets."""
    config = context.config
    if not config.crystal.file:
        return result
    crystal = read_structure(config.path(config.crystal.file))
    names = [config.crystal.file, config.phonons.file]
    names += [config.phonons.trajectory.file] if config.phonons.trajectory is not None else []
    inputs = [path for name in names if name for path in _files(config.path(name))]

    def make(folder: Path) -> Phonons:
        phonons = phonons_at(context, crystal)
        save_phonons(phonons, folder)
        return phonons

    phonons = context.folder.room(
        "phonons",
        {
            "crystal": without_paths(to_table(config.crystal)),
            "phonons": without_paths(plain_phonons(config)),
            "seed": config.seed,
        },
        inputs=inputs,
        keep=[KEPT, DYNAMICS],
        make=make,
        load=load_phonons,
    )
    if not context.folder.only_load:
        for line in told(phonons):
            context.say(line)
    return replace(result, phonons=phonons)


def told(phonons: Phonons) -> list[str]:
    """Return what the run prints about its phonons: what the route found, and the audit of what is sampled."""
    if phonons.temperature_K is None:
        return audit_lines(phonons.audit) if phonons.audit is not None else []
    route = f"{phonons.method}, {phonons.temperature_K:g} K"
    verdict = {None: "", True: ", converged", False: ", not converged"}[phonons.converged]
    lowest, error = phonons.frequencies_THz[0], phonons.frequency_error_THz[0]
    harmonic = phonons.harmonic_frequencies_THz[0]
    found = f"lowest mode {lowest:.3f} ± {error:.3f} THz (harmonic {harmonic:.3f} THz)"
    audit = audit_lines(phonons.audit, of=route) if phonons.audit is not None else []
    return [f"{route}{verdict}: {found}", *audit]


def _files(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if entry.is_file()) if path.is_dir() else [path] * path.is_file()


def phonons_at(context: Context, crystal: Crystal, temperature_K: float | None = None) -> Phonons:
    """Compute phonons as configured, or renormalised at another temperature."""
    config = context.config
    forces = config.phonons.forces
    crystal = _relaxed(context, crystal)
    route = config.phonons.renormalisation
    if route is not None and temperature_K is not None:
        route = replace(route, temperature_K=temperature_K)
    constants = None
    if config.phonons.file:
        constants = read_force_constants(
            config.path(config.phonons.file), structure=crystal, supercell_matrix=config.crystal.matrix
        )
    trajectory = None
    if config.phonons.route not in ("", "self-consistent"):
        trajectory = trajectory_of(context, crystal, temperature_K)
    return compute_phonons(
        crystal,
        forces,
        config.crystal.matrix,
        force_constants=constants,
        renormalisation=route,
        trajectory=trajectory,
        seed=context.seed("phonons"),
        workers=context.workers,
        progress=context.progress,
    )


def _relaxed(context: Context, crystal: Crystal) -> Crystal:
    config = context.config
    if config.crystal.relaxation is None:
        return crystal
    return relax(crystal, config.phonons.forces, config.crystal.relaxation)


def run_trajectory(context: Context) -> Trajectory:
    """Return the trajectory of the run, for whoever samples it: read, or made as far as it is not there yet.

    Raises
    ------
    ConfigurationError
        Where the configuration names none.
    """
    crystal = read_structure(context.config.path(context.config.crystal.file))
    return trajectory_of(context, _relaxed(context, crystal))


def trajectory_of(context: Context, crystal: Crystal, temperature_K: float | None = None) -> Trajectory:
    """Return the trajectory of [phonons.trajectory], or run [phonons.molecular_dynamics].

    Parameters
    ----------
    crystal
        The unit cell, relaxed where that is configured.
    temperature_K
        Another temperature than the configured one.
    """
    phonons = context.config.phonons
    if phonons.trajectory is not None:
        given = phonons.trajectory
        return read_trajectory(
            context.config.path(given.file),
            time_step_fs=given.time_step_fs,
            step_fs=given.step_fs,
            temperature_K=given.temperature_K,
            reference=supercell_of(crystal, as_supercell_matrix(context.config.crystal.matrix, crystal)),
        )
    if phonons.molecular_dynamics is None:
        raise ConfigurationError(
            "there is no molecular dynamics; add [phonons.trajectory] with a file, or [phonons.molecular_dynamics]"
        )
    settings = phonons.molecular_dynamics
    if temperature_K is not None:
        settings = replace(settings, temperature_K=temperature_K)
    return _run(context, crystal, settings)


def _run(context: Context, crystal: Crystal, settings: MolecularDynamics) -> Trajectory:
    """Go on with molecular dynamics where it was, part by part; a longer duration only adds parts."""
    forces = context.config.phonons.forces
    supercell = supercell_of(crystal, as_supercell_matrix(context.config.crystal.matrix, crystal))
    seed = context.seed("phonons", "molecular dynamics")
    folder = _folder(context, supercell, settings, seed)
    made = continued(folder, supercell, forces, settings, seed=seed, progress=context.progress)
    return replace(
        made,
        title=supercell.title,
        origin=replace(
            made.origin, settings={DYNAMICS: to_table(settings)}, seed=seed, versions=engine_versions(forces)
        ),
    )


def continued(
    folder: Path,
    supercell: Crystal,
    forces: ForceSource,
    settings: MolecularDynamics,
    *,
    seed: int,
    progress: Progress | None = None,
) -> Trajectory:
    """Return the run whose parts lie in ``folder``, after making and saving those that are not there yet."""
    parts, after = _finished(folder)
    for part in dynamics_parts(supercell, forces, settings, seed=seed, after=after, progress=progress):
        state: dict[str, FloatArray | float] = {
            "step": part.step,
            "positions_A": part.positions_A,
            "momenta": part.momenta,
        }
        save_part(folder, len(parts), part.trajectory, state)
        parts.append(part.trajectory)
    # A run that was once longer holds more than is asked for.
    return join_trajectories([part for part in parts if part is not None]).frames(0, settings.frames)


def _folder(context: Context, supercell: Crystal, settings: MolecularDynamics, seed: int) -> Path:
    """Return the folder of a run; all that decides its frames, but for how many there are, is in its name."""
    decides: dict[str, Any] = {
        "forces": to_table(context.config.phonons.forces),
        "versions": engine_versions(context.config.phonons.forces),
        "molecular_dynamics": {key: value for key, value in to_table(settings).items() if key != "duration_ps"},
        "seed": seed,
        "supercell": {
            name: getattr(supercell, name).tolist() for name in ("cell_A", "positions_A", "numbers", "masses_amu")
        },
    }
    text = json.dumps(decides, sort_keys=True)
    name = f"{settings.temperature_K:g}K-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    folder = context.folder.path / "1_phonons" / DYNAMICS / name
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "settings.json").is_file():
        write_text(folder / "settings.json", json.dumps(decides, sort_keys=True, indent=1) + "\n")
    return folder


def _finished(folder: Path) -> tuple[list[Trajectory | None], Part | None]:
    """Return the parts that are there, and the state after the last of them."""
    parts: list[Trajectory | None] = []
    after = None
    while (found := load_part(folder, len(parts))) is not None:
        trajectory, state = found
        parts.append(trajectory)
        after = Part(
            trajectory=trajectory, step=int(state["step"]), positions_A=state["positions_A"], momenta=state["momenta"]
        )
    return parts, after
