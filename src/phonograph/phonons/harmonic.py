"""Harmonic force constants from finite displacements.

Φ_{iα,jβ} = −∂F_{iα}/∂u_{jβ}, from displacements that symmetry cannot make of each other (phonopy) and a least-squares
fit in the space of all force constants that obey the space group, the sum rule and Φ_ij = Φ_jiᵀ (symfc).
Sources: Togo et al., J. Phys.: Condens. Matter 35, 353001 (2023), doi:10.1088/1361-648X/acd831;
Seko & Togo, Phys. Rev. B 110, 214302 (2024), doi:10.1103/PhysRevB.110.214302.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from phonograph.lattice import normal_modes
from phonograph.phonons.audit import RawAudit, raw_audit
from phonograph.phonons.cells import from_phonopy, phonopy_of
from phonograph.phonons.evaluate import ForceField, Reference
from phonograph.phonons.source import ForceSource
from phonograph.types import Crystal, FloatArray, IntArray, Progress
from phonograph.units import EV_PER_A3_IN_GPA

RESIDUAL_FORCE_WARNING_EV_PER_A = 0.01
"""Forces on the atoms at rest beyond this are told, eV/Å."""

RAW_ASYMMETRY_WARNING_EV_PER_A2 = 0.05
"""Finite-difference force constants that are asymmetric or break the sum rule by more than this are told, eV/Å²."""

RESIDUAL_STRESS_WARNING_GPA = 0.5
"""Stress of the crystal at rest beyond this is told, GPa."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Harmonic:
    """Result of :func:`finite_displacements`.

    Attributes
    ----------
    supercell
        The replicated crystal in phonopy's order.
    values_eV_per_A2
        Symmetrised force constants, shape (n, n, 3, 3).
    raw
        Audit of the force constants before symmetrisation: noise of the forces shows here.
    displacements
        Number of displaced supercells at one length.
    sensitivity_THz
        Largest change of a commensurate frequency at twice the length; None where it was not checked.
    reference
        Energy, forces and stress of the supercell at rest.
    """

    supercell: Crystal
    values_eV_per_A2: FloatArray
    raw: RawAudit
    displacements: int
    sensitivity_THz: float | None
    reference: Reference


def supercell_of(unitcell: Crystal, supercell_matrix: IntArray) -> Crystal:
    """Return the supercell, atoms in phonopy's order."""
    return from_phonopy(phonopy_of(unitcell, supercell_matrix).supercell, unitcell.title)


def finite_displacements(
    unitcell: Crystal,
    source: ForceSource,
    supercell_matrix: IntArray,
    field: ForceField,
    progress: Progress | None = None,
) -> Harmonic:
    """Compute harmonic force constants; forces of the supercell at rest are subtracted.

    Parameters
    ----------
    unitcell, supercell_matrix
        Crystal and integer rows, shape (3, 3).
    source
        Displacement length and whether to check it.
    field
        The same source at work.
    progress
        Called as ``progress("phonons: displacements", done, total)``.
    """
    phonon = phonopy_of(unitcell, supercell_matrix)
    supercell = from_phonopy(phonon.supercell, unitcell.title)
    reference = field.reference(supercell)
    lengths = [source.displacement_A] + [2.0 * source.displacement_A] * source.check_displacement
    fits = [_fit(phonon, supercell, length, reference, field, progress) for length in lengths]
    frequencies = [normal_modes(values, supercell.masses_amu).frequencies_THz for values, _, _ in fits]
    values, raw, count = fits[0]
    return Harmonic(
        supercell=supercell,
        values_eV_per_A2=values,
        raw=raw,
        displacements=count,
        sensitivity_THz=float(np.abs(frequencies[-1] - frequencies[0]).max()) if len(fits) > 1 else None,
        reference=reference,
    )


def _fit(
    phonon: Any,
    supercell: Crystal,
    length_A: float,
    reference: Reference,
    field: ForceField,
    progress: Progress | None,
) -> tuple[FloatArray, RawAudit, int]:
    """Return symmetrised force constants, the audit of the raw ones, and the number of displaced supercells."""
    with warnings.catch_warnings():
        # phonopy and symfc announce future changes of their own interfaces.
        warnings.simplefilter("ignore")
        phonon.generate_displacements(distance=length_A)
        positions = np.array([cell.positions for cell in phonon.supercells_with_displacements])
        found = field.evaluate(supercell, positions, what="phonons: displacements", progress=progress)
        phonon.forces = found.forces_eV_per_A - reference.forces_eV_per_A
        phonon.produce_force_constants(fc_calculator="traditional", show_drift=False)
        raw = raw_audit(np.array(phonon.force_constants))
        phonon.produce_force_constants(fc_calculator="symfc", show_drift=False)
    return np.array(phonon.force_constants, dtype=np.float64), raw, len(positions)


def reference_warnings(reference: Reference, name: str) -> tuple[str, ...]:
    """Say so where the crystal at rest is not at rest: forces on atoms, or stress."""
    sentences = []
    force = float(np.linalg.norm(reference.forces_eV_per_A, axis=1).max())
    if force > RESIDUAL_FORCE_WARNING_EV_PER_A:
        sentences.append(
            f"the structure was not relaxed with {name}: forces up to {force:.3g} eV/Å act on its atoms "
            "(they are subtracted); relax it, or take it from the same method."
        )
    if reference.stress_eV_per_A3 is not None:
        stress = reference.stress_eV_per_A3 * EV_PER_A3_IN_GPA
        largest = float(np.abs(stress).max())
        if largest > RESIDUAL_STRESS_WARNING_GPA:
            sentences.append(
                f"at the given lattice {name} finds a stress of {np.trace(stress) / 3:.3g} GPa (tr σ/3, positive = "
                f"tensile; largest component {largest:.3g} GPa) at 0 K; the lattice was kept as given."
            )
    return tuple(sentences)


def harmonic_warnings(result: Harmonic, source: ForceSource) -> tuple[str, ...]:
    """Return sentences about forces at rest and about the trust in the finite displacements."""
    sentences = list(reference_warnings(result.reference, source.name))
    if max(result.raw.sum_rule_eV_per_A2, result.raw.asymmetry_eV_per_A2) > RAW_ASYMMETRY_WARNING_EV_PER_A2:
        sentences.append(
            f"before symmetrisation the finite-difference force constants of {source.name} break the sum rule by "
            f"{result.raw.sum_rule_eV_per_A2:.2g} eV/Å² and are asymmetric by {result.raw.asymmetry_eV_per_A2:.2g} "
            "eV/Å²: noise of the forces."
        )
    if result.sensitivity_THz is not None and result.sensitivity_THz > source.displacement_tolerance_THz:
        sentences.append(
            f"harmonic frequencies change by up to {result.sensitivity_THz:.2f} THz when the displacement is "
            f"{2 * source.displacement_A:g} instead of {source.displacement_A:g} Å: the forces of {source.name} are "
            "noisy or strongly anharmonic at this scale."
        )
    return tuple(sentences)
