"""Workers: whatever dies, hangs or lies costs the label at hand, and nothing that is finished is done again."""

from __future__ import annotations

import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from label_toys import (
    FreeLabeller,
    MixingLabeller,
    ProgramLabeller,
    WaitingLabeller,
    configurations_of,
    copper,
    marked,
)

from phonograph.errors import ConfigurationError
from phonograph.execution.memory import fitting, usable_memory_GB
from phonograph.labels import AseLabeller, EmtLabeller, XtbLabeller, label, open_store
from phonograph.labels.execution import entry
from phonograph.labels.progress import Meter
from phonograph.types import LabelResult

ENERGY = "energy_eV_per_atom"


def toy(name: str) -> AseLabeller:
    return AseLabeller(factory=f"label_toys:{name}", name=name, version="1", provides=(ENERGY,))


def with_marked(count: int, marks: dict[int, int]):
    crystals = copper(count).crystals()
    return configurations_of([marked(c, marks[i]) if i in marks else c for i, c in enumerate(crystals)])


def executions(log: Path) -> Counter[str]:
    return Counter(line.split()[1] for line in log.read_text(encoding="utf-8").splitlines())


def processes(log: Path) -> list[int]:
    return [int(line.split()[0]) for line in log.read_text(encoding="utf-8").splitlines()]


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def attempt_log(store: Path) -> list[tuple[str, str]]:
    raw = sqlite3.connect(store)
    rows = raw.execute("SELECT status, message FROM attempt ORDER BY id").fetchall()
    raw.close()
    return rows


def test_two_passing_deaths_and_a_poison(tmp_path, toy_log):
    """Gate R5: 39 of 40 labels, the last one quarantined with its cause."""
    started = time.monotonic()
    sets = [with_marked(40, {7: 2, 13: 3, 21: 1})]
    labels = label(sets, [toy("Deadly")], tmp_path / "s.sqlite", workers=2)
    assert time.monotonic() - started < 30
    assert [place for place, status in enumerate(labels.status) if status != "ok"] == [21]
    assert labels.status[21] == (
        f"failed: {ENERGY}: crashed: the worker process died (killed, perhaps out of memory), 3 of 3 attempts"
    )
    died = [message for status, message in attempt_log(tmp_path / "s.sqlite") if status == "crashed"]
    assert len(died) == 5
    times = sorted(executions(toy_log).values())
    assert times[-3:] == [2, 2, 3]
    assert times[:-3] == [1] * 37, "nothing that was finished in the same task was done again"


def test_what_a_killed_worker_had_finished_of_its_task_is_kept(tmp_path, toy_log):
    """One task of ten labels, poison in the middle: the nine others are computed once."""
    sets = [with_marked(20, {15: 1})]
    labels = label(sets, [toy("Deadly")], tmp_path / "s.sqlite", workers=1)
    assert [status == "ok" for status in labels.status].count(False) == 1
    assert sorted(executions(toy_log).values()) == [1] * 19 + [3]


@pytest.mark.parametrize("name", ["Leaving", "Vanishing"])
def test_an_engine_that_exits_is_a_named_failure(tmp_path, toy_log, name):
    labels = label([with_marked(3, {1: 1})], [toy(name)], tmp_path / "s.sqlite", workers=1)
    assert [status == "ok" for status in labels.status] == [True, False, True]
    words = {
        "Leaving": "crashed: SystemExit: 0",
        "Vanishing": "the worker process died (gone without a word), 3 of 3 attempts",
    }
    assert words[name] in labels.status[1]


def test_an_engine_that_ignores_everything_is_killed_with_its_children(tmp_path, toy_log):
    """Gate R8, an engine inside the worker: it hangs, forks, leaves the session and prints without end."""
    ended = {}

    def progress(what, done, total):
        ended[done] = time.monotonic()

    labels = label([with_marked(2, {1: 1})], [toy("Deaf")], tmp_path / "s.sqlite", timeout_s=1, progress=progress)
    assert labels.status == ("ok", f"failed: {ENERGY}: timeout: no result within 1 s")
    assert len(processes(toy_log)) == 4, "two labels, two children"
    assert not any(alive(one) for one in processes(toy_log))


