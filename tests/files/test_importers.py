"""Labels that people already have: extended XYZ, id_prop.csv with a folder, ASE databases, by the hands of ASE."""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
from pathlib import Path

import ase.db
import ase.io
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from test_hostile_files import MUTANTS, attack

from phonograph.errors import InputFileError
from phonograph.files.safety import sha256_of
from phonograph.files.user_data import read_labelled, structure_fingerprint
from phonograph.types import Crystal
from phonograph.units import EV_PER_A3_IN_GPA

ENERGY, STRESS = "energy_eV_per_atom", "hydrostatic_stress_GPa"


def copper(seed=0):
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, seed=seed)
    return atoms


def calculated(seed=0):
    atoms = copper(seed)
    atoms.calc = EMT()
    atoms.get_potential_energy()
    atoms.get_forces()
    atoms.get_stress()
    return atoms


def saved(folder, images, name="set.extxyz"):
    ase.io.write(folder / name, images, format="extxyz")
    return folder / name


def expected_of(images):
    energies = [atoms.get_potential_energy() / len(atoms) for atoms in images]
    return energies, [np.trace(atoms.get_stress(voigt=False)) / 3 * EV_PER_A3_IN_GPA for atoms in images]


@pytest.mark.parametrize("name", ["set.extxyz", "set.db", "set.json"])
def test_three_formats_of_ase_give_the_same_labels(tmp_path, name):
    images = [calculated(seed) for seed in range(3)]
    if name.endswith("xyz"):
        saved(tmp_path, images)
    else:
        with ase.db.connect(tmp_path / name) as database:
            for atoms in images:
                database.write(atoms)
    configurations, labels = read_labelled(tmp_path / name, name="mine")
    energies, stresses = expected_of(images)
    np.testing.assert_allclose(labels.column(ENERGY).values, energies, rtol=1e-12)
    np.testing.assert_allclose(labels.column(STRESS).values, stresses, rtol=1e-9)
    for position, atoms in enumerate(images):
        np.testing.assert_allclose(configurations.crystal(position).positions_A, atoms.positions, atol=1e-8)
    assert configurations.origin.inputs == {name: sha256_of(tmp_path / name)}
    assert labels.column(ENERGY).engine == f"file {name}" + ("" if name.endswith("xyz") else " (emt)")
    assert any("forces of 3 structures" in sentence for sentence in configurations.warnings)
    assert any("energy and free_energy" in sentence for sentence in labels.warnings), "equal, so both are told"


# ── Extended XYZ ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_energies_that_differ_need_a_choice(tmp_path):
    images = [copper(seed) for seed in range(2)]
    for atoms in images:
        atoms.calc = SinglePointCalculator(atoms, energy=-8.0, free_energy=-8.4)
        atoms.info["REF_energy"] = -12.0
    path = saved(tmp_path, images)
    with pytest.raises(InputFileError, match=r"REF_energy and energy differ .structure 0: -3 and -2 eV/atom.; choose"):
        read_labelled(path)
    for choice, expected in (("energy", -2.0), ("free_energy", -2.1), ("REF_energy", -3.0)):
        _, labels = read_labelled(path, energy=choice)
        assert labels.column(ENERGY).values.tolist() == [pytest.approx(expected)] * 2
        assert any(f"were not read: {choice} was chosen" in sentence for sentence in labels.warnings)
        _, labels = read_labelled(path, property=choice)
        assert labels.column(ENERGY).values.tolist() == [pytest.approx(expected)] * 2
    with pytest.raises(InputFileError, match="cannot be read as energy_eV_per_atom; expected one of REF_energy"):
        read_labelled(path, energy="gap")


def test_some_frames_of_one_convention_and_some_of_another_are_not_mixed(tmp_path):
    images = [copper(0), copper(1)]
    images[0].info["REF_energy"] = -8.0
    images[1].calc = SinglePointCalculator(images[1], energy=-8.0)
    with pytest.raises(InputFileError, match="REF_energy and energy differ"):
        read_labelled(saved(tmp_path, images))
    with pytest.raises(InputFileError, match="has no entry 'free_energy'"):
        read_labelled(tmp_path / "set.extxyz", energy="free_energy")
    _, labels = read_labelled(tmp_path / "set.extxyz", energy="REF_energy")
    np.testing.assert_array_equal(labels.column(ENERGY).values, [-2.0, np.nan])
    assert labels.status == ("ok", f"missing: {ENERGY}")


