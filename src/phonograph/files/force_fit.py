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


INDEPENDENT = 1e-9
"""Share of a normal equation that must not be a combination of others, for it to count."""


def force_constants_from_dataset(
    phonon: Any, dataset: dict[str, Any], place: str, announced: dict[str, Any] | None
) -> tuple[FloatArray, dict[str, Any]]:
    """Return full force constants, eV/Å², shape (n, n, 3, 3), and what is to be told about them.

    That is ``layout``, ``"type 1"`` or ``"type 2"``, and for type 1 ``symmetrisation_eV_per_A2``, the largest change
    that symmetrising made.

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
        values, change = _finite_differences(phonon, dataset, place)
        return values, {"layout": "type 1", "symmetrisation_eV_per_A2": change}
    return _regression(phonon, dataset, place), {"layout": "type 2"}


def _finite_differences(phonon: Any, dataset: dict[str, Any], place: str) -> tuple[FloatArray, float]:
    """Return symmetrised force constants and by how much symmetrising changed them at most."""
    with reading(place, "a set of displacements and forces"):
        phonon.dataset = dataset
        phonon.produce_force_constants(calculate_full_force_constants=True, show_drift=False)
        before = np.array(phonon.force_constants, dtype=np.float64)
        phonon.symmetrize_force_constants(show_drift=False, use_symfc_projector=True)
    values = np.array(phonon.force_constants, dtype=np.float64)
    return values, float(np.abs(values - before).max())


def _regression(phonon: Any, dataset: dict[str, Any], place: str) -> FloatArray:
    unknowns, rank = free_force_constants(phonon, dataset["displacements"], place)
    count = len(dataset["forces"])
    if rank < unknowns:
        raise InputFileError(
            f"{place} holds {count} displaced supercells, which determine {rank} of {unknowns} free force constants; "
            f"at least {max(count + 1, -(-unknowns * count // max(rank, 1)))} supercells are needed"
        )
    with reading(place, "a set of displacements and forces"):
        solver = _solver(phonon, dataset["displacements"], dataset["forces"])
        solver.solve(orders=[2], is_compact_fc=False)
    return np.array(solver.force_constants[2], dtype=np.float64)


def _solver(phonon: Any, displacements: FloatArray, forces: FloatArray) -> Any:
    from phonopy.interface.symfc import SymfcFCSolver

    solver = SymfcFCSolver(phonon.supercell, displacements=displacements, forces=forces, symmetry=phonon.symmetry)
    solver.compute_basis_set(orders=[2])
    return solver


def free_force_constants(phonon: Any, displacements_A: FloatArray, place: str = "the set") -> tuple[int, int]:
    """Return how many free parameters symmetry leaves to the force constants, and how many displacements determine.

    The second number is the rank of the normal equations XᵀX of the fit, by Cholesky decomposition with pivoting.
    Counting equations is not enough: Φ is symmetric, so the forces of different supercells are not independent.

    Parameters
    ----------
    phonon
        phonopy's object.
    displacements_A
        Shape (supercells, n, 3).
    place
        The file, for messages.
    """
    from scipy.linalg.lapack import dpstrf

    with reading(place, "a set of displacements and forces"):
        from symfc.solvers.solver_O2 import prepare_normal_equation_O2

        basis = _solver(phonon, displacements_A, np.zeros_like(displacements_A)).compute_basis_set(orders=[2])[2]
        flat = np.ascontiguousarray(displacements_A.reshape(len(displacements_A), -1))
        matrix, _ = prepare_normal_equation_O2(flat, np.zeros_like(flat), basis)
    scale = np.sqrt(np.maximum(np.diag(matrix), 1e-300))
    rank = int(dpstrf(matrix / np.outer(scale, scale), tol=INDEPENDENT)[2])
    return len(matrix), rank if np.diag(matrix).max(initial=0.0) > 0 else 0


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


def all_displacements(dataset: dict[str, Any], atoms: int) -> FloatArray:
    """Return the displacements of phonopy's dataset of either type, shape (supercells, atoms, 3)."""
    if "displacements" in dataset:
        return np.asarray(dataset["displacements"], dtype=np.float64)
    full = np.zeros((len(dataset["first_atoms"]), atoms, 3))
    for row, one in zip(full, dataset["first_atoms"], strict=True):
        row[one["number"]] = one["displacement"]
    return full


def _check_announced(dataset: dict[str, Any], announced: dict[str, Any], atoms: int, place: str) -> None:
    with reading(place, "the displacements of the phonopy YAML file beside it"):
        expected = all_displacements(announced, atoms)
    found = all_displacements(dataset, atoms)
    # Some may be missing, and be no loss; whether the others determine the force constants is looked at later.
    same = found.shape[1:] == expected.shape[1:] and ("first_atoms" in dataset) == ("first_atoms" in announced)
    if not same or any(float(np.abs(expected - one).max(axis=(1, 2)).min()) > SAME_DISPLACEMENT_A for one in found):
        raise InputFileError(
            f"{place} holds {len(found)} displacements that are not among the {len(expected)} of the phonopy YAML "
            "file; the two belong to different calculations"
        )


def check_determined(phonon: Any, dataset: dict[str, Any], place: str) -> None:
    """Raise :class:`InputFileError` unless the displacements determine the force constants."""
    if "first_atoms" in dataset:
        _check_directions(phonon, dataset, place)
        return
    unknowns, rank = free_force_constants(phonon, dataset["displacements"], place)
    if rank < unknowns:
        raise InputFileError(f"{place} determines {rank} of {unknowns} free force constants")


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
