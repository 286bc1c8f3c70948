"""Graph sets larger than the memory: a folder of shards, each a graphs file, with their labels.

``shards.json`` names the shards with their SHA-256, the targets and their units, what an edge is, and the sets of
elements that occur; ``index.npz`` has one entry per graph: name, group, labels, shortest and longest edge, elements;
``00000.npz``, ``00001.npz``, … are files of :func:`phonograph.files.graphs.save_graphs`.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phonograph.atomic import write_bytes
from phonograph.errors import DataError, InputFileError
from phonograph.files.graphs import load_graphs, save_graphs
from phonograph.files.safety import check_readable, reading, sha256_of, shown
from phonograph.files.sidecar import entry, read_sidecar, write_sidecar
from phonograph.types import FloatArray, GraphSet, GraphSpec, InputScaling, IntArray, Origin, read_only

if TYPE_CHECKING:
    import torch

    from phonograph.models.shards import ShardSource

SCHEMA = "phonograph-graph-shards-1"
DESCRIPTION_FILE, INDEX_FILE = "shards.json", "index.npz"
MAX_INDEX_BYTES = 2**34

_KINDS = {"sample_ids": "U", "groups": "U", "values": "f", "shortest_A": "f", "longest_A": "f", "element_set": "i"}


def write_shards(
    blocks: Iterable[tuple[GraphSet, ArrayLike]], folder: str | Path, targets: Sequence[str], units: Sequence[str]
) -> GraphShards:
    """Write blocks of graphs as they come, one shard each, and return the set; memory holds one block.

    Parameters
    ----------
    blocks
        Graphs, and their labels of shape (graphs,) or (graphs, targets); NaN where there is none.  A few thousand
        crystals a block: two blocks are in memory while training.
    folder
        Where to write.
    targets, units
        Names and units of the labels.

    Raises
    ------
    DataError
        When there is no block, blocks have different specs, or names repeat.
    InputFileError
        When the folder cannot be written.
    """
    place, shards, specs, sizes = Path(folder), [], set(), set()
    rows: dict[str, list[Any]] = {name: [] for name in _KINDS}
    sets: dict[tuple[int, ...], int] = {}
    for number, (graphs, values) in enumerate(blocks):
        name = f"{number:05d}.npz"
        save_graphs(graphs, place / name)
        shards.append({"file": name, "graphs": len(graphs), "sha256": sha256_of(place / name)})
        specs.add(graphs.spec)
        sizes |= set(np.diff(graphs.node_offsets).tolist())
        shape = (len(graphs), len(targets))
        rows["values"].append(read_only("labels", np.reshape(np.asarray(values, float), shape), shape, finite=False))
        rows["sample_ids"].append(np.array(graphs.sample_ids, dtype=np.str_))
        rows["groups"].append(np.array(graphs.groups, dtype=np.str_))
        for part, found in zip(("shortest_A", "longest_A", "element_set"), _summary(graphs, sets), strict=True):
            rows[part].append(found)
    if len(specs) != 1:
        raise DataError(f"shards need blocks of graphs with one spec; got {len(shards)} blocks with {len(specs)} specs")
    index: dict[str, Any] = {name: np.concatenate(parts) for name, parts in rows.items()}
    if len(np.unique(index["sample_ids"])) != len(index["sample_ids"]):
        raise DataError("sample ids occur twice among the shards; ids must be unique")
    buffer = io.BytesIO()
    np.savez(buffer, **index)
    write_bytes(place / INDEX_FILE, buffer.getvalue())
    spec = specs.pop()
    write_sidecar(
        place / DESCRIPTION_FILE,
        SCHEMA,
        (),
        Origin(room="graphs"),
        targets=list(targets),
        units=list(units),
        cutoff_A=spec.cutoff_A,
        convention=spec.convention,
        shards=shards,
        element_sets=[list(found) for found in sets],
        nodes_per_graph=sizes.pop() if len(sizes) == 1 else 0,
        index_sha256=sha256_of(place / INDEX_FILE),
    )
    return load_shards(place)


def _summary(graphs: GraphSet, sets: dict[tuple[int, ...], int]) -> tuple[FloatArray, FloatArray, IntArray]:
    """Return shortest edge, longest edge and set of elements of each graph; edges of none are 0 and infinite."""
    shortest, longest = np.full(len(graphs), np.inf), np.zeros(len(graphs))
    kinds = np.zeros(len(graphs), dtype=np.int64)
    for place in range(len(graphs)):
        edges = graphs.distance_A[graphs.edge_offsets[place] : graphs.edge_offsets[place + 1]]
        if len(edges):
            shortest[place], longest[place] = edges.min(), edges.max()
        found = np.unique(graphs.numbers[graphs.node_offsets[place] : graphs.node_offsets[place + 1]])
        kinds[place] = sets.setdefault(tuple(found.tolist()), len(sets))
    return shortest, longest, kinds


@dataclass(frozen=True, kw_only=True, eq=False)
class GraphShards:
    """A set of graphs on disk with labels; what is in memory is its index.

    Attributes
    ----------
    folder, files, counts
        Where the shards are, their names and numbers of graphs.
    targets, units
        Names and units of the labels.
    spec, nodes_per_graph
        What an edge is, and atoms per graph where all have equally many (else None).
    sample_ids, groups, values
        Per graph; ``values`` has shape (graphs, targets).
    shortest_A, longest_A, element_set, element_sets
        Shortest and longest edge of each graph, and its elements: ``element_sets[element_set[i]]``.
    fingerprint
        SHA-256 of everything.
    """

    folder: Path
    files: tuple[str, ...]
    counts: tuple[int, ...]
    targets: tuple[str, ...]
    units: tuple[str, ...]
    spec: GraphSpec
    nodes_per_graph: int | None
    sample_ids: NDArray[np.str_]
    groups: NDArray[np.str_]
    values: FloatArray
    shortest_A: FloatArray
    longest_A: FloatArray
    element_set: IntArray
    element_sets: tuple[tuple[int, ...], ...]
    fingerprint: str

    def __len__(self) -> int:
        return len(self.sample_ids)

    def load(self, shard: int) -> GraphSet:
        """Read one shard."""
        return load_graphs(self.folder / self.files[shard])

    def elements(self, rows: IntArray) -> tuple[int, ...]:
        """Return the atomic numbers in the graphs at ``rows``, ascending."""
        return tuple(sorted({z for kind in np.unique(self.element_set[rows]) for z in self.element_sets[kind]}))

    def parts(self, rows: IntArray) -> Iterator[GraphSet]:
        """Yield the graphs at ``rows``, those of one shard at a time."""
        starts = np.concatenate([[0], np.cumsum(self.counts)])
        wanted = np.sort(rows)
        for shard in range(len(self.counts)):
            low, high = np.searchsorted(wanted, starts[shard : shard + 2])
            if high > low:
                yield self.load(shard).select((wanted[low:high] - starts[shard]).tolist())

    def source(self, rows: IntArray, scaling: InputScaling, dtype: torch.dtype, device: torch.device) -> ShardSource:
        """Return the graphs at ``rows`` as a source of batches."""
        from phonograph.models.shards import ShardSource

        return ShardSource(self.load, self.counts, rows, self.nodes_per_graph, scaling, dtype, device)


def load_shards(folder: str | Path) -> GraphShards:
    """Open what :func:`write_shards` wrote; the shards themselves are read when they are needed.

    Raises
    ------
    InputFileError
        One sentence, when the index is missing, damaged or of another schema.
    """
    place = Path(folder)
    source = place / DESCRIPTION_FILE
    document = read_sidecar(source, SCHEMA)
    file = check_readable(place / INDEX_FILE, MAX_INDEX_BYTES)
    if sha256_of(file) != document.get("index_sha256"):
        raise InputFileError(f"{shown(file)} was changed after it was written; write the shards again")
    with reading(file, "an index of graph shards"), np.load(file, allow_pickle=False) as archive:
        index = {name: archive[name] for name in _KINDS}
    shards = entry(document, "shards", list, source)
    if any(index[name].dtype.kind != kind for name, kind in _KINDS.items()) or not shards:
        raise InputFileError(f"{shown(file)} is not an index of graph shards; write the shards again")
    counts = tuple(int(shard["graphs"]) for shard in shards)
    if {len(array) for array in index.values()} != {sum(counts)}:
        raise InputFileError(f"{shown(file)} and {DESCRIPTION_FILE} count different graphs; write the shards again")
    digest = hashlib.sha256(str(document["index_sha256"]).encode())
    for shard in shards:
        digest.update(str(shard["sha256"]).encode())
    return GraphShards(
        folder=place,
        files=tuple(f"{number:05d}.npz" for number in range(len(shards))),
        counts=counts,
        targets=tuple(entry(document, "targets", list, source)),
        units=tuple(entry(document, "units", list, source)),
        spec=GraphSpec(
            cutoff_A=entry(document, "cutoff_A", float, source), convention=entry(document, "convention", str, source)
        ),
        nodes_per_graph=entry(document, "nodes_per_graph", int, source) or None,
        element_sets=tuple(tuple(map(int, found)) for found in entry(document, "element_sets", list, source)),
        fingerprint=digest.hexdigest(),
        **index,
    )
