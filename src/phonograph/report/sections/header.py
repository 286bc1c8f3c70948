"""The head of the page: title and key numbers."""

from __future__ import annotations

import math

import numpy as np

from phonograph.report.markup import Content, Markup, join, tag
from phonograph.report.material import ReportMaterial
from phonograph.report.sections.judged import Judged
from phonograph.report.sections.thermal import at_temperature
from phonograph.report.words import (
    decimals_of,
    fixed,
    formula_markup,
    number,
    pair_words,
    percent,
    plural,
    plus_minus,
    property_name,
    property_symbol,
    sentence_case,
)
from phonograph.types import Explanation


def header(material: ReportMaterial) -> Markup:
    """Return the title, one line about the crystal and the tiles of key numbers."""
    tiles = [
        _configurations(material),
        _phonons(material),
        _model(material),
        _bond(material),
        _curve(material),
        _warnings(material),
    ]
    return tag(
        "header",
        tag("h1", material.title),
        tag("p", _subtitle(material), class_="subtitle"),
        tag("div", [tile for tile in tiles if tile is not None], class_="tiles"),
        id="top",
    )


def _tile(what: Content, value: Content, note: Content) -> Markup:
    return tag(
        "div",
        tag("div", what, class_="what"),
        tag("div", value, class_="value"),
        tag("div", note, class_="note"),
        class_="tile",
    )


def _subtitle(material: ReportMaterial) -> Markup:
    parts: list[Content] = []
    crystal = material.crystal or material.reference
    if crystal is not None:
        parts.append(formula_markup(crystal.formula))
    if material.phonons is not None:
        parts.append(f"{len(material.phonons.supercell)}-atom supercell")
        if material.phonons.temperature_K is not None:
            parts.append(f"renormalised at {number(material.phonons.temperature_K)} K")
    if material.main_target and (material.labels is not None or material.fits):
        parts.append(property_name(material.main_target))
    return join(*parts, separator=" · ")


def _configurations(material: ReportMaterial) -> Markup | None:
    total = sum(len(item) for item in material.sets)
    if material.labels is not None:
        good = sum(status == "ok" for status in material.labels.status)
        many = len(material.labels.status)
        note = f"{good} with every label" if good < many else "every label obtained"
        return _tile(
            "configurations",
            f"{max(total, many)}",
            f"{plural(len(dict.fromkeys(material.labels.set_names)), 'set')}; {note}",
        )
    return _tile("configurations", f"{total}", plural(len(material.sets), "set")) if total else None


def _phonons(material: ReportMaterial) -> Markup | None:
    result = material.phonons
    if result is None:
        return None
    before = float(result.harmonic_frequencies_THz.min())
    if result.temperature_K is None:
        return _tile("lowest mode", join(fixed(before, 2), tag("small", " THz")), "harmonic")
    place = int(result.frequencies_THz.argmin())
    value = plus_minus(float(result.frequencies_THz[place]), float(result.frequency_error_THz[place]))
    converged = {True: "converged", False: "not converged", None: "renormalised"}[result.converged]
    start = f"harmonic: {fixed(before, 2)} THz; " if result.harmonic is not None else ""
    return _tile("lowest mode", join(value, tag("small", " THz")), f"{start}{converged}")


def _model(material: ReportMaterial) -> Markup | None:
    judged = Judged(material, material.main_target)
    found = judged.score(judged.best, judged.best) if judged.best else None
    if found is None:
        return None
    skill = f"skill {percent(found.skill)} over the mean; " if math.isfinite(found.skill) else ""
    return _tile(
        join(judged.part, " MAE, ", property_symbol(judged.target), f", trained on {judged.best}"),
        join(judged.mae_words(found), tag("small", f" {judged.errors_in[1]}")),
        f"{skill}R² {fixed(found.r2, 2)}, {plural(found.seeds, 'seed')}",
    )


def _bond(material: ReportMaterial) -> Markup | None:
    if not material.explanations or not material.explanations[0].bonds:
        return None
    found = material.explanations[0]
    first = max(found.bonds, key=lambda bond: bond.importance)
    return _tile(
        "most important bond",
        join(pair_words(first.species_pair), tag("small", f" {fixed(first.distance_A, 2)} Å")),
        f"importance {fixed(first.importance, 2)}; seeds agree at ρ = {fixed(found.stability, 2)}{_controls(found)}",
    )


def _controls(found: Explanation) -> str:
    """Say in how many controls the explanation beats random masks and random weights alike."""
    of = {(row.subject, row.kept_share): row for row in found.fidelity}
    shares = [share for subject, share in of if subject == "explanation"]
    rivals = [name for name in ("random_mask", "random_weights") if all((name, share) in of for share in shares)]
    if not shares or not rivals:
        return ""
    kept = sum(all(of["explanation", s].sufficiency < of[rival, s].sufficiency for rival in rivals) for s in shares)
    removed = sum(all(of["explanation", s].necessity > of[rival, s].necessity for rival in rivals) for s in shares)
    return f"; passes {kept + removed} of {2 * len(shares)} controls"


def _curve(material: ReportMaterial) -> Markup | None:
    if material.curve is None:
        return None
    wanted = material.phonons.temperature_K if material.phonons and material.phonons.temperature_K else 300.0
    point = at_temperature(material.curve, material.main_target, wanted)
    if point is None:
        return None
    errors = [x for x in (point.standard_error, point.model_spread) if np.isfinite(x) and x > 0]
    places = decimals_of(max(errors)) if errors else 3
    note = f"± {fixed(point.standard_error, places)} Monte Carlo, ± {fixed(point.model_spread, places)} models"
    if point.label_n > 0:
        note += f"; {fixed(point.label_mean, places)} where labelled directly (n = {point.label_n})"
    what = join(property_symbol(point.target), f" at {number(point.temperature_K)} K")
    return _tile(what, join(fixed(point.mean, places), tag("small", f" {point.unit}")), note)


def _warnings(material: ReportMaterial) -> Markup:
    many = len(set(material.warnings))
    value = tag("a", str(many), href="#warnings") if many else "0"
    rooms = sorted({room for room, _ in material.warnings})
    return _tile("warnings", value, sentence_case(", ".join(rooms)) if rooms else "no room raised one")
