"""FORCE_CONSTANTS, force_constants.hdf5 and FORCE_SETS: sizes are checked before anything is allocated."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phonograph.errors import InputFileError
from phonograph.files.phonopy_yaml import CalculatorUnits, force_constant_factor, scaled_dataset
from phonograph.files.safety import MAX_SET_BYTES, check_readable, read_text, reading, shown
from phonograph.plain_json import read_json
from phonograph.types import FloatArray

CHILD_SECONDS = 60
"""How long the reading of an HDF5 file may take; 288 MB take about a second."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RawForceConstants:
    """Force constants as a file holds them.

    Attributes
    ----------
    values_eV_per_A2
        Shape (n, n, 3, 3), full, or (m, n, 3, 3), compact: rows of the primitive cell's atoms only.
    rows
        Supercell index of each row, shape (m,), or None where the file does not say.
    """

    values_eV_per_A2: FloatArray
    rows: NDArray[np.int64] | None


def force_file_format(path: str | os.PathLike[str]) -> str:
    """Return ``phonopy``, ``extxyz``, ``hdf5``, ``force_constants`` or ``force_sets`` by the file's name.

    Raises
    ------
    InputFileError
        For any other name; content is never guessed.
    """
    name = Path(path).name
    suffixes = [suffix.lower() for suffix in Path(path).suffixes]
    if suffixes and suffixes[-1] in (".xz", ".gz"):
        suffixes.pop()
        compressed = True
    else:
        compressed = False
    last = suffixes[-1] if suffixes else ""
    if last in (".yaml", ".yml"):
        return "phonopy"
    if last in (".extxyz", ".xyz"):
        return "extxyz"
    if last in (".hdf5", ".h5") and not compressed:
        return "hdf5"
    for start in ("FORCE_CONSTANTS", "FORCE_SETS"):
        if name.upper().startswith(start) and not compressed:
            return start.lower()
    raise InputFileError(
        f"{shown(path)} is not a known file of force constants; the format follows from the name: "
        "phonopy*.yaml (also .xz, .gz), FORCE_CONSTANTS*, FORCE_SETS*, *.hdf5, *.extxyz"
    )


def read_force_constants_text(path: str | os.PathLike[str], atoms: int, units: CalculatorUnits) -> RawForceConstants:
    """Read FORCE_CONSTANTS, full or compact, of a supercell of ``atoms`` atoms.

    Layout: ``m n``, then for each of the m × n pairs its two 1-based indices and three rows of Φ.
    """
    place = shown(path)
    words = read_text(path, MAX_SET_BYTES).split("\n", 1)
    header = words[0].split()
    if not 1 <= len(header) <= 2 or not all(w.isascii() and w.isdigit() and len(w) < 10 for w in header):
        raise InputFileError(f"{place} line 1 must be one or two numbers of atoms; got {words[0].strip()[:60]!r}")
    rows, columns = int(header[0]), int(header[-1])
    check_size((rows, columns, 3, 3), atoms, place)
    tokens = words[1].split() if len(words) > 1 else []
    if len(tokens) != 11 * rows * columns:
        raise InputFileError(
            f"{place} announces {rows} × {columns} pairs, which is {11 * rows * columns} numbers, but holds "
            f"{len(tokens)}; it is truncated or not FORCE_CONSTANTS"
        )
    with reading(path, "FORCE_CONSTANTS"):
        table = np.array(tokens, dtype=np.float64).reshape(rows, columns, 11)
    if not (table[:, :, 1] == np.arange(1, columns + 1)).all() or not (table[:, :, 0] == table[:, :1, 0]).all():
        raise InputFileError(f"{place} must list the pairs in order, second index fastest; write it again with phonopy")
    values = table[:, :, 2:].reshape(rows, columns, 3, 3) * units.force_constant_eV_per_A2
    indices = table[:, 0, 0]
    if not ((indices >= 1) & (indices <= atoms)).all():
        raise InputFileError(f"{place} names atoms outside 1–{atoms}, the atoms of the supercell")
    return RawForceConstants(values_eV_per_A2=values, rows=indices.astype(np.int64) - 1)