def test_a_hanging_label_is_stopped_within_two_seconds_of_its_limit(tmp_path, toy_log, monkeypatch):
    monkeypatch.setenv("LABEL_TOY_SECONDS", "0")
    told = []
    label(
        [with_marked(2, {1: 1})],
        [toy("Hanging")],
        tmp_path / "s.sqlite",
        workers=1,
        timeout_s=1.5,
        progress=lambda what, done, total: told.append((done, time.monotonic())),
    )
    first, last = (min(when for done, when in told if done == count) for count in (1, 2))
    assert last - first < 1.5 + 2


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ("trap '' TERM; echo $$ >> $LABEL_TOY_LOG; (setsid sleep 4711 &); sleep 4711 & sleep 4711", "timeout: stopped"),
        ("yes", "crashed: exit code "),
        ("echo nan; echo DONE", "unphysical: not finite"),
        ("echo 0x1p0; exit 0", "crashed: exit code 0, the output is not complete"),
        ("kill -9 $$", "a program of the engine was killed, perhaps out of memory (sh, exit code -9), 3 of 3 attempts"),
    ],
    ids=["hang", "flood", "nan", "half", "killed"],
)
def test_whatever_a_program_does_is_never_a_label(tmp_path, toy_log, monkeypatch, script, status):
    """Gate R8, an external program."""
    monkeypatch.setenv("LABEL_TOY_SECONDS", "0")
    sets = [with_marked(3, {1: 1})]
    labels = label(sets, [ProgramLabeller(marked_script=script)], tmp_path / "s.sqlite", workers=1, timeout_s=1.5)
    assert [one == "ok" for one in labels.status] == [True, False, True]
    assert status in labels.status[1]
    assert np.isnan(labels.column(ENERGY).values[1])
    assert not any(alive(int(line.split()[0])) for line in toy_log.read_text(encoding="utf-8").splitlines())


@pytest.mark.slow
def test_kill_minus_nine_of_drivers_workers_and_programs(driver, tmp_path, toy_log, monkeypatch):
    """Gate R6 with an external engine: at random moments the driver, a worker or the program is killed."""
    labels, kills, seconds = 48, 21, 0.25
    moments = random.Random(11)
    store = tmp_path / "killed.sqlite"
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    hits: Counter[str] = Counter()
    process, done = None, 0
    while done < kills:
        if process is None:
            process = driver(store, labels, seconds, 2, "", "program")
            assert process.stdout.readline().startswith("labels ")
        assert process.poll() is None, "the kills must fall between the labels"
        time.sleep(moments.uniform(0.0, 0.4))
        kind = ("program", "worker", "driver")[done % 3]
        if kind == "driver":
            process.kill()
            process.wait()
            process = None
        else:
            # A label that somebody kills three times is a failure, and rightly so.
            lines = [line.split() for line in toy_log.read_text(encoding="utf-8").splitlines()[-2:]]
            victims = [(int(p), name) for p, name in lines if alive(int(p)) and hits[name] < 2]
            if not victims:
                continue
            victim, name = moments.choice(victims)
            hits[name] += 1
            try:
                os.kill(victim if kind == "program" else parent(victim), signal.SIGKILL)
            except ProcessLookupError:
                continue
        done += 1
    if process is not None:
        process.kill()
        process.wait()
    kills += 1
    for path, pause in ((store, 0), (tmp_path / "calm.sqlite", 0)):
        before = sum(executions(toy_log).values())
        out, err = driver(path, labels, pause, 2, "", "program").communicate(timeout=120)
        assert (out.splitlines()[-1], err) == (f"labels {labels} {labels}", "")
    assert sum(executions(toy_log).values()) - before == labels
    assert (tmp_path / "killed.csv").read_bytes() == (tmp_path / "calm.csv").read_bytes()
    assert before <= labels + 2 * kills, "a kill costs the labels at hand"
    time.sleep(0.5)
    assert not any(alive(one) for one in processes(toy_log))
    assert list(scratch.iterdir()) == [], "temporary files of what was killed are gone too"


def parent(process: int) -> int:
    """Return the parent: of a program, the worker that runs it (1, which nobody kills, where it is gone)."""
    try:
        found = int(Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[1])
    except (FileNotFoundError, ProcessLookupError) as error:
        raise ProcessLookupError from error
    if found == 1:
        raise ProcessLookupError
    return found


