"""Lattice translations of a supercell: block diagonalisation by wave vector, in real arithmetic.

A matrix that is unchanged by the N translations of the unit cell, such as the dynamical matrix D of a perfect
crystal, connects cells c and c' by a block d(c − c').  In the real waves cos(q·R_c), sin(q·R_c) of the N
commensurate wave vectors q it becomes one block per q, or per pair ±q:

    A_q = Σ_R d(R) cos(q·R),  B_q = Σ_R d(R) sin(q·R),  block [[A, −B], [B, A]] on (cos, sin);

where q and −q are the same wave vector, the block is A alone.  N blocks of 3p rows (p atoms in the unit cell)
replace one matrix of 3pN rows.
Source: Maradudin et al., Theory of Lattice Dynamics in the Harmonic Approximation (1971), chapter II.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from phonograph.types import Crystal, FloatArray, IntArray

SAME = 1.0e-11
"""Largest difference between translated force constants, relative to the largest of them, that is rounding."""
ON_SITE = 0.25
"""Largest distance, in units of the unit cell, of an atom from the site it belongs to (relaxed supercells)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Cells:
    """The unit cells of a supercell.

    Attributes
    ----------
    atoms
        Atom of site b in cell c, shape (N, p).
    places
        Lattice vector of each cell in units of the supercell's lattice vectors, modulo 1, shape (N, 3).
    difference
        Cell c − c' (modulo the supercell) at ``[c, c']``, shape (N, N).
    """

    atoms: IntArray
    places: FloatArray
    difference: IntArray

    @property
    def coordinates(self) -> IntArray:
        """Row of coordinate (b, axis) of cell c in a vector over all atoms, shape (N, 3p)."""
        rows = 3 * self.atoms[:, :, None] + np.arange(3)
        return np.asarray(rows.reshape(len(self.atoms), -1), dtype=np.int64)


def unit_cells(unitcell: Crystal, supercell_matrix: IntArray, supercell: Crystal) -> Cells | None:
    """Return how ``supercell`` repeats ``unitcell``, or None where it does not.

    Only the places of the atoms are looked at, not their kind; what the translations leave unchanged is for
    :func:`translated_blocks` to find out.  A strained supercell (Vegard's lattice) keeps its fractional coordinates.

    Parameters
    ----------
    supercell_matrix
        Integer rows: supercell lattice = supercell_matrix @ unit-cell lattice.
    """
    count = round(abs(np.linalg.det(supercell_matrix)))
    if count < 1 or count * len(unitcell) != len(supercell):
        return None
    offset = (supercell.fractional @ supercell_matrix)[:, None] - unitcell.fractional
    whole = np.rint(offset)
    miss = np.abs(offset - whole).max(axis=2)
    site = miss.argmin(axis=1)
    chosen = np.arange(len(supercell))
    if miss[chosen, site].max() > ON_SITE:
        return None
    keys = _keys(whole[chosen, site].astype(np.int64), supercell_matrix, count)
    known, cell = np.unique(keys, axis=0, return_inverse=True)
    atoms = np.full((count, len(unitcell)), -1, dtype=np.int64)
    if len(known) != count:
        return None
    atoms[cell.ravel(), site] = chosen
    if (atoms < 0).any():
        return None
    return Cells(atoms=atoms, places=known / count, difference=_differences(known, count))


def _keys(cells: IntArray, matrix: IntArray, count: int) -> IntArray:
    """Return R M⁻¹ det M modulo det M: equal for lattice vectors that differ by one of the supercell."""
    adjugate = np.rint(np.linalg.inv(matrix) * count).astype(np.int64)
    return np.asarray((cells @ adjugate) % count, dtype=np.int64)


def _differences(keys: IntArray, count: int) -> IntArray:
    # np.unique sorted the keys row by row, and so are these numbers.
    weights = np.array([count**2, count, 1], dtype=np.int64)
    each = ((keys[:, None] - keys[None]) % count) @ weights
    return np.asarray(np.searchsorted(keys @ weights, each), dtype=np.int64)


@dataclass(frozen=True, kw_only=True, eq=False)
class Waves:
    """Real orthonormal waves on the N cells: those with q ≡ −q first, then cosine and sine of each pair ±q.

    Attributes
    ----------
    table
        Shape (N, N): row k is a wave over the cells.
    single
        Number of wave vectors that are their own negative; the first is Γ.
    """

    table: FloatArray
    single: int

    @property
    def cosines(self) -> FloatArray:
        """cos(q·R) by wave vector (one per pair) and cell, not normalised."""
        paired = self.table[self.single :: 2] * np.sqrt(0.5)
        return np.vstack([self.table[: self.single], paired]) * np.sqrt(len(self.table))

    @property
    def sines(self) -> FloatArray:
        """sin(q·R) by wave vector (one per pair) and cell, not normalised."""
        paired = self.table[self.single + 1 :: 2] * np.sqrt(0.5 * len(self.table))
        return np.vstack([np.zeros((self.single, len(self.table))), paired])


