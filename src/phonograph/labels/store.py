"""The label store: one SQLite file that survives kill -9, a full disk and ten years.

One driver writes, any number of readers read.  Rows are content-addressed: a label belongs to the SHA-256 of a
structure and the SHA-256 of a calculation (engine, version, settings), so it is never computed twice and never
mistaken for another.  Every row carries a CRC-32; a row that fails it counts as missing.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sqlite3
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from phonograph.errors import InputFileError, MissingEngineError
from phonograph.labels.failures import FAILURES
from phonograph.labels.holder import held
from phonograph.labels.task import Calculation, StructureBytes, property_unit, structure_key
from phonograph.types import LabelResult

SCHEMA_VERSION = 1
APPLICATION_ID = 0x50484C42  # "PHLB"
OK = "ok"
_STATUSES = ", ".join(f"'{status}'" for status in (OK, *FAILURES))
_SECONDS_FOR_A_LOCK = 30.0

SCHEMA = {
    "meta": "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
    "structure": """CREATE TABLE structure (
        id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE CHECK (length(key) = 32),
        numbers BLOB NOT NULL, cell BLOB NOT NULL, positions BLOB NOT NULL) STRICT""",
    "calculation": """CREATE TABLE calculation (
        id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE CHECK (length(key) = 32),
        engine TEXT NOT NULL, settings TEXT NOT NULL, provides TEXT NOT NULL, crc INTEGER NOT NULL) STRICT""",
    "label": f"""CREATE TABLE label (
        structure INTEGER NOT NULL REFERENCES structure, calculation INTEGER NOT NULL REFERENCES calculation,
        property TEXT NOT NULL, value REAL, unit TEXT NOT NULL, status TEXT NOT NULL CHECK (status IN ({_STATUSES})),
        message TEXT NOT NULL, crc INTEGER NOT NULL,
        PRIMARY KEY (structure, calculation, property)) STRICT, WITHOUT ROWID""",
    "attempt": """CREATE TABLE attempt (
        id INTEGER PRIMARY KEY, structure INTEGER NOT NULL REFERENCES structure,
        calculation INTEGER NOT NULL REFERENCES calculation, ended TEXT NOT NULL, host TEXT NOT NULL,
        status TEXT NOT NULL, message TEXT NOT NULL, seconds REAL NOT NULL, crc INTEGER NOT NULL) STRICT""",
}
_META = (
    ("format", "phonograph label store"),
    ("units", "cell and positions: angstrom, rows are lattice vectors, little-endian f8; numbers: little-endian i4"),
    ("keys", "structure: sha256(i8 count, numbers, cell, positions); crc: zlib.crc32 of the fields joined by 0x1f"),
)


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One finished attempt: ``final`` results become labels, others (crashes that are retried) only a log entry."""

    structure: StructureBytes
    calculation: Calculation
    result: LabelResult
    final: bool = True


@dataclass(frozen=True, kw_only=True)
class Found:
    """What the store knows about one label: its result (None: nothing), and whether a damaged row was ignored."""

    result: LabelResult | None
    damaged: bool = False


