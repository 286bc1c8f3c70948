"""Label configurations: look up what is known, compute what is missing, name every hole."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from phonograph.errors import ConfigurationError, DataError
from phonograph.labels.execution.pool import Job, Outcome, WorkerPool, count_workers
from phonograph.labels.failures import failure
from phonograph.labels.store import Attempt, LabelStore, open_store
from phonograph.labels.task import Calculation, StructureBytes, calculation, property_unit, structure_bytes
from phonograph.types import (
    ZERO_GAP_EV,
    Configurations,
    Crystal,
    LabelColumn,
    Labeller,
    LabelResult,
    Labels,
    Origin,
    Progress,
)

COMMIT_S = 0.5
COMMIT_SHARE = 0.05
"""A label is on disk within half a second; earlier where commits, which wait for the disk, take under 5 % of the time.

Labels that take longer than that are committed one by one, faster ones together.
"""

_EDGES = ("vbm_eV", "cbm_eV")


@dataclass
class _Work:
    """Everything one call needs: samples, unique structures, calculations, and results as they come.

    ``results[structure][calculation]``; structures are unique by content and keep the order of first appearance.
    """

    sample_ids: list[str] = field(default_factory=list)
    set_names: list[str] = field(default_factory=list)
    sample_structure: list[int] = field(default_factory=list)
    structures: list[StructureBytes] = field(default_factory=list)
    places: list[tuple[Configurations, int]] = field(default_factory=list)
    calculations: list[Calculation] = field(default_factory=list)
    results: list[list[LabelResult | None]] = field(default_factory=list)
    damaged: int = 0

    def crystal(self, structure: int) -> Crystal:
        configurations, position = self.places[structure]
        return configurations.crystal(position)

    @property
    def total(self) -> int:
        return len(self.structures) * len(self.calculations)


def label(
    sets: Sequence[Configurations],
    labellers: Sequence[Labeller],
    store: str | os.PathLike[str],
    *,
    workers: int = 0,
    timeout_s: float = 600.0,
    retry_failed: bool = False,
    progress: Progress | None = None,
) -> Labels:
    """Label every configuration of ``sets`` with every labeller.

    What the store knows is not computed again; identical structures are computed once.  A label that fails is a named
    hole (NaN, with the reason in ``status``) and the run goes on.  The call can be interrupted at any time, also by
    kill -9: labels reported to ``progress`` are on disk, and the next call continues from there.

    Workers are spawned processes: in a script, call this under ``if __name__ == "__main__":``.

    Parameters
    ----------
    sets
        Sets with different names.
    labellers
        Engines whose properties do not overlap; their order is the order of the columns.
    store
        SQLite file, made where missing; one call at a time may write to it.
    workers
        Worker processes with one thread each; 0: one per core this process may use.
    timeout_s
        Time limit of one label, s, not counting the loading of the engine.
    retry_failed
        Compute again what failed in an earlier call.  Off by default: the same input mostly fails in the same way,
        and a table should not depend on how often it was asked for.
    progress
        Called as ``progress("labels", done, total)`` with labels that are on disk.

    Returns
    -------
    Labels
        One column per property, in the units of :data:`phonograph.types.PROPERTY_UNITS`.

    Raises
    ------
    ConfigurationError
        No labeller, two labellers for one property, or a labeller that a worker process cannot rebuild.
    MissingEngineError
        An engine that is not installed; raised before any work begins.
    DataError
        No configurations, or two with the same sample id.
    InputFileError
        A store that cannot be opened or written, or that another process is writing.
    """
    if not timeout_s > 0:
        raise ConfigurationError(f"timeout_s must be greater than 0; got {timeout_s!r}")
    count = count_workers(workers)
    work = _plan(sets, labellers)
    with open_store(Path(store), "write") as book:
        missing = _look_up(work, book, retry_failed)
        _compute(work, book, missing, min(count, max(1, len(missing))), timeout_s, progress)
    return _table(work, sets, labellers)


def _plan(sets: Sequence[Configurations], labellers: Sequence[Labeller]) -> _Work:
    if not labellers:
        raise ConfigurationError("labelling needs at least one labeller; got none")
    if not sets:
        raise DataError("labelling needs at least one set of configurations; got none")
    work = _Work(calculations=[calculation(labeller) for labeller in labellers])
    providers = Counter(name for item in work.calculations for name in item.provides)
    for name, times in providers.items():
        if times > 1:
            engines = " and ".join(c.engine for c in work.calculations if name in c.provides)
            raise ConfigurationError(f"property {name!r} is provided {times} times, by {engines}; keep one of them")
    known: dict[bytes, int] = {}
    for configurations in sets:
        work.sample_ids.extend(configurations.ids)
        work.set_names.extend([configurations.name] * len(configurations))
        for position, crystal in enumerate(configurations.crystals()):
            content = structure_bytes(crystal)
            if content.key not in known:
                known[content.key] = len(work.structures)
                work.structures.append(content)
                work.places.append((configurations, position))
            work.sample_structure.append(known[content.key])
    if len(set(work.sample_ids)) != len(work.sample_ids):
        raise DataError("sample ids must be unique: give the sets different names")
    work.results = [[None] * len(work.calculations) for _ in work.structures]
    return work


def _look_up(work: _Work, book: LabelStore, retry_failed: bool) -> list[tuple[int, int]]:
    """Fill in what the store knows; return the (structure, calculation) pairs to compute."""
    missing = []
    for s, structure in enumerate(work.structures):
        for c, item in enumerate(work.calculations):
            found = book.find(structure.key, item)
            work.damaged += found.damaged
            if found.result is None or (retry_failed and found.result.failure):
                missing.append((s, c))
            else:
                work.results[s][c] = found.result
    return missing


def _compute(
    work: _Work,
    book: LabelStore,
    missing: Sequence[tuple[int, int]],
    workers: int,
    timeout_s: float,
    progress: Progress | None,
) -> None:
    writer = _Writer(work=work, book=book, missing=missing, progress=progress)
    writer.tell()
    if not missing:
        return
    pool = WorkerPool([item.task for item in work.calculations], workers=workers, timeout_s=timeout_s)
    try:
        with contextlib.closing(pool.run(_jobs(work, missing))) as finished:
            for outcomes in finished:
                writer.take(outcomes)
    finally:
        writer.flush()


def _jobs(work: _Work, missing: Sequence[tuple[int, int]]) -> Iterator[Job]:
    """Yield jobs structure by structure, made only when they are needed, so that memory stays small."""
    for name, (s, c) in enumerate(missing):
        yield Job(name=name, labeller=c, crystal=work.crystal(s))


@dataclass
class _Writer:
    """Commits finished attempts in small batches and tells progress only of what is on disk."""

    work: _Work
    book: LabelStore
    missing: Sequence[tuple[int, int]]
    progress: Progress | None
    pending: list[tuple[Attempt, int, int]] = field(default_factory=list)
    next_commit: float = 0.0
    done: int = 0

    def take(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            s, c = self.missing[outcome.job.name]
            attempt = Attempt(
                structure=self.work.structures[s],
                calculation=self.work.calculations[c],
                result=outcome.result,
                final=outcome.final,
            )
            self.pending.append((attempt, s, c))
        if self.pending and time.monotonic() >= self.next_commit:
            self.flush()

    def flush(self) -> None:
        started = time.monotonic()
        self.book.record([attempt for attempt, _, _ in self.pending])
        ended = time.monotonic()
        self.next_commit = ended + min(COMMIT_S, (ended - started) / COMMIT_SHARE)
        for attempt, s, c in self.pending:
            if attempt.final:
                self.work.results[s][c] = attempt.result
                self.done += 1
        self.pending.clear()
        self.tell()

    def tell(self) -> None:
        if self.progress is not None:
            self.progress("labels", self.work.total - len(self.missing) + self.done, self.work.total)


def _table(work: _Work, sets: Sequence[Configurations], labellers: Sequence[Labeller]) -> Labels:
    columns = []
    for c, item in enumerate(work.calculations):
        for name in item.provides:
            found = [_result(work, s, c).values.get(name, np.nan) for s in work.sample_structure]
            columns.append(LabelColumn(name=name, unit=property_unit(name), values=np.array(found), engine=item.engine))
    return Labels(
        sample_ids=tuple(work.sample_ids),
        set_names=tuple(work.set_names),
        columns=tuple(columns),
        status=tuple(_status(work, s) for s in work.sample_structure),
        warnings=_warnings(work, columns),
        origin=_origin(work, sets, labellers),
    )


def _result(work: _Work, structure: int, calculation: int) -> LabelResult:
    result = work.results[structure][calculation]
    return result if result is not None else failure("crashed", "no attempt finished")


def _status(work: _Work, structure: int) -> str:
    parts = []
    for c, item in enumerate(work.calculations):
        result = _result(work, structure, c)
        if result.failure:
            parts.append(f"{', '.join(item.provides)}: {result.failure}: {result.message}")
    return "failed: " + "; ".join(parts) if parts else "ok"


def _warnings(work: _Work, columns: Sequence[LabelColumn]) -> tuple[str, ...]:
    sentences = []
    samples = len(work.sample_ids)
    for c, item in enumerate(work.calculations):
        classes = Counter(_result(work, s, c).failure for s in work.sample_structure)
        del classes[""]
        if classes:
            counts = ", ".join(f"{times} {kind}" for kind, times in sorted(classes.items()))
            sentences.append(
                f"{sum(classes.values())} of {samples} samples have no {', '.join(item.provides)} from {item.engine} "
                f"({counts}): named holes, tried again only on request (retry_failed)."
            )
    shared = samples - len(work.structures)
    if shared:
        sentences.append(f"{shared} of {samples} samples repeat a structure; each structure was labelled once.")
    if work.damaged:
        sentences.append(f"{work.damaged} stored labels failed their checksum and were computed again.")
    return (*sentences, *_gap_warnings(columns))


def _gap_warnings(columns: Sequence[LabelColumn]) -> Iterator[str]:
    names = [column.name for column in columns]
    for column in columns:
        zero = int((column.values <= ZERO_GAP_EV).sum()) if column.name == "band_gap_eV" else 0
        if zero:
            yield f"{zero} of {len(column.values)} band gaps are zero (≤ {ZERO_GAP_EV:g} eV); they are kept as values."
    edges = [name for name in _EDGES if name in names]
    if edges:
        yield (
            f"{' and '.join(edges)}: raw eigenvalues of one periodic calculation each; their zero of energy is not "
            "shared between cells, so values of different lattices or compositions must not be compared."
        )


def _origin(work: _Work, sets: Sequence[Configurations], labellers: Sequence[Labeller]) -> Origin:
    settings = [
        {"labeller": type(labeller).__qualname__, "engine": item.engine, "settings": json.loads(item.settings)}
        for labeller, item in zip(labellers, work.calculations, strict=True)
    ]
    inputs: dict[str, str] = {}
    for configurations in sets:
        keys = b"".join(
            work.structures[s].key
            for s, name in zip(work.sample_structure, work.set_names, strict=True)
            if name == configurations.name
        )
        inputs[configurations.name] = hashlib.sha256(keys).hexdigest()
    versions: dict[str, Any] = {"numpy": metadata.version("numpy")}
    for item in work.calculations:
        package, _, rest = item.engine.partition(" ")
        versions[package] = rest.split(" ")[0].rstrip(";")
    return Origin(room="labels", settings={"labellers": settings}, inputs=inputs, versions=versions)
