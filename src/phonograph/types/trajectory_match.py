"""A molecular dynamics trajectory against the supercell whose displacements it is to give."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from phonograph.errors import DataError
from phonograph.types.arrays import FloatArray, IntArray
from phonograph.types.crystals import Crystal
from phonograph.types.trajectories import Trajectory

SAME_CELL_A = 0.01
"""How far lattice vectors of the trajectory may be from the supercell's, Å: files round them."""

MISPLACED = 1.5
"""Beyond this many times half the shortest distance of two sites an atom of the first frame is on another site; up to
there it may be a mobile ion on its way, which is told but not refused."""

SAME_MASS = 1.0e-3
"""Masses that differ by more than this share are told."""

MAX_CANDIDATES = 64
"""Origins that are tried when atoms are looked for in another order."""


def require_time_step(trajectory: Trajectory) -> float:
    """Return the time between two frames, fs.

    Raises
    ------
    DataError
        Where the trajectory does not say.
    """
    if trajectory.time_step_fs is None:
        raise DataError(
            f"the trajectory {trajectory.title!r} has a missing time step, and without it neither frequencies nor "
            "durations can be told; give time_step_fs, the time between two stored frames in fs"
        )
    return trajectory.time_step_fs


def first_frame(trajectory: Trajectory, skip_ps: float) -> int:
    """Return the first frame that is not in the first ``skip_ps``.

    Raises
    ------
    DataError
        Where nothing is left, or the time between two frames is not known.
    """
    if skip_ps == 0:
        return 0
    spacing_fs = require_time_step(trajectory)
    first = int(np.ceil(1000.0 * skip_ps / spacing_fs - 1.0e-9))
    if first >= len(trajectory) - 1:
        raise DataError(
            f"skip_ps = {skip_ps:g} leaves nothing of the trajectory, which holds {len(trajectory)} frames "
            f"{spacing_fs:g} fs apart; skip less"
        )
    return first


def matched(trajectory: Trajectory, supercell: Crystal) -> Trajectory:
    """Return the trajectory in the frame of the supercell, so that positions − supercell positions are displacements.

    Each atom is shifted by one lattice vector, the same in all frames; the motion of the centre of mass is taken out
    of positions and velocities; a lattice that is the supercell's up to a rotation (LAMMPS turns cells) is turned
    back.  Forces are turned, nothing else.  Atoms are never put into another order.

    Parameters
    ----------
    trajectory
        Frames as read or as made by molecular dynamics.
    supercell
        The crystal at rest, atoms in phonopy's order.

    Returns
    -------
    Trajectory
        With the supercell's lattice and masses.  Its warnings name a turned lattice, other masses, and atoms that leave
        their sites.

    Raises
    ------
    DataError
        Another number of atoms, other elements, another order of the atoms, another lattice, or a first frame whose
        atoms do not sit on the sites of the supercell.
    """
    _check_elements(trajectory, supercell)
    turned, notes = _turned(trajectory, supercell)
    apart = turned.positions_A[0] - supercell.positions_A
    near, reach = _rigid_shift_removed(apart, supercell), _reach(supercell)
    if np.linalg.norm(near, axis=1).max() > MISPLACED * reach:
        _explain_mismatch(turned.positions_A[0], supercell, reach)
    # One lattice vector per atom for the whole run, and one shift for all: frames follow each other without jumps.
    aligned = replace(turned, positions_A=turned.positions_A - (apart - near))
    moved = displacements(aligned, supercell)
    notes += (*_mass_notes(trajectory, supercell), *_hops(moved, supercell, reach))
    velocities = aligned.velocities_A_per_ps
    if velocities is not None:
        velocities = velocities - _mass_mean(velocities, supercell.masses_amu)
    return replace(
        aligned,
        positions_A=supercell.positions_A + moved,
        velocities_A_per_ps=velocities,
        masses_amu=supercell.masses_amu,
        warnings=(*trajectory.warnings, *notes),
    )


def displacements(trajectory: Trajectory, supercell: Crystal) -> FloatArray:
    """Return the displacements of a :func:`matched` trajectory, Å, shape (frames, n, 3).

    u_i(t) = r_i(t) − R_i − Σ_j m_j (r_j(t) − R_j) / Σ_j m_j: the mass-weighted mean of each frame is zero.
    """
    moved = trajectory.positions_A - supercell.positions_A
    return np.asarray(moved - _mass_mean(moved, supercell.masses_amu), dtype=np.float64)


