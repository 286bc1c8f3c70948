"""Molecular dynamics of a supercell, in parts, so that a run killed at any moment goes on where it was.

ASE integrates the equations of motion; the random numbers of step i come from a stream named by (seed, i) alone.
A run that is continued from the end of a part is therefore the same, bit for bit, as one that was never stopped.

Sources: Bussi, Donadio, Parrinello, J. Chem. Phys. 126, 014101 (2007), doi:10.1063/1.2408420 (velocity rescaling);
Vanden-Eijnden & Ciccotti, Chem. Phys. Lett. 429, 310 (2006), doi:10.1016/j.cplett.2006.07.086 (ASE's Langevin).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from phonograph.errors import ConfigurationError, DataError
from phonograph.options import check_options, option
from phonograph.phonons.engines import Engine, engine_versions
from phonograph.phonons.source import ForceSource, describe
from phonograph.streams import stream
from phonograph.types import Crystal, FloatArray, Origin, Progress, Trajectory, join_trajectories
from phonograph.units import A_PER_PS

FRAMES_PER_PART = 100
"""Frames between two points at which a killed run can go on."""

EQUILIBRATION_FRICTION_PER_PS = 5.0
"""Friction of the Langevin thermostat that brings the crystal to temperature."""

TOO_HOT = 10.0
"""A kinetic temperature beyond this many times the target is a run that explodes: thermal fluctuations of even two
atoms do not get there."""

TOO_HOT_PER_ATOM_K = 3000.0
"""Added to that limit, divided by the number of atoms, K: forces at the start may heat a crystal that is very cold."""


@dataclass(frozen=True, kw_only=True)
class MolecularDynamics:
    """Classical molecular dynamics at constant volume.

    Langevin dynamics brings the crystal to temperature; the production run then keeps it there.  ``"bussi"`` rescales
    all velocities together and hardly disturbs the motion of a mode; ``"langevin"`` widens every line by its friction;
    ``"none"`` conserves the energy.

    Of these only ``"langevin"`` moves energy between modes.  Where anharmonicity hardly couples them, the others leave
    each mode with the energy that it has at the start, for times that blocks of one run do not see: error bars are then
    too small.  Repeat such a run with other seeds, or use ``"langevin"`` and regression.

    Raises
    ------
    ConfigurationError
        An option out of its range.
    """

    temperature_K: float = option(300.0, "Temperature of the run, K.", above=0.0, maximum=1.0e5)
    time_step_fs: float = option(2.0, "Time step of the integrator, fs.", above=0.0, maximum=20.0)
    duration_ps: float = option(20.0, "Length of the production run, ps.", above=0.0)
    equilibration_ps: float = option(2.0, "Langevin dynamics before the production run, ps.", minimum=0.0)
    stride: int = option(5, "Steps from one stored frame to the next.", minimum=1)
    thermostat: str = option("bussi", "Thermostat of the production run.", choices=("bussi", "langevin", "none"))
    relaxation_time_ps: float = option(
        1.0, "Relaxation time of the thermostat: bussi's time constant, or 1/friction of langevin, ps.", above=0.0
    )

    def __post_init__(self) -> None:
        check_options(self, "phonons.molecular_dynamics")
        if self.frames < 2:
            raise ConfigurationError(
                f"phonons.molecular_dynamics: {self.duration_ps:g} ps hold {self.frames} frames {self.frame_fs:g} fs "
                "apart; choose a longer duration_ps or a smaller stride"
            )

    @property
    def frame_fs(self) -> float:
        """Time between stored frames, fs."""
        return self.time_step_fs * self.stride

    @property
    def frames(self) -> int:
        """Stored frames of the production run."""
        return int(np.floor(self.duration_ps * 1000.0 / self.frame_fs + 1.0e-9))

    @property
    def equilibration_steps(self) -> int:
        """Steps before the production run."""
        return int(np.ceil(self.equilibration_ps * 1000.0 / self.time_step_fs - 1.0e-9))


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """Consecutive frames, and the state after the last of them, from which the run goes on.

    Attributes
    ----------
    trajectory
        The frames; None at the end of the equilibration, which keeps none.
    step
        Steps done since the start, equilibration included.
    positions_A, momenta
        State after that step, shape (n, 3); momenta in ASE's unit, √(eV amu), so that going on loses no bit.
    """

    trajectory: Trajectory | None
    step: int
    positions_A: FloatArray
    momenta: FloatArray


def molecular_dynamics(
    crystal: Crystal,
    forces: ForceSource,
    settings: MolecularDynamics | None = None,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> Trajectory:
    """Run molecular dynamics of a supercell in its fixed cell.

    Parameters
    ----------
    crystal
        The supercell, atoms at rest.
    forces
        Where forces come from.
    settings
        Temperature, time step, length and thermostat; defaults of :class:`MolecularDynamics` where None.
    seed
        Root seed of initial velocities and thermostat.
    progress
        Called as ``progress("phonons: molecular dynamics", step, steps)``.

    Returns
    -------
    Trajectory
        Positions, velocities, forces and energies of the production run.

    Raises
    ------
    DataError
        When the run explodes, or the engine returns NaN.
    """
    parts = dynamics_parts(crystal, forces, settings or MolecularDynamics(), seed=seed, progress=progress)
    return join_trajectories([part.trajectory for part in parts if part.trajectory is not None])


def dynamics_parts(
    crystal: Crystal,
    forces: ForceSource,
    settings: MolecularDynamics,
    *,
    seed: int = 0,
    after: Part | None = None,
    progress: Progress | None = None,
) -> Iterator[Part]:
    """Yield the run part by part; ``after`` is the last part of a run that was stopped."""
    atoms, engine = _atoms(crystal, forces, settings, seed, after)
    random = _StepRandom(seed)
    step = 0 if after is None else after.step
    last = settings.equilibration_steps + settings.frames * settings.stride
    frames: list[tuple[FloatArray, FloatArray, FloatArray, float]] = []
    with engine.quiet():
        while step < last:
            equilibrating = step < settings.equilibration_steps
            dynamics = _integrator(atoms, settings, random, equilibrating)
            end = min(settings.equilibration_steps if equilibrating else last, step + _part_steps(settings))
            while step < end:
                random.step = step
                dynamics.step()
                step += 1
                _check_temperature(atoms, settings)
                if not equilibrating and (step - settings.equilibration_steps) % settings.stride == 0:
                    frames.append(_frame(atoms))
                if progress is not None and (step % 20 == 0 or step == last):
                    progress("phonons: molecular dynamics", step, last)
            yield Part(
                trajectory=_trajectory(crystal, forces, settings, seed, frames) if frames else None,
                step=step,
                positions_A=atoms.get_positions(),
                momenta=atoms.get_momenta(),
            )
            frames = []


def _part_steps(settings: MolecularDynamics) -> int:
    return FRAMES_PER_PART * settings.stride


class _StepRandom:
    """What ASE's integrators ask for random numbers; those of a step depend on (seed, step) alone."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._generator: Any = None
        self._step = -1

    @property
    def step(self) -> int:
        return self._step

    @step.setter
    def step(self, step: int) -> None:
        self._step = step
        self._generator = stream(self._seed, "phonons", "molecular dynamics", step)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._generator, name)


