"""Standard output of CP2K: one finished energy (and force) calculation, checked against itself.

Outputs of 2023.1 are tested.  From 2024.1 on, CP2K stops where self-consistency fails, and from 2025 on it prints
forces and stress in another layout (stress in bar), which is read too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from phonograph.errors import DataError, InputFileError
from phonograph.files.printed import Printed
from phonograph.files.safety import read_text, shown
from phonograph.types import Bands, FloatArray
from phonograph.units import HARTREE_EV

LARGEST_BYTES = 200_000_000
_NUMBER = r"(-?\d+\.\d+(?:[ED][-+]\d+)?)"
_NEEDS = "; run CP2K again, or copy the whole file"
_LAST_LINES = 80
_UNCONVERGED = "SCF run NOT converged"
_FORCES = re.compile(r"ATOMIC FORCES in \[a\.u\.\]|FORCES\| Atomic forces \[hartree/bohr\]")
_FORCE = rf"^\s+(?:FORCES\|\s+(\d+)|(\d+)\s+\d+\s+[A-Z][a-z]?)\s+{_NUMBER}\s+{_NUMBER}\s+{_NUMBER}(?:\s+{_NUMBER})?\s*$"
_FORCES_SUM = re.compile(r"SUM OF ATOMIC FORCES|FORCES\| Sum")
_STRESS = re.compile(r"STRESS\| Analytical stress tensor \[(GPa|bar)\]")
_IN_GPA = {"GPa": 1.0, "bar": 1e-4}
_EV_TOLERANCE = 1e-6
"""CP2K's factor from hartree to eV is that of an older CODATA; the two columns agree to this, relative."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Cp2kOutput:
    """What one output says; stresses still have CP2K's sign (positive = compressed).

    ``energy_Ha``, forces, stress and bands are NaN or empty where the calculation did not converge.
    """

    place: str
    version: str
    project: str
    converged: bool
    steps: int
    warnings: int
    numbers: tuple[int, ...]
    positions_A: FloatArray
    valence: FloatArray
    volume_A3: float
    cell_A: FloatArray
    energy_Ha: float = float("nan")
    fermi_Ha: float = float("nan")
    bands: Bands | None = None
    forces_Ha_per_bohr: FloatArray | None = None
    pressure_GPa: FloatArray | None = None


class StoppedUnconverged(InputFileError):
    """Self-consistency was not reached: CP2K stopped, as it does from 2024.1 on, or lost the density on the way."""


class _Text(Printed):
    EXPECTED = f"one finished calculation{_NEEDS}"

    def refuse(self, why: str) -> InputFileError:
        return InputFileError(f"{self.place}: {why}{_NEEDS}")


def claims_end(path: Path) -> bool:
    """Return whether a file says that CP2K came to its end, or stopped with a message."""
    try:
        data = path.read_bytes() if path.stat().st_size <= LARGEST_BYTES else b""
    except OSError:
        return False
    return b"PROGRAM ENDED AT" in data or b"[ABORT]" in data


def read_output(path: Path) -> Cp2kOutput:
    """Read the standard output of one calculation.

    Raises
    ------
    StoppedUnconverged
        CP2K stopped for want of self-consistency.
    InputFileError
        In one sentence: missing, cut off, stopped by CP2K (whose message is repeated), several calculations in one
        file, or numbers that contradict each other.
    """
    text = _Text(shown(path.name), read_text(path, LARGEST_BYTES))
    if "[ABORT]" in text.text:
        told = _abort_message(text.text)
        kind = StoppedUnconverged if _UNCONVERGED in told else InputFileError
        raise kind(f"{text.place}: CP2K stopped: {told}")
    _check_end(text)
    numbers, positions, valence = _atoms(text)
    volume, cell = _cell(text)
    steps = text.all(r"^\s*\*\*\* SCF run converged in\s+(\d+) steps \*\*\*\s*$")
    failed = _UNCONVERGED in text.text
    if not failed and len(steps) != 1:
        raise text.refuse(f"self-consistency is reported {len(steps)} times; expected once")
    _check_density(text)
    results = {} if failed else _results(text, len(numbers), float(valence.sum()))
    return Cp2kOutput(
        place=text.place,
        version=text.one(r"^ CP2K\| version string:\s+CP2K version (\S+)\s*$", "CP2K's version"),
        project=text.one(r"^ GLOBAL\| Project name\s+(\S+)\s*$", "the name of the project"),
        converged=not failed,
        steps=0 if failed else int(steps[0]),
        warnings=int(text.one(r"^ The number of warnings for this run is : (\d+)\s*$", "the number of warnings")),
        numbers=numbers,
        positions_A=positions,
        valence=valence,
        volume_A3=volume,
        cell_A=cell,
        **results,
    )


def _check_density(text: _Text) -> None:
    """Refuse a second step that changed nothing at all: it comes from a density matrix of zeros."""
    changes = text.all(rf"^\s+\d+ +\S+ +{_NUMBER} +{_NUMBER} +{_NUMBER} +{_NUMBER} +{_NUMBER}\s*$")
    if len(changes) == 2 and float(changes[1][2]) == 0.0 and float(changes[0][2]) > 1.0:
        raise StoppedUnconverged(f"{text.place}: self-consistency stopped at a change of zero after {changes[0][2]}")