@pytest.mark.parametrize("key", ["virials", "REF_virials", "virial", "REF_virial"])
def test_virials_are_minus_the_volume_times_the_stress(tmp_path, key):
    atoms = calculated()
    stress = atoms.get_stress(voigt=False)
    bare = atoms.copy()
    bare.info[key] = -atoms.get_volume() * stress
    _, labels = read_labelled(saved(tmp_path, [bare]))
    expected = np.trace(stress) / 3 * EV_PER_A3_IN_GPA
    assert labels.column(STRESS).values[0] == pytest.approx(expected, rel=1e-7)
    both = atoms.copy()
    both.info |= {"REF_stress": stress, key: -atoms.get_volume() * stress}
    _, labels = read_labelled(saved(tmp_path, [both]))
    assert labels.column(STRESS).values[0] == pytest.approx(expected, rel=1e-7)
    both.info[key] = atoms.get_volume() * stress
    with pytest.raises(InputFileError, match=f"REF_stress and {key} differ"):
        read_labelled(saved(tmp_path, [both]))
    _, labels = read_labelled(tmp_path / "set.extxyz", stress="REF_stress")
    assert labels.column(STRESS).values[0] == pytest.approx(expected, rel=1e-7)


def test_stated_units_of_energy_and_stress(tmp_path):
    atoms = copper()
    atoms.info |= {"REF_energy": -3.0, "REF_stress": np.diag([10.0, 20.0, 30.0])}
    path = saved(tmp_path, [atoms])
    for unit, factor in (("eV/Å³", EV_PER_A3_IN_GPA), ("GPa", 1.0), ("kbar", 0.1)):
        _, labels = read_labelled(path, units={"REF_stress": unit, "REF_energy": "eV/atom"})
        assert labels.column(STRESS).values[0] == pytest.approx(20.0 * factor)
        assert labels.column(ENERGY).values[0] == -3.0
    with pytest.raises(InputFileError, match=r"the unit of REF_stress must be eV/Å³, GPa, kbar; got 'eV'"):
        read_labelled(path, units={"REF_stress": "eV"})
    with pytest.raises(InputFileError, match=r"the unit of REF_energy must be eV .of the cell. or eV/atom; got 'GPa'"):
        read_labelled(path, units={"REF_energy": "GPa"})


def test_copies_share_a_group_whatever_their_order_and_their_images(tmp_path):
    first = copper(1)
    turned = first[[2, 0, 3, 1]]
    turned.positions += turned.cell.array[[0, 1, 2, 0]] * np.array([[1], [-1], [2], [0]])
    configurations, _ = read_labelled(saved(tmp_path, [first, copper(2), turned]))
    assert configurations.group == ("set-00000", "set-00001", "set-00000")
    assert "1 structures of set 'set' are exact copies" in " ".join(configurations.warnings)


def test_a_fingerprint_is_of_one_structure(tmp_path):
    crystals = [
        Crystal(cell_A=np.asarray(a.cell), positions_A=a.positions, numbers=a.numbers) for a in map(copper, (1, 2))
    ]
    assert structure_fingerprint(crystals[0]) != structure_fingerprint(crystals[1])
    gold = Crystal(cell_A=crystals[0].cell_A, positions_A=crystals[0].positions_A, numbers=np.full(4, 79))
    assert structure_fingerprint(gold) != structure_fingerprint(crystals[0])


# ── A folder with id_prop.csv ────────────────────────────────────────────────────────────────────────────────────


def structures(folder, names):
    folder.mkdir(exist_ok=True)
    for seed, name in enumerate(names):
        ase.io.write(folder / name, copper(seed), format="cif" if name.endswith("cif") else "vasp")
    return folder


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (("a.cif", "b.cif"), ("a", "b")),
        (("POSCAR-1.vasp", "POSCAR-2.vasp"), ("POSCAR-1.vasp", "POSCAR-2.vasp")),
        (("POSCAR_1", "b.cif"), ("POSCAR_1", "b.cif")),
    ],
)
def test_layout_of_cgcnn_and_alignn(tmp_path, names, ids):
    folder = structures(tmp_path / "data", names)
    (folder / "atom_init.json").write_text("{}")
    (folder / "id_prop.csv").write_text(f"{ids[1]},0.5\n{ids[0]},1.5\n")
    for path in (folder, folder / "id_prop.csv"):
        configurations, labels = read_labelled(path, property="band_gap_eV")
        order = sorted(range(2), key=lambda place: names[place])
        np.testing.assert_array_equal(labels.column("band_gap_eV").values, np.array([1.5, 0.5])[order])
        assert labels.columns[0].engine == "file id_prop.csv"
        assert "id_prop.csv" in configurations.origin.inputs
        assert configurations.warnings == ()
    with pytest.raises(InputFileError, match=r"holds numbers, not a header; add one .* of each of the 1 columns"):
        read_labelled(folder)
    (folder / "id_prop.csv").write_text(f"id,band_gap_eV\n{ids[1]},0.5\n{ids[0]},1.5\n")
    _, labels = read_labelled(folder)
    assert sorted(labels.column("band_gap_eV").values) == [0.5, 1.5]


