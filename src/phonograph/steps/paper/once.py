"""What several items share is obtained once in a command, also where it cannot be had."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

from phonograph.errors import UserError

Owner = TypeVar("Owner")
Value = TypeVar("Value")


class once(Generic[Owner, Value]):
    """As :func:`functools.cached_property`, but a :class:`UserError` is kept as well, and raised again.

    Where networks that failed are trained again, every item that needs them would train them once more.
    """

    def __init__(self, make: Callable[[Owner], Value]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    def __set_name__(self, owner: type[Owner], name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type[Owner]) -> once[Owner, Value]: ...

    @overload
    def __get__(self, instance: Owner, owner: type[Owner]) -> Value: ...

    def __get__(self, instance: Owner | None, owner: type[Owner]) -> once[Owner, Value] | Value:
        """Return the value, made at the first call; after it the instance holds it under this name."""
        if instance is None:
            return self
        kept: dict[str, Any] = vars(instance)
        place = f"{self._name} (why not)"
        if place in kept:
            raise kept[place]
        try:
            kept[self._name] = value = self._make(instance)
        except UserError as error:
            kept[place] = error
            raise
        return value
