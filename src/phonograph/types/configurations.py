"""Rooms 2–4 meet here: sets of displaced crystals and their certificates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from phonograph.errors import DataError
from phonograph.types.arrays import FloatArray, IntArray, read_only, set_field
from phonograph.types.crystals import Crystal, Origin


@dataclass(frozen=True, kw_only=True, eq=False)
class Configurations:
    """A set of n displaced crystals, packed; cells may differ in size and composition.

    Attributes
    ----------
    name
        Name of the set, for example ``"phonon"``.
    sampler
        TOML name of the sampler, or ``"file"``.
    offsets
        Shape (n + 1,): atoms of configuration i are ``offsets[i]:offsets[i + 1]``.
    numbers, positions_A, displacements_A
        Packed over atoms; positions are not wrapped into the cell.  Displacements are NaN where no
        equilibrium position is known.
    cells_A
        Shape (n, 3, 3).
    temperature_K, amplitude_A, fraction
        Per configuration, NaN where it has none: temperature of the law, amplitude a of Eq. 2, and substituted
        fraction x of a solid solution.
    index
        Sample index within its law; (seed, index) names the random stream.
    group
        Configurations of one group never straddle a split (± pairs, MD blocks, copies of one parent).
    warnings
        Sentences for the report.
    """

    name: str
    sampler: str
    offsets: IntArray
    numbers: IntArray
    positions_A: FloatArray
    displacements_A: FloatArray
    cells_A: FloatArray
    temperature_K: FloatArray
    amplitude_A: FloatArray
    fraction: FloatArray
    index: IntArray
    group: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    origin: Origin = field(default_factory=lambda: Origin(room="sampling"))

    def __post_init__(self) -> None:
        set_field(self, "offsets", read_only("offsets", self.offsets, (None,), np.int64))
        count, atoms = len(self.offsets) - 1, int(self.offsets[-1])
        if count < 1 or self.offsets[0] != 0 or (np.diff(self.offsets) < 1).any():
            raise DataError(f"set {self.name!r} must hold at least one configuration with at least one atom each")
        set_field(self, "numbers", read_only("numbers", self.numbers, (atoms,), np.int64))
        set_field(self, "positions_A", read_only(f"positions of set {self.name!r}", self.positions_A, (atoms, 3)))
        set_field(self, "displacements_A", read_only("displacements_A", self.displacements_A, (atoms, 3), finite=False))
        set_field(self, "cells_A", read_only("cells_A", self.cells_A, (count, 3, 3)))
        for name in ("temperature_K", "amplitude_A", "fraction"):
            set_field(self, name, read_only(name, getattr(self, name), (count,), finite=False))
        set_field(self, "index", read_only("index", self.index, (count,), np.int64))
        if type(self.group) is not tuple or set(map(type, self.group)) != {str}:
            set_field(self, "group", tuple(map(str, self.group)))
        if len(self.group) != count:
            raise DataError(f"group must name {count} configurations; got {len(self.group)}")

    @classmethod
    def of_crystals(cls, name: str, crystals: Sequence[Crystal], group: Sequence[str]) -> Configurations:
        """Return a set of crystals whose undisplaced positions are not known."""
        offsets = np.cumsum([0, *(len(crystal) for crystal in crystals)])
        undefined = np.full(len(crystals), np.nan)
        return cls(
            name=name,
            sampler="file",
            offsets=offsets,
            numbers=np.concatenate([crystal.numbers for crystal in crystals]),
            positions_A=np.concatenate([crystal.positions_A for crystal in crystals]),
            displacements_A=np.full((int(offsets[-1]), 3), np.nan),
            cells_A=np.array([crystal.cell_A for crystal in crystals]),
            temperature_K=undefined,
            amplitude_A=undefined,
            fraction=undefined,
            index=np.arange(len(crystals)),
            group=tuple(group),
        )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def ids(self) -> tuple[str, ...]:
        """Sample ids ``<set>-<position in the set>``, unique within a run."""
        return tuple(f"{self.name}-{position:05d}" for position in range(len(self)))

    def crystal(self, position: int) -> Crystal:
        """Return configuration ``position`` as a :class:`Crystal`."""
        atoms = slice(int(self.offsets[position]), int(self.offsets[position + 1]))
        return Crystal(
            cell_A=self.cells_A[position],
            positions_A=self.positions_A[atoms],
            numbers=self.numbers[atoms],
            title=f"{self.name}-{position:05d}",
        )

    def first(self, n: int) -> Configurations:
        """Return the first ``n`` configurations (all where there are fewer)."""
        n = min(n, len(self))
        atoms = int(self.offsets[n])
        return replace(
            self,
            offsets=self.offsets[: n + 1],
            numbers=self.numbers[:atoms],
            positions_A=self.positions_A[:atoms],
            displacements_A=self.displacements_A[:atoms],
            cells_A=self.cells_A[:n],
            temperature_K=self.temperature_K[:n],
            amplitude_A=self.amplitude_A[:n],
            fraction=self.fraction[:n],
            index=self.index[:n],
            group=self.group[:n],
        )

    def crystals(self) -> Iterator[Crystal]:
        """Yield every configuration as a :class:`Crystal`."""
        return (self.crystal(position) for position in range(len(self)))


@dataclass(frozen=True, kw_only=True)
class Check:
    """One tested claim about a set: what was found, what was expected, the bound, and whether it holds.

    ``kind`` says how: ``"equal"`` (expected ± tolerance), ``"at most"`` (expected + tolerance) or ``"at least"``
    (expected).
    """

    name: str
    found: float
    expected: float
    tolerance: float
    passed: bool
    unit: str = ""
    kind: str = "equal"


COVARIANCES = ("covariance_A2", "claimed_covariance_A2", "lower_covariance_A2", "upper_covariance_A2")
"""Tables of a certificate with a row per atom."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Certificate:
    """The certificate of a set: what its displacements look like, and which claims about them hold.

    Attributes
    ----------
    species_rms_A
        (symbol, rms displacement per Cartesian axis in Å) per species; empty where displacements are unknown.
    minimum_distance_A
        Shortest interatomic distance in the whole set.
    nearest_bonds
        (species pair, mean, standard deviation), Å, of the nearest-neighbour bonds of the reference.
    harmonic_energy_eV_per_atom
        Mean ½uᵀΦu per atom; NaN without force constants.
    checks
        Tested claims: those of the law where it is known, and what every set must fulfil.
    law_known
        Whether the set names a law whose moments are known; without one only distances and duplicates are tested.
    touched_share
        Share of the displacement variance that a soft-mode policy or the amplitude guard touched; NaN for laws that
        have no modes.
    sites
        Chemical symbol of every atom of the reference; of sites with changing atoms those of the parent.
    covariance_A2, claimed_covariance_A2, lower_covariance_A2, upper_covariance_A2
        ⟨u_α u_β⟩ of every atom in the order xx, yy, zz, yz, xz, xy: found, claimed by the law, and the bounds within
        which the found value must lie, Å², shape (n, 6); with no rows where no law is known.
    """

    name: str
    n: int
    species_rms_A: tuple[tuple[str, float], ...]
    minimum_distance_A: float
    nearest_bonds: tuple[tuple[str, float, float], ...]
    harmonic_energy_eV_per_atom: float
    checks: tuple[Check, ...]
    law_known: bool = False
    touched_share: float = float("nan")
    sites: tuple[str, ...] = ()
    covariance_A2: FloatArray = field(default_factory=lambda: np.zeros((0, 6)))
    claimed_covariance_A2: FloatArray = field(default_factory=lambda: np.zeros((0, 6)))
    lower_covariance_A2: FloatArray = field(default_factory=lambda: np.zeros((0, 6)))
    upper_covariance_A2: FloatArray = field(default_factory=lambda: np.zeros((0, 6)))

    def __post_init__(self) -> None:
        for name in COVARIANCES:
            set_field(self, name, read_only(name, getattr(self, name), (len(self.sites), 6)))

    @property
    def passed(self) -> bool:
        """Whether every tested claim holds; also true where none was tested."""
        return all(check.passed for check in self.checks)
