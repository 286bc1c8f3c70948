"""Graphs as tensors: a whole set packed once, minibatches as slices of it.

A graph convolution is linear in its edges, so all parallel edges of a pair of atoms merge into one number
A[target, source] = Σ e, and a batch of crystals with equally many atoms is one dense product A·X of shapes
(graphs, n, n) and (graphs, n, channels).  Sets of unequal crystals use the edge list.  Same numbers to rounding.
An edge law of K functions of the distance gives every edge K weights e_k, and every crystal K such matrices.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from phonograph.errors import DataError
from phonograph.models.features import edge_weights, node_features
from phonograph.streams import stream
from phonograph.types import FloatArray, GraphSet, InputScaling, IntArray

DENSE_ATOMS = 256
"""Crystals with more atoms use the edge list: their adjacency matrices are mostly zeros."""

DENSE_ELEMENTS = 2**28
"""Most elements of all adjacency matrices of a set that are kept in memory (1 GB in float32)."""


class Edges(NamedTuple):
    """Directed edges of a batch: ``ends`` (2, edges) = (source, target), ``distance`` (edges,) in Å.

    ``weight`` has shape (edges,), or (edges, K) where the edge law has K functions of the distance.
    """

    ends: Tensor
    weight: Tensor
    distance: Tensor


class GraphBatch:
    """What a network gets: node features, edges, and the sum over neighbours by the faster of two routes.

    Attributes
    ----------
    n_graphs
        Number of graphs.
    nodes_per_graph
        Atoms per graph where all graphs have equally many, else None.
    adjacency
        A[g, target, source] = Σ e over parallel edges, shape (n_graphs, n, n), or (n_graphs, K, n, n) for K functions;
        None: the edge list is used.
    """

    def __init__(
        self,
        *,
        x: Tensor | Callable[[], Tensor],
        batch: Tensor | Callable[[], Tensor],
        n_graphs: int,
        edges: Edges | Callable[[], Edges],
        nodes_per_graph: int | None = None,
        adjacency: Tensor | None = None,
        first: Callable[[], Tensor] | None = None,
    ) -> None:
        self._x, self._batch, self.n_graphs = x, batch, n_graphs
        self.nodes_per_graph, self.adjacency, self._first = nodes_per_graph, adjacency, first
        self._edges = edges

    @property
    def x(self) -> Tensor:
        """Node features, shape (nodes, features)."""
        if not isinstance(self._x, Tensor):
            self._x = self._x()
        return self._x

    @property
    def batch(self) -> Tensor:
        """Graph of each node, shape (nodes,), ascending."""
        if not isinstance(self._batch, Tensor):
            self._batch = self._batch()
        return self._batch

    @property
    def first(self) -> Tensor:
        """What the first convolution reads, [Σ_j e_kji x_j for every k, x_i], shape (n_graphs, n, (K + 1)·features)."""
        if self._first is not None:
            return self._first()
        return torch.cat([self.aggregate(self.x), self.x], 1).view(self.n_graphs, self.nodes_per_graph or -1, -1)

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
        """Weight e of each directed edge, shape (edges,), or (edges, K) for K functions of the distance."""
        return self.edges.weight

    @property
    def edge_distance(self) -> Tensor:
        """Length of each directed edge, Å, shape (edges,)."""
        return self.edges.distance

    def aggregate(self, h: Tensor) -> Tensor:
        """Return Σ_j e_ji h_j for every node i, shape (nodes, channels) as ``h``.

        With K functions of the distance: the sums of e_1, …, e_K side by side, shape (nodes, K·channels).
        """
        if self.adjacency is not None:
            size, channels = self.adjacency.shape[-1], h.shape[1]
            cubes = h.reshape(self.n_graphs, size, channels)
            if self.adjacency.ndim == 3:
                return torch.bmm(self.adjacency, cubes).view(h.shape)
            sums = torch.bmm(self.adjacency.flatten(1, 2), cubes).view(self.n_graphs, -1, size, channels)
            return sums.transpose(1, 2).reshape(len(h), -1)
        source, target = self.edge_index
        if self.edge_weight.ndim == 1:
            return torch.zeros_like(h).index_add(0, target, h[source] * self.edge_weight[:, None])
        moved = (self.edge_weight[:, :, None] * h[source][:, None, :]).flatten(1)
        return h.new_zeros(len(h), moved.shape[1]).index_add(0, target, moved)

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
        """Return the same graphs with other edge weights, of the shape they had; gradients flow back to ``weight``."""
        if weight.shape != self.edge_weight.shape:
            raise DataError(f"edge weights must have shape {tuple(self.edge_weight.shape)}; got {tuple(weight.shape)}")
        adjacency = self.adjacency
        if adjacency is not None:
            size = adjacency.shape[-1]
            source, target = self.edge_index
            flat = weight.new_zeros(self.n_graphs * size**2, *weight.shape[1:])
            flat = flat.index_add(0, target * size + source % size, weight)
            adjacency = flat.view(self.n_graphs, size, size, *weight.shape[1:])
            adjacency = adjacency if weight.ndim == 1 else adjacency.permute(0, 3, 1, 2).contiguous()
        return GraphBatch(
            x=self._x,
            batch=self._batch,
            n_graphs=self.n_graphs,
            edges=Edges(self.edge_index, weight, self.edge_distance),
            nodes_per_graph=self.nodes_per_graph,
            adjacency=adjacency,
        )

    def with_features(self, x: Tensor) -> GraphBatch:
        """Return the same graphs with other node features, shape (nodes, features)."""
        return GraphBatch(
            x=x,
            batch=self._batch,
            n_graphs=self.n_graphs,
            edges=self._edges,
            nodes_per_graph=self.nodes_per_graph,
            adjacency=self.adjacency,
        )

    def as_edge_list(self) -> GraphBatch:
        """Return the same batch without its dense route; what it computes agrees to rounding."""
        return GraphBatch(x=self._x, batch=self._batch, n_graphs=self.n_graphs, edges=self._edges)


class GraphSource(Protocol):
    """Graphs of which a training loop takes batches: in memory (:class:`PackedGraphs`) or on disk."""

    dense: bool
    kept: bool

    def __len__(self) -> int:
        """Return the number of graphs."""
        ...

    def batch(self, index: IntArray) -> GraphBatch:
        """Return the graphs at positions ``index``, in that order, as one batch."""
        ...

    def order(self, chosen: IntArray, seed: int, epoch: int) -> IntArray:
        """Return ``chosen`` in the order of an epoch, a pure function of the arguments."""
        ...


class PackedGraphs:
    """A set of graphs as tensors, scaled once; :meth:`batch` slices it.

    Parameters
    ----------
    graphs
        The graphs.
    scaling
        Scaling of their features and distances, fitted on a training split.
    dtype, device
        Floating-point type of the tensors, and where they live.
    keep
        Whether merged edges stay in memory; otherwise each batch merges its own.

    Attributes
    ----------
    nodes_per_graph
        Atoms per graph where all graphs have equally many, else None.
    dense
        Whether batches have the dense route.
    kept
        True: batches are slices of what is in memory.

    Raises
    ------
    DataError
        When the graphs hold an element that ``scaling`` does not know.
    """

    kept = True

    def __init__(
        self,
        graphs: GraphSet,
        scaling: InputScaling,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        *,
        keep: bool = True,
    ) -> None:
        self.graphs, self.dtype, self.device = graphs, dtype, torch.device(device)
        self._x = torch.as_tensor(node_features(graphs.numbers, scaling), dtype=dtype, device=device)
        self._weights = edge_weights(graphs.distance_A, scaling)
        self._functions = 1 if self._weights.ndim == 1 else self._weights.shape[1]
        sizes = np.diff(graphs.node_offsets)
        self.nodes_per_graph = int(sizes[0]) if len(sizes) and (sizes == sizes[0]).all() else None
        size = self.nodes_per_graph
        self.dense = size is not None and size <= DENSE_ATOMS
        fits = size is not None and len(graphs) * size**2 * self._functions <= DENSE_ELEMENTS
        kept = keep and self.dense and fits
        self._adjacency = self._merge(np.arange(len(graphs))).to(device) if kept else None
        self._first: Tensor | None = None

    def __len__(self) -> int:
        return len(self.graphs)

    def order(self, chosen: IntArray, seed: int, epoch: int) -> IntArray:
        """Return ``chosen`` in a random order that depends on ``seed`` and ``epoch`` alone."""
        return chosen[stream(seed, "training", "order", epoch).permutation(len(chosen))]

    def batch(self, index: IntArray | Tensor) -> GraphBatch:
        """Return the graphs at positions ``index``, in that order, as one batch."""
        chosen = np.asarray(index, dtype=np.int64)
        place = torch.from_numpy(chosen).to(self.device)
        size, adjacency = self.nodes_per_graph, None
        if self._adjacency is not None:
            adjacency = self._adjacency.index_select(0, place)
        elif self.dense:
            adjacency = self._merge(chosen).to(self.device)
        return GraphBatch(
            x=lambda: self._features(chosen),
            batch=lambda: self._owners(chosen),
            n_graphs=len(chosen),
            edges=lambda: self._edges(chosen),
            nodes_per_graph=size,
            adjacency=adjacency,
            first=None if self._adjacency is None else lambda: self._first_inputs().index_select(0, place),
        )

    def _first_inputs(self) -> Tensor:
        """Return :attr:`GraphBatch.first` of all graphs; features and edges never change, so once is enough."""
        if self._first is None:
            assert self.nodes_per_graph is not None
            width = (self._functions + 1) * self._x.shape[1]
            self._first = self._x.new_empty(len(self), self.nodes_per_graph, width)
            for start in range(0, len(self), 1024):
                part = np.arange(start, min(start + 1024, len(self)))
                batch = GraphBatch(
                    x=self._features(part),
                    batch=self._owners(part),
                    n_graphs=len(part),
                    edges=partial(self._edges, part),
                    nodes_per_graph=self.nodes_per_graph,
                    adjacency=self._adjacency[part[0] : part[-1] + 1] if self._adjacency is not None else None,
                )
                self._first[part[0] : part[-1] + 1] = batch.first
        return self._first

    def _features(self, chosen: IntArray) -> Tensor:
        if self.nodes_per_graph is None:
            return self._x[torch.from_numpy(_ranges(self.graphs.node_offsets, chosen)).to(self.device)]
        place = torch.from_numpy(chosen).to(self.device)
        return self._x.view(len(self), self.nodes_per_graph, -1)[place].flatten(0, 1)

    def _owners(self, chosen: IntArray) -> Tensor:
        sizes = np.diff(self.graphs.node_offsets)[chosen]
        return torch.from_numpy(np.repeat(np.arange(len(chosen)), sizes)).to(self.device)

    def _edges(self, chosen: IntArray) -> Edges:
        graphs = self.graphs
        rows = _ranges(graphs.edge_offsets, chosen)
        sizes = np.diff(graphs.node_offsets)[chosen]
        shift = np.repeat(np.cumsum(sizes) - sizes, np.diff(graphs.edge_offsets)[chosen])
        ends = np.stack([graphs.source[rows] + shift, graphs.target[rows] + shift])
        return Edges(
            torch.from_numpy(ends).to(self.device),
            torch.as_tensor(self._weights[rows], dtype=self.dtype, device=self.device),
            torch.as_tensor(graphs.distance_A[rows], dtype=self.dtype, device=self.device),
        )

    def _merge(self, chosen: IntArray) -> Tensor:
        """Return the adjacency matrices of the graphs at ``chosen``, a few at a time to bound the memory."""
        graphs, size = self.graphs, int(np.diff(self.graphs.node_offsets)[0])
        weights = self._weights if self._weights.ndim == 2 else self._weights[:, None]
        merged = torch.empty(len(chosen), weights.shape[1], size, size, dtype=self.dtype)
        step = max(1, 2**22 // size**2)
        for start in range(0, len(chosen), step):
            part = chosen[start : start + step]
            rows = _ranges(graphs.edge_offsets, part)
            owner = np.repeat(np.arange(len(part)), np.diff(graphs.edge_offsets)[part])
            place = (owner * size + graphs.target[rows]) * size + graphs.source[rows]
            for k in range(weights.shape[1]):
                sums = np.bincount(place, weights=weights[rows, k], minlength=len(part) * size**2)
                merged[start : start + step, k] = torch.from_numpy(sums).view(-1, size, size)
        return merged if self._weights.ndim == 2 else merged[:, 0]


def _ranges(offsets: IntArray, chosen: IntArray) -> IntArray:
    """Return the concatenated ranges offsets[i]:offsets[i + 1] for i in ``chosen``."""
    lengths = offsets[chosen + 1] - offsets[chosen]
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(offsets[chosen] - (ends - lengths), lengths)


def as_array(values: Tensor) -> FloatArray:
    """Return a tensor as a float64 array."""
    return np.asarray(values.detach().cpu().numpy(), dtype=np.float64)
