"""Networks and prediction, shared by the rooms training, evaluation, explanation and thermal.

Importing this package does not import torch.
"""

from phonograph.models.features import edges_outside, fit_input_scaling
from phonograph.models.predict import make_batch, network, predict
from phonograph.models.spec import ARCHITECTURES, GraphConvNet, architecture

__all__ = [
    "ARCHITECTURES",
    "GraphConvNet",
    "architecture",
    "edges_outside",
    "fit_input_scaling",
    "make_batch",
    "network",
    "predict",
]