def test_several_values_without_a_header(tmp_path):
    folder = structures(tmp_path / "data", ("a.cif", "b.cif"))
    (folder / "id_prop.csv").write_text("a,1,2\nb,3,\n")
    _, labels = read_labelled(folder, property="band_gap_eV, vbm_eV")
    np.testing.assert_array_equal(labels.column("vbm_eV").values, [2, np.nan])
    with pytest.raises(InputFileError, match="each of the 2 columns of values"):
        read_labelled(folder, property="band_gap_eV")


def test_ids_without_a_file_files_without_a_label_and_ids_twice(tmp_path):
    folder = structures(tmp_path / "data", ("a.cif", "b.cif"))
    (folder / "id_prop.csv").write_text("a,1\nc,2\nd,3\ne,4\n")
    with pytest.raises(InputFileError, match=r"line 2 labels 'c', which is no structure of the set .nor are 2 more."):
        read_labelled(folder, property="gap_eV")
    (folder / "id_prop.csv").write_text("a,1\n")
    _, labels = read_labelled(folder, property="gap_eV")
    assert labels.status == ("ok", "missing: gap_eV")
    (folder / "id_prop.csv").write_text("a,1\na.cif,2\n")
    with pytest.raises(InputFileError, match=r"line 2 labels 'a.cif' again .first in line 1."):
        read_labelled(folder, property="gap_eV")
    shutil.copy(folder / "a.cif", folder / "c.cif")
    (folder / "id_prop.csv").write_text("a,1\nb,2\nc,1\n")
    configurations, _ = read_labelled(folder, property="gap_eV")
    assert configurations.group == ("set-00000", "set-00001", "set-00000")


# ── ASE databases ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(params=["set.db", "set.json"])
def database(request, tmp_path):
    path = tmp_path / request.param
    with ase.db.connect(path) as writing:
        writing.write(calculated(0), gap_eV=1.5, source="x", step=3, group="g", data={"spectrum": np.ones(3)})
        writing.write(copper(1), gap_eV=1.25, step=4)
        writing.write(copper(0), step=5)
    return path


def test_pairs_holes_groups_and_names_of_rows(database, tmp_path):
    configurations, labels = read_labelled(database)
    np.testing.assert_array_equal(labels.column("gap_eV").values, [1.5, 1.25, np.nan])
    assert labels.status == (
        "ok",
        f"missing: {ENERGY}, {STRESS}",
        f"missing: {ENERGY}, {STRESS}, gap_eV",
    )
    assert configurations.group == ("g", "set-00001", "g"), "a copy belongs to the group that the other states"
    assert any("entries source, step" in sentence for sentence in labels.warnings)
    (tmp_path / "labels.csv").write_text("id,vbm_eV\n2,-5\n1,-6\n")
    _, labels = read_labelled(database, labels=tmp_path / "labels.csv")
    np.testing.assert_array_equal(labels.column("vbm_eV").values, [-6, -5, np.nan])


def test_units_of_pairs_are_asked_for(tmp_path):
    with ase.db.connect(tmp_path / "a.db") as database:
        database.write(copper(0), gap=1.5)
    with pytest.raises(InputFileError, match="the units of 'gap' are missing"):
        read_labelled(tmp_path / "a.db")
    _, labels = read_labelled(tmp_path / "a.db", units={"gap": "eV"})
    assert labels.column("gap_eV").values.tolist() == [1.5]


def test_molecules_are_refused_by_their_row(tmp_path):
    for name in ("a.db", "a.json"):
        with ase.db.connect(tmp_path / name) as database:
            database.write(copper(0))
            database.write(Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.74]]))
        with pytest.raises(InputFileError, match=r"row 2 is not periodic in all directions"):
            read_labelled(tmp_path / name)


def test_a_database_is_opened_without_writing(database):
    before = database.read_bytes()
    database.chmod(0o444)
    database.parent.chmod(0o555)
    try:
        read_labelled(database)
    finally:
        database.parent.chmod(0o755)
    assert database.read_bytes() == before
    assert {path.name for path in database.parent.iterdir()} <= {database.name, database.name + ".lock"}


def changed(path, *statements):
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


