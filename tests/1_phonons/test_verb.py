"""compute_phonons as a user meets it: where force constants come from, what is told, what is refused."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from phonograph.errors import ConfigurationError, DataError, MissingEngineError, PhysicsError
from phonograph.phonons import AseForces, CalculatorForces, Renormalisation, compute_phonons, engines
from phonograph.phonons.audit import imaginary_modes
from phonograph.phonons.evaluate import ForceField
from phonograph.types import Crystal, ForceConstants, Origin

FORCES = CalculatorForces(engine="emt")


@pytest.fixture(scope="module")
def given(quartic) -> ForceConstants:
    toy = quartic(0.9, 0.0)
    return compute_phonons(toy.crystal, toy.forces(), (2, 2, 2)).force_constants


def test_given_force_constants_are_used_as_they_are(given):
    phonons = compute_phonons(given.unitcell, force_constants=given)
    assert phonons.method == "file"
    np.testing.assert_array_equal(phonons.force_constants.values_eV_per_A2, given.values_eV_per_A2)
    assert phonons.warnings == ()
    assert phonons.origin.seed is None
    assert {"numpy", "phonopy", "symfc"} <= set(phonons.origin.versions)


def test_given_force_constants_are_audited_not_repaired(given):
    values = np.array(given.values_eV_per_A2)
    values[0, 1, 0, 0] += 0.5
    phonons = compute_phonons(given.unitcell, force_constants=replace(given, values_eV_per_A2=values))
    np.testing.assert_array_equal(phonons.force_constants.values_eV_per_A2, values)
    assert any("acoustic sum rule by up to 0.5" in sentence for sentence in phonons.warnings)
    assert any("asymmetric" in sentence for sentence in phonons.warnings)
    found = phonons.audit
    assert found.sum_rule_eV_per_A2 == pytest.approx(0.5, abs=1e-9)
    assert found.asymmetry_eV_per_A2 == pytest.approx(0.5, abs=1e-9)


def test_given_force_constants_are_a_start_for_renormalisation(quartic):
    toy = quartic(1.0, 20.0)
    start = compute_phonons(toy.crystal, toy.forces(), (2, 2, 2)).force_constants
    settings = Renormalisation(max_rounds=3)
    direct = compute_phonons(toy.crystal, toy.forces(), (2, 2, 2), renormalisation=settings)
    again = compute_phonons(toy.crystal, toy.forces(), force_constants=start, renormalisation=settings)
    np.testing.assert_array_equal(direct.force_constants.values_eV_per_A2, again.force_constants.values_eV_per_A2)
    np.testing.assert_array_equal(again.harmonic.values_eV_per_A2, start.values_eV_per_A2)


def test_imaginary_modes_are_named_with_their_wave_vectors(quartic):
    toy = quartic(1.0, 0.0)
    values = np.array(compute_phonons(toy.crystal, toy.forces(), (2, 2, 2)).force_constants.values_eV_per_A2)
    supercell = compute_phonons(toy.crystal, toy.forces(), (2, 2, 2)).supercell
    # Soften one mode: both species move along z, alternating along x, that is q = (1/2, 0, 0).
    phase = np.where(np.rint(supercell.fractional[:, 0] * 4).astype(int) // 2 % 2 == 0, 1.0, -1.0)
    vector = np.zeros((len(supercell), 3))
    vector[:, 2] = phase * np.sqrt(supercell.masses_amu)
    mass = np.sqrt(supercell.masses_amu)
    mode = (vector * mass[:, None]).reshape(-1)
    mode /= np.linalg.norm(mode / np.repeat(mass, 3))
    size = len(supercell)
    values -= 30.0 * np.outer(mode, mode).reshape(size, 3, size, 3).transpose(0, 2, 1, 3)
    constants = ForceConstants(
        unitcell=toy.crystal,
        supercell_matrix=2 * np.eye(3),
        supercell=supercell,
        values_eV_per_A2=values,
        origin=Origin(room="test"),
    )
    found = imaginary_modes(constants)
    assert [mode.q for mode in found] == [(0.5, 0.0, 0.0)]
    assert (found[0].equivalents, found[0].count, found[0].degeneracy) == (1, 1, 1)
    phonons = compute_phonons(toy.crystal, force_constants=constants)
    assert found[0].lowest_THz == pytest.approx(phonons.frequencies_THz[0], abs=0.01)
    assert any("1 of 45 modes are imaginary" in item and "q = (0.5, 0, 0)" in item for item in phonons.warnings)
    assert any("renormalise" in sentence for sentence in phonons.warnings)


def test_degenerate_imaginary_modes_are_told_together(quartic):
    toy = quartic(-0.3, 0.0)
    phonons = compute_phonons(toy.crystal, toy.forces(), (2, 2, 2))
    found = imaginary_modes(phonons.force_constants)
    assert sum(mode.equivalents * mode.count for mode in found) == 45
    assert found[0].q == (0.0, 0.0, 0.0)
    assert found[0].degeneracy == 3


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        ((2, 2), "3 multiples or a 3×3 matrix"),
        ((0, 1, 1), "positive determinant"),
        (-np.eye(3), "positive determinant"),
        ((1.5, 1, 1), "whole numbers"),
        ((float("nan"), 1, 1), "whole numbers"),
        ("abc", "whole numbers"),
        ((50, 50, 50), "at most 2000"),
        ([[1, 0, 0], [0, 1, 0], [9999, 9999, 1]], "sheared too far"),
    ],
)
def test_bad_supercells_are_refused(aluminium, matrix, words):
    with pytest.raises(ConfigurationError, match=words):
        compute_phonons(aluminium, FORCES, matrix)


def test_one_atom_cannot_vibrate(primitive_aluminium):
    with pytest.raises(ConfigurationError, match="cannot vibrate"):
        compute_phonons(primitive_aluminium, FORCES, (1, 1, 1))


def test_missing_parts_are_named(aluminium, given):
    with pytest.raises(ConfigurationError, match="needs forces"):
        compute_phonons(aluminium, supercell_matrix=(1, 1, 1))
    with pytest.raises(ConfigurationError, match="renormalisation needs forces"):
        compute_phonons(given.unitcell, force_constants=given, renormalisation=Renormalisation())
    with pytest.raises(ConfigurationError, match="need a supercell"):
        compute_phonons(aluminium, FORCES)


def test_force_constants_of_another_crystal_are_refused(aluminium, given):
    with pytest.raises(DataError, match="another crystal"):
        compute_phonons(aluminium, force_constants=given)
    moved = replace(given.unitcell, positions_A=given.unitcell.positions_A + np.array([[0, 0, 0], [0.1, 0, 0]]))
    with pytest.raises(DataError, match=r"differ by 0\.1 Å"):
        compute_phonons(moved, force_constants=given)
    with pytest.raises(DataError, match="set the supercell"):
        compute_phonons(given.unitcell, None, (1, 1, 2), force_constants=given)
    shifted = replace(given.unitcell, positions_A=given.unitcell.positions_A + given.unitcell.cell_A[0])
    assert compute_phonons(shifted, force_constants=given).method == "file"


def test_left_handed_lattice_vectors_are_refused(aluminium):
    mirrored = replace(aluminium, cell_A=aluminium.cell_A[[1, 0, 2]])
    with pytest.raises(DataError, match="left-handed"):
        compute_phonons(mirrored, FORCES, (1, 1, 1))


def test_unknown_elements_are_one_sentence(quartic):
    with pytest.raises(PhysicsError, match="emt cannot treat ClCs"):
        compute_phonons(quartic(1, 0).crystal, FORCES, (1, 1, 1))


def test_nan_forces_are_one_sentence(aluminium):
    class Broken(EMT):
        def calculate(self, *args, **kwargs):
            super().calculate(*args, **kwargs)
            self.results["forces"] = self.results["forces"] * np.nan

    with pytest.raises(DataError, match="broken returned NaN or infinite"):
        compute_phonons(aluminium, AseForces(factory=Broken, name="broken"), (1, 1, 1))


def test_missing_engine_says_how_to_install_it(aluminium, monkeypatch):
    engines._chgnet.cache_clear()
    monkeypatch.setitem(sys.modules, "chgnet.model.dynamics", None)
    with pytest.raises(MissingEngineError, match="pip install chgnet"):
        compute_phonons(aluminium, CalculatorForces(engine="chgnet"), (1, 1, 1))


def test_a_calculator_without_stress_is_enough(aluminium):
    class Bare(LennardJones):
        implemented_properties = ("energy", "forces")

    source = AseForces(factory=lambda: Bare(sigma=2.55, epsilon=0.2, rc=4.0), name="lj")
    phonons = compute_phonons(aluminium, source, (1, 1, 1))
    assert not any("stress" in sentence for sentence in phonons.warnings)


@pytest.mark.parametrize("workers", [0, -1, 1.5, True])
def test_workers_are_whole_numbers(aluminium, workers):
    with pytest.raises(ConfigurationError, match="workers"):
        compute_phonons(aluminium, FORCES, (1, 1, 1), workers=workers)


def test_a_factory_that_workers_cannot_import_is_refused():
    with pytest.raises(ConfigurationError, match="top level"):
        ForceField(AseForces(factory=lambda: EMT(), name="lambda"), workers=2)
    with pytest.raises(ConfigurationError, match="must be a function"):
        AseForces(factory=EMT(), name="instance")


def test_settings_are_checked():
    for settings in ({"engine": "vasp"}, {"displacement_A": 0.0}, {"displacement_A": 2.0}, {"threads": 0}):
        with pytest.raises(ConfigurationError, match=r"phonons\.forces"):
            CalculatorForces(**settings)


def test_coordinates_with_few_digits_are_told():
    a = 3.1
    cell = np.array([[a, 0, 0], [-a / 2, a * np.sqrt(3) / 2, 0], [0, 0, 5.06]])
    crystal = Crystal(
        cell_A=cell, positions_A=np.array([[0.3333, 0.6667, 0.25], [0.6667, 0.3333, 0.75]]) @ cell, numbers=[29] * 2
    )
    phonons = compute_phonons(crystal, FORCES, (1, 1, 1))
    assert any("too few digits" in sentence for sentence in phonons.warnings)


def test_progress_counts_to_its_total(quartic):
    seen = []
    toy = quartic(1.0, 5.0)
    compute_phonons(
        toy.crystal,
        toy.forces(),
        (2, 2, 2),
        renormalisation=Renormalisation(max_rounds=2),
        progress=lambda what, done, total: seen.append((what, done, total)),
    )
    assert {what for what, _, _ in seen} == {"phonons: displacements", "phonons: renormalisation rounds (at most)"}
    assert all(0 < done <= total for _, done, total in seen)
    assert seen[-1][1:] == (2, 2)


@pytest.mark.slow
def test_silver_sulfide_bromide_with_chgnet(silver_sulfide_bromide):
    """The quickstart's phonons: imaginary at 0 K, renormalised at 300 K, in less than a minute on two idle cores."""
    phonons = compute_phonons(
        silver_sulfide_bromide, CalculatorForces(), (2, 2, 2), renormalisation=Renormalisation(), seed=2026, workers=2
    )
    assert phonons.harmonic_frequencies_THz[0] < -1.0
    assert any("q = (0, 0, 0)" in sentence for sentence in phonons.warnings)
    assert phonons.converged
    assert phonons.frequencies_THz[0] > 2 * phonons.frequency_error_THz[0]
    assert 0.15 < phonons.frequencies_THz[0] < 0.8
    assert phonons.rounds[-1].guarded_share < 0.01
    assert -0.15 < phonons.rounds[-1].free_energy_eV_per_atom < -0.12
    assert phonons.spectrum.frequencies_THz.min() > -0.2
