"""From the arguments of a fit to a network in the loop, and from there to :class:`~phonograph.types.Fitted`."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import ArrayLike

from phonograph.errors import ConfigurationError, DataError
from phonograph.models.domain import training_domain
from phonograph.models.predict import build_network
from phonograph.models.spec import GraphConvNet, describe
from phonograph.options import check_seed
from phonograph.training.data import Data, feature_warnings, input_scaling, select, select_joint, target_scaling
from phonograph.training.settings import TrainingSettings
from phonograph.types import (
    PROPERTY_UNITS,
    Fitted,
    GraphModel,
    GraphSet,
    InputScaling,
    Labels,
    Origin,
    Split,
    TargetScaling,
    TrainingDomain,
)

if TYPE_CHECKING:
    import torch
    from torch import nn

    from phonograph.models.batch import GraphSource
    from phonograph.training.loop import Member

SPREAD_SAMPLES = 1024
NOT_RESULTS = ("checkpoint_s", "device")
"""Settings that decide when and where, not what."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """One network to train, with all that its data decide.

    Attributes
    ----------
    name, model, settings, targets, seed, trained_on, split
        The arguments; ``targets`` are the outputs in order.
    data
        Training and validation samples; their labels have shape (n, targets).
    inputs, scalings
        Scaling of the inputs, and of each target.
    units
        Unit of each target.
    described, fingerprint
        Settings and SHA-256 of the data, for the origin.
    domain
        What the training crystals were like; None: not known.
    """

    name: str
    model: GraphModel
    settings: TrainingSettings
    targets: tuple[str, ...]
    seed: int
    trained_on: str
    split: Split
    data: Data
    inputs: InputScaling
    scalings: tuple[TargetScaling, ...]
    units: tuple[str, ...]
    described: Mapping[str, Any]
    fingerprint: str
    domain: TrainingDomain | None = None

    @property
    def key(self) -> str:
        """SHA-256 of everything that decides the steps, for checkpoints.

        Not the number of epochs: a network that has been trained may be trained on.
        """
        lasting = {name: value for name, value in self.described.items() if name != "epochs"}
        plain = [lasting, self.fingerprint, versions()]
        return hashlib.sha256(json.dumps(plain, default=repr).encode()).hexdigest()

    def build(self) -> nn.Module:
        """Return the untrained network."""
        return build_network(self.model, self.inputs, self.seed, len(self.targets))

    @property
    def stackable(self) -> bool:
        """Whether it can be trained with its own gradients: our network on crystals with equally many atoms."""
        from phonograph.models.batch import DENSE_ATOMS

        sizes = np.diff(self.data.graphs.node_offsets)
        return type(self.model) is GraphConvNet and bool((sizes == sizes[0]).all()) and sizes[0] <= DENSE_ATOMS

    def member(self, source: GraphSource, dtype: torch.dtype, device: torch.device) -> Member:
        """Return the network's entry in the training loop."""
        import torch

        from phonograph.training.loop import Member

        shift, scale = (np.array([getattr(item, part) for item in self.scalings]) for part in ("shift", "scale"))
        return Member(
            name=self.name,
            seed=self.seed,
            settings=self.settings,
            source=source,
            values=torch.as_tensor((self.data.values - shift) / scale, dtype=dtype, device=device),
            train=self.data.train,
            validation=self.data.validation,
        )


def prepare(
    graphs: GraphSet,
    labels: Labels | ArrayLike,
    split: Split,
    model: GraphModel,
    settings: TrainingSettings,
    *,
    targets: Sequence[str],
    units: Sequence[str] = (),
    trained_on: str = "",
    name: str = "",
    seed: int = 0,
) -> Task:
    """Select the samples and fit the scalings on the training part.

    Raises
    ------
    DataError
        When samples, labels or edges are too few, or a target is constant.
    ConfigurationError
        When output and target scaling contradict each other, or the seed is none.
    """
    seed = check_seed(seed, "the seed of a fit")
    name = name or "-".join(filter(None, ("+".join(targets), trained_on, f"seed{seed}")))
    if len(targets) == 1:
        single = select(graphs, labels, split, targets[0], settings)
        parts, data = [single], single._replace(values=single.values[:, None])
    else:
        parts, data = select_joint(graphs, labels, split, targets, settings)
    described = describe_fit(model, settings, targets, seed)
    return Task(
        name=name,
        model=model,
        settings=settings,
        targets=tuple(targets),
        seed=seed,
        trained_on=trained_on,
        split=split,
        data=data,
        inputs=input_scaling(data, settings),
        scalings=tuple(
            target_scaling(part, model, settings, target) for part, target in zip(parts, targets, strict=True)
        ),
        units=tuple(units) if any(units) else tuple(_unit(labels, target) for target in targets),
        described=described,
        fingerprint=data.fingerprint(),
        domain=training_domain(data.graphs.select(data.train)),
    )


