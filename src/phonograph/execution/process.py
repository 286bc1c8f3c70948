"""What runs inside a worker process of this machine: set up once, then one task per call."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import MutableSequence, Sequence

from phonograph.execution import dispatch

LOCK_S = 5.0
_PR_SET_PDEATHSIG = 1
_processes: list[MutableSequence[int]] = []
"""State of this worker process, never of the driver: the table (shared with the driver) of which process works on
which task."""


def start(prepare: Sequence[str], driver: int, processes: MutableSequence[int]) -> None:
    """Set the process up: die with the driver, keep quiet, load what the tasks will need.

    Nothing is raised here, because a worker that fails to start is started again and again: what cannot be prepared
    is told by the first task that needs it.
    """
    from pebble import CONSTS

    # ^C reaches the whole terminal; the driver decides what it means.  It started this process with ^C held back.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    _die_with(driver)
    # Nothing here needs a clean-up, and a handler written in Python would wait for a hung engine.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _send_output_nowhere()
    _processes[:] = [processes]
    # A worker killed inside pebble's queue lock keeps it for ever.  The others wait for it twice, a minute each, before
    # they give up and the pool is replaced; who is alive holds it for microseconds.
    CONSTS.channel_lock_timeout = LOCK_S
    for task in prepare:
        with contextlib.suppress(Exception):
            dispatch.run(task)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def run(slot: int, task: str) -> None:
    """Do one task; ``slot`` is its place in the table of processes."""
    _processes[0][slot] = os.getpid()
    dispatch.run(task)


def _die_with(driver: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != driver:
        os._exit(1)


def _send_output_nowhere() -> None:
    """Send output and error messages to /dev/null: engines print, and the terminal belongs to the driver."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)
