"""Sets of a dataset in a configuration: by folder, by name, renamed, the first n of them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

import phonograph.datasets
from phonograph.cli import main
from phonograph.files.datasets import save_dataset
from phonograph.testing import displaced, fcc
from phonograph.types import Dataset, LabelColumn, Labels


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the dataset ``shipped/copper``: 6 warm and 5 hot crystals, one hole."""
    monkeypatch.chdir(tmp_path)
    sets = tuple(displaced(fcc("Cu", 3.6), n, rms_A=0.05, name=name) for name, n in (("warm", 6), ("hot", 5)))
    values = np.arange(11.0)
    values[8] = np.nan
    labels = Labels(
        sample_ids=tuple(sample for s in sets for sample in s.ids),
        set_names=("warm",) * 6 + ("hot",) * 5,
        columns=(LabelColumn(name="band_gap_eV", unit="eV", values=values, engine="toy"),),
        status=tuple("ok" if np.isfinite(value) else "failed: band_gap_eV: crashed" for value in values),
    )
    save_dataset(Dataset(name="copper", sets=sets, labels=labels), tmp_path / "shipped" / "copper")
    return tmp_path


def run(text: str) -> int:
    Path("c.toml").write_text("workers = 1\n" + text)
    return main(["label", "c.toml", "-o", "run", "-q"])


def table() -> dict[str, str]:
    with Path("run/3_labels/labels.csv").open(encoding="utf-8", newline="") as stream:
        return {row["sample_id"]: row["band_gap_eV"] for row in csv.DictReader(stream)}


def entry(name: str, structures: str, more: str = "") -> str:
    return f'[[data.sets]]\nname = "{name}"\nformat = "dataset"\nstructures = "{structures}"\n{more}\n'


def test_sets_of_a_dataset_in_a_folder(folder: Path) -> None:
    assert run(entry("warm", "shipped/copper") + entry("mine", "shipped/copper", 'set = "hot"\nn = 4')) == 0
    assert table() == {
        **{f"warm-{i:05d}": str(float(i)) for i in range(6)},
        "mine-00000": "6.0",
        "mine-00001": "7.0",
        "mine-00002": "",
        "mine-00003": "9.0",
    }


def test_a_dataset_that_comes_with_phonograph_goes_by_its_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phonograph.datasets, "SHIPPED", folder / "shipped")
    assert run(entry("hot", "copper")) == 0
    assert len(table()) == 5
    # The resolved configuration of the run names it too, and not the place where this installation keeps it.
    assert 'structures = "copper"' in Path("run/config.resolved.toml").read_text()
    assert main(["label", "run/config.resolved.toml", "-o", "run", "-q"]) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (entry("cold", "shipped/copper"), "dataset 'copper' has no set 'cold'; it has warm, hot"),
        (
            entry("hot", "cupper"),
            "no dataset 'cupper' for the set 'hot': give the path of a dataset's folder, or one of ag3sx",
        ),
        (entry("hot", "shipped"), "SHA256SUMS"),
        (entry("hot", "shipped/copper", "n = -1"), "n must be"),
    ],
)
def test_mistakes_are_one_sentence(folder: Path, text: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(text) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
