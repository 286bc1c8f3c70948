"""Tables of labels (CSV): every column has a unit, every row an id, every doubt is an error with its line."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from phonograph.errors import InputFileError
from phonograph.files.safety import MAX_SET_BYTES, check_name, listed, read_text, shown

UNIT_SUFFIXES: Mapping[str, str] = {
    "eV_per_atom": "eV/atom",
    "meV_per_atom": "meV/atom",
    "eV_per_A3": "eV/Å³",
    "eV_per_A": "eV/Å",
    "eV": "eV",
    "meV": "meV",
    "GPa": "GPa",
    "kbar": "kbar",
    "A3": "Å³",
    "A2": "Å²",
    "A": "Å",
    "K": "K",
    "THz": "THz",
    "amu": "amu",
    "muB": "μB",
}
"""Suffix of a property's name → its unit; ``"1"`` in ``units`` marks a property without dimension."""

_OTHER_UNITS = frozenset("ry rydberg ha hartree au j kj kcal mol bohr nm pm pa mpa bar cm-1".split())
"""Ends of names, in small letters, that say a unit of which values are not read."""

NOT_LABELS = frozenset({"set", "status", "sampler", "sample_id", "index", "seed", "engine", "line"})
"""Columns of tables and entries of extended XYZ that describe a sample and are never labels."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelColumnText:
    """One property of a table: its name with unit suffix, its unit, and one value per row (NaN = hole)."""

    name: str
    unit: str
    values: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelTable:
    """A table of labels.

    Attributes
    ----------
    ids, lines
        Sample id and line number of each row.
    columns
        The properties.
    groups
        Entry of the column ``group`` of each row, or None.
    left_out
        Names of columns that were not read.
    """

    ids: tuple[str, ...]
    lines: tuple[int, ...]
    columns: tuple[LabelColumnText, ...]
    groups: tuple[str, ...] | None
    left_out: tuple[str, ...]


def named_with_unit(name: str, units: Mapping[str, str], place: str) -> tuple[str, str] | None:
    """Return a property's name with unit suffix, and its unit; None where nothing gives the unit.

    The unit comes from the suffix of the name (``band_gap_eV``), else from ``units``, whose value may be the unit
    (``eV/atom``), the suffix (``eV_per_atom``), or ``"1"`` for a property without dimension.

    Raises
    ------
    InputFileError
        Where the two contradict each other, the unit is unknown, or the name is not safe in file names.
    """
    suffix = next((one for one in UNIT_SUFFIXES if name.endswith(f"_{one}")), None)
    stated = units.get(name)
    if stated is not None and stated not in ("1", *UNIT_SUFFIXES, *UNIT_SUFFIXES.values()):
        raise InputFileError(
            f"{place}: unknown unit {stated[:40]!r} for {name[:60]!r}; expected one of "
            f"{', '.join(UNIT_SUFFIXES.values())}, or 1"
        )
    if suffix is None and stated is None:
        return None
    check_name(name, f"{place}: the name of a property")
    if suffix is not None:
        if stated not in (None, suffix, UNIT_SUFFIXES[suffix]):
            raise InputFileError(f"{place}: the name {name!r} says {UNIT_SUFFIXES[suffix]}, units says {stated!r}")
        return name, UNIT_SUFFIXES[suffix]
    if stated == "1":
        return name, "1"
    suffix = next(one for one, unit in UNIT_SUFFIXES.items() if stated in (one, unit))
    return f"{name}_{suffix}", UNIT_SUFFIXES[suffix]


def units_missing(name: str, place: str) -> InputFileError:
    """Return the error for a property whose unit nothing gives."""
    short = shown(name)[:60]
    _, underscore, last = short.rpartition("_")
    if underscore and last.lower() in _OTHER_UNITS:
        return InputFileError(
            f"{place}: {short!r} ends in {last!r}, a unit that is not known here; convert it to one of "
            f"{', '.join(UNIT_SUFFIXES.values())} and rename it"
        )
    return InputFileError(
        f"{place}: the units of {short!r} are missing; rename it with its unit (such as {short}_eV), or state them in "
        f"units ({short!r} = 'eV')"
    )


def read_label_table(
    path: str | os.PathLike[str], units: Mapping[str, str], wanted: Collection[str] | None = None
) -> LabelTable:
    """Read labels from a comma-separated table with a header; the first column is the sample's id or file name.

    Parameters
    ----------
    path
        A ``.csv`` file.  ``group`` is a column of group names; ``set``, ``status``, ``sampler``, ``index``,
        ``seed``, and columns whose name holds ``engine`` are not labels.
    units
        Property → unit, for columns without a unit suffix.
    wanted
        Names of the properties to read, None for all.  A table of ids and values without a header (the
        ``id_prop.csv`` of CGCNN and ALIGNN) is read only where the name of every column of values is given, in order.

    Raises
    ------
    InputFileError
        One sentence with the line: not a table, units missing, duplicate ids, non-numeric values, a ragged row.
    """
    place = shown(path)
    if Path(path).suffix.lower() != ".csv":
        raise InputFileError(f"{place} is not a table of labels; expected a comma-separated file named *.csv")
    rows = _rows(read_text(path, MAX_SET_BYTES), place)
    header, rows = _header(rows, wanted, place)
    _check_ids(rows, len(header), place)
    names, left_out = _names(header, wanted)
    columns = []
    for position, name in names:
        known = named_with_unit(name, units, place)
        if known is None:
            raise units_missing(name, place)
        values = tuple(_value(row[position], line, name, place) for line, row in rows)
        columns.append(LabelColumnText(name=known[0], unit=known[1], values=values))
    _check_columns(columns, units, wanted, header, place)
    group = header.index("group") if "group" in header[1:] else None
    return LabelTable(
        ids=tuple(row[0] for _, row in rows),
        lines=tuple(line for line, _ in rows),
        columns=tuple(columns),
        groups=None if group is None else tuple(row[group] for _, row in rows),
        left_out=left_out,
    )


def _rows(text: str, place: str) -> list[tuple[int, list[str]]]:
    reader = csv.reader(StringIO(text, newline=""), strict=True)
    rows = []
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append((reader.line_num, [cell.strip() for cell in row]))
    except csv.Error as error:
        raise InputFileError(f"{place} line {reader.line_num} is not comma-separated text: {error}") from error
    if not rows:
        raise InputFileError(f"{place} holds no values; expected a header and rows")
    if len(rows[0][1]) < 2:
        raise InputFileError(f"{place} line {rows[0][0]} holds one column; expected an id and values, split by commas")
    return rows


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _header(
    rows: list[tuple[int, list[str]]], wanted: Collection[str] | None, place: str
) -> tuple[list[str], list[tuple[int, list[str]]]]:
    line, first = rows[0]
    if not any(_is_number(cell) for cell in first[1:]):
        doubled = next((name for name in first if first.count(name) > 1), None)
        if doubled is not None or "" in first[1:]:
            raise InputFileError(f"{place} line {line}: every column needs a name of its own; got {listed(first)}")
        if len(rows) == 1:
            raise InputFileError(f"{place} holds a header but no rows; add the labels")
        return first, rows[1:]
    if wanted is None or len(wanted) != len(first) - 1:
        raise InputFileError(
            f"{place} line {line} holds numbers, not a header; add one such as 'id,band_gap_eV', or name the property "
            f"of each of the {len(first) - 1} columns of values"
        )
    return ["id", *wanted], rows


def _check_ids(rows: list[tuple[int, list[str]]], width: int, place: str) -> None:
    seen: dict[str, int] = {}
    for line, row in rows:
        if len(row) != width:
            raise InputFileError(f"{place} line {line} holds {len(row)} columns; expected {width} as in its first line")
        if not row[0]:
            raise InputFileError(f"{place} line {line} has no id; expected the sample's id or file name")
        if row[0] in seen:
            raise InputFileError(f"{place} line {line} labels {row[0][:60]!r} again (first in line {seen[row[0]]})")
        seen[row[0]] = line


def _names(header: list[str], wanted: Collection[str] | None) -> tuple[list[tuple[int, str]], tuple[str, ...]]:
    """Return (position, name) of the columns to read, and the names of those left out."""
    names, left_out = [], []
    for position, name in enumerate(header[1:], start=1):
        if name == "group":
            continue
        plain = name not in NOT_LABELS and "engine" not in name.lower()
        if plain if wanted is None else name in wanted:
            names.append((position, name))
        else:
            left_out.append(name)
    return names, tuple(left_out)


def _value(cell: str, line: int, name: str, place: str) -> float:
    if cell == "":
        return math.nan
    try:
        value = float(cell)
    except ValueError:
        value = math.inf
    if math.isinf(value):
        raise InputFileError(
            f"{place} line {line}: {name} must be a finite number, or empty for a hole; got {cell[:40]!r}"
        )
    return value


def _check_columns(
    columns: list[LabelColumnText],
    units: Mapping[str, str],
    wanted: Collection[str] | None,
    header: list[str],
    place: str,
) -> None:
    if absent := [name for name in wanted or () if name not in header]:
        raise InputFileError(f"{place} has no column {absent[0][:60]!r}; it has {listed(header)}")
    if not columns:
        raise InputFileError(f"{place} holds no property; its columns are {listed(header)}")
    if unknown := [name for name in units if name not in header]:
        raise InputFileError(f"{place} has no column {unknown[0][:60]!r} that units speaks of; it has {listed(header)}")
    names = [column.name for column in columns]
    if doubled := [name for name in names if names.count(name) > 1]:
        raise InputFileError(f"{place} gives {doubled[0]!r} twice; keep one of the columns")
