"""Readers of VASP's files: real files, planted answers, second routes, and thousands of broken copies."""

from __future__ import annotations

import gzip
import lzma
import math
import re
import sys
from pathlib import Path

import ase.io
import numpy as np
import pytest
from vasp_files import GAP_EV, answer, eigenval, outcar, vasprun

from phonograph.band_edges import band_edges
from phonograph.errors import InputFileError, UserError
from phonograph.files.eigenval import read_eigenval
from phonograph.files.outcar import read_static_outcar
from phonograph.files.vasp_folder import read_vasp_folder
from phonograph.files.vasp_run import VaspRun, distance_A
from phonograph.files.vasprun import parse_vasprun
from phonograph.files.vasprun_static import read_static_vasprun
from phonograph.labels.engines.vasp_input import reordered
from phonograph.types import Crystal

TAGS = {
    "ENCUT": "550.0", "EDIFF": "1e-06", "NELM": "200", "ISMEAR": "0", "SIGMA": "0.05", "ISPIN": "1", "GGA": "PS",
    "LASPH": ".TRUE.", "NSW": "0",
}  # fmt: skip
KB = 0.1 * 0.0062415090744607631
"""0.1 GPa in eV/Å³, typed anew on purpose."""

REAL = Path(ase.__file__).parent / "test" / "testdata" / "vasp"
"""Files that VASP wrote, in ASE's own tests."""


def crystal(seed: int = 1, copies: int = 1) -> Crystal:
    rng = np.random.default_rng(seed)
    cell = np.diag([4.9, 4.9, 4.9 * copies]) + rng.normal(0, 0.05, (3, 3))
    sites = np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    sites = np.concatenate([(sites + np.array([0, 0, n])) / [1, 1, copies] for n in range(copies)])
    positions = sites @ cell + rng.normal(0, 0.1, sites.shape)
    return Crystal(cell_A=cell, positions_A=positions, numbers=[35, 16, 47, 47, 47] * copies)


def grouped(one: Crystal) -> Crystal:
    return reordered(one, np.argsort(one.numbers, kind="stable"))


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """Folder with the three files of one calculation."""
    folder = tmp_path_factory.mktemp("run")
    write(folder, grouped(crystal()))
    return folder


def write(folder: Path, one: Crystal, tags=TAGS, divisions=(2, 2, 2), **how) -> None:
    planted = answer(one, divisions, int(tags["ISPIN"]))
    folder.mkdir(exist_ok=True)
    (folder / "vasprun.xml").write_text(vasprun(one, tags, planted, **how))
    (folder / "OUTCAR").write_text(outcar(one, tags, planted))
    (folder / "EIGENVAL").write_text(eigenval(one, planted))


def real(name: str) -> Path:
    if not (REAL / name).is_file():
        pytest.skip(f"this ASE comes without its test file {name}")
    return REAL / name


@pytest.mark.parametrize("name", ["vasprun_pstress.xml", "vasprun_dfpt.xml"])
def test_real_vasprun_against_ase_and_pymatgen(name):
    from pymatgen.io.vasp.outputs import Vasprun

    run = read_static_vasprun(real(name))
    atoms = ase.io.read(real(name), format="vasp-xml")
    other = Vasprun(real(name), parse_potcar_file=False)
    assert run.crystal.symbols == tuple(atoms.get_chemical_symbols())
    np.testing.assert_allclose(run.crystal.cell_A, atoms.cell[:], atol=1e-8)
    np.testing.assert_allclose(run.crystal.positions_A, atoms.positions, atol=1e-8)
    np.testing.assert_allclose(run.forces_eV_per_A, atoms.get_forces(), atol=1e-8)
    np.testing.assert_allclose(run.stress_GPa * 10 * KB, atoms.get_stress(voigt=False), rtol=1e-6, atol=1e-9)
    if name != "vasprun_pstress.xml":  # ASE takes pV off there; a label of such a run is refused
        assert run.energy_sigma0_eV == pytest.approx(atoms.get_potential_energy(), abs=1e-8)
        assert run.free_energy_eV == pytest.approx(atoms.calc.results["free_energy"], abs=1e-8)
    np.testing.assert_allclose(run.k_points, other.actual_kpoints, atol=1e-8)
    np.testing.assert_allclose(run.k_weights, other.actual_kpoints_weights, atol=1e-8)
    for spin, levels in zip(range(run.spins), other.eigenvalues.values(), strict=True):
        np.testing.assert_allclose(run.eigenvalues_eV[spin], levels[..., 0], atol=1e-8)
        np.testing.assert_allclose(run.occupations[spin], levels[..., 1], atol=1e-8)
    gap, cbm, vbm, _ = other.eigenvalue_band_properties
    edges = band_edges(run.bands).values
    assert (edges["band_gap_eV"], edges["cbm_eV"], edges["vbm_eV"]) == pytest.approx((gap, cbm, vbm), abs=1e-9)
    assert run.electrons == other.parameters["NELECT"] == run.valence
    assert run.number("ENCUT") == other.parameters["ENMAX"]
    assert run.not_converged == ""
    assert run.ionic_steps == 1
    assert [title.split()[1] for title in run.titles] == [one.split()[-1] for one in dict.fromkeys(run.crystal.symbols)]


