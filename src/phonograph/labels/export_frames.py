"""Labels as atoms: extended XYZ for trainers of potentials, and ASE's database.  Only labels with values."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from phonograph.labels.export_tables import Names
from phonograph.labels.rows import StoredCalculation, StoredLabel
from phonograph.labels.task import property_unit
from phonograph.types import ARRAY_UNITS, FloatArray
from phonograph.units import EV_PER_A3_IN_GPA

PER_ATOM = {"forces_eV_per_A": "REF_forces", "charges_e": "REF_charges", "magnetic_moments_muB": "REF_magmoms"}
"""Arrays of extended XYZ: our name → name of the column."""

_ENERGY = "energy_eV_per_atom"
_STRESS = "stress_GPa"
_CALCULATED = {"forces_eV_per_A": "forces", "charges_e": "charges", "magnetic_moments_muB": "magmoms"}
_VOIGT = ((0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1))
_ASE_UNITS = "eV, Å; stress eV/Å³ (positive = tensile); keys carry their units"


def _structure(item: StoredLabel) -> tuple[Any, FloatArray, FloatArray]:
    s = item.structure
    return (
        np.frombuffer(s.numbers, dtype="<i4"),
        np.frombuffer(s.cell, dtype="<f8").reshape(3, 3),
        np.frombuffer(s.positions, dtype="<f8").reshape(-1, 3),
    )


def _numbers(item: StoredLabel, names: Names, atoms: int) -> dict[str, float]:
    """Return the numbers of a frame: ours by their names, and the energy of the cell."""
    values = {name: float(item.result.values[name]) for name in names.numbers if name in item.result.values}
    if _ENERGY in values:
        values["REF_energy"] = values[_ENERGY] * atoms
    return values


def _texts(item: StoredLabel) -> dict[str, str | int | float]:
    texts: dict[str, str | int | float] = {
        "structure": f"sha256:{item.structure.key.hex()}",
        "engine": _line(item.calculation.engine),
        "core_seconds": item.core_seconds,
    }
    if item.result.message:
        texts["message"] = _line(item.result.message)
    if item.samples:
        first = item.samples[0]
        ids = _line(" ".join(sample.sample_id for sample in item.samples))
        texts |= {"sample_id": ids, "sampler": _line(first.sampler)}
        texts |= {"sample_index": first.index}
        texts |= {} if first.seed is None else {"seed": first.seed}
        texts |= {} if math.isnan(first.temperature_K) else {"temperature_K": first.temperature_K}
    return texts


def _line(text: str) -> str:
    """Return the text on one line: a frame has one line for everything."""
    return " ".join(text.split())


def write_extxyz(
    path: Path, items: Iterable[StoredLabel], names: Names, calculations: Sequence[StoredCalculation], digest: Any
) -> None:
    """Write one frame per label with all digits (ASE's own writer keeps eight decimals)."""
    from ase.data import chemical_symbols
    from ase.io.extxyz import key_val_dict_to_str

    with path.open("w", encoding="utf-8") as stream:
        for item in items:
            numbers, cell, positions = _structure(item)
            info: dict[str, Any] = dict(_numbers(item, names, len(numbers)))
            if _STRESS in item.result.arrays:
                info["REF_stress"] = item.result.arrays[_STRESS].ravel() / EV_PER_A3_IN_GPA
            columns = {
                PER_ATOM[name]: array.reshape(len(numbers), -1)
                for name, array in item.result.arrays.items()
                if name in PER_ATOM
            }
            _add(digest, numbers, cell, positions, info, columns)
            lattice = " ".join(map(repr, cell.ravel().tolist()))
            widths = "".join(f":{name}:R:{array.shape[1]}" for name, array in columns.items())
            told = key_val_dict_to_str({**info, **_texts(item)})
            stream.write(f'{len(numbers)}\nLattice="{lattice}" Properties=species:S:1:pos:R:3{widths} ')
            stream.write(f'{told} pbc="T T T"\n')
            table = np.hstack([positions, *columns.values()]).tolist()
            for number, row in zip(numbers, table, strict=True):
                stream.write(f"{chemical_symbols[number]} {' '.join(map(repr, row))}\n")


def read_extxyz(path: Path, names: Names, digest: Any) -> None:
    """Add every frame, as ASE reads it, to ``digest``."""
    from ase.io import iread

    for atoms in iread(path, index=":", format="extxyz"):
        known = (*names.numbers, "REF_energy", "REF_stress")
        info = {name: atoms.info[name] for name in known if name in atoms.info}
        columns = {name: atoms.arrays[name] for name in PER_ATOM.values() if name in atoms.arrays}
        _add(digest, atoms.numbers, atoms.cell[:], atoms.positions, info, columns)


def write_ase_db(
    path: Path, items: Iterable[StoredLabel], names: Names, calculations: Sequence[StoredCalculation], digest: Any
) -> None:
    """Write one row per label: energy, forces, stress, charges and moments as ASE's own, the rest as keys and data."""
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator

    path.unlink()  # ASE makes its tables only in a file that it creates
    with _connect(path) as database:
        for item in items:
            numbers, cell, positions = _structure(item)
            atoms = Atoms(numbers=numbers, cell=cell, positions=positions, pbc=True)
            values, arrays = _numbers(item, names, len(numbers)), dict(item.result.arrays)
            energy = values.pop("REF_energy", None)
            results: dict[str, Any] = {_CALCULATED[name]: arrays.pop(name) for name in _CALCULATED if name in arrays}
            results |= {} if energy is None else {"energy": energy}
            if _STRESS in arrays:
                results["stress"] = arrays.pop(_STRESS)[_VOIGT] / EV_PER_A3_IN_GPA
            atoms.calc = SinglePointCalculator(atoms, **results)
            database.write(atoms, key_value_pairs=values | _ase_texts(item), data=arrays)
            _add(digest, numbers, cell, positions, {**values, **results}, arrays)
    units = {name: property_unit(name) for name in names.numbers} | {n: ARRAY_UNITS[n] for n in names.arrays}
    described = [{"engine": c.engine, "settings": json.loads(c.settings)} for c in calculations]
    _connect(path).metadata = {"title": "labels", "units": _ASE_UNITS, "key_units": units, "calculations": described}


def read_ase_db(path: Path, names: Names, digest: Any) -> None:
    """Add every row to ``digest``."""
    for row in _connect(path).select():
        values = {name: row.key_value_pairs[name] for name in names.numbers if name in row.key_value_pairs}
        results = {name: row[name] for name in (*_CALCULATED.values(), "energy", "stress") if row.get(name) is not None}
        _add(digest, row.numbers, row.cell[:], row.positions, {**values, **results}, row.data)


def _connect(path: Path) -> Any:
    from ase.db import connect

    # ASE's lock file outlives a killed process, and nobody else knows the temporary name.
    return connect(path, type="db", use_lock_file=False)


def _ase_texts(item: StoredLabel) -> dict[str, str | int | float]:
    """Return what ASE takes as keys: text that looks like a number is refused, so it gets a word before it."""
    from ase.db.core import str_represents

    kept: dict[str, str | int | float] = {}
    for name, text in _texts(item).items():
        ambiguous = isinstance(text, str) and any(str_represents(text, kind) for kind in (bool, int, float))
        kept[name] = f"{name} {text}" if ambiguous else text
    return kept


def _add(digest: Any, numbers: Any, cell: Any, positions: Any, info: Mapping[str, Any], arrays: Any) -> None:
    for array in (cell, positions):
        digest.update(np.asarray(array, dtype="<f8").tobytes())
    digest.update(np.asarray(numbers, dtype="<i4").tobytes())
    for group in (info, arrays):
        for name in sorted(group):
            digest.update(name.encode() + np.asarray(group[name], dtype="<f8").tobytes())
