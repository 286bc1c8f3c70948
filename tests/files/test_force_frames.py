"""Displaced supercells with forces as extended XYZ, fitted by symfc: against planted force constants and FORCE_SETS."""

from __future__ import annotations

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from phonopy.file_IO import write_FORCE_SETS

from phonograph.errors import InputFileError
from phonograph.files.displacements import write_displacements
from phonograph.files.force_constants import read_force_constants
from phonograph.files.structures import read_structure
from phonograph.types import Crystal

MATRIX = [[2, 0, 0], [0, 2, 0], [0, 0, 1]]


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """Ordered CuAu in a folder with phonopy_disp.yaml; harmonic forces of EMT's force constants, made symmetric."""
    folder = tmp_path_factory.mktemp("frames")
    crystal = Crystal(cell_A=np.diag([2.8, 2.8, 3.7]), positions_A=[[0, 0, 0], [1.4, 1.4, 1.85]], numbers=[29, 79])
    write_displacements(crystal, MATRIX, folder / "d", displacement_A=0.01)
    supercell = read_structure(folder / "d" / "SPOSCAR")
    rng = np.random.default_rng(3)
    moves = rng.normal(scale=0.05, size=(6, len(supercell), 3))
    return folder / "d", crystal, supercell, moves


def emt_forces(supercell, positions):
    atoms = Atoms(numbers=supercell.numbers, cell=supercell.cell_A, positions=positions, pbc=True)
    atoms.calc = EMT()
    return atoms.get_forces()


def frames(supercell, moves, name="forces", forces=None, shift=0.0):
    images = []
    for index, u in enumerate(moves):
        found = emt_forces(supercell, supercell.positions_A + u) if forces is None else forces[index]
        atoms = Atoms(numbers=supercell.numbers, cell=supercell.cell_A, positions=supercell.positions_A + u + shift,
                      pbc=True)  # fmt: skip
        if name == "forces":
            atoms.calc = SinglePointCalculator(atoms, forces=found, energy=-1.0)
        else:
            atoms.arrays[name] = found
        images.append(atoms)
    return images


@pytest.mark.parametrize("name", ["forces", "REF_forces", "force"])
def test_the_same_as_force_sets_of_type_2(case, tmp_path, name):
    folder, crystal, supercell, moves = case
    forces = np.array([emt_forces(supercell, supercell.positions_A + u) for u in moves])
    (tmp_path / "phonopy_disp.yaml").write_bytes((folder / "phonopy_disp.yaml").read_bytes())
    images = frames(supercell, moves, name)
    for image in images:
        image.wrap()
    ase.io.write(tmp_path / "set.extxyz", images)
    with_yaml = read_force_constants(tmp_path / "set.extxyz")
    (tmp_path / "alone").mkdir()
    ase.io.write(tmp_path / "alone" / "set.extxyz", images)
    alone = read_force_constants(tmp_path / "alone" / "set.extxyz", structure=crystal, supercell_matrix=MATRIX)
    options = {"structure": crystal, "supercell_matrix": MATRIX}
    (tmp_path / "plain").mkdir()
    write_FORCE_SETS({"displacements": moves, "forces": forces}, tmp_path / "plain" / "FORCE_SETS")
    reference = read_force_constants(tmp_path / "plain" / "FORCE_SETS", **options)
    np.testing.assert_allclose(with_yaml.values_eV_per_A2, reference.values_eV_per_A2, atol=1e-5)
    np.testing.assert_allclose(alone.values_eV_per_A2, with_yaml.values_eV_per_A2, atol=1e-10)
    assert with_yaml.origin.settings["kind"] == "extxyz"
    assert with_yaml.origin.settings["layout"] == "displaced supercells, forces at rest not given"


def test_planted_force_constants_come_back_and_forces_at_rest_go(case, tmp_path):
    """F = −Φu + F₀ with a frame at rest: Φ returns; the whole set may be shifted."""
    _, crystal, supercell, moves = case
    options = {"structure": crystal, "supercell_matrix": MATRIX}
    ase.io.write(tmp_path / "first.extxyz", frames(supercell, moves))
    planted = read_force_constants(tmp_path / "first.extxyz", **options).values_eV_per_A2
    push = np.random.default_rng(0).normal(size=(len(supercell), 3))
    harmonic = -np.einsum("ijab,njb->nia", planted, moves)
    ase.io.write(tmp_path / "plain.extxyz", frames(supercell, moves, forces=harmonic, shift=0.4))
    found = read_force_constants(tmp_path / "plain.extxyz", **options)
    np.testing.assert_allclose(found.values_eV_per_A2, planted, atol=1e-5)
    at_rest = np.concatenate([np.zeros_like(moves[:1]), moves])
    pushed = np.concatenate([push[None], harmonic + push])
    ase.io.write(tmp_path / "pushed.extxyz", frames(supercell, at_rest, forces=pushed))
    found = read_force_constants(tmp_path / "pushed.extxyz", **options)
    np.testing.assert_allclose(found.values_eV_per_A2, planted, atol=1e-5)
    assert found.origin.settings["layout"] == "displaced supercells, forces at rest subtracted"


