"""What the training loop trains: a stack of graph networks, or any ``torch.nn.Module`` on its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from phonograph.errors import ConfigurationError, DataError
from phonograph.models.batch import GraphBatch
from phonograph.models.graphconv import GraphConvNetwork
from phonograph.models.stacked import DenseBatch, Reduce, StackedNetwork, dense_batch

DTYPES = {"single": torch.float32, "double": torch.float64, "bfloat16": torch.float32}
"""Type of the weights for each ``precision``."""


class Share(NamedTuple):
    """The part ``rows`` of a batch of ``total`` graphs that this process has."""

    rows: slice
    total: int


class Engine(Protocol):
    """Networks whose parameters and gradients are two tensors of shape (members, parameters)."""

    reduce: Reduce | None

    @property
    def flat(self) -> Tensor:
        """Parameters, shape (members, parameters)."""
        ...

    @property
    def grad(self) -> Tensor:
        """Their gradients."""
        ...

    def __len__(self) -> int:
        """Return the number of networks."""
        ...

    def outputs(self, batches: Sequence[GraphBatch], share: Share, seeds: Sequence[int] | None) -> Tensor:
        """Return values of shape (members, graphs, targets); ``seeds`` of all chance when training, else None."""
        ...

    def pull(self, gradient: Tensor) -> None:
        """Set ``grad`` from the gradient of the loss by the outputs of the last training call."""
        ...

    def state(self, member: int) -> dict[str, Tensor]:
        """Return a copy of the state dict of one network."""
        ...

    def keep(self, members: Sequence[int]) -> None:
        """Go on with these networks only."""
        ...

    def snapshot(self) -> dict[str, Tensor]:
        """Return all tensors that training changes."""
        ...

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what :meth:`snapshot` gave."""
        ...


