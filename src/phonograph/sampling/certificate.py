"""The certificate of a set: tests of the law that its displacements claim to obey.

The main claims are quadratic forms of the displacements, x = uᵀ Q u: the variance of a species (Q diagonal), the
covariance of nearest neighbours (Q pairs), the harmonic energy (Q = ½Φ).  Under the claimed law with covariance C
its cumulants are known (κ₃ and κ₄ taken from the Gaussian law), so the bound on the mean of n samples needs no
second set:
κ₁ = tr QC, κ₂ = 2 tr(QC)² + excess·Σ Q_ii² C_ii², κ₃ = 8 tr(QC)³, κ₄ = 48 tr(QC)⁴.
Source: Mathai & Provost, Quadratic Forms in Random Variables (1992); Cornish & Fisher, Rev. Inst. Int. Stat. 5,
307 (1938), https://doi.org/10.2307/1400905.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from phonograph.errors import UserError
from phonograph.sampling.bond_spread import BondTally
from phonograph.sampling.composition import substituted
from phonograph.sampling.controls import MatchedRandomSampler
from phonograph.sampling.debye import DebyeSampler
from phonograph.sampling.distances import Bonds, pair_codes, pair_name
from phonograph.sampling.harmonic_sampler import HarmonicSampler
from phonograph.sampling.laws import SIGN_KURTOSIS, ClaimingSampler, Moments, supercell_of
from phonograph.sampling.mode_laws import SignSampler, SobolSampler, ZGSampler
from phonograph.sampling.paper_eq3 import PaperEq3Sampler
from phonograph.sampling.random_laws import PaperCodeSampler, PaperEq2Sampler, UniformSampler
from phonograph.sampling.soft_modes import ThermalOptions
from phonograph.sampling.tallies import DEVIATES, Alike, AtomTally, MeanTally, ShapeTally, widened
from phonograph.sampling.thermal import ThermalSampler
from phonograph.types import Check, Configurations, Crystal, FloatArray, Phonons

CLAIMS: Mapping[str, type[Any]] = {
    law.kind: law
    for law in (
        ThermalSampler,
        SignSampler,
        ZGSampler,
        SobolSampler,
        DebyeSampler,
        PaperEq3Sampler,
        PaperEq2Sampler,
        PaperCodeSampler,
        MatchedRandomSampler,
    )
}
"""Laws whose moments are known."""


@dataclass
class FormTally:
    """Running sums of one quadratic form over the groups of samples that share a covariance."""

    unit: str
    samples: int = 0
    found: float = 0.0
    expected: float = 0.0
    cumulants: FloatArray = field(default_factory=lambda: np.zeros(3))

    def add(self, form: Any, alike: Alike) -> None:
        """Take the samples of one law into account."""
        mean, cumulants = _cumulants(form, alike.moments)
        u, sharing = alike.displacements_A, alike.sharing
        powers = np.array([(sharing**2).sum(), (sharing**3).sum(), (sharing**4).sum()])
        self.samples += len(u)
        self.found += float(np.einsum("si,si->", u @ form, u))
        self.expected += len(u) * mean
        self.cumulants = self.cumulants + powers * cumulants

    def check(self, name: str) -> Check:
        """Return the verdict; skewness and kurtosis widen the bound for small sets (Cornish–Fisher, worse side)."""
        n = self.samples
        second, third, fourth = self.cumulants / np.array([n**2, n**3, n**4], dtype=np.float64)
        spread = float(np.sqrt(max(second, 0.0)))
        width = DEVIATES
        if second > 0:
            width = float(widened(DEVIATES, abs(third) / second**1.5, fourth / second**2))
        found, expected = self.found / n, self.expected / n
        tolerance = width * spread + 1.0e-12 * (1.0 + abs(expected))
        return Check(
            name=name,
            found=found,
            expected=expected,
            tolerance=float(tolerance),
            passed=bool(abs(found - expected) <= tolerance),
            unit=self.unit,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class LawReport:
    """Tested claims about a law, and ⟨u_α u_β⟩ per atom: found, expected, and its bounds, Å², each (n, 6)."""

    checks: tuple[Check, ...]
    covariances_A2: tuple[FloatArray, FloatArray, FloatArray, FloatArray]
    correlated: bool
    moving: bool


def law_report(configurations: Configurations, reference: Phonons | Crystal, bonds: Bonds) -> LawReport | None:
    """Test the set against the law it claims: its sampler's options, and temperature and amplitude of each sample.

    Samples that share a random stream (antithetic pairs) count once.  None for sets of unknown laws.

    Parameters
    ----------
    bonds
        The nearest neighbours of the reference.
    """
    sampler = claimed_sampler(configurations)
    needs_phonons = isinstance(sampler, HarmonicSampler)
    if sampler is None or (needs_phonons and not isinstance(reference, Phonons)):
        return None
    forms: dict[str, FormTally] = {}
    atoms, means, shape, lengths = AtomTally(), MeanTally(), ShapeTally(), BondTally(bonds)
    correlated = moving = False
    for positions in _alike(configurations):
        alike = _samples(configurations, positions, sampler, reference)
        for name, (unit, form) in _forms(alike.reference, bonds).items():
            forms.setdefault(name, FormTally(unit=unit)).add(form, alike)
        for tally in (atoms, shape, lengths):
            tally.add(alike)
        means.add(alike, sampler.stride)
        correlated = correlated or alike.moments.covariance_A2.ndim == 2
        moving = moving or bool((alike.variances_A2 > 0).any())
    linear = tuple(tally.check(name) for name, tally in forms.items())
    checks = (*linear, *atoms.checks(), *lengths.checks(), *means.checks(), *shape.checks())
    return LawReport(checks=checks, covariances_A2=atoms.table(), correlated=correlated, moving=moving)


def claimed_sampler(configurations: Configurations) -> ClaimingSampler | None:
    """Return the sampler named in the set's origin, or None where its law is unknown or incomplete."""
    settings = dict(configurations.origin.settings.get("sampler", {}))
    law = CLAIMS.get(str(settings.pop("kind", "")))
    if law is None:
        return None
    try:
        made: ClaimingSampler = law(**{name: _tuples(value) for name, value in settings.items()})
    except (TypeError, UserError):
        # An origin written by another version: nothing can be claimed, so nothing is tested.
        return None
    return made


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, (list, tuple)) else value


