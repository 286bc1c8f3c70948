"""Input of CP2K: one energy (and force) calculation as text, from plain settings."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from phonograph.labels.engines.cp2k_data import Entry
from phonograph.types import Crystal, FloatArray

INPUT, BASIS, POTENTIAL, GUESS = "cp2k.inp", "BASIS", "POTENTIAL", "guess.wfn"
"""Files of one calculation; the data files hold just the entries in use, so that the folder explains itself."""

XTB_DATA = ("xTB_parameters", "dftd3.dat")
"""Data files of GFN1-xTB in CP2K."""

FUNCTIONALS: Mapping[str, str] = {"PBE": "ORIG", "PBEsol": "PBESOL"}
"""Name → CP2K's parametrisation of its PBE functional."""

_SAME_K = 1e-9


@dataclass(frozen=True, kw_only=True)
class Cp2kSettings:
    """What one input says, besides the structure; see :class:`phonograph.labels.engines.cp2k.Cp2kLabeller`.

    ``basis`` and ``potential`` hold the entry of each element, in the order of the elements.
    """

    project: str
    method: str
    functional: str
    basis: tuple[Entry, ...] = ()
    potential: tuple[Entry, ...] = ()
    cutoff_Ry: float
    rel_cutoff_Ry: float
    eps_default: float
    k_points: FloatArray = field(default_factory=lambda: np.zeros((1, 3)))
    k_weights: FloatArray = field(default_factory=lambda: np.ones(1))
    smearing_K: float
    added_states: int
    charge: int
    multiplicity: int
    eps_scf: float
    max_scf: int
    mixer: str
    mixing: float
    mixing_memory: int
    guess: bool
    keep_wave_function: bool
    forces: bool
    stress: bool


Lines = list[str]


def input_text(settings: Cp2kSettings, crystal: Crystal) -> str:
    """Return the text of ``cp2k.inp``."""
    run = "ENERGY_FORCE" if settings.forces or settings.stress else "ENERGY"
    force_eval = ["METHOD QS", *(["STRESS_TENSOR ANALYTICAL"] if settings.stress else [])]
    force_eval += _section("DFT", _dft(settings)) + _section("SUBSYS", _subsystem(settings, crystal))
    force_eval += _section("PRINT", _printed(settings)) if run == "ENERGY_FORCE" else []
    # CP2K's own choice is the reference code, which takes an eighth more time for the same numbers.
    grid = _section("GRID", ["BACKEND CPU"])
    top = _section("GLOBAL", [f"PROJECT {settings.project}", f"RUN_TYPE {run}", "PRINT_LEVEL LOW", *grid])
    return "\n".join([*top, *_section("FORCE_EVAL", force_eval)]) + "\n"


def data_text(entries: Iterable[Entry]) -> str:
    """Return a data file that holds just ``entries``."""
    return "".join(f"{entry.element} {entry.name}\n{entry.text}\n" for entry in entries)


def k_mesh(counts: Sequence[int], *, centred: bool = True) -> tuple[FloatArray, FloatArray]:
    """Return points (k, 3), in fractions of the reciprocal vectors, and weights (k,) of a mesh.

    With N = ``counts``, k_i = n_i/N_i for a mesh centred on Γ and k_i = (2n_i − N_i − 1)/(2N_i), n_i = 1 … N_i, for
    that of Monkhorst and Pack, doi:10.1103/PhysRevB.13.5188; both hold Γ where all N are odd.  Of k and −k, which have
    the same energies, one is kept, with twice the weight.
    """
    axes = []
    for number in counts:
        steps = np.arange(number)
        points = steps / number if centred else (2.0 * steps + 1.0 - number) / (2.0 * number)
        axes.append(points - np.rint(points - 1e-12))
    kept: list[FloatArray] = []
    weights: list[float] = []
    for point in itertools.product(*axes):
        k = np.array(point)
        for place, other in enumerate(kept):
            total = k + other
            if np.abs(total - np.rint(total)).max() < _SAME_K:
                weights[place] += 1.0
                break
        else:
            kept.append(k)
            weights.append(1.0)
    return np.array(kept), np.array(weights) / sum(weights)


def right_handed(cell_A: FloatArray) -> FloatArray:
    """Return the cell or its negative, which spans the same lattice, whichever is right-handed."""
    return np.asarray(cell_A * np.sign(np.linalg.det(cell_A)))


def _section(name: str, content: Iterable[str], argument: str = "") -> Lines:
    return [f"&{name} {argument}".rstrip(), *(f"  {line}" for line in content), f"&END {name.split()[0]}"]


