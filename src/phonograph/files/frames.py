"""What every reader of trajectories hands over: raw frames, and how they become one :class:`Trajectory`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from phonograph.errors import DataError, InputFileError
from phonograph.types import Crystal, FloatArray, IntArray, Origin, Trajectory

MAX_LENGTH_A = 1e6
"""Farthest coordinate accepted, Å: a drift of 1 Å per frame over a million frames."""

SAME_CELL_A = 1e-3
"""How far lattice vectors of two frames may be apart, Å: files round them."""

LARGE_STEP = 0.25
"""Motion between two frames, as a share of the cell, beyond which unwrapping is told to be uncertain."""

UNEVEN = 1e-4
"""How much the times between frames may differ, relative."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Frames:
    """Frames as a file holds them, in Å, Å/ps, eV/Å, eV, fs.

    Attributes
    ----------
    cells_A
        Lattice vectors of each frame as rows, shape (f, 3, 3).
    numbers
        Atomic numbers, shape (n,); the same in every frame.
    positions_A
        Cartesian, shape (f, n, 3).
    velocities_A_per_ps, forces_eV_per_A, energies_eV, masses_amu
        Shapes (f, n, 3), (f, n, 3), (f,), (n,), or None.
    times_fs
        Time of each frame, shape (f,), or None.
    time_step_fs, temperature_K
        Where the file says so itself.
    wrapped
        Whether atoms may jump from one face of the cell to the other.
    notes
        Sentences for the report.
    """

    cells_A: FloatArray
    numbers: IntArray
    positions_A: FloatArray
    velocities_A_per_ps: FloatArray | None = None
    forces_eV_per_A: FloatArray | None = None
    energies_eV: FloatArray | None = None
    masses_amu: FloatArray | None = None
    times_fs: FloatArray | None = None
    time_step_fs: float | None = None
    temperature_K: float | None = None
    wrapped: bool = True
    notes: tuple[str, ...] = ()


def trajectory_of(
    frames: Frames, place: str, time_step_fs: float | None, temperature_K: float | None, origin: Origin, title: str
) -> Trajectory:
    """Return frames as a :class:`Trajectory`: one cell, unwrapped, evenly spaced in time.

    Raises
    ------
    InputFileError
        Cells that change, values that are not finite, uneven or contradictory times, or a time step that is not
        positive.
    """
    positions, notes = frames.positions_A, frames.notes
    if not np.isfinite(positions).all():
        raise InputFileError(f"{place} holds {int((~np.isfinite(positions)).sum())} NaN or infinite coordinates")
    cell = _one_cell(frames, place)
    if frames.wrapped:
        positions, more = unwrapped(positions, cell, place)
        notes += more
    try:
        return Trajectory(
            cell_A=cell,
            numbers=frames.numbers,
            masses_amu=frames.masses_amu if frames.masses_amu is not None else standard_masses(frames.numbers),
            positions_A=positions,
            velocities_A_per_ps=frames.velocities_A_per_ps,
            forces_eV_per_A=frames.forces_eV_per_A,
            energies_eV=frames.energies_eV,
            time_step_fs=_agreed(time_step_fs, _time_step(frames, place), "time step of {:g} fs", place),
            temperature_K=_agreed(temperature_K, frames.temperature_K, "temperature of {:g} K", place),
            title=title,
            warnings=notes,
            origin=origin,
        )
    except DataError as error:
        raise InputFileError(f"{place}: {error}") from error


def standard_masses(numbers: IntArray) -> FloatArray:
    """Return ASE's standard atomic weights, amu."""
    from ase.data import atomic_masses

    return np.asarray(atomic_masses[numbers], dtype=np.float64)


def _one_cell(frames: Frames, place: str) -> FloatArray:
    first = frames.cells_A[0]
    # Beyond these, numbers overflow long before they mean anything.
    largest = max(float(np.abs(frames.cells_A).max()), float(np.abs(frames.positions_A).max()))
    if not largest <= MAX_LENGTH_A:
        raise InputFileError(f"{place} has coordinates of {largest:.3g} Å; at most {MAX_LENGTH_A:g} Å are accepted")
    if not abs(np.linalg.det(first)) > 1e-3:
        raise InputFileError(f"{place} has lattice vectors that span no volume; correct them")
    apart = np.abs(frames.cells_A - first).max(axis=(1, 2))
    worst = int(np.argmax(apart))
    if not float(apart[worst]) <= SAME_CELL_A:
        raise InputFileError(
            f"{place} has lattice vectors that change, by {apart[worst]:.4f} Å in frame {worst}; phonons need a fixed "
            "cell: run the dynamics at constant volume (NVT)"
        )
    return first


def unwrapped(positions_A: FloatArray, cell_A: FloatArray, place: str) -> tuple[FloatArray, tuple[str, ...]]:
    """Follow each atom from frame to frame by its nearest image, so that it never jumps across the cell.

    Returns
    -------
    tuple
        Positions, Å, shape (f, n, 3), and a sentence where an atom moves so far between two frames that the nearest
        image may be the wrong one.
    """
    fractions = np.linalg.solve(cell_A.T, positions_A.reshape(-1, 3).T).T.reshape(positions_A.shape)
    steps = np.diff(fractions, axis=0)
    turns = np.concatenate([np.zeros_like(fractions[:1]), np.cumsum(np.round(steps), axis=0)])
    largest = float(np.abs(steps - np.round(steps)).max(initial=0.0))
    notes: tuple[str, ...] = ()
    if largest > LARGE_STEP:
        notes = (
            f"an atom of {place} moves {largest:.2f} of the cell between two frames, so that following it across the "
            "faces of the cell is uncertain; store frames more often or unwrapped",
        )
    # Nothing is computed where nothing wrapped, so that files of unwrapped positions keep every digit.
    return (positions_A - turns @ cell_A if turns.any() else positions_A), notes


def _time_step(frames: Frames, place: str) -> float | None:
    if frames.times_fs is None or len(frames.times_fs) < 2:
        return frames.time_step_fs
    steps = np.diff(frames.times_fs)
    typical = float(np.median(steps))
    uneven = np.flatnonzero(np.abs(steps - typical) > UNEVEN * abs(typical))
    if len(uneven) or not typical > 0:
        index = int(uneven[0]) if len(uneven) else 0
        raise InputFileError(
            f"{place} is not evenly spaced in time: frame {index + 1} follows after {steps[index]:g} fs, others after "
            f"{typical:g} fs; give one uninterrupted run, without frames written twice"
        )
    return typical


def _agreed(given: float | None, found: float | None, what: str, place: str) -> float | None:
    if given is not None and not (np.isfinite(given) and given > 0):
        raise InputFileError(f"{place}: a {what.format(given)} was given; it must be positive")
    if given is not None and found is not None and abs(given - found) > UNEVEN * found:
        raise InputFileError(
            f"{place} says a {what.format(found)}, but a {what.format(given)} was given; leave it out or correct it"
        )
    return given if given is not None else found


def elements_of(reference: Crystal | None, size: int, place: str) -> IntArray:
    """Return the elements that the reference gives to a file without element symbols."""
    if reference is None:
        raise InputFileError(
            f"{place} does not name its elements; give the crystal (atoms in the same order) as the reference"
        )
    if len(reference) != size:
        raise InputFileError(
            f"{place} holds {size} atoms, but the reference crystal has {len(reference)}; give that supercell"
        )
    return reference.numbers
