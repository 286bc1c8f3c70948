"""The label store: one SQLite file that survives kill -9, a full disk and ten years.

One driver writes, any number of readers read.  Rows are content-addressed: a label belongs to the SHA-256 of a
structure and the SHA-256 of a calculation (engine, version, settings), so it is never computed twice and never
mistaken for another.  Every row carries a CRC-32; a row that fails it counts as missing.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from phonograph.atomic import replacing
from phonograph.database.connection import connected, network_warning, told, transaction
from phonograph.database.opened import opened
from phonograph.errors import DataError, InputFileError
from phonograph.labels import checks, reading, writing
from phonograph.labels.attempts import Attempt
from phonograph.labels.rows import (
    NOTHING,
    Found,
    LoggedAttempt,
    StoredCalculation,
    StoredLabel,
    found_of,
    grouped,
)
from phonograph.labels.schema import SCHEMA_VERSION, STORE
from phonograph.labels.task import Calculation, StructureBytes, structure_bytes
from phonograph.types import Configurations, FloatArray

__all__ = ["SCHEMA_VERSION", "Attempt", "Found", "LabelStore", "StoredCalculation", "StoredLabel", "open_store"]


class LabelStore:
    """An open store; made by :func:`open_store`.

    Attributes
    ----------
    path
        Its file.
    warnings
        Sentences for the report: a network file system.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self.warnings: tuple[str, ...] = network_warning(path, STORE)
        self._connection = connection
        self._calculations: dict[bytes, int] = {}

    def find(self, structure: bytes, calculation: Calculation) -> Found:
        """Return the stored result of a calculation on the structure with this key, arrays included.

        A row whose checksum fails, or a label with a property or array missing, is reported as damaged and not used.
        Failures that pass (a missing engine, files that wait) are never stored.
        """
        key = (structure, calculation.key)
        rows = self._rows(reading.LABEL, key)
        blobs = self._rows(reading.ARRAYS, key) if calculation.arrays and rows else ()
        return found_of(key, rows, blobs, calculation.provides, calculation.arrays)

    def find_many(self, structures: Sequence[bytes], calculation: Calculation) -> list[Found]:
        """Return what :meth:`find` returns for each structure, without their arrays, much faster.

        Arrays are checked all the same.
        """
        results: dict[bytes, Found] = {}
        for keys in reading.chunks(list(dict.fromkeys(structures))):
            marks = reading.marks(keys)
            rows = grouped(self._rows(reading.LABELS.format(marks), (calculation.key, *keys)))
            blobs = grouped(
                self._rows(reading.MANY_ARRAYS.format(marks), (calculation.key, *keys)) if calculation.arrays else ()
            )
            for key in rows.keys() & set(keys):  # a damaged key reads as something else than it was found by
                results[key] = found_of(
                    (key, calculation.key),
                    rows[key],
                    blobs.get(key, ()),
                    calculation.provides,
                    calculation.arrays,
                    with_arrays=False,
                )
        return [results.get(key, NOTHING) for key in structures]

    def arrays(self, structure: bytes, calculation: Calculation) -> dict[str, FloatArray]:
        """Return the arrays of a stored label by name, in the units of :data:`phonograph.types.ARRAY_UNITS`.

        Raises
        ------
        DataError
            No such label, a failed one, or a damaged one.
        """
        found = self.find(structure, calculation)
        if found.result is None or found.result.failure:
            why = "is damaged" if found.damaged else found.result.failure if found.result else "is not in the store"
            raise DataError(f"the label of structure {structure.hex()[:12]} by {calculation.engine} {why}")
        return dict(found.result.arrays)

    def calculations(self) -> tuple[StoredCalculation, ...]:
        """Return the calculations of which the store has labels or attempts, oldest first.

        Raises
        ------
        InputFileError
            One of them is damaged; the next labelling with it mends it.
        """
        return tuple(reading.calculations(self._rows, self.path).values())

    def set_names(self) -> tuple[str, ...]:
        """Return the names of the sets that were registered, oldest first."""
        return tuple(dict.fromkeys(name for (name,) in self._rows("SELECT name FROM sample_set ORDER BY id")))

    def labels(self, calculations: Iterable[bytes] | None = None) -> Iterator[StoredLabel]:
        """Yield labels with arrays, samples and costs in the order in which their structures were put in.

        Parameters
        ----------
        calculations
            Keys of those wanted; all by default.

        Notes
        -----
        Holes are yielded with their class of failure; what fails a checksum as a hole of class ``"damaged"``, without
        atoms where the structure itself is damaged.  The file is read in small pieces, so a driver that writes at the
        same time never has to wait for long.
        """
        return reading.labels(self._rows, self.path, None if calculations is None else set(calculations))

    def attempts(self, structures: Sequence[bytes], calculation: Calculation) -> Iterator[LoggedAttempt]:
        """Yield the logged attempts of these structures, each structure's in the order in which they ended.

        Attempts that fail their checksum are left out; :meth:`problems` names them.
        """
        for keys in reading.chunks(list(dict.fromkeys(structures))):
            rows = self._rows(reading.ATTEMPTS.format(reading.marks(keys)), (calculation.key, *keys))
            yield from reading.attempts(rows, calculation.key)

    def costs(self, structures: Sequence[bytes], calculation: Calculation) -> FloatArray:
        """Return the core-seconds that each structure has cost so far, failed attempts included, shape (structures,).

        Core-seconds are wall time times the cores that were held.
        """
        spent: dict[bytes, float] = {}
        for attempt in self.attempts(structures, calculation):
            spent[attempt.structure] = spent.get(attempt.structure, 0.0) + attempt.core_seconds
        return np.array([spent.get(key, 0.0) for key in structures], dtype=np.float64)

    def record(self, attempts: Sequence[Attempt]) -> None:
        """Write attempts in one transaction: when this returns they survive kill -9 and power loss.

        Recording the same attempt twice changes nothing, and a label that is there and sound stays as it is, whatever
        comes later: a result file may be taken in again after a kill.  A failure gives way to a success.  Failures
        that pass (a missing engine, files that wait) are logged once and are no labels.

        Raises
        ------
        InputFileError
            Full disk or read-only folder; everything recorded before is kept.
        """
        if not attempts:
            return
        try:
            with told(self.path, STORE, "write"), transaction(self._connection):
                for attempt in attempts:
                    writing.record(self._connection, attempt, self._calculations)
        except BaseException:
            self._calculations.clear()  # what was rolled back has no number
            raise

    def register(self, configurations: Configurations, structures: Sequence[StructureBytes] | None = None) -> None:
        """Note which structures form a set and how they were drawn; a set that is known costs one look.

        Of several sets of one name the one registered last counts.  Structures keep the order of the first set that
        holds them, so that exports do not depend on the order in which labels were finished.

        Parameters
        ----------
        configurations
            The set.
        structures
            Its structures, where the caller has them.
        """
        contents = structures or [structure_bytes(crystal) for crystal in configurations.crystals()]
        with told(self.path, STORE, "write"), transaction(self._connection):
            writing.register(self._connection, configurations, contents)

    def snapshot(self, path: str | os.PathLike[str]) -> None:
        """Write a compact copy of the store as it is now, also while a driver writes; checked before it gets its name.

        Raises
        ------
        InputFileError
            A folder that cannot be written, or a copy that is damaged.
        """
        target = Path(path)
        if target.exists() and self.path.exists() and target.samefile(self.path):
            raise InputFileError(f"a snapshot of {self.path} needs another path than the store itself")
        with replacing(target) as temporary:
            with told(target, STORE, "write"):
                self._connection.execute("VACUUM main INTO ?", (str(temporary),))
            with connected(temporary, STORE, writes=False) as copy:
                problems = checks.problems(LabelStore(temporary, copy)._rows, target)
            if problems:
                raise InputFileError(f"the copy of {self.path} is damaged ({problems[0]}); it was not kept")

    def problems(self) -> tuple[str, ...]:
        """Check every page, hash and checksum; return one sentence per damaged place (empty: all is well)."""
        return checks.problems(self._rows, self.path)

    def _rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        # Fetched at once, so that the file is not locked while the rows are worked on.
        with told(self.path, STORE, "read"):
            return self._connection.execute(sql, parameters).fetchall()


def own_path(path: str | os.PathLike[str]) -> Path:
    """Return the path of a store itself, where ``path`` is a symbolic link: one file has one lock and one journal."""
    given = Path(path)
    return given.resolve() if given.is_symlink() else given


@contextlib.contextmanager
def open_store(path: str | os.PathLike[str], mode: Literal["read", "write"] = "read") -> Iterator[LabelStore]:
    """Open a label store.

    Parameters
    ----------
    path
        The SQLite file; ``"write"`` makes it, and its folder, where missing.
    mode
        ``"read"``: any number of processes at a time, also while one writes; the file is not changed, also not one of
        an older release.  ``"write"``: one process at a time, held by a lock that the system releases when its owner
        dies, however it dies; a store of an older release is brought up to date without touching its labels.

    Raises
    ------
    InputFileError
        Missing, foreign, damaged or newer file; read-only folder; or another driver writes (the sentence names its
        process and machine).
    MissingEngineError
        An SQLite older than 3.37, which has no strict tables.
    """
    target = own_path(path)
    with opened(target, STORE, mode, "label some configurations first") as connection:
        yield LabelStore(target, connection)