def test_a_remedy_is_tried_logged_and_limited(tmp_path):
    labels = label([with_marked(3, {1: 1})], [MixingLabeller()], tmp_path / "s.sqlite", workers=1)
    assert labels.status[0] == labels.status[2] == "ok"
    assert labels.status[1] == f"failed: {ENERGY}: not_converged: attempt 3, mixing 0.1: mixing 0.1"
    log = Counter(attempt_log(tmp_path / "s.sqlite"))
    assert log[("not_converged", "mixing 0.4")] == 3
    assert log[("not_converged", "attempt 2, mixing 0.2: mixing 0.2")] == 3
    assert log[("ok", "attempt 3, mixing 0.1")] == 2


def test_what_only_waits_is_asked_again_by_every_call(tmp_path):
    file, store = tmp_path / "done", tmp_path / "s.sqlite"
    sets, labellers = [copper(2)], [WaitingLabeller(file=str(file))]
    first = label(sets, labellers, store, workers=1)
    assert first.status == (f"failed: {ENERGY}: waiting: nobody has calculated it",) * 2
    with open_store(store) as opened:
        assert opened._connection.execute("SELECT count(*) FROM label").fetchone() == (0,)
    file.touch()
    assert label(sets, labellers, store, workers=1).status == ("ok", "ok")


def test_only_the_named_failures_are_computed_again(tmp_path, toy_log):
    store, sets = tmp_path / "s.sqlite", [with_marked(2, {1: 1})]
    label(sets, [toy("Diverging")], store, workers=1)
    label(sets, [toy("Diverging")], store, workers=1, retry_failed=("timeout", "crashed"))
    assert sorted(executions(toy_log).values()) == [1, 1]
    label(sets, [toy("Diverging")], store, workers=1, retry_failed=("not_converged",))
    assert sorted(executions(toy_log).values()) == [1, 2]
    with pytest.raises(ConfigurationError, match=r"retry_failed must name failure classes, .*; got 'lazy'"):
        label(sets, [toy("Diverging")], store, workers=1, retry_failed=("lazy",))


def test_more_steps_compute_only_what_did_not_converge(tmp_path):
    store, cells = tmp_path / "s.sqlite", copper(2)
    label([cells.first(1)], [XtbLabeller()], store, workers=1)
    hasty = label([cells], [XtbLabeller(max_iterations=1)], store, workers=1)
    assert hasty.status[0] == "ok"
    assert "not_converged" in hasty.status[1]
    assert label([cells], [XtbLabeller()], store, workers=1, retry_failed=True).status == ("ok", "ok")
    with open_store(store) as opened:
        rows = opened._connection.execute("SELECT count(*) FROM attempt GROUP BY structure ORDER BY 1").fetchall()
    # The second was tried in three ways with few steps, and once with more.
    assert rows == [(1,), (4,)]


@pytest.mark.slow
def test_interrupts_while_workers_start_are_quiet(driver, tmp_path):
    """^C reaches every process of the terminal; only the driver may say something."""
    moments = random.Random(3)
    for turn in range(6):
        process = driver(tmp_path / f"{turn}.sqlite", 50, 0.05)
        assert process.stdout.readline().startswith("labels 0")
        time.sleep(moments.uniform(0.0, 1.0))
        for one in [process.pid, *descendants(process.pid)]:
            try:
                os.kill(one, signal.SIGINT)
            except ProcessLookupError:
                continue
        _, err = process.communicate(timeout=30)
        assert err.count("Traceback") <= 1, err
        assert "multiprocessing/spawn" not in err, err


def descendants(process: int) -> list[int]:
    try:
        text = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="utf-8")
        own = [int(child) for child in text.split()]
    except OSError:
        return []
    return own + [one for child in own for one in descendants(child)]


@pytest.mark.slow
def test_a_label_costs_little_besides_its_engine(tmp_path):
    """Processor time of driver and workers, so that a busy machine does not decide; the disk's wait is not in it."""

    def spent(count: int) -> float:
        before = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        label([copper(count)], [FreeLabeller()], tmp_path / f"{count}.sqlite", workers=1)
        after = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(a.ru_utime + a.ru_stime - b.ru_utime - b.ru_stime for a, b in zip(after, before, strict=True))

    assert (spent(2200) - spent(200)) / 2000 < 0.005


def test_tasks_grow_for_fast_engines_and_stay_small_for_slow_ones(tmp_path, monkeypatch):
    sizes = []
    original = entry.describe_task

    def noted(calculation, structures, timeout_s, result):
        sizes.append(len(structures))
        return original(calculation, structures, timeout_s, result)

    monkeypatch.setattr(entry, "describe_task", noted)
    label([copper(400)], [FreeLabeller()], tmp_path / "fast.sqlite", workers=1)
    assert max(sizes) > 50
    assert sizes[0] == 1, "nothing is known of the first"
    sizes.clear()
    monkeypatch.setenv("LABEL_TOY_SECONDS", "0.55")
    label([copper(5)], [toy("Toy")], tmp_path / "slow.sqlite", workers=1)
    assert sizes == [1] * 5


