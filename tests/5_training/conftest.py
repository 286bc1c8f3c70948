"""Displaced crystals with a label planted in their bonds."""

from __future__ import annotations

import numpy as np
import pytest

from phonograph.graphs import GraphSpec, build_graphs
from phonograph.streams import stream
from phonograph.testing import cubic_antiperovskite, displaced
from phonograph.training import make_split
from phonograph.types import Crystal, LabelColumn, Labels


def planted(graphs):
    """Σ ½(1 + cos πd/r_c) over the Ag–S edges of each crystal: what a network can learn."""
    owner = np.repeat(np.arange(len(graphs)), np.diff(graphs.edge_offsets))
    source = graphs.numbers[graphs.node_offsets[owner] + graphs.source]
    target = graphs.numbers[graphs.node_offsets[owner] + graphs.target]
    weights = ((source == 47) & (target == 16)) * (1 + np.cos(np.pi * graphs.distance_A / graphs.spec.cutoff_A)) / 2
    return np.bincount(owner, weights, len(graphs))


def as_labels(graphs, values, name="toy_eV", unit="eV"):
    return Labels(
        sample_ids=graphs.sample_ids,
        set_names=("toy",) * len(graphs),
        columns=(LabelColumn(name=name, unit=unit, values=values, engine="planted"),),
        status=("ok",) * len(graphs),
    )


@pytest.fixture(scope="session")
def crystal() -> Crystal:
    return cubic_antiperovskite(4.9)


@pytest.fixture(scope="session")
def graphs(crystal):
    """Sixty 5-atom crystals with amplitudes from 0.05 to 0.3 Å."""
    configurations = displaced(crystal, 60, 1.0, seed=1)
    scale = np.repeat(stream(1, "amplitudes").uniform(0.05, 0.3, 60), 5)[:, None]
    moved = crystal.positions_A[None] + (configurations.displacements_A * scale).reshape(60, 5, 3)
    from dataclasses import replace

    return build_graphs(replace(configurations, positions_A=moved.reshape(-1, 3)), GraphSpec())


@pytest.fixture(scope="session")
def values(graphs):
    return planted(graphs)


@pytest.fixture(scope="session")
def labels(graphs, values):
    return as_labels(graphs, values)


@pytest.fixture(scope="session")
def split(graphs):
    return make_split(graphs.sample_ids, graphs.groups, seed=3)
