"""What to train and what came out, as data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from phonograph.errors import DataError
from phonograph.options import check_seed
from phonograph.training.settings import TrainingSettings
from phonograph.types import Fitted, GraphModel, Split
from phonograph.types.arrays import set_field


@dataclass(frozen=True, kw_only=True)
class FitJob:
    """The arguments of one :func:`phonograph.training.fit`, as data.

    Attributes
    ----------
    heads
        Targets that the network learns at once; ``target`` is one of them.  Jobs that differ in nothing else are
        trained once.  Empty: ``target`` alone.
    checkpoint
        Where its state is kept; the state of a stack is beside the first of its networks.
    """

    name: str
    split: Split
    model: GraphModel
    target: str
    settings: TrainingSettings
    trained_on: str = ""
    unit: str = ""
    seed: int = 0
    heads: tuple[str, ...] = ()
    checkpoint: Path | None = None

    def __post_init__(self) -> None:
        set_field(self, "seed", check_seed(self.seed, f"the seed of {self.name or 'a fit'}"))
        if self.heads and (self.target not in self.heads or len(set(self.heads)) < max(2, len(self.heads))):
            raise DataError(
                f"{self.name}: heads must be at least two different targets, one of them {self.target!r}; "
                f"got {', '.join(self.heads)}"
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class TimedFit:
    """A trained network and the seconds its training took."""

    fitted: Fitted
    seconds: float
