"""Audit of splits: which samples of two parts are related, and the sentence that refuses them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, product

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
    """Return pairs of related samples in different parts of a split.

    Looked for are groups in two parts, identical structures, near duplicates (the same crystal up to rigid motion,
    order of atoms, cell, symmetry, supercell and moves of each atom by up to ``tolerance_A``), and, where ``sets`` are
    given, opposite displacements and neighbouring frames of trajectories.  Related samples in one part are no leak.
    Of a group, or of copies with equal hashes, the first sample in each part stands for the others there; only samples
    of the split count.

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
    related = list(_related(graphs, sets, tolerance_A))
    found: list[Leak] = []
    for split in splits:
        part_of = {sample: part for part in PARTS for sample in getattr(split, part)}
        for kind, ones, others, difference in related:
            for one, other in _apart(ones, others, part_of):
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
) -> Iterator[tuple[str, Sequence[str], Sequence[str], float]]:
    """Yield how samples are related, all that are on one side, all on the other (the same within a class), and Å."""
    ids = graphs.sample_ids
    groups: dict[str, list[str]] = {}
    for sample, group in zip(ids, graphs.groups, strict=True):
        groups.setdefault(group, []).append(sample)
    for members in groups.values():
        yield "shared-groups", members, members, float("nan")
    copies = find_copies(graphs, tolerance_A)
    equal = {places[0]: [ids[place] for place in places] for places in copies.equal}
    for members in equal.values():
        yield "identical-structures", members, members, 0.0
    for kind, first, second, difference in copies.alike:
        yield kind, equal[first], equal[second], difference
    for item in sets:
        found: list[Twins] = [*find_antithetic(item), *find_frames(item)]
        names = item.ids
        for kind, first, second, difference in found:
            yield kind, names[first : first + 1], names[second : second + 1], difference


def _apart(ones: Sequence[str], others: Sequence[str], part_of: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield a sample of either side for each two parts that they are in, the first of its side there."""
    if ones is others:
        yield from combinations(_firsts(ones, part_of).values(), 2)
        return
    left, right = _firsts(ones, part_of), _firsts(others, part_of)
    yield from ((left[one], right[other]) for one, other in product(left, right) if one != other)


def _firsts(samples: Sequence[str], part_of: Mapping[str, str]) -> dict[str, str]:
    """Return part → the first of the samples in it."""
    found: dict[str, str] = {}
    for sample in samples:
        if sample in part_of:
            found.setdefault(part_of[sample], sample)
    return found


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
