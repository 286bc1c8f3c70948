"""phonopy's YAML files: read into plain values here, interpreted by phonopy, and converted to Å and eV."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phonograph import units
from phonograph.errors import InputFileError
from phonograph.files.safety import check_elements, reading, safe_yaml, shown
from phonograph.files.structures import checked_crystal
from phonograph.types import MAX_ATOMS, Crystal, FloatArray

_RYDBERG_EV = 0.5 * units.HARTREE_EV
_LENGTH_A = {"angstrom": 1.0, "au": units.BOHR_A}
_FORCE_EV_PER_A = {
    "eV/angstrom": 1.0,
    "Ry/au": _RYDBERG_EV / units.BOHR_A,
    "mRy/au": 1e-3 * _RYDBERG_EV / units.BOHR_A,
    "hartree/au": units.HARTREE_EV / units.BOHR_A,
}
_FORCE_CONSTANT_EV_PER_A2 = {
    "eV/angstrom^2": 1.0,
    "eV/angstrom.au": 1.0 / units.BOHR_A,
    "Ry/au^2": _RYDBERG_EV / units.BOHR_A**2,
    "mRy/au^2": 1e-3 * _RYDBERG_EV / units.BOHR_A**2,
    "hartree/au^2": units.HARTREE_EV / units.BOHR_A**2,
    "hartree/angstrom.au": units.HARTREE_EV / units.BOHR_A,
}


@dataclass(frozen=True, kw_only=True)
class CalculatorUnits:
    """What one length, force and force constant of a calculator's files are in Å, eV/Å and eV/Å²."""

    calculator: str
    length_A: float
    force_eV_per_A: float
    force_constant_eV_per_A2: float


@dataclass(frozen=True, kw_only=True, eq=False)
class PhonopyFile:
    """Content of a phonopy YAML file in Å, eV/Å and eV/Å².

    Attributes
    ----------
    path
        The file.
    crystal
        The unit cell.
    cell
        The same as phonopy's ``PhonopyAtoms``, with magnetic moments where there are any.
    supercell_matrix
        phonopy's convention (columns), shape (3, 3), or None.
    primitive_matrix
        phonopy's convention (columns), shape (3, 3), or None.
    supercell
        The supercell written in the file as ``PhonopyAtoms``, or None.
    dataset
        Displacements, and forces where there are any, in phonopy's layout, or None.
    force_constants_eV_per_A2
        Shape (m, n, 3, 3), full or compact, or None.
    units
        Units of the calculator's other files.
    nac
        Whether Born charges are present.
    """

    path: Path
    crystal: Crystal
    cell: Any
    supercell_matrix: NDArray[Any] | None
    primitive_matrix: FloatArray | None
    supercell: Any
    dataset: dict[str, Any] | None
    force_constants_eV_per_A2: FloatArray | None
    units: CalculatorUnits
    nac: bool


def calculator_units(calculator: str | None, place: str) -> CalculatorUnits:
    """Return the units of a calculator's files, by phonopy's name for it (None and ``"vasp"``: Å, eV).

    Raises
    ------
    InputFileError
        Where phonopy does not know the calculator.
    """
    from phonopy.physical_units import get_calculator_physical_units

    try:
        names = get_calculator_physical_units(calculator)
    except ValueError as error:
        raise InputFileError(
            f"{place}: unknown calculator {str(calculator)[:40]!r}, so the units are unknown; use phonopy's name "
            "for it, such as vasp, qe, cp2k, aims"
        ) from error
    return CalculatorUnits(
        calculator=calculator or "vasp",
        length_A=_factor(_LENGTH_A, names.length_unit, "length", place),
        force_eV_per_A=_factor(_FORCE_EV_PER_A, names.force_unit, "force", place),
        force_constant_eV_per_A2=force_constant_factor(names.force_constants_unit, place),
    )


def force_constant_factor(unit: str, place: str) -> float:
    """Return what one ``unit`` of force constants is in eV/Å².

    Raises
    ------
    InputFileError
        For a unit that phonopy does not write.
    """
    return _factor(_FORCE_CONSTANT_EV_PER_A2, unit, "force constants", place)


def _factor(table: dict[str, float], unit: object, what: str, place: str) -> float:
    # phonopy wrote "Angstrom" until version 2.
    name = str(unit).replace("Angstrom", "angstrom")
    if name not in table:
        raise InputFileError(f"{place}: unknown unit {str(unit)[:40]!r} of {what}; expected one of {', '.join(table)}")
    return table[name]


def read_phonopy_yaml(path: str | os.PathLike[str]) -> PhonopyFile:
    """Read phonopy.yaml, phonopy_disp.yaml, phonopy_params.yaml or the like (also ``.xz``, ``.gz``).

    Raises
    ------
    InputFileError
        Hostile or malformed YAML, no unit cell, unknown or contradictory units, disordered sites, or whatever
        else phonopy cannot interpret.
    """
    place = shown(path)
    content = safe_yaml(path)
    factors = _units(content, place)
    with reading(path, "a phonopy YAML file"):
        from phonopy.interface.phonopy_yaml import load_phonopy_yaml

        data = load_phonopy_yaml(content)
    if data.unitcell is None:
        raise InputFileError(f"{place} holds no unit cell; expected phonopy.yaml or phonopy_params.yaml")
    force_constants = data.force_constants
    return PhonopyFile(
        path=Path(path),
        crystal=_crystal(data.unitcell, factors.length_A, path),
        cell=_scaled(data.unitcell, factors.length_A, place),
        supercell_matrix=_matrix(data.supercell_matrix, place),
        primitive_matrix=_matrix(data.primitive_matrix, place),
        supercell=None if data.supercell is None else _scaled(data.supercell, factors.length_A, place),
        dataset=None if data.dataset is None else scaled_dataset(dict(data.dataset), factors, place),
        force_constants_eV_per_A2=None
        if force_constants is None
        else np.asarray(force_constants * factors.force_constant_eV_per_A2, dtype=np.float64),
        units=factors,
        nac=data.nac_params is not None,
    )


