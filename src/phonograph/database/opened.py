"""One SQLite file of ours, opened for reading by anyone or for writing by one process at a time."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from phonograph.database.connection import Kind, check_file, connected
from phonograph.database.holder import held
from phonograph.errors import InputFileError, MissingEngineError

NEEDED = (3, 37)
"""The oldest SQLite that has strict tables."""


@contextlib.contextmanager
def opened(target: Path, kind: Kind, mode: Literal["read", "write"], first: str) -> Iterator[sqlite3.Connection]:
    """Yield a connection to a file of ours; ``first`` says what to do where there is none to read.

    Parameters
    ----------
    target
        The file; ``"write"`` makes it, and its folder, where missing.
    kind, mode
        What it is; ``"write"``: one process at a time, held by a lock that the system releases when its owner dies.
    first
        Such as ``"run some jobs first"``.

    Raises
    ------
    InputFileError
        Missing, foreign, damaged or newer file; read-only folder; or another driver writes.
    MissingEngineError
        An SQLite older than :data:`NEEDED`.
    """
    if sqlite3.sqlite_version_info < NEEDED:
        raise MissingEngineError(f"{kind.name}s need SQLite 3.37 or newer; this Python has {sqlite3.sqlite_version}")
    check_file(target, kind)
    if mode == "read" and not target.is_file():
        raise InputFileError(f"{kind.name} {target} not found; {first}")
    lock = contextlib.nullcontext() if mode == "read" else held(target, kind.name)
    with lock, connected(target, kind, writes=mode == "write") as connection:
        yield connection
