"""Leakage: nothing a model was fitted on may count as its test.

Three nets of different mesh: sample ids and groups (± pairs, blocks, copies of one parent) are exact and fail the
run; equal structures under different ids are found by a fingerprint of their graphs and are told as a warning.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from phonograph.errors import DataError
from phonograph.evaluation.references import FittedReference
from phonograph.types import Fitted, GraphSet, Split

RESOLUTION_A = 1e-4
"""Distances that differ by less than about this are the same for :func:`fingerprints`."""


def seen_in_fitting(split: Split, part: str) -> frozenset[str]:
    """Return the ids that must not be in ``part``: train and validation for a test, train for a validation."""
    if part == "test":
        return frozenset((*split.train, *split.validation))
    return frozenset(split.train if part == "validation" else ())


def refuse_leaks(
    fitted: Fitted | FittedReference, sample_ids: Sequence[str], part: str, tested_on: str, groups: Mapping[str, str]
) -> None:
    """Raise :class:`DataError` where a sample, or another one of its group, was used to fit the model.

    Parameters
    ----------
    fitted
        The model under test; its ``split`` says what it saw.
    sample_ids, part, tested_on
        The samples to be tested, which part they are, and of which collection.
    groups
        Sample id → group, of every sample at hand.
    """
    seen = seen_in_fitting(fitted.split, part)
    leaked = [sample for sample in sample_ids if sample in seen]
    place = f"{part} part of {tested_on!r}"
    if leaked:
        raise DataError(
            f"{len(leaked)} samples of the {place} were used to fit {fitted.name} (first: {leaked[0]!r}); "
            "use the split the model was trained with, or leave these samples out"
        )
    seen_groups = {groups[sample] for sample in seen if sample in groups}
    shared = [sample for sample in sample_ids if groups.get(sample) in seen_groups]
    if shared:
        raise DataError(
            f"{len(shared)} samples of the {place} share a group with samples that {fitted.name} was fitted on "
            f"(first: {shared[0]!r}, group {groups[shared[0]]!r}); keep each group in one part of the split"
        )


def count_duplicates(
    fitted: Fitted | FittedReference, sample_ids: Iterable[str], part: str, fingerprint_of: Mapping[str, str]
) -> int:
    """Return how many of ``sample_ids`` have the structure of a sample the model was fitted on, by fingerprint."""
    seen = {fingerprint_of[s] for s in seen_in_fitting(fitted.split, part) if s in fingerprint_of}
    return sum(fingerprint_of.get(sample) in seen for sample in sample_ids)


def fingerprints(graphs: GraphSet) -> dict[str, str]:
    """Return sample id → digest of the graph's distances by species pair.

    The digest does not depend on the order of the atoms, on the choice of images or on a rigid motion.  It misses
    copies that were moved by more than ``RESOLUTION_A``, and a distance next to a rounding step may hide a copy.
    """
    return {sample: _fingerprint(graphs, place) for place, sample in enumerate(graphs.sample_ids)}


def _fingerprint(graphs: GraphSet, place: int) -> str:
    nodes = slice(int(graphs.node_offsets[place]), int(graphs.node_offsets[place + 1]))
    edges = slice(int(graphs.edge_offsets[place]), int(graphs.edge_offsets[place + 1]))
    numbers = graphs.numbers[nodes]
    pair = numbers[graphs.source[edges]] * 1000 + numbers[graphs.target[edges]]
    distance = np.rint(graphs.distance_A[edges] / RESOLUTION_A).astype(np.int64)
    order = np.lexsort((distance, pair))
    digest = hashlib.blake2b(digest_size=16)
    for array in (np.sort(numbers), pair[order], distance[order]):
        digest.update(np.ascontiguousarray(array, dtype=np.int64).tobytes())
    return digest.hexdigest()
