"""Whether a supercell sees the band edges of the primitive crystal.

A supercell with lattice A_s = P A folds the wave vector κ (fractional, of the primitive reciprocal lattice) onto
P κ of its own; a calculation on the k set {m_j} of the supercell sees κ if P κ − m_j is whole for some j.  The gap
of a supercell that misses an edge is too large, and nothing in its output says so.

Edges belong to a star: the wave vectors that the point group and time reversal make of one.  One vector of a star is
enough to see the edge of the static crystal; displaced crystals break the equality, so a star that is seen in part is
told as well.
Source: Boykin, Klimeck, Phys. Rev. B 71, 115215 (2005), doi:10.1103/PhysRevB.71.115215 (folding and unfolding).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike

from phonograph.errors import DataError
from phonograph.labels.edges import band_edges, occupied_bands
from phonograph.types import Bands, Crystal, FloatArray, IntArray, LabelResult

SAME_EV = 2e-3
"""Levels closer than this count as one edge."""
SAME_K = 1e-4
SYMMETRY_TOLERANCE_A = 1e-3


@dataclass(frozen=True, kw_only=True)
class EdgeStar:
    """One wave vector that holds a band edge, with all its equivalents.

    Attributes
    ----------
    edge
        ``"VBM"`` or ``"CBM"``.
    name
        Conventional letter where there is one (Γ, X, M, R, …), else empty.
    k
        Fractional coordinates of the primitive reciprocal lattice, of one member.
    members, seen
        Number of equivalent wave vectors, and how many of them the supercell's k set contains.
    energy_eV
        The edge.
    """

    edge: str
    name: str
    k: tuple[float, float, float]
    members: int
    seen: int
    energy_eV: float

    @property
    def words(self) -> str:
        """The wave vector as people write it."""
        fractions = " ".join(_fraction(value) for value in self.k)
        return f"{self.name} ({fractions})" if self.name else f"({fractions})"


@dataclass(frozen=True, kw_only=True)
class FoldingResult:
    """Which band edges of the primitive crystal a supercell sees.

    Attributes
    ----------
    supercell_matrix, k_points
        The supercell (rows: its lattice in units of the primitive one) and its own k set, fractional.
    stars
        Wave vectors of both edges.
    gap_eV, seen_gap_eV
        Gap of the primitive crystal, and the gap on those of its k points that the supercell sees; NaN where no
        k point of the bands is among these.
    direct
        Whether both edges share a wave vector.
    uncertainty_eV
        What the edges of the comparison are uncertain by (0 for the bands of one calculation).
    all_known
        Whether the bands hold every wave vector that the supercell sees; if not, ``seen_gap_eV`` is an upper bound.
    odd_electrons
        Whether the primitive cell holds an odd number of electrons: then it has no edges, and no stars.
    """

    supercell_matrix: tuple[tuple[int, ...], ...]
    k_points: tuple[tuple[float, ...], ...]
    stars: tuple[EdgeStar, ...]
    gap_eV: float
    seen_gap_eV: float
    direct: bool
    uncertainty_eV: float = 0.0
    odd_electrons: bool = False
    all_known: bool = True

    @property
    def complete(self) -> bool:
        """Whether at least one member of a star of each edge is seen."""
        return all(any(s.seen for s in self.stars if s.edge == edge) for edge in ("VBM", "CBM"))

    @property
    def warnings(self) -> tuple[str, ...]:
        """One sentence per missing edge, and one per star that is seen in part."""
        cell = " × ".join(str(row[place]) for place, row in enumerate(self.supercell_matrix))
        if any(row[j] for i, row in enumerate(self.supercell_matrix) for j in range(3) if i != j):
            cell = str([list(row) for row in self.supercell_matrix])
        told = []
        for edge in ("VBM", "CBM"):
            stars = [star for star in self.stars if star.edge == edge]
            if stars and not any(star.seen for star in stars):
                points = " or ".join(star.words for star in stars)
                does = "does" if self.seen_gap_eV - self.gap_eV > self.uncertainty_eV else "may"
                doubt = f" (uncertain by {self.uncertainty_eV:.2f} eV)" if self.uncertainty_eV > SAME_EV else ""
                told.append(
                    f"The {cell} supercell {does} not see the {edge} of the primitive crystal, which lies at {points}: "
                    f"on its k set the gap is {self._error}{doubt}; take a supercell or k set that contains this point."
                )
            for star in stars:
                if 0 < star.seen < star.members:
                    told.append(
                        f"The {cell} supercell sees {star.seen} of the {star.members} equivalent {edge} points "
                        f"{star.words}: displacements split them, so its thermal gap is biased towards large values."
                    )
        return (*told, *self._metal)

    @property
    def _error(self) -> str:
        if not np.isfinite(self.seen_gap_eV):
            return "too large by an unknown amount"
        most = "" if self.all_known else "at most "
        return f"{most}{self.seen_gap_eV:.3f} eV instead of {self.gap_eV:.3f} eV"

    @property
    def _metal(self) -> tuple[str, ...]:
        if self.gap_eV > 0 or not self.seen_gap_eV > SAME_EV:
            return ()
        if self.odd_electrons:
            why = "holds an odd number of electrons, so it is a metal"
        elif self.seen_gap_eV > self.uncertainty_eV:
            why = "has overlapping bands, so it is a metal"
        else:
            why = "may have overlapping bands, so it may be a metal"
        return (
            f"The primitive crystal {why}; a gap such as the {self.seen_gap_eV:.3f} eV of the supercell would then be "
            "only the distance of two levels of a finite cell.",
        )


def check_folding(
    bands: Bands,
    supercell_matrix: ArrayLike,
    *,
    crystal: Crystal,
    mesh: Sequence[int] = (1, 1, 1),
    k_points: ArrayLike | None = None,
    tolerance_eV: float = SAME_EV,
    uncertainty_eV: float = 0.0,
) -> FoldingResult:
    """Say whether the k set of a supercell contains every band edge of the primitive crystal.

    Parameters
    ----------
    bands
        Bands of the static primitive crystal on a mesh or path dense enough to hold its edges; fractional
        coordinates of ``crystal``'s reciprocal lattice, irreducible or not.
    supercell_matrix
        Three multiples or integer rows: supercell lattice = matrix @ primitive lattice.
    crystal
        The primitive crystal, for its symmetry and the names of its k points.
    mesh
        Γ-centred k mesh of the supercell; (1, 1, 1) is Γ alone.
    k_points
        Instead of ``mesh``: the supercell's k points, fractional, shape (n, 3).
    tolerance_eV
        Levels this close to an edge belong to it.

    Raises
    ------
    DataError
        Bands without edges (odd number of electrons, no empty bands), or a matrix that is not a supercell.
    """
    matrix = matrix_of(supercell_matrix)
    own = _mesh(mesh) if k_points is None else np.atleast_2d(np.asarray(k_points, dtype=np.float64))
    valence, conduction = edges_by_k(bands)
    rotations = _reciprocal_rotations(crystal)
    names = special_points(crystal)
    vbm, cbm = float(valence.max()), float(conduction.min())
    stars = [
        *_stars("VBM", bands.k_points[valence >= vbm - tolerance_eV], vbm, (matrix, own), rotations, names),
        *_stars("CBM", bands.k_points[conduction <= cbm + tolerance_eV], cbm, (matrix, own), rotations, names),
    ]
    # Where the bands hold one vector of a star, the energies of the others are known with it.
    seen = np.array([bool(_seen(_star(k, rotations), matrix, own).any()) for k in bands.k_points])
    seen_gap = float(max(0.0, conduction[seen].min() - valence[seen].max())) if seen.any() else float("nan")
    places = [
        {same_k(k) for s in stars if s.edge == edge for k in _star(np.array(s.k), rotations)} for edge in ("VBM", "CBM")
    ]
    return FoldingResult(
        supercell_matrix=tuple(tuple(int(v) for v in row) for row in matrix),
        k_points=tuple(tuple(float(v) for v in k) for k in own),
        stars=tuple(stars),
        gap_eV=max(0.0, cbm - vbm),
        seen_gap_eV=seen_gap,
        direct=bool(places[0] & places[1]),
        all_known=_all_known(bands, matrix, own, rotations),
        uncertainty_eV=uncertainty_eV,
    )


def edges_by_k(bands: Bands) -> tuple[FloatArray, FloatArray]:
    """Return the highest occupied and the lowest empty level at every k, eV, by counting electrons; shape (k,) each.

    Raises
    ------
    DataError
        Bands that have no edges, with the reason.
    """
    found, counted = band_edges(bands), occupied_bands(bands)
    if found.failure or isinstance(counted, LabelResult):
        raise DataError(f"these bands have no edges: {found.message}")
    levels = bands.eigenvalues_eV
    valence = np.max([levels[s, :, n - 1] for s, n in enumerate(counted) if n > 0], axis=0)
    conduction = np.min([levels[s, :, n] for s, n in enumerate(counted)], axis=0)
    return valence, conduction


def manifold_sizes(bands: Bands, tolerance_eV: float = 0.02) -> tuple[int, int]:
    """Return how many states share the valence top and the conduction bottom of a static supercell at Γ.

    Parameters
    ----------
    bands
        Γ of the static supercell, without spin polarisation.
    tolerance_eV
        States within this of the edge belong to its manifold; the splitting by self-consistency noise is far below,
        the distance to the next level of a crystal mostly far above.
    """
    if len(bands.k_points) > 1 or len(bands.eigenvalues_eV) > 1:
        raise DataError("manifolds are counted at Γ of the supercell, without spin polarisation")
    found = band_edges(bands)
    if found.failure:
        raise DataError(f"these bands have no edges: {found.message}")
    levels, occupied = bands.eigenvalues_eV[0, 0], round(bands.electrons) // 2
    valence, conduction = levels[:occupied], levels[occupied:]
    return (
        int((valence >= valence[-1] - tolerance_eV).sum()),
        int((conduction <= conduction[0] + tolerance_eV).sum()),
    )


def special_points(crystal: Crystal) -> tuple[tuple[str, FloatArray], ...]:
    """Return the conventional names of the special k points of a crystal's lattice, fractional coordinates.

    From ASE's table of Bravais lattices, after Setyawan, Curtarolo, Comput. Mater. Sci. 49, 299 (2010),
    doi:10.1016/j.commatsci.2010.05.010.
    """
    from ase.cell import Cell

    try:
        special = Cell(crystal.cell_A).bandpath(npoints=0, eps=1e-3).special_points
    except (RuntimeError, ValueError):
        return (("Γ", np.zeros(3)),)
    return tuple(("Γ" if name == "G" else name, np.asarray(k, dtype=np.float64)) for name, k in special.items())


def star_of(k: ArrayLike, crystal: Crystal) -> FloatArray:
    """Return the wave vectors equivalent to ``k`` by the crystal's point group and time reversal, in [0, 1)³."""
    return _star(np.asarray(k, dtype=np.float64), _reciprocal_rotations(crystal))


