"""Phonons at a temperature from the lines of normal modes in a molecular dynamics trajectory.

Velocities are projected on the modes of given (harmonic) force constants of the same supercell, in which all
commensurate wave vectors fold to Γ:  q̇_ν(t) = Σ_i √m_i e_iν · v_i(t).  The spectrum of each level, averaged over its
equivalent modes, gives a frequency and a width (:mod:`phonograph.phonons.lines`), and the frequencies with the same
eigenvectors give force constants Φ = M^(1/2) e (2πν)² eᵀ M^(1/2).

The eigenvectors stay those of the given force constants.  Temperature mixes modes of the same symmetry; how strongly is
measured by the correlations ⟨Q_a Q_b⟩/√(⟨Q_a²⟩⟨Q_b²⟩) of the positions, which vanish for exact modes.  Where they are
large, project on the eigenvectors of renormalised force constants instead.

The trajectory is classical: so are the frequencies and widths.

Sources: Carreras, Togo, Tanaka, Comput. Phys. Commun. 221, 221 (2017), doi:10.1016/j.cpc.2017.08.017;
Zhang, Sun, Wentzcovitch, Phys. Rev. Lett. 112, 058501 (2014), doi:10.1103/PhysRevLett.112.058501.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from phonograph.errors import DataError
from phonograph.lattice import normal_modes
from phonograph.phonons.fit import SymmetricFit
from phonograph.phonons.levels import from_levels, levels_of, strongest_mixing, symmetrised
from phonograph.phonons.lines import MISFIT, Line, fit_line
from phonograph.phonons.settings import ModeProjection
from phonograph.types import (
    Crystal,
    FloatArray,
    IntArray,
    Progress,
    Trajectory,
    displacements,
    first_frame,
    matched,
    require_time_step,
)

FEWEST_PERIODS = 5.0
"""A trajectory must hold this many periods of the slowest mode, …"""

SLOWEST_THZ = 0.5
"""… of which modes softer than this are excused: they may stiffen."""

FEW_PERIODS = 10.0
"""A fitted line with fewer periods in the trajectory than this is told."""

NYQUIST_SHARE = 0.8
"""The fastest mode must lie below this share of the highest frequency that the frames can show."""

FEWEST_FRAMES = 128

MIXING_WARNING = 0.3
"""A correlation between modes beyond this is told."""

SHARE_WARNING = 0.7
"""A line that carries less than this share of its modes' power is told."""

UNEQUAL_WARNING, UNEQUAL_ERRORS, UNEQUAL_BLOCKS = 0.25, 4.0, 8
"""Levels whose kinetic energy is off the mean by more than this share and this many errors from blocks are told."""

MOST_NAMED = 6


@dataclass(frozen=True, kw_only=True, eq=False)
class Projected:
    """Result of :func:`project`.

    Attributes
    ----------
    values_eV_per_A2
        Force constants, shape (n, n, 3, 3).
    frequencies_THz, errors_THz
        Of the 3n − 3 commensurate modes, ascending, and their standard errors.
    widths_THz, width_errors_THz
        Full widths at half maximum; where the error is NaN the line is narrower than the resolution and the width an
        upper bound.
    lines
        One fitted line per level, in the order of ``levels``.
    levels
        Indices of each level into the modes projected on.
    mixing
        Largest correlation between modes of two levels.
    warnings
        Sentences about the trajectory and the lines.
    """

    values_eV_per_A2: FloatArray
    frequencies_THz: FloatArray
    errors_THz: FloatArray
    widths_THz: FloatArray
    width_errors_THz: FloatArray
    lines: tuple[Line, ...]
    levels: tuple[IntArray, ...]
    mixing: float
    warnings: tuple[str, ...]

    def summary(self) -> dict[str, Any]:
        """Return what was measured besides the frequencies, as plain values."""
        return {
            "levels": len(self.levels),
            "resolved_widths": sum(line.resolved for line in self.lines),
            "overdamped": sum(line.overdamped for line in self.lines),
            "largest_correlation": self.mixing,
            "lowest_share": min(line.share for line in self.lines),
        }


