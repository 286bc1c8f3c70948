"""Structures: what is read is what was written, and every malformed file gives one sentence, fast."""

from __future__ import annotations

import io
import itertools
import lzma
import time
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.spacegroup import crystal as symmetric_crystal
from hypothesis import given, settings
from hypothesis import strategies as st

from phonograph.errors import InputFileError
from phonograph.files.overlap import first_overlap
from phonograph.files.phonopy_yaml import phonopy_cell
from phonograph.files.structures import read_structure, read_structures, structure_format, write_poscar
from phonograph.types import MAX_ATOMS, Crystal

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "structures"
POSCAR = (EXAMPLES / "Ag3SBr.vasp").read_text()
LATTICE = 'Lattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:3'
CIF = """data_Ag3SBr
_cell_length_a 4.9(1)
_cell_length_b 4.9
_cell_length_c 4.9
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'P m -3 m'
_symmetry_Int_Tables_number 221
_chemical_formula_sum 'Ag3 S Br'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Ag1 Ag 0.5 0.5 0 1
S1 S 0.5 0.5 0.5 1.0
Br1 Br 0 0 0 .
"""


def written(folder, name, text):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(("name", "formula", "lattice_A"), [("Ag3SBr", "Ag3SBr", 4.9), ("Ag3SI", "Ag3SI", 4.98)])
def test_examples_are_the_cubic_antiperovskites(name, formula, lattice_A):
    from phonopy.structure.symmetry import Symmetry

    crystal = read_structure(EXAMPLES / f"{name}.vasp")
    assert crystal.formula == formula
    assert crystal.volume_A3 == pytest.approx(lattice_A**3)
    assert Symmetry(phonopy_cell(crystal)).dataset.number == 221
    silver_to_sulphur = np.linalg.norm(crystal.positions_A[:3] - crystal.positions_A[3], axis=1)
    np.testing.assert_allclose(silver_to_sulphur, lattice_A / 2)


def test_format_follows_from_the_name_only():
    for name, kind in {
        "POSCAR": "poscar", "CONTCAR_relaxed": "poscar", "SPOSCAR": "poscar", "poscar-unitcell": "poscar",
        "a.vasp": "poscar", "a.POSCAR": "poscar", "a.CIF": "cif", "a.xyz": "extxyz", "b.extxyz": "extxyz",
        "phonopy.yaml": "phonopy", "phonopy_disp.yaml.xz": "phonopy", "p.yml.gz": "phonopy", "POSCAR.cif": "cif",
        "a.xyz.gz": None, "a.traj": None, "a.json": None, "a.db": None, "a": None, "a.pickle": None, "OUTCAR": None,
    }.items():  # fmt: skip
        assert structure_format(name) == kind, name


def test_unknown_format_is_refused_whatever_it_holds(tmp_path):
    with pytest.raises(InputFileError, match="the format follows from the name: POSCAR"):
        read_structure(written(tmp_path, "Ag3SBr.txt", POSCAR))


skewed_cells = st.lists(st.floats(-3, 3), min_size=9, max_size=9).map(lambda x: np.reshape(x, (3, 3)) + 5 * np.eye(3))


@settings(max_examples=25, deadline=None)
@given(skewed_cells, st.permutations([47, 16, 35, 47, 47, 35]), st.integers(0, 2**32 - 1))
def test_poscar_round_trip_keeps_order_and_position(tmp_path_factory, cell, numbers, seed):
    rng = np.random.default_rng(seed)
    corners = np.array(list(itertools.product((0, 1), repeat=3)))[:6] / 2
    fractional = corners + rng.uniform(-0.1, 0.1, (6, 3)) + rng.integers(-2, 3, (6, 3))
    crystal = Crystal(cell_A=cell, positions_A=fractional @ cell, numbers=numbers, title="a\nb\tc")
    path = tmp_path_factory.mktemp("poscar") / "POSCAR"
    write_poscar(crystal, path)
    again = read_structure(path)
    assert again.title == "a b c"
    np.testing.assert_array_equal(again.numbers, crystal.numbers)
    np.testing.assert_allclose(again.cell_A, crystal.cell_A, atol=1e-14)
    np.testing.assert_allclose(again.positions_A, crystal.positions_A, atol=1e-12)


