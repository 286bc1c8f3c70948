"""structures_info.txt of the authors' scripts: law, parameter and composition of each numbered structure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from phonograph.errors import InputFileError
from phonograph.files.safety import MAX_STRUCTURE_BYTES, read_text, reading, sha256_of, shown

FILE = "structures_info.txt"
_NUMBERED = re.compile(r"struc-0*(\d{1,9})$")


@dataclass(frozen=True, kw_only=True)
class StructureFacts:
    """Temperature, K, amplitude, Å, and Br concentration of a structure; NaN where it has none."""

    temperature_K: float = math.nan
    amplitude_A: float = math.nan
    fraction: float = math.nan


@dataclass(frozen=True, kw_only=True)
class StructuresInfo:
    """Facts by structure number, the hash of the file, and what is to be told of it."""

    facts: Mapping[int, StructureFacts] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def of(self, folder: str) -> StructureFacts:
        """Return the facts of a folder called ``struc-<number>``."""
        found = _NUMBERED.search(folder)
        return self.facts.get(int(found[1]), StructureFacts()) if found else StructureFacts()


def read_structures_info(root: Path) -> StructuresInfo:
    """Read structures_info.txt in ``root``, else beside it; nothing where there is none.

    A header, then rows of number, ``Uniform`` or ``Phononic``, amplitude (Å) or temperature (K), Br concentration.

    Raises
    ------
    InputFileError
        A row that is not such, with its line.
    """
    path = next((one for one in (root / FILE, root.resolve().parent / FILE) if one.is_file()), None)
    if path is None:
        return StructuresInfo()
    facts: dict[int, StructureFacts] = {}
    for line, text in enumerate(read_text(path, MAX_STRUCTURE_BYTES).splitlines()[1:], start=2):
        words = text.split()
        if not words:
            continue
        with reading(f"{shown(path)} line {line}", "number, law, parameter and Br concentration"):
            number, law, parameter, fraction = int(words[0]), words[1].lower(), float(words[2]), float(words[3])
        if law not in ("uniform", "phononic") or not 0 <= fraction <= 1 or not 0 <= parameter < math.inf:
            raise InputFileError(
                f"{shown(path)} line {line} must hold a number, Uniform or Phononic, an amplitude or a temperature, "
                f"and a Br concentration from 0 to 1; got {text.strip()[:60]!r}"
            )
        if number in facts:
            raise InputFileError(f"{shown(path)} line {line} describes structure {number} again")
        facts[number] = (
            StructureFacts(temperature_K=parameter, fraction=fraction)
            if law == "phononic"
            else StructureFacts(amplitude_A=parameter, fraction=fraction)
        )
    note = f"{FILE} gave temperature, amplitude and Br concentration (fraction) of folders struc-<number>"
    return StructuresInfo(facts=facts, inputs={FILE: sha256_of(path)}, notes=(note,))
