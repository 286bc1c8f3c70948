"""Labels inside files of structures: which of the entries are labels, and in which unit."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from phonograph import units as constants
from phonograph.errors import InputFileError
from phonograph.files.importers_samples import Choices, Source
from phonograph.files.label_table import NOT_LABELS, LabelColumnText, named_with_unit, units_missing
from phonograph.files.safety import listed

ENERGY, STRESS = "energy_eV_per_atom", "hydrostatic_stress_GPa"
_ENERGIES = ("REF_energy", "energy", "free_energy")
_VIRIALS = ("REF_virials", "virials", "REF_virial", "virial")
_STRESSES = ("REF_stress", "stress", *_VIRIALS)
_STRESS_FACTORS = {"eV/Å³": constants.EV_PER_A3_IN_GPA, "GPa": 1.0, "kbar": 0.1}
_SAME = 1e-9
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

Frames = Sequence[Mapping[str, Any]]


def info_labels(
    source: Source, units: Mapping[str, str], wanted: Collection[str] | None, choices: Choices, place: str
) -> tuple[list[LabelColumnText], list[str]]:
    """Return the labels that samples carry, and sentences on what was converted or left out.

    A number with a decimal point whose unit nothing gives is an error where the format is strict; whole numbers
    (steps, counters) and text without a unit are left out and named.

    Parameters
    ----------
    source
        The samples; entries that ASE takes for results of a calculation (``energy``, ``stress``, …) are apart.
    units
        Property → unit, for names without unit suffix, and for energies and stresses in other units than ASE's.
    wanted
        Names to read, None for all.
    choices
        Which of several energies and stresses is read.
    place
        The file, for messages.
    """
    frames: Frames = [{**sample.results, **sample.info} for sample in source.samples]
    columns: list[LabelColumnText] = []
    notes: list[str] = []
    left_out: list[str] = []
    for name, keys, choice, convert in (
        (ENERGY, _ENERGIES, choices.energy, _energies),
        (STRESS, _STRESSES, choices.stress, _hydrostatic),
    ):
        found = _converted(name, keys, choice, convert, frames, source, units, wanted, notes, place)
        columns += [found] if found is not None else []
    known = {**source.units, **units}
    reserved = {key for sample in source.samples for key in sample.results}
    for key in dict.fromkeys(key for frame in frames for key in frame):
        if key in _DESCRIPTIONS or key in (*_ENERGIES, *_STRESSES) or (wanted is not None and key not in wanted):
            continue
        column = _plain(key, frames, known, reserved, source.strict, place)
        if column is None:
            left_out.append(key)
        else:
            columns.append(column)
    _check(columns, units, wanted, frames, place)
    if left_out:
        notes.append(f"entries {listed(left_out)} of {place} carry no unit and were not read as labels")
    return columns, notes


Convert = Callable[[str, Frames, Source, str, str], LabelColumnText]


def _converted(
    name: str,
    keys: tuple[str, ...],
    choice: str,
    convert: Convert,
    frames: Frames,
    source: Source,
    units: Mapping[str, str],
    wanted: Collection[str] | None,
    notes: list[str],
    place: str,
) -> LabelColumnText | None:
    """Return the column of the total energies or of the stresses, whose units the format fixes."""
    if choice and choice not in keys:
        raise InputFileError(f"{place}: {choice[:60]!r} cannot be read as {name}; expected one of {', '.join(keys)}")
    present = [key for key in keys if any(frame.get(key) is not None for frame in frames)]
    if choice and choice not in present:
        raise InputFileError(f"{place} has no entry {choice!r}; of these it has {listed(present)}")
    if wanted is not None:
        named = [key for key in present if key in wanted]
        present = named or (present if name in wanted else [])
    if not present:
        return None
    chosen = [choice] if choice in present else present
    columns = [convert(key, frames, source, units.get(key, ""), place) for key in chosen]
    for key, column in zip(chosen[1:], columns[1:], strict=True):
        _check_same(chosen[0], key, columns[0], column, place)
    notes.append(_sentence(chosen, name, units.get(chosen[0], ""), place))
    if others := [key for key in present if key not in chosen]:
        notes.append(f"{listed(others)} of {place} were not read: {choice} was chosen")
    return columns[0]


def _check_same(first: str, second: str, one: LabelColumnText, other: LabelColumnText, place: str) -> None:
    for frame, (a, b) in enumerate(zip(one.values, other.values, strict=True)):
        if not (abs(a - b) <= _SAME * max(1.0, abs(a)) or (math.isnan(a) and math.isnan(b))):
            option = "energy" if one.name == ENERGY else "stress"
            raise InputFileError(
                f"{place} gives {one.name} twice: {first} and {second} differ (structure {frame}: {a:.10g} and "
                f"{b:.10g} {one.unit}); choose with {option} = {first!r} or {second!r}"
            )


def _sentence(keys: list[str], name: str, unit: str, place: str) -> str:
    told = f"{' and '.join(keys)} of {place}"
    if name == ENERGY:
        per_atom = unit in ("eV/atom", "eV_per_atom")
        divided = "" if per_atom else " (total, eV), divided by the number of atoms,"
        return f"{told}{divided} gave {name}"
    if keys[0] in _VIRIALS:
        return f"{told} (eV, −V σ) gave {name} = tr σ/3"
    return f"{told} ({unit or 'eV/Å³'}, positive = tensile) gave {name} = tr σ/3; check the sign if VASP wrote it"


def _energies(key: str, frames: Frames, source: Source, unit: str, place: str) -> LabelColumnText:
    if unit not in ("", "eV", "eV/atom", "eV_per_atom"):
        raise InputFileError(f"{place}: the unit of {key} must be eV (of the cell) or eV/atom; got {unit[:40]!r}")
    totals = [_scalar(frame.get(key), key, number, place) for number, frame in enumerate(frames)]
    atoms = [1 if unit.endswith("atom") else len(sample.crystal) for sample in source.samples]
    values = tuple(total / count for total, count in zip(totals, atoms, strict=True))
    return LabelColumnText(name=ENERGY, unit="eV/atom", values=values)


def _hydrostatic(key: str, frames: Frames, source: Source, unit: str, place: str) -> LabelColumnText:
    """Return tr σ/3, GPa; of virials W = −V σ."""
    virial = key in _VIRIALS
    spelled = "eV/Å³" if unit in ("", "eV_per_A3") else unit
    if (virial and unit not in ("", "eV")) or (not virial and spelled not in _STRESS_FACTORS):
        expected = "eV" if virial else ", ".join(_STRESS_FACTORS)
        raise InputFileError(f"{place}: the unit of {key} must be {expected}; got {unit[:40]!r}")
    values = []
    for number, (frame, sample) in enumerate(zip(frames, source.samples, strict=True)):
        third = _third_of_trace(frame.get(key), key, number, place)
        factor = -constants.EV_PER_A3_IN_GPA / sample.crystal.volume_A3 if virial else _STRESS_FACTORS[spelled]
        values.append(third * factor)
    return LabelColumnText(name=STRESS, unit="GPa", values=tuple(values))


def _plain(
    key: str, frames: Frames, units: Mapping[str, str], reserved: Collection[str], strict: bool, place: str
) -> LabelColumnText | None:
    """Return the column of an entry with a unit, None for one that is no label."""
    known = named_with_unit(key, units, place)
    if known is None:
        if strict and key not in reserved and any(_is_fraction(frame.get(key)) for frame in frames):
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


def _third_of_trace(value: Any, key: str, frame: int, place: str) -> float:
    if value is None:
        return math.nan
    tensor = np.asarray(value)
    if tensor.dtype.kind not in "fi" or tensor.size not in (6, 9) or not np.isfinite(tensor).all():
        raise InputFileError(f"{place} frame {frame}: {key} must hold 6 or 9 finite numbers; got {str(value)[:40]!r}")
    flat = tensor.ravel()
    trace = flat[:3].sum() if flat.size == 6 else flat[[0, 4, 8]].sum()
    return float(trace) / 3.0


def _check(
    columns: Sequence[LabelColumnText],
    units: Mapping[str, str],
    wanted: Collection[str] | None,
    frames: Frames,
    place: str,
) -> None:
    names = [column.name for column in columns]
    if doubled := [name for name in names if names.count(name) > 1]:
        raise InputFileError(
            f"{place} gives {doubled[0]} twice (as energy and as {doubled[0]}, say); name the entry to read as property"
        )
    keys = {key for frame in frames for key in frame}
    keys |= {name for name, of in ((ENERGY, _ENERGIES), (STRESS, _STRESSES)) if keys & set(of)}
    if unknown := [name for name in (*units, *(wanted or ())) if name not in keys]:
        raise InputFileError(f"{place} has no entry {unknown[0][:60]!r}; its entries are {listed(sorted(keys))}")