def test_vasp_4_with_symbols_in_the_first_line(tmp_path):
    path = written(tmp_path, "POSCAR", VASP4)
    assert len(VASP4.splitlines()) == len(POSCAR.splitlines()) - 1
    found, expected = read_structure(path), read_structure(EXAMPLES / "Ag3SBr.vasp")
    assert found.symbols == expected.symbols
    np.testing.assert_array_equal(found.positions_A, expected.positions_A)


def test_real_poscars_are_the_unit_cells_of_their_calculations(real_data):
    """Written by VASP 4, VASP 5 and phonopy; phonopy_disp.yaml beside them holds the same cell."""
    folders = [folder for folder in real_data.iterdir() if (folder / "POSCAR-unitcell").is_file()]
    assert len(folders) == 5
    for folder in folders:
        found, expected = (read_structure(folder / name) for name in ("POSCAR-unitcell", "phonopy_disp.yaml"))
        assert found.symbols == expected.symbols
        np.testing.assert_allclose(found.cell_A, expected.cell_A, atol=1e-8)
        np.testing.assert_allclose(found.positions_A, expected.positions_A, atol=1e-8)


def test_writing_replaces_a_file_as_a_whole(tmp_path):
    path = written(tmp_path, "POSCAR", "old")
    write_poscar(read_structure(EXAMPLES / "Ag3SI.vasp"), path)
    assert read_structure(path).formula == "Ag3SI"
    assert [one.name for one in tmp_path.iterdir()] == ["POSCAR"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("1.0\n", "0.5\n"),
        ("1.0\n", "-200.0\n"),
        ("1.0\n", "1.0 1.0 2.0 anisotropic\n"),
        ("Direct\n", "Cartesian\n"),
        ("Direct\n0.4 0.5 0.01\n", "Selective dynamics\nDirect\n0.4 0.5 0.01 T T F\n"),
        ("Ag S Br\n", "Ag_pv/12ab S/34 Br ! comment\n"),
        ("3 1 1\n", "  3 1 1 ! five\n"),
        ("0.0 0.0 0.0\n", "0.0 0.0 0.0 Br\n\n 0 0 0\n 1 1 1\n"),
    ],
)
def test_poscar_dialects_are_read_as_ase_reads_them(tmp_path, old, new):
    text = POSCAR.replace("0.5 0.5 0.0", "0.4 0.5 0.01").replace(old, new, 1)
    path = written(tmp_path, "POSCAR", text)
    plain = text.replace("_pv/12ab", "").replace("/34", "").replace(" ! comment", "").replace("\n\n 0 0 0\n 1 1 1", "")
    if "Selective" in plain:
        plain = plain.replace("0.01 T T F\n", "0.01\n").replace("Selective dynamics\n", "")
    expected = ase.io.read(io.StringIO(plain), format="vasp")
    found = read_structure(path)
    assert list(found.symbols) == list(expected.symbols)
    np.testing.assert_allclose(found.cell_A, expected.cell)
    np.testing.assert_allclose(found.positions_A, expected.positions, atol=1e-12)


