"""A study through its command: nested selection, restarts, halving, a search, and what is refused."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from phonograph import pipeline
from phonograph.cli import main
from phonograph.config_files import read_config
from phonograph.config_study import StudyConfig
from phonograph.errors import ConfigurationError, DataError, InputFileError
from phonograph.execution.seam import Finished
from phonograph.files.study import load_study_tables
from phonograph.jobs import open_jobs
from phonograph.models import GraphConvNet
from phonograph.steps import fit_jobs
from phonograph.steps.fits import FitRequest, run_fits
from phonograph.streams import stream
from phonograph.testing import cubic_antiperovskite, displaced
from phonograph.training import FitJob, TrainingSettings, make_split
from phonograph.types import HyperparameterStudy


@pytest.fixture(autouse=True)
def _in_this_process(here):
    """That workers and kills change nothing is tested in test_study_grid.py."""


AXES = """
[study.axes]
architecture = [1, 5]
learning_rate = [1e-2, 1e-4]
"""


def planted_value(crystal) -> float:
    """Σ ½(1 + cos πd/r_c) over the Ag–S pairs within 5.5 Å, by ASE."""
    from ase import Atoms
    from ase.neighborlist import neighbor_list

    atoms = Atoms(numbers=crystal.numbers, positions=crystal.positions_A, cell=crystal.cell_A, pbc=True)
    i, j, d = neighbor_list("ijd", atoms, 5.5)
    chosen = (crystal.numbers[i] == 47) & (crystal.numbers[j] == 16)
    return float((1 + np.cos(np.pi * d[chosen] / 5.5)).sum() / 2)


def write_project(folder: Path, study: str, *, epochs: int = 4, values=None) -> Path:
    """Sixty 5-atom crystals with a planted label, and a configuration."""
    from ase import Atoms
    from ase.io import write

    crystal = cubic_antiperovskite(4.9)
    moved = displaced(crystal, 60, 1.0, seed=1)
    scale = np.repeat(stream(1, "amplitudes").uniform(0.05, 0.3, 60), 5)[:, None]
    positions = crystal.positions_A[None] + (moved.displacements_A * scale).reshape(60, 5, 3)
    moved = replace(moved, positions_A=positions.reshape(-1, 3))
    frames = []
    for place, one in enumerate(moved.crystals()):
        atoms = Atoms(numbers=one.numbers, positions=one.positions_A, cell=one.cell_A, pbc=True)
        atoms.info["toy_eV"] = planted_value(one) if values is None else values[place]
        frames.append(atoms)
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "data.extxyz", frames, format="extxyz")
    path = folder / "c.toml"
    path.write_text(
        f'workers = 2\n[[data.sets]]\nname = "toy"\nstructures = "data.extxyz"\n[training]\ntargets = ["toy_eV"]\n'
        f"seeds = [0]\n[training.settings]\nepochs = {epochs}\nbatch_size = 16\n{study}",
        encoding="utf-8",
    )
    return path


def job_rows(run: Path) -> dict[str, tuple]:
    with open_jobs(run / "study" / "jobs.sqlite") as table:
        return {key: (one.status, one.attempts, one.ended, dict(one.result)) for key, one in table.results().items()}


def without_times(study: HyperparameterStudy) -> list:
    trials = [replace(trial, core_seconds=0.0) for trial in study.trials]
    cells = [replace(cell, core_seconds=0.0) for cell in study.cells]
    return [
        repr(item) for item in (trials, cells, study.effects, study.shares, study.finals, study.checks, study.verdicts)
    ]


@pytest.mark.slow
def test_a_study_is_complete_restartable_and_grows(tmp_path):
    config = write_project(tmp_path, f"[study]\nseeds = [0, 1]\nfinal_seeds = [0, 1]\n{AXES}")
    told = []
    found = pipeline.study(config, tmp_path / "run", progress=lambda *words: told.append(words))
    assert any(what == "study" and done == total for what, done, total in told)
    assert len(found.trials) == 8
    assert [cell.rank for cell in found.cells] == [1, 2, 3, 4]
    assert [cell.mae for cell in found.cells] == sorted(cell.mae for cell in found.cells)
    for cell in found.cells:
        own = [trial for trial in found.trials if trial.values == cell.values]
        assert cell.mae == pytest.approx(np.mean([trial.mae for trial in own]))
        assert cell.mae_sd == pytest.approx(np.std([trial.mae for trial in own], ddof=1))
        assert cell.mse == pytest.approx(np.mean([trial.rmse**2 for trial in own]))
        assert cell.core_seconds == pytest.approx(sum(trial.core_seconds for trial in own))
    assert {row.axis for row in found.shares} == {
        "architecture",
        "learning_rate",
        "architecture × learning_rate",
        "rest",
    }
    assert {row.model for row in found.finals} == {"winner", "configured", "mean-predictor", "composition-volume"}
    assert any("mean-square-displacement is no reference for the winner of toy_eV" in line for line in found.warnings)
    mean = {(row.seed, row.scope): row.mae for row in found.finals if row.model == "mean-predictor"}
    for row in found.finals:
        assert row.skill == pytest.approx(1 - row.mae / mean[row.seed, row.scope], nan_ok=True)
    (verdict,) = found.verdicts
    own = [row for row in found.finals if (row.model, row.scope) == ("winner", "all")]
    other = [row for row in found.finals if (row.model, row.scope) == ("configured", "all")]
    assert (verdict.seeds, verdict.groups) == (2, 9)
    assert verdict.reference == "mean-predictor", "cells of one composition and volume: the other is the mean too"
    assert verdict.skill == pytest.approx(np.mean([row.skill for row in own]))
    assert verdict.difference == pytest.approx(np.mean([a.mae - b.mae for a, b in zip(own, other, strict=True)]))
    assert {row.unit for row in found.finals} == {"eV"}
    with (tmp_path / "run/study/study.csv").open(encoding="utf-8", newline="") as stream_:
        rows = list(csv.DictReader(stream_))
    assert [row["learning_rate"] for row in rows] == [cell.values[1] for cell in found.cells]
    assert without_times(load_study_tables(tmp_path / "run/study")) == without_times(found)
    page = (tmp_path / "run/report.html").read_text(encoding="utf-8")
    assert "Study of hyperparameters" in page
    assert verdict.words in page
    assert page.count("MSE for each") == 2
    before = job_rows(tmp_path / "run")
    again = pipeline.study(config, tmp_path / "run")
    assert job_rows(tmp_path / "run") == before, "nothing is trained twice"
    assert without_times(again) == without_times(found)
    assert again.core_seconds == found.core_seconds, "what it took is what all runs took"
    grown = pipeline.study(config, tmp_path / "run", overrides=["study.seeds=[0, 1, 2]"])
    now = job_rows(tmp_path / "run")
    assert {key: now[key] for key in before} == before
    assert len(grown.trials) == 12
    assert grown.trials[0].mae == found.trials[0].mae
    with pytest.raises(ConfigurationError, match=r"holds a full study of toy \(.*, not a full study of toy \(.*choose"):
        pipeline.study(config, tmp_path / "run", overrides=["training.settings.epochs=5"])


@pytest.mark.slow
def test_no_choice_sees_the_outer_test_part(tmp_path):
    """Poisoned test labels change no job of the selection, not even its name, and no rank; only the final test."""
    study = f"[study]\nseeds = [0]\nfinal_seeds = [0]\n{AXES}"
    found = pipeline.study(write_project(tmp_path / "a", study), tmp_path / "a/run")
    config = read_config(tmp_path / "a/c.toml")
    result = pipeline.run(config, tmp_path / "a/run", upto="graphs")
    (item,) = result.sets
    test = set(make_split(item.ids, item.group, config.training.fractions, 0).test)
    assert len(test) == 9
    truth = result.labels.column("toy_eV").values
    values = [1e3 * place if sample in test else truth[place] for place, sample in enumerate(item.ids)]
    poisoned = pipeline.study(write_project(tmp_path / "b", study, values=values), tmp_path / "b/run")
    rows, bad = job_rows(tmp_path / "a/run"), job_rows(tmp_path / "b/run")
    shared = sorted(rows.keys() & bad.keys())
    plain, other = (
        [{k: v for k, v in member.items() if k != "seconds"} for key in shared for member in one[key][3]["members"]]
        for one in (rows, bad)
    )
    assert len(plain) == 4, "the four points"
    assert plain == other
    assert without_times(poisoned)[:4] == without_times(found)[:4]
    winners = [
        [row.mae for row in one.finals if (row.model, row.scope) == ("winner", "all")] for one in (found, poisoned)
    ]
    assert winners[1][0] > 1e3 > winners[0][0]


@pytest.mark.slow
def test_halving_goes_on_where_it_was_and_is_checked(tmp_path):
    study = f"[study]\nseeds = [0, 1]\nfinal_seeds = []\n{AXES}"
    config = write_project(tmp_path, study, epochs=6)
    full = pipeline.study(config, tmp_path / "full")
    half = pipeline.study(
        config,
        tmp_path / "half",
        overrides=[
            'study.strategy="halving"',
            "study.halving.first_epochs=2",
            "study.halving.eta=2",
            "study.halving.check=3",
        ],
    )
    assert [(trial.rung, trial.epochs) for trial in half.trials] == [(0, 2)] * 8 + [(1, 4)] * 4 + [(2, 6)] * 2
    whole = {(trial.values, trial.seed): trial for trial in full.trials}
    for trial in half.trials[-2:]:
        same = whole[trial.values, trial.seed]
        # Networks that are trained together differ from those alone by rounding.
        assert (trial.mae, trial.rmse) == pytest.approx((same.mae, same.rmse), rel=1e-4)
    first = {
        values: np.mean([t.mae for t in half.trials[:8] if t.values == values])
        for values in {t.values for t in full.trials}
    }
    assert {t.values for t in half.trials[8:12]} == set(sorted(first, key=first.get)[:2])
    assert half.cells[0].rung == 2
    assert [cell.rung for cell in half.cells] == [2, 1, 0, 0]
    (check,) = half.checks
    by_point = {cell.values: cell.mae for cell in full.cells}
    assert check.points == 3
    winner = by_point[half.winner("toy_eV").values]
    assert check.regret >= 0.0
    assert check.better <= sum(error < winner for error in by_point.values())
    assert -1.0 <= check.spearman <= 1.0
    before = job_rows(tmp_path / "half")
    overrides = [
        'study.strategy="halving"',
        "study.halving.first_epochs=2",
        "study.halving.eta=2",
        "study.halving.check=3",
    ]
    again = pipeline.study(config, tmp_path / "half", overrides=overrides)
    assert job_rows(tmp_path / "half") == before
    assert without_times(again) == without_times(half)


TWO = "[study]\nseeds = [0, 1]\nfinal_seeds = [0, 1]\n[study.axes]\nlearning_rate = [1e-2, 1e-3]\n"


def study_command(config: Path, *more: str) -> int:
    return main(["study", str(config), "-o", str(config.parent / "run"), *more])


def test_what_failed_is_trained_again_only_on_request(tmp_path, capsys, monkeypatch, here):
    """Every worker dies at first, then none: the same command repeats the failures, --retry-failed does not."""
    config = write_project(tmp_path, TWO, epochs=2)
    with monkeypatch.context() as broken:
        broken.setattr(here, "run", dying)
        assert study_command(config) == 2
    told = capsys.readouterr().err
    assert "no network of the study of toy_eV could be trained: crashed: the worker process died" in told
    assert "--retry-failed (in Python retry_failed=True) trains again what failed" in told
    failed = job_rows(tmp_path / "run")
    assert {row[0] for row in failed.values()} == {"crashed"}
    assert study_command(config, "-q") == 2
    assert job_rows(tmp_path / "run") == failed, "without the option nothing is tried"
    assert study_command(config, "--retry-failed") == 0
    done = job_rows(tmp_path / "run")
    assert {row[0] for row in done.values()} == {"done"}
    assert study_command(config, "--retry-failed", "-q") == 0
    assert job_rows(tmp_path / "run") == done, "what is done is not trained again"


def dying(self, needs, next_task):
    while (task := next_task()) is not None:
        yield [Finished(task=task, died="killed")]


def test_networks_that_failed_in_a_finished_job_are_told_and_trained_again(tmp_path, capsys, monkeypatch):
    config = write_project(tmp_path, TWO, epochs=2)
    whole = fit_jobs.train_jobs

    def partly(graphs, labels, jobs, checkpoint=None, progress=None):
        found = whole(graphs, labels, jobs, checkpoint, progress)
        lost = [DataError("no device today") if job.settings.learning_rate == 1e-2 else None for job in jobs]
        return [one or sound for one, sound in zip(lost, found, strict=True)]

    with monkeypatch.context() as broken:
        broken.setattr(fit_jobs, "train_jobs", partly)
        first = pipeline.study(config, tmp_path / "run")
    assert sum(bool(trial.failure) for trial in first.trials) == 2
    assert all(row[0] == "done" for row in job_rows(tmp_path / "run").values())
    assert study_command(config) == 0
    told = capsys.readouterr()
    assert "study: 2 of 4 networks could not be trained; --retry-failed" in told.err
    assert "the first: no device today" in told.out
    assert study_command(config, "--retry-failed") == 0
    told = capsys.readouterr()
    assert "jobs done, none failed" in told.err
    assert "could not be trained" not in told.out + told.err
    fresh = pipeline.study(config, tmp_path / "fresh")
    again = pipeline.study(config, tmp_path / "run")
    assert without_times(again) == without_times(fresh)


def test_a_target_without_a_sound_network_says_why(tmp_path):
    config = write_project(tmp_path, TWO, values=[1.0] * 60)
    with pytest.raises(DataError, match=r"no network of the study of toy_eV could be trained: .*toy_eV is 1 for all"):
        pipeline.study(config, tmp_path / "run")
    halving = ["study.strategy='halving'", "study.halving.first_epochs=1", "study.halving.eta=2"]
    with pytest.raises(DataError, match=r"no network of the study of toy_eV could be trained: .*toy_eV is 1 for all"):
        pipeline.study(config, tmp_path / "halving", overrides=halving)


def test_a_winner_that_loses_is_told_to_have_won_nothing(tmp_path, capsys):
    """Labels without any relation to the crystals: nothing can be won."""
    noise = stream(3, "noise").normal(size=60)
    config = write_project(tmp_path, TWO, values=list(noise))
    rate = "training.settings.learning_rate=0.1"
    assert study_command(config, "-q", "--set", rate) == 0
    told = capsys.readouterr().out
    (verdict,) = load_study_tables(tmp_path / "run/study").verdicts
    assert verdict.skill < verdict.skill_high
    assert "it has won nothing." in verdict.words or "it cannot be claimed to beat that" in verdict.words
    assert f"toy_eV: {verdict.words}" in told.splitlines()
    assert study_command(config, "-q", "--set", "study.final_seeds=[0]", "--set", rate) == 0
    (single,) = load_study_tables(tmp_path / "run/study").verdicts
    assert math.isnan(single.skill_low)
    assert math.isnan(single.difference_low)
    assert " beats " not in single.words
    assert "no difference can be claimed from one seed" in single.words or "as configured" not in single.words


def test_a_fit_goes_on_bit_for_bit_in_another_job(tmp_path, graphs, labels, split):
    def request(epochs, **more):
        settings = TrainingSettings(epochs=epochs, batch_size=16, learning_rate=1e-3)
        job = FitJob(
            name="fit",
            split=split,
            model=GraphConvNet(hidden_channels=8),
            target="toy_eV",
            settings=settings,
            unit="eV",
        )
        return FitRequest(job=job, tests={"test": split.test}, resumable=True, **more)

    (first,) = run_fits(graphs, labels, [request(3)], tmp_path / "t.sqlite")
    (rest,) = run_fits(graphs, labels, [request(7, start=first)], tmp_path / "t.sqlite")
    (whole,) = run_fits(graphs, labels, [request(7)], tmp_path / "t.sqlite")
    assert (rest.epochs, rest.warnings) == (7, ())
    assert rest.scores == whole.scores
    assert rest.scores != first.scores
    assert rest.folder != whole.folder
    assert rest.predictions("test")[2].tolist() == whole.predictions("test")[2].tolist()


@pytest.mark.slow
def test_a_search_is_replayed_from_its_table(tmp_path):
    pytest.importorskip("optuna")
    study = (
        '[study]\nseeds = [0]\nfinal_seeds = [0]\nstrategy = "optuna"\n'
        "[study.axes]\narchitecture = [1, 5]\n[study.search]\n"
        "trials = 6\nbatch = 3\n[study.search.ranges]\nlearning_rate = [1e-4, 1e-1]\nhidden_channels = [8, 24]\n"
    )
    config = write_project(tmp_path, study, epochs=2)
    found = pipeline.study(config, tmp_path / "run")
    assert list(found.axes) == ["architecture", "learning_rate", "hidden_channels"]
    assert len(found.trials) == 6
    for trial in found.trials:
        assert trial.values[0] in ("1", "5")
        assert 1e-4 <= float(trial.values[1]) <= 1e-1
        assert 8 <= int(trial.values[2]) <= 24
    assert found.effects == found.shares == ()
    assert not any(math.isnan(row.mae) for row in found.finals if row.n)
    before = job_rows(tmp_path / "run")
    again = pipeline.study(config, tmp_path / "run")
    assert job_rows(tmp_path / "run") == before, "Optuna asked for the same points"
    assert without_times(again) == without_times(found)


def test_a_study_that_cannot_begin_is_one_sentence(tmp_path):
    config = write_project(tmp_path, "")
    with pytest.raises(ConfigurationError, match=r"there is no study in this configuration; add a \[study\] table"):
        pipeline.study(config, tmp_path / "run")
    config = write_project(tmp_path, '[study]\ntargets = ["gap_eV"]\n')
    with pytest.raises(DataError, match=r"study target 'gap_eV' has no labels; the labels are toy_eV"):
        pipeline.study(config, tmp_path / "run")
    config = write_project(tmp_path, '[study]\ncollection = "other"\n')
    with pytest.raises(ConfigurationError, match=r"study.collection must be one of toy; got 'other'"):
        pipeline.study(config, tmp_path / "run")
    config = write_project(tmp_path, "[study]\n", values=[np.nan] * 57 + [0.1, 0.2, 0.3])
    with pytest.raises((DataError, InputFileError), match="label"):
        pipeline.study(config, tmp_path / "run2")
    assert StudyConfig().executor is None
