"""The label store: overhead per label of the whole machinery, and many labels against ASE's database and plain files.

    python benchmarks/labels.py [--labels 100000] [--others 5000] [--run 2000] [--folder FOLDER]
                                [-o benchmarks/results/labels.json]

Part 1 labels ``--run`` structures through ``phonograph.label`` with an engine that takes no time: what is left is the
overhead of store, processes and result files; then it asks again, when everything is known.
Part 2 puts ``--labels`` labels (40 atoms, energy, gap, forces, stress) into our store in batches of 100 (of 1000
above 50,000 labels), and reads 1000 of them at random.  ASE's database and plain files are slow, so all are compared at
``--others`` labels in such batches; sizes and times are per label, and the ratios are theirs to ours in the same run.
Wall seconds, because waiting for the disk is the point; run it on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from kept import RESULTS, keep

from phonograph.labels import label, open_store
from phonograph.labels.attempts import Attempt
from phonograph.labels.task import Calculation, calculation_key, canonical_json, structure_bytes
from phonograph.testing import cubic_antiperovskite, displaced
from phonograph.types import Crystal, LabelResult

BATCH = 100
MANY = 50_000
READS = 1000


@dataclass(frozen=True, kw_only=True)
class Trivial:
    """An engine that takes no time."""

    provides: tuple[str, ...] = ("energy_eV_per_atom",)
    engine: str = "trivial 1.0"

    def label(self, crystal: Crystal) -> LabelResult:
        return LabelResult(values={"energy_eV_per_atom": float(np.cos(crystal.positions_A).sum())})


def cell_40() -> Crystal:
    unit = cubic_antiperovskite(4.9)
    shifts = np.stack(np.meshgrid(*[range(2)] * 3), -1).reshape(-1, 3) @ unit.cell_A
    positions = (shifts[:, None] + unit.positions_A).reshape(-1, 3)
    return Crystal(cell_A=2 * unit.cell_A, positions_A=positions, numbers=np.tile(unit.numbers, 8))


def timed(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def whole_machinery(folder: Path, count: int, workers: int) -> dict[str, float]:
    """Part 1."""
    sets = [displaced(cell_40(), count, 0.1)]
    start = timed(lambda: label([sets[0].first(2)], [Trivial()], folder / "warm.sqlite", workers=workers))
    first = timed(lambda: label(sets, [Trivial()], folder / "run.sqlite", workers=workers))
    again = timed(lambda: label(sets, [Trivial()], folder / "run.sqlite", workers=workers))
    print(f"{count} labels of a trivial engine through label(), {workers} workers:")
    found = {
        "start s": start,
        "overhead ms per label": (first - start) / (count - 2) * 1e3,
        "all known ms per label": again / count * 1e3,
    }
    print(f"  start of the processes and first 2 labels {start:.2f} s")
    print(f"  overhead {found['overhead ms per label']:.2f} ms per label (aim: below 5 ms)")
    print(f"  all known: {found['all known ms per label']:.3f} ms per label")
    return {"labels": count, "workers": workers, **rounded(found)}


def rounded(found: dict[str, float]) -> dict[str, float]:
    return {what: float(f"{value:.3g}") for what, value in found.items()}


PROVIDES, ARRAYS = ("energy_eV_per_atom", "band_gap_eV"), ("forces_eV_per_A", "stress_GPa")
CALCULATION = Calculation(
    task=canonical_json({"class": "benchmark:Engine", "settings": {}}),
    engine="benchmark 1.0",
    settings="{}",
    provides=PROVIDES,
    arrays=ARRAYS,
    key=calculation_key("Engine", "benchmark 1.0", "{}", PROVIDES, ARRAYS),
)


def content(count: int) -> Iterator[tuple[Crystal, LabelResult]]:
    """Yield the same labels for every store, one by one."""
    still = cell_40()
    for place in range(count):
        rng = np.random.default_rng([7, place])
        moved = still.positions_A + rng.normal(0, 0.1, still.positions_A.shape)
        arrays = {"forces_eV_per_A": rng.normal(size=(40, 3)), "stress_GPa": rng.normal(size=(3, 3))}
        values = {"energy_eV_per_atom": float(rng.normal()), "band_gap_eV": float(rng.random())}
        crystal = Crystal(cell_A=still.cell_A, positions_A=moved, numbers=still.numbers)
        yield crystal, LabelResult(values=values, arrays=arrays, seconds=1.0)


def batches(count: int) -> Iterator[list[tuple[Crystal, LabelResult]]]:
    batch, size = [], BATCH if count <= MANY else 10 * BATCH
    for item in content(count):
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


class Store:
    """Ours."""

    name = "phonograph store"

    def __init__(self, folder: Path) -> None:
        self.path = folder / "labels.sqlite"
        self.keys: list[bytes] = []

    def write(self, count: int) -> float:
        seconds = 0.0
        with open_store(self.path, "write") as store:
            for batch in batches(count):
                start = time.perf_counter()
                made = [
                    Attempt(structure=structure_bytes(crystal), calculation=CALCULATION, result=result)
                    for crystal, result in batch
                ]
                store.record(made)
                seconds += time.perf_counter() - start
                self.keys += [one.structure.key for one in made]
        return seconds

    def open(self) -> None:
        with open_store(self.path) as store:
            assert store.find(self.keys[0], CALCULATION).result is not None

    def read(self, places: np.ndarray) -> float:
        with open_store(self.path) as store:
            return sum(self.energy(store.find(self.keys[place], CALCULATION).result) for place in places)

    @staticmethod
    def energy(result: LabelResult | None) -> float:
        assert result is not None
        assert result.arrays["forces_eV_per_A"].shape == (40, 3)
        return float(result.values["energy_eV_per_atom"])


class AseDatabase:
    """ASE's database, one transaction per batch, no lock file."""

    name = "ASE db (sqlite)"

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ase.db"

    def connect(self):
        from ase.db import connect

        return connect(self.path, type="db", use_lock_file=False)

    def write(self, count: int) -> float:
        from ase import Atoms
        from ase.calculators.singlepoint import SinglePointCalculator

        seconds = 0.0
        for batch in batches(count):
            start = time.perf_counter()
            with self.connect() as database:
                for crystal, result in batch:
                    atoms = Atoms(numbers=crystal.numbers, positions=crystal.positions_A, cell=crystal.cell_A, pbc=True)
                    stress = result.arrays["stress_GPa"]
                    atoms.calc = SinglePointCalculator(
                        atoms,
                        energy=result.values["energy_eV_per_atom"],
                        forces=result.arrays["forces_eV_per_A"],
                        stress=stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]],
                    )
                    database.write(atoms, band_gap_eV=result.values["band_gap_eV"])
            seconds += time.perf_counter() - start
        return seconds

    def open(self) -> None:
        assert self.connect().get(id=1).energy is not None

    def read(self, places: np.ndarray) -> float:
        database = self.connect()
        total = 0.0
        for place in places:
            row = database.get(id=int(place) + 1)
            assert row.forces.shape == (40, 3)
            total += float(row.energy)
        return total


