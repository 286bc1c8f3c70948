"""The standard output of a program, searched by patterns."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar

from phonograph.errors import InputFileError


@dataclass(frozen=True)
class Printed:
    """The text of an output.

    Attributes
    ----------
    place, text
        Where it lies, for error messages, and what it says.
    """

    EXPECTED: ClassVar[str]
    """What was expected where something does not stand exactly once, and what to do."""

    place: str
    text: str

    def all(self, pattern: str) -> list[Any]:
        """Return every match of ``pattern``, ``^`` and ``$`` meaning lines."""
        return re.findall(pattern, self.text, re.MULTILINE)

    def one(self, pattern: str, what: str) -> Any:
        """Return the only match; raises :class:`InputFileError` naming ``what`` where there are none or several."""
        found = self.all(pattern)
        if len(found) != 1:
            raise InputFileError(f"{self.place} gives {what} {len(found)} times; expected {self.EXPECTED}")
        return found[0]
