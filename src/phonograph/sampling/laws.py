"""What the laws of displacement share: named streams, block-independent draws, and packing into a set.

Sample i of seed s is row i % 64 of what the generator of block i // 64 draws under (s, law), so it does not change
with the number of samples, with the samples beside it, or with the process that makes it.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from phonograph.errors import ConfigurationError, PhysicsError
from phonograph.lattice import Modes, displacement_product
from phonograph.streams import each_block
from phonograph.types import Configurations, Crystal, FloatArray, IntArray, Origin, Phonons, array_hash, crystal_hash
from phonograph.types.arrays import frozen

BLOCK = 64
"""Samples that share a generator and a matrix product; each keeps its row, so that nothing depends on n."""

Chosen = IntArray | slice
"""Rows of an array."""

UNIFORM_KURTOSIS = -1.2
"""⟨x⁴⟩/⟨x²⟩² − 3 of a uniform distribution."""

SIGN_KURTOSIS = -2.0
"""⟨x⁴⟩/⟨x²⟩² − 3 of a random sign."""


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
        ⟨x⁴⟩/⟨x²⟩² − 3 of one independent coordinate: 0 for Gaussian, −1.2 for uniform draws, −2 for signs.
    independent_A
        W of u = W x, Å, shape (3n, m), where the independent coordinates x of unit variance are not the atoms' own;
        W Wᵀ is the covariance.
    """

    covariance_A2: FloatArray
    mean_A: float = 0.0
    excess_kurtosis: float = 0.0
    independent_A: FloatArray | None = None


@runtime_checkable
class IndexedSampler(Protocol):
    """A sampler of this package: it can make single samples by index."""

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


class ByIndex(ABC):
    """Samples 0 … n − 1 from samples by index; unless a law says otherwise each has its own stream, and all one law."""

    @property
    def stride(self) -> int:
        """Number of consecutive samples that share one random stream."""
        return 1

    @property
    def period(self) -> int:
        """Number of samples after which the sampler's own settings repeat."""
        return 1

    def sample(self, reference: Phonons | Crystal, n: int, seed: int) -> Configurations:
        """Return samples 0 … n − 1; sample i depends on (seed, i), and on what the sampler was made from, only."""
        return self.sample_at(reference, indices_up_to(n), seed)

    @abstractmethod
    def sample_at(self, reference: Phonons | Crystal, indices: Sequence[int], seed: int) -> Configurations:
        """Return the samples with these indices."""


class ClaimingSampler(IndexedSampler, Protocol):
    """A sampler that knows the law it claims, which the certificate tests."""

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


def index_array(indices: Iterable[int]) -> IntArray:
    """Return indices as an array; a range is not counted through in Python."""
    if isinstance(indices, range):
        return np.arange(indices.start, indices.stop, indices.step, dtype=np.int64)
    return np.asarray(indices if isinstance(indices, (np.ndarray, Sequence)) else list(indices), dtype=np.int64)


def uniform_draws(seed: int, kind: str, indices: Iterable[int], size: int) -> FloatArray:
    """Return U[−1, 1) draws, one row of ``size`` per index; a row depends on (seed, kind, index) only."""
    drawn = _independent_draws(np.random.Generator.random, seed, kind, indices, size)
    drawn *= 2.0
    drawn -= 1.0
    return drawn


def normal_draws(seed: int, kind: str, indices: Iterable[int], size: int) -> FloatArray:
    """Return standard normal draws, one row of ``size`` per index; a row depends on (seed, kind, index) only."""
    return _independent_draws(np.random.Generator.standard_normal, seed, kind, indices, size)


def _independent_draws(fill: Callable[..., Any], seed: int, kind: str, indices: Iterable[int], size: int) -> FloatArray:
    index = index_array(indices)
    result = np.empty((len(index), size))
    for places, rows, draws in _blocks(fill, seed, kind, index, size):
        result[places] = draws[rows]
    return result


def _blocks(
    fill: Callable[..., Any], seed: int, kind: str, index: IntArray, size: int
) -> Iterator[tuple[Chosen, Chosen, FloatArray]]:
    """Yield (places in ``index``, rows, draws of the block, shape (BLOCK, size)), block by block; draws are reused.

    Rows are drawn in order, so that those after the last wanted one need not be.
    """
    draws = np.zeros((BLOCK, size))
    blocks = blocks_of(index)
    generators = each_block(seed, kind, [number for number, _, _ in blocks])
    for (_, places, rows), generator in zip(blocks, generators, strict=True):
        fill(generator, out=draws[: rows.stop if isinstance(rows, slice) else int(rows.max()) + 1])
        yield places, rows, draws


