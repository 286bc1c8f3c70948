"""The orientation in which CP2K gets a crystal.

CP2K 2023.1 with mixing of densities loses the density of a cubic cell that is turned in space: its first step has the
energy of the unturned cell, its second another one and a change of zero, so that it says "converged".  Seen with k
points and, for a cell of 40 atoms, at Γ.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np

from phonograph.types import Crystal, FloatArray

RIGHT_ANGLE = 1e-4
"""Cosine up to which an angle counts as a right one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Placed:
    """A crystal as CP2K gets it, and the turn that led there: vectors v of the original are v·turnᵀ here."""

    crystal: Crystal
    turn: FloatArray

    def back(self, vectors: FloatArray) -> FloatArray:
        """Return vectors, shape (n, 3), as those of the original crystal."""
        return vectors @ self.turn

    def tensor_back(self, tensor: FloatArray) -> FloatArray:
        """Return a tensor, shape (3, 3), as that of the original crystal."""
        return self.turn.T @ tensor @ self.turn


def placed(crystal: Crystal, k_mesh: tuple[int, ...]) -> Placed:
    """Turn a crystal: first lattice vector along x, second in the xy plane; at Γ only one with right angles."""
    products = crystal.cell_A @ crystal.cell_A.T
    sides = np.sqrt(np.diag(products))
    oblique = np.abs(products / np.outer(sides, sides) - np.eye(3)).max() > RIGHT_ANGLE
    along_axes = np.array_equal(crystal.cell_A, np.diag(np.abs(np.diag(crystal.cell_A))))
    if along_axes or (oblique and prod(k_mesh) == 1):
        return Placed(crystal=crystal, turn=np.eye(3))
    # cell = L·Q with L lower triangular and Q orthogonal, from the QR factors of the transpose.
    q, r = np.linalg.qr(crystal.cell_A.T)
    signs = np.sign(np.diag(r))
    turn = signs[:, None] * q.T
    turned = replace(crystal, cell_A=r.T * signs, positions_A=crystal.positions_A @ turn.T)
    return Placed(crystal=turned, turn=turn)