VASP4 = POSCAR.replace(POSCAR.splitlines()[0], "Ag S Br").replace("Ag S Br\n3 1 1", "3 1 1")
POSCARS = [
    (VASP4.replace("Ag S Br", "Ag S Br cubic"), "line 6 must name the elements"),
    (VASP4.replace("Ag S Br", "Ag S Xx"), "line 6 must name the elements"),
    (VASP4.replace("Ag S Br", "Ag S"), "line 6 must name the elements"),
    (VASP4.replace("3 1 1", "3 1 1000000000"), "line 6 claims 1000000004 atoms"),
    (VASP4.replace("Direct\n", ""), "line 7 must be 'Direct' or 'Cartesian'"),
    (VASP4.replace("0.5 0.5 0.5", "0.5 nan 0.5"), "line 11 must be a position of three finite numbers"),
    ("", "is empty"),
    (" \n\n ", "is empty"),
    ("\n".join(POSCAR.splitlines()[:6]), "ends after line 6"),
    ("\n".join(POSCAR.splitlines()[:-1]), "claims 5 atoms but ends after 4 position lines"),
    (POSCAR.replace("Ag S Br\n", ""), "line 6 must name the elements.*VASP 4"),
    (POSCAR.replace("Ag S Br", "Ag S Xx"), "line 6 names the unknown element 'Xx'"),
    (POSCAR.replace("Ag S Br", "Ag S X"), "line 6 names the unknown element 'X'"),
    (POSCAR.replace("Ag S Br", "Ag S"), "names 2 elements in line 6 but gives 3 counts"),
    (POSCAR.replace("3 1 1", "3 1 one"), "line 7 must be one number of atoms per element; got 'one'"),
    (POSCAR.replace("3 1 1", "3 -1 1"), "line 7 must be one number"),
    (POSCAR.replace("3 1 1", "0 0 0"), "claims 0 atoms"),
    (POSCAR.replace("3 1 1", "1000000000 1 1"), "claims 1000000002 atoms; 1 to 100000"),
    (POSCAR.replace("3 1 1", "9" * 5000 + " 1 1"), "line 7 must be one number"),
    (POSCAR.replace("Direct\n", ""), "line 8 must be 'Direct' or 'Cartesian'; got '0.5 0.5 0.0'"),
    (POSCAR.replace("0.5 0.5 0.5", "0.5 nan 0.5"), "line 12 must be a position of three finite numbers"),
    (POSCAR.replace("0.5 0.5 0.5", "0.5 inf 0.5"), "line 12 must be a position of three finite numbers"),
    (POSCAR.replace("0.5 0.5 0.5", "0.5 0.5"), "line 12 must be a position of three finite numbers"),
    (POSCAR.replace("0.5 0.5 0.5", "0.5 0.5 1e300"), "coordinates of 4.9e.300 Å; at most 100000"),
    (POSCAR.replace("\n1.0\n", "\n0.0\n"), "line 2 must be a scale factor"),
    (POSCAR.replace("\n1.0\n", "\nnan\n"), "line 2 must be a scale factor"),
    (POSCAR.replace("0.00 0.00 4.90", "0.00 0.00 x"), "line 5 must be a lattice vector"),
    (POSCAR.replace("0.00 0.00 4.90", "0.00 4.90 0.00"), "must span a volume"),
    (POSCAR.replace("0.5 0.5 0.5", "1.0 1.0 0.999"), r"atoms 4 \(S\) and 5 \(Br\) are 0.005 Å apart"),
    (b"\x00\x01POSCAR", "is a binary file"),
]


@pytest.mark.parametrize(("text", "sentence"), POSCARS)
def test_malformed_poscar_gives_one_sentence(tmp_path, text, sentence):
    refused(written(tmp_path, "POSCAR", text), sentence)


def refused(path, sentence, limit_s=1.0):
    start = time.process_time()
    with pytest.raises(InputFileError, match=sentence) as caught:
        read_structures(path)
    assert time.process_time() - start < limit_s
    assert "\n" not in str(caught.value)
    assert path.name in str(caught.value)


