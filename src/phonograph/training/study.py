"""Several architectures on the same data, ranked by their validation error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from phonograph.errors import DataError
from phonograph.models.predict import build_network, predict
from phonograph.models.spec import describe
from phonograph.training.jobs import FitJob, TimedFit
from phonograph.training.parallel import OnResult, fit_timed
from phonograph.training.settings import TrainingSettings
from phonograph.types import Fitted, GraphModel, GraphSet, Labels, Origin, Progress, Split, Study, StudyRow


def run_study(
    graphs: GraphSet,
    labels: Labels,
    split: Split,
    models: Sequence[GraphModel],
    settings: TrainingSettings,
    seeds: Sequence[int],
    *,
    target: str,
    trained_on: str = "",
    workers: int = 1,
    progress: Progress | None = None,
    on_result: OnResult | None = None,
) -> tuple[Study, tuple[Fitted, ...]]:
    """Train every model with every seed and rank them by the mean absolute error of the validation part.

    The test part is neither read nor predicted.

    Parameters
    ----------
    graphs, labels, split, settings, target, trained_on
        As in :func:`phonograph.training.fit`; the split is the same for all, so that they are comparable.
    models
        The networks to compare, for example some of :data:`phonograph.models.ARCHITECTURES`.
    seeds
        Seeds of initial weights, order of samples and dropout.
    workers, progress, on_result
        As in :func:`phonograph.training.fit_many`.

    Returns
    -------
    Study, tuple of Fitted
        The ranked rows, and the networks in the order of the rows.

    Raises
    ------
    DataError
        When there is no model or no seed, two models are the same, or a fit fails.
    """
    if not models or not seeds:
        raise DataError(f"a study needs models and seeds; got {len(models)} models and {len(seeds)} seeds")
    jobs = [
        FitJob(
            name="-".join(filter(None, ("study", target, trained_on, describe(model), f"seed{seed}"))),
            split=split,
            model=model,
            target=target,
            settings=settings,
            trained_on=trained_on,
            seed=seed,
        )
        for model in models
        for seed in seeds
    ]
    timed = fit_timed(graphs, labels, jobs, workers, progress=progress, on_result=on_result)
    rows = [_row(fit, graphs, labels) for fit in timed]
    order = sorted(range(len(rows)), key=lambda place: (rows[place].validation_mae, place))
    study = Study(
        rows=tuple(replace(rows[place], rank=rank) for rank, place in enumerate(order, start=1)),
        warnings=tuple(dict.fromkeys(warning for fit in timed for warning in fit.fitted.warnings)),
        origin=_origin(timed, settings, seeds),
    )
    return study, tuple(timed[place].fitted for place in order)


def _row(timed: TimedFit, graphs: GraphSet, labels: Labels) -> StudyRow:
    fitted = timed.fitted
    place = {sample: position for position, sample in enumerate(graphs.sample_ids)}
    truth = labels.aligned(fitted.target, fitted.split.validation)
    known = np.isfinite(truth)
    chosen = [place[sample] for sample, has in zip(fitted.split.validation, known, strict=True) if has]
    error = predict(fitted, graphs.select(chosen)) - truth[known]
    spread = float(((truth[known] - truth[known].mean()) ** 2).sum())
    return StudyRow(
        rank=0,
        name=fitted.name,
        architecture=describe(fitted.model),
        target=fitted.target,
        seed=fitted.seed,
        validation_mae=float(np.abs(error).mean()),
        validation_r2=1.0 - float((error**2).sum()) / spread if spread > 0 else float("nan"),
        best_epoch=fitted.best_epoch,
        parameters=_parameters(fitted),
        seconds=timed.seconds,
    )


def _parameters(fitted: Fitted) -> int:
    module = build_network(fitted.model, fitted.inputs, fitted.seed, max(1, len(fitted.heads)))
    return sum(parameter.numel() for parameter in module.parameters())


def _origin(timed: Sequence[TimedFit], settings: TrainingSettings, seeds: Sequence[int]) -> Origin:
    first = timed[0].fitted.origin
    plain: dict[str, Any] = {**asdict(settings), "seeds": list(seeds), "fits": len(timed)}
    return Origin(room="training", settings=plain, inputs=first.inputs, versions=first.versions)
