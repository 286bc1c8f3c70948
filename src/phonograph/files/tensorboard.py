"""Histories of training runs as TensorBoard's event files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from phonograph.errors import InputFileError, MissingEngineError
from phonograph.files.history import HISTORY_FILE, load_history


def save_tensorboard(source: str | Path, folder: str | Path) -> tuple[Path, ...]:
    """Write one event file per network below ``source`` to ``folder``; return the folders of the networks.

    The curves are the columns of ``history.csv``: losses, learning rate and gradient norm against the epoch.  What an
    earlier call wrote for a network gives way to what is there now.

    Parameters
    ----------
    source
        A run, its ``5_training``, or any folder with histories in it.
    folder
        Where the event files go, one subfolder per network: the argument of ``tensorboard --logdir``.

    Raises
    ------
    InputFileError
        No history below ``source``, or one that is damaged.
    MissingEngineError
        TensorBoard is not installed.
    """
    source, folder = Path(source), Path(folder)
    histories = sorted(source.rglob(HISTORY_FILE))
    if not histories:
        raise InputFileError(f"{source} holds no trained network with a {HISTORY_FILE}; give the folder of a run")
    read = [(path.parent, load_history(path)) for path in histories]
    writer = _writer()
    made = []
    for network, rows in read:
        own = folder / (network.name if network != source else source.resolve().name)
        own.mkdir(parents=True, exist_ok=True)
        for old in own.glob("events.out.tfevents.*"):
            old.unlink()
        with writer(str(own)) as log:
            for row in rows:
                epoch = int(row.pop("epoch"))
                for name, value in row.items():
                    log.add_scalar(name, value, epoch)
        made.append(own)
    return tuple(made)


def _writer() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingEngineError(
            "TensorBoard is not installed; install it with: pip install 'phonograph[tensorboard]'"
        ) from error
    return SummaryWriter
