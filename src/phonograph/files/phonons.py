"""Phonons on disk: ``phonopy.yaml`` and CSV for everybody, ``phonons.npz`` and ``phonons.json`` to restore them.

Loading never parses YAML: arrays come from a NumPy archive without pickled objects, everything else from JSON.
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from phonograph.atomic import replacing, write_text
from phonograph.errors import DataError, InputFileError
from phonograph.files.phonon_tables import phonon_tables
from phonograph.files.phonopy_yaml import phonopy_cell
from phonograph.files.safety import MAX_SET_BYTES, check_readable, reading, shown
from phonograph.files.sidecar import entry, origin_from_plain, origin_to_plain, read_sidecar, write_sidecar
from phonograph.types import (
    Crystal,
    ForceConstants,
    ImaginaryModes,
    Origin,
    PhononAudit,
    PhononProperties,
    Phonons,
    RenormalisationRound,
    Spectrum,
)

SCHEMA = "phonograph-phonons-2"
ARRAYS, SIDECAR = "phonons.npz", "phonons.json"

_CRYSTAL = ("cell_A", "positions_A", "numbers", "masses_amu")
_SPECTRUM = ("q", "distance", "frequencies_THz")
_OWN = ("frequencies_THz", "frequency_error_THz", "harmonic_frequencies_THz")
_REQUIRED = (
    *(f"{cell}.{name}" for cell in ("unitcell", "supercell") for name in _CRYSTAL),
    *(f"{kind}.{name}" for kind in ("spectrum", "harmonic_spectrum") for name in _SPECTRUM),
    *_OWN,
    "supercell_matrix",
    "force_constants",
)
_BY_ROUTE = ("line_widths_THz", "line_width_errors_THz", "curvature_frequencies_THz", "curvature_errors_THz")
_PROPERTIES = (
    "dos_THz",
    "dos_per_THz",
    "species_dos_per_THz",
    "temperatures_K",
    "free_energy_eV",
    "entropy_eV_per_K",
    "heat_capacity_eV_per_K",
    "displacement_A2",
)
_OPTIONAL = ("harmonic_force_constants", *_BY_ROUTE, *(f"properties.{name}" for name in _PROPERTIES))


def save_phonons(phonons: Phonons, folder: str | Path) -> None:
    """Write phonons into ``folder``, each file atomically.

    * ``phonopy.yaml``: cell, supercell and the force constants that samplers use; ``phonopy.load`` opens it;
    * ``frequencies.csv``: ``mode,frequency_THz,error_THz,harmonic_THz`` of the 3n − 3 commensurate modes, and their
      line widths or the curvature of the free energy where the route gives them;
    * ``bands.csv``: frequencies along the standard path, renormalised and harmonic;
    * ``audit.json``, ``dos.csv``, ``thermodynamics.csv``, ``thermal_displacements.csv``: see
      :mod:`phonograph.files.phonon_tables`;
    * ``phonons.json``: method, temperature, rounds, warnings, origin;  ``phonons.npz``: all arrays.

    Parameters
    ----------
    phonons
        What to write.
    folder
        Made if missing.

    Raises
    ------
    InputFileError
        When the folder cannot be written.
    """
    folder = Path(folder)
    constants = phonons.force_constants
    with replacing(folder / "phonopy.yaml") as temporary:
        temporary.write_text(_phonopy_text(constants), encoding="utf-8")
    for name, text in phonon_tables(phonons).items():
        write_text(folder / name, text)
    with replacing(folder / ARRAYS) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **_arrays_of(phonons))
    write_sidecar(
        folder / SIDECAR,
        SCHEMA,
        phonons.warnings,
        phonons.origin,
        method=phonons.method,
        temperature_K=phonons.temperature_K,
        converged=phonons.converged,
        rounds=[asdict(item) for item in phonons.rounds],
        unitcell_title=constants.unitcell.title,
        supercell_title=constants.supercell.title,
        force_constants_origin=origin_to_plain(constants.origin),
        harmonic_origin=origin_to_plain(phonons.harmonic.origin) if phonons.harmonic else None,
        spectrum=_marks(phonons.spectrum),
        harmonic_spectrum=_marks(phonons.harmonic_spectrum),
        audit=asdict(phonons.audit) if phonons.audit else None,
        properties=_words_of(phonons.properties) if phonons.properties else None,
    )


def load_phonons(folder: str | Path) -> Phonons:
    """Read what :func:`save_phonons` wrote, bit for bit.

    Raises
    ------
    InputFileError
        One sentence, when a file is missing, damaged, of another kind or inconsistent.
    """
    source = Path(folder) / SIDECAR
    document = read_sidecar(source, SCHEMA)
    arrays = _read_arrays(Path(folder) / ARRAYS)
    try:
        return _restored(document, arrays, source)
    except DataError as error:
        raise InputFileError(f"{shown(source)} does not hold phonons: {error}; run phonons again") from error


def _restored(document: Mapping[str, Any], arrays: Mapping[str, np.ndarray[Any, Any]], source: Path) -> Phonons:
    with reading(source, "phonons written by this program"):
        constants, harmonic = _force_constants(document, arrays, source)
        return Phonons(
            force_constants=constants,
            harmonic=harmonic,
            method=entry(document, "method", str, source),
            temperature_K=entry(document, "temperature_K", (float, int, type(None)), source),
            converged=_converged(document, source),
            rounds=tuple(_round(item, source) for item in entry(document, "rounds", list, source)),
            spectrum=_spectrum("spectrum", document, arrays, source),
            harmonic_spectrum=_spectrum("harmonic_spectrum", document, arrays, source),
            warnings=document["warnings"],
            origin=document["origin"],
            audit=_audit(document, source),
            properties=_properties(document, arrays, source),
            **{name: arrays[name] for name in _OWN},
            **{name: arrays[name] for name in _BY_ROUTE if name in arrays},
        )


def _phonopy_text(constants: ForceConstants) -> str:
    """Return phonopy's own YAML of cells and force constants; its supercell matrix acts on columns."""
    from phonopy import Phonopy

    with warnings.catch_warnings():
        # phonopy remarks that the primitive cell differs from the unit cell, and where a supercell has less symmetry.
        warnings.simplefilter("ignore")
        phonon = Phonopy(
            phonopy_cell(constants.unitcell),
            supercell_matrix=constants.supercell_matrix.T,
            primitive_matrix="auto",
            log_level=0,
        )
        phonon.force_constants = np.array(constants.values_eV_per_A2)
        return str(phonon.to_phonopy_yaml(settings={"force_constants": True}))


