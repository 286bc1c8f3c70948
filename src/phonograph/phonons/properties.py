"""Density of states, thermodynamics and thermal displacements of harmonic (or effective harmonic) phonons.

Sums over a mesh of wave vectors of the primitive cell, Γ included, as phonopy makes it; frequencies and eigenvectors
are phonopy's, without the non-analytical term of polar crystals.  The sampler draws the commensurate wave vectors of
its supercell only, so its displacements differ from these by what the supercell leaves out.

Sources: Born & Huang, Dynamical Theory of Crystal Lattices (1954), chapter IV; Togo et al., J. Phys.: Condens. Matter
35, 353001 (2023), doi:10.1088/1361-648X/acd831; tetrahedra: Blöchl, Jepsen & Andersen, Phys. Rev. B 49, 16223 (1994),
doi:10.1103/PhysRevB.49.16223.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from phonograph import units
from phonograph.audit_checks import IMAGINARY_THZ
from phonograph.errors import ConfigurationError
from phonograph.lattice import mode_variance
from phonograph.phonons.cells import phonopy_of
from phonograph.types import FloatArray, ForceConstants, IntArray, PhononProperties

TEMPERATURES_K = tuple(float(temperature) for temperature in range(0, 1001, 50))

MESH_LENGTH_A = 100.0
"""Default mesh: length × |reciprocal vector| points along each axis (no 2π), phonopy's convention and default."""

MOST_MODES = 6_000
"""Irreducible wave vectors × branches of the default mesh, about; larger primitive cells get a shorter length."""

DOS_BINS = 200


def phonon_properties(
    force_constants: ForceConstants,
    temperatures_K: Sequence[float] = TEMPERATURES_K,
    mesh: float | tuple[int, int, int] | None = None,
) -> PhononProperties:
    """Return density of states, free energy, entropy, heat capacity and thermal displacements.

    With ħω the energy of a mode, x = ħω/kT and n = 1/(eˣ − 1), per primitive cell:

    * F = Σ ħω/2 + kT ln(1 − e⁻ˣ),  S = Σ k [x n − ln(1 − e⁻ˣ)],  C_V = Σ k x² eˣ n²;
    * ⟨u_α u_β⟩ of atom j = 1/(N m_j) Σ (ħ/2ω)(2n + 1) Re e_jα e_jβ*, summed over the N wave vectors and all branches;
    * the density of states by linear tetrahedra, averaged over each of its bins, so that it integrates to 3 × atoms.

    The three translations at q = 0 and all modes below 0.001 THz, imaginary ones among them, have no thermodynamics:
    their share is ``left_out``.

    Parameters
    ----------
    force_constants
        Of any supercell; the primitive cell is found from the unit cell's symmetry.
    temperatures_K
        At least 0.
    mesh
        Three numbers of points along the primitive reciprocal axes, or a length in Å: each axis then gets
        length × |reciprocal vector| points, and all axes equally many where the symmetry asks for it.  None: 100 Å,
        shortened in large primitive cells (:data:`MOST_MODES`).

    Raises
    ------
    ConfigurationError
        Negative or no temperatures; a mesh without points.
    """
    temperatures = _checked_temperatures(temperatures_K)
    phonon = phonopy_of(force_constants.unitcell, force_constants.supercell_matrix)
    phonon.force_constants = np.array(force_constants.values_eV_per_A2)
    numbers, symmetric = _mesh(mesh, phonon)
    found = phonon.run_mesh(numbers, is_mesh_symmetry=symmetric, with_eigenvectors=True, is_gamma_center=True)
    kept = _with_thermodynamics(found)
    weights = np.asarray(found.weights, dtype=np.float64) / np.sum(found.weights)
    energies, entropies, capacities = _thermodynamics(found.frequencies, kept, weights, temperatures)
    symbols = tuple(phonon.primitive.symbols)
    edges = _bin_edges(found.frequencies)
    species = tuple(dict.fromkeys(symbols))
    shares = _species_dos(found, symbols, species, edges)
    displacements = _displacements(found, kept, weights, temperatures, phonon)
    return PhononProperties(
        mesh=(int(found.mesh_numbers[0]), int(found.mesh_numbers[1]), int(found.mesh_numbers[2])),
        atoms=len(symbols),
        dos_THz=0.5 * (edges[1:] + edges[:-1]),
        dos_per_THz=shares.sum(axis=0),
        species=species,
        species_dos_per_THz=shares,
        temperatures_K=temperatures,
        free_energy_eV=energies,
        entropy_eV_per_K=entropies,
        heat_capacity_eV_per_K=capacities,
        displacement_symbols=symbols,
        displacement_A2=_symmetrised(displacements, phonon) if symmetric else displacements,
        left_out=float(1.0 - (weights[:, None] * kept).sum() / kept.shape[1]),
    )


