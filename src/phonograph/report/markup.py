"""HTML that cannot be injected into: plain text is escaped by its type, only :class:`Markup` passes as it is."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

VOID = frozenset({"br", "hr", "img", "input", "link", "meta"})
"""HTML elements without an end tag."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9:-]*\Z")
_JSON_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
# Control characters are not allowed in HTML even as references; a replacement character shows that one was there.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


class Markup(str):
    """Markup that is already safe: made by :func:`tag`, :func:`join` and :func:`text` only."""

    __slots__ = ()


Content = str | Markup | None | Iterable[Any]
"""What an element may hold: text (escaped), markup, nothing, or a sequence of these."""


def text(value: str) -> Markup:
    """Return ``value`` escaped, unless it is markup already; control characters become U+FFFD."""
    if isinstance(value, Markup):
        return value
    return Markup(html.escape(_CONTROL.sub("\ufffd", str(value)), quote=True))


def join(*parts: Content, separator: str = "") -> Markup:
    """Return the parts one after another, text escaped, ``None`` left out, sequences flattened."""
    return Markup(separator.join(_flatten(parts)))


def _flatten(parts: Iterable[Any]) -> Iterable[str]:
    for part in parts:
        if part is None:
            continue
        if isinstance(part, str):
            yield text(part)
        else:
            yield from _flatten(part)


def tag(name: str, /, *children: Content, **attributes: str | float | bool | None) -> Markup:
    """Return one element.

    Parameters
    ----------
    name
        Element name.
    children
        Text (escaped), markup, or sequences of these.
    attributes
        ``class_`` stands for ``class`` and ``stroke_width`` for ``stroke-width``; ``None`` and ``False`` are left
        out and ``True`` gives a bare attribute.
    """
    if not _NAME.match(name):
        raise ValueError(f"not an element name: {name!r}")
    opening = f"<{name}{''.join(_attribute(key, value) for key, value in attributes.items())}>"
    if name in VOID:
        return Markup(opening)
    return Markup(f"{opening}{join(*children)}</{name}>")


def _attribute(key: str, value: str | float | bool | None) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    if not _NAME.match(name) or name.lower().startswith("on") or name == "style":
        raise ValueError(f"not an attribute the report may carry: {key!r}")  # both are dead under the page's CSP
    return f" {name}" if value is True else f' {name}="{text(str(value))}"'


def json_island(identifier: str, value: Any) -> Markup:
    """Return data for the page's script, inert as markup: angle brackets, ampersands and U+2028/9 are escapes."""
    plain = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True)
    for character, escape in _JSON_ESCAPES.items():
        plain = plain.replace(character, escape)
    return tag("script", Markup(_CONTROL.sub("\ufffd", plain)), type="application/json", id=identifier)


def table(head: Sequence[Content], rows: Sequence[Sequence[Content]], *, words: int = 1, class_: str = "") -> Markup:
    """Return a table; the first ``words`` columns are text (left), the others numbers (right)."""

    def cell(kind: str, place: int, content: Content) -> Markup:
        if isinstance(content, Markup) and content.startswith(("<td", "<th")):
            return content
        return tag(kind, content, class_="w" if place < words else None, scope="col" if kind == "th" else None)

    lines = [tag("tr", [cell("td", place, item) for place, item in enumerate(row)]) for row in rows]
    top = tag("tr", [cell("th", place, item) for place, item in enumerate(head)])
    headed = tag("thead", top) if any(head) else None
    return tag("div", tag("table", headed, tag("tbody", lines), class_=class_ or None), class_="scroll")


def without_empty(
    head: Sequence[Content], rows: Sequence[Sequence[Content]], empty: str = "–"
) -> tuple[list[Content], list[list[Content]]]:
    """Return head and rows without the columns that hold nothing but ``empty``."""
    kept = [place for place in range(len(head)) if any(row[place] != empty for row in rows)]
    return [head[place] for place in kept], [[row[place] for place in kept] for row in rows]


def fold(summary: Content, *content: Content, open_: bool = False) -> Markup:
    """Return content that the reader unfolds."""
    return tag("details", tag("summary", summary), *content, open=open_)


def figure(
    number: str, caption: Content, *pictures: Content, numbers: Content = None, columns: int | str = 1
) -> Markup:
    """Return pictures in a grid with a caption and, folded, the table of the same numbers.

    ``columns`` is 1 to 3, or the name of a grid of the style sheet: ``"beside1"`` and ``"beside2"`` are one or two
    pictures with a narrow one at their right.
    """
    grid = tag("div", *pictures, class_=f"grid g{columns}")
    label = tag("b", f"Figure {number}.")
    folded = fold("The same numbers as a table", numbers) if numbers is not None else None
    return tag("figure", grid, tag("figcaption", label, " ", caption), folded, id=f"figure-{number.replace('.', '-')}")


def paragraph(*content: Content, class_: str | None = None) -> Markup:
    """Return one paragraph."""
    return tag("p", *content, class_=class_)


def bullets(items: Sequence[Content], class_: str | None = None) -> Markup:
    """Return a bulleted list."""
    return tag("ul", [tag("li", item) for item in items], class_=class_)
