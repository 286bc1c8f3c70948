"""Every value that crosses a room's border: frozen, checked when made, with read-only arrays.

Units: Å, eV, amu, THz, K, GPa.  Lattice vectors are rows.  Positions are Cartesian.  Stress has ASE's sign
(positive = tensile).  Arrays passed in are copied and made read-only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phonograph.errors import DataError, InputFileError
from phonograph.options import check_options, option

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Progress = Callable[[str, int, int], None]
"""Called as ``progress(what, done, total)``."""

PROPERTY_UNITS: Mapping[str, str] = MappingProxyType(
    {
        "energy_eV_per_atom": "eV/atom",
        "band_gap_eV": "eV",
        "vbm_eV": "eV",
        "cbm_eV": "eV",
        "hydrostatic_stress_GPa": "GPa",
    }
)
"""The properties the built-in labellers provide, and their units."""

MAX_ATOMS = 100_000
"""Largest structure accepted anywhere; a file that claims more is refused before it is read."""

MIN_DISTANCE_A = 0.1
"""Two atoms closer than this are taken for the same atom written twice."""


def read_only(
    name: str, value: ArrayLike, shape: Sequence[int | None], dtype: type = np.float64, *, finite: bool = True
) -> NDArray[Any]:
    """Copy ``value`` into a read-only array of ``dtype`` and check its shape and finiteness.

    ``None`` in ``shape`` matches any length.  Raises :class:`DataError` naming the field, what was expected
    and what was got.
    """
    try:
        array: NDArray[Any] = np.array(value, dtype=dtype, order="C")
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{name} must be an array of {np.dtype(dtype).name}; got {type(value).__name__} ({error})"
        ) from error
    expected = tuple(shape)
    if array.ndim != len(expected) or any(e is not None and e != g for e, g in zip(expected, array.shape, strict=True)):
        words = "(" + ", ".join("n" if e is None else str(e) for e in expected) + ")"
        raise DataError(f"{name} must have shape {words}; got {array.shape}")
    if finite and array.dtype.kind == "f" and not np.isfinite(array).all():
        raise DataError(f"{name} must be finite; got {int((~np.isfinite(array)).sum())} NaN or infinite values")
    array.flags.writeable = False
    return array


def _set(value: Any, name: str, content: Any) -> None:
    object.__setattr__(value, name, content)


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
            _set(self, name, MappingProxyType(dict(getattr(self, name))))

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
        _set(self, "cell_A", read_only("cell_A", self.cell_A, (3, 3)))
        _set(self, "positions_A", read_only("positions_A", self.positions_A, (None, 3)))
        _set(self, "numbers", read_only("numbers", self.numbers, (len(self.positions_A),), np.int64))
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

            _set(self, "masses_amu", atomic_masses[self.numbers])
        _set(self, "masses_amu", read_only("masses_amu", self.masses_amu, (len(self.numbers),)))
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
        _set(self, "supercell_matrix", read_only("supercell_matrix", self.supercell_matrix, (3, 3), np.int64))
        _set(self, "values_eV_per_A2", read_only("force constants", self.values_eV_per_A2, (size, size, 3, 3)))


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
        _set(self, "q", read_only("q", self.q, (None, 3)))
        _set(self, "distance", read_only("distance", self.distance, (len(self.q),)))
        _set(self, "frequencies_THz", read_only("frequencies_THz", self.frequencies_THz, (len(self.q), None)))


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
        ``"finite-displacement"``, ``"file"`` or ``"self-consistent"``.
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
        History of the renormalisation and whether its convergence test passed (None: not renormalised).
    warnings
        Sentences for the report.
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

    def __post_init__(self) -> None:
        modes = 3 * len(self.force_constants.supercell) - 3
        for name in ("frequencies_THz", "frequency_error_THz", "harmonic_frequencies_THz"):
            _set(self, name, read_only(name, getattr(self, name), (modes,)))

    @property
    def supercell(self) -> Crystal:
        """The supercell all displacements refer to."""
        return self.force_constants.supercell


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
        _set(self, "offsets", read_only("offsets", self.offsets, (None,), np.int64))
        count, atoms = len(self.offsets) - 1, int(self.offsets[-1])
        if count < 1 or self.offsets[0] != 0 or (np.diff(self.offsets) < 1).any():
            raise DataError(f"set {self.name!r} must hold at least one configuration with at least one atom each")
        _set(self, "numbers", read_only("numbers", self.numbers, (atoms,), np.int64))
        _set(self, "positions_A", read_only(f"positions of set {self.name!r}", self.positions_A, (atoms, 3)))
        _set(self, "displacements_A", read_only("displacements_A", self.displacements_A, (atoms, 3), finite=False))
        _set(self, "cells_A", read_only("cells_A", self.cells_A, (count, 3, 3)))
        for name in ("temperature_K", "amplitude_A", "fraction"):
            _set(self, name, read_only(name, getattr(self, name), (count,), finite=False))
        _set(self, "index", read_only("index", self.index, (count,), np.int64))
        _set(self, "group", tuple(str(group) for group in self.group))
        if len(self.group) != count:
            raise DataError(f"group must name {count} configurations; got {len(self.group)}")

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
    """One tested claim about a set: what was found, what was expected, the bound, and whether it holds."""

    name: str
    found: float
    expected: float
    tolerance: float
    passed: bool
    unit: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class SetStatistics:
    """What the displacements of a set look like, and which claims about them were tested.

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
        Tested claims; empty for laws with nothing to test against.
    """

    name: str
    n: int
    species_rms_A: tuple[tuple[str, float], ...]
    minimum_distance_A: float
    nearest_bonds: tuple[tuple[str, float, float], ...]
    harmonic_energy_eV_per_atom: float
    checks: tuple[Check, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelColumn:
    """One property of every sample: name, unit, values (NaN = hole), and the engine and settings that gave it."""

    name: str
    unit: str
    values: FloatArray
    engine: str

    def __post_init__(self) -> None:
        _set(self, "values", read_only(self.name, self.values, (None,), finite=False))


@dataclass(frozen=True, kw_only=True, eq=False)
class Labels:
    """Labels of many samples, in a fixed order, with named holes.

    Attributes
    ----------
    sample_ids, set_names
        Per sample.
    columns
        One :class:`LabelColumn` per property.
    status
        Per sample: ``"ok"`` or what failed, for example ``"failed: band_gap_eV: not converged"``.
    """

    sample_ids: tuple[str, ...]
    set_names: tuple[str, ...]
    columns: tuple[LabelColumn, ...]
    status: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    origin: Origin = field(default_factory=lambda: Origin(room="labels"))

    def __post_init__(self) -> None:
        count = len(self.sample_ids)
        if len(set(self.sample_ids)) != count:
            raise DataError("sample ids must be unique; the same id labels two samples")
        for name, got in (
            ("set_names", len(self.set_names)),
            ("status", len(self.status)),
            *((c.name, len(c.values)) for c in self.columns),
        ):
            if got != count:
                raise DataError(f"{name} must have one entry per sample ({count}); got {got}")

    def column(self, name: str) -> LabelColumn:
        """Return the column called ``name``; raises :class:`DataError` listing what there is."""
        for column in self.columns:
            if column.name == name:
                return column
        raise DataError(f"no label {name!r}; the labels are {', '.join(c.name for c in self.columns) or 'none'}")

    def of_set(self, name: str) -> Labels:
        """Return the samples of one set."""
        chosen = [place for place, owner in enumerate(self.set_names) if owner == name]
        return replace(
            self,
            sample_ids=tuple(self.sample_ids[place] for place in chosen),
            set_names=tuple(self.set_names[place] for place in chosen),
            columns=tuple(replace(column, values=column.values[chosen]) for column in self.columns),
            status=tuple(self.status[place] for place in chosen),
        )

    def aligned(self, name: str, sample_ids: Sequence[str]) -> FloatArray:
        """Return the values of ``name`` for ``sample_ids`` in that order; NaN for holes and unknown ids."""
        place = {sample: position for position, sample in enumerate(self.sample_ids)}
        values = self.column(name).values
        return np.array([values[place[s]] if s in place else np.nan for s in sample_ids], dtype=np.float64)


def join_labels(parts: Sequence[Labels]) -> Labels:
    """Return one :class:`Labels` with the samples of all ``parts``; a property a part lacks becomes a hole there.

    Where parts name different engines for a property, the column names all of them.
    """
    if not parts:
        raise DataError("joining labels needs at least one set; got none")
    units: dict[str, str] = {}
    for column in (column for part in parts for column in part.columns):
        if units.setdefault(column.name, column.unit) != column.unit:
            raise DataError(f"{column.name} comes in {units[column.name]} and in {column.unit}; convert one of them")
    columns = []
    for name, unit in units.items():
        owners = [column for part in parts for column in part.columns if column.name == name]
        values = [
            next((c.values for c in part.columns if c.name == name), np.full(len(part.sample_ids), np.nan))
            for part in parts
        ]
        engine = " | ".join(dict.fromkeys(column.engine for column in owners))
        columns.append(LabelColumn(name=name, unit=unit, values=np.concatenate(values), engine=engine))
    return Labels(
        sample_ids=tuple(sample for part in parts for sample in part.sample_ids),
        set_names=tuple(name for part in parts for name in part.set_names),
        columns=tuple(columns),
        status=tuple(status for part in parts for status in part.status),
        warnings=tuple(dict.fromkeys(warning for part in parts for warning in part.warnings)),
        origin=parts[0].origin,
    )


@dataclass(frozen=True, kw_only=True)
class GraphSpec:
    """What an edge is: every pair of atoms and periodic images with 0 < distance < ``cutoff_A``."""

    cutoff_A: float = option(5.5, "Edges join atoms closer than this, in Å.", above=0.0, maximum=30.0)
    convention: str = option("all-images", "Periodic images counted: all of them.", choices=("all-images",))

    def __post_init__(self) -> None:
        check_options(self, "graphs")


@dataclass(frozen=True, kw_only=True, eq=False)
class GraphSet:
    """Directed periodic multigraphs of many configurations, packed.

    Edge e of graph g runs from ``source[e]`` to ``target[e]`` (atom indices within the graph) in periodic image
    ``image[e]`` of the source: distance = |r_source + image·cell − r_target|.  Both directions and self-images
    are present; edges of a graph are sorted by (target, source, image).

    Attributes
    ----------
    sample_ids, groups
        Per graph.
    node_offsets, edge_offsets
        Shape (n + 1,).
    numbers
        Atomic numbers, packed over nodes.
    source, target, image, distance_A
        Packed over edges; ``image`` has shape (edges, 3).
    """

    sample_ids: tuple[str, ...]
    groups: tuple[str, ...]
    node_offsets: IntArray
    numbers: IntArray
    edge_offsets: IntArray
    source: NDArray[np.int32]
    target: NDArray[np.int32]
    image: NDArray[np.int16]
    distance_A: FloatArray
    spec: GraphSpec
    warnings: tuple[str, ...] = ()
    origin: Origin = field(default_factory=lambda: Origin(room="graphs"))

    def __post_init__(self) -> None:
        count = len(self.sample_ids)
        _set(self, "node_offsets", read_only("node_offsets", self.node_offsets, (count + 1,), np.int64))
        _set(self, "edge_offsets", read_only("edge_offsets", self.edge_offsets, (count + 1,), np.int64))
        nodes, edges = int(self.node_offsets[-1]), int(self.edge_offsets[-1])
        _set(self, "numbers", read_only("numbers", self.numbers, (nodes,), np.int64))
        _set(self, "source", read_only("source", self.source, (edges,), np.int32))
        _set(self, "target", read_only("target", self.target, (edges,), np.int32))
        _set(self, "image", read_only("image", self.image, (edges, 3), np.int16))
        _set(self, "distance_A", read_only("distance_A", self.distance_A, (edges,)))
        if len(self.groups) != count:
            raise DataError(f"groups must name {count} graphs; got {len(self.groups)}")

    def __len__(self) -> int:
        return len(self.sample_ids)

    def select(self, positions: Sequence[int] | IntArray) -> GraphSet:
        """Return the graphs at ``positions``, in that order."""
        chosen = np.asarray(positions, dtype=np.int64)
        nodes = _ranges(self.node_offsets, chosen)
        edges = _ranges(self.edge_offsets, chosen)
        return replace(
            self,
            sample_ids=tuple(self.sample_ids[i] for i in chosen),
            groups=tuple(self.groups[i] for i in chosen),
            node_offsets=np.concatenate([[0], np.cumsum(np.diff(self.node_offsets)[chosen])]),
            numbers=self.numbers[nodes],
            edge_offsets=np.concatenate([[0], np.cumsum(np.diff(self.edge_offsets)[chosen])]),
            source=self.source[edges],
            target=self.target[edges],
            image=self.image[edges],
            distance_A=self.distance_A[edges],
        )


def join_graphs(parts: Sequence[GraphSet]) -> GraphSet:
    """Return one :class:`GraphSet` that holds the graphs of all ``parts``, in order."""
    if not parts:
        raise DataError("joining graphs needs at least one set; got none")
    if len({part.spec for part in parts}) > 1:
        raise DataError(f"graphs of different cutoffs cannot be joined; got {sorted(p.spec.cutoff_A for p in parts)}")
    return replace(
        parts[0],
        sample_ids=tuple(sample for part in parts for sample in part.sample_ids),
        groups=tuple(group for part in parts for group in part.groups),
        node_offsets=_joined_offsets([part.node_offsets for part in parts]),
        edge_offsets=_joined_offsets([part.edge_offsets for part in parts]),
        warnings=tuple(dict.fromkeys(warning for part in parts for warning in part.warnings)),
        numbers=np.concatenate([part.numbers for part in parts]),
        source=np.concatenate([part.source for part in parts]),
        target=np.concatenate([part.target for part in parts]),
        image=np.concatenate([part.image for part in parts]),
        distance_A=np.concatenate([part.distance_A for part in parts]),
    )


def _joined_offsets(offsets: Sequence[IntArray]) -> IntArray:
    return np.concatenate([[0], np.cumsum(np.concatenate([np.diff(part) for part in offsets]))])


def _ranges(offsets: IntArray, chosen: IntArray) -> IntArray:
    parts = [np.arange(offsets[i], offsets[i + 1], dtype=np.int64) for i in chosen]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class Split:
    """Which samples train, validate and test; ids, so that it survives reordering.  No group is in two parts."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    seed: int

    def __post_init__(self) -> None:
        parts = (*self.train, *self.validation, *self.test)
        if len(set(parts)) != len(parts):
            raise DataError("a sample is in two parts of the split; the parts must be disjoint")