def properties_warnings(properties: PhononProperties, what: str) -> tuple[str, ...]:
    """Say so where more than the three translations have no thermodynamics."""
    translations = 3.0 / (3 * properties.atoms * np.prod(properties.mesh))
    if properties.left_out <= translations * (1 + 1e-6):
        return ()
    return (
        f"{what}: {100 * (properties.left_out - translations):.2g} % of the modes on the "
        f"{'×'.join(map(str, properties.mesh))} mesh are imaginary or zero and enter neither free energy, entropy and "
        "heat capacity nor the thermal displacements, which are then not those of a stable crystal.",
    )


def _checked_temperatures(values: Sequence[float]) -> FloatArray:
    temperatures = np.array(values, dtype=np.float64).reshape(-1)
    if len(temperatures) == 0 or not np.isfinite(temperatures).all() or temperatures.min() < 0:
        raise ConfigurationError(
            f"temperatures must be one or more numbers of at least 0 K; got {temperatures.tolist()}"
        )
    return temperatures


def _mesh(mesh: float | tuple[int, int, int] | None, phonon: Any) -> tuple[IntArray, bool]:
    """Return numbers of points, and whether the mesh and the supercell have all symmetries of the crystal."""
    operations = np.asarray(phonon.primitive_symmetry.reciprocal_operations)
    whole = len(phonon.symmetry.pointgroup_operations) == len(phonon.primitive_symmetry.pointgroup_operations)
    if mesh is not None:
        given = np.atleast_1d(np.asarray(mesh, dtype=np.float64))
        if given.shape not in ((1,), (3,)) or not np.isfinite(given).all() or given.min() <= 0:
            raise ConfigurationError(f"mesh must be a length in Å or three numbers of points; got {mesh!r}")
        if given.shape == (3,):
            numbers = np.maximum(np.rint(given), 1).astype(np.int64)
            return numbers, whole and _is_symmetric(numbers, operations)
        return _numbers(float(given[0]), phonon, operations), whole
    points = MESH_LENGTH_A**3 / float(np.linalg.det(np.array(phonon.primitive.cell)))
    modes = points * 3 * len(phonon.primitive) / (len(operations) if whole else 1)
    length = MESH_LENGTH_A * min(1.0, (MOST_MODES / modes) ** (1.0 / 3.0))
    return _numbers(length, phonon, operations), whole


def _numbers(length_A: float, phonon: Any, operations: IntArray) -> IntArray:
    """Return points along each axis; equal ones where others would break the symmetry, as in body-centred cells."""
    spacing = np.linalg.norm(np.linalg.inv(np.array(phonon.primitive.cell)), axis=0)
    numbers = np.maximum(np.rint(length_A * spacing), 1).astype(np.int64)
    if _is_symmetric(numbers, operations):
        return numbers
    return np.full(3, max(1, round(float(np.prod(length_A * spacing)) ** (1.0 / 3.0))), dtype=np.int64)


def _is_symmetric(numbers: IntArray, operations: IntArray) -> bool:
    """Return whether every rotation q → R q maps the points m_i/n_i onto each other."""
    turned = operations * numbers[:, None] / numbers[None, :]
    return bool(np.abs(turned - np.rint(turned)).max() < 1e-9)


def _with_thermodynamics(mesh: Any) -> Any:
    """Return which modes are vibrations: not imaginary, not zero, and not one of the three translations at q = 0."""
    kept = np.array(mesh.frequencies) > IMAGINARY_THZ
    for index in np.flatnonzero(np.abs(mesh.qpoints - np.rint(mesh.qpoints)).max(axis=1) < 1e-9):
        kept[index, np.argsort(np.abs(mesh.frequencies[index]))[:3]] = False
    return kept


