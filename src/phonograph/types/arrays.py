"""Arrays that cannot be changed, and the limits every reader enforces."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phonograph.errors import DataError

FloatArray = NDArray[np.float64]


BoolArray = NDArray[np.bool_]


IntArray = NDArray[np.int64]


Progress = Callable[[str, int, int], None]
"""Called as ``progress(what, done, total)``."""


MAX_ATOMS = 100_000
"""Largest structure accepted anywhere; a file that claims more is refused before it is read."""


MIN_DISTANCE_A = 0.1
"""Two atoms closer than this are taken for the same atom written twice."""


def read_only(
    name: str, value: ArrayLike, shape: Sequence[int | None], dtype: type = np.float64, *, finite: bool = True
) -> NDArray[Any]:
    """Return ``value`` as a read-only array of ``dtype`` and check its shape and finiteness.

    It is copied unless nobody can write to it any more.  ``None`` in ``shape`` matches any length.  Raises
    :class:`DataError` naming the field, what was expected and what was got.
    """
    try:
        array: NDArray[Any] = np.array(value, dtype=dtype, order="C", copy=None if _is_frozen(value, dtype) else True)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{name} must be an array of {np.dtype(dtype).name}; got {type(value).__name__} ({error})"
        ) from error
    expected = tuple(shape)
    if array.ndim != len(expected) or any(e is not None and e != g for e, g in zip(expected, array.shape, strict=True)):
        words = "(" + ", ".join("n" if e is None else str(e) for e in expected) + ")"
        raise DataError(f"{name} must have shape {words}; got {array.shape}")
    if finite and array.dtype.kind == "f" and not _all_finite(array):
        raise DataError(f"{name} must be finite; got {int((~np.isfinite(array)).sum())} NaN or infinite values")
    array.flags.writeable = False
    return array


def _all_finite(array: NDArray[Any]) -> bool:
    """Return whether no value is NaN or infinite: the sum would be too, so one pass without a mask mostly tells."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(array.sum()) or np.isfinite(array).all())


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """Make an array read-only that its maker hands over, with every array it is a view of; returns it."""
    owner: Any = array
    while isinstance(owner, np.ndarray):
        owner.flags.writeable = False
        owner = owner.base
    return array


def _is_frozen(value: Any, dtype: type) -> bool:
    """Return whether ``value`` is already what is wanted, and neither it nor what it is a view of can be written."""
    if type(value) is not np.ndarray or value.dtype != dtype or not value.flags.c_contiguous:
        return False
    owner: Any = value
    while isinstance(owner, np.ndarray):
        if owner.flags.writeable:
            return False
        owner = owner.base
    return owner is None


def array_hash(*arrays: NDArray[Any]) -> str:
    """Return the SHA-256 of the content of arrays, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def set_field(value: Any, name: str, content: Any) -> None:
    """Set a field of a frozen value while it is being made."""
    object.__setattr__(value, name, content)
