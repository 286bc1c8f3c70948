"""From crystals to graphs: every pair of atoms and periodic images closer than the cutoff.

Displaced copies of one crystal share nearly all their neighbours.  So each cluster of similar crystals gets one list
of candidate pairs, found around its mean positions with the radius enlarged by what the atoms move; then all
distances of all its members are computed at once and compared with the cutoff.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from phonograph.errors import DataError
from phonograph.graphs.neighbours import MAX_PAIRS, Pairs, neighbours
from phonograph.graphs.published import published_edges
from phonograph.types import (
    MIN_DISTANCE_A,
    Configurations,
    FloatArray,
    GraphSet,
    GraphSpec,
    IntArray,
    Origin,
    Progress,
)
from phonograph.types.arrays import frozen

TOLERANCE_A = 1e-9
"""A pair this close to the cutoff counts as at the cutoff, hence outside: rounding never decides on an edge."""

_COINCIDENT_A = 1e-3
_BLOCK = 1024
_BLOCK_ELEMENTS = 2**18
_LARGEST_STRAIN = 0.1
_LARGEST_MOVE_A = 2.0


class _Cluster(NamedTuple):
    """Similar crystals: positions in the set, cells, unwrapped fractional positions and the lattice shift of each."""

    members: IntArray
    cells_A: FloatArray
    fractional: FloatArray
    shift: IntArray


class _Edges(NamedTuple):
    """Edges of some crystals, packed in the order of the crystals."""

    counts: IntArray
    source: NDArray[np.int32]
    target: NDArray[np.int32]
    image: NDArray[np.int16]
    distance_A: FloatArray


def build_graphs(configurations: Configurations, spec: GraphSpec, *, progress: Progress | None = None) -> GraphSet:
    """Build the directed periodic multigraph of every configuration.

    An edge joins source j in image k to target i when 0 < |r_j + k·cell − r_i| < ``spec.cutoff_A``, for all images and
    for an atom's own images, in any cell, however skewed and also when smaller than the cutoff.  Edges are sorted by
    (target, source, image); both directions have bitwise equal distances.  Wrapping an atom into the cell changes the
    image indices of its edges and nothing else.

    ``spec.convention = "paper-code"`` leaves out the edges that the authors' public script misses, and counts them in
    the warnings (:mod:`phonograph.graphs.published`); these graphs depend on the order and the origin of the atoms.

    Parameters
    ----------
    configurations
        The crystals; they may differ in cell, composition and number of atoms.
    spec
        What an edge is.
    progress
        Called as ``progress("graphs", done, total)``.

    Raises
    ------
    DataError
        When the cutoff is not positive or too large, when more than 5·10⁸ edges are to be expected, or when two atoms
        of a configuration are at the same place.
    """
    _check(configurations, spec)
    total, done = len(configurations), 0
    clusters, parts, closest = [], [], np.inf
    for cluster in _clusters(configurations):
        for members, edges in _cluster_edges(cluster, spec.cutoff_A):
            _check_apart(configurations, members, edges)
            closest = min(closest, float(edges.distance_A.min(initial=np.inf)))
            clusters.append(members)
            parts.append(edges)
            done += len(members)
            if progress is not None:
                progress("graphs", done, total)
    edges, offsets = _ordered(np.concatenate(clusters), parts)
    left_out: tuple[str, ...] = ()
    if spec.convention == "paper-code":
        edges, offsets, left_out = _published(configurations, spec, edges, offsets)
    return GraphSet(
        sample_ids=configurations.ids,
        groups=configurations.group,
        node_offsets=configurations.offsets,
        numbers=configurations.numbers,
        edge_offsets=offsets,
        source=frozen(edges.source),
        target=frozen(edges.target),
        image=frozen(edges.image),
        distance_A=frozen(edges.distance_A),
        spec=spec,
        warnings=(*left_out, *_warnings(configurations, spec, edges, offsets, closest)),
        origin=Origin(room="graphs", settings=asdict(spec), inputs={"set": configurations.name}),
    )


def _check(configurations: Configurations, spec: GraphSpec) -> None:
    sizes = np.diff(configurations.offsets).astype(float)
    volumes = np.abs(np.linalg.det(configurations.cells_A))
    if volumes.min() < 1e-3:
        bad = configurations.ids[int(volumes.argmin())]
        raise DataError(f"configuration {bad} has a cell of {volumes.min():.3g} Å³; its lattice vectors span no volume")
    expected = float((sizes**2 * 4.0 / 3.0 * np.pi * spec.cutoff_A**3 / volumes).sum())
    if expected > MAX_PAIRS:
        raise DataError(
            f"a cutoff of {spec.cutoff_A:g} Å would give about {expected:.1e} edges in set {configurations.name!r} "
            f"({len(sizes)} configurations); at most {MAX_PAIRS:.0e} are built, so choose a smaller cutoff"
        )


def _check_apart(configurations: Configurations, members: IntArray, edges: _Edges) -> None:
    if not len(edges.distance_A) or edges.distance_A.min() > _COINCIDENT_A:
        return
    edge = int(edges.distance_A.argmin())
    owner = int(np.searchsorted(np.cumsum(edges.counts), edge, side="right"))
    raise DataError(
        f"atoms {edges.source[edge]} and {edges.target[edge]} of configuration {configurations.ids[members[owner]]} "
        f"are at the same place ({edges.distance_A[edge]:.1e} Å apart); remove the duplicate atom"
    )


def _clusters(configurations: Configurations) -> Iterator[_Cluster]:
    """Yield groups of crystals of equal size, similar cell and similar positions; together they are all crystals."""
    sizes = np.diff(configurations.offsets)
    for size in np.unique(sizes):
        same = np.flatnonzero(sizes == size)
        for start in range(0, len(same), _BLOCK):
            yield from _similar(configurations, same[start : start + _BLOCK], int(size))


def _similar(configurations: Configurations, members: IntArray, size: int) -> Iterator[_Cluster]:
    atoms = configurations.offsets[members][:, None] + np.arange(size)
    cells = configurations.cells_A[members]
    fractional = np.einsum("bia,bac->bic", configurations.positions_A[atoms], np.linalg.inv(cells))
    left = np.arange(len(members))
    while len(left):
        first = left[0]
        shift = np.floor(fractional[left] - fractional[first] + 0.5)
        inner = fractional[left] - shift
        moves = np.einsum("bia,bac->bic", inner - inner[:1], cells[left])
        strain = np.abs(np.linalg.inv(cells[first]) @ cells[left] - np.eye(3)).max(axis=(1, 2))
        near = (np.linalg.norm(moves, axis=2).max(axis=1) < _LARGEST_MOVE_A) & (strain < _LARGEST_STRAIN)
        near[0] = True
        chosen = left[near]
        yield _Cluster(members[chosen], cells[chosen], inner[near], shift[near].astype(np.int64))
        left = left[~near]


def _cluster_edges(cluster: _Cluster, cutoff_A: float) -> Iterator[tuple[IntArray, _Edges]]:
    candidates = _candidates(cluster, cutoff_A)
    half, mirror = _halves(candidates)
    step = max(1, _BLOCK_ELEMENTS // max(1, len(candidates.target)))
    for start in range(0, len(cluster.members), step):
        block = slice(start, start + step)
        part = _Cluster(cluster.members[block], cluster.cells_A[block], cluster.fractional[block], cluster.shift[block])
        yield part.members, _edges(part, candidates, half, mirror, cutoff_A)


def _candidates(cluster: _Cluster, cutoff_A: float) -> Pairs:
    """Return every pair that can be an edge in some member.

    With ρ_i the largest move of atom i from its mean place and s the smallest stretch between mean cell and member
    cell, a pair is closer than the cutoff r_c in a member only if its mean distance is below (r_c + ρ_i + ρ_j)/s.
    """
    mean_cell, mean = cluster.cells_A.mean(axis=0), cluster.fractional.mean(axis=0)
    moves = np.einsum("bia,bac->bic", cluster.fractional - mean, cluster.cells_A)
    # A rigid shift of a whole crystal changes no distance.
    moves -= moves.mean(axis=1, keepdims=True)
    reach = np.linalg.norm(moves, axis=2).max(axis=0)
    stretch = np.linalg.svd(np.linalg.inv(mean_cell) @ cluster.cells_A, compute_uv=False).min()
    widest = (cutoff_A + 2 * reach.max()) / stretch + 1e-6
    pairs = neighbours(mean_cell, mean, widest)
    vectors = (mean[pairs.source] + pairs.image - mean[pairs.target]) @ mean_cell
    limit = (cutoff_A + reach[pairs.source] + reach[pairs.target]) / stretch + 1e-6
    near = np.einsum("ea,ea->e", vectors, vectors) < limit**2
    return Pairs(*(field[near] for field in pairs))


def _halves(pairs: Pairs) -> tuple[IntArray, IntArray]:
    """Return (half, mirror): one edge of each ± couple, and for every edge the place of its couple in ``half``.

    Distances are computed once per couple, so that the two directions are bitwise equal.
    """
    k = pairs.image
    positive = (k[:, 0] > 0) | ((k[:, 0] == 0) & ((k[:, 1] > 0) | ((k[:, 1] == 0) & (k[:, 2] > 0))))
    forward = (pairs.source > pairs.target) | ((pairs.source == pairs.target) & positive)
    half, back = np.flatnonzero(forward), np.flatnonzero(~forward)
    # Sorting the reversed edges by the same key brings each beside its couple.
    order = np.lexsort((-k[back, 2], -k[back, 1], -k[back, 0], pairs.target[back], pairs.source[back]))
    mirror = np.empty(len(forward), dtype=np.int64)
    mirror[half] = np.arange(len(half))
    mirror[back[order]] = np.arange(len(half))
    return half, mirror


def _edges(cluster: _Cluster, pairs: Pairs, half: IntArray, mirror: IntArray, cutoff_A: float) -> _Edges:
    distance = _distances(cluster, pairs.source[half], pairs.target[half], pairs.image[half])
    inside = distance < cutoff_A - TOLERANCE_A
    # One crystal after the other: its part of every array stays in the processor's cache.
    edges = [np.flatnonzero(row[mirror]) for row in inside]
    counts = np.array([len(edge) for edge in edges])
    edge = np.concatenate(edges)
    source, target = pairs.source.astype(np.int32)[edge], pairs.target.astype(np.int32)[edge]
    if cluster.shift.any():
        member = np.repeat(np.arange(len(counts)), counts)
        image = pairs.image[edge] - cluster.shift[member, source] + cluster.shift[member, target]
    else:
        image = pairs.image
    if np.abs(image).max(initial=0) > np.iinfo(np.int16).max:
        raise DataError("an atom lies more than 32767 cells away from another; wrap the positions into the cell")
    image = image.astype(np.int16)
    return _Edges(
        counts=counts,
        source=source,
        target=target,
        image=image if cluster.shift.any() else image[edge],
        distance_A=np.concatenate([row[mirror[its]] for row, its in zip(distance, edges, strict=True)]),
    )


def _distances(cluster: _Cluster, source: IntArray, target: IntArray, image: IntArray) -> FloatArray:
    """Return |r_source + image·cell − r_target| of every member and pair, Å, shape (members, pairs)."""
    positions = np.einsum("bia,bac->bci", cluster.fractional, cluster.cells_A)
    same_cell = bool((cluster.cells_A == cluster.cells_A[0]).all())
    lattice = (image @ cluster.cells_A[:1] if same_cell else image @ cluster.cells_A).transpose(0, 2, 1)
    square = np.zeros((len(cluster.members), len(source)))
    for axis in range(3):
        along = np.take(positions[:, axis], source, axis=1)
        along -= np.take(positions[:, axis], target, axis=1)
        along += lattice[:, axis]
        along *= along
        square += along
    return np.asarray(np.sqrt(square, out=square))


def _ordered(members: IntArray, parts: list[_Edges]) -> tuple[_Edges, IntArray]:
    """Return the edges of all parts in the order of the configurations, and their offsets."""
    counts = np.concatenate([part.counts for part in parts])
    packed = [np.concatenate([getattr(part, name) for part in parts]) for name in _Edges._fields[1:]]
    order = np.argsort(members, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(counts[order])])
    if (order != np.arange(len(order))).any():
        starts = np.cumsum(counts) - counts
        rows = np.arange(offsets[-1]) + np.repeat(starts[order] - offsets[:-1], counts[order])
        packed = [array[rows] for array in packed]
    return _Edges(counts[order], *packed), offsets


def _published(
    configurations: Configurations, spec: GraphSpec, edges: _Edges, offsets: IntArray
) -> tuple[_Edges, IntArray, tuple[str, ...]]:
    """Keep the edges that the authors' script finds; also say how many it misses."""
    owner = np.repeat(np.arange(len(configurations)), edges.counts)
    keep = published_edges(configurations, spec.cutoff_A, owner, edges.source, edges.target, edges.image)
    counts = np.bincount(owner[keep], minlength=len(configurations))
    kept = _Edges(counts, edges.source[keep], edges.target[keep], edges.image[keep], edges.distance_A[keep])
    missing, total = len(keep) - int(counts.sum()), max(len(keep), 1)
    warning = (
        f"Graphs of set {configurations.name!r} follow the authors' script: {missing} of {len(keep)} edges "
        f"({missing / total:.1%}) are missing."
    )
    return kept, np.concatenate([[0], np.cumsum(counts)]), (warning,) if missing else ()


