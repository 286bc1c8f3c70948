"""The command ``phonograph audit``: examine any file of force constants; nothing is written and nothing repaired."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from phonograph.errors import ConfigurationError


def add_audit(commands: Any) -> None:
    """Add the command to the parser."""
    text = "examine a file of force constants: sum rule, symmetries, range, imaginary modes"
    parser = commands.add_parser("audit", help=text, description=f"{text[0].upper()}{text[1:]}. Nothing is repaired.")
    parser.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="phonopy.yaml, phonopy_params.yaml (also .xz), FORCE_CONSTANTS, FORCE_SETS or force_constants.hdf5",
    )
    parser.add_argument(
        "--structure", type=Path, metavar="FILE", help="the unit cell; not needed with or beside a phonopy YAML file"
    )
    parser.add_argument(
        "--supercell",
        type=int,
        nargs="+",
        metavar="N",
        help="three multiples, or nine integers (rows of the supercell matrix)",
    )
    parser.set_defaults(function=_audit)


def _audit(options: argparse.Namespace) -> int:
    from phonograph.audit_checks import audit_lines
    from phonograph.files.force_constants import read_force_constants
    from phonograph.phonons.audit import audit, symmetrisation_warnings

    constants = read_force_constants(
        options.file, structure=options.structure, supercell_matrix=_matrix(options.supercell)
    )
    crystal, supercell = constants.unitcell, constants.supercell
    print(f"{options.file}: {crystal.formula}, supercell of {len(supercell)} atoms")  # noqa: T201
    if constants.origin.settings.get("layout") not in ("full", "compact"):
        print("made from displacements and forces by a fit that has the symmetries, as phonopy.load makes them")  # noqa: T201
    for sentence in symmetrisation_warnings(constants):
        print(f"warning: {sentence}")  # noqa: T201
    print("\n".join(audit_lines(audit(constants))))  # noqa: T201
    return 0


def _matrix(numbers: list[int] | None) -> list[int] | list[list[int]] | None:
    if numbers is None or len(numbers) == 3:
        return numbers
    if len(numbers) != 9:
        raise ConfigurationError(f"--supercell takes three or nine integers; got {len(numbers)}")
    return [numbers[0:3], numbers[3:6], numbers[6:9]]
