"""Part 2: the phonon spectrum before and after renormalisation."""

from __future__ import annotations

import itertools

import numpy as np

from phonograph.report.markup import Content, Markup, figure, fold, join, table
from phonograph.report.material import ReportMaterial
from phonograph.report.outline import Section, legend
from phonograph.report.palette import BLUE, GREY, VERMILLION
from phonograph.report.svg import Chart, data_range, log_range
from phonograph.report.words import fixed, number, percent, plural, plus_minus, point_label, sentence_case
from phonograph.types import FloatArray, Phonons, Spectrum

TITLE = "Phonons"
NO_PHONONS = "No phonons: the displaced structures of this run were brought, or drawn without force constants."


def phonons(material: ReportMaterial) -> Section:
    """Return the section with the spectra, the commensurate modes and the history of the renormalisation."""
    result = material.phonons
    if result is None:
        return Section(key="phonons", title=TITLE, lead=NO_PHONONS)
    parts = [_spectra(result), _modes(result)]
    if result.rounds:
        parts.append(_convergence(result))
    return Section(key="phonons", title=TITLE, lead=_lead(result), body=join(parts))


def _renormalised(result: Phonons) -> bool:
    return result.harmonic is not None


def _after(result: Phonons) -> str:
    if not _renormalised(result):
        return "force constants"
    return "renormalised" if result.temperature_K is None else f"renormalised at {number(result.temperature_K)} K"


def _lead(result: Phonons) -> Markup:
    before = result.harmonic_frequencies_THz
    imaginary = int((before < 0).sum())
    lowest = fixed(float(before.min()), 2)
    start = f"All {len(before)} commensurate harmonic modes are real, the lowest at {lowest} THz"
    if imaginary:
        verb = "is" if imaginary == 1 else "are"
        start = (
            f"In the harmonic approximation {imaginary} of the {len(before)} commensurate modes {verb} imaginary, "
            f"the lowest at {lowest} THz"
        )
    if not _renormalised(result):
        return join(start, ".")
    place = int(result.frequencies_THz.argmin())
    after = plus_minus(float(result.frequencies_THz[place]), float(result.frequency_error_THz[place]))
    verdict = {True: "the loop converged", False: "the loop did not converge", None: "no convergence test was made"}
    return join(
        start,
        f". {sentence_case(_after(result))} in {plural(len(result.rounds), 'round')} the lowest mode is at {after} "
        "THz; ",
        f"{verdict[result.converged]}.",
    )


def _spectra(result: Phonons) -> Markup:
    spectra = [("Harmonic (0 K)", result.harmonic_spectrum, GREY)]
    if _renormalised(result):
        spectra.append((sentence_case(_after(result)), result.spectrum, BLUE))
    span = data_range(*(item.frequencies_THz for _, item, _ in spectra), include=(0.0,), pad=0.05)
    pictures = [_spectrum_chart(item, title, colour, span) for title, item, colour in spectra]
    caption = (
        "Frequencies along the standard path of the Brillouin zone. Imaginary frequencies are drawn as negative "
        "numbers in the shaded region; both pictures have the same axis."
        if len(spectra) > 1
        else "Frequencies along the standard path of the Brillouin zone; imaginary ones are drawn as negative numbers."
    )
    return figure("2.1", caption, *pictures, numbers=_named_points(spectra), columns=2)


def _spectrum_chart(item: Spectrum, title: str, colour: str, span: tuple[float, float]) -> Markup:
    ticks = _merged_ticks(item)
    reach = (float(item.distance.min()), float(item.distance.max()))
    chart = Chart(
        x=reach,
        y=span,
        x_label="",
        y_label="frequency (THz)",
        x_ticks=ticks,
        title=title,
        height=340,
        margins=(58, 14, 30, 30),
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
    before, after, error = result.harmonic_frequencies_THz, result.frequencies_THz, result.frequency_error_THz
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
    colours = {"harmonic": GREY, _after(result): BLUE} if _renormalised(result) else {"harmonic": GREY}
    return join(
        legend(colours), figure("2.2", caption, *pictures, numbers=_mode_table(before, after, error), columns=2)
    )


def _mode_chart(result: Phonons, index: FloatArray, part: slice, title: str) -> Markup:
    before, after, error = (
        values[part] for values in (result.harmonic_frequencies_THz, result.frequencies_THz, result.frequency_error_THz)
    )
    span = data_range(before, after - error, after + error, include=(0.0,))
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
    chart.dots(index[part], before, GREY, radius=radius)
    if _renormalised(result):
        chart.band(index[part], after - error, after + error, BLUE, opacity=0.25)
        chart.dots(index[part], after, BLUE, radius=radius)
    return chart.render(f"{title}: harmonic and renormalised frequencies by mode")


def _mode_table(before: FloatArray, after: FloatArray, error: FloatArray) -> Markup:
    rows = [
        [str(place + 1), fixed(float(b), 3), fixed(float(a), 3), fixed(float(e), 3)]
        for place, (b, a, e) in enumerate(zip(before, after, error, strict=True))
    ]
    return table(["mode", "harmonic (THz)", "used for sampling (THz)", "standard error (THz)"], rows, words=0)


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
