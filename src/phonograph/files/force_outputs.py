"""What one DFT calculation of a displaced supercell left behind: vasprun.xml, QE output, CP2K forces.

Forces are read by phonopy's own parsers; around them stand the checks they lack: that the file is whole, harmless,
converged, and of which structure.  phonopy takes the mean force off QE and CP2K results, not off VASP's.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from phonograph import units
from phonograph.errors import InputFileError
from phonograph.files.espresso_output import element_of
from phonograph.files.phonopy_yaml import CalculatorUnits
from phonograph.files.safety import MAX_SET_BYTES, check_readable, read_text, reading, shown
from phonograph.files.vasprun import parse_vasprun
from phonograph.types import FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class ForceOutput:
    """Forces of one calculation, and its structure where the file holds it.

    Attributes
    ----------
    forces_eV_per_A
        Shape (n, 3).
    energy_eV
        Energy of the supercell, or None.
    symbols
        Elements in the file's order, or None.
    cell_A, fractional
        Lattice vectors as rows, shape (3, 3), and positions in units of them, shape (n, 3), or None.
    """

    forces_eV_per_A: FloatArray
    energy_eV: float | None = None
    symbols: tuple[str, ...] | None = None
    cell_A: FloatArray | None = None
    fractional: FloatArray | None = None


def read_force_output(path: str | os.PathLike[str], atoms: int, factors: CalculatorUnits) -> ForceOutput:
    """Read the result of one calculation of ``atoms`` atoms.

    Parameters
    ----------
    path
        vasprun.xml (also ``.gz``, ``.xz``), an output of pw.x, or a forces file of CP2K.
    atoms
        Atoms of the supercell.
    factors
        The calculator and the units of its files.

    Raises
    ------
    InputFileError
        In one sentence: missing, truncated or hostile file, not converged, not one single-point calculation,
        another number of atoms, NaN forces.
    """
    readers = {"vasp": read_vasprun, "qe": read_qe, "cp2k": read_cp2k}
    if factors.calculator not in readers:
        raise InputFileError(
            f"{shown(path)} is of calculator {factors.calculator!r}; collected are {', '.join(readers)}; make "
            "FORCE_SETS with phonopy"
        )
    found = readers[factors.calculator](path, atoms, factors)
    forces = found.forces_eV_per_A
    if forces.shape != (atoms, 3):
        raise InputFileError(f"{shown(path)} holds forces on {len(forces)} atoms, but the supercell has {atoms}")
    if not np.isfinite(forces).all():
        raise InputFileError(
            f"{shown(path)} holds {int((~np.isfinite(forces)).sum())} NaN or infinite forces; run it again"
        )
    return found


def read_vasprun(path: str | os.PathLike[str], atoms: int, factors: CalculatorUnits) -> ForceOutput:
    """Read vasprun.xml of a single-point calculation."""
    del atoms, factors
    place, run = shown(path), parse_vasprun(path)
    if len(run.steps) != 1:
        raise InputFileError(
            f"{place} holds {len(run.steps)} ionic steps; expected one single-point calculation (NSW = 0)"
        )
    limit = run.setting("NELM")
    if limit is not None and run.steps[0] >= limit:
        raise InputFileError(
            f"{place} did not converge: all {limit:g} electronic steps (NELM) were used; run it again with more"
        )
    return ForceOutput(
        forces_eV_per_A=run.forces_eV_per_A[-1],
        energy_eV=None if run.energies_eV is None else float(run.energies_eV[-1]),
        symbols=run.symbols,
        cell_A=run.cells_A[-1],
        fractional=run.fractional[-1],
    )


_NUMBER = r"\s*(-?\d+\.\d+)"
_AXIS = re.compile(r"a\([123]\) = \(" + 3 * _NUMBER + r"\s*\)")
_SITE = re.compile(r"^\s*\d+\s+(\S+)\s+tau\(\s*\d+\s*\) = \(" + 3 * _NUMBER + r"\s*\)", re.MULTILINE)
_ALAT = re.compile(r"celldm\(1\)=\s*(\d+\.\d+)")
_TOTAL = re.compile(r"^!\s+total energy\s+=\s*(-?\d+\.\d+) Ry", re.MULTILINE)


def read_qe(path: str | os.PathLike[str], atoms: int, factors: CalculatorUnits) -> ForceOutput:
    """Read the output of pw.x (``scf``); where several runs were written into one file, the last."""
    place, text = shown(path), read_text(path, MAX_SET_BYTES)
    last = text[max(text.rfind("Program PWSCF"), 0) :]
    if "JOB DONE" not in last:
        raise InputFileError(
            f"{place} does not end with JOB DONE: the calculation is unfinished, or the copy is cut; wait for it or "
            "copy it again"
        )
    if "convergence NOT achieved" in last:
        raise InputFileError(f"{place} did not converge; run it again with more electronic steps")
    with reading(path, "an output of pw.x"):
        from phonopy.interface.qe import parse_set_of_forces

        forces = parse_set_of_forces(atoms, [path], verbose=False)
    if len(forces) != 1:
        raise InputFileError(
            f"{place} does not hold the forces on {atoms} atoms; set tprnfor = .true. and run it again"
        )
    axes, alat, sites = _AXIS.findall(last), _ALAT.findall(last), _SITE.findall(last)
    if len(axes) < 3 or not alat or len(sites) < atoms:
        raise InputFileError(f"{place} does not list axes and {atoms} sites as pw.x does; expected its standard output")
    length = float(alat[-1]) * units.BOHR_A
    cell = np.array(axes[-3:], dtype=np.float64) * length
    if not abs(np.linalg.det(cell)) > 1e-3:
        raise InputFileError(f"{place} lists axes that span no volume; it is damaged, copy it again")
    # With verbosity = 'high' the same sites follow once more in crystal coordinates.
    sites = sites[:atoms]
    positions = np.array([site[1:] for site in sites], dtype=np.float64) * length
    energies = _TOTAL.findall(last)
    return ForceOutput(
        forces_eV_per_A=np.asarray(forces[0], dtype=np.float64) * factors.force_eV_per_A,
        energy_eV=float(energies[-1]) * 0.5 * units.HARTREE_EV if energies else None,
        symbols=tuple(element_of(site[0]) for site in sites),
        cell_A=cell,
        fractional=np.asarray(np.linalg.solve(cell.T, positions.T).T, dtype=np.float64),
    )


_CP2K_ROW = re.compile(r"^\s*\d+\s+\d+\s+([A-Z][a-z]?)\s+-?\d", re.MULTILINE)


def read_cp2k(path: str | os.PathLike[str], atoms: int, factors: CalculatorUnits) -> ForceOutput:
    """Read the forces that CP2K prints with FORCE_EVAL/PRINT/FORCES; the file holds no positions."""
    place, text = shown(path), read_text(check_readable(path, MAX_SET_BYTES), MAX_SET_BYTES)
    if "SUM OF ATOMIC FORCES" not in text and "FORCES| Sum" not in text:
        raise InputFileError(
            f"{place} does not end with the sum of the forces: the calculation is unfinished, or the copy is cut; wait "
            "for it or copy it again"
        )
    log = Path(path).with_name(Path(path).name.split("-forces")[0] + ".out")
    if log.is_file() and "SCF run NOT converged" in read_text(log, MAX_SET_BYTES):
        raise InputFileError(f"{shown(log)} says that the SCF run of {place} did not converge; run it again")
    with reading(path, "a forces file of CP2K"):
        from phonopy.interface.cp2k import parse_set_of_forces

        parsed = parse_set_of_forces(atoms, [path], verbose=False)
        forces = parsed["forces"] if isinstance(parsed, dict) else parsed
    if len(forces) != 1:
        raise InputFileError(f"{place} does not hold the forces on {atoms} atoms; check supercell and file")
    symbols = _CP2K_ROW.findall(text)
    if symbols and len(symbols) != atoms:
        raise InputFileError(f"{place} holds forces on {len(symbols)} atoms, but the supercell has {atoms}")
    return ForceOutput(
        forces_eV_per_A=np.asarray(forces[0], dtype=np.float64) * factors.force_eV_per_A,
        symbols=tuple(symbols) or None,
    )
