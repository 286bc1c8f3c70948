"""What the items read: sets and labels by the part they play in the paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from phonograph.errors import DataError
from phonograph.types import Configurations, FloatArray, GraphSet, GraphSpec, Labels

PHONON, RANDOM, MD, COMBINED = "phonon", "random", "md", "combined"
"""Parts that sets play; ``combined`` is phonon and random together."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PaperData:
    """Sets and labels, found by part; ``roles`` maps part → name of the set."""

    roles: Mapping[str, str]
    sets: Mapping[str, Configurations]
    labels: Labels

    def set_of(self, role: str) -> Configurations:
        """Return the set that plays a part; raises :class:`DataError` where none does."""
        name = self.roles.get(role, "")
        if name not in self.sets:
            there = ", ".join(self.sets) or "none"
            raise DataError(f"paper.{role} names the set {name!r}; the sets are {there}: name one of them, or add it")
        return self.sets[name]

    def has(self, role: str) -> bool:
        """Return whether a set plays this part."""
        return self.roles.get(role, "") in self.sets

    def values(self, role: str, target: str) -> tuple[FloatArray, tuple[str, ...]]:
        """Return the labels that are there and the group of each; raises where there is none."""
        item = self.set_of(role)
        found = self.labels.aligned(target, item.ids)
        known = np.isfinite(found)
        if not known.any():
            raise DataError(f"no configuration of {item.name!r} has a label {target!r}; label them first")
        return found[known], tuple(group for group, has in zip(item.group, known, strict=True) if has)


def vectors(item: Configurations) -> FloatArray:
    """Return the displacements of every configuration as one vector, Å, shape (n, 3·atoms).

    Raises
    ------
    DataError
        Cells of different size, or unknown equilibrium positions.
    """
    sizes = np.unique(np.diff(item.offsets))
    if len(sizes) != 1:
        raise DataError(f"the cells of set {item.name!r} have {sizes.min()} to {sizes.max()} atoms; they must be alike")
    if not np.isfinite(item.displacements_A).all():
        raise DataError(f"the equilibrium positions of set {item.name!r} are not known; displacements are needed here")
    return item.displacements_A.reshape(len(item), -1)


def pair_distances(
    item: Configurations, pairs: Sequence[str], cutoff_A: float, bins: int, aliases: Mapping[str, str] | None = None
) -> tuple[dict[str, FloatArray], FloatArray]:
    """Return histograms of the distances of each species pair per configuration, and the shortest distance of each.

    Parameters
    ----------
    item
        The configurations.
    pairs
        Species pairs such as ``"Ag-S"``, in either order.
    cutoff_A
        Longest distance, Å.
    bins
        Equal bins of [0, cutoff].
    aliases
        Element → name of the site it shares, for example I → Br in a solid solution.

    Returns
    -------
    dict, array
        Pair → counts, shape (n, bins), each bond once per direction; and the shortest distance, Å, shape (n,).
    """
    from ase.data import chemical_symbols

    from phonograph.graphs import build_graphs

    found: dict[str, list[FloatArray]] = {pair: [] for pair in pairs}
    shortest = []
    names = np.array([(aliases or {}).get(symbol, symbol) for symbol in chemical_symbols])
    for start in range(0, len(item), _BLOCK):
        graphs = build_graphs(_part(item, start, start + _BLOCK), GraphSpec(cutoff_A=cutoff_A))
        counts, least = _counted(graphs, pairs, names, cutoff_A, bins)
        for pair in pairs:
            found[pair].append(counts[pair])
        shortest.append(least)
    return {pair: np.concatenate(parts) for pair, parts in found.items()}, np.concatenate(shortest)


_BLOCK = 250
"""Configurations whose graphs are held at once."""


def _part(item: Configurations, start: int, stop: int) -> Configurations:
    from dataclasses import replace

    stop = min(stop, len(item))
    atoms = slice(int(item.offsets[start]), int(item.offsets[stop]))
    rows = slice(start, stop)
    return replace(
        item,
        offsets=item.offsets[start : stop + 1] - item.offsets[start],
        numbers=item.numbers[atoms],
        positions_A=item.positions_A[atoms],
        displacements_A=item.displacements_A[atoms],
        cells_A=item.cells_A[rows],
        temperature_K=item.temperature_K[rows],
        amplitude_A=item.amplitude_A[rows],
        fraction=item.fraction[rows],
        index=item.index[rows],
        group=item.group[rows],
    )


def _counted(
    graphs: GraphSet, pairs: Sequence[str], names: np.ndarray, cutoff_A: float, bins: int
) -> tuple[dict[str, FloatArray], FloatArray]:
    owner = np.repeat(np.arange(len(graphs)), np.diff(graphs.edge_offsets))
    base = graphs.node_offsets[owner]
    ends = np.sort(names[graphs.numbers[np.stack([graphs.source + base, graphs.target + base])]], axis=0)
    place = np.minimum((graphs.distance_A / cutoff_A * bins).astype(np.int64), bins - 1)
    counts = {}
    for pair in pairs:
        one, other = sorted(pair.split("-"))
        chosen = (ends[0] == one) & (ends[1] == other)
        flat = np.bincount(owner[chosen] * bins + place[chosen], minlength=len(graphs) * bins)
        counts[pair] = flat.reshape(len(graphs), bins).astype(np.float64)
    shortest = np.full(len(graphs), np.inf)
    np.minimum.at(shortest, owner, graphs.distance_A)
    return counts, shortest
