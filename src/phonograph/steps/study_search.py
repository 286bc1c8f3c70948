"""A search beyond a grid: Optuna's TPE is asked for points and told their errors; the driver owns it.

Nothing of Optuna's is stored.  The sampler is seeded and asked in batches of a fixed size, and every error comes from
the table of jobs, so that a run that was killed asks for the same points again and finds them done.

Source: Akiba et al., KDD 2019, doi:10.1145/3292500.3330701; Bergstra et al., NeurIPS 24, 2546 (2011).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from phonograph.errors import MissingEngineError
from phonograph.models import GraphConvNet
from phonograph.training import TrainingSettings
from phonograph.training.grid import GridPoint, text_of

if TYPE_CHECKING:
    from phonograph.steps.study import Bench

LOGARITHMIC = 10.0
"""A range is searched evenly in its logarithm where its ends differ by at least this factor."""


def search(bench: Bench) -> Mapping[str, tuple[str, ...]]:
    """Try the points that Optuna asks for; return axes and ranges as text, in the order of each point's values."""
    optuna = _optuna()
    settings, seeds = bench.settings.search, bench.settings.seeds
    epochs = bench.context.config.training.settings.epochs
    space = _space(bench, optuna)
    studies = {
        target: optuna.create_study(
            direction="minimize", sampler=optuna.samplers.TPESampler(seed=bench.context.seed("study", target) % 2**32)
        )
        for target in bench.targets
    }
    for start in range(0, settings.trials, settings.batch):
        count = min(settings.batch, settings.trials - start)
        asked = [(target, studies[target].ask(space)) for target in bench.targets for _ in range(count)]
        points = [bench.point(_values(trial.params, bench)) for _, trial in asked]
        wanted = [
            (target, chosen, seed, epochs, None)
            for (target, _), chosen in zip(asked, points, strict=True)
            for seed in seeds
        ]
        outcomes = bench.train(wanted)
        for k, (target, trial) in enumerate(asked):
            own = outcomes[k * len(seeds) : (k + 1) * len(seeds)]
            error = float(np.mean([math.nan if one.failure else one.score().mae for one in own]))
            failed = optuna.trial.TrialState.FAIL
            studies[target].tell(trial, *([error] if math.isfinite(error) else [None, failed]))
    ranges = {name: tuple(map(text_of, ends)) for name, ends in settings.ranges.items()}
    return {**{name: tuple(map(text_of, values)) for name, values in bench.settings.axes.items()}, **ranges}


def point_of(bench: Bench, texts: Mapping[str, str]) -> GridPoint:
    """Return the point with these values, which are written as :func:`_values` rounds them."""
    values: dict[str, Any] = {}
    for name, text in texts.items():
        choices = {text_of(value): value for value in bench.settings.axes.get(name, ())}
        values[name] = choices[text] if text in choices else (int(text) if _is_whole(name) else float(text))
    return bench.point(values)


def _space(bench: Bench, optuna: Any) -> dict[str, Any]:
    kinds = optuna.distributions
    space: dict[str, Any] = {
        name: kinds.CategoricalDistribution([*values]) for name, values in bench.settings.axes.items()
    }
    for name, (low, high) in bench.settings.search.ranges.items():
        log = low > 0 and high / low >= LOGARITHMIC
        if _is_whole(name):
            space[name] = kinds.IntDistribution(int(low), int(high), log=log)
        else:
            space[name] = kinds.FloatDistribution(low, high, log=log)
    return space


def _values(asked: Mapping[str, Any], bench: Bench) -> dict[str, Any]:
    """Return the values of a point in the order of the axes; numbers of a range are rounded to what is shown."""
    values = {name: asked[name] for name in (*bench.settings.axes, *bench.settings.search.ranges)}
    for name in bench.settings.search.ranges:
        if not _is_whole(name):
            values[name] = float(text_of(float(values[name])))
    return values


def _is_whole(name: str) -> bool:
    homes = [one() for one in (GraphConvNet, TrainingSettings) if name in {item.name for item in fields(one)}]
    return bool(homes) and type(getattr(homes[0], name)) is int


def _optuna() -> Any:
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise MissingEngineError(
            "a search beyond a grid needs Optuna, which is not installed; install it with: "
            'pip install "phonograph[study]"'
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
