"""What the laws of displacement share: named streams, block-independent draws, and packing into a set.

Sample i of seed s is made from ``stream(s, law, i)`` alone, so it does not change with the number of samples,
with the samples beside it, or with the process that makes it.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from phonograph.errors import ConfigurationError, PhysicsError
from phonograph.streams import each_stream
from phonograph.types import Configurations, Crystal, FloatArray, IntArray, Origin, Phonons

BLOCK = 64
"""Samples per matrix product; each sample keeps its row of the block, so that rounding never depends on n."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Moments:
    """First moments that a set claims for its displacements; the certificate tests them.

    Attributes
    ----------
    covariance_A2
        Displacement covariance, Å²: shape (3n, 3n), or (3n,) where all coordinates are independent.
    mean_A
        Mean of every coordinate, Å.
    excess_kurtosis
        ⟨x⁴⟩/⟨x²⟩² − 3 of one coordinate: 0 for Gaussian, −1.2 for uniform draws.
    """

    covariance_A2: FloatArray
    mean_A: float = 0.0
    excess_kurtosis: float = 0.0


@runtime_checkable
class IndexedSampler(Protocol):
    """A sampler of this package: it can make single samples by index and knows the law it claims."""

    kind: ClassVar[str]

    @property
    def stride(self) -> int:
        """Number of consecutive samples that share one random stream (2 for antithetic pairs)."""
        ...

    @property
    def period(self) -> int:
        """Number of samples after which the sampler's own settings repeat (amplitude list), else 1."""
        ...

    def sample(self, reference: Phonons | Crystal, n: int, seed: int) -> Configurations:
        """Return samples 0 … n − 1."""
        ...

    def sample_at(self, reference: Phonons | Crystal, indices: Sequence[int], seed: int) -> Configurations:
        """Return the samples with these indices, in this order."""
        ...

    def moments(self, reference: Phonons | Crystal) -> Moments:
        """Return the moments of the law on ``reference``."""
        ...


def supercell_of(reference: Phonons | Crystal) -> Crystal:
    """Return the crystal that displacements refer to."""
    return reference.supercell if isinstance(reference, Phonons) else reference


def require_phonons(reference: Phonons | Crystal, kind: str) -> Phonons:
    """Return ``reference`` if it has force constants; raises :class:`PhysicsError` naming the law otherwise."""
    if isinstance(reference, Phonons):
        return reference
    raise PhysicsError(
        f"sampler {kind!r} needs phonons, but only a crystal was given; compute or read force constants first, "
        "or use 'paper-eq2' or 'matched-random', which need none"
    )


def indices_up_to(n: int) -> range:
    """Return 0 … n − 1; raises :class:`ConfigurationError` unless n is a positive integer."""
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
        raise ConfigurationError(f"the number of samples must be a positive integer; got {n!r}")
    return range(int(n))


def uniform_draws(seed: int, kind: str, indices: Iterable[int], size: int) -> FloatArray:
    """Return U[−1, 1] draws, one row of ``size`` per index, each from its own stream."""
    return np.array([generator.uniform(-1.0, 1.0, size) for generator in each_stream(seed, kind, indices)])


def normal_draws(seed: int, kind: str, indices: Iterable[int], size: int) -> FloatArray:
    """Return standard normal draws, one row of ``size`` per index, each from its own stream."""
    return np.array([generator.standard_normal(size) for generator in each_stream(seed, kind, indices)])


