"""How a network is trained, as plain options; importing this does not import torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from phonograph.options import check_options, option

GAP_TARGET = "band_gap_eV"
"""The target that ``smallest_gap_eV`` is about."""

SQUASHED = ("sigmoid", "relu")
"""Outputs that cannot be negative; they need a target scaled to [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Adam on the mean squared error of the scaled target, minibatches, early stopping on the validation part.

    The defaults are what is right for a few hundred crystals; :func:`paper_settings` gives the published choices.
    """

    learning_rate: float = option(3e-3, "Step size of Adam.", above=0.0, maximum=1.0)
    batch_size: int = option(32, "Crystals per step; a last batch of one crystal joins the one before it.", minimum=2)
    epochs: int = option(300, "Most passes over the training part.", minimum=1)
    patience: int = option(60, "Epochs without a lower validation loss after which training stops.", minimum=1)
    weight_decay: float = option(0.0, "L2 penalty added to the gradient, times the weight.", minimum=0.0)
    shuffle: bool = option(True, "New order of the training part in every epoch, a function of (seed, epoch).")
    target_scaling: str = option(
        "by-output",
        "'standard': zero mean, unit variance; 'minmax': [0, 1]; 'by-output': minmax where the network squashes its "
        "output (sigmoid, relu), else standard; fitted on the training part.",
        choices=("by-output", "standard", "minmax"),
    )
    scaling_part: str = option(
        "training",
        "Labels that the target scaling is fitted on: the 'training' part alone, or 'training+validation' as in the "
        "authors' scripts, which lets the validation part know its own range.",
        choices=("training", "training+validation"),
    )
    smallest_gap_eV: float = option(
        0.0,
        "Samples with at most this band gap neither train nor validate where the band gap is the target; they are "
        "counted. 0: none is left out.",
        minimum=0.0,
    )
    edge_law: str = option(
        "cosine",
        "Edge weight: 'cosine' decays smoothly to zero at the cutoff; 'radial' are radial_functions weights, each "
        "peaked at another distance; 'minmax' is the paper's distance, scaled to [0, 1] on the training part (far "
        "atoms weigh most); 'fixed' is the same with the bounds typed into the authors' scripts.",
        choices=("cosine", "radial", "minmax", "fixed"),
    )
    node_features: str = option(
        "elements",
        "Properties of the elements: Z, mass, covalent radius and electronegativity ('elements'), scaled to [0, 1] on "
        "the training part; or the authors' table ('paper-code': Z − 1, radii of free atoms), scaled with their "
        "whole-table bounds.",
        choices=("elements", "paper-code"),
    )
    radial_functions: int = option(8, "Functions of the distance where edge_law is 'radial'.", minimum=2, maximum=64)
    keep: str = option(
        "best",
        "Weights that are kept: 'best', of the lowest validation loss; 'last', of the last epoch, and then training "
        "stops at the last epoch only.",
        choices=("best", "last"),
    )
    precision: str = option(
        "single",
        "Arithmetic of training: 'single', 'double', or 'bfloat16' products in otherwise single precision.",
        choices=("single", "double", "bfloat16"),
    )
    device: str = option(
        "cpu",
        "Where networks are trained: 'cpu', 'cuda' (a GPU), or 'auto' (a GPU where there is one).",
        choices=("cpu", "cuda", "auto"),
    )
    checkpoint_s: float = option(10.0, "Seconds between checkpoints; 0: after every step.", minimum=0.0)

    def __post_init__(self) -> None:
        check_options(self)


def paper_settings(**changes: Any) -> TrainingSettings:
    """Return the published choices: min–max target and edge weights, batches of 128, learning rate 10⁻⁴, 600 epochs.

    Use them with :data:`phonograph.models.ARCHITECTURES`, whose outputs are squashed.  Early stopping and shuffling
    stay as in :class:`TrainingSettings`.  ``changes`` are fields of it.
    """
    published = TrainingSettings(
        learning_rate=1e-4, batch_size=128, epochs=600, target_scaling="minmax", edge_law="minmax"
    )
    return replace(published, **changes)


def paper_code_settings(**changes: Any) -> TrainingSettings:
    """Return :func:`paper_settings` with what the authors' public scripts do besides.

    Distances scaled with typed bounds, their table of elements with whole-table bounds, target scaled on the training
    and validation part, the same batches in every epoch, the weights of the last epoch, band gaps of 0.4 eV and less
    left out.  Use them with ``GraphSpec(convention="paper-code")``.  ``changes`` are fields of
    :class:`TrainingSettings`.
    """
    published = paper_settings(
        shuffle=False,
        keep="last",
        edge_law="fixed",
        node_features="paper-code",
        scaling_part="training+validation",
        smallest_gap_eV=0.4,
    )
    return replace(published, **changes)