def group(root: Path, meminfo_kB: int, files: dict[str, str], cgroup: str) -> Path:
    for name, text in {
        "proc/meminfo": f"MemTotal: 99 kB\nMemAvailable:  {meminfo_kB} kB\n",
        "proc/self/cgroup": cgroup,
        **files,
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def test_free_memory_is_the_least_of_the_machine_and_its_groups(tmp_path):
    assert usable_memory_GB(tmp_path / "nothing") is None
    plain = group(tmp_path / "plain", 8_000_000, {}, "0::/\n")
    assert usable_memory_GB(plain) == pytest.approx(8.192)
    job = "sys/fs/cgroup/slurm/job"
    second = {
        f"{job}/memory.max": "max\n",
        "sys/fs/cgroup/slurm/memory.max": "4000000000\n",
        "sys/fs/cgroup/slurm/memory.current": "1500000000\n",
        "sys/fs/cgroup/slurm/memory.stat": "anon 1\ninactive_file 500000000\n",
    }
    assert usable_memory_GB(group(tmp_path / "two", 8_000_000, second, "0::/slurm/job\n")) == pytest.approx(3.0)
    first = {
        "sys/fs/cgroup/memory/docker/memory.limit_in_bytes": "2000000000\n",
        "sys/fs/cgroup/memory/docker/memory.usage_in_bytes": "1500000000\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        "sys/fs/cgroup/memory/memory.usage_in_bytes": "1\n",
    }
    one = group(tmp_path / "one", 8_000_000, first, "4:memory:/docker\n3:cpu,cpuacct:/\n")
    assert usable_memory_GB(one) == pytest.approx(0.5)


def test_workers_fit_into_cores_and_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("phonograph.execution.memory.usable_cores", lambda: 8)
    root = group(tmp_path, 10_000_000, {}, "")
    assert fitting(1, 0.5, root) == (8, "")
    assert fitting(3, 0.5, root) == (2, "")
    assert fitting(16, 0.5, root) == (1, "")
    count, words = fitting(1, 4.0, root, what="label")
    assert count == 2
    assert words == (
        "memory decides how many labels run at a time: 2 instead of 8, because 10.2 GB are free and a label takes 4 GB"
    )
    assert fitting(1, 40.0, root)[0] == 1
    assert fitting(1, 0.5, tmp_path / "nothing") == (8, "")


def test_it_is_said_once_when_memory_decides(tmp_path, monkeypatch):
    monkeypatch.setattr("phonograph.execution.pool.fitting", lambda cores, memory, what: (1, f"{memory:g} GB decide"))
    said = []
    label([copper(3)], [FreeLabeller()], tmp_path / "s.sqlite", say=said.append)
    assert said[0] == "0.5 GB decide"
    assert said[1].startswith("labels: 3 of 3 on disk, ")
    assert len(said) == 2


def test_progress_tells_rate_time_left_and_failures(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("phonograph.labels.progress.time.monotonic", lambda: clock[0])
    told, said = [], []
    meter = Meter(total=100, known=10, progress=lambda *words: told.append(words), say=said.append)
    meter.tell()
    clock[0] += 61
    for failed in ("", "", "timeout", "crashed", "timeout"):
        meter.count(LabelResult(values={}, failure=failed, seconds=2.0), cores=4)
    meter.tell()
    assert told == [("labels", 10, 100), ("labels", 15, 100)]
    assert said == [
        "labels: 15 of 100 on disk, 12.2 s each, 8 core-seconds each, 17 min left, 3 failed (1 crashed, 2 timeout)"
    ]
    assert meter.rate_per_s == pytest.approx(5 / 61)
    assert meter.seconds_left == pytest.approx(85 * 61 / 5)


def test_importing_phonograph_stays_light():
    code = "import sys, phonograph; print([m for m in ('pebble', 'torch', 'ase', 'parsl') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_explicit_number_of_workers_is_kept(tmp_path):
    assert set(label([copper(3)], [EmtLabeller()], tmp_path / "s.sqlite", workers=3).status) == {"ok"}
