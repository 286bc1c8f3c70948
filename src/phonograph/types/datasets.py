"""Structures with labels that are shipped together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np

from phonograph.errors import DataError
from phonograph.types.arrays import FloatArray, read_only, set_field
from phonograph.types.configurations import Configurations
from phonograph.types.labels import ARRAY_UNITS, Labels


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Labelled sets of configurations.

    Attributes
    ----------
    name
        Such as ``"ag3sx-gfn1"``.
    sets
        The sets; see each one's ``temperature_K``, ``fraction``, ``amplitude_A`` and ``group``.
    labels
        One row per configuration, set by set in the order of ``sets``.
    arrays
        Arrays by name in :data:`ARRAY_UNITS`, packed over the atoms of all sets (forces, charges) or with one entry
        per configuration (stress).
    source
        Per configuration: which law, stream and index it was drawn from, so that it can be drawn again.
    card
        What it is, how it was made and what it must not be used for, as Markdown.
    """

    name: str
    sets: tuple[Configurations, ...]
    labels: Labels
    arrays: Mapping[str, FloatArray] = field(default_factory=dict)
    source: tuple[str, ...] = ()
    card: str = ""

    def __post_init__(self) -> None:
        ids = tuple(sample for configurations in self.sets for sample in configurations.ids)
        if ids != self.labels.sample_ids:
            raise DataError(f"dataset {self.name!r} must have one label row per configuration, in the same order")
        if self.source and len(self.source) != len(ids):
            raise DataError(f"dataset {self.name!r} must name {len(ids)} sources; got {len(self.source)}")
        atoms = sum(int(configurations.offsets[-1]) for configurations in self.sets)
        packed = {}
        for name, array in self.arrays.items():
            if name not in ARRAY_UNITS or len(array) not in (atoms, len(ids)):
                raise DataError(
                    f"array {name!r} of dataset {self.name!r} fits neither its atoms nor its configurations"
                )
            packed[name] = read_only(name, array, np.shape(array), finite=False)
        set_field(self, "arrays", MappingProxyType(packed))

    def __len__(self) -> int:
        return len(self.labels.sample_ids)

    def set(self, name: str) -> Configurations:
        """Return the set called ``name``; raises :class:`DataError` listing what there is."""
        for configurations in self.sets:
            if configurations.name == name:
                return configurations
        raise DataError(f"dataset {self.name!r} has no set {name!r}; it has {', '.join(s.name for s in self.sets)}")

    def part(self, name: str, rename: str = "") -> tuple[Configurations, Labels]:
        """Return the set called ``name`` and its labels, as ``rename`` where that is given."""
        configurations = replace(self.set(name), name=rename or name)
        labels = self.labels.of_set(name)
        count = len(configurations)
        return configurations, replace(labels, sample_ids=configurations.ids, set_names=(configurations.name,) * count)
