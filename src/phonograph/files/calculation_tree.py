"""A folder tree of static calculations as a set with labels, whichever program they are of.

A program's module reads one folder into a :class:`TreeSample`; here stands what is the same for all: which folders
there are, that they are of one level of theory, and how samples become configurations and labels.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from phonograph.band_edges import CBM, DIRECT_GAP, GAP, VBM, band_edges
from phonograph.errors import InputFileError
from phonograph.files.safety import listed, shown
from phonograph.files.structures import read_structure
from phonograph.files.user_data import MAX_FILES, natural_order, structure_fingerprint
from phonograph.files.vasp_sites import displacements_from
from phonograph.files.vasp_structures_info import StructuresInfo, read_structures_info
from phonograph.types import PROPERTY_UNITS, Bands, Configurations, Crystal, FloatArray, LabelColumn, Labels, Origin

DEEPEST_TREE = 8
"""Levels of folders that are looked through."""

ENERGY, STRESS = "energy_eV_per_atom", "hydrostatic_stress_GPa"
COLUMNS = (ENERGY, GAP, DIRECT_GAP, VBM, CBM, STRESS)
_SAME = 6e-5
"""Numbers of the level of theory that were printed with four decimals differ by less than this."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Calculated:
    """What a finished calculation says of itself besides structure and results.

    Attributes
    ----------
    theory
        Functional, cutoffs, potentials, …, by name; empty text where the files do not tell.
    k_points, mesh
        Number of k points that were computed, and of those of the whole mesh; 0 where not told.
    version
        Of the program.
    """

    theory: Mapping[str, str | float]
    k_points: int
    mesh: int
    version: str


@dataclass(frozen=True, kw_only=True, eq=False)
class TreeSample:
    """One folder: its structure, and its calculation or why there is none.

    Attributes
    ----------
    name
        Path of the folder below the tree.
    crystal
        Structure.
    files
        SHA-256 of each file that was read, by name.
    calculated
        None where there is no finished calculation.
    failure
        Why values are missing; empty where none is.
    values
        Labels by column.
    left_aside
        Outputs of the folder that are of other calculations than the sample's.
    """

    name: str
    crystal: Crystal
    files: Mapping[str, str]
    calculated: Calculated | None = None
    failure: str = ""
    values: Mapping[str, float] = field(default_factory=dict)
    left_aside: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Tree:
    """The samples of a tree, and the folders that hold no readable structure.

    Attributes
    ----------
    root
        The folder above all.
    samples, left_out
        In natural order of their paths.
    lacking
        What the folders that are left out do not hold.
    """

    root: Path
    samples: Sequence[TreeSample]
    left_out: Sequence[str]
    lacking: str = "no readable structure"


