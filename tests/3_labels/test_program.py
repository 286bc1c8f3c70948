"""External programs: whatever they do, they end in time and take everything they started with them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from phonograph.execution import orphans
from phonograph.execution.deadline import limited
from phonograph.labels.engines.program import run_program, tied_to_parent
from phonograph.labels.execution.worker import ProgramKilled


def running(word: str) -> list[int]:
    """Return the processes whose command line holds ``word``."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes()
            state = (folder / "stat").read_text(encoding="utf-8", errors="replace").rsplit(")", 1)[1].split()[0]
        except (OSError, IndexError):
            continue
        if state != "Z" and any(part == word.encode() for part in line.split(b"\0")):
            found.append(int(folder.name))
    return found


def none_left(word: str, seconds: float = 5.0) -> bool:
    until = time.monotonic() + seconds
    while running(word) and time.monotonic() < until:
        time.sleep(0.05)
    return not running(word)


@pytest.fixture
def nap() -> str:
    """A length of sleep that no other process asked for, to find ours by."""
    return f"9{os.getpid()}.{time.monotonic_ns() % 1_000_000_007}"


FORKING = "trap '' TERM; (setsid sleep $1 &) ; sleep $1 & sleep $1"


def test_a_program_that_ends_by_itself(tmp_path):
    ran = run_program(["sh", "-c", "echo words; exit 3"], tmp_path, output="out", environment={"A": "b"})
    assert (ran.exit_code, ran.tail, ran.timed_out) == (3, "words\n", False)


def test_a_program_that_hangs_forks_and_ignores_is_gone_in_time(tmp_path, nap):
    started = time.monotonic()
    with limited(0.7):
        ran = run_program(["sh", "-c", FORKING, "sh", nap], tmp_path, output="out", limit_s=100)
    assert ran.timed_out
    assert time.monotonic() - started < 0.7 + 2
    assert none_left(nap, 0.5)


def test_children_that_a_finished_program_leaves_behind_are_killed(tmp_path, nap):
    assert run_program(["sh", "-c", "(setsid sleep $1 &); exit 0", "sh", nap], tmp_path, output="out").exit_code == 0
    assert none_left(nap, 0.5)


def test_a_flood_of_output_is_bounded(tmp_path):
    ran = run_program(["sh", "-c", "yes"], tmp_path, output="out", limit_s=20, largest_file_bytes=3_000_000)
    assert ran.exit_code not in (0, None), "the system stops a program that writes too much"
    assert (tmp_path / "out").stat().st_size <= 3_000_000
    assert len(ran.tail) <= 4000


@pytest.mark.parametrize("how", ["kill -9 $$", "sh -c 'kill -9 $$'; exit 137"])
def test_a_program_that_somebody_kills_is_told_apart(tmp_path, how):
    with pytest.raises(ProgramKilled, match=r"sh, exit code (-9|137)"):
        run_program(["sh", "-c", how], tmp_path, output="out")


def owner(tmp_path: Path, *command: str) -> subprocess.Popen[bytes]:
    """Start a process that runs a program and can be killed."""
    code = (
        "import sys; from pathlib import Path; from phonograph.labels.engines.program import run_program; "
        "run_program(sys.argv[2:], Path(sys.argv[1]), output='out')"
    )
    return subprocess.Popen([sys.executable, "-c", code, str(tmp_path), *command])


def wait_for(word: str, count: int) -> None:
    until = time.monotonic() + 30
    while len(running(word)) < count:
        assert time.monotonic() < until, "the program did not start"
        time.sleep(0.02)


def test_a_program_dies_with_whoever_runs_it(tmp_path, nap):
    process = owner(tmp_path, "sh", "-c", FORKING, "sh", nap)
    wait_for(nap, 5)
    process.kill()
    process.wait()
    assert none_left(nap, 3.0)


def mpi() -> list[str]:
    found = shutil.which("mpirun")
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("CI must have mpirun: .ci/run installs it with cp2k")
        pytest.skip("mpirun is not installed; as root: apt-get install openmpi-bin")
    return [found, "--oversubscribe", *(["--allow-run-as-root"] if os.geteuid() == 0 else []), "-np", "2"]


