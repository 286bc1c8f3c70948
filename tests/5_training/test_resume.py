"""A run that was killed goes on and ends with the same bits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from phonograph.files.bundle import load_bundle
from phonograph.files.graphs import save_graphs
from phonograph.models import GraphConvNet
from phonograph.streams import stream
from phonograph.training import TrainingSettings, fit

MODEL = GraphConvNet(hidden_channels=16, dropout=0.3)
SETTINGS = TrainingSettings(epochs=12, batch_size=16, patience=12, checkpoint_s=0.0)


class StoppedError(Exception):
    pass


def train(graphs, labels, split, checkpoint=None, settings=SETTINGS, **changes):
    return fit(graphs, labels, split, MODEL, settings, target="toy_eV", seed=5, checkpoint=checkpoint, **changes)


def same(one, other):
    return (
        one.history == other.history
        and one.best_epoch == other.best_epoch
        and all(one.weights[name].tobytes() == other.weights[name].tobytes() for name in other.weights)
    )


@pytest.fixture(scope="module")
def whole(graphs, labels, split):
    return train(graphs, labels, split)


@pytest.mark.parametrize("epoch", range(1, 13))
def test_stopped_after_any_epoch_it_ends_with_the_same_bits(graphs, labels, split, whole, tmp_path, epoch):
    checkpoint = tmp_path / "toy.checkpoint"

    def stop(_what, done, _total):
        # Progress is told before the checkpoint of that epoch is written: the epoch must be done again.
        if done == epoch + 1:
            raise StoppedError

    if epoch < 12:
        with pytest.raises(StoppedError):
            train(graphs, labels, split, checkpoint, progress=stop)
        torch.rand(epoch)
    else:
        train(graphs, labels, split, checkpoint)
    epochs = []
    again = train(graphs, labels, split, checkpoint, progress=lambda _what, done, _total: epochs.append(done))
    assert same(again, whole)
    assert epochs == list(range(epoch + 1, 13))
    assert again.warnings == whole.warnings


def test_checkpoints_do_not_change_the_result(graphs, labels, split, whole, tmp_path):
    assert same(train(graphs, labels, split, tmp_path / "c", replace(SETTINGS, checkpoint_s=1e9)), whole)
    assert (tmp_path / "c").exists()


CHILD = """
import sys
import numpy as np
import torch
from phonograph.files.bundle import save_bundle
from phonograph.files.graphs import load_graphs
from phonograph.models import GraphConvNet
from phonograph.training import TrainingSettings, fit, make_split
from pathlib import Path

