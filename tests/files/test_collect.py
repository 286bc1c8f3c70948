"""Displaced supercells written, computed elsewhere, collected: against phonopy, pymatgen and direct differences."""

from __future__ import annotations

import gzip
import lzma
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT
from phonopy import load
from phonopy.file_IO import parse_FORCE_SETS
from phonopy.interface.calculator import get_calc_dataset
from phonopy.interface.vasp import parse_set_of_forces, read_vasp

sys.path.insert(0, str(Path(__file__).parent))
from vasprun import vasprun_text

from phonograph.cli import main
from phonograph.errors import ConfigurationError, InputFileError
from phonograph.files.collect import collect_forces
from phonograph.files.displacements import write_displacements
from phonograph.files.force_constants import announced_calculation, read_force_constants
from phonograph.files.phonopy_yaml import read_phonopy_yaml
from phonograph.files.structures import read_structure, write_poscar
from phonograph.files.vasprun import parse_vasprun
from phonograph.lattice import normal_modes
from phonograph.types import Crystal


@pytest.fixture(scope="module")
def alloy() -> Crystal:
    """Ordered CuAu, tetragonal: two elements, few displacements."""
    cell = np.diag([2.8, 2.8, 3.7])
    return Crystal(cell_A=cell, positions_A=[[0, 0, 0], [1.4, 1.4, 1.85]], numbers=[29, 79], title="CuAu")


def emt(cell) -> tuple[np.ndarray, float]:
    atoms = Atoms(symbols=cell.symbols, cell=cell.cell, positions=cell.positions, pbc=True)
    atoms.calc = EMT()
    return atoms.get_forces(), atoms.get_potential_energy()


def compute(folder: Path, name: str, where: str | None = None, change=None, **options) -> Path:
    """Do what the user's VASP would: read a POSCAR of the folder, leave vasprun.xml in ``where``."""
    cell = read_vasp(folder / name)
    forces, energy = emt(cell)
    if change is not None:
        forces = change(forces)
    target = folder / (where or name.replace("POSCAR", "disp")) / "vasprun.xml"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(vasprun_text(list(cell.symbols), cell.cell, cell.scaled_positions, forces, energy, **options))
    return target


def direct(supercell: Crystal, length: float = 1e-3) -> np.ndarray:
    """Force constants by central differences of EMT's forces, one coordinate after the other."""
    n = len(supercell)
    values = np.zeros((n, n, 3, 3))
    for j in range(n):
        for axis in range(3):
            found = []
            for sign in (1, -1):
                positions = supercell.positions_A.copy()
                positions[j, axis] += sign * length
                atoms = Atoms(numbers=supercell.numbers, cell=supercell.cell_A, positions=positions, pbc=True)
                atoms.calc = EMT()
                found.append(atoms.get_forces())
            values[:, j, :, axis] = -(found[0] - found[1]) / (2 * length)
    return values


def harmonic_results(folder: Path, names) -> np.ndarray:
    """Leave results whose forces are exactly harmonic; return the force constants (EMT's, symmetrised)."""
    supercell = read_structure(folder / "SPOSCAR")
    values = direct(supercell)
    values = 0.5 * (values + values.transpose(1, 0, 3, 2))
    values[np.arange(len(values)), np.arange(len(values))] -= values.sum(axis=1)
    for name in names:
        u = read_vasp(folder / name).positions - supercell.positions_A
        u -= np.round(u @ np.linalg.inv(supercell.cell_A)) @ supercell.cell_A
        compute(folder, name, change=lambda _, u=u: -np.einsum("ijab,jb->ia", values, u))
    return values


def frequencies(constants) -> np.ndarray:
    return normal_modes(constants.values_eV_per_A2, constants.supercell.masses_amu).frequencies_THz


# --- writing --------------------------------------------------------------------------------------------------------


