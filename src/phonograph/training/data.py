"""What a fit reads: the labelled training and validation samples, and how their numbers are scaled."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from phonograph.errors import ConfigurationError, DataError
from phonograph.models.features import fit_input_scaling, without_electronegativity
from phonograph.models.spec import describe
from phonograph.training.settings import GAP_TARGET, SQUASHED, TrainingSettings
from phonograph.types import (
    FloatArray,
    GraphSet,
    InputScaling,
    IntArray,
    Labels,
    Split,
    TargetScaling,
    read_only,
)

LARGEST_SCALED = 1e16
"""Scaled labels must be smaller, so that sums of their squares are finite in single precision."""


class Data(NamedTuple):
    """Training and validation samples of one fit; the test part is not in it.

    Attributes
    ----------
    graphs
        Graphs of the training samples, then those of the validation samples.
    values
        Their labels, in the target's unit, shape (n,); (n, targets) where there are several, NaN = no label.
    n_train
        How many of them train.
    warnings
        Samples left out, and why.
    """

    graphs: GraphSet
    values: FloatArray
    n_train: int
    warnings: tuple[str, ...]

    @property
    def train(self) -> IntArray:
        """Positions of the training samples."""
        return np.arange(self.n_train)

    @property
    def validation(self) -> IntArray:
        """Positions of the validation samples."""
        return np.arange(self.n_train, len(self.values))

    def fingerprint(self) -> str:
        """Return the SHA-256 of everything a fit reads."""
        digest = hashlib.sha256()
        graphs = self.graphs
        digest.update("\x1f".join(graphs.sample_ids).encode())
        arrays = (graphs.node_offsets, graphs.numbers, graphs.edge_offsets, graphs.source, graphs.target)
        for array in (*arrays, graphs.distance_A, self.values, np.array([self.n_train])):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def select(
    graphs: GraphSet, labels: Labels | ArrayLike, split: Split, target: str, settings: TrainingSettings | None = None
) -> Data:
    """Pick the labelled training and validation samples, without the gaps that ``settings`` leaves out.

    Raises
    ------
    DataError
        When the split names a sample without a graph, or too few samples have a label.
    """
    place = {sample: position for position, sample in enumerate(graphs.sample_ids)}
    if len(place) != len(graphs):
        raise DataError(f"{len(graphs) - len(place)} sample ids occur twice among the graphs; ids must be unique")
    if isinstance(labels, Labels):
        values = labels.aligned(target, graphs.sample_ids)
    else:
        values = read_only(f"labels of {target}", labels, (len(graphs),), finite=False)
    least_gap_eV = settings.smallest_gap_eV if settings is not None and target == GAP_TARGET else 0.0
    chosen, warnings = [], []
    for part, ids, least in (("training", split.train, 2), ("validation", split.validation, 1)):
        missing = [sample for sample in ids if sample not in place]
        if missing:
            raise DataError(f"{len(missing)} {part} samples have no graph, the first is {missing[0]!r}; build graphs")
        positions = np.array([place[sample] for sample in ids], dtype=np.int64)
        labelled = positions[np.isfinite(values[positions])]
        if len(labelled) < least:
            raise DataError(
                f"{target}: {len(labelled)} of {len(ids)} {part} samples have a label; at least {least} are needed"
            )
        if len(labelled) < len(ids):
            warnings.append(
                f"{target}: {len(ids) - len(labelled)} of {len(ids)} {part} samples have no label; left out."
            )
        large = labelled[values[labelled] > least_gap_eV] if least_gap_eV else labelled
        if len(large) < len(labelled):
            warnings.append(
                f"{target}: {len(labelled) - len(large)} of {len(labelled)} labelled {part} samples have a gap of at "
                f"most {least_gap_eV:g} eV; left out."
            )
        if len(large) < least:
            raise DataError(
                f"{target}: {len(large)} {part} samples have a gap above smallest_gap_eV = {least_gap_eV:g} eV; at "
                f"least {least} are needed, so lower it"
            )
        chosen.append(large)
    both = np.concatenate(chosen)
    return Data(graphs.select(both), values[both], len(chosen[0]), tuple(warnings))


def select_joint(
    graphs: GraphSet, labels: Labels | ArrayLike, split: Split, targets: Sequence[str], settings: TrainingSettings
) -> tuple[list[Data], Data]:
    """Pick the samples with a label of at least one target; return those of each target, and all together.

    Raises
    ------
    DataError
        As :func:`select`, for any of the targets.
    """
    columns: list[Any] = [labels] * len(targets)
    if not isinstance(labels, Labels):
        columns = list(read_only("joint labels", labels, (len(graphs), len(targets)), finite=False).T)
    parts = [select(graphs, own, split, target, settings) for own, target in zip(columns, targets, strict=True)]
    found: dict[str, FloatArray] = {}
    for head, part in enumerate(parts):
        for sample, value in zip(part.graphs.sample_ids, part.values, strict=True):
            found.setdefault(sample, np.full(len(targets), np.nan))[head] = value
    chosen = [[sample for sample in ids if sample in found] for ids in (split.train, split.validation)]
    place = {sample: position for position, sample in enumerate(graphs.sample_ids)}
    both = chosen[0] + chosen[1]
    joint = Data(
        graphs.select([place[sample] for sample in both]),
        np.array([found[sample] for sample in both]),
        len(chosen[0]),
        tuple(warning for part in parts for warning in part.warnings),
    )
    return parts, joint


def input_scaling(data: Data, settings: TrainingSettings) -> InputScaling:
    """Fit the scaling of features and distances that ``settings`` ask for on the training part."""
    return fit_input_scaling(
        data.graphs.select(data.train),
        settings.edge_law,
        radial_functions=settings.radial_functions,
        node_features=settings.node_features,
    )


def target_scaling(
    data: Data, model: Any, settings: TrainingSettings, target: str, samples: Sequence[str] = ()
) -> TargetScaling:
    """Fit the scaling of the target that ``settings`` ask for, on the part that they name.

    Parameters
    ----------
    data, model, settings, target
        What is trained.
    samples
        Names of the samples, where the graphs do not tell them.

    Raises
    ------
    DataError, ConfigurationError
        As :func:`fit_target_scaling` and :func:`scaling_kind`; also of a validation label, which would be told as a
        training that diverged.
    """
    whole, names = settings.scaling_part == "training+validation", samples or data.graphs.sample_ids
    values = data.values if whole else data.values[: data.n_train]
    found = fit_target_scaling(values, scaling_kind(model, settings), target, names)
    with np.errstate(over="ignore"):
        scaled = (data.values - found.shift) / found.scale
    if not np.abs(scaled).max() < LARGEST_SCALED:
        raise _too_large(data.values, target, names)
    return found


def fit_target_scaling(values: FloatArray, kind: str, target: str, samples: Sequence[str] = ()) -> TargetScaling:
    """Fit y = shift + scale·ŷ on the training labels.

    ``"standard"``: shift = mean, scale = standard deviation.  ``"minmax"``: shift = min, scale = max − min.

    Parameters
    ----------
    values, kind, target
        The labels, how they are scaled, and what they are called.
    samples
        Names of the samples, for messages.

    Raises
    ------
    DataError
        When all labels are the same, or one is so large that their mean or spread is no number.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        spread, mean, deviation = float(values.max() - values.min()), float(values.mean()), float(values.std())
    if not np.isfinite([spread, mean, deviation]).all():
        raise _too_large(values, target, samples)
    if spread <= 1e-12 * max(1.0, float(np.abs(values).max())):
        raise DataError(
            f"{target} is {values[0]:.6g} for all {len(values)} training samples; there is nothing to learn, "
            "so use a sampler that moves it, or another target"
        )
    if kind == "minmax":
        return TargetScaling(kind=kind, shift=float(values.min()), scale=spread)
    return TargetScaling(kind=kind, shift=mean, scale=deviation)


