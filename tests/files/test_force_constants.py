"""Force constants from every file phonopy writes, against phonopy itself and against a second, independent route."""

from __future__ import annotations

import gzip
import itertools
import lzma
import warnings

import h5py
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from phonopy import Phonopy, load
from phonopy.file_IO import write_FORCE_CONSTANTS, write_force_constants_to_hdf5, write_FORCE_SETS
from phonopy.interface.phonopy_yaml import load_phonopy_yaml
from phonopy.physical_units import get_calculator_physical_units
from phonopy.structure.atoms import PhonopyAtoms

from phonograph.errors import InputFileError
from phonograph.files.force_constants import read_force_constants
from phonograph.files.phonopy_yaml import phonopy_cell
from phonograph.files.safety import safe_yaml
from phonograph.files.structures import read_structure, write_poscar
from phonograph.lattice import normal_modes
from phonograph.types import Crystal

SKEWED = np.array([[1, 2, 0], [0, 2, 1], [1, 0, 2]])
MATERIALS = ["NaCl", "SnO2", "MgO", "Al2O3", "TiO2-anatase"]


def quiet(function, *arguments, **options):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="primitive_matrix defaulted to 'auto'")
        warnings.filterwarnings("ignore", message="Warning: Point group symmetries")
        return function(*arguments, **options)


def commensurate(phonon):
    """All wave vectors of the primitive cell that fold to Γ of the supercell, found by trying fractions."""
    ratio = np.linalg.solve(phonon.primitive.cell.T, phonon.supercell.cell.T).T
    count = round(abs(np.linalg.det(ratio)))
    found = []
    for numerators in itertools.product(range(count), repeat=3):
        q = np.array(numerators) / count
        if np.abs(ratio @ q - np.round(ratio @ q)).max() < 1e-6:
            found.append(q)
    assert len(found) == count
    return found


def phonopy_frequencies(phonon):
    """3n − 3 commensurate frequencies by phonopy, without the three translations at Γ."""
    values = []
    points = commensurate(phonon)
    phonon.run_qpoints(points)
    for q, at_q in zip(points, phonon.qpoints.frequencies, strict=True):
        values.append(np.sort(at_q)[np.argsort(np.abs(np.sort(at_q)))[3:]] if not q.any() else at_q)
    return np.sort(np.concatenate(values))


def assert_same_modes(force_constants, phonon, rtol=1e-6):
    ours = normal_modes(force_constants.values_eV_per_A2, force_constants.supercell.masses_amu).frequencies_THz
    np.testing.assert_allclose(ours, phonopy_frequencies(phonon), rtol=rtol, atol=2e-6)


def emt_phonon(primitive="auto", displacements=None):
    """Copper and gold, ordered, in a skewed supercell of 12 atoms."""
    atoms = Atoms("CuAu", cell=np.array([[2.8, 0, 0], [0.1, 2.9, 0], [0, 0.2, 3.7]]), pbc=True,
                  scaled_positions=[[0, 0, 0], [0.5, 0.52, 0.49]])  # fmt: skip
    cell = PhonopyAtoms(symbols=atoms.symbols, cell=atoms.cell, positions=atoms.positions)
    phonon = quiet(Phonopy, cell, SKEWED.T, primitive_matrix=primitive)
    if displacements is None:
        phonon.generate_displacements(distance=0.02)
    else:
        phonon.generate_displacements(distance=0.02, number_of_snapshots=displacements, random_seed=3)
    phonon.forces = [emt_forces(one) for one in phonon.supercells_with_displacements]
    return phonon


def emt_forces(cell):
    atoms = Atoms(symbols=cell.symbols, cell=cell.cell, positions=cell.positions, pbc=True)
    atoms.calc = EMT()
    return atoms.get_forces()


@pytest.fixture(scope="module")
def skewed():
    phonon = emt_phonon()
    phonon.produce_force_constants(calculate_full_force_constants=True)
    phonon.symmetrize_force_constants(use_symfc_projector=True, show_drift=False)
    return phonon


