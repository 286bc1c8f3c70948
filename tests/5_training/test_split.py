"""Groups never straddle; splits do not depend on the order of the samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phonograph.errors import ConfigurationError, DataError
from phonograph.training import combine_splits, make_split


@settings(max_examples=100, deadline=None)
@given(sizes=st.lists(st.integers(1, 6), min_size=4, max_size=60), seed=st.integers(0, 1000))
def test_parts_are_disjoint_complete_and_whole_in_groups(sizes, seed):
    groups = [f"g{i}" for i, size in enumerate(sizes) for _ in range(size)]
    ids = [f"s{i}" for i in range(len(groups))]
    split = make_split(ids, groups, seed=seed)
    parts = [split.train, split.validation, split.test]
    assert sorted(sum(parts, ())) == sorted(ids)
    group_of = dict(zip(ids, groups, strict=True))
    owners = [{group_of[sample] for sample in part} for part in parts]
    assert all(owners)
    assert not owners[0] & owners[1]
    assert not owners[1] & owners[2]
    assert not owners[0] & owners[2]


@settings(max_examples=30, deadline=None)
@given(order=st.permutations(range(40)), seed=st.integers(0, 100))
def test_the_order_of_the_samples_does_not_matter(order, seed):
    ids, groups = [f"s{i}" for i in range(40)], [f"g{i // 2}" for i in range(40)]
    one = make_split(ids, groups, seed=seed)
    other = make_split([ids[i] for i in order], [groups[i] for i in order], seed=seed)
    assert [set(p) for p in (one.train, one.validation, one.test)] == [
        set(p) for p in (other.train, other.validation, other.test)
    ]


def test_shares_are_met_to_the_nearest_group():
    ids = [f"s{i}" for i in range(1000)]
    split = make_split(ids, ids, seed=5)
    assert [len(p) for p in (split.train, split.validation, split.test)] == [700, 150, 150]
    pairs = make_split(ids, [f"g{i // 2}" for i in range(1000)], (0.5, 0.25, 0.25))
    assert [len(p) for p in (pairs.train, pairs.validation, pairs.test)] == [500, 250, 250]


def test_seeds_give_different_splits_and_the_same_seed_the_same():
    ids = [f"s{i}" for i in range(100)]
    assert make_split(ids, ids, seed=1) == make_split(ids, ids, seed=1)
    assert make_split(ids, ids, seed=1).test != make_split(ids, ids, seed=2).test


def test_every_sample_is_tested_equally_often():
    ids = [f"s{i}" for i in range(20)]
    counts = dict.fromkeys(ids, 0)
    for seed in range(400):
        for sample in make_split(ids, ids, seed=seed).test:
            counts[sample] += 1
    # 400 draws of 3 in 20: mean 60, standard deviation 7.
    assert abs(np.array(list(counts.values())) - 60).max() < 4.5 * 7.2


def test_combined_splits_keep_every_test_sample_unseen():
    ids = [[f"{name}-{i}" for i in range(30)] for name in ("phonon", "random")]
    splits = [make_split(part, part, seed=4) for part in ids]
    both = combine_splits(splits)
    assert set(both.train) == set(splits[0].train) | set(splits[1].train)
    assert not set(both.train) & (set(splits[0].test) | set(splits[1].test))
    assert both.seed == 4


def test_impossible_splits_are_refused():
    ids = ["a", "b", "c", "d"]
    with pytest.raises(DataError, match="at least 4 samples in 3 groups; got 3 samples"):
        make_split(ids[:3], ids[:3])
    with pytest.raises(DataError, match="got 4 samples in 2 groups"):
        make_split(ids, ["x", "x", "y", "y"])
    with pytest.raises(DataError, match="different sample ids"):
        make_split(["a", "a", "b", "c"], ids)
    for wrong in ((0.5, 0.5), (0.9, 0.2, 0.1), (1.0, 0.0, 0.0), (float("nan"), 0.5, 0.5)):
        with pytest.raises(ConfigurationError, match="three positive numbers"):
            make_split(ids, ids, wrong)
    with pytest.raises(DataError, match="different seeds"):
        combine_splits([make_split(ids, ids, seed=1), make_split(list("efgh"), list("efgh"), seed=2)])
    with pytest.raises(DataError, match="no split to combine"):
        combine_splits([])
    with pytest.raises(DataError, match="two parts"):
        combine_splits([make_split(ids, ids), make_split(ids, ids)])
