"""The JSON beside a table: what the table cannot hold (warnings, origin, names), checked when read."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from phonograph.atomic import write_text
from phonograph.errors import InputFileError
from phonograph.plain_json import read_json
from phonograph.types import Origin

LARGEST_SIDECAR_BYTES = 200_000_000


def write_sidecar(
    path: str | os.PathLike[str], schema: str, warnings: tuple[str, ...], origin: Origin, **content: Any
) -> None:
    """Write ``content`` with the schema name, the warnings and the origin as JSON, atomically."""
    document = {
        "schema": schema,
        **{name: plain(value) for name, value in content.items()},
        "warnings": list(warnings),
        "origin": origin_to_plain(origin),
    }
    write_text(path, json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_sidecar(path: str | os.PathLike[str], *schemas: str) -> Mapping[str, Any]:
    """Read what :func:`write_sidecar` wrote; ``warnings`` is a tuple of str and ``origin`` an :class:`Origin`.

    ``schemas`` are those that the caller can read, the present one first.

    Raises
    ------
    InputFileError
        A missing or broken file, or one of another schema.
    """
    source = Path(path)
    if not source.is_file():
        raise InputFileError(f"{source} not found; run the room that writes it first")
    if source.stat().st_size > LARGEST_SIDECAR_BYTES:
        raise InputFileError(f"{source} is larger than {LARGEST_SIDECAR_BYTES} bytes; is it a file of this program?")
    try:
        document = read_json(source.read_bytes())
    except ValueError as error:
        raise InputFileError(f"{source} is not JSON in UTF-8: {error}; write it again") from error
    if not isinstance(document, dict) or document.get("schema") not in schemas:
        got = document.get("schema") if isinstance(document, dict) else type(document).__name__
        names = " or ".join(map(repr, schemas))
        raise InputFileError(
            f"{source}: the schema must be {names}; got {got!r:.80}; run the room that writes it again"
        )
    warnings = entry(document, "warnings", list, source)
    if not all(isinstance(warning, str) for warning in warnings):
        raise InputFileError(f"{source}: warnings must be a list of sentences")
    origin = origin_from_plain(entry(document, "origin", dict, source), source)
    return {**document, "warnings": tuple(warnings), "origin": origin}


def entry(document: Mapping[str, Any], name: str, kind: type | tuple[type, ...], source: Path) -> Any:
    """Return ``document[name]`` if it is of type ``kind``; else one sentence."""
    value = document.get(name)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        words = kind.__name__ if isinstance(kind, type) else " or ".join(k.__name__ for k in kind)
        raise InputFileError(f"{source}: {name} must be of type {words}; got {type(value).__name__}")
    return value


def plain(value: Any) -> Any:
    """Return ``value`` as JSON can hold it; undefined numbers become null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def origin_to_plain(origin: Origin) -> dict[str, Any]:
    """Return the origin as plain values."""
    return {
        "room": origin.room,
        "settings": plain(origin.settings),
        "seed": origin.seed,
        "inputs": plain(origin.inputs),
        "versions": plain(origin.versions),
    }


def origin_from_plain(document: Mapping[str, Any], source: Path) -> Origin:
    """Return the origin that :func:`origin_to_plain` wrote; raises one sentence where it is malformed."""
    seed = document.get("seed")
    if seed is not None and not isinstance(seed, int):
        raise InputFileError(f"{source}: origin.seed must be a whole number or null; got {type(seed).__name__}")
    return Origin(
        room=entry(document, "room", str, source),
        settings=entry(document, "settings", dict, source),
        seed=seed,
        inputs=entry(document, "inputs", dict, source),
        versions=entry(document, "versions", dict, source),
    )
