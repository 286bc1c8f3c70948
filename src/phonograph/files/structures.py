"""Structures: POSCAR, CIF, extended XYZ and the unit cell of phonopy's YAML, chosen by the file's name."""

from __future__ import annotations

import os
import re
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from phonograph.atomic import write_text
from phonograph.errors import DataError, InputFileError
from phonograph.files.cif import cif_atoms
from phonograph.files.extxyz import extxyz_atoms
from phonograph.files.overlap import first_overlap
from phonograph.files.poscar import poscar_atoms
from phonograph.files.safety import MAX_SET_BYTES, MAX_STRUCTURE_BYTES, check_readable, read_text, shown
from phonograph.types import MAX_ATOMS, MIN_DISTANCE_A, Crystal, FloatArray

MAX_LENGTH_A = 1e5
"""Longest lattice vector and farthest coordinate accepted, Å: ten micrometres."""

FORMATS = "POSCAR*, CONTCAR*, *.vasp, *.poscar, *.cif, *.extxyz, *.xyz, phonopy*.yaml (also .xz, .gz)"
"""The file names that are read as structures."""

_SUFFIXES = {
    ".vasp": "poscar",
    ".poscar": "poscar",
    ".cif": "cif",
    ".extxyz": "extxyz",
    ".xyz": "extxyz",
    ".yaml": "phonopy",
    ".yml": "phonopy",
}


def structure_format(path: str | os.PathLike[str]) -> str | None:
    """Return ``poscar``, ``cif``, ``extxyz`` or ``phonopy`` by the file's name, or None; content is never guessed."""
    name = Path(path).name.lower()
    plain = re.sub(r"(\.ya?ml)\.(xz|gz)$", r"\1", name)
    known = _SUFFIXES.get(Path(plain).suffix)
    if known is None and re.match(r"s?poscar|contcar", name):
        return "poscar"
    return known


def read_structure(path: str | os.PathLike[str]) -> Crystal:
    """Read one crystal; atoms keep the order of the file.

    Read are POSCAR and CONTCAR (with element symbols), CIF (expanded by its symmetry operations), extended XYZ with
    one frame, and the unit cell of phonopy's YAML (also ``.xz``, ``.gz``).  The format follows from the name.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    Crystal
        Cell and positions in Å; the title is the file's comment line, else its name.

    Raises
    ------
    InputFileError
        In one sentence: missing, empty, truncated, unknown format or element, NaN or infinite coordinates,
        overlapping atoms, not periodic, singular cell, partial occupancy, several structures, too many atoms.
    """
    crystals = read_structures(path)
    if len(crystals) != 1:
        raise InputFileError(f"{shown(path)} holds {len(crystals)} structures; expected one; write the one to use")
    return crystals[0]


def read_structures(path: str | os.PathLike[str]) -> list[Crystal]:
    """Read every crystal of a file: all frames of extended XYZ, the one of any other format.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    InputFileError
        As :func:`read_structure`, naming the frame.
    """
    kind = structure_format(path)
    if kind == "phonopy":
        from phonograph.files.phonopy_yaml import read_phonopy_yaml

        return [read_phonopy_yaml(path).crystal]
    atoms = read_atoms(path)
    if kind == "poscar":
        return [crystal_from_atoms(atoms[0], shown(path), atoms[0].info["comment"] or Path(path).name)]
    places = [shown(path) if len(atoms) == 1 else f"{shown(path)} frame {i}" for i in range(len(atoms))]
    return [crystal_from_atoms(one, place, Path(path).name) for one, place in zip(atoms, places, strict=True)]


def read_atoms(path: str | os.PathLike[str]) -> list[Any]:
    """Return the ASE ``Atoms`` of a POSCAR, CIF or extended XYZ file, with ``info`` and arrays; checks as above.

    Atoms are not yet checked for overlaps and finiteness; :func:`crystal_from_atoms` does that.
    """
    kind = structure_format(path)
    if kind not in ("poscar", "cif", "extxyz"):
        check_readable(path)
        raise InputFileError(
            f"{shown(path)} is not a known structure file; the format follows from the name: {FORMATS}"
        )
    text = read_text(path, MAX_SET_BYTES if kind == "extxyz" else MAX_STRUCTURE_BYTES)
    if kind == "extxyz":
        return extxyz_atoms(text, shown(path))
    return [poscar_atoms(text, shown(path)) if kind == "poscar" else cif_atoms(text, shown(path))]


