"""Schema 2 holds arrays, messages, costs and provenance; stores of every release open, read and continue."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from label_toys import copper
from store_toys import ENERGY, FORCES, GAP, PLAIN, POLARISABILITY, attempt, six, story, success

from phonograph.database.connection import network_file_system
from phonograph.errors import DataError, InputFileError
from phonograph.labels.failures import failure
from phonograph.labels.rows import array_row as stored_array
from phonograph.labels.rows import crc
from phonograph.labels.schema import META, SCHEMA_VERSION
from phonograph.labels.store import open_store
from phonograph.labels.task import calculation_key, structure_bytes
from phonograph.types import ARRAY_UNITS, PROPERTY_UNITS, Origin

STORES = Path(__file__).parent / "stores"
RELEASES = sorted(STORES.glob("schema-*.sqlite"))
SIX = [structure_bytes(crystal) for crystal in six().crystals()]


@pytest.fixture
def path(tmp_path) -> Path:
    """A store in which the whole story has been recorded."""
    with open_store(tmp_path / "s.sqlite", "write") as store:
        store.register(six())
        store.record(story(six()))
    return tmp_path / "s.sqlite"


def raw(path: Path, query: str, *parameters):
    with sqlite3.connect(path) as connection:
        rows = connection.execute(query, parameters).fetchall()
    connection.close()
    return rows


def equal(one, other) -> bool:
    same = one.values == other.values and (one.failure, one.message) == (other.failure, other.message)
    return (
        same
        and set(one.arrays) == set(other.arrays)
        and all(np.array_equal(one.arrays[name], other.arrays[name]) for name in one.arrays)
    )


def test_arrays_messages_and_failures_come_back(path):
    final = {(a.structure.key, a.calculation.key): a.result for a in story(six()) if a.final}
    with open_store(path) as store:
        for c in (FORCES, PLAIN):
            for s in SIX:
                found, expected = store.find(s.key, c), final[s.key, c.key]
                assert not found.damaged
                if expected.failure == "waiting":
                    assert found.result is None, "files that wait are no label"
                else:
                    assert equal(found.result, expected)
        assert store.find(SIX[2].key, FORCES).result.message == "attempt 2, mixing 0.1"
        arrays = store.arrays(SIX[0].key, FORCES)
        assert arrays.keys() == set(FORCES.arrays)
        assert arrays["eigenvalues_eV"].shape == (1, 2, 5)
        assert store.problems() == ()
        for place, words in ((3, "crashed"), (4, "is not in the store")):
            with pytest.raises(DataError, match=words):
                store.arrays(SIX[place].key, FORCES)


def test_find_many_is_find_without_arrays(path):
    keys = [SIX[5].key, bytes(32), *(s.key for s in SIX), SIX[5].key]
    with open_store(path) as store:
        for c in (FORCES, PLAIN, replace(PLAIN, key=bytes(32))):
            for key, found in zip(keys, store.find_many(keys, c), strict=True):
                one = store.find(key, c)
                if one.result is None:
                    assert found == one
                else:
                    assert equal(found.result, replace(one.result, arrays={}))
        assert store.find_many([], PLAIN) == []


def test_many_keys_are_found_in_any_order(tmp_path):
    made = [structure_bytes(crystal) for crystal in copper(1203).crystals()]
    with open_store(tmp_path / "s.sqlite", "write") as store:
        store.record([attempt(s, PLAIN, success(seed, PLAIN)) for seed, s in enumerate(made)])
        found = store.find_many([s.key for s in reversed(made)], PLAIN)
        expected = [success(seed, PLAIN).values for seed in reversed(range(1203))]
        assert [one.result.values for one in found] == expected
        costs = store.costs([s.key for s in made], PLAIN)
        np.testing.assert_array_equal(costs, 0.5 + np.arange(1203))
        assert [one.structure.key for one in store.labels()] == [s.key for s in made]


def test_a_damaged_array_is_a_damaged_label_and_is_mended(path):
    raw(path, "UPDATE array SET data = zeroblob(length(data)) WHERE structure = 1 AND name = 'charges_e'")
    with open_store(path, "write") as store:
        assert store.find(SIX[0].key, FORCES).damaged
        assert store.find_many([SIX[0].key], FORCES)[0].damaged
        assert next(store.labels([FORCES.key])).result.failure == "damaged"
        assert store.problems() == (f"{path}: an array of structure 1 fails its checksum",)
        store.record([attempt(SIX[0], FORCES, success(0, FORCES), ended="later")])
        assert equal(store.find(SIX[0].key, FORCES).result, success(0, FORCES))
        assert store.problems() == ()


def test_a_missing_array_is_a_damaged_label(path):
    raw(path, "DELETE FROM array WHERE structure = 1 AND name = 'charges_e'")
    with open_store(path) as store:
        assert store.find(SIX[0].key, FORCES).damaged


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE structure SET positions = zeroblob(96) WHERE id = 1", "structure 1 does not match its key"),
        ("UPDATE calculation SET engine = 'other' WHERE id = 1", "calculation 1 fails its checksum"),
        ("UPDATE calculation SET versions = '' WHERE id = 1", "calculation 1 fails its checksum"),
        (
            "UPDATE property SET unit = 'meV' WHERE name = 'band_gap_eV'",
            "property 'band_gap_eV' does not have its unit",
        ),
    ],
)
def test_what_a_label_rests_on_is_mended_by_the_next_one(path, statement, words):
    raw(path, statement)
    with open_store(path, "write") as store:
        assert store.problems() == (f"{path}: {words}" + (" or kind" if "property" in words else ""),)
        if "calculation" in words:
            with pytest.raises(InputFileError, match="calculation 1 fails its checksum; label again"):
                store.calculations()
        if "structure" in words:
            first = next(store.labels([FORCES.key]))
            assert (first.result.failure, first.structure.positions) == ("damaged", b"")
        store.record([attempt(SIX[0], FORCES, success(0, FORCES), ended="later")])
        assert store.problems() == ()
        assert store.calculations()[0].engine == "toy 1.0 DFT"


@pytest.mark.parametrize(
    ("table", "statement"),
    [
        ("table meta", "UPDATE meta SET value = 'inch' WHERE name = 'units'"),
        ("structure 1 ", "UPDATE structure SET pbc = 'TTF' WHERE id = 1"),
        ("attempt 1 ", "UPDATE attempt SET cores = 5 WHERE id = 1"),
        ("attempt 2 ", "UPDATE attempt SET log = 'x' WHERE id = 2"),
        ("sample_set 1 ", "UPDATE sample_set SET seed = 7"),
        ("sample of set 1 ", "UPDATE provenance SET temperature_K = 300 WHERE position = 2"),
        ("sample of set 1 ", "UPDATE provenance SET structure = 2 WHERE position = 2"),
        ("label of structure 77 ", "UPDATE label SET structure = 77 WHERE structure = 1 AND property = 'band_gap_eV'"),
    ],
)
def test_damage_that_no_label_rests_on_is_named(path, table, statement):
    raw(path, statement)
    with open_store(path) as store:
        (problem,) = store.problems()
    assert table in problem


def test_recording_twice_changes_nothing(path):
    before = {table: raw(path, f"SELECT * FROM {table}") for table in ("label", "array", "attempt", "structure")}
    told = {(a.structure.key, a.calculation.key, a.result.failure): a.ended for a in story(six())}
    assert told
    ended = dict(raw(path, "SELECT id, ended FROM attempt"))
    with open_store(path, "write") as store:
        store.record([replace(a, ended=ended[place]) for place, a in enumerate(story(six()), 1)])
        store.register(six())
    for table, rows in before.items():
        assert raw(path, f"SELECT * FROM {table}") == rows


def test_a_success_is_never_replaced(path):
    with open_store(path, "write") as store:
        store.record([attempt(SIX[0], FORCES, failure("timeout", "late"), ended="later")])
        store.record([attempt(SIX[0], FORCES, success(9, FORCES), ended="later still")])
        assert equal(store.find(SIX[0].key, FORCES).result, success(0, FORCES))
        assert store.costs([SIX[0].key], FORCES) == [4 * 0.5 + 4 * 9.5], "both attempts cost something"
        store.record([attempt(SIX[3], FORCES, success(3, FORCES), ended="later")])
        assert equal(store.find(SIX[3].key, FORCES).result, success(3, FORCES)), "a failure gives way"


def test_what_was_rolled_back_is_written_again(tmp_path):
    """A calculation that was new in a transaction that failed has no number afterwards."""
    unknown = replace(FORCES, key=bytes(32), arrays=("nonsense",))
    with open_store(tmp_path / "s.sqlite", "write") as store:
        with pytest.raises(KeyError):
            store.record(
                [attempt(SIX[0], FORCES, success(0, FORCES)), attempt(SIX[0], unknown, failure("crashed", ""))]
            )
        assert store.find(SIX[0].key, FORCES).result is None, "all or nothing"
        store.record([attempt(SIX[0], PLAIN, success(0, PLAIN)), attempt(SIX[0], FORCES, success(0, FORCES))])
        assert equal(store.find(SIX[0].key, FORCES).result, success(0, FORCES))
        assert store.problems() == ()


@pytest.mark.parametrize("kind", ["waiting", "engine_missing"])
def test_what_passes_is_logged_once_and_is_no_label(tmp_path, kind):
    path = tmp_path / "s.sqlite"
    with open_store(path, "write") as store:
        for moment in ("one", "two"):
            store.record([attempt(SIX[0], FORCES, failure(kind, "not yet"), ended=moment)])
        assert store.find(SIX[0].key, FORCES) == store.find(SIX[1].key, FORCES)
        store.record([attempt(SIX[0], FORCES, success(0, FORCES))])
    assert raw(path, "SELECT status FROM attempt ORDER BY id") == [(kind,), ("ok",)]
    assert raw(path, "SELECT DISTINCT status FROM label") == [("ok",)]


def test_what_is_no_label_is_not_taken_in(tmp_path):
    """A result file is data of others: what it promises is checked again where it is taken in."""
    good = success(0, FORCES)
    nan = replace(good, values={**good.values, ENERGY: float("nan")})
    short = replace(good, arrays={**good.arrays, "forces_eV_per_A": np.zeros((3, 3))})
    lacking = replace(good, values={ENERGY: 1.0})
    with open_store(tmp_path / "s.sqlite", "write") as store:
        store.record([attempt(s, FORCES, r) for s, r in zip(SIX, (nan, short, lacking), strict=False)])
        found = [store.find(s.key, FORCES).result.failure for s in SIX[:3]]
        assert found == ["unphysical", "crashed", "crashed"]
        assert store.problems() == ()


def test_costs_count_cores_and_failed_attempts(path):
    with open_store(path) as store:
        costs = store.costs([s.key for s in SIX], FORCES)
        # Seed 2 failed in no time and then took 2.5 s; failures of these toys take no time.
        np.testing.assert_array_equal(costs, [4 * 0.5, 4 * 1.5, 4 * 2.5, 0, 0, 4 * 5.5])
        log = list(store.attempts([SIX[2].key], FORCES))
        assert [(a.status, a.cores, a.host, a.log) for a in log] == [
            ("not_converged", 4, "node-7", "step 50\nno"),
            ("ok", 4, "node-7", ""),
        ]
        assert store.costs([bytes(32)], FORCES) == [0]


def test_labels_come_in_the_order_of_their_structures(tmp_path):
    """With sets registered first, the order in which labels are finished does not matter."""
    made = story(six())
    listed = []
    for name, order in (("a", made), ("b", made[::-1])):
        with open_store(tmp_path / name, "write") as store:
            store.register(six())
            for one in order:
                store.record([one])
            listed.append([(label.structure.key, label.calculation.engine) for label in store.labels()])
            assert [label.structure.key for label in store.labels([PLAIN.key])] == [s.key for s in SIX]
    assert sorted(listed[0]) == sorted(listed[1])
    assert [key for key, _ in listed[0]] == [key for key, _ in listed[1]]


def test_provenance_names_every_set_that_holds_a_structure(path):
    mine = replace(
        six("mine").first(2),
        sampler="thermal",
        temperature_K=np.array([300.0, np.nan]),
        origin=Origin(room="sampling", seed=11, settings={"a": (1, 2)}),
    )
    with open_store(path, "write") as store:
        store.register(mine)
        first = next(store.labels())
        assert [(s.set_name, s.sample_id) for s in first.samples] == [("toy", "toy-00000"), ("mine", "mine-00000")]
        sample = first.samples[1]
        assert (sample.sampler, sample.seed, sample.temperature_K, sample.index) == ("thermal", 11, 300.0, 0)
        assert np.isnan(sample.amplitude_A)
        # The set of this name that was registered last counts, and an older one can become it again.
        for count, expected in ((1, 1), (2, 2), (1, 1)):
            store.register(mine.first(count))
            owners = [s.sample_id for label in store.labels([PLAIN.key]) for s in label.samples if s.set_name == "mine"]
            assert owners == [f"mine-{place:05d}" for place in range(expected)]
        assert store.problems() == ()


def test_properties_are_a_closed_list_that_the_file_itself_keeps(path):
    assert {name: unit for name, unit in raw(path, "SELECT name, unit FROM property WHERE kind = 'array'")} == dict(
        ARRAY_UNITS
    )
    numbers = dict(raw(path, "SELECT name, unit FROM property WHERE kind = 'number'"))
    assert numbers == {**PROPERTY_UNITS, POLARISABILITY: "Å³"}
    assert raw(path, "SELECT name FROM property WHERE origin = 'user'") == [(POLARISABILITY,)]
    label = "INSERT INTO label VALUES (1, 1, ?, 1.0, ?, 'ok', '', 0)"
    for name, unit in (("gap", "eV"), (GAP, "meV"), ("forces_eV_per_A", "eV/Å")):
        with pytest.raises(sqlite3.IntegrityError, match="property or unit is not in the table property"):
            raw(path, label, name, unit)
    with pytest.raises(sqlite3.IntegrityError, match="array or unit"):
        raw(path, "INSERT INTO array VALUES (99, 1, 1, 'band_gap_eV', '[]', 'eV', x'', 0)")
    for row in (("x_eV", "", "number", "user"), ("x", "eV", "number", "user"), ("x_eV", "eV", "text", "user")):
        with pytest.raises(sqlite3.IntegrityError, match="CHECK constraint failed"):
            raw(path, "INSERT INTO property VALUES (?, ?, ?, ?)", *row)


def test_blobs_and_units_are_readable_without_us(path):
    shape, unit, data = raw(path, "SELECT shape, unit, data FROM array WHERE structure = 1 AND name = 'stress_GPa'")[0]
    expected = success(0, FORCES).arrays["stress_GPa"]
    assert (json.loads(shape), unit) == ([3, 3], "GPa")
    np.testing.assert_array_equal(np.frombuffer(data, "<f8").reshape(3, 3), expected)
    row = raw(path, "SELECT labeller, arrays, versions FROM calculation WHERE id = 1")[0]
    assert row[:2] == ("toys:Engine", "forces_eV_per_A,stress_GPa,charges_e,eigenvalues_eV")
    assert {"phonograph", "numpy"} <= json.loads(row[2]).keys()
    assert dict(raw(path, "SELECT name, value FROM meta")) == META[2]


def test_checksums_are_as_documented(path):
    """What table meta says of keys and checksums, computed here from plain SQL."""
    import struct
    import zlib

    s, c, *texts, value, check = raw(
        path,
        "SELECT s.key, c.key, property, unit, status, message, value, label.crc FROM label "
        "JOIN structure AS s ON s.id = structure JOIN calculation AS c ON c.id = calculation LIMIT 1",
    )[0]
    name, unit, status, message = (text.encode() for text in texts)
    fields = [s, c, name, struct.pack("<d", value), unit, status, message]
    assert zlib.crc32(b"\x1f".join(fields)) == check
    assert crc(s, c, *texts[:1], value, *texts[1:]) == check
    assert stored_array((s, c), "stress_GPa", np.full((3, 3), -0.0))[3] == bytes(72), "no minus zero"


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.stem)
@pytest.mark.parametrize("mode", ["read", "write"])
def test_stores_of_every_release_read_the_same_for_ever(tmp_path, release, mode):
    path = tmp_path / "s.sqlite"
    shutil.copy(release, path)
    before = path.read_bytes()
    with open_store(path, mode) as store:
        assert store.problems() == ()
        read = [
            [
                label.structure.key.hex().upper(),
                label.calculation.engine,
                label.result.failure or "ok",
                label.result.message,
                {name: float(value).hex() for name, value in label.result.values.items()},
            ]
            for label in store.labels()
        ]
    assert read == json.loads(release.with_suffix(".json").read_text(encoding="utf-8"))
    if mode == "read":
        assert path.read_bytes() == before
    assert raw(path, "PRAGMA user_version") == [(int(release.stem[-1]) if mode == "read" else SCHEMA_VERSION,)]


def test_arrays_of_every_release_are_those_that_sql_reads(tmp_path):
    """Second route: shape and little-endian bytes, as the file itself says they are kept."""
    seen = 0
    for release in RELEASES:
        path = shutil.copy(release, tmp_path / release.name)
        tables = {name for (name,) in raw(path, "SELECT name FROM sqlite_master WHERE type = 'table'")}
        plain = {}
        if "array" in tables:
            for structure, calculation, name, shape, data in raw(
                path,
                "SELECT s.key, c.key, name, shape, data FROM array JOIN structure AS s ON s.id = structure "
                "JOIN calculation AS c ON c.id = calculation",
            ):
                plain[structure, calculation, name] = np.frombuffer(data, "<f8").reshape(json.loads(shape))
        with open_store(path) as store:
            read = {
                (label.structure.key, label.calculation.key, name): values
                for label in store.labels()
                for name, values in label.result.arrays.items()
            }
        assert read.keys() == plain.keys()
        for key, values in plain.items():
            np.testing.assert_array_equal(read[key], values)
        seen += len(plain)
    assert seen, "some release keeps arrays"


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.stem)
def test_stores_of_every_release_go_on(tmp_path, release):
    path = tmp_path / "s.sqlite"
    shutil.copy(release, path)
    labels = raw(path, "SELECT * FROM label")
    spent = dict(raw(path, "SELECT structure, sum(seconds) FROM attempt WHERE status = 'ok' GROUP BY structure"))
    statements = []
    with open_store(path, "write") as store:
        assert raw(path, "SELECT * FROM label") == labels
        assert len(store.calculations()) >= 1
        assert sum(label.core_seconds for label in store.labels()) >= sum(spent.values())
        store._connection.set_trace_callback(statements.append)
        store.register(six("more"))
        store.record(story(six("more")))
        assert equal(store.find(SIX[0].key, FORCES).result, success(0, FORCES))
        assert store.problems() == ()
    assert set(labels) <= set(raw(path, "SELECT * FROM label")), "old labels keep their bytes"


def test_the_fixture_of_this_release_is_the_store_of_this_release(path):
    """Schema 2 must not drift after its fixture was made: a change needs a new version."""
    made = STORES / f"schema-{SCHEMA_VERSION}.sqlite"
    schema = "SELECT name, sql FROM sqlite_master ORDER BY name"
    assert raw(made, schema) == raw(path, schema)
    columns = "structure, calculation, property, value, unit, status, message, crc"
    assert raw(made, f"SELECT {columns} FROM label") == raw(path, f"SELECT {columns} FROM label")


def test_the_upgrade_touches_no_label(tmp_path, monkeypatch):
    path = tmp_path / "s.sqlite"
    shutil.copy(STORES / "schema-1.sqlite", path)
    statements = []
    connect = sqlite3.connect

    def traced(*arguments, **settings):
        connection = connect(*arguments, **settings)
        connection.set_trace_callback(statements.append)
        return connection

    monkeypatch.setattr("phonograph.database.connection.sqlite3.connect", traced)
    with open_store(path, "write"):
        pass
    monkeypatch.undo()
    written = [s for s in statements if s.split()[0] in ("INSERT", "UPDATE", "DELETE", "REPLACE")]
    assert written
    assert {s.split()[s.split().index("INTO") + 1] if "INTO" in s else s for s in written} <= {"meta", "property"}, (
        written
    )
    assert any(s.startswith("ALTER TABLE") for s in statements)
    fresh = tmp_path / "new.sqlite"
    with open_store(fresh, "write"):
        pass
    listed = {name for (name,) in raw(path, "SELECT name FROM property")}
    assert listed == {*PROPERTY_UNITS, *ARRAY_UNITS}, "the closed list is there before the first new label"
    schema = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name"
    squeezed = [[(n, " ".join(sql.split())) for n, sql in raw(p, schema)] for p in (path, fresh)]
    assert [n for n, _ in squeezed[0]] == [n for n, _ in squeezed[1]]


def test_a_damaged_old_store_is_not_upgraded(tmp_path):
    path = tmp_path / "s.sqlite"
    content = bytearray((STORES / "schema-1.sqlite").read_bytes())
    content[16384 * 4 + 3] ^= 0x40  # the cell count of a table's page
    path.write_bytes(content)
    with pytest.raises(InputFileError, match="is damaged"), open_store(path, "write"):
        pass
    assert path.read_bytes() == bytes(content)


def test_a_calculation_without_labels_of_its_own_keys(tmp_path):
    """Old calculations keep the names they had before arrays existed."""
    one = calculation_key("Engine", "e 1", "{}", ("energy_eV_per_atom",))
    assert one == calculation_key("Engine", "e 1", "{}", ("energy_eV_per_atom",), (), {})
    assert one != calculation_key("Engine", "e 1", "{}", ("energy_eV_per_atom",), ("stress_GPa",))


def test_snapshots_are_whole_stores(path, tmp_path):
    copy = tmp_path / "copies" / "one.sqlite"
    copy.parent.mkdir()
    with open_store(path) as store:
        store.snapshot(copy)
        store.snapshot(copy)
        with pytest.raises(InputFileError, match="another path than the store itself"):
            store.snapshot(path)
    with open_store(copy) as one, open_store(path) as other:
        assert one.problems() == ()
        pairs = zip(one.labels(), other.labels(), strict=True)
        assert all(equal(a.result, b.result) and a.samples == b.samples for a, b in pairs)
    assert sorted(p.name for p in copy.parent.iterdir()) == ["one.sqlite"]
    with open_store(copy, "write") as store:
        store.record([attempt(SIX[4], FORCES, success(4, FORCES))])


def test_a_damaged_store_gives_no_snapshot(path, tmp_path):
    raw(path, "UPDATE label SET value = 1 WHERE structure = 1")
    with open_store(path) as store, pytest.raises(InputFileError, match=r"is damaged .*it was not kept"):
        store.snapshot(tmp_path / "copy.sqlite")
    assert not (tmp_path / "copy.sqlite").exists()


MOUNTS = """\
21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 21 0:40 / /home rw,relatime shared:2 master:1 - nfs4 server:/home rw
31 30 0:41 / /home/me/local\\040disk rw - xfs /dev/sdb rw
32 21 0:42 / /scratch rw - lustre 10.0.0.1@tcp:/scratch rw
33 32 0:43 / /scratch rw - ext4 /dev/sdc rw
torn line
34 21 0:44 / /gpfs rw - gpfs gpfs rw
"""


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("/tmp/s.sqlite", ""),
        ("/home/me/s.sqlite", "nfs4"),
        ("/homework/s.sqlite", ""),
        ("/home/me/local disk/s.sqlite", ""),
        ("/scratch/s.sqlite", ""),
        ("/gpfs/a/b/s.sqlite", "gpfs"),
    ],
)
def test_network_file_systems_are_known_by_their_mount(tmp_path, place, kind):
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS, encoding="utf-8")
    assert network_file_system(Path(place), mounts) == kind
    assert network_file_system(Path(place), tmp_path / "missing") == ""


def test_a_store_on_a_network_file_system_says_so(path, monkeypatch):
    with open_store(path) as store:
        assert store.warnings == ()
    monkeypatch.setattr("phonograph.database.connection.network_file_system", lambda path: "nfs4")
    with open_store(path) as store:
        (warning,) = store.warnings
    assert "network file system (nfs4)" in warning


def test_the_store_reads_with_the_command_line_of_sqlite(path):
    program = shutil.which("sqlite3")
    if program is None:
        pytest.skip("the sqlite3 command is not installed; as root: apt-get install sqlite3")
    query = "SELECT property, value, unit FROM label WHERE structure = 1 AND calculation = 2 ORDER BY property"
    done = subprocess.run([program, "-readonly", str(path), query], capture_output=True, text=True, check=True)
    lines = [line.split("|") for line in done.stdout.splitlines()]
    assert [(name, unit) for name, _, unit in lines] == [(ENERGY, "eV/atom"), (POLARISABILITY, "Å³")]


def test_making_the_fixture_is_documented_and_works(tmp_path):
    toys = STORES.parent / "toys"
    subprocess.run(
        [sys.executable, str(STORES / "make_store.py"), str(tmp_path)],
        env={"PYTHONPATH": ":".join([*sys.path, str(toys)])},
        check=True,
    )
    made = STORES / f"schema-{SCHEMA_VERSION}.json"
    assert (tmp_path / made.name).read_text(encoding="utf-8") == made.read_text(encoding="utf-8")