@dataclass(frozen=True, kw_only=True)
class InputScaling:
    """How numbers and distances become node features and edge weights, fitted on the training split only.

    ``edge_law`` is ``"minmax"`` (paper: (d − d_min)/(d_max − d_min)) or ``"cosine"`` (½(1 + cos πd/r_c), decaying).
    ``elements`` lists the atomic numbers seen in training; others are refused at prediction.
    """

    edge_law: str
    distance_min_A: float
    distance_max_A: float
    feature_min: tuple[float, ...]
    feature_max: tuple[float, ...]
    elements: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class TargetScaling:
    """y = shift + scale·ŷ with ŷ the network's output; ``kind`` is ``"minmax"`` or ``"standard"``."""

    kind: str
    shift: float
    scale: float


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One epoch of training: losses are mean squared errors of the scaled target."""

    index: int
    train_loss: float
    validation_loss: float
    learning_rate: float
    gradient_norm: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Fitted:
    """A trained network with everything needed to use it on new crystals.

    Attributes
    ----------
    name
        Bundle name, for example ``"band_gap_eV-phonon-seed0"``.
    model
        The :class:`GraphModel` strategy object whose ``build()`` makes the network.
    weights
        State-dict name → array.
    trained_on
        Name of the training collection (``phonon``, ``random``, ``combined`` …).
    train_range
        (min, max) of the training labels, in the target's unit.
    split, seed, best_epoch, history
        How it was trained.
    """

    name: str
    model: GraphModel
    weights: Mapping[str, NDArray[Any]]
    graph: GraphSpec
    inputs: InputScaling
    scaling: TargetScaling
    target: str
    unit: str
    trained_on: str
    train_range: tuple[float, float]
    split: Split
    seed: int
    best_epoch: int
    history: tuple[Epoch, ...]
    warnings: tuple[str, ...] = ()
    origin: Origin = field(default_factory=lambda: Origin(room="training"))

    def __post_init__(self) -> None:
        frozen = {}
        for name, value in self.weights.items():
            array = np.array(value)
            array.flags.writeable = False
            frozen[name] = array
        _set(self, "weights", MappingProxyType(frozen))

    def __reduce__(self) -> tuple[Any, ...]:
        # See Origin: sent to another process by its content.
        plain = {item.name: getattr(self, item.name) for item in fields(self)}
        return partial(Fitted, **{**plain, "weights": dict(self.weights)}), ()


@dataclass(frozen=True, kw_only=True)
class StudyRow:
    """One trained model of a study: what it was and its validation error (the test part is never looked at)."""

    rank: int
    name: str
    architecture: str
    target: str
    seed: int
    validation_mae: float
    validation_r2: float
    best_epoch: int
    parameters: int
    seconds: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Study:
    """Several architectures on the same data, ranked by validation error."""

    rows: tuple[StudyRow, ...]
    warnings: tuple[str, ...] = ()
    origin: Origin = field(default_factory=lambda: Origin(room="training"))


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One line of ``metrics.csv``; ``r2`` is the coefficient of determination, ``pearson_r2`` the squared Pearson r.

    ``mae`` and ``rmse`` are in ``unit``.  ``scope`` is ``all``, ``in_range`` or ``out_of_range`` of the training
    labels.  NaN where undefined (n = 0, or no spread).
    """

    target: str
    unit: str
    model: str
    trained_on: str
    tested_on: str
    split: str
    seed: int
    scope: str
    n: int
    mae: float
    rmse: float
    r2: float
    pearson_r2: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """Truth and prediction of one model on one part of one collection, in the target's unit."""

    target: str
    unit: str
    model: str
    trained_on: str
    tested_on: str
    split: str
    seed: int
    sample_ids: tuple[str, ...]
    truth: FloatArray
    prediction: FloatArray

    def __post_init__(self) -> None:
        count = len(self.sample_ids)
        _set(self, "truth", read_only("truth", self.truth, (count,)))
        _set(self, "prediction", read_only("prediction", self.prediction, (count,)))


