"""The paper beside what we find: what it states, what our data give, and whether the two agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

from phonograph.types.arrays import FloatArray, read_only, set_field

AGREES, DISAGREES, UNDECIDED, NOT_COMPARABLE = "agrees", "disagrees", "undecided", "cannot be compared"
VERDICTS = (AGREES, DISAGREES, UNDECIDED, NOT_COMPARABLE)
"""What a comparison may end in; undecided: our interval lies on both sides of the bound."""


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One number or claim of the paper.

    Attributes
    ----------
    key
        Name, for example ``"table1.band_gap_eV.test.mae"``.
    what
        The quantity in words.
    words
        What the paper says about it.
    where
        Where it says so.
    value, half_width
        The number and half a unit of its last printed digit; NaN for a claim in words.
    unit
        Unit of the number; empty where it has none.
    """

    key: str
    what: str
    words: str
    where: str
    value: float = float("nan")
    half_width: float = 0.0
    unit: str = ""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One statement of the paper beside what we find.

    Attributes
    ----------
    key, what, published, where
        The statement: name, quantity, the paper's words, and where they stand.
    value, low, high
        Ours with its 95 % interval, in ``unit``; NaN where there is none.
    unit
        Unit of the three; empty where they have none.
    n, n_of
        On how many of what ours rests, for example 2,250 ``rows`` or 10 ``seeds``.
    verdict
        One of :data:`VERDICTS`.
    reason
        Why, in words that follow the verdict.
    rule
        What decided it.
    headline
        Whether the page's first table shows it.
    """

    key: str
    what: str
    published: str
    where: str
    value: float
    low: float
    high: float
    unit: str
    n: int
    n_of: str
    verdict: str
    reason: str
    rule: str
    headline: bool = False


@dataclass(frozen=True, kw_only=True)
class PaperTable:
    """A small table of an item: a title, column heads, and rows of words and numbers."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str | float, ...], ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class PaperItem:
    """One figure or table of the paper, remade.

    Attributes
    ----------
    key, title
        For example ``"s9"`` and what it shows.
    comparisons
        Statements of the paper beside ours.
    sentences
        What was done and found, in words.
    tables
        Numbers to read.
    arrays
        What the figure is drawn from; names are the item's own.
    seeds
        Seeds that enter.
    warnings
        What the reader must know.
    """

    key: str
    title: str
    comparisons: tuple[Comparison, ...] = ()
    sentences: tuple[str, ...] = ()
    tables: tuple[PaperTable, ...] = ()
    arrays: Mapping[str, FloatArray] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        frozen = {
            name: read_only(name, value, (None,) * getattr(value, "ndim", 1), finite=False)
            for name, value in self.arrays.items()
        }
        set_field(self, "arrays", MappingProxyType(frozen))


@dataclass(frozen=True, kw_only=True, eq=False)
class PaperRun:
    """All items that are finished, and what the page says about where they come from.

    ``seconds`` is the time each item took when it was computed; ``missing`` names items that are not finished and why;
    ``kept`` those of ``items`` that were not asked for, but are finished and unchanged since an earlier run.
    """

    title: str
    items: tuple[PaperItem, ...]
    data: str
    card: str
    command: str
    seconds: Mapping[str, float] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    kept: tuple[str, ...] = ()
    provenance: Sequence[tuple[str, str]] = ()


class CurveScore(Protocol):
    """One line of a learning curve: a model's score on one test set.

    ``train`` and ``test`` name collections, ``size`` is the number of training samples, ``scope`` as in
    :class:`Metric`; errors in the target's unit.
    """

    @property
    def train(self) -> str: ...  # noqa: D102
    @property
    def test(self) -> str: ...  # noqa: D102
    @property
    def size(self) -> int: ...  # noqa: D102
    @property
    def seed(self) -> int: ...  # noqa: D102
    @property
    def scope(self) -> str: ...  # noqa: D102
    @property
    def n(self) -> int: ...  # noqa: D102
    @property
    def mae(self) -> float: ...  # noqa: D102
    @property
    def rmse(self) -> float: ...  # noqa: D102
    @property
    def r2(self) -> float: ...  # noqa: D102
    @property
    def pearson_r2(self) -> float: ...  # noqa: D102


class StudyScore(Protocol):
    """One model of a study: its hyperparameters and its scores on the validation part."""

    @property
    def architecture(self) -> str: ...  # noqa: D102
    @property
    def learning_rate(self) -> float: ...  # noqa: D102
    @property
    def hidden_channels(self) -> int: ...  # noqa: D102
    @property
    def dropout(self) -> float: ...  # noqa: D102
    @property
    def seed(self) -> int: ...  # noqa: D102
    @property
    def validation_mae(self) -> float: ...  # noqa: D102
    @property
    def validation_rmse(self) -> float: ...  # noqa: D102
    @property
    def validation_r2(self) -> float: ...  # noqa: D102
