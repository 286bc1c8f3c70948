"""What every law made from thermal modes shares: its options, and samples 0 … n − 1 from samples by index."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from phonograph.sampling.laws import ByIndex, Moments, partnerless, require_phonons
from phonograph.sampling.soft_modes import HarmonicOptions, ModeLaw, ThermalOptions, mode_law
from phonograph.types import Crystal, Phonons


@dataclass(frozen=True, kw_only=True)
class ModeSampler(ThermalOptions, ByIndex):
    """A law of displacements at a temperature, made from the modes of the supercell."""

    kind: ClassVar[str]

    @abstractmethod
    def law(self, reference: Phonons | Crystal) -> ModeLaw:
        """Return modes and variances after the soft-mode policy and the amplitude guard."""

    @abstractmethod
    def moments(self, reference: Phonons | Crystal) -> Moments:
        """Return the moments of the law on ``reference``."""


@dataclass(frozen=True, kw_only=True)
class HarmonicSampler(ModeSampler, HarmonicOptions):
    """A law of displacements made from given force constants."""

    def law(self, reference: Phonons | Crystal) -> ModeLaw:
        """Return modes and variances after the soft-mode policy and the amplitude guard."""
        return mode_law(require_phonons(reference, self.kind), self)


def pair_notes(indices: Sequence[int], stride: int) -> tuple[str, ...]:
    """Return a sentence if samples lack the −u partner of their pair."""
    alone = partnerless(indices, stride)
    return (f"{alone} samples lack the −u partner of their antithetic pair",) if alone else ()
