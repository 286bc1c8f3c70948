"""Graphs that do not fit into memory as a source of batches: one shard at a time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np
import torch

from phonograph.models.batch import DENSE_ATOMS, Edges, GraphBatch, PackedGraphs
from phonograph.streams import stream
from phonograph.types import GraphSet, InputScaling, IntArray

SHARDS_IN_MEMORY = 2
"""A batch may begin in one shard and end in the next."""


class ShardSource:
    """A :class:`~phonograph.models.batch.GraphSource` over shards; memory holds two of them.

    The order of an epoch goes through the shards in a random order and through each in a random order, so that every
    shard is read once per epoch; it is a pure function of (seed, epoch).

    Parameters
    ----------
    load
        Returns the graphs of a shard.
    counts
        Graphs in each shard.
    rows
        Which graphs, counted over all shards, are the positions 0, 1, … of this source.
    nodes_per_graph
        Atoms per graph where all have equally many, else None.
    scaling, dtype, device
        As in :class:`~phonograph.models.batch.PackedGraphs`.
    """

    kept = False

    def __init__(
        self,
        load: Callable[[int], GraphSet],
        counts: Sequence[int],
        rows: IntArray,
        nodes_per_graph: int | None,
        scaling: InputScaling,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self._load, self._scaling, self._dtype, self._device = load, scaling, dtype, torch.device(device)
        self._starts = np.concatenate([[0], np.cumsum(counts)])
        self._rows = np.asarray(rows, dtype=np.int64)
        self._packed: OrderedDict[int, PackedGraphs] = OrderedDict()
        self.dense = nodes_per_graph is not None and nodes_per_graph <= DENSE_ATOMS

    def __len__(self) -> int:
        return len(self._rows)

    def order(self, chosen: IntArray, seed: int, epoch: int) -> IntArray:
        """Return ``chosen`` shard after shard, shards and the graphs of each in random order."""
        shard = self._shard(self._rows[chosen])
        present = np.unique(shard)
        parts = []
        for number in present[stream(seed, "training", "shards", epoch).permutation(len(present))]:
            own = chosen[shard == number]
            parts.append(own[stream(seed, "training", "order", epoch, int(number)).permutation(len(own))])
        return np.concatenate(parts) if parts else chosen

    def batch(self, index: IntArray) -> GraphBatch:
        """Return the graphs at positions ``index``, in that order, as one batch."""
        rows = self._rows[np.asarray(index, dtype=np.int64)]
        shard = self._shard(rows)
        cuts = np.flatnonzero(np.diff(shard)) + 1
        parts = [
            self._pack(int(self._shard(part[:1])[0])).batch(part - self._starts[self._shard(part[:1])[0]])
            for part in np.split(rows, cuts)
            if len(part)
        ]
        if not parts:
            return self._pack(0).batch(rows)
        return parts[0] if len(parts) == 1 else join_batches(parts)

    def _shard(self, rows: IntArray) -> IntArray:
        return np.searchsorted(self._starts, rows, side="right") - 1

    def _pack(self, shard: int) -> PackedGraphs:
        if shard not in self._packed:
            while len(self._packed) >= SHARDS_IN_MEMORY:
                self._packed.popitem(last=False)
            self._packed[shard] = PackedGraphs(self._load(shard), self._scaling, self._dtype, self._device, keep=False)
        self._packed.move_to_end(shard)
        return self._packed[shard]


def join_batches(parts: Sequence[GraphBatch]) -> GraphBatch:
    """Return the graphs of all ``parts``, in order, as one batch; dense where all are dense and of one size."""
    sizes = {part.nodes_per_graph for part in parts}
    size = sizes.pop() if len(sizes) == 1 else None
    matrices = [part.adjacency for part in parts if part.adjacency is not None]
    nodes = np.cumsum([0, *(len(part.x) for part in parts)]).tolist()
    graphs = np.cumsum([0, *(part.n_graphs for part in parts)]).tolist()

    def edges() -> Edges:
        return Edges(
            torch.cat([part.edge_index + start for part, start in zip(parts, nodes, strict=False)], 1),
            torch.cat([part.edge_weight for part in parts]),
            torch.cat([part.edge_distance for part in parts]),
        )

    return GraphBatch(
        x=torch.cat([part.x for part in parts]),
        batch=lambda: torch.cat([part.batch + start for part, start in zip(parts, graphs, strict=False)]),
        n_graphs=graphs[-1],
        edges=edges,
        nodes_per_graph=size,
        adjacency=torch.cat(matrices) if size is not None and len(matrices) == len(parts) else None,
    )