def test_what_is_written_is_what_phonopy_reads(alloy, tmp_path):
    written = write_displacements(alloy, [2, 2, 1], tmp_path / "vasp", displacement_A=0.03)
    assert written.atoms == 8
    phonon = load(tmp_path / "vasp" / "phonopy_disp.yaml", produce_fc=False)
    cells = phonon.supercells_with_displacements
    assert [*written.names] == [f"POSCAR-{i:03d}" for i in range(1, len(cells) + 1)]
    for name, cell in zip(written.names, cells, strict=True):
        mine = read_vasp(tmp_path / "vasp" / name)
        assert list(mine.symbols) == list(cell.symbols)
        np.testing.assert_allclose(mine.positions, cell.positions, atol=1e-12)
    lengths = [np.linalg.norm(one["displacement"]) for one in phonon.dataset["first_atoms"]]
    np.testing.assert_allclose(lengths, 0.03, rtol=1e-6)
    assert "POSCAR-001" in (tmp_path / "vasp" / "NEXT_STEPS.txt").read_text()
    np.testing.assert_allclose(
        read_vasp(tmp_path / "vasp" / "SPOSCAR").cell, np.diag([2, 2, 1]) @ alloy.cell_A, atol=1e-12
    )


def test_quantum_espresso_gets_bohr_and_cp2k_a_file_to_include(alloy, tmp_path):
    for calculator, end in (("qe", "in"), ("cp2k", "inc")):
        folder = tmp_path / calculator
        written = write_displacements(alloy, [2, 1, 1], folder, displacement_A=0.03, calculator=calculator)
        assert written.names[0] == f"supercell-001.{end}"
        file = read_phonopy_yaml(folder / "phonopy_disp.yaml")
        assert file.units.calculator == calculator
        np.testing.assert_allclose(file.crystal.cell_A, alloy.cell_A, rtol=1e-12)
        moved = [np.linalg.norm(one["displacement"]) for one in file.dataset["first_atoms"]]
        np.testing.assert_allclose(moved, 0.03, rtol=1e-8)
    lines = (tmp_path / "qe" / "supercell-001.in").read_text().splitlines()
    start = lines.index("CELL_PARAMETERS bohr")
    cell = np.array([line.split() for line in lines[start + 1 : start + 4]], dtype=float)
    np.testing.assert_allclose(cell * 0.529177210, np.diag([2, 1, 1]) @ alloy.cell_A, rtol=1e-8)
    rows = [line.split() for line in lines[lines.index("ATOMIC_POSITIONS crystal") + 1 :]]
    assert [row[0] for row in rows] == ["Cu", "Cu", "Au", "Au"]
    text = (tmp_path / "cp2k" / "supercell-001.inc").read_text().split()
    assert text.count("Cu") == 2
    assert text[:2] == ["&CELL", "A"]
    assert float(text[2]) == pytest.approx(5.6, abs=1e-12)


def test_random_displacements_have_their_length_and_do_not_depend_on_their_number(alloy, tmp_path):
    few = write_displacements(alloy, [2, 2, 1], tmp_path / "few", random=3, seed=4)
    write_displacements(alloy, [2, 2, 1], tmp_path / "many", random=5, seed=4)
    write_displacements(alloy, [2, 2, 1], tmp_path / "other", random=3, seed=5)
    sets = {
        name: read_phonopy_yaml(tmp_path / name / "phonopy_disp.yaml").dataset["displacements"]
        for name in ("few", "many", "other")
    }
    assert few.random
    np.testing.assert_allclose(np.linalg.norm(sets["few"], axis=2), 0.02, rtol=1e-6)
    np.testing.assert_allclose(sets["few"], sets["many"][:3], atol=1e-12)
    assert np.abs(sets["few"] - sets["other"]).max() > 0.01
    moved, rest = (read_vasp(tmp_path / "few" / name) for name in ("POSCAR-002", "SPOSCAR"))
    apart = moved.scaled_positions - rest.scaled_positions
    np.testing.assert_allclose((apart - np.round(apart)) @ rest.cell, sets["few"][1], atol=1e-12)


