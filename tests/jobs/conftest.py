"""Toy jobs live in a folder that worker processes can import from, as a user's own would."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TOYS = Path(__file__).parent / "toys"
sys.path.insert(0, str(TOYS))


@pytest.fixture
def log(tmp_path, monkeypatch) -> Path:
    """File into which every toy job writes when it starts."""
    path = tmp_path / "toys.log"
    path.touch()
    monkeypatch.setenv("JOB_TOY_LOG", str(path))
    monkeypatch.delenv("JOB_TOY_SECONDS", raising=False)
    return path


@pytest.fixture
def driver():
    """Start a real driver: ``driver(table, n, seconds, kind, ...)``; killed at the end of the test."""
    started = []
    source = Path(__file__).resolve().parents[2] / "src"

    def start(*arguments: object) -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(source), str(TOYS)])}
        process = subprocess.Popen(
            [sys.executable, str(TOYS / "job_driver.py"), *map(str, arguments)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
