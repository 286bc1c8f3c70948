"""StructurePredictions for crystals of a user's own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from phonograph.types.arrays import BoolArray, FloatArray, IntArray, read_only, set_field
from phonograph.types.crystals import Crystal


@dataclass(frozen=True, kw_only=True, eq=False)
class PredictedColumn:
    """One target of n structures, predicted by one network or by an ensemble of several.

    Attributes
    ----------
    target, unit
        What is predicted.
    values
        Mean over the networks, in ``unit``, shape (n,).
    spread
        Standard deviation over the networks (m − 1 in the denominator), NaN for one network, shape (n,).  It says how
        much they disagree, not how wrong they are.
    out_of_range
        Whether the value lies outside the labels of the training set of any network, shape (n,).
    models
        Names of the networks.
    """

    target: str
    unit: str
    values: FloatArray
    spread: FloatArray
    out_of_range: BoolArray
    models: tuple[str, ...]

    def __post_init__(self) -> None:
        set_field(self, "values", read_only(f"predictions of {self.target}", self.values, (None,)))
        set_field(self, "spread", read_only("spread", self.spread, (len(self.values),), finite=False))
        set_field(self, "out_of_range", read_only("out_of_range", self.out_of_range, (len(self.values),), np.bool_))


@dataclass(frozen=True, kw_only=True, eq=False)
class StructurePredictions:
    """StructurePredictions for n structures, and where each leaves what the networks were trained on.

    Attributes
    ----------
    names
        One per structure: the file, and the frame where it holds several.
    crystals
        The structures.
    columns
        One per target.
    short_edges, long_edges
        Directed edges of each structure shorter and longer than those of the training crystals, shape (n,).
    composition, density
        Whether fractions of elements, and neighbours per atom, lie outside those of the training crystals, shape (n,).
    warnings
        Sentences for the user.
    """

    names: tuple[str, ...]
    crystals: tuple[Crystal, ...]
    columns: tuple[PredictedColumn, ...]
    short_edges: IntArray
    long_edges: IntArray
    composition: BoolArray
    density: BoolArray
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        count = len(self.names)
        for name, kind in (("short_edges", np.int64), ("long_edges", np.int64), ("composition", np.bool_)):
            set_field(self, name, read_only(name, getattr(self, name), (count,), kind))
        set_field(self, "density", read_only("density", self.density, (count,), np.bool_))

    def __len__(self) -> int:
        return len(self.names)

    @property
    def outside(self) -> BoolArray:
        """Structures that leave the training range in any of the four ways, shape (n,)."""
        return (self.short_edges > 0) | (self.long_edges > 0) | self.composition | self.density
