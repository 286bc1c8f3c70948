"""The four plug-in points, one method each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from phonograph.types.arrays import FloatArray
    from phonograph.types.configurations import Configurations
    from phonograph.types.crystals import Crystal, Phonons
    from phonograph.types.graphs import GraphSet
    from phonograph.types.networks import Fitted


class Sampler(Protocol):
    """Plug-in point 1: a law of displacements.  The object is its own configuration (a frozen dataclass)."""

    def sample(self, reference: Phonons | Crystal, n: int, seed: int) -> Configurations:
        """Return ``n`` configurations; sample i depends on (seed, i) only, never on n or on other samples."""
        ...


@dataclass(frozen=True, kw_only=True)
class LabelResult:
    """What one labeller found for one crystal: values and arrays by property name, or a failure class and message.

    Attributes
    ----------
    values
        Numbers, one per name in the labeller's ``provides``.
    arrays
        Arrays, one per name in the labeller's ``provides_arrays`` (forces, charges, eigenvalues, …).
    failure, message
        Failure class and what happened; of a success, what was changed to get it (empty: nothing).
    seconds
        Wall time, s.
    """

    values: Mapping[str, float]
    arrays: Mapping[str, FloatArray] = field(default_factory=dict)
    failure: str = ""
    message: str = ""
    seconds: float = 0.0


class Labeller(Protocol):
    """Plug-in point 2: an electronic-structure engine.  The object is its own configuration.

    It is a frozen dataclass of plain fields at the top level of an importable module: as data it names a calculation
    in the store and is sent to worker processes and cluster nodes.  More attributes are used where it has them:

    ``provides_arrays``
        Names of arrays it returns besides the numbers, in :data:`ARRAY_UNITS`; none by default.
    ``cores``, ``memory_GB``
        What one label needs; 1 core and 0.5 GB by default.
    ``prepare()``
        Called once per worker, before the clock of the first label starts.
    ``remedy(attempt, failure)``
        ``(what was changed, changed labeller)`` for attempt 2, 3, … after ``failure``, or None to give up.  A remedy
        may change the way to the answer (mixing, guess, number of iterations), never the answer.
    ``tightened()``
        ``(what is tighter, labeller)`` for the label-noise floor, or None.
    ``identity()``
        Plain values besides the fields and ``engine`` that decide the numbers (hash of a pseudopotential file, …).
    ``check_elements(elements)``
        Raises :class:`ConfigurationError` where no structure of these elements can be labelled.  Said of all
        structures it ends the call before anything is computed; said of some it is nothing yet.
    """

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
