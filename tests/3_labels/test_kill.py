"""Kill the driver, kill workers, fill the disk: nothing acknowledged is lost or computed twice."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from pathlib import Path

import pytest
from label_toys import configurations_of, copper, marked

from phonograph.errors import InputFileError
from phonograph.execution.pool import WorkerPool
from phonograph.files.labels import load_labels
from phonograph.labels import AseLabeller, EmtLabeller, label, open_store
from phonograph.labels.batches import Batches
from phonograph.labels.execution import task
from phonograph.labels.execution.task import label_needs
from phonograph.labels.plan import planned
from phonograph.labels.results import results_folder


def log_lines(log: Path) -> list[tuple[int, str]]:
    return [(int(line.split()[0]), line.split()[1]) for line in log.read_text(encoding="utf-8").splitlines()]


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(holds, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def children(parent: int) -> list[int]:
    listed = Path(f"/proc/{parent}/task/{parent}/children")
    return [int(child) for child in listed.read_text(encoding="utf-8").split()] if listed.exists() else []


def stored(store: Path) -> set[tuple[bytes, str]]:
    """Every (structure, property) that the store acknowledges, whole results only."""
    if not store.exists():
        return set()
    with open_store(store) as opened:
        assert opened.problems() == ()
        rows = opened._connection.execute(
            "SELECT structure.key, property FROM label JOIN structure ON structure.id = label.structure"
        )
        return set(rows)


def attempts_per_label(store: Path) -> list[int]:
    raw = sqlite3.connect(store)
    counts = [count for (count,) in raw.execute("SELECT count(*) FROM attempt GROUP BY structure, calculation")]
    raw.close()
    return counts


@pytest.mark.slow
def test_kill_minus_nine_of_the_driver(driver, tmp_path, toy_log):
    """Kill a real driver at random moments, finish, and compare with a run that nobody disturbed."""
    labels, kills, seconds = 160, 20, 0.05
    moments = random.Random(7)
    store = tmp_path / "killed.sqlite"
    known: set[tuple[bytes, str]] = set()
    kill = 0
    # On a busy machine few labels fit between two kills: then there are more kills, not fewer labels.
    while kill < kills or (len(known) <= 20 and kill < 10 * kills):
        process = driver(store, labels, seconds)
        # Every third kill hits while the processes start, the others while labels are computed and written.
        told = [process.stdout.readline() for _ in range(1 if kill % 3 == 2 else 2)]
        assert all(line.startswith("labels ") for line in told)
        time.sleep(moments.uniform(0.0, 0.5))
        workers = children(process.pid)
        process.kill()
        process.wait()
        wait_until(lambda left=workers: not any(alive(worker) for worker in left), 30.0)
        now = stored(store)
        assert known <= now, "an acknowledged label was lost"
        known = now
        kill += 1
    assert 20 < len(known) < 2 * labels, "the kills must fall between the labels"
    for path, pause in ((store, seconds), (tmp_path / "calm.sqlite", 0)):
        out, err = driver(path, labels, pause).communicate(timeout=180)
        assert (out.splitlines()[-1], err) == (f"labels {2 * labels} {2 * labels}", "")
    assert (tmp_path / "killed.csv").read_bytes() == (tmp_path / "calm.csv").read_bytes()
    assert set(load_labels(tmp_path / "killed.csv").status) == {"ok"}
    assert attempts_per_label(store) == [1] * (2 * labels), "a finished label was computed twice"
    assert not results_folder(store).exists(), "what the killed left was taken in"
    # The workers' journals survive them: a kill costs the labels at hand, one per worker, and nothing else.
    assert labels <= len(log_lines(toy_log)) - labels <= labels + kill * 2


def test_killed_workers_lose_only_their_label(driver, tmp_path, toy_log):
    store = tmp_path / "s.sqlite"
    process = driver(store, 12, 0.2)
    killed = set()
    for _ in range(2):
        before = len(log_lines(toy_log))
        wait_until(lambda seen=before: len(log_lines(toy_log)) > seen + 1)
        victim = log_lines(toy_log)[-1][0]
        os.kill(victim, signal.SIGKILL)
        killed.add(victim)
    out, err = process.communicate(timeout=180)
    assert process.returncode == 0, (out, err)
    table = load_labels(tmp_path / "s.csv")
    assert set(table.status) == {"ok"}
    extra = [count for count in attempts_per_label(store) if count != 1]
    assert extra in ([2], [2, 2], [3]), "each kill costs one attempt of one label"


def test_interrupt_keeps_what_is_finished(driver, tmp_path, toy_log):
    store = tmp_path / "s.sqlite"
    process = driver(store, 100, 0.1)
    wait_until(lambda: len(log_lines(toy_log)) >= 6)
    workers = children(process.pid)
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert time.monotonic() - started < 15
    assert "KeyboardInterrupt" in err
    wait_until(lambda: not any(alive(worker) for worker in workers), 30.0)
    finished = stored(store)
    properties = [name for _, name in finished]
    assert properties.count("hydrostatic_stress_GPa") >= len(log_lines(toy_log)) - 2, "only labels at hand are lost"
    assert "phonograph" not in err.split("KeyboardInterrupt")[-1]


def test_second_driver_is_refused_naming_the_first(driver, tmp_path, toy_log):
    store = tmp_path / "s.sqlite"
    process = driver(store, 50, 0.2)
    wait_until(lambda: len(log_lines(toy_log)) > 0)
    started = time.monotonic()
    with pytest.raises(InputFileError, match=f"being written by process {process.pid} on "):
        label([copper(1)], [EmtLabeller()], store)
    assert time.monotonic() - started < 1
    with open_store(store) as reader:
        assert reader.problems() == ()
    process.kill()
    process.wait()
    assert set(label([copper(1)], [EmtLabeller()], store, workers=1).status) == {"ok"}


def test_full_disk_is_one_sentence_and_nothing_is_lost(driver, tmp_path, toy_log):
    store = tmp_path / "s.sqlite"
    with open_store(tmp_path / "empty.sqlite", "write"):
        pass
    limit = (tmp_path / "empty.sqlite").stat().st_size + 9 * 16384
    out, err = driver(store, 300, 0, 2, limit).communicate(timeout=180)
    last = out.splitlines()[-1]
    sentences = (f"SENTENCE cannot write label store {store}: ", f"SENTENCE cannot write {store}.results")
    assert last.startswith(sentences), (out, err)
    assert "free space" in last
    assert "Traceback" not in err
    acknowledged = int([line for line in out.splitlines() if line.startswith("labels ")][-1].split()[1])
    kept = stored(store)
    assert 0 < acknowledged < 600
    assert len(kept) == acknowledged
    before = len(log_lines(toy_log))
    out, err = driver(store, 300, 0).communicate(timeout=180)
    assert out.splitlines()[-1] == "labels 600 600"
    assert int(out.splitlines()[0].split()[1]) >= acknowledged, "what workers had finished was taken in"
    assert attempts_per_label(store) == [1] * 600
    assert len(log_lines(toy_log)) <= 300 + 2 + min(2, before)


def test_disk_full_from_the_start(driver, tmp_path):
    out, err = driver(tmp_path / "s.sqlite", 3, 0, 1, 10).communicate(timeout=180)
    assert out.startswith(f"SENTENCE cannot open label store {tmp_path / 's.sqlite'}: ")
    assert len(out.splitlines()) == 1
    assert err == ""


def test_a_results_folder_that_cannot_be_is_one_sentence(tmp_path):
    store = tmp_path / "s.sqlite"
    results_folder(store).write_text("in the way", encoding="utf-8")
    with pytest.raises(InputFileError, match=r"cannot write .*s\.sqlite\.results.*writable folder"):
        label([copper(3)], [EmtLabeller()], store, workers=1)
    results_folder(store).unlink()
    assert set(label([copper(3)], [EmtLabeller()], store, workers=1).status) == {"ok"}


def run_in_pool(pool: WorkerPool, labellers, sets, folder: Path, *, timeout_s: float = 600.0):
    """Yield ``(structure, failure, final)`` of every attempt, list by list, as the pool tells of them."""
    work = planned(sets, labellers)
    places = [(s, 0) for s in range(len(work.structures))]
    batches = Batches(work=work, missing=places, places=1, timeout_s=timeout_s, folder=folder)
    needs = label_needs(work.calculations, len(places), timeout_s)
    for ended in pool.run(needs, batches.next_task):
        decided = [batches.ended(one) for one in ended]
        yield [(place[0], one.result.failure, one.final) for item in decided for one, place in item.attempts]


def test_a_worker_that_dies_unnoticed_loses_nothing(monkeypatch, tmp_path, toy_log):
    """If a worker is killed while the news of its task is on the way, pebble never reports that task."""
    monkeypatch.setenv("LABEL_TOY_SECONDS", "0.6")
    monkeypatch.setattr("phonograph.execution.pool.LOST_S", 0.5)
    pool = WorkerPool(1)
    finished = []
    killed = 0
    for attempts in run_in_pool(pool, [toy_labeller("Toy")], [copper(3)], tmp_path):
        finished += attempts
        lines = log_lines(toy_log)
        if lines and not killed:
            killed = lines[0][0]
            for task in pool._pool._pool_manager.task_manager.tasks.values():
                task.worker_id = -1 if task.worker_id else 0
            os.kill(killed, signal.SIGKILL)
    assert sorted(one for one in finished if one[2]) == [(0, "", True), (1, "", True), (2, "", True)]
    assert (0, "crashed", False) in finished


def toy_labeller(name: str) -> AseLabeller:
    return AseLabeller(factory=f"label_toys:{name}", name="toy", version="1")


def test_a_lock_that_a_dead_worker_holds_costs_seconds(monkeypatch, tmp_path, toy_log):
    """Killed inside pebble's queue lock: the others give up after twice LOCK_S, and all labels are finished."""
    monkeypatch.setenv("LABEL_TOY_SECONDS", "1.0")
    pool, finished, taken = WorkerPool(2), [], False
    started = time.monotonic()
    for attempts in run_in_pool(pool, [toy_labeller("Toy")], [copper(8)], tmp_path, timeout_s=60.0):
        finished += [kind for _, kind, final in attempts if final]
        if not taken and log_lines(toy_log):
            taken = pool._pool._pool_manager.worker_manager.workers_channel.mutex.acquire()
    assert taken
    assert finished == [""] * 8
    assert time.monotonic() - started < 60


def test_a_stuck_pool_is_replaced(monkeypatch, tmp_path, toy_log):
    """A worker killed inside pebble's queue lock keeps the lock; then pebble cannot stop a hanging label."""
    monkeypatch.setattr(task, "GRACE_S", 0.5)
    monkeypatch.setattr("phonograph.execution.pool.LOST_S", 0.5)
    crystals = list(copper(2).crystals())
    pool = WorkerPool(1)
    finished = []
    taken = False
    sets = [configurations_of([marked(crystals[0]), crystals[1]])]
    for attempts in run_in_pool(pool, [toy_labeller("Stopped")], sets, tmp_path, timeout_s=0.3):
        finished += [(place, kind) for place, kind, final in attempts if final]
        if not taken and log_lines(toy_log):
            taken = pool._pool._pool_manager.worker_manager.workers_channel.mutex.acquire()
    assert taken
    assert sorted(finished) == [(0, "timeout"), (1, "")]
    assert not any(alive(worker) for worker, _ in log_lines(toy_log))
