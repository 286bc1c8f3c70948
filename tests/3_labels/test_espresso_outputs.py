"""Outputs of pw.x count only if they are complete, of this structure and these settings, and agree with each other."""

from __future__ import annotations

import hashlib
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from label_toys import configurations_of

from phonograph.errors import ConfigurationError, InputFileError
from phonograph.labels.engines.espresso import EspressoLabeller, pressure_to_stress_GPa
from phonograph.labels.engines.espresso_input import find_pseudopotential, read_pseudopotential
from phonograph.labels.execution.entry import label_with_remedies
from phonograph.labels.plan import planned
from phonograph.labels.task import calculation, rebuild, structure_bytes
from phonograph.types import Crystal
from phonograph.units import BOHR_A, EV_PER_A3_IN_GPA, HARTREE_EV

OUTPUTS = Path(__file__).parent / "outputs" / "espresso"
XML, TEXT = "data-file-schema.xml", "espresso.pwo"
UPF = '<UPF version="2.0.1">\n<PP_HEADER\nelement="{}"\nz_valence="{}"\n/>\n</UPF>\n'
ARRAYS = ("forces_eV_per_A", "stress_GPa", "eigenvalues_eV", "k_points", "k_weights")
METAL = {"occupations": "smearing", "spin": True, "k_mesh": (2, 2, 1), "k_shift": (1, 1, 1)}


def silicon(shift=0.0, length=5.43):
    a = length / 2
    positions = np.array([[0.0, 0.0, 0.0], [a / 2 + 0.05 + shift, a / 2 - 0.03, a / 2 + 0.02]])
    return Crystal(cell_A=a * (np.ones((3, 3)) - np.eye(3)), positions_A=positions, numbers=np.array([14, 14]))


@pytest.fixture
def pseudos(tmp_path):
    """A folder with a stand-in of the pseudopotential: only its header is ever read here."""
    folder = tmp_path / "pseudo"
    folder.mkdir()
    (folder / "Si.pz-vbc.UPF").write_text(UPF.format("Si", "4.000000000000e0"))
    return folder


@pytest.fixture
def labeller(pseudos):
    def make(**changes):
        return EspressoLabeller(
            **{
                "pseudopotential_folder": str(pseudos),
                "cutoff_Ry": 12.0,
                "density_cutoff_Ry": 48.0,
                "k_mesh": (2, 2, 2),
                "convergence_Ry": 1e-10,
                "provides_arrays": ARRAYS,
                "folder": str(pseudos.parent / "calculations"),
                **changes,
            }
        )

    return make


@pytest.fixture
def outputs(tmp_path, pseudos):
    """Copy the outputs of a real run of pw.x 6.7, as if made with the stand-in."""

    def copy(kind="fixed"):
        folder = tmp_path / kind
        shutil.copytree(OUTPUTS / kind, folder)
        md5 = hashlib.md5((pseudos / "Si.pz-vbc.UPF").read_bytes(), usedforsecurity=False).hexdigest()
        change(folder / TEXT, r"(MD5 check sum: )[0-9a-f]{32}", rf"\g<1>{md5}")
        return folder

    return copy


def change(path, pattern, replacement, count=1):
    text, found = re.subn(pattern, replacement, path.read_text(), count=count)
    assert found
    path.write_text(text)


def test_numbers_and_units_of_a_finished_calculation(labeller, outputs):
    folder = outputs()
    result = labeller().read_outputs(silicon(), folder)
    assert not result.failure
    text = (folder / XML).read_text()
    energy = float(re.search(r"<etot>(.*)</etot>", text)[1])
    assert result.values["energy_eV_per_atom"] == pytest.approx(energy * HARTREE_EV / 2, rel=1e-14)
    # The line "P = … kbar" is the printed pressure, rounded to 0.01 kbar.
    pressure = float(re.search(r"P=\s*(\S+)", (folder / TEXT).read_text())[1])
    assert result.values["hydrostatic_stress_GPa"] == pytest.approx(-pressure / 10, abs=1e-3)
    assert np.trace(result.arrays["stress_GPa"]) / 3 == pytest.approx(result.values["hydrostatic_stress_GPa"])
    forces = [float(word) for word in re.search(r"<forces rank[^>]*>([^<]*)<", text)[1].split()]
    np.testing.assert_allclose(result.arrays["forces_eV_per_A"].ravel(), np.array(forces) * HARTREE_EV / BOHR_A)
    levels = re.search(
        r"highest occupied, lowest unoccupied level \(ev\):\s+(\S+)\s+(\S+)", (folder / TEXT).read_text()
    )
    assert result.values["vbm_eV"] == pytest.approx(float(levels[1]), abs=1e-4)
    assert result.values["cbm_eV"] == pytest.approx(float(levels[2]), abs=1e-4)
    assert result.values["band_gap_eV"] == pytest.approx(result.values["cbm_eV"] - result.values["vbm_eV"])
    assert result.arrays["eigenvalues_eV"].shape == (1, 8, 8)
    assert np.abs(result.arrays["k_points"] * 2 - np.rint(result.arrays["k_points"] * 2)).max() < 1e-9


