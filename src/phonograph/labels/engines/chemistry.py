"""For which chemistries the energies of extended tight binding diverge: a symmetry test of pairs of elements.

In the caesium chloride structure every atom sits on a site of cubic symmetry, so its force is zero and the stress is
isotropic, whatever the method.  GFN1-xTB breaks this by its classical halogen-bond term: *measured* for the 603 of 666
pairs of 37 elements that converge at 1.1 times the covalent radii, exactly the pairs of Br, I, At with N, O, P, S fail,
by more than 10⁵ eV/Å, while all others stay below 0.06 eV/Å.  The term acts between pairs (and the halogen's nearest
neighbour), so pairs decide.  This finds that divergence and no other defect; ``symmetry_test`` looks for more.
"""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np

from phonograph.types import IntArray
from phonograph.units import BOHR_A, BOLTZMANN_EV_PER_K, EV_PER_A3_IN_GPA, HARTREE_EV

LARGEST_FORCE_EV_PER_A = 0.5
LARGEST_ANISOTROPY_GPA = 5.0
"""Rounding of badly conditioned cells stays a factor of ten below these, the divergence 10⁵ above."""

STRETCHES = (1.1, 1.5, 2.0)
"""Bond lengths over the sums of covalent radii at which a pair is tried until one converges."""
ELECTRONIC_K = 5000.0
"""Converges nearly everything; the classical terms that are tested do not know it."""


def energy_refusal(method: str, numbers: IntArray) -> str:
    """Return why energies of a crystal of these elements are refused; empty where every pair passes."""
    elements = sorted(int(number) for number in set(np.asarray(numbers).tolist()))
    for first, second in itertools.combinations(elements, 2):
        why = pair_refusal(method, first, second)
        if why:
            return why
    return ""


@cache
def pair_refusal(method: str, first: int, second: int) -> str:
    """Return why the energies of a pair of elements are refused; empty where the pair passes.

    Known within a process once it is asked for; it takes about 0.1 s.
    """
    from ase.data import chemical_symbols

    pair = f"{chemical_symbols[first]} with {chemical_symbols[second]}"
    for stretch in STRETCHES:
        found = _measured(method, first, second, stretch)
        if found is None:
            continue
        force, anisotropy = found
        if force > LARGEST_FORCE_EV_PER_A or anisotropy > LARGEST_ANISOTROPY_GPA:
            return (
                f"energies of {method} fail the symmetry test of the pair {pair}: {force:.2g} eV/Å on a site where "
                "symmetry allows none"
            )
        return ""
    return f"energies of {method} could not be tested for {pair}: no self-consistency in a cubic cell of the two"


def _measured(method: str, first: int, second: int, stretch: float) -> tuple[float, float] | None:
    """Return the largest force, eV/Å, and stress anisotropy, GPa, in the pair's CsCl cell; None without convergence."""
    from ase.data import covalent_radii
    from tblite.exceptions import TBLiteRuntimeError
    from tblite.interface import Calculator

    lattice = 2.0 * stretch * (covalent_radii[first] + covalent_radii[second]) / np.sqrt(3.0)
    cell = lattice * np.eye(3)
    positions = np.array([[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]]) * lattice
    calculator = Calculator(
        method, np.array([first, second]), positions / BOHR_A, lattice=cell / BOHR_A, periodic=np.array([True] * 3)
    )
    for name, value in (
        ("verbosity", 0),
        ("temperature", ELECTRONIC_K * BOLTZMANN_EV_PER_K / HARTREE_EV),
        ("mixer-damping", 0.2),
        ("max-iter", 250),
    ):
        calculator.set(name, value)
    try:
        result = calculator.singlepoint()
    except TBLiteRuntimeError:
        return None
    force = float(np.abs(result.get("gradient")).max()) * HARTREE_EV / BOHR_A
    stress = np.asarray(result.get("virial")) * HARTREE_EV / lattice**3 * EV_PER_A3_IN_GPA
    return force, float(np.abs(stress - np.eye(3) * np.trace(stress) / 3.0).max())
