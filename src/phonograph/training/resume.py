"""From a training loop to its checkpoint and back."""

from __future__ import annotations

import math
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from phonograph.training.checkpoint import Checkpoint, read_checkpoint
from phonograph.types import Epoch

if TYPE_CHECKING:
    from phonograph.training.loop import Member, Trainer


def snapshot(trainer: Trainer, key: str) -> Checkpoint:
    """Return everything that the steps so far have changed."""
    tensors: dict[str, Tensor] = {f"now.{name}": value for name, value in trainer.engine.snapshot().items()}
    tensors |= {"adam.mean": trainer.adam.mean, "adam.square": trainer.adam.square}
    tensors |= {"sum.errors": trainer.errors, "sum.counts": trainer.counts, "sum.norms": trainer.norms}
    for place, member in enumerate(trainer.members):
        tensors |= {f"best.{place}.{name}": value for name, value in member.best.items()}
    state = {
        "key": key,
        "epoch": trainer.epoch,
        "step": trainer.step,
        "taken": trainer.adam.taken,
        "alive": trainer.alive,
        "members": [_plain(member) for member in trainer.members],
    }
    return Checkpoint({name: tensor.cpu() for name, tensor in tensors.items()}, state)


def _plain(member: Member) -> dict[str, Any]:
    return {
        "best_loss": member.best_loss if math.isfinite(member.best_loss) else None,
        "best_epoch": member.best_epoch,
        "history": [asdict(epoch) for epoch in member.history],
        "failure": member.failure,
    }


def structure(module: nn.Module) -> str:
    """Return what tells networks apart that are no settings: their printed layers, and what they are made of."""
    # Addresses of functions, which some layers print, are others in every process.
    printed = re.sub(r" at 0x[0-9a-f]+", "", repr(module))
    return "\n".join([printed, *(f"{name} {tuple(value.shape)}" for name, value in module.state_dict().items())])


def _misfit(trainer: Trainer, found: Checkpoint) -> str:
    """Say in a few words why the tensors of a checkpoint are not those of the networks, or nothing.

    Checked before anything is taken back, so that training can start from the beginning.
    """
    networks, count = len(trainer.members), len(found.state["alive"])
    expected = {f"now.{name}": value for name, value in trainer.engine.snapshot().items()}
    expected |= {"adam.mean": trainer.adam.mean, "adam.square": trainer.adam.square}
    for name, value in expected.items():
        shape = tuple(value.shape)
        # Networks that were finished have left the stack.
        wanted = (count, *shape[1:]) if networks > 1 and shape else shape
        if name not in found.tensors or tuple(found.tensors[name].shape) != wanted:
            return f"its {name.removeprefix('now.')} is not that of the network"
    return ""


def resume(trainer: Trainer, path: Path, key: str) -> str:
    """Continue from ``path``; return why not in one sentence, or an empty string."""
    found = read_checkpoint(path, key)
    if not isinstance(found, str) and found.state["epoch"] > trainer.settings.epochs:
        found = f"it is of epoch {found.state['epoch']}, {trainer.settings.epochs} are wanted"
    if not isinstance(found, str):
        found = _misfit(trainer, found) or found
    if isinstance(found, str):
        what = trainer.members[0].name if len(trainer.members) == 1 else f"the stack of {trainer.members[0].name}"
        return f"The checkpoint of {what} could not be used ({found}); training started from the beginning."
    parts: dict[str, dict[str, Tensor]] = {"now": {}, "adam": {}, "sum": {}, "best": {}}
    for name, tensor in found.tensors.items():
        kind, _, rest = name.partition(".")
        parts[kind][rest] = tensor.to(trainer.engine.flat.device)
    state = found.state
    for place, (member, plain) in enumerate(zip(trainer.members, state["members"], strict=True)):
        prefix = f"{place}."
        member.best = {n.removeprefix(prefix): t for n, t in parts["best"].items() if n.startswith(prefix)}
        member.best_loss = math.inf if plain["best_loss"] is None else float(plain["best_loss"])
        member.best_epoch, member.failure = int(plain["best_epoch"]), str(plain["failure"])
        member.history = [Epoch(**entry) for entry in plain["history"]]
    trainer.release([int(place) for place in state["alive"]])
    trainer.epoch, trainer.step, trainer.adam.taken = int(state["epoch"]), int(state["step"]), int(state["taken"])
    trainer.engine.restore(parts["now"])
    trainer.adam.mean.copy_(parts["adam"]["mean"])
    trainer.adam.square.copy_(parts["adam"]["square"])
    trainer.errors, trainer.counts, trainer.norms = (parts["sum"][name] for name in ("errors", "counts", "norms"))
    if trainer.step > 0:
        trainer.reopen()
    elif trainer.epoch < trainer.settings.epochs:
        # With more epochs than the checkpoint knew of, networks that it holds may go on, others may not.
        trainer.release([row for row, member in enumerate(trainer.trained) if not member.finished])
        trainer.start_epoch()
    return ""
