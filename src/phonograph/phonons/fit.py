"""Least-squares force constants of weighted samples, in the space that symmetry allows, and their error bars."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from phonograph.errors import ConfigurationError
from phonograph.lattice import normal_modes
from phonograph.phonons.cells import symfc_atoms
from phonograph.types import Crystal, FloatArray, IntArray


class SymmetricFit:
    """Fits Φ in f = −Φ u among all Φ that obey the space group, the sum rule and Φ_ij = Φ_jiᵀ.

    Source: Seko & Togo, Phys. Rev. B 110, 214302 (2024), doi:10.1103/PhysRevB.110.214302.

    Parameters
    ----------
    supercell
        Crystal at rest.
    """

    def __init__(self, supercell: Crystal) -> None:
        from symfc import Symfc

        self.supercell = supercell
        with warnings.catch_warnings():
            # spglib and symfc announce future changes of their own interfaces.
            warnings.simplefilter("ignore")
            self._symfc: Any = Symfc(symfc_atoms(supercell))
            self._symfc.compute_basis_set(orders=[2])
        self.parameters = int(self._symfc.basis_set[2].blocked_basis_set.shape[1])
        """Number of independent force constants."""

    def require_enough(self, pairs: int, blocks: int) -> None:
        """Refuse a round too small to determine the force constants when a jackknife block is left out.

        Raises
        ------
        ConfigurationError
            Naming the number of pairs that suffices.
        """
        # A pair ±u gives 3n independent equations; twice as many equations as unknowns keep the fit well-conditioned.
        left = pairs - int(np.ceil(pairs / min(blocks, pairs)))
        needed = int(np.ceil(2 * self.parameters / (3 * len(self.supercell))))
        if left < needed:
            enough = int(np.ceil(needed * blocks / (blocks - 1))) + 1
            raise ConfigurationError(
                f"phonons.renormalisation.pairs_per_round must be at least {enough} for the {self.parameters} "
                f"independent force constants of this supercell; got {pairs}"
            )

    def __call__(
        self, displacements_A: FloatArray, forces_eV_per_A: FloatArray, weights: FloatArray | None = None
    ) -> FloatArray:
        """Return full force constants, eV/Å², shape (n, n, 3, 3).

        Parameters
        ----------
        displacements_A, forces_eV_per_A
            Shape (m, n, 3).
        weights
            Shape (m,), not negative; a weight of 2 counts a sample twice.
        """
        root = np.ones(len(displacements_A)) if weights is None else np.sqrt(weights)
        self._symfc.displacements = displacements_A * root[:, None, None]
        self._symfc.forces = forces_eV_per_A * root[:, None, None]
        self._symfc.solve(orders=[2], is_compact_fc=False)
        return np.array(self._symfc.force_constants[2], dtype=np.float64)


def jackknife_frequencies(
    fit: SymmetricFit,
    displacements_A: FloatArray,
    forces_eV_per_A: FloatArray,
    weights: FloatArray | None = None,
    *,
    blocks: IntArray,
) -> FloatArray:
    """Return standard errors of the commensurate frequencies, THz, shape (3n − 3,).

    Delete-block jackknife: s² = (g − 1)/g Σ_b (ν_b − ν̄)² over g fits that leave out one block of samples each.
    Source: Efron & Stein, Ann. Stat. 9, 586 (1981), doi:10.1214/aos/1176345462.

    Parameters
    ----------
    displacements_A, forces_eV_per_A
        Shape (m, n, 3).
    weights
        Shape (m,); all 1 where not given.
    blocks
        The block of each sample, shape (m,): samples that are not independent of each other belong to one block.
    """
    weights = np.ones(len(displacements_A)) if weights is None else weights
    names = np.unique(blocks)
    found = []
    for block in names:
        keep = blocks != block
        values = fit(displacements_A[keep], forces_eV_per_A[keep], weights[keep])
        found.append(normal_modes(values, fit.supercell.masses_amu).frequencies_THz)
    return jackknife_error(np.array(found))


def jackknife_error(replicas: FloatArray) -> FloatArray:
    """Return √((g − 1)/g Σ_b (x_b − x̄)²) over g replicas that lack one block each, along the first axis."""
    count = len(replicas)
    return np.asarray(np.sqrt((count - 1) / count * ((replicas - replicas.mean(axis=0)) ** 2).sum(axis=0)))


def blocks_of_pairs(samples: int, blocks: int) -> IntArray:
    """Deal antithetic pairs (samples 2k and 2k + 1) to blocks in turn, so that every block holds pairs of each round.

    At most one block per pair.
    """
    pairs = samples // 2
    return np.repeat(np.arange(pairs) % min(blocks, pairs), 2)


def free_directions(supercell: Crystal) -> FloatArray:
    """Return an orthonormal basis of the collective shifts of atoms that symmetry allows, shape (3n, k).

    Along these the average positions may move with temperature; k = 0 where every atom sits on a fixed site.
    """
    from symfc.basis_sets import FCBasisSetO1

    size = 3 * len(supercell)
    try:
        with warnings.catch_warnings():
            # As in SymmetricFit.
            warnings.simplefilter("ignore")
            found = FCBasisSetO1(symfc_atoms(supercell)).run().full_basis_set
    except ValueError as error:
        # symfc's way to say that there is none.
        if "No basis" not in str(error):
            raise
        return np.zeros((size, 0))
    dense = found.toarray() if hasattr(found, "toarray") else np.asarray(found)
    return np.asarray(dense, dtype=np.float64).reshape(size, -1)
