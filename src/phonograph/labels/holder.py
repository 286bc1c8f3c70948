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
def held(path: Path) -> Iterator[None]:
    """Hold ``<path>.lock`` while the block runs; its text names the holder for whoever is refused.

    The lock file stays behind: deleting it would let two drivers lock two different files of the same name.

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
                f"the lock {lock} of the label store is a symbolic link, which is not followed; remove it"
            ) from error
        raise _cannot_write(path, error) from error
    try:
        _lock(descriptor, path)
        _sign(descriptor, path)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip() or "another process"
        raise InputFileError(f"label store {path} is being written by {holder}; wait for it or stop it") from error
    except OSError as error:
        raise InputFileError(
            f"cannot lock label store {path}: {error.strerror}; its file system has no locks, so choose a path on "
            "another one (a local disk, or a network file system that is mounted with locks)"
        ) from error


def _sign(descriptor: int, path: Path) -> None:
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
    except OSError as error:
        raise _cannot_write(path, error) from error


def _cannot_write(path: Path, error: OSError) -> InputFileError:
    return InputFileError(
        f"cannot write label store {path}: {error.strerror}; choose a writable folder with free space"
    )
