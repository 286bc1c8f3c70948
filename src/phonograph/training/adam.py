"""Adam on one vector per network: a few operations for any number of parameters and of networks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

BETAS, EPSILON = (0.9, 0.999), 1e-8


class Adam:
    """m ← β₁m + (1 − β₁)g, v ← β₂v + (1 − β₂)g², θ ← θ − lr·m̂/(√v̂ + ε).

    The numbers of ``torch.optim.Adam`` to rounding.

    Symbols: θ parameters, g gradient (plus weight decay times θ), m̂ = m/(1 − β₁ᵗ), v̂ = v/(1 − β₂ᵗ), t step.
    Source: Kingma & Ba, ICLR (2015), arXiv:1412.6980.

    Parameters
    ----------
    flat
        Parameters of all networks, shape (members, parameters); changed in place.
    rates, decays
        Learning rate and weight decay of each network.
    """

    def __init__(self, flat: Tensor, rates: Sequence[float], decays: Sequence[float]) -> None:
        self.mean, self.square = torch.zeros_like(flat), torch.zeros_like(flat)
        self.rates, self.decays, self.taken = list(rates), list(decays), 0

    def step(self, flat: Tensor, gradient: Tensor) -> None:
        """Take one step; ``gradient`` is used up."""
        self.taken += 1
        if any(self.decays):
            gradient.addcmul_(flat, flat.new_tensor(self.decays)[:, None])
        self.mean.lerp_(gradient, 1 - BETAS[0])
        self.square.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
        root = torch.sqrt(self.square).div_(math.sqrt(1 - BETAS[1] ** self.taken)).add_(EPSILON)
        correction = 1 - BETAS[0] ** self.taken
        if len(set(self.rates)) == 1:
            flat.addcdiv_(self.mean, root, value=-self.rates[0] / correction)
        else:
            rates = flat.new_tensor([-rate / correction for rate in self.rates])
            flat.addcdiv_(self.mean * rates[:, None], root)

    def keep(self, members: Sequence[int]) -> None:
        """Go on with these networks only."""
        self.mean, self.square = self.mean[list(members)].clone(), self.square[list(members)].clone()
        self.rates = [self.rates[member] for member in members]
        self.decays = [self.decays[member] for member in members]
