"""Items about hyperparameters: Figures S5–S8 from a study, and Figure S2 from fits at several cutoffs.

What decides is the score of every point of the grid, s = mean over seeds of max(R², −1) on the validation part, with −1
for a network that failed: as the worst, not left out, because hyperparameters with which training fails matter most.
Only drawings leave out what has R² < −1, as the paper's do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from phonograph.errors import DataError
from phonograph.evaluation import corrected_t
from phonograph.evaluation.bootstrap import LEAST_GROUPS, bca
from phonograph.report.words import fixed, listed, number, plural
from phonograph.steps.paper.distributions import percentiles
from phonograph.steps.paper.published import STUDY_FIGURES, WORDS
from phonograph.steps.paper.verdicts import with_bound, with_every, without
from phonograph.streams import stream
from phonograph.types import FloatArray
from phonograph.types.curves import LEVEL, Interval
from phonograph.types.paper import Comparison, PaperItem, PaperTable
from phonograph.types.study import HyperparameterStudy, StudyTrial

LEAST_R2 = -1.0
"""Models below are left out of the violins, as in the paper, and counted; in every verdict they count as this."""

RATE = "learning_rate"
BEST_RATES = (1e-4, 1e-5)
DRAWS = 2000
CONVERGED = 1.05
"""A cutoff has converged where the error is at most this times the lowest at any cutoff."""


@dataclass(frozen=True, eq=False)
class Points:
    """Points of a grid: axis → level of each point, as text, and the score of each, shape (points,)."""

    levels: Mapping[str, Sequence[str]]
    score: FloatArray


def violins(key: str, study: HyperparameterStudy, seed: int) -> PaperItem:
    """Return one of Figures S5–S8: how scores on the validation part spread over each hyperparameter."""
    target = STUDY_FIGURES[key]
    trials = study.first_rung(target)
    axes = list(study.axes)
    if any(trial.values[place] not in study.axes[axis] for trial in trials for place, axis in enumerate(axes)):
        raise DataError("Figures S5–S8 need the study of a grid; set study.strategy to 'full'")
    trained = [trial for trial in trials if not trial.failure and np.isfinite(trial.r2)]
    shown = [trial for trial in trained if trial.r2 >= LEAST_R2]
    if len(shown) < 4:
        raise DataError(f"the study of {target} has {len(shown)} models with R² ≥ −1; a violin needs more")
    points = points_of(axes, trials)
    arrays: dict[str, FloatArray] = {
        "r2": np.array([trial.r2 for trial in shown]),
        "mae": np.array([trial.mae for trial in shown]),
        "mse": np.array([trial.rmse**2 for trial in shown]),
    }
    for place, axis in enumerate(axes):
        codes = [study.axes[axis].index(trial.values[place]) for trial in shown]
        arrays[f"level.{axis}"] = np.array(codes, dtype=np.float64)
    return PaperItem(
        key=key,
        title=f"Hyperparameters: {WORDS[target]}",
        comparisons=_comparisons(key, study, trials, points, seed),
        sentences=(
            f"{plural(len(trials), 'model')} on validation (the paper: 480 for each target), strategy "
            f"{study.strategy!r}, up to {plural(max(trial.epochs for trial in trials), 'epoch')}; "
            f"{len(trained) - len(shown)} with R² < −1 and {len(trials) - len(trained)} that failed are not drawn, the "
            "former as in the paper. In the verdicts and tables these count as R² = −1, and seeds are averaged first. "
            "Levels: " + "; ".join(f"{axis} {listed(values)}" for axis, values in study.axes.items()) + ".",
        ),
        tables=(_level_table(study, trials, points, study.units.get(target, "")), _share_table(points, seed)),
        arrays=arrays,
        seeds=tuple(sorted({trial.seed for trial in shown})),
    )


def _comparisons(
    key: str, study: HyperparameterStudy, trials: Sequence[StudyTrial], points: Points, seed: int
) -> tuple[Comparison, ...]:
    if study.strategy == "full":
        return _rate_matters(key, points, seed), _best_rates(key, points, seed)
    epochs = plural(max(trial.epochs for trial in trials), "epoch")
    reason = (
        f"strategy {study.strategy!r} trains the whole grid for {epochs} only, where low learning rates have not "
        "finished; a study with strategy 'full' decides"
    )
    return tuple(without(f"{key}.{name}", reason, headline=True) for name in ("learning-rate", "best-rates"))


def points_of(axes: Sequence[str], trials: Sequence[StudyTrial]) -> Points:
    """Return the points of the trials with their scores, mean over seeds of max(R², −1), −1 for a failure."""
    found: dict[tuple[str, ...], list[float]] = {}
    for trial in trials:
        known = not trial.failure and np.isfinite(trial.r2)
        found.setdefault(trial.values, []).append(max(trial.r2, LEAST_R2) if known else LEAST_R2)
    return Points(
        {axis: [values[place] for values in found] for place, axis in enumerate(axes)},
        np.array([np.mean(scores) for scores in found.values()]),
    )


def _shares(points: Points, seed: int, against: str = "", level: float = LEVEL) -> dict[str, Interval]:
    """Return per axis η² = Σ_k n_k (s̄_k − s̄)²/Σ (s − s̄)² with its interval over points.

    With ``against`` an axis, its η² less that of each other axis.
    """
    score = points.score - points.score.mean()
    one_hot = [np.unique(np.asarray(found), return_inverse=True)[1] for found in points.levels.values()]
    columns = [np.eye(code.max() + 1)[code] for code in one_hot]
    widths = np.cumsum([found.shape[1] for found in columns])[:-1]
    counts = np.concatenate(columns, axis=1)
    sums = np.concatenate([counts, counts * score[:, None], score[:, None], score[:, None] ** 2], axis=1)
    names = list(points.levels)
    others = [place for place, name in enumerate(names) if name != against]

    def eta(totals: FloatArray) -> FloatArray:
        count, total, whole = np.split(totals, [counts.shape[1], 2 * counts.shape[1]], axis=-1)
        # n is the sum over the levels of any axis.
        shift = whole[..., :1] ** 2 / count[..., : columns[0].shape[1]].sum(axis=-1, keepdims=True)
        squares = total**2 / np.maximum(count, 1.0)
        between = np.stack([part.sum(axis=-1) for part in np.split(squares, widths, axis=-1)], axis=-1) - shift
        scatter = whole[..., 1:] - shift
        found = np.divide(between, scatter, out=np.zeros_like(between), where=scatter > 0)
        return found if not against else found[..., names.index(against), None] - found[..., others]

    found = bca(sums, eta, seed=seed, draws=DRAWS, level=level)
    return {names[place]: one for place, one in zip(others, found, strict=True)}


def _rate_matters(key: str, points: Points, seed: int) -> Comparison:
    name = f"{key}.learning-rate"
    if RATE not in points.levels or len(points.levels) < 2:
        return without(name, "the study does not vary the learning rate and another hyperparameter")
    return with_every(
        name,
        lambda level: _shares(points, seed, RATE, level),
        n=len(points.score),
        n_of="points",
        at_least=0.0,
        otherwise=lambda other, found: f"{other} explains more, by {number(-found.value, 2)}",
        headline=True,
    )


def _best_rates(key: str, points: Points, seed: int) -> Comparison:
    """Median scores at 10⁻⁴ and at 10⁻⁵, each minus that of every other rate."""
    name = f"{key}.best-rates"
    rates = np.array([float(level) for level in points.levels.get(RATE, [])])
    others = sorted(set(rates.tolist()) - set(BEST_RATES))
    if not others or not set(BEST_RATES) <= set(rates.tolist()):
        return without(name, "the study does not hold 10⁻⁴, 10⁻⁵ and other learning rates")
    scores = {rate: points.score[rates == rate] for rate in (*BEST_RATES, *others)}
    if min(map(len, scores.values())) < LEAST_GROUPS:
        return without(name, f"fewer than {LEAST_GROUPS} points at one of the rates say nothing about others")
    generator = stream(seed, "paper", "rates")
    medians = {rate: float(np.median(own)) for rate, own in scores.items()}
    draws = {
        rate: np.median(own[generator.integers(len(own), size=(DRAWS, len(own)))], axis=1)
        for rate, own in scores.items()
    }

    def cases(level: float) -> dict[str, Interval]:
        return {
            f"{best:g} against {other:g}": percentiles(
                medians[best] - medians[other], draws[best] - draws[other], level
            )
            for best in BEST_RATES
            for other in others
        }

    best_two = sorted(medians, key=lambda rate: -medians[rate])[:2]
    return with_every(
        name,
        cases,
        n=len(points.score),
        n_of="points",
        at_least=0.0,
        otherwise=lambda pair, _: f"{pair} loses; the two best rates are {listed([f'{rate:g}' for rate in best_two])}",
        headline=True,
    )


def _level_table(study: HyperparameterStudy, trials: Sequence[StudyTrial], points: Points, unit: str) -> PaperTable:
    rows: list[tuple[str | float, ...]] = []
    for place, (axis, values) in enumerate(study.axes.items()):
        for level in values:
            here = [trial for trial in trials if trial.values[place] == level]
            if not here:
                rows.append((axis, level, 0, 0, *(3 * ("–",))))
                continue
            score = points.score[np.array([found == level for found in points.levels[axis]])]
            # A network that failed has an error beyond all others.
            mae = np.median([trial.mae if not trial.failure and np.isfinite(trial.mae) else np.inf for trial in here])
            worst = sum(not trial.r2 >= LEAST_R2 for trial in here)
            middle, best = number(float(np.median(score))), number(float(score.max()))
            rows.append((axis, level, len(here), worst, middle, best, number(float(mae))))
    head = ("hyperparameter", "value", "models", "not drawn", "median R²", "highest R²", f"median MAE ({unit})")
    return PaperTable(title="Scores by hyperparameter, seeds averaged for R²", head=head, rows=tuple(rows))


def _share_table(points: Points, seed: int) -> PaperTable:
    rows = tuple(
        (axis, fixed(found.value, 3), f"[{fixed(found.low, 3)}, {fixed(found.high, 3)}]")
        for axis, found in _shares(points, seed).items()
    )
    return PaperTable(
        title="Share of the variance of R² that each hyperparameter explains alone",
        head=("hyperparameter", "share", "95 % interval"),
        rows=rows,
    )


def cutoffs(errors: Mapping[float, Mapping[int, float]], chosen_A: float) -> PaperItem:
    """Return Figure S2: the error on the validation part against the cutoff of the graphs.

    Parameters
    ----------
    errors
        Cutoff, Å → seed → validation MAE of the gap, eV; the same seeds, splits and networks at every cutoff.
    chosen_A
        The cutoff that is said to be converged.
    """
    if chosen_A not in errors or len(errors) < 2:
        raise DataError(f"Figure S2 needs {chosen_A:g} Å and another cutoff in paper.cutoffs_A; got {sorted(errors)}")
    seeds = sorted(set.intersection(*(set(found) for found in errors.values())))
    steps = sorted(errors)
    means = {cutoff: float(np.mean([errors[cutoff][seed] for seed in seeds])) for cutoff in steps}
    best = min((cutoff for cutoff in steps if cutoff != chosen_A), key=lambda cutoff: means[cutoff])
    # One split for all: the networks of different seeds differ by their weights and order alone.
    ratio = corrected_t([errors[chosen_A][seed] / errors[best][seed] for seed in seeds], 0.0).interval
    lines = []
    for cutoff in steps:
        found = corrected_t([errors[cutoff][seed] for seed in seeds], 0.0).interval
        lines.append([cutoff, found.value, found.low, found.high])
    return PaperItem(
        key="s2",
        title="Validation error against the cutoff of the graphs",
        comparisons=(
            with_bound(
                "s2.converged",
                ratio,
                n=len(seeds),
                n_of="seeds",
                at_most=CONVERGED,
                otherwise=f"at {number(best, 2)} Å the error is {fixed(100 * (1 - 1 / ratio.value), 0)} % lower",
                headline=True,
            ),
        ),
        sentences=(
            f"{plural(len(seeds), 'seed')} at each cutoff, the same splits and networks; the best other cutoff is "
            f"{number(best, 2)} Å. Intervals are over seeds, on one validation part: not over other cells.",
        ),
        tables=(
            PaperTable(
                title="Validation MAE of the gap",
                head=("cutoff (Å)", "MAE (eV)", "95 % interval"),
                rows=tuple((number(c, 2), number(v), f"[{number(a)}, {number(b)}]") for c, v, a, b in lines),
            ),
        ),
        arrays={"mae_eV": np.array(lines)},
        seeds=tuple(seeds),
    )
