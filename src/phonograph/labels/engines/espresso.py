"""Quantum ESPRESSO: plane waves and pseudopotentials, by the files of pw.x."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from phonograph.errors import ConfigurationError, InputFileError, MissingEngineError
from phonograph.files.espresso_output import (
    LARGEST_BYTES,
    RYDBERG_EV,
    PwOutput,
    check_agreement,
    pressure_to_stress_GPa,
)
from phonograph.files.espresso_text import read_text_output
from phonograph.files.espresso_xml import read_xml
from phonograph.files.safety import check_name, sha256_of, shown
from phonograph.labels.edges import CBM, DIRECT_GAP, GAP, VBM, band_edges
from phonograph.labels.engines.by_files import FileEngine
from phonograph.labels.engines.calculators import ENERGY, STRESS
from phonograph.labels.engines.espresso_input import (
    Pseudopotential,
    Value,
    cell_bohr,
    find_pseudopotential,
    gamma_only,
    input_text,
    positions_bohr,
    pseudopotential_folder,
    read_pseudopotential,
    upf_files,
)
from phonograph.labels.engines.program import Ran, find_program, mpi_environment, run_program
from phonograph.labels.failures import failure
from phonograph.labels.versions import version_note
from phonograph.options import option
from phonograph.types import Crystal, LabelResult
from phonograph.units import BOHR_A

FERMI, MOMENT = "fermi_level_eV", "total_magnetic_moment_muB"
FORCES, TENSOR = "forces_eV_per_A", "stress_GPa"
PREFIX = "phonograph"
XML_FILES = (f"{PREFIX}.xml", f"{PREFIX}.save/data-file-schema.xml", "data-file-schema.xml")
"""Where pw.x, or who copied its results, may have put the XML file."""

_EDGES = (GAP, DIRECT_GAP, VBM, CBM)
_BANDS = {"eigenvalues_eV", "k_points", "k_weights"}
_PROBE_S = 60.0
_TOLERANCES = {"ecutwfc": 1e-6, "ecutrho": 1e-6, "degauss": 1e-6, "tot_charge": 1e-6, "conv_thr": 0.051}


@dataclass(frozen=True, kw_only=True)
class EspressoLabeller(FileEngine):
    """Energy, stress, forces and band edges from one self-consistent calculation of pw.x.

    Energy: of the cell over the number of atoms; with smearing the free energy E − TS, of which forces and stress are
    the derivatives.  Stress: σ = (1/V) ∂E/∂ε, GPa, positive = tensile; pw.x prints −σ.  Gap and edges by counting
    electrons on the k mesh: choose a mesh that holds the points of the band edges.  Eigenvalues are raw: their zero
    is not shared between cells.

    A result counts only if structure, cutoffs, k mesh, occupations, functional, pseudopotentials (their MD5 as pw.x
    prints it) and electrons are those asked for, and if the XML file and the standard output, where both are there,
    agree in every number.

    Source: Giannozzi et al., J. Phys.: Condens. Matter 29, 465901 (2017), doi:10.1088/1361-648X/aa8f79.
    """

    OUTPUT: ClassVar[str] = "espresso.pwo"
    INPUT: ClassVar[str] = "espresso.pwi"
    RESULTS: ClassVar[tuple[str, ...]] = (*XML_FILES, OUTPUT)

    provides: tuple[str, ...] = option(
        (ENERGY, STRESS, GAP, DIRECT_GAP, VBM, CBM),
        "Properties to label.",
        choices=(ENERGY, STRESS, *_EDGES, FERMI, MOMENT),
    )
    provides_arrays: tuple[str, ...] = option(
        (FORCES, TENSOR), "Arrays to keep.", choices=(FORCES, TENSOR, *sorted(_BANDS))
    )
    pseudopotential_folder: str = option(
        "",
        "Folder of UPF files; empty: the one that the environment variable ESPRESSO_PSEUDO names.",
        decides=False,
    )
    pseudopotentials: Mapping[str, str] = field(
        default_factory=dict,
        metadata={
            "help": "File of each element, such as {Si = 'Si.pz-vbc.UPF'}; left out: the only one of the element."
        },
    )
    functional: str = option(
        "",
        "Functional (input_dft); empty: that of the pseudopotentials.",
        choices=("", "pz", "pw", "pbe", "pbesol", "revpbe", "wc", "blyp"),
    )
    cutoff_Ry: float = option(40.0, "Cutoff of the wave functions, Ry; take it from your pseudopotentials.", above=0.0)
    density_cutoff_Ry: float = option(
        160.0, "Cutoff of the density, Ry: 4 × cutoff_Ry, for ultrasoft and PAW 8 to 12 ×.", above=0.0
    )
    k_mesh: tuple[int, ...] = option((1, 1, 1), "Mesh of k points along the reciprocal vectors.", minimum=1)
    k_shift: tuple[int, ...] = option((0, 0, 0), "1 shifts the mesh by half a step.", choices=(0, 1))
    occupations: str = option("fixed", "'fixed' for insulators, 'smearing' for metals.", choices=("fixed", "smearing"))
    smearing: str = option("mv", "Kind of smearing.", choices=("gaussian", "mp", "mv", "fd"))
    smearing_eV: float = option(0.1, "Width of the smearing, eV.", above=0.0)
    spin: bool = option(False, "Collinear spin polarisation.")
    starting_magnetisation: float = option(
        0.5, "Spin polarisation of every atom at the start, −1 to 1.", minimum=-1.0, maximum=1.0
    )
    moment_muB: int = option(-1, "N↑ − N↓ of the cell; −1: found by the calculation (smearing only).", minimum=-1)
    charge_e: float = option(0.0, "Charge of the cell, e.")
    empty_bands: int = option(4, "Bands above the occupied ones; the conduction band needs at least one.", minimum=1)
    convergence_Ry: float = option(
        1e-8, "Self-consistency is reached below this estimated error of the energy, Ry.", above=0.0
    )
    symmetry: bool = option(True, "Use the crystal's symmetry to save k points.")
    mixing: float = option(0.7, "Share of the new density in each step.", above=0.0, maximum=1.0, decides=False)
    steps: int = option(100, "Steps before the label fails.", minimum=1, decides=False)
    diagonalisation: str = option("david", "Solver: Davidson or conjugate gradients.", choices=("david", "cg"))
    version: str = option("", "Version that outputs must be of, such as '6.7MaX'; empty: of the program found here.")
    cores: int = option(1, "Processor cores that the command uses.", minimum=1, decides=False)
    memory_GB: float = option(1.0, "Memory that the command uses, GB.", above=0.0, decides=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("k_mesh", "k_shift"):
            if len(getattr(self, name)) != 3:
                raise ConfigurationError(f"EspressoLabeller.{name} must hold three numbers; got {getattr(self, name)}")
        if not self.provides:
            raise ConfigurationError("EspressoLabeller.provides must name a property; got none")
        if self.density_cutoff_Ry < 4.0 * self.cutoff_Ry:
            raise ConfigurationError(
                f"EspressoLabeller.density_cutoff_Ry must be at least 4 × cutoff_Ry = {4.0 * self.cutoff_Ry:g}; got "
                f"{self.density_cutoff_Ry:g}"
            )
        if self.spin and self.occupations == "fixed" and self.moment_muB < 0:
            raise ConfigurationError("EspressoLabeller: spin with fixed occupations needs moment_muB; give N↑ − N↓")
        if MOMENT in self.provides and not self.spin:
            raise ConfigurationError(f"EspressoLabeller: {MOMENT} needs spin = true")
        if FERMI in self.provides and self.occupations == "fixed":
            raise ConfigurationError(f"EspressoLabeller: {FERMI} needs occupations = 'smearing'; else see vbm_eV")
        for element, file in self.pseudopotentials.items():
            check_name(file, f"the pseudopotential of {element}")

    @property
    def engine(self) -> str:
        """Version and the settings that move the numbers."""
        files = ", ".join(file for _, file in sorted(self.pseudopotentials.items())) or "pseudopotentials by element"
        functional = self.functional or "functional of the pseudopotentials"
        mesh = "×".join(map(str, self.k_mesh))
        spread = f" {self.smearing} {self.smearing_eV:g} eV" if self.occupations == "smearing" else ""
        shift = f" shifted by {self.k_shift}/2" if any(self.k_shift) else ""
        return (
            f"Quantum ESPRESSO pw.x {self._version()}; {functional}; {files}; {self.cutoff_Ry:g}/"
            f"{self.density_cutoff_Ry:g} Ry; k mesh {mesh}{shift}; {self.occupations}{spread}"
            f"{'; spin' if self.spin else ''}; raw eigenvalues"
        )

    def _version(self) -> str:
        if self.version or not self.command:
            return self.version or "(version as in each output)"
        if find_program(self.command[0]) is None:
            raise MissingEngineError(
                f"program {self.command[0]!r} is not on this machine's PATH; install Quantum ESPRESSO (Debian: apt-get "
                "install quantum-espresso), or give version where only other machines have it"
            )
        return _probe(tuple(self.command))

    def identity(self) -> Mapping[str, Any]:
        """Return the SHA-256 of every pseudopotential that may be used."""
        folder = pseudopotential_folder(self.pseudopotential_folder)
        if self.pseudopotentials:
            return {e: read_pseudopotential(folder / f, e).sha256 for e, f in sorted(self.pseudopotentials.items())}
        return {path.name: sha256_of(path) for path in upf_files(folder)}

    def another_way(self, attempt: int, failure: str) -> tuple[str, Self] | None:
        """Mix less and take more steps, then change the solver: other ways to the same answer."""
        if failure not in ("not_converged", "crashed"):
            return None
        mixing, steps = self.mixing * 0.4 ** (attempt - 1), self.steps * 2 ** (attempt - 1)
        solver = "cg" if attempt > 2 else self.diagonalisation
        changed = replace(self, mixing=mixing, steps=steps, diagonalisation=solver)
        return f"mixing {mixing:.3g}, {steps} steps, solver {solver}", changed

    def tightened(self) -> tuple[str, Self]:
        """Return a calculation with half as much cutoff again and a tenth of the threshold."""
        tight = replace(
            self,
            cutoff_Ry=1.5 * self.cutoff_Ry,
            density_cutoff_Ry=1.5 * self.density_cutoff_Ry,
            convergence_Ry=0.1 * self.convergence_Ry,
            folder=self.tight_folder,
        )
        return f"cutoff {tight.cutoff_Ry:g} Ry, threshold {tight.convergence_Ry:g} Ry", tight

    def arguments(self, folder: Path) -> list[str]:
        """Return the command with its input file."""
        return [*self.command, "-in", self.INPUT]

    def write_inputs(self, crystal: Crystal, folder: Path) -> None:
        """Write ``espresso.pwi``."""
        pseudos = self._pseudopotentials(crystal.symbols)
        text = input_text(self._namelists(crystal, pseudos), crystal, pseudos, self.k_mesh, self.k_shift)
        (folder / self.INPUT).write_text(text, encoding="utf-8")

    def clear_outputs(self, folder: Path) -> None:
        """Delete what would be read after the next run, should that leave nothing."""
        for name in (*self.RESULTS, "CRASH"):
            (folder / name).unlink(missing_ok=True)

    def _namelists(self, crystal: Crystal, pseudos: Sequence[Pseudopotential]) -> dict[str, dict[str, Value]]:
        control: dict[str, Value] = {
            "calculation": "scf",
            "prefix": PREFIX,
            "outdir": ".",
            "tstress": True,
            "tprnfor": True,
            "verbosity": "high",
        }
        if self.pseudopotential_folder:
            control["pseudo_dir"] = str(Path(self.pseudopotential_folder).resolve())
        system: dict[str, Value] = {
            "ibrav": 0,
            "nat": len(crystal),
            "ntyp": len(pseudos),
            "ecutwfc": self.cutoff_Ry,
            "ecutrho": self.density_cutoff_Ry,
            "nbnd": self._bands(crystal, pseudos),
            "tot_charge": self.charge_e,
            "occupations": self.occupations,
            "nosym": not self.symmetry,
            "noinv": False,
            "nspin": 2 if self.spin else 1,
        }
        if self.functional:
            system["input_dft"] = self.functional
        if self.occupations == "smearing":
            system |= {"smearing": self.smearing, "degauss": self.smearing_eV / RYDBERG_EV}
        if self.spin:
            system |= {f"starting_magnetization({i})": self.starting_magnetisation for i in range(1, len(pseudos) + 1)}
            if self.moment_muB >= 0:
                system["tot_magnetization"] = float(self.moment_muB)
        electrons: dict[str, Value] = {
            "conv_thr": self.convergence_Ry,
            "mixing_beta": self.mixing,
            "electron_maxstep": self.steps,
            "diagonalization": self.diagonalisation,
        }
        return {"CONTROL": control, "SYSTEM": system, "ELECTRONS": electrons}

    def check_elements(self, elements: Sequence[str]) -> None:
        """Raise where an element has no pseudopotential, or several and none is chosen."""
        self._pseudopotentials(elements)

    def _pseudopotentials(self, symbols: Sequence[str]) -> tuple[Pseudopotential, ...]:
        folder = pseudopotential_folder(self.pseudopotential_folder)
        return tuple(find_pseudopotential(folder, one, self.pseudopotentials) for one in dict.fromkeys(symbols))

    def _electrons(self, crystal: Crystal, pseudos: Sequence[Pseudopotential]) -> float:
        valence = {one.element: one.valence for one in pseudos}
        return sum(valence[symbol] for symbol in crystal.symbols) - self.charge_e

    def _bands(self, crystal: Crystal, pseudos: Sequence[Pseudopotential]) -> int:
        electrons = self._electrons(crystal, pseudos)
        # With spin, one of the two holds half the moment more.
        return math.ceil((electrons + max(0, self.moment_muB if self.spin else 0)) / 2.0) + self.empty_bands

    def has_outputs(self, folder: Path) -> bool:
        """Return whether there is an output that claims to be finished, or says what went wrong."""
        if any(b"<closed" in _content(folder / name) for name in XML_FILES):
            return True
        told = _content(folder / self.OUTPUT)
        return b"JOB DONE" in told or b"Error in routine" in told

    def read_outputs(self, crystal: Crystal, folder: Path) -> LabelResult:
        """Read the XML file and the standard output, or the one of them that is there."""
        outputs = [read_xml(folder / name) for name in XML_FILES if (folder / name).is_file()][:1]
        if (folder / self.OUTPUT).is_file():
            outputs.append(read_text_output(folder / self.OUTPUT))
        if not outputs:
            raise InputFileError(f"{shown(folder.name)} holds neither {XML_FILES[0]} nor {self.OUTPUT}")
        for output in outputs:
            self._check(output, crystal)
        if not all(output.converged for output in outputs):
            return failure("not_converged", f"no self-consistency within {self.steps} steps")
        if len(outputs) == 2:
            check_agreement(outputs[0], outputs[1])
        elif "k_mesh" not in outputs[0].settings:
            self._check_points(outputs[0])
        return self._labelled(outputs[0], crystal)

    def _check(self, output: PwOutput, crystal: Crystal) -> None:
        """Raise unless ``output`` is of this crystal and of these settings."""
        _check_structure(output, crystal)
        pseudos = self._pseudopotentials(crystal.symbols)
        expected: dict[str, Any] = self._namelists(crystal, pseudos)["SYSTEM"] | {
            "calculation": "scf",
            "conv_thr": self.convergence_Ry,
            "noncolin": False,
            "pseudopotentials": tuple(one.file for one in pseudos),
            "starting_magnetization": (self.starting_magnetisation,) * len(pseudos),
            "k_mesh": (0,) * 6 if gamma_only(self.k_mesh, self.k_shift) else (*self.k_mesh, *self.k_shift),
            **dict.fromkeys(("dftU", "vdW", "hybrid"), False),
        }
        for name, found in output.settings.items():
            wanted = expected.get(name, -1.0 if name == "tot_magnetization" else found)
            if not _same(name, found, wanted, output.rounding.get(name, 0.0)):
                raise _another(output, f"{name} = {found}", wanted)
        version = self.version or (_probe(tuple(self.command)) if self.command else "")
        if version and output.version != version:
            raise _another(output, f"version {output.version}", version)
        if output.md5 and output.md5 != tuple(one.md5 for one in pseudos):
            raise _another(output, "other pseudopotential files of the same names", "those here")
        if output.converged:
            self._check_bands(output, crystal, pseudos)

    def _check_bands(self, output: PwOutput, crystal: Crystal, pseudos: Sequence[Pseudopotential]) -> None:
        electrons = self._electrons(crystal, pseudos)
        if abs(output.bands.electrons - electrons) > 1e-6:
            raise _another(output, f"{output.bands.electrons:g} electrons", f"{electrons:g}")
        count = self._bands(crystal, pseudos)
        if output.bands.eigenvalues_eV.shape[2] != count:
            raise _another(output, f"{output.bands.eigenvalues_eV.shape[2]} bands", count)

    def _check_points(self, output: PwOutput) -> None:
        """Tell the mesh from its points: they lie on it, and Γ, the star of one point, has the weight 1/(n₁n₂n₃)."""
        n = self.k_mesh[0]
        if self.k_mesh != (n, n, n) or any(self.k_shift):
            raise InputFileError(
                f"{output.place} does not tell a mesh such as {self.k_mesh} shifted by {self.k_shift}/2; keep "
                f"{XML_FILES[1]} beside it"
            )
        steps = output.bands.k_points * n
        gamma = output.bands.k_weights[np.abs(steps).max(axis=1) < 1e-6]
        whole = np.abs(steps - np.rint(steps)).max() < 1e-6 * n
        if not (whole and len(gamma) == 1 and abs(gamma[0] * n**3 - 1.0) < 1e-6 * n**3):
            raise _another(output, "the k points of another mesh", self.k_mesh)

    def _labelled(self, output: PwOutput, crystal: Crystal) -> LabelResult:
        stress = pressure_to_stress_GPa(output.stress_Ry_per_bohr3)
        bands = output.bands
        values = {
            ENERGY: output.energy_Ry * RYDBERG_EV / len(crystal),
            STRESS: float(np.trace(stress)) / 3.0,
            FERMI: output.fermi_eV,
            MOMENT: bands.magnetisation,
        }
        if set(self.provides) & set(_EDGES):
            edges = band_edges(bands)
            if edges.failure:
                return edges
            values |= edges.values
        arrays = {
            FORCES: output.forces_Ry_per_bohr * RYDBERG_EV / BOHR_A,
            TENSOR: stress,
            "eigenvalues_eV": bands.eigenvalues_eV,
            "k_points": bands.k_points,
            "k_weights": bands.k_weights,
        }
        return LabelResult(
            values={name: values[name] for name in self.provides},
            arrays={name: arrays[name] for name in self.provides_arrays},
            message="" if self.version or self.command else version_note("Quantum ESPRESSO", output.version),
        )

    def _after(self, ran: Ran, crystal: Crystal, folder: Path) -> LabelResult:
        """Judge the run, and delete the wave functions, which are larger than all else."""
        result = super()._after(ran, crystal, folder)
        for path in (*folder.glob(f"{PREFIX}.wfc*"), *folder.glob(f"{PREFIX}.save/wfc*")):
            path.unlink(missing_ok=True)
        return result


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() and path.stat().st_size <= LARGEST_BYTES else b""


def _check_structure(output: PwOutput, crystal: Crystal) -> None:
    if output.symbols != tuple(crystal.symbols):
        raise _another(output, f"{len(output.symbols)} atoms or other elements", crystal.formula)
    for what, found, wanted in (
        ("cell", output.cell_bohr, cell_bohr(crystal)),
        ("positions", output.positions_bohr, positions_bohr(crystal)),
    ):
        # Printed in units of the lattice constant, so that the error grows with the distance from the origin.
        tolerance = output.length_bohr * (
            1.0 + np.abs(wanted).max(initial=0.0) / max(1.0, np.abs(output.cell_bohr).max())
        )
        difference = float(np.abs(found - wanted).max(initial=0.0))
        if difference > tolerance:
            raise _another(output, f"{what} that differ by {difference * BOHR_A:.2g} Å", "this structure")


def _same(name: str, found: Any, wanted: Any, rounding: float) -> bool:
    if name == "starting_magnetization":
        return len(found) == len(wanted) and bool(np.allclose(found, wanted, rtol=0.0, atol=max(rounding, 1e-9)))
    if name in _TOLERANCES:
        return bool(abs(found - wanted) <= max(rounding, _TOLERANCES[name] * max(abs(wanted), 1e-12)))
    return bool(found == wanted)


def _another(output: PwOutput, found: str, wanted: Any) -> InputFileError:
    return InputFileError(
        f"{output.place} is of another calculation: it has {found}; expected {wanted}; delete the outputs there and "
        "run pw.x again"
    )


@cache
def _probe(command: tuple[str, ...]) -> str:
    """Return the version of pw.x, which it prints before it reads its (here: empty) input."""
    with tempfile.TemporaryDirectory(prefix="phonograph-") as folder:
        arguments, place = [*command, "-in", "/dev/null"], Path(folder)
        run_program(arguments, place, output="probe", environment=mpi_environment(), limit_s=_PROBE_S)
        told = (Path(folder) / "probe").read_text(encoding="utf-8", errors="replace")
    _, found, rest = told.partition("Program PWSCF v.")
    if not found:
        raise MissingEngineError(
            f"{shown(' '.join(command))} does not start as pw.x; correct the command, or give version"
        )
    return rest.split()[0]
