"""Collect the forces of displaced supercells that were computed elsewhere, keeping what arrived when some are missing.

Each result is read once, checked against the displacement it belongs to, and stored in ``forces/`` of the folder at
once.  As soon as the stored ones determine the force constants, FORCE_SETS is written.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from phonograph.errors import InputFileError, UserError
from phonograph.files.force_fit import SAME_DISPLACEMENT_A
from phonograph.files.force_outputs import ForceOutput, read_force_output
from phonograph.files.force_store import STORE, Setup, load_results, read_setup, save_result, write_force_sets
from phonograph.files.safety import listed, sha256_of, shown

DEEPEST = 3
"""Folders below the one given in which outputs are looked for."""

_RESULTS = {
    "vasp": re.compile(r"vasprun(?:[-_.]?(\d+))?\.xml(?:[-_.](\d+))?(?:\.(?:gz|xz))?"),
    "qe": re.compile(r"(?:.*?[-_.](\d+)|.*?)\.(?:out|pwo)"),
    "cp2k": re.compile(r"(?:.*?[-_](\d+)|.*?)-forces-1_\d+\.xyz"),
}
_AT_REST = re.compile(r"sposcar|supercell|.*-supercell|perfect", re.IGNORECASE)
_NUMBERED = re.compile(r"(?:.*[^0-9])?0*(\d{1,6})")


@dataclass(frozen=True, kw_only=True)
class Collected:
    """What is there and what is not.

    Attributes
    ----------
    folder
        The folder of the displaced supercells.
    names
        All displaced supercells.
    present, new
        Those whose forces are stored, and those of them that this call read.
    missing
        Those without an output.
    broken
        (name, sentence) of those whose output cannot be used; nothing of them is stored.
    force_sets
        The file written, or None where the forces do not determine the force constants yet.
    notes
        Sentences for the reader.
    """

    folder: Path
    names: tuple[str, ...]
    present: tuple[str, ...]
    new: tuple[str, ...]
    missing: tuple[str, ...]
    broken: tuple[tuple[str, str], ...]
    force_sets: Path | None
    notes: tuple[str, ...]


def collect_forces(
    folder: str | os.PathLike[str], outputs: Sequence[str | os.PathLike[str]] | None = None
) -> Collected:
    """Read the results that have arrived, store them, and write FORCE_SETS as soon as they suffice.

    Outputs are found by their names: ``vasprun.xml`` (also ``.gz``, ``.xz``), ``*.out`` of pw.x or
    ``*-forces-1_0.xyz`` of CP2K, in a folder whose name ends in the number (``disp-001``, ``001``, ``POSCAR-001``), or
    with the number in their own name (``vasprun.xml-001``, ``supercell-001.out``).  Number 0, ``SPOSCAR`` or
    ``supercell`` is the supercell at rest; its forces are taken off all others, as ``phonopy --fz`` does.

    Parameters
    ----------
    folder
        Holds phonopy_disp.yaml, written by ``write_displacements`` or by phonopy itself.
    outputs
        Files or folders in which to look instead of ``folder``.

    Returns
    -------
    Collected
        What is there, missing and broken.  Nothing that was collected is ever lost; a result is read again only when
        its file has changed.

    Raises
    ------
    InputFileError
        No phonopy_disp.yaml, a damaged store, or a FORCE_SETS that is not ours and would be overwritten.
    """
    setup = read_setup(Path(folder))
    stored = load_results(setup)
    found, notes = _find(setup, [Path(path) for path in outputs] if outputs else [setup.folder])
    broken: dict[int, str] = {}
    new: list[int] = []
    for number, paths in sorted(found.items()):
        fresh = [path for path in paths if number not in stored or not _unchanged(path, stored[number])]
        if not fresh:
            continue
        try:
            stored[number] = _read(setup, number, paths)
        except UserError as error:
            broken[number] = str(error) + ("; the result collected before is kept" if number in stored else "")
            continue
        save_result(setup, number, stored[number])
        new.append(number)
    count = len(setup.displacements_A)
    written, more = write_force_sets(setup, stored)
    return Collected(
        folder=setup.folder,
        names=tuple(setup.name(i) for i in range(1, count + 1)),
        present=tuple(setup.name(i) for i in sorted(stored) if i),
        new=tuple(setup.name(i) for i in new),
        missing=tuple(setup.name(i) for i in range(1, count + 1) if i not in stored and i not in broken),
        broken=tuple((setup.name(i), sentence) for i, sentence in sorted(broken.items())),
        force_sets=written,
        notes=(*notes, *more),
    )


def _find(setup: Setup, places: Sequence[Path]) -> tuple[dict[int, list[Path]], tuple[str, ...]]:
    """Return number → outputs that claim it, and a sentence on those that claim no announced one."""
    pattern = _RESULTS.get(setup.file.units.calculator)
    if pattern is None:
        raise InputFileError(
            f"{shown(setup.file.path)} is of calculator {setup.file.units.calculator!r}; collected are "
            f"{', '.join(_RESULTS)}; make FORCE_SETS with phonopy"
        )
    found: dict[int, list[Path]] = {}
    strangers: list[str] = []
    for place in places:
        if not place.exists():
            raise InputFileError(f"{shown(place)} does not exist; check the path")
        root = place if place.is_dir() else place.parent
        for path in sorted(_files(place)):
            match = pattern.fullmatch(path.name)
            if match is None:
                continue
            number = _number(path, root, next((word for word in match.groups() if word), None))
            if number is None or number > len(setup.displacements_A):
                strangers.append(str(path.relative_to(root)))
            elif path not in found.setdefault(number, []):
                found[number].append(path)
    notes: tuple[str, ...] = ()
    if strangers:
        notes = (f"not among the displacements 1–{len(setup.displacements_A)}, by name: {listed(strangers)}",)
    return found, notes


def _files(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
        return
    for folder, folders, files in os.walk(place):
        depth = len(Path(folder).relative_to(place).parts)
        folders[:] = [] if depth >= DEEPEST else [name for name in folders if not (depth == 0 and name == STORE)]
        yield from (Path(folder) / name for name in files)


def _number(path: Path, root: Path, word: str | None) -> int | None:
    """Return the number that a file claims: its own, else that of the nearest folder whose name ends in one."""
    if word is not None:
        return int(word) if len(word) <= 6 else None
    stem = path.name.split("-forces")[0].split(".out")[0].split(".pwo")[0]
    folders = [part for part in reversed(path.relative_to(root).parts[:-1])]
    for name in folders:
        if match := _NUMBERED.fullmatch(name):
            return int(match[1])
        if _AT_REST.fullmatch(name):
            return 0
    return 0 if _AT_REST.fullmatch(stem) else None


def _read(setup: Setup, number: int, paths: Sequence[Path]) -> dict[str, Any]:
    if len(paths) > 1:
        raise InputFileError(f"{len(paths)} outputs claim it ({listed(map(str, paths))}); keep the one to use")
    path = paths[0]
    state = path.stat()
    output = read_force_output(path, setup.atoms, setup.file.units)
    _check_structure(setup, number, output, shown(path))
    return {
        "schema": 1,
        "number": number,
        "displacements_sha256": setup.fingerprint,
        "source": os.path.relpath(path, setup.folder),
        "bytes": state.st_size,
        "modified_ns": state.st_mtime_ns,
        "sha256": sha256_of(path),
        "energy_eV": output.energy_eV,
        "forces_eV_per_A": output.forces_eV_per_A.tolist(),
    }


def _unchanged(path: Path, result: dict[str, Any]) -> bool:
    state = path.stat()
    return bool(result["bytes"] == state.st_size and result["modified_ns"] == state.st_mtime_ns)


def _check_structure(setup: Setup, number: int, output: ForceOutput, place: str) -> None:
    """Compare the structure in the output with the displaced supercell that was announced, atom by atom."""
    supercell = setup.phonon.supercell
    expected = [re.sub(r"\d+$", "", str(symbol)) for symbol in supercell.symbols]
    if output.symbols is not None and list(output.symbols) != expected:
        index = next((i for i, (a, b) in enumerate(zip(output.symbols, expected, strict=False)) if a != b), 0)
        raise InputFileError(
            f"{place} holds other atoms, or in another order, than the supercell (atom {index + 1} is "
            f"{output.symbols[index]} instead of {expected[index]}); compute the file that was written"
        )
    if output.cell_A is None or output.fractional is None:
        return
    cell = np.asarray(supercell.cell)
    if float(np.abs(output.cell_A - cell).max()) > 10 * SAME_DISPLACEMENT_A:
        raise InputFileError(
            f"{place} has another lattice than the supercell, by {np.abs(output.cell_A - cell).max():.4f} Å; compute "
            "the file that was written, without relaxing it"
        )
    delta = output.fractional - supercell.scaled_positions
    moved = (delta - np.round(delta)) @ cell
    # Rest stands first, so that numbers count from 1.
    all_moves = np.concatenate([np.zeros((1, setup.atoms, 3)), setup.displacements_A])
    distances = np.abs(all_moves - moved).max(axis=(1, 2))
    if distances[number] > SAME_DISPLACEMENT_A:
        nearest = int(np.argmin(distances))
        hint = f"it is {setup.name(nearest)}; " if distances[nearest] <= SAME_DISPLACEMENT_A else ""
        raise InputFileError(
            f"{place} is not {setup.name(number)}: atoms are up to {distances[number]:.4f} Å from where they should "
            f"be; {hint}compute the file that was written, without relaxing it"
        )
