"""Derivatives of a prediction with respect to positions and strain, by automatic differentiation through distances."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from phonograph.models.batch import Edges, GraphBatch
from phonograph.models.features import edge_weights, node_features
from phonograph.models.predict import check_compatible, head_of, network
from phonograph.types import Fitted, FloatArray, GraphSet, InputScaling

STEP_A = 1e-4
"""Half the inner step of the difference quotient of an edge law, Å: its error is below 10⁻¹¹ of the slope."""

SMOOTH = 1e-6
"""An edge weight above this at the cutoff makes the prediction jump when an atom crosses it."""


class Derivatives(NamedTuple):
    """A prediction y of one crystal with ∂y/∂r, shape (n, 3), unit/Å, and ∂y/∂ε, shape (3, 3), in the target's unit."""

    value: float
    gradient: FloatArray
    strain_gradient: FloatArray


def differentiate(fitted: Fitted, graph: GraphSet, positions_A: FloatArray, cell_A: FloatArray) -> Derivatives:
    """Predict one crystal and differentiate the prediction.

    Distances are d = |(r_source + k·cell − r_target)(1 + ε)| with ε = 0, k the image of the edge; the list of edges is
    held fixed, which is exact as long as the edge weight vanishes at the cutoff (see :func:`roughness`).

    Parameters
    ----------
    fitted
        A trained network; its module must get what it knows of distances from ``batch.aggregate``,
        ``batch.edge_weight`` or ``batch.edge_distance``.
    graph
        One graph, built from the same positions and cell.
    positions_A, cell_A
        Å, shapes (n, 3) and (3, 3), lattice vectors as rows.

    Raises
    ------
    DataError
        When the graph has another spec, or an element that the network does not know.
    """
    check_compatible(fitted, graph.spec)
    positions = torch.tensor(np.array(positions_A), dtype=torch.float64, requires_grad=True)
    strain = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    source, target = (torch.from_numpy(ends.astype(np.int64)) for ends in (graph.source, graph.target))
    shift = torch.from_numpy(graph.image.astype(np.float64) @ np.asarray(cell_A))
    vectors = positions[source] + shift - positions[target]
    distance = torch.linalg.vector_norm(vectors + vectors @ strain, dim=1)
    weight: Tensor = _EdgeLaw.apply(distance, fitted.inputs)  # type: ignore[no-untyped-call]
    atoms = len(graph.numbers)
    batch = GraphBatch(
        x=torch.from_numpy(node_features(graph.numbers, fitted.inputs)),
        batch=torch.zeros(atoms, dtype=torch.int64),
        n_graphs=1,
        edges=Edges(torch.stack([source, target]), weight, distance),
        nodes_per_graph=atoms,
    )
    value = head_of(fitted, network(fitted)(batch))[0]
    gradient, strained = torch.autograd.grad(value, (positions, strain), allow_unused=True)
    scale = fitted.scaling.scale
    return Derivatives(
        value=fitted.scaling.shift + scale * float(value.detach()),
        gradient=scale * _array(gradient, (atoms, 3)),
        strain_gradient=scale * _array(strained, (3, 3)),
    )


def roughness(fitted: Fitted) -> tuple[str, ...]:
    """Say where predictions of a network are not smooth in the positions; empty where nothing of the kind is known.

    A jump spoils forces, stress and energy conservation; a kink spoils only what needs second derivatives.
    """
    found = []
    cutoff = np.array([fitted.graph.cutoff_A])
    at_cutoff = float(np.abs(edge_weights(cutoff, fitted.inputs)).max())
    if at_cutoff > SMOOTH:
        found.append(
            f"jumps: its edge law {fitted.inputs.edge_law!r} weighs an edge at the cutoff of "
            f"{fitted.graph.cutoff_A:g} Å with {at_cutoff:.2g}, so that energies jump when an atom crosses it; train "
            "with edge_law = 'cosine'"
        )
    if getattr(fitted.model, "pooling", "") == "max":
        found.append("kinks: max pooling passes the gradient to one atom per channel, and to another where they swap")
    if hasattr(fitted.model, "convolutions"):
        found.append("kinks: ReLU activations")
    return tuple(found)


def _array(values: Tensor | None, shape: tuple[int, int]) -> FloatArray:
    # A network without edges within the cutoff does not depend on positions at all.
    return np.zeros(shape) if values is None else np.asarray(values.numpy())


class _EdgeLaw(torch.autograd.Function):
    """Edge weights as a function of distances; any law of :func:`edge_weights`, so that each is written once."""

    @staticmethod
    def forward(context: Any, distance: Tensor, scaling: InputScaling) -> Tensor:
        d = distance.detach().numpy()
        h = STEP_A
        # Five points: the error is of fourth order in h.
        near = edge_weights(d + h, scaling) - edge_weights(d - h, scaling)
        far = edge_weights(d + 2 * h, scaling) - edge_weights(d - 2 * h, scaling)
        context.save_for_backward(torch.from_numpy(np.asarray((8 * near - far) / (12 * h))))
        return torch.from_numpy(np.array(edge_weights(d, scaling)))

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (slope,) = context.saved_tensors
        product = gradient * slope
        return (product if product.ndim == 1 else product.sum(dim=1)), None