def test_too_few_random_supercells_are_refused_before_anyone_computes_them(tmp_path):
    """No symmetry: Φ of n atoms has 3n(3n + 1)/2 entries less those of translations; k supercells give rank < 3nk."""
    rng = np.random.default_rng(0)
    low = Crystal(cell_A=np.diag([3.0, 3.3, 3.7]) + 0.2 * rng.random((3, 3)), numbers=[29, 79, 47],
                  positions_A=[[0, 0, 0], [1.5, 1.4, 0.2], [0.3, 1.7, 1.9]])  # fmt: skip
    unknowns, coordinates = 6 * 7 // 2, 6
    for count in (2, 3):
        rank = count * coordinates - count * (count - 1) // 2
        assert rank < unknowns
        with pytest.raises(
            ConfigurationError, match=f"{count} random supercells determine {rank} of the {unknowns} fr"
        ):
            write_displacements(low, [1, 1, 1], tmp_path / "low", random=count)
    assert not (tmp_path / "low").exists()
    # Six supercells give as many independent equations as unknowns; counting 9 forces each, three would have done.
    write_displacements(low, [1, 1, 1], tmp_path / "low", random=6)


def test_a_thousand_supercells_have_numbers_of_one_width(tmp_path):
    chain = Crystal(cell_A=np.eye(3) * 2.9, positions_A=np.zeros((1, 3)), numbers=[29])
    written = write_displacements(chain, [2, 1, 1], tmp_path / "many", random=1000)
    assert (written.names[0], written.names[-1]) == ("POSCAR-0001", "POSCAR-1000")
    compute(tmp_path / "many", "POSCAR-0007")
    found = collect_forces(tmp_path / "many")
    assert found.present == ("POSCAR-0007",)
    assert (tmp_path / "many" / "forces" / "force-0007.json").is_file()


