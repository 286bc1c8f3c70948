"""Force constants examined, nothing repaired: sum rule, symmetry of second derivatives, imaginary modes with their q.

Sources: Born & Huang, Dynamical Theory of Crystal Lattices (1954), chapter V (sum rule);
phonopy: Togo et al., J. Phys.: Condens. Matter 35, 353001 (2023), doi:10.1088/1361-648X/acd831.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from phonograph.lattice import normal_modes
from phonograph.phonons.cells import phonopy_of
from phonograph.types import FloatArray, ForceConstants

SUM_RULE_WARNING_EV_PER_A2 = 0.01
"""A rigid shift of the crystal that costs more than this is told, eV/Å²."""

ASYMMETRY_WARNING_EV_PER_A2 = 0.01
"""A difference Φ_{ij} − Φ_{ji}ᵀ beyond this is told, eV/Å²."""

IMAGINARY_THZ = 1.0e-3
"""Frequencies below −IMAGINARY_THZ count as imaginary; what lies between is rounding."""

MOST_LISTED = 8


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What :func:`audit` measured.

    Attributes
    ----------
    sum_rule_eV_per_A2
        max_i,αβ |Σ_j Φ_{iα,jβ}|: the force on an atom per Å of rigid shift; 0 for exact force constants.
    asymmetry_eV_per_A2
        max |Φ_{iα,jβ} − Φ_{jβ,iα}|; 0 for exact second derivatives.
    """

    sum_rule_eV_per_A2: float
    asymmetry_eV_per_A2: float


@dataclass(frozen=True, kw_only=True)
class ImaginaryModes:
    """Imaginary modes at one wave vector and its equivalents.

    Attributes
    ----------
    q
        Wave vector in units of the primitive reciprocal lattice, components in [0, 1).
    equivalents
        How many commensurate wave vectors carry the same imaginary frequencies, this one included.
    count
        Imaginary modes at each of them.
    lowest_THz
        The lowest, negative.
    degeneracy
        Modes at each of them within 0.01 THz of the lowest.
    """

    q: tuple[float, float, float]
    equivalents: int
    count: int
    lowest_THz: float
    degeneracy: int


def audit(values_eV_per_A2: FloatArray) -> Audit:
    """Measure how far force constants are from translation invariance and from symmetric second derivatives.

    Parameters
    ----------
    values_eV_per_A2
        Full force constants, eV/Å², shape (n, n, 3, 3).
    """
    values = np.asarray(values_eV_per_A2)
    sums = max(np.abs(values.sum(axis=1)).max(), np.abs(values.sum(axis=0)).max())
    asymmetry = np.abs(values - values.transpose(1, 0, 3, 2)).max()
    return Audit(sum_rule_eV_per_A2=float(sums), asymmetry_eV_per_A2=float(asymmetry))


def audit_warnings(found: Audit, what: str) -> tuple[str, ...]:
    """Return sentences for what lies above the thresholds."""
    sentences = []
    if found.sum_rule_eV_per_A2 > SUM_RULE_WARNING_EV_PER_A2:
        sentences.append(
            f"{what} break the acoustic sum rule by up to {found.sum_rule_eV_per_A2:.3g} eV/Å²; translations are "
            "projected out before frequencies are computed, the force constants are left as they are."
        )
    if found.asymmetry_eV_per_A2 > ASYMMETRY_WARNING_EV_PER_A2:
        sentences.append(
            f"{what} are asymmetric (Φ_ij ≠ Φ_jiᵀ) by up to {found.asymmetry_eV_per_A2:.3g} eV/Å²; "
            "the symmetric part is used."
        )
    return tuple(sentences)


def frequencies_of(force_constants: ForceConstants) -> FloatArray:
    """Return the 3n − 3 commensurate frequencies, THz, ascending, imaginary ones negative."""
    return normal_modes(force_constants.values_eV_per_A2, force_constants.supercell.masses_amu).frequencies_THz


