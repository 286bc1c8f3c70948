"""Many fits, each judged on its tests and kept: what is finished is never computed again.

:func:`run_fits` is the one place where a learning curve trains.  Every fit has a name that is the SHA-256 of everything
that decides it; its rows and predictions lie in two files of that name, each the whole one or not there.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass, replace
from pathlib import Path
from typing import Any, cast
from zipfile import BadZipFile

import numpy as np

from phonograph.atomic import replacing
from phonograph.errors import InputFileError
from phonograph.evaluation.scoring import score, training_mean, trivial
from phonograph.files.rows import read_rows, write_rows
from phonograph.models import predict
from phonograph.models.spec import describe
from phonograph.run_folder import code_hash, package_versions
from phonograph.training import FitJob, fit_many
from phonograph.types import CurvePredictions, CurveRow, Fitted, FloatArray, GraphSet, Labels, Predictions, Progress

CHECKPOINTS = "checkpoints"


@dataclass(frozen=True, kw_only=True, eq=False)
class FitUnit:
    """One network of a learning curve, and what it is tested on.

    Attributes
    ----------
    job
        The fit; its name and checkpoint are set by :func:`run_fits`.
    size, candidate
        Number of labels it is given, and which of several settings it is.
    tests
        Name → sample ids.
    available
        Name → labelled samples of all parts of the tested sets.
    label_core_hours
        What its labels have cost; NaN where it is not known.  This and ``available`` decide no prediction: they are
        written into the rows when these are read, so that other values train nothing again.
    """

    job: FitJob
    size: int
    candidate: str
    tests: Mapping[str, tuple[str, ...]]
    available: Mapping[str, int]
    label_core_hours: float = math.nan


@dataclass(frozen=True, kw_only=True, eq=False)
class FitOutcome:
    """What is kept of one unit: its rows (per test and scope) and its predictions (per test)."""

    rows: tuple[CurveRow, ...]
    predictions: tuple[CurvePredictions, ...]


def run_fits(
    graphs: GraphSet,
    labels: Labels,
    units: Sequence[FitUnit],
    folder: Path,
    *,
    workers: int = 1,
    progress: Progress | None = None,
) -> tuple[FitOutcome, ...]:
    """Train every unit that is not finished in ``folder``, judge it, and return all outcomes in the order of ``units``.

    Parameters
    ----------
    graphs, labels
        All samples that the units name.
    units
        What to train and to test.
    folder
        Holds ``<name>.csv`` and ``<name>.npz`` of every finished unit, and checkpoints of the others.
    workers
        Processes that train.
    progress
        Called as ``progress("learning curve", done, total)``.

    Raises
    ------
    UserError
        What :func:`phonograph.training.fit_many` raises; finished units are kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data = _Data.of(graphs, labels)
    names = [data.name(unit) for unit in units]
    missing = {name: unit for name, unit in zip(names, units, strict=True) if not _finished(folder, name)}
    done = len(set(names)) - len(missing)
    total = len(set(names))

    def keep(fitted: Fitted) -> None:
        nonlocal done
        _save(folder, fitted.name, _judge(fitted, missing[fitted.name], data))
        for path in (folder / CHECKPOINTS).glob(f"{fitted.name}*"):
            path.unlink()
        done += 1
        if progress is not None:
            progress("learning curve", done, total)

    if progress is not None:
        progress("learning curve", done, total)
    jobs = [_named(unit.job, name, folder) for name, unit in missing.items()]
    if jobs:
        fit_many(graphs, labels, jobs, workers=workers, on_result=keep)
    return tuple(_load(folder, name, unit) for name, unit in zip(names, units, strict=True))


def _named(job: FitJob, name: str, folder: Path) -> FitJob:
    return replace(job, name=name, checkpoint=folder / CHECKPOINTS / f"{name}.safetensors")


@dataclass(frozen=True, kw_only=True, eq=False)
class _Data:
    """Graphs and labels, where each sample is, and the SHA-256 of each graph."""

    graphs: GraphSet
    labels: Labels
    place: Mapping[str, int]
    hashes: Mapping[str, bytes]

    @classmethod
    def of(cls, graphs: GraphSet, labels: Labels) -> _Data:
        place = {sample: position for position, sample in enumerate(graphs.sample_ids)}
        hashes = {sample: _graph_hash(graphs, position) for sample, position in place.items()}
        return cls(graphs=graphs, labels=labels, place=place, hashes=hashes)

    def name(self, unit: FitUnit) -> str:
        """Return the SHA-256 of everything that decides the rows of a unit."""
        job = unit.job
        data = {part: self._content(job.target, ids) for part, ids in self._parts(unit)}
        settings = {key: value for key, value in asdict(job.settings).items() if key != "checkpoint_s"}
        fields: Mapping[str, Any] = asdict(cast(Any, job.model)) if is_dataclass(job.model) else {}
        plain = [
            [describe(job.model), fields, settings, job.target, job.unit, job.trained_on, job.seed],
            [unit.size, unit.candidate, self.graphs.spec.cutoff_A, data],
            [package_versions()["torch"], code_hash("training")],
        ]
        return hashlib.sha256(json.dumps(plain, default=repr).encode()).hexdigest()[:32]

    def _parts(self, unit: FitUnit) -> list[tuple[str, tuple[str, ...]]]:
        split = unit.job.split
        return [("train", split.train), ("validation", split.validation), *sorted(unit.tests.items())]

    def _content(self, target: str, ids: Sequence[str]) -> str:
        digest = hashlib.sha256("\x1f".join(ids).encode())
        digest.update(self.labels.aligned(target, ids).tobytes())
        for sample in ids:
            digest.update(self.hashes[sample])
        return digest.hexdigest()

    def truth(self, target: str, ids: Sequence[str]) -> tuple[tuple[str, ...], FloatArray]:
        """Return the samples that have a label, and their labels."""
        values = self.labels.aligned(target, ids)
        known = np.isfinite(values)
        return tuple(sample for sample, has in zip(ids, known, strict=True) if has), values[known]

    def predict(self, fitted: Fitted, ids: Sequence[str]) -> FloatArray:
        if not ids:
            return np.zeros(0)
        return predict(fitted, self.graphs.select([self.place[sample] for sample in ids]))


