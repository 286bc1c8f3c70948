"""The audit of the force constants as tables: what was asked, what was found, and which modes are imaginary."""

from __future__ import annotations

import math

from phonograph.audit_checks import AuditCheck, audit_checks
from phonograph.report.markup import Content, Markup, join, paragraph, table, tag
from phonograph.report.words import fixed, listed, number, percent, plural, point_label, sentence_case
from phonograph.types import ImaginaryModes, PhononAudit, Phonons


def audit_tables(result: Phonons) -> Markup | None:
    """Return the heading, the table of the audit and the list of imaginary modes; None without an audit."""
    audit = result.audit
    if audit is None:
        return None
    checks = audit_checks(audit)
    return join(
        tag("h3", "Audit of the force constants"),
        paragraph(_summary(result, checks)),
        table(
            ["question", "what it is", "found", "should be", _text_head("verdict")],
            [_row(check) for check in checks],
            words=2,
        ),
        _imaginary(audit),
    )


def _summary(result: Phonons, checks: tuple[AuditCheck, ...]) -> str:
    what = "the renormalised force constants" if result.temperature_K is not None else "the force constants"
    asked = [check for check in checks if check.passed is not None]
    failed = [check.name for check in asked if not check.passed]
    verdict = f"all {len(asked)} hold" if not failed else f"{len(failed)} of {len(asked)} do not hold: {listed(failed)}"
    start = f"Asked of {what} as they are, nothing repaired; {verdict}."
    before = result.origin.settings.get("displacement_sensitivity_THz")
    if result.harmonic is None or not isinstance(before, float):
        return start
    return (
        f"{start} Of the harmonic ones before renormalisation, frequencies change by up to {fixed(before, 3)} THz when "
        "the finite displacements are twice as long."
    )


def _row(check: AuditCheck) -> list[Content]:
    unit = f"\u202f{check.unit}" if check.unit else ""
    found = f"{_size(check.found)}{unit}" if check.passed is not None else "–"
    return [
        sentence_case(check.name),
        tag("td", sentence_case(check.meaning), class_="w wrap"),
        found,
        f"{check.relation} {check.limit:g}{unit}",
        _verdict(check),
    ]


def _text_head(words: str) -> Markup:
    """Return the head of a column of words that stands right of columns of numbers."""
    return tag("th", words, class_="w", scope="col")


def _size(value: float) -> str:
    """Return a number in words; rounding errors, as 3·10⁻¹⁵, are not worth three digits."""
    return number(value, 1) if 0 < abs(value) < 1e-6 else number(value, 3) if value % 1 else f"{value:.0f}"


def _verdict(check: AuditCheck) -> Markup:
    if check.passed is None:
        return tag("td", "not measured", class_="w")
    return tag("td", "✓ holds" if check.passed else "✗ does not hold", class_=f"{'pass' if check.passed else 'fail'} w")


def _imaginary(audit: PhononAudit) -> Markup:
    vectors = plural(audit.primitive_cells, "commensurate wave vector")
    if not audit.imaginary:
        return paragraph(f"No mode is imaginary at the {vectors} of the supercell.", class_="quiet")
    total = sum(mode.count * mode.equivalents for mode in audit.imaginary)
    head: list[Content] = ["q", "point", "wave vectors", "modes at each", "lowest (THz)", "of that level"]
    head += [_text_head("who moves"), _text_head("direction")]
    return join(
        paragraph(f"{plural(total, 'mode')} at the {vectors} are imaginary:"),
        table(head, [_mode(mode) for mode in audit.imaginary], words=2),
    )


def _mode(mode: ImaginaryModes) -> list[Content]:
    movers = ", ".join(f"{symbol} {percent(share)}" for symbol, share in mode.character if share >= 0.005)
    return [
        f"({', '.join(f'{component:.3g}' for component in mode.q)})",
        point_label(mode.label) or "–",
        str(mode.equivalents),
        str(mode.count),
        fixed(mode.lowest_THz, 2),
        str(mode.degeneracy),
        tag("td", movers, class_="w"),
        tag("td", _direction(mode.longitudinal), class_="w"),
    ]


def _direction(longitudinal: float | None) -> str:
    if longitudinal is None or not math.isfinite(longitudinal):
        return "–"
    if longitudinal > 0.99:
        return "longitudinal"
    return "transverse" if longitudinal < 0.01 else f"{percent(longitudinal)} longitudinal"
