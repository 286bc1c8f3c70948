"""vasprun.xml of a static calculation: everything a label needs, in one pass that keeps nothing else."""

from __future__ import annotations

import math
import os
from collections import Counter, defaultdict

import numpy as np

from phonograph.errors import InputFileError
from phonograph.files.harmless_xml import HarmlessXml
from phonograph.files.safety import read_bytes, reading, shown
from phonograph.files.vasp_run import GPA_PER_KILOBAR, MAX_OUTPUT_BYTES, VaspRun, crystal_of_file
from phonograph.types import MAX_ATOMS, FloatArray

_LEAVES = ("i", "v", "r", "c")
_STEP = "modeling/calculation"
_LEVELS = f"{_STEP}/eigenvalues/array/set/set/set/r"
_KEPT = (
    "modeling/generator/version",
    "modeling/kpoints/kpointlist/",
    "modeling/kpoints/weights/",
    "modeling/atominfo/atoms/",
    "modeling/atominfo/atomtypes/",
    *(f"{_STEP}/{part}/" for part in ("structure", "forces", "stress", "energy", "scstep/energy", "eigenvalues")),
)
_ECHO, _USED = "modeling/incar/", "modeling/parameters/"
MOST_TAGS = 5000
"""vasprun.xml names a few hundred tags."""


class _Collector(HarmlessXml):
    """Collects the texts of leaves by path; the path names ``name`` attributes where there are some.

    Of several ionic steps the last one stays.
    """

    def __init__(self, place: str) -> None:
        super().__init__(place, "VASP")
        self.texts: defaultdict[str, list[str]] = defaultdict(list)
        self.echoed: dict[str, str] = {}
        self.used: dict[str, str] = {}
        self.steps: list[int] = []
        self.sets: list[int] = []
        self._path: list[str] = []
        self._leaf: list[str] | None = None

    def start(self, name: str, attributes: dict[str, str]) -> None:
        part = attributes.get("name", name).strip()
        # A name may say "kpointlist" or hold a slash; only the tree decides where a leaf lies.
        self._path.append(part.replace("/", " "))
        path = "/".join(self._path)
        if path == _STEP:
            self.steps.append(0)
            self._forget_step()
        elif path == f"{_STEP}/scstep":
            self.steps[-1] += 1
            for key in [key for key in self.texts if key.startswith(f"{_STEP}/scstep/")]:
                self.texts["previous " + key] = self.texts.pop(key)
        elif name == "set" and path == _LEVELS.rsplit("/", 2)[0]:
            self.sets.append(0)
        elif name == "set" and path == _LEVELS.rsplit("/", 1)[0] and self.sets:
            self.sets[-1] += 1
        elif path == f"{_STEP}/eigenvalues":
            self.sets = []
            self.texts.pop(_LEVELS, None)
        if name in _LEAVES and path.startswith((*_KEPT, _ECHO, _USED)):
            self._leaf = []

    def text(self, text: str) -> None:
        if self._leaf is not None:
            self._leaf.append(text)

    def end(self, name: str) -> None:
        path = "/".join(self._path)
        leaf = self._path.pop()
        if self._leaf is None or name not in _LEAVES:
            return
        found, self._leaf = "".join(self._leaf), None
        if path.startswith((_ECHO, _USED)):
            # <parameters> may repeat a name in a later section: VASP 5.4.4 has an NELM of its GW routines there.
            (self.used if path.startswith(_USED) else self.echoed).setdefault(leaf, found.strip())
            if len(self.used) + len(self.echoed) > MOST_TAGS:
                raise InputFileError(f"{self.place} names more than {MOST_TAGS} tags, which VASP never does")
        else:
            self.texts[path].append(found)

    @property
    def settings(self) -> dict[str, str]:
        """What VASP used, and what the user set where nothing else is told."""
        return self.echoed | self.used

    def _forget_step(self) -> None:
        self.sets = []
        for key in [key for key in self.texts if _STEP in key]:
            del self.texts[key]

    def rows(self, path: str) -> FloatArray:
        """Return the numbers of all leaves at ``path``, a row each."""
        return np.array([text.split() for text in self.texts.get(path, [])], dtype=np.float64)

    def number(self, path: str) -> float:
        return float(self.texts[path][0]) if path in self.texts else math.nan


