"""What runs inside a worker process: rebuild the labellers once, then label one structure per call."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import MutableSequence, Sequence
from dataclasses import replace

from phonograph.errors import ConfigurationError, MissingEngineError, UserError
from phonograph.labels.failures import checked, describe_exception, failure, refuse
from phonograph.labels.task import rebuild
from phonograph.types import Crystal, FloatArray, IntArray, Labeller, LabelResult

_PR_SET_PDEATHSIG = 1
_labellers: list[Labeller] = []
_why_not: list[str] = []
_processes: list[MutableSequence[int]] = []
"""State of this worker process, filled by :func:`start`, never in the driver: its labellers, or why there are none,
and the table (shared with the driver) of which process works on which job."""


def start(tasks: Sequence[str], driver: int, processes: MutableSequence[int]) -> None:
    """Set the process up: die with the driver, keep quiet, use one thread, load every engine.

    Nothing is raised here, because a worker that fails to start is started again and again: a labeller that cannot
    be rebuilt is told by the first call of :func:`run`, an engine that cannot be loaded by its labels.
    """
    _die_with(driver)
    # Nothing here needs a clean-up, and a handler written in Python would wait for a hung engine.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _send_output_nowhere()
    _processes[:] = [processes]
    try:
        _labellers[:] = [rebuild(task) for task in tasks]
    except Exception as error:
        _why_not.append(describe_exception(error))
    for labeller in _labellers:
        with contextlib.suppress(Exception):
            getattr(labeller, "prepare", _nothing)()
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def _nothing() -> None:
    """Do nothing: a labeller need not have a ``prepare``."""


def _die_with(driver: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != driver:
        os._exit(1)


def _send_output_nowhere() -> None:
    """Send standard output to /dev/null: engines print, and the terminal belongs to the driver."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def run(slot: int, labeller: int, cell_A: FloatArray, positions_A: FloatArray, numbers: IntArray) -> LabelResult:
    """Label one structure with labeller number ``labeller``; ``slot`` is the job's place in the table of processes."""
    _processes[0][slot] = os.getpid()
    if _why_not:
        raise ConfigurationError(
            f"a worker process cannot rebuild the labellers ({_why_not[0]}); define them in a module that can be "
            "imported by its name"
        )
    return label_safely(_labellers[labeller], Crystal(cell_A=cell_A, positions_A=positions_A, numbers=numbers))


def label_safely(labeller: Labeller, crystal: Crystal, arrays: Sequence[str] = ()) -> LabelResult:
    """Check the structure, label it, check the result, and time it; whatever an engine raises becomes a failure."""
    started = time.perf_counter()
    result = refuse(crystal)
    if result is None:
        try:
            result = checked(labeller.label(crystal), labeller.provides, arrays, len(crystal))
        except MissingEngineError:
            raise  # no label can succeed: this ends the run
        except UserError as error:
            result = failure("bad_input", str(error))
        except Exception as error:
            result = failure("crashed", describe_exception(error))
    return replace(result, seconds=time.perf_counter() - started)
