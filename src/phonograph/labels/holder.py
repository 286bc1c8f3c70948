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
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise InputFileError(
            f"cannot write label store {path}: {error.strerror}; choose a writable folder with free space"
        ) from error
    try:
        _lock(descriptor, path)
        _sign(descriptor, path)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip() or "another process"
        raise InputFileError(f"label store {path} is being written by {holder}; wait for it or stop it") from error


def _sign(descriptor: int, path: Path) -> None:
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
    except OSError as error:
        raise InputFileError(
            f"cannot write label store {path}: {error.strerror}; choose a writable folder with free space"
        ) from error
