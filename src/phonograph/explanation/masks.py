"""The optimisation behind GNNExplainer, and predictions with some bonds removed: the only torch of room 7.

The model is used through a fresh module that is made from its stored weights, in evaluation mode, and through
functions of the edge weights: nothing of it is written to, and no global random state is touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from phonograph.explanation.edges import UndirectedEdges, undirected_edges
from phonograph.models.batch import GraphBatch, PackedGraphs, as_array
from phonograph.models.features import edge_weights
from phonograph.models.predict import build_network, head_of, network
from phonograph.streams import stream
from phonograph.types import Fitted, FloatArray, GraphSet, IntArray, Progress

if TYPE_CHECKING:
    from phonograph.explanation.settings import GNNExplainerSettings

EDGES_AT_ONCE = 2_000_000
"""Most directed edges optimised together; bounds the memory to a few GB."""


def optimise_masks(
    fitted: Fitted,
    graphs: GraphSet,
    seeds: Sequence[int],
    settings: GNNExplainerSettings,
    rest_distance_A: FloatArray,
    progress: Progress | None = None,
) -> list[list[FloatArray]]:
    """Return per seed and graph the importance of each undirected edge.

    Runs do not see each other: the loss is a sum over runs, the network is in evaluation mode and Adam works per
    logit, so a run gives the same alone and among others, to rounding.

    Parameters
    ----------
    fitted, graphs, seeds, settings
        As in :class:`~phonograph.explanation.settings.GNNExplainerSettings`.
    rest_distance_A
        Packed over directed edges; not used for ``removal="delete"``.
    progress
        Called once per step.
    """
    module = network(fitted, torch.float32)
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    packed = PackedGraphs(graphs, fitted.inputs)
    removed = removed_weights(fitted, graphs, settings.removal, rest_distance_A)
    bonds = [undirected_edges(graphs, place) for place in range(len(graphs))]
    runs = [(seed, place) for seed in seeds for place in range(len(graphs))]
    found: list[FloatArray] = []
    parts = list(_parts(runs, np.diff(graphs.edge_offsets)))
    for number, part in enumerate(parts):
        work = _Runs(packed, removed, bonds, part, settings, fitted)
        for step in range(settings.epochs):
            work.step(module)
            if progress:
                progress("explaining", number * settings.epochs + step + 1, len(parts) * settings.epochs)
        found += work.importances()
    return [found[start : start + len(graphs)] for start in range(0, len(found), len(graphs))]


def removed_weights(fitted: Fitted, graphs: GraphSet, removal: str, rest_distance_A: FloatArray) -> FloatArray:
    """Return the weight of each directed edge when its bond is removed: 0, or that of its rest length.

    Shape (edges,), or (edges, K) where the edge law has K functions of the distance.

    Bonds that the reference does not have (rest length at or beyond the cutoff) get 0 in either case.
    """
    rest_A = np.full(len(graphs.distance_A), np.inf) if removal == "delete" else rest_distance_A
    present = rest_A < graphs.spec.cutoff_A
    weights = edge_weights(np.where(present, rest_A, 1.0), fitted.inputs)
    return np.where(present if weights.ndim == 1 else present[:, None], weights, 0.0)


def _parts(runs: list[tuple[int, int]], edges: IntArray) -> Iterator[list[tuple[int, int]]]:
    part: list[tuple[int, int]] = []
    total = 0
    for run in runs:
        if part and total + edges[run[1]] > EDGES_AT_ONCE:
            yield part
            part, total = [], 0
        part.append(run)
        total += int(edges[run[1]])
    yield part


class _Runs:
    """Several runs (seed, graph) optimised side by side as one batch."""

    def __init__(
        self,
        packed: PackedGraphs,
        removed: FloatArray,
        bonds: Sequence[UndirectedEdges],
        runs: Sequence[tuple[int, int]],
        settings: GNNExplainerSettings,
        fitted: Fitted,
    ) -> None:
        places = np.array([place for _, place in runs])
        self.batch, self.settings, self.fitted = packed.batch(places), settings, fitted
        self.counts = [len(bonds[place].key) for place in places]
        starts = np.cumsum([0, *self.counts])
        of_directed = [bonds[place].of_directed + start for place, start in zip(places, starts[:-1], strict=True)]
        self.bond = torch.from_numpy(np.concatenate(of_directed))
        self.removed = torch.as_tensor(_select(removed, packed.graphs, places), dtype=torch.float32)
        self.scale = 4.0 * abs(fitted.scaling.scale) / max(fitted.train_range[1] - fitted.train_range[0], 1e-300)
        self.share = torch.as_tensor(np.repeat(1.0 / np.array(self.counts), self.counts), dtype=torch.float32)
        start = [settings.initial_spread * _start(seed, len(bonds[place].key)) for seed, place in runs]
        self.logits = torch.as_tensor(np.concatenate(start), dtype=torch.float32).requires_grad_()
        self.optimiser = torch.optim.Adam([self.logits], lr=settings.learning_rate)
        self.goal: torch.Tensor | None = None

    def step(self, module: torch.nn.Module) -> None:
        """Take one step of Adam."""
        if self.goal is None:
            with torch.no_grad():
                self.goal = head_of(self.fitted, module(self.batch))
        mask = torch.sigmoid(self.logits)
        predicted = head_of(self.fitted, module(masked(self.batch, mask[self.bond], self.removed)))
        entropy = -mask * functional.logsigmoid(self.logits) - (1.0 - mask) * functional.logsigmoid(-self.logits)
        penalty = self.settings.size_weight * mask + self.settings.entropy_weight * entropy
        loss = (((predicted - self.goal) * self.scale) ** 2).sum() + (penalty * self.share).sum()
        (self.logits.grad,) = torch.autograd.grad(loss, self.logits)
        self.optimiser.step()

    def importances(self) -> list[FloatArray]:
        """Return the importance of each undirected edge of each run."""
        return np.split(as_array(torch.sigmoid(self.logits)), np.cumsum(self.counts)[:-1])


def _start(seed: int, count: int) -> FloatArray:
    return stream(seed, "explanation", "logits").normal(size=count)


def masked(batch: GraphBatch, mask: torch.Tensor, removed: torch.Tensor) -> GraphBatch:
    """Return the batch with edge weights w⁰ + m (w − w⁰); ``mask`` m and ``removed`` w⁰ are per directed edge."""
    if batch.edge_weight.ndim == 2:  # one mask for all functions of the distance of an edge
        mask = mask[:, None]
    return batch.with_edge_weight(removed + mask * (batch.edge_weight - removed))


def predict_masked(
    fitted: Fitted, graphs: GraphSet, places: IntArray, masks: Sequence[FloatArray], removed: FloatArray
) -> FloatArray:
    """Return the prediction, in the target's unit, of graph ``places[k]`` with mask ``masks[k]``, shape (len(masks),).

    Parameters
    ----------
    fitted, graphs
        Model and graphs.
    places
        Graph of each mask.
    masks
        Per directed edge of that graph.
    removed
        :func:`removed_weights` of all graphs, packed.
    """
    module = network(fitted)
    packed = PackedGraphs(graphs, fitted.inputs, torch.float64)
    values: list[FloatArray] = []
    block = max(1, EDGES_AT_ONCE // max(1, int(np.diff(graphs.edge_offsets).max())))
    with torch.no_grad():
        for start in range(0, len(masks), block):
            part = places[start : start + block]
            mask = torch.from_numpy(np.concatenate(list(masks[start : start + block])).astype(np.float64))
            batch = packed.batch(part)
            outputs = module(masked(batch, mask, torch.from_numpy(_select(removed, graphs, part))))
            values.append(as_array(head_of(fitted, outputs)))
    return fitted.scaling.shift + fitted.scaling.scale * np.concatenate(values)


def _select(values: FloatArray, graphs: GraphSet, places: IntArray) -> FloatArray:
    return np.concatenate([values[graphs.edge_offsets[p] : graphs.edge_offsets[p + 1]] for p in places])


def with_random_weights(fitted: Fitted, seed: int) -> Fitted:
    """Return the same network with freshly initialised weights instead of the trained ones."""
    from dataclasses import replace

    module = build_network(fitted.model, fitted.inputs, seed, max(1, len(fitted.heads)))
    weights = {name: value.detach().cpu().numpy() for name, value in module.state_dict().items()}
    return replace(fitted, name=f"{fitted.name} with random weights", weights=weights)
