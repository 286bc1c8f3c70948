"""Networks of one shape trained together, with stacked weights."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Hashable, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from phonograph.errors import UserError
from phonograph.models.spec import GraphConvNet
from phonograph.training.jobs import FitJob, TimedFit
from phonograph.training.prepare import Task, device_of, finish, prepare
from phonograph.types import GraphSet, Labels, Progress

if TYPE_CHECKING:
    import torch

    from phonograph.models.batch import GraphSource
    from phonograph.training.loop import Member

LARGEST_STACK = 8

LARGEST_STEP = 64 * 32
"""Channels times crystals per step up to which a stack is faster than its networks one by one on a CPU core.

Beyond, matrix products take all the time and a stack only needs more memory.  Measured: ``docs/5_training.md``.
"""

OWN_SETTINGS = ("learning_rate", "weight_decay", "patience", "target_scaling", "scaling_part", "smallest_gap_eV")
"""Settings in which the networks of a stack may differ."""


def plan_stacks(jobs: Sequence[FitJob], largest: int = LARGEST_STACK) -> list[list[int]]:
    """Group jobs that can be trained together; a function of the jobs alone, never of what is finished.

    Networks of one stack have the same shape (dropout may differ), settings (learning rate, weight decay, patience and
    scaling of the target may differ), and numbers of training and validation samples; seeds, splits and targets may
    differ.  Jobs with the same split and seed see the same batches and come to the same stack where they can.  Jobs
    that differ in nothing but which of their ``heads`` is the target are one network, and never apart.  On a CPU,
    networks whose steps are large stay alone (:data:`LARGEST_STEP`).

    Parameters
    ----------
    jobs
        What to train.
    largest
        Most networks in a stack.

    Returns
    -------
    list of list of int
        Places of the jobs of every stack; each job is in one.
    """
    networks: dict[Hashable, list[int]] = {}
    for place, job in enumerate(jobs):
        networks.setdefault(network_key(job, place), []).append(place)
    groups: dict[Hashable, dict[Hashable, list[list[int]]]] = {}
    for places in networks.values():
        job = jobs[places[0]]
        same_batches = (job.split, job.seed)
        groups.setdefault(_shape(job, places[0]), {}).setdefault(same_batches, []).append(places)
    stacks: list[list[int]] = []
    for group in groups.values():
        rest: list[list[int]] = []
        for members in group.values():
            full = len(members) // largest * largest
            stacks += [list(chain(*members[start : start + largest])) for start in range(0, full, largest)]
            rest += members[full:]
        stacks += [list(chain(*rest[start : start + largest])) for start in range(0, len(rest), largest)]
    return stacks


def network_key(job: FitJob, place: int) -> Hashable:
    """Return what jobs of one joint network have in common; a job of one target is its own network."""
    if not job.heads:
        return place
    return job.split, repr(job.model), job.settings, job.heads, job.trained_on, job.seed


def _shape(job: FitJob, place: int) -> Hashable:
    """Return what the jobs of a stack have in common; other networks than ours, and large ones, stay alone."""
    if type(job.model) is not GraphConvNet:
        return place
    if job.settings.device == "cpu" and job.model.hidden_channels * job.settings.batch_size > LARGEST_STEP:
        return place
    settings = replace(job.settings, **{name: getattr(type(job.settings)(), name) for name in OWN_SETTINGS})
    parts = len(job.split.train), len(job.split.validation)
    return replace(job.model, dropout=0.0), settings, parts, max(1, len(job.heads))


def fit_stack(
    graphs: GraphSet,
    labels: Labels | ArrayLike,
    jobs: Sequence[FitJob],
    *,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> tuple[TimedFit, ...]:
    """Train the jobs of one stack of :func:`plan_stacks` together; each stops by its own patience.

    Each network is that of :func:`phonograph.training.fit` to rounding, and a function of the jobs bit for bit, also
    when the stack was killed and goes on from ``checkpoint``.

    Parameters
    ----------
    graphs, labels, progress
        As in :func:`phonograph.training.fit`.
    jobs
        What to train; their own checkpoints are not used.
    checkpoint
        File to write the state to and to continue from; more files beside it have its name and a number.

    Returns
    -------
    tuple of TimedFit
        One per job; the seconds of a stack are shared equally.

    Raises
    ------
    UserError
        The first mistake in the data or settings of a job, after all others are done.
    """
    results = train_jobs(graphs, labels, jobs, checkpoint, progress)
    for result in results:
        if isinstance(result, Exception):
            raise result
    return tuple(result for result in results if isinstance(result, TimedFit))


def train_jobs(
    graphs: GraphSet,
    labels: Labels | ArrayLike,
    jobs: Sequence[FitJob],
    checkpoint: Path | None,
    progress: Progress | None,
) -> list[TimedFit | UserError]:
    """Do what :func:`fit_stack` does; mistakes take the place of the jobs that made them."""
    results: dict[int, TimedFit | UserError] = {}
    networks: dict[Hashable, list[int]] = {}
    for place, job in enumerate(jobs):
        networks.setdefault(network_key(job, place), []).append(place)
    tasks: dict[int, Task] = {}
    for places in networks.values():
        try:
            tasks[places[0]] = _task(graphs, labels, jobs[places[0]])
        except UserError as error:
            results |= dict.fromkeys(places, error)
    jobs_of = {places[0]: places for places in networks.values()}
    for number, group in enumerate(_together(tasks)):
        started = time.perf_counter()
        own = [tasks[first] for first in group]
        file = checkpoint if checkpoint is None or number == 0 else checkpoint.with_name(f"{checkpoint.name}.{number}")
        try:
            members, problem = train_tasks(own, device_of(own[0].settings), file, progress)
        except UserError as error:
            results |= {place: error for first in group for place in jobs_of[first]}
            continue
        seconds = (time.perf_counter() - started) / len(group)
        for first, task, member in zip(group, own, members, strict=True):
            for place in jobs_of[first]:
                results[place] = _finished(task, member, jobs[place], problem, seconds / len(jobs_of[first]))
    return [results[place] for place in range(len(jobs))]


def _task(graphs: GraphSet, labels: Labels | ArrayLike, job: FitJob) -> Task:
    return prepare(
        graphs,
        labels,
        job.split,
        job.model,
        job.settings,
        targets=job.heads or [job.target],
        units=[] if job.heads else [job.unit],
        trained_on=job.trained_on,
        name=job.name,
        seed=job.seed,
    )


def _finished(task: Task, member: Member, job: FitJob, problem: Sequence[str], seconds: float) -> TimedFit | UserError:
    try:
        return TimedFit(fitted=finish(task, member, job.name, job.target, problem), seconds=seconds)
    except UserError as error:
        return error


def _together(tasks: dict[int, Task]) -> list[list[int]]:
    """Group tasks once more, by what only the data tell: samples with a label, atoms per crystal."""
    groups: dict[Hashable, list[int]] = {}
    for place, task in tasks.items():
        data = task.data
        alike: Hashable = place
        if task.stackable:
            alike = (
                data.n_train,
                len(data.values),
                int(data.graphs.node_offsets[1]),
                max(1, task.inputs.radial_functions),
            )
        groups.setdefault(alike, []).append(place)
    return list(groups.values())


def train_tasks(
    tasks: Sequence[Task],
    device: torch.device,
    checkpoint: Path | None,
    progress: Progress | None,
    sources: Sequence[GraphSource] = (),
) -> tuple[list[Member], list[str]]:
    """Train networks together; return them, and a warning where the checkpoint could not be used.

    Parameters
    ----------
    tasks, device, checkpoint, progress
        What to train and where.
    sources
        Where the graphs come from, where they are not in memory.
    """
    from phonograph.training.engines import DTYPES, Engine, ModuleEngine, StackEngine
    from phonograph.training.loop import Trainer
    from phonograph.training.processes import processes
    from phonograph.training.resume import structure

    first = tasks[0]
    precision = first.settings.precision
    sources = sources or _sources(tasks, DTYPES[precision], device)
    members = [task.member(source, DTYPES[precision], device) for task, source in zip(tasks, sources, strict=True)]
    engine: Engine
    keys = [task.key for task in tasks]
    if type(first.model) is GraphConvNet and sources[0].dense:
        modules: list[Any] = [task.build() for task in tasks]
        engine = StackEngine(modules, precision, device)
    else:
        module = first.build()
        # A class of one's own need not be a dataclass: what it builds, not its name, is the network.
        keys += [] if type(first.model) is GraphConvNet else [structure(module)]
        engine = ModuleEngine(module, first.name, len(first.targets), precision, device)
    key = hashlib.sha256("".join(keys).encode()).hexdigest()
    problem = Trainer(engine, members, processes()).run(checkpoint, key, progress)
    return members, [problem] if problem else []


def _sources(tasks: Sequence[Task], dtype: torch.dtype, device: torch.device) -> list[GraphSource]:
    """Return the packed graphs of every task; tasks with the same samples and scaling share them."""
    from phonograph.models.batch import PackedGraphs

    made: dict[Hashable, GraphSource] = {}
    sources = []
    for task in tasks:
        inputs = task.inputs
        # The shortest training edge says nothing about weights that do not start there.
        alike = replace(inputs, distance_min_A=0.0) if inputs.edge_law == "cosine" else inputs
        key = task.data.graphs.sample_ids, alike
        if key not in made:
            made[key] = PackedGraphs(task.data.graphs, inputs, dtype, device)
        sources.append(made[key])
    return sources
