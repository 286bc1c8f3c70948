"""What each difference between the modes is worth, and which edge law is the better default, on labelled structures.

    python benchmarks/modes.py DATASET [--set thermal] [--target band_gap_eV] [--what modes|laws] [--seeds 5] [--n 1000]

DATASET is a dataset's name or folder (``phonograph.load_dataset``).  ``modes`` trains the three modes, and the mode
``paper-code`` with one difference at a time set as in ``default``; ``laws`` trains the default with other edge laws
and cutoffs.  A seed draws split and weights; all variants of a seed see the same split and are judged on all test
samples of it, and on those with a gap above 0.4 eV.  Rows are written as they come to
``benchmarks/results/<what>-<dataset>-<set>-<target>.csv``; rows that are there are not computed again.
The table at the end gives mean differences to the first variant, paired by seed, with 95 % intervals of the corrected
resampled t (splits share samples; see ``phonograph.evaluation.corrected_t``).
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kept import RESULTS

from phonograph import GraphConvNet, TrainingSettings, build_graphs, load_dataset, make_split, predict
from phonograph.config_modes import MODES, mode_differences, mode_options
from phonograph.evaluation import corrected_t, overlap_ratio
from phonograph.training import FitJob, fit_many
from phonograph.types import GraphSet, GraphSpec, Labels

TRAIN = 0.7
"""Share of the cells that train; as many test as validate."""

COLUMNS = ("set", "target", "variant", "seed", "n_train", "n_test", "mae", "rmse", "n_above", "mae_above", "epoch", "s")
TOGETHER = {
    "all edges": ["graphs.convention"],
    "cosine edge weights": ["training.settings.edge_law"],
    "own table of elements": ["training.settings.node_features"],
    "linear output": ["training.model.output", "training.settings.target_scaling"],
    "target scaled on training part": ["training.settings.scaling_part"],
    "shuffling": ["training.settings.shuffle"],
    "best epoch, early stopping": ["training.settings.keep"],
    "small gaps kept": ["training.settings.smallest_gap_eV"],
    "64 channels, no dropout": ["training.model.hidden_channels", "training.model.dropout"],
    "batches of 32, rate 0.003": [
        "training.settings.learning_rate",
        "training.settings.batch_size",
        "training.settings.epochs",
    ],
}
LAWS = {
    "cosine": {},
    "minmax": {"training.settings.edge_law": "minmax"},
    **{
        f"radial {count}": {"training.settings.edge_law": "radial", "training.settings.radial_functions": count}
        for count in (4, 8, 16)
    },
    "cosine 5.1 Å": {"graphs.cutoff_A": 5.1},
    "cosine 6.3 Å": {"graphs.cutoff_A": 6.3},
    "radial 8 6.3 Å": {
        "graphs.cutoff_A": 6.3,
        "training.settings.edge_law": "radial",
        "training.settings.radial_functions": 8,
    },
}


def of_modes() -> dict[str, dict[str, Any]]:
    """Return variant → all its options."""
    place = MODES.index("default")
    default = {name: values[place] for name, values in mode_differences().items()}
    named = {option for group in TOGETHER.values() for option in group} | {"evaluation.paper_filter"}
    assert named == set(default), f"differences without a name: {set(default) ^ named}"
    variants = {"paper-code": mode_options("paper-code")}
    for name, group in TOGETHER.items():
        variants[name] = {**variants["paper-code"], **{option: default[option] for option in group}}
    return {**variants, "paper": mode_options("paper"), "default": mode_options("default")}


def of_laws() -> dict[str, dict[str, Any]]:
    return {name: {**mode_options("default"), **changes} for name, changes in LAWS.items()}


def fields(options: dict[str, Any], table: str) -> dict[str, Any]:
    return {name.removeprefix(f"{table}."): value for name, value in options.items() if name.startswith(f"{table}.")}


def rows_of(
    graphs: GraphSet, labels: Labels, target: str, options: dict[str, Any], seeds: list[int]
) -> Iterator[dict[str, Any]]:
    """Train one variant with every seed and judge each network on the test part of its split."""
    splits = {seed: make_split(graphs.sample_ids, graphs.groups, (TRAIN, 0.15, 0.15), seed=seed) for seed in seeds}
    model = GraphConvNet(**fields(options, "training.model"))
    settings = TrainingSettings(**fields(options, "training.settings"))
    jobs = [
        FitJob(name=f"seed{seed}", split=split, model=model, target=target, settings=settings, seed=seed)
        for seed, split in splits.items()
    ]
    started = time.process_time()
    fits = fit_many(graphs, labels, jobs)
    seconds = (time.process_time() - started) / len(seeds)
    place = {sample: row for row, sample in enumerate(graphs.sample_ids)}
    for seed, fitted in zip(seeds, fits, strict=True):
        split = splits[seed]
        truth = labels.aligned(target, split.test)
        known = np.flatnonzero(np.isfinite(truth))
        found = predict(fitted, graphs.select([place[split.test[row]] for row in known]))
        error, above = np.abs(found - truth[known]), truth[known] > 0.4
        yield {
            "seed": seed,
            "n_train": len(split.train),
            "n_test": len(known),
            "mae": float(error.mean()),
            "rmse": float(np.sqrt((error**2).mean())),
            "n_above": int(above.sum()),
            "mae_above": float(error[above].mean()) if above.any() else float("nan"),
            "epoch": fitted.best_epoch,
            "s": round(seconds, 1),
        }


def table(path: Path, column: str) -> None:
    rows = list(csv.DictReader(path.open()))
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        found.setdefault(row["variant"], {})[row["seed"]] = 1000 * float(row[column])
    first = next(iter(found))
    print(f"{path.name}, {column} in meV")
    for name, of_seed in found.items():
        own = np.array(list(of_seed.values()))
        paired = np.array([value - found[first][seed] for seed, value in of_seed.items() if seed in found[first]])
        tested, trained = float(rows[0]["n_test"]), float(rows[0]["n_train"])
        between = corrected_t(paired, overlap_ratio(tested, trained, trained / TRAIN)).interval
        half = between.high - between.value
        print(f"  {name:34}{own.mean():8.1f}{between.value:+9.1f} ± {half:.1f}  ({len(own)} seeds)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--set", default="thermal")
    parser.add_argument("--target", default="band_gap_eV")
    parser.add_argument("--what", default="modes", choices=("modes", "laws"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--n", type=int, default=0, help="cells, the first of the set; 0: all")
    parser.add_argument("--channels", type=int, default=0, help="width of all networks; 0: that of the variant")
    parser.add_argument("--results", type=Path, default=RESULTS)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    data = load_dataset(chosen.dataset)
    configurations = data.set(chosen.set)
    if chosen.n:
        configurations = configurations.first(chosen.n)
    variants = of_modes() if chosen.what == "modes" else of_laws()
    if chosen.channels:
        variants = {name: {**of, "training.model.hidden_channels": chosen.channels} for name, of in variants.items()}
    narrow = (f"-n{chosen.n}" if chosen.n else "") + (f"-h{chosen.channels}" if chosen.channels else "")
    path = chosen.results / f"{chosen.what}-{data.name}-{chosen.set}-{chosen.target}{narrow}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_text(",".join(COLUMNS) + "\n")
    done = {(row["variant"], int(row["seed"])) for row in csv.DictReader(path.open())}
    built: dict[GraphSpec, GraphSet] = {}
    for name, options in variants.items():
        missing = [seed for seed in range(chosen.seeds) if (name, seed) not in done]
        if not missing:
            continue
        spec = GraphSpec(**fields(options, "graphs"))
        built[spec] = built.get(spec) or build_graphs(configurations, spec)
        with path.open("a", newline="") as file:
            for row in rows_of(built[spec], data.labels, chosen.target, options, missing):
                line = {"set": chosen.set, "target": chosen.target, "variant": name, **row}
                csv.DictWriter(file, COLUMNS).writerow(
                    {key: f"{value:.6g}" if isinstance(value, float) else value for key, value in line.items()}
                )
                print(f"{name}, seed {row['seed']}: {1000 * row['mae']:.1f} meV, {row['s']:.0f} s", flush=True)
    for column in ("mae", "mae_above"):
        table(path, column)


if __name__ == "__main__":
    main()
