"""Datasets on disk: a folder of plain files that other programs open without us.

==================  ==================================================================================================
``CARD.md``         what it is, how it was made, engines, versions, failures, licence
``rows.csv``        one row per configuration: id, set, composition, temperature, amplitude, split group, source,
                    properties, status; a hole is an empty cell
``structures.npz``  ``offsets`` (n + 1), ``numbers`` and ``positions_A`` packed over atoms, ``cells_A`` (n, 3, 3, rows
                    are lattice vectors), ``index`` (n); ``sites``, fractional equilibrium positions of each distinct
                    crystal one after the other, and ``first_site`` (n), where those of a configuration begin (−1:
                    not known): displacement = position − site·cell
``arrays.npz``      forces and other arrays in single precision
``dataset.json``    schema, sets, units, engine of each property, warnings, origin
``SHA256SUMS``      checksums of the other files, as ``sha256sum -c`` reads them
==================  ==================================================================================================
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from phonograph.atomic import replacing, write_text
from phonograph.errors import DataError, InputFileError
from phonograph.files.safety import MAX_SET_BYTES, check_readable, reading
from phonograph.files.sidecar import entry, read_sidecar, write_sidecar
from phonograph.types import Configurations, Dataset, FloatArray, IntArray, LabelColumn, Labels, Origin

SCHEMA = "phonograph-dataset-1"
CARD, ROWS, STRUCTURES, ARRAYS, RECORD, SUMS = (
    "CARD.md",
    "rows.csv",
    "structures.npz",
    "arrays.npz",
    "dataset.json",
    "SHA256SUMS",
)
_PLACES = ("fraction", "temperature_K", "amplitude_A")
_HEAD = ("sample_id", "set", *_PLACES, "group", "source")
_PACKED = ("numbers", "positions_A", "cells_A", "index")
_DIGITS = 10
"""Sites are kept to this many decimals of the lattice vectors, 1e-9 Å."""


def save_dataset(dataset: Dataset, folder: str | os.PathLike[str]) -> None:
    """Write ``dataset`` into ``folder``; positions keep all bits, ``arrays`` are rounded to single precision."""
    place = Path(folder)
    write_text(place / CARD, dataset.card)
    write_text(place / ROWS, _rows_text(dataset))
    sets = dataset.sets
    offsets = np.concatenate([[0], *(np.diff(s.offsets) for s in sets)]).cumsum()
    packed = {name: np.concatenate([getattr(s, name) for s in sets]) for name in _PACKED}
    packed["numbers"] = packed["numbers"].astype(np.int16)
    sites, first_site = _distinct_sites(sets)
    _save(place / STRUCTURES, {"offsets": offsets, "sites": sites, "first_site": first_site, **packed})
    _save(place / ARRAYS, {name: np.asarray(array, dtype=np.float32) for name, array in dataset.arrays.items()})
    write_sidecar(
        place / RECORD,
        SCHEMA,
        dataset.labels.warnings,
        dataset.labels.origin,
        name=dataset.name,
        sets=[
            {"name": s.name, "sampler": s.sampler, "count": len(s), "warnings": list(s.warnings)} for s in dataset.sets
        ],
        properties=[{"name": c.name, "unit": c.unit, "engine": c.engine} for c in dataset.labels.columns],
    )
    names = (CARD, ROWS, STRUCTURES, ARRAYS, RECORD)
    write_text(place / SUMS, "".join(f"{_sha256(place / name)}  {name}\n" for name in names))


def load_dataset_folder(folder: str | os.PathLike[str]) -> Dataset:
    """Read what :func:`save_dataset` wrote.

    Raises
    ------
    InputFileError
        A file that is missing, was changed, or does not fit the others.
    """
    place = Path(folder)
    _check_sums(place)
    record = read_sidecar(place / RECORD, SCHEMA)
    rows = _read_rows(place / ROWS)
    with reading(check_readable(place / STRUCTURES, MAX_SET_BYTES), "structures of a dataset (.npz)"):
        structures = _load(place / STRUCTURES)
    with reading(check_readable(place / ARRAYS, MAX_SET_BYTES), "arrays of a dataset (.npz)"):
        arrays = {name: array.astype(np.float64) for name, array in _load(place / ARRAYS).items()}
    try:
        sets = _sets(record, rows, structures)
        return Dataset(
            name=entry(record, "name", str, place / RECORD),
            sets=sets,
            labels=_labels(record, rows),
            arrays=arrays,
            source=tuple(row["source"] for row in rows),
            card=(place / CARD).read_text(encoding="utf-8"),
        )
    except (DataError, KeyError, ValueError, TypeError, IndexError) as error:
        raise InputFileError(f"dataset {place}: its files do not fit together ({error}); restore a copy") from error


def _distinct_sites(sets: Sequence[Configurations]) -> tuple[FloatArray, IntArray]:
    """Return the fractional sites of every distinct crystal, one after the other, and where each one's begin."""
    known: dict[bytes, int] = {}
    blocks: list[FloatArray] = []
    first = []
    for s in sets:
        for i, cell in enumerate(s.cells_A):
            atoms = slice(int(s.offsets[i]), int(s.offsets[i + 1]))
            reference = s.positions_A[atoms] - s.displacements_A[atoms]
            if np.isnan(reference).any():
                first.append(-1)
                continue
            # Adding zero turns −0.0 into 0.0.
            sites = np.round(reference @ np.linalg.inv(cell), _DIGITS) + 0.0
            if sites.tobytes() not in known:
                known[sites.tobytes()] = sum(map(len, blocks))
                blocks.append(sites)
            first.append(known[sites.tobytes()])
    return np.concatenate([np.zeros((0, 3)), *blocks]), np.array(first, dtype=np.int64)