def _mass_mean(values: FloatArray, masses_amu: FloatArray) -> FloatArray:
    return np.asarray(np.einsum("...ia,i->...a", values, masses_amu / masses_amu.sum())[..., None, :])


def _check_elements(trajectory: Trajectory, supercell: Crystal) -> None:
    from ase.data import chemical_symbols

    if len(trajectory.numbers) != len(supercell):
        raise DataError(
            f"the trajectory has {len(trajectory.numbers)} atoms, but the supercell of the force constants has "
            f"{len(supercell)} ({supercell.formula}); give the trajectory of that supercell"
        )
    if (trajectory.numbers == supercell.numbers).all():
        return
    if (np.sort(trajectory.numbers) == np.sort(supercell.numbers)).all():
        index = int(np.flatnonzero(trajectory.numbers != supercell.numbers)[0])
        raise DataError(
            f"the atoms of the trajectory come in another order than those of the supercell: atom {index + 1} is "
            f"{chemical_symbols[trajectory.numbers[index]]} instead of {supercell.symbols[index]}; {_ORDER}"
        )
    raise DataError(
        f"the trajectory holds other elements than the supercell {supercell.formula} of the force constants; "
        "give the trajectory of that supercell"
    )


def _mass_notes(trajectory: Trajectory, supercell: Crystal) -> tuple[str, ...]:
    off = np.abs(trajectory.masses_amu / supercell.masses_amu - 1.0)
    if off.max() <= SAME_MASS:
        return ()
    worst = int(off.argmax())
    return (
        f"masses of the trajectory are not those of the force constants ({supercell.symbols[worst]}: "
        f"{trajectory.masses_amu[worst]:.3f} and {supercell.masses_amu[worst]:.3f} amu); those of the force constants "
        "are used, so make sure that the atoms moved with them.",
    )


_ORDER = "run the dynamics from the supercell that phonograph or phonopy writes (SPOSCAR), or sort the trajectory alike"


def _turned(trajectory: Trajectory, supercell: Crystal) -> tuple[Trajectory, tuple[str, ...]]:
    """Return the trajectory with the supercell's lattice, and what was done to it."""
    given, wanted = trajectory.cell_A, supercell.cell_A
    difference = float(np.abs(given - wanted).max())
    if difference <= SAME_CELL_A:
        notes: tuple[str, ...] = ()
        if difference > 1e-3:
            notes = (
                f"the lattice vectors of the trajectory differ from the supercell's by up to {difference:.4f} Å; "
                "positions were taken in units of the lattice vectors",
            )
        strain = np.linalg.solve(given, wanted)
        return replace(trajectory, cell_A=wanted, positions_A=trajectory.positions_A @ strain), notes
    left, _, right = np.linalg.svd(np.linalg.solve(given, wanted))
    rotation = left @ right
    if float(np.abs(given @ rotation - wanted).max()) > SAME_CELL_A:
        raise DataError(
            f"the lattice of the trajectory (lengths {_lengths(given)} Å, {abs(np.linalg.det(given)):.2f} Å³) is not "
            f"that of the supercell of the force constants ({_lengths(wanted)} Å, {supercell.volume_A3:.2f} Å³); run "
            "the dynamics in that supercell, or make force constants for the lattice of the trajectory"
        )

    def turn(values: FloatArray | None) -> FloatArray | None:
        return None if values is None else np.asarray(values @ rotation)

    moved = replace(
        trajectory,
        cell_A=wanted,
        positions_A=trajectory.positions_A @ np.linalg.solve(given, wanted),
        velocities_A_per_ps=turn(trajectory.velocities_A_per_ps),
        forces_eV_per_A=turn(trajectory.forces_eV_per_A),
    )
    return moved, ("the lattice of the trajectory is the supercell's, turned; positions and vectors were turned back",)


def _lengths(cell_A: FloatArray) -> str:
    return ", ".join(f"{length:.4f}" for length in np.linalg.norm(cell_A, axis=1))


