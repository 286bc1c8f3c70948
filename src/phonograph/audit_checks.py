"""What an audit of force constants asks, the limits it asks with, and how it is said: one list for every reader."""

from __future__ import annotations

import math
from dataclasses import dataclass

from phonograph.types.phonon_results import ImaginaryModes, PhononAudit

SUM_RULE_EV_PER_A2 = 0.01
"""A rigid shift of the crystal that costs more than this is told, eV/Å²."""

ASYMMETRY_EV_PER_A2 = 0.01
"""A difference Φ_{ij} − Φ_{ji}ᵀ beyond this is told, eV/Å²."""

SYMMETRY_EV_PER_A2 = 0.01
"""A change of Φ under a symmetry operation of the crystal beyond this is told, eV/Å²."""

REACH = 0.5
"""Couplings at or beyond half of the supercell's width that exceed this share of the largest are told."""

SENSITIVITY_THZ = 0.3
"""A change of a frequency at twice the displacement length beyond this is told, THz."""

IMAGINARY_THZ = 1.0e-3
"""Frequencies below −IMAGINARY_THZ count as imaginary; what lies between is rounding."""


@dataclass(frozen=True, kw_only=True)
class AuditCheck:
    """One question of the audit.

    Attributes
    ----------
    name, meaning
        What it is called, and what it is in a few words.
    found, unit
        What was measured; NaN where it was not.
    relation, limit
        ``"≤"`` or ``"≥"``, and the number that ``found`` is compared with.
    passed
        None where nothing was measured.
    """

    name: str
    meaning: str
    found: float
    unit: str
    relation: str
    limit: float
    passed: bool | None


def audit_checks(audit: PhononAudit) -> tuple[AuditCheck, ...]:
    """Return the questions of the audit in the order in which they are told."""
    return (*_invariances(audit), *_trust(audit))


def _invariances(audit: PhononAudit) -> tuple[AuditCheck, ...]:
    """Return what exact force constants obey."""
    return (
        _at_most(
            "acoustic sum rule",
            "force on an atom when the whole crystal is shifted by 1 Å",
            audit.sum_rule_eV_per_A2,
            SUM_RULE_EV_PER_A2,
            "eV/Å²",
        ),
        _at_most(
            "symmetry Φ_ij = Φ_jiᵀ",
            "difference between Φ_ij and the transpose of Φ_ji",
            audit.asymmetry_eV_per_A2,
            ASYMMETRY_EV_PER_A2,
            "eV/Å²",
        ),
        _at_most(
            "commensurability",
            "change of Φ from one primitive cell of the supercell to another",
            audit.translation_eV_per_A2,
            SYMMETRY_EV_PER_A2,
            "eV/Å²",
        ),
        _at_most(
            "space group",
            "change of Φ under the symmetry operations of crystal and supercell",
            audit.space_group_eV_per_A2,
            SYMMETRY_EV_PER_A2,
            "eV/Å²",
        ),
    )


def _trust(audit: PhononAudit) -> tuple[AuditCheck, ...]:
    """Return what the supercell, the stability and the finite displacements say."""
    sensitivity = float("nan") if audit.sensitivity_THz is None else audit.sensitivity_THz
    return (
        _at_least(
            "symmetry of the supercell",
            "point-group operations of the crystal that the supercell keeps",
            float(audit.operations),
            float(audit.crystal_operations),
            "",
        ),
        _at_most(
            "range",
            "largest coupling from half of the supercell's width on, over the largest of all",
            audit.half_width_reach,
            REACH,
            "",
        ),
        _at_least(
            "positive definiteness",
            "lowest frequency without the three translations",
            audit.lowest_THz,
            IMAGINARY_THZ,
            "THz",
        ),
        _at_most(
            "displacement length",
            "largest change of a frequency at twice the displacement length",
            sensitivity,
            SENSITIVITY_THZ,
            "THz",
        ),
    )


def _at_most(name: str, meaning: str, found: float, limit: float, unit: str) -> AuditCheck:
    passed = None if math.isnan(found) else found <= limit
    return AuditCheck(name=name, meaning=meaning, found=found, unit=unit, relation="≤", limit=limit, passed=passed)


def _at_least(name: str, meaning: str, found: float, limit: float, unit: str) -> AuditCheck:
    return AuditCheck(
        name=name, meaning=meaning, found=found, unit=unit, relation="≥", limit=limit, passed=found >= limit
    )


def audit_lines(audit: PhononAudit, of: str = "") -> list[str]:
    """Return the audit as lines of text: one per question, then the imaginary modes by wave vector.

    Parameters
    ----------
    audit
        What :func:`phonograph.phonons.audit` measured.
    of
        Which force constants, for the heading.
    """
    lines = [f"audit of the force constants{f' ({of})' if of else ''}; nothing is repaired:"]
    for check in audit_checks(audit):
        found = f"{found_words(check)} ({check.relation} {check.limit:g})" if check.passed is not None else ""
        lines.append(f"  {verdict_words(check):12}  {check.name:25}  {found:28}  {check.meaning}")
    if not audit.imaginary:
        return [*lines, f"  no imaginary modes at the {audit.primitive_cells} commensurate wave vectors"]
    total = sum(mode.count * mode.equivalents for mode in audit.imaginary)
    lines.append(f"  {total} imaginary modes at the {audit.primitive_cells} commensurate wave vectors:")
    return lines + [f"    {mode_words(mode)}" for mode in audit.imaginary]


def verdict_words(check: AuditCheck) -> str:
    """Return the verdict in words."""
    return {True: "passed", False: "not passed", None: "not measured"}[check.passed]


def found_words(check: AuditCheck) -> str:
    """Return what was found with its unit."""
    return f"{check.found:.3g}{f' {check.unit}' if check.unit else ''}"


def check_sentence(check: AuditCheck) -> str:
    """Return one question with its answer as a sentence."""
    if check.passed is None:
        return f"{check.name} ({check.meaning}): not measured."
    limit = f"should be {check.relation} {check.limit:g}"
    return f"{check.name} ({check.meaning}): {found_words(check)}, {limit}: {verdict_words(check)}."


def mode_words(mode: ImaginaryModes) -> str:
    """Return imaginary modes in words: where, how many, how low, who moves."""
    others = f" and {mode.equivalents - 1} equivalent" if mode.equivalents > 1 else ""
    each = " each" if mode.equivalents > 1 else ""
    movers = ", ".join(f"{symbol} {100 * share:.0f} %" for symbol, share in mode.character if share >= 0.005)
    who = f", {movers}" if movers else ""
    return (
        f"{point_words(mode)}{others}: {mode.count}{each}, lowest {mode.lowest_THz:.2f} THz ×{mode.degeneracy}"
        f"{who}{_direction(mode)}"
    )


def point_words(mode: ImaginaryModes) -> str:
    """Return the wave vector with its name, for example ``q = (0.5, 0.5, 0) M``."""
    q = ", ".join(f"{component:.3g}" for component in mode.q)
    return f"q = ({q}){f' {mode.label}' if mode.label else ''}"


def _direction(mode: ImaginaryModes) -> str:
    if mode.longitudinal is None:
        return ""
    if mode.longitudinal > 0.99:
        return ", longitudinal"
    return ", transverse" if mode.longitudinal < 0.01 else f", {100 * mode.longitudinal:.0f} % longitudinal"
