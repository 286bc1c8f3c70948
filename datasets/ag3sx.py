"""The dataset ag3sx: Ag3SBr, Ag3SI and their solid solutions, drawn, labelled, packed and remade row by row.

python datasets/ag3sx.py label -o runs/ag3sx          GFN1-xTB and CHGNet labels of all rows, resumable (3.5 core-hours)
python datasets/ag3sx.py pack -o runs/ag3sx           the folder that pg.load_dataset reads
python datasets/ag3sx.py dft -o runs/ag3sx            PBEsol labels of the random subset, with CP2K, resumable
python datasets/ag3sx.py pack-dft -o runs/ag3sx       the folder of these labels
python datasets/ag3sx.py symmetry                     the symmetry test of the PBEsol settings on both end members
python datasets/ag3sx.py compare                      how GFN1-xTB and CHGNet labels compare with PBEsol
python datasets/ag3sx.py remake thermal-00017         draw one row again, label it again, compare with what is shipped

dft, pack-dft, symmetry and compare work on ag3sx-pbesol; with --dataset ag3sx-pbesol-forces on the rows that have
PBEsol forces and stress.  Rows are drawn by ag3sx_rows.py.
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
from ag3sx_dft import COMPARED, SUBSETS, chosen_rows, compare, label_with_dft, symmetry
from ag3sx_rows import HERE, all_sets, sets

import phonograph as pg
from phonograph.console import Console
from phonograph.files.datasets import save_dataset
from phonograph.labels import LabelStore
from phonograph.labels.task import calculation, structure_bytes
from phonograph.types import Configurations, Dataset, Labels

SHIPPED = HERE.parent / "src" / "phonograph" / "datasets"
CHEAP = "ag3sx-gfn1"


def engines() -> list[Any]:
    """Return the engines of ag3sx-gfn1; six states are degenerate at the valence-band top of the static crystals."""
    return [pg.XtbLabeller(manifolds=(6, 0)), pg.ChgnetLabeller()]


def label(output: Path, workers: int) -> Labels:
    """Label every row; what the store holds is not computed again."""
    with Console() as console:
        return pg.label(all_sets(), engines(), output / "labels.sqlite", workers=workers, progress=console.progress)


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
    notes = [f"- {warning}" for warning in labels.warnings] or ["- none"]
    parts = [text.read_text(encoding="utf-8").rstrip(), "", "## Labels", "", *rows, "", "## Failures", "", *lines]
    return "\n".join([*parts, "", "## Warnings", "", *notes, ""])


def pack(output: Path) -> None:
    """Write the shipped folder from the labels in the store of ``output``."""
    made, source = sets()
    labels = label(output, workers=0)
    with pg.open_store(output / "labels.sqlite") as store:
        arrays = packed_arrays(store, made, pg.ChgnetLabeller(), ("forces_eV_per_A", "stress_GPa"))
    shipped = Dataset(
        name=CHEAP,
        sets=tuple(made),
        labels=labels,
        arrays=arrays,
        source=tuple(source),
        card=card(labels, HERE / "ag3sx" / "card-gfn1.md"),
    )
    save_dataset(shipped, SHIPPED / CHEAP)


def pack_dft(name: str, output: Path, count: int) -> None:
    """Write the shipped folder of a subset from the labels in the store of ``output``; compute what is missing."""
    subset = SUBSETS[name]
    made, source = chosen_rows(subset, count)
    engine = subset.engine()
    labels = pg.label(made, [engine], output / subset.store, workers=0, timeout_s=3600.0)
    with pg.open_store(output / subset.store) as store:
        arrays = packed_arrays(store, made, engine, engine.provides_arrays)
    shipped = Dataset(name=name, sets=tuple(made), labels=labels, arrays=arrays, source=tuple(source))
    whole = card(labels, subset.card) + f"\n{COMPARED}\n\n{compare(shipped)}\n"
    save_dataset(replace(shipped, card=whole), SHIPPED / name)


def dataset_of(sample_id: str) -> str:
    """Return the name of the dataset whose rows are called as ``sample_id`` is."""
    return next((name for name, subset in SUBSETS.items() if sample_id.startswith(f"{subset.prefix}-")), CHEAP)


def remake(sample_id: str) -> int:
    """Make one row again, label it again, and compare both with what is shipped; return 1 where they differ.

    Rows of ag3sx-gfn1 are drawn from their stream; those of the others are rows of ag3sx-gfn1.
    """
    cheap, name = pg.load_dataset(CHEAP), dataset_of(sample_id)
    data = cheap if name == CHEAP else pg.load_dataset(name)
    if sample_id not in data.labels.sample_ids:
        first = ", ".join(s.ids[0] for s in data.sets)
        print(f"{data.name} has no row {sample_id!r}; its rows are {first} and those that follow", file=sys.stderr)
        return 2
    row = data.labels.sample_ids.index(sample_id)
    shipped = data.set(data.labels.set_names[row])
    position = shipped.ids.index(sample_id)
    if data is cheap:
        drawn = {s.name: s for s in all_sets()}[shipped.name].crystal(position)
    else:
        origin = cheap.set(cheap.labels.set_names[cheap.labels.sample_ids.index(data.source[row])])
        drawn = origin.crystal(origin.ids.index(data.source[row]))
    moved = np.abs(drawn.positions_A - shipped.crystal(position).positions_A).max()
    print(f"{sample_id} ({data.source[row]}): positions drawn again differ by {moved:.1e} Å")
    worst = moved / 1e-9
    for labeller in engines() if data is cheap else [SUBSETS[name].engine()]:
        result = labeller.label(shipped.crystal(position))
        for of in labeller.provides:
            kept, now = data.labels.column(of).values[row], result.values.get(of, np.nan)
            print(f"  {of}: shipped {kept!r}, now {now!r} {result.failure}")
            worst = max(worst, 0.0 if np.isnan(kept) and np.isnan(now) else abs(kept - now) / 1e-5)
    return 0 if worst <= 1.0 else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=("label", "dft", "pack", "pack-dft", "symmetry", "compare", "remake"))
    parser.add_argument("rows", nargs="*", help="rows to remake")
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/ag3sx"))
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--dataset", choices=tuple(SUBSETS), default="ag3sx-pbesol", help="of the stages with DFT")
    parser.add_argument("--count", type=int, default=0, help="rows to label with PBEsol; 0: all of the dataset")
    options = parser.parse_args()
    subset = SUBSETS[options.dataset]
    count = options.count or subset.rows
    if options.stage == "label":
        label(options.output, options.workers)
    elif options.stage == "dft":
        label_with_dft(subset, options.output, count, options.workers)
    elif options.stage == "pack":
        pack(options.output)
    elif options.stage == "pack-dft":
        pack_dft(options.dataset, options.output, count)
    elif options.stage == "symmetry":
        return symmetry(subset)
    elif options.stage == "compare":
        print(compare(pg.load_dataset(options.dataset)))
    elif not options.rows:
        parser.error("remake needs the ids of rows, for example thermal-00017 or pbesol-random-00003")
    else:
        return max(map(remake, options.rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
