"""Nothing that a task started outlives it: processes are marked by their environment, which children inherit.

A process group does not hold a program that starts a session of its own, and a parent-death signal does not reach
grandchildren.  The environment with which a process was started does, and Linux shows it to its owner under ``/proc``.
Elsewhere these functions do nothing, and process groups have to do.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

_ROUNDS = 3
"""A process may start another between the look and the kill."""

_SCRIPT = """trap '' TERM
read -r _
for _ in 1 2 3; do
  for file in $(grep -lszxF -e "$1" /proc/[0-9]*/environ); do
    process="${file#/proc/}"
    kill -s KILL "${process%/environ}" 2>/dev/null
  done
done
[ -z "$2" ] || rm -rf -- "$2"
"""


def new_mark(kind: str) -> tuple[str, str]:
    """Return name and value of an environment variable that nobody else has."""
    return f"PHONOGRAPH_{kind}", uuid.uuid4().hex


def marked(mark: tuple[str, str]) -> list[int]:
    """Return the processes that were started with ``mark`` in their environment, and their children."""
    wanted = "=".join(mark).encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # gone, or somebody else's
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


def kill_marked(mark: tuple[str, str]) -> None:
    """Kill every process that carries ``mark``."""
    for _ in range(_ROUNDS):
        victims = [process for process in marked(mark) if process != os.getpid()]
        for process in victims:
            with contextlib.suppress(OSError):
                os.kill(process, signal.SIGKILL)
        if not victims:
            return


def kill_abandoned(mark: tuple[str, str]) -> None:
    """Kill the marked processes whose parent is dead: neither this process nor marked itself."""
    for _ in range(_ROUNDS * _ROUNDS):
        known = set(marked(mark))
        victims = [process for process in known if _parent(process) not in known | {os.getpid(), 0}]
        for process in victims:
            with contextlib.suppress(OSError):
                os.kill(process, signal.SIGKILL)
        if not victims:
            return


def _parent(process: int) -> int:
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
        return int(text.rsplit(")", 1)[1].split()[1])
    except (OSError, IndexError, ValueError):
        return 0


@contextlib.contextmanager
def watched(mark: tuple[str, str], scratch: str = "") -> Iterator[None]:
    """Let a small shell wait for the death of this process, however it dies, and then kill what carries ``mark``.

    It also deletes the folder ``scratch``.  The shell reads from a pipe that only this process holds open.  It must be
    started before the mark is set.  It outlives SIGTERM, by which a batch queue announces the end of all at once.
    """
    shell, grep = shutil.which("sh"), shutil.which("grep")
    if not shell or not grep or not Path("/proc/self/environ").exists():
        yield
        return
    watchman = subprocess.Popen(
        [shell, "-c", _SCRIPT, "phonograph-watchman", "=".join(mark), scratch],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )
    try:
        yield
    finally:
        watchman.kill()
        watchman.communicate()


@contextlib.contextmanager
def scratch(mark: tuple[str, str]) -> Iterator[str]:
    """Make a folder for temporary files of what carries ``mark``: programs that are killed cannot tidy up.

    It is deleted at the end, also where this process is killed.
    """
    folder = tempfile.mkdtemp(prefix="phonograph-")
    try:
        with watched(mark, folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
