"""Status and costs: every label is counted once, and what it says can be added up by hand."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
from label_toys import copper
from store_toys import success

from phonograph.errors import ConfigurationError, DataError
from phonograph.labels.attempts import Attempt
from phonograph.labels.costs import label_costs, save_costs
from phonograph.labels.failures import failure
from phonograph.labels.status import label_status
from phonograph.labels.store import open_store
from phonograph.labels.task import calculation, structure_bytes
from phonograph.types import LabelResult

ENERGY = "energy_eV_per_atom"


@dataclass(frozen=True, kw_only=True)
class Wide:
    """An engine that holds four cores."""

    provides: tuple[str, ...] = (ENERGY,)
    engine: str = "wide 1.0"
    cores: int = 4

    def label(self, crystal) -> LabelResult:
        return LabelResult(values={ENERGY: 0.0})


@dataclass(frozen=True, kw_only=True)
class Narrow(Wide):
    engine: str = "narrow 2.0"
    cores: int = 1


SETS = [copper(6, "a"), copper(8, "b")]
KEYS = [structure_bytes(crystal) for crystal in SETS[1].crystals()]
WIDE = calculation(Wide())


def attempt(place, result, ended, **more):
    return Attempt(
        structure=KEYS[place],
        calculation=WIDE,
        result=result,
        cores=4,
        host="n",
        ended=f"2026-01-01T00:00:{ended:02d}",
        **more,
    )


def ok(seconds):
    return LabelResult(values={ENERGY: seconds}, seconds=seconds)


@pytest.fixture
def path(tmp_path):
    slow = replace(failure("not_converged", "50 steps"), seconds=6.0)
    with open_store(tmp_path / "s.sqlite", "write") as store:
        store.record([attempt(0, ok(10.0), 1), attempt(1, slow, 2, final=False), attempt(1, ok(20.0), 3)])
        store.record([attempt(2, slow, 4), attempt(3, failure("crashed", "exit 139"), 5)])
        store.record([attempt(4, failure("waiting", "written"), 6), attempt(5, failure("engine_missing", "no"), 7)])
        store.record([attempt(6, replace(failure("crashed", "worker died"), seconds=100.0), 8, final=False)])
    return tmp_path / "s.sqlite"


def test_every_label_is_counted_once(path):
    status = label_status(path, SETS, [Wide(), Narrow()], workers=2)
    wide, narrow = status.engines
    assert (status.samples, wide.structures) == (14, 8)
    assert (wide.done, wide.failed, wide.waiting, wide.missing) == (
        2,
        {"crashed": 1, "not_converged": 1},
        {"engine_missing": 1, "waiting": 1},
        2,
    )
    assert wide.done + sum(wide.failed.values()) + sum(wide.waiting.values()) + wide.missing == wide.structures
    assert wide.core_hours == pytest.approx(4 * (10 + 6 + 20 + 6 + 100) / 3600)
    assert wide.seconds_per_label == pytest.approx((10 + 6 + 20 + 6 + 0) / 4)
    assert wide.seconds_left(2) == pytest.approx(2 * 10.5 / 2)
    assert (narrow.done, narrow.missing, narrow.core_hours) == (0, 8, 0)
    assert math.isnan(status.seconds_left)
    assert [(one.sample_id, one.failure) for one in status.newest_failures] == [
        ("b-00006", "crashed"),
        ("a-00003", "crashed"),
        ("a-00002", "not_converged"),
        ("a-00001", "not_converged"),
    ]


def test_the_text_says_it_all(path):
    text = str(label_status(path, SETS, [Wide(), Narrow()], workers=2))
    assert text.splitlines()[:6] == [
        f"{ENERGY} by wide 1.0: 8 structures (14 samples)",
        "  done 2, failed 2 (1 crashed, 1 not_converged), waiting 2 (1 engine_missing, 1 waiting), missing 2",
        "  0.158 core-hours, 10.5 s per label; about 10 s left with 2 workers",
        f"{ENERGY} by narrow 2.0: 8 structures (14 samples)",
        "  done 0, failed 0, missing 8",
        "  0 core-hours; time left unknown before the first label",
    ]
    assert "  2026-01-01T00:00:08  b-00006  crashed: worker died (wide 1.0)" in text.splitlines()


def test_only_the_newest_failures_are_listed(tmp_path):
    made = [attempt(place % 8, failure("crashed", f"number {place}"), place, final=False) for place in range(20)]
    with open_store(tmp_path / "s.sqlite", "write") as store:
        store.record(made)
        status = label_status(store, SETS, [Wide()])
    assert [one.message for one in status.newest_failures] == [f"number {place}" for place in (19, 18, 17, 16, 15)]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (59.6, "1 min"), (3599, "59 min 59 s"), (7500, "2 h 5 min"), (90000, "1 d 1 h"), (86400, "1 d")],
)
def test_time_left_in_words(tmp_path, seconds, words):
    with open_store(tmp_path / "s.sqlite", "write") as store:
        store.record([attempt(0, ok(seconds / 7), 1)])
        assert f"; about {words} left with 1 worker" in str(label_status(store, SETS[1:], [Wide()]))


def test_a_store_that_is_just_being_made_has_nothing_yet(tmp_path):
    """SQLite makes an empty file first; a run that is killed then leaves it."""
    (tmp_path / "s.sqlite").touch()
    assert label_status(tmp_path / "s.sqlite", SETS, [Wide()]).engines[0].missing == 8


def test_before_the_first_run_everything_is_missing(tmp_path):
    status = label_status(tmp_path / "none.sqlite", SETS, [Wide()])
    assert status.engines[0].missing == 8
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConfigurationError, match="workers must be 1 or more"):
        label_status(tmp_path / "none.sqlite", SETS, [Wide()], workers=0)


def test_damaged_labels_are_missing_and_told(path):
    with open_store(path, "write") as store:
        store._connection.execute("UPDATE label SET value = 7 WHERE structure = 1")
        status = label_status(store, SETS, [Wide()])
    assert (status.engines[0].done, status.engines[0].missing, status.engines[0].damaged) == (1, 3, 1)
    assert "missing 3, damaged 1" in str(status)


def test_costs_per_sample_add_up_to_what_was_spent(path, tmp_path):
    costs = label_costs(path, SETS, [Wide(), Narrow()])
    assert costs.engines == ("wide 1.0", "narrow 2.0")
    expected = np.zeros((14, 2))
    expected[:6, 0] = 4 * np.array([10, 26, 6, 0, 0, 0])
    expected[12, 0] = 4 * 100
    np.testing.assert_array_equal(costs.core_seconds, expected)
    assert costs.core_hours == pytest.approx(label_status(path, SETS, [Wide()]).engines[0].core_hours)
    np.testing.assert_array_equal(costs.of(["a-00001", "b-00001", "a-00000"]), [104, 0, 40])
    with pytest.raises(DataError, match="the cost of sample 'c-00000' is not known"):
        costs.of(["c-00000"])
    save_costs(costs, tmp_path / "costs.csv")
    with (tmp_path / "costs.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["sample_id", "set", "core_seconds", "core_seconds: wide 1.0", "core_seconds: narrow 2.0"]
    assert [float(row["core_seconds"]) for row in rows] == list(expected.sum(axis=1))
    assert (rows[6]["sample_id"], rows[6]["set"]) == ("b-00000", "b")


def test_toys_are_as_the_other_tests_use_them():
    assert success(0, WIDE).seconds == 0.5
