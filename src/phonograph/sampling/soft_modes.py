"""From phonons to the variance of every mode: policies for soft modes, and a guard on amplitudes.

No policy is right for a double well; the remedy is to renormalise the force constants at the sampling
temperature.  A threshold on the frequency protects nothing (a 0.01 THz mode of 108 amu at 300 K spreads over
24 Å/√N), so the guard acts on the displacement of atoms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from phonograph.errors import PhysicsError
from phonograph.lattice import STATISTICS, Modes, crystal_modes, mode_variance
from phonograph.options import check_options, option
from phonograph.types import FloatArray, IntArray, Phonons

BoolArray = NDArray[np.bool_]

SOFT_MODES = ("raise", "freeze", "absolute", "floor", "renormalise")
GUARDS = ("raise", "limit", "off")
DEGENERATE_THZ = 1.0e-6
"""Neighbouring modes closer than this are one level: the eigensolver may have mixed them in any way."""

SAME_TEMPERATURE_K = 1.0e-6
"""Temperatures closer than this are one temperature, K."""


@dataclass(frozen=True, kw_only=True)
class ThermalOptions:
    """Options of every law of thermal modes."""

    temperature_K: float = option(300.0, "Temperature, K.", minimum=0.0, maximum=1.0e5)
    statistics: str = option(
        "quantum", "Statistics of the modes: quantum (with zero-point motion) or classical.", choices=STATISTICS
    )
    amplitude_guard_A: float = option(
        0.5, "Largest rms displacement that one mode alone may give an atom, Å.", above=0.0, maximum=100.0
    )
    guard: str = option(
        "raise",
        "What to do with a mode beyond amplitude_guard_A: raise an error, limit it, or off.",
        choices=GUARDS,
    )

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True, kw_only=True)
class HarmonicOptions(ThermalOptions):
    """Options of every law made from the modes of given force constants, which may be soft or imaginary."""

    soft_modes: str = option(
        "raise",
        "What to do with imaginary modes: raise an error, freeze them (no displacement), sample them at their "
        "absolute frequency, or at no less than floor_THz, or sample phonons renormalised at temperature_K instead.",
        choices=SOFT_MODES,
    )
    floor_THz: float = option(
        0.6, "Lowest frequency at which a mode is sampled when soft_modes is 'floor', THz.", above=0.0, maximum=1000.0
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class ModeLaw:
    """Independent normal coordinates and what was done to get them.

    Attributes
    ----------
    modes
        Modes of the supercell.
    variance_amu_A2
        ⟨Q²⟩ per mode, amu Å².
    warnings
        Sentences for the set.
    touched_share
        Share of Σ_i ⟨u_i²⟩ that the modes carry which the soft-mode policy or the guard treated, before the guard
        limits them; frozen modes count as if sampled at |ν|.
    """

    modes: Modes
    variance_amu_A2: FloatArray
    warnings: tuple[str, ...]
    touched_share: float = 0.0


def mode_law(phonons: Phonons, options: HarmonicOptions) -> ModeLaw:
    """Return the variance of every mode of the supercell after the soft-mode policy and the amplitude guard.

    Raises
    ------
    PhysicsError
        For imaginary modes under the policies ``"raise"`` and ``"renormalise"``, for phonons of another temperature
        under ``"renormalise"``, and for a mode beyond the guard under ``guard="raise"``.
    """
    if options.soft_modes == "renormalise" and not renormalised_at(phonons, options.temperature_K):
        raise PhysicsError(_another_temperature(phonons, options))
    modes = crystal_modes(phonons.force_constants)
    untouched, variance, touched, soft_notes = _apply_policy(modes, options)
    notes = (*_temperature_notes(phonons, options), *_stillness_notes(modes, options), *soft_notes)
    return _guarded(modes, untouched, variance, touched, options, notes)


def stable_law(modes: Modes, options: ThermalOptions) -> ModeLaw:
    """Return the variance of every mode of a model whose frequencies are all positive, after the amplitude guard."""
    variance = mode_variance(modes.frequencies_THz, options.temperature_K, options.statistics)
    nothing = np.zeros(len(variance), dtype=np.bool_)
    return _guarded(modes, variance, variance, nothing, options, _stillness_notes(modes, options))


def renormalised_at(phonons: Phonons, temperature_K: float) -> bool:
    """Return whether ``phonons`` are those renormalised at ``temperature_K``."""
    made_for = phonons.temperature_K
    return made_for is not None and abs(made_for - temperature_K) < SAME_TEMPERATURE_K


def _guarded(
    modes: Modes,
    untouched: FloatArray,
    variance: FloatArray,
    touched: BoolArray,
    options: ThermalOptions,
    notes: tuple[str, ...],
) -> ModeLaw:
    """Apply the guard to ``variance``; ``untouched`` still holds the variance of frozen modes."""
    limited, beyond, guard_notes = _apply_guard(modes, variance, options)
    return ModeLaw(
        modes=modes,
        variance_amu_A2=limited,
        warnings=(*notes, *guard_notes),
        touched_share=variance_share(modes, untouched, touched | beyond),
    )


def _another_temperature(phonons: Phonons, options: HarmonicOptions) -> str:
    made_for = phonons.temperature_K
    have = "harmonic" if made_for is None else f"renormalised at {made_for:g} K"
    return (
        f"soft_modes = 'renormalise' samples phonons renormalised at {options.temperature_K:g} K, but these are "
        f"{have}; make them with compute_phonons(…, renormalisation=…), or give sample(…, renormalise=…) a function "
        "that does, or in a TOML file add a [phonons.renormalisation] table"
    )


def _temperature_notes(phonons: Phonons, options: ThermalOptions) -> tuple[str, ...]:
    made_for = phonons.temperature_K
    if made_for is None:
        return ()
    notes = []
    if not renormalised_at(phonons, options.temperature_K):
        notes.append(
            f"force constants renormalised at {made_for:g} K are sampled at {options.temperature_K:g} K; "
            "their temperature dependence is neglected"
        )
    made_with = dict(phonons.origin.settings.get("measured", {})).get("statistics", options.statistics)
    if made_with != options.statistics:
        notes.append(
            f"force constants renormalised with {made_with} motion are sampled with {options.statistics} statistics"
        )
    return tuple(notes)


def _stillness_notes(modes: Modes, options: ThermalOptions) -> tuple[str, ...]:
    if len(modes.frequencies_THz) == 0:
        return ("the cell holds one atom and therefore no vibration: all displacements are zero",)
    if options.statistics == "classical" and options.temperature_K == 0:
        return ("classical statistics at 0 K have no zero-point motion: all displacements are zero",)
    return ()


def _apply_policy(modes: Modes, options: HarmonicOptions) -> tuple[FloatArray, FloatArray, BoolArray, tuple[str, ...]]:
    """Return the variances with and without those of frozen modes, which modes were touched, and the sentence."""
    frequencies = modes.frequencies_THz
    policy = options.soft_modes
    touched = frequencies < options.floor_THz if policy == "floor" else frequencies <= 0
    if not touched.any():
        variance = mode_variance(frequencies, options.temperature_K, options.statistics)
        return variance, variance, touched, ()
    if policy in ("raise", "renormalise"):
        raise PhysicsError(_imaginary_sentence(frequencies, options))
    # A frequency of exactly zero has no finite variance; the guard then catches the enormous one it gets here.
    lowest = options.floor_THz if policy == "floor" else 1.0e-12
    sampled = np.where(touched, np.maximum(np.abs(frequencies), lowest), frequencies)
    variance = mode_variance(sampled, options.temperature_K, options.statistics)
    note = _policy_note(modes, touched, policy, options.floor_THz, variance_share(modes, variance, touched))
    return variance, (np.where(touched, 0.0, variance) if policy == "freeze" else variance), touched, (note,)


def _imaginary_sentence(frequencies: FloatArray, options: HarmonicOptions) -> str:
    count = int((frequencies <= 0).sum())
    if options.soft_modes == "renormalise":
        remedy = f"converge the renormalisation at {options.temperature_K:g} K further"
    else:
        remedy = f"renormalise the phonons at {options.temperature_K:g} K (soft_modes = 'renormalise')"
    return (
        f"imaginary modes have no harmonic distribution, and {count} of the supercell's {len(frequencies)} modes are "
        f"imaginary (lowest {frequencies.min():.3f} THz); {remedy}, or "
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


def _apply_guard(
    modes: Modes, variance: FloatArray, options: ThermalOptions
) -> tuple[FloatArray, BoolArray, tuple[str, ...]]:
    amplitude = np.sqrt(variance) * _level_share(modes)
    beyond = amplitude > options.amplitude_guard_A
    if options.guard == "off" or not beyond.any():
        return variance, np.zeros_like(beyond), ()
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
    note = (
        f"{int(beyond.sum())} of {len(variance)} modes (largest amplitude {amplitude[worst]:.2f} Å, "
        f"{modes.frequencies_THz[worst]:.3f} THz) are limited to {options.amplitude_guard_A:g} Å: {before:.1f} % of "
        f"the total displacement variance is touched, and these modes keep {after:.1f} % of what is left"
    )
    return limited, beyond, (note,)


def displacement_shares(modes: Modes, variance_amu_A2: FloatArray) -> FloatArray:
    """Return what each mode contributes to Σ_i ⟨u_i²⟩, Å²."""
    return np.asarray(variance_amu_A2 * modes.atom_shares.sum(axis=0))


def variance_share(modes: Modes, variance_amu_A2: FloatArray, chosen: BoolArray) -> float:
    """Return the share of Σ_i ⟨u_i²⟩ that the ``chosen`` modes carry, 0 where nothing moves."""
    contributions = displacement_shares(modes, variance_amu_A2)
    total = float(contributions.sum())
    return float(contributions[chosen].sum()) / total if total > 0 else 0.0


def levels_of(frequencies_THz: FloatArray) -> tuple[IntArray, IntArray]:
    """Return the first mode and the number of modes of every degenerate level; frequencies ascend."""
    starts = np.flatnonzero(np.diff(frequencies_THz, prepend=-np.inf) > DEGENERATE_THZ)
    return starts, np.diff(starts, append=len(frequencies_THz))


def _level_share(modes: Modes) -> FloatArray:
    """Per mode: largest |e_i|/√m_i of an atom, averaged over the degenerate level, 1/√amu.

    Averaging over the level makes the guard independent of how the eigensolver mixed degenerate modes.
    """
    count = len(modes.frequencies_THz)
    if count == 0:
        return np.zeros(0)
    starts, sizes = levels_of(modes.frequencies_THz)
    levels = np.add.reduceat(modes.atom_shares, starts, axis=1) / sizes
    return np.sqrt(np.repeat(levels.max(axis=0), sizes))
