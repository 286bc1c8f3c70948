"""The section on phonons: harmonic, renormalised or both; the audit, and every figure with its numbers."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from phonograph.phonons.audit import audit
from phonograph.phonons.properties import phonon_properties
from phonograph.report.sections.phonon_properties import species_rms
from phonograph.report.sections.phonons import phonons
from phonograph.types import Phonons


def shown(material, result: Phonons) -> str:
    return str(phonons(replace(material, phonons=result)).render("2"))


def words(markup: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", markup))


@pytest.fixture(scope="module")
def harmonic(material) -> Phonons:
    """The soft harmonic phonons of the made-up run alone, as a run without renormalisation has them."""
    result = material.phonons
    return replace(
        result,
        force_constants=result.harmonic,
        harmonic=None,
        method="finite-displacement",
        temperature_K=None,
        frequencies_THz=result.harmonic_frequencies_THz,
        frequency_error_THz=np.zeros_like(result.frequencies_THz),
        spectrum=result.harmonic_spectrum,
        rounds=(),
        converged=None,
        line_widths_THz=None,
        line_width_errors_THz=None,
        audit=audit(result.harmonic, 0.5),
        properties=phonon_properties(result.harmonic, mesh=(6, 6, 6)),
    )


def test_figures_are_numbered_without_gaps(material, harmonic):
    for result, last in ((material.phonons, 6), (harmonic, 4)):
        numbers = re.findall(r"<b>Figure 2\.(\d)\.</b>", shown(material, result))
        assert [int(number) for number in numbers] == list(range(1, last + 1))


def test_the_audit_is_a_table_with_verdicts(material, harmonic):
    good = words(shown(material, material.phonons))
    assert "Asked of the renormalised force constants as they are, nothing repaired; all 7 hold." in good
    assert "by up to 0.042 THz when the finite displacements are twice as long" in good
    assert "No mode is imaginary at the 8 commensurate wave vectors" in good
    bad = words(shown(material, harmonic))
    assert "2 of 8 do not hold: positive definiteness and displacement length." in bad
    total = sum(mode.count * mode.equivalents for mode in harmonic.audit.imaginary)
    assert total == int((harmonic.frequencies_THz < -1e-3).sum())
    assert f"{total} modes at the 8 commensurate wave vectors are imaginary" in bad
    assert "this is not the thermodynamics of a stable crystal" in bad


def test_every_imaginary_level_is_a_row(material, harmonic):
    part = shown(material, harmonic)
    rows = [words(row) for row in re.findall(r"<tr>.*?</tr>", part)]
    for mode in harmonic.audit.imaginary:
        q = f"({', '.join(f'{component:.3g}' for component in mode.q)}) {mode.label} {mode.equivalents} {mode.count}"
        (row,) = (row for row in rows if q in row)
        assert f"\u2212{-mode.lowest_THz:.2f}" in row
        assert mode.character[0][0] in row


def test_thermodynamics_in_the_table_are_those_of_the_result(material):
    found = material.phonons.properties
    part = shown(material, material.phonons)
    place = int(np.argmin(np.abs(found.temperatures_K - 300.0)))
    # 96485.332 J/(mol K) per eV/K.
    row = f"<td>300.0</td><td>{found.free_energy_eV[place]:.5f}".replace("-", "\u2212")
    assert row in part
    assert f"<td>{found.heat_capacity_eV_per_K[place] * 96485.33212:.3f}</td>" in part
    for values in species_rms(found).values():
        assert f"<td>{values[place]:.4f}</td>" in part


def test_phonons_of_an_ensemble_without_harmonic_ones_are_not_called_harmonic(material):
    result = replace(
        material.phonons,
        harmonic=None,
        method="regression",
        rounds=(),
        converged=None,
        harmonic_frequencies_THz=material.phonons.frequencies_THz,
    )
    part = words(shown(material, result))
    assert "No harmonic phonons were computed. Renormalised at 300 K by a fit to forces at that temperature" in part
    assert "Harmonic (0 K)" not in part
    assert "harmonic (THz)" not in part


def test_mode_projection_names_its_route(material):
    result = replace(material.phonons, method="mode-projection", rounds=(), converged=None)
    part = words(shown(material, result))
    assert "Renormalised at 300 K from the lines of the modes in molecular dynamics the lowest mode is at" in part
    assert "rounds" not in part


def test_the_curvature_of_the_free_energy_is_a_sentence_and_two_columns(material):
    plain = words(shown(material, material.phonons))
    assert "curvature" not in plain
    values = material.phonons.frequencies_THz
    for lowest, verdict in ((0.4, "stable"), (-0.4, "not stable"), (0.1, "stability is undecided")):
        curvature = np.concatenate([[lowest], values[1:] - 0.0123])
        result = replace(
            material.phonons, curvature_frequencies_THz=curvature, curvature_errors_THz=np.full(len(values), 0.1)
        )
        part = words(shown(material, result))
        sign = "\u2212" if lowest < 0 else ""
        assert f"has its lowest mode at {sign}{abs(lowest):.2f} ± 0.10 THz: {verdict}." in part
        assert f"{curvature[-1]:.3f} 0.100" in part


def test_line_widths_are_drawn_where_there_are_some(material):
    part = shown(material, material.phonons)
    assert "2 of 117 modes have no line that could be fitted" in part
    assert "upper bound" not in part
    bounds = np.where(np.arange(117) < 5, np.nan, material.phonons.line_width_errors_THz)
    part = words(shown(material, replace(material.phonons, line_width_errors_THz=bounds)))
    assert "Open diamonds are upper bounds" in part
    assert 3 <= part.count("upper bound ") <= 5
    none = replace(material.phonons, line_widths_THz=np.full(117, np.nan))
    assert "Line widths" not in shown(material, none)


def test_phonons_without_audit_and_properties_have_their_spectra(material):
    part = shown(material, replace(material.phonons, audit=None, properties=None, line_widths_THz=None))
    assert part.count("<figure") == 3
    assert "Audit" not in part