@pytest.fixture(scope="module")
def rock_salt(tmp_path_factory):
    """Random but symmetric force constants of a conventional rock-salt cell: primitive cell 2 atoms, supercell 16."""
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    cell = PhonopyAtoms(symbols=atoms.symbols, cell=atoms.cell, positions=atoms.positions)
    phonon = quiet(Phonopy, cell, np.diag([1, 1, 2]))
    rng = np.random.default_rng(0)
    size = len(phonon.supercell)
    full = rng.normal(size=(size, size, 3, 3))
    phonon.force_constants = full + full.transpose(1, 0, 3, 2)
    phonon.symmetrize_force_constants(use_symfc_projector=True, show_drift=False)
    phonon.force_constants = phonon.force_constants + 10.0 * self_terms(size)
    folder = tmp_path_factory.mktemp("rock_salt")
    phonon.save(folder / "phonopy_disp.yaml", settings={"force_constants": False, "displacements": False})
    return phonon, folder


def self_terms(size):
    """Springs between every pair of atoms: stable, and invariant under translation of everything."""
    springs = np.zeros((size, size, 3, 3))
    springs[:] = -np.eye(3) / size
    springs[np.arange(size), np.arange(size)] += np.eye(3)
    return springs


@pytest.mark.parametrize("material", MATERIALS)
def test_real_force_sets_give_the_frequencies_of_phonopy(real_data, material):
    folder = real_data / material
    found = read_force_constants(folder / "FORCE_SETS")
    phonon = quiet(load, folder / "phonopy_disp.yaml", force_sets_filename=folder / "FORCE_SETS", is_nac=False)
    assert_same_modes(found, phonon)
    assert found.origin.settings["nac"] == ("present, not used" if (folder / "BORN").exists() else "absent")
    assert found.origin.settings["largest_drift_eV_per_A2"] < 1e-10
    assert set(found.origin.inputs) == {"FORCE_SETS", "phonopy_disp.yaml"}
    assert np.diag(found.supercell_matrix).prod() * len(found.unitcell) == len(found.supercell)


def code_units_phonon(folder, forces):
    """phonopy in the units of the code: its own conversion is the reference."""
    content = safe_yaml(folder / "phonopy_disp.yaml")
    calculator = content["phonopy"]["calculator"]
    content.pop("physical_unit")
    data = load_phonopy_yaml(content, calculator=calculator)
    phonon = quiet(Phonopy, data.unitcell, data.supercell_matrix, primitive_matrix="auto", calculator=calculator)
    phonon.dataset = data.dataset
    phonon.forces = forces
    phonon.produce_force_constants(calculate_full_force_constants=True)
    phonon.symmetrize_force_constants(use_symfc_projector=True, show_drift=False)
    return phonon


def test_cp2k_in_hartree_per_bohr_and_an_old_spelling_of_its_units(real_data, tmp_path):
    folder = real_data / "NaCl-CP2K"
    forces = []
    for path in sorted(folder.glob("*forces-1_0.xyz")):
        rows = [line.split() for line in path.read_text().splitlines()]
        forces.append([[float(x) for x in row[3:6]] for row in rows if len(row) == 6 and row[0].isdigit()])
    phonon = code_units_phonon(folder, np.array(forces))
    check_in_code_units(phonon, folder, tmp_path)


def test_quantum_espresso_in_rydberg_per_bohr(real_data, tmp_path):
    from phonopy.interface.qe import parse_set_of_forces

    folder = real_data / "Si-QE"
    forces = parse_set_of_forces(64, [str(folder / "supercell-001.out")], verbose=False)
    forces = forces["forces"] if isinstance(forces, dict) else forces
    check_in_code_units(code_units_phonon(folder, np.array(forces)), folder, tmp_path)


def check_in_code_units(phonon, folder, tmp_path):
    (tmp_path / "phonopy_disp.yaml").write_bytes((folder / "phonopy_disp.yaml").read_bytes())
    write_FORCE_SETS(phonon.dataset, tmp_path / "FORCE_SETS")
    found = read_force_constants(tmp_path / "FORCE_SETS")
    assert_same_modes(found, phonon, rtol=2e-6)  # phonopy's hartree is CODATA 1986
    write_FORCE_CONSTANTS(phonon.force_constants, tmp_path / "FORCE_CONSTANTS")
    assert_same_modes(read_force_constants(tmp_path / "FORCE_CONSTANTS"), phonon, rtol=2e-6)
    unit = get_calculator_physical_units(phonon.calculator).force_constants_unit
    write_force_constants_to_hdf5(phonon.force_constants, tmp_path / "fc.hdf5", physical_unit=unit)
    assert_same_modes(read_force_constants(tmp_path / "fc.hdf5"), phonon, rtol=2e-6)
    assert found.origin.settings["calculator"] == phonon.calculator
    volume = np.linalg.det(phonon.unitcell.cell) * get_calculator_physical_units(phonon.calculator).distance_to_A ** 3
    assert found.unitcell.volume_A3 == pytest.approx(volume, rel=1e-6)


