"""JSON from files that others may have written: text only, bounded in depth."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

DEEPEST = 200
"""Nesting beyond this is not data.  CPython's parser recurses in C, and a library that raised the interpreter's
recursion limit (symfc does) turns a deep file into a crash of the process instead of an error."""

_CHUNK = 1 << 24


def read_json(text: str | bytes) -> Any:
    """Parse JSON.

    Raises
    ------
    ValueError
        Not JSON, not UTF-8, or nested deeper than :data:`DEEPEST`.
    """
    data = text.encode() if isinstance(text, str) else bytes(text)
    if depth(data) > DEEPEST:
        raise ValueError(f"nested deeper than {DEEPEST} levels")
    return json.loads(data)


def depth(data: bytes) -> int:
    """Return how deeply brackets are nested at most, in a memory that does not grow with the text.

    Brackets inside strings count too: they would have to be hundreds and unbalanced to matter.
    """
    level, deepest = 0, 0
    for start in range(0, len(data), _CHUNK):
        symbols = np.frombuffer(data[start : start + _CHUNK], dtype=np.uint8)
        steps = np.isin(symbols, list(b"[{")).astype(np.int32) - np.isin(symbols, list(b"]}"))
        levels = level + np.cumsum(steps, dtype=np.int64)
        level, deepest = int(levels[-1]), max(deepest, int(levels.max()))
    return deepest
