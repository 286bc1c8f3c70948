"""Labels inside extended XYZ: which entries of the comment lines are labels, and in which unit."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from phonograph import units as constants
from phonograph.errors import InputFileError
from phonograph.files.label_table import NOT_LABELS, LabelColumnText, named_with_unit, units_missing
from phonograph.files.safety import listed

_ENERGIES = ("energy", "REF_energy")
_STRESSES = ("stress", "REF_stress")
_CONVERTED = dict.fromkeys(_ENERGIES, "energy_eV_per_atom") | dict.fromkeys(_STRESSES, "hydrostatic_stress_GPa")
_DESCRIPTIONS = NOT_LABELS | {
    "group",
    "id",
    "name",
    "temperature_K",
    "amplitude_A",
    "fraction",
    "statistics",
    "comment",
}


def info_labels(
    infos: Sequence[Mapping[str, Any]],
    results: Sequence[Mapping[str, Any]],
    atoms: Sequence[int],
    units: Mapping[str, str],
    wanted: Collection[str] | None,
    place: str,
) -> tuple[list[LabelColumnText], list[str]]:
    """Return the labels of extended XYZ frames, and sentences on what was converted or left out.

    A number with a decimal point whose unit nothing gives is an error; whole numbers (steps, counters) and text
    without a unit are left out and named.

    Parameters
    ----------
    infos
        Entries of each frame's comment line.
    results
        Those entries that ASE takes for results of a calculation (``energy``, ``stress``, …).
    atoms
        Number of atoms of each frame.
    units
        Property → unit, for names without unit suffix.
    wanted
        Names to read, None for all.
    place
        The file, for messages.
    """
    merged = [{**result, **info} for info, result in zip(infos, results, strict=True)]
    columns: list[LabelColumnText] = []
    notes: list[str] = []
    left_out: list[str] = []
    reserved = {key for result in results for key in result}
    for key in dict.fromkeys(key for frame in merged for key in frame):
        if key in _DESCRIPTIONS or (wanted is not None and not {key, _CONVERTED.get(key)} & set(wanted)):
            continue
        column = _converted(key, merged, atoms, notes, place) or _plain(key, merged, units, reserved, place)
        if column is None:
            left_out.append(key)
        else:
            columns.append(column)
    _check(columns, units, wanted, merged, place)
    if left_out:
        notes.append(f"entries {listed(left_out)} of {place} carry no unit and were not read as labels")
    return columns, notes


def _converted(
    key: str, frames: Sequence[Mapping[str, Any]], atoms: Sequence[int], notes: list[str], place: str
) -> LabelColumnText | None:
    """Return the column of a total energy or a stress tensor, whose units the format fixes."""
    if key in _ENERGIES:
        totals = [_scalar(frame.get(key), key, number, place) for number, frame in enumerate(frames)]
        notes.append(f"{key} of {place} (total, eV) was divided by the number of atoms: energy_eV_per_atom")
        values = tuple(total / count for total, count in zip(totals, atoms, strict=True))
        return LabelColumnText(name=_CONVERTED[key], unit="eV/atom", values=values)
    if key in _STRESSES:
        notes.append(
            f"{key} of {place} (eV/Å³, positive = tensile) gave hydrostatic_stress_GPa = tr σ/3; check the sign if "
            "VASP wrote it"
        )
        values = tuple(_hydrostatic(frame.get(key), key, number, place) for number, frame in enumerate(frames))
        return LabelColumnText(name=_CONVERTED[key], unit="GPa", values=values)
    return None


def _plain(
    key: str, frames: Sequence[Mapping[str, Any]], units: Mapping[str, str], reserved: Collection[str], place: str
) -> LabelColumnText | None:
    """Return the column of an entry with a unit, None for one that is no label."""
    known = named_with_unit(key, units, place)
    if known is None:
        if key not in reserved and any(_is_fraction(frame.get(key)) for frame in frames):
            raise units_missing(key, place)
        return None
    values = tuple(_scalar(frame.get(key), key, number, place) for number, frame in enumerate(frames))
    return LabelColumnText(name=known[0], unit=known[1], values=values)


def _is_fraction(value: Any) -> bool:
    return isinstance(value, (float, np.floating))


def _scalar(value: Any, key: str, frame: int, place: str) -> float:
    if value is None or (isinstance(value, str) and value.strip().lower() in ("", "nan")):
        return math.nan
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.number)) or np.isinf(value):
        raise InputFileError(f"{place} frame {frame}: {key} must be one finite number; got {str(value)[:40]!r}")
    return float(value)


def _hydrostatic(value: Any, key: str, frame: int, place: str) -> float:
    if value is None:
        return math.nan
    tensor = np.asarray(value)
    if tensor.dtype.kind not in "fi" or tensor.size not in (6, 9) or not np.isfinite(tensor).all():
        raise InputFileError(f"{place} frame {frame}: {key} must hold 6 or 9 finite numbers; got {str(value)[:40]!r}")
    flat = tensor.ravel()
    trace = flat[:3].sum() if flat.size == 6 else flat[[0, 4, 8]].sum()
    return float(trace) / 3.0 * constants.EV_PER_A3_IN_GPA


def _check(
    columns: Sequence[LabelColumnText],
    units: Mapping[str, str],
    wanted: Collection[str] | None,
    frames: Sequence[Mapping[str, Any]],
    place: str,
) -> None:
    names = [column.name for column in columns]
    if doubled := [name for name in names if names.count(name) > 1]:
        raise InputFileError(
            f"{place} gives {doubled[0]} twice (as energy and REF_energy, say); name the entry to read as property"
        )
    keys = {key for frame in frames for key in frame}
    keys |= {_CONVERTED[key] for key in keys & _CONVERTED.keys()}
    if unknown := [name for name in (*units, *(wanted or ())) if name not in keys]:
        raise InputFileError(f"{place} has no entry {unknown[0][:60]!r}; its entries are {listed(sorted(keys))}")
