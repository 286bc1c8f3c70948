"""Normal modes of a supercell and the Gaussian law of their displacements: maths only, shared by rooms 1 and 2.

All commensurate wave vectors of the primitive lattice fold to Γ of the supercell, so the real symmetric
dynamical matrix of the supercell holds every mode that the cell can show, for any supercell matrix.

Symbols: Φ ``values_eV_per_A2``, M ``masses_amu``, e ``vectors``, ν ``frequencies_THz``, σ² ``mode_variance``.
Source: Born & Huang, Dynamical Theory of Crystal Lattices (1954), chapter IV; Maradudin et al., Theory of
Lattice Dynamics in the Harmonic Approximation (1971).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from phonograph import units
from phonograph.errors import PhysicsError
from phonograph.types import FloatArray

STATISTICS = ("quantum", "classical")


@dataclass(frozen=True, kw_only=True, eq=False)
class Modes:
    """The 3n − 3 vibrations of a supercell; the three rigid translations are projected out.

    Attributes
    ----------
    frequencies_THz
        Ascending, shape (3n − 3,); negative values stand for imaginary frequencies.
    vectors
        Orthonormal mass-weighted eigenvectors as columns, shape (3n, 3n − 3).
    masses_amu
        Shape (n,).
    """

    frequencies_THz: FloatArray
    vectors: FloatArray
    masses_amu: FloatArray

    @property
    def largest_share(self) -> FloatArray:
        """Per mode: largest |e_i|/√m_i over atoms, 1/√amu; times σ it is the largest rms displacement of an atom."""
        per_atom = (self.vectors.reshape(len(self.masses_amu), 3, -1) ** 2).sum(axis=1)
        return np.sqrt((per_atom / self.masses_amu[:, None]).max(axis=0))


def dynamical_matrix(values_eV_per_A2: FloatArray, masses_amu: FloatArray) -> FloatArray:
    """Return D = M^(−1/2) Φ M^(−1/2), symmetrised, eV Å⁻² amu⁻¹, shape (3n, 3n)."""
    size = len(masses_amu)
    flat = values_eV_per_A2.transpose(0, 2, 1, 3).reshape(3 * size, 3 * size)
    root = np.sqrt(np.repeat(masses_amu, 3))
    matrix = flat / np.outer(root, root)
    return 0.5 * (matrix + matrix.T)


def normal_modes(values_eV_per_A2: FloatArray, masses_amu: FloatArray) -> Modes:
    """Diagonalise the supercell's dynamical matrix in the space orthogonal to rigid translations.

    Translations are removed by projection; dropping the three lowest eigenvalues would delete imaginary modes.

    Parameters
    ----------
    values_eV_per_A2
        Full force constants, eV/Å², shape (n, n, 3, 3).
    masses_amu
        Shape (n,).
    """
    size = len(masses_amu)
    basis = _without_translations(masses_amu)
    matrix = basis.T @ dynamical_matrix(values_eV_per_A2, masses_amu) @ basis
    eigenvalues, inner = np.linalg.eigh(matrix)
    frequencies = np.sign(eigenvalues) * np.sqrt(np.abs(eigenvalues)) * units.THZ_PER_SQRT_EV_PER_A2_AMU
    return Modes(frequencies_THz=frequencies, vectors=(basis @ inner).reshape(3 * size, -1), masses_amu=masses_amu)


def _without_translations(masses_amu: FloatArray) -> FloatArray:
    """Return an orthonormal basis of the mass-weighted vectors orthogonal to the translations, (3n, 3n − 3)."""
    root = np.sqrt(masses_amu / masses_amu.sum())
    translations = np.kron(root[:, None], np.eye(3))
    orthogonal, _ = np.linalg.qr(np.hstack([translations, np.eye(3 * len(root))[:, : 3 * len(root) - 3]]))
    # QR can lose rank if a unit vector is (nearly) a translation: one atom has none left, which is exact here.
    return np.ascontiguousarray(orthogonal[:, 3:])


def mode_variance(frequencies_THz: FloatArray, temperature_K: float, statistics: str) -> FloatArray:
    """Return ⟨Q²⟩ of each mode, amu Å².

    Quantum: (ħ/2ω) coth(ħω/2kT), which is ħ/2ω at T = 0; classical: kT/ω².

    Parameters
    ----------
    frequencies_THz
        Positive frequencies.
    temperature_K
        At least 0.
    statistics
        ``"quantum"`` or ``"classical"``.
    """
    if statistics not in STATISTICS:
        raise PhysicsError(f"statistics must be 'quantum' or 'classical'; got {statistics!r}")
    if not temperature_K >= 0:
        raise PhysicsError(f"the temperature must be at least 0 K; got {temperature_K!r}")
    if (np.asarray(frequencies_THz) <= 0).any():
        raise PhysicsError("mode variances need positive frequencies; treat soft modes by a policy first")
    omega = 2.0e12 * np.pi * np.asarray(frequencies_THz, dtype=np.float64)
    if statistics == "classical":
        return units.BOLTZMANN_EV_PER_K * temperature_K / omega**2 * units.AMU_A2_PER_EV_S2
    zero_point = units.HBAR_EV_S / (2.0 * omega) * units.AMU_A2_PER_EV_S2
    return zero_point * (1.0 + 2.0 * bose_einstein(frequencies_THz, temperature_K))


def bose_einstein(frequencies_THz: FloatArray, temperature_K: float) -> FloatArray:
    """Return n = 1/(exp(ħω/kT) − 1) per mode; 0 at T = 0.  Uses expm1, exact for small arguments."""
    energy = units.EV_PER_THZ * np.asarray(frequencies_THz, dtype=np.float64)
    if temperature_K == 0:
        return np.zeros_like(energy)
    return 1.0 / np.expm1(np.minimum(energy / (units.BOLTZMANN_EV_PER_K * temperature_K), 700.0))


def displacement_root(modes: Modes, variance_amu_A2: FloatArray) -> FloatArray:
    """Return S, Å, shape (3n, 3n), with u = S z Gaussian of covariance C = S Sᵀ = M^(−1/2) e σ² eᵀ M^(−1/2).

    S = M^(−1/2) e σ eᵀ uses the symmetric square root, so it does not depend on the phases or the mixing of
    degenerate eigenvectors that the eigensolver happened to choose.
    """
    root = np.sqrt(np.repeat(modes.masses_amu, 3))
    return (modes.vectors * np.sqrt(variance_amu_A2)) @ modes.vectors.T / root[:, None]


def covariance(modes: Modes, variance_amu_A2: FloatArray) -> FloatArray:
    """Return the displacement covariance C = M^(−1/2) e σ² eᵀ M^(−1/2), Å², shape (3n, 3n)."""
    root = displacement_root(modes, variance_amu_A2)
    return root @ root.T


def harmonic_energy(values_eV_per_A2: FloatArray, displacements_A: FloatArray) -> FloatArray:
    """Return ½ uᵀ Φ u of each sample, eV; ``displacements_A`` has shape (samples, n, 3)."""
    count, size = displacements_A.shape[:2]
    flat = displacements_A.reshape(count, 3 * size)
    matrix = values_eV_per_A2.transpose(0, 2, 1, 3).reshape(3 * size, 3 * size)
    return 0.5 * np.einsum("si,si->s", flat @ matrix, flat)


def free_energy(frequencies_THz: FloatArray, temperature_K: float, statistics: str) -> float:
    """Return the harmonic free energy of the modes, eV (per supercell).

    Quantum: Σ ħω/2 + kT ln(1 − e^(−ħω/kT)); classical: Σ kT ln(ħω/kT).
    """
    energy = units.EV_PER_THZ * np.asarray(frequencies_THz, dtype=np.float64)
    thermal = units.BOLTZMANN_EV_PER_K * temperature_K
    if statistics == "classical":
        return float((thermal * np.log(energy / thermal)).sum()) if temperature_K > 0 else 0.0
    if temperature_K == 0:
        return float(0.5 * energy.sum())
    return float((0.5 * energy + thermal * np.log(-np.expm1(-energy / thermal))).sum())