HOSTILE = {
    "a view": ("ALTER TABLE systems RENAME TO t", "CREATE VIEW systems AS SELECT * FROM t"),
    "no table": ("DROP TABLE systems",),
    "a missing column": ("ALTER TABLE systems DROP COLUMN stress",),
    "text as positions": ("UPDATE systems SET positions = 'x'",),
    "a million atoms": ("UPDATE systems SET natoms = 1000000",),
    "an atom more": ("UPDATE systems SET natoms = natoms + 1",),
    "no atoms": ("UPDATE systems SET natoms = 0",),
    "unknown elements": ("UPDATE systems SET numbers = zeroblob(16)",),
    "a flat cell": ("UPDATE systems SET cell = zeroblob(72)",),
    "pairs that are no JSON": ("UPDATE systems SET key_value_pairs = '{'",),
    "pairs that are a list": ("UPDATE systems SET key_value_pairs = '[1]'",),
    "deep pairs": (f"UPDATE systems SET key_value_pairs = '{'[' * 5000}'",),
    "an energy that is text": ("UPDATE systems SET energy = 'low'",),
    "no rows": ("DELETE FROM systems",),
}


@pytest.mark.parametrize("statements", HOSTILE.values(), ids=HOSTILE)
def test_databases_made_to_harm_get_one_sentence(tmp_path, statements):
    path = tmp_path / "a.db"
    with ase.db.connect(path) as database:
        database.write(calculated(), gap_eV=1.5)
    changed(path, *statements)
    with pytest.raises(InputFileError) as caught:
        read_labelled(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_what_is_no_database_or_has_an_interrupted_writer(tmp_path):
    (tmp_path / "a.db").write_text("text")
    with pytest.raises(InputFileError, match="is no database of SQLite"):
        read_labelled(tmp_path / "a.db")
    with ase.db.connect(tmp_path / "b.db") as database:
        database.write(copper())
    (tmp_path / "b.db-journal").write_bytes(b"hot")
    with pytest.raises(InputFileError, match="a writer is at work or was interrupted"):
        read_labelled(tmp_path / "b.db")
    (tmp_path / "b.db-journal").unlink()
    whole = (tmp_path / "b.db").read_bytes()
    for damaged in (whole[: len(whole) // 2], whole.replace(b"ON text_key_values(key)", b"ON t\xf0xt_key_values(key)")):
        assert damaged != whole
        (tmp_path / "b.db").write_bytes(damaged)
        with pytest.raises(InputFileError):
            read_labelled(tmp_path / "b.db")
    for name, text in (("c.json", "{}"), ("d.json", '{"a": 1}'), ("e.txt", "x"), ("f.json", "[1")):
        (tmp_path / name).write_text(text)
        with pytest.raises(InputFileError):
            read_labelled(tmp_path / name)


def test_names_of_files_that_mean_something_in_an_address(tmp_path):
    path = tmp_path / "a?mode=rwc&b#c d%20.db"
    with ase.db.connect(path) as database:
        database.write(copper(), gap_eV=1.0)
    _, labels = read_labelled(path)
    assert labels.column("gap_eV").values.tolist() == [1.0]


def test_arrays_of_the_json_form_are_numbers_and_nothing_else(tmp_path):
    with ase.db.connect(tmp_path / "a.json") as database:
        database.write(calculated(), gap_eV=1.0)
    plain = json.loads((tmp_path / "a.json").read_text())
    for key, value in (
        ("positions", {"__ndarray__": [[4, 3], "object", [0] * 12]}),
        ("positions", {"__ndarray__": [[4, 3], "float64", [0] * 11]}),
        ("positions", {"__complex__": [1, 2]}),
        ("numbers", {"__ndarray__": [[10**9], "int64", []]}),
        ("numbers", [[29, "x"]]),
        ("cell", {"array": {"__ndarray__": [[3, 3], "float64", [1e400] * 9]}}),
        ("stress", {"__ndarray__": [[5], "float64", [1.0] * 5]}),
        ("key_value_pairs", [1]),
        ("energy", "low"),
    ):
        bad = {**plain, "1": {**plain["1"], key: value}}
        (tmp_path / "b.json").write_text(json.dumps(bad))
        with pytest.raises(InputFileError) as caught:
            read_labelled(tmp_path / "b.json")
        assert "\n" not in str(caught.value)


def test_mutants_of_databases(tmp_path):
    for name, seed in (("a.json", 11), ("a.db", 12)):
        with ase.db.connect(tmp_path / name) as database:
            for place in range(2):
                database.write(calculated(place), gap_eV=1.5)
        base = (tmp_path / name).read_bytes()
        attack(tmp_path, f"b{name[1:]}", base, read_labelled, MUTANTS, seed)
