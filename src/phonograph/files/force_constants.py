"""Force constants from phonopy's files, expanded to the full supercell, in eV/Å²."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phonograph.errors import InputFileError
from phonograph.files.force_files import (
    RawForceConstants,
    check_size,
    force_file_format,
    read_force_constants_hdf5,
    read_force_constants_text,
    read_force_sets,
)
from phonograph.files.force_fit import force_constants_from_dataset
from phonograph.files.force_frames import read_force_frames
from phonograph.files.phonopy_yaml import (
    CalculatorUnits,
    PhonopyFile,
    calculator_units,
    crystal_of,
    phonopy_cell,
    read_phonopy_yaml,
)
from phonograph.files.safety import MAX_SET_BYTES, check_readable, reading, sha256_of, shown
from phonograph.files.structures import read_structure, structure_format
from phonograph.types import Crystal, FloatArray, ForceConstants, Origin

MAX_SUPERCELL = 2000
"""Largest supercell, atoms: its full force constants take 288 MB."""

MAX_FRAME = 50_000
"""Largest number of atoms phonopy may lay out while it cuts a skewed supercell."""

SAME_A = 0.01
"""How far a structure may be from the unit cell of a phonopy YAML file and still be the same, Å."""

_BESIDE = ("phonopy_disp.yaml", "phonopy.yaml", "phonopy_params.yaml")


@dataclass(frozen=True, kw_only=True, eq=False)
class _Setting:
    """What a file of force constants refers to; matrices in phonopy's convention (columns)."""

    cell: Any
    title: str
    supercell_matrix: NDArray[np.int64]
    primitive_matrix: str | FloatArray
    units: CalculatorUnits
    file: PhonopyFile | None
    inputs: tuple[Path, ...]


def read_force_constants(
    path: str | os.PathLike[str],
    *,
    structure: Crystal | str | os.PathLike[str] | None = None,
    supercell_matrix: ArrayLike | None = None,
    primitive_matrix: str | ArrayLike = "auto",
    calculator: str | None = None,
) -> ForceConstants:
    """Read force constants, or displacements and forces from which phonopy makes them.

    Read are phonopy.yaml and phonopy_params.yaml (also ``.xz``, ``.gz``) with force constants or with
    displacements and forces, FORCE_CONSTANTS and force_constants.hdf5 (full and compact), FORCE_SETS (types 1 and
    2), and displaced supercells with forces as extended XYZ (``forces``, ``REF_forces`` or ``force``, eV/Å; a frame
    without displacements gives the forces at rest, which are taken off).  Where displacements and forces are given,
    force constants are made as ``phonopy.load`` makes them: finite differences for type 1, symfc for type 2 and
    extended XYZ, both symmetrised by symfc's projector.

    Lattice vectors are rows: supercell lattice = ``supercell_matrix`` @ unit-cell lattice, which is the transpose
    of phonopy's DIM (a diagonal DIM is the same in both).

    Parameters
    ----------
    path
        The file; the format follows from its name.
    structure
        The unit cell, as a :class:`Crystal` or a file.  A phonopy YAML file (``path`` itself, else ``structure``,
        else phonopy_disp.yaml, phonopy.yaml or phonopy_params.yaml beside ``path``) brings unit cell, masses,
        supercell and units along; a structure or supercell given besides must be the same.
    supercell_matrix
        Integer rows, shape (3, 3), or three numbers for a diagonal matrix; needed where no YAML file gives it.
    primitive_matrix
        ``"auto"`` (from the file, else by symmetry), a centring letter (P, F, I, A, C, R), or rows, shape (3, 3):
        primitive lattice = ``primitive_matrix`` @ unit-cell lattice.  It matters for compact force constants only.
    calculator
        phonopy's name of the code whose units the file has (default: the YAML file's, else VASP's Å and eV).

    Returns
    -------
    ForceConstants
        Full, eV/Å², atoms in phonopy's order.  ``origin.settings`` holds ``kind``, ``layout``, ``calculator``,
        ``nac`` (Born charges are reported, not used: they do not enter the sampler), and how well the acoustic
        sum rule and the symmetry Φ_{iα,jβ} = Φ_{jβ,iα} hold: ``largest_drift_eV_per_A2`` and
        ``largest_asymmetry_eV_per_A2``; for type 1 also ``symmetrisation_eV_per_A2``, the largest change that
        symmetrising made: noise of the forces, or forces in another order of atoms.

    Raises
    ------
    InputFileError
        In one sentence: missing, truncated or hostile file, unknown format or unit, force constants that do not
        fit the supercell, incomplete displacements, values that are not finite.

    Notes
    -----
    A. Togo et al., J. Phys.: Condens. Matter 35, 353001 (2023), doi:10.1088/1361-648X/acd831 (phonopy);
    A. Seko and A. Togo, Phys. Rev. B 110, 214302 (2024), doi:10.1103/PhysRevB.110.214302 (symfc).
    """
    kind = force_file_format(path)
    setting = _setting(kind, path, structure, supercell_matrix, primitive_matrix, calculator)
    phonon = _phonon(setting, setting.primitive_matrix, path)
    _check_order(phonon, setting)
    values, held = _values(kind, path, setting, phonon)
    if not np.isfinite(values).all():
        raise InputFileError(f"{shown(path)} gives {int((~np.isfinite(values)).sum())} NaN or infinite force constants")
    return _result(path, setting, phonon, values, held)


