"""Many independent fits over processes: the same results for any number of workers."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import as_completed
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phonograph.errors import DataError, UserError, WorkerError
from phonograph.training.fit import fit
from phonograph.training.settings import TrainingSettings
from phonograph.types import Fitted, GraphModel, GraphSet, Labels, Progress, Split

OnResult = Callable[[Fitted], None]


@dataclass(frozen=True, kw_only=True)
class FitJob:
    """The arguments of one :func:`phonograph.training.fit`, as data."""

    name: str
    split: Split
    model: GraphModel
    target: str
    settings: TrainingSettings
    trained_on: str = ""
    unit: str = ""
    seed: int = 0
    checkpoint: Path | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class TimedFit:
    """A trained network and the seconds its training took."""

    fitted: Fitted
    seconds: float


def fit_many(
    graphs: GraphSet,
    labels: Labels,
    jobs: Sequence[FitJob],
    *,
    workers: int = 1,
    progress: Progress | None = None,
    on_result: OnResult | None = None,
) -> tuple[Fitted, ...]:
    """Train many networks, each on one thread, and return them in the order of ``jobs``.

    Parameters
    ----------
    graphs, labels
        All samples that the jobs' splits name; sent once to each worker.
    jobs
        What to train; the names must differ.
    workers
        Processes; 1 trains in this process.  More are started afresh ("spawn"), so a script that calls this needs
        ``if __name__ == "__main__":``.
    progress
        Called as ``progress("training", done, total)``.
    on_result
        Called with each network as soon as it is trained, in this process, in any order: save it there, and a run that
        is killed has lost only what was in training.

    Raises
    ------
    UserError
        The first mistake in the data or settings of a job, naming the job, after all other jobs are done.
    WorkerError
        When a worker process died, naming the job, after all other jobs are done.
    """
    return tuple(
        timed.fitted for timed in fit_timed(graphs, labels, jobs, workers, progress=progress, on_result=on_result)
    )


def fit_timed(
    graphs: GraphSet,
    labels: Labels,
    jobs: Sequence[FitJob],
    workers: int,
    *,
    progress: Progress | None = None,
    on_result: OnResult | None = None,
) -> list[TimedFit]:
    """Do what :func:`fit_many` does, and say how long each fit took."""
    if len({job.name for job in jobs}) != len(jobs):
        raise DataError(f"{len(jobs)} fits share {len({job.name for job in jobs})} names; give each its own name")
    source = (
        _here(graphs, labels, jobs) if workers <= 1 or len(jobs) <= 1 else _elsewhere(graphs, labels, jobs, workers)
    )
    done: dict[int, TimedFit] = {}
    failures: dict[int, Exception] = {}
    with closing(source):
        for place, outcome in source:
            if isinstance(outcome, TimedFit):
                done[place] = outcome
                if on_result is not None:
                    on_result(outcome.fitted)
            else:
                failures[place] = outcome
            if progress is not None:
                progress("training", len(done) + len(failures), len(jobs))
    if failures:
        _raise_first(jobs, failures)
    return [done[place] for place in range(len(jobs))]


def _raise_first(jobs: Sequence[FitJob], failures: dict[int, Exception]) -> None:
    first = min(failures)
    more = f" ({len(failures) - 1} more of {len(jobs)} fits failed)" if len(failures) > 1 else ""
    error = failures[first]
    if isinstance(error, UserError):
        raise type(error)(f"training {jobs[first].name}: {error}{more}") from error
    if type(error).__name__ == "ProcessExpired":
        raise WorkerError(
            f"the process training {jobs[first].name} died ({error}){more}; free some memory, or use fewer workers, "
            "and run again: finished networks are kept"
        ) from error
    raise RuntimeError(f"training {jobs[first].name} failed: {type(error).__name__}: {error}{more}") from error


def _here(graphs: GraphSet, labels: Labels, jobs: Sequence[FitJob]) -> Generator[tuple[int, TimedFit | Exception]]:
    import torch

    threads = torch.get_num_threads()
    for place, job in enumerate(jobs):
        # One thread, as in the workers: another number would round differently.
        torch.set_num_threads(1)
        try:
            outcome: TimedFit | Exception = _timed(graphs, labels, job)
        except UserError as error:
            outcome = error
        finally:
            torch.set_num_threads(threads)
        yield place, outcome


def _elsewhere(
    graphs: GraphSet, labels: Labels, jobs: Sequence[FitJob], workers: int
) -> Generator[tuple[int, TimedFit | Exception]]:
    from pebble import ProcessPool

    # "spawn": forking a process that already runs torch or BLAS threads can deadlock.
    context = multiprocessing.get_context("spawn")
    size = min(workers, len(jobs))
    with ProcessPool(size, context=context, initializer=_start_worker, initargs=(graphs, labels)) as pool:
        try:
            places = {pool.schedule(_work, args=(job,)): place for place, job in enumerate(jobs)}
            for future in as_completed(places):
                error = future.exception()
                yield places[future], error if isinstance(error, Exception) else future.result()
        except BaseException:
            # ^C, or the caller's on_result failed: leave no worker behind.
            pool.stop()
            raise


_worker_data: dict[str, Any] = {}


def _start_worker(graphs: GraphSet, labels: Labels) -> None:
    import torch

    # ^C goes to the whole process group; the parent decides what happens.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    _worker_data.update(graphs=graphs, labels=labels)


def _leave_with_parent() -> None:
    """End this worker when the run is killed; it would otherwise train on for nobody."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(job: FitJob) -> TimedFit:
    return _timed(_worker_data["graphs"], _worker_data["labels"], job)


def _timed(graphs: GraphSet, labels: Labels, job: FitJob) -> TimedFit:
    started = time.perf_counter()
    fitted = fit(
        graphs,
        labels,
        job.split,
        job.model,
        job.settings,
        target=job.target,
        unit=job.unit,
        trained_on=job.trained_on,
        name=job.name,
        seed=job.seed,
        checkpoint=job.checkpoint,
    )
    return TimedFit(fitted=fitted, seconds=time.perf_counter() - started)
