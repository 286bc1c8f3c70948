"""The whole chain as a user runs it: files, reuse, kill and resume, and one sentence per mistake."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .conftest import phonograph

METRIC_COLUMNS = "target,unit,model,trained_on,tested_on,split,seed,scope,n,mae,rmse,r2,pearson_r2".split(",")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def results(run: Path) -> dict[str, bytes]:
    """Files whose content a run promises to be a function of configuration and seed."""
    names = ("*/*.csv", "*/*.extxyz", "*/*/model.safetensors")
    found = {str(path.relative_to(run)): path.read_bytes() for name in names for path in sorted(run.glob(name))}
    # How long a label took is no function of configuration and seed; that it is told is one.
    if "3_labels/costs.csv" in found:
        lines = found["3_labels/costs.csv"].splitlines()
        found["3_labels/costs.csv"] = b"\n".join([lines[0], *(b",".join(line.split(b",")[:2]) for line in lines[1:])])
    return found


def different(one: dict[str, bytes], other: dict[str, bytes]) -> list[str]:
    """Names of the files that two runs do not share to the last byte."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


@pytest.mark.slow
def test_whole_run_reuse_and_change(project: Path) -> None:
    done = phonograph("run", "tiny.toml", "-o", "run", folder=project)
    assert done.returncode == 0, done.stderr
    run = project / "run"
    _check_files(run)
    first = results(run)

    again = phonograph("run", "tiny.toml", "-o", "run", folder=project)
    assert again.returncode == 0
    assert "nothing had changed" in again.stdout
    assert different(results(run), first) == []

    # Another number of configurations at temperature changes room 8 only.
    changed = phonograph("run", "tiny.toml", "-o", "run", "--set", "thermal.n=9", folder=project)
    assert changed.stdout.startswith("thermal in"), changed.stdout
    assert {row["n"] for row in rows(run / "8_thermal" / "curve.csv")} == {"9"}

    # Labels that are tried again and do not change lead to no new training.
    retried = phonograph(
        "run", "tiny.toml", "-o", "run", "--set", "thermal.n=9", "--set", "labels.retry_failed=true", folder=project
    )
    assert retried.stdout.startswith("labels in"), retried.stdout

    # Two processes give the same numbers as one, and a fresh folder the same as the old one.
    fresh = phonograph("run", "tiny.toml", "-o", "other", "--set", "workers=2", folder=project)
    assert fresh.returncode == 0, fresh.stderr
    assert different(results(project / "other"), first) == []


def _check_files(run: Path) -> None:
    import phonopy

    assert phonopy.load(run / "1_phonons" / "phonopy.yaml", log_level=0).force_constants is not None
    assert (run / "1_phonons" / "frequencies.csv").is_file()
    frame = (run / "2_sampling" / "phonon.extxyz").read_text().splitlines()[1]
    for key in (
        "set=",
        "sampler=",
        "statistics=quantum",
        "temperature_K=",
        "seed=",
        "index=",
        "group=",
        "displacement",
    ):
        assert key in frame, key
    labels = rows(run / "3_labels" / "labels.csv")
    assert len(labels) == 38
    assert {row["status"] for row in labels} == {"ok"}
    assert labels[0]["energy_eV_per_atom_engine"]
    metrics = rows(run / "6_evaluation" / "metrics.csv")
    assert list(metrics[0]) == METRIC_COLUMNS
    tested = {(row["trained_on"], row["tested_on"]) for row in metrics if row["split"] == "test"}
    assert {("phonon", "phonon"), ("phonon", "random"), ("random", "phonon"), ("combined", "combined")} <= tested
    assert ("phonon", "matched") in tested
    assert {row["scope"] for row in metrics} == {"all", "in_range", "out_of_range"}
    assert {row["seed"] for row in metrics} == {"0", "1", "2"}
    edges = (run / "7_explanation" / "edges.csv").read_text().splitlines()[0]
    assert edges.startswith("i,j,image,distance_A,species_pair,shell,importance,importance_sd")
    curve = (run / "8_thermal" / "curve.csv").read_text().splitlines()[0]
    assert curve.startswith("target,temperature_K,mean,standard_error,model_spread,n")
    manifest = json.loads((run / "manifest.json").read_text())
    assert {"versions", "seeds", "hashes", "timings_s", "warnings"} <= manifest.keys()
    page = (run / "report.html").read_text()
    assert "<test>" not in page
    assert "aluminium &lt;test&gt; &amp; more" in page