def _setting(
    kind: str,
    path: str | os.PathLike[str],
    structure: Crystal | str | os.PathLike[str] | None,
    supercell_matrix: ArrayLike | None,
    primitive_matrix: str | ArrayLike,
    calculator: str | None,
) -> _Setting:
    file = _yaml_file(kind, path, structure)
    named = None if structure is None or isinstance(structure, Crystal) else Path(structure)
    crystal = structure if isinstance(structure, Crystal) else read_structure(named) if named else None
    if file is not None:
        if crystal is not None:
            _check_same(file, crystal)
        return _from_yaml(file, supercell_matrix, primitive_matrix, calculator)
    check_readable(path, MAX_SET_BYTES)
    if crystal is None:
        raise InputFileError(
            f"{shown(path)} does not say which crystal it belongs to; give the structure and the supercell matrix, "
            f"or put {_BESIDE[0]} beside it"
        )
    if supercell_matrix is None:
        raise InputFileError(f"{shown(path)} does not say what its supercell is; give the supercell matrix")
    return _Setting(
        cell=phonopy_cell(crystal),
        title=crystal.title,
        supercell_matrix=integer_rows(supercell_matrix).T,
        primitive_matrix=_primitive(primitive_matrix),
        units=calculator_units(calculator, shown(path)),
        file=None,
        inputs=() if named is None else (named,),
    )


def _yaml_file(
    kind: str, path: str | os.PathLike[str], structure: Crystal | str | os.PathLike[str] | None
) -> PhonopyFile | None:
    """Return the phonopy YAML file that describes the calculation, if there is one."""
    if kind == "phonopy":
        return read_phonopy_yaml(path)
    if structure is not None and not isinstance(structure, Crystal) and structure_format(structure) == "phonopy":
        return read_phonopy_yaml(structure)
    candidates = [Path(path).parent / (name + suffix) for name in _BESIDE for suffix in ("", ".xz", ".gz")]
    return next((read_phonopy_yaml(candidate) for candidate in candidates if candidate.is_file()), None)


def _check_same(file: PhonopyFile, crystal: Crystal) -> None:
    """Refuse a structure that is not the unit cell of the YAML file: force constants belong to one lattice."""
    known = file.crystal
    same = len(known) == len(crystal) and bool((known.numbers == crystal.numbers).all())
    if same:
        delta = crystal.fractional - known.fractional
        moved = (delta - np.round(delta)) @ known.cell_A
        same = bool((np.abs(moved) < SAME_A).all() and (np.abs(known.cell_A - crystal.cell_A) < SAME_A).all())
    if not same:
        raise InputFileError(
            f"{shown(file.path)} is of another unit cell ({known.formula}, {known.volume_A3:.3f} Å³) than the "
            f"structure given ({crystal.formula}, {crystal.volume_A3:.3f} Å³); use the one that phonopy was run with"
        )


def _from_yaml(
    file: PhonopyFile,
    supercell_matrix: ArrayLike | None,
    primitive_matrix: str | ArrayLike,
    calculator: str | None,
) -> _Setting:
    place = shown(file.path)
    if calculator is not None and calculator != file.units.calculator:
        raise InputFileError(f"{place} is of calculator {file.units.calculator!r}, not {calculator!r}; leave it out")
    matrix = file.supercell_matrix
    if matrix is None and supercell_matrix is None:
        raise InputFileError(f"{place} does not say what its supercell is; give the supercell matrix")
    if matrix is None:
        matrix = integer_rows(supercell_matrix).T
    elif supercell_matrix is not None and (integer_rows(supercell_matrix).T != matrix).any():
        raise InputFileError(
            f"{place} has the supercell {matrix.T.tolist()} (rows), not {integer_rows(supercell_matrix).tolist()}; "
            "give the supercell that phonopy was run with"
        )
    primitive = _primitive(primitive_matrix)
    if isinstance(primitive, str) and primitive == "auto" and file.primitive_matrix is not None:
        primitive = np.asarray(file.primitive_matrix, dtype=np.float64)
    return _Setting(
        cell=file.cell,
        title=file.crystal.title,
        supercell_matrix=np.asarray(matrix, dtype=np.int64),
        primitive_matrix=primitive,
        units=file.units,
        file=file,
        inputs=(file.path,),
    )


