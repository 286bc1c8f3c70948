"""Shared by all tests: real data beside the project, and a browser that CI may not do without."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background jobs ignore ^C, and so would every process that tests start and interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return ROOT


class Here:
    """An executor that runs tasks in this process."""

    leaves_work = False

    def __init__(self, workers: int = 0, *, say: object = None) -> None:
        pass

    def clear(self, results: Path) -> None:
        """Nobody else is at work."""

    def places(self, needs: object) -> int:
        """One task at a time."""
        return 1

    def run(self, needs: object, next_task: Callable[[], Any]) -> Iterator[list[Any]]:
        """Run one task after the other."""
        from phonograph.execution import dispatch
        from phonograph.execution.seam import Finished

        while (task := next_task()) is not None:
            dispatch.run(task.text)
            yield [Finished(task=task)]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Here]]:
    """Let all jobs run in this process."""
    import torch

    threads = torch.get_num_threads()
    monkeypatch.setattr("phonograph.jobs.verb.WorkerPool", Here)
    yield Here
    torch.set_num_threads(threads)


@pytest.fixture
def started() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a Python script that imports from this checkout and its own folder; ended when the test is over.

    ``started(script, *arguments, environment={})`` returns the process; its output and messages are pipes.
    """
    running: list[subprocess.Popen[str]] = []

    def start(script: Path, *arguments: object, environment: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        paths = os.pathsep.join([str(ROOT / "src"), str(script.parent)])
        process = subprocess.Popen(
            [sys.executable, str(script), *map(str, arguments)],
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths, **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        if process.poll() is None:
            # Asked first: what holds blocks of a cluster gives them back.
            process.send_signal(signal.SIGINT)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """DFT force sets that may lie beside the project; skipped with a reason where they do not."""
    folder = ROOT.parent / "shared" / "data" / "phonopy"
    if not folder.is_dir():
        pytest.skip(f"real DFT force sets not found at {folder}; see README, section 'Tests'")
    return folder


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a headless browser; in CI its absence is a failure."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("CI must have chromium: .ci/run installs it")
        pytest.skip("chromium is not installed; as root: apt-get install chromium")
    return program


def _program(name: str, packages: str) -> str:
    found = shutil.which(name)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(f"CI must have {name}: .ci/run installs it")
        pytest.skip(f"{name} is not installed; as root: apt-get install {packages}")
    return found


@pytest.fixture(scope="session")
def cp2k() -> str:
    """Path of CP2K's binary."""
    return _program("cp2k.psmp", "cp2k cp2k-data")


@pytest.fixture(scope="session")
def espresso() -> str:
    """Path of Quantum ESPRESSO's pw.x."""
    return _program("pw.x", "quantum-espresso quantum-espresso-data")


@pytest.fixture(scope="session")
def slurm() -> str:
    """Path of Slurm's controller; starting it takes root."""
    if os.geteuid() != 0:
        pytest.skip("starting a one-node Slurm takes root; run the tests as root to include these")
    return _program("slurmctld", "slurmctld slurmd slurm-client munge")
