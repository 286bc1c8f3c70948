"""Nested selection: the outer test part is set aside, and what is left is split again for every seed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from phonograph.errors import DataError
from phonograph.streams import stream
from phonograph.types import Split


def inner_split(outer: Split, groups: Mapping[str, str], strata: Mapping[str, str], share: float, seed: int) -> Split:
    """Split the training and validation part of ``outer`` anew; its test part is in neither and is left out.

    Within each stratum (a set of configurations) groups are put in a random order that depends on ``seed`` and on
    their names; the first validate until ``share`` of the stratum's samples is reached, to the nearest whole group,
    at least one group and never all.

    Parameters
    ----------
    outer
        The outer split.
    groups, strata
        Sample → group (kept together) and stratum.
    share
        Share of the samples that validates, between 0 and 1.
    seed
        Seed of the order.

    Raises
    ------
    DataError
        A stratum with fewer than two groups.
    """
    samples = (*outer.train, *outer.validation)
    validating: set[str] = set()
    for stratum in dict.fromkeys(strata[sample] for sample in samples):
        own = [sample for sample in samples if strata[sample] == stratum]
        names, counts = np.unique(np.array([groups[sample] for sample in own], dtype=np.str_), return_counts=True)
        if len(names) < 2:
            raise DataError(
                f"set {stratum!r} has {len(names)} group besides its test part; a study needs at least 2, so make more "
                "samples"
            )
        order = stream(seed, "training", "inner split", stratum).permutation(len(names))
        middle = np.cumsum(counts[order]) - 0.5 * counts[order]
        taken = int(np.clip(np.searchsorted(middle, share * len(own)), 1, len(names) - 1))
        chosen = {str(name) for name in names[order[:taken]]}
        validating |= {sample for sample in own if groups[sample] in chosen}
    return Split(
        train=tuple(sample for sample in samples if sample not in validating),
        validation=tuple(sample for sample in samples if sample in validating),
        test=(),
        seed=seed,
    )
