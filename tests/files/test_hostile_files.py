"""Mutated files: a value or one sentence, never another exception, never long; nothing in them is executed.

``HOSTILE_FILES`` in the environment multiplies the number of mutants (nightly runs).
"""

from __future__ import annotations

import os
import random
import re
import sys
import time
from pathlib import Path

import ase.io
import h5py
import numpy as np
import pytest
from ase.build import bulk
from phonopy.file_IO import get_FORCE_CONSTANTS_lines

sys.path.insert(0, str(Path(__file__).parent))
from vasprun import vasprun_text

from phonograph.errors import UserError
from phonograph.files.force_constants import read_force_constants
from phonograph.files.force_outputs import read_force_output
from phonograph.files.phonopy_yaml import calculator_units
from phonograph.files.structures import read_structures
from phonograph.files.trajectory_readers import read_trajectory
from phonograph.files.user_data import read_user_set

MUTANTS = 120 * int(os.environ.get("HOSTILE_FILES", "1"))
LIMIT_S = 2.0
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "structures" / "Ag3SBr.vasp"
NASTY = [
    *b"1000000000 -1 0 nan inf 1e999 1e-320 1.5 1/0 0x10 1_000 x X T S true ~ 2001-01-01".split(),
    *b"&a *a { } } - : ? ' # ; , =".split(),
    *b'x,y,z Lattice pbc=F Properties=species:S:1:pos:R:3 _JSON[1] Direct _cell_length_a \\ "'.split(),
    *(b"", b" ", b"\n", b"\n\n", b"\0", b"\xff\xfe", "é\u2028".encode(), b"9" * 400, b"[" * 50, b"- ", b": ", b"? "),
    *(b"data_x\n", b"loop_\n", b"%TAG ! x\n", b"_JSON [1]"),
    b"!!python/object/apply:os.mkdir ['CANARY']",
    b"__import__('os').mkdir('CANARY')",
]


def mutant(base, rng, canary):
    """Change a few bytes or words, or cut, repeat or exchange a piece."""
    data = base
    for _ in range(rng.choice((1, 1, 2, 5))):
        kind = rng.randrange(6)
        start = rng.randrange(len(data) + 1)
        stop = min(len(data), start + rng.choice((1, 2, 10, 80)))
        word = rng.choice(NASTY).replace(b"CANARY", os.fsencode(canary))
        if kind == 0:
            data = data[:start] + word + data[stop:]
        elif kind == 1:
            data = data[:start]
        elif kind == 2:
            data = data[:stop] + data[start:]
        elif kind == 3 and start < len(data):
            data = data[:start] + bytes([rng.randrange(256)]) + data[start + 1 :]
        else:
            words = list(re.finditer(rb"\S+", data))
            if words:
                chosen = rng.choice(words)
                data = data[: chosen.start()] + word + data[chosen.end() :]
    return data


def outcome(read, path):
    """Read a mutant; return whether it was refused, and fail on anything that is neither value nor sentence."""
    start, wall = time.process_time(), time.perf_counter()
    sentence = ""
    try:
        read(path)
    except UserError as error:
        sentence = str(error)
    # Processor time, so that a busy machine does not fail the test; the wall clock catches waiting for ever.
    assert time.process_time() - start < LIMIT_S
    assert time.perf_counter() - wall < 10 * LIMIT_S
    assert "\n" not in sentence
    assert len(sentence) < 1000
    return bool(sentence)


def attack(folder, name, base, read, mutants, seed):
    rng = random.Random(seed)
    canary = folder / "canary"
    path = folder / name
    refused = 0
    for number in range(mutants):
        data = mutant(base, rng, canary)
        path.write_bytes(data)
        try:
            refused += outcome(read, path)
        except BaseException:
            print(f"mutant {number} of {name}: {data[:3000]!r}")  # noqa: T201
            raise
        assert not canary.exists()
    assert 0 < refused, "the mutations must be able to break the file"


