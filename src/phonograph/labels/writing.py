"""What the driver puts into the label store, inside its transaction."""

# ruff: noqa: S608 - queries are put together from constant names of columns only.
from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib import metadata
from typing import Any

from phonograph.labels.attempts import Attempt
from phonograph.labels.failures import PASSING, checked
from phonograph.labels.reading import ARRAYS, LABEL, SAMPLE_COLUMNS, SET_COLUMNS
from phonograph.labels.rows import array_row, attempt_crc, calculation_crc, calculation_of, crc, found_of, nan_as_null
from phonograph.labels.schema import OK, add_properties, property_row
from phonograph.labels.schema import array_row as array_property
from phonograph.labels.task import Calculation, StructureBytes, canonical_json, property_unit
from phonograph.types import Configurations

LONGEST_LOG = 4000
"""Characters of a program's last lines that are kept."""

_CALCULATION_COLUMNS = "key, engine, settings, provides, labeller, arrays, versions"
_ATTEMPT_COLUMNS = "structure, calculation, ended, host, status, message, seconds, cores, log, crc"


def record(connection: sqlite3.Connection, attempt: Attempt, known: dict[bytes, int]) -> None:
    """Log one attempt, and store its label where it decides it; ``known`` holds the numbers of calculations."""
    s, c, told = attempt.structure, attempt.calculation, attempt.result
    # The worker has checked it too; what comes from a file is checked where it is taken in.
    result = replace(checked(told, c.provides, c.arrays, len(s.numbers) // 4), seconds=told.seconds)
    attempt = replace(attempt, result=result)
    if c.key not in known:
        known[c.key] = _calculation(connection, c)
    place = (_structure(connection, s), known[c.key])
    _log(connection, attempt, place)
    if attempt.final and result.failure not in PASSING:
        _label(connection, attempt, place)


def _structure(connection: sqlite3.Connection, s: StructureBytes) -> int:
    content = (s.numbers, s.cell, s.positions)
    row = connection.execute(
        "SELECT id, (numbers, cell, positions) = (?, ?, ?) FROM structure WHERE key = ?", (*content, s.key)
    ).fetchone()
    if row is None:
        added = connection.execute(
            "INSERT INTO structure (key, numbers, cell, positions) VALUES (?, ?, ?, ?)", (s.key, *content)
        )
        return int(added.lastrowid or 0)
    if not row[1]:  # damaged: the key says what it was
        connection.execute("UPDATE structure SET numbers = ?, cell = ?, positions = ? WHERE id = ?", (*content, row[0]))
    return int(row[0])


def _calculation(connection: sqlite3.Connection, c: Calculation) -> int:
    properties = [property_row(name) for name in c.provides] + [array_property(name) for name in c.arrays]
    add_properties(connection, properties)
    labeller = str(json.loads(c.task).get("class", ""))
    described = (c.key, c.engine, c.settings, ",".join(c.provides), labeller, ",".join(c.arrays), _versions())
    row = _calculation_row(connection, c.key)
    if row is None:
        added = connection.execute(
            f"INSERT INTO calculation ({_CALCULATION_COLUMNS}, crc) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (*described, calculation_crc(described)),
        )
        return int(added.lastrowid or 0)
    if calculation_of((*row[2:], row[1])) is None:
        connection.execute(
            f"UPDATE calculation SET ({_CALCULATION_COLUMNS}, crc) = (?, ?, ?, ?, ?, ?, ?, ?) WHERE id = ?",
            (*described, calculation_crc(described), row[0]),
        )
    return int(row[0])


def _calculation_row(connection: sqlite3.Connection, key: bytes) -> Any:
    """Return (number, checksum, columns) of a calculation, also where the key itself is damaged: the checksum knows."""
    rows = connection.execute(f"SELECT id, crc, {_CALCULATION_COLUMNS} FROM calculation").fetchall()
    own = [row for row in rows if row[2] == key]
    return next(iter(own or (row for row in rows if calculation_of((key, *row[3:], row[1])) is not None)), None)


@cache
def _versions() -> str:
    """Return the versions of the libraries with which a calculation was first recorded; its engine names its own."""
    found = {}
    for package in ("phonograph", "numpy", "ase"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return canonical_json(found)


def _log(connection: sqlite3.Connection, attempt: Attempt, place: tuple[int, int]) -> None:
    """Add the attempt to the log, unless it is there already."""
    result, status = attempt.result, attempt.result.failure or OK
    seconds = float(result.seconds) + 0.0
    log = (attempt.ended, attempt.host, status, result.message, seconds, int(attempt.cores), attempt.log[-LONGEST_LOG:])
    key = (attempt.structure.key, attempt.calculation.key)
    if status in PASSING:
        before = connection.execute(
            "SELECT status, message FROM attempt WHERE structure = ? AND calculation = ? ORDER BY id DESC LIMIT 1",
            place,
        ).fetchone()
        if before == (status, result.message):
            return
    known = connection.execute(
        "SELECT 1 FROM attempt WHERE structure = ? AND calculation = ? AND (ended, host, status, message, seconds, "
        "cores, log) = (?, ?, ?, ?, ?, ?, ?)",
        (*place, *log),
    ).fetchone()
    if known is not None:
        return
    connection.execute(
        f"INSERT INTO attempt ({_ATTEMPT_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*place, *log, attempt_crc(key, log)),
    )


def _label(connection: sqlite3.Connection, attempt: Attempt, place: tuple[int, int]) -> None:
    """Store the label, unless a sound success is there."""
    c, result = attempt.calculation, attempt.result
    key = (attempt.structure.key, c.key)
    rows = connection.execute(LABEL, key).fetchall()
    if rows:
        blobs = connection.execute(ARRAYS, key).fetchall()
        before = found_of(key, rows, blobs, c.provides, c.arrays).result
        if before is not None and not before.failure:
            return
        for table in ("label", "array"):
            connection.execute(f"DELETE FROM {table} WHERE structure = ? AND calculation = ?", place)
    status = result.failure or OK
    for name in c.provides:
        # SQLite stores −0.0 as 0; adding zero keeps the checksum right.
        value = None if result.failure else float(result.values[name]) + 0.0
        row = (name, value, property_unit(name), status, result.message)
        connection.execute(
            "INSERT INTO label (structure, calculation, property, value, unit, status, message, crc) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (*place, *row, crc(*key, *row)),
        )
    for name in () if result.failure else c.arrays:
        connection.execute(
            "INSERT INTO array (structure, calculation, name, shape, unit, data, crc) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*place, *array_row(key, name, result.arrays[name])),
        )


def register(connection: sqlite3.Connection, sets: Configurations, structures: Sequence[StructureBytes]) -> None:
    """Note the samples of a set, unless it is the newest of its name already."""
    row = _set_row(sets, structures)
    newest = connection.execute("SELECT key, crc FROM sample_set WHERE name = ? ORDER BY id DESC LIMIT 1", (sets.name,))
    if newest.fetchone() == (row[0], crc(*row)):
        return
    for (old,) in connection.execute("SELECT id FROM sample_set WHERE key = ?", row[:1]).fetchall():
        connection.execute("DELETE FROM provenance WHERE sample_set = ?", (old,))
        connection.execute("DELETE FROM sample_set WHERE id = ?", (old,))
    (number,) = connection.execute("SELECT coalesce(max(id), 0) + 1 FROM sample_set").fetchone()
    connection.execute(
        f"INSERT INTO sample_set (id, {SET_COLUMNS}, crc) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (number, *row, crc(*row)),
    )
    for position, s in enumerate(structures):
        sample = _sample_row(sets, position)
        connection.execute(
            f"INSERT INTO provenance (sample_set, structure, {SAMPLE_COLUMNS}, crc) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (number, _structure(connection, s), *sample, crc(row[0], s.key, *sample)),
        )


def _set_row(sets: Configurations, structures: Sequence[StructureBytes]) -> tuple[Any, ...]:
    origin = sets.origin
    # Settings are plain values; whatever else a sampler of others puts there is kept as text.
    text = json.dumps(
        {"settings": dict(origin.settings), "inputs": dict(origin.inputs), "versions": dict(origin.versions)},
        sort_keys=True,
        default=str,
    )
    digest = hashlib.sha256(canonical_json([sets.name, sets.sampler, origin.seed, text]).encode())
    for position, s in enumerate(structures):
        digest.update(s.key + repr(_sample_row(sets, position)).encode())
    return (digest.digest(), sets.name, sets.sampler, origin.seed, text)


def _sample_row(sets: Configurations, position: int) -> tuple[Any, ...]:
    return (
        position,
        f"{sets.name}-{position:05d}",
        int(sets.index[position]),
        nan_as_null(float(sets.temperature_K[position])),
        nan_as_null(float(sets.amplitude_A[position])),
        nan_as_null(float(sets.fraction[position])),
        sets.group[position],
    )
