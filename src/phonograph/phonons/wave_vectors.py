"""The wave vectors that a supercell can show, and who moves in the imaginary modes at them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from phonograph.audit_checks import IMAGINARY_THZ
from phonograph.phonons.cells import phonopy_of
from phonograph.phonons.spectrum import standard_points
from phonograph.types import FloatArray, ForceConstants, ImaginaryModes

SAME_LEVEL_THZ = 0.01
"""Frequencies closer than this are one level, THz."""

SAME_Q = 1.0e-5


@dataclass(frozen=True, kw_only=True, eq=False)
class WaveVectors:
    """Commensurate wave vectors with frequencies and eigenvectors, by phonopy.

    Attributes
    ----------
    q
        In units of the primitive reciprocal lattice, components in [0, 1), shape (N, 3), for N primitive cells.
    frequencies_THz
        Shape (N, branches), ascending, imaginary ones negative.
    vectors
        Orthonormal mass-weighted eigenvectors as columns, complex, shape (N, branches, branches).
    symbols
        Chemical symbols of the primitive cell.
    reciprocal
        Primitive reciprocal lattice as columns, without 2π, 1/Å, shape (3, 3).
    labels
        Name of each q on the standard path, empty where it has none.
    """

    q: FloatArray
    frequencies_THz: FloatArray
    vectors: Any
    symbols: tuple[str, ...]
    reciprocal: FloatArray
    labels: tuple[str, ...]


def wave_vectors(force_constants: ForceConstants) -> WaveVectors:
    """Return every wave vector that the supercell can show, with its modes."""
    from phonopy.harmonic.dynmat_to_fc import get_commensurate_points

    phonon = phonopy_of(force_constants.unitcell, force_constants.supercell_matrix)
    phonon.force_constants = np.array(force_constants.values_eV_per_A2)
    relative = np.rint(np.linalg.inv(phonon.primitive_matrix) @ phonon.supercell_matrix).astype(np.int64)
    points = np.array(get_commensurate_points(relative), dtype=np.float64)
    phonon.run_qpoints(points, with_eigenvectors=True)
    cell = np.array(phonon.primitive.cell)
    wrapped = np.mod(points + 1e-9, 1.0) - 1e-9
    return WaveVectors(
        q=wrapped,
        frequencies_THz=np.array(phonon.qpoints.frequencies, dtype=np.float64),
        vectors=np.array(phonon.qpoints.eigenvectors),
        symbols=tuple(phonon.primitive.symbols),
        reciprocal=np.linalg.inv(cell),
        labels=_labels(wrapped, cell, np.asarray(phonon.primitive_symmetry.reciprocal_operations)),
    )


def commensurate_frequencies(force_constants: ForceConstants) -> tuple[FloatArray, FloatArray]:
    """Return every wave vector that the supercell can show, and its frequencies, by phonopy.

    Returns
    -------
    tuple
        q in units of the primitive reciprocal lattice, shape (N, 3), components in [0, 1); frequencies in THz,
        shape (N, branches), imaginary ones negative.  N is the number of primitive cells in the supercell.
    """
    found = wave_vectors(force_constants)
    return found.q, found.frequencies_THz


def imaginary_modes_of(found: WaveVectors) -> tuple[ImaginaryModes, ...]:
    """Return the imaginary modes, those of equally named wave vectors with the same frequencies together."""
    groups: list[tuple[str, FloatArray, list[int]]] = []
    for index, (q, label, values) in enumerate(zip(found.q, found.labels, found.frequencies_THz, strict=True)):
        levels = np.sort(values)
        if np.abs(q).max() < SAME_Q:
            levels = _without_translations(levels)
        levels = levels[levels < -IMAGINARY_THZ]
        if not len(levels):
            continue
        for name, other, members in groups:
            if name == label and len(other) == len(levels) and np.abs(other - levels).max() < SAME_LEVEL_THZ:
                members.append(index)
                break
        else:
            groups.append((label, levels, [index]))
    modes = [_group(found, levels, members) for _, levels, members in groups]
    return tuple(sorted(modes, key=lambda mode: mode.lowest_THz))


def _without_translations(frequencies: FloatArray) -> FloatArray:
    """Drop the three values nearest to zero; at q = 0 with the sum rule obeyed these are the translations."""
    return np.sort(frequencies[np.argsort(np.abs(frequencies))[3:]])


def _group(found: WaveVectors, levels: FloatArray, members: list[int]) -> ImaginaryModes:
    points = np.abs(np.round(found.q[members], 6))
    # Of equivalent vectors the one with the fewest and smallest components first is the easiest to read.
    chosen = min(range(len(members)), key=lambda place: (int((points[place] > 0).sum()), points[place].tolist()[::-1]))
    index = members[chosen]
    level = np.abs(found.frequencies_THz[index] - levels[0]) <= SAME_LEVEL_THZ
    vectors = found.vectors[index][:, level]
    return ImaginaryModes(
        q=(float(points[chosen][0]), float(points[chosen][1]), float(points[chosen][2])),
        label=found.labels[index],
        equivalents=len(members),
        count=len(levels),
        lowest_THz=float(levels[0]),
        degeneracy=int((levels <= levels[0] + SAME_LEVEL_THZ).sum()),
        character=_character(vectors, found.symbols),
        longitudinal=_longitudinal(vectors, found.q[index], found.reciprocal),
    )


def _character(vectors: Any, symbols: tuple[str, ...]) -> tuple[tuple[str, float], ...]:
    """Return the share of each species in |e|², averaged over the level, largest first."""
    weights = (np.abs(vectors) ** 2).mean(axis=1).reshape(-1, 3).sum(axis=1)
    shares = {symbol: 0.0 for symbol in symbols}
    for symbol, weight in zip(symbols, weights, strict=True):
        shares[symbol] += float(weight)
    return tuple(sorted(shares.items(), key=lambda item: (-round(item[1], 9), item[0])))


def _longitudinal(vectors: Any, q: FloatArray, reciprocal: FloatArray) -> float | None:
    """Return the share of |e|² along q; None where the direction of q is not unique."""
    shifts = np.array(list(itertools.product((-2, -1, 0, 1), repeat=3)))
    equivalents = (q + shifts) @ reciprocal.T
    lengths = np.linalg.norm(equivalents, axis=1)
    if lengths.min() < SAME_Q:
        return None
    directions = equivalents[lengths < lengths.min() * (1 + 1e-6)] / lengths.min()
    if np.abs(directions @ directions[0]).min() < 1 - 1e-6:
        return None
    along = np.einsum("ajv,j->av", vectors.reshape(-1, 3, vectors.shape[1]), directions[0])
    return float((np.abs(along) ** 2).sum() / vectors.shape[1])


def _labels(points: FloatArray, cell_A: FloatArray, operations: Any) -> tuple[str, ...]:
    """Return the name of the standard point that each q is, up to symmetry and reciprocal lattice vectors."""
    named = standard_points(cell_A)
    labels = [""] * len(points)
    for name, place in named.items():
        star = np.concatenate([operations @ place, -(operations @ place)])
        for index, q in enumerate(points):
            shift = star - q
            if not labels[index] and np.abs(shift - np.rint(shift)).max(axis=1).min() < SAME_Q:
                labels[index] = "Γ" if name in ("G", "GAMMA", "Gamma") else name
    return tuple(labels)
