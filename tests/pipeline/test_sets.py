"""Sets that need more than phonons, through the pipeline: matched sets, trajectories and occupations."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import write

from phonograph.config_files import parse_config, relocated, to_toml
from phonograph.errors import ConfigurationError, DataError, InputFileError
from phonograph.pipeline import run
from phonograph.types import Trajectory

from .conftest import POSCAR

ALUMINIUM = {
    "workers": 1,
    "crystal": {"file": "POSCAR", "supercell": [2, 2, 2]},
    "phonons": {"forces": {"engine": "emt"}},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "POSCAR").write_text(POSCAR)
    return tmp_path


def configured(folder: Path, *sets: dict) -> object:
    return parse_config({**ALUMINIUM, "sampling": {"n": 6, "sets": list(sets)}}, folder)


def sampled(config, folder: Path):
    return {item.name: item for item in run(config, folder / "run", upto="sampling").sets}


def rattled(supercell, frames: int) -> Trajectory:
    moved = 0.05 * np.random.default_rng(1).normal(size=(frames, len(supercell), 3))
    return Trajectory(
        cell_A=supercell.cell_A,
        numbers=supercell.numbers,
        masses_amu=supercell.masses_amu,
        positions_A=supercell.positions_A + moved,
        time_step_fs=10.0,
        temperature_K=300.0,
    )


THERMAL = {"name": "thermal", "sampler": "thermal"}
SNAPSHOTS = {"name": "md", "sampler": "md-snapshots"}


def test_controls_and_trajectories_through_the_configuration(folder: Path) -> None:
    control = {"name": "control", "sampler": "matched-pairs", "match": "thermal", "cutoff_A": 4.0}
    plain = sampled(configured(folder, control, THERMAL), folder)
    assert list(plain) == ["control", "thermal"]
    assert plain["control"].sampler == "matched-pairs"

    # The trajectory as a file of the user's, in another folder than the run.
    supercell = run(configured(folder, THERMAL), folder / "run", upto="sampling").phonons.supercell
    trajectory = rattled(supercell, 30)
    atoms = [
        Atoms(numbers=supercell.numbers, positions=positions, cell=supercell.cell_A, pbc=True)
        for positions in trajectory.positions_A
    ]
    (folder / "md").mkdir()
    write(folder / "md" / "aluminium.extxyz", atoms)
    config = configured(
        folder, {**SNAPSHOTS, "file": "md/aluminium.extxyz", "time_step_fs": 10.0, "temperature_K": 300.0}
    )
    made = sampled(config, folder)["md"]
    assert made.sampler == "md-snapshots"
    assert (made.temperature_K == 300.0).all()
    assert made.group[0].startswith("md-snapshots:")

    # The resolved configuration finds the file from elsewhere, and a changed trajectory makes a new set.
    moved = relocated(config, folder / "run")
    assert moved.path(moved.sampling.sets[0].sampler.file).samefile(folder / "md" / "aluminium.extxyz")
    assert "temperature_K = 300.0" in to_toml(moved)
    write(folder / "md" / "aluminium.extxyz", atoms[::-1])
    assert sampled(config, folder)["md"].group != made.group


def test_the_trajectory_of_room_one(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="takes snapshots of molecular dynamics, but there is none"):
        configured(folder, SNAPSHOTS)
    dynamics = {"duration_ps": 0.3, "equilibration_ps": 0.05, "stride": 5}
    phonons = {**ALUMINIUM["phonons"], "molecular_dynamics": dynamics}
    config = parse_config({**ALUMINIUM, "phonons": phonons, "sampling": {"n": 6, "sets": [SNAPSHOTS]}}, folder)
    made = sampled(config, folder)["md"]
    assert made.origin.settings["trajectory"]["frames"] == 30
    assert (made.temperature_K == 300.0).all()


def test_a_missing_trajectory_is_one_sentence(folder: Path) -> None:
    with pytest.raises(InputFileError, match=r"nowhere\.extxyz"):
        sampled(configured(folder, {**SNAPSHOTS, "file": "nowhere.extxyz"}), folder)


def test_a_set_to_match_must_exist(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="matches 'thermo', which is no set"):
        configured(folder, THERMAL, {"name": "control", "sampler": "matched-pairs", "match": "thermo"})


def warned(folder: Path) -> list[str]:
    return [entry["warning"] for entry in json.loads((folder / "run" / "manifest.json").read_text())["warnings"]]


def test_sentences_about_sets_name_them(folder: Path) -> None:
    alloy = {"replace": "Al", "by": "Cu", "fractions": [0.25], "lattice": "fixed"}
    literal = {"sampler": "paper-eq3", "epsilon": "normal"}
    sets = [
        {"name": "cells", **literal},
        {"name": "atoms", **literal, "count": "atoms"},
        {**THERMAL, "name": "first", "composition": alloy},
        {**THERMAL, "name": "second", "composition": alloy},
    ]
    result = run(configured(folder, *sets), folder / "run", upto="sampling")
    for name in ("cells", "atoms"):
        assert sum(sentence.startswith(f"{name}: Eq. 3 draws") for sentence in warned(folder)) == 1
    # What is the same for two sets is told once.
    assert sum(sentence.startswith("first, second: force constants of the parent") for sentence in warned(folder)) == 1
    assert sum("force constants of the parent" in sentence for sentence in warned(folder)) == 1

    # An error says which set it is about, too.
    supercell = result.phonons.supercell
    moved = Atoms(numbers=supercell.numbers, positions=supercell.positions_A, cell=1.1 * supercell.cell_A, pbc=True)
    write(folder / "md.extxyz", [moved] * 30)
    with pytest.raises(DataError, match=r"set 'far': .*lattice"):
        sampled(configured(folder, THERMAL, {**SNAPSHOTS, "name": "far", "file": "md.extxyz"}), folder)


def test_a_report_of_phonons_alone(folder: Path) -> None:
    run(configured(folder), folder / "run", upto="phonons")
    page = run(configured(folder), folder / "run", upto="report").report.read_text()
    assert "No displaced configurations in this run" in page
    # Nothing is said about a property or a curve that the run does not have.
    assert "band gap" not in page.split("</h1>", 1)[1].split("<section", 1)[0]
    assert "The curve uses" not in page
    assert "Thermal displacements follow" not in page


def test_occupations_through_the_configuration(folder: Path) -> None:
    alloy = {
        "name": "alloy",
        "sampler": "paper-eq2",
        "amplitudes_A": [0.1],
        "composition": {
            "replace": "Al",
            "by": "Cu",
            "fractions": [0.25],
            "lattice": "fixed",
            "occupations": "inequivalent",
        },
    }
    made = sampled(configured(folder, alloy), folder)["alloy"]
    assert "symmetry-inequivalent" in " ".join(made.warnings)
    assert sum(row["multiplicity"] for row in made.origin.settings["occupations"]) == 28
    quasirandom = {**alloy, "composition": {**alloy["composition"], "occupations": "quasirandom", "shells": 1}}
    made = sampled(configured(folder, quasirandom), folder)["alloy"]
    assert len({row.tobytes() for row in made.numbers.reshape(6, -1)}) == 1
    assert (made.fraction == 0.25).all()
