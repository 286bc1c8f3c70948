"""The edges that the authors' public graph script finds, as a choice among all edges.

The script repeats the cell n × n × n times, n odd, and looks for the neighbours of one copy of each atom.  It takes the
copy number ⌊n³/2⌋ + 1, counted from 0 with the last axis fastest, where the central one is ⌊n³/2⌋: the copy in the cell
above the centre along c.  The block of copies therefore reaches one cell less far along +c than along −c, and every
neighbour beyond its end is missing.  Pairs of different atoms are searched from the atom that comes first in the
structure and written in both directions, so that which bonds are missing depends on the order of the atoms; an atom's
own images are searched one by one.

Source: the scripts published with Benítez et al., Why Physics Still Matters (2026), arXiv:2511.15222; described here
in words and written anew.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from phonograph.types import Configurations, FloatArray, IntArray

DECIMALS = 8
"""Fractional coordinates are rounded to as many digits before they are wrapped into the cell, as a CIF file does."""


def published_edges(
    configurations: Configurations,
    cutoff_A: float,
    owner: IntArray,
    source: NDArray[np.int32],
    target: NDArray[np.int32],
    image: NDArray[np.int16],
) -> NDArray[np.bool_]:
    """Return which of all edges the authors' script finds, shape (edges,).

    Parameters
    ----------
    configurations
        The crystals.
    cutoff_A
        Cutoff, Å.
    owner, source, target, image
        All edges of the crystals within the cutoff, packed: crystal, atoms within it, and image of the source;
        shapes (edges,) and (edges, 3).
    """
    lift = _wrapping(configurations)
    first = configurations.offsets[owner]
    # Seen from atoms that lie in the cell, the source is in this image of it.
    seen = image + lift[first + source] - lift[first + target]
    # Pairs are searched from the atom that comes first.
    seen[source < target] *= -1
    reach = (copies(configurations.cells_A, cutoff_A)[owner] - 1) // 2
    inside = (np.abs(seen[:, :2]) <= reach[:, None]).all(axis=1)
    return np.asarray(inside & (seen[:, 2] >= -reach - 1) & (seen[:, 2] <= reach - 1))


def copies(cells_A: FloatArray, cutoff_A: float) -> IntArray:
    """Return n, the smallest odd number ≥ 3 with (n − 2)·(shortest lattice vector) ≥ cutoff, shape (crystals,)."""
    shortest = np.linalg.norm(cells_A, axis=2).min(axis=1)
    return np.asarray(3 + 2 * np.ceil(np.maximum(0.0, (cutoff_A / shortest - 1) / 2)), dtype=np.int64)


def _wrapping(configurations: Configurations) -> IntArray:
    """Return how many cells each atom lies above the home cell along each lattice vector, shape (atoms, 3)."""
    owner = np.repeat(np.arange(len(configurations)), np.diff(configurations.offsets))
    inverse = np.linalg.inv(configurations.cells_A)[owner]
    fractional = np.einsum("ia,iac->ic", configurations.positions_A, inverse)
    return np.asarray(np.floor(np.round(fractional, DECIMALS)), dtype=np.int64)
