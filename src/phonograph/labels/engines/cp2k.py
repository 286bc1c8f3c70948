"""CP2K: Gaussian and plane waves with pseudopotentials, or GFN1-xTB, by its input and output files."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from math import prod
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from phonograph.errors import ConfigurationError, InputFileError, MissingEngineError
from phonograph.files.safety import sha256_of, shown
from phonograph.labels.edges import CBM, CBM_MEAN, DIRECT_GAP, GAP, VBM, VBM_MEAN, band_edges
from phonograph.labels.engines.by_files import FileEngine
from phonograph.labels.engines.calculators import ENERGY, STRESS
from phonograph.labels.engines.cp2k_check import check_output, xtb_refusal
from phonograph.labels.engines.cp2k_data import (
    INSTALL,
    Entry,
    data_folder,
    entries_sha256,
    file_sha256,
    find_entry,
)
from phonograph.labels.engines.cp2k_frame import Placed, placed
from phonograph.labels.engines.cp2k_input import (
    BASIS,
    GUESS,
    INPUT,
    POTENTIAL,
    XTB_DATA,
    Cp2kSettings,
    data_text,
    input_text,
    k_mesh,
    wave_function,
)
from phonograph.labels.engines.cp2k_output import Cp2kOutput, StoppedUnconverged, claims_end, read_output
from phonograph.labels.engines.program import find_program, mpi_environment, run_program
from phonograph.labels.failures import failure
from phonograph.labels.task import canonical_json, structure_bytes
from phonograph.labels.versions import version_note
from phonograph.options import option
from phonograph.types import Crystal, FloatArray, LabelResult
from phonograph.units import BOHR_A, HARTREE_EV

FERMI = "fermi_level_eV"
FORCES, TENSOR = "forces_eV_per_A", "stress_GPa"
XTB = "GFN1-xTB"

_EDGES = (GAP, DIRECT_GAP, VBM, CBM, VBM_MEAN, CBM_MEAN)
_BANDS = ("eigenvalues_eV", "k_points", "k_weights")
_PROBE_S = 60.0
_PHYSICAL = (
    "method",
    "functional",
    "cutoff_Ry",
    "rel_cutoff_Ry",
    "eps_default",
    "k_mesh",
    "k_centre",
    "smearing_K",
    "empty_states",
    "charge_e",
    "multiplicity",
    "eps_scf",
)
"""Options that decide the numbers, besides the data files; the others are ways to them."""


@dataclass(frozen=True, kw_only=True)
class Cp2kLabeller(FileEngine):
    """Energy, forces, stress and band edges from one self-consistent calculation of CP2K.

    Method ``GPW``: Kohn-Sham orbitals in a Gaussian basis, the density also in plane waves up to ``cutoff_Ry``, GTH
    pseudopotentials, diagonalisation, Broyden mixing.  Energy: of the cell over the number of atoms; with smearing the
    free energy E − TS, of which forces and stress are the derivatives.  Stress: σ = (1/V) ∂E/∂ε, GPa, positive =
    tensile; CP2K prints −σ.  Gap and edges by counting electrons on the k mesh: choose a mesh, or a supercell, that
    holds the points of the band edges.  Eigenvalues are raw: their zero (the mean electrostatic potential of the cell)
    is not shared between cells.

    Without forces and stress the energy is that of the last step, whose error is of first order in ``eps_scf``; with
    them it is evaluated once more from the final density, of second order.

    A result counts only if CP2K came to its end, converged, and printed the structure, electrons, k points and the
    project's name, a hash of structure and settings, that were asked for.

    Source: Kühne et al., J. Chem. Phys. 152, 194103 (2020), doi:10.1063/5.0007045; potentials: Goedecker, Teter,
    Hutter, Phys. Rev. B 54, 1703 (1996), doi:10.1103/PhysRevB.54.1703; basis sets: VandeVondele, Hutter, J. Chem.
    Phys. 127, 114105 (2007), doi:10.1063/1.2770708; PBEsol: Perdew et al., Phys. Rev. Lett. 100, 136406 (2008),
    doi:10.1103/PhysRevLett.100.136406.
    """

    OUTPUT: ClassVar[str] = "cp2k.out"
    INPUT: ClassVar[str] = INPUT
    RESULTS: ClassVar[tuple[str, ...]] = (OUTPUT,)

    command: tuple[str, ...] = option(
        ("cp2k.psmp",),
        "Program and arguments; with ranks above 1, mpirun is put before it; empty: write inputs and wait for files.",
        decides=False,
    )
    provides: tuple[str, ...] = option(
        (ENERGY, GAP, DIRECT_GAP, VBM, CBM, STRESS),
        "Properties to label; the stress costs time.",
        choices=(ENERGY, STRESS, *_EDGES, FERMI),
    )
    provides_arrays: tuple[str, ...] = option(
        (FORCES, TENSOR), "Arrays to keep; forces and stress cost time.", choices=(FORCES, TENSOR, *_BANDS)
    )
    method: str = option(
        "GPW", "'GPW': density-functional theory; 'GFN1-xTB': CP2K's semi-empirical route.", choices=("GPW", XTB)
    )
    functional: str = option("PBEsol", "Functional of GPW.", choices=("PBEsol", "PBE"))
    basis: str = option("DZVP-MOLOPT-SR-GTH", "Basis set of every element that basis_of does not name.")
    basis_of: Mapping[str, str] = field(
        default_factory=dict, metadata={"help": "Basis set of single elements, such as {Ag = 'TZVP-MOLOPT-SR-GTH'}."}
    )
    basis_files: tuple[str, ...] = option(
        ("BASIS_MOLOPT", "BASIS_MOLOPT_UCL"), "Data files of basis sets; the first that has one is used."
    )
    potential: str = option("GTH-PBE", "Pseudopotential of every element that potential_of does not name.")
    potential_of: Mapping[str, str] = field(
        default_factory=dict, metadata={"help": "Pseudopotential of single elements, such as {Ag = 'GTH-PBE-q19'}."}
    )
    potential_files: tuple[str, ...] = option(("GTH_POTENTIALS",), "Data files of pseudopotentials.")
    data_folder: str = option(
        "", "Folder of CP2K's data files; empty: $CP2K_DATA_DIR, else share/cp2k beside the program.", decides=False
    )
    cutoff_Ry: float = option(400.0, "Cutoff of the density's plane waves, Ry.", above=0.0)
    rel_cutoff_Ry: float = option(
        50.0, "Cutoff, Ry, of the grid that takes a Gaussian of exponent 1; below 50 energies suffer.", above=0.0
    )
    eps_default: float = option(1e-10, "Threshold of all integrals; sets what is neglected.", above=0.0, maximum=1e-6)
    k_mesh: tuple[int, ...] = option((1, 1, 1), "Mesh of k points along the reciprocal vectors; 1 1 1: Γ.", minimum=1)
    k_centre: str = option(
        "gamma",
        "'gamma': the mesh holds Γ; 'monkhorst-pack': even meshes avoid it (and break symmetry in fcc cells).",
        choices=("gamma", "monkhorst-pack"),
    )
    smearing_K: float = option(0.0, "Fermi-Dirac smearing, K; 0: none, for insulators.", minimum=0.0)
    empty_states: int = option(20, "States above the occupied ones; the conduction band needs at least one.", minimum=1)
    charge_e: int = option(0, "Charge of the cell, e.")
    multiplicity: int = option(
        0, "Spin multiplicity N↑ − N↓ + 1 of a spin-polarised calculation; 0: no spin.", minimum=0
    )
    mixer: str = option(
        "broyden",
        "'broyden' mixes the density; 'diis' extrapolates the Hamiltonian: fewer steps to the energy, but eigenvalues "
        "then need eps_scf = 1e-7.",
        choices=("broyden", "diis"),
    )
    eps_scf: float = option(
        1e-6,
        "Largest change of the density matrix that counts as converged; with forces or stress, 5e-5 gives the same.",
        above=0.0,
    )
    max_scf: int = option(60, "Steps before the label fails.", minimum=1, decides=False)
    mixing: float = option(0.6, "Share of the new density in each step.", above=0.0, maximum=1.0, decides=False)
    mixing_memory: int = option(8, "Earlier steps that the mixing remembers.", minimum=2, decides=False)
    guess_file: str = option(
        "", "Wave function (…-RESTART.wfn) of a like cell to start from; empty: atoms.", decides=False
    )
    keep_wave_function: bool = option(
        False, "Keep the wave function in folder, and continue from one that is there.", decides=False
    )
    manifolds: tuple[int, ...] = option(
        (0, 0),
        "Numbers of states that are degenerate at the valence top and at the conduction bottom of the static cell, for "
        "vbm_mean_eV and cbm_mean_eV.",
        minimum=0,
    )
    version: str = option("", "Version that outputs must be of, such as '2023.1'; empty: of the program found here.")
    ranks: int = option(1, "MPI processes per label; one per core labels most.", minimum=1, decides=False)
    memory_GB: float = option(1.5, "Memory that one label needs, GB.", above=0.0, decides=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.k_mesh) != 3:
            raise ConfigurationError(f"Cp2kLabeller.k_mesh must hold three numbers; got {self.k_mesh}")
        if len(self.manifolds) != 2:
            raise ConfigurationError(f"Cp2kLabeller.manifolds must hold two numbers; got {self.manifolds}")
        if not self.provides:
            raise ConfigurationError("Cp2kLabeller.provides must name a property; got none")
        if FERMI in self.provides and self.smearing_K == 0:
            raise ConfigurationError(f"Cp2kLabeller: {FERMI} needs smearing_K above 0; without, see vbm_eV and cbm_eV")
        for name, size in ((VBM_MEAN, self.manifolds[0]), (CBM_MEAN, self.manifolds[1])):
            if (name in self.provides) != (size > 0):
                raise ConfigurationError(f"Cp2kLabeller: {name} in provides and its number in manifolds go together")
        if self.keep_wave_function and not self.folder:
            raise ConfigurationError("Cp2kLabeller: keep_wave_function needs folder, where the wave function is kept")

    @property
    def cores(self) -> int:
        """Processor cores that one label uses."""
        return self.ranks

    @property
    def engine(self) -> str:
        """Version and the settings that move the numbers."""
        if self.method == XTB:
            what = XTB
        else:
            single = "".join(f" {one}: {name}" for one, name in sorted({**self.basis_of, **self.potential_of}.items()))
            grid = f"{self.cutoff_Ry:g}/{self.rel_cutoff_Ry:g} Ry"
            what = f"{self.functional}; {self.basis}/{self.potential}{single}; {grid}"
        mesh = "Γ" if self.k_mesh == (1, 1, 1) else f"k mesh {'×'.join(map(str, self.k_mesh))} {self.k_centre}"
        spread = f"Fermi-Dirac {self.smearing_K:g} K" if self.smearing_K else "no smearing"
        spin = f"; multiplicity {self.multiplicity}" if self.multiplicity else ""
        charge = f"; charge {self.charge_e:+d} e" if self.charge_e else ""
        return f"CP2K {self._version()}; {what}; {mesh}; {spread}{spin}{charge}; raw eigenvalues"

    def _version(self) -> str:
        if self.version or not self.command:
            return self.version or "(version as in each output)"
        if find_program(self.command[0]) is None:
            raise MissingEngineError(
                f"program {self.command[0]!r} is not on this machine's PATH; install CP2K ({INSTALL}), or give version "
                "where only other machines have it"
            )
        return _probe(tuple(self.command))

    def identity(self) -> Mapping[str, Any]:
        """Return SHA-256 of the data that decide the numbers: entries of the data files, and the guess."""
        folder = data_folder(self.data_folder, self._program)
        # With k points all crystals are turned first; labels from before that have other names.
        found: dict[str, Any] = {} if prod(self.k_mesh) == 1 else {"frame": "first vector along x, second in xy"}
        if self.method == XTB:
            found |= {name: file_sha256(folder / name) for name in XTB_DATA}
        else:
            found |= {
                "basis": entries_sha256(folder, self.basis_files, self.basis, self.basis_of, potential=False),
                "potential": entries_sha256(
                    folder, self.potential_files, self.potential, self.potential_of, potential=True
                ),
            }
        if self.guess_file:
            found["guess"] = sha256_of(self._guess())
        return found

    @property
    def _program(self) -> str:
        return self.command[0] if self.command else "cp2k.psmp"

    def another_way(self, attempt: int, failure: str) -> tuple[str, Self] | None:
        """Mix less, remember more and take more steps, from atoms: other ways to the same answer."""
        if failure != "not_converged":
            return None
        mixing, steps = self.mixing * 0.4 ** (attempt - 1), self.max_scf * 2 ** (attempt - 1)
        memory = self.mixing_memory + 4 * (attempt - 1)
        changed = replace(
            self, mixing=mixing, max_scf=steps, mixing_memory=memory, guess_file="", keep_wave_function=False
        )
        return f"mixing {mixing:.3g} with memory {memory}, {steps} steps, started from atoms", changed

    def tightened(self) -> tuple[str, Self]:
        """Return a calculation with finer grids and a tenth of the thresholds."""
        tight = replace(
            self,
            cutoff_Ry=1.5 * self.cutoff_Ry,
            rel_cutoff_Ry=1.5 * self.rel_cutoff_Ry,
            eps_default=self.eps_default / 10,
            eps_scf=self.eps_scf / 10,
            folder=self.tight_folder,
        )
        return f"cutoffs {tight.cutoff_Ry:g} and {tight.rel_cutoff_Ry:g} Ry, eps_scf {tight.eps_scf:g}", tight

    def arguments(self, folder: Path) -> list[str]:
        """Return the command with its input file, behind mpirun for more than one rank."""
        launcher = ["mpirun", "-np", str(self.ranks)] if self.ranks > 1 else []
        return [*launcher, *self.command, "-i", self.INPUT]

    def label(self, crystal: Crystal) -> LabelResult:
        """Label one crystal; elements without data and electrons that do not pair are ``bad_input``."""
        try:
            why = self._refusal(crystal)
        except MissingEngineError as error:
            return failure("engine_missing", str(error))
        except ConfigurationError as error:
            return failure("bad_input", str(error))
        return failure("bad_input", why) if why else super().label(crystal)

    def _refusal(self, crystal: Crystal) -> str:
        if self.method == XTB:
            derived = {ENERGY, STRESS, FORCES, TENSOR} & {*self.provides, *self.provides_arrays}
            return xtb_refusal(crystal.symbols) if derived else ""
        _, potential = self._entries(crystal.symbols)
        valence = {entry.element: entry.electrons for entry in potential}
        electrons = sum(valence[symbol] for symbol in crystal.symbols) - self.charge_e
        unpaired = max(0, self.multiplicity - 1)
        if electrons < 1 or (electrons - unpaired) % 2 or unpaired > electrons:
            given = self.multiplicity or 1
            return f"{electrons} electrons do not go with multiplicity {given}; set multiplicity or charge_e"
        return ""

    def write_inputs(self, crystal: Crystal, folder: Path) -> None:
        """Write ``cp2k.inp`` and, beside it, just the data it uses: the folder can be run anywhere."""
        settings = self._settings(crystal, folder)
        if self.method == XTB:
            data = data_folder(self.data_folder, self._program)
            for name in XTB_DATA:
                shutil.copyfile(data / name, folder / name)
        else:
            (folder / BASIS).write_text(data_text(settings.basis), encoding="utf-8")
            (folder / POTENTIAL).write_text(data_text(settings.potential), encoding="utf-8")
        if settings.guess and self.guess_file:
            shutil.copyfile(self._guess(), folder / GUESS)
        elif settings.guess:
            (folder / wave_function(settings.project)).replace(folder / GUESS)
        (folder / INPUT).write_text(input_text(settings, placed(crystal, self.k_mesh).crystal), encoding="utf-8")

    def _guess(self) -> Path:
        path = Path(self.guess_file).expanduser()
        if not path.is_file():
            raise InputFileError(f"Cp2kLabeller.guess_file {shown(path)} is not there; give a …-RESTART.wfn of CP2K")
        return path

    def _settings(self, crystal: Crystal, folder: Path) -> Cp2kSettings:
        basis, potential = self._entries(crystal.symbols)
        points, weights = k_mesh(self.k_mesh, centred=self.k_centre == "gamma")
        project = self._project(crystal, basis, potential)
        earlier = self.keep_wave_function and (folder / wave_function(project)).is_file()
        return Cp2kSettings(
            project=project,
            method=self.method,
            functional=self.functional,
            basis=basis,
            potential=potential,
            cutoff_Ry=float(self.cutoff_Ry),
            rel_cutoff_Ry=float(self.rel_cutoff_Ry),
            eps_default=self.eps_default,
            k_points=points,
            k_weights=weights,
            smearing_K=float(self.smearing_K),
            added_states=self.empty_states,
            charge=self.charge_e,
            multiplicity=self.multiplicity,
            eps_scf=self.eps_scf,
            max_scf=self.max_scf,
            mixer=self.mixer,
            mixing=float(self.mixing),
            mixing_memory=self.mixing_memory,
            guess=bool(self.guess_file) or earlier,
            keep_wave_function=self.keep_wave_function,
            forces=FORCES in self.provides_arrays,
            stress=STRESS in self.provides or TENSOR in self.provides_arrays,
        )

    def check_elements(self, elements: Sequence[str]) -> None:
        """Raise where an element has no basis set or potential of the names that were given."""
        self._entries(elements)

    def _entries(self, symbols: Sequence[str]) -> tuple[tuple[Entry, ...], tuple[Entry, ...]]:
        """Return basis sets and potentials of the elements, which must belong together."""
        if self.method == XTB:
            return (), ()
        folder = data_folder(self.data_folder, self._program)
        basis, potential = [], []
        for symbol in dict.fromkeys(symbols):
            name = self.basis_of.get(symbol, self.basis)
            basis.append(find_entry(folder, self.basis_files, symbol, name, potential=False))
            name = self.potential_of.get(symbol, self.potential)
            potential.append(find_entry(folder, self.potential_files, symbol, name, potential=True))
            one, other = basis[-1], potential[-1]
            if one.electrons and one.electrons != other.electrons:
                raise ConfigurationError(
                    f"basis set {one.name} and potential {other.name} of {symbol} are for {one.electrons} and "
                    f"{other.electrons} electrons; choose a pair with basis_of and potential_of"
                )
        return tuple(basis), tuple(potential)

    def _project(self, crystal: Crystal, basis: Sequence[Entry], potential: Sequence[Entry]) -> str:
        """Return a name that only this structure with these settings has; CP2K prints its first 40 letters."""
        physical = {name: getattr(self, name) for name in _PHYSICAL}
        data = [entry.sha256 for entry in (*basis, *potential)]
        content = canonical_json({**physical, "data": data, "structure": structure_bytes(crystal).key.hex()})
        return f"phonograph{hashlib.sha256(content.encode()).hexdigest()[:28]}"

    def has_outputs(self, folder: Path) -> bool:
        """Return whether there is an output that claims to be finished."""
        return claims_end(folder / self.OUTPUT)

    def read_outputs(self, crystal: Crystal, folder: Path) -> LabelResult:
        """Read and check the standard output."""
        try:
            output = read_output(folder / self.OUTPUT)
        except StoppedUnconverged as error:
            return failure("not_converged", str(error))
        settings = self._settings(crystal, folder)
        version = self.version or (_probe(tuple(self.command)) if self.command else "")
        place = placed(crystal, self.k_mesh)
        check_output(output, place.crystal, settings, version)
        if not output.converged:
            return failure("not_converged", f"no self-consistency within {self.max_scf} steps")
        return self._labelled(output, place)

    def _labelled(self, output: Cp2kOutput, place: Placed) -> LabelResult:
        energy_eV = output.energy_Ha * HARTREE_EV / len(place.crystal)
        values = {ENERGY: energy_eV, FERMI: output.fermi_Ha * HARTREE_EV}
        arrays: dict[str, FloatArray] = {}
        bands = output.bands
        if bands is not None:
            arrays = {"eigenvalues_eV": bands.eigenvalues_eV, "k_points": bands.k_points, "k_weights": bands.k_weights}
            if set(self.provides) & set(_EDGES):
                edges = band_edges(bands, (self.manifolds[0], self.manifolds[1]))
                if edges.failure:
                    return edges
                values |= edges.values
        if output.forces_Ha_per_bohr is not None:
            arrays[FORCES] = place.back(output.forces_Ha_per_bohr * HARTREE_EV / BOHR_A)
        if output.pressure_GPa is not None:
            arrays[TENSOR] = place.tensor_back(-output.pressure_GPa)
            values[STRESS] = -float(np.trace(output.pressure_GPa)) / 3.0
        missing = [name for name in (*self.provides, *self.provides_arrays) if name not in values | arrays]
        if missing:
            raise InputFileError(f"{output.place} has no {', '.join(missing)}; delete it and run CP2K again")
        return LabelResult(
            values={name: values[name] for name in self.provides},
            arrays={name: arrays[name] for name in self.provides_arrays},
            message="" if self.version or self.command else version_note("CP2K", output.version),
        )


@cache
def _probe(command: tuple[str, ...]) -> str:
    """Return the version of CP2K, as it gives it."""
    with tempfile.TemporaryDirectory(prefix="phonograph-") as folder:
        run_program(
            [*command, "--version"], Path(folder), output="probe", environment=mpi_environment(), limit_s=_PROBE_S
        )
        told = (Path(folder) / "probe").read_text(encoding="utf-8", errors="replace")
    _, found, rest = told.partition("CP2K version ")
    if not found:
        raise MissingEngineError(f"{shown(' '.join(command))} does not start as CP2K; correct it, or give version")
    return rest.split()[0]
