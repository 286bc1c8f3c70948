"""The store keeps what it acknowledged, notices every flipped bit, and has one writer."""

from __future__ import annotations

import shutil
import sqlite3
import threading
import time
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from label_toys import copper

from phonograph import Cp2kLabeller, EspressoLabeller, VaspLabeller
from phonograph.errors import InputFileError
from phonograph.labels import EmtLabeller, XtbLabeller, open_store
from phonograph.labels.failures import failure
from phonograph.labels.store import Attempt
from phonograph.labels.task import calculation, rebuild, structure_bytes
from phonograph.types import Crystal, LabelResult

EMT = replace(calculation(EmtLabeller()), arrays=())
XTB = calculation(XtbLabeller())
TABLES = "meta structure calculation label attempt property array sample_set provenance".split()


def attempts(count, seed=0):
    """Results that are numbers with many digits, an exact zero, a minus zero and a failure."""
    rng = np.random.default_rng(seed)
    made = []
    for place, crystal in enumerate(copper(count).crystals()):
        energy = {0: 0.0, 1: -0.0, 2: 5.0}.get(place, float(rng.normal()))
        values = {"energy_eV_per_atom": energy, "hydrostatic_stress_GPa": float(rng.normal() * 1e-17)}
        result = LabelResult(values=values, seconds=0.25)
        if place == 3:
            result = failure("not_converged", "after 250 cycles, ΔE > 0")
        made.append(Attempt(structure=structure_bytes(crystal), calculation=EMT, result=result))
    return made


def written(path, count=6):
    made = attempts(count)
    with open_store(path, "write") as store:
        store.record(made)
    return made


def same(found: LabelResult, expected: LabelResult) -> bool:
    return (dict(found.values), found.failure, found.message) == (
        dict(expected.values),
        expected.failure,
        expected.message,
    )


def test_what_goes_in_comes_out(tmp_path):
    made = written(tmp_path / "s.sqlite")
    with open_store(tmp_path / "s.sqlite") as store:
        for attempt in made:
            found = store.find(attempt.structure.key, EMT)
            assert not found.damaged
            assert same(found.result, attempt.result)
            assert store.find(attempt.structure.key, XTB).result is None
        assert store.problems() == ()


def test_the_file_is_as_promised(tmp_path):
    made = written(tmp_path / "s.sqlite")
    raw = sqlite3.connect(tmp_path / "s.sqlite")
    pragma = {name: raw.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "journal_mode")}
    assert pragma == {"page_size": 16384, "journal_mode": "delete"}
    assert raw.execute("PRAGMA user_version").fetchone() == (2,)
    tables = raw.execute("SELECT name, strict FROM pragma_table_list WHERE schema = 'main' AND name NOT LIKE 'sqlite%'")
    assert dict(tables) == dict.fromkeys(TABLES, 1)
    crystal = next(copper(1).crystals())
    numbers, cell, positions = raw.execute("SELECT numbers, cell, positions FROM structure ORDER BY id").fetchone()
    np.testing.assert_array_equal(np.frombuffer(numbers, "<i4"), crystal.numbers)
    np.testing.assert_array_equal(np.frombuffer(cell, "<f8").reshape(3, 3), crystal.cell_A)
    np.testing.assert_array_equal(np.frombuffer(positions, "<f8").reshape(-1, 3), crystal.positions_A)
    log = raw.execute("SELECT status, message, seconds FROM attempt ORDER BY id").fetchall()
    assert len(log) == len(made)
    assert log[0] == ("ok", "", 0.25)
    assert log[3][:2] == ("not_converged", "after 250 cycles, ΔE > 0")
    units = dict(raw.execute("SELECT DISTINCT property, unit FROM label"))
    assert units == {"energy_eV_per_atom": "eV/atom", "hydrostatic_stress_GPa": "GPa"}
    raw.close()


def test_a_crash_that_is_retried_is_logged_but_is_no_label(tmp_path):
    first = attempts(1)[0]
    crash = Attempt(structure=first.structure, calculation=EMT, result=failure("crashed", "died"), final=False)
    with open_store(tmp_path / "s.sqlite", "write") as store:
        store.record([crash])
        assert store.find(first.structure.key, EMT).result is None
        store.record([first])
        assert same(store.find(first.structure.key, EMT).result, first.result)


def test_a_failure_is_replaced_by_a_later_success(tmp_path):
    first = attempts(1)[0]
    with open_store(tmp_path / "s.sqlite", "write") as store:
        store.record([Attempt(structure=first.structure, calculation=EMT, result=failure("timeout", "slow"))])
        assert store.find(first.structure.key, EMT).result.failure == "timeout"
        store.record([first])
        assert same(store.find(first.structure.key, EMT).result, first.result)


