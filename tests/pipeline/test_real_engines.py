"""The quickstart itself, smaller: CHGNet, GFN1-xTB, renormalised phonons and a solid solution, end to end."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from .conftest import phonograph

SMALLER = (
    "sampling.n=6",
    "sampling.sets.matched.n=4",
    "sampling.sets.paper-eq3.n=4",
    "sampling.sets.alloy.n=3",
    'training.targets=["band_gap_eV"]',
    "training.seeds=[0]",
    "training.settings.epochs=10",
    "explanation.configurations=1",
    "explanation.explainer.epochs=20",
    "thermal.temperatures_K=[300]",
    "thermal.n=6",
    "thermal.check_labels=0",
)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.slow
def test_the_quickstart_smaller(repository: Path, tmp_path: Path) -> None:
    options = [part for override in SMALLER for part in ("--set", override)]
    quickstart = repository / "examples" / "quickstart.toml"
    done = phonograph("run", quickstart, "-o", tmp_path / "run", *options, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    run = tmp_path / "run"

    modes = rows(run / "1_phonons" / "frequencies.csv")
    assert float(modes[0]["harmonic_THz"]) < -1.0, "the 0 K cubic cell has imaginary modes"
    assert float(modes[0]["frequency_THz"]) > 0.0, "renormalised at 300 K it has none"
    warnings = [entry["warning"] for entry in json.loads((run / "manifest.json").read_text())["warnings"]]
    assert any("imaginary" in warning for warning in warnings)

    labels = rows(run / "3_labels" / "labels.csv")
    assert {row["status"] for row in labels} == {"ok"}
    assert all("GFN1-xTB" in row["band_gap_eV_engine"] for row in labels)
    assert all("chgnet" in row["energy_eV_per_atom_engine"].lower() for row in labels)
    gaps = {
        name: np.mean([float(r["band_gap_eV"]) for r in labels if r["set"] == name]) for name in ("phonon", "random")
    }
    assert gaps["random"] < gaps["phonon"] < 1.264, "static gap 1.264 eV; thermal motion closes it, Eq. 2 more so"

    curve = rows(run / "8_thermal" / "curve.csv")
    assert [(row["target"], float(row["temperature_K"]), row["n"]) for row in curve] == [("band_gap_eV", 300.0, "6")]
    assert (run / "report.html").stat().st_size < 5_000_000
