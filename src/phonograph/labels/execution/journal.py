"""What a worker has finished of a task that is not finished: a text file that grows by one line per attempt.

Each line is the SHA-256 of the rest of the line, a space, and the attempt.  What has been written survives the death
of its process; after a power failure a torn last line is left out.  The file is locked while its worker lives, and the
system writes into it where a label hung when the worker's time limit ended the process.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from phonograph.errors import InputFileError
from phonograph.labels.attempts import SUFFIX, Attempt, attempt_as_line, attempt_of_line

JOURNAL_SUFFIX = ".journal"
_QUIET_S = 3600.0
_TIMED_OUT = b"Timeout ("
"""How :mod:`faulthandler` begins what it writes when a time limit ends the process."""


@dataclass(frozen=True, kw_only=True)
class Left:
    """What a worker left in its journal: attempts, their lines, and whether a time limit ended it."""

    attempts: tuple[Attempt, ...] = ()
    lines: tuple[bytes, ...] = ()
    timed_out: bool = False


class Journal:
    """The journal of the task at hand, open for writing; made by :func:`opened`."""

    def __init__(self, path: Path, descriptor: int, left: Left) -> None:
        self.path = path
        self.descriptor = descriptor
        self.lines = list(left.lines)
        self.attempts = list(left.attempts)

    def add(self, attempts: Sequence[Attempt]) -> None:
        """Append attempts; raises :class:`InputFileError` where the disk is full."""
        lines = [attempt_as_line(attempt) for attempt in attempts]
        content = b"".join(hashlib.sha256(line).hexdigest().encode() + b" " + line + b"\n" for line in lines)
        try:
            if os.write(self.descriptor, content) != len(content):
                raise OSError(0, "No space left on device")
        except OSError as error:
            raise _cannot_write(self.path, error) from error
        self.lines += lines
        self.attempts += attempts


def journal_of(result: Path) -> Path:
    """Return the path of the journal that belongs to a result file."""
    return result.with_name(result.name.removesuffix(SUFFIX) + JOURNAL_SUFFIX)


@contextlib.contextmanager
def opened(result: Path) -> Iterator[Journal]:
    """Open the journal of a result file, going on from what an earlier worker left in it."""
    path = journal_of(result)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise _cannot_write(path, error) from error
    try:
        # Some network file systems know no locks; then a living worker cannot be told from a dead one.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _end_line(descriptor)
        yield Journal(path, descriptor, read_journal(path))
    finally:
        os.close(descriptor)


def _end_line(descriptor: int) -> None:
    """End a line that an earlier worker has torn, so that it takes none of ours with it."""
    size = os.fstat(descriptor).st_size
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        with contextlib.suppress(OSError):  # on a full disk the next line says so
            os.write(descriptor, b"\n")


def read_journal(path: Path) -> Left:
    """Return the sound part of a journal; nothing where there is none."""
    try:
        content = path.read_bytes()
    except OSError:
        return Left()
    attempts, lines, timed_out = [], [], False
    for line in content.splitlines():
        digest, _, text = line.partition(b" ")
        if hashlib.sha256(text).hexdigest().encode() == digest:
            with contextlib.suppress(ValueError):
                attempts.append(attempt_of_line(text))
                lines.append(text)
                timed_out = False
        timed_out = timed_out or line.startswith(_TIMED_OUT)
    return Left(attempts=tuple(attempts), lines=tuple(lines), timed_out=timed_out)


def is_alive(path: Path) -> bool:
    """Return whether a worker still writes this journal; where the file system knows no locks, its age decides."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return time.time() - os.fstat(descriptor).st_mtime < _QUIET_S
    finally:
        os.close(descriptor)
    return False


def _cannot_write(path: Path, error: OSError) -> InputFileError:
    return InputFileError(
        f"cannot write {path}: {error.strerror}; it needs a writable folder with free space "
        "(labels finished so far are kept; run again to continue)"
    )
