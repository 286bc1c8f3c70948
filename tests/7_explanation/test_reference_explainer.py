"""A second, independent route: torch-geometric's GNNExplainer on the same network and the same question (deletion)."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch.nn import functional

from phonograph.explanation import GNNExplainerSettings
from phonograph.explanation.edges import species_pairs, undirected_edges
from phonograph.models import make_batch, network, predict
from phonograph.types import Fitted

with warnings.catch_warnings():
    # torch-geometric and its dependencies use calls that newer libraries deprecate.
    warnings.simplefilter("ignore")
    from torch_geometric.explain import Explainer, GNNExplainer
    from torch_geometric.nn import GraphConv, global_mean_pool


class Twin(torch.nn.Module):
    """The same network from torch-geometric's layers, with the same weights."""

    def __init__(self, fitted: Fitted) -> None:
        super().__init__()
        ours = network(fitted, torch.float32)
        self.norms, self.hidden, self.final = ours.norms, ours.hidden, ours.final
        self.layers = torch.nn.ModuleList()
        for layer in ours.convolutions:
            twin = GraphConv(layer.neighbours.in_features, layer.neighbours.out_features)
            twin.lin_rel.load_state_dict(layer.neighbours.state_dict())
            twin.lin_root.load_state_dict(layer.itself.state_dict())
            self.layers.append(twin)
        self.eval()

    def forward(self, x: torch.Tensor, edge_index: torch.Tensor, edge_weight: torch.Tensor) -> torch.Tensor:
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = functional.relu(norm(layer(x, edge_index, edge_weight)))
        pooled = global_mean_pool(x, torch.zeros(len(x), dtype=torch.long))
        return self.final(functional.relu(self.hidden(pooled)))


@pytest.mark.parametrize("name", ["Ag-Br", "Ag-Ag"])
def test_deletion_masks_agree_with_torch_geometric(planted, name: str) -> None:
    fitted, graph = planted.fits[name], planted.test.select([5])
    twin, batch = Twin(fitted), make_batch(graph, fitted.inputs)
    with torch.no_grad():
        value = float(twin(batch.x, batch.edge_index, batch.edge_weight))
    assert fitted.scaling.shift + fitted.scaling.scale * value == pytest.approx(predict(fitted, graph)[0], rel=1e-4)

    edges = undirected_edges(graph, 0)
    size, entropy, epochs, rate = 0.005, 0.1, 200, 0.05
    explainer = Explainer(
        twin,
        GNNExplainer(epochs=epochs, lr=rate, edge_size=size, edge_ent=entropy),
        explanation_type="model",
        edge_mask_type="object",
        model_config={"mode": "regression", "task_level": "graph", "return_type": "raw"},
    )
    masks = []
    for seed in range(2):
        torch.manual_seed(seed)
        mask = explainer(batch.x, batch.edge_index, edge_weight=batch.edge_weight).edge_mask.numpy()
        masks.append(np.bincount(edges.of_directed, weights=mask) / 2)
    theirs = np.mean(masks, axis=0)

    # Their loss is in scaled units and sums the size over directed edges; ours is per bond and per quarter range.
    quarter = (fitted.train_range[1] - fitted.train_range[0]) / (4 * fitted.scaling.scale)
    settings = GNNExplainerSettings(
        removal="delete",
        epochs=epochs,
        learning_rate=rate,
        size_weight=size * len(graph.source) / quarter**2,
        entropy_weight=entropy / quarter**2,
    )
    ours = np.mean([settings.importances(fitted, graph, (seed,))[0][0] for seed in range(2)], axis=0)
    kinds = np.array(species_pairs(planted.reference, edges.key))
    means = np.array([[values[kinds == kind].mean() for kind in np.unique(kinds)] for values in (ours, theirs)])
    # Theirs has one mask per direction: where the two directions of a bond disagree, their mean is about a half.
    decided = np.abs(means[1] - 0.5) > 0.2
    assert decided.sum() >= 3
    assert np.allclose(means[0, decided], means[1, decided], atol=0.15)
    assert np.corrcoef(ours, theirs)[0, 1] > 0.8
