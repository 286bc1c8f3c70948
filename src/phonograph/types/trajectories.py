"""Molecular dynamics as rooms 1 and 2 take it: frames of one fixed cell, evenly spaced in time."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from phonograph.errors import DataError
from phonograph.types.arrays import FloatArray, IntArray, read_only, set_field
from phonograph.types.crystals import Origin


@dataclass(frozen=True, kw_only=True, eq=False)
class Trajectory:
    """Frames of a molecular dynamics run in a fixed cell.

    Attributes
    ----------
    cell_A
        Lattice vectors as rows, Å, shape (3, 3).
    numbers, masses_amu
        Atomic numbers and masses, shape (n,).
    positions_A
        Shape (f, n, 3), not wrapped into the cell: an atom that crosses a face goes on.
    velocities_A_per_ps
        Shape (f, n, 3), or None where the file has none.
    forces_eV_per_A
        Shape (f, n, 3), or None.
    energies_eV
        Potential energies, shape (f,), or None.
    time_step_fs
        Time between two frames, not between two steps of the integrator; None where the file does not say.
    temperature_K
        Temperature that the thermostat held, or None where unknown.
    title
        Free text.
    warnings
        Sentences for the report.
    """

    cell_A: FloatArray
    numbers: IntArray
    masses_amu: FloatArray
    positions_A: FloatArray
    velocities_A_per_ps: FloatArray | None = None
    forces_eV_per_A: FloatArray | None = None
    energies_eV: FloatArray | None = None
    time_step_fs: float | None = None
    temperature_K: float | None = None
    title: str = ""
    warnings: tuple[str, ...] = ()
    origin: Origin = field(default_factory=lambda: Origin(room="phonons"))

    def __post_init__(self) -> None:
        set_field(self, "cell_A", read_only("cell_A", self.cell_A, (3, 3)))
        set_field(self, "numbers", read_only("numbers", self.numbers, (None,), np.int64))
        size = len(self.numbers)
        set_field(self, "masses_amu", read_only("masses_amu", self.masses_amu, (size,)))
        set_field(self, "positions_A", read_only("trajectory positions", self.positions_A, (None, size, 3)))
        frames = len(self.positions_A)
        if frames < 1:
            raise DataError("a trajectory needs at least one frame; got none")
        for name in ("velocities_A_per_ps", "forces_eV_per_A"):
            if getattr(self, name) is not None:
                set_field(self, name, read_only(f"trajectory {name}", getattr(self, name), (frames, size, 3)))
        if self.energies_eV is not None:
            set_field(self, "energies_eV", read_only("trajectory energies_eV", self.energies_eV, (frames,)))
        for name in ("time_step_fs", "temperature_K"):
            value = getattr(self, name)
            if value is not None and not (np.isfinite(value) and value > 0):
                raise DataError(f"a trajectory's {name} must be positive; got {value!r}")

    def __len__(self) -> int:
        return len(self.positions_A)

    def frames(self, start: int, stop: int | None = None) -> Trajectory:
        """Return the frames ``start`` … ``stop`` − 1 as a trajectory of its own."""
        chosen = slice(start, stop)

        def cut(values: FloatArray | None) -> FloatArray | None:
            return None if values is None else values[chosen]

        return replace(
            self,
            positions_A=self.positions_A[chosen],
            velocities_A_per_ps=cut(self.velocities_A_per_ps),
            forces_eV_per_A=cut(self.forces_eV_per_A),
            energies_eV=cut(self.energies_eV),
        )


def join_trajectories(parts: tuple[Trajectory, ...] | list[Trajectory]) -> Trajectory:
    """Return consecutive parts of one run as one trajectory."""
    first = parts[0]

    def packed(name: str) -> FloatArray | None:
        arrays = [getattr(part, name) for part in parts]
        return None if any(array is None for array in arrays) else np.concatenate(arrays)

    return replace(
        first,
        positions_A=np.concatenate([part.positions_A for part in parts]),
        velocities_A_per_ps=packed("velocities_A_per_ps"),
        forces_eV_per_A=packed("forces_eV_per_A"),
        energies_eV=packed("energies_eV"),
        warnings=tuple(dict.fromkeys(sentence for part in parts for sentence in part.warnings)),
    )
