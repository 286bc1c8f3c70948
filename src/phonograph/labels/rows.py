"""Rows of the label store as values, and the checksums that every row must pass before it is believed."""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from phonograph.labels.schema import OK
from phonograph.labels.task import StructureBytes, property_unit, structure_key
from phonograph.types import ARRAY_UNITS, FloatArray, LabelResult

Key = tuple[bytes, bytes]
"""Keys of a structure and a calculation: what a label is known by."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What the store knows about one label: its result (None: nothing), and whether a damaged row was ignored."""

    result: LabelResult | None
    damaged: bool = False


NOTHING = Found(result=None)
DAMAGED = Found(result=None, damaged=True)


@dataclass(frozen=True, kw_only=True)
class StoredCalculation:
    """A calculation as the store describes it: enough to read its labels without the labeller."""

    key: bytes
    engine: str
    settings: str
    provides: tuple[str, ...]
    arrays: tuple[str, ...]
    labeller: str = ""
    versions: str = "{}"


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Where a structure comes from: its set and place there, and the law that drew it.

    NaN where a number does not apply; ``seed`` is None where nothing random was done.
    """

    set_name: str
    sample_id: str
    sampler: str
    seed: int | None
    index: int
    temperature_K: float
    amplitude_A: float
    fraction: float
    group: str


@dataclass(frozen=True, kw_only=True)
class StoredLabel:
    """One label: structure, calculation, result (a failure where it is a hole), and the samples it belongs to."""

    structure: StructureBytes
    calculation: StoredCalculation
    result: LabelResult
    samples: tuple[Sample, ...] = ()
    core_seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class LoggedAttempt:
    """One attempt of the log, successful or not; ``status`` is ``"ok"`` or the class of failure."""

    structure: bytes
    calculation: bytes
    ended: str
    host: str
    status: str
    message: str
    seconds: float
    cores: int
    log: str

    @property
    def core_seconds(self) -> float:
        """Wall time times the cores that were held, s."""
        return self.seconds * self.cores


def crc(*fields: bytes | str | float | None) -> int:
    """Return the CRC-32 of fields joined by 0x1f: text as UTF-8, numbers as little-endian f8, NULL as nothing."""
    return zlib.crc32(b"\x1f".join([_field(field) for field in fields]))


def _field(field: bytes | str | float | None) -> bytes:
    if field is None:
        return b""
    if isinstance(field, bytes):
        return field
    return field.encode() if isinstance(field, str) else struct.pack("<d", field)


def crc_with_added(first: Sequence[Any], added: Sequence[Any], defaults: Sequence[Any]) -> int:
    """Return the checksum of a row whose last columns came with schema 2.

    Rows of schema 1 have a checksum without them, so they enter only where they differ from what old rows read as.
    """
    return crc(*first) if tuple(added) == tuple(defaults) else crc(*first, *added)


def whole(row: Sequence[Any], kinds: str) -> bool:
    """Return whether every field has its type: t text, b bytes, i whole number, n number, I and N also NULL.

    The checksum is one of bytes: a flipped bit that turns text into bytes of the same content escapes it.
    """
    return len(row) == len(kinds) and all(
        isinstance(field, _TYPES[kind]) for field, kind in zip(row, kinds, strict=True)
    )


_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "t": str,
    "b": bytes,
    "i": int,
    "n": (int, float),
    "I": (int, type(None)),
    "N": (int, float, type(None)),
}


def structure_is_sound(key: Any, content: Sequence[Any]) -> bool:
    """Return whether numbers, cell and positions are what the key says."""
    return whole((key, *content), "bbbb") and structure_key(*content) == key


ATTEMPT_DEFAULTS = (1, "")
CALCULATION_DEFAULTS = ("", "", "{}")


def attempt_crc(key: Key, log: Sequence[Any]) -> int:
    """Return the checksum of an attempt (ended, host, status, message, seconds, cores, log)."""
    return crc_with_added((*key, *log[:5]), log[5:], ATTEMPT_DEFAULTS)


def calculation_crc(row: Sequence[Any]) -> int:
    """Return the checksum of a calculation (key, engine, settings, provides, labeller, arrays, versions)."""
    return crc_with_added(row[:4], row[4:], CALCULATION_DEFAULTS)


def calculation_of(row: Sequence[Any]) -> StoredCalculation | None:
    """Return a calculation from its row with the checksum last; None where it is damaged."""
    if not whole(row, "btttttti") or row[-1] != calculation_crc(row[:-1]):
        return None
    key, engine, settings, provides, labeller, arrays, versions = row[:-1]
    return StoredCalculation(
        key=key,
        engine=engine,
        settings=settings,
        provides=tuple(provides.split(",")),
        arrays=tuple(arrays.split(",")) if arrays else (),
        labeller=labeller,
        versions=versions,
    )


def found_of(
    key: Key,
    rows: Sequence[Sequence[Any]],
    blobs: Sequence[Sequence[Any]],
    names: Sequence[str],
    arrays: Sequence[str],
    *,
    with_arrays: bool = True,
) -> Found:
    """Judge one label from its rows.

    Parameters
    ----------
    key
        Structure and calculation.
    rows
        (property, value, unit, status, message, checksum) of each property.
    blobs
        (name, shape, unit, data, checksum) of each array.
    names, arrays
        What a whole label holds.
    with_arrays
        Whether the arrays are returned too; they are checked in any case.

    Returns
    -------
    Found
        Nothing without rows; damaged if any row fails its checksum or is missing.
    """
    if not rows:
        return NOTHING
    start = zlib.crc32(b"\x1f".join((*key, b"")))
    sound = {row[0]: row for row in rows if row[5] == label_crc(start, row)}
    if len(sound) != len(names) or not all(name in sound and sound[name][2] == _unit(name) for name in names):
        return DAMAGED
    status, message = next((row[3:5] for row in sound.values() if row[3] != OK), sound[names[0]][3:5])
    if status != OK:
        return Found(result=LabelResult(values={}, failure=status, message=message))
    values = {name: sound[name][1] for name in names}
    if not arrays:
        return DAMAGED if blobs else Found(result=LabelResult(values=values, message=message))
    held = {row[0]: row for row in blobs if whole(row, "tttbi") and row[4] == crc(*key, *row[:4])}
    if len(held) != len(blobs) or held.keys() != set(arrays):
        return DAMAGED
    opened = {name: array_of(held[name]) for name in arrays} if with_arrays else {}
    return Found(result=LabelResult(values=values, arrays=opened, message=message))


def label_crc(start: int, row: Sequence[Any]) -> int | None:
    """Return what :func:`crc` gives for a row of table label, whose keys have the checksum ``start``.

    None, which is no checksum, where a field does not have its type.
    """
    name, value, unit, status, message, _ = row
    texts = _texts(name, unit, status, message)
    if texts is None or not (value is None or isinstance(value, float)):
        return None
    return zlib.crc32(texts[0] + (b"" if value is None else _FLOAT.pack(value)) + texts[1], start)


@lru_cache(maxsize=1024)
def _texts(name: Any, *rest: Any) -> tuple[bytes, bytes] | None:
    """Return the bytes before and after the number: the same few texts come in every label."""
    if not whole((name, *rest), "tttt"):
        return None
    return _field(name) + b"\x1f", b"".join(b"\x1f" + _field(text) for text in rest)


_FLOAT = struct.Struct("<d")
_unit = lru_cache(maxsize=1024)(property_unit)


def array_row(key: Key, name: str, array: FloatArray) -> tuple[Any, ...]:
    """Return (name, shape, unit, data, checksum) of an array."""
    # Adding zero turns −0.0 into 0.0, as for numbers.
    data = (np.asarray(array, dtype="<f8") + 0.0).tobytes()
    row = (name, json.dumps(list(np.shape(array))), ARRAY_UNITS[name], data)
    return (*row, crc(*key, *row))


def array_of(row: Sequence[Any]) -> FloatArray:
    """Return the array of a row that passed its checksum."""
    array = np.frombuffer(row[3], dtype="<f8").reshape(json.loads(row[1]))
    return array.astype(np.float64, copy=False)


def grouped(rows: Iterable[Sequence[Any]], width: int = 1) -> Mapping[Any, list[Sequence[Any]]]:
    """Return rows without their first ``width`` columns, by these columns."""
    groups: dict[Any, list[Sequence[Any]]] = defaultdict(list)
    for row in rows:
        groups[row[0] if width == 1 else row[:width]].append(row[width:])
    return groups


def nan_as_null(value: float) -> float | None:
    """Return None for NaN, as SQLite has no NaN."""
    return None if math.isnan(value) else float(value) + 0.0


def null_as_nan(value: float | None) -> float:
    """Return NaN for NULL."""
    return math.nan if value is None else value
