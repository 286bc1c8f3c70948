"""Folders from someone else, odd file systems, and two runs at once: nothing is lost, mixed or written elsewhere."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import sqlite3
import struct

import pytest
from label_toys import configurations_of, copper, marked

from phonograph.errors import InputFileError
from phonograph.execution.cluster_settings import ClusterSettings
from phonograph.execution.pool import WorkerPool
from phonograph.execution.seam import Finished
from phonograph.labels import AseLabeller, label, open_store
from phonograph.labels.attempts import Attempt, attempt_as_line, load_attempts, save_lines
from phonograph.labels.execution import entry, journal
from phonograph.labels.results import results_folder, take_in
from phonograph.labels.task import calculation, structure_bytes
from phonograph.run_folder import open_run
from phonograph.types import LabelResult

ENERGY = "energy_eV_per_atom"


def toy(kind: str = "Toy") -> AseLabeller:
    return AseLabeller(factory=f"label_toys:{kind}", name="Toy", version="1", provides=(ENERGY,))


def attempt() -> Attempt:
    (crystal,) = copper(1).crystals()
    result = LabelResult(values={ENERGY: -3.5}, seconds=0.5)
    return Attempt(structure=structure_bytes(crystal), calculation=calculation(toy()), result=result)


def task(count: int, result) -> str:
    structures = [structure_bytes(crystal) for crystal in copper(count).crystals()]
    return entry.describe_task(calculation(toy()), structures, 600.0, result)


@pytest.mark.parametrize("mode", ["read", "write"])
def test_a_trigger_that_has_the_name_of_a_table_is_seen(tmp_path, mode):
    path = tmp_path / "s.sqlite"
    with open_store(path, "write"):
        pass
    raw = sqlite3.connect(path)
    raw.execute("CREATE TRIGGER provenance AFTER INSERT ON label BEGIN DELETE FROM attempt; END")
    raw.execute("PRAGMA writable_schema = ON")
    columns = "type, name, tbl_name, rootpage, sql"
    rows = raw.execute(f"SELECT {columns} FROM sqlite_master WHERE tbl_name = 'provenance' ORDER BY rowid").fetchall()
    assert rows[0][0] == "table"
    raw.execute("DELETE FROM sqlite_master WHERE tbl_name = 'provenance'")  # the table then comes after the trigger
    raw.executemany(f"INSERT INTO sqlite_master ({columns}) VALUES (?, ?, ?, ?, ?)", rows)
    raw.commit()
    raw.close()
    with pytest.raises(InputFileError, match="does not have the schema of a label store"):
        open_store(path, mode).__enter__()


def test_locks_follow_no_links(tmp_path):
    """A folder from someone else must not let a lock's text overwrite a file elsewhere."""
    precious = tmp_path / "precious.txt"
    precious.write_text("mine")
    (tmp_path / "s.sqlite.lock").symlink_to(precious)
    with pytest.raises(InputFileError, match="is a symbolic link, which is not followed; remove it"):
        open_store(tmp_path / "s.sqlite", "write").__enter__()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").symlink_to(precious)
    with pytest.raises(InputFileError, match="cannot write to"):
        open_run(tmp_path / "run").__enter__()
    assert precious.read_text() == "mine"


