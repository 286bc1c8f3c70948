"""``study/`` of a run: ranked table, all networks, effects, tests of the winner, as CSV, and ``study.json``.

The tables of points and networks have one column per axis, between the fixed ones.
"""

from __future__ import annotations

import csv
import io
import math
import os
import typing
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

from phonograph.atomic import write_text
from phonograph.errors import InputFileError
from phonograph.files.rows import LARGEST_TABLE_BYTES, read_rows, write_rows
from phonograph.files.sidecar import entry, read_sidecar, write_sidecar
from phonograph.types import (
    HyperparameterStudy,
    StudyCell,
    StudyCheck,
    StudyEffect,
    StudyFinal,
    StudyShare,
    StudyTrial,
    StudyVerdict,
)

SCHEMA = "phonograph.hyperparameters/2"
FIRST_SCHEMA = "phonograph.hyperparameters/1"
"""Before finals had a skill and there were verdicts; read without them."""

SIDECAR = "study.json"
RANKED, TRIALS = "study.csv", "trials.csv"
_PLAIN: Mapping[str, tuple[str, type[Any]]] = {
    "effects": ("effects.csv", StudyEffect),
    "shares": ("shares.csv", StudyShare),
    "finals": ("final.csv", StudyFinal),
    "checks": ("check.csv", StudyCheck),
}
_BEFORE_SKILLS = tuple(item.name for item in fields(StudyFinal) if item.name != "skill")
Row = TypeVar("Row")


def save_study_tables(study: HyperparameterStudy, folder: str | os.PathLike[str]) -> None:
    """Write the tables of a study and what they do not hold; ``study.json`` last.

    Raises
    ------
    InputFileError
        A folder that cannot be written.
    """
    place = Path(folder)
    axes = list(study.axes)
    _write(place / RANKED, StudyCell, study.cells, axes)
    _write(place / TRIALS, StudyTrial, study.trials, axes)
    for name, (file, cls) in _PLAIN.items():
        write_rows(place / file, cls, getattr(study, name))
    write_sidecar(
        place / SIDECAR,
        SCHEMA,
        study.warnings,
        study.origin,
        axes=[[name, list(levels)] for name, levels in study.axes.items()],
        units=dict(study.units),
        strategy=study.strategy,
        collection=study.collection,
        wall_seconds=study.wall_seconds,
        core_seconds=study.core_seconds,
        verdicts=[asdict(line) for line in study.verdicts],
    )


def load_study_tables(folder: str | os.PathLike[str]) -> HyperparameterStudy:
    """Read what :func:`save_study_tables` wrote; raises :class:`InputFileError` naming file and line."""
    place = Path(folder)
    path = place / SIDECAR
    document = read_sidecar(path, SCHEMA, FIRST_SCHEMA)
    old = document["schema"] == FIRST_SCHEMA
    axes = {str(name): tuple(str(level) for level in levels) for name, levels in entry(document, "axes", list, path)}
    return HyperparameterStudy(
        axes=axes,
        units={str(k): str(v) for k, v in entry(document, "units", dict, path).items()},
        strategy=entry(document, "strategy", str, path),
        collection=entry(document, "collection", str, path),
        wall_seconds=float(entry(document, "wall_seconds", float, path)),
        core_seconds=float(entry(document, "core_seconds", float, path)),
        cells=_read(place / RANKED, StudyCell, list(axes)),
        trials=_read(place / TRIALS, StudyTrial, list(axes)),
        warnings=document["warnings"],
        origin=document["origin"],
        verdicts=() if old else tuple(_verdict(line, path) for line in entry(document, "verdicts", list, path)),
        **{
            name: read_rows(place / file, cls, _BEFORE_SKILLS if old and cls is StudyFinal else ())
            for name, (file, cls) in _PLAIN.items()
        },
    )


def _verdict(line: Any, source: Path) -> StudyVerdict:
    """Return one verdict; undefined numbers are null in JSON."""
    types = typing.get_type_hints(StudyVerdict)
    try:
        plain: dict[str, Any] = {
            name: math.nan if kind is float and line[name] is None else kind(line[name]) for name, kind in types.items()
        }
        return StudyVerdict(**plain)
    except (TypeError, KeyError, ValueError) as error:
        raise InputFileError(f"{source}: a verdict is damaged ({error}); run phonograph study again") from error


def _columns(cls: type[Any], axes: Sequence[str]) -> tuple[list[str], dict[str, type]]:
    """Return the header, with one column per axis in place of ``values``, and the type of each fixed column."""
    names: list[str] = []
    for item in fields(cls):
        # An axis may have the name of a fixed column.
        names += [f"axis:{axis}" for axis in axes] if item.name == "values" else [item.name]
    return names, typing.get_type_hints(cls)


def _write(path: Path, cls: type[Row], rows: Sequence[Row], axes: Sequence[str]) -> None:
    names, types = _columns(cls, axes)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([name.removeprefix("axis:") for name in names])
    for row in rows:
        levels = dict(zip(axes, getattr(row, "values"), strict=True))  # noqa: B009 - a field of both row types
        writer.writerow(
            [
                levels[name.removeprefix("axis:")] if name.startswith("axis:") else types[name](getattr(row, name))
                for name in names
            ]
        )
    write_text(path, stream.getvalue())


def _read(path: Path, cls: type[Row], axes: Sequence[str]) -> tuple[Row, ...]:
    names, types = _columns(cls, axes)
    header = [name.removeprefix("axis:") for name in names]
    if not path.is_file():
        raise InputFileError(f"{path} not found; run phonograph study again")
    if path.stat().st_size > LARGEST_TABLE_BYTES:
        raise InputFileError(f"{path} is larger than {LARGEST_TABLE_BYTES} bytes; is it a table of this program?")
    try:
        lines = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline=""), strict=True))
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputFileError(f"{path} is not a CSV table in UTF-8: {error}; run phonograph study again") from error
    if not lines or lines[0] != header:
        found = ",".join(lines[0])[:200] if lines else "nothing"
        raise InputFileError(f"{path}: the header must be {','.join(header)}; got {found}")
    rows = []
    for number, cells in enumerate(lines[1:], start=2):
        if len(cells) != len(names):
            raise InputFileError(f"{path} line {number}: expected {len(names)} cells; got {len(cells)}")
        values: dict[str, Any] = {
            "values": tuple(c for n, c in zip(names, cells, strict=True) if n.startswith("axis:"))
        }
        for name, cell in zip(names, cells, strict=True):
            if not name.startswith("axis:"):
                try:
                    values[name] = types[name](cell)
                except ValueError as error:
                    raise InputFileError(f"{path} line {number}: {name} cannot be {cell[:60]!r}") from error
        rows.append(cls(**values))
    return tuple(rows)
