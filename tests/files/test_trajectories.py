"""Trajectories of other programs against ASE's own writers and readers, and what is refused."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixCom

sys.path.insert(0, str(Path(__file__).parent))
from vasprun import vasprun_text

from phonograph.errors import DataError, InputFileError
from phonograph.files.trajectories import save_part
from phonograph.files.trajectory_readers import read_trajectory
from phonograph.phonons import CalculatorForces
from phonograph.phonons.dynamics import MolecularDynamics, dynamics_parts, molecular_dynamics
from phonograph.types import Crystal, Trajectory, displacements, matched, require_time_step
from phonograph.units import A_PER_PS

SETTINGS = MolecularDynamics(temperature_K=300, time_step_fs=4, duration_ps=0.6, equilibration_ps=0.05, stride=5)
FORCES = CalculatorForces(engine="emt")


def crystal_of(atoms) -> Crystal:
    return Crystal(cell_A=np.array(atoms.cell), positions_A=atoms.positions, numbers=atoms.numbers, title="Al")


@pytest.fixture(scope="module")
def supercell() -> Crystal:
    """Eight atoms of aluminium in a skewed cell: rows and columns cannot be mistaken for each other."""
    return crystal_of(ase.build.make_supercell(bulk("Al", "fcc", a=3.994), [[2, 0, 0], [1, 2, 0], [0, 1, 2]]))


@pytest.fixture(scope="module")
def run(supercell) -> Trajectory:
    return molecular_dynamics(supercell, FORCES, SETTINGS, seed=5)


@pytest.fixture(scope="module")
def images(run):
    """The same frames as ASE's objects, with momenta, energy and forces."""
    found = []
    for positions, velocities, forces, energy in zip(
        run.positions_A, run.velocities_A_per_ps, run.forces_eV_per_A, run.energies_eV, strict=True
    ):
        atoms = Atoms(numbers=run.numbers, positions=positions, cell=run.cell_A, pbc=True)
        atoms.set_velocities(velocities / A_PER_PS)
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
        found.append(atoms)
    return found


def drifted(images, shift):
    """The same run with all atoms moving along, each frame wrapped into the cell."""
    found = []
    for index, atoms in enumerate(images):
        moved = Atoms(
            numbers=atoms.numbers, positions=atoms.positions + index * np.array(shift), cell=atoms.cell, pbc=True
        )
        moved.wrap(eps=0)
        found.append(moved)
    return found


def assert_same(found: Trajectory, run: Trajectory, atol: float, fields: tuple[str, ...]) -> None:
    np.testing.assert_allclose(found.cell_A, run.cell_A, atol=atol)
    np.testing.assert_array_equal(found.numbers, run.numbers)
    for name in ("positions_A", *fields):
        np.testing.assert_allclose(getattr(found, name), getattr(run, name), atol=atol, err_msg=name)
    for name in {"velocities_A_per_ps", "forces_eV_per_A", "energies_eV"} - set(fields):
        assert getattr(found, name) is None, name


ALL = ("velocities_A_per_ps", "forces_eV_per_A", "energies_eV")


def test_ase_traj(run, images, tmp_path):
    images[0].set_constraint(FixCom())
    ase.io.write(tmp_path / "md.traj", images)
    images[0].set_constraint()
    found = read_trajectory(tmp_path / "md.traj", time_step_fs=20.0, temperature_K=300)
    assert_same(found, run, 1e-12, ALL)
    assert found.time_step_fs == 20.0
    assert found.temperature_K == 300
    assert found.warnings == ()


def test_extended_xyz(run, images, tmp_path):
    ase.io.write(tmp_path / "md.extxyz", images)
    found = read_trajectory(tmp_path / "md.extxyz")
    assert_same(found, run, 1e-7, ALL)
    assert found.time_step_fs is None
    with pytest.raises(DataError, match="has a missing time step, and without it neither frequencies"):
        require_time_step(found)
    for index, atoms in enumerate(images):
        atoms.info.update(time_fs=20.0 * index, temperature_K=300.0)
    ase.io.write(tmp_path / "timed.extxyz", images)
    for atoms in images:
        atoms.info.clear()
    found = read_trajectory(tmp_path / "timed.extxyz")
    assert require_time_step(found) == pytest.approx(20.0)
    assert found.temperature_K == 300
    with pytest.raises(InputFileError, match="says a time step of 20 fs, but a time step of 10 fs was given"):
        read_trajectory(tmp_path / "timed.extxyz", time_step_fs=10.0)


