"""Graphs as tensors: a whole set packed once, minibatches as slices of it.

A graph convolution is linear in its edges, so all parallel edges of a pair of atoms merge into one number
A[target, source] = Σ e, and a batch of crystals with equally many atoms is one dense product A·X of shapes
(graphs, n, n) and (graphs, n, channels).  Sets of unequal crystals use the edge list.  Same numbers to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from phonograph.errors import DataError
from phonograph.models.features import edge_weights, node_features
from phonograph.types import FloatArray, GraphSet, InputScaling, IntArray

DENSE_ATOMS = 256
"""Crystals with more atoms use the edge list: their adjacency matrices are mostly zeros."""

DENSE_ELEMENTS = 2**28
"""Most elements of all adjacency matrices of a set that are kept in memory (1 GB in float32)."""


class Edges(NamedTuple):
    """Directed edges of a batch: ``ends`` (2, edges) = (source, target), ``weight`` and ``distance`` (edges,)."""

    ends: Tensor
    weight: Tensor
    distance: Tensor


class GraphBatch:
    """What a network gets: node features, edges, and the sum over neighbours by the faster of two routes.

    Attributes
    ----------
    x
        Node features, shape (nodes, features).
    batch
        Graph of each node, shape (nodes,), ascending.
    n_graphs
        Number of graphs.
    nodes_per_graph
        Atoms per graph where all graphs have equally many, else None.
    adjacency
        A[g, target, source] = Σ e over parallel edges, shape (n_graphs, n, n); None: the edge list is used.
    """

    def __init__(
        self,
        *,
        x: Tensor,
        batch: Tensor,
        n_graphs: int,
        edges: Edges | Callable[[], Edges],
        nodes_per_graph: int | None = None,
        adjacency: Tensor | None = None,
    ) -> None:
        self.x, self.batch, self.n_graphs = x, batch, n_graphs
        self.nodes_per_graph, self.adjacency = nodes_per_graph, adjacency
        self._edges = edges

    @property
    def edges(self) -> Edges:
        """The edge list, in the order of the :class:`~phonograph.types.GraphSet`; made when first asked for."""
        if not isinstance(self._edges, Edges):
            self._edges = self._edges()
        return self._edges

    @property
    def edge_index(self) -> Tensor:
        """Source and target node of each directed edge, shape (2, edges)."""
        return self.edges.ends

    @property
    def edge_weight(self) -> Tensor:
        """Weight e of each directed edge, shape (edges,)."""
        return self.edges.weight

    @property
    def edge_distance(self) -> Tensor:
        """Length of each directed edge, Å, shape (edges,)."""
        return self.edges.distance

    def aggregate(self, h: Tensor) -> Tensor:
        """Return Σ_j e_ji h_j for every node i; ``h`` has shape (nodes, channels)."""
        if self.adjacency is not None:
            size = self.adjacency.shape[1]
            return torch.bmm(self.adjacency, h.reshape(self.n_graphs, size, -1)).view(h.shape)
        source, target = self.edge_index
        return torch.zeros_like(h).index_add(0, target, h[source] * self.edge_weight[:, None])

    def pool(self, h: Tensor, how: str) -> Tensor:
        """Return the ``"max"``, ``"mean"`` or ``"sum"`` of ``h`` over the nodes of each graph, (n_graphs, channels).

        The gradient of a maximum is shared equally by nodes that tie for it, so equivalent atoms stay equivalent.
        """
        if self.nodes_per_graph is not None:
            cube = h.reshape(self.n_graphs, self.nodes_per_graph, -1)
            if how == "max":
                return cube.amax(1)
            return cube.mean(1) if how == "mean" else cube.sum(1)
        empty = h.new_zeros(self.n_graphs, h.shape[1])
        if how == "max":
            index = self.batch[:, None].expand_as(h)
            return empty.scatter_reduce(0, index, h, "amax", include_self=False)
        total = empty.index_add(0, self.batch, h)
        if how == "sum":
            return total
        return total / torch.bincount(self.batch, minlength=self.n_graphs)[:, None].to(h.dtype)

    def with_edge_weight(self, weight: Tensor) -> GraphBatch:
        """Return the same graphs with other edge weights, shape (edges,); gradients flow back to ``weight``."""
        if weight.shape != self.edge_weight.shape:
            raise DataError(f"edge weights must have shape {tuple(self.edge_weight.shape)}; got {tuple(weight.shape)}")
        adjacency = self.adjacency
        if adjacency is not None:
            size = adjacency.shape[1]
            source, target = self.edge_index
            flat = weight.new_zeros(adjacency.numel()).index_add(0, target * size + source % size, weight)
            adjacency = flat.view(adjacency.shape)
        return GraphBatch(
            x=self.x,
            batch=self.batch,
            n_graphs=self.n_graphs,
            edges=Edges(self.edge_index, weight, self.edge_distance),
            nodes_per_graph=self.nodes_per_graph,
            adjacency=adjacency,
        )

    def with_features(self, x: Tensor) -> GraphBatch:
        """Return the same graphs with other node features, shape (nodes, features)."""
        return GraphBatch(
            x=x,
            batch=self.batch,
            n_graphs=self.n_graphs,
            edges=self._edges,
            nodes_per_graph=self.nodes_per_graph,
            adjacency=self.adjacency,
        )

    def as_edge_list(self) -> GraphBatch:
        """Return the same batch without its dense route; what it computes agrees to rounding."""
        return GraphBatch(x=self.x, batch=self.batch, n_graphs=self.n_graphs, edges=self._edges)


class PackedGraphs:
    """A set of graphs as tensors, scaled once; :meth:`batch` slices it.

    Parameters
    ----------
    graphs
        The graphs.
    scaling
        Scaling of their features and distances, fitted on a training split.
    dtype
        Floating-point type of the tensors.

    Raises
    ------
    DataError
        When the graphs hold an element that ``scaling`` does not know.
    """

    def __init__(self, graphs: GraphSet, scaling: InputScaling, dtype: torch.dtype = torch.float32) -> None:
        self.graphs, self.dtype = graphs, dtype
        self._x = torch.as_tensor(node_features(graphs.numbers, scaling), dtype=dtype)
        self._weights = edge_weights(graphs.distance_A, scaling)
        sizes = np.diff(graphs.node_offsets)
        self.nodes_per_graph = int(sizes[0]) if len(sizes) and (sizes == sizes[0]).all() else None
        size = self.nodes_per_graph
        self._dense = size is not None and size <= DENSE_ATOMS
        keep = size is not None and self._dense and len(graphs) * size**2 <= DENSE_ELEMENTS
        self._adjacency = self._merge(np.arange(len(graphs))) if keep else None

    def __len__(self) -> int:
        return len(self.graphs)

    def batch(self, index: IntArray | Tensor) -> GraphBatch:
        """Return the graphs at positions ``index``, in that order, as one batch."""
        chosen = np.asarray(index, dtype=np.int64)
        place = torch.from_numpy(chosen)
        sizes = np.diff(self.graphs.node_offsets)[chosen]
        owner = torch.from_numpy(np.repeat(np.arange(len(chosen)), sizes))
        size, adjacency = self.nodes_per_graph, None
        if self._adjacency is not None:
            adjacency = self._adjacency[place]
        elif self._dense:
            adjacency = self._merge(chosen)
        if size is not None:
            x = self._x.view(len(self), size, -1)[place].reshape(len(chosen) * size, -1)
        else:
            x = self._x[torch.from_numpy(_ranges(self.graphs.node_offsets, chosen))]
        return GraphBatch(
            x=x,
            batch=owner,
            n_graphs=len(chosen),
            edges=lambda: self._edges(chosen),
            nodes_per_graph=size,
            adjacency=adjacency,
        )

    def _edges(self, chosen: IntArray) -> Edges:
        graphs = self.graphs
        rows = _ranges(graphs.edge_offsets, chosen)
        sizes = np.diff(graphs.node_offsets)[chosen]
        shift = np.repeat(np.cumsum(sizes) - sizes, np.diff(graphs.edge_offsets)[chosen])
        ends = np.stack([graphs.source[rows] + shift, graphs.target[rows] + shift])
        return Edges(
            torch.from_numpy(ends),
            torch.as_tensor(self._weights[rows], dtype=self.dtype),
            torch.as_tensor(graphs.distance_A[rows], dtype=self.dtype),
        )

    def _merge(self, chosen: IntArray) -> Tensor:
        """Return the adjacency matrices of the graphs at ``chosen``, a few at a time to bound the memory."""
        graphs, size = self.graphs, int(np.diff(self.graphs.node_offsets)[0])
        merged = torch.empty(len(chosen), size, size, dtype=self.dtype)
        step = max(1, 2**22 // size**2)
        for start in range(0, len(chosen), step):
            part = chosen[start : start + step]
            rows = _ranges(graphs.edge_offsets, part)
            owner = np.repeat(np.arange(len(part)), np.diff(graphs.edge_offsets)[part])
            place = (owner * size + graphs.target[rows]) * size + graphs.source[rows]
            sums = np.bincount(place, weights=self._weights[rows], minlength=len(part) * size**2)
            merged[start : start + step] = torch.from_numpy(sums).view(-1, size, size)
        return merged


def _ranges(offsets: IntArray, chosen: IntArray) -> IntArray:
    """Return the concatenated ranges offsets[i]:offsets[i + 1] for i in ``chosen``."""
    lengths = offsets[chosen + 1] - offsets[chosen]
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(offsets[chosen] - (ends - lengths), lengths)


def as_array(values: Tensor) -> FloatArray:
    """Return a tensor as a float64 array."""
    return np.asarray(values.detach().cpu().numpy(), dtype=np.float64)
