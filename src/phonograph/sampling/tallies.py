"""Claims about a law that are tested sample by sample: each tally sees every group of alike samples, then judges.

Bounds are exact for Gaussian laws.  For laws of lighter tails (uniform draws, random signs) the same bounds are too
wide, never too narrow.  A check over many numbers is one check: its bound is that of the largest of them (Bonferroni).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from phonograph.sampling.laws import SIGN_KURTOSIS, UNIFORM_KURTOSIS, Moments, supercell_of
from phonograph.streams import stream
from phonograph.types import Check, Crystal, FloatArray, IntArray, Phonons

DEVIATES = 4.0
"""Standard deviations allowed: a sound set fails one check in about 16,000."""
LEVEL = 6.334e-5
"""Two-sided probability beyond four standard deviations of a normal distribution."""
EXACT_A = 1.0e-6
"""Bound of what must vanish exactly, Å."""
ROUNDING_A = 1.0e-9
"""Displacements that must cancel exactly may be left with this much, Å."""
AXES = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
"""Components xx, yy, zz, yz, xz, xy."""
FULL_SIZE = 600
"""Coordinates up to which the covariance is diagonalised; of larger ones PROBES combinations are looked at."""
PROBES = 48
MOST_NUMBERS = 2_000_000
"""Standardised coordinates kept for the test of their distribution."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Alike:
    """Samples with the same atoms, temperature and amplitude: one law.

    Attributes
    ----------
    reference
        The crystal, or its phonons, with the atoms of these samples.
    moments
        The law they claim.
    displacements_A
        About the law's mean, shape (samples, 3n).
    streams
        Samples of the same number share a random stream (antithetic pairs).
    positions_A, cell_A
        Equilibrium positions and lattice of these samples.
    """

    reference: Phonons | Crystal
    moments: Moments
    displacements_A: FloatArray
    streams: IntArray
    positions_A: FloatArray
    cell_A: FloatArray

    @property
    def variances_A2(self) -> FloatArray:
        """Claimed ⟨u²⟩ of every coordinate, Å²."""
        claimed = self.moments.covariance_A2
        return claimed if claimed.ndim == 1 else np.diag(claimed)

    @property
    def sharing(self) -> FloatArray:
        """Number of samples of every stream."""
        return np.unique(self.streams, return_counts=True)[1].astype(np.float64)


