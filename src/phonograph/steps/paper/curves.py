"""Items about learning curves: Figure 4 and Table S1, from the lines that ``phonograph learning-curve`` writes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from phonograph.errors import DataError
from phonograph.evaluation import corrected_t, overlap_ratio
from phonograph.report.words import fixed, number, plural
from phonograph.steps.paper.data import COMBINED, MD, PHONON, RANDOM
from phonograph.steps.paper.judged import LIKE_SPREAD, at_most_one, implied_spread, spread_alike
from phonograph.steps.paper.published import STATEMENTS
from phonograph.steps.paper.verdicts import with_bound, with_number, without
from phonograph.types import CurveRow, FloatArray
from phonograph.types.curves import Interval
from phonograph.types.paper import Comparison, PaperItem, PaperTable

GAP = "band_gap_eV"
CONVERGED_AT = 1000
CONVERGED = 1.05
"""A curve has converged where the error is at most this times that at the most labels."""

METRICS = ("mae", "rmse", "r2", "pearson_r2")
Place = tuple[str, str, int]
"""What trained, what is tested, and how many labels."""


class Curves:
    """Lines of learning curves of the gap, by the part that collections play; scope ``all``, chosen networks only.

    Parameters
    ----------
    rows
        Lines of ``learning_curve.csv``.
    names
        Part → name of the training collection and of the tested set.
    """

    def __init__(self, rows: Sequence[CurveRow], names: Mapping[str, str]) -> None:
        self.names = names
        self.lines: dict[Place, dict[int, CurveRow]] = {}
        parts = {name: part for part, name in names.items()}
        for row in rows:
            if row.target == GAP and row.scope == "all" and row.chosen:
                if row.trained_on in parts and row.tested_on in parts:
                    key = (parts[row.trained_on], parts[row.tested_on], row.size)
                    self.lines.setdefault(key, {})[row.seed] = row

    def sizes(self, *trained: str) -> list[int]:
        """Return the sizes that all these training parts have, ascending."""
        found = [{size for part, _, size in self.lines if part == name} for name in trained]
        shared = sorted(set.intersection(*found))
        if not shared:
            words = " and ".join(repr(self.names.get(part, part)) for part in trained)
            raise DataError(
                f"there is no learning curve of {words} at one size; add them to learning_curve.collections"
            )
        return shared

    def cell(self, trained: str, tested: str, size: int) -> dict[int, CurveRow]:
        """Return seed → line; raises :class:`DataError` where there is none."""
        found = self.lines.get((trained, tested, size))
        if not found:
            raise DataError(
                f"there is no learning curve of {self.names.get(trained, trained)!r} tested on "
                f"{self.names.get(tested, tested)!r} at {size} labels; add it to [learning_curve]"
            )
        return found

    def mean(self, trained: str, tested: str, size: int, metric: str) -> Interval:
        """Return the mean over seeds with the interval of the corrected t."""
        cell = self.cell(trained, tested, size)
        found = corrected_t([getattr(row, metric) for row in cell.values()], _ratio(cell)).interval
        return at_most_one(metric, found)

    def paired(
        self,
        first: Place,
        second: Place,
        metric: str,
        how: Callable[[float, float], float] = lambda a, b: a - b,
    ) -> tuple[Interval, int]:
        """Return the mean over shared seeds of how(first, second), with its interval, and the number of seeds."""
        one, other = self.cell(*first), self.cell(*second)
        seeds = sorted(one.keys() & other.keys())
        if not seeds:
            raise DataError(f"the learning curves of {first[0]} and {second[0]} share no seed; run them again together")
        values = [how(getattr(one[seed], metric), getattr(other[seed], metric)) for seed in seeds]
        return corrected_t(values, max(_ratio(one), _ratio(other))).interval, len(seeds)

    def spread(self, place: Place) -> float:
        """Return the standard deviation of the tested labels, σ = RMSE/√(1 − R²), eV, mean over seeds."""
        found = [implied_spread(row.rmse, row.r2) for row in self.cell(*place).values() if row.r2 < 1.0]
        return float(np.mean(found)) if found else math.nan

    @property
    def seeds(self) -> tuple[int, ...]:
        """All seeds."""
        return tuple(sorted({seed for cell in self.lines.values() for seed in cell}))


def _ratio(cell: Mapping[int, CurveRow]) -> float:
    row = next(iter(cell.values()))
    return overlap_ratio(row.n, row.n_train, row.n_available or None)


def learning_curves(curves: Curves) -> PaperItem:
    """Return Figure 4: phonon- and random-trained networks on own, complementary and combined cells."""
    largest = curves.sizes(PHONON, RANDOM)[-1]
    comparisons = [
        *_own(curves, largest),
        *(_converged(curves, part) for part in (PHONON, RANDOM)),
        _beats_combined(curves),
        *(_drop(curves, one, other, largest) for one, other in ((PHONON, RANDOM), (RANDOM, PHONON))),
        *_complementary(curves, largest),
        _combined(curves, largest),
    ]
    arrays: dict[str, FloatArray] = {}
    rows: list[tuple[str | float, ...]] = []
    tests = {(trained, tested) for trained, tested, _ in curves.lines if trained in (PHONON, RANDOM, COMBINED)}
    for trained, tested in sorted(tests):
        sizes = [size for one, two, size in curves.lines if (one, two) == (trained, tested)]
        for metric in ("mae", "r2"):
            found = [curves.mean(trained, tested, size, metric) for size in sorted(sizes)]
            lines = [[size, f.value, f.low, f.high] for size, f in zip(sorted(sizes), found, strict=True)]
            arrays[f"{trained}.{tested}.{metric}"] = np.array(lines, dtype=np.float64)
        last = [curves.mean(trained, tested, max(sizes), metric) for metric in METRICS]
        rows.append((trained, tested, max(sizes), len(curves.cell(trained, tested, max(sizes))), *map(_short, last)))
    return PaperItem(
        key="fig4",
        title="Learning curves of the band gap",
        comparisons=tuple(comparisons),
        sentences=(
            f"{plural(len(curves.seeds), 'seed')}; 95 % intervals of the corrected t over seeds, differences by seed. "
            f"At {largest} labels both sets are of equal size. Errors in eV on different cells are compared where the "
            f"gaps spread alike, within a factor of {LIKE_SPREAD:g}; what R² says holds for any spread.",
        ),
        tables=(
            PaperTable(
                title="At the most labels",
                head=("trained on", "tested on", "labels", "seeds", "MAE (eV)", "RMSE (eV)", "R²", "Pearson r²"),
                rows=tuple(rows),
            ),
        ),
        arrays=arrays,
        seeds=curves.seeds,
    )


def _short(found: Interval) -> str:
    return f"{number(found.value)} [{number(found.low)}, {number(found.high)}]" if found.known else number(found.value)


def _own(curves: Curves, size: int) -> list[Comparison]:
    found = []
    for part in (PHONON, RANDOM):
        place = (part, part, size)
        n = len(curves.cell(*place))
        r2, mae = (curves.mean(*place, metric) for metric in ("r2", "mae"))
        found.append(with_number(f"fig4.{part}.own.r2", r2, n=n, n_of="seeds", headline=True))
        key, reason = f"fig4.{part}.own.mae", _unlike_paper(curves, place)
        if reason:
            found.append(without(key, reason, ours=mae, n=n, n_of="seeds", unit="eV", headline=True))
        else:
            found.append(with_number(key, mae, n=n, n_of="seeds", headline=True))
    places = ((PHONON, PHONON, size), (RANDOM, RANDOM, size))
    r2, n = curves.paired(*places, "r2")
    found.append(_better("fig4.own.r2", r2, n, "", headline=True))
    found.append(_lower(curves, "fig4.own.mae", places[1], places[0]))
    return found


def _unlike_paper(curves: Curves, place: Place) -> str:
    """Return why errors in eV cannot be compared with the paper's, or nothing.

    The paper's spread follows from the MAE and R² of its own test of these cells, with normal errors.
    """
    trained, tested, _ = place
    published_r2, published = (STATEMENTS[f"fig4.{tested}.own.{metric}"].value for metric in ("r2", "mae"))
    theirs, ours = implied_spread(published * math.sqrt(math.pi / 2), published_r2), curves.spread(place)
    if spread_alike(ours, theirs):
        return ""
    mae = curves.mean(*place, "mae").value
    told = f"the gaps of {tested} cells spread {number(ours / theirs, 2)} times as wide here"
    own = f", {fixed(published / theirs, 2)} there" if trained == tested else ""
    return f"{told}; in units of their spread the MAE is {fixed(mae / ours, 2)} here{own}"


def _unlike(curves: Curves, first: Place, second: Place) -> str:
    """Return why errors in eV of two tests cannot be subtracted, or nothing.

    Where labels spread more, any network errs more, one that knows nothing too.
    """
    spreads = [curves.spread(place) for place in (first, second)]
    if spread_alike(*spreads):
        return ""
    shares = [curves.mean(*place, "mae").value / spread for place, spread in zip((first, second), spreads, strict=True)]
    return (
        f"the gaps of {first[1]} cells spread {number(spreads[0] / spreads[1], 2)} times as wide as those of "
        f"{second[1]} cells; in units of each spread the MAE is {fixed(shares[0], 2)} and {fixed(shares[1], 2)}"
    )


def _lower(curves: Curves, key: str, first: Place, second: Place, *, headline: bool = False) -> Comparison:
    """Judge whether the MAE of the second place is lower, where their labels spread alike."""
    mae, n = curves.paired(first, second, "mae")
    if reason := _unlike(curves, first, second):
        return without(key, reason, ours=mae, n=n, n_of="seeds", unit="eV", headline=headline)
    return _better(key, mae, n, "eV", headline=headline)


def _better(key: str, ours: Interval, n: int, unit: str, *, headline: bool = False) -> Comparison:
    return with_bound(
        key,
        ours,
        n=n,
        n_of="seeds",
        at_least=0.0,
        unit=unit,
        otherwise=f"it is the other way round, by {number(abs(ours.value), 2)} {unit}".rstrip(),
        headline=headline,
    )


def _converged(curves: Curves, part: str) -> Comparison:
    key = f"fig4.{part}.converged"
    sizes = curves.sizes(part)
    near = min(sizes, key=lambda size: abs(math.log(size / CONVERGED_AT)))
    if max(sizes) < 1.4 * near or abs(math.log(near / CONVERGED_AT)) > math.log(1.3):
        told = ", ".join(map(str, sizes))
        return without(key, f"the sizes measured ({told}) do not hold about {CONVERGED_AT} labels and clearly more")
    ours, n = curves.paired((part, part, near), (part, part, max(sizes)), "mae", lambda a, b: a / b)
    return with_bound(
        key,
        ours,
        n=n,
        n_of="seeds",
        at_most=CONVERGED,
        otherwise=f"from {near} to {max(sizes)} labels it still falls by {fixed(100 * (1 - 1 / ours.value), 0)} %",
        headline=part == PHONON,
    )


def _beats_combined(curves: Curves) -> Comparison:
    """At the most labels that each has: the combined collection may have twice as many."""
    key = "fig4.beats-combined"
    if not any(trained == COMBINED and tested == COMBINED for trained, tested, _ in curves.lines):
        return without(key, "no network was trained on the combined set")
    phonon, combined = curves.sizes(PHONON)[-1], curves.sizes(COMBINED)[-1]
    return _lower(curves, key, (COMBINED, COMBINED, combined), (PHONON, PHONON, phonon), headline=True)


def _drop(curves: Curves, trained: str, other: str, size: int) -> Comparison:
    return _lower(curves, f"fig4.{trained}.drop", (trained, other, size), (trained, trained, size))


def _complementary(curves: Curves, size: int) -> list[Comparison]:
    places = ((RANDOM, PHONON, size), (PHONON, RANDOM, size))
    key, (mae, n) = "fig4.complementary.mae", curves.paired(*places, "mae")
    r2, _ = curves.paired(places[1], places[0], "r2")
    unlike = (_unlike(curves, *places), *(_unlike_paper(curves, place) for place in places))
    reason = next(filter(None, unlike), "")
    if reason:
        number_ = without(key, reason, ours=mae, n=n, n_of="seeds", unit="eV", headline=True)
    else:
        number_ = with_number(key, mae, n=n, n_of="seeds", headline=True)
    return [number_, _better("fig4.complementary.r2", r2, n, "")]


def _combined(curves: Curves, size: int) -> Comparison:
    ours, n = curves.paired((RANDOM, COMBINED, size), (PHONON, COMBINED, size), "mae")
    return _better("fig4.combined.mae", ours, n, "eV", headline=True)


def phonon_and_dynamics(curves: Curves) -> PaperItem:
    """Return Table S1: networks trained on phonon cells and on frames of molecular dynamics, about 1,000 each."""
    size = min(curves.sizes(PHONON, MD), key=lambda found: abs(math.log(found / CONVERGED_AT)))
    r2, n = curves.paired((PHONON, MD, size), (MD, PHONON, size), "r2")
    rows: list[tuple[str | float, ...]] = [
        (
            trained,
            tested,
            len(curves.cell(trained, tested, size)),
            *(_short(curves.mean(trained, tested, size, metric)) for metric in METRICS),
        )
        for trained in (PHONON, MD)
        for tested in (PHONON, MD)
    ]
    return PaperItem(
        key="table-s1",
        title="Phonon cells against molecular dynamics",
        comparisons=(
            _lower(curves, "table-s1.own.mae", (MD, MD, size), (PHONON, PHONON, size), headline=True),
            _lower(curves, "table-s1.complementary.mae", (MD, PHONON, size), (PHONON, MD, size), headline=True),
            _better("table-s1.complementary.r2", r2, n, ""),
        ),
        sentences=(
            f"Both were given {size} labels (the paper: about 1,000). Own tests are different cells, so a smaller "
            "error on the own test may also mean that these cells are easier; where their labels do not spread alike, "
            "errors in eV are not compared.",
        ),
        tables=(
            PaperTable(
                title="Errors of the gap",
                head=("trained on", "tested on", "seeds", "MAE (eV)", "RMSE (eV)", "R²", "Pearson r²"),
                rows=tuple(rows),
            ),
        ),
        seeds=curves.seeds,
    )
