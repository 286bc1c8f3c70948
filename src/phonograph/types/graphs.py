"""Rooms 4 and 5 meet here: periodic multigraphs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from phonograph.errors import DataError
from phonograph.options import check_options, option
from phonograph.types.arrays import FloatArray, IntArray, read_only, set_field
from phonograph.types.crystals import Origin


@dataclass(frozen=True, kw_only=True)
class GraphSpec:
    """What an edge is: every pair of atoms and periodic images with 0 < distance < ``cutoff_A``, or some of them."""

    cutoff_A: float = option(5.5, "Edges join atoms closer than this, in Å.", above=0.0, maximum=30.0)
    convention: str = option(
        "all-images",
        "Periodic images counted: 'all-images', or those that the authors' public script finds ('paper-code'), which "
        "misses edges along +c, so that graphs depend on the order and the origin of the atoms.",
        choices=("all-images", "paper-code"),
    )

    def __post_init__(self) -> None:
        check_options(self, "graphs")


@dataclass(frozen=True, kw_only=True, eq=False)
class GraphSet:
    """Directed periodic multigraphs of many configurations, packed.

    Edge e of graph g runs from ``source[e]`` to ``target[e]`` (atom indices within the graph) in periodic image
    ``image[e]`` of the source: distance = |r_source + image·cell − r_target|.  Both directions and self-images
    are present; edges of a graph are sorted by (target, source, image).  Graphs of the convention ``"paper-code"``
    lack some edges; of an atom's own images they may hold one direction only.

    Attributes
    ----------
    sample_ids, groups
        Per graph.
    node_offsets, edge_offsets
        Shape (n + 1,).
    numbers
        Atomic numbers, packed over nodes.
    source, target, image, distance_A
        Packed over edges; ``image`` has shape (edges, 3).
    """

    sample_ids: tuple[str, ...]
    groups: tuple[str, ...]
    node_offsets: IntArray
    numbers: IntArray
    edge_offsets: IntArray
    source: NDArray[np.int32]
    target: NDArray[np.int32]
    image: NDArray[np.int16]
    distance_A: FloatArray
    spec: GraphSpec
    warnings: tuple[str, ...] = ()
    origin: Origin = field(default_factory=lambda: Origin(room="graphs"))

    def __post_init__(self) -> None:
        count = len(self.sample_ids)
        set_field(self, "node_offsets", read_only("node_offsets", self.node_offsets, (count + 1,), np.int64))
        set_field(self, "edge_offsets", read_only("edge_offsets", self.edge_offsets, (count + 1,), np.int64))
        nodes, edges = int(self.node_offsets[-1]), int(self.edge_offsets[-1])
        set_field(self, "numbers", read_only("numbers", self.numbers, (nodes,), np.int64))
        set_field(self, "source", read_only("source", self.source, (edges,), np.int32))
        set_field(self, "target", read_only("target", self.target, (edges,), np.int32))
        set_field(self, "image", read_only("image", self.image, (edges, 3), np.int16))
        set_field(self, "distance_A", read_only("distance_A", self.distance_A, (edges,)))
        if len(self.groups) != count:
            raise DataError(f"groups must name {count} graphs; got {len(self.groups)}")

    def __len__(self) -> int:
        return len(self.sample_ids)

    def select(self, positions: Sequence[int] | IntArray) -> GraphSet:
        """Return the graphs at ``positions``, in that order."""
        chosen = np.asarray(positions, dtype=np.int64)
        nodes = _ranges(self.node_offsets, chosen)
        edges = _ranges(self.edge_offsets, chosen)
        return replace(
            self,
            sample_ids=tuple(self.sample_ids[i] for i in chosen),
            groups=tuple(self.groups[i] for i in chosen),
            node_offsets=np.concatenate([[0], np.cumsum(np.diff(self.node_offsets)[chosen])]),
            numbers=self.numbers[nodes],
            edge_offsets=np.concatenate([[0], np.cumsum(np.diff(self.edge_offsets)[chosen])]),
            source=self.source[edges],
            target=self.target[edges],
            image=self.image[edges],
            distance_A=self.distance_A[edges],
        )


def join_graphs(parts: Sequence[GraphSet]) -> GraphSet:
    """Return one :class:`GraphSet` that holds the graphs of all ``parts``, in order."""
    if not parts:
        raise DataError("joining graphs needs at least one set; got none")
    if len({part.spec for part in parts}) > 1:
        found = sorted({f"{part.spec.cutoff_A:g} Å ({part.spec.convention})" for part in parts})
        raise DataError(f"graphs of different cutoffs or conventions cannot be joined; got {', '.join(found)}")
    return replace(
        parts[0],
        sample_ids=tuple(sample for part in parts for sample in part.sample_ids),
        groups=tuple(group for part in parts for group in part.groups),
        node_offsets=_joined_offsets([part.node_offsets for part in parts]),
        edge_offsets=_joined_offsets([part.edge_offsets for part in parts]),
        warnings=tuple(dict.fromkeys(warning for part in parts for warning in part.warnings)),
        numbers=np.concatenate([part.numbers for part in parts]),
        source=np.concatenate([part.source for part in parts]),
        target=np.concatenate([part.target for part in parts]),
        image=np.concatenate([part.image for part in parts]),
        distance_A=np.concatenate([part.distance_A for part in parts]),
    )


def _joined_offsets(offsets: Sequence[IntArray]) -> IntArray:
    return np.concatenate([[0], np.cumsum(np.concatenate([np.diff(part) for part in offsets]))])


def _ranges(offsets: IntArray, chosen: IntArray) -> IntArray:
    parts = [np.arange(offsets[i], offsets[i + 1], dtype=np.int64) for i in chosen]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)