torch.set_num_threads(1)
folder = Path(sys.argv[1])
graphs = load_graphs(folder / "graphs.npz")
values = np.load(folder / "values.npy")
settings = TrainingSettings(epochs=150, batch_size=16, patience=150, checkpoint_s=0.0)
model = GraphConvNet(hidden_channels=16, dropout=0.3)
fitted = fit(
    graphs, values, make_split(graphs.sample_ids, graphs.groups, seed=3), model, settings,
    target="toy_eV", unit="eV", seed=5, checkpoint=folder / "toy.checkpoint",
    progress=lambda what, done, total: print(done, flush=True),
)
save_bundle(fitted, folder / sys.argv[2])
"""


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_with_the_same_bits(graphs, values, tmp_path):
    save_graphs(graphs, tmp_path / "graphs.npz")
    np.save(tmp_path / "values.npy", values)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", CHILD, str(tmp_path)]
    subprocess.run([*command, "whole"], check=True, env=environment, stdout=subprocess.DEVNULL)
    (tmp_path / "toy.checkpoint").unlink()
    random, reached = stream(0, "kills"), [0]
    for _ in range(4):
        with subprocess.Popen([*command, "killed"], env=environment, stdout=subprocess.PIPE, text=True) as child:
            first = int(child.stdout.readline())
            assert first >= reached[-1], "work that a checkpoint held was done again"
            for _ in range(int(random.integers(5, 30))):
                child.stdout.readline()
            time.sleep(float(random.uniform(0, 0.01)))
            child.send_signal(signal.SIGKILL)
            reached.append(first)
    assert reached[-1] > 1
    assert not (tmp_path / "killed").exists()
    subprocess.run([*command, "killed"], check=True, env=environment, stdout=subprocess.DEVNULL)
    assert same(load_bundle(tmp_path / "killed"), load_bundle(tmp_path / "whole"))
    assert (tmp_path / "killed" / "model.json").read_bytes() == (tmp_path / "whole" / "model.json").read_bytes()


def test_a_checkpoint_of_other_data_or_settings_is_told_and_not_used(graphs, labels, split, values, tmp_path):
    checkpoint = tmp_path / "toy.checkpoint"
    train(graphs, labels, split, checkpoint)
    for settings, data in (
        (replace(SETTINGS, learning_rate=1e-2), labels),
        (SETTINGS, values + 1.0),
    ):
        fresh = train(graphs, data, split, settings=settings, unit="eV")
        again = train(graphs, data, split, checkpoint, settings, unit="eV")
        assert same(again, fresh)
        assert "could not be used (it belongs to other data or settings)" in again.warnings[0]


def test_a_changed_byte_in_a_checkpoint_is_always_noticed(graphs, labels, split, whole, tmp_path):
    from phonograph.training.checkpoint import read_checkpoint

    checkpoint = tmp_path / "toy.checkpoint"
    train(graphs, labels, split, checkpoint)
    data = checkpoint.read_bytes()
    random = stream(0, "flip")
    for _ in range(100):
        place = int(random.integers(len(data)))
        broken = bytearray(data)
        broken[place] ^= int(random.integers(1, 256))
        checkpoint.write_bytes(bytes(broken))
        assert isinstance(read_checkpoint(checkpoint, "any"), str)
    for broken in (b"", data[:100], data[:-1], b"phonograph-checkpoint 1 abc\n"):
        checkpoint.write_bytes(broken)
        again = train(graphs, labels, split, checkpoint)
        assert same(again, whole)
        assert "training started from the beginning" in again.warnings[0]


def every_step(monkeypatch):
    """Keep what the checkpoint of every step would be, without waiting for the disk."""
    from phonograph.training import checkpoint

    copies = []
    monkeypatch.setattr(checkpoint, "write_bytes", lambda _path, data: copies.append(data))
    return copies


@pytest.mark.parametrize("own", [False, True])
def test_resume_is_bitwise_from_every_step(graphs, labels, split, tmp_path, monkeypatch, own):
    """R9: 64 steps, 64 resumes, also in the middle of an epoch, also for a network that is not ours."""
    from dataclasses import dataclass

    from torch import nn

    class Noisy(nn.Module):
        def __init__(self, features):
            super().__init__()
            self.layer = nn.Linear(features, 8)
            self.norm, self.drop, self.last = nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 1)

        def forward(self, batch):
            return self.last(self.drop(self.norm(self.layer(batch.pool(batch.aggregate(batch.x), "mean"))))).squeeze(-1)

    @dataclass(frozen=True)
    class NoisyModel:
        def build(self, features, seed):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                return Noisy(features)

    model = NoisyModel() if own else MODEL
    settings = replace(SETTINGS, epochs=16, batch_size=11, patience=16)  # 4 steps per epoch

    def run(checkpoint, checkpoint_s=0.0):
        own = replace(settings, checkpoint_s=checkpoint_s)
        return fit(graphs, labels, split, model, own, target="toy_eV", seed=5, checkpoint=checkpoint)

    copies = every_step(monkeypatch)
    whole = run(tmp_path / "c")
    assert len(copies) == 64
    assert len(set(copies)) == 64
    for step, copy in enumerate(copies[: 64 : 7 if own else 1]):
        (tmp_path / "c").write_bytes(copy)
        torch.rand(3)
        assert same(run(tmp_path / "c", checkpoint_s=1e9), whole), step


def test_more_epochs_go_on_from_fewer(graphs, labels, split, tmp_path):
    """What successive halving needs: ten epochs, then two more, are twelve; fewer than were done is told."""
    settings = replace(SETTINGS, patience=3, learning_rate=0.03)
    train(graphs, labels, split, tmp_path / "c", replace(settings, epochs=4))
    epochs = []
    more = train(graphs, labels, split, tmp_path / "c", settings, progress=lambda _w, done, _t: epochs.append(done))
    assert same(more, train(graphs, labels, split, settings=settings))
    assert epochs[0] == 5
    fewer = train(graphs, labels, split, tmp_path / "c", replace(settings, epochs=2))
    assert len(fewer.history) == 2
    assert f"it is of epoch {len(more.history)}, 2 are wanted" in fewer.warnings[0]


def test_a_killed_writer_leaves_a_checkpoint(tmp_path):
    """R9: written over and over, killed at any moment, there is always one whole checkpoint."""
    from phonograph.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint

    path = tmp_path / "c"
    code = (
        "import torch, sys; from pathlib import Path\n"
        "from phonograph.training.checkpoint import Checkpoint, write_checkpoint\n"
        "print('ready', flush=True)\n"
        "for n in range(10**6):\n"
        "    write_checkpoint(Path(sys.argv[1]), Checkpoint({'a': torch.full((4096,), float(n))}, {'key': 'k'}))\n"
    )
    write_checkpoint(path, Checkpoint({"a": torch.zeros(4096)}, {"key": "k"}))
    random = stream(0, "kill-writer")
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True) as child:
        child.stdout.readline()
        for _ in range(30):  # stopped and read at random moments, then killed
            time.sleep(float(random.uniform(0, 0.01)))
            child.send_signal(signal.SIGSTOP)
            found = read_checkpoint(path, "k")
            assert not isinstance(found, str), found
            assert len(set(found.tensors["a"].tolist())) == 1
            child.send_signal(signal.SIGCONT)
        child.kill()
    assert not isinstance(read_checkpoint(path, "k"), str)


class Plain:
    """A model of one's own that is no dataclass: a checkpoint knows it by what it builds."""

    def __init__(self, width, activation):
        self.width, self.activation = width, activation

    def build(self, features, seed):
        from torch import nn

        class Two(nn.Module):
            def __init__(self, width, activation):
                super().__init__()
                self.layers = nn.Sequential(nn.Linear(features, width), activation, nn.Linear(width, 1))

            def forward(self, batch):
                return batch.pool(self.layers(batch.aggregate(batch.x)), "mean").squeeze(-1)

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return Two(self.width, self.activation)


