"""Part 2: the phonon spectrum before and after renormalisation, its audit, and what follows from it."""

from __future__ import annotations

import itertools

import numpy as np

from phonograph.audit_checks import IMAGINARY_THZ
from phonograph.report.markup import Content, Markup, figure, fold, join, table
from phonograph.report.material import ReportMaterial
from phonograph.report.outline import Section, legend
from phonograph.report.palette import BLUE, GREY, VERMILLION
from phonograph.report.sections.phonon_audit import audit_tables
from phonograph.report.sections.phonon_properties import (
    displacements,
    dos_chart,
    dos_legend,
    dos_table,
    line_widths,
    thermodynamics,
)
from phonograph.report.svg import Chart, data_range, log_range
from phonograph.report.words import fixed, number, percent, plural, plus_minus, point_label, sentence_case
from phonograph.types import FloatArray, Phonons, Spectrum

TITLE = "Phonons"
HEIGHT = 350
NO_PHONONS = "No phonons: the displaced structures of this run were brought, or drawn without force constants."


def phonons(material: ReportMaterial) -> Section:
    """Return the section with the spectra, the commensurate modes and the history of the renormalisation."""
    result = material.phonons
    if result is None:
        return Section(key="phonons", title=TITLE, lead=NO_PHONONS)
    parts: list[Markup | None] = [_spectra(result), _modes(result)]
    if result.rounds:
        parts.append(_convergence(result))
    number_next = 4 if result.rounds else 3
    for make in (line_widths, thermodynamics, displacements):
        if make is thermodynamics:
            parts.append(audit_tables(result))
        drawn = make(result, f"2.{number_next}")
        number_next += drawn is not None
        parts.append(drawn)
    return Section(key="phonons", title=TITLE, lead=_lead(result), body=join(parts))


def _compared(result: Phonons) -> bool:
    """Return whether there are harmonic phonons beside renormalised ones."""
    return result.harmonic is not None


def _after(result: Phonons) -> str:
    return "renormalised" if result.temperature_K is None else f"renormalised at {number(result.temperature_K)} K"


def _shown(result: Phonons) -> tuple[tuple[str, FloatArray, Spectrum, str], ...]:
    """Return name, commensurate frequencies, spectrum and colour of what there is: harmonic, renormalised or both."""
    found = []
    if _compared(result) or result.temperature_K is None:
        found.append(("harmonic", result.harmonic_frequencies_THz, result.harmonic_spectrum, GREY))
    if _compared(result) or result.temperature_K is not None:
        found.append((_after(result), result.frequencies_THz, result.spectrum, BLUE))
    return tuple(found)


def _lead(result: Phonons) -> Markup:
    harmonic = _harmonic_words(result.harmonic_frequencies_THz)
    if result.temperature_K is None and not _compared(result):
        return join(harmonic, ".")
    place = int(result.frequencies_THz.argmin())
    after = plus_minus(float(result.frequencies_THz[place]), float(result.frequency_error_THz[place]))
    route = {
        "mode-projection": " from the lines of the modes in molecular dynamics",
        "regression": " by a fit to forces at that temperature",
    }.get(result.method, f" in {plural(len(result.rounds), 'round')}" if result.rounds else "")
    verdict = {True: "; the loop converged", False: "; the loop did not converge", None: ""}[result.converged]
    start = f"{harmonic}. " if _compared(result) else "No harmonic phonons were computed. "
    return join(
        start, f"{sentence_case(_after(result))}{route} the lowest mode is at {after} THz{verdict}.", _curvature(result)
    )


def _curvature(result: Phonons) -> str:
    """Return the sentence about the curvature of the free energy, empty where there is none."""
    if result.curvature_frequencies_THz is None or result.curvature_errors_THz is None:
        return ""
    lowest, error = float(result.curvature_frequencies_THz[0]), float(result.curvature_errors_THz[0])
    verdict = "stability is undecided" if abs(lowest) <= 2.0 * error else "stable" if lowest > 0 else "not stable"
    return f" The curvature of the free energy has its lowest mode at {plus_minus(lowest, error)} THz: {verdict}."


def _harmonic_words(before: FloatArray) -> str:
    imaginary = int((before < -IMAGINARY_THZ).sum())
    lowest = fixed(float(before.min()), 2)
    if not imaginary:
        return f"All {len(before)} commensurate harmonic modes are real, the lowest at {lowest} THz"
    verb = "is" if imaginary == 1 else "are"
    return (
        f"In the harmonic approximation {imaginary} of the {len(before)} commensurate modes {verb} imaginary, "
        f"the lowest at {lowest} THz"
    )