class StackEngine:
    """:class:`~phonograph.models.stacked.StackedNetwork` as an engine; dropout is a function of the seeds.

    Parameters
    ----------
    modules
        Networks of one shape.
    precision
        ``"single"``, ``"double"`` or ``"bfloat16"``.
    device
        Where they are trained.
    """

    def __init__(self, modules: Sequence[GraphConvNetwork], precision: str, device: torch.device) -> None:
        self.network = StackedNetwork(modules, DTYPES[precision], device, half=precision == "bfloat16")
        self._batch: DenseBatch | None = None

    def __len__(self) -> int:
        return len(self.network)

    @property
    def flat(self) -> Tensor:
        """Parameters, shape (members, parameters)."""
        return self.network.flat

    @property
    def grad(self) -> Tensor:
        """Gradients, shape (members, parameters)."""
        return self.network.grad

    @property
    def reduce(self) -> Reduce | None:
        """Sum over processes; None: there is one."""
        return self.network.reduce

    @reduce.setter
    def reduce(self, value: Reduce | None) -> None:
        self.network.reduce = value

    def outputs(self, batches: Sequence[GraphBatch], share: Share, seeds: Sequence[int] | None) -> Tensor:
        """Return values of shape (members, graphs, targets)."""
        batch = dense_batch(batches, share.total)
        if seeds is None:
            return self.network.forward(batch)
        self._batch = batch
        return self.network.forward(batch, self._kept(share, seeds), training=True)

    def _kept(self, share: Share, seeds: Sequence[int]) -> Tensor | None:
        """Return 0 or 1/(1 − p) for every pooled value; masks are those of the whole batch on every process."""
        if not any(self.network.dropout):
            return None
        channels = self.network.parameters["hidden.weight"].shape[2]
        masks = []
        for p, seed in zip(self.network.dropout, seeds, strict=True):
            generator = torch.Generator().manual_seed(seed)
            masks.append(
                torch.empty(share.total, channels).bernoulli_(1 - p, generator=generator)[share.rows] / (1 - p)
            )
        return torch.stack(masks).to(self.flat)

    def pull(self, gradient: Tensor) -> None:
        """Set the gradients from that of the loss by the outputs."""
        assert self._batch is not None
        self.network.backward(self._batch, gradient)

    def state(self, member: int) -> dict[str, Tensor]:
        """Return a copy of the state dict of one network."""
        return self.network.state(member)

    def keep(self, members: Sequence[int]) -> None:
        """Go on with these networks only."""
        self.network.keep(members)

    def snapshot(self) -> dict[str, Tensor]:
        """Return all tensors that training changes."""
        return {
            "flat": self.network.flat,
            "moments": self.network.moments,
            "tracked": torch.tensor(self.network.tracked),
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what :meth:`snapshot` gave."""
        self.network.flat.copy_(tensors["flat"])
        self.network.moments.copy_(tensors["moments"])
        self.network.tracked = int(tensors["tracked"])


class ModuleEngine:
    """Any module as an engine of one network.

    Parameters
    ----------
    module
        The network; its parameters become views of one vector.
    name
        For messages.
    targets
        Values per graph that it must return.
    precision, device
        As in :class:`StackEngine`; bfloat16 is torch's automatic mixed precision.
    """

    def __init__(self, module: nn.Module, name: str, targets: int, precision: str, device: torch.device) -> None:
        self.module, self._name, self._targets = module.to(device, DTYPES[precision]), name, targets
        self._half, self._device = precision == "bfloat16", device
        self.reduce: Reduce | None = None
        trained = [parameter for parameter in self.module.parameters() if parameter.requires_grad]
        empty = torch.zeros(0, dtype=DTYPES[precision], device=device)
        self.flat = torch.cat([empty, *(parameter.detach().flatten() for parameter in trained)])[None]
        self.grad = torch.zeros_like(self.flat)
        start = 0
        for parameter in trained:
            part = slice(start, start + parameter.numel())
            parameter.data = self.flat[0, part].view_as(parameter)
            parameter.grad = self.grad[0, part].view_as(parameter)
            start += parameter.numel()
        self._out: Tensor | None = None

    def __len__(self) -> int:
        return 1

    def outputs(self, batches: Sequence[GraphBatch], share: Share, seeds: Sequence[int] | None) -> Tensor:
        """Return values of shape (1, graphs, targets)."""
        self.module.train(seeds is not None)
        if seeds is None:
            with torch.no_grad():
                return self._call(batches[0])
        if self.reduce is not None and any(
            isinstance(m, nn.modules.batchnorm._BatchNorm) for m in self.module.modules()
        ):
            raise ConfigurationError(
                f"{self._name}: a module of one's own with batch normalisation cannot be trained by several processes, "
                "because each would see the moments of its own share; use GraphConvNet, or one process"
            )
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed: that also queues a call for every accelerator, with a stack trace, each time.
            torch.default_generator.manual_seed(seeds[0])
            self._out = self._call(batches[0])
        if not self._out.requires_grad:
            raise DataError(
                f"the output of {self._name} has no gradient, so its weights cannot be trained; compute it from "
                "parameters that require gradients, without detach() and torch.no_grad()"
            )
        return self._out.detach()

    def _call(self, batch: GraphBatch) -> Tensor:
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._half):
            output: Tensor = self.module(batch)
        expected = (batch.n_graphs,) if self._targets == 1 else (batch.n_graphs, self._targets)
        got = tuple(output.shape) if isinstance(output, Tensor) else f"a {type(output).__name__}"
        if got != expected:
            raise DataError(
                f"a network must return one value per graph{' and target' if self._targets > 1 else ''}, "
                f"shape {expected}; "
                f"that of {self._name} returned {got}"
            )
        return output.to(self.flat.dtype).view(1, batch.n_graphs, self._targets)

    def pull(self, gradient: Tensor) -> None:
        """Set the gradients from that of the loss by the outputs."""
        assert self._out is not None
        self.grad.zero_()
        self._out.backward(gradient)  # type: ignore[no-untyped-call]
        self._out = None

    def state(self, member: int) -> dict[str, Tensor]:
        """Return a copy of the state dict."""
        assert member == 0
        return {name: value.detach().clone() for name, value in self.module.state_dict().items()}

    def keep(self, members: Sequence[int]) -> None:
        """Do nothing: there is one network."""

    def snapshot(self) -> dict[str, Tensor]:
        """Return all tensors that training changes."""
        return dict(self.module.state_dict())

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what :meth:`snapshot` gave."""
        self.module.load_state_dict(dict(tensors))