class JsonFiles:
    """One JSON file per label, each written whole and synchronised."""

    name = "JSON files"

    def __init__(self, folder: Path) -> None:
        self.path = folder / "json"
        self.path.mkdir()

    def file(self, place: int) -> Path:
        return self.path / f"{place // 1000}" / f"{place}.json"

    def write(self, count: int) -> float:
        seconds, place = 0.0, 0
        for crystal, result in content(count):
            start = time.perf_counter()
            plain = {
                "numbers": crystal.numbers.tolist(),
                "cell_A": crystal.cell_A.tolist(),
                "positions_A": crystal.positions_A.tolist(),
                **result.values,
                **{name: array.tolist() for name, array in result.arrays.items()},
            }
            target = self.file(place)
            target.parent.mkdir(exist_ok=True)
            temporary = target.with_suffix(".part")
            with temporary.open("w", encoding="utf-8") as stream:
                json.dump(plain, stream)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(target)
            seconds += time.perf_counter() - start
            place += 1
        return seconds

    def open(self) -> None:
        self.read(np.array([0]))

    def read(self, places: np.ndarray) -> float:
        total = 0.0
        for place in places:
            plain = json.loads(self.file(int(place)).read_text(encoding="utf-8"))
            assert np.array(plain["forces_eV_per_A"]).shape == (40, 3)
            total += plain["energy_eV_per_atom"]
        return total


