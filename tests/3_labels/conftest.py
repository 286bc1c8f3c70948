"""Toy calculators live in a folder that worker processes can import from, as a user's own would."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

TOYS = Path(__file__).parent / "toys"
sys.path.insert(0, str(TOYS))


@pytest.fixture
def toy_log(tmp_path, monkeypatch) -> Path:
    """File into which every toy calculation writes its process and structure."""
    log = tmp_path / "toys.log"
    log.touch()
    monkeypatch.setenv("LABEL_TOY_LOG", str(log))
    return log


@pytest.fixture
def driver() -> Callable[..., subprocess.Popen[str]]:
    """Start a real labelling process: ``driver(store, n, engine, seconds, ...)``; killed at the end of the test."""
    started: list[subprocess.Popen[str]] = []
    source = Path(__file__).resolve().parents[2] / "src"

    def start(*arguments: object) -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(source), str(TOYS)])}
        process = subprocess.Popen(
            [sys.executable, str(TOYS / "label_driver.py"), *map(str, arguments)],
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