def correlated_draws(root_A: FloatArray, seed: int, kind: str, indices: Sequence[int], *, paired: bool) -> FloatArray:
    """Return u = S z for each index, Å, shape (len(indices), 3n); odd indices are −u of the one before if ``paired``.

    One matrix product per block of samples.  Every product has the same shape and a sample always sits in row
    ``index % BLOCK``, because BLAS may round the same row differently in a product of another shape.

    Parameters
    ----------
    root_A
        S, Å, shape (3n, 3n), with covariance S Sᵀ.
    """
    index = np.asarray(indices, dtype=np.int64)
    transposed = np.ascontiguousarray(root_A.T)
    result = np.empty((len(index), len(root_A)))
    order = np.argsort(index // BLOCK, kind="stable")
    for chosen in np.split(order, np.flatnonzero(np.diff(index[order] // BLOCK)) + 1):
        block = np.zeros((BLOCK, len(root_A)))
        rows = index[chosen] % BLOCK
        streams = index[chosen] // 2 if paired else index[chosen]
        block[rows] = normal_draws(seed, kind, streams, len(root_A))
        if paired:
            block[rows[rows % 2 == 1]] *= -1.0
        result[chosen] = (block @ transposed)[rows]
    return result


def pack(
    sampler: IndexedSampler,
    reference: Phonons | Crystal,
    indices: Sequence[int],
    displacements_A: FloatArray,
    seed: int,
    *,
    temperature_K: float = np.nan,
    amplitude_A: FloatArray | None = None,
    warnings: tuple[str, ...] = (),
) -> Configurations:
    """Return displaced copies of the reference as a set named after the law; ``displacements_A`` is (samples, 3n)."""
    crystal = supercell_of(reference)
    index = np.asarray(indices, dtype=np.int64)
    count, size = len(index), len(crystal)
    displaced = displacements_A.reshape(count, size, 3)
    return Configurations(
        name=sampler.kind,
        sampler=sampler.kind,
        offsets=np.arange(count + 1, dtype=np.int64) * size,
        numbers=np.tile(crystal.numbers, count),
        positions_A=(crystal.positions_A + displaced).reshape(-1, 3),
        displacements_A=displaced.reshape(-1, 3),
        cells_A=np.broadcast_to(crystal.cell_A, (count, 3, 3)),
        temperature_K=np.full(count, temperature_K),
        amplitude_A=np.full(count, np.nan) if amplitude_A is None else amplitude_A,
        fraction=np.full(count, np.nan),
        index=index,
        group=tuple(f"{sampler.kind}:{seed}:{i // sampler.stride}" for i in index),
        warnings=warnings,
        origin=origin_of(sampler, reference, seed),
    )


def origin_of(sampler: Any, reference: Phonons | Crystal, seed: int, **settings: Any) -> Origin:
    """Return where a set came from: the sampler's options, hashes of what it displaced, versions."""
    kind = getattr(sampler, "kind", type(sampler).__name__)
    inputs = {"crystal": crystal_hash(supercell_of(reference))}
    if isinstance(reference, Phonons):
        values = np.ascontiguousarray(reference.force_constants.values_eV_per_A2)
        inputs["force_constants"] = hashlib.sha256(values.tobytes()).hexdigest()
    return Origin(
        room="sampling",
        settings={"sampler": {"kind": kind, **plain_options(sampler)}, **settings},
        seed=int(seed),
        inputs=inputs,
        versions={"numpy": np.__version__},
    )


def plain_options(settings: Any) -> dict[str, Any]:
    """Return the options of a settings dataclass as plain values; crystals become their formula."""
    if not dataclasses.is_dataclass(settings):
        return {}
    values = {item.name: getattr(settings, item.name) for item in dataclasses.fields(settings)}
    return {name: value.formula if isinstance(value, Crystal) else value for name, value in values.items()}


def crystal_hash(crystal: Crystal) -> str:
    """Return the SHA-256 of lattice, positions, elements and masses."""
    digest = hashlib.sha256()
    for array in (crystal.cell_A, crystal.positions_A, crystal.numbers, crystal.masses_amu):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def partnerless(index: IntArray | Sequence[int], stride: int) -> int:
    """Return how many samples lack the partner with which they share a stream."""
    _, counts = np.unique(np.asarray(index, dtype=np.int64) // stride, return_counts=True)
    return int((counts < stride).sum())