def test_an_output_of_another_version_than_the_program_that_is_run_is_refused(labeller, outputs, monkeypatch):
    """The engine of a label names the program's version, so an output left by an older one is not read as its own."""
    folder, command = outputs(), ("pw.x",)
    monkeypatch.setattr("phonograph.labels.engines.espresso._probe", lambda command: "6.7MaX")
    assert not labeller(command=command).read_outputs(silicon(), folder).failure
    monkeypatch.setattr("phonograph.labels.engines.espresso._probe", lambda command: "7.4")
    with pytest.raises(InputFileError, match=r"it has version 6.7MaX; expected 7.4"):
        labeller(command=command).read_outputs(silicon(), folder)


def test_mpi_does_not_bind_the_ranks_of_every_label_to_one_core(labeller):
    assert labeller().environment()["OMPI_MCA_hwloc_base_binding_policy"] == "none"


def test_a_printed_pressure_is_minus_the_stress():
    printed = np.diag([1.0, 2.0, 3.0])
    unit = HARTREE_EV / 2 / BOHR_A**3 * EV_PER_A3_IN_GPA
    np.testing.assert_allclose(pressure_to_stress_GPa(printed), -printed * unit)
    assert unit == pytest.approx(14710.5, abs=0.1)


def test_both_files_are_routes_to_the_same_numbers(labeller, outputs):
    folder = outputs()
    both = labeller().read_outputs(silicon(), folder)
    (folder / XML).rename(folder / "aside")
    text = labeller().read_outputs(silicon(), folder)
    (folder / "aside").rename(folder / XML)
    (folder / TEXT).unlink()
    xml = labeller().read_outputs(silicon(), folder)
    assert {both.failure, text.failure} == {""}
    assert both.values == xml.values
    for name, value in text.values.items():
        assert value == pytest.approx(xml.values[name], abs=2e-4), name
    for name, value in text.arrays.items():
        np.testing.assert_allclose(value, xml.arrays[name], atol=2e-4)


def test_the_standard_output_alone_does_for_meshes_that_its_points_tell(labeller, outputs):
    folder = outputs("metal")
    (folder / XML).unlink()
    with pytest.raises(InputFileError, match="does not tell a mesh such as"):
        labeller(**METAL).read_outputs(silicon(), folder)


def test_spin_smearing_and_the_levels_they_give(labeller, outputs):
    wanted = ("fermi_level_eV", "total_magnetic_moment_muB", "band_gap_eV", "vbm_eV", "cbm_eV")
    result = labeller(**METAL, provides=wanted).read_outputs(silicon(), outputs("metal"))
    assert result.arrays["eigenvalues_eV"].shape[0] == 2
    assert result.values["vbm_eV"] < result.values["fermi_level_eV"] < result.values["cbm_eV"]
    assert abs(result.values["total_magnetic_moment_muB"]) < 0.01


OTHERS = [
    {"cutoff_Ry": 11.9},
    {"density_cutoff_Ry": 50.0},
    {"k_mesh": (2, 2, 1)},
    {"k_mesh": (1, 1, 1)},
    {"k_mesh": (4, 4, 4)},
    {"k_shift": (1, 1, 1)},
    {"functional": "pbe"},
    {"occupations": "smearing"},
    {"charge_e": 2.0},
    {"spin": True, "moment_muB": 0},
    {"empty_bands": 5},
    {"symmetry": False},
    {"convergence_Ry": 1e-11},
    {"version": "7.2"},
]


