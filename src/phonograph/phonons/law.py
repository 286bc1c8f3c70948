"""The Gaussian law that a round of the renormalisation samples, with its amplitude guard.

Each mode has the thermal variance of |ν|, unless that would give an atom more than the guard's rms amplitude: then its
frequency is raised until σ(ν)·max_i |e_i|/√m_i equals the guard.  Raising frequencies, rather than cutting amplitudes,
keeps every law the exact thermal law of some positive definite harmonic crystal, so that free energies are upper bounds
also where the guard acts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from phonograph.lattice import Modes, displacement_root, mode_variance, normal_modes
from phonograph.types import FloatArray
from phonograph.units import THZ_PER_SQRT_EV_PER_A2_AMU

LOWEST_THZ = 1.0e-6
"""Frequencies are raised to this before their variance is computed; the guard acts far above it."""

BISECTIONS = 100


@dataclass(frozen=True, kw_only=True, eq=False)
class Law:
    """A Gaussian law of displacements.

    Attributes
    ----------
    modes
        Normal modes of the force constants; imaginary frequencies are negative.
    frequencies_THz
        Positive frequencies of the law, shape (3n − 3,): |ν|, or what the guard raised it to.
    variance_amu_A2
        ⟨Q²⟩ of each mode under the law, amu Å².
    guarded_share
        Share of the displacement variance that the guard removed.
    """

    modes: Modes
    frequencies_THz: FloatArray
    variance_amu_A2: FloatArray
    guarded_share: float

    def draw(self, normals: FloatArray) -> FloatArray:
        """Turn standard normal numbers, shape (m, 3n), into displacements, Å, shape (m, n, 3)."""
        root = displacement_root(self.modes, self.variance_amu_A2)
        return (normals @ root.T).reshape(len(normals), -1, 3)

    def coordinates(self, displacements_A: FloatArray) -> FloatArray:
        """Return mode coordinates Q = eᵀ M^(1/2) u, √amu Å, shape (m, 3n − 3)."""
        root = np.sqrt(np.repeat(self.modes.masses_amu, 3))
        return (displacements_A.reshape(len(displacements_A), -1) * root) @ self.modes.vectors

    def log_density(self, displacements_A: FloatArray) -> FloatArray:
        """Return log ρ(u) up to a constant that all laws of one crystal share, shape (m,)."""
        q = self.coordinates(displacements_A)
        return -0.5 * (q**2 / self.variance_amu_A2).sum(axis=1) - 0.5 * float(np.log(self.variance_amu_A2).sum())

    def harmonic_energy(self, displacements_A: FloatArray) -> FloatArray:
        """Return ½ Σ ω² Q² of each sample under the law's own frequencies, eV, shape (m,)."""
        stiffness = (self.frequencies_THz / THZ_PER_SQRT_EV_PER_A2_AMU) ** 2
        return 0.5 * (self.coordinates(displacements_A) ** 2 * stiffness).sum(axis=1)


def thermal_law(
    values_eV_per_A2: FloatArray, masses_amu: FloatArray, temperature_K: float, statistics: str, guard_A: float
) -> Law:
    """Return the law of given force constants at a temperature.

    Parameters
    ----------
    values_eV_per_A2
        Full force constants, eV/Å², shape (n, n, 3, 3).
    masses_amu
        Shape (n,).
    temperature_K, statistics
        Of the thermal variance.
    guard_A
        Largest rms displacement that one mode may give an atom, Å.
    """
    modes = normal_modes(values_eV_per_A2, masses_amu)
    asked = np.maximum(np.abs(modes.frequencies_THz), LOWEST_THZ)
    frequencies = _guarded(asked, (guard_A / modes.largest_share) ** 2, temperature_K, statistics)
    variance = mode_variance(frequencies, temperature_K, statistics)
    per_variance = (modes.vectors.reshape(len(masses_amu), 3, -1) ** 2 / masses_amu[:, None, None]).sum(axis=(0, 1))
    before = float(mode_variance(asked, temperature_K, statistics) @ per_variance)
    after = float(variance @ per_variance)
    return Law(
        modes=modes,
        frequencies_THz=frequencies,
        variance_amu_A2=variance,
        guarded_share=1.0 - after / before if before > 0 else 0.0,
    )


def _guarded(
    frequencies_THz: FloatArray, limit_amu_A2: FloatArray, temperature_K: float, statistics: str
) -> FloatArray:
    """Raise frequencies until no variance exceeds its limit; the variance falls steadily with the frequency."""
    over = mode_variance(frequencies_THz, temperature_K, statistics) > limit_amu_A2
    low, high = np.log(frequencies_THz), np.log(np.maximum(frequencies_THz, 1.0) * 1.0e4)
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        too_wide = mode_variance(np.exp(middle), temperature_K, statistics) > limit_amu_A2
        low, high = np.where(too_wide, middle, low), np.where(too_wide, high, middle)
    return np.where(over, np.exp(high), frequencies_THz)
