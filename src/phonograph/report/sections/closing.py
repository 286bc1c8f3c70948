"""The last parts: warnings, limits, what was run, and what to cite."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from phonograph.report.markup import Content, Markup, bullets, fold, join, paragraph, table, tag, text
from phonograph.report.material import ReportMaterial
from phonograph.report.outline import Section
from phonograph.report.palette import BLUE
from phonograph.report.svg import label, px
from phonograph.report.words import fixed, number, plural, property_name, sentence_case

_DOI = re.compile(r"\b10\.\d{4,9}/[^\s<>\"'&]*[^\s<>\"'&.,;)]")
MOST_WARNINGS = 6
"""More warnings of one room are folded below these."""
GAUSSIAN = ("thermal", "sobol", "debye")
"""Samplers whose law is Gaussian."""
_TOML = re.compile(r"(?P<t>^\s*\[.*\]\s*$)|(?P<c>^\s*#.*$)", re.MULTILINE)


def warnings(material: ReportMaterial) -> Section:
    """Return every warning raised, by room."""
    if not material.warnings:
        return Section(key="warnings", title="Warnings", lead="No room raised a warning.")
    rooms = dict.fromkeys(room for room, _ in material.warnings)
    groups: list[Content] = []
    for room in rooms:
        sentences = list(dict.fromkeys(sentence for name, sentence in material.warnings if name == room))
        heading = tag("div", tag("b", sentence_case(room)), tag("span", str(len(sentences)), class_="badge"))
        rest = sentences[MOST_WARNINGS:]
        more = fold(f"{len(rest)} more", bullets(rest)) if rest else None
        groups.append(tag("div", heading, tag("div", bullets(sentences[:MOST_WARNINGS]), more), class_="by-room"))
    many = sum(len({s for r, s in material.warnings if r == room}) for room in rooms)
    lead = f"{plural(many, 'warning')} from {plural(len(rooms), 'room')}. Read them before the figures."
    return Section(key="warnings", title="Warnings", lead=lead, body=join(groups))


def limits(material: ReportMaterial) -> Section:
    """Return the box of what these results do not show, made from the facts of the run."""
    sentences = [*_physics_limits(material), *_model_limits(material), *material.limits]
    box = tag("div", bullets(sentences), class_="box")
    lead = "Read every figure above with these in mind."
    return Section(key="limits", title="What this does not show", lead=lead, body=join(box))


def _physics_limits(material: ReportMaterial) -> list[str]:
    found = []
    phonons, labels = material.phonons, material.labels
    if labels is not None:
        for engine in dict.fromkeys(column.engine for column in labels.columns if column.engine):
            names = [property_name(column.name) for column in labels.columns if column.engine == engine]
            found.append(f"{sentence_case(', '.join(names))}: computed by {engine}. {engine_limit(engine)}".strip())
    if phonons is not None and (material.sets or material.curve is not None):
        atoms = len(phonons.supercell)
        found.append(
            f"Vibrations of longer wavelength than the {atoms}-atom supercell are not sampled, and long-range "
            "electric fields (LO–TO splitting) are left out of the displacements."
        )
    if material.curve is not None or any(item.sampler in GAUSSIAN for item in material.sets):
        found.append(
            "Thermal displacements follow a Gaussian law around the given sites: correlations beyond second order are "
            "not in it."
        )
    if phonons is not None and phonons.converged is False:
        found.append("The renormalised force constants did not pass their convergence test; see the rounds in part 2.")
    if _one_lattice(material):
        found.append(
            "All configurations of a composition share one lattice: thermal expansion is not in any number above."
        )
    return [sentence for sentence in found if sentence]


def engine_limit(engine: str) -> str:
    """Return what is known about an engine's numbers, by its name; nothing for an unknown engine."""
    name = engine.lower()
    if "xtb" in name:
        return (
            "A semi-empirical tight-binding method at the Γ point of the supercell, without spin–orbit coupling: "
            "trust trends, not absolute gaps; band edges have no reference common to different cells."
        )
    if "chgnet" in name:
        return "A machine-learned potential: its errors against density-functional theory are not in the error bars."
    if re.search(r"\bemt\b", name):
        return "A toy potential for tests, not for conclusions."
    if re.search(r"\b(vasp|cp2k|pbe\w*|lda|gga)\b", name):
        return "A semilocal functional underestimates gaps."
    return ""


def _one_lattice(material: ReportMaterial) -> bool:
    groups: dict[float, list[Any]] = {}
    for item in material.sets:
        for fraction, cell in zip(np.nan_to_num(item.fraction, nan=-1.0).tolist(), item.cells_A, strict=True):
            groups.setdefault(fraction, []).append(cell)
    return bool(groups) and all(np.allclose(cells, cells[0], atol=1e-6) for cells in groups.values())


def _model_limits(material: ReportMaterial) -> list[str]:
    found = []
    if material.fits:
        sizes = [len(item.split.train) for item in material.fits]
        seeds = len({item.seed for item in material.fits})
        few = f"{min(sizes)}" if min(sizes) == max(sizes) else f"{min(sizes)} to {max(sizes)}"
        found.append(
            f"Networks learned from {few} configurations each, with {plural(seeds, 'seed')}: differences between "
            "models smaller than their standard deviation over seeds are not findings."
        )
        found.append("They know this crystal, its elements and its supercell; nothing is claimed about others.")
    if material.explanations:
        found.append(
            "Importance says what the network uses, not what causes the property; no bond was perturbed and "
            "labelled again."
        )
    return found


