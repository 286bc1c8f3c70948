"""One static VASP calculation, whichever of VASP's files it was read from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from phonograph.errors import DataError, InputFileError, UserError
from phonograph.files.safety import check_elements
from phonograph.types import Bands, Crystal, FloatArray

MAX_OUTPUT_BYTES = 256 * 1024 * 1024
"""Largest vasprun.xml, OUTCAR or EIGENVAL, unpacked; those of one static calculation take a few MiB."""

GPA_PER_KILOBAR = 0.1
PRESENT = "present"
"""Value of a tag of which a file says only that it is on."""

COUNTED_ELECTRONS = 0.05
"""Occupations are printed with four or five decimals, weights of k points in OUTCAR with three."""

_LOGICAL = {"T": True, ".TRUE.": True, "TRUE": True, "F": False, ".FALSE.": False, "FALSE": False}


@dataclass(frozen=True, kw_only=True, eq=False)
class VaspRun:
    """What one static VASP calculation says about itself.

    Attributes
    ----------
    source
        File it was read from.
    crystal
        Structure in the file's order of atoms.
    energy_sigma0_eV, free_energy_eV
        Energy extrapolated to σ → 0 (``E0``, ``e_0_energy``) and free energy (``F``, ``TOTEN``, ``e_fr_energy``), eV
        per cell; the forces and the stress are derivatives of the free energy.
    forces_eV_per_A, stress_GPa
        Shapes (n, 3) and (3, 3); the stress in ASE's sign (positive: tensile), which is opposite to VASP's, and in
        GPa instead of kB; None where the file has none.
    k_points, k_weights, eigenvalues_eV, occupations
        Shapes (k, 3), (k,), (spins, k, bands) and (spins, k, bands).
    electrons
        NELECT.
    electronic_steps, ionic_steps
        Electronic steps of the last ionic step, and the number of ionic steps.
    last_change_eV
        Change of the free energy in the last electronic step, eV, NaN where there was one step.
    settings
        Tags that VASP used, as text, by name (ENCUT, EDIFF, ISMEAR, …).
    titles
        Title of the potential of each species, such as ``PAW_PBE Ag 02Apr2005``.
    valence
        Electrons that the potentials of all atoms bring; NELECT of a neutral cell.
    claims_converged
        What the OUTCAR of VASP 6 says of the electronic loop; None where the file says nothing to be believed.
    version
        VASP's version.
    """

    source: str
    crystal: Crystal
    energy_sigma0_eV: float
    free_energy_eV: float
    forces_eV_per_A: FloatArray | None
    stress_GPa: FloatArray | None
    k_points: FloatArray
    k_weights: FloatArray
    eigenvalues_eV: FloatArray
    occupations: FloatArray
    electrons: float
    electronic_steps: int
    ionic_steps: int
    last_change_eV: float = float("nan")
    settings: Mapping[str, str] = field(default_factory=dict)
    titles: tuple[str, ...] = ()
    valence: float = float("nan")
    claims_converged: bool | None = None
    version: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "settings", MappingProxyType(dict(self.settings)))
        atoms, shape = len(self.crystal), self.eigenvalues_eV.shape
        wanted = (len(shape) == 3 and shape[0] in (1, 2) and shape[1] == len(self.k_points)) and (
            self.occupations.shape == shape and self.k_weights.shape == (len(self.k_points),)
        )
        if not wanted:
            raise InputFileError(
                f"{self.source} holds eigenvalues of shape {shape} for {len(self.k_points)} k points; it is damaged"
            )
        if self.number("ISPIN") not in (None, shape[0]):
            raise InputFileError(f"{self.source} holds {shape[0]} spins; its ISPIN says {self.settings['ISPIN']}")
        for name, value, expected in (
            ("forces", self.forces_eV_per_A, (atoms, 3)),
            ("stress", self.stress_GPa, (3, 3)),
        ):
            if value is not None and value.shape != expected:
                raise InputFileError(f"{self.source} holds {name} of shape {value.shape}; expected {expected}")
        parts = [self.forces_eV_per_A, self.stress_GPa, self.eigenvalues_eV, self.occupations, self.k_points]
        numbers = [self.energy_sigma0_eV, self.free_energy_eV, self.electrons, *self.k_weights]
        finite = np.isfinite(numbers).all() and all(np.isfinite(part).all() for part in parts if part is not None)
        if not finite or not self.k_weights.sum() > 0:
            raise InputFileError(f"{self.source} holds numbers that are not finite; run the calculation again")
        filled = self._filled
        if not abs(filled - self.electrons) <= COUNTED_ELECTRONS:
            raise InputFileError(
                f"{self.source} is damaged: its occupations add up to {filled:.2f} electrons, NELECT is "
                f"{self.electrons:g}"
            )

    @property
    def spins(self) -> int:
        """Number of spins, 1 or 2."""
        return int(self.eigenvalues_eV.shape[0])

    @property
    def _filled(self) -> float:
        """Electrons that the occupations hold; a band of a calculation without spin holds two."""
        weights = self.k_weights / self.k_weights.sum()
        per_band = 2.0 if self.spins == 1 and not self.flag("LNONCOLLINEAR") else 1.0
        return float((self.occupations.sum(axis=(0, 2)) * weights).sum()) * per_band

    @property
    def magnetisation(self) -> float:
        """N↑ − N↓ = Σ_k w_k Σ_b (f↑ − f↓), μB; 0 without spin polarisation."""
        if self.spins == 1:
            return 0.0
        weights = self.k_weights / self.k_weights.sum()
        return float(((self.occupations[0] - self.occupations[1]).sum(axis=1) * weights).sum())

    @property
    def bands(self) -> Bands:
        """Eigenvalues as band edges are counted from; raises :class:`InputFileError` for bands of spinors."""
        if self.flag("LNONCOLLINEAR") or self.flag("LSORBIT"):
            raise InputFileError(
                f"{self.source} is non-collinear (LNONCOLLINEAR or LSORBIT): its bands hold one electron each, and no "
                "gap is read of such; run it without"
            )
        try:
            return Bands(
                k_points=self.k_points,
                k_weights=self.k_weights,
                eigenvalues_eV=self.eigenvalues_eV,
                electrons=self.electrons,
                magnetisation=self.magnetisation,
            )
        except DataError as error:
            raise InputFileError(f"{self.source}: {error}") from error

    def flag(self, name: str) -> bool:
        """Return a logical tag; False where the file does not hold it."""
        return _LOGICAL.get(self.settings.get(name, "F").strip().upper(), False)

    def number(self, name: str) -> float | None:
        """Return a numeric tag, or None where the file does not hold it as a number."""
        try:
            return float(self.settings[name])
        except (KeyError, ValueError):
            return None

    @property
    def not_converged(self) -> str:
        """Why the electronic loop counts as not converged; empty where it converged."""
        if self.claims_converged is False:
            return "VASP says that EDIFF was not reached"
        limit, criterion = self.number("NELM"), self.number("EDIFF")
        if limit is not None and self.electronic_steps >= limit and not self.claims_converged:
            return f"all {limit:g} electronic steps (NELM) were used"
        # VASP compares EDIFF with two estimates of the change; a loop that someone stopped (STOPCAR, LABORT) is further
        # off than the tenfold.
        if criterion is not None and abs(self.last_change_eV) > 10.0 * abs(criterion) + 1e-7:
            change = abs(self.last_change_eV)
            return f"the last electronic step changed the energy by {change:.1e} eV, EDIFF is {criterion:g}"
        return ""


def crystal_of_file(place: str, cell: FloatArray, fractional: FloatArray, symbols: tuple[str, ...]) -> Crystal:
    """Return the crystal that a file of VASP describes; raises :class:`InputFileError` where it describes none."""
    from ase.data import atomic_numbers

    check_elements(symbols, place)
    if fractional.shape != (len(symbols), 3) or cell.shape != (3, 3):
        raise InputFileError(f"{place} holds {len(fractional)} positions for {len(symbols)} atoms; it is damaged")
    try:
        return Crystal(
            cell_A=cell, positions_A=fractional @ cell, numbers=np.array([atomic_numbers[one] for one in symbols])
        )
    except UserError as error:
        raise InputFileError(f"{place}: {error}") from error


def distance_A(one: Crystal, other: Crystal) -> float:
    """Return the largest distance of an atom in ``one`` from the same atom, or an image of it, in ``other``, Å.

    Infinite where number or order of the elements differ; differences of the lattice vectors count too.
    """
    if len(one) != len(other) or (one.numbers != other.numbers).any():
        return float("inf")
    difference = one.fractional - other.fractional
    difference -= np.rint(difference)
    moved = np.linalg.norm(difference @ other.cell_A, axis=1).max()
    return float(max(moved, np.linalg.norm(one.cell_A - other.cell_A, axis=1).max()))
