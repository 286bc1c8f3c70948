"""The verb of room 7: which bonds does a model rest on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from importlib.metadata import version
from typing import Any, cast

import numpy as np

from phonograph.errors import DataError
from phonograph.explanation.consensus import STABLE, Consensus, by_bond_type, consensus, stability
from phonograph.explanation.edges import (
    UndirectedEdges,
    bond_lengths,
    reference_edges,
    shells,
    species_pairs,
    undirected_edges,
)
from phonograph.explanation.fidelity import Movement, movements, random_rankings, verdicts
from phonograph.explanation.settings import GNNExplainerSettings
from phonograph.streams import derive_seed
from phonograph.types import Crystal, Explainer, Explanation, Fitted, FloatArray, GraphSet, IntArray, Origin, Progress

RECOMMENDED_SEEDS = 5
LARGEST_STRAY_A = 3.0
"""An explained bond whose reference length lies further than this beyond the cutoff belongs to another crystal."""


def explain(
    fitted: Fitted,
    graphs: GraphSet,
    reference: Crystal,
    explainer: Explainer,
    seeds: Sequence[int],
    *,
    n_configurations: int = 3,
    kept_shares: Sequence[float] = (0.1, 0.25, 0.5),
    random_masks: int = 20,
    fidelity_configurations: int = 30,
    progress: Progress | None = None,
) -> Explanation:
    """Explain a model on displaced copies of one crystal: consensus over seeds and configurations.

    Parameters
    ----------
    fitted
        The model; it is left as it was found.
    graphs
        Graphs of displaced copies of ``reference``, best of the test part.  Those with other atoms are left out and
        counted; of the others, evenly spread ones are explained and used to test the explanation.
    reference
        The undisplaced supercell the importances are drawn on, atoms in the order of the graphs.
    explainer
        :class:`GNNExplainerSettings` or any :class:`~phonograph.types.Explainer`.
    seeds
        At least two different seeds; five or more are recommended.
    n_configurations
        Configurations per seed.
    kept_shares
        Shares of the bonds at which the fidelity is measured.
    random_masks
        Random rankings of the bonds that the explanation has to beat; at least 20.
    fidelity_configurations
        Most configurations on which the consensus is tested; many more than are explained, because removing bonds
        from a configuration that happens to lie near the reference says little.
    progress
        Called once per step of the optimisation.

    Returns
    -------
    Explanation
        Bonds of the reference within the cutoff that at least one explained configuration has, i ≤ j, each once;
        both directions of a bond count as one.

    Raises
    ------
    DataError
        Another cutoff than the model's, no graph with the atoms of the reference, graphs of another crystal, or
        fewer than two seeds.
    """
    from phonograph.explanation.masks import with_random_weights
    from phonograph.models.predict import check_compatible

    _check_arguments(seeds, n_configurations, kept_shares, random_masks)
    check_compatible(fitted, graphs.spec)
    same = _same_atoms(graphs, reference)
    work = _Work.of(same, reference, n_configurations)
    table = reference_edges(reference, graphs.spec.cutoff_A)
    runs = work.run(fitted, explainer, seeds, progress)
    joined = consensus(runs, work.bonds, table)
    untrained = with_random_weights(fitted, derive_seed(seeds[0], "explanation", "random-weights") % 2**63)
    control = consensus(work.run(untrained, explainer, seeds), work.bonds, table)
    rankings = {
        "explanation": joined.mean[None],
        "random_mask": random_rankings(len(joined.rows), random_masks, seeds[0]),
        "random_weights": control.mean[None],
    }
    test = _Work.of(same, reference, fidelity_configurations)
    found = test.fidelity(fitted, explainer, table[joined.rows], rankings, kept_shares)
    rank_correlation = stability(runs)
    told = (
        *_fewer(len(work.graphs), n_configurations),
        *_warnings(joined, len(work.bonds), len(graphs) - len(same), len(seeds), rank_correlation),
        *verdicts(found, fitted.unit),
    )
    settings = {
        "explainer": _plain_fields(explainer),
        "name": type(explainer).__name__,
        "seeds": list(seeds),
        "configurations": list(work.graphs.sample_ids),
        "fidelity_configurations": len(test.graphs),
        "random_masks": random_masks,
    }
    return _assemble(fitted, reference, table, joined, found, rank_correlation, told, settings)


def _plain_fields(explainer: Explainer) -> dict[str, Any]:
    """Return the fields of a strategy object as values that can be written down."""
    names: list[str] = [item.name for item in fields(cast(Any, explainer))] if is_dataclass(explainer) else []
    values = {name: getattr(explainer, name) for name in names}
    return {name: v if isinstance(v, (str, int, float)) else type(v).__name__ for name, v in values.items()}


def _check_arguments(seeds: Sequence[int], n_configurations: int, shares: Sequence[float], random_masks: int) -> None:
    if len(set(seeds)) < 2 or len(set(seeds)) != len(seeds):
        raise DataError(f"an explanation needs at least two different seeds; got {list(seeds)}")
    if n_configurations < 1 or random_masks < 1:
        raise DataError(
            f"n_configurations and random_masks must be at least 1; got {n_configurations} and {random_masks}"
        )
    if not shares or not all(0.0 < share < 1.0 for share in shares):
        raise DataError(f"kept_shares must lie between 0 and 1; got {list(shares)}")


def _same_atoms(graphs: GraphSet, reference: Crystal) -> GraphSet:
    same = [
        place
        for place in range(len(graphs))
        if np.array_equal(
            graphs.numbers[graphs.node_offsets[place] : graphs.node_offsets[place + 1]], reference.numbers
        )
    ]
    if not same:
        raise DataError(
            f"none of the {len(graphs)} graphs has the atoms of the reference crystal {reference.formula}, in its "
            "order; give graphs of displaced copies of the reference"
        )
    return graphs if len(same) == len(graphs) else graphs.select(same)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Work:
    """Some configurations, their bonds, and the reference length of every directed edge, Å, packed."""

    graphs: GraphSet
    bonds: list[UndirectedEdges]
    rest_A: FloatArray

    @classmethod
    def of(cls, graphs: GraphSet, reference: Crystal, count: int) -> _Work:
        places = np.unique(np.linspace(0, len(graphs) - 1, min(count, len(graphs))).round().astype(np.int64))
        chosen = graphs.select(places)
        bonds = [undirected_edges(chosen, place) for place in range(len(chosen))]
        return cls(graphs=chosen, bonds=bonds, rest_A=_rest_lengths(chosen, reference, bonds))

    def run(
        self, fitted: Fitted, explainer: Explainer, seeds: Sequence[int], progress: Progress | None = None
    ) -> list[list[FloatArray]]:
        """Return the importance of each bond, per seed and configuration."""
        if isinstance(explainer, GNNExplainerSettings):
            return explainer.importances(fitted, self.graphs, seeds, self.rest_A, progress)
        singles = [self.graphs.select([place]) for place in range(len(self.graphs))]
        runs = []
        for done, seed in enumerate(seeds):
            values = [explainer.importance(fitted, single, seed) for single in singles]
            runs.append([_symmetrised(v, edges) for v, edges in zip(values, self.bonds, strict=True)])
            if progress:
                progress("explaining", done + 1, len(seeds))
        return runs

    def fidelity(
        self,
        fitted: Fitted,
        explainer: Explainer,
        table: IntArray,
        rankings: dict[str, FloatArray],
        shares: Sequence[float],
    ) -> list[Movement]:
        """Return how far predictions move when the bonds that rank first are kept or removed."""
        from phonograph.explanation.masks import removed_weights

        removal = explainer.removal if isinstance(explainer, GNNExplainerSettings) else "restore"
        removed = removed_weights(fitted, self.graphs, removal, self.rest_A)
        return movements(fitted, self.graphs, self.bonds, table, removed, rankings, shares)


def _rest_lengths(graphs: GraphSet, reference: Crystal, bonds: Sequence[UndirectedEdges]) -> FloatArray:
    """Return the reference length of every directed edge, Å, packed."""
    limit = graphs.spec.cutoff_A + LARGEST_STRAY_A
    parts = []
    for place, edges in enumerate(bonds):
        lengths = bond_lengths(reference, edges.key)
        stray = int((lengths > limit).sum())
        if stray:
            raise DataError(
                f"{stray} of {len(lengths)} bonds of {graphs.sample_ids[place]!r} are longer than {limit:g} Å in the "
                "reference crystal; displaced copies must keep the order of the atoms and must not be wrapped into "
                "the cell"
            )
        parts.append(lengths[edges.of_directed])
    return np.concatenate(parts)


def _symmetrised(importance: FloatArray, edges: UndirectedEdges) -> FloatArray:
    """Return the mean of the two directions of each bond."""
    values = np.asarray(importance, dtype=np.float64)
    if values.shape != edges.of_directed.shape or not ((values >= 0) & (values <= 1)).all():
        raise DataError(
            f"an explainer must return {len(edges.of_directed)} numbers in [0, 1], one per directed edge; got shape "
            f"{values.shape} and {int((~((values >= 0) & (values <= 1))).sum())} numbers outside"
        )
    return np.bincount(edges.of_directed, weights=values, minlength=len(edges.key)) / 2.0


def _fewer(found: int, asked: int) -> Iterator[str]:
    if found < asked:
        yield f"{found} configurations are explained, not {asked}: there are no more with the atoms of the reference"


def _warnings(joined: Consensus, configurations: int, others: int, seeds: int, correlation: float) -> Iterator[str]:
    total = len(joined.rows) + joined.never
    if others:
        yield f"{others} graphs have other atoms than the reference crystal and are not explained"
    if joined.sometimes or joined.never:
        yield (
            f"thermal motion moves bonds across the cutoff: of {total} bonds of the reference, {joined.sometimes} are "
            f"missing from some of the {configurations} configurations (their importance is the mean over the others) "
            f"and {joined.never} from all (left out)"
        )
    if joined.extra:
        yield (
            f"{joined.extra / configurations:.1f} bonds per configuration are longer than the cutoff in the reference "
            f"and not in the table; they carry {joined.extra_share:.1%} of the importance"
        )
    if seeds < RECOMMENDED_SEEDS:
        yield f"the consensus rests on {seeds} seeds; at least {RECOMMENDED_SEEDS} are recommended"
    if not correlation >= STABLE:
        yield (
            f"the explanation is unstable: the median rank correlation between seeds is {correlation:.2f}, "
            f"below {STABLE}"
        )


def _assemble(
    fitted: Fitted,
    reference: Crystal,
    table: IntArray,
    joined: Consensus,
    found: Sequence[Movement],
    rank_correlation: float,
    told: tuple[str, ...],
    settings: dict[str, Any],
) -> Explanation:
    # Shells are those of the whole reference, also where a bond of it is missing from all configurations.
    shell = shells(species_pairs(reference, table), bond_lengths(reference, table))[joined.rows]
    key = table[joined.rows]
    pairs, distance = species_pairs(reference, key), bond_lengths(reference, key)
    return Explanation(
        model=fitted.name,
        target=fitted.target,
        crystal=reference,
        i=key[:, 0],
        j=key[:, 1],
        image=key[:, 2:],
        distance_A=distance,
        shell=shell,
        species_pair=pairs,
        importance=joined.mean,
        importance_sd=joined.sd,
        bonds=by_bond_type(joined, pairs, shell, distance),
        fidelity=tuple(movement.line for movement in found),
        stability=rank_correlation,
        warnings=told,
        origin=Origin(
            room="explanation",
            settings=settings,
            seed=settings["seeds"][0],
            versions={name: version(name) for name in ("numpy", "torch")},
        ),
    )
