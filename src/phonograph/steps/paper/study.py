"""Items about hyperparameters: Figures S5–S8 from a study, and Figure S2 from fits at several cutoffs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from phonograph.errors import DataError
from phonograph.evaluation import corrected_t
from phonograph.report.words import fixed, listed, number, plural
from phonograph.steps.paper.published import STUDY_FIGURES, WORDS
from phonograph.steps.paper.verdicts import with_bound, without
from phonograph.streams import stream
from phonograph.types import FloatArray
from phonograph.types.curves import Interval
from phonograph.types.paper import Comparison, PaperItem, PaperTable
from phonograph.types.study import HyperparameterStudy

LEAST_R2 = -1.0
"""Models below are left out of the violins, as in the paper, and counted."""

RATE = "learning_rate"
BEST_RATES = (1e-4, 1e-5)
DRAWS = 500
CONVERGED = 1.05
"""A cutoff has converged where the error is at most this times the lowest at any cutoff."""


def violins(key: str, study: HyperparameterStudy, seed: int) -> PaperItem:
    """Return one of Figures S5–S8: how scores on the validation part spread over each hyperparameter."""
    target = STUDY_FIGURES[key]
    trials = [trial for trial in study.first_rung(target) if not trial.failure and np.isfinite(trial.r2)]
    shown = [trial for trial in trials if trial.r2 >= LEAST_R2]
    if len(shown) < 4:
        raise DataError(f"the study of {target} has {len(shown)} models with R² ≥ −1; a violin needs more")
    axes = list(study.axes)
    scores = {"r2": np.array([t.r2 for t in shown]), "mae": np.array([t.mae for t in shown])}
    scores["mse"] = np.array([t.rmse**2 for t in shown])
    levels = {axis: [trial.values[place] for trial in shown] for place, axis in enumerate(axes)}
    arrays: dict[str, FloatArray] = dict(scores)
    for axis in axes:
        arrays[f"level.{axis}"] = np.array([study.axes[axis].index(level) for level in levels[axis]], dtype=np.float64)
    shares, draws = _shares(levels, scores["r2"], seed)
    unit = study.units.get(target, "")
    return PaperItem(
        key=key,
        title=f"Hyperparameters: {WORDS[target]}",
        comparisons=(
            _rate_matters(key, axes, shares, draws, len(shown)),
            _best_rates(key, levels.get(RATE, []), scores["r2"], seed),
        ),
        sentences=(
            f"{plural(len(study.first_rung(target)), 'model')} on validation (the paper: 480 for each target); "
            f"{len(trials) - len(shown)} with R² < −1 are not drawn, as in the paper, and "
            f"{len(study.first_rung(target)) - len(trials)} failed. Levels: "
            + "; ".join(f"{axis} {listed(values)}" for axis, values in study.axes.items())
            + ".",
        ),
        tables=(_level_table(study, levels, scores, unit), _share_table(axes, shares, draws)),
        arrays=arrays,
        seeds=tuple(sorted({trial.seed for trial in shown})),
    )


def _shares(levels: Mapping[str, Sequence[str]], r2: FloatArray, seed: int) -> tuple[FloatArray, FloatArray]:
    """Return per axis η² = Σ n_k (mean_k − mean)²/Σ (R² − mean)², as found and in resamples of the models."""
    codes = [np.unique(np.asarray(found), return_inverse=True)[1] for found in levels.values()]

    def eta(chosen: np.ndarray) -> list[float]:
        values = r2[chosen]
        total = float(((values - values.mean()) ** 2).sum())
        found = []
        for code in codes:
            own = code[chosen]
            count = np.bincount(own)
            mean = np.bincount(own, weights=values) / np.maximum(count, 1)
            found.append(float((count * (mean - values.mean()) ** 2).sum()) / total if total > 0 else 0.0)
        return found

    generator = stream(seed, "paper", "study")
    draws = [eta(generator.integers(len(r2), size=len(r2))) for _ in range(DRAWS)]
    return np.array(eta(np.arange(len(r2)))), np.array(draws)


def _rate_matters(key: str, axes: Sequence[str], shares: FloatArray, draws: FloatArray, n: int) -> Comparison:
    name = f"{key}.learning-rate"
    if RATE not in axes or len(axes) < 2:
        return without(name, "the study does not vary the learning rate and another hyperparameter")
    place = list(axes).index(RATE)
    others = [other for other in range(len(axes)) if other != place]
    margins = draws[:, place] - draws[:, others].max(axis=1)
    value = float(shares[place] - shares[others].max())
    low, high = np.quantile(margins, (0.025, 0.975))
    next_ = axes[others[int(shares[others].argmax())]]
    return with_bound(
        name,
        Interval(value=value, low=float(min(low, value)), high=float(max(high, value))),
        n=n,
        n_of="models",
        at_least=0.0,
        otherwise=f"{next_} explains more",
        headline=True,
    )


def _best_rates(key: str, levels: Sequence[str], r2: FloatArray, seed: int) -> Comparison:
    """Lower of the median R² at 10⁻⁴ and 10⁻⁵ minus the highest of the other rates."""
    name = f"{key}.best-rates"
    rates = np.array([float(level) for level in levels])
    others = sorted(set(rates.tolist()) - set(BEST_RATES))
    if not others or not set(BEST_RATES) <= set(rates.tolist()):
        return without(name, "the study does not hold 10⁻⁴, 10⁻⁵ and other learning rates")

    def margin(chosen: np.ndarray) -> float:
        medians = {rate: float(np.median(r2[chosen][rates[chosen] == rate])) for rate in (*BEST_RATES, *others)}
        return min(medians[rate] for rate in BEST_RATES) - max(medians[rate] for rate in others)

    generator = stream(seed, "paper", "rates")
    members = [np.flatnonzero(rates == rate) for rate in sorted(set(rates.tolist()))]
    draws = [
        margin(np.concatenate([own[generator.integers(len(own), size=len(own))] for own in members]))
        for _ in range(DRAWS)
    ]
    low, high = np.quantile(draws, (0.025, 0.975))
    value = margin(np.arange(len(r2)))
    best = sorted(set(rates.tolist()), key=lambda rate: -float(np.median(r2[rates == rate])))[:2]
    return with_bound(
        name,
        Interval(value=value, low=float(min(low, value)), high=float(max(high, value))),
        n=len(r2),
        n_of="models",
        at_least=0.0,
        otherwise=f"the two best rates are {listed([f'{rate:g}' for rate in best])}",
        headline=True,
    )


def _level_table(
    study: HyperparameterStudy, levels: Mapping[str, Sequence[str]], scores: Mapping[str, FloatArray], unit: str
) -> PaperTable:
    rows = []
    for axis, values in study.axes.items():
        for level in values:
            here = np.array([found == level for found in levels[axis]])
            if here.any():
                r2, mae = scores["r2"][here], scores["mae"][here]
                best, middle = number(float(r2.max())), number(float(np.median(r2)))
                rows.append((axis, level, int(here.sum()), middle, best, number(float(np.median(mae)))))
    head = ("hyperparameter", "value", "models", "median R²", "highest R²", f"median MAE ({unit})")
    return PaperTable(title="Scores by hyperparameter", head=head, rows=tuple(rows))


def _share_table(axes: Sequence[str], shares: FloatArray, draws: FloatArray) -> PaperTable:
    low, high = np.quantile(draws, (0.025, 0.975), axis=0)
    rows = tuple(
        (axis, fixed(value, 3), f"[{fixed(a, 3)}, {fixed(b, 3)}]")
        for axis, value, a, b in zip(axes, shares, low, high, strict=True)
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
            f"{number(best, 2)} Å.",
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
