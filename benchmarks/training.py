"""Training speed: torch_geometric's GraphConv with its DataLoader against ours, on the same batches.

    python benchmarks/training.py [--graphs 300] [--channels 64] [--batch 128] [--epochs 5] [--threads 1]

Same data, same initial weights, same batches, Adam with the same settings.  Timed in single precision, where rounding
grows with every step; in double precision the losses of all epochs must agree to 1e-4, which shows that it is the same
training.  CPU seconds per epoch, so that other work on the machine does not count.
"""

from __future__ import annotations

import argparse
import time
from itertools import pairwise

import numpy as np
import torch
import torch_geometric.nn as pyg
from graphs import cell_40
from torch import nn
from torch.nn import functional
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader

from phonograph.graphs import GraphSpec, build_graphs
from phonograph.models import ARCHITECTURES, GraphConvNet, architecture, fit_input_scaling
from phonograph.models.batch import PackedGraphs
from phonograph.models.features import edge_weights, node_features
from phonograph.streams import stream
from phonograph.testing import displaced
from phonograph.training import TrainingSettings
from phonograph.training.loop import Trainer
from phonograph.types import GraphSet, InputScaling


class Reference(nn.Module):
    """The paper's network, written with torch_geometric."""

    def __init__(self, model: GraphConvNet, weights: dict[str, torch.Tensor]) -> None:
        super().__init__()
        widths = [4] + [model.hidden_channels] * model.convolutions
        self.convs = nn.ModuleList(pyg.GraphConv(a, b) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(pyg.BatchNorm(model.hidden_channels) for _ in range(model.convolutions))
        self.hidden, self.final = nn.Linear(model.hidden_channels, 16), nn.Linear(16, 1)
        self.model = model
        names = {"lin_rel": "neighbours", "lin_root": "itself", "module.": "", "convs": "convolutions"}
        own = {}
        for name in self.state_dict():
            theirs = name
            for old, new in names.items():
                theirs = theirs.replace(old, new)
            own[name] = weights[theirs]
        self.load_state_dict(own)

    def forward(self, data: Data) -> torch.Tensor:
        x = data.x
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = functional.relu(norm(conv(x, data.edge_index, data.edge_attr)))
        pool = pyg.global_max_pool if self.model.pooling == "max" else pyg.global_mean_pool
        x = self.final(functional.relu(self.hidden(pool(x, data.batch)))).squeeze(-1)
        return torch.sigmoid(x) if self.model.output == "sigmoid" else functional.relu(x)


def as_data(graphs: GraphSet, scaling: InputScaling, values: np.ndarray, dtype: torch.dtype) -> list[Data]:
    features = torch.tensor(node_features(graphs.numbers, scaling), dtype=dtype)
    weights = torch.tensor(edge_weights(graphs.distance_A, scaling), dtype=dtype)
    made = []
    for index in range(len(graphs)):
        nodes = slice(graphs.node_offsets[index], graphs.node_offsets[index + 1])
        edges = slice(graphs.edge_offsets[index], graphs.edge_offsets[index + 1])
        ends = torch.tensor(np.stack([graphs.source[edges], graphs.target[edges]]), dtype=torch.int64)
        label = torch.tensor([values[index]], dtype=dtype)
        made.append(Data(x=features[nodes], edge_index=ends, edge_attr=weights[edges], y=label))
    return made


class Order(torch.utils.data.Sampler):
    """The order that our loop uses."""

    def __init__(self, count: int) -> None:
        self.count, self.epoch = count, -1

    def __iter__(self) -> object:
        self.epoch += 1
        return iter(stream(0, "training", "order", self.epoch).permutation(self.count).tolist())

    def __len__(self) -> int:
        return self.count


def reference(model: GraphConvNet, data: list[Data], settings: TrainingSettings) -> tuple[list[float], float]:
    module = Reference(model, model.build(4, 0).state_dict()).to(data[0].x.dtype)
    optimiser = torch.optim.Adam(module.parameters(), lr=settings.learning_rate)
    loader = DataLoader(data, batch_size=settings.batch_size, sampler=Order(len(data)))
    losses, start = [], time.process_time()
    for _ in range(settings.epochs):
        module.train()
        total = 0.0
        for batch in loader:
            optimiser.zero_grad()
            loss = functional.mse_loss(module(batch), batch.y)
            loss.backward()
            optimiser.step()
            total += loss.item() * batch.num_graphs
        losses.append(total / len(data))
    return losses, (time.process_time() - start) / settings.epochs


def ours(model: GraphConvNet, packed: PackedGraphs, values: np.ndarray, settings: TrainingSettings) -> tuple:
    trainer = Trainer(
        module=model.build(4, 0).to(packed.dtype),
        packed=packed,
        values=torch.tensor(values, dtype=packed.dtype),
        train=np.arange(len(values)),
        validation=np.arange(2),
        settings=settings,
        seed=0,
        name="benchmark",
    )
    start = time.process_time()
    losses = [trainer.epoch(index).train_loss for index in range(settings.epochs)]
    return losses, (time.process_time() - start) / settings.epochs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("graphs", 300), ("channels", 64), ("batch", 128), ("epochs", 5), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    graphs = build_graphs(displaced(cell_40(), chosen.graphs, 0.2), GraphSpec())
    values = stream(0, "labels").random(chosen.graphs)
    scaling = fit_input_scaling(graphs, "minmax")
    settings = TrainingSettings(
        learning_rate=1e-3, batch_size=chosen.batch, epochs=chosen.epochs, target_scaling="minmax", edge_law="minmax"
    )
    routes = {
        dtype: (as_data(graphs, scaling, values, dtype), PackedGraphs(graphs, scaling, dtype))
        for dtype in (torch.float64, torch.float32)
    }
    print(f"{chosen.graphs} graphs, {chosen.channels} channels, batches of {chosen.batch}, CPU seconds per epoch")
    for number in ARCHITECTURES:
        model = architecture(number, hidden_channels=chosen.channels)
        gaps = {}
        for dtype, (data, packed) in routes.items():
            theirs, slow = reference(model, data, settings)
            mine, fast = ours(model, packed, values, settings)
            gaps[dtype] = max(abs(a - b) / abs(b) for a, b in zip(mine, theirs, strict=True))
        print(
            f"architecture {number} ({model.description}): torch_geometric {slow:.3f} s, phonograph {fast:.4f} s, "
            f"ratio {slow / fast:.1f}×; losses agree to {gaps[torch.float64]:.1e} in double precision"
            f"{'' if gaps[torch.float64] < 1e-4 else ' (TOO MUCH)'}, {gaps[torch.float32]:.1e} in single"
        )


if __name__ == "__main__":
    main()