def crystal_from_atoms(atoms: Any, place: str, title: str) -> Crystal:
    """Check ASE ``Atoms`` that came from a file and return them as a :class:`Crystal`.

    Masses are those of the file where it gives any, else standard atomic weights.
    """
    return checked_crystal(
        np.asarray(atoms.cell),
        atoms.positions,
        atoms.numbers,
        atoms.get_masses() if atoms.has("masses") else None,
        place,
        title,
    )


def checked_crystal(cell_A: Any, positions_A: Any, numbers: Any, masses_amu: Any, place: str, title: str) -> Crystal:
    """Make a :class:`Crystal`, and one sentence that names ``place`` where the data cannot be one.

    Parameters
    ----------
    cell_A, positions_A
        Å, shapes (3, 3) and (n, 3).
    numbers
        Atomic numbers, shape (n,).
    masses_amu
        Shape (n,), or None for standard atomic weights.
    place
        File (and frame), for messages.
    title
        Title of the crystal.

    Raises
    ------
    InputFileError
        NaN or infinite values, a singular or implausibly large cell, overlapping atoms, unknown elements, or
        more than :data:`MAX_ATOMS` atoms.
    """
    cell, positions = np.asarray(cell_A, dtype=np.float64), np.asarray(positions_A, dtype=np.float64)
    _check_plausible(cell, positions, place)
    if len(positions) > MAX_ATOMS:
        raise InputFileError(f"{place} holds {len(positions)} atoms; at most {MAX_ATOMS} are accepted")
    try:
        masses = np.zeros(0) if masses_amu is None else masses_amu  # empty: standard atomic weights
        crystal = Crystal(cell_A=cell, positions_A=positions, numbers=numbers, masses_amu=masses, title=title)
    except DataError as error:
        raise InputFileError(f"{place} is not a crystal: {error}") from error
    pair = first_overlap(crystal.cell_A, crystal.positions_A, MIN_DISTANCE_A)
    if pair is not None:
        i, j, distance = pair
        symbols = crystal.symbols
        raise InputFileError(
            f"{place}: atoms {i + 1} ({symbols[i]}) and {j + 1} ({symbols[j]}) are {distance:.3f} Å apart, periodic "
            f"images counted; at least {MIN_DISTANCE_A:g} Å are expected; remove the copy or correct the cell"
        )
    return crystal


def _check_plausible(cell: FloatArray, positions: FloatArray, place: str) -> None:
    bad = np.flatnonzero(~np.isfinite(positions).all(axis=1))
    if not np.isfinite(cell).all():
        raise InputFileError(f"{place} has NaN or infinite lattice vectors; correct them")
    if len(bad):
        raise InputFileError(f"{place} has NaN or infinite coordinates ({len(bad)} atoms, the first is {bad[0] + 1})")
    largest = max(float(np.abs(cell).max()), float(np.abs(positions).max(initial=0.0)))
    if largest > MAX_LENGTH_A:
        raise InputFileError(f"{place} has coordinates of {largest:.3g} Å; at most {MAX_LENGTH_A:g} Å are accepted")


def write_poscar(crystal: Crystal, path: str | os.PathLike[str]) -> None:
    """Write a crystal as POSCAR (VASP 5, direct coordinates, Å), atoms in their order; atomic.

    A species that appears in several runs gets several columns, as VASP reads them.  Positions are written as
    they are, not wrapped into the cell.

    Parameters
    ----------
    crystal
        What to write; its title becomes the comment line.
    path
        The file; replaced only when the new one is complete.

    Raises
    ------
    InputFileError
        When the folder cannot be written.
    """
    from ase import Atoms
    from ase.io import write

    atoms = Atoms(numbers=crystal.numbers, positions=crystal.positions_A, cell=crystal.cell_A, pbc=True)
    buffer = StringIO()
    write(buffer, atoms, format="vasp", direct=True)
    # ASE's versions differ in how a comment line is given, so it is put in here.
    title = " ".join(crystal.title.split())[:80] or crystal.formula
    write_text(path, "\n".join([title, *buffer.getvalue().splitlines()[1:], ""]))
