"""Labels as tables: CSV for numbers, Parquet for numbers, structures and arrays.  Holes are rows without values."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from phonograph.errors import MissingEngineError
from phonograph.labels.rows import StoredCalculation, StoredLabel, nan_as_null
from phonograph.labels.schema import META, OK, SCHEMA_VERSION
from phonograph.labels.task import property_unit
from phonograph.types import ARRAY_UNITS

_ROWS = 1000
_FORMULA_START = ("=", "+", "-", "@", "\t", "\r")
_COLUMNS = {
    "structure": "string",
    "sample_ids": "list<string>",
    "sets": "list<string>",
    "sampler": "string",
    "seed": "int64",
    "sample_index": "int64",
    "temperature_K": "double",
    "formula": "string",
    "atoms": "int32",
    "engine": "string",
    "status": "string",
    "message": "string",
    "core_seconds": "double",
}
_UNITS = {"temperature_K": "K", "core_seconds": "s", "cell_A": "Å", "positions_A": "Å"}


@dataclass(frozen=True, kw_only=True)
class Names:
    """Names of the numbers and arrays to write, in this order."""

    numbers: tuple[str, ...]
    arrays: tuple[str, ...]


def _row(item: StoredLabel, names: Names) -> dict[str, Any]:
    """Return the columns that every table has: who, how, what came out."""
    result, first = item.result, item.samples[0] if item.samples else None
    numbers = np.frombuffer(item.structure.numbers, dtype="<i4")
    values = (
        item.structure.key.hex(),
        [sample.sample_id for sample in item.samples],
        [sample.set_name for sample in item.samples],
        first.sampler if first else None,
        first.seed if first else None,
        first.index if first else None,
        nan_as_null(first.temperature_K) if first else None,
        _formula(numbers),
        len(numbers),
        item.calculation.engine,
        result.failure or OK,
        result.message,
        item.core_seconds,
    )
    return {
        **dict(zip(_COLUMNS, values, strict=True)),
        **{name: result.values.get(name) for name in names.numbers},
    }


def _formula(numbers: Any) -> str:
    from ase.symbols import Symbols

    return str(Symbols(numbers).get_chemical_formula()) if len(numbers) else ""


def write_csv(
    path: Path, items: Iterable[StoredLabel], names: Names, calculations: Sequence[StoredCalculation], digest: Any
) -> None:
    """Write one row per label; units are in the names of the columns, missing values are empty cells."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        header: list[str] = [*_COLUMNS, *names.numbers]
        for cells in chain([header], ([_cell(v) for v in _row(item, names).values()] for item in items)):
            writer.writerow(cells)
            _add(digest, cells)


def read_csv(path: Path, names: Names, digest: Any) -> None:
    """Add every cell of the file to ``digest``."""
    with path.open(encoding="utf-8", newline="") as stream:
        for cells in csv.reader(stream, strict=True):
            _add(digest, cells)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return repr(value)
    text = "; ".join(value) if isinstance(value, list) else str(value)
    # A spreadsheet would run it.
    return "'" + text if text.startswith(_FORMULA_START) else text


def _add(digest: Any, values: Iterable[Any]) -> None:
    digest.update(repr(list(values)).encode())


def write_parquet(
    path: Path, items: Iterable[StoredLabel], names: Names, calculations: Sequence[StoredCalculation], digest: Any
) -> None:
    """Write one row per label with structure and arrays; units are in the metadata of the columns.

    Arrays are lists in C order, with a column ``<name>_shape`` beside them.
    """
    arrow, parquet = _arrow()
    schema = _arrow_schema(arrow, names, calculations)
    with parquet.ParquetWriter(path, schema) as writer:
        for rows in _batches(_full_row(item, names) for item in items):
            writer.write_batch(arrow.RecordBatch.from_pylist(rows, schema=schema))
            for row in rows:
                _add(digest, row.items())


def read_parquet(path: Path, names: Names, digest: Any) -> None:
    """Add every row of the file to ``digest``."""
    _, parquet = _arrow()
    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=_ROWS):
            for row in batch.to_pylist():
                _add(digest, row.items())


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingEngineError(
            "Parquet needs pyarrow, which is not installed; install it with: pip install 'phonograph[parquet]'"
        ) from error
    return pyarrow, pyarrow.parquet


def _full_row(item: StoredLabel, names: Names) -> dict[str, Any]:
    structure, row = item.structure, _row(item, names)
    row["numbers"] = np.frombuffer(structure.numbers, dtype="<i4").tolist()
    row["cell_A"] = np.frombuffer(structure.cell, dtype="<f8").tolist()
    row["positions_A"] = np.frombuffer(structure.positions, dtype="<f8").tolist()
    for name in names.arrays:
        array = item.result.arrays.get(name)
        row[name] = None if array is None else array.ravel().tolist()
        row[f"{name}_shape"] = None if array is None else list(array.shape)
    return row


def _arrow_schema(arrow: Any, names: Names, calculations: Sequence[StoredCalculation]) -> Any:
    kinds = {
        "string": arrow.string(),
        "list<string>": arrow.list_(arrow.string()),
        "int64": arrow.int64(),
        "int32": arrow.int32(),
        "double": arrow.float64(),
        "list<double>": arrow.list_(arrow.float64()),
        "list<int32>": arrow.list_(arrow.int32()),
    }
    columns = {**_COLUMNS, **dict.fromkeys(names.numbers, "double"), "numbers": "list<int32>"}
    columns |= {"cell_A": "list<double>", "positions_A": "list<double>"}
    for name in names.arrays:
        columns |= {name: "list<double>", f"{name}_shape": "list<int32>"}
    units = {
        **_UNITS,
        **{name: property_unit(name) for name in names.numbers},
        **{name: ARRAY_UNITS[name] for name in names.arrays},
    }
    fields = [
        arrow.field(name, kinds[kind], metadata={"unit": units[name]} if name in units else None)
        for name, kind in columns.items()
    ]
    described = {
        "conventions": META[SCHEMA_VERSION],
        "calculations": [{"engine": c.engine, "settings": c.settings, "labeller": c.labeller} for c in calculations],
    }
    return arrow.schema(fields, metadata={"phonograph": json.dumps(described, ensure_ascii=False)})


def _batches(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    left = iter(rows)
    while batch := list(islice(left, _ROWS)):
        yield batch