def blocks_of(index: IntArray) -> list[tuple[int, Chosen, Chosen]]:
    """Return (block, places in ``index``, rows in the block): index i is row i % BLOCK of block i // BLOCK.

    Places and rows are slices where ``index`` counts up in ones, which is faster.
    """
    if len(index) and (np.diff(index) == 1).all():
        first, stop = int(index[0]), int(index[-1]) + 1
        starts = [max(first, block * BLOCK) for block in range(first // BLOCK, (stop - 1) // BLOCK + 1)]
        ends = [*starts[1:], stop]
        return [
            (start // BLOCK, slice(start - first, end - first), slice(start % BLOCK, (end - 1) % BLOCK + 1))
            for start, end in zip(starts, ends, strict=True)
        ]
    number = index // BLOCK
    order = np.argsort(number, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(number[order])) + 1) if len(order) else []
    return [(int(number[places[0]]), places, index[places] % BLOCK) for places in parts]


def correlated_draws(
    modes: Modes, variance_amu_A2: FloatArray, seed: int, kind: str, indices: Sequence[int], *, paired: bool
) -> FloatArray:
    """Return u = S z for each index, Å, shape (len(indices), 3n); odd indices are −u of the one before if ``paired``.

    S is the symmetric root of :func:`phonograph.lattice.displacement_root`, z standard normal.  One product per
    block of samples: every product has the same shape and a sample always sits in row ``index % BLOCK`` (pairs:
    ``index // 2 % BLOCK``), because BLAS may round the same row differently in a product of another shape.

    Parameters
    ----------
    variance_amu_A2
        ⟨Q²⟩ per mode, amu Å².
    """
    index = index_array(indices)
    stream = index // 2 if paired else index
    product = displacement_product(modes, variance_amu_A2)
    result = np.empty((len(index), 3 * len(modes.masses_amu)))

    moved = np.empty((BLOCK, result.shape[1]))
    for places, rows, draws in _blocks(np.random.Generator.standard_normal, seed, kind, stream, result.shape[1]):
        if isinstance(rows, slice) and rows == slice(0, BLOCK):
            product(draws, result[places])
        else:
            product(draws, moved)
            result[places] = moved[rows]
    if paired:
        result[index % 2 == 1] *= -1.0
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
    **settings: Any,
) -> Configurations:
    """Return displaced copies of the reference as a set named after the law.

    ``displacements_A``, shape (samples, 3n), is taken over and cannot be written to afterwards.  ``settings`` are
    plain values that the set's origin records, such as ``touched_share``.
    """
    crystal = supercell_of(reference)
    index = index_array(indices)
    count, size = len(index), len(crystal)
    displaced = frozen(displacements_A).reshape(count, size, 3)
    stream = f"{sampler.kind}:{seed}:"
    return Configurations(
        name=sampler.kind,
        sampler=sampler.kind,
        offsets=np.arange(count + 1, dtype=np.int64) * size,
        numbers=frozen(np.tile(crystal.numbers, count)),
        positions_A=frozen((crystal.positions_A + displaced).reshape(-1, 3)),
        displacements_A=displaced.reshape(-1, 3),
        cells_A=np.broadcast_to(crystal.cell_A, (count, 3, 3)),
        temperature_K=np.full(count, temperature_K),
        amplitude_A=np.full(count, np.nan) if amplitude_A is None else amplitude_A,
        fraction=np.full(count, np.nan),
        index=index,
        group=tuple([f"{stream}{i}" for i in (index // sampler.stride).tolist()]),
        warnings=warnings,
        origin=origin_of(sampler, reference, seed, **settings),
    )


def origin_of(sampler: Any, reference: Phonons | Crystal, seed: int, **settings: Any) -> Origin:
    """Return where a set came from: the sampler's options, hashes of what it displaced, versions."""
    kind = getattr(sampler, "kind", type(sampler).__name__)
    return Origin(
        room="sampling",
        settings={"sampler": {"kind": kind, **plain_options(sampler)}, **settings},
        seed=int(seed),
        inputs=reference_hashes(reference),
        versions={"numpy": np.__version__},
    )


def reference_hashes(reference: Phonons | Crystal) -> dict[str, str]:
    """Return the hashes of what a set displaces: its crystal, and its force constants where it has any."""
    hashes = {"crystal": crystal_hash(supercell_of(reference))}
    if isinstance(reference, Phonons):
        hashes["force_constants"] = array_hash(reference.force_constants.values_eV_per_A2)
    return hashes


def plain_options(settings: Any) -> dict[str, Any]:
    """Return the options of a settings dataclass as plain values; crystals become their formula.

    What else only Python can pass (trajectories, sets to match) is left out: hashes among the inputs name it.
    """
    if not dataclasses.is_dataclass(settings):
        return {}
    values = {item.name: (getattr(settings, item.name), item) for item in dataclasses.fields(settings)}
    return {
        name: value.formula if isinstance(value, Crystal) else value
        for name, (value, item) in values.items()
        if isinstance(value, Crystal) or not item.metadata.get("python_only", False)
    }


def partnerless(index: IntArray | Sequence[int], stride: int) -> int:
    """Return how many samples lack the partner with which they share a stream."""
    if stride == 1:
        return 0
    _, counts = np.unique(np.asarray(index, dtype=np.int64) // stride, return_counts=True)
    return int((counts < stride).sum())
