"""Figures of what follows from the phonons: density of states, thermodynamics, thermal displacements, line widths."""

from __future__ import annotations

import numpy as np

from phonograph.report.markup import Markup, figure, join, table, tag
from phonograph.report.outline import legend
from phonograph.report.palette import BLUE, GREY, VERMILLION, species_colours
from phonograph.report.svg import Chart, data_range, px
from phonograph.report.words import fixed, listed, number, percent, plural
from phonograph.types import FloatArray, PhononProperties, Phonons
from phonograph.units import BOLTZMANN_EV_PER_K, J_PER_MOL_PER_EV

DOS_ROWS = 40


def dos_chart(found: PhononProperties, span: tuple[float, float], *, width: int, height: int) -> Markup:
    """Return the density of states turned on its side, on the frequency axis ``span`` of the spectra beside it."""
    colours = species_colours(found.species)
    top = float(found.dos_per_THz.max()) or 1.0
    chart = Chart(
        x=(0.0, 1.06 * top),
        y=span,
        x_label="states/THz",
        y_label="",
        title="Density of states",
        width=width,
        height=height,
        x_ticks=Chart(x=(0.0, 1.06 * top), y=span, x_label="", y_label="").x.ticks(2),
        margins=(30, 8, 30, 46),
    )
    if span[0] < 0:
        chart.rectangle((0.0, 1.06 * top), (span[0], 0.0), VERMILLION, opacity=0.08)
    chart.rule(y=0.0)
    across, along = chart.x(found.dos_per_THz), chart.y(found.dos_THz)
    points = "".join(f"L{px(a)} {px(b)}" for a, b in zip(across, along, strict=True))
    left = px(chart.x.at(0.0))
    chart.add(tag("path", d=f"M{left} {px(along[0])}{points}L{left} {px(along[-1])}Z", fill=GREY, fill_opacity=0.22))
    for place, symbol in enumerate(found.species):
        chart.line(found.species_dos_per_THz[place], found.dos_THz, colours[symbol], width=1.4)
    return chart.render(f"Phonon density of states, total and by species {listed(found.species)}")


def dos_legend(found: PhononProperties) -> Markup:
    """Return the colours of the density of states."""
    return legend({"total": GREY, **species_colours(found.species)}, "Density of states: ")


def dos_table(found: PhononProperties) -> Markup:
    """Return the density of states in fewer, wider bins."""
    parts = np.array_split(np.arange(len(found.dos_THz)), DOS_ROWS)
    rows = [
        [
            fixed(float(found.dos_THz[part].mean()), 2),
            fixed(float(found.dos_per_THz[part].mean()), 3),
            *(fixed(float(values[part].mean()), 3) for values in found.species_dos_per_THz),
        ]
        for part in parts
        if len(part)
    ]
    head = ["frequency (THz)", "states/THz", *(f"of {symbol}" for symbol in found.species)]
    return table(head, rows, words=0)


def thermodynamics(result: Phonons, figure_number: str) -> Markup | None:
    """Return free energy, entropy and heat capacity against temperature; None without properties."""
    found = result.properties
    if found is None:
        return None
    temperature = found.temperatures_K
    molar = J_PER_MOL_PER_EV
    limit = 3 * found.atoms * BOLTZMANN_EV_PER_K * molar
    left = _against_temperature(temperature, "free energy (eV per primitive cell)", "Free energy", found.free_energy_eV)
    left.line(temperature, found.free_energy_eV, BLUE, width=1.8)
    left.dots(temperature, found.free_energy_eV, BLUE, radius=2.4)
    entropy, capacity = found.entropy_eV_per_K * molar, found.heat_capacity_eV_per_K * molar
    right = _against_temperature(temperature, "J/(mol K)", "Entropy and heat capacity", entropy, capacity, limit)
    right.rule(y=limit, dash="5 4")
    right.note(right.x.high, limit, "3R per atom", anchor="end", size=11, shift=(-4, -6))
    for values, colour in ((entropy, GREY), (capacity, VERMILLION)):
        right.line(temperature, values, colour, width=1.8)
        right.dots(temperature, values, colour, radius=2.4)
    pictures = [
        left.render("Harmonic free energy against temperature"),
        right.render("Entropy and heat capacity against temperature"),
    ]
    return join(
        legend({"free energy": BLUE, "entropy": GREY, "heat capacity at constant volume": VERMILLION}),
        figure(figure_number, _thermal_caption(result, found), *pictures, numbers=_thermal_table(found), columns=2),
    )


def _thermal_caption(result: Phonons, found: PhononProperties) -> str:
    mesh = "×".join(str(points) for points in found.mesh)
    translations = 3.0 / (3 * found.atoms * float(np.prod(found.mesh)))
    beyond = found.left_out - translations
    left_out = (
        f" {percent(beyond)} of the modes are imaginary or zero and are left out of all sums: this is not the "
        "thermodynamics of a stable crystal."
        if beyond > 1e-9
        else " Only the three translations at Γ are left out."
    )
    fixed_constants = (
        f" The force constants are those at {number(result.temperature_K)} K at every temperature."
        if result.temperature_K is not None
        else ""
    )
    return (
        f"Quantum-harmonic sums over a {mesh} mesh, per primitive cell of {plural(found.atoms, 'atom')} (a mole of "
        f"primitive cells on the right).{fixed_constants}{left_out}"
    )