def test_real_outcar_against_ase_and_pymatgen():
    from pymatgen.io.vasp.outputs import Outcar

    run = read_static_outcar(real("OUTCAR_example_1"))
    atoms = ase.io.read(real("OUTCAR_example_1"), format="vasp-out")
    other = Outcar(real("OUTCAR_example_1"))
    assert run.crystal.symbols == tuple(atoms.get_chemical_symbols())
    np.testing.assert_allclose(run.crystal.positions_A, atoms.positions, atol=1e-5)
    np.testing.assert_allclose(run.forces_eV_per_A, atoms.get_forces(), atol=1e-8)
    np.testing.assert_allclose(run.stress_GPa * 10 * KB, atoms.get_stress(voigt=False), rtol=1e-6)
    assert run.energy_sigma0_eV == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
    assert run.free_energy_eV == pytest.approx(atoms.calc.results["free_energy"], abs=1e-9)
    assert run.energy_sigma0_eV == pytest.approx(other.final_energy, abs=1e-6)
    assert run.electrons == 180
    assert run.electrons == pytest.approx(other.nelect, abs=1e-3)
    assert run.spins == 2
    assert run.magnetisation == pytest.approx(other.total_mag, abs=0.02)  # occupations against the density
    assert run.claims_converged is None  # VASP 5 says so of every loop
    assert not run.not_converged
    assert run.number("ENCUT") == 300
    assert run.number("SIGMA") == 0.1
    assert run.number("ISMEAR") == 1
    assert run.version == "5.3.3"
    assert run.titles == ("PAW_PBE Ni 02Aug2007",)


def test_planted_answer_comes_back_from_every_file(written):
    one = grouped(crystal())
    planted = answer(one, (2, 2, 2))
    for run, digits in ((read_static_vasprun(written / "vasprun.xml"), 8), (read_static_outcar(written / "OUTCAR"), 5)):
        assert run.energy_sigma0_eV == pytest.approx(planted.energy, abs=2e-8)
        assert run.free_energy_eV == pytest.approx(planted.free, abs=2e-8)
        np.testing.assert_allclose(run.forces_eV_per_A, planted.forces, atol=1e-6)
        np.testing.assert_allclose(run.stress_GPa, 0.1 * planted.stress, atol=2 * 0.1**digits)
        np.testing.assert_allclose(run.eigenvalues_eV, planted.levels, atol=6e-5)
        np.testing.assert_allclose(run.occupations, planted.occupations, atol=1e-9)
        np.testing.assert_allclose(run.k_weights / run.k_weights.sum(), planted.weights, atol=1e-7)
        assert distance_A(run.crystal, one) < 1e-7
        assert (run.electrons, run.valence, run.version) == (planted.electrons, planted.electrons, "6.3.0")
        assert run.titles == ("PAW_PBE S 06Sep2000", "PAW_PBE Br 06Sep2000", "PAW_PBE Ag 02Apr2005")
        assert run.number("ENCUT") == 550
        assert run.settings["GGA"] == "PS"
        assert run.flag("LASPH")
    found = read_eigenval(written / "EIGENVAL")
    np.testing.assert_allclose(found.eigenvalues_eV, planted.levels, atol=6e-7)
    together = read_vasp_folder(written)
    np.testing.assert_allclose(together.run.eigenvalues_eV, planted.levels, atol=6e-7)
    edges = band_edges(together.run.bands).values
    occupied = round(planted.electrons / 2)
    vbm, cbm = planted.levels[0][:, occupied - 1].max(), planted.levels[0][:, occupied].min()
    assert (edges["vbm_eV"], edges["cbm_eV"]) == pytest.approx((vbm, cbm), abs=1e-6)
    assert set(together.files) == {"vasprun.xml", "OUTCAR", "EIGENVAL"}


