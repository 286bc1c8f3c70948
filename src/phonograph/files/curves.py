"""Learning curves as CSV tables that anyone can open; every table has a column ``unit``, of all errors in its line.

======================  =======================================================================
file                    one line per
======================  =======================================================================
``learning_curve.csv``  network, test and scope
``points.csv``          curve and size: mean over seeds with 95 % intervals
``fits.csv``            curve: power law with 95 % intervals
``bands.csv``           curve and size: the fitted law with its 95 % interval
``differences.csv``     pair of training collections, test, size and scope
``label_factors.csv``   pair of training collections and test
======================  =======================================================================

``learning_curve.json`` holds verdicts, warnings and origin.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from phonograph.errors import InputFileError
from phonograph.files.rows import read_rows, write_rows
from phonograph.files.sidecar import entry, read_sidecar, write_sidecar
from phonograph.types import CurveBand, CurvePoint, CurveRow, Difference, LabelFactor, LearningCurve, PowerLaw

SCHEMA = "phonograph.learning-curve/1"

_TABLES: Mapping[str, tuple[str, type[Any]]] = {
    "rows": ("learning_curve.csv", CurveRow),
    "points": ("points.csv", CurvePoint),
    "fits": ("fits.csv", PowerLaw),
    "bands": ("bands.csv", CurveBand),
    "differences": ("differences.csv", Difference),
    "factors": ("label_factors.csv", LabelFactor),
}
"""Field of :class:`~phonograph.types.LearningCurve` → file and type of its lines."""


def save_learning_curve(curve: LearningCurve, folder: str | os.PathLike[str]) -> None:
    """Write the tables and ``learning_curve.json``, each atomically, the JSON last.

    Raises
    ------
    InputFileError
        A folder that cannot be written.
    """
    place = Path(folder)
    for name, (file, cls) in _TABLES.items():
        write_rows(place / file, cls, getattr(curve, name))
    write_sidecar(place / "learning_curve.json", SCHEMA, curve.warnings, curve.origin, verdicts=list(curve.verdicts))


def load_learning_curve(folder: str | os.PathLike[str]) -> LearningCurve:
    """Read what :func:`save_learning_curve` wrote, bit for bit; raises :class:`InputFileError` naming file and line."""
    place = Path(folder)
    source = place / "learning_curve.json"
    document = read_sidecar(source, SCHEMA)
    verdicts = entry(document, "verdicts", list, source)
    if not all(isinstance(sentence, str) for sentence in verdicts):
        raise InputFileError(f"{source}: verdicts must be a list of sentences")
    tables: dict[str, Any] = {name: read_rows(place / file, cls) for name, (file, cls) in _TABLES.items()}
    return LearningCurve(verdicts=tuple(verdicts), warnings=document["warnings"], origin=document["origin"], **tables)