def _abort_message(text: str) -> str:
    """Return the words of CP2K's box, which stand right of its drawing."""
    box = text.partition("[ABORT]")[2].partition("*****")[0]
    words = " ".join(line[10:].rstrip().rstrip("*").strip() for line in box.splitlines()[1:])
    return " ".join(words.split())[:200] or "without a message"


def _check_end(text: _Text) -> None:
    starts, ends = text.text.count("PROGRAM STARTED AT"), text.text.count("PROGRAM ENDED AT")
    if starts != 1 or ends != 1:
        raise text.refuse(f"CP2K starts {starts} times and ends {ends} times in it; expected one finished calculation")
    last = text.text.partition("PROGRAM ENDED AT")[2]
    # The folder's name comes last; a long one takes several lines.
    if last.count("PROGRAM STOPPED IN") != 1 or len(last.splitlines()) > _LAST_LINES:
        raise text.refuse("it does not stop at the end of the program")


def _atoms(text: _Text) -> tuple[tuple[int, ...], FloatArray, FloatArray]:
    count = int(text.one(r"^\s+- Atoms:\s+(\d+)\s*$", "the number of atoms"))
    line = rf"^\s+(\d+)\s+\d+\s+[A-Z][a-z]?\s+(\d+)\s+{_NUMBER}\s+{_NUMBER}\s+{_NUMBER}\s+{_NUMBER}\s+{_NUMBER}\s*$"
    listed = text.text.partition("ATOMIC COORDINATES IN ANGSTROM")[2].partition("SCF PARAMETERS")[0]
    rows = re.findall(line, listed, re.MULTILINE)
    if [row[0] for row in rows] != [str(place) for place in range(1, count + 1)]:
        raise text.refuse(f"it lists {len(rows)} of {count} atoms")
    values = _floats(text, [row[2:6] for row in rows], (count, 4), "the positions")
    return tuple(int(row[1]) for row in rows), values[:, :3], values[:, 3]


def _cell(text: _Text) -> tuple[float, FloatArray]:
    volume = float(text.one(rf"^ CELL\| Volume \[angstrom\^3\]:\s+{_NUMBER}\s*$", "the volume of the cell"))
    rows = text.all(rf"^ CELL\| Vector [abc] \[angstrom\]:\s+{_NUMBER}\s+{_NUMBER}\s+{_NUMBER}\s+\|[abc]\|")
    return volume, _floats(text, rows, (3, 3), "the lattice vectors")


def _results(text: _Text, atoms: int, charges: float) -> dict[str, Any]:
    energy = float(text.one(rf"^ ENERGY\| Total FORCE_EVAL \( QS \) energy.*:\s+{_NUMBER}\s*$", "the energy"))
    levels = text.all(rf"^ MO\| E\(Fermi\):\s+{_NUMBER} a\.u\.")
    _check_energy(text, energy, atoms)
    return {
        "energy_Ha": energy,
        "fermi_Ha": float(levels[-1]) if levels else float("nan"),
        "bands": _bands(text, charges),
        "forces_Ha_per_bohr": _forces(text, atoms),
        "pressure_GPa": _pressure(text),
    }


def _check_energy(text: _Text, energy: float, atoms: int) -> None:
    """Compare with the last energy of the self-consistency, which differs by what is left to converge."""
    last = float(text.one(rf"^\s+Total energy:\s+{_NUMBER}\s*$", "the total energy"))
    if abs(energy - last) > 1e-3 * atoms:
        raise text.refuse(f"the energy {energy:.6f} Ha is not that of the last step, {last:.6f} Ha")


def _bands(text: _Text, charges: float) -> Bands:
    k_points, weights = _k_points(text)
    blocks = _orbital_blocks(text)
    spins = 2 if any(block[0] for block in blocks) else 1
    if len(blocks) != spins * len(k_points):
        raise text.refuse(f"it has {len(blocks)} lists of eigenvalues for {spins} spin and {len(k_points)} k points")
    widths = {len(block[1]) for block in blocks}
    if len(widths) != 1:
        raise text.refuse("its lists of eigenvalues differ in length")
    by_spin = [[b for b in blocks if b[0] == name] for name in (("ALPHA", "BETA") if spins == 2 else ("",))]
    if len({len(group) for group in by_spin}) != 1:
        raise text.refuse("the two spins have different numbers of k points")
    energies = np.array([[block[1] for block in group] for group in by_spin])
    filled = np.array([[float(block[2].sum()) for block in group] for group in by_spin]) @ (weights / weights.sum())
    electrons = _electrons(text)
    if abs(filled.sum() - electrons) > 1e-4 * max(1.0, electrons):
        raise text.refuse(f"occupations sum to {filled.sum():g} electrons; {electrons:g} are announced")
    moment = float(filled[0] - filled[1]) if spins == 2 else 0.0
    try:
        return Bands(
            k_points=k_points,
            k_weights=weights,
            eigenvalues_eV=energies * HARTREE_EV,
            electrons=electrons,
            magnetisation=moment,
        )
    except DataError as error:
        raise text.refuse(str(error)) from error


