"""The folder of one static VASP calculation: every file that is there is read, and all must tell the same."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from phonograph.errors import InputFileError
from phonograph.files.eigenval import read_eigenval
from phonograph.files.outcar import read_static_outcar
from phonograph.files.safety import sha256_of, shown
from phonograph.files.vasp_run import VaspRun, distance_A
from phonograph.files.vasprun_static import read_static_vasprun

SUFFIXES = ("", ".gz", ".xz")
SAME_A = 1e-5
"""VASP prints positions with eight decimals of a lattice vector; those of two calculations differ by more."""

_SAME_ENERGY_EV = 1e-5
_SAME_LEVEL_EV = 1.1e-4  # four decimals in vasprun.xml and OUTCAR
_SAME_FORCE_EV_PER_A = 1e-5
_SAME_STRESS_GPA = 1e-4


@dataclass(frozen=True, kw_only=True, eq=False)
class VaspFolder:
    """A calculation, and the SHA-256 of each file that it was read from, by name."""

    run: VaspRun
    files: dict[str, str]


def find_output(folder: Path, name: str) -> Path | None:
    """Return the file called ``name`` in ``folder``, plain or packed; raises :class:`InputFileError` for several."""
    found = [folder / (name + suffix) for suffix in SUFFIXES if (folder / (name + suffix)).is_file()]
    if len(found) > 1:
        raise InputFileError(f"{shown(folder)} holds {' and '.join(path.name for path in found)}; keep one of them")
    return found[0] if found else None


def read_vasp_folder(folder: str | os.PathLike[str]) -> VaspFolder:
    """Read vasprun.xml, OUTCAR and EIGENVAL (each plain, ``.gz`` or ``.xz``) of one static calculation.

    vasprun.xml or OUTCAR must be there.  Numbers come from vasprun.xml, else from OUTCAR; eigenvalues from EIGENVAL,
    which has the most digits; what was converged from OUTCAR, which says so.  Files that contradict each other are
    refused: one of them belongs to another calculation.

    Raises
    ------
    InputFileError
        In one sentence: no such file, an unfinished or damaged one, several ionic steps, an enthalpy, a fixed
        charge density, a response calculation, or files that disagree.
    """
    place = Path(folder)
    paths = {name: find_output(place, name) for name in ("vasprun.xml", "OUTCAR", "EIGENVAL")}
    xml, outcar, eigenval = paths.values()
    if xml is None and outcar is None:
        raise InputFileError(f"{shown(place)} holds neither vasprun.xml nor OUTCAR; run VASP there, or copy them")
    runs = [read_static_vasprun(xml)] if xml is not None else []
    runs += [read_static_outcar(outcar)] if outcar is not None else []
    for run in runs:
        _check_static(run)
    if len(runs) == 2:
        _check_agreement(*runs)
    run = replace(runs[0], claims_converged=runs[-1].claims_converged)
    if eigenval is not None:
        run = _with_eigenval(run, eigenval)
    files = {path.name: sha256_of(path) for path in paths.values() if path is not None}
    return VaspFolder(run=run, files=files)


def _check_static(run: VaspRun) -> None:
    if run.ionic_steps != 1 or (run.number("NSW") or 0.0) > 1.0:
        raise InputFileError(
            f"{run.source} holds {run.ionic_steps} ionic steps (NSW = {run.settings.get('NSW', '?')}); expected one "
            "static calculation"
        )
    if run.number("PSTRESS"):
        raise InputFileError(f"{run.source} has PSTRESS = {run.settings['PSTRESS']}: its energies are enthalpies")
    if (run.number("ICHARG") or 0.0) >= 10.0:
        raise InputFileError(f"{run.source} has ICHARG = {run.settings['ICHARG']}: it is not self-consistent")
    if run.flag("LEPSILON") or (run.number("IBRION") or 0.0) >= 5.0:
        raise InputFileError(f"{run.source} is a response calculation (LEPSILON or IBRION); expected a static one")


def _check_agreement(one: VaspRun, other: VaspRun) -> None:
    same_bands = one.eigenvalues_eV.shape == other.eigenvalues_eV.shape
    differences = {
        "structure": (distance_A(one.crystal, other.crystal), SAME_A),
        "energy": (abs(one.energy_sigma0_eV - other.energy_sigma0_eV), _SAME_ENERGY_EV),
        "free energy": (abs(one.free_energy_eV - other.free_energy_eV), _SAME_ENERGY_EV),
        "electrons": (abs(one.electrons - other.electrons), 1e-3),
        "number of electronic steps": (abs(one.electronic_steps - other.electronic_steps), 0),
        "k points and bands": (0.0 if same_bands else np.inf, 0.0),
        "eigenvalues": (_apart(one.eigenvalues_eV, other.eigenvalues_eV) if same_bands else 0.0, _SAME_LEVEL_EV),
        "forces": (_apart(one.forces_eV_per_A, other.forces_eV_per_A), _SAME_FORCE_EV_PER_A),
        "stress": (_apart(one.stress_GPa, other.stress_GPa), _SAME_STRESS_GPA),
    }
    for what, (difference, allowed) in differences.items():
        if not difference <= allowed:
            raise _disagree(one.source, other.source, what)
    if one.titles != other.titles:
        raise _disagree(one.source, other.source, "potentials")


def _disagree(one: str, other: str, what: str) -> InputFileError:
    return InputFileError(f"{one} and {Path(other).name} disagree ({what}): one of them is of another calculation")


def _apart(one: object, other: object) -> float:
    """Return the largest difference of two arrays, 0 where one of them is missing."""
    if one is None or other is None:
        return 0.0
    return float(np.abs(np.asarray(one) - np.asarray(other)).max(initial=0.0))


def _with_eigenval(run: VaspRun, path: Path) -> VaspRun:
    """Return ``run`` with the eigenvalues of EIGENVAL, after a check that they are the same but for rounding."""
    found = read_eigenval(path)
    same = (
        found.atoms == len(run.crystal)
        and abs(found.electrons - run.electrons) <= 1.0
        and found.eigenvalues_eV.shape == run.eigenvalues_eV.shape
        and _apart(found.eigenvalues_eV, run.eigenvalues_eV) <= _SAME_LEVEL_EV
        and _apart(found.k_points, run.k_points) <= 1e-6
    )
    if not same:
        raise _disagree(run.source, path.name, "atoms, electrons, k points or eigenvalues")
    return replace(run, eigenvalues_eV=found.eigenvalues_eV)
