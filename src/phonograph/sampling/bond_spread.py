"""The spread of the nearest bonds' lengths, which are not linear in the displacements, against the claimed law."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from phonograph.sampling.distances import Bonds, bond_vectors, pair_codes, pair_name
from phonograph.sampling.laws import supercell_of
from phonograph.sampling.tallies import EXACT_A, LEVEL, Alike
from phonograph.types import Check, FloatArray

FEWEST_STREAMS = 16
"""Independent samples from which on a standard error is taken from the samples themselves."""


@dataclass
class BondTally:
    """Standard deviation of the nearest bonds' lengths, which are not linear in the displacements.

    The separation of two atoms is R + w with w Gaussian of covariance C_ii + C_jj − C_ij − C_ji; the mean of |R + w|
    is integrated with five Gauss–Hermite points per axis, ⟨|R + w|²⟩ = R² + tr.  All bonds of a kind are pooled.  The
    standard error is that of leaving out one random stream at a time.
    """

    bonds: Bonds
    found: dict[int, list[FloatArray]] = field(default_factory=dict)
    expected: dict[int, FloatArray] = field(default_factory=dict)

    def add(self, alike: Alike) -> None:
        """Take the samples of one law into account."""
        if alike.moments.covariance_A2.ndim == 1 or alike.moments.excess_kurtosis != 0.0:
            return
        crystal, bonds = supercell_of(alike.reference), self.bonds
        vectors = bond_vectors(alike.positions_A, alike.cell_A, bonds)
        u = alike.displacements_A.reshape(len(alike.displacements_A), -1, 3)
        lengths = np.linalg.norm(vectors + u[:, bonds.j] - u[:, bonds.i], axis=2)
        means, squares = _length_moments(vectors, _bond_covariances(alike.moments.covariance_A2, bonds))
        codes = pair_codes(crystal.numbers[bonds.i], crystal.numbers[bonds.j])
        _, place = np.unique(alike.streams, return_inverse=True)
        for code in np.unique(codes).tolist():
            chosen = codes == code
            sums = np.stack(
                [np.full(len(u), chosen.sum()), lengths[:, chosen].sum(1), (lengths[:, chosen] ** 2).sum(1)]
            )
            by_stream = np.zeros((place.max() + 1, 3))
            np.add.at(by_stream, place, sums.T)
            self.found.setdefault(code, []).append(by_stream)
            claim = len(u) * np.array([chosen.sum(), means[chosen].sum(), squares[chosen].sum()])
            self.expected[code] = self.expected.get(code, np.zeros(3)) + claim

    def checks(self) -> tuple[Check, ...]:
        """Return one check per pair of species met in at least FEWEST_STREAMS independent samples."""
        made = []
        for code, parts in self.found.items():
            sums = np.concatenate(parts)
            if len(sums) >= FEWEST_STREAMS:
                made.append(_spread_check(f"bond-length spread of {pair_name(code)}", sums, self.expected[code]))
        return tuple(made)


def _spread_check(name: str, sums: FloatArray, claim: FloatArray) -> Check:
    from scipy.stats import t

    streams = len(sums)
    left_out = _spread(sums.sum(axis=0) - sums)
    error = float(np.sqrt((streams - 1) / streams * ((left_out - left_out.mean()) ** 2).sum()))
    found, expected = float(_spread(sums.sum(axis=0))), float(_spread(claim))
    # The spread of equal lengths is the root of a difference of squares: half of the digits.
    tolerance = float(t.isf(LEVEL / 2, streams - 1)) * error + EXACT_A
    passed = abs(found - expected) <= tolerance
    return Check(name=name, found=found, expected=expected, tolerance=tolerance, passed=passed, unit="Å")


def _spread(sums: FloatArray) -> Any:
    count, first, second = np.moveaxis(sums, -1, 0)
    return np.sqrt(np.maximum(second / count - (first / count) ** 2, 0.0))


def _bond_covariances(covariance_A2: FloatArray, bonds: Bonds) -> FloatArray:
    size = len(covariance_A2) // 3
    blocks = covariance_A2.reshape(size, 3, size, 3).transpose(0, 2, 1, 3)
    i, j = bonds.i, bonds.j
    return np.asarray(blocks[i, i] + blocks[j, j] - blocks[i, j] - blocks[j, i])


def _length_moments(vectors_A: FloatArray, covariances_A2: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return ⟨|R + w|⟩ and ⟨|R + w|²⟩ per bond."""
    points, weights = np.polynomial.hermite_e.hermegauss(5)
    values, axes = np.linalg.eigh(covariances_A2)
    roots = axes * np.sqrt(np.maximum(values, 0.0))[:, None, :]
    grid = np.stack(np.meshgrid(points, points, points), axis=-1).reshape(-1, 3)
    share = np.einsum("i,j,k->ijk", weights, weights, weights)
    # meshgrid swaps the first two axes; the weights are the same for both.
    share = share.ravel() / share.sum()
    lengths = np.linalg.norm(vectors_A[:, None] + np.einsum("bac,gc->bga", roots, grid), axis=2)
    return lengths @ share, (vectors_A**2).sum(axis=1) + np.einsum("baa->b", covariances_A2)
