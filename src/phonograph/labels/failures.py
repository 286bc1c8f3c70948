"""The closed list of ways in which a label can fail, and the checks that come before and after every engine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib import metadata, util

import numpy as np

from phonograph.errors import MissingEngineError, one_line
from phonograph.types import Crystal, FloatArray, LabelResult

FAILURES = ("not_converged", "timeout", "crashed", "unphysical", "engine_missing", "bad_input", "waiting")
"""Failure classes.

``not_converged``: self-consistency did not converge.  ``timeout``: no result within the time limit.  ``crashed``: the
engine raised an exception or killed its process.  ``unphysical``: a value is not finite.  ``bad_input``: the engine
cannot treat this structure (atoms on top of each other, unknown element, odd number of electrons for a gap).
``engine_missing``: the program is not on the machine that should run it.  ``waiting``: the calculation's files are
written and someone else runs it.  The last two are holes of this run only: they are tried again by every call.
"""

PASSING = ("engine_missing", "waiting")
"""Failure classes that say nothing about the structure and are therefore never stored as labels."""

SHORTEST_PAIR_A = 0.5
"""No two nuclei of a solid come this close; engines return nonsense or crash, so they are not called."""

_LARGEST_DENSE = 500


def failure(kind: str, message: str) -> LabelResult:
    """Return a failed result of class ``kind`` (one of :data:`FAILURES`) with a one-line message."""
    if kind not in FAILURES:
        raise ValueError(f"failure class must be one of {FAILURES}; got {kind!r}")
    return LabelResult(values={}, failure=kind, message=one_line(message))


def engine_version(package: str) -> str:
    """Return the installed version of an engine, without importing it.

    Raises
    ------
    MissingEngineError
        Where the package is not installed, with the command that installs it.
    """
    try:
        found = metadata.version(package)
    except metadata.PackageNotFoundError:
        found = ""
    if not found or util.find_spec(package) is None:
        raise MissingEngineError(f"engine {package} is not installed; install it with: pip install {package}")
    return found


def refuse(crystal: Crystal) -> LabelResult | None:
    """Return a ``bad_input`` failure if two atoms (or an atom and its image) are closer than 0.5 Å, else None."""
    distance = shortest_below(crystal, SHORTEST_PAIR_A)
    if distance is None:
        return None
    return failure("bad_input", f"two atoms are {distance:.3f} Å apart; engines are only asked above 0.5 Å")


def shortest_below(crystal: Crystal, limit_A: float) -> float | None:
    """Return the shortest interatomic distance if it is below ``limit_A``, Å, else None.

    In a cell whose lattice planes are all more than 2·limit apart, a pair closer than the limit has fractional
    differences below ½, so rounding them gives the right image; thinner or larger cells take ASE's cell list.
    """
    heights = crystal.volume_A3 / np.linalg.norm(_face_areas(crystal.cell_A), axis=1)
    if len(crystal) > _LARGEST_DENSE or heights.min() <= 2.0 * limit_A:
        distances = _listed_distances(crystal, limit_A)
    else:
        fractional = crystal.fractional
        difference = fractional[:, None] - fractional[None]
        difference -= np.rint(difference)
        rows, columns = np.triu_indices(len(crystal), 1)
        distances = np.linalg.norm(difference[rows, columns] @ crystal.cell_A, axis=1)
    close = distances[distances < limit_A]
    return float(close.min()) if len(close) else None


def _face_areas(cell_A: FloatArray) -> FloatArray:
    return np.cross(np.roll(cell_A, -1, axis=0), np.roll(cell_A, -2, axis=0))


def _listed_distances(crystal: Crystal, limit_A: float) -> FloatArray:
    from ase import Atoms
    from ase.neighborlist import neighbor_list

    atoms = Atoms(numbers=crystal.numbers, positions=crystal.positions_A, cell=crystal.cell_A, pbc=True)
    return np.asarray(neighbor_list("d", atoms, limit_A), dtype=np.float64)


def checked(
    result: LabelResult, provides: Sequence[str], arrays: Sequence[str] = (), atoms: int | None = None
) -> LabelResult:
    """Return ``result`` if it holds a finite number for every promised property and array, else a named failure."""
    if result.failure:
        return failure(result.failure, result.message)
    if set(result.values) != set(provides) or set(result.arrays) != set(arrays):
        got = ", ".join(sorted({*result.values, *result.arrays})) or "nothing"
        return failure("crashed", f"the engine promised {', '.join((*provides, *arrays))} and returned {got}")
    wrong = [f"{name} = {result.values[name]}" for name in provides if not math.isfinite(result.values[name])]
    wrong += [name for name in arrays if not np.isfinite(result.arrays[name]).all()]
    if wrong:
        return failure("unphysical", f"not finite: {', '.join(wrong)}")
    expected = {name: shape for name, shape in _shapes(atoms).items() if name in arrays}
    for name, shape in expected.items():
        if np.shape(result.arrays[name]) != shape:
            return failure("crashed", f"{name} must have shape {shape}; got {np.shape(result.arrays[name])}")
    return result


def _shapes(atoms: int | None) -> dict[str, tuple[int, ...]]:
    """Return the shapes that are known beforehand."""
    per_atom = {} if atoms is None else {"forces_eV_per_A": (atoms, 3), "charges_e": (atoms,)}
    return {**per_atom, "stress_GPa": (3, 3), **({} if atoms is None else {"magnetic_moments_muB": (atoms,)})}
