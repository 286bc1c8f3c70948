"""A tiny run that goes through all eight rooms in seconds: aluminium with EMT."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

POSCAR = """Al
4.05
0.0 0.5 0.5
0.5 0.0 0.5
0.5 0.5 0.0
Al
1
Direct
0.0 0.0 0.0
"""

CONFIG = """
title = "aluminium <test> & more"
seed = 7
workers = 1
[crystal]
file = "POSCAR"
supercell = [2, 2, 2]
[phonons.forces]
engine = "emt"
[sampling]
n = 16
[[sampling.sets]]
name = "phonon"
sampler = "thermal"
temperature_K = 300.0
[[sampling.sets]]
name = "random"
sampler = "paper-eq2"
amplitudes_A = [0.1, 0.2]
[[sampling.sets]]
name = "matched"
sampler = "matched-random"
match = "phonon"
n = 6
[[labels.engines]]
engine = "emt"
[training]
targets = ["energy_eV_per_atom"]
seeds = [0, 1, 2]
[training.collections]
phonon = ["phonon"]
random = ["random"]
combined = ["phonon", "random"]
[training.model]
hidden_channels = 8
[training.settings]
epochs = 12
checkpoint_s = 0.0
[explanation]
runs = 2
configurations = 1
[explanation.explainer]
epochs = 10
[thermal]
temperatures_K = [100.0, 300.0]
n = 8
check_labels = 2
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a structure and a configuration; its name has a space on purpose."""
    folder = tmp_path / "my project"
    folder.mkdir()
    (folder / "POSCAR").write_text(POSCAR)
    (folder / "tiny.toml").write_text(CONFIG)
    return folder


def phonograph(*arguments: object, folder: Path, check: bool = False) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does."""
    command = [sys.executable, "-m", "phonograph", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=check, env=environment)
