"""Several graph networks of one shape as one: every tensor has the member as its first axis, gradients by hand.

The same numbers as :class:`phonograph.models.graphconv.GraphConvNetwork` on every member alone, to rounding, for less
time (the reasons are in ``docs/5_training.md``):

* what the first convolution sees, [Σ_j e_ji x_j, x_i], never changes, so it is gathered and not computed;
* W₂ Σ_j e_ji x_j = Σ_j e_ji (W₂ x_j): products by W₁ and W₂ read the same input, and nothing but it is kept;
* the bias in front of a batch normalisation cancels, and its gradient is zero;
* the scale of a batch normalisation is a factor of weights, not a pass over all atoms;
* max ReLU(a z + b) = ReLU(a max z + b) for a ≥ 0 (min z else): the last convolution is normalised after its pooling,
  and the gradient of its normalisation needs sums over crystals, not atoms;
* one vector holds all parameters of a member and another its gradient, so that Adam is a few operations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from phonograph.models.batch import GraphBatch
from phonograph.models.graphconv import GraphConvNetwork

Reduce = Callable[[Tensor], Tensor]
"""Replace a tensor by its sum over the processes that share a batch, and return it."""


class DenseBatch(NamedTuple):
    """What a stack gets: ``members`` is 1 where all members see the same crystals.

    Attributes
    ----------
    first
        [Σ_j e_kji x_j for every edge function k, x_i], shape (members, graphs·n, (K + 1)·features).
    adjacency
        Σ e of every pair of atoms, shape (members, graphs, K, n, n), index order (target, source).
    n_graphs
        Graphs that this process has.
    total
        Graphs of the batch over all processes.
    """

    first: Tensor
    adjacency: Tensor
    n_graphs: int
    total: int


def dense_batch(batches: Sequence[GraphBatch], total: int) -> DenseBatch:
    """Return what a stack gets from one batch of graphs that all members share, or one batch for each.

    Parameters
    ----------
    batches
        Batches of equally many graphs of equally many atoms, with their dense route.
    total
        Graphs of the batch over all processes.
    """
    firsts, adjacencies = [], []
    for batch in batches:
        assert batch.adjacency is not None
        firsts.append(batch.first.flatten(0, 1))
        adjacencies.append(batch.adjacency if batch.adjacency.ndim == 4 else batch.adjacency[:, None])
    if len(batches) == 1:
        return DenseBatch(firsts[0][None], adjacencies[0][None], batches[0].n_graphs, total)
    return DenseBatch(torch.stack(firsts), torch.stack(adjacencies), batches[0].n_graphs, total)


class _Layer(NamedTuple):
    """What the gradient of one convolution with its normalisation needs."""

    h: Tensor
    z: Tensor
    y: Tensor
    scale: Tensor
    inverse: Tensor


class StackedNetwork:
    """Networks of equal shape, trained together; they differ in weights, dropout and data.

    Parameters
    ----------
    modules
        The networks; they are read, not changed.
    dtype, device
        Floating-point type of the weights, and where they live.
    half
        Whether the large products round their factors to bfloat16.

    Attributes
    ----------
    flat, grad
        Parameters and their gradient, shape (members, parameters); :attr:`parameters` are views of ``flat``.
    moments
        Running mean and variance of every normalisation, shape (members, convolutions, 2, channels).
    tracked
        Batches seen.
    reduce
        Sum over processes; None: there is one.
    """

    def __init__(
        self,
        modules: Sequence[GraphConvNetwork],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        *,
        half: bool = False,
    ) -> None:
        first = modules[0]
        self.pooling, self.output = first.pooling, first.output
        self.depth, self.half = len(first.convolutions), half
        self.dropout = [module.dropout for module in modules]
        self.shapes = {name: value.shape for name, value in first.named_parameters()}
        self.flat = torch.stack(
            [torch.cat([p.detach().flatten() for p in module.parameters()]) for module in modules]
        ).to(device, dtype)
        states = [module.state_dict() for module in modules]
        self.moments = torch.stack(
            [
                torch.stack(
                    [
                        torch.stack([state[f"norms.{layer}.running_mean"], state[f"norms.{layer}.running_var"]])
                        for layer in range(self.depth)
                    ]
                )
                for state in states
            ]
        ).to(device, dtype)
        self.tracked = int(states[0]["norms.0.num_batches_tracked"])
        self.reduce: Reduce | None = None
        self._bind()

    def _bind(self) -> None:
        self.grad = torch.zeros_like(self.flat)
        self.parameters, self.gradients = self._views(self.flat), self._views(self.grad)
        self._tape: list[_Layer] = []

    def _views(self, flat: Tensor) -> dict[str, Tensor]:
        parts = torch.split(flat, [shape.numel() for shape in self.shapes.values()], 1)
        return {
            name: part.view(len(flat), *shape) for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }

    def __len__(self) -> int:
        return len(self.flat)

    def keep(self, members: Sequence[int]) -> None:
        """Go on with these members only."""
        self.flat, self.moments = self.flat[list(members)].clone(), self.moments[list(members)].clone()
        self.dropout = [self.dropout[member] for member in members]
        self._bind()

    def state(self, member: int) -> dict[str, Tensor]:
        """Return a copy of the state of one member, named as that of its module."""
        state = {name: value[member].clone() for name, value in self.parameters.items()}
        for layer in range(self.depth):
            state[f"norms.{layer}.running_mean"] = self.moments[member, layer, 0].clone()
            state[f"norms.{layer}.running_var"] = self.moments[member, layer, 1].clone()
            state[f"norms.{layer}.num_batches_tracked"] = torch.tensor(self.tracked)
        return state

    def forward(self, batch: DenseBatch, keep: Tensor | None = None, *, training: bool = False) -> Tensor:
        """Return one value per member, graph and target, shape (members, graphs, targets).

        Parameters
        ----------
        batch
            The crystals.
        keep
            Factor of every pooled value, shape (members, graphs, channels): 0 where dropout takes it away,
            1/(1 − p) elsewhere.
        training
            Normalise by the moments of the batch, update the running ones, and keep what :meth:`backward` needs.
        """
        self._tape, h = [], batch.first
        for layer in range(self.depth):
            z = self._products(batch, h, layer)
            last = layer == self.depth - 1
            h = self._normalise(batch, h, z, layer, last) if training else self._evaluate(batch, z, layer, last)
        pooled = h if self.pooling == "max" else _by_crystal(h, batch).mean(2)
        return self._head(pooled if keep is None else pooled * keep, keep, training)

    def _products(self, batch: DenseBatch, h: Tensor, layer: int) -> Tensor:
        """Return Σ_k Σ_j e_kji W₂ₖ h_j + W₁ h_i, shape (members, nodes, channels)."""
        neighbours, itself = self._weights(layer)
        if layer == 0:
            return self._multiply(h, torch.cat([neighbours, itself], 2).mT)
        z, width = self._multiply(h, itself.mT), itself.shape[2]
        for k in range(batch.adjacency.shape[2]):
            self._gather(z, batch, self._multiply(h, neighbours[:, :, k * width : (k + 1) * width].mT), k)
        return z

    def _weights(self, layer: int) -> tuple[Tensor, Tensor]:
        name = f"convolutions.{layer}"
        return self.parameters[f"{name}.neighbours.weight"], self.parameters[f"{name}.itself.weight"]

    def _multiply(self, one: Tensor, other: Tensor) -> Tensor:
        """Return the product of every member; a factor that all members share has length 1."""
        if self.half:
            return self._product(one.bfloat16(), other.bfloat16()).to(self.flat.dtype)
        return self._product(one, other)

    @staticmethod
    def _product(one: Tensor, other: Tensor) -> Tensor:
        if len(other) == 1:  # a batched product of one is slower than a plain one
            return torch.mm(one[0], other[0])[None]
        return torch.bmm(one.expand(len(other), -1, -1), other)

    def _gather(self, into: Tensor, batch: DenseBatch, h: Tensor, k: int, *, transpose: bool = False) -> None:
        """Add Σ_j e_kji h_j to ``into``, or set it to Σ_i e_kji h_i, which is what gradients need."""
        members, graphs = batch.adjacency.shape[:2]
        adjacency = batch.adjacency[:, :, k].mT if transpose else batch.adjacency[:, :, k]
        size = adjacency.shape[2]
        if self.half:
            adjacency, h = adjacency.bfloat16(), h.bfloat16()
        cubes = h.view(len(h), graphs, size, h.shape[2])
        # Members that share their crystals take turns: no copy of the adjacency.
        rounds = [slice(m, m + 1) for m in range(len(h))] if members < len(h) else [slice(None)]
        for turn in rounds:
            a = (adjacency if members < len(h) else adjacency[turn]).flatten(0, 1)
            target, moved = into[turn].view(len(a), size, into.shape[2]), cubes[turn].flatten(0, 1)
            if self.half:
                product = torch.bmm(a, moved)
                target.copy_(product) if transpose else target.add_(product)
            else:
                target.baddbmm_(a, moved, beta=0 if transpose else 1)

    def _normalise(self, batch: DenseBatch, h: Tensor, z: Tensor, layer: int, last: bool) -> Tensor:
        """Return ReLU(γ (z − mean)/√(var + ε) + β) by the moments of the batch, pooled where a maximum follows."""
        count = batch.total * batch.adjacency.shape[3]
        mean = self._sum(z.sum(1)).div_(count)
        z.sub_(mean[:, None])
        variance = self._sum((z * z).sum(1)).div_(count)
        inverse = torch.rsqrt(variance + 1e-5)
        scale = self.parameters[f"norms.{layer}.weight"] * inverse
        shift = self.parameters[f"norms.{layer}.bias"]
        moments = self.moments[:, layer]
        moments[:, 0].lerp_(mean.add_(self.parameters[f"convolutions.{layer}.neighbours.bias"]), 0.1)
        moments[:, 1].lerp_(variance.mul_(count / max(count - 1, 1)), 0.1)
        self.tracked += layer == 0
        y = self._activate(batch, z, scale, shift, last)
        self._tape.append(_Layer(h, z, y, scale, inverse))
        if last and self.pooling == "max":
            return (y * scale[:, None] + shift[:, None]).relu_()
        return y

    def _activate(self, batch: DenseBatch, z: Tensor, scale: Tensor, shift: Tensor, last: bool) -> Tensor:
        """Return ReLU(scale z + shift), or the z of every crystal and channel for which that is largest."""
        if not (last and self.pooling == "max"):
            return torch.addcmul(shift[:, None], z, scale[:, None]).relu_()
        cubes = _by_crystal(z, batch)
        highest = cubes.amax(2)
        if bool((scale >= 0).all()):
            return highest
        return torch.where(scale[:, None] >= 0, highest, cubes.amin(2))

    def _evaluate(self, batch: DenseBatch, z: Tensor, layer: int, last: bool) -> Tensor:
        mean, variance = self.moments[:, layer].unbind(1)
        scale = self.parameters[f"norms.{layer}.weight"] * torch.rsqrt(variance + 1e-5)
        bias = self.parameters[f"convolutions.{layer}.neighbours.bias"]
        shift = self.parameters[f"norms.{layer}.bias"] + (bias - mean) * scale
        y = self._activate(batch, z, scale, shift, last)
        return (y * scale[:, None] + shift[:, None]).relu_() if last and self.pooling == "max" else y

    def _head(self, pooled: Tensor, keep: Tensor | None, training: bool) -> Tensor:
        own = self.parameters
        hidden = torch.baddbmm(own["hidden.bias"][:, None], pooled, own["hidden.weight"].mT).relu_()
        value = torch.baddbmm(own["final.bias"][:, None], hidden, own["final.weight"].mT)
        if self.output == "sigmoid":
            value = value.sigmoid_()
        elif self.output == "relu":
            value = value.relu_()
        if training:
            self._kept = (pooled, keep, hidden, value)
        return value

    def backward(self, batch: DenseBatch, gradient: Tensor) -> None:
        """Set :attr:`grad` from the gradient of the loss by the output of the last training :meth:`forward`."""
        pull = self._head_backward(gradient)
        for layer in reversed(range(self.depth)):
            tape = self._tape.pop()
            q = self._normalise_backward(batch, tape, pull, layer)
            pull = self._products_backward(batch, tape, q, layer)
        # Zero, not rounding noise that Adam would blow up to steps: a bias before a normalisation does nothing.
        for layer in range(self.depth):
            self.gradients[f"convolutions.{layer}.neighbours.bias"].zero_()

    def _head_backward(self, gradient: Tensor) -> Tensor:
        pooled, keep, hidden, value = self._kept
        own, out = self.parameters, self.gradients
        if self.output == "sigmoid":
            gradient = gradient * value * (1 - value)
        elif self.output == "relu":
            gradient = gradient * (value > 0)
        out["final.weight"].copy_(torch.bmm(gradient.mT, hidden))
        out["final.bias"].copy_(gradient.sum(1))
        inner = torch.ops.aten.threshold_backward(torch.bmm(gradient, own["final.weight"]), hidden, 0)
        out["hidden.weight"].copy_(torch.bmm(inner.mT, pooled))
        out["hidden.bias"].copy_(inner.sum(1))
        pull = torch.bmm(inner, own["hidden.weight"])
        return pull if keep is None else pull.mul_(keep)

    def _normalise_backward(self, batch: DenseBatch, tape: _Layer, pull: Tensor, layer: int) -> Tensor:
        """Return q, with scale·q the gradient by the input of the normalisation; ``pull`` is that by its output."""
        size = batch.adjacency.shape[3]
        count, z = batch.total * size, tape.z
        last = layer == self.depth - 1
        if last and self.pooling == "max":
            shift = self.parameters[f"norms.{layer}.bias"]
            g = pull * ((tape.y * tape.scale[:, None] + shift[:, None]) > 0)
            total, moment = g.sum(1), (g * tape.y).sum(1)
        else:
            if last:
                pull = (pull / size)[:, :, None].expand(-1, -1, size, -1).reshape(z.shape)
            g = torch.ops.aten.threshold_backward(pull, tape.y, 0)
            total, moment = g.sum(1), (g * z).sum(1)
        self.gradients[f"norms.{layer}.bias"].copy_(total)
        self.gradients[f"norms.{layer}.weight"].copy_(moment * tape.inverse)
        both = self._sum(torch.stack([total, moment]))
        q = torch.addcmul(both[0, :, None] / -count, z, both[1, :, None] * tape.inverse[:, None] ** 2 / -count)
        if not (last and self.pooling == "max"):
            return q.add_(g)
        cubes = _by_crystal(z, batch)
        # Atoms that tie for the maximum share its gradient equally, so that equivalent atoms stay equivalent.
        winners = torch.empty_like(cubes)
        torch.eq(cubes, tape.y[:, :, None], out=winners)  # numbers at once: booleans would be five times slower
        q.view(cubes.shape).addcmul_(winners, (g / winners.sum(2))[:, :, None])
        return q

    def _products_backward(self, batch: DenseBatch, tape: _Layer, q: Tensor, layer: int) -> Tensor:
        """Set the gradients of W₁ and W₂ and return that by the input; ``scale`` enters by the weights."""
        name, scale = f"convolutions.{layer}", tape.scale[:, :, None]
        neighbours, itself = self._weights(layer)
        for_neighbours, for_itself = (
            self.gradients[f"{name}.neighbours.weight"],
            self.gradients[f"{name}.itself.weight"],
        )
        if layer == 0:
            # The narrow factor first: the product in the other order is five times slower.
            both = self._multiply(tape.h.expand(len(q), -1, -1).mT, q).mT
            width = for_neighbours.shape[2]
            torch.mul(both[:, :, :width], scale, out=for_neighbours)
            torch.mul(both[:, :, width:], scale, out=for_itself)
            return q
        torch.mul(self._multiply(q.mT, tape.h), scale, out=for_itself)
        pull, width = self._multiply(q, itself * scale), itself.shape[2]
        for k in range(batch.adjacency.shape[2]):
            part = slice(k * width, (k + 1) * width)
            gathered = torch.empty_like(q)
            self._gather(gathered, batch, q, k, transpose=True)
            torch.mul(self._multiply(gathered.mT, tape.h), scale, out=for_neighbours[:, :, part])
            pull += self._multiply(gathered, neighbours[:, :, part] * scale)
        return pull

    def _sum(self, value: Tensor) -> Tensor:
        return value if self.reduce is None else self.reduce(value)


def _by_crystal(h: Tensor, batch: DenseBatch) -> Tensor:
    """Return node values (members, nodes, channels) as (members, graphs, n, channels)."""
    return h.view(len(h), batch.n_graphs, batch.adjacency.shape[3], h.shape[2])
