"""Phonons on disk: restored bit for bit, opened by phonopy, refused when damaged."""

from __future__ import annotations

import csv
import dataclasses
import json
import warnings
import zipfile

import numpy as np
import phonopy
import pytest

from phonograph.errors import InputFileError
from phonograph.files.phonons import load_phonons, save_phonons
from phonograph.phonons import CalculatorForces, Renormalisation, compute_phonons
from phonograph.phonons.wave_vectors import commensurate_frequencies
from phonograph.types import Phonons


@pytest.fixture(scope="module")
def renormalised(quartic) -> Phonons:
    toy = quartic(1.0, 20.0)
    return compute_phonons(toy.crystal, toy.forces(), (2, 2, 2), renormalisation=Renormalisation(max_rounds=2))


@pytest.fixture(scope="module")
def harmonic(aluminium) -> Phonons:
    matrix = [[1, 1, 0], [-1, 1, 0], [0, 0, 2]]
    return compute_phonons(aluminium, CalculatorForces(engine="emt"), matrix)


def same(first, second) -> bool:
    if dataclasses.is_dataclass(first):
        return all(same(getattr(first, f.name), getattr(second, f.name)) for f in dataclasses.fields(first))
    if isinstance(first, np.ndarray):
        return first.dtype == second.dtype and np.array_equal(first, second) and not second.flags.writeable
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(same, first, second))
    if hasattr(first, "items"):
        return set(first) == set(second) and all(same(first[key], second[key]) for key in first)
    return first == second and type(first) is type(second)


@pytest.mark.parametrize("kind", ["renormalised", "harmonic"])
def test_restored_bit_for_bit(kind, request, tmp_path):
    phonons = request.getfixturevalue(kind)
    save_phonons(phonons, tmp_path)
    found = load_phonons(tmp_path)
    for field in dataclasses.fields(Phonons):
        if field.name != "origin":
            assert same(getattr(phonons, field.name), getattr(found, field.name)), field.name
    assert json.loads(json.dumps(dict(found.origin.settings))) == dict(found.origin.settings)
    assert found.origin.inputs == phonons.origin.inputs


