"""What room 1 says about force constants besides the numbers: their audit, and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from phonograph.errors import DataError
from phonograph.types.arrays import FloatArray, read_only, set_field


@dataclass(frozen=True, kw_only=True)
class ImaginaryModes:
    """Imaginary modes at one wave vector and its equivalents.

    Attributes
    ----------
    q
        Wave vector in units of the primitive reciprocal lattice, components in [0, 1).
    label
        Name of the point on the standard path, such as ``"M"``; empty where it has none.
    equivalents
        How many commensurate wave vectors carry the same imaginary frequencies, this one included.
    count
        Imaginary modes at each of them.
    lowest_THz
        The lowest, negative.
    degeneracy
        Modes at each of them within 0.01 THz of the lowest.
    character
        Who moves in the lowest level: (species, share of |e|²), largest first.
    longitudinal
        Share of |e|² along q in the lowest level; None at q = 0 and where the shortest equivalents of q point in
        several directions, as at a corner of the zone.
    """

    q: tuple[float, float, float]
    label: str
    equivalents: int
    count: int
    lowest_THz: float
    degeneracy: int
    character: tuple[tuple[str, float], ...]
    longitudinal: float | None = None


@dataclass(frozen=True, kw_only=True)
class PhononAudit:
    """What was measured about force constants; nothing was repaired.

    Attributes
    ----------
    sum_rule_eV_per_A2
        max |Σ_j Φ_{iα,jβ}|: the force on an atom per Å of rigid shift; 0 for exact force constants.
    asymmetry_eV_per_A2
        max |Φ_{iα,jβ} − Φ_{jβ,iα}|; 0 for exact second derivatives.
    translation_eV_per_A2
        Largest change of Φ under the translations of the primitive lattice; 0 where Φ is commensurate with it.
    space_group_eV_per_A2
        Largest change of Φ under the space-group operations of the crystal that the supercell keeps.
    operations, crystal_operations
        Point-group operations that the supercell keeps, and those of the crystal.
    primitive_cells
        Primitive cells in the supercell, which is the number of commensurate wave vectors.
    half_width_reach
        Largest |Φ_ij| (Frobenius norm, per nearest image) at or beyond half of the supercell's smallest width, relative
        to the largest of all pairs i ≠ j: an estimate of what the supercell cuts off.
    lowest_THz
        Lowest commensurate frequency without the translations.
    positive_definite
        Whether all modes but the translations have positive ω².
    imaginary
        Imaginary modes by wave vector, lowest first.
    sensitivity_THz
        Largest change of a commensurate frequency at twice the displacement length; None where it was not measured.
    """

    sum_rule_eV_per_A2: float
    asymmetry_eV_per_A2: float
    translation_eV_per_A2: float
    space_group_eV_per_A2: float
    operations: int
    crystal_operations: int
    primitive_cells: int
    half_width_reach: float
    lowest_THz: float
    positive_definite: bool
    imaginary: tuple[ImaginaryModes, ...]
    sensitivity_THz: float | None


@dataclass(frozen=True, kw_only=True, eq=False)
class PhononProperties:
    """Density of states, thermodynamics and thermal displacements of harmonic (or effective harmonic) phonons.

    Attributes
    ----------
    mesh
        Wave vectors along each primitive reciprocal axis that were summed over.
    atoms
        Atoms of the primitive cell; DOS and thermodynamics are per primitive cell.
    dos_THz, dos_per_THz
        Frequencies (imaginary: negative) and total density of states, shape (m,); its integral is 3 × atoms.
    species, species_dos_per_THz
        Chemical symbols, and the share of each in the density of states, shape (s, m).
    temperatures_K
        Shape (t,).
    free_energy_eV, entropy_eV_per_K, heat_capacity_eV_per_K
        Quantum-harmonic, per primitive cell, shape (t,).
    displacement_symbols
        Symbol of every atom of the primitive cell.
    displacement_A2
        Thermal displacement matrices ⟨u_α u_β⟩ (quantum), Cartesian, Å², shape (t, atoms, 3, 3).
    left_out
        Share of the modes of the mesh that have no thermodynamics, because imaginary or zero.
    """

    mesh: tuple[int, int, int]
    atoms: int
    dos_THz: FloatArray
    dos_per_THz: FloatArray
    species: tuple[str, ...]
    species_dos_per_THz: FloatArray
    temperatures_K: FloatArray
    free_energy_eV: FloatArray
    entropy_eV_per_K: FloatArray
    heat_capacity_eV_per_K: FloatArray
    displacement_symbols: tuple[str, ...]
    displacement_A2: FloatArray
    left_out: float

    def __post_init__(self) -> None:
        for name, shape in (
            ("dos_THz", (None,)),
            ("dos_per_THz", (len(self.dos_THz),)),
            ("species_dos_per_THz", (len(self.species), len(self.dos_THz))),
            ("temperatures_K", (None,)),
        ):
            set_field(self, name, read_only(name, getattr(self, name), shape))
        count = len(self.temperatures_K)
        for name in ("free_energy_eV", "entropy_eV_per_K", "heat_capacity_eV_per_K"):
            set_field(self, name, read_only(name, getattr(self, name), (count,)))
        matrices = (count, len(self.displacement_symbols), 3, 3)
        set_field(self, "displacement_A2", read_only("displacement_A2", self.displacement_A2, matrices))
        if len(self.displacement_symbols) != self.atoms or not np.isfinite(self.left_out):
            raise DataError(
                f"displacement_symbols must name the {self.atoms} atoms of the primitive cell; "
                f"got {len(self.displacement_symbols)}"
            )
