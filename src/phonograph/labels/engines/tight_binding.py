"""Band gap and band edges from periodic extended tight binding (tblite)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from phonograph.errors import ConfigurationError, describe_exception
from phonograph.labels.edges import CBM, CBM_MEAN, GAP, VBM, VBM_MEAN, band_edges, chosen
from phonograph.labels.engines.chemistry import energy_refusal
from phonograph.labels.failures import engine_version, failure
from phonograph.options import check_options, option
from phonograph.types import Bands, Crystal, FloatArray, LabelResult
from phonograph.units import BOHR_A, BOLTZMANN_EV_PER_K, EV_PER_A3_IN_GPA, HARTREE_EV

ENERGY, STRESS = "energy_eV_per_atom", "hydrostatic_stress_GPa"
TBLITE_DAMPING = 0.4
"""Mixer damping that tblite uses where none is set."""

MIXER_MEMORY = 30
"""Cycles that a damped mixer remembers."""

REMEDIES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("mixer damping 0.1, twice the iterations", {"mixer_damping": 0.1}),
    (
        "started from 5000 K electronic temperature, mixer damping 0.1, twice the iterations",
        {"mixer_damping": 0.1, "start_temperature_K": 5000.0},
    ),
)
"""What is changed for the second and third attempt at self-consistency; its threshold and temperature never are."""

TIGHTER = 100.0
"""Factor between the accuracy of a label and that of the calculation that measures its noise."""


@dataclass(frozen=True, kw_only=True)
class XtbLabeller:
    """GFN-xTB band gap, valence-band maximum and conduction-band minimum at Γ of the given cell.

    With N electrons and orbital energies ε₁ ≤ ε₂ ≤ …, VBM = ε_{N/2}, CBM = ε_{N/2+1}, gap = CBM − VBM: electrons are
    counted, no Fermi level and no density of states enters.  A gap of zero is a value.  An odd N has no such edges
    and is the failure ``bad_input``.

    Only Γ of the cell is seen: choose a supercell that folds both band edges of the primitive crystal to Γ, or the
    gap is too large (:func:`phonograph.labels.check_folding_at_gamma` tells).  VBM and CBM are raw eigenvalues of one
    periodic calculation, whose zero of energy is not shared between cells.  All eigenvalues and the atomic charges
    are kept beside them.

    Energy, forces and stress are left out unless asked for, and refused where two of the elements fail a symmetry test
    of their pair: GFN1's classical halogen term diverges where Br, I or At meets N, O, P or S.  Nothing else is tested
    for you: energies of KI, for one, are given and break :func:`phonograph.labels.symmetry_test`.

    Source: Grimme, Bannwarth, Shushkov, J. Chem. Theory Comput. 13, 1989 (2017), doi:10.1021/acs.jctc.7b00118 (GFN1);
    Bannwarth, Ehlert, Grimme, J. Chem. Theory Comput. 15, 1652 (2019), doi:10.1021/acs.jctc.8b01176 (GFN2).
    """

    method: str = option("GFN1-xTB", "Parametrisation.", choices=("GFN1-xTB", "GFN2-xTB"))
    accuracy: float = option(1.0, "tblite's accuracy; smaller is tighter.", above=0.0, maximum=1000.0)
    electronic_temperature_K: float = option(300.0, "Smearing of the occupations, K.", above=0.0, maximum=20000.0)
    max_iterations: int = option(250, "Self-consistency cycles before the label fails.", minimum=1, decides=False)
    manifolds: tuple[int, ...] = option(
        (0, 0),
        "Sizes of the degenerate manifolds at the valence top and conduction bottom of the static cell, whose means "
        "are also kept (vbm_mean_eV, cbm_mean_eV); 0: none.",
        minimum=0,
    )
    energies: bool = option(
        False,
        "Also energy, forces and stress; refused where a pair of elements diverges: in GFN1 Br, I, At with N, O, P, S.",
    )
    mixer_damping: float = option(
        TBLITE_DAMPING, "Damping of the self-consistency mixer.", above=0.0, maximum=1.0, decides=False
    )
    start_temperature_K: float = option(
        0.0,
        "Converge at this electronic temperature first and go on from there at the wanted one, K; 0: do not.",
        minimum=0.0,
        maximum=20000.0,
        decides=False,
    )

    def __post_init__(self) -> None:
        check_options(self)
        if len(self.manifolds) != 2:
            raise ConfigurationError(
                f"XtbLabeller.manifolds must hold two numbers, [valence, conduction]; got {list(self.manifolds)}"
            )

    @property
    def provides(self) -> tuple[str, ...]:
        """Gap and both band edges; where asked for, means over manifolds, energy and stress."""
        means = tuple(name for name, size in zip((VBM_MEAN, CBM_MEAN), self.manifolds, strict=True) if size)
        return (GAP, VBM, CBM, *means, *((ENERGY, STRESS) if self.energies else ()))

    @property
    def provides_arrays(self) -> tuple[str, ...]:
        """Charges and all eigenvalues; where asked for, forces and stress."""
        return ("charges_e", "eigenvalues_eV", *(("forces_eV_per_A", "stress_GPa") if self.energies else ()))

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

    def remedy(self, attempt: int, failure: str) -> tuple[str, XtbLabeller] | None:
        """Return another way to self-consistency; accuracy and electronic temperature of the result stay."""
        if failure != "not_converged" or attempt - 2 >= len(REMEDIES):
            return None
        words, changes = REMEDIES[attempt - 2]
        return words, replace(self, max_iterations=2 * self.max_iterations, **changes)

    def tightened(self) -> tuple[str, XtbLabeller]:
        """Return the same engine with a hundredfold tighter accuracy, to measure the noise of its labels."""
        accuracy = self.accuracy / TIGHTER
        return f"accuracy {accuracy:g}", replace(self, accuracy=accuracy)

    def label(self, crystal: Crystal) -> LabelResult:
        """Label one crystal; see the class for what is refused."""
        engine_version("tblite")
        from tblite.exceptions import TBLiteRuntimeError, TBLiteValueError

        try:
            refusal = energy_refusal(self.method, crystal.numbers) if self.energies else ""
            if refusal:
                return failure("bad_input", f"{refusal}; ask for gap and band edges only (energies = false)")
            solved = self.solve(crystal)
        except TBLiteValueError as error:
            return failure("bad_input", str(error))
        except TBLiteRuntimeError as error:
            return failure(_kind(str(error)), str(error))
        except Exception as error:
            return failure("crashed", describe_exception(error))
        return self._judged(crystal, solved)

    def solve(self, crystal: Crystal, *, integrals: bool = False) -> Any:
        """Return tblite's own converged result; with ``integrals`` it holds overlap and orbitals too.

        Raises
        ------
        tblite.exceptions.TBLiteRuntimeError, tblite.exceptions.TBLiteValueError
            Self-consistency or input that fails.
        """
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
        if integrals:
            calculator.set("save-integrals", 1)
        if self.mixer_damping != TBLITE_DAMPING:
            calculator.set("mixer-damping", self.mixer_damping)
            # The default remembers every cycle, which slows long runs down and helps none.
            calculator.set("mixer-memory", MIXER_MEMORY)
        before = None
        if self.start_temperature_K > self.electronic_temperature_K:
            calculator.set("temperature", _hartree(self.start_temperature_K))
            before = calculator.singlepoint()
        calculator.set("temperature", _hartree(self.electronic_temperature_K))
        return calculator.singlepoint() if before is None else calculator.singlepoint(before)

    def _judged(self, crystal: Crystal, solved: Any) -> LabelResult:
        """Turn tblite's result into values and arrays, in our units."""
        energies_eV = np.asarray(solved.get("orbital-energies")) * HARTREE_EV
        if not np.isfinite(energies_eV).all():
            return failure("unphysical", "an orbital energy is not finite")
        bands = Bands.at_gamma(energies_eV, float(np.asarray(solved.get("orbital-occupations")).sum()))
        edges = chosen(band_edges(bands, (self.manifolds[0], self.manifolds[1])), self.provides)
        if edges.failure:
            return edges
        values, arrays = dict(edges.values), _arrays(crystal, solved)
        if self.energies:
            values[ENERGY] = float(solved.get("energy")) * HARTREE_EV / len(crystal)
            values[STRESS] = float(np.trace(arrays["stress_GPa"])) / 3.0
        arrays["eigenvalues_eV"] = np.array(bands.eigenvalues_eV)
        return LabelResult(values=values, arrays={name: arrays[name] for name in self.provides_arrays})


def _arrays(crystal: Crystal, solved: Any) -> dict[str, FloatArray]:
    """Charges, forces and stress; tblite's virial is V σ with ASE's sign."""
    return {
        "charges_e": np.asarray(solved.get("charges"), dtype=np.float64),
        "forces_eV_per_A": -np.asarray(solved.get("gradient"), dtype=np.float64) * HARTREE_EV / BOHR_A,
        "stress_GPa": np.asarray(solved.get("virial"), dtype=np.float64)
        * (HARTREE_EV / crystal.volume_A3 * EV_PER_A3_IN_GPA),
    }


def _hartree(temperature_K: float) -> float:
    return temperature_K * BOLTZMANN_EV_PER_K / HARTREE_EV


def _kind(message: str) -> str:
    text = message.lower()
    if "not converged" in text:
        return "not_converged"
    return "bad_input" if "no support for elements" in text else "crashed"
