"""The audit finds what was planted, says where and who, and passes force constants that are right."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from phonograph.audit_checks import audit_checks, audit_lines
from phonograph.cli import main
from phonograph.errors import DataError
from phonograph.files.force_constants import read_force_constants
from phonograph.files.phonons import save_phonons
from phonograph.phonons import CalculatorForces, compute_phonons
from phonograph.phonons.audit import audit, audit_warnings, raw_audit
from phonograph.phonons.harmonic import supercell_of
from phonograph.types import Crystal, ForceConstants, Origin
from phonograph.units import THZ_PER_SQRT_EV_PER_A2_AMU

REAL = ("NaCl", "SnO2", "MgO", "Al2O3", "TiO2-anatase")


def constants_of(unitcell: Crystal, matrix, fill) -> ForceConstants:
    """Force constants whose values ``fill(supercell)`` gives."""
    matrix = np.array(matrix)
    supercell = supercell_of(unitcell, matrix)
    return ForceConstants(
        unitcell=unitcell,
        supercell_matrix=matrix,
        supercell=supercell,
        values_eV_per_A2=fill(supercell),
        origin=Origin(room="test"),
    )


@pytest.fixture(scope="module")
def good(quartic) -> ForceConstants:
    toy = quartic(1.0, 0.0)
    return constants_of(toy.crystal, 2 * np.eye(3, dtype=int), lambda supercell: toy.constants(supercell, 1.0))


def with_values(constants: ForceConstants, values) -> ForceConstants:
    return replace(constants, values_eV_per_A2=values)


def failed(found) -> set[str]:
    return {check.name for check in audit_checks(found) if check.passed is False}


def test_good_force_constants_pass(good):
    found = audit(good, sensitivity_THz=0.01)
    assert failed(found) == set()
    assert all(check.passed for check in audit_checks(found))
    assert audit_warnings(found, "they") == ()
    assert found.positive_definite
    assert found.imaginary == ()
    assert (found.operations, found.crystal_operations, found.primitive_cells) == (48, 48, 8)
    assert found.space_group_eV_per_A2 < 1e-12


@pytest.mark.parametrize("name", REAL)
def test_force_constants_of_dft_pass(real_data, name):
    found = audit(read_force_constants(real_data / name / "FORCE_SETS"))
    assert failed(found) == set()
    assert found.space_group_eV_per_A2 < 1e-8
    assert 0 < found.half_width_reach < 0.5


def test_a_broken_sum_rule_is_measured(good):
    values = np.array(good.values_eV_per_A2)
    values[np.arange(16), np.arange(16)] += 0.3 * np.eye(3)
    found = audit(with_values(good, values))
    assert found.sum_rule_eV_per_A2 == pytest.approx(0.3, abs=1e-12)
    assert failed(found) == {"acoustic sum rule"}
    (sentence,) = audit_warnings(found, "force constants")
    assert "acoustic sum rule by up to 0.3" in sentence


def test_asymmetric_second_derivatives_are_measured(good):
    values = np.array(good.values_eV_per_A2)
    values[2, 9, 0, 1] += 0.2
    values[2, 2, 0, 1] -= 0.2
    found = audit(with_values(good, values))
    assert found.asymmetry_eV_per_A2 == pytest.approx(0.2)
    assert "symmetry Φ_ij = Φ_jiᵀ" in failed(found)


def test_another_order_of_atoms_is_not_commensurate(quartic):
    """Two exchanged atoms of one species keep sum rule, symmetry and every eigenvalue: only translations tell."""
    toy = quartic(1.0, 0.0)
    good = constants_of(toy.crystal, 3 * np.eye(3, dtype=int), lambda supercell: toy.constants(supercell, 1.0))
    order = np.arange(54)
    order[[1, 2]] = [2, 1]
    found = audit(with_values(good, good.values_eV_per_A2[np.ix_(order, order)]))
    assert found.sum_rule_eV_per_A2 < 1e-12
    assert found.asymmetry_eV_per_A2 < 1e-12
    assert found.positive_definite
    assert found.translation_eV_per_A2 == pytest.approx(1.0)
    assert failed(found) == {"commensurability", "space group"}
    (sentence,) = audit_warnings(found, "force constants")
    assert "order of atoms" in sentence


def test_a_supercell_in_another_order_is_refused(good):
    order = np.arange(16)
    order[[1, 2]] = [2, 1]
    supercell = replace(good.supercell, positions_A=good.supercell.positions_A[order])
    with pytest.raises(DataError, match="phonopy's order of atoms"):
        audit(replace(good, supercell=supercell))


def test_a_broken_space_group_is_measured_where_translations_hold(good):
    """Bonds along one body diagonal are stiffer: all unit cells alike, but no longer cubic."""
    values = np.array(good.values_eV_per_A2)
    positions = good.supercell.positions_A
    for i, j in itertools.product(np.flatnonzero(good.supercell.numbers == 55), range(16)):
        step = positions[j] - positions[i] - 2.0
        if np.abs(step - 8.0 * np.rint(step / 8.0)).max() < 1e-6:
            for a, b, sign in ((i, i, 1), (j, j, 1), (i, j, -1), (j, i, -1)):
                values[a, b] += sign * 0.05 * np.eye(3)
    found = audit(with_values(good, values))
    assert found.translation_eV_per_A2 < 1e-12
    assert found.space_group_eV_per_A2 == pytest.approx(0.05)
    assert failed(found) == {"space group"}


def test_modes_that_turn_imaginary_are_found_with_point_character_and_direction(quartic):
    """At X of this CsCl lattice the species decouple, ω² = 8 k/m: soften the longitudinal Cl mode of all three X."""
    toy = quartic(1.0, 0.0)
    chlorine = 35.45

    def fill(supercell):
        values = toy.constants(supercell, 1.0)
        for axis in range(3):
            phase = np.cos(np.pi * np.rint(supercell.positions_A[:, axis] / 4.0 - 0.25))
            wave = np.where(supercell.numbers == 17, phase, 0.0) / np.sqrt(8)
            values[:, :, axis, axis] -= 10.0 * np.outer(wave, wave)
        return values

    constants = constants_of(toy.crystal, 2 * np.eye(3, dtype=int), fill)
    found = audit(constants)
    (mode,) = found.imaginary
    expected = -np.sqrt(2.0 / chlorine) * THZ_PER_SQRT_EV_PER_A2_AMU
    assert mode.q == (0.5, 0.0, 0.0)
    assert (mode.label, mode.equivalents, mode.count, mode.degeneracy) == ("X", 3, 1, 1)
    assert mode.lowest_THz == pytest.approx(expected, rel=1e-4)
    assert found.lowest_THz == pytest.approx(expected, rel=1e-4)
    assert mode.character[0] == ("Cl", pytest.approx(1.0))
    assert mode.longitudinal == pytest.approx(1.0)
    assert "positive definiteness" in failed(found)
    assert found.space_group_eV_per_A2 < 1e-9
    lines = "\n".join(audit_lines(found))
    assert "3 imaginary modes at the 8 commensurate wave vectors" in lines
    assert "q = (0.5, 0, 0) X and 2 equivalent: 1 each" in lines
    assert "Cl 100 %" in lines
    assert "longitudinal" in lines


def chain(first: float, second: float, across: float):
    """Simple cubic: longitudinal springs to first and second neighbours along the axes, transverse to the first."""

    def fill(supercell):
        sites = np.rint(supercell.positions_A / 3.0).astype(int)
        index = {tuple(site % 4): atom for atom, site in enumerate(sites)}
        values = np.zeros((len(sites), len(sites), 3, 3))
        for i, axis, sign in itertools.product(range(len(sites)), range(3), (1, -1)):
            along = np.zeros((3, 3))
            along[axis, axis] = 1.0
            for steps, block in ((1, first * along + across * (np.eye(3) - along)), (2, second * along)):
                j = index[tuple((sites[i] + sign * steps * np.eye(3, dtype=int)[axis]) % 4)]
                values[i, j] -= block
                values[i, i] += block
        return values

    crystal = Crystal(cell_A=3.0 * np.eye(3), positions_A=np.zeros((1, 3)), numbers=[84])
    return constants_of(crystal, 4 * np.eye(3, dtype=int), fill)


def test_a_chain_with_a_negative_spring_is_soft_inside_the_zone():
    """ω² = 2/m [K₁(1 − cos qa) + K₂(1 − cos 2qa)]: negative at q = 1/4 for K₂ < −K₁/2, positive at the boundary."""
    constants = chain(first=1.0, second=-0.7, across=2.0)
    found = audit(constants)
    (mode,) = found.imaginary
    expected = np.sqrt(2.0 / 209.0 * (2 * 0.7 - 1.0)) * THZ_PER_SQRT_EV_PER_A2_AMU
    assert mode.q in {(0.25, 0.0, 0.0), (0.75, 0.0, 0.0)}
    assert (mode.label, mode.equivalents, mode.count) == ("", 6, 1)
    assert mode.lowest_THz == pytest.approx(-expected, rel=1e-3)
    assert mode.longitudinal == pytest.approx(1.0)
    assert mode.character == (("Po", pytest.approx(1.0)),)


def test_the_reach_is_that_of_the_couplings_at_half_width():
    """At half of the width, 2a, lie the second neighbours: |K₂| against |(K₁, T, T)|."""
    found = audit(chain(first=1.0, second=0.4, across=0.2))
    assert found.half_width_reach == pytest.approx(0.4 / np.sqrt(1.0 + 2 * 0.2**2))
    assert failed(found) == set()
    far = audit(chain(first=1.0, second=0.8, across=0.2))
    assert failed(far) == {"range"}
    (sentence,) = audit_warnings(far, "force constants")
    assert "reach beyond the supercell" in sentence


def test_cutting_the_range_breaks_the_sum_rule():
    """A cut-off file, the far blocks set to zero: rows no longer sum to zero."""
    constants = chain(first=1.0, second=0.4, across=0.2)
    values = np.array(constants.values_eV_per_A2)
    values[np.abs(values) == np.abs(values[values < 0]).min()] = 0.0
    values[np.abs(values + 0.8) < 1e-9] = 0.0
    found = audit(with_values(constants, values))
    assert "acoustic sum rule" in failed(found)


def test_a_supercell_of_less_symmetry_is_told(aluminium):
    phonons = compute_phonons(aluminium, CalculatorForces(engine="emt"), [[1, 1, 0], [-1, 1, 0], [0, 0, 2]])
    found = phonons.audit
    assert (found.operations, found.crystal_operations, found.primitive_cells) == (16, 48, 16)
    assert found.translation_eV_per_A2 < 1e-8
    # The first neighbours lie at half of this supercell's width.
    assert failed(found) == {"symmetry of the supercell", "range"}
    assert found.sensitivity_THz is not None
    assert any("16 of the crystal's 48" in sentence for sentence in phonons.warnings)


def test_the_order_of_atoms_is_seen_in_a_sheared_supercell(primitive_aluminium):
    phonons = compute_phonons(primitive_aluminium, CalculatorForces(engine="emt"), [[2, 1, 0], [0, 2, 1], [1, 0, 2]])
    constants = phonons.force_constants
    assert phonons.audit.translation_eV_per_A2 < 1e-8
    order = np.arange(len(constants.supercell))
    order[[3, 5]] = [5, 3]
    moved = with_values(constants, constants.values_eV_per_A2[np.ix_(order, order)])
    assert audit(moved).translation_eV_per_A2 > 0.1


def test_undefined_force_constants_are_one_sentence(good):
    values = np.array(good.values_eV_per_A2)
    values[0, 1] = np.nan
    with pytest.raises(DataError, match="force constants must be finite; got 9 NaN"):
        with_values(good, values)


def test_the_command_prints_the_audit(quartic, tmp_path, capsys):
    toy = quartic(-0.3, 0.0)
    save_phonons(compute_phonons(toy.crystal, toy.forces(), (2, 2, 2)), tmp_path)
    assert main(["audit", str(tmp_path / "phonopy.yaml")]) == 0
    printed = capsys.readouterr().out
    assert "supercell of 16 atoms" in printed
    assert "acoustic sum rule" in printed
    assert "45 imaginary modes at the 8 commensurate wave vectors" in printed


def test_a_reader_that_stops_early_is_no_error(quartic, tmp_path):
    toy = quartic(1.0, 0.0)
    save_phonons(compute_phonons(toy.crystal, toy.forces(), (2, 2, 2)), tmp_path)
    command = [sys.executable, "-m", "phonograph", "audit", str(tmp_path / "phonopy.yaml")]
    for unbuffered in ("", "1"):
        environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
        process.stdout.close()
        assert process.stderr.read() == b""
        process.stderr.close()
        assert process.wait() == 0


def test_the_command_takes_structure_and_supercell(quartic, tmp_path, capsys):
    from phonopy.file_IO import write_FORCE_CONSTANTS

    toy = quartic(1.0, 0.0)
    values = toy.constants(supercell_of(toy.crystal, 2 * np.eye(3, dtype=int)), 1.0)
    write_FORCE_CONSTANTS(values, filename=tmp_path / "FORCE_CONSTANTS")
    structure = tmp_path / "POSCAR"
    structure.write_text("toy\n4.0\n1 0 0\n0 1 0\n0 0 1\nCs Cl\n1 1\nDirect\n0 0 0\n0.5 0.5 0.5\n")
    command = ["audit", str(tmp_path / "FORCE_CONSTANTS"), "--structure", str(structure), "--supercell"]
    assert main([*command, "2", "2", "2"]) == 0
    first = capsys.readouterr().out
    assert main([*command, *"200020002"]) == 0
    assert capsys.readouterr().out == first
    assert "not passed" not in first
    assert main([*command, "2", "2"]) == 2
    assert "three or nine" in capsys.readouterr().err
    text = (tmp_path / "FORCE_CONSTANTS").read_text().splitlines()
    (tmp_path / "FORCE_CONSTANTS").write_text("\n".join([*text[:2], "nan 0.0 0.0", *text[3:]]) + "\n")
    assert main([*command, "2", "2", "2"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_forces_in_another_order_are_told_although_the_fit_hides_them(real_data, tmp_path, capsys):
    """Symmetrising turns forces of exchanged atoms into force constants that pass every question."""
    lines = (real_data / "NaCl" / "FORCE_SETS").read_text().splitlines()
    first = next(number for number, line in enumerate(lines) if number > 3 and len(line.split()) == 3) + 1
    # Atom 1 was moved: exchange the forces of two of its neighbours.
    size = np.linalg.norm([[float(word) for word in line.split()] for line in lines[first : first + 64]], axis=1)
    one, other = first + np.argsort(size)[[-2, 0]]
    lines[one], lines[other] = lines[other], lines[one]
    (tmp_path / "FORCE_SETS").write_text("\n".join(lines) + "\n")
    (tmp_path / "phonopy_disp.yaml").write_bytes((real_data / "NaCl" / "phonopy_disp.yaml").read_bytes())
    constants = read_force_constants(tmp_path / "FORCE_SETS")
    assert audit(constants).space_group_eV_per_A2 < 1e-8
    phonons = compute_phonons(constants.unitcell, force_constants=constants)
    assert any("forces in another order of atoms" in sentence for sentence in phonons.warnings)
    assert main(["audit", str(tmp_path / "FORCE_SETS")]) == 0
    assert "forces in another order of atoms" in capsys.readouterr().out
    right = read_force_constants(real_data / "NaCl" / "FORCE_SETS")
    assert right.origin.settings["symmetrisation_eV_per_A2"] < 0.01


def test_a_run_prints_the_audit(tmp_path, capsys):
    rows = "0.0 0.5 0.5\n0.5 0.0 0.5\n0.5 0.5 0.0\n"
    (tmp_path / "POSCAR").write_text(f"Al\n3.9937\n{rows}Al\n1\nDirect\n0 0 0\n")
    (tmp_path / "run.toml").write_text(
        'title = "Al"\n[crystal]\nfile = "POSCAR"\nsupercell = [2, 2, 2]\n[phonons.forces]\nengine = "emt"\n'
    )
    for _ in range(2):  # the second time the room is found finished
        assert main(["phonons", str(tmp_path / "run.toml"), "-o", str(tmp_path / "RUN")]) == 0
        printed = capsys.readouterr().err
        assert "audit of the force constants; nothing is repaired" in printed
        assert "acoustic sum rule" in printed
        assert "no imaginary modes at the 8 commensurate wave vectors" in printed


def test_the_sum_rule_holds_for_rows_and_for_columns():
    values = np.zeros((3, 3, 3, 3))
    values[0, 1], values[0, 2] = 0.2 * np.eye(3), -0.2 * np.eye(3)
    for given in (values, values.transpose(1, 0, 3, 2)):
        assert raw_audit(given).sum_rule_eV_per_A2 == pytest.approx(0.2)
