"""Train one network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from numpy.typing import ArrayLike

from phonograph.errors import DataError
from phonograph.training.prepare import Task, device_of, finish, prepare
from phonograph.training.settings import TrainingSettings
from phonograph.types import Fitted, GraphModel, GraphSet, Labels, Progress, Split


def fit(
    graphs: GraphSet,
    labels: Labels | ArrayLike,
    split: Split,
    model: GraphModel,
    settings: TrainingSettings | None = None,
    *,
    target: str,
    unit: str = "",
    trained_on: str = "",
    name: str = "",
    seed: int = 0,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> Fitted:
    """Train ``model`` on the training part of ``split`` and keep the weights with the lowest validation loss.

    Minimises mean((ŷ − (y − shift)/scale)²) with Adam; scalers of features, distances and target are fitted on the
    training part alone, and no label of the test part is read.  On one CPU thread the result is a function of the
    arguments, bit for bit, also when it was interrupted and continued from ``checkpoint``.  The global random state is
    left as it was.  The number of torch threads is the caller's choice; another number changes the rounding.

    Where the caller has started a ``torch.distributed`` process group (``torchrun``), each process computes a share of
    every batch and all return the same network, that of one process to rounding.

    Parameters
    ----------
    graphs
        Graphs of at least the training and validation samples.
    labels
        Labels with a column ``target``, or one value per graph (NaN = no label).
    split
        Which samples train, validate and test.
    model
        The network, for example :class:`phonograph.models.GraphConvNet`.
    settings
        How it is trained; :class:`TrainingSettings` with its defaults where not given.
    target
        Name of the label.
    unit
        Unit of the label; that of the label column, or of :data:`phonograph.types.PROPERTY_UNITS`, where not given.
    trained_on
        Name of the collection, kept in the result.
    name
        Name of the trained network; ``<target>-<trained_on>-seed<seed>`` where not given.
    seed
        Seed of initial weights, order of samples and dropout, at least 0 and below 2^64.
    checkpoint
        File to write the state to and to continue from.  A file that is damaged or belongs to other data or settings
        is told in ``warnings`` and replaced.  Remove it when the result is saved.
    progress
        Called as ``progress("training <name>", epoch, epochs)``.

    Raises
    ------
    DataError
        When samples, labels or edges are too few, the target is constant, or training diverges.
    ConfigurationError
        When output and target scaling contradict each other, a device is asked for that is not there, or the seed is
        no whole number that a bundle can hold.
    """
    task = prepare(
        graphs,
        labels,
        split,
        model,
        settings or TrainingSettings(),
        targets=[target],
        units=[unit],
        trained_on=trained_on,
        name=name,
        seed=seed,
    )
    return _train(task, checkpoint, progress)[0]


def fit_joint(
    graphs: GraphSet,
    labels: Labels | ArrayLike,
    split: Split,
    model: GraphModel,
    settings: TrainingSettings | None = None,
    *,
    targets: Sequence[str],
    units: Sequence[str] = (),
    trained_on: str = "",
    name: str = "",
    seed: int = 0,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> tuple[Fitted, ...]:
    """Train one network on several targets at once, and return it once per target.

    Minimises the mean over targets of mean((ŷ − (y − shift)/scale)²), each target scaled on its own labels.  A sample
    that has no label of one target still counts for the others.

    Parameters
    ----------
    graphs, split, model, settings, trained_on, seed, checkpoint, progress
        As in :func:`fit`; ``model.build`` is called with ``outputs=len(targets)``.
    labels
        Labels with a column per target, or values of shape (graphs, targets) (NaN = no label).
    targets, units
        Names and units of the labels, at least two.
    name
        Of the network; those returned are called ``<target>-<trained_on>-seed<seed>``, or ``<target>-<name>``.

    Returns
    -------
    tuple of Fitted
        One per target, sharing their weights; ``heads`` are all targets.

    Raises
    ------
    DataError, ConfigurationError
        As :func:`fit`.
    """
    if len(set(targets)) != len(targets) or len(targets) < 2:
        raise DataError(f"a joint fit needs at least two different targets; got {', '.join(targets) or 'none'}")
    task = prepare(
        graphs,
        labels,
        split,
        model,
        settings or TrainingSettings(),
        targets=targets,
        units=units,
        trained_on=trained_on,
        name=name,
        seed=seed,
    )
    names = [
        f"{target}-{name}" if name else "-".join(filter(None, (target, trained_on, f"seed{seed}")))
        for target in targets
    ]
    return _train(task, checkpoint, progress, names)


def _train(
    task: Task, checkpoint: Path | None, progress: Progress | None, names: Sequence[str] = ()
) -> tuple[Fitted, ...]:
    from phonograph.training.stack import train_tasks

    [member], problem = train_tasks([task], device_of(task.settings), checkpoint, progress)
    return tuple(
        finish(task, member, own, target, problem)
        for own, target in zip(names or [task.name], task.targets, strict=True)
    )
