"""Many fits as jobs of a table: each trained and judged once, on whatever executor, and restartable at any point.

:func:`run_fits` takes fits with their test sets and returns what came of them.  Graphs, labels and splits are packed
once into files beside the table that are named by their content; a job names these and the settings, so that a job's
name is everything that decides its result.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, cast

import numpy as np

from phonograph.errors import ConfigurationError, DataError
from phonograph.execution.seam import Executor
from phonograph.files.safety import sha256_of
from phonograph.files.shelf import Shelf
from phonograph.jobs import Job, JobResult, run_jobs
from phonograph.steps.fit_jobs import PREDICTIONS, VALIDATION, planned_units
from phonograph.training import FitJob
from phonograph.types import FloatArray, GraphSet, Labels, Progress

KIND = "phonograph.steps.fit_jobs:fit_unit"

_MEMORY_GB = 1.5
_CODE = (
    "training",
    "models",
    "types",
    "streams.py",
    "steps/fit_jobs.py",
    "evaluation/metrics.py",
    "evaluation/scoring.py",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class FitRequest:
    """One network to train, and what it is tested on.

    Attributes
    ----------
    job
        The fit; its ``checkpoint`` is not used, because every job has its own folder.
    tests
        Name → sample ids; the validation part is judged in any case, as ``"validation"``.
    start
        An earlier outcome of the same fit with fewer epochs, from whose last epoch this one goes on.
    resumable
        Whether a later request may start here.
    keep
        Whether the trained network is kept, as a bundle (:attr:`FitOutcome.bundle`).
    group
        Requests of different groups are never trained together, so that adding a group leaves the others' jobs as
        they are.
    """

    job: FitJob
    tests: Mapping[str, Sequence[str]] = field(default_factory=dict)
    start: FitOutcome | None = None
    resumable: bool = False
    keep: bool = False
    group: str = ""


@dataclass(frozen=True, kw_only=True)
class FitScore:
    """One network on one test set; ``mae`` and ``rmse`` in the target's unit, NaN where undefined."""

    tested_on: str
    scope: str
    n: int
    mae: float
    rmse: float
    r2: float
    pearson_r2: float


@dataclass(frozen=True, kw_only=True, eq=False)
class FitOutcome:
    """What came of a request.

    Attributes
    ----------
    name
        Name of the fit.
    failure
        Why there is no network, one line; empty where there is one.
    scores
        Per test and scope (``all``, ``in_range``, ``out_of_range`` of the training labels).
    best_epoch, epochs, parameters, train_range, training_mean, n_train, n_validation
        Of the trained network: ``epochs`` were trained, ``training_mean`` is what the trivial model predicts.
    core_seconds
        Wall time of its training times the cores that were held; of a stack, its share.
    warnings
        Sentences of the fit.
    folder, place
        The job's folder, and the network's place in it.
    """

    name: str
    failure: str
    folder: Path
    place: int
    scores: tuple[FitScore, ...] = ()
    best_epoch: int = 0
    epochs: int = 0
    parameters: int = 0
    train_range: tuple[float, float] = (math.nan, math.nan)
    training_mean: float = math.nan
    n_train: int = 0
    n_validation: int = 0
    core_seconds: float = 0.0
    warnings: tuple[str, ...] = ()

    def score(self, tested_on: str = VALIDATION, scope: str = "all") -> FitScore:
        """Return one of the scores."""
        return next(one for one in self.scores if (one.tested_on, one.scope) == (tested_on, scope))

    def predictions(self, tested_on: str) -> tuple[tuple[str, ...], FloatArray, FloatArray]:
        """Return sample ids, truth and prediction of a test set, labelled samples only, in the target's unit."""
        with np.load(self.folder / PREDICTIONS, allow_pickle=False) as arrays:
            names = [f"{self.place}.{tested_on}.{what}" for what in ("ids", "truth", "prediction")]
            ids, truth, prediction = (arrays[name] for name in names)
        return tuple(ids.tolist()), truth, prediction

    @property
    def bundle(self) -> Path:
        """Folder of the trained network, where it was asked to be kept."""
        return self.folder / f"model-{self.place}"


def run_fits(
    graphs: GraphSet,
    labels: Labels,
    requests: Sequence[FitRequest],
    table: Path,
    *,
    executor: Executor | None = None,
    workers: int = 0,
    timeout_s: float = math.inf,
    retry_failed: bool = False,
    purpose: str = "",
    what: str = "fits",
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
) -> tuple[FitOutcome, ...]:
    """Train and judge every request that the table does not have; return all outcomes in the order of ``requests``.

    A fit that fails (training diverged, a constant target) is a named failure, and the others go on.

    Parameters
    ----------
    graphs, labels
        All samples that the requests name, and no others that must not be seen: they are what is packed.
    requests
        What to train; the same request twice is trained once.
    table
        The SQLite file of the jobs.
    executor, workers, timeout_s, retry_failed, purpose, what, progress, say
        As for :func:`phonograph.jobs.run_jobs`; ``progress`` counts jobs, of which one may hold several fits.
    """
    shelf = shelf_of(table)
    packed = shelf.put_graphs(graphs)
    columns = _columns(labels, requests, shelf)
    units = sorted(_units(requests), key=lambda unit: -_cost(requests, unit))
    plain = [_plain(request, shelf) for request in requests]
    jobs = [
        Job(
            kind=KIND,
            parameters={
                "graphs": packed,
                "labels": columns(unit),
                "versions": _versions(),
                "members": [plain[place] for place in unit],
            },
            memory_GB=_MEMORY_GB,
            work=_cost(requests, unit),
        )
        for unit in units
    ]
    found = run_jobs(
        jobs,
        table,
        executor=executor,
        workers=workers,
        timeout_s=timeout_s,
        retry_failed=retry_failed,
        purpose=purpose,
        what=what,
        sound=_has_its_files,
        progress=progress,
        say=say,
    )
    outcomes: dict[int, FitOutcome] = {}
    for job, unit in zip(jobs, units, strict=True):
        for member, place in enumerate(unit):
            outcomes[place] = _outcome(found[job.key], member, requests[place].job)
    return tuple(outcomes[place] for place in range(len(requests)))


