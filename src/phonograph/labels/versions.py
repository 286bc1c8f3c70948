"""Versions of programs that only their outputs tell: kept in the message of a label, and counted in a table."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from phonograph.types import LabelResult

UNKNOWN = "an unknown version"
_NOTE = re.compile(r"computed by (.+ \S+)$")


def version_note(program: str, version: str) -> str:
    """Return the message of a label whose calculation names no version."""
    return f"computed by {program} {version}"


def noted_versions(results: Iterable[LabelResult]) -> Counter[str]:
    """Return how many labels are of which program and version; empty where no label says so.

    Labels of before these notes count as of an unknown version.
    """
    found = [match[1] if (match := _NOTE.search(one.message)) else UNKNOWN for one in results if not one.failure]
    counts = Counter(found)
    return counts if set(counts) - {UNKNOWN} else Counter()
