"""From phonons to the variance of every mode: policies for soft modes, and a guard on amplitudes.

No policy is right for a double well; the remedy is to renormalise the force constants at the sampling
temperature.  A threshold on the frequency protects nothing (a 0.01 THz mode of 108 amu at 300 K spreads over
24 Å/√N), so the guard acts on the displacement of atoms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from phonograph.errors import PhysicsError
from phonograph.lattice import Modes, mode_variance, normal_modes
from phonograph.options import option
from phonograph.types import FloatArray, Phonons

BoolArray = NDArray[np.bool_]

SOFT_MODES = ("raise", "freeze", "absolute", "floor")
GUARDS = ("raise", "limit", "off")
DEGENERATE_THZ = 1.0e-6
"""Neighbouring modes closer than this are one level: the eigensolver may have mixed them in any way."""


def soft_modes_option() -> Any:
    """Option ``soft_modes`` of the harmonic samplers."""
    return option(
        "raise",
        "What to do with imaginary modes: raise an error, freeze them (no displacement), sample them at their "
        "absolute frequency, or at no less than floor_THz.",
        choices=SOFT_MODES,
    )


def floor_option() -> Any:
    """Option ``floor_THz`` of the harmonic samplers."""
    return option(
        0.6, "Lowest frequency at which a mode is sampled when soft_modes is 'floor', THz.", above=0.0, maximum=1000.0
    )


def amplitude_guard_option() -> Any:
    """Option ``amplitude_guard_A`` of the harmonic samplers."""
    return option(0.5, "Largest rms displacement that one mode alone may give an atom, Å.", above=0.0, maximum=100.0)


def guard_option() -> Any:
    """Option ``guard`` of the harmonic samplers."""
    return option(
        "raise",
        "What to do with a mode beyond amplitude_guard_A: raise an error, limit it, or off.",
        choices=GUARDS,
    )


class HarmonicOptions(Protocol):
    """The options that fix the variance of every mode."""

    @property
    def temperature_K(self) -> float:
        """Temperature, K."""
        ...

    @property
    def statistics(self) -> str:
        """``"quantum"`` or ``"classical"``."""
        ...

    @property
    def soft_modes(self) -> str:
        """Policy for imaginary modes."""
        ...

    @property
    def floor_THz(self) -> float:
        """Lowest sampled frequency of the policy ``"floor"``."""
        ...

    @property
    def amplitude_guard_A(self) -> float:
        """Largest rms displacement of an atom by one mode."""
        ...

    @property
    def guard(self) -> str:
        """``"raise"``, ``"limit"`` or ``"off"``."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class ModeLaw:
    """Independent normal coordinates: their modes, their variances in amu Å², and what was done to get them."""

    modes: Modes
    variance_amu_A2: FloatArray
    warnings: tuple[str, ...]


def mode_law(phonons: Phonons, options: HarmonicOptions) -> ModeLaw:
    """Return the variance of every mode of the supercell after the soft-mode policy and the amplitude guard.

    Raises
    ------
    PhysicsError
        For imaginary modes under the policy ``"raise"``, and for a mode beyond the guard under ``guard="raise"``.
    """
    constants = phonons.force_constants
    modes = normal_modes(constants.values_eV_per_A2, constants.supercell.masses_amu)
    variance, soft_notes = _apply_policy(modes, options)
    variance, guard_notes = _apply_guard(modes, variance, options)
    return ModeLaw(
        modes=modes,
        variance_amu_A2=variance,
        warnings=(*_temperature_notes(phonons, options, len(variance)), *soft_notes, *guard_notes),
    )


def _temperature_notes(phonons: Phonons, options: HarmonicOptions, modes: int) -> tuple[str, ...]:
    notes = []
    made_for = phonons.temperature_K
    if made_for is not None and abs(made_for - options.temperature_K) > 1.0e-6:
        notes.append(
            f"force constants renormalised at {made_for:g} K are sampled at {options.temperature_K:g} K; "
            "their temperature dependence is neglected"
        )
    if modes == 0:
        notes.append("the cell holds one atom and therefore no vibration: all displacements are zero")
    elif options.statistics == "classical" and options.temperature_K == 0:
        notes.append("classical statistics at 0 K have no zero-point motion: all displacements are zero")
    return tuple(notes)


