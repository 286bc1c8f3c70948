"""A set of displaced structures that the user brings, with or without labels: rooms 1 to 3 are then skipped."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from phonograph.errors import InputFileError
from phonograph.files.label_table import LabelColumnText, LabelTable, read_label_table
from phonograph.files.safety import check_name, listed, sha256_of, shown
from phonograph.files.structures import crystal_from_atoms, read_atoms, read_structure, structure_format
from phonograph.files.user_info import info_labels
from phonograph.types import Configurations, Crystal, FloatArray, IntArray, LabelColumn, Labels, Origin

MAX_FILES = 100_000
"""Largest number of structure files read from one folder."""

_DISPLACEMENTS = ("displacements_A", "displacement_A", "displacements", "displacement")
_IDS = ("sample_id", "id", "name")


@dataclass(frozen=True, kw_only=True, eq=False)
class _Sample:
    """One structure: the names by which a table may call it, and what came with it."""

    names: tuple[str, ...]
    crystal: Crystal
    info: Mapping[str, Any]
    results: Mapping[str, Any]
    displacements_A: FloatArray | None


def read_user_set(
    name: str,
    structures: str | os.PathLike[str],
    labels: str | os.PathLike[str] | None = None,
    units: Mapping[str, str] | None = None,
    groups: Sequence[str] | None = None,
    *,
    property: str | Sequence[str] | None = None,
) -> tuple[Configurations, Labels | None]:
    """Read displaced structures, and their labels where there are any.

    Structures come from one extended XYZ file (one frame each) or from a folder of POSCAR and CIF files (by name,
    natural order).  Labels come from the entries of the extended XYZ comment lines or from a CSV table, whose first
    column is the sample's id: the entry ``sample_id``, ``id`` or ``name`` of a frame, else its position (from 0); or
    the file's name, with or without suffix.

    Every property carries its unit, as a suffix (``band_gap_eV``, ``energy_eV_per_atom``,
    ``hydrostatic_stress_GPa``) or through ``units``; a name without suffix then gets one.  Of extended XYZ,
    ``energy`` and ``REF_energy`` (total, eV) become ``energy_eV_per_atom``, ``stress`` and ``REF_stress`` (eV/Å³,
    ASE's sign) become ``hydrostatic_stress_GPa`` = tr σ/3; the result's warnings say so.  Empty and NaN are holes.

    Also taken, where present: ``temperature_K``, ``amplitude_A``, ``fraction``, ``index`` and ``group`` entries, and
    an array of displacements (Å).  Without a group, exact copies of a structure share one and every other structure
    is its own.

    Parameters
    ----------
    name
        Name of the set; samples are called ``<name>-<position>``.
    structures
        File or folder.
    labels
        CSV table, or None for labels in the extended XYZ file (or no labels).
    units
        Property → unit, for names without unit suffix; ``"1"`` for a property without dimension.
    groups
        One group per structure; default: see above.
    property
        Name or names of the properties to read (default: all); needed for a table without header.

    Returns
    -------
    tuple of Configurations and Labels
        ``None`` in place of labels where there are none.

    Raises
    ------
    InputFileError
        In one sentence with file and line or frame: as :func:`~phonograph.files.structures.read_structures`; units
        missing, unknown or duplicate ids, non-numeric values.
    """
    check_name(name, "the name of a set")
    wanted = (property,) if isinstance(property, str) else None if property is None else tuple(property)
    samples, notes = _samples(Path(structures))
    table = None if labels is None else read_label_table(labels, units or {}, wanted)
    rows = None if table is None else _matched(table, samples, shown(labels or ""))
    inputs = _hashes(structures, labels)
    configurations, group_notes = _configurations(name, samples, groups, table, rows, inputs)
    if table is not None:
        columns = [_reordered(column, rows, len(samples)) for column in table.columns]
        label_notes = _left_out(shown(labels or ""), table.left_out)
        if any(sample.results for sample in samples):
            label_notes.append(
                f"energies and stresses inside {shown(structures)} were not read: a table gives the labels"
            )
        engine = f"file {Path(labels or '').name}"
    else:
        columns, label_notes = info_labels(
            [sample.info for sample in samples],
            [sample.results for sample in samples],
            [len(sample.crystal) for sample in samples],
            units or {},
            wanted,
            shown(structures),
        )
        engine = f"file {Path(structures).name}"
    configurations = replace(configurations, warnings=(*notes, *group_notes))
    return configurations, _labels(configurations, columns, engine, label_notes, inputs)


def _samples(path: Path) -> tuple[list[_Sample], list[str]]:
    if path.is_dir():
        return _from_folder(path)
    if structure_format(path) != "extxyz":
        raise InputFileError(
            f"{shown(path)} must be an extended XYZ file (*.extxyz, *.xyz) or a folder of POSCAR and CIF files"
        )
    samples = []
    for position, atoms in enumerate(read_atoms(path)):
        place = f"{shown(path)} frame {position}"
        known = next((str(atoms.info[key]) for key in _IDS if key in atoms.info), str(position))
        samples.append(
            _Sample(
                names=(known,),
                crystal=crystal_from_atoms(atoms, place, known),
                info=dict(atoms.info),
                results=dict(atoms.calc.results) if atoms.calc is not None else {},
                displacements_A=_displacements(atoms, place),
            )
        )
    return samples, []


def _from_folder(folder: Path) -> tuple[list[_Sample], list[str]]:
    try:
        files = sorted((one for one in folder.iterdir() if one.is_file()), key=lambda one: _natural(one.name))
    except OSError as error:
        raise InputFileError(f"{shown(folder)} cannot be read: {error.strerror}; check its permissions") from error
    chosen = [one for one in files if structure_format(one) in ("poscar", "cif") and not one.name.startswith(".")]
    if not 1 <= len(chosen) <= MAX_FILES:
        raise InputFileError(
            f"{shown(folder)} holds {len(chosen)} structure files; 1 to {MAX_FILES} are accepted, named POSCAR*, "
            "CONTCAR*, *.vasp, *.poscar or *.cif"
        )
    stems = [one.stem for one in chosen]
    samples = [
        _Sample(
            # A name without suffix, such as POSCAR_7, is its own stem.
            names=(one.name, one.stem) if one.suffix and stems.count(one.stem) == 1 else (one.name,),
            crystal=read_structure(one),
            info={},
            results={},
            displacements_A=None,
        )
        for one in chosen
    ]
    others = len(files) - len(chosen)
    notes = [f"{others} files in {shown(folder)} are not POSCAR or CIF and were not read as structures"]
    return samples, notes if others else []


def _natural(name: str) -> list[str | int]:
    """Sort key in which 2 comes before 10: text and numbers alternate."""
    parts = re.split(r"([0-9]+)", name)
    return [int(part) if position % 2 else part for position, part in enumerate(parts)]


def _displacements(atoms: Any, place: str) -> FloatArray | None:
    key = next((one for one in _DISPLACEMENTS if one in atoms.arrays), None)
    if key is None:
        return None
    values = atoms.arrays[key]
    if values.shape != (len(atoms), 3) or values.dtype.kind not in "fi" or not np.isfinite(values).all():
        raise InputFileError(f"{place}: {key} must be three finite numbers per atom, Å; got shape {values.shape}")
    return np.asarray(values, dtype=np.float64)


def _matched(table: LabelTable, samples: list[_Sample], place: str) -> list[int | None]:
    """Return the row of each sample, None where the table has none."""
    owner: dict[str, int] = {}
    for position, sample in enumerate(samples):
        for alias in sample.names:
            if alias in owner:
                raise InputFileError(f"two structures are called {alias[:60]!r}; give every frame an id of its own")
            owner[alias] = position
    rows: list[int | None] = [None] * len(samples)
    for row, (sample_id, line) in enumerate(zip(table.ids, table.lines, strict=True)):
        if sample_id not in owner:
            raise InputFileError(
                f"{place} line {line} labels {sample_id[:60]!r}, which is no structure of the set; the first structure "
                f"is called {samples[0].names[0][:60]!r}"
            )
        taken = rows[owner[sample_id]]
        if taken is not None:
            raise InputFileError(
                f"{place} line {line} labels {sample_id[:60]!r} again (first in line {table.lines[taken]})"
            )
        rows[owner[sample_id]] = row
    return rows


def _reordered(column: LabelColumnText, rows: list[int | None] | None, count: int) -> LabelColumnText:
    places = rows if rows is not None else list(range(count))
    values = tuple(float("nan") if row is None else column.values[row] for row in places)
    return LabelColumnText(name=column.name, unit=column.unit, values=values)


def _left_out(place: str, names: Sequence[str]) -> list[str]:
    return [f"columns {listed(names)} of {place} were not read as labels"] if names else []


def _configurations(
    name: str,
    samples: list[_Sample],
    groups: Sequence[str] | None,
    table: LabelTable | None,
    rows: list[int | None] | None,
    inputs: Mapping[str, str],
) -> tuple[Configurations, list[str]]:
    import ase

    crystals = [sample.crystal for sample in samples]
    group, notes = _groups(name, samples, groups, table, rows)
    unknown = [np.full((len(crystal), 3), np.nan) for crystal in crystals]
    moved = [
        sample.displacements_A if sample.displacements_A is not None else none
        for sample, none in zip(samples, unknown, strict=True)
    ]
    configurations = Configurations(
        name=name,
        sampler="file",
        offsets=np.concatenate([[0], np.cumsum([len(crystal) for crystal in crystals])]),
        numbers=np.concatenate([crystal.numbers for crystal in crystals]),
        positions_A=np.concatenate([crystal.positions_A for crystal in crystals]),
        displacements_A=np.concatenate(moved),
        cells_A=np.stack([crystal.cell_A for crystal in crystals]),
        temperature_K=_numbers(samples, "temperature_K"),
        amplitude_A=_numbers(samples, "amplitude_A"),
        fraction=_numbers(samples, "fraction"),
        index=_indices(samples),
        group=group,
        origin=Origin(room="files", settings={"name": name}, inputs=inputs, versions={"ase": ase.__version__}),
    )
    return configurations, notes


def _indices(samples: list[_Sample]) -> IntArray:
    """Return the stated indices where every sample states a whole one, else the positions."""
    stated = [sample.info.get("index") for sample in samples]
    if all(isinstance(value, (int, np.integer)) and not isinstance(value, bool) for value in stated):
        return np.array(stated, dtype=np.int64)
    return np.arange(len(samples), dtype=np.int64)


def _numbers(samples: list[_Sample], key: str) -> FloatArray:
    values = np.full(len(samples), np.nan)
    for position, sample in enumerate(samples):
        value = sample.info.get(key)
        if value is None:
            continue
        numeric = isinstance(value, (int, float, np.number)) and not isinstance(value, (bool, np.bool_))
        if not numeric or np.isinf(value) or value < 0:
            raise InputFileError(f"{key} of structure {position} must be a finite number, not negative; got {value!r}")
        values[position] = float(value)
    return values


def _groups(
    name: str,
    samples: list[_Sample],
    groups: Sequence[str] | None,
    table: LabelTable | None,
    rows: list[int | None] | None,
) -> tuple[tuple[str, ...], list[str]]:
    if groups is not None:
        if len(groups) != len(samples):
            raise InputFileError(f"groups must name {len(samples)} structures; got {len(groups)}")
        return tuple(str(group) for group in groups), []
    found: list[str] = []
    first: dict[str, int] = {}
    copies = 0
    for position, sample in enumerate(samples):
        row = rows[position] if rows is not None else None
        in_table = table.groups[row] if table is not None and table.groups is not None and row is not None else ""
        if "group" in sample.info or in_table:
            found.append(str(sample.info.get("group", in_table)))
            continue
        parent = first.setdefault(_fingerprint(sample.crystal), position)
        copies += parent != position
        found.append(f"{name}-{parent:05d}")
    notes = [f"{copies} structures of set {name!r} are exact copies of others; copies share a group"] if copies else []
    return tuple(found), notes


def _fingerprint(crystal: Crystal) -> str:
    rounded = np.round(np.concatenate([crystal.cell_A, crystal.positions_A]), 6) + 0.0
    return hashlib.sha256(crystal.numbers.tobytes() + rounded.tobytes()).hexdigest()


def _hashes(structures: str | os.PathLike[str], labels: str | os.PathLike[str] | None) -> dict[str, str]:
    path = Path(structures)
    hashes = {}
    if path.is_dir():
        parts = sorted(one for one in path.iterdir() if structure_format(one) in ("poscar", "cif") and one.is_file())
        joined = "".join(f"{one.name}\0{sha256_of(one)}\0" for one in parts)
        hashes[path.name] = hashlib.sha256(joined.encode("utf-8", "surrogateescape")).hexdigest()
    else:
        hashes[path.name] = sha256_of(path)
    if labels is not None:
        hashes[Path(labels).name] = sha256_of(labels)
    return hashes


def _labels(
    configurations: Configurations,
    columns: Sequence[LabelColumnText],
    engine: str,
    notes: Sequence[str],
    inputs: Mapping[str, str],
) -> Labels | None:
    if not columns:
        return None
    count = len(configurations)
    holes = [[column.name for column in columns if np.isnan(column.values[i])] for i in range(count)]
    warnings = list(notes)
    for column in columns:
        missing = int(np.isnan(column.values).sum())
        if missing:
            warnings.append(f"{missing} of {count} samples of set {configurations.name!r} have no {column.name}")
    return Labels(
        sample_ids=configurations.ids,
        set_names=(configurations.name,) * count,
        columns=tuple(
            LabelColumn(name=column.name, unit=column.unit, values=np.array(column.values), engine=engine)
            for column in columns
        ),
        status=tuple(f"missing: {', '.join(names)}" if names else "ok" for names in holes),
        warnings=tuple(warnings),
        origin=Origin(room="files", settings={"set": configurations.name, "engine": engine}, inputs=inputs),
    )
