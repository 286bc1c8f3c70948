"""What one calculation of pw.x says, whichever of its files it was read from, and whether two files tell the same.

Every quantity keeps pw.x's unit here (Ry, bohr; eigenvalues in eV), so that both routes can be compared.  pw.x prints
the stress with the sign of a pressure: positive where the crystal would like to grow.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from phonograph.errors import InputFileError, UserError
from phonograph.files.safety import MEBIBYTE, check_elements
from phonograph.types import Bands, Crystal, FloatArray
from phonograph.units import BOHR_A, EV_PER_A3_IN_GPA, HARTREE_EV

LARGEST_BYTES = 256 * MEBIBYTE
"""Largest output file that is read."""

RYDBERG_EV = HARTREE_EV / 2.0

_ENERGY_RY, _FORCE_RY_PER_BOHR, _STRESS_RY_PER_BOHR3, _BAND_EV = 2e-8, 2e-8, 2e-8, 2e-4
"""How far the two routes may differ: the standard output is rounded to 8 decimals, bands to 4."""

# The standard output has other names than the XML file, and other ones in other versions, above the same four numbers
# (exchange, correlation, gradients of both).
_FUNCTIONALS: Mapping[tuple[int, ...], tuple[str, ...]] = {
    (1, 1, 0, 0): ("pz", "lda", "sla pz nogx nogc"),
    (1, 1, 1, 1): ("bp",),
    (1, 3, 1, 3): ("blyp",),
    (1, 4, 0, 0): ("pw", "sla pw nogx nogc"),
    (1, 4, 2, 2): ("pw91",),
    (1, 4, 3, 4): ("pbe", "sla pw pbx pbc", "sla pw pbe pbe"),
    (1, 4, 4, 4): ("revpbe",),
    (1, 4, 10, 8): ("pbesol", "sla pw psx psc"),
    (1, 4, 11, 4): ("wc",),
    (1, 4, 12, 4): ("hse",),
    (1, 4, 44, 4): ("rpbe",),
    (6, 4, 8, 4): ("pbe0",),
    (7, 12, 9, 7): ("b3lyp",),
}
_SMEARINGS = {
    "gaussian": ("gauss", "gaussian"),
    "mp": ("mp", "m-p", "methfessel-paxton"),
    "mv": ("mv", "m-v", "marzari-vanderbilt", "cold"),
    "fd": ("fd", "f-d", "fermi-dirac"),
}


class NotStaticError(InputFileError):
    """A complete output that is of no self-consistent calculation of a given structure."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PwOutput:
    """One finished calculation of pw.x.

    Attributes
    ----------
    place
        The file, for messages.
    version
        Such as ``6.7MaX``.
    converged
        Whether self-consistency was reached.
    symbols, cell_bohr, positions_bohr
        The structure; labels of the species as the input has them (``Fe`` or ``Fe1``), lattice vectors as rows.
    length_bohr
        How exactly the file gives lengths, bohr.
    settings, rounding
        What the file repeats of the input, by the names of the input, and how exactly where that is not all digits.
    energy_Ry
        Total energy, with smearing the free energy, of which forces are the derivatives.
    forces_Ry_per_bohr, stress_Ry_per_bohr3
        Shapes (n, 3) and (3, 3), NaN where there are none; the stress with the sign of a pressure.
    bands
        Eigenvalues, k points (fractional) and electrons.
    tells_bands
        False where the file has no eigenvalues; ``bands`` then holds nothing but the electrons.
    fermi_eV
        Fermi level; NaN where there is none or two.
    species
        Label of each species, in the order of ``settings["pseudopotentials"]``.
    md5
        MD5 of each pseudopotential as pw.x read it, in the order of the species; empty where not told.
    details
        More of the level of theory, by name, as far as the file tells it: exchange, dispersion, Hubbard terms.
    """

    place: str
    version: str
    converged: bool
    symbols: tuple[str, ...]
    cell_bohr: FloatArray
    positions_bohr: FloatArray
    length_bohr: float
    settings: Mapping[str, Any]
    energy_Ry: float
    forces_Ry_per_bohr: FloatArray
    stress_Ry_per_bohr3: FloatArray
    bands: Bands
    tells_bands: bool = True
    fermi_eV: float = float("nan")
    species: tuple[str, ...] = ()
    md5: tuple[str, ...] = ()
    details: Mapping[str, str | float] = field(default_factory=dict)
    rounding: Mapping[str, float] = field(default_factory=dict)

    @property
    def has_forces(self) -> bool:
        """Whether the file holds forces (``tprnfor``)."""
        return bool(np.isfinite(self.forces_Ry_per_bohr).all())

    @property
    def has_stress(self) -> bool:
        """Whether the file holds the stress (``tstress``)."""
        return bool(np.isfinite(self.stress_Ry_per_bohr3).all())


