"""Part 4: the labels, what gave them, and what failed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

import numpy as np

from phonograph.report.distributions import rows_chart, summary_table
from phonograph.report.markup import Content, Markup, figure, join, table, tag
from phonograph.report.material import ReportMaterial, rms_displacement
from phonograph.report.outline import Section, legend
from phonograph.report.scores import pearson
from phonograph.report.svg import Chart, data_range
from phonograph.report.words import axis_label, fixed, listed, plural, property_name, sentence_case
from phonograph.types import FloatArray, LabelColumn, Labels

TITLE = "Labels"


def labels(material: ReportMaterial) -> Section:
    """Return the section with the distribution of each property per set, the engines and the failures by name."""
    found = material.labels
    if found is None:
        return Section(key="labels", title=TITLE, lead="No labels in this run: nothing was computed or brought.")
    pictures = [_property_chart(material, found, column) for column in found.columns]
    groups = [
        (property_name(column.name), name, values)
        for column in found.columns
        for name, values in per_set(found, column).items()
    ]
    caption = (
        "Labels of each set: histogram with bins common to all sets, every value as a tick below it, and the mean "
        "as a triangle. Heights are shares of the set."
    )
    parts: list[Content] = [_engines(found)]
    parts.append(figure("4.1", caption, *pictures, numbers=summary_table(groups, "property", "set"), columns=2))
    parts += [_against_amplitude(material, found), _failures(found)]
    return Section(key="labels", title=TITLE, lead=_lead(found), body=join(parts))


def per_set(found: Labels, column: LabelColumn) -> Mapping[str, FloatArray]:
    """Return set → values of one property (holes are NaN)."""
    names = np.array(found.set_names)
    return {name: column.values[names == name] for name in dict.fromkeys(found.set_names)}


def _lead(found: Labels) -> str:
    total, good = len(found.sample_ids), sum(status == "ok" for status in found.status)
    engines = listed(dict.fromkeys(column.engine.split(";")[0] for column in found.columns if column.engine))
    sentence = f"{plural(good, 'configuration')} of {total} carry every label"
    sentence += f"; {plural(total - good, 'hole')} named below" if good < total else ""
    return f"{sentence}. Engines: {engines}." if engines else f"{sentence}."


def _engines(found: Labels) -> Markup:
    rows = []
    for column in found.columns:
        known = column.values[np.isfinite(column.values)]
        rows.append(
            [
                sentence_case(property_name(column.name)),
                column.unit,
                column.engine or "–",
                str(len(known)),
                str(len(column.values) - len(known)),
            ]
        )
    return table(["property", "unit", "engine", "labelled", "holes"], rows, words=3)


def _property_chart(material: ReportMaterial, found: Labels, column: LabelColumn) -> Markup:
    title = sentence_case(property_name(column.name))
    return rows_chart(per_set(found, column), material.colours, axis_label(column.name, column.unit), title=title)


def _against_amplitude(material: ReportMaterial, found: Labels) -> Markup | None:
    """Draw the main property against the rms displacement of each configuration: how much amplitude alone explains."""
    names = [column.name for column in found.columns]
    name = material.main_target if material.main_target in names else (names[0] if names else "")
    sets = [item for item in material.sets if np.isfinite(item.displacements_A).all()]
    if not name or not sets:
        return None
    unit = found.column(name).unit
    data = {item.name: (rms_displacement(item), found.aligned(name, item.ids)) for item in sets}
    data = {set_name: pair for set_name, pair in data.items() if np.isfinite(pair[1]).any()}
    if not data:
        return None
    chart = Chart(
        x=data_range(*(x for x, _ in data.values())),
        y=data_range(*(y for _, y in data.values())),
        width=620,
        height=360,
        x_label="rms displacement of the configuration, per axis (Å)",
        y_label=axis_label(name, unit),
    )
    for set_name, (x, y) in data.items():
        chart.dots(x, y, material.colours[set_name], radius=2.6, opacity=0.6)
    rows = [
        [set_name, str(int(np.isfinite(y).sum())), fixed(pearson(x, y), 2), fixed(pearson(x, y) ** 2, 2)]
        for set_name, (x, y) in data.items()
    ]
    everything = [np.concatenate(parts) for parts in zip(*data.values(), strict=True)]
    together = pearson(*everything)
    rows += [["all sets", str(int(np.isfinite(everything[1]).sum())), fixed(together, 2), fixed(together**2, 2)]]
    caption = (
        f"The {property_name(name)} against the size of the displacements, one dot per configuration. Over all sets "
        f"the amplitude alone explains r² = {fixed(together**2, 2)} of the variance: a network has to do better "
        "than that."
    )
    numbers = table(["set", "n", "Pearson r", "r²"], rows)
    picture = tag("div", legend({n: material.colours[n] for n in data}), chart.render(caption))
    return figure("4.2", caption, tag("div", picture, numbers, class_="split"))


def failure_class(status: str) -> str:
    """Return the kind of a failure without the numbers that differ from sample to sample."""
    kind = re.sub(r"\d+(\.\d+)?", "#", status)
    return kind if len(kind) <= 200 else kind[:199] + "…"


def _failures(found: Labels) -> Markup | None:
    failed = Counter(
        (failure_class(s), name) for s, name in zip(found.status, found.set_names, strict=True) if s != "ok"
    )
    if not failed:
        return join(tag("h3", "Failures"), tag("p", "None: every label was obtained.", class_="quiet"))
    sets = list(dict.fromkeys(found.set_names))
    kinds = sorted({kind for kind, _ in failed}, key=lambda kind: (-sum(failed[kind, name] for name in sets), kind))
    rows: list[list[Content]] = [
        [
            tag("td", kind, class_="w wrap"),
            *(str(failed[kind, name]) for name in sets),
            str(sum(failed[kind, name] for name in sets)),
        ]
        for kind in kinds
    ]
    note = "Failed labels stay holes; nothing was put in their place. Numbers inside messages are shown as #."
    return join(
        tag("h3", "Failures by name"), table(["what failed", *sets, "all"], rows), tag("p", note, class_="quiet")
    )
