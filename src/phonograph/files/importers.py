"""Structures and labels that people already have: which format a file is, and what is in it.

The name decides among readers, and the content must agree: nothing is guessed from content alone.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from phonograph.errors import InputFileError
from phonograph.files.ase_database import MAGIC, database_source, json_database_source
from phonograph.files.computed_entries import entries_source
from phonograph.files.computed_entries_json import ITEM, json_items
from phonograph.files.importers_samples import Choices, Sample, Source, forces_note
from phonograph.files.safety import check_readable, shown
from phonograph.files.structures import crystal_from_atoms, read_atoms, read_structure, structure_format
from phonograph.types import FloatArray

MAX_FILES = 100_000
"""Largest number of structure files read from one folder."""

PROPERTY_TABLE = "id_prop.csv"
"""Table of labels that is read with the folder it lies in, as CGCNN and ALIGNN lay data out."""

FORMATS = (
    "extended XYZ (*.extxyz, *.xyz), an ASE database (*.db, *.json), computed entries (*.json, also .gz, .bz2, .xz), "
    f"{PROPERTY_TABLE}, or a folder of POSCAR and CIF files"
)
"""What is read as a set of structures with labels."""

_DISPLACEMENTS = ("displacements_A", "displacement_A", "displacements", "displacement")
_IDS = ("sample_id", "id", "name")
_FORCES = ("forces", "REF_forces", "force")


def read_source(path: str | os.PathLike[str], choices: Choices) -> Source:
    """Return everything a file or folder of structures holds.

    Raises
    ------
    InputFileError
        In one sentence with file and frame, row or entry.
    """
    target = Path(path)
    if target.name == PROPERTY_TABLE and target.is_file():
        return _from_folder(target.parent)
    if target.is_dir():
        return _from_folder(target)
    kind = source_format(target)
    if kind == "extxyz":
        return _from_extxyz(target)
    if kind == "database":
        return database_source(target)
    if kind == "json":
        return _from_json(target, choices)
    raise InputFileError(f"{shown(path)} is no set of structures; expected {FORMATS}")


def source_format(path: Path) -> str | None:
    """Return ``extxyz``, ``database`` or ``json`` by the file's name, checked against its first bytes; else None."""
    plain = re.sub(r"\.(xz|gz|bz2)$", "", path.name.lower())
    suffix = Path(plain).suffix
    if structure_format(path) == "extxyz":
        return "extxyz"
    if suffix == ".json":
        return "json"
    if suffix == ".db":
        with check_readable(path, 1 << 62).open("rb") as stream:
            if stream.read(len(MAGIC)) != MAGIC:
                raise InputFileError(f"{shown(path)} is no database of SQLite, which a name ending in .db promises")
        return "database"
    return None


def _from_json(path: Path, choices: Choices) -> Source:
    """Tell an ASE database from computed entries by the first value that belongs to either."""
    items = json_items(path)
    for key, value in items:
        if key == ITEM:
            return entries_source(_only_items(itertools.chain([(key, value)], items)), path, choices)
        if key.isdecimal() and isinstance(value, dict) and "numbers" in value:
            return json_database_source(itertools.chain([(key, value)], items), path)
    raise InputFileError(f"{shown(path)} holds neither computed entries (a list, or 'entries') nor an ASE database")


def _only_items(items: Iterator[tuple[str, Any]]) -> Iterator[Any]:
    return (value for key, value in items if key == ITEM)


def _from_extxyz(path: Path) -> Source:
    samples = []
    with_forces = 0
    for position, atoms in enumerate(read_atoms(path)):
        place = f"{shown(path)} frame {position}"
        known = next((str(atoms.info[key]) for key in _IDS if key in atoms.info), str(position))
        results = dict(atoms.calc.results) if atoms.calc is not None else {}
        with_forces += any(name in results or name in atoms.arrays for name in _FORCES)
        results.pop("forces", None)
        samples.append(
            Sample(
                names=(known,),
                crystal=crystal_from_atoms(atoms, place, known),
                info=dict(atoms.info),
                results=results,
                displacements_A=_displacements(atoms, place),
            )
        )
    return Source(samples=samples, notes=forces_note(with_forces, shown(path)))


def _displacements(atoms: Any, place: str) -> FloatArray | None:
    key = next((one for one in _DISPLACEMENTS if one in atoms.arrays), None)
    if key is None:
        return None
    values = atoms.arrays[key]
    if values.shape != (len(atoms), 3) or values.dtype.kind not in "fi" or not np.isfinite(values).all():
        raise InputFileError(f"{place}: {key} must be three finite numbers per atom, Å; got shape {values.shape}")
    return np.asarray(values, dtype=np.float64)


def _from_folder(folder: Path) -> Source:
    try:
        files = sorted((one for one in folder.iterdir() if one.is_file()), key=lambda one: natural_order(one.name))
    except OSError as error:
        raise InputFileError(f"{shown(folder)} cannot be read: {error.strerror}; check its permissions") from error
    chosen = [one for one in files if structure_format(one) in ("poscar", "cif") and not one.name.startswith(".")]
    if not 1 <= len(chosen) <= MAX_FILES:
        raise InputFileError(
            f"{shown(folder)} holds {len(chosen)} structure files; 1 to {MAX_FILES} are accepted, named POSCAR*, "
            "CONTCAR*, *.vasp, *.poscar or *.cif"
        )
    stems = [one.stem for one in chosen]
    samples = [
        Sample(
            # A name without suffix, such as POSCAR_7, is its own stem.
            names=(one.name, one.stem) if one.suffix and stems.count(one.stem) == 1 else (one.name,),
            crystal=read_structure(one),
            info={},
        )
        for one in chosen
    ]
    table = folder / PROPERTY_TABLE
    # atom_init.json lies in every folder of CGCNN and describes elements.
    others = [one for one in files if one not in set(chosen) and one.name not in (PROPERTY_TABLE, "atom_init.json")]
    notes = [f"{len(others)} files in {shown(folder)} are not POSCAR or CIF and were not read as structures"]
    return Source(samples=samples, notes=notes if others else [], table=table if table.is_file() else None)


def natural_order(name: str) -> list[str | int]:
    """Return a sort key in which 2 comes before 10: text and numbers alternate."""
    parts = re.split(r"([0-9]+)", name)
    return [int(part) if position % 2 else part for position, part in enumerate(parts)]
