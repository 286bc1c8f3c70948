"""POSCAR and CONTCAR: every line is checked before ASE reads the file."""

from __future__ import annotations

import math
from io import StringIO
from typing import Any

from phonograph.errors import InputFileError
from phonograph.files.safety import check_elements, reading
from phonograph.types import MAX_ATOMS


def poscar_atoms(text: str, name: str) -> Any:
    """Return the ASE ``Atoms`` of a POSCAR with element symbols, in the file's order.

    Symbols stand in line 6 (VASP 5 and later), or are all of line 1, one per count (VASP 4's custom).  The
    comment line is in ``info["comment"]``.  Velocities and predictor-corrector blocks, which may follow the
    positions, are not read.

    Parameters
    ----------
    text
        Content of the file.
    name
        Its name, for messages.

    Raises
    ------
    InputFileError
        Naming the line: truncated, no or unknown symbols, more than :data:`MAX_ATOMS` atoms, not a number.
    """
    lines, extra = _with_symbol_line(text.splitlines())
    if len(lines) < 8:
        raise InputFileError(
            f"{name} ends after line {len(lines) - extra}; a POSCAR has at least 8 lines; write or copy it again"
        )
    _check_scale(lines[1], name)
    for number in (3, 4, 5):
        _check_three_numbers(lines[number - 1], name, number, "lattice vector")
    symbols, counts = _species(lines[5], lines[6], name, 7 - extra)
    first = 8 if lines[7].strip()[:1].lower() != "s" else 9
    _check_mode(lines[first - 1] if first <= len(lines) else "", name, first - extra)
    count = sum(counts)
    positions = lines[first : first + count]
    if len(positions) < count:
        raise InputFileError(
            f"{name} claims {count} atoms but ends after {len(positions)} position lines; write or copy it again"
        )
    for number, line in enumerate(positions, start=first + 1 - extra):
        _check_three_numbers(line, name, number, "position")
    header = [*lines[:5], " ".join(symbols), " ".join(map(str, counts)), lines[first - 1]]
    # Flags of selective dynamics and words after the coordinates are not needed, so ASE does not get them.
    positions = [" ".join(line.split()[:3]) for line in positions]
    with reading(name, "a POSCAR file"):
        from ase.io import read

        atoms = read(StringIO("\n".join([*header, *positions, ""])), format="vasp")
    atoms.info["comment"] = " ".join(lines[0].split())
    return atoms


def _with_symbol_line(lines: list[str]) -> tuple[list[str], int]:
    """Put the symbols of a VASP 4 file into line 6, where line 1 is nothing but one symbol per count.

    Returns the lines, and how many were put in (0 or 1), by which later lines count too high.
    """
    from ase.data import chemical_symbols

    if len(lines) < 7:
        return lines, 0
    symbols, counts = lines[0].split(), lines[5].split("!")[0].split()
    old = bool(counts) and all(word.isdigit() for word in counts)
    if old and len(symbols) == len(counts) and set(symbols) <= set(chemical_symbols[1:]):
        return [*lines[:5], lines[0], *lines[5:]], 1
    return lines, 0


def _check_scale(line: str, name: str) -> None:
    # ASE takes the leading numbers of the line (the rest is comment): one factor or volume, or three factors.
    values = []
    for word in line.split()[:3]:
        value = _number(word)
        if value is None:
            break
        values.append(value)
    if len(values) not in (1, 3) or 0.0 in values or not all(map(math.isfinite, values)):
        raise InputFileError(f"{name} line 2 must be a scale factor (1.0 as a rule); got {line.strip()[:60]!r}")


def _check_three_numbers(line: str, name: str, number: int, what: str) -> None:
    values = [_number(word) for word in line.split()[:3]]
    if len(values) == 3 and all(value is not None and math.isfinite(value) for value in values):
        return
    raise InputFileError(f"{name} line {number} must be a {what} of three finite numbers; got {line.strip()[:60]!r}")


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


def _species(symbol_line: str, count_line: str, name: str, number: int) -> tuple[list[str], list[int]]:
    symbols = [word.split("/")[0].split("_")[0] for word in symbol_line.split("!")[0].split()]
    if not symbols or symbols[0].isdigit():
        raise InputFileError(
            f"{name} line 6 must name the elements, for example 'Ag S Br'; got {symbol_line.strip()[:60]!r}; "
            "add that line (VASP 4 files lack it), or let line 1 be nothing but the symbols"
        )
    counts = [_count(word, name, number) for word in count_line.split("!")[0].split()]
    if len(counts) != len(symbols):
        raise InputFileError(
            f"{name} names {len(symbols)} elements in line 6 but gives {len(counts)} counts in line {number}"
        )
    if not 1 <= sum(counts) <= MAX_ATOMS:
        raise InputFileError(f"{name} line {number} claims {sum(counts)} atoms; 1 to {MAX_ATOMS} are accepted")
    check_elements(symbols, f"{name} line 6")
    return symbols, counts


def _count(word: str, name: str, number: int) -> int:
    # Fifteen digits hold any sensible claim, and int() of more could take long.
    if not (word.isascii() and word.isdigit() and len(word) <= 15):
        raise InputFileError(f"{name} line {number} must be one number of atoms per element; got {word[:20]!r}")
    return int(word)


def _check_mode(line: str, name: str, number: int) -> None:
    # VASP takes any other word for 'Direct'; a forgotten line would then swallow the first atom.
    if line.strip()[:1].lower() not in ("d", "c", "k"):
        raise InputFileError(f"{name} line {number} must be 'Direct' or 'Cartesian'; got {line.strip()[:60]!r}")
