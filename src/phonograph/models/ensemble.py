"""Which of several trained networks are different ones."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import is_dataclass

import numpy as np

from phonograph.models.spec import describe
from phonograph.types import Fitted


def distinct(fits: Sequence[Fitted], names: Sequence[str] = ()) -> tuple[tuple[Fitted, ...], tuple[str, ...]]:
    """Return each network once, and a sentence where some were given several times.

    A copy would count twice in the mean, and the standard deviation of copies says that they agree.

    Parameters
    ----------
    fits
        Networks, of one target or of several.
    names
        What the user calls them, for the sentence; their own names where not given.
    """
    called = names or [fitted.name for fitted in fits]
    first: dict[str, int] = {}
    copies = [
        (place, original)
        for place, fitted in enumerate(fits)
        if (original := first.setdefault(_identity(fitted), place)) != place
    ]
    kept = tuple(fits[place] for place in first.values())
    if not copies:
        return kept, ()
    place, original = copies[0]
    which = "is given twice" if called[place] == called[original] else f"is the same network as {called[original]}"
    return kept, (
        f"{len(copies)} of {len(fits)} networks are copies of others, which count once: {called[place]} {which}"
        f"{', and more' if len(copies) > 1 else ''}.",
    )


def _identity(fitted: Fitted) -> str:
    """Return the SHA-256 of all that decides what is predicted; names and histories do not."""
    model = repr(fitted.model) if is_dataclass(fitted.model) else describe(fitted.model)
    plain = (model, fitted.target, fitted.unit, fitted.heads, fitted.graph, fitted.inputs, fitted.scaling)
    digest = hashlib.sha256(repr(plain).encode(errors="surrogatepass"))
    for name, value in sorted(fitted.weights.items()):
        digest.update(f"{name} {value.dtype} {value.shape}".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()
