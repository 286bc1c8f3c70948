"""The commands about labels, as a user gives them: label --status, noise, export, dataset, and files that wait."""

from __future__ import annotations

import csv
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from phonograph.cli import main

COPPER = """
workers = 1
[crystal]
file = "Cu.vasp"
[phonons.forces]
engine = "emt"
[[sampling.sets]]
name = "warm"
n = 3
sampler = "debye"
temperature_K = 300.0
debye_temperature_K = 343.0
"""
EMT = '[[labels.engines]]\nengine = "emt"\n'


@pytest.fixture
def folder(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copy(repository / "examples" / "structures" / "Cu.vasp", tmp_path)
    return tmp_path


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_status_noise_and_export_of_a_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("cu.toml").write_text(COPPER + '[labels]\nstore = "all.sqlite"\n' + EMT)
    assert main(["label", "cu.toml", "-o", "one", "-q"]) == 0
    assert main(["label", "cu.toml", "-o", "two", "-q", "--set", "seed=9"]) == 0
    assert main(["noise", "cu.toml", "-o", "one", "-q", "-n", "2", "--copies", "1"]) == 0
    assert len(table(Path("one/3_labels/noise.csv"))) == 8
    capsys.readouterr()
    assert main(["label", "cu.toml", "-o", "one", "--status"]) == 0
    assert "3 structures\n  done 3, failed 0, missing 0" in capsys.readouterr().out

    # A run's export holds its own sets under their names, not the other run's nor the copies that measured noise.
    rows = {}
    for run in ("one", "two"):
        assert main(["export", run, "-o", f"{run}.csv"]) == 0
        rows[run] = table(Path(f"{run}.csv"))
        labels = table(Path(run, "3_labels", "labels.csv"))
        assert [(row["sample_ids"], row["energy_eV_per_atom"]) for row in rows[run]] == [
            (row["sample_id"], row["energy_eV_per_atom"]) for row in labels
        ]
    assert {row["structure"] for row in rows["one"]}.isdisjoint(row["structure"] for row in rows["two"])
    assert main(["export", "all.sqlite", "-o", "all.csv"]) == 0
    assert len(table(Path("all.csv"))) == 3 + 3 + 8


def test_what_is_not_there_is_told_and_nothing_is_made(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("cu.toml").write_text(COPPER + EMT)
    for command in (["label", "cu.toml", "-o", "run", "--status"], ["noise", "cu.toml", "-o", "run"]):
        assert main(command) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert main(["export", "run", "-o", "out.csv"]) == 2
    assert "no label store at run" in capsys.readouterr().err
    assert sorted(path.name for path in folder.iterdir()) == ["Cu.vasp", "cu.toml"]


def test_labels_that_were_brought_are_not_computed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(folder / ".", folder / "brought", ignore=shutil.ignore_patterns("brought"))
    for name in ("1.vasp", "2.vasp"):
        shutil.copy("Cu.vasp", f"brought/{name}")
    Path("brought/Cu.vasp").unlink()
    Path("brought/id_prop.csv").write_text("1.vasp,0.5\n2.vasp,0.5\n")
    text = '[[data.sets]]\nname = "theirs"\nstructures = "brought"\nproperty = "band_gap_eV"\n'
    Path("theirs.toml").write_text(text)
    assert main(["label", "theirs.toml", "-o", "run", "-q"]) == 0
    capsys.readouterr()
    assert main(["label", "theirs.toml", "-o", "run", "--status"]) == 0
    assert "every set brought its own" in capsys.readouterr().out
    assert main(["noise", "theirs.toml", "-o", "run"]) == 2
    assert "the labels of this run were brought" in capsys.readouterr().err
    assert main(["export", "run", "-o", "out.csv"]) == 2
    assert "run/3_labels/labels.csv" in capsys.readouterr().err


def refusal(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    capsys.readouterr()
    assert main(command) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("phonograph: ")
    assert said.err.count("\n") == 1, said.err
    return said.err


def test_sets_without_labels_and_without_engines_are_told_by_every_command(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "theirs").mkdir()
    shutil.copy("Cu.vasp", "theirs")
    Path("theirs.toml").write_text('[[data.sets]]\nname = "cu"\nstructures = "theirs"\n')
    assert main(["sample", "theirs.toml", "-o", "run", "-q"]) == 0
    for command in (["label"], ["label", "--status"], ["noise"]):
        assert "set 'cu' has no labels" in refusal(capsys, *command, "theirs.toml", "-o", "run", "-q")


def test_status_and_retry_are_not_asked_for_together(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("cu.toml").write_text(COPPER + EMT)
    said = refusal(capsys, "label", "cu.toml", "-o", "run", "--status", "--retry-failed", "lazy")
    assert "give one of the two" in said
    assert not Path("run").exists()


def test_failures_are_tried_again_by_class_on_request(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "theirs").mkdir()
    Path("theirs/Si.vasp").write_text(Path("Cu.vasp").read_text().replace("Cu", "Si"))
    Path("si.toml").write_text(f'workers = 1\n[[data.sets]]\nname = "si"\nstructures = "theirs"\n{EMT}')

    def attempts(*options: str) -> int:
        assert main(["label", "si.toml", "-o", "run", "-q", *options]) == 0
        with closing(sqlite3.connect("run/3_labels/labels.sqlite")) as store:
            return int(store.execute("SELECT count(*) FROM attempt").fetchone()[0])

    assert attempts() == 1
    assert attempts("--retry-failed", "timeout", "crashed") == 1
    assert attempts("--retry-failed", "timeout", "bad_input") == 2
    assert attempts("--retry-failed") == 3
    assert attempts() == 3
    said = refusal(capsys, "label", "si.toml", "-o", "run", "-q", "--retry-failed", "lazy")
    assert "must name failure classes" in said


def test_a_user_is_told_where_inputs_wait(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("vasp.toml").write_text(COPPER + '[[labels.engines]]\nengine = "vasp"\nk_mesh = [1, 1, 1]\n')
    assert main(["label", "vasp.toml", "-o", "run"]) == 0
    assert f"inputs wait in {folder / 'run' / '3_labels' / 'vasp'}" in "".join(capsys.readouterr())
    assert len(table(Path("run/3_labels/vasp/jobs.csv"))) == 3


def test_folding_that_cannot_be_tested_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    engine = '[labels]\ncheck_folding = true\n[[labels.engines]]\nengine = "vasp"\nk_mesh = [1, 1, 1]\n'
    (folder / "theirs").mkdir()
    shutil.copy("Cu.vasp", "theirs")
    Path("c.toml").write_text(f'workers = 1\n[[data.sets]]\nname = "a"\nstructures = "theirs"\n{engine}')
    assert main(["label", "c.toml", "-o", "run"]) == 0
    assert "check_folding: the unit cell of sets that were brought is not known" in "".join(capsys.readouterr())


def test_datasets_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dataset"]) == 0
    assert capsys.readouterr().out.strip()
