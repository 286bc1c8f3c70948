"""Graphs as torch-geometric ``Data`` and back, so that its networks and explainers work on ours."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np

from phonograph.errors import DataError, MissingEngineError
from phonograph.models.features import edge_weights, node_features
from phonograph.types import GraphSet, GraphSpec, InputScaling

_NEEDED = ("z", "edge_index", "edge_image", "edge_distance", "cutoff_A", "convention", "sample_id", "group")


def to_pyg(graphs: GraphSet, scaling: InputScaling | None = None) -> list[Any]:
    """Return each graph as ``torch_geometric.data.Data``.

    Each holds ``z`` (atomic numbers, (n,)), ``edge_index`` ((2, edges): source, target), ``edge_distance`` (Å, float64,
    (edges,)), ``edge_image`` ((edges, 3)), ``sample_id``, ``group``, ``cutoff_A`` and ``convention``; with ``scaling``
    also ``x`` (node features, (n, features)) and ``edge_weight`` ((edges,) or (edges, functions)), both float32, as our
    networks see them.  Add your own targets, for example ``data.y``; parallel edges and self-images are edges of their
    own, so pass only to layers that allow them.

    Parameters
    ----------
    graphs
        The graphs.
    scaling
        Of a trained network (``fitted.inputs``), or fitted on the training split
        (:func:`~phonograph.models.features.fit_input_scaling`).

    Raises
    ------
    MissingEngineError
        Without torch-geometric.
    DataError
        When the graphs hold an element that ``scaling`` does not know.
    """
    import torch

    data_class = _data_class()
    x = None if scaling is None else torch.as_tensor(node_features(graphs.numbers, scaling), dtype=torch.float32)
    weight = None if scaling is None else torch.as_tensor(edge_weights(graphs.distance_A, scaling), dtype=torch.float32)
    made = []
    for place, sample in enumerate(graphs.sample_ids):
        nodes = slice(int(graphs.node_offsets[place]), int(graphs.node_offsets[place + 1]))
        edges = slice(int(graphs.edge_offsets[place]), int(graphs.edge_offsets[place + 1]))
        ends = np.stack([graphs.source[edges], graphs.target[edges]]).astype(np.int64)
        data = data_class(
            z=torch.from_numpy(graphs.numbers[nodes].copy()),
            edge_index=torch.from_numpy(ends),
            edge_distance=torch.from_numpy(graphs.distance_A[edges].copy()),
            edge_image=torch.from_numpy(graphs.image[edges].copy()),
            num_nodes=nodes.stop - nodes.start,
            sample_id=sample,
            group=graphs.groups[place],
            cutoff_A=graphs.spec.cutoff_A,
            convention=graphs.spec.convention,
        )
        if x is not None and weight is not None:
            data.x, data.edge_weight = x[nodes].clone(), weight[edges].clone()
        made.append(data)
    return made


def from_pyg(data: Iterable[Any]) -> GraphSet:
    """Return the graphs of ``data``, a list of ``Data`` that :func:`to_pyg` made or that hold the same.

    A round trip gives the same arrays, ids, groups and spec, bit for bit; warnings and origin stay behind.  Edges may
    come in any order.

    Parameters
    ----------
    data
        Items with ``z``, ``edge_index``, ``edge_distance``, ``edge_image``, ``cutoff_A``, ``convention``,
        ``sample_id`` and ``group``; a batch is split with its ``to_data_list()``.

    Raises
    ------
    DataError
        One sentence naming the item: an entry that is missing or of another shape, an edge whose ends do not exist,
        a distance beyond the cutoff, or two cutoffs.
    """
    items = list(data)
    if not items:
        raise DataError("graphs need at least one Data; got none")
    parts = [_part(item, place) for place, item in enumerate(items)]
    specs = list(dict.fromkeys(part["spec"] for part in parts))
    if len(specs) > 1:
        raise DataError(f"graphs of one set have one cutoff; got {', '.join(f'{spec.cutoff_A:g} Å' for spec in specs)}")
    packed: dict[str, Any] = {name: np.concatenate([part[name] for part in parts]) for name in _ARRAYS}
    return GraphSet(
        sample_ids=tuple(str(item.sample_id) for item in items),
        groups=tuple(str(item.group) for item in items),
        node_offsets=np.cumsum([0, *(len(part["numbers"]) for part in parts)]),
        edge_offsets=np.cumsum([0, *(len(part["source"]) for part in parts)]),
        spec=specs[0],
        **packed,
    )


_ARRAYS = ("numbers", "source", "target", "image", "distance_A")


def _part(item: Any, place: int) -> dict[str, Any]:
    """Return the arrays and the spec of one item, its edges sorted as ours are."""
    missing = [name for name in _NEEDED if getattr(item, name, None) is None]
    if missing:
        raise DataError(f"Data {place} has no {', '.join(missing)}; make it with to_pyg, or add what is missing")
    numbers, ends = item.z.cpu().numpy(), item.edge_index.cpu().numpy()
    image, distance = item.edge_image.cpu().numpy(), item.edge_distance.cpu().numpy()
    count = ends.shape[1] if ends.ndim == 2 else -1
    if ends.shape != (2, count) or image.shape != (count, 3) or distance.shape != (count,) or numbers.ndim != 1:
        raise DataError(
            f"Data {place} must have edge_index (2, edges), edge_image (edges, 3) and edge_distance (edges,); got "
            f"{ends.shape}, {image.shape}, {distance.shape}"
        )
    if count and not 0 <= ends.min() <= ends.max() < len(numbers):
        raise DataError(f"Data {place} has an edge to atom {ends.max()} of {len(numbers)}; batches need to_data_list()")
    spec = GraphSpec(cutoff_A=float(item.cutoff_A), convention=str(item.convention))
    if count and not 0 < distance.min() <= distance.max() < spec.cutoff_A:
        raise DataError(
            f"Data {place} has distances from {distance.min():g} to {distance.max():g} Å; they must lie between 0 and "
            f"its cutoff of {spec.cutoff_A:g} Å"
        )
    order = np.lexsort((image[:, 2], image[:, 1], image[:, 0], ends[0], ends[1]))
    return {
        "numbers": numbers,
        "source": ends[0][order],
        "target": ends[1][order],
        "image": image[order],
        "distance_A": distance[order],
        "spec": spec,
    }


def _data_class() -> Any:
    try:
        with warnings.catch_warnings():
            # torch_geometric imports with deprecated calls of its own.
            warnings.simplefilter("ignore", DeprecationWarning)
            from torch_geometric.data import Data
    except ImportError as error:
        raise MissingEngineError(
            'torch-geometric is not installed; install it with: python -m pip install "phonograph[pyg]"'
        ) from error
    return Data
