"""Jobs are done once, failures are named, and a table says what it is."""

from __future__ import annotations

import hashlib
import math
import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from phonograph.errors import ConfigurationError, InputFileError
from phonograph.execution.seam import Finished
from phonograph.jobs import Job, JobResult, jobs_folder, open_jobs, run_jobs
from phonograph.jobs.entry import load_outcome
from phonograph.jobs.progress import JobMeter
from phonograph.labels import open_store


def squares(count: int, kind: str = "square") -> list[Job]:
    return [Job(kind=f"job_toys:{kind}", parameters={"n": n}) for n in range(count)]


def starts(log: Path) -> list[str]:
    lines = [line.split() for line in log.read_text(encoding="utf-8").splitlines()]
    return [n for _, word, n in lines if word == "start"]


def content(found: dict[str, JobResult]) -> list[tuple]:
    return [(key, one.status, dict(one.result), one.message) for key, one in found.items()]


def test_jobs_are_done_once_in_their_order(tmp_path, log):
    told = []
    jobs = squares(6)
    found = run_jobs(jobs, tmp_path / "t.sqlite", workers=2, progress=lambda *words: told.append(words))
    assert list(found) == [job.key for job in jobs]
    assert [one.result["square"] for one in found.values()] == [0, 1, 4, 9, 16, 25]
    assert all(one.status == "done" and one.seconds > 0 and one.ended for one in found.values())
    assert told[0] == ("jobs", 0, 6)
    assert told[-1] == ("jobs", 6, 6)
    again = run_jobs(jobs + squares(8)[6:] + jobs[:2], tmp_path / "t.sqlite", workers=1)
    assert sorted(starts(log)) == [str(n) for n in range(8)], "only the two new ones were computed"
    assert content(again)[:6] == content(found)
    assert not (tmp_path / "t.sqlite.results").exists()
    with open_jobs(tmp_path / "t.sqlite") as table:
        assert table.counts() == {"done": 8}
        assert table.parameters(jobs[3].key) == {"n": 3}


def test_the_key_is_the_content():
    job = Job(kind="a:b", parameters={"x": 0.1, "y": [1, 2]})
    assert job.key == Job(kind="a:b", parameters={"y": [1, 2], "x": 0.1}, cores=4, memory_GB=9.0).key
    others = [
        Job(kind="a:c", parameters={"x": 0.1, "y": [1, 2]}),
        Job(kind="a:b", parameters={"x": 0.1 + 1e-17 * 2, "y": [2, 1]}),
        Job(kind="a:b", parameters={"x": 0.10000000000000002, "y": [1, 2]}),
        Job(kind="a:b", parameters={"x": 0.1, "y": [1, 2], "z": None}),
    ]
    assert len({job.key, *(one.key for one in others)}) == 5
    # The name of a job must not change between releases: tables are kept for years.
    plain = b'{"kind":"a:b","parameters":"{\\"x\\":0.1,\\"y\\":[1,2]}"}'
    assert job.key == hashlib.sha256(plain).hexdigest()


@pytest.mark.parametrize(
    ("kind", "parameters", "words"),
    [
        ("nowhere", {}, "'module:function'; got 'nowhere'"),
        ("a:b", {"x": float("nan")}, "plain JSON"),
        ("a:b", {"x": Path("x")}, "plain JSON"),
    ],
)
def test_a_job_that_is_none_is_refused(kind, parameters, words):
    with pytest.raises(ConfigurationError, match=words):
        Job(kind=kind, parameters=parameters)
    with pytest.raises(ConfigurationError, match="at least 1 core"):
        Job(kind="a:b", parameters={}, cores=0)


@pytest.mark.slow
def test_failures_are_named_and_the_others_go_on(tmp_path, log):
    said = []
    found = run_jobs(squares(9, "odd"), tmp_path / "t.sqlite", workers=2, timeout_s=2.0, say=said.append)
    results = list(found.values())
    assert [one.status for one in results] == [
        *("done", "refused", "crashed", "crashed", "timeout", "crashed", "crashed", "crashed", "done")
    ]
    assert results[1].message == "one is not liked; give two"
    assert results[2].message.startswith("ValueError: a bug (job_toys.py:")
    assert results[3].message == "the worker process died (killed, perhaps out of memory), 3 of 3 attempts"
    assert results[3].attempts == 3
    assert results[4].message == "no result within 2 s"
    assert "must return a mapping" in results[5].message
    assert "JSON" in results[6].message
    assert results[7].message.startswith("SystemExit")
    assert results[8].attempts == 2, "died once, then done"
    assert said[-1].startswith("jobs: 2 of 9 done, 7 failed (1 refused, 5 crashed, 1 timeout)")
    before = len(starts(log))
    assert content(run_jobs(squares(9, "odd"), tmp_path / "t.sqlite", workers=1)) == content(found)
    assert len(starts(log)) == before, "what failed stays a failure"
    some = squares(3, "odd")
    assert content(run_jobs(some, tmp_path / "t.sqlite", workers=1, retry_failed=True)) == content(found)[:3]
    assert len(starts(log)) == before + 2, "only failures are tried again"


def test_a_function_that_cannot_be_found_is_a_named_failure(tmp_path, log):
    (found,) = run_jobs([Job(kind="job_toys:missing", parameters={"n": 1})], tmp_path / "t", workers=1).values()
    assert found.status == "refused"
    assert "cannot find the function 'job_toys:missing'" in found.message