@pytest.mark.slow
def test_killed_at_any_moment_a_run_continues_to_the_same_result(project: Path) -> None:
    reference = phonograph("run", "tiny.toml", "-o", "reference", folder=project)
    assert reference.returncode == 0, reference.stderr
    command = [sys.executable, "-m", "phonograph", "run", "tiny.toml", "-o", "killed", "-q"]
    for seconds in (2.0, 4.0, 6.0, 8.0, 10.0):
        with subprocess.Popen(command, cwd=project, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
            time.sleep(seconds)
            process.send_signal(signal.SIGKILL)
    finished = phonograph("run", "tiny.toml", "-o", "killed", folder=project)
    assert finished.returncode == 0, finished.stderr
    assert different(results(project / "killed"), results(project / "reference")) == []


def test_rooms_one_by_one_and_interrupt(project: Path) -> None:
    done = phonograph("sample", "tiny.toml", "-o", "run", "--set", "sampling.n=3", folder=project)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("phonons, sampling in")
    assert sorted(path.name for path in (project / "run").glob("?_*")) == ["1_phonons", "2_sampling"]
    report = phonograph("report", "tiny.toml", "-o", "run", "--set", "sampling.n=3", folder=project)
    assert report.returncode == 0, report.stderr
    assert (project / "run" / "report.html").is_file()

    # A report of what is there is made although the configuration has changed since, and says so.
    report = phonograph("report", "tiny.toml", "-o", "run", "--set", "sampling.n=4", folder=project)
    assert report.returncode == 0, report.stderr
    assert "shown as it is" in report.stderr
    assert "other inputs or other code" in (project / "run" / "report.html").read_text()
    nothing = phonograph("report", "tiny.toml", "-o", "fresh", folder=project)
    assert nothing.returncode == 2
    assert "no room is finished" in nothing.stderr

    command = [sys.executable, "-m", "phonograph", "run", "tiny.toml", "-o", "run"]
    with subprocess.Popen(command, cwd=project, stderr=subprocess.PIPE, text=True) as process:
        time.sleep(2.5)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert "interrupted; run the same command again to continue" in process.stderr.read()
    # Where the interrupt meets an import, CPython ends by the signal itself, which a shell shows as 130 too.
    assert process.returncode in (130, -signal.SIGINT)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["crystal.file=missing.vasp"], "missing.vasp"),
        (["crystal.file=empty.vasp"], "empty"),
        (["crystal.file=overlap.vasp"], "apart"),
        (["crystal.file=nan.vasp"], "nan.vasp"),
        (["crystal.file=element.vasp"], "Xx"),
        (["graphs.cutoff_A=0"], "cutoff_A"),
        (["graphs.cutoff_A=100"], "cutoff_A"),
        (["sampling.sets.phonon.sampler=magic"], "magic"),
        (["sampling.sets.phonon.temperature_K=-1"], "temperature_K"),
        (["sampling.n=2"], "sampl"),
        (["sead=1"], "did you mean 'seed'"),
        (["phonons.file=FORCE_CONSTANTS"], "FORCE_CONSTANTS"),
        (["labels.engines.emt.engine=dft"], "dft"),
    ],
)
def test_mistakes_end_with_one_sentence_and_code_2(project: Path, overrides: list[str], words: str) -> None:
    from .conftest import POSCAR

    (project / "empty.vasp").write_text("")
    (project / "nan.vasp").write_text(POSCAR.replace("0.0 0.0 0.0", "nan 0.0 0.0"))
    (project / "element.vasp").write_text(POSCAR.replace("Al\n1", "Xx\n1"))
    (project / "overlap.vasp").write_text(POSCAR.replace("\n1\n", "\n2\n") + "0.001 0.0 0.0\n")
    (project / "FORCE_CONSTANTS").write_text("3 3\n1 1\n1 0 0\n0 1 0\n0 0 1\n")
    options = [part for override in overrides for part in ("--set", override)]
    done = phonograph("run", "tiny.toml", "-o", "run", *options, folder=project)
    assert done.returncode == 2, done.stdout + done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("phonograph:")]
    assert len(lines) == 1, done.stderr
    assert words in lines[0], lines[0]
    assert "Traceback" not in done.stderr


def test_a_mistake_leaves_the_finished_run_as_it_was(project: Path) -> None:
    made = phonograph("sample", "tiny.toml", "-o", "run", "--set", "sampling.n=3", folder=project)
    assert made.returncode == 0, made.stderr
    before = {path: path.read_bytes() for path in (project / "run").rglob("*") if path.is_file()}
    (project / "FORCE_CONSTANTS").write_text("1 1\n1 1\n1 0 0\n0 1 0\n0 0 1\n")
    for mistake in ("phonons.file=FORCE_CONSTANTS", "crystal.supercell=[0,1,1]", "sampling.sets.phonon.guard=x"):
        wrong = phonograph("sample", "tiny.toml", "-o", "run", "--set", mistake, folder=project)
        assert wrong.returncode == 2, mistake
        after = {path: path.read_bytes() for path in (project / "run").rglob("*") if path.is_file()}
        assert {path.name for path in before if after[path] != before[path]} <= {".lock"}, mistake
    # The resolved configuration runs from where it lies, and is the same run.
    again = phonograph("sample", "run/config.resolved.toml", "-o", "run", folder=project)
    assert again.stdout.startswith("nothing had changed"), again.stdout + again.stderr