def _against_temperature(temperature: FloatArray, y_label: str, title: str, *values: FloatArray | float) -> Chart:
    return Chart(
        x=(0.0, max(float(temperature.max()), 1.0) * 1.02),
        y=data_range(*values, include=(0.0,), pad=0.07),
        x_label="temperature (K)",
        y_label=y_label,
        title=title,
        height=300,
    )


def _thermal_table(found: PhononProperties) -> Markup:
    molar = J_PER_MOL_PER_EV
    rows = [
        [number(float(t), 4), fixed(float(f), 5), fixed(float(s) * molar, 3), fixed(float(c) * molar, 3)]
        for t, f, s, c in zip(
            found.temperatures_K,
            found.free_energy_eV,
            found.entropy_eV_per_K,
            found.heat_capacity_eV_per_K,
            strict=True,
        )
    ]
    head = ["temperature (K)", "free energy (eV)", "entropy (J/(mol K))", "heat capacity (J/(mol K))"]
    return table(head, rows, words=0)


def species_rms(found: PhononProperties) -> dict[str, FloatArray]:
    """Return the rms displacement per axis of each species, √(mean of tr⟨u uᵀ⟩/3), Å, shape (t,)."""
    symbols = np.array(found.displacement_symbols)
    trace = np.trace(found.displacement_A2, axis1=2, axis2=3) / 3.0
    return {symbol: np.sqrt(trace[:, symbols == symbol].mean(axis=1)) for symbol in found.species}


def displacements(result: Phonons, figure_number: str) -> Markup | None:
    """Return rms thermal displacements against temperature by species; None without properties."""
    found = result.properties
    if found is None:
        return None
    colours, rms = species_colours(found.species), species_rms(found)
    chart = _against_temperature(
        found.temperatures_K, "rms displacement per axis (Å)", "Thermal displacements", *rms.values()
    )
    for symbol, values in rms.items():
        chart.line(found.temperatures_K, values, colours[symbol], width=1.8)
        chart.dots(found.temperatures_K, values, colours[symbol], radius=2.4)
    caption = (
        "Root mean square displacement of an atom along one axis, averaged over the axes and the atoms of a species, "
        "with quantum statistics, summed over the same mesh. A supercell holds its commensurate wave vectors only, so "
        "sampled displacements are a little different: their own are in part 3."
    )
    rows = [
        [number(float(t), 4), *(fixed(float(values[place]), 4) for values in rms.values())]
        for place, t in enumerate(found.temperatures_K)
    ]
    numbers = table(["temperature (K)", *(f"{symbol} (Å)" for symbol in rms)], rows, words=0)
    picture = chart.render("Root mean square displacement against temperature by species")
    return join(legend(colours), figure(figure_number, caption, picture, numbers=numbers))


def line_widths(result: Phonons, figure_number: str) -> Markup | None:
    """Return line width against frequency with standard errors; None where the route gives none."""
    if result.line_widths_THz is None or not np.isfinite(result.line_widths_THz).any():
        return None
    width = result.line_widths_THz
    error = np.full_like(width, np.nan) if result.line_width_errors_THz is None else result.line_width_errors_THz
    known = np.isfinite(width)
    frequency, shown = result.frequencies_THz[known], np.nan_to_num(error[known])
    chart = Chart(
        x=data_range(frequency),
        y=data_range(width[known] - shown, width[known] + shown, include=(0.0,)),
        x_label="frequency (THz)",
        y_label="full width at half maximum (THz)",
        title="Line widths",
        height=320,
    )
    chart.rule(y=0.0)
    chart.error_bars(frequency, width[known], error[known], BLUE, width=1.0)
    bound = ~np.isfinite(error[known])
    chart.dots(frequency[~bound], width[known][~bound], BLUE, radius=2.4)
    chart.diamonds(frequency[bound], width[known][bound], BLUE, radius=4.0)
    lost = int((~known).sum())
    caption = (
        "Full width at half maximum of each mode's line against its frequency; bars: one standard error."
        + (" Open diamonds are upper bounds: lines narrower than 1/duration." if bound.any() else "")
        + (f" {lost} of {len(width)} modes have no line that could be fitted." if lost else "")
    )
    rows = [
        [
            str(mode + 1),
            fixed(float(f), 3),
            fixed(float(w), 4),
            "upper bound" if np.isfinite(w) and not np.isfinite(e) else fixed(float(e), 4),
        ]
        for mode, (f, w, e) in enumerate(zip(result.frequencies_THz, width, error, strict=True))
    ]
    numbers = table(["mode", "frequency (THz)", "width (THz)", "standard error (THz)"], rows, words=0)
    return figure(figure_number, caption, chart.render("Line width against frequency"), numbers=numbers)