def commensurate_frequencies(force_constants: ForceConstants) -> tuple[FloatArray, FloatArray]:
    """Return every wave vector that the supercell can show, and its frequencies, by phonopy.

    Returns
    -------
    tuple
        q in units of the primitive reciprocal lattice, shape (N, 3), components in [0, 1); frequencies in THz,
        shape (N, branches), imaginary ones negative.  N is the number of primitive cells in the supercell.
    """
    from phonopy.harmonic.dynmat_to_fc import get_commensurate_points

    phonon = phonopy_of(force_constants.unitcell, force_constants.supercell_matrix)
    phonon.force_constants = np.array(force_constants.values_eV_per_A2)
    relative = np.rint(np.linalg.inv(phonon.primitive_matrix) @ phonon.supercell_matrix).astype(np.int64)
    points = np.array(get_commensurate_points(relative), dtype=np.float64)
    phonon.run_qpoints(points)
    return np.mod(points + 1e-9, 1.0) - 1e-9, np.array(phonon.qpoints.frequencies, dtype=np.float64)


def imaginary_modes(force_constants: ForceConstants) -> tuple[ImaginaryModes, ...]:
    """Return the imaginary commensurate modes by wave vector, lowest first.

    Wave vectors with the same imaginary frequencies (to 0.01 THz) are told together.  The three rigid translations
    at q = 0 are left out.
    """
    points, frequencies = commensurate_frequencies(force_constants)
    groups: dict[tuple[float, ...], list[int]] = {}
    for index, (q, values) in enumerate(zip(points, frequencies, strict=True)):
        found = np.sort(values)
        if np.abs(q).max() < 1e-6:
            found = _without_translations(found)
        found = found[found < -IMAGINARY_THZ]
        if len(found):
            groups.setdefault((len(found), *np.round(found, 2)), []).append(index)
    modes = [_group(points[indices], levels[1:]) for levels, indices in groups.items()]
    return tuple(sorted(modes, key=lambda mode: mode.lowest_THz))


def _without_translations(frequencies: FloatArray) -> FloatArray:
    """Drop the three values nearest to zero; at q = 0 with the sum rule obeyed these are the translations."""
    return np.sort(frequencies[np.argsort(np.abs(frequencies))[3:]])


def _group(points: FloatArray, levels: tuple[float, ...]) -> ImaginaryModes:
    # Of equivalent vectors the one with the fewest and smallest components first is the easiest to read.
    q = min(np.round(points, 6).tolist(), key=lambda item: (sum(component > 0 for component in item), item[::-1]))
    return ImaginaryModes(
        q=(abs(q[0]), abs(q[1]), abs(q[2])),
        equivalents=len(points),
        count=len(levels),
        lowest_THz=float(min(levels)),
        degeneracy=int(sum(level <= min(levels) + 0.01 for level in levels)),
    )


def imaginary_warning(force_constants: ForceConstants, frequencies_THz: FloatArray, what: str) -> tuple[str, ...]:
    """Return one sentence that names the imaginary modes and the remedies; empty where there are none."""
    count = int((frequencies_THz < -IMAGINARY_THZ).sum())
    if not count:
        return ()
    places = [_words(mode) for mode in imaginary_modes(force_constants)]
    more = f"; and {len(places) - MOST_LISTED} more" if len(places) > MOST_LISTED else ""
    return (
        f"{what}: {count} of {len(frequencies_THz)} modes are imaginary, lowest {frequencies_THz[0]:.2f} THz "
        f"({'; '.join(places[:MOST_LISTED])}{more}).",
    )


def _words(mode: ImaginaryModes) -> str:
    q = ", ".join(f"{component:.3g}" for component in mode.q)
    others = f" and {mode.equivalents - 1} equivalent" if mode.equivalents > 1 else ""
    each = " each" if mode.equivalents > 1 else ""
    return f"q = ({q}){others}: {mode.count}{each}, lowest {mode.lowest_THz:.2f} THz ×{mode.degeneracy}"
