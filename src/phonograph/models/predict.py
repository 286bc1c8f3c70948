"""Use a trained network: the same graphs in, values in the target's unit out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from phonograph.errors import ConfigurationError, DataError
from phonograph.models.features import fit_input_scaling
from phonograph.models.spec import describe
from phonograph.types import Fitted, FloatArray, GraphModel, GraphSet, GraphSpec, InputScaling

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from phonograph.models.batch import GraphBatch


def make_batch(graphs: GraphSet, scaling: InputScaling | None = None, dtype: torch.dtype | None = None) -> GraphBatch:
    """Return all of ``graphs`` as one batch, ready for a network.

    Parameters
    ----------
    graphs
        One or many graphs.
    scaling
        A trained network's ``fitted.inputs``; where not given, one is fitted on ``graphs`` (cosine edge weights), which
        is right for trying a network out and wrong for using a trained one.
    dtype
        Floating-point type; float32 where not given.
    """
    import torch

    from phonograph.models.batch import PackedGraphs

    packed = PackedGraphs(graphs, scaling or fit_input_scaling(graphs), dtype or torch.float32)
    return packed.batch(np.arange(len(graphs)))


def build_network(model: GraphModel, inputs: InputScaling, seed: int, outputs: int = 1) -> nn.Module:
    """Return ``model.build(features, seed)``, with ``outputs`` and ``edge_features`` where there is more than one.

    Networks of one's own need these two arguments only for joint targets and radial edge laws.
    """
    more: dict[str, int] = {"outputs": outputs} if outputs > 1 else {}
    if inputs.radial_functions > 1:
        more["edge_features"] = inputs.radial_functions
    try:
        module: nn.Module = model.build(len(inputs.feature_min), seed, **more)
    except TypeError as error:
        if not more or "unexpected keyword argument" not in str(error):
            raise
        raise ConfigurationError(
            f"{describe(model)}: build(features, seed) must also take {' and '.join(more)} for "
            f"{'several targets at once' if outputs > 1 else 'edge_law = radial'}; add it, or change that setting"
        ) from error
    return module


def network(fitted: Fitted, dtype: torch.dtype | None = None) -> nn.Module:
    """Return the trained module in evaluation mode, ready for a :class:`~phonograph.models.batch.GraphBatch`.

    Its output is ŷ, the scaled target; y = ``fitted.scaling.shift`` + ``fitted.scaling.scale``·ŷ.  A network of
    several ``heads`` returns all of them, shape (graphs, heads); :func:`head_of` picks the target's.

    Parameters
    ----------
    fitted
        A trained network.
    dtype
        Floating-point type; float64 where not given.

    Raises
    ------
    DataError
        When the stored weights do not fit the network that ``fitted.model`` builds.
    """
    import torch

    # The type first: weights trained in double precision would lose digits on their way into a float32 module.
    module = build_network(fitted.model, fitted.inputs, fitted.seed, max(1, len(fitted.heads)))
    module = module.to(dtype or torch.float64)
    weights = {name: torch.from_numpy(np.array(value)) for name, value in fitted.weights.items()}
    try:
        module.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        detail = " ".join(str(error).split())[:300]
        raise DataError(f"the weights of {fitted.name!r} do not fit its network: {detail}") from error
    return module.eval()


def head_of(fitted: Fitted, outputs: Tensor) -> Tensor:
    """Return the output of ``fitted.target``, shape (graphs,), from all that its network returns."""
    return outputs[:, fitted.heads.index(fitted.target)] if fitted.heads else outputs


def check_compatible(fitted: Fitted, spec: GraphSpec) -> None:
    """Raise :class:`DataError` unless graphs of ``spec`` mean the same as those ``fitted`` was trained on."""
    if spec != fitted.graph:
        raise DataError(
            f"model {fitted.name!r} was trained on graphs with cutoff {fitted.graph.cutoff_A:g} Å "
            f"({fitted.graph.convention}), but these have {spec.cutoff_A:g} Å ({spec.convention}); "
            "build the graphs with the model's own spec"
        )


def predict(fitted: Fitted, graphs: GraphSet, batch_size: int = 256) -> FloatArray:
    """Return the predicted target of every graph in the target's unit, shape (n,).

    Computed in float64, in batches of crystals with equally many atoms; the result does not depend on the batches.
    Distances outside the training range are used as they are (count them with
    :func:`phonograph.models.features.edges_outside`).

    Parameters
    ----------
    fitted
        A trained network.
    graphs
        Graphs with the same spec as in training.
    batch_size
        Most graphs evaluated at once; bounds the memory.

    Raises
    ------
    DataError
        When the graphs have another spec, or hold an element that was not in the training set.
    """
    import torch

    from phonograph.models.batch import PackedGraphs, as_array

    check_compatible(fitted, graphs.spec)
    module = network(fitted)
    values = np.empty(len(graphs))
    sizes = np.diff(graphs.node_offsets)
    with torch.no_grad():
        for size in np.unique(sizes):
            places = np.flatnonzero(sizes == size)
            same = graphs if len(places) == len(graphs) else graphs.select(places)
            packed = PackedGraphs(same, fitted.inputs, torch.float64)
            for start in range(0, len(places), batch_size):
                part = np.arange(start, min(start + batch_size, len(places)))
                values[places[part]] = as_array(head_of(fitted, module(packed.batch(part))))
    return fitted.scaling.shift + fitted.scaling.scale * values
