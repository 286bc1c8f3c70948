"""The ASE calculator: derivatives against finite differences, ensembles, scalars, and what is not smooth."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from torch import nn

import phonograph as pg
from phonograph.bridges.ase_calculator import PhonographCalculator
from phonograph.errors import DataError
from phonograph.models.derivatives import differentiate, roughness
from phonograph.streams import stream
from phonograph.testing import cubic_antiperovskite, displaced


class Distances(nn.Module):
    """A network that reads distances themselves."""

    def __init__(self, features):
        super().__init__()
        self.layer = nn.Linear(features + 1, 1)

    def forward(self, batch):
        _, target = batch.edge_index
        near = torch.exp(-batch.edge_distance) * (1 + torch.cos(torch.pi * batch.edge_distance / 5.0)) / 2
        total = torch.zeros(len(batch.x), dtype=batch.x.dtype).index_add(0, target, near)
        h = torch.cat([batch.aggregate(batch.x), total[:, None]], dim=1)
        return torch.tanh(self.layer(batch.pool(h, "mean"))).squeeze(-1)


@dataclass(frozen=True)
class DistancesModel:
    def build(self, features, seed):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return Distances(features)


@pytest.fixture(scope="module")
def made():
    return displaced(cubic_antiperovskite(4.9), 24, 0.1, seed=2)


def fit(made, target="energy_eV_per_atom", law="cosine", model=None, seed=0, **changes):
    graphs = pg.build_graphs(made, pg.GraphSpec(cutoff_A=5.0))
    owner = np.repeat(np.arange(len(graphs)), np.diff(graphs.edge_offsets))
    values = np.bincount(owner, np.cos(graphs.distance_A), len(graphs))
    split = pg.make_split(graphs.sample_ids, graphs.groups, seed=1)
    settings = pg.TrainingSettings(epochs=3, batch_size=8, edge_law=law)
    model = model or pg.GraphConvNet(hidden_channels=8, **changes)
    return pg.fit(graphs, values, split, model, settings, target=target, seed=seed)


def atoms_of(crystal):
    return Atoms(crystal.numbers, crystal.positions_A, cell=crystal.cell_A, pbc=True)


def shaken(seed=5):
    """A low-symmetry, skewed cell: no two atoms alike, so nothing ties for the maximum."""
    made = displaced(cubic_antiperovskite(4.9), 1, 0.15, seed=seed).crystal(0)
    strain = np.eye(3) + 0.03 * stream(seed, "strain").normal(size=(3, 3))
    return Atoms(made.numbers, made.positions_A @ strain, cell=made.cell_A @ strain, pbc=True)


def slope(function, step):
    """Five-point derivative at 0."""
    return (8 * (function(step) - function(-step)) - (function(2 * step) - function(-2 * step))) / (12 * step)


def energy_of(calculator, atoms):
    copy = atoms.copy()
    copy.calc = calculator
    return copy.get_potential_energy()


CASES = {
    "mean": {"pooling": "mean"},
    "max": {"pooling": "max"},
    "sigmoid": {"pooling": "mean", "output": "sigmoid", "convolutions": 3},
    "radial": {"pooling": "mean", "law": "radial"},
    "own": {"model": DistancesModel()},
}


@pytest.mark.parametrize("case", CASES)
def test_forces_and_stress_are_derivatives_of_the_energy(made, case):
    calculator = PhonographCalculator(fit(made, **CASES[case]))
    atoms = shaken()
    atoms.calc = calculator
    forces, stress = atoms.get_forces().copy(), atoms.get_stress(voigt=False).copy()
    scale = np.abs(forces).max()
    assert scale > 1e-4

    def moved(i, axis):
        def energy(step):
            other = atoms.copy()
            other.positions[i, axis] += step
            return energy_of(calculator, other)

        return energy

    for i, axis in ((0, 0), (1, 2), (3, 1), (4, 0)):
        assert -slope(moved(i, axis), 1e-4) == pytest.approx(forces[i, axis], abs=1e-6 * scale)

    def strained(a, b):
        def energy(step):
            other = atoms.copy()
            strain = np.zeros((3, 3))
            strain[a, b] += step / 2
            strain[b, a] += step / 2
            other.set_cell(np.asarray(atoms.cell) @ (np.eye(3) + strain), scale_atoms=True)
            return energy_of(calculator, other)

        return energy

    for a, b in ((0, 0), (2, 2), (0, 1), (1, 2)):
        found = slope(strained(a, b), 1e-5) / atoms.get_volume()
        assert found == pytest.approx(stress[a, b], abs=1e-5 * np.abs(stress).max())
    np.testing.assert_allclose(forces.sum(axis=0), 0, atol=1e-10 * scale)


def test_the_value_is_that_of_predict(made):
    fitted = fit(made)
    graphs = pg.build_graphs(made, fitted.graph)
    expected = pg.predict(fitted, graphs)
    for i in range(4):
        got = differentiate(fitted, graphs.select([i]), made.crystal(i).positions_A, made.crystal(i).cell_A)
        assert got.value == pytest.approx(expected[i], rel=1e-10)
        atoms = atoms_of(made.crystal(i))
        atoms.calc = PhonographCalculator(fitted)
        assert atoms.get_potential_energy() == pytest.approx(5 * expected[i], rel=1e-10)
        assert atoms.calc.results["energy_eV_per_atom"] == pytest.approx(expected[i], rel=1e-10)


def test_forces_turn_with_the_crystal_and_follow_the_order_of_atoms(made):
    calculator = PhonographCalculator(fit(made, pooling="mean"))
    atoms = shaken()
    atoms.calc = calculator
    forces = atoms.get_forces().copy()
    turn = np.linalg.qr(stream(3, "turn").normal(size=(3, 3)))[0]
    order = np.array([4, 2, 0, 1, 3])
    other = Atoms(
        atoms.numbers[order], atoms.positions[order] @ turn + 1.7, cell=np.asarray(atoms.cell) @ turn, pbc=True
    )
    other.calc = calculator
    np.testing.assert_allclose(other.get_forces(), forces[order] @ turn, atol=1e-9 * np.abs(forces).max())


def test_energies_are_extensive_and_forces_intensive(made):
    calculator = PhonographCalculator(fit(made, pooling="mean"))
    atoms = shaken()
    double = atoms.repeat((2, 1, 1))
    atoms.calc, double.calc = calculator, PhonographCalculator(calculator.fits)
    assert double.get_potential_energy() == pytest.approx(2 * atoms.get_potential_energy(), rel=1e-10)
    np.testing.assert_allclose(double.get_forces()[:5], atoms.get_forces(), atol=1e-9)
    np.testing.assert_allclose(double.get_stress(), atoms.get_stress(), atol=1e-11)


def test_several_networks_are_an_ensemble_and_scalars_come_with_it(made):
    fits = [fit(made, seed=seed) for seed in range(2)] + [fit(made, "band_gap_eV")]
    atoms = shaken()
    atoms.calc = PhonographCalculator(fits)
    forces = atoms.get_forces()
    each = []
    for one in fits[:2]:
        single = atoms.copy()
        single.calc = PhonographCalculator(one)
        each.append((single.get_potential_energy(), single.get_forces()))
    assert atoms.get_potential_energy() == pytest.approx(np.mean([energy for energy, _ in each]))
    assert atoms.calc.results["energy_eV_per_atom_std"] == pytest.approx(np.std([e / 5 for e, _ in each], ddof=1))
    np.testing.assert_allclose(forces, np.mean([force for _, force in each], axis=0), rtol=1e-10)
    assert np.isfinite(atoms.calc.results["band_gap_eV"])
    assert "band_gap_eV_std" not in atoms.calc.results
    assert atoms.calc.results["outside_training"] in (True, False)


def test_a_network_that_is_given_twice_counts_once(made):
    first, second = fit(made), fit(made, seed=1)
    with pytest.warns(UserWarning, match="1 of 3 networks are copies of others, which count once"):
        calculator = PhonographCalculator([first, second, first])
    atoms = shaken()
    atoms.calc = calculator
    alone = energy_of(PhonographCalculator([first, second]), atoms)
    assert atoms.get_potential_energy() == alone


def test_a_gap_has_no_forces(made):
    atoms = shaken()
    atoms.calc = PhonographCalculator(fit(made, "band_gap_eV"))
    assert np.isfinite(atoms.calc.get_property("band_gap_eV", atoms))
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_forces()


def test_what_is_not_smooth_is_said(made):
    smooth = fit(made, pooling="mean")
    assert [word.split(":")[0] for word in roughness(smooth)] == ["kinks"]
    assert any("max pooling" in word for word in roughness(fit(made, pooling="max")))
    hard = fit(made, law="minmax")
    with pytest.warns(UserWarning, match="jumps: its edge law 'minmax' weighs an edge at the cutoff"):
        calculator = PhonographCalculator(hard)
    # Away from the cutoff its forces are derivatives all the same.
    atoms = shaken()
    atoms.calc = calculator
    forces = atoms.get_forces().copy()

    def energy(step):
        other = atoms.copy()
        other.positions[3, 1] += step
        return energy_of(calculator, other)

    assert -slope(energy, 1e-6) == pytest.approx(forces[3, 1], rel=1e-4)


def test_mistakes_are_told_in_one_sentence(made):
    fitted = fit(made)
    with pytest.raises(DataError, match="at least one trained network"):
        PhonographCalculator([])
    gap = fit(made, "band_gap_eV")
    with pytest.raises(DataError, match="different units: eV, meV"):
        PhonographCalculator([gap, replace(gap, unit="meV")])
    with pytest.raises(DataError, match="two energies"):
        PhonographCalculator([fitted, replace(fitted, target="energy_eV")])
    atoms = shaken()
    atoms.pbc = (True, True, False)
    atoms.calc = PhonographCalculator(fitted)
    with pytest.raises(DataError, match="not periodic in all directions"):
        atoms.get_potential_energy()
    strange = shaken()
    strange.numbers[0] = 92
    strange.calc = PhonographCalculator(fitted)
    with pytest.raises(DataError, match="knows nothing about U"):
        strange.get_forces()


def test_an_optimiser_goes_downhill_to_zero_force(made):
    from ase.optimize import BFGS

    atoms = shaken()
    atoms.calc = PhonographCalculator(fit(made, model=DistancesModel()))
    before = atoms.get_potential_energy()
    largest = np.abs(atoms.get_forces()).max()
    BFGS(atoms, logfile=None, maxstep=0.02).run(fmax=0, steps=8)
    assert atoms.get_potential_energy() < before
    assert np.abs(atoms.get_forces()).max() < 5 * largest
