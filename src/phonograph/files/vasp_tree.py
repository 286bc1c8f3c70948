"""A folder tree of static VASP calculations, such as the authors' scripts leave, as a set with labels."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from phonograph.errors import ConfigurationError, InputFileError
from phonograph.files.calculation_tree import (
    Calculated,
    Tree,
    TreeSample,
    mesh_points,
    read_tree,
    tree_set,
    values_of,
    walk,
)
from phonograph.files.safety import check_name, named_within, sha256_of
from phonograph.files.structures import read_structure
from phonograph.files.vasp_folder import SAME_A, SUFFIXES, read_vasp_folder
from phonograph.files.vasp_run import VaspRun, distance_A
from phonograph.types import Configurations, Crystal, Labels

ENERGIES = ("sigma0", "free")
_OUTPUTS = ("vasprun.xml", "OUTCAR", "EIGENVAL")
_STRUCTURES = ("POSCAR", "CONTCAR")
_METHOD = ("ENCUT", "GGA", "METAGGA", "LHFCALC", "AEXX", "HFSCREEN", "ISMEAR", "SIGMA", "ISPIN", "LDAU", "IVDW")


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
    tree = read_tree(root, _folders(root), "VASP", lambda place, relative: _sample(place, relative, energy))
    return tree_set(
        name,
        tree,
        equilibrium=equilibrium,
        groups=groups,
        engine=_engine(tree, energy),
        program="VASP",
        settings={"energy": energy},
    )


def _folders(root: Path) -> list[Path]:
    names = {name + suffix for name in (*_OUTPUTS, *_STRUCTURES) for suffix in SUFFIXES}
    return [place for place, _, files in walk(root, "VASP") if names & set(files)]


def _sample(place: Path, relative: str, energy: str) -> TreeSample | None:
    crystal, files = _own_structure(place)
    try:
        found = read_vasp_folder(place)
        run = found.run
        if crystal is not None and not distance_A(crystal, run.crystal) <= SAME_A:
            both = f"{next(iter(files))} and {Path(run.source).name}"
            raise InputFileError(f"{both} disagree: one of them is of another calculation")
        if run.not_converged:
            raise InputFileError(f"not converged: {run.not_converged}")
        total = run.energy_sigma0_eV if energy == "sigma0" else run.free_energy_eV
        values, failure = values_of(len(run.crystal), total, run.stress_GPa, run.bands)
    except InputFileError as error:
        if crystal is None:
            return None
        return TreeSample(name=relative, crystal=crystal, files=files, failure=named_within(str(error), place))
    return TreeSample(
        name=relative,
        crystal=run.crystal,
        files=files | found.files,
        calculated=_calculated(run),
        failure=failure,
        values=values,
    )


def _own_structure(place: Path) -> tuple[Crystal | None, dict[str, str]]:
    """Return the structure of POSCAR, else CONTCAR, and the hash of the file; None where none can be read."""
    for name in (name + suffix for name in _STRUCTURES for suffix in SUFFIXES):
        if (place / name).is_file():
            with contextlib.suppress(InputFileError):
                return read_structure(place / name), {name: sha256_of(place / name)}
    return None, {}


def _calculated(run: VaspRun) -> Calculated:
    # OUTCAR does not print every tag.
    tags = {tag: _plain(run.settings.get(tag, "")) for tag in _METHOD}
    potentials = {f"potential {title.split()[1].split('_')[0]}": title for title in run.titles}
    return Calculated(
        theory={**tags, **potentials},
        k_points=len(run.k_points),
        mesh=mesh_points(run.k_points, run.k_weights),
        version=run.version,
    )


def _plain(value: str) -> str:
    try:
        return f"{float(value):g}"
    except ValueError:
        return value.strip().upper()


def _engine(tree: Tree, energy: str) -> str:
    """Return the method that all runs share: tags of the first, which the others were compared with."""
    runs = [sample.calculated for sample in tree.samples if sample.calculated]
    theory = runs[0].theory
    tags = "; ".join(f"{tag} = {theory[tag]}" for tag in _METHOD if theory[tag])
    titles = sorted({str(value) for run in runs for tag, value in run.theory.items() if tag not in _METHOD})
    return f"VASP {runs[0].version}; {tags}; {', '.join(titles)}; energy {energy}; raw eigenvalues; imported"