def _atoms(
    crystal: Crystal, forces: ForceSource, settings: MolecularDynamics, seed: int, after: Part | None
) -> tuple[Any, Engine]:
    """Return the atoms in their first (or last reached) state, with a calculator that asks the engine."""
    from ase import Atoms, units
    from ase.calculators.calculator import Calculator, all_changes
    from ase.constraints import FixCom

    engine = Engine(forces)

    class Asked(Calculator):  # type: ignore[misc]
        implemented_properties = ("energy", "forces")

        def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
            super().calculate(atoms, properties, system_changes)
            energy, found, _ = engine.respond(np.array(atoms.cell), atoms.numbers, atoms.positions)
            self.results = {"energy": energy, "forces": found}

    atoms = Atoms(numbers=crystal.numbers, positions=crystal.positions_A, cell=crystal.cell_A, pbc=True)
    atoms.set_masses(crystal.masses_amu)
    atoms.calc = Asked()
    if after is not None:
        atoms.set_positions(after.positions_A)
        atoms.set_momenta(after.momenta)
        # Last, because a constraint would move what is set while it is there.
        atoms.set_constraint(FixCom())
        return atoms, engine
    spread = np.sqrt(settings.temperature_K * units.kB / crystal.masses_amu)[:, None]
    velocities = spread * stream(seed, "phonons", "molecular dynamics", "start").standard_normal((len(crystal), 3))
    drift = crystal.masses_amu @ velocities / crystal.masses_amu.sum()
    atoms.set_velocities(velocities - drift)
    atoms.set_constraint(FixCom())
    return atoms, engine


def _integrator(atoms: Any, settings: MolecularDynamics, random: _StepRandom, equilibrating: bool) -> Any:
    from ase import units
    from ase.md.bussi import Bussi
    from ase.md.langevin import Langevin
    from ase.md.verlet import VelocityVerlet

    step = settings.time_step_fs * units.fs
    if equilibrating or settings.thermostat == "langevin":
        per_ps = EQUILIBRATION_FRICTION_PER_PS if equilibrating else 1.0 / settings.relaxation_time_ps
        return Langevin(
            atoms,
            step,
            temperature_K=settings.temperature_K,
            friction=per_ps / (1000.0 * units.fs),
            fixcm=False,
            rng=random,
        )
    if settings.thermostat == "bussi":
        return Bussi(
            atoms,
            step,
            temperature_K=settings.temperature_K,
            taut=settings.relaxation_time_ps * 1000.0 * units.fs,
            rng=random,
        )
    return VelocityVerlet(atoms, step)


def _frame(atoms: Any) -> tuple[FloatArray, FloatArray, FloatArray, float]:
    return (
        atoms.get_positions(),
        atoms.get_velocities() * A_PER_PS,
        atoms.get_forces(apply_constraint=False),
        float(atoms.get_potential_energy()),
    )


def _check_temperature(atoms: Any, settings: MolecularDynamics) -> None:
    found = float(atoms.get_temperature())
    if not found < TOO_HOT * settings.temperature_K + TOO_HOT_PER_ATOM_K / len(atoms):
        raise DataError(
            f"the molecular dynamics run heated up to {found:.3g} K instead of {settings.temperature_K:g} K; "
            f"choose a time step below {settings.time_step_fs:g} fs, or check the forces"
        )


def _trajectory(
    crystal: Crystal,
    forces: ForceSource,
    settings: MolecularDynamics,
    seed: int,
    frames: list[tuple[FloatArray, FloatArray, FloatArray, float]],
) -> Trajectory:
    positions, velocities, found, energies = (np.array(column) for column in zip(*frames, strict=True))
    return Trajectory(
        cell_A=crystal.cell_A,
        numbers=crystal.numbers,
        masses_amu=crystal.masses_amu,
        positions_A=positions,
        velocities_A_per_ps=velocities,
        forces_eV_per_A=found,
        energies_eV=energies,
        time_step_fs=settings.frame_fs,
        temperature_K=settings.temperature_K,
        title=crystal.title,
        origin=Origin(
            room="phonons",
            settings={"forces": describe(forces), "molecular_dynamics": dataclasses.asdict(settings)},
            seed=seed,
            versions=engine_versions(forces),
        ),
    )