def _alike(configurations: Configurations) -> list[np.typing.NDArray[np.int64]]:
    """Return positions grouped by occupation, temperature and amplitude."""
    size = int(configurations.offsets[1])
    numbers = configurations.numbers.reshape(-1, size)
    members: dict[tuple[bytes, str, str], list[int]] = {}
    for position, row in enumerate(numbers):
        claim = (repr(configurations.temperature_K[position]), repr(configurations.amplitude_A[position]))
        members.setdefault((row.tobytes(), *claim), []).append(position)
    return [np.array(positions, dtype=np.int64) for positions in members.values()]


def _samples(
    configurations: Configurations,
    positions: np.typing.NDArray[np.int64],
    sampler: ClaimingSampler,
    reference: Phonons | Crystal,
) -> Alike:
    size, first = int(configurations.offsets[1]), int(positions[0])
    here = substituted(reference, configurations.numbers.reshape(-1, size)[first])
    moments = _claimed_moments(sampler, here, configurations, first)
    displacements = configurations.displacements_A.reshape(-1, 3 * size)
    equilibrium = configurations.positions_A.reshape(-1, size, 3)[first] - displacements[first].reshape(size, 3)
    return Alike(
        reference=here,
        moments=moments,
        displacements_A=displacements[positions] - moments.mean_A,
        streams=configurations.index[positions] // sampler.stride,
        positions_A=equilibrium,
        cell_A=configurations.cells_A[first],
    )


