"""What a worker does, wherever it runs: labels described as text in, one result file out.

A task is JSON: structures, engine, parameters, time limit and the path of its result file.  The same entry serves
worker processes of this machine and nodes of a cluster.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from phonograph.errors import ConfigurationError, MissingEngineError, describe_exception, one_line
from phonograph.execution.deadline import ended_after, limited
from phonograph.labels.attempts import Attempt, save_lines
from phonograph.labels.execution import journal
from phonograph.labels.execution.worker import KILLED, label_safely
from phonograph.labels.failures import PASSING
from phonograph.labels.task import Calculation, StructureBytes, canonical_json, rebuild, structure_key
from phonograph.types import Crystal, Labeller

BATCH_S = 0.5
"""A worker takes no further structure of its task after this time, s, but returns what it has.

The driver sends the rest again.  So at most this much finished work waits for the disk.
"""

TOO_LATE_S = 1.0
"""The system ends a worker's process when a task has taken this much longer than one label may, s.

The last label of a task begins within :data:`BATCH_S`, so an engine that minds its time limit itself has at least half
a second to end well.
"""

LARGEST_ATTEMPTS = 3
"""A label that fails is tried this often in all, where its labeller knows a remedy."""


def describe_task(
    calculation: Calculation, structures: Sequence[StructureBytes], timeout_s: float, result: Path
) -> str:
    """Return the JSON of one task: ``structures`` with one calculation, at most ``timeout_s`` each, into ``result``."""
    return canonical_json(
        {
            "entry": f"{__name__}:run_task",
            "calculation": {**dataclasses.asdict(calculation), "key": calculation.key.hex()},
            "structures": [
                {name: base64.b64encode(getattr(s, name)).decode() for name in ("numbers", "cell", "positions")}
                for s in structures
            ],
            "timeout_s": timeout_s,
            "result": str(result),
        }
    )


def describe_preparation(calculation: Calculation) -> str:
    """Return the JSON of the task that loads a calculation's engine."""
    return canonical_json({"entry": f"{__name__}:prepare", "labeller": calculation.task})


def prepare(task: str) -> None:
    """Do what :func:`describe_preparation` describes."""
    rebuilt(json.loads(task)["labeller"])


def run_task(task: str) -> str:
    """Label what ``task`` describes and write its result file; return the path of that file.

    The worker goes on from what an earlier one left of the same task, takes no further structure after
    :data:`BATCH_S`, and is ended by the system where a label does not stop in time, even inside an engine's own code.
    """
    plain = json.loads(task)
    result = Path(plain["result"])
    if result.exists():
        return str(result)
    calculation = calculation_of(plain["calculation"])
    with journal.opened(result) as finished:
        known = {attempt.structure.key for attempt in finished.attempts if decides(attempt)}
        rebuilt(calculation.task)
        started = time.monotonic()
        with ended_after(plain["timeout_s"] + TOO_LATE_S, finished.descriptor):
            for structure in map(_structure, plain["structures"]):
                if structure.key not in known:
                    finished.add(label_with_remedies(structure, calculation, plain["timeout_s"]))
                if time.monotonic() - started >= BATCH_S:
                    break
        save_lines(result, finished.lines)
        finished.path.unlink(missing_ok=True)
    return str(result)


def calculation_of(plain: Mapping[str, Any]) -> Calculation:
    """Return the calculation that :func:`describe_task` described."""
    return Calculation(
        **{
            **plain,
            "key": bytes.fromhex(plain["key"]),
            "provides": tuple(plain["provides"]),
            "arrays": tuple(plain["arrays"]),
        }
    )


def decides(attempt: Attempt) -> bool:
    """Return whether an attempt is the last one of its label in this run."""
    return attempt.final or attempt.result.failure in PASSING


def label_with_remedies(structure: StructureBytes, calculation: Calculation, timeout_s: float) -> list[Attempt]:
    """Label one structure, again with what the labeller's ``remedy`` changes while it fails; return every attempt.

    Where somebody killed the engine's program the last attempt is not final: the driver sends the label again.
    """
    original = labeller = rebuilt(calculation.task)
    crystal = crystal_of(structure)
    attempts: list[Attempt] = []
    changed = ""
    with limited(timeout_s):
        while True:
            result = label_safely(labeller, crystal, arrays=calculation.arrays)
            if changed:
                message = f"attempt {len(attempts) + 1}, {changed}" + (f": {result.message}" if result.message else "")
                result = dataclasses.replace(result, message=one_line(message))
            killed = result.failure == "crashed" and result.message.startswith(KILLED)
            remedy = None
            if result.failure and not killed and result.failure not in PASSING and len(attempts) + 1 < LARGEST_ATTEMPTS:
                remedy = getattr(original, "remedy", _no_remedy)(len(attempts) + 2, result.failure)
            attempts.append(
                Attempt(
                    structure=structure,
                    calculation=calculation,
                    result=result,
                    final=remedy is None and not killed and result.failure not in PASSING,
                    cores=calculation.cores,
                )
            )
            if remedy is None:
                return attempts
            changed, labeller = remedy


def crystal_of(structure: StructureBytes) -> Crystal:
    """Return the crystal that the bytes describe."""
    return Crystal(
        cell_A=np.frombuffer(structure.cell, dtype="<f8").reshape(3, 3),
        positions_A=np.frombuffer(structure.positions, dtype="<f8").reshape(-1, 3),
        numbers=np.frombuffer(structure.numbers, dtype="<i4"),
    )


def _structure(plain: Mapping[str, str]) -> StructureBytes:
    numbers, cell, positions = (base64.b64decode(plain[name]) for name in ("numbers", "cell", "positions"))
    return StructureBytes(numbers=numbers, cell=cell, positions=positions, key=structure_key(numbers, cell, positions))


@cache
def rebuilt(task: str) -> Labeller:
    """Rebuild a labeller once per process, and let it load its engine.

    Raises
    ------
    ConfigurationError
        A labeller whose class cannot be found here.
    MissingEngineError
        An engine that is not installed here.
    """
    try:
        labeller = rebuild(task)
    except MissingEngineError:
        raise
    except Exception as error:
        raise ConfigurationError(
            f"a worker process cannot rebuild the labellers ({describe_exception(error)}); define them in a module "
            "that can be imported by its name"
        ) from error
    # Whatever else goes wrong here goes wrong again, and is told, when a label needs the engine.
    with contextlib.suppress(Exception):
        getattr(labeller, "prepare", _nothing)()
    return labeller


def _nothing() -> None:
    """Do nothing: a labeller need not have a ``prepare``."""


def _no_remedy(attempt: int, failure: str) -> Any:
    return None