CIF = b"""data_x
_cell_length_a 4.9
_cell_length_b 4.9
_cell_length_c 4.9
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'P m m m'
_chemical_formula_sum 'Ag3 S Br'
loop_
_symmetry_equiv_pos_as_xyz
x,y,z
-x,-y,z
x,-y,-z
-x,y,-z
-x,-y,-z
x,y,-z
-x,y,z
x,-y,z
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Ag1 Ag 0.5 0.5 0 1
Ag2 Ag 0.5 0 0.5 1
Ag3 Ag 0 0.5 0.5 1
S1 S 0.5 0.5 0.5 1
Br1 Br 0 0 0 1
"""


def extxyz(folder):
    images = [bulk("NaCl", "rocksalt", a=5.6) for _ in range(3)]
    for number, atoms in enumerate(images):
        atoms.info.update(band_gap_eV=0.5 * number, temperature_K=300.0, group=f"g{number}", note="some text")
        atoms.arrays["displacement"] = 0.01 * np.ones((2, 3))
    ase.io.write(folder / "base.extxyz", images, format="extxyz")
    return (folder / "base.extxyz").read_bytes()


def test_poscar(tmp_path):
    attack(tmp_path, "POSCAR", EXAMPLE.read_bytes(), read_structures, 4 * MUTANTS, 1)


def test_cif(tmp_path):
    attack(tmp_path, "a.cif", CIF, read_structures, 3 * MUTANTS, 2)


def test_extxyz(tmp_path):
    base = extxyz(tmp_path)
    attack(tmp_path, "a.extxyz", base, read_structures, 2 * MUTANTS, 3)
    attack(tmp_path, "b.extxyz", base, lambda path: read_user_set("mine", path), 2 * MUTANTS, 4)


def test_label_tables(tmp_path):
    (tmp_path / "set.extxyz").write_bytes(extxyz(tmp_path))
    base = b'id,band_gap_eV,vbm_eV,group,status\n0,1.0,-5.0,a,ok\n1,"2.0",,b,ok\n2,nan,-5.5,b,failed\n'
    attack(tmp_path, "a.csv", base, lambda path: read_user_set("mine", tmp_path / "set.extxyz", path), 2 * MUTANTS, 5)


YAML = b"""phonopy:
  version: "4.8.6"
  calculator: vasp
physical_unit:
  length: "angstrom"
  force_constants: "eV/angstrom^2"
primitive_matrix:
- [ 1.0, 0.0, 0.0 ]
- [ 0.0, 1.0, 0.0 ]
- [ 0.0, 0.0, 1.0 ]
supercell_matrix:
- [ 2, 0, 0 ]
- [ 0, 1, 0 ]
- [ 0, 0, 1 ]
unit_cell:
  lattice:
  - [ 3.0, 0.0, 0.0 ] # a*
  - [ 0.0, 3.1, 0.0 ]
  - [ 0.0, 0.0, 3.2 ]
  points:
  - symbol: Cu # 1
    coordinates: [ 0.0, 0.0, 0.0 ]
    mass: 63.5
"""
FORCES = b"""displacements:
- atom: 1
  displacement: [ 0.01, 0.0, 0.0 ]
  forces:
  - [ -0.02, 0.0, 0.0 ]
  - [ 0.02, 0.0, 0.0 ]
- atom: 1
  displacement: [ 0.0, 0.01, 0.0 ]
  forces:
  - [ 0.0, -0.02, 0.0 ]
  - [ 0.0, 0.02, 0.0 ]
- atom: 1
  displacement: [ 0.0, 0.0, 0.01 ]
  forces:
  - [ 0.0, 0.0, -0.02 ]
  - [ 0.0, 0.0, 0.02 ]
"""
SPRINGS = np.einsum("ij,ab->ijab", np.array([[2.0, -2.0], [-2.0, 2.0]]), np.eye(3))


