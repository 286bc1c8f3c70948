"""The history of a training run as a table that any program reads."""

from __future__ import annotations

import csv
import io
from dataclasses import astuple, fields
from pathlib import Path

from phonograph.atomic import write_text
from phonograph.errors import InputFileError
from phonograph.types import Epoch, Fitted

HISTORY_FILE = "history.csv"


def save_history(fitted: Fitted, folder: str | Path) -> Path:
    """Write ``folder/history.csv``: one line per epoch, atomically, and return its path.

    Columns: epoch (from 0), training and validation loss (mean squared error of the scaled target), learning rate, norm
    of the gradient (mean over the steps of the epoch), and 1 in ``kept`` for the epoch whose weights are in the bundle.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(_columns())
    for epoch in fitted.history:
        index, *numbers = astuple(epoch)
        table.writerow([index, *(repr(float(number)) for number in numbers), int(index == fitted.best_epoch)])
    path = Path(folder) / HISTORY_FILE
    write_text(path, text.getvalue())
    return path


def _columns() -> list[str]:
    return ["epoch", *(item.name for item in fields(Epoch)[1:]), "kept"]


def load_history(path: str | Path) -> list[dict[str, float]]:
    """Return the lines of a ``history.csv`` as numbers by column; raises :class:`InputFileError` for anything else."""
    columns = _columns()
    try:
        with Path(path).open(encoding="utf-8", newline="") as stream:
            table = csv.DictReader(stream)
            names = list(table.fieldnames or ())
            rows = [{name: float(value) for name, value in row.items()} for row in table]
    except (OSError, UnicodeDecodeError, ValueError, TypeError, csv.Error) as error:
        raise InputFileError(f"{path} is not a whole history of a network: {error}; train it again") from error
    if names != columns:
        raise InputFileError(
            f"{path} has the columns {', '.join(names) or 'none'}, expected {', '.join(columns)}; train the network "
            "again"
        )
    return rows
