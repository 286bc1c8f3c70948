"""Options that carry their own help, unit and bounds: the one home of default, type and documentation."""

from __future__ import annotations

from dataclasses import MISSING, Field, field, fields
from numbers import Integral
from typing import Any

from phonograph.errors import ConfigurationError

LARGEST_SEED = 2**64 - 1
"""Largest seed of a run or a network; what a bundle can hold."""


def option(
    default: Any = MISSING,
    help: str = "",
    *,
    choices: tuple[Any, ...] | None = None,
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
    seed: bool = False,
    decides: bool = True,
) -> Any:
    """Declare one documented option of a settings dataclass.

    Parameters
    ----------
    default
        Default value; leave out for a required option.
    help
        One sentence, shown in ``phonograph init``, in the docs and in error messages.
    choices, minimum, above, maximum
        What :func:`check_options` enforces when the object is made (``above`` is a strict lower bound).
    seed
        Whether the value is a seed, or several, which :func:`check_seed` enforces.
    decides
        Whether the value decides the numbers.  False (where files lie, how a program is started, how many
        steps it may take to the same answer) keeps it out of the name of a calculation, so that changing it computes
        nothing again.
    """
    bounds = {"choices": choices, "minimum": minimum, "above": above, "maximum": maximum}
    metadata = {"help": help, **bounds, "seed": seed, "decides": decides}
    if default is MISSING:
        return field(metadata=metadata)
    if isinstance(default, (list, dict, set)):
        raise TypeError("option defaults must be immutable")
    return field(default=default, metadata=metadata)


def check_options(settings: Any, where: str = "") -> None:
    """Check every option of a settings dataclass against its declared choices and bounds.

    Call it first in ``__post_init__``.  Tuples are checked element by element.

    Raises
    ------
    ConfigurationError
        One sentence naming the option, what was expected and what was got.
    """
    place = where or type(settings).__name__
    for item in fields(settings):
        value = getattr(settings, item.name)
        for element in value if isinstance(value, tuple) else (value,):
            _check_element(item, element, place)


def check_seed(seed: Any, where: str) -> int:
    """Return a seed as a plain integer.

    Raises
    ------
    ConfigurationError
        One sentence naming ``where``, when it is no whole number, or one that a bundle could not hold.
    """
    if isinstance(seed, bool) or not isinstance(seed, Integral) or not 0 <= int(seed) <= LARGEST_SEED:
        raise ConfigurationError(f"{where} must be at least 0 and below 2^64, and a whole number; got {seed!r}")
    return int(seed)


def check_different(settings: Any, where: str, *names: str) -> None:
    """Refuse options that list a value twice.

    Raises
    ------
    ConfigurationError
        One sentence naming the option and what is in it twice.
    """
    for name in names:
        values = getattr(settings, name)
        if len(set(values)) != len(values):
            raise ConfigurationError(f"{where}.{name} must differ from each other; got {list(values)}")


def without_effect(what: str, remedy: str) -> ConfigurationError:
    """Return the error for an option that changes nothing: somebody would read a result into it."""
    return ConfigurationError(f"{what} would have no effect; {remedy}")


def _check_element(item: Field[Any], element: Any, place: str) -> None:
    choices = item.metadata.get("choices")
    if choices is not None and element not in choices:
        allowed = ", ".join(repr(choice) for choice in choices)
        raise ConfigurationError(f"{place}.{item.name} must be one of {allowed}; got {element!r}")
    if item.metadata.get("seed"):
        check_seed(element, f"{place}.{item.name}")
        return
    if not isinstance(element, (int, float)) or isinstance(element, bool):
        return
    bounds = item.metadata
    minimum, above, maximum = bounds.get("minimum"), bounds.get("above"), bounds.get("maximum")
    words = ""
    # Written so that NaN, which compares false with everything, breaks every bound.
    if minimum is not None and not element >= minimum:
        words = f"at least {minimum:g}"
    elif above is not None and not element > above:
        words = f"greater than {above:g}"
    elif maximum is not None and not element <= maximum:
        words = f"at most {maximum:g}"
    if words:
        raise ConfigurationError(f"{place}.{item.name} must be {words}; got {element!r}")