def _too_large(values: FloatArray, target: str, samples: Sequence[str]) -> DataError:
    place = int(np.abs(values).argmax())
    whose = f" of sample {samples[place]!r}" if len(samples) else ""
    return DataError(
        f"{target}: the label {values[place]:g}{whose} is so large that the labels cannot be scaled; correct it, or "
        "leave the sample out"
    )


def scaling_kind(model: Any, settings: TrainingSettings) -> str:
    """Return ``"standard"`` or ``"minmax"`` for this model.

    Raises
    ------
    ConfigurationError
        When a squashed output is asked to reach negative values.
    """
    squashed = getattr(model, "output", "linear") in SQUASHED
    if settings.target_scaling == "by-output":
        return "minmax" if squashed else "standard"
    if squashed and settings.target_scaling == "standard":
        raise ConfigurationError(
            f"a {model.output} output cannot reach the negative values of a standardised target; "
            f"use target_scaling = 'minmax' or output = 'linear' (model {describe(model)})"
        )
    return settings.target_scaling


def feature_warnings(graphs: GraphSet) -> tuple[str, ...]:
    """Name the elements whose electronegativity is unknown."""
    from ase.data import chemical_symbols

    without = without_electronegativity(graphs.numbers)
    if not without:
        return ()
    names = ", ".join(chemical_symbols[z] for z in without)
    return (f"{names}: no Pauling electronegativity; 0 stands in for it.",)
