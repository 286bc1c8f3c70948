"""Band gap and band edges from periodic extended tight binding (tblite)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from phonograph.labels.edges import CBM, GAP, VBM, band_edges, chosen
from phonograph.labels.failures import describe_exception, engine_version, failure
from phonograph.options import check_options, option
from phonograph.types import Bands, Crystal, FloatArray, LabelResult
from phonograph.units import BOHR_A, BOLTZMANN_EV_PER_K, HARTREE_EV


@dataclass(frozen=True, kw_only=True)
class XtbLabeller:
    """GFN-xTB band gap, valence-band maximum and conduction-band minimum at Γ of the given cell.

    With N electrons and orbital energies ε₁ ≤ ε₂ ≤ …, VBM = ε_{N/2}, CBM = ε_{N/2+1}, gap = CBM − VBM: electrons are
    counted, no Fermi level and no density of states enters.  A gap of zero is a value.  An odd N has no such edges
    and is the failure ``bad_input``.

    Only Γ of the cell is seen: choose a supercell that folds both band edges of the primitive crystal to Γ, or the
    gap is too large.  VBM and CBM are raw eigenvalues of one periodic calculation, whose zero of energy is not
    shared between cells.  Energy, forces and stress are left out on purpose: the method's classical halogen term
    diverges where Br or I meets an acceptor such as S.

    Source: Grimme, Bannwarth, Shushkov, J. Chem. Theory Comput. 13, 1989 (2017), doi:10.1021/acs.jctc.7b00118 (GFN1);
    Bannwarth, Ehlert, Grimme, J. Chem. Theory Comput. 15, 1652 (2019), doi:10.1021/acs.jctc.8b01176 (GFN2).
    """

    method: str = option("GFN1-xTB", "Parametrisation.", choices=("GFN1-xTB", "GFN2-xTB"))
    accuracy: float = option(1.0, "tblite's accuracy; smaller is tighter.", above=0.0, maximum=1000.0)
    electronic_temperature_K: float = option(300.0, "Smearing of the occupations, K.", above=0.0, maximum=20000.0)
    max_iterations: int = option(250, "Self-consistency cycles before the label fails.", minimum=1)

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def provides(self) -> tuple[str, ...]:
        """Gap and both band edges."""
        return (GAP, VBM, CBM)

    @property
    def engine(self) -> str:
        """Version, method and the settings that move the numbers."""
        return (
            f"tblite {engine_version('tblite')} {self.method}; Γ point of the given cell; "
            f"{self.electronic_temperature_K:g} K; accuracy {self.accuracy:g}; raw eigenvalues"
        )

    def prepare(self) -> None:
        """Import the engine; called once per worker, before the clock of the first label starts."""
        import tblite.interface  # noqa: F401

    def label(self, crystal: Crystal) -> LabelResult:
        """Label one crystal; see the class for what is refused."""
        engine_version("tblite")
        from tblite.exceptions import TBLiteRuntimeError, TBLiteValueError

        try:
            energies_eV, occupations = self._orbitals(crystal)
        except TBLiteValueError as error:
            return failure("bad_input", str(error))
        except TBLiteRuntimeError as error:
            return failure(_kind(str(error)), str(error))
        except Exception as error:
            return failure("crashed", describe_exception(error))
        if not np.isfinite(energies_eV).all():
            return failure("unphysical", "an orbital energy is not finite")
        return chosen(band_edges(Bands.at_gamma(energies_eV, float(occupations.sum()))), self.provides)

    def _orbitals(self, crystal: Crystal) -> tuple[FloatArray, FloatArray]:
        from tblite.interface import Calculator

        calculator: Any = Calculator(
            self.method,
            np.asarray(crystal.numbers),
            # Wrapped, because tblite's lattice sums are cut off around the home cell.
            (crystal.fractional % 1.0) @ crystal.cell_A / BOHR_A,
            lattice=crystal.cell_A / BOHR_A,
            periodic=np.array([True] * 3),
        )
        calculator.set("verbosity", 0)
        calculator.set("accuracy", self.accuracy)
        calculator.set("max-iter", self.max_iterations)
        calculator.set("temperature", self.electronic_temperature_K * BOLTZMANN_EV_PER_K / HARTREE_EV)
        result = calculator.singlepoint()
        return np.asarray(result.get("orbital-energies")) * HARTREE_EV, np.asarray(result.get("orbital-occupations"))


def _kind(message: str) -> str:
    text = message.lower()
    if "not converged" in text:
        return "not_converged"
    return "bad_input" if "no support for elements" in text else "crashed"
