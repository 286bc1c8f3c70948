"""The state of a training run in one file that is either whole or not there.

Layout: one line ``phonograph-checkpoint 1 <sha256>`` and then a safetensors file whose metadata is JSON.  Nothing in
it can run code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from phonograph.atomic import write_bytes
from phonograph.plain_json import read_json

_MAGIC = b"phonograph-checkpoint 1 "


class Checkpoint(NamedTuple):
    """Tensors by name, and everything else as plain JSON values."""

    tensors: Mapping[str, Tensor]
    state: Mapping[str, Any]


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write atomically: a process killed at any moment leaves the previous checkpoint or this one."""
    tensors = {
        name: tensor.detach().clone(memory_format=torch.contiguous_format)
        for name, tensor in checkpoint.tensors.items()
    }
    body = save(tensors, metadata={"state": json.dumps(checkpoint.state)})
    write_bytes(path, _MAGIC + hashlib.sha256(body).hexdigest().encode() + b"\n" + body)


def read_checkpoint(path: Path, key: str) -> Checkpoint | str:
    """Return the checkpoint written with ``state["key"] == key``, or say in a few words why it cannot be used."""
    data = path.read_bytes()
    line, _, body = data.partition(b"\n")
    if not line.startswith(_MAGIC):
        return "it is not a checkpoint of this version"
    if hashlib.sha256(body).hexdigest().encode() != line[len(_MAGIC) :]:
        return "it is damaged"
    try:
        tensors = load(body)
        header = read_json(body[8 : 8 + int.from_bytes(body[:8], "little")])
        state = read_json(header["__metadata__"]["state"])
    except (SafetensorError, ValueError, KeyError, TypeError):
        return "it is not a checkpoint of this version"
    if not isinstance(state, dict) or state.get("key") != key:
        return "it belongs to other data or settings"
    return Checkpoint(tensors, state)
