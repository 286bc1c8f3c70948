"""A folder tree of pw.x calculations as a set with labels: real outputs by several routes, holes, what is refused."""

from __future__ import annotations

import csv
import gzip
import re
import shutil
from pathlib import Path

import ase.io
import numpy as np
import pytest

from phonograph.cli import main
from phonograph.config import DataSetConfig
from phonograph.errors import ConfigurationError, InputFileError
from phonograph.files.espresso_folder import find_outputs, read_espresso_folder
from phonograph.files.espresso_output import element_of, functional_named, smearing_name
from phonograph.files.espresso_text import read_text_output
from phonograph.files.espresso_tree import read_espresso_tree
from phonograph.files.espresso_xml import read_xml
from phonograph.files.labels import load_labels, save_labels
from phonograph.labels.engines.espresso import EspressoLabeller
from phonograph.types import Crystal
from phonograph.units import EV_PER_A3_IN_GPA, HARTREE_EV

ENGINE = Path(__file__).parents[1] / "3_labels" / "outputs" / "espresso"
"""Outputs with forces, stress and all bands: a run of pw.x 6.7 by the engine."""

OTHERS = Path(__file__).parent / "outputs" / "espresso"
"""Outputs of pw.x 6.7 with inputs as users write them: defaults, labels such as Si1, moves, bands, hybrids, packed."""

XML, TEXT = "data-file-schema.xml", "espresso.pwo"
COLUMNS = ("energy_eV_per_atom", "band_gap_eV", "direct_gap_eV", "vbm_eV", "cbm_eV", "hydrostatic_stress_GPa")
UPF = '<UPF version="2.0.1">\n<PP_HEADER\nelement="Si"\nz_valence="4.0"\n/>\n</UPF>\n'
METAL = {"occupations": "smearing", "spin": True, "k_mesh": (2, 2, 1), "k_shift": (1, 1, 1)}


def silicon() -> Crystal:
    """The structure of the engine's outputs."""
    a = 5.43 / 2
    positions = np.array([[0.0, 0.0, 0.0], [a / 2 + 0.05, a / 2 - 0.03, a / 2 + 0.02]])
    return Crystal(cell_A=a * (np.ones((3, 3)) - np.eye(3)), positions_A=positions, numbers=np.array([14, 14]))


def place(folder: Path, kind: str = "fixed", files: tuple[str, ...] = (XML, TEXT)) -> Path:
    folder.mkdir(parents=True)
    for name in files:
        shutil.copy(ENGINE / kind / name, folder / name)
    return folder


