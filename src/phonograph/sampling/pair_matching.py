"""A random control with the interatomic distances of a thermal set, made without any forces."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from phonograph.errors import ConfigurationError, DataError
from phonograph.options import check_options, option
from phonograph.sampling.controls import MatchedRandomSampler, species_rms
from phonograph.sampling.distances import pair_codes, pair_name
from phonograph.sampling.laws import ByIndex, pack, supercell_of
from phonograph.types import Configurations, Crystal, FloatArray, IntArray, Phonons

SHELL_WIDTH_A = 0.1
"""Distances of the reference closer than this belong to one shell."""

STEPS = 400
"""Bound on the steps of one fit."""

TOO_FAR, NEGLIGIBLE = 1.5, 0.03
"""A histogram farther from the target than this many times two halves of the target, and than this, is told."""

SMALL_A = 1.0e-4
"""A fit ends when no component of the objective's gradient exceeds this, Å."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Pairs:
    """Pairs of sites of a crystal, each once, in the order of their kinds.

    Attributes
    ----------
    i, j, image
        Atoms and the periodic image of j.
    shell
        Number of the shell, from 0, by distance in the reference.
    """

    i: IntArray
    j: IntArray
    image: FloatArray
    shell: IntArray

    def vectors(self, positions_A: FloatArray, cells_A: FloatArray) -> FloatArray:
        """Return r_j − r_i, Å, shape (n, pairs, 3), for positions (n, atoms, 3) in cells (n, 3, 3)."""
        return positions_A[:, self.j] - positions_A[:, self.i] + np.einsum("pk,nkc->npc", self.image, cells_A)

    def kinds(self, numbers: IntArray) -> IntArray:
        """Return one integer per pair for its species and shell, shape (…, pairs), for numbers (…, atoms)."""
        return np.asarray(pair_codes(numbers[..., self.i], numbers[..., self.j]) * 1000 + self.shell, dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class PairMatchedSampler(ByIndex):
    """Random displacements with the interatomic distances of another set: the control for its pair-distance histogram.

    Sample i starts from a draw of ``matched-random`` and is moved until the sorted distances of every kind of pair
    (species and shell) are those of one configuration of the target set; samples take its configurations in turn.  It
    minimises ½ Σ_kinds Σ_r (d_(r) − d'_(r))²/s², the squared Wasserstein distance of the two histograms, with r the
    rank and s the standard deviation of the kind in the target.
    Only the distribution of distances is matched, not which pair has which: angles, directions, and correlations
    between pairs are not those of the target.

    The set tells how near its histograms come to the target's, and how near two halves of the target come to each
    other; and the rms displacements, which are no longer those that it started with.
    """

    kind: ClassVar[str] = "matched-pairs"

    match: str = option("", "Name of the set whose distances are matched, made earlier in the same run.")
    cutoff_A: float = option(
        5.5,
        "Pairs of sites closer than this in the reference have their distances matched, Å.",
        above=0.0,
        maximum=30.0,
    )
    target: Configurations | None = dataclasses.field(
        default=None, repr=False, metadata={"help": "The set that is matched.", "python_only": True}
    )

    def __post_init__(self) -> None:
        check_options(self)

    def matched_to(self, configurations: Configurations, match: str = "") -> PairMatchedSampler:
        """Return a copy that matches ``configurations``, under the name ``match`` (its own where empty)."""
        return dataclasses.replace(self, match=match or configurations.name, target=configurations)

    def sample_at(self, reference: Phonons | Crystal, indices: Sequence[int], seed: int) -> Configurations:
        """Return the samples with these indices."""
        crystal = supercell_of(reference)
        if self.target is None:
            raise ConfigurationError(
                "sampler 'matched-pairs' needs the set whose distances it matches; name it in match, or use matched_to"
            )
        pairs = pairs_within(crystal, self.cutoff_A)
        goal = _Goal.of(self.target, crystal, pairs)
        start = MatchedRandomSampler().matched_to(self.target).sample_at(reference, indices, seed)
        moved = start.displacements_A.reshape(len(indices), -1, 3)
        fit = _Fit(crystal, pairs)
        spread = goal.spread(fit.kinds)
        fitted = np.array(
            [
                fit.moved(u, goal.quantiles(int(index), fit.kinds), spread)
                for u, index in zip(moved, indices, strict=True)
            ]
        )
        notes = (*_histogram_notes(goal, fit, fitted), _rms_note(self.target, fitted, crystal))
        return pack(self, reference, indices, fitted.reshape(len(indices), -1), seed, warnings=notes)


def pairs_within(crystal: Crystal, cutoff_A: float) -> Pairs:
    """Return all pairs of different sites closer than the cutoff, each once."""
    from ase import Atoms
    from ase.neighborlist import neighbor_list

    atoms = Atoms(numbers=crystal.numbers, positions=crystal.positions_A, cell=crystal.cell_A, pbc=True)
    i, j, distance, image = neighbor_list("ijdS", atoms, cutoff_A)
    once = i < j
    i, j, distance, image = i[once], j[once], distance[once], image[once]
    if len(i) == 0:
        raise ConfigurationError(
            f"no two atoms are closer than cutoff_A = {cutoff_A:g} Å in the reference; give a larger cutoff_A"
        )
    order = np.sort(distance)
    starts = order[np.diff(order, prepend=-np.inf) > SHELL_WIDTH_A]
    shell = np.searchsorted(starts, distance, side="right") - 1
    return Pairs(i=i.astype(np.int64), j=j.astype(np.int64), image=image.astype(np.float64), shell=shell)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Goal:
    """Distances of the target set, by configuration, with the kind of each."""

    distances_A: FloatArray
    kinds: IntArray

    @classmethod
    def of(cls, target: Configurations, crystal: Crystal, pairs: Pairs) -> _Goal:
        """Take the configurations of the target whose composition is the crystal's, or all where there are none."""
        count, size = len(target), len(crystal)
        if (np.diff(target.offsets) != size).any():
            raise DataError(
                f"set {target.name!r} cannot be matched: its cells do not hold the {size} atoms of the reference"
            )
        numbers = target.numbers.reshape(count, size)
        alike = (np.sort(numbers, axis=1) == np.sort(crystal.numbers)).all(axis=1)
        chosen = np.flatnonzero(alike) if alike.any() else np.arange(count)
        positions = target.positions_A.reshape(count, size, 3)[chosen]
        lengths = np.linalg.norm(pairs.vectors(positions, target.cells_A[chosen]), axis=2)
        return cls(distances_A=lengths, kinds=pairs.kinds(numbers[chosen]))

    def quantiles(self, index: int, kinds: IntArray) -> FloatArray:
        """Return the sorted distances that sample ``index`` shall have, kind by kind; NaN for kinds without target."""
        row = index % len(self.distances_A)
        wanted = []
        for kind, count in zip(*np.unique(kinds, return_counts=True), strict=True):
            own = self.distances_A[row][self.kinds[row] == kind]
            pool = np.sort(own if len(own) else self.distances_A[self.kinds == kind])
            if len(pool) == 0:
                wanted.append(np.full(count, np.nan))
            else:
                ranks = (np.arange(count) + 0.5) / count
                wanted.append(np.interp(ranks, (np.arange(len(pool)) + 0.5) / len(pool), pool))
        return np.concatenate(wanted)

    def spread(self, kinds: IntArray) -> FloatArray:
        """Return the standard deviation of each pair's kind in the target, Å; infinite for kinds without target."""
        deviations = {
            int(k): max(float(self.distances_A[self.kinds == k].std()), SMALL_A) for k in np.unique(self.kinds)
        }
        return np.array([deviations.get(int(kind), np.inf) for kind in kinds])


class _Fit:
    """Moves atoms until sorted distances are those wanted."""

    def __init__(self, crystal: Crystal, pairs: Pairs) -> None:
        from scipy import sparse

        kinds = pairs.kinds(crystal.numbers)
        order = np.argsort(kinds, kind="stable")
        self.kinds: IntArray = kinds[order]
        self._key = 1000.0 * np.unique(self.kinds, return_inverse=True)[1]
        self.base_A: FloatArray = pairs.vectors(crystal.positions_A[None], crystal.cell_A[None])[0][order]
        rows = np.arange(len(order))
        ones = np.ones(len(order))
        shape = (len(order), len(crystal))
        self._differences: Any = (
            sparse.coo_array((ones, (rows, pairs.j[order])), shape=shape)
            - sparse.coo_array((ones, (rows, pairs.i[order])), shape=shape)
        ).tocsr()
        self._sums: Any = self._differences.T.tocsr()

    def distances(self, moved_A: FloatArray) -> FloatArray:
        """Return the distances of all pairs, Å, in the order of ``kinds``."""
        return np.asarray(np.linalg.norm(self.base_A + self._differences @ moved_A, axis=1))

    def moved(self, start_A: FloatArray, wanted_A: FloatArray, spread_A: FloatArray) -> FloatArray:
        """Return displacements near ``start_A`` whose sorted distances are nearest to ``wanted_A``."""
        from scipy.optimize import minimize

        matched = np.isfinite(wanted_A)
        weights = spread_A.min() ** 2 / spread_A**2  # at most 1, so that the objective is in Å²

        def objective(flat: FloatArray) -> tuple[float, FloatArray]:
            vectors = self.base_A + self._differences @ flat.reshape(-1, 3)
            lengths = np.sqrt(np.einsum("pc,pc->p", vectors, vectors))
            order = np.argsort(self._key + lengths, kind="stable")
            excess = np.zeros(len(lengths))
            excess[order] = np.where(matched, lengths[order] - wanted_A, 0.0)
            gradient = self._sums @ (vectors * (weights * excess / lengths)[:, None])
            return 0.5 * float(weights @ excess**2), gradient.ravel()

        found = minimize(
            objective, start_A.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": STEPS, "gtol": SMALL_A}
        )
        return np.asarray(found.x.reshape(-1, 3), dtype=np.float64)


def _rms_note(target: Configurations, fitted_A: FloatArray, crystal: Crystal) -> str:
    """Say what became of the rms displacements."""
    wanted = dict(species_rms(target))
    symbols = np.array(crystal.symbols)
    squares = (fitted_A**2).mean(axis=(0, 2))
    found = {symbol: float(np.sqrt(squares[symbols == symbol].mean())) for symbol in dict.fromkeys(crystal.symbols)}
    words = ", ".join(f"{symbol} {value:.3f} ({wanted[symbol]:.3f})" for symbol, value in found.items())
    return f"rms displacements per axis after matching the distances, in brackets those of the target: {words} Å"


def _histogram_notes(goal: _Goal, fit: _Fit, fitted_A: FloatArray) -> tuple[str, ...]:
    """Say how near the histograms come to the target's, beside two halves of the target."""
    lengths = np.array([fit.distances(moved) for moved in fitted_A])
    apart: dict[int, tuple[float, float]] = {}
    for kind in np.unique(fit.kinds):
        pool = [row[kinds == kind] for row, kinds in zip(goal.distances_A, goal.kinds, strict=True)]
        if sum(map(len, pool)):
            halves = [np.concatenate(pool[start::2]) for start in (0, 1)] if len(pool) > 1 else []
            floor = kolmogorov(*halves) if halves and all(map(len, halves)) else float("nan")
            apart[int(kind)] = (kolmogorov(lengths[:, fit.kinds == kind].ravel(), np.concatenate(pool)), floor)
    missing = sorted({pair_name(kind // 1000) for kind in np.unique(fit.kinds) if int(kind) not in apart})
    notes = []
    if apart:
        worst = max(apart, key=lambda kind: apart[kind][0])
        notes.append(
            f"largest Kolmogorov distance between the histograms of distances of this set and its target: "
            f"{apart[worst][0]:.3f} ({pair_name(worst // 1000)}, shell {worst % 1000 + 1}); between two halves of the "
            f"target: {apart[worst][1]:.3f}"
        )
        far = [kind for kind, (found, floor) in apart.items() if found > max(TOO_FAR * floor, NEGLIGIBLE)]
        if far:
            names = ", ".join(f"{pair_name(kind // 1000)} shell {kind % 1000 + 1}" for kind in sorted(far))
            notes.append(
                f"the distances of {names} could not be matched: do atoms of the target leave their sites? the control "
                "is not one for these pairs"
            )
    if missing:
        notes.append(f"the target holds no pairs {', '.join(missing)}; their distances were left as drawn")
    return tuple(notes)


def kolmogorov(first: FloatArray, second: FloatArray) -> float:
    """Return the largest difference of two empirical distribution functions."""
    from scipy.stats import ks_2samp

    return float(ks_2samp(first, second, method="asymp").statistic)