@dataclass(frozen=True, kw_only=True)
class MetricSummary:
    """Mean and standard deviation over the models (training seeds) of one line of the cross-test table.

    ``models`` counts the models, ``n`` is their mean number of test samples.  ``skill`` = 1 − MAE/MAE_mean, where
    MAE_mean belongs to the trivial model that predicts the mean of the training labels: no network is called good
    unless its skill is above zero.  The ``_sd`` columns are NaN for a single model; all are NaN where undefined.
    """

    target: str
    unit: str
    trained_on: str
    tested_on: str
    split: str
    scope: str
    models: int
    n: float
    mae: float
    mae_sd: float
    rmse: float
    rmse_sd: float
    r2: float
    r2_sd: float
    pearson_r2: float
    pearson_r2_sd: float
    skill: float
    skill_sd: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """Metrics of many models on many collections, their summary over seeds, and the predictions behind them.

    Rows with ``model="mean-predictor"`` are the trivial model that predicts the mean of the training labels.
    """

    metrics: tuple[Metric, ...]
    predictions: tuple[Predictions, ...]
    summary: tuple[MetricSummary, ...] = ()
    warnings: tuple[str, ...] = ()
    origin: Origin = field(default_factory=lambda: Origin(room="evaluation"))


@dataclass(frozen=True, kw_only=True, eq=False)
class BondImportance:
    """Importance of one kind of bond: species pair and coordination shell (0 = nearest)."""

    species_pair: str
    shell: int
    count: int
    distance_A: float
    importance: float
    importance_sd: float
    share: float


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """How much predictions move when a share of the bonds is kept or removed, in the target's unit.

    ``sufficiency`` = mean |f(kept edges) − f(all)| (small is good), ``necessity`` = mean |f(without them) − f(all)|
    (large is good).  ``subject`` is ``explanation``, ``random_mask`` or ``random_weights``.  The standard deviations
    are over configurations; ``n`` counts rankings × configurations.
    """

    subject: str
    kept_share: float
    sufficiency: float
    sufficiency_sd: float
    necessity: float
    necessity_sd: float
    n: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Explanation:
    """Edge importances in [0, 1] on one reference supercell: consensus over seeds and configurations.

    Attributes
    ----------
    model, target
        What was explained.
    crystal
        The reference crystal edges refer to.
    i, j, image
        Undirected edges: atom i, atom j in periodic image ``image``; shapes (m,), (m,), (m, 3).
    distance_A, shell, species_pair
        Reference distance, shell index within the species pair, and e.g. ``"Ag-S"``.
    importance, importance_sd
        Consensus mean and standard deviation over runs, shape (m,).
    bonds
        The same per bond type and shell.
    stability
        Median pairwise Spearman correlation of runs with different seeds.
    """

    model: str
    target: str
    crystal: Crystal
    i: IntArray
    j: IntArray
    image: IntArray
    distance_A: FloatArray
    shell: IntArray
    species_pair: tuple[str, ...]
    importance: FloatArray
    importance_sd: FloatArray
    bonds: tuple[BondImportance, ...]
    fidelity: tuple[Fidelity, ...]
    stability: float
    warnings: tuple[str, ...] = ()
    origin: Origin = field(default_factory=lambda: Origin(room="explanation"))

    def __post_init__(self) -> None:
        count = len(self.species_pair)
        for name in ("i", "j", "shell"):
            _set(self, name, read_only(name, getattr(self, name), (count,), np.int64))
        _set(self, "image", read_only("image", self.image, (count, 3), np.int64))
        for name in ("distance_A", "importance", "importance_sd"):
            _set(self, name, read_only(name, getattr(self, name), (count,)))


