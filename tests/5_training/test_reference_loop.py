"""What benchmarks/training.py claims: the loop of torch_geometric's users and ours are the same training."""

from __future__ import annotations

import warnings
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from phonograph.models import architecture
from phonograph.models.features import edge_weights, node_features
from phonograph.streams import stream
from phonograph.training import fit, paper_settings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torch_geometric imports with deprecated calls of its own
    import torch_geometric.nn as pyg
    from torch_geometric.data import Data
    from torch_geometric.loader import DataLoader


class Reference(nn.Module):
    def __init__(self, model, state):
        super().__init__()
        widths = [4] + [model.hidden_channels] * model.convolutions
        self.convs = nn.ModuleList(pyg.GraphConv(a, b) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(nn.BatchNorm1d(model.hidden_channels) for _ in range(model.convolutions))
        self.hidden, self.final, self.model = nn.Linear(model.hidden_channels, 16), nn.Linear(16, 1), model
        names = {"lin_rel": "neighbours", "lin_root": "itself", "convs": "convolutions"}
        own = {}
        for name in self.state_dict():
            theirs = name
            for old, new in names.items():
                theirs = theirs.replace(old, new)
            own[name] = state[theirs]
        self.load_state_dict(own)

    def forward(self, data):
        x = data.x
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = functional.relu(norm(conv(x, data.edge_index, data.edge_attr)))
        pool = pyg.global_max_pool if self.model.pooling == "max" else pyg.global_mean_pool
        x = self.final(functional.relu(self.hidden(pool(x, data.batch)))).squeeze(-1)
        return torch.sigmoid(x) if self.model.output == "sigmoid" else functional.relu(x)


def as_data(graphs, inputs, values, place):
    nodes = slice(graphs.node_offsets[place], graphs.node_offsets[place + 1])
    edges = slice(graphs.edge_offsets[place], graphs.edge_offsets[place + 1])
    return Data(
        x=torch.tensor(node_features(graphs.numbers[nodes], inputs)),
        edge_index=torch.tensor(np.stack([graphs.source[edges], graphs.target[edges]]), dtype=torch.int64),
        edge_attr=torch.tensor(edge_weights(graphs.distance_A[edges], inputs)),
        y=torch.tensor([values[place]]),
    )


@pytest.mark.parametrize("number", [1, 4, 6])
def test_five_epochs_of_torch_geometric_have_our_losses(graphs, values, split, number):
    model = architecture(number, hidden_channels=8)
    settings = paper_settings(epochs=5, batch_size=16, learning_rate=1e-3, precision="double", weight_decay=1e-3)
    fitted = fit(graphs, values, split, model, settings, target="x", unit="eV", seed=6)
    place = {sample: row for row, sample in enumerate(graphs.sample_ids)}
    scaled = (values - fitted.scaling.shift) / fitted.scaling.scale
    data = [as_data(graphs, fitted.inputs, scaled, place[sample]) for sample in split.train]
    module = Reference(model, model.build(4, 6).state_dict()).double()
    optimiser = torch.optim.Adam(module.parameters(), lr=1e-3, weight_decay=1e-3)
    for epoch in fitted.history:
        order = stream(6, "training", "order", epoch.index).permutation(len(data)).tolist()
        total = 0.0
        for batch in DataLoader(data, batch_size=16, sampler=order):
            optimiser.zero_grad()
            loss = functional.mse_loss(module(batch), batch.y)
            loss.backward()
            optimiser.step()
            total += loss.item() * batch.num_graphs
        assert epoch.train_loss == pytest.approx(total / len(data), rel=1e-8)
