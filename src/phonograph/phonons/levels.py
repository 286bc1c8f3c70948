"""Levels of a crystal: sets of modes that symmetry makes equivalent, and averages over them.

Modes of one level have the same frequency because the space group says so; averaging over a level does not depend on
which orthonormal eigenvectors an eigensolver chose.  Two levels that have the same frequency by accident are told apart
with a second, generic matrix of the same symmetry: it splits a space of modes into the smallest pieces that symmetry
keeps together (the idea of the random-matrix route to irreducible representations).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from phonograph.lattice import Modes, dynamical_matrix
from phonograph.phonons.fit import SymmetricFit
from phonograph.streams import stream
from phonograph.types import FloatArray, IntArray
from phonograph.units import THZ_PER_SQRT_EV_PER_A2_AMU

SAME_LEVEL_THZ = 5.0e-3
"""Modes closer than this may be one level, THz: force constants from files keep symmetry only to their digits."""

SAME_PIECE = 1.0e-3
"""Eigenvalues of the generic matrix closer than this share of their range are one piece."""


def levels_of(modes: Modes, fit: SymmetricFit) -> tuple[Modes, tuple[IntArray, ...]]:
    """Return modes adapted to symmetry, and the indices of each level.

    Parameters
    ----------
    modes
        Of force constants with the supercell's symmetry.
    fit
        Knows that symmetry.

    Returns
    -------
    tuple
        Modes, whose eigenvectors are turned within spaces of equal frequency only, and levels as indices into them.
    """
    generic = _generic(fit)
    spread = float(np.ptp(np.linalg.eigvalsh(generic)))
    vectors = np.array(modes.vectors)
    found: list[IntArray] = []
    start = 0
    for end in [*(np.flatnonzero(np.diff(modes.frequencies_THz) > SAME_LEVEL_THZ) + 1), len(modes.frequencies_THz)]:
        members = np.arange(start, end)
        inner = vectors[:, members].T @ generic @ vectors[:, members]
        values, turn = np.linalg.eigh(inner)
        vectors[:, members] = vectors[:, members] @ turn
        breaks = np.flatnonzero(np.diff(values) > SAME_PIECE * spread) + 1
        found += np.split(members, breaks)
        start = end
    return Modes(frequencies_THz=modes.frequencies_THz, vectors=vectors, masses_amu=modes.masses_amu), tuple(found)


def _generic(fit: SymmetricFit) -> FloatArray:
    """Return a mass-weighted matrix with the symmetry of force constants, and no other."""
    size = len(fit.supercell)
    samples = 2 * fit.parameters // (3 * size) + 2
    random = stream(0, "phonons", "levels")
    displacements, forces = random.standard_normal((2, samples, size, 3))
    # Scaled to be far from the fit's own tolerances.
    return dynamical_matrix(fit(0.1 * displacements, forces), np.ones(size))


def from_levels(modes: Modes, frequencies_THz: FloatArray) -> FloatArray:
    """Return force constants Φ = M^(1/2) e ω² eᵀ M^(1/2), eV/Å², shape (n, n, 3, 3).

    Parameters
    ----------
    modes
        Eigenvectors e and masses M.
    frequencies_THz
        One per mode, in the order of ``modes``; equal within a level, so that symmetry is kept.
    """
    size = len(modes.masses_amu)
    root = np.sqrt(np.repeat(modes.masses_amu, 3))
    stiffness = np.sign(frequencies_THz) * (frequencies_THz / THZ_PER_SQRT_EV_PER_A2_AMU) ** 2
    flat = (modes.vectors * stiffness) @ modes.vectors.T * np.outer(root, root)
    flat = 0.5 * (flat + flat.T)
    return np.ascontiguousarray(flat.reshape(size, 3, size, 3).transpose(0, 2, 1, 3))


def symmetrised(matrix: FloatArray, fit: SymmetricFit) -> FloatArray:
    """Return the part of a matrix over mass-weighted displacements that has the crystal's symmetry.

    Parameters
    ----------
    matrix
        Symmetric, without translations, shape (3n, 3n); for example the covariance ⟨Q Qᵀ⟩ of M^(1/2) u.
    fit
        Knows the symmetry.
    """
    masses = fit.supercell.masses_amu
    size = len(masses)
    root = np.sqrt(np.repeat(masses, 3))
    # M^(1/2) X M^(1/2) obeys all that force constants obey; a least-squares fit to unit displacements projects it.
    scaled = matrix * np.outer(root, root)
    units = np.eye(3 * size).reshape(-1, size, 3)
    return dynamical_matrix(fit(units, -(units.reshape(-1, 3 * size) @ scaled).reshape(-1, size, 3)), masses)


def strongest_mixing(covariance: FloatArray, levels: Sequence[IntArray]) -> tuple[float, tuple[int, int]]:
    """Return the largest correlation between modes of two levels, and the two levels.

    The correlation of levels a and b is the largest singular value of their block of the covariance, divided by
    √(c_a c_b) of the mean variances: 0 for exact normal modes, 1 where one follows the other.
    """
    variances = np.array([np.trace(covariance[np.ix_(level, level)]) / len(level) for level in levels])
    largest, pair = 0.0, (0, 0)
    for a, first in enumerate(levels):
        for b in range(a):
            block = covariance[np.ix_(first, levels[b])]
            found = float(np.linalg.norm(block, 2) / np.sqrt(variances[a] * variances[b]))
            if found > largest:
                largest, pair = found, (b, a)
    return largest, pair
