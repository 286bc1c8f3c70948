"""One worker or several: the same networks; a study ranks by validation error and never looks at the test part."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from phonograph.errors import DataError, WorkerError
from phonograph.files.graphs import save_graphs
from phonograph.models import GraphConvNet, architecture, predict
from phonograph.training import FitJob, TrainingSettings, fit_many, make_split, run_study
from phonograph.types import LabelColumn

QUICK = TrainingSettings(epochs=4, batch_size=16)


def jobs_for(split, count=4, **changes):
    return [
        FitJob(
            **{
                "name": f"job{seed}",
                "split": split,
                "model": GraphConvNet(hidden_channels=8, dropout=0.2),
                "target": "toy_eV",
                "settings": QUICK,
                "seed": seed,
                **changes,
            }
        )
        for seed in range(count)
    ]


@dataclass(frozen=True)
class Dying:
    """A network whose process dies, as one that runs out of memory does."""

    def build(self, features, seed):
        os._exit(3)


def same(one, other):
    return one.history == other.history and all(
        one.weights[name].tobytes() == other.weights[name].tobytes() for name in one.weights
    )


@pytest.mark.slow
def test_any_number_of_workers_gives_the_same_networks(graphs, labels, split):
    jobs, calls, seen = jobs_for(split), [], []
    one = fit_many(graphs, labels, jobs)
    two = fit_many(
        graphs,
        labels,
        jobs,
        workers=2,
        progress=lambda *call: calls.append(call),
        on_result=lambda f: seen.append(f.name),
    )
    assert [f.name for f in two] == [job.name for job in jobs]
    assert all(same(a, b) for a, b in zip(one, two, strict=True))
    assert calls[-1] == ("training", 4, 4)
    assert sorted(seen) == [job.name for job in jobs]
    assert not one[0].weights["hidden.weight"].flags.writeable
    assert not two[0].weights["hidden.weight"].flags.writeable
    assert dict(two[0].origin.versions) == dict(one[0].origin.versions)


@pytest.mark.slow
def test_a_dead_worker_is_named_and_the_others_finish(graphs, labels, split):
    jobs, seen = jobs_for(split, 3), []
    jobs[1] = replace(jobs[1], model=Dying())
    with pytest.raises(WorkerError, match="the process training job1 died"):
        fit_many(graphs, labels, jobs, workers=2, on_result=lambda f: seen.append(f.name))
    assert sorted(seen) == ["job0", "job2"]


ORPHANS = """
import multiprocessing, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from conftest import as_labels, planted
from phonograph.files.graphs import load_graphs
from phonograph.models import GraphConvNet
from phonograph.training import FitJob, TrainingSettings, fit_many, make_split

if __name__ == "__main__":
    graphs = load_graphs(Path(sys.argv[1]))
    split = make_split(graphs.sample_ids, graphs.groups)
    forever = TrainingSettings(epochs=10**9, patience=10**9)
    jobs = [
        FitJob(name=name, split=split, model=GraphConvNet(), target="toy_eV", settings=settings)
        for name, settings in (("quick", TrainingSettings(epochs=2)), ("forever", forever))
    ]
    told = lambda fitted: print(*(child.pid for child in multiprocessing.active_children()), flush=True)
    fit_many(graphs, as_labels(graphs, planted(graphs)), jobs, workers=2, on_result=told)
"""


@pytest.mark.slow
def test_a_killed_run_leaves_no_worker_behind(graphs, tmp_path):
    save_graphs(graphs, tmp_path / "graphs.npz")
    (tmp_path / "run.py").write_text(ORPHANS)
    command = [sys.executable, str(tmp_path / "run.py"), str(tmp_path / "graphs.npz"), str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        workers = [int(pid) for pid in run.stdout.readline().split()]
        run.kill()
    assert workers
    for _ in range(200):
        alive = [pid for pid in workers if Path(f"/proc/{pid}/cmdline").exists() and _runs(pid)]
        if not alive:
            break
        time.sleep(0.1)
    assert not alive


def _runs(pid):
    """Whether a process is there and not merely waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_mistake_in_one_job_is_named_and_the_others_finish(graphs, labels, split, workers):
    jobs, seen = jobs_for(split, 3), []
    jobs[1] = replace(jobs[1], target="other_eV")
    with pytest.raises(DataError, match="training job1: no label 'other_eV'"):
        fit_many(graphs, labels, jobs, workers=workers, on_result=lambda f: seen.append(f.name))
    assert sorted(seen) == ["job0", "job2"]