def test_rows_and_columns_of_a_skewed_supercell(skewed, tmp_path):
    """supercell = supercell_matrix @ unit cell as rows, and force constants by ASE in that very cell."""
    skewed.save(tmp_path / "phonopy_params.yaml", settings={"force_sets": True})
    found = read_force_constants(tmp_path / "phonopy_params.yaml")
    assert (found.supercell_matrix == SKEWED).all()
    np.testing.assert_allclose(found.supercell.cell_A, SKEWED @ found.unitcell.cell_A, atol=1e-12)
    assert_same_modes(found, skewed)
    rng = np.random.default_rng(1)
    u = 1e-3 * rng.normal(size=(len(found.supercell), 3))
    moved = (found.supercell.positions_A + sign * u for sign in (1, -1))
    cell = {"numbers": found.supercell.numbers, "cell": found.supercell.cell_A}
    plus, minus = (emt_forces(PhonopyAtoms(positions=positions, **cell)) for positions in moved)
    np.testing.assert_allclose(
        -np.einsum("ijab,jb->ia", found.values_eV_per_A2, u), (plus - minus) / 2, atol=2e-3 * np.abs(plus).max()
    )


def test_supercell_matrix_given_as_rows(skewed, tmp_path):
    write_FORCE_CONSTANTS(skewed.force_constants, tmp_path / "FORCE_CONSTANTS")
    crystal = Crystal(
        cell_A=skewed.unitcell.cell, positions_A=skewed.unitcell.positions, numbers=skewed.unitcell.numbers,
        masses_amu=skewed.unitcell.masses,
    )  # fmt: skip
    found = read_force_constants(tmp_path / "FORCE_CONSTANTS", structure=crystal, supercell_matrix=SKEWED)
    assert_same_modes(found, skewed)
    write_poscar(crystal, tmp_path / "unit.vasp")
    again = read_force_constants(
        tmp_path / "FORCE_CONSTANTS", structure=tmp_path / "unit.vasp", supercell_matrix=SKEWED.tolist()
    )
    np.testing.assert_array_equal(again.values_eV_per_A2, found.values_eV_per_A2)
    assert set(again.origin.inputs) == {"FORCE_CONSTANTS", "unit.vasp"}


def test_full_compact_text_hdf5_and_yaml_agree(rock_salt, tmp_path):
    phonon, folder = rock_salt
    (tmp_path / "phonopy_disp.yaml").write_bytes((folder / "phonopy_disp.yaml").read_bytes())
    full = phonon.force_constants
    rows = phonon.primitive.p2s_map
    compact = np.ascontiguousarray(full[rows])
    write_FORCE_CONSTANTS(full, tmp_path / "FORCE_CONSTANTS")
    write_FORCE_CONSTANTS(compact, tmp_path / "FORCE_CONSTANTS_compact", p2s_map=rows)
    write_force_constants_to_hdf5(full, str(tmp_path / "full.hdf5"))
    write_force_constants_to_hdf5(
        compact, str(tmp_path / "compact.hdf5"), p2s_map=rows, physical_unit="eV/angstrom^2", compression="gzip"
    )
    phonon.save(tmp_path / "phonopy.yaml", settings={"force_constants": True})
    text = (tmp_path / "phonopy.yaml").read_bytes()
    (tmp_path / "phonopy.yaml.xz").write_bytes(lzma.compress(text))
    (tmp_path / "phonopy.yaml.gz").write_bytes(gzip.compress(text))
    names = ["FORCE_CONSTANTS", "FORCE_CONSTANTS_compact", "full.hdf5", "compact.hdf5", "phonopy.yaml"]
    found = {name: read_force_constants(tmp_path / name) for name in [*names, "phonopy.yaml.xz", "phonopy.yaml.gz"]}
    for name, one in found.items():
        np.testing.assert_allclose(one.values_eV_per_A2, full, atol=2e-13, err_msg=name)
        assert one.origin.settings["layout"] == ("compact" if "compact" in name else "full")
        assert_same_modes(one, phonon)