def project(
    supercell: Crystal,
    values_eV_per_A2: FloatArray,
    trajectory: Trajectory,
    settings: ModeProjection,
    progress: Progress | None = None,
) -> Projected:
    """Return frequencies, line widths and force constants from the lines of normal modes in a trajectory.

    Parameters
    ----------
    supercell
        Crystal at rest, of which the trajectory is.
    values_eV_per_A2
        Force constants whose eigenvectors are projected on, shape (n, n, 3, 3); imaginary modes are allowed.
    trajectory
        Molecular dynamics in that supercell; without velocities, these are differences of positions.
    settings
        What to skip, and blocks of the error bars.
    progress
        Called as ``progress("phonons: lines", level, levels)``.

    Raises
    ------
    DataError
        A trajectory of another crystal, without time step, too short, or with frames too far apart.
    """
    step_ps = require_time_step(trajectory) / 1000.0
    own = matched(without_start(trajectory, settings.skip_ps), supercell)
    fit = SymmetricFit(supercell)
    modes, levels = levels_of(normal_modes(values_eV_per_A2, supercell.masses_amu), fit)
    _require_length(len(own), step_ps, modes.frequencies_THz)
    weights = np.sqrt(np.repeat(supercell.masses_amu, 3))[:, None] * modes.vectors
    moved = displacements(own, supercell)
    velocities, differences = _velocities(own, moved, step_ps)
    signals = velocities.reshape(len(velocities), -1) @ weights
    lines = []
    for level in levels:
        found = fit_line(signals[:, level], step_ps, blocks=settings.blocks, differences=differences)
        lines.append(found)
        if progress is not None:
            progress("phonons: lines", len(lines), len(levels))
    mixing, pair = _mixing(moved, supercell, modes.vectors, levels, fit)
    frequencies, errors, widths, width_errors = _by_mode(lines, levels)
    order = np.argsort(frequencies, kind="stable")
    return Projected(
        values_eV_per_A2=from_levels(modes, frequencies),
        frequencies_THz=frequencies[order],
        errors_THz=errors[order],
        widths_THz=widths[order],
        width_errors_THz=width_errors[order],
        lines=tuple(lines),
        levels=levels,
        mixing=mixing,
        warnings=(
            *own.warnings,
            *_mixing_warnings(mixing, [lines[place].frequency_THz for place in pair]),
            *(() if differences else equipartition_warnings(signals, lines, levels)),
            *_line_warnings(lines, levels, len(signals) * step_ps),
        ),
    )


def without_start(trajectory: Trajectory, skip_ps: float) -> Trajectory:
    """Return the trajectory without its first ``skip_ps``."""
    return trajectory.frames(first_frame(trajectory, skip_ps)) if skip_ps else trajectory


def _velocities(own: Trajectory, moved: FloatArray, step_ps: float) -> tuple[FloatArray, bool]:
    """Return velocities, Å/ps, and whether they are differences of positions (two frames fewer)."""
    if own.velocities_A_per_ps is not None:
        return own.velocities_A_per_ps, False
    return (moved[2:] - moved[:-2]) / (2.0 * step_ps), True


def _require_length(frames: int, step_ps: float, frequencies_THz: FloatArray) -> None:
    slowest = max(float(np.abs(frequencies_THz).min()), SLOWEST_THZ)
    needed = max(FEWEST_PERIODS / slowest, FEWEST_FRAMES * step_ps)
    if frames * step_ps < needed:
        raise DataError(
            f"the trajectory is too short for the line fit: {frames} frames {1000 * step_ps:g} fs apart are "
            f"{frames * step_ps:.3g} ps; it takes at least {needed:.3g} ps ({FEWEST_PERIODS:g} periods of the slowest "
            f"mode and {FEWEST_FRAMES} frames), and about {4 * needed:.2g} ps for small error bars"
        )
    fastest, limit = float(frequencies_THz[-1]), NYQUIST_SHARE * 0.5 / step_ps
    if fastest > limit:
        raise DataError(
            f"frames {1000 * step_ps:g} fs apart show frequencies up to {0.5 / step_ps:.3g} THz, too low for the "
            f"fastest mode of {fastest:.3g} THz; store a frame at least every "
            f"{1000 * NYQUIST_SHARE / 2 / fastest:.3g} fs"
        )