def read_static_vasprun(path: str | os.PathLike[str]) -> VaspRun:
    """Read vasprun.xml (also ``.gz``, ``.xz``); of several ionic steps the last, whose number the result tells.

    E(σ→0) is F plus the difference of the two in the last electronic step: in the summary of an ionic step several
    versions of VASP write another number under its name.

    Raises
    ------
    InputFileError
        In one sentence: missing, cut off anywhere, hostile XML, without energy, eigenvalues, or structure.
    """
    place, data = shown(path), read_bytes(path, MAX_OUTPUT_BYTES)
    found = _Collector(place)
    found.read(data)
    if not found.steps:
        raise InputFileError(f"{place} holds no calculation; expected the vasprun.xml of a finished run")
    with reading(path, "a vasprun.xml file"):
        return _run(place, found)


def _run(place: str, found: _Collector) -> VaspRun:
    symbols, titles, valence = _atoms(place, found)
    structure = f"{_STEP}/structure"
    crystal = crystal_of_file(
        place, found.rows(f"{structure}/crystal/basis/v"), found.rows(f"{structure}/positions/v"), symbols
    )
    energies, occupations = _levels(place, found)
    scf = f"{_STEP}/scstep/energy/"
    free = found.number(f"{_STEP}/energy/e_fr_energy")
    settings = found.settings
    # <parameters> calls the cutoff of the wave functions ENMAX.
    settings |= {"ENCUT": settings["ENMAX"]} if "ENMAX" in settings else {}
    k_points = found.rows("modeling/kpoints/kpointlist/v")
    forces, stress = (found.rows(f"{_STEP}/{name}/v") for name in ("forces", "stress"))
    return VaspRun(
        source=place,
        crystal=crystal,
        energy_sigma0_eV=free + found.number(scf + "e_0_energy") - found.number(scf + "e_fr_energy"),
        free_energy_eV=free,
        forces_eV_per_A=forces if forces.size else None,
        stress_GPa=-GPA_PER_KILOBAR * stress if stress.size else None,
        k_points=k_points,
        k_weights=found.rows("modeling/kpoints/weights/v").reshape(-1),
        eigenvalues_eV=energies,
        occupations=occupations,
        electrons=float(settings["NELECT"]),
        electronic_steps=found.steps[-1],
        ionic_steps=len(found.steps),
        last_change_eV=found.number(scf + "e_fr_energy") - found.number("previous " + scf + "e_fr_energy"),
        settings=settings,
        titles=titles,
        valence=valence,
        version=found.texts.get("modeling/generator/version", [""])[0].strip(),
    )


def _atoms(place: str, found: _Collector) -> tuple[tuple[str, ...], tuple[str, ...], float]:
    """Return the element of every atom, the title of every species, and the electrons that all potentials bring."""
    cells = [text.strip() for text in found.texts["modeling/atominfo/atoms/set/rc/c"]]
    kinds = [text.strip() for text in found.texts["modeling/atominfo/atomtypes/set/rc/c"]]
    species = [int(text) for text in cells[1::2]]
    counts, valence = [int(text) for text in kinds[0::5]], [float(text) for text in kinds[3::5]]
    listed = Counter(species)
    if not 1 <= len(species) <= MAX_ATOMS:
        raise InputFileError(f"{place} lists {len(species)} atoms; 1 to {MAX_ATOMS} are accepted")
    if len(cells) % 2 or len(kinds) % 5 or listed != Counter(dict(enumerate(counts, start=1))):
        raise InputFileError(f"{place} lists {len(species)} atoms that do not agree with its species; it is damaged")
    electrons = float(np.dot(counts, valence))
    return tuple(cells[0::2]), tuple(" ".join(text.split()) for text in kinds[4::5]), electrons


def _levels(place: str, found: _Collector) -> tuple[FloatArray, FloatArray]:
    """Return eigenvalues and occupations, shape (spins, k, bands) each."""
    table = found.rows(_LEVELS)
    spins, points = len(found.sets), (found.sets or [0])[0]
    if table.ndim != 2 or table.shape[1] != 2 or set(found.sets) != {points} or points == 0:
        raise InputFileError(f"{place} holds no eigenvalues, or not those of all k points and spins")
    table = table.reshape(spins, points, -1, 2)
    return table[..., 0], table[..., 1]
