"""Opening our SQLite files: locks, foreign and damaged files, network file systems, one-sentence errors."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import quote

import numpy as np

from phonograph.errors import InputFileError

READER_WAITS_S = 30.0
WRITER_WAITS_S = 600.0
"""A commit waits for those who read at that moment, also for one who copies a large store; a reader only for a commit.
"""

LARGEST_CHECKED_BYTES = 256 * 1024**2
"""Files up to this size have every page checked before they are written to (half a second).  Rows are protected by
their checksums in any case."""

_CACHE_KIB = 65536
_MAGIC = b"SQLite format 3\0"
_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
_END = struct.Struct(">II8s")
_LONGEST_NAME = 65536
_NETWORK = (
    "nfs nfs4 cifs smb3 smbfs gpfs lustre beegfs ceph glusterfs afs panfs pvfs2 orangefs wekafs 9p virtiofs "
    "fuse.sshfs fuse.beegfs fuse.glusterfs fuse.ceph fuse.ceph-fuse fuse.juicefs fuse.rclone"
).split()


@dataclass(frozen=True, kw_only=True, eq=False)
class Kind:
    """One kind of SQLite file of ours.

    Attributes
    ----------
    name
        What it is called in sentences, such as "label store".
    kept
        What was finished so far and survives a full disk, in sentences.
    application_id, version, page_bytes
        What the file itself says.
    found
        Returns the schema of an open file; ``expected(version)`` what it must be.
    upgrade
        Brings an empty or an older file to ``version``, inside the caller's transaction.
    show_as_present
        Lets a reader see a file of version 1 as one of ``version``.
    """

    name: str
    kept: str
    application_id: int
    version: int
    page_bytes: int
    expected: Callable[[int], tuple[tuple[str, ...], ...]]
    upgrade: Callable[[sqlite3.Connection], None]
    show_as_present: Callable[[sqlite3.Connection], None] = lambda connection: None


def found_schema(connection: sqlite3.Connection) -> tuple[tuple[str, ...], ...]:
    """Return kind, name, table and SQL of everything the database holds, in order, spaces made equal.

    Every entry counts: a trigger may have the name of a table.
    """
    rows = connection.execute("SELECT type, name, tbl_name, sql FROM main.sqlite_master WHERE sql IS NOT NULL")
    # A damaged entry may hold bytes; as text it equals nothing that is expected.
    return tuple(sorted((*map(str, names), " ".join(str(sql).split()).replace("( ", "(")) for *names, sql in rows))


def check_file(path: Path, kind: Kind) -> None:
    """Refuse what is no SQLite file by its first bytes, before anything is written beside it.

    A file with a journal is left to SQLite: its first bytes may be those that a killed writer left.
    """
    if path.is_dir():
        raise InputFileError(f"{kind.name} {path} is a folder; give the path of a file")
    try:
        if not path.is_file() or Path(f"{path}-journal").exists():
            return
        with path.open("rb") as stream:
            first = stream.read(len(_MAGIC))
    except OSError:  # opening it says why
        return
    if first not in (b"", _MAGIC):
        raise InputFileError(f"{path} is not an SQLite file, so no {kind.name}; give another path, or restore a copy")


@contextlib.contextmanager
def connected(path: Path, kind: Kind, *, writes: bool) -> Iterator[sqlite3.Connection]:
    """Open, check and close the database; a writer makes or upgrades it where needed."""
    with told(path, kind, "open"):
        connection = _connection(path, writes)
    try:
        with told(path, kind, "open"):
            if writes:
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
                _make_or_upgrade(path, kind, connection)
            _check(path, kind, connection)
            if writes:
                _check_pages(path, kind, connection)
                connection.execute("PRAGMA journal_mode = DELETE")
        yield connection
    finally:
        connection.close()


def _connection(path: Path, writes: bool) -> sqlite3.Connection:
    _check_journal(Path(f"{path}-journal"))
    if not writes and Path(f"{path}-journal").exists():
        _roll_back(path)
    connection = sqlite3.connect(
        f"{_address(path)}?mode={'rwc' if writes else 'ro'}",
        uri=True,
        isolation_level=None,
        timeout=WRITER_WAITS_S if writes else READER_WAITS_S,
    )
    # The file may come from someone else: its schema is data, not code.
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    # A damaged byte must reach the checksum instead of stopping the read.
    connection.text_factory = partial(str, encoding="utf-8", errors="replace")
    return connection


def _address(path: Path) -> str:
    return f"file:{quote(str(path.absolute()))}"


def _check_journal(journal: Path) -> None:
    """Refuse a journal that names another file, or is a link to one: SQLite would delete or overwrite that file.

    A journal of several databases ends in a file's name, its length and sum, and eight fixed bytes.  Ours has none.
    """
    try:
        named = journal.is_symlink() or _names_a_file(journal)
    except OSError:  # there is none, or SQLite's own error says why it cannot be read
        return
    if named:
        raise InputFileError(f"{journal} was not written by Phonograph: it points to another file; remove it")


def _names_a_file(journal: Path) -> bool:
    with journal.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - _END.size - _LONGEST_NAME))
        rest = stream.read()
    if len(rest) < _END.size:
        return False
    length, total, magic = _END.unpack(rest[-_END.size :])
    if magic != _JOURNAL_MAGIC or not 0 < length <= len(rest) - _END.size:
        return False
    name = np.frombuffer(rest[-_END.size - length : -_END.size], dtype=np.uint8)
    # SQLite adds up what this machine calls a character, with or without a sign.
    return total in (int(name.sum()) % 2**32, int(name.view(np.int8).sum()) % 2**32)


def _roll_back(path: Path) -> None:
    """Undo the half-written transaction of a killed writer; SQLite's own locks keep this safe beside a live one."""
    with contextlib.suppress(sqlite3.OperationalError):  # read-only folder: the reader's own error says so
        with contextlib.closing(sqlite3.connect(f"{_address(path)}?mode=rw", uri=True)) as writable:
            writable.execute("SELECT count(*) FROM sqlite_master").fetchone()


