"""Two small sets of displaced crystals with labels that depend on their bonds, and real models trained on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest

from phonograph.graphs import build_graphs
from phonograph.models import GraphConvNet
from phonograph.testing import cubic_antiperovskite, displaced
from phonograph.training import TrainingSettings, combine_splits, fit, make_split
from phonograph.types import Fitted, GraphSet, GraphSpec, LabelColumn, Labels, Split

SETS = {"phonon": 0.10, "random": 0.18}
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class World:
    """Everything a cross-test needs."""

    graphs: Mapping[str, GraphSet]
    labels: Labels
    splits: Mapping[str, Mapping[int, Split]]
    fits: tuple[Fitted, ...]

    @property
    def collections(self) -> dict[str, tuple[GraphSet, Mapping[int, Split]]]:
        return {name: (self.graphs[name], self.splits[name]) for name in self.splits}

    def fitted(self, trained_on: str, seed: int = 0) -> Fitted:
        return next(f for f in self.fits if f.trained_on == trained_on and f.seed == seed)


def join(first: GraphSet, second: GraphSet) -> GraphSet:
    return replace(
        first,
        sample_ids=first.sample_ids + second.sample_ids,
        groups=first.groups + second.groups,
        node_offsets=np.concatenate([first.node_offsets, first.node_offsets[-1] + second.node_offsets[1:]]),
        numbers=np.concatenate([first.numbers, second.numbers]),
        edge_offsets=np.concatenate([first.edge_offsets, first.edge_offsets[-1] + second.edge_offsets[1:]]),
        source=np.concatenate([first.source, second.source]),
        target=np.concatenate([first.target, second.target]),
        image=np.concatenate([first.image, second.image]),
        distance_A=np.concatenate([first.distance_A, second.distance_A]),
    )


def bond_label(graphs: GraphSet) -> np.ndarray:
    """A gap in eV that closes as silver gets closer to its neighbours, around 1.2 eV."""
    graph = np.repeat(np.arange(len(graphs)), np.diff(graphs.edge_offsets))
    silver = graphs.numbers[graphs.node_offsets[graph] + graphs.source] == 47
    strength = np.where(silver, 0.5 * (1.0 + np.cos(np.pi * graphs.distance_A / graphs.spec.cutoff_A)), 0.0)
    total = np.bincount(graph, weights=strength, minlength=len(graphs))
    return 1.2 - 4.0 * (total - 7.09)


@pytest.fixture(scope="session")
def world() -> World:
    crystal = cubic_antiperovskite()
    graphs = {
        name: build_graphs(displaced(crystal, 60, rms, seed=7, name=name), GraphSpec(cutoff_A=4.5))
        for name, rms in SETS.items()
    }
    graphs["combined"] = join(graphs["phonon"], graphs["random"])
    ids = graphs["combined"].sample_ids
    values = bond_label(graphs["combined"])
    labels = Labels(
        sample_ids=ids,
        set_names=tuple(sample.split("-")[0] for sample in ids),
        columns=(LabelColumn(name="band_gap_eV", unit="eV", values=values, engine="planted"),),
        status=("ok",) * len(ids),
    )
    splits: dict[str, dict[int, Split]] = {
        name: {s: make_split(graphs[name].sample_ids, graphs[name].groups, seed=s) for s in SEEDS} for name in SETS
    }
    splits["combined"] = {s: combine_splits([splits[name][s] for name in SETS]) for s in SEEDS}
    fits = tuple(
        fit(
            graphs[name],
            labels,
            splits[name][seed],
            GraphConvNet(hidden_channels=16, pooling="mean"),
            TrainingSettings(epochs=60, learning_rate=1e-2),
            target="band_gap_eV",
            trained_on=name,
            seed=seed,
        )
        for name in splits
        for seed in SEEDS
    )
    return World(graphs=graphs, labels=labels, splits=splits, fits=fits)
