"""OUTCAR of a static calculation: everything a label needs."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

import numpy as np

from phonograph.errors import InputFileError
from phonograph.files.safety import read_text, reading, shown
from phonograph.files.vasp_run import GPA_PER_KILOBAR, MAX_OUTPUT_BYTES, PRESENT, VaspRun, crystal_of_file
from phonograph.types import MAX_ATOMS, FloatArray

_ENDS = ("General timing and accounting informations for this job", "Voluntary context switches:")
_SUMMARY = "FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)"
_TAGS = (
    *("PREC", "ISTART", "ICHARG", "ISPIN", "LNONCOLLINEAR", "LSORBIT", "LASPH", "METAGGA", "ENCUT", "NELM", "EDIFF"),
    *("LREAL", "NSW", "IBRION", "ISIF", "PSTRESS", "NELECT", "NUPDOWN", "ISMEAR", "SIGMA", "GGA", "LHFCALC", "AEXX"),
    *("HFSCREEN", "LEPSILON", "LDIPOL", "EFIELD", "LUSE_VDW", "IVDW", "NBANDS"),
)
LONGEST_LINE = 400
"""Longest line that is taken apart; those of VASP are shorter, and searches in longer ones could take for ever."""

LONGEST_HEADER = 64 * 1024 * 1024
"""What stands before the first electronic step takes a few MiB for 10⁵ atoms."""

# Fortran writes numbers of fixed width, which may touch; the number of decimals tells where one ends.
_FIXED = {decimals: re.compile(rf"-?\d*\.\d{{{decimals}}}") for decimals in (2, 5, 6, 8, 9)}
_LEVEL = re.compile(r"^\s*(\d+)\s+(-?\d+\.\d+)\s+(-?\d+\.\d+)\s*$")


def read_static_outcar(path: str | os.PathLike[str]) -> VaspRun:
    """Read OUTCAR (also ``.gz``, ``.xz``); of several ionic steps the last, whose number the result tells.

    OUTCAR rounds: ENCUT to 0.1 eV, SIGMA to 0.01 eV, eigenvalues to 1e-4 eV.

    Raises
    ------
    InputFileError
        In one sentence: missing, cut off, two runs in one file, without energy, eigenvalues, or structure.
    """
    place, text = shown(path), read_text(path, MAX_OUTPUT_BYTES)
    if not all(end in text[-20_000:] for end in _ENDS):
        raise InputFileError(
            f"{place} does not end with VASP's timing: the calculation is unfinished, or the copy is cut; wait for it "
            "or copy it again"
        )
    if text.count(_ENDS[0]) > 1:
        raise InputFileError(f"{place} holds {text.count(_ENDS[0])} runs; keep the one that is meant")
    if _SUMMARY not in text:
        raise InputFileError(f"{place} holds no energy: the calculation stopped before the end; run it again")
    with reading(path, "an OUTCAR file"):
        return _run(place, text)


def _run(place: str, text: str) -> VaspRun:
    header = text[: text.index(" Iteration ")]
    if len(header) > LONGEST_HEADER:
        raise InputFileError(f"{place} holds {len(header)} characters before its first step; it is damaged")
    settings = _settings(header)
    # OUTCAR tells of these in words.
    settings |= {"LDAU": "T"} if "LDA+U is selected" in header else {}
    settings |= {"IVDW": settings.get("IVDW", PRESENT)} if "Edisp (eV)" in text else {}
    titles, symbols, valence = _species(place, header)
    atoms, last = len(symbols), text[text.rindex(_SUMMARY) :]
    version = text.split(maxsplit=1)[0].removeprefix("vasp.")
    fractional = _table(header, "position of ions in fractional coordinates (direct lattice)", 8, atoms)
    cell = _table(text, "direct lattice vectors", 9, 3)[:, :3]
    points = _first_int(header, r"NKPTS =\s*(\d+)")
    k_points, k_weights = _k_points(header, points)
    energies, occupations = _levels(place, text, points, int(settings["NBANDS"]), int(settings["ISPIN"]))
    if settings["ISPIN"] == "1" and settings.get("LNONCOLLINEAR", "F") == "F":
        # A full band holds 2 here, and 1 in vasprun.xml and EIGENVAL.
        occupations = occupations / 2.0
    steps = [float(x) for x in re.findall(r"free energy    TOTEN  =\s*(-?\d+\.\d+) eV", text)]
    forces = text.count("TOTAL-FORCE (eV/Angst)")
    return VaspRun(
        source=place,
        crystal=crystal_of_file(place, cell, fractional, symbols),
        energy_sigma0_eV=_first(last, r"energy\(sigma->0\) =\s*(-?\d+\.\d+)"),
        free_energy_eV=_first(last, r"free  energy   TOTEN  =\s*(-?\d+\.\d+) eV"),
        forces_eV_per_A=_forces(text, atoms) if forces else None,
        stress_GPa=_stress(text),
        k_points=k_points,
        k_weights=k_weights,
        eigenvalues_eV=energies,
        occupations=occupations,
        electrons=float(settings["NELECT"]),
        electronic_steps=int(re.findall(r" Iteration\s*\d+\(\s*(\d+)\)", text)[-1]),
        ionic_steps=text.count(_SUMMARY),
        last_change_eV=steps[-1] - steps[-2] if len(steps) > 1 else float("nan"),
        settings=settings,
        titles=titles,
        valence=valence,
        claims_converged=_claim(text, version),
        version=version,
    )


def _settings(header: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in _TAGS:
        values = re.findall(rf"(?:^|[\s;]){name}\s*=\s*([^\s;]+)", header)
        # The INCAR is echoed first, where it is; what VASP used comes last.
        found |= {name: values[-1]} if values else {}
    return found


def _first(text: str, pattern: str) -> float:
    found = re.search(pattern, text)
    if found is None:
        raise ValueError(f"no line like {pattern.split('=')[0].strip()!r}")
    return float(found[1])


def _first_int(text: str, pattern: str) -> int:
    return int(_first(text, pattern))


def _species(place: str, header: str) -> tuple[tuple[str, ...], tuple[str, ...], float]:
    """Return the titles of the potentials, the element of every atom, and the electrons all potentials bring."""
    counts = [int(word) for word in re.findall(r"ions per type =([ \d]+)", header)[-1].split()]
    if not 1 <= sum(counts) <= MAX_ATOMS:
        raise InputFileError(f"{place} claims {sum(counts)} atoms; 1 to {MAX_ATOMS} are accepted")
    titles = re.findall(r"TITEL\s*=\s*(.+)", header) or re.findall(r"POTCAR:\s*(.+)", header)[: len(counts)]
    titles = [" ".join(title.split()) for title in titles]
    if len(titles) != len(counts):
        raise InputFileError(f"{place} names {len(titles)} potentials for {len(counts)} species; it is damaged")
    elements = [re.split(r"[^A-Za-z]", title.split()[1])[0] for title in titles]
    valence = [float(word) for word in _FIXED[2].findall(re.findall(r"ZVAL   =(.+)", header)[-1][:LONGEST_LINE])]
    symbols = [symbol for symbol, count in zip(elements, counts, strict=True) for _ in range(count)]
    electrons = float(np.dot(counts, valence)) if len(valence) == len(counts) else float("nan")
    return tuple(titles), tuple(symbols), electrons


def _lines_after(text: str, mark: str, count: int, skip: int = 0) -> list[str]:
    start = text.rindex(mark)
    lines = text[start : start + LONGEST_LINE * (count + skip + 2)].splitlines()[1 + skip : 1 + skip + count]
    if len(lines) < count or max(map(len, lines)) > LONGEST_LINE:
        raise ValueError(f"{len(lines)} of {count} lines after {mark.strip()!r}, or overlong ones")
    return lines


def _table(text: str, mark: str, decimals: int, count: int) -> FloatArray:
    return _numbers([_FIXED[decimals].findall(line) for line in _lines_after(text, mark, count)])


def _numbers(rows: Sequence[Sequence[str]]) -> FloatArray:
    return np.array(rows, dtype=np.float64)


def _k_points(header: str, points: int) -> tuple[FloatArray, FloatArray]:
    """Return k points and weights; those of the list of irreducible points have more digits."""
    lines = [line.split() for line in _lines_after(header, "k-points in reciprocal lattice and weights", points)]
    table = _numbers([line[:4] for line in lines])
    weights = table[:, 3]
    mark = "Following reciprocal coordinates:"
    if mark in header:
        listed = [line.split() for line in _lines_after(header, mark, points + 1, skip=1)]
        # One line more shows whether the list has as many points.
        if all(len(line) == 4 for line in listed[:points]) and not listed[points]:
            weights = _numbers(listed[:points])[:, 3]
    return table[:, :3], weights


def _levels(place: str, text: str, points: int, bands: int, spins: int) -> tuple[FloatArray, FloatArray]:
    """Return eigenvalues and occupations after the last Fermi energy, shape (spins, k, bands) each."""
    part = text[text.rindex("E-fermi :") :]
    blocks = part.split("band No.  band energies     occupation")[1 : 1 + spins * points]
    rows = []
    for block in blocks:
        lines = block.splitlines()[1 : 1 + bands]
        found = [_LEVEL.match(line) for line in lines]
        rows.append([(match[1], match[2], match[3]) for match in found if match])
    if len(blocks) != spins * points or any(len(block) != bands for block in rows):
        raise InputFileError(f"{place} does not list {bands} eigenvalues at {points} k points for {spins} spins")
    table = _numbers([row for block in rows for row in block]).reshape(spins, points, bands, 3)
    if (table[..., 0] != np.arange(1, bands + 1)).any():
        raise InputFileError(f"{place} does not count its bands from 1 to {bands}; it is damaged, copy it again")
    return table[..., 1], table[..., 2]


def _forces(text: str, atoms: int) -> FloatArray:
    # Forces have six decimals, the positions before them five.
    lines = _lines_after(text, "TOTAL-FORCE (eV/Angst)", atoms, skip=1)
    return _numbers([_FIXED[6].findall(line) for line in lines])


def _stress(text: str) -> FloatArray | None:
    found = re.findall(r"^[ ]*in kB[ ]+(.+)$", text, re.MULTILINE)
    if not found:
        return None
    xx, yy, zz, xy, yz, zx = (float(word) for word in _FIXED[5].findall(found[-1][:LONGEST_LINE]))
    return -GPA_PER_KILOBAR * np.array([[xx, xy, zx], [xy, yy, yz], [zx, yz, zz]])


def _claim(text: str, version: str) -> bool | None:
    """Return what VASP says of the last electronic loop, or None where it says nothing.

    VASP 5 says "because EDIFF is reached" of every loop, also of one that used up NELM (vaspup2.0 issue 1).
    """
    found = re.findall(r"aborting loop (because EDIFF is reached|EDIFF was not reached)", text)
    if not found:
        return None
    if found[-1].startswith("EDIFF"):
        return False
    major = re.match(r"\d{1,3}", version)
    return True if major and int(major[0]) >= 6 else None
