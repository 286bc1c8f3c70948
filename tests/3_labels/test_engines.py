"""Labels are what they claim: signs by finite strain, gaps by an independent count, symmetry by invariance."""

from __future__ import annotations

import itertools
from importlib import metadata

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from label_toys import crystal_of, displaced
from scipy.stats import special_ortho_group

from phonograph.errors import ConfigurationError, MissingEngineError
from phonograph.labels import AseLabeller, ChgnetLabeller, EmtLabeller, XtbLabeller, label
from phonograph.labels.edges import band_edges, chosen
from phonograph.labels.engines.tight_binding import REMEDIES
from phonograph.labels.execution.entry import label_with_remedies
from phonograph.labels.execution.worker import label_safely
from phonograph.labels.failures import checked, shortest_below
from phonograph.labels.task import calculation, structure_bytes
from phonograph.types import Bands, Crystal
from phonograph.units import BOHR_A, BOLTZMANN_EV_PER_K, EV_PER_A3_IN_GPA, HARTREE_EV

ENERGY, STRESS = "energy_eV_per_atom", "hydrostatic_stress_GPa"
A = 4.9
AG3SBR = Atoms(
    "Ag3SBr",
    scaled_positions=[(0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5), (0.5, 0.5, 0.5), (0, 0, 0)],
    cell=[A] * 3,
    pbc=True,
)


def count_electrons(energies, electrons):
    return chosen(band_edges(Bands.at_gamma(energies, electrons)), ("band_gap_eV", "vbm_eV", "cbm_eV"))


NACL = bulk("NaCl", "rocksalt", 5.64, cubic=True)


def strained(crystal: Crystal, eta: float) -> Crystal:
    return Crystal(
        cell_A=crystal.cell_A * (1 + eta), positions_A=crystal.positions_A * (1 + eta), numbers=crystal.numbers
    )


@pytest.mark.parametrize(
    ("labeller", "atoms", "eta", "tolerance_GPa"),
    [
        (EmtLabeller(), bulk("Cu", cubic=True), 1e-4, 1e-3),
        (ChgnetLabeller(), AG3SBR, 5e-3, 0.05),
        (ChgnetLabeller(), bulk("Si", cubic=True), 5e-3, 0.1),
    ],
    ids=["emt-Cu", "chgnet-Ag3SBr", "chgnet-Si"],
)
@pytest.mark.parametrize("scale", [0.97, 1.04])
def test_stress_is_the_strain_derivative_of_the_energy(labeller, atoms, eta, tolerance_GPa, scale):
    crystal = strained(displaced(atoms, 0.05), scale - 1)
    up, down = (labeller.label(strained(crystal, sign * eta)).values[ENERGY] for sign in (1, -1))
    # E(η) of the isotropic strain η: dE/dη = V tr σ, so σ_h = dE/dη / 3V.
    expected = len(crystal) * (up - down) / (2 * eta) / (3 * crystal.volume_A3) * EV_PER_A3_IN_GPA
    found = labeller.label(crystal).values[STRESS]
    assert found == pytest.approx(expected, abs=tolerance_GPa)
    assert np.sign(found) == np.sign(scale - 1), "a stretched crystal pulls (positive), a compressed one pushes"


def independent_gap(crystal: Crystal, electrons: int) -> tuple[float, float]:
    """VBM and CBM from occupations at 50 K, and from a count of valence electrons done by hand."""
    from tblite.interface import Calculator

    calculator = Calculator(
        "GFN1-xTB",
        np.asarray(crystal.numbers),
        crystal.positions_A / BOHR_A,
        lattice=crystal.cell_A / BOHR_A,
        periodic=np.array([True] * 3),
    )
    calculator.set("verbosity", 0)
    calculator.set("temperature", 50 * BOLTZMANN_EV_PER_K / HARTREE_EV)
    result = calculator.singlepoint()
    energies, occupations = result.get("orbital-energies") * HARTREE_EV, result.get("orbital-occupations")
    full, empty = occupations > 1, occupations <= 1
    assert int(full.sum()) == electrons // 2
    return float(energies[full].max()), float(energies[empty].min())