def waves_of(cells: Cells) -> Waves:
    """Return the waves of the cells.

    The wave vectors are labelled by the cells of the dual group: e^{2πi m·place} for integer m, where two m that
    agree on all cells are the same wave.
    """
    count = len(cells.places)
    numerators = np.rint(cells.places * count).astype(np.int64)
    # exp(2πi m·n/N) takes m through a whole period along the axes of the supercell's reciprocal lattice.
    turns = _characters(numerators, count)
    negative = (-turns) % count
    own = (turns == negative).all(axis=1)
    ahead = np.array([tuple(row) < tuple(other) for row, other in zip(turns, negative, strict=True)])
    angle = 2.0 * np.pi / count
    single = np.cos(angle * turns[own])
    paired = angle * turns[~own & ahead]
    both = np.stack([np.cos(paired), np.sin(paired)], axis=1).reshape(-1, count) * np.sqrt(2.0)
    return Waves(table=np.vstack([single, both]) / np.sqrt(count), single=int(own.sum()))


def _characters(numerators: IntArray, count: int) -> IntArray:
    """Return m·n modulo N for every distinct wave, rows of shape (N, N): the group generated by the three axes."""
    found = np.zeros((1, count), dtype=np.int64)
    for axis in range(3):
        if len(found) == count:
            break
        generator = numerators[:, axis] % count
        multiples = np.unique((np.arange(count)[:, None] * generator) % count, axis=0)
        found = np.unique(((found[:, None] + multiples[None]) % count).reshape(-1, count), axis=0)
    # Sorted, so that Γ (all zero) comes first.
    return found


def translated_blocks(matrix_blocks: FloatArray, cells: Cells) -> FloatArray | None:
    """Return d(R), shape (N, 3p, 3p), of a matrix that the translations leave unchanged; None where they change it.

    Parameters
    ----------
    matrix_blocks
        Shape (n, n, 3, 3), such as force constants.
    """
    count, sites = cells.atoms.shape
    rows = np.ascontiguousarray(matrix_blocks).reshape(*matrix_blocks.shape[:2], 9)
    first = total = np.zeros(0)
    allowed = SAME * float(np.abs(matrix_blocks).max())
    for cell in range(count):
        # Row c − cell of every cell, seen from ``cell``: the block d of that difference, transposed.
        shifted = cells.atoms[np.argsort(cells.difference[:, cell])].ravel()
        seen = np.stack([rows[atom].take(shifted, axis=0) for atom in cells.atoms[cell]])
        if cell == 0:
            first, total = seen, seen.copy()
            continue
        if np.abs(seen - first).max() > allowed:
            return None
        total += seen
    # total[b', R, b] = Φ(cell 0 site b', cell R site b) = d(R)ᵀ.
    mean = (total / count).reshape(sites, count, sites, 3, 3).transpose(1, 2, 4, 0, 3)
    return np.ascontiguousarray(mean).reshape(count, 3 * sites, 3 * sites)


def wave_blocks(blocks: FloatArray, waves: Waves) -> tuple[FloatArray, FloatArray]:
    """Return A_q and B_q of d(R), one per wave vector (one per pair ±q), each of shape (waves, 3p, 3p)."""
    flat = blocks.reshape(len(blocks), -1)
    shape = (-1, *blocks.shape[1:])
    return (waves.cosines @ flat).reshape(shape), (waves.sines @ flat).reshape(shape)


def expanded(columns: FloatArray, cells: Cells) -> FloatArray:
    """Return the whole matrix, shape (3n, 3n), of which ``columns``, shape (3n, 3p), belong to cell 0."""
    rows = cells.coordinates
    whole = np.empty((len(columns), len(columns)))
    for cell, here in enumerate(rows):
        moved = np.empty_like(columns)
        moved[rows.ravel()] = columns[rows[cells.difference[:, cell]].ravel()]
        whole[:, here] = moved
    return whole


class WaveProduct:
    """Product of a translation-invariant matrix with blocks of vectors, wave vector by wave vector."""

    def __init__(self, columns: FloatArray, cells: Cells) -> None:
        rows = cells.coordinates
        self._waves = waves_of(cells)
        self._rows = rows.ravel()
        self._order = np.argsort(self._rows)
        cosine, sine = wave_blocks(columns[rows], self._waves)
        single = self._waves.single
        a, b = cosine[single:], sine[single:]
        self._single = cosine[:single]
        self._paired = np.concatenate([np.concatenate([a, -b], axis=2), np.concatenate([b, a], axis=2)], axis=1)

    def __call__(self, vectors: FloatArray, out: FloatArray) -> None:
        """Write the product with each row of ``vectors``, shape (samples, 3n), into the same row of ``out``."""
        samples, size = vectors.shape
        table, single = self._waves.table, self._waves.single
        width = size // len(table)
        by_cell = np.ascontiguousarray(vectors.T)[self._rows]
        by_wave = (table @ by_cell.reshape(len(table), -1)).reshape(len(table), width, samples)
        done = by_cell.reshape(by_wave.shape)
        np.matmul(self._single, by_wave[:single], out=done[:single])
        shape = (-1, 2 * width, samples)
        np.matmul(self._paired, by_wave[single:].reshape(shape), out=done[single:].reshape(shape))
        back = np.matmul(table.T, done.reshape(len(table), -1), out=by_wave.reshape(len(table), -1))
        out[:] = back.reshape(size, samples)[self._order].T