@pytest.mark.parametrize("changes", OTHERS, ids=str)
def test_outputs_of_other_settings_are_refused(labeller, outputs, changes):
    folder = outputs()
    other = labeller(**changes)
    with pytest.raises(InputFileError, match="is of another calculation"):
        other.read_outputs(silicon(), folder)
    # The standard output does not say whether symmetry was used; the points have then the same weights.
    if changes != {"symmetry": False}:
        (folder / XML).unlink()
        with pytest.raises(InputFileError, match=r"is of another calculation|does not tell a mesh"):
            other.read_outputs(silicon(), folder)


WORDS = {"smearing": "smearing", "smearing_eV": "degauss", "starting_magnetisation": "starting_magnetization"}


@pytest.mark.parametrize("changes", [{"smearing": "gaussian"}, {"smearing_eV": 0.11}, {"starting_magnetisation": 0.4}])
def test_other_smearing_and_another_magnetic_start_are_refused(labeller, outputs, changes):
    """Where a crystal has several magnetic states, the start decides which is found."""
    folder = outputs("metal")
    other = labeller(**METAL | changes)
    for name in (XML, TEXT):
        with pytest.raises(InputFileError, match=rf"is of another calculation: it has {WORDS[next(iter(changes))]}"):
            other.read_outputs(silicon(), folder)
        (folder / name).unlink()


@pytest.mark.parametrize(
    "other",
    [
        silicon(shift=1e-4),
        silicon(length=5.4301),
        Crystal(cell_A=silicon().cell_A, positions_A=silicon().positions_A, numbers=np.array([14, 6])),
        Crystal(cell_A=silicon().cell_A, positions_A=silicon().positions_A[::-1], numbers=np.array([14, 14])),
        Crystal(cell_A=silicon().cell_A, positions_A=silicon().positions_A[:1], numbers=np.array([14])),
        Crystal(cell_A=silicon().cell_A[::-1], positions_A=silicon().positions_A, numbers=np.array([14, 14])),
    ],
)
@pytest.mark.parametrize("only", [XML, TEXT])
def test_outputs_of_another_structure_are_refused(labeller, outputs, other, only):
    folder = outputs()
    (folder / ({XML, TEXT} - {only}).pop()).unlink()
    with pytest.raises(InputFileError, match="is of another calculation"):
        labeller().read_outputs(other, folder)


def test_a_pseudopotential_with_the_same_name_and_other_content_is_refused(labeller, outputs, pseudos):
    folder = outputs()
    with (pseudos / "Si.pz-vbc.UPF").open("a") as stream:
        stream.write("<!-- another table -->\n")
    with pytest.raises(InputFileError, match="other pseudopotential files of the same names"):
        labeller().read_outputs(silicon(), folder)


LIES = [
    (XML, r"<etot>-7", "<etot>-8"),
    (XML, r"(<forces rank[^>]*>\s*)(-?)\d", r"\g<1>\g<2>9"),
    (XML, r"(<stress rank[^>]*>\s*)(-?)\d", r"\g<1>\g<2>4"),
    (XML, r"(<eigenvalues[^>]*>\s*-?)\d", r"\g<1>9"),
    (XML, r"(<nelec>)8", r"\g<1>7"),
    (TEXT, r"(!    total energy\s+=\s+-)1", r"\g<1>2"),
    (TEXT, r"(atom    1 type  1   force =\s+-?)\d", r"\g<1>7"),
    (TEXT, r"(number of electrons\s+=\s+)8", r"\g<1>9"),
    (TEXT, r"(bands \(ev\):\s+-)5", r"\g<1>6"),
    (TEXT, r"6\.7MaX", "6.8"),
]


@pytest.mark.parametrize(("name", "pattern", "replacement"), LIES, ids=str)
def test_files_that_contradict_each_other_are_refused(labeller, outputs, name, pattern, replacement):
    folder = outputs()
    change(folder / name, pattern, replacement)
    with pytest.raises(InputFileError):
        labeller().read_outputs(silicon(), folder)


