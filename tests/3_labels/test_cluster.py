"""Labels in the queue of a cluster: a real Slurm of one node, cancelled, killed, stopped and refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest
from label_toys import copper, marked
from one_node_slurm import Slurm

from phonograph.errors import ConfigurationError, MissingEngineError, UserError
from phonograph.execution import cluster_worker
from phonograph.execution.cluster import ParslExecutor
from phonograph.execution.cluster_detached import Ledger, owed
from phonograph.execution.cluster_settings import ClusterSettings
from phonograph.files.configurations import save_configurations
from phonograph.files.labels import load_labels
from phonograph.labels import AseLabeller, EmtLabeller, label
from phonograph.labels.attempts import load_attempts
from phonograph.labels.execution.entry import describe_task
from phonograph.labels.task import calculation, structure_bytes

TOYS = Path(__file__).parent / "toys"
QUICK = {"cores_per_node": 2, "poll_s": 2.0, "heartbeat_s": 2, "heartbeat_limit_s": 8}


@pytest.fixture(scope="module")
def queue(slurm):
    """A running Slurm of one node; what the tests leave in it is cancelled and ended."""
    running = Slurm()
    running.start()
    yield running
    running.stop()
    assert not running.processes(), "something outlived its Slurm"


@pytest.fixture
def cluster_driver(started, toy_log):
    """Start a labelling process, on a cluster where settings are given."""

    def start(store, n, seconds, settings, *, toy="Toy", timeout_s=20.0, environment=()):
        arguments = (store, n, seconds, toy, timeout_s, json.dumps(settings))
        return started(TOYS / "cluster_driver.py", *arguments, environment=dict(environment))

    return start


def done(process, labels: int) -> None:
    """Read what the driver tells until so many labels are stored."""
    for line in process.stdout:
        words = line.split()
        if words[1] == "labels" and int(words[2]) >= labels:
            return
    raise AssertionError(process.stderr.read())


def said_until(process, words: str) -> str:
    """Read what the driver tells until it says this."""
    said = before = ""
    while words not in said:
        before, said = said, process.stdout.readline()
        assert said, (before, process.stderr.read())
    return said


def computed(log: Path) -> list[str]:
    """Return the structures that were calculated, once for each time."""
    return [line.split()[1] for line in log.read_text(encoding="utf-8").splitlines()]


def wait_until(holds, seconds: float) -> float:
    started = time.monotonic()
    while not holds():
        assert time.monotonic() - started < seconds, "it did not happen in time"
        time.sleep(0.1)
    return time.monotonic() - started


def finished_well(process, seconds: float = 120.0) -> list[str]:
    out, err = process.communicate(timeout=seconds)
    assert process.returncode == 0, (out, err)
    return out.splitlines()


@pytest.mark.slow
def test_a_cancelled_block_and_a_controller_that_stops_for_20_s(queue, cluster_driver, tmp_path, toy_log):
    """The block is cancelled under 16 queued labels, and Slurm answers nobody for the next 20 s: 16 of 16."""
    process = cluster_driver(tmp_path / "s.sqlite", 16, 0.5, QUICK, environment=queue.environment.items())
    done(process, 2)
    queue.client("scancel", *queue.jobs())
    queue.stop_controller()
    time.sleep(20)
    queue.start_controller()
    finished_well(process)
    table = load_labels(tmp_path / "s.csv")
    assert set(table.status) == {"ok"}
    # The two in flight may have been calculated twice, nothing else.
    counts = Counter(computed(toy_log))
    assert len(counts) == 16
    assert sum(counts.values()) <= 18
    finished_well(cluster_driver(tmp_path / "here.sqlite", 16, 0, {}))
    assert (tmp_path / "here.csv").read_bytes() == (tmp_path / "s.csv").read_bytes(), "the same verb, the same table"
    wait_until(lambda: not queue.jobs() and not queue.processes(), 10)
    # Slurm, away for 20 s, lets the cancelled block finish what it was doing: the next call takes that in as well.
    finished_well(cluster_driver(tmp_path / "s.sqlite", 16, 0, QUICK, environment=queue.environment.items()))
    assert not (tmp_path / "s.sqlite.results").exists()
    assert len(Counter(computed(toy_log))) == 16
    assert not list((tmp_path / "s.sqlite.blocks").glob("0*")), "keys and logs of a run that went well are removed"


@pytest.mark.slow
def test_driver_killed(queue, cluster_driver, tmp_path, toy_log):
    """After kill -9 the blocks end by themselves, and the next run computes only what is missing."""
    process = cluster_driver(tmp_path / "s.sqlite", 40, 0.5, QUICK, environment=queue.environment.items())
    done(process, 4)
    process.kill()
    process.wait()
    assert queue.jobs()
    assert wait_until(lambda: not queue.jobs() and not queue.processes(), 60) < 60
    before = Counter(computed(toy_log))
    assert 4 <= len(before) < 40
    finished_well(cluster_driver(tmp_path / "s.sqlite", 40, 0, {}))
    assert set(load_labels(tmp_path / "s.csv").status) == {"ok"}
    again = Counter(computed(toy_log)) - before
    assert len(Counter(computed(toy_log))) == 40
    assert sum(again.values()) <= 40 - len(before) + 2, "a finished label was computed twice"


@pytest.mark.slow
def test_detached_blocks_finish_the_queue(queue, cluster_driver, tmp_path, toy_log):
    """With detach, blocks go on after kill -9, end when all is done, and the next run only takes the labels in."""
    settings = {**QUICK, "detach": True}
    process = cluster_driver(tmp_path / "s.sqlite", 20, 0.3, settings, environment=queue.environment.items())
    done(process, 2)
    process.kill()
    process.wait()
    wait_until(lambda: not queue.jobs(), 90)
    assert Counter(computed(toy_log)) == dict.fromkeys(computed(toy_log), 1)
    assert len(computed(toy_log)) == 20
    wait_until(lambda: not queue.processes(), 10)
    finished_well(cluster_driver(tmp_path / "s.sqlite", 20, 0, {}))
    assert len(computed(toy_log)) == 20
    assert set(load_labels(tmp_path / "s.csv").status) == {"ok"}


@pytest.mark.slow
def test_a_run_beside_detached_blocks_ends_them_and_keeps_what_they_finished(queue, cluster_driver, tmp_path, toy_log):
    settings = {**QUICK, "detach": True}
    process = cluster_driver(tmp_path / "s.sqlite", 40, 0.5, settings, environment=queue.environment.items())
    done(process, 2)
    process.kill()
    process.wait()
    time.sleep(2.0)
    finished_well(cluster_driver(tmp_path / "s.sqlite", 40, 0.5, settings, environment=queue.environment.items()))
    twice = len(computed(toy_log)) - 40
    assert twice <= QUICK["cores_per_node"], "only what was at hand is computed again"
    assert set(load_labels(tmp_path / "s.csv").status) == {"ok"}


@pytest.mark.slow
def test_blocks_stop_before_their_walltime(queue, cluster_driver, tmp_path, toy_log):
    """A block takes no label that may not end in time: it leaves, and another one goes on; nothing is lost."""
    settings = {**QUICK, "cores_per_node": 1, "walltime": "00:01:00"}
    store = tmp_path / "s.sqlite"
    process = cluster_driver(store, 24, 1.0, settings, timeout_s=25.0, environment=queue.environment.items())
    blocks = set()
    while process.poll() is None:
        blocks.update(queue.jobs())
        time.sleep(0.5)
    finished_well(process)
    assert len(blocks) >= 2
    assert Counter(computed(toy_log)) == dict.fromkeys(computed(toy_log), 1), "a label was interrupted"
    assert len(computed(toy_log)) == 24


@pytest.mark.slow
def test_blocks_that_are_refused(queue, tmp_path, monkeypatch):
    """Whatever Slurm does not grant is one sentence within 10 s, and the labels are left alone."""

    def sentence(**changes):
        started = time.monotonic()
        executor = ParslExecutor(settings=ClusterSettings(**{**QUICK, **changes}))
        with pytest.raises(UserError) as caught:
            label([copper(2)], [EmtLabeller()], tmp_path / "s.sqlite", executor=executor)
        assert time.monotonic() - started < 10
        assert "\n" not in str(caught.value)
        return str(caught.value)

    for name, value in queue.environment.items():
        monkeypatch.setenv(name, value)
    assert "invalid partition specified: nowhere" in sentence(partition="nowhere")
    assert "executor.partition" in sentence(partition="nowhere")
    assert "inactive" in sentence(partition="asleep")
    assert "ask for less" in sentence(cores_per_node=10_000)
    assert "ask for less" in sentence(memory_per_node_GB=10_000)
    queue.stop_controller()
    try:
        assert "Unable to contact slurm controller" in sentence()
    finally:
        queue.start_controller()
    monkeypatch.delenv("SLURM_CONF")
    assert "asks for: Could not establish a configuration source; there is no slurm.conf" in sentence()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "sbatch is not on this machine's PATH" in sentence()


@pytest.mark.slow
def test_a_block_that_waits_is_told_and_an_interrupt_empties_the_queue(queue, cluster_driver, tmp_path):
    settings = {**QUICK, "scheduler_options": ["--hold"]}
    process = cluster_driver(tmp_path / "s.sqlite", 4, 0, settings, environment=queue.environment.items())
    said = said_until(process, "waits in the queue: JobHeldUser")
    assert "SAID block 0 (job " in said
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert err.rstrip().endswith("KeyboardInterrupt")
    wait_until(lambda: not queue.jobs() and not queue.processes(), 10)


@pytest.mark.slow
def test_blocks_that_end_before_they_begin(queue, cluster_driver, tmp_path):
    settings = {**QUICK, "worker_init": ["echo 'no such module: toys' >&2", "exit 3"]}
    process = cluster_driver(tmp_path / "s.sqlite", 4, 0, settings, environment=queue.environment.items())
    said_until(process, "block 0 ended before any of its workers started: no such module: toys")
    queue.client("scontrol", "update", "PartitionName=main", "State=DRAIN")
    said_until(process, "the queue refuses a block, it is asked again: ")
    queue.client("scontrol", "update", "PartitionName=main", "State=UP")
    out, err = process.communicate(timeout=90)
    assert process.returncode == 2, err
    assert "3 blocks ended before any of their workers started: no such module: toys; check executor" in out
    assert "Traceback" not in err


@pytest.mark.slow
def test_dying_workers_lose_only_their_label(cluster_driver, tmp_path, toy_log):
    """R5: 40 labels; a label's process and a worker are killed, and one label always kills: 39 of 40."""
    settings = {**QUICK, "scheduler": "local"}
    process = cluster_driver(tmp_path / "s.sqlite", 40, 0.2, settings, toy="Dying")
    done(process, 3)
    started = time.monotonic()
    victims = {int(line.split()[0]) for line in toy_log.read_text(encoding="utf-8").splitlines()}
    first, second = sorted(victims)[:2]
    keeper = int(Path(f"/proc/{second}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[1])
    os.kill(first, signal.SIGKILL)
    os.kill(keeper, signal.SIGKILL)
    finished_well(process)
    assert time.monotonic() - started < 60
    status = load_labels(tmp_path / "s.csv").status
    assert Counter(text == "ok" for text in status) == {True: 39, False: 1}
    assert "crashed: the worker process died (killed by SIGKILL, perhaps out of memory), 3 of 3 attempts" in status[21]


def task_of(toy: str, folder: Path, *, mark: bool = False, timeout_s: float = 5.0) -> tuple[str, Path]:
    crystal = next(iter(copper(1).crystals()))
    item = calculation(AseLabeller(factory=f"label_toys:{toy}", name="toy", version="1"))
    content = structure_bytes(marked(crystal) if mark else crystal)
    result = folder / f"{toy}{int(mark)}.result"
    return describe_task(item, [content], timeout_s, result), result


def test_the_keeper_outlives_its_labels(tmp_path, monkeypatch):
    """A label's process may print, raise, hang or die: its keeper says how it ended, and starts another."""
    monkeypatch.setenv("SLURM_NTASKS", "1")
    monkeypatch.setattr(cluster_worker, "STARTUP_S", 20.0)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    try:
        task, result = task_of("Noisy", tmp_path, mark=True)
        assert json.loads(ask(task)) == {"died": "", "timed_out": False, "error": "", "message": ""}
        assert load_attempts(result)[0].result.failure == ""
        process = cluster_worker._kept[0]._process.pid
        environment = Path(f"/proc/{process}/environ").read_bytes()
        assert b"SLURM_NTASKS" not in environment
        assert b"OMP_NUM_THREADS=1" in environment
        (scratch,) = tmp_path.glob("phonograph-*")
        assert f"TMPDIR={scratch}".encode() in environment
        (scratch / "of a program").write_text("wave functions")
        task, result = task_of("Dying", tmp_path, mark=True)
        assert json.loads(ask(task))["died"] == "killed by SIGKILL, perhaps out of memory"
        assert not result.exists()
        assert not scratch.exists(), "what is killed cannot tidy up"
        task, _ = task_of("Toy", tmp_path)
        told = json.loads(ask(task.replace("label_toys:Toy", "label_toys:Nowhere")))
        assert told["error"] == "ConfigurationError"
        assert "a worker process cannot rebuild the labellers" in told["message"]
        monkeypatch.setattr(cluster_worker, "STARTUP_S", 3.0)
        task, _ = task_of("Hanging", tmp_path, mark=True, timeout_s=1e9)
        told = json.loads(ask(task, limit_s=1.0))
        assert (told["timed_out"], told["died"]) == (True, "stopped, its time was up")
    finally:
        for kept in cluster_worker._kept:
            kept.end()
        cluster_worker._kept.clear()
    assert not list(tmp_path.glob("phonograph-*"))


def ask(task: str, limit_s: float = 30.0) -> str:
    return cluster_worker.run(task, limit_s, cluster_worker.import_folders())


def test_what_is_owed(tmp_path):
    ledger = Ledger(tmp_path)
    results = [tmp_path / f"{i} with space.result" for i in range(3)]
    for result in results:
        ledger.add(result)
    assert owed(ledger.path, ledger.token) == 3
    results[0].touch()
    ledger.remove(results[1])
    assert owed(ledger.path, ledger.token) == 1
    assert owed(ledger.path, "another run's") is None
    assert owed(tmp_path / "nothing", ledger.token) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cores_per_node": 0}, "cores_per_node must be at least 1"),
        ({"partition": "a b"}, "executor.partition may have letters"),
        ({"partition": "main\n#SBATCH --wrap=x"}, "executor.partition may have letters"),
        ({"account": "$(reboot)"}, "executor.account may have letters"),
        ({"scheduler_options": ("--comment=`id`",)}, "executor.scheduler_options may have letters"),
        ({"scheduler_options": ("-p main",)}, "executor.scheduler_options may have letters"),
        ({"scheduler_options": ("x",)}, "must be like '--gres=gpu:1'"),
        ({"worker_init": ("a\nb",)}, "must be one line of shell each"),
        ({"worker_init": ("#SBATCH --nodes=100",)}, "put '#SBATCH --nodes=100' into scheduler_options"),
        ({"python": "/bin/python;id"}, "executor.python may have letters"),
        ({"scheduler": "pbs"}, "must be one of 'slurm', 'local'"),
        ({"walltime": "1 hour"}, "executor.walltime may have"),
        ({"walltime": "90"}, "must look like 02:30:00"),
        ({"walltime": "00:00:59"}, "at least 00:01:00"),
        ({"init_blocks": 2}, "at most max_blocks = 1"),
        ({"ports": (5, 4)}, "ports"),
        ({"ports": (55000, 54000)}, "the first and the last port"),
        ({"heartbeat_s": 20}, "at least twice heartbeat_s"),
        ({"poll_s": float("nan")}, "poll_s must be at least 1"),
    ],
)
def test_settings_that_cannot_be(changes, words):
    with pytest.raises(ConfigurationError) as caught:
        ClusterSettings(**{"cores_per_node": 4, **changes})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_how_many_labels_fit():
    settings = ClusterSettings(cores_per_node=32, memory_per_node_GB=64, walltime="1-02:00:00")
    assert settings.walltime_s == 26 * 3600
    assert settings.workers(1, 0.5) == 32
    assert settings.workers(1, 4.0) == 16
    assert settings.workers(12, 4.0) == 2
    assert settings.workers(1, 0.0) == 32
    with pytest.raises(ConfigurationError, match=r"needs 64 cores and executor\.cores_per_node is 32"):
        settings.workers(64, 1.0)
    with pytest.raises(ConfigurationError, match=r"needs 100 GB and executor\.memory_per_node_GB is 64"):
        settings.workers(1, 100.0)
    assert ClusterSettings(cores_per_node=32, workers_per_node=3).workers(1, 0.5) == 3
    assert settings.drain_s(600.0) == 26 * 3600 - 610
    assert ClusterSettings(cores_per_node=1, walltime="00:02:59").drain_s(20.0) == 120 - 30
    with pytest.raises(ConfigurationError, match="leaves no time for a label of 3595 s"):
        ClusterSettings(cores_per_node=1).drain_s(3595.0)


