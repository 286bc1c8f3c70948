"""Label configurations: look up what is known, compute what is missing, name every hole."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from phonograph.errors import ConfigurationError
from phonograph.execution.pool import WorkerPool
from phonograph.execution.seam import Executor, Needs
from phonograph.labels.attempts import Attempt
from phonograph.labels.batches import Batches, Decided
from phonograph.labels.execution.entry import decides
from phonograph.labels.execution.task import label_needs
from phonograph.labels.plan import Place, Work, classes_to_retry, look_up, planned
from phonograph.labels.progress import Meter
from phonograph.labels.results import delete, results_folder, take_in, tidy
from phonograph.labels.store import LabelStore, open_store, own_path
from phonograph.labels.table import table_of
from phonograph.types import Configurations, Labeller, Labels, Progress

COMMIT_S = 0.5
COMMIT_SHARE = 0.05
"""A result file is in the store within half a second; earlier where commits, which wait for the disk, take under 5 %
of the time.

Labels that take longer than that are committed one by one, faster ones together.
"""


def label(
    sets: Sequence[Configurations],
    labellers: Sequence[Labeller],
    store: str | os.PathLike[str],
    *,
    workers: int = 0,
    timeout_s: float = 600.0,
    retry_failed: bool | Sequence[str] = False,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
    executor: Executor | None = None,
) -> Labels:
    """Label every configuration of ``sets`` with every labeller.

    What the store knows is not computed again; identical structures are computed once.  A label that fails is a named
    hole (NaN, with the reason in ``status``) and the run goes on.  The call can be interrupted at any time, also by
    kill -9: labels reported to ``progress`` are on disk, and the next call continues from there.  Workers write what
    they finish into ``<store>.results``; the next call also takes in what a killed one left there.

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
        Worker processes of this machine, each with one thread; 0: as many as its cores and its free memory allow.
    timeout_s
        Time limit of one label, s, not counting the loading of the engine.
    retry_failed
        Compute again what failed in an earlier call: all of it, or these failure classes.  Off by default: the same
        input mostly fails in the same way, and a table should not depend on how often it was asked for.  What only
        waited (a missing program, files to be calculated elsewhere) is tried by every call.
    progress
        Called as ``progress("labels", done, total)`` with labels that are on disk.
    say
        Called with a line of text once a minute (rate, time left, failures so far) and where something needs saying.
    executor
        What runs the tasks; the processes of this machine by default, and then ``workers`` counts.

    Returns
    -------
    Labels
        One column per property, in the units of :data:`phonograph.types.PROPERTY_UNITS`.

    Raises
    ------
    ConfigurationError
        No labeller, two labellers for one property, a labeller that a worker process cannot rebuild, or one that can
        label none of the structures for want of data of their elements.
    MissingEngineError
        An engine that is not installed; raised before any work begins.
    DataError
        No configurations, or two with the same sample id.
    InputFileError
        A store that cannot be opened or written, or that another process is writing.
    """
    if not timeout_s > 0:
        raise ConfigurationError(f"timeout_s must be greater than 0; got {timeout_s!r}")
    retry = classes_to_retry(retry_failed)
    runner = executor or WorkerPool(workers, say=say)
    work = planned(sets, labellers)
    path = own_path(store)
    with open_store(path, "write") as book:
        work.notes = book.warnings
        for configurations in sets:
            book.register(configurations, work.structures_of(configurations.name))
        runner.clear(results_folder(path))
        work.damaged_files = len(take_in(path, book).damaged)
        missing = look_up(work, book, retry)
        meter = Meter(total=work.total, known=work.total - len(missing), progress=progress, say=say)
        _compute(work, book, missing, runner, timeout_s, meter)
    tidy(path)
    return table_of(work, sets, labellers)


def _compute(
    work: Work, book: LabelStore, missing: Sequence[Place], runner: Executor, timeout_s: float, meter: Meter
) -> None:
    writer = _Writer(work=work, book=book, meter=meter)
    meter.tell()
    for cores in dict.fromkeys(work.calculations[c].cores for _, c in missing):
        places = [place for place in missing if work.calculations[place[1]].cores == cores]
        needs = _needs(work, places, timeout_s)
        batches = Batches(
            work=work,
            missing=places,
            places=runner.places(needs),
            timeout_s=timeout_s,
            folder=results_folder(book.path),
        )
        _run(runner, needs, batches, writer)
    meter.close()


def _needs(work: Work, places: Sequence[Place], timeout_s: float) -> Needs:
    items = [work.calculations[c] for c in dict.fromkeys(c for _, c in places)]
    return label_needs(items, len(places), timeout_s)


def _run(runner: Executor, needs: Needs, batches: Batches, writer: _Writer) -> None:
    try:
        with contextlib.closing(runner.run(needs, batches.next_task)) as ended:
            for finished in ended:
                writer.take([batches.ended(one) for one in finished])
    except KeyboardInterrupt:
        if not runner.leaves_work:
            writer.take(batches.salvage())
        raise
    finally:
        writer.flush()


@dataclass
class _Writer:
    """Commits finished attempts in small batches and tells progress only of what is in the store."""

    work: Work
    book: LabelStore
    meter: Meter
    pending: list[tuple[Attempt, Place]] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    next_commit: float = 0.0

    def take(self, ended: Sequence[Decided]) -> None:
        for decided in ended:
            self.pending.extend(decided.attempts)
            self.files.extend(decided.files)
        if self.pending and time.monotonic() >= self.next_commit:
            self.flush()

    def flush(self) -> None:
        """Store what has come, then delete the files it came in; a kill between the two is harmless."""
        started = time.monotonic()
        self.book.record([attempt for attempt, _ in self.pending])
        ended = time.monotonic()
        self.next_commit = ended + min(COMMIT_S, (ended - started) / COMMIT_SHARE)
        delete(self.files)
        for attempt, place in self.pending:
            if decides(attempt):
                self.work.keep(place, attempt.result)
                self.meter.count(attempt.result, attempt.cores)
        self.pending.clear()
        self.files.clear()
        self.meter.tell()