def _electrons(text: _Text) -> float:
    return float(sum(int(count) for count in text.all(r"^ Number of electrons:\s+(\d+)\s*$")))


def _k_points(text: _Text) -> tuple[FloatArray, FloatArray]:
    """Return what is printed, in fractions of the reciprocal vectors, or Γ where no list is."""
    announced = text.all(r"^ BRILLOUIN\| List of Kpoints \[2 Pi/Bohr\]\s+(\d+)\s*$")
    if not announced:
        return np.zeros((1, 3)), np.ones(1)
    line = rf"^ BRILLOUIN\|\s+\d+\s+{_NUMBER}\s+{_NUMBER}\s+{_NUMBER}\s+{_NUMBER}\s*$"
    rows = _floats(text, text.all(line), (int(announced[0]), 4), "the k points")
    return rows[:, 1:], rows[:, 0]


def _orbital_blocks(text: _Text) -> list[tuple[str, FloatArray, FloatArray]]:
    """Return (spin, eigenvalues in Ha, occupations) of every list, in the order of the file.

    Lists "AFTER SCF STEP 0" are those of a wave function that was read, not of this calculation.
    """
    head = re.compile(r"^ MO\|\s*(ALPHA|BETA)? ?EIGENVALUES AND OCCUPATION NUMBERS(?: FOR K POINT \d+)?\s*$", re.M)
    row = re.compile(rf"^ MO\|\s+(\d+)\s+{_NUMBER}\s+{_NUMBER}\s+{_NUMBER}\s*$", re.M)
    places = [*head.finditer(text.text)]
    if not places:
        raise text.refuse("it has no eigenvalues")
    ends = [place.start() for place in places[1:]] + [len(text.text)]
    blocks = []
    for place, end in zip(places, ends, strict=True):
        rows = row.findall(text.text, place.end(), end)
        if not rows or [r[0] for r in rows] != [str(i) for i in range(1, len(rows) + 1)]:
            raise text.refuse("a list of eigenvalues has gaps")
        values = _floats(text, [r[1:] for r in rows], (len(rows), 3), "the eigenvalues")
        # Each is printed in two units: a digit changed in one of them shows.
        if np.abs(values[:, 0] * HARTREE_EV - values[:, 1]).max() > _EV_TOLERANCE * (1 + np.abs(values[:, 1]).max()):
            raise text.refuse("eigenvalues in hartree and in eV disagree")
        blocks.append((place.group(1) or "", values[:, 0], values[:, 2]))
    return blocks


def _forces(text: _Text, atoms: int) -> FloatArray | None:
    head = _FORCES.search(text.text)
    if head is None:
        return None
    part = text.text[head.end() :]
    end = _FORCES_SUM.search(part)
    rows = re.findall(_FORCE, part[: end.start()], re.MULTILINE) if end else []
    if end is None or [row[0] or row[1] for row in rows] != [str(place) for place in range(1, atoms + 1)]:
        raise text.refuse(f"it lists the forces on {len(rows)} of {atoms} atoms")
    forces = _floats(text, [row[2:5] for row in rows], (atoms, 3), "the forces")
    total = _floats(text, [part[end.end() :].split("\n")[0].split()[:3]], (3,), "the sum of the forces")
    if np.abs(forces.sum(axis=0) - total).max() > 1e-9 * (1 + atoms):
        raise text.refuse("the forces do not sum to the sum it gives")
    return forces


def _pressure(text: _Text) -> FloatArray | None:
    head = _STRESS.search(text.text)
    if head is None:
        return None
    part = text.text[head.end() :].partition("Eigenvectors")[0]
    rows = re.findall(rf"^ STRESS\|\s+[xyz]\s+{_NUMBER}\s+{_NUMBER}\s+{_NUMBER}\s*$", part, re.MULTILINE)
    tensor = _floats(text, rows, (3, 3), "the stress")
    trace = re.findall(rf"^ STRESS\| 1/3 Trace\s+{_NUMBER}\s*$", part, re.MULTILINE)
    scale = 1.0 + float(np.abs(tensor).max())
    if len(trace) != 1 or abs(float(trace[0]) - np.trace(tensor) / 3.0) > 1e-9 * scale:
        raise text.refuse("the stress does not have the trace it gives")
    if np.abs(tensor - tensor.T).max() > 1e-6 * scale:
        raise text.refuse("the stress is not symmetric")
    return tensor * _IN_GPA[head[1]]


def _floats(text: _Text, rows: Sequence[Sequence[str]], shape: tuple[int, ...], what: str) -> FloatArray:
    try:
        values = np.array([float(word.replace("D", "E")) for row in rows for word in row])
    except ValueError as error:
        raise text.refuse(f"{what} cannot be read") from error
    if len(values) != np.prod(shape) or not np.isfinite(values).all():
        raise text.refuse(f"{what} must be {np.prod(shape)} finite numbers; got {len(values)}")
    return values.reshape(shape)
