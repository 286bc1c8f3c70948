"""ASE databases: SQLite (``.db``) and JSON, read without ASE's own reader and without trusting the file.

A database of SQLite may hold views, triggers and virtual tables; only a plain table called ``systems`` is read, in
read-only mode and with the functions of its schema off.  Of the JSON form, arrays are decoded by hand.
"""

from __future__ import annotations

import math
import os
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from typing import Any
from urllib.parse import quote

import numpy as np

from phonograph.errors import InputFileError
from phonograph.files.importers_samples import Sample, Source, forces_note
from phonograph.files.safety import MAX_SET_BYTES, MEBIBYTE, check_readable, reason, shown
from phonograph.files.structures import checked_crystal
from phonograph.plain_json import read_json
from phonograph.types import MAX_ATOMS, FloatArray

MAGIC = b"SQLite format 3\0"
RESULTS = ("energy", "free_energy", "stress", "magmom")
"""Results of a calculation whose unit ASE fixes and that are one number (or tensor) per structure."""

UNITS: Mapping[str, str] = {"magmom": "μB"}
_COLUMNS = ("id", "unique_id", "numbers", "positions", "cell", "pbc", "calculator", "natoms", *RESULTS, "forces")
_VALUES = 64 * MEBIBYTE
_ALL_PERIODIC = 7
_KNOWN_TYPES = {"int64": np.int64, "int32": np.int64, "float64": np.float64, "float32": np.float64, "bool": np.bool_}
_INTERRUPTED = ("-journal", "-wal")


def database_source(path: str | os.PathLike[str]) -> Source:
    """Return the structures of an ASE database in SQLite, with energies, stress and key-value pairs.

    Raises
    ------
    InputFileError
        In one sentence: not a database of ASE, with views or virtual tables in its place, damaged, left by a writer
        that was interrupted, not periodic, or with blobs that do not fit the number of atoms.
    """
    target = check_readable(path, MAX_SET_BYTES)
    place = shown(path)
    for suffix in _INTERRUPTED:
        left = target.with_name(target.name + suffix)
        if left.is_file() and left.stat().st_size:
            raise InputFileError(
                f"{place} has a file {left.name[-80:]!r} beside it: a writer is at work or was interrupted; end it, "
                "then open and close the database with: ase db"
            )
    samples: list[Sample] = []
    forces = 0
    try:
        # Quoted, because a name may hold characters that mean something in an address.
        address = f"file:{quote(str(target.resolve()))}?mode=ro"
        with closing(sqlite3.connect(address, uri=True)) as connection:
            _mistrust(connection)
            _check_schema(connection, place)
            names = ", ".join(_COLUMNS)
            for row in connection.execute(f"SELECT {names}, key_value_pairs FROM systems ORDER BY id"):  # noqa: S608
                named = dict(zip((*_COLUMNS, "pairs"), row, strict=True))
                samples.append(_from_row(named, place))
                forces += named["forces"] is not None
    except (sqlite3.Error, sqlite3.Warning, UnicodeDecodeError) as error:
        raise InputFileError(f"{place} cannot be read as an ASE database: {reason(error)}; copy it again") from error
    return _source(samples, forces, place)