def test_a_folder_that_a_job_script_cannot_name(tmp_path):
    store = tmp_path / "a folder; with $(things)" / "s.sqlite"
    executor = ParslExecutor(settings=ClusterSettings(cores_per_node=1, scheduler="local"))
    with pytest.raises(ConfigurationError, match=r"set executor\.folder to another one"):
        label([copper(1)], [EmtLabeller()], store, executor=executor)


def test_without_parsl(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "phonograph.execution.cluster_parsl", None)
    for name in [name for name in sys.modules if name.split(".")[0] == "parsl"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "phonograph.execution.cluster_parsl")
    monkeypatch.delitem(sys.modules, "phonograph.execution.cluster_slurm", raising=False)
    monkeypatch.setitem(sys.modules, "parsl", None)
    executor = ParslExecutor(settings=ClusterSettings(cores_per_node=1))
    with pytest.raises(MissingEngineError, match=r'pip install "phonograph\[cluster\]"'):
        label([copper(1)], [EmtLabeller()], tmp_path / "s.sqlite", executor=executor)


def test_settings_do_not_import_parsl():
    code = "import sys, phonograph.config_labels, phonograph.labels; print('parsl' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_recipe_for_workflow_engines(repository, tmp_path):
    """The job in docs/cluster.md, with a stand-in for the engine's decorator, labels a set."""
    page = (repository / "docs" / "cluster.md").read_text(encoding="utf-8")
    code = page.split("```python\nfrom quacc import job\n")[1].split("```")[0].replace("ChgnetLabeller", "EmtLabeller")
    script = tmp_path / "recipe.py"
    run = f"""
if __name__ == "__main__":
    label_set({str(tmp_path / "set.extxyz")!r}, {str(tmp_path / "s.sqlite")!r}, {str(tmp_path / "labels.csv")!r})
"""
    script.write_text("def job(function): return function\n" + code + run, encoding="utf-8")
    save_configurations(copper(2), tmp_path / "set.extxyz")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert load_labels(tmp_path / "labels.csv").status == ("ok", "ok")
