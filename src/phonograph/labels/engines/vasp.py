"""VASP by its files: writes inputs, runs it or waits for whoever does, and reads outputs that it has checked."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from phonograph.atomic import write_bytes, write_text
from phonograph.errors import ConfigurationError, InputFileError
from phonograph.files.safety import MAX_STRUCTURE_BYTES, read_bytes, read_text, shown
from phonograph.files.vasp_folder import SUFFIXES, find_output, read_vasp_folder
from phonograph.files.vasp_run import VaspRun
from phonograph.labels.edges import CBM, DIRECT_GAP, GAP, VBM, band_edges
from phonograph.labels.engines.by_files import FileEngine, Refused
from phonograph.labels.engines.calculators import ENERGY, STRESS
from phonograph.labels.engines.vasp_guide import write_vasp_guide
from phonograph.labels.engines.vasp_input import (
    PARALLEL,
    TEMPLATES,
    check_tags,
    incar_text,
    kpoints_text,
    mesh,
    poscar_text,
    read_incar,
    reordered,
    species_order,
)
from phonograph.labels.engines.vasp_output import check_answer, same_value
from phonograph.labels.engines.vasp_potentials import (
    LIBRARY_VARIABLE,
    MAX_POTENTIAL_BYTES,
    assemble,
    check_potentials,
    library,
    library_sha256,
    potential_name,
    potentials_of,
    title_fits,
)
from phonograph.labels.failures import failure
from phonograph.labels.versions import version_note
from phonograph.options import option
from phonograph.types import Crystal, IntArray, LabelResult

MOMENT = "total_magnetic_moment_muB"
FORCES, TENSOR = "forces_eV_per_A", "stress_GPa"
_EDGES = (GAP, DIRECT_GAP, VBM, CBM)
_BANDS = ("eigenvalues_eV", "occupations", "k_points", "k_weights")
_OUTPUTS = ("vasprun.xml", "OUTCAR", "EIGENVAL")
_ENDS = (b"</modeling>", b"Voluntary context switches")
_REPAIRED = ("ALGO", "NELM")  # whoever repairs a loop that did not converge changes these
_ONE_FOLDER = "give each calculation a folder of its own, or delete the old one"
_TAIL_BYTES = 20_000
WRITING_S = 60.0
"""An unfinished output that changed less than this ago is being written, s; the label waits."""


@dataclass(frozen=True, kw_only=True)
class VaspLabeller(FileEngine):
    """Energy, forces, stress and band edges from one static VASP calculation per structure.

    Energy: of the cell over the number of atoms, extrapolated to σ → 0 or free, as ``energy`` says; forces and stress
    are derivatives of the free energy.  Stress: GPa, positive = tensile; VASP's sign is the opposite.  Gap and edges by
    counting electrons on the Γ-centred mesh: choose a mesh that holds the points of the band edges.  Eigenvalues are
    raw: their zero is not shared between cells.

    A result counts only if structure, functional, cutoff, smearing, k points, potentials (by title) and number of
    electrons are those asked for, the electronic loop converged, and vasprun.xml, OUTCAR and EIGENVAL, where there are
    several, tell the same.  Spin-orbit coupling is refused.

    The potentials are the user's own and stay so: a store holds their names, titles and hashes at most.

    Source: Kresse, Furthmüller, Phys. Rev. B 54, 11169 (1996), doi:10.1103/PhysRevB.54.11169; Kresse, Joubert, Phys.
    Rev. B 59, 1758 (1999), doi:10.1103/PhysRevB.59.1758.
    """

    OUTPUT: ClassVar[str] = "vasp.out"
    RESULTS: ClassVar[tuple[str, ...]] = _OUTPUTS[:2]

    provides: tuple[str, ...] = option(
        (ENERGY, STRESS, GAP, DIRECT_GAP, VBM, CBM), "Properties to label.", choices=(ENERGY, STRESS, *_EDGES, MOMENT)
    )
    provides_arrays: tuple[str, ...] = option((FORCES, TENSOR), "Arrays to keep.", choices=(FORCES, TENSOR, *_BANDS))
    template: str = option(
        "pbesol-static", "INCAR to start from: PBEsol, HSE06, or HSE06 on PBEsol.", choices=tuple(TEMPLATES)
    )
    energy: str = option(
        "sigma0",
        "Energy to label: extrapolated to zero smearing, or the free energy, of which the forces are derivatives.",
        choices=("sigma0", "free"),
    )
    cutoff_eV: float = option(550.0, "Cutoff of the plane waves (ENCUT), eV.", above=0.0)
    convergence_eV: float = option(1e-6, "The electronic loop ends below this change (EDIFF), eV.", above=0.0)
    steps: int = option(200, "Electronic steps before the label fails (NELM).", minimum=2, decides=False)
    smearing: int = option(0, "ISMEAR: 0 Gaussian, -1 Fermi, 1 and 2 Methfessel–Paxton.", choices=(-1, 0, 1, 2))
    smearing_eV: float = option(0.05, "Width of the smearing (SIGMA), eV.", above=0.0)
    spin: bool = option(False, "Collinear spin polarisation (ISPIN = 2).")
    algorithm: str = option(
        "",
        "ALGO; empty: that of the template (Normal, for hybrids All).",
        choices=("", "Normal", "Fast", "VeryFast", "All", "Damped", "Conjugate"),
    )
    k_mesh: tuple[int, ...] = option((), "Γ-centred mesh of k points; empty: by k_spacing_per_A.", minimum=1)
    k_spacing_per_A: float = option(
        0.25,
        "Largest distance of k points along the reciprocal vectors (with 2π), 1/Å, where k_mesh is empty.",
        above=0.0,
    )
    incar: Mapping[str, str] = field(
        default_factory=dict, metadata={"help": "More INCAR tags that move numbers, such as {LMAXMIX = '4'}."}
    )
    parallel: Mapping[str, str] = field(
        default_factory=dict,
        metadata={"help": f"Tags that spread the work: {', '.join(PARALLEL[:4])}, …", "decides": False},
    )
    potentials: Mapping[str, str] = field(
        default_factory=dict,
        metadata={"help": "Potential of each element, such as {Ag = 'Ag_pv'}; left out: the recommended one."},
    )
    potential_sha256: Mapping[str, str] = field(
        default_factory=dict,
        metadata={"help": "SHA-256 of each element's potential, which a POTCAR in a run folder must then have."},
    )
    potential_folder: str = option(
        "",
        f"Your library of potentials (Ag_pv/POTCAR, …); empty: ${LIBRARY_VARIABLE}, else only names are written.",
        decides=False,
    )
    version: str = option("", "Version that outputs must be of, such as '6.4.2'; empty: any.")
    cores: int = option(1, "Processor cores that the command uses.", minimum=1, decides=False)
    memory_GB: float = option(2.0, "Memory that the command uses, GB.", above=0.0, decides=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.k_mesh) not in (0, 3):
            raise ConfigurationError(f"VaspLabeller.k_mesh must hold three numbers or none; got {self.k_mesh}")
        if not self.provides:
            raise ConfigurationError("VaspLabeller.provides must name a property; got none")
        if MOMENT in self.provides and not self.spin:
            raise ConfigurationError(f"VaspLabeller: {MOMENT} needs spin = true")
        check_tags(self.incar, parallel=False)
        check_tags(self.parallel, parallel=True)
        check_potentials(self.potentials, self.potential_sha256)

    @property
    def engine(self) -> str:
        """Method and the settings that move the numbers; the version is that of each output."""
        points = "×".join(map(str, self.k_mesh)) if self.k_mesh else f"{self.k_spacing_per_A:g} 1/Å"
        own = ", ".join(name for _, name in sorted(self.potentials.items()))
        parts = [
            f"VASP {self.version or 'of any version'} {self.template}",
            f"{self.cutoff_eV:g} eV",
            f"Γ-centred k mesh {points}",
            f"ISMEAR {self.smearing} {self.smearing_eV:g} eV",
            f"EDIFF {self.convergence_eV:g}",
            *(["spin"] if self.spin else []),
            f"PAW_PBE {own or 'recommended potentials'}",
            *(f"{name} = {value}" for name, value in sorted(self.incar.items())),
            f"energy {self.energy}",
            "raw eigenvalues",
        ]
        return "; ".join(parts)

    def tags(self) -> dict[str, str]:
        """Return the whole INCAR but what spreads the work."""
        tags = {
            **TEMPLATES[self.template],
            "ENCUT": f"{self.cutoff_eV!r}",
            "EDIFF": f"{self.convergence_eV!r}",
            "NELM": str(self.steps),
            "ISMEAR": str(self.smearing),
            "SIGMA": f"{self.smearing_eV!r}",
            "ISPIN": "2" if self.spin else "1",
            **self.incar,
        }
        return tags | ({"ALGO": self.algorithm} if self.algorithm else {})

    def identity(self) -> Mapping[str, Any]:
        """Return the SHA-256 of each potential in the library that an element may get; none without a library."""
        place = library(self.potential_folder)
        return {} if place is None else library_sha256(place, self.potentials)

    def another_way(self, attempt: int, failure: str) -> tuple[str, Self] | None:
        """Minimise all bands at once, then with damping, with more steps each: other ways to the same answer."""
        if failure != "not_converged" or attempt not in (2, 3):
            return None
        changed = replace(self, algorithm="All" if attempt == 2 else "Damped", steps=self.steps * attempt)
        return f"ALGO = {changed.algorithm}, NELM = {changed.steps}", changed

    def tightened(self) -> tuple[str, Self]:
        """Return a calculation with half as much cutoff again and a tenth of the threshold."""
        tight = replace(
            self,
            cutoff_eV=1.5 * self.cutoff_eV,
            convergence_eV=0.1 * self.convergence_eV,
            folder=self.tight_folder,
        )
        return f"ENCUT = {tight.cutoff_eV:g}, EDIFF = {tight.convergence_eV:g}", tight

    def write_inputs(self, crystal: Crystal, folder: Path) -> None:
        """Write POSCAR, INCAR, KPOINTS and POTCAR.spec, and POTCAR where there is a library of potentials.

        Where VASP was started by someone, nothing is written; an INCAR that differs is then refused.
        """
        if np.linalg.det(crystal.cell_A) < 0:
            raise Refused("bad_input", "VASP takes right-handed lattice vectors only; exchange two of them")
        if not self.command and self._someone_started(folder):
            return
        sorted_crystal = reordered(crystal, species_order(crystal))
        names = list(self._potentials(crystal).values())
        files = {
            "POSCAR": poscar_text(sorted_crystal, f"{crystal.formula} {folder.name}"),
            "INCAR": incar_text({"SYSTEM": folder.name, **self.tags(), **self.parallel}),
            "KPOINTS": kpoints_text(self._mesh(crystal)),
            "POTCAR.spec": "".join(f"{name}\n" for name in names),
        }
        for name, text in files.items():
            if not _holds(folder / name, text):
                write_text(folder / name, text)
        self._write_potcar(folder, crystal)

    def _someone_started(self, folder: Path) -> bool:
        """Return whether an output was begun there; raises where the inputs there are of other settings."""
        if not (folder / "INCAR").is_file():
            return False
        other = self._other_settings(read_incar(read_text(folder / "INCAR")))
        if other:
            raise Refused("waiting", f"{shown(folder)} holds a calculation of other settings ({other}); {_ONE_FOLDER}")
        return any(find_output(folder, name) for name in self.RESULTS)

    def _other_settings(self, found: Mapping[str, str]) -> str:
        """Return the first tag in which an INCAR differs from what is asked for; empty where none does."""
        for name, value in self.tags().items():
            if name not in _REPAIRED and not (name in found and same_value(found[name], value)):
                return f"{name} = {found.get(name)}, wanted {value}"
        return ""

    def _check_own_tags(self, run: VaspRun, folder: Path) -> None:
        """Raise where neither the output nor the INCAR beside it tells that a tag of the user's own was set."""
        path = folder / "INCAR"
        written = read_incar(read_text(path)) if path.is_file() else {}
        for name, value in self.incar.items():
            if name not in run.settings and not (name in written and same_value(written[name], value)):
                raise InputFileError(
                    f"{run.source} does not tell {name}, and the INCAR beside it has {name} = {written.get(name)}; "
                    f"expected {value}; {_ONE_FOLDER}"
                )

    def _potentials(self, crystal: Crystal) -> dict[str, str]:
        """Return element → name of its potential, in the order of POSCAR."""
        return {element: potential_name(element, self.potentials) for element in dict.fromkeys(crystal.symbols)}

    def _mesh(self, crystal: Crystal) -> tuple[int, int, int]:
        return mesh(crystal, self.k_mesh, self.k_spacing_per_A)

    def _write_potcar(self, folder: Path, crystal: Crystal) -> None:
        place, target = library(self.potential_folder), folder / "POTCAR"
        if place is not None:
            try:
                data = assemble(place, list(self._potentials(crystal).values()))
                self._check_potcar(data, crystal, shown(place))
            except InputFileError as error:
                raise Refused("engine_missing", str(error)) from error
            if not target.is_file() or target.read_bytes() != data:
                write_bytes(target, data)
        elif self.command and not target.is_file():
            raise Refused(
                "engine_missing",
                f"VASP needs potentials: set potential_folder, or ${LIBRARY_VARIABLE}, to your library of them",
            )

    def _check_potcar(self, data: bytes, crystal: Crystal, place: str) -> None:
        """Raise unless a POTCAR holds the potentials of ``crystal``, with the hashes that the user gave."""
        found, wanted = potentials_of(data), self._potentials(crystal)
        fits = [title_fits(one.title, name) for one, name in zip(found, wanted.values(), strict=False)]
        if len(found) != len(wanted) or not all(fits):
            raise InputFileError(
                f"POTCAR of {place} holds {', '.join(one.title for one in found) or 'nothing'}; expected "
                f"{', '.join(wanted.values())}"
            )
        for one, element in zip(found, wanted, strict=True):
            expected = self.potential_sha256.get(element)
            if expected not in (None, one.sha256):
                raise InputFileError(f"{one.title} of {place} has the SHA-256 {one.sha256}; expected {expected}")

    def clear_outputs(self, folder: Path) -> None:
        """Delete what VASP wrote before."""
        for name in (*_OUTPUTS, "OSZICAR", "CONTCAR", "WAVECAR", "CHGCAR", "CHG"):
            for suffix in SUFFIXES:
                (folder / (name + suffix)).unlink(missing_ok=True)

    def write_guide(self, root: Path) -> None:
        """Write README.txt and submit.slurm."""
        write_vasp_guide(root)

    def has_outputs(self, folder: Path) -> bool:
        """Return whether vasprun.xml or OUTCAR ends as finished ones do, and neither is being written."""
        states = [_state(folder, name, end) for name, end in zip(_OUTPUTS, _ENDS, strict=False)]
        return "finished" in states and "writing" not in states

    def read_outputs(self, crystal: Crystal, folder: Path) -> LabelResult:
        """Read and check vasprun.xml, OUTCAR and EIGENVAL, and a POTCAR that lies there."""
        found = read_vasp_folder(folder)
        run, order, potentials = found.run, species_order(crystal), self._potentials(crystal)
        check_answer(run, reordered(crystal, order), self.tags(), self._mesh(crystal), potentials)
        self._check_own_tags(run, folder)
        if self.version and run.version != self.version:
            raise InputFileError(f"{run.source} is of VASP {run.version}; expected {self.version}")
        if (folder / "POTCAR").is_file():
            self._check_potcar(read_bytes(folder / "POTCAR", MAX_POTENTIAL_BYTES), crystal, shown(folder.name))
        elif set(self.potential_sha256) & set(potentials):
            raise InputFileError(f"{shown(folder)} holds no POTCAR, whose SHA-256 is to be checked; copy it there")
        if run.not_converged:
            return failure("not_converged", run.not_converged)
        result = self._labelled(run, order)
        if self.folder and not result.failure:
            facts = {"files": found.files, "potentials": run.titles, "version": run.version}
            write_text(folder / "read.json", json.dumps(facts, indent=1) + "\n")
        return result

    def _labelled(self, run: VaspRun, order: IntArray) -> LabelResult:
        bands = run.bands
        per_cell = run.energy_sigma0_eV if self.energy == "sigma0" else run.free_energy_eV
        values: dict[str, float] = {ENERGY: per_cell / len(run.crystal), MOMENT: run.magnetisation}
        arrays: dict[str, Any] = {name: getattr(bands, name) for name in ("eigenvalues_eV", "k_points", "k_weights")}
        # Bands are sorted by energy, occupations go with them.
        arrays["occupations"] = np.take_along_axis(run.occupations, np.argsort(run.eigenvalues_eV, axis=2), axis=2)
        if run.stress_GPa is not None:
            values[STRESS] = float(np.trace(run.stress_GPa)) / 3.0
            arrays[TENSOR] = run.stress_GPa
        if run.forces_eV_per_A is not None:
            forces = np.empty_like(run.forces_eV_per_A)
            forces[order] = run.forces_eV_per_A
            arrays[FORCES] = forces
        if set(self.provides) & set(_EDGES):
            edges = band_edges(bands)
            if edges.failure:
                return edges
            values |= edges.values
        absent = [name for name in (*self.provides, *self.provides_arrays) if name not in values | arrays]
        if absent:
            raise InputFileError(f"{run.source} holds no {', '.join(absent)}; run it with ISIF = 2")
        return LabelResult(
            values={name: values[name] for name in self.provides},
            arrays={name: arrays[name] for name in self.provides_arrays},
            message="" if self.version else version_note("VASP", run.version),
        )


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.stat().st_size < MAX_STRUCTURE_BYTES and path.read_bytes() == text.encode()


def _state(folder: Path, name: str, end: bytes) -> str:
    """Return "absent", "finished", "writing" (changed in the last minute) or "stopped"; packed files are finished."""
    path = folder / name
    if not path.is_file():
        return "finished" if find_output(folder, name) is not None else "absent"
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        if end in stream.read():
            return "finished"
    return "writing" if time.time() - path.stat().st_mtime < WRITING_S else "stopped"
