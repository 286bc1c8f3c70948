"""Trajectories on disk: parts of a molecular dynamics run, each written atomically, so that a killed run goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from phonograph.atomic import replacing
from phonograph.errors import DataError, InputFileError
from phonograph.files.safety import MAX_SET_BYTES, check_readable, reading, shown
from phonograph.types import FloatArray, Origin, Trajectory

PART = "part-{:05d}.npz"

_OPTIONAL = ("velocities_A_per_ps", "forces_eV_per_A", "energies_eV")
_ARRAYS = ("cell_A", "numbers", "masses_amu", "positions_A", *_OPTIONAL)
_SCALARS = ("time_step_fs", "temperature_K")


def save_part(
    folder: str | Path, index: int, trajectory: Trajectory | None, state: dict[str, FloatArray | float]
) -> None:
    """Write part ``index`` of a run: its frames (None: the equilibration) and the state from which the run goes on.

    Parameters
    ----------
    folder
        Made if missing.
    index
        0, 1, 2, …
    trajectory
        The frames of this part.
    state
        Numbers and arrays by name.
    """
    arrays: dict[str, Any] = {f"state.{name}": np.asarray(value) for name, value in state.items()}
    if trajectory is not None:
        for name in (*_ARRAYS, *_SCALARS):
            value = getattr(trajectory, name)
            if value is not None:
                arrays[name] = np.asarray(value)
    Path(folder).mkdir(parents=True, exist_ok=True)
    with replacing(Path(folder) / PART.format(index)) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays)


def load_part(folder: str | Path, index: int) -> tuple[Trajectory | None, dict[str, FloatArray]] | None:
    """Return part ``index`` of a run, or None where it was not written."""
    path = Path(folder) / PART.format(index)
    if not path.is_file():
        return None
    with reading(check_readable(path, MAX_SET_BYTES), "a part of a trajectory (.npz)"):
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: np.asarray(archive[name]) for name in archive.files}
    state = {name.removeprefix("state."): value for name, value in arrays.items() if name.startswith("state.")}
    if "positions_A" not in arrays:
        return None, state
    try:
        values: dict[str, Any] = {name: arrays[name] for name in _ARRAYS if name in arrays}
        values |= {name: float(arrays[name]) for name in _SCALARS if name in arrays}
        return Trajectory(origin=Origin(room="phonons"), **values), state
    except (DataError, TypeError) as error:
        raise InputFileError(f"{shown(path)} does not hold a part of a trajectory: {error}; delete it") from error
