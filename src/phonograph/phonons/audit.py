"""Force constants examined, nothing repaired: sum rule, symmetries, range, imaginary modes with their q and character.

Sources: Born & Huang, Dynamical Theory of Crystal Lattices (1954), chapter V (sum rule);
phonopy: Togo et al., J. Phys.: Condens. Matter 35, 353001 (2023), doi:10.1088/1361-648X/acd831.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from phonograph.audit_checks import (
    ASYMMETRY_EV_PER_A2,
    IMAGINARY_THZ,
    REACH,
    SUM_RULE_EV_PER_A2,
    SYMMETRY_EV_PER_A2,
    mode_words,
)
from phonograph.errors import DataError
from phonograph.lattice import normal_modes
from phonograph.phonons.cells import crystal_distance, from_phonopy, phonopy_of
from phonograph.phonons.wave_vectors import imaginary_modes_of, wave_vectors
from phonograph.types import FloatArray, ForceConstants, ImaginaryModes, PhononAudit

SAME_SITE_A = 1.0e-2
"""Atoms of the supercell further than this from the replicated unit cell are in another order, Å."""

SYMMETRISATION_EV_PER_A2 = 0.05
"""A larger change of finite differences when they are symmetrised is told, eV/Å²."""

MOST_LISTED = 8


@dataclass(frozen=True, kw_only=True)
class RawAudit:
    """What can be measured without knowing the crystal; see :func:`raw_audit`.

    Attributes
    ----------
    sum_rule_eV_per_A2
        max_i,αβ |Σ_j Φ_{iα,jβ}|: the force on an atom per Å of rigid shift; 0 for exact force constants.
    asymmetry_eV_per_A2
        max |Φ_{iα,jβ} − Φ_{jβ,iα}|; 0 for exact second derivatives.
    """

    sum_rule_eV_per_A2: float
    asymmetry_eV_per_A2: float


def raw_audit(values_eV_per_A2: FloatArray) -> RawAudit:
    """Measure how far force constants are from translation invariance and from symmetric second derivatives.

    Parameters
    ----------
    values_eV_per_A2
        Full force constants, eV/Å², shape (n, n, 3, 3).
    """
    values = np.asarray(values_eV_per_A2)
    sums = max(np.abs(values.sum(axis=1)).max(), np.abs(values.sum(axis=0)).max())
    asymmetry = np.abs(values - values.transpose(1, 0, 3, 2)).max()
    return RawAudit(sum_rule_eV_per_A2=float(sums), asymmetry_eV_per_A2=float(asymmetry))


def audit(force_constants: ForceConstants, sensitivity_THz: float | None = None) -> PhononAudit:
    """Measure what can be wrong with force constants; nothing is repaired.

    * acoustic sum rule, max |Σ_j Φ_{iα,jβ}|, and symmetry of second derivatives, max |Φ_{iα,jβ} − Φ_{jβ,iα}|;
    * commensurability: Φ_{T(i)T(j)} = Φ_{ij} for every translation T of the primitive lattice;
    * space group: Φ_{P(i)P(j)} = R Φ_{ij} Rᵀ for one operation {R|t} of each rotation, on the rows of one primitive
      cell (with the translations these are all operations);
    * how much of Φ reaches half of the supercell's width;
    * the 3n − 3 commensurate frequencies, and the imaginary ones by wave vector.

    Parameters
    ----------
    force_constants
        Of any supercell; the primitive cell is found from the unit cell's symmetry.
    sensitivity_THz
        Largest change of a frequency at twice the displacement length, where it was measured.

    Raises
    ------
    DataError
        The supercell is not the replicated unit cell in phonopy's order of atoms.
    """
    phonon = phonopy_of(force_constants.unitcell, force_constants.supercell_matrix)
    _check_order(force_constants, phonon)
    values = force_constants.values_eV_per_A2
    raw = raw_audit(values)
    translation = _translation_change(values, phonon)
    frequencies = frequencies_of(force_constants)
    lowest = float(frequencies[0]) if len(frequencies) else 0.0
    return PhononAudit(
        sum_rule_eV_per_A2=raw.sum_rule_eV_per_A2,
        asymmetry_eV_per_A2=raw.asymmetry_eV_per_A2,
        translation_eV_per_A2=translation,
        space_group_eV_per_A2=max(translation, _rotation_change(values, phonon)),
        operations=len(phonon.symmetry.pointgroup_operations),
        crystal_operations=len(phonon.primitive_symmetry.pointgroup_operations),
        primitive_cells=len(phonon.supercell) // len(phonon.primitive),
        half_width_reach=_half_width_reach(values, phonon),
        lowest_THz=lowest,
        positive_definite=lowest >= IMAGINARY_THZ,
        imaginary=imaginary_modes(force_constants) if lowest < -IMAGINARY_THZ else (),
        sensitivity_THz=sensitivity_THz,
    )


def audit_warnings(found: PhononAudit, what: str) -> tuple[str, ...]:
    """Return sentences for what lies beyond the limits; imaginary modes have their own (:func:`imaginary_warning`)."""
    sentences = []
    if found.sum_rule_eV_per_A2 > SUM_RULE_EV_PER_A2:
        sentences.append(
            f"{what} break the acoustic sum rule by up to {found.sum_rule_eV_per_A2:.3g} eV/Å²; translations are "
            "projected out before frequencies are computed, the force constants are left as they are."
        )
    if found.asymmetry_eV_per_A2 > ASYMMETRY_EV_PER_A2:
        sentences.append(
            f"{what} are asymmetric (Φ_ij ≠ Φ_jiᵀ) by up to {found.asymmetry_eV_per_A2:.3g} eV/Å²; "
            "the symmetric part is used."
        )
    if found.translation_eV_per_A2 > SYMMETRY_EV_PER_A2:
        sentences.append(
            f"{what} are not commensurate with the primitive lattice: they change by up to "
            f"{found.translation_eV_per_A2:.3g} eV/Å² from one primitive cell to another; is the order of atoms that "
            "of the supercell? Bands and thermodynamics see one primitive cell only."
        )
    elif found.space_group_eV_per_A2 > SYMMETRY_EV_PER_A2:
        sentences.append(
            f"{what} break the space group of the crystal by up to {found.space_group_eV_per_A2:.3g} eV/Å²; "
            "they are left as they are."
        )
    if found.operations < found.crystal_operations:
        sentences.append(
            f"the supercell has {found.operations} of the crystal's {found.crystal_operations} point-group "
            "operations, so force constants may break the crystal's symmetry; choose one of the lattice's own shape."
        )
    if found.half_width_reach > REACH:
        sentences.append(
            f"{what} reach beyond the supercell: a coupling at or beyond half of its width has "
            f"{100 * found.half_width_reach:.0f} % of the largest; compare with a larger supercell."
        )
    return tuple(sentences)


def symmetrisation_warnings(force_constants: ForceConstants) -> tuple[str, ...]:
    """Say so where force constants changed much when their reader symmetrised them; see ``read_force_constants``."""
    change = force_constants.origin.settings.get("symmetrisation_eV_per_A2")
    if not isinstance(change, float) or change <= SYMMETRISATION_EV_PER_A2:
        return ()
    return (
        f"the finite differences of the given displacements and forces changed by up to {change:.3g} eV/Å² when they "
        "were symmetrised: noise of the forces, or forces in another order of atoms.",
    )


def frequencies_of(force_constants: ForceConstants) -> FloatArray:
    """Return the 3n − 3 commensurate frequencies, THz, ascending, imaginary ones negative."""
    return normal_modes(force_constants.values_eV_per_A2, force_constants.supercell.masses_amu).frequencies_THz


def imaginary_modes(force_constants: ForceConstants) -> tuple[ImaginaryModes, ...]:
    """Return the imaginary commensurate modes by wave vector, lowest first.

    Wave vectors of one name with the same imaginary frequencies (to 0.01 THz) are told together.  The three rigid
    translations at q = 0 are left out.
    """
    return imaginary_modes_of(wave_vectors(force_constants))


def imaginary_warning(found: PhononAudit, frequencies_THz: FloatArray, what: str) -> tuple[str, ...]:
    """Return one sentence that names the imaginary modes and the remedies; empty where there are none."""
    count = int((frequencies_THz < -IMAGINARY_THZ).sum())
    if not count:
        return ()
    places = [mode_words(mode) for mode in found.imaginary]
    more = f"; and {len(places) - MOST_LISTED} more" if len(places) > MOST_LISTED else ""
    return (
        f"{what}: {count} of {len(frequencies_THz)} modes are imaginary, lowest {frequencies_THz[0]:.2f} THz "
        f"({'; '.join(places[:MOST_LISTED])}{more}).",
    )


def _check_order(force_constants: ForceConstants, phonon: Any) -> None:
    distance = crystal_distance(from_phonopy(phonon.supercell, ""), force_constants.supercell)
    if distance > SAME_SITE_A:
        raise DataError(
            "the supercell of the force constants must be the unit cell replicated in phonopy's order of atoms; "
            f"got one that differs by {distance:.3g} Å; read them with read_force_constants, or reorder them"
        )


def _translation_change(values: FloatArray, phonon: Any) -> float:
    """Return max |Φ_{T(i)T(j)} − Φ_{ij}| over the primitive translations: the spread within each orbit of pairs."""
    permutations = np.asarray(phonon.primitive.atomic_permutations)
    rows = np.asarray(phonon.primitive.p2s_map)
    change = 0.0
    for row in rows:
        orbit = values[permutations[:, row][:, None], permutations]
        change = max(change, float(np.ptp(orbit, axis=0).max()))
    return change


def _rotation_change(values: FloatArray, phonon: Any) -> float:
    """Return max |R Φ_{ij} Rᵀ − Φ_{P(i)P(j)}| over one operation of each rotation, i in one primitive cell."""
    symmetry = phonon.symmetry
    rotations = symmetry.symmetry_operations["rotations"]
    rows = np.asarray(phonon.primitive.p2s_map)
    columns = np.array(phonon.supercell.cell).T
    _, chosen = np.unique(rotations.reshape(-1, 9), axis=0, return_index=True)
    change = 0.0
    for place in chosen:
        permutation = np.asarray(symmetry.atomic_permutations[place])
        cartesian = columns @ rotations[place] @ np.linalg.inv(columns)
        turned = cartesian @ values[rows] @ cartesian.T
        change = max(change, float(np.abs(turned - values[permutation[rows][:, None], permutation[None, :]]).max()))
    return change


def _half_width_reach(values: FloatArray, phonon: Any) -> float:
    """Return the largest |Φ_ij| with a distance of at least half of the smallest width, over the largest of i ≠ j.

    A coupling between equally near images is their sum, and counts as shared equally among them.
    """
    rows = np.asarray(phonon.primitive.p2s_map)
    vectors, counts = phonon.primitive.get_smallest_vectors()
    first = counts[:, :, 1].T
    distance = np.linalg.norm(vectors[first] @ np.array(phonon.primitive.cell), axis=-1)
    strength = np.linalg.norm(values[rows], axis=(2, 3)) / counts[:, :, 0].T
    strength[np.arange(len(rows)), rows] = 0.0
    largest = float(strength.max())
    half = 0.5 / float(np.linalg.norm(np.linalg.inv(np.array(phonon.supercell.cell)), axis=0).max())
    beyond = strength[distance >= half * (1 - 1e-6)]
    return float(beyond.max()) / largest if largest > 0 and len(beyond) else 0.0
