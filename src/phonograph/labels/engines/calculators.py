"""Labellers that run an ASE calculator: CHGNet, EMT, and any calculator a Python user brings.

Energy per atom is E/n, eV/atom.  Hydrostatic stress is tr σ/3, GPa, with ASE's sign: σ = (1/V) ∂E/∂ε, positive when
the crystal would like to shrink (tensile).  VASP prints the opposite sign.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from phonograph.errors import ConfigurationError, MissingEngineError, UserError, describe_exception
from phonograph.labels.failures import engine_version, failure
from phonograph.options import check_options, option
from phonograph.types import Crystal, FloatArray, LabelResult
from phonograph.units import EV_PER_A3_IN_GPA

ENERGY, STRESS, MOMENT = "energy_eV_per_atom", "hydrostatic_stress_GPa", "total_magnetic_moment_muB"
FORCES, TENSOR, MOMENTS, CHARGES = "forces_eV_per_A", "stress_GPa", "magnetic_moments_muB", "charges_e"
_CHGNET_ELEMENTS = 94


@dataclass(frozen=True, kw_only=True)
class EmtLabeller:
    """Effective-medium theory of ASE: milliseconds per label, for tests and toy runs on Al, Ni, Cu, Pd, Ag, Pt, Au.

    Source: Jacobsen, Stoltze, Nørskov, Surf. Sci. 366, 394 (1996), doi:10.1016/0039-6028(96)00816-3.
    """

    @property
    def provides(self) -> tuple[str, ...]:
        """Energy per atom and hydrostatic stress."""
        return (ENERGY, STRESS)

    @property
    def provides_arrays(self) -> tuple[str, ...]:
        """Forces and the stress tensor."""
        return (FORCES, TENSOR)

    @property
    def engine(self) -> str:
        """ASE's version."""
        return f"ase {engine_version('ase')} EMT"

    def prepare(self) -> None:
        """Import the engine; called once per worker, before the clock of the first label starts."""
        _emt()

    def label(self, crystal: Crystal) -> LabelResult:
        """Label one crystal; an element without EMT parameters is ``bad_input``."""
        return _labelled(_emt, crystal, self.provides, self.provides_arrays)


@dataclass(frozen=True, kw_only=True)
class ChgnetLabeller:
    """CHGNet, a universal neural-network potential: energy, forces, stress and magnetic moments.

    Its magnetic moments are magnitudes: their sum is the total moment of a ferromagnet and of nothing else.
    Runs on the CPU in single precision, so that labels do not depend on the machine's graphics card.
    Source: Deng et al., Nat. Mach. Intell. 5, 1031 (2023), doi:10.1038/s42256-023-00716-3.
    """

    weights: str = option(
        "0.3.0",
        "Pretrained weights inside the chgnet package: '0.3.0' and '0.2.0' (PBE/PBE+U), 'r2scan'.",
        choices=("0.3.0", "0.2.0", "r2scan"),
    )
    total_moment: bool = option(False, "Also the sum of the magnetic moments, which CHGNet gives without a sign.")

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def provides(self) -> tuple[str, ...]:
        """Energy per atom and hydrostatic stress; where asked for, the total moment."""
        return (ENERGY, STRESS, *((MOMENT,) if self.total_moment else ()))

    @property
    def provides_arrays(self) -> tuple[str, ...]:
        """Forces, the stress tensor and magnetic moments."""
        return (FORCES, TENSOR, MOMENTS)

    @property
    def engine(self) -> str:
        """Versions of the package and of its weights."""
        return f"chgnet {engine_version('chgnet')} weights {self.weights}"

    def prepare(self) -> None:
        """Load the network; called once per worker, before the clock of the first label starts."""
        _chgnet(self.weights)

    def label(self, crystal: Crystal) -> LabelResult:
        """Label one crystal; atoms without a neighbour within 6 Å and elements beyond Pu are ``bad_input``."""
        engine_version("chgnet")
        if crystal.numbers.max() > _CHGNET_ELEMENTS:
            return failure("bad_input", f"CHGNet knows elements up to Z = 94; got Z = {crystal.numbers.max()}")
        return _labelled(lambda: _chgnet(self.weights), crystal, self.provides, self.provides_arrays)


@dataclass(frozen=True, kw_only=True)
class AseLabeller:
    """Any ASE calculator, for Python users.

    Workers are separate processes, so the calculator is named by a function they can import and call without
    arguments.  It is code that you choose to run, which is why a TOML file cannot name one.

    Examples
    --------
    >>> AseLabeller(factory="my_project.calculators:make", name="my-potential", version="1.2")  # doctest: +SKIP
    """

    factory: str | Callable[[], Any] = option(  # noqa: RUF009
        help="Function without arguments that returns an ASE calculator: 'package.module:function', or the function."
    )
    name: str = option(help="Name of the engine, for the label table.")
    version: str = option(help="Version of the engine and its settings; a new version means new labels.")
    provides: tuple[str, ...] = option(
        (ENERGY, STRESS), "What the calculator can do.", choices=(ENERGY, STRESS, MOMENT)
    )
    provides_arrays: tuple[str, ...] = option(
        (), "Arrays that the calculator can give as well.", choices=(FORCES, TENSOR, MOMENTS, CHARGES)
    )
    tight_factory: str | Callable[[], Any] = option(  # noqa: RUF009
        "", "The same calculator with tighter settings, to measure the noise of its labels; empty: none.", decides=False
    )

    def __post_init__(self) -> None:
        check_options(self)
        if not self.name.strip() or not self.version.strip() or not self.provides:
            raise ConfigurationError("AseLabeller needs a name, a version and at least one property; got an empty one")
        for field in ("factory", "tight_factory"):
            given = getattr(self, field)
            place = given if isinstance(given, str) else f"{given.__module__}:{_name_of(given)}"
            object.__setattr__(self, field, place)
            if place or field == "factory":
                _find_factory(place)

    @property
    def engine(self) -> str:
        """Name and version as given."""
        return f"{self.name} {self.version}"

    def prepare(self) -> None:
        """Make the calculator; called once per worker, before the clock of the first label starts."""
        _made(str(self.factory))

    def label(self, crystal: Crystal) -> LabelResult:
        """Label one crystal; exceptions of the calculator become failures."""
        return _labelled(lambda: _made(str(self.factory)), crystal, self.provides, self.provides_arrays)

    def tightened(self) -> tuple[str, AseLabeller] | None:
        """Return the labeller of ``tight_factory``, or None where there is none."""
        if not self.tight_factory:
            return None
        return f"{self.tight_factory}", replace(
            self, factory=self.tight_factory, tight_factory="", version=f"{self.version} tightened"
        )