def test_velocities_in_extended_xyz_count_only_with_a_unit(run, images, tmp_path):
    for name, factor in (("velocities_A_per_ps", 1.0), ("velocities_A_per_fs", 1e-3), ("vel", 1e-3)):
        plain = [Atoms(numbers=a.numbers, positions=a.positions, cell=a.cell, pbc=True) for a in images]
        for atoms, velocities in zip(plain, run.velocities_A_per_ps, strict=True):
            atoms.arrays[name] = velocities * factor
        ase.io.write(tmp_path / "md.extxyz", plain)
        found = read_trajectory(tmp_path / "md.extxyz")
        if name == "vel":
            assert found.velocities_A_per_ps is None
            assert "states no unit and was left out" in found.warnings[0]
        else:
            np.testing.assert_allclose(found.velocities_A_per_ps, run.velocities_A_per_ps, atol=1e-4)


def test_xdatcar_with_one_header_or_many(run, images, tmp_path):
    ase.io.write(tmp_path / "XDATCAR", images, format="vasp-xdatcar")
    many = (tmp_path / "XDATCAR").read_text()
    header = many[: many.index("Direct configuration")]
    (tmp_path / "XDATCAR_once").write_text(header + many.replace(header, ""))
    assert many.count("Al") == 2 * len(run)
    for name in ("XDATCAR", "XDATCAR_once"):
        found = read_trajectory(tmp_path / name, time_step_fs=20.0)
        assert_same(found, run, 1e-6, ())
        reference = ase.io.read(tmp_path / "XDATCAR", index=":", format="vasp-xdatcar")
        np.testing.assert_allclose(found.positions_A, [a.positions for a in reference], atol=1e-9)


