"""Named random streams: the same names always give the same numbers, in any process and any order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

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
    return int.from_bytes(_digest(seed, names, 16), "little")


def _digest(seed: int, names: tuple[str | int, ...], size: int) -> bytes:
    text = "\x1f".join([str(int(seed)), *(f"{type(name).__name__}:{name}" for name in names)])
    return hashlib.blake2b(text.encode(), digest_size=size).digest()


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """Return the generator named by ``names`` under ``seed`` (counter-based Philox, cheap to make)."""
    return np.random.Generator(np.random.Philox(key=derive_seed(seed, *names)))


def each_block(seed: int, name: str, blocks: Iterable[int]) -> Iterator[np.random.Generator]:
    """Yield the generator named (seed, name, "block", b) for every b: SFC64, for draws of many numbers at once.

    SFC64 is the fastest generator of NumPy.  Its three words of state are a BLAKE2b digest of the names and its
    counter starts at 1; the first twelve numbers are thrown away, as in the generator's own seeding.  One generator
    is repositioned in turn, so draw from it before asking for the next.
    Source: Doty-Humphrey, PractRand (2010), generator ``sfc64``.
    """
    bits = np.random.SFC64(0)
    generator = np.random.Generator(bits)
    start: Any = bits.state
    digests = b"".join([_digest(seed, (name, "block", int(block)), 24) for block in blocks])
    start["state"]["state"][3] = 1
    for words in np.frombuffer(digests, dtype="<u8").reshape(-1, 3):
        start["state"]["state"][:3] = words
        bits.state = start
        bits.random_raw(12, output=False)
        yield generator
