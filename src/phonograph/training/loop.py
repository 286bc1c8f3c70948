"""The training loop: a pure function of data, networks, settings and seeds, resumable from every step.

All randomness (order of the samples, dropout) is a function of (seed, epoch, step), so that the weights, the moments of
Adam and the sums of the unfinished epoch are all that is needed to go on bit for bit.  Several networks may share the
loop; each has its own samples, seed and patience, and leaves when it is finished.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from phonograph.models.batch import GraphBatch, GraphSource
from phonograph.streams import derive_seed
from phonograph.training.adam import Adam
from phonograph.training.checkpoint import write_checkpoint
from phonograph.training.engines import Engine, Share
from phonograph.training.processes import ALONE, Processes
from phonograph.training.settings import TrainingSettings
from phonograph.types import Epoch, IntArray, Progress

EVALUATION_BATCH = 256


@dataclass(eq=False)
class Member:
    """One network of a loop: its data, its choices and what it has reached.

    Attributes
    ----------
    name, seed, settings
        How it is trained; ``name`` is for messages.
    source, values
        Graphs, and their scaled labels, shape (graphs, targets); NaN where there is none.
    train, validation
        Positions of either part.
    best, best_loss, best_epoch
        The weights that are kept, and the lowest validation loss.
    history
        One entry per finished epoch.
    failure
        Why its training stopped, or an empty string.
    """

    name: str
    seed: int
    settings: TrainingSettings
    source: GraphSource
    values: Tensor
    train: IntArray
    validation: IntArray
    best: dict[str, Tensor] = field(default_factory=dict)
    best_loss: float = math.inf
    best_epoch: int = 0
    history: list[Epoch] = field(default_factory=list)
    failure: str = ""

    @property
    def finished(self) -> bool:
        """Whether the epochs or the patience are used up, or training diverged."""
        done = len(self.history)
        impatient = self.settings.keep == "best" and done - 1 - self.best_epoch >= self.settings.patience
        return bool(self.failure) or done >= self.settings.epochs or impatient

    def order(self, epoch: int) -> IntArray:
        """Return the positions of the training samples in the order of an epoch.

        Where one batch holds them all there is nothing to shuffle, and the order stays: that batch is made once, and
        dropout acts on its rows.
        """
        shuffled = self.settings.shuffle and len(self.train) > self.settings.batch_size
        return self.source.order(self.train, self.seed, epoch) if shuffled else self.train

    def judge(self, epoch: Epoch, state: Callable[[], dict[str, Tensor]]) -> None:
        """Take in a finished epoch."""
        if not (math.isfinite(epoch.train_loss) and math.isfinite(epoch.validation_loss)):
            self.failure = (
                f"training of {self.name} diverged in epoch {epoch.index} (loss {epoch.train_loss:g}, validation loss "
                f"{epoch.validation_loss:g}); lower the learning rate, now {self.settings.learning_rate:g}"
            )
            return
        self.history.append(epoch)
        if epoch.validation_loss < self.best_loss or self.settings.keep == "last":
            self.best_loss, self.best_epoch = epoch.validation_loss, epoch.index
            # The weights of the last epoch are wanted only once.
            if self.settings.keep == "best" or epoch.index == self.settings.epochs - 1:
                self.best = state()


@dataclass(eq=False)
class Trainer:
    """Networks in training: :meth:`run` trains them to the end, from the checkpoint where there is one.

    Attributes
    ----------
    engine
        The networks that are not finished, in the order of ``alive``.
    members
        All networks.
    processes
        Those that share the batches.
    alive
        Places of the networks in training among ``members``.
    epoch, step
        The next step to take.
    errors, counts, norms
        Sums over the steps of the unfinished epoch: squared errors and labels (alive, targets), gradient norms (alive).
    """

    engine: Engine
    members: Sequence[Member]
    processes: Processes = ALONE
    epoch: int = 0
    step: int = 0

    def __post_init__(self) -> None:
        self.settings = self.members[0].settings
        self.alive = list(range(len(self.members)))
        self.adam = Adam(
            self.engine.flat,
            [member.settings.learning_rate for member in self.members],
            [member.settings.weight_decay for member in self.members],
        )
        if self.processes.size > 1:
            self.engine.reduce = self.processes.sum
        self.start_epoch()
        self._cache: dict[str, list[tuple[list[GraphBatch], Tensor, Share]]] = {}

    def start_epoch(self) -> None:
        """Clear the sums."""
        targets = self.members[0].values.shape[1]
        flat = self.engine.flat
        self.errors, self.counts = flat.new_zeros(len(self.alive), targets), flat.new_zeros(len(self.alive), targets)
        self.norms = flat.new_zeros(len(self.alive))

    @property
    def trained(self) -> list[Member]:
        """The networks in training, and at the end those that trained last."""
        return [self.members[place] for place in self.alive]

    @property
    def finished(self) -> bool:
        """Whether all networks are."""
        return all(member.finished for member in self.members)

    def run(self, checkpoint: Path | None, key: str, progress: Progress | None) -> str:
        """Train until all are finished; return a sentence about a checkpoint that could not be used, or nothing."""
        from phonograph.training.resume import resume, snapshot

        problem = resume(self, checkpoint, key) if checkpoint is not None and checkpoint.exists() else ""
        written = time.monotonic()
        what = self.members[0].name if len(self.members) == 1 else f"{len(self.members)} networks"
        while not self.finished:
            ended = self.advance()
            if ended and progress is not None:
                progress(f"training {what}", self.epoch, self.settings.epochs)
            due = self.finished or time.monotonic() - written >= self.settings.checkpoint_s
            if checkpoint is not None and due and self.processes.rank == 0:
                write_checkpoint(checkpoint, snapshot(self, key))
                written = time.monotonic()
        return problem

    def advance(self) -> bool:
        """Take one step, and judge the epoch where it was the last; return whether it was."""
        if self.step == 0:
            self._orders = self._train_orders()
        parts = slices(len(self._orders[0]), self.settings.batch_size)
        self._learn(parts)
        self.step += 1
        if self.step < len(parts):
            return False
        self._finish_epoch(len(parts))
        return True

    def reopen(self) -> None:
        """Prepare the orders of an epoch that goes on at a later step."""
        self._orders = self._train_orders()

    def _train_orders(self) -> list[IntArray]:
        """Return the order of the epoch for each network, or one that all share."""
        return shared([(member.source, member.order(self.epoch)) for member in self.trained])

    def _learn(self, parts: Sequence[slice]) -> None:
        batches, values, share = self._batch("train", self.step, [order[parts[self.step]] for order in self._orders])
        seeds = [
            derive_seed(member.seed, "training", "dropout", self.epoch, self.step) % 2**63 for member in self.trained
        ]
        outputs = self.engine.outputs(batches, share, seeds)
        error, known = difference(outputs, values)
        errors, counts = self.processes.sum(torch.stack([(error * error).sum(1), known.sum(1)]))
        # The mean over targets of the mean squared error of each, over all processes.
        weights = 2.0 / (counts.clamp(min=1) * counts.shape[1])
        self.engine.pull(error * weights[:, None])
        if self.processes.size > 1:
            self.processes.sum(self.engine.grad)
        self.errors += errors
        self.counts += counts
        self.norms += torch.linalg.vector_norm(self.engine.grad, dim=1)
        self.adam.step(self.engine.flat, self.engine.grad)

    def _batch(self, part: str, place: int, chosen: list[IntArray]) -> tuple[list[GraphBatch], Tensor, Share]:
        """Return the graphs and labels at positions ``chosen``, made once where they are the same in every epoch."""
        parts = -(-len(self.trained[0].train) // self.settings.batch_size)
        fixed = part == "validation" or not self.settings.shuffle or parts == 1
        fixed = fixed and all(member.source.kept for member in self.trained)
        kept = self._cache.setdefault(part, [])
        if fixed and place < len(kept):
            return kept[place]
        share = self.processes.share(len(chosen[0]))
        own = [index[share.rows] for index in chosen]
        members = self.trained
        batches = [member.source.batch(index) for member, index in zip(members, own, strict=False)]
        rows = own if len(own) > 1 else own * len(members)
        made = batches, torch.stack([member.values[index] for member, index in zip(members, rows, strict=True)]), share
        if fixed and place == len(kept):
            kept.append(made)
        return made

    def _finish_epoch(self, steps: int) -> None:
        losses = mean_loss(self.errors, self.counts).tolist()
        norms = (self.norms / steps).tolist()
        held_out = self.held_out()
        for row, member in enumerate(self.trained):
            epoch = Epoch(
                index=self.epoch,
                train_loss=losses[row],
                validation_loss=held_out[row],
                learning_rate=member.settings.learning_rate,
                gradient_norm=norms[row],
            )
            member.judge(epoch, lambda row=row: self.engine.state(row))  # type: ignore[misc]
        self.epoch, self.step = self.epoch + 1, 0
        self.release([row for row, member in enumerate(self.trained) if not member.finished])
        self.start_epoch()

    def release(self, rows: list[int]) -> None:
        """Go on with the networks at ``rows`` of those in training; where there is none, keep all as they are.

        Kept because a run with more epochs may go on from here.
        """
        if not rows or len(rows) == len(self.alive):
            return
        self.alive = [self.alive[row] for row in rows]
        self._cache.clear()
        self.engine.keep(rows)
        self.adam.keep(rows)

    def held_out(self) -> list[float]:
        """Return the loss of the validation part for each network in training."""
        errors, counts = torch.zeros_like(self.errors), torch.zeros_like(self.counts)
        orders = shared([(member.source, member.validation) for member in self.trained])
        for place, part in enumerate(slices(len(orders[0]), EVALUATION_BATCH)):
            batches, values, share = self._batch("validation", place, [order[part] for order in orders])
            error, known = difference(self.engine.outputs(batches, share, None), values)
            errors += (error * error).sum(1)
            counts += known.sum(1)
        return mean_loss(self.processes.sum(errors), self.processes.sum(counts)).tolist()


def shared(orders: Sequence[tuple[GraphSource, IntArray]]) -> list[IntArray]:
    """Return the positions of every network, or those of the first where all are the same in the same source."""
    source, first = orders[0]
    if all(other is source and np.array_equal(order, first) for other, order in orders[1:]):
        return [first]
    return [order for _, order in orders]


def difference(outputs: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Return output − label, zero where there is no label, and 1 where there is one."""
    known = torch.isfinite(values)
    return torch.where(known, outputs - values, 0.0), known.to(outputs.dtype)


def mean_loss(errors: Tensor, counts: Tensor) -> Tensor:
    """Return the mean over targets of the mean squared error, shape (members,)."""
    return (errors / counts).mean(1)


def slices(count: int, size: int) -> list[slice]:
    """Cut ``count`` samples into batches; a last batch of one joins the one before it.

    A batch of one crystal has no spread for batch normalisation to measure.
    """
    starts = list(range(0, count, size))
    if len(starts) > 1 and count - starts[-1] == 1:
        starts.pop()
    return [slice(a, b) for a, b in zip(starts, [*starts[1:], count], strict=True)]