@dataclass(frozen=True, kw_only=True)
class ThermalPoint:
    """Thermal average of one target at one temperature.

    ``standard_error`` is the Monte-Carlo error of the mean, s·√(g/n); ``model_spread`` the standard deviation of
    the mean over models; ``out_of_range`` the share of predictions outside the training labels' range;
    ``label_mean``, ``label_error`` and ``label_n`` come from directly labelled configurations (NaN, 0 if none).
    """

    target: str
    unit: str
    temperature_K: float
    mean: float
    standard_error: float
    model_spread: float
    n: int
    out_of_range: float = 0.0
    label_mean: float = float("nan")
    label_error: float = float("nan")
    label_n: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class ThermalCurve:
    """A property as a function of temperature, with its error budget."""

    points: tuple[ThermalPoint, ...]
    statistics: str
    warnings: tuple[str, ...] = ()
    origin: Origin = field(default_factory=lambda: Origin(room="thermal"))


class Sampler(Protocol):
    """Plug-in point 1: a law of displacements.  The object is its own configuration (a frozen dataclass)."""

    def sample(self, reference: Phonons | Crystal, n: int, seed: int) -> Configurations:
        """Return ``n`` configurations; sample i depends on (seed, i) only, never on n or on other samples."""
        ...


@dataclass(frozen=True, kw_only=True)
class LabelResult:
    """What one labeller found for one crystal: values by property name, or a failure class and message."""

    values: Mapping[str, float]
    failure: str = ""
    message: str = ""
    seconds: float = 0.0


