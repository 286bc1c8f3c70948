"""What every importer gives: structures, what came with each, and how their numbers are to be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from phonograph.types import Crystal, FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """One structure and what came with it.

    Attributes
    ----------
    names
        Names by which a table may call it.
    info
        Named entries: labels, descriptions, parameters of the law.
    results
        Entries that are results of a calculation in ASE's units (total ``energy``, ``stress``, …).
    displacements_A
        Displacements from equilibrium, or None.
    kin
        Names of what it descends from; samples that share one share a group.
    engine
        What computed its labels, where the file tells.
    """

    names: tuple[str, ...]
    crystal: Crystal
    info: Mapping[str, Any]
    results: Mapping[str, Any] = field(default_factory=dict)
    displacements_A: FloatArray | None = None
    kin: tuple[str, ...] = ()
    engine: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """Everything one file or folder holds.

    Attributes
    ----------
    samples, notes
        Structures in order, and sentences on what was left out.
    table
        Table of labels that belongs to a folder, or None.
    units
        Units of entries whose meaning the format fixes.
    strict
        Whether a number without a unit is an error; else it is left out by name, because the format carries dozens.
    """

    samples: list[Sample]
    notes: list[str] = field(default_factory=list)
    table: Path | None = None
    units: Mapping[str, str] = field(default_factory=dict)
    strict: bool = True


@dataclass(frozen=True, kw_only=True)
class Choices:
    """Named choices where a file offers more than one number for one property.

    Attributes
    ----------
    energy, stress
        Entry that is read as total energy and as stress, such as ``REF_energy`` and ``virials``; empty: the only one.
    correction
        Of computed entries: ``"uncorrected"``, the energy as calculated, or ``"corrected"``, with the corrections that
        the file gives for mixing functionals.
    """

    energy: str = ""
    stress: str = ""
    correction: str = "uncorrected"


def forces_note(count: int, place: str) -> list[str]:
    """Return the sentence on forces, which no label can hold, or none."""
    return (
        [f"forces of {count} structures in {place} were not kept: a label is one number per structure"] if count else []
    )
