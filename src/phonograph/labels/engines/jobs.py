"""``jobs.csv``: which structures wait in a folder, for whoever runs the program there."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from phonograph.atomic import write_text
from phonograph.files.safety import MAX_SET_BYTES, read_text

FILE = "jobs.csv"
_HEADER = "folder,formula,atoms,state\n"


def note_job(root: Path, folder: str, formula: str, atoms: int, state: str) -> None:
    """Write or replace the line of one structure in ``root/jobs.csv``.

    Parameters
    ----------
    folder
        Name of the structure's folder in ``root``.
    state
        ``waiting``, ``done`` or the class of a failure.
    """
    line = f"{folder},{formula},{atoms},{state}\n"
    path = root / FILE
    with _alone(root):
        text = read_text(path, MAX_SET_BYTES) if path.is_file() and path.stat().st_size else _HEADER
        place = text.find(f"\n{folder},") + 1
        if place == 0:
            changed = text + line
        else:
            changed = text[:place] + line + text[text.find("\n", place) + 1 :]
        if changed != text:
            write_text(path, changed)


def jobs(root: Path) -> dict[str, str]:
    """Return folder → state; empty where there is no list."""
    path = root / FILE
    rows = read_text(path, MAX_SET_BYTES).splitlines()[1:] if path.is_file() else []
    return {row.split(",")[0]: row.rsplit(",", 1)[-1] for row in rows}


@contextlib.contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Let one worker at a time change the list; a file system without locks gets none."""
    with (root / ".jobs.lock").open("a") as stream:
        with contextlib.suppress(OSError):
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield
