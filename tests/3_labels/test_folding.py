"""A supercell sees the band edges it folds, and is told of those it does not."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from ase.build import bulk
from label_toys import crystal_of

from phonograph.errors import DataError
from phonograph.labels.engines.tight_binding import XtbLabeller
from phonograph.labels.folding import check_folding, manifold_sizes, special_points, star_of
from phonograph.labels.unfolding import check_folding_at_gamma, folding_cell, hermite_forms, unfolded_bands
from phonograph.testing import cubic_antiperovskite, fcc
from phonograph.types import Bands
from phonograph.units import HARTREE_EV

CUBIC = cubic_antiperovskite(4.9)


def planted(valence_at, conduction_at, mesh=6, crystal=CUBIC) -> Bands:
    """Two bands on a mesh, the edges planted on the stars of two wave vectors, everything else 0.5 eV further off."""
    k = np.array(list(itertools.product(range(mesh), repeat=3))) / mesh

    def is_in(star):
        apart = k[:, None] - star[None]
        return (np.abs(apart - np.rint(apart)).max(axis=2) < 1e-6).any(axis=1)

    valence = np.where(is_in(star_of(valence_at, crystal)), 0.0, -0.5)
    conduction = np.where(is_in(star_of(conduction_at, crystal)), 1.0, 1.5)
    return Bands(
        k_points=k, k_weights=np.ones(len(k)), eigenvalues_eV=np.stack([valence, conduction], 1)[None], electrons=2.0
    )


@pytest.mark.parametrize(
    ("supercell", "complete", "seen"),
    [((1, 1, 1), False, 1.5), ((2, 2, 2), True, 1.0), ((3, 3, 3), False, 1.5), ((2, 2, 1), True, 1.0)],
)
def test_an_edge_at_m_is_seen_by_even_supercells_only(supercell, complete, seen):
    found = check_folding(planted((0.5, 0.5, 0), (0, 0, 0)), supercell, crystal=CUBIC)
    assert (found.complete, found.gap_eV, found.seen_gap_eV) == (complete, 1.0, seen)
    assert not found.direct
    assert found.stars[0].words == "M (1/2 1/2 0)"
    assert found.stars[0].members == 3
    if not complete:
        assert "does not see the VBM of the primitive crystal, which lies at M (1/2 1/2 0)" in found.warnings[0]
        assert "1.500 eV instead of 1.000 eV" in found.warnings[0]


def test_a_star_that_is_seen_in_part_is_told():
    found = check_folding(planted((0.5, 0, 0), (0, 0, 0)), (2, 1, 1), crystal=CUBIC)
    assert found.complete
    assert [(s.seen, s.members) for s in found.stars] == [(1, 3), (1, 1)]
    assert "1 of the 3 equivalent VBM points X (0 1/2 0)" in found.warnings[0]


def test_a_k_mesh_helps_where_the_supercell_does_not():
    bands = planted((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert not check_folding(bands, (3, 3, 3), crystal=CUBIC).complete
    helped = check_folding(bands, (3, 3, 3), crystal=CUBIC, mesh=(2, 2, 2))
    assert helped.complete
    assert helped.direct
    assert check_folding(bands, (1, 1, 1), crystal=CUBIC, k_points=[[0.5, 0.5, 0.5]]).complete


def test_an_error_known_on_part_of_the_k_set_is_a_bound():
    coarse, fine = planted((0.5, 0.5, 0), (0, 0, 0), mesh=2), planted((0.5, 0.5, 0), (0, 0, 0), mesh=6)
    assert check_folding(fine, (3, 3, 3), crystal=CUBIC).all_known
    found = check_folding(coarse, (3, 3, 3), crystal=CUBIC)
    assert not found.all_known
    assert "on its k set the gap is at most 1.500 eV instead of 1.000 eV" in found.warnings[0]


def test_a_skewed_supercell_folds_what_its_lattice_says():
    # The cubic cell of fcc: L (four members) does not fold to Γ of it, X does.
    silicon = crystal_of(bulk("Si"))
    cubic = np.rint(bulk("Si", cubic=True).cell[:] @ np.linalg.inv(silicon.cell_A))
    assert check_folding(planted((0.5, 0, 0.5), (0, 0, 0), crystal=silicon), cubic, crystal=silicon).complete
    at_l = check_folding(planted((0.5, 0.5, 0.5), (0, 0, 0), crystal=silicon), cubic, crystal=silicon)
    assert not at_l.complete
    assert "L (1/2 1/2 1/2)" in at_l.warnings[0]


@pytest.mark.parametrize("seed", range(6))
def test_seen_means_that_the_wave_repeats_with_the_supercell(seed):
    draw = np.random.default_rng(seed)
    matrix = draw.integers(-2, 3, (3, 3))
    while abs(np.linalg.det(matrix)) < 1.5:
        matrix = draw.integers(-2, 3, (3, 3))
    edge = draw.integers(0, 4, 3) / 4
    found = check_folding(planted(edge, (0, 0, 0), mesh=4), matrix, crystal=CUBIC).stars[0]
    vectors = matrix @ CUBIC.cell_A
    waves = star_of(edge, CUBIC) @ (2 * np.pi * np.linalg.inv(CUBIC.cell_A)).T
    repeats = np.abs(np.exp(1j * waves @ vectors.T) - 1).max(axis=1) < 1e-9
    assert (found.seen, found.members) == (repeats.sum(), len(waves))


def test_overlapping_bands_are_a_metal_whose_gap_is_told_as_finite_size():
    overlapping = planted((0.5, 0.5, 0), (0, 0, 0))
    levels = overlapping.eigenvalues_eV + np.array([1.2, 0.0])
    bands = Bands(k_points=overlapping.k_points, k_weights=overlapping.k_weights, eigenvalues_eV=levels, electrons=2.0)
    found = check_folding(bands, (1, 1, 1), crystal=CUBIC)
    assert found.gap_eV == 0.0
    assert any("overlapping bands, so it is a metal" in words for words in found.warnings)


def test_stars_are_those_of_the_group():
    for name, members in (("Γ", 1), ("X", 3), ("M", 3), ("R", 1)):
        k = dict(special_points(CUBIC))[name]
        assert len(star_of(k, CUBIC)) == members
    assert len(star_of((0.1, 0.2, 0.3), CUBIC)) == 48
    assert len(star_of((0.5, 0.5, 0.5), crystal_of(bulk("Si")))) == 4


@pytest.mark.parametrize("wrong", [(0, 1, 1), (1.5, 1, 1), (1, 1), np.ones((3, 3))])
def test_what_is_no_supercell_is_refused(wrong):
    with pytest.raises(DataError, match="three multiples or nine integers"):
        check_folding(planted((0, 0, 0), (0, 0, 0)), wrong, crystal=CUBIC)


def test_bands_without_edges_are_refused():
    odd = Bands.at_gamma(np.array([0.0, 1.0]), 1.0)
    with pytest.raises(DataError, match="odd number of electrons"):
        check_folding(odd, (1, 1, 1), crystal=CUBIC)


def test_hermite_forms_are_all_sublattices_once():
    # The number of sublattices of index n of a three-dimensional lattice: Σ_{d|n} d Σ_{e|d} e.
    for index, count in ((1, 1), (2, 7), (3, 13), (4, 35), (6, 91), (8, 155)):
        forms = list(hermite_forms(index))
        assert len(forms) == count
        assert len({form.tobytes() for form in forms}) == count
        assert all(round(np.linalg.det(form)) == index for form in forms)


@pytest.mark.parametrize(
    "k", [(0, 0, 0), ("1/2", "1/2", 0), ("1/3", "2/3", 0), ("1/4", "1/2", "3/4"), ("1/2", "1/3", 0)]
)
def test_the_folding_cell_is_the_smallest_that_folds(k):
    exact = tuple(Fraction(value) for value in k)
    cell = folding_cell(exact, CUBIC.cell_A)
    assert np.allclose((cell @ np.array(exact, dtype=float)) % 1.0 % 1.0, 0, atol=1e-12)
    index = abs(round(np.linalg.det(cell)))
    for smaller in range(1, index):
        for form in hermite_forms(smaller):
            folded = form @ np.array(exact, dtype=float)
            assert np.abs(folded - np.rint(folded)).max() > 1e-9


def test_manifolds_are_counted_within_the_tolerance():
    levels = np.array([-3.0, -0.01, -0.005, 0.0, 1.0, 1.015, 1.5])
    assert manifold_sizes(Bands.at_gamma(levels, 8.0)) == (3, 2)
    assert manifold_sizes(Bands.at_gamma(levels, 8.0), tolerance_eV=1e-3) == (1, 1)


def test_unfolded_levels_are_the_levels_of_the_supercell_and_obey_the_star():
    labeller = XtbLabeller()
    sodium_chloride = crystal_of(bulk("NaCl", "rocksalt", 5.64))
    bands = unfolded_bands(labeller, sodium_chloride, (2, 2, 2))
    assert bands.electrons == 8.0
    by_star: dict[tuple[float, ...], list[np.ndarray]] = {}
    for k, levels in zip(bands.k_points, bands.eigenvalues_eV[0], strict=True):
        by_star.setdefault(tuple(star_of(k, sodium_chloride)[0]), []).append(levels)
    assert sorted(map(len, by_star.values())) == [1, 3, 4], "Γ, X and L"
    for members in by_star.values():
        np.testing.assert_allclose(members, members[:1] * len(members), atol=2e-3)


def test_unfolding_at_gamma_of_one_cell_is_that_cell():
    labeller = XtbLabeller()
    sodium_chloride = crystal_of(bulk("NaCl", "rocksalt", 5.64, cubic=True))
    alone = np.sort(np.asarray(labeller.solve(sodium_chloride).get("orbital-energies")) * HARTREE_EV)
    bands = unfolded_bands(labeller, sodium_chloride, (1, 1, 1))
    np.testing.assert_allclose(bands.eigenvalues_eV[0, 0], alone, atol=1e-6)


@pytest.mark.slow
def test_ag3sbr_needs_an_even_supercell():
    even = check_folding_at_gamma(XtbLabeller(), CUBIC, (2, 2, 2))
    assert even.complete
    assert even.gap_eV == pytest.approx(1.264, abs=0.01)
    assert [(s.edge, s.words, s.seen) for s in even.stars] == [("VBM", "M (1/2 1/2 0)", 3), ("CBM", "Γ (0 0 0)", 1)]
    # No odd supercell holds M.  At 1/3 1/3 0, which 3 × 3 × 3 does hold, the valence band is lower by less than the
    # self-consistency of the cells differs, and that is what the words must say.
    for odd, words, least_error_eV in (((1, 1, 1), "does not see", 0.9), ((3, 3, 3), "may not see", 0.05)):
        found = check_folding_at_gamma(XtbLabeller(), CUBIC, odd)
        assert not found.complete
        assert found.all_known
        assert found.seen_gap_eV > found.gap_eV + least_error_eV
        assert f"{words} the VBM of the primitive crystal, which lies at M (1/2 1/2 0)" in found.warnings[0]


def test_an_odd_number_of_electrons_per_primitive_cell_is_a_metal():
    found = check_folding_at_gamma(XtbLabeller(), fcc("Cu", 3.61), (2, 2, 2), least_atoms=4)
    assert found.odd_electrons
    assert found.gap_eV == 0.0
    assert not found.complete
    assert "odd number of electrons, so it is a metal" in found.warnings[0]
