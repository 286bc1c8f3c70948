"""Room 3 inside a run: when it is made again, what it keeps, and what ``--status`` says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ase.build import bulk
from ase.io import write

import phonograph.run_folder
from phonograph.config_files import read_config
from phonograph.errors import ConfigurationError
from phonograph.pipeline import label_progress, run

CLUSTER = "[labels.executor]\nscheduler = 'local'\ncores_per_node = 4\nmax_blocks = 3\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    frames = [bulk("Cu", cubic=True) for _ in range(3)]
    for seed, atoms in enumerate(frames):
        atoms.rattle(0.05, seed=seed)
    write(tmp_path / "set.extxyz", frames, format="extxyz")
    sets = '[[data.sets]]\nname = "cu"\nstructures = "set.extxyz"\n'
    (tmp_path / "emt.toml").write_text(f'workers = 1\n{sets}[[labels.engines]]\nengine = "emt"\n')
    (tmp_path / "vasp.toml").write_text(f'workers = 1\n{sets}[[labels.engines]]\nengine = "vasp"\n')
    return tmp_path


def make(project: Path, config: str = "emt", **options) -> str:
    """Label, and return what is said about the room."""
    said: list[str] = []
    run(project / f"{config}.toml", project / "run", say=said.append, **{"upto": "labels", **options})
    return next(line for line in reversed(said) if line.startswith("labels: "))


def room(project: Path) -> Path:
    return project / "run" / "3_labels"


def test_an_unchanged_room_is_reused_also_after_a_retry(project):
    assert make(project).startswith("labels: done in ")
    assert make(project) == "labels: unchanged"
    before = (room(project) / "labels.csv").read_bytes()
    assert make(project, retry_failed=("crashed",)).startswith("labels: done in ")
    assert make(project) == "labels: unchanged"
    assert (room(project) / "labels.csv").read_bytes() == before


def test_what_waits_is_asked_again_and_shown_as_it_is(project):
    assert make(project, "vasp").startswith("labels: done in ")
    assert make(project, "vasp").startswith("labels: done in ")
    # A report computes nothing, and nothing has changed.
    assert make(project, "vasp", upto="report") == "labels: unchanged"


@pytest.mark.parametrize("name", ["mine.sqlite", "own/mine [1].sqlite"])
def test_a_store_by_another_name_in_the_room_is_kept(project, name):
    """The room is made again; what the first time left of the store must not count as its outdated result."""
    store = room(project) / name
    option = [f"labels.store=run/3_labels/{name}"]
    make(project, overrides=option)
    content = store.read_bytes()
    assert list(json.loads((room(project) / "room.json").read_text())["files"]) == ["labels.csv", "labels.json"]
    make(project, overrides=option, retry_failed=("crashed",))
    assert store.read_bytes() == content


def test_damaged_results_stay_for_whoever_looks(project):
    make(project)
    results = room(project) / "labels.sqlite.results"
    results.mkdir()
    (results / "x.result").write_text("junk")
    for _ in range(3):
        make(project, retry_failed=("crashed",))
        assert [path.name for path in results.iterdir()] == ["x.result.damaged"]
    assert make(project) == "labels: unchanged"


def test_results_outlive_a_clock_that_is_set_back(project, monkeypatch):
    """The clock of a file server, or of this machine after a correction, may be behind."""
    make(project)
    before = (room(project) / "labels.csv").read_bytes()

    class Ahead:
        perf_counter = staticmethod(phonograph.run_folder.time.perf_counter)
        time = staticmethod(lambda: 4e9)

    monkeypatch.setattr(phonograph.run_folder, "time", Ahead)
    make(project, retry_failed=("crashed",))
    assert (room(project) / "labels.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("config", "option"),
    [
        ("emt", 'labels.store="run/2_sampling/labels.sqlite"'),
        ("vasp", "."),
        ("vasp", "../2_sampling/vasp"),
    ],
)
def test_nothing_precious_lies_among_results_that_are_removed(project, config, option):
    if config == "vasp":
        file = project / "vasp.toml"
        file.write_text(file.read_text() + f'folder = "{option}"\n')
    overrides = [option] if config == "emt" else []
    with pytest.raises(ConfigurationError, match=r"lies among the results of [23]_"):
        make(project, config, overrides=overrides)


def test_a_folder_of_an_engine_given_in_full_is_kept_too(project):
    file = project / "vasp.toml"
    file.write_text(file.read_text() + f'folder = "{room(project) / "mine"}"\n')
    make(project, "vasp")
    inputs = sorted(room(project).glob("mine/*/POSCAR"))
    assert len(inputs) == 3
    for _ in range(2):
        make(project, "vasp")
        assert sorted(room(project).glob("mine/*/POSCAR")) == inputs


def test_progress_counts_the_places_that_labels_really_have(project):
    make(project)
    assert label_progress(read_config(project / "emt.toml"), project / "run").workers == 1
    (project / "cluster.toml").write_text((project / "emt.toml").read_text() + CLUSTER)
    found = label_progress(read_config(project / "cluster.toml"), project / "run")
    assert found.workers == 12
    assert [engine.done for engine in found.engines] == [3]


def test_labels_do_not_depend_on_where_the_command_is_given(project, monkeypatch):
    make(project)
    monkeypatch.chdir(project / "run")
    assert make(project) == "labels: unchanged"


@pytest.mark.slow
def test_the_cluster_is_chosen_in_the_configuration_and_the_table_is_the_same(project: Path) -> None:
    """Only ``[labels.executor]`` is added: blocks of Parsl compute the same table to the last byte."""
    make(project)
    table = (room(project) / "labels.csv").read_bytes()
    text = (project / "emt.toml").read_text()
    (project / "cluster.toml").write_text(text + "[labels.executor]\nscheduler = 'local'\ncores_per_node = 2\n")
    run(project / "cluster.toml", project / "elsewhere", upto="labels")
    assert list(project.rglob("*.blocks")), "no folder of job scripts: the labels were computed by local processes"
    assert (project / "elsewhere" / "3_labels" / "labels.csv").read_bytes() == table
