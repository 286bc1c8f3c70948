"""Train, validation and test parts whose groups never straddle."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from phonograph.errors import ConfigurationError, DataError
from phonograph.streams import stream
from phonograph.types import Split


def make_split(
    sample_ids: Sequence[str],
    groups: Sequence[str],
    fractions: Sequence[float] = (0.70, 0.15, 0.15),
    seed: int = 0,
) -> Split:
    """Split samples into train, validation and test; the samples of one group stay together.

    Groups are put in a random order that depends on ``seed`` and on the names of the groups, not on the order of the
    samples; then the first ``fractions[0]`` of all samples train, the next ``fractions[1]`` validate and the rest test,
    to the nearest whole group.  Each part gets at least one group.

    Parameters
    ----------
    sample_ids
        Names of the samples, all different.
    groups
        Group of each sample (± pairs, blocks of one trajectory, copies of one parent).
    fractions
        Train, validation and test share, each positive, adding up to 1.
    seed
        Seed of the split.

    Raises
    ------
    ConfigurationError
        When the fractions are not three positive numbers that add up to 1.
    DataError
        When ids repeat, or when there are fewer than three groups or four samples.
    """
    shares = np.asarray(fractions, dtype=float)
    if shares.shape != (3,) or not (shares > 0).all() or not abs(shares.sum() - 1) <= 1e-6:
        raise ConfigurationError(f"split fractions must be three positive numbers that add up to 1; got {fractions}")
    if len(groups) != len(sample_ids) or len(set(sample_ids)) != len(sample_ids):
        raise DataError(f"a split needs different sample ids and one group each; got {len(sample_ids)}, {len(groups)}")
    names, owner, counts = np.unique(np.asarray(groups, dtype=np.str_), return_inverse=True, return_counts=True)
    if len(names) < 3 or len(sample_ids) < 4:
        raise DataError(
            f"a split into train, validation and test needs at least 4 samples in 3 groups; got {len(sample_ids)} "
            f"samples in {len(names)} groups, so make more samples"
        )
    order = stream(seed, "training", "split").permutation(len(names))
    middle = np.cumsum(counts[order]) - 0.5 * counts[order]
    bounds = np.searchsorted(middle, np.cumsum(shares)[:2] * len(sample_ids))
    first = int(np.clip(bounds[0], 1, len(names) - 2))
    second = int(np.clip(bounds[1], first + 1, len(names) - 1))
    part_of_group = np.empty(len(names), dtype=np.int64)
    part_of_group[order] = np.repeat([0, 1, 2], [first, second - first, len(names) - second])
    part = part_of_group[owner]
    train, validation, test = (
        tuple(sample for sample, its in zip(sample_ids, part, strict=True) if its == which) for which in range(3)
    )
    return Split(train=train, validation=validation, test=test, seed=seed)


def combine_splits(splits: Sequence[Split]) -> Split:
    """Return the split whose parts are the unions of the parts of ``splits``.

    Split each set once and combine the splits: then a model trained on all sets never saw a test sample of any of
    them, and a model trained on one set is tested fairly on the others.

    Raises
    ------
    DataError
        When there is no split, the seeds differ, or a sample is in two of them.
    """
    if not splits:
        raise DataError("there is no split to combine; pass at least one")
    seeds = sorted({split.seed for split in splits})
    if len(seeds) > 1:
        raise DataError(f"splits of different seeds cannot be combined; got seeds {', '.join(map(str, seeds))}")
    return Split(
        train=tuple(sample for split in splits for sample in split.train),
        validation=tuple(sample for split in splits for sample in split.validation),
        test=tuple(sample for split in splits for sample in split.test),
        seed=seeds[0],
    )