def test_brought_files_of_one_name_are_told_apart(project: Path) -> None:
    sets = ""
    for name, shift in (("a", 0.0), ("b", 0.1)):
        (project / name).mkdir()
        frames = [
            f'1\nLattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:3\nAl {shift + 0.01 * number} 0 0\n'
            for number in range(2)
        ]
        (project / name / "set.extxyz").write_text("".join(frames))
        sets += f'[[data.sets]]\nname = "{name}"\nstructures = "{name}/set.extxyz"\n'
    (project / "two.toml").write_text(sets)
    assert phonograph("sample", "two.toml", "-o", "two", folder=project).returncode == 0
    changed = (project / "a" / "set.extxyz").read_text().replace("Al 0.0 ", "Al 0.2 ")
    (project / "a" / "set.extxyz").write_text(changed)
    again = phonograph("sample", "two.toml", "-o", "two", folder=project)
    assert again.stdout.startswith("sampling in"), again.stdout + again.stderr


def test_second_driver_is_refused_with_the_holders_name(project: Path) -> None:
    command = [sys.executable, "-m", "phonograph", "run", "tiny.toml", "-o", "run", "-q"]
    with subprocess.Popen(command, cwd=project, stderr=subprocess.DEVNULL) as process:
        for _ in range(100):
            if (project / "run" / ".lock").exists():
                break
            time.sleep(0.1)
        time.sleep(0.3)
        done = phonograph("run", "tiny.toml", "-o", "run", folder=project)
        process.kill()
    assert done.returncode == 2
    assert f"process {process.pid}" in done.stderr


def test_output_that_cannot_be_written(project: Path) -> None:
    (project / "file").write_text("mine")
    done = phonograph("run", "tiny.toml", "-o", "file", folder=project)
    assert done.returncode == 2
    assert "is a file" in done.stderr
    assert (project / "file").read_text() == "mine"


def test_small_commands(project: Path) -> None:
    assert phonograph("--version", folder=project).stdout.startswith("phonograph 0.")
    assert "Room 2: displaced supercells" in phonograph("sample", "--help", folder=project).stdout
    assert "arXiv:2511.15222" in phonograph("cite", folder=project).stdout
    doctor = phonograph("doctor", folder=project)
    assert doctor.returncode == 0, doctor.stdout
    assert "chgnet" in doctor.stdout
    made = phonograph("init", "POSCAR", "-o", "new.toml", folder=project)
    assert made.returncode == 0, made.stderr
    kept = phonograph("init", "POSCAR", "-o", "new.toml", folder=project)
    assert kept.returncode == 2
    assert "kept" in kept.stderr


@pytest.mark.slow
def test_own_structures_and_labels_skip_the_first_rooms(project: Path) -> None:
    """Structures and labels from one run, brought as extxyz and CSV, go through rooms 4–7."""
    made = phonograph("label", "tiny.toml", "-o", "run", folder=project)
    assert made.returncode == 0, made.stderr
    table = rows(project / "run" / "3_labels" / "labels.csv")
    with (project / "energies.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["sample_id", "energy_eV_per_atom"])
        writer.writerows([row["sample_id"], row["energy_eV_per_atom"]] for row in table if row["set"] == "phonon")
    (project / "own.toml").write_text(
        'workers = 1\n[[data.sets]]\nname = "phonon"\nstructures = "run/2_sampling/phonon.extxyz"\n'
        'labels = "energies.csv"\n[training]\ntargets = ["energy_eV_per_atom"]\nseeds = [0]\n'
        "[training.settings]\nepochs = 5\n[training.model]\nhidden_channels = 8\n"
        "[explanation]\nruns = 2\nconfigurations = 1\n[explanation.explainer]\nepochs = 5\n"
    )
    done = phonograph("run", "own.toml", "-o", "own", folder=project)
    assert done.returncode == 0, done.stderr
    assert not (project / "own" / "1_phonons").exists()
    assert len(rows(project / "own" / "3_labels" / "labels.csv")) == 16
    assert (project / "own" / "report.html").is_file()
