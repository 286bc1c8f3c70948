"""The dataset ag3sx: Ag3SBr, Ag3SI and their solid solutions, drawn, labelled, packed and remade row by row.

python datasets/ag3sx.py label -o runs/ag3sx          GFN1-xTB and CHGNet labels of all rows, resumable (3.5 core-hours)
python datasets/ag3sx.py pack -o runs/ag3sx           the folder that pg.load_dataset reads
python datasets/ag3sx.py dft -o runs/ag3sx            PBEsol labels of the random subset, with CP2K, resumable
python datasets/ag3sx.py pack-dft -o runs/ag3sx       the folder of these labels
python datasets/ag3sx.py symmetry                     the symmetry test of the PBEsol settings on both end members
python datasets/ag3sx.py compare                      how GFN1-xTB and CHGNet labels compare with PBEsol
python datasets/ag3sx.py remake thermal-00017         draw one row again, label it again, compare with what is shipped

Every row is drawn from force constants in datasets/ag3sx/force_constants.npz, or from the trajectories in
benchmarks/data/dynamics, by a stream that its law and number name.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import phonograph as pg
from phonograph.console import Console
from phonograph.files.datasets import save_dataset
from phonograph.files.trajectories import load_part
from phonograph.labels import LabelStore
from phonograph.labels.symmetry import symmetry_test
from phonograph.labels.task import calculation, structure_bytes
from phonograph.phonons.cells import from_phonopy, phonopy_of
from phonograph.streams import derive_seed
from phonograph.testing import cubic_antiperovskite, phonons_of
from phonograph.types import (
    Configurations,
    Crystal,
    Dataset,
    ForceConstants,
    Labels,
    Origin,
    Phonons,
    Trajectory,
)

HERE = Path(__file__).resolve().parent
FORCE_CONSTANTS = HERE / "ag3sx" / "force_constants.npz"
DYNAMICS = HERE.parent / "benchmarks" / "data" / "dynamics"
SHIPPED = HERE.parent / "src" / "phonograph" / "datasets"
SEED = 2026
END_MEMBERS = {"Ag3SBr": 0.0, "Ag3SI": 1.0}
ROOM_LATTICE_A = (4.90, 4.98)
STATIC_LATTICE_A = (4.793, 4.869)
FRACTIONS = (0.0, 0.25, 0.5, 0.75, 1.0)
TEMPERATURES_K = (200.0, 300.0, 400.0, 500.0, 600.0)
"""Fractions are x of iodine in Ag3SBr(1−x)I(x)."""

DYNAMICS_ROWS = {200: 167, 400: 167, 600: 166}
SUBSET = {"thermal": 150, "random": 150}
"""Rows labelled with PBEsol as well, by a random order that SEED fixes; the order goes on where time allows more."""


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


def _all_sets() -> list[Configurations]:
    return sets()[0]


def engines() -> list[Any]:
    """Return the engines of ag3sx-gfn1; six states are degenerate at the valence-band top of the static crystals."""
    return [pg.XtbLabeller(manifolds=(6, 0)), pg.ChgnetLabeller()]


def label(output: Path, workers: int) -> Labels:
    """Label every row; what the store holds is not computed again."""
    with Console() as console:
        return pg.label(_all_sets(), engines(), output / "labels.sqlite", workers=workers, progress=console.progress)


def pbesol() -> Any:
    """Return the engine of ag3sx-pbesol: energies and edges only.

    Without smearing rows of small gap need 40 steps or never converge; with it all take 11 to 15.
    """
    return pg.Cp2kLabeller(
        cutoff_Ry=250.0,
        rel_cutoff_Ry=40.0,
        eps_default=1e-7,
        smearing_K=100.0,
        mixing=0.4,
        eps_scf=3e-5,
        manifolds=(6, 0),
        provides=("energy_eV_per_atom", "band_gap_eV", "vbm_eV", "cbm_eV", "vbm_mean_eV"),
        provides_arrays=(),
    )


def subset(made: Sequence[Configurations], count: int) -> tuple[list[Configurations], list[str]]:
    """Return the first ``count`` rows of the PBEsol subset, as two sets, and the row of ag3sx-gfn1 that each one is.

    Thermal and random rows take turns, each in a random order that SEED fixes.
    """
    sets, rows = [], []
    for place, source in enumerate(s for s in made if s.name in SUBSET):
        order = np.random.default_rng(derive_seed(SEED, "ag3sx-pbesol", source.name)).permutation(len(source))
        chosen = [int(row) for row in order[: (count + 1 - place) // len(SUBSET)]]
        sets.append(picked(f"pbesol-{source.name}", [(source, row) for row in chosen]))
        rows += [source.ids[row] for row in chosen]
    return sets, rows


def in_turn(sets: Sequence[Configurations]) -> Configurations:
    """Return the subset in the order in which it is computed: a run that is stopped has as many of either set."""
    order = sorted((i, s) for s, one in enumerate(sets) for i in range(len(one)))
    return picked("pbesol", [(sets[s], i) for i, s in order])


def label_with_dft(output: Path, count: int, workers: int) -> Labels:
    """Label the first ``count`` rows of the subset with PBEsol; what the store holds is not computed again."""
    sets, _ = subset(_all_sets(), count)
    with Console() as console:
        return pg.label(
            [in_turn(sets)],
            [pbesol()],
            output / "pbesol.sqlite",
            workers=workers,
            timeout_s=3600.0,
            progress=console.progress,
            say=console.say,
        )


def symmetry() -> int:
    """Test the PBEsol settings on both end members, 40 atoms; print every law and return 1 where one is broken."""
    results = [symmetry_test(pbesol(), supercell(fraction)) for fraction in END_MEMBERS.values()]
    for result in results:
        print(result.sentence)
        for check in result.checks:
            print(f"  {check.name}: {check.found:.2g} {check.unit} (allowed {check.tolerance:.2g})")
    return 0 if all(result.passed for result in results) else 1


def pack_dft(output: Path, count: int) -> None:
    """Write the shipped folder of the subset from the labels in the store of ``output``; compute what is missing."""
    sets, source = subset(_all_sets(), count)
    labels = pg.label(sets, [pbesol()], output / "pbesol.sqlite", workers=0, timeout_s=3600.0)
    shipped = Dataset(name="ag3sx-pbesol", sets=tuple(sets), labels=labels, source=tuple(source))
    whole = card(labels, HERE / "ag3sx" / "card-pbesol.md") + f"\n{COMPARED}\n\n{compare(shipped)}\n"
    save_dataset(replace(shipped, card=whole), SHIPPED / "ag3sx-pbesol")


COMPARED = """## Against the cheap labels

