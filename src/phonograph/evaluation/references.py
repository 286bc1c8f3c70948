"""References: what a network has to beat before it is called good.

Each is fitted on the training part of a network's split, has its hyper-parameters chosen on the validation part, and is
judged like the network itself, under its own name in the ``model`` column.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from phonograph.errors import ConfigurationError, DataError
from phonograph.evaluation.descriptors import (
    Descriptors,
    Soap,
    composition_and_volume,
    mean_square_displacement,
    soap,
)
from phonograph.types import REFERENCES, Configurations, FloatArray, IntArray, Labels, Split

RIDGES = tuple(10.0**power for power in range(-8, 2))
"""Penalties of the linear references, in units of the variance of the scaled columns."""

NOISES = tuple(10.0**power for power in range(-7, 1))
"""λ of the kernel reference, in units of the variance of the training labels."""

SHARPNESSES = tuple(2.0**power for power in range(-10, 4))
"""γ of the kernel reference, in units of one over the median squared distance of two training samples."""

Model = tuple[Mapping[str, float], FloatArray]
"""Chosen hyper-parameters, and the prediction for all samples."""


class Compared(Protocol):
    """What a reference has to know of the network that it is compared with, as :class:`~phonograph.types.Fitted` is."""

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def target(self) -> str: ...  # noqa: D102

    @property
    def unit(self) -> str: ...  # noqa: D102

    @property
    def trained_on(self) -> str: ...  # noqa: D102

    @property
    def train_range(self) -> tuple[float, float]: ...  # noqa: D102

    @property
    def split(self) -> Split: ...  # noqa: D102

    @property
    def seed(self) -> int: ...  # noqa: D102


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedReference:
    """A fitted reference; the fields it shares with :class:`~phonograph.types.Fitted` mean the same.

    Attributes
    ----------
    name
        One of :data:`phonograph.types.REFERENCES`.
    chosen
        Hyper-parameters with the lowest validation error.
    values
        Sample id → prediction in the target's unit; NaN where its numbers are not known.
    """

    name: str
    target: str
    unit: str
    trained_on: str
    train_range: tuple[float, float]
    split: Split
    seed: int
    chosen: Mapping[str, float]
    values: Mapping[str, float] = field(repr=False)

    def predict(self, sample_ids: Sequence[str]) -> FloatArray:
        """Return the predictions for ``sample_ids``, NaN where there is none, shape (n,)."""
        return np.array([self.values.get(sample, np.nan) for sample in sample_ids])


def describe(
    name: str, sets: Sequence[Configurations], settings: Soap | None = None, *, workers: int = 1
) -> Descriptors:
    """Return the numbers that reference ``name`` is a function of.

    Raises
    ------
    ConfigurationError
        For an unknown reference, or one that needs an extra that is not installed.
    """
    if name == "composition-volume":
        return composition_and_volume(sets)
    if name == "mean-square-displacement":
        return mean_square_displacement(sets)
    if name == "soap-krr":
        return soap(sets, settings, workers=workers)
    raise ConfigurationError(f"references must be among {', '.join(map(repr, REFERENCES[1:]))}; got {name!r}")


def fit_references(
    names: Sequence[str],
    fits: Sequence[Compared],
    sets: Sequence[Configurations],
    labels: Labels,
    settings: Soap | None = None,
    *,
    workers: int = 1,
) -> tuple[tuple[FittedReference, ...], tuple[str, ...]]:
    """Fit every reference once for each (target, training collection, seed) among ``fits``.

    Parameters
    ----------
    names
        Among :data:`phonograph.types.REFERENCES` without the mean predictor, which is always judged.
    fits
        The networks to compare with; their splits are used.
    sets
        The configurations of all samples that are judged.
    labels
        Labels of the samples; training and validation samples without one are left out, as for the networks.
    settings
        Options of the SOAP power spectra.
    workers
        Processes for the power spectra.

    Returns
    -------
    references, warnings
        In the order of ``names`` and ``fits``; a sentence for each that could not be fitted.
    """
    wanted = {(fitted.target, fitted.trained_on, fitted.seed): fitted for fitted in fits}
    found: list[FittedReference] = []
    warnings: list[str] = []
    for name in names:
        numbers = describe(name, sets, settings, workers=workers)
        for fitted in wanted.values():
            try:
                found.append(fit_reference(name, numbers, fitted, labels))
            except DataError as error:
                warnings.append(f"{name} is no reference for {fitted.name}: {error}")
    return tuple(found), tuple(dict.fromkeys(warnings))


def fit_reference(name: str, numbers: Descriptors, fitted: Compared, labels: Labels) -> FittedReference:
    """Fit one reference on the training part of a network's split.

    Parameters
    ----------
    name
        ``"soap-krr"`` is a kernel ridge, the others are linear.
    numbers
        From :func:`describe`; they hold the samples of the split.
    fitted
        The network to compare with.
    labels
        Labels of the samples.

    Raises
    ------
    DataError
        When a training or validation sample has no numbers, or too few have a label.
    """
    place = {sample: row for row, sample in enumerate(numbers.sample_ids)}
    train, train_values = _labelled(fitted.split.train, place, fitted, labels)
    held, held_values = _labelled(fitted.split.validation, place, fitted, labels)
    if len(train) < 2 or not len(held):
        raise DataError(f"{len(train)} training and {len(held)} validation samples have a label; 2 and 1 are needed")
    unknown = int(np.isnan(numbers.values[np.concatenate([train, held])]).any(axis=1).sum())
    if unknown:
        raise DataError(f"the undisplaced positions of {unknown} of its samples are not known")
    model: Callable[..., Model] = kernel_ridge if name == "soap-krr" else linear_ridge
    chosen, values = model(numbers, train, train_values, held, held_values)
    return FittedReference(
        name=name,
        target=fitted.target,
        unit=fitted.unit,
        trained_on=fitted.trained_on,
        train_range=fitted.train_range,
        split=fitted.split,
        seed=fitted.seed,
        chosen=chosen,
        values=dict(zip(numbers.sample_ids, values.tolist(), strict=True)),
    )


def _labelled(
    ids: Sequence[str], place: Mapping[str, int], fitted: Compared, labels: Labels
) -> tuple[IntArray, FloatArray]:
    missing = [sample for sample in ids if sample not in place]
    if missing:
        raise DataError(f"{len(missing)} of its samples are in no set (first: {missing[0]!r})")
    values = labels.aligned(fitted.target, ids)
    known = np.isfinite(values)
    return np.array([place[sample] for sample in ids], dtype=np.int64)[known], values[known]


def linear_ridge(
    numbers: Descriptors, train: IntArray, values: FloatArray, held: IntArray, held_values: FloatArray
) -> Model:
    """Fit y = ȳ + Σ_j w_j z_j with the penalty nα Σ w_j², α of :data:`RIDGES` chosen on the validation part.

    z_j = (x_j − x̄_j)/s_j with mean and standard deviation of the n training samples; columns without spread are left
    out.

    Parameters
    ----------
    numbers
        x, one row per sample.
    train, held
        Rows of the training and of the validation part.
    values, held_values
        Their labels y.

    Returns
    -------
    chosen, predictions
        α, and the prediction for every row.
    """
    x = numbers.values
    mean, spread = x[train].mean(axis=0), x[train].std(axis=0)
    varied = spread > 1e-9 * np.maximum(1.0, np.abs(mean))
    scaled = (x[:, varied] - mean[varied]) / spread[varied]
    left, size, right = np.linalg.svd(scaled[train], full_matrices=False)
    projected = left.T @ (values - values.mean())
    candidates = [
        (ridge, values.mean() + scaled @ (right.T @ (size / (size**2 + len(train) * ridge) * projected)))
        for ridge in RIDGES
    ]
    ridge, predictions = min(candidates, key=lambda item: float(np.abs(item[1][held] - held_values).mean()))
    return {"ridge": ridge}, predictions


def kernel_ridge(
    numbers: Descriptors, train: IntArray, values: FloatArray, held: IntArray, held_values: FloatArray
) -> Model:
    """Fit y = ȳ + Σ_i a_i exp(−γ|z − z_i|²) by kernel ridge regression (scikit-learn).

    z: each block of columns divided by one number, the root of its mean squared distance from the training mean.
    γ of :data:`SHARPNESSES` and λ of :data:`NOISES` have the lowest validation error of all pairs.

    Parameters, returns: as :func:`linear_ridge`.

    Raises
    ------
    ConfigurationError
        When scikit-learn is not installed.
    """
    squares = squared_distances(numbers, train)
    middle = float(np.median(squares[train]))
    shift, scale = float(values.mean()), float(values.std()) or 1.0
    best: tuple[float, dict[str, float], FloatArray] | None = None
    for sharpness in SHARPNESSES:
        kernel = np.exp(-sharpness / (middle or 1.0) * squares)
        for noise in NOISES:
            predictions = shift + scale * _solve(kernel, train, (values - shift) / scale, noise)
            error = float(np.abs(predictions[held] - held_values).mean())
            if best is None or error < best[0]:
                best = error, {"sharpness": sharpness, "noise": noise}, predictions
    assert best is not None
    return best[1], best[2]


def squared_distances(numbers: Descriptors, train: IntArray) -> FloatArray:
    """Return |z − z_i|² of every row and every training row, summed over scaled blocks, shape (rows, training)."""
    total = np.zeros((len(numbers.sample_ids), len(train)))
    ends = (*numbers.blocks[1:], numbers.values.shape[1])
    for start, end in zip(numbers.blocks, ends, strict=True):
        block = numbers.values[:, start:end] - numbers.values[train, start:end].mean(axis=0)
        length = (block[train] ** 2).sum(axis=1).mean()
        if length > 0:
            norms = (block**2).sum(axis=1)
            total += (norms[:, None] + norms[train] - 2 * block @ block[train].T) / length
    return np.maximum(total, 0.0)


def _solve(kernel: FloatArray, train: IntArray, values: FloatArray, noise: float) -> FloatArray:
    try:
        from sklearn.kernel_ridge import KernelRidge
    except ImportError as error:
        raise ConfigurationError(
            f"the reference 'soap-krr' needs scikit-learn ({error}); install it with: "
            'pip install "phonograph[references]"'
        ) from error
    machine = KernelRidge(alpha=noise, kernel="precomputed").fit(kernel[train], values)
    return np.asarray(machine.predict(kernel))