def finish(task: Task, member: Member, name: str, target: str, warnings: Sequence[str]) -> Fitted:
    """Return one target of a trained network.

    Raises
    ------
    DataError
        When training diverged.
    """
    if member.failure:
        raise DataError(member.failure)
    head = task.targets.index(target)
    values = task.data.values[: task.data.n_train, head]
    lowest, highest = float(np.nanmin(values)), float(np.nanmax(values))
    silent = (
        []
        if _spread(task, member)[head]
        else [f"{name} gives the same value for every training sample; it has learned nothing."]
    )
    return Fitted(
        name=name,
        model=task.model,
        weights={key: np.array(value.cpu().numpy()) for key, value in member.best.items()},
        graph=task.data.graphs.spec,
        inputs=task.inputs,
        scaling=task.scalings[head],
        target=target,
        unit=task.units[head],
        trained_on=task.trained_on,
        train_range=(lowest, highest),
        split=task.split,
        seed=task.seed,
        best_epoch=member.best_epoch,
        history=tuple(member.history),
        heads=task.targets if len(task.targets) > 1 else (),
        domain=task.domain,
        warnings=(*task.data.warnings, *feature_warnings(task.data.graphs), *warnings, *silent),
        origin=Origin(
            room="training",
            settings=task.described,
            seed=task.seed,
            inputs={"data": task.fingerprint},
            versions=versions(),
        ),
    )


def _spread(task: Task, member: Member) -> list[float]:
    """Return largest minus smallest output for training samples (the first thousand), for each target."""
    import torch

    module = task.build().to(member.values.device, member.values.dtype)
    module.load_state_dict(member.best)
    module.eval()
    outputs = []
    with torch.no_grad():
        for start in range(0, min(len(member.train), SPREAD_SAMPLES), 256):
            part = member.train[start : min(start + 256, SPREAD_SAMPLES)]
            outputs.append(module(member.source.batch(part)).view(len(part), -1))
    together = torch.cat(outputs)
    spread: list[float] = (together.amax(0) - together.amin(0)).tolist()
    return spread


def device_of(settings: TrainingSettings) -> torch.device:
    """Return the device that ``settings.device`` names.

    Raises
    ------
    ConfigurationError
        When it is ``"cuda"`` and there is none.
    """
    import torch

    if settings.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise ConfigurationError(
            'device = "cuda" needs a GPU and a torch that was built for it; torch sees none, so use device = "auto"'
        )
    return torch.device(settings.device)


def describe_fit(model: GraphModel, settings: TrainingSettings, targets: Sequence[str], seed: int) -> dict[str, Any]:
    """Return what is asked for as plain values: everything that decides the result, except the data."""
    fields: Mapping[str, Any] = asdict(cast(Any, model)) if is_dataclass(model) else {}
    plain = {key: value for key, value in asdict(settings).items() if key not in NOT_RESULTS}
    return {"model": describe(model), "model_fields": dict(fields), "target": "+".join(targets), "seed": seed, **plain}


def versions() -> dict[str, str]:
    """Return the versions that decide the rounding."""
    from importlib.metadata import version

    return {"torch": version("torch"), "numpy": np.__version__, "python": platform.python_version()}


def _unit(labels: Labels | ArrayLike, target: str) -> str:
    if isinstance(labels, Labels):
        return labels.column(target).unit
    if target not in PROPERTY_UNITS:
        raise DataError(f"the unit of {target!r} is not known; pass unit=…")
    return PROPERTY_UNITS[target]
