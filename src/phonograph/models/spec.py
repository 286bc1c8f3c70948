"""The paper's family of graph networks as plain settings; torch is imported only when a network is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from threading import Lock
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from phonograph.errors import ConfigurationError
from phonograph.options import check_options, option
from phonograph.streams import derive_seed

if TYPE_CHECKING:
    from torch import nn

_SEEDING = Lock()


@dataclass(frozen=True, kw_only=True)
class GraphConvNet:
    """(GraphConv → BatchNorm → ReLU) × k, global pooling, dropout, Linear(h, 16), ReLU, Linear(16, 1), output.

    GraphConv: x_i' = W₁ x_i + W₂ Σ_j e_ji x_j + b, the sum over all directed edges into atom i, parallel edges and
    self-images included.  Source: Morris et al., AAAI 33, 4602 (2019), doi:10.1609/aaai.v33i01.33014602.

    Symbols: k ``convolutions``, h ``hidden_channels``, e edge weight, b bias.  With K functions e of the distance
    (edge law ``"radial"``) each has its own W₂; with m targets at once the last layer is Linear(16, m).
    """

    convolutions: int = option(2, "Number of graph convolutions.", minimum=1, maximum=8)
    pooling: str = option("max", "How atoms become one crystal: largest or mean value.", choices=("max", "mean"))
    output: str = option(
        "linear",
        "Last activation; sigmoid and relu (the paper's) squash the output, linear does not.",
        choices=("linear", "sigmoid", "relu"),
    )
    hidden_channels: int = option(64, "Width of the convolutions.", minimum=1, maximum=4096)
    dropout: float = option(0.0, "Share of pooled features dropped while training.", minimum=0.0, maximum=0.95)

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def description(self) -> str:
        """Short name of the architecture, for example ``"2conv-max-sigmoid-h64"``."""
        dropout = f"-d{self.dropout:g}" if self.dropout else ""
        return f"{self.convolutions}conv-{self.pooling}-{self.output}-h{self.hidden_channels}{dropout}"

    def build(self, features: int, seed: int, *, outputs: int = 1, edge_features: int = 1) -> nn.Module:
        """Return a fresh module; its weights depend on ``seed`` alone and the global generator is left as it was.

        Parameters
        ----------
        features
            Number of node features.
        seed
            Seed of the initial weights.
        outputs
            Targets learnt at once.
        edge_features
            K, functions of the distance in the edge law.
        """
        import torch

        from phonograph.models.graphconv import GraphConvNetwork

        # The generator is one for all threads, and so are its state before and after.
        with _SEEDING, torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(derive_seed(seed, "models", "weights") % 2**63)
            return GraphConvNetwork(
                features=features,
                hidden_channels=self.hidden_channels,
                convolutions=self.convolutions,
                pooling=self.pooling,
                output=self.output,
                dropout=self.dropout,
                outputs=outputs,
                edge_features=edge_features,
            )


ARCHITECTURES: Mapping[int, GraphConvNet] = MappingProxyType(
    {
        1: GraphConvNet(convolutions=3, pooling="max", output="sigmoid"),
        2: GraphConvNet(convolutions=3, pooling="mean", output="sigmoid"),
        3: GraphConvNet(convolutions=3, pooling="max", output="relu"),
        4: GraphConvNet(convolutions=3, pooling="mean", output="relu"),
        5: GraphConvNet(convolutions=2, pooling="max", output="sigmoid"),
        6: GraphConvNet(convolutions=4, pooling="max", output="sigmoid"),
    }
)
"""The paper's six architectures, numbered as in the authors' public scripts."""


def architecture(number: int, **changes: Any) -> GraphConvNet:
    """Return the paper's architecture ``number`` (1–6) with some fields changed.

    Parameters
    ----------
    number
        Key of :data:`ARCHITECTURES`.
    changes
        Fields of :class:`GraphConvNet`; ``output="linear"`` gives the same network without the squashing.

    Raises
    ------
    ConfigurationError
        For another number.
    """
    if number not in ARCHITECTURES:
        raise ConfigurationError(f"architecture must be one of {', '.join(map(str, ARCHITECTURES))}; got {number!r}")
    return replace(ARCHITECTURES[number], **changes)


def describe(model: Any) -> str:
    """Return ``model.description`` where there is one, else the name of its class."""
    return str(getattr(model, "description", type(model).__name__))