FRAME = f"2\n{LATTICE}\nAg 0 0 0\nBr 2 2 2\n"
FRAMES = [
    ("1000000000\nx\n", "line 1 claims 1000000000 atoms in one frame"),
    ("99999\nx\n", "truncated: frame 0 .line 1. claims 99999 atoms, 0 lines follow"),
    ("0\nx\n", "claims 0 atoms"),
    ("Ag\n", "line 1 must be the number of atoms"),
    (FRAME + FRAME.rsplit("\n", 2)[0], "truncated: frame 1 .line 5. claims 2 atoms, 1 lines follow"),
    (FRAME + "\n" + FRAME, "line 5 must be the number of atoms of frame 1; got ''"),
    (FRAME + FRAME.replace("Lattice", "NoLattice"), "line 6 has no Lattice=.*frame 1 is not periodic"),
    ("1\n\nAg 0 0 0\n", "line 2 has no Lattice"),
    (FRAME.replace("Properties", 'pbc="T T F" Properties'), 'not periodic in all directions .pbc="T T F"'),
    (FRAME.replace("R:3", "R:1000000000"), "must announce its columns"),
    (FRAME.replace("pos:R:3", "pos:R:-3"), "must announce its columns"),
    (FRAME.replace("pos:R:3", "pos:R:2"), "among them species:S:1 and pos:R:3"),
    (FRAME.replace("pos:R:3", "pos:R:3:pos:R:3"), "announce each column once"),
    (FRAME.replace("species:S:1", "what:S:1"), "among them species:S:1"),
    (FRAME.replace("Br 2 2 2", "Br 2 2"), "line 4 holds 3 columns; 4 are announced in line 2"),
    (FRAME.replace("Br 2 2 2", "Qq 2 2 2"), "line 4 names the unknown element 'Qq'"),
    (FRAME.replace("Br 2 2 2", "Br 2 2 x"), "frame 0, line 1. cannot be read as extended XYZ"),
    (FRAME.replace("Br 2 2 2", "Br 2 2 nan"), r"NaN or infinite coordinates \(1 atoms, the first is 2\)"),
    (FRAME.replace("Br 2 2 2", "Br 4 4 4.05"), r"atoms 1 \(Ag\) and 2 \(Br\) are 0.050 Å apart"),
    (FRAME.replace("4 0 0 0 4 0 0 0 4", "4 0 0 0 4 0 0 0 nan"), "lattice vectors"),
    (FRAME.replace("4 0 0 0 4 0 0 0 4", "4 0 0 0 4 0 4 4 0"), "must span a volume"),
    (FRAME.replace("4 0 0 0 4 0 0 0 4", "4 0 0 0 4 0"), "cannot be read as an extended XYZ comment line"),
    (FRAME.replace("4 0 0 0 4 0 0 0 4", "4 0 0 0 4 0 0 0 0.09"), "are 0.090 Å apart"),
    ("1\n" + LATTICE + "x" * 1_000_001 + "\nAg 0 0 0\n", "line 2 holds 10000.. characters"),
]


@pytest.mark.parametrize(("text", "sentence"), FRAMES)
def test_malformed_extxyz_gives_one_sentence(tmp_path, text, sentence):
    refused(written(tmp_path, "set.extxyz", text), sentence)


def test_extxyz_frames_are_those_of_ase(tmp_path):
    rng = np.random.default_rng(0)
    frames = []
    for repeat in (1, 2, 3):
        atoms = bulk("NaCl", "rocksalt", a=5.6) * (repeat, 1, 1)
        atoms.positions += rng.normal(scale=0.05, size=(len(atoms), 3))
        atoms.info["note"] = "a 'quoted' text"
        frames.append(atoms)
    ase.io.write(tmp_path / "set.xyz", frames, format="extxyz")
    found = read_structures(tmp_path / "set.xyz")
    assert [len(one) for one in found] == [2, 4, 6]
    for one, atoms in zip(found, ase.io.read(tmp_path / "set.xyz", ":"), strict=True):
        np.testing.assert_array_equal(one.positions_A, atoms.positions)
        np.testing.assert_array_equal(one.cell_A, atoms.cell)
        np.testing.assert_array_equal(one.numbers, atoms.numbers)
    with pytest.raises(InputFileError, match="holds 3 structures; expected one"):
        read_structure(tmp_path / "set.xyz")


def test_masses_in_extxyz_are_kept(tmp_path):
    text = FRAME.replace("R:3", "R:3:masses:R:1").replace("0 0 0\n", "0 0 0 108.9\n").replace("2 2 2", "2 2 2 80.9")
    assert read_structure(written(tmp_path, "a.xyz", text)).masses_amu.tolist() == [108.9, 80.9]
    refused(written(tmp_path, "b.xyz", text.replace("80.9", "0.0")), "masses_amu must be positive")