def _all_known(bands: Bands, matrix: IntArray, own: FloatArray, rotations: IntArray) -> bool:
    """Return whether every wave vector that the supercell sees has an equivalent among those of the bands."""
    known = {same_k(member) for k in bands.k_points for member in _star(k, rotations)}
    cells = abs(round(float(np.linalg.det(matrix))))
    folded = np.array([_seen(np.array([k]), matrix, own)[0] for k in (np.array(key) * SAME_K for key in known)])
    return int(folded.sum()) >= cells * len({same_k(k) for k in own})


def _stars(
    edge: str,
    points: FloatArray,
    energy_eV: float,
    supercell: tuple[IntArray, FloatArray],
    rotations: IntArray,
    names: Sequence[tuple[str, FloatArray]],
) -> list[EdgeStar]:
    """Group the wave vectors of an edge into stars."""
    stars: list[EdgeStar] = []
    known: set[tuple[int, ...]] = set()
    for k in points:
        if same_k(k) in known:
            continue
        star = _star(k, rotations)
        keys = {same_k(member) for member in star}
        known |= keys
        named = next(((name, place) for name, place in names if same_k(place) in keys), None)
        # The tabulated vector is the one that people look for.
        shown = np.mod(k, 1.0) if named is None else named[1]
        stars.append(
            EdgeStar(
                edge=edge,
                name=named[0] if named else "",
                k=(float(shown[0]), float(shown[1]), float(shown[2])),
                members=len(star),
                seen=int(_seen(star, *supercell).sum()),
                energy_eV=energy_eV,
            )
        )
    return stars