def test_compact_force_constants_of_the_unit_cell_are_found_by_their_rows(tmp_path):
    """Before phonopy 4 the default primitive cell was the unit cell: 8 rows, not 2."""
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    cell = PhonopyAtoms(symbols=atoms.symbols, cell=atoms.cell, positions=atoms.positions)
    phonon = quiet(Phonopy, cell, np.diag([1, 1, 2]), primitive_matrix="P")
    phonon.force_constants = self_terms(16)
    rows = phonon.primitive.p2s_map
    assert len(rows) == 8
    write_FORCE_CONSTANTS(phonon.force_constants[rows], tmp_path / "FORCE_CONSTANTS", p2s_map=rows)
    crystal = Crystal(cell_A=atoms.cell, positions_A=atoms.positions, numbers=atoms.numbers)
    found = read_force_constants(tmp_path / "FORCE_CONSTANTS", structure=crystal, supercell_matrix=[1, 1, 2])
    np.testing.assert_allclose(found.values_eV_per_A2, self_terms(16), atol=1e-12)
    with pytest.raises(InputFileError, match="give the primitive matrix"):
        read_force_constants(
            tmp_path / "FORCE_CONSTANTS", structure=crystal, supercell_matrix=[1, 1, 2], primitive_matrix="F"
        )


def test_primitive_matrix_is_rows(rock_salt, tmp_path):
    """A non-symmetric primitive matrix: given transposed it would name another cell."""
    phonon, _ = rock_salt
    rows = np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [1.0, 0.5, 0.5]])
    primitive = quiet(Phonopy, phonon.unitcell, phonon.supercell_matrix, primitive_matrix=rows.T).primitive
    np.testing.assert_allclose(primitive.cell, rows @ phonon.unitcell.cell, atol=1e-10)
    compact = phonon.force_constants[primitive.p2s_map]
    write_FORCE_CONSTANTS(compact, tmp_path / "FORCE_CONSTANTS", p2s_map=primitive.p2s_map)
    crystal = Crystal(
        cell_A=phonon.unitcell.cell, positions_A=phonon.unitcell.positions, numbers=phonon.unitcell.numbers
    )
    found = read_force_constants(
        tmp_path / "FORCE_CONSTANTS", structure=crystal, supercell_matrix=[1, 1, 2], primitive_matrix=rows
    )
    np.testing.assert_allclose(found.values_eV_per_A2, phonon.force_constants, atol=2e-13)


def test_random_displacements_are_fitted_by_symfc(tmp_path):
    phonon = emt_phonon(displacements=14)
    phonon.save(tmp_path / "phonopy_params.yaml", settings={"force_sets": True})
    phonon.save(tmp_path / "phonopy_disp.yaml", settings={"force_sets": False, "displacements": True})
    write_FORCE_SETS(phonon.dataset, tmp_path / "FORCE_SETS")
    reference = quiet(load, tmp_path / "phonopy_params.yaml", is_compact_fc=False)
    inside = read_force_constants(tmp_path / "phonopy_params.yaml")
    (tmp_path / "phonopy_params.yaml.xz").write_bytes(lzma.compress((tmp_path / "phonopy_params.yaml").read_bytes()))
    packed = read_force_constants(tmp_path / "phonopy_params.yaml.xz")
    np.testing.assert_array_equal(packed.values_eV_per_A2, inside.values_eV_per_A2)
    beside = read_force_constants(tmp_path / "FORCE_SETS")
    assert inside.origin.settings["layout"] == "type 2"
    np.testing.assert_allclose(inside.values_eV_per_A2, reference.force_constants, atol=1e-10)
    np.testing.assert_allclose(beside.values_eV_per_A2, inside.values_eV_per_A2, atol=1e-4)  # 8 decimals in the file
    assert_same_modes(inside, reference)


def test_too_few_random_displacements_are_refused(tmp_path):
    phonon = emt_phonon(displacements=1)
    phonon.save(tmp_path / "phonopy_params.yaml", settings={"force_sets": True})
    with pytest.raises(InputFileError, match=r"1 displaced supercells, which determine \d+ of 99 free force cons"):
        read_force_constants(tmp_path / "phonopy_params.yaml")


def test_finite_displacements_that_do_not_determine_the_force_constants_are_refused(tmp_path):
    phonon = emt_phonon()
    dataset = phonon.dataset
    one_atom = [one for one in dataset["first_atoms"] if one["number"] == dataset["first_atoms"][0]["number"]]
    for kept, sentence in ((one_atom, "1 of 2 independent atoms"), (one_atom[:1], "too few directions")):
        phonon.dataset = {"natom": 12, "first_atoms": kept}
        phonon.save(tmp_path / "phonopy_params.yaml", settings={"force_sets": True})
        with pytest.raises(InputFileError, match=sentence):
            read_force_constants(tmp_path / "phonopy_params.yaml")