def test_planted_files_are_such_that_ase_and_pymatgen_read_the_same(written):
    from pymatgen.io.vasp.outputs import Eigenval, Vasprun

    run = read_vasp_folder(written).run
    for name in ("vasprun.xml", "OUTCAR"):
        atoms = ase.io.read(written / name)
        assert atoms.get_potential_energy() == pytest.approx(run.energy_sigma0_eV, abs=1e-7)
        np.testing.assert_allclose(atoms.get_forces(), run.forces_eV_per_A, atol=1e-6)
        np.testing.assert_allclose(atoms.get_stress(voigt=False), run.stress_GPa * 10 * KB, atol=1e-7)
    other = Vasprun(written / "vasprun.xml", parse_potcar_file=False)
    assert other.converged
    exact = Eigenval(written / "EIGENVAL").eigenvalue_band_properties[:3]
    edges = band_edges(run.bands).values
    assert exact == pytest.approx([edges[name] for name in ("band_gap_eV", "cbm_eV", "vbm_eV")], abs=1e-9)


def test_stress_has_the_sign_of_the_strain_derivative():
    """Squeezed crystals push outwards: σ from the files is negative there, and equals (1/V) dE/dε."""
    one = grouped(crystal())
    step = 1e-5
    energies = [
        answer(Crystal(cell_A=one.cell_A * s, positions_A=one.positions_A * s, numbers=one.numbers)).energy
        for s in (1 - step, 1 + step)
    ]
    slope = (energies[1] - energies[0]) / (2 * step) / (3 * one.volume_A3) / (10 * KB)
    planted = answer(one)
    assert np.trace(planted.stress) * 0.1 / 3 == pytest.approx(slope, rel=1e-5)


def test_two_spins(tmp_path):
    tags = TAGS | {"ISPIN": "2"}
    one = grouped(crystal())
    planted = answer(one, (2, 1, 1), 2, moment=2)
    (tmp_path / "vasprun.xml").write_text(vasprun(one, tags, planted))
    (tmp_path / "OUTCAR").write_text(outcar(one, tags, planted))
    (tmp_path / "EIGENVAL").write_text(eigenval(one, planted))
    run = read_vasp_folder(tmp_path).run
    assert run.spins == 2
    assert run.magnetisation == pytest.approx(2, abs=1e-9)
    edges = band_edges(run.bands).values
    up, down = round(planted.electrons + 2) // 2, round(planted.electrons - 2) // 2
    vbm = max(planted.levels[0][:, up - 1].max(), planted.levels[1][:, down - 1].max())
    assert edges["vbm_eV"] == pytest.approx(vbm, abs=1e-6)


@pytest.mark.parametrize(("suffix", "opener"), [(".gz", gzip.open), (".xz", lzma.open)])
def test_packed_files_are_read_as_plain_ones(written, tmp_path, suffix, opener):
    for path in written.iterdir():
        with opener(tmp_path / (path.name + suffix), "wb") as stream:
            stream.write(path.read_bytes())
    plain, packed = read_vasp_folder(written).run, read_vasp_folder(tmp_path).run
    assert plain.energy_sigma0_eV == packed.energy_sigma0_eV
    assert (plain.eigenvalues_eV == packed.eigenvalues_eV).all()
    (tmp_path / "OUTCAR").write_bytes((written / "OUTCAR").read_bytes())
    with pytest.raises(InputFileError, match="keep one of them"):
        read_vasp_folder(tmp_path)


