"""Training speed: torch_geometric's GraphConv with its DataLoader against ours, on the same batches.

    python benchmarks/training.py [--channels 32 64 128 256] [--graphs 256] [--batch 128] [--epochs 5]
        [--threads 1] [--clock cpu] [-o FILE]

Same data, same initial weights, same batches, Adam with the same settings (the published learning rate), the six
architectures of the paper; and a stack of eight networks with different learning rates, in these batches and in
batches of 32, against eight times the reference. CPU seconds per epoch, user and system, so that other work on the
machine counts little, or (--clock wall, on an idle machine) seconds of waiting; both are timed in turns and the
fastest epoch of each counts. Timed in single precision, where rounding grows with every step; in double precision (at
the first width) all losses agree to rounding: it is the same training. Results are kept in FILE,
benchmarks/results/training.json where not given.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch_geometric.nn as pyg
from graphs import cell_40
from kept import RESULTS, keep
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
from phonograph.training.engines import StackEngine
from phonograph.training.loop import Member, Trainer
from phonograph.types import GraphSet, InputScaling

Routes = dict[torch.dtype, tuple[list[Data], PackedGraphs]]


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


class ReferenceRun:
    """The reference loop, one epoch at a time."""

    def __init__(self, model: GraphConvNet, data: list[Data], settings: TrainingSettings) -> None:
        self.module = Reference(model, model.build(4, 0).state_dict()).to(data[0].x.dtype)
        self.optimiser = torch.optim.Adam(self.module.parameters(), lr=settings.learning_rate)
        self.loader = DataLoader(data, batch_size=settings.batch_size, sampler=Order(len(data)))

    def epoch(self) -> float:
        self.module.train()
        total = 0.0
        for batch in self.loader:
            self.optimiser.zero_grad()
            loss = functional.mse_loss(self.module(batch), batch.y)
            loss.backward()
            self.optimiser.step()
            total += loss.item() * batch.num_graphs
        return total / len(self.loader.dataset)


class OurRun:
    """Our loop, one epoch at a time, for one network or a stack; the validation part is as small as it can be."""

    def __init__(
        self, model: GraphConvNet, packed: PackedGraphs, values: np.ndarray, settings: list[TrainingSettings]
    ) -> None:
        precision = "double" if packed.dtype == torch.float64 else "single"
        members = [
            Member(
                name="benchmark",
                seed=0,
                settings=replace(own, precision=precision),
                source=packed,
                values=torch.tensor(values, dtype=packed.dtype)[:, None],
                train=np.arange(len(values)),
                validation=np.arange(2),
            )
            for own in settings
        ]
        modules = [model.build(4, 0) for _ in settings]
        self.trainer = Trainer(StackEngine(modules, precision, torch.device("cpu")), members)

    def epoch(self) -> list[float]:
        while not self.trainer.advance():
            pass
        return [member.history[-1].train_loss for member in self.trainer.members]


CLOCKS = {"cpu": time.process_time, "wall": time.perf_counter}
clock = CLOCKS["cpu"]


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    start = clock()
    result = work()
    return result, clock() - start


def compare(model: GraphConvNet, routes: Routes, values: np.ndarray, settings: TrainingSettings) -> dict[str, float]:
    """Return seconds per epoch of both, and the largest relative difference of the losses."""
    row: dict[str, float] = {}
    for dtype, (data, packed) in routes.items():
        theirs, ours = ReferenceRun(model, data, settings), OurRun(model, packed, values, [settings])
        seconds: list[list[float]] = [[], []]
        gap = 0.0
        for _ in range(settings.epochs):
            expected, slow = timed(theirs.epoch)
            [found], fast = timed(ours.epoch)
            gap = max(gap, abs(found - expected) / abs(expected))
            seconds[0].append(slow)
            seconds[1].append(fast)
            # Our epochs are so short that one may fall between two other processes as a whole: look at as long a time.
            again = OurRun(model, packed, values, [settings])
            seconds[1] += [timed(again.epoch)[1] for _ in range(min(10, int(slow / fast)))]
        row[f"loss_gap_{str(dtype).removeprefix('torch.')}"] = gap
        if dtype == torch.float32:
            row |= {"reference_s": min(seconds[0]), "phonograph_s": min(seconds[1])}
    return {**row, "ratio": row["reference_s"] / row["phonograph_s"]}


def compare_stack(
    model: GraphConvNet, route: tuple[list[Data], PackedGraphs], values: np.ndarray, settings: TrainingSettings
) -> dict[str, float]:
    """Return seconds per epoch of eight networks together, one by one and by the reference, and the gap of losses."""
    data, packed = route
    rates = [replace(settings, learning_rate=settings.learning_rate * (1 + place)) for place in range(8)]
    together, alone = OurRun(model, packed, values, rates), [OurRun(model, packed, values, [own]) for own in rates]
    theirs = ReferenceRun(model, data, settings)
    seconds: list[list[float]] = [[], [], []]
    gap = 0.0
    for _ in range(settings.epochs):
        seconds[0].append(timed(theirs.epoch)[1])
        found, stacked = timed(together.epoch)
        expected, single = timed(lambda: [run.epoch()[0] for run in alone])
        gap = max(gap, *(abs(a - b) / abs(b) for a, b in zip(found, expected, strict=True)))
        seconds[1].append(stacked)
        seconds[2].append(single)
    reference_s, stacked_s, alone_s = map(min, seconds)
    return {
        "eight_references_s": 8 * reference_s,
        "stack_of_8_s": stacked_s,
        "one_by_one_s": alone_s,
        "ratio": 8 * reference_s / stacked_s,
        "loss_gap_float32": gap,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("graphs", 256), ("batch", 128), ("epochs", 5), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--channels", type=int, nargs="+", default=[32, 64, 128, 256])
    parser.add_argument("--architectures", type=int, nargs="+", default=list(ARCHITECTURES))
    parser.add_argument("--clock", choices=CLOCKS, default="cpu")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS / "training.json")
    chosen = parser.parse_args()
    global clock
    clock = CLOCKS[chosen.clock]
    unit = {"cpu": "CPU seconds per epoch", "wall": "seconds per epoch"}[chosen.clock]
    torch.set_num_threads(chosen.threads)
    graphs = build_graphs(displaced(cell_40(), chosen.graphs, 0.2), GraphSpec())
    values = stream(0, "labels").random(chosen.graphs)
    scaling = fit_input_scaling(graphs, "minmax")
    settings = TrainingSettings(
        learning_rate=1e-4, batch_size=chosen.batch, epochs=chosen.epochs, target_scaling="minmax", edge_law="minmax"
    )
    routes: Routes = {
        dtype: (as_data(graphs, scaling, values, dtype), PackedGraphs(graphs, scaling, dtype))
        for dtype in (torch.float64, torch.float32)
    }
    single = {torch.float32: routes[torch.float32]}
    rows, stacks = [], []
    print(f"{chosen.graphs} crystals of 40 atoms, batches of {chosen.batch}, {unit}, {chosen.threads} threads")
    print("architecture channels  reference  phonograph  ratio  loss gap in single and double precision")
    for channels in chosen.channels:
        for number in chosen.architectures:
            model = architecture(number, hidden_channels=channels)
            row = compare(model, routes if channels == chosen.channels[0] else single, values, settings)
            rows.append({"architecture": number, "channels": channels, **row})
            print(
                f"{number:12d} {channels:8d} {row['reference_s']:10.3f} {row['phonograph_s']:11.4f} "
                f"{row['ratio']:6.1f}  {row['loss_gap_float32']:.1e} {row.get('loss_gap_float64', float('nan')):.1e}",
                flush=True,
            )
        model = architecture(5, hidden_channels=channels)
        for batch in dict.fromkeys((chosen.batch, 32)):
            stack = compare_stack(model, single[torch.float32], values, replace(settings, batch_size=batch))
            stacks.append({"architecture": 5, "channels": channels, "batch": batch, **stack})
            print(
                f"  8 of batch {batch:3d}{channels:6d} {stack['eight_references_s']:10.3f} "
                f"{stack['stack_of_8_s']:11.4f} {stack['ratio']:6.1f}  {stack['loss_gap_float32']:.1e}; "
                f"one by one {stack['one_by_one_s']:.4f}",
                flush=True,
            )
        # Kept after every width: a run that is stopped has shown what it measured.
        found = {"threads": chosen.threads, "graphs": chosen.graphs, "unit": unit}
        keep(chosen.output, {**found, "rows": rows, "stacks": stacks}, "torch", "torch-geometric")


if __name__ == "__main__":
    main()
