"""Between our crystals and those of ASE, phonopy and symfc."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from phonograph.errors import ConfigurationError, DataError
from phonograph.types import MAX_ATOMS, Crystal, IntArray

SYMMETRY_TOLERANCE_A = 1.0e-5
"""Distance within which atoms count as symmetry-equivalent, Å; phonopy and symfc must use the same."""

MAX_SUPERCELL = 2_000
"""Largest supercell, atoms: its full force constants take 288 MB."""

MAX_FRAME = 50_000
"""Largest number of atoms phonopy may lay out while it cuts a sheared supercell."""

LOOSE_TOLERANCE_A = 1.0e-3
"""Symmetry found only within this distance is told to the user: coordinates written with too few digits."""


def as_supercell_matrix(value: ArrayLike, unitcell: Crystal) -> IntArray:
    """Return a checked (3, 3) integer matrix: supercell lattice = matrix @ unit-cell lattice (rows).

    Parameters
    ----------
    value
        Three multiples or a 3×3 matrix of whole numbers with positive determinant.
    unitcell
        The cell that will be replicated; bounds the number of atoms.

    Raises
    ------
    ConfigurationError
        Anything else.
    """
    try:
        given = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"the supercell matrix must hold whole numbers; got {value!r}") from error
    matrix = np.diag(given) if given.shape == (3,) else given
    if matrix.shape != (3, 3):
        raise ConfigurationError(f"the supercell must be 3 multiples or a 3×3 matrix; got shape {given.shape}")
    if not np.isfinite(matrix).all() or (matrix != np.rint(matrix)).any() or np.abs(matrix).max() > MAX_ATOMS:
        raise ConfigurationError(f"the supercell matrix must hold whole numbers; got {given.tolist()}")
    determinant = float(np.linalg.det(matrix))
    if determinant < 0.5:
        raise ConfigurationError(
            f"the supercell matrix must have a positive determinant; got {determinant:.0f} from {given.tolist()}"
        )
    if determinant * len(unitcell) > MAX_SUPERCELL:
        raise ConfigurationError(
            f"the supercell would hold {determinant * len(unitcell):.0f} atoms; at most {MAX_SUPERCELL} are accepted"
        )
    frame = float(np.abs(matrix).sum(axis=1).prod()) * len(unitcell)
    if frame > MAX_FRAME:
        raise ConfigurationError(
            f"the supercell matrix {given.tolist()} is sheared too far; use an equivalent one with smaller entries"
        )
    if determinant * len(unitcell) < 1.5:
        raise ConfigurationError(
            "a supercell of one atom cannot vibrate; use more multiples, for example crystal.supercell = [2, 2, 2]"
        )
    return np.rint(matrix).astype(np.int64)


def phonopy_of(unitcell: Crystal, supercell_matrix: IntArray) -> Any:
    """Return a ``phonopy.Phonopy`` of the crystal; its primitive cell is found from symmetry.

    phonopy's supercell matrix acts on column vectors, ours on rows, hence the transposition.

    Raises
    ------
    DataError
        For left-handed lattice vectors.
    """
    from phonopy import Phonopy

    if np.linalg.det(unitcell.cell_A) < 0:
        raise DataError(
            "the lattice vectors form a left-handed system, which phonopy does not accept; "
            "exchange two of them (and the fractional coordinates along them)"
        )
    with warnings.catch_warnings():
        # phonopy remarks that the primitive cell differs from the unit cell; that is what is wanted here.
        warnings.simplefilter("ignore")
        return Phonopy(
            phonopy_atoms(unitcell),
            supercell_matrix=np.asarray(supercell_matrix).T,
            primitive_matrix="auto",
            symprec=SYMMETRY_TOLERANCE_A,
            log_level=0,
        )


def phonopy_atoms(crystal: Crystal) -> Any:
    """Return the crystal as ``PhonopyAtoms``."""
    from phonopy.structure.atoms import PhonopyAtoms

    return PhonopyAtoms(
        numbers=crystal.numbers, cell=crystal.cell_A, positions=crystal.positions_A, masses=crystal.masses_amu
    )


def from_phonopy(atoms: Any, title: str) -> Crystal:
    """Return ``PhonopyAtoms`` as a :class:`Crystal`."""
    return Crystal(
        cell_A=atoms.cell, positions_A=atoms.positions, numbers=atoms.numbers, masses_amu=atoms.masses, title=title
    )


def symfc_atoms(crystal: Crystal) -> Any:
    """Return the crystal as ``SymfcAtoms``."""
    from symfc.utils.utils import SymfcAtoms

    return SymfcAtoms(cell=crystal.cell_A, scaled_positions=crystal.fractional, numbers=crystal.numbers)


def symmetry_warnings(crystal: Crystal) -> tuple[str, ...]:
    """Say so where atoms miss symmetric sites by more than rounding but by less than a physical distortion."""
    import spglib

    counts = []
    for tolerance in (SYMMETRY_TOLERANCE_A, LOOSE_TOLERANCE_A):
        found = spglib.get_symmetry((crystal.cell_A, crystal.fractional, crystal.numbers), symprec=tolerance)
        counts.append(1 if found is None else len(found["rotations"]))
    if counts[1] <= counts[0]:
        return ()
    return (
        f"the structure has {counts[0]} symmetry operations, but {counts[1]} within {LOOSE_TOLERANCE_A:g} Å: were its "
        "coordinates written with too few digits? Relaxing it with its symmetry kept, or more digits, saves forces.",
    )


def crystal_distance(first: Crystal, second: Crystal) -> float:
    """Return the largest difference of lattice vectors and positions, Å; inf where species differ."""
    if len(first) != len(second) or (first.numbers != second.numbers).any():
        return float("inf")
    shift = second.fractional - first.fractional
    shift = (shift - np.rint(shift)) @ first.cell_A
    return float(max(np.abs(first.cell_A - second.cell_A).max(), np.abs(shift).max()))
