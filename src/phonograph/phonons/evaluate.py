"""Forces for many positions of one crystal, in this process or in several; the numbers are the same."""

from __future__ import annotations

import functools
import multiprocessing
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from phonograph.errors import ConfigurationError, DataError
from phonograph.phonons.engines import Engine
from phonograph.phonons.source import AseForces, ForceSource
from phonograph.types import Crystal, FloatArray, IntArray, Progress, read_only

STARTUP_S = 5.0
"""Worker processes pay once the planned work takes longer than this, s: importing CHGNet takes about four."""


@dataclass(frozen=True, eq=False)
class Responses:
    """Energies, eV, shape (m,), and forces, eV/Å, shape (m, n, 3)."""

    energies_eV: FloatArray
    forces_eV_per_A: FloatArray


@dataclass(frozen=True, eq=False)
class Reference:
    """Energy (eV), forces (eV/Å, (n, 3)) and stress (eV/Å³, (3, 3); None if the engine has none) at rest."""

    energy_eV: float
    forces_eV_per_A: FloatArray
    stress_eV_per_A3: FloatArray | None


class ForceField:
    """A force source at work; use it in a ``with`` block so that its worker processes end.

    Parameters
    ----------
    source
        Where forces come from.
    workers
        Processes; 1 computes here.  Results do not depend on it.
    startup_s
        Workers start once the planned work is longer than this, s.
    """

    def __init__(self, source: ForceSource, workers: int = 1, startup_s: float = STARTUP_S) -> None:
        if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
            raise ConfigurationError(f"workers must be a whole number of at least 1; got {workers!r}")
        if workers > 1 and isinstance(source, AseForces) and "<" in getattr(source.factory, "__qualname__", ""):
            raise ConfigurationError(
                "with more than one worker AseForces.factory must be a function at the top level of a module; "
                f"got {source.factory.__qualname__}; pass workers=1 or move it"
            )
        self._source = source
        self._workers = workers
        self._startup_s = startup_s
        self._seconds = 0.0
        self._engine: Engine | None = None
        self._pool: Any = None

    def __enter__(self) -> ForceField:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._pool is not None:
            if kind is None:
                self._pool.close()
            else:
                self._pool.stop()
            self._pool.join()
            self._pool = None

    @property
    def engine(self) -> Engine:
        """The calculator of this process, loaded on first use."""
        if self._engine is None:
            self._engine = Engine(self._source)
        return self._engine

    def reference(self, crystal: Crystal) -> Reference:
        """Evaluate the undisplaced crystal; a calculator without stress gives None for it."""
        from ase.calculators.calculator import PropertyNotImplementedError

        numbers, cell, positions = crystal.numbers, crystal.cell_A, crystal.positions_A
        stress = None
        if "stress" in getattr(self.engine.calculator, "implemented_properties", ["stress"]):
            try:
                energy, forces, stress = self.engine.respond(cell, numbers, positions, stress=True)
            except PropertyNotImplementedError:
                energy, forces, stress = self.engine.respond(cell, numbers, positions)
        else:
            energy, forces, stress = self.engine.respond(cell, numbers, positions)
        return Reference(energy_eV=energy, forces_eV_per_A=forces, stress_eV_per_A3=stress)

    def evaluate(
        self,
        crystal: Crystal,
        positions_A: FloatArray,
        *,
        planned: int = 0,
        what: str = "forces",
        progress: Progress | None = None,
    ) -> Responses:
        """Return energies and forces of ``crystal`` with its atoms at each of ``positions_A``.

        Parameters
        ----------
        crystal
            Cell and species.
        positions_A
            Å, shape (m, n, 3).
        planned
            How many evaluations will follow in all; decides whether worker processes pay.
        what, progress
            Progress is reported as ``progress(what, done, m)``.
        """
        positions = read_only("positions", positions_A, (None, len(crystal), 3))
        energies, forces = np.empty(len(positions)), np.empty(positions.shape)
        for done, (energy, force) in enumerate(self._each(crystal, positions, max(planned, len(positions)))):
            energies[done], forces[done] = energy, force
            if progress is not None:
                progress(what, done + 1, len(positions))
        return Responses(energies_eV=energies, forces_eV_per_A=forces)

    def _each(self, crystal: Crystal, positions: FloatArray, planned: int) -> Iterator[tuple[float, FloatArray]]:
        if self._pool is None and self._workers > 1 and self._seconds * planned > self._startup_s:
            self._start()
        if self._pool is not None:
            yield from self._in_workers(crystal, positions)
            return
        for place in positions:
            start = time.perf_counter()
            energy, forces, _ = self.engine.respond(crystal.cell_A, crystal.numbers, place)
            self._seconds = time.perf_counter() - start
            yield energy, forces

    def _start(self) -> None:
        from pebble import ProcessPool

        # "spawn": forking a process that runs threads of torch can hang.
        self._pool = ProcessPool(max_workers=self._workers, context=multiprocessing.get_context("spawn"))

    def _in_workers(self, crystal: Crystal, positions: FloatArray) -> Iterator[tuple[float, FloatArray]]:
        from pebble import ProcessExpired

        job = functools.partial(_respond, self._source, np.array(crystal.cell_A), np.array(crystal.numbers))
        future = self._pool.map(job, [np.array(place) for place in positions])
        try:
            yield from future.result()
        except ProcessExpired as error:
            raise DataError(
                f"a worker process that computed forces with {self._source.name} died ({error}); "
                "use fewer workers if memory ran out, and run again"
            ) from error


def _respond(
    source: ForceSource, cell: FloatArray, numbers: IntArray, positions: FloatArray
) -> tuple[float, FloatArray]:
    """Compute in a worker process."""
    energy, forces, _ = _worker_engine(source).respond(cell, numbers, positions)
    return energy, forces


@functools.lru_cache(maxsize=1)
def _worker_engine(source: ForceSource) -> Engine:
    return Engine(source)