class Labeller(Protocol):
    """Plug-in point 2: an electronic-structure engine.  The object is its own configuration."""

    @property
    def provides(self) -> tuple[str, ...]:
        """Names of the properties, in :data:`PROPERTY_UNITS` or with the unit as suffix."""
        ...

    @property
    def engine(self) -> str:
        """Engine, method and version, for example ``"tblite 0.8.0 GFN1-xTB"``."""
        ...

    def label(self, crystal: Crystal) -> LabelResult:
        """Label one crystal; failures are returned, not raised."""
        ...


class GraphModel(Protocol):
    """Plug-in point 3: a network.  ``build`` returns a ``torch.nn.Module`` that maps a batch to one value per graph."""

    def build(self, features: int, seed: int) -> Any:
        """Return a fresh module for ``features`` node features, initialised from ``seed`` alone."""
        ...


class Explainer(Protocol):
    """Plug-in point 4: edge importances of one graph for one model."""

    def importance(self, fitted: Fitted, graph: GraphSet, seed: int) -> FloatArray:
        """Return one value in [0, 1] per directed edge of the single graph in ``graph``."""
        ...


def require(condition: bool, sentence: str, error: type[Exception] = InputFileError) -> None:
    """Raise ``error(sentence)`` unless ``condition`` holds."""
    if not condition:
        raise error(sentence)
