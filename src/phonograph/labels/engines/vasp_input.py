"""Input files of VASP: INCAR from a documented template, POSCAR with all digits, KPOINTS."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from phonograph.errors import ConfigurationError
from phonograph.types import Crystal, IntArray

_STATIC: Mapping[str, str] = {
    "PREC": "Accurate",
    "LREAL": ".FALSE.",  # projectors in reciprocal space: no error from a real-space cutoff
    "LASPH": ".TRUE.",  # aspherical terms inside the spheres
    "ISTART": "0",
    "ICHARG": "2",  # each structure from atomic charges: labels do not depend on their order
    "NSW": "0",
    "IBRION": "-1",
    "ISIF": "2",  # the stress is computed too
    "LWAVE": ".FALSE.",
    "LCHARG": ".FALSE.",
}
_HYBRID: Mapping[str, str] = {
    "LHFCALC": ".TRUE.",
    "AEXX": "0.25",
    "HFSCREEN": "0.2",
    "PRECFOCK": "Normal",
    "ALGO": "All",
}
TEMPLATES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "pbesol-static": {**_STATIC, "GGA": "PS", "ALGO": "Normal"},
        "hse-static": {**_STATIC, "GGA": "PE", **_HYBRID},
        "hsesol-static": {**_STATIC, "GGA": "PS", **_HYBRID},
    }
)
"""Template → INCAR tags, besides those that options set.

``pbesol-static``: PBEsol.  ``hse-static``: HSE06, a quarter of screened exchange (0.2 1/Å) on PBE.  ``hsesol-static``:
the same on PBEsol.  Perdew et al., Phys. Rev. Lett. 100, 136406 (2008), doi:10.1103/PhysRevLett.100.136406; Krukau et
al., J. Chem. Phys. 125, 224106 (2006), doi:10.1063/1.2404663; Schimka et al., J. Chem. Phys. 134, 024116 (2011),
doi:10.1063/1.3524336.
"""

PARALLEL = ("NCORE", "NPAR", "KPAR", "NSIM", "LPLANE", "LSCALAPACK", "LSCALU", "NTAUPAR", "NOMEGAPAR")
"""Tags that say how VASP spreads its work and move no number beyond rounding."""

_SET_BY_OPTIONS: Mapping[str, str] = {
    "ENCUT": "cutoff_eV",
    "EDIFF": "convergence_eV",
    "NELM": "steps",
    "ISMEAR": "smearing",
    "SIGMA": "smearing_eV",
    "ISPIN": "spin",
    "ALGO": "algorithm",
    "KSPACING": "k_spacing_per_A",
    "KGAMMA": "k_mesh",
    "GGA": "template",
    "LHFCALC": "template",
    "SYSTEM": "none; the structure's key",
}
_FIXED = ("NSW", "IBRION", "ISIF", "LSORBIT", "LNONCOLLINEAR", "LEPSILON", "PSTRESS", "LKPOINTS_OPT", "IMAGES")
_TAG = re.compile(r"[A-Z][A-Z0-9_]{1,23}")
_VALUE = re.compile(r"[A-Za-z0-9.+*:_-]+( [A-Za-z0-9.+*:_-]+)*")


def check_tags(tags: Mapping[str, str], parallel: bool) -> None:
    """Check INCAR tags that a user adds.

    Raises
    ------
    ConfigurationError
        A name that is no tag, a value that could end the line, or a tag that something else sets.
    """
    for name, value in tags.items():
        if not isinstance(value, str) or not _TAG.fullmatch(name) or not _VALUE.fullmatch(value) or len(value) > 200:
            raise ConfigurationError(
                f"VaspLabeller: INCAR tags are names in capitals with a text, such as NCORE = '4'; got {name!r} = "
                f"{value!r}"
            )
        if parallel and name not in PARALLEL:
            raise ConfigurationError(f"VaspLabeller.parallel takes {', '.join(PARALLEL)}; {name} belongs into incar")
        if not parallel and name in PARALLEL:
            raise ConfigurationError(f"VaspLabeller.incar: {name} moves no number and belongs into parallel")
        if name in _SET_BY_OPTIONS:
            raise ConfigurationError(f"VaspLabeller.incar: {name} is set by the option {_SET_BY_OPTIONS[name]}")
        if name in _FIXED:
            raise ConfigurationError(f"VaspLabeller.incar: {name} is fixed, because a label is one static calculation")


def incar_text(tags: Mapping[str, str]) -> str:
    """Return INCAR, a tag per line."""
    return "".join(f"{name} = {value}\n" for name, value in tags.items())


def read_incar(text: str) -> dict[str, str]:
    """Return the tags of an INCAR of one tag per line or several split by semicolons; comments are left out."""
    found = {}
    for line in text.splitlines():
        for part in re.split(r"[#!]", line)[0].split(";"):
            name, equals, value = part.partition("=")
            if equals:
                found[name.strip().upper()] = " ".join(value.split())
    return found


def species_order(crystal: Crystal) -> IntArray:
    """Return the atoms grouped by element, elements in order of first appearance: VASP's atom i is ours order[i]."""
    kinds = list(dict.fromkeys(crystal.numbers.tolist()))
    return np.argsort([kinds.index(number) for number in crystal.numbers.tolist()], kind="stable").astype(np.int64)


def reordered(crystal: Crystal, order: IntArray) -> Crystal:
    """Return the crystal with its atoms in another order."""
    return Crystal(
        cell_A=crystal.cell_A,
        positions_A=crystal.positions_A[order],
        numbers=crystal.numbers[order],
        masses_amu=crystal.masses_amu[order],
    )


def poscar_text(crystal: Crystal, title: str) -> str:
    """Return POSCAR with fractional coordinates and all digits; atoms must be grouped by element."""
    symbols = crystal.symbols
    kinds = list(dict.fromkeys(symbols))
    lines = [title, "1.0"]
    lines += ["  ".join(f"{x:22.16f}" for x in vector) for vector in crystal.cell_A]
    lines += [" ".join(kinds), " ".join(str(symbols.count(kind)) for kind in kinds), "Direct"]
    lines += ["  ".join(f"{x:22.16f}" for x in place) for place in crystal.fractional]
    return "\n".join(lines) + "\n"


def mesh(crystal: Crystal, k_mesh: tuple[int, ...], spacing_per_A: float) -> tuple[int, int, int]:
    """Return the divisions of the Γ-centred mesh: those given, else Nᵢ = max(1, ⌈|bᵢ|/spacing⌉) with |bᵢ| ∋ 2π."""
    if k_mesh:
        return k_mesh[0], k_mesh[1], k_mesh[2]
    lengths = 2.0 * math.pi * np.linalg.norm(np.linalg.inv(crystal.cell_A), axis=0)
    # Rounding must not add a point to a cell whose |b| is a multiple of the spacing.
    first, second, third = (max(1, math.ceil(length / spacing_per_A - 1e-9)) for length in lengths)
    return first, second, third


def kpoints_text(divisions: tuple[int, int, int]) -> str:
    """Return KPOINTS of a Γ-centred mesh."""
    return f"Gamma-centred mesh\n0\nGamma\n{' '.join(map(str, divisions))}\n0 0 0\n"
