"""Eigenvalues of one calculation at its k points: what band edges are counted from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from phonograph.errors import DataError
from phonograph.types.arrays import FloatArray, read_only, set_field


@dataclass(frozen=True, kw_only=True, eq=False)
class Bands:
    """Eigenvalues on a set of k points.

    Attributes
    ----------
    k_points
        Fractional coordinates of the reciprocal lattice, shape (k, 3).
    k_weights
        Weights, shape (k,), normalised here to sum 1; zeros allowed (points of a path, of no weight).
    eigenvalues_eV
        Shape (spins, k, bands), 1 or 2 spins, sorted here in ascending order per spin and k.
    electrons
        Valence electrons that the calculation holds.
    magnetisation
        N↑ − N↓; 0 without spin polarisation.
    """

    k_points: FloatArray
    k_weights: FloatArray
    eigenvalues_eV: FloatArray
    electrons: float
    magnetisation: float = 0.0

    def __post_init__(self) -> None:
        set_field(self, "k_points", read_only("k_points", self.k_points, (None, 3)))
        count = len(self.k_points)
        weights = read_only("k_weights", self.k_weights, (count,))
        if count == 0 or weights.min() < 0 or weights.sum() <= 0:
            raise DataError("bands need at least one k point, and weights of at least 0 that are not all 0")
        set_field(self, "k_weights", read_only("k_weights", weights / weights.sum(), (count,)))
        energies = read_only("eigenvalues_eV", self.eigenvalues_eV, (None, count, None))
        if len(energies) not in (1, 2) or energies.shape[2] == 0:
            raise DataError(f"eigenvalues must have shape (1 or 2 spins, k, bands ≥ 1); got {energies.shape}")
        set_field(self, "eigenvalues_eV", read_only("eigenvalues_eV", np.sort(energies, axis=2), (None, count, None)))

    @classmethod
    def at_gamma(cls, energies_eV: FloatArray, electrons: float) -> Bands:
        """Return bands of a Γ-only calculation without spin, energies of shape (bands,)."""
        return cls(
            k_points=np.zeros((1, 3)),
            k_weights=np.ones(1),
            eigenvalues_eV=np.asarray(energies_eV)[None, None],
            electrons=electrons,
        )
