"""The right phonon-informed sampler: correlated Gaussian displacements of all modes of the supercell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from phonograph.lattice import STATISTICS, covariance, displacement_root
from phonograph.options import check_options, option
from phonograph.sampling.laws import Moments, correlated_draws, indices_up_to, pack, partnerless, require_phonons
from phonograph.sampling.soft_modes import (
    amplitude_guard_option,
    floor_option,
    guard_option,
    mode_law,
    soft_modes_option,
)
from phonograph.types import Configurations, Crystal, Phonons


@dataclass(frozen=True, kw_only=True)
class ThermalSampler:
    """Displacements of a crystal at temperature T: u = M^(−1/2) Σ_s e_s Q_s over all modes of the supercell.

    Q_s is normal with ⟨Q²⟩ = (ħ/2ω) coth(ħω/2kT) (quantum; ħ/2ω at T = 0) or kT/ω² (classical).  All
    commensurate wave vectors fold to Γ of the supercell, so every phonon the cell can hold is included; the
    three translations are projected out.  With M ``masses_amu``, e eigenvectors, ω = 2πν:
    u = S z, S = M^(−1/2) e σ eᵀ, z standard normal.  The symmetric square root S does not depend on the
    eigensolver's choice within degenerate levels.

    The three policies ``freeze``, ``absolute`` and ``floor`` and ``guard="limit"`` change the law; each tells
    the share of the displacement variance it touched in the set's warnings.

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

    temperature_K: float = option(300.0, "Temperature, K.", minimum=0.0, maximum=1.0e5)
    statistics: str = option(
        "quantum", "Statistics of the modes: quantum (with zero-point motion) or classical.", choices=STATISTICS
    )
    antithetic: bool = option(
        False, "Make samples in pairs +u, −u, which cancel every odd order in u; both share a split group."
    )
    soft_modes: str = soft_modes_option()
    floor_THz: float = floor_option()
    amplitude_guard_A: float = amplitude_guard_option()
    guard: str = guard_option()

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def stride(self) -> int:
        """2 for antithetic pairs, else 1."""
        return 2 if self.antithetic else 1

    @property
    def period(self) -> int:
        """1: every sample obeys the same law."""
        return 1

    def sample(self, reference: Phonons | Crystal, n: int, seed: int) -> Configurations:
        """Return samples 0 … n − 1; sample i depends on (seed, i) only."""
        return self.sample_at(reference, indices_up_to(n), seed)

    def sample_at(self, reference: Phonons | Crystal, indices: Sequence[int], seed: int) -> Configurations:
        """Return the samples with these indices."""
        law = mode_law(require_phonons(reference, self.kind), self)
        root = displacement_root(law.modes, law.variance_amu_A2)
        alone = partnerless(indices, self.stride)
        notes = (f"{alone} samples lack the −u partner of their antithetic pair",) if alone else ()
        return pack(
            self,
            reference,
            indices,
            correlated_draws(root, seed, self.kind, indices, paired=self.antithetic),
            seed,
            temperature_K=self.temperature_K,
            warnings=law.warnings + notes,
        )

    def moments(self, reference: Phonons | Crystal) -> Moments:
        """Return the displacement covariance C = M^(−1/2) e σ² eᵀ M^(−1/2), Å²."""
        law = mode_law(require_phonons(reference, self.kind), self)
        return Moments(covariance_A2=covariance(law.modes, law.variance_amu_A2))
