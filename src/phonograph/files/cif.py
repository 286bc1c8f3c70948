"""CIF: read by ASE, after and before checks for what ASE passes over in silence."""

from __future__ import annotations

import math
import re
import warnings
from io import StringIO
from typing import Any

import numpy as np

from phonograph.errors import InputFileError
from phonograph.files.safety import check_elements, reading
from phonograph.types import MAX_ATOMS, FloatArray

MAX_IMAGES = 50_000
"""Sites × symmetry operations expanded for one CIF."""

SAME_SITE = 2e-3
"""Two sites closer than this in units of the lattice vectors are one site (ASE merges at 1e-3)."""

_ELEMENT = re.compile(r"([A-Z][a-z]?)([0-9.]*)")
_OPERATION_TAGS = (
    "_space_group_symop_operation_xyz",
    "_space_group_symop.operation_xyz",
    "_symmetry_equiv_pos_as_xyz",
)
_GROUP_TAGS = (
    "_space_group_it_number",
    "_space_group.it_number",
    "_symmetry_int_tables_number",
    "_space_group_name_h-m_alt",
    "_symmetry_space_group_name_h-m",
)
# What ASE warns of and what is harmless: the symmetry operations decide, and duplicates are compared below.
_HARMLESS = ("crystal system", "Badly formed number", "CIF v2.0", "are equivalent")


def cif_atoms(text: str, name: str) -> Any:
    """Return the ASE ``Atoms`` of the one structure of a CIF, expanded by its symmetry operations.

    Parameters
    ----------
    text
        Content of the file.
    name
        Its name, for messages.

    Raises
    ------
    InputFileError
        Truncated, no or several structures, partial occupancy, two elements on one site, too many atoms, a
        composition that differs from ``_chemical_formula_sum``, or whatever else ASE cannot read.
    """
    if not re.search(r"^\s*data_", text, re.IGNORECASE | re.MULTILINE):
        raise InputFileError(f"{name} is not a CIF: it has no line that starts with 'data_'; check the file")
    with reading(name, "a CIF"), warnings.catch_warnings(record=True) as caught:
        # ASE tells what it skipped by warnings only; they are judged here and do not reach the user.
        warnings.simplefilter("always")
        from ase.io.cif import parse_cif

        blocks = [block for block in parse_cif(StringIO(text)) if block.has_structure()]
        _check_blocks(blocks, name)
        block = blocks[0]
        check_elements(block.get_symbols(), name)
        _check_cell(block, name)
        _check_coordinates(block, name)
        _check_occupancies(block, name)
        _check_size(block, name)
        sites = block.get_unsymmetrized_structure()
        atoms = sites if _is_p1(block) else block.get_atoms(fractional_occupancies=False)
    for warning in caught:
        if not any(words in str(warning.message) for words in _HARMLESS):
            raise InputFileError(f"{name} is not a sound CIF: {' '.join(str(warning.message).split())[:160]}")
    atoms.pbc = True
    _check_sites(sites, atoms, name)
    _check_formula(block.get("_chemical_formula_sum"), atoms, name)
    return atoms


def _check_blocks(blocks: list[Any], name: str) -> None:
    if len(blocks) != 1:
        found = "no structure" if not blocks else f"{len(blocks)} structures"
        raise InputFileError(f"{name} holds {found}; expected one: sites with symbols and coordinates; split the file")


def _check_cell(block: Any, name: str) -> None:
    parameters = block.get_cellpar()
    if parameters is None:
        raise InputFileError(f"{name} gives no lattice (_cell_length_a … _cell_angle_gamma); crystals need one")
    if not all(isinstance(value, (int, float)) and value > 0 for value in parameters):
        raise InputFileError(f"{name} must give six positive lattice parameters; got {parameters}")


def _check_coordinates(block: Any, name: str) -> None:
    for kind in ("fract", "cartn"):
        for axis in "xyz":
            values = block.get(f"_atom_site_{kind}_{axis}", [])
            for number, value in enumerate(values if isinstance(values, list) else [values], start=1):
                if not isinstance(value, (int, float)) or not math.isfinite(value):
                    raise InputFileError(f"{name}: coordinate {axis} of site {number} must be a number; got {value!r}")


