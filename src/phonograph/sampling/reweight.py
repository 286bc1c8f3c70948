"""Weights that turn averages over one thermal set into averages at another temperature or for other force constants."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from phonograph.errors import DataError, PhysicsError
from phonograph.sampling.certificate import claimed_sampler
from phonograph.sampling.laws import reference_hashes
from phonograph.sampling.mode_laws import SobolSampler
from phonograph.sampling.soft_modes import ModeLaw, mode_law
from phonograph.sampling.thermal import ThermalSampler
from phonograph.series import Average, effective_samples, grouped_average
from phonograph.types import Configurations, FloatArray, IntArray, Phonons

SAME_CRYSTAL_A = 1.0e-6
"""Sites and lattice vectors of the two crystals may differ by this, Å."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Reweighting:
    """Weights of a set's samples under another thermal law.

    Attributes
    ----------
    weights
        Add up to 1, shape (n,).
    effective_samples
        Kong–Liu effective sample size, (Σw)²/Σw².
    expected_share
        Share of effective samples that the two laws lead one to expect of a large set; 0 where the weights have no
        variance, because the new law is more than twice as wide (in variance) in some direction.
    log_weight_spread
        Standard deviation of log w over the samples.
    groups
        Samples of one group are not independent of each other.
    warnings
        Sentences for the report.
    """

    weights: FloatArray
    effective_samples: float
    expected_share: float
    log_weight_spread: float
    groups: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def effective_share(self) -> float:
        """Effective samples per sample."""
        return self.effective_samples / len(self.weights)

    def mean(self, values: FloatArray) -> Average:
        """Return the weighted mean of one value per sample, with its standard error over groups."""
        return grouped_average(np.asarray(values, dtype=np.float64), self.groups, self.weights)


def reweight(
    configurations: Configurations,
    made_with: Phonons,
    to: Phonons,
    *,
    temperature_K: float,
    statistics: str = "quantum",
    minimum_effective_share: float = 0.1,
    minimum_effective_samples: float = 10.0,
) -> Reweighting:
    """Return weights w ∝ ρ_to(u)/ρ_made_with(u) for the samples u of a thermal set.

    Both laws are Gaussian in the modes of one crystal: log ρ(u) = −½ Σ_s (Q_s²/σ_s² + log σ_s²) with Q = eᵀ M^(1/2) u.
    The law of the set is that of its own options (temperature, statistics, soft-mode policy); the new one has the
    given temperature and statistics, and refuses imaginary modes.

    Parameters
    ----------
    configurations
        A set of sampler ``thermal`` or ``sobol``, without a composition.
    made_with
        The phonons that it was sampled from.
    to
        Phonons of the same supercell and masses.
    temperature_K, statistics
        Of the new law.
    minimum_effective_share, minimum_effective_samples
        With less than this the weights are refused.

    Raises
    ------
    DataError
        When the set was made from other phonons, or the crystals differ.
    PhysicsError
        When the weights collapse onto few samples, or one of the laws has no density in some direction.

    References
    ----------
    Kong, Liu & Wong, J. Am. Stat. Assoc. 89, 278 (1994), https://doi.org/10.1080/01621459.1994.10476469.
    """
    _check_made_with(configurations, made_with)
    _check_same_crystal(made_with, to)
    target = mode_law(to, ThermalSampler(temperature_K=temperature_K, statistics=statistics))
    log_weights = np.empty(len(configurations))
    inverse_share = 0.0
    flat = configurations.displacements_A.reshape(len(configurations), -1)
    for source, chosen in _source_laws(configurations, made_with):
        log_weights[chosen] = _log_density(target, flat[chosen]) - _log_density(source, flat[chosen])
        share = expected_share(source, target)
        inverse_share += len(chosen) / len(flat) / share if share > 0 else np.inf
    weights = np.exp(log_weights - log_weights.max())
    weights /= weights.sum()
    effective = effective_samples(weights)
    expected = 1.0 / inverse_share
    needed = max(minimum_effective_samples, minimum_effective_share * len(weights))
    if effective < needed:
        raise PhysicsError(
            f"the weights collapse: {len(weights)} samples of set {configurations.name!r} are worth {effective:.1f} at "
            f"{temperature_K:g} K, fewer than the {needed:.3g} required (the laws lead one to expect "
            f"{expected * len(weights):.2g}); sample a new set there, or take more samples or a smaller step"
        )
    return Reweighting(
        weights=weights,
        effective_samples=effective,
        expected_share=expected,
        log_weight_spread=float(np.std(log_weights)),
        groups=configurations.group,
        warnings=_notes(target, expected, effective / len(weights)),
    )


