"""Structures to predict: every kind of file that holds crystals, one or many, with a name for each crystal."""

from __future__ import annotations

import os
from pathlib import Path

from phonograph.errors import InputFileError
from phonograph.files.importers import PROPERTY_TABLE, read_source, source_format
from phonograph.files.importers_samples import Choices
from phonograph.files.safety import check_readable, shown
from phonograph.files.structures import FORMATS, read_structures, structure_format
from phonograph.files.trajectory_readers import read_trajectory, trajectory_format
from phonograph.types import Crystal, Trajectory


def read_crystals(path: str | os.PathLike[str]) -> list[tuple[str, Crystal]]:
    """Return every crystal of a file or folder with its name, in the order of the file.

    Read are POSCAR, CONTCAR, CIF, phonopy's YAML, extended XYZ with any number of frames, ASE databases, computed
    entries of Alexandria and the Materials Project, XDATCAR, ASE's ``.traj``, vasprun.xml, LAMMPS dumps that name their
    elements, and folders of POSCAR and CIF files.  The format follows from the name.

    Raises
    ------
    InputFileError
        One sentence with file and frame: missing, of an unknown format, damaged, or not a periodic crystal.
    """
    target = Path(path)
    title = shown(target)
    if target.is_dir() or target.name == PROPERTY_TABLE:
        return _of_source(target)
    if structure_format(target) in ("poscar", "cif", "phonopy"):
        return [(title, crystal) for crystal in read_structures(target)]
    if structure_format(target) == "extxyz":
        frames = read_structures(target)
        return [(title if len(frames) == 1 else f"{title}:{i}", crystal) for i, crystal in enumerate(frames)]
    if trajectory_format(target) is not None:
        return _of_trajectory(read_trajectory(target), title)
    if source_format(target) is not None:
        return _of_source(target)
    check_readable(target, 1 << 62)
    raise InputFileError(
        f"{shown(path)} is no file of structures; the format follows from the name: {FORMATS}, XDATCAR*, *.traj, "
        "vasprun*.xml, *.db, *.json, or a folder of POSCAR and CIF files"
    )


def _of_source(path: Path) -> list[tuple[str, Crystal]]:
    source = read_source(path, Choices())
    return [(f"{shown(path)}:{shown(sample.names[0])}", sample.crystal) for sample in source.samples]


def _of_trajectory(trajectory: Trajectory, title: str) -> list[tuple[str, Crystal]]:
    return [
        (
            f"{title}:{frame}",
            Crystal(
                cell_A=trajectory.cell_A,
                positions_A=positions,
                numbers=trajectory.numbers,
                masses_amu=trajectory.masses_amu,
                title=f"{title}:{frame}",
            ),
        )
        for frame, positions in enumerate(trajectory.positions_A)
    ]