def test_phonopy_yaml_with_forces(tmp_path):
    (tmp_path / "whole.yaml").write_bytes(YAML + FORCES)
    np.testing.assert_allclose(read_force_constants(tmp_path / "whole.yaml").values_eV_per_A2, SPRINGS, atol=1e-12)
    attack(tmp_path, "phonopy_params.yaml", YAML + FORCES, read_force_constants, MUTANTS, 6)
    attack(tmp_path, "phonopy.yaml", YAML, read_structures, MUTANTS, 7)


def test_phonopy_yaml_with_force_constants(tmp_path):
    rows = "".join(f"  - # {i}\n" + "".join(f"    - {row.tolist()}\n" for row in SPRINGS[i, j])
                   for i in range(2) for j in range(2))  # fmt: skip
    base = YAML + f"force_constants:\n  format: full\n  shape: [ 2, 2 ]\n  elements:\n{rows}".encode()
    (tmp_path / "whole.yaml").write_bytes(base)
    np.testing.assert_array_equal(read_force_constants(tmp_path / "whole.yaml").values_eV_per_A2, SPRINGS)
    attack(tmp_path, "phonopy.yaml", base, read_force_constants, MUTANTS, 8)


def test_force_constants_text(tmp_path):
    (tmp_path / "phonopy_disp.yaml").write_bytes(YAML)
    base = "\n".join(get_FORCE_CONSTANTS_lines(SPRINGS)).encode()
    attack(tmp_path, "FORCE_CONSTANTS", base, read_force_constants, MUTANTS, 9)


