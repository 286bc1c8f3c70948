"""Sets on disk train the networks of sets in memory, in the memory of two shards."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from phonograph.errors import ConfigurationError, DataError, InputFileError
from phonograph.files.graph_shards import load_shards, write_shards
from phonograph.graphs import GraphSpec, build_graphs
from phonograph.models import GraphConvNet, fit_input_scaling
from phonograph.models.batch import PackedGraphs
from phonograph.testing import displaced, fcc
from phonograph.training import TrainingSettings, fit, fit_large
from phonograph.types import join_graphs

SETTINGS = TrainingSettings(epochs=4, batch_size=16)
MODEL = GraphConvNet(hidden_channels=8, dropout=0.2)


@pytest.fixture(scope="module")
def shards(graphs, values, tmp_path_factory):
    blocks = ((graphs.select(range(a, a + 20)), values[a : a + 20]) for a in range(0, 60, 20))
    return write_shards(blocks, tmp_path_factory.mktemp("shards"), ["x"], ["eV"])


def same(one, other):
    return one.history == other.history and all(
        one.weights[name].tobytes() == other.weights[name].tobytes() for name in one.weights
    )


@pytest.mark.parametrize("law", ["cosine", "minmax", "radial"])
def test_without_shuffling_disk_and_memory_are_the_same_bits(graphs, values, split, shards, law):
    settings = replace(SETTINGS, shuffle=False, edge_law=law, radial_functions=3)
    large = fit_large(shards, split, MODEL, settings, target="x", seed=1)
    place = {sample: row for row, sample in enumerate(graphs.sample_ids)}
    ordered = replace(split, validation=tuple(sorted(split.validation, key=place.get)))
    whole = fit(graphs, values, ordered, MODEL, settings, target="x", unit="eV", seed=1)
    assert large.history == whole.history
    assert same(large, whole)
    assert (large.inputs, large.scaling, large.unit, large.train_range) == (
        (whole.inputs, whole.scaling, whole.unit, whole.train_range)
    )
    assert large.domain == whole.domain


def test_the_order_is_a_function_of_seed_and_epoch_and_reads_each_shard_once(shards):
    rows = np.arange(len(shards))
    scaling = fit_input_scaling(shards.load(0))
    source = shards.source(rows, scaling, torch.float32, torch.device("cpu"))
    chosen = rows[5:55]
    order = source.order(chosen, 1, 3)
    assert sorted(order) == sorted(chosen)
    assert np.array_equal(order, source.order(chosen, 1, 3))
    assert not np.array_equal(order, source.order(chosen, 1, 4))
    assert not np.array_equal(order, source.order(chosen, 2, 3))
    shard = order // 20
    assert (np.diff(shard) != 0).sum() == 2
    assert not np.array_equal(order, np.sort(order))
    firsts = {source.order(chosen, 1, epoch)[0] // 20 for epoch in range(20)}
    assert firsts == {0, 1, 2}


@pytest.mark.parametrize("mixed", [False, True])
def test_batches_that_cross_shards_are_those_of_memory(graphs, tmp_path, mixed):
    last = (
        build_graphs(displaced(fcc("Ag"), 20, 0.1, name="fcc"), GraphSpec()) if mixed else graphs.select(range(40, 60))
    )
    everything = join_graphs([graphs.select(range(40)), last])
    blocks = [(everything.select(range(a, a + 20)), np.zeros(20)) for a in range(0, 60, 20)]
    shards = write_shards(blocks, tmp_path, ["x"], ["eV"])
    scaling = fit_input_scaling(everything)
    source = shards.source(np.arange(60), scaling, torch.float64, torch.device("cpu"))
    packed = PackedGraphs(everything, scaling, torch.float64)
    for index in (np.arange(15, 45), np.array([59, 3, 22, 21])):
        one, other = source.batch(index), packed.batch(index)
        for name in ("x", "batch", "edge_index", "edge_weight", "edge_distance", "n_graphs"):
            assert np.array_equal(np.asarray(getattr(one, name)), np.asarray(getattr(other, name))), name
        if not mixed:
            assert torch.equal(one.adjacency, other.adjacency)
    assert source.dense == (not mixed)
    split = {"train": tuple(everything.sample_ids[:50]), "validation": tuple(everything.sample_ids[50:])}
    from phonograph.types import Split

    relabelled = write_shards(
        [(graphs_, np.arange(20.0) + k) for k, (graphs_, _) in enumerate(blocks)], tmp_path, ["x"], ["eV"]
    )
    fitted = fit_large(relabelled, Split(**split, test=(), seed=0), MODEL, SETTINGS, target="x")
    assert len(fitted.history) == 4


def test_resume_in_the_middle_of_a_shard(shards, split, tmp_path):
    class StoppedError(Exception):
        pass

    settings = replace(SETTINGS, checkpoint_s=0.0)
    whole = fit_large(shards, split, MODEL, settings, target="x", seed=1)

    def stop(_what, done, _total):
        if done == 2:
            raise StoppedError

    with pytest.raises(StoppedError):
        fit_large(shards, split, MODEL, settings, target="x", seed=1, checkpoint=tmp_path / "c", progress=stop)
    assert same(fit_large(shards, split, MODEL, settings, target="x", seed=1, checkpoint=tmp_path / "c"), whole)


def test_mistakes_are_told(shards, split, graphs, tmp_path):
    with pytest.raises(DataError, match="no label 'y'; the labels are x"):
        fit_large(shards, split, MODEL, SETTINGS, target="y")
    with pytest.raises(DataError, match="1 training samples have no graph, the first is 'nobody'"):
        fit_large(shards, replace(split, train=("nobody",)), MODEL, SETTINGS, target="x")
    with pytest.raises(DataError, match="0 blocks"):
        write_shards([], tmp_path, ["x"], ["eV"])
    few = graphs.select(range(3))
    with pytest.raises(DataError, match="occur twice"):
        write_shards([(few, np.zeros(3)), (few, np.zeros(3))], tmp_path, ["x"], ["eV"])
    with pytest.raises(InputFileError, match="not found"):
        load_shards(tmp_path / "nowhere")
    write_shards([(few, np.zeros(3))], tmp_path, ["x"], ["eV"])
    data = bytearray((tmp_path / "index.npz").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "index.npz").write_bytes(bytes(data))
    with pytest.raises(InputFileError, match="was changed after it was written"):
        load_shards(tmp_path)


MEMORY = """
import sys
from pathlib import Path
import numpy as np
import torch
torch.set_num_threads(1)
from phonograph.files.graph_shards import load_shards, write_shards
from phonograph.graphs import GraphSpec, build_graphs
from phonograph.models import GraphConvNet
from phonograph.testing import cubic_antiperovskite, displaced
from phonograph.training import TrainingSettings, fit_large
from phonograph.types import Split