def _claimed_moments(
    sampler: ClaimingSampler, reference: Phonons | Crystal, configurations: Configurations, position: int
) -> Moments:
    claim: Any = sampler
    if isinstance(sampler, ThermalOptions):
        claim = dataclasses.replace(sampler, temperature_K=float(configurations.temperature_K[position]))
    elif isinstance(sampler, UniformSampler):
        claim = sampler.of_amplitude(float(configurations.amplitude_A[position]))
    moments: Moments = claim.moments(reference)
    return moments


def _forms(reference: Phonons | Crystal, bonds: Bonds) -> dict[str, tuple[str, Any]]:
    """Return name → (unit, symmetric matrix Q) of every claim on this crystal; sparse where that is natural."""
    from scipy import sparse

    crystal = supercell_of(reference)
    size = 3 * len(crystal)
    symbols = np.array(crystal.symbols)
    forms: dict[str, tuple[str, Any]] = {}
    for symbol in dict.fromkeys(crystal.symbols):
        mask = np.repeat(symbols == symbol, 3)
        forms[f"variance of {symbol}"] = ("Å²", sparse.diags_array(mask / mask.sum()).tocsr())
    codes = pair_codes(crystal.numbers[bonds.i], crystal.numbers[bonds.j])
    for code in np.unique(codes):
        i, j = bonds.i[codes == code], bonds.j[codes == code]
        first = (3 * np.concatenate([i, j])[:, None] + np.arange(3)).ravel()
        second = (3 * np.concatenate([j, i])[:, None] + np.arange(3)).ravel()
        weights = np.full(len(first), 1.0 / len(first))
        pairs = sparse.coo_array((weights, (first, second)), shape=(size, size)).tocsr()
        forms[f"covariance of nearest {pair_name(code)}"] = ("Å²", pairs)
    if isinstance(reference, Phonons):
        flat = reference.force_constants.values_eV_per_A2.transpose(0, 2, 1, 3).reshape(size, size)
        forms["harmonic energy"] = ("eV/atom", 0.25 * (flat + flat.T) / len(crystal))
    return forms


def _cumulants(form: Any, moments: Moments) -> tuple[float, FloatArray]:
    """Return κ₁ and (κ₂, κ₃, κ₄) of uᵀ Q u for one sample."""
    if moments.independent_A is not None:
        return _mode_cumulants(moments.independent_A.T @ np.asarray(form @ moments.independent_A), moments)
    covariance = moments.covariance_A2
    diagonal = covariance if covariance.ndim == 1 else np.diag(covariance)
    product = _dense(form * covariance) if covariance.ndim == 1 else np.asarray(form @ covariance)
    square = product @ product
    excess = moments.excess_kurtosis * float(((form.diagonal() * diagonal) ** 2).sum())
    cumulants = np.array(
        [
            2.0 * np.trace(square) + excess,
            8.0 * np.einsum("ij,ji->", square, product),
            48.0 * np.einsum("ij,ji->", square, square),
        ]
    )
    return float(np.trace(product)), cumulants


def _mode_cumulants(form: FloatArray, moments: Moments) -> tuple[float, FloatArray]:
    """Return the same of xᵀ A x, A = Wᵀ Q W, with independent x; x² of a sign does not vary, so A_ss x_s² does not."""
    mean, excess = float(np.trace(form)), moments.excess_kurtosis
    if excess == SIGN_KURTOSIS:
        form, excess = form - np.diag(np.diag(form)), 0.0
    square = form @ form
    cumulants = np.array(
        [
            2.0 * np.trace(square) + excess * float((np.diag(form) ** 2).sum()),
            8.0 * np.einsum("ij,ji->", square, form),
            48.0 * np.einsum("ij,ji->", square, square),
        ]
    )
    return mean, cumulants


def _dense(matrix: Any) -> FloatArray:
    return np.asarray(matrix.toarray() if hasattr(matrix, "toarray") else matrix, dtype=np.float64)