def walk(root: Path, program: str) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Yield every folder from ``root`` down with its folders and files; links and hidden folders are not entered.

    Folders that the caller takes off the list are not entered either.

    Raises
    ------
    InputFileError
        Where ``root`` is no folder.
    """
    if not root.is_dir():
        raise InputFileError(f"{shown(root)} is not a folder; expected one with a folder per {program} calculation")
    # Links are not followed: a tree may link to itself.
    for place, below, files in os.walk(root):
        depth = len(Path(place).relative_to(root).parts)
        below[:] = [] if depth >= DEEPEST_TREE else [one for one in below if not one.startswith(".")]
        yield Path(place), below, files


def read_tree(
    root: Path,
    folders: Sequence[Path],
    program: str,
    read: Callable[[Path, str], TreeSample | None],
    *,
    lacking: str = "no readable structure",
) -> Tree:
    """Read each folder as a sample, or leave it out where ``read`` returns None.

    Raises
    ------
    InputFileError
        Too many folders, none with a finished calculation, or two levels of theory.
    """
    if len(folders) > MAX_FILES:
        raise InputFileError(f"{shown(root)} holds {len(folders)} calculations; at most {MAX_FILES} are read at once")
    samples: list[TreeSample] = []
    left_out: list[str] = []
    for place in sorted(folders, key=lambda place: natural_order(place.relative_to(root).as_posix())):
        relative = place.relative_to(root).as_posix()
        sample = read(place, relative)
        if sample is None:
            left_out.append(relative)
        else:
            samples.append(sample)
    if not any(sample.calculated for sample in samples):
        why = next((f": {sample.failure}" for sample in samples), "")
        raise InputFileError(f"{shown(root)} holds no finished static {program} calculation{why}")
    _check_one_theory(samples)
    return Tree(root=root, samples=samples, left_out=left_out, lacking=lacking)


def _check_one_theory(samples: Sequence[TreeSample]) -> None:
    """Refuse a tree of several functionals, cutoffs, smearings or potentials: its labels do not compare."""
    first: dict[str, tuple[str | float, str]] = {}
    for sample in samples:
        for tag, value in (sample.calculated.theory if sample.calculated else {}).items():
            # No file tells everything, so only what both tell is compared.
            if value == "":
                continue
            known, folder = first.setdefault(tag, (value, sample.name))
            if not same_setting(known, value):
                raise InputFileError(
                    f"two levels of theory in one tree: {tag} is {written(known)} in {shown(folder)} and "
                    f"{written(value)} in {shown(sample.name)}; import each as a set of its own"
                )


def same_setting(one: str | float, other: str | float) -> bool:
    """Whether two values of a setting are the same, numbers within what is printed of them."""
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= _SAME
    return one == other


def written(value: str | float) -> str:
    """Return a setting as a sentence holds it."""
    return f"{value:g}" if isinstance(value, float) else shown(value)


def values_of(
    atoms: int, energy_eV: float, stress_GPa: FloatArray | None, bands: Bands | None
) -> tuple[dict[str, float], str]:
    """Return what a calculation gives, and why edges are missing where they are.

    Parameters
    ----------
    atoms, energy_eV
        Number of atoms, and the energy of the cell, eV.
    stress_GPa
        Shape (3, 3), positive = tensile; None where it was not computed.
    bands
        Eigenvalues; None where the files hold none.
    """
    values = {ENERGY: energy_eV / atoms}
    if stress_GPa is not None:
        values[STRESS] = float(np.trace(stress_GPa)) / 3.0
    if bands is None:
        return values, f"{GAP}: the eigenvalues were not printed"
    edges = band_edges(bands)
    return values | dict(edges.values), f"{GAP}: {edges.failure}: {edges.message}" if edges.failure else ""


def mesh_points(k_points: FloatArray, k_weights: FloatArray) -> int:
    """Return the number of points of the whole mesh: that of its star of one, Γ, else those that are listed."""
    at_gamma = np.abs(k_points).max(axis=1) < 1e-6
    weight = float(k_weights[at_gamma].sum() / k_weights.sum())
    return round(1.0 / weight) if weight > 0 else len(k_points)


def tree_set(
    name: str,
    tree: Tree,
    *,
    equilibrium: str | os.PathLike[str] | Crystal | None,
    groups: Sequence[str] | None,
    engine: str,
    program: str,
    settings: Mapping[str, str],
) -> tuple[Configurations, Labels]:
    """Return the samples of a tree as a set and its labels.

    Parameters
    ----------
    equilibrium, groups
        As :func:`~phonograph.files.vasp_tree.read_vasp_tree` takes them.
    engine, program, settings
        Method that all share, name of the program whose versions are told, and what else the origin holds.
    """
    reference = equilibrium if isinstance(equilibrium, Crystal) or equilibrium is None else read_structure(equilibrium)
    info = read_structures_info(tree.root)
    configurations = _configurations(name, tree.samples, reference, info, groups)
    origin = Origin(
        room="files",
        settings={"set": name, "engine": engine, **settings},
        inputs=configurations.origin.inputs,
        versions={program: ", ".join(sorted({one.calculated.version for one in tree.samples if one.calculated}))},
    )
    return configurations, _labels(configurations, tree.samples, engine, _notes(tree, info), origin)


def _configurations(
    name: str,
    samples: Sequence[TreeSample],
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


def _inputs(samples: Sequence[TreeSample], info: StructuresInfo) -> dict[str, str]:
    inputs = {f"{sample.name}/{file}": digest for sample in samples for file, digest in sample.files.items()}
    return inputs | dict(info.inputs)


def _labels(
    configurations: Configurations, samples: Sequence[TreeSample], engine: str, notes: Sequence[str], origin: Origin
) -> Labels:
    columns = [
        LabelColumn(name=column, unit=PROPERTY_UNITS[column], values=_column(samples, column), engine=engine)
        for column in COLUMNS
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
        origin=origin,
    )


def _column(samples: Sequence[TreeSample], name: str) -> FloatArray:
    return np.array([sample.values.get(name, np.nan) for sample in samples], dtype=np.float64)


def _status(sample: TreeSample, columns: Sequence[str]) -> str:
    if sample.failure:
        return f"failed: {sample.name}: {sample.failure}"
    missing = [name for name in columns if name not in sample.values]
    return f"missing: {', '.join(missing)}" if missing else "ok"


def _notes(tree: Tree, info: StructuresInfo) -> list[str]:
    notes, samples = list(info.notes), tree.samples
    if tree.left_out:
        count = len(tree.left_out)
        notes.append(f"{count} folders below {shown(tree.root)} hold {tree.lacking}: {listed(tree.left_out)}")
    aside = [f"{sample.name}/{file}" for sample in samples for file in sample.left_aside]
    if aside:
        notes.append(f"{len(aside)} outputs beside static ones were left aside, as they are not: {listed(aside)}")
    told = [(len(sample.crystal), sample.calculated) for sample in samples if sample.calculated]
    sizes = Counter((atoms, one.k_points, one.mesh) for atoms, one in told if one.mesh)
    if len({points for _, _, points in sizes}) > 1:
        found = ", ".join(f"{times} with {points}" for (_, _, points), times in sorted(sizes.items()))
        notes.append(f"k meshes differ: {found} points; labels of different meshes compare only where both converged")
    notes.append("vbm_eV and cbm_eV are raw eigenvalues: their zero of energy is not shared between cells")
    return notes
