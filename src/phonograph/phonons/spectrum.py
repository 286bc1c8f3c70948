"""Phonon frequencies along the standard path of the primitive cell's Bravais lattice.

The path is that of Setyawan & Curtarolo, Comput. Mater. Sci. 49, 299 (2010), doi:10.1016/j.commatsci.2010.05.010, as
ASE has it; the frequencies are phonopy's.  Between commensurate wave vectors they are a Fourier interpolation.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from phonograph.phonons.cells import phonopy_of
from phonograph.types import FloatArray, ForceConstants, Spectrum

POINTS_TIMES_A = 300.0
"""Points per 1/Å of path: about 30 from Γ to X in a 5 Å cubic cell."""

FEWEST_POINTS = 8


def spectrum(force_constants: ForceConstants) -> Spectrum:
    """Return frequencies along the standard path.

    ``distance`` is path length in reciprocal space without the factor 2π, 1/Å.

    Parameters
    ----------
    force_constants
        Of any supercell; the primitive cell is found from the unit cell's symmetry.
    """
    phonon = phonopy_of(force_constants.unitcell, force_constants.supercell_matrix)
    phonon.force_constants = np.array(force_constants.values_eV_per_A2)
    cell = np.array(phonon.primitive.cell, dtype=np.float64)
    q, distance, ticks, breaks = _path(cell)
    phonon.run_qpoints(q)
    return Spectrum(
        q=q, distance=distance, frequencies_THz=phonon.qpoints.frequencies, ticks=tuple(ticks), breaks=tuple(breaks)
    )


def _path(cell_A: FloatArray) -> tuple[FloatArray, FloatArray, list[tuple[float, str]], list[int]]:
    """Return q, distance, ticks and the indices at which unconnected parts begin."""
    reciprocal = np.linalg.inv(cell_A).T
    points, parts = standard_points(cell_A), standard_parts(cell_A)
    q: list[FloatArray] = []
    distance: list[float] = []
    ticks: list[tuple[float, str]] = []
    breaks: list[int] = []
    travelled = 0.0
    for number, part in enumerate(parts):
        if number:
            breaks.append(len(q))
        for start, end in itertools.pairwise(part):
            step = points[end] - points[start]
            length = float(np.linalg.norm(step @ reciprocal))
            count = max(FEWEST_POINTS, int(np.ceil(length * POINTS_TIMES_A)))
            if start == part[0] and (not q or len(q) in breaks):
                ticks.append((travelled, start))
            first = 0 if not q or len(q) in breaks else 1
            for share in np.linspace(0.0, 1.0, count + 1)[first:]:
                q.append(points[start] + share * step)
                distance.append(travelled + share * length)
            travelled += length
            ticks.append((travelled, end))
    return np.array(q), np.array(distance), ticks, breaks


def standard_points(cell_A: FloatArray) -> dict[str, FloatArray]:
    """Return the named points of the Brillouin zone in units of the reciprocal lattice of ``cell_A``."""
    from ase.cell import Cell

    return {name: np.array(place) for name, place in Cell(cell_A).bandpath(npoints=0).special_points.items()}


def standard_parts(cell_A: FloatArray) -> list[list[str]]:
    """Return the names along each connected part of the standard path."""
    from ase.cell import Cell
    from ase.dft.kpoints import parse_path_string

    path: Any = Cell(cell_A).bandpath(npoints=0)
    parts: list[list[str]] = parse_path_string(path.path)
    return parts
