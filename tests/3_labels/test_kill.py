"""Kill the driver, kill workers, fill the disk: nothing acknowledged is lost or computed twice, nothing stays behind."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from pathlib import Path

import pytest
from label_toys import copper

from phonograph.errors import InputFileError
from phonograph.files.labels import load_labels
from phonograph.labels import EmtLabeller, label, open_store
from phonograph.labels.pool import Job, WorkerPool
from phonograph.labels.task import calculation


def log_lines(log: Path) -> list[tuple[int, str]]:
    return [(int(line.split()[0]), line.split()[1]) for line in log.read_text(encoding="utf-8").splitlines()]


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(holds, seconds: float = 20.0) -> None:
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


def kill_and_resume(driver, tmp_path, log, kills, labels, seconds):
    """Kill a real driver at random moments, finish, and compare with a run that nobody disturbed."""
    moments = random.Random(7)
    store = tmp_path / "killed.sqlite"
    known: set[tuple[bytes, str]] = set()
    for _ in range(kills):
        process = driver(store, labels, seconds)
        wait_until(lambda start=process: start.stdout.readline() or start.poll() is not None)
        workers = []
        stop = time.monotonic() + moments.uniform(0.0, 1.6)
        while time.monotonic() < stop:
            workers = sorted({*workers, *children(process.pid)})
            time.sleep(0.01)
        process.kill()
        process.wait()
        wait_until(lambda left=workers: not any(alive(worker) for worker in left), 5.0)
        now = stored(store)
        assert known <= now, "an acknowledged label was lost"
        known = now
    assert len(known) < 2 * labels, "the kills came too late to mean anything"
    for path in (store, tmp_path / "calm.sqlite"):
        out, err = driver(path, labels, seconds if path == store else 0).communicate()
        assert (out.splitlines()[-1], err) == (f"labels {2 * labels} {2 * labels}", "")
    table, calm = ((tmp_path / f"{name}.csv").read_bytes() for name in ("killed", "calm"))
    assert table == calm
    assert set(load_labels(tmp_path / "killed.csv").status) == {"ok"}
    assert attempts_per_label(store) == [1] * (2 * labels), "a finished label was computed twice"
    return len(known)


def test_kill_minus_nine_of_the_driver(driver, tmp_path, toy_log):
    kill_and_resume(driver, tmp_path, toy_log, kills=3, labels=40, seconds=0.05)


@pytest.mark.slow
def test_kill_minus_nine_of_the_driver_many_times(driver, tmp_path, toy_log):
    found = kill_and_resume(driver, tmp_path, toy_log, kills=12, labels=160, seconds=0.05)
    assert found > 10, "some labels must have been acknowledged between the kills"
    # Only what was in flight when a driver died is calculated again: at most what two workers held.
    lines = log_lines(toy_log)
    assert len(lines) <= 160 + 160 + 12 * 2 * 30


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
    out, err = process.communicate(timeout=60)
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
    _, err = process.communicate(timeout=20)
    assert time.monotonic() - started < 5
    assert "KeyboardInterrupt" in err
    assert not any(alive(worker) for worker in workers)
    finished = stored(store)
    properties = [name for _, name in finished]
    assert properties.count("hydrostatic_stress_GPa") >= len(log_lines(toy_log)) - 4


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
    out, err = driver(store, 300, 0, 2, 14 * 16384).communicate(timeout=60)
    last = out.splitlines()[-1]
    assert last.startswith(f"SENTENCE cannot write label store {store}: "), (out, err)
    assert "free space" in last
    assert "Traceback" not in err
    acknowledged = int([line for line in out.splitlines() if line.startswith("labels ")][-1].split()[1])
    kept = stored(store)
    assert 0 < acknowledged < 600
    assert len(kept) == acknowledged
    out, err = driver(store, 300, 0).communicate(timeout=60)
    assert out.splitlines()[-1] == "labels 600 600"
    assert out.splitlines()[0] == f"labels {acknowledged} 600"
    assert attempts_per_label(store) == [1] * 600


def test_disk_full_from_the_start(driver, tmp_path):
    out, err = driver(tmp_path / "s.sqlite", 3, 0, 1, 10).communicate(timeout=60)
    assert out.startswith(f"SENTENCE cannot write label store {tmp_path / 's.sqlite'}")
    assert err == ""


def test_a_stuck_pool_is_replaced(monkeypatch, toy_log):
    """A worker killed inside pebble's queue lock keeps the lock; then pebble cannot stop a hanging label."""
    from label_toys import marked

    from phonograph.labels import AseLabeller

    task = calculation(AseLabeller(factory="label_toys:Hanging", name="toy", version="1")).task
    crystals = list(copper(3).crystals())
    pool = WorkerPool([task], workers=1, timeout_s=0.3, grace_s=0.5)
    jobs = [Job(name=0, labeller=0, crystal=marked(crystals[0])), Job(name=1, labeller=0, crystal=crystals[1])]
    finished = []
    taken = False
    for outcomes in pool.run(iter(jobs)):
        finished += [(one.job.name, one.result.failure) for one in outcomes if one.final]
        if not taken and log_lines(toy_log):
            taken = pool._pool._pool_manager.worker_manager.workers_channel.mutex.acquire()
    assert taken
    assert sorted(finished) == [(0, "timeout"), (1, "")]
    assert not any(alive(worker) for worker, _ in log_lines(toy_log))
