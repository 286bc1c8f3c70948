"""Run jobs: look up what is done, send the rest to workers, and take in what they leave."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from phonograph.errors import ConfigurationError, InputFileError
from phonograph.execution.pool import WorkerPool
from phonograph.execution.seam import Executor, Finished, Needs
from phonograph.jobs.entry import SUFFIX, JobTask, Outcome, load_outcome, now, preparation, timed_out
from phonograph.jobs.job import FAILURES, Job, JobResult
from phonograph.jobs.progress import JobMeter
from phonograph.jobs.table import JobTable, folder_of, open_jobs
from phonograph.types import Progress

LARGEST_DEATHS = 3
"""A job whose worker dies is started this often before it is the failure ``crashed``."""

COMMIT_S = 1.0
"""Finished jobs wait at most this long for their row."""

UNLIMITED_DRAIN_S = 600.0
"""Where jobs have no time limit, a block of a cluster starts none in its last ten minutes: one that is cut off goes on
from its own files, but a restart costs time."""

DAMAGED_SUFFIX = ".damaged"


def jobs_folder(table: Path) -> Path:
    """Return where the folders of a table's jobs lie."""
    return folder_of(table.resolve(), "x").parent


def run_jobs(
    jobs: Sequence[Job],
    table: str | os.PathLike[str],
    *,
    executor: Executor | None = None,
    workers: int = 0,
    timeout_s: float = math.inf,
    retry_failed: bool = False,
    purpose: str = "",
    what: str = "jobs",
    sound: Callable[[JobResult], bool] | None = None,
    holds_failures: Callable[[JobResult], bool] | None = None,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
) -> dict[str, JobResult]:
    """Do every job that the table does not have, and return the results of all by :attr:`Job.key`, in their order.

    A job that is done is never done again.  One that fails is a named failure, and the others go on.  The call can be
    interrupted at any time, also by kill -9: workers write what they finish into ``<table>.results``, and the next
    call takes it in.  A job that was cut off starts again in its own folder, ``<table>.jobs/<key>``, where it finds
    what it left.

    Workers are spawned processes: in a script, call this under ``if __name__ == "__main__":``.

    Parameters
    ----------
    jobs
        What to do; started in this order, so put the longest first.  The same job twice is done once.
    table
        SQLite file, made where missing; one call at a time may write to it.
    executor
        What runs the jobs; the processes of this machine by default, and then ``workers`` counts.
    workers
        Worker processes of this machine; 0: as many as its cores and its free memory allow.
    timeout_s
        Time limit of one job, s.
    retry_failed
        Do again what failed in an earlier call.
    purpose
        What the jobs are for, in words; a table that was made for something else is refused.
    what
        What the jobs are called in ``progress`` and sentences.
    sound
        Says whether the files that a finished job left in its folder are still what they were; a job whose files are
        not is done again.
    holds_failures
        Says whether a finished job is in part a failure; ``retry_failed`` does it again as a whole.
    progress
        Called as ``progress(what, done, total)`` with jobs that are in the table.
    say
        Called with a line of text once a minute and where something needs saying.

    Raises
    ------
    ConfigurationError
        A time limit that is none, a table made for something else, or workers that cannot start.
    InputFileError
        A table or folder that cannot be opened or written, or that another process is writing.
    """
    if not timeout_s > 0:
        raise ConfigurationError(f"timeout_s must be greater than 0; got {timeout_s!r}")
    runner = executor or WorkerPool(workers, say=say)
    wanted = {job.key: job for job in jobs}
    with open_jobs(table, "write") as book:
        if purpose:
            book.belongs_to(purpose)
        book.add(list(wanted.values()))
        runner.clear(_results(book.path))
        _take_in(book)
        known = _kept(book, list(wanted), sound, what, say)
        if retry_failed:
            known = _without_failures(book, known, holds_failures)
        missing = [job for key, job in wanted.items() if key not in known]
        kept = Counter(one.status for one in known.values())
        work = sum(job.work for job in missing)
        meter = JobMeter(what=what, total=len(wanted), known=kept, work=work, progress=progress, say=say)
        meter.tell()
        for cores in sorted({job.cores for job in missing}, reverse=True):
            some = [job for job in missing if job.cores == cores]
            _run(
                runner, _needs(some, timeout_s), _Jobs(book=book, waiting=deque(some), timeout_s=timeout_s, meter=meter)
            )
        meter.close()
        with contextlib.suppress(OSError):
            _results(book.path).rmdir()
        found = book.results(list(wanted))
    return {key: found[key] for key in wanted}


def _kept(
    book: JobTable,
    keys: Sequence[str],
    sound: Callable[[JobResult], bool] | None,
    what: str,
    say: Callable[[str], None] | None,
) -> dict[str, JobResult]:
    """Return the results that can be used; what has lost its files is forgotten."""
    known = book.results(keys)
    spoiled = [key for key, one in known.items() if sound is not None and not one.failed and not sound(one)]
    if spoiled:
        book.forget(spoiled)
        if say is not None:
            say(f"{what}: files of {len(spoiled)} finished jobs are missing or damaged; they are done again")
    return {key: one for key, one in known.items() if key not in spoiled}