def read_force_constants_hdf5(path: str | os.PathLike[str], atoms: int, units: CalculatorUnits) -> RawForceConstants:
    """Read force_constants.hdf5, full or compact, of a supercell of ``atoms`` atoms.

    The file's own ``physical_unit`` wins over the calculator's.  The file is opened in a child process, see
    :mod:`phonograph.files.hdf5_child`.
    """
    target = check_readable(path, MAX_SET_BYTES)
    place = shown(path)
    header, data = _from_child(target, atoms)
    if "refused" in header:
        raise InputFileError(f"{place}: {header['refused']}; write it with phonopy")
    shape = tuple(header["shape"])
    check_size(shape, atoms, place)
    factor = units.force_constant_eV_per_A2
    if header["unit"] is not None:
        factor = force_constant_factor(header["unit"], place)
    values = np.frombuffer(data, dtype="<f8").reshape(shape) * factor
    rows = None if header["rows"] is None else np.array(header["rows"], dtype=np.int64)
    return RawForceConstants(values_eV_per_A2=np.asarray(values, dtype=np.float64), rows=rows)


def _from_child(path: Path, atoms: int) -> tuple[dict[str, Any], bytes]:
    script = Path(__file__).with_name("hdf5_child.py")
    # -P keeps the folder of the script out of the module path: its neighbours must not shadow libraries.
    command = [sys.executable, "-P", str(script), str(path.resolve()), str(atoms)]
    try:
        result = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=CHILD_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise InputFileError(
            f"{shown(path)} was not read within {CHILD_SECONDS} s; it is damaged, write it again with phonopy"
        ) from error
    if result.returncode != 0:
        last = result.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or ["the library crashed"]
        raise InputFileError(
            f"{shown(path)} cannot be read as an HDF5 file of force constants: {' '.join(last[0].split())[:160]}; "
            "write it again with phonopy"
        )
    line, _, data = result.stdout.partition(b"\n")
    header: dict[str, Any] = read_json(line)
    return header, data


def check_size(shape: tuple[int, ...], atoms: int, place: str) -> None:
    """Raise :class:`InputFileError` unless ``shape`` is (m, atoms, 3, 3) with 1 ≤ m ≤ atoms."""
    if len(shape) != 4 or shape[1:] != (atoms, 3, 3) or not 1 <= shape[0] <= atoms:
        raise InputFileError(
            f"{place} holds force constants of shape {tuple(shape)}, but the supercell has {atoms} atoms: expected "
            f"({atoms}, {atoms}, 3, 3) or (atoms of the primitive cell, {atoms}, 3, 3); check supercell and structure"
        )


def read_force_sets(path: str | os.PathLike[str], atoms: int, units: CalculatorUnits) -> dict[str, Any]:
    """Read FORCE_SETS of type 1 (one displaced atom per supercell) or 2 (all displaced), as phonopy's dataset.

    Displacements in Å, forces in eV/Å.
    """
    place = shown(path)
    lines = [line for line in read_text(path, MAX_SET_BYTES).splitlines() if line.strip()]
    first = lines[0].split()
    if len(first) == 1:
        _check_type_1(lines, atoms, place)
    elif len(first) != 6:
        raise InputFileError(
            f"{place} line 1 must be the number of atoms (type 1) or six numbers (type 2); got {lines[0][:60]!r}"
        )
    elif len(lines) % atoms:
        raise InputFileError(
            f"{place} holds {len(lines)} lines, not a multiple of the supercell's {atoms} atoms; check the supercell, "
            "or copy the file again"
        )
    with reading(path, "FORCE_SETS"):
        from phonopy.file_IO import parse_FORCE_SETS_from_strings

        dataset = parse_FORCE_SETS_from_strings("\n".join(lines), natom=atoms)
    return scaled_dataset(dict(dataset), units, place)


def _check_type_1(lines: list[str], atoms: int, place: str) -> None:
    header = [line.strip() for line in lines[:2]]
    if len(header) < 2 or not all(word.isascii() and word.isdigit() and len(word) < 10 for word in header):
        raise InputFileError(f"{place} must start with the numbers of atoms and of displacements; got {header}")
    size, count = int(header[0]), int(header[1])
    if size != atoms:
        raise InputFileError(
            f"{place} holds forces on {size} atoms, but the supercell has {atoms}; check the supercell and structure"
        )
    if count < 1 or len(lines) != 2 + count * (size + 2):
        raise InputFileError(
            f"{place} announces {count} displacements, which is {2 + count * (size + 2)} lines, but holds "
            f"{len(lines)}; copy it again"
        )
