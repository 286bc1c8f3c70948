"""Room 1 in one function: crystal, forces, temperature → force constants to sample from."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from phonograph.errors import ConfigurationError, DataError
from phonograph.phonons.audit import (
    audit,
    audit_warnings,
    frequencies_of,
    imaginary_warning,
    symmetrisation_warnings,
)
from phonograph.phonons.cells import as_supercell_matrix, crystal_distance, symmetry_warnings
from phonograph.phonons.engines import engine_versions
from phonograph.phonons.evaluate import ForceField
from phonograph.phonons.harmonic import finite_displacements, harmonic_warnings, reference_warnings, supercell_of
from phonograph.phonons.properties import phonon_properties, properties_warnings
from phonograph.phonons.routes import Followed, Route, check_route, describe_route, from_trajectory, self_consistent
from phonograph.phonons.settings import ForceRegression, Renormalisation
from phonograph.phonons.source import ForceSource, describe
from phonograph.phonons.spectrum import spectrum
from phonograph.types import (
    Crystal,
    FloatArray,
    ForceConstants,
    IntArray,
    Origin,
    PhononAudit,
    PhononProperties,
    Phonons,
    Progress,
    Trajectory,
    array_hash,
    crystal_hash,
)

SAME_CRYSTAL_A = 1.0e-3
"""A crystal further than this from that of the force constants is another one, Å."""

NO_HARMONIC = (
    "no harmonic force constants were given, nor forces to compute them with: what is shown as harmonic are the "
    "force constants of the regression."
)


def compute_phonons(
    crystal: Crystal,
    forces: ForceSource | None = None,
    supercell_matrix: ArrayLike | None = None,
    *,
    force_constants: ForceConstants | None = None,
    renormalisation: Route | None = None,
    trajectory: Trajectory | None = None,
    seed: int = 0,
    workers: int = 1,
    progress: Progress | None = None,
) -> Phonons:
    """Return force constants of a supercell, harmonic or renormalised at a temperature, with their audit.

    Harmonic force constants come from finite displacements, or from ``force_constants`` (a file) where given.  With
    ``renormalisation`` they are where one of three routes to a temperature starts: ``Renormalisation`` (self-consistent
    stochastic loop, :mod:`phonograph.phonons.renormalise`), ``ModeProjection`` (lines of the modes in a trajectory,
    :mod:`phonograph.phonons.projection`) or ``ForceRegression`` (fit to the forces of a trajectory,
    :mod:`phonograph.phonons.regression`).  Nothing is repaired silently: imaginary modes, broken sum rules, noisy
    forces, stress at the given lattice, a loop that did not converge, atoms that leave their sites and lines that are
    none are told in ``warnings``.

    Parameters
    ----------
    crystal
        The unit cell, primitive or not.
    forces
        Where forces come from; needed for finite displacements and for ``Renormalisation``.
    supercell_matrix
        Three multiples or integer rows, shape (3, 3): supercell lattice = supercell_matrix @ unit-cell lattice.
        Taken from ``force_constants`` where not given.
    force_constants
        Force constants to use instead of finite displacements.  The mode projection uses their eigenvectors, so that
        renormalised ones may be given as well.
    renormalisation
        Route to a temperature, and its settings; None returns the harmonic force constants.
    trajectory
        Molecular dynamics in the supercell, for ``ModeProjection`` and ``ForceRegression``; the latter also takes an
        ensemble of frames without a time step, and needs no force constants or forces besides.
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
        With method ``"finite-displacement"``, ``"file"``, ``"self-consistent"``, ``"mode-projection"`` or
        ``"regression"``.

    Raises
    ------
    ConfigurationError
        A bad supercell matrix, no source of forces or no trajectory where one is needed.
    DataError
        Force constants or a trajectory of another crystal or supercell; NaN forces; a trajectory too short.
    MissingEngineError
        The engine is not installed.
    """
    check_route(renormalisation, trajectory, forces)
    if force_constants is not None:
        _check_same(crystal, supercell_matrix, force_constants)
    elif forces is None and not isinstance(renormalisation, ForceRegression):
        raise ConfigurationError(
            "phonons without given force constants needs forces; pass forces=CalculatorForces(engine='chgnet')"
        )
    elif supercell_matrix is None:
        raise ConfigurationError(
            "finite displacements need a supercell, and so does a regression; pass supercell_matrix, for example "
            "(2, 2, 2)"
        )
    with contextlib.ExitStack() as stack:
        field = stack.enter_context(ForceField(forces, workers)) if forces is not None else None
        made = _start(crystal, forces, supercell_matrix, force_constants, field, renormalisation, progress)
        if renormalisation is None:
            assert isinstance(made, Phonons)
            return made
        if isinstance(renormalisation, Renormalisation):
            assert isinstance(made, Phonons)
            assert field is not None
            values = made.force_constants.values_eV_per_A2
            found = self_consistent(made.supercell, values, renormalisation, field, seed, progress)
        else:
            assert trajectory is not None
            start = made.force_constants.values_eV_per_A2 if isinstance(made, Phonons) else None
            found = from_trajectory(made.supercell, start, renormalisation, trajectory, progress)
    return _renormalised_phonons(made, found, forces, renormalisation, trajectory, seed)


@dataclass(frozen=True, eq=False)
class _Bare:
    """A supercell without force constants: all that a regression needs."""

    unitcell: Crystal
    matrix: IntArray
    supercell: Crystal


def _start(
    crystal: Crystal,
    forces: ForceSource | None,
    supercell_matrix: ArrayLike | None,
    force_constants: ForceConstants | None,
    field: ForceField | None,
    route: Route | None,
    progress: Progress | None,
) -> Phonons | _Bare:
    """Return the harmonic phonons that a route starts from, where there are any."""
    if force_constants is not None:
        at_rest: tuple[str, ...] = ()
        if isinstance(route, Renormalisation) and forces is not None and field is not None:
            at_rest = reference_warnings(field.reference(crystal), forces.name)
        return _harmonic_phonons(force_constants, "file", at_rest, {})
    assert supercell_matrix is not None
    matrix = as_supercell_matrix(supercell_matrix, crystal)
    if forces is None or field is None:
        return _Bare(crystal, matrix, supercell_of(crystal, matrix))
    return _from_displacements(crystal, forces, matrix, field, progress)


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


def _from_displacements(
    crystal: Crystal, forces: ForceSource, matrix: IntArray, field: ForceField, progress: Progress | None
) -> Phonons:
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
    return _harmonic_phonons(constants, "finite-displacement", sentences, settings, result.sensitivity_THz)


def examined(
    constants: ForceConstants, frequencies_THz: FloatArray, what: str, sensitivity_THz: float | None = None
) -> tuple[PhononAudit, PhononProperties, tuple[str, ...], tuple[str, ...]]:
    """Return audit, properties, the sentences about both, and the sentence that names imaginary modes."""
    found = audit(constants, sensitivity_THz)
    properties = phonon_properties(constants)
    imaginary = imaginary_warning(found, frequencies_THz, what)
    sentences = (
        *symmetrisation_warnings(constants),
        *audit_warnings(found, f"force constants of the {what}"),
        *properties_warnings(properties, what),
    )
    return found, properties, sentences, imaginary


def _harmonic_phonons(
    constants: ForceConstants,
    method: str,
    sentences: tuple[str, ...],
    settings: dict[str, Any],
    sensitivity_THz: float | None = None,
) -> Phonons:
    """Return phonons of harmonic force constants; imaginary modes are named with the remedies."""
    frequencies = frequencies_of(constants)
    found, properties, seen, imaginary = examined(constants, frequencies, "harmonic (0 K) phonons", sensitivity_THz)
    remedy = (
        "Sampling imaginary modes is refused by default; renormalise at the temperature of interest "
        "([phonons.renormalisation]), change the lattice constant, or name a policy for soft modes in the sampler.",
    )
    bands = spectrum(constants)
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
        warnings=(*sentences, *seen, *imaginary, *(remedy if imaginary else ())),
        origin=_origin(
            constants.unitcell,
            {
                "method": method,
                "supercell_matrix": constants.supercell_matrix.tolist(),
                **settings,
                "force_constants": dict(constants.origin.settings) if method == "file" else {},
            },
            dict(constants.origin.versions),
            inputs=dict(constants.origin.inputs),
        ),
        audit=found,
        properties=properties,
    )


def _renormalised_phonons(
    made: Phonons | _Bare,
    found: Followed,
    forces: ForceSource | None,
    route: Route,
    trajectory: Trajectory | None,
    seed: int,
) -> Phonons:
    """Return the phonons that a route found, with what they started from."""
    harmonic = made.force_constants if isinstance(made, Phonons) else None
    origin = _route_origin(made, found, forces, route, trajectory, seed)
    if harmonic is not None:
        constants = dataclasses.replace(harmonic, values_eV_per_A2=found.values_eV_per_A2, origin=origin)
    else:
        assert isinstance(made, _Bare)
        constants = ForceConstants(
            unitcell=made.unitcell,
            supercell_matrix=made.matrix,
            supercell=made.supercell,
            values_eV_per_A2=found.values_eV_per_A2,
            origin=origin,
        )
    what = f"renormalised phonons at {found.temperature_K:g} K"
    audited, properties, seen, imaginary = examined(constants, found.frequencies_THz, what)
    bands = spectrum(constants)
    # The remedy that asks to renormalise has been followed; the imaginary harmonic modes themselves stay told.
    told = made.warnings if isinstance(made, Phonons) else (NO_HARMONIC,)
    kept = tuple(sentence for sentence in told if not sentence.startswith("Sampling imaginary modes"))
    return Phonons(
        force_constants=constants,
        harmonic=harmonic,
        method=found.method,
        temperature_K=found.temperature_K,
        frequencies_THz=found.frequencies_THz,
        frequency_error_THz=found.errors_THz,
        harmonic_frequencies_THz=made.frequencies_THz if isinstance(made, Phonons) else found.frequencies_THz,
        spectrum=bands,
        harmonic_spectrum=made.spectrum if isinstance(made, Phonons) else bands,
        rounds=found.rounds,
        converged=found.converged,
        warnings=(*kept, *found.warnings, *seen, *imaginary),
        origin=origin,
        line_widths_THz=found.widths_THz,
        line_width_errors_THz=found.width_errors_THz,
        curvature_frequencies_THz=found.curvature_THz,
        curvature_errors_THz=found.curvature_errors_THz,
        audit=audited,
        properties=properties,
    )


def _route_origin(
    made: Phonons | _Bare,
    found: Followed,
    forces: ForceSource | None,
    route: Route,
    trajectory: Trajectory | None,
    seed: int,
) -> Origin:
    before = made.origin if isinstance(made, Phonons) else Origin(room="phonons")
    unitcell = made.force_constants.unitcell if isinstance(made, Phonons) else made.unitcell
    inputs, settings = dict(before.inputs), dict(before.settings)
    if trajectory is not None:
        inputs["trajectory"] = array_hash(trajectory.cell_A, trajectory.numbers, trajectory.positions_A)
        settings["trajectory"] = dict(trajectory.origin.settings)
    settings |= {
        "method": found.method,
        "forces": describe(forces) if forces is not None else None,
        "renormalisation": describe_route(route),
        "measured": dict(found.measured),
    }
    versions = {**before.versions, **(engine_versions(forces) if forces is not None else {})}
    seeded = seed if isinstance(route, Renormalisation) else None
    return _origin(unitcell, settings, versions, seed=seeded, inputs=inputs)


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
        inputs={
            **(inputs or {}),
            "crystal": crystal_hash(crystal),
        },
        versions={**{package: importlib.metadata.version(package) for package in packages}, **versions},
    )