def test_keys_tell_apart_what_differs_and_nothing_else():
    crystal = next(copper(1).crystals())
    key = structure_bytes(crystal).key

    def changed(**parts):
        return structure_bytes(
            Crystal(
                **{
                    "cell_A": crystal.cell_A,
                    "positions_A": crystal.positions_A,
                    "numbers": crystal.numbers,
                    "title": "other",
                    **parts,
                }
            )
        ).key

    assert changed() == key
    assert changed(masses_amu=np.full(4, 65.0)) == key
    assert changed(numbers=[29, 29, 29, 28]) != key
    moved = crystal.positions_A.copy()
    moved[0, 0] = np.nextafter(moved[0, 0], 9)
    assert changed(positions_A=moved) != key
    zero, minus = moved.copy(), moved.copy()
    zero[0, 0], minus[0, 0] = 0.0, -0.0
    assert changed(positions_A=zero) == changed(positions_A=minus)
    keys = {
        calculation(labeller).key
        for labeller in (
            XtbLabeller(),
            XtbLabeller(method="GFN2-xTB"),
            XtbLabeller(accuracy=0.1),
            EmtLabeller(),
        )
    }
    assert len(keys) == 4
    assert calculation(XtbLabeller()).key == XTB.key


@pytest.mark.parametrize(
    ("labeller", "changes", "program"),
    [
        (XtbLabeller, {"max_iterations": 500, "mixer_damping": 0.1}, ""),
        (Cp2kLabeller, {"max_scf": 200, "mixing": 0.1, "mixing_memory": 12}, "cp2k"),
        (
            partial(
                EspressoLabeller,
                command=("pw.x",),
                pseudopotential_folder="/usr/share/espresso/pseudo",
                pseudopotentials={"Si": "Si.pz-vbc.UPF"},
            ),
            {"steps": 200, "mixing": 0.2},
            "espresso",
        ),
        (partial(VaspLabeller, folder="vasp"), {"steps": 400}, ""),
    ],
)
def test_the_way_to_the_same_answer_names_no_calculation(labeller, changes, program, request):
    """Rows that did not converge are tried again with more steps; those that did are not computed again."""
    if program:
        request.getfixturevalue(program)
    labeller = labeller()
    first, second = calculation(labeller), calculation(replace(labeller, **changes))
    assert first.key == second.key
    assert first.settings == second.settings
    assert rebuild(second.task) == replace(labeller, **changes)


def test_a_new_engine_version_is_a_new_calculation(monkeypatch):
    from phonograph.labels.engines import tight_binding

    monkeypatch.setattr(tight_binding, "engine_version", lambda package: "99.0")
    assert calculation(XtbLabeller()).key != XTB.key


def test_labellers_survive_the_trip_as_data():
    for labeller in (XtbLabeller(accuracy=0.1, electronic_temperature_K=1 / 3), EmtLabeller()):
        assert rebuild(calculation(labeller).task) == labeller