@pytest.mark.parametrize("kind", ["renormalised", "harmonic"])
def test_phonopy_opens_the_file_and_finds_the_same(kind, request, tmp_path):
    phonons = request.getfixturevalue(kind)
    save_phonons(phonons, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # phonopy remarks that this supercell has less symmetry than the crystal
        theirs = phonopy.load(tmp_path / "phonopy.yaml", log_level=0)
    np.testing.assert_allclose(theirs.supercell.positions, phonons.supercell.positions_A, atol=1e-9)
    np.testing.assert_array_equal(theirs.supercell_matrix.T, phonons.force_constants.supercell_matrix)
    points, ours = commensurate_frequencies(phonons.force_constants)
    theirs.run_qpoints(points)
    moving = np.abs(ours) > 1e-2
    np.testing.assert_allclose(theirs.qpoints.frequencies[moving], ours[moving], atol=1e-6)


def test_tables_say_what_the_arrays_say(renormalised, tmp_path):
    save_phonons(renormalised, tmp_path)
    with (tmp_path / "frequencies.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["mode", "frequency_THz", "error_THz", "harmonic_THz"]
    assert [float(row["frequency_THz"]) for row in rows] == renormalised.frequencies_THz.tolist()
    assert [float(row["harmonic_THz"]) for row in rows] == renormalised.harmonic_frequencies_THz.tolist()
    with (tmp_path / "bands.csv").open() as stream:
        bands = list(csv.DictReader(stream))
    assert {row["kind"] for row in bands} == {"renormalised", "harmonic"}
    assert len(bands) == len(renormalised.spectrum.q) + len(renormalised.harmonic_spectrum.q)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "audit.json",
        "bands.csv",
        "dos.csv",
        "frequencies.csv",
        "phonons.json",
        "phonons.npz",
        "phonopy.yaml",
        "thermal_displacements.csv",
        "thermodynamics.csv",
    ]


def rows_of(path) -> list[dict[str, str]]:
    with path.open() as stream:
        return list(csv.DictReader(stream))


def test_thermodynamics_and_displacements_are_written_in_two_units(harmonic, tmp_path):
    save_phonons(harmonic, tmp_path)
    found = harmonic.properties
    rows = rows_of(tmp_path / "thermodynamics.csv")
    assert [float(row["free_energy_eV"]) for row in rows] == found.free_energy_eV.tolist()
    # 1 eV per cell is 96.485 kJ/mol, and 1 eV/K is 96,485 J/(mol K).
    last = rows[-1]
    assert float(last["free_energy_kJ_per_mol"]) == pytest.approx(96.4853321 * float(last["free_energy_eV"]), rel=1e-8)
    for name in ("entropy", "heat_capacity"):
        expected = 96485.3321 * float(last[f"{name}_eV_per_K"])
        assert float(last[f"{name}_J_per_mol_K"]) == pytest.approx(expected, rel=1e-8)
    moves = rows_of(tmp_path / "thermal_displacements.csv")
    assert len(moves) == len(found.temperatures_K) * found.atoms
    assert float(moves[-1]["rms_y_A"]) ** 2 == pytest.approx(float(moves[-1]["U22_A2"]), rel=1e-12)
    assert float(moves[-1]["U23_A2"]) == found.displacement_A2[-1, -1, 1, 2]
    states = rows_of(tmp_path / "dos.csv")
    assert [float(row["Al_per_THz"]) for row in states] == found.species_dos_per_THz[0].tolist()


def test_line_widths_are_columns_and_come_back(harmonic, tmp_path):
    widths = np.linspace(0.1, 0.9, len(harmonic.frequencies_THz))
    widths[3] = np.nan
    found = dataclasses.replace(harmonic, line_widths_THz=widths, line_width_errors_THz=0.1 * widths)
    save_phonons(found, tmp_path)
    back = load_phonons(tmp_path)
    np.testing.assert_array_equal(back.line_widths_THz, widths)
    np.testing.assert_array_equal(back.line_width_errors_THz, 0.1 * widths)
    rows = rows_of(tmp_path / "frequencies.csv")
    assert [row["line_width_THz"] for row in rows[:4]] == [*(repr(float(w)) for w in widths[:3]), ""]


def test_the_curvature_of_the_free_energy_is_a_column_and_comes_back(harmonic, tmp_path):
    curvature = np.linspace(-0.3, 7.1, len(harmonic.frequencies_THz)) / 3
    found = dataclasses.replace(harmonic, curvature_frequencies_THz=curvature, curvature_errors_THz=0.1 + curvature**2)
    save_phonons(found, tmp_path)
    back = load_phonons(tmp_path)
    np.testing.assert_array_equal(back.curvature_frequencies_THz, curvature)
    np.testing.assert_array_equal(back.curvature_errors_THz, 0.1 + curvature**2)
    rows = rows_of(tmp_path / "frequencies.csv")
    assert [row["curvature_THz"] for row in rows] == [repr(float(value)) for value in curvature]
    assert {"curvature_error_THz", "curvature_THz"} < set(rows[0])


def test_the_audit_is_written_as_sentences(quartic, tmp_path):
    toy = quartic(-0.3, 0.0)
    phonons = compute_phonons(toy.crystal, toy.forces(), (2, 2, 2))
    save_phonons(phonons, tmp_path)
    document = json.loads((tmp_path / "audit.json").read_text())
    assert any("positive definiteness" in line and "not passed" in line for line in document["summary"])
    assert len(document["imaginary_modes"]) == len(phonons.audit.imaginary) > 0
    assert document["measured"]["lowest_THz"] == phonons.audit.lowest_THz
    assert load_phonons(tmp_path).audit == phonons.audit


def test_phonons_without_audit_and_properties_come_back_without(harmonic, tmp_path):
    save_phonons(dataclasses.replace(harmonic, audit=None, properties=None), tmp_path)
    found = load_phonons(tmp_path)
    assert found.audit is None
    assert found.properties is None
    assert not (tmp_path / "dos.csv").exists()


def test_archives_of_an_older_version_are_refused_in_one_sentence(harmonic, tmp_path):
    save_phonons(harmonic, tmp_path)
    path = tmp_path / "phonons.json"
    path.write_text(path.read_text().replace("phonograph-phonons-2", "phonograph-phonons-1"))
    with pytest.raises(InputFileError, match=r"phonograph-phonons-1.*again"):
        load_phonons(tmp_path)


def test_missing_and_damaged_files_are_one_sentence(harmonic, tmp_path):
    with pytest.raises(InputFileError, match="not found"):
        load_phonons(tmp_path)
    save_phonons(harmonic, tmp_path)
    archive = tmp_path / "phonons.npz"
    whole = archive.read_bytes()
    for damage in (b"", whole[: len(whole) // 2], b"PK" + whole[100:]):
        archive.write_bytes(damage)
        with pytest.raises(InputFileError):
            load_phonons(tmp_path)
    archive.unlink()
    with pytest.raises(InputFileError, match="does not exist"):
        load_phonons(tmp_path)


def rewrite(archive, change):
    with np.load(archive) as found:
        arrays = {name: found[name] for name in found.files}
    change(arrays)
    np.savez(archive, **arrays)


@pytest.mark.parametrize(
    "change",
    [
        lambda arrays: arrays.pop("force_constants"),
        lambda arrays: arrays.update(extra=np.zeros(3)),
        lambda arrays: arrays.update(force_constants=np.zeros((2, 2, 3, 3))),
        lambda arrays: arrays.update(force_constants=arrays["force_constants"] * np.nan),
        lambda arrays: arrays.update({"unitcell.numbers": arrays["unitcell.numbers"] * 1.5}),
        lambda arrays: arrays.update(frequencies_THz=np.array([{}], dtype=object)),
        lambda arrays: arrays.pop("properties.dos_THz"),
        lambda arrays: arrays.update({"properties.free_energy_eV": np.zeros(2)}),
        lambda arrays: arrays.update(line_widths_THz=np.zeros(2)),
    ],
)
def test_inconsistent_archives_are_refused(harmonic, tmp_path, change):
    save_phonons(harmonic, tmp_path)
    rewrite(tmp_path / "phonons.npz", change)
    with pytest.raises(InputFileError, match="phonons"):
        load_phonons(tmp_path)


def test_compressed_archives_are_refused(harmonic, tmp_path):
    save_phonons(harmonic, tmp_path)
    archive = tmp_path / "phonons.npz"
    with np.load(archive) as found:
        np.savez_compressed(archive, **{name: found[name] for name in found.files})
    assert any(member.compress_type for member in zipfile.ZipFile(archive).infolist())
    with pytest.raises(InputFileError, match="compressed"):
        load_phonons(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document.update(schema="other"),
        lambda document: document.update(method=3),
        lambda document: document.update(converged="yes"),
        lambda document: document.update(rounds=[{"index": 1}]),
        lambda document: document.update(spectrum={"ticks": [[1]], "breaks": []}),
        lambda document: document.pop("force_constants_origin"),
        lambda document: document["audit"].pop("sum_rule_eV_per_A2"),
        lambda document: document["audit"].update(positive_definite="yes"),
        lambda document: document["audit"].update(imaginary=[{"q": [0, 0]}]),
        lambda document: document["properties"].update(mesh=[3, 3]),
        lambda document: document["properties"].update(displacement_symbols=[]),
    ],
)
def test_inconsistent_json_is_refused(harmonic, tmp_path, change):
    save_phonons(harmonic, tmp_path)
    path = tmp_path / "phonons.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(InputFileError, match=r"phonons\.json"):
        load_phonons(tmp_path)