def test_not_converged_in_every_way_it_shows(tmp_path):
    one = grouped(crystal())
    planted = answer(one)
    cases = {
        "all 200 electronic steps": vasprun(one, TAGS, planted, steps=200),
        "last electronic step changed": vasprun(one, TAGS, planted, last_change=1e-3),
    }
    for message, text in cases.items():
        (tmp_path / "vasprun.xml").write_text(text)
        assert message in read_vasp_folder(tmp_path).run.not_converged
    (tmp_path / "vasprun.xml").write_text(vasprun(one, TAGS, planted))
    assert read_vasp_folder(tmp_path).run.not_converged == ""
    (tmp_path / "OUTCAR").write_text(outcar(one, TAGS, planted, converged=False))
    assert "EDIFF was not reached" in read_vasp_folder(tmp_path).run.not_converged


def test_a_tag_that_vasprun_names_twice_counts_where_it_stands_first(written):
    """VASP 5.4.4 writes an NELM = 1 of its GW routines behind that of the electronic loop."""
    assert (written / "vasprun.xml").read_text().count('name="NELM"') == 3  # INCAR, used, GW
    run = read_static_vasprun(written / "vasprun.xml")
    assert (run.number("NELM"), run.not_converged) == (200, "")
    assert parse_vasprun(written / "vasprun.xml").setting("NELM") == 200


def test_a_loop_that_ends_in_the_last_allowed_step_is_believed_to_outcar(tmp_path):
    one = grouped(crystal())
    planted = answer(one)
    (tmp_path / "vasprun.xml").write_text(vasprun(one, TAGS | {"NELM": "9"}, planted, steps=9))
    assert "NELM" in read_vasp_folder(tmp_path).run.not_converged
    said = outcar(one, TAGS | {"NELM": "9"}, planted, steps=9)
    (tmp_path / "OUTCAR").write_text(said)
    assert read_vasp_folder(tmp_path).run.not_converged == ""
    (tmp_path / "OUTCAR").write_text(said.replace("vasp.6.3.0", "vasp.5.4.4.18Apr17-6-g9f103f2a35"))
    assert "NELM" in read_vasp_folder(tmp_path).run.not_converged, "VASP 5 says so of every loop"


@pytest.mark.parametrize("name", ["vasprun.xml", "OUTCAR", "EIGENVAL"])
def test_files_of_another_structure_disagree(written, tmp_path, name):
    write(tmp_path, grouped(crystal(seed=2)))
    (tmp_path / name).write_bytes((written / name).read_bytes())
    with pytest.raises(InputFileError, match="disagree"):
        read_vasp_folder(tmp_path)


def test_what_is_no_static_calculation_is_refused(tmp_path):
    one = grouped(crystal())
    planted = answer(one)
    path = tmp_path / "vasprun.xml"
    for match, text in {
        "2 ionic steps": vasprun(one, TAGS, planted, more_steps=1),
        "NSW = 60": vasprun(one, TAGS | {"NSW": "60"}, planted),
        "enthalpies": vasprun(one, TAGS | {"PSTRESS": "1.0"}, planted),
        "not self-consistent": vasprun(one, TAGS | {"ICHARG": "11"}, planted),
        "response": vasprun(one, TAGS | {"LEPSILON": ".TRUE."}, planted),
    }.items():
        path.write_text(text)
        with pytest.raises(InputFileError, match=match):
            read_vasp_folder(tmp_path)
    path.write_text(vasprun(one, TAGS | {"LSORBIT": ".TRUE."}, planted))
    with pytest.raises(InputFileError, match="non-collinear"):
        _ = read_vasp_folder(tmp_path).run.bands


def test_real_response_and_pressure_runs_are_refused(tmp_path):
    for name, match in (("vasprun_dfpt.xml", "response"), ("vasprun_pstress.xml", "enthalpies")):
        (tmp_path / "vasprun.xml").write_bytes(real(name).read_bytes())
        with pytest.raises(InputFileError, match=match):
            read_vasp_folder(tmp_path)


