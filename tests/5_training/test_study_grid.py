"""The published grid at CI size, with real worker processes: gate R19, and kills at random moments.

``PHONOGRAPH_KILLS`` sets how many random moments the kill test takes (10 by default).
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from phonograph.files.graphs import save_graphs
from phonograph.jobs import open_jobs
from phonograph.models import architecture
from phonograph.steps.fits import FitRequest, run_fits
from phonograph.training import FitJob, TrainingSettings, fit
from phonograph.training.grid import PAPER_AXES, grid
from phonograph.types import LabelColumn, Labels

KILLS = int(os.environ.get("PHONOGRAPH_KILLS", "10"))
SETTINGS = TrainingSettings(epochs=2, batch_size=16)

DRIVER = """
import sys
from dataclasses import replace
from pathlib import Path
from phonograph.files.graphs import load_graphs
from phonograph.files.shelf import Shelf
from phonograph.models import architecture
from phonograph.steps.fits import FitRequest, run_fits
from phonograph.training import FitJob, TrainingSettings, make_split

if __name__ == "__main__":
    folder, table, count, epochs = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    graphs = load_graphs(folder / "graphs.npz")
    labels = Shelf(folder).labels(sys.argv[5])
    settings = TrainingSettings(epochs=epochs, batch_size=16, checkpoint_s=0.0)
    split = make_split(graphs.sample_ids, graphs.groups, seed=3)
    jobs = [
        FitJob(name=f"fit{n}", split=split, model=architecture(1 + n % 6, hidden_channels=8), target="toy_eV",
               unit="eV", settings=settings, seed=n)
        for n in range(count)
    ]
    # Each is a job of its own, so that there are many moments at which a kill matters.
    requests = [FitRequest(job=job, tests={"test": split.test}, group=job.name) for job in jobs]
    def tell(what, done, total):
        print(what, done, total, flush=True)
    for one in run_fits(graphs, labels, requests, table, workers=2, progress=tell):
        print(one.name, one.failure, [score.mae.hex() for score in one.scores], one.best_epoch, flush=True)
