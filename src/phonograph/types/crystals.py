"""Rooms 1 and 2 meet here: crystals, force constants and phonons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

from phonograph.errors import DataError
from phonograph.types.arrays import FloatArray, IntArray, array_hash, read_only, set_field
from phonograph.types.phonon_results import PhononAudit, PhononProperties


@dataclass(frozen=True, kw_only=True, eq=False)
class Origin:
    """Where a result came from: enough to make it again.

    Attributes
    ----------
    room
        The room that made it, for example ``"sampling"``.
    settings
        The resolved settings as plain values.
    seed
        Seed of its random stream, or None where nothing random was done.
    inputs
        Name → SHA-256 of each input.
    versions
        Package → version of each library whose numbers enter the result.
    """

    room: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("settings", "inputs", "versions"):
            set_field(self, name, MappingProxyType(dict(getattr(self, name))))

    def __reduce__(self) -> tuple[Any, ...]:
        # A read-only mapping cannot be sent to another process; its content can.
        mappings = {name: dict(getattr(self, name)) for name in ("settings", "inputs", "versions")}
        return partial(Origin, room=self.room, seed=self.seed, **mappings), ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Crystal:
    """A periodic arrangement of atoms.

    Attributes
    ----------
    cell_A
        Lattice vectors as rows, Å, shape (3, 3), right- or left-handed, non-singular.
    positions_A
        Cartesian positions, Å, shape (n, 3).
    numbers
        Atomic numbers, shape (n,).
    masses_amu
        Masses, amu, shape (n,); standard atomic weights (ASE's table, IUPAC 2016) where not given.
    title
        Free text from the file.
    """

    cell_A: FloatArray
    positions_A: FloatArray
    numbers: IntArray
    masses_amu: FloatArray = field(default_factory=lambda: np.zeros(0))
    title: str = ""

    def __post_init__(self) -> None:
        set_field(self, "cell_A", read_only("cell_A", self.cell_A, (3, 3)))
        set_field(self, "positions_A", read_only("positions_A", self.positions_A, (None, 3)))
        set_field(self, "numbers", read_only("numbers", self.numbers, (len(self.positions_A),), np.int64))
        if len(self.numbers) == 0:
            raise DataError("a crystal needs at least one atom; got none")
        if self.numbers.min() < 1 or self.numbers.max() > 118:
            raise DataError(
                f"atomic numbers must lie in 1–118; got {int(self.numbers.min())}–{int(self.numbers.max())}"
            )
        if abs(np.linalg.det(self.cell_A)) < 1e-3:
            raise DataError(
                f"the three lattice vectors must span a volume; got {abs(np.linalg.det(self.cell_A)):.3g} Å³"
            )
        if np.size(self.masses_amu) == 0:
            from ase.data import atomic_masses

            set_field(self, "masses_amu", atomic_masses[self.numbers])
        set_field(self, "masses_amu", read_only("masses_amu", self.masses_amu, (len(self.numbers),)))
        if self.masses_amu.min() <= 0:
            raise DataError(f"masses_amu must be positive; got {self.masses_amu.min():g}")

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def symbols(self) -> tuple[str, ...]:
        """Chemical symbols, one per atom."""
        from ase.data import chemical_symbols

        return tuple(chemical_symbols[number] for number in self.numbers)

    @property
    def formula(self) -> str:
        """Formula in order of first appearance, for example ``Ag3SBr``."""
        symbols = self.symbols
        counts = {symbol: symbols.count(symbol) for symbol in dict.fromkeys(symbols)}
        return "".join(symbol + (str(count) if count > 1 else "") for symbol, count in counts.items())

    @property
    def volume_A3(self) -> float:
        """Cell volume, Å³."""
        return float(abs(np.linalg.det(self.cell_A)))

    @property
    def fractional(self) -> FloatArray:
        """Positions in units of the lattice vectors, shape (n, 3), not wrapped."""
        return np.asarray(np.linalg.solve(self.cell_A.T, self.positions_A.T).T, dtype=np.float64)


def crystal_hash(crystal: Crystal) -> str:
    """Return the SHA-256 of lattice, positions, elements and masses."""
    return array_hash(crystal.cell_A, crystal.positions_A, crystal.numbers, crystal.masses_amu)


@dataclass(frozen=True, kw_only=True, eq=False)
class ForceConstants:
    """Second derivatives of the energy of a supercell, Φ_{iα,jβ} = ∂²E/∂u_{iα}∂u_{jβ}.

    Attributes
    ----------
    unitcell
        The cell that was replicated.
    supercell_matrix
        Integer rows, shape (3, 3): supercell lattice = supercell_matrix @ unitcell lattice.
    supercell
        The replicated crystal, atoms in phonopy's order.
    values_eV_per_A2
        Φ, eV/Å², shape (n, n, 3, 3), full (not compact).
    origin
        How it was obtained.
    """

    unitcell: Crystal
    supercell_matrix: IntArray
    supercell: Crystal
    values_eV_per_A2: FloatArray
    origin: Origin

    def __post_init__(self) -> None:
        size = len(self.supercell)
        set_field(self, "supercell_matrix", read_only("supercell_matrix", self.supercell_matrix, (3, 3), np.int64))
        set_field(self, "values_eV_per_A2", read_only("force constants", self.values_eV_per_A2, (size, size, 3, 3)))


@dataclass(frozen=True, kw_only=True, eq=False)
class Spectrum:
    """Phonon frequencies along a path through the Brillouin zone.

    Attributes
    ----------
    q
        Wave vectors in units of the primitive reciprocal lattice, shape (m, 3).
    distance
        Path length, 1/Å, shape (m,).
    frequencies_THz
        Shape (m, branches); negative values stand for imaginary frequencies.
    ticks
        (distance, label) of each named point.
    breaks
        Indices at which a new, unconnected segment begins.
    """

    q: FloatArray
    distance: FloatArray
    frequencies_THz: FloatArray
    ticks: tuple[tuple[float, str], ...] = ()
    breaks: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        set_field(self, "q", read_only("q", self.q, (None, 3)))
        set_field(self, "distance", read_only("distance", self.distance, (len(self.q),)))
        set_field(self, "frequencies_THz", read_only("frequencies_THz", self.frequencies_THz, (len(self.q), None)))


@dataclass(frozen=True, kw_only=True)
class RenormalisationRound:
    """One round of the self-consistent stochastic loop.

    ``samples`` is the number of configurations fitted; ``lowest_THz`` of the mixed force constants; ``change_THz`` is
    the rms change of all commensurate frequencies, ``noise_THz`` the rms of their jackknife errors; ``guarded_share``
    the share of displacement variance the amplitude guard removed; ``effective_fraction`` the Kong–Liu effective share
    of the samples fitted; the free energy F_harm + ⟨V − V_harm⟩ counts from the crystal at rest and carries its
    standard error.
    """

    index: int
    samples: int
    lowest_THz: float
    change_THz: float
    noise_THz: float
    guarded_share: float
    effective_fraction: float
    free_energy_eV_per_atom: float
    free_energy_error_eV_per_atom: float = 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Phonons:
    """Force constants to sample from, how they were obtained, and what they look like.

    Attributes
    ----------
    force_constants
        The force constants that samplers use (renormalised where that was asked for).
    harmonic
        The 0 K force constants before renormalisation; None where ``force_constants`` is harmonic itself.
    method
        ``"finite-displacement"``, ``"file"``, ``"self-consistent"``, ``"mode-projection"`` or ``"regression"``.
    temperature_K
        Temperature of the renormalisation; None for harmonic force constants.
    frequencies_THz, frequency_error_THz
        The 3n − 3 commensurate frequencies without the translations, ascending, and their standard errors
        (zero where the route gives none).
    harmonic_frequencies_THz
        The same of ``harmonic``, or of ``force_constants`` where that is harmonic.
    spectrum, harmonic_spectrum
        Frequencies along the standard path.
    rounds, converged
        History of the self-consistent renormalisation and whether its convergence test passed (None: no such test).
    warnings
        Sentences for the report.
    line_widths_THz, line_width_errors_THz
        Full width at half maximum of each mode's line and its standard error, shape (3n − 3,), NaN for modes without;
        the error is NaN also where the width is an upper bound (a line narrower than 1/duration).  None where the route
        gives no line widths.
    curvature_frequencies_THz, curvature_errors_THz
        Commensurate frequencies of the curvature of the free energy, ascending, imaginary ones negative, and their
        standard errors, shape (3n − 3,); None where the self-consistent route was not asked for them.
    audit
        What was measured about ``force_constants``.
    properties
        Density of states, thermodynamics, thermal displacements of ``force_constants``.
    """

    force_constants: ForceConstants
    harmonic: ForceConstants | None
    method: str
    temperature_K: float | None
    frequencies_THz: FloatArray
    frequency_error_THz: FloatArray
    harmonic_frequencies_THz: FloatArray
    spectrum: Spectrum
    harmonic_spectrum: Spectrum
    rounds: tuple[RenormalisationRound, ...]
    converged: bool | None
    warnings: tuple[str, ...]
    origin: Origin
    line_widths_THz: FloatArray | None = None
    line_width_errors_THz: FloatArray | None = None
    curvature_frequencies_THz: FloatArray | None = None
    curvature_errors_THz: FloatArray | None = None
    audit: PhononAudit | None = None
    properties: PhononProperties | None = None

    def __post_init__(self) -> None:
        modes = 3 * len(self.force_constants.supercell) - 3
        for name in ("line_widths_THz", "line_width_errors_THz"):
            if getattr(self, name) is not None:
                set_field(self, name, read_only(name, getattr(self, name), (modes,), finite=False))
        for name in ("curvature_frequencies_THz", "curvature_errors_THz"):
            if getattr(self, name) is not None:
                set_field(self, name, read_only(name, getattr(self, name), (modes,)))
        for name in ("frequencies_THz", "frequency_error_THz", "harmonic_frequencies_THz"):
            set_field(self, name, read_only(name, getattr(self, name), (modes,)))

    @property
    def supercell(self) -> Crystal:
        """The supercell all displacements refer to."""
        return self.force_constants.supercell