@pytest.mark.parametrize(
    ("atoms", "electrons"),
    # Na 1 + Cl 7 valence electrons; Ag 11, S 6, Br 7 (GFN1 treats 4d¹⁰5s¹ of silver as valence).
    [(NACL, 4 * (1 + 7)), (AG3SBR * (2, 1, 1), 2 * (3 * 11 + 6 + 7))],
    ids=["NaCl", "Ag3SBr"],
)
def test_gap_is_the_gap_between_full_and_empty_orbitals(atoms, electrons):
    crystal = displaced(atoms, 0.05)
    vbm, cbm = independent_gap(crystal, electrons)
    found = XtbLabeller(electronic_temperature_K=50.0).label(crystal)
    assert found.failure == ""
    assert found.values["vbm_eV"] == pytest.approx(vbm, abs=1e-4)
    assert found.values["cbm_eV"] == pytest.approx(cbm, abs=1e-4)
    assert found.values["band_gap_eV"] == pytest.approx(cbm - vbm, abs=1e-4)
    assert found.values["band_gap_eV"] > 0.5


def test_counting_does_not_depend_on_order_or_smearing():
    energies = np.array([3.0, -2.0, 1.5, -1.0])
    for order in itertools.permutations(range(4)):
        assert count_electrons(energies[list(order)], 4.0 + 1e-9).values == {
            "band_gap_eV": 2.5,
            "vbm_eV": -1.0,
            "cbm_eV": 1.5,
        }


def test_degenerate_frontier_levels_are_a_zero_gap_not_a_failure():
    found = count_electrons(np.array([-3.0, -1.0, -1.0, 2.0]), 4.0)
    assert found.failure == ""
    assert found.values == {"band_gap_eV": 0.0, "vbm_eV": -1.0, "cbm_eV": -1.0}


@pytest.mark.parametrize(
    ("energies", "electrons", "kind", "words"),
    [
        ([-1.0, 1.0], 1.0, "bad_input", "odd number of electrons (1)"),
        ([-1.0, 1.0], 4.0, "bad_input", "no empty one"),
        ([-1.0, 1.0], 0.0, "bad_input", "no occupied"),
        ([-1.0, 1.0], 1.5, "unphysical", "whole"),
    ],
)
def test_impossible_counts_are_named(energies, electrons, kind, words):
    found = count_electrons(np.array(energies), electrons)
    assert (found.failure, found.values) == (kind, {})
    assert words in found.message


def test_odd_electron_crystal_is_named_by_the_engine_too():
    sodium = Crystal(cell_A=3.6 * np.eye(3), positions_A=[[0, 0, 0]], numbers=[11])
    found = XtbLabeller().label(sodium)
    assert found.failure == "bad_input"
    assert "odd number of electrons (1)" in found.message


def test_self_consistency_that_does_not_converge_is_named():
    found = XtbLabeller(max_iterations=2).label(displaced(NACL, 0.05))
    assert found.failure == "not_converged"
    assert "2" in found.message


def test_unknown_elements_are_bad_input():
    heavy = crystal_of(bulk("Cu", cubic=True))
    heavy = Crystal(cell_A=heavy.cell_A, positions_A=heavy.positions_A, numbers=[99, 29, 29, 29])
    for labeller in (EmtLabeller(), XtbLabeller(), ChgnetLabeller()):
        assert labeller.label(heavy).failure == "bad_input", labeller


def test_isolated_atom_is_bad_input_for_chgnet():
    alone = Crystal(cell_A=20 * np.eye(3), positions_A=[[0, 0, 0]], numbers=[47])
    found = ChgnetLabeller().label(alone)
    assert found.failure == "bad_input"
    assert "isolated" in found.message


