"""Force constants at a temperature by self-consistent sampling (the stochastic self-consistent harmonic idea).

Sought are force constants Φ that equal the average curvature of the potential over their own thermal law,
Φ = ⟨∂²V⟩_Φ; they minimise F(Φ) = F_harm(Φ) + ⟨V − V_harm⟩_Φ ≥ F among harmonic crystals with the average positions
held.  By partial integration over the Gaussian law, ⟨∂²V⟩ is the least-squares force constant of forces on
displacements.

A round: draw antithetic pairs ±u from the law of the current Φ → forces → fit to the last rounds → mix.  For soft modes
the amplitude, and with it the fit, answers a small change of Φ ten times over; three things make the loop converge:

* the *amplitude guard* of :mod:`phonograph.phonons.law`;
* *importance weights* of the pooled samples, w = ρ_now(u) / Σ_k n_k ρ_k(u) ("balance heuristic": bounded, and samples
  of laws left behind fade by themselves), with their Kong–Liu effective share (Σw)²/(N Σw²);
* a step that shrinks by *Kesten's rule*, mixing / (1 + how often the change of the frequencies turned back).

Sources: Errea, Calandra, Mauri, Phys. Rev. B 89, 064302 (2014), doi:10.1103/PhysRevB.89.064302; Hellman et al.,
Phys. Rev. B 87, 104111 (2013), doi:10.1103/PhysRevB.87.104111; Veach & Guibas (1995), doi:10.1145/218380.218498;
Kong, Liu, Wong, J. Am. Stat. Assoc. 89, 278 (1994), doi:10.1080/01621459.1994.10476469; Kesten, Ann. Math. Stat. 29,
41 (1958), doi:10.1214/aoms/1177706705.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from phonograph.lattice import free_energy, normal_modes
from phonograph.phonons.curvature import Curvature, FreeEnergyCurvature
from phonograph.phonons.evaluate import ForceField, Responses
from phonograph.phonons.fit import SymmetricFit, blocks_of_pairs, free_directions, jackknife_frequencies
from phonograph.phonons.law import Law, thermal_law
from phonograph.phonons.settings import Renormalisation
from phonograph.series import effective_samples
from phonograph.streams import stream
from phonograph.types import Crystal, FloatArray, Progress, RenormalisationRound

STEADY_ROUNDS = 2
"""Successive rounds that must pass the convergence test."""

NOISE_FACTOR = 1.5
"""A change of the frequencies within this many error bars is noise."""

NEGLIGIBLE_SHARE = 0.1
"""A change below this share of its tolerance passes whatever its error bar."""

FREE_ENERGY_FACTOR = 2.0
"""A change of the free energy within this many standard errors of the difference is noise."""

POSITIVE_FACTOR = 2.0
"""The lowest frequency must exceed zero by this many error bars."""

MEAN_FORCE_WARNING_EV_PER_A = 0.02
"""A mean force on an atom beyond this, and beyond three error bars, is told, eV/Å."""

PLANNED_ROUNDS = 8
"""Rounds expected when deciding whether worker processes pay."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Renormalised:
    """Result of :func:`renormalise`.

    Attributes
    ----------
    values_eV_per_A2
        Weighted fit to the samples of the last rounds, shape (n, n, 3, 3).
    frequencies_THz, errors_THz
        Its commensurate frequencies and their jackknife errors, shape (3n − 3,).
    rounds
        One record per round.
    converged
        Whether the convergence test passed.
    warnings
        Sentences about what did not.
    curvature
        Curvature of the free energy, where it was asked for.
    """

    values_eV_per_A2: FloatArray
    frequencies_THz: FloatArray
    errors_THz: FloatArray
    rounds: tuple[RenormalisationRound, ...]
    converged: bool
    warnings: tuple[str, ...]
    curvature: Curvature | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class _Batch:
    """Samples of one round: pairs are neighbours, shape (2p, n, 3)."""

    law: Law
    displacements_A: FloatArray
    responses: Responses


