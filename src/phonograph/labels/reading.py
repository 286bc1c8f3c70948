"""Queries of the label store.  Each fetches a bounded piece, so that nobody who writes has to wait for a reader."""

# ruff: noqa: S608 - queries are put together from constant names of columns only.
from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from phonograph.errors import InputFileError
from phonograph.labels.rows import (
    LoggedAttempt,
    Sample,
    StoredCalculation,
    StoredLabel,
    attempt_crc,
    calculation_of,
    crc,
    found_of,
    grouped,
    null_as_nan,
    structure_is_sound,
    whole,
)
from phonograph.labels.task import StructureBytes
from phonograph.types import LabelResult

Fetch = Callable[..., list[Any]]

PIECE = 500
DAMAGED_LABEL = LabelResult(values={}, failure="damaged", message="a row of this label fails its checksum")

_ONE = (
    "JOIN structure AS s ON s.id = t.structure JOIN calculation AS c ON c.id = t.calculation "
    "WHERE s.key = ? AND c.key = ?"
)
_MANY = (
    "FROM structure AS s CROSS JOIN {table} AS t ON t.structure = s.id "
    "AND t.calculation = (SELECT id FROM calculation WHERE key = ?) WHERE s.key IN ({{}})"
)
_LABEL = "property, value, unit, status, message, t.crc"
_ARRAY = "name, shape, unit, data, t.crc"
_ATTEMPT = "ended, host, status, message, seconds, cores, log, t.crc"
_CALCULATION = "key, engine, settings, provides, labeller, arrays, versions, crc"

LABEL = f"SELECT {_LABEL} FROM label AS t {_ONE}"
ARRAYS = f"SELECT {_ARRAY} FROM array AS t {_ONE}"
LABELS = f"SELECT s.key, {_LABEL} {_MANY.format(table='label')}"
MANY_ARRAYS = f"SELECT s.key, {_ARRAY} {_MANY.format(table='array')}"
ATTEMPTS = f"SELECT s.key, {_ATTEMPT} {_MANY.format(table='attempt')} ORDER BY t.id"
CALCULATIONS = f"SELECT id, {_CALCULATION} FROM calculation ORDER BY id"
ATTEMPT_COLUMNS = _ATTEMPT
ATTEMPT_KINDS = "ttttnit"
SAMPLE_COLUMNS = "position, sample_id, sample_index, temperature_K, amplitude_A, fraction, sample_group"
SAMPLE_KINDS = "itiNNNt"
SET_COLUMNS = "key, name, sampler, seed, origin"
SET_KINDS = "bttIt"

_RANGE = "structure > ? AND structure <= ?"
_STRUCTURES = "SELECT id, key, numbers, cell, positions FROM structure WHERE id > ? ORDER BY id LIMIT ?"
_PIECE_LABELS = f"SELECT structure, calculation, {_LABEL} FROM label AS t WHERE {_RANGE}"
_PIECE_ARRAYS = f"SELECT structure, calculation, {_ARRAY} FROM array AS t WHERE {_RANGE}"
_PIECE_ATTEMPTS = f"SELECT structure, calculation, {_ATTEMPT} FROM attempt AS t WHERE {_RANGE}"
_PIECE_SAMPLES = f"SELECT structure, sample_set, {SAMPLE_COLUMNS}, crc FROM provenance WHERE {_RANGE}"
_SETS = f"SELECT id, {SET_COLUMNS}, crc FROM sample_set WHERE id IN (SELECT max(id) FROM sample_set GROUP BY name)"


