"""A run on disk: which rooms are finished, from what, and what may be kept when something changes."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from phonograph import __version__
from phonograph.atomic import write_text
from phonograph.errors import ConfigurationError, InputFileError, UserError
from phonograph.plain_json import read_json

STAGES = ("phonons", "sampling", "labels", "graphs", "training", "evaluation", "explanation", "thermal")
"""The eight rooms in the order in which data flows."""

PACKAGES = ("numpy", "scipy", "ase", "phonopy", "symfc", "torch", "chgnet", "tblite", "pymatgen", "safetensors")
RECORD = "room.json"
SHARED_CODE = ("types", "units", "streams", "lattice", "files", "steps")
"""Modules whose code enters the result of every room."""
Value = TypeVar("Value")


class RoomNotFinished(Exception):
    """Raised instead of computing when a folder is opened to load only."""


@dataclass
class RunFolder:
    """The folder of one run; made by :func:`open_run`, which also locks it.

    Attributes
    ----------
    path
        The folder.
    only_load
        Load what is finished, also if it is outdated; raise :class:`RoomNotFinished` instead of making anything.
    seconds, reused, keys
        Per room: wall time, whether it was found finished, and its content key.
    outdated
        Rooms loaded as they are although their configuration, inputs or code have changed since.
    """

    path: Path
    only_load: bool = False
    seconds: dict[str, float] = field(default_factory=dict)
    reused: dict[str, bool] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    outdated: list[str] = field(default_factory=list)

    def room(
        self,
        name: str,
        settings: Any,
        *,
        after: Sequence[str] = (),
        inputs: Sequence[Path] = (),
        keep: Sequence[str] = (),
        fresh: bool = False,
        make: Callable[[Path], Value],
        load: Callable[[Path], Value],
    ) -> Value:
        """Return a room's result: loaded if nothing it depends on has changed, made otherwise.

        Parameters
        ----------
        name
            One of :data:`STAGES`.
        settings
            Plain values that determine the result, besides ``after`` (earlier rooms) and ``inputs`` (files).
        keep
            Names in the folder that outlive a change of settings (stores and checkpoints that are
            content-addressed themselves).
        fresh
            Make it again although nothing has changed: what was not to be had the last time may be there now.
        make, load
            Compute and save into the folder; load from the folder.
        """
        folder = self._room(name)
        key = self._key(name, settings, after, inputs)
        self.keys[name] = key
        started = time.perf_counter()
        record = _read_record(folder)
        known = record is not None and record["key"] == key and _intact(folder, record["files"])
        if record is not None and known and (self.only_load or not fresh):
            self.reused[name] = True
            self.seconds[name] = float(record["seconds"])
            return load(folder)
        if self.only_load:
            return self._load_as_it_is(name, folder, record, load)
        folder.mkdir(parents=True, exist_ok=True)
        earlier = record["files"] if record is not None else {}
        # An empty key marks the room as unfinished while it is being made, and remembers what lay there.
        write_text(folder / RECORD, json.dumps({"key": "", "seconds": 0.0, "files": earlier}))
        before = {item: _identity(folder / item) for item in earlier}
        try:
            value = make(folder)
        except UserError:
            # A mistake told before anything was written leaves the earlier result as it stood.
            if record is not None and _intact(folder, earlier):
                write_text(folder / RECORD, json.dumps(record, indent=1) + "\n")
            raise
        self.seconds[name], self.reused[name] = time.perf_counter() - started, False
        _remove_stale(folder, earlier, before, keep)
        self._finish(folder, key, self.seconds[name], keep)
        return value

    def part(self, room: str, name: str, *, make: Callable[[Path], Value], load: Callable[[Path], Value]) -> Value:
        """Return a result that is made on demand and kept in the folder of a finished room, under ``name``.

        It depends on its name and on what the room depends on.  Its files are none of the room's own: name them in
        the room's ``keep``.
        """
        folder = self._room(room) / name
        key = hashlib.sha256(json.dumps([self.keys[room], name]).encode()).hexdigest()
        record = _read_record(folder)
        if record is not None and record["key"] == key and _intact(folder, record["files"]):
            return load(folder)
        if self.only_load:
            raise RoomNotFinished(room)
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / RECORD, json.dumps({"key": "", "seconds": 0.0, "files": {}}))
        started = time.perf_counter()
        value = make(folder)
        self._finish(folder, key, time.perf_counter() - started, ())
        return value

    def _load_as_it_is(
        self, name: str, folder: Path, record: dict[str, Any] | None, load: Callable[[Path], Value]
    ) -> Value:
        """Load a finished room although something it depends on has changed since, and remember that."""
        if record is None or not record["key"] or not _intact(folder, record["files"]):
            raise RoomNotFinished(name)
        self.reused[name], self.seconds[name] = True, float(record["seconds"])
        self.outdated.append(name)
        return load(folder)

    def _room(self, name: str) -> Path:
        return self.path / f"{STAGES.index(name) + 1}_{name}"

    def _key(self, name: str, settings: Any, after: Sequence[str], inputs: Sequence[Path]) -> str:
        parts = {
            "room": name,
            "settings": settings,
            "after": {earlier: self.keys[earlier] for earlier in after},
            # A list: files of different folders may have the same name.
            "inputs": [[path.name, file_hash(path)] for path in inputs],
            "code": code_hash(name),
            "versions": package_versions(),
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()

    def _finish(self, folder: Path, key: str, seconds: float, keep: Sequence[str]) -> None:
        files = {
            str(path.relative_to(folder)): file_hash(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.name != RECORD and not _kept(path.relative_to(folder), keep)
        }
        text = json.dumps({"key": key, "seconds": round(seconds, 3), "files": files}, indent=1)
        write_text(folder / RECORD, text + "\n")


def _kept(relative: Path, keep: Sequence[str]) -> bool:
    return any(relative.match(pattern) or relative.parts[0] == pattern for pattern in keep)


def _read_record(folder: Path) -> dict[str, Any] | None:
    try:
        record = read_json((folder / RECORD).read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict) or not {"key", "seconds", "files"} <= record.keys():
        return None
    return record


def _intact(folder: Path, files: Mapping[str, str]) -> bool:
    return all((folder / name).is_file() and file_hash(folder / name) == digest for name, digest in files.items())


def _identity(path: Path) -> tuple[int, ...]:
    """Return what changes when a file is written, whatever the clocks of this machine and of the disk's say."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _remove_stale(
    folder: Path, earlier: Mapping[str, str], before: Mapping[str, tuple[int, ...]], keep: Sequence[str]
) -> None:
    """Remove files of an earlier result that the new one did not write again; only files we wrote ourselves."""
    for name, digest in earlier.items():
        path = folder / name
        if _kept(Path(name), keep) or not path.is_file() or _identity(path) != before[name]:
            continue
        if path.resolve().is_relative_to(folder.resolve()) and file_hash(path) == digest:
            path.unlink()
            with contextlib.suppress(OSError):
                path.parent.rmdir()