def test_ranks_of_mpi_end_in_time(tmp_path, nap):
    started = time.monotonic()
    ran = run_program([*mpi(), "sleep", nap], tmp_path, output="out", limit_s=4)
    assert ran.timed_out, ran.tail
    assert time.monotonic() - started < 4 + 2
    assert none_left(nap, 0.5)


def test_ranks_of_mpi_die_with_whoever_runs_them(tmp_path, nap):
    process = owner(tmp_path, *mpi(), "sh", "-c", "trap '' TERM; sleep $1; sleep 1", "sh", nap)
    wait_for(nap, 6)
    process.kill()
    process.wait()
    assert none_left(nap, 3.0)


def test_ranks_of_mpi_die_with_their_launcher(tmp_path, nap):
    """The parent-death signal alone, without the watchman: a launcher gives its ranks groups of their own."""
    process = subprocess.Popen(tied_to_parent([*mpi(), "sleep", nap]), start_new_session=True)
    wait_for(nap, 3)
    process.kill()
    process.wait()
    assert none_left(nap, 3.0)


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv (util-linux) is not installed")
def test_the_program_behind_a_launcher_is_found():
    setpriv = [shutil.which("setpriv"), "--pdeathsig", "KILL"]
    assert tied_to_parent(["sh", "-c", "true"]) == [*setpriv, "sh", "-c", "true"]
    assert tied_to_parent(["mpirun", "-np", "2", "--map-by", "node", "sh", "-i"]) == [
        *setpriv,
        *["mpirun", "-np", "2", "--map-by", "node"],
        *[*setpriv, "sh", "-i"],
    ]
    assert tied_to_parent(["srun", "nowhere.x"]) == [*setpriv, "srun", "nowhere.x"]


def test_temporary_files_go_also_where_a_batch_queue_ends_everything(tmp_path):
    """It first sends SIGTERM to all: the watchman must outlive that, and whom it watches."""
    code = (
        "import time; from phonograph.execution import orphans\n"
        "with orphans.scratch(orphans.new_mark('TEST')) as folder:\n"
        "    print(folder, flush=True); time.sleep(60)"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)
    folder = Path(process.stdout.readline().strip())
    (folder / "left").write_text("wave functions")
    (watchman,) = running(str(folder))
    os.kill(watchman, signal.SIGTERM)
    process.terminate()
    process.communicate()
    until = time.monotonic() + 10
    while folder.exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert folder.parent == tmp_path
    assert not folder.exists()
    assert none_left(str(folder))


def test_marks_reach_children_and_nobody_else(nap):
    mark, other = orphans.new_mark("TEST"), orphans.new_mark("TEST")
    process = subprocess.Popen(["sh", "-c", "sleep $1; true", "sh", nap], env={**os.environ, mark[0]: mark[1]})
    wait_for(nap, 2)
    assert set(orphans.marked(mark)) == set(running(nap))
    assert orphans.marked(other) == []
    orphans.kill_abandoned(mark)
    assert len(running(nap)) == 2, "their parent, this process, lives"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    orphans.kill_abandoned(mark)
    assert none_left(nap, 0.5)


FLOODED = """
import resource, sys
from pathlib import Path
from phonograph.labels.engines.program import run_program
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
ran = run_program(["yes"], Path(sys.argv[1]), output="out", largest_file_bytes=1_000_000_000)
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(Path(sys.argv[1], "out").stat().st_size, ran.exit_code, len(ran.tail), grown // 1024)
"""


def test_a_program_that_prints_a_gigabyte_costs_no_memory(tmp_path):
    """Gate R8: its output goes to a file of bounded size, of which only the end is read."""
    done = subprocess.run([sys.executable, "-c", FLOODED, str(tmp_path)], capture_output=True, text=True, check=True)
    size, code, tail, grown_MB = map(int, done.stdout.split())
    assert size == 1_000_000_000
    assert code
    assert tail < 100_000
    assert grown_MB < 50
