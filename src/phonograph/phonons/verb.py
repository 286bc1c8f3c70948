"""Room 1 in one function: crystal, forces, temperature → force constants to sample from."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from phonograph.errors import ConfigurationError, DataError
from phonograph.phonons.audit import audit, audit_warnings, frequencies_of, imaginary_warning
from phonograph.phonons.cells import as_supercell_matrix, crystal_distance, symmetry_warnings
from phonograph.phonons.engines import engine_versions
from phonograph.phonons.evaluate import ForceField
from phonograph.phonons.harmonic import finite_displacements, harmonic_warnings, reference_warnings
from phonograph.phonons.renormalise import Renormalised, renormalise
from phonograph.phonons.settings import Renormalisation
from phonograph.phonons.source import ForceSource, describe
from phonograph.phonons.spectrum import spectrum
from phonograph.types import Crystal, ForceConstants, Origin, Phonons, Progress

SAME_CRYSTAL_A = 1.0e-3
"""A crystal further than this from that of the force constants is another one, Å."""


def compute_phonons(
    crystal: Crystal,
    forces: ForceSource | None = None,
    supercell_matrix: ArrayLike | None = None,
    *,
    force_constants: ForceConstants | None = None,
    renormalisation: Renormalisation | None = None,
    seed: int = 0,
    workers: int = 1,
    progress: Progress | None = None,
) -> Phonons:
    """Return force constants of a supercell, harmonic or renormalised at a temperature, with their audit.

    Harmonic force constants come from finite displacements, or from ``force_constants`` (a file) where given; with
    ``renormalisation`` they are the start of the self-consistent stochastic loop of
    :func:`phonograph.phonons.renormalise.renormalise`.  Nothing is repaired silently: imaginary modes, broken sum
    rules, noisy forces, stress at the given lattice and a loop that did not converge are told in ``warnings``.

    Parameters
    ----------
    crystal
        The unit cell, primitive or not.
    forces
        Where forces come from; needed unless ``force_constants`` is given without ``renormalisation``.
    supercell_matrix
        Three multiples or integer rows, shape (3, 3): supercell lattice = supercell_matrix @ unit-cell lattice.
        Taken from ``force_constants`` where not given.
    force_constants
        Force constants to use instead of finite displacements.
    renormalisation
        Temperature and how to iterate; None returns the harmonic force constants.
    seed
        Root seed of the sampled displacements.
    workers
        Processes that evaluate forces; the result does not depend on it.  With more than one, protect the main module
        with ``if __name__ == "__main__":``, as Python requires.
    progress
        Called as ``progress(what, done, total)``.

    Returns
    -------
    Phonons
        With method ``"finite-displacement"``, ``"file"`` or ``"self-consistent"``.

    Raises
    ------
    ConfigurationError
        A bad supercell matrix, or no source of forces where one is needed.
    DataError
        Force constants of another crystal or supercell; NaN forces.
    MissingEngineError
        The engine is not installed.
    """
    if force_constants is not None:
        _check_same(crystal, supercell_matrix, force_constants)
    if forces is None and (force_constants is None or renormalisation is not None):
        needed = "renormalisation" if force_constants is not None else "phonons without given force constants"
        raise ConfigurationError(f"{needed} needs forces; pass forces=CalculatorForces(engine='chgnet')")
    if force_constants is None and supercell_matrix is None:
        raise ConfigurationError("finite displacements need a supercell; pass supercell_matrix, for example (2, 2, 2)")
    if forces is None:
        assert force_constants is not None
        return _harmonic_phonons(force_constants, "file", _file_warnings(force_constants), {})
    with ForceField(forces, workers) as field:
        if force_constants is None:
            assert supercell_matrix is not None
            made = _from_displacements(crystal, forces, supercell_matrix, field, progress)
        else:
            rest = () if renormalisation is None else reference_warnings(field.reference(crystal), forces.name)
            made = _harmonic_phonons(force_constants, "file", (*_file_warnings(force_constants), *rest), {})
        if renormalisation is None:
            return made
        found = renormalise(
            made.supercell,
            made.force_constants.values_eV_per_A2,
            renormalisation,
            field,
            seed=seed,
            progress=progress,
        )
    return _renormalised_phonons(made, found, forces, renormalisation, seed)


def _check_same(crystal: Crystal, supercell_matrix: ArrayLike | None, force_constants: ForceConstants) -> None:
    distance = crystal_distance(force_constants.unitcell, crystal)
    if distance > SAME_CRYSTAL_A:
        what = "other atoms" if np.isinf(distance) else f"differ by {distance:.3g} Å"
        raise DataError(
            f"the force constants belong to another crystal ({force_constants.unitcell.formula}, "
            f"{len(force_constants.unitcell)} atoms) than the structure ({crystal.formula}, {len(crystal)} atoms): "
            f"{what}; give the structure file that the force constants were computed with"
        )
    if supercell_matrix is None:
        return
    asked = as_supercell_matrix(supercell_matrix, crystal)
    if (asked != force_constants.supercell_matrix).any():
        raise DataError(
            f"the force constants belong to the supercell {force_constants.supercell_matrix.tolist()}; got "
            f"{asked.tolist()}; set the supercell to that of the force constants"
        )


def _file_warnings(force_constants: ForceConstants) -> tuple[str, ...]:
    return audit_warnings(audit(force_constants.values_eV_per_A2), "the given force constants")


def _from_displacements(
    crystal: Crystal, forces: ForceSource, supercell_matrix: ArrayLike, field: ForceField, progress: Progress | None
) -> Phonons:
    matrix = as_supercell_matrix(supercell_matrix, crystal)
    result = finite_displacements(crystal, forces, matrix, field, progress)
    settings = {
        "forces": describe(forces),
        "displaced_supercells": result.displacements,
        "raw_audit": dataclasses.asdict(result.raw),
        "displacement_sensitivity_THz": result.sensitivity_THz,
    }
    origin = _origin(crystal, {"supercell_matrix": matrix.tolist(), **settings}, engine_versions(forces))
    constants = ForceConstants(
        unitcell=crystal,
        supercell_matrix=matrix,
        supercell=result.supercell,
        values_eV_per_A2=result.values_eV_per_A2,
        origin=origin,
    )
    sentences = (*symmetry_warnings(crystal), *harmonic_warnings(result, forces))
    return _harmonic_phonons(constants, "finite-displacement", sentences, settings)


def _harmonic_phonons(
    constants: ForceConstants, method: str, sentences: tuple[str, ...], settings: dict[str, Any]
) -> Phonons:
    """Return phonons of harmonic force constants; imaginary modes are named with the remedies."""
    frequencies = frequencies_of(constants)
    imaginary = imaginary_warning(constants, frequencies, "harmonic (0 K) phonons")
    remedy = (
        "Sampling imaginary modes is refused by default; renormalise at the temperature of interest "
        "([phonons.renormalisation]), change the lattice constant, or name a policy for soft modes in the sampler.",
    )
    bands = spectrum(constants)
    found = dataclasses.asdict(audit(constants.values_eV_per_A2))
    return Phonons(
        force_constants=constants,
        harmonic=None,
        method=method,
        temperature_K=None,
        frequencies_THz=frequencies,
        frequency_error_THz=np.zeros_like(frequencies),
        harmonic_frequencies_THz=frequencies,
        spectrum=bands,
        harmonic_spectrum=bands,
        rounds=(),
        converged=None,
        warnings=(*sentences, *imaginary, *(remedy if imaginary else ())),
        origin=_origin(
            constants.unitcell,
            {
                "method": method,
                "supercell_matrix": constants.supercell_matrix.tolist(),
                **settings,
                "audit": found,
                "force_constants": dict(constants.origin.settings) if method == "file" else {},
            },
            dict(constants.origin.versions),
            inputs=dict(constants.origin.inputs),
        ),
    )


def _renormalised_phonons(
    made: Phonons, found: Renormalised, forces: ForceSource, renormalisation: Renormalisation, seed: int
) -> Phonons:
    harmonic = made.force_constants
    settings = {
        **made.origin.settings,
        "method": "self-consistent",
        "forces": describe(forces),
        "renormalisation": dataclasses.asdict(renormalisation),
    }
    versions = {**made.origin.versions, **engine_versions(forces)}
    origin = _origin(harmonic.unitcell, settings, versions, seed=seed, inputs=dict(made.origin.inputs))
    constants = dataclasses.replace(harmonic, values_eV_per_A2=found.values_eV_per_A2, origin=origin)
    what = f"renormalised phonons at {renormalisation.temperature_K:g} K"
    # The remedy that asks to renormalise has been followed; the imaginary harmonic modes themselves stay told.
    kept = tuple(sentence for sentence in made.warnings if not sentence.startswith("Sampling imaginary modes"))
    return Phonons(
        force_constants=constants,
        harmonic=harmonic,
        method="self-consistent",
        temperature_K=renormalisation.temperature_K,
        frequencies_THz=found.frequencies_THz,
        frequency_error_THz=found.errors_THz,
        harmonic_frequencies_THz=made.frequencies_THz,
        spectrum=spectrum(constants),
        harmonic_spectrum=made.spectrum,
        rounds=found.rounds,
        converged=found.converged,
        warnings=(*kept, *found.warnings, *imaginary_warning(constants, found.frequencies_THz, what)),
        origin=origin,
    )


def _origin(
    crystal: Crystal,
    settings: dict[str, Any],
    versions: dict[str, str],
    *,
    seed: int | None = None,
    inputs: dict[str, str] | None = None,
) -> Origin:
    packages = ("numpy", "phonopy", "symfc", "spglib")
    return Origin(
        room="phonons",
        settings=settings,
        seed=seed,
        inputs={**(inputs or {}), "crystal": _hash(crystal)},
        versions={**{package: importlib.metadata.version(package) for package in packages}, **versions},
    )


def _hash(crystal: Crystal) -> str:
    """Return the SHA-256 of cell, positions, species and masses."""
    digest = hashlib.sha256()
    for array in (crystal.cell_A, crystal.positions_A, crystal.numbers, crystal.masses_amu):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
