"""TOML tables ↔ frozen dataclasses: the dataclass is the only home of names, types, defaults and help."""

from __future__ import annotations

import difflib
import types as builtin_types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, TypeVar

from phonograph.errors import ConfigurationError

Settings = TypeVar("Settings")


def from_table(cls: type[Settings], table: Mapping[str, Any], where: str, **made: Any) -> Settings:
    """Build the dataclass ``cls`` from a TOML table.

    Parameters
    ----------
    cls
        A settings dataclass whose fields are str, int, float, bool, tuples of these or settings dataclasses.
    table
        What the TOML file holds under ``where``.
    where
        Name of the table, for error messages.
    **made
        Fields that are not plain and have been made already.

    Raises
    ------
    ConfigurationError
        Unknown key (with the nearest known name), wrong type, missing required key, or a value out of bounds.
    """
    known = {
        item.name: item
        for item in fields(typing.cast(Any, cls))
        if item.init and not item.metadata.get("python_only", False)
    }
    for key in table:
        refuse_unknown(key, known, where)
    hints = typing.get_type_hints(cls)
    values = {name: convert(table[name], hints[name], _join(where, name)) for name in known if name in table}
    for name, item in known.items():
        if name not in table and name not in made and item.default is MISSING and item.default_factory is MISSING:
            raise ConfigurationError(f"{_join(where, name)} is required: {item.metadata.get('help', '')}")
    try:
        return cls(**values, **made)
    except ConfigurationError as error:
        # The object names itself by class; the user knows it by its table.
        raise ConfigurationError(str(error).replace(f"{cls.__name__}.", f"{where}." if where else "", 1)) from error


def refuse_unknown(key: str, known: Mapping[str, Any] | typing.Iterable[str], where: str) -> None:
    """Raise unless ``key`` is in ``known``, suggesting the nearest name."""
    names = list(known)
    if key in names:
        return
    place = f"[{where}]" if where else "the configuration"
    raise ConfigurationError(f"unknown key {key!r} in {place}; {nearest(key, names)}")


def nearest(word: str, names: typing.Iterable[str], *, likeness: float = 0.5) -> str:
    """Return the question whether the nearest of ``names`` was meant; where none is like ``word``, all of them."""
    known = sorted(names)
    near = difflib.get_close_matches(word, known, n=1, cutoff=likeness)
    return f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known) or 'nothing'}"


def convert(value: Any, hint: Any, where: str) -> Any:
    """Convert a TOML value to the type ``hint``, or raise one sentence."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, builtin_types.UnionType):
        inner = [argument for argument in arguments if argument is not type(None)]
        return convert(value, inner[0], where)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise _wrong(where, "a list", value)
        return tuple(convert(item, arguments[0], f"{where}[{place}]") for place, item in enumerate(value))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise _wrong(where, "a table", value)
        return {str(key): convert(item, arguments[1], _join(where, key)) for key, item in value.items()}
    if is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise _wrong(where, "a table", value)
        return from_table(typing.cast(Any, hint), value, where)
    return _convert_scalar(value, hint, where)


def _convert_scalar(value: Any, hint: Any, where: str) -> Any:
    words = {float: "a number", int: "a whole number", bool: "true or false", str: "text"}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint not in words or not isinstance(value, hint) or (hint is not bool and isinstance(value, bool)):
        raise _wrong(where, words.get(hint, str(hint)), value)
    if hint is float and value != value:
        raise _wrong(where, "a number", value)
    return value


def _wrong(where: str, expected: str, value: Any) -> ConfigurationError:
    return ConfigurationError(f"{where} must be {expected}; got {value!r}")


def to_table(settings: Any) -> Any:
    """Return settings as plain values that TOML and JSON can hold; None and Python-only fields are left out."""
    if is_dataclass(settings) and not isinstance(settings, type):
        plain = {
            item.name: to_table(getattr(settings, item.name))
            for item in fields(settings)
            if not item.metadata.get("python_only", False) and getattr(settings, item.name) is not None
        }
        return plain
    if isinstance(settings, Mapping):
        return {str(key): to_table(value) for key, value in settings.items()}
    if isinstance(settings, (list, tuple)):
        return [to_table(value) for value in settings]
    return settings


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else str(name)
