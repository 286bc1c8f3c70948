"""Processes that train one network together, started by ``torchrun``: each computes a share of every batch.

Sums over a batch (moments of normalisations, gradients, losses) are sums over the processes' shares, so that the
network is that of one process, whatever the number, to rounding.
"""

from __future__ import annotations

import torch
from torch import Tensor

from phonograph.training.engines import Share


class Processes:
    """The processes of a training run.

    Parameters
    ----------
    rank, size
        Which of how many this is.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    def sum(self, value: Tensor) -> Tensor:
        """Replace ``value`` by its sum over the processes, and return it."""
        if self.size > 1:
            torch.distributed.all_reduce(value)
        return value

    def share(self, count: int) -> Share:
        """Return the part of a batch of ``count`` graphs that this process has; shares differ by one graph at most."""
        first, last = (count * rank // self.size for rank in (self.rank, self.rank + 1))
        return Share(slice(first, last), count)


ALONE = Processes()


def processes() -> Processes:
    """Return the process group of ``torch.distributed`` where the caller has started one, else this process alone."""
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized()):
        return ALONE
    return Processes(distributed.get_rank(), distributed.get_world_size())