def test_names_must_differ(graphs, labels, split):
    with pytest.raises(DataError, match="2 fits share 1 names"):
        fit_many(graphs, labels, jobs_for(split, 2, name="same"))


def test_training_here_leaves_the_number_of_threads(graphs, labels, split):
    before = torch.get_num_threads()
    fit_many(graphs, labels, jobs_for(split, 1))
    assert torch.get_num_threads() == before


@pytest.fixture(scope="module")
def study(graphs, labels, split):
    models = [architecture(number, hidden_channels=8) for number in (1, 4, 5)]
    return run_study(graphs, labels, split, models, QUICK, [0, 1], target="toy_eV", trained_on="toy")


def test_a_study_ranks_by_validation_error(study, graphs, labels, split):
    rows, fits = study[0].rows, study[1]
    assert [row.rank for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row.name for row in rows] == [fitted.name for fitted in fits]
    errors = [row.validation_mae for row in rows]
    assert errors == sorted(errors)
    truth = labels.aligned("toy_eV", split.validation)
    place = {sample: i for i, sample in enumerate(graphs.sample_ids)}
    predicted = predict(fits[0], graphs.select([place[s] for s in split.validation]))
    assert errors[0] == pytest.approx(np.abs(predicted - truth).mean(), rel=1e-12)
    expected = 1 - ((predicted - truth) ** 2).sum() / ((truth - truth.mean()) ** 2).sum()
    assert rows[0].validation_r2 == pytest.approx(expected, rel=1e-12)
    modules = [fitted.model.build(4, 0) for fitted in fits]
    assert [row.parameters for row in rows] == [sum(p.numel() for p in m.parameters()) for m in modules]
    assert all(row.seconds > 0 for row in rows)


def test_a_study_never_sees_the_test_part(study, graphs, labels, split):
    place = {sample: i for i, sample in enumerate(graphs.sample_ids)}
    values = labels.columns[0].values.copy()
    values[[place[sample] for sample in split.test]] = np.nan
    hidden = replace(labels, columns=(LabelColumn(name="toy_eV", unit="eV", values=values, engine="planted"),))
    known = graphs.select([place[sample] for sample in (*split.train, *split.validation)])
    models = [architecture(number, hidden_channels=8) for number in (1, 4, 5)]
    again, _ = run_study(known, hidden, split, models, QUICK, [0, 1], target="toy_eV", trained_on="toy")
    assert [replace(row, seconds=0.0) for row in again.rows] == [replace(row, seconds=0.0) for row in study[0].rows]


def test_empty_studies_are_refused(graphs, labels, split):
    with pytest.raises(DataError, match="got 0 models and 1 seeds"):
        run_study(graphs, labels, split, [], QUICK, [0], target="toy_eV")
    twice = [GraphConvNet(), GraphConvNet()]
    with pytest.raises(DataError, match="2 fits share 1 names"):
        run_study(graphs, labels, split, twice, QUICK, [0], target="toy_eV")


def test_networks_of_ones_own_take_part(graphs, labels):
    split = make_split(graphs.sample_ids, graphs.groups)
    study, fits = run_study(graphs, labels, split, [Mean()], QUICK, [0], target="toy_eV")
    assert study.rows[0].architecture == "Mean"
    assert fits[0].warnings == (
        "study-toy_eV-Mean-seed0 gives the same value for every training sample; it has learned nothing.",
    )


class MeanModule(nn.Module):
    """Predicts one number for every crystal."""

    def __init__(self):
        super().__init__()
        self.value = nn.Parameter(torch.zeros(1))

    def forward(self, batch):
        return self.value.expand(batch.n_graphs)


@dataclass(frozen=True)
class Mean:
    def build(self, features, seed):
        return MeanModule()
