"""Input files of Quantum ESPRESSO's pw.x, and what the header of a pseudopotential says."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from phonograph.errors import ConfigurationError, InputFileError
from phonograph.files.safety import MEBIBYTE, check_name, check_readable, listed, shown
from phonograph.types import Crystal, FloatArray
from phonograph.units import BOHR_A

FOLDER_VARIABLE = "ESPRESSO_PSEUDO"
"""Environment variable in which pw.x itself looks for pseudopotentials."""

_LARGEST_BYTES = 64 * MEBIBYTE
_HEADER_BYTES = MEBIBYTE
_SUFFIX = ".upf"
_SEPARATORS = "._-"
# Version 2 of the format has attributes, version 1 a table; headers need not be well-formed XML.
_VALENCE = re.compile(rb'z_valence\s*=\s*"\s*([-+0-9.eEdD]+)\s*"|^\s*([0-9.]+)\s+Z valence', re.MULTILINE)
_ELEMENT = re.compile(rb'\belement\s*=\s*"\s*([A-Za-z]{1,2})\s*"|^\s*([A-Z][a-z]?)\s+Element', re.MULTILINE)

Value = bool | int | float | str


@dataclass(frozen=True, kw_only=True)
class Pseudopotential:
    """A UPF file: its name, element, number of valence electrons, and hashes (pw.x prints the MD5)."""

    file: str
    element: str
    valence: float
    sha256: str
    md5: str


def pseudopotential_folder(chosen: str) -> Path:
    """Return the folder of the pseudopotentials: ``chosen``, else what ESPRESSO_PSEUDO names.

    Raises
    ------
    ConfigurationError
        Where neither names a folder.
    """
    place = chosen or os.environ.get(FOLDER_VARIABLE, "")
    if not place:
        raise ConfigurationError(
            f"quantum-espresso needs a folder of pseudopotentials; give pseudopotential_folder or set {FOLDER_VARIABLE}"
        )
    folder = Path(place)
    if not folder.is_dir():
        raise ConfigurationError(f"pseudopotential_folder {shown(place)} is not a folder; correct the path")
    return folder


def find_pseudopotential(folder: Path, element: str, chosen: Mapping[str, str]) -> Pseudopotential:
    """Return the pseudopotential of ``element``: the file ``chosen`` names, else the only one in ``folder``.

    Raises
    ------
    ConfigurationError
        Where there is none, or several and none is chosen.
    InputFileError
        A file that is not UPF, or of another element.
    """
    if element in chosen:
        return read_pseudopotential(folder / chosen[element], element)
    found = [path for path in upf_files(folder) if _names(path.name, element)]
    if len(found) != 1:
        what = f"several ({listed(path.name for path in found)})" if found else "none"
        raise ConfigurationError(
            f"{shown(folder)} must hold one pseudopotential of {element} named {element}.*.UPF; got {what}; name the "
            f"file in pseudopotentials, for example {{{element} = '{element}.UPF'}}"
        )
    return read_pseudopotential(found[0], element)


def upf_files(folder: Path) -> list[Path]:
    """Return the UPF files of a folder, by name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() == _SUFFIX and path.is_file())


def _names(file: str, element: str) -> bool:
    head = file[: len(element)]
    return head.lower() == element.lower() and file[len(element)] in _SEPARATORS


def read_pseudopotential(path: Path, element: str) -> Pseudopotential:
    """Read the header of a UPF file and hash it."""
    check_name(path.name, "the name of a pseudopotential")
    check_readable(path, _LARGEST_BYTES)
    status = path.stat()
    found = _read(path, status.st_mtime_ns, status.st_size)
    if found.element != element:
        raise InputFileError(f"{shown(path)} is a pseudopotential of {found.element}; expected one of {element}")
    return found


@cache
def _read(path: Path, changed: int, size: int) -> Pseudopotential:
    data = path.read_bytes()
    # The numbers of the tables cannot match, but a search through them all takes time.
    valence, element = _VALENCE.search(data[:_HEADER_BYTES]), _ELEMENT.search(data[:_HEADER_BYTES])
    if valence is None or element is None:
        raise InputFileError(f"{shown(path)} names no element and valence; expected a pseudopotential in UPF format")
    try:
        charge = float((valence[1] or valence[2]).decode().replace("d", "e").replace("D", "E"))
    except ValueError as error:
        raise InputFileError(f"{shown(path)} has no number as z_valence; copy the file again") from error
    if not 0 < charge < 200:
        raise InputFileError(f"{shown(path)} claims {charge:g} valence electrons; copy the file again")
    return Pseudopotential(
        file=path.name,
        element=(element[1] or element[2]).decode().capitalize(),
        valence=charge,
        sha256=hashlib.sha256(data).hexdigest(),
        md5=hashlib.md5(data, usedforsecurity=False).hexdigest(),
    )


def input_text(
    namelists: Mapping[str, Mapping[str, Value]],
    crystal: Crystal,
    pseudopotentials: Sequence[Pseudopotential],
    k_mesh: Sequence[int],
    k_shift: Sequence[int],
) -> str:
    """Return the text of an input file; lengths in bohr, so that our constants and pw.x's cannot differ."""
    from ase.data import atomic_masses, atomic_numbers

    lines: list[str] = []
    for name, values in namelists.items():
        lines += [f"&{name}", *(f"  {key} = {_fortran(value)}" for key, value in values.items()), "/"]
    lines.append("ATOMIC_SPECIES")
    lines += [f"{p.element} {atomic_masses[atomic_numbers[p.element]]:.6f} {p.file}" for p in pseudopotentials]
    lines += ["CELL_PARAMETERS bohr", *(_row(vector) for vector in cell_bohr(crystal))]
    lines.append("ATOMIC_POSITIONS bohr")
    lines += [f"{symbol} {_row(place)}" for symbol, place in zip(crystal.symbols, positions_bohr(crystal), strict=True)]
    if gamma_only(k_mesh, k_shift):
        lines.append("K_POINTS gamma")
    else:
        lines += ["K_POINTS automatic", " ".join(str(number) for number in (*k_mesh, *k_shift))]
    return "\n".join([*lines, ""])


def gamma_only(k_mesh: Sequence[int], k_shift: Sequence[int]) -> bool:
    """Whether Γ is all there is: pw.x then works with real wave functions."""
    return tuple(k_mesh) == (1, 1, 1) and not any(k_shift)


def cell_bohr(crystal: Crystal) -> FloatArray:
    """Return lattice vectors as rows, bohr, right-handed: −cell spans the same lattice."""
    turned: FloatArray = crystal.cell_A * np.sign(np.linalg.det(crystal.cell_A)) / BOHR_A
    return turned


def positions_bohr(crystal: Crystal) -> FloatArray:
    """Return positions, bohr."""
    return crystal.positions_A / BOHR_A


def _row(vector: FloatArray) -> str:
    return " ".join(f"{component:.14f}" for component in vector)


def _fortran(value: Value) -> str:
    if isinstance(value, bool):
        return ".true." if value else ".false."
    if isinstance(value, str):
        if not value.isprintable():
            raise ConfigurationError(f"quantum-espresso: {value[:60]!r} holds characters that pw.x cannot read")
        doubled = value.replace("'", "''")
        return f"'{doubled}'"
    return repr(value)