def _without_failures(
    book: JobTable, known: Mapping[str, JobResult], holds_failures: Callable[[JobResult], bool] | None
) -> dict[str, JobResult]:
    """Return the results that stay where failures are done again."""
    partly = [] if holds_failures is None else [k for k, one in known.items() if not one.failed and holds_failures(one)]
    # The table keeps what is done, so that such a job has to be forgotten first.
    book.forget(partly)
    return {key: one for key, one in known.items() if not one.failed and key not in partly}


def _results(table: Path) -> Path:
    return table.with_name(table.name + ".results")


def _needs(jobs: Sequence[Job], timeout_s: float) -> Needs:
    return Needs(
        prepare=tuple(preparation(kind) for kind in dict.fromkeys(job.kind for job in jobs)),
        cores=jobs[0].cores,
        memory_GB=max(job.memory_GB for job in jobs),
        tasks=len(jobs),
        longest_s=timeout_s if timeout_s < math.inf else UNLIMITED_DRAIN_S,
        what="job",
    )


def _run(runner: Executor, needs: Needs, jobs: _Jobs) -> None:
    try:
        with contextlib.closing(runner.run(needs, jobs.next_task)) as ended:
            for finished in ended:
                for one in finished:
                    jobs.take(one)
                jobs.flush(when_due=True)
    finally:
        jobs.flush()


def _take_in(book: JobTable) -> None:
    """Record what earlier runs left; damaged files are renamed, and their jobs done again."""
    folder = _results(book.path)
    if folder.is_symlink():
        raise InputFileError(f"{folder} is a symbolic link, where results are deleted once they are stored; remove it")
    if not folder.is_dir():
        return
    sound, outcomes = [], []
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            outcomes.append((load_outcome(path), 1))
            sound.append(path)
        except InputFileError:
            with contextlib.suppress(OSError):
                path.rename(path.with_name(path.name + DAMAGED_SUFFIX))
    book.record(outcomes)
    _delete([*sound, *folder.glob(".*.part")])


def _delete(paths: Sequence[Path]) -> None:
    """Delete files that have been taken in; one that cannot be deleted is taken in again, which changes nothing."""
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink()


@dataclass
class _Jobs:
    """The jobs of one run: what waits, what has ended and is not yet in the table."""

    book: JobTable
    waiting: deque[Job]
    timeout_s: float
    meter: JobMeter
    starts: Counter[str] = field(default_factory=Counter)
    pending: list[tuple[Outcome, int, float]] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    next_commit: float = 0.0

    def next_task(self) -> JobTask | None:
        """Return the next task, or None where there is none for now."""
        if not self.waiting:
            return None
        job = self.waiting.popleft()
        self.starts[job.key] += 1
        return JobTask(
            job=job,
            result=_results(self.book.path) / f"{job.key}{SUFFIX}",
            folder=folder_of(self.book.path, job.key),
            timeout_s=self.timeout_s,
        )

    def take(self, finished: Finished) -> None:
        """Read what an ended task left, or send its job again."""
        task = finished.task
        assert isinstance(task, JobTask)
        outcome = _outcome_of(task, finished, self.starts[task.job.key])
        if outcome is None:
            self.waiting.appendleft(task.job)
            return
        self.pending.append((outcome, self.starts[task.job.key], task.job.work))
        self.files.append(task.result)

    def flush(self, *, when_due: bool = False) -> None:
        """Store what has come, then delete the files it came in; a kill between the two is harmless."""
        if not self.pending or (when_due and time.monotonic() < self.next_commit):
            return
        self.book.record([(outcome, starts) for outcome, starts, _ in self.pending])
        self.next_commit = time.monotonic() + COMMIT_S
        _delete(self.files)
        for outcome, _, work in self.pending:
            self.meter.count(outcome.status, outcome.cores * outcome.seconds, work)
        self.pending.clear()
        self.files.clear()
        self.meter.tell()


def _outcome_of(task: JobTask, finished: Finished, starts: int) -> Outcome | None:
    """Return what decides a job; None where it is to be started again."""
    if task.result.exists():
        with contextlib.suppress(InputFileError):
            return load_outcome(task.result)
    late = finished.timed_out or timed_out(task.folder)
    if not late and starts < LARGEST_DEATHS:
        return None
    how = f"the worker process died ({finished.died})" if finished.died else "the worker left no sound result"
    return Outcome(
        key=task.job.key,
        status=FAILURES[2] if late else FAILURES[1],
        result={},
        message=f"no result within {task.timeout_s:g} s" if late else f"{how}, {starts} of {LARGEST_DEATHS} attempts",
        seconds=task.timeout_s if late else finished.seconds,
        cores=task.job.cores,
        host="",
        ended=now(),
    )
