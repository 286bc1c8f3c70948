"""The report: one HTML file that needs nothing else, and lets nothing in or out."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from phonograph.atomic import write_text
from phonograph.report.markup import Markup, join, json_island, tag
from phonograph.report.material import ReportMaterial
from phonograph.report.outline import Section
from phonograph.report.palette import ramp
from phonograph.report.sections.closing import cite, limits, manifest, warnings
from phonograph.report.sections.evaluation import evaluation
from phonograph.report.sections.explanation import explanation
from phonograph.report.sections.header import header
from phonograph.report.sections.labels import labels
from phonograph.report.sections.learning_curves import learning_curves
from phonograph.report.sections.phonons import phonons
from phonograph.report.sections.sampling import sampling
from phonograph.report.sections.structure import structure
from phonograph.report.sections.thermal import thermal
from phonograph.report.sections.training import training

NUMBERED = (structure, phonons, sampling, labels, training, evaluation, explanation, thermal)
OPTIONAL = (learning_curves,)
"""Left out where the run has none."""

CLOSING = (warnings, limits, manifest, cite)
RAMP_STEPS = 33


def write_report(material: ReportMaterial, path: str | os.PathLike[str]) -> None:
    """Write the report as one self-contained HTML file, atomically.

    Parameters
    ----------
    material
        The results to show.
    path
        File to write; a report that is already there is replaced only when the new one is complete.

    Raises
    ------
    InputFileError
        When the folder cannot be written.
    """
    write_text(path, render_report(material))


def render_report(material: ReportMaterial) -> Markup:
    """Return the page; the same material always gives the same bytes."""
    numbered = [make(material) for make in NUMBERED]
    optional = [section for make in OPTIONAL if (section := make(material)) is not None]
    closing = [*optional, *(make(material) for make in CLOSING)]
    scenes = {name: scene for section in numbered for name, scene in section.scenes.items()}
    return html_document(
        material.title,
        _navigation(numbered, closing),
        tag("main", header(material), _rendered(numbered, closing)),
        scenes=scenes,
    )


def html_document(title: str, navigation: Markup, main: Markup, *, scenes: Mapping[str, Any] | None = None) -> Markup:
    """Return a whole page of the report's style that needs nothing else and lets nothing in or out.

    Parameters
    ----------
    title
        Title of the page.
    navigation, main
        Contents of the two columns.
    scenes
        Name → data of the three-dimensional panels; without any the viewer is left out.
    """
    style = _asset("assets", "report.css")
    viewer = [_asset("vendor", "3Dmol-min.js")] if scenes else []
    scripts = [*viewer, _asset("assets", "report.js")]
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=content_security_policy(style, scripts)),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", title),
        tag("style", Markup(style)),
    )
    body = tag(
        "body",
        navigation,
        main,
        json_island("scenes", scenes or {}),
        json_island("ramp", [ramp(step / (RAMP_STEPS - 1)) for step in range(RAMP_STEPS)]),
        [tag("script", Markup(script)) for script in scripts],
    )
    return join(Markup("<!DOCTYPE html>\n"), tag("html", head, body, lang="en"), Markup("\n"))


def content_security_policy(style: str, scripts: Sequence[str]) -> str:
    """Return a policy that runs exactly these scripts and this style and lets nothing be loaded or sent."""
    allowed = " ".join(_hash(script) for script in scripts)
    return (
        f"default-src 'none'; script-src {allowed}; style-src {_hash(style)}; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(source: str) -> str:
    digest = hashlib.sha256(source.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _asset(folder: str, name: str) -> str:
    source = (resources.files("phonograph.report") / folder / name).read_text(encoding="utf-8")
    # Inside an element these would end it; our own files and the pinned 3Dmol have none.
    if "</script" in source.lower() or "</style" in source.lower() or "<!--" in source:
        raise ValueError(f"{folder}/{name} cannot be put inside a page")
    return source


def _rendered(numbered: Sequence[Section], closing: Sequence[Section]) -> list[Markup]:
    parts = [section.render(str(place)) for place, section in enumerate(numbered, start=1)]
    return parts + [section.render("") for section in closing]


def _navigation(numbered: Sequence[Section], closing: Sequence[Section]) -> Markup:
    entries = [_entry(section, str(place)) for place, section in enumerate(numbered, start=1)]
    entries += [tag("li", class_="gap"), *(_entry(section, "") for section in closing)]
    return tag(
        "nav", tag("a", "Phonograph", href="#top", class_="mark"), tag("ol", entries), aria_label="Parts of the report"
    )


def _entry(section: Section, number: str) -> Markup:
    return tag("li", tag("a", tag("span", number), section.title, href=f"#{section.key}"))