def plain(graphs, labels, split, checkpoint, width=8, activation=None):
    model = Plain(width, activation or torch.nn.SiLU())
    settings = replace(SETTINGS, epochs=3)
    return fit(graphs, labels, split, model, settings, target="toy_eV", seed=5, checkpoint=checkpoint)


def test_a_checkpoint_of_another_network_of_ones_own_is_told_and_not_used(graphs, labels, split, tmp_path):
    whole = plain(graphs, labels, split, tmp_path / "c")
    assert same(plain(graphs, labels, split, tmp_path / "c"), whole)
    assert not plain(graphs, labels, split, tmp_path / "c").warnings
    for changes in ({"width": 16}, {"activation": torch.nn.Tanh()}):
        again = plain(graphs, labels, split, tmp_path / "c", **changes)
        assert "could not be used (it belongs to other data or settings)" in again.warnings[0]
        assert same(again, plain(graphs, labels, split, None, **changes))
        plain(graphs, labels, split, tmp_path / "c")


@pytest.mark.parametrize("own", [True, False])
def test_tensors_that_do_not_fit_are_told_and_training_starts_afresh(graphs, labels, split, tmp_path, monkeypatch, own):
    """As where the code of a network has changed under the same name."""
    from phonograph.training import resume

    def run(checkpoint):
        return plain(graphs, labels, split, checkpoint) if own else train(graphs, labels, split, checkpoint)

    whole = run(tmp_path / "c")

    def smaller(path, key):
        tensors, state = read_checkpoint(path, key)
        return Checkpoint({name: t[..., :1] if t.ndim else t for name, t in tensors.items()}, state)

    from phonograph.training.checkpoint import Checkpoint, read_checkpoint

    monkeypatch.setattr(resume, "read_checkpoint", smaller)
    again = run(tmp_path / "c")
    assert same(again, whole)
    assert "is not that of the network); training started from the beginning" in again.warnings[0]


@pytest.mark.parametrize("stopped", [1, 7])
def test_one_batch_that_holds_all_is_resumed_with_the_same_bits(graphs, labels, split, tmp_path, stopped):
    """That batch is made once, so its order must not depend on the epoch in which a process began."""
    settings = replace(SETTINGS, batch_size=len(split.train))
    whole = train(graphs, labels, split, settings=settings)
    checkpoint = tmp_path / "toy.checkpoint"
    train(graphs, labels, split, checkpoint, replace(settings, epochs=stopped))
    assert same(train(graphs, labels, split, checkpoint, settings), whole)
