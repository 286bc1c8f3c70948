"""The rows of the dataset ag3sx: which crystals there are, and how each is drawn.

Every row is drawn from force constants in datasets/ag3sx/force_constants.npz, or from the trajectories in
benchmarks/data/dynamics, by a stream that its law and number name.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import phonograph as pg
from phonograph.files.trajectories import load_part
from phonograph.phonons.cells import from_phonopy, phonopy_of
from phonograph.streams import derive_seed
from phonograph.testing import cubic_antiperovskite, phonons_of
from phonograph.types import (
    Configurations,
    Crystal,
    ForceConstants,
    Origin,
    Phonons,
    Trajectory,
)

HERE = Path(__file__).resolve().parent
FORCE_CONSTANTS = HERE / "ag3sx" / "force_constants.npz"
DYNAMICS = HERE.parent / "benchmarks" / "data" / "dynamics"
SEED = 2026
END_MEMBERS = {"Ag3SBr": 0.0, "Ag3SI": 1.0}
ROOM_LATTICE_A = (4.90, 4.98)
STATIC_LATTICE_A = (4.793, 4.869)
FRACTIONS = (0.0, 0.25, 0.5, 0.75, 1.0)
TEMPERATURES_K = (200.0, 300.0, 400.0, 500.0, 600.0)
"""Fractions are x of iodine in Ag3SBr(1−x)I(x)."""

DYNAMICS_ROWS = {200: 167, 400: 167, 600: 166}


def lattice_A(fraction: float, ends: tuple[float, float] = ROOM_LATTICE_A) -> float:
    """Return Vegard's lattice constant, Å."""
    return (1.0 - fraction) * ends[0] + fraction * ends[1]


def supercell(fraction: float, ends: tuple[float, float] = ROOM_LATTICE_A) -> Crystal:
    """Return bromide's 2×2×2 cell of 40 atoms, in phonopy's order, at the lattice of ``fraction``."""
    sites, numbers = _sites()
    cell = 2.0 * lattice_A(fraction, ends) * np.eye(3)
    return Crystal(cell_A=cell, positions_A=sites @ cell, numbers=numbers)


def end_member(fraction: float) -> Crystal:
    """Return the 2×2×2 cell of Ag3SBr (0) or Ag3SI (1) with its own masses."""
    if fraction == 0.0:
        return supercell(0.0)
    bromide = cubic_antiperovskite(lattice_A(fraction))
    numbers = np.where(bromide.numbers == 35, 53, bromide.numbers)
    iodide = Crystal(cell_A=bromide.cell_A, positions_A=bromide.positions_A, numbers=numbers)
    return from_phonopy(phonopy_of(iodide, 2 * np.eye(3, dtype=np.int64)).supercell, "")


def _sites() -> tuple[Any, Any]:
    with np.load(FORCE_CONSTANTS, allow_pickle=False) as archive:
        return archive["sites"], archive["numbers"]


def stored(name: str) -> Any:
    with np.load(FORCE_CONSTANTS, allow_pickle=False) as archive:
        return archive[name]


def reference(fraction: float, temperature_K: float, ends: tuple[float, float] = ROOM_LATTICE_A) -> Phonons:
    """Return bromide's crystal at the lattice of ``fraction``, with force constants between those of the end members.

    Φ(x) = (1 − x)·Φ(Ag3SBr) + x·Φ(Ag3SI), both renormalised at ``temperature_K`` by the self-consistent loop.
    """
    bromide, iodide = (stored(f"loop-{name}-{temperature_K:g}K") for name in END_MEMBERS)
    return with_force_constants(
        supercell(fraction, ends), lattice_A(fraction, ends), (1.0 - fraction) * bromide + fraction * iodide
    )


def with_force_constants(crystal: Crystal, a_A: float, values: Any) -> Phonons:
    """Return phonons that a sampler can draw from; it asks for nothing but force constants."""
    constants = ForceConstants(
        unitcell=cubic_antiperovskite(a_A),
        supercell_matrix=2 * np.eye(3, dtype=np.int64),
        supercell=crystal,
        values_eV_per_A2=values,
        origin=Origin(room="phonons", settings={"dataset": "ag3sx"}),
    )
    return phonons_of(constants, "self-consistent")


def solid_solution(fraction: float) -> pg.Substitution:
    return pg.Substitution(replace="Br", by="I", fractions=(fraction,), lattice="fixed")


