"""Audit of splits: which samples of two parts are related, and the sentence that refuses them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np

from phonograph.errors import DataError
from phonograph.training.twins import TOLERANCE_A, Twins, find_antithetic, find_copies, find_frames
from phonograph.types import LEAKS, Configurations, GraphSet, Leak, LeakageAudit, Split

PARTS = ("train", "validation", "test")


def find_leaks(
    graphs: GraphSet,
    splits: Sequence[Split],
    sets: Sequence[Configurations] = (),
    *,
    tolerance_A: float = TOLERANCE_A,
) -> tuple[Leak, ...]:
    """Return all pairs of related samples in different parts of a split.

    Looked for are groups in two parts, identical structures, near duplicates (the same crystal up to rigid motion,
    order of atoms, cell, symmetry, supercell and moves of each atom by up to ``tolerance_A``), and, where ``sets`` are
    given, opposite displacements and neighbouring frames of trajectories.  Related samples in one part are no leak.

    Parameters
    ----------
    graphs
        Graphs of all samples.
    splits
        The splits to audit; a sample may be missing in a split.
    sets
        The configurations that the graphs were built from.
    tolerance_A
        Largest move of an atom between near duplicates, Å.

    Returns
    -------
    tuple of Leak
        Ordered by kind, seed and sample.
    """
    group_of = dict(zip(graphs.sample_ids, graphs.groups, strict=True))
    pairs = list(_related(graphs, sets, tolerance_A))
    found: list[Leak] = []
    for split in splits:
        part_of = {sample: part for part in PARTS for sample in getattr(split, part)}
        found += _shared_groups(split.seed, part_of, group_of)
        for kind, one, other, difference in pairs:
            parts = part_of.get(one), part_of.get(other)
            if parts[0] is not None and parts[1] is not None and parts[0] != parts[1]:
                found.append(_leak(kind, split.seed, one, other, part_of, group_of, difference))
    return tuple(sorted(found, key=lambda leak: (LEAKS.index(leak.kind), leak.seed, leak.sample, leak.other_sample)))


def check_leaks(leaks: Sequence[Leak], allow: Sequence[str] = (), where: str = "") -> LeakageAudit:
    """Return the audit where every leak is of a kind in ``allow``, else raise one sentence.

    Parameters
    ----------
    leaks
        What :func:`find_leaks` found.
    allow
        Kinds of :data:`~phonograph.types.LEAKS` that do not stop the run; they are told in ``warnings``.
    where
        File that holds the list, for the message.

    Raises
    ------
    DataError
        Counting the leaks of each kind and naming the first pair.
    """
    refused = [leak for leak in leaks if leak.kind not in allow]
    if refused:
        first = refused[0]
        kinds = sorted({leak.kind for leak in refused}, key=LEAKS.index)
        listed = f"; all are in {where}" if where else ""
        raise DataError(
            f"the split leaks: {_counts(refused)} between its parts, the first {first.sample} ({first.part}) and "
            f"{first.other_sample} ({first.other_part}){listed}; give related samples one group, leave copies out, or "
            f"state that you accept them with [training] allow = [{', '.join(f'{kind!r}' for kind in kinds)}]"
        )
    warnings: tuple[str, ...] = ()
    if leaks:
        warnings = (
            f"The split leaks, which [training] allow accepts: {_counts(leaks)} between its parts; errors on the test "
            "part are too small by an unknown amount.",
        )
    return LeakageAudit(leaks=tuple(leaks), warnings=warnings)


def _related(
    graphs: GraphSet, sets: Sequence[Configurations], tolerance_A: float
) -> Iterator[tuple[str, str, str, float]]:
    ids = graphs.sample_ids
    for kind, one, other, difference in find_copies(graphs, tolerance_A):
        yield kind, ids[one], ids[other], difference
    for item in sets:
        found: list[Twins] = [*find_antithetic(item), *find_frames(item)]
        names = item.ids
        for kind, one, other, difference in found:
            yield kind, names[one], names[other], difference


def _shared_groups(seed: int, part_of: Mapping[str, str], group_of: Mapping[str, str]) -> Iterator[Leak]:
    """Yield one leak for each two parts that a group is in, with its first sample of either."""
    first: dict[str, dict[str, str]] = {}
    for sample, part in part_of.items():
        if sample in group_of:
            first.setdefault(group_of[sample], {}).setdefault(part, sample)
    for by_part in first.values():
        for one, other in combinations(by_part.values(), 2):
            yield _leak("shared-groups", seed, one, other, part_of, group_of, float("nan"))


def _leak(
    kind: str,
    seed: int,
    one: str,
    other: str,
    part_of: Mapping[str, str],
    group_of: Mapping[str, str],
    difference_A: float,
) -> Leak:
    return Leak(
        kind=kind,
        seed=seed,
        sample=one,
        part=part_of[one],
        group=group_of.get(one, ""),
        other_sample=other,
        other_part=part_of[other],
        other_group=group_of.get(other, ""),
        difference_A=difference_A,
    )


def _counts(leaks: Sequence[Leak]) -> str:
    """Say how many pairs of each kind there are, splits of several seeds counted once."""
    kinds, counts = np.unique(
        [kind for kind, _, _ in {(leak.kind, leak.sample, leak.other_sample) for leak in leaks}], return_counts=True
    )
    order = sorted(range(len(kinds)), key=lambda place: LEAKS.index(str(kinds[place])))
    return ", ".join(f"{counts[place]} {str(kinds[place]).replace('-', ' ')}" for place in order)
