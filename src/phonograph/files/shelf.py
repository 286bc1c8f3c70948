"""A folder of inputs for many jobs: each file is named by the SHA-256 of what it holds and is never changed.

Jobs name what they read by that hash, so that a job's name is its content wherever the folder lies.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from phonograph.atomic import replacing, write_text
from phonograph.errors import InputFileError
from phonograph.files.graphs import load_graphs, save_graphs
from phonograph.files.safety import check_readable, reading, shown
from phonograph.plain_json import read_json
from phonograph.types import GraphSet, LabelColumn, Labels

LARGEST_BYTES = 2**33
_GRAPH_ARRAYS = ("node_offsets", "numbers", "edge_offsets", "source", "target", "image", "distance_A")


class Shelf:
    """A folder of such files.

    Parameters
    ----------
    folder
        Made where missing when something is put in.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put_graphs(self, graphs: GraphSet) -> str:
        """Keep graphs; return their name."""
        name = graphs_hash(graphs)
        if not (path := self._path(name, "graphs.npz")).is_file():
            save_graphs(graphs, path)
        return name

    def graphs(self, name: str) -> GraphSet:
        """Return graphs by their name; raises :class:`InputFileError` for a missing or damaged file."""
        path = self._path(name, "graphs.npz")
        graphs = load_graphs(path)
        self._check(path, name, graphs_hash(graphs))
        return graphs

    def put_labels(self, labels: Labels) -> str:
        """Keep the values of labels (without engines and warnings); return their name."""
        name = labels_hash(labels)
        if not (path := self._path(name, "labels.npz")).is_file():
            values = np.array([column.values for column in labels.columns], dtype="<f8")
            header = [[column.name, column.unit] for column in labels.columns]
            with replacing(path) as temporary, temporary.open("wb") as stream:
                np.savez(
                    stream,
                    sample_ids=np.array(labels.sample_ids, dtype=np.str_),
                    values=values.reshape(len(header), len(labels.sample_ids)),
                    header=np.array(json.dumps(header)),
                )
        return name

    def labels(self, name: str) -> Labels:
        """Return labels by their name; raises :class:`InputFileError` for a missing or damaged file."""
        path = self._path(name, "labels.npz")
        check_readable(path, LARGEST_BYTES)
        with reading(path, "a file of labels"), np.load(path, allow_pickle=False) as arrays:
            ids = tuple(arrays["sample_ids"].tolist())
            labels = Labels(
                sample_ids=ids,
                set_names=("",) * len(ids),
                columns=tuple(
                    LabelColumn(name=str(column), unit=str(unit), values=values, engine="")
                    for (column, unit), values in zip(read_json(str(arrays["header"])), arrays["values"], strict=True)
                ),
                status=("ok",) * len(ids),
            )
        self._check(path, name, labels_hash(labels))
        return labels

    def put(self, value: Any) -> str:
        """Keep plain JSON; return its name."""
        text = json.dumps(value, sort_keys=True, allow_nan=False, separators=(",", ":"))
        name = hashlib.sha256(text.encode()).hexdigest()
        if not (path := self._path(name, "json")).is_file():
            write_text(path, text)
        return name

    def get(self, name: str) -> Any:
        """Return plain JSON by its name; raises :class:`InputFileError` for a missing or damaged file."""
        path = check_readable(self._path(name, "json"), LARGEST_BYTES)
        content = path.read_bytes()
        self._check(path, name, hashlib.sha256(content).hexdigest())
        return read_json(content)

    def _path(self, name: str, suffix: str) -> Path:
        return self.folder / f"{name}.{suffix}"

    def _check(self, path: Path, name: str, found: str) -> None:
        if found != name:
            raise InputFileError(f"{shown(path)} does not hold what its name says; remove it and run again")


def graphs_hash(graphs: GraphSet) -> str:
    """Return the SHA-256 of everything about graphs that a network can see."""
    digest = hashlib.sha256(f"graphs 1\x1f{graphs.spec.cutoff_A!r}\x1f{graphs.spec.convention}\x1f".encode())
    digest.update("\x1f".join((*graphs.sample_ids, "", *graphs.groups)).encode())
    for name in _GRAPH_ARRAYS:
        digest.update(np.ascontiguousarray(getattr(graphs, name)).tobytes())
    return digest.hexdigest()


def labels_hash(labels: Labels) -> str:
    """Return the SHA-256 of sample ids and values."""
    digest = hashlib.sha256(b"labels 1\x1f" + "\x1f".join(labels.sample_ids).encode())
    for column in labels.columns:
        digest.update(f"\x1f{column.name}\x1f{column.unit}\x1f".encode())
        # All holes are one hole, whatever its bits.
        digest.update(np.where(np.isnan(column.values), np.nan, column.values).astype("<f8").tobytes())
    return digest.hexdigest()
