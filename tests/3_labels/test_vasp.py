"""VASP as an engine: inputs, waiting, running, and outputs that are not the answer to what was asked."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import os
import shutil
import stat
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from vasp_files import answer, eigenval, outcar, potcar, vasprun

from phonograph.errors import ConfigurationError
from phonograph.execution.deadline import limited
from phonograph.files.structures import read_structure
from phonograph.labels.engines.jobs import jobs
from phonograph.labels.engines.vasp import VaspLabeller
from phonograph.labels.engines.vasp_input import mesh, read_incar, reordered, species_order
from phonograph.labels.engines.vasp_output import same_value
from phonograph.labels.engines.vasp_potentials import LIBRARY_VARIABLE, potentials_of
from phonograph.labels.execution.entry import label_with_remedies
from phonograph.labels.task import calculation, rebuild, structure_bytes
from phonograph.types import Crystal
from phonograph.units import EV_PER_A3_IN_GPA

TOYS = Path(__file__).parent / "toys"
ORDER = [2, 0, 3, 1, 4]
"""Atoms as a user lists them: Ag, Br, Ag, S, Ag."""


def crystal(seed: int = 1, scale: float = 1.0) -> Crystal:
    rng = np.random.default_rng(seed)
    cell = scale * (4.9 * np.eye(3) + rng.normal(0, 0.05, (3, 3)))
    sites = np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    positions = sites @ cell + rng.normal(0, 0.1, sites.shape)
    return reordered(Crystal(cell_A=cell, positions_A=positions, numbers=[35, 16, 47, 47, 47]), np.array(ORDER))


def waiting(folder: Path, **options) -> VaspLabeller:
    return VaspLabeller(folder=str(folder), **{"k_mesh": (2, 2, 2), **options})


def run_folder(folder: Path, one: Crystal) -> Path:
    return folder / structure_bytes(one).key.hex()[:16]


def finish(place: Path, tags=None, divisions=(2, 2, 2), one: Crystal | None = None, **how) -> None:
    """Do what VASP does in a folder of inputs; with ``one``, for another structure."""
    one = one or read_structure(place / "POSCAR")
    tags = {**read_incar((place / "INCAR").read_text()), **(tags or {})}
    planted = answer(one, divisions, int(tags["ISPIN"]))
    (place / "vasprun.xml").write_text(vasprun(one, tags, planted, **how))
    (place / "OUTCAR").write_text(outcar(one, tags, planted))
    (place / "EIGENVAL").write_text(eigenval(one, planted))


def test_write_wait_run_read(tmp_path):
    one, engine = crystal(), waiting(tmp_path)
    assert engine.label(one).failure == "waiting"
    place = run_folder(tmp_path, one)
    assert jobs(tmp_path) == {place.name: "waiting"}
    assert {path.name for path in place.iterdir()} == {"POSCAR", "INCAR", "KPOINTS", "POTCAR.spec"}
    assert {path.name for path in tmp_path.iterdir()} >= {"jobs.csv", "README.txt", "submit.slurm"}
    finish(place)
    result = engine.label(one)
    assert not result.failure
    assert jobs(tmp_path) == {place.name: "done"}
    planted = answer(one, (2, 2, 2))  # in the user's order of atoms
    assert result.values["energy_eV_per_atom"] == pytest.approx(planted.energy / 5, abs=1e-8)
    assert result.values["hydrostatic_stress_GPa"] == pytest.approx(np.trace(planted.stress) / 30, abs=1e-7)
    np.testing.assert_allclose(result.arrays["forces_eV_per_A"], planted.forces, atol=1e-8)
    np.testing.assert_allclose(result.arrays["stress_GPa"], planted.stress / 10, atol=1e-7)
    occupied = round(planted.electrons) // 2
    vbm, cbm = planted.levels[0][:, occupied - 1].max(), planted.levels[0][:, occupied].min()
    assert result.values["band_gap_eV"] == pytest.approx(cbm - vbm, abs=2e-6)
    assert (place / "read.json").is_file()


def test_forces_are_minus_the_slope_of_the_energy_in_the_users_order(tmp_path):
    """Identity through write, toy VASP and read: F = −dF/dr for an atom that POSCAR lists elsewhere."""
    one, step, atom = crystal(), 1e-4, 1
    engine = waiting(tmp_path, energy="free", provides=("energy_eV_per_atom",))
    energies = []
    for sign in (-1, 0, 1):
        moved = one.positions_A.copy()
        moved[atom, 2] += sign * step
        copy = Crystal(cell_A=one.cell_A, positions_A=moved, numbers=one.numbers)
        engine.label(copy)
        finish(run_folder(tmp_path, copy))
        result = engine.label(copy)
        energies.append(5 * result.values["energy_eV_per_atom"])
        if sign == 0:
            force = result.arrays["forces_eV_per_A"][atom, 2]
    assert force == pytest.approx(-(energies[2] - energies[0]) / (2 * step), abs=2e-4)
    assert abs(force) > 1e-3


def test_inputs_read_back_by_pymatgen_and_ase(tmp_path):
    import ase.io
    from pymatgen.io.vasp.inputs import Incar, Kpoints, Poscar

    one = crystal()
    engine = waiting(tmp_path, template="hse-static", incar={"LMAXMIX": "4"}, parallel={"NCORE": "4"}, spin=True)
    engine.label(one)
    place = run_folder(tmp_path, one)
    order = species_order(one)
    structure = Poscar.from_file(place / "POSCAR", check_for_potcar=False).structure
    assert [site.specie.symbol for site in structure] == ["Ag", "Ag", "Ag", "Br", "S"]
    np.testing.assert_allclose(structure.lattice.matrix, one.cell_A, atol=1e-14)
    np.testing.assert_allclose(structure.cart_coords, one.positions_A[order], atol=1e-13)
    np.testing.assert_allclose(ase.io.read(place / "POSCAR").positions, one.positions_A[order], atol=1e-13)
    incar = Incar.from_file(place / "INCAR")
    expected = {
        "ENCUT": 550, "EDIFF": 1e-6, "ISMEAR": 0, "SIGMA": 0.05, "LHFCALC": True, "HFSCREEN": 0.2, "AEXX": 0.25,
        "NSW": 0, "ISPIN": 2, "NCORE": 4, "LMAXMIX": 4, "NELM": 200, "LASPH": True, "LREAL": False, "ICHARG": 2,
    }  # fmt: skip
    assert {name: incar[name] for name in expected} == expected
    assert str(incar["GGA"]).upper() == "PE"
    assert "LORBIT" not in incar
    assert "KSPACING" not in incar
    kpoints = Kpoints.from_file(place / "KPOINTS")
    assert kpoints.kpts == [(2, 2, 2)]
    assert "gamma" in str(kpoints.style).lower()
    assert (place / "POTCAR.spec").read_text().split() == ["Ag", "Br", "S"]


def test_mesh_by_spacing_is_that_of_vasp():
    """N_i = max(1, ⌈|b_i|/KSPACING⌉) with |b_i| = 2π/a for a cube."""
    cube = Crystal(cell_A=9.8 * np.eye(3), positions_A=np.zeros((1, 3)), numbers=[47])
    assert mesh(cube, (), 0.25) == (3, 3, 3)
    assert mesh(cube, (), 2 * np.pi / 9.8) == (1, 1, 1)
    assert mesh(cube, (), 2 * np.pi / 9.8 * 0.999) == (2, 2, 2)
    assert mesh(cube, (1, 2, 3), 0.25) == (1, 2, 3)
    sheared = Crystal(cell_A=[[4, 0, 0], [3, 4, 0], [0, 0, 20]], positions_A=np.zeros((1, 3)), numbers=[47])
    lengths = 2 * np.pi * np.linalg.norm(np.linalg.inv(sheared.cell_A).T, axis=1)
    assert mesh(sheared, (), 0.3) == tuple(int(np.ceil(one / 0.3)) for one in lengths)


WRONG = {
    "cutoff": ({"tags": {"ENCUT": "500"}}, "ENCUT = 500"),
    "functional": ({"tags": {"GGA": "PE"}}, "GGA = PE"),
    "hybrid": ({"tags": {"LHFCALC": ".TRUE."}}, "LHFCALC = T"),
    "smearing": ({"tags": {"ISMEAR": "1"}}, "ISMEAR = 1"),
    "width": ({"tags": {"SIGMA": "0.2"}}, "SIGMA = 0.2"),
    "loose": ({"tags": {"EDIFF": "1e-4"}}, "EDIFF = 0.0001"),
    "spin": ({"tags": {"ISPIN": "2"}}, "ISPIN = "),
    "aspherical": ({"tags": {"LASPH": ".FALSE."}}, "LASPH = F"),
    "hubbard": ({"tags": {"LDAU": ".TRUE."}}, "LDAU = T"),
    "grids": ({"tags": {"PREC": "Normal"}}, "PREC = normal"),
    "projectors": ({"tags": {"LREAL": "Auto"}}, "LREAL = T"),
    "coarse mesh": ({"divisions": (1, 1, 1)}, "k points of another mesh"),
    "finer mesh": ({"divisions": (4, 4, 4)}, "k points of another mesh"),
    "other mesh": ({"divisions": (3, 3, 3)}, "k points of another mesh"),
}


WRONG_IN_WORDS = {"hubbard": ({"LDAU": ".TRUE."}, "LDAU = T"), "dispersion": ({"IVDW": "12"}, "IVDW = ")}


@pytest.mark.parametrize("kind", WRONG_IN_WORDS)
@pytest.mark.parametrize("kept", ["vasprun.xml", "OUTCAR"])
def test_what_nobody_asked_for_is_seen_in_each_file(tmp_path, kind, kept):
    tags, match = WRONG_IN_WORDS[kind]
    one, engine = crystal(), waiting(tmp_path)
    engine.label(one)
    place = run_folder(tmp_path, one)
    finish(place, tags=tags)
    for name in {"vasprun.xml", "OUTCAR"} - {kept}:
        (place / name).unlink()
    assert match in engine.label(one).message
    assert not waiting(tmp_path, incar=tags).label(one).failure


@pytest.mark.parametrize("kind", WRONG)
def test_output_of_other_settings_is_refused(tmp_path, kind):
    how, match = WRONG[kind]
    one, engine = crystal(), waiting(tmp_path)
    engine.label(one)
    finish(run_folder(tmp_path, one), **how)
    result = engine.label(one)
    assert result.failure == "crashed"
    assert match in result.message
    assert not result.values


def test_projectors_and_grids_of_the_users_own_are_told_as_vasp_prints_them(tmp_path):
    one, engine = crystal(), waiting(tmp_path, incar={"LREAL": "Auto", "PREC": "Normal"})
    engine.label(one)
    finish(run_folder(tmp_path, one))
    assert not engine.label(one).failure


def test_a_tag_that_no_output_tells_is_looked_up_in_the_incar(tmp_path):
    """VASP repeats few tags of dispersion, so an output without it must not become a label with it."""
    one, engine = crystal(), waiting(tmp_path)
    engine.label(one)
    place = run_folder(tmp_path, one)
    finish(place)
    other = waiting(tmp_path, incar={"VDW_S8": "0.7"})
    result = other.label(one)
    assert (result.failure, "does not tell VDW_S8" in result.message) == ("crashed", True)
    (place / "INCAR").write_text((place / "INCAR").read_text() + "VDW_S8 = 0.7\n")
    assert not other.label(one).failure


def test_finished_files_of_another_structure_are_refused(tmp_path):
    one, engine = crystal(), waiting(tmp_path)
    engine.label(one)
    place = run_folder(tmp_path, one)
    written = read_structure(place / "POSCAR")
    swapped = reordered(written, np.array([0, 1, 2, 4, 3]))
    nearly = written.positions_A.copy()
    nearly[2, 0] += 3e-5
    others = {
        "differ by": reordered(crystal(seed=2), species_order(crystal(seed=2))),
        "differ by ": Crystal(cell_A=written.cell_A, positions_A=nearly, numbers=written.numbers),
        "other atoms": swapped,
        " differ by": Crystal(
            cell_A=written.cell_A * 1.001, positions_A=written.positions_A * 1.001, numbers=written.numbers
        ),
    }
    for match, other in others.items():
        finish(place, one=other)
        result = engine.label(one)
        assert result.failure == "crashed", match
        assert match.strip() in result.message
    finish(place)
    assert not engine.label(one).failure


def test_wrapped_positions_are_the_same_structure(tmp_path):
    """VASP may print an atom in the next cell."""
    one, engine = crystal(), waiting(tmp_path)
    engine.label(one)
    place = run_folder(tmp_path, one)
    written = read_structure(place / "POSCAR")
    shifted = written.positions_A + np.array([[1, 0, -2]]) @ written.cell_A
    finish(place, one=Crystal(cell_A=written.cell_A, positions_A=shifted, numbers=written.numbers))
    assert not engine.label(one).failure


def test_other_potentials_are_refused_by_title_and_hash(tmp_path, monkeypatch):
    import vasp_files

    one = crystal()
    engine = waiting(tmp_path)
    engine.label(one)
    place = run_folder(tmp_path, one)
    monkeypatch.setitem(vasp_files.TITLES, "Ag", "Ag_pv 09Dec2005")
    finish(place)
    assert "the potentials PAW_PBE Ag_pv" in engine.label(one).message
    assert not waiting(tmp_path, potentials={"Ag": "Ag_pv"}).label(one).failure
    (place / "POTCAR").write_text("".join(potcar(element) for element in ("Ag", "Br", "S")))
    found = potentials_of((place / "POTCAR").read_bytes())
    assert [one.title for one in found] == ["PAW_PBE Ag_pv 09Dec2005", "PAW_PBE Br 06Sep2000", "PAW_PBE S 06Sep2000"]
    right = waiting(tmp_path, potentials={"Ag": "Ag_pv"}, potential_sha256={"Ag": found[0].sha256})
    assert not right.label(one).failure
    wrong = dataclasses.replace(right, potential_sha256={"Ag": hashlib.sha256(b"other").hexdigest()})
    assert "SHA-256" in wrong.label(one).message
    (place / "POTCAR").unlink()
    assert "holds no POTCAR" in right.label(one).message


def test_charged_cells_are_refused_unless_asked_for(tmp_path, monkeypatch):
    import vasp_files

    one, engine = crystal(), waiting(tmp_path)
    engine.label(one)
    place = run_folder(tmp_path, one)
    written = read_structure(place / "POSCAR")
    with monkeypatch.context() as patched:
        patched.setitem(vasp_files.VALENCE, "S", 8.0)
        planted = answer(written, (2, 2, 2))
    (place / "vasprun.xml").write_text(vasprun(written, read_incar((place / "INCAR").read_text()), planted))
    assert "48 electrons; expected the 46 of a neutral cell" in engine.label(one).message


@pytest.mark.parametrize("template", ["pbesol-static", "hse-static", "hsesol-static"])
@pytest.mark.parametrize("kept", ["vasprun.xml", "OUTCAR"])
def test_each_template_is_recognised_in_each_file(tmp_path, template, kept):
    one, engine = crystal(), waiting(tmp_path, template=template, incar={"LMAXMIX": "4"})
    engine.label(one)
    place = run_folder(tmp_path, one)
    finish(place)
    for path in place.glob("*"):
        if path.name in {"vasprun.xml", "OUTCAR", "EIGENVAL"} - {kept}:
            path.unlink()
    assert not engine.label(one).failure
    for other in {"pbesol-static", "hse-static", "hsesol-static"} - {template}:
        assert waiting(tmp_path, template=other, incar={"LMAXMIX": "4"}).label(one).failure == "crashed"


def test_same_value_within_the_printed_digits():
    same = [("550.0", "550"), ("T", ".TRUE."), ("0.1E-05", "1e-6"), ("0.05", "0.05"), ("  4", "4"), ("PS", "ps"),
            ("0.50000000 0.50000000", "2*0.5"), ("300.1", "300.06")]  # fmt: skip
    other = [("550.0", "551"), ("T", ".FALSE."), ("0.1E-03", "1e-6"), ("0.10", "0.05"), ("4", "6"), ("PE", "PS"),
             ("0.5 0.5", "3*0.5"), ("NaN", "1"), ("Infinity", "1"), ("--", "PS")]  # fmt: skip
    assert all(same_value(*pair) for pair in same)
    assert not any(same_value(*pair) for pair in other)


def test_unfinished_outputs_wait_and_are_left_alone(tmp_path):
    one, engine = crystal(), waiting(tmp_path)
    engine.label(one)
    place = run_folder(tmp_path, one)
    finish(place)
    whole = (place / "vasprun.xml").read_bytes()
    for name in ("OUTCAR", "EIGENVAL"):
        (place / name).unlink()
    (place / "vasprun.xml").write_bytes(whole[: len(whole) // 2])
    before = {path.name: path.read_bytes() for path in place.iterdir()}
    os.utime(place / "vasprun.xml", (time.time() - 600,) * 2)  # whoever wrote it has stopped
    result = engine.label(one)
    assert result.failure == "waiting"
    assert f"vasprun.xml in {place.name} is not finished, last changed 10 min ago" in result.message
    assert "run it again there if it was stopped" in result.message
    assert {path.name: path.read_bytes() for path in place.iterdir()} == before
    (place / "vasprun.xml").write_bytes(whole)
    (place / "OUTCAR").write_text(" vasp.6.3.0\n")  # still being written
    assert "OUTCAR in" in engine.label(one).message


def test_a_folder_of_another_calculation_is_not_overwritten(tmp_path):
    one = crystal()
    waiting(tmp_path).label(one)
    incar = run_folder(tmp_path, one) / "INCAR"
    before = incar.read_bytes()
    result = waiting(tmp_path, cutoff_eV=400.0).label(one)
    assert result.failure == "waiting"
    assert "ENCUT = 550.0, wanted 400.0" in result.message
    assert incar.read_bytes() == before


def test_who_waits_may_spread_the_work_and_repair_the_loop(tmp_path):
    one, engine = crystal(), waiting(tmp_path)
    engine.label(one)
    place = run_folder(tmp_path, one)
    incar = (place / "INCAR").read_text().replace("ALGO = Normal", "ALGO = All ! mine") + "KPAR = 4\n"
    (place / "INCAR").write_text(incar)
    (place / "OUTCAR").write_text(" vasp.6.3.0\n")
    assert engine.label(one).failure == "waiting"
    assert (place / "INCAR").read_text() == incar
    finish(place)
    assert not engine.label(one).failure


def test_not_converged_is_a_named_hole(tmp_path):
    one, engine = crystal(), waiting(tmp_path)
    engine.label(one)
    place = run_folder(tmp_path, one)
    finish(place, steps=200)
    (place / "OUTCAR").unlink()
    result = engine.label(one)
    assert result.failure == "not_converged"
    assert not result.values
    assert jobs(tmp_path) == {place.name: "not_converged"}
    assert engine.remedy(2, "not_converged") is None  # who waits repairs


def test_left_handed_cells_are_refused(tmp_path):
    one = crystal()
    mirrored = Crystal(cell_A=one.cell_A[[1, 0, 2]], positions_A=one.positions_A, numbers=one.numbers)
    result = waiting(tmp_path).label(mirrored)
    assert result.failure == "bad_input"
    assert "right-handed" in result.message


BAD = [
    ({"incar": {"NSW": "5"}}, "fixed"),
    ({"incar": {"ENCUT": "5"}}, "cutoff_eV"),
    ({"incar": {"LMAXMIX": "4\nNSW = 5"}}, "capitals"),
    ({"incar": {"LMAXMIX": "4; NSW = 5"}}, "capitals"),
    ({"incar": {"lmaxmix": "4"}}, "capitals"),
    ({"incar": {"NCORE": "4"}}, "parallel"),
    ({"parallel": {"LDAU": ".TRUE."}}, "belongs into incar"),
    ({"potentials": {"Xx": "Ag"}}, "unknown element"),
    ({"potentials": {"Ag": "../../etc"}}, "potential of Ag"),
    ({"potential_sha256": {"Ag": "abc"}}, "64 hexadecimal"),
    ({"k_mesh": (2, 2)}, "three numbers"),
    ({"k_mesh": (0, 2, 2)}, "at least 1"),
    ({"template": "lda"}, "one of"),
    ({"provides": ()}, "must name a property"),
    ({"provides": ("total_magnetic_moment_muB",)}, "spin = true"),
    ({"folder": ""}, "VaspLabeller needs a command that runs its program, or a folder"),
    ({"cutoff_eV": float("nan")}, "greater than 0"),
]


@pytest.mark.parametrize(("options", "match"), BAD)
def test_settings_that_cannot_be_are_refused(options, match):
    with pytest.raises(ConfigurationError, match=match):
        VaspLabeller(**{"folder": "x", **options})


def test_what_names_a_calculation(tmp_path):
    """Where and how VASP runs does not; what moves numbers does."""
    first = calculation(waiting(tmp_path))
    assert rebuild(first.task) == waiting(tmp_path)
    for option in (
        {"folder": "elsewhere"},
        {"command": ("srun", "vasp_std")},
        {"parallel": {"NCORE": "8"}},
        {"potential_folder": "x"},
        {"cores": 16},
    ):
        assert calculation(dataclasses.replace(waiting(tmp_path), **option)).key == first.key, option
    for option in (
        {"cutoff_eV": 551.0},
        {"template": "hsesol-static"},
        {"energy": "free"},
        {"incar": {"LMAXMIX": "4"}},
        {"potentials": {"Ag": "Ag_pv"}},
        {"smearing_eV": 0.1},
        {"k_mesh": (3, 3, 3)},
        {"spin": True},
        {"version": "6.4.2"},
    ):
        assert calculation(dataclasses.replace(waiting(tmp_path), **option)).key != first.key, option


def test_another_version_is_refused_where_one_is_named(tmp_path):
    one = crystal()
    waiting(tmp_path).label(one)
    finish(run_folder(tmp_path, one))
    assert not waiting(tmp_path, version="6.3.0").label(one).failure
    assert "VASP 6.3.0; expected 6.4.2" in waiting(tmp_path, version="6.4.2").label(one).message


@pytest.fixture
def program(tmp_path, monkeypatch) -> tuple[str, ...]:
    """A program called vasp_std, and a library of stand-in potentials."""
    script = tmp_path / "bin" / "vasp_std"
    script.parent.mkdir()
    script.write_text(f"#!/bin/sh\nexec {sys.executable} {TOYS / 'fake_vasp.py'}\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    library = tmp_path / "potentials"
    for element in ("Ag", "S", "Br"):
        (library / element).mkdir(parents=True)
        (library / element / "POTCAR").write_text(potcar(element))
    monkeypatch.setenv(LIBRARY_VARIABLE, str(library))
    return (str(script),)


def running(program, **options) -> VaspLabeller:
    return VaspLabeller(command=program, **{"k_mesh": (1, 1, 1), **options})


def test_the_library_of_potentials_names_the_calculation(program, tmp_path, monkeypatch):
    """A library of another release has other potentials under the same names; place and packing do not matter."""
    engine, library = running(program), tmp_path / "potentials"
    key = calculation(engine).key
    moved = tmp_path / "moved"
    shutil.copytree(library, moved)
    with gzip.open(moved / "S" / "POTCAR.gz", "wb") as stream:
        stream.write((moved / "S" / "POTCAR").read_bytes())
    (moved / "S" / "POTCAR").unlink()
    assert calculation(dataclasses.replace(engine, potential_folder=str(moved))).key == key
    (library / "S" / "POTCAR").write_text(potcar("S", "S 01Jan2030"))
    assert calculation(engine).key != key
    monkeypatch.delenv(LIBRARY_VARIABLE)
    assert engine.identity() == {}


def test_a_command_runs_vasp_and_leaves_nothing_behind(program, tmp_path, monkeypatch):
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    one = crystal()
    result = running(program).label(one)
    assert result.values["energy_eV_per_atom"] == pytest.approx(answer(one).energy / 5, abs=1e-8)
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.parametrize(
    ("mode", "failure", "match"),
    [
        ("crash", "crashed", "exit code 139"),
        ("half", "crashed", "unfinished"),
        ("foreign", "crashed", "ENCUT = 300"),
        ("stubborn", "not_converged", "EDIFF was not reached"),
    ],
)
def test_runs_that_fail_are_named_and_run_again(program, tmp_path, monkeypatch, mode, failure, match):
    one, engine = crystal(), running(program, folder=str(tmp_path / "runs"))
    monkeypatch.setenv("FAKE_VASP", mode)
    result = engine.label(one)
    assert result.failure == failure
    assert match in result.message
    assert not result.values
    monkeypatch.setenv("FAKE_VASP", "ok")
    assert not engine.label(one).failure


def test_outputs_of_an_earlier_run_are_gone_before_the_next(program, tmp_path, monkeypatch):
    one, engine = crystal(), running(program, folder=str(tmp_path / "runs"))
    for mode in ("foreign", "crash"):
        monkeypatch.setenv("FAKE_VASP", mode)
        assert engine.label(one).failure == "crashed"
    assert not (run_folder(tmp_path / "runs", one) / "vasprun.xml").exists()


def test_a_finished_folder_is_read_not_run(program, tmp_path, monkeypatch):
    one, engine = crystal(), running(program, folder=str(tmp_path / "runs"))
    monkeypatch.setenv("FAKE_VASP_LOG", str(tmp_path / "log"))
    first, second = engine.label(one), engine.label(one)
    assert first.values == second.values
    assert len((tmp_path / "log").read_text().splitlines()) == 1


def test_a_loop_that_does_not_converge_is_tried_another_way(program, monkeypatch):
    monkeypatch.setenv("FAKE_VASP", "stubborn")
    one = crystal()
    attempts = label_with_remedies(structure_bytes(one), calculation(running(program)), 60.0)
    assert [attempt.result.failure for attempt in attempts] == ["not_converged", ""]
    assert "ALGO = All" in attempts[1].result.message


def test_a_program_that_hangs_is_killed_with_its_children(program, tmp_path, monkeypatch):
    import subprocess
    import time

    monkeypatch.setenv("FAKE_VASP", "hang")
    monkeypatch.setenv("FAKE_VASP_LOG", str(tmp_path / "log"))
    started = time.monotonic()
    with limited(4.0):
        result = running(program).label(crystal())
    assert result.failure == "timeout"
    assert time.monotonic() - started < 7
    leader = (tmp_path / "log").read_text().split()[0]
    time.sleep(0.2)
    left = subprocess.run(["ps", "-o", "pid=", "-g", leader], capture_output=True, text=True, check=False).stdout
    assert left.strip() == ""


def test_potentials_stay_out_of_everything_that_is_shared(program, tmp_path):
    """Only titles leave the run folder."""
    one, engine = crystal(), running(program, folder=str(tmp_path / "runs"))
    result = engine.label(one)
    described = calculation(engine)
    shared = f"{result}{described}{(tmp_path / 'runs' / 'jobs.csv').read_text()}"
    assert " planted" not in shared
    assert "TITEL" not in shared
    assert " planted" in (run_folder(tmp_path / "runs", one) / "POTCAR").read_text()


def test_missing_potentials_and_programs_are_told(program, tmp_path, monkeypatch):
    one = crystal()
    shutil.rmtree(tmp_path / "potentials" / "Br")
    assert "Br holds no POTCAR" in running(program).label(one).message
    monkeypatch.delenv(LIBRARY_VARIABLE)
    result = running(program).label(one)
    assert result.failure == "engine_missing"
    assert LIBRARY_VARIABLE in result.message
    (tmp_path / "potentials" / "Br").mkdir()
    (tmp_path / "potentials" / "Br" / "POTCAR").write_text(potcar("S"))
    result = running(program, potential_folder=str(tmp_path / "potentials")).label(one)
    assert "expected one potential, PAW_PBE Br" in result.message
    (tmp_path / "potentials" / "Br" / "POTCAR").write_text(potcar("Br"))
    gone = running(("no-such-vasp",), potential_folder=str(tmp_path / "potentials"))
    assert gone.label(one).failure == "engine_missing"


def test_units_of_the_toy_answer():
    """1 eV/Å³ = 160.2 GPa, so the planted stress in kB is in the units that VASP prints."""
    assert 1 / (0.1 * 0.00624150907446) == pytest.approx(10 * EV_PER_A3_IN_GPA, rel=1e-9)


def test_the_list_of_jobs_survives_many_writers(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    from phonograph.labels.engines.jobs import note_job

    names = [f"{number:016x}" for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        for state in ("waiting", "done"):
            list(pool.map(lambda name, state=state: note_job(tmp_path, name, "Ag3SBr", 5, state), names))
    assert jobs(tmp_path) == dict.fromkeys(names, "done")


def test_waiting_through_the_pipeline(tmp_path):
    """The same call writes inputs, waits, and reads; holes that wait are in no store."""
    from label_toys import configurations_of

    import phonograph as pg

    crystals = [crystal(seed) for seed in (1, 2, 3)]
    sets, engine, store = [configurations_of(crystals)], waiting(tmp_path / "vasp"), tmp_path / "labels.sqlite"
    first = pg.label(sets, [engine], store, workers=1)
    assert all("waiting" in status for status in first.status)
    for one in crystals[:2]:
        finish(run_folder(tmp_path / "vasp", one))
    (run_folder(tmp_path / "vasp", crystals[1]) / "EIGENVAL").write_bytes(
        (run_folder(tmp_path / "vasp", crystals[0]) / "EIGENVAL").read_bytes()
    )
    second = pg.label(sets, [engine], store, workers=1)
    energies = second.column("energy_eV_per_atom").values
    assert energies[0] == pytest.approx(answer(crystals[0]).energy / 5, abs=1e-8)
    assert np.isnan(energies[1:]).all()
    assert "disagree" in second.status[1]
    assert "waiting" in second.status[2]
    finish(run_folder(tmp_path / "vasp", crystals[1]))
    finish(run_folder(tmp_path / "vasp", crystals[2]))
    third = pg.label(sets, [engine], store, workers=1, retry_failed=True)
    assert third.status == ("ok",) * 3
    shutil.rmtree(tmp_path / "vasp")
    again = pg.label(sets, [engine], store, workers=1)
    assert (again.column("band_gap_eV").values == third.column("band_gap_eV").values).all()


def test_a_table_of_several_versions_says_so(tmp_path):
    """A calculation without version takes outputs of any, and each label keeps its own."""
    from label_toys import configurations_of

    import phonograph as pg

    crystals, engine = [crystal(1), crystal(2)], waiting(tmp_path / "vasp")
    for one, version in zip(crystals, ("6.3.0", "6.4.2"), strict=True):
        engine.label(one)
        place = run_folder(tmp_path / "vasp", one)
        finish(place)
        for name in ("vasprun.xml", "OUTCAR"):
            (place / name).write_text((place / name).read_text().replace("6.3.0", version))
        assert engine.label(one).message == f"computed by VASP {version}"
        assert dataclasses.replace(engine, version=version).label(one).message == ""
    for _ in range(2):  # computed, and taken from the store
        table = pg.label([configurations_of(crystals)], [engine], tmp_path / "labels.sqlite", workers=1)
        assert any("several versions of the program: 1 of VASP 6.3.0, 1 of VASP 6.4.2" in one for one in table.warnings)
        assert table.origin.versions["VASP"] == "6.3.0, 6.4.2"


def test_the_job_script_visits_each_folder_and_skips_what_is_finished(tmp_path):
    import os
    import subprocess

    crystals = [crystal(1), crystal(2)]
    for one in crystals:
        waiting(tmp_path / "vasp").label(one)
    places = [run_folder(tmp_path / "vasp", one) for one in crystals]
    finish(places[1])
    srun = tmp_path / "bin" / "srun"
    srun.parent.mkdir()
    srun.write_text('#!/bin/sh\npwd >> "$VISITED"\n')
    srun.chmod(0o755)
    for task in ("1", "2"):
        environment = {
            **os.environ,
            "PATH": f"{srun.parent}:{os.environ['PATH']}",
            "SLURM_SUBMIT_DIR": str(tmp_path / "vasp"),
            "SLURM_ARRAY_TASK_ID": task,
            "VISITED": str(tmp_path / "visited"),
        }
        subprocess.run(["bash", str(tmp_path / "vasp" / "submit.slurm")], env=environment, check=True)
    assert (tmp_path / "visited").read_text().split() == [str(places[0].resolve())]


def test_own_job_scripts_are_kept(tmp_path):
    waiting(tmp_path).label(crystal(1))
    (tmp_path / "submit.slurm").write_text("mine")
    waiting(tmp_path).label(crystal(2))
    assert (tmp_path / "submit.slurm").read_text() == "mine"


def test_the_energy_is_the_one_that_was_named(tmp_path):
    one = crystal()
    waiting(tmp_path).label(one)
    finish(run_folder(tmp_path, one))
    planted = answer(one, (2, 2, 2))
    for energy, value in (("sigma0", planted.energy), ("free", planted.free)):
        engine = waiting(tmp_path, energy=energy)
        assert engine.label(one).values["energy_eV_per_atom"] == pytest.approx(value / 5, abs=1e-8)
        assert f"energy {energy}" in engine.engine
    assert abs(planted.energy - planted.free) > 1e-3


def test_every_array_on_request(tmp_path):
    names = ("forces_eV_per_A", "stress_GPa", "eigenvalues_eV", "occupations", "k_points", "k_weights")
    one, engine = (
        crystal(),
        waiting(tmp_path, provides_arrays=names, spin=True, provides=("total_magnetic_moment_muB",)),
    )
    engine.label(one)
    finish(run_folder(tmp_path, one))
    result = engine.label(one)
    planted = answer(one, (2, 2, 2), 2)
    assert result.values == {"total_magnetic_moment_muB": pytest.approx(0.0, abs=1e-9)}
    assert {name: array.shape for name, array in result.arrays.items()} == {
        "forces_eV_per_A": (5, 3),
        "stress_GPa": (3, 3),
        "eigenvalues_eV": planted.levels.shape,
        "occupations": planted.levels.shape,
        "k_points": (8, 3),
        "k_weights": (8,),
    }
    np.testing.assert_allclose(result.arrays["eigenvalues_eV"], planted.levels, atol=6e-7)
    assert result.arrays["k_weights"].sum() == pytest.approx(1.0)
    counted = (result.arrays["occupations"].sum(axis=(0, 2)) * result.arrays["k_weights"]).sum()
    assert counted == pytest.approx(planted.electrons, abs=1e-3)


def test_it_keeps_the_contract_of_a_labeller(program):
    from phonograph.testing import check_labeller

    check_labeller(running(program), crystal())
