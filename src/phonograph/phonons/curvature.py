"""Curvature of the free energy at the average positions, from the ensemble of the self-consistent loop.

The self-consistent force constants Φ define the Gaussian law, but they are not the second derivative of its free energy
F with respect to the average positions.  A shift of the average positions by x changes them by Φ³ x, hence the spread
of the atoms, hence the force:

    (∂²F)_ab = ω_a² δ_ab + ½ Σ_cd D_acd D_bcd g[ω_c², ω_d²],      D_abc = ⟨∂³V⟩ in normal modes,

with g(ω²) = ⟨Q²⟩, the thermal variance of a mode, and g[x, y] = (g(x) − g(y))/(x − y), its slope where x = y.  The
second term is the static *bubble*; it lowers frequencies.  Classically g[x, y] = −kT/(x y); in general it is
−ħ/(2 ω_c ω_d) · [(n_c + n_d + 1)/(ω_c + ω_d) − (n_c − n_d)/(ω_c − ω_d)].  What the fourth order adds to the bubble is
left out, as usual.

A mode of this curvature that reaches zero is where the crystal distorts, in a transition of second order.  In a
classical crystal it is kT ⟨u uᵀ⟩⁻¹ to leading order, which a regression of forces measures.

Source: Bianco, Errea, Paulatto, Calandra, Mauri, Phys. Rev. B 96, 014111 (2017), doi:10.1103/PhysRevB.96.014111.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from phonograph.lattice import Modes, mode_variance, normal_modes
from phonograph.phonons.fit import SymmetricFit, blocks_of_pairs, jackknife_error
from phonograph.phonons.settings import Renormalisation
from phonograph.phonons.third_order import MAX_ATOMS, MAX_PARAMETERS, ThirdOrderFit, too_many_parameters
from phonograph.types import Crystal, FloatArray
from phonograph.units import THZ_PER_SQRT_EV_PER_A2_AMU

LEAST_DISTANCE = 1.0e-4
"""Squared frequencies nearer than twice this share are moved apart by it: rounding stays below 1e-8."""

ZERO_FACTOR = 2.0
"""A lowest frequency within this many error bars of zero is neither stable nor unstable."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Curvature:
    """Result of :meth:`FreeEnergyCurvature.measure`.

    Attributes
    ----------
    values_eV_per_A2
        Φ + bubble, shape (n, n, 3, 3); None where it could not be determined.
    frequencies_THz, errors_THz
        Its commensurate frequencies, imaginary ones negative, and their jackknife errors, shape (3n − 3,), or None.
    warnings
        Sentences about what is missing or unstable.
    """

    values_eV_per_A2: FloatArray | None = None
    frequencies_THz: FloatArray | None = None
    errors_THz: FloatArray | None = None
    warnings: tuple[str, ...] = ()