def unpacked(folder: Path, kind: str, *names: str) -> Path:
    """Put real outputs there as pw.x writes them, not packed."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or tuple(path.name.removesuffix(".gz") for path in (OTHERS / kind).iterdir()):
        (folder / name).write_bytes(gzip.decompress((OTHERS / kind / f"{name}.gz").read_bytes()))
    return folder


def change(path: Path, pattern: str, replacement: str, count: int = 0) -> None:
    text, found = re.subn(pattern, replacement, path.read_text(), count=count)
    assert found, pattern
    path.write_text(text)


def values(labels, row: int = 0) -> dict[str, float]:
    return {column.name: float(column.values[row]) for column in labels.columns}


def status(tree: Path, row: int = 0) -> str:
    """Return the status of a sample in a tree that also holds a finished one, so that it is read at all."""
    if not (tree / "zzz").exists():
        place(tree / "zzz")
    return read_espresso_tree(tree)[1].status[row]


# ── Numbers ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("kind", "settings"), [("fixed", {"k_mesh": (2, 2, 2)}), ("metal", METAL)])
def test_the_numbers_are_those_of_the_engine(tmp_path, kind, settings):
    """Second route: the engine, which computes and checks the same outputs, reads the same six numbers of them."""
    folder = place(tmp_path / "tree" / "a", kind)
    (tmp_path / "pseudo").mkdir()
    (tmp_path / "pseudo" / "Si.pz-vbc.UPF").write_text(UPF)
    labeller = EspressoLabeller(
        folder="unused",
        pseudopotential_folder=str(tmp_path / "pseudo"),
        version="6.7MaX",
        cutoff_Ry=12.0,
        density_cutoff_Ry=48.0,
        convergence_Ry=1e-10,
        smearing_eV=0.1,
        **settings,
    )
    (pseudo,) = labeller._pseudopotentials(("Si",))
    change(folder / TEXT, "MD5 check sum: [0-9a-f]{32}", f"MD5 check sum: {pseudo.md5}")
    expected = labeller.read_outputs(silicon(), folder)
    assert not expected.failure, expected.message
    found, labels = read_espresso_tree(tmp_path / "tree", "s")
    assert values(labels) == {name: expected.values[name] for name in COLUMNS}
    assert labels.status == ("ok",)
    np.testing.assert_allclose(found.positions_A, silicon().positions_A, atol=1e-9)
    np.testing.assert_allclose(found.cells_A[0], silicon().cell_A, atol=1e-9)


@pytest.mark.parametrize("kind", ["fixed", "metal"])
def test_the_numbers_are_those_that_ase_reads(tmp_path, kind):
    place(tmp_path / "a", kind)
    found, labels = read_espresso_tree(tmp_path)
    atoms = ase.io.read(tmp_path / "a" / TEXT, format="espresso-out")
    # ASE has units of CODATA 2006 for this program.
    assert values(labels)["energy_eV_per_atom"] == pytest.approx(atoms.get_potential_energy() / 2, rel=1e-7)
    stress = atoms.get_stress()[:3].mean() * EV_PER_A3_IN_GPA
    assert values(labels)["hydrostatic_stress_GPa"] == pytest.approx(stress, rel=2e-4)
    np.testing.assert_allclose(found.positions_A, atoms.positions, atol=1e-6)


def test_a_crystal_that_would_like_to_grow_has_a_negative_stress(tmp_path):
    """pw.x prints P > 0 (kbar) for compressed silicon; ASE's sign of its stress is negative: positive is tensile."""
    place(tmp_path / "a")
    pressure = float(re.search(r"P=\s*(\S+)", (tmp_path / "a" / TEXT).read_text())[1])
    assert pressure > 0
    assert values(read_espresso_tree(tmp_path)[1])["hydrostatic_stress_GPa"] == pytest.approx(-pressure / 10, abs=1e-3)


@pytest.mark.parametrize(
    "layout",
    [
        {XML: XML},
        {TEXT: "scf.out"},
        {XML: "si.xml", TEXT: "scf.log"},
        {XML: f"si.save/{XML}", TEXT: "slurm-17.out"},
        {XML: f"tmp/si.save/{XML}", TEXT: "scf.out"},
    ],
)
def test_every_usual_layout_gives_the_same_numbers(tmp_path, layout):
    place(tmp_path / "both" / "a")
    expected = values(read_espresso_tree(tmp_path / "both")[1])
    for source, name in layout.items():
        (tmp_path / "tree" / "a" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ENGINE / "fixed" / source, tmp_path / "tree" / "a" / name)
    found, labels = read_espresso_tree(tmp_path / "tree")
    assert found.origin.settings["folders"] == ["a"]
    assert values(labels) == pytest.approx(expected, abs=1e-4 if XML not in layout else 1e-13)
    assert set(found.origin.inputs) == {f"a/{name}" for name in layout.values()}


def test_copies_of_the_xml_file_are_one_calculation(tmp_path):
    """pw.x writes it twice, as <prefix>.xml and in <prefix>.save."""
    folder = place(tmp_path / "a")
    (folder / "si.save").mkdir()
    shutil.copy(folder / XML, folder / "si.save" / XML)
    shutil.move(folder / XML, folder / "si.xml")
    found, labels = read_espresso_tree(tmp_path)
    assert labels.status == ("ok",)
    assert set(found.origin.inputs) == {f"a/si.save/{XML}", "a/si.xml", f"a/{TEXT}"}


