"""The published phonon-informed law, Eq. 3, exactly as printed, with each ambiguity as a named option.

Benítez et al., *Why Physics Still Matters* (2026).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from phonograph.options import option
from phonograph.sampling.harmonic_sampler import HarmonicSampler
from phonograph.sampling.laws import (
    UNIFORM_KURTOSIS,
    Moments,
    normal_draws,
    pack,
    require_phonons,
    uniform_draws,
)
from phonograph.sampling.soft_modes import ModeLaw
from phonograph.types import Configurations, Crystal, FloatArray, ForceConstants, Phonons
from phonograph.units import THZ_PER_SQRT_EV_PER_A2_AMU


@dataclass(frozen=True, kw_only=True)
class PaperEq3Sampler(HarmonicSampler):
    """Eq. 3 read literally: u_{jα} = ε ζ_{jα}, an independent draw ε for every atom j and axis α.

    ζ²_{jα} = (ħ/2N m_j) Σ_{q,ν} (1 + 2n_ν(q)) |e_{jα}(q,ν)|² / ω_ν(q), with n the Bose–Einstein occupation
    (classical: 1 + 2n → 2kT/ħω).

    With N = number of replicated cells = number of wave vectors q in the sum, ζ² is the diagonal C_{jα,jα} of the
    displacement covariance, whichever cell is replicated: all q of the cell fold to Γ of the supercell, the
    supercell's eigenvectors carry the 1/N, and the double sum becomes a sum over the supercell's modes.  That is
    ``count="cells"``.  The paper prints "N is the total number of atoms in the unit cell"; ``count="atoms"`` puts
    that number, with the cell that ``ForceConstants.unitcell`` replicates, and so multiplies ζ² by
    (cells in the supercell)/(atoms in the unit cell): 8/5 for a 2×2×2 supercell of a 5-atom cell.

    This is not mode sampling: correlations between atoms are lost, rigid translations are excited, and ε from
    U[−1, 1] has variance 1/3.  It is kept to reproduce the paper; the set's warnings state the energy it costs.
    """

    kind: ClassVar[str] = "paper-eq3"

    epsilon: str = option(
        "uniform", "Law of ε: uniform U[−1, 1] (the paper) or standard normal.", choices=("uniform", "normal")
    )
    count: str = option(
        "cells",
        "What N counts: cells of the supercell (gives the right variance) or atoms of the unit cell (as printed).",
        choices=("cells", "atoms"),
    )

    def sample_at(self, reference: Phonons | Crystal, indices: Sequence[int], seed: int) -> Configurations:
        """Return the samples with these indices."""
        phonons = require_phonons(reference, self.kind)
        law = self.law(phonons)
        zeta = np.sqrt(self._zeta_squared(phonons.force_constants, law))
        draw = uniform_draws if self.epsilon == "uniform" else normal_draws
        return pack(
            self,
            reference,
            indices,
            draw(seed, self.kind, indices, len(zeta)) * zeta,
            seed,
            temperature_K=self.temperature_K,
            warnings=(*law.warnings, *self._notes(phonons.force_constants, law, zeta)),
            touched_share=law.touched_share,
        )

    def moments(self, reference: Phonons | Crystal) -> Moments:
        """Return the independent variances ⟨ε²⟩ ζ², Å²."""
        phonons = require_phonons(reference, self.kind)
        zeta_squared = self._zeta_squared(phonons.force_constants, self.law(phonons))
        uniform = self.epsilon == "uniform"
        return Moments(
            covariance_A2=zeta_squared * self._epsilon_variance,
            excess_kurtosis=UNIFORM_KURTOSIS if uniform else 0.0,
        )

    @property
    def _epsilon_variance(self) -> float:
        return 1.0 / 3.0 if self.epsilon == "uniform" else 1.0

    def _zeta_squared(self, constants: ForceConstants, law: ModeLaw) -> FloatArray:
        masses = np.repeat(law.modes.masses_amu, 3)
        diagonal = (law.modes.vectors**2) @ law.variance_amu_A2 / masses
        return diagonal * (_cells(constants) / len(constants.unitcell) if self.count == "atoms" else 1.0)

    def _notes(self, constants: ForceConstants, law: ModeLaw, zeta: FloatArray) -> tuple[str, ...]:
        notes = []
        right = 0.5 * float(_angular_square(law) @ law.variance_amu_A2)
        diagonal = np.einsum("iiaa->ia", constants.values_eV_per_A2).ravel()
        literal = 0.5 * float(diagonal @ zeta**2) * self._epsilon_variance
        if right > 0:
            notes.append(
                "Eq. 3 draws every atom and axis independently: the mean harmonic energy of the set is "
                f"{literal / right:.2f} times that of the correlated thermal law"
            )
        if self.count == "atoms":
            notes.append(
                f"N counts atoms of the unit cell ({len(constants.unitcell)}) instead of cells ({_cells(constants)}): "
                f"every variance is multiplied by {_cells(constants) / len(constants.unitcell):.3g}"
            )
        return tuple(notes)


def _cells(constants: ForceConstants) -> int:
    return round(abs(np.linalg.det(constants.supercell_matrix)))


def _angular_square(law: ModeLaw) -> FloatArray:
    """Return λ = ω², signed, eV Å⁻² amu⁻¹."""
    frequencies = law.modes.frequencies_THz
    return np.sign(frequencies) * (frequencies / THZ_PER_SQRT_EV_PER_A2_AMU) ** 2
