"""CP2K's files without CP2K: inputs as promised, real outputs read, every damaged, foreign or lying one refused."""

from __future__ import annotations

import contextlib
import re
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from label_toys import configurations_of

from phonograph.errors import ConfigurationError, InputFileError
from phonograph.labels import label
from phonograph.labels.engines.cp2k import Cp2kLabeller
from phonograph.labels.engines.cp2k_data import find_entry
from phonograph.labels.engines.cp2k_frame import placed
from phonograph.labels.engines.cp2k_input import k_mesh
from phonograph.labels.engines.cp2k_output import read_output
from phonograph.labels.plan import planned
from phonograph.labels.symmetry import random_rotation
from phonograph.labels.task import calculation, rebuild
from phonograph.types import Crystal
from phonograph.units import BOHR_A, HARTREE_EV

OUTPUTS = Path(__file__).parent / "outputs" / "cp2k"
MAKE = runpy.run_path(str(OUTPUTS / "make.py"))
CASES, silicon = MAKE["CASES"], MAKE["silicon"]

TOY_BASIS = """\
# a comment
Si SZV-MOLOPT-SR-GTH SZV-MOLOPT-SR-GTH-q4
 1
 2 0 1 1 1 1
      1.2  0.3  -1.5
Mg SZV-MOLOPT-SR-GTH SZV-MOLOPT-SR-GTH-q10
 1
 2 0 1 1 1 1
      1.2  0.3  -1.5
"""
TOY_POTENTIAL = """\
Si GTH-PBE-q4 GTH-PBE
    2    2
     0.44    1    -6.3
#
Mg GTH-PBE-q10 GTH-PBE
    4    6
     0.19    2   -20.6     3.0
Mg GTH-PBE-q2
    2
     0.58    1    -2.9
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> str:
    """A data folder with entries of our own: what is read does not depend on their numbers."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "BASIS_MOLOPT").write_text(TOY_BASIS)
    (folder / "BASIS_MOLOPT_UCL").write_text("")
    (folder / "GTH_POTENTIALS").write_text(TOY_POTENTIAL)
    return str(folder)


def waiting(name: str, data: str, root: Path, **changes) -> Cp2kLabeller:
    return replace(CASES[name], command=(), data_folder=data, folder=str(root), **changes)


def put(labeller: Cp2kLabeller, text: str, crystal: Crystal | None = None) -> Crystal:
    """Let the labeller write its inputs, then lay an output beside them, named as theirs."""
    crystal = silicon() if crystal is None else crystal
    assert labeller.label(crystal).failure == "waiting"
    folder = next(path.parent for path in Path(labeller.folder).rglob("cp2k.inp"))
    project = (folder / "cp2k.inp").read_text().split("PROJECT ")[1].split()[0]
    old = next(line.split()[-1] for line in text.splitlines() if line.startswith(" GLOBAL| Project name"))
    (folder / "cp2k.out").write_text(text.replace(old, project))
    return crystal


def text_of(name: str) -> str:
    return (OUTPUTS / f"{name}.out").read_text()