def _mistrust(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA cell_size_check = ON")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _VALUES)


def _check_schema(connection: sqlite3.Connection, place: str) -> None:
    found = connection.execute("SELECT type, sql FROM sqlite_master WHERE lower(name) = 'systems'").fetchall()
    plain = len(found) == 1 and found[0][0] == "table" and re.match(r"\s*CREATE\s+TABLE\s", str(found[0][1]), re.I)
    if not plain or "generated" in str(found[0][1]).lower():
        raise InputFileError(f"{place} holds no plain table 'systems'; expected a database written by ASE")
    names = {row[1] for row in connection.execute("PRAGMA table_info(systems)")}
    if missing := [name for name in (*_COLUMNS, "key_value_pairs") if name not in names]:
        raise InputFileError(f"{place} has no column {missing[0]!r}; expected a database written by ASE 3.10 or later")


def _from_row(row: Mapping[str, Any], place: str) -> Sample:
    here = f"{place} row {row['id']}"
    if row["pbc"] != _ALL_PERIODIC:
        raise InputFileError(f"{here} is not periodic in all directions; crystals need pbc = (True, True, True)")
    count = row["natoms"]
    if not isinstance(count, int) or not 1 <= count <= MAX_ATOMS:
        raise InputFileError(f"{here} claims {str(count)[:20]} atoms; 1 to {MAX_ATOMS} are accepted")
    plain = {
        "numbers": _blob(row["numbers"], "<i4", (count,), f"{here}: numbers"),
        "positions": _blob(row["positions"], "<f8", (count, 3), f"{here}: positions"),
        "cell": _blob(row["cell"], "<f8", (3, 3), f"{here}: cell"),
        "stress": None if row["stress"] is None else _blob(row["stress"], "<f8", (6,), f"{here}: stress"),
        **{name: row[name] for name in ("energy", "free_energy", "magmom", "calculator")},
    }
    try:
        pairs = read_json(row["pairs"] or "{}")
    except (TypeError, ValueError) as error:
        raise InputFileError(f"{here}: the key-value pairs are not JSON: {reason(error)}") from error
    return _sample(plain, pairs, (str(row["id"]), str(row["unique_id"])[:80]), here)


def _blob(value: Any, kind: str, shape: tuple[int, ...], place: str) -> FloatArray:
    if not isinstance(value, bytes) or len(value) != math.prod(shape) * np.dtype(kind).itemsize:
        got = f"{len(value)} bytes" if isinstance(value, bytes) else type(value).__name__
        raise InputFileError(f"{place} must hold {'×'.join(map(str, shape))} numbers; got {got}")
    return np.frombuffer(value, dtype=kind).reshape(shape).astype(np.float64)


def json_database_source(rows: Iterable[tuple[str, Any]], path: str | os.PathLike[str]) -> Source:
    """Return the structures of an ASE database in JSON, given as (name, value) from the top of the file."""
    place = shown(path)
    samples: list[Sample] = []
    forces = 0
    for name, row in rows:
        if not name.isdecimal():
            continue  # "ids" and "nextid": the bookkeeping of the file
        here = f"{place} row {name[:20]}"
        if not isinstance(row, dict):
            raise InputFileError(f"{here} must hold named values; got {str(row)[:40]!r}")
        numbers = _decoded(row.get("numbers"), (None,), f"{here}: numbers")
        count = len(numbers)
        if not 1 <= count <= MAX_ATOMS:
            raise InputFileError(f"{here} holds {count} atoms; 1 to {MAX_ATOMS} are accepted")
        if not _decoded(row.get("pbc"), (3,), f"{here}: pbc").all():
            raise InputFileError(f"{here} is not periodic in all directions; crystals need pbc = (True, True, True)")
        stress = row.get("stress")
        plain = {
            "numbers": numbers,
            "positions": _decoded(row.get("positions"), (count, 3), f"{here}: positions"),
            "cell": _decoded(row.get("cell"), (3, 3), f"{here}: cell"),
            "stress": None if stress is None else _decoded(stress, (None,), f"{here}: stress"),
            **{key: row.get(key) for key in ("energy", "free_energy", "magmom", "calculator")},
        }
        samples.append(_sample(plain, row.get("key_value_pairs", {}), (name, str(row.get("unique_id"))[:80]), here))
        forces += row.get("forces") is not None
    return _source(samples, forces, place)


def _decoded(value: Any, shape: tuple[int | None, ...], place: str) -> FloatArray:
    """Return an array that ASE wrote as nested lists, as ``__ndarray__`` or inside a cell object."""
    if isinstance(value, dict) and "array" in value:
        value = value["array"]
    if isinstance(value, dict) and isinstance(value.get("__ndarray__"), list) and len(value["__ndarray__"]) == 3:
        _, kind, value = value["__ndarray__"]
        if kind not in _KNOWN_TYPES:
            raise InputFileError(f"{place} is of the unknown type {str(kind)[:20]!r}; expected numbers")
    flat = list(_flat(value, len(shape) + 1, place))
    known = math.prod(n for n in shape if n is not None)
    if len(flat) > 3 * MAX_ATOMS or len(flat) % known or (None not in shape and len(flat) != known):
        words = "×".join("n" if n is None else str(n) for n in shape)
        raise InputFileError(f"{place} must hold {words} numbers; got {len(flat)}")
    return np.array(flat, dtype=np.float64).reshape(tuple(-1 if n is None else n for n in shape))


def _flat(value: Any, depth: int, place: str) -> Iterator[float]:
    if isinstance(value, list) and depth:
        for one in value:
            yield from _flat(one, depth - 1, place)
    elif isinstance(value, (int, float)) and abs(value) < 1e300:
        yield float(value)
    else:
        raise InputFileError(f"{place} must hold finite numbers; got {str(value)[:40]!r}")


def _sample(plain: Mapping[str, Any], pairs: Any, names: tuple[str, ...], place: str) -> Sample:
    if not isinstance(pairs, dict):
        raise InputFileError(f"{place}: key-value pairs must be named values; got {str(pairs)[:40]!r}")
    numbers = plain["numbers"]
    if not ((numbers >= 1) & (numbers <= 118) & (numbers == np.rint(numbers))).all():
        raise InputFileError(f"{place} holds atomic numbers that are no elements; correct them")
    crystal = checked_crystal(plain["cell"], plain["positions"], numbers.astype(np.int64), None, place, names[0])
    calculator = plain["calculator"]
    return Sample(
        names=names,
        crystal=crystal,
        info=pairs,
        results={name: plain[name] for name in RESULTS if plain[name] is not None},
        engine=" ".join(calculator.split())[:60] if isinstance(calculator, str) else "",
    )


def _source(samples: list[Sample], forces: int, place: str) -> Source:
    if not samples:
        raise InputFileError(f"{place} holds no structures; expected a database written by ASE")
    return Source(samples=samples, notes=forces_note(forces, place), units=UNITS)
