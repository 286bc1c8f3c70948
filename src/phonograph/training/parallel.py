"""Many independent fits over processes: the same results for any number of workers."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import as_completed
from contextlib import closing
from typing import Any

from phonograph.errors import DataError, UserError, WorkerError
from phonograph.training.jobs import FitJob, TimedFit
from phonograph.training.stack import plan_stacks, train_jobs
from phonograph.types import Fitted, GraphSet, Labels, Progress

OnResult = Callable[[Fitted], None]


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

    Networks that :func:`plan_stacks` puts together are trained together; the stack, not the network, is what is
    resumed and what a worker gets.

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
    stacks = plan_stacks(jobs)
    if workers <= 1 or len(stacks) <= 1:
        source = _here(graphs, labels, jobs, stacks)
    else:
        source = _elsewhere(graphs, labels, jobs, stacks, workers)
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


Outcomes = Generator[tuple[int, TimedFit | Exception]]


def _here(graphs: GraphSet, labels: Labels, jobs: Sequence[FitJob], stacks: Sequence[Sequence[int]]) -> Outcomes:
    import torch

    threads = torch.get_num_threads()
    for stack in stacks:
        # One thread, as in the workers: another number would round differently.
        torch.set_num_threads(1)
        try:
            outcomes = _train(graphs, labels, [jobs[place] for place in stack])
        finally:
            torch.set_num_threads(threads)
        yield from zip(stack, outcomes, strict=True)


def _elsewhere(
    graphs: GraphSet, labels: Labels, jobs: Sequence[FitJob], stacks: Sequence[Sequence[int]], workers: int
) -> Outcomes:
    from pebble import ProcessPool

    # "spawn": forking a process that already runs torch or BLAS threads can deadlock.
    context = multiprocessing.get_context("spawn")
    size = min(workers, len(stacks))
    with ProcessPool(size, context=context, initializer=_start_worker, initargs=(graphs, labels)) as pool:
        try:
            places = {pool.schedule(_work, args=([jobs[place] for place in stack],)): stack for stack in stacks}
            for future in as_completed(places):
                stack, error = places[future], future.exception()
                outcomes = [error] * len(stack) if isinstance(error, Exception) else future.result()
                yield from zip(stack, outcomes, strict=True)
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


def _work(jobs: Sequence[FitJob]) -> Sequence[TimedFit | UserError]:
    return _train(_worker_data["graphs"], _worker_data["labels"], jobs)


def _train(graphs: GraphSet, labels: Labels, jobs: Sequence[FitJob]) -> Sequence[TimedFit | UserError]:
    """Train one stack; its state is beside that of its first network."""
    first = jobs[0].checkpoint
    file = first if first is None or len(jobs) == 1 else first.with_name(f"{first.stem}.stack{first.suffix}")
    return train_jobs(graphs, labels, jobs, file, None)
