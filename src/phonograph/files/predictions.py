"""StructurePredictions as a table (CSV) or beside their structures (extended XYZ)."""

from __future__ import annotations

import csv
import io
import math
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from phonograph.atomic import write_text
from phonograph.errors import InputFileError
from phonograph.files.safety import shown
from phonograph.types import PredictedColumn, StructurePredictions

COLUMNS = (
    "structure",
    "formula",
    "atoms",
    "target",
    "unit",
    "value",
    "std",
    "models",
    "out_of_range",
    "short_distances",
    "long_distances",
    "composition_outside",
    "density_outside",
)
"""Columns of the table, one line per structure and target.

``std`` is empty for one network; ``out_of_range`` is 1 where the value lies outside the training labels; the last four
say how the structure leaves the training crystals (numbers of directed edges, and 0 or 1).
"""


def predictions_csv(predictions: StructurePredictions) -> str:
    """Return the table with :data:`COLUMNS` as text (comma, one header line, all digits)."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for column in predictions.columns:
        writer.writerows(_row(predictions, column, place) for place in range(len(predictions)))
    return stream.getvalue()


def save_predictions(predictions: StructurePredictions, path: str | os.PathLike[str]) -> None:
    """Write a table (``.csv``) or the structures with their predictions (``.extxyz``, ``.xyz``), atomically.

    In extended XYZ the comment line of each frame holds ``<target>``, ``<target>_std`` where there are several
    networks, ``<target>_unit`` and the columns of the table that say where the structure leaves the training crystals.

    Raises
    ------
    InputFileError
        For another suffix, or where the file cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".csv":
        write_text(path, predictions_csv(predictions))
    elif suffix in (".extxyz", ".xyz"):
        write_text(path, "".join(_frame(predictions, place) for place in range(len(predictions))))
    else:
        raise InputFileError(f"{shown(path)}: predictions are written as .csv or .extxyz; choose such a name with -o")


def _row(predictions: StructurePredictions, column: PredictedColumn, place: int) -> list[Any]:
    spread = float(column.spread[place])
    crystal = predictions.crystals[place]
    return [
        _harmless(predictions.names[place]),
        crystal.formula,
        len(crystal),
        column.target,
        column.unit,
        repr(float(column.values[place])),
        "" if math.isnan(spread) else repr(spread),
        len(column.models),
        int(column.out_of_range[place]),
        *_flags(predictions, place).values(),
    ]


def _flags(predictions: StructurePredictions, place: int) -> dict[str, int]:
    return {
        "short_distances": int(predictions.short_edges[place]),
        "long_distances": int(predictions.long_edges[place]),
        "composition_outside": int(predictions.composition[place]),
        "density_outside": int(predictions.density[place]),
    }


def _harmless(name: str) -> str:
    """Return a name that a spreadsheet does not take for a formula."""
    return f"'{name}" if name[:1] in ("=", "+", "-", "@") else name


def _frame(predictions: StructurePredictions, place: int) -> str:
    crystal = predictions.crystals[place]
    words: dict[str, Any] = {"structure": _word(predictions.names[place])}
    for column in predictions.columns:
        words[column.target] = repr(float(column.values[place]))
        if not np.isnan(column.spread[place]):
            words[f"{column.target}_std"] = repr(float(column.spread[place]))
        words[f"{column.target}_unit"] = _word(column.unit)
        words[f"{column.target}_out_of_range"] = int(column.out_of_range[place])
    words |= _flags(predictions, place)
    lattice = " ".join(map(repr, crystal.cell_A.ravel().tolist()))
    pairs = " ".join(f"{key}={value}" for key, value in words.items())
    rows = zip(crystal.symbols, crystal.positions_A.tolist(), strict=True)
    atoms = "".join(f"{symbol} {' '.join(map(repr, position))}\n" for symbol, position in rows)
    return f'{len(crystal)}\nLattice="{lattice}" Properties=species:S:1:pos:R:3 {pairs} pbc="T T T"\n{atoms}'


def _word(text: str) -> str:
    return '"' + re.sub(r"[^\x20\x21\x23-\x5b\x5d-\x7e]", "_", text) + '"'
