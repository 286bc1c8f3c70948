"""Snapshots of a molecular dynamics run as a set, in blocks that are as good as independent."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from phonograph.errors import ConfigurationError
from phonograph.lattice import normal_modes
from phonograph.options import check_options, option
from phonograph.sampling.laws import ByIndex, pack, supercell_of
from phonograph.series import correlation_time
from phonograph.streams import stream
from phonograph.types import (
    Configurations,
    Crystal,
    FloatArray,
    IntArray,
    Phonons,
    Trajectory,
    array_hash,
    displacements,
    first_frame,
    matched,
)

SOFTEST = 0.1
"""Share of the modes, from the softest, whose common amplitude is one of the observed series."""

SHORT = 50.0
"""A run of fewer autocorrelation times than this gives a poor estimate of them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Snapshots:
    """A trajectory made ready for sampling.

    Attributes
    ----------
    displacements_A
        Of every frame after the equilibration, about the reference's sites, shape (f, n, 3).
    numbers
        Atomic numbers of the trajectory, shape (n,).
    first
        Frame of the trajectory that is the first here.
    block
        Frames per block.
    sha256
        Hash of the trajectory's positions.
    temperature_K
        Of the run; NaN where unknown.
    warnings
        What users must know about the trajectory and its blocks.
    """

    displacements_A: FloatArray
    numbers: IntArray
    first: int
    block: int
    sha256: str
    temperature_K: float
    warnings: tuple[str, ...]

    @property
    def blocks(self) -> int:
        """Number of independent blocks; the last one takes the frames that are left over."""
        return max(1, len(self.displacements_A) // self.block)

    def group(self, frame: int) -> str:
        """Return the block of a frame, by its place in the whole trajectory."""
        place = min(frame // self.block, self.blocks - 1)
        last = len(self.displacements_A) if place == self.blocks - 1 else (place + 1) * self.block
        return f"{self.sha256[:16]}:{self.first + place * self.block}-{self.first + last - 1}"


@dataclass(frozen=True, kw_only=True)
class SnapshotSampler(ByIndex):
    """Frames of a molecular dynamics run: classical, anharmonic, and correlated in time.

    Sample i is frame π(i), with π a fixed order (van der Corput's, from an offset that the seed gives) that spreads
    any number of samples evenly over the run and never takes a frame twice.

    Frames near each other in time are nearly the same, so blocks of them never straddle a split: the split group is
    the block, whose length is ``correlation_times_per_block`` times the longest integrated autocorrelation time τ of
    the potential energy, the mean square displacement of each species and, with phonons, the amplitude of the softest
    tenth of the modes.  With 2τ, the default, the mean over the run is as uncertain as that of one independent value
    per block.  Sets made from one trajectory with the same options and reference share their blocks.

    Nuclei move classically: without zero-point motion, whatever the temperature.

    References
    ----------
    Sokal, in Functional Integration (Springer, 1997), pp. 131–192, https://doi.org/10.1007/978-1-4899-0319-8_6 (τ);
    van der Corput, Proc. Akad. Wet. Amsterdam 38, 813 (1935) (order).
    """

    kind: ClassVar[str] = "md-snapshots"

    file: str = option(
        "", "Trajectory (extxyz, .traj, XDATCAR, LAMMPS dump, or a folder of parts); empty: that of [phonons]."
    )
    skip_ps: float = option(0.0, "Time left out at the start, ps.", minimum=0.0)
    temperature_K: float | None = option(
        None, "Temperature of the run, K; where left out, the trajectory's.", above=0.0
    )
    time_step_fs: float | None = option(
        None, "Time between two frames, fs; where left out, the trajectory's.", above=0.0
    )
    correlation_times_per_block: float = option(
        2.0, "Length of a block in units of the longest autocorrelation time τ.", minimum=2.0
    )
    trajectory: Trajectory | None = dataclasses.field(
        default=None, repr=False, metadata={"help": "The trajectory, read from file.", "python_only": True}
    )
    snapshots: Snapshots | None = dataclasses.field(
        default=None, repr=False, metadata={"help": "The trajectory made ready by prepared().", "python_only": True}
    )

    def __post_init__(self) -> None:
        check_options(self)

    def prepared(self, reference: Phonons | Crystal) -> SnapshotSampler:
        """Return a copy with displacements about ``reference`` and blocks; itself where that was done.

        Raises
        ------
        DataError
            Where the trajectory does not fit the reference, is shorter than ``skip_ps``, or has no time step.
        """
        if self.snapshots is not None:
            return self
        if self.trajectory is None:
            raise ConfigurationError(
                "sampler 'md-snapshots' needs a trajectory; name its file in the configuration, or in Python pass "
                "trajectory=read_trajectory(FILE)"
            )
        return dataclasses.replace(self, snapshots=_made_ready(self, self.trajectory, reference))

    def sample_at(self, reference: Phonons | Crystal, indices: Sequence[int], seed: int) -> Configurations:
        """Return the samples with these indices."""
        ready = self.prepared(reference).snapshots
        assert ready is not None
        frames, wanted = len(ready.displacements_A), max(indices) + 1
        if wanted > frames:
            raise ConfigurationError(
                f"{wanted} snapshots were asked for, but the trajectory has {frames} frames after {self.skip_ps:g} ps; "
                "no frame is taken twice: ask for fewer, or give a longer trajectory"
            )
        chosen = spread_order(frames, seed)[np.asarray(indices, dtype=np.int64)]
        crystal = supercell_of(reference)
        notes = list(ready.warnings)
        groups = tuple(f"{self.kind}:{ready.group(int(frame))}" for frame in chosen)
        if wanted > ready.blocks:
            notes.append(
                f"{wanted} snapshots come from only {ready.blocks} independent blocks: averages over them are no "
                "sharper than over that many independent samples"
            )
        if (crystal.numbers != ready.numbers).any():
            notes.append("the displacements are those of the trajectory's own species; others were put onto its sites")
        flat = ready.displacements_A[chosen].reshape(len(chosen), -1)
        made = pack(
            self,
            reference,
            indices,
            flat,
            seed,
            temperature_K=ready.temperature_K,
            warnings=tuple(notes),
            trajectory={
                "sha256": ready.sha256,
                "first_frame": ready.first,
                "frames": frames,
                "frames_per_block": ready.block,
                "blocks": ready.blocks,
            },
        )
        return dataclasses.replace(made, group=groups)


def require_same_blocks(sets: Iterable[Configurations]) -> None:
    """Refuse sets that cut one trajectory into different blocks: a split could part neighbouring frames.

    Raises
    ------
    ConfigurationError
        Naming two such sets.
    """
    known: dict[str, tuple[str, tuple[int, ...]]] = {}
    for made in sets:
        run = made.origin.settings.get("trajectory")
        if made.sampler != SnapshotSampler.kind or not isinstance(run, Mapping):
            continue
        blocks = (int(run["first_frame"]), int(run["frames_per_block"]), int(run["blocks"]))
        name, other = known.setdefault(str(run["sha256"]), (made.name, blocks))
        if blocks != other:
            raise ConfigurationError(
                f"sets {name!r} and {made.name!r} take frames of one trajectory in different blocks (first frame, "
                f"frames per block, blocks: {other} and {blocks}), so that neighbouring frames could end on both sides "
                "of a split; give both the same skip_ps and correlation_times_per_block"
            )


def spread_order(frames: int, seed: int) -> IntArray:
    """Return all frames, each once, in van der Corput's order from a seeded offset, shape (frames,)."""
    bits = max(1, int(frames - 1).bit_length())
    counter = np.arange(2**bits, dtype=np.int64)
    turned = np.zeros_like(counter)
    for bit in range(bits):
        turned |= ((counter >> bit) & 1) << (bits - 1 - bit)
    offset = int(stream(seed, SnapshotSampler.kind).integers(frames))
    return np.asarray((turned[turned < frames] + offset) % frames, dtype=np.int64)


def _made_ready(sampler: SnapshotSampler, trajectory: Trajectory, reference: Phonons | Crystal) -> Snapshots:
    aligned = matched(trajectory, supercell_of(reference))
    spacing_fs = sampler.time_step_fs or trajectory.time_step_fs
    first = first_frame(dataclasses.replace(aligned, time_step_fs=spacing_fs), sampler.skip_ps)
    moved = displacements(aligned, supercell_of(reference))[first:]
    energies = None if trajectory.energies_eV is None else trajectory.energies_eV[first:]
    slowest, times = _slowest(_observed(moved, energies, reference))
    block = int(np.ceil(sampler.correlation_times_per_block * times))
    temperature = sampler.temperature_K or trajectory.temperature_K
    ready = Snapshots(
        displacements_A=moved,
        numbers=trajectory.numbers,
        first=first,
        block=block,
        sha256=array_hash(trajectory.positions_A),
        temperature_K=float("nan") if temperature is None else float(temperature),
        warnings=(),
    )
    return dataclasses.replace(ready, warnings=(*aligned.warnings, *_notes(ready, slowest, times, spacing_fs)))


def _observed(
    moved_A: FloatArray, energies_eV: FloatArray | None, reference: Phonons | Crystal
) -> dict[str, FloatArray]:
    """Return the series whose memory decides the blocks.

    Squares of displacements, not displacements: a vibration changes its sign many times before its amplitude.
    """
    crystal = supercell_of(reference)
    squares = (moved_A**2).sum(axis=2)
    symbols = np.array(crystal.symbols)
    series = {
        f"mean square displacement of {symbol}": squares[:, symbols == symbol].mean(axis=1)
        for symbol in dict.fromkeys(crystal.symbols)
    }
    if energies_eV is not None:
        series["potential energy"] = energies_eV
    if isinstance(reference, Phonons) and len(crystal) > 1:
        modes = normal_modes(reference.force_constants.values_eV_per_A2, crystal.masses_amu)
        soft = modes.vectors[:, : max(1, int(SOFTEST * len(modes.frequencies_THz)))]
        weighted = (moved_A * np.sqrt(crystal.masses_amu)[:, None]).reshape(len(moved_A), -1)
        series["amplitude of the softest modes"] = ((weighted @ soft) ** 2).sum(axis=1)
    return series


def _slowest(series: dict[str, FloatArray]) -> tuple[str, float]:
    """Return the series with the longest autocorrelation time, and that time in frames."""
    times = {name: correlation_time(values) for name, values in series.items()}
    name = max(times, key=lambda key: times[key])
    return name, times[name]


def _notes(ready: Snapshots, slowest: str, times: float, spacing_fs: float | None) -> tuple[str, ...]:
    frames = len(ready.displacements_A)
    span = "" if spacing_fs is None else f" = {times * spacing_fs / 1000:.3g} ps"
    notes = [
        "molecular dynamics is classical: these snapshots have no zero-point motion",
        f"longest autocorrelation time: {times:.3g} frames{span} ({slowest}); {frames} frames make {ready.blocks} "
        f"blocks of {ready.block} frames that never straddle a split",
    ]
    if frames < SHORT * times:
        notes.append(
            f"the trajectory lasts only {frames / times:.0f} autocorrelation times: they are known poorly and may be "
            "longer; run longer dynamics"
        )
    if not np.isfinite(ready.temperature_K):
        notes.append("the temperature of the trajectory is not known; give temperature_K")
    return tuple(notes)
