"""Blocks that outlive the process which asked for them: what they still owe, and who ends them when it is done.

Parsl's interchange, through which blocks take tasks, is started by a small process of its own.  Where the driver has
died or left, that process waits until every task that was handed in has its result file, and then ends the
interchange; the blocks notice and end too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

LOOK_S = 2.0
LEDGER = "ledger.txt"


class Ledger:
    """Tasks that were handed in and not yet told: a text file, a line for each change, first a token of the run."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / LEDGER
        self.token = uuid.uuid4().hex
        self.path.write_text(f"{self.token}\n", encoding="utf-8")

    def add(self, result: Path) -> None:
        """Note a task that was handed in."""
        self._append("+", result)

    def remove(self, result: Path) -> None:
        """Note a task that has been told."""
        self._append("-", result)

    def _append(self, sign: str, result: Path) -> None:
        # A driver whose disk is full says so where it stores labels; this file may then be short.
        with contextlib.suppress(OSError), self.path.open("a", encoding="utf-8") as stream:
            stream.write(f"{sign}{os.fspath(result)!r}\n")


def owed(ledger: Path, token: str) -> int | None:
    """Return how many tasks have no result file yet; None where another run has taken the folder over."""
    try:
        first, *lines = ledger.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return None
    if first != token:
        return None
    counts: dict[str, int] = {}
    for line in lines:
        counts[line[1:]] = counts.get(line[1:], 0) + (1 if line[:1] == "+" else -1)
    waiting = [name for name, count in counts.items() if count > 0]
    return sum(not Path(name[1:-1]).exists() for name in waiting)


def main(ledger: str, token: str, quiet_s: str, *command: str) -> int:
    """Run ``command`` while the driver lives, and then until nothing is owed or nothing has come for ``quiet_s``."""
    driver = os.getppid()
    interchange = subprocess.Popen(command)
    signal.signal(signal.SIGTERM, lambda *_: interchange.terminate())
    before, changed = None, time.monotonic()
    while interchange.poll() is None:
        time.sleep(LOOK_S)
        if os.getppid() == driver:
            changed = time.monotonic()
            continue
        now = owed(Path(ledger), token)
        if now != before:
            before, changed = now, time.monotonic()
        if not now or time.monotonic() - changed > float(quiet_s):
            interchange.terminate()
    return interchange.returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
