"""An engine with noise of known size: smooth in the crystal, plus a number that the description decides."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ase import Atoms

from phonograph.labels.task import structure_bytes
from phonograph.streams import stream
from phonograph.types import Crystal, LabelResult


def smooth(crystal: Crystal) -> float:
    """Return a number that does not depend on how the crystal is described: a sum over pairs below 4 Å."""
    from ase.neighborlist import neighbor_list

    atoms = Atoms(numbers=crystal.numbers, positions=crystal.positions_A, cell=crystal.cell_A, pbc=True)
    distances = neighbor_list("d", atoms, 4.0)
    return float(((4.0 - distances) ** 2).sum() / len(crystal) / 100.0)


@dataclass(frozen=True, kw_only=True)
class PlantedNoise:
    """A gap whose noise has standard deviation ``noise_eV`` for every description, and a shift."""

    noise_eV: float = 0.02
    shift_eV: float = 0.3
    tight: bool = True

    @property
    def provides(self) -> tuple[str, ...]:
        return ("band_gap_eV",)

    @property
    def engine(self) -> str:
        return f"planted 1 {self.noise_eV} {self.shift_eV}"

    def tightened(self):
        return ("no noise", replace(self, noise_eV=0.0, shift_eV=0.0)) if self.tight else None

    def label(self, crystal: Crystal) -> LabelResult:
        name = structure_bytes(crystal).key.hex()
        gap = smooth(crystal) + self.shift_eV + self.noise_eV * float(stream(1, name).normal())
        return LabelResult(values={"band_gap_eV": gap})


@dataclass(frozen=True, kw_only=True)
class FailsWhenMoved(PlantedNoise):
    """Fails for crystals whose first atom has left the cell's first octant."""

    def label(self, crystal: Crystal) -> LabelResult:
        if len(crystal) and crystal.positions_A[0, 0] > 1.0:
            return LabelResult(values={}, failure="not_converged", message="moved")
        return super().label(crystal)