@dataclass(frozen=True, kw_only=True, eq=False)
class _Fitted:
    """What a pool of batches says about the current law."""

    values_eV_per_A2: FloatArray
    frequencies_THz: FloatArray
    errors_THz: FloatArray
    weights: FloatArray
    applied: FloatArray

    @property
    def effective_fraction(self) -> float:
        return effective_samples(self.weights) / len(self.weights)


def renormalise(
    supercell: Crystal,
    start_eV_per_A2: FloatArray,
    settings: Renormalisation,
    field: ForceField,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> Renormalised:
    """Return force constants that are self-consistent at a temperature, with error bars.

    The loop has converged when for two successive rounds the rms change of all commensurate frequencies between the law
    and the fit is within 1.5 error bars (or a tenth of the tolerance), the rms error bar is within the tolerance, the
    free energy has changed since the round before by no more than two standard errors of the difference (or a tenth of
    its tolerance) and its own error is within the tolerance, the lowest frequency exceeds zero by two error bars, and
    the guard removed no more variance than its tolerance.  Otherwise it stops after ``max_rounds`` and says what
    failed.

    Parameters
    ----------
    supercell
        Crystal at rest; the average positions stay there.
    start_eV_per_A2
        Force constants to start from, shape (n, n, 3, 3); imaginary modes are allowed.
    settings
        Temperature, statistics and how to iterate.
    field
        Source of forces at work.
    seed
        Root seed; pair p of round r depends on (seed, r, p) only.
    progress
        Called as ``progress("phonons: renormalisation rounds (at most)", round, max_rounds)``.

    Raises
    ------
    ConfigurationError
        When a round is too small for the number of independent force constants.
    """
    fit = SymmetricFit(supercell)
    fit.require_enough(settings.pairs_per_round, settings.blocks)
    curving = FreeEnergyCurvature(supercell, settings) if settings.free_energy_curvature else None
    rest_eV = field.reference(supercell).energy_eV
    values, turns, steady, last_change = np.array(start_eV_per_A2), 0, 0, np.zeros(0)
    pool: deque[_Batch] = deque(maxlen=settings.window)
    rounds: list[RenormalisationRound] = []
    while steady < STEADY_ROUNDS and len(rounds) < settings.max_rounds:
        law = thermal_law(
            values, supercell.masses_amu, settings.temperature_K, settings.statistics, settings.amplitude_guard_A
        )
        pool.append(_draw(supercell, law, settings, field, seed, len(rounds)))
        found = _fit_pool(fit, pool, settings)
        change = found.frequencies_THz - law.modes.frequencies_THz
        turns += bool(len(last_change) and last_change @ change < 0)
        last_change = change
        values = values + settings.mixing / (1 + turns) * (found.values_eV_per_A2 - values)
        rounds.append(_record(pool, found, change, values, settings, rest_eV, len(rounds) + 1))
        steady = steady + 1 if not _shortcomings(rounds, found, settings) else 0
        if progress is not None:
            progress("phonons: renormalisation rounds (at most)", len(rounds), settings.max_rounds)
    converged = steady >= STEADY_ROUNDS
    curvature = curving.measure(fit, *_samples(pool), found.applied) if curving is not None else None
    return Renormalised(
        values_eV_per_A2=found.values_eV_per_A2,
        frequencies_THz=found.frequencies_THz,
        errors_THz=found.errors_THz,
        rounds=tuple(rounds),
        converged=converged,
        warnings=(
            *_convergence_warnings(converged, rounds, found, settings),
            *_mean_force_warnings(supercell, pool, found, settings),
            *(curvature.warnings if curvature is not None else ()),
        ),
        curvature=curvature,
    )


def _draw(supercell: Crystal, law: Law, settings: Renormalisation, field: ForceField, seed: int, index: int) -> _Batch:
    size = 3 * len(supercell)
    normals = np.array(
        [
            stream(seed, "phonons", "renormalise", index, pair).standard_normal(size)
            for pair in range(settings.pairs_per_round)
        ]
    )
    half = law.draw(normals)
    displacements = np.stack([half, -half], axis=1).reshape(-1, len(supercell), 3)
    planned = len(displacements) * min(PLANNED_ROUNDS, settings.max_rounds)
    responses = field.evaluate(supercell, supercell.positions_A + displacements, planned=planned)
    return _Batch(law=law, displacements_A=displacements, responses=responses)


def _fit_pool(fit: SymmetricFit, pool: deque[_Batch], settings: Renormalisation) -> _Fitted:
    displacements, forces = _samples(pool)
    weights = balance_weights([batch.law for batch in pool], [batch.displacements_A for batch in pool])
    applied = weights if settings.reweight else np.ones(len(weights))
    values = fit(displacements, forces, applied)
    return _Fitted(
        values_eV_per_A2=values,
        frequencies_THz=normal_modes(values, fit.supercell.masses_amu).frequencies_THz,
        errors_THz=jackknife_frequencies(
            fit, displacements, forces, applied, blocks=blocks_of_pairs(len(applied), settings.blocks)
        ),
        weights=weights,
        applied=applied,
    )


def _samples(pool: deque[_Batch]) -> tuple[FloatArray, FloatArray]:
    """Return all displacements and forces of the pool."""
    return (
        np.concatenate([batch.displacements_A for batch in pool]),
        np.concatenate([batch.responses.forces_eV_per_A for batch in pool]),
    )


def balance_weights(laws: list[Law], displacements_A: list[FloatArray]) -> FloatArray:
    """Return weights that turn pooled samples of several laws into samples of the last one; their mean is 1.

    w(u) ∝ ρ_last(u) / Σ_k n_k ρ_k(u), computed from logarithms.  Members of an antithetic pair get the same weight.

    Parameters
    ----------
    laws
        Law of each batch; the last one is the target.
    displacements_A
        Samples of each batch, Å, shape (n_k, atoms, 3).
    """
    samples = np.concatenate(displacements_A)
    logs = [law.log_density(samples) + np.log(len(batch)) for law, batch in zip(laws, displacements_A, strict=True)]
    weights = np.exp(logs[-1] - np.logaddexp.reduce(logs, axis=0))
    return np.asarray(weights / weights.mean(), dtype=np.float64)


def _record(
    pool: deque[_Batch],
    found: _Fitted,
    change: FloatArray,
    mixed: FloatArray,
    settings: Renormalisation,
    rest_eV: float,
    index: int,
) -> RenormalisationRound:
    batch = pool[-1]
    masses = batch.law.modes.masses_amu
    value, error = _free_energy(pool, found, settings, rest_eV)
    return RenormalisationRound(
        index=index,
        samples=len(found.weights),
        lowest_THz=float(normal_modes(mixed, masses).frequencies_THz[0]),
        change_THz=_rms(change),
        noise_THz=_rms(found.errors_THz),
        guarded_share=batch.law.guarded_share,
        effective_fraction=found.effective_fraction,
        free_energy_eV_per_atom=value,
        free_energy_error_eV_per_atom=error,
    )


def _rms(values: FloatArray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _free_energy(pool: deque[_Batch], found: _Fitted, settings: Renormalisation, rest_eV: float) -> tuple[float, float]:
    """Return F_harm + ⟨V − V_harm⟩ of the round's own law and its standard error, eV/atom, from the energy at rest.

    The average is over all samples of the pool with their weights for that law.
    """
    law, atoms = pool[-1].law, len(pool[-1].law.modes.masses_amu)
    beyond = np.concatenate(
        [batch.responses.energies_eV - rest_eV - law.harmonic_energy(batch.displacements_A) for batch in pool]
    )
    pairs = beyond.reshape(-1, 2).mean(axis=1)
    weights = found.weights[::2] / found.weights[::2].sum()
    mean = float(weights @ pairs)
    # Unbiased for equal weights; p pairs are never fewer than two.
    error = float(np.sqrt((weights**2) @ (pairs - mean) ** 2 * len(pairs) / (len(pairs) - 1)))
    harmonic = free_energy(law.frequencies_THz, settings.temperature_K, settings.statistics)
    return (harmonic + mean) / atoms, error / atoms


def _shortcomings(rounds: list[RenormalisationRound], found: _Fitted, settings: Renormalisation) -> list[str]:
    """Return what keeps the last round from counting as converged, in words."""
    record = rounds[-1]
    tolerance = settings.frequency_tolerance_THz
    reasons = []
    if record.change_THz > max(NOISE_FACTOR * record.noise_THz, NEGLIGIBLE_SHARE * tolerance):
        reasons.append(f"frequencies still change by {record.change_THz:.2f} THz (error bars {record.noise_THz:.2f})")
    if record.noise_THz > tolerance:
        reasons.append(f"error bars are {record.noise_THz:.2f} THz (tolerance {tolerance:g})")
    reasons += free_energy_shortcomings(rounds, settings.free_energy_tolerance_eV_per_atom)
    lowest, error = found.frequencies_THz[0], found.errors_THz[0]
    if lowest <= POSITIVE_FACTOR * error or record.lowest_THz <= 0:
        reasons.append(f"the lowest mode, {lowest:.2f} ± {error:.2f} THz, is not positive beyond its error")
    if record.guarded_share > settings.guard_tolerance:
        reasons.append(
            f"the amplitude guard of {settings.amplitude_guard_A:g} Å removes {100 * record.guarded_share:.0f} % of "
            "the displacement variance"
        )
    return reasons


def free_energy_shortcomings(rounds: list[RenormalisationRound], tolerance_eV_per_atom: float) -> list[str]:
    """Return what the free energy of the last round lacks: a small error bar, or the value of the round before."""
    reasons = []
    record, error = rounds[-1], rounds[-1].free_energy_error_eV_per_atom
    if error > tolerance_eV_per_atom:
        reasons.append(
            f"the free energy's error is {1000 * error:.2g} meV/atom (tolerance {1000 * tolerance_eV_per_atom:g})"
        )
    if len(rounds) > 1:
        change = abs(record.free_energy_eV_per_atom - rounds[-2].free_energy_eV_per_atom)
        noise = float(np.hypot(error, rounds[-2].free_energy_error_eV_per_atom))
        if change > max(FREE_ENERGY_FACTOR * noise, NEGLIGIBLE_SHARE * tolerance_eV_per_atom):
            reasons.append(f"the free energy still changes by {1000 * change:.2g} ± {1000 * noise:.2g} meV/atom")
    return reasons


def _convergence_warnings(
    converged: bool, rounds: list[RenormalisationRound], found: _Fitted, settings: Renormalisation
) -> tuple[str, ...]:
    if converged:
        return ()
    reasons = _shortcomings(rounds, found, settings) or ["the test held in the last round only"]
    return (
        f"the renormalisation at {settings.temperature_K:g} K did not converge in {len(rounds)} rounds: "
        f"{'; '.join(reasons)}. Remedies: more pairs_per_round, window or max_rounds; a higher temperature or the "
        "lattice constant of this temperature, if the crystal is unstable here; a larger guard, if it acts.",
    )


def _mean_force_warnings(
    supercell: Crystal, pool: deque[_Batch], found: _Fitted, settings: Renormalisation
) -> tuple[str, ...]:
    """Say so where the average positions, which are held, would move at this temperature."""
    directions = free_directions(supercell)
    if not directions.shape[1]:
        return ()
    forces = np.concatenate([batch.responses.forces_eV_per_A for batch in pool])
    pairs = forces.reshape(len(forces) // 2, 2, -1).mean(axis=1) @ directions
    weights = found.weights[::2] / found.weights[::2].sum()
    mean = weights @ pairs
    error = np.sqrt((weights**2) @ (pairs - mean) ** 2)
    per_atom = np.linalg.norm((directions @ mean).reshape(-1, 3), axis=1).max()
    if per_atom <= MEAN_FORCE_WARNING_EV_PER_A or not (np.abs(mean) > 3.0 * error).any():
        return ()
    return (
        f"at {settings.temperature_K:g} K mean forces of up to {per_atom:.3g} eV/Å act on atoms in directions that "
        "symmetry leaves free: their average positions would move, but were held at those given.",
    )
