"""The verb of room 8: a property as a function of temperature, with its error budget."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np

from phonograph.errors import DataError
from phonograph.lattice import STATISTICS
from phonograph.series import Average, grouped_average
from phonograph.types import Fitted, FloatArray, GraphSet, Labels, Origin, Progress, ThermalCurve, ThermalPoint

EXTRAPOLATION = 0.10
"""Share of predictions outside the training range (or of crystals with too close atoms) above which it is told."""

SIGNIFICANT = 2.0
"""Standard errors by which predictions may differ from labels of the same configurations before it is told."""


def predict_thermal(
    fits: Sequence[Fitted],
    graphs_by_temperature: Mapping[float, GraphSet],
    *,
    statistics: str,
    labels_by_temperature: Mapping[float, Labels] | None = None,
    progress: Progress | None = None,
) -> ThermalCurve:
    """Average predictions over configurations sampled at each temperature.

    P(T) = (1/nM) Σ_i Σ_m f_m(R_i), over n configurations R_i sampled at T and M models f_m.  Each uncertainty is its
    own column: the Monte-Carlo error s·√(g/n) of the mean (from groups, so that ± pairs count as one), the standard
    deviation over models of their means, and the share of predictions outside the training range.  What the curve
    does not know (the bias of the models, thermal expansion) is not in these columns; direct labels show the first.

    Parameters
    ----------
    fits
        Models of one or several targets; those of one target are averaged.
    graphs_by_temperature
        Temperature in K → graphs of configurations sampled at that temperature, groups included.
    statistics
        ``"quantum"`` or ``"classical"``: the law that the configurations were sampled from.
    labels_by_temperature
        Temperature in K → labels of some configurations at that temperature; gives the label columns, and a test of
        the models on the configurations that are among the graphs.
    progress
        Called once per model and temperature.

    Returns
    -------
    ThermalCurve
        Points by target, temperatures ascending.

    Raises
    ------
    DataError
        No model, no temperature, an unknown law, a temperature below 0, an empty set, or models of one target that
        disagree on its unit.
    """
    _check(fits, graphs_by_temperature, statistics)
    labels = labels_by_temperature or {}
    cells = []
    for done, (target, temperature) in enumerate(
        (target, temperature)
        for target in dict.fromkeys(fitted.target for fitted in fits)
        for temperature in sorted(graphs_by_temperature)
    ):
        models = [fitted for fitted in fits if fitted.target == target]
        cells.append(_cell(models, temperature, graphs_by_temperature[temperature], labels.get(temperature)))
        if progress:
            progress("predicting at temperature", done + 1, len({f.target for f in fits}) * len(graphs_by_temperature))
    return ThermalCurve(
        points=tuple(cell.point for cell in cells),
        statistics=statistics,
        warnings=tuple(_warnings(cells)),
        origin=Origin(
            room="thermal",
            settings={
                "models": [fitted.name for fitted in fits],
                "temperatures_K": sorted(graphs_by_temperature),
                "statistics": statistics,
            },
            versions={name: version(name) for name in ("numpy", "torch")},
        ),
    )


def _check(fits: Sequence[Fitted], graphs_by_temperature: Mapping[float, GraphSet], statistics: str) -> None:
    if not fits or not graphs_by_temperature:
        raise DataError(
            "a thermal curve needs at least one model and one temperature; got "
            f"{len(fits)} and {len(graphs_by_temperature)}"
        )
    if statistics not in STATISTICS:
        raise DataError(f"statistics must be 'quantum' or 'classical'; got {statistics!r}")
    for temperature, graphs in graphs_by_temperature.items():
        if not 0.0 <= temperature < np.inf:
            raise DataError(f"temperatures must be at least 0 K; got {temperature!r}")
        if len(graphs) == 0:
            raise DataError(f"there is no configuration at {temperature:g} K; sample some")
    for target in {fitted.target for fitted in fits}:
        units = sorted({fitted.unit for fitted in fits if fitted.target == target})
        if len(units) > 1:
            raise DataError(f"the models of {target!r} disagree on its unit: {', '.join(units)}; train them alike")


@dataclass(frozen=True, kw_only=True, eq=False)
class _Cell:
    """One target at one temperature: the point, and what its warnings need."""

    point: ThermalPoint
    models: int
    train_range: tuple[float, float]
    at_edge: float
    too_close: float
    error: Average | None
    holes: int
    strangers: int


def _cell(models: Sequence[Fitted], temperature: float, graphs: GraphSet, labels: Labels | None) -> _Cell:
    from phonograph.models import predict

    values = np.array([predict(fitted, graphs) for fitted in models])
    average = grouped_average(values.mean(axis=0), graphs.groups)
    means = values.mean(axis=1)
    low = np.array([fitted.train_range[0] for fitted in models])[:, None]
    high = np.array([fitted.train_range[1] for fitted in models])[:, None]
    margin = 0.02 * (high - low)
    squashed = np.array([getattr(fitted.model, "output", "") in ("sigmoid", "relu") for fitted in models])[:, None]
    known, error, holes, strangers = _labelled(models[0].target, labels, graphs, values.mean(axis=0))
    point = ThermalPoint(
        target=models[0].target,
        unit=models[0].unit,
        temperature_K=float(temperature),
        mean=average.mean,
        standard_error=average.standard_error,
        model_spread=float(means.std(ddof=1)) if len(means) > 1 else float("nan"),
        n=average.n,
        out_of_range=float(((values < low) | (values > high)).mean()),
        label_mean=known.mean if known else float("nan"),
        label_error=known.standard_error if known else float("nan"),
        label_n=known.n if known else 0,
    )
    return _Cell(
        point=point,
        models=len(models),
        train_range=(float(low.min()), float(high.max())),
        at_edge=float((squashed & ((np.abs(values - low) <= margin) | (np.abs(values - high) <= margin))).mean()),
        too_close=_too_close(models, graphs),
        error=error,
        holes=holes,
        strangers=strangers,
    )


def _labelled(
    target: str, labels: Labels | None, graphs: GraphSet, predicted: FloatArray
) -> tuple[Average | None, Average | None, int, int]:
    """Return the mean label, the mean of prediction − label where both exist, and the holes and strangers."""
    if labels is None:
        return None, None, 0, 0
    values = labels.column(target).values
    finite = np.isfinite(values)
    samples = [sample for sample, has in zip(labels.sample_ids, finite, strict=True) if has]
    if not samples:
        return None, None, int((~finite).sum()), 0
    place = {sample: position for position, sample in enumerate(graphs.sample_ids)}
    # A labelled configuration that is not among the graphs is taken as independent of the others.
    groups = [f"in:{graphs.groups[place[s]]}" if s in place else f"alone:{s}" for s in samples]
    both = [k for k, sample in enumerate(samples) if sample in place]
    error = None
    if both:
        difference = np.array([predicted[place[samples[k]]] for k in both]) - values[finite][both]
        error = grouped_average(difference, [groups[k] for k in both])
    return grouped_average(values[finite], groups), error, int((~finite).sum()), len(samples) - len(both)


def _too_close(models: Sequence[Fitted], graphs: GraphSet) -> float:
    """Return the share of crystals in which two atoms are closer than any two in training, averaged over models."""
    shortest = np.array(
        [
            graphs.distance_A[graphs.edge_offsets[k] : graphs.edge_offsets[k + 1]].min(initial=np.inf)
            for k in range(len(graphs))
        ]
    )
    return float(np.mean([shortest < fitted.inputs.distance_min_A for fitted in models]))


def _warnings(cells: Sequence[_Cell]) -> Iterator[str]:
    for target in dict.fromkeys(cell.point.target for cell in cells):
        own = [cell for cell in cells if cell.point.target == target]
        yield from _extrapolation(target, own)
        yield from _resolution(target, own)
        yield from _against_labels(target, own)


def _extrapolation(target: str, cells: Sequence[_Cell]) -> Iterator[str]:
    low, high = cells[0].train_range
    unit = cells[0].point.unit
    for cell in cells:
        point = cell.point
        if point.out_of_range > EXTRAPOLATION:
            yield (
                f"{target}: {point.out_of_range:.0%} of the predictions at {point.temperature_K:g} K lie outside the "
                f"range of the training labels ({low:.4g} to {high:.4g} {unit}): extrapolation"
            )
        if cell.too_close > EXTRAPOLATION:
            yield (
                f"{target}: in {cell.too_close:.0%} of the configurations at {point.temperature_K:g} K two atoms are "
                "closer than any two in training: extrapolation; train at this temperature too"
            )
        if cell.at_edge > EXTRAPOLATION:
            yield (
                f"{target}: {cell.at_edge:.0%} of the predictions at {point.temperature_K:g} K lie within 2 % of the "
                f"ends of the training range ({low:.4g} to {high:.4g} {unit}): a squashed output saturates there; use "
                'output = "linear"'
            )


def _resolution(target: str, cells: Sequence[_Cell]) -> Iterator[str]:
    points = [cell.point for cell in cells]
    unit = points[0].unit
    if any(not np.isfinite(point.standard_error) for point in points):
        yield f"{target}: a temperature with a single group of configurations has no Monte-Carlo error; sample more"
    if cells[0].models < 2:
        yield f"{target}: a single model has no model spread; train several seeds"
    if len(points) < 2:
        return
    means = [point.mean for point in points]
    variation = max(means) - min(means)
    spread = np.array([point.model_spread for point in points])
    largest = float(np.nanmax(spread)) if np.isfinite(spread).any() else 0.0
    if largest > variation:
        yield (
            f"{target}: the spread between models (up to {largest:.3g} {unit}) is larger than the variation with "
            f"temperature ({variation:.3g} {unit}); the models agree on no trend unless each shows it"
        )
    errors = np.array([point.standard_error for point in points])
    if np.isfinite(errors).all() and variation < SIGNIFICANT * np.sqrt(2.0) * float(errors.max()):
        yield (
            f"{target}: the variation with temperature ({variation:.3g} {unit}) is within the Monte-Carlo error "
            f"(up to {errors.max():.3g} {unit}); sample more configurations"
        )


def _against_labels(target: str, cells: Sequence[_Cell]) -> Iterator[str]:
    for cell in cells:
        temperature, unit = cell.point.temperature_K, cell.point.unit
        if cell.holes:
            yield f"{target}: {cell.holes} configurations labelled at {temperature:g} K have no value and are left out"
        if cell.strangers:
            yield (
                f"{target}: {cell.strangers} labelled configurations at {temperature:g} K are not among the predicted "
                "ones; they are taken as independent"
            )
        error = cell.error
        if error and abs(error.mean) > SIGNIFICANT * error.standard_error:
            yield (
                f"{target}: at {temperature:g} K the models are off by {error.mean:+.3g} ± {error.standard_error:.2g} "
                f"{unit} on the {error.n} configurations that were also labelled; the curve carries this bias"
            )
