"""Special quasirandom occupations: one occupation whose correlations are those of the random alloy.

With the spin σ = +1 on replaced and −1 on other sites, the correlation Π of a kind of cluster is the mean of the
product of its spins.  At fraction x the random alloy has Π = (2x − 1)² for every shell of pairs and (2x − 1)³ for
every kind of triplet.  The objective is Σ_kinds (r₁/r) (Π − Π_random)², r the longest side of the cluster.
Source: Zunger et al., Phys. Rev. Lett. 65, 353 (1990), https://doi.org/10.1103/PhysRevLett.65.353.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import comb

import numpy as np

from phonograph.errors import PhysicsError
from phonograph.sampling.orbits import LARGEST_ENUMERATION, all_choices
from phonograph.streams import stream
from phonograph.types import Crystal, FloatArray, IntArray

SHELL_WIDTH_A = 0.1
"""Distances closer than this belong to one shell."""

SEARCH_A = (6.0, 9.0, 14.0, 20.0, 30.0)
"""Radii tried until enough shells are found."""

EFFORT = 200_000_000
"""Bound on clusters + swaps looked at by all descents together; decides how many starts there are."""

STARTS = (4, 300)
"""Fewest and most starts."""

GAIN = 1.0e-12
"""A swap must lower the objective by more than this."""

BLOCK = 1024


@dataclass(frozen=True, kw_only=True, eq=False)
class Clusters:
    """Pairs and triplets of sites, periodic images included.

    Attributes
    ----------
    members
        Sites of each cluster, shape (c, 3).  A site met twice (with its own image) drops out, since σ² = 1; free
        places hold n, the number of sites, where the spin is +1.
    kind, count
        Kind of each cluster and how often it occurs, shape (c,).
    order, radius_A
        Number of sites (2 or 3) and longest side of each kind.
    """

    sites: int
    members: IntArray
    kind: IntArray
    count: IntArray
    order: IntArray
    radius_A: FloatArray

    @property
    def totals(self) -> FloatArray:
        """Clusters of each kind."""
        totals = np.bincount(self.kind, weights=self.count, minlength=len(self.order))
        return np.asarray(totals, dtype=np.float64)


@dataclass(frozen=True, kw_only=True, eq=False)
class Quasirandom:
    """The best occupation found: replaced sites, its correlations and those of the random alloy, the objective."""

    chosen: IntArray
    correlations: FloatArray
    random_alloy: FloatArray
    objective: float
    exhaustive: bool


def quasirandom(clusters: Clusters, count: int, seed: int) -> Quasirandom:
    """Return the occupation with ``count`` replaced sites whose correlations are nearest to the random alloy's.

    Where there are at most :data:`LARGEST_ENUMERATION` occupations all are compared.  Else the best swap of a replaced
    and another site is taken until none lowers the objective, from many seeded random starts.

    Parameters
    ----------
    clusters
        From :func:`clusters_of`.
    count
        Number of replaced sites.
    seed
        Decides the starts.
    """
    target = random_alloy(clusters, count)
    exhaustive = comb(clusters.sites, count) <= LARGEST_ENUMERATION
    best = _compared(clusters, count, target) if exhaustive else descended(clusters, count, target, seed)
    found = correlations(clusters, _spins(clusters.sites, best[None]))[0]
    return Quasirandom(
        chosen=best,
        correlations=found,
        random_alloy=target,
        objective=float(_objective(clusters, found - target)),
        exhaustive=exhaustive,
    )


def random_alloy(clusters: Clusters, count: int) -> FloatArray:
    """Return (2x − 1)^order of every kind."""
    return np.asarray((2.0 * count / clusters.sites - 1.0) ** clusters.order, dtype=np.float64)


def _objective(clusters: Clusters, mismatch: FloatArray) -> FloatArray:
    """Return Σ (r₁/r) (Π − Π_random)² over the last axis."""
    weights = clusters.radius_A.min() / clusters.radius_A
    return np.asarray((mismatch**2) @ weights, dtype=np.float64)


def _spins(sites: int, chosen: IntArray) -> FloatArray:
    """Return spins of each choice, and the +1 of the free place, shape (choices, sites + 1)."""
    spins = np.full((len(chosen), sites + 1), -1.0)
    np.put_along_axis(spins, chosen, 1.0, axis=1)
    spins[:, sites] = 1.0
    return spins


def correlations(clusters: Clusters, spins: FloatArray) -> FloatArray:
    """Return Π of every kind for each row of spins, shape (rows, kinds)."""
    a, b, c = clusters.members.T
    products = spins[:, a] * spins[:, b] * spins[:, c] * clusters.count
    kinds = np.eye(len(clusters.order))[clusters.kind]
    return np.asarray(products @ kinds / clusters.totals, dtype=np.float64)


def _compared(clusters: Clusters, count: int, target: FloatArray) -> IntArray:
    choices = all_choices(clusters.sites, count)
    values = np.concatenate(
        [
            _objective(
                clusters, correlations(clusters, _spins(clusters.sites, choices[start : start + BLOCK])) - target
            )
            for start in range(0, len(choices), BLOCK)
        ]
    )
    # The first of equals, so that rounding does not choose among symmetry-equivalent occupations.
    return np.asarray(choices[np.flatnonzero(values <= values.min() + GAIN)[0]], dtype=np.int64)


def descended(clusters: Clusters, count: int, target: FloatArray, seed: int) -> IntArray:
    """Return the best of many seeded descents by swaps; see :func:`quasirandom`."""
    work = len(clusters.members) * 9 + clusters.sites**2 * len(clusters.order)
    starts = int(np.clip(EFFORT // (work * max(1, clusters.sites // 4)), *STARTS))
    best, lowest = np.arange(count, dtype=np.int64), np.inf
    for start in range(starts):
        chosen = stream(seed, "quasirandom", count, start).permutation(clusters.sites)[:count]
        spins, value = _descent(clusters, _spins(clusters.sites, chosen[None])[0], target)
        if value < lowest - GAIN:
            best, lowest = np.flatnonzero(spins[:-1] > 0), value
        if lowest <= GAIN:
            break
    return np.asarray(best, dtype=np.int64)


def _descent(clusters: Clusters, spins: FloatArray, target: FloatArray) -> tuple[FloatArray, float]:
    """Swap the best pair of unlike sites until nothing is gained."""
    mismatch = correlations(clusters, spins[None])[0] - target
    value = float(_objective(clusters, mismatch))
    for _ in range(10 * clusters.sites):
        up, down = np.flatnonzero(spins[:-1] > 0), np.flatnonzero(spins[:-1] < 0)
        if len(up) == 0 or len(down) == 0:
            break
        change = _changes(clusters, spins, up, down)
        values = _objective(clusters, mismatch + change)
        first = int(values.argmin())
        i, j = divmod(first, len(down))
        if values[i, j] > value - GAIN:
            break
        spins[up[i]], spins[down[j]] = -1.0, 1.0
        value, mismatch = float(values[i, j]), mismatch + change[i, j]
    return spins, value


def _changes(clusters: Clusters, spins: FloatArray, up: IntArray, down: IntArray) -> FloatArray:
    """Return the change of every Π by each swap, shape (up, down, kinds).

    A swap turns the sign of the clusters that hold exactly one of the two sites:
    ΔΠ = −2 (A_i + A_j − 2 B_ij), A_i the sum of the products of clusters with i, B_ij of those with both.
    """
    size, kinds = clusters.sites + 1, len(clusters.order)
    products = spins[clusters.members].prod(axis=1) * clusters.count
    single = np.zeros(kinds * size)
    both = np.zeros(kinds * size * size)
    for first in range(3):
        place = clusters.kind * size + clusters.members[:, first]
        single += np.bincount(place, weights=products, minlength=len(single))
        for second in range(3):
            if first != second:
                pair = place * size + clusters.members[:, second]
                both += np.bincount(pair, weights=products, minlength=len(both))
    alone, together = single.reshape(kinds, size), both.reshape(kinds, size, size)
    flipped = alone[:, up, None] + alone[:, None, down] - 2.0 * together[:, up[:, None], down[None]]
    return np.asarray(-2.0 * np.moveaxis(flipped, 0, -1) / clusters.totals, dtype=np.float64)


def clusters_of(crystal: Crystal, sites: IntArray, shells: int, *, triplets: bool) -> Clusters:
    """Return the pairs of ``sites`` in the first ``shells`` shells, and the triplets whose sides are within them.

    Parameters
    ----------
    crystal
        The supercell.
    sites
        Indices of the sites that may be replaced.
    shells
        Number of shells of pairs; periodic images count as neighbours.
    triplets
        Whether to add triplets; a kind of triplet is named by the shells of its three sides.

    Raises
    ------
    PhysicsError
        Where fewer shells lie within the largest radius searched.
    """
    first, second, image, radii = _neighbours(crystal, sites, shells)
    vectors = crystal.positions_A[sites][second] + image @ crystal.cell_A - crystal.positions_A[sites][first]
    shell = _shell_of(np.linalg.norm(vectors, axis=1), radii)
    free = np.full(len(first), len(sites), dtype=np.int64)
    members = [np.stack([first, second, free], axis=1)]
    kinds = [np.stack([np.full(len(first), -1), np.full(len(first), -1), shell], axis=1)]
    if triplets:
        for site in range(len(sites)):
            here = np.flatnonzero(first == site)
            a, b = (here[index] for index in np.triu_indices(len(here), k=1))
            side = _shell_of(np.linalg.norm(vectors[a] - vectors[b], axis=1), radii)
            near = side >= 0
            a, b, side = a[near], b[near], side[near]
            members.append(np.stack([np.full(len(a), site), second[a], second[b]], axis=1))
            kinds.append(np.sort(np.stack([shell[a], shell[b], side], axis=1), axis=1))
    return _reduced(np.vstack(members), np.vstack(kinds), radii, len(sites))


def _shell_of(distance_A: FloatArray, radii_A: FloatArray) -> IntArray:
    """Return the shell of each distance, −1 where it is in none."""
    apart = np.abs(distance_A[:, None] - radii_A)
    return np.asarray(np.where(apart.min(axis=1) < SHELL_WIDTH_A, apart.argmin(axis=1), -1), dtype=np.int64)


def _neighbours(crystal: Crystal, sites: IntArray, shells: int) -> tuple[IntArray, IntArray, FloatArray, FloatArray]:
    """Return neighbours within the first shells (i, j, image of j) and the shells' radii, Å."""
    from ase import Atoms
    from ase.neighborlist import neighbor_list

    atoms = Atoms(numbers=crystal.numbers[sites], positions=crystal.positions_A[sites], cell=crystal.cell_A, pbc=True)
    for radius in SEARCH_A:
        i, j, distance, image = neighbor_list("ijdS", atoms, radius)
        order = np.sort(distance)
        starts = order[np.diff(order, prepend=-np.inf) > SHELL_WIDTH_A]
        if len(starts) > shells:
            near = distance < starts[shells] - 0.5 * SHELL_WIDTH_A
            radii = np.array(
                [order[(order >= low) & (order < high)].mean() for low, high in pairwise(starts[: shells + 1])]
            )
            return i[near].astype(np.int64), j[near].astype(np.int64), image[near].astype(np.float64), radii
    raise PhysicsError(
        f"the substituted sites have fewer than {shells} shells of neighbours within {SEARCH_A[-1]:g} Å; "
        "set shells lower"
    )


def _reduced(members: IntArray, kinds: IntArray, radii_A: FloatArray, sites: int) -> Clusters:
    """Drop sites that are met twice in a cluster, count equal clusters, and number the kinds."""
    members = np.sort(members, axis=1)
    for left, right in ((0, 1), (1, 2)):
        twice = members[:, left] == members[:, right]
        members[twice, left], members[twice, right] = sites, sites
    members = np.sort(members, axis=1)
    names, kind = np.unique(kinds, axis=0, return_inverse=True)
    rows, count = np.unique(np.column_stack([members, kind.ravel()]), axis=0, return_counts=True)
    return Clusters(
        sites=sites,
        members=rows[:, :3],
        kind=rows[:, 3],
        count=count.astype(np.int64),
        order=np.where(names[:, 0] < 0, 2, 3).astype(np.int64),
        radius_A=radii_A[names.max(axis=1)],
    )