def _units(content: dict[str, Any], place: str) -> CalculatorUnits:
    """Return the units, and take them out of ``content`` so that phonopy does not judge spellings of old versions."""
    header = content.get("phonopy")
    calculator = header.get("calculator") if isinstance(header, dict) else None
    if calculator is not None and not isinstance(calculator, str):
        raise InputFileError(f"{place}: the calculator must be a name; got {type(calculator).__name__}")
    factors = calculator_units(calculator, place)
    stated = content.pop("physical_unit", {})
    tables = {
        "length": (_LENGTH_A, factors.length_A),
        "force": (_FORCE_EV_PER_A, factors.force_eV_per_A),
        "force_constants": (_FORCE_CONSTANT_EV_PER_A2, factors.force_constant_eV_per_A2),
    }
    for key, (table, expected) in tables.items():
        unit = stated.get(key) if isinstance(stated, dict) else None
        if unit is not None and _factor(table, unit, key.replace("_", " "), place) != expected:
            raise InputFileError(
                f"{place} states {key} in {unit!r}, which is not the unit of its calculator {factors.calculator!r}; "
                "correct one of the two"
            )
    return factors


def _scaled(cell: Any, length_A: float, place: str) -> Any:
    from phonopy.structure.atoms import PhonopyAtoms

    if cell.is_site_mixture:
        raise InputFileError(f"{place} holds sites shared by several elements; choose one ordered arrangement")
    if cell.cell.shape != (3, 3) or cell.scaled_positions.shape != (len(cell), 3):
        raise InputFileError(
            f"{place} must give three lattice vectors, and three coordinates per atom, of three numbers"
        )
    return PhonopyAtoms(
        symbols=cell.symbols,
        cell=cell.cell * length_A,
        scaled_positions=cell.scaled_positions,
        masses=cell.masses,
        magnetic_moments=cell.magnetic_moments,
    )


def _crystal(cell: Any, length_A: float, path: str | os.PathLike[str]) -> Crystal:
    place = shown(path)
    if len(cell) > MAX_ATOMS:
        raise InputFileError(f"{place} holds {len(cell)} atoms; at most {MAX_ATOMS} are accepted")
    return crystal_of(_scaled(cell, length_A, place), place, Path(path).name)


def crystal_of(cell: Any, place: str, title: str) -> Crystal:
    """Return a phonopy cell (Å) as a checked :class:`Crystal`, with its masses; ``Fe1`` counts as Fe."""
    from phonopy.structure.atoms import split_symbol_and_index

    with reading(place, "a phonopy cell"):
        symbols = [split_symbol_and_index(symbol)[0] for symbol in cell.symbols]
    check_elements(symbols, place)
    from ase.data import atomic_numbers

    numbers = [atomic_numbers[symbol] for symbol in symbols]
    return checked_crystal(cell.cell, cell.positions, numbers, cell.masses, place, title)


def phonopy_cell(crystal: Crystal) -> Any:
    """Return a :class:`Crystal` as phonopy's ``PhonopyAtoms``, with its masses."""
    from phonopy.structure.atoms import PhonopyAtoms

    return PhonopyAtoms(
        numbers=crystal.numbers, cell=crystal.cell_A, positions=crystal.positions_A, masses=crystal.masses_amu
    )


def _matrix(value: Any, place: str) -> Any:
    if value is None:
        return None
    matrix = np.asarray(value)
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all():
        raise InputFileError(f"{place}: a cell matrix must hold 3 × 3 finite numbers; got shape {matrix.shape}")
    return matrix


def scaled_dataset(dataset: dict[str, Any], factors: CalculatorUnits, place: str) -> dict[str, Any]:
    """Return a displacement dataset in phonopy's layout with displacements in Å and forces in eV/Å.

    Type 1 (``first_atoms``) displaces one atom per supercell, type 2 (``displacements``) displaces all.
    """
    with reading(place, "a set of displacements and forces"):
        if "first_atoms" in dataset:
            first = [dict(one) for one in dataset["first_atoms"]]
            for one in first:
                one["displacement"] = np.asarray(one["displacement"], dtype=np.float64) * factors.length_A
                if "forces" in one:
                    one["forces"] = np.asarray(one["forces"], dtype=np.float64) * factors.force_eV_per_A
            return {"natom": int(dataset["natom"]), "first_atoms": first}
        scaled = {"displacements": np.asarray(dataset["displacements"], dtype=np.float64) * factors.length_A}
        if "forces" in dataset:
            scaled["forces"] = np.asarray(dataset["forces"], dtype=np.float64) * factors.force_eV_per_A
        return scaled