def _spectra(result: Phonons) -> Markup:
    names = {"harmonic": "Harmonic (0 K)"}
    spectra = [(names.get(name, sentence_case(name)), item, colour) for name, _, item, colour in _shown(result)]
    found = result.properties
    span = data_range(*(item.frequencies_THz for _, item, _ in spectra), include=(0.0,), pad=0.05)
    width = 500 if found is None else 430 if len(spectra) > 1 else 720
    pictures = [_spectrum_chart(item, title, colour, span, width) for title, item, colour in spectra]
    caption = (
        "Frequencies along the standard path of the Brillouin zone. Imaginary frequencies are drawn as negative "
        "numbers in the shaded region; the pictures have the same axis."
        if len(spectra) > 1
        else "Frequencies along the standard path of the Brillouin zone; imaginary ones are drawn as negative numbers."
    )
    numbers = _named_points(spectra)
    if found is None:
        return figure("2.1", caption, *pictures, numbers=numbers, columns=2)
    pictures.append(dos_chart(found, span, width=190 if len(spectra) > 1 else 230, height=HEIGHT))
    of = f" ({_after(result)})" if len(spectra) > 1 else ""
    caption += f" Right: density of states{of} per primitive cell, with the shares of the species."
    both = join(numbers, dos_table(found))
    return join(dos_legend(found), figure("2.1", caption, *pictures, numbers=both, columns=f"beside{len(spectra)}"))


def _spectrum_chart(item: Spectrum, title: str, colour: str, span: tuple[float, float], width: int) -> Markup:
    ticks = _merged_ticks(item)
    reach = (float(item.distance.min()), float(item.distance.max()))
    chart = Chart(
        x=reach,
        y=span,
        x_label="",
        y_label="frequency (THz)",
        x_ticks=ticks,
        title=title,
        width=width,
        height=HEIGHT,
        margins=(58, 14, 30, 46),
    )
    if span[0] < 0:
        chart.rectangle(reach, (span[0], 0.0), VERMILLION, opacity=0.08)
    for value, _ in ticks:
        chart.rule(x=value, opacity=0.18)
    chart.rule(y=0.0)
    for start, stop in itertools.pairwise([0, *item.breaks, len(item.distance)]):
        chart.lines(item.distance[start:stop], item.frequencies_THz[start:stop], colour, width=1.5)
    lowest = float(item.frequencies_THz.min())
    return chart.render(f"{title}: phonon frequencies along the Brillouin zone, lowest {fixed(lowest, 2)} THz")


def _merged_ticks(item: Spectrum) -> list[tuple[float, str]]:
    """Join the labels of points that fall on one place, as where two segments of the path meet: ``X|Y``."""
    merged: list[tuple[float, str]] = []
    for value, words in item.ticks:
        name = point_label(words)
        if merged and abs(merged[-1][0] - value) < 1e-6:
            same = name in merged[-1][1].split("|")
            merged[-1] = (merged[-1][0], merged[-1][1] if same else f"{merged[-1][1]}|{name}")
        else:
            merged.append((float(value), name))
    return merged


def _named_points(spectra: list[tuple[str, Spectrum, str]]) -> Markup:
    head = ["spectrum", "point", "frequencies (THz)"]
    rows: list[list[Content]] = []
    for title, item, _ in spectra:
        for value, words in dict((point_label(w), (v, point_label(w))) for v, w in item.ticks).values():
            place = int(np.abs(item.distance - value).argmin())
            rows.append([title, words, ", ".join(fixed(float(f), 2) for f in np.sort(item.frequencies_THz[place]))])
    return table(head, rows, words=3)


def _modes(result: Phonons) -> Markup:
    after, error = result.frequencies_THz, result.frequency_error_THz
    index = np.arange(1, len(after) + 1, dtype=np.float64)
    low = slice(0, min(len(after), 30))
    pictures = [_mode_chart(result, index, slice(None), "All commensurate modes")]
    if len(after) > 30:
        pictures.append(_mode_chart(result, index, low, "The 30 lowest"))
    caption = join(
        f"The {len(after)} vibrations that the supercell can show (translations projected out), in ascending order. ",
        "The band is ± 1 standard error of each renormalised frequency."
        if (error > 0).any()
        else "No standard errors: the route gives none.",
    )
    colours = {name: colour for name, _, _, colour in _shown(result)}
    return join(legend(colours), figure("2.2", caption, *pictures, numbers=_mode_table(result), columns=2))