def _has_its_files(result: JobResult) -> bool:
    """Say whether predictions and kept bundles are as the worker left them."""
    files = {PREDICTIONS: result.result[PREDICTIONS], **result.result["bundles"]}
    return all((path := result.folder / name).is_file() and sha256_of(path) == sha for name, sha in files.items())


def _units(requests: Sequence[FitRequest]) -> list[list[int]]:
    """Return the units of work; what goes on from elsewhere, or is gone on from, has a checkpoint of its own."""
    units: list[list[int]] = []
    groups: dict[str, list[int]] = {}
    for place, one in enumerate(requests):
        if one.resumable or one.start is not None:
            units.append([place])
        else:
            groups.setdefault(one.group, []).append(place)
    for places in groups.values():
        planned = planned_units([requests[place].job for place in places])
        units += [[places[member] for member in unit] for unit in planned]
    return units


def shelf_of(table: Path) -> Shelf:
    """Return the packed inputs of a job table."""
    place = table.resolve()
    return Shelf(place.with_name(place.name + ".inputs"))


def _columns(labels: Labels, requests: Sequence[FitRequest], shelf: Shelf) -> Callable[[Sequence[int]], str]:
    """Return what packs the columns that a unit learns: more would make other jobs of the same fits."""
    learned = [{request.job.target, *getattr(request.job, "heads", ())} for request in requests]
    known = {column.name: column for column in labels.columns}
    if missing := sorted(set().union(*learned) - known.keys()):
        raise DataError(f"target {missing[0]!r} has no labels; the labels are {', '.join(known) or 'none'}")

    @cache
    def packed(names: tuple[str, ...]) -> str:
        columns = tuple(known[name] for name in names)
        return shelf.put_labels(dataclasses.replace(labels, columns=columns, warnings=()))

    return lambda unit: packed(tuple(sorted(set().union(*(learned[place] for place in unit)))))


def _cost(requests: Sequence[FitRequest], unit: Sequence[int]) -> float:
    """Estimate what a unit takes next to others: the longest start first, and the time left is told by it."""
    total = 0.0
    for place in unit:
        job = requests[place].job
        width = float(getattr(job.model, "hidden_channels", 64))
        layers = float(getattr(job.model, "convolutions", 2))
        total += job.settings.epochs * layers * (1.0 + width / 32.0) * max(1, len(job.split.train))
    return total


def _plain(request: FitRequest, shelf: Shelf) -> dict[str, Any]:
    job, model = request.job, cast(Any, request.job.model)
    if not dataclasses.is_dataclass(model) or isinstance(model, type):
        raise ConfigurationError(
            f"the model {type(model).__name__} must be a dataclass of plain fields at the top level of a module, so "
            "that a worker can rebuild it"
        )
    if VALIDATION in request.tests:
        raise ConfigurationError(f"no test can be called {VALIDATION!r}: that is the validation part; rename the set")
    split = {part: list(getattr(job.split, part)) for part in ("train", "validation")}
    return {
        "name": job.name,
        "model": f"{type(model).__module__}:{type(model).__qualname__}",
        "fields": dataclasses.asdict(model),
        "settings": {k: v for k, v in dataclasses.asdict(job.settings).items() if k != "checkpoint_s"},
        "target": job.target,
        "heads": list(getattr(job, "heads", ())),
        "unit": job.unit,
        "trained_on": job.trained_on,
        "seed": job.seed,
        "split": shelf.put({**split, "seed": job.split.seed}),
        "tests": {name: shelf.put(list(ids)) for name, ids in request.tests.items()},
        "start": [request.start.folder.name, request.start.place] if request.start is not None else [],
        "resumable": request.resumable,
        "keep": request.keep,
    }


@cache
def _versions() -> dict[str, str]:
    digest, root = hashlib.sha256(), Path(__file__).parents[1]
    for name in _CODE:
        place = root / name
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            digest.update(path.read_bytes())
    return {**{name: metadata.version(name) for name in ("torch", "numpy")}, "code": digest.hexdigest()[:16]}


def _outcome(found: JobResult, member: int, job: FitJob) -> FitOutcome:
    if found.failed:
        failure = f"{found.status}: {found.message}"
        return FitOutcome(
            name=job.name, failure=failure, folder=found.folder, place=member, core_seconds=found.seconds * found.cores
        )
    plain = dict(found.result["members"][member])
    scores = tuple(FitScore(**_undefined_as_nan(line)) for line in plain.pop("scores"))
    plain["train_range"] = tuple(plain["train_range"])
    plain["warnings"] = tuple(plain["warnings"])
    seconds = plain.pop("seconds") * found.cores
    return FitOutcome(
        folder=found.folder, place=member, scores=scores, core_seconds=seconds, **_undefined_as_nan(plain)
    )


def _undefined_as_nan(plain: Mapping[str, Any]) -> dict[str, Any]:
    return {name: math.nan if value is None else value for name, value in plain.items()}