def _rigid_shift_removed(moved_A: FloatArray, supercell: Crystal) -> FloatArray:
    """Return displacements by minimum image, after removing the shift that all atoms share.

    The shift is first taken from the mean phase exp(2πi f) of the fractional displacements f, which does not mind
    that an atom was wrapped, then from the centre of mass.
    """
    from ase.geometry import find_mic

    fractions = np.linalg.solve(supercell.cell_A.T, moved_A.T).T
    share = supercell.masses_amu / supercell.masses_amu.sum()
    shift = np.angle(share @ np.exp(2j * np.pi * fractions)) / (2 * np.pi)
    near = np.asarray(find_mic((fractions - shift) @ supercell.cell_A, supercell.cell_A)[0])
    return np.asarray(near - _mass_mean(near, supercell.masses_amu))


def _reach(supercell: Crystal) -> float:
    """Return half the shortest distance between two sites, Å: farther away, an atom is nearer to another site."""
    if len(supercell) == 1:
        return 0.5 * float(np.linalg.norm(supercell.cell_A, axis=1).min())
    from scipy.spatial import cKDTree

    near = range(-1, 2)
    images = np.array([[i, j, k] for i in near for j in near for k in near]) @ supercell.cell_A
    everywhere = (supercell.positions_A[None] + images[:, None]).reshape(-1, 3)
    distances, _ = cKDTree(everywhere).query(supercell.positions_A, k=2)
    return 0.5 * float(distances[:, 1].min())


def _explain_mismatch(positions_A: FloatArray, supercell: Crystal, reach: float) -> None:
    order = _order(positions_A, supercell, reach)
    if order is not None:
        index = int(np.flatnonzero(order != np.arange(len(order)))[0])
        raise DataError(
            f"the atoms of the trajectory come in another order than those of the supercell: atom {index + 1} "
            f"({supercell.symbols[index]}) sits on the site of atom {int(order[index]) + 1}; {_ORDER}"
        )
    raise DataError(
        "the atoms of the trajectory's first frame do not sit on the sites of the supercell of the force constants: "
        f"some are more than {reach:.2f} Å (half the shortest distance of two sites) away; give a trajectory of that "
        "crystal that has not molten, or the force constants of the trajectory's crystal"
    )


def _order(positions_A: FloatArray, supercell: Crystal, reach: float) -> IntArray | None:
    """Return the site of each atom if some other order puts all atoms on sites of their own element."""
    from scipy.spatial import cKDTree

    kinds, counts = np.unique(supercell.numbers, return_counts=True)
    rare = np.flatnonzero(supercell.numbers == kinds[np.argmin(counts)])
    near = range(-1, 2)
    images = np.array([[i, j, k] for i in near for j in near for k in near], dtype=np.float64)
    inside = np.mod(supercell.fractional, 1.0)
    tree = cKDTree(((inside[None] + images[:, None]).reshape(-1, 3)) @ supercell.cell_A)
    for site in rare[:MAX_CANDIDATES]:
        moved = positions_A - positions_A[rare[0]] + supercell.positions_A[site]
        fractions = np.mod(np.linalg.solve(supercell.cell_A.T, moved.T).T, 1.0)
        distances, found = tree.query(fractions @ supercell.cell_A)
        sites = np.asarray(found % len(supercell), dtype=np.int64)
        right = (supercell.numbers[sites] == supercell.numbers).all() and len(np.unique(sites)) == len(sites)
        if right and float(distances.max()) < 2.0 * reach and (sites != np.arange(len(sites))).any():
            return sites
    return None


def _hops(moved_A: FloatArray, supercell: Crystal, reach: float) -> tuple[str, ...]:
    lengths = np.linalg.norm(moved_A, axis=2)
    far = np.flatnonzero((lengths > reach).any(axis=0))
    if len(far) == 0:
        return ()
    worst = int(np.argmax(lengths.max(axis=0)))
    return (
        f"{len(far)} of {len(supercell)} atoms move more than {reach:.2f} Å (half the shortest distance of two sites) "
        f"from their sites, atom {worst + 1} ({supercell.symbols[worst]}) by up to {lengths.max():.2f} Å: they "
        "exchange sites or the crystal melts, and phonons do not describe such motion",
    )
