"""A folder tree of static VASP calculations, such as the authors' scripts leave, as a set with labels."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from phonograph.band_edges import CBM, DIRECT_GAP, GAP, VBM, band_edges
from phonograph.errors import ConfigurationError, InputFileError
from phonograph.files.safety import check_name, listed, named_within, sha256_of, shown
from phonograph.files.structures import read_structure
from phonograph.files.user_data import MAX_FILES, natural_order, structure_fingerprint
from phonograph.files.vasp_folder import SAME_A, SUFFIXES, read_vasp_folder
from phonograph.files.vasp_run import VaspRun, distance_A
from phonograph.files.vasp_sites import displacements_from
from phonograph.files.vasp_structures_info import StructuresInfo, read_structures_info
from phonograph.types import PROPERTY_UNITS, Configurations, Crystal, FloatArray, LabelColumn, Labels, Origin

DEEPEST_TREE = 8
"""Levels of folders that are looked through."""

ENERGIES = ("sigma0", "free")
_ENERGY, _STRESS = "energy_eV_per_atom", "hydrostatic_stress_GPa"
_COLUMNS = (_ENERGY, GAP, DIRECT_GAP, VBM, CBM, _STRESS)
_OUTPUTS = ("vasprun.xml", "OUTCAR", "EIGENVAL")
_STRUCTURES = ("POSCAR", "CONTCAR")
_METHOD = ("ENCUT", "GGA", "METAGGA", "LHFCALC", "AEXX", "HFSCREEN", "ISMEAR", "SIGMA", "ISPIN", "LDAU", "IVDW")


@dataclass(frozen=True, kw_only=True, eq=False)
class _Sample:
    """One folder: its structure, and its calculation or why there is none."""

    name: str
    crystal: Crystal
    files: Mapping[str, str]
    run: VaspRun | None = None
    failure: str = ""
    values: Mapping[str, float] = field(default_factory=dict)


def read_vasp_tree(
    folder: str | os.PathLike[str],
    name: str = "vasp",
    *,
    equilibrium: str | os.PathLike[str] | Crystal | None = None,
    energy: str = "sigma0",
    groups: Sequence[str] | None = None,
) -> tuple[Configurations, Labels]:
    """Read every static VASP calculation below ``folder``.

    Each folder that holds vasprun.xml, OUTCAR, EIGENVAL (plain, ``.gz`` or ``.xz``), POSCAR or CONTCAR is one sample,
    in natural order of their paths.  A calculation that is unfinished, damaged, not converged or not static is a named
    hole whose structure comes from POSCAR, else CONTCAR; folders without a readable structure are left out and counted.
    Energy, stress (ASE's sign) and band edges (by counting electrons) are those of
    :class:`~phonograph.files.vasp_run.VaspRun`.  A POSCAR beside an output must hold the same structure.

    In the layout of the authors' scripts, ``structures_info.txt`` in ``folder`` or beside it gives temperature,
    amplitude and Br concentration (``fraction``) of ``struc-<number>``.

    Parameters
    ----------
    name
        Name of the set; samples are called ``<name>-<position>``; ``origin.settings["folders"]`` names their folders.
    equilibrium
        Structure at rest, as a file or a crystal, to which displacements refer; None: displacements are unknown.
    energy
        ``"sigma0"`` (extrapolated to zero smearing) or ``"free"``.
    groups
        One group per sample; default: exact copies of a structure share one.

    Returns
    -------
    tuple of Configurations and Labels
        Columns ``energy_eV_per_atom``, ``band_gap_eV``, ``direct_gap_eV``, ``vbm_eV``, ``cbm_eV``,
        ``hydrostatic_stress_GPa``.

    Raises
    ------
    InputFileError
        No calculation, two levels of theory in one tree, or an equilibrium structure that does not fit.
    """
    check_name(name, "the name of a set")
    if energy not in ENERGIES:
        raise ConfigurationError(f"energy must be one of {', '.join(ENERGIES)}; got {energy!r}")
    root = Path(folder)
    samples, left_out = _samples(root, energy)
    _check_one_method(samples)
    reference = equilibrium if isinstance(equilibrium, Crystal) or equilibrium is None else read_structure(equilibrium)
    info = read_structures_info(root)
    configurations = _configurations(name, samples, reference, info, groups)
    return configurations, _labels(configurations, samples, energy, _notes(root, samples, left_out, info))


def _samples(root: Path, energy: str) -> tuple[list[_Sample], list[str]]:
    """Return the samples, and the folders that hold no readable structure."""
    samples, left_out = [], []
    for place in _folders(root):
        relative = place.relative_to(root).as_posix()
        sample = _sample(place, relative, energy)
        if sample is None:
            left_out.append(relative)
        else:
            samples.append(sample)
    if not any(sample.run for sample in samples):
        why = next((f": {sample.failure}" for sample in samples), "")
        raise InputFileError(f"{shown(root)} holds no finished static VASP calculation{why}")
    return samples, left_out


def _folders(root: Path) -> list[Path]:
    if not root.is_dir():
        raise InputFileError(f"{shown(root)} is not a folder; expected one with a folder per VASP calculation")
    names = {name + suffix for name in (*_OUTPUTS, *_STRUCTURES) for suffix in SUFFIXES}
    found = []
    # Links are not followed: a tree may link to itself.
    for place, below, files in os.walk(root):
        depth = len(Path(place).relative_to(root).parts)
        below[:] = [] if depth >= DEEPEST_TREE else [one for one in below if not one.startswith(".")]
        if names & set(files):
            found.append(Path(place))
    if len(found) > MAX_FILES:
        raise InputFileError(f"{shown(root)} holds {len(found)} calculations; at most {MAX_FILES} are read at once")
    return sorted(found, key=lambda place: natural_order(place.relative_to(root).as_posix()))


def _sample(place: Path, relative: str, energy: str) -> _Sample | None:
    crystal, files = _own_structure(place)
    try:
        found = read_vasp_folder(place)
        run = found.run
        if crystal is not None and not distance_A(crystal, run.crystal) <= SAME_A:
            both = f"{next(iter(files))} and {Path(run.source).name}"
            raise InputFileError(f"{both} disagree: one of them is of another calculation")
        if run.not_converged:
            raise InputFileError(f"not converged: {run.not_converged}")
        values, failure = _values(run, energy)
    except InputFileError as error:
        if crystal is None:
            return None
        return _Sample(name=relative, crystal=crystal, files=files, failure=named_within(str(error), place))
    files |= found.files
    return _Sample(name=relative, crystal=run.crystal, files=files, run=run, failure=failure, values=values)


def _own_structure(place: Path) -> tuple[Crystal | None, dict[str, str]]:
    """Return the structure of POSCAR, else CONTCAR, and the hash of the file; None where none can be read."""
    for name in (name + suffix for name in _STRUCTURES for suffix in SUFFIXES):
        if (place / name).is_file():
            with contextlib.suppress(InputFileError):
                return read_structure(place / name), {name: sha256_of(place / name)}
    return None, {}


def _values(run: VaspRun, energy: str) -> tuple[dict[str, float], str]:
    """Return what the calculation gives, and why edges are missing where they are."""
    total = run.energy_sigma0_eV if energy == "sigma0" else run.free_energy_eV
    values = {_ENERGY: total / len(run.crystal)}
    if run.stress_GPa is not None:
        values[_STRESS] = float(np.trace(run.stress_GPa)) / 3.0
    edges = band_edges(run.bands)
    return values | dict(edges.values), f"{GAP}: {edges.failure}: {edges.message}" if edges.failure else ""


def _check_one_method(samples: Sequence[_Sample]) -> None:
    """Refuse a tree of several functionals, cutoffs, smearings or potentials: its labels do not compare."""
    first: dict[str, tuple[str, str]] = {}
    for sample in samples:
        if sample.run is None:
            continue
        potentials = {f"potential {title.split()[1].split('_')[0]}": title for title in sample.run.titles}
        tags = {tag: _plain(sample.run.settings.get(tag, "")) for tag in _METHOD}
        for tag, value in {**tags, **potentials}.items():
            known, folder = first.setdefault(tag, (value, sample.name))
            # OUTCAR does not print every tag, so only what both print is compared.
            if known and value and known != value:
                raise InputFileError(
                    f"two levels of theory in one tree: {tag} is {known} in {shown(folder)} and {value} in "
                    f"{shown(sample.name)}; import each as a set of its own"
                )


def _plain(value: str) -> str:
    try:
        return f"{float(value):g}"
    except ValueError:
        return value.strip().upper()


def _configurations(
    name: str,
    samples: Sequence[_Sample],
    reference: Crystal | None,
    info: StructuresInfo,
    groups: Sequence[str] | None,
) -> Configurations:
    crystals = [sample.crystal for sample in samples]
    if groups is not None and len(groups) != len(samples):
        raise InputFileError(f"groups must name {len(samples)} structures; got {len(groups)}")
    first: dict[str, int] = {}
    own = [first.setdefault(structure_fingerprint(crystal), place) for place, crystal in enumerate(crystals)]
    facts = [info.of(sample.name) for sample in samples]
    folders = [sample.name for sample in samples]
    return Configurations(
        name=name,
        sampler="file",
        offsets=np.concatenate([[0], np.cumsum([len(crystal) for crystal in crystals])]),
        numbers=np.concatenate([crystal.numbers for crystal in crystals]),
        positions_A=np.concatenate([crystal.positions_A for crystal in crystals]),
        displacements_A=np.concatenate([displacements_from(reference, crystal) for crystal in crystals]),
        cells_A=np.stack([crystal.cell_A for crystal in crystals]),
        temperature_K=np.array([fact.temperature_K for fact in facts]),
        amplitude_A=np.array([fact.amplitude_A for fact in facts]),
        fraction=np.array([fact.fraction for fact in facts]),
        index=np.arange(len(samples), dtype=np.int64),
        group=tuple(groups) if groups is not None else tuple(f"{name}-{place:05d}" for place in own),
        origin=Origin(room="files", settings={"name": name, "folders": folders}, inputs=_inputs(samples, info)),
    )


def _inputs(samples: Sequence[_Sample], info: StructuresInfo) -> dict[str, str]:
    inputs = {f"{sample.name}/{file}": digest for sample in samples for file, digest in sample.files.items()}
    return inputs | dict(info.inputs)


def _labels(configurations: Configurations, samples: Sequence[_Sample], energy: str, notes: tuple[str, ...]) -> Labels:
    runs = [sample.run for sample in samples if sample.run is not None]
    engine = _engine(runs, energy)
    columns = [
        LabelColumn(name=column, unit=PROPERTY_UNITS[column], values=_column(samples, column), engine=engine)
        for column in _COLUMNS
        if any(column in sample.values for sample in samples)
    ]
    warnings = list(notes)
    for column in columns:
        missing = int(np.isnan(column.values).sum())
        if missing:
            warnings.append(f"{missing} of {len(samples)} samples of set {configurations.name!r} have no {column.name}")
    return Labels(
        sample_ids=configurations.ids,
        set_names=(configurations.name,) * len(samples),
        columns=tuple(columns),
        status=tuple(_status(sample, [column.name for column in columns]) for sample in samples),
        warnings=tuple(warnings),
        origin=Origin(
            room="files",
            settings={"set": configurations.name, "engine": engine, "energy": energy},
            inputs=configurations.origin.inputs,
            versions={"VASP": ", ".join(sorted({run.version for run in runs}))},
        ),
    )


def _engine(runs: Sequence[VaspRun], energy: str) -> str:
    """Return the method that all runs share; the first tells it, and :func:`_check_one_method` has compared."""
    settings = runs[0].settings
    tags = "; ".join(f"{tag} = {_plain(settings[tag])}" for tag in _METHOD if settings.get(tag, "").strip())
    titles = sorted({title for run in runs for title in run.titles})
    return f"VASP {runs[0].version}; {tags}; {', '.join(titles)}; energy {energy}; raw eigenvalues; imported"


def _column(samples: Sequence[_Sample], name: str) -> FloatArray:
    return np.array([sample.values.get(name, np.nan) for sample in samples], dtype=np.float64)


def _status(sample: _Sample, columns: Sequence[str]) -> str:
    if sample.failure:
        return f"failed: {sample.name}: {sample.failure}"
    missing = [name for name in columns if name not in sample.values]
    return f"missing: {', '.join(missing)}" if missing else "ok"


def _notes(root: Path, samples: Sequence[_Sample], left_out: Sequence[str], info: StructuresInfo) -> tuple[str, ...]:
    notes = list(info.notes)
    if left_out:
        notes.append(f"{len(left_out)} folders below {shown(root)} hold no readable structure: {listed(left_out)}")
    sizes = Counter((len(s.crystal), len(s.run.k_points), _points(s.run)) for s in samples if s.run is not None)
    if len({points for _, _, points in sizes}) > 1:
        found = ", ".join(f"{times} with {points}" for (_, _, points), times in sorted(sizes.items()))
        notes.append(f"k meshes differ: {found} points; labels of different meshes compare only where both converged")
    notes.append("vbm_eV and cbm_eV are raw eigenvalues: their zero of energy is not shared between cells")
    return tuple(notes)


def _points(run: VaspRun) -> int:
    """Return the number of points of the whole mesh: that of its star of one, Γ, else those that are listed."""
    at_gamma = np.abs(run.k_points).max(axis=1) < 1e-6
    weight = float(run.k_weights[at_gamma].sum() / run.k_weights.sum())
    return round(1.0 / weight) if weight > 0 else len(run.k_points)
