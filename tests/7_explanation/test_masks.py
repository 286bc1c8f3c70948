"""The optimisation: the documented loss, runs that do not see each other, and a model left as it was found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from phonograph.errors import ConfigurationError, DataError
from phonograph.explanation import GNNExplainerSettings
from phonograph.explanation.edges import bond_lengths, undirected_edges
from phonograph.explanation.masks import predict_masked, removed_weights, with_random_weights
from phonograph.models import network, predict
from phonograph.models.features import edge_weights
from phonograph.testing import check_explainer


@pytest.fixture(scope="module")
def rest(planted) -> np.ndarray:
    """Reference length of each directed edge of one graph, Å."""
    edges = undirected_edges(planted.graphs, 0)
    return bond_lengths(planted.reference, edges.key)[edges.of_directed]


def documented_loss(planted, graph, rest, logits, settings) -> float:
    """The loss as the documentation writes it, from predictions in the target's unit."""
    fitted = planted.fits["Ag-S"]
    edges = undirected_edges(graph, 0)
    mask = 1.0 / (1.0 + np.exp(-logits))
    removed = removed_weights(fitted, graph, settings.removal, rest)
    places = np.zeros(2, dtype=np.int64)
    kept, full = predict_masked(fitted, graph, places, [mask[edges.of_directed], np.ones(len(rest))], removed)
    quarter = (fitted.train_range[1] - fitted.train_range[0]) / 4
    entropy = -mask * np.log(mask) - (1 - mask) * np.log(1 - mask)
    penalty = settings.size_weight * mask.mean() + settings.entropy_weight * entropy.mean()
    return float(((kept - full) / quarter) ** 2 + penalty)


@pytest.mark.parametrize("removal", ["restore", "delete"])
def test_first_step_descends_the_documented_loss(planted, rest, removal: str) -> None:
    graph = planted.test.select([0])
    settings = GNNExplainerSettings(removal=removal, epochs=1, entropy_weight=0.3, initial_spread=0.5)
    start = replace(settings, epochs=1, learning_rate=1e-12)
    key = {"fitted": planted.fits["Ag-S"], "graphs": graph, "seeds": (3,), "rest_distance_A": rest}
    before = start.importances(**key)[0][0]
    logits = np.log(before / (1 - before))
    after = replace(settings, learning_rate=1e-3).importances(**key)[0][0]
    step = np.sign(np.log(after / (1 - after)) - logits)
    for bond in (0, 17, 100, 250, 400):
        shifted = [
            documented_loss(planted, graph, rest, logits + h * np.eye(len(logits))[bond], settings)
            for h in (1e-4, -1e-4)
        ]
        # Adam's first step is the sign of the gradient.
        assert step[bond] == -np.sign(shifted[0] - shifted[1])


def test_all_bonds_kept_is_the_prediction_and_all_removed_is_the_reference(planted, rest) -> None:
    fitted, graph = planted.fits["Ag-S"], planted.test.select([0])
    removed = removed_weights(fitted, graph, "restore", rest)
    masks = [np.ones(len(rest)), np.zeros(len(rest))]
    everything, nothing = predict_masked(fitted, graph, np.zeros(2, dtype=np.int64), masks, removed)
    assert everything == pytest.approx(predict(fitted, graph)[0], rel=1e-12)
    assert nothing == pytest.approx(predict(fitted, replace(graph, distance_A=rest))[0], rel=1e-9)


def test_a_bond_that_the_reference_lacks_is_removed_altogether(planted, rest) -> None:
    fitted, graph = planted.fits["Ag-S"], planted.test.select([0])
    longer = np.where(np.arange(len(rest)) < 4, 5.2, rest)
    removed = removed_weights(fitted, graph, "restore", longer)
    assert (removed[:4] == 0).all()
    assert np.allclose(removed[4:], edge_weights(rest[4:], fitted.inputs))
    assert (removed_weights(fitted, graph, "delete", rest) == 0).all()


@pytest.mark.parametrize("removal", ["restore", "delete"])
def test_a_run_gives_the_same_alone_and_among_others(planted, rest, removal: str) -> None:
    fitted, graphs = planted.fits["Ag-Br"], planted.test.select([0, 1])
    settings = GNNExplainerSettings(removal=removal, epochs=30)
    together = settings.importances(fitted, graphs, (1, 2, 3), np.tile(rest, 2))
    alone = settings.importances(fitted, graphs.select([1]), (2,), rest)
    assert np.allclose(together[1][1], alone[0][0], atol=2e-5)
    assert not np.allclose(together[0][1], together[1][1], atol=1e-3)


def test_same_seed_same_bits_and_both_directions_alike(planted, rest) -> None:
    settings = GNNExplainerSettings(epochs=10)
    fitted, graph = planted.fits["Ag-S"], planted.test.select([2])
    first = settings.importance(fitted, graph, 4, rest)
    assert np.array_equal(first, settings.importance(fitted, graph, 4, rest))
    value = {
        (int(s), int(t), *image): first[e]
        for e, (s, t, image) in enumerate(zip(graph.source, graph.target, graph.image.tolist(), strict=True))
    }
    assert all(value[t, s, -a, -b, -c] == found for (s, t, a, b, c), found in value.items())


def test_the_model_and_the_random_state_are_left_as_found(planted, rest) -> None:
    fitted, graph = planted.fits["Ag-S"], planted.test.select([0])
    weights = {name: value.tobytes() for name, value in fitted.weights.items()}
    module = network(fitted)
    state = {name: value.clone() for name, value in module.state_dict().items()}
    before = predict(fitted, graph)
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    GNNExplainerSettings(epochs=5).importance(fitted, graph, 0, rest)
    assert {name: value.tobytes() for name, value in fitted.weights.items()} == weights
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())
    assert not module.training
    assert all(p.grad is None and p.requires_grad for p in module.parameters())
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002
    assert torch.is_grad_enabled()
    assert np.array_equal(predict(fitted, graph), before)


def test_the_contract_of_explainers_holds(planted) -> None:
    check_explainer(GNNExplainerSettings(removal="delete", epochs=3), planted.fits["Ag-S"], planted.test.select([0]))


def test_random_weights_change_the_network_and_nothing_else(planted) -> None:
    fitted = planted.fits["Ag-S"]
    first, second = with_random_weights(fitted, 5), with_random_weights(fitted, 5)
    assert all(np.array_equal(first.weights[name], second.weights[name]) for name in first.weights)
    assert set(first.weights) == set(fitted.weights)
    assert any(not np.array_equal(first.weights[name], fitted.weights[name]) for name in fitted.weights)
    assert (first.inputs, first.scaling, first.graph) == (fitted.inputs, fitted.scaling, fitted.graph)


def test_wrong_use_is_one_sentence(planted) -> None:
    fitted = planted.fits["Ag-S"]
    with pytest.raises(DataError, match="one graph at a time; got 2"):
        GNNExplainerSettings().importance(fitted, planted.test.select([0, 1]), 0)
    with pytest.raises(DataError, match="needs the rest length of every bond"):
        GNNExplainerSettings().importance(fitted, planted.test.select([0]), 0)
    with pytest.raises(ConfigurationError, match="removal must be one of 'restore', 'delete'"):
        GNNExplainerSettings(removal="cut")
    with pytest.raises(ConfigurationError, match="learning_rate must be greater than 0"):
        GNNExplainerSettings(learning_rate=0.0)
