"""Relaxation of a crystal with its symmetry kept."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from phonograph.errors import DataError
from phonograph.phonons.engines import Engine
from phonograph.phonons.settings import Relaxation
from phonograph.phonons.source import ForceSource
from phonograph.types import Crystal, Progress
from phonograph.units import EV_PER_A3_IN_GPA

ROUNDING_A = 1.0e-9
"""Lattice vectors that differ by less are the same."""


def relax(
    crystal: Crystal, source: ForceSource, settings: Relaxation | None = None, *, progress: Progress | None = None
) -> Crystal:
    """Relax positions, or positions and cell, with the space group kept.

    Atoms within ``symmetry_tolerance_A`` of a symmetric site are first put onto it (spglib), then forces and stress
    are projected on what the symmetry allows (ASE's ``FixSymmetry``); the cell moves through the logarithm of its
    deformation (``FrechetCellFilter``).

    Parameters
    ----------
    crystal
        Where to start.
    source
        Where forces and stress come from.
    settings
        What to relax and how far; defaults of :class:`Relaxation` where None.
    progress
        Called as ``progress("phonons: relaxation steps (at most)", step, max_steps)``.

    Returns
    -------
    Crystal
        The relaxed crystal; atoms in the same order, masses and title kept.

    Raises
    ------
    DataError
        When forces or stress are above their tolerance after ``max_steps``.
    """
    settings = settings or Relaxation()
    engine = Engine(source)
    atoms = _symmetric_atoms(crystal, settings.symmetry_tolerance_A)
    atoms.calc = engine.calculator
    with engine.quiet(), warnings.catch_warnings():
        # spglib announces future changes of its interface to FixSymmetry.
        warnings.simplefilter("ignore")
        force, stress, steps = _minimise(atoms, settings, progress)
    if not _small_enough(force, stress, settings):
        raise DataError(
            f"the relaxation with {source.name} did not converge in {steps} steps: largest force {force:.3g} eV/Å "
            f"(tolerance {settings.force_tolerance_eV_per_A:g}), largest stress {stress:.3g} GPa "
            f"(tolerance {settings.stress_tolerance_GPa:g}); allow more crystal.relaxation.max_steps or larger "
            "tolerances"
        )
    cell = np.array(atoms.cell)
    return Crystal(
        # Putting atoms onto symmetric sites turns the last bits of the lattice, which the user did not ask for.
        cell_A=crystal.cell_A if np.abs(cell - crystal.cell_A).max() < ROUNDING_A else cell,
        positions_A=atoms.positions,
        numbers=crystal.numbers,
        masses_amu=crystal.masses_amu,
        title=crystal.title,
    )


def _symmetric_atoms(crystal: Crystal, tolerance_A: float) -> Any:
    from ase import Atoms
    from ase.constraints import FixSymmetry
    from ase.spacegroup.symmetrize import refine_symmetry

    atoms = Atoms(numbers=crystal.numbers, positions=crystal.positions_A, cell=crystal.cell_A, pbc=True)
    with warnings.catch_warnings():
        # As in relax.
        warnings.simplefilter("ignore")
        refine_symmetry(atoms, symprec=tolerance_A)
        atoms.set_constraint(FixSymmetry(atoms, symprec=tolerance_A))
    return atoms


def _minimise(atoms: Any, settings: Relaxation, progress: Progress | None) -> tuple[float, float, int]:
    """Move the atoms; return the largest force (eV/Å), the largest stress (GPa) and the number of steps."""
    from ase.filters import FrechetCellFilter
    from ase.optimize import BFGS

    moving = FrechetCellFilter(atoms) if settings.what == "cell" else atoms
    # Never stopped by ASE's own criterion, which mixes forces and stress; ours looks at each.
    steps, force, stress = 0, np.inf, np.inf
    for _ in BFGS(moving, logfile=None).irun(fmax=0.0, steps=settings.max_steps):
        force = float(np.linalg.norm(atoms.get_forces(), axis=1).max())
        stress = 0.0
        if settings.what == "cell":
            stress = float(np.abs(atoms.get_stress(voigt=False)).max() * EV_PER_A3_IN_GPA)
        if progress is not None:
            progress("phonons: relaxation steps (at most)", min(steps, settings.max_steps), settings.max_steps)
        if _small_enough(force, stress, settings):
            break
        steps += 1
    return force, stress, min(steps, settings.max_steps)


def _small_enough(force: float, stress: float, settings: Relaxation) -> bool:
    return force <= settings.force_tolerance_eV_per_A and stress <= settings.stress_tolerance_GPa
