"""Train one network."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike

from phonograph.errors import DataError
from phonograph.models.features import fit_input_scaling
from phonograph.models.spec import describe
from phonograph.training.data import Data, feature_warnings, fit_target_scaling, scaling_kind, select
from phonograph.training.settings import TrainingSettings
from phonograph.types import (
    PROPERTY_UNITS,
    Fitted,
    GraphModel,
    GraphSet,
    InputScaling,
    Labels,
    Origin,
    Progress,
    Split,
    TargetScaling,
)


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
        Seed of initial weights, order of samples and dropout.
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
        When output and target scaling contradict each other.
    """
    settings = settings or TrainingSettings()
    name = name or "-".join(filter(None, (target, trained_on, f"seed{seed}")))
    data = select(graphs, labels, split, target)
    inputs = fit_input_scaling(data.graphs.select(data.train), settings.edge_law)
    train_values = data.values[: data.n_train]
    scaling = fit_target_scaling(train_values, scaling_kind(model, settings), target)
    fingerprint = data.fingerprint()
    described = _describe(model, settings, target, seed)
    # Not the number of epochs: what has been trained may be trained on.
    lasting = {name: value for name, value in described.items() if name != "epochs"}
    key = hashlib.sha256(json.dumps([lasting, fingerprint, _versions()], default=repr).encode()).hexdigest()
    trained = _train(data, model, settings, inputs, scaling, seed, name, checkpoint, key, progress)
    return Fitted(
        name=name,
        model=model,
        graph=graphs.spec,
        inputs=inputs,
        scaling=scaling,
        target=target,
        unit=unit or _unit(labels, target),
        trained_on=trained_on,
        train_range=(float(train_values.min()), float(train_values.max())),
        split=split,
        seed=seed,
        warnings=(*data.warnings, *feature_warnings(data.graphs), *trained.pop("warnings")),
        origin=Origin(
            room="training", settings=described, seed=seed, inputs={"data": fingerprint}, versions=_versions()
        ),
        **trained,
    )


def _train(
    data: Data,
    model: GraphModel,
    settings: TrainingSettings,
    inputs: InputScaling,
    scaling: TargetScaling,
    seed: int,
    name: str,
    checkpoint: Path | None,
    key: str,
    progress: Progress | None,
) -> dict[str, Any]:
    """Train, and return the fields of :class:`Fitted` that come out of it."""
    from phonograph.models.batch import PackedGraphs
    from phonograph.training.loop import Trainer, as_values

    module = model.build(len(inputs.feature_min), seed)
    trainer = Trainer(
        module=module,
        packed=PackedGraphs(data.graphs, inputs),
        values=as_values((data.values - scaling.shift) / scaling.scale),
        train=data.train,
        validation=data.validation,
        settings=settings,
        seed=seed,
        name=name,
    )
    problem = trainer.run(checkpoint, key, progress)
    warnings = [problem] if problem else []
    if trainer.output_spread() == 0.0:
        warnings.append(f"{name} gives the same value for every training sample; it has learned nothing.")
    return {
        "weights": {name: np.array(value.numpy()) for name, value in trainer.best.items()},
        "best_epoch": trainer.best_epoch,
        "history": tuple(trainer.history),
        "warnings": tuple(warnings),
    }


def _describe(model: GraphModel, settings: TrainingSettings, target: str, seed: int) -> dict[str, Any]:
    fields: Mapping[str, Any] = asdict(cast(Any, model)) if is_dataclass(model) else {}
    plain = {key: value for key, value in asdict(settings).items() if key != "checkpoint_s"}
    return {"model": describe(model), "model_fields": dict(fields), "target": target, "seed": seed, **plain}


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {"torch": version("torch"), "numpy": np.__version__, "python": platform.python_version()}


def _unit(labels: Labels | ArrayLike, target: str) -> str:
    if isinstance(labels, Labels):
        return labels.column(target).unit
    if target not in PROPERTY_UNITS:
        raise DataError(f"the unit of {target!r} is not known; pass unit=…")
    return PROPERTY_UNITS[target]