def _name_of(factory: Callable[[], Any]) -> str:
    return str(getattr(factory, "__qualname__", type(factory).__qualname__))


def _find_factory(place: str) -> Callable[[], Any]:
    """Import ``module:function``, or say in one sentence why not."""
    module, _, name = place.partition(":")
    advice = "give 'module:function' of a function at the top level of a module that can be imported"
    if not name.isidentifier():
        raise ConfigurationError(f"AseLabeller.factory {place!r} cannot be reached from a worker process; {advice}")
    try:
        found: Callable[[], Any] | None = getattr(importlib.import_module(module), name, None)
    except ImportError as error:
        raise MissingEngineError(f"AseLabeller.factory {place!r} cannot be imported ({error}); {advice}") from error
    if not callable(found):
        raise ConfigurationError(f"AseLabeller.factory {place!r} is not a function; {advice}")
    return found


@cache
def _made(place: str) -> Any:
    return _find_factory(place)()


@cache
def _emt() -> Any:
    from ase.calculators.emt import EMT

    return EMT()


@cache
def _chgnet(weights: str) -> Any:
    # CHGNet prints where it runs; a library must not.
    with contextlib.redirect_stdout(io.StringIO()):
        from chgnet.model import CHGNet
        from chgnet.model.dynamics import CHGNetCalculator

        model = CHGNet.load(model_name=weights, use_device="cpu", verbose=False)
        return CHGNetCalculator(model=model, use_device="cpu", on_isolated_atoms="error")


def _labelled(
    calculator: Callable[[], Any], crystal: Crystal, provides: tuple[str, ...], arrays: tuple[str, ...] = ()
) -> LabelResult:
    """Run a calculator; its exceptions become failures, because one odd structure must not end a long run."""
    from ase.calculators.calculator import SCFError

    try:
        return _results(calculator(), crystal, provides, arrays)
    except UserError:
        raise
    except SCFError as error:
        return failure("not_converged", str(error) or "the calculator reports no self-consistency")
    except NotImplementedError as error:
        return failure("bad_input", str(error) or "the calculator does not treat this structure")
    except ValueError as error:
        isolated = "isolated atom" in str(error)
        return failure("bad_input" if isolated else "crashed", str(error) if isolated else describe_exception(error))
    except Exception as error:
        return failure("crashed", describe_exception(error))


def _results(calculator: Any, crystal: Crystal, provides: tuple[str, ...], arrays: tuple[str, ...]) -> LabelResult:
    from ase import Atoms

    # −cell spans the same lattice; CHGNet divides by the signed volume, so a left-handed cell would flip its stress.
    cell = crystal.cell_A * np.sign(np.linalg.det(crystal.cell_A))
    atoms = Atoms(numbers=crystal.numbers, positions=crystal.positions_A, cell=cell, pbc=True)
    # A calculator keeps its last result; without reset, one that failed half-way could hand out a stale number.
    if hasattr(calculator, "reset"):
        calculator.reset()
    atoms.calc = calculator
    with warnings.catch_warnings():
        # CHGNet copies a tensor in a way that recent torch versions comment on; the number is right.
        warnings.filterwarnings("ignore", message="Converting a tensor with requires_grad", category=UserWarning)
        values = {name: VALUES[name](atoms) for name in provides}
        found = {name: np.array(ARRAYS[name](atoms), dtype=np.float64) for name in arrays}
    return LabelResult(values=values, arrays=found)


VALUES: Mapping[str, Callable[[Any], float]] = {
    ENERGY: lambda atoms: float(atoms.get_potential_energy()) / len(atoms),
    STRESS: lambda atoms: float(np.trace(atoms.get_stress(voigt=False))) / 3.0 * EV_PER_A3_IN_GPA,
    MOMENT: lambda atoms: float(np.sum(atoms.get_magnetic_moments())),
}
"""How each number is asked of an ASE atoms object with a calculator."""

ARRAYS: Mapping[str, Callable[[Any], FloatArray]] = {
    FORCES: lambda atoms: atoms.get_forces(),
    TENSOR: lambda atoms: atoms.get_stress(voigt=False) * EV_PER_A3_IN_GPA,
    MOMENTS: lambda atoms: atoms.get_magnetic_moments(),
    CHARGES: lambda atoms: atoms.get_charges(),
}
"""How each array is asked of it."""
