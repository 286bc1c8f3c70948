"""Part 7: which bonds the network looks at, and whether that holds up against random masks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from phonograph.report.distributions import rows_chart
from phonograph.report.markup import Content, Markup, figure, join, table, tag
from phonograph.report.material import ReportMaterial
from phonograph.report.outline import Section, dot_swatch, legend
from phonograph.report.palette import BLUE, GREY, ORANGE, element_colour, ramp
from phonograph.report.scenes import PAPER_THRESHOLD, explanation_scene, first_threshold, importance_scale, panel, still
from phonograph.report.svg import Chart, data_range, label
from phonograph.report.words import fixed, pair_words, percent, plural, plus_minus, property_name
from phonograph.types import PROPERTY_UNITS, BondImportance, Crystal, Explanation, FloatArray

TITLE = "Explanation"
MOST_PANELS = 4
SUBJECTS = {
    "explanation": ("explanation", BLUE),
    "random_mask": ("random mask", ORANGE),
    "random_weights": ("random weights", GREY),
}
"""Fidelity subject → name and colour in the charts."""


def explanation(material: ReportMaterial) -> Section:
    """Return the section with importances by bond type and shell, the crystal with its edges, and the fidelity."""
    found = material.explanations
    if not found:
        return Section(key="explanation", title=TITLE, lead="No model was explained in this run.")
    start = first_threshold(np.concatenate([item.importance for item in found[:MOST_PANELS]]))
    scale = importance_scale(np.concatenate([item.importance for item in found]))
    scenes = {
        f"explanation-{place}": explanation_scene(item, start, scale) for place, item in enumerate(found[:MOST_PANELS])
    }
    parts: list[Content] = [_crystals(found, scenes)]
    for place, item in enumerate(found):
        name = f"7.{3 * place + 2}"
        parts += [tag("h3", item.model) if len(found) > 1 else None, _bonds(item, name, scale)]
        parts += [_distribution(item, f"7.{3 * place + 3}", scale), _fidelity(item, f"7.{3 * place + 4}")]
    return Section(key="explanation", title=TITLE, lead=_lead(found[0]), body=join(parts), scenes=scenes)


def bond_name(bond: BondImportance) -> str:
    """Return a bond type with its shell and length, for example ``Ag–S, shell 1 (2.45 Å)``."""
    return f"{pair_words(bond.species_pair)}, shell {bond.shell + 1} ({fixed(bond.distance_A, 2)} Å)"


def _lead(item: Explanation) -> str:
    if not item.bonds:
        return f"Edge importances of {item.model}; no bond types were given."
    first = max(item.bonds, key=lambda bond: bond.importance)
    everything = sum(bond.count for bond in item.bonds)
    sentence = (
        f"The model of the {property_name(item.target)} gives the most weight to {bond_name(first)}: mean "
        f"importance {plus_minus(first.importance, first.importance_sd)}, {percent(first.share)} of the total from "
        f"{percent(first.count / everything)} of the edges. "
    )
    sentence += f"Runs with different seeds agree with a median rank correlation of {fixed(item.stability, 2)}."
    return f"{sentence} {_verdict(item)}".rstrip()


def _verdict(item: Explanation) -> str:
    """Say how often the chosen edges beat random ones, over both directions and all shares."""
    rows = {(row.subject, row.kept_share): row for row in item.fidelity}
    pairs = [
        (row, rows["random_mask", share])
        for (subject, share), row in rows.items()
        if subject == "explanation" and ("random_mask", share) in rows
    ]
    if not pairs:
        return ""
    won = sum(a.sufficiency < b.sufficiency for a, b in pairs) + sum(a.necessity > b.necessity for a, b in pairs)
    return f"The explanation beats random masks in {won} of {2 * len(pairs)} comparisons of mean fidelity."


def _crystals(found: tuple[Explanation, ...], scenes: Mapping[str, Any]) -> Markup:
    start, scale = scenes["explanation-0"]["threshold"], scenes["explanation-0"]["scale"]
    boxes = []
    for place, item in enumerate(found[:MOST_PANELS]):
        name = f"explanation-{place}"
        shown = int((item.importance >= start).sum())
        tally = f"{shown} of {len(item.importance)} edges shown"
        heading = tag(
            "div", tag("b", item.model), " ", tag("span", tally, class_="tally quiet", data_tally=name), class_="legend"
        )
        boxes.append(tag("div", heading, panel(name, still(scenes[name], f"Edges of {item.model} by importance"))))
    left_out = len(found) - len(boxes)
    caption = join(
        "Edges of the reference supercell, coloured and thickened by importance; those below the threshold are "
        f"hidden. The threshold starts at {PAPER_THRESHOLD}, as in the published figure, or at the 95 % quantile "
        "where no edge reaches it. Edges that leave the cell end at a small image of their other atom. Drag to "
        "turn, Ctrl + wheel to zoom",
        "; panels turn together." if len(boxes) > 1 else ".",
        f" {plural(left_out, 'further model')} appear in the tables only." if left_out else None,
    )
    pictures = tag("div", boxes, class_="grid g2" if len(boxes) > 1 else "grid")
    return figure(
        "7.1", caption, join(_scale_bar(found[0].crystal, start, scale), pictures), numbers=_edge_table(found[0])
    )


def _scale_bar(crystal: Crystal, start: float, scale: float) -> Markup:
    species = dict(zip(crystal.symbols, crystal.numbers.tolist(), strict=True))
    atoms = [tag("span", dot_swatch(element_colour(z)), symbol, class_="key") for symbol, z in species.items()]
    slider = tag(
        "input", type="range", min="0", max=f"{scale:g}", step="0.01", value=f"{start:.2f}", data_threshold=True
    )
    control = tag("label", "show edges of at least", slider, tag("output", f"{start:.2f}"))
    return tag("div", tag("span", control, class_="needs-js"), _gradient(scale), atoms, class_="controls legend-bar")


def _gradient(scale: float) -> Markup:
    steps = 30
    cells = [
        tag("rect", x=34 + place * 4, y=3, width=4.2, height=11, fill=ramp(place / (steps - 1)))
        for place in range(steps)
    ]
    ends = [
        label(28, 13, "0", anchor="end", size=11.5),
        label(34 + 4 * steps + 6, 13, f"{scale:g} importance", size=11.5),
    ]
    return tag(
        "svg", cells, ends, width=264, height=17, viewBox="0 0 264 17", role="img", aria_label="importance scale"
    )


def _edge_table(item: Explanation) -> Markup:
    """List the most important edges; the complete list is a file of the run."""
    most = 40
    order = np.argsort(-item.importance, kind="stable")[:most]
    rows = [
        [
            item.species_pair[e],
            f"{item.i[e]}–{item.j[e]}",
            " ".join(str(x) for x in item.image[e]),
            str(item.shell[e] + 1),
            fixed(float(item.distance_A[e]), 3),
            fixed(float(item.importance[e]), 3),
            fixed(float(item.importance_sd[e]), 3),
        ]
        for e in order
    ]
    note = f"The {len(rows)} most important of {len(item.importance)} edges; all of them are in edges.csv of the run."
    head = ["bond", "sites", "image", "shell", "distance (Å)", "importance", "sd over runs"]
    return join(table(head, rows, words=3), tag("p", note, class_="quiet"))


def _bonds(item: Explanation, name: str, scale: float) -> Markup | None:
    if not item.bonds:
        return None
    ordered = sorted(item.bonds, key=lambda bond: -bond.importance)
    many = len(ordered)
    top = max(min(1.0, max(bond.importance + np.nan_to_num(bond.importance_sd) for bond in ordered) * 1.05), 0.05)
    chart = Chart(
        x=(0.0, float(top)),
        y=(0.0, float(many)),
        x_label="mean importance ± sd over runs",
        y_label="",
        y_ticks=(),
        width=680,
        height=52 + 27 * many,
        margins=(196, 150, 8, 44),
    )
    for place, bond in enumerate(ordered):
        middle = many - place - 0.5
        chart.rectangle((0.0, bond.importance), (middle - 0.32, middle + 0.32), ramp(bond.importance / scale), round_=2)
        if np.isfinite(bond.importance_sd):
            low, high = max(bond.importance - bond.importance_sd, 0.0), min(bond.importance + bond.importance_sd, top)
            chart.spans([low], [high], [middle], "currentColor", width=1.2)
        words = f"{plural(bond.count, 'edge')}, {percent(bond.share)}"
        chart.add(label(chart.x.start - 10, chart.y.at(middle) + 4, bond_name(bond), anchor="end", size=12))
        chart.add(label(chart.x.stop + 12, chart.y.at(middle) + 4, words, size=11.5, soft=True))
    caption = (
        "Importance by bond type and coordination shell, consensus over seeds and configurations; at the right the "
        "number of edges and their share of the total importance. Many weak edges can carry more of the total than "
        "a few strong ones, so read both."
    )
    rows = [
        [
            b.species_pair,
            str(b.shell + 1),
            fixed(b.distance_A, 3),
            str(b.count),
            fixed(b.importance, 3),
            fixed(b.importance_sd, 3),
            percent(b.share),
        ]
        for b in ordered
    ]
    numbers = table(["bond", "shell", "distance (Å)", "edges", "importance", "sd over runs", "share of total"], rows)
    return figure(name, caption, chart.render(f"Importance by bond type and shell, {item.model}"), numbers=numbers)


def _distribution(item: Explanation, name: str, scale: float) -> Markup:
    pairs = np.array(item.species_pair)
    values: dict[str, FloatArray] = {
        pair_words(pair): item.importance[pairs == pair] for pair in dict.fromkeys(item.species_pair)
    }
    ordered = dict(sorted(values.items(), key=lambda entry: -float(entry[1].mean())))
    colours = {kind: ramp(0.25 + 0.75 * float(data.mean()) / scale) for kind, data in ordered.items()}
    picture = rows_chart(
        {**ordered, "all edges": item.importance},
        {**colours, "all edges": GREY},
        "importance",
        title="Importance of single edges",
        span=(0.0, scale),
        bins=32,
        row=48,
    )
    rows = [
        [
            kind,
            str(len(data)),
            fixed(float(data.mean()), 3),
            fixed(float(np.median(data)), 3),
            str(_important(data)),
        ]
        for kind, data in (*ordered.items(), ("all edges", item.importance))
    ]
    numbers = table(["edges", "n", "mean", "median", f"≥ {PAPER_THRESHOLD}"], rows)
    caption = (
        "Importance of single edges by species pair, all shells together; triangles are means. A model that "
        "singles out few bonds has a long right tail."
    )
    return figure(name, caption, tag("div", picture, numbers, class_="split"))


def _important(importance: FloatArray) -> int:
    return int((importance >= PAPER_THRESHOLD).sum())


def _fidelity(item: Explanation, name: str) -> Markup | None:
    if not item.fidelity:
        return None
    unit = PROPERTY_UNITS.get(item.target, "")
    pictures = [
        _fidelity_chart(item, "sufficiency", "Only the chosen edges kept (low is good)", unit),
        _fidelity_chart(item, "necessity", "The chosen edges removed (high is good)", unit),
    ]
    subjects = dict.fromkeys(row.subject for row in item.fidelity)
    colours = {SUBJECTS.get(s, (s, GREY))[0]: SUBJECTS.get(s, (s, GREY))[1] for s in subjects}
    rows = [
        [
            SUBJECTS.get(row.subject, (row.subject, ""))[0],
            percent(row.kept_share),
            plus_minus(row.sufficiency, row.sufficiency_sd),
            plus_minus(row.necessity, row.necessity_sd),
            str(row.n),
        ]
        for row in item.fidelity
    ]
    numbers = table(["edges chosen by", "kept", f"sufficiency ({unit})", f"necessity ({unit})", "n"], rows)
    caption = (
        f"How far the predicted {property_name(item.target)} moves when only the chosen share of edges is kept "
        "(left), or when exactly these are removed (right). An explanation means something where it beats a random "
        "choice of as many edges and a network with random weights. Bars: standard deviation."
    )
    return join(legend(colours), figure(name, caption, *pictures, numbers=numbers, columns=2))


def _fidelity_chart(item: Explanation, what: str, title: str, unit: str) -> Markup:
    values = [getattr(row, what) for row in item.fidelity]
    spreads = [np.nan_to_num(getattr(row, f"{what}_sd")) for row in item.fidelity]
    ends = [v + s for v, s in zip(values, spreads, strict=True)]
    shares = sorted({row.kept_share for row in item.fidelity})
    ticks = [(share, percent(share)) for share in shares] if len(shares) <= 7 else None
    chart = Chart(
        x=data_range(shares, pad=0.08),
        y=(0.0, data_range(ends, pad=0.08)[1]),
        x_label="share of edges chosen",
        y_label=f"mean |Δ prediction| ({unit})" if unit else "mean |Δ prediction|",
        title=title,
        height=290,
        x_ticks=ticks,
    )
    for subject in dict.fromkeys(row.subject for row in item.fidelity):
        rows = sorted((row for row in item.fidelity if row.subject == subject), key=lambda row: row.kept_share)
        x, y = [row.kept_share for row in rows], [getattr(row, what) for row in rows]
        colour = SUBJECTS.get(subject, (subject, GREY))[1]
        chart.error_bars(x, y, [getattr(row, f"{what}_sd") for row in rows], colour, width=1)
        chart.line(x, y, colour, width=1.8)
        chart.dots(x, y, colour, radius=3.4)
    return chart.render(f"{title}: change of the prediction against the share of edges")