Each row's labels in ag3sx-gfn1 beside those here. r is Pearson's, of all rows (not for energies, whose zero differs
between compositions) and of rows about the mean of their composition; of the latter also the slope of PBEsol on the
cheap label, and the standard deviations of PBEsol and of what the cheap label leaves of it."""


def compare(dft: Dataset) -> str:
    """Return how the cheap labels of the subset compare with PBEsol, as a table.

    Per set and property: n; Pearson r of all rows (not for energies, whose zero differs between compositions) and of
    rows about the mean of their composition; of the latter also the slope of PBEsol on the cheap label, and the
    standard deviations of PBEsol and of what the cheap label leaves of it.
    """
    cheap = pg.load_dataset("ag3sx-gfn1")
    lines = [
        "| set | property | cheap engine | n | r | r at fixed composition | slope | sd of PBEsol | sd left |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for s in dft.sets:
        rows = [place for place, name in enumerate(dft.labels.set_names) if name == s.name]
        for column in dft.labels.columns:
            other = cheap.labels.column(column.name)
            ours = column.values[rows]
            theirs = cheap.labels.aligned(column.name, [dft.source[place] for place in rows])
            known = np.isfinite(ours) & np.isfinite(theirs)
            y, x, kind = ours[known], theirs[known], s.fraction[known]
            whole = "" if column.name.startswith("energy") else f"{np.corrcoef(x, y)[0, 1]:.3f}"
            y, x = (values - group_means(values, kind) for values in (y, x))
            slope = float(x @ y / (x @ x))
            free = len(y) - len(set(kind))
            spread, left = (float(np.sqrt((values @ values) / free)) for values in (y, y - slope * x))
            engine = other.engine.split(maxsplit=1)[0]
            lines.append(
                f"| {s.name.removeprefix('pbesol-')} | `{column.name}` | {engine} | {len(y)} | {whole} | "
                f"{np.corrcoef(x, y)[0, 1]:.3f} | {slope:.2f} | {spread:.4f} | {left:.4f} {column.unit} |"
            )
    return "\n".join(lines)


def group_means(values: Any, groups: Any) -> Any:
    """Return, for each value, the mean over its group."""
    _, place = np.unique(groups, return_inverse=True)
    return (np.bincount(place, values) / np.bincount(place))[place]


def packed_arrays(store: LabelStore, made: Sequence[Configurations], labeller: Any, names: Sequence[str]) -> Any:
    """Return arrays of every row, NaN for holes: per atom where they have an entry per atom, else per row."""
    described = calculation(labeller)
    per_atom = [name for name in names if name != "stress_GPa"]
    found: dict[str, list[Any]] = {name: [] for name in names}
    for crystal in (crystal for s in made for crystal in s.crystals()):
        held = store.arrays(structure_bytes(crystal).key, described)
        for name in names:
            shape = np.shape(held[name]) if name in held else (3, 3) if name == "stress_GPa" else (len(crystal), 3)
            found[name].append(held.get(name, np.full(shape, np.nan)))
    return {name: np.concatenate(found[name]) if name in per_atom else np.array(found[name]) for name in names}


def card(labels: Labels, text: Path) -> str:
    """Return the card: the written part, and what the labels themselves say."""
    rows = [
        "| property | unit | engine | labels | holes | mean | standard deviation |",
        "|---|---|---|---|---|---|---|",
    ]
    for column in labels.columns:
        held = column.values[np.isfinite(column.values)]
        numbers = f"{len(held)} | {len(column.values) - len(held)} | {held.mean():.4f} | {held.std():.4f}"
        rows.append(f"| `{column.name}` | {column.unit} | {column.engine} | {numbers} |")
    failures = Counter(words for words in labels.status if words != "ok")
    lines = [f"- {times} × {words}" for words, times in failures.most_common()] or ["- none"]
    notes = [f"- {warning}" for warning in labels.warnings]
    parts = [text.read_text(encoding="utf-8").rstrip(), "", "## Labels", "", *rows, "", "## Failures", "", *lines]
    return "\n".join([*parts, "", "## Warnings", "", *notes, ""])


def pack(output: Path) -> None:
    """Write the shipped folder from the labels in the store of ``output``."""
    made, source = sets()
    labels = label(output, workers=0)
    with pg.open_store(output / "labels.sqlite") as store:
        arrays = packed_arrays(store, made, pg.ChgnetLabeller(), ("forces_eV_per_A", "stress_GPa"))
    shipped = Dataset(
        name="ag3sx-gfn1",
        sets=tuple(made),
        labels=labels,
        arrays=arrays,
        source=tuple(source),
        card=card(labels, HERE / "ag3sx" / "card-gfn1.md"),
    )
    save_dataset(shipped, SHIPPED / "ag3sx-gfn1")


def remake(sample_id: str) -> int:
    """Make one row again, label it again, and compare both with what is shipped; return 1 where they differ.

    Rows of ag3sx-gfn1 are drawn from their stream; those of ag3sx-pbesol are rows of ag3sx-gfn1.
    """
    cheap = pg.load_dataset("ag3sx-gfn1")
    data = pg.load_dataset("ag3sx-pbesol") if sample_id.startswith("pbesol-") else cheap
    if sample_id not in data.labels.sample_ids:
        first = ", ".join(s.ids[0] for s in data.sets)
        print(f"{data.name} has no row {sample_id!r}; its rows are {first} and those that follow", file=sys.stderr)
        return 2
    row = data.labels.sample_ids.index(sample_id)
    shipped = data.set(data.labels.set_names[row])
    position = shipped.ids.index(sample_id)
    if data is cheap:
        drawn = {s.name: s for s in sets()[0]}[shipped.name].crystal(position)
    else:
        origin = cheap.set(cheap.labels.set_names[cheap.labels.sample_ids.index(data.source[row])])
        drawn = origin.crystal(origin.ids.index(data.source[row]))
    moved = np.abs(drawn.positions_A - shipped.crystal(position).positions_A).max()
    print(f"{sample_id} ({data.source[row]}): positions drawn again differ by {moved:.1e} Å")
    worst = moved / 1e-9
    for labeller in engines() if data is cheap else [pbesol()]:
        result = labeller.label(shipped.crystal(position))
        for name in labeller.provides:
            kept, now = data.labels.column(name).values[row], result.values.get(name, np.nan)
            print(f"  {name}: shipped {kept!r}, now {now!r} {result.failure}")
            worst = max(worst, 0.0 if np.isnan(kept) and np.isnan(now) else abs(kept - now) / 1e-5)
    return 0 if worst <= 1.0 else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=("label", "dft", "pack", "pack-dft", "symmetry", "compare", "remake"))
    parser.add_argument("rows", nargs="*", help="rows to remake")
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/ag3sx"))
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--count", type=int, default=sum(SUBSET.values()), help="rows to label with PBEsol")
    options = parser.parse_args()
    if options.stage == "label":
        label(options.output, options.workers)
    elif options.stage == "dft":
        label_with_dft(options.output, options.count, options.workers)
    elif options.stage == "pack":
        pack(options.output)
    elif options.stage == "pack-dft":
        pack_dft(options.output, options.count)
    elif options.stage == "symmetry":
        return symmetry()
    elif options.stage == "compare":
        print(compare(pg.load_dataset("ag3sx-pbesol")))
    elif not options.rows:
        parser.error("remake needs the ids of rows, for example thermal-00017 or pbesol-random-00003")
    else:
        return max(map(remake, options.rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
