"""R10: two processes that share every batch train the network of one process."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn

from phonograph.errors import ConfigurationError
from phonograph.files.bundle import load_bundle
from phonograph.files.graphs import save_graphs
from phonograph.models import GraphConvNet, architecture
from phonograph.training import TrainingSettings, fit
from phonograph.training.processes import Processes, processes

SETTINGS = TrainingSettings(epochs=6, batch_size=9, precision="double", patience=6)
MODEL = GraphConvNet(convolutions=3, hidden_channels=6, dropout=0.3)


def train(graphs, values, split, model=MODEL, settings=SETTINGS, **more):
    return fit(graphs, values, split, model, settings, target="x", unit="eV", seed=2, **more)


class Threads:
    """Processes as threads of this one: each waits for all at every sum."""

    def __init__(self, size):
        self.size, self.barrier, self.values = size, threading.Barrier(size), [None] * size

    def member(self, rank):
        group = self

        class Member(Processes):
            def sum(self, value):
                group.values[rank] = value.clone()
                group.barrier.wait()
                total = sum(group.values)
                group.barrier.wait()
                return value.copy_(total)

        return Member(rank, self.size)


def by_threads(monkeypatch, size, work):
    """Run ``work(rank)`` in every thread and return the results, or raise the first error."""
    group, here, results = Threads(size), threading.local(), [None] * size
    monkeypatch.setattr("phonograph.training.processes.processes", lambda: group.member(here.rank))

    def run(rank):
        here.rank = rank
        try:
            results[rank] = work(rank)
        except Exception as error:
            results[rank] = error
            group.barrier.abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, Exception) and not isinstance(result, threading.BrokenBarrierError):
            raise result
    return results


def close(one, other, bound=1e-12):
    for name in one.weights:
        assert np.abs(one.weights[name] - other.weights[name]).max() <= bound, name
    for mine, theirs in zip(one.history, other.history, strict=True):
        assert mine.train_loss == pytest.approx(theirs.train_loss, abs=bound)
        assert mine.validation_loss == pytest.approx(theirs.validation_loss, abs=bound)
        assert mine.gradient_norm == pytest.approx(theirs.gradient_norm, abs=bound)
    assert one.best_epoch == other.best_epoch


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("pooling", ["max", "mean"])
def test_shares_of_a_batch_add_up_to_it(graphs, values, split, monkeypatch, size, pooling):
    """42 samples in batches of 9: the last holds 6, shares of 9 differ; normalisation sees the whole batch."""
    model = replace(MODEL, pooling=pooling)
    alone = train(graphs, values, split, model)
    for fitted in by_threads(monkeypatch, size, lambda _rank: train(graphs, values, split, model)):
        close(fitted, alone, {2: 1e-12, 3: 1e-11}[size])


def test_more_processes_than_crystals_in_a_batch(graphs, values, split, monkeypatch):
    few = replace(split, train=split.train[:5], validation=split.validation[:1])
    settings = replace(SETTINGS, batch_size=3)
    alone = train(graphs, values, few, settings=settings)
    for fitted in by_threads(monkeypatch, 4, lambda _rank: train(graphs, values, few, settings=settings)):
        close(fitted, alone)


def test_only_the_first_process_writes_and_all_resume(graphs, values, split, monkeypatch, tmp_path):
    settings = replace(SETTINGS, checkpoint_s=0.0)
    alone = train(graphs, values, split, settings=settings)

    class StoppedError(Exception):
        pass

    def stop(_what, done, _total):
        if done == 3:
            raise StoppedError

    def work(_rank, progress=None):
        return train(graphs, values, split, settings=settings, checkpoint=tmp_path / "c", progress=progress)

    with pytest.raises(StoppedError):
        by_threads(monkeypatch, 2, lambda rank: work(rank, stop))
    epochs = []
    for fitted in by_threads(monkeypatch, 2, lambda rank: work(rank, lambda _w, done, _t: epochs.append(done))):
        close(fitted, alone)
    assert min(epochs) == 3


class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.layer = nn.BatchNorm1d(4), nn.Linear(4, 1)

    def forward(self, batch):
        return self.layer(batch.pool(self.norm(batch.x), "mean")).squeeze(-1)


@dataclass(frozen=True)
class NormedModel:
    def build(self, features, seed):
        return Normed()


def test_modules_whose_normalisation_would_see_a_share_are_refused(graphs, values, split, monkeypatch):
    with pytest.raises(ConfigurationError, match="batch normalisation cannot be trained by several processes"):
        by_threads(monkeypatch, 2, lambda _rank: train(graphs, values, split, NormedModel()))


def test_alone_without_a_process_group():
    assert (processes().rank, processes().size) == (0, 1)


SCRIPT = """
import sys
from pathlib import Path
import numpy as np
import torch
from phonograph.files.bundle import save_bundle
from phonograph.files.graphs import load_graphs
from phonograph.models import architecture
from phonograph.training import TrainingSettings, fit, make_split

torch.set_num_threads(1)
torch.distributed.init_process_group("gloo")
folder = Path(sys.argv[1])
graphs, values = load_graphs(folder / "graphs.npz"), np.load(folder / "values.npy")
settings = TrainingSettings(epochs=6, batch_size=9, precision="double", patience=6)
fitted = fit(graphs, values, make_split(graphs.sample_ids, graphs.groups, seed=3),
             architecture(6, hidden_channels=6, dropout=0.3), settings, target="x", unit="eV", seed=2)
save_bundle(fitted, folder / f"rank{torch.distributed.get_rank()}")
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_torchrun_with_two_processes(graphs, values, split, tmp_path):
    save_graphs(graphs, tmp_path / "graphs.npz")
    np.save(tmp_path / "values.npy", values)
    (tmp_path / "train.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, str(tmp_path / "train.py"), str(tmp_path)], check=True, env=environment, timeout=300)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    alone = train(graphs, values, split, architecture(6, hidden_channels=6, dropout=0.3))
    torch.set_num_threads(before)
    for rank in range(2):
        close(load_bundle(tmp_path / f"rank{rank}"), alone)
