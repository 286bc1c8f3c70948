"""Rooms 3 and 5 meet here: properties of samples, with named holes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np

from phonograph.errors import DataError
from phonograph.types.arrays import BoolArray, FloatArray, read_only, set_field
from phonograph.types.crystals import Origin

PROPERTY_UNITS: Mapping[str, str] = MappingProxyType(
    {
        "energy_eV_per_atom": "eV/atom",
        "band_gap_eV": "eV",
        "direct_gap_eV": "eV",
        "vbm_eV": "eV",
        "cbm_eV": "eV",
        "vbm_mean_eV": "eV",
        "cbm_mean_eV": "eV",
        "fermi_level_eV": "eV",
        "hydrostatic_stress_GPa": "GPa",
        "total_magnetic_moment_muB": "μB",
    }
)
"""The properties the built-in labellers provide, and their units.

``vbm_mean_eV`` and ``cbm_mean_eV`` are means over the states that are degenerate in the static crystal.
"""

ARRAY_UNITS: Mapping[str, str] = MappingProxyType(
    {
        "forces_eV_per_A": "eV/Å",
        "stress_GPa": "GPa",
        "charges_e": "e",
        "magnetic_moments_muB": "μB",
        "eigenvalues_eV": "eV",
        "occupations": "1",
        "k_points": "1",
        "k_weights": "1",
    }
)
"""What a labeller may return besides numbers.

Shapes, for n atoms, s spins, k points and b bands: forces (n, 3); stress (3, 3), ASE's sign; charges and moments (n,);
eigenvalues and occupations (s, k, b); k points (k, 3), fractional coordinates of the reciprocal lattice; weights (k,),
sum 1.
"""

ZERO_GAP_EV = 1e-3
"""Gaps up to this are the class "zero gap": counted and kept, never dropped."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelColumn:
    """One property of every sample: name, unit, values (NaN = hole), and the engine and settings that gave it."""

    name: str
    unit: str
    values: FloatArray
    engine: str

    def __post_init__(self) -> None:
        set_field(self, "values", read_only(self.name, self.values, (None,), finite=False))


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
        return self._rows([place for place, owner in enumerate(self.set_names) if owner == name])

    def first(self, n: int) -> Labels:
        """Return the first ``n`` samples (all where there are fewer)."""
        return self._rows(range(min(n, len(self.sample_ids))))

    def _rows(self, chosen: Sequence[int]) -> Labels:
        said = self.warnings
        if len(chosen) < len(self.sample_ids):
            said = tuple(_among_all(sentence, len(self.sample_ids)) for sentence in said)
        return replace(
            self,
            sample_ids=tuple(self.sample_ids[place] for place in chosen),
            set_names=tuple(self.set_names[place] for place in chosen),
            columns=tuple(replace(column, values=column.values[list(chosen)]) for column in self.columns),
            status=tuple(self.status[place] for place in chosen),
            warnings=said,
        )

    @property
    def zero_gap(self) -> BoolArray:
        """Samples of the class "zero gap" (≤ :data:`ZERO_GAP_EV`), shape (samples,); False for holes."""
        return np.asarray(self.column("band_gap_eV").values <= ZERO_GAP_EV)

    def aligned(self, name: str, sample_ids: Sequence[str]) -> FloatArray:
        """Return the values of ``name`` for ``sample_ids`` in that order; NaN for holes and unknown ids."""
        place = {sample: position for position, sample in enumerate(self.sample_ids)}
        values = self.column(name).values
        return np.array([values[place[s]] if s in place else np.nan for s in sample_ids], dtype=np.float64)


def _among_all(sentence: str, count: int) -> str:
    """Say, once, of how many rows a sentence speaks that may count them; of those that are left it would be false."""
    start = "Among all "
    return sentence if sentence.startswith(start) else f"{start}{count} rows, before some were chosen: {sentence}"


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