def _dft(settings: Cp2kSettings) -> Lines:
    lines = [f"CHARGE {settings.charge}"]
    if settings.multiplicity:
        lines += ["UKS T", f"MULTIPLICITY {settings.multiplicity}"]
    if settings.guess:
        lines.append(f"WFN_RESTART_FILE_NAME {GUESS}")
    if settings.method == "GPW":
        lines += [f"BASIS_SET_FILE_NAME ./{BASIS}", f"POTENTIAL_FILE_NAME ./{POTENTIAL}"]
        lines += _section("MGRID", [f"CUTOFF {settings.cutoff_Ry!r}", f"REL_CUTOFF {settings.rel_cutoff_Ry!r}"])
        lines += _section("XC", _section("XC_FUNCTIONAL", _section("PBE", _parametrisation(settings))))
    lines += _section("QS", _quickstep(settings)) + _section("SCF", _self_consistency(settings))
    if len(settings.k_points) > 1 or np.abs(settings.k_points).max() > 0:
        lines += _section("KPOINTS", _k_points(settings))
    orbitals = ["EIGENVALUES T", "OCCUPATION_NUMBERS T", "NDIGITS 12", *_section("EACH", ["QS_SCF 0"])]
    listed = _section("KPOINTS", [], argument="LOW")
    return lines + _section("PRINT", [*_section("MO", orbitals), *listed])


def _parametrisation(settings: Cp2kSettings) -> Lines:
    return [f"PARAMETRIZATION {FUNCTIONALS[settings.functional]}"]


def _quickstep(settings: Cp2kSettings) -> Lines:
    lines = [f"METHOD {'GPW' if settings.method == 'GPW' else 'XTB'}", f"EPS_DEFAULT {settings.eps_default!r}"]
    if settings.method == "GPW":
        return lines
    parameters = ["PARAM_FILE_PATH ./", f"PARAM_FILE_NAME {XTB_DATA[0]}", f"DISPERSION_PARAMETER_FILE {XTB_DATA[1]}"]
    # Without it, CP2K stops where a charge leaves the range its authors expect of molecules.
    checks = ["CHECK_ATOMIC_CHARGES F", "DO_EWALD T"]
    return lines + _section("XTB", [*checks, *_section("PARAMETER", parameters)])


def _self_consistency(settings: Cp2kSettings) -> Lines:
    added = f"{settings.added_states}"
    if settings.multiplicity:
        # More for the spin with fewer electrons, so that both have the same number of states.
        added += f" {settings.added_states + settings.multiplicity - 1}"
    lines = [
        f"SCF_GUESS {_guess(settings)}",
        f"EPS_SCF {settings.eps_scf!r}",
        f"MAX_SCF {settings.max_scf}",
        f"ADDED_MOS {added}",
    ]
    lines += _mixer(settings) + _section("DIAGONALIZATION", ["ALGORITHM STANDARD"])
    if settings.smearing_K > 0:
        lines += _section(
            "SMEAR", ["METHOD FERMI_DIRAC", f"ELECTRONIC_TEMPERATURE [K] {settings.smearing_K!r}"], argument="ON"
        )
    kept = "ON" if settings.keep_wave_function else "OFF"
    return lines + _section("PRINT", _section("RESTART", [], argument=kept))


def _mixer(settings: Cp2kSettings) -> Lines:
    if settings.mixer == "broyden":
        method = ["METHOD BROYDEN_MIXING", f"ALPHA {settings.mixing!r}", f"NBUFFER {settings.mixing_memory}"]
        return _section("MIXING", method)
    # A large EPS_DIIS lets the extrapolation start as soon as it has two matrices.
    diis = [f"MAX_DIIS {settings.mixing_memory}", "EPS_DIIS 100.0"]
    return diis + _section("MIXING", ["METHOD DIRECT_P_MIXING", f"ALPHA {settings.mixing!r}"])


def _guess(settings: Cp2kSettings) -> str:
    if settings.guess:
        return "RESTART"
    return "ATOMIC" if settings.method == "GPW" else "MOPAC"


def _k_points(settings: Cp2kSettings) -> Lines:
    points = zip(settings.k_points, settings.k_weights, strict=True)
    listed = [f"KPOINT {' '.join(repr(float(x)) for x in (*point, weight))}" for point, weight in points]
    return ["SCHEME GENERAL", "UNITS B_VECTOR", "SYMMETRY F", "WAVEFUNCTIONS COMPLEX", *listed]


def _subsystem(settings: Cp2kSettings, crystal: Crystal) -> Lines:
    cell = right_handed(crystal.cell_A)
    lines = _section("CELL", [f"{name} {_numbers(row)}" for name, row in zip("ABC", cell, strict=True)])
    pairs = zip(crystal.symbols, crystal.positions_A, strict=True)
    lines += _section("COORD", [f"{symbol} {_numbers(place)}" for symbol, place in pairs])
    for basis, potential in zip(settings.basis, settings.potential, strict=True):
        kind = [f"ELEMENT {basis.element}", f"BASIS_SET {basis.name}", f"POTENTIAL {potential.name}"]
        lines += _section("KIND", kind, argument=basis.element)
    shown = [*_section("ATOMIC_COORDINATES", [], argument="LOW"), *_section("CELL", [], argument="LOW")]
    return lines + _section("PRINT", shown)


def _printed(settings: Cp2kSettings) -> Lines:
    lines = _section("FORCES", ["NDIGITS 12"], argument="LOW") if settings.forces else []
    return lines + (_section("STRESS_TENSOR", [], argument="LOW") if settings.stress else [])


def _numbers(row: FloatArray) -> str:
    return " ".join(repr(float(x) + 0.0) for x in row)


def wave_function(project: str) -> str:
    """Return the name of the file into which CP2K writes the wave function of a project."""
    return f"{project}-RESTART.wfn"
