"""A folder tree of VASP calculations as a set with labels: the authors' layout, holes, and what is refused."""

from __future__ import annotations

import gzip
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "3_labels" / "toys"))

from vasp_files import answer, eigenval, outcar, vasprun

from phonograph.errors import ConfigurationError, InputFileError
from phonograph.files.label_table import named_with_unit
from phonograph.files.labels import load_labels, save_labels
from phonograph.files.structures import write_poscar
from phonograph.files.vasp_sites import displacements_from
from phonograph.files.vasp_tree import read_vasp_tree
from phonograph.types import Crystal

TAGS = {
    "ENCUT": "550.0", "EDIFF": "1e-07", "NELM": "160", "ISMEAR": "0", "SIGMA": "0.2", "ISPIN": "1", "GGA": "PS",
    "NSW": "0",
}  # fmt: skip
SITES = np.array([[0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5], [0.5, 0.5, 0.5], [0, 0, 0]])


def equilibrium(lattice: float = 4.9, halogen: int = 35) -> Crystal:
    """Ag3SBr, atoms in the order Ag Ag Ag S Br."""
    return Crystal(cell_A=lattice * np.eye(3), positions_A=lattice * SITES, numbers=[47, 47, 47, 16, halogen])


def displaced(seed: int, lattice: float = 4.9, halogen: int = 35) -> Crystal:
    rest = equilibrium(lattice, halogen)
    moves = np.random.default_rng(seed).normal(0, 0.1, (5, 3))
    return Crystal(cell_A=rest.cell_A, positions_A=rest.positions_A + moves, numbers=rest.numbers)


def run(folder: Path, one: Crystal, tags=TAGS, files=("POSCAR", "vasprun.xml", "OUTCAR", "EIGENVAL"), **how) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    planted = answer(one, (2, 1, 1))
    texts = {
        "vasprun.xml": vasprun(one, tags, planted, **how),
        "OUTCAR": outcar(one, tags, planted, steps=how.get("steps", 9), converged=how.get("steps", 9) < 160),
        "EIGENVAL": eigenval(one, planted),
    }
    for name in files:
        if name == "POSCAR":
            write_poscar(one, folder / name)
        else:
            (folder / name).write_text(texts[name])


def test_the_authors_layout(tmp_path):
    """``calculations/struc-<number>`` beside ``structures_info.txt``; numbers beyond 9 sort as numbers."""
    root = tmp_path / "calculations"
    crystals = [displaced(n, halogen=35 if n % 2 else 53) for n in range(1, 12)]
    rows = ["Struc-#      Distortion      Parameter      Br concentration"]
    for number, one in enumerate(crystals, start=1):
        run(root / f"struc-{number:04d}", one, files=("POSCAR", "vasprun.xml"))
        law = ("Uniform", 0.2) if number < 6 else ("Phononic", 300)
        rows.append(f"{number}          {law[0]}      {law[1]}      {float(number % 2)}")
    (tmp_path / "structures_info.txt").write_text("\n".join(rows) + "\n")
    found, labels = read_vasp_tree(root, "paper", equilibrium=equilibrium())
    assert found.origin.settings["folders"] == [f"struc-{n:04d}" for n in range(1, 12)]
    assert labels.status == ("ok",) * 11
    for place, one in enumerate(crystals):
        planted = answer(one, (2, 1, 1))
        assert labels.column("energy_eV_per_atom").values[place] == pytest.approx(planted.energy / 5, abs=1e-8)
        stress = labels.column("hydrostatic_stress_GPa").values[place]
        assert stress == pytest.approx(np.trace(planted.stress) / 30, abs=1e-7)
        atoms = slice(found.offsets[place], found.offsets[place + 1])
        moved = found.displacements_A[atoms]
        np.testing.assert_allclose(moved, one.positions_A - equilibrium().positions_A, atol=2e-7)
    assert found.amplitude_A[:5].tolist() == [0.2] * 5
    assert np.isnan(found.amplitude_A[5:]).all()
    assert found.temperature_K[5:].tolist() == [300.0] * 6
    assert found.fraction.tolist() == [1.0, 0.0] * 5 + [1.0]
    assert "structures_info.txt" in found.origin.inputs
    assert labels.origin.inputs.keys() >= {"struc-0001/vasprun.xml", "struc-0011/POSCAR"}
    assert "550" in labels.columns[0].engine
    assert "PAW_PBE Ag 02Apr2005" in labels.columns[0].engine