def test_a_folder_with_something_in_it_is_kept(alloy, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "OUTCAR").write_text("days of work")
    with pytest.raises(ConfigurationError, match="exists and is kept"):
        write_displacements(alloy, [1, 1, 1], tmp_path / "mine")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    for options, sentence in (
        ({"displacement_A": 0.0}, "displacement must lie above 0"),
        ({"displacement_A": float("nan")}, "displacement must lie above 0"),
        ({"calculator": "abinit"}, "must be one of vasp, qe, cp2k"),
        ({"random": 0}, "must lie in 1–10000"),
    ):
        with pytest.raises(ConfigurationError, match=sentence):
            write_displacements(alloy, [1, 1, 1], tmp_path / "new", **options)
    with pytest.raises(InputFileError, match="3 or 3 × 3 integers"):
        write_displacements(alloy, [1, 1], tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


# --- real files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("material", ["Si-QE", "NaCl-CP2K"])
def test_real_outputs_give_what_phonopy_makes_of_them(real_data, tmp_path, material):
    """phonopy's own steps: parse the outputs, write FORCE_SETS, solve; the factors of the units are common to both."""
    folder = tmp_path / material
    shutil.copytree(real_data / material, folder)
    outputs = sorted([*folder.glob("*.out"), *folder.glob("*forces-1_0.xyz")])
    file, phonon = announced_calculation(folder / "phonopy_disp.yaml")
    calculation = get_calc_dataset(file.units.calculator, len(phonon.supercell), outputs, verbose=False)
    phonon.dataset = file.dataset
    phonon.forces = np.array(calculation["forces"]) * file.units.force_eV_per_A
    phonon.produce_force_constants(calculate_full_force_constants=True, show_drift=False)
    phonon.symmetrize_force_constants(use_symfc_projector=True, show_drift=False)
    wanted = normal_modes(phonon.force_constants, phonon.supercell.masses).frequencies_THz

    found = collect_forces(folder)
    assert len(found.present) == len(found.new) == len(outputs)
    assert found.force_sets == folder / "FORCE_SETS"
    np.testing.assert_allclose(frequencies(read_force_constants(found.force_sets)), wanted, rtol=1e-8, atol=1e-8)
    assert collect_forces(folder).new == ()
    for one, theirs in zip(
        parse_FORCE_SETS(filename=found.force_sets)["first_atoms"], calculation["forces"], strict=True
    ):
        np.testing.assert_allclose(one["forces"], theirs, atol=1e-15)


@pytest.mark.parametrize("material", ["Si-QE", "NaCl-CP2K"])
def test_half_of_a_real_output_is_named_and_not_used(real_data, tmp_path, material):
    shutil.copytree(real_data / material, tmp_path / "cut")
    path = sorted([*(tmp_path / "cut").glob("*-001.out"), *(tmp_path / "cut").glob("*-001-forces-1_0.xyz")])[0]
    text = path.read_text()
    lines = text.splitlines()
    for cut in (text[: len(text) // 2], "\n".join(lines[: int(0.98 * len(lines))]) + "\n"):
        path.write_text(cut)
        found = collect_forces(tmp_path / "cut")
        assert found.force_sets is None
        ((name, sentence),) = found.broken
        assert name == "supercell-001"
        assert "unfinished, or the copy is cut" in sentence
        assert "\n" not in sentence


def test_qe_outputs_that_do_not_belong_are_refused(real_data, tmp_path):
    shutil.copytree(real_data / "Si-QE", tmp_path / "si")
    path = tmp_path / "si" / "supercell-001.out"
    text = path.read_text()
    site = "tau(   2) = (   0.9375000"
    for old, new, sentence in (
        ("convergence has been achieved", "convergence NOT achieved", "did not converge"),
        (site, "tau(   2) = (   0.9475000", r"is not supercell-001: atoms are up to 0\.1"),
        ("celldm(1)=  20.659106", "celldm(1)=  20.859106", "another lattice than the supercell"),
        ("Forces acting on atoms", "Nothing acting on atoms", "does not hold the forces on 64 atoms"),
        ("force =    -0.00533367", "force =            NaN", "NaN or infinite forces"),
        (" Si  tau(   5)", " Ge  tau(   5)", "atom 5 is Ge instead of Si"),
    ):
        assert old in text
        path.write_text(text.replace(old, new))
        ((_, found),) = collect_forces(tmp_path / "si").broken
        assert re.search(sentence, found), found


# --- VASP -----------------------------------------------------------------------------------------------------------


def test_our_vasprun_is_one_for_pymatgen_and_phonopy(alloy, tmp_path):
    from pymatgen.io.vasp import Vasprun

    write_displacements(alloy, [2, 2, 1], tmp_path / "d")
    path = compute(tmp_path / "d", "POSCAR-001")
    cell = read_vasp(tmp_path / "d" / "POSCAR-001")
    forces, energy = emt(cell)
    run = Vasprun(path, parse_dos=False, parse_eigen=False, parse_potcar_file=False)
    assert run.converged
    np.testing.assert_allclose(run.ionic_steps[-1]["forces"], forces, atol=1e-8)
    np.testing.assert_allclose(run.final_structure.frac_coords, cell.scaled_positions, atol=1e-8)
    assert [site.specie.symbol for site in run.final_structure] == list(cell.symbols)
    assert run.final_energy == pytest.approx(energy, abs=1e-7)
    theirs = parse_set_of_forces(8, [path], verbose=False)
    np.testing.assert_allclose(theirs["forces"][0], forces, atol=1e-8)


def test_spin_fixed_atoms_and_atoms_on_faces_do_not_disturb_a_vasprun(alloy, tmp_path):
    write_displacements(alloy, [2, 2, 1], tmp_path / "d")
    path = compute(tmp_path / "d", "POSCAR-001")
    plain = parse_vasprun(path)
    fixed = '  <varray name="selective" >' + 8 * '<v type="logical" > T  F  T </v>' + "</varray>\n </structure>"
    levels = '<set comment="kpoint 1"><r> -1.0 0.5 </r></set>'
    rows = "".join(f'<set comment="spin {spin}">{levels}</set>' for spin in (1, 2))
    spins = f"<eigenvalues><array><set>{rows}</set></array></eigenvalues></calculation>"
    text = path.read_text().replace('name="ISPIN">1', 'name="ISPIN">2')
    text = text.replace(" </structure>", fixed).replace("</calculation>", spins)
    # An atom on a face of the cell may stand at 0 or at 1.
    blocks = re.compile(r'<varray name="positions" >.*?</varray>', re.DOTALL)
    path.write_text(blocks.sub(lambda block: block[0].replace(" 0.00000000", " 1.00000000"), text))
    other = parse_vasprun(path)
    assert np.ptp(other.fractional - plain.fractional) == 1.0
    np.testing.assert_array_equal(other.forces_eV_per_A, plain.forces_eV_per_A)
    assert collect_forces(tmp_path / "d").present == ("POSCAR-001",)


def test_vasp_round_trip_equals_direct_finite_differences(alloy, tmp_path):
    folder = tmp_path / "d"
    written = write_displacements(alloy, [2, 2, 1], folder, displacement_A=0.001)
    for name in written.names:
        compute(folder, name)
    found = collect_forces(folder)
    assert found.present == written.names
    assert found.missing == found.broken == ()
    constants = read_force_constants(found.force_sets)
    reference = direct(constants.supercell)
    # 8 decimals of a force over 0.001 Å are 1e-5; with the displacement of 0.001 Å anharmonicity is below that.
    np.testing.assert_allclose(constants.values_eV_per_A2, reference, atol=3e-5)


def test_exact_forces_give_exact_force_constants(alloy, tmp_path):
    """With harmonic forces, all that is left is the rounding of the files: 1e-8 / 0.02 Å."""
    written = write_displacements(alloy, [2, 2, 1], tmp_path / "d")
    values = harmonic_results(tmp_path / "d", written.names)
    constants = read_force_constants(collect_forces(tmp_path / "d").force_sets)
    np.testing.assert_allclose(constants.values_eV_per_A2, values, atol=1e-6)


LAYOUTS = ["disp-{}/vasprun.xml", "{}/vasprun.xml", "runs/POSCAR-{}/vasprun.xml", "vasprun.xml-{}", "vasprun-{}.xml",
           "runs/disp-{}/static/vasprun.xml", "disp-{}/vasprun.xml.gz", "disp-{}/vasprun.xml.xz"]  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_common_layouts_are_found(alloy, tmp_path, layout):
    written = write_displacements(alloy, [1, 1, 1], tmp_path / "d")
    for name in written.names:
        data = compute(tmp_path / "d", name, where="elsewhere").read_bytes()
        target = tmp_path / "d" / layout.format(name.removeprefix("POSCAR-"))
        target.parent.mkdir(parents=True, exist_ok=True)
        packed = {".gz": gzip.compress, ".xz": lzma.compress}.get(target.suffix)
        target.write_bytes(packed(data) if packed else data)
    shutil.rmtree(tmp_path / "d" / "elsewhere")
    found = collect_forces(tmp_path / "d")
    assert found.present == written.names, found
    assert found.force_sets is not None


def test_results_elsewhere_are_named(alloy, tmp_path):
    written = write_displacements(alloy, [1, 1, 1], tmp_path / "d")
    for name in written.names:
        compute(tmp_path / "d", name, where=f"../cluster/{name}")
    assert collect_forces(tmp_path / "d").missing == written.names
    found = collect_forces(tmp_path / "d", [tmp_path / "cluster"])
    assert found.present == written.names
    with pytest.raises(InputFileError, match="does not exist"):
        collect_forces(tmp_path / "d", [tmp_path / "nowhere"])


@pytest.fixture
def partly(tmp_path):
    """Two independent atoms, so that no displacement can be spared; the last is not there yet."""
    crystal = Crystal(cell_A=np.diag([2.8, 2.9, 3.7]), positions_A=[[0, 0, 0], [1.4, 1.45, 1.85]], numbers=[29, 79])
    write_poscar(crystal, tmp_path / "POSCAR")
    arguments = ["displace", str(tmp_path / "POSCAR"), "-o", str(tmp_path / "d"), "--supercell", "2", "1", "1"]
    assert main(arguments) == 0
    names = sorted(path.name for path in (tmp_path / "d").glob("POSCAR-*"))
    for name in names[:-1]:
        compute(tmp_path / "d", name)
    return tmp_path / "d", names


def test_what_arrived_is_kept_when_some_are_missing(partly, capsys):
    folder, names = partly
    capsys.readouterr()
    assert main(["collect", str(folder)]) == 2
    shown = capsys.readouterr()
    assert f"missing  {names[-1]}" in shown.out
    assert shown.err.count("\n") == 1
    assert f"{len(names) - 1} of {len(names)} results are collected ({len(names) - 1} new) and kept" in shown.err
    assert f"needed: {names[-1]}" in shown.err
    assert not (folder / "FORCE_SETS").exists()
    stored = {path.name: path.stat().st_mtime_ns for path in (folder / "forces").iterdir()}
    # The scratch space of the cluster is emptied: what was collected stays.
    shutil.rmtree(folder / "disp-001")
    compute(folder, names[-1])
    assert main(["collect", str(folder)]) == 0
    assert f"{len(names)} of {len(names)} results are collected (1 new); wrote" in capsys.readouterr().out
    again = {path.name: path.stat().st_mtime_ns for path in (folder / "forces").iterdir()}
    assert {name: again[name] for name in stored} == stored
    constants = read_force_constants(folder / "FORCE_SETS")
    assert len(constants.supercell) == 4
    before = (folder / "FORCE_SETS").read_bytes()
    assert main(["collect", str(folder)]) == 0
    assert (folder / "FORCE_SETS").read_bytes() == before


def test_a_broken_result_does_not_lose_the_good_one(partly):
    folder, names = partly
    compute(folder, names[-1])
    first = collect_forces(folder)
    target = folder / "disp-001" / "vasprun.xml"
    target.write_text(target.read_text()[:-400])
    second = collect_forces(folder)
    assert second.present == first.present
    ((name, sentence),) = second.broken
    assert name == "POSCAR-001"
    assert "unfinished" in sentence
    assert sentence.endswith("the result collected before is kept")
    compute(folder, names[0], change=lambda forces: 2 * forces)
    assert collect_forces(folder).new == ("POSCAR-001",)


def test_missing_supercells_that_the_others_replace_are_told(alloy, tmp_path):
    written = write_displacements(alloy, [2, 2, 1], tmp_path / "d", random=4)
    harmonic_results(tmp_path / "d", written.names[1:])
    found = collect_forces(tmp_path / "d")
    assert found.missing == ("POSCAR-001",)
    assert found.force_sets is not None
    assert "3 of 4 displaced supercells determine the force constants" in found.notes[-1]
    partial = read_force_constants(found.force_sets)
    values = harmonic_results(tmp_path / "d", written.names)
    whole = read_force_constants(collect_forces(tmp_path / "d").force_sets)
    for constants in (partial, whole):
        np.testing.assert_allclose(constants.values_eV_per_A2, values, atol=1e-5)


def test_forces_at_rest_are_taken_off(partly):
    """A constant force on every atom, added to all results, disappears."""
    folder, names = partly
    push = np.random.default_rng(0).normal(size=(4, 3))
    for name in names:
        compute(folder, name)
    clean = read_force_constants(collect_forces(folder).force_sets)
    for name in names:
        compute(folder, name, change=lambda forces: forces + push)
    pushed = read_force_constants(collect_forces(folder).force_sets)
    assert np.abs(pushed.values_eV_per_A2 - clean.values_eV_per_A2).max() > 1
    compute(folder, "SPOSCAR", where="disp-000", change=lambda forces: forces + push)
    found = collect_forces(folder)
    assert "were taken off" in found.notes[0]
    np.testing.assert_allclose(
        read_force_constants(found.force_sets).values_eV_per_A2, clean.values_eV_per_A2, atol=5e-6
    )


def test_a_force_sets_of_someone_else_is_kept(partly):
    folder, names = partly
    compute(folder, names[-1])
    (folder / "FORCE_SETS").write_text("by hand\n")
    with pytest.raises(InputFileError, match="was written by something else and is kept"):
        collect_forces(folder)
    assert (folder / "FORCE_SETS").read_text() == "by hand\n"


BOMB = """<?xml version="1.0"?>
<!DOCTYPE modeling [ <!ENTITY a "aaaaaaaaaa"> <!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"> ]>
<modeling>&b;</modeling>
"""
FOREIGN = '<?xml version="1.0"?>\n<!DOCTYPE m SYSTEM "file:///etc/passwd">\n<modeling></modeling>\n'


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda text: text[: len(text) // 2], "unfinished, or the copy is cut"),
        (lambda text: text[:-20], "unfinished, or the copy is cut"),
        (lambda text: "", "is empty"),
        (lambda _: BOMB, "declares XML entities or a document type"),
        (lambda _: FOREIGN, "declares XML entities or a document type"),
        (lambda text: text.replace('name="NELM">60', 'name="NELM">8'), r"all 8 electronic steps \(NELM\) were used"),
        (lambda text: text.replace("<calculation>", "<calculation></calculation><calculation>", 1), "holds 1 sets of"),
        (
            lambda text: re.sub(r"( <calculation>.*</calculation>\n)", r"\1\1", text, flags=re.DOTALL),
            "2 ionic steps; expected one",
        ),
        (lambda text: text.replace("<c>Cu</c><c>   1", "<c>Ag</c><c>   1"), "atom 1 is Ag instead of Cu"),
        (lambda text: text.replace('name="forces"', 'name="fources"'), "holds 0 sets of forces in 1 ionic steps"),
        (lambda text: text.replace("2.90000000", "2.91000000"), "another lattice than the supercell"),
    ],
)
def test_a_vasprun_that_cannot_be_used_is_named(partly, change, sentence):
    folder, _ = partly
    path = folder / "disp-001" / "vasprun.xml"
    path.write_text(change(path.read_text()))
    found = collect_forces(folder)
    ((name, told),) = found.broken
    assert name == "POSCAR-001"
    assert re.search(sentence, told), told
    assert "\n" not in told


def test_nan_forces_are_refused(partly):
    folder, names = partly
    compute(folder, names[0], change=lambda forces: np.where(np.arange(12).reshape(4, 3) == 5, np.nan, forces))
    ((_, told),) = collect_forces(folder).broken
    assert "1 NaN or infinite forces" in told


def test_another_displacement_in_the_wrong_folder_is_recognised(partly):
    folder, names = partly
    compute(folder, names[1], where="disp-001")
    ((_, told),) = collect_forces(folder).broken
    assert "is not POSCAR-001" in told
    assert "it is POSCAR-002" in told


def test_two_outputs_of_one_displacement_are_not_chosen_from(partly):
    folder, names = partly
    compute(folder, names[0], where="001")
    ((name, told),) = collect_forces(folder).broken
    assert name == "POSCAR-001"
    assert "2 outputs claim it" in told


def test_files_that_belong_to_nothing_are_named(partly):
    folder, names = partly
    compute(folder, names[0], where="disp-099")
    assert "disp-099/vasprun.xml" in collect_forces(folder).notes[0]


def test_a_store_of_other_displacements_is_refused(partly, tmp_path):
    folder, _ = partly
    collect_forces(folder)
    text = (folder / "phonopy_disp.yaml").read_text()
    (folder / "phonopy_disp.yaml").write_text(text + "\n")
    with pytest.raises(InputFileError, match="does not belong to the displacements"):
        collect_forces(folder)
    with pytest.raises(InputFileError, match=r"holds no phonopy_disp\.yaml"):
        collect_forces(tmp_path)
