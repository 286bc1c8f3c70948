"""Displaced supercells for those who compute forces with DFT elsewhere; ``collect`` reads what comes back."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from phonograph.errors import ConfigurationError, InputFileError
from phonograph.files.force_constants import integer_rows, phonopy_object
from phonograph.files.force_fit import free_force_constants
from phonograph.files.phonopy_yaml import calculator_units
from phonograph.files.safety import reason, shown
from phonograph.streams import stream
from phonograph.types import Crystal, FloatArray

CALCULATORS = ("vasp", "qe", "cp2k")
"""Codes whose input files are written and whose outputs are collected."""

DISPLACEMENT_A = 0.02
"""Default length, Å.  Converged DFT forces carry noise of about 1 meV/Å, which a longer displacement divides by more;
anharmonicity enters with the square of the length, and stays below a percent up to about 0.03 Å in most crystals.
(The engines' own default is 0.05 Å, because a network's forces are noisier.)"""

DISPLACEMENTS_FILE = "phonopy_disp.yaml"


@dataclass(frozen=True, kw_only=True)
class DisplacementFolder:
    """What was written.

    Attributes
    ----------
    folder
        Where.
    names
        The displaced supercells' files.
    atoms
        Atoms of the supercell.
    random
        Whether all atoms are displaced at random (type 2), or one at a time (type 1).
    """

    folder: Path
    names: tuple[str, ...]
    atoms: int
    random: bool


def write_displacements(
    crystal: Crystal,
    supercell_matrix: ArrayLike,
    folder: str | os.PathLike[str],
    *,
    displacement_A: float = DISPLACEMENT_A,
    calculator: str = "vasp",
    random: int | None = None,
    seed: int = 0,
) -> DisplacementFolder:
    """Write phonopy_disp.yaml and displaced supercells into a new folder.

    VASP gets SPOSCAR and POSCAR-001 …, Quantum ESPRESSO supercell-001.in … (cell, species and positions, to be put
    behind your namelists), CP2K supercell-001.inc … (&CELL and &COORD, for ``@INCLUDE`` in &SUBSYS).  NEXT_STEPS.txt
    says what to run.  phonopy opens the folder as one of its own.

    Parameters
    ----------
    crystal
        The unit cell, relaxed with the same code and settings.
    supercell_matrix
        Three integers or rows, shape (3, 3): supercell lattice = ``supercell_matrix`` @ lattice.
    folder
        A new or empty folder.
    displacement_A
        Length of each displacement, Å; see :data:`DISPLACEMENT_A`.
    calculator
        One of :data:`CALCULATORS`.
    random
        None: finite displacements of one atom at a time, as few as the symmetry allows.  A number: so many supercells
        in which every atom is displaced by ``displacement_A`` in a random direction, to be fitted by symfc.
    seed
        Root seed of the random directions; supercell i of a seed does not depend on their number.

    Raises
    ------
    ConfigurationError
        A folder that is not empty, an impossible option, or too few random supercells to determine the force
        constants.
    InputFileError
        When the folder cannot be written, or the supercell is none.
    """
    target = Path(folder)
    _check(target, displacement_A, calculator, random)
    length_A = calculator_units(calculator, shown(target)).length_A
    phonon = _phonon(crystal, integer_rows(supercell_matrix), length_A, calculator, target)
    if random is None:
        phonon.generate_displacements(distance=displacement_A / length_A)
    else:
        moves = random_displacements(len(phonon.supercell), random, displacement_A, seed)
        _check_enough(phonon, moves, random)
        phonon.dataset = {"displacements": moves / length_A}
    names = _write(phonon, target, calculator, random is not None)
    return DisplacementFolder(folder=target, names=names, atoms=len(phonon.supercell), random=random is not None)


def random_displacements(atoms: int, count: int, length_A: float, seed: int) -> FloatArray:
    """Return ``count`` sets of displacements of equal length in random directions, Å, shape (count, atoms, 3)."""
    directions = np.array([stream(seed, "displacements", i).standard_normal((atoms, 3)) for i in range(count)])
    return np.asarray(length_A * directions / np.linalg.norm(directions, axis=2, keepdims=True))


def _check(target: Path, displacement_A: float, calculator: str, random: int | None) -> None:
    if calculator not in CALCULATORS:
        raise ConfigurationError(f"the calculator must be one of {', '.join(CALCULATORS)}; got {calculator!r}")
    if not (np.isfinite(displacement_A) and 0.0 < displacement_A <= 0.5):
        raise ConfigurationError(f"the displacement must lie above 0 and at most 0.5 Å; got {displacement_A!r}")
    if random is not None and not 1 <= random <= 10_000:
        raise ConfigurationError(f"the number of random supercells must lie in 1–10000; got {random!r}")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigurationError(
            f"{shown(target)} exists and is kept, with whatever was calculated in it; choose a new folder with -o"
        )


def _phonon(crystal: Crystal, rows: Any, length_A: float, calculator: str, target: Path) -> Any:
    from phonopy.structure.atoms import PhonopyAtoms

    cell = PhonopyAtoms(
        numbers=crystal.numbers,
        cell=crystal.cell_A / length_A,
        scaled_positions=crystal.fractional,
        masses=crystal.masses_amu,
    )
    return phonopy_object(cell, rows.T, "auto", shown(target), calculator=calculator)


def _check_enough(phonon: Any, moves: FloatArray, count: int) -> None:
    """Refuse too few random supercells before anyone computes them."""
    unknowns, rank = free_force_constants(phonon, moves)
    if rank < unknowns:
        raise ConfigurationError(
            f"{count} random supercells determine {rank} of the {unknowns} free force constants of this supercell; "
            f"choose at least {max(count + 1, -(-unknowns * count // max(rank, 1)))}"
        )


def _write(phonon: Any, target: Path, calculator: str, random: bool) -> tuple[str, ...]:
    """Fill a folder beside the target and rename it, so that there is no half-written one."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise InputFileError(f"cannot write {shown(target)}: {reason(error)}; choose a writable folder") from error
    try:
        _fill(phonon, temporary, calculator)
        names = tuple(sorted(path.name for path in temporary.iterdir() if "-" in path.name))
        text = _NEXT_STEPS[calculator].format(first=names[0], count=len(names), atoms=len(phonon.supercell))
        (temporary / "NEXT_STEPS.txt").write_text(text + (_RANDOM if random else _FINITE), encoding="utf-8")
        temporary.chmod(0o755)
        if target.exists():
            target.rmdir()
        temporary.rename(target)
    except OSError as error:
        raise InputFileError(f"cannot write {shown(target)}: {reason(error)}; choose a writable folder") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return names