def _star(k: FloatArray, rotations: IntArray) -> FloatArray:
    images = np.mod(np.concatenate([rotations @ k, -(rotations @ k)]), 1.0)
    distinct = {same_k(image): image for image in images}
    return np.array([distinct[key] for key in sorted(distinct)])


def same_k(k: FloatArray) -> tuple[int, ...]:
    """Return a name of a wave vector that is the same for all that differ by a reciprocal lattice vector."""
    steps = round(1.0 / SAME_K)
    return tuple(int(v) % steps for v in np.rint(np.asarray(k) * steps))


def _seen(points: FloatArray, matrix: IntArray, own: FloatArray) -> FloatArray:
    """Return which primitive wave vectors fold onto one of the supercell's own, shape (n,)."""
    apart = (points @ matrix.T)[:, None, :] - own[None]
    apart -= np.rint(apart)
    return np.asarray((np.abs(apart).max(axis=2) < SAME_K * np.abs(matrix).sum()).any(axis=1))


def _mesh(mesh: Sequence[int]) -> FloatArray:
    axes = [np.arange(n) / n for n in mesh]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def matrix_of(value: ArrayLike) -> IntArray:
    """Return three multiples or nine integers as a supercell matrix; raises :class:`DataError` for anything else."""
    given = np.asarray(value)
    matrix = np.diag(given) if given.shape == (3,) else given
    if matrix.shape != (3, 3) or not np.array_equal(matrix, np.rint(matrix)) or abs(np.linalg.det(matrix)) < 0.5:
        raise DataError(f"a supercell is three multiples or nine integers with a determinant; got {given.tolist()}")
    return np.rint(matrix).astype(np.int64)


def _reciprocal_rotations(crystal: Crystal) -> IntArray:
    """Return the point group acting on fractional wave vectors: κ' = (Wᵀ)⁻¹ κ for x' = W x; shape (n, 3, 3)."""
    import warnings

    import spglib

    with warnings.catch_warnings():
        # spglib announces that failures will raise one day; today it returns None, which is handled here.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        found = spglib.get_symmetry((crystal.cell_A, crystal.fractional, crystal.numbers), symprec=SYMMETRY_TOLERANCE_A)
    rotations = np.eye(3, dtype=np.int64)[None] if found is None else np.asarray(found["rotations"])
    return np.rint(np.linalg.inv(rotations.transpose(0, 2, 1))).astype(np.int64)


def _fraction(value: float) -> str:
    near = Fraction(value).limit_denominator(24)
    return str(near) if abs(float(near) - value) < SAME_K else f"{value:.3f}"
