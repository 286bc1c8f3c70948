"""Relaxation: reaches the minimum, keeps the symmetry, and does not claim what it did not reach."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import spglib
from ase import Atoms
from ase.calculators.emt import EMT

from phonograph.errors import ConfigurationError, DataError
from phonograph.phonons import CalculatorForces, Relaxation, relax
from phonograph.types import Crystal

FORCES = CalculatorForces(engine="emt")


def rotations(crystal):
    return len(spglib.get_symmetry((crystal.cell_A, crystal.fractional, crystal.numbers), symprec=1e-5)["rotations"])


def test_the_cell_reaches_zero_stress_and_stays_cubic(aluminium):
    wide = replace(aluminium, cell_A=aluminium.cell_A * 1.03, positions_A=aluminium.positions_A * 1.03)
    found = relax(wide, FORCES, Relaxation(what="cell"))
    atoms = Atoms(numbers=found.numbers, positions=found.positions_A, cell=found.cell_A, pbc=True, calculator=EMT())
    assert np.abs(atoms.get_stress()).max() * 160.2 < 0.05
    assert rotations(found) == rotations(aluminium) == 192
    assert found.title == "Al"
    assert abs(found.cell_A[0, 0] - 3.9937) < 0.01


def test_positions_move_the_cell_does_not():
    a = 3.9
    crystal = Crystal(cell_A=np.diag([a, a, a]), positions_A=[[0, 0, 0], [a / 2, a / 2, 0.46 * a]], numbers=[29, 79])
    found = relax(crystal, FORCES)
    np.testing.assert_array_equal(found.cell_A, crystal.cell_A)
    atoms = Atoms(numbers=found.numbers, positions=found.positions_A, cell=found.cell_A, pbc=True, calculator=EMT())
    assert np.abs(atoms.get_forces()).max() < 0.005
    assert rotations(found) >= rotations(crystal)


def test_few_digits_are_put_onto_symmetric_sites():
    a = 2.6
    cell = np.array([[a, 0, 0], [-a / 2, a * np.sqrt(3) / 2, 0], [0, 0, 4.25]])
    crystal = Crystal(
        cell_A=cell, positions_A=np.array([[0.3333, 0.6667, 0.25], [0.6667, 0.3333, 0.75]]) @ cell, numbers=[29] * 2
    )
    assert rotations(crystal) < rotations(relax(crystal, FORCES)) == 24


def test_what_did_not_converge_is_refused(aluminium):
    wide = replace(aluminium, cell_A=aluminium.cell_A * 1.03, positions_A=aluminium.positions_A * 1.03)
    with pytest.raises(DataError, match=r"did not converge in 1 steps.*max_steps"):
        relax(wide, FORCES, Relaxation(what="cell", max_steps=1))


def test_settings_are_checked():
    with pytest.raises(ConfigurationError, match=r"crystal\.relaxation.what"):
        Relaxation(what="volume")
    with pytest.raises(ConfigurationError, match="greater than 0"):
        Relaxation(force_tolerance_eV_per_A=0.0)


def test_progress_is_told(aluminium):
    seen = []
    wide = replace(aluminium, cell_A=aluminium.cell_A * 1.01, positions_A=aluminium.positions_A * 1.01)
    relax(wide, FORCES, Relaxation(what="cell"), progress=lambda what, done, total: seen.append((done, total)))
    assert seen
    assert all(done <= total for done, total in seen)