def test_an_xml_file_beside_the_folder_of_another_is_no_outdir(tmp_path):
    place(tmp_path / "a")
    place(tmp_path / "a" / "old", files=(XML,))
    assert read_espresso_tree(tmp_path)[0].origin.settings["folders"] == ["a", "a/old"]
    shutil.copytree(tmp_path / "a" / "old", tmp_path / "b" / "one")
    shutil.copytree(tmp_path / "a" / "old", tmp_path / "b" / "two")
    shutil.copy(ENGINE / "fixed" / TEXT, tmp_path / "b" / TEXT)
    assert read_espresso_tree(tmp_path)[0].origin.settings["folders"] == ["a", "a/old", "b", "b/one", "b/two"]


def test_occupations_that_were_listed_do_not_show_in_the_standard_output(tmp_path):
    change(place(tmp_path / "a") / XML, "<occupations>fixed", "<occupations>from_input")
    assert read_espresso_tree(tmp_path)[1].status == ("ok",)


def test_packed_files(tmp_path):
    for name in ("default-verbosity", "hybrid"):
        shutil.copytree(OTHERS / name, tmp_path / name / "packed")
        unpacked(tmp_path / name / "plain", name)
        _, labels = read_espresso_tree(tmp_path / name)
        assert values(labels, 0) == values(labels, 1)


def test_an_ordinary_input_without_forces_stress_and_high_verbosity(tmp_path):
    """Only Cartesian k points are printed; species called Si1 are silicon; the energy needs no stress beside it."""
    unpacked(tmp_path / "both", "default-verbosity")
    unpacked(tmp_path / "text", "default-verbosity", "scf.out")
    found, labels = read_espresso_tree(tmp_path)
    assert found.numbers.tolist() == [14] * 4
    assert [column.name for column in labels.columns] == list(COLUMNS[:5])
    assert labels.status == ("ok", "ok")
    assert values(labels, 0) == pytest.approx(values(labels, 1), abs=1e-4)
    xml = read_xml(tmp_path / "both" / "pwscf.xml", whole=False)
    text = read_text_output(tmp_path / "text" / "scf.out", whole=False)
    np.testing.assert_allclose(text.bands.k_points, xml.bands.k_points, atol=1e-6)
    for read, path in ((read_xml, "both/pwscf.xml"), (read_text_output, "text/scf.out")):
        with pytest.raises(InputFileError, match=r"forces"):
            read(tmp_path / path)
    place(tmp_path / "with-stress")
    _, labels = read_espresso_tree(tmp_path)
    assert labels.status == ("missing: hydrostatic_stress_GPa", "missing: hydrostatic_stress_GPa", "ok")
    assert np.isnan(labels.column("hydrostatic_stress_GPa").values).tolist() == [True, True, False]


def test_a_hundred_k_points_are_not_printed_and_leave_the_energy(tmp_path):
    unpacked(tmp_path / "a", "many-points")
    _, labels = read_espresso_tree(tmp_path)
    assert labels.status == ("failed: a: band_gap_eV: the eigenvalues were not printed",)
    energy = float(re.search(r"^!\s+total energy\s+=\s+(\S+)", (tmp_path / "a" / "scf.out").read_text(), re.M)[1])
    assert values(labels) == {"energy_eV_per_atom": pytest.approx(energy * HARTREE_EV / 4, rel=1e-12)}


def test_no_empty_bands_leave_the_energy(tmp_path):
    unpacked(tmp_path / "a", "no-empty-bands")
    _, labels = read_espresso_tree(tmp_path)
    assert "band_gap_eV: bad_input: 8 electrons leave no occupied or no empty one of 4 bands" in labels.status[0]
    etot = float(re.search(r"<etot>(.*)</etot>", (tmp_path / "a" / "pwscf.xml").read_text())[1])
    assert values(labels) == {"energy_eV_per_atom": pytest.approx(etot * HARTREE_EV / 2, rel=1e-14)}