@pytest.mark.parametrize("folder", ["empty", "nothing here"])
def test_a_folder_without_outputs(tmp_path, folder):
    with pytest.raises(InputFileError, match="neither vasprun"):
        read_vasp_folder(tmp_path / folder)


def test_a_document_type_is_refused_even_where_all_else_is_right(written, tmp_path):
    text = (written / "vasprun.xml").read_text()
    (tmp_path / "vasprun.xml").write_text(text.replace("<modeling>", "<!DOCTYPE modeling>\n<modeling>", 1))
    with pytest.raises(InputFileError, match="document type"):
        read_vasp_folder(tmp_path)


def test_two_runs_in_one_outcar(written, tmp_path):
    text = (written / "OUTCAR").read_text()
    (tmp_path / "OUTCAR").write_text(text + text)
    with pytest.raises(InputFileError, match="holds 2 runs"):
        read_vasp_folder(tmp_path)


def test_occupations_must_hold_the_electrons(written, tmp_path):
    text = (written / "vasprun.xml").read_text()
    (tmp_path / "vasprun.xml").write_text(text.replace('name="NELECT">     46.0', 'name="NELECT">     48.0'))
    with pytest.raises(InputFileError, match=r"46\.00 electrons, NELECT is 48"):
        read_vasp_folder(tmp_path)


