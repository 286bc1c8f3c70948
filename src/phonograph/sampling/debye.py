"""Thermal displacements without force constants: model springs whose strength a Debye temperature fixes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from phonograph import units
from phonograph.errors import PhysicsError
from phonograph.lattice import normal_modes
from phonograph.options import option
from phonograph.sampling.laws import supercell_of
from phonograph.sampling.soft_modes import ModeLaw, stable_law
from phonograph.sampling.thermal import GaussianSampler
from phonograph.types import Crystal, FloatArray, Phonons

REACH = 2.0
"""Springs reach to this many times the cube root of the volume per atom: 42 neighbours in fcc, 26 in bcc.

Shorter ones leave layered crystals without resistance to shear; for much longer ones a law r⁻⁴ is no longer acoustic
(ν ∝ √q), and the slow waves, which carry most of the displacement, become too stiff.
"""


@dataclass(frozen=True, kw_only=True)
class DebyeSampler(GaussianSampler):
    """Correlated thermal displacements of a crystal whose phonons are not known, from its Debye temperature θ.

    Every pair of atoms closer than 2 (V/n)^(1/3) is held by a central spring c/r⁴ (r their distance at rest), and the
    crystal's own masses move on them: Φ_ij = −(c/r⁴) r̂ r̂ᵀ.  The one constant c makes the zero-point energy that of the
    Debye model, Σ_s ħω_s/2 = (9/8) kθ per atom, which fixes the mean frequency at (3/4) kθ/h with the three rigid
    translations counted as zero.  The displacements then obey the thermal law of these springs: correlated, without
    rigid shift, quantum or classical.

    In fcc and bcc crystals ⟨u²⟩ lies below that of the isotropic Debye continuum, by 5 % at 0 K and by 20 % for
    T > θ, because the spectra of the two models differ in shape, and a supercell lacks its longest waves besides.
    No force of the real crystal enters: the law is a sensible start (first structures for a fit, tests of a workflow),
    not a substitute for phonons.  Given phonons, it does not look at them.

    References
    ----------
    Shulumba et al., Phys. Rev. B 95, 014302 (2017), https://doi.org/10.1103/PhysRevB.95.014302.
    """

    kind: ClassVar[str] = "debye"

    debye_temperature_K: float = option(help="Debye temperature of the crystal, K.", above=0.0, maximum=1.0e5)

    def law(self, reference: Phonons | Crystal) -> ModeLaw:
        """Return the modes of the model springs and their variances after the amplitude guard."""
        crystal = supercell_of(reference)
        modes = normal_modes(model_springs(crystal), crystal.masses_amu)
        frequencies = modes.frequencies_THz
        if len(frequencies) and frequencies[0] < 1.0e-3 * frequencies[-1]:
            raise PhysicsError(
                f"model springs do not hold the {len(crystal)} atoms of this cell together (lowest mode at "
                f"{frequencies[0] / frequencies[-1]:.1e} of the highest); use a larger supercell, or phonons"
            )
        wanted = 0.75 * units.BOLTZMANN_EV_PER_K * self.debye_temperature_K / units.EV_PER_THZ
        scale = wanted * 3 * len(crystal) / float(frequencies.sum()) if len(frequencies) else 1.0
        law = stable_law(replace(modes, frequencies_THz=frequencies * scale), self)
        return replace(law, warnings=(*law.warnings, *self._notes(reference, scale**2)))

    def _notes(self, reference: Phonons | Crystal, strength: float) -> tuple[str, ...]:
        unused = "; the phonons at hand are not used" if isinstance(reference, Phonons) else ""
        return (
            f"the law is that of model springs c/r⁴, c = {strength:.4g} eV Å², fixed by a Debye temperature of "
            f"{self.debye_temperature_K:g} K alone{unused}",
        )


def model_springs(crystal: Crystal) -> FloatArray:
    """Return force constants of the springs r⁻⁴ (c = 1 eV Å²), eV/Å², shape (n, n, 3, 3)."""
    from ase import Atoms
    from ase.neighborlist import neighbor_list

    size = len(crystal)
    atoms = Atoms(numbers=crystal.numbers, positions=crystal.positions_A, cell=crystal.cell_A, pbc=True)
    i, j, distance, vector = neighbor_list("ijdD", atoms, REACH * (crystal.volume_A3 / size) ** (1 / 3))
    unit = vector / distance[:, None]
    blocks = unit[:, :, None] * unit[:, None, :] / distance[:, None, None] ** 4
    values = np.zeros((size, size, 3, 3))
    np.add.at(values, (i, j), -blocks)
    np.add.at(values, (i, i), blocks)
    return values
