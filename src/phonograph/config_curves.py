"""``[learning_curve]`` of the configuration: its names must be those of sets and collections."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from phonograph.errors import ConfigurationError
from phonograph.evaluation.settings import LearningCurveSettings


def check_learning_curve(
    settings: LearningCurveSettings, sets: Sequence[str], collections: Mapping[str, Sequence[str]]
) -> None:
    """Refuse names that refer to nothing, before anything is computed.

    Raises
    ------
    ConfigurationError
        Naming the option, what was given and what there is.
    """
    matched = [f"{name}-at-{settings.amplitude}" for name in sets if settings.amplitude and name != settings.amplitude]
    several = [name for name, members in collections.items() if len(members) > 1]
    _known("collections", settings.collections, collections)
    _known("tests", settings.tests, (*sets, *matched, *several))
    _known("amplitude", filter(None, [settings.amplitude]), sets)
    trained = settings.collections or tuple(collections)
    _known("reference", filter(None, [settings.reference]), (*trained, *matched))
    for name in matched:
        if name in sets or name in collections:
            raise ConfigurationError(
                f"learning_curve.amplitude would make samples called {name!r}, which is a set or collection; rename it"
            )


def _known(option: str, names: Iterable[str], there: Iterable[str]) -> None:
    possible = list(there)
    for name in names:
        if name not in possible:
            raise ConfigurationError(
                f"learning_curve.{option} names {name!r}; there are {', '.join(possible) or 'none'}"
            )