def _displacements(structures: Mapping[str, Any]) -> FloatArray:
    """Return the displacement of every atom from its site, NaN where that is not known, Å, packed over atoms."""
    displacements = np.full_like(structures["positions_A"], np.nan)
    offsets = structures["offsets"]
    for i, (cell, first) in enumerate(zip(structures["cells_A"], structures["first_site"], strict=True)):
        if first >= 0:
            atoms = slice(int(offsets[i]), int(offsets[i + 1]))
            sites = structures["sites"][first : first + atoms.stop - atoms.start]
            displacements[atoms] = structures["positions_A"][atoms] - sites @ cell
    return displacements


def _rows_text(dataset: Dataset) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    columns = dataset.labels.columns
    writer.writerow([*_HEAD, *(column.name for column in columns), "status"])
    source = dataset.source or ("",) * len(dataset)
    places = {name: np.concatenate([getattr(s, name) for s in dataset.sets]) for name in _PLACES}
    groups = [group for s in dataset.sets for group in s.group]
    for row, sample in enumerate(dataset.labels.sample_ids):
        head = [sample, dataset.labels.set_names[row], *(_cell(places[name][row]) for name in _PLACES)]
        values = [_cell(column.values[row]) for column in columns]
        writer.writerow([*head, groups[row], source[row], *values, dataset.labels.status[row]])
    return stream.getvalue()


def _cell(value: float) -> str:
    return "" if math.isnan(value) else repr(float(value))


def _number(cell: str) -> float:
    return float(cell) if cell else math.nan


def _read_rows(path: Path) -> list[dict[str, str]]:
    with check_readable(path, MAX_SET_BYTES).open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, strict=True))
    if not rows or any(None in row or None in row.values() for row in rows):
        raise InputFileError(f"{path} must hold a header and rows of equal length; restore a copy")
    return rows


def _sets(
    record: Mapping[str, Any], rows: Sequence[Mapping[str, str]], structures: Mapping[str, Any]
) -> tuple[Configurations, ...]:
    made, first = [], 0
    displacements = _displacements(structures)
    offsets = structures["offsets"]
    for described in record["sets"]:
        last = first + int(described["count"])
        chosen, atoms = rows[first:last], slice(int(offsets[first]), int(offsets[last]))
        made.append(
            Configurations(
                name=described["name"],
                sampler=described["sampler"],
                offsets=offsets[first : last + 1] - offsets[first],
                numbers=structures["numbers"][atoms].astype(np.int64),
                positions_A=structures["positions_A"][atoms],
                displacements_A=displacements[atoms],
                cells_A=structures["cells_A"][first:last],
                index=structures["index"][first:last],
                group=tuple(row["group"] for row in chosen),
                warnings=tuple(described["warnings"]),
                origin=Origin(room="sampling", settings={"dataset": record["name"]}),
                **{name: np.array([_number(row[name]) for row in chosen]) for name in _PLACES},
            )
        )
        first = last
    if first != len(rows):
        raise ValueError(f"the sets hold {first} configurations, the table {len(rows)}")
    return tuple(made)


def _labels(record: Mapping[str, Any], rows: Sequence[Mapping[str, str]]) -> Labels:
    return Labels(
        sample_ids=tuple(row["sample_id"] for row in rows),
        set_names=tuple(row["set"] for row in rows),
        columns=tuple(
            LabelColumn(
                name=described["name"],
                unit=described["unit"],
                engine=described["engine"],
                values=np.array([_number(row[described["name"]]) for row in rows]),
            )
            for described in record["properties"]
        ),
        status=tuple(row["status"] for row in rows),
        warnings=record["warnings"],
        origin=record["origin"],
    )


def _save(path: Path, arrays: Mapping[str, Any]) -> None:
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **arrays)


def _load(path: Path) -> dict[str, FloatArray]:
    with np.load(path, allow_pickle=False) as archive:
        return {name: np.asarray(archive[name]) for name in archive.files}


def _check_sums(place: Path) -> None:
    sums = place / SUMS
    if not sums.is_file():
        raise InputFileError(f"{place} is not a dataset: {SUMS} not found")
    known = (CARD, ROWS, STRUCTURES, ARRAYS, RECORD)
    listed = [line.partition("  ")[::2] for line in sums.read_text(encoding="utf-8").splitlines()]
    for digest, name in listed:
        if name not in known or not (place / name).is_file():
            raise InputFileError(f"dataset {place}: file {name[:80]!r} of {SUMS} not found; restore a copy")
        if _sha256(place / name) != digest:
            raise InputFileError(f"dataset {place}: {name} does not match its checksum; restore a copy")
    if missing := sorted(set(known) - {name for _, name in listed}):
        raise InputFileError(f"dataset {place}: {SUMS} does not list {', '.join(missing)}; restore a copy")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