def test_the_last_round_of_a_hybrid_functional_counts(tmp_path):
    """Each round of exchange prints energy and bands, some twice."""
    unpacked(tmp_path / "both", "hybrid")
    unpacked(tmp_path / "text", "hybrid", "scf.out")
    _, labels = read_espresso_tree(tmp_path)
    assert labels.status == ("ok", "ok")
    assert values(labels, 0) == pytest.approx(values(labels, 1), abs=1e-4)
    assert "functional = pbe0; share of exact exchange = 0.25" in labels.columns[0].engine
    change(tmp_path / "text" / "scf.out", "EXX self-consistency reached", "")
    assert "not converged: scf.out" in read_espresso_tree(tmp_path)[1].status[1]


# ── The set ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_authors_layout(tmp_path):
    """``calculations/struc-<number>`` beside ``structures_info.txt``; numbers beyond 9 sort as numbers."""
    root = tmp_path / "calculations"
    for number in range(1, 12):
        place(root / f"struc-{number:04d}" if number < 10 else root / f"struc-{number}")
    rows = [f"{n} {'Uniform 0.2' if n < 6 else 'Phononic 300'} {float(n % 2)}" for n in range(1, 12)]
    (tmp_path / "structures_info.txt").write_text("\n".join(["header", *rows]) + "\n")
    rest = Crystal(cell_A=silicon().cell_A, positions_A=5.43 / 4 * np.array([[0, 0, 0], [1, 1, 1]]), numbers=[14, 14])
    found, labels = read_espresso_tree(root, "paper", equilibrium=rest)
    folders = [f"struc-{n:04d}" for n in range(1, 10)] + ["struc-10", "struc-11"]
    assert found.origin.settings["folders"] == folders
    assert found.amplitude_A[:5].tolist() == [0.2] * 5
    assert found.temperature_K[5:].tolist() == [300.0] * 6
    assert found.fraction.tolist() == [1.0, 0.0] * 5 + [1.0]
    np.testing.assert_allclose(found.displacements_A[:2], silicon().positions_A - rest.positions_A, atol=1e-9)
    assert found.group == ("paper-00000",) * 11, "copies share a group"
    assert read_espresso_tree(root, "s", groups=folders)[0].group == tuple(folders)
    assert "structures_info.txt" in found.origin.inputs
    assert labels.origin.versions == {"Quantum ESPRESSO": "6.7MaX"}
    for words in ("pw.x 6.7MaX", "functional = pz", "ecutwfc = 12 Ry", "Si.pz-vbc.UPF", "imported"):
        assert words in labels.columns[0].engine
    (tmp_path / "structures_info.txt").write_text("header\n1 Uniform nan 1.0\n")
    with pytest.raises(InputFileError, match="line 2"):
        read_espresso_tree(root)


def test_different_meshes_are_told(tmp_path):
    place(tmp_path / "a")
    place(tmp_path / "b", files=(TEXT,))
    assert not any("k meshes differ" in words for words in read_espresso_tree(tmp_path)[1].warnings)
    place(tmp_path / "c", files=(XML,))
    change(tmp_path / "c" / XML, 'nk1="2"', 'nk1="4"')
    (note,) = [words for words in read_espresso_tree(tmp_path)[1].warnings if "k meshes differ" in words]
    assert "2 with 8, 1 with 16 points" in note
    unpacked(tmp_path / "d", "many-points")
    assert note in read_espresso_tree(tmp_path)[1].warnings, "where the mesh is not told there is nothing to compare"