@contextlib.contextmanager
def open_run(path: Path, *, only_load: bool = False) -> Iterator[RunFolder]:
    """Create and lock a run folder; a second driver is refused with the holder's name.

    The lock dies with its owner, so a killed run never blocks the next one.
    """
    if path.exists() and not path.is_dir():
        raise InputFileError(f"the output {path} is a file; choose a folder with -o")
    if only_load and not path.is_dir():
        raise InputFileError(f"no room is finished in {path}; make it with: phonograph run CONFIG.toml -o RUN")
    try:
        path.mkdir(parents=True, exist_ok=True)
        # What is written here must not go where a link in a folder from someone else points.
        stream = open(path / ".lock", "a+", opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW, 0o644))
    except OSError as error:
        raise InputFileError(f"cannot write to {path}: {error.strerror}; choose a writable folder with -o") from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            stream.seek(0)
            holder = stream.read().strip() or "another process"
            raise ConfigurationError(f"{path} is in use by {holder}; wait for it or choose another -o") from error
        except OSError as error:
            raise InputFileError(
                f"cannot lock {path}: {error.strerror}; its file system has no locks, so choose -o on another one"
            ) from error
        stream.truncate(0)
        stream.write(f"process {os.getpid()} on {socket.gethostname()}")
        stream.flush()
        yield RunFolder(path, only_load=only_load)


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@cache
def code_hash(room: str = "") -> str:
    """Return one hash of the source that a room's result depends on, so that results of other code are never ours.

    The room itself, what all rooms share, the readers and writers, and (from training on) the networks; of all code
    where no room is named.
    """
    digest = hashlib.sha256()
    root = Path(__file__).parent
    for path in sorted(root.rglob("*.py")):
        place = path.relative_to(root).parts[0].removesuffix(".py")
        if not room or place in (room, *SHARED_CODE) or (place == "models" and STAGES.index(room) >= 4):
            digest.update(path.read_bytes())
    return digest.hexdigest()


@cache
def package_versions() -> Mapping[str, str]:
    """Return the versions of the libraries whose numbers enter a result."""
    versions = {"python": platform.python_version(), "phonograph": __version__}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions
