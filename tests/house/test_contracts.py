"""The contract checks pass for what we ship and fail, with a sentence, for what breaks a promise."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

import phonograph as pg
from phonograph.errors import DataError
from phonograph.graphs import build_graphs
from phonograph.testing import (
    check_explainer,
    check_graph_model,
    check_labeller,
    check_sampler,
    cubic_antiperovskite,
    displaced,
    fcc,
)
from phonograph.types import Configurations, Crystal, Fitted, FloatArray, GraphSet, LabelResult
from phonograph.types.arrays import read_only


@pytest.mark.parametrize(("values", "bad"), [([np.inf, -np.inf, 1], 2), ([0, np.nan], 1), ([1e308, 1e308, -np.inf], 1)])
def test_what_is_not_finite_is_counted(values: list[float], bad: int) -> None:
    with pytest.raises(DataError, match=f"x must be finite; got {bad} NaN"):
        read_only("x", values, (None,))


def test_finite_numbers_whose_sum_is_not_are_kept() -> None:
    assert len(read_only("x", [1e308, 1e308], (None,))) == 2
    assert len(read_only("x", [], (None,))) == 0


def test_shipped_laws_keep_the_contract() -> None:
    for sampler in (
        pg.PaperEq2Sampler(),
        pg.PaperCodeSampler(),
        pg.RattleSampler(minimum_distance_A=2.0),
        pg.DebyeSampler(debye_temperature_K=200.0),
        pg.MatchedRandomSampler(match="x", rms_A=(("Ag", 0.2), ("S", 0.1), ("Br", 0.1))),
    ):
        check_sampler(sampler, cubic_antiperovskite())


def test_samplers_call_themselves_what_the_toml_calls_them() -> None:
    from phonograph.config import SAMPLERS

    assert {name: law.kind for name, law in SAMPLERS.items()} == {name: name for name in SAMPLERS}


@dataclass(frozen=True, kw_only=True)
class DependsOnN:
    """Draws all samples from one stream, so that sample i depends on n."""

    def sample(self, reference: pg.Phonons | Crystal, n: int, seed: int) -> Configurations:
        assert isinstance(reference, Crystal)
        plain = displaced(reference, n, seed=seed)
        order = np.random.default_rng(seed + n).normal(size=plain.positions_A.shape)
        return replace(plain, positions_A=plain.positions_A + 0.01 * order)


def test_a_sampler_that_depends_on_n_is_found() -> None:
    with pytest.raises(AssertionError, match="depend on"):
        check_sampler(DependsOnN(), cubic_antiperovskite())


def test_shipped_labellers_keep_the_contract() -> None:
    copper = fcc("Cu", 3.61)
    check_labeller(pg.EmtLabeller(), displaced(copper, 1, rms_A=0.05).crystal(0))


@dataclass(frozen=True, kw_only=True)
class DependsOnOrigin:
    provides: tuple[str, ...] = ("height_A",)
    engine: str = "origin 1.0"

    def label(self, crystal: Crystal) -> LabelResult:
        return LabelResult(values={"height_A": float(crystal.positions_A[:, 2].mean())})


def test_a_labeller_that_depends_on_the_origin_is_found() -> None:
    with pytest.raises(AssertionError, match="changes by"):
        check_labeller(DependsOnOrigin(), cubic_antiperovskite())
    with pytest.raises(AssertionError, match="promised but not given"):
        check_labeller(replace(DependsOnOrigin(), provides=("height_A", "width_A")), cubic_antiperovskite())


@pytest.mark.parametrize("number", range(1, 7))
def test_the_papers_networks_keep_the_contract(number: int) -> None:
    from phonograph.models import architecture

    check_graph_model(architecture(number, hidden_channels=8))


def test_a_network_that_depends_on_atom_order_is_found() -> None:
    import torch

    class FirstAtom(torch.nn.Module):
        def forward(self, batch):  # type: ignore[no-untyped-def]
            first = torch.searchsorted(batch.batch, torch.arange(batch.n_graphs))
            return batch.aggregate(batch.x)[first, 0]

    class FirstAtomNet:
        def build(self, features: int, seed: int) -> torch.nn.Module:
            return FirstAtom()

    with pytest.raises(AssertionError, match="atom order must not matter"):
        check_graph_model(FirstAtomNet())


class Summed:
    """A network that breaks one promise, chosen by name."""

    def __init__(self, broken: str) -> None:
        self.broken = broken

    def build(self, features: int, seed: int, outputs: int = 1):  # type: ignore[no-untyped-def]
        import torch

        broken = self.broken

        class Module(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(seed)
                    self.layer = torch.nn.Linear(features, outputs)
                    self.unused = torch.nn.Linear(2, 2) if broken == "unused" else None

            def forward(self, batch):  # type: ignore[no-untyped-def]
                h = self.layer(batch.pool(batch.aggregate(batch.x), "mean"))
                if broken == "batch":
                    h = h - h.mean(dim=0) * (batch.n_graphs - 1)
                if broken == "nan":
                    h = torch.log(h * 0 - 1)
                return h.squeeze(-1) if outputs == 1 else h[:, : 1 if broken == "outputs" else outputs]

        return Module()


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ("unused", "the output does not depend on unused"),
        ("batch", "a batch must give what single graphs give"),
        ("nan", "finite|relative difference nan"),
        ("outputs", r"expected \(3, 3\), got \(3, 1\)"),
    ],
)
def test_each_broken_promise_of_a_network_is_found(broken: str, words: str) -> None:
    check_graph_model(Summed(""))
    with pytest.raises(AssertionError, match=words):
        check_graph_model(Summed(broken))


@pytest.fixture(scope="module")
def trained() -> tuple[Fitted, GraphSet]:
    """A small network and a graph to explain."""
    graphs = build_graphs(displaced(cubic_antiperovskite(), 12), pg.GraphSpec(cutoff_A=5.0))
    split = pg.make_split(graphs.sample_ids, graphs.groups)
    values = np.array([graphs.select([i]).distance_A.min() for i in range(len(graphs))])
    settings = pg.TrainingSettings(epochs=3)
    model = pg.GraphConvNet(hidden_channels=8)
    return pg.fit(graphs, values, split, model, settings, target="shortest_A", unit="Å"), graphs.select([0])


def test_the_explainer_keeps_the_contract(trained: tuple[Fitted, GraphSet]) -> None:
    check_explainer(pg.GNNExplainerSettings(removal="delete", epochs=5), *trained)


def test_an_explainer_that_favours_a_direction_is_found(trained: tuple[Fitted, GraphSet]) -> None:
    class OneWay:
        def importance(self, fitted: Fitted, graph: GraphSet, seed: int) -> FloatArray:
            return (graph.source > graph.target).astype(np.float64)

    with pytest.raises(AssertionError, match="two directions"):
        check_explainer(OneWay(), *trained)
