"""One basis of the modes for every eigensolver, and displacements from standard normal coordinates.

An eigensolver returns any orthonormal basis of a degenerate level, with any signs.  Laws that treat single modes
differently (signs, low-discrepancy points) need one choice.  With P the projector on a level of d modes and R a fixed
generic (3n, d) matrix, the columns of B = P R ((P R)ᵀ P R)^(−1/2) are an orthonormal basis of the level that depends
on P alone.  The choice is a convention: it singles out no direction that symmetry would name, and another order of the
atoms gives another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from phonograph.lattice import Modes
from phonograph.sampling.laws import BLOCK, blocks_of
from phonograph.sampling.soft_modes import ModeLaw, levels_of
from phonograph.streams import stream
from phonograph.types import FloatArray


def canonical_modes(modes: Modes) -> Modes:
    """Return the same modes in the basis that does not depend on the eigensolver; signs are fixed as well."""
    starts, sizes = levels_of(modes.frequencies_THz)
    size = len(modes.vectors)
    generic = stream(0, "gauge", size).standard_normal((size, int(sizes.max(initial=1))))
    vectors = np.empty_like(modes.vectors)
    for start, count in zip(starts, sizes, strict=True):
        level = slice(start, start + count)
        # The polar factor U of A = VᵀR makes V U = P R (AᵀA)^(−1/2): a rotation V → V O gives U → Oᵀ U.
        left, _, right = np.linalg.svd(modes.vectors[:, level].T @ generic[:, :count])
        vectors[:, level] = modes.vectors[:, level] @ (left @ right)
    return replace(modes, vectors=vectors)


def mode_amplitudes(law: ModeLaw) -> FloatArray:
    """Return W = M^(−1/2) e σ in the canonical basis, Å, shape (3n, m): u = W x, with ⟨x xᵀ⟩ = 1."""
    modes = canonical_modes(law.modes)
    root = np.sqrt(np.repeat(modes.masses_amu, 3))
    return np.asarray(modes.vectors * np.sqrt(law.variance_amu_A2) / root[:, None])


def displacements_of(amplitudes_A: FloatArray, standard: FloatArray, indices: Sequence[int]) -> FloatArray:
    """Return u = W x of each row of ``standard``, Å, shape (len(indices), 3n).

    Every matrix product has the same shape and a sample always sits in row ``index % BLOCK`` of it, because BLAS may
    round the same row differently in a product of another shape.
    """
    index = np.asarray(indices, dtype=np.int64)
    transposed = np.ascontiguousarray(amplitudes_A.T)
    result = np.empty((len(index), len(amplitudes_A)))
    for _, places, rows in blocks_of(index):
        block = np.zeros((BLOCK, len(transposed)))
        block[rows] = standard[places]
        result[places] = (block @ transposed)[rows]
    return result
