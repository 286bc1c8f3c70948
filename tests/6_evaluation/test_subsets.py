"""Subsets are nested, exact in size and never straddle; amplitudes are matched by what atoms really do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phonograph.errors import DataError
from phonograph.evaluation import nested_subset, within_amplitude
from phonograph.evaluation.subsets import can_fill, species_rms
from phonograph.testing import cubic_antiperovskite, displaced
from phonograph.training import make_split
from phonograph.types import Configurations, Split


def split_of(name: str, n: int = 120, per_group: int = 3, seed: int = 0) -> Split:
    ids = [f"{name}-{i:03d}" for i in range(n)]
    return make_split(ids, [f"{name}-g{i // per_group}" for i in range(n)], seed=seed)


@settings(max_examples=60, deadline=None)
@given(st.integers(8, 60), st.integers(0, 30), st.sampled_from(["inside", "outside"]), st.integers(0, 5))
def test_subsets_are_nested_and_exact(size: int, more: int, validation: str, seed: int) -> None:
    splits = [split_of("a", seed=seed), split_of("b", seed=seed)]
    small, large = (nested_subset(splits, n, validation=validation) for n in (size, size + more))
    assert set(small.train) <= set(large.train)
    assert set(small.validation) <= set(large.validation)
    assert small.test == large.test == splits[0].test + splits[1].test
    counted = len(small.train) + (len(small.validation) if validation == "inside" else 0)
    assert counted == size
    halves = [sum(sample.startswith(name) for sample in (*small.train, *small.validation)) for name in "ab"]
    assert abs(halves[0] - halves[1]) <= 1
    groups = [{int(s.split("-")[1]) // 3 + 1000 * (s[0] == "b") for s in p} for p in (small.train, small.validation)]
    assert not groups[0] & groups[1]


def test_collections_share_the_samples_of_a_set() -> None:
    alone = nested_subset([split_of("a")], 40)
    both = nested_subset([split_of("a"), split_of("b")], 40)
    assert {s for s in both.train if s.startswith("a")} <= set(alone.train)


def test_order_of_the_samples_does_not_matter_and_the_seed_does() -> None:
    split = split_of("a")
    backwards = replace(split, train=split.train[::-1], validation=split.validation[::-1])
    assert nested_subset([split], 30) == nested_subset([backwards], 30)
    other = nested_subset([replace(split, seed=1)], 30)
    assert set(other.train) != set(nested_subset([split], 30).train)


def test_what_cannot_be_filled_is_one_sentence() -> None:
    split = split_of("a", n=40)
    assert can_fill([split], 30)
    assert not can_fill([split], 60)
    with pytest.raises(DataError, match=r"a subset of 60 labels needs .* make more samples"):
        nested_subset([split], 60)
    assert not can_fill([split], 35, validation="outside")


@pytest.fixture(scope="module")
def sets() -> dict[str, Configurations]:
    crystal = cubic_antiperovskite()
    return {f"{rms:g}": displaced(crystal, 30, rms, seed=int(1000 * rms)) for rms in (0.02, 0.1, 0.4)}


def test_rms_of_species_is_what_it_says(sets: dict[str, Configurations]) -> None:
    item = sets["0.1"]
    found = species_rms(item)
    for place in (0, 7):
        atoms = slice(int(item.offsets[place]), int(item.offsets[place + 1]))
        moved = item.displacements_A[atoms] - item.displacements_A[atoms].mean(axis=0)
        for number in np.unique(item.numbers):
            by_hand = np.sqrt((moved[item.numbers[atoms] == number] ** 2).mean())
            assert found[int(number)][place] == pytest.approx(by_hand)
    shifted = replace(item, displacements_A=item.displacements_A + np.array([3.0, -1.0, 0.5]))
    for number, values in species_rms(shifted).items():
        assert values == pytest.approx(found[number])


def test_amplitudes_are_matched(sets: dict[str, Configurations]) -> None:
    item = sets["0.1"]
    assert within_amplitude(item, item) == item.ids
    assert within_amplitude(sets["0.4"], item) == ()
    assert within_amplitude(sets["0.02"], item) == ()
    half = item.displacements_A.copy()
    half[: int(item.offsets[10])] *= 20.0
    mixed = replace(item, displacements_A=half)
    assert within_amplitude(mixed, item) == item.ids[10:]


def test_one_species_too_far_is_enough(sets: dict[str, Configurations]) -> None:
    item = sets["0.1"]
    sulphur = replace(item, displacements_A=np.where((item.numbers == 16)[:, None], 20.0, 1.0) * item.displacements_A)
    assert within_amplitude(sulphur, item) == ()


def test_species_that_the_reference_lacks_are_out(sets: dict[str, Configurations]) -> None:
    item = sets["0.1"]
    other = replace(item, numbers=np.where(item.numbers == 35, 53, item.numbers))
    assert within_amplitude(other, item) == ()
    assert within_amplitude(item, item.first(30)) == item.ids


def test_unknown_displacements_are_one_sentence(sets: dict[str, Configurations]) -> None:
    item = sets["0.1"]
    brought = replace(item, displacements_A=np.full_like(item.displacements_A, np.nan))
    with pytest.raises(DataError, match=r"amplitudes of set .* are not known"):
        within_amplitude(brought, item)
