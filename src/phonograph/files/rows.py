"""CSV tables of small frozen dataclasses: one column per field, read back strictly."""

from __future__ import annotations

import csv
import io
import os
import typing
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from phonograph.atomic import write_text
from phonograph.errors import InputFileError

Row = TypeVar("Row")

LARGEST_TABLE_BYTES = 2_000_000_000
"""A larger file is refused before it is read."""

_WORDS = {int: "a whole number", float: "a number", str: "text"}


def write_rows(path: str | os.PathLike[str], cls: type[Row], rows: Sequence[Row], columns: Sequence[str] = ()) -> None:
    """Write ``rows`` as CSV (UTF-8, comma, one header line), atomically.

    Numbers are written with all their digits, so that reading gives the same bits; undefined numbers as ``nan``.

    Parameters
    ----------
    path
        File to write or replace.
    cls
        Dataclass of the rows; its fields are str, int or float.
    rows
        What to write.
    columns
        Order of the columns; the order of the fields where not given.
    """
    names, types = _columns(cls, columns)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([types[name](getattr(row, name)) for name in names] for row in rows)
    write_text(path, stream.getvalue())


def read_rows(path: str | os.PathLike[str], cls: type[Row], columns: Sequence[str] = ()) -> tuple[Row, ...]:
    """Read what :func:`write_rows` wrote.

    Raises
    ------
    InputFileError
        A missing file, another header, a line of another length or a cell of another type, naming the line.
    """
    names, types = _columns(cls, columns)
    return tuple(_row(path, line, cells, names, types, cls) for line, cells in _lines(Path(path), names))


def _columns(cls: type[Any], columns: Sequence[str]) -> tuple[list[str], dict[str, type]]:
    hints = typing.get_type_hints(cls)
    names = list(columns) or [item.name for item in fields(cls)]
    return names, {name: hints[name] for name in names}


def _lines(path: Path, names: list[str]) -> Iterator[tuple[int, list[str]]]:
    if not path.is_file():
        raise InputFileError(f"{path} not found; run the room that writes it first")
    if path.stat().st_size > LARGEST_TABLE_BYTES:
        raise InputFileError(f"{path} is larger than {LARGEST_TABLE_BYTES} bytes; is it a table of this program?")
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            header = next(reader, [])
            if header != names:
                raise InputFileError(
                    f"{path}: the header must be {','.join(names)}; got {','.join(header)[:200] or 'nothing'}"
                )
            for cells in reader:
                yield reader.line_num, cells
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputFileError(f"{path} is not a CSV table in UTF-8: {error}; write it again") from error


def _row(
    path: str | os.PathLike[str], line: int, cells: list[str], names: list[str], types: dict[str, type], cls: type[Row]
) -> Row:
    if len(cells) != len(names):
        raise InputFileError(f"{path} line {line}: expected {len(names)} cells; got {len(cells)}")
    values = {}
    for name, cell in zip(names, cells, strict=True):
        try:
            values[name] = _integer(cell) if types[name] is int else types[name](cell)
        except ValueError as error:
            words = _WORDS[types[name]]
            raise InputFileError(f"{path} line {line}: {name} must be {words}; got {cell[:60]!r}") from error
    return cls(**values)


def _integer(cell: str) -> int:
    value = int(cell)
    if not -(2**63) <= value < 2**63:
        raise ValueError("does not fit into 64 bits")
    return value
