"""The results of rooms 5–8 as CSV tables that anyone can open, with a JSON sidecar for what a table cannot hold.

=================  ===========================================================================
folder             files
=================  ===========================================================================
5_training         ``study.csv``, ``study.json``
6_evaluation       ``metrics.csv``, ``predictions.csv``, ``summary.csv``, ``intervals.csv``,
                   ``evaluation.json``
7_explanation      ``edges.csv``, ``bonds.csv``, ``fidelity.csv``, ``explanation.json``
8_thermal          ``curve.csv``, ``curve.json``
=================  ===========================================================================

A save and a load give the same values bit for bit; undefined numbers are ``nan`` in CSV and null in JSON.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from phonograph.errors import DataError, InputFileError
from phonograph.files.rows import read_rows, write_rows
from phonograph.files.sidecar import entry, read_sidecar, write_sidecar
from phonograph.types import (
    BondImportance,
    Crystal,
    Evaluation,
    Explanation,
    Fidelity,
    IntArray,
    Metric,
    MetricInterval,
    MetricSummary,
    Predictions,
    Skill,
    Study,
    StudyRow,
    ThermalCurve,
    ThermalPoint,
)

CURVE_COLUMNS = (
    "target",
    "temperature_K",
    "mean",
    "standard_error",
    "model_spread",
    "n",
    "unit",
    "out_of_range",
    "label_mean",
    "label_error",
    "label_n",
)


@dataclass(frozen=True, kw_only=True)
class _Prediction:
    target: str
    unit: str
    model: str
    trained_on: str
    tested_on: str
    split: str
    seed: int
    sample_id: str
    truth: float
    prediction: float


@dataclass(frozen=True, kw_only=True)
class _Edge:
    i: int
    j: int
    image: str
    distance_A: float
    species_pair: str
    shell: int
    importance: float
    importance_sd: float


def save_evaluation(evaluation: Evaluation, folder: str | os.PathLike[str]) -> None:
    """Write ``metrics.csv``, ``predictions.csv``, ``summary.csv``, ``skills.csv``, ``intervals.csv`` and the rest."""
    place = Path(folder)
    write_rows(place / "metrics.csv", Metric, evaluation.metrics)
    write_rows(place / "predictions.csv", _Prediction, _prediction_rows(evaluation.predictions))
    write_rows(place / "summary.csv", MetricSummary, evaluation.summary)
    write_rows(place / "skills.csv", Skill, evaluation.skills)
    write_rows(place / "intervals.csv", MetricInterval, evaluation.intervals)
    write_sidecar(place / "evaluation.json", "phonograph.evaluation/1", evaluation.warnings, evaluation.origin)


def load_evaluation(folder: str | os.PathLike[str]) -> Evaluation:
    """Read what :func:`save_evaluation` wrote; raises :class:`InputFileError` naming file and line."""
    place = Path(folder)
    document = read_sidecar(place / "evaluation.json", "phonograph.evaluation/1")
    rows = read_rows(place / "predictions.csv", _Prediction)
    intervals = place / "intervals.csv"  # which evaluations of the first versions lack
    return Evaluation(
        metrics=read_rows(place / "metrics.csv", Metric),
        predictions=tuple(
            _predictions(place, key, list(group)) for key, group in itertools.groupby(rows, key=_prediction_key)
        ),
        summary=read_rows(place / "summary.csv", MetricSummary),
        # Runs made before there were references have none.
        skills=read_rows(place / "skills.csv", Skill) if (place / "skills.csv").exists() else (),
        intervals=read_rows(intervals, MetricInterval) if intervals.is_file() else (),
        warnings=document["warnings"],
        origin=document["origin"],
    )


def _prediction_rows(predictions: Sequence[Predictions]) -> list[_Prediction]:
    return [
        _Prediction(
            sample_id=sample,
            truth=float(truth),
            prediction=float(value),
            **dict(zip(_KEYS, _prediction_key(p), strict=True)),
        )
        for p in predictions
        for sample, truth, value in zip(p.sample_ids, p.truth, p.prediction, strict=True)
    ]


_KEYS = ("target", "unit", "model", "trained_on", "tested_on", "split", "seed")


def _prediction_key(line: Predictions | _Prediction) -> tuple[Any, ...]:
    return tuple(getattr(line, name) for name in _KEYS)


def _predictions(place: Path, key: tuple[Any, ...], rows: list[_Prediction]) -> Predictions:
    with _naming(place / "predictions.csv"):
        return Predictions(
            sample_ids=tuple(row.sample_id for row in rows),
            truth=np.array([row.truth for row in rows]),
            prediction=np.array([row.prediction for row in rows]),
            **dict(zip(_KEYS, key, strict=True)),
        )


def save_explanation(explanation: Explanation, folder: str | os.PathLike[str]) -> None:
    """Write ``edges.csv`` (image as ``"a b c"``), ``bonds.csv``, ``fidelity.csv`` and ``explanation.json``."""
    place = Path(folder)
    write_rows(place / "edges.csv", _Edge, _edge_rows(explanation))
    write_rows(place / "bonds.csv", BondImportance, explanation.bonds)
    write_rows(place / "fidelity.csv", Fidelity, explanation.fidelity)
    crystal = explanation.crystal
    write_sidecar(
        place / "explanation.json",
        "phonograph.explanation/1",
        explanation.warnings,
        explanation.origin,
        model=explanation.model,
        target=explanation.target,
        stability=explanation.stability,
        crystal={
            "title": crystal.title,
            "cell_A": crystal.cell_A,
            "numbers": crystal.numbers,
            "positions_A": crystal.positions_A,
            "masses_amu": crystal.masses_amu,
        },
    )


def load_explanation(folder: str | os.PathLike[str]) -> Explanation:
    """Read what :func:`save_explanation` wrote; raises :class:`InputFileError` naming file and line."""
    place = Path(folder)
    source = place / "explanation.json"
    document = read_sidecar(source, "phonograph.explanation/1")
    edges = read_rows(place / "edges.csv", _Edge)
    stability = document.get("stability")
    with _naming(place):
        crystal = _crystal(entry(document, "crystal", dict, source), source)
        _check_atoms(place / "edges.csv", edges, len(crystal))
        return Explanation(
            model=entry(document, "model", str, source),
            target=entry(document, "target", str, source),
            crystal=crystal,
            i=np.array([edge.i for edge in edges], dtype=np.int64),
            j=np.array([edge.j for edge in edges], dtype=np.int64),
            image=_images(place / "edges.csv", edges),
            distance_A=np.array([edge.distance_A for edge in edges]),
            shell=np.array([edge.shell for edge in edges], dtype=np.int64),
            species_pair=tuple(edge.species_pair for edge in edges),
            importance=np.array([edge.importance for edge in edges]),
            importance_sd=np.array([edge.importance_sd for edge in edges]),
            bonds=read_rows(place / "bonds.csv", BondImportance),
            fidelity=read_rows(place / "fidelity.csv", Fidelity),
            stability=float("nan") if stability is None else float(entry(document, "stability", (int, float), source)),
            warnings=document["warnings"],
            origin=document["origin"],
        )


def _edge_rows(explanation: Explanation) -> list[_Edge]:
    return [
        _Edge(
            i=int(explanation.i[e]),
            j=int(explanation.j[e]),
            image=" ".join(str(step) for step in explanation.image[e]),
            distance_A=float(explanation.distance_A[e]),
            species_pair=pair,
            shell=int(explanation.shell[e]),
            importance=float(explanation.importance[e]),
            importance_sd=float(explanation.importance_sd[e]),
        )
        for e, pair in enumerate(explanation.species_pair)
    ]


def _check_atoms(path: Path, edges: Sequence[_Edge], atoms: int) -> None:
    for number, edge in enumerate(edges):
        if not (0 <= edge.i < atoms and 0 <= edge.j < atoms):
            raise InputFileError(
                f"{path} line {number + 2}: i and j must be atoms 0–{atoms - 1}; got {edge.i} and {edge.j}"
            )


def _images(path: Path, edges: Sequence[_Edge]) -> IntArray:
    images: list[list[int]] = []
    for number, edge in enumerate(edges):
        try:
            steps = [int(step) for step in edge.image.split()]
        except ValueError:
            steps = []
        if len(steps) != 3:
            raise InputFileError(f"{path} line {number + 2}: image must be three whole numbers; got {edge.image!r}")
        images.append(steps)
    return np.array(images, dtype=np.int64).reshape(-1, 3)


def _crystal(document: dict[str, Any], source: Path) -> Crystal:
    return Crystal(
        title=entry(document, "title", str, source),
        cell_A=entry(document, "cell_A", list, source),
        numbers=entry(document, "numbers", list, source),
        positions_A=entry(document, "positions_A", list, source),
        masses_amu=entry(document, "masses_amu", list, source),
    )


def save_thermal(curve: ThermalCurve, folder: str | os.PathLike[str]) -> None:
    """Write ``curve.csv`` and ``curve.json``."""
    place = Path(folder)
    write_rows(place / "curve.csv", ThermalPoint, curve.points, CURVE_COLUMNS)
    write_sidecar(
        place / "curve.json", "phonograph.thermal/1", curve.warnings, curve.origin, statistics=curve.statistics
    )


def load_thermal(folder: str | os.PathLike[str]) -> ThermalCurve:
    """Read what :func:`save_thermal` wrote; raises :class:`InputFileError` naming file and line."""
    place = Path(folder)
    document = read_sidecar(place / "curve.json", "phonograph.thermal/1")
    return ThermalCurve(
        points=read_rows(place / "curve.csv", ThermalPoint, CURVE_COLUMNS),
        statistics=entry(document, "statistics", str, place / "curve.json"),
        warnings=document["warnings"],
        origin=document["origin"],
    )


def save_study(study: Study, folder: str | os.PathLike[str]) -> None:
    """Write ``study.csv`` and ``study.json``."""
    place = Path(folder)
    write_rows(place / "study.csv", StudyRow, study.rows)
    write_sidecar(place / "study.json", "phonograph.study/1", study.warnings, study.origin)


def load_study(folder: str | os.PathLike[str]) -> Study:
    """Read what :func:`save_study` wrote; raises :class:`InputFileError` naming file and line."""
    place = Path(folder)
    document = read_sidecar(place / "study.json", "phonograph.study/1")
    return Study(
        rows=read_rows(place / "study.csv", StudyRow), warnings=document["warnings"], origin=document["origin"]
    )


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turn a value's own complaint into one that names the file it came from."""
    try:
        yield
    except DataError as error:
        raise InputFileError(f"{path}: {error}") from error
