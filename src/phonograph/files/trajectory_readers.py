"""Trajectories of other programs: extended XYZ, ASE's .traj, XDATCAR, LAMMPS dumps, and our own parts."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from phonograph.errors import InputFileError
from phonograph.files.extxyz import extxyz_atoms
from phonograph.files.force_frames import FORCE_COLUMNS
from phonograph.files.frames import Frames, standard_masses, trajectory_of
from phonograph.files.safety import (
    MAX_SET_BYTES,
    check_elements,
    listed,
    read_bytes,
    read_text,
    reading,
    sha256_of,
    shown,
)
from phonograph.files.trajectories import load_part
from phonograph.files.trajectory_text import dump_frames, xdatcar_frames
from phonograph.files.vasprun import parse_vasprun
from phonograph.plain_json import read_json
from phonograph.types import MAX_ATOMS, Crystal, FloatArray, IntArray, Origin, Trajectory, join_trajectories
from phonograph.units import A_PER_PS

FORMATS = (
    "*.extxyz, *.xyz, *.traj, XDATCAR*, vasprun*.xml, *.lammpstrj, *.dump, dump.* (text also .gz, .xz), or a folder of "
    "part-*.npz"
)
"""The file names that are read as trajectories."""

_ENERGIES = ("energy", "REF_energy", "free_energy")
_PER_PS = {"velocities_A_per_ps": 1.0, "velocities_A_per_fs": 1000.0}
_NO_UNIT = ("velocities", "velocity", "velo", "vel")


def trajectory_format(path: str | os.PathLike[str]) -> str | None:
    """Return ``parts``, ``extxyz``, ``traj``, ``vasprun``, ``xdatcar`` or ``dump`` by the file's name, or None."""
    if Path(path).is_dir():
        return "parts"
    name = re.sub(r"\.(gz|xz)$", "", Path(path).name.lower())
    if name.startswith("vasprun") and name.endswith(".xml"):
        return "vasprun"
    if name.startswith("xdatcar") or name.endswith(".xdatcar"):
        return "xdatcar"
    if name.endswith((".extxyz", ".xyz")):
        return "extxyz"
    if name.endswith(".traj"):
        return "traj"
    return "dump" if name.endswith((".lammpstrj", ".dump")) or name.startswith("dump.") else None


def read_trajectory(
    path: str | os.PathLike[str],
    *,
    time_step_fs: float | None = None,
    step_fs: float | None = None,
    temperature_K: float | None = None,
    reference: Crystal | None = None,
) -> Trajectory:
    """Read molecular dynamics at constant volume; atoms keep the order of the file.

    Read are extended XYZ, ASE's ``.traj``, VASP's XDATCAR and vasprun.xml, text dumps of LAMMPS in metal units
    (atoms are sorted by id), and the folder of parts that ``phonograph`` writes.  Atoms that cross a face are followed
    by their nearest image.  Velocities, forces and energies are None where the file has none; nothing is derived.

    Parameters
    ----------
    path
        The file or folder; the format follows from the name.
    time_step_fs
        Time between two stored frames, fs.  Without it, and where the file does not say, it stays None.
    step_fs
        LAMMPS only: length of one integrator step, fs; the dump says how many steps lie between frames.
    temperature_K
        Temperature of the run, K.
    reference
        Crystal that names the elements, for files that do not (LAMMPS without ``element``, XDATCAR of VASP 4).

    Returns
    -------
    Trajectory
        Its warnings say where following an atom was uncertain, and which columns were left out.

    Raises
    ------
    InputFileError
        In one sentence: missing, truncated or unknown file, a cell that changes, uneven or contradictory times,
        values that are not finite, a time step that is not positive.
    """
    place, kind = shown(path), trajectory_format(path)
    for value, what in ((time_step_fs, "time_step_fs"), (step_fs, "step_fs"), (temperature_K, "temperature_K")):
        if value is not None and not (np.isfinite(value) and value > 0):
            raise InputFileError(f"{place}: {what} must be positive; got {value:g}")
    if step_fs is not None and kind != "dump":
        raise InputFileError(f"{place} is no LAMMPS dump, so step_fs says nothing; give time_step_fs, frame to frame")
    if kind == "parts":
        frames, inputs = _part_frames(path), sorted(Path(path).glob("part-*.npz"))
    elif kind == "traj":
        frames, inputs = _traj_frames(read_bytes(path, MAX_SET_BYTES), place), [Path(path)]
    elif kind == "vasprun":
        frames, inputs = _vasprun_frames(path), [Path(path)]
    elif kind is not None:
        text, inputs = read_text(path, MAX_SET_BYTES), [Path(path)]
        if not text.endswith("\n"):
            raise InputFileError(
                f"{place} does not end with a line break, so its last number may be cut; copy it again, or add one"
            )
        if kind == "extxyz":
            frames = _extxyz_frames(extxyz_atoms(text, place), place)
        else:
            frames = (
                dump_frames(text, place, reference, step_fs)
                if kind == "dump"
                else xdatcar_frames(text, place, reference)
            )
    else:
        raise InputFileError(f"{place} is not a known trajectory; the format follows from the name: {FORMATS}")
    origin = Origin(room="files", settings={"format": kind}, inputs={file.name: sha256_of(file) for file in inputs})
    return trajectory_of(frames, place, time_step_fs, temperature_K, origin, Path(path).name)


