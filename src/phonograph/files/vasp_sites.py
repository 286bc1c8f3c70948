"""Displacements of a structure from one at rest whose atoms may be listed in another order."""

from __future__ import annotations

import numpy as np

from phonograph.errors import InputFileError
from phonograph.types import Crystal, FloatArray

LARGEST_SHIFT_A = 2.5
"""An atom further than this from every site of its own belongs to another equilibrium structure."""


def displacements_from(reference: Crystal | None, crystal: Crystal) -> FloatArray:
    """Return u_i = r_i − R_site(i), Å, shape (n, 3); NaN without a reference.

    Sites are matched one to one in fractional coordinates, so that the lattice may differ (Vegard), with the least sum
    of squared distances, elements first: an atom sits on a site of its element, where the reference has as many of it;
    substituted elements share the sites that are left.  A common shift is not taken out.

    Raises
    ------
    InputFileError
        Another number of atoms, or an atom further than :data:`LARGEST_SHIFT_A` from its site.
    """
    if reference is None:
        return np.full((len(crystal), 3), np.nan)
    if len(reference) != len(crystal):
        raise InputFileError(
            f"the equilibrium structure has {len(reference)} atoms, a sample has {len(crystal)}; give the supercell"
        )
    from scipy.optimize import linear_sum_assignment

    apart = crystal.fractional[:, None] - reference.fractional[None]
    apart -= np.rint(apart)
    vectors = apart @ crystal.cell_A
    cost = (vectors**2).sum(axis=2)
    kept = [
        number
        for number in np.unique(crystal.numbers)
        if (crystal.numbers == number).sum() == (reference.numbers == number).sum()
    ]
    own, site = (np.where(np.isin(one.numbers, kept), one.numbers, 0) for one in (crystal, reference))
    cost = cost + np.where(own[:, None] == site[None], 0.0, 1e6)
    rows, columns = linear_sum_assignment(cost)
    moved = np.asarray(vectors[rows, columns], dtype=np.float64)
    furthest = float(np.linalg.norm(moved, axis=1).max())
    if furthest > LARGEST_SHIFT_A:
        raise InputFileError(f"an atom is {furthest:.2f} Å from its site in the equilibrium structure; give its own")
    return moved
