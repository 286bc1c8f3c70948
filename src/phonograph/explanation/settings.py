"""GNNExplainer as settings; torch is imported only when masks are optimised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from phonograph.errors import DataError
from phonograph.explanation.edges import undirected_edges
from phonograph.options import check_options, option
from phonograph.types import Fitted, FloatArray, GraphSet, Progress


@dataclass(frozen=True, kw_only=True)
class GNNExplainerSettings:
    """Edge importances by optimising a mask on the bonds (GNNExplainer) of one graph at a time.

    Every undirected edge b has a logit l_b shared by its two directions, and an importance m_b = 1/(1 + exp(−l_b)).
    Adam minimises

        L(l) = ((f(m) − f(1))/s)² + α · mean_b m_b + β · mean_b H(m_b),   H(m) = −m ln m − (1 − m) ln(1 − m)

    with f(m) the prediction with edge weights w⁰_e + m_b (w_e − w⁰_e).  The first term keeps the prediction, the
    second makes the mask small, the third makes it decided.  With ``removal="restore"`` w⁰ is the weight at the rest
    length of the bond (0 where the reference has no such bond), so m = 0 puts the bond back to its length in the
    reference crystal: the input stays what the network knows, and the question is whose *displacement* the
    prediction rests on.  With ``removal="delete"`` w⁰ = 0 as in the publication: the bond is cut out of the graph,
    which no network of crystals has ever seen.

    Both penalties are per bond, so they mean the same in any cell.  Source: Ying et al., GNNExplainer, NeurIPS
    (2019), arXiv:1903.03894, Eqs. 5 and 9, there with α on the sum instead of the mean.

    Symbols: α ``size_weight``, β ``entropy_weight``, s a quarter of the range of the training labels.
    """

    removal: str = option(
        "restore",
        "What removing a bond means: 'restore' puts it to its reference length, 'delete' (as published) cuts it.",
        choices=("restore", "delete"),
    )
    epochs: int = option(200, "Steps of the optimisation.", minimum=1)
    learning_rate: float = option(0.05, "Step size of Adam for the logits.", above=0.0)
    size_weight: float = option(0.1, "Weight of the mean importance: larger gives fewer important bonds.", minimum=0.0)
    entropy_weight: float = option(0.0, "Weight of the mean entropy: larger pushes importances to 0 or 1.", minimum=0.0)
    initial_spread: float = option(0.1, "Standard deviation of the initial logits around 0.", minimum=0.0)

    def __post_init__(self) -> None:
        check_options(self)

    def importance(
        self, fitted: Fitted, graph: GraphSet, seed: int, rest_distance_A: FloatArray | None = None
    ) -> FloatArray:
        """Return the importance in [0, 1] of each directed edge of the single graph, shape (edges,).

        Parameters
        ----------
        fitted
            The model; it is not changed.
        graph
            A set of one graph.
        seed
            Seed of the initial logits.
        rest_distance_A
            Length of each directed edge in the reference crystal, Å, shape (edges,); needed for
            ``removal="restore"`` (:func:`phonograph.explanation.explain` passes it).

        Raises
        ------
        DataError
            More than one graph, or no rest lengths where they are needed.
        """
        if len(graph) != 1:
            raise DataError(f"an explainer takes one graph at a time; got {len(graph)}")
        edges = undirected_edges(graph, 0)
        return self.importances(fitted, graph, (seed,), rest_distance_A)[0][0][edges.of_directed]

    def importances(
        self,
        fitted: Fitted,
        graphs: GraphSet,
        seeds: Sequence[int],
        rest_distance_A: FloatArray | None = None,
        progress: Progress | None = None,
    ) -> list[list[FloatArray]]:
        """Return per seed and graph the importance of each undirected edge; all runs are optimised together.

        Parameters
        ----------
        fitted, seeds, progress
            As above; ``progress`` is called once per step.
        graphs
            One or more graphs.
        rest_distance_A
            Packed over the directed edges of all graphs.
        """
        from phonograph.explanation.masks import optimise_masks

        if self.removal == "restore" and rest_distance_A is None:
            raise DataError(
                'removal="restore" needs the rest length of every bond; call explain() with the reference crystal, '
                'pass rest_distance_A, or choose removal="delete"'
            )
        rest = np.full(len(graphs.distance_A), np.inf) if rest_distance_A is None else rest_distance_A
        return optimise_masks(fitted, graphs, seeds, self, rest, progress)
