"""One calculator in one process: energies, forces and stress of given positions."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import io
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from phonograph.errors import DataError, MissingEngineError, PhysicsError
from phonograph.phonons.source import AseForces, CalculatorForces, ForceSource
from phonograph.types import FloatArray, IntArray

CHGNET_LARGEST_NUMBER = 94
"""CHGNet's table of elements ends with Pu."""


class Engine:
    """A loaded calculator.

    Parameters
    ----------
    source
        What to load.

    Raises
    ------
    MissingEngineError
        When the engine is not installed.
    """

    def __init__(self, source: ForceSource) -> None:
        self.name = source.name
        self._threads = source.threads if isinstance(source, CalculatorForces) else None
        self._is_chgnet = isinstance(source, CalculatorForces) and source.engine == "chgnet"
        self._is_emt = isinstance(source, CalculatorForces) and source.engine == "emt"
        self.calculator = _calculator(source)

    def respond(
        self, cell_A: FloatArray, numbers: IntArray, positions_A: FloatArray, *, stress: bool = False
    ) -> tuple[float, FloatArray, FloatArray | None]:
        """Return energy (eV), forces (eV/Å, (n, 3)) and, on request, stress (eV/Å³, (3, 3), tensile positive).

        Raises
        ------
        PhysicsError
            When the engine does not know an element or refuses the structure.
        DataError
            When it returns NaN or infinite numbers.
        """
        from ase import Atoms
        from ase.calculators.calculator import CalculatorError

        atoms = Atoms(numbers=numbers, positions=positions_A, cell=cell_A, pbc=True)
        if self._is_chgnet:
            _check_elements(numbers)
        try:
            with self.quiet():
                energy, forces, tensor = self._compute(atoms, stress)
        except NotImplementedError as error:
            raise PhysicsError(
                f"{self.name} cannot treat {atoms.get_chemical_formula()} ({error}); choose another engine"
            ) from error
        except CalculatorError as error:
            raise DataError(f"{self.name} failed on {atoms.get_chemical_formula()}: {error}; see its output") from error
        if not (np.isfinite(energy) and np.isfinite(forces).all()):
            raise DataError(
                f"{self.name} returned NaN or infinite energy or forces for {atoms.get_chemical_formula()}; "
                "check the structure for overlapping atoms, or choose another engine"
            )
        return energy, forces, tensor

    def _compute(self, atoms: Any, stress: bool) -> tuple[float, FloatArray, FloatArray | None]:
        if not self._is_chgnet:
            # ASE's EMT keeps a neighbour list whose order of summation depends on what it computed before; a fresh one
            # gives the same bits in one process or several.
            atoms.calc = type(self.calculator)() if self._is_emt else self.calculator
            tensor = np.asarray(atoms.get_stress(voigt=False), dtype=np.float64) if stress else None
            energy, forces = atoms.get_potential_energy(), atoms.get_forces()
            return float(energy), np.array(forces, dtype=np.float64), tensor
        # Asking CHGNet for no more than energy and forces saves 40 % of the time.
        try:
            self.calculator.calculate(atoms, task="efs" if stress else "ef")
        except ValueError as error:
            raise PhysicsError(f"chgnet refuses {atoms.get_chemical_formula()}: {error}") from error
        found = self.calculator.results
        tensor = np.array(found["stress"], dtype=np.float64) if stress else None
        return float(found["energy"]), np.array(found["forces"], dtype=np.float64), tensor

    @contextlib.contextmanager
    def quiet(self) -> Iterator[None]:
        """Run the engine with its number of threads and without its remarks to the screen."""
        with warnings.catch_warnings():
            if self._is_chgnet:
                # pymatgen and torch comment on conversions inside CHGNet that no caller can change.
                warnings.simplefilter("ignore")
            with _threads(self._threads if self._is_chgnet else None):
                yield


def _check_elements(numbers: IntArray) -> None:
    if int(np.max(numbers)) > CHGNET_LARGEST_NUMBER:
        raise PhysicsError(f"chgnet knows elements up to Z = {CHGNET_LARGEST_NUMBER}; got Z = {int(np.max(numbers))}")


@contextlib.contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Give torch ``count`` threads for a while; CHGNet has imported it, this room does not depend on it."""
    torch = sys.modules.get("torch")
    if count is None or torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _calculator(source: ForceSource) -> Any:
    if isinstance(source, AseForces):
        return source.factory()
    if source.engine == "emt":
        from ase.calculators.emt import EMT

        return EMT()
    return _chgnet()


@functools.cache
def _chgnet() -> Any:
    """Load CHGNet once per process: importing and loading takes about four seconds."""
    try:
        # It prints to stdout while loading, and its dependencies warn about their own deprecations.
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            from chgnet.model.dynamics import CHGNetCalculator

            return CHGNetCalculator(use_device="cpu", on_isolated_atoms="error")
    except ImportError as error:
        raise MissingEngineError(
            f"the engine 'chgnet' is not installed ({error}); install it with: pip install chgnet"
        ) from error


def engine_versions(source: ForceSource) -> dict[str, str]:
    """Return package → version of what computes the forces."""
    packages = ["ase"]
    if isinstance(source, CalculatorForces) and source.engine == "chgnet":
        packages = ["chgnet", "torch"]
    return {package: importlib.metadata.version(package) for package in packages}
