"""Nested training subsets of a split, and samples of a set whose amplitude is that of another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from phonograph.errors import DataError
from phonograph.streams import stream
from phonograph.types import Configurations, FloatArray, Split


def nested_subset(splits: Sequence[Split], size: int, *, validation: str = "inside") -> Split:
    """Return the split that a fit with ``size`` labels sees: a subset of every set, the test part as it is.

    The samples of each part are put in a random order that depends on the split's seed and on their names alone, and
    the first ones are taken: a larger subset holds every smaller one, and collections share the samples of a set.  A
    subset may cut a group; no group comes into two parts by that, because the split has none that does.

    Parameters
    ----------
    splits
        One per set of the collection, of one seed; each gives an equal share (the first ones one more).
    size
        Number of labels N.
    validation
        ``"inside"``: of N, a share |validation|/(|train| + |validation|) of the split, at least 2, validates;
        ``"outside"``: N train, and the validation part stays whole.

    Raises
    ------
    DataError
        When a set has too few samples; :func:`largest_size` says how many there are.
    """
    shares = [size // len(splits) + (1 if place < size % len(splits) else 0) for place in range(len(splits))]
    parts = [_subset(split, share, validation) for split, share in zip(splits, shares, strict=True)]
    return Split(
        train=tuple(sample for part in parts for sample in part.train),
        validation=tuple(sample for part in parts for sample in part.validation),
        test=tuple(sample for part in parts for sample in part.test),
        seed=splits[0].seed,
    )


def _subset(split: Split, size: int, validation: str) -> Split:
    n_validation = _validating(split, size) if validation == "inside" else len(split.validation)
    n_train = size - n_validation if validation == "inside" else size
    if n_train < 2 or n_validation < 1 or n_train > len(split.train) or n_validation > len(split.validation):
        raise DataError(
            f"a subset of {size} labels needs {n_train} to train and {n_validation} to validate; the split has "
            f"{len(split.train)} and {len(split.validation)}, so make more samples or ask for another size"
        )
    return Split(
        train=_ordered(split.train, split.seed, "train")[:n_train],
        validation=_ordered(split.validation, split.seed, "validation")[:n_validation],
        test=split.test,
        seed=split.seed,
    )


def _validating(split: Split, size: int) -> int:
    share = len(split.validation) / max(len(split.train) + len(split.validation), 1)
    return min(max(round(share * size), 2), len(split.validation))


def _ordered(samples: Sequence[str], seed: int, part: str) -> tuple[str, ...]:
    names = sorted(samples)
    order = stream(seed, "evaluation", "subset", part).permutation(len(names))
    return tuple(names[place] for place in order)


def can_fill(splits: Sequence[Split], size: int, *, validation: str = "inside") -> bool:
    """Return whether :func:`nested_subset` finds enough samples."""
    try:
        nested_subset(splits, size, validation=validation)
    except DataError:
        return False
    return True


def species_rms(configurations: Configurations) -> Mapping[int, FloatArray]:
    """Return atomic number → √⟨u²⟩ over atoms and axes of each configuration, Å; NaN where it has no such atom.

    u is the displacement without the mean displacement of the configuration: a rigid shift moves no bond.  NaN for
    configurations whose equilibrium positions are not known.
    """
    sizes = np.diff(configurations.offsets)
    owner = np.repeat(np.arange(len(configurations)), sizes)
    mean = np.stack([np.bincount(owner, axis) for axis in configurations.displacements_A.T], axis=1) / sizes[:, None]
    square = ((configurations.displacements_A - mean[owner]) ** 2).mean(axis=1)
    found = {}
    for number in np.unique(configurations.numbers).tolist():
        atoms = configurations.numbers == number
        count = np.bincount(owner[atoms], minlength=len(sizes)).astype(np.float64)
        total = np.bincount(owner[atoms], square[atoms], minlength=len(sizes))
        found[number] = np.sqrt(np.divide(total, count, out=np.full(len(sizes), np.nan), where=count > 0))
    return found


def within_amplitude(configurations: Configurations, reference: Configurations) -> tuple[str, ...]:
    """Return ids of the samples whose rms displacement of every species lies within that of ``reference``.

    Parameters
    ----------
    configurations
        What to choose from.
    reference
        Gives the range (smallest to largest over its samples) of each species.

    Raises
    ------
    DataError
        Where the equilibrium positions of either set are not known.
    """
    ranges, found = species_rms(reference), species_rms(configurations)
    for item in (reference, configurations):
        if not np.isfinite(item.displacements_A).all():
            raise DataError(
                f"the amplitudes of set {item.name!r} are not known, because its equilibrium positions are not; sample "
                "it here, or bring displacements"
            )
    inside = np.ones(len(configurations), dtype=bool)
    for number, rms in found.items():
        known = ranges.get(number)
        absent = np.isnan(rms)
        if known is None or np.isnan(known).all():
            inside &= absent
            continue
        # Rounding must not leave out a copy of the largest.
        low, high = float(np.nanmin(known)) * (1 - 1e-9), float(np.nanmax(known)) * (1 + 1e-9)
        inside &= absent | ((rms >= low) & (rms <= high))
    return tuple(sample for sample, chosen in zip(configurations.ids, inside, strict=True) if chosen)