def test_at_gamma_only_turned_boxes_are_turned_back():
    """CP2K loses the density of a box that is not along the axes; all other cells it gets as they are."""
    sites = np.array([[0.1, 0.2, 0.3], [1.0, 2.0, 3.0]])
    box = Crystal(cell_A=np.diag([3.0, 4.0, 5.0]), positions_A=sites, numbers=np.array([14, 14]))
    rotation = random_rotation(np.random.default_rng(5))
    turned = replace(box, cell_A=box.cell_A @ rotation.T, positions_A=box.positions_A @ rotation.T)
    place = placed(turned, (1, 1, 1))
    np.testing.assert_allclose(place.crystal.cell_A, box.cell_A, atol=1e-12)
    np.testing.assert_allclose(place.crystal.positions_A, box.positions_A, atol=1e-12)
    np.testing.assert_allclose(place.back(box.positions_A), turned.positions_A, atol=1e-12)
    oblique = replace(turned, cell_A=turned.cell_A + np.array([[0.0, 0.0, 0.0], [0.1, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    for as_it_is in (box, oblique):
        assert placed(as_it_is, (1, 1, 1)).crystal is as_it_is


def test_a_finished_calculation_becomes_labels(data, tmp_path):
    labeller = waiting("k-points", data, tmp_path)
    crystal = put(labeller, text_of("k-points"))
    result = labeller.label(crystal)
    assert not result.failure, result.message
    assert set(result.values) == set(labeller.provides)
    energy = next(float(line.split()[-1]) for line in text_of("k-points").splitlines() if "ENERGY|" in line)
    assert result.values["energy_eV_per_atom"] == pytest.approx(energy * HARTREE_EV / 2, rel=1e-14)
    levels = result.arrays["eigenvalues_eV"]
    assert levels.shape == (1, 2, 6)
    assert result.values["vbm_eV"] == levels[0, :, 3].max()
    assert result.values["cbm_eV"] == levels[0, :, 4].min()
    np.testing.assert_array_equal(result.arrays["k_points"], [[0, 0, 0], [0.5, 0, 0]])
    np.testing.assert_allclose(result.arrays["k_weights"], 0.5)
    rows = [line.split() for line in text_of("k-points").partition("ATOMIC FORCES")[2].splitlines()]
    force = next(row for row in rows if row[:3] == ["2", "1", "Si"])
    # With k points CP2K gets the crystal turned, its first lattice vector along x; labels are those of the given one.
    vectors = [line.split() for line in text_of("k-points").splitlines() if " CELL| Vector" in line]
    turned = np.array([row[4:7] for row in vectors], dtype=float)
    np.testing.assert_allclose(turned[0, 1:], 0.0, atol=1e-9)
    back = np.linalg.solve(turned, crystal.cell_A)  # to the three decimals of the printed vectors
    printed = np.array(force[3:], dtype=float) * HARTREE_EV / BOHR_A
    found = result.arrays["forces_eV_per_A"][1]
    np.testing.assert_allclose(found, printed @ back, rtol=1e-3)
    assert np.linalg.norm(found) == pytest.approx(np.linalg.norm(printed), rel=1e-12)
    trace = next(float(line.split()[-1]) for line in text_of("k-points").splitlines() if "1/3 Trace" in line)
    assert result.values["hydrostatic_stress_GPa"] == pytest.approx(-trace, rel=1e-9)
    np.testing.assert_allclose(np.trace(result.arrays["stress_GPa"]) / 3, -trace, rtol=1e-9)


def test_spin_smearing_and_gamma(data, tmp_path):
    spin = waiting("spin", data, tmp_path / "spin")
    result = spin.label(put(spin, text_of("spin")))
    levels = result.arrays["eigenvalues_eV"]
    assert levels.shape[0] == 2
    assert result.values["vbm_eV"] == max(levels[0, 0, 4], levels[1, 0, 2])
    assert result.values["cbm_eV"] == min(levels[0, 0, 5], levels[1, 0, 3])
    smeared = waiting("smearing", data, tmp_path / "smearing")
    result = smeared.label(put(smeared, text_of("smearing")))
    assert result.values["vbm_eV"] < result.values["fermi_level_eV"] < result.values["cbm_eV"]
    plain = waiting("gamma", data, tmp_path / "gamma")
    result = plain.label(put(plain, text_of("gamma")))
    printed = next(float(line.split()[-2]) for line in text_of("gamma").splitlines() if "Band gap" in line)
    assert result.values["band_gap_eV"] == pytest.approx(printed, abs=1e-6)


def test_no_self_consistency_is_never_a_label(data, tmp_path):
    labeller = waiting("not-converged", data, tmp_path)
    result = labeller.label(put(labeller, text_of("not-converged")))
    assert (result.failure, dict(result.values)) == ("not_converged", {})


def test_a_density_that_was_lost_is_not_self_consistency(data, tmp_path):
    """CP2K 2023.1 says "converged" after a second step that changes nothing, where its k points lose the density."""
    labeller = waiting("k-points", data, tmp_path)
    text = text_of("k-points")
    table = re.compile(r"( +1 NoMix.*\n)(?: +\d+ Broy.*\n)+")
    first = table.search(text).group(1)
    lost = first.replace(" 1 NoMix/Diag.", " 2 Broy./Diag.").replace(first.split()[4], "0.0000E+00")
    text = table.sub(lambda found: found.group(1) + lost, text)
    text = re.sub(r"converged in +\d+ steps", "converged in     2 steps", text)
    result = labeller.label(put(labeller, text))
    assert (result.failure, dict(result.values)) == ("not_converged", {})
    assert "stopped at a change of zero" in result.message


@pytest.mark.parametrize("part", [0.02, 0.2, 0.4, 0.6, 0.8, 0.95, 0.985])
def test_cut_outputs_are_refused(data, tmp_path, part):
    labeller = waiting("k-points", data, tmp_path)
    text = text_of("k-points")
    project = next(line for line in text.splitlines() if line.startswith(" GLOBAL| Project name")).split()[-1]
    crystal = silicon()
    assert labeller.label(crystal).failure == "waiting"
    folder = next(path.parent for path in tmp_path.rglob("cp2k.inp"))
    mine = (folder / "cp2k.inp").read_text().split("PROJECT ")[1].split()[0]
    whole = text.replace(project, mine)
    (folder / "cp2k.out").write_text(whole[: int(len(whole) * part)])
    with pytest.raises(InputFileError):
        labeller.read_outputs(crystal, folder)
    result = labeller.label(crystal)
    # The last part lacks only what comes after the line by which CP2K says that it ended.
    assert result.failure == ("waiting" if part < 0.98 else "crashed")
    if result.failure == "waiting":
        assert f"cp2k.out in {folder.name} is not finished, last changed" in result.message


LIES = {
    "forces without their sum": lambda t: t.replace("SUM OF ATOMIC FORCES", ""),
    "another energy": lambda t: t.replace(" ENERGY| Total FORCE_EVAL ( QS ) energy [a.u.]:               -", "X", 1),
    "a changed level": lambda t: change(t, " MO|      4", 2, "0.5"),
    "a changed force": lambda t: change(t, "      2      1      Si", 5, "0.123456789012"),
    "a changed stress": lambda t: change(t, " STRESS|      x ", 2, "1.00000000000E+01"),
    "another occupation": lambda t: change(t, " MO|      4", 4, "0.000000000000"),
    "another element": lambda t: t.replace("    1 Si   14 ", "    1 Ge   32 "),
    "an atom elsewhere": lambda t: change(t, "      2    1 Si   14", 4, "1.557500"),
    "another cell": lambda t: change(t, " CELL| Vector b [angstrom]:", 4, "2.815"),
    "another volume": lambda t: change(t, " CELL| Volume", 3, "40.125752"),
    "another k point": lambda t: change(t, " BRILLOUIN|     2", 3, "0.25000"),
    "other weights": lambda t: change(t, " BRILLOUIN|     2", 2, "0.75000"),
    "other electrons": lambda t: change(t, " Number of electrons:", 3, "6"),
    "another version": lambda t: t.replace("CP2K version 2023.1", "CP2K version 7.1"),
    "two runs in one file": lambda t: t + t,
    "not a number": lambda t: change(t, " MO|      4", 2, "NaN"),
    "overflow": lambda t: change(t, "      2      1      Si", 5, "**************"),
    "an unconverged one": lambda t: t.replace("*** SCF run converged in", "SCF run NOT converged", 1),
    "without eigenvalues": lambda t: "\n".join(line for line in t.splitlines() if not line.startswith(" MO|")),
    "without forces": lambda t: t.replace("ATOMIC FORCES in [a.u.]", ""),
    "without stress": lambda t: t.replace("STRESS| Analytical stress tensor [GPa]", ""),
}  # fmt: skip


def change(text: str, start: str, word: int, value: str) -> str:
    """Put ``value`` in the place of one word of the first line that starts so."""
    lines = text.split("\n")
    place = next(i for i, line in enumerate(lines) if line.startswith(start))
    found = [*re.finditer(r"\S+", lines[place])][word]
    lines[place] = lines[place][: found.start()] + value + lines[place][found.end() :]
    return "\n".join(lines)


@pytest.mark.parametrize("lie", LIES)
def test_lying_outputs_are_refused(data, tmp_path, lie):
    labeller = waiting("k-points", data, tmp_path)
    changed = LIES[lie](text_of("k-points"))
    assert changed != text_of("k-points"), "the lie must change something"
    result = labeller.label(put(labeller, changed))
    assert result.failure in ("crashed", "not_converged"), lie
    assert not result.values


def test_an_output_of_another_input_is_refused(data, tmp_path):
    """Same structure, another setting: the project's name tells."""
    labeller = waiting("k-points", data, tmp_path)
    crystal = put(labeller, text_of("k-points"))
    assert not labeller.label(crystal).failure
    for other in (
        replace(labeller, cutoff_Ry=101.0),
        replace(labeller, functional="PBEsol"),
        replace(labeller, eps_scf=1e-7),
        replace(labeller, smearing_K=10.0),
    ):
        result = other.label(crystal)
        assert result.failure == "crashed"
        assert "another calculation" in result.message
    for same in (replace(labeller, mixing=0.1), replace(labeller, ranks=2), replace(labeller, max_scf=99)):
        assert not same.label(crystal).failure


def test_an_output_of_another_structure_is_refused(data, tmp_path):
    labeller = waiting("k-points", data, tmp_path)
    result = labeller.label(put(labeller, text_of("k-points"), silicon(0.0301)))
    assert result.failure == "crashed"
    assert "another calculation" in result.message


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 20000), replacement=st.binary(max_size=6))
def test_damaged_outputs_raise_one_sentence_or_read_the_same(tmp_path, place, replacement):
    text = text_of("k-points").encode()
    path = tmp_path / "cp2k.out"
    path.write_bytes(text[:place] + replacement + text[place + len(replacement) :])
    with contextlib.suppress(InputFileError):  # and nothing else
        assert read_output(path).version


def test_cp2ks_own_words_are_passed_on(data, tmp_path):
    box = """\
 *******************************************************************************
 *   ___                                                                       *
 *  /   \\                                                                      *
 * [ABORT]                                                                     *
 *  \\___/       unknown subsection MGRIT of section DFT                         *
 *    |                                                                        *
 *  O/|                                                                        *
 * /| |                                                                        *
 * / \\                                               input/input_parsing.F:185 *
 *******************************************************************************
"""
    labeller = waiting("gamma", data, tmp_path)
    result = labeller.label(put(labeller, text_of("gamma")[:9000] + box))
    assert result.failure == "crashed"
    assert "unknown subsection MGRIT of section DFT" in result.message


def test_newer_versions_stop_without_self_consistency_and_are_tried_again(data, tmp_path):
    box = """
 *******************************************************************************
 *   ___                                                                       *
 *  /   \\                                                                      *
 * [ABORT]                                                                     *
 *  \\___/     SCF run NOT converged. To continue the calculation regardless,   *
 *    |             please set the keyword IGNORE_CONVERGENCE_FAILURE.         *
 *  O/|                                                                        *
 * /| |                                                                        *
 * / \\                                                            qs_scf.F:702 *
 *******************************************************************************
"""
    labeller = waiting("gamma", data, tmp_path)
    result = labeller.label(put(labeller, text_of("gamma")[:9000] + box))
    assert result.failure == "not_converged"
    assert replace(labeller, command=("cp2k.psmp",), version="2024.1").remedy(2, result.failure) is not None


def test_forces_and_stress_in_the_layout_of_newer_versions(data, tmp_path):
    """The same numbers as CP2K 2025 prints them: another head, no kinds, a norm; stress in bar."""
    old = text_of("k-points")
    lines = []
    for line in old.splitlines():
        words = line.split()
        if "ATOMIC FORCES in [a.u.]" in line:
            line = " FORCES| Atomic forces [hartree/bohr]"
        elif words[:1] == ["#"] and "Kind" in words:
            line = " FORCES|   Atom     x               y               z               |f|"
        elif len(words) == 6 and words[2] == "Si" and words[1] == "1":
            line = f" FORCES|      {words[0]} " + " ".join(f"{float(word):.12E}" for word in (*words[3:], "1.0"))
        elif line.strip().startswith("SUM OF ATOMIC FORCES"):
            line = " FORCES| Sum " + " ".join(f"{float(word):.12E}" for word in words[4:7])
        elif line.startswith(" STRESS|"):
            line = line.replace("[GPa]", "[bar]")
            numbers = [word for word in words if re.fullmatch(r"-?\d+\.\d+(E[-+]\d+)?", word)]
            for word in numbers:
                line = line.replace(word, f"{1e4 * float(word):.12E}", 1)
        lines.append(line)
    (tmp_path / "new.out").write_text("\n".join(lines) + "\n")
    (tmp_path / "old.out").write_text(old)
    one, other = read_output(tmp_path / "old.out"), read_output(tmp_path / "new.out")
    np.testing.assert_allclose(other.forces_Ha_per_bohr, one.forces_Ha_per_bohr, atol=1e-11)
    np.testing.assert_allclose(other.pressure_GPa, one.pressure_GPa, rtol=1e-9, atol=1e-9)


def test_the_input_is_what_it_was(data, tmp_path):
    """Any change of this file changes calculations: do it knowingly."""
    labeller = waiting("k-points", data, tmp_path)
    labeller.label(silicon())
    folder = next(path.parent for path in tmp_path.rglob("cp2k.inp"))
    written, golden = (
        (folder / "cp2k.inp").read_text().splitlines(),
        (OUTPUTS / "k-points.inp").read_text().splitlines(),
    )
    assert [line for line in written if "PROJECT" not in line] == [line for line in golden if "PROJECT" not in line]
    assert (folder / "BASIS").read_text().split()[:2] == ["Si", "SZV-MOLOPT-SR-GTH-q4"]
    assert (folder / "POTENTIAL").read_text().split()[:2] == ["Si", "GTH-PBE-q4"]
    assert "Mg" not in (folder / "BASIS").read_text()


def test_options_reach_the_input(data, tmp_path):
    labeller = waiting("gamma", data, tmp_path, charge_e=-2, smearing_K=500.0, mixer="diis", mixing=0.25)
    labeller.write_inputs(silicon(), tmp_path)
    text = (tmp_path / "cp2k.inp").read_text()
    for line in (
        "CHARGE -2",
        "ELECTRONIC_TEMPERATURE [K] 500.0",
        "METHOD DIRECT_P_MIXING",
        "ALPHA 0.25",
        "RUN_TYPE ENERGY\n",
    ):
        assert line in text
    assert "STRESS_TENSOR" not in text
    assert "&FORCES" not in text


def test_elements_without_data_are_bad_input(data, tmp_path):
    labeller = waiting("gamma", data, tmp_path)
    silver = replace(silicon(), numbers=np.array([47, 47]))
    result = labeller.label(silver)
    assert result.failure == "bad_input"
    assert "SZV-MOLOPT-SR-GTH for Ag" in result.message
    magnesium = replace(silicon(), numbers=np.array([12, 12]))
    result = replace(labeller, potential_of={"Mg": "GTH-PBE-q2"}).label(magnesium)
    assert result.failure == "bad_input"
    assert "10 and 2 electrons" in result.message


def test_odd_electrons_are_bad_input(data, tmp_path):
    labeller = waiting("gamma", data, tmp_path)
    result = replace(labeller, charge_e=1).label(silicon())
    assert (result.failure, "multiplicity" in result.message) == ("bad_input", True)
    assert replace(labeller, charge_e=1, multiplicity=2).label(silicon()).failure == "waiting"


def test_xtb_energies_only_where_they_are_sound(data, tmp_path):
    (Path(data) / "xTB_parameters").write_text("toy")
    (Path(data) / "dftd3.dat").write_text("toy")
    labeller = waiting("gamma", data, tmp_path, method="GFN1-xTB")
    bromide = replace(silicon(), numbers=np.array([16, 35]))
    result = labeller.label(bromide)
    assert (result.failure, "Br with S" in result.message) == ("bad_input", True)
    assert replace(labeller, provides=("band_gap_eV",)).label(bromide).failure == "waiting"
    assert labeller.label(replace(silicon(), numbers=np.array([16, 17]))).failure == "waiting"


def test_data_entries(data):
    entry = find_entry(Path(data), ("GTH_POTENTIALS",), "Mg", "gth-pbe", potential=True)
    assert (entry.name, entry.electrons) == ("GTH-PBE-q10", 10)
    with pytest.raises(ConfigurationError, match="offer GTH-PBE-q10, GTH-PBE-q2"):
        find_entry(Path(data), ("GTH_POTENTIALS",), "Mg", "GTH-PBE-q12", potential=True)


@pytest.mark.parametrize("wrong", [{"basis": "NOPE"}, {"potential": "NOPE"}, {"basis_of": {"Si": "NOPE"}}])
def test_a_basis_set_that_no_structure_has_is_told_before_anything_is_computed(data, tmp_path, wrong):
    labeller = waiting("gamma", data, tmp_path / "jobs", **wrong)
    crystals = [silicon(), silicon(0.1)]
    with pytest.raises(ConfigurationError, match=r"CP2K has no .* NOPE for Si in .*, which offer"):
        label([configurations_of(crystals)], [labeller], tmp_path / "labels.sqlite", workers=1)
    assert not (tmp_path / "jobs").exists()
    assert not (tmp_path / "labels.sqlite").exists()


def test_an_element_that_only_some_structures_have_is_a_hole_of_theirs(data, tmp_path):
    labeller, other = waiting("gamma", data, tmp_path), replace(silicon(), numbers=np.array([14, 16]))
    assert planned([configurations_of([silicon(), other])], [labeller]).total == 2
    assert "no basis set" in labeller.label(other).message


def test_identity_follows_the_data_and_the_guess(data, tmp_path):
    labeller = waiting("gamma", data, tmp_path)
    guess = tmp_path / "a-RESTART.wfn"
    guess.write_bytes(b"1")
    keys = {calculation(labeller).key, calculation(replace(labeller, guess_file=str(guess))).key}
    guess.write_bytes(b"2")
    keys.add(calculation(replace(labeller, guess_file=str(guess))).key)
    other = tmp_path / "data"
    other.mkdir()
    for path in Path(data).iterdir():
        (other / path.name).write_text(path.read_text().replace("-6.3", "-6.4"))
    keys.add(calculation(replace(labeller, data_folder=str(other))).key)
    assert len(keys) == 4
    same = calculation(replace(labeller, folder="elsewhere", ranks=2, memory_GB=9.0))
    assert same.key == calculation(labeller).key
    assert same.cores == 2
    assert rebuild(calculation(labeller).task) == labeller


@pytest.mark.parametrize("counts", [(1, 1, 1), (2, 1, 1), (2, 2, 2), (3, 3, 3), (4, 3, 2), (5, 1, 4)])
@pytest.mark.parametrize("centred", [True, False])
def test_meshes(counts, centred):
    """The points and their negatives are the whole mesh; sums of plane waves below its resolution vanish."""
    points, weights = k_mesh(counts, centred=centred)
    assert weights.sum() == pytest.approx(1.0)
    whole = {tuple(np.round((sign * k) % 1.0, 6) % 1.0) for k in points for sign in (1, -1)}
    assert len(whole) == np.prod(counts)
    own_negative = sum(np.abs(2 * k - np.rint(2 * k)).max() < 1e-9 for k in points)
    assert len(points) == (np.prod(counts) + own_negative) / 2
    assert ((0.0, 0.0, 0.0) in whole) == (centred or all(n % 2 for n in counts))
    for vector in ([1, 0, 0], [0, 1, 0], [1, 1, 1], [0, 2, 1]):
        if any(v % n for v, n in zip(vector, counts, strict=True)):
            assert abs(weights @ np.cos(2 * np.pi * points @ vector)) < 1e-12


@pytest.mark.parametrize(
    "wrong",
    [
        {"k_mesh": (2, 2)},
        {"k_mesh": (0, 1, 1)},
        {"provides": ()},
        {"provides": ("fermi_level_eV",)},
        {"provides": ("vbm_mean_eV",)},
        {"keep_wave_function": True},
        {"command": ()},
        {"functional": "HSE06"},
        {"eps_scf": 0.0},
        {"multiplicity": -1},
        {"cutoff_Ry": float("nan")},
    ],
)
def test_wrong_options_are_told(wrong):
    with pytest.raises(ConfigurationError, match="Cp2kLabeller"):
        Cp2kLabeller(**wrong)


def test_remedies_change_the_way_never_the_answer():
    labeller = Cp2kLabeller(version="2023.1")
    for attempt in (2, 3):
        told, changed = labeller.remedy(attempt, "not_converged")
        assert "mixing" in told
        assert changed.mixing < labeller.mixing
        assert changed.max_scf > labeller.max_scf
        kept = ("eps_scf", "cutoff_Ry", "smearing_K", "k_mesh", "basis", "functional", "multiplicity")
        assert all(getattr(changed, name) == getattr(labeller, name) for name in kept)
    assert labeller.remedy(2, "timeout") is None