"""


def requests_of(points, split, *, seed=0, **changes) -> list[FitRequest]:
    return [
        FitRequest(
            job=FitJob(
                name=f"p{n}",
                split=split,
                model=point.model,
                target="toy_eV",
                unit="eV",
                settings=replace(point.settings, **changes),
                seed=seed,
            ),
            tests={"test": split.test},
        )
        for n, point in enumerate(points)
    ]


def children(process: int) -> list[int]:
    try:
        listed = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="utf-8").split()
    except OSError:
        return []
    return [int(child) for child in listed]


def size_of(process: int) -> tuple[int, int]:
    """Return resident memory (kB) and open descriptors."""
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in status if line.startswith("VmRSS")).split()[1]), len(
        os.listdir(f"/proc/{process}/fd")
    )


@pytest.mark.slow
def test_480_models_leave_480_rows_and_no_memory(tmp_path, graphs, labels, split):
    """Gate R19: after 40 % of the grid peaks of memory grow by at most 5 %, descriptors by none."""
    points = grid(PAPER_AXES, architecture(5), SETTINGS)
    assert len(points) == 480
    seen: dict[int, list[tuple[float, int, int]]] = {}

    def look(what, done, total):
        for process in (os.getpid(), *children(os.getpid())):
            try:
                seen.setdefault(process, []).append((done / total, *size_of(process)))
            except (OSError, StopIteration):
                continue

    table = tmp_path / "t.sqlite"
    requests = requests_of(points, split)
    found = run_fits(graphs, labels, requests, table, workers=2, progress=look)
    assert len(found) == 480
    assert [one.failure for one in found] == [""] * 480
    with open_jobs(table) as book:
        jobs = book.results()
        assert book.counts() == {"done": len(jobs)}
    # Networks of one shape train together, so that a job holds several.
    assert sum(len(job.result["members"]) for job in jobs.values()) == 480
    assert len(jobs) < 240
    grown = []
    for process, sizes in seen.items():
        quarter = [line for line in sizes if line[0] <= 0.4]
        end = [line for line in sizes if line[0] >= 0.85]
        if quarter and end and max(line[1] for line in sizes) > 100_000:
            grown.append(max(line[1] for line in end) / max(line[1] for line in quarter))
            assert max(line[2] for line in end) <= max(line[2] for line in quarter) + (process == os.getpid()), process
    assert len(grown) >= 2, "two workers, and perhaps this process"
    assert max(grown) <= 1.05, grown
    before = table.stat().st_mtime_ns
    again = run_fits(graphs, labels, requests, table, workers=2)
    assert [one.scores for one in again] == [one.scores for one in found]
    assert table.stat().st_mtime_ns == before, "nothing to do, nothing written"


@pytest.mark.slow
def test_kills_change_no_row_of_a_study(tmp_path, graphs, labels):
    from phonograph.files.shelf import Shelf

    name = Shelf(tmp_path).put_labels(replace(labels, warnings=()))
    save_graphs(graphs, tmp_path / "graphs.npz")
    (tmp_path / "driver.py").write_text(DRIVER, encoding="utf-8")
    source = Path(__file__).resolve().parents[2] / "src"

    def start(table: Path) -> subprocess.Popen[str]:
        command = [sys.executable, str(tmp_path / "driver.py"), str(tmp_path), str(table), "24", "60", name]
        environment = {**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)

    def outcome(process: subprocess.Popen[str]) -> list[str]:
        out, err = process.communicate(timeout=600)
        assert process.returncode == 0, err
        return [line for line in out.splitlines() if line.startswith("fit") and not line.startswith("fits")]

    moments, table = random.Random(3), tmp_path / "killed.sqlite"
    killed = 0
    process = start(table)
    while killed < KILLS:
        # Work is under way: a job has begun, or one more has ended.
        folders = tmp_path / "killed.sqlite.jobs"
        until = time.monotonic() + 120
        while time.monotonic() < until and process.poll() is None and not any(folders.glob("*/checkpoint-*")):
            time.sleep(0.05)
        time.sleep(moments.uniform(0.0, 0.6))
        if process.poll() is not None:
            break
        if killed % 3 == 2:
            process.kill()
            process.communicate()
            process = start(table)
        else:
            # pebble's workers are the children that hold torch; the others are small helpers.
            workers = [one for one in children(process.pid) if _is_large(one)]
            if workers:
                os.kill(moments.choice(workers), signal.SIGKILL)
        killed += 1
    told = outcome(process)
    assert killed >= min(KILLS, 6), "the kills must fall between the jobs"
    assert len(told) == 24
    assert told == outcome(start(tmp_path / "calm.sqlite"))
    with open_jobs(table) as book:
        assert all(one.status == "done" for one in book.results().values())


def _is_large(process: int) -> bool:
    try:
        return size_of(process)[0] > 100_000
    except (OSError, StopIteration):
        return False


def test_a_job_gives_what_a_fit_gives(tmp_path, graphs, labels, split, monkeypatch):
    """Scores and predictions of a job are those of a direct fit, and a fit that diverges fails alone."""
    import torch

    from phonograph.models import predict

    threads = torch.get_num_threads()
    (one,) = grid({"learning_rate": [1e-3]}, architecture(2, hidden_channels=8), SETTINGS)
    bad = replace(
        labels, columns=(*labels.columns, LabelColumn(name="flat_eV", unit="eV", values=np.ones(60), engine=""))
    )
    good, flat = requests_of([one, one], split)
    flat = replace(flat, job=replace(flat.job, target="flat_eV"))
    found, failed = run_fits(graphs, bad, [good, flat], tmp_path / "t.sqlite", workers=1)
    torch.set_num_threads(1)
    direct = fit(graphs, labels, split, one.model, one.settings, target="toy_eV", unit="eV", seed=0)
    torch.set_num_threads(threads)
    places = [graphs.sample_ids.index(sample) for sample in split.test]
    ids, truth, prediction = found.predictions("test")
    assert ids == split.test
    assert prediction == pytest.approx(predict(direct, graphs.select(places)), abs=1e-12)
    assert found.score("test").mae == pytest.approx(np.abs(prediction - truth).mean())
    assert (found.best_epoch, found.epochs, found.train_range) == (direct.best_epoch, 2, direct.train_range)
    module = one.model.build(4, 0)
    assert found.parameters == sum(parameter.numel() for parameter in module.parameters())
    assert "nothing to learn" in failed.failure
    assert not list((tmp_path / "t.sqlite.jobs").glob("*/checkpoint-*")), "a finished fit needs no checkpoint"
    known: Labels = labels
    assert known.column("toy_eV").unit == "eV"


def test_a_further_target_makes_no_other_jobs_of_the_first(tmp_path, graphs, labels, split):
    """A study of one target grows by another at the cost of that one alone."""
    twice = LabelColumn(name="twice_eV", unit="eV", values=2 * labels.column("toy_eV").values, engine="")
    both = replace(labels, columns=(*labels.columns, twice))
    (point,) = grid({"learning_rate": [1e-3]}, architecture(2, hidden_channels=8), SETTINGS)
    [first] = [replace(one, group="toy") for one in requests_of([point], split)]
    second = replace(first, job=replace(first.job, target="twice_eV"), group="twice")
    table = tmp_path / "t.sqlite"
    run_fits(graphs, labels, [first], table, workers=1)
    with open_jobs(table) as book:
        before = {key: one.ended for key, one in book.results().items()}
    found = run_fits(graphs, both, [first, second], table, workers=1)
    assert [one.failure for one in found] == ["", ""]
    with open_jobs(table) as book:
        after = {key: one.ended for key, one in book.results().items()}
    assert len(after) == 2
    assert before.items() <= after.items()


def test_a_bundle_that_is_lost_or_damaged_is_made_again(tmp_path, graphs, labels, split):
    (point,) = grid({"learning_rate": [1e-3]}, architecture(2, hidden_channels=8), SETTINGS)
    requests = [replace(one, keep=True) for one in requests_of([point], split)]
    table = tmp_path / "t.sqlite"
    [found] = run_fits(graphs, labels, requests, table, workers=1)
    weights = found.bundle / "model.safetensors"
    whole = weights.read_bytes()
    for spoil in (weights.unlink, lambda: weights.write_bytes(whole[:-1])):
        spoil()
        said = []
        run_fits(graphs, labels, requests, table, workers=1, say=said.append)
        assert weights.read_bytes() == whole
        assert any("files of 1 finished jobs are missing or damaged" in line for line in said)
