"""Toy jobs live in a folder that worker processes can import from, as a user's own would."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import partial
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
def driver(started) -> Callable[..., subprocess.Popen[str]]:
    """Start a real driver: ``driver(table, n, seconds, kind, ...)``."""
    return partial(started, TOYS / "job_driver.py")