def _marks(item: Spectrum) -> dict[str, Any]:
    return {"ticks": [[distance, label] for distance, label in item.ticks], "breaks": list(item.breaks)}


def _arrays_of(phonons: Phonons) -> dict[str, Any]:
    constants = phonons.force_constants
    arrays: dict[str, Any] = {name: getattr(phonons, name) for name in _OWN}
    for cell in ("unitcell", "supercell"):
        arrays |= {f"{cell}.{name}": getattr(getattr(constants, cell), name) for name in _CRYSTAL}
    for kind in ("spectrum", "harmonic_spectrum"):
        arrays |= {f"{kind}.{name}": getattr(getattr(phonons, kind), name) for name in _SPECTRUM}
    arrays["supercell_matrix"] = constants.supercell_matrix
    arrays["force_constants"] = constants.values_eV_per_A2
    if phonons.harmonic is not None:
        arrays["harmonic_force_constants"] = phonons.harmonic.values_eV_per_A2
    arrays |= {name: getattr(phonons, name) for name in _BY_ROUTE if getattr(phonons, name) is not None}
    if phonons.properties is not None:
        arrays |= {f"properties.{name}": getattr(phonons.properties, name) for name in _PROPERTIES}
    return arrays


def _words_of(properties: PhononProperties) -> dict[str, Any]:
    return {
        name: getattr(properties, name) for name in ("mesh", "atoms", "species", "displacement_symbols", "left_out")
    }


