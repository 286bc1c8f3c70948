"""EIGENVAL: eigenvalues with six decimals, where vasprun.xml and OUTCAR have four."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from phonograph.errors import InputFileError
from phonograph.files.safety import read_text, reading, shown
from phonograph.files.vasp_run import MAX_OUTPUT_BYTES
from phonograph.types import FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Eigenval:
    """Content of an EIGENVAL file.

    Attributes
    ----------
    atoms, electrons
        Number of ions; NELECT, which the file rounds to a whole number.
    k_points, k_weights
        Fractional coordinates of the reciprocal lattice and weights, shapes (k, 3) and (k,).
    eigenvalues_eV
        Shape (spins, k, bands).
    occupations
        Same shape, or None (VASP before 5.4 does not write them).
    """

    atoms: int
    electrons: int
    k_points: FloatArray
    k_weights: FloatArray
    eigenvalues_eV: FloatArray
    occupations: FloatArray | None


def read_eigenval(path: str | os.PathLike[str]) -> Eigenval:
    """Read EIGENVAL (also ``.gz``, ``.xz``).

    Raises
    ------
    InputFileError
        Missing, truncated, longer than its header says, or not an EIGENVAL file.
    """
    place = shown(path)
    lines = [line.split() for line in read_text(path, MAX_OUTPUT_BYTES).splitlines()]
    with reading(path, "an EIGENVAL file"):
        atoms, spins = int(lines[0][0]), int(lines[0][3])
        electrons, points, bands = (int(word) for word in lines[5])
    blocks = [line for line in lines[6:] if line]
    if spins not in (1, 2) or min(atoms, points, bands) < 1 or len(blocks) != points * (bands + 1):
        raise InputFileError(
            f"{place} promises {points} k points of {bands} bands and holds {len(blocks)} lines: the calculation is "
            "unfinished, or the copy is cut; wait for it or copy it again"
        )
    heads = blocks[:: bands + 1]
    rows = [line for number, line in enumerate(blocks) if number % (bands + 1)]
    with reading(path, "an EIGENVAL file"):
        head = np.array(heads, dtype=np.float64).reshape(points, 4)
        table = np.array(rows, dtype=np.float64).reshape(points, bands, -1)
        if table.shape[2] not in (1 + spins, 1 + 2 * spins) or not np.isfinite(table).all():
            raise InputFileError(f"{place} must hold {spins} finite energies per band, with or without occupations")
        if (table[:, :, 0] != np.arange(1, bands + 1)).any():
            raise InputFileError(f"{place} does not count its bands from 1 to {bands}; it is damaged, copy it again")
    filled = table[:, :, 1 + spins :].transpose(2, 0, 1)
    return Eigenval(
        atoms=atoms,
        electrons=electrons,
        k_points=head[:, :3],
        k_weights=head[:, 3],
        eigenvalues_eV=table[:, :, 1 : 1 + spins].transpose(2, 0, 1),
        occupations=filled if filled.size else None,
    )
