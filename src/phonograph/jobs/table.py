"""The table of jobs: one SQLite file with a row per job; one driver writes it, anyone reads it."""

# ruff: noqa: S608 - queries are put together from constant names of columns only.
from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

from phonograph.database.connection import Kind, found_schema, network_warning, told, transaction
from phonograph.database.opened import opened
from phonograph.errors import ConfigurationError, InputFileError
from phonograph.jobs.entry import Outcome
from phonograph.jobs.job import DONE, FAILURES, WAITING, Job, JobResult, canonical

SCHEMA_VERSION = 1
_KEYS_AT_A_TIME = 500
_STATES = ", ".join(f"'{state}'" for state in (WAITING, DONE, *FAILURES))
_COLUMNS = "key, status, result, message, seconds, cores, attempts, host, ended, crc"
_SCHEMA = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
    f"""CREATE TABLE job (
        position INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE CHECK (length(key) = 64), kind TEXT NOT NULL,
        parameters TEXT NOT NULL, status TEXT NOT NULL CHECK (status IN ({_STATES})), result TEXT NOT NULL,
        message TEXT NOT NULL, seconds REAL NOT NULL, cores INTEGER NOT NULL, attempts INTEGER NOT NULL,
        host TEXT NOT NULL, ended TEXT NOT NULL, crc INTEGER NOT NULL) STRICT""",
)
_META = {
    "format": "phonograph job table",
    "jobs": "key: sha256 of kind and parameters; result: JSON; seconds: wall time, s; core-seconds = seconds * cores",
}