def test_forces_of_another_calculation_are_refused(tmp_path):
    phonon = emt_phonon()
    phonon.save(tmp_path / "phonopy_disp.yaml", settings={"force_sets": False, "displacements": True})
    phonon.dataset["first_atoms"][0]["displacement"] = np.array([0.0, 0.03, 0.0])
    write_FORCE_SETS(phonon.dataset, tmp_path / "FORCE_SETS")
    with pytest.raises(InputFileError, match="belong to different calculations"):
        read_force_constants(tmp_path / "FORCE_SETS")


def test_born_charges_in_the_yaml_file_are_reported(rock_salt, tmp_path):
    phonon, _ = rock_salt
    copied = quiet(phonon.replicate)
    copied.force_constants = phonon.force_constants
    copied.nac_params = {"born": np.array([np.eye(3), -np.eye(3)]), "dielectric": 2 * np.eye(3), "factor": 14.4}
    copied.save(tmp_path / "phonopy.yaml", settings={"force_constants": True})
    found = read_force_constants(tmp_path / "phonopy.yaml")
    assert found.origin.settings["nac"] == "present, not used"
    np.testing.assert_allclose(found.values_eV_per_A2, phonon.force_constants, atol=1e-12)


def test_a_structure_given_besides_must_be_the_same(rock_salt, tmp_path):
    """The pipeline always gives structure and supercell; units and masses still come from the YAML file."""
    phonon, _ = rock_salt
    phonon.save(tmp_path / "phonopy.yaml", settings={"force_constants": True})
    write_FORCE_CONSTANTS(phonon.force_constants, tmp_path / "FORCE_CONSTANTS")
    crystal = read_structure(tmp_path / "phonopy.yaml")
    options = {"structure": crystal, "supercell_matrix": [1, 1, 2]}
    alone = read_force_constants(tmp_path / "phonopy.yaml")
    for name in ("phonopy.yaml", "FORCE_CONSTANTS"):
        found = read_force_constants(tmp_path / name, **options)
        np.testing.assert_allclose(found.values_eV_per_A2, alone.values_eV_per_A2, atol=1e-12)
        np.testing.assert_array_equal(found.supercell.masses_amu, alone.supercell.masses_amu)
    larger = Crystal(cell_A=1.01 * crystal.cell_A, positions_A=1.01 * crystal.positions_A, numbers=crystal.numbers)
    for name in ("phonopy.yaml", "FORCE_CONSTANTS"):
        with pytest.raises(InputFileError, match="is of another unit cell"):
            read_force_constants(tmp_path / name, structure=larger, supercell_matrix=[1, 1, 2])


def test_masses_of_the_file_are_kept(rock_salt, tmp_path):
    phonon, _ = rock_salt
    heavy = quiet(phonon.replicate)
    heavy.masses = [30.0, 40.0]
    heavy.force_constants = phonon.force_constants
    heavy.save(tmp_path / "phonopy.yaml", settings={"force_constants": True})
    found = read_force_constants(tmp_path / "phonopy.yaml")
    assert set(found.supercell.masses_amu) == {30.0, 40.0}
    assert_same_modes(found, heavy)


def test_cell_of_phonopy_keeps_order_and_masses(rock_salt):
    phonon, folder = rock_salt
    crystal = read_structure(folder / "phonopy_disp.yaml")
    cell = phonopy_cell(crystal)
    assert list(cell.symbols) == list(phonon.unitcell.symbols)
    np.testing.assert_allclose(cell.positions, phonon.unitcell.positions, atol=1e-12)
    np.testing.assert_allclose(cell.masses, phonon.unitcell.masses)


