"""What labels cost: core-seconds per sample, for learning curves over core-hours."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from phonograph.atomic import write_text
from phonograph.errors import DataError
from phonograph.labels.store import LabelStore, open_store
from phonograph.labels.task import calculation, structure_bytes
from phonograph.types import Configurations, FloatArray, Labeller
from phonograph.types.arrays import read_only, set_field

SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelCosts:
    """Core-seconds that the labels of each sample have cost so far, failed attempts included.

    Attributes
    ----------
    sample_ids, set_names
        Per sample.
    engines
        Engine of each column.
    core_seconds
        Wall time times cores, s, shape (samples, engines).  Of samples with the same structure the first bears the cost
        and the others nothing, so that sums over samples are what was spent.
    """

    sample_ids: tuple[str, ...]
    set_names: tuple[str, ...]
    engines: tuple[str, ...]
    core_seconds: FloatArray

    def __post_init__(self) -> None:
        shape = (len(self.sample_ids), len(self.engines))
        set_field(self, "core_seconds", read_only("core_seconds", self.core_seconds, shape))

    @property
    def core_hours(self) -> float:
        """Core-hours of everything."""
        return float(self.core_seconds.sum()) / SECONDS_PER_HOUR

    def of(self, sample_ids: Sequence[str]) -> FloatArray:
        """Return the core-seconds of these samples over all engines, in their order.

        Raises
        ------
        DataError
            A sample that is not among them.
        """
        place = {sample: position for position, sample in enumerate(self.sample_ids)}
        unknown = [sample for sample in sample_ids if sample not in place]
        if unknown:
            raise DataError(f"the cost of sample {unknown[0]!r} is not known; it belongs to none of the sets given")
        return np.asarray(self.core_seconds.sum(axis=1)[[place[sample] for sample in sample_ids]])


def label_costs(
    store: LabelStore | str | os.PathLike[str], sets: Sequence[Configurations], labellers: Sequence[Labeller]
) -> LabelCosts:
    """Return what the labels of ``sets`` by ``labellers`` have cost so far.

    A label taken from an earlier run of the same store costs what it cost then.

    Raises
    ------
    InputFileError
        A store that cannot be read.
    """
    if not isinstance(store, LabelStore):
        with open_store(store) as opened:
            return label_costs(opened, sets, labellers)
    keys = [structure_bytes(crystal).key for configurations in sets for crystal in configurations.crystals()]
    described = [calculation(labeller) for labeller in labellers]
    spent = np.zeros((len(keys), len(described)))
    places: dict[bytes, int] = {}
    for place, key in enumerate(keys):
        places.setdefault(key, place)
    first = np.isin(np.arange(len(keys)), list(places.values()))
    for column, item in enumerate(described):
        spent[:, column] = np.where(first, store.costs(keys, item), 0.0)
    return LabelCosts(
        sample_ids=tuple(sample for configurations in sets for sample in configurations.ids),
        set_names=tuple(configurations.name for configurations in sets for _ in range(len(configurations))),
        engines=tuple(item.engine for item in described),
        core_seconds=spent,
    )


def save_costs(costs: LabelCosts, path: str | os.PathLike[str]) -> None:
    """Write ``costs.csv``: sample_id, set, core_seconds, and one column per engine; replaced as a whole or not at all.

    Costs differ from run to run, so they have a table of their own: ``labels.csv`` of an interrupted run is the same as
    that of an undisturbed one.

    Raises
    ------
    InputFileError
        A folder that cannot be written.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["sample_id", "set", "core_seconds", *(f"core_seconds: {engine}" for engine in costs.engines)])
    for sample, name, row in zip(costs.sample_ids, costs.set_names, costs.core_seconds.tolist(), strict=True):
        writer.writerow([sample, name, repr(sum(row)), *map(repr, row)])
    write_text(Path(path), stream.getvalue())
