"""Force constants from displacements and forces, the way ``phonopy.load`` makes them, after checks it lacks.

phonopy solves by pseudo-inverse: displacements that do not determine the force constants give wrong numbers, not
an error.  They are refused here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from phonograph.errors import InputFileError
from phonograph.files.safety import reading
from phonograph.types import FloatArray

SAME_DISPLACEMENT_A = 1e-4
"""How far the displacements of FORCE_SETS may be from those announced in phonopy_disp.yaml, Å."""


def force_constants_from_dataset(
    phonon: Any, dataset: dict[str, Any], place: str, announced: dict[str, Any] | None
) -> tuple[FloatArray, str]:
    """Return full force constants, eV/Å², shape (n, n, 3, 3), and ``"type 1"`` or ``"type 2"``.

    Parameters
    ----------
    phonon
        phonopy's object; its dataset and force constants are set.
    dataset
        Displacements (Å) and forces (eV/Å) in phonopy's layout.
    place
        The file, for messages.
    announced
        Displacements that the calculation was set up with, or None.

    Raises
    ------
    InputFileError
        No forces, wrong shapes, values that are not finite, displacements other than the announced ones, or too
        few of them to determine the force constants.
    """
    atoms = len(phonon.supercell)
    finite_differences = "first_atoms" in dataset
    if finite_differences:
        _check_type_1(dataset, atoms, place)
    else:
        _check_type_2(dataset, atoms, place)
    if announced is not None:
        _check_announced(dataset, announced, atoms, place)
    if finite_differences:
        _check_directions(phonon, dataset, place)
        return _finite_differences(phonon, dataset, place), "type 1"
    return _regression(phonon, dataset, place), "type 2"


def _finite_differences(phonon: Any, dataset: dict[str, Any], place: str) -> FloatArray:
    with reading(place, "a set of displacements and forces"):
        phonon.dataset = dataset
        phonon.produce_force_constants(calculate_full_force_constants=True, show_drift=False)
        phonon.symmetrize_force_constants(show_drift=False, use_symfc_projector=True)
    return np.array(phonon.force_constants, dtype=np.float64)


def _regression(phonon: Any, dataset: dict[str, Any], place: str) -> FloatArray:
    from phonopy.interface.symfc import SymfcFCSolver

    with reading(place, "a set of displacements and forces"):
        solver = SymfcFCSolver(
            phonon.supercell,
            displacements=dataset["displacements"],
            forces=dataset["forces"],
            symmetry=phonon.symmetry,
        )
        unknowns = int(solver.compute_basis_set(orders=[2])[2].basis_set.shape[1])
    count, equations = len(dataset["forces"]), int(dataset["forces"].size)
    if equations < unknowns:
        raise InputFileError(
            f"{place} holds {count} displaced supercells, {equations} forces for {unknowns} free force constants; at "
            f"least {-(-unknowns * count // equations)} supercells are needed"
        )
    with reading(place, "a set of displacements and forces"):
        solver.solve(orders=[2], is_compact_fc=False)
    return np.array(solver.force_constants[2], dtype=np.float64)


def _check_type_1(dataset: dict[str, Any], atoms: int, place: str) -> None:
    sets = dataset["first_atoms"]
    if not sets or any("forces" not in one for one in sets):
        raise InputFileError(f"{place} holds displacements but no forces; give FORCE_SETS or phonopy_params.yaml")
    for number, one in enumerate(sets, start=1):
        where = f"{place}, displacement {number}"
        index = one.get("number")
        if not isinstance(index, int) or not 0 <= index < atoms:
            raise InputFileError(f"{where} moves an atom outside 1–{atoms}, the atoms of the supercell")
        _check_array(one["displacement"], (3,), f"{where}: the displacement")
        _check_array(one["forces"], (atoms, 3), f"{where}: the forces")
        if not np.linalg.norm(one["displacement"]) > 1e-6:
            raise InputFileError(f"{where} moves nothing; expected a displacement such as 0.01 Å")


def _check_type_2(dataset: dict[str, Any], atoms: int, place: str) -> None:
    if "forces" not in dataset:
        raise InputFileError(f"{place} holds displacements but no forces; give FORCE_SETS or phonopy_params.yaml")
    count = len(dataset["forces"])
    if count == 0:
        raise InputFileError(f"{place} holds no displaced supercell; at least one is needed")
    _check_array(dataset["displacements"], (count, atoms, 3), f"{place}: the displacements")
    _check_array(dataset["forces"], (count, atoms, 3), f"{place}: the forces")


def _check_array(value: FloatArray, shape: tuple[int, ...], what: str) -> None:
    if value.shape != shape:
        raise InputFileError(f"{what} must have shape {shape} (atoms of the supercell); got {value.shape}")
    if not np.isfinite(value).all():
        raise InputFileError(f"{what} must be finite; got {int((~np.isfinite(value)).sum())} NaN or infinite values")


def _all_displacements(dataset: dict[str, Any], atoms: int) -> FloatArray:
    if "displacements" in dataset:
        return np.asarray(dataset["displacements"], dtype=np.float64)
    full = np.zeros((len(dataset["first_atoms"]), atoms, 3))
    for row, one in zip(full, dataset["first_atoms"], strict=True):
        row[one["number"]] = one["displacement"]
    return full


def _check_announced(dataset: dict[str, Any], announced: dict[str, Any], atoms: int, place: str) -> None:
    with reading(place, "the displacements of the phonopy YAML file beside it"):
        expected = _all_displacements(announced, atoms)
    found = _all_displacements(dataset, atoms)
    # Random displacements (type 2) may have been calculated in part; finite displacements are all needed.
    enough = len(found) == len(expected) if "first_atoms" in dataset else len(found) <= len(expected)
    if (
        not enough
        or found.shape[1:] != expected.shape[1:]
        or (np.abs(found - expected[: len(found)]) > SAME_DISPLACEMENT_A).any()
    ):
        raise InputFileError(
            f"{place} holds {len(found)} displacements that are not the {len(expected)} of the phonopy YAML file; the "
            "two belong to different calculations"
        )


def _check_directions(phonon: Any, dataset: dict[str, Any], place: str) -> None:
    """Check that finite displacements, with the crystal's symmetry, determine the force constants."""
    symmetry, lattice = phonon.symmetry, phonon.supercell.cell.T
    equivalent = symmetry.get_map_atoms()
    covered = set()
    for index in dict.fromkeys(one["number"] for one in dataset["first_atoms"]):
        moves = [one["displacement"] for one in dataset["first_atoms"] if one["number"] == index]
        rotations = [lattice @ rotation @ np.linalg.inv(lattice) for rotation in symmetry.get_site_symmetry(index)]
        directions = np.array([rotation @ move / np.linalg.norm(move) for rotation in rotations for move in moves])
        if np.linalg.matrix_rank(directions, tol=1e-3) < 3:
            raise InputFileError(
                f"{place} moves atom {index + 1} along too few directions: with the site's symmetry they must span "
                "space; forces of some displacements are missing"
            )
        covered.add(int(equivalent[index]))
    needed = {int(index) for index in equivalent}
    if missing := sorted(needed - covered):
        names = ", ".join(f"{i + 1} ({phonon.supercell.symbols[i]})" for i in missing[:5])
        raise InputFileError(
            f"{place} moves {len(covered)} of {len(needed)} independent atoms; the forces are missing for displaced "
            f"atoms like {names}"
        )