def test_force_sets(tmp_path):
    (tmp_path / "phonopy_disp.yaml").write_bytes(YAML)
    blocks = [f"1\n{m}\n{f}\n{f.replace('-', '')}\n" for m, f in (
        ("0.01 0 0", "-0.02 0 0"), ("0 0.01 0", "0 -0.02 0"), ("0 0 0.01", "0 0 -0.02"))]  # fmt: skip
    base = ("2\n3\n\n" + "\n".join(blocks)).encode()
    (tmp_path / "FORCE_SETS_whole").write_bytes(base)
    np.testing.assert_allclose(
        read_force_constants(tmp_path / "FORCE_SETS_whole").values_eV_per_A2, SPRINGS, atol=1e-12
    )
    attack(tmp_path, "FORCE_SETS", base, read_force_constants, MUTANTS, 10)
    rng = np.random.default_rng(0)
    moves = rng.normal(scale=0.01, size=(20, 2, 3))
    forces = -np.einsum("ijab,njb->nia", SPRINGS, moves)
    rows = np.concatenate([moves, forces], axis=2).reshape(-1, 6)
    second = "\n".join(" ".join(f"{x:.8f}" for x in row) for row in rows).encode()
    attack(tmp_path, "FORCE_SETS", second, read_force_constants, MUTANTS // 2, 11)


def test_hdf5(tmp_path):
    (tmp_path / "phonopy_disp.yaml").write_bytes(YAML)
    with h5py.File(tmp_path / "base.hdf5", "w") as stream:
        stream["force_constants"] = SPRINGS
        stream["physical_unit"] = ["eV/angstrom^2"]
    np.testing.assert_array_equal(read_force_constants(tmp_path / "base.hdf5").values_eV_per_A2, SPRINGS)
    attack(tmp_path, "a.hdf5", (tmp_path / "base.hdf5").read_bytes(), read_force_constants, MUTANTS // 6, 12)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.extxyz", "1000000000\nLattice\n"),
        ("a.xyz", "1000000000\n" + "x\n" * 3),
        ("POSCAR", EXAMPLE.read_text().replace("3 1 1", "1000000000 1 1")),
        ("CONTCAR", EXAMPLE.read_text().replace("3 1 1", "99990 5 5")),
    ],
)
def test_a_billion_atoms_are_refused_in_no_time(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    start = time.process_time()
    with pytest.raises(UserError, match=r"claims \d+ atoms"):
        read_structures(tmp_path / name)
    assert time.process_time() - start < 0.5


DUMP = """ITEM: TIMESTEP
{0}
ITEM: NUMBER OF ATOMS
2
ITEM: BOX BOUNDS xy xz yz pp pp pp
0.0 6.0 1.0
0.0 4.0 1.0
0.0 4.0 0.0
ITEM: ATOMS id element x y z vx vy vz
2 Cl 2.0 2.0 2.{0} 0.1 0.2 0.3
1 Na 0.0 0.0 0.{0} 0.1 0.2 0.3
"""


def test_trajectories(tmp_path):
    images = [bulk("NaCl", "rocksalt", a=5.6) for _ in range(3)]
    for number, atoms in enumerate(images):
        atoms.positions += 0.01 * number
        atoms.set_momenta(np.ones((2, 3)))
    dump = "".join(DUMP.format(step) for step in (1, 2, 3)).encode()
    bases = {"md.dump": dump}
    for name, kind in (("XDATCAR", "vasp-xdatcar"), ("md.extxyz", "extxyz"), ("md.traj", "traj")):
        ase.io.write(tmp_path / name, images, format=kind)
        bases[name] = (tmp_path / name).read_bytes()
    for seed, (name, base) in enumerate(bases.items(), start=20):
        (tmp_path / name).write_bytes(base)
        assert len(read_trajectory(tmp_path / name)) == 3
        attack(tmp_path, name, base, read_trajectory, MUTANTS, seed)


def test_results_of_dft_codes(tmp_path):
    forces = np.arange(6.0).reshape(2, 3)
    xml = vasprun_text(["Na", "Cl"], np.eye(3) * 4, [[0, 0, 0], [0.5, 0.5, 0.5]], forces, steps=2).encode()
    cp2k = b" ATOMIC FORCES in [a.u.]\n\n # Atom   Kind   Element          X              Y              Z\n"
    cp2k += b"      1      1      Na    -0.00042  0.1  0.0\n      2      2      Cl     0.00042 -0.1  0.0\n"
    cp2k += b" SUM OF ATOMIC FORCES   0.0  0.0  0.0  0.0\n"
    pwscf = b"     Program PWSCF v.7.2 starts\n     celldm(1)=  10.000000  celldm(2)=   0.000000\n"
    zero, one = b"0.000000", b"1.000000"
    for axis, vector in enumerate(((one, zero, zero), (zero, one, zero), (zero, zero, one))):
        pwscf += b"               a(%d) = ( %s )\n" % (axis + 1, b" ".join(vector))
    pwscf += b"     site n.     atom                  positions (alat units)\n"
    pwscf += b"         1           Na  tau(   1) = (   0.0000000   0.0000000   0.0000000  )\n"
    pwscf += b"         2           Cl  tau(   2) = (   0.5000000   0.5000000   0.5000000  )\n"
    pwscf += b"     Forces acting on atoms (cartesian axes, Ry/au):\n\n"
    pwscf += b"     atom    1 type  1   force =    -0.00042    0.10000    0.00000\n"
    pwscf += b"     atom    2 type  2   force =     0.00042   -0.10000    0.00000\n   JOB DONE.\n"
    for seed, (name, base, code) in enumerate(
        (("vasprun.xml", xml, "vasp"), ("a.out", pwscf, "qe"), ("a-forces-1_0.xyz", cp2k, "cp2k")), start=30
    ):
        factors = calculator_units(code, "test")

        def read(path, factors=factors):
            return read_force_output(path, 2, factors)

        (tmp_path / name).write_bytes(base)
        found = read(tmp_path / name)
        assert found.forces_eV_per_A.shape == (2, 3)
        assert found.symbols == ("Na", "Cl")
        attack(tmp_path, name, base, read, MUTANTS, seed)