HOSTILE = {
    "doctype": b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa">]><modeling>&a;</modeling>',
    "external entity": b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/hostname">]><modeling>&a;</modeling>',
    "deep": b"<modeling>" + b"<a>" * 100_000,
    "many": b"<modeling>" + b"<a/>" * 500_000,
    "binary": bytes(range(256)) * 100,
    "empty document": b"<modeling></modeling>",
    "steps without content": b"<modeling>" + b"<calculation></calculation>" * 10_000 + b"</modeling>",
    "encoding": b'<?xml version="1.0" encoding="klingon"?><modeling/>',
    "blank": b" \n",
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("name", ["vasprun.xml", "OUTCAR", "EIGENVAL"])
def test_hostile_content_is_refused_in_one_sentence(written, tmp_path, kind, name):
    for path in written.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / name).write_bytes(HOSTILE[kind])
    with pytest.raises(InputFileError) as caught:
        read_vasp_folder(tmp_path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


SLOW_TRAPS = {
    "blank lines": lambda text: text.replace(" E-fermi", "\n" * 400_000 + " E-fermi"),
    "one long line of digits": lambda text: text.replace("in kB  ", "in kB  " + "1" * 400_000),
    "digits as a position": lambda text: text.replace("(direct lattice)\n", "(direct lattice)\n" + "1" * 400_000),
    "digits as valence": lambda text: text.replace("ZVAL   =", "ZVAL   =" + "1" * 400_000),
    "spaces as a tag": lambda text: text.replace("GGA     =", ("GGA" + " " * 4000) * 100),
    "atoms": lambda text: text.replace("ions per type =               1", "ions per type =   900000000000"),
    "k points": lambda text: text.replace("NKPTS =      8", "NKPTS = 999999999"),
    "bands": lambda text: text.replace("NBANDS=     29", "NBANDS=999999999"),
}


@pytest.mark.parametrize("kind", SLOW_TRAPS)
def test_traps_for_searches_and_memory_cost_no_time(written, tmp_path, kind):
    import time

    text = (written / "OUTCAR").read_text()
    changed = SLOW_TRAPS[kind](text)
    assert changed != text
    (tmp_path / "OUTCAR").write_text(changed)
    started = time.perf_counter()
    _accepted(tmp_path)
    assert time.perf_counter() - started < 10  # a square of 400,000 takes minutes


def test_a_vasprun_of_endless_tags_is_refused(written, tmp_path):
    text = (written / "vasprun.xml").read_text()
    tags = "".join(f'<i name="T{number}">1</i>' for number in range(6000))
    (tmp_path / "vasprun.xml").write_text(text.replace("<incar>", "<incar>" + tags))
    with pytest.raises(InputFileError, match="more than 5000 tags"):
        read_vasp_folder(tmp_path)


def test_gzip_bomb_stops_at_the_limit(tmp_path, monkeypatch):
    import phonograph.files.outcar as outcar_module
    import phonograph.files.vasprun_static as vasprun_module

    for name, module in (("vasprun.xml.gz", vasprun_module), ("OUTCAR.gz", outcar_module)):
        monkeypatch.setattr(module, "MAX_OUTPUT_BYTES", 2**20)
        (tmp_path / name).write_bytes(gzip.compress(b" " * 2**24))
        with pytest.raises(InputFileError, match="unpacks to more than 1 MiB"):
            read_vasp_folder(tmp_path)
        (tmp_path / name).unlink()


def _accepted(folder: Path) -> float | None:
    """Return the energy that is read, or None where the folder is refused."""
    run = _read(folder)
    return None if run is None or run.not_converged else run.energy_sigma0_eV


def _read(folder: Path) -> VaspRun | None:
    told = ""
    try:
        return read_vasp_folder(folder).run
    except UserError as error:
        told = str(error)
    assert told
    assert "\n" not in told
    return None


@pytest.mark.parametrize("name", ["vasprun.xml", "OUTCAR", "EIGENVAL"])
def test_no_truncation_is_accepted(written, tmp_path, name):
    for path in written.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    data = (written / name).read_bytes()
    rng = np.random.default_rng(5)
    lines = [found.start() for found in re.finditer(rb"\n", data)]
    end = data.rstrip().rfind(b"\n" if name == "EIGENVAL" else data.rstrip().split()[-1])
    cuts = {*rng.integers(0, end, 40).tolist(), *rng.choice([x for x in lines if x < end], 30).tolist()}
    assert len(cuts) > 60
    for cut in sorted(cuts):
        (tmp_path / name).write_bytes(data[:cut])
        assert _accepted(tmp_path) is None, cut


@pytest.mark.parametrize("name", ["vasprun.xml", "OUTCAR"])
def test_truncation_of_the_only_file(written, tmp_path, name):
    data = (written / name).read_bytes()
    for cut in np.random.default_rng(6).integers(0, data.rstrip().rfind(b"\n"), 60).tolist():
        (tmp_path / name).write_bytes(data[:cut])
        assert _accepted(tmp_path) is None, cut


@pytest.mark.parametrize("name", ["vasprun.xml", "OUTCAR", "EIGENVAL"])
def test_mutations_are_refused_or_harmless(written, tmp_path, name):
    """Of several files one is changed in 1 to 3 bytes: what is read stays what was planted."""
    for path in written.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    data, rng = (written / name).read_bytes(), np.random.default_rng(7)
    truth = read_vasp_folder(written).run
    refused = 0
    for _ in range(80):
        broken = bytearray(data)
        for place in rng.integers(0, len(data), rng.integers(1, 4)):
            broken[place] = rng.choice(np.frombuffer(b"0123456789-*. eE<>/\xff\n", dtype=np.uint8))
        (tmp_path / name).write_bytes(bytes(broken))
        run = _read(tmp_path)
        if run is None:
            refused += 1
            continue
        assert run.energy_sigma0_eV == pytest.approx(truth.energy_sigma0_eV, abs=1e-5)
        assert distance_A(run.crystal, truth.crystal) < 1e-5
        np.testing.assert_allclose(run.eigenvalues_eV, truth.eigenvalues_eV, atol=2.3e-4)
        np.testing.assert_allclose(run.forces_eV_per_A, truth.forces_eV_per_A, atol=1e-5)
    assert refused > 10


def test_a_large_file_is_read_in_seconds(tmp_path):
    """40 atoms, 4 k points, 3,001 points of the density of states: 5 s is ten times what it takes."""
    import time

    one = grouped(crystal(copies=8))
    text = vasprun(one, TAGS, answer(one, (2, 2, 1)))
    row = "       <r>    -1.0000     1.0000     9.0000 </r>\n"
    (tmp_path / "vasprun.xml").write_text(text.replace(row, row * 3001))
    started = time.perf_counter()
    run = read_vasp_folder(tmp_path).run
    assert time.perf_counter() - started < 5
    assert band_edges(run.bands).values["band_gap_eV"] < GAP_EV
    assert math.isfinite(run.energy_sigma0_eV)
    assert sys.getsizeof(run.settings) < 10_000
