"""The graph network itself."""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from phonograph.models.batch import GraphBatch


class GraphConv(nn.Module):
    """x_i' = W₁ x_i + W₂ Σ_j e_ji x_j + b, the same numbers as ``torch_geometric.nn.GraphConv``.

    ``itself`` holds W₁; ``neighbours`` holds W₂ and b.  With K functions e_k of the distance there is one matrix for
    each, x_i' = W₁ x_i + Σ_k W₂ₖ Σ_j e_kji x_j + b, and ``neighbours`` holds [W₂₁, …, W₂ₖ].
    """

    def __init__(self, features: int, channels: int, edge_features: int = 1) -> None:
        super().__init__()
        self.neighbours = nn.Linear(edge_features * features, channels)
        self.itself = nn.Linear(features, channels, bias=False)

    def forward(self, batch: GraphBatch, h: Tensor) -> Tensor:
        """Map node values (nodes, features) to (nodes, channels)."""
        return torch.addmm(self.neighbours(batch.aggregate(h)), h, self.itself.weight.t())


class GraphConvNetwork(nn.Module):
    """The network described by :class:`phonograph.models.spec.GraphConvNet`; use that to make one."""

    def __init__(
        self,
        *,
        features: int,
        hidden_channels: int,
        convolutions: int,
        pooling: str,
        output: str,
        dropout: float,
        outputs: int = 1,
        edge_features: int = 1,
    ) -> None:
        super().__init__()
        widths = [features] + [hidden_channels] * convolutions
        self.convolutions = nn.ModuleList(GraphConv(a, b, edge_features) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(nn.BatchNorm1d(hidden_channels) for _ in range(convolutions))
        self.hidden = nn.Linear(hidden_channels, 16)
        self.final = nn.Linear(16, outputs)
        self.pooling, self.output, self.dropout = pooling, output, dropout

    def forward(self, batch: GraphBatch) -> Tensor:
        """Return one value per graph, shape (n_graphs,), or with several outputs (n_graphs, outputs)."""
        h = batch.x
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            h = functional.relu(norm(convolution(batch, h)), inplace=True)
        pooled = batch.pool(h, self.pooling)
        pooled = functional.dropout(pooled, self.dropout, training=self.training)
        value = cast(Tensor, self.final(functional.relu(self.hidden(pooled))))
        value = value.squeeze(-1) if value.shape[1] == 1 else value
        if self.output == "sigmoid":
            return torch.sigmoid(value)
        return functional.relu(value) if self.output == "relu" else value