def _upgrade(connection: sqlite3.Connection) -> None:
    for statement in _SCHEMA:
        connection.execute(statement)
    connection.executemany("INSERT INTO meta (name, value) VALUES (?, ?)", _META.items())
    connection.execute(f"PRAGMA application_id = {JOBS.application_id}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


@cache
def _expected(version: int) -> tuple[tuple[str, ...], ...]:
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as memory:
        for statement in _SCHEMA:
            memory.execute(statement)
        return found_schema(memory)


JOBS = Kind(
    name="job table",
    kept="jobs",
    application_id=0x50484A54,  # "PHJT"
    version=SCHEMA_VERSION,
    page_bytes=4096,
    expected=_expected,
    upgrade=_upgrade,
)


class JobTable:
    """An open table of jobs; made by :func:`open_jobs`.

    Attributes
    ----------
    path
        Its file; the folders of its jobs lie in ``<file>.jobs``.
    warnings
        Sentences for a report: a network file system.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self.warnings = network_warning(path, JOBS)
        self._connection = connection

    def counts(self) -> Mapping[str, int]:
        """Return how many jobs are waiting, done or failed, by status."""
        return Counter(dict(self._rows("SELECT status, count(*) FROM job GROUP BY status")))

    def results(self, keys: Sequence[str] | None = None) -> dict[str, JobResult]:
        """Return the results of these jobs (of all by default), as far as they are there and sound, by key."""
        if keys is None:
            return self._found(self._rows(f"SELECT {_COLUMNS} FROM job ORDER BY position"))
        found: dict[str, JobResult] = {}
        for start in range(0, len(keys), _KEYS_AT_A_TIME):
            some = keys[start : start + _KEYS_AT_A_TIME]
            marks = ", ".join("?" * len(some))
            found |= self._found(self._rows(f"SELECT {_COLUMNS} FROM job WHERE key IN ({marks})", some))
        return found

    def parameters(self, key: str) -> Mapping[str, Any]:
        """Return the parameters of a job.

        Raises
        ------
        InputFileError
            No such job.
        """
        rows = self._rows("SELECT parameters FROM job WHERE key = ?", (key,))
        if not rows:
            raise InputFileError(f"job table {self.path} has no job {key[:12]}; the jobs are listed in its table job")
        return dict(json.loads(rows[0][0]))

    def belongs_to(self, purpose: str) -> None:
        """Note what the jobs are for, once; another purpose is refused.

        Raises
        ------
        ConfigurationError
            A table that was made for something else.
        """
        rows = self._rows("SELECT value FROM meta WHERE name = 'purpose'")
        if rows and rows[0][0] != purpose:
            raise ConfigurationError(
                f"job table {self.path} holds {rows[0][0]}, not {purpose}; choose another folder, or remove the table "
                "if its results are not needed"
            )
        if not rows:
            with told(self.path, JOBS, "write"), transaction(self._connection):
                self._connection.execute("INSERT INTO meta (name, value) VALUES ('purpose', ?)", (purpose,))

    def add(self, jobs: Sequence[Job]) -> None:
        """Note jobs that are to be done; those that are known stay as they are."""
        rows = [(job.key, job.kind, job.text, job.cores) for job in jobs]
        with told(self.path, JOBS, "write"), transaction(self._connection):
            self._connection.executemany(
                "INSERT INTO job (key, kind, parameters, status, result, message, seconds, cores, attempts, host, "
                f"ended, crc) VALUES (?, ?, ?, '{WAITING}', '{{}}', '', 0.0, ?, 0, '', '', 0) "
                "ON CONFLICT (key) DO UPDATE SET kind = excluded.kind, parameters = excluded.parameters "
                "WHERE (kind, parameters) <> (excluded.kind, excluded.parameters)",  # damaged: the key says what it was
                rows,
            )

    def record(self, outcomes: Sequence[tuple[Outcome, int]]) -> None:
        """Write (outcome, attempts) in one transaction; jobs that are done and sound stay as they are.

        Raises
        ------
        InputFileError
            Full disk or read-only folder; everything recorded before is kept.
        """
        if not outcomes:
            return
        with told(self.path, JOBS, "write"), transaction(self._connection):
            known = {key for key, one in self.results([one.key for one, _ in outcomes]).items() if not one.failed}
            for one, attempts in outcomes:
                if one.key in known:
                    continue
                result = canonical(dict(one.result))
                row = (one.status, result, one.message, one.seconds, one.cores, one.host, one.ended)
                self._connection.execute(
                    "UPDATE job SET status = ?, result = ?, message = ?, seconds = ?, cores = ?, host = ?, ended = ?, "
                    "attempts = attempts + ?, crc = ? WHERE key = ?",
                    (*row, attempts, _crc(one.key, *row), one.key),
                )
                known |= {one.key} if one.status == DONE else set()

    def forget(self, keys: Sequence[str]) -> None:
        """Note that these jobs are to be done again, because files they had left are lost."""
        with told(self.path, JOBS, "write"), transaction(self._connection):
            self._connection.executemany(
                f"UPDATE job SET status = '{WAITING}', result = '{{}}', crc = 0 WHERE key = ?", [(key,) for key in keys]
            )

    def _found(self, rows: Sequence[Any]) -> dict[str, JobResult]:
        found = {}
        for key, status, result, message, seconds, cores, attempts, host, ended, crc in rows:
            if status != WAITING and crc == _crc(key, status, result, message, seconds, cores, host, ended):
                found[key] = JobResult(
                    key=key,
                    status=status,
                    result=json.loads(result),
                    message=message,
                    seconds=seconds,
                    cores=cores,
                    attempts=attempts,
                    host=host,
                    ended=ended,
                    folder=folder_of(self.path, key),
                )
        return found

    def _rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        with told(self.path, JOBS, "read"):
            return self._connection.execute(sql, parameters).fetchall()


def _crc(*fields: Any) -> int:
    return zlib.crc32("\x1f".join(field.hex() if isinstance(field, float) else str(field) for field in fields).encode())


def folder_of(table: Path, key: str) -> Path:
    """Return the folder of a job."""
    return table.with_name(table.name + ".jobs") / key


@contextlib.contextmanager
def open_jobs(path: str | os.PathLike[str], mode: Literal["read", "write"] = "read") -> Iterator[JobTable]:
    """Open a table of jobs.

    Parameters
    ----------
    path
        The SQLite file; ``"write"`` makes it, and its folder, where missing.
    mode
        ``"read"``: any number of processes at a time, also while one writes.  ``"write"``: one process at a time, held
        by a lock that the system releases when its owner dies, however it dies.

    Raises
    ------
    InputFileError
        Missing, foreign, damaged or newer file; read-only folder; or another driver writes (the sentence names its
        process and machine).
    MissingEngineError
        An SQLite older than 3.37, which has no strict tables.
    """
    target = Path(path).resolve()
    with opened(target, JOBS, mode, "run some jobs first") as connection:
        yield JobTable(target, connection)