def _by_mode(lines: list[Line], levels: tuple[IntArray, ...]) -> FloatArray:
    """Return frequency, error, width and its error of every mode, shape (4, modes)."""
    found = np.empty((4, sum(map(len, levels))))
    for line, level in zip(lines, levels, strict=True):
        values = (line.frequency_THz, line.frequency_error_THz, line.width_THz, line.width_error_THz)
        found[:, level] = np.array(values)[:, None]
    return found


def _mixing(
    moved: FloatArray, supercell: Crystal, vectors: FloatArray, levels: tuple[IntArray, ...], fit: SymmetricFit
) -> tuple[float, tuple[int, int]]:
    weighted = moved.reshape(len(moved), -1) * np.sqrt(np.repeat(supercell.masses_amu, 3))
    covariance = symmetrised(weighted.T @ weighted / len(weighted), fit)
    return strongest_mixing(vectors.T @ covariance @ vectors, levels)


def _mixing_warnings(mixing: float, pair_THz: list[float]) -> tuple[str, ...]:
    if mixing <= MIXING_WARNING:
        return ()
    low, high = sorted(pair_THz)
    return (
        f"modes of the force constants projected on move together at this temperature (correlation {mixing:.2f} "
        f"between those at {low:.2f} and {high:.2f} THz), so their eigenvectors are not those of the vibrations; "
        "project on force constants of the regression or of the self-consistent loop instead.",
    )


def equipartition_warnings(signals: FloatArray, lines: list[Line], levels: tuple[IntArray, ...]) -> tuple[str, ...]:
    """Say so where modes have not shared their energy: a thermostat that scales all velocities cannot make them."""
    blocks = np.array([(block**2).mean(axis=0) for block in np.array_split(signals, UNEQUAL_BLOCKS)])
    unequal = []
    for line, level in zip(lines, levels, strict=True):
        ratios = blocks[:, level].mean(axis=1) / blocks.mean()
        off, error = float(ratios.mean()) - 1.0, float(ratios.std(ddof=1) / np.sqrt(UNEQUAL_BLOCKS))
        if abs(off) > max(UNEQUAL_WARNING, UNEQUAL_ERRORS * error):
            unequal.append((line.frequency_THz, 1.0 + off))
    if not unequal:
        return ()
    named = ", ".join(f"{ratio:.2f} at {value:.2f} THz" for value, ratio in sorted(unequal)[:MOST_NAMED])
    more = f" and {len(unequal) - MOST_NAMED} more" if len(unequal) > MOST_NAMED else ""
    return (
        f"{len(unequal)} of {len(lines)} levels hold another kinetic energy than the mean throughout the run ({named}"
        f"{more}, in units of the mean): modes exchange energy too slowly for its length, and error bars do not know; "
        'run longer, or with thermostat = "langevin".',
    )


def _line_warnings(lines: list[Line], levels: tuple[IntArray, ...], duration_ps: float) -> tuple[str, ...]:
    sentences = []
    bounds = sum(len(level) for line, level in zip(lines, levels, strict=True) if not line.resolved)
    if bounds:
        sentences.append(
            f"the lines of {bounds} of {sum(map(len, levels))} modes are narrower than the resolution of "
            f"{1 / duration_ps:.3f} THz that {duration_ps:.3g} ps give: their widths are upper bounds."
        )
    groups: tuple[tuple[str, Callable[[Line], bool]], ...] = (
        ("overdamped (width beyond twice the frequency): there is motion but no vibration", lambda x: x.overdamped),
        (
            f"seen for fewer than {FEW_PERIODS:g} periods; a longer trajectory is needed",
            lambda x: x.frequency_THz * duration_ps < FEW_PERIODS,
        ),
        (
            "not single lines (several peaks, or another shape); their frequencies are those of the main peak",
            lambda x: x.share < SHARE_WARNING or x.misfit < MISFIT,
        ),
    )
    for words, is_one in groups:
        found = sorted(line.frequency_THz for line in lines if is_one(line))
        if found:
            named = ", ".join(f"{value:.2f}" for value in found[:MOST_NAMED])
            more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
            sentences.append(f"{len(found)} of {len(lines)} levels are {words}: {named}{more} THz.")
    return tuple(sentences)
