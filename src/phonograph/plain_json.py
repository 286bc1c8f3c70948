"""JSON from files that others may have written: text only, bounded in depth."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

DEEPEST = 200
"""Nesting beyond this is not data.  CPython's parser recurses in C, and a library that raised the interpreter's
recursion limit (symfc does) turns a deep file into a crash of the process instead of an error."""


def read_json(text: str | bytes) -> Any:
    """Parse JSON.

    Raises
    ------
    ValueError
        Not JSON, not UTF-8, or nested deeper than :data:`DEEPEST`.
    """
    data = text.encode() if isinstance(text, str) else bytes(text)
    symbols = np.frombuffer(data, dtype=np.uint8)
    # Brackets inside strings count too: they would have to be hundreds and unbalanced to matter.
    steps = np.isin(symbols, list(b"[{")).astype(np.int32) - np.isin(symbols, list(b"]}"))
    if len(steps) and int(np.cumsum(steps, dtype=np.int64).max()) > DEEPEST:
        raise ValueError(f"nested deeper than {DEEPEST} levels")
    return json.loads(data)