@pytest.mark.parametrize(
    ("pattern", "replacement"),
    [
        (r"<status>0", "<status>1"),
        (r"\s*<closed [^>]*></closed>", ""),
        (r"<calculation>scf", "<calculation>nscf"),
        (r'NAME="PWSCF"', 'NAME="CP"'),
        (r"<etot>[^<]*", "<etot>nan"),
        (r"</etot>", "</etot><etot>-7.0</etot>"),
        (r"(<band_structure>\s*<lsda>false</lsda>\s*<noncolin>)false", r"\g<1>true"),
        (r"(?s)<ks_energies>.*?</ks_energies>", ""),
        (r"<nelec>8", "<nelec>6"),
        (r"(<pseudo_file>Si.pz-)vbc(.*(?:\n.*){90,}<pseudo_file>Si.pz-)vbc", r"\g<1>bhs\g<2>bhs"),
    ],
)
def test_an_xml_file_alone_must_be_finished_whole_and_of_this_kind(labeller, outputs, pattern, replacement):
    folder = outputs()
    (folder / TEXT).unlink()
    assert not labeller().read_outputs(silicon(), folder).failure
    change(folder / XML, pattern, replacement)
    with pytest.raises(InputFileError):
        labeller().read_outputs(silicon(), folder)


def test_cut_files_are_never_labels(labeller, outputs):
    folder = outputs()
    whole = {name: (folder / name).read_bytes() for name in (XML, TEXT)}
    for name, end in ((XML, b"</qes:espresso>"), (TEXT, b"JOB DONE.")):
        for other in {XML, TEXT} - {name}:
            (folder / other).unlink(missing_ok=True)
        for part in np.linspace(0, whole[name].rindex(end), 100).astype(int):
            (folder / name).write_bytes(whole[name][:part])
            with pytest.raises(InputFileError):
                labeller().read_outputs(silicon(), folder)
        (folder / name).write_bytes(whole[name])
        assert not labeller().read_outputs(silicon(), folder).failure


def test_mutated_files_give_the_same_numbers_or_one_sentence(labeller, outputs):
    """A second route guards each number, so that no single change passes."""
    folder = outputs()
    truth = labeller().read_outputs(silicon(), folder)
    whole = {name: (folder / name).read_bytes() for name in (XML, TEXT)}
    rng = np.random.default_rng(7)
    sentences = []
    for trial in range(400):
        name = (XML, TEXT)[trial % 2]
        data = bytearray(whole[name])
        # Half of the trials in the results, where a change matters.
        start = data.index((b"<total_energy", b"End of self")[trial % 2]) if trial % 4 < 2 else 0
        place = int(rng.integers(start, len(data)))
        data[place : place + int(rng.integers(0, 3))] = bytes(rng.integers(32, 127, size=int(rng.integers(0, 3))))
        (folder / name).write_bytes(bytes(data))
        try:
            result = labeller().read_outputs(silicon(), folder)
        except InputFileError as error:
            sentences.append(str(error))
        else:
            assert result.failure in ("", "not_converged")
            for key, value in result.values.items():
                assert value == pytest.approx(truth.values[key], abs=2e-4), key
            for key, array in result.arrays.items():
                np.testing.assert_allclose(array, truth.arrays[key], atol=2e-4)
        (folder / name).write_bytes(whole[name])
    assert len(sentences) > 100
    assert not any("\n" in sentence for sentence in sentences)


def test_no_self_consistency_is_told_although_the_job_is_done(labeller, outputs):
    folder = outputs("unconverged")
    assert "JOB DONE" in (folder / TEXT).read_text()
    assert labeller().read_outputs(silicon(), folder).failure == "not_converged"
    for name in (XML, TEXT):
        other = folder / ({XML, TEXT} - {name}).pop()
        kept = other.read_bytes()
        other.unlink()
        assert labeller().read_outputs(silicon(), folder).failure == "not_converged"
        other.write_bytes(kept)
    assert labeller().has_outputs(folder)
    labeller().clear_outputs(folder)
    assert not list(folder.iterdir())


def test_errors_of_the_program_are_repeated(labeller, tmp_path):
    folder = tmp_path / "failed"
    folder.mkdir()
    (folder / TEXT).write_text(
        "     Program PWSCF v.6.7MaX starts on 21Nov2026 at 15:49:34 \n %%%%%\n"
        "     Error in routine  c_bands (1):\n      too many bands are not converged\n %%%%%\n"
    )
    with pytest.raises(InputFileError, match=r"pw.x stopped in c_bands \(1\): too many bands are not converged"):
        labeller().read_outputs(silicon(), folder)


