"""Rooms 3 and 6 meet here: how far a label is uncertain although nothing about the crystal has changed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from phonograph.types.crystals import Origin

NOISE_CAUSES = ("rotated", "translated", "permuted", "other lattice vectors", "tighter settings")
"""What is changed without changing the crystal, or in the engine's settings."""


@dataclass(frozen=True, kw_only=True)
class NoiseRow:
    """The scatter of one property under one cause.

    Attributes
    ----------
    set_name, property, unit, engine, cause
        What was measured; ``cause`` is one of :data:`NOISE_CAUSES`.
    changed
        What was changed, in words.
    structures, copies, holes
        Structures that enter, copies of each, and copies that gave no label.
    sd, sd_error
        Standard deviation of one label and its standard error (jackknife over structures).  For copies of a crystal it
        is the scatter within a structure; for tighter settings the scatter of the difference about its mean.
    mean, rms, largest
        Of the differences copy − label: mean (a shift that a model can learn), root mean square, largest magnitude.
    """

    set_name: str
    property: str
    unit: str
    engine: str
    cause: str
    changed: str
    structures: int
    copies: int
    holes: int
    sd: float
    sd_error: float
    mean: float
    rms: float
    largest: float


@dataclass(frozen=True, kw_only=True, eq=False)
class NoiseFloor:
    """The error that no model can get below: the scatter of labels of unchanged crystals.

    Causes are not independent (a loose threshold shows up in every one), so they are not added: the floor of a
    property is its largest standard deviation over causes and sets.
    """

    rows: tuple[NoiseRow, ...]
    warnings: tuple[str, ...] = ()
    origin: Origin = field(default_factory=lambda: Origin(room="labels"))

    def worst(self, name: str, set_name: str = "") -> NoiseRow | None:
        """Return the row with the largest standard deviation of a property (in a set); None where none was measured."""
        rows = [
            row
            for row in self.rows
            if row.property == name and set_name in ("", row.set_name) and math.isfinite(row.sd)
        ]
        return max(rows, key=lambda row: row.sd, default=None)

    def floor(self, name: str, set_name: str = "") -> float:
        """Return the floor of a property, in its unit; NaN where it was not measured."""
        row = self.worst(name, set_name)
        return row.sd if row is not None else math.nan

    def __str__(self) -> str:
        lines = ["standard deviation of one label, by cause:"]
        for row in self.rows:
            error = f" ± {row.sd_error:.1g}" if math.isfinite(row.sd_error) else ""
            lines.append(
                f"  {row.set_name}  {row.property}  {row.cause}: {row.sd:.2g}{error} {row.unit} "
                f"(mean difference {row.mean:.2g}, largest {row.largest:.2g}; {row.structures} structures, "
                f"{row.holes} holes)"
            )
        names = dict.fromkeys(row.property for row in self.rows)
        lines += [f"floor of {name}: {self.floor(name):.2g}" for name in names]
        return "\n".join([*lines, *(f"note: {warning}" for warning in self.warnings)])
