"""Diagonalisation and displacements wave vector by wave vector: the same as those of the whole supercell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from phonograph.lattice import (
    covariance,
    crystal_modes,
    displacement_product,
    displacement_root,
    mode_variance,
    normal_modes,
)
from phonograph.sampling import ThermalSampler, sample
from phonograph.streams import each_block
from phonograph.translations import WaveProduct
from phonograph.types import ForceConstants, Origin


def repeated(make, repeat, numbers=None):
    unit, whole = make.antiperovskite(35, 4.9, repeat)
    if numbers is not None:
        whole = replace(whole, numbers=numbers(whole.numbers), masses_amu=np.zeros(0))
    return ForceConstants(
        unitcell=unit,
        supercell_matrix=repeat * np.eye(3, dtype=int),
        supercell=whole,
        values_eV_per_A2=make.springs(whole),
        origin=Origin(room="test"),
    )


def assert_same_modes(constants, *, by_wave=True):
    """Frequencies, projectors and displacements of both ways of diagonalising."""
    whole = normal_modes(constants.values_eV_per_A2, constants.supercell.masses_amu)
    found = crystal_modes(constants)
    assert (found.cells is not None) == by_wave
    assert_allclose(found.frequencies_THz, whole.frequencies_THz, atol=1e-10)
    assert_allclose(found.vectors.T @ found.vectors, np.eye(len(found.frequencies_THz)), atol=1e-12)
    # Any function of the frequencies that keeps degenerate levels together; imaginary modes included.
    law = [1.0 + 0.1 * np.exp(-modes.frequencies_THz) for modes in (found, whole)]
    expected = covariance(whole, law[1])
    assert np.abs(covariance(found, law[0]) - expected).max() < 1e-10 * np.abs(expected).max()
    z = np.random.default_rng(3).standard_normal((5, 3 * len(constants.supercell)))
    u = z @ displacement_root(whole, law[1]).T
    assert_allclose(z @ displacement_root(found, law[0]).T, u, atol=1e-10)
    if found.cells is not None:
        columns = displacement_root(found, law[0])[:, found.cells.coordinates[0]]
        by_waves = np.empty_like(z)
        WaveProduct(columns, found.cells)(z, by_waves)
        assert_allclose(by_waves, u, atol=1e-10)


@pytest.mark.parametrize("repeat", [2, 3])
def test_waves_and_whole_matrix_agree(make, repeat):
    assert_same_modes(repeated(make, repeat))


@pytest.mark.parametrize(
    "matrix",
    [
        np.diag([2, 3, 1]),
        [[-1, 1, 1], [1, -1, 1], [1, 1, -1]],
        [[2, 1, 0], [0, 2, 1], [1, 0, 2]],
        [[1, 2, 0], [0, 1, 3], [2, 0, 1]],
        [[0, 1, 2], [1, 0, 0], [0, 3, 1]],
    ],
)
def test_waves_in_any_supercell(make, matrix):
    from ase.build import bulk

    phonon = make.emt_phonopy(bulk("Cu", "fcc", a=3.6), matrix)
    assert_same_modes(make.from_phonopy(phonon).force_constants)


def test_waves_keep_imaginary_modes(unstable):
    assert_same_modes(unstable.force_constants)
    assert crystal_modes(unstable.force_constants).frequencies_THz[5] < -0.1


def test_what_breaks_translations_is_diagonalised_whole(make):
    """Other masses on some sites, and force constants with one changed bond: nothing is averaged."""
    iodide = repeated(make, 2, lambda numbers: np.where(np.arange(40) == 33, 53, numbers))
    assert_same_modes(iodide, by_wave=False)
    pure = repeated(make, 2)
    values = np.array(pure.values_eV_per_A2)
    values[3, 7] += 1e-6
    values[7, 3] += 1e-6
    assert_same_modes(replace(pure, values_eV_per_A2=values), by_wave=False)


def test_no_translation_is_left_by_force_constants_without_sum_rule(make):
    """The projection, not the sum rule, removes rigid shifts."""
    pure = repeated(make, 2)
    values = np.array(pure.values_eV_per_A2)
    values[np.arange(40), np.arange(40)] += 0.5 * np.eye(3)
    loose = replace(pure, values_eV_per_A2=values)
    assert_same_modes(loose)
    rigid = np.kron(np.sqrt(pure.supercell.masses_amu)[:, None], np.eye(3))
    assert np.abs(crystal_modes(loose).vectors.T @ rigid).max() < 1e-10


def test_large_cells_are_made_wave_by_wave(make):
    """135 atoms: still S z, and still independent of n."""
    constants = repeated(make, 3)
    phonons = make.phonons_of(constants)
    modes = crystal_modes(constants)
    variance = mode_variance(modes.frequencies_THz, 300.0, "quantum")
    assert isinstance(displacement_product(modes, variance), WaveProduct)
    made = sample(phonons, ThermalSampler(), 70, 6, name="phonon").displacements_A.reshape(70, -1)
    blocks = [generator.standard_normal((64, 405)) for generator in each_block(6, "thermal", (0, 1))]
    z = np.vstack(blocks)[:70]
    assert_allclose(made, z @ displacement_root(modes, variance).T, atol=1e-12)
    for n in (1, 65):
        short = sample(phonons, ThermalSampler(), n, 6, name="short").displacements_A.reshape(n, -1)
        assert_array_equal(short, made[:n])
