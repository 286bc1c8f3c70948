"""The power law of a learning curve, MAE(N) = a·N^(−b) + c, and how many labels an error is worth.

Fitted in log space with bounds; the scale is linear there, so the rest is a search over b and the share of the error at
the smallest size that falls with N.  Both lie between finite ends, so that a grid over them misses no minimum.
Intervals come from resampled seeds: a seed draws its split, its nested subsets and its weights, so that its whole curve
is drawn or not.

Sources: C. Cortes et al., Adv. Neural Inf. Process. Syst. 6, 327 (1993) (the law); B. Brumen et al., Entropy 23, 1123
(2021), doi:10.3390/e23091123 (it fits best of three forms over 130 data sets).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from phonograph.errors import DataError
from phonograph.evaluation.bootstrap import group_counts
from phonograph.types import FloatArray, read_only
from phonograph.types.arrays import set_field
from phonograph.types.curves import LEVEL, Interval

LARGEST_EXPONENT = 2.0
"""0 ≤ b ≤ 2: errors of regression do not fall faster than 1/N² by learning alone."""

EXTRAPOLATION = 2.0
"""A law is asked at most this factor beyond the sizes it was fitted to."""

LEAST_SIZES = 3
DRAWS = 1000
_B = np.linspace(0.0, LARGEST_EXPONENT, 41)
_SHARE = 1.0 / (1.0 + np.concatenate([[0.0], np.logspace(-4, 3, 43)]))
"""s = a·n^(−b)/(a·n^(−b) + c) at the smallest size n: 1 for no floor, 0 for nothing but a floor."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PowerLawFit:
    """A fitted law and its bootstrap draws.

    Attributes
    ----------
    sizes, mae
        What was fitted: N and the mean over seeds of the MAE, shape (s,).
    law, draws
        (a, b, c) of the fit and of every draw, shapes (3,) and (draws, 3); a and c in the target's unit.
    seeds, excluded
        Seeds that entered, and seeds without an error at every size.
    residual
        Root mean square of ln MAE about the law.
    floor
        ``"free"``, or ``"zero"``: c = 0, because three sizes do not determine it.
    """

    sizes: FloatArray
    mae: FloatArray
    law: FloatArray
    draws: FloatArray
    seeds: int
    excluded: int
    residual: float
    floor: str

    def __post_init__(self) -> None:
        for name, shape in (("sizes", (None,)), ("mae", (None,)), ("law", (3,)), ("draws", (None, 3))):
            set_field(self, name, read_only(name, getattr(self, name), shape))

    @property
    def limits(self) -> tuple[float, float]:
        """Sizes between which the law may be asked."""
        return float(self.sizes.min()) / EXTRAPOLATION, float(self.sizes.max()) * EXTRAPOLATION

    def at(self, size: float) -> Interval:
        """Return MAE(N) with its 95 % interval, in the target's unit.

        Raises
        ------
        DataError
            Where N is more than :data:`EXTRAPOLATION` times beyond the fitted sizes.
        """
        low, high = self.limits
        if not low <= size <= high:
            raise DataError(
                f"a power law fitted to {self.sizes.min():g}–{self.sizes.max():g} labels says nothing about {size:g}; "
                f"measure it, or ask between {low:g} and {high:g}"
            )
        return _interval(float(law_at(self.law, size)), law_at(self.draws, size))

    def parameters(self) -> tuple[Interval, Interval, Interval]:
        """Return a, b and c with their 95 % intervals."""
        a, b, c = (_interval(float(self.law[place]), self.draws[:, place]) for place in range(3))
        return a, b, c

    def sizes_for(self, mae: float | FloatArray) -> tuple[float, FloatArray]:
        """Return N(M) = ((M − c)/a)^(−1/b) of the fit and of every draw, clipped to :attr:`limits`."""
        values = np.broadcast_to(mae, (len(self.draws) + 1,))
        laws = np.vstack([self.law, self.draws])
        found = np.clip(_inverse(laws, values), *self.limits)
        return float(found[0]), found[1:]


