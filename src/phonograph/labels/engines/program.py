"""Run an external program for one label: killed with its children in time, its output bounded."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from phonograph.labels.execution.deadline import remaining_s

LARGEST_FILE_BYTES = 2_000_000_000
"""A program that writes a larger file is stopped by the system."""

POLL_S = 0.02
_TAIL_BYTES = 4000


@dataclass(frozen=True, kw_only=True)
class Ran:
    """How a program ended: exit code (negative: signal; None: it ran out of time), wall seconds, last output."""

    exit_code: int | None
    seconds: float
    tail: str

    @property
    def timed_out(self) -> bool:
        """Whether it was stopped because its time was up."""
        return self.exit_code is None


def find_program(name: str) -> str | None:
    """Return the full path of a program, or None where it is not installed."""
    return shutil.which(name)


def run_program(
    command: Sequence[str],
    folder: Path,
    *,
    output: str,
    environment: Mapping[str, str] | None = None,
    limit_s: float | None = None,
    largest_file_bytes: int = LARGEST_FILE_BYTES,
) -> Ran:
    """Run ``command`` (a list, never a shell line) in ``folder`` and wait for it.

    The program leads a process group of its own, which is killed as a whole when its time is up, when this process is
    interrupted, and (Linux) when this process dies, however it dies.

    Parameters
    ----------
    output
        File in ``folder`` that gets the standard output and error.
    environment
        Variables besides those of this process; threads are limited to one unless given.
    limit_s
        Time limit, s; what is left of the label's own limit where that is less.
    largest_file_bytes
        Largest file the program may write, bytes.
    """
    limit = min(remaining_s(), limit_s if limit_s is not None else float("inf"))
    started = time.monotonic()
    with (folder / output).open("wb") as stream:
        process = subprocess.Popen(
            _tied_to_this_process(command),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
            process_group=0,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file_bytes, largest_file_bytes)),
        )
        try:
            code = _wait(process, started + limit)
        finally:
            _kill_group(process)
    return Ran(exit_code=code, seconds=time.monotonic() - started, tail=_tail(folder / output))


def _tied_to_this_process(command: Sequence[str]) -> list[str]:
    """Let the kernel kill the program when this process dies; ``setpriv`` is part of util-linux."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", *command] if setpriv else list(command)


def _wait(process: subprocess.Popen[bytes], until: float) -> int | None:
    while (code := process.poll()) is None:
        if time.monotonic() >= until:
            return None
        time.sleep(POLL_S)
    return code


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the group; SIGKILL, because a program may ignore everything else."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _tail(path: Path) -> str:
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        return stream.read().decode("utf-8", "replace")
