"""The label-noise floor: the same crystals labelled again, described otherwise and with tighter settings.

A label is a function of a crystal, but an engine sees a description of it: axes, origin, order of atoms, lattice
vectors.  Grids, thresholds and sums cut off around the home cell make the number depend on these; a loose threshold
makes it depend on the path.  No model can predict that part of a label.

For a structure with the label v₀ and labels v₁ … v_m of its copies, s² = Σ (v_j − v̄)²/m estimates the variance of one
label; the floor is σ = √⟨s²⟩ over structures, with a jackknife error.  Against tighter settings σ is the standard
deviation of the difference about its mean, because a model can learn a constant shift.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from phonograph.errors import ConfigurationError
from phonograph.execution.seam import Executor
from phonograph.labels.symmetry import random_rotation
from phonograph.labels.task import structure_bytes
from phonograph.labels.verb import label
from phonograph.streams import stream
from phonograph.types import (
    NOISE_CAUSES,
    Configurations,
    Crystal,
    FloatArray,
    Labeller,
    Labels,
    NoiseFloor,
    NoiseRow,
    Origin,
    Progress,
)

ROTATED, TRANSLATED, PERMUTED, LATTICE, TIGHTER = NOISE_CAUSES
WORDS = {
    ROTATED: "cell and atoms turned by a random proper rotation",
    TRANSLATED: "all atoms moved by one random vector",
    PERMUTED: "atoms in a random order",
    LATTICE: "other lattice vectors of the same lattice",
}


def measure_noise(
    sets: Sequence[Configurations],
    labellers: Sequence[Labeller],
    store: str | os.PathLike[str],
    *,
    n: int = 10,
    copies: int = 2,
    seed: int = 0,
    workers: int = 0,
    timeout_s: float = 600.0,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
    executor: Executor | None = None,
) -> NoiseFloor:
    """Measure the label noise of every property on a sample of every set.

    Every copy is a structure of its own in the label store, so an interrupted measurement goes on where it was.

    Parameters
    ----------
    sets, labellers, store, workers, timeout_s, progress, say, executor
        As for :func:`phonograph.labels.label`.  A labeller with a method ``tightened()`` that returns (what is
        tighter, labeller), or None, is also compared with its tighter self.
    n
        Configurations of each set, chosen at random; all where a set has fewer.
    copies
        Copies of each configuration per cause.
    seed
        Of the choice, the rotations, translations, permutations and lattices.

    Returns
    -------
    NoiseFloor
        One row per set, property and cause.

    Raises
    ------
    ConfigurationError
        Fewer than two configurations or no copies; and what :func:`phonograph.labels.label` raises.
    """
    if n < 2 or copies < 1:
        raise ConfigurationError(f"noise needs n of at least 2 and at least 1 copy; got n = {n}, copies = {copies}")
    how: dict[str, Any] = {"workers": workers, "timeout_s": timeout_s, "progress": progress, "say": say}
    how["executor"] = executor
    samples = [_sample(item, n, seed) for item in sets]
    described = [_copied(sample, cause, copy, seed) for sample in samples for cause in WORDS for copy in range(copies)]
    labels = label([*samples, *described], labellers, store, **how)
    rows = [row for sample in samples for cause in WORDS for row in _rows_of_copies(labels, sample.name, cause, copies)]
    for labeller in labellers:
        tighter = getattr(labeller, "tightened", lambda: None)()
        if tighter is not None:
            words, engine = tighter
            again = label(samples, [engine], store, **how)
            rows += [row for sample in samples for row in _rows_of_tighter(labels, again, sample.name, words)]
    return NoiseFloor(rows=tuple(rows), warnings=_warnings(rows), origin=_origin(samples, labellers, (n, copies), seed))


def described_otherwise(crystal: Crystal, cause: str, draw: np.random.Generator) -> Crystal:
    """Return the same crystal, described otherwise: one of the first four :data:`phonograph.types.NOISE_CAUSES`."""
    cell, positions, numbers = crystal.cell_A, crystal.positions_A, crystal.numbers
    if cause == ROTATED:
        turn = random_rotation(draw)
        return Crystal(cell_A=cell @ turn.T, positions_A=positions @ turn.T, numbers=numbers)
    if cause == TRANSLATED:
        return Crystal(cell_A=cell, positions_A=positions + draw.random(3) @ cell, numbers=numbers)
    if cause == PERMUTED:
        order = draw.permutation(len(crystal))
        return Crystal(cell_A=cell, positions_A=positions[order], numbers=numbers[order])
    if cause == LATTICE:
        return Crystal(cell_A=_unimodular(draw) @ cell, positions_A=positions, numbers=numbers)
    raise ValueError(f"a crystal can be {', '.join(WORDS)}; got {cause!r}")


def _unimodular(draw: np.random.Generator) -> FloatArray:
    """Return other basis vectors of the same lattice: the axes in another cyclic order, one of them sheared once."""
    matrix = np.roll(np.eye(3), int(draw.integers(3)), axis=0)
    first, second = draw.permutation(3)[:2]
    shear = np.eye(3)
    shear[first, second] = draw.choice([-1.0, 1.0])
    return np.asarray(shear @ matrix)


def _sample(configurations: Configurations, n: int, seed: int) -> Configurations:
    order = stream(seed, "noise", configurations.name).permutation(len(configurations))[:n]
    chosen = sorted(int(place) for place in order)
    return _packed(f"{configurations.name}~noise", [configurations.crystal(place) for place in chosen])


def _copied(sample: Configurations, cause: str, copy: int, seed: int) -> Configurations:
    crystals = [
        described_otherwise(crystal, cause, stream(seed, "noise", sample.name, cause, copy, place))
        for place, crystal in enumerate(sample.crystals())
    ]
    return _packed(_copy_name(sample.name, cause, copy), crystals)


def _copy_name(sample: str, cause: str, copy: int) -> str:
    return f"{sample}-{cause.replace(' ', '-')}-{copy}"


def _packed(name: str, crystals: Sequence[Crystal]) -> Configurations:
    return Configurations.of_crystals(name, crystals, [f"{name}:{place}" for place in range(len(crystals))])


def _rows_of_copies(labels: Labels, sample: str, cause: str, copies: int) -> list[NoiseRow]:
    rows = []
    original = labels.of_set(sample)
    for column in original.columns:
        others = [labels.of_set(_copy_name(sample, cause, copy)).column(column.name).values for copy in range(copies)]
        values = np.column_stack([column.values, *others])
        whole = values[np.isfinite(values).all(axis=1)]
        common = (sample, column.name, column.unit, column.engine, cause, WORDS[cause])
        holes = int((~np.isfinite(values)).sum())
        rows.append(_row(common, whole[:, 1:] - whole[:, :1], root_mean(whole.var(axis=1, ddof=1)), copies, holes))
    return rows


def _rows_of_tighter(labels: Labels, again: Labels, sample: str, words: str) -> list[NoiseRow]:
    rows = []
    for column in again.of_set(sample).columns:
        loose = labels.of_set(sample).column(column.name)
        differences = loose.values - column.values
        whole = differences[np.isfinite(differences)]
        common = (sample, column.name, column.unit, loose.engine, TIGHTER, words)
        rows.append(_row(common, whole[:, None], about_the_mean(whole), 1, len(differences) - len(whole)))
    return rows


def _row(
    common: tuple[str, str, str, str, str, str],
    differences: FloatArray,
    noise: tuple[float, float],
    copies: int,
    holes: int,
) -> NoiseRow:
    """Put one row together from differences (structures, copies) and a standard deviation with its error."""
    sample, name, unit, engine, cause, changed = common
    sd, error = noise
    found = len(differences) > 0
    return NoiseRow(
        set_name=sample.removesuffix("~noise"),
        property=name,
        unit=unit,
        engine=engine,
        cause=cause,
        changed=changed,
        structures=len(differences),
        copies=copies,
        holes=holes,
        sd=sd,
        sd_error=error,
        mean=float(differences.mean()) if found else float("nan"),
        rms=float(np.sqrt((differences**2).mean())) if found else float("nan"),
        largest=float(np.abs(differences).max()) if found else float("nan"),
    )


def root_mean(variances: FloatArray) -> tuple[float, float]:
    """Return √⟨s²⟩ over structures and its jackknife error."""
    count = len(variances)
    if count < 2:
        return float("nan"), float("nan")
    left_out = np.sqrt(np.maximum(variances.sum() - variances, 0.0) / (count - 1))
    error = np.sqrt((count - 1) / count * ((left_out - left_out.mean()) ** 2).sum())
    return float(np.sqrt(variances.mean())), float(error)


def about_the_mean(differences: FloatArray) -> tuple[float, float]:
    """Return the standard deviation about the mean and its jackknife error, which takes three differences."""
    count = len(differences)
    if count < 2:
        return float("nan"), float("nan")
    sd = float(differences.std(ddof=1))
    if count < 3:
        return sd, float("nan")
    left_out = np.array([np.delete(differences, place).std(ddof=1) for place in range(count)])
    return sd, float(np.sqrt((count - 1) / count * ((left_out - left_out.mean()) ** 2).sum()))


def _warnings(rows: Sequence[NoiseRow]) -> tuple[str, ...]:
    told = []
    for row in rows:
        if row.holes:
            told.append(
                f"{row.set_name}: {row.holes} labels of {row.property} ({row.cause}) failed and do not enter its noise."
            )
    silent = sorted({row.engine for row in rows} - {row.engine for row in rows if row.cause == TIGHTER})
    told += [f"{engine} has no tighter settings to compare with: only copies were labelled." for engine in silent]
    return tuple(told)


def _origin(
    samples: Sequence[Configurations], labellers: Sequence[Labeller], size: tuple[int, int], seed: int
) -> Origin:
    inputs = {
        sample.name: hashlib.sha256(b"".join(structure_bytes(c).key for c in sample.crystals())).hexdigest()
        for sample in samples
    }
    settings = {"n": size[0], "copies": size[1], "engines": [labeller.engine for labeller in labellers]}
    return Origin(room="labels", settings=settings, seed=seed, inputs=inputs)
