"""``phonograph learning-curve`` from beginning to end: planned fairly, resumed without a second fit, told in words."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import ase
import ase.io
import numpy as np
import pytest
from ase.neighborlist import neighbor_list

from phonograph.cli import main
from phonograph.config_files import parse_config, read_config
from phonograph.errors import ConfigurationError, DataError
from phonograph.files.curves import load_learning_curve
from phonograph.pipeline import learning_curve, run
from phonograph.steps import fit_jobs
from phonograph.testing import cubic_antiperovskite, displaced
from phonograph.training import FitJob
from phonograph.types import NO_CLAIM, GraphSet, Labels

TABLES = ("learning_curve", "points", "fits", "bands", "differences", "label_factors")

CONFIG = """
title = "curves"
seed = 3
workers = 1
[[data.sets]]
name = "thermal"
structures = "thermal.extxyz"
[[data.sets]]
name = "random"
structures = "random.extxyz"
[[data.sets]]
name = "md"
structures = "md.extxyz"
[graphs]
cutoff_A = 4.0
[training.collections]
thermal = ["thermal"]
random = ["random"]
combined = ["thermal", "random"]
[training.model]
hidden_channels = 8
[training.settings]
epochs = 6
[learning_curve]
sizes = [12, 20, 40, 400]
seeds = [0, 1]
amplitude = "thermal"
"""


def bond_gap(frame: ase.Atoms) -> float:
    """Return a gap in eV that closes as silver gets closer to its neighbours."""
    i, distance = neighbor_list("id", frame, 4.0)
    silver = frame.numbers[i] == 47
    total = float(np.where(silver, 0.5 * (1 + np.cos(np.pi * distance / 4.0)), 0.0).sum())
    return 1.2 - 0.4 * total / 10.0


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Three labelled sets of different amplitude; pairs of the thermal one share a group."""
    crystal = cubic_antiperovskite()
    for name, rms, n in (("thermal", 0.10, 64), ("random", 0.13, 64), ("md", 0.12, 30)):
        made = displaced(crystal, n, rms, seed=n, name=name)
        frames = []
        for place, found in enumerate(made.crystals()):
            frame = ase.Atoms(found.numbers, found.positions_A, cell=found.cell_A, pbc=True)
            atoms = slice(int(made.offsets[place]), int(made.offsets[place + 1]))
            frame.set_array("displacement", made.displacements_A[atoms])
            frame.info.update(group=f"{name}-{place // 2}", band_gap_eV=bond_gap(frame))
            frames.append(frame)
        ase.io.write(tmp_path / f"{name}.extxyz", frames)
    (tmp_path / "c.toml").write_text(CONFIG)
    return tmp_path


SMALL = ["learning_curve.sizes=[12,20]", 'learning_curve.tests=["thermal","random"]', 'learning_curve.amplitude=""']
"""Overrides for tests that need no laws."""


def tables(run: Path) -> dict[str, bytes]:
    return {name: (run / "learning_curve" / f"{name}.csv").read_bytes() for name in TABLES}


