"""Third-order force constants of weighted ± pairs, in the space that symmetry allows."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from phonograph.errors import ConfigurationError
from phonograph.phonons.cells import symfc_atoms
from phonograph.phonons.fit import free_directions
from phonograph.types import Crystal, FloatArray, IntArray

MAX_ATOMS = 100
"""Largest supercell: its third-order force constants take 216 MB."""

MAX_PARAMETERS = 4_000
"""Most independent force constants that are fitted: their equations take 128 MB per block."""

BATCH_NUMBERS = 20_000_000
"""Numbers that the equations of one batch of pairs may hold: 160 MB."""


@dataclass(frozen=True, eq=False)
class NormalEquations:
    """G x = r of each block of pairs: ``matrix`` (blocks, p, p) and ``right`` (blocks, p)."""

    matrix: FloatArray
    right: FloatArray

    def solve(self, without: int | None = None) -> FloatArray | None:
        """Return the least-squares parameters, shape (p,), of all blocks or all but one; None if undetermined."""
        keep = np.arange(len(self.right)) != (-1 if without is None else without)
        matrix, right = self.matrix[keep].sum(axis=0), self.right[keep].sum(axis=0)
        scale = 1.0 / np.sqrt(np.maximum(np.diag(matrix), np.finfo(float).tiny))
        try:
            # It refuses equations that are not positive definite.
            lower = np.linalg.cholesky(matrix * np.outer(scale, scale))
        except np.linalg.LinAlgError:
            return None
        return np.asarray(scale * np.linalg.solve(lower.T, np.linalg.solve(lower, scale * right)))


class ThirdOrderFit:
    """Fits Φ³ in the even part of the forces of pairs ±u: (f(u) + f(−u))/2 = c − ½ Φ³ u u.

    Sought among all Φ³ that obey the space group, the sum rule and the exchange of indices; c is a constant force along
    directions that symmetry leaves free.  Odd terms of the forces cancel in a pair.  Under a Gaussian law of u the
    answer is the average ⟨∂³V⟩, by partial integration.

    Source: Seko & Togo, Phys. Rev. B 110, 214302 (2024), doi:10.1103/PhysRevB.110.214302.

    Parameters
    ----------
    supercell
        Crystal at rest.
    cutoff_A
        Atoms further apart than this do not share a force constant, Å; None for all triplets.
    """

    def __init__(self, supercell: Crystal, cutoff_A: float | None = None) -> None:
        self._size = 3 * len(supercell)
        self._constant = free_directions(supercell)
        self._tables: tuple[Any, FloatArray] | None = None
        self._basis = _basis(supercell, cutoff_A)
        self.parameters = int(self._basis.blocked_basis_set.shape[1]) if self._basis is not None else 0
        """Number of independent third-order force constants."""

    def pairs_needed(self, blocks: int) -> int:
        """Return how many pairs leave two equations per parameter when one of ``blocks`` is left out."""
        needed = int(np.ceil(2 * self.parameters / self._size))
        return max(2, int(np.ceil(needed * blocks / (blocks - 1))) + 1)

    def _basis_tables(self) -> tuple[Any, FloatArray]:
        """Return A, sparse, (3n c, 3n 3n), and B, (c, p): Φ³_{ia,jb,kc} = Σ A_{(ia,·),(jb,kc)} B parameters."""
        if self._tables is None:
            from scipy.sparse import coo_array

            size, packed = self._size, coo_array(self._basis.compression_matrix)
            atoms = size // 3
            i, j, k, a, b, c = np.unravel_index(packed.coords[0].astype(np.int64), (atoms, atoms, atoms, 3, 3, 3))
            rows = (3 * i + a) * packed.shape[1] + packed.coords[1]
            columns = (3 * j + b) * size + 3 * k + c
            table = coo_array((packed.data, (rows, columns)), shape=(size * packed.shape[1], size * size)).tocsr()
            blocks = self._basis.blocked_basis_set
            inner = np.zeros((packed.shape[1], self.parameters))
            # Its rows end with the last that is not empty.
            inner[: blocks.shape[0]] = blocks @ np.eye(self.parameters)
            self._tables = table, inner
        return self._tables

    def equations(
        self, displacements_A: FloatArray, forces_eV_per_A: FloatArray, weights: FloatArray, blocks: IntArray
    ) -> NormalEquations:
        """Return the normal equations of each block of pairs.

        Parameters
        ----------
        displacements_A, forces_eV_per_A
            u and the even part of the force of each pair, shape (pairs, n, 3).
        weights, blocks
            Of each pair, shape (pairs,).
        """
        names = np.unique(blocks)
        if not self.parameters:
            return NormalEquations(np.zeros((len(names), 0, 0)), np.zeros((len(names), 0)))
        table, inner = self._basis_tables()
        total = self.parameters + self._constant.shape[1]
        matrix, right = np.zeros((len(names), total, total)), np.zeros((len(names), total))
        step = max(1, BATCH_NUMBERS // (self._size * len(inner) + self._size**2))
        for place, name in enumerate(names):
            members = np.flatnonzero(blocks == name)
            for start in range(0, len(members), step):
                part = members[start : start + step]
                design = self._design(table, inner, displacements_A[part].reshape(len(part), -1))
                root = np.repeat(np.sqrt(weights[part]), self._size)
                design *= root[:, None]
                matrix[place] += design.T @ design
                right[place] += design.T @ (forces_eV_per_A[part].ravel() * root)
        return NormalEquations(matrix, right)

    def _design(self, table: Any, inner: FloatArray, flat: FloatArray) -> FloatArray:
        """Return the force of each unit parameter and constant, shape (pairs · 3n, p + k)."""
        squares = np.einsum("sj,sk->jks", flat, flat).reshape(self._size**2, -1)
        packed = np.asarray(table @ squares).reshape(self._size, len(inner), -1).transpose(2, 0, 1)
        return np.concatenate(
            [-0.5 * packed.reshape(-1, len(inner)) @ inner, np.tile(self._constant, (len(flat), 1))], axis=1
        )

    def tensor(self, solution: FloatArray) -> FloatArray:
        """Return Φ³, eV/Å³, shape (3n, 3n, 3n), of a solution of the normal equations."""
        from scipy.sparse import eye_array, kron

        if not self.parameters:
            return np.zeros((self._size,) * 3)
        table, inner = self._basis_tables()
        packed = inner @ solution[: self.parameters]
        rows = kron(eye_array(self._size), packed[None, :], format="csr") @ table
        return np.asarray(rows.toarray()).reshape((self._size,) * 3)


def too_many_parameters(supercell: Crystal, cutoff_A: float | None) -> bool:
    """Return whether the third order of this supercell is beyond what is fitted, by atoms or by symfc's estimate."""
    from symfc.basis_sets import FCBasisSetO3

    if len(supercell) > MAX_ATOMS:
        return True
    return bool(FCBasisSetO3(symfc_atoms(supercell), cutoff=cutoff_A).estimate_basis_size() > MAX_PARAMETERS)


def _basis(supercell: Crystal, cutoff_A: float | None) -> Any:
    """Return symfc's basis, or None where symmetry (or the cutoff) leaves no third-order force constant."""
    from symfc.basis_sets import FCBasisSetO3

    with warnings.catch_warnings():
        # As in SymmetricFit.
        warnings.simplefilter("ignore")
        found = FCBasisSetO3(symfc_atoms(supercell), cutoff=cutoff_A).run(apply_sum_rule=False)
        if not found.compact_compression_matrix.shape[1]:
            return None
        try:
            return found.compute_blocked_basis_set()
        except AssertionError as error:
            # symfc's way to say that the sum rule leaves none.
            if cutoff_A is None:
                raise
            raise ConfigurationError(
                f"phonons.renormalisation.third_order_cutoff_A = {cutoff_A:g} leaves no third-order force constants "
                "that obey the sum rule; give a length beyond the nearest neighbours, or none"
            ) from error
