"""The label-noise floor on disk: ``noise.csv`` (a row per property, set and cause) and ``noise.json`` (all of it)."""

from __future__ import annotations

import os
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from phonograph.errors import InputFileError
from phonograph.files.rows import write_rows
from phonograph.files.sidecar import entry, read_sidecar, write_sidecar
from phonograph.types import NoiseFloor, NoiseRow

SCHEMA = "phonograph-noise-1"
_KINDS: dict[str, type | tuple[type, ...]] = {"str": str, "int": int, "float": (float, int, type(None))}


def save_noise(noise: NoiseFloor, folder: str | os.PathLike[str]) -> None:
    """Write ``noise.json`` and ``noise.csv`` into ``folder``, each atomically."""
    rows = [asdict(row) for row in noise.rows]
    write_rows(Path(folder) / "noise.csv", NoiseRow, noise.rows)
    write_sidecar(Path(folder) / "noise.json", SCHEMA, noise.warnings, noise.origin, rows=rows)


def load_noise(folder: str | os.PathLike[str]) -> NoiseFloor:
    """Read what :func:`save_noise` wrote.

    Raises
    ------
    InputFileError
        A missing or malformed file.
    """
    path = Path(folder) / "noise.json"
    document = read_sidecar(path, SCHEMA)
    rows = tuple(_row(item, path) for item in entry(document, "rows", list, path))
    return NoiseFloor(rows=rows, warnings=document["warnings"], origin=document["origin"])


def _row(item: Any, path: Path) -> NoiseRow:
    if not isinstance(item, dict) or set(item) != {field.name for field in fields(NoiseRow)}:
        raise InputFileError(f"{path}: every row must hold the fields of noise.csv; measure the noise again")
    values: dict[str, Any] = {}
    for field in fields(NoiseRow):
        value = entry(item, field.name, _KINDS[str(field.type)], path)
        values[field.name] = float("nan") if value is None else value
    return NoiseRow(**values)
