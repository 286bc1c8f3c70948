"""Random controls matched to a set in what would otherwise be confounded with the law: per-species rms displacement."""

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
    normal_draws,
    pack,
    supercell_of,
    uniform_draws,
)
from phonograph.types import Configurations, Crystal, FloatArray, Phonons


@dataclass(frozen=True, kw_only=True)
class MatchedRandomSampler(ByIndex):
    """Independent random displacements with the rms displacement, per species and axis, of another set.

    Published comparisons of physical with random displacements also differ in amplitude; this control does not.
    Take the amplitudes from a set with :meth:`matched_to`.  Every coordinate has the target's rms about zero;
    part of that is a rigid shift of the whole cell, so the rms about the cell's own mean is smaller by
    √(1 − 1/n) for n atoms (1.3 % for 40 atoms).
    """

    kind: ClassVar[str] = "matched-random"

    match: str = option("", "Name of the set whose rms displacements are matched, made earlier in the same run.")
    rms_A: tuple[tuple[str, float], ...] = option(
        (), "Rms displacement per Cartesian axis by species, Å, such as [['Ag', 0.27]]; taken from the set if empty."
    )
    law: str = option("normal", "Law of a coordinate: normal or uniform.", choices=("normal", "uniform"))

    def __post_init__(self) -> None:
        check_options(self)
        for entry in self.rms_A:
            if len(entry) != 2 or not isinstance(entry[0], str) or not 0 <= float(entry[1]) < np.inf:
                raise ConfigurationError(
                    f"MatchedRandomSampler.rms_A must hold pairs (symbol, rms ≥ 0 in Å); got {entry!r}"
                )

    def matched_to(self, configurations: Configurations, match: str = "") -> MatchedRandomSampler:
        """Return a copy with the rms displacement, per species and axis, of ``configurations``.

        The displacement of each configuration's centre of mass (standard atomic masses) is removed first: a rigid
        shift changes nothing.  Thermal sets have none.

        Parameters
        ----------
        configurations
            The set to match; its displacements must be known.
        match
            Name recorded in the copy; the set's own name where empty.
        """
        return replace(self, match=match or configurations.name, rms_A=species_rms(configurations))

    def sample_at(self, reference: Phonons | Crystal, indices: Sequence[int], seed: int) -> Configurations:
        """Return the samples with these indices."""
        rms = self._rms(supercell_of(reference))
        if self.law == "normal":
            unit = normal_draws(seed, self.kind, indices, len(rms))
        else:
            unit = np.sqrt(3.0) * uniform_draws(seed, self.kind, indices, len(rms))
        return pack(self, reference, indices, unit * rms, seed)

    def moments(self, reference: Phonons | Crystal) -> Moments:
        """Return the independent variances rms², Å²."""
        return Moments(
            covariance_A2=self._rms(supercell_of(reference)) ** 2,
            excess_kurtosis=0.0 if self.law == "normal" else UNIFORM_KURTOSIS,
        )

    def _rms(self, crystal: Crystal) -> FloatArray:
        by_symbol = {symbol: float(value) for symbol, value in self.rms_A}
        absent = sorted(set(crystal.symbols) - set(by_symbol))
        if absent:
            known = ", ".join(sorted(by_symbol)) or "no species"
            raise ConfigurationError(
                f"sampler 'matched-random' has rms displacements for {known} but not for {', '.join(absent)}; "
                "take them from a set that holds these species with matched_to (option 'match'), or list them in rms_A"
            )
        return np.repeat([by_symbol[symbol] for symbol in crystal.symbols], 3)


def species_rms(configurations: Configurations) -> tuple[tuple[str, float], ...]:
    """Return the rms displacement per axis of each species about its configuration's centre of mass, Å."""
    from ase.data import atomic_masses, chemical_symbols

    if not np.isfinite(configurations.displacements_A).all():
        raise DataError(
            f"set {configurations.name!r} has configurations without known displacements, so it cannot be matched; "
            "match a set that was sampled from a reference crystal"
        )
    sizes = np.diff(configurations.offsets)
    weights = atomic_masses[configurations.numbers][:, None]
    starts = configurations.offsets[:-1]
    drift = np.add.reduceat(weights * configurations.displacements_A, starts) / np.add.reduceat(weights, starts)
    relative = configurations.displacements_A - np.repeat(drift, sizes, axis=0)
    squares = (relative**2).mean(axis=1)
    return tuple(
        (chemical_symbols[number], float(np.sqrt(squares[configurations.numbers == number].mean())))
        for number in sorted(set(configurations.numbers.tolist()))
    )