def trajectory(name: str, temperature_K: float) -> Trajectory:
    found = load_part(DYNAMICS / f"{name}-{temperature_K:g}K", 0)
    assert found is not None
    assert found[0] is not None
    return found[0]


def drawn(name: str, reference_: Any, sampler: Any, n: int, fraction: float | None = None) -> Configurations:
    """Draw one block of the dataset; its name and SEED decide its stream."""
    composition = None if fraction is None else solid_solution(fraction)
    return pg.sample(reference_, sampler, n, derive_seed(SEED, "ag3sx", name), name=name, composition=composition)


def blocks() -> dict[str, list[Configurations]]:
    """Return the blocks (one composition and temperature each) of every set."""
    made: dict[str, list[Configurations]] = {
        name: [] for name in ("thermal", "random", "matched", "md", "static", "regression")
    }
    for x in FRACTIONS:
        label = f"x{round(100 * x):03d}"
        for temperature in TEMPERATURES_K:
            phonons = reference(x, temperature)
            thermal = pg.ThermalSampler(temperature_K=temperature, statistics="classical")
            made["thermal"].append(drawn(f"thermal-{label}-{temperature:g}K", phonons, thermal, 90, x))
            matched = pg.MatchedRandomSampler().matched_to(made["thermal"][-1])
            made["matched"].append(drawn(f"matched-{label}-{temperature:g}K", phonons, matched, 40, x))
        made["random"].append(drawn(f"random-{label}", reference(x, 300.0), pg.PaperEq2Sampler(), 450, x))
    at_300_K = pg.ThermalSampler(temperature_K=300.0, statistics="classical")
    for name, x in END_MEMBERS.items():
        label = f"x{round(100 * x):03d}"
        for temperature, n in DYNAMICS_ROWS.items():
            phonons = with_force_constants(end_member(x), lattice_A(x), stored(f"loop-{name}-{temperature}K"))
            snapshots = pg.SnapshotSampler(trajectory=trajectory(name, temperature))
            made["md"].append(drawn(f"md-{label}-{temperature}K", phonons, snapshots, n))
        static = reference(x, 300.0, STATIC_LATTICE_A)
        made["static"].append(drawn(f"static-{label}-300K", static, at_300_K, 100, x))
        regression = with_force_constants(end_member(x), lattice_A(x), stored(f"regression-{name}-300K"))
        made["regression"].append(drawn(f"regression-{label}-300K", regression, at_300_K, 100))
    return made


def interleaved(name: str, parts: Sequence[Configurations]) -> tuple[Configurations, list[str]]:
    """Return one set that takes its parts in turn, so that its first n are like the whole, and each row's source."""
    order = sorted((i, p) for p, part in enumerate(parts) for i in range(len(part)))
    made = picked(name, [(parts[p], i) for i, p in order])
    return made, [f"{parts[p].name}:{i}" for i, p in order]


def picked(name: str, rows: Sequence[tuple[Configurations, int]]) -> Configurations:
    """Return rows of several sets as one set."""
    spans = [slice(int(s.offsets[i]), int(s.offsets[i + 1])) for s, i in rows]
    packed = {
        field: np.concatenate([getattr(s, field)[span] for (s, _), span in zip(rows, spans, strict=True)])
        for field in ("numbers", "positions_A", "displacements_A")
    }
    each: dict[str, Any] = {
        field: np.array([getattr(s, field)[i] for s, i in rows])
        for field in ("cells_A", "temperature_K", "amplitude_A", "index")
    }
    return Configurations(
        name=name,
        sampler=rows[0][0].sampler,
        offsets=np.concatenate([[0], np.cumsum([span.stop - span.start for span in spans])]),
        fraction=np.array([iodine_fraction(s.numbers[span]) for (s, _), span in zip(rows, spans, strict=True)]),
        group=tuple(s.group[i] for s, i in rows),
        warnings=tuple(dict.fromkeys(warning for s, _ in rows for warning in s.warnings)),
        **each,
        **packed,
    )


def iodine_fraction(numbers: Any) -> float:
    return float((numbers == 53).sum() / ((numbers == 53) | (numbers == 35)).sum())


def sets() -> tuple[list[Configurations], list[str]]:
    """Return the six sets and the source of every row."""
    made, sources = [], []
    for name, parts in blocks().items():
        configurations, source = interleaved(name, parts)
        made.append(configurations)
        sources += source
    return made, sources


def all_sets() -> list[Configurations]:
    return sets()[0]
