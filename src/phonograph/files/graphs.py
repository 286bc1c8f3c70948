"""Graphs on disk: one NumPy ``.npz`` of plain arrays (never pickled objects) with a JSON header.

Ten bytes an edge where cells have at most 256 atoms: edges are sorted by target, so each atom's number of edges stands
for ``target``; ``source`` and the place of ``image`` among the images in reach are stored in the smallest integers that
hold them; distances keep all their digits, because graphs read again must train the same network to the last bit.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phonograph.atomic import replacing
from phonograph.errors import InputFileError
from phonograph.files.safety import check_readable, reading, shown
from phonograph.files.sidecar import origin_from_plain, origin_to_plain
from phonograph.plain_json import read_json
from phonograph.types import GraphSet, GraphSpec, IntArray

SCHEMA, FIRST_SCHEMA = "phonograph-graphs-2", "phonograph-graphs-1"
MAX_GRAPHS_BYTES = 2**35
"""Largest graphs file, counted after decompression (32 GiB; 10⁶ crystals of 40 atoms take about 11)."""

_KINDS: Mapping[str, str] = {
    "header": "U",
    "sample_ids": "U",
    "groups": "U",
    "node_offsets": "i",
    "numbers": "iu",
    "degree": "u",
    "source": "u",
    "image": "u",
    "distance_A": "f",
}
_FIRST_KINDS: Mapping[str, str] = {
    **{name: _KINDS[name] for name in ("header", "sample_ids", "groups", "node_offsets", "distance_A")},
    **dict.fromkeys(("numbers", "edge_offsets", "source", "target", "image"), "i"),
}
_HEADER = {"schema", "cutoff_A", "convention", "warnings", "origin"}
_IMAGES = {"image_lowest", "image_counts"}


def save_graphs(graphs: GraphSet, path: str | Path) -> None:
    """Write ``graphs`` atomically as ``.npz``: one array per field, names as Unicode arrays, the rest as JSON text.

    Raises
    ------
    InputFileError
        When the folder cannot be written.
    """
    lowest, counts, place = _encoded(graphs.image)
    header = {
        "schema": SCHEMA,
        "cutoff_A": graphs.spec.cutoff_A,
        "convention": graphs.spec.convention,
        "warnings": list(graphs.warnings),
        "origin": origin_to_plain(graphs.origin),
        "image_lowest": lowest,
        "image_counts": counts,
    }
    owner = np.repeat(graphs.node_offsets[:-1], np.diff(graphs.edge_offsets))
    degree = np.bincount(owner + graphs.target, minlength=int(graphs.node_offsets[-1]))
    arrays: dict[str, Any] = {
        "header": np.array(json.dumps(header, allow_nan=False)),
        "sample_ids": np.array(graphs.sample_ids, dtype=np.str_),
        "groups": np.array(graphs.groups, dtype=np.str_),
        "node_offsets": graphs.node_offsets,
        "numbers": _narrow(graphs.numbers),
        "degree": _narrow(degree),
        "source": _narrow(graphs.source),
        "image": _narrow(place),
        "distance_A": graphs.distance_A,
    }
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays)


def _narrow(values: NDArray[Any]) -> NDArray[Any]:
    """Return whole numbers ≥ 0 in the smallest type that holds them."""
    return values.astype(np.min_scalar_type(int(values.max(initial=0))))


def _encoded(image: NDArray[np.int16]) -> tuple[list[int], list[int], IntArray]:
    """Return lowest image and number of images along each axis, and the place of each image in that block."""
    lowest = [int(image[:, axis].min(initial=0)) for axis in range(3)]
    counts = [int(image[:, axis].max(initial=0)) - lowest[axis] + 1 for axis in range(3)]
    place = np.zeros(len(image), dtype=np.int64)
    for axis in range(3):
        place *= counts[axis]
        place += image[:, axis]
        place -= lowest[axis]
    return lowest, counts, place


def _decoded(header: Mapping[str, Any], place: NDArray[Any], source: Path) -> NDArray[np.int16]:
    lowest, counts = header["image_lowest"], header["image_counts"]
    whole = [
        isinstance(part, list) and len(part) == 3 and {type(n) for n in part} == {int} for part in (lowest, counts)
    ]
    if not all(whole) or min(counts) < 1 or max(counts) > 2**16 or max(map(abs, lowest)) > 2**15:
        raise InputFileError(f"{shown(source)}: the header gives no block of images; build the graphs again")
    if int(place.max(initial=0)) >= int(np.prod(counts, dtype=float)):
        raise InputFileError(f"{shown(source)}: image holds places outside its block; build the graphs again")
    image = np.empty((len(place), 3), dtype=np.int16)
    left = place.astype(np.int64)
    for axis in (2, 1, 0):
        left, image[:, axis] = np.divmod(left, counts[axis])
    return np.asarray(image + np.array(lowest, dtype=np.int16))


def load_graphs(path: str | Path) -> GraphSet:
    """Read what :func:`save_graphs` wrote, also in its first version; everything in the file is checked.

    Raises
    ------
    InputFileError
        One sentence, when the file is missing, truncated, damaged, of another kind or inconsistent.
    """
    source = check_readable(path, MAX_GRAPHS_BYTES)
    arrays = _arrays(source)
    header = _header(source, str(arrays["header"]))
    if header["schema"] == SCHEMA:
        arrays = _unfolded(source, arrays, header)
    _check(source, arrays, float(header["cutoff_A"]))
    with reading(source, "a graphs file"):
        return GraphSet(
            sample_ids=tuple(arrays["sample_ids"].tolist()),
            groups=tuple(arrays["groups"].tolist()),
            spec=GraphSpec(cutoff_A=float(header["cutoff_A"]), convention=str(header["convention"])),
            warnings=tuple(str(warning) for warning in header["warnings"]),
            origin=origin_from_plain(header["origin"], source),
            **{name: arrays[name] for name in _FIRST_KINDS if name not in ("header", "sample_ids", "groups")},
        )


def _unfolded(
    source: Path, arrays: Mapping[str, np.ndarray[Any, Any]], header: Mapping[str, Any]
) -> dict[str, np.ndarray[Any, Any]]:
    """Return the arrays of the first version."""
    nodes, degree = arrays["node_offsets"], arrays["degree"].astype(np.int64)
    if nodes.ndim != 1 or len(nodes) < 1 or nodes[0] != 0 or (np.diff(nodes) < 0).any() or degree.shape != (nodes[-1],):
        raise InputFileError(
            f"{shown(source)} is inconsistent: degree must hold one number per atom and node_offsets rise from 0; "
            "build the graphs again"
        )
    if int(degree.sum()) != len(arrays["distance_A"]):
        raise InputFileError(f"{shown(source)} is inconsistent: degrees do not add up; build the graphs again")
    ends = np.concatenate([[0], np.cumsum(degree)])
    within = np.arange(nodes[-1]) - np.repeat(nodes[:-1], np.diff(nodes))
    return {
        **{name: arrays[name] for name in ("header", "sample_ids", "groups", "node_offsets", "distance_A")},
        "numbers": arrays["numbers"],
        "edge_offsets": ends[nodes],
        "source": arrays["source"].astype(np.int32),
        "target": np.repeat(within, degree).astype(np.int32),
        "image": _decoded(header, arrays["image"], source),
    }


def _arrays(source: Path) -> dict[str, np.ndarray[Any, Any]]:
    with reading(source, "a graphs file (.npz)"):
        with zipfile.ZipFile(source) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
            if size > MAX_GRAPHS_BYTES:
                raise InputFileError(f"{shown(source)} unpacks to {size} bytes; at most {MAX_GRAPHS_BYTES} are read")
        with np.load(source, allow_pickle=False) as archive:
            names = set(archive.files)
            kinds = _FIRST_KINDS if "target" in names else _KINDS
            if names != set(kinds):
                odd = ", ".join(sorted(names ^ set(kinds)))
                raise InputFileError(f"{shown(source)} is not a graphs file; missing or unknown arrays: {odd}")
            arrays = {name: archive[name] for name in kinds}
    for name, kind in kinds.items():
        if arrays[name].dtype.kind not in kind:
            raise InputFileError(f"{shown(source)}: {name} holds {arrays[name].dtype}; write the file again")
    return arrays


def _header(source: Path, text: str) -> dict[str, Any]:
    with reading(source, "a graphs file"):
        header = read_json(text)
        if not isinstance(header, dict) or header.get("schema") not in (SCHEMA, FIRST_SCHEMA):
            found = header.get("schema") if isinstance(header, dict) else header
            raise InputFileError(
                f"{shown(source)} has schema {found!r}; this version reads {SCHEMA!r}: build them again"
            )
        if set(header) != (_HEADER | _IMAGES if header["schema"] == SCHEMA else _HEADER):
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
