"""The symmetry test passes sound engines and finds planted defects, each by the law it breaks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from ase.build import bulk
from label_toys import crystal_of

from phonograph.errors import DataError
from phonograph.labels import ChgnetLabeller, EmtLabeller, XtbLabeller, symmetry_test
from phonograph.labels.engines.chemistry import energy_refusal, pair_refusal
from phonograph.labels.symmetry import SymmetryTolerances, random_rotation
from phonograph.testing import check_symmetry, cubic_antiperovskite
from phonograph.types import Crystal, LabelResult

COPPER = crystal_of(bulk("Cu", cubic=True))
CUBIC = cubic_antiperovskite(4.9)


def cubic_antiperovskite_with(halogen: int) -> Crystal:
    numbers = CUBIC.numbers.copy()
    numbers[4] = halogen
    return Crystal(cell_A=CUBIC.cell_A, positions_A=CUBIC.positions_A, numbers=numbers)


@dataclass(frozen=True, kw_only=True)
class Spoilt:
    """EMT with one defect."""

    defect: str = ""
    engine: str = "spoilt 1"
    provides: tuple[str, ...] = ("energy_eV_per_atom", "hydrostatic_stress_GPa")
    provides_arrays: tuple[str, ...] = ("forces_eV_per_A", "stress_GPa")

    def label(self, crystal: Crystal) -> LabelResult:
        found = EmtLabeller().label(crystal)
        values, arrays = dict(found.values), dict(found.arrays)
        if self.defect == "field":  # a direction in space that no crystal knows
            values["energy_eV_per_atom"] += 1e-3 * float(np.sin(crystal.cell_A[0, 0]))
        if self.defect == "site":
            arrays["forces_eV_per_A"] = arrays["forces_eV_per_A"] + np.array([0.1, 0, 0])
        if self.defect == "scale":
            arrays["forces_eV_per_A"] = 1.1 * arrays["forces_eV_per_A"]
        if self.defect == "sign":
            arrays["stress_GPa"] = -arrays["stress_GPa"]
        if self.defect == "anisotropic":
            arrays["stress_GPa"] = arrays["stress_GPa"] + np.diag([2.0, 0, 0])
        if self.defect == "nan":
            arrays["forces_eV_per_A"] = arrays["forces_eV_per_A"] * np.nan
        if self.defect == "fails":
            return LabelResult(values={}, failure="not_converged", message="no luck")
        return replace(found, values=values, arrays=arrays)


def test_a_sound_engine_passes_every_law():
    result = symmetry_test(Spoilt(), COPPER)
    assert result.passed, result.sentence
    assert result.space_group.startswith("Fm-3m")
    assert len(result.checks) == 12
    check_symmetry(Spoilt(), COPPER)


@pytest.mark.parametrize(
    ("defect", "law"),
    [
        ("field", "energy_eV_per_atom of the rotated copy"),
        ("site", "site symmetry of the forces"),
        ("scale", "forces by finite differences"),
        ("sign", "stress by finite strain"),
        ("anisotropic", "point group of the stress"),
        ("nan", "site symmetry of the forces"),
    ],
)
def test_each_defect_breaks_its_law(defect, law):
    result = symmetry_test(Spoilt(defect=defect), COPPER)
    assert law in [check.name for check in result.checks if not check.passed], result.sentence
    with pytest.raises(AssertionError, match="fails"):
        check_symmetry(Spoilt(defect=defect), COPPER)


def test_an_engine_that_fails_is_not_passed():
    result = symmetry_test(Spoilt(defect="fails"), COPPER)
    assert not result.passed
    assert "could not be tested: not_converged: no luck" in result.sentence


def test_a_crystal_without_symmetry_teaches_nothing():
    draw = np.random.default_rng(1)
    positions = COPPER.positions_A + draw.normal(0, 0.1, COPPER.positions_A.shape)
    with pytest.raises(DataError, match="needs a crystal with symmetry"):
        symmetry_test(Spoilt(), Crystal(cell_A=COPPER.cell_A, positions_A=positions, numbers=COPPER.numbers))


def test_tolerances_decide():
    strict = SymmetryTolerances(forces_eV_per_A=1e-9, relative=0.0)
    result = symmetry_test(Spoilt(), COPPER, tolerances=strict)
    assert [c.name for c in result.checks if not c.passed] == ["forces by finite differences"]


def test_rotations_are_proper_and_uniform():
    draw = np.random.default_rng(2)
    turns = np.array([random_rotation(draw) for _ in range(4000)])
    np.testing.assert_allclose(turns @ turns.transpose(0, 2, 1), np.broadcast_to(np.eye(3), turns.shape), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(turns), 1.0)
    # Uniform over the group: the images of a vector average to zero, their squares to one third.
    assert np.abs(turns.mean(axis=0)).max() < 0.04
    np.testing.assert_allclose((turns**2).mean(axis=0), np.full((3, 3), 1 / 3), atol=0.03)


@pytest.mark.parametrize(
    "crystal",
    [CUBIC, cubic_antiperovskite_with(53), crystal_of(bulk("NaCl", "rocksalt", 5.64, cubic=True))],
    ids=["Ag3SBr", "Ag3SI", "NaCl"],
)
def test_chgnet_passes(crystal):
    check_symmetry(ChgnetLabeller(), crystal)


@pytest.mark.parametrize(("number", "halogen"), [(35, "Br"), (53, "I")])
def test_band_edges_of_gfn1_pass_where_its_energies_do_not(number, halogen):
    crystal = cubic_antiperovskite_with(number)
    check_symmetry(XtbLabeller(), crystal)
    found = XtbLabeller(energies=True).label(crystal)
    assert found.failure == "bad_input"
    assert f"fail the symmetry test of the pair S with {halogen}" in found.message
    assert "energies = false" in found.message


@pytest.mark.slow
def test_energies_of_gfn1_pass_where_it_offers_them():
    check_symmetry(XtbLabeller(energies=True), cubic_antiperovskite_with(17))


@pytest.mark.parametrize(
    ("numbers", "refused"),
    [
        ([47, 16, 35], True),
        ([47, 16, 53], True),
        ([8, 53], True),
        ([47, 16, 17], False),
        ([11, 35], False),
        ([19, 53], False),
        ([11, 17], False),
        ([12, 8], False),
        ([14], False),
    ],
    ids=["Ag-S-Br", "Ag-S-I", "O-I", "Ag-S-Cl", "Na-Br", "K-I", "Na-Cl", "Mg-O", "Si"],
)
def test_every_pair_of_a_chemistry_is_tested(numbers, refused):
    assert bool(energy_refusal("GFN1-xTB", np.array(numbers))) == refused
    assert energy_refusal("GFN1-xTB", np.array(numbers[::-1])) == energy_refusal("GFN1-xTB", np.array(numbers))


def test_gfn2_has_no_such_term():
    assert pair_refusal("GFN2-xTB", 16, 35) == ""
