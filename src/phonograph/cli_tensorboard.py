"""The command ``phonograph tensorboard``: loss curves of a run for TensorBoard."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_tensorboard(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "tensorboard",
        help="loss, learning rate and gradient norm of a run's networks as TensorBoard event files",
        description="Write the history of every trained network as a TensorBoard event file; look at them with "
        "tensorboard --logdir FOLDER. Works while a run still trains, for the networks that are finished.",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="a run folder")
    parser.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="default: RUN/tensorboard")
    parser.set_defaults(function=_tensorboard)


def _tensorboard(options: argparse.Namespace) -> int:
    from phonograph.files.tensorboard import save_tensorboard

    folder = options.output or options.run / "tensorboard"
    made = save_tensorboard(options.run, folder)
    print(f"wrote {len(made)} histories; look at them with: tensorboard --logdir {folder}")  # noqa: T201
    return 0