def _thermodynamics(
    frequencies: FloatArray, kept: Any, weights: FloatArray, temperatures: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return F (eV), S and C_V (eV/K) at each temperature."""
    energy = units.EV_PER_THZ * frequencies[kept]
    weight = np.broadcast_to(weights[:, None], kept.shape)[kept]
    boltzmann = units.BOLTZMANN_EV_PER_K
    rows = []
    for temperature in temperatures:
        if temperature == 0:
            rows.append((0.5 * float(weight @ energy), 0.0, 0.0))
            continue
        thermal = boltzmann * temperature
        x = np.minimum(energy / thermal, 700.0)
        occupation, log = 1.0 / np.expm1(x), np.log(-np.expm1(-x))
        rows.append(
            (
                float(weight @ (0.5 * energy + thermal * log)),
                float(weight @ (boltzmann * (x * occupation - log))),
                float(weight @ (boltzmann * x**2 * occupation * (occupation + 1.0))),
            )
        )
    free, entropy, capacity = np.array(rows).T
    return free, entropy, capacity


def _bin_edges(frequencies: FloatArray) -> FloatArray:
    """Return edges of equal bins, a little wider than the frequencies."""
    low, high = min(float(frequencies.min()), 0.0), max(float(frequencies.max()), 0.01)
    margin = (high - low) / DOS_BINS
    return np.linspace(low - margin, high + margin, DOS_BINS + 1)


def _species_dos(mesh: Any, symbols: tuple[str, ...], species: tuple[str, ...], edges: FloatArray) -> FloatArray:
    """Return each species' share of the density of states, states/THz, shape (s, bins).

    A species' share of |e|² is the same on all wave vectors of a star, so the irreducible ones suffice.
    """
    from phonopy.phonon.spectrum import TetrahedronDOSAccumulator

    vectors = mesh.eigenvectors
    count, branches = mesh.frequencies.shape
    per_atom = (np.abs(vectors.reshape(count, branches // 3, 3, branches)) ** 2).sum(axis=2)
    member = np.array([[symbol == name for symbol in symbols] for name in species], dtype=np.float64)
    shares = np.einsum("sa,qab->qbs", member, per_atom)
    integral = TetrahedronDOSAccumulator(
        mesh.frequencies,
        mesh.bz_grid,
        mode_property=shares[None],
        ir_grid_points=mesh.ir_grid_points,
        ir_grid_weights=mesh.weights,
        ir_grid_map=mesh.grid_mapping_table,
        sampling_points=edges,
    ).result.cumulative[0]
    return np.asarray(np.diff(integral, axis=0).T / np.diff(edges), dtype=np.float64)


def _displacements(mesh: Any, kept: Any, weights: FloatArray, temperatures: FloatArray, phonon: Any) -> FloatArray:
    """Return ⟨u_α u_β⟩ summed over the irreducible wave vectors, Å², shape (t, atoms, 3, 3)."""
    masses = np.array(phonon.primitive.masses)
    variance = np.zeros((len(temperatures), *kept.shape))
    for row, temperature in enumerate(temperatures):
        variance[row][kept] = mode_variance(mesh.frequencies[kept], float(temperature), "quantum")
    total = np.zeros((len(temperatures), len(masses), 3, 3))
    for index, weight in enumerate(weights):
        vectors = mesh.eigenvectors[index].reshape(len(masses), 3, -1)
        products = np.einsum("jav,jbv->vjab", vectors, vectors.conj()).real
        total += weight * np.tensordot(variance[:, index], products, axes=1)
    return total / masses[:, None, None]


def _symmetrised(displacements: FloatArray, phonon: Any) -> FloatArray:
    """Average over the space group, which completes the stars of the irreducible wave vectors."""
    symmetry = phonon.primitive_symmetry
    rotations = symmetry.symmetry_operations["rotations"]
    columns = np.array(phonon.primitive.cell).T
    total = np.zeros_like(displacements)
    for rotation, permutation in zip(rotations, symmetry.atomic_permutations, strict=True):
        cartesian = columns @ rotation @ np.linalg.inv(columns)
        total[:, permutation] += cartesian @ displacements @ cartesian.T
    return total / len(rotations)
