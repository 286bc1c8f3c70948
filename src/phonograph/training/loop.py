"""The training loop: a pure function of data, model, settings and seed, resumable after every epoch.

All randomness of an epoch (order of the samples, dropout) comes from generators seeded by (seed, epoch), so the state
at the end of an epoch is all that is needed to go on bit for bit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from phonograph.errors import DataError
from phonograph.models.batch import GraphBatch, PackedGraphs
from phonograph.streams import derive_seed, stream
from phonograph.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from phonograph.training.settings import TrainingSettings
from phonograph.types import Epoch, IntArray, Progress

EVALUATION_BATCH = 256


@dataclass(eq=False)
class Trainer:
    """A network in training: :meth:`run` trains it to the end, from the checkpoint where there is one.

    Attributes
    ----------
    module
        The network.
    packed, values
        Training and validation graphs, and their scaled labels.
    train, validation
        Positions of either part.
    settings, seed, name
        How it is trained; ``name`` is for messages.
    best, best_loss, best_epoch
        Weights with the lowest validation loss so far.
    history
        One entry per finished epoch.
    """

    module: nn.Module
    packed: PackedGraphs
    values: Tensor
    train: IntArray
    validation: IntArray
    settings: TrainingSettings
    seed: int
    name: str
    best: dict[str, Tensor] = field(default_factory=dict)
    best_loss: float = math.inf
    best_epoch: int = 0
    history: list[Epoch] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.parameters = [parameter for parameter in self.module.parameters() if parameter.requires_grad]
        self.optimiser = torch.optim.Adam(
            self.parameters, lr=self.settings.learning_rate, weight_decay=self.settings.weight_decay, fused=True
        )
        self._fixed = self._fixed_batches()
        self._held_out = [
            (self.packed.batch(part), self.values[torch.from_numpy(part)])
            for part in _slices(self.validation, EVALUATION_BATCH)
        ]

    @property
    def finished(self) -> bool:
        """Whether the epochs or the patience are used up."""
        done = len(self.history)
        return done >= self.settings.epochs or done - 1 - self.best_epoch >= self.settings.patience

    def run(self, checkpoint: Path | None, key: str, progress: Progress | None) -> str:
        """Train until finished; return a sentence about a checkpoint that could not be used, or an empty string."""
        problem = self.resume(checkpoint, key) if checkpoint is not None and checkpoint.exists() else ""
        written = time.monotonic()
        while not self.finished:
            self.history.append(self.epoch(len(self.history)))
            if progress is not None:
                progress(f"training {self.name}", len(self.history), self.settings.epochs)
            due = self.finished or time.monotonic() - written >= self.settings.checkpoint_s
            if checkpoint is not None and due:
                write_checkpoint(checkpoint, self.snapshot(key))
                written = time.monotonic()
        self.module.load_state_dict(self.best)
        return problem

    def epoch(self, index: int) -> Epoch:
        """Do one pass over the training part and judge it on the validation part."""
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed: that also queues a call for every accelerator, with a stack trace, each time.
            torch.default_generator.manual_seed(derive_seed(self.seed, "training", "dropout", index) % 2**63)
            loss, norm = self._pass(index)
        held_out = self._validate()
        if not (math.isfinite(loss) and math.isfinite(held_out)):
            raise DataError(
                f"training of {self.name} diverged in epoch {index} (loss {loss:g}, validation loss {held_out:g}); "
                f"lower the learning rate, now {self.settings.learning_rate:g}"
            )
        if held_out < self.best_loss:
            self.best_loss, self.best_epoch = held_out, index
            self.best = {name: value.detach().clone() for name, value in self.module.state_dict().items()}
        rate = float(self.optimiser.param_groups[0]["lr"])
        return Epoch(index=index, train_loss=loss, validation_loss=held_out, learning_rate=rate, gradient_norm=norm)

    def _pass(self, index: int) -> tuple[float, float]:
        self.module.train()
        total, norms, steps = torch.zeros(()), torch.zeros(()), 0
        for batch, values in self._batches(index):
            for parameter in self.parameters:
                parameter.grad = None
            loss = functional.mse_loss(self._output(batch), values)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()
            total += loss.detach() * len(values)
            norms += torch.nn.utils.get_total_norm([p.grad for p in self.parameters if p.grad is not None])
            steps += 1
        return total.item() / len(self.train), norms.item() / steps

    def _batches(self, epoch: int) -> Iterator[tuple[GraphBatch, Tensor]]:
        if self._fixed:
            yield from self._fixed
            return
        order = self.train[stream(self.seed, "training", "order", epoch).permutation(len(self.train))]
        for part in _slices(order, self.settings.batch_size):
            yield self.packed.batch(part), self.values[torch.from_numpy(part)]

    def _fixed_batches(self) -> list[tuple[GraphBatch, Tensor]]:
        """Return the batches where they are the same in every epoch, so that they are made once."""
        parts = _slices(self.train, self.settings.batch_size)
        if self.settings.shuffle and len(parts) > 1:
            return []
        return [(self.packed.batch(part), self.values[torch.from_numpy(part)]) for part in parts]

    def _validate(self) -> float:
        self.module.eval()
        with torch.no_grad():
            losses = [functional.mse_loss(self._output(b), values, reduction="sum") for b, values in self._held_out]
        return torch.stack(losses).sum().item() / len(self.validation)

    def _output(self, batch: GraphBatch) -> Tensor:
        output: Tensor = self.module(batch)
        if output.shape != (batch.n_graphs,):
            raise DataError(
                f"a network must return one value per graph, shape ({batch.n_graphs},); "
                f"that of {self.name} returned {tuple(output.shape)}"
            )
        return output

    def output_spread(self) -> float:
        """Return the difference between the largest and the smallest output for training samples."""
        self.module.eval()
        with torch.no_grad():
            parts = _slices(self.train, EVALUATION_BATCH)
            outputs = torch.cat([self._output(self.packed.batch(part)) for part in parts])
        return float(outputs.max() - outputs.min())

    def snapshot(self, key: str) -> Checkpoint:
        """Return everything that the epochs so far have changed."""
        tensors = {f"now.{name}": value for name, value in self.module.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in self.best.items()}
        for place, entry in self.optimiser.state_dict()["state"].items():
            tensors |= {f"adam.{place}.{name}": value for name, value in entry.items()}
        state = {
            "key": key,
            "best_loss": self.best_loss,
            "best_epoch": self.best_epoch,
            "history": [asdict(epoch) for epoch in self.history],
        }
        return Checkpoint(tensors, state)

    def resume(self, path: Path, key: str) -> str:
        """Continue from ``path``; return why not in one sentence, or an empty string."""
        found = read_checkpoint(path, key)
        if isinstance(found, str):
            return f"The checkpoint of {self.name} could not be used ({found}); training started from the beginning."
        if len(found.state["history"]) > self.settings.epochs:
            why = f"it is of epoch {len(found.state['history'])}, {self.settings.epochs} are wanted"
            return f"The checkpoint of {self.name} could not be used ({why}); training started from the beginning."
        parts: dict[str, dict[str, Tensor]] = {"now": {}, "best": {}, "adam": {}}
        for name, tensor in found.tensors.items():
            kind, _, rest = name.partition(".")
            parts[kind][rest] = tensor
        self.module.load_state_dict(parts["now"])
        entries: dict[int, dict[str, Tensor]] = {}
        for name, tensor in parts["adam"].items():
            place, _, what = name.partition(".")
            entries.setdefault(int(place), {})[what] = tensor
        self.optimiser.load_state_dict({"state": entries, "param_groups": self.optimiser.state_dict()["param_groups"]})
        self.best, self.best_loss = parts["best"], float(found.state["best_loss"])
        self.best_epoch = int(found.state["best_epoch"])
        self.history = [Epoch(**entry) for entry in found.state["history"]]
        return ""


def _slices(order: IntArray, size: int) -> list[IntArray]:
    """Cut ``order`` into batches; a last batch of one joins the one before it.

    A batch of one crystal has no spread for batch normalisation to measure.
    """
    starts = list(range(0, len(order), size))
    if len(starts) > 1 and len(order) - starts[-1] == 1:
        starts.pop()
    return [order[a:b] for a, b in zip(starts, [*starts[1:], len(order)], strict=True)]


def as_values(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Tensor:
    """Return scaled labels as the loop takes them."""
    return torch.as_tensor(values, dtype=torch.float32)
