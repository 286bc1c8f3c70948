"""The folder of result files beside a store: what workers have finished and the driver has not yet taken in."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from phonograph.errors import InputFileError
from phonograph.labels.attempts import SUFFIX, Attempt, load_attempts
from phonograph.labels.execution.journal import JOURNAL_SUFFIX, is_alive, journal_of, read_journal
from phonograph.labels.store import LabelStore

FILES_AT_A_TIME = 100
DAMAGED_SUFFIX = ".damaged"
_DYING_S = 2.0


def results_folder(store: Path) -> Path:
    """Return ``<store>.results``."""
    return store.with_name(store.name + ".results")


@dataclass(frozen=True)
class Brought:
    """What a task left: attempts, the files they come from, and what is known of its end."""

    attempts: tuple[Attempt, ...] = ()
    files: tuple[Path, ...] = ()
    timed_out: bool = False
    whole: bool = False


def brought_by(result: Path) -> Brought:
    """Return what a task that has ended left, whole or not; a damaged result file counts as none."""
    if result.exists():
        with contextlib.suppress(InputFileError):
            return Brought(tuple(load_attempts(result)), (result, journal_of(result)), whole=True)
    left = read_journal(journal_of(result))
    return Brought(left.attempts, (result, journal_of(result)), timed_out=left.timed_out)


@dataclass
class Taken:
    """How many attempts earlier runs had left, and how many files were damaged."""

    attempts: int = 0
    damaged: list[Path] = field(default_factory=list)


def take_in(store: Path, book: LabelStore) -> Taken:
    """Record what earlier runs left in the folder, and delete it there.

    Journals of workers that still live (on a cluster, say) are left alone.  Damaged result files are renamed, and
    their labels computed again.

    Raises
    ------
    InputFileError
        A store or folder that cannot be written, or a folder that is a symbolic link: files are deleted there.
    """
    folder, taken = results_folder(store), Taken()
    if folder.is_symlink():
        raise InputFileError(f"{folder} is a symbolic link, where results are deleted once they are stored; remove it")
    if not folder.is_dir():
        return taken
    _wait_for_the_dying(folder)
    results = sorted(folder.glob(f"*{SUFFIX}"))
    journals = [path for path in sorted(folder.glob(f"*{JOURNAL_SUFFIX}")) if not is_alive(path)]
    for start in range(0, len(results), FILES_AT_A_TIME):
        _take_results(results[start : start + FILES_AT_A_TIME], book, taken)
    for path in journals:
        attempts = read_journal(path).attempts
        book.record(attempts)
        taken.attempts += len(attempts)
        delete([path])
    delete([path for path in folder.glob(".*.part") if not _being_written(path)])
    return taken


def _being_written(temporary: Path) -> bool:
    """Return whether ``.<name of a result file>.<anything>.part`` belongs to a worker that lives."""
    name = temporary.name.removeprefix(".").removesuffix(".part").rpartition(".")[0]
    return is_alive(journal_of(temporary.with_name(name)))


def _take_results(paths: Sequence[Path], book: LabelStore, taken: Taken) -> None:
    attempts: list[Attempt] = []
    sound = []
    for path in paths:
        try:
            attempts += load_attempts(path)
            sound.append(path)
        except (InputFileError, OSError):
            taken.damaged.append(path)
            with contextlib.suppress(OSError):
                path.rename(path.with_name(path.name + DAMAGED_SUFFIX))
    book.record(attempts)
    taken.attempts += len(attempts)
    delete(sound)


def _wait_for_the_dying(folder: Path) -> None:
    """Give workers of a driver that was killed a moment ago the time to be gone."""
    until = time.monotonic() + _DYING_S
    while time.monotonic() < until and any(is_alive(path) for path in folder.glob(f"*{JOURNAL_SUFFIX}")):
        time.sleep(0.05)


def delete(paths: Sequence[Path]) -> None:
    """Delete files that have been taken in; one that cannot be deleted is taken in again, which changes nothing."""
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink()


def tidy(store: Path) -> None:
    """Remove the folder if it is empty."""
    with contextlib.suppress(OSError):
        results_folder(store).rmdir()
