"""Phonons at a temperature by regression of the forces of a trajectory, or of an ensemble, on its displacements.

Sought are the force constants Φ with the crystal's symmetry that minimise Σ_t |f(t) + Φ u(t)|²: the best harmonic
crystal for the forces that act at this temperature.  Averaged over classical equilibrium, ⟨f_i u_j⟩ = −kT δ_ij, so that
Φ = kT ⟨u uᵀ⟩⁻¹: the fit is to the forces, and agrees with the displacements that the atoms make.

Sources: Hellman, Steneteg, Abrikosov, Simak, Phys. Rev. B 87, 104111 (2013), doi:10.1103/PhysRevB.87.104111;
Seko & Togo, Phys. Rev. B 110, 214302 (2024), doi:10.1103/PhysRevB.110.214302 (fit with symmetry);
Knoop, Purcell, Scheffler, Carbogno, Phys. Rev. Mater. 4, 083809 (2020), doi:10.1103/PhysRevMaterials.4.083809
(measure of anharmonicity).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from phonograph.errors import DataError
from phonograph.lattice import normal_modes
from phonograph.phonons.fit import SymmetricFit, free_directions, jackknife_frequencies
from phonograph.phonons.projection import without_start
from phonograph.phonons.settings import ForceRegression
from phonograph.types import Crystal, FloatArray, IntArray, Trajectory, displacements, matched

MOVED_WARNING_A = 0.02
"""An average position further than this from the given site, and beyond three error bars, is told, Å."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Regressed:
    """Result of :func:`regress`.

    Attributes
    ----------
    values_eV_per_A2
        Force constants, shape (n, n, 3, 3).
    frequencies_THz, errors_THz
        Their commensurate frequencies and jackknife errors, shape (3n − 3,).
    frames, stride
        Frames fitted, and how far they were apart in the trajectory.
    anharmonicity
        √(Σ|f + Φu|² / Σ|f|²): share of the forces that no harmonic crystal gives.
    warnings
        Sentences about the trajectory.
    """

    values_eV_per_A2: FloatArray
    frequencies_THz: FloatArray
    errors_THz: FloatArray
    frames: int
    stride: int
    anharmonicity: float
    warnings: tuple[str, ...]

    def summary(self) -> dict[str, Any]:
        """Return what was measured besides the frequencies, as plain values."""
        return {"frames": self.frames, "stride": self.stride, "anharmonicity": self.anharmonicity}


def regress(supercell: Crystal, trajectory: Trajectory, settings: ForceRegression) -> Regressed:
    """Return force constants fitted to the forces of a trajectory, with error bars from blocks of it.

    Parameters
    ----------
    supercell
        Crystal at rest, of which the trajectory is.
    trajectory
        Frames with forces; without a time step they count as an ensemble of independent frames.
    settings
        What to skip, which frames to take, and blocks of the error bars.

    Raises
    ------
    DataError
        A trajectory of another crystal, without forces, or with too few frames.
    """
    own = matched(without_start(trajectory, settings.skip_ps), supercell)
    if own.forces_eV_per_A is None:
        raise DataError(
            "the trajectory holds no forces to fit; give one with forces (extxyz, .traj, vasprun.xml), "
            "or use the route 'mode-projection'"
        )
    moved, forces = displacements(own, supercell), own.forces_eV_per_A
    fit = SymmetricFit(supercell)
    needed = _frames_needed(settings.blocks, fit)
    stride = settings.stride or _stride(forces if own.time_step_fs is not None else None, len(forces) // needed)
    moved, forces = moved[::stride], forces[::stride]
    blocks = np.arange(len(moved)) * settings.blocks // len(moved)
    if len(moved) < needed:
        raise DataError(
            f"the regression needs at least {needed} frames for the {fit.parameters} independent force constants of "
            f"this supercell and {settings.blocks} blocks; got {len(moved)}; give a longer trajectory"
        )
    moved, forces, sentences = _about_average(moved, forces, blocks, free_directions(supercell))
    values = fit(moved, forces)
    flat = values.transpose(0, 2, 1, 3).reshape(moved[0].size, -1)
    rest = forces.reshape(len(forces), -1) + moved.reshape(len(moved), -1) @ flat
    return Regressed(
        values_eV_per_A2=values,
        frequencies_THz=normal_modes(values, supercell.masses_amu).frequencies_THz,
        errors_THz=jackknife_frequencies(fit, moved, forces, blocks=blocks),
        frames=len(moved),
        stride=stride,
        anharmonicity=float(np.sqrt((rest**2).sum() / (forces**2).sum())),
        warnings=(*own.warnings, *sentences),
    )


def _stride(forces: FloatArray | None, most: int) -> int:
    """Return after how many frames the forces have turned, at most ``most``: nearer ones say the same twice."""
    if forces is None:
        return 1
    flat = forces.reshape(len(forces), -1)
    flat = flat - flat.mean(axis=0)
    for lag in range(1, most):
        if np.einsum("ti,ti->", flat[:-lag], flat[lag:]) <= 0:
            return lag
    return max(1, most)


def _frames_needed(blocks: int, fit: SymmetricFit) -> int:
    # As for a round of the self-consistent loop: twice as many equations as unknowns when a block is left out.
    equations = 2 * fit.parameters / (3 * len(fit.supercell))
    return max(2 * blocks, int(np.ceil(equations * blocks / (blocks - 1))) + 1)


def _about_average(
    moved: FloatArray, forces: FloatArray, blocks: IntArray, directions: FloatArray
) -> tuple[FloatArray, FloatArray, tuple[str, ...]]:
    """Measure displacements and forces from their averages along directions that symmetry leaves free.

    Elsewhere the averages vanish by symmetry; an average that does not is told.
    """
    means = np.array([moved[blocks == block].mean(axis=0) for block in np.unique(blocks)])
    mean, error = means.mean(axis=0), means.std(axis=0, ddof=1) / np.sqrt(len(means))
    away = np.where(np.abs(mean) > 3.0 * error, np.abs(mean), 0.0).max(axis=1)
    sentences: tuple[str, ...] = ()
    if away.max() > MOVED_WARNING_A:
        where = "" if directions.shape[1] else ", although symmetry fixes them: the crystal distorts, or atoms hop"
        sentences = (
            f"the average positions of {int((away > MOVED_WARNING_A).sum())} atoms are up to {away.max():.3f} Å from "
            f"the given sites{where}.",
        )
    along = directions @ directions.T

    def shift(values: FloatArray) -> FloatArray:
        return np.asarray(along @ values.mean(axis=0).ravel()).reshape(values.shape[1:])

    return moved - shift(moved), forces - shift(forces), sentences