def _fill(phonon: Any, folder: Path, calculator: str) -> None:
    settings = {"force_sets": False, "force_constants": False, "displacements": True}
    phonon.save(folder / DISPLACEMENTS_FILE, settings=settings)
    cells = phonon.supercells_with_displacements
    width = max(3, len(str(len(cells))))
    rest, pattern = _NAMES[calculator]
    named = {rest: phonon.supercell} | {pattern.format(f"{i:0{width}}"): cell for i, cell in enumerate(cells, start=1)}
    for name, cell in named.items():
        (folder / name).write_text(_TEXTS[calculator](cell), encoding="utf-8")


def _vasp_text(cell: Any) -> str:
    from phonopy.interface.vasp import get_vasp_structure_lines

    return "\n".join(get_vasp_structure_lines(cell, direct=True)) + "\n"


def _qe_text(cell: Any) -> str:
    from phonopy.interface.qe import get_pwscf_structure

    return str(get_pwscf_structure(cell, {symbol: f"{symbol}_PP_filename" for symbol in cell.symbols})) + "\n"


def _cp2k_text(cell: Any) -> str:
    """Return &CELL and &COORD: phonopy's own writer would need a whole input as its template."""
    rows = [f"  {letter} " + " ".join(f"{x:.16f}" for x in v) for letter, v in zip("ABC", cell.cell, strict=True)]
    atoms = [
        f"  {symbol} " + " ".join(f"{x:.16f}" for x in position)
        for symbol, position in zip(cell.symbols, cell.scaled_positions, strict=True)
    ]
    return "\n".join(["&CELL", *rows, "  PERIODIC XYZ", "&END CELL", "&COORD", "  SCALED", *atoms, "&END COORD", ""])


_NAMES = {
    "vasp": ("SPOSCAR", "POSCAR-{}"),
    "qe": ("supercell.in", "supercell-{}.in"),
    "cp2k": ("supercell.inc", "supercell-{}.inc"),
}
_TEXTS: dict[str, Callable[[Any], str]] = {"vasp": _vasp_text, "qe": _qe_text, "cp2k": _cp2k_text}

_NEXT_STEPS = {
    "vasp": """\
{count} displaced supercells of {atoms} atoms are here: {first} and so on; SPOSCAR is the one at rest.

1. Make one folder for each, disp-001, disp-002, ..., and copy {first} into disp-001 as POSCAR.  The POTCAR follows the
   elements of line 6 of the POSCAR, in its order.
2. Compute the forces of each as they are: NSW = 0, IBRION = -1, and tight forces (EDIFF = 1E-8, PREC = Accurate,
   LREAL = .FALSE.), with the settings that the unit cell was relaxed with and k-points as dense per volume.
3. Leave vasprun.xml (also .gz, .xz) in disp-001, disp-002, ...
""",
    "qe": """\
{count} displaced supercells of {atoms} atoms are here: {first} and so on; supercell.in is the one at rest.

1. Put your namelists (nat and ntyp as in the first line of {first}, ibrav = 0, tprnfor = .true., calculation = 'scf',
   conv_thr 1.0d-10 or tighter) in front of each, K_POINTS (scaled to the supercell) behind, and name the
   pseudopotential files.
2. Run pw.x on each: pw.x < supercell-001.in > supercell-001.out
3. Leave supercell-001.out and so on in this folder (or as *.out in disp-001, disp-002, ...).
""",
    "cp2k": """\
{count} displaced supercells of {atoms} atoms are here: {first} and so on; supercell.inc is the one at rest.

1. For each, copy your input with RUN_TYPE ENERGY_FORCE, put  @INCLUDE '{first}'  in place of &CELL and &COORD in
   FORCE_EVAL/SUBSYS, set  PROJECT <name>-supercell-001, and add to FORCE_EVAL
       &PRINT
         &FORCES
           FILENAME forces
         &END FORCES
       &END PRINT
   with EPS_SCF 1.0E-7 or tighter.
2. Run CP2K on each.
3. Leave <name>-supercell-001-forces-1_0.xyz and so on in this folder (or in disp-001, disp-002, ...).
""",
}

_COLLECT = """\
4. phonograph collect FOLDER        (this folder; at any time: it keeps what has arrived and names what is missing)
5. [phonons] file = "FOLDER/FORCE_SETS"  in the TOML file, or phonopy with phonopy_disp.yaml and FORCE_SETS.

If the crystal is not at rest, or to check that it is, also compute the supercell without displacements (in disp-000):
its forces are then taken off all others.
"""
_FINITE = _COLLECT
_RANDOM = (
    _COLLECT
    + """
All atoms are displaced, at random; the force constants follow by a fit (symfc), so a few missing results do no harm as
long as the others determine the force constants.
"""
)
