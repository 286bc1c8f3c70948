"""Make the outputs in this folder again: python tests/3_labels/outputs/cp2k/make.py (half a minute of cp2k.psmp)."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from phonograph.labels.engines.cp2k import Cp2kLabeller
from phonograph.types import Crystal

HERE = Path(__file__).parent
ARRAYS = ("forces_eV_per_A", "stress_GPa", "eigenvalues_eV", "k_points", "k_weights")


def silicon(shift_A: float = 0.03) -> Crystal:
    """Two atoms of silicon, a = 5.43 Å, the second one off its place along z."""
    quarter = 5.43 / 4.0
    cell = 2.0 * quarter * (np.ones((3, 3)) - np.eye(3))
    positions = np.array([[0.0, 0.0, 0.0], [quarter, quarter, quarter + shift_A]])
    return Crystal(cell_A=cell, positions_A=positions, numbers=np.array([14, 14]))


PLAIN = Cp2kLabeller(
    functional="PBE",
    basis="SZV-MOLOPT-SR-GTH",
    cutoff_Ry=100.0,
    empty_states=2,
    provides_arrays=ARRAYS,
    version="2023.1",
)
CASES = {
    "k-points": replace(PLAIN, k_mesh=(2, 1, 1)),
    "gamma": replace(PLAIN, provides=("energy_eV_per_atom", "band_gap_eV", "vbm_eV", "cbm_eV"), provides_arrays=()),
    "spin": replace(PLAIN, multiplicity=3),
    "smearing": replace(PLAIN, smearing_K=3000.0, provides=(*PLAIN.provides, "fermi_level_eV")),
    "not-converged": replace(PLAIN, max_scf=2),
}


def anonymous(text: str) -> str:
    """Return an output without the machine and the folder it was made on, and without CP2K's list of references."""
    text = re.sub(r"(PROGRAM (?:RAN|STARTED|STOPPED) (?:ON|IN|BY)\s+).*", r"\1somewhere", text)
    text = re.sub(r"^ (?:MEMORY\||GLOBAL\| CPU model name).*\n", "", text, flags=re.MULTILINE)
    return re.sub(r"\n\n -+\n -\s+-\n -\s+R E F E R E N C E S[\s\S]*?(?=\n -+\n -\s+-\n -\s+T I M I N G)", "", text)


def make(name: str, labeller: Cp2kLabeller) -> None:
    """Run one case and keep its output."""
    with tempfile.TemporaryDirectory() as folder:
        labeller.write_inputs(silicon(), Path(folder))
        done = subprocess.run(["cp2k.psmp", "-i", "cp2k.inp"], cwd=folder, capture_output=True, text=True, check=True)
        if name == "k-points":
            (HERE / "k-points.inp").write_text((Path(folder) / "cp2k.inp").read_text())
    (HERE / f"{name}.out").write_text(anonymous(done.stdout))


if __name__ == "__main__":
    for case in sys.argv[1:] or CASES:
        make(case, CASES[case])
