"""Planted sets: what the paper claims is true of some and false of others."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from planted import dataset

from phonograph.files.datasets import save_dataset


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a configuration ``c.toml`` on a small planted dataset."""
    monkeypatch.chdir(tmp_path)
    save_dataset(dataset(n=40), tmp_path / "planted")
    from planted import CONFIG, POSCAR

    Path("POSCAR").write_text(POSCAR)
    Path("c.toml").write_text(CONFIG)
    return tmp_path


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)