def rows(run: Path, name: str = "learning_curve") -> list[dict[str, str]]:
    with (run / "learning_curve" / f"{name}.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def done(run: Path) -> dict[str, tuple[str, int]]:
    """Return what the table of fits says of every finished job: when it ended, and how many networks it holds."""
    table = run / "learning_curve" / "fits" / "fits.sqlite"
    if not table.is_file():
        return {}
    with contextlib.closing(sqlite3.connect(f"file:{table}?mode=ro", uri=True)) as connection:
        rows = connection.execute("SELECT key, ended, result FROM job WHERE status = 'done'").fetchall()
    return {key: (ended, len(json.loads(result)["members"])) for key, ended, result in rows}


def networks(run: Path) -> int:
    return sum(members for _, members in done(run).values())


def test_the_command_measures_saves_and_reports(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_folder = project / "R"
    command = ["learning-curve", str(project / "c.toml"), "-o", str(run_folder), "-q"]
    assert main(command) == 0
    said = capsys.readouterr().out
    verdicts = json.loads((run_folder / "learning_curve" / "learning_curve.json").read_text())["verdicts"]
    claimed = [line for line in verdicts if NO_CLAIM not in line]
    assert said.splitlines()[: len(claimed)] == claimed, "what may be claimed comes first"
    assert f"in {len(verdicts) - len(claimed)} comparisons {NO_CLAIM}: differences.csv" in said.splitlines()
    assert "has too few labels for sizes 400" in said
    assert "samples of 'random' have the amplitude of 'thermal'" in said
    found = rows(run_folder)
    assert {row["tested_on"] for row in found} >= {"thermal", "random", "md", "combined", "md-at-thermal"}
    assert {row["trained_on"] for row in found} >= {"thermal", "random", "combined"}
    assert {row["size"] for row in found if row["trained_on"] == "thermal"} == {"12", "20", "40"}
    assert {row["label_core_hours"] for row in found} == {"nan"}
    assert "Learning curves" in (run_folder / "report.html").read_text()
    first, trained = tables(run_folder), done(run_folder)
    assert networks(run_folder) == len({(row["trained_on"], row["size"], row["seed"]) for row in found})

    assert main(command) == 0
    assert done(run_folder) == trained, "a finished fit was computed again"
    assert tables(run_folder) == first


def test_every_size_of_a_seed_has_the_same_test_part(project: Path) -> None:
    learning_curve(project / "c.toml", project / "R", overrides=SMALL)
    sizes: dict[tuple[str, str], set[str]] = {}
    for row in rows(project / "R"):
        if row["scope"] == "all":
            sizes.setdefault((row["tested_on"], row["seed"]), set()).add(row["n"])
    assert all(len(found) == 1 for found in sizes.values()), sizes
    for row in rows(project / "R"):
        assert int(row["n_train"]) + int(row["n_validation"]) == int(row["size"])


def test_an_interrupted_command_goes_on_where_it_was(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("phonograph.jobs.verb.COMMIT_S", 0.0)
    learning_curve(project / "c.toml", project / "whole")

    def stop(what: str, ended: int, of: int) -> None:
        if what == "learning curve" and ended >= 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learning_curve(project / "c.toml", project / "broken", progress=stop)
    finished = done(project / "broken")
    assert 1 <= len(finished) < len(done(project / "whole"))
    learning_curve(project / "c.toml", project / "broken")
    assert finished.items() <= done(project / "broken").items(), "a finished fit was computed again"
    assert tables(project / "broken") == tables(project / "whole")


@pytest.mark.slow
def test_a_killed_command_gives_the_same_tables(project: Path) -> None:
    learning_curve(project / "c.toml", project / "whole")
    command = [sys.executable, "-m", "phonograph", "learning-curve", "c.toml", "-o", "killed", "-q"]
    finished: dict[str, tuple[str, int]] = {}
    for wanted in (1, 4, 7):
        process = subprocess.Popen(command, cwd=project, start_new_session=True)
        deadline = time.monotonic() + 120
        while process.poll() is None and len(done(project / "killed")) < wanted and time.monotonic() < deadline:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert finished.items() <= done(project / "killed").items(), "a finished fit was computed again"
        finished = done(project / "killed")
    assert len(finished) >= 7
    subprocess.run(command, cwd=project, check=True, stdout=subprocess.DEVNULL)
    assert finished.items() <= done(project / "killed").items()
    assert tables(project / "killed") == tables(project / "whole")


def test_a_fit_whose_predictions_are_damaged_is_made_again(project: Path) -> None:
    few = [*SMALL, "learning_curve.sizes=[12]", "learning_curve.seeds=[0]"]
    learning_curve(project / "c.toml", project / "R", overrides=few)
    before, first = done(project / "R"), tables(project / "R")
    victim = sorted((project / "R" / "learning_curve" / "fits").rglob("predictions.npz"))[0]
    victim.write_bytes(victim.read_bytes()[:100])
    told: list[str] = []
    learning_curve(project / "c.toml", project / "R", overrides=few, say=told.append)
    assert sum("files of 1 finished jobs are missing or damaged" in line for line in told) == 1
    after = done(project / "R")
    assert [key for key in before if before[key] != after[key]] == [victim.parent.name]
    assert tables(project / "R") == first


@pytest.mark.parametrize("command", ["learning-curve", "study"])
def test_copies_in_two_parts_stop_it_before_anything_is_trained(
    project: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every thermal crystal stands in the random set too, under groups of its own."""
    frames = ase.io.read(project / "thermal.extxyz", ":")
    for place, frame in enumerate(frames):
        frame.info["group"] = f"other-{place}"
    ase.io.write(project / "random.extxyz", frames)
    with (project / "c.toml").open("a") as stream:
        stream.write("[study]\nseeds = [0]\n[study.axes]\nhidden_channels = [4, 8]\n")
    assert main([command, str(project / "c.toml"), "-o", str(project / "R"), "-q"]) == 2
    told = capsys.readouterr().err
    assert "identical" in told
    assert told.count("\n") == 1
    folder = project / "R" / command.replace("-", "_")
    assert len((folder / "leaks.csv").read_text().splitlines()) > 10
    assert not list(folder.rglob("*.sqlite"))


def test_budgets_and_candidates(project: Path) -> None:
    overrides = [
        "learning_curve.sizes=[12,40]",
        "learning_curve.seeds=[0]",
        'learning_curve.collections=["thermal"]',
        'learning_curve.tests=["thermal"]',
        'learning_curve.amplitude=""',
        "training.settings.batch_size=10",
        "learning_curve.budget=steps",
        "learning_curve.choose=validation",
        "learning_curve.learning_rates=[0.001,0.01]",
    ]
    curve = learning_curve(project / "c.toml", project / "R", overrides=overrides)
    lines = [row for row in curve.rows if row.scope == "all"]
    assert {row.candidate for row in lines} == {"lr0.001-h8-d0", "lr0.01-h8-d0"}
    steps = {row.size: row.steps for row in lines}
    assert {row.size: row.epochs for row in lines} == {12: 24, 40: 6}
    assert steps[12] == steps[40] == 24
    for size in (12, 40):
        both = [row for row in lines if row.size == size]
        (best,) = [row for row in both if row.chosen]
        assert best.validation_mae == min(row.validation_mae for row in both)


def test_collections_of_one_size_get_as_many_updates(project: Path) -> None:
    """Planted: 'md' cannot fill the largest size; its networks are compared with those of a set that can."""
    overrides = [
        "learning_curve.sizes=[12,40]",
        "learning_curve.seeds=[0]",
        'learning_curve.tests=["thermal"]',
        'learning_curve.amplitude=""',
        "training.settings.batch_size=10",
        "learning_curve.budget=steps",
        'training.collections.md=["md"]',
        'learning_curve.collections=["thermal","md"]',
    ]
    curve = learning_curve(project / "c.toml", project / "R", overrides=overrides)
    updates = {(row.trained_on, row.size): row.steps for row in curve.rows}
    assert updates == {("thermal", 12): 24, ("thermal", 40): 24, ("md", 12): 24}


def test_a_further_size_trains_no_finished_one_again(project: Path) -> None:
    learning_curve(project / "c.toml", project / "R", overrides=[*SMALL, "learning_curve.sizes=[12]"])
    finished, before = done(project / "R"), networks(project / "R")
    learning_curve(project / "c.toml", project / "R", overrides=SMALL)
    assert {row["size"] for row in rows(project / "R")} == {"12", "20"}
    assert finished.items() <= done(project / "R").items()
    assert networks(project / "R") == 2 * before


def test_networks_that_failed_are_trained_again_only_on_request(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, here: type
) -> None:
    whole = fit_jobs.train_jobs

    def partly(graphs: GraphSet, labels: Labels, jobs: list[FitJob], *more: Any) -> list[Any]:
        found = whole(graphs, labels, jobs, *more)
        lost = [DataError("no device today") if job.seed == 1 and not everything else None for job in jobs]
        return [one or sound for one, sound in zip(lost, found, strict=True)]

    def command(*more: str) -> str:
        overrides = [word for value in SMALL for word in ("--set", value)]
        assert main(["learning-curve", str(project / "c.toml"), "-o", str(project / "R"), *overrides, *more]) == 0
        return capsys.readouterr().out

    monkeypatch.setattr(fit_jobs, "train_jobs", partly)
    everything = False
    assert "6 of 12 networks could not be trained and are left out; --retry-failed" in command()
    assert {row["seed"] for row in rows(project / "R")} == {"0"}
    everything = True
    assert "could not be trained" in command(), "without the option nothing is tried"
    assert "could not be trained" not in command("--retry-failed")
    assert {row["seed"] for row in rows(project / "R")} == {"0", "1"}


def test_a_report_of_changed_labels_says_so(project: Path) -> None:
    learning_curve(project / "c.toml", project / "R", overrides=[*SMALL, "learning_curve.sizes=[12]"])
    run(project / "c.toml", project / "R", upto="graphs", overrides=["graphs.cutoff_A=3.5"])
    result = run(project / "c.toml", project / "R", upto="report", overrides=["graphs.cutoff_A=3.5"])
    assert "measured with other labels, graphs or settings" in result.report.read_text()
    assert load_learning_curve(project / "R" / "learning_curve").warnings is not None


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"sizes": [2]}, "learning_curve.sizes must be at least 4; got 2"),
        ({"sizes": []}, "must each name at least one"),
        ({"seeds": [1, 1]}, "learning_curve.seeds must differ"),
        ({"collections": ["all"]}, "learning_curve.collections names 'all'; there are a, b, combined"),
        ({"tests": ["c"]}, "learning_curve.tests names 'c'; there are a, b, combined"),
        ({"amplitude": "c"}, "learning_curve.amplitude names 'c'; there are a, b"),
        ({"reference": "c"}, "learning_curve.reference names 'c'"),
        ({"choose": "best"}, "learning_curve.choose must be one of 'fixed', 'validation'"),
        ({"choose": "validation"}, "needs learning_rates, hidden_channels or dropouts"),
        ({"dropouts": [0.1]}, "would have no effect"),
        ({"fractions": [0.5, 0.2, 0.2]}, "add up to 1"),
        ({"size": [100]}, "did you mean 'sizes'"),
    ],
)
def test_mistakes_are_one_sentence_before_anything_runs(table: dict[str, object], words: str, tmp_path: Path) -> None:
    sets = [{"name": name, "structures": f"{name}.extxyz"} for name in "ab"]
    with pytest.raises(ConfigurationError) as caught:
        parse_config({"data": {"sets": sets}, "learning_curve": table}, tmp_path)
    assert words in str(caught.value)


def test_sizes_that_nothing_fills_are_one_sentence(project: Path) -> None:
    with pytest.raises(DataError, match="no training collection has 500 labels"):
        learning_curve(project / "c.toml", project / "R", overrides=["learning_curve.sizes=[500]"])


def test_the_shipped_options_survive_a_round_trip(project: Path) -> None:
    config = read_config(project / "c.toml")
    assert config.learning_curve.sizes == (12, 20, 40, 400)
    assert np.allclose(config.learning_curve.fractions, (0.7, 0.15, 0.15))
