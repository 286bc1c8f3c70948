"""A user's own set: every label has a unit and belongs to its structure, every doubt is an error."""

from __future__ import annotations

import io
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from phonograph.errors import InputFileError
from phonograph.files.user_data import read_user_set

EXAMPLE = (Path(__file__).resolve().parents[2] / "examples" / "structures" / "Ag3SBr.vasp").read_text()


def frames(count=4, seed=0, **info):
    rng = np.random.default_rng(seed)
    made = []
    for position in range(count):
        atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
        atoms.positions += rng.normal(scale=0.05, size=(len(atoms), 3))
        atoms.info.update({key: values[position] for key, values in info.items()})
        made.append(atoms)
    return made


def saved(folder, images, name="set.extxyz"):
    ase.io.write(folder / name, images, format="extxyz")
    return folder / name


def table(folder, text, name="labels.csv"):
    (folder / name).write_text(text)
    return folder / name


def test_labels_inside_extxyz(tmp_path):
    gaps, energies = [1.0, 0.5, np.nan, 2.0], [-3.25, -3.5, -3.75, -4.0]
    path = saved(tmp_path, frames(band_gap_eV=gaps, energy_eV_per_atom=energies))
    configurations, labels = read_user_set("mine", path)
    assert configurations.ids == labels.sample_ids == ("mine-00000", "mine-00001", "mine-00002", "mine-00003")
    assert configurations.sampler == "file"
    assert np.isnan(configurations.displacements_A).all()
    np.testing.assert_array_equal(labels.column("band_gap_eV").values, gaps)
    np.testing.assert_array_equal(labels.column("energy_eV_per_atom").values, energies)
    assert [column.unit for column in labels.columns] == ["eV", "eV/atom"]
    assert labels.columns[0].engine == "file set.extxyz"
    assert labels.status == ("ok", "ok", "missing: band_gap_eV", "ok")
    assert labels.warnings == ("1 of 4 samples of set 'mine' have no band_gap_eV",)
    assert set(configurations.origin.inputs) == {"set.extxyz"}


def test_positions_survive_bit_for_bit(tmp_path):
    path = saved(tmp_path, frames())
    configurations, labels = read_user_set("mine", path)
    assert labels is None
    expected = ase.io.read(path, ":")
    np.testing.assert_array_equal(configurations.positions_A, np.concatenate([one.positions for one in expected]))
    np.testing.assert_array_equal(configurations.cells_A, np.stack([np.asarray(one.cell) for one in expected]))


def test_what_else_a_frame_carries(tmp_path):
    images = frames(temperature_K=[300, 300.0, 600, 600], group=["a", "a", 7, 7], index=[4, 5, 6, 7], seed=[1] * 4)
    for atoms in images:
        atoms.arrays["displacement"] = 0.1 * atoms.positions
    configurations, labels = read_user_set("mine", saved(tmp_path, images))
    assert labels is None
    assert configurations.temperature_K.tolist() == [300, 300, 600, 600]
    assert configurations.group == ("a", "a", "7", "7")
    assert configurations.index.tolist() == [4, 5, 6, 7]
    np.testing.assert_allclose(configurations.displacements_A, 0.1 * configurations.positions_A, atol=2e-8)
    assert np.isnan(configurations.amplitude_A).all()
    renamed, _ = read_user_set("mine", tmp_path / "set.extxyz", groups=["p", "q", "r", "s"])
    assert renamed.group == ("p", "q", "r", "s")
    with pytest.raises(InputFileError, match="groups must name 4 structures; got 1"):
        read_user_set("mine", tmp_path / "set.extxyz", groups=["p"])


def test_total_energy_and_stress_of_ase_are_converted_and_said(tmp_path):
    images = frames(2)
    stress = np.array([0.01, 0.02, 0.03, 0.5, 0.6, 0.7])
    for atoms, energy in zip(images, (-16.0, -24.0), strict=True):
        atoms.calc = SinglePointCalculator(atoms, energy=energy, stress=stress, forces=np.zeros((8, 3)))
    configurations, labels = read_user_set("mine", saved(tmp_path, images))
    assert labels.column("energy_eV_per_atom").values.tolist() == [-2.0, -3.0]
    np.testing.assert_allclose(labels.column("hydrostatic_stress_GPa").values, 0.02 * 160.2176634)
    assert any("divided by the number of atoms" in sentence for sentence in labels.warnings)
    assert any("positive = tensile" in sentence for sentence in labels.warnings)
    assert len(configurations) == 2