# ── Holes ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_kind_of_hole_is_named_and_keeps_its_structure(tmp_path):
    place(tmp_path / "a-good")
    half = place(tmp_path / "b-cut-xml", files=(XML,)) / XML
    half.write_text(half.read_text()[: half.stat().st_size // 2])
    cut = place(tmp_path / "c-cut-text", files=(TEXT,)) / TEXT
    cut.write_text(cut.read_text().partition("JOB DONE")[0])
    place(tmp_path / "d-not-converged", "unconverged")
    place(tmp_path / "e-not-converged", "unconverged", (TEXT,))
    unpacked(tmp_path / "f-relax", "relax")
    unpacked(tmp_path / "g-relax", "relax", "scf.out")
    unpacked(tmp_path / "h-nscf", "scf-nscf", "pwscf.xml", "nscf.out")
    unpacked(tmp_path / "i-md", "md")
    unpacked(tmp_path / "j-spin-orbit", "spin-orbit")
    unpacked(tmp_path / "k-spin-orbit", "spin-orbit", "scf.out")
    change(place(tmp_path / "l-energy") / XML, r"<etot>-7", "<etot>-6")
    stopped = place(tmp_path / "m-stopped") / TEXT
    change(stopped, "     End of self", "Error in routine c_bands (1):\n too many\n     End of self")
    (tmp_path / "n-lost").mkdir()
    (tmp_path / "n-lost" / "scf.out").write_text("     Program PWSCF v.6.7MaX starts on 21Nov2026 at 16: 4:51 \n")
    (tmp_path / "o-to-do").mkdir()
    (tmp_path / "o-to-do" / "scf.in").write_text("&CONTROL\n/\n")
    (tmp_path / "p-notes").mkdir()
    (tmp_path / "p-notes" / "other.out").write_text("nothing of interest\n")
    (tmp_path / "p-notes" / "vasprun.xml").write_text("<modeling/>\n")
    found, labels = read_espresso_tree(tmp_path)
    matches = {
        "a-good": "ok",
        "b-cut-xml": "unfinished",
        "c-cut-text": "does not end in JOB DONE",
        "d-not-converged": "not converged",
        "e-not-converged": "not converged",
        "f-relax": "calculation = 'relax'",
        "g-relax": "scf.out is of a relaxation",
        "h-nscf": "calculation = 'nscf'",
        "i-md": "is of molecular dynamics",
        "j-spin-orbit": "non-collinear",
        "k-spin-orbit": "non-collinear",
        "l-energy": "differ in their total energy",
        "m-stopped": r"pw.x stopped in c_bands \(1\): too many",
    }
    assert found.origin.settings["folders"] == list(matches)
    for words, match in zip(labels.status, matches.values(), strict=True):
        assert re.search(match, words), words
        assert str(tmp_path) not in words
    assert np.isfinite(labels.column("energy_eV_per_atom").values).tolist() == [True] + [False] * 12
    np.testing.assert_allclose(found.crystal(1).positions_A, silicon().positions_A, atol=1e-9)
    np.testing.assert_allclose(found.crystal(2).positions_A, silicon().positions_A, atol=1e-6)
    np.testing.assert_allclose(found.crystal(5).positions_A, found.crystal(6).positions_A, atol=1e-5)
    assert found.crystal(5).positions_A[0].tolist() == [0, 0, 0], "where the relaxation started"
    (note,) = [words for words in labels.warnings if "folders below" in words]
    assert note.startswith("2 folders")
    assert note.endswith("n-lost, o-to-do")
    assert any("12 of 13 samples" in words for words in labels.warnings)
    save_labels(labels, tmp_path / "labels.csv")
    assert load_labels(tmp_path / "labels.csv").status == labels.status


def test_bands_after_the_static_calculation_are_left_aside(tmp_path):
    """pw.x writes the XML file of the bands over that of the static run: energy and gap are of the standard output."""
    unpacked(tmp_path / "with", "scf-nscf")
    unpacked(tmp_path / "without", "scf-nscf", "scf.out")
    _, labels = read_espresso_tree(tmp_path)
    assert labels.status == ("ok", "ok")
    assert values(labels, 0) == values(labels, 1)
    (note,) = [words for words in labels.warnings if "left aside" in words]
    assert note.startswith("2 outputs")
    assert note.endswith("with/pwscf.xml, with/nscf.out")


@pytest.mark.parametrize(
    ("name", "pattern", "replacement", "what"),
    [
        (XML, r"(index=\"2\">)2\.65", r"\g<1>2.75", "structure"),
        (XML, r"<ecutwfc>6", "<ecutwfc>7", "ecutwfc"),
        (XML, r"<functional>PZ", "<functional>PBE", "functional"),
        (XML, r"Si\.pz-vbc\.UPF", "Si.other.UPF", "pseudopotential Si"),
        (TEXT, r"(bands \(ev\):\s+)-5\.5833", r"\g<1>-5.5933", "eigenvalues"),
        (TEXT, r"force =     0", "force =     1", "forces"),
        (TEXT, r"(total   stress.*\n\s+)0", r"\g<1>1", "stress"),
        (TEXT, r"6\.7MaX", "6.8", "version"),
        (TEXT, r"convergence has been achieved", "convergence NOT achieved", "convergence"),
        (TEXT, r"(    8\.00)", "    9.00", "electrons"),
    ],
)
def test_outputs_of_two_calculations_in_one_folder_are_a_hole(tmp_path, name, pattern, replacement, what):
    folder = place(tmp_path / "a")
    change(folder / name, pattern, replacement)
    words = status(tmp_path)
    assert f"{XML} and {TEXT} differ in their {what}; they are not of one calculation" in words
    assert "give each calculation a folder of its own" in words


def test_two_standard_outputs_of_two_calculations_are_a_hole(tmp_path):
    place(tmp_path / "a")
    shutil.copy(ENGINE / "metal" / TEXT, tmp_path / "a" / "other.out")
    assert "not of one calculation" in status(tmp_path)


@pytest.mark.parametrize(
    ("pattern", "replacement", "match"),
    [
        (r"<\?xml.*\?>", '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]>', "declares XML entities"),
        (r"NAME=\"PWSCF\"", 'NAME="CP"', "was not written by pw.x"),
        (r"<status>0", "<status>1", "did not end properly"),
        (r"<nks>8", "<nks>7", "sets of eigenvalues"),
        (r"<etot>-\S+<", "<etot>nan<", "finite"),
        (r"name=\"Si\" index", 'name="Xq" index', "unknown element 'Xq'"),
        (r"<stress rank(.|\n)*</stress>", "<stress>1 2 3</stress>", "output/stress must hold 9"),
        (r"</qes:espresso>", "", "ends or breaks"),
    ],
)
def test_lying_and_foreign_xml_files(tmp_path, pattern, replacement, match):
    change(place(tmp_path / "a", files=(XML,)) / XML, pattern, replacement)
    place(tmp_path / "z")
    _, labels = read_espresso_tree(tmp_path)
    assert labels.status[-1] == "ok"
    assert len(labels.status) == 2 or any("1 folders below" in words for words in labels.warnings)
    with pytest.raises(InputFileError, match=re.escape(match)):
        read_espresso_folder(find_outputs(tmp_path / "a", [XML], []))


@pytest.mark.parametrize(
    ("pattern", "replacement", "match"),
    [
        (r"(number of atoms/cell      =            )2", r"\g<1>3", "lists 2 of 3 atoms"),
        (r"!    total energy", "     total energy", "gives the total energy 0 times"),
        (r"(JOB DONE\.)", r"\1 \1", "does not end in JOB DONE"),
        (r"-5\.5833   6\.0533", "-5.5833", "the bands must hold 64"),
        (r"tau\(   1\)", "tau(   x)", "lists"),
        (r"     Program PWSCF", "     Program PWSCF v.6.7MaX starts on\n     Program PWSCF", "the program 2 times"),
    ],
)
def test_lying_standard_outputs(tmp_path, pattern, replacement, match):
    change(place(tmp_path / "a", files=(TEXT,)) / TEXT, pattern, replacement)
    with pytest.raises(InputFileError, match=re.escape(match)):
        read_espresso_folder(find_outputs(tmp_path / "a", [TEXT], []))


# ── Two levels of theory ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("kind", "name", "pattern", "replacement", "match"),
    [
        ("fixed", XML, "<ecutwfc>6", "<ecutwfc>7", "ecutwfc is 12 in a and 14 in b"),
        ("fixed", XML, "<ecutrho>2.4", "<ecutrho>2.5", "ecutrho is 48 in a and 50 in b"),
        ("fixed", XML, "<functional>PZ", "<functional>PBE", "functional is pz in a and pbe in b"),
        ("fixed", XML, r"Si\.pz-vbc\.UPF", "Si.us.UPF", r"pseudopotential Si is Si.pz-vbc.UPF in a and Si.us.UPF in b"),
        ("fixed", XML, "<tot_charge>0", "<tot_charge>1", "charge is 0 in a and 1 in b"),
        (
            "fixed",
            XML,
            "</functional>",
            "</functional><vdW><vdw_corr>mbd</vdw_corr></vdW>",
            "dispersion is no in a and",
        ),
        ("metal", XML, r"degauss=\"3\.67", 'degauss="4.67', "degauss is 0.00734986 in a and"),
        ("metal", XML, ">mv<", ">gaussian<", "smearing is mv in a and gaussian in b"),
        ("fixed", TEXT, r"12\.0000  Ry", "13.0000  Ry", "ecutwfc is 12 in a and 13 in b"),
        ("fixed", TEXT, r"\(   1   1   0", "(   1   4   0", "functional is pz in a and pw in b"),
        ("fixed", TEXT, r"\(   1   1   0   0   0", "(   1   1   0   0   1", "functional is pz in a and other in b"),
        ("fixed", XML, "<functional>PZ", "<functional>rVV10", "functional is pz in a and other in b"),
        ("fixed", TEXT, r"(MD5 check sum: )a", r"\g<1>b", "MD5 of Si is a974"),
        ("fixed", TEXT, r"(\n!    total)", r"\n     Hubbard energy =  1 Ry\n\1", r"DFT\+U is no in a and yes in b"),
        ("metal", TEXT, "Marzari-Vanderbilt", "Fermi-Dirac", "smearing is mv in a and fd in b"),
    ],
)
def test_two_levels_of_theory_are_refused(tmp_path, kind, name, pattern, replacement, match):
    """The first folder has both files, the second the changed one alone: XML is compared with text too."""
    place(tmp_path / "a", kind)
    change(place(tmp_path / "b", kind, (name,)) / name, pattern, replacement)
    with pytest.raises(InputFileError, match=f"two levels of theory in one tree: {match}"):
        read_espresso_tree(tmp_path)


@pytest.mark.parametrize(
    ("other", "match"),
    [
        ("dispersion", "dispersion is no in a and yes in b"),
        ("hybrid", "functional is pz in a and pbe0 in b"),
        ("hubbard", "occupations is fixed in a and smearing in b"),
    ],
)
def test_real_calculations_of_two_levels_of_theory_are_refused(tmp_path, other, match):
    place(tmp_path / "a")
    unpacked(tmp_path / "b", other, "scf.out")
    with pytest.raises(InputFileError, match=match):
        read_espresso_tree(tmp_path)


def test_terms_beside_the_functional_show_in_the_standard_output(tmp_path):
    flags = {}
    for kind in ("dispersion", "hubbard", "hybrid", "spin-orbit", "default-verbosity"):
        unpacked(tmp_path / kind, kind, "scf.out")
        settings = read_text_output(tmp_path / kind / "scf.out", whole=False).settings
        flags[kind] = [name for name in ("vdW", "dftU", "hybrid", "noncolin") if settings.get(name)]
    assert list(flags.values()) == [["vdW"], ["dftU"], ["hybrid"], ["noncolin"], []]


@pytest.mark.parametrize(
    ("xml", "text", "numbers"),
    [
        ("PBE", "SLA  PW   PBX  PBC", [1, 4, 3, 4, 0, 0, 0]),
        ("PBE", "SLA PW PBE PBE", [1, 4, 3, 4, 0, 0]),
        ("LDA", "PZ", [1, 1, 0, 0]),
        ("SLA-PW-PBX-PBC", "PBE", [1, 4, 3, 4, 0, 0, 0]),
        ("revPBE", "REVPBE", [1, 4, 4, 4, 0, 0, 0]),
    ],
)
def test_names_of_functionals(xml, text, numbers):
    assert functional_named(xml) == functional_named(text, numbers)
    assert functional_named(xml) != functional_named(text, [*numbers[:4], 3])


@pytest.mark.parametrize(
    ("label", "element"),
    [("Si", "Si"), ("Si1", "Si"), ("fe_up", "Fe"), ("C-h", "C"), ("C1", "C"), ("HE", "He"), ("Oh", "O"), ("1x", "1x")],
)
def test_elements_of_labels(label, element):
    assert element_of(label) == element


@pytest.mark.parametrize("name", ["mv", "m-v", "Marzari-Vanderbilt", "cold"])
def test_names_of_smearing(name):
    assert smearing_name(name) == "mv"


# ── Trees that are none, and the configuration ──────────────────────────────────────────────────────────────────


def test_trees_without_a_calculation(tmp_path):
    (tmp_path / "empty").mkdir()
    for name, match in (("gone", "is not a folder"), ("empty", "holds no finished static pw.x calculation")):
        with pytest.raises(InputFileError, match=match):
            read_espresso_tree(tmp_path / name)
    unpacked(tmp_path / "moves" / "a", "relax")
    with pytest.raises(InputFileError, match=r"holds no finished static pw.x calculation: pwscf.xml is of calculation"):
        read_espresso_tree(tmp_path / "moves")
    place(tmp_path / "good" / "a")
    with pytest.raises(InputFileError, match="the name of a set must be"):
        read_espresso_tree(tmp_path / "good", "../x")
    with pytest.raises(InputFileError, match="groups must name 1 structures; got 2"):
        read_espresso_tree(tmp_path / "good", groups=["a", "b"])
    (tmp_path / "good" / "a" / "again").symlink_to(tmp_path / "good")
    assert len(read_espresso_tree(tmp_path / "good")[0]) == 1, "links are not followed"


TOML = """
workers = 1
[[data.sets]]
name = "si"
format = "qe-tree"
structures = "theirs"
"""


def test_from_the_configuration_to_the_table_of_labels(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    place(tmp_path / "theirs" / "a")
    place(tmp_path / "theirs" / "b", "unconverged")
    Path("c.toml").write_text(TOML)
    assert main(["label", "c.toml", "-o", "run", "-q"]) == 0
    with Path("run/3_labels/labels.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    expected = values(read_espresso_tree(tmp_path / "theirs", "si")[1])
    assert [row["sample_id"] for row in rows] == ["si-00000", "si-00001"]
    for name in COLUMNS:
        assert float(rows[0][name]) == expected[name]
        assert rows[1][name] == ""
    assert "not converged" in rows[1]["status"]
    # Another output in the folder makes another set.
    change(tmp_path / "theirs" / "a" / XML, "<ecutwfc>6", "<ecutwfc>7")
    assert main(["label", "c.toml", "-o", "run", "-q"]) == 2
    error = capsys.readouterr().err
    assert "holds no finished static pw.x calculation" in error
    assert "Traceback" not in error


def test_options_that_nothing_reads_are_refused():
    for option in ({"energy": "free"}, {"labels": "x.csv"}, {"set": "a"}, {"stress": "virials"}):
        with pytest.raises(ConfigurationError, match="would have no effect with format = 'qe-tree'; remove it"):
            DataSetConfig(name="si", structures="theirs", format="qe-tree", **option)
    assert DataSetConfig(name="si", structures="theirs", format="qe-tree", equilibrium="POSCAR").files() == (
        "theirs",
        "POSCAR",
    )