CIFS = [
    ("hello", "no line that starts with 'data_'"),
    (CIF.replace("Br1 Br 0 0 0 .\n", ""), "holds Ag3S but announces 'Ag3 S Br'"),
    (CIF.replace(" .\n", " 0.5\n"), "is disordered: site 3 has occupancy 0.5"),
    (CIF + "I1 I 0 0 0 1\n", "puts I and another element on the site"),
    (CIF.replace("Br1 Br", "Xq1 Xq"), "unknown element 'Xq'"),
    (CIF.replace("0.5 0.5 0.5 1.0", "? ? ? 1.0"), "coordinate x of site 2 must be a number; got '[?]'"),
    (CIF.replace("_cell_length_c 4.9", "_cell_length_c 0"), "six positive lattice parameters"),
    (CIF.replace("_cell_length_c 4.9\n", ""), "gives no lattice"),
    (CIF.replace("_cell_angle_gamma 90", "_cell_angle_gamma 179.99999"), "cell|volume|lattice|CIF"),
    (CIF + CIF, "holds 2 structures"),
    (CIF.split("loop_")[0], "holds no structure"),
    (CIF.replace("0.5 0.5 0.5 1.0", "0.5 0.5 0.5"), "is not a sound CIF: Wrong number 11 of tokens, expected 6"),
    (CIF.replace("Br1 Br 0 0 0 .", "Br1 Br 0 0 0"), "CIF loop ended unexpectedly with incomplete row"),
    (CIF.replace("0.5 0.5 0 1", "0.5 0.5 0.01 1").replace("_chemical_formula_sum 'Ag3 S Br'\n", ""), "Å apart"),
    (CIF.replace("'P m -3 m'", "'P q 7'").replace("221", "999"), "cannot be read as a CIF"),
]


@pytest.mark.parametrize(("text", "sentence"), CIFS)
def test_malformed_cif_gives_one_sentence(tmp_path, text, sentence):
    refused(written(tmp_path, "a.cif", text), sentence)


def test_cif_is_expanded_by_its_symmetry(tmp_path):
    found = read_structure(written(tmp_path, "a.cif", CIF))
    assert found.formula == "Ag3SBr"
    copies = CIF.replace("Br1 Br 0 0 0 .\n", "Br1 Br 0 0 0 1\nBr2 Br 1 1 0 1\n")
    assert read_structure(written(tmp_path, "b.cif", copies)).formula == "Ag3SBr"


@pytest.mark.parametrize("number", [225, 227, 186, 62, 14])
def test_cif_of_many_space_groups_equals_the_expanded_crystal(tmp_path, number):
    cell = {225: [5, 5, 5, 90, 90, 90], 227: [6, 6, 6, 90, 90, 90], 186: [4, 4, 6, 90, 90, 120],
            62: [5, 6, 7, 90, 90, 90], 14: [5, 6, 7, 90, 100, 90]}[number]  # fmt: skip
    atoms = symmetric_crystal(["Na", "Cl"], [(0.03, 0.21, 0.11), (0.4, 0.3, 0.36)], spacegroup=number, cellpar=cell)
    ase.io.write(tmp_path / "a.cif", atoms)
    found = read_structure(tmp_path / "a.cif")
    assert len(found) == len(atoms)
    np.testing.assert_allclose(np.sort(found.numbers), np.sort(atoms.numbers))
    ours = Atoms(numbers=found.numbers, positions=found.positions_A, cell=found.cell_A, pbc=True)
    both = [np.sort(one.get_all_distances(mic=True).ravel()) for one in (ours, atoms)]
    np.testing.assert_allclose(*both, atol=1e-4)


def test_cif_that_expands_without_end_is_refused(tmp_path):
    rng = np.random.default_rng(0)
    sites = "".join(f"Ag1 Ag {x:.5f} {y:.5f} {z:.5f} 1\n" for x, y, z in rng.random((2000, 3)))
    text = CIF.split("Ag1 Ag")[0].replace("_chemical_formula_sum 'Ag3 S Br'\n", "") + sites
    refused(written(tmp_path, "a.cif", text), "expands to up to 384000 atoms .2000 sites.")


