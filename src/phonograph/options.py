"""Options that carry their own help, unit and bounds: the one home of default, type and documentation."""

from __future__ import annotations

from dataclasses import MISSING, Field, field, fields
from typing import Any

from phonograph.errors import ConfigurationError


def option(
    default: Any = MISSING,
    help: str = "",
    *,
    choices: tuple[Any, ...] | None = None,
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
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
    decides
        Whether the value decides the numbers.  False (where files lie, how a program is started, how many
        steps it may take to the same answer) keeps it out of the name of a calculation, so that changing it computes
        nothing again.
    """
    bounds = {"choices": choices, "minimum": minimum, "above": above, "maximum": maximum}
    metadata = {"help": help, **bounds, "decides": decides}
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


def _check_element(item: Field[Any], element: Any, place: str) -> None:
    choices = item.metadata.get("choices")
    if choices is not None and element not in choices:
        allowed = ", ".join(repr(choice) for choice in choices)
        raise ConfigurationError(f"{place}.{item.name} must be one of {allowed}; got {element!r}")
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
