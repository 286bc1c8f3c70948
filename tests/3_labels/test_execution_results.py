"""Result files: what a killed run or a detached one left is taken in; what is damaged is not believed."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import random
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from label_toys import FreeLabeller, copper

from phonograph.errors import InputFileError
from phonograph.labels import AseLabeller, label, open_store
from phonograph.labels.attempts import Attempt, load_attempts, save_attempts
from phonograph.labels.execution import entry, journal
from phonograph.labels.results import results_folder
from phonograph.labels.task import calculation, structure_bytes
from phonograph.types import LabelResult

ENERGY = "energy_eV_per_atom"


def toy() -> AseLabeller:
    return AseLabeller(factory="label_toys:Toy", name="Toy", version="1", provides=(ENERGY,))


def executions(log: Path) -> Counter[str]:
    return Counter(line.split()[1] for line in log.read_text(encoding="utf-8").splitlines())


def task(count: int, result: Path, labeller=None) -> str:
    structures = [structure_bytes(crystal) for crystal in copper(count).crystals()]
    return entry.describe_task(calculation(labeller or toy()), structures, 600.0, result)


def test_what_a_detached_worker_left_is_not_computed_again(tmp_path, toy_log):
    store = tmp_path / "s.sqlite"
    entry.run_task(task(3, results_folder(store) / "a.result"))
    assert executions(toy_log).total() == 3
    labels = label([copper(5)], [toy()], store, workers=1)
    assert set(labels.status) == {"ok"}
    assert set(executions(toy_log).values()) == {1}
    assert not results_folder(store).exists()
    assert not any("damaged" in words for words in labels.warnings)
    with open_store(store) as opened:
        assert opened.problems() == ()


def test_a_task_that_is_run_again_goes_on(tmp_path, toy_log):
    """Executors may run a task twice: after a finished one nothing happens, after a killed one only what is left."""
    result = tmp_path / "a.result"
    entry.run_task(task(4, result))
    content = result.read_bytes()
    entry.run_task(task(4, result))
    assert executions(toy_log).total() == 4
    attempts = load_attempts(result)
    result.unlink()
    with journal.opened(result) as left:
        left.add(attempts[:3])
    with journal.journal_of(result).open("ab") as stream:
        stream.write(content[:100])
    entry.run_task(task(4, result))
    assert executions(toy_log).total() == 5
    assert [one.structure.key for one in load_attempts(result)] == [one.structure.key for one in attempts]
    assert not journal.journal_of(result).exists()


def test_the_journal_of_a_dead_worker_is_taken_in_and_that_of_a_living_one_left_alone(tmp_path, toy_log):
    store = tmp_path / "s.sqlite"
    folder = results_folder(store)
    entry.run_task(task(3, folder / "whole.result"))
    attempts = load_attempts(folder / "whole.result")
    (folder / "whole.result").unlink()
    with journal.opened(folder / "dead.result") as left:
        left.add(attempts[:2])
    (folder / ".dead.result.abcdef.part").write_bytes(b"half")
    with journal.opened(folder / "living.result") as left:
        left.add(attempts[2:])
        (folder / ".living.result.abcdef.part").write_bytes(b"half")
        label([copper(3)], [toy()], store, workers=1)
        names = {path.name for path in folder.iterdir()}
    assert names == {"living.journal", ".living.result.abcdef.part"}
    assert sorted(executions(toy_log).values()) == [1, 1, 2]


def test_damaged_foreign_and_lying_result_files_are_told_and_computed_again(tmp_path, toy_log):
    store = tmp_path / "s.sqlite"
    folder = results_folder(store)
    entry.run_task(task(1, folder / "sound.result"))
    content = (folder / "sound.result").read_bytes()
    (attempt,) = load_attempts(folder / "sound.result")
    (folder / "empty.result").write_bytes(b"")
    (folder / "torn.result").write_bytes(content[:-30])
    (folder / "foreign.result").write_bytes(os.urandom(500))
    lies = {
        "nan": LabelResult(values={ENERGY: float("nan")}),
        "other": LabelResult(values={"band_gap_eV": 1.0}),
        "unknown": LabelResult(values={}, failure="lazy"),
    }
    for name, result in lies.items():
        save_attempts(folder / f"{name}.result", [dataclasses.replace(attempt, result=result)])
    (folder / "sound.result").unlink()
    labels = label([copper(2)], [toy()], store, workers=1)
    assert set(labels.status) == {"ok"}
    assert sum("6 result files of an earlier run were damaged" in words for words in labels.warnings) == 1
    assert {path.suffix for path in folder.iterdir()} == {".damaged"}
    again = label([copper(2)], [toy()], store, workers=1)
    assert not any("damaged" in words for words in again.warnings), "told once"


def test_no_flipped_byte_of_a_result_file_or_journal_changes_a_label(tmp_path):
    result = tmp_path / "a.result"
    entry.run_task(task(2, result, FreeLabeller()))
    attempts = load_attempts(result)
    content = result.read_bytes()
    with journal.opened(tmp_path / "b.result") as left:
        left.add(attempts)
    lines = journal.journal_of(tmp_path / "b.result").read_bytes()
    moments = random.Random(5)
    for _ in range(300):
        place, bit = moments.randrange(len(content)), 1 << moments.randrange(8)
        result.write_bytes(content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :])
        with pytest.raises(InputFileError, match="damaged"):
            load_attempts(result)
        place = moments.randrange(len(lines))
        (tmp_path / "c.journal").write_bytes(lines[:place] + bytes([lines[place] ^ bit]) + lines[place + 1 :])
        found = [plain(one) for one in journal.read_journal(tmp_path / "c.journal").attempts]
        assert len(found) < 2
        assert all(one in [plain(known) for known in attempts] for one in found)


def plain(attempt: Attempt) -> tuple[bytes, bytes, dict[str, float]]:
    return attempt.structure.key, attempt.calculation.key, dict(attempt.result.values)


def test_a_failure_from_an_old_file_never_replaces_a_label(tmp_path, toy_log):
    store = tmp_path / "s.sqlite"
    folder = results_folder(store)
    first = label([copper(1)], [toy()], store, workers=1)
    entry.run_task(task(1, folder / "a.result"))
    (attempt,) = load_attempts(folder / "a.result")
    late = dataclasses.replace(attempt, result=LabelResult(values={}, failure="timeout", message="late"))
    save_attempts(folder / "a.result", [late])
    again = label([copper(1)], [toy()], store, workers=1)
    assert again.status == ("ok",)
    assert again.column(ENERGY).values[0] == first.column(ENERGY).values[0]


def test_a_lock_tells_a_living_worker_from_a_dead_one(tmp_path):
    path = tmp_path / "a.journal"
    assert not journal.is_alive(path)
    with journal.opened(tmp_path / "a.result"):
        assert journal.is_alive(path)
    assert not journal.is_alive(path)


def test_without_locks_the_age_of_a_journal_decides(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(37, "No locks available")

    path = tmp_path / "a.journal"
    monkeypatch.setattr(fcntl, "flock", refuse)
    with journal.opened(tmp_path / "a.result"):
        pass
    assert journal.is_alive(path)
    os.utime(path, (1, 1))
    assert not journal.is_alive(path)


@pytest.mark.slow
def test_a_real_full_disk_and_a_read_only_one(tmp_path, toy_log):
    """A file system of two megabytes: one sentence, nothing lost, and labelling goes on when there is space."""
    place = tmp_path / "small"
    place.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None or mount(place, "size=1800k").returncode:
        pytest.skip("mounting a small file system takes root")
    try:
        store = place / "s.sqlite"
        told: list[int] = []
        with pytest.raises(InputFileError, match=r"cannot write .*s\.sqlite.* free space") as caught:
            label([copper(3000)], [toy()], store, workers=2, progress=lambda _, done, total: told.append(done))
        assert "\n" not in str(caught.value)
        finished = executions(toy_log).total()
        assert 0 < told[-1] < 3000
        assert mount(place, "remount,ro").returncode == 0
        with pytest.raises(InputFileError, match="writable folder"):
            label([copper(3000)], [toy()], store, workers=2)
        assert mount(place, "remount,rw,size=30000k").returncode == 0
        assert set(label([copper(3000)], [toy()], store, workers=2).status) == {"ok"}
        # Labels whose result found no space were not finished: at two interruptions at most one in either worker.
        assert finished <= executions(toy_log).total() <= 3004
        with open_store(store) as opened:
            assert opened.problems() == ()
    finally:
        with contextlib.suppress(OSError):
            subprocess.run(["umount", str(place)], check=False)


def mount(place: Path, options: str) -> subprocess.CompletedProcess[bytes]:
    command = ["mount", "-t", "tmpfs", "-o", options, "none", str(place)]
    return subprocess.run(command, capture_output=True, check=False)
