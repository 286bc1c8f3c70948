"""What a section of the report is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from phonograph.report.markup import Content, Markup, join, paragraph, tag


@dataclass(frozen=True, kw_only=True)
class Section:
    """One numbered part of the page.

    Attributes
    ----------
    key
        Anchor.
    title
        Heading.
    lead
        One or two sentences with the finding and its numbers, or the sentence that says why there is none.
    body
        Figures and tables; empty where the data is absent.
    scenes
        Scene name → data for the three-dimensional panels.
    """

    key: str
    title: str
    lead: Content
    body: Markup = field(default=Markup(""))
    scenes: Mapping[str, Any] = field(default_factory=dict)

    def render(self, number: str) -> Markup:
        """Return the section with its number in front of the title."""
        heading = tag("h2", tag("span", number, class_="no") if number else None, self.title)
        lead = paragraph(self.lead, class_="lead" if self.body else "lead absent")
        return tag("section", heading, lead, self.body, id=self.key)


def legend(colours: Mapping[str, str], names: Content = None) -> Markup:
    """Return a row of swatches with names; ``names`` is a sentence in front."""
    entries = [tag("span", swatch(colour), name, class_="key") for name, colour in colours.items()]
    return tag("div", names, *entries, class_="legend") if entries else join()


def swatch(colour: str) -> Markup:
    """Return a small square of one colour."""
    square = tag("rect", width=11, height=11, rx=2.5, fill=colour)
    return tag("svg", square, width=11, height=11, viewBox="0 0 11 11", aria_hidden="true")


def dot_swatch(colour: str, radius: float = 6) -> Markup:
    """Return a small outlined disc of one colour, as atoms are drawn."""
    disc = tag("circle", cx=7, cy=7, r=radius, fill=colour, stroke="currentColor", stroke_opacity=0.4)
    return tag("svg", disc, width=14, height=14, viewBox="0 0 14 14", aria_hidden="true")
