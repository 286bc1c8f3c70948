"""The schema of the label store: two versions so far, and the step from the first to the second.

A new store is made by the same steps by which an old one is brought up to date, so both hold the same tables.  A step
adds tables and columns; it never rewrites a label.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from functools import cache

from phonograph.database.connection import Kind, found_schema
from phonograph.errors import ConfigurationError
from phonograph.labels.task import property_unit
from phonograph.types import ARRAY_UNITS, PROPERTY_UNITS

SCHEMA_VERSION = 2
APPLICATION_ID = 0x50484C42  # "PHLB"
PAGE_BYTES = 16384
OK = "ok"

_FIRST = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
    """CREATE TABLE structure (
        id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE CHECK (length(key) = 32),
        numbers BLOB NOT NULL, cell BLOB NOT NULL, positions BLOB NOT NULL) STRICT""",
    """CREATE TABLE calculation (
        id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE CHECK (length(key) = 32),
        engine TEXT NOT NULL, settings TEXT NOT NULL, provides TEXT NOT NULL, crc INTEGER NOT NULL) STRICT""",
    """CREATE TABLE label (
        structure INTEGER NOT NULL REFERENCES structure, calculation INTEGER NOT NULL REFERENCES calculation,
        property TEXT NOT NULL, value REAL, unit TEXT NOT NULL, status TEXT NOT NULL CHECK (status IN
        ('ok', 'not_converged', 'timeout', 'crashed', 'unphysical', 'bad_input')),
        message TEXT NOT NULL, crc INTEGER NOT NULL,
        PRIMARY KEY (structure, calculation, property)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE attempt (
        id INTEGER PRIMARY KEY, structure INTEGER NOT NULL REFERENCES structure,
        calculation INTEGER NOT NULL REFERENCES calculation, ended TEXT NOT NULL, host TEXT NOT NULL,
        status TEXT NOT NULL, message TEXT NOT NULL, seconds REAL NOT NULL, crc INTEGER NOT NULL) STRICT""",
)
"""Schema 1, word by word as its release wrote it: stores of that release are compared with it."""

_ADDED_COLUMNS = (
    # (table, column, type, default): what rows of schema 1 are read as.
    ("structure", "pbc", "TEXT", "'TTT'"),
    ("calculation", "labeller", "TEXT", "''"),
    ("calculation", "arrays", "TEXT", "''"),
    ("calculation", "versions", "TEXT", "'{}'"),
    ("attempt", "cores", "INTEGER", "1"),
    ("attempt", "log", "TEXT", "''"),
)

_SECOND = (
    *(f"ALTER TABLE {t} ADD COLUMN {c} {kind} NOT NULL DEFAULT {default}" for t, c, kind, default in _ADDED_COLUMNS),
    "CREATE INDEX attempt_of ON attempt (structure, calculation)",
    """CREATE TABLE property (
        name TEXT PRIMARY KEY, unit TEXT NOT NULL CHECK (unit <> ''), kind TEXT NOT NULL CHECK (kind IN
        ('number', 'array')), origin TEXT NOT NULL CHECK
        (origin = 'phonograph' OR origin = 'user' AND name LIKE '%_\\_%' ESCAPE '\\')) STRICT, WITHOUT ROWID""",
    """CREATE TABLE array (
        id INTEGER PRIMARY KEY, structure INTEGER NOT NULL REFERENCES structure,
        calculation INTEGER NOT NULL REFERENCES calculation, name TEXT NOT NULL, shape TEXT NOT NULL,
        unit TEXT NOT NULL, data BLOB NOT NULL, crc INTEGER NOT NULL,
        UNIQUE (structure, calculation, name)) STRICT""",
    """CREATE TABLE sample_set (
        id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE CHECK (length(key) = 32), name TEXT NOT NULL,
        sampler TEXT NOT NULL, seed INTEGER, origin TEXT NOT NULL, crc INTEGER NOT NULL) STRICT""",
    """CREATE TABLE provenance (
        sample_set INTEGER NOT NULL REFERENCES sample_set, position INTEGER NOT NULL,
        structure INTEGER NOT NULL REFERENCES structure, sample_id TEXT NOT NULL, sample_index INTEGER NOT NULL,
        temperature_K REAL, amplitude_A REAL, fraction REAL, sample_group TEXT NOT NULL, crc INTEGER NOT NULL,
        PRIMARY KEY (sample_set, position)) STRICT, WITHOUT ROWID""",
    "CREATE INDEX provenance_of ON provenance (structure)",
    # The closed list is kept by the file itself, also against other programs: ALTER TABLE cannot add a CHECK.
    """CREATE TRIGGER label_property BEFORE INSERT ON label WHEN NOT EXISTS (
        SELECT 1 FROM property WHERE name = NEW.property AND unit = NEW.unit AND kind = 'number')
        BEGIN SELECT RAISE(ABORT, 'property or unit is not in the table property'); END""",
    """CREATE TRIGGER array_property BEFORE INSERT ON array WHEN NOT EXISTS (
        SELECT 1 FROM property WHERE name = NEW.name AND unit = NEW.unit AND kind = 'array')
        BEGIN SELECT RAISE(ABORT, 'array or unit is not in the table property'); END""",
)

_FIRST_META = {
    "format": "phonograph label store",
    "units": "cell and positions: angstrom, rows are lattice vectors, little-endian f8; numbers: little-endian i4",
    "keys": "structure: sha256(i8 count, numbers, cell, positions); crc: zlib.crc32 of the fields joined by 0x1f",
}
_SECOND_META = {
    "labels": "one row per property; units in columns unit; status 'ok' or the class of failure, then value is NULL",
    "arrays": "data: little-endian f8 in C order; shape: JSON; stress: positive is tensile; units in column unit",
    "pbc": "all structures are periodic along the three lattice vectors",
    "attempts": "seconds: wall time, s; core-seconds = seconds * cores; ended: UTC; log: end of a program's output",
    "provenance": "which sets hold a structure; one structure may be in several; temperature K, amplitude angstrom",
}
META = {1: _FIRST_META, 2: {**_FIRST_META, **_SECOND_META}}
_STEPS = {1: _FIRST, 2: _SECOND}


def upgrade(connection: sqlite3.Connection) -> None:
    """Bring an empty database or an older store to :data:`SCHEMA_VERSION`, inside the caller's transaction."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    for step in range(version + 1, SCHEMA_VERSION + 1):
        for statement in _STEPS[step]:
            connection.execute(statement)
        connection.executemany("INSERT OR IGNORE INTO meta (name, value) VALUES (?, ?)", META[step].items())
    if version < 2:
        rows = [(name, unit, "number", "phonograph") for name, unit in PROPERTY_UNITS.items()]
        rows += [(name, unit, "array", "phonograph") for name, unit in ARRAY_UNITS.items()]
        add_properties(connection, [*rows, *_properties_in_use(connection)])
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def add_properties(connection: sqlite3.Connection, rows: list[tuple[str, str, str, str]]) -> None:
    """Add (name, unit, kind, origin) to the list of properties, and mend rows that are damaged."""
    connection.executemany(
        "INSERT INTO property (name, unit, kind, origin) VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET "
        "unit = excluded.unit, kind = excluded.kind, origin = excluded.origin "
        "WHERE (unit, kind, origin) <> (excluded.unit, excluded.kind, excluded.origin)",
        rows,
    )


def property_row(name: str) -> tuple[str, str, str, str]:
    """Return the row of a number in the list of properties."""
    return (name, property_unit(name), "number", "phonograph" if name in PROPERTY_UNITS else "user")


def array_row(name: str) -> tuple[str, str, str, str]:
    """Return the row of an array in the list of properties."""
    return (name, ARRAY_UNITS[name], "array", "phonograph")


def _properties_in_use(connection: sqlite3.Connection) -> Iterator[tuple[str, str, str, str]]:
    for (provides,) in connection.execute("SELECT provides FROM calculation").fetchall():
        for name in provides.split(","):
            try:
                yield property_row(name)
            except ConfigurationError:  # a damaged row: problems() names it
                continue


@cache
def expected(version: int) -> tuple[tuple[str, ...], ...]:
    """Return what :func:`phonograph.database.connection.found_schema` must find in a store of this version."""
    memory = sqlite3.connect(":memory:", isolation_level=None)
    try:
        for step in range(1, version + 1):
            for statement in _STEPS[step]:
                memory.execute(statement)
        return found_schema(memory)
    finally:
        memory.close()


def show_as_present(connection: sqlite3.Connection) -> None:
    """Let a reader of a schema-1 store see schema 2: views over its tables, in memory; the file is not touched."""
    connection.execute("PRAGMA temp_store = MEMORY")
    for table in dict.fromkeys(table for table, *_ in _ADDED_COLUMNS):
        added = ", ".join(f"{default} AS {column}" for t, column, _, default in _ADDED_COLUMNS if t == table)
        connection.execute(f"CREATE TEMP VIEW {table} AS SELECT *, {added} FROM main.{table}")  # noqa: S608
    for statement in _SECOND:
        if statement.startswith("CREATE TABLE"):
            connection.execute(statement.replace("CREATE TABLE", "CREATE TEMP TABLE", 1))


STORE = Kind(
    name="label store",
    kept="labels",
    application_id=APPLICATION_ID,
    version=SCHEMA_VERSION,
    page_bytes=PAGE_BYTES,
    expected=expected,
    upgrade=upgrade,
    show_as_present=show_as_present,
)
"""The label store as a kind of file."""
