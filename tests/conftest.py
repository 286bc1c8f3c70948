"""Shared by all tests: real data beside the project, and a browser that CI may not do without."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return ROOT


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
