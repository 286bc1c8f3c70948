"""Part 3: what the displaced configurations look like, and their certificates."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from phonograph.report.distributions import outlines_chart, summary_table
from phonograph.report.markup import Content, Markup, figure, join, table, without_empty
from phonograph.report.material import ReportMaterial, displacements
from phonograph.report.outline import Section, legend
from phonograph.report.sections.certificate import certificates
from phonograph.report.svg import Chart, label
from phonograph.report.words import fixed, listed, number, pair_words, plural
from phonograph.types import Certificate, Configurations, Crystal, FloatArray, IntArray

TITLE = "Sampling"
MOST_CONFIGURATIONS = 400
"""Bond lengths are drawn for at most this many configurations of a set."""


def sampling(material: ReportMaterial) -> Section:
    """Return the section with displacement statistics, distributions and the table of checks."""
    if not material.sets and not material.certificates:
        return Section(key="sampling", title=TITLE, lead="No displaced configurations in this run.")
    parts: list[Content] = [legend(_sampled_colours(material)), _sets(material)]
    if any(item.species_rms_A for item in material.certificates):
        parts.append(_amplitudes(material))
    if any(len(displacements(item)) for item in material.sets):
        parts.append(_distributions(material))
    if any(item.nearest_bonds for item in material.certificates):
        parts.append(_bonds(material))
    if any(item.checks for item in material.certificates):
        parts.append(certificates(material))
    return Section(key="sampling", title=TITLE, lead=_lead(material), body=join(parts))


def _sampled_colours(material: ReportMaterial) -> Mapping[str, str]:
    names = dict.fromkeys([*(item.name for item in material.sets), *(item.name for item in material.certificates)])
    return {name: material.colours[name] for name in names}


def _lead(material: ReportMaterial) -> str:
    total = sum(len(item) for item in material.sets) or sum(item.n for item in material.certificates)
    many = len(_sampled_colours(material))
    checks = [check for item in material.certificates for check in item.checks]
    failed = [check for check in checks if not check.passed]
    sentence = f"{plural(total, 'configuration')} in {plural(many, 'set')}."
    if not checks:
        return f"{sentence} No law was tested: these sets claim none."
    if failed:
        return f"{sentence} {len(failed)} of {len(checks)} tested claims about them fail: see the certificates."
    return f"{sentence} All {len(checks)} tested claims about them hold."


def _sets(material: ReportMaterial) -> Markup:
    statistics = {item.name: item for item in material.certificates}
    head = [
        "set",
        "law",
        "n",
        "atoms",
        "groups",
        "T (K)",
        "amplitude (Å)",
        "substituted x",
        "shortest distance (Å)",
        "½uΦu (meV/atom)",
    ]
    rows: list[list[Content]] = []
    for item in material.sets:
        found = statistics.get(item.name)
        energy = 1000 * found.harmonic_energy_eV_per_atom if found else float("nan")
        rows.append(
            [
                item.name,
                item.sampler,
                str(len(item)),
                _span(np.diff(item.offsets).astype(float), 0),
                str(len(set(item.group))),
                _span(item.temperature_K, 0),
                _span(item.amplitude_A, 2),
                _span(item.fraction, 2),
                fixed(found.minimum_distance_A, 2) if found else "–",
                number(energy),
            ]
        )
    return table(*without_empty(head, rows), words=2) if rows else join()


def _span(values: FloatArray, decimals: int) -> str:
    known = values[np.isfinite(values)]
    if len(known) == 0:
        return "–"
    low, high = fixed(float(known.min()), decimals), fixed(float(known.max()), decimals)
    return low if low == high else f"{low} to {high}"


def _amplitudes(material: ReportMaterial) -> Markup:
    statistics = [item for item in material.certificates if item.species_rms_A]
    species = list(dict.fromkeys(symbol for item in statistics for symbol, _ in item.species_rms_A))
    top = max(value for item in statistics for _, value in item.species_rms_A)
    ticks = [(place + 0.5, symbol) for place, symbol in enumerate(species)]
    chart = Chart(
        x=(0.0, float(len(species))),
        y=(0.0, 1.15 * top),
        x_label="",
        y_label="rms displacement (Å)",
        x_ticks=ticks,
        title="Displacement per Cartesian axis",
        height=290,
        margins=(58, 14, 30, 30),
    )
    width = 0.72 / len(statistics)
    for number_, item in enumerate(statistics):
        for symbol, value in item.species_rms_A:
            left = species.index(symbol) + 0.14 + number_ * width
            chart.rectangle(
                (left, left + 0.9 * width), (0.0, value), material.colours[item.name], opacity=0.9, round_=1.5
            )
            if len(statistics) * len(species) <= 18:
                place = (chart.x.at(left + 0.45 * width), chart.y.at(value) - 4)
                chart.add(label(*place, fixed(value, 2), anchor="middle", size=10))
    rows = [
        [item.name, *(fixed(dict(item.species_rms_A).get(symbol, float("nan")), 4) for symbol in species)]
        for item in statistics
    ]
    numbers = table(["rms displacement (Å)", *species], rows)
    pictures = [chart.render("Root-mean-square displacement per species and set")]
    pictures += [_all_components(material)] if any(len(displacements(item)) for item in material.sets) else []
    caption = (
        "Left: root-mean-square displacement per Cartesian axis and species. Right: every Cartesian displacement "
        "of every atom, all species together."
    )
    return figure("3.1", caption, *pictures, numbers=numbers, columns=2)


def _all_components(material: ReportMaterial) -> Markup:
    values = {item.name: displacements(item) for item in material.sets}
    return outlines_chart(
        values,
        material.colours,
        "displacement (Å)",
        title="All Cartesian displacements",
        unit="Å",
        width=500,
        height=290,
    )


def _distributions(material: ReportMaterial) -> Markup:
    species = _species(material.sets)
    per = {symbol: {item.name: _of_species(item, z) for item in material.sets} for symbol, z in species.items()}
    pictures = [
        outlines_chart(values, material.colours, f"displacement of {symbol} (Å)", title=symbol, unit="Å")
        for symbol, values in per.items()
    ]
    numbers = summary_table(
        [(symbol, name, data) for symbol, values in per.items() for name, data in values.items()], "species", "set", "Å"
    )
    caption = "Distribution of Cartesian displacements by species, each outline normalised to unit area."
    return figure("3.2", caption, *pictures, numbers=numbers, columns=3)


def _species(sets: tuple[Configurations, ...]) -> dict[str, int]:
    from ase.data import chemical_symbols

    numbers = dict.fromkeys(int(z) for item in sets for z in dict.fromkeys(item.numbers.tolist()))
    return {chemical_symbols[z]: z for z in numbers}


def _of_species(item: Configurations, atomic_number: int) -> FloatArray:
    return item.displacements_A[item.numbers == atomic_number]


def _bonds(material: ReportMaterial) -> Markup:
    """Draw the lengths that the nearest bonds of the reference take in each set."""
    lengths = bond_lengths(material)
    if not lengths:
        return _bond_table(material.certificates)
    pictures = [
        outlines_chart(
            values,
            material.colours,
            f"{pair_words(pair)} distance (Å)",
            title=f"{pair_words(pair)} neighbours",
            unit="Å",
        )
        for pair, values in lengths.items()
    ]
    caption = (
        "Lengths, in the displaced configurations, of the bonds of the first shell at the equilibrium sites (up to "
        "1.1 times the shortest of their kind), each outline normalised to unit area."
    )
    if any(len(item) > MOST_CONFIGURATIONS for item in material.sets):
        caption += f" Of larger sets the first {MOST_CONFIGURATIONS} configurations are drawn."
    left_out = [item.name for item in material.sets if not any(item.name in values for values in lengths.values())]
    caption += (
        f" Not drawn, because their atoms are not those of the reference: {listed(left_out)}." if left_out else ""
    )
    return figure("3.3", caption, *pictures, numbers=_bond_table(material.certificates), columns=3)


def bond_lengths(material: ReportMaterial) -> Mapping[str, Mapping[str, FloatArray]]:
    """Return species pair → set → lengths (Å) of the bonds of the first shell of the reference crystal.

    Only sets with the reference's atoms enter, of each the first :data:`MOST_CONFIGURATIONS`; empty without a
    reference crystal.
    """
    reference = material.reference
    if reference is None:
        return {}
    wanted = {tuple(sorted(pair.split("-"))) for item in material.certificates for pair, _, _ in item.nearest_bonds}
    found: dict[str, dict[str, FloatArray]] = {}
    for pair, (i, j, image) in first_shells(reference).items():
        for item in material.sets:
            if tuple(sorted(pair.split("-"))) in wanted and _same_atoms(item, reference.numbers):
                positions = item.positions_A.reshape(len(item), -1, 3)[:MOST_CONFIGURATIONS]
                shift = np.einsum("ek,skc->sec", image, item.cells_A[:MOST_CONFIGURATIONS])
                vectors = positions[:, j] + shift - positions[:, i]
                found.setdefault(pair, {})[item.name] = np.sqrt((vectors**2).sum(axis=-1)).ravel()
    return found


def _same_atoms(item: Configurations, numbers: IntArray) -> bool:
    sizes = np.diff(item.offsets)
    return bool((sizes == len(numbers)).all()) and bool((item.numbers.reshape(len(item), -1) == numbers).all())


def first_shells(crystal: Crystal, width: float = 1.1) -> Mapping[str, tuple[IntArray, IntArray, IntArray]]:
    """Return species pair → (i, j, image) up to ``width`` times its shortest distance; none of pairs beyond 9 Å."""
    from ase import Atoms
    from ase.neighborlist import neighbor_list

    atoms = Atoms(numbers=crystal.numbers, positions=crystal.positions_A, cell=crystal.cell_A, pbc=True)
    kinds = set(crystal.symbols)
    for reach in (4.0, 6.0, 9.0):
        i, j, image, distance = neighbor_list("ijSd", atoms, reach * width)
        symbols = np.array(crystal.symbols)
        names = np.array(["-".join(sorted(pair)) for pair in zip(symbols[i], symbols[j], strict=True)])
        shortest = {str(name): float(distance[names == name].min()) for name in np.unique(names)}
        near = {name: length for name, length in shortest.items() if length <= reach}
        if len(near) == len(kinds) * (len(kinds) + 1) // 2:
            break
    chosen = {name: (names == name) & (distance <= width * length) for name, length in near.items()}
    return {name: (i[mask], j[mask], image[mask]) for name, mask in chosen.items()}


def _bond_table(statistics: tuple[Certificate, ...]) -> Markup:
    pairs = list(dict.fromkeys(pair for item in statistics for pair, _, _ in item.nearest_bonds))
    rows = []
    for item in statistics:
        found = {pair: (mean, spread) for pair, mean, spread in item.nearest_bonds}
        rows.append(
            [item.name, *(f"{fixed(found[p][0], 3)} ± {fixed(found[p][1], 3)}" if p in found else "–" for p in pairs)]
        )
    return table(["mean ± standard deviation (Å)", *map(pair_words, pairs)], rows)
