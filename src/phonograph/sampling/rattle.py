"""Random displacements of a bare crystal that keep atoms apart: Monte Carlo rattling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from phonograph.errors import ConfigurationError
from phonograph.options import check_options, option
from phonograph.sampling.laws import ByIndex, blocks_of, normal_draws, pack, supercell_of, uniform_draws
from phonograph.types import Configurations, Crystal, FloatArray, IntArray, Phonons

WIDTHS = 4.0
"""Pairs beyond minimum_distance_A by this many widths hinder no move: erf(4) = 1 − 2 · 10⁻⁸."""


@dataclass(frozen=True, kw_only=True)
class RattleSampler(ByIndex):
    """Monte Carlo rattling: many small random moves of one atom at a time that keep a minimum distance.

    In each of ``n_iterations`` sweeps every atom in turn is offered a Gaussian step of ``rattle_std_A`` per axis.  The
    step is taken with probability ½ (1 + erf((d − d_min)/w)), with d the shortest distance of the moved atom to any
    other (periodic images included), d_min ``minimum_distance_A`` and w ``width_A``; a refused step is drawn again, at
    most ``max_attempts`` times, after which the atom stays where it is in this sweep.  Where few steps are refused the
    rms displacement per axis is rattle_std_A · √n_iterations.

    What is guaranteed: no atom is farther than ``maximum_displacement_A`` from its site, and with ``hard`` no pair is
    closer than ``minimum_distance_A``.  Without ``hard``, closer pairs are unlikely but occur.  The law has no closed
    form: the certificate has nothing to test it against.  It needs a crystal only and knows no forces.

    References
    ----------
    Eriksson, Fransson, Erhart, Adv. Theory Simul. 2, 1800184 (2019), https://doi.org/10.1002/adts.201800184.
    """

    kind: ClassVar[str] = "mc-rattle"

    minimum_distance_A: float = option(
        help="Distance below which two atoms should not come, Å; less than the shortest one of the crystal at rest.",
        above=0.0,
        maximum=20.0,
    )
    rattle_std_A: float = option(0.05, "Standard deviation of one step per axis, Å.", above=0.0, maximum=2.0)
    n_iterations: int = option(10, "Sweeps over all atoms.", minimum=1, maximum=10000)
    width_A: float = option(0.1, "Width w of the acceptance probability, Å.", above=0.0, maximum=5.0)
    hard: bool = option(True, "Refuse every step that brings a pair closer than minimum_distance_A.")
    max_attempts: int = option(
        10, "Steps offered to an atom in one sweep before it stays where it is.", minimum=1, maximum=1000
    )
    maximum_displacement_A: float = option(1.0, "Largest distance of an atom from its site, Å.", above=0.0, maximum=5.0)

    def __post_init__(self) -> None:
        check_options(self)

    def sample_at(self, reference: Phonons | Crystal, indices: Sequence[int], seed: int) -> Configurations:
        """Return the samples with these indices; those of a block are moved together, each by its own draws."""
        crystal = supercell_of(reference)
        around = _neighbours(crystal, self)
        index = np.asarray(indices, dtype=np.int64)
        displacements = np.empty((len(index), len(crystal), 3))
        tally = _Tally()
        for _, places, _ in blocks_of(index):
            displacements[places] = self._rattled(around, index[places], seed, tally)
        return pack(
            self,
            reference,
            indices,
            displacements.reshape(len(index), -1),
            seed,
            warnings=self._notes(tally, displacements),
        )

    def _rattled(self, around: _Neighbours, index: IntArray, seed: int, tally: _Tally) -> FloatArray:
        count, size = len(index), len(around.atoms)
        shape = (count, size, self.max_attempts)
        moved = np.zeros((count, size, 3))
        for sweep in range(self.n_iterations):
            steps = normal_draws(seed, f"{self.kind} steps {sweep}", index, 3 * size * self.max_attempts)
            chances = uniform_draws(seed, f"{self.kind} chances {sweep}", index, size * self.max_attempts)
            self._sweep(
                around, moved, self.rattle_std_A * steps.reshape(*shape, 3), 0.5 * (1 + chances.reshape(shape)), tally
            )
        tally.moves += count * size * self.n_iterations
        return moved

    def _sweep(
        self, around: _Neighbours, moved: FloatArray, steps: FloatArray, chances: FloatArray, tally: _Tally
    ) -> None:
        """Offer every atom of every sample a move; ``moved`` is changed."""
        for atom in range(moved.shape[1]):
            waiting = np.arange(len(moved))
            for attempt in range(self.max_attempts):
                trial = moved[waiting, atom] + steps[waiting, atom, attempt]
                shortest = around.shortest(atom, trial, moved, waiting)
                taken = self._taken(trial, shortest, chances[waiting, atom, attempt])
                moved[waiting[taken], atom] = trial[taken]
                tally.offered += len(waiting)
                waiting = waiting[~taken]
                if len(waiting) == 0:
                    break
            tally.stuck += len(waiting)

    def _taken(self, trial: FloatArray, shortest: FloatArray, chance: FloatArray) -> np.typing.NDArray[np.bool_]:
        from scipy.special import erf

        probability = 0.5 * (1.0 + erf((shortest - self.minimum_distance_A) / self.width_A))
        taken = (chance < probability) & (_squares(trial) <= self.maximum_displacement_A**2)
        return taken & (shortest >= self.minimum_distance_A) if self.hard else taken

    def _notes(self, tally: _Tally, displacements: FloatArray) -> tuple[str, ...]:
        rms = float(np.sqrt((displacements**2).mean()))
        accepted = 100.0 * (tally.moves - tally.stuck) / tally.offered
        notes = [f"{accepted:.1f} % of the steps offered were taken; the rms displacement is {rms:.3f} Å per axis"]
        if tally.stuck:
            notes.append(
                f"{100.0 * tally.stuck / tally.moves:.2g} % of the moves found no place in {self.max_attempts} "
                "attempts and left the atom where it was"
            )
        return tuple(notes)


@dataclass
class _Tally:
    """How many steps were offered, how many moves were asked for, and how many found no place."""

    offered: int = 0
    moves: int = 0
    stuck: int = 0


@dataclass(frozen=True, eq=False)
class _Neighbours:
    """Per atom: the atoms and vectors (at rest) of all pairs that could come close enough to hinder a move."""

    atoms: tuple[IntArray, ...]
    vectors_A: tuple[FloatArray, ...]

    def shortest(self, atom: int, trial: FloatArray, moved: FloatArray, samples: IntArray) -> FloatArray:
        """Return the shortest distance of ``atom`` displaced by ``trial`` in each of ``samples``, Å."""
        others = self.atoms[atom]
        if len(others) == 0:
            return np.full(len(samples), np.inf)
        vectors = self.vectors_A[atom] + moved[samples[:, None], others[None, :]] - trial[:, None]
        return np.asarray(np.sqrt(_squares(vectors).min(axis=1)))


def _squares(vectors: FloatArray) -> FloatArray:
    # Written out: a sum over an axis of three may be rounded differently in arrays of another shape.
    x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
    return np.asarray(x * x + y * y + z * z)


def _neighbours(crystal: Crystal, options: RattleSampler) -> _Neighbours:
    from ase import Atoms
    from ase.neighborlist import neighbor_list

    reach = options.minimum_distance_A + WIDTHS * options.width_A + 2.0 * options.maximum_displacement_A
    atoms = Atoms(numbers=crystal.numbers, positions=crystal.positions_A, cell=crystal.cell_A, pbc=True)
    i, j, distance, vector = neighbor_list("ijdD", atoms, reach)
    if len(distance) and distance.min() < options.minimum_distance_A:
        worst = int(np.argmin(distance))
        raise ConfigurationError(
            f"sampler 'mc-rattle': the crystal at rest has {crystal.symbols[i[worst]]} and {crystal.symbols[j[worst]]} "
            f"at {distance[worst]:.3f} Å, closer than minimum_distance_A = {options.minimum_distance_A:g}; set it lower"
        )
    # Images of the atom itself move with it.
    others = [(i == atom) & (j != atom) for atom in range(len(crystal))]
    return _Neighbours(tuple(j[mine].astype(np.int64) for mine in others), tuple(vector[mine] for mine in others))