def _make_or_upgrade(path: Path, kind: Kind, connection: sqlite3.Connection) -> None:
    empty = connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    if empty:
        if connection.execute("PRAGMA application_id").fetchone() != (0,):
            return
        connection.execute(f"PRAGMA page_size = {kind.page_bytes}")
    else:
        if _check(path, kind, connection, upgraded=False) == kind.version:
            return
        _check_pages(path, kind, connection)
    with transaction(connection):
        kind.upgrade(connection)


def _check(path: Path, kind: Kind, connection: sqlite3.Connection, *, upgraded: bool = True) -> int:
    """Return the version of a sound schema; with ``upgraded`` show an older one as the present one."""
    if connection.execute("PRAGMA application_id").fetchone() != (kind.application_id,):
        raise InputFileError(f"{path} is an SQLite file but not a {kind.name}; give another path")
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if not 1 <= version <= kind.version:
        raise InputFileError(
            f"{kind.name} {path} has schema version {version}; this Phonograph reads versions 1 to "
            f"{kind.version}: use a newer release"
        )
    if found_schema(connection) != kind.expected(version):
        raise InputFileError(f"{kind.name} {path} does not have the schema of a {kind.name}; give another path")
    if upgraded and version < kind.version:
        kind.show_as_present(connection)
    return version


def _check_pages(path: Path, kind: Kind, connection: sqlite3.Connection) -> None:
    if path.stat().st_size > LARGEST_CHECKED_BYTES:
        return
    if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
        raise InputFileError(_damaged(path, kind))


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing, on disk when the block is left."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


@contextlib.contextmanager
def told(path: Path, kind: Kind, verb: str) -> Iterator[None]:
    """Turn SQLite's errors into one sentence that names the file."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise InputFileError(
            f"cannot {verb} {kind.name} {path}: {error}; it needs a writable folder with free space "
            f"({kind.kept} finished so far are kept; run again to continue)"
        ) from error
    except UnicodeDecodeError as error:
        # SQLite's own message quotes a damaged schema.
        raise InputFileError(_damaged(path, kind)) from error
    except sqlite3.DatabaseError as error:
        if type(error) is not sqlite3.DatabaseError:
            raise  # a misuse of the library is a bug, not a damaged file
        raise InputFileError(f"{_damaged(path, kind)} ({error})") from error


def _damaged(path: Path, kind: Kind) -> str:
    return f"{kind.name} {path} is damaged; move it away (or restore a copy) and run again"


def network_file_system(path: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str:
    """Return the kind of network file system that ``path`` lies on; empty for a local one or where unknown."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    place, best, kind = os.path.realpath(path), -1, ""
    for line in lines:
        before, separator, after = line.partition(" - ")
        fields = before.split(" ")
        if not separator or len(fields) < 5:
            continue
        point = fields[4].replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
        inside = place == point or place.startswith(point.rstrip("/") + "/")
        # Of two mounts on one folder the later one is seen.
        if inside and len(point) >= best:
            best, kind = len(point), after.split(" ")[0]
    return kind if kind in _NETWORK else ""


def network_warning(path: Path, kind: Kind) -> tuple[str, ...]:
    """Return the warning for a file on a network file system, or nothing."""
    system = network_file_system(path)
    if not system:
        return ()
    return (
        f"The {kind.name} {path} lies on a network file system ({system}), whose locks may fail: let one driver at a "
        "time write it, keep copies, or put it on a local disk.",
    )