@dataclass
class AtomTally:
    """⟨u_α u_β⟩ of every atom against the law.

    Samples are standardised by the law of their own occupation, r = u_α u_β/√(C_αα C_ββ), so that sites with
    changing atoms can be averaged.  Variances: ν⟨r⟩ obeys χ² of ν = (Σw)²/Σw² degrees of freedom, w the samples per
    stream.  Off-diagonal elements: mean ρ and cumulants 1 + ρ², 2ρ(3 + ρ²), 6(1 + 6ρ² + ρ⁴), with the bounds of
    Cornish and Fisher.
    """

    samples: float = 0.0
    squares: float = 0.0
    ratio: Any = 0.0
    correlation: Any = 0.0
    expected: Any = 0.0
    still: float = 0.0

    def add(self, alike: Alike) -> None:
        """Take the samples of one law into account."""
        n, size = alike.displacements_A.shape
        u = alike.displacements_A.reshape(n, size // 3, 3)
        claimed = alike.moments.covariance_A2
        blocks = np.zeros((size // 3, 3, 3))
        if claimed.ndim == 1:
            blocks[:, range(3), range(3)] = claimed.reshape(-1, 3)
        else:
            blocks = np.einsum("iaib->iab", claimed.reshape(size // 3, 3, size // 3, 3)).copy()
        first, second = np.array(AXES).T
        spread = np.sqrt(np.einsum("iaa->ia", blocks))
        scale = spread[:, first] * spread[:, second]
        moving = scale > 0
        found = np.einsum("sik,sik->ik", u[:, :, first], u[:, :, second])
        self.still = max(self.still, float(np.abs(found[~moving]).max(initial=0.0)))
        safe = np.where(moving, scale, 1.0)
        self.ratio = self.ratio + np.where(moving, found / safe, n * (first == second))
        self.correlation = self.correlation + n * np.where(moving, blocks[:, first, second] / safe, first == second)
        self.expected = self.expected + n * blocks[:, first, second]
        self.samples += n
        self.squares += float((alike.sharing**2).sum())

    def bounds(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return (found, lower, upper) in units of √(C_αα C_ββ), each of shape (n, 6)."""
        from scipy.stats import chi2, norm

        found, mean = self.ratio / self.samples, self.correlation / self.samples
        freedom = self.samples**2 / self.squares
        variances, others = LEVEL / (6 * len(found)), LEVEL / (6 * len(found))
        lower, upper = np.empty_like(found), np.empty_like(found)
        lower[:, :3] = chi2.ppf(variances, freedom) / freedom
        upper[:, :3] = chi2.isf(variances, freedom) / freedom
        rho = np.clip(mean[:, 3:], -1.0, 1.0)
        second = 1 + rho**2
        skewness = 2 * np.abs(rho) * (3 + rho**2) / second**1.5 / np.sqrt(freedom)
        kurtosis = 6 * (1 + 6 * rho**2 + rho**4) / second**2 / freedom
        width = widened(float(norm.isf(others)), skewness, kurtosis) * np.sqrt(second / freedom)
        lower[:, 3:], upper[:, 3:] = rho - width, rho + width
        return found, lower, upper

    def table(self) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Return found, expected, lower and upper bound of ⟨u_α u_β⟩ per atom, Å², each of shape (n, 6)."""
        found, lower, upper = self.bounds()
        expected = self.expected / self.samples
        first, second = np.array(AXES).T
        scale = np.sqrt(expected[:, first] * expected[:, second])
        return found * scale, expected, lower * scale, upper * scale

    def checks(self) -> tuple[Check, ...]:
        """Return one check of all variances and one of all off-diagonal elements."""
        found, lower, upper = self.bounds()
        mean = self.correlation / self.samples
        share = np.where(found > mean, (found - mean) / (upper - mean), (mean - found) / (mean - lower))
        return tuple(
            _family(name, float(np.abs(part).max()) if self.still <= ROUNDING_A**2 else np.inf)
            for name, part in (
                ("variances per atom and axis", share[:, :3]),
                ("covariances of the axes of each atom", share[:, 3:]),
            )
        )


def _family(name: str, largest: float) -> Check:
    return _at_most(f"{name}, largest deviation", largest, 1.0, "of its bound")


def _at_most(name: str, found: float, bound: float, unit: str = "") -> Check:
    passed = bool(found <= bound)
    return Check(name=name, found=found, expected=0.0, tolerance=bound, passed=passed, unit=unit, kind="at most")


def widened(deviates: float, skewness: Any, kurtosis: Any) -> Any:
    """Return the quantile of Cornish and Fisher on the worse side, in standard deviations."""
    return deviates + (deviates**2 - 1) / 6 * skewness + (deviates**3 - 3 * deviates) / 24 * kurtosis


@dataclass
class MeanTally:
    """⟨u⟩ = 0 for every coordinate, u + u' = 0 for antithetic partners, and no rigid shift where the law has none."""

    samples: int = 0
    standardised: Any = 0.0
    unbalanced_A: float = 0.0
    pairs: int = 0
    shift_A: float = 0.0
    shifting: bool = False

    def add(self, alike: Alike, stride: int) -> None:
        """Take the samples of one law into account."""
        u, spread = alike.displacements_A, np.sqrt(alike.variances_A2)
        _, place, count = np.unique(alike.streams, return_inverse=True, return_counts=True)
        together = np.zeros((len(count), u.shape[1]))
        np.add.at(together, place, u)
        paired = count == stride if stride > 1 else np.zeros(len(count), dtype=bool)
        self.pairs += int(paired.sum())
        self.unbalanced_A = max(self.unbalanced_A, float(np.abs(together[paired]).max(initial=0.0)))
        alone = together[~paired] / np.where(spread > 0, spread, 1.0)
        self.samples += len(alone)
        self.standardised = self.standardised + alone.sum(axis=0)
        masses = supercell_of(alike.reference).masses_amu
        shift = np.einsum("sia,i->sa", u.reshape(len(u), -1, 3), masses) / masses.sum()
        self.shift_A = max(self.shift_A, float(np.abs(shift).max()))
        self.shifting = self.shifting or _moves_rigidly(alike.moments.covariance_A2, masses)

    def checks(self) -> tuple[Check, ...]:
        """Return the checks that apply."""
        from scipy.stats import norm

        made = []
        if self.samples:
            z = np.abs(self.standardised) / np.sqrt(self.samples)
            made.append(_family("mean displacements", float(z.max() / norm.isf(LEVEL / (2 * len(z))))))
        if self.pairs:
            made.append(_at_most("sum of antithetic partners, largest", self.unbalanced_A, EXACT_A, "Å"))
        if not self.shifting:
            made.append(_at_most("rigid shift, largest", self.shift_A, EXACT_A, "Å"))
        return tuple(made)


def _moves_rigidly(covariance_A2: FloatArray, masses_amu: FloatArray) -> bool:
    if covariance_A2.ndim == 1:
        return bool((covariance_A2 > 0).any())
    weights = np.kron((masses_amu / masses_amu.sum())[:, None], np.eye(3))
    return float(np.einsum("ia,ij,ja->", weights, covariance_A2, weights, optimize=True)) > ROUNDING_A**2


@dataclass
class ShapeTally:
    """The distribution of independent combinations of coordinates: normal, uniform, or signs.

    Gaussian laws: y = e_k·u/√λ_k with the eigenvectors of C (of large cells: 48 fixed combinations, made independent
    under C) are standard normal, tested by Kolmogorov and Smirnov and by their mean square.  Signs: every |Q_s|
    equals σ_s.
    """

    values: list[FloatArray] = field(default_factory=list)
    kept: int = 0
    law: str = ""
    largest: float = 0.0

    def add(self, alike: Alike) -> None:
        """Take one sample of every stream of one law into account."""
        moments = alike.moments
        _, first = np.unique(alike.streams, return_index=True)
        u = alike.displacements_A[np.sort(first)]
        if moments.excess_kurtosis == SIGN_KURTOSIS and moments.independent_A is not None:
            self._add_signs(u, moments.independent_A)
            return
        uniform = moments.excess_kurtosis == UNIFORM_KURTOSIS and moments.covariance_A2.ndim == 1
        if self.kept >= MOST_NUMBERS or not (uniform or moments.excess_kurtosis == 0.0):
            return
        self.law = "uniform" if uniform else "normal"
        made = standardised(u, moments).ravel()[: MOST_NUMBERS - self.kept]
        self.values.append(made / np.sqrt(3.0) if uniform else made)
        self.kept += len(made)

    def _add_signs(self, u: FloatArray, amplitudes_A: FloatArray) -> None:
        moving = np.linalg.norm(amplitudes_A, axis=0) > 0
        if not moving.any():
            return
        self.law = "signs"
        x = u @ np.linalg.pinv(amplitudes_A[:, moving]).T
        self.largest = max(self.largest, float(np.abs(np.abs(x) - 1.0).max()))

    def checks(self) -> tuple[Check, ...]:
        """Return one check, or none where nothing moves or the law is of another kind."""
        from scipy.stats import kstest, kstwobign

        if self.law == "signs":
            name = "amplitudes of the modes, |Q|/σ − 1, largest"
            return (_at_most(name, self.largest, 1.0e-6),)
        if not self.kept:
            return ()
        y = np.concatenate(self.values)
        distance = float(
            kstest(y, "norm" if self.law == "normal" else lambda x: np.clip(0.5 + 0.5 * x, 0, 1)).statistic
        )
        bound = float(kstwobign.isf(LEVEL) / np.sqrt(len(y)))
        name = f"Kolmogorov–Smirnov distance to {self.law} coordinates"
        return (
            _mean_square(y if self.law == "normal" else y * np.sqrt(3.0), self.law),
            _at_most(name, distance, bound),
        )


def _mean_square(standard: FloatArray, law: str) -> Check:
    """Return the test of ⟨y²⟩ = 1: the sum over all coordinates sees what each of them is too noisy to show."""
    count = len(standard)
    excess = UNIFORM_KURTOSIS if law == "uniform" else 0.0
    width = widened(DEVIATES, np.sqrt(8.0 / count), 12.0 / count)
    found, tolerance = float((standard**2).mean()), float(width * np.sqrt((2.0 + excess) / count))
    return Check(
        name="mean square of the standardised coordinates",
        found=found,
        expected=1.0,
        tolerance=tolerance,
        passed=abs(found - 1.0) <= tolerance,
    )


def standardised(displacements_A: FloatArray, moments: Moments) -> FloatArray:
    """Return uncorrelated combinations of unit variance, shape (samples, as many as the law has)."""
    claimed = moments.covariance_A2
    if claimed.ndim == 1:
        moving = claimed > 0
        return np.asarray(displacements_A[:, moving] / np.sqrt(claimed[moving]))
    if len(claimed) > FULL_SIZE:
        probes = stream(0, "certificate", "probes").standard_normal((len(claimed), PROBES))
        root = np.linalg.cholesky(probes.T @ claimed @ probes)
        return np.asarray(np.linalg.solve(root, probes.T @ displacements_A.T).T)
    values, vectors = np.linalg.eigh(claimed)
    moving = values > 1.0e-9 * max(float(values[-1]), 1.0e-300)
    return np.asarray(displacements_A @ vectors[:, moving] / np.sqrt(values[moving]))
