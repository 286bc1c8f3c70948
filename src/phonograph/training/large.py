"""Train on a set that is larger than the memory."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from phonograph.errors import DataError
from phonograph.models.domain import training_domain, widest
from phonograph.options import check_seed
from phonograph.training.data import Data, input_scaling, target_scaling
from phonograph.training.prepare import Task, describe_fit, device_of, finish
from phonograph.training.settings import TrainingSettings
from phonograph.types import (
    Fitted,
    FloatArray,
    GraphModel,
    GraphSet,
    GraphSpec,
    InputScaling,
    IntArray,
    Progress,
    Split,
    TrainingDomain,
)

if TYPE_CHECKING:
    import torch

    from phonograph.models.batch import GraphSource


class LargeSet(Protocol):
    """A set of labelled graphs of which only an index is in memory: :class:`phonograph.files.GraphShards`."""

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the labels."""
        ...

    @property
    def units(self) -> tuple[str, ...]:
        """Units of the labels."""
        ...

    @property
    def spec(self) -> GraphSpec:
        """What an edge is."""
        ...

    @property
    def nodes_per_graph(self) -> int | None:
        """Atoms per graph where all graphs have equally many."""
        ...

    @property
    def sample_ids(self) -> NDArray[np.str_]:
        """Name of each graph."""
        ...

    @property
    def values(self) -> FloatArray:
        """Labels, shape (graphs, targets)."""
        ...

    @property
    def shortest_A(self) -> FloatArray:
        """Shortest edge of each graph, Å."""
        ...

    @property
    def longest_A(self) -> FloatArray:
        """Longest edge of each graph, Å."""
        ...

    @property
    def fingerprint(self) -> str:
        """SHA-256 of everything."""
        ...

    def elements(self, rows: IntArray) -> tuple[int, ...]:
        """Return the atomic numbers in the graphs at ``rows``."""
        ...

    def parts(self, rows: IntArray) -> Iterable[GraphSet]:
        """Yield the graphs at ``rows``, some at a time, in any order."""
        ...

    def source(self, rows: IntArray, scaling: InputScaling, dtype: torch.dtype, device: torch.device) -> GraphSource:
        """Return the graphs at ``rows`` as a source of batches."""
        ...


def fit_large(
    graphs: LargeSet,
    split: Split,
    model: GraphModel,
    settings: TrainingSettings | None = None,
    *,
    target: str,
    trained_on: str = "",
    name: str = "",
    seed: int = 0,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> Fitted:
    """Do what :func:`phonograph.training.fit` does with a set on disk; memory holds two shards and the index.

    The loop is the same.  The order of an epoch goes through the shards in a random order and through each of them in
    a random order, so that every shard is read once (and once more for validation; once before the first epoch, to
    record what the training crystals are like).  Without shuffling the network is that of :func:`fit` bit for bit.

    Parameters
    ----------
    graphs
        The set, for example :func:`phonograph.files.load_shards`.
    split, model, settings, target, trained_on, name, seed, checkpoint, progress
        As in :func:`fit`.

    Raises
    ------
    DataError, ConfigurationError
        As :func:`fit`.
    """
    settings, seed = settings or TrainingSettings(), check_seed(seed, "the seed of a fit")
    name = name or "-".join(filter(None, (target, trained_on, f"seed{seed}")))
    data, rows = _select(graphs, split, target)
    inputs = input_scaling(data._replace(n_train=1), settings)  # the one graph that stands for the training part
    task = Task(
        name=name,
        model=model,
        settings=settings,
        targets=(target,),
        seed=seed,
        trained_on=trained_on,
        split=split,
        data=data._replace(values=data.values[:, None]),
        inputs=inputs,
        scalings=(target_scaling(data, model, settings, target, [str(name) for name in graphs.sample_ids[rows]]),),
        units=(graphs.units[graphs.targets.index(target)],),
        described=describe_fit(model, settings, [target], seed),
        fingerprint=_fingerprint(graphs, rows, data),
        domain=_domain(graphs, rows[: data.n_train]),
    )
    from phonograph.training.engines import DTYPES
    from phonograph.training.stack import train_tasks

    device = device_of(settings)
    source = graphs.source(rows, inputs, DTYPES[settings.precision], device)
    [member], problem = train_tasks([task], device, checkpoint, progress, [source])
    return finish(task, member, name, target, problem)


def _select(graphs: LargeSet, split: Split, target: str) -> tuple[Data, IntArray]:
    """Return the labelled samples, with one made-up graph that has their elements and extreme distances.

    All that scalings are fitted on is elements and distances; so the graph gives those of the training part.
    """
    if target not in graphs.targets:
        raise DataError(f"no label {target!r}; the labels are {', '.join(graphs.targets)}")
    values = graphs.values[:, graphs.targets.index(target)]
    order = np.argsort(graphs.sample_ids)
    chosen, warnings = [], []
    for part, ids, least in (("training", split.train, 2), ("validation", split.validation, 1)):
        wanted = np.array(ids, dtype=np.str_)
        places = np.searchsorted(graphs.sample_ids, wanted, sorter=order).clip(max=len(order) - 1)
        rows = order[places] if len(wanted) else np.zeros(0, dtype=np.int64)
        missing = wanted[graphs.sample_ids[rows] != wanted] if len(wanted) else wanted
        if len(missing):
            raise DataError(f"{len(missing)} {part} samples have no graph, the first is {str(missing[0])!r}")
        labelled = rows[np.isfinite(values[rows])]
        if len(labelled) < least:
            raise DataError(f"{target}: {len(labelled)} of {len(ids)} {part} samples have a label; {least} are needed")
        if len(labelled) < len(rows):
            left = len(rows) - len(labelled)
            warnings.append(f"{target}: {left} of {len(rows)} {part} samples have no label; left out.")
        chosen.append(np.sort(labelled) if part == "validation" else labelled)
    rows = np.concatenate(chosen)
    outline = _outline(graphs, chosen[0])
    return Data(outline, values[rows], len(chosen[0]), tuple(warnings)), rows


def _domain(graphs: LargeSet, rows: IntArray) -> TrainingDomain:
    elements = graphs.elements(rows)
    return functools.reduce(widest, (training_domain(part, elements) for part in graphs.parts(rows)))


def _fingerprint(graphs: LargeSet, rows: IntArray, data: Data) -> str:
    digest = hashlib.sha256(graphs.fingerprint.encode())
    for array in (rows, data.values, np.array([data.n_train])):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _outline(graphs: LargeSet, rows: IntArray) -> GraphSet:
    numbers = np.array(graphs.elements(rows))
    bounds = np.array([graphs.shortest_A[rows].min(), graphs.longest_A[rows].max()])
    bounds = bounds[np.isfinite(bounds) & (bounds > 0)]
    zeros = np.zeros(len(bounds), dtype=np.int32)
    return GraphSet(
        sample_ids=("outline",),
        groups=("outline",),
        node_offsets=np.array([0, len(numbers)]),
        numbers=numbers,
        edge_offsets=np.array([0, len(bounds)]),
        source=zeros,
        target=zeros,
        image=np.zeros((len(bounds), 3), dtype=np.int16),
        distance_A=bounds,
        spec=graphs.spec,
    )