def _read_arrays(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    source = check_readable(path, MAX_SET_BYTES)
    with reading(source, "a phonons archive (.npz)"):
        with zipfile.ZipFile(source) as archive:
            # Written uncompressed; a compressed member could unpack to any size.
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise InputFileError(
                    f"{shown(source)} is compressed, which this program does not write; run phonons again"
                )
        with np.load(source, allow_pickle=False) as archive:
            names = set(archive.files)
            odd = (names ^ set(_REQUIRED)) - set(_OPTIONAL)
            if odd:
                raise InputFileError(f"{shown(source)}: missing or unknown arrays: {', '.join(sorted(odd))}; run again")
            arrays = {name: np.asarray(archive[name]) for name in sorted(names)}
    for name, array in arrays.items():
        wanted = "i" if name.endswith("numbers") or name == "supercell_matrix" else "f"
        if array.dtype.kind != wanted:
            raise InputFileError(f"{shown(source)}: {name} holds {array.dtype}; run phonons again")
    return arrays


def _force_constants(
    document: Mapping[str, Any], arrays: Mapping[str, np.ndarray[Any, Any]], source: Path
) -> tuple[ForceConstants, ForceConstants | None]:
    cells = {
        cell: Crystal(
            title=entry(document, f"{cell}_title", str, source), **{name: arrays[f"{cell}.{name}"] for name in _CRYSTAL}
        )
        for cell in ("unitcell", "supercell")
    }

    def made(values: np.ndarray[Any, Any], origin: Origin) -> ForceConstants:
        return ForceConstants(
            supercell_matrix=arrays["supercell_matrix"], values_eV_per_A2=values, origin=origin, **cells
        )

    origin = origin_from_plain(entry(document, "force_constants_origin", dict, source), source)
    constants = made(arrays["force_constants"], origin)
    if "harmonic_force_constants" not in arrays:
        return constants, None
    before = origin_from_plain(entry(document, "harmonic_origin", dict, source), source)
    return constants, made(arrays["harmonic_force_constants"], before)


def _converged(document: Mapping[str, Any], source: Path) -> bool | None:
    if document.get("converged") is None:
        return None
    return bool(entry(document, "converged", bool, source))


def _whole(item: Any, kind: type, what: str, source: Path) -> dict[str, Any]:
    """Return ``item`` if it holds exactly the fields of the dataclass ``kind``."""
    names = {field.name for field in fields(kind)}
    if not isinstance(item, dict) or set(item) != names:
        raise InputFileError(f"{shown(source)}: {what} must hold {', '.join(sorted(names))}; run phonons again")
    return item


def _round(item: Any, source: Path) -> RenormalisationRound:
    found = _whole(item, RenormalisationRound, "a round", source)
    numbers = {name: entry(found, name, (int, float), source) for name in found}
    values: dict[str, Any] = {name: float(value) for name, value in numbers.items()}
    return RenormalisationRound(**(values | {name: int(numbers[name]) for name in ("index", "samples")}))


def _spectrum(
    kind: str, document: Mapping[str, Any], arrays: Mapping[str, np.ndarray[Any, Any]], source: Path
) -> Spectrum:
    marks = entry(document, kind, dict, source)
    ticks = entry(marks, "ticks", list, source)
    breaks = entry(marks, "breaks", list, source)
    return Spectrum(
        ticks=tuple((float(distance), str(label)) for distance, label in ticks),
        breaks=tuple(int(index) for index in breaks),
        **{name: arrays[f"{kind}.{name}"] for name in _SPECTRUM},
    )


def _audit(document: Mapping[str, Any], source: Path) -> PhononAudit | None:
    if document.get("audit") is None:
        return None
    found = _whole(entry(document, "audit", dict, source), PhononAudit, "the audit", source)
    modes = tuple(_imaginary(item, source) for item in entry(found, "imaginary", list, source))
    kinds = {"operations": int, "crystal_operations": int, "primitive_cells": int, "positive_definite": bool}
    values: dict[str, Any] = {}
    for name in found:
        if name == "sensitivity_THz" and found[name] is None:
            values[name] = None
        elif name != "imaginary":
            kind = kinds.get(name, float)
            values[name] = kind(entry(found, name, (int, float) if kind is float else kind, source))
    return PhononAudit(**values, imaginary=modes)


def _imaginary(item: Any, source: Path) -> ImaginaryModes:
    found = _whole(item, ImaginaryModes, "imaginary modes", source)
    q = [float(component) for component in entry(found, "q", list, source)]
    longitudinal = found["longitudinal"]
    return ImaginaryModes(
        q=(q[0], q[1], q[2]),
        label=entry(found, "label", str, source),
        lowest_THz=float(entry(found, "lowest_THz", (int, float), source)),
        character=tuple((str(symbol), float(share)) for symbol, share in entry(found, "character", list, source)),
        longitudinal=None if longitudinal is None else float(entry(found, "longitudinal", (int, float), source)),
        **{name: int(entry(found, name, int, source)) for name in ("equivalents", "count", "degeneracy")},
    )


def _properties(
    document: Mapping[str, Any], arrays: Mapping[str, np.ndarray[Any, Any]], source: Path
) -> PhononProperties | None:
    if document.get("properties") is None:
        return None
    found = entry(document, "properties", dict, source)
    mesh = [int(number) for number in entry(found, "mesh", list, source)]
    return PhononProperties(
        mesh=(mesh[0], mesh[1], mesh[2]),
        atoms=entry(found, "atoms", int, source),
        species=tuple(str(name) for name in entry(found, "species", list, source)),
        displacement_symbols=tuple(str(name) for name in entry(found, "displacement_symbols", list, source)),
        left_out=float(entry(found, "left_out", (int, float), source)),
        **{name: arrays[f"properties.{name}"] for name in _PROPERTIES},
    )
