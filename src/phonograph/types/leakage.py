"""What a split lets through: samples of two parts that are not independent of each other."""

from __future__ import annotations

from dataclasses import dataclass, field

from phonograph.types.crystals import Origin

LEAKS = ("shared-groups", "identical-structures", "near-duplicates", "antithetic-pairs", "trajectory-frames")
"""Kinds of leakage, in the order in which they are told."""


@dataclass(frozen=True, kw_only=True)
class Leak:
    """Two samples in different parts of one split that are related.

    Attributes
    ----------
    kind
        One of :data:`LEAKS`.
    seed
        Of the split.
    sample, part, group, other_sample, other_part, other_group
        The two samples, the parts (train, validation, test) they are in, and their groups.
    difference_A
        Structures: largest difference between distances to the same neighbour, Å.  Antithetic pairs: length of the sum
        of the two displacement vectors over that of one, root mean square Å per atom.  NaN for the other kinds.
    """

    kind: str
    seed: int
    sample: str
    part: str
    group: str
    other_sample: str
    other_part: str
    other_group: str
    difference_A: float


@dataclass(frozen=True, kw_only=True, eq=False)
class LeakageAudit:
    """All leaks of the splits of a run, and sentences on those that were allowed by name."""

    leaks: tuple[Leak, ...]
    warnings: tuple[str, ...] = ()
    origin: Origin = field(default_factory=lambda: Origin(room="training"))
