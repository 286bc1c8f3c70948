"""Whether the explanation holds: how far predictions move when its bonds are kept or removed, in the target's unit.

With S the share of the bonds that ranks first and f_S(m) the prediction with mask m,
sufficiency = mean |f(only S) − f(all)| and necessity = mean |f(all but S) − f(all)|, over configurations.
Fidelity as in GraphFramEx, Amara et al., LoG (2022), arXiv:2206.09677, made for regression: in the target's unit,
against random rankings with the same number of bonds and against the ranking from a network with random weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from phonograph.explanation.edges import UndirectedEdges, positions_of
from phonograph.streams import stream
from phonograph.types import Fidelity, Fitted, FloatArray, GraphSet, IntArray

CHANCE = 0.05
"""An explanation is called better than chance when at most this share of random rankings does as well."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Movement:
    """|Δf| of one subject at one share, in the target's unit, shape (rankings, configurations)."""

    subject: str
    share: float
    kept: FloatArray
    without: FloatArray

    @property
    def line(self) -> Fidelity:
        """The line of the table: mean over everything, and standard deviation (n − 1) over configurations."""
        kept, without = self.kept.mean(axis=0), self.without.mean(axis=0)
        several = len(kept) > 1
        return Fidelity(
            subject=self.subject,
            kept_share=self.share,
            sufficiency=float(kept.mean()),
            sufficiency_sd=float(kept.std(ddof=1)) if several else float("nan"),
            necessity=float(without.mean()),
            necessity_sd=float(without.std(ddof=1)) if several else float("nan"),
            n=self.kept.size,
        )


def random_rankings(bonds: int, count: int, seed: int) -> FloatArray:
    """Return ``count`` random scores per bond, shape (count, bonds)."""
    return np.array([stream(seed, "explanation", "random-ranking", k).random(bonds) for k in range(count)])


def movements(
    fitted: Fitted,
    graphs: GraphSet,
    bonds: Sequence[UndirectedEdges],
    table: IntArray,
    removed: FloatArray,
    rankings: dict[str, FloatArray],
    shares: Sequence[float],
) -> list[Movement]:
    """Return how far predictions move, for every subject and share.

    Parameters
    ----------
    fitted, graphs, bonds
        The model, the configurations, and their bonds.
    table
        The ranked bonds of the reference as rows (i, j, image), shape (m, 5).
    removed
        Weight of each directed edge when its bond is removed, packed.
    rankings
        Subject → scores of shape (rankings, m); the largest rank first.  Bonds of a configuration that are not in
        the table are never among the first.
    shares
        Shares of the m bonds that rank first.
    """
    from phonograph.explanation.masks import predict_masked

    rows = [positions_of(edges.key, table)[edges.of_directed] for edges in bonds]
    full = predict_masked(fitted, graphs, np.arange(len(bonds)), [np.ones(len(row)) for row in rows], removed)
    found = []
    for subject, scores in rankings.items():
        for share in shares:
            # The last entry stands for bonds outside the table (row −1).
            first = [np.append(_first(ranking, share), 0.0) for ranking in scores]
            masks = [chosen[row] for chosen in first for row in rows]
            place = np.tile(np.arange(len(rows)), len(first))
            moved = [
                np.abs(predict_masked(fitted, graphs, place, part, removed) - full[place]).reshape(len(first), -1)
                for part in (masks, [1.0 - mask for mask in masks])
            ]
            found.append(Movement(subject=subject, share=share, kept=moved[0], without=moved[1]))
    return found


def _first(scores: FloatArray, share: float) -> FloatArray:
    """Return 1 for the share of the bonds that ranks first (at least one bond), else 0."""
    mask = np.zeros(len(scores))
    mask[np.argsort(-scores, kind="stable")[: max(1, round(share * len(scores)))]] = 1.0
    return mask


def verdicts(found: Sequence[Movement], unit: str) -> tuple[str, ...]:
    """Return a sentence for each share at which the explanation is no better than chance or random weights."""
    table = {(movement.subject, movement.share): movement for movement in found}
    sentences = []
    for share in dict.fromkeys(movement.share for movement in found):
        own, chance, untrained = (table[s, share] for s in ("explanation", "random_mask", "random_weights"))
        sentences += _against_chance(own, chance, unit)
        if own.kept.mean() >= untrained.kept.mean() and own.without.mean() <= untrained.without.mean():
            sentences.append(
                f"at {share:.0%} of the bonds the explanation of a network with random weights holds as well as that "
                f"of the trained one (sufficiency {untrained.kept.mean():.3g} against {own.kept.mean():.3g} {unit}): "
                "the importances may show the structure of the graph rather than what the network learned"
            )
    return tuple(sentences)


def _against_chance(own: Movement, chance: Movement, unit: str) -> list[str]:
    sentences = []
    for what, mine, others, as_good in (
        ("keeping only", own.kept.mean(), chance.kept.mean(axis=1), np.less_equal),
        ("removing", own.without.mean(), chance.without.mean(axis=1), np.greater_equal),
    ):
        share = float(np.mean(as_good(others, mine)))
        if share > CHANCE:
            sentences.append(
                f"the explanation does not beat random masks at {what} {own.share:.0%} of the bonds: predictions move "
                f"by {mine:.3g} {unit} against {others.mean():.3g} {unit}, and {share:.0%} of the random masks do as "
                "well"
            )
    return sentences
