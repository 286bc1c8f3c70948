"""Named random streams: the same names always give the same numbers, in any process and any order."""

from __future__ import annotations

import hashlib

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