@pytest.mark.parametrize(
    "text",
    [
        '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
        "<a>" * 60 + "</a>" * 60,
        "<a/>",
        "",
        "\0",
        '<?xml version="1.0" encoding="no-such"?><a/>',
    ],
)
def test_hostile_xml_is_refused_in_one_sentence(labeller, tmp_path, text):
    folder = tmp_path / "hostile"
    folder.mkdir()
    (folder / XML).write_text(text)
    with pytest.raises(InputFileError):
        labeller().read_outputs(silicon(), folder)


def test_waiting_for_files(labeller, outputs, tmp_path):
    waiting = labeller()
    assert waiting.label(silicon()).failure == "waiting"
    (place,) = (path for path in (tmp_path / "calculations").iterdir() if path.is_dir())
    text = (place / "espresso.pwi").read_text()
    for line in ("calculation = 'scf'", "ecutwfc = 12.0", "nbnd = 8", "2 2 2 0 0 0", "Si 28.085000 Si.pz-vbc.UPF"):
        assert line in text
    assert waiting.label(silicon()).failure == "waiting"
    done = outputs()
    (place / "phonograph.save").mkdir()
    shutil.copy(done / XML, place / "phonograph.save" / XML)
    shutil.copy(done / TEXT, place / TEXT)
    result = waiting.label(silicon())
    assert not result.failure
    assert result.values == labeller().read_outputs(silicon(), done).values
    # What someone finished is not deleted, whatever happens.
    (place / TEXT).write_text("Error in routine x (1):\n bad\n")
    assert waiting.label(silicon()).failure == "crashed"
    assert (place / "phonograph.save" / XML).is_file()


def test_outputs_that_somebody_else_made_are_read_once(labeller):
    """Nothing runs, so nothing is tried again: an attempt with a changed mixing would be a lie in the log."""
    waiting = labeller(version="6.7MaX")
    (written(waiting) / TEXT).write_text("Error in routine x (1):\n bad\n")
    (attempt,) = label_with_remedies(structure_bytes(silicon()), calculation(waiting), 60.0)
    assert attempt.result.failure == "crashed"
    assert "attempt" not in attempt.result.message
    assert all(waiting.remedy(2, failure) is None for failure in ("crashed", "not_converged"))


def written(labeller) -> Path:
    """Let the labeller write its inputs; return their folder."""
    assert "inputs written to" in labeller.label(silicon()).message
    (path,) = Path(labeller.folder).glob("*/espresso.pwi")
    return path.parent


def test_an_output_without_its_end_is_told_while_the_label_waits(labeller):
    waiting = labeller()
    folder = written(waiting)
    (folder / TEXT).write_text("     Program PWSCF v.6.7MaX starts on 21Nov2026 at 15:49:34 \n")
    result = waiting.label(silicon())
    assert result.failure == "waiting"
    assert f"{TEXT} in {folder.name} is not finished, last changed 0 s ago" in result.message


@pytest.mark.parametrize("name", [TEXT, "phonograph.xml"])
def test_a_file_that_is_no_output_is_told_by_its_name_alone(labeller, name):
    """Tables of labels are shared: where a file lies on this machine is nobody's business."""
    waiting = labeller()
    folder = written(waiting)
    (folder / name).write_text("JOB DONE." if name == TEXT else "<a><closed/></a>")
    result = waiting.label(silicon())
    assert result.failure == "crashed"
    assert result.message.startswith((f"{name} is no output of pw.x", f"{name} was not written by pw.x"))
    assert str(folder.parent) not in result.message


def test_a_pseudopotential_that_no_structure_has_is_told_before_anything_is_computed(labeller):
    carbide = replace(silicon(), numbers=np.array([14, 6]))
    with pytest.raises(ConfigurationError, match="must hold one pseudopotential of C named"):
        planned([configurations_of([carbide])], [labeller(version="6.7MaX")])


def test_a_program_that_is_not_there(labeller):
    assert labeller(command=("no-such-pw.x",)).label(silicon()).failure == "engine_missing"


