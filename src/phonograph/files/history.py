"""The history of a training run as a table that any program reads."""

from __future__ import annotations

import csv
import io
from dataclasses import astuple, fields
from pathlib import Path

from phonograph.atomic import write_text
from phonograph.types import Epoch, Fitted

HISTORY_FILE = "history.csv"


def save_history(fitted: Fitted, folder: str | Path) -> Path:
    """Write ``folder/history.csv``: one line per epoch, atomically, and return its path.

    Columns: epoch (from 0), training and validation loss (mean squared error of the scaled target), learning rate, norm
    of the gradient (mean over the steps of the epoch), and 1 in ``kept`` for the epoch whose weights are in the bundle.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    names = [item.name for item in fields(Epoch)]
    table.writerow(["epoch", *names[1:], "kept"])
    for epoch in fitted.history:
        index, *numbers = astuple(epoch)
        table.writerow([index, *(repr(float(number)) for number in numbers), int(index == fitted.best_epoch)])
    path = Path(folder) / HISTORY_FILE
    write_text(path, text.getvalue())
    return path
