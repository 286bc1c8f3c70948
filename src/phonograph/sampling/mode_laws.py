"""Laws with the covariance of the thermal one and less noise: fixed amplitudes, special displacements, Sobol points.

All are u = W x with W = M^(−1/2) e σ in the canonical basis of :mod:`phonograph.sampling.gauge`, and differ in the
standard normal coordinates x of the modes.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from phonograph.errors import ConfigurationError
from phonograph.options import option
from phonograph.sampling.gauge import displacements_of, mode_amplitudes
from phonograph.sampling.harmonic_sampler import HarmonicSampler, pair_notes
from phonograph.sampling.laws import BLOCK, SIGN_KURTOSIS, Moments, blocks_of, pack, require_phonons, uniform_draws
from phonograph.sampling.soft_modes import ModeLaw, displacement_shares, levels_of
from phonograph.streams import derive_seed
from phonograph.types import Configurations, Crystal, FloatArray, IntArray, Phonons

SPECIAL_CELLS = 125
"""Replicated cells (5 × 5 × 5) from which on published special displacements count as converged."""

SOBOL_BITS = 30
"""Binary digits of a coordinate of a Sobol point; the sequence has 2³⁰ points."""

SOBOL_DIMENSIONS = 21201
"""Dimensions for which direction numbers are known (Joe & Kuo, https://doi.org/10.1137/070709359)."""


@dataclass(frozen=True, kw_only=True)
class CanonicalSampler(HarmonicSampler):
    """A law u = W x that is fixed by the standard normal coordinates x of the modes."""

    excess_kurtosis: ClassVar[float] = 0.0

    @abstractmethod
    def standard(self, law: ModeLaw, indices: Sequence[int], seed: int) -> FloatArray:
        """Return x of each sample, shape (len(indices), modes)."""

    def notes(
        self, phonons: Phonons, amplitudes_A: FloatArray, indices: Sequence[int], displacements_A: FloatArray
    ) -> tuple[str, ...]:
        """Return sentences about the displacements made."""
        return pair_notes(indices, self.stride)

    def sample_at(self, reference: Phonons | Crystal, indices: Sequence[int], seed: int) -> Configurations:
        """Return the samples with these indices."""
        law = self.law(reference)
        amplitudes = mode_amplitudes(law)
        displacements = displacements_of(amplitudes, self.standard(law, indices, seed), indices)
        notes = self.notes(require_phonons(reference, self.kind), amplitudes, indices, displacements)
        return pack(
            self,
            reference,
            indices,
            displacements,
            seed,
            temperature_K=self.temperature_K,
            warnings=law.warnings + notes,
            touched_share=law.touched_share,
        )

    def moments(self, reference: Phonons | Crystal) -> Moments:
        """Return the displacement covariance C = W Wᵀ, Å², and W itself."""
        amplitudes = mode_amplitudes(self.law(reference))
        return Moments(
            covariance_A2=amplitudes @ amplitudes.T,
            excess_kurtosis=self.excess_kurtosis,
            independent_A=amplitudes,
        )


@dataclass(frozen=True, kw_only=True)
class SignSampler(CanonicalSampler):
    """Every mode at its rms amplitude, with a random sign: Q_s = ±σ_s, signs independent and equally likely.

    The covariance is that of the thermal law.  Every sample has the same harmonic energy, ½ Σ ω² σ², the thermal
    mean, so averages of even observables lose the noise that comes from the amplitudes.  The law is not Gaussian: a
    mode's ⟨Q⁴⟩ is σ⁴ instead of 3σ⁴, so fourth-order (anharmonic) averages are biased.

    In a degenerate level the signs act on the modes of a fixed basis (:mod:`phonograph.sampling.gauge`).

    References
    ----------
    Zacharias & Giustino, Phys. Rev. B 94, 075125 (2016), https://doi.org/10.1103/PhysRevB.94.075125.
    """

    kind: ClassVar[str] = "signs"
    excess_kurtosis: ClassVar[float] = SIGN_KURTOSIS

    antithetic: bool = option(
        False, "Make samples in pairs +u, −u, which cancel every odd order in u; both share a split group."
    )

    @property
    def stride(self) -> int:
        """2 for antithetic pairs, else 1."""
        return 2 if self.antithetic else 1

    def standard(self, law: ModeLaw, indices: Sequence[int], seed: int) -> FloatArray:
        """Return signs from the stream of each sample, or of each pair."""
        index = np.asarray(indices, dtype=np.int64)
        draws = uniform_draws(seed, self.kind, index // self.stride, len(law.variance_amu_A2))
        signs = np.where(draws < 0, -1.0, 1.0)
        return _paired(signs, index) if self.antithetic else signs


def _paired(standard: FloatArray, index: IntArray) -> FloatArray:
    return np.where(index % 2 == 1, -1.0, 1.0)[:, None] * standard


@dataclass(frozen=True, kw_only=True)
class ZGSampler(CanonicalSampler):
    """The special displacement of Zacharias and Giustino, and the family of sign patterns that completes it.

    Sample 0 is u = M^(−1/2) Σ_ν (−1)^ν σ_ν e_ν, modes counted from 0 in ascending frequency without the translations:
    neighbours in frequency have opposite signs, so that the cross terms Q_ν Q_ν′ of an observable's second-order
    expansion cancel in a large cell and one configuration gives the thermal average.  Sample 1 is −u.

    Samples 2k and 2k + 1 are ± the pattern (−1)^ν h_k(ν), h_k(ν) = (−1)^(number of ones in k AND ν), row k of the
    Walsh–Hadamard matrix.  The first 2^(j + 1) samples cancel all cross terms but those of modes whose numbers differ
    by a multiple of 2^j; 2^(p + 1) samples with 2^p ≥ modes cancel them all, and ⟨uuᵀ⟩ is the thermal covariance
    exactly.  There are no more than these 2^(p + 1) configurations.

    Nothing is random: the seed is not used, and two sets of one temperature hold the same displacements.  Every
    sample has the thermal mean of the harmonic energy.  A warning states how far a single configuration is from the
    thermal displacement tensors ⟨u_α u_β⟩ of each species; in a small cell that is far.

    References
    ----------
    Zacharias & Giustino, Phys. Rev. B 94, 075125 (2016), https://doi.org/10.1103/PhysRevB.94.075125, Eq. 5;
    Phys. Rev. Research 2, 013357 (2020), https://doi.org/10.1103/PhysRevResearch.2.013357.
    """

    kind: ClassVar[str] = "zg"
    excess_kurtosis: ClassVar[float] = SIGN_KURTOSIS

    @property
    def stride(self) -> int:
        """2: +u and −u."""
        return 2

    def standard(self, law: ModeLaw, indices: Sequence[int], seed: int) -> FloatArray:
        """Return the signs of each sample."""
        count = len(law.variance_amu_A2)
        index = np.asarray(indices, dtype=np.int64)
        distinct = 2 << max(count - 1, 0).bit_length()
        if index.max(initial=0) >= distinct:
            raise ConfigurationError(
                f"sampler 'zg' has {distinct} configurations for the {count} modes of this cell, which together give "
                f"the exact covariance; got a request for sample {int(index.max())}: set n to at most {distinct}, or "
                "use 'signs' or 'sobol'"
            )
        order = np.arange(count)
        walsh = np.bitwise_count((index // 2)[:, None] & order[None, :])
        return _paired(np.where((walsh + order) % 2 == 1, -1.0, 1.0), index)

    def notes(
        self, phonons: Phonons, amplitudes_A: FloatArray, indices: Sequence[int], displacements_A: FloatArray
    ) -> tuple[str, ...]:
        """Return how far the displacements are from the thermal tensors, and whether the cell is small."""
        cells = round(abs(np.linalg.det(phonons.force_constants.supercell_matrix)))
        small = (
            f"special displacements become exact in large cells; this one replicates the unit cell {cells} times, and "
            f"published ones converge at about {SPECIAL_CELLS}",
        )
        errors = tensor_errors(phonons.supercell, amplitudes_A, displacements_A)
        told = ", ".join(f"{symbol} {100 * single:.0f} % ({100 * whole:.0f} %)" for symbol, single, whole in errors)
        cross = (f"largest error of ⟨u_α u_β⟩ in the first configuration (in the mean of all): {told}",)
        lone = pair_notes(indices, self.stride) if len(indices) > 1 else ()
        return (small if cells < SPECIAL_CELLS else ()) + (cross if told else ()) + lone


def tensor_errors(
    crystal: Crystal, amplitudes_A: FloatArray, displacements_A: FloatArray
) -> tuple[tuple[str, float, float], ...]:
    """Return (symbol, error of the first configuration, error of the mean of all) of the displacement tensors.

    The error of a species is max_αβ |⟨u_α u_β⟩ − C_αβ| / (tr C / 3), with both averaged over its atoms: what the cross
    terms between modes leave.  Species that do not move are left out.
    """
    size = len(crystal)
    rows = amplitudes_A.reshape(size, 3, -1)
    exact = np.einsum("iam,ibm->iab", rows, rows)
    moved = displacements_A.reshape(-1, size, 3)
    first = np.einsum("ia,ib->iab", moved[0], moved[0])
    whole = np.einsum("sia,sib->iab", moved, moved) / len(moved)
    found = []
    for symbol in dict.fromkeys(crystal.symbols):
        mine = np.array(crystal.symbols) == symbol
        scale = float(np.trace(exact[mine].mean(axis=0))) / 3.0
        if scale > 0:
            errors = [float(np.abs((tensor - exact)[mine].mean(axis=0)).max()) / scale for tensor in (first, whole)]
            found.append((symbol, errors[0], errors[1]))
    return tuple(found)


@dataclass(frozen=True, kw_only=True)
class SobolSampler(CanonicalSampler):
    """The thermal law from quasi-random points: sample i is point i of a scrambled Sobol sequence.

    A point t of the unit cube gives x = Φ⁻¹(t), Φ the cumulative normal distribution.  Each sample alone has the
    Gaussian thermal law; together they cover it more evenly than random samples do, so averages of smooth observables
    have less noise, most at n = 2^k.  The first dimensions, which cover best, go to the levels with the largest
    displacement variance.

    The seed fixes the scrambling (random linear matrices and a digital shift).  Samples of one set are not independent
    of each other: s/√n overstates the error of a mean; its true error shows in sets of several seeds.

    References
    ----------
    Sobol', USSR Comput. Math. Math. Phys. 7, 86 (1967), https://doi.org/10.1016/0041-5553(67)90144-9; Joe & Kuo, SIAM
    J. Sci. Comput. 30, 2635 (2008), https://doi.org/10.1137/070709359; Matoušek, J. Complexity 14, 527 (1998),
    https://doi.org/10.1006/jcom.1998.0489.
    """

    kind: ClassVar[str] = "sobol"

    def standard(self, law: ModeLaw, indices: Sequence[int], seed: int) -> FloatArray:
        """Return Φ⁻¹ of the points, with the dimensions handed out by displacement variance."""
        from scipy.special import ndtri

        count = len(law.variance_amu_A2)
        points = _sobol_points(count, indices, derive_seed(seed, self.kind))
        result = np.empty_like(points)
        result[:, _by_variance(law)] = ndtri(points)
        return result

    def notes(
        self, phonons: Phonons, amplitudes_A: FloatArray, indices: Sequence[int], displacements_A: FloatArray
    ) -> tuple[str, ...]:
        """Say when the points lack the balance of a power of two."""
        n = len(indices)
        if n & (n - 1) == 0 and list(indices) == list(range(n)):
            return ()
        return (
            f"{n} samples are not the first 2^k points of the Sobol sequence: its balance, and part of the gain over "
            "random samples, is lost",
        )


def _sobol_points(dimensions: int, indices: Sequence[int], seed: int) -> FloatArray:
    """Return points by index, each coordinate in the middle of its 2⁻³⁰ cell, so that none is 0 or 1."""
    from scipy.stats import qmc

    index = np.asarray(indices, dtype=np.int64)
    if dimensions > SOBOL_DIMENSIONS:
        raise ConfigurationError(
            f"Sobol points have at most {SOBOL_DIMENSIONS} dimensions, but this cell has {dimensions} modes; "
            "use sampler 'thermal' with antithetic = true"
        )
    if index.max(initial=0) >= 1 << SOBOL_BITS:
        raise ConfigurationError(f"a Sobol sequence has {1 << SOBOL_BITS} points; got a request for {index.max()}")
    result = np.empty((len(index), dimensions))
    if dimensions == 0:
        return result
    engine = qmc.Sobol(dimensions, scramble=True, bits=SOBOL_BITS, seed=np.random.default_rng(seed))
    for block, places, rows in blocks_of(index):
        ahead = block * BLOCK - engine.num_generated
        if ahead:
            engine.fast_forward(ahead)
        result[places] = engine.random(BLOCK)[rows]
    return result + 0.5 / (1 << SOBOL_BITS)


def _by_variance(law: ModeLaw) -> IntArray:
    """Return the modes, levels of the largest mean displacement variance first.

    Means of levels, rounded: neither the eigensolver's choice of a basis nor its rounding decides the order.
    """
    contributions = displacement_shares(law.modes, law.variance_amu_A2)
    starts, sizes = levels_of(law.modes.frequencies_THz)
    if len(starts) == 0:
        return np.zeros(0, dtype=np.int64)
    means = np.repeat(np.add.reduceat(contributions, starts) / sizes, sizes)
    return np.argsort(-np.round(means / max(means.max(), 1e-300), 9), kind="stable")