CASES = [
    ("FORCE_CONSTANTS", b"16 16\n", "announces 16 × 16 pairs"),
    ("FORCE_CONSTANTS", b"16 16\n1 1\n0 0 0\n", "holds 5; it is truncated"),
    ("FORCE_CONSTANTS", b"64 64\n", r"shape \(64, 64, 3, 3\), but the supercell has 16 atoms"),
    ("FORCE_CONSTANTS", b"1000000000 16\n", "line 1 must be"),
    ("FORCE_CONSTANTS", b"", "is empty"),
    ("FORCE_SETS", b"64\n1\n\n1\n0 0 .01\n", "forces on 64 atoms, but the supercell has 16"),
    ("FORCE_SETS", b"16\n1000000\n\n1\n0 0 .01\n", "announces 1000000 displacements"),
    (
        "FORCE_SETS",
        b"16\n1\n\n1\n0 0 .01\n" + b"0 0 0\n" * 15,
        "announces 1 displacements, which is 20 lines, but hold",
    ),
    ("FORCE_SETS", b"16\n1\n\n17\n0 0 .01\n" + b"0 0 0\n" * 16, "moves an atom outside 1–16"),
    ("FORCE_SETS", b"16\n1\n\n1\n0 0 .01\n" + b"0 0 nan\n" * 16, "forces must be finite; got 16 NaN"),
    ("FORCE_SETS", b"16\n1\n\n1\n0 0 0\n" + b"0 0 0\n" * 16, "moves nothing"),
    ("FORCE_SETS", b"0 0 0 0 0 0\n" * 17, "not a multiple of the supercell's 16 atoms"),
    ("FORCE_SETS", b"a b\n", "line 1 must be the number of atoms"),
    ("forces.txt", b"16 16\n", "the format follows from the name"),
    ("fc.hdf5", b"\x89HDF\r\n\x1a\n" + b"\0" * 100, "cannot be read as an HDF5 file"),
]


@pytest.mark.parametrize(("name", "content", "sentence"), CASES)
def test_malformed_files_give_one_sentence(rock_salt, tmp_path, name, content, sentence):
    (tmp_path / "phonopy_disp.yaml").write_bytes((rock_salt[1] / "phonopy_disp.yaml").read_bytes())
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputFileError, match=sentence) as caught:
        read_force_constants(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_hdf5_is_judged_by_its_shape_before_it_is_read(rock_salt, tmp_path):
    (tmp_path / "phonopy_disp.yaml").write_bytes((rock_salt[1] / "phonopy_disp.yaml").read_bytes())
    with h5py.File(tmp_path / "huge.hdf5", "w") as stream:  # 7 × 10²⁰ bytes if they were there
        stream.create_dataset("force_constants", shape=(3_000_000,) * 2 + (3_000, 3_000), dtype="f8", chunks=True)
    with pytest.raises(InputFileError, match=r"supercell has 16 atoms"):
        read_force_constants(tmp_path / "huge.hdf5")
    values = np.zeros((16, 16, 3, 3))
    with h5py.File(tmp_path / "unit.hdf5", "w") as stream:
        stream["force_constants"] = values
        stream["physical_unit"] = ["furlong"]
    with pytest.raises(InputFileError, match="unknown unit 'furlong' of force constants; expected one of eV/angstrom"):
        read_force_constants(tmp_path / "unit.hdf5")
    with h5py.File(tmp_path / "nan.hdf5", "w") as stream:
        stream["force_constants"] = values * np.nan
    with pytest.raises(InputFileError, match="NaN or infinite force constants"):
        read_force_constants(tmp_path / "nan.hdf5")


def test_hdf5_cannot_read_other_files(rock_salt, tmp_path):
    (tmp_path / "phonopy_disp.yaml").write_bytes((rock_salt[1] / "phonopy_disp.yaml").read_bytes())
    (tmp_path / "secret").write_bytes(b"\0" * (16 * 16 * 9 * 8))
    with h5py.File(tmp_path / "other.hdf5", "w") as stream:
        stream["force_constants"] = np.zeros((16, 16, 3, 3))
    with h5py.File(tmp_path / "external.hdf5", "w") as stream:
        stream.create_dataset(
            "force_constants", shape=(16, 16, 3, 3), dtype="f8", external=[(str(tmp_path / "secret"), 0, 18432)]
        )
    with h5py.File(tmp_path / "link.hdf5", "w") as stream:
        stream["force_constants"] = h5py.ExternalLink("other.hdf5", "force_constants")
    with h5py.File(tmp_path / "virtual.hdf5", "w") as stream:
        layout = h5py.VirtualLayout(shape=(16, 16, 3, 3), dtype="f8")
        layout[:] = h5py.VirtualSource("other.hdf5", "force_constants", shape=(16, 16, 3, 3))
        stream.create_virtual_dataset("force_constants", layout)
    for name in ("external", "link", "virtual"):
        with pytest.raises(InputFileError, match="must be a plain dataset inside the file"):
            read_force_constants(tmp_path / f"{name}.hdf5")
    assert read_force_constants(tmp_path / "other.hdf5").values_eV_per_A2.shape == (16, 16, 3, 3)


def yaml_with(folder, tmp_path, old, new):
    text = (folder / "phonopy_disp.yaml").read_text()
    assert old in text
    (tmp_path / "phonopy_disp.yaml").write_text(
        text.replace(old, new) if "weight" in new else text.replace(old, new, 1)
    )
    (tmp_path / "FORCE_CONSTANTS").write_text("16 16\n")
    return tmp_path / "FORCE_CONSTANTS"


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('length: "angstrom"', 'length: "au"', "is not the unit of its calculator 'vasp'"),
        ('length: "angstrom"', 'length: "ell"', "unknown unit 'ell' of length"),
        ("phonopy:\n", "phonopy:\n  calculator: oracle\n", "unknown calculator 'oracle'"),
        ("phonopy:\n", "phonopy:\n  calculator: [1]\n", "calculator must be a name; got list"),
        ("- [   1,   0,   0 ]", "- [   0,   0,   0 ]", "positive determinant"),
        ("- [   1,   0,   0 ]", "- [ 900,   0,   0 ]", "at most 2000"),
        ("- [   1,   0,   0 ]", "- [   1,   0, 9999 ]", "no extreme shear"),
        ("- [   1,   0,   0 ]", "- [   2,   0,   0 ]", "is not unit cell times supercell matrix"),
        ("unit_cell:", "other_cell:", "holds no unit cell"),
        ("symbol: Na", "symbol: Qq", "cannot be read as a phonopy YAML file"),
        ("mass: 22", "weight: 0.5\n    mass: 22", "must be 1.0, got 0.5"),
    ],
)
def test_contradictory_yaml_gives_one_sentence(rock_salt, tmp_path, old, new, sentence):
    with pytest.raises(InputFileError, match=sentence) as caught:
        read_force_constants(yaml_with(rock_salt[1], tmp_path, old, new))
    assert "\n" not in str(caught.value)


