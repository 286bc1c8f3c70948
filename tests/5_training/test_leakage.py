"""Planted leaks are found, each kind by name; independent samples are not taken for copies."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from phonograph.errors import DataError
from phonograph.graphs import build_graphs
from phonograph.streams import stream
from phonograph.testing import cubic_antiperovskite, displaced
from phonograph.training import check_leaks, find_leaks, make_split
from phonograph.training.twins import TOLERANCE_A, Twins, find_antithetic, find_copies, find_frames
from phonograph.types import LEAKS, Configurations, Crystal, GraphSpec, Split

SPEC = GraphSpec(cutoff_A=5.5)


def supercell(crystal, n):
    shifts = np.array([[i, j, k] for i in range(n) for j in range(n) for k in range(n)]) @ crystal.cell_A
    return Crystal(
        cell_A=n * crystal.cell_A,
        positions_A=(crystal.positions_A[None] + shifts[:, None]).reshape(-1, 3),
        numbers=np.tile(crystal.numbers, n**3),
    )


def crystals_of(n, size=2, rms_A=0.08, seed=1):
    made = displaced(supercell(cubic_antiperovskite(4.9), size), n, rms_A, seed=seed)
    return [made.crystal(i) for i in range(n)]


def a_set(crystals, name="toy", groups=None, **changes):
    made = Configurations.of_crystals(name, crystals, groups or [f"{name}-{i}" for i in range(len(crystals))])
    return replace(made, **changes)


def rotation(seed):
    q, r = np.linalg.qr(stream(seed, "rotation").normal(size=(3, 3)))
    return q * np.sign(np.diag(r))


def same_crystal(crystal, way, seed=3):
    """Return the same crystal, written in another way."""
    random = stream(seed, way)
    cell, positions, numbers = crystal.cell_A, crystal.positions_A, crystal.numbers
    if way == "shifted":
        positions = positions + random.normal(size=3)
    elif way == "reordered":
        order = random.permutation(len(numbers))
        positions, numbers = positions[order], numbers[order]
    elif way == "rotated":
        turn = rotation(seed)
        cell, positions = cell @ turn.T, positions @ turn.T
    elif way == "mirrored":
        cell, positions = -cell, -positions
    elif way == "wrapped":
        positions = positions + random.integers(-2, 3, size=(len(numbers), 3)) @ cell
    elif way == "other cell":
        cell = np.array([[1, 1, 0], [0, 1, 0], [0, 1, 1]]) @ cell
    elif way == "supercell":
        return supercell(crystal, 2)
    elif way == "shaken":
        step = random.normal(size=positions.shape)
        positions = positions + 0.99 * TOLERANCE_A * step / np.linalg.norm(step, axis=1, keepdims=True)
    elif way == "rounded":
        positions = np.round(positions, 4)
    return Crystal(cell_A=cell, positions_A=positions, numbers=numbers)


def copies(graphs):
    """All pairs with the first of each structure, and all structures that are alike."""
    found = find_copies(graphs)
    equal = [Twins("identical-structures", first, other, 0.0) for first, *rest in found.equal for other in rest]
    return [*equal, *found.alike]


WAYS = ("shifted", "reordered", "rotated", "mirrored", "wrapped", "other cell", "supercell", "rounded", "shaken")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [1, 2])
def test_one_crystal_written_in_another_way_is_found(way, size):
    crystals = crystals_of(12, size)
    crystals.append(same_crystal(crystals[4], way))
    found = copies(build_graphs(a_set(crystals), SPEC))
    assert [(twins.one, twins.other) for twins in found] == [(4, 12)]
    assert found[0].kind == ("near-duplicates" if way == "shaken" else "identical-structures")
    assert found[0].difference_A <= 2 * TOLERANCE_A


@pytest.mark.parametrize("seed", range(5))
def test_moves_up_to_the_tolerance_are_never_missed(seed):
    """The bound is a theorem: sorted distances differ by at most 2t."""
    crystals = crystals_of(30, 1, seed=seed)
    crystals += [same_crystal(one, "shaken", seed=seed + i) for i, one in enumerate(crystals)]
    found = {(twins.one, twins.other) for twins in copies(build_graphs(a_set(crystals), SPEC))}
    assert {(i, i + 30) for i in range(30)} <= found


@pytest.mark.parametrize("rms_A", [0.04, 0.15])
def test_independent_samples_are_not_copies(rms_A):
    graphs = build_graphs(a_set(crystals_of(300, rms_A=rms_A)), SPEC)
    assert copies(graphs) == []


def test_moves_well_beyond_the_tolerance_are_other_samples():
    crystals = crystals_of(20)
    further = [replace(c, positions_A=c.positions_A + stream(1, i).normal(0, 0.04, c.positions_A.shape)) for i, c in
               enumerate(crystals)]  # fmt: skip
    assert copies(build_graphs(a_set(crystals + further), SPEC)) == []


def test_many_copies_of_one_crystal_do_not_explode():
    crystal = crystals_of(1, 1)[0]
    shaken = [same_crystal(crystal, "shaken", seed=i) for i in range(2500)]
    started = time.perf_counter()
    found = copies(build_graphs(a_set([*shaken, *[crystal] * 500]), GraphSpec(cutoff_A=4.0)))
    assert time.perf_counter() - started < 60
    assert sum(twins.kind == "identical-structures" for twins in found) >= 499
    reached = {twins.one for twins in found} | {twins.other for twins in found}
    assert len(reached) > 2900  # of a million pairs, the five nearest of each sample


@pytest.mark.slow
def test_ten_thousand_cells_of_forty_atoms_take_seconds():
    crystals = crystals_of(500)
    graphs = build_graphs(a_set(crystals), SPEC)
    many = graphs.select(np.tile(np.arange(500), 20))
    # Each copy is another sample: distances are changed where the sort puts them, far beyond the tolerance.
    noise = stream(2, "noise").normal(0, 0.05, len(many.distance_A))
    many = replace(many, distance_A=np.clip(many.distance_A + noise, 1.0, 5.5))
    started = time.perf_counter()
    find_copies(many)
    assert time.perf_counter() - started < 40  # about 5 s on an idle core


def split_of(made, order=None):
    ids = made.ids
    third = len(ids) // 3
    return Split(train=ids[: 2 * third], validation=(), test=ids[2 * third :], seed=0)


def test_leaks_between_parts_count_and_within_a_part_do_not():
    crystals = crystals_of(12)
    crystals[10] = same_crystal(crystals[2], "rotated")  # train and test
    crystals[5] = same_crystal(crystals[1], "rotated")  # both train
    made = a_set(crystals)
    leaks = find_leaks(build_graphs(made, SPEC), [split_of(made)], [made])
    assert [(leak.kind, leak.sample, leak.part, leak.other_sample, leak.other_part) for leak in leaks] == [
        ("identical-structures", "toy-00002", "train", "toy-00010", "test")
    ]
    assert find_leaks(build_graphs(a_set(crystals_of(12)), SPEC), [split_of(made)], [a_set(crystals_of(12))]) == ()


def parts_of(made, train, validation, test):
    train, validation, test = (tuple(made.ids[i] for i in part) for part in (train, validation, test))
    return Split(train=train, validation=validation, test=test, seed=0)


def told(made, split):
    leaks = find_leaks(build_graphs(made, SPEC), [split], [made])
    return [(leak.kind, *(int(name.split("-")[1]) for name in (leak.sample, leak.other_sample))) for leak in leaks]


def test_copies_are_found_though_the_first_of_them_is_in_no_part():
    """Three copies 0, 1, 2, of which 0 was left out, because its label is missing, say."""
    crystals = crystals_of(6)
    crystals[1] = crystals[2] = crystals[0]
    made = a_set(crystals)
    assert told(made, parts_of(made, [1, 3], [4], [2, 5])) == [("identical-structures", 1, 2)]
    assert told(made, parts_of(made, [1, 2], [3], [4, 5])) == []
    every = [("identical-structures", 0, 1), ("identical-structures", 0, 2), ("identical-structures", 1, 2)]
    assert told(made, parts_of(made, [0, 3], [1, 4], [2, 5])) == every


@pytest.mark.parametrize(("train", "test"), [([1, 4], [3, 5]), ([2, 4], [3, 5]), ([1, 2], [3, 5]), ([3, 4], [0, 2])])
def test_near_duplicates_of_any_copy_are_found(train, test):
    """Of copies 0, 1, 2 and their near duplicate 3, no pair goes unseen, whichever are in the split."""
    crystals = crystals_of(6)
    crystals[1] = crystals[2] = crystals[0]
    crystals[3] = same_crystal(crystals[0], "shaken")
    made = a_set(crystals)
    (leak,) = told(made, parts_of(made, train, [], test))
    assert leak[0] == "near-duplicates"
    assert 3 in leak[1:]


def test_groups_in_two_parts_are_found():
    groups = [f"g{i}" for i in range(12)]
    groups[11] = groups[3]
    made = a_set(crystals_of(12), groups=groups)
    leaks = find_leaks(build_graphs(made, SPEC), [split_of(made)], [made])
    assert [(leak.kind, leak.group, leak.sample, leak.other_sample) for leak in leaks] == [
        ("shared-groups", "g3", "toy-00003", "toy-00011")
    ]
    good = make_split(made.ids, made.group, seed=0)
    assert find_leaks(build_graphs(made, SPEC), [good], [made]) == ()


def opposite(known):
    """Sixteen samples of which 3 and 13 have opposite displacements."""
    crystal = supercell(cubic_antiperovskite(4.9), 2)
    moves = np.stack([stream(7, i).normal(0, 0.08, (len(crystal), 3)) for i in range(16)])
    moves[13] = -moves[3] + 0.3  # the shift is rigid
    made = a_set([replace(crystal, positions_A=crystal.positions_A + move) for move in moves])
    return replace(made, displacements_A=moves.reshape(-1, 3)) if known else made


@pytest.mark.parametrize("known", [True, False])
def test_antithetic_pairs_are_found(known):
    made = opposite(known=True)
    assert [(twins.one, twins.other) for twins in find_antithetic(made)] == [(3, 13)]
    leaks = find_leaks(build_graphs(made, SPEC), [split_of(made)], [made])
    assert [leak.kind for leak in leaks] == ["antithetic-pairs"]
    paired = replace(made, group=tuple("pair" if i in (3, 13) else str(i) for i in range(16)))
    good = make_split(paired.ids, paired.group, seed=0)
    assert find_leaks(build_graphs(paired, SPEC), [good], [paired]) == ()


def test_antithetic_sets_without_displacements_are_found_about_their_mean():
    crystal = supercell(cubic_antiperovskite(4.9), 2)
    half = np.stack([stream(7, i).normal(0, 0.08, (len(crystal), 3)) for i in range(10)])
    made = a_set([replace(crystal, positions_A=crystal.positions_A + move) for move in [*half, *-half]])
    assert [(twins.one, twins.other) for twins in find_antithetic(made)] == [(i, i + 10) for i in range(10)]


def trajectory(frames=60, memory=0.9):
    crystal = supercell(cubic_antiperovskite(4.9), 2)
    random = stream(9, "trajectory")
    move, crystals = random.normal(0, 0.1, (len(crystal), 3)), []
    for _ in range(frames):
        move = memory * move + np.sqrt(1 - memory**2) * random.normal(0, 0.1, move.shape)
        crystals.append(replace(crystal, positions_A=crystal.positions_A + move))
    return crystals


def test_a_trajectory_cut_into_single_frames_is_found():
    made = a_set(trajectory())
    pairs = {(twins.one, twins.other) for twins in find_frames(made)}
    assert len(pairs) > 50
    assert all(other == one + 1 for one, other in pairs)
    split = make_split(made.ids, made.group, seed=0)
    kinds = {leak.kind for leak in find_leaks(build_graphs(made, SPEC), [split], [made])}
    assert kinds == {"trajectory-frames"}
    # In blocks, as the groups of a user or of md-snapshots have it, the split is as good as it can be.
    blocks = replace(made, group=tuple(f"block-{i // 10}" for i in range(60)))
    assert list(find_frames(blocks)) == []


@pytest.mark.parametrize("ordered", [False, True])
def test_draws_at_random_are_no_trajectory_whatever_their_order(ordered):
    crystal = supercell(cubic_antiperovskite(4.9), 2)
    size = np.linspace(0.02, 0.2, 80) if ordered else np.full(80, 0.1)
    moves = [stream(4, i).normal(0, size[i], (len(crystal), 3)) for i in range(80)]
    made = a_set([replace(crystal, positions_A=crystal.positions_A + move) for move in moves])
    assert list(find_frames(made)) == []
    assert list(find_antithetic(made)) == []


def test_the_refusal_is_one_sentence_and_each_kind_can_be_allowed_by_name():
    crystals = crystals_of(12)
    crystals[10] = same_crystal(crystals[2], "rotated")
    crystals[11] = same_crystal(crystals[3], "shaken")
    made = a_set(crystals)
    leaks = find_leaks(build_graphs(made, SPEC), [split_of(made)], [made])
    assert {leak.kind for leak in leaks} == {"identical-structures", "near-duplicates"}
    with pytest.raises(
        DataError, match=r"1 identical structures, 1 near duplicates between its parts.*toy-00010 \(test\)"
    ) as told:
        check_leaks(leaks, where="leaks.csv")
    assert "\n" not in str(told.value)
    assert "allow = ['identical-structures', 'near-duplicates']" in str(told.value)
    with pytest.raises(DataError, match="1 near duplicates"):
        check_leaks(leaks, ["identical-structures"])
    audit = check_leaks(leaks, LEAKS)
    assert len(audit.leaks) == 2
    assert "errors on the test part are too small" in audit.warnings[0]
    assert check_leaks(()).warnings == ()