def test_frames_that_do_not_belong_are_refused(case, tmp_path):
    _, crystal, supercell, moves = case
    options = {"structure": crystal, "supercell_matrix": MATRIX}
    copper = np.flatnonzero(supercell.numbers == 29)
    order = np.arange(len(supercell))
    order[copper] = np.roll(copper, 1)

    def refused(images, sentence):
        ase.io.write(tmp_path / "set.extxyz", images)
        with pytest.raises(InputFileError, match=sentence) as caught:
            read_force_constants(tmp_path / "set.extxyz", **options)
        assert "\n" not in str(caught.value)

    good = frames(supercell, moves)
    # One atom alone in its place is what tells the order; a shift of the whole lattice would not matter.
    swapped = [*range(len(supercell))]
    swapped[copper[0]], swapped[copper[1]] = swapped[copper[1]], swapped[copper[0]]
    mixed = good[2][swapped]
    mixed.calc = SinglePointCalculator(mixed, forces=good[2].get_forces()[swapped])
    refused([*good[:2], mixed], r"frame 2: the atoms of the trajectory come in another order.*sits on the site of atom")
    turned = good[1][::-1]
    turned.calc = SinglePointCalculator(turned, forces=good[1].get_forces()[::-1])
    refused([good[0], turned], "frame 1: the atoms of the trajectory come in another order than those of the supercell")
    larger = good[0].copy()
    larger.set_cell(1.02 * larger.cell, scale_atoms=True)
    larger.calc = SinglePointCalculator(larger, forces=good[0].get_forces())
    refused([larger], "frame 0: the lattice of the trajectory .* is not that of the supercell")
    refused(
        frames(supercell, moves[:1], "push"), "frame 0 holds no forces; expected a column forces, REF_forces, force"
    )
    nan = good[3].get_forces()
    nan[2, 1] = np.nan
    refused(frames(supercell, moves[:1], "REF_forces", nan[None]), "frame 0: the forces must be finite; got 1 NaN")
    refused(frames(supercell, np.zeros_like(moves)), "holds no displaced supercell")
    salt = bulk("NaCl", "rocksalt", a=5.6)
    salt.arrays["forces"] = np.zeros((2, 3))
    refused([salt], "frame 0: the trajectory has 2 atoms, but the supercell .* has 8")


def test_too_few_frames_and_truncated_files(tmp_path):
    """No symmetry: two supercells of two atoms determine 11 of 21 force constants."""
    low = Crystal(cell_A=[[3.0, 0.2, 0.1], [0.1, 3.3, 0.2], [0.3, 0.1, 3.7]], numbers=[29, 79, 47],
                  positions_A=[[0, 0, 0], [1.5, 1.4, 0.2], [0.3, 1.7, 1.9]])  # fmt: skip
    moves = np.random.default_rng(1).normal(scale=0.05, size=(7, 3, 3))
    options = {"structure": low, "supercell_matrix": [1, 1, 1]}
    ase.io.write(tmp_path / "set.extxyz", frames(low, moves[:2]))
    with pytest.raises(InputFileError, match=r"holds 2 displaced supercells, which determine 11 of 21 .*; at least 4"):
        read_force_constants(tmp_path / "set.extxyz", **options)
    ase.io.write(tmp_path / "set.extxyz", frames(low, moves))
    read_force_constants(tmp_path / "set.extxyz", **options)
    text = (tmp_path / "set.extxyz").read_text()
    (tmp_path / "set.extxyz").write_text("\n".join(text.splitlines()[:-2]))
    with pytest.raises(InputFileError, match="is truncated"):
        read_force_constants(tmp_path / "set.extxyz", **options)
    with pytest.raises(InputFileError, match="give the structure and the supercell matrix"):
        read_force_constants(tmp_path / "set.extxyz")
