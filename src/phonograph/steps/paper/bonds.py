"""Figure 5 in simple form: which bonds a good and a poor model rest on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from phonograph.errors import DataError
from phonograph.report.words import fixed, number, percent
from phonograph.steps.paper.distributions import percentiles, share
from phonograph.steps.paper.verdicts import with_bound, with_every, without
from phonograph.streams import stream
from phonograph.types import Explanation, FloatArray
from phonograph.types.curves import Interval
from phonograph.types.paper import Comparison, PaperItem, PaperTable

PAPER_THRESHOLD = 0.86
TOP_SHARE = 0.05
FEWEST_TOP = 10
DRAWS = 2000
KEY_PAIR, QUIET_PAIR = "Ag-S", "Br-Br"


class Pairs:
    """Importances by species pair, with resamples of the edges inside each pair."""

    def __init__(self, explanation: Explanation, seed: int, name: str) -> None:
        self.importance = explanation.importance
        self.pairs = np.array([same_pair(pair) for pair in explanation.species_pair])
        self.names = tuple(sorted(set(self.pairs.tolist())))
        generator = stream(seed, "paper", "bonds", name)
        self.draws: Mapping[str, FloatArray] = {
            pair: np.array([own[generator.integers(len(own), size=len(own))].mean() for _ in range(DRAWS)])
            for pair in self.names
            for own in [self.of(pair)]
        }

    def of(self, pair: str) -> FloatArray:
        """Return the importances of one pair."""
        found: FloatArray = self.importance[self.pairs == pair]
        return found

    def mean(self, pair: str) -> Interval:
        """Return the mean importance of a pair with its interval over edges."""
        return percentiles(float(self.of(pair).mean()), self.draws[pair])

    def spread(self) -> tuple[float, FloatArray]:
        """Return the standard deviation of the pairs' means, as found and in resamples."""
        means = np.array([self.of(pair).mean() for pair in self.names])
        return float(means.std()), np.stack([self.draws[pair] for pair in self.names]).std(axis=0)


def same_pair(pair: str) -> str:
    """Return the pair in the paper's order of names; ``S-Ag`` is ``Ag-S``."""
    order = {"Ag": 0, "S": 1, "Br": 2, "I": 2}
    return "-".join(sorted(pair.split("-"), key=lambda symbol: (order.get(symbol, 3), symbol)))


def edge_importance(good: Explanation, poor: Explanation, told: Sequence[str], seed: int) -> PaperItem:
    """Return Figure 5e,f: importance of edges by species pair, of a good and of a poor model.

    Parameters
    ----------
    good, poor
        Explanations of the two on one reference crystal.
    told
        Sentences about the two models.
    seed
        Of the resampling of edges.
    """
    pairs = {"good": Pairs(good, seed, "good"), "poor": Pairs(poor, seed, "poor")}
    if KEY_PAIR not in pairs["good"].names:
        raise DataError(f"the explained crystal has no {KEY_PAIR} bond; explain a crystal that has")
    rows = tuple(
        (pair.replace("-", "–"), len(pairs["good"].of(pair)), *(_short(pairs[model].mean(pair)) for model in pairs))
        for pair in pairs["good"].names
        if pair in pairs["poor"].names
    )
    shells = tuple(
        (
            bond.species_pair.replace("-", "–"),
            bond.shell + 1,
            fixed(bond.distance_A, 2),
            bond.count,
            number(bond.importance),
        )
        for bond in sorted(good.bonds, key=lambda bond: -bond.importance)
    )
    arrays = {
        f"{model}.{pair}": found.of(pair)
        for model, found in pairs.items()
        for pair in found.names
        if len(found.of(pair))
    }
    return PaperItem(
        key="fig5",
        title="Which bonds a good and a poor model rest on",
        comparisons=tuple(_comparisons(pairs["good"], pairs["poor"])),
        sentences=(
            *told,
            "Importances are consensus values over seeds and configurations, both directions of a bond as one; the "
            "paper's are of one graph, one model and one unseeded run. Intervals are over the "
            "edges of the crystal, not over models.",
        ),
        tables=(
            PaperTable(title="Mean importance", head=("pair", "edges", "good model", "poor model"), rows=rows),
            PaperTable(
                title="Good model, by shell", head=("pair", "shell", "length (Å)", "edges", "importance"), rows=shells
            ),
        ),
        arrays=arrays,
        seeds=(seed,),
        warnings=tuple(dict.fromkeys((*good.warnings, *poor.warnings))),
    )


def _short(found: Interval) -> str:
    return f"{number(found.value, 2)} [{number(found.low, 2)}, {number(found.high, 2)}]"


def _comparisons(good: Pairs, poor: Pairs) -> list[Comparison]:
    threshold, words = PAPER_THRESHOLD, f"above {PAPER_THRESHOLD}"
    if (good.importance > threshold).sum() < FEWEST_TOP:
        threshold, words = float(np.quantile(good.importance, 1 - TOP_SHARE)), f"the highest {100 * TOP_SHARE:g} %"
    top = good.pairs[good.importance >= threshold]
    predominant = share(int((top == KEY_PAIR).sum()), len(top))
    low = share(int((good.importance < 0.4).sum()), len(good.importance))
    (a, more), (b, less) = good.spread(), poor.spread()
    return [
        with_bound(
            "fig5.good.top",
            predominant,
            n=len(top),
            n_of=f"edges ({words})",
            at_least=0.5,
            otherwise=f"{percent(predominant.value)} of them are Ag–S",
            headline=True,
        ),
        _key_pair(good),
        with_bound("fig5.good.low", low, at_least=0.5, n=len(good.importance), n_of="edges"),
        _quiet(good),
        with_bound(
            "fig5.contrast",
            percentiles(a - b, more - less),
            at_least=0.0,
            otherwise="the poor model distinguishes between bond types more",
            headline=True,
            n=len(good.importance),
            n_of="edges",
        ),
        without("fig5.dos", "needs the wave functions of DFT, which the dataset does not hold"),
    ]


def _key_pair(good: Pairs) -> Comparison:
    own = float(good.of(KEY_PAIR).mean())

    def cases(level: float) -> dict[str, Interval]:
        return {
            pair.replace("-", "–"): percentiles(
                own - float(good.of(pair).mean()), good.draws[KEY_PAIR] - good.draws[pair], level
            )
            for pair in good.names
            if pair != KEY_PAIR
        }

    return with_every(
        "fig5.good.ag-s",
        cases,
        n=len(good.importance),
        n_of="edges",
        at_least=0.0,
        otherwise=lambda pair, _: f"{pair} has the highest mean",
        headline=True,
    )


def _quiet(good: Pairs) -> Comparison:
    if QUIET_PAIR not in good.names:
        return without("fig5.good.br-br", "the explained crystal has no Br–Br edge")
    return with_bound("fig5.good.br-br", good.mean(QUIET_PAIR), n=len(good.of(QUIET_PAIR)), n_of="edges", at_most=0.2)