@pytest.mark.parametrize("seed", range(4))
def test_no_flipped_byte_changes_a_label_silently(tmp_path, seed):
    path = tmp_path / "s.sqlite"
    made = written(path)
    clean = path.read_bytes()
    rng = np.random.default_rng(seed)
    # Half of the flips hit bytes in use; the rest fall anywhere.
    used = np.flatnonzero(np.frombuffer(clean, np.uint8))
    caught = 0
    for trial in range(125):
        place = int(rng.choice(used)) if trial % 2 else int(rng.integers(len(clean)))
        dirty = bytearray(clean)
        dirty[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(dirty)
        try:
            with open_store(path) as store:
                found = [store.find(attempt.structure.key, EMT) for attempt in made]
        except InputFileError:
            caught += 1
            continue
        for attempt, one in zip(made, found, strict=True):
            assert one.result is None or same(one.result, attempt.result), place
        caught += any(one.result is None for one in found)
    assert caught > 10


def test_problems_names_every_kind_of_damage(tmp_path):
    path = tmp_path / "s.sqlite"
    written(path)
    for table, column in (
        ("label", "value"),
        ("label", "unit"),
        ("attempt", "seconds"),
        ("calculation", "settings"),
        ("structure", "positions"),
    ):
        copy = tmp_path / f"{table}-{column}.sqlite"
        shutil.copy(path, copy)
        raw = sqlite3.connect(copy)
        value = {"positions": b"12345678", "value": 1.5, "seconds": 1.5}.get(column, "changed")
        raw.execute(
            f"UPDATE {table} SET {column} = ? WHERE rowid = 1"
            if table != "label"
            else f"UPDATE {table} SET {column} = ? WHERE structure = 1 AND property = 'energy_eV_per_atom'",
            (value,),
        )
        raw.commit()
        raw.close()
        with open_store(copy) as store:
            problems = store.problems()
        assert len(problems) == 1, (table, problems)
        assert table in problems[0]


def test_a_half_written_transaction_is_undone_by_the_next_reader(tmp_path):
    """What kill -9 leaves in the middle of a commit: a file with new pages and the journal that undoes them."""
    path, torn = tmp_path / "s.sqlite", tmp_path / "torn.sqlite"
    made = written(path)
    raw = sqlite3.connect(path, isolation_level=None)
    raw.execute("PRAGMA cache_size = 1")
    raw.execute("PRAGMA cache_spill = 1")
    raw.execute("BEGIN IMMEDIATE")
    raw.execute("UPDATE label SET value = 7.0, message = hex(randomblob(9000))")
    shutil.copy(path, torn)
    shutil.copy(f"{path}-journal", f"{torn}-journal")
    raw.execute("ROLLBACK")
    raw.close()
    assert torn.read_bytes() != path.read_bytes(), "the copy must be torn for this test to mean something"
    with open_store(torn) as store:
        assert all(same(store.find(a.structure.key, EMT).result, a.result) for a in made)


def test_readers_beside_a_writer_never_see_half_a_result(tmp_path):
    path = tmp_path / "s.sqlite"
    made = attempts(60)
    with open_store(path, "write"):
        pass
    seen, stop = [], threading.Event()

    def read():
        while not stop.is_set():
            with open_store(path) as store:
                found = [store.find(attempt.structure.key, EMT) for attempt in made]
                assert not any(one.damaged for one in found)
                seen.append(sum(one.result is not None for one in found))

    failures = []

    def guarded():
        try:
            read()
        except BaseException as error:
            failures.append(error)

    readers = [threading.Thread(target=guarded) for _ in range(3)]
    for reader in readers:
        reader.start()
    with open_store(path, "write") as store:
        for attempt in made:
            store.record([attempt])
    deadline = time.monotonic() + 10
    while max(seen, default=0) < 60 and not failures and time.monotonic() < deadline:
        time.sleep(0.01)
    stop.set()
    for reader in readers:
        reader.join()
    assert failures == []
    assert max(seen) == 60


def test_second_writer_is_refused_by_name_and_the_lock_ends_with_its_holder(tmp_path):
    path = tmp_path / "s.sqlite"
    with open_store(path, "write"):
        started = time.monotonic()
        with pytest.raises(InputFileError, match=r"is being written by process \d+ on \S+; wait for it or stop it"):
            open_store(path, "write").__enter__()
        assert time.monotonic() - started < 1
        with open_store(path) as reader:
            assert reader.problems() == ()
    with open_store(path, "write") as store:
        assert store.problems() == ()


def foreign(path, kind):
    if kind == "text":
        path.write_text("energy,gap\n1,2\n" * 100)
    elif kind == "truncated":
        written(path)
        path.write_bytes(path.read_bytes()[:20000])
    else:
        if kind in ("newer", "trigger"):
            written(path)
        raw = sqlite3.connect(path)
        statement = {
            "foreign": "CREATE TABLE systems (id INTEGER)",
            "newer": "PRAGMA user_version = 3",
            "trigger": "CREATE TRIGGER t AFTER INSERT ON label BEGIN DELETE FROM label; END",
        }[kind]
        raw.execute(statement)
        raw.commit()
        raw.close()


def look_into(path, mode):
    with open_store(path, mode) as store:
        store.problems()
        store.find(attempts(1)[0].structure.key, EMT)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("text", "is not an SQLite file, so no label store; give another path"),
        ("truncated", "damaged"),
        ("foreign", "not a label store"),
        ("newer", "schema version 3; this Phonograph reads versions 1 to 2: use a newer release"),
        ("trigger", "does not have the schema"),
    ],
)
@pytest.mark.parametrize("mode", ["read", "write"])
def test_foreign_files_are_refused_and_left_alone(tmp_path, kind, words, mode):
    path = tmp_path / "s.sqlite"
    foreign(path, kind)
    before = path.read_bytes()
    with pytest.raises(InputFileError, match=words):
        look_into(path, mode)
    assert path.read_bytes() == before
    if kind == "text":
        assert list(tmp_path.iterdir()) == [path]


def test_reading_a_store_that_is_not_there(tmp_path):
    with pytest.raises(InputFileError, match="not found"), open_store(tmp_path / "s.sqlite"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_hold_a_store(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputFileError, match="cannot write label store"), open_store(tmp_path / "file" / "s", "write"):
        pass
    (tmp_path / "s.sqlite").mkdir()
    for mode in ("read", "write"):
        with pytest.raises(InputFileError, match=r"label store .*s\.sqlite is a folder; give the path of a file"):
            open_store(tmp_path / "s.sqlite", mode).__enter__()
    assert not (tmp_path / "s.sqlite.lock").exists()


def test_odd_paths(tmp_path):
    path = tmp_path / "a ? # %41 ü" / "s t.sqlite"
    made = written(path)
    with open_store(path) as store:
        assert same(store.find(made[0].structure.key, EMT).result, made[0].result)
    assert path.is_file()
