"""vasprun.xml: a look at the XML itself, then phonopy's parser."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from phonograph.errors import InputFileError
from phonograph.files.harmless_xml import HarmlessXml
from phonograph.files.safety import MAX_SET_BYTES, read_bytes, reading, shown
from phonograph.types import FloatArray

_SETTINGS = ("NELM", "NSW", "IBRION", "POTIM")


@dataclass(frozen=True, kw_only=True, eq=False)
class Vasprun:
    """Ionic steps of a VASP run.

    Attributes
    ----------
    symbols
        Elements in the file's order.
    steps
        Electronic steps of each ionic step.
    cells_A, fractional
        Lattice vectors as rows and positions in units of them, shapes (f, 3, 3) and (f, n, 3).
    forces_eV_per_A
        Shape (f, n, 3).
    energies_eV
        Free energy (TOTEN, ``e_fr_energy``), of which the forces are the derivatives, shape (f,), or None.
    settings
        Those of NELM, NSW, IBRION and POTIM that the file holds.
    """

    symbols: tuple[str, ...]
    steps: tuple[int, ...]
    cells_A: FloatArray
    fractional: FloatArray
    forces_eV_per_A: FloatArray
    energies_eV: FloatArray | None
    settings: Mapping[str, float]

    def setting(self, name: str) -> float | None:
        """Return a number of INCAR or of VASP's defaults, or None."""
        return self.settings.get(name)


class _Guard(HarmlessXml):
    """Counts steps and notes a few settings."""

    def __init__(self, place: str) -> None:
        super().__init__(place, "VASP")
        self.steps: list[int] = []
        self.settings: dict[str, float] = {}
        self._used: set[str] | None = None
        self._name = ""
        self._text: list[str] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "calculation":
            self.steps.append(0)
        elif name == "scstep" and self.steps:
            self.steps[-1] += 1
        elif name == "parameters":
            self._used = set()
        elif name == "i" and attributes.get("name") in _SETTINGS and attributes["name"] not in (self._used or ()):
            self._name, self._text = attributes["name"], []

    def text(self, text: str) -> None:
        if self._name:
            self._text.append(text)

    def end(self, name: str) -> None:
        if self._name:
            # <incar> echoes what the user set, <parameters>, which comes later, what VASP used; of a name that it
            # repeats the first counts: VASP 5.4.4 has an NELM of its GW routines further down.
            with reading(self.place, f"a vasprun.xml with a number as {self._name}"):
                self.settings[self._name] = float("".join(self._text))
            if self._used is not None:
                self._used.add(self._name)
            self._name = ""


def parse_vasprun(path: str | os.PathLike[str]) -> Vasprun:
    """Read vasprun.xml (also ``.gz``, ``.xz``): structures, forces and energies of its ionic steps.

    Raises
    ------
    InputFileError
        In one sentence: missing, cut off, with XML entities or a document type (which could fill the memory or read
        other files), or without forces on all its atoms in each step.
    """
    place, data = shown(path), read_bytes(path, MAX_SET_BYTES)
    guard = _Guard(place)
    guard.read(data)
    count = len(guard.steps)
    with reading(path, "a vasprun.xml file"):
        from phonopy.interface.vasp import VasprunxmlExpat

        parsed = VasprunxmlExpat(io.BytesIO(data))
        parsed.parse()
        symbols = tuple(str(symbol).strip() for symbol in parsed.symbols or ())
        if count == 0 or len(parsed.forces) != count:
            raise InputFileError(f"{place} holds {len(parsed.forces)} sets of forces in {count} ionic steps")
        # The initial and the final structure stand before and after those of the steps.
        first = 1 if len(parsed.points) == count + 2 else 0
        energies = np.asarray(parsed.energies, dtype=np.float64)
        shape = (count, len(symbols), 3)
        return Vasprun(
            symbols=symbols,
            steps=tuple(guard.steps),
            cells_A=np.asarray(parsed.lattice[first : first + count], dtype=np.float64).reshape(count, 3, 3),
            fractional=np.asarray(parsed.points[first : first + count], dtype=np.float64).reshape(shape),
            forces_eV_per_A=np.asarray(parsed.forces, dtype=np.float64).reshape(shape),
            energies_eV=energies[:, 0].copy() if energies.ndim == 2 and len(energies) == count else None,
            settings=guard.settings,
        )
