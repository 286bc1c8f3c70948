"""What a worker does with a job of fits: train the networks of one unit, judge each, and keep what is large.

The job names graphs, labels, splits and tests by the SHA-256 of their content; they lie beside the table of jobs (see
:mod:`phonograph.files.shelf`).  Checkpoints lie in the job's own folder, so that the next attempt goes on.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from phonograph.atomic import replacing
from phonograph.errors import DataError, one_line
from phonograph.evaluation.scoring import score
from phonograph.execution.dispatch import found_entry
from phonograph.files.bundle import save_bundle
from phonograph.files.safety import sha256_of
from phonograph.files.shelf import Shelf
from phonograph.models import predict
from phonograph.training import FitJob, TrainingSettings
from phonograph.training.jobs import TimedFit
from phonograph.training.stack import plan_stacks, train_jobs
from phonograph.types import Fitted, FloatArray, GraphSet, Labels, Predictions, Split

PREDICTIONS = "predictions.npz"
VALIDATION = "validation"
"""Name of the test that every fit has: its own validation part."""


def planned_units(fits: Sequence[FitJob]) -> list[list[int]]:
    """Return which fits are trained together, as places in ``fits``: a pure function of the fits.

    The units are the jobs, so the plan must not depend on what is finished.
    """
    return plan_stacks(fits)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Member:
    job: FitJob
    tests: Mapping[str, tuple[str, ...]]
    start: Path | None
    resumable: bool
    keep: bool


def fit_unit(parameters: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
    """Train the fits of one unit and judge them; see :class:`phonograph.jobs.Job`."""
    import torch

    from phonograph.training import loop  # noqa: F401 - what takes long to load is no training time

    torch.set_num_threads(1)
    shelf = Shelf(folder.parent.with_name(folder.parent.name.removesuffix(".jobs") + ".inputs"))
    graphs, labels = _inputs(shelf, parameters["graphs"], parameters["labels"])
    members = [_member(plain, shelf, folder) for plain in parameters["members"]]
    arrays: dict[str, Any] = {}
    told = []
    bundles: dict[str, str] = {}
    for place, (member, (fitted, seconds)) in enumerate(
        zip(members, _trained(graphs, labels, members, folder), strict=True)
    ):
        if isinstance(fitted, str):
            told.append({"name": member.job.name, "failure": fitted, **_nothing(seconds)})
            continue
        told.append(_judged(fitted, member, graphs, labels, arrays, f"{place}.") | {"seconds": seconds})
        if member.keep:
            bundle = folder / f"model-{place}"
            save_bundle(fitted, bundle)
            bundles |= {file.relative_to(folder).as_posix(): sha256_of(file) for file in sorted(bundle.iterdir())}
    with replacing(folder / PREDICTIONS) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays)
    if not any(member.resumable for member in members):
        for path in folder.glob("checkpoint-*"):
            path.unlink()
    return {"members": told, PREDICTIONS: sha256_of(folder / PREDICTIONS), "bundles": bundles}


_graphs: dict[str, GraphSet] = {}
_labels: dict[str, Labels] = {}
"""State of this worker process: the inputs of its last job; targets share the graphs."""


def _inputs(shelf: Shelf, graphs: str, labels: str) -> tuple[GraphSet, Labels]:
    if graphs not in _graphs:
        _graphs.clear()
        _graphs[graphs] = shelf.graphs(graphs)
    if labels not in _labels:
        _labels.clear()
        _labels[labels] = shelf.labels(labels)
    return _graphs[graphs], _labels[labels]


def _member(plain: Mapping[str, Any], shelf: Shelf, folder: Path) -> _Member:
    parts = shelf.get(plain["split"])
    split = Split(train=tuple(parts["train"]), validation=tuple(parts["validation"]), test=(), seed=int(parts["seed"]))
    fields = {name: tuple(v) if isinstance(v, list) else v for name, v in plain["fields"].items()}
    joint: dict[str, Any] = {"heads": tuple(plain["heads"])} if plain["heads"] else {}
    job = FitJob(
        name=plain["name"],
        split=split,
        model=found_entry(plain["model"])(**fields),
        target=plain["target"],
        settings=TrainingSettings(**plain["settings"]),
        trained_on=plain["trained_on"],
        unit=plain["unit"],
        seed=plain["seed"],
        **joint,
    )
    start = plain["start"]
    return _Member(
        job=job,
        tests={name: tuple(shelf.get(ids)) for name, ids in plain["tests"].items()},
        start=_checkpoint(folder.parent / str(start[0]), int(start[1])) if start else None,
        resumable=plain["resumable"],
        keep=plain["keep"],
    )


def _checkpoint(folder: Path, place: int) -> Path:
    return folder / f"checkpoint-{place}.safetensors"


def _trained(
    graphs: GraphSet, labels: Labels, members: Sequence[_Member], folder: Path
) -> list[tuple[Fitted | str, float]]:
    """Train one unit; each fit gives a network or the sentence why not, and its wall time, s."""
    checkpoint = _checkpoint(folder, 0)
    start = members[0].start
    if start is not None and start.is_file() and not checkpoint.exists():
        _copy(start, checkpoint)
    results = train_jobs(graphs, labels, [member.job for member in members], checkpoint, None)
    return [(one.fitted, one.seconds) if isinstance(one, TimedFit) else (one_line(str(one)), 0.0) for one in results]


def _copy(source: Path, target: Path) -> None:
    """Copy a checkpoint so that a kill leaves none or the whole."""
    partial = target.with_suffix(".part")
    shutil.copyfile(source, partial)
    partial.replace(target)


def _nothing(seconds: float) -> dict[str, Any]:
    return {"scores": [], "warnings": [], "train_range": [0.0, 0.0], "training_mean": None, "seconds": seconds}


def _judged(
    fitted: Fitted, member: _Member, graphs: GraphSet, labels: Labels, arrays: dict[str, Any], prefix: str
) -> dict[str, Any]:
    """Return what is told of a network; its predictions go into ``arrays``."""
    place = {sample: position for position, sample in enumerate(graphs.sample_ids)}
    scores = []
    for name, ids in {VALIDATION: member.job.split.validation, **member.tests}.items():
        if missing := [sample for sample in ids if sample not in place]:
            raise DataError(f"{len(missing)} samples of the test {name!r} have no graph, the first is {missing[0]!r}")
        values = labels.aligned(fitted.target, ids)
        known = np.isfinite(values)
        chosen = tuple(sample for sample, has in zip(ids, known, strict=True) if has)
        positions = [place[sample] for sample in chosen]
        prediction = predict(fitted, graphs.select(positions)) if chosen else np.zeros(0)
        arrays[f"{prefix}{name}.ids"] = np.array(chosen, dtype=np.str_)
        arrays[f"{prefix}{name}.truth"] = values[known]
        arrays[f"{prefix}{name}.prediction"] = prediction
        scores += _scores(fitted, name, chosen, values[known], prediction)
    train = labels.aligned(fitted.target, fitted.split.train)
    return {
        "name": fitted.name,
        "failure": "",
        "scores": scores,
        "best_epoch": fitted.best_epoch,
        "epochs": len(fitted.history),
        "parameters": sum(_size(value) for name, value in fitted.weights.items() if "running_" not in name),
        "train_range": list(fitted.train_range),
        "training_mean": float(np.nanmean(train)),
        "n_train": int(np.isfinite(train).sum()),
        "n_validation": next(line["n"] for line in scores if line["scope"] == "all"),
        "warnings": list(fitted.warnings),
    }


def _size(value: Any) -> int:
    return int(np.prod(value.shape)) if value.ndim else 0


def _scores(
    fitted: Fitted, name: str, ids: tuple[str, ...], truth: FloatArray, prediction: FloatArray
) -> list[dict[str, Any]]:
    pairs = Predictions(
        target=fitted.target,
        unit=fitted.unit,
        model=fitted.name,
        trained_on=fitted.trained_on,
        tested_on=name,
        split="test",
        seed=fitted.seed,
        sample_ids=ids,
        truth=truth,
        prediction=prediction,
    )
    return [
        {
            "tested_on": name,
            "scope": line.scope,
            "n": line.n,
            **{key: _finite(getattr(line, key)) for key in ("mae", "rmse", "r2", "pearson_r2")},
        }
        for line in score(pairs, fitted.train_range)
    ]


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
