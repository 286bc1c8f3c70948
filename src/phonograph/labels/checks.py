"""A whole look through a label store: every page, hash and checksum."""

# ruff: noqa: S608 - queries are put together from constant names of columns only.
from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from phonograph.errors import ConfigurationError
from phonograph.labels.reading import (
    ATTEMPT_COLUMNS,
    ATTEMPT_KINDS,
    CALCULATIONS,
    SAMPLE_COLUMNS,
    SAMPLE_KINDS,
    SET_COLUMNS,
    SET_KINDS,
    Fetch,
)
from phonograph.labels.rows import attempt_crc, calculation_of, crc, structure_is_sound, whole
from phonograph.labels.schema import META, array_row, property_row

_BOTH = "LEFT JOIN structure AS s ON s.id = t.structure LEFT JOIN calculation AS c ON c.id = t.calculation"
_PIECE = 2000


def problems(fetch: Fetch, path: Path) -> tuple[str, ...]:
    """Return one sentence per damaged place; where pages are damaged, these only."""
    pages = [row[0] for row in fetch("PRAGMA integrity_check(10)") if row[0] != "ok"]
    if pages:
        return tuple(f"{path}: {' '.join(str(page).split())}" for page in pages)
    return tuple(f"{path}: {what}" for check in _CHECKS for what in check(fetch))


def _meta(fetch: Fetch) -> Iterator[str]:
    (version,) = fetch("PRAGMA user_version")[0]
    if dict(fetch("SELECT name, value FROM meta")) != META[version]:
        yield "the descriptions in table meta are changed"


def _properties(fetch: Fetch) -> Iterator[str]:
    for row in fetch("SELECT name, unit, kind, origin FROM property"):
        try:
            right = row == (array_row(row[0]) if row[2] == "array" else property_row(row[0]))
        except (ConfigurationError, KeyError):
            right = False
        if not right:
            yield f"property {row[0]!r} does not have its unit or kind"


def _structures(fetch: Fetch) -> Iterator[str]:
    last = -1
    columns = "id, key, numbers, cell, positions, pbc"
    while rows := fetch(f"SELECT {columns} FROM structure WHERE id > ? ORDER BY id LIMIT ?", (last, _PIECE)):
        for number, key, *blobs, pbc in rows:
            if not structure_is_sound(key, blobs) or pbc != "TTT":
                yield f"structure {number} does not match its key"
        last = rows[-1][0]


def _calculations(fetch: Fetch) -> Iterator[str]:
    for number, *row in fetch(CALCULATIONS):
        if calculation_of(row) is None:
            yield f"calculation {number} fails its checksum"


def _labels(fetch: Fetch) -> Iterator[str]:
    columns = "t.structure, s.key, c.key, property, value, unit, status, message, t.crc"
    for number, *row, check in _pieces(fetch, f"SELECT {columns} FROM label AS t {_BOTH}"):
        if not whole(row, "bbtNttt") or check != crc(*row):
            yield f"a label of structure {number} fails its checksum"


def _arrays(fetch: Fetch) -> Iterator[str]:
    columns = "t.structure, s.key, c.key, name, shape, t.unit, data, t.crc"
    for number, *row, check in _pieces(fetch, f"SELECT {columns} FROM array AS t {_BOTH}"):
        if not whole(row, "bbtttb") or check != crc(*row):
            yield f"an array of structure {number} fails its checksum"


def _attempts(fetch: Fetch) -> Iterator[str]:
    for number, s, c, *log, check in _pieces(
        fetch,
        f"SELECT t.id, s.key, c.key, {ATTEMPT_COLUMNS} FROM attempt AS t {_BOTH}",
    ):
        if not whole((s, c, *log), "bb" + ATTEMPT_KINDS) or check != attempt_crc((s, c), log):
            yield f"attempt {number} fails its checksum"


def _sets(fetch: Fetch) -> Iterator[str]:
    for number, *row, check in fetch(f"SELECT id, {SET_COLUMNS}, crc FROM sample_set"):
        if not whole(row, SET_KINDS) or check != crc(*row):
            yield f"sample_set {number} fails its checksum"
    query = (
        f"SELECT t.sample_set, p.key, s.key, {SAMPLE_COLUMNS}, t.crc FROM provenance AS t "
        "LEFT JOIN structure AS s ON s.id = t.structure LEFT JOIN sample_set AS p ON p.id = t.sample_set"
    )
    for number, *row, check in _pieces(fetch, query):
        if not whole(row, "bb" + SAMPLE_KINDS) or check != crc(*row):
            yield f"provenance: a sample of set {number} fails its checksum"


def _pieces(fetch: Fetch, query: str) -> Iterator[list[Any]]:
    """Yield the rows of a query, by ranges of the structure they belong to."""
    (highest,) = fetch("SELECT coalesce(max(id), 0) FROM structure")[0]
    bounds = [*range(-1, highest, _PIECE), highest]
    for start, end in pairwise(bounds):
        yield from fetch(f"{query} WHERE t.structure > ? AND t.structure <= ?", (start, end))
    yield from fetch(f"{query} WHERE t.structure > ? OR t.structure <= -1", (highest,))


_CHECKS = (_meta, _properties, _structures, _calculations, _labels, _arrays, _attempts, _sets)