def integer_rows(matrix: ArrayLike | None) -> NDArray[np.int64]:
    """Return a supercell matrix as integer rows, shape (3, 3), from three numbers or rows."""
    try:
        values = np.asarray(matrix, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputFileError(f"the supercell matrix must hold integers; got {matrix!r}") from error
    values = np.diag(values) if values.shape == (3,) else values
    if values.shape != (3, 3) or not np.isfinite(values).all() or (values != np.round(values)).any():
        raise InputFileError(f"the supercell matrix must be 3 or 3 × 3 integers; got {np.asarray(matrix).tolist()}")
    return np.asarray(values).astype(np.int64)


def _primitive(matrix: str | ArrayLike) -> str | FloatArray:
    if isinstance(matrix, str):
        if matrix not in ("auto", "P", "F", "I", "A", "C", "R"):
            raise InputFileError(f"the primitive matrix must be auto, P, F, I, A, C, R or 3 × 3 rows; got {matrix!r}")
        return matrix
    values = np.asarray(matrix, dtype=np.float64)
    if values.shape != (3, 3) or not np.isfinite(values).all():
        raise InputFileError(f"the primitive matrix must be a letter or 3 × 3 rows; got shape {values.shape}")
    return np.ascontiguousarray(values.T)


def _phonon(setting: _Setting, primitive: str | FloatArray, path: str | os.PathLike[str]) -> Any:
    return phonopy_object(setting.cell, setting.supercell_matrix, primitive, shown(path))


def phonopy_object(
    cell: Any,
    supercell_matrix: NDArray[np.int64],
    primitive: str | FloatArray,
    place: str,
    calculator: str | None = None,
) -> Any:
    """Return phonopy's object, after checking that the supercell is one and not too large.

    Parameters
    ----------
    cell
        The unit cell as phonopy's ``PhonopyAtoms``.
    supercell_matrix, primitive
        phonopy's convention (columns).
    place
        File or folder, for messages.
    calculator
        phonopy's name of the code whose units the cell has; None: Å.
    """
    matrix = supercell_matrix.astype(np.float64)
    size = round(float(np.linalg.det(matrix))) if np.abs(matrix).max() < 1e4 else 10**9
    frame = float(np.abs(matrix).sum(axis=1).prod()) * len(cell)
    if size < 1:
        raise InputFileError(
            f"{place}: the supercell matrix must have a positive determinant; got {size} from "
            f"{supercell_matrix.T.tolist()} (rows)"
        )
    if size * len(cell) > MAX_SUPERCELL or frame > MAX_FRAME:
        raise InputFileError(
            f"{place}: the supercell {supercell_matrix.T.tolist()} (rows) of {len(cell)} atoms "
            f"has {size * len(cell)}; at most {MAX_SUPERCELL} (and no extreme shear) are accepted"
        )
    with reading(place, "a phonopy calculation"), warnings.catch_warnings():
        # phonopy tells every user of version 4 that 'auto' is the new default; it is asked for by name here.
        warnings.filterwarnings("ignore", message="primitive_matrix defaulted to 'auto'")
        # A supercell may have fewer symmetries than its crystal; everything here is done in the supercell.
        warnings.filterwarnings("ignore", message="Warning: Point group symmetries of supercell and primitive")
        from phonopy import Phonopy

        phonon = Phonopy(cell, supercell_matrix, primitive_matrix=primitive, calculator=calculator, log_level=0)
    if len(phonon.supercell) != size * len(cell):
        raise InputFileError(
            f"{place}: phonopy makes {len(phonon.supercell)} atoms of a supercell that should have "
            f"{size * len(cell)}; check the structure"
        )
    return phonon


def announced_calculation(path: str | os.PathLike[str]) -> tuple[PhonopyFile, Any]:
    """Return phonopy_disp.yaml and phonopy's object (Å, eV) of the supercell that it describes."""
    file = read_phonopy_yaml(path)
    setting = _from_yaml(file, None, "auto", None)
    phonon = _phonon(setting, setting.primitive_matrix, path)
    _check_order(phonon, setting)
    return file, phonon


def _check_order(phonon: Any, setting: _Setting) -> None:
    """Compare the supercell written in the file with phonopy's, atom by atom: force constants follow its order."""
    written = setting.file.supercell if setting.file else None
    if written is None:
        return
    assert setting.file is not None
    same = len(written) == len(phonon.supercell) and list(written.symbols) == list(phonon.supercell.symbols)
    if same:
        delta = written.scaled_positions - phonon.supercell.scaled_positions
        same = bool((np.abs((delta - np.round(delta)) @ phonon.supercell.cell) < 0.01).all())
    if not same:
        raise InputFileError(
            f"{shown(setting.file.path)}: the supercell of {len(written)} atoms in the file is not unit cell times "
            f"supercell matrix in phonopy's order ({len(phonon.supercell)} atoms); write the file again with phonopy"
        )


def _values(
    kind: str, path: str | os.PathLike[str], setting: _Setting, phonon: Any
) -> tuple[FloatArray, dict[str, Any]]:
    """Return full force constants in eV/Å², and what the file held, as entries of the origin."""
    atoms, file = len(phonon.supercell), setting.file
    if kind == "force_sets":
        dataset = read_force_sets(path, atoms, setting.units)
        return force_constants_from_dataset(phonon, dataset, shown(path), announced=file.dataset if file else None)
    if kind == "extxyz":
        frames, rest = read_force_frames(path, crystal_of(phonon.supercell, shown(path), setting.title))
        values, _ = force_constants_from_dataset(phonon, frames, shown(path), announced=None)
        return values, {"layout": f"displaced supercells, forces at rest {rest}"}
    if kind == "force_constants":
        raw = read_force_constants_text(path, atoms, setting.units)
    elif kind == "hdf5":
        raw = read_force_constants_hdf5(path, atoms, setting.units)
    else:
        assert file is not None
        if file.force_constants_eV_per_A2 is None:
            if file.dataset is None:
                raise InputFileError(f"{shown(path)} holds neither force constants nor forces; give a file that does")
            return force_constants_from_dataset(phonon, file.dataset, shown(path), announced=None)
        check_size(file.force_constants_eV_per_A2.shape, atoms, shown(path))
        raw = RawForceConstants(values_eV_per_A2=file.force_constants_eV_per_A2, rows=None)
    if len(raw.values_eV_per_A2) == atoms:
        if raw.rows is not None and (raw.rows != np.arange(atoms)).any():
            raise InputFileError(f"{shown(path)} lists the atoms out of order; write it again with phonopy")
        return raw.values_eV_per_A2, {"layout": "full"}
    return _expanded(raw, phonon, setting, path), {"layout": "compact"}


def _expanded(raw: RawForceConstants, phonon: Any, setting: _Setting, path: str | os.PathLike[str]) -> FloatArray:
    """Expand compact force constants by the translations of the primitive cell, with phonopy's own function."""
    from phonopy.harmonic.force_constants import compact_fc_to_full_fc

    candidates = [phonon]
    if isinstance(setting.primitive_matrix, str) and setting.primitive_matrix == "auto":
        # Before version 4 phonopy's default was the unit cell itself; the number of rows tells which it was.
        candidates.append(_phonon(setting, "P", path))
    for candidate in candidates:
        rows = candidate.primitive.p2s_map
        if len(rows) == len(raw.values_eV_per_A2) and (raw.rows is None or (raw.rows == rows).all()):
            with reading(path, "compact force constants"):
                full = compact_fc_to_full_fc(candidate.primitive, np.ascontiguousarray(raw.values_eV_per_A2))
            return np.asarray(full, dtype=np.float64)
    sizes = " or ".join(str(len(candidate.primitive)) for candidate in candidates)
    raise InputFileError(
        f"{shown(path)} holds compact force constants of {len(raw.values_eV_per_A2)} atoms, which are not those of the "
        f"primitive cell ({sizes} atoms); give the primitive matrix that phonopy was run with"
    )


def _result(
    path: str | os.PathLike[str], setting: _Setting, phonon: Any, values: FloatArray, held: dict[str, Any]
) -> ForceConstants:
    import phonopy

    nac = (setting.file is not None and setting.file.nac) or (Path(path).parent / "BORN").is_file()
    files = dict.fromkeys((Path(path), *setting.inputs))
    return ForceConstants(
        unitcell=crystal_of(setting.cell, shown(path), setting.title),
        supercell_matrix=setting.supercell_matrix.T,
        supercell=crystal_of(phonon.supercell, shown(path), setting.title),
        values_eV_per_A2=values,
        origin=Origin(
            room="files",
            settings={
                "kind": force_file_format(path),
                **held,
                "calculator": setting.units.calculator,
                "nac": "present, not used" if nac else "absent",
                "largest_drift_eV_per_A2": float(np.abs(values.sum(axis=1)).max()),
                "largest_asymmetry_eV_per_A2": float(np.abs(values - values.transpose(1, 0, 3, 2)).max()),
            },
            inputs={file.name: sha256_of(file) for file in files},
            versions={"phonopy": str(phonopy.__version__)},
        ),
    )
