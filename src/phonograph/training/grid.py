"""Points of a study: axes of model and training, and the model and settings that belong to each point."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from phonograph.errors import ConfigurationError
from phonograph.models.spec import ARCHITECTURES, GraphConvNet
from phonograph.options import without_effect
from phonograph.training.settings import GAP_TARGET, TrainingSettings

ARCHITECTURE = "architecture"
MODEL_AXES = tuple(item.name for item in fields(GraphConvNet))
SETTINGS_AXES = tuple(item.name for item in fields(TrainingSettings) if item.name not in ("checkpoint_s", "epochs"))
AXES = (ARCHITECTURE, *MODEL_AXES, *SETTINGS_AXES)
"""What a study can vary; ``architecture`` is a number of :data:`phonograph.models.ARCHITECTURES`, that is convolutions,
pooling and output together."""

PAPER_AXES: Mapping[str, tuple[Any, ...]] = {
    ARCHITECTURE: tuple(ARCHITECTURES),
    "learning_rate": (1e-2, 1e-3, 1e-4, 1e-5, 1e-6),
    "hidden_channels": (32, 64, 128, 256),
    "dropout": (0.0, 0.2, 0.4, 0.6),
}
"""The published grid of 480 points."""


NEEDS: Mapping[str, tuple[str, Any]] = {"radial_functions": ("edge_law", "radial"), "patience": ("keep", "best")}
"""Option → another one and the value without which the first has no effect."""


@dataclass(frozen=True, kw_only=True)
class GridPoint:
    """One point: value of each axis, and what they make of the configured model and settings."""

    values: Mapping[str, Any]
    model: GraphConvNet
    settings: TrainingSettings

    @property
    def texts(self) -> tuple[str, ...]:
        """The values as text."""
        return tuple(text_of(value) for value in self.values.values())


def text_of(value: Any) -> str:
    """Return a value of an axis as it is shown."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)


def check_axes(axes: Mapping[str, Sequence[Any]], where: str = "study.axes") -> None:
    """Refuse axes that are none.

    Raises
    ------
    ConfigurationError
        No axis, an unknown one, one without values or with a value twice, or a value that cannot be.
    """
    if not axes:
        raise ConfigurationError(f"{where} is empty; name at least one axis, such as learning_rate = [1e-3, 1e-4]")
    for name, values in axes.items():
        check_axis_name(name, where)
        if not isinstance(values, (list, tuple)) or not values:
            raise ConfigurationError(f"{where}.{name} must be a list of at least one value; got {values!r}")
        if len({text_of(value) for value in values}) != len(values):
            raise ConfigurationError(f"{where}.{name} must name each value once; got {list(values)}")
        for value in values:
            try:
                made(GraphConvNet(), TrainingSettings(), {name: value})
            except (ConfigurationError, TypeError) as error:
                raise ConfigurationError(f"{where}.{name} cannot be {value!r}: {error}") from error
    overlap = {"convolutions", "pooling"} & axes.keys() if ARCHITECTURE in axes else set()
    if overlap:
        raise ConfigurationError(f"{where}: architecture sets {sorted(overlap)[0]} too; leave one of the two out")


def check_effects(
    axes: Mapping[str, Sequence[Any]],
    ranges: Mapping[str, Sequence[float]],
    settings: TrainingSettings,
    targets: Sequence[str],
) -> None:
    """Refuse axes that change no network: each would be trained again and again, and the winner praised for it.

    Parameters
    ----------
    axes, ranges
        What a study varies.
    settings
        What it varies them from.
    targets
        What its networks learn.

    Raises
    ------
    ConfigurationError
        Naming the axis, and what it needs to have an effect.
    """
    for name in (*axes, *ranges):
        where = f"study.axes.{name}" if name in axes else f"study.search.ranges.{name}"
        option, needed = NEEDS.get(name, (name, None))
        if needed is not None and needed not in axes.get(option, (getattr(settings, option),)):
            raise without_effect(
                f"{where} without {option} = {needed!r}",
                f"set training.settings.{option} = {needed!r}, name it in study.axes.{option}, or leave {name} out",
            )
        if name == "smallest_gap_eV" and GAP_TARGET not in targets:
            raise without_effect(f"{where} without the target {GAP_TARGET}", f"study that target, or leave {name} out")


def check_axis_name(name: str, where: str) -> None:
    """Refuse an unknown axis, suggesting the nearest; raises :class:`ConfigurationError`."""
    if name in AXES:
        return
    near = difflib.get_close_matches(name, AXES, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"axes are {', '.join(AXES)}"
    if name == "epochs":
        hint = "set training.settings.epochs; successive halving varies them by itself"
    raise ConfigurationError(f"unknown axis {name!r} in [{where}]; {hint}")


def made(
    model: GraphConvNet, settings: TrainingSettings, values: Mapping[str, Any]
) -> tuple[GraphConvNet, TrainingSettings]:
    """Return model and settings with the values of one point; an explicit output overrides the architecture's.

    Raises
    ------
    ConfigurationError
        A value that cannot be.
    """
    changes: dict[str, Any] = {}
    if ARCHITECTURE in values:
        number = values[ARCHITECTURE]
        if number not in ARCHITECTURES or isinstance(number, bool):
            raise ConfigurationError(f"architectures are {', '.join(map(str, ARCHITECTURES))}; got {number!r}")
        found = ARCHITECTURES[number]
        changes = {"convolutions": found.convolutions, "pooling": found.pooling, "output": found.output}
    changes |= {name: _typed(GraphConvNet, name, value) for name, value in values.items() if name in MODEL_AXES}
    chosen = {name: _typed(TrainingSettings, name, v) for name, v in values.items() if name in SETTINGS_AXES}
    return replace(model, **changes), replace(settings, **chosen)


def _typed(cls: type[Any], name: str, value: Any) -> Any:
    default = getattr(cls(), name)
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not type(default):
        words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
        raise ConfigurationError(f"it must be {words[type(default)]}")
    return value


def grid(axes: Mapping[str, Sequence[Any]], model: GraphConvNet, settings: TrainingSettings) -> tuple[GridPoint, ...]:
    """Return every combination of the axes, the last axis fastest.

    Raises
    ------
    ConfigurationError
        What :func:`check_axes` raises.
    """
    check_axes(axes)
    return tuple(point(dict(zip(axes, values, strict=True)), model, settings) for values in _product(axes))


def point(values: Mapping[str, Any], model: GraphConvNet, settings: TrainingSettings) -> GridPoint:
    """Return one point."""
    own_model, own_settings = made(model, settings, values)
    return GridPoint(values=values, model=own_model, settings=own_settings)


def _product(axes: Mapping[str, Sequence[Any]]) -> itertools.product[tuple[Any, ...]]:
    return itertools.product(*axes.values())
