"""Graphs go to torch-geometric and come back bit for bit; its own layers see what ours see."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pytest
import torch

import phonograph as pg
from phonograph.bridges.pyg import from_pyg, to_pyg
from phonograph.errors import DataError, MissingEngineError
from phonograph.models.features import fit_input_scaling
from phonograph.models.graphconv import GraphConv
from phonograph.models.predict import make_batch
from phonograph.streams import stream
from phonograph.testing import cubic_antiperovskite, displaced, fcc
from phonograph.types import join_graphs

with warnings.catch_warnings():
    # torch_geometric imports with deprecated calls of its own.
    warnings.simplefilter("ignore", DeprecationWarning)
    from torch_geometric.data import Data
    from torch_geometric.loader import DataLoader
    from torch_geometric.nn import GraphConv as TheirGraphConv

ARRAYS = ("node_offsets", "numbers", "edge_offsets", "source", "target", "image", "distance_A")


@pytest.fixture(scope="module")
def graphs():
    spec = pg.GraphSpec(cutoff_A=5.0)
    sets = [displaced(cubic_antiperovskite(), 4, name="one"), displaced(fcc("Ag", 4.1), 3, name="two")]
    return join_graphs([pg.build_graphs(item, spec) for item in sets])


def same(one, other):
    assert (one.sample_ids, one.groups, one.spec) == (other.sample_ids, other.groups, other.spec)
    for name in ARRAYS:
        a, b = getattr(one, name), getattr(other, name)
        assert a.dtype == b.dtype
        assert a.tobytes() == b.tobytes(), name


@pytest.mark.parametrize("scaled", [False, True])
def test_the_round_trip_is_exact(graphs, scaled):
    same(from_pyg(to_pyg(graphs, fit_input_scaling(graphs) if scaled else None)), graphs)


def test_a_batch_comes_apart_again(graphs):
    batch = next(iter(DataLoader(to_pyg(graphs), batch_size=len(graphs))))
    same(from_pyg(batch.to_data_list()), graphs)


def test_edges_may_come_in_any_order(graphs):
    made = to_pyg(graphs)
    for item in made:
        order = torch.from_numpy(stream(1, item.sample_id).permutation(item.edge_index.shape[1]))
        item.edge_index, item.edge_image = item.edge_index[:, order], item.edge_image[order]
        item.edge_distance = item.edge_distance[order]
    same(from_pyg(made), graphs)


def test_their_layer_sees_what_ours_sees(graphs):
    inputs = fit_input_scaling(graphs)
    ours, theirs = GraphConv(4, 6), TheirGraphConv(4, 6)
    theirs.lin_rel.load_state_dict(ours.neighbours.state_dict())
    theirs.lin_root.load_state_dict(ours.itself.state_dict())
    batch = make_batch(graphs, inputs)
    data = next(iter(DataLoader(to_pyg(graphs, inputs), batch_size=len(graphs))))
    with torch.no_grad():
        expected = ours(batch, batch.x).numpy()
        np.testing.assert_allclose(theirs(data.x, data.edge_index, data.edge_weight).numpy(), expected, rtol=2e-5)
    assert torch.equal(data.batch, batch.batch)


def wrong(**changes):
    item = to_pyg(pg.build_graphs(displaced(cubic_antiperovskite(), 1), pg.GraphSpec(cutoff_A=4.0)))[0]
    for name, value in changes.items():
        setattr(item, name, value)
    return item


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ([], "at least one Data"),
        ([Data(x=torch.zeros(3, 1))], "Data 0 has no z, edge_index, edge_image"),
        ([wrong(edge_distance=torch.zeros(3))], "must have edge_index"),
        ([wrong(), wrong(z=torch.tensor([47]))], "Data 1 has an edge to atom 4 of 1"),
        ([wrong(cutoff_A=3.0)], "Data 0 has distances from"),
        ([wrong(), wrong(cutoff_A=4.5)], "one cutoff; got 4 Å, 4.5 Å"),
    ],
)
def test_other_data_are_refused_in_one_sentence(items, words):
    with pytest.raises(DataError, match=words) as told:
        from_pyg(items)
    assert "\n" not in str(told.value)


def test_without_torch_geometric_there_is_a_hint(graphs, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_geometric.data", None)
    with pytest.raises(MissingEngineError, match=r"phonograph\[pyg\]"):
        to_pyg(graphs)