def _part_frames(folder: str | os.PathLike[str]) -> Frames:
    parts: list[Trajectory] = []
    index = 0
    while (part := load_part(Path(folder), index)) is not None:
        index += 1
        if part[0] is not None:
            parts.append(part[0])
    if not parts:
        raise InputFileError(f"{shown(folder)} holds no frames; expected part-00000.npz and so on, or name a file")
    whole = join_trajectories(parts)
    return Frames(
        cells_A=whole.cell_A[None],
        numbers=whole.numbers,
        positions_A=whole.positions_A,
        velocities_A_per_ps=whole.velocities_A_per_ps,
        forces_eV_per_A=whole.forces_eV_per_A,
        energies_eV=whole.energies_eV,
        masses_amu=whole.masses_amu,
        time_step_fs=whole.time_step_fs,
        temperature_K=whole.temperature_K,
        wrapped=False,
        notes=whole.warnings,
    )


def _vasprun_frames(path: str | os.PathLike[str]) -> Frames:
    """Read molecular dynamics of VASP, with forces and energies; vasprun.xml holds no velocities."""
    from ase.data import atomic_numbers

    run = parse_vasprun(path)
    check_elements(run.symbols, shown(path))
    # POTIM is the time between frames only if every step was written.
    dynamics = run.setting("IBRION") == 0 and run.setting("NSW") == len(run.steps)
    return Frames(
        cells_A=run.cells_A,
        numbers=np.array([atomic_numbers[symbol] for symbol in run.symbols], dtype=np.int64),
        positions_A=np.einsum("fia,fab->fib", run.fractional, run.cells_A),
        forces_eV_per_A=run.forces_eV_per_A,
        energies_eV=run.energies_eV,
        time_step_fs=run.setting("POTIM") if dynamics else None,
    )


def _extxyz_frames(images: Sequence[Any], place: str) -> Frames:
    first = images[0]
    for index, atoms in enumerate(images):
        if not np.array_equal(atoms.numbers, first.numbers):
            raise InputFileError(f"{place} frame {index} holds other atoms, or in another order, than frame 0")
    results = [{**atoms.info, **(atoms.calc.results if atoms.calc else {}), **atoms.arrays} for atoms in images]
    masses = first.get_masses()
    velocities, notes = _extxyz_velocities(results, masses, place)
    times = _all(results, ("time_fs",), ())
    return Frames(
        cells_A=np.array([np.asarray(atoms.cell) for atoms in images]),
        numbers=first.numbers,
        positions_A=np.array([atoms.positions for atoms in images]),
        velocities_A_per_ps=velocities,
        forces_eV_per_A=_all(results, FORCE_COLUMNS, (len(first), 3)),
        energies_eV=_all(results, _ENERGIES, ()),
        masses_amu=masses,
        times_fs=times,
        time_step_fs=_constant(results, "time_step_fs"),
        temperature_K=_constant(results, "temperature_K"),
        notes=notes,
    )


def _all(results: Sequence[dict[str, Any]], names: Sequence[str], shape: tuple[int, ...]) -> FloatArray | None:
    """Return what every frame holds under the first of ``names`` that all have in this shape, or None."""
    for name in names:
        if all(isinstance(one.get(name), (int, float, np.ndarray, np.number)) for one in results):
            values = [np.asarray(one[name]) for one in results]
            if all(value.shape == shape and value.dtype.kind in "fi" for value in values):
                return np.array(values, dtype=np.float64)
    return None


def _constant(results: Sequence[dict[str, Any]], name: str) -> float | None:
    values = _all(results, (name,), ())
    return float(values[0]) if values is not None and (values == values[0]).all() else None


