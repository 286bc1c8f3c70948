"""Is this output the answer to that input?  Structure, tags, k points, potentials and electrons are compared."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

import numpy as np

from phonograph.errors import InputFileError
from phonograph.files.vasp_folder import SAME_A
from phonograph.files.vasp_run import PRESENT, VaspRun, distance_A
from phonograph.labels.engines.vasp_potentials import title_fits
from phonograph.types import Crystal

_MUST = ("ENCUT", "ISMEAR", "SIGMA", "ISPIN", "GGA", "LHFCALC", "EDIFF", "NSW")
"""Tags without which an output is not accepted."""

_NOT_COMPARED = ("ISTART", "ICHARG", "IBRION", "ISIF", "LWAVE", "LCHARG", "ALGO", "NELM", "PRECFOCK")
"""Ways to the answer, and what files are kept."""

_ABSENT: Mapping[str, str] = {
    "LHFCALC": "F",
    "LDAU": "F",
    "LUSE_VDW": "F",
    "LMETAGGA": "F",
    "LNONCOLLINEAR": "F",
    "LSORBIT": "F",
    "LDIPOL": "F",
    "EFIELD": "0",
    "IVDW": "0",
    "NUPDOWN": "-1",
}
"""Tags that must have these values where nobody asked for others."""

_NO_METAGGA = ("", "F", "--", "NONE")
_LOGICAL = {"T": True, ".TRUE.": True, "TRUE": True, "F": False, ".FALSE.": False, "FALSE": False}


def check_answer(
    run: VaspRun,
    crystal: Crystal,
    tags: Mapping[str, str],
    divisions: tuple[int, int, int],
    potentials: Mapping[str, str],
) -> None:
    """Check that ``run`` is the calculation that was asked for.

    Parameters
    ----------
    crystal
        Structure in the order of POSCAR.
    tags
        INCAR as it was written.
    divisions
        Γ-centred mesh.
    potentials
        Name of the potential of each element of the crystal.

    Raises
    ------
    InputFileError
        One sentence: what is another calculation's.
    """
    distance = distance_A(run.crystal, crystal)
    if not distance <= SAME_A:
        what = "other atoms" if np.isinf(distance) else f"atoms or lattice vectors that differ by {distance:.2g} Å"
        raise _another(run, what, f"this structure within {SAME_A:g} Å")
    for name, wanted in {**_ABSENT, **tags}.items():
        found = run.settings.get(name)
        if found is None and name in _MUST:
            raise _another(run, f"no {name}", wanted)
        if found == PRESENT and name in tags:
            continue
        if found is not None and name not in _NOT_COMPARED and not _same_tag(name, found, wanted):
            raise _another(run, f"{name} = {found}", wanted)
    if "METAGGA" not in tags and run.settings.get("METAGGA", "F").upper() not in _NO_METAGGA:
        raise _another(run, f"METAGGA = {run.settings['METAGGA']}", "none")
    _check_mesh(run, divisions)
    _check_potentials(run, crystal, tags, potentials)


def _same_tag(name: str, found: str, wanted: str) -> bool:
    """Compare as VASP prints: ``accura`` (or ``a``) for PREC = Accurate, T for LREAL = Auto."""
    one, other = (value.strip(". ").upper()[:1] for value in (found, wanted))
    if name == "PREC":
        return one == other
    if name == "LREAL":
        return (one == "F") is (other == "F")
    return same_value(found, wanted)


def same_value(found: str, wanted: str) -> bool:
    """Return whether a tag in an output says what INCAR says, within the digits that the output has."""
    one, other = _expanded(found), _expanded(wanted)
    return len(one) == len(other) and all(_same_word(a, b) for a, b in zip(one, other, strict=True))


def _expanded(value: str) -> list[str]:
    """Return the words of a value, ``3*0.5`` written out."""
    words: list[str] = []
    for word in value.upper().split():
        times, star, rest = word.partition("*")
        words += [rest] * min(int(times), 10_000) if star and times.isdigit() else [word]
    return words


def _same_word(one: str, other: str) -> bool:
    if one in _LOGICAL and other in _LOGICAL:
        return _LOGICAL[one] is _LOGICAL[other]
    try:
        printed, asked = Decimal(one), Decimal(other)
    except InvalidOperation:
        return one == other
    exponent = printed.as_tuple().exponent
    if not isinstance(exponent, int):
        return False
    rounding = Decimal(1).scaleb(exponent) / 2 if "." in one else Decimal(0)
    return abs(printed - asked) <= rounding * Decimal("1.01")


def _check_mesh(run: VaspRun, divisions: tuple[int, int, int]) -> None:
    """Check that the k points are those of the Γ-centred mesh: all on it, and Γ with the weight of one point."""
    steps = run.k_points * np.array(divisions)
    at_gamma = np.abs(run.k_points).max(axis=1) < 1e-6
    weights = run.k_weights / run.k_weights.sum()
    # OUTCAR may give weights with three decimals only, so a mesh of thousands of points is told by its points alone.
    share = weights[at_gamma].sum() * np.prod(divisions)
    if np.abs(steps - np.rint(steps)).max() > 1e-4 or not 0.9 < share < 1.1:
        raise _another(run, f"{len(run.k_points)} k points of another mesh", "×".join(map(str, divisions)) + " with Γ")


def _check_potentials(run: VaspRun, crystal: Crystal, tags: Mapping[str, str], potentials: Mapping[str, str]) -> None:
    elements = list(dict.fromkeys(crystal.symbols))
    wanted = [potentials[element] for element in elements]
    fits = [title_fits(title, name) for title, name in zip(run.titles, wanted, strict=False)]
    if len(run.titles) != len(wanted) or not all(fits):
        raise _another(run, f"the potentials {', '.join(run.titles)}", "PAW_PBE " + ", ".join(wanted))
    if "NELECT" not in tags and not abs(run.electrons - run.valence) < 1e-3:
        raise _another(run, f"{run.electrons:g} electrons", f"the {run.valence:g} of a neutral cell")


def _another(run: VaspRun, found: str, wanted: str) -> InputFileError:
    return InputFileError(
        f"{run.source} is of another calculation: it has {found}; expected {wanted}; delete the outputs there and run "
        "VASP again"
    )
