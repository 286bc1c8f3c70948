"""The three modes of a run: what each sets, and exactly how they differ.

A mode gives other defaults to some options of ``[graphs]``, ``[training.model]``, ``[training.settings]`` and
``[evaluation]``; what a user writes there wins.  It does nothing else, so a run is told apart by its options alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from phonograph.errors import ConfigurationError
from phonograph.models import ARCHITECTURES, GraphConvNet
from phonograph.tables import to_table
from phonograph.training import TrainingSettings, paper_code_settings, paper_settings
from phonograph.types import GraphSpec

MODES = ("default", "paper", "paper-code")
"""``default``: what is right; ``paper``: the published method; ``paper-code``: also what the public scripts do."""

PUBLISHED_ARCHITECTURE = 5
"""The one the authors fine-tune, explain and predict with; in ``paper-code`` as wide as there, with their dropout."""

_MODELS = {
    "default": GraphConvNet(),
    "paper": ARCHITECTURES[PUBLISHED_ARCHITECTURE],
    "paper-code": replace(ARCHITECTURES[PUBLISHED_ARCHITECTURE], hidden_channels=128, dropout=0.4),
}
_SETTINGS = {"default": TrainingSettings(), "paper": paper_settings(), "paper-code": paper_code_settings()}


def mode_options(mode: str) -> dict[str, Any]:
    """Return the value of every option that a mode may set, by its full name such as ``training.settings.epochs``.

    Raises
    ------
    ConfigurationError
        For an unknown mode.
    """
    if mode not in MODES:
        raise ConfigurationError(f"training.mode must be one of {', '.join(map(repr, MODES))}; got {mode!r}")
    tables = {
        "graphs": to_table(GraphSpec(convention="paper-code" if mode == "paper-code" else "all-images")),
        "training.model": to_table(_MODELS[mode]),
        "training.settings": to_table(_SETTINGS[mode]),
        "evaluation": {"paper_filter": mode == "paper-code"},
    }
    return {f"{where}.{key}": value for where, table in tables.items() for key, value in table.items()}


def mode_differences() -> dict[str, tuple[Any, ...]]:
    """Return option → its value in each of :data:`MODES`, for the options in which any two modes differ."""
    options = [mode_options(mode) for mode in MODES]
    values = {name: tuple(of_mode[name] for of_mode in options) for name in options[0]}
    return {name: found for name, found in values.items() if len(set(map(repr, found))) > 1}


def with_mode(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration table with the choices of its mode filled in where the user made none.

    Parameters
    ----------
    table
        The whole table, as parsed from TOML.
    """
    filled: dict[str, Any] = dict(table)
    training = table.get("training", {})
    mode = training.get("mode", "default") if isinstance(training, Mapping) else "default"
    if mode not in MODES or mode == "default":
        return filled  # an unknown one is told when the options are checked
    place = MODES.index(mode)
    for name, values in mode_differences().items():
        *tables, key = name.split(".")
        inner = filled
        for step in tables:
            inner[step] = dict(_table(inner, step))
            inner = inner[step]
        inner.setdefault(key, values[place])
    return filled


def _table(table: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = table.get(name, {})
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{name} must be a table; got {value!r}")
    return value
