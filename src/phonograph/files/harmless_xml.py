"""XML of electronic-structure programs, read without trusting it."""

from __future__ import annotations

from typing import Any
from xml.parsers import expat

from phonograph.errors import InputFileError
from phonograph.files.safety import reason

DEEPEST_XML = 40
"""Deepest nesting of elements; vasprun.xml needs a dozen."""


class HarmlessXml:
    """One pass over XML that refuses what could do harm; subclasses collect what they need.

    Refused are entities and document types, which could fill the memory or read other files, and nesting deeper than
    ``deepest``.  Nothing is kept of an element but what a subclass takes.
    """

    def __init__(self, place: str, program: str, deepest: int = DEEPEST_XML) -> None:
        self.place, self.program, self.deepest = place, program, deepest
        self.depth = 0

    def read(self, data: bytes) -> None:
        """Parse the whole document; raises :class:`InputFileError` where it ends early or is refused."""
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = self._refuse
        parser.EntityDeclHandler = self._refuse
        parser.StartElementHandler = self._deeper
        parser.EndElementHandler = self._higher
        parser.CharacterDataHandler = self.text
        try:
            parser.Parse(data, True)
        except (LookupError, ValueError) as error:
            raise InputFileError(f"{self.place} has an unknown encoding: {reason(error)}; copy it again") from error
        except expat.ExpatError as error:
            raise InputFileError(
                f"{self.place} ends or breaks in line {error.lineno}: the calculation is unfinished, or the copy is "
                "cut; wait for it or copy it again"
            ) from error

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """Take note of an opening tag."""

    def text(self, text: str) -> None:
        """Take note of characters."""

    def end(self, name: str) -> None:
        """Take note of a closing tag."""

    def _refuse(self, *_: Any) -> None:
        raise InputFileError(
            f"{self.place} declares XML entities or a document type, which {self.program} never does; do not trust "
            "this file"
        )

    def _deeper(self, name: str, attributes: dict[str, str]) -> None:
        self.depth += 1
        if self.depth > self.deepest:
            raise InputFileError(
                f"{self.place} nests elements deeper than {self.deepest} levels, which {self.program} never does"
            )
        self.start(name, attributes)

    def _higher(self, name: str) -> None:
        self.depth -= 1
        self.end(name)
