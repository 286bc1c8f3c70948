"""How far a labelling has come: what is done, failed, waiting and missing, what it cost, and how long it will take."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from heapq import nlargest
from pathlib import Path

from phonograph.errors import ConfigurationError
from phonograph.labels.costs import SECONDS_PER_HOUR
from phonograph.labels.failures import PASSING
from phonograph.labels.rows import LoggedAttempt
from phonograph.labels.schema import OK
from phonograph.labels.store import LabelStore, open_store
from phonograph.labels.task import Calculation, calculation, structure_bytes
from phonograph.types import Configurations, Labeller

NEWEST = 5
_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


@dataclass(frozen=True, kw_only=True)
class EngineStatus:
    """How far one engine has come with the structures of all sets.

    Attributes
    ----------
    engine, provides
        The engine and its properties.
    structures
        Different structures; identical ones are labelled once.
    done
        Labels with values.
    failed
        Class of failure → labels; holes that are tried again only on request.
    waiting
        Labels whose last attempt said that someone else has to run or to install something, by class.
    missing
        Labels that no attempt has decided, those of ``waiting`` not counted.
    damaged
        Stored labels that fail their checksum; they are computed again, and count as missing.
    core_hours
        Core-hours spent, failed attempts included.
    seconds_per_label
        Mean wall time of a finished label with all its attempts, s; NaN before the first.
    """

    engine: str
    provides: tuple[str, ...]
    structures: int
    done: int
    failed: Mapping[str, int]
    waiting: Mapping[str, int]
    missing: int
    damaged: int
    core_hours: float
    seconds_per_label: float

    def seconds_left(self, workers: int) -> float:
        """Return the time for the missing labels with so many labels at a time, s; NaN where no label is finished."""
        return self.missing * self.seconds_per_label / workers if self.missing else 0.0


@dataclass(frozen=True, kw_only=True)
class RecentFailure:
    """A failed attempt: when, which sample (the first of its structure), which engine, what happened."""

    ended: str
    sample_id: str
    engine: str
    failure: str
    message: str


@dataclass(frozen=True, kw_only=True)
class LabelStatus:
    """How far a labelling has come, per engine, with the newest failed attempts; ``str()`` gives it as text."""

    samples: int
    engines: tuple[EngineStatus, ...]
    newest_failures: tuple[RecentFailure, ...]
    workers: int
    warnings: tuple[str, ...] = field(default=())

    @property
    def seconds_left(self) -> float:
        """Time for all missing labels with ``workers`` labels at a time, s; NaN where it cannot be known yet."""
        return sum(engine.seconds_left(self.workers) for engine in self.engines)

    def __str__(self) -> str:
        lines = []
        for engine in self.engines:
            lines += _engine_lines(engine, self.samples, self.workers)
        if self.newest_failures:
            lines.append("newest failures:")
        for one in self.newest_failures:
            program = one.engine.partition(";")[0]  # its settings are told above
            lines.append(f"  {one.ended}  {one.sample_id}  {one.failure}: {one.message} ({program})")
        return "\n".join([*lines, *(f"note: {warning}" for warning in self.warnings)])


def label_status(
    store: LabelStore | str | os.PathLike[str],
    sets: Sequence[Configurations],
    labellers: Sequence[Labeller],
    *,
    workers: int = 1,
) -> LabelStatus:
    """Return how far the labels of ``sets`` by ``labellers`` are; also while a driver writes, and before the first.

    Parameters
    ----------
    store
        An open store or its path; where there is no file yet, everything is missing.
    sets, labellers
        As for :func:`phonograph.labels.label`.
    workers
        Labels at a time, for the estimate of the time left.

    Raises
    ------
    ConfigurationError
        ``workers`` below 1.
    InputFileError
        A store that cannot be read.
    """
    if workers < 1:
        raise ConfigurationError(f"workers must be 1 or more for an estimate of the time left; got {workers}")
    if isinstance(store, LabelStore):
        return _status(store, sets, labellers, workers)
    # SQLite begins with an empty file, which a first run that is killed just then leaves.
    if not Path(store).exists() or (Path(store).is_file() and not Path(store).stat().st_size):
        return _status(None, sets, labellers, workers)
    with open_store(store) as opened:
        return _status(opened, sets, labellers, workers)


def _status(
    store: LabelStore | None, sets: Sequence[Configurations], labellers: Sequence[Labeller], workers: int
) -> LabelStatus:
    owners: dict[bytes, str] = {}
    for configurations in sets:
        for sample, crystal in zip(configurations.ids, configurations.crystals(), strict=True):
            owners.setdefault(structure_bytes(crystal).key, sample)
    engines, failures = [], []
    for item in (calculation(labeller) for labeller in labellers):
        status, failed = _engine(store, list(owners), item)
        engines.append(status)
        failures += [(attempt.ended, item.engine, attempt) for attempt in failed]
    newest = nlargest(NEWEST, failures, key=lambda one: one[0])
    return LabelStatus(
        samples=sum(len(configurations) for configurations in sets),
        engines=tuple(engines),
        newest_failures=tuple(
            RecentFailure(
                ended=ended,
                sample_id=owners[attempt.structure],
                engine=engine,
                failure=attempt.status,
                message=attempt.message,
            )
            for ended, engine, attempt in newest
        ),
        workers=workers,
        warnings=store.warnings if store else (),
    )


def _engine(
    store: LabelStore | None, keys: Sequence[bytes], item: Calculation
) -> tuple[EngineStatus, list[LoggedAttempt]]:
    found = store.find_many(keys, item) if store else []
    decided = {key for key, one in zip(keys, found, strict=False) if one.result is not None}
    failed = Counter(one.result.failure for one in found if one.result is not None)
    done = failed.pop("", 0)
    last: dict[bytes, str] = {}
    core_seconds = seconds = 0.0
    failures: list[LoggedAttempt] = []
    for attempt in store.attempts(keys, item) if store else ():
        last[attempt.structure] = attempt.status
        core_seconds += attempt.core_seconds
        if attempt.structure in decided:
            seconds += attempt.seconds
        if attempt.status not in (OK, *PASSING):
            failures = nlargest(NEWEST, [*failures, attempt], key=lambda one: one.ended)
    waiting = Counter(status for key, status in last.items() if key not in decided and status in PASSING)
    return (
        EngineStatus(
            engine=item.engine,
            provides=item.provides,
            structures=len(keys),
            done=done,
            failed=dict(sorted(failed.items())),
            waiting=dict(sorted(waiting.items())),
            missing=len(keys) - len(decided) - waiting.total(),
            damaged=sum(one.damaged for one in found),
            core_hours=core_seconds / SECONDS_PER_HOUR,
            seconds_per_label=seconds / len(decided) if decided else math.nan,
        ),
        failures,
    )


def _engine_lines(engine: EngineStatus, samples: int, workers: int) -> list[str]:
    counts = [f"done {engine.done}", f"failed {_counted(engine.failed)}"]
    counts += [_waiting(engine.waiting)] if engine.waiting else []
    counts += [f"missing {engine.missing}"]
    counts += [f"damaged {engine.damaged}"] if engine.damaged else []
    cost = f"{engine.core_hours:.3g} core-hours"
    if not math.isnan(engine.seconds_per_label):
        cost += f", {engine.seconds_per_label:.3g} s per label"
    left = engine.seconds_left(workers)
    if engine.missing:
        each = "1 worker" if workers == 1 else f"{workers} workers"
        cost += (
            "; time left unknown before the first label" if math.isnan(left) else f"; {_time(left)} left with {each}"
        )
    of = f"{engine.structures} structures" + (f" ({samples} samples)" if samples != engine.structures else "")
    return [f"{', '.join(engine.provides)} by {engine.engine}: {of}", f"  {', '.join(counts)}", f"  {cost}"]


def _counted(classes: Mapping[str, int]) -> str:
    listed = ", ".join(f"{count} {name}" for name, count in classes.items())
    return f"{sum(classes.values())} ({listed})" if classes else "0"


def _waiting(classes: Mapping[str, int]) -> str:
    return f"waiting {_counted(classes)}" if set(classes) != {"waiting"} else f"waiting {classes['waiting']}"


def _time(seconds: float) -> str:
    """Return ``about 2 h 5 min``: the two largest units."""
    parts, rest = [], max(1, round(seconds))
    for unit, size in _UNITS:
        count, rest = divmod(rest, size)
        parts += [(count, unit)]
    first = next(place for place, (count, _) in enumerate(parts) if count)
    return "about " + " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count)
