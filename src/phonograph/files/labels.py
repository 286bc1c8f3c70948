"""``labels.csv``: one row per sample, one column per property, with the engine of each and the reason of every hole.

Beside it lies ``labels.json`` with what a table cannot hold: units, warnings and origin, and the hash of the table it
belongs to.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from phonograph.atomic import write_text
from phonograph.errors import DataError, InputFileError
from phonograph.files.sidecar import entry, read_sidecar, write_sidecar
from phonograph.types import PROPERTY_UNITS, LabelColumn, Labels, Origin

SCHEMA = "phonograph-labels-1"
LARGEST_BYTES = 1_000_000_000
_ENGINE = "_engine"
_FORMULA_START = ("=", "+", "@", "\t", "\r")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def save_labels(labels: Labels, path: str | os.PathLike[str]) -> None:
    """Write ``labels`` as CSV, and ``<path without suffix>.json`` beside it.

    Columns: ``sample_id``, ``set``, one per property, one ``<property>_engine`` per property, ``status``.  Holes are
    empty cells.  Numbers are written with all digits, so reading gives the same bits; the same labels give the same
    bytes.  Each of the two files is replaced as a whole or not at all.

    Raises
    ------
    DataError
        A text cell that a spreadsheet would run as a formula, or an infinite value.
    InputFileError
        A folder that cannot be written.
    """
    target = Path(path)
    text = _csv_text(labels)
    write_text(target, text)
    units = {column.name: column.unit for column in labels.columns}
    write_sidecar(_beside(target), SCHEMA, labels.warnings, labels.origin, units=units, sha256=_sha256(text))


def load_labels(path: str | os.PathLike[str]) -> Labels:
    """Read what :func:`save_labels` wrote.

    Without the JSON file the table is still read: units come from the property names, and a warning says that
    warnings and origin are unknown.

    Raises
    ------
    InputFileError
        One sentence: missing, too large, not UTF-8, wrong columns, a cell that is not a number, a
        failed row without a hole, or a table that was changed after its JSON file was written.
    """
    source = Path(path)
    text = _read_text(source)
    record = _read_record(source, text)
    rows = _read_rows(source, text)
    names = _property_names(source, rows[0])
    body = rows[1:]
    columns = tuple(_column(source, name, place, names, body, record["units"]) for place, name in enumerate(names))
    status = tuple(row[-1] for row in body)
    _check_status(source, status, columns)
    try:
        return Labels(
            sample_ids=tuple(row[0] for row in body),
            set_names=tuple(row[1] for row in body),
            columns=columns,
            status=status,
            warnings=record["warnings"],
            origin=record["origin"],
        )
    except DataError as error:
        raise InputFileError(f"{source}: {error}") from error


def _beside(path: Path) -> Path:
    return path.with_suffix(".json")


def _csv_text(labels: Labels) -> str:
    names = [column.name for column in labels.columns]
    engines = [column.engine for column in labels.columns]
    for cell in (*labels.sample_ids, *labels.set_names, *names, *engines, *labels.status):
        if cell.startswith(_FORMULA_START):
            raise DataError(f"{cell!r} would be a formula in a spreadsheet; begin names with a letter or a digit")
    for column in labels.columns:
        if np.isinf(column.values).any():
            raise DataError(f"label {column.name!r} holds infinite values; a label is a number or a hole (NaN)")
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["sample_id", "set", *names, *(name + _ENGINE for name in names), "status"])
    values = [column.values for column in labels.columns]
    for place, (sample, set_name, status) in enumerate(
        zip(labels.sample_ids, labels.set_names, labels.status, strict=True)
    ):
        numbers = ["" if math.isnan(column[place]) else repr(float(column[place])) for column in values]
        writer.writerow([sample, set_name, *numbers, *engines, status])
    return stream.getvalue()


def _read_text(source: Path) -> str:
    if not source.is_file():
        raise InputFileError(f"label table {source} not found; run: phonograph label CONFIG.toml -o RUN")
    if source.stat().st_size > LARGEST_BYTES:
        raise InputFileError(f"label table {source} is larger than {LARGEST_BYTES:,} bytes; is it the right file?")
    try:
        return source.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputFileError(f"label table {source} is not UTF-8 text ({error.reason}); write it again") from error


def _read_rows(source: Path, text: str) -> list[list[str]]:
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise InputFileError(f"label table {source} is not CSV: {error}") from error
    if len(rows) < 2:
        raise InputFileError(f"label table {source} holds no samples; expected a header and at least one row")
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(rows[0]):
            raise InputFileError(f"{source}, row {number}: expected {len(rows[0])} cells; got {len(row)}")
    return rows


def _property_names(source: Path, header: Sequence[str]) -> list[str]:
    count = (len(header) - 3) // 2
    names = list(header[2 : 2 + count])
    expected = ["sample_id", "set", *names, *(name + _ENGINE for name in names), "status"]
    if count < 1 or list(header) != expected or len(set(names)) != count:
        raise InputFileError(
            f"label table {source} must have the columns sample_id, set, properties, <property>_engine of each, "
            f"status; got {', '.join(header)}"
        )
    return names


def _column(
    source: Path, name: str, place: int, names: Sequence[str], body: Sequence[Sequence[str]], units: Mapping[str, str]
) -> LabelColumn:
    values = [_number(source, row[2 + place], number, name) for number, row in enumerate(body, start=2)]
    engines = {row[2 + len(names) + place] for row in body}
    if len(engines) != 1:
        raise InputFileError(
            f"label table {source}: {name} must come from one engine; got {', '.join(sorted(engines))}"
        )
    unit = units.get(name) or PROPERTY_UNITS.get(name) or name.rpartition("_")[2]
    return LabelColumn(name=name, unit=unit, values=np.array(values), engine=engines.pop())


def _number(source: Path, cell: str, row: int, name: str) -> float:
    if cell == "":
        return math.nan
    value = float(cell) if _NUMBER.fullmatch(cell) else math.nan
    if not math.isfinite(value):
        raise InputFileError(f"{source}, row {row}: {name} must be a number or empty; got {cell!r}")
    return value


def _check_status(source: Path, status: Sequence[str], columns: Sequence[LabelColumn]) -> None:
    """Require a hole in failed rows; an ``ok`` row may have one too, for a property nobody asked of its set."""
    for row, words in enumerate(status, start=2):
        if not words:
            raise InputFileError(f"{source}, row {row}: status must say 'ok' or what failed; got an empty cell")
        if words.startswith("failed: ") and not any(math.isnan(column.values[row - 2]) for column in columns):
            raise InputFileError(f"{source}, row {row}: status {words!r} contradicts a row without an empty cell")


def _read_record(source: Path, text: str) -> Mapping[str, Any]:
    beside = _beside(source)
    if not beside.is_file():
        words = f"{beside.name} is missing beside {source.name}: warnings and origin of the labels are unknown."
        return {"units": {}, "warnings": (words,), "origin": Origin(room="labels")}
    record = read_sidecar(beside, SCHEMA)
    if not all(isinstance(unit, str) for unit in entry(record, "units", dict, beside).values()):
        raise InputFileError(f"{beside}: units must be text; write the labels again")
    if entry(record, "sha256", str, beside) != _sha256(text):
        raise InputFileError(
            f"label table {source} was changed after {beside.name} was written; to accept the table, delete "
            f"{beside.name}"
        )
    return record


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
