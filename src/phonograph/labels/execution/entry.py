"""What a worker does, wherever it runs: labels described as text in, one result file out.

A task is JSON: structures, engine, parameters, time limit and the path of its result file; never a function.  The same
entry serves worker processes of this machine and nodes of a cluster.
"""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from phonograph.labels.attempts import Attempt, save_attempts
from phonograph.labels.execution.deadline import limited
from phonograph.labels.execution.worker import label_safely
from phonograph.labels.failures import PASSING, one_line
from phonograph.labels.task import Calculation, StructureBytes, canonical_json, rebuild, structure_key
from phonograph.types import Crystal, Labeller

LARGEST_ATTEMPTS = 3
"""A label that fails is tried this often in all, where its labeller knows a remedy."""


def describe_task(
    calculation: Calculation, structures: Sequence[StructureBytes], timeout_s: float, result: Path
) -> str:
    """Return the JSON of one task: ``structures`` with one calculation, at most ``timeout_s`` each, into ``result``."""
    return canonical_json(
        {
            "calculation": {**dataclasses.asdict(calculation), "key": calculation.key.hex()},
            "structures": [
                {name: base64.b64encode(getattr(s, name)).decode() for name in ("numbers", "cell", "positions")}
                for s in structures
            ],
            "timeout_s": timeout_s,
            "result": str(result),
        }
    )


def run_task(task: str) -> str:
    """Label what ``task`` describes and write its result file; return the path of that file."""
    plain = json.loads(task)
    described = plain["calculation"]
    calculation = Calculation(
        **{
            **described,
            "key": bytes.fromhex(described["key"]),
            "provides": tuple(described["provides"]),
            "arrays": tuple(described["arrays"]),
        }
    )
    attempts: list[Attempt] = []
    for described_structure in plain["structures"]:
        attempts += label_with_remedies(_structure(described_structure), calculation, plain["timeout_s"])
    save_attempts(Path(plain["result"]), attempts)
    return str(plain["result"])


def label_with_remedies(structure: StructureBytes, calculation: Calculation, timeout_s: float) -> list[Attempt]:
    """Label one structure, again with what the labeller's ``remedy`` changes while it fails; return every attempt."""
    original = labeller = _rebuilt(calculation.task)
    crystal = crystal_of(structure)
    attempts: list[Attempt] = []
    changed = ""
    with limited(timeout_s):
        while True:
            result = label_safely(labeller, crystal, arrays=calculation.arrays)
            if changed:
                message = f"attempt {len(attempts) + 1}, {changed}" + (f": {result.message}" if result.message else "")
                result = dataclasses.replace(result, message=one_line(message))
            remedy = None
            if result.failure and result.failure not in PASSING and len(attempts) + 1 < LARGEST_ATTEMPTS:
                remedy = getattr(original, "remedy", _no_remedy)(len(attempts) + 2, result.failure)
            attempts.append(
                Attempt(
                    structure=structure,
                    calculation=calculation,
                    result=result,
                    final=remedy is None and result.failure not in PASSING,
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
def _rebuilt(task: str) -> Labeller:
    """Rebuild a labeller once per process, and let it load its engine."""
    labeller = rebuild(task)
    getattr(labeller, "prepare", lambda: None)()
    return labeller


def _no_remedy(attempt: int, failure: str) -> Any:
    return None
