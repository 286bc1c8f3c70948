"""What ``collect`` keeps on disk: one file per result, and FORCE_SETS as soon as they determine the force constants."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from phonograph.atomic import write_text
from phonograph.errors import InputFileError
from phonograph.files.displacements import DISPLACEMENTS_FILE
from phonograph.files.force_constants import announced_calculation
from phonograph.files.force_fit import all_displacements, check_determined
from phonograph.files.phonopy_yaml import CalculatorUnits, PhonopyFile
from phonograph.files.safety import MAX_SET_BYTES, read_text, reading, sha256_of, shown
from phonograph.plain_json import read_json
from phonograph.types import FloatArray

STORE = "forces"
"""Folder of the results collected so far, one file each."""


@dataclass(frozen=True)
class Setup:
    """The announced displacements: number → displaced positions; 0 is the supercell at rest."""

    folder: Path
    file: PhonopyFile
    phonon: Any
    fingerprint: str
    displacements_A: FloatArray

    @property
    def atoms(self) -> int:
        """Atoms of the supercell."""
        return len(self.phonon.supercell)

    def padded(self, number: int) -> str:
        """Return a number as it stands in the names of files."""
        return f"{number:0{max(3, len(str(len(self.displacements_A))))}}"

    def name(self, number: int) -> str:
        """Return what a displaced supercell is called."""
        stem = "POSCAR" if self.file.units.calculator == "vasp" else "supercell"
        return f"{stem}-{self.padded(number)}" if number else "the supercell at rest"


def read_setup(folder: Path) -> Setup:
    """Read phonopy_disp.yaml of a folder, and lay out the supercell that it announces."""
    path = folder / DISPLACEMENTS_FILE
    if not path.is_file():
        raise InputFileError(
            f"{shown(folder)} holds no {DISPLACEMENTS_FILE}; give the folder that 'phonograph displace' "
            "or phonopy wrote"
        )
    file, phonon = announced_calculation(path)
    if file.dataset is None:
        raise InputFileError(f"{shown(path)} holds no displacements; write it again with 'phonograph displace'")
    atoms = len(phonon.supercell)
    with reading(path, "displacements"):
        moves = all_displacements(file.dataset, atoms).reshape(-1, atoms, 3)
    return Setup(folder, file, phonon, sha256_of(path), moves)


def _path(setup: Setup, number: int) -> Path:
    return setup.folder / STORE / f"force-{setup.padded(number)}.json"


def save_result(setup: Setup, number: int, result: dict[str, Any]) -> None:
    """Store one result; a process killed at any moment leaves the one before or this one."""
    write_text(_path(setup, number), json.dumps(result) + "\n")


def load_results(setup: Setup) -> dict[int, dict[str, Any]]:
    """Return number → stored result, after checking that they are of these displacements."""
    stored = {}
    for number in range(len(setup.displacements_A) + 1):
        path = _path(setup, number)
        if not path.is_file():
            continue
        with reading(path, "a collected result"):
            result = read_json(read_text(path, MAX_SET_BYTES))
            forces = np.asarray(result["forces_eV_per_A"], dtype=np.float64)
            good = forces.shape == (setup.atoms, 3) and bool(np.isfinite(forces).all())
            good = good and isinstance(result["bytes"], int) and isinstance(result["modified_ns"], int)
        if not good or result["displacements_sha256"] != setup.fingerprint:
            raise InputFileError(
                f"{shown(path)} does not belong to the displacements in {DISPLACEMENTS_FILE}; delete it, and collect "
                "again"
            )
        stored[number] = result
    return stored


def write_force_sets(setup: Setup, stored: dict[int, dict[str, Any]]) -> tuple[Path | None, tuple[str, ...]]:
    """Write FORCE_SETS if the stored results determine the force constants.

    Returns
    -------
    tuple
        The file, or None, and sentences for the reader.
    """
    numbers = [number for number in sorted(stored) if number]
    if not numbers:
        return None, ()
    forces = {number: np.array(stored[number]["forces_eV_per_A"], dtype=np.float64) for number in stored}
    notes: list[str] = []
    if 0 in forces:
        rest = forces.pop(0)
        forces = {number: values - rest for number, values in forces.items()}
        notes.append(
            f"forces of the supercell at rest (largest {np.linalg.norm(rest, axis=1).max():.2g} eV/Å) were taken off"
        )
    dataset = _dataset(setup, numbers, forces)
    try:
        check_determined(setup.phonon, dataset, "the collected set")
    except InputFileError as error:
        return None, (*notes, str(error))
    if len(numbers) < len(setup.displacements_A):
        notes.append(
            f"{len(numbers)} of {len(setup.displacements_A)} displaced supercells determine the force constants; the "
            "others would make them less sensitive to noise"
        )
    return _written(setup, dataset), tuple(notes)


def _dataset(setup: Setup, numbers: Sequence[int], forces: dict[int, FloatArray]) -> dict[str, Any]:
    """Return phonopy's dataset in Å and eV/Å."""
    assert setup.file.dataset is not None
    if "first_atoms" in setup.file.dataset:
        first = setup.file.dataset["first_atoms"]
        return {"natom": setup.atoms, "first_atoms": [first[i - 1] | {"forces": forces[i]} for i in numbers]}
    moves = setup.displacements_A[[i - 1 for i in numbers]]
    return {"displacements": moves, "forces": np.array([forces[i] for i in numbers])}


def _written(setup: Setup, dataset: dict[str, Any]) -> Path:
    """Write FORCE_SETS in the units of the calculator, as phonopy does; a file of someone else's is kept."""
    text = "\n".join(_force_sets_lines(dataset, setup.file.units)) + "\n"
    path, mark = setup.folder / "FORCE_SETS", setup.folder / STORE / "written.json"
    if path.is_file() and path.read_text(encoding="utf-8", errors="replace") != text:
        ours = read_json(mark.read_text(encoding="utf-8")) if mark.is_file() else {}
        if not isinstance(ours, dict) or ours.get("sha256") != sha256_of(path):
            raise InputFileError(
                f"{shown(path)} was written by something else and is kept; move it away, and collect again (the "
                f"collected forces are safe in {STORE}/)"
            )
    write_text(path, text)
    write_text(mark, json.dumps({"file": path.name, "sha256": sha256_of(path)}) + "\n")
    return path


def _force_sets_lines(dataset: dict[str, Any], factors: CalculatorUnits) -> list[str]:
    """Return phonopy's format with 16 decimals; phonopy's own 10 (8 for type 2) round away digits that are there."""
    if "first_atoms" not in dataset:
        both = np.concatenate(
            [dataset["displacements"] / factors.length_A, dataset["forces"] / factors.force_eV_per_A], axis=2
        )
        return [_row(row) for row in both.reshape(-1, 6)]
    lines = [str(dataset["natom"]), str(len(dataset["first_atoms"]))]
    for one in dataset["first_atoms"]:
        lines += ["", str(one["number"] + 1), _row(one["displacement"] / factors.length_A)]
        lines += [_row(force) for force in one["forces"] / factors.force_eV_per_A]
    return lines


def _row(values: FloatArray) -> str:
    return " ".join(f"{value:20.16f}" for value in values)