def images(crystal: Crystal, seed: int):
    """The same crystal translated, rotated, permuted, and described by another cell."""
    rng = np.random.default_rng(seed)
    rotation = special_ortho_group.rvs(3, random_state=rng)
    order = rng.permutation(len(crystal))
    sheared = crystal.cell_A + np.array([crystal.cell_A[1], np.zeros(3), np.zeros(3)])
    hops = rng.integers(-3, 4, (len(crystal), 3)) @ crystal.cell_A
    for name, cell, positions, numbers in (
        ("translated", crystal.cell_A, crystal.positions_A + rng.normal(0, 5, 3), crystal.numbers),
        ("rotated", crystal.cell_A @ rotation, crystal.positions_A @ rotation, crystal.numbers),
        ("permuted", crystal.cell_A, crystal.positions_A[order], crystal.numbers[order]),
        ("other cell", sheared, crystal.positions_A, crystal.numbers),
        ("left-handed", crystal.cell_A[[1, 0, 2]], crystal.positions_A, crystal.numbers),
        ("other images", crystal.cell_A, crystal.positions_A + hops, crystal.numbers),
    ):
        yield name, Crystal(cell_A=cell, positions_A=positions, numbers=numbers)


@pytest.mark.parametrize(
    ("labeller", "tolerances"),
    [
        (XtbLabeller(), {"band_gap_eV": 2e-4, "vbm_eV": 2e-4, "cbm_eV": 2e-4}),
        (ChgnetLabeller(), {ENERGY: 2e-6, STRESS: 2e-3}),
        (EmtLabeller(), {ENERGY: 1e-10, STRESS: 1e-8}),
    ],
    ids=["tblite", "chgnet", "emt"],
)
def test_labels_do_not_depend_on_the_description(labeller, tolerances):
    atoms = bulk("Cu", cubic=True) if isinstance(labeller, EmtLabeller) else AG3SBR * (2, 1, 1)
    crystal = displaced(atoms, 0.08, seed=4)
    reference = labeller.label(crystal)
    assert reference.failure == ""
    for name, image in images(crystal, seed=5):
        found = labeller.label(image)
        for prop, tolerance in tolerances.items():
            assert found.values[prop] == pytest.approx(reference.values[prop], abs=tolerance), (name, prop)


def test_labelling_leaves_the_crystal_alone_and_repeats_itself():
    crystal = displaced(NACL, 0.05)
    for labeller in (ChgnetLabeller(), XtbLabeller()):
        before = crystal.positions_A.copy()
        first, second = labeller.label(crystal), labeller.label(crystal)
        assert first.values == second.values
        assert set(first.values) == set(labeller.provides)
        np.testing.assert_array_equal(crystal.positions_A, before)


def test_engine_texts_name_versions():
    for labeller, package in ((ChgnetLabeller(), "chgnet"), (XtbLabeller(), "tblite"), (EmtLabeller(), "ase")):
        assert labeller.engine.startswith(f"{package} {metadata.version(package)} ")
    assert "GFN2-xTB" in XtbLabeller(method="GFN2-xTB").engine
    assert "Γ" in XtbLabeller().engine
    assert "raw eigenvalues" in XtbLabeller().engine


@pytest.mark.parametrize("package", ["chgnet", "tblite", "ase"])
def test_missing_engine_is_told_before_any_work(package, monkeypatch, tmp_path):
    from label_toys import copper

    version = metadata.version

    def without(name):
        if name == package:
            raise metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(metadata, "version", without)
    labeller = {"chgnet": ChgnetLabeller(), "tblite": XtbLabeller(), "ase": EmtLabeller()}[package]
    with pytest.raises(MissingEngineError, match=f"pip install {package}"):
        label([copper(1)], [labeller], tmp_path / "store.sqlite")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("cls", "settings", "words"),
    [
        (XtbLabeller, {"method": "GFN9"}, "method must be one of"),
        (XtbLabeller, {"accuracy": 0.0}, "accuracy must be greater than 0"),
        (XtbLabeller, {"electronic_temperature_K": -1.0}, "electronic_temperature_K must be greater than 0"),
        (XtbLabeller, {"max_iterations": 0}, "max_iterations must be at least 1"),
        (ChgnetLabeller, {"weights": "mine.pth"}, "weights must be one of"),
    ],
)
def test_wrong_settings_are_one_sentence(cls, settings, words):
    with pytest.raises(ConfigurationError, match=words):
        cls(**settings)