class LabelStore:
    """An open store; made by :func:`open_store`."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection

    def find(self, structure: bytes, calculation: Calculation) -> Found:
        """Return the stored result of a calculation on the structure with this key.

        A row whose checksum fails, or a label with a property missing, is reported as damaged and not used.
        """
        with _told(self.path, "read"):
            rows = self._connection.execute(
                "SELECT property, value, unit, status, message, label.crc FROM label "
                "JOIN structure ON structure.id = label.structure JOIN calculation ON calculation.id = calculation "
                "WHERE structure.key = ? AND calculation.key = ?",
                (structure, calculation.key),
            ).fetchall()
        if not rows:
            return Found(result=None)
        sound = {
            name: (value, status, message)
            for name, value, unit, status, message, crc in rows
            if crc == _label_crc(structure, calculation.key, name, value, unit, status, message)
            and unit == property_unit(name)
        }
        if set(sound) != set(calculation.provides):
            return Found(result=None, damaged=True)
        failed = [(status, message) for _, status, message in sound.values() if status != OK]
        if failed:
            return Found(result=LabelResult(values={}, failure=failed[0][0], message=failed[0][1]))
        return Found(result=LabelResult(values={name: sound[name][0] for name in calculation.provides}))

    def record(self, attempts: Sequence[Attempt]) -> None:
        """Write attempts in one transaction: when this returns they survive kill -9 and power loss.

        Raises
        ------
        InputFileError
            Full disk or read-only folder; everything recorded before is kept.
        """
        if not attempts:
            return
        with _told(self.path, "write"), _transaction(self._connection):
            for attempt in attempts:
                self._write(attempt)

    def _write(self, attempt: Attempt) -> None:
        execute, s, c, result = self._connection.execute, attempt.structure, attempt.calculation, attempt.result
        execute(
            "INSERT OR IGNORE INTO structure (key, numbers, cell, positions) VALUES (?, ?, ?, ?)",
            (s.key, s.numbers, s.cell, s.positions),
        )
        provides = ",".join(c.provides)
        execute(
            "INSERT OR IGNORE INTO calculation (key, engine, settings, provides, crc) VALUES (?, ?, ?, ?, ?)",
            (c.key, c.engine, c.settings, provides, _crc(c.key, c.engine, c.settings, provides)),
        )
        (structure_id,) = execute("SELECT id FROM structure WHERE key = ?", (s.key,)).fetchone()
        (calculation_id,) = execute("SELECT id FROM calculation WHERE key = ?", (c.key,)).fetchone()
        status = result.failure or OK
        ended, host = datetime.now(UTC).isoformat(timespec="seconds"), socket.gethostname()
        log = (ended, host, status, result.message, float(result.seconds))
        execute(
            "INSERT INTO attempt (structure, calculation, ended, host, status, message, seconds, crc) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (structure_id, calculation_id, *log, _crc(s.key, c.key, *log)),
        )
        for name in c.provides if attempt.final else ():
            # SQLite stores −0.0 as 0; adding zero keeps the checksum right.
            value = float(result.values[name]) + 0.0 if not result.failure else None
            row = (name, value, property_unit(name), status, result.message)
            execute(
                "INSERT OR REPLACE INTO label (structure, calculation, property, value, unit, status, message, crc) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (structure_id, calculation_id, *row, _label_crc(s.key, c.key, *row)),
            )

    def problems(self) -> tuple[str, ...]:
        """Check every page, hash and checksum; return one sentence per damaged place (empty: all is well)."""
        with _told(self.path, "read"):
            pages = [row[0] for row in self._connection.execute("PRAGMA integrity_check(10)") if row[0] != "ok"]
            if pages:
                return tuple(f"{self.path}: {' '.join(str(page).split())}" for page in pages)
            return (*self._wrong_structures(), *self._wrong_rows())

    def _wrong_structures(self) -> Iterator[str]:
        for number, key, *blobs in self._connection.execute("SELECT id, key, numbers, cell, positions FROM structure"):
            if structure_key(*blobs) != key:
                yield f"{self.path}: structure {number} does not match its key"

    def _wrong_rows(self) -> Iterator[str]:
        for number, key, engine, settings, provides, crc in self._connection.execute(
            "SELECT id, key, engine, settings, provides, crc FROM calculation"
        ):
            if crc != _crc(key, engine, settings, provides):
                yield f"{self.path}: calculation {number} fails its checksum"
        joined = "JOIN structure AS s ON s.id = structure JOIN calculation AS c ON c.id = calculation"
        for s, c, *row, crc in self._connection.execute(
            f"SELECT s.key, c.key, property, value, unit, status, message, t.crc FROM label AS t {joined}"  # noqa: S608
        ):
            if crc != _label_crc(s, c, *row):
                yield f"{self.path}: a label of structure {s.hex()[:12]} fails its checksum"
        for number, s, c, *log, crc in self._connection.execute(
            f"SELECT t.id, s.key, c.key, ended, host, status, message, seconds, t.crc FROM attempt AS t {joined}"  # noqa: S608
        ):
            if crc != _crc(s, c, *log):
                yield f"{self.path}: attempt {number} fails its checksum"


@contextlib.contextmanager
def open_store(path: str | os.PathLike[str], mode: Literal["read", "write"] = "read") -> Iterator[LabelStore]:
    """Open a label store.

    Parameters
    ----------
    path
        The SQLite file; ``"write"`` makes it, and its folder, where missing.
    mode
        ``"read"``: any number of processes at a time, also while one writes.  ``"write"``: one process at a time,
        held by a lock that the system releases when its owner dies, however it dies.

    Raises
    ------
    InputFileError
        Missing, foreign, damaged or newer file; read-only folder; or another driver writes (the sentence names its
        process and machine).
    MissingEngineError
        An SQLite older than 3.37, which has no strict tables.
    """
    if sqlite3.sqlite_version_info < (3, 37):
        raise MissingEngineError(f"label stores need SQLite 3.37 or newer; this Python has {sqlite3.sqlite_version}")
    target = Path(path)
    if mode == "read":
        if not target.is_file():
            raise InputFileError(f"label store {target} not found; label some configurations first")
        with _connected(target, "ro") as store:
            yield store
    else:
        with held(target), _connected(target, "rwc") as store:
            yield store


@contextlib.contextmanager
def _connected(path: Path, mode: str) -> Iterator[LabelStore]:
    writes = mode != "ro"
    with _told(path, "open"):
        connection = _connection(path, mode)
    try:
        with _told(path, "open"):
            if writes:
                connection.execute("PRAGMA synchronous = FULL")
                _create_if_new(connection)
            _check(path, connection, thorough=writes)
            if writes:
                connection.execute("PRAGMA journal_mode = DELETE")
        yield LabelStore(path, connection)
    finally:
        connection.close()


def _connection(path: Path, mode: str) -> sqlite3.Connection:
    if mode == "ro" and Path(f"{path}-journal").exists():
        _roll_back(path)
    connection = sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?mode={mode}", uri=True, isolation_level=None, timeout=_SECONDS_FOR_A_LOCK
    )
    # The file may come from someone else: its schema is data, not code.
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    # A damaged byte must reach the checksum instead of stopping the read.
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    return connection


def _roll_back(path: Path) -> None:
    """Undo the half-written transaction of a killed writer; SQLite's own locks keep this safe beside a live one."""
    with contextlib.suppress(sqlite3.OperationalError):  # read-only folder: the reader's own error says so
        with contextlib.closing(sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=rw", uri=True)) as writable:
            writable.execute("SELECT count(*) FROM sqlite_master").fetchone()


def _create_if_new(connection: sqlite3.Connection) -> None:
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone() != (0,):
        return
    if connection.execute("PRAGMA application_id").fetchone() != (0,):
        return
    connection.execute("PRAGMA page_size = 16384")
    with _transaction(connection):
        for statement in SCHEMA.values():
            connection.execute(statement)
        connection.executemany("INSERT INTO meta (name, value) VALUES (?, ?)", _META)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _check(path: Path, connection: sqlite3.Connection, *, thorough: bool) -> None:
    if connection.execute("PRAGMA application_id").fetchone() != (APPLICATION_ID,):
        raise InputFileError(f"{path} is an SQLite file but not a label store; give another path")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version != SCHEMA_VERSION:
        raise InputFileError(
            f"label store {path} has schema version {version}; this Phonograph reads version {SCHEMA_VERSION}: "
            "use a matching release"
        )
    found = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
    if found != SCHEMA:
        raise InputFileError(f"label store {path} does not have the schema of a label store; give another path")
    if thorough and connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
        raise InputFileError(_damaged(path))


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


@contextlib.contextmanager
def _told(path: Path, verb: str) -> Iterator[None]:
    """Turn SQLite's errors into one sentence that names the file."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise InputFileError(
            f"cannot {verb} label store {path}: {error}; it needs a writable folder with free space "
            "(labels finished so far are kept; run again to continue)"
        ) from error
    except UnicodeDecodeError as error:
        # SQLite's own message quotes a damaged schema.
        raise InputFileError(_damaged(path)) from error
    except sqlite3.DatabaseError as error:
        if type(error) is not sqlite3.DatabaseError:
            raise  # a misuse of the library is a bug, not a damaged file
        raise InputFileError(f"{_damaged(path)} ({error})") from error


def _damaged(path: Path) -> str:
    return f"label store {path} is damaged or not SQLite; move it away (or restore a copy) and run again"


def _crc(*fields: bytes | str | float | None) -> int:
    return zlib.crc32(b"\x1f".join(_field(field) for field in fields))


def _label_crc(structure: bytes, calculation: bytes, *row: str | float | None) -> int:
    return _crc(structure, calculation, *row)


def _field(field: bytes | str | float | None) -> bytes:
    if field is None:
        return b""
    if isinstance(field, bytes):
        return field
    return field.encode() if isinstance(field, str) else struct.pack("<d", field)