def _mode_chart(result: Phonons, index: FloatArray, part: slice, title: str) -> Markup:
    shown = _shown(result)
    after, error = result.frequencies_THz[part], result.frequency_error_THz[part]
    span = data_range(*(values[part] for _, values, _, _ in shown), after - error, after + error, include=(0.0,))
    chart = Chart(
        x=(0.0, float(index[part][-1]) + 1),
        y=span,
        x_label="mode, ascending",
        y_label="frequency (THz)",
        title=title,
        height=300,
    )
    if span[0] < 0:
        chart.rectangle((chart.x.low, chart.x.high), (span[0], 0.0), VERMILLION, opacity=0.08)
    chart.rule(y=0.0)
    radius = 2.2 if len(after) <= 40 else 1.5
    if (error > 0).any():
        chart.band(index[part], after - error, after + error, BLUE, opacity=0.25)
    for _, values, _, colour in shown:
        chart.dots(index[part], values[part], colour, radius=radius)
    return chart.render(f"{title}: {' and '.join(name for name, *_ in shown)} frequencies by mode")


def _mode_table(result: Phonons) -> Markup:
    columns = [values for _, values, _, _ in _shown(result)] + [result.frequency_error_THz]
    head = ["mode", *(f"{name} (THz)" for name, *_ in _shown(result)), "standard error (THz)"]
    if result.curvature_frequencies_THz is not None and result.curvature_errors_THz is not None:
        columns += [result.curvature_frequencies_THz, result.curvature_errors_THz]
        head += ["curvature of the free energy (THz)", "its standard error (THz)"]
    rows = [
        [str(place), *(fixed(float(value), 3) for value in row)]
        for place, row in enumerate(zip(*columns, strict=True), 1)
    ]
    return table(head, rows, words=0)


def _convergence(result: Phonons) -> Markup:
    rounds = np.array([item.index for item in result.rounds], dtype=np.float64)
    lowest = np.array([item.lowest_THz for item in result.rounds])
    change = np.array([item.change_THz for item in result.rounds])
    noise = np.array([item.noise_THz for item in result.rounds])
    reach, ticks = (rounds.min() - 0.5, rounds.max() + 0.5), [(value, f"{value:.0f}") for value in rounds]
    left = Chart(
        x=reach,
        y=data_range(lowest, include=(0.0,), pad=0.12),
        x_label="round",
        y_label="lowest frequency (THz)",
        x_ticks=_thinned(ticks),
        title="Lowest mode",
        height=270,
    )
    if left.y.low < 0:
        left.rectangle(reach, (left.y.low, 0.0), VERMILLION, opacity=0.08)
    left.rule(y=0.0)
    left.line(rounds, lowest, BLUE)
    left.dots(rounds, lowest, BLUE, radius=3)
    right = Chart(
        x=reach,
        y=log_range(change, noise),
        log_y=True,
        x_label="round",
        y_label="frequency (THz)",
        x_ticks=_thinned(ticks),
        title="Change per round and its noise",
        height=270,
    )
    for values, colour, dash in ((noise, GREY, "5 4"), (change, BLUE, "")):
        seen = np.isfinite(values) & (values > 0)
        right.line(rounds[seen], values[seen], colour, dash=dash)
        right.dots(rounds[seen], values[seen], colour, radius=3)
    caption = (
        "History of the self-consistent loop: sample, compute forces, fit, mix. Left: lowest commensurate "
        "frequency of the mixed force constants. Right: rms change of all commensurate frequencies (blue) and the "
        "rms of their jackknife errors (grey, dashed): below it, a change is noise."
    )
    pictures = [left.render("Lowest mode by round"), right.render("Change and noise by round")]
    return join(
        figure("2.3", caption, *pictures, columns=2),
        fold("Table of rounds", _rounds(result), open_=len(result.rounds) <= 6),
    )


def _thinned(ticks: list[tuple[float, str]]) -> list[tuple[float, str]]:
    return ticks[:: max(1, (len(ticks) + 9) // 10)]


def _rounds(result: Phonons) -> Markup:
    head = [
        "round",
        "samples",
        "lowest (THz)",
        "rms change (THz)",
        "noise (THz)",
        "variance guarded",
        "effective samples",
        "free energy (eV/atom)",
    ]
    rows = [
        [
            str(item.index),
            str(item.samples),
            fixed(item.lowest_THz, 3),
            fixed(item.change_THz, 3),
            fixed(item.noise_THz, 3),
            percent(item.guarded_share),
            percent(item.effective_fraction),
            fixed(item.free_energy_eV_per_atom, 5),
        ]
        for item in result.rounds
    ]
    return table(head, rows, words=0)