def manifest(material: ReportMaterial) -> Section:
    """Return versions, seeds, hashes, timings and the configuration."""
    if not material.manifest and not material.config_toml:
        return Section(key="manifest", title="Manifest", lead="No manifest was recorded.")
    shown = {key: value for key, value in material.manifest.items() if key not in ("warnings", "title")}
    brief = {key: _brief(key, value) for key, value in shown.items()}
    plain: list[list[Content]] = [[_words(key), words] for key, words in brief.items() if words is not None]
    parts: list[Content] = [table(["", ""], plain, words=2, class_="facts")] if plain else []
    for key, value in shown.items():
        if brief[key] is None and value:
            parts.append(_timings(value) if _is_timing(key, value) else _mapping(key, value))
    if material.config_toml:
        parts.append(fold("Resolved configuration (TOML)", tag("pre", _toml(material.config_toml))))
    return Section(
        key="manifest", title="Manifest", lead="What was run, with what, and how long it took.", body=join(parts)
    )


def _words(key: str) -> str:
    return sentence_case(str(key).removesuffix("_s").replace("_", " "))


def _brief(key: str, value: Any) -> Content:
    """Return a value in one line, or None where it needs a table of its own."""
    if not isinstance(value, Mapping):
        return _value(value)
    words = ", ".join(f"{name} {_line(inner)}" for name, inner in value.items())
    nested = any(isinstance(inner, Mapping) for inner in value.values())
    return None if nested or len(words) > 260 or _is_timing(key, value) else words


def _line(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(str(item) for item in value)
    return number(value, 6) if isinstance(value, float) else str(value)


def _value(value: Any) -> Content:
    if isinstance(value, Mapping):
        return table(["", ""], [[str(key), _value(inner)] for key, inner in value.items()], words=2, class_="facts")
    words = _line(value)
    return (
        tag("code", words)
        if isinstance(value, str) and (len(words) >= 40 or words.startswith("phonograph "))
        else words
    )


def _mapping(key: str, value: Mapping[str, Any]) -> Markup:
    rows: list[list[Content]] = [[str(name), _value(inner)] for name, inner in value.items()]
    return fold(f"{_words(key)} ({len(rows)})", table(["", ""], rows, words=2, class_="facts"))


def _is_timing(key: str, value: Any) -> bool:
    if not key.startswith("timings") or not isinstance(value, Mapping):
        return False
    return all(isinstance(item, (int, float)) and not isinstance(item, bool) and item >= 0 for item in value.values())


def _timings(value: Mapping[str, float]) -> Markup:
    """Draw the time of each room as a bar."""
    longest, total = max(value.values()) or 1.0, sum(value.values())
    marks: list[Markup] = []
    for place, (name, seconds) in enumerate(value.items()):
        middle = 16 + 24 * place
        marks.append(label(108, middle + 4, str(name), anchor="end", size=12.5))
        marks.append(
            tag(
                "rect",
                x=118,
                y=middle - 7,
                width=px(max(330 * seconds / longest, 1)),
                height=14,
                rx=2,
                fill=BLUE,
                fill_opacity=0.85,
            )
        )
        marks.append(label(126 + 330 * seconds / longest, middle + 4, f"{fixed(seconds, 1)} s", size=11.5, soft=True))
    height = 8 + 24 * len(value)
    picture = tag(
        "svg", marks, width=560, height=height, viewBox=f"0 0 560 {height}", role="img", aria_label="time per room"
    )
    return join(tag("h3", f"Time per room: {fixed(total, 0)} s in all"), picture)


def _toml(source: str) -> Markup:
    """Return TOML with its table headings and comment lines set apart."""
    parts: list[Markup] = []
    place = 0
    for match in _TOML.finditer(source):
        parts += [text(source[place : match.start()]), tag("span", match.group(), class_=match.lastgroup)]
        place = match.end()
    return join(*parts, text(source[place:]))


def cite(material: ReportMaterial) -> Section:
    """Return what to cite, DOIs as links."""
    if not material.citations:
        return Section(key="cite", title="How to cite", lead="No references were given.")
    lead = "If these results enter a publication, please cite what made them."
    return Section(
        key="cite",
        title="How to cite",
        lead=lead,
        body=join(bullets([_linked(item) for item in material.citations]), _offline()),
    )


def _linked(sentence: str) -> Markup:
    parts: list[Content] = []
    place = 0
    for match in _DOI.finditer(sentence):
        link = tag("a", match.group(), href=f"https://doi.org/{match.group()}", rel="noopener noreferrer")
        parts += [sentence[place : match.start()], link]
        place = match.end()
    return join(*parts, sentence[place:])


def _offline() -> Markup:
    return paragraph(
        "This page is one file; it loads nothing and sends nothing. Links open only when you follow them.",
        class_="quiet",
    )
