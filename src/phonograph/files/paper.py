"""Finished items of the remade paper on disk, and all of them as one JSON and one CSV.

====================  ==========================================================================
file                  holds
====================  ==========================================================================
``item.json``         comparisons, sentences, tables, seeds, warnings
``arrays.npz``        what the figure is drawn from
``paper.json``        all items of a run, without arrays
``paper.csv``         one line per comparison
====================  ==========================================================================
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from phonograph.atomic import replacing, write_text
from phonograph.errors import InputFileError
from phonograph.files.safety import MAX_SET_BYTES, check_readable, reading
from phonograph.files.sidecar import entry, plain, read_sidecar, write_sidecar
from phonograph.types import Origin
from phonograph.types.paper import Comparison, PaperItem, PaperRun, PaperTable

SCHEMA = "phonograph.paper-item/1"
ITEM, ARRAYS = "item.json", "arrays.npz"


def save_item(item: PaperItem, folder: str | os.PathLike[str]) -> None:
    """Write one item, each file atomically."""
    place = Path(folder)
    with replacing(place / ARRAYS) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **dict(item.arrays))
    write_sidecar(place / ITEM, SCHEMA, item.warnings, Origin(room="paper"), **_content(item))


def _content(item: PaperItem) -> dict[str, Any]:
    return {
        "key": item.key,
        "title": item.title,
        "comparisons": [asdict(line) for line in item.comparisons],
        "sentences": list(item.sentences),
        "tables": [asdict(table) for table in item.tables],
        "seeds": list(item.seeds),
    }


def load_item(folder: str | os.PathLike[str]) -> PaperItem:
    """Read what :func:`save_item` wrote; raises :class:`InputFileError` naming the file."""
    place = Path(folder)
    source = place / ITEM
    document = read_sidecar(source, SCHEMA)
    with reading(check_readable(place / ARRAYS, MAX_SET_BYTES), "arrays of an item (.npz)"):
        with np.load(place / ARRAYS, allow_pickle=False) as archive:
            arrays = {name: np.asarray(archive[name], dtype=np.float64) for name in archive.files}
    try:
        return PaperItem(
            key=entry(document, "key", str, source),
            title=entry(document, "title", str, source),
            comparisons=tuple(_comparison(line) for line in entry(document, "comparisons", list, source)),
            sentences=tuple(map(str, entry(document, "sentences", list, source))),
            tables=tuple(_table(table) for table in entry(document, "tables", list, source)),
            arrays=arrays,
            seeds=tuple(map(int, entry(document, "seeds", list, source))),
            warnings=document["warnings"],
        )
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise InputFileError(f"{source} is not an item of the paper ({error}); remove its folder") from error


def _comparison(line: Mapping[str, Any]) -> Comparison:
    numbers = {name: float("nan") if line[name] is None else float(line[name]) for name in ("value", "low", "high")}
    return Comparison(**{**line, **numbers})


def _table(plain_table: Mapping[str, Any]) -> PaperTable:
    rows = tuple(tuple(float("nan") if cell is None else cell for cell in row) for row in plain_table["rows"])
    return PaperTable(title=str(plain_table["title"]), head=tuple(map(str, plain_table["head"])), rows=rows)


def write_paper_tables(run: PaperRun, folder: str | os.PathLike[str]) -> None:
    """Write ``paper.json`` and ``paper.csv``."""
    place = Path(folder)
    document = {
        "title": run.title,
        "command": run.command,
        "data": run.data,
        "items": [{**_content(item), "warnings": list(item.warnings)} for item in run.items],
        "seconds": dict(run.seconds),
        "missing": dict(run.missing),
    }
    write_text(place / "paper.json", json.dumps(plain(document), indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    names = [item.name for item in fields(Comparison) if item.name != "headline"]
    writer.writerow(["item", *names])
    for item in run.items:
        writer.writerows([item.key, *(getattr(line, name) for name in names)] for line in item.comparisons)
    write_text(place / "paper.csv", stream.getvalue())
