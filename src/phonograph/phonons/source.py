"""Where forces come from: settings only, light to import."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from phonograph.audit_checks import SENSITIVITY_THZ
from phonograph.errors import ConfigurationError
from phonograph.options import check_options, option

ENGINES = ("chgnet", "emt")


def _displacement_option() -> Any:
    return option(
        0.05,
        "Length of the finite displacements, Å; below about 0.03 Å CHGNet's forces show kinks of the network, "
        "far above 0.1 Å anharmonicity enters.",
        above=0.0,
        maximum=0.5,
    )


def _check_option() -> Any:
    return option(True, "Repeat the finite displacements at twice the length and report the change in frequencies.")


def _tolerance_option() -> Any:
    return option(
        SENSITIVITY_THZ,
        "Largest change of a frequency between the two lengths that passes without a warning, THz.",
        above=0.0,
    )


@dataclass(frozen=True, kw_only=True)
class CalculatorForces:
    """Forces from an engine that Phonograph knows, and how finite displacements are made with them.

    ``"chgnet"`` is the universal potential CHGNet (Deng et al., Nat. Mach. Intell. 5, 1031 (2023),
    doi:10.1038/s42256-023-00716-3); ``"emt"`` is ASE's effective-medium theory (Al, Ni, Cu, Pd, Ag, Pt, Au), for tests.

    Raises
    ------
    ConfigurationError
        An option out of its range.
    """

    engine: str = option("chgnet", "Engine that computes energies and forces.", choices=ENGINES)
    threads: int = option(1, "Threads of the engine in each process.", minimum=1)
    displacement_A: float = _displacement_option()
    check_displacement: bool = _check_option()
    displacement_tolerance_THz: float = _tolerance_option()

    def __post_init__(self) -> None:
        check_options(self, "phonons.forces")

    @property
    def name(self) -> str:
        """Name of the engine."""
        return self.engine


@dataclass(frozen=True, kw_only=True)
class AseForces:
    """Forces from any ASE calculator, for Python users.

    Parameters
    ----------
    factory
        Called without arguments, returns a fresh ASE calculator with energy and forces (and stress for ``relax`` of
        the cell).  With more than one worker it must be a function at the top level of a module.
    name
        What the calculator is called in the origin of the results.

    Examples
    --------
    >>> from ase.calculators.emt import EMT
    >>> AseForces(factory=EMT, name="EMT").name
    'EMT'
    """

    factory: Callable[[], Any] = field(repr=False)
    name: str = option(help="What the calculator is called in the results.")
    displacement_A: float = _displacement_option()
    check_displacement: bool = _check_option()
    displacement_tolerance_THz: float = _tolerance_option()

    def __post_init__(self) -> None:
        check_options(self)
        if not callable(self.factory):
            raise ConfigurationError(
                "AseForces.factory must be a function that returns a calculator, for example "
                f"factory=lambda: EMT(); got {type(self.factory).__name__}"
            )


ForceSource = CalculatorForces | AseForces
"""What rooms take as a source of forces."""


def describe(source: ForceSource) -> dict[str, Any]:
    """Return the settings as plain values, for the origin of a result."""
    names = [name for name in source.__dataclass_fields__ if name != "factory"]
    return {name: getattr(source, name) for name in names}
