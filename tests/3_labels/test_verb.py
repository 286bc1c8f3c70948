"""The table of labels: what is known is not computed again, and every hole has a name."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from label_toys import GapLabeller, HalfLabeller, configurations_of, copper, displaced, marked

from phonograph.errors import ConfigurationError, DataError, MissingEngineError
from phonograph.files.labels import load_labels, save_labels
from phonograph.labels import AseLabeller, ChgnetLabeller, EmtLabeller, XtbLabeller, label, open_store
from phonograph.labels.execution.worker import label_safely

ENERGY, STRESS = "energy_eV_per_atom", "hydrostatic_stress_GPa"


def toy(name: str, **settings) -> AseLabeller:
    return AseLabeller(factory=f"label_toys:{name}", name=name, version="1", **settings)


def with_one_marked(count: int = 4):
    crystals = list(copper(count).crystals())
    return configurations_of([*crystals[:1], marked(crystals[1]), *crystals[2:]])


def calculations(log: Path) -> int:
    return len(log.read_text(encoding="utf-8").splitlines())


def test_labels_equal_the_engines_own_numbers_for_any_number_of_workers(tmp_path):
    sets = [copper(3, "a"), copper(5, "b")]
    one = label(sets, [EmtLabeller()], tmp_path / "one.sqlite", workers=1)
    two = label(sets, [EmtLabeller()], tmp_path / "two.sqlite", workers=2)
    crystals = [crystal for configurations in sets for crystal in configurations.crystals()]
    for column in (ENERGY, STRESS):
        expected = [EmtLabeller().label(crystal).values[column] for crystal in crystals]
        np.testing.assert_array_equal(one.column(column).values, expected)
        np.testing.assert_array_equal(two.column(column).values, expected)
    assert one.sample_ids == sets[0].ids + sets[1].ids
    assert one.set_names == ("a",) * 3 + ("b",) * 5
    assert set(one.status) == {"ok"}
    assert one.column(ENERGY).engine == EmtLabeller().engine
    assert one.origin.versions["ase"] in one.column(ENERGY).engine
    assert set(one.origin.inputs) == {"a", "b"}


def test_both_quickstart_engines_together(tmp_path):
    from ase.build import bulk

    crystals = [displaced(bulk("NaCl", "rocksalt", 5.64, cubic=True), 0.05, seed) for seed in range(2)]
    labels = label([configurations_of(crystals)], [ChgnetLabeller(), XtbLabeller()], tmp_path / "s.sqlite", workers=1)
    assert [column.name for column in labels.columns] == [ENERGY, STRESS, "band_gap_eV", "vbm_eV", "cbm_eV"]
    assert [column.unit for column in labels.columns] == ["eV/atom", "GPa", "eV", "eV", "eV"]
    assert set(labels.status) == {"ok"}
    for labeller in (ChgnetLabeller(), XtbLabeller()):
        for place, crystal in enumerate(crystals):
            for name, value in label_safely(labeller, crystal).values.items():
                assert labels.column(name).values[place] == value, "a worker gives the same bits as this process"
    assert any("vbm_eV and cbm_eV: raw eigenvalues" in words for words in labels.warnings)
    save_labels(labels, tmp_path / "labels.csv")
    assert load_labels(tmp_path / "labels.csv").status == labels.status


def test_nothing_is_computed_twice(tmp_path, toy_log):
    store = tmp_path / "s.sqlite"
    first = label([copper(4)], [toy("Toy")], store, workers=1)
    assert calculations(toy_log) == 4
    again = label([copper(4)], [toy("Toy")], store, workers=1)
    assert calculations(toy_log) == 4
    np.testing.assert_array_equal(first.column(ENERGY).values, again.column(ENERGY).values)
    more = label([copper(6)], [toy("Toy")], store, workers=1)
    assert calculations(toy_log) == 6
    np.testing.assert_array_equal(more.column(ENERGY).values[:4], first.column(ENERGY).values)
    label([copper(4)], [AseLabeller(factory="label_toys:Toy", name="Toy", version="2")], store, workers=1)
    assert calculations(toy_log) == 10, "another version of an engine is another calculation"


def test_identical_structures_are_computed_once(tmp_path, toy_log):
    labels = label([copper(3, "a"), copper(3, "b")], [toy("Toy")], tmp_path / "s.sqlite", workers=1)
    assert calculations(toy_log) == 3
    values = labels.column(ENERGY).values
    np.testing.assert_array_equal(values[:3], values[3:])
    assert any("3 of 6 samples repeat a structure" in words for words in labels.warnings)


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("Raising", "crashed", "RuntimeError: the toy is broken (label_toys.py:"),
        ("Diverging", "not_converged", "no self-consistency"),
        ("Lying", "unphysical", f"not finite: {ENERGY} = nan"),
    ],
)
def test_whatever_an_engine_does_is_a_named_failure(name, kind, words):
    crystals = list(with_one_marked(2).crystals())
    assert label_safely(toy(name), crystals[0]).failure == ""
    found = label_safely(toy(name), crystals[1])
    assert (found.failure, found.values) == (kind, {})
    assert found.message.startswith(words)
    assert label_safely(toy(name), crystals[0]).failure == "", "the calculator goes on after a failure"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Raising", "crashed: RuntimeError: the toy is broken (label_toys.py:"),
        ("Dying", "crashed: the worker process died (killed, perhaps out of memory), 3 of 3 attempts"),
    ],
)
def test_one_bad_structure_is_a_named_hole(tmp_path, toy_log, name, words):
    labels = label([with_one_marked()], [toy(name)], tmp_path / "s.sqlite", workers=1)
    assert [status == "ok" for status in labels.status] == [True, False, True, True]
    assert labels.status[1].startswith(f"failed: {ENERGY}, {STRESS}: {words}")
    for column in labels.columns:
        assert list(np.isnan(column.values)) == [False, True, False, False]
    (told,) = (sentence for sentence in labels.warnings if f"1 of 4 samples have no {ENERGY}" in sentence)
    assert told.endswith("(1 crashed): named holes; they are tried again only on request (retry_failed).")
    save_labels(labels, tmp_path / "labels.csv")
    assert load_labels(tmp_path / "labels.csv").status == labels.status
    before = calculations(toy_log)
    again = label([with_one_marked()], [toy(name)], tmp_path / "s.sqlite", workers=1)
    assert (again.status, again.warnings) == (labels.status, labels.warnings)
    assert calculations(toy_log) == before, "a failure is tried again only on request"


def test_failures_are_tried_again_on_request(tmp_path, toy_log, monkeypatch):
    monkeypatch.setenv("LABEL_TOY_SECONDS", "0")
    store = tmp_path / "s.sqlite"
    first = label([with_one_marked(2)], [toy("RaisingOnce")], store, workers=1)
    assert first.status[1].startswith("failed")
    again = label([with_one_marked(2)], [toy("RaisingOnce")], store, workers=1, retry_failed=True)
    assert again.status == ("ok", "ok")
    assert calculations(toy_log) == 3


def test_a_hanging_label_is_stopped_and_the_others_go_on(tmp_path, toy_log):
    labels = label([with_one_marked()], [toy("Hanging")], tmp_path / "s.sqlite", workers=1, timeout_s=0.5)
    assert labels.status[1] == f"failed: {ENERGY}, {STRESS}: timeout: no result within 0.5 s"
    assert [status for place, status in enumerate(labels.status) if place != 1] == ["ok"] * 3
    for line in toy_log.read_text(encoding="utf-8").splitlines():
        assert not alive(int(line.split()[0]))


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_worker_that_dies_once_loses_nothing(tmp_path, toy_log):
    labels = label([with_one_marked()], [toy("DyingOnce")], tmp_path / "s.sqlite", workers=1)
    assert set(labels.status) == {"ok"}
    assert calculations(toy_log) == 5
    raw = sqlite3.connect(tmp_path / "s.sqlite")
    log = raw.execute("SELECT status, message FROM attempt WHERE status <> 'ok'").fetchall()
    raw.close()
    assert log == [("crashed", "the worker process died (signal SIGSEGV), 1 of 3 attempts")]


def test_an_engine_that_prints_leaves_the_terminal_alone(tmp_path, capfd):
    assert set(label([with_one_marked(2)], [toy("Noisy")], tmp_path / "s.sqlite", workers=1).status) == {"ok"}
    assert capfd.readouterr().out == ""


def test_a_broken_promise_is_named(tmp_path):
    labels = label([copper(1)], [HalfLabeller()], tmp_path / "s.sqlite", workers=1)
    assert "crashed: the engine promised energy_eV_per_atom, dipole_eA and returned dipole_eA" in labels.status[0]


def test_overlapping_atoms_are_bad_input(tmp_path):
    crystals = list(copper(2).crystals())
    positions = crystals[1].positions_A.copy()
    positions[1] = positions[0] + [0.3, 0, 0]
    close = type(crystals[1])(cell_A=crystals[1].cell_A, positions_A=positions, numbers=crystals[1].numbers)
    labels = label([configurations_of([crystals[0], close])], [EmtLabeller()], tmp_path / "s.sqlite", workers=1)
    assert labels.status[0] == "ok"
    assert "bad_input: two atoms are 0.300 Å apart" in labels.status[1]


def test_zero_gaps_are_values_and_are_counted(tmp_path):
    labels = label([with_one_marked()], [GapLabeller()], tmp_path / "s.sqlite", workers=1)
    np.testing.assert_array_equal(labels.column("band_gap_eV").values, [1, 0, 1, 1])
    assert set(labels.status) == {"ok"}
    assert any("1 of 4 band gaps are zero" in words for words in labels.warnings)


def test_a_damaged_row_is_told_and_computed_again(tmp_path, toy_log):
    store = tmp_path / "s.sqlite"
    first = label([copper(3)], [toy("Toy")], store, workers=1)
    raw = sqlite3.connect(store)
    raw.execute("UPDATE label SET value = value + 1 WHERE structure = 2 AND property = ?", (ENERGY,))
    raw.commit()
    raw.close()
    again = label([copper(3)], [toy("Toy")], store, workers=1)
    np.testing.assert_array_equal(first.column(ENERGY).values, again.column(ENERGY).values)
    assert calculations(toy_log) == 4
    assert any("1 stored labels failed their checksum" in words for words in again.warnings)
    with open_store(store) as opened:
        assert opened.problems() == ()


def test_progress_counts_what_is_on_disk(tmp_path):
    told = []

    def progress(what, done, total):
        with open_store(tmp_path / "s.sqlite") as store:
            (stored,) = store._connection.execute("SELECT count(DISTINCT structure) FROM label").fetchone()
        assert stored == done
        told.append((what, done, total))

    label([copper(5)], [EmtLabeller()], tmp_path / "s.sqlite", workers=2, progress=progress)
    assert told[0] == ("labels", 0, 5)
    assert told[-1] == ("labels", 5, 5)
    told.clear()
    label([copper(5)], [EmtLabeller()], tmp_path / "s.sqlite", workers=2, progress=progress)
    assert told == [("labels", 5, 5)]


def test_the_environment_and_the_processes_are_left_as_found(tmp_path, monkeypatch):
    import multiprocessing

    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    label([copper(2)], [EmtLabeller()], tmp_path / "s.sqlite", workers=2)
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ
    assert multiprocessing.active_children() == []


class LocalLabeller:
    provides = (ENERGY,)
    engine = "local 1"


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"labellers": []}, ConfigurationError, "at least one labeller"),
        ({"sets": []}, DataError, "at least one set"),
        ({"sets": [copper(1), copper(1)]}, DataError, "different names"),
        ({"labellers": [EmtLabeller(), ChgnetLabeller()]}, ConfigurationError, "is provided 2 times, by ase .* and"),
        ({"labellers": [LocalLabeller()]}, ConfigurationError, "must be a dataclass at the top level"),
        ({"timeout_s": 0}, ConfigurationError, "timeout_s must be greater than 0"),
        ({"timeout_s": float("nan")}, ConfigurationError, "timeout_s must be greater than 0"),
        ({"workers": -1}, ConfigurationError, "workers must be 0"),
        ({"labellers": [HalfLabeller(provides=("gap",))]}, ConfigurationError, "must end in its unit"),
        ({"labellers": [HalfLabeller(engine=" ")]}, ConfigurationError, "must name its engine"),
        ({"labellers": [HalfLabeller(extra=object())]}, ConfigurationError, "must be plain values"),
    ],
)
def test_impossible_requests_are_one_sentence_before_any_work(tmp_path, arguments, error, words):
    request = {"sets": [copper(1)], "labellers": [EmtLabeller()], "store": tmp_path / "s.sqlite", **arguments}
    sets, labellers, store = (request.pop(name) for name in ("sets", "labellers", "store"))
    with pytest.raises(error, match=words):
        label(sets, labellers, store, **request)
    assert list(tmp_path.iterdir()) == []


def test_an_engine_missing_only_in_the_worker_ends_the_run(tmp_path):
    with pytest.raises(MissingEngineError, match="pip install nothing"):
        label([copper(2)], [toy("make_missing")], tmp_path / "s.sqlite", workers=1)


@pytest.mark.slow
def test_a_script_without_a_guard_is_told_so(tmp_path):
    script = tmp_path / "unguarded.py"
    script.write_text(
        "import sys\nfrom label_toys import copper\nfrom phonograph.labels import EmtLabeller, label\n"
        "label([copper(1)], [EmtLabeller()], sys.argv[1], workers=1)\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "s.sqlite")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    last = done.stderr.strip().splitlines()[-1]
    assert "worker processes died" in last
    assert "if __name__ == '__main__':" in last
