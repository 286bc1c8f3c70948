"""Rooms 5–8 meet here: splits, scalings and trained networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from phonograph.errors import DataError
from phonograph.types.arrays import set_field
from phonograph.types.crystals import Origin
from phonograph.types.graphs import GraphSpec

if TYPE_CHECKING:
    from phonograph.types.protocols import GraphModel


@dataclass(frozen=True, kw_only=True)
class Split:
    """Which samples train, validate and test; ids, so that it survives reordering.  No group is in two parts."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    seed: int

    def __post_init__(self) -> None:
        parts = (*self.train, *self.validation, *self.test)
        if len(set(parts)) != len(parts):
            raise DataError("a sample is in two parts of the split; the parts must be disjoint")


@dataclass(frozen=True, kw_only=True)
class InputScaling:
    """How numbers and distances become node features and edge weights, fitted on the training split only.

    ``edge_law`` is ``"minmax"`` (paper: (d − d_min)/(d_max − d_min)), ``"fixed"`` (the same with typed bounds),
    ``"cosine"`` (½(1 + cos πd/r_c), decaying) or ``"radial"`` (``radial_functions`` weights per edge).
    ``node_features`` is the table of element properties, ``"elements"`` or ``"paper-code"``.  ``elements`` lists the
    atomic numbers seen in training; others are refused at prediction.
    """

    edge_law: str
    distance_min_A: float
    distance_max_A: float
    feature_min: tuple[float, ...]
    feature_max: tuple[float, ...]
    elements: tuple[int, ...]
    radial_functions: int = 0
    node_features: str = "elements"


@dataclass(frozen=True, kw_only=True)
class TargetScaling:
    """y = shift + scale·ŷ with ŷ the network's output; ``kind`` is ``"minmax"`` or ``"standard"``."""

    kind: str
    shift: float
    scale: float


@dataclass(frozen=True, kw_only=True)
class TrainingDomain:
    """What the training crystals were like, so that a prediction can say where it leaves them.

    Attributes
    ----------
    elements
        Atomic numbers, ascending.
    fraction_min, fraction_max
        Smallest and largest atomic fraction of each element.
    neighbours_min, neighbours_max
        Smallest and largest mean number of edges per atom: how dense the crystals are.
    shortest_A
        Shortest distance of each pair of elements, Å, pairs in the order (0, 0), (0, 1), …, (1, 1), …; the cutoff for
        pairs that never came within it.
    """

    elements: tuple[int, ...]
    fraction_min: tuple[float, ...]
    fraction_max: tuple[float, ...]
    neighbours_min: float
    neighbours_max: float
    shortest_A: tuple[float, ...]

    def __post_init__(self) -> None:
        count = len(self.elements)
        expected = (count, count, count * (count + 1) // 2)
        got = (len(self.fraction_min), len(self.fraction_max), len(self.shortest_A))
        if got != expected:
            raise DataError(f"the training range of {count} elements must have {expected} entries; got {got}")


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One epoch of training: losses are mean squared errors of the scaled target."""

    index: int
    train_loss: float
    validation_loss: float
    learning_rate: float
    gradient_norm: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Fitted:
    """A trained network with everything needed to use it on new crystals.

    Attributes
    ----------
    name
        Bundle name, for example ``"band_gap_eV-phonon-seed0"``.
    model
        The :class:`GraphModel` strategy object whose ``build()`` makes the network.
    weights
        State-dict name → array.
    trained_on
        Name of the training collection (``phonon``, ``random``, ``combined`` …).
    train_range
        (min, max) of the training labels, in the target's unit.
    split, seed, best_epoch, history
        How it was trained.
    heads
        Targets of a network that gives several values at once, in the order of its outputs; ``target`` is one of them.
        Empty: the network gives this target alone.
    domain
        What the training crystals were like; None in models that were saved before it was recorded.
    """

    name: str
    model: GraphModel
    weights: Mapping[str, NDArray[Any]]
    graph: GraphSpec
    inputs: InputScaling
    scaling: TargetScaling
    target: str
    unit: str
    trained_on: str
    train_range: tuple[float, float]
    split: Split
    seed: int
    best_epoch: int
    history: tuple[Epoch, ...]
    heads: tuple[str, ...] = ()
    domain: TrainingDomain | None = None
    warnings: tuple[str, ...] = ()
    origin: Origin = field(default_factory=lambda: Origin(room="training"))

    def __post_init__(self) -> None:
        frozen = {}
        for name, value in self.weights.items():
            array = np.array(value)
            array.flags.writeable = False
            frozen[name] = array
        set_field(self, "weights", MappingProxyType(frozen))

    def __reduce__(self) -> tuple[Any, ...]:
        # See Origin: sent to another process by its content.
        plain = {item.name: getattr(self, item.name) for item in fields(self)}
        return partial(Fitted, **{**plain, "weights": dict(self.weights)}), ()


@dataclass(frozen=True, kw_only=True)
class StudyRow:
    """One trained model of a study: what it was and its validation error (the test part is never looked at)."""

    rank: int
    name: str
    architecture: str
    target: str
    seed: int
    validation_mae: float
    validation_r2: float
    best_epoch: int
    parameters: int
    seconds: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Study:
    """Several architectures on the same data, ranked by validation error."""

    rows: tuple[StudyRow, ...]
    warnings: tuple[str, ...] = ()
    origin: Origin = field(default_factory=lambda: Origin(room="training"))