def test_reference_keys_are_converted_and_two_energies_are_not_guessed_between(tmp_path):
    nine = np.diag([0.01, 0.02, 0.03]).ravel()
    images = frames(2, REF_energy=[-16.0, -24.0], REF_stress=[nine, nine])
    _, labels = read_user_set("mine", saved(tmp_path, images))
    assert labels.column("energy_eV_per_atom").values.tolist() == [-2.0, -3.0]
    np.testing.assert_allclose(labels.column("hydrostatic_stress_GPa").values, 0.02 * 160.2176634)
    for atoms in images:
        atoms.calc = SinglePointCalculator(atoms, energy=-1.0)
    path = saved(tmp_path, images)
    with pytest.raises(InputFileError, match="gives energy_eV_per_atom twice"):
        read_user_set("mine", path)
    _, labels = read_user_set("mine", path, property="REF_energy")
    assert [column.name for column in labels.columns] == ["energy_eV_per_atom"]
    assert labels.columns[0].values.tolist() == [-2.0, -3.0]


def test_units_are_never_guessed(tmp_path):
    path = saved(tmp_path, frames(gap=[1.5, 1.0, 2.0, 0.5], step=[1, 2, 3, 4], config_type=["x"] * 4))
    with pytest.raises(
        InputFileError, match=r"the units of 'gap' are missing; rename it with its unit .such as gap_eV"
    ):
        read_user_set("mine", path)
    _, labels = read_user_set("mine", path, units={"gap": "eV"})
    assert [(column.name, column.unit) for column in labels.columns] == [("gap_eV", "eV")]
    assert any("step, config_type" in sentence and "not read" in sentence for sentence in labels.warnings)
    with pytest.raises(InputFileError, match="unknown unit 'volt'"):
        read_user_set("mine", path, units={"gap": "volt"})
    with pytest.raises(InputFileError, match="no entry 'gab'"):
        read_user_set("mine", path, units={"gab": "eV", "gap": "eV"})
    _, labels = read_user_set("mine", path, units={"gap": "1"})
    assert (labels.columns[0].name, labels.columns[0].unit) == ("gap", "1")
    path = saved(tmp_path, frames(gap_eV=[1.5, 1.0, 2.0, 0.5]))
    with pytest.raises(InputFileError, match="'gap_eV' says eV, units says 'GPa'"):
        read_user_set("mine", path, units={"gap_eV": "GPa"})


def test_table_for_frames_by_position_and_by_id(tmp_path):
    path = saved(tmp_path, frames(4))
    csv = table(tmp_path, "id,band_gap_eV,vbm_eV,status\n2,1.5,-5,ok\n0,0.5,,ok\n1, nan ,-6,failed\n")
    configurations, labels = read_user_set("mine", path, csv)
    np.testing.assert_array_equal(labels.column("band_gap_eV").values, [0.5, np.nan, 1.5, np.nan])
    np.testing.assert_array_equal(labels.column("vbm_eV").values, [np.nan, -6, -5, np.nan])
    assert labels.status == (
        "missing: vbm_eV", "missing: band_gap_eV", "ok", "missing: band_gap_eV, vbm_eV",
    )  # fmt: skip
    assert any("columns status" in sentence for sentence in labels.warnings)
    assert any("2 of 4 samples of set 'mine' have no vbm_eV" in sentence for sentence in labels.warnings)
    assert set(labels.origin.inputs) == {"set.extxyz", "labels.csv"}
    path = saved(tmp_path, frames(2, id=["b", "a"]))
    _, labels = read_user_set("mine", path, table(tmp_path, "name,gap_eV\na,1\nb,2\n"))
    assert labels.column("gap_eV").values.tolist() == [2.0, 1.0]
    assert configurations.group == tuple(f"mine-{i:05d}" for i in range(4))


