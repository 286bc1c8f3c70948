"""Computed structure entries, as Alexandria and the Materials Project give them: a structure, its energy, its data.

The files name Python classes.  Nothing here builds one: the values are plain, and the structure is read from its
numbers.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from phonograph.errors import ConfigurationError, InputFileError
from phonograph.files.importers_samples import Choices, Sample, Source
from phonograph.files.safety import check_elements, listed, shown
from phonograph.files.structures import checked_crystal
from phonograph.types import MAX_ATOMS, Crystal, FloatArray

CORRECTIONS = ("uncorrected", "corrected")
UNITS: Mapping[str, str] = {
    "band_gap": "eV",
    "band_gap_ind": "eV",
    "band_gap_dir": "eV",
    "e_above_hull": "eV/atom",
    "e_form": "eV/atom",
    "energy_above_hull": "eV/atom",
    "formation_energy_per_atom": "eV/atom",
    "total_mag": "μB",
    "total_magnetization": "μB",
}
"""Units of those fields of ``data`` whose meaning Alexandria and the Materials Project document."""

_RESERVED = frozenset({"energy", "free_energy", "REF_energy", "stress", "REF_stress", "virials", "REF_virials"})
_PARENTS = ("material_id", "mat_id", "parent_id")
_FUNCTIONALS = ("run_type", "functional", "xc")
_WHOLE = 1e-6
_LARGEST_MISFIT_A = 0.01


def entries_source(items: Iterable[Any], path: str | os.PathLike[str], choices: Choices) -> Source:
    """Return the structures of computed entries, their energies and the numbers among their data.

    Entries with partially occupied sites are left out and named.  The magnetic moments of the sites are not kept:
    entries that differ in nothing else are copies of one structure and share a group, as do entries of one material.

    Raises
    ------
    InputFileError
        In one sentence that names the entry: no structure, no energy, malformed or impossible numbers.
    """
    if choices.correction not in CORRECTIONS:
        raise ConfigurationError(f"correction must be one of {', '.join(CORRECTIONS)}; got {choices.correction!r}")
    place = shown(path)
    samples: list[Sample] = []
    disordered: list[str] = []
    other_fields: dict[str, None] = {}
    corrections, moments = [], 0
    for number, item in enumerate(items):
        entry = _mapping(item, f"{place} entry {number}")
        name = _name(entry, number)
        here = f"{place} entry {name[:60]!r}"
        structure = _mapping(entry.get("structure"), f"{here}: structure")
        sites = _sites(structure, here)
        if any(_is_disordered(site, here) for site in sites):
            disordered.append(name)
            continue
        correction = _number(entry.get("correction"), f"{here}: correction")
        energy = _energy(entry, correction, choices, here)
        corrections.append(0.0 if math.isnan(correction) else correction)
        moments += any(_has_moment(site) for site in sites)
        data = _mapping(entry.get("data") or {}, f"{here}: data")
        other_fields |= dict.fromkeys(key for key in data if key in _RESERVED or not _is_number(data[key]))
        fields = {key: value for key, value in data.items() if _is_number(value) and key not in _RESERVED}
        samples.append(
            Sample(
                names=(name,),
                crystal=_crystal(structure, sites, here, name),
                info={**fields, "energy": energy},
                kin=tuple(str(data[key])[:200] for key in _PARENTS if isinstance(data.get(key), str)),
                engine=_functional(entry, data),
            )
        )
    if not samples:
        raise InputFileError(
            f"{place} holds no entry with a fully occupied structure ({len(disordered)} with partial occupancy); "
            "expected computed structure entries"
        )
    notes = _notes(place, samples, disordered, corrections, moments, choices)
    if other_fields:
        notes.append(f"data {listed(other_fields)} of {place} are not numbers, or would be taken for others: not read")
    return Source(samples=samples, notes=notes, units=UNITS, strict=False)


def _notes(
    place: str,
    samples: list[Sample],
    disordered: list[str],
    corrections: list[float],
    moments: int,
    choices: Choices,
) -> list[str]:
    notes = []
    if disordered:
        notes.append(f"{len(disordered)} entries of {place} with partial occupancy were left out: {listed(disordered)}")
    if corrected := sum(value != 0.0 for value in corrections):
        verb = "were added to" if choices.correction == "corrected" else "were not added to"
        notes.append(f"corrections {verb} the energies of {corrected} of {len(samples)} entries of {place}")
    if moments:
        notes.append(f"magnetic moments of the sites of {moments} entries of {place} were not kept")
    kinds = Counter(sample.engine or "not told" for sample in samples)
    if len(kinds) > 1:
        shares = ", ".join(f"{kind} ({count})" for kind, count in kinds.most_common(12))
        notes.append(f"labels of {place} come from several functionals: {shares}; their energies cannot be compared")
    return notes


def _mapping(value: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InputFileError(f"{place} must hold named values; got {str(value)[:40]!r}")
    return value


def _name(entry: Mapping[str, Any], number: int) -> str:
    known = entry.get("entry_id")
    return str(known) if isinstance(known, (str, int)) and not isinstance(known, bool) else str(number)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _number(value: Any, place: str) -> float:
    """Return a number, NaN for none."""
    if value is None:
        return math.nan
    if not _is_number(value):
        raise InputFileError(f"{place} must be a number; got {str(value)[:40]!r}")
    try:
        return float(value)
    except OverflowError as error:
        raise InputFileError(f"{place} is too large for a number") from error


def _energy(entry: Mapping[str, Any], correction: float, choices: Choices, place: str) -> float:
    energy = _number(entry.get("energy"), f"{place}: energy")
    if choices.correction == "corrected" and not math.isnan(energy):
        if math.isnan(correction):
            raise InputFileError(f"{place} gives no correction; read the energies with correction = 'uncorrected'")
        return energy + correction
    return energy


def _functional(entry: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    parameters = entry.get("parameters")
    for fields in (parameters if isinstance(parameters, dict) else {}, data):
        for key in _FUNCTIONALS:
            if isinstance(fields.get(key), str) and fields[key].strip():
                return " ".join(fields[key].split())[:60]
    return ""


def _sites(structure: Mapping[str, Any], place: str) -> list[Mapping[str, Any]]:
    sites = structure.get("sites")
    if not isinstance(sites, list) or not 1 <= len(sites) <= MAX_ATOMS:
        count = len(sites) if isinstance(sites, list) else "no"
        raise InputFileError(f"{place} holds {count} sites; 1 to {MAX_ATOMS} are accepted")
    return [_mapping(site, f"{place}: a site") for site in sites]


def _species(site: Mapping[str, Any], place: str) -> list[Mapping[str, Any]]:
    species = site.get("species")
    if not isinstance(species, list) or not species:
        raise InputFileError(f"{place}: a site names no species")
    return [_mapping(one, f"{place}: a species") for one in species]


def _is_disordered(site: Mapping[str, Any], place: str) -> bool:
    species = _species(site, place)
    occupancy = _number(species[0].get("occu", 1.0), f"{place}: the occupancy of a site")
    return len(species) != 1 or not abs(occupancy - 1.0) < _WHOLE


def _has_moment(site: Mapping[str, Any]) -> bool:
    properties = site.get("properties")
    moment = properties.get("magmom") if isinstance(properties, dict) else None
    return _is_number(moment) and abs(float(moment)) > 1e-3 if moment is not None else False


def _crystal(structure: Mapping[str, Any], sites: list[Mapping[str, Any]], place: str, title: str) -> Crystal:
    from ase.data import atomic_numbers

    lattice = _mapping(structure.get("lattice"), f"{place}: lattice")
    if lattice.get("pbc", [True] * 3) not in ([True] * 3, None):
        raise InputFileError(f"{place} is not periodic in all directions")
    cell = _array(lattice.get("matrix"), (3, 3), f"{place}: the lattice")
    fractional = np.stack([_array(site.get("abc"), (3,), f"{place}: the position of a site") for site in sites])
    symbols = [str(_species(site, place)[0].get("element")) for site in sites]
    check_elements(symbols, place)
    numbers = np.array([atomic_numbers[symbol] for symbol in symbols])
    crystal = checked_crystal(cell, fractional @ cell, numbers, None, place, title)
    _check_cartesian(sites, crystal, place)
    return crystal


def _check_cartesian(sites: list[Mapping[str, Any]], crystal: Crystal, place: str) -> None:
    """Positions are given twice; a file in which the two differ was edited."""
    for site, position in zip(sites, crystal.positions_A, strict=True):
        if "xyz" in site:
            stated = _array(site["xyz"], (3,), f"{place}: the position of a site")
            if not np.abs(stated - position).max() < _LARGEST_MISFIT_A:
                raise InputFileError(f"{place}: abc and xyz of a site are different places; write the file again")


def _array(value: Any, shape: tuple[int, ...], place: str) -> FloatArray:
    rows = value if len(shape) == 1 else [x for row in value for x in row] if _is_table(value, shape) else None
    if not isinstance(rows, list) or len(rows) != math.prod(shape) or not all(_is_number(x) for x in rows):
        raise InputFileError(f"{place} must hold {'×'.join(map(str, shape))} numbers; got {str(value)[:40]!r}")
    return np.array([_number(x, place) for x in rows], dtype=np.float64).reshape(shape)


def _is_table(value: Any, shape: tuple[int, ...]) -> bool:
    return isinstance(value, list) and all(isinstance(row, list) and len(row) == shape[1] for row in value)
