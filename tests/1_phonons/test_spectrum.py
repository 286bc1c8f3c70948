"""The standard path: named points, breaks, and frequencies that the supercell confirms."""

from __future__ import annotations

import numpy as np

from phonograph.lattice import normal_modes
from phonograph.phonons import CalculatorForces, compute_phonons


def test_simple_cubic_path_and_its_points(quartic):
    toy = quartic(0.8, 0.0)
    phonons = compute_phonons(toy.crystal, toy.forces(), (2, 2, 2))
    item = phonons.spectrum
    assert [label for _, label in item.ticks] == ["G", "X", "M", "G", "R", "X", "M", "R"]
    assert len(item.breaks) == 1
    a = toy.crystal.cell_A[0, 0]
    assert item.ticks[1][0] == 0.5 / a  # Γ–X without the factor 2π
    assert (np.diff(item.distance) >= 0).all()
    jump = item.breaks[0]
    assert item.distance[jump] == item.distance[jump - 1]
    assert np.abs(item.q[jump] - item.q[jump - 1]).max() > 0.1
    inside = np.setdiff1d(np.arange(1, len(item.q)), item.breaks)
    steps = np.linalg.norm(np.diff(item.q, axis=0) / a, axis=1)[inside - 1]
    np.testing.assert_allclose(np.diff(item.distance)[inside - 1], steps, atol=1e-12)
    values = set(
        np.round(
            normal_modes(phonons.force_constants.values_eV_per_A2, phonons.supercell.masses_amu).frequencies_THz, 3
        )
    )
    for point in ([0.5, 0, 0], [0.5, 0.5, 0], [0.5, 0.5, 0.5]):
        row = np.argmin(np.abs(np.sort(item.q, axis=1) - np.sort(point)).sum(axis=1))
        for frequency in item.frequencies_THz[row]:
            assert min(abs(frequency - value) for value in values) < 2e-3
    assert np.abs(item.frequencies_THz[0][:3]).max() < 1e-3


def test_distances_join_where_the_path_does(aluminium):
    item = compute_phonons(aluminium, CalculatorForces(engine="emt"), (1, 1, 1)).spectrum
    assert item.ticks[0] == (0.0, "G")
    assert {label for _, label in item.ticks} >= {"G", "X", "L", "W", "K"}
    assert item.frequencies_THz.shape[1] == 3  # the primitive cell of fcc has one atom
    assert item.ticks[-1][0] == item.distance[-1]