def _warnings(
    configurations: Configurations, spec: GraphSpec, edges: _Edges, offsets: IntArray, closest: float
) -> tuple[str, ...]:
    found = []
    alone = _isolated(configurations, edges, offsets)
    if len(alone):
        crystals = len(np.unique(np.searchsorted(configurations.offsets, alone, side="right")))
        found.append(
            f"{len(alone)} atoms in {crystals} of {len(configurations)} configurations of set "
            f"{configurations.name!r} have no neighbour within {spec.cutoff_A:g} Å; the network sees them as isolated."
        )
    if closest < MIN_DISTANCE_A:
        found.append(
            f"The closest two atoms of set {configurations.name!r} are {closest:.3g} Å apart; "
            f"distances below {MIN_DISTANCE_A:g} Å are hardly physical."
        )
    return tuple(found)


def _isolated(configurations: Configurations, edges: _Edges, offsets: IntArray) -> IntArray:
    """Return the packed positions of the atoms without any edge."""
    atoms = int(configurations.offsets[-1])
    # Edges are sorted by graph and target, so each atom with edges starts one run of equal targets.
    starts = np.ones(len(edges.target), dtype=np.bool_)
    np.not_equal(edges.target[1:], edges.target[:-1], out=starts[1:])
    starts[offsets[:-1][np.diff(offsets) > 0]] = True
    if np.count_nonzero(starts) == atoms:
        return np.zeros(0, dtype=np.int64)
    nodes = edges.target + np.repeat(configurations.offsets[:-1], np.diff(offsets))
    return np.flatnonzero(np.bincount(nodes, minlength=atoms) == 0)