def _check_occupancies(block: Any, name: str) -> None:
    values = block.get("_atom_site_occupancy") or []
    for number, value in enumerate(values if isinstance(values, list) else [values], start=1):
        partial = value < 0.999 if isinstance(value, (int, float)) else value not in (".", "?")
        if partial:
            raise InputFileError(
                f"{name} is disordered: site {number} has occupancy {value}; choose one ordered arrangement "
                "(for a solid solution: the parent crystal, and the sampler's substitution)"
            )


def _operations(block: Any) -> list[str]:
    for tag in _OPERATION_TAGS:
        value = block.get(tag)
        if value:
            return [value] if isinstance(value, str) else [str(one) for one in value]
    return []


def _is_p1(block: Any) -> bool:
    """Whether the file lists every atom itself; ASE's expansion would take a time that grows as their square."""
    operations = _operations(block)
    if operations:
        return len(operations) == 1 and operations[0].replace(" ", "").lower() == "x,y,z"
    named = [str(block.get(tag)).replace(" ", "") for tag in _GROUP_TAGS if block.get(tag) is not None]
    return all(value in ("1", "P1") for value in named)


def _check_size(block: Any, name: str) -> None:
    sites = len(block.get_symbols())
    # 192 is the order of the largest space group, taken where the file names the group only.
    images = sites if _is_p1(block) else sites * (len(_operations(block)) or 192)
    limit = MAX_ATOMS if _is_p1(block) else MAX_IMAGES
    if images > limit:
        raise InputFileError(
            f"{name} expands to up to {images} atoms ({sites} sites); at most {limit} are accepted; "
            "write it as a POSCAR or in P1"
        )


def _check_sites(sites: Any, atoms: Any, name: str) -> None:
    """Refuse two elements on one site; where symmetry copies coincide ASE keeps the first and drops the other."""
    cell = np.asarray(atoms.cell)
    if len(sites) == len(atoms) or not abs(np.linalg.det(cell)) > 1e-3:
        return  # nothing was merged; or the cell is singular, which the caller says in better words
    full = _fractional(cell, atoms.positions)
    for position, symbol in zip(_fractional(cell, sites.positions), sites.symbols, strict=True):
        delta = full - position
        near = np.flatnonzero((np.abs(delta - np.round(delta)) < SAME_SITE).all(axis=1))
        if symbol not in {atoms.symbols[i] for i in near}:
            raise InputFileError(
                f"{name} puts {symbol} and another element on the site "
                f"({', '.join(f'{x:.4f}' for x in position % 1.0)}); choose one ordered arrangement"
            )


def _fractional(cell: FloatArray, positions: FloatArray) -> FloatArray:
    return np.asarray(np.linalg.solve(cell.T, positions.T).T, dtype=np.float64)


def _check_formula(formula: object, atoms: Any, name: str) -> None:
    """Compare with ``_chemical_formula_sum``: the only way to notice a CIF that lost its last sites."""
    words = str(formula).split() if isinstance(formula, str) else []
    parts = [_ELEMENT.fullmatch(word) for word in words]
    if not parts or None in parts:
        return
    announced: dict[str, float] = {}
    for part in parts:
        assert part is not None
        symbol = "H" if part[1] == "D" else part[1]
        announced[symbol] = announced.get(symbol, 0.0) + float(part[2] or 1)
    symbols = list(atoms.symbols)
    found = {symbol: float(symbols.count(symbol)) for symbol in dict.fromkeys(symbols)}
    # The cell holds a whole number of formula units.
    units = max(round(sum(found.values()) / (sum(announced.values()) or 1.0)), 1)
    if announced.keys() != found.keys() or any(abs(found[s] - units * announced[s]) > 0.01 * found[s] for s in found):
        raise InputFileError(
            f"{name} holds {atoms.symbols} but announces {formula!r}; it is incomplete (or its formula wrong): "
            "correct the sites, or remove _chemical_formula_sum"
        )