def test_nested_trees_packed_files_and_outcar_only(tmp_path):
    run(tmp_path / "pure-compounds" / "struc-0002", displaced(2), files=("OUTCAR", "EIGENVAL"))
    run(tmp_path / "solid-solutions" / "struc-0001", displaced(3))
    packed = tmp_path / "solid-solutions" / "struc-0001" / "vasprun.xml"
    with gzip.open(packed.with_name("vasprun.xml.gz"), "wb") as stream:
        stream.write(packed.read_bytes())
    packed.unlink()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "readme.txt").write_text("nothing")
    found, labels = read_vasp_tree(tmp_path)
    assert found.origin.settings["folders"] == ["pure-compounds/struc-0002", "solid-solutions/struc-0001"]
    assert labels.status == ("ok", "ok")
    assert np.isnan(found.displacements_A).all()
    gaps = labels.column("band_gap_eV").values
    planted = [answer(displaced(seed), (2, 1, 1)).levels[0] for seed in (2, 3)]
    for gap, levels in zip(gaps, planted, strict=True):
        assert gap == pytest.approx(levels[:, 23].min() - levels[:, 22].max(), abs=2e-6)


def test_every_kind_of_hole_is_named_and_counted(tmp_path):
    for number in range(1, 8):
        run(tmp_path / f"struc-{number}", displaced(number))
    half = (tmp_path / "struc-2" / "vasprun.xml").read_text()
    (tmp_path / "struc-2" / "vasprun.xml").write_text(half[: len(half) // 2])
    run(tmp_path / "struc-3", displaced(3), steps=160)
    for name in ("vasprun.xml", "OUTCAR", "EIGENVAL"):
        (tmp_path / "struc-4" / name).unlink()
    shutil.copy(tmp_path / "struc-1" / "EIGENVAL", tmp_path / "struc-5" / "EIGENVAL")
    write_poscar(displaced(99), tmp_path / "struc-6" / "POSCAR")
    run(tmp_path / "struc-7", displaced(7), more_steps=1)
    (tmp_path / "lost").mkdir()
    (tmp_path / "lost" / "OUTCAR").write_text(" vasp.6.3.0\n")
    found, labels = read_vasp_tree(tmp_path)
    assert len(found) == 7
    matches = ["ok", "unfinished", "not converged", "neither vasprun.xml nor OUTCAR", "disagree", "POSCAR and vasprun",
               "2 ionic steps"]  # fmt: skip
    for status, match in zip(labels.status, matches, strict=True):
        assert match in status
    assert (np.isnan(labels.column("band_gap_eV").values) == [False] + [True] * 6).all()
    assert any("6 of 7 samples" in warning for warning in labels.warnings)
    assert any("1 folders" in warning and "lost" in warning for warning in labels.warnings)
    save_labels(labels, tmp_path / "labels.csv")
    assert load_labels(tmp_path / "labels.csv").status == labels.status


def test_a_gap_that_cannot_be_counted_leaves_the_energy(tmp_path, monkeypatch):
    import vasp_files

    run(tmp_path / "a", displaced(1))
    monkeypatch.setitem(vasp_files.VALENCE, "S", 7.0)
    planted = answer(displaced(2), (2, 1, 1))
    planted.occupations = planted.occupations * 47 / 2 / planted.occupations.sum(axis=2)[..., None]
    run(tmp_path / "b", displaced(2), files=("POSCAR",))
    (tmp_path / "b" / "vasprun.xml").write_text(vasprun(displaced(2), TAGS, planted))
    _, labels = read_vasp_tree(tmp_path)
    assert "odd number of electrons" in labels.status[1]
    assert np.isnan(labels.column("band_gap_eV").values[1])
    assert labels.column("energy_eV_per_atom").values[1] == pytest.approx(planted.energy / 5, abs=1e-8)


@pytest.mark.parametrize("change", [{"ENCUT": "700"}, {"GGA": "PE"}, {"LHFCALC": ".TRUE."}, {"SIGMA": "0.05"}])
def test_two_levels_of_theory_are_not_mixed(tmp_path, change):
    run(tmp_path / "a", displaced(1))
    run(tmp_path / "b", displaced(2), tags=TAGS | change)
    with pytest.raises(InputFileError, match="two levels of theory"):
        read_vasp_tree(tmp_path)


def test_two_potentials_of_one_element_are_not_mixed(tmp_path, monkeypatch):
    import vasp_files

    run(tmp_path / "a", displaced(1))
    monkeypatch.setitem(vasp_files.TITLES, "S", "S_h 06Sep2000")
    run(tmp_path / "b", displaced(2))
    with pytest.raises(InputFileError, match="potential S is"):
        read_vasp_tree(tmp_path)


def test_free_or_extrapolated_energy(tmp_path):
    run(tmp_path / "a", displaced(1))
    planted = answer(displaced(1), (2, 1, 1))
    for energy, value in (("sigma0", planted.energy), ("free", planted.free)):
        _, labels = read_vasp_tree(tmp_path, energy=energy)
        assert labels.column("energy_eV_per_atom").values[0] == pytest.approx(value / 5, abs=1e-8)
        assert energy in labels.columns[0].engine
    with pytest.raises(ConfigurationError, match="sigma0, free"):
        read_vasp_tree(tmp_path, energy="other")


def test_copies_share_a_group(tmp_path):
    for name, seed in (("a", 1), ("b", 2), ("c", 1)):
        run(tmp_path / name, displaced(seed))
    found, _ = read_vasp_tree(tmp_path, "s")
    assert found.group == ("s-00000", "s-00001", "s-00000")
    found, _ = read_vasp_tree(tmp_path, "s", groups=["x", "y", "z"])
    assert found.group == ("x", "y", "z")


def test_displacements_do_not_depend_on_the_order_or_the_lattice():
    """Atoms of a solid solution sorted by element: the site is found, also in a swollen cell and across its border."""
    rest = equilibrium()
    rng = np.random.default_rng(4)
    order = rng.permutation(5)
    moves = rng.normal(0, 0.1, (5, 3))
    scale = 1.02
    shifted = scale * rest.positions_A + moves + scale * 4.9 * rng.integers(-1, 2, (5, 3))
    numbers = rest.numbers.copy()
    numbers[4] = 53
    sample = Crystal(cell_A=scale * rest.cell_A, positions_A=shifted[order], numbers=numbers[order])
    np.testing.assert_allclose(displacements_from(rest, sample), moves[order], atol=1e-12)
    # Ag and S more than half way to each other's sites are still Ag and S.
    towards = 0.6 * (rest.positions_A[3] - rest.positions_A[0])
    crossed = rest.positions_A.copy()
    crossed[0] += towards
    crossed[3] -= towards
    found = displacements_from(rest, Crystal(cell_A=rest.cell_A, positions_A=crossed, numbers=rest.numbers))
    np.testing.assert_allclose(found, crossed - rest.positions_A, atol=1e-12)
    with pytest.raises(InputFileError, match="5 atoms, a sample has 1"):
        displacements_from(rest, Crystal(cell_A=np.eye(3), positions_A=np.zeros((1, 3)), numbers=[47]))
    with pytest.raises(InputFileError, match="from its site"):
        displacements_from(equilibrium(9.0), Crystal(cell_A=9 * np.eye(3), positions_A=SITES * 4, numbers=rest.numbers))


@pytest.mark.parametrize(
    "row",
    ["1 Uniform 0.2", "x Uniform 0.2 1.0", "1 Other 0.2 1.0", "1 Uniform nan 1.0", "1 Phononic 300 2.0", "1 1 1 1"],
)
def test_malformed_structures_info(tmp_path, row):
    run(tmp_path / "struc-0001", displaced(1))
    (tmp_path / "structures_info.txt").write_text(f"header\n{row}\n")
    with pytest.raises(InputFileError, match="line 2"):
        read_vasp_tree(tmp_path)
    (tmp_path / "structures_info.txt").write_text("header\n1 Uniform 0.2 1.0\n1 Uniform 0.2 1.0\n")
    with pytest.raises(InputFileError, match="line 3 describes structure 1 again"):
        read_vasp_tree(tmp_path)


def test_trees_without_a_calculation(tmp_path):
    for place in (tmp_path / "gone", tmp_path / "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(InputFileError, match=r"not a folder|holds no finished"):
            read_vasp_tree(place)
    run(tmp_path / "one", displaced(1), files=("POSCAR",))
    with pytest.raises(InputFileError, match="holds no finished static VASP calculation: "):
        read_vasp_tree(tmp_path)


def test_links_are_not_followed(tmp_path):
    run(tmp_path / "a", displaced(1))
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    found, _ = read_vasp_tree(tmp_path)
    assert len(found) == 1


def test_the_columns_carry_their_units(tmp_path):
    run(tmp_path / "a", displaced(1))
    _, labels = read_vasp_tree(tmp_path)
    for column in labels.columns:
        assert named_with_unit(column.name, {}, "test") == (column.name, column.unit)