def _extxyz_velocities(
    results: Sequence[dict[str, Any]], masses_amu: FloatArray, place: str
) -> tuple[FloatArray | None, tuple[str, ...]]:
    shape = (len(masses_amu), 3)
    momenta = _all(results, ("momenta",), shape)
    if momenta is not None:
        return momenta / masses_amu[:, None] * A_PER_PS, ()
    for name, factor in _PER_PS.items():
        values = _all(results, (name,), shape)
        if values is not None:
            return values * factor, ()
    if found := [name for name in _NO_UNIT if name in results[0]]:
        return None, (
            f"column {listed(found)} of {place} states no unit and was left out; name it velocities_A_per_ps, or write "
            "ASE's momenta",
        )
    return None, ()


def _traj_frames(data: bytes, place: str) -> Frames:
    """Read ASE's .traj: numbers only; constraints and calculators, which ASE would construct, are not touched."""
    with reading(place, "an ASE trajectory (.traj)"):
        reader = _plain_reader(data)
        if reader.get_tag() != "ASE-Trajectory" or len(reader) < 1:
            raise InputFileError(f"{place} is not an ASE trajectory with frames; write it again")
        header = reader[0]
        numbers = np.asarray(header.numbers, dtype=np.int64)
        if numbers.ndim != 1 or not 1 <= len(numbers) <= MAX_ATOMS or numbers.min() < 1 or numbers.max() > 118:
            raise InputFileError(f"{place} must hold 1 to {MAX_ATOMS} atoms with atomic numbers 1–118")
        if not np.asarray(header.pbc).all():
            raise InputFileError(f"{place} is not periodic in all directions; crystals need a lattice")
        items = [_traj_item(reader[index], numbers) for index in range(len(reader))]
    masses = _plain_array(header.masses) if "masses" in header else standard_masses(numbers)
    if masses.shape != numbers.shape or not (masses > 0).all():
        raise InputFileError(f"{place} must hold a positive mass for each of its {len(numbers)} atoms")
    momenta = _stacked(items, "momenta", (len(numbers), 3), place)
    return Frames(
        cells_A=_needed(items, "cell", (3, 3), place),
        numbers=numbers,
        positions_A=_needed(items, "positions", (len(numbers), 3), place),
        velocities_A_per_ps=None if momenta is None else momenta / masses[:, None] * A_PER_PS,
        forces_eV_per_A=_stacked(items, "forces", (len(numbers), 3), place),
        energies_eV=_stacked(items, "energy", (), place),
        masses_amu=masses,
    )


def _plain_reader(data: bytes) -> Any:
    """Return ASE's reader of its binary format on bytes, with JSON that stays plain dictionaries and lists."""
    from ase.io.ulm import Reader, readints

    class Plain(Reader):  # type: ignore[misc]
        def _read_data(self, index: int) -> Any:
            self._fd.seek(self._offsets[index])
            content = read_json(self._fd.read(int(readints(self._fd, 1)[0])))
            self._little_endian = content.pop("_little_endian", True)
            return content

    return Plain(io.BytesIO(data))


def _traj_item(item: Any, numbers: IntArray) -> dict[str, Any]:
    """Return positions, cell, momenta, forces and energy of one frame as far as it has them."""
    if "numbers" in item and not np.array_equal(np.asarray(item.numbers), numbers):
        raise InputFileError("the elements or their order change from frame to frame; give one run at a time")
    found = {name: _plain_array(item.get(name)) for name in ("positions", "cell", "momenta") if name in item}
    if "calculator" in item:
        calculator = item.calculator
        found |= {name: _plain_array(calculator.get(name)) for name in ("forces", "energy") if name in calculator}
    return found


def _plain_array(value: Any) -> Any:
    """Return an array that ASE wrote as JSON: ``{"__ndarray__": [shape, dtype, numbers]}``, maybe inside a cell."""
    if isinstance(value, dict) and "array" in value:
        value = value["array"]
    if isinstance(value, dict) and "__ndarray__" in value:
        shape, _, numbers = value["__ndarray__"]
        return np.array(numbers, dtype=np.float64).reshape(tuple(shape))
    return np.asarray(value, dtype=np.float64)


def _stacked(items: list[dict[str, Any]], name: str, shape: tuple[int, ...], place: str) -> FloatArray | None:
    if not all(name in item for item in items):
        return None
    if any(item[name].shape != shape for item in items):
        raise InputFileError(f"{place} holds {name} of another shape than {shape}; write the trajectory again")
    return np.array([item[name] for item in items], dtype=np.float64)


def _needed(items: list[dict[str, Any]], name: str, shape: tuple[int, ...], place: str) -> FloatArray:
    values = _stacked(items, name, shape, place)
    if values is None:
        raise InputFileError(f"{place} has frames without {name}; write the trajectory again")
    return values
