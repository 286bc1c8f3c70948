"""Displacements that know nothing of the forces: Eq. 2 as printed, and as the authors' script draws it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from phonograph.errors import ConfigurationError, DataError
from phonograph.options import check_options, option
from phonograph.sampling.laws import (
    UNIFORM_KURTOSIS,
    ByIndex,
    Moments,
    pack,
    supercell_of,
    uniform_draws,
)
from phonograph.types import Configurations, Crystal, Phonons


@dataclass(frozen=True, kw_only=True)
class UniformSampler(ByIndex):
    """Every coordinate of every atom gets an independent uniform displacement about ``centre`` · a, width set by a.

    Amplitudes are taken in turn: sample i has ``amplitudes_A[i % len(amplitudes_A)]``, so that each amplitude gets an
    equal share of the samples.  The set records the amplitude of every sample.
    """

    kind: ClassVar[str]
    centre: ClassVar[float]
    """Mean of a coordinate in units of a: u lies within (centre ± (1 − centre)) a."""

    amplitudes_A: tuple[float, ...]

    def __post_init__(self) -> None:
        check_options(self)
        if not self.amplitudes_A:
            raise ConfigurationError(
                f"{type(self).__name__}.amplitudes_A must name at least one amplitude in Å; got none"
            )

    @property
    def period(self) -> int:
        """Number of amplitudes that samples take in turn."""
        return len(self.amplitudes_A)

    def sample_at(self, reference: Phonons | Crystal, indices: Sequence[int], seed: int) -> Configurations:
        """Return the samples with these indices."""
        draws = uniform_draws(seed, self.kind, indices, 3 * len(supercell_of(reference)))
        amplitude = np.array([self.amplitudes_A[int(index) % self.period] for index in indices], dtype=np.float64)
        unit = self.centre + (1.0 - self.centre) * draws
        return pack(self, reference, indices, unit * amplitude[:, None], seed, amplitude_A=amplitude)

    def of_amplitude(self, amplitude_A: float) -> UniformSampler:
        """Return the same law with a single amplitude."""
        return replace(self, amplitudes_A=(amplitude_A,))

    def moments(self, reference: Phonons | Crystal) -> Moments:
        """Return the independent variances (1 − centre)² a²/3 about centre · a, Å²; needs a single amplitude."""
        if len(self.amplitudes_A) != 1:
            raise DataError(
                f"the moments of {self.kind!r} are those of one amplitude; ask for each amplitude separately"
            )
        amplitude = self.amplitudes_A[0]
        variance = ((1.0 - self.centre) * amplitude) ** 2 / 3.0
        return Moments(
            covariance_A2=np.full(3 * len(supercell_of(reference)), variance),
            mean_A=self.centre * amplitude,
            excess_kurtosis=UNIFORM_KURTOSIS,
        )


@dataclass(frozen=True, kw_only=True)
class PaperEq2Sampler(UniformSampler):
    """Eq. 2 of the paper: every coordinate of every atom gets an independent displacement from U[−a, a].

    Mean 0, variance a²/3.  Amplitudes are taken in turn: sample i has ``amplitudes_A[i % len(amplitudes_A)]``.

    References
    ----------
    Benítez et al., *Why Physics Still Matters* (2026), Eq. 2.
    """

    kind: ClassVar[str] = "paper-eq2"
    centre: ClassVar[float] = 0.0

    amplitudes_A: tuple[float, ...] = option(
        (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8),
        "Amplitudes a, Å; samples take them in turn, so that each gets an equal share.",
        above=0.0,
        maximum=10.0,
    )


@dataclass(frozen=True, kw_only=True)
class PaperCodeSampler(UniformSampler):
    """The random set as the authors' script draws it: every coordinate of every atom from U[0, a].

    Mean a/2, variance a²/12: half the spread of Eq. 2, about a rigid shift of the whole crystal along (1, 1, 1) a/2,
    which changes nothing.  It is kept to reproduce the published data; the script takes a = 0.2, 0.4, 0.6, 0.8 Å.

    References
    ----------
    Benítez et al., *Why Physics Still Matters* (2026), public code that accompanies Eq. 2.
    """

    kind: ClassVar[str] = "paper-code"
    centre: ClassVar[float] = 0.5

    amplitudes_A: tuple[float, ...] = option(
        (0.2, 0.4, 0.6, 0.8),
        "Amplitudes a, Å; samples take them in turn, so that each gets an equal share.",
        above=0.0,
        maximum=10.0,
    )
