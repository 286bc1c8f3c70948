"""A set of displaced structures that the user brings, with or without labels: rooms 1 to 3 are then skipped."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from phonograph.errors import InputFileError
from phonograph.files.importers import MAX_FILES, natural_order, read_source
from phonograph.files.importers_samples import Choices, Sample, Source
from phonograph.files.label_table import LabelColumnText, LabelTable, read_label_table
from phonograph.files.safety import check_name, listed, sha256_of, shown
from phonograph.files.structures import structure_format
from phonograph.files.user_info import info_labels
from phonograph.types import Configurations, Crystal, FloatArray, IntArray, LabelColumn, Labels, Origin

__all__ = ["MAX_FILES", "natural_order", "read_labelled", "read_user_set", "structure_fingerprint"]


def read_labelled(
    path: str | os.PathLike[str],
    *,
    name: str = "set",
    labels: str | os.PathLike[str] | None = None,
    units: Mapping[str, str] | None = None,
    groups: Sequence[str] | None = None,
    property: str | Sequence[str] | None = None,
    energy: str = "",
    stress: str = "",
    correction: str = "uncorrected",
) -> tuple[Configurations, Labels | None]:
    """Read structures with the labels they carry, whatever of the known formats they are in.

    ``path`` may be

    - **extended XYZ** (``*.extxyz``, ``*.xyz``), one frame each, labels in the comment lines;
    - an **ASE database** (``*.db``, ``*.json``): results of the calculation and key-value pairs;
    - **computed entries** of Alexandria or the Materials Project (``*.json``, also ``.gz``, ``.bz2``, ``.xz``): the
      energy and the numbers among their ``data``;
    - a **folder** of POSCAR and CIF files; a file ``id_prop.csv`` in it (or given as ``path``) holds the labels.

    ``labels`` is a CSV table instead, whose first column is the sample's id: the entry ``sample_id``, ``id`` or
    ``name`` of a frame, else its position (from 0); the id of a row or entry; or a file's name, with or without
    suffix.

    Every property carries its unit, as a suffix (``band_gap_eV``, ``energy_eV_per_atom``,
    ``hydrostatic_stress_GPa``) or through ``units``; a name without suffix then gets one.  Converted are, where
    ``units`` does not say otherwise, ``energy``, ``free_energy`` and ``REF_energy`` (of the cell, eV) to
    ``energy_eV_per_atom``; ``stress`` and ``REF_stress`` (eV/Å³, ASE's sign), ``virials`` and ``REF_virials``
    (eV, −V σ) to ``hydrostatic_stress_GPa`` = tr σ/3; the result's warnings say so.  Empty and NaN are holes.

    Also taken, where present: ``temperature_K``, ``amplitude_A``, ``fraction``, ``index`` and ``group`` entries, and
    an array of displacements (Å).  Without a group, copies of a structure (the order of atoms and whole lattice
    vectors do not matter) and entries of one material share one, and every other structure is its own.

    Parameters
    ----------
    path
        File or folder.
    name
        Name of the set; samples are called ``<name>-<position>``.
    labels
        CSV table, or None for labels in ``path`` (or no labels).
    units
        Property → unit, for names without unit suffix; ``"1"`` for a property without dimension.
    groups
        One group per structure; default: see above.
    property
        Name or names (a list, or with commas) of the properties to read, default: all; needed for a table without
        header, in its order.
    energy, stress
        Entry that is the energy or the stress where a file has several that differ, such as ``"free_energy"``.
    correction
        Of computed entries: ``"uncorrected"`` (as calculated) or ``"corrected"``.

    Returns
    -------
    tuple of Configurations and Labels
        ``None`` in place of labels where there are none.

    Raises
    ------
    InputFileError
        In one sentence with file and line, frame, row or entry: as
        :func:`~phonograph.files.structures.read_structures`; units missing, several energies or stresses that differ,
        unknown or duplicate ids, non-numeric values.
    """
    check_name(name, "the name of a set")
    names = property.split(",") if isinstance(property, str) else property
    wanted = None if names is None else tuple(one.strip() for one in names)
    choices = Choices(energy=energy, stress=stress, correction=correction)
    source = read_source(path, choices)
    samples, file = source.samples, labels if labels is not None else source.table
    table = None if file is None else read_label_table(file, units or {}, wanted)
    rows = None if table is None else _matched(table, samples, shown(file or ""))
    inputs = _hashes(path, file)
    configurations, group_notes = _configurations(name, samples, groups, table, rows, inputs)
    if table is not None:
        columns = [_reordered(column, rows, len(samples)) for column in table.columns]
        label_notes = _left_out(shown(file or ""), table.left_out)
        if any(sample.results for sample in samples):
            label_notes.append(f"energies and stresses inside {shown(path)} were not read: a table gives the labels")
    else:
        columns, label_notes = info_labels(source, units or {}, wanted, choices, shown(path))
    configurations = replace(configurations, warnings=(*source.notes, *group_notes))
    return configurations, _labels(configurations, columns, _engine(source, file or path), label_notes, inputs)


def _engine(source: Source, path: str | os.PathLike[str]) -> str:
    kinds = list(dict.fromkeys(sample.engine for sample in source.samples if sample.engine))
    return f"file {Path(path).name}" + (f" ({listed(kinds)})" if kinds else "")


def read_user_set(
    name: str,
    structures: str | os.PathLike[str],
    labels: str | os.PathLike[str] | None = None,
    units: Mapping[str, str] | None = None,
    groups: Sequence[str] | None = None,
    *,
    property: str | Sequence[str] | None = None,
) -> tuple[Configurations, Labels | None]:
    """Read a set as :func:`read_labelled` does, with its name first."""
    return read_labelled(structures, name=name, labels=labels, units=units, groups=groups, property=property)


def _matched(table: LabelTable, samples: list[Sample], place: str) -> list[int | None]:
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
            others = sum(one not in owner for one in table.ids) - 1
            raise InputFileError(
                f"{place} line {line} labels {sample_id[:60]!r}, which is no structure of the set"
                f"{f' (nor are {others} more)' if others else ''}; the first structure is called "
                f"{samples[0].names[0][:60]!r}"
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
    samples: list[Sample],
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


def _indices(samples: list[Sample]) -> IntArray:
    """Return the stated indices where every sample states a whole one, else the positions."""
    stated = [sample.info.get("index") for sample in samples]
    if all(isinstance(value, (int, np.integer)) and not isinstance(value, bool) for value in stated):
        return np.array(stated, dtype=np.int64)
    return np.arange(len(samples), dtype=np.int64)


def _numbers(samples: list[Sample], key: str) -> FloatArray:
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
    samples: list[Sample],
    groups: Sequence[str] | None,
    table: LabelTable | None,
    rows: list[int | None] | None,
) -> tuple[tuple[str, ...], list[str]]:
    if groups is not None:
        if len(groups) != len(samples):
            raise InputFileError(f"groups must name {len(samples)} structures; got {len(groups)}")
        return tuple(str(group) for group in groups), []
    stated: list[str] = []
    for position, sample in enumerate(samples):
        row = rows[position] if rows is not None else None
        in_table = table.groups[row] if table is not None and table.groups is not None and row is not None else ""
        stated.append(str(sample.info["group"]) if "group" in sample.info else in_table)
    parents, copies = _parents(samples)
    # A copy that states no group belongs to that of the first relative that does.
    families = {parent: one for parent, one in zip(reversed(parents), reversed(stated), strict=True) if one}
    found = [one or families.get(parent, f"{name}-{parent:05d}") for one, parent in zip(stated, parents, strict=True)]
    notes = [f"{copies} structures of set {name!r} are exact copies of others; copies share a group"] if copies else []
    return tuple(found), notes


def _parents(samples: list[Sample]) -> tuple[list[int], int]:
    """Return the first of all samples that each is related to, by structure or by kin, and the number of copies."""
    parents = list(range(len(samples)))

    def root(position: int) -> int:
        while parents[position] != position:
            parents[position] = position = parents[parents[position]]
        return position

    first: dict[tuple[str, str], int] = {}
    copies = 0
    for position, sample in enumerate(samples):
        fingerprint = ("structure", structure_fingerprint(sample.crystal))
        copies += fingerprint in first
        for key in (fingerprint, *(("kin", one) for one in sample.kin)):
            one, other = sorted((root(first.setdefault(key, position)), root(position)))
            parents[other] = one
    return [root(position) for position in range(len(samples))], copies


def structure_fingerprint(crystal: Crystal) -> str:
    """Return a hash of elements, lattice and positions to 1e-5: equal for copies of one structure.

    The order of atoms and whole lattice vectors do not matter.
    """
    cell = np.round(crystal.cell_A, 5) + 0.0
    # Rounded first: just below 1 is 0.
    places = np.round(crystal.fractional, 5) % 1.0 + 0.0
    rows = np.column_stack([crystal.numbers, places])
    rows = rows[np.lexsort(rows.T[::-1])]
    return hashlib.sha256(cell.tobytes() + rows.tobytes()).hexdigest()


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
