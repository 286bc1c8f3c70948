"""Items about learning curves: Figure 4 and Table S1, from the lines that ``phonograph learning-curve`` writes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from phonograph.errors import DataError
from phonograph.evaluation import corrected_t, overlap_ratio
from phonograph.report.words import fixed, number, plural
from phonograph.steps.paper.data import COMBINED, MD, PHONON, RANDOM
from phonograph.steps.paper.models import LIKE_SPREAD
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
        self.lines: dict[tuple[str, str, int], dict[int, CurveRow]] = {}
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
        return corrected_t([getattr(row, metric) for row in cell.values()], _ratio(cell)).interval

    def paired(
        self,
        first: tuple[str, str, int],
        second: tuple[str, str, int],
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
            f"At {largest} labels both sets are of equal size.",
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
        n = len(curves.cell(part, part, size))
        r2 = curves.mean(part, part, size, "r2")
        found.append(with_number(f"fig4.{part}.own.r2", r2, n=n, n_of="seeds", headline=True))
        found.append(_own_mae(curves, part, size, n))
    places = ((PHONON, PHONON, size), (RANDOM, RANDOM, size))
    r2, n = curves.paired(*places, "r2")
    found.append(_better("fig4.own.r2", r2, n, "", headline=True))
    mae, n = curves.paired(places[1], places[0], "mae")
    found.append(_better("fig4.own.mae", mae, n, "eV"))
    return found


def _own_mae(curves: Curves, part: str, size: int, n: int) -> Comparison:
    """Compare the MAE in eV where the labels spread as in the paper (there from MAE and R² of normal errors)."""
    key = f"fig4.{part}.own.mae"
    mae = curves.mean(part, part, size, "mae")
    published_r2, published = STATEMENTS[f"fig4.{part}.own.r2"].value, STATEMENTS[key].value
    theirs = published * math.sqrt(math.pi / 2) / math.sqrt(1.0 - published_r2)
    cell = curves.cell(part, part, size).values()
    ours = float(np.mean([row.rmse / math.sqrt(1.0 - row.r2) for row in cell if row.r2 < 1.0]))
    if max(ours / theirs, theirs / ours) <= LIKE_SPREAD:
        return with_number(key, mae, n=n, n_of="seeds", headline=True)
    reason = (
        f"gaps spread by {number(ours, 2)} eV here and about {number(theirs, 2)} in the paper; in units of the spread "
        f"{fixed(mae.value / ours, 2)} here, {fixed(published / theirs, 2)} there"
    )
    return without(key, reason, ours=mae, n=n, n_of="seeds", unit="eV", headline=True)


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
    mae, n = curves.paired((COMBINED, COMBINED, combined), (PHONON, PHONON, phonon), "mae")
    return _better(key, mae, n, "eV", headline=True)


def _drop(curves: Curves, trained: str, other: str, size: int) -> Comparison:
    ours, n = curves.paired((trained, other, size), (trained, trained, size), "mae")
    return _better(f"fig4.{trained}.drop", ours, n, "eV")


def _complementary(curves: Curves, size: int) -> list[Comparison]:
    places = ((RANDOM, PHONON, size), (PHONON, RANDOM, size))
    mae, n = curves.paired(*places, "mae")
    r2, _ = curves.paired(places[1], places[0], "r2")
    return [
        _better("fig4.complementary.mae", mae, n, "eV", headline=True),
        _better("fig4.complementary.r2", r2, n, ""),
    ]


def _combined(curves: Curves, size: int) -> Comparison:
    ours, n = curves.paired((RANDOM, COMBINED, size), (PHONON, COMBINED, size), "mae")
    return _better("fig4.combined.mae", ours, n, "eV", headline=True)


def phonon_and_dynamics(curves: Curves) -> PaperItem:
    """Return Table S1: networks trained on phonon cells and on frames of molecular dynamics, about 1,000 each."""
    size = min(curves.sizes(PHONON, MD), key=lambda found: abs(math.log(found / CONVERGED_AT)))
    own, n = curves.paired((MD, MD, size), (PHONON, PHONON, size), "mae")
    mae, _ = curves.paired((MD, PHONON, size), (PHONON, MD, size), "mae")
    r2, _ = curves.paired((PHONON, MD, size), (MD, PHONON, size), "r2")
    rows = [
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
            _better("table-s1.own.mae", own, n, "eV", headline=True),
            _better("table-s1.complementary.mae", mae, n, "eV", headline=True),
            _better("table-s1.complementary.r2", r2, n, ""),
        ),
        sentences=(
            f"Both were given {size} labels (the paper: about 1,000). Own tests are different cells, so a smaller "
            "error on the own test may also mean that these cells are easier.",
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
