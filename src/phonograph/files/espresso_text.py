"""Standard output of pw.x: the second route to a calculation, rounded as it is printed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from phonograph.errors import DataError, InputFileError
from phonograph.files.espresso_output import (
    LARGEST_BYTES,
    NotStaticError,
    PwOutput,
    crystal_of,
    functional_named,
    smearing_name,
)
from phonograph.files.printed import Printed
from phonograph.files.safety import read_text, reason, shown
from phonograph.types import Bands, Crystal, FloatArray

_NUMBER = r"(-?\d+\.\d+(?:[ED][-+]?\d+)?)"
_THREE = rf"{_NUMBER}\s*{_NUMBER}\s*{_NUMBER}"
_BAND = re.compile(r"-?\d+\.\d{4}")
_SITE = rf"^\s+\d+\s+(\S+)\s+tau\(\s*\d+\) = \(\s*{_THREE}\s*\)"
_MOVES = (
    ("Band Structure Calculation", "a calculation of bands (nscf or bands)"),
    ("Geometry Optimization", "a relaxation (relax or vc-relax)"),
    ("Minimization using the FIRE", "a relaxation (relax or vc-relax)"),
    ("Dynamics Calculation", "molecular dynamics (md or vc-md)"),
    ("Entering Dynamics", "molecular dynamics (md or vc-md)"),
)
_ADDED = {
    "hybrid": r"^\s+EXX-fraction\s+=",
    "dftU": r"^\s+Hubbard energy\s+=|(?:LDA|DFT)\+U calculation|Hubbard parameters of DFT\+",
    "vdW": r"Dispersion (?:\S+ )?Correction\b|DFT-D3 Dispersion",
}
"""How the terms that are added to a functional show, by the name that the settings have for them."""

_ROUNDING = {"ecutwfc": 6e-5, "ecutrho": 6e-5, "degauss": 6e-5, "starting_magnetization": 6e-4}
_CONVERGED = "convergence has been achieved in"
_NOT_CONVERGED = "convergence NOT achieved"
_EXCHANGE_CONVERGED = "EXX self-consistency reached"


class _Text(Printed):
    EXPECTED = "one finished calculation without moves; run pw.x again, or copy the whole file"

    def one(self, pattern: str, what: str) -> Any:
        return super().one(pattern, f"the {what}")

    def number(self, name: str) -> float:
        return _float(self.one(rf"^\s*{re.escape(name)}\s*=\s*(\S+)", name), self.place)


def read_text_output(path: Path, *, whole: bool = True) -> PwOutput:
    """Read the standard output of one self-consistent calculation.

    Parameters
    ----------
    whole
        Refuse an output without forces, stress and eigenvalues, which pw.x prints where ``tprnfor``, ``tstress`` and
        (for 100 k points and more) ``verbosity = 'high'`` ask for them.

    Raises
    ------
    InputFileError
        In one sentence: cut off before ``JOB DONE``, ended by an error (which is repeated), several calculations in
        one file, or incomplete; :class:`NotStaticError` where atoms move or only bands are computed.
    """
    text = _Text(shown(path), read_text(path, LARGEST_BYTES))
    if "Program PWSCF" not in text.text:
        raise InputFileError(
            f"{text.place} is no output of pw.x (it does not say Program PWSCF); run pw.x again, or copy the whole file"
        )
    version = text.one(r"Program PWSCF v\.\s?(\S+)(?: \(.*\))? starts on", "program")
    if failed := text.all(r"Error in routine\s+(.*)\n\s*(.*)"):
        raise InputFileError(f"{text.place}: pw.x stopped in {' '.join(' '.join(failed[0]).split())}")
    for words, kind in _MOVES:
        if words in text.text:
            raise NotStaticError(f"{text.place} is of {kind}; expected one self-consistent calculation (scf)")
    if text.text.count("JOB DONE.") != 1:
        raise InputFileError(
            f"{text.place} does not end in JOB DONE: the calculation is unfinished, or the copy is cut"
        )
    symbols, cell, positions = _structure(text)
    settings = _settings(text)
    converged = _CONVERGED in text.text and _NOT_CONVERGED not in text.text
    converged &= "hybrid" not in settings or _EXCHANGE_CONVERGED in text.text
    count = len(symbols)
    known = PwOutput(
        place=text.place,
        version=version,
        converged=False,
        symbols=symbols,
        cell_bohr=cell,
        positions_bohr=positions,
        length_bohr=_rounding(cell),
        rounding=_ROUNDING,
        settings=settings,
        energy_Ry=float("nan"),
        forces_Ry_per_bohr=np.full((count, 3), np.nan),
        stress_Ry_per_bohr3=np.full((3, 3), np.nan),
        bands=Bands.at_gamma(np.zeros(1), 0.0),
        tells_bands=False,
        species=_species(text),
        md5=tuple(text.all(r"MD5 check sum: ([0-9a-f]{32})")),
        details=_details(text),
    )
    # pw.x prints JOB DONE without self-consistency too, and then no results.
    return _with_results(known, text, whole) if converged else known


def text_structure(path: Path) -> Crystal:
    """Return the structure that a calculation started from, also of an output that is cut behind it.

    Raises
    ------
    InputFileError
        Where the output does not get as far as its structure.
    """
    whole = read_text(path, LARGEST_BYTES)
    before = re.split(r"Self-consistent Calculation|Band Structure Calculation", whole, maxsplit=1)[0]
    return crystal_of(shown(path), *_structure(_Text(shown(path), before)))


def _with_results(known: PwOutput, text: _Text, whole: bool) -> PwOutput:
    bands_told = whole or "to print the bands" not in text.text
    electrons = _float(text.one(r"number of electrons\s+=\s+(\d+\.\d+)", "number of electrons"), text.place)
    return replace(
        known,
        converged=True,
        energy_Ry=_energy(text, "hybrid" in known.settings),
        forces_Ry_per_bohr=_forces(text, len(known.symbols), whole),
        stress_Ry_per_bohr3=_stress(text, whole),
        bands=_bands(text, known, electrons) if bands_told else Bands.at_gamma(np.zeros(1), electrons),
        tells_bands=bands_told,
        fermi_eV=_fermi(text),
    )


def _energy(text: _Text, hybrid: bool) -> float:
    pattern, what = r"^!+\s+total energy\s+=\s+(\S+) Ry", "total energy"
    # A hybrid functional is an outer loop, of which each round prints its energy.
    found = (text.all(pattern) or [text.one(pattern, what)])[-1] if hybrid else text.one(pattern, what)
    return _float(found, text.place)


def _forces(text: _Text, count: int, whole: bool) -> FloatArray:
    found = text.all(rf"^\s+atom\s+\d+ type\s+\d+\s+force =\s*{_THREE}\s*$")[:count]
    if not (found or whole or "Forces acting on atoms" in text.text):
        return np.full((count, 3), np.nan)
    return _floats(found, (count, 3), "forces", text.place)


def _stress(text: _Text, whole: bool) -> FloatArray:
    if not (whole or re.search(r"total\s+stress", text.text)):
        return np.full((3, 3), np.nan)
    found = text.one(rf"total\s+stress.*\n\s+{_THREE}.*\n\s+{_THREE}.*\n\s+{_THREE}", "stress")
    return _floats(found, (3, 3), "the stress", text.place)


def _float(text: str, place: str) -> float:
    return float(_floats([text], (1,), "a number", place)[0])


def _floats(rows: Sequence[Any], shape: tuple[int, ...], what: str, place: str) -> FloatArray:
    flat = [word for row in rows for word in ([row] if isinstance(row, str) else row)]
    try:
        values = np.array([float(word.replace("D", "E")) for word in flat])
    except ValueError as error:
        raise InputFileError(f"{place}: {what} cannot be read: {reason(error)}") from error
    if len(values) != np.prod(shape) or not np.isfinite(values).all():
        raise InputFileError(f"{place}: {what} must hold {np.prod(shape)} finite numbers; got {len(values)}")
    return values.reshape(shape)


def _rounding(cell_bohr: FloatArray) -> float:
    """Return how exactly lengths are printed: 6 decimals in units of the first lattice vector, and those of alat."""
    return 3e-6 * max(1.0, float(np.abs(cell_bohr).max()))


def _structure(text: _Text) -> tuple[tuple[str, ...], FloatArray, FloatArray]:
    # celldm(1) has two digits more than the line that is called alat.
    alat = _float(text.one(r"celldm\(1\)=\s*(\S+)", "length celldm(1)"), text.place)
    axes = text.all(rf"^\s+a\([123]\) = \(\s*{_THREE}\s*\)")
    # With verbosity high a second list in crystal coordinates follows.
    atoms = re.findall(_SITE, text.text.partition("Crystallographic axes")[0], re.MULTILINE)
    count = _float(text.one(r"number of atoms/cell\s+=\s+(\d+)", "number of atoms"), text.place)
    if len(atoms) != count:
        raise InputFileError(f"{text.place} lists {len(atoms)} of {count:g} atoms")
    cell = _floats(axes, (3, 3), "the lattice vectors", text.place) * alat
    positions = _floats([atom[1:] for atom in atoms], (len(atoms), 3), "the positions", text.place) * alat
    return tuple(atom[0] for atom in atoms), cell, positions


def _settings(text: _Text) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "ecutwfc": _float(text.one(r"kinetic-energy cutoff\s+=\s+(\S+)\s+Ry", "cutoff"), text.place),
        "ecutrho": _float(text.one(r"charge density cutoff\s+=\s+(\S+)\s+Ry", "cutoff of the density"), text.place),
        "nbnd": text.number("number of Kohn-Sham states"),
        "conv_thr": _float(text.one(r"convergence threshold\s+=\s+(\S+)", "convergence threshold"), text.place),
        "input_dft": _functional(text),
        "nspin": 2 if "Starting magnetic structure" in text.text else 1,
        "noncolin": re.search(r"Noncollinear calculation|calculation with spin-orbit", text.text) is not None,
        "pseudopotentials": tuple(
            place.rsplit("/", 1)[-1] for place in text.all(r"PseudoPot\. #.*read from file:?\s*\n?\s*(\S.*?)\s*$")
        ),
        "occupations": "tetrahedra" if "(tetrahedron method)" in text.text else "fixed",
        **{name: True for name, pattern in _ADDED.items() if text.all(pattern)},
    }
    if settings["nspin"] == 2:
        listed = text.text.partition("Starting magnetic structure")[2].partition("\n\n")[0]
        starts = re.findall(r"^\s+\S+\s+(-?\d+\.\d+)\s*$", listed, re.MULTILINE)
        settings["starting_magnetization"] = tuple(float(word) for word in starts)
    if smeared := text.all(r"number of k points=\s*\d+\s+(\S+) smearing, width \(Ry\)=\s*(\S+)"):
        name, width = smeared[0]
        settings |= {
            "occupations": "smearing",
            "smearing": smearing_name(name),
            "degauss": _float(width, text.place),
        }
    return settings


def _functional(text: _Text) -> str:
    # Printed again where the input enforces one.
    names = {name.lower() for name in text.all(r"Exchange-correlation\s*=\s*(\S.*?)\s*$")}
    if len(names) != 1:
        raise InputFileError(f"{text.place} names {len(names)} functionals; expected one")
    return str(names.pop())


def _species(text: _Text) -> tuple[str, ...]:
    table = re.search(r"atomic species +valence +mass +pseudopotential\n((?:.*\S.*\n)+)", text.text)
    return tuple(line.split()[0] for line in table[1].splitlines()) if table else ()


def _details(text: _Text) -> dict[str, str | float]:
    """Return the functional and the share of exact exchange."""
    codes = text.all(r"Exchange-correlation\s*=[^(]*\(([ \d]+)\)")
    numbers = [int(word) for word in codes[-1].split()] if codes else []
    details: dict[str, str | float] = {**functional_named(_functional(text), numbers)}
    if shares := text.all(r"^\s+EXX-fraction\s+=\s+(\S+)\s*$"):
        details["share of exact exchange"] = _float(shares[-1], text.place)
    return details


def _bands(text: _Text, known: PwOutput, electrons: float) -> Bands:
    spins = 2 if "SPIN UP" in text.text else 1
    found = _k_points(text, known.cell_bohr)
    rows = [_BAND.findall(block) for block in text.all(r"^ *k =.*bands \(ev\):\s*\n\s*\n((?:[ \t]*-?\d.*\n)+)")]
    if "hybrid" in known.settings:
        rows = rows[-spins * len(found) :]
    width = int(text.number("number of Kohn-Sham states"))
    energies = _floats(rows, (spins, len(found), width), "the bands", text.place)
    moments = text.all(r"total magnetization\s+=\s+(\S+) Bohr mag/cell")
    try:
        return Bands(
            k_points=found[:, :3],
            k_weights=found[:, 3],
            eigenvalues_eV=energies,
            electrons=electrons,
            magnetisation=_float(moments[-1], text.place) if spins == 2 and moments else 0.0,
        )
    except DataError as error:
        raise InputFileError(f"{text.place}: {error}") from error


def _k_points(text: _Text, cell_bohr: FloatArray) -> FloatArray:
    """Return fractional coordinates and weights, shape (k, 4); they may be printed Cartesian."""
    in_crystal = "cryst. coord." in text.text
    listed = text.text.rpartition("cryst. coord." if in_crystal else "cart. coord.")[2].partition("Dense  grid")[0]
    points = re.findall(rf"k\(\s*\d+\) = \(\s*{_THREE}\s*\), wk =\s*{_NUMBER}", listed)
    count = int(_float(text.one(r"number of k points=\s*(\d+)", "number of k points"), text.place))
    found = _floats(points, (count, 4), "the k points", text.place)
    if not in_crystal:
        # In units of 2π/alat, of which celldm(1) is the length.
        alat = _float(text.one(r"celldm\(1\)=\s*(\S+)", "length celldm(1)"), text.place)
        found = np.column_stack([found[:, :3] @ cell_bohr.T / alat, found[:, 3]])
    return found


def _fermi(text: _Text) -> float:
    levels = text.all(r"the Fermi energy is\s+(\S+) ev")
    return _float(levels[0], text.place) if len(levels) == 1 else float("nan")
