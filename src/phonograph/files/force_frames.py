"""Displaced supercells with forces as extended XYZ: matched to the supercell at rest, frame by frame."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from phonograph.errors import DataError, InputFileError
from phonograph.files.extxyz import extxyz_atoms
from phonograph.files.safety import MAX_SET_BYTES, read_text, shown
from phonograph.types import Crystal, FloatArray, Trajectory, displacements, matched

FORCE_COLUMNS = ("forces", "REF_forces", "force")
"""Names that forces, eV/Å, have in extended XYZ."""

AT_REST_A = 1e-4
"""A frame without a displacement beyond this is the supercell at rest; its forces are taken off all others."""


def read_force_frames(path: str | os.PathLike[str], supercell: Crystal) -> tuple[dict[str, Any], str]:
    """Return displacements and forces of all frames, and what was done about forces at rest.

    Displacements are taken from the nearest image, without the motion of the centre of mass.

    Parameters
    ----------
    path
        Extended XYZ; forces, eV/Å, in a column ``forces``, ``REF_forces`` or ``force``.
    supercell
        The crystal at rest, atoms in phonopy's order.

    Returns
    -------
    tuple
        phonopy's dataset of type 2 (Å, eV/Å), and ``"subtracted"`` or ``"not given"``.

    Raises
    ------
    InputFileError
        Naming the frame: no forces, NaN forces, another cell, other elements, another order of the atoms.
    """
    place = shown(path)
    moves: list[FloatArray] = []
    forces: list[FloatArray] = []
    for index, atoms in enumerate(extxyz_atoms(read_text(path, MAX_SET_BYTES), place)):
        frame = Trajectory(
            cell_A=np.array(atoms.cell),
            numbers=atoms.numbers,
            masses_amu=atoms.get_masses(),
            positions_A=_finite(atoms.positions, f"{place} frame {index}: the positions")[None],
            forces_eV_per_A=_forces(atoms, f"{place} frame {index}")[None],
        )
        try:
            found = matched(frame, supercell)
        except DataError as error:
            raise InputFileError(f"{place} frame {index}: {error}") from error
        assert found.forces_eV_per_A is not None
        moves.append(displacements(found, supercell)[0])
        forces.append(found.forces_eV_per_A[0])
    return _without_rest(np.array(moves), np.array(forces), place)


def _forces(atoms: Any, place: str) -> FloatArray:
    known = {**atoms.arrays, **(atoms.calc.results if atoms.calc else {})}
    name = next((name for name in FORCE_COLUMNS if name in known), None)
    if name is None:
        raise InputFileError(f"{place} holds no forces; expected a column {', '.join(FORCE_COLUMNS)} in eV/Å")
    values = np.asarray(known[name])
    if values.shape != (len(atoms), 3) or values.dtype.kind not in "fi":
        raise InputFileError(f"{place}: the column {name} must hold three numbers per atom; got {values.shape}")
    return _finite(values, f"{place}: the forces")


def _finite(values: Any, what: str) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if not np.isfinite(array).all():
        raise InputFileError(f"{what} must be finite; got {int((~np.isfinite(array)).sum())} NaN or infinite values")
    return array


def _without_rest(moves: FloatArray, forces: FloatArray, place: str) -> tuple[dict[str, Any], str]:
    rest = np.abs(moves).max(axis=(1, 2)) < AT_REST_A
    if rest.all():
        raise InputFileError(f"{place} holds no displaced supercell; expected frames with atoms off their sites")
    if not rest.any():
        return {"displacements": moves, "forces": forces}, "not given"
    return {"displacements": moves[~rest], "forces": forces[~rest] - forces[rest].mean(axis=0)}, "subtracted"