def fit_power_law(
    sizes: ArrayLike, errors: ArrayLike, *, ratio: ArrayLike = 0.0, seed: int = 0, draws: int = DRAWS
) -> PowerLawFit:
    """Fit MAE(N) = a·N^(−b) + c with a ≥ 0, 0 ≤ b ≤ 2, c ≥ 0 to the mean errors of several seeds.

    Minimises Σ_N (ln MAE_N − ln(a·N^(−b) + c))².  Each draw of the bootstrap takes as many seeds as there are, with
    replacement, and refits; deviations from the mean curve are widened by √((1/J + ρ/(1−ρ))·J²/(J−1))·t_{J−1}/z,
    because few seeds, and splits that share samples, vary less than the truth does (see
    :func:`phonograph.evaluation.comparison.corrected_t`).

    Parameters
    ----------
    sizes
        Numbers of labels N, all different, shape (s,), s ≥ 3; with three c is held at 0.
    errors
        MAE per seed and size in the target's unit, shape (J, s); seeds with a NaN are left out and counted.
    ratio
        ρ/(1 − ρ) of the test parts, one number or one per size; 0 for independent repeats.
    seed, draws
        Of the bootstrap.  The same seeds are drawn for every curve with as many seeds: curves of the same seeds stay
        paired.

    Raises
    ------
    DataError
        For fewer than three sizes, or no seed with a positive error at every size.
    """
    n, table = np.asarray(sizes, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    if n.ndim != 1 or table.ndim != 2 or table.shape[1] != len(n) or len(set(n.tolist())) < LEAST_SIZES:
        raise DataError(
            f"a power law needs errors of shape (seeds, sizes) at {LEAST_SIZES} or more different sizes; got sizes "
            f"{n.tolist()} and errors of shape {table.shape}"
        )
    complete = np.isfinite(table).all(axis=1) & (table > 0).all(axis=1)
    table = table[complete]
    if len(table) == 0:
        raise DataError("no seed has a positive error at every size; train the missing sizes first")
    mean = table.mean(axis=0)
    free = len(n) > LEAST_SIZES
    law = _fit(n, np.log(mean)[None], free)[0]
    residual = float(np.sqrt(np.mean((np.log(mean) - np.log(law_at(law, n))) ** 2)))
    return PowerLawFit(
        sizes=n,
        mae=mean,
        law=law,
        draws=_fit(n, _resampled(table, ratio, seed, draws), free),
        seeds=len(table),
        excluded=int((~complete).sum()),
        residual=residual,
        floor="free" if free else "zero",
    )


def _resampled(table: FloatArray, ratio: ArrayLike, seed: int, draws: int) -> FloatArray:
    """Return ln of mean curves of resampled seeds, deviations widened, shape (draws, sizes); none for one seed."""
    from scipy.special import ndtri, stdtrit

    repeats, level = len(table), 0.5 + 0.5 * LEVEL
    if repeats < 2:
        return np.zeros((0, table.shape[1]))
    counts = group_counts(repeats, draws, seed).astype(np.float64)
    mean = np.log(table.mean(axis=0))
    away = np.log(counts @ table / repeats) - mean
    correction = (1.0 / repeats + np.asarray(ratio, dtype=np.float64)) * repeats**2 / (repeats - 1)
    return mean + away * np.sqrt(correction) * float(stdtrit(repeats - 1, level) / ndtri(level))


def law_at(law: FloatArray, size: ArrayLike) -> FloatArray:
    """Return a·N^(−b) + c of laws (a, b, c), shape (…, 3), at one size each, or of one law at many sizes."""
    a, b, c = np.moveaxis(np.asarray(law, dtype=np.float64), -1, 0)
    return np.asarray(a * np.asarray(size, dtype=np.float64) ** -b + c)


def _inverse(laws: FloatArray, mae: FloatArray) -> FloatArray:
    """Return N at which each law gives its MAE; infinite where it never falls that low."""
    a, b, c = laws.T
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        found = ((mae - c) / a) ** (-1.0 / b)
    found = np.where(mae <= c, np.inf, found)
    return np.where(b > 0, found, np.where(mae >= a + c, 0.0, np.inf))


def _interval(value: float, draws: FloatArray) -> Interval:
    if len(draws) == 0:
        return Interval(value=value, low=float("nan"), high=float("nan"))
    low, high = np.quantile(draws, [0.5 - 0.5 * LEVEL, 0.5 + 0.5 * LEVEL])
    return Interval(value=value, low=float(low), high=float(high))


def _fit(sizes: FloatArray, logs: FloatArray, free: bool) -> FloatArray:
    """Return (a, b, c) for every row of ln MAE, shape (rows, 3)."""
    smallest = float(sizes.min())
    x = np.log(sizes / smallest)
    shares = _SHARE if free else _SHARE[:1]
    b, share = (grid.ravel() for grid in np.meshgrid(_B, shares, indexing="ij"))
    shape = np.log(_curve(x, b, share))
    shape -= shape.mean(axis=1, keepdims=True)
    centred = logs - logs.mean(axis=1, keepdims=True)
    best = np.concatenate(
        [np.argmin((shape**2).sum(axis=1) - 2.0 * part @ shape.T, axis=1) for part in _chunks(centred)]
    )
    b, share = _refine(x, centred, b[best], share[best], free)
    scale = np.exp((logs - np.log(_curve(x, b, share))).mean(axis=1))
    return np.stack([scale * share * smallest**b, b, scale * (1.0 - share)], axis=1)


def _curve(x: FloatArray, b: FloatArray, share: FloatArray) -> FloatArray:
    """Return s·e^(−b·x) + 1 − s with x = ln(N/n): the law over its value at the smallest n, shape (rows, sizes)."""
    return share[:, None] * np.exp(-b[:, None] * x) + (1.0 - share[:, None])


def _chunks(rows: FloatArray, most: int = 500) -> list[FloatArray]:
    return [rows[start : start + most] for start in range(0, len(rows), most)] or [rows]


def _refine(
    x: FloatArray, centred: FloatArray, b: FloatArray, share: FloatArray, free: bool, rounds: int = 25
) -> tuple[FloatArray, FloatArray]:
    """Improve (b, s) of every row by damped Gauss–Newton steps inside the bounds, from the grid's best."""

    def model(b: FloatArray, share: FloatArray) -> tuple[FloatArray, FloatArray]:
        power, total = np.exp(-b[:, None] * x), _curve(x, b, share)
        slope_b, slope_share = -x * share[:, None] * power / total, (power - 1.0) / total
        parts = [part - part.mean(axis=1, keepdims=True) for part in (np.log(total), slope_b, slope_share)]
        return centred - parts[0], np.stack(parts[1:], axis=-1)

    damping = np.full(len(b), 1e-3)
    residual, slope = model(b, share)
    cost = (residual**2).sum(axis=1)
    for _ in range(rounds):
        gradient = np.einsum("rs,rsp->rp", residual, slope)
        # A parameter that is pushed against its bound stays there; the other moves as if it were fixed.
        held_b = ((b <= 0) & (gradient[:, 0] < 0)) | ((b >= LARGEST_EXPONENT) & (gradient[:, 0] > 0))
        held_s = ((share <= 0) & (gradient[:, 1] < 0)) | ((share >= 1) & (gradient[:, 1] > 0)) | (not free)
        used = np.where(np.stack([held_b, held_s], axis=-1)[:, None, :], 0.0, slope)
        gradient = np.einsum("rs,rsp->rp", residual, used)
        curvature = np.einsum("rsp,rsq->rpq", used, used)
        # Each parameter is damped by its own curvature: that of s is thousands of times larger without a floor.
        own = np.maximum(np.einsum("rpp->rp", curvature), 1e-12)
        curvature += (damping[:, None] * own)[:, :, None] * np.eye(2)
        step = np.linalg.solve(curvature, gradient[..., None])[..., 0]
        b_new = np.clip(b + step[:, 0], 0.0, LARGEST_EXPONENT)
        share_new = np.clip(share + step[:, 1], 0.0, 1.0)
        residual_new, slope_new = model(b_new, share_new)
        cost_new = (residual_new**2).sum(axis=1)
        better = cost_new < cost
        b, share, cost = (np.where(better, *two) for two in ((b_new, b), (share_new, share), (cost_new, cost)))
        residual = np.where(better[:, None], residual_new, residual)
        slope = np.where(better[:, None, None], slope_new, slope)
        damping = np.clip(np.where(better, damping / 4, damping * 5), 1e-12, 1e6)
    return b, share


def label_factor(ours: PowerLawFit, base: PowerLawFit, base_size: float) -> tuple[Interval, float, str, float]:
    """Return F = N_base(M*)/N_ours(M*) with its 95 % interval, M*, a bound in words, and the share of clipped draws.

    M* = MAE_base(``base_size``) by the fitted law, anew in every draw, so that N_base(M*) = ``base_size`` and F says
    how many times fewer labels ``ours`` needs for the same error.  N_ours is clipped to the sizes its law may be asked
    about: where the fit itself is clipped, F is a bound (``"at least"``, ``"at most"``) and not a value.

    Raises
    ------
    DataError
        Where ``base_size`` is beyond what the law of ``base`` may be asked about.
    """
    target = base.at(base_size).value
    paired = len(ours.draws) == len(base.draws)
    laws = base.draws if paired else np.broadcast_to(base.law, ours.draws.shape)
    wanted = np.concatenate([[target], law_at(laws, base_size)])
    value, draws = ours.sizes_for(wanted)
    low, high = ours.limits
    censored = float(np.mean((draws <= low) | (draws >= high))) if len(draws) else float("nan")
    bound = "at least" if value <= low else "at most" if value >= high else ""
    return _interval(base_size / value, base_size / draws), target, bound, censored