def test_what_is_missing_is_named(rock_salt, tmp_path):
    phonon, folder = rock_salt
    with pytest.raises(InputFileError, match="nowhere/FORCE_CONSTANTS does not exist"):
        read_force_constants(tmp_path / "nowhere" / "FORCE_CONSTANTS")
    (tmp_path / "FORCE_CONSTANTS").write_text("16 16\n")
    with pytest.raises(InputFileError, match=r"give the structure and the supercell matrix, or put phonopy_disp.yaml"):
        read_force_constants(tmp_path / "FORCE_CONSTANTS")
    crystal = Crystal(cell_A=np.eye(3) * 4, positions_A=[[0, 0, 0]], numbers=[29])
    with pytest.raises(InputFileError, match="give the supercell matrix"):
        read_force_constants(tmp_path / "FORCE_CONSTANTS", structure=crystal)
    for matrix in ([1, 2], [1.5, 1, 1], "abc", [[1, 0, 0]] * 3):
        with pytest.raises(InputFileError, match="supercell matrix"):
            read_force_constants(tmp_path / "FORCE_CONSTANTS", structure=crystal, supercell_matrix=matrix)
    with pytest.raises(InputFileError, match="unknown calculator 'oracle'"):
        read_force_constants(
            tmp_path / "FORCE_CONSTANTS", structure=crystal, supercell_matrix=[1, 1, 1], calculator="oracle"
        )
    with pytest.raises(InputFileError, match="neither force constants nor forces"):
        read_force_constants(folder / "phonopy_disp.yaml")
    with pytest.raises(
        InputFileError,
        match=r"is of another unit cell \(Na4Cl4, 175.616 Å³\) than the structure given \(Cu, 64.000 Å³\)",
    ):
        read_force_constants(folder / "phonopy_disp.yaml", structure=crystal)
    with pytest.raises(InputFileError, match="give the supercell that phonopy was run with"):
        read_force_constants(folder / "phonopy_disp.yaml", supercell_matrix=[2, 2, 2])
    phonon = emt_phonon()
    phonon.save(tmp_path / "phonopy_disp.yaml", settings={"force_sets": False, "displacements": True})
    with pytest.raises(InputFileError, match="displacements but no forces"):
        read_force_constants(tmp_path / "phonopy_disp.yaml")