def chunks(keys: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Yield pieces of a list of keys; sorted, so that neighbours in the index are read together."""
    ordered = sorted(keys)
    return (ordered[start : start + PIECE] for start in range(0, len(ordered), PIECE))


def marks(keys: Sequence[bytes]) -> str:
    """Return as many question marks as there are keys."""
    return ",".join("?" * len(keys))


def calculations(fetch: Fetch, path: Path) -> dict[int, StoredCalculation]:
    """Return the calculations by their number in the file; raises :class:`InputFileError` for a damaged one."""
    described = {}
    for number, *row in fetch(CALCULATIONS):
        calculation = calculation_of(row)
        if calculation is None:
            raise InputFileError(
                f"label store {path}: calculation {number} fails its checksum; label again with the same engine and "
                "settings, which writes it anew, or restore a copy"
            )
        described[number] = calculation
    return described


def attempts(rows: Iterable[Sequence[Any]], calculation: bytes) -> Iterator[LoggedAttempt]:
    """Yield the sound ones of (structure key, columns of an attempt, checksum)."""
    for key, *log, check in rows:
        if whole((key, *log), "b" + ATTEMPT_KINDS) and check == attempt_crc((key, calculation), log):
            ended, host, status, message, seconds, cores, tail = log
            yield LoggedAttempt(
                structure=key,
                calculation=calculation,
                ended=ended,
                host=host,
                status=status,
                message=message,
                seconds=seconds,
                cores=cores,
                log=tail,
            )


def labels(fetch: Fetch, path: Path, wanted: Collection[bytes] | None) -> Iterator[StoredLabel]:
    """Yield every label of the wanted calculations, by number of the structure and of the calculation."""
    described = calculations(fetch, path)
    chosen = {n: c for n, c in described.items() if wanted is None or c.key in wanted}
    sets = {number: row for number, *row, check in fetch(_SETS) if whole(row, SET_KINDS) and check == crc(*row)}
    last = -1
    while structures := fetch(_STRUCTURES, (last, PIECE)):
        bounds = (last, structures[-1][0])
        last = structures[-1][0]
        yield from _piece(fetch, bounds, structures, chosen, sets)


def _piece(
    fetch: Fetch,
    bounds: tuple[int, int],
    structures: Sequence[Sequence[Any]],
    chosen: Mapping[int, StoredCalculation],
    sets: Mapping[int, Sequence[Any]],
) -> Iterator[StoredLabel]:
    rows = grouped(fetch(_PIECE_LABELS, bounds), 2)
    blobs = grouped(fetch(_PIECE_ARRAYS, bounds), 2)
    logs = grouped(fetch(_PIECE_ATTEMPTS, bounds), 2)
    samples = grouped(fetch(_PIECE_SAMPLES, bounds))
    for number, key, *content in structures:
        sound = structure_is_sound(key, content)
        numbers, cell, positions = content if sound else (b"", b"", b"")
        key = key if isinstance(key, bytes) else bytes(32)
        owners: tuple[Sample, ...] | None = None
        for place, calculation in chosen.items():
            own = rows.get((number, place))
            if own is None:
                continue
            if owners is None:
                owners = tuple(_samples(key, samples.get(number, ()), sets))
            pair = (key, calculation.key)
            found = found_of(pair, own, blobs.get((number, place), ()), calculation.provides, calculation.arrays)
            spent = attempts(((key, *row) for row in logs.get((number, place), ())), calculation.key)
            yield StoredLabel(
                structure=StructureBytes(numbers=numbers, cell=cell, positions=positions, key=key),
                calculation=calculation,
                result=found.result if found.result is not None and sound else DAMAGED_LABEL,
                samples=owners,
                core_seconds=sum(attempt.core_seconds for attempt in spent),
            )


def _samples(key: bytes, rows: Sequence[Sequence[Any]], sets: Mapping[int, Sequence[Any]]) -> Iterator[Sample]:
    for number, *row, check in rows:
        if number not in sets:
            continue
        set_key, name, sampler, seed, _ = sets[number]
        if whole(row, SAMPLE_KINDS) and check == crc(set_key, key, *row):
            _, sample_id, index, temperature, amplitude, fraction, group = row
            yield Sample(
                set_name=name,
                sample_id=sample_id,
                sampler=sampler,
                seed=seed,
                index=index,
                temperature_K=null_as_nan(temperature),
                amplitude_A=null_as_nan(amplitude),
                fraction=null_as_nan(fraction),
                group=group,
            )