class FreeEnergyCurvature:
    """Measures the curvature of the free energy on the samples of a self-consistent loop.

    Parameters
    ----------
    supercell
        Crystal at rest.
    settings
        Temperature, statistics, blocks of the jackknife and the cutoff of the third order.

    Raises
    ------
    ConfigurationError
        A cutoff that leaves no force constants.
    """

    def __init__(self, supercell: Crystal, settings: Renormalisation) -> None:
        self.supercell, self.settings = supercell, settings
        cutoff = settings.third_order_cutoff_A
        self._third = None if too_many_parameters(supercell, cutoff) else ThirdOrderFit(supercell, cutoff)

    def measure(
        self, fit: SymmetricFit, displacements_A: FloatArray, forces_eV_per_A: FloatArray, weights: FloatArray
    ) -> Curvature:
        """Return the curvature at the second-order ``fit`` to the samples.

        The bubble is quadratic in the fitted D, whose noise would lower all frequencies: the jackknife takes that bias
        off.

        Parameters
        ----------
        fit
            Second-order fit of the supercell.
        displacements_A, forces_eV_per_A, weights
            Samples 2k and 2k + 1 are a pair ±u; shapes (2p, n, 3), (2p, n, 3) and (2p,).
        """
        blocks = blocks_of_pairs(len(weights), self.settings.blocks)
        missing = self._missing(len(weights) // 2, len(np.unique(blocks)))
        if missing or self._third is None:
            return self._none(missing)
        even = 0.5 * (forces_eV_per_A[::2] + forces_eV_per_A[1::2])
        equations = self._third.equations(displacements_A[::2], even, weights[::2], blocks[::2])
        parts: list[tuple[FloatArray, FloatArray]] = []
        for left_out in (None, *np.unique(blocks)):
            keep = blocks != left_out if left_out is not None else np.ones(len(blocks), dtype=bool)
            values = fit(displacements_A[keep], forces_eV_per_A[keep], weights[keep])
            modes = normal_modes(values, self.supercell.masses_amu)
            if modes.frequencies_THz[0] <= 0:
                return self._none("the lowest self-consistent mode is not positive beyond its error")
            solution = equations.solve(left_out)
            if solution is None:
                return self._none("the samples do not determine its third-order force constants")
            tensor = self._third.tensor(solution)
            parts.append((values, bubble(tensor, modes, self.settings.temperature_K, self.settings.statistics)))
        return self._jackknifed(parts)

    def _missing(self, pairs: int, blocks: int) -> str:
        """Return why the third order cannot be fitted, or an empty text."""
        if self._third is None:
            return (
                f"its third-order force constants are too many (at most {MAX_PARAMETERS} independent ones in at most "
                f"{MAX_ATOMS} atoms); set phonons.renormalisation.third_order_cutoff_A, or a smaller supercell"
            )
        needed = self._third.pairs_needed(blocks)
        if pairs < needed:
            return (
                f"its {self._third.parameters} independent third-order force constants need {needed} pairs in the last "
                f"rounds, and there were {pairs}; raise phonons.renormalisation.pairs_per_round or window, or set "
                "third_order_cutoff_A"
            )
        return ""

    def _none(self, reason: str) -> Curvature:
        temperature = self.settings.temperature_K
        return Curvature(
            warnings=(f"the curvature of the free energy at {temperature:g} K was not determined: {reason}.",)
        )

    def _jackknifed(self, parts: list[tuple[FloatArray, FloatArray]]) -> Curvature:
        """Return the curvature of all samples, ``parts[0]``, with bias and errors from the parts that lack a block."""
        masses, count = self.supercell.masses_amu, len(parts) - 1
        values, found = parts[0]
        unbiased = count * found - (count - 1) * np.mean([part[1] for part in parts[1:]], axis=0)
        frequencies = normal_modes(values + unbiased, masses).frequencies_THz
        replicas = np.array([normal_modes(part[0] + part[1], masses).frequencies_THz for part in parts[1:]])
        errors = jackknife_error(replicas)
        return Curvature(
            values_eV_per_A2=values + unbiased,
            frequencies_THz=frequencies,
            errors_THz=errors,
            warnings=self._instability(frequencies, errors),
        )

    def _instability(self, frequencies_THz: FloatArray, errors_THz: FloatArray) -> tuple[str, ...]:
        lowest, error = float(frequencies_THz[0]), float(errors_THz[0])
        if lowest > ZERO_FACTOR * error:
            return ()
        verdict = (
            "the crystal lowers its free energy by distorting along it"
            if lowest < -ZERO_FACTOR * error
            else "whether the crystal is stable against it is undecided"
        )
        return (
            f"the curvature of the free energy at {self.settings.temperature_K:g} K has its lowest mode at "
            f"{lowest:.2f} ± {error:.2f} THz (negative: imaginary): {verdict}.",
        )


def variance_slope(frequencies_THz: FloatArray, temperature_K: float, statistics: str) -> FloatArray:
    """Return g[ω_c², ω_d²], the divided difference of ⟨Q²⟩, amu² Å⁴/eV, shape (m, m); negative.

    Parameters
    ----------
    frequencies_THz
        Positive, shape (m,).
    temperature_K, statistics
        Of the thermal variance.
    """
    stiffness = (frequencies_THz / THZ_PER_SQRT_EV_PER_A2_AMU) ** 2
    middle = 0.5 * (stiffness[:, None] + stiffness[None, :])
    half = np.maximum(0.5 * np.abs(stiffness[:, None] - stiffness[None, :]), LEAST_DISTANCE * middle)
    upper, lower = (
        mode_variance(np.sqrt(middle + sign * half) * THZ_PER_SQRT_EV_PER_A2_AMU, temperature_K, statistics)
        for sign in (1, -1)
    )
    return (upper - lower) / (2.0 * half)


def third_order_of_modes(tensor_eV_per_A3: FloatArray, modes: Modes) -> FloatArray:
    """Return D_abc = Σ Φ³ e_a e_b e_c / √(m m m), eV Å⁻³ amu^(−3/2), shape (m, m, m)."""
    vectors = modes.vectors / np.sqrt(np.repeat(modes.masses_amu, 3))[:, None]
    found = tensor_eV_per_A3
    for _ in range(3):
        # Contracts the first axis and puts the mode last: after three turns the order is back.
        found = np.tensordot(found, vectors, axes=(0, 0))
    return found


def bubble(tensor_eV_per_A3: FloatArray, modes: Modes, temperature_K: float, statistics: str) -> FloatArray:
    """Return what the third order adds to the curvature, eV/Å², shape (n, n, 3, 3).

    Parameters
    ----------
    tensor_eV_per_A3
        ⟨∂³V⟩, shape (3n, 3n, 3n).
    modes
        Self-consistent modes, all of positive frequency.
    temperature_K, statistics
        Of the thermal variance.
    """
    third = third_order_of_modes(tensor_eV_per_A3, modes)
    slope = variance_slope(modes.frequencies_THz, temperature_K, statistics)
    found = 0.5 * (third * slope).reshape(len(slope), -1) @ third.reshape(len(slope), -1).T
    size = len(modes.masses_amu)
    weighted = modes.vectors * np.sqrt(np.repeat(modes.masses_amu, 3))[:, None]
    return np.ascontiguousarray((weighted @ found @ weighted.T).reshape(size, 3, size, 3).transpose(0, 2, 1, 3))
