"""Graphs on disk: one NumPy ``.npz`` of plain arrays (never pickled objects) with a JSON header."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from phonograph.atomic import replacing
from phonograph.errors import InputFileError
from phonograph.files.safety import check_readable, reading, shown
from phonograph.files.sidecar import origin_from_plain, origin_to_plain
from phonograph.plain_json import read_json
from phonograph.types import GraphSet, GraphSpec

SCHEMA = "phonograph-graphs-1"
MAX_GRAPHS_BYTES = 2**35
"""Largest graphs file, counted after decompression (32 GiB; 10⁶ crystals of 40 atoms take about 25)."""

_KINDS: Mapping[str, str] = {
    "header": "U",
    "sample_ids": "U",
    "groups": "U",
    "node_offsets": "i",
    "numbers": "i",
    "edge_offsets": "i",
    "source": "i",
    "target": "i",
    "image": "i",
    "distance_A": "f",
}


def save_graphs(graphs: GraphSet, path: str | Path) -> None:
    """Write ``graphs`` atomically as ``.npz``: one array per field, names as Unicode arrays, the rest as JSON text.

    Raises
    ------
    InputFileError
        When the folder cannot be written.
    """
    header = {
        "schema": SCHEMA,
        "cutoff_A": graphs.spec.cutoff_A,
        "convention": graphs.spec.convention,
        "warnings": list(graphs.warnings),
        "origin": origin_to_plain(graphs.origin),
    }
    arrays = {name: getattr(graphs, name) for name in _KINDS if name not in ("header", "sample_ids", "groups")}
    arrays["header"] = np.array(json.dumps(header, allow_nan=False))
    arrays["sample_ids"] = np.array(graphs.sample_ids, dtype=np.str_)
    arrays["groups"] = np.array(graphs.groups, dtype=np.str_)
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays)


def load_graphs(path: str | Path) -> GraphSet:
    """Read what :func:`save_graphs` wrote; everything in the file is checked.

    Raises
    ------
    InputFileError
        One sentence, when the file is missing, truncated, damaged, of another kind or inconsistent.
    """
    source = check_readable(path, MAX_GRAPHS_BYTES)
    arrays = _arrays(source)
    header = _header(source, str(arrays["header"]))
    _check(source, arrays, float(header["cutoff_A"]))
    with reading(source, "a graphs file"):
        return GraphSet(
            sample_ids=tuple(arrays["sample_ids"].tolist()),
            groups=tuple(arrays["groups"].tolist()),
            spec=GraphSpec(cutoff_A=float(header["cutoff_A"]), convention=str(header["convention"])),
            warnings=tuple(str(warning) for warning in header["warnings"]),
            origin=origin_from_plain(header["origin"], source),
            **{name: arrays[name] for name in _KINDS if name not in ("header", "sample_ids", "groups")},
        )


def _arrays(source: Path) -> dict[str, np.ndarray[Any, Any]]:
    with reading(source, "a graphs file (.npz)"):
        with zipfile.ZipFile(source) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
            if size > MAX_GRAPHS_BYTES:
                raise InputFileError(f"{shown(source)} unpacks to {size} bytes; at most {MAX_GRAPHS_BYTES} are read")
        with np.load(source, allow_pickle=False) as archive:
            names = set(archive.files)
            if names != set(_KINDS):
                odd = ", ".join(sorted(names ^ set(_KINDS)))
                raise InputFileError(f"{shown(source)} is not a graphs file; missing or unknown arrays: {odd}")
            arrays = {name: archive[name] for name in _KINDS}
    for name, kind in _KINDS.items():
        if arrays[name].dtype.kind != kind:
            raise InputFileError(f"{shown(source)}: {name} holds {arrays[name].dtype}; write the file again")
    return arrays


def _header(source: Path, text: str) -> dict[str, Any]:
    with reading(source, "a graphs file"):
        header = read_json(text)
        if not isinstance(header, dict) or header.get("schema") != SCHEMA:
            found = header.get("schema") if isinstance(header, dict) else header
            raise InputFileError(
                f"{shown(source)} has schema {found!r}; this version reads {SCHEMA!r}: build them again"
            )
        if set(header) != {"schema", "cutoff_A", "convention", "warnings", "origin"}:
            raise InputFileError(f"{shown(source)} has an incomplete header; build the graphs again")
    return header


def _check(source: Path, arrays: Mapping[str, np.ndarray[Any, Any]], cutoff_A: float) -> None:
    """Refuse arrays that do not describe graphs, before anything indexes with them."""

    def refuse(problem: str) -> None:
        raise InputFileError(f"{shown(source)} is inconsistent: {problem}; build the graphs again")

    ids, nodes, edges = arrays["sample_ids"], arrays["node_offsets"], arrays["edge_offsets"]
    for name, offsets in (("node_offsets", nodes), ("edge_offsets", edges)):
        if offsets.shape != (len(ids) + 1,) or offsets[0] != 0 or (np.diff(offsets) < 0).any():
            refuse(f"{name} must rise from 0 and have {len(ids) + 1} entries")
    if len(set(ids.tolist())) != len(ids):
        refuse("a sample id occurs twice")
    if arrays["numbers"].shape != (nodes[-1],) or not np.isin(arrays["numbers"], np.arange(1, 119)).all():
        refuse(f"numbers must hold {nodes[-1]} atomic numbers")
    sizes = np.repeat(np.diff(nodes), np.diff(edges))
    for name in ("source", "target"):
        if arrays[name].shape != sizes.shape or (arrays[name] < 0).any() or (arrays[name] >= sizes).any():
            refuse(f"{name} must hold {len(sizes)} atoms of their own graphs")
    distance = arrays["distance_A"]
    if distance.shape != sizes.shape or not ((distance > 0) & (distance < cutoff_A)).all():
        refuse(f"distance_A must hold {len(sizes)} distances between 0 and {cutoff_A:g} Å")
