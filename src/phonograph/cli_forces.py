"""The commands for forces computed elsewhere: write displaced supercells, collect what comes back."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from phonograph.errors import DataError


def add_force_commands(commands: Any) -> None:
    """Add ``displace`` and ``collect`` to the parser of all commands."""
    displace = commands.add_parser(
        "displace",
        help="displaced supercells for a DFT code of your own",
        description="Write phonopy_disp.yaml and displaced supercells for VASP, Quantum ESPRESSO or CP2K into a new "
        "folder; NEXT_STEPS.txt there says what to run.",
    )
    displace.add_argument(
        "structure", type=Path, metavar="STRUCTURE", help="POSCAR, CONTCAR, .vasp, .cif, .extxyz or phonopy.yaml"
    )
    displace.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER", help="a new folder")
    displace.add_argument(
        "--supercell", type=int, nargs="+", required=True, metavar="N", help="three multiples, or nine integers (rows)"
    )
    displace.add_argument("--displacement", type=float, metavar="A", help="length of a displacement, Å (default 0.02)")
    displace.add_argument("--calculator", choices=("vasp", "qe", "cp2k"), default="vasp", help="default: vasp")
    displace.add_argument(
        "--random", type=int, metavar="N", help="N supercells with all atoms displaced at random, instead of one by one"
    )
    displace.add_argument("--seed", type=int, default=0, help="root seed of --random (default 0)")
    displace.set_defaults(function=_displace)
    collect = commands.add_parser(
        "collect",
        help="collect the forces of displaced supercells as they arrive",
        description="Read the results that have arrived, keep them, name what is missing, and write FORCE_SETS as soon "
        "as they determine the force constants.",
    )
    collect.add_argument("folder", type=Path, metavar="FOLDER", help="the folder with phonopy_disp.yaml")
    collect.add_argument(
        "outputs", type=Path, nargs="*", metavar="OUTPUT", help="files or folders to look in, instead of FOLDER"
    )
    collect.set_defaults(function=_collect)


def _displace(options: argparse.Namespace) -> int:
    from phonograph.files.displacements import DISPLACEMENT_A, write_displacements
    from phonograph.files.structures import read_structure

    rows = options.supercell
    written = write_displacements(
        read_structure(options.structure),
        [rows[:3], rows[3:6], rows[6:]] if len(rows) == 9 else rows,
        options.output,
        displacement_A=DISPLACEMENT_A if options.displacement is None else options.displacement,
        calculator=options.calculator,
        random=options.random,
        seed=options.seed,
    )
    what = "displaced supercell" if len(written.names) == 1 else "displaced supercells"
    print(  # noqa: T201
        f"wrote {len(written.names)} {what} of {written.atoms} atoms to {written.folder}; "
        f"next: {written.folder}/NEXT_STEPS.txt"
    )
    return 0


def _collect(options: argparse.Namespace) -> int:
    from phonograph.files.collect import collect_forces
    from phonograph.files.safety import listed

    found = collect_forces(options.folder, options.outputs or None)
    for name, sentence in found.broken:
        print(f"broken   {name}: {sentence}")  # noqa: T201
    for name in found.missing:
        print(f"missing  {name}")  # noqa: T201
    for note in found.notes:
        print(f"note     {note}")  # noqa: T201
    count = f"{len(found.present)} of {len(found.names)} results are collected ({len(found.new)} new)"
    if found.force_sets is None:
        absent = listed([*found.missing, *(name for name, _ in found.broken)])
        raise DataError(f"{count} and kept, which do not determine the force constants yet; needed: {absent}")
    print(f'{count}; wrote {found.force_sets}; next: [phonons] file = "{found.force_sets}"')  # noqa: T201
    return 0