def expected_share(source: ModeLaw, target: ModeLaw) -> float:
    """Return 1/⟨w²⟩ of two Gaussian laws: Π √(λ(2 − λ)), λ the eigenvalues of C_source⁻¹ C_target; 0 if some λ ≥ 2."""
    overlap = source.modes.vectors.T @ target.modes.vectors
    scaled = overlap * np.sqrt(target.variance_amu_A2) / np.sqrt(source.variance_amu_A2)[:, None]
    ratios = np.linalg.svd(scaled, compute_uv=False) ** 2
    return float(np.exp(0.5 * np.log(ratios * (2.0 - ratios)).sum())) if (ratios < 2.0).all() else 0.0


def _log_density(law: ModeLaw, flat_A: FloatArray) -> FloatArray:
    """Return log ρ(u) up to a constant that all laws of one crystal share; raises where the density is a delta."""
    if not (law.variance_amu_A2 > 0).all():
        raise PhysicsError(
            "frozen modes have no density to reweight from or to: sample with soft_modes = 'floor' or 'absolute', and "
            "classical statistics above 0 K"
        )
    root = np.sqrt(np.repeat(law.modes.masses_amu, 3))
    q = (flat_A * root) @ law.modes.vectors
    return np.asarray(-0.5 * (q**2 / law.variance_amu_A2 + np.log(law.variance_amu_A2)).sum(axis=1))


def _source_laws(configurations: Configurations, made_with: Phonons) -> list[tuple[ModeLaw, IntArray]]:
    """Return the law that each sample was drawn from, with the positions of its samples."""
    sampler = claimed_sampler(configurations)
    if not isinstance(sampler, (ThermalSampler, SobolSampler)):
        raise DataError(
            f"set {configurations.name!r} of sampler {configurations.sampler!r} has no Gaussian law to reweight from; "
            "take a set of sampler 'thermal' or 'sobol'"
        )
    return [
        (
            mode_law(made_with, dataclasses.replace(sampler, temperature_K=float(temperature))),
            np.flatnonzero(configurations.temperature_K == temperature),
        )
        for temperature in np.unique(configurations.temperature_K)
    ]


def _check_made_with(configurations: Configurations, made_with: Phonons) -> None:
    crystal = made_with.supercell
    numbers = configurations.numbers
    if (
        len(numbers) != len(configurations) * len(crystal)
        or (numbers.reshape(-1, len(crystal)) != crystal.numbers).any()
    ):
        raise DataError(
            f"set {configurations.name!r} holds other atoms than the supercell {crystal.formula} of its phonons; solid "
            "solutions cannot be reweighted, because every occupation has modes of its own"
        )
    recorded = reference_hashes(made_with)
    if {name: configurations.origin.inputs.get(name) for name in recorded} != recorded:
        raise DataError(
            f"set {configurations.name!r} was not sampled from the phonons given as made_with; give the phonons of its "
            "own run"
        )


def _check_same_crystal(made_with: Phonons, to: Phonons) -> None:
    first, second = made_with.supercell, to.supercell
    same = len(first) == len(second) and (first.numbers == second.numbers).all()
    if not same or not np.allclose(first.masses_amu, second.masses_amu, rtol=1.0e-6):
        raise DataError(
            f"weights need one supercell with the same atoms and masses for both laws; got {first.formula} and "
            f"{second.formula}"
        )
    apart = max(np.abs(first.cell_A - second.cell_A).max(), np.abs(first.positions_A - second.positions_A).max())
    if apart > SAME_CRYSTAL_A:
        raise DataError(
            f"weights need the same lattice and sites for both laws; these differ by up to {apart:.3g} Å: sample a new "
            "set for the other lattice"
        )


def _notes(target: ModeLaw, expected: float, share: float) -> tuple[str, ...]:
    notes = list(target.warnings)
    if expected == 0.0:
        notes.append(
            "the new law is more than twice as wide (in variance) in some direction: the weights have no finite "
            "variance, and their effective sample size is too hopeful"
        )
    elif share > 2.0 * expected:
        notes.append(
            f"the weights look better ({100 * share:.0f} % effective) than the laws lead one to expect "
            f"({100 * expected:.0f} %): the samples miss the tails that matter; take more of them"
        )
    return tuple(notes)