def _graph_hash(graphs: GraphSet, position: int) -> bytes:
    nodes = slice(int(graphs.node_offsets[position]), int(graphs.node_offsets[position + 1]))
    edges = slice(int(graphs.edge_offsets[position]), int(graphs.edge_offsets[position + 1]))
    digest = hashlib.sha256()
    for array in (graphs.numbers[nodes], graphs.source[edges], graphs.target[edges], graphs.distance_A[edges]):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.digest()


def _judge(fitted: Fitted, unit: FitUnit, data: _Data) -> FitOutcome:
    """Test one network on everything its unit names."""
    mean = training_mean(fitted, data.labels)
    validated, truth = data.truth(fitted.target, fitted.split.validation)
    error = float(np.abs(data.predict(fitted, validated) - truth).mean())
    predictions = [_predict(fitted, unit, data, name, ids) for name, ids in unit.tests.items()]
    rows = [row for item in predictions for row in _rows(fitted, unit, item, mean, error)]
    return FitOutcome(rows=tuple(rows), predictions=tuple(predictions))


def _predict(fitted: Fitted, unit: FitUnit, data: _Data, name: str, ids: Sequence[str]) -> CurvePredictions:
    chosen, truth = data.truth(fitted.target, ids)
    return CurvePredictions(
        target=fitted.target,
        trained_on=fitted.trained_on,
        tested_on=name,
        size=unit.size,
        seed=fitted.seed,
        candidate=unit.candidate,
        sample_ids=chosen,
        truth=truth,
        prediction=data.predict(fitted, chosen),
        train_range=fitted.train_range,
    )


def _rows(
    fitted: Fitted, unit: FitUnit, item: CurvePredictions, mean: float, validation_mae: float
) -> Sequence[CurveRow]:
    plain = Predictions(
        target=fitted.target,
        unit=fitted.unit,
        model=fitted.name,
        trained_on=fitted.trained_on,
        tested_on=item.tested_on,
        split="test",
        seed=fitted.seed,
        sample_ids=item.sample_ids,
        truth=item.truth,
        prediction=item.prediction,
    )
    naive = {line.scope: line.mae for line in score(trivial(plain, mean), fitted.train_range)}
    batches = max(1, math.ceil(len(fitted.split.train) / unit.job.settings.batch_size))
    return [
        CurveRow(
            target=fitted.target,
            unit=fitted.unit,
            trained_on=fitted.trained_on,
            tested_on=item.tested_on,
            size=unit.size,
            seed=fitted.seed,
            candidate=unit.candidate,
            chosen=0,
            scope=line.scope,
            n=line.n,
            n_train=len(fitted.split.train),
            n_validation=len(fitted.split.validation),
            n_available=0,
            mae=line.mae,
            rmse=line.rmse,
            r2=line.r2,
            pearson_r2=line.pearson_r2,
            naive_mae=naive[line.scope],
            validation_mae=validation_mae,
            best_epoch=fitted.best_epoch,
            epochs=len(fitted.history),
            steps=batches * len(fitted.history),
        )
        for line in score(plain, fitted.train_range)
    ]


def _finished(folder: Path, name: str) -> bool:
    # The table is written last.
    return (folder / f"{name}.csv").is_file() and (folder / f"{name}.npz").is_file()


def _save(folder: Path, name: str, outcome: FitOutcome) -> None:
    arrays: dict[str, Any] = {}
    for item in outcome.predictions:
        arrays[f"{item.tested_on}.sample_ids"] = np.array(item.sample_ids, dtype=np.str_)
        arrays[f"{item.tested_on}.truth"] = item.truth
        arrays[f"{item.tested_on}.prediction"] = item.prediction
        arrays["train_range"] = np.array(item.train_range)
    with replacing(folder / f"{name}.npz") as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays)
    write_rows(folder / f"{name}.csv", CurveRow, outcome.rows)


def _load(folder: Path, name: str, unit: FitUnit) -> FitOutcome:
    path = folder / f"{name}.npz"
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            low, high = arrays["train_range"].tolist()
            predictions = tuple(
                CurvePredictions(
                    target=unit.job.target,
                    trained_on=unit.job.trained_on,
                    tested_on=test,
                    size=unit.size,
                    seed=unit.job.seed,
                    candidate=unit.candidate,
                    sample_ids=tuple(arrays[f"{test}.sample_ids"].tolist()),
                    truth=arrays[f"{test}.truth"],
                    prediction=arrays[f"{test}.prediction"],
                    train_range=(low, high),
                )
                for test in unit.tests
            )
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise InputFileError(f"{path} is damaged ({error}); remove it and run again: it is computed anew") from error
    rows = read_rows(folder / f"{name}.csv", CurveRow)
    return FitOutcome(rows=tuple(_completed(row, unit) for row in rows), predictions=predictions)


def _completed(row: CurveRow, unit: FitUnit) -> CurveRow:
    return replace(row, n_available=unit.available[row.tested_on], label_core_hours=unit.label_core_hours)