def _apply_policy(modes: Modes, options: HarmonicOptions) -> tuple[FloatArray, tuple[str, ...]]:
    frequencies = modes.frequencies_THz
    policy = options.soft_modes
    touched = frequencies < options.floor_THz if policy == "floor" else frequencies <= 0
    if not touched.any():
        return mode_variance(frequencies, options.temperature_K, options.statistics), ()
    if policy == "raise":
        raise PhysicsError(_imaginary_sentence(frequencies, options))
    # A frequency of exactly zero has no finite variance; the guard then catches the enormous one it gets here.
    lowest = options.floor_THz if policy == "floor" else 1.0e-12
    sampled = np.where(touched, np.maximum(np.abs(frequencies), lowest), frequencies)
    variance = mode_variance(sampled, options.temperature_K, options.statistics)
    note = _policy_note(modes, touched, policy, options.floor_THz, variance_share(modes, variance, touched))
    return (np.where(touched, 0.0, variance) if policy == "freeze" else variance), (note,)


def _imaginary_sentence(frequencies: FloatArray, options: HarmonicOptions) -> str:
    count = int((frequencies <= 0).sum())
    return (
        f"imaginary modes have no harmonic distribution, and {count} of the supercell's {len(frequencies)} modes are "
        f"imaginary (lowest {frequencies.min():.3f} THz); renormalise the phonons at {options.temperature_K:g} K, or "
        "set soft_modes to 'freeze', 'absolute' or 'floor' (with floor_THz), or use another lattice (thermal expansion "
        "often stabilises the modes)"
    )


def _policy_note(modes: Modes, touched: BoolArray, policy: str, floor_THz: float, share: float) -> str:
    which = f"{int(touched.sum())} of {len(touched)} modes (lowest {modes.frequencies_THz.min():.3f} THz)"
    if policy == "freeze":
        return (
            f"{which} are imaginary and frozen: at |ν| they would be {100 * share:.1f} % of the displacement variance"
        )
    how = "imaginary and sampled at |ν|"
    if policy == "floor":
        how = f"below {floor_THz:g} THz and sampled at |ν|, at least at {floor_THz:g} THz"
    return f"{which} are {how}: {100 * share:.1f} % of the total displacement variance is touched"


def _apply_guard(modes: Modes, variance: FloatArray, options: HarmonicOptions) -> tuple[FloatArray, tuple[str, ...]]:
    amplitude = np.sqrt(variance) * _level_share(modes)
    beyond = amplitude > options.amplitude_guard_A
    if options.guard == "off" or not beyond.any():
        return variance, ()
    worst = int(np.argmax(amplitude))
    if options.guard == "raise":
        raise PhysicsError(
            f"mode {worst + 1} of {len(variance)} ({modes.frequencies_THz[worst]:.3f} THz) alone would displace an "
            f"atom by {amplitude[worst]:.2f} Å rms, more than amplitude_guard_A = {options.amplitude_guard_A:g}; "
            f"renormalise the phonons at {options.temperature_K:g} K, or set soft_modes to 'floor' with a higher "
            "floor_THz, or guard to 'limit', or raise amplitude_guard_A if such displacements are meant"
        )
    limited = np.where(beyond, variance * (options.amplitude_guard_A / np.maximum(amplitude, 1e-300)) ** 2, variance)
    before, after = (100 * variance_share(modes, law, beyond) for law in (variance, limited))
    return limited, (
        f"{int(beyond.sum())} of {len(variance)} modes (largest amplitude {amplitude[worst]:.2f} Å, "
        f"{modes.frequencies_THz[worst]:.3f} THz) are limited to {options.amplitude_guard_A:g} Å: {before:.1f} % of "
        f"the total displacement variance is touched, and these modes keep {after:.1f} % of what is left",
    )


def variance_share(modes: Modes, variance_amu_A2: FloatArray, chosen: BoolArray) -> float:
    """Return the share of Σ_i ⟨u_i²⟩ that the ``chosen`` modes carry, 0 where nothing moves."""
    weights = (modes.vectors**2 / np.repeat(modes.masses_amu, 3)[:, None]).sum(axis=0)
    contributions = variance_amu_A2 * weights
    total = float(contributions.sum())
    return float(contributions[chosen].sum()) / total if total > 0 else 0.0


def _level_share(modes: Modes) -> FloatArray:
    """Per mode: largest |e_i|/√m_i of an atom, averaged over the degenerate level, 1/√amu.

    Averaging over the level makes the guard independent of how the eigensolver mixed degenerate modes.
    """
    count = len(modes.frequencies_THz)
    if count == 0:
        return np.zeros(0)
    per_atom = (modes.vectors.reshape(len(modes.masses_amu), 3, count) ** 2).sum(axis=1) / modes.masses_amu[:, None]
    starts = np.flatnonzero(np.diff(modes.frequencies_THz, prepend=-np.inf) > DEGENERATE_THZ)
    sizes = np.diff(starts, append=count)
    levels = np.add.reduceat(per_atom, starts, axis=1) / sizes
    return np.sqrt(np.repeat(levels.max(axis=0), sizes))
