"""Kill the driver, kill workers, fill the disk: no finished job is lost or computed twice, and the table is the same.

``PHONOGRAPH_KILLS`` sets how many random moments the slow tests take (10 by default).
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from collections import Counter
from pathlib import Path

import pytest

from phonograph.jobs import Job, open_jobs

KILLS = int(os.environ.get("PHONOGRAPH_KILLS", "10"))


def lines(log: Path) -> list[list[str]]:
    return [line.split() for line in log.read_text(encoding="utf-8").splitlines()]


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(holds, seconds: float = 120.0) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.02)


def table_of(path: Path) -> list[tuple]:
    raw = sqlite3.connect(path)
    rows = raw.execute("SELECT key, kind, parameters, status, result, message FROM job ORDER BY position").fetchall()
    raw.close()
    return rows


def done(path: Path) -> set[str]:
    if not path.exists():
        return set()
    with open_jobs(path) as table:
        return {key for key, one in table.results().items() if one.status == "done"}


@pytest.mark.slow
def test_kill_minus_nine_of_driver_and_workers(driver, tmp_path, log):
    """Every second kill hits the driver, the others a worker; then the table is that of a run nobody disturbed."""
    jobs, seconds = 60, 0.15
    moments = random.Random(11)
    path = tmp_path / "killed.sqlite"
    known: set[str] = set()
    killed = {"driver": 0, "worker": 0}
    process = driver(path, jobs, seconds, "square", 2)
    while sum(killed.values()) < KILLS and len(known) < jobs - 8:
        before = len(lines(log))
        wait_until(lambda seen=before: len(lines(log)) > seen + 1)
        time.sleep(moments.uniform(0.0, 0.3))
        if sum(killed.values()) % 2:
            victim = int(lines(log)[-1][0])
            if alive(victim):
                os.kill(victim, signal.SIGKILL)
                killed["worker"] += 1
        else:
            process.kill()
            process.wait()
            killed["driver"] += 1
            now = done(path)
            assert known <= now, "a job in the table was lost"
            known = now
            process = driver(path, jobs, seconds, "square", 2)
    out, err = process.communicate(timeout=180)
    assert (out.splitlines()[-1], err) == (f"jobs {jobs} {jobs}", "")
    assert sum(killed.values()) >= min(KILLS, 8), killed
    calm = tmp_path / "calm.sqlite"
    noted = lines(log)
    driver(calm, jobs, 0, "square", 2).communicate(timeout=180)
    assert table_of(path) == table_of(calm)
    assert not Path(f"{path}.results").exists()
    starts = Counter(n for _, word, n in noted if word == "start")
    again = starts.total() - jobs
    # A driver's kill costs what its two workers were at (and two that waited), a worker's its one.
    assert 0 < again <= 2 * killed["driver"] + killed["worker"], (again, killed)
    with open_jobs(path) as table:
        assert all(one.attempts <= 3 for one in table.results().values())


@pytest.mark.slow
def test_a_job_goes_on_where_it_was(driver, tmp_path, log):
    path = tmp_path / "t.sqlite"
    for _ in range(3):
        process = driver(path, 2, 6.0, "counting", 2)
        wait_until(lambda: len(list(Path(f"{path}.jobs").glob("*/steps.txt"))) == 2)
        time.sleep(1.0)
        process.kill()
        process.wait()
    kept = sum(len(item.read_text().splitlines()) for item in Path(f"{path}.jobs").glob("*/steps.txt"))
    assert kept >= 4
    process = driver(path, 2, 0.5, "counting", 2)
    process.communicate(timeout=120)
    with open_jobs(path) as table:
        assert [one.result["steps"] for one in table.results().values()] == [list(range(10))] * 2


def test_a_second_driver_is_refused_naming_the_first(driver, tmp_path, log):
    path = tmp_path / "t.sqlite"
    first = driver(path, 50, 0.2, "square")
    wait_until(lambda: len(lines(log)) > 0)
    out, err = driver(path, 50, 0.2, "square").communicate(timeout=60)
    assert f"SENTENCE job table {path} is being written by process {first.pid} on " in out
    assert err == ""


def test_a_full_disk_is_one_sentence_and_nothing_is_lost(driver, tmp_path, log):
    path = tmp_path / "t.sqlite"
    with open_jobs(path, "write") as table:
        table.add([Job(kind="job_toys:square", parameters={"n": n}) for n in range(200)])
    limit = path.stat().st_size + 4096
    out, err = driver(path, 200, 0, "square", 2, limit).communicate(timeout=120)
    assert out.splitlines()[-1].startswith((f"SENTENCE cannot write job table {path}", f"SENTENCE cannot write {path}"))
    assert err == ""
    kept = done(path)
    assert kept
    before = len(lines(log))
    out, err = driver(path, 200, 0, "square", 2).communicate(timeout=120)
    assert (out.splitlines()[-1], err) == ("jobs 200 200", "")
    assert kept <= done(path)
    assert len(lines(log)) - before <= 2 * (200 - len(kept)) + 4