def test_ase_labeller_takes_a_function_or_its_name():
    from label_toys import Toy

    by_name = AseLabeller(factory="label_toys:Toy", name="toy", version="1")
    by_object = AseLabeller(factory=Toy, name="toy", version="1")
    assert by_name == by_object
    assert by_name.engine == "toy 1"
    assert set(by_name.label(displaced(NACL, 0.05)).values) == {ENERGY, STRESS}


@pytest.mark.parametrize(
    ("factory", "error", "words"),
    [
        (lambda: None, ConfigurationError, "cannot be reached from a worker"),
        ("label_toys:Toy.calculate", ConfigurationError, "cannot be reached from a worker"),
        ("label_toys:NOT_A_FUNCTION", ConfigurationError, "is not a function"),
        ("label_toys:absent", ConfigurationError, "is not a function"),
        ("no_such_module_anywhere:make", MissingEngineError, "cannot be imported"),
    ],
)
def test_unreachable_factories_are_refused_at_once(factory, error, words):
    with pytest.raises(error, match=words):
        AseLabeller(factory=factory, name="toy", version="1")


def test_ase_labeller_needs_a_version():
    with pytest.raises(ConfigurationError, match="needs a name, a version"):
        AseLabeller(factory="label_toys:Toy", name="toy", version=" ")


@pytest.mark.parametrize("gap_A", [0.0, 0.2, 0.49])
def test_overlapping_atoms_never_reach_an_engine(gap_A):
    cell = 4 * np.eye(3)
    # The second atom is close to an image of the first, across the cell's corner.
    close = Crystal(cell_A=cell, positions_A=[[0, 0, 0], [4 - gap_A, 4, -4]], numbers=[29, 29])
    found = label_safely(ExplodingLabeller(), close)
    assert found.failure == "bad_input"
    assert f"{gap_A:.3f} Å" in found.message


class ExplodingLabeller:
    provides = (ENERGY,)
    engine = "none 0"

    def label(self, crystal):
        raise AssertionError("the engine was called")


def test_shortest_distance_equals_ase_in_skewed_cells():
    from ase.neighborlist import neighbor_list

    rng = np.random.default_rng(11)
    close = 0
    for _ in range(200):
        cell = rng.normal(0, 1, (3, 3)) * rng.uniform(1.0, 6.0)
        if 1 / np.linalg.norm(np.linalg.inv(cell), axis=0).max() < 0.7:  # lattice planes too dense to be quick
            continue
        count = int(rng.integers(1, 7))
        crystal = Crystal(cell_A=cell, positions_A=rng.normal(0, 4, (count, 3)), numbers=[6] * count)
        atoms = Atoms(numbers=crystal.numbers, positions=crystal.positions_A, cell=cell, pbc=True)
        listed = neighbor_list("d", atoms, 0.8)
        expected = listed.min() if len(listed) else None
        found = shortest_below(crystal, 0.8)
        close += expected is not None
        assert (found is None) == (expected is None)
        assert found is None or found == pytest.approx(expected, abs=1e-9)
    assert close > 10


@pytest.mark.parametrize(
    ("labeller", "atoms"),
    [
        (EmtLabeller(), bulk("Cu", cubic=True)),
        (ChgnetLabeller(total_moment=True), AG3SBR),
        (XtbLabeller(manifolds=(3, 1)), AG3SBR),
        (XtbLabeller(energies=True), NACL),
    ],
    ids=["emt", "chgnet", "tblite", "tblite-energies"],
)
def test_what_is_promised_is_given_in_the_promised_shape(labeller, atoms):
    crystal = displaced(atoms, 0.05)
    found = labeller.label(crystal)
    assert checked(found, labeller.provides, labeller.provides_arrays, len(crystal)).failure == ""
    if STRESS in found.values:
        assert found.values[STRESS] == pytest.approx(np.trace(found.arrays["stress_GPa"]) / 3, rel=1e-6)
        assert np.abs(found.arrays["forces_eV_per_A"].sum(axis=0)).max() < 1e-3, "no net force on a crystal"
    if "charges_e" in found.arrays:
        assert found.arrays["charges_e"].sum() == pytest.approx(0.0, abs=1e-6)