@pytest.mark.parametrize("mode", ["read", "write"])
@pytest.mark.parametrize("how", ["name", "link"])
def test_a_journal_that_points_to_another_file_is_refused(tmp_path, mode, how):
    """SQLite deletes the file that a journal of several databases names, once it has played the journal back."""
    path, precious = tmp_path / "s.sqlite", tmp_path / "thesis é.tex"
    with open_store(path, "write"):
        pass
    precious.write_text("years of work")
    journal, name, magic = tmp_path / "s.sqlite-journal", os.fsencode(precious), bytes.fromhex("d9d505f920a163d7")
    total = sum(byte - 256 * (byte > 127) for byte in name)  # characters of this machine have a sign
    head = magic + struct.pack(">5I", 0, 0, path.stat().st_size // 16384, 512, 16384)
    if how == "name":
        end = struct.pack(">I", 65537) + name + struct.pack(">II", len(name), total) + magic
        journal.write_bytes(head.ljust(512, b"\0") + end)
    else:
        journal.symlink_to(precious)
    with pytest.raises(InputFileError, match="it points to another file; remove it"):
        open_store(path, mode).__enter__()
    assert precious.read_text() == "years of work"


def test_results_are_not_taken_from_behind_a_link(tmp_path):
    """Taking in deletes journals and half-written files; a link could point to anybody's."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "lab.journal").write_text("not ours")
    results_folder(tmp_path / "s.sqlite").symlink_to(elsewhere)
    with pytest.raises(InputFileError, match="is a symbolic link"):
        label([copper(1)], [toy()], tmp_path / "s.sqlite", workers=1)
    assert (elsewhere / "lab.journal").read_text() == "not ours"


def test_a_store_has_one_lock_and_one_journal_by_whatever_name(tmp_path, toy_log):
    path, link = tmp_path / "s.sqlite", tmp_path / "link.sqlite"
    link.symlink_to(path)
    with open_store(path, "write"), pytest.raises(InputFileError, match="is being written by process"):
        open_store(link, "write").__enter__()
    entry.run_task(task(2, results_folder(path) / "a.result"))
    label([copper(2)], [toy()], link, workers=1)
    assert len(toy_log.read_text().splitlines()) == 2
    assert not results_folder(path).exists()
    assert not results_folder(link).exists()
    with open_store(link) as store:
        assert store.path == path
        assert store.problems() == ()


def test_a_file_system_without_locks_is_told_as_what_it_is(tmp_path, monkeypatch):
    def refuse(*arguments: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(InputFileError, match="No locks available; its file system has no locks"):
        open_store(tmp_path / "s.sqlite", "write").__enter__()
    with pytest.raises(InputFileError, match="No locks available; its file system has no locks"):
        open_run(tmp_path / "run").__enter__()


@pytest.mark.parametrize(
    "change",
    [
        {"seconds": float("nan")},
        {"seconds": -1.0},
        {"host": None},
        {"ended": 5},
        {"cores": "x"},
        {"cores": 2**70},
        {"final": "no"},
        {"calculation": {"task": "nonsense"}},
        {"calculation": {"task": "[1]"}},
        {"calculation": {"settings": {}}},
        {"calculation": {"key": "00"}},
        {"calculation": {"provides": ["odd"]}, "values": {"odd": "0x1p0"}},
        {"calculation": {"provides": ["a,b_eV"]}, "values": {"a,b_eV": "0x1p0"}},
        {"calculation": {"arrays": ["new_eV"]}, "arrays": {"new_eV": {"shape": [1], "f8": "AAAAAAAA8D8="}}},
    ],
)
def test_results_that_this_release_cannot_store_are_put_aside(tmp_path, change):
    """Those of a newer release, or forged: the file is whole, and what it says is not."""
    path = tmp_path / "s.sqlite"
    plain = json.loads(attempt_as_line(attempt()))
    plain |= {**change, "calculation": {**plain["calculation"], **change.get("calculation", {})}}
    file = results_folder(path) / "x.result"
    save_lines(file, [json.dumps(plain).encode()])
    with pytest.raises(InputFileError, match="is not a result file"):
        load_attempts(file)
    with open_store(path, "write") as store:
        assert [one.name for one in take_in(path, store).damaged] == ["x.result"]
        assert store.calculations() == ()


def test_a_calculation_whose_key_is_damaged_is_mended(tmp_path):
    path, one = tmp_path / "s.sqlite", attempt()
    with open_store(path, "write") as store:
        store.record([one])
    raw = sqlite3.connect(path)
    raw.execute("UPDATE calculation SET key = zeroblob(32)")
    raw.commit()
    raw.close()
    with open_store(path, "write") as store:
        assert store.find(one.structure.key, one.calculation).result is None
        with pytest.raises(InputFileError, match="calculation 1 fails its checksum; label again"):
            store.calculations()
        store.record([one])
        assert [stored.key for stored in store.calculations()] == [one.calculation.key]
        assert store.problems() == ()


def test_a_torn_line_of_a_journal_takes_nothing_with_it(tmp_path):
    result = tmp_path / "a.result"
    journal.journal_of(result).write_bytes(b"0123 half a li")
    with journal.opened(result) as left:
        left.add([attempt()])
    assert len(journal.read_journal(journal.journal_of(result)).attempts) == 1


class Leaving(WorkerPool):
    """Local processes that behave as blocks that an earlier run left: they finish something while they are ended."""

    def clear(self, results):
        entry.run_task(task(2, results / "late.result"))


def test_what_is_finished_while_earlier_blocks_are_ended_is_kept(tmp_path, toy_log):
    labels = label([copper(3)], [toy()], tmp_path / "s.sqlite", executor=Leaving(1))
    assert set(labels.status) == {"ok"}
    assert len(toy_log.read_text().splitlines()) == 3


class Detached:
    """An executor whose workers go on after ^C, as blocks with ``detach`` do."""

    leaves_work = True

    def clear(self, results):
        pass

    def places(self, needs):
        return 1

    def run(self, needs, next_task):
        task = next_task()
        yield []
        entry.run_task(task.text)
        raise KeyboardInterrupt
        yield [Finished(task=task)]


def test_an_interrupt_leaves_the_files_of_workers_that_go_on(tmp_path, toy_log):
    """Whoever ends the blocks looks for these files: those that are missing are still owed."""
    path = tmp_path / "s.sqlite"
    with pytest.raises(KeyboardInterrupt):
        label([copper(1)], [toy()], path, executor=Detached())
    assert [one.suffix for one in results_folder(path).iterdir()] == [".result"]
    assert set(label([copper(1)], [toy()], path, workers=1).status) == {"ok"}
    assert len(toy_log.read_text().splitlines()) == 1
    assert not results_folder(path).exists()


def test_stores_that_share_a_folder_for_blocks_do_not_cancel_each_other(tmp_path):
    from phonograph.execution import cluster_parsl

    settings = ClusterSettings(cores_per_node=1, folder=str(tmp_path / "blocks"))
    one, other = (cluster_parsl.own_folder(settings, results_folder(tmp_path / name)) for name in ("a", "b"))
    assert one != other
    assert one.parent == other.parent == tmp_path / "blocks"
    assert one == cluster_parsl.own_folder(settings, results_folder(tmp_path / "a"))


@pytest.mark.parametrize(("kind", "statuses"), [("Hanging", ["timeout"]), ("Dying", ["crashed"] * 3)])
def test_labels_that_are_killed_have_a_cost(tmp_path, toy_log, monkeypatch, kind, statuses):
    monkeypatch.setenv("LABEL_TOY_SECONDS", "0.6")
    (crystal,) = copper(1).crystals()
    bad = marked(crystal)
    label([configurations_of([bad])], [toy(kind)], tmp_path / "s.sqlite", workers=1, timeout_s=1.5)
    with open_store(tmp_path / "s.sqlite") as store:
        logged = list(store.attempts([structure_bytes(bad).key], calculation(toy(kind))))
    assert [one.status for one in logged] == statuses
    assert all(0.2 < one.seconds < 10 for one in logged)