def test_table_groups_and_a_table_that_wins_over_the_frames(tmp_path):
    images = frames(2)
    for atoms in images:
        atoms.calc = SinglePointCalculator(atoms, energy=-16.0)
    path = saved(tmp_path, images)
    csv = table(tmp_path, "id,energy_eV_per_atom,group\n0,-9,md1\n1,-8,md1\n")
    configurations, labels = read_user_set("mine", path, csv)
    assert labels.column("energy_eV_per_atom").values.tolist() == [-9, -8]
    assert configurations.group == ("md1", "md1")
    assert any("were not read: a table gives the labels" in sentence for sentence in labels.warnings)


def folder_of(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    for number in (10, 2, 1):
        (folder / f"s{number}.vasp").write_text(EXAMPLE.replace("4.90", f"4.9{number:02d}"))
    ase.io.write(folder / "s3.cif", bulk("NaCl", "rocksalt", a=5.6, cubic=True))
    (folder / "README.txt").write_text("hello")
    return folder


def test_folder_of_files_in_natural_order(tmp_path):
    folder = folder_of(tmp_path)
    csv = table(tmp_path, "file,band_gap_eV\ns10,10\ns2.vasp,2\ns3.cif,3\ns1,1\n")
    configurations, labels = read_user_set("mine", folder, csv)
    assert labels.column("band_gap_eV").values.tolist() == [1, 2, 3, 10]
    assert np.diff(configurations.offsets).tolist() == [5, 5, 8, 5]
    assert any(
        "1 files in" in sentence and "not read as structures" in sentence for sentence in configurations.warnings
    )
    with pytest.raises(InputFileError, match="holds 0 structure files"):
        read_user_set("mine", tmp_path / "set" / "..")
    with pytest.raises(InputFileError, match=r"line 3 labels 's1' again .first in line 2"):
        read_user_set("mine", folder, table(tmp_path, "file,band_gap_eV\ns1.vasp,1\ns1,2\n"))


def test_folder_of_poscars_without_suffix(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    for number in range(3):
        (folder / f"POSCAR_{number}").write_text(EXAMPLE)
    csv = table(tmp_path, "id,band_gap_eV\nPOSCAR_2,2\nPOSCAR_0,0.5\nPOSCAR_1,1\n")
    _, labels = read_user_set("mine", folder, csv)
    assert labels.column("band_gap_eV").values.tolist() == [0.5, 1, 2]


def test_cgcnn_table_without_header_needs_the_property(tmp_path):
    folder = folder_of(tmp_path)
    csv = table(folder, "s1,0.5\ns2,1.5\ns3,2.5\ns10,3.5\n", "id_prop.csv")
    with pytest.raises(InputFileError, match="line 1 holds numbers, not a header; add one such as 'id,band_gap_eV'"):
        read_user_set("mine", folder, csv)
    _, labels = read_user_set("mine", folder, csv, property="band_gap_eV")
    assert labels.column("band_gap_eV").values.tolist() == [0.5, 1.5, 2.5, 3.5]
    with pytest.raises(InputFileError, match="the units of 'gap' are missing"):
        read_user_set("mine", folder, csv, property="gap")
    _, labels = read_user_set("mine", folder, csv, property="gap", units={"gap": "meV"})
    assert labels.column("gap_meV").unit == "meV"


def test_copies_of_a_structure_share_a_group(tmp_path):
    images = frames(2)
    configurations, _ = read_user_set("mine", saved(tmp_path, [images[0], images[1], images[0].copy()]))
    assert configurations.group == ("mine-00000", "mine-00001", "mine-00000")
    assert configurations.warnings == ("1 structures of set 'mine' are exact copies of others; copies share a group",)


TABLES = [
    ("id,gap_eV\n0,1\n9,2\n", "line 3 labels '9', which is no structure of the set; the first structure is called '0'"),
    ("id,gap_eV\n0,1\n0,2\n", "line 3 labels '0' again .first in line 2"),
    ("id,gap_eV\n0,1\n1,one\n", "line 3: gap_eV must be a finite number, or empty for a hole; got 'one'"),
    ("id,gap_eV\n0,1\n1,inf\n", "line 3: gap_eV must be a finite number"),
    ("id,gap_eV\n0,1\n1,2,3\n", "line 3 holds 3 columns; expected 2"),
    ("id,gap_eV\n0,1\n,2\n", "line 3 has no id"),
    ("id,gap\n0,1\n", "the units of 'gap' are missing"),
    ("id,gap_Ry\n0,1\n", "'gap_Ry' ends in 'Ry', a unit that is not known here; convert it to one of eV/atom, "),
    ("id,ry\n0,1\n", "the units of 'ry' are missing"),
    ("id,gap_eV,gap_eV\n0,1,2\n", "every column needs a name of its own"),
    ("id,,gap_eV\n0,1,2\n", "every column needs a name of its own"),
    ("id,gap_eV\n", "holds a header but no rows"),
    ("id;gap_eV\n0;1\n", "line 1 holds one column; expected an id and values, split by commas"),
    ("id,../../x_eV\n0,1\n", "the name of a property must be 1–80 letters"),
    ("id,status\n0,ok\n", "holds no property"),
    ('id,gap_eV\n0,"1\n', "is not comma-separated text"),
    ("", "is empty"),
    ("\0\1", "is a binary file"),
]


@pytest.mark.parametrize(("text", "sentence"), TABLES)
def test_malformed_tables_give_one_sentence(tmp_path, text, sentence):
    path = saved(tmp_path, frames(2))
    with pytest.raises(InputFileError, match=sentence) as caught:
        read_user_set("mine", path, table(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_other_mistakes_give_one_sentence(tmp_path):
    path = saved(tmp_path, frames(2, gap_eV=[1.0, "x"]))
    with pytest.raises(InputFileError, match="frame 1: gap_eV must be one finite number; got 'x'"):
        read_user_set("mine", path)
    with pytest.raises(InputFileError, match="no entry 'vbm_eV'"):
        read_user_set("mine", path, property="vbm_eV")
    with pytest.raises(InputFileError, match="no column 'vbm_eV'; it has id, gap_eV"):
        read_user_set("mine", path, table(tmp_path, "id,gap_eV\n0,1\n"), property="vbm_eV")
    with pytest.raises(InputFileError, match=r"expected a comma-separated file named \*.csv"):
        read_user_set("mine", path, table(tmp_path, "id,gap_eV\n0,1\n", "labels.txt"))
    with pytest.raises(InputFileError, match="the name of a set must be"):
        read_user_set("../mine", path)
    (tmp_path / "POSCAR").write_text(EXAMPLE)
    with pytest.raises(InputFileError, match=r"is no set of structures; expected extended XYZ .* or a folder"):
        read_user_set("mine", tmp_path / "POSCAR")
    with pytest.raises(InputFileError, match="does not exist"):
        read_user_set("mine", tmp_path / "no.extxyz")
    same = saved(tmp_path, frames(2, id=["a", "a"]), "same.extxyz")
    with pytest.raises(InputFileError, match="two structures are called 'a'"):
        read_user_set("mine", same, table(tmp_path, "id,gap_eV\na,1\n"))
    hot = saved(tmp_path, frames(2, temperature_K=[300, "warm"]), "hot.extxyz")
    with pytest.raises(InputFileError, match="temperature_K of structure 1 must be a finite number"):
        read_user_set("mine", hot)
    buffer = io.StringIO()
    ase.io.write(buffer, frames(1), format="extxyz")
    text = buffer.getvalue().replace("pos:R:3", "pos:R:3:displacement:R:1")
    lines = text.splitlines()
    (tmp_path / "d.extxyz").write_text("\n".join(lines[:2] + [f"{line} 0.1" for line in lines[2:]]))
    with pytest.raises(InputFileError, match="displacement must be three finite numbers per atom"):
        read_user_set("mine", tmp_path / "d.extxyz")
