"""Bands of a crystal from an engine that only knows Γ: supercells, unfolded.

A supercell of N primitive cells folds N wave vectors κ onto its Γ.  With its orbitals C, energies ε and overlap S
(CᵀSC = 1) the Hamiltonian is H = S C ε Cᵀ S; in the Bloch basis |κμ⟩ = N^(−1/2) Σ_r exp(2πi κ·r) |rμ⟩ it falls into one
block per κ, whose generalised eigenvalues are the bands at κ.  No interpolation and no fit enters.

Each supercell has its own self-consistent charges, because it sums over other wave vectors: levels of the same κ from
two supercells differ, and that difference is the uncertainty of any comparison between them.
Source: Boykin, Klimeck, Phys. Rev. B 71, 115215 (2005), doi:10.1103/PhysRevB.71.115215.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike

from phonograph.errors import DataError
from phonograph.labels.engines.tight_binding import XtbLabeller
from phonograph.labels.folding import FoldingResult, check_folding, matrix_of, same_k, star_of
from phonograph.types import Bands, Crystal, FloatArray, IntArray, Progress
from phonograph.units import HARTREE_EV

LARGEST_CELL = 90
"""Atoms of the largest supercell that is calculated for a check."""
PERIODIC_EV = 0.01
"""Unfolded levels may differ from the folded ones by this, eV; by more if the cell is not a repetition."""


def unfolded_bands(labeller: XtbLabeller, primitive: Crystal, supercell_matrix: ArrayLike) -> Bands:
    """Return the bands of ``primitive`` at the wave vectors that a supercell folds onto Γ.

    Parameters
    ----------
    labeller
        The Γ-only engine.
    primitive
        The crystal that is repeated, on its equilibrium sites.
    supercell_matrix
        Three multiples or integer rows: supercell lattice = matrix @ primitive lattice.

    Raises
    ------
    DataError
        No self-consistency, or a supercell above :data:`LARGEST_CELL` atoms.
    """
    matrix = matrix_of(supercell_matrix)
    cells = _points(matrix)
    count = len(cells)
    if count * len(primitive) > LARGEST_CELL:
        raise DataError(f"unfolding stops at {LARGEST_CELL} atoms; this supercell has {count * len(primitive)}")
    repeated = Crystal(
        cell_A=matrix @ primitive.cell_A,
        positions_A=np.concatenate([primitive.positions_A + cell @ primitive.cell_A for cell in cells]),
        numbers=np.tile(primitive.numbers, count),
    )
    try:
        solved = labeller.solve(repeated, integrals=True)
    except Exception as error:
        raise DataError(f"{labeller.engine} gives no bands of {repeated.formula}: {error}") from error
    hamiltonian, overlap, energies_eV = _matrices(solved)
    waves = _waves(matrix)
    levels = np.array([_block(hamiltonian, overlap, np.exp(2j * np.pi * (cells @ k))) for k in waves])
    gap = float(np.abs(np.sort(levels.ravel()) - np.sort(energies_eV)).max())
    if gap > PERIODIC_EV:
        raise DataError(
            f"the levels of {repeated.formula} do not unfold (off by {gap:.2g} eV): its charges break the symmetry of "
            "the primitive cell; give the true primitive cell, or another supercell"
        )
    electrons = float(np.asarray(solved.get("orbital-occupations")).sum()) / count
    return Bands(k_points=waves, k_weights=np.ones(count), eigenvalues_eV=levels[None], electrons=round(electrons, 6))


def check_folding_at_gamma(
    labeller: XtbLabeller,
    primitive: Crystal,
    supercell_matrix: ArrayLike,
    *,
    order: int = 2,
    least_atoms: int = 32,
    progress: Progress | None = None,
) -> FoldingResult:
    """Say whether a supercell's Γ sees every band edge of the primitive crystal, with a Γ-only engine.

    For every wave vector whose coordinates have denominators up to ``order`` (2 has the corners and face centres of
    the zone; 3 and 4 cost more) the smallest supercell that folds it onto Γ is doubled until it has ``least_atoms``
    atoms, calculated and unfolded.  So is the supercell in question up to :data:`LARGEST_CELL` atoms; of a larger one,
    every wave vector that it folds, on its own.  Of each star the levels of the largest cell count.

    Self-consistency differs between cells, by eV where they are tiny.  The largest difference between cells for the
    levels at Γ and at the edges is the uncertainty: edges closer than that cannot be told apart.

    Raises
    ------
    DataError
        An engine that finds no self-consistency for one of the cells.
    """
    matrix = matrix_of(supercell_matrix)
    wanted = _cells_to_solve(primitive, matrix, order, least_atoms)
    levels: dict[tuple[int, ...], list[tuple[int, FloatArray, FloatArray]]] = {}
    electrons = 0.0
    for place, cell in enumerate(wanted):
        bands = unfolded_bands(labeller, primitive, cell)
        electrons = bands.electrons
        for k, energies in zip(bands.k_points, bands.eigenvalues_eV[0], strict=True):
            name = min(same_k(member) for member in star_of(k, primitive))
            levels.setdefault(name, []).append((len(bands.k_points), k, energies))
        if progress is not None:
            progress("cells", place + 1, len(wanted))
    best = [max(found, key=lambda item: item[0]) for found in levels.values()]
    joined = Bands(
        k_points=np.array([k for _, k, _ in best]),
        k_weights=np.ones(len(best)),
        eigenvalues_eV=np.array([energies for _, _, energies in best])[None],
        electrons=electrons,
    )
    if round(electrons) % 2:
        return _odd(joined, matrix)
    result = check_folding(joined, matrix, crystal=primitive)
    occupied = round(electrons) // 2
    spreads = [0.0]
    for k in ((0.0, 0.0, 0.0), *(star.k for star in result.stars)):
        found = levels[min(same_k(member) for member in star_of(k, primitive))]
        spreads += np.ptp([energies[occupied - 1 : occupied + 1] for _, _, energies in found], axis=0).tolist()
    return replace(result, uncertainty_eV=max(spreads))


def _odd(bands: Bands, matrix: IntArray) -> FoldingResult:
    """Return the result for an odd number of electrons per primitive cell: no edges, a metal by counting."""
    return FoldingResult(
        supercell_matrix=tuple(tuple(int(v) for v in row) for row in matrix),
        k_points=((0.0, 0.0, 0.0),),
        stars=(),
        gap_eV=0.0,
        seen_gap_eV=_level_distance(bands, matrix),
        direct=False,
        odd_electrons=True,
    )


def _level_distance(bands: Bands, matrix: IntArray) -> float:
    """Gap of the supercell's own level scheme, eV; NaN where its wave vectors are not among the bands'."""
    folded = np.abs((bands.k_points @ matrix.T) - np.rint(bands.k_points @ matrix.T)).max(axis=1) < 1e-6
    levels = np.sort(bands.eigenvalues_eV[0][folded].ravel())
    occupied = round(bands.electrons * folded.sum()) // 2
    return float(levels[occupied] - levels[occupied - 1]) if 0 < occupied < len(levels) else float("nan")


def _cells_to_solve(primitive: Crystal, matrix: IntArray, order: int, least_atoms: int) -> list[IntArray]:
    """Return the supercells: the one in question, and one for every star that none of the others folds."""
    cells: list[IntArray] = []
    known: set[tuple[int, ...]] = set()

    def add(cell: IntArray) -> None:
        cells.append(cell)
        known.update(same_k(member) for k in _waves(cell) for member in star_of(k, primitive))

    if least_atoms <= _count(matrix) * len(primitive) <= LARGEST_CELL:
        add(matrix)
    own = _exact(_waves(matrix), _count(matrix)) if _count(matrix) <= LARGEST_CELL else []
    for k in (*_simple_waves(order), *own):
        if same_k(np.array(k, dtype=np.float64)) not in known:
            cell = _enlarged(folding_cell(k, primitive.cell_A), primitive, least_atoms)
            if _count(cell) * len(primitive) <= LARGEST_CELL:
                add(cell)
    return cells


def _enlarged(cell: IntArray, primitive: Crystal, least_atoms: int) -> IntArray:
    """Double the shortest lattice vector until the cell has enough atoms: the sum over its wave vectors converges."""
    while _count(cell) * len(primitive) < least_atoms:
        shortest = int(np.linalg.norm(cell @ primitive.cell_A, axis=1).argmin())
        cell = np.diag([2 if axis == shortest else 1 for axis in range(3)]) @ cell
    return cell


def _count(matrix: IntArray) -> int:
    return abs(round(float(np.linalg.det(matrix))))


def folding_cell(k: Sequence[Fraction], cell_A: FloatArray) -> IntArray:
    """Return the smallest supercell that folds ``k`` (exact fractions) onto Γ, compact, integer rows.

    Its lattice vectors are all r with k·r whole.  The number of primitive cells is the common denominator q of k;
    among the Hermite normal forms of that determinant exactly one has only such rows.
    """
    from ase.geometry import minkowski_reduce

    index = math.lcm(*(value.denominator for value in k))
    for form in hermite_forms(index):
        if all(sum(int(v) * f for v, f in zip(row, k, strict=True)).denominator == 1 for row in form):
            _, operation = minkowski_reduce(form @ cell_A)
            return np.asarray(operation, dtype=np.int64) @ form
    raise AssertionError("every wave vector with whole denominators has its supercell")


def hermite_forms(index: int) -> Iterator[IntArray]:
    """Yield every sublattice of that index once, as a lower triangular matrix of integer rows.

    Source: Hart, Forcade, Phys. Rev. B 77, 224115 (2008), doi:10.1103/PhysRevB.77.224115, section III.
    """
    for a in range(1, index + 1):
        for c in range(1, index // a + 1):
            if index % (a * c):
                continue
            f = index // (a * c)
            for b, d, e in itertools.product(range(a), range(a), range(c)):
                yield np.array([[a, 0, 0], [b, c, 0], [d, e, f]], dtype=np.int64)


def _simple_waves(order: int) -> list[tuple[Fraction, Fraction, Fraction]]:
    found = {
        (Fraction(a, n), Fraction(b, n), Fraction(c, n))
        for n in range(1, order + 1)
        for a, b, c in itertools.product(range(n), repeat=3)
    }
    return sorted(found, key=lambda k: (math.lcm(*(v.denominator for v in k)), k))


def _exact(waves: FloatArray, index: int) -> list[tuple[Fraction, Fraction, Fraction]]:
    """Return wave vectors of a supercell of ``index`` primitive cells as exact fractions."""
    exact = [tuple(Fraction(float(v)).limit_denominator(index) % 1 for v in k) for k in waves]
    return sorted((a, b, c) for a, b, c in exact)


def _points(matrix: IntArray) -> IntArray:
    """Return the primitive lattice vectors inside the supercell, integers, shape (N, 3)."""
    reach = np.abs(matrix).sum(axis=0)
    grid = np.array(list(itertools.product(*(range(-n, n + 1) for n in reach))))
    inside = grid @ np.linalg.inv(matrix)
    chosen = grid[((inside > -1e-9) & (inside < 1.0 - 1e-9)).all(axis=1)]
    return np.asarray(chosen, dtype=np.int64)


def _waves(matrix: IntArray) -> FloatArray:
    """Return the wave vectors κ in [0, 1)³ with P κ whole, shape (N, 3)."""
    # + 0.0: no negative zeros.
    return np.asarray(_points(matrix.T) @ np.linalg.inv(matrix.T)) % 1.0 + 0.0


def _matrices(solved: object) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the converged Hamiltonian, eV, the overlap and the energies, eV, from tblite's result."""
    get = solved.get  # type: ignore[attr-defined]
    energies = np.asarray(get("orbital-energies")) * HARTREE_EV
    orbitals, overlap = np.asarray(get("orbital-coefficients")), np.asarray(get("overlap-matrix"))
    one = np.eye(len(energies))
    # Columns or rows: tblite does not say, orthonormality does.
    if np.abs(orbitals @ overlap @ orbitals.T - one).max() < np.abs(orbitals.T @ overlap @ orbitals - one).max():
        orbitals = orbitals.T
    half = overlap @ orbitals
    return (half * energies) @ half.T, overlap, energies


def _block(hamiltonian: FloatArray, overlap: FloatArray, phases: FloatArray) -> FloatArray:
    """Return the eigenvalues of the block of one wave vector, ascending."""
    from scipy.linalg import eigh

    count, size = len(phases), len(hamiltonian) // len(phases)

    def block(matrix: FloatArray) -> FloatArray:
        by_cell = matrix.reshape(count, size, count, size)
        return np.asarray(np.einsum("r,rasb,s->ab", phases.conj(), by_cell, phases, optimize=True) / count)

    return np.asarray(eigh(block(hamiltonian), block(overlap), eigvals_only=True))