def test_vasprun_of_molecular_dynamics(run, images, supercell, tmp_path):
    """Positions wrapped as VASP writes them, forces, energies, POTIM; phonopy reads the same forces."""
    frames = [(a.get_scaled_positions(), a.get_forces(), a.get_potential_energy()) for a in images]
    text = vasprun_text(["Al"] * len(supercell), run.cell_A, *frames[0], more=frames[1:], step_fs=20.0)
    (tmp_path / "vasprun.xml").write_text(text)
    found = read_trajectory(tmp_path / "vasprun.xml")
    assert found.time_step_fs == 20.0
    assert found.velocities_A_per_ps is None
    np.testing.assert_allclose(found.forces_eV_per_A, run.forces_eV_per_A, atol=1e-8)
    np.testing.assert_allclose(found.energies_eV, run.energies_eV, atol=1e-8)
    wanted = displacements(matched(run, supercell), supercell)
    np.testing.assert_allclose(displacements(matched(found, supercell), supercell), wanted, atol=1e-6)
    steps = len(run)
    (tmp_path / "vasprun.xml").write_text(text.replace(f'"NSW">{steps}<', f'"NSW">{2 * steps}<'))
    assert read_trajectory(tmp_path / "vasprun.xml").time_step_fs is None, "every second step may be missing"
    (tmp_path / "vasprun.xml").write_text(text[: len(text) // 2])
    with pytest.raises(InputFileError, match="unfinished, or the copy is cut"):
        read_trajectory(tmp_path / "vasprun.xml")


def test_atoms_are_followed_across_the_faces_of_the_cell(run, images, supercell, tmp_path):
    """A run that drifts, wrapped, gives the same displacements as the run at rest."""
    ase.io.write(tmp_path / "XDATCAR", drifted(images, (0.3, -0.4, 0.5)), format="vasp-xdatcar")
    found = read_trajectory(tmp_path / "XDATCAR", time_step_fs=20.0)
    assert np.ptp(found.positions_A, axis=0).max() > 10, "atoms leave the cell"
    wanted = displacements(matched(run, supercell), supercell)
    np.testing.assert_allclose(displacements(matched(found, supercell), supercell), wanted, atol=1e-5)


def test_a_large_step_between_frames_is_told(images, tmp_path):
    ase.io.write(tmp_path / "XDATCAR", drifted(images, (1.6, 0.0, 0.0)), format="vasp-xdatcar")
    assert "of the cell between two frames" in read_trajectory(tmp_path / "XDATCAR").warnings[0]


def dump(run, columns, scaled=False, tilt=True, order=None, every=5, more=()):
    """Text of a LAMMPS dump in the layout of LAMMPS's manual, atoms in the order ``order``."""
    turned = np.array(Atoms(cell=run.cell_A).cell.standard_form()[0])
    rotation = np.linalg.solve(run.cell_A, turned)
    xy, xz, yz = turned[1, 0], turned[2, 0], turned[2, 1]
    low = np.array([1.0, -2.0, 0.5])
    text = []
    for index in range(len(run)):
        corner = low + np.array([min(0, xy, xz, xy + xz), min(0, yz), 0])
        far = low + np.diag(turned) + np.array([max(0, xy, xz, xy + xz), max(0, yz), 0])
        bounds = np.column_stack([corner, far, (xy, xz, yz)])
        head = "xy xz yz pp pp pp" if tilt else "pp pp pp"
        rows = [" ".join(f"{x:.16g}" for x in row[: 3 if tilt else 2]) for row in bounds]
        text += ["ITEM: TIMESTEP", str(1000 + every * index), "ITEM: NUMBER OF ATOMS", str(len(run.numbers)), *more,
                 f"ITEM: BOX BOUNDS {head}", *rows, f"ITEM: ATOMS {columns}"]  # fmt: skip
        positions = run.positions_A[index] @ rotation
        x = positions @ np.linalg.inv(turned) if scaled else positions + low
        v, f = run.velocities_A_per_ps[index] @ rotation, run.forces_eV_per_A[index] @ rotation
        for i in order if order is not None else range(len(x)):
            values = {"id": i + 1, "type": 1, "element": "Al"}
            for name, vector in (("x", x), ("v", v), ("f", f)):
                for axis, letter in enumerate("xyz"):
                    known = f"{letter}{'s' if scaled else ''}" if name == "x" else name + letter
                    values |= {known: f"{vector[i, axis]:.12g}", known + "u": f"{vector[i, axis]:.12g}"}
            text.append(" ".join(str(values[c]) for c in columns.split()))
    return "\n".join(text) + "\n"


@pytest.mark.parametrize(
    ("columns", "scaled", "fields"),
    [
        ("id type element x y z vx vy vz fx fy fz", False, ("velocities_A_per_ps", "forces_eV_per_A")),
        ("id element xu yu zu", False, ()),
        ("id type xs ys zs vx vy vz", True, ("velocities_A_per_ps",)),
    ],
)
def test_lammps_dump_of_a_triclinic_box(run, supercell, tmp_path, columns, scaled, fields):
    """LAMMPS turns the cell and does not sort; ``matched`` turns it back."""
    order = np.random.default_rng(0).permutation(len(supercell))
    (tmp_path / "md.lammpstrj").write_text(dump(run, columns, scaled, order=order))
    found = read_trajectory(tmp_path / "md.lammpstrj", step_fs=4.0, reference=supercell)
    assert found.time_step_fs == pytest.approx(20.0)
    back, wanted = matched(found, supercell), matched(run, supercell)
    assert "turned" in back.warnings[0]
    assert_same(back, wanted, 1e-7, fields)
    again = ase.io.read(tmp_path / "md.lammpstrj", index=3, format="lammps-dump-text", units="metal")
    np.testing.assert_allclose(np.array(again.cell), found.cell_A, atol=1e-9)
    # ASE keeps LAMMPS's origin, which is no atom's business; distances are what counts.
    np.testing.assert_allclose(
        again.get_distances(0, range(1, 8), mic=True),
        Atoms(positions=found.positions_A[3], cell=found.cell_A, pbc=True).get_distances(
            0, list(range(1, 8)), mic=True
        ),
        atol=1e-8,
    )


def test_lammps_dump_says_its_time(run, supercell, tmp_path):
    timed = dump(run, "id element x y z", more=("ITEM: UNITS", "metal"))
    (tmp_path / "a.dump").write_text(timed)
    assert read_trajectory(tmp_path / "a.dump").time_step_fs is None
    (tmp_path / "b.dump").write_text(timed.replace("metal", "real"))
    with pytest.raises(InputFileError, match="LAMMPS units 'real'; expected 'metal'"):
        read_trajectory(tmp_path / "b.dump")
    in_ps = re.sub(r"ITEM: TIMESTEP\n(\d+)\n", lambda m: f"{m[0]}ITEM: TIME\n{int(m[1]) / 250}\n", timed)
    (tmp_path / "c.dump").write_text(in_ps)
    assert read_trajectory(tmp_path / "c.dump").time_step_fs == pytest.approx(20.0)


def test_our_own_parts(run, supercell, tmp_path):
    for index, part in enumerate(dynamics_parts(supercell, FORCES, SETTINGS, seed=5)):
        save_part(tmp_path, index, part.trajectory, {"step": part.step})
    found = read_trajectory(tmp_path)
    assert_same(found, run, 0.0, ALL)
    assert found.time_step_fs == 20.0
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputFileError, match="holds no frames"):
        read_trajectory(tmp_path / "empty")


def test_truncated_and_damaged_files(run, images, tmp_path, supercell):
    texts = {}
    ase.io.write(tmp_path / "XDATCAR", images, format="vasp-xdatcar")
    ase.io.write(tmp_path / "md.extxyz", images)
    (tmp_path / "md.dump").write_text(dump(run, "id element x y z"))
    texts = {name: (tmp_path / name).read_text() for name in ("XDATCAR", "md.extxyz", "md.dump")}
    for name, text in texts.items():
        rows = text.splitlines()
        (tmp_path / name).write_text("\n".join(rows[:-5]) + "\n")
        with pytest.raises(InputFileError, match="truncated") as caught:
            read_trajectory(tmp_path / name)
        assert "\n" not in str(caught.value)
        for cut in (3, len(text) // 2 + 7, len(text) - 30):
            (tmp_path / name).write_text(text[:cut])
            with pytest.raises(InputFileError) as caught:
                read_trajectory(tmp_path / name)
            assert "\n" not in str(caught.value)
        (tmp_path / name).write_text("\n".join([*rows[:-4], re.sub(r"\S+$", "nan", rows[-4]), *rows[-3:], ""]))
        with pytest.raises(InputFileError, match="NaN or infinite"):
            read_trajectory(tmp_path / name)
    ase.io.write(tmp_path / "md.traj", images)
    data = (tmp_path / "md.traj").read_bytes()
    for cut in (10, 100, len(data) // 2, len(data) - 20):
        (tmp_path / "md.traj").write_bytes(data[:cut])
        with pytest.raises(InputFileError) as caught:
            read_trajectory(tmp_path / "md.traj")
        assert "\n" not in str(caught.value)


def changed(run, **fields):
    values = {name: getattr(run, name) for name in ("cell_A", "numbers", "masses_amu", "positions_A")}
    return Trajectory(**(values | fields))


def test_a_cell_that_changes_is_refused(images, tmp_path):
    stretched = [image.copy() for image in images]
    for index, atoms in enumerate(stretched):
        atoms.set_cell(atoms.cell * (1 + 1e-3 * index), scale_atoms=True)
    ase.io.write(tmp_path / "md.extxyz", stretched)
    with pytest.raises(InputFileError, match=r"lattice vectors that change.*fixed cell"):
        read_trajectory(tmp_path / "md.extxyz")


def test_times_must_be_even(run, tmp_path, supercell):
    text = dump(run, "id element x y z")
    (tmp_path / "a.dump").write_text(text.replace("ITEM: TIMESTEP\n1010\n", "ITEM: TIMESTEP\n1011\n"))
    with pytest.raises(InputFileError, match="not evenly spaced in time: frame 2 follows after 24 fs, others after 20"):
        read_trajectory(tmp_path / "a.dump", step_fs=4.0)
    (tmp_path / "a.dump").write_text(text)
    for name in ("time_step_fs", "step_fs", "temperature_K"):
        for value in (0.0, -1.0, float("nan")):
            with pytest.raises(InputFileError, match=f"{name} must be positive"):
                read_trajectory(tmp_path / "a.dump", **{name: value})


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("ITEM: ATOMS id element", "ITEM: ATOMS no element", "no column 'id'"),
        ("ITEM: ATOMS id element", "ITEM: ATOMS id kind", "does not name its elements"),
        ("ITEM: ATOMS id element x y z", "ITEM: ATOMS id element a b c", "has no coordinates"),
        ("ITEM: NUMBER OF ATOMS\n8\n", "ITEM: NUMBER OF ATOMS\n1000000000\n", "must be a number of atoms"),
        ("\n2 Al", "\n3 Al", "each id from 1 to 8 once"),
        ("\n2 Al", "\n2 Xx", "unknown element 'Xx'"),
        ("ITEM: BOX BOUNDS", "ITEM: SOMETHING", "ITEM"),
    ],
)
def test_dumps_that_cannot_be_understood(run, tmp_path, old, new, sentence):
    assert len(run.numbers) == 8
    text = dump(run, "id element x y z")
    assert old in text
    (tmp_path / "a.dump").write_text(text.replace(old, new))
    with pytest.raises(InputFileError, match=sentence) as caught:
        read_trajectory(tmp_path / "a.dump")
    assert "\n" not in str(caught.value)


def test_an_unknown_name_is_refused(tmp_path):
    (tmp_path / "md.xtc").write_text("x")
    with pytest.raises(InputFileError, match="the format follows from the name"):
        read_trajectory(tmp_path / "md.xtc")


def test_ase_objects_in_a_traj_are_not_constructed(run, images, tmp_path, monkeypatch):
    """Constraints and cells, which ASE makes by the name in the file, stay text here."""
    with_objects = [image.copy() for image in images]
    for atoms in with_objects:
        atoms.set_constraint(FixCom())
        atoms.info["box"] = atoms.cell
    ase.io.write(tmp_path / "md.traj", with_objects)

    def trap(*_, **__):
        raise AssertionError("an object was constructed")

    monkeypatch.setattr("ase.io.jsonio.create_ase_object", trap)
    with pytest.raises(AssertionError):
        ase.io.read(tmp_path / "md.traj", index=0)
    found = read_trajectory(tmp_path / "md.traj")
    np.testing.assert_array_equal(found.positions_A, run.positions_A)


# --- against the supercell ------------------------------------------------------------------------------------------


@pytest.fixture
def salt():
    atoms = ase.build.make_supercell(bulk("NaCl", "rocksalt", a=5.6), [[2, 0, 0], [0, 2, 0], [1, 0, 2]])
    rng = np.random.default_rng(0)
    moved = 0.1 * rng.normal(size=(20, len(atoms), 3))
    return crystal_of(atoms), moved, rng


def at_rest(moved, masses):
    return moved - np.einsum("fia,i->fa", moved, masses)[:, None] / masses.sum()


def test_displacements_survive_shift_drift_wrapping_and_rotation(salt):
    crystal, moved, rng = salt
    wraps = rng.integers(-2, 3, size=(len(crystal), 3)) @ crystal.cell_A
    drift = np.linspace(0, 3, 20)[:, None, None] * np.array([1.0, -0.5, 0.2])
    positions = crystal.positions_A + moved + wraps + drift + 1.234
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    wanted = at_rest(moved, crystal.masses_amu)
    for turn in (np.eye(3), rotation):
        run = Trajectory(cell_A=crystal.cell_A @ turn, numbers=crystal.numbers, masses_amu=crystal.masses_amu,
                         positions_A=positions @ turn, velocities_A_per_ps=moved @ turn + 2.0,
                         forces_eV_per_A=moved @ turn)  # fmt: skip
        found = matched(run, crystal)
        np.testing.assert_allclose(displacements(found, crystal), wanted, atol=1e-12)
        np.testing.assert_allclose(found.positions_A - crystal.positions_A, wanted, atol=1e-12)
        np.testing.assert_allclose(found.velocities_A_per_ps, wanted, atol=1e-12)
        np.testing.assert_allclose(found.forces_eV_per_A, moved, atol=1e-12)
        assert len(found.warnings) == (0 if turn is not rotation else 1)


def test_rounded_lattice_vectors_are_told_and_do_not_move_atoms(salt):
    crystal, moved, _ = salt
    stretch = np.diag([1.0005, 1.0, 1.0])
    run = changed(crystal, cell_A=crystal.cell_A @ stretch, positions_A=(crystal.positions_A + moved) @ stretch)
    found = matched(run, crystal)
    np.testing.assert_allclose(displacements(found, crystal), at_rest(moved, crystal.masses_amu), atol=1e-12)
    assert "lattice vectors of the trajectory differ" in found.warnings[0]


def test_other_masses_are_told(salt):
    crystal, moved, _ = salt
    run = changed(crystal, positions_A=crystal.positions_A + moved)
    assert not any("masses" in sentence for sentence in matched(run, crystal).warnings)
    heavy = replace(run, masses_amu=np.where(run.numbers == 17, 36.966, run.masses_amu))
    found = matched(heavy, crystal)
    assert any("Cl: 36.966 and 35.4" in sentence for sentence in found.warnings)
    np.testing.assert_array_equal(found.masses_amu, crystal.masses_amu)


def test_another_order_other_elements_and_another_cell_are_refused(salt):
    crystal, moved, rng = salt
    run = changed(crystal, positions_A=crystal.positions_A + moved + 0.7)
    sodium = np.flatnonzero(crystal.numbers == 11)
    order = np.arange(len(crystal))
    order[sodium] = np.roll(sodium, 3)
    cases = [
        (changed(run, positions_A=run.positions_A[:, order]), r"atom \d+ \(\w+\) sits on the site of atom"),
        (changed(run, numbers=run.numbers[::-1].copy()), "another order than those of the supercell: atom 1 is Cl"),
        (changed(run, numbers=np.where(run.numbers == 11, 19, 17)), "other elements than the supercell"),
        (changed(run, cell_A=1.01 * run.cell_A), "is not that of the supercell"),
        (changed(run, positions_A=rng.uniform(0, 9, size=run.positions_A.shape)), "do not sit on the sites"),
        (changed(run, numbers=[11], masses_amu=[23.0], positions_A=np.zeros((1, 1, 3))), "has 1 atoms"),
    ]  # fmt: skip
    for wrong, sentence in cases:
        with pytest.raises(DataError, match=sentence) as caught:
            matched(wrong, crystal)
        assert "\n" not in str(caught.value)


def test_an_atom_that_leaves_its_site_is_told(salt):
    crystal, moved, _ = salt
    moved = moved.copy()
    moved[10:, 3] += [2.8, 0.0, 0.0]
    found = matched(changed(crystal, positions_A=crystal.positions_A + moved), crystal)
    assert re.search(r"1 of 16 atoms move more than 1\.40 Å .* atom 4 \(Cl\)", found.warnings[0])


def test_velocities_of_ase_are_in_A_per_ps(run, images):
    assert A_PER_PS == pytest.approx(1000 * units.fs, rel=1e-6)
    np.testing.assert_allclose(images[0].get_velocities() * 1000 * units.fs, run.velocities_A_per_ps[0], rtol=1e-6)