class Extxyz:
    """One extended XYZ file, appended to by ASE and synchronised per batch; reading one frame counts frames."""

    name = "extxyz (ASE append)"

    def __init__(self, folder: Path) -> None:
        self.path = folder / "labels.extxyz"

    def write(self, count: int) -> float:
        from ase import Atoms
        from ase.io import write

        seconds = 0.0
        for batch in batches(count):
            start = time.perf_counter()
            frames = []
            for crystal, result in batch:
                atoms = Atoms(numbers=crystal.numbers, positions=crystal.positions_A, cell=crystal.cell_A, pbc=True)
                atoms.info |= {f"REF_{name}": value for name, value in result.values.items()}
                atoms.info["REF_stress"] = result.arrays["stress_GPa"].ravel()
                atoms.arrays["REF_forces"] = result.arrays["forces_eV_per_A"]
                frames.append(atoms)
            with self.path.open("a", encoding="utf-8") as stream:
                write(stream, frames, format="extxyz")
                stream.flush()
                os.fsync(stream.fileno())
            seconds += time.perf_counter() - start
        return seconds

    def open(self) -> None:
        self.read(np.array([0]))

    def read(self, places: np.ndarray) -> float:
        from ase.io import read

        total = 0.0
        for place in places:
            atoms = read(self.path, index=int(place), format="extxyz")
            assert atoms.arrays["REF_forces"].shape == (40, 3)
            total += atoms.info["REF_energy_eV_per_atom"]
        return total


def size(path: Path) -> int:
    """Return what the files occupy on the disk, bytes."""
    files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
    return sum(one.stat().st_blocks * 512 for one in files)


def measure(kind: type, folder: Path, count: int, reads: int) -> dict[str, float]:
    store = kind(folder)
    written = store.write(count)
    opened = timed(store.open)
    places = np.random.default_rng(0).integers(count, size=reads)
    read = timed(lambda: store.read(places))
    return {
        "write ms": written / count * 1e3,
        "kB": size(store.path) / count / 1000,
        "open ms": opened * 1e3,
        "read ms": read / reads * 1e3,
    }


def report(name: str, count: int, found: dict[str, float], ours: dict[str, float] | None = None) -> None:
    parts = [
        f"{what} {value:8.3f}" + (f" ({value / ours[what]:6.1f}×)" if ours else "") for what, value in found.items()
    ]
    print(f"  {name:22}{count:9,} labels: " + ", ".join(parts), flush=True)


def lookups(folder: Path, count: int) -> float:
    """How long the look-up of every label takes, as at the start of a run."""
    keys = [structure_bytes(crystal).key for crystal, _ in content(min(count, 100_000))]
    with open_store(folder / "labels.sqlite") as store:
        seconds = timed(lambda: store.find_many(keys, CALCULATION))
    print(f"  look-up of {len(keys):,} known labels at once: {seconds / len(keys) * 1e6:.1f} µs each")
    return seconds / len(keys) * 1e6


def in_folder(parent: Path, kind: type, count: int, reads: int) -> tuple[dict[str, float], Path]:
    folder = Path(tempfile.mkdtemp(dir=parent))
    return measure(kind, folder, count, reads), folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=int, default=100_000, help="labels in our store")
    parser.add_argument("--others", type=int, default=5_000, help="labels in the other stores")
    parser.add_argument("--run", type=int, default=2_000, help="labels through label()")
    parser.add_argument("--workers", type=int, default=2, help="workers of label()")
    parser.add_argument("--folder", type=Path, default=None, help="where to write (default: a temporary folder)")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS / "labels.json", help="where the result is kept")
    chosen = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=chosen.folder))
    kept: dict[str, Any] = {"unit": "wall seconds; reads are random", "stores": []}

    def note(name: str, count: int, found: dict[str, float]) -> None:
        kept["stores"].append({"store": name, "labels": count, **rounded(found)})
        keep(chosen.output, kept, "phonograph", "ase", "numpy", "pebble")

    try:
        if chosen.run:
            kept["label()"] = whole_machinery(folder, chosen.run, chosen.workers)
        print("stores, 40 atoms with energy, gap, forces and stress:")
        ours, _ = in_folder(folder, Store, chosen.others, READS)
        report(Store.name, chosen.others, ours)
        note(Store.name, chosen.others, ours)
        for kind in (AseDatabase, JsonFiles, Extxyz):
            # Finding a frame in the middle of one file takes seconds.
            found, place = in_folder(folder, kind, chosen.others, 20 if kind is Extxyz else READS)
            report(kind.name, chosen.others, found, ours)
            note(kind.name, chosen.others, found)
            shutil.rmtree(place)
        if chosen.labels > chosen.others:
            found, place = in_folder(folder, Store, chosen.labels, READS)
            report(Store.name, chosen.labels, found)
            note(Store.name, chosen.labels, found | {"look-up at once us": lookups(place, chosen.labels)})
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