def test_numbers_follow_from_the_kept_eigenvalues():
    found = XtbLabeller(manifolds=(3, 2)).label(displaced(AG3SBR, 0.05))
    levels = found.arrays["eigenvalues_eV"][0, 0]
    occupied = (3 * 11 + 6 + 7) // 2
    assert (found.values["vbm_eV"], found.values["cbm_eV"]) == (levels[occupied - 1], levels[occupied])
    assert found.values["vbm_mean_eV"] == pytest.approx(levels[occupied - 3 : occupied].mean())
    assert found.values["cbm_mean_eV"] == pytest.approx(levels[occupied : occupied + 2].mean())


def test_moments_add_up():
    iron = displaced(bulk("Fe", cubic=True) * (2, 1, 1), 0.02)
    found = ChgnetLabeller(total_moment=True).label(iron)
    assert found.values["total_magnetic_moment_muB"] == pytest.approx(found.arrays["magnetic_moments_muB"].sum())
    assert found.values["total_magnetic_moment_muB"] / len(iron) == pytest.approx(2.2, abs=0.5)


def test_remedies_change_the_way_and_never_the_answer():
    labeller = XtbLabeller(max_iterations=12)
    for attempt in (2, 3):
        words, changed = labeller.remedy(attempt, "not_converged")
        assert words == REMEDIES[attempt - 2][0]
        for name in ("method", "accuracy", "electronic_temperature_K", "manifolds", "energies"):
            assert getattr(changed, name) == getattr(labeller, name)
        assert calculation(changed).engine == calculation(labeller).engine
    assert labeller.remedy(4, "not_converged") is None
    assert labeller.remedy(2, "timeout") is None


@pytest.mark.parametrize("changes", [changes for _, changes in REMEDIES], ids=["damped", "from-5000-K"])
def test_another_way_leads_to_the_same_levels(changes):
    crystal = displaced(NACL, 0.05)
    straight, roundabout = XtbLabeller().label(crystal), XtbLabeller(**changes).label(crystal)
    for name in straight.values:
        # The threshold of self-consistency leaves this much open.
        assert roundabout.values[name] == pytest.approx(straight.values[name], abs=1e-3)
    assert calculation(XtbLabeller(**changes)).key == calculation(XtbLabeller()).key


def test_a_label_that_does_not_converge_is_rescued_and_says_how():
    # Two atoms of KI at 5.6 Å: the usual mixing oscillates.
    lattice = 2 * 1.0 * (2.03 + 1.39) / np.sqrt(3)
    dense = Crystal(cell_A=lattice * np.eye(3), positions_A=[[0, 0, 0], [lattice / 2] * 3], numbers=[19, 53])
    assert XtbLabeller().label(dense).failure == "not_converged"
    attempts = label_with_remedies(structure_bytes(dense), calculation(XtbLabeller()), 600.0)
    assert [attempt.result.failure for attempt in attempts] == ["not_converged", ""]
    assert attempts[-1].result.message == "attempt 2, mixer damping 0.1, twice the iterations"


@pytest.mark.parametrize("manifolds", [(1,), (1, 2, 3)])
def test_manifolds_are_two_numbers(manifolds):
    with pytest.raises(ConfigurationError, match="must hold two numbers"):
        XtbLabeller(manifolds=manifolds)


def test_a_tighter_self_exists_where_an_engine_has_thresholds():
    words, tight = XtbLabeller(accuracy=0.5).tightened()
    assert (words, tight.accuracy) == ("accuracy 0.005", 0.005)
    assert calculation(tight).key != calculation(XtbLabeller(accuracy=0.5)).key
    coarse = AseLabeller(factory="label_toys:Toy", name="toy", version="1")
    assert coarse.tightened() is None
    words, fine = AseLabeller(
        factory="label_toys:Toy", name="toy", version="1", tight_factory="label_toys:Lying"
    ).tightened()
    assert (words, fine.factory, fine.version) == ("label_toys:Lying", "label_toys:Lying", "1 tightened")
