"""Extended XYZ: every frame's claim is checked against the lines there are before ASE reads it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from typing import Any

from phonograph.errors import InputFileError
from phonograph.files.safety import check_elements, reading
from phonograph.types import MAX_ATOMS

MAX_COMMENT = 1_000_000
"""Longest comment line, characters."""

_COUNT = re.compile(r"\s*([0-9]{1,15})\s*", re.ASCII)


@dataclass(frozen=True)
class _Frame:
    number: int
    first_line: int
    lines: list[str]


def extxyz_atoms(text: str, name: str) -> list[Any]:
    """Return the ASE ``Atoms`` of every frame of an extended XYZ file, in the file's order.

    Parameters
    ----------
    text
        Content of the file.
    name
        Its name, for messages.

    Raises
    ------
    InputFileError
        Naming frame and line: truncated, no ``Lattice``, not periodic, more than :data:`MAX_ATOMS` atoms, an
        unknown element, too few columns.
    """
    return [_atoms(frame, name) for frame in _frames(text.splitlines(), name)]


def _frames(lines: list[str], name: str) -> Iterator[_Frame]:
    # ASE stops at the first blank line without a word, so blank lines may stand at the end only.
    while lines and not lines[-1].strip():
        lines.pop()
    start, number = 0, 0
    while start < len(lines):
        match = _COUNT.fullmatch(lines[start])
        if match is None:
            raise InputFileError(
                f"{name} line {start + 1} must be the number of atoms of frame {number}; "
                f"got {lines[start].strip()[:60]!r}"
            )
        count = int(match[1])
        if not 1 <= count <= MAX_ATOMS:
            raise InputFileError(
                f"{name} line {start + 1} claims {count} atoms in one frame; 1 to {MAX_ATOMS} are accepted"
            )
        frame = lines[start : start + count + 2]
        if len(frame) < count + 2:
            raise InputFileError(
                f"{name} is truncated: frame {number} (line {start + 1}) claims {count} atoms, "
                f"{max(len(frame) - 2, 0)} lines follow; write or copy it again"
            )
        yield _Frame(number, start + 1, frame)
        start, number = start + count + 2, number + 1


def _atoms(frame: _Frame, name: str) -> Any:
    _check_rows(frame, _columns(frame, name), name)
    with reading(f"{name} (frame {frame.number}, line {frame.first_line})", "extended XYZ"):
        from ase.io import read

        atoms = read(StringIO("\n".join([*frame.lines, ""])), index=0, format="extxyz")
    if not atoms.pbc.all():
        flags = " ".join("T" if flag else "F" for flag in atoms.pbc)
        raise InputFileError(
            f'{name} frame {frame.number} is not periodic in all directions (pbc="{flags}"); '
            'crystals need pbc="T T T" and a lattice'
        )
    return atoms


def _check_rows(frame: _Frame, columns: dict[str, int], name: str) -> None:
    """Check the number of columns of every line, and the element symbols (ASE takes them in any case)."""
    width = sum(columns.values())
    place = list(columns).index("species") if "species" in columns else -1
    before = sum(list(columns.values())[:place]) if place >= 0 else -1
    seen: set[str] = set()
    for position, line in enumerate(frame.lines[2:]):
        words = line.split()
        if len(words) < width:
            raise InputFileError(
                f"{name} line {frame.first_line + 2 + position} holds {len(words)} columns; "
                f"{width} are announced in line {frame.first_line + 1}"
            )
        if before >= 0 and words[before] not in seen:
            check_elements([words[before].capitalize()], f"{name} line {frame.first_line + 2 + position}")
            seen.add(words[before])


def _columns(frame: _Frame, name: str) -> dict[str, int]:
    """Return column name → width as the comment line announces, after checking that it describes a crystal."""
    place = f"{name} line {frame.first_line + 1}"
    comment = frame.lines[1]
    if len(comment) > MAX_COMMENT:
        raise InputFileError(f"{place} holds {len(comment)} characters; at most {MAX_COMMENT} are accepted")
    with reading(place, "an extended XYZ comment line"):
        from ase.io.extxyz import key_val_str_to_dict

        keys = key_val_str_to_dict(comment) if comment.strip() else {}
    if "Lattice" not in keys:
        raise InputFileError(
            f'{place} has no Lattice="…" entry, so frame {frame.number} is not periodic; '
            "give crystals with their lattice"
        )
    return _announced(str(keys.get("Properties", "species:S:1:pos:R:3")), place)


def _announced(properties: str, place: str) -> dict[str, int]:
    fields = properties.split(":")
    names, widths = fields[::3], fields[2::3]
    numbers = [int(width) for width in widths if width.isascii() and width.isdigit() and len(width) <= 4]
    if len(fields) % 3 or len(numbers) != len(widths) or not 0 < sum(numbers) <= 1000:
        raise InputFileError(f"{place} must announce its columns as name:type:width; got {properties[:60]!r}")
    layout = dict(zip(names, numbers, strict=True))
    if len(layout) != len(names) or layout.get("pos") != 3 or not ({"species", "Z"} & layout.keys()):
        raise InputFileError(
            f"{place} must announce each column once, among them species:S:1 and pos:R:3; got {properties[:80]!r}"
        )
    return layout