folder, shards = Path(sys.argv[1]), int(sys.argv[2])
crystal = cubic_antiperovskite(4.9)

def peak():
    return int(next(l for l in open("/proc/self/status") if l.startswith("VmHWM")).split()[1]) / 1024

def block(k):
    graphs = build_graphs(displaced(crystal, 400, 0.2, seed=k, name=f"s{k}"), GraphSpec(cutoff_A=8.0))
    return graphs, np.add.reduceat(graphs.distance_A, graphs.edge_offsets[:-1]) / np.diff(graphs.edge_offsets)

large = write_shards((block(k) for k in range(shards)), folder, ["x"], ["eV"])
ids = large.sample_ids.tolist()
split = Split(train=tuple(ids[:-50]), validation=tuple(ids[-50:]), test=(), seed=0)
fit_large(large, split, GraphConvNet(hidden_channels=8), TrainingSettings(epochs=1, batch_size=64), target="x")
size = sum(file.stat().st_size for file in folder.iterdir()) / 2**20
print(peak(), size)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_set(tmp_path):
    """Sixteen shards instead of four: the files grow by far more than the memory."""
    found = {}
    for shards in (4, 16):
        command = [sys.executable, "-c", MEMORY, str(tmp_path / str(shards)), str(shards)]
        out = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout
        found[shards] = [float(word) for word in out.split()]
    memory, files = (found[16][k] - found[4][k] for k in (0, 1))
    assert files > 20, found
    assert memory < files / 4, found


def test_seeds_and_labels_that_cannot_be_are_refused(graphs, values, split, tmp_path):
    absurd, sample = values.copy(), split.train[7]
    absurd[graphs.sample_ids.index(sample)] = 1e300
    large = write_shards([(graphs, absurd)], tmp_path, ["x"], ["eV"])
    with pytest.raises(DataError, match=rf"x: the label 1e\+300 of sample '{sample}' is so large"):
        fit_large(large, split, MODEL, SETTINGS, target="x")
    with pytest.raises(ConfigurationError, match=r"seed of a fit must be at least 0 and below 2\^64"):
        fit_large(large, split, MODEL, SETTINGS, target="x", seed=-1)
