"""Attempts at a label, and the result files in which workers leave them: what the driver takes into the store.

A worker writes each result itself (temporary file, fsync, rename), so that nothing finished depends on the driver, the
pool or the cluster's queue staying alive.  A result file is text: one JSON object per attempt and line, the last line
the SHA-256 of the others.  It holds everything the store needs, also for a run whose configuration has changed since.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import math
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from phonograph.atomic import write_bytes
from phonograph.errors import ConfigurationError, InputFileError
from phonograph.labels.failures import FAILURES
from phonograph.labels.task import Calculation, StructureBytes, canonical_json, property_unit, structure_key
from phonograph.types import ARRAY_UNITS, FloatArray, LabelResult

SCHEMA = "phonograph-result-1"
SUFFIX = ".result"


def now() -> str:
    """Return the time as text, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One finished attempt at one label.

    Attributes
    ----------
    structure, calculation
        What was calculated, as data.
    result
        What came out.
    final
        Whether it decides the label; False for a failure after which the label is tried again.
    cores
        Cores that were held; core-seconds are ``cores`` times ``result.seconds``.
    host, ended
        Where and when, UTC.
    log
        Last lines of an external program's output, where it failed.
    """

    structure: StructureBytes
    calculation: Calculation
    result: LabelResult
    final: bool = True
    cores: int = 1
    host: str = field(default_factory=socket.gethostname)
    ended: str = field(default_factory=now)
    log: str = ""


def save_attempts(path: Path, attempts: Sequence[Attempt]) -> None:
    """Write a result file, atomically; raises :class:`InputFileError` where the folder cannot be written."""
    save_lines(path, [attempt_as_line(attempt) for attempt in attempts])


def save_lines(path: Path, lines: Sequence[bytes]) -> None:
    """Write a result file of lines that :func:`attempt_as_line` made, atomically."""
    content = b"".join(line + b"\n" for line in lines)
    write_bytes(path, content + hashlib.sha256(content).hexdigest().encode() + b"\n")


def attempt_as_line(attempt: Attempt) -> bytes:
    """Return an attempt as one line of JSON, without the line's end."""
    return canonical_json(_as_plain(attempt)).encode()


def attempt_of_line(line: bytes) -> Attempt:
    """Read one line back; raises ValueError for anything else."""
    try:
        return _believable(_from_plain(json.loads(line)))
    except (ArithmeticError, AttributeError, ConfigurationError, KeyError, TypeError) as error:
        raise ValueError(f"not an attempt: {error!r}") from error


def load_attempts(path: Path) -> list[Attempt]:
    """Read a result file.

    Raises
    ------
    InputFileError
        A file that is damaged in any byte, or is no result file.
    """
    content = path.read_bytes()
    lines, _, digest = content.rstrip(b"\n").rpartition(b"\n")
    lines += b"\n"
    if hashlib.sha256(lines).hexdigest().encode() != digest or content != lines + digest + b"\n":
        raise InputFileError(f"result file {path} is damaged or incomplete; delete it, its labels are computed again")
    try:
        return [attempt_of_line(line) for line in lines.splitlines()]
    except ValueError as error:
        raise InputFileError(f"{path} is not a result file ({error}); delete it") from error


def _as_plain(attempt: Attempt) -> dict[str, Any]:
    s, c, result = attempt.structure, attempt.calculation, attempt.result
    return {
        "schema": SCHEMA,
        "structure": {name: _text(getattr(s, name)) for name in ("numbers", "cell", "positions")},
        "calculation": {**dataclasses.asdict(c), "key": c.key.hex()},
        # Infinities and NaN have no JSON; their hexadecimal texts are exact for all numbers.
        "values": {name: float(value).hex() for name, value in result.values.items()},
        "arrays": {
            name: {"shape": list(np.shape(value)), "f8": _text(np.asarray(value, dtype="<f8").tobytes())}
            for name, value in result.arrays.items()
        },
        "failure": result.failure,
        "message": result.message,
        "seconds": float(result.seconds),
        **{name: getattr(attempt, name) for name in ("final", "cores", "host", "ended", "log")},
    }


def _from_plain(plain: Mapping[str, Any]) -> Attempt:
    if plain["schema"] != SCHEMA:
        raise ValueError(f"expected schema {SCHEMA!r}, got {plain['schema']!r}")
    numbers, cell, positions = (base64.b64decode(plain["structure"][k]) for k in ("numbers", "cell", "positions"))
    described = plain["calculation"]
    return Attempt(
        structure=StructureBytes(
            numbers=numbers, cell=cell, positions=positions, key=structure_key(numbers, cell, positions)
        ),
        calculation=Calculation(
            **{
                **described,
                "key": bytes.fromhex(described["key"]),
                "provides": tuple(described["provides"]),
                "arrays": tuple(described["arrays"]),
            }
        ),
        result=LabelResult(
            values={name: float.fromhex(value) for name, value in plain["values"].items()},
            arrays={name: _array(value) for name, value in plain["arrays"].items()},
            failure=plain["failure"],
            message=plain["message"],
            seconds=plain["seconds"],
        ),
        **{name: plain[name] for name in ("final", "cores", "host", "ended", "log")},
    )


def _believable(attempt: Attempt) -> Attempt:
    """Return the attempt if it says what it promises; a file may come from anywhere."""
    s, c, result = attempt.structure, attempt.calculation, attempt.result
    _check_description(c)
    texts = (result.failure, result.message, attempt.host, attempt.ended, attempt.log)
    if not all(isinstance(text, str) for text in texts) or not isinstance(attempt.final, bool):
        raise ValueError("a text is none")
    if not 0 <= result.seconds < math.inf or not _is_count(attempt.cores):
        raise ValueError("time or cores cannot be")
    if result.failure not in ("", *FAILURES):
        raise ValueError(f"unknown failure {result.failure!r}")
    numbers = [*result.values.values(), *(value for array in result.arrays.values() for value in array.flat)]
    wrong = set(result.values) != set(c.provides) or set(result.arrays) != set(c.arrays)
    if not result.failure and (wrong or not np.isfinite(numbers).all()):
        raise ValueError("values and arrays are not those that the calculation provides")
    if not s.numbers or len(s.numbers) % 4 or len(s.cell) != 72 or len(s.positions) != 6 * len(s.numbers):
        raise ValueError("the structure has the wrong size")
    return attempt


def _check_description(c: Calculation) -> None:
    """Refuse what the store has no name for, such as an array of a newer release."""
    if len(c.key) != 32 or not all(isinstance(text, str) for text in (c.task, c.engine, c.settings)):
        raise ValueError("the calculation is not described")
    if not isinstance(json.loads(c.task), dict) or not c.provides or any("," in name for name in c.provides):
        raise ValueError("the calculation is not described")
    for name in c.provides:
        property_unit(name)
    if unknown := [name for name in c.arrays if name not in ARRAY_UNITS]:
        raise ValueError(f"array {unknown[0]!r} is not known to this release")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and 1 <= value < 2**31


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _array(plain: Mapping[str, Any]) -> FloatArray:
    return np.frombuffer(base64.b64decode(plain["f8"]), dtype="<f8").astype(np.float64).reshape(plain["shape"])
