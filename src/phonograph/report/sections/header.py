"""The head of the page: title and key numbers."""

from __future__ import annotations

import math

import numpy as np

from phonograph.report.markup import Content, Markup, join, tag
from phonograph.report.material import ReportMaterial
from phonograph.report.scores import baseline_mae, best_collection, select, summarise
from phonograph.report.sections.evaluation import split_of, unit_of
from phonograph.report.sections.thermal import at_temperature
from phonograph.report.words import (
    decimals_of,
    error_unit,
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
    if material.main_target:
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
    if result.harmonic is None:
        return _tile("lowest mode", join(fixed(before, 2), tag("small", " THz")), "harmonic")
    place = int(result.frequencies_THz.argmin())
    value = plus_minus(float(result.frequencies_THz[place]), float(result.frequency_error_THz[place]))
    converged = {True: "converged", False: "not converged", None: "renormalised"}[result.converged]
    return _tile("lowest mode", join(value, tag("small", " THz")), f"harmonic: {fixed(before, 2)} THz; {converged}")


def _model(material: ReportMaterial) -> Markup | None:
    target = material.main_target
    best = best_collection(material.evaluation, target)
    if not best:
        return None
    split = split_of(material, target)
    score = summarise(select(material.evaluation, target=target, trained_on=best, tested_on=best, split=split))
    if score is None:
        return None
    factor, unit = error_unit(unit_of(material, target), [score.mae])
    naive = baseline_mae(material.evaluation, target, best, best, split)
    skill = f"skill {percent(1 - score.mae / naive)} over the mean; " if math.isfinite(naive) and naive > 0 else ""
    spread = f" ± {number(factor * score.mae_sd, 2)}" if math.isfinite(score.mae_sd) else ""
    return _tile(
        join(split, " MAE, ", property_symbol(target), f", {best}"),
        join(number(factor * score.mae), spread, tag("small", f" {unit}")),
        f"{skill}R² {fixed(score.r2, 2)}, {plural(score.seeds, 'seed')}",
    )


def _bond(material: ReportMaterial) -> Markup | None:
    if not material.explanations or not material.explanations[0].bonds:
        return None
    found = material.explanations[0]
    first = max(found.bonds, key=lambda bond: bond.importance)
    return _tile(
        "most important bond",
        join(pair_words(first.species_pair), tag("small", f" {fixed(first.distance_A, 2)} Å")),
        f"importance {fixed(first.importance, 2)}; seeds agree at ρ = {fixed(found.stability, 2)}",
    )


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
    what = join(property_symbol(point.target), f" at {number(point.temperature_K)} K")
    return _tile(what, join(fixed(point.mean, places), tag("small", f" {point.unit}")), note)


def _warnings(material: ReportMaterial) -> Markup:
    many = len(set(material.warnings))
    value = tag("a", str(many), href="#warnings") if many else "0"
    rooms = sorted({room for room, _ in material.warnings})
    return _tile("warnings", value, sentence_case(", ".join(rooms)) if rooms else "no room raised one")
