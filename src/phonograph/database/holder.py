"""One writer at a time: an advisory lock that the system releases when its owner dies, however it dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from phonograph.errors import InputFileError


@contextlib.contextmanager
def held(path: Path, what: str) -> Iterator[None]:
    """Hold ``<path>.lock`` while the block runs; its text names the holder for whoever is refused.

    The lock file stays behind: deleting it would let two drivers lock two different files of the same name.

    Parameters
    ----------
    path
        The file that is written.
    what
        What it is called in sentences.

    Raises
    ------
    InputFileError
        At once, where another process holds it, or where the folder cannot be written.
    """
    lock = Path(f"{path}.lock")
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        # What is written here must not go where a link in a folder from someone else points.
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        if lock.is_symlink():
            raise InputFileError(
                f"the lock {lock} of the {what} is a symbolic link, which is not followed; remove it"
            ) from error
        raise _cannot_write(path, what, error) from error
    try:
        _lock(descriptor, path, what)
        _sign(descriptor, path, what)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path, what: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip() or "another process"
        raise InputFileError(f"{what} {path} is being written by {holder}; wait for it or stop it") from error
    except OSError as error:
        raise InputFileError(
            f"cannot lock {what} {path}: {error.strerror}; its file system has no locks, so choose a path on "
            "another one (a local disk, or a network file system that is mounted with locks)"
        ) from error


def _sign(descriptor: int, path: Path, what: str) -> None:
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
    except OSError as error:
        raise _cannot_write(path, what, error) from error


def _cannot_write(path: Path, what: str, error: OSError) -> InputFileError:
    return InputFileError(f"cannot write {what} {path}: {error.strerror}; choose a writable folder with free space")
