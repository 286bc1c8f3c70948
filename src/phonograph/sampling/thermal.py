"""The right phonon-informed sampler: correlated Gaussian displacements of all modes of the supercell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from phonograph.lattice import covariance
from phonograph.options import option
from phonograph.sampling.harmonic_sampler import HarmonicSampler, ModeSampler, pair_notes
from phonograph.sampling.laws import Moments, correlated_draws, pack
from phonograph.types import Configurations, Crystal, Phonons


@dataclass(frozen=True, kw_only=True)
class GaussianSampler(ModeSampler):
    """Correlated Gaussian displacements, u = S z with S the symmetric root of the covariance."""

    antithetic: bool = option(
        False, "Make samples in pairs +u, −u, which cancel every odd order in u; both share a split group."
    )

    @property
    def stride(self) -> int:
        """2 for antithetic pairs, else 1."""
        return 2 if self.antithetic else 1

    def sample_at(self, reference: Phonons | Crystal, indices: Sequence[int], seed: int) -> Configurations:
        """Return the samples with these indices."""
        law = self.law(reference)
        return pack(
            self,
            reference,
            indices,
            correlated_draws(law.modes, law.variance_amu_A2, seed, self.kind, indices, paired=self.antithetic),
            seed,
            temperature_K=self.temperature_K,
            warnings=law.warnings + pair_notes(indices, self.stride),
            touched_share=law.touched_share,
        )

    def moments(self, reference: Phonons | Crystal) -> Moments:
        """Return the displacement covariance C = M^(−1/2) e σ² eᵀ M^(−1/2), Å²."""
        law = self.law(reference)
        return Moments(covariance_A2=covariance(law.modes, law.variance_amu_A2))


@dataclass(frozen=True, kw_only=True)
class ThermalSampler(GaussianSampler, HarmonicSampler):
    """Displacements of a crystal at temperature T: u = M^(−1/2) Σ_s e_s Q_s over all modes of the supercell.

    Q_s is normal with ⟨Q²⟩ = (ħ/2ω) coth(ħω/2kT) (quantum; ħ/2ω at T = 0) or kT/ω² (classical).  All
    commensurate wave vectors fold to Γ of the supercell, so every phonon the cell can hold is included; the
    three translations are projected out.  With M ``masses_amu``, e eigenvectors, ω = 2πν:
    u = S z, S = M^(−1/2) e σ eᵀ, z standard normal.  The symmetric square root S does not depend on the
    eigensolver's choice within degenerate levels.

    The policies ``freeze``, ``absolute`` and ``floor`` and ``guard="limit"`` change the law; each tells the share of
    the displacement variance it touched in the set's warnings.  ``renormalise`` takes phonons of ``temperature_K``.

    Raises
    ------
    PhysicsError
        For imaginary modes or too large amplitudes under the default policies, and without force constants.

    References
    ----------
    Maradudin et al., Theory of Lattice Dynamics in the Harmonic Approximation (1971); West & Estreicher,
    Phys. Rev. Lett. 96, 115504 (2006), https://doi.org/10.1103/PhysRevLett.96.115504.
    """

    kind: ClassVar[str] = "thermal"
