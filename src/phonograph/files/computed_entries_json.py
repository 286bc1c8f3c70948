"""Large JSON files, one item at a time: plain values only, whatever a file names as its classes."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Generator, Iterator
from typing import Any

from phonograph.errors import InputFileError
from phonograph.files.safety import MAX_SET_BYTES, read_bytes, reason, shown
from phonograph.plain_json import DEEPEST, depth

ITEM = "[]"
"""Key under which items of the list are given: of a list at the top, or of the list called ``entries``."""

_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


def json_items(path: str | os.PathLike[str]) -> Iterator[tuple[str, Any]]:
    """Yield what stands at the top of a JSON file (``.gz``, ``.xz``, ``.bz2`` too): (key, value) or (``[]``, item).

    Only one item at a time is in memory besides the text.

    Raises
    ------
    InputFileError
        As :func:`~phonograph.files.safety.read_bytes`; or where the content is not JSON or nested too deeply.
    """
    place = shown(path)
    data = read_bytes(path, MAX_SET_BYTES)
    if depth(data) > DEEPEST:
        raise InputFileError(f"{place} is nested deeper than {DEEPEST} levels; it is no file of structures")
    try:
        text = data.decode("utf-8-sig")
        del data
        yield from _top(text)
    except (ValueError, RecursionError, IndexError) as error:
        raise InputFileError(f"{place} is not complete JSON: {reason(error)}; write or copy it again") from error


def _top(text: str) -> Iterator[tuple[str, Any]]:
    start = _skip(text, 0)
    if text[start] == "[":
        end = yield from _items(text, start)
    elif text[start] == "{":
        end = yield from _members(text, start)
    else:
        raise ValueError("expected a list or named values")
    if _skip(text, end) != len(text):
        raise ValueError("something follows its end")


def _members(text: str, start: int) -> Generator[tuple[str, Any], None, int]:
    place = _skip(text, start + 1)
    while text[place] != "}":
        key, place = _DECODER.raw_decode(text, place)
        if not isinstance(key, str):
            raise ValueError("a name must be text")
        place = _skip(text, _expect(text, place, ":"))
        if key == "entries" and text[place] == "[":
            place = yield from _items(text, place)
        else:
            value, place = _DECODER.raw_decode(text, place)
            yield key, value
        place = _next(text, place, "}")
    return place + 1


def _items(text: str, start: int) -> Generator[tuple[str, Any], None, int]:
    place = _skip(text, start + 1)
    while text[place] != "]":
        value, place = _DECODER.raw_decode(text, place)
        yield ITEM, value
        place = _next(text, place, "]")
    return place + 1


def _next(text: str, place: int, end: str) -> int:
    """Return the place of the next item, or of ``end``."""
    place = _skip(text, place)
    if text[place] == end:
        return place
    place = _skip(text, _expect(text, place, ","))
    if text[place] == end:
        raise ValueError("a comma before the end")
    return place


def _expect(text: str, place: int, mark: str) -> int:
    place = _skip(text, place)
    if text[place] != mark:
        raise ValueError(f"expected {mark!r} at character {place}")
    return place + 1


def _skip(text: str, place: int) -> int:
    match = _SPACE.match(text, place)
    return match.end() if match else place
