"""Sets larger than the memory: time, disk and peak memory of writing graph shards and training one epoch from them.

    python benchmarks/shards.py [--sizes 10000 100000 1000000] [--block 4000] [--folder FOLDER] [-o FILE]

Displaced 40-atom cells with random labels, in blocks; 64 channels, batches of 32.  Writing and training are processes
of their own, whose largest resident set is told by the kernel: what an import of torch takes is in it, and given as
"empty".  Beside it the memory that the arrays of all graphs would take together.  A million cells take 12 GB in FOLDER
(the temporary folder by default), which are deleted afterwards.  Kept in FILE, ``benchmarks/results/shards.json`` by
default.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from graphs import cell_40
from kept import RESULTS, keep

from phonograph.files.graph_shards import load_shards, write_shards
from phonograph.graphs import build_graphs
from phonograph.models import GraphConvNet
from phonograph.streams import stream
from phonograph.testing import displaced
from phonograph.training import TrainingSettings, fit_large, make_split
from phonograph.types import FloatArray, GraphSet, GraphSpec


def blocks(count: int, size: int) -> Iterator[tuple[GraphSet, FloatArray]]:
    """Make graphs one block after the other; no two blocks are equal."""
    for number, start in enumerate(range(0, count, size)):
        some = min(size, count - start)
        graphs = build_graphs(displaced(cell_40(), some, 0.2, seed=number), GraphSpec())
        names = tuple(f"cell-{start + k}" for k in range(some))
        yield replace(graphs, sample_ids=names, groups=names), stream(number, "labels").random(some)


def write(folder: Path, count: int, block: int) -> dict[str, Any]:
    return {"shards": len(write_shards(blocks(count, block), folder, ["y"], ["eV"]).files)}


def train(folder: Path, count: int, block: int) -> dict[str, Any]:
    large = load_shards(folder)
    split = make_split(large.sample_ids, large.groups, seed=0)
    fitted = fit_large(large, split, GraphConvNet(), target="y", settings=TrainingSettings(epochs=1))
    return {"epochs": len(fitted.history)}


WORK = {"empty": lambda *_: {}, "write": write, "train": train}


def measured(what: str, folder: Path, count: int, block: int) -> dict[str, Any]:
    """Do one part of the work in a process of its own."""
    arguments = [sys.executable, __file__, "--part", what, "--folder", str(folder), "--sizes", str(count)]
    done = subprocess.run([*arguments, "--block", str(block)], capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--block", type=int, default=4000, help="cells in one shard")
    parser.add_argument("--folder", type=Path, help="where the shards lie for a while; default: a temporary folder")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS / "shards.json")
    parser.add_argument("--part", choices=WORK, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.part:
        start = time.perf_counter()
        found = WORK[chosen.part](chosen.folder, chosen.sizes[0], chosen.block)
        seconds = time.perf_counter() - start
        # The kernel's largest resident set of this process alone; ru_maxrss may hold that of its parent.
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        peak_MB = int(status["VmHWM"].split()[0]) / 1024
        print(json.dumps({"seconds": round(seconds, 1), "peak_MB": round(peak_MB), **found}))
        return
    [some] = (graphs for graphs, _ in blocks(100, 100))
    held = sum(value.nbytes for value in vars(some).values() if isinstance(value, np.ndarray)) / len(some)
    rows = []
    for count in chosen.sizes:
        with tempfile.TemporaryDirectory(dir=chosen.folder) as place:
            folder = Path(place) / "shards"
            row = {part: measured(part, folder, count, chosen.block) for part in WORK}
            disk_GB = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e9
        packed_GB = count * held / 1e9
        rows.append({"cells": count, "disk_GB": round(disk_GB, 2), "packed_GB": round(packed_GB, 2), **row})
        print(
            f"{count:9d} cells, {disk_GB:.2f} GB on disk ({packed_GB:.2f} GB packed in memory): written in "
            f"{row['write']['seconds']:.0f} s with {row['write']['peak_MB']} MB at most, one epoch in "
            f"{row['train']['seconds']:.0f} s with {row['train']['peak_MB']} MB (a process that does nothing: "
            f"{row['empty']['peak_MB']} MB)",
            flush=True,
        )
        keep(chosen.output, {"block": chosen.block, "rows": rows}, "torch", "numpy")


if __name__ == "__main__":
    main()
