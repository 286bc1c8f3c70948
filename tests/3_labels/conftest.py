"""Toy calculators live in a folder that worker processes can import from, as a user's own would."""

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
def toy_log(tmp_path, monkeypatch) -> Path:
    """File into which every toy calculation writes its process and structure."""
    log = tmp_path / "toys.log"
    log.touch()
    monkeypatch.setenv("LABEL_TOY_LOG", str(log))
    return log


@pytest.fixture
def driver(started) -> Callable[..., subprocess.Popen[str]]:
    """Start a real labelling process: ``driver(store, n, engine, seconds, ...)``."""
    return partial(started, TOYS / "label_driver.py")