def test_a_table_of_something_else_is_one_sentence(tmp_path, log):
    path = tmp_path / "t.sqlite"
    run_jobs(squares(1), path, workers=1, purpose="the study of toys")
    with pytest.raises(ConfigurationError, match="holds the study of toys, not the study of tools; choose another"):
        run_jobs(squares(1), path, workers=1, purpose="the study of tools")
    run_jobs(squares(1), path, workers=1, purpose="the study of toys")
    with open_store(tmp_path / "labels.sqlite", "write"):
        pass
    with pytest.raises(InputFileError, match=r"labels\.sqlite is an SQLite file but not a job table"):
        run_jobs(squares(1), tmp_path / "labels.sqlite")
    with pytest.raises(InputFileError, match=r"t\.sqlite is an SQLite file but not a label store"):
        with open_store(path):
            pass
    (tmp_path / "text.sqlite").write_text("no database at all, only a line of text that is long enough" * 9)
    with pytest.raises(InputFileError, match="is not an SQLite file, so no job table; give another path"):
        run_jobs(squares(1), tmp_path / "text.sqlite")
    with pytest.raises(InputFileError, match="not found"):
        with open_jobs(tmp_path / "none.sqlite"):
            pass
    with pytest.raises(ConfigurationError, match="timeout_s must be greater than 0"):
        run_jobs(squares(1), path, timeout_s=0)


def test_a_damaged_row_is_done_again(tmp_path, log):
    path = tmp_path / "t.sqlite"
    jobs = squares(3)
    first = run_jobs(jobs, path, workers=1)
    raw = sqlite3.connect(path)
    raw.execute("UPDATE job SET result = replace(result, '4', '5') WHERE key = ?", (jobs[2].key,))
    raw.commit()
    raw.close()
    again = run_jobs(jobs, path, workers=1)
    assert content(again) == content(first)
    assert starts(log) == ["0", "1", "2", "2"]


def test_damaged_and_foreign_result_files_are_set_aside(tmp_path, log):
    path = tmp_path / "t.sqlite"
    jobs = squares(2)
    results = tmp_path / "t.sqlite.results"
    results.mkdir()
    (results / f"{jobs[0].key}.result").write_text("{}\nnonsense\n")
    found = run_jobs(jobs, path, workers=1)
    assert [one.status for one in found.values()] == ["done", "done"]
    assert [item.suffix for item in results.iterdir()] == [".damaged"]
    with pytest.raises(InputFileError, match="damaged or incomplete"):
        load_outcome(next(results.iterdir()))


class Stops:
    """An executor that does one task and is then interrupted before it tells."""

    leaves_work = False

    def clear(self, results):
        pass

    def places(self, needs):
        return 1

    def run(self, needs, next_task):
        from phonograph.execution import dispatch

        task = next_task()
        yield []
        dispatch.run(task.text)
        raise KeyboardInterrupt
        yield [Finished(task=task)]


def test_what_a_worker_finished_is_taken_in_by_the_next_run(tmp_path, log):
    path = tmp_path / "t.sqlite"
    with pytest.raises(KeyboardInterrupt):
        run_jobs(squares(2), path, executor=Stops())
    found = run_jobs(squares(2), path, workers=1)
    assert [one.result["square"] for one in found.values()] == [0, 1]
    assert starts(log) == ["0", "1"]
    assert sorted(item.name for item in jobs_folder(path).iterdir()) == sorted(found)


def test_jobs_of_more_cores_take_fewer_places(tmp_path, log, monkeypatch):
    seen = []

    class Seen(Stops):
        def run(self, needs, next_task):
            from phonograph.execution import dispatch

            seen.append((needs.cores, needs.memory_GB, needs.tasks, needs.what))
            while (task := next_task()) is not None:
                dispatch.run(task.text)
                yield [Finished(task=task)]

    one, two, three = squares(3)
    large = Job(kind=two.kind, parameters=two.parameters, cores=4, memory_GB=8.0)
    found = run_jobs([one, large, three], tmp_path / "t.sqlite", executor=Seen())
    assert seen == [(4, 8.0, 1, "job"), (1, 1.0, 2, "job")]
    assert [item.cores for item in found.values()] == [1, 4, 1]


def test_the_time_left_is_told_by_work_not_by_number(monkeypatch):
    """Longest first: after the two that take 60 s each, ten are left that take 6 s each, which is one minute."""
    clock = [0.0]
    monkeypatch.setattr("phonograph.jobs.progress.time.monotonic", lambda: clock[0])
    said = []
    meter = JobMeter(what="fits", total=12, known=Counter(), work=2 * 10.0 + 10 * 1.0, say=said.append)
    assert meter.seconds_left == math.inf
    for _ in range(2):
        clock[0] += 60.0
        meter.count("done", 60.0, 10.0)
    assert meter.seconds_left == pytest.approx(60.0)
    meter.tell()
    assert said == ["fits: 2 of 12 jobs done, 60 s each, about 60 s left, none failed, 0.0333 core-hours"]
    for _ in range(10):
        clock[0] += 6.0
        meter.count("done", 6.0, 1.0)
    assert meter.seconds_left == 0.0


@pytest.mark.parametrize("work", [0.0, -1.0, math.inf, math.nan])
def test_work_is_a_positive_number_and_names_no_job(work):
    assert Job(kind="json:dumps", parameters={}, work=7.0).key == Job(kind="json:dumps", parameters={}).key
    with pytest.raises(ConfigurationError, match="the work of a job must be a number above 0"):
        Job(kind="json:dumps", parameters={}, work=work)