def test_phonopy_unit_cell_with_masses(tmp_path):
    text = """unit_cell:
  lattice:
  - [4.9, 0, 0]
  - [0, 4.9, 0]
  - [0, 0, 4.9]
  points:
  - {symbol: Ag, coordinates: [0.5, 0.5, 0.0], mass: 107.0}
  - {symbol: Br, coordinates: [0.0, 0.0, 0.0], mass: 79.0}
"""
    path = tmp_path / "phonopy.yaml.xz"
    path.write_bytes(lzma.compress(text.encode()))
    found = read_structure(path)
    assert found.formula == "AgBr"
    assert found.masses_amu.tolist() == [107.0, 79.0]
    shared = text.replace("[0.5, 0.5, 0.0], mass", "[0, 0, 0], weight: 0.5, mass").replace(
        "[0.0, 0.0, 0.0], mass", "[0, 0, 0], weight: 0.5, mass"
    )
    refused(written(tmp_path, "phonopy.yaml", shared), "shared by several elements")
    refused(written(tmp_path, "phonopy_cut.yaml", text[:60]), "holds no unit cell|cannot be read|not complete YAML")
    refused(written(tmp_path, "phonopy_list.yaml", "- 1\n"), "must hold named values")
    refused(written(tmp_path, "phonopy_nan.yaml", text.replace("[0.5, 0.5", "[.nan, 0.5")), "NaN or infinite coord")


def test_extended_symbols_count_as_their_element(tmp_path):
    text = "lattice:\n- [4, 0, 0]\n- [0, 4, 0]\n- [0, 0, 4]\npoints:\n- symbol: Fe1\n  coordinates: [0, 0, 0]\n"
    assert read_structure(written(tmp_path, "phonopy.yaml", text)).symbols == ("Fe",)


@pytest.mark.parametrize("make", ["missing", "folder", "null\0byte", "x" * 5000])
def test_paths_that_are_no_files(tmp_path, make):
    path = tmp_path / f"{make}.vasp"
    if make == "folder":
        path.mkdir()
    with pytest.raises(InputFileError, match=r"does not exist|is a folder|cannot be read") as caught:
        read_structure(path)
    assert "\n" not in str(caught.value)


def test_a_pipe_is_not_waited_for(tmp_path):
    import os

    os.mkfifo(tmp_path / "POSCAR")
    refused(tmp_path / "POSCAR", "is not a regular file")


@settings(max_examples=40, deadline=None)
@given(skewed_cells, st.integers(0, 2**32 - 1))
def test_overlaps_equal_brute_force_over_images(cell, seed):
    rng = np.random.default_rng(seed)
    positions = rng.uniform(-1, 2, (8, 3)) @ cell
    i, j = rng.integers(0, 8, 2)
    if i != j:
        positions[i] = positions[j] + rng.integers(-2, 3, 3) @ cell + rng.normal(scale=0.06, size=3)
    images = np.array(list(itertools.product(range(-8, 9), repeat=3))) @ cell
    delta = positions[:, None] - positions[None]
    distance = np.linalg.norm(delta[:, :, None] + images, axis=-1)
    distance[distance == 0.0] = np.where(np.eye(8, dtype=bool)[..., None], np.inf, distance)[distance == 0.0]
    distance[np.eye(8, dtype=bool)] = np.inf
    found = first_overlap(cell, positions, 0.1)
    closest = distance.min()
    assert (found is not None) == (closest < 0.1)
    if found is not None:
        assert found[2] == pytest.approx(distance[found[0], found[1]].min(), abs=1e-9)


def test_the_largest_structure_is_read_in_seconds_and_one_more_is_refused(tmp_path):
    side = 47
    grid = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), -1).reshape(-1, 3)[:MAX_ATOMS] * 2.5
    lines = "".join(f"Ag {x} {y} {z}\n" for x, y, z in grid)
    head = f'Lattice="{side * 2.5} 0 0 3 {side * 2.5} 0 0 1 {side * 2.5}" Properties=species:S:1:pos:R:3\n'
    start = time.process_time()
    assert len(read_structure(written(tmp_path, "a.xyz", f"{MAX_ATOMS}\n{head}{lines}"))) == MAX_ATOMS
    assert time.process_time() - start < 5.0
    refused(written(tmp_path, "b.xyz", f"{MAX_ATOMS + 1}\n{head}{lines}Ag 0 0 1\n"), "claims 100001 atoms")
    same = f"{MAX_ATOMS}\n{head}" + "Ag 1 1 1\n" * MAX_ATOMS  # all on one spot
    refused(written(tmp_path, "c.xyz", same), "are 0.000 Å apart", limit_s=5.0)