def test_which_pseudopotential(pseudos, monkeypatch):
    assert find_pseudopotential(pseudos, "Si", {}).valence == 4.0
    with pytest.raises(ConfigurationError, match="must hold one pseudopotential of S named"):
        find_pseudopotential(pseudos, "S", {})
    (pseudos / "si_other.upf").write_text(UPF.format("Si", "4.0"))
    with pytest.raises(ConfigurationError, match=r"several .Si.pz-vbc.UPF, si_other.upf."):
        find_pseudopotential(pseudos, "Si", {})
    assert find_pseudopotential(pseudos, "Si", {"Si": "si_other.upf"}).file == "si_other.upf"
    with pytest.raises(InputFileError, match="is a pseudopotential of Si; expected one of S"):
        find_pseudopotential(pseudos, "S", {"S": "si_other.upf"})
    (pseudos / "Ni.UPF").write_text("  0  Version\n  Ni   Element\n   10.00000000000      Z valence\n")
    assert read_pseudopotential(pseudos / "Ni.UPF", "Ni").valence == 10.0
    (pseudos / "C.UPF").write_text("nothing")
    with pytest.raises(InputFileError, match="names no element and valence"):
        find_pseudopotential(pseudos, "C", {})
    labeller = EspressoLabeller(folder="calculations")
    monkeypatch.delenv("ESPRESSO_PSEUDO", raising=False)
    with pytest.raises(ConfigurationError, match="give pseudopotential_folder or set ESPRESSO_PSEUDO"):
        labeller.identity()
    monkeypatch.setenv("ESPRESSO_PSEUDO", str(pseudos))
    assert "Si.pz-vbc.UPF" in labeller.identity()


def test_the_name_of_a_calculation_holds_the_pseudopotential_and_not_its_place(labeller, pseudos, tmp_path):
    first = labeller(version="6.7MaX", pseudopotentials={"Si": "Si.pz-vbc.UPF"})
    key = calculation(first).key
    # People's stores hold labels under this name: where the code lies that reads outputs must not change it.
    assert key.hex() == "8b565b9a3464ee6edaa52920c6f91288b845f35fa9401c0478251f3b0756e7b1"
    elsewhere = shutil.copytree(pseudos, tmp_path / "elsewhere")
    assert calculation(replace(first, pseudopotential_folder=str(elsewhere), cores=8)).key == key
    (elsewhere / "Si.pz-vbc.UPF").write_text(UPF.format("Si", "4.0"))
    assert calculation(replace(first, pseudopotential_folder=str(elsewhere))).key != key
    assert calculation(replace(first, cutoff_Ry=12.5, density_cutoff_Ry=50.0)).key != key
    assert rebuild(calculation(first).task) == first


def test_remedies_change_the_way_and_not_the_answer(labeller):
    first = labeller(command=("pw.x",))
    words, second = first.remedy(2, "not_converged")
    _, third = first.remedy(3, "not_converged")
    assert words == "mixing 0.28, 200 steps, solver david"
    assert (second.mixing, second.steps) == (pytest.approx(0.28), 200)
    assert third.diagonalisation == "cg"
    assert third.mixing < second.mixing
    way = {"mixing": first.mixing, "steps": first.steps, "diagonalisation": first.diagonalisation}
    assert replace(third, **way) == first
    assert first.remedy(2, "timeout") is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"k_mesh": (2, 2)}, "k_mesh must hold three numbers"),
        ({"density_cutoff_Ry": 40.0}, "at least 4 × cutoff_Ry"),
        ({"spin": True}, "needs moment_muB"),
        ({"provides": ("total_magnetic_moment_muB",)}, "needs spin = true"),
        ({"provides": ("fermi_level_eV",)}, "needs occupations = 'smearing'"),
        ({"provides": ()}, "must name a property"),
        ({"functional": "b3lyp"}, "functional must be one of"),
        ({"folder": ""}, "EspressoLabeller needs a command that runs its program, or a folder"),
    ],
)
def test_settings_that_cannot_be_are_refused(labeller, changes, words):
    with pytest.raises(ConfigurationError, match=re.escape(words)):
        labeller(**changes)


def test_a_name_cannot_leave_its_place_in_the_input(labeller):
    with pytest.raises(InputFileError, match="the pseudopotential of Si must be"):
        labeller(pseudopotentials={"Si": "../../etc/passwd"})
    with pytest.raises(InputFileError, match="the pseudopotential of Si must be"):
        labeller(pseudopotentials={"Si": "a\nb"})


def test_a_left_handed_cell_is_the_same_lattice(labeller, tmp_path):
    right = silicon()
    left = Crystal(cell_A=right.cell_A * [[-1], [-1], [-1]], positions_A=right.positions_A, numbers=right.numbers)
    texts = []
    for crystal in (right, left):
        labeller().write_inputs(crystal, tmp_path)
        texts.append((tmp_path / "espresso.pwi").read_text())
    assert texts[0] == texts[1]