def check_agreement(first: PwOutput, second: PwOutput, advice: str = "delete both") -> None:
    """Compare the results of two files of one calculation, as far as both tell them.

    Raises
    ------
    InputFileError
        Where they differ by more than their rounding: one of them is of another calculation, or was changed.
    """
    one, two = first.bands, second.bands
    compared = [
        ("version", first.version == second.version),
        ("convergence", first.converged == second.converged),
        ("total energy", abs(first.energy_Ry - second.energy_Ry) <= _ENERGY_RY),
        ("Fermi level", not abs(first.fermi_eV - second.fermi_eV) > _BAND_EV),
        ("electrons", abs(one.electrons - two.electrons) < 0.01),
    ]
    if first.has_forces and second.has_forces:
        compared.append(("forces", _near(first.forces_Ry_per_bohr, second.forces_Ry_per_bohr, _FORCE_RY_PER_BOHR)))
    if first.has_stress and second.has_stress:
        compared.append(("stress", _near(first.stress_Ry_per_bohr3, second.stress_Ry_per_bohr3, _STRESS_RY_PER_BOHR3)))
    if first.tells_bands and second.tells_bands:
        compared += [
            ("k points", _near(one.k_points, two.k_points, 1e-6) and _near(one.k_weights, two.k_weights, 1e-6)),
            ("eigenvalues", _near(one.eigenvalues_eV, two.eigenvalues_eV, _BAND_EV)),
            ("magnetisation", abs(one.magnetisation - two.magnetisation) < 0.02),
        ]
    for what, same in compared:
        if not same:
            raise differing(first, second, what, advice)


def differing(first: PwOutput, second: PwOutput, what: str, advice: str) -> InputFileError:
    """Return the error that says that two files are not of one calculation."""
    return InputFileError(
        f"{first.place} and {second.place} differ in their {what}; they are not of one calculation: {advice}"
    )


def _near(first: FloatArray, second: FloatArray, tolerance: float) -> bool:
    return first.shape == second.shape and bool(np.abs(first - second).max(initial=0.0) <= tolerance)


def pressure_to_stress_GPa(printed_Ry_per_bohr3: FloatArray) -> FloatArray:
    """Return σ, GPa, positive = tensile, of what pw.x prints, which has the sign of a pressure."""
    return -printed_Ry_per_bohr3 * RYDBERG_EV / BOHR_A**3 * EV_PER_A3_IN_GPA


def smearing_name(name: str) -> str:
    """Return pw.x's short name of a kind of smearing, which its files call differently."""
    return next((short for short, names in _SMEARINGS.items() if name.strip().lower() in names), name.strip().lower())


def functional_named(name: str, numbers: Sequence[int] = ()) -> dict[str, str]:
    """Return what a file tells of the functional, in words that those of its other files can be compared with.

    Parameters
    ----------
    name, numbers
        As printed; the numbers are those of exchange, correlation, both gradients, and more where they are not 0.
    """
    plain = " ".join(re.split(r"[-+\s]+", name.strip().lower()))
    by_number = _FUNCTIONALS.get(tuple(numbers[:4]), ()) if not any(numbers[4:]) else ()
    by_name = () if numbers else next((names for names in _FUNCTIONALS.values() if plain in names), ())
    if found := by_number or by_name:
        return {"functional": found[0]}
    # Of a rare one the two files may give names that cannot be compared: four words, and one.
    return {"functional": "other", f"functional in {len(plain.split())} words": plain}


def element_of(label: str) -> str:
    """Return the element of a species label such as ``Fe``, ``Fe1``, ``fe_up`` or ``C-h``; the label where it is none.

    pw.x takes labels of one element's symbol, alone or with a digit or a letter or ``_`` or ``-`` and more behind it.
    """
    from ase.data import atomic_numbers

    letters = (re.match(r"[A-Za-z]+", label) or [""])[0]
    return next((found for size in (2, 1) if atomic_numbers.get(found := letters[:size].capitalize())), label)


def crystal_of(place: str, labels: tuple[str, ...], cell_bohr: FloatArray, positions_bohr: FloatArray) -> Crystal:
    """Return the crystal that an output describes; raises :class:`InputFileError` where it describes none."""
    from ase.data import atomic_numbers

    symbols = [element_of(label) for label in labels]
    check_elements(symbols, place)
    try:
        return Crystal(
            cell_A=cell_bohr * BOHR_A,
            positions_A=positions_bohr * BOHR_A,
            numbers=np.array([atomic_numbers[symbol] for symbol in symbols]),
        )
    except UserError as error:
        raise InputFileError(f"{place}: {error}") from error
