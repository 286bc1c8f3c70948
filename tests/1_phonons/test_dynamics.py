"""Molecular dynamics: resumed bit for bit, at its temperature, with its energy; and a run that explodes says so."""

from __future__ import annotations

import numpy as np
import pytest
from ase.calculators.calculator import Calculator, all_changes

from phonograph.errors import ConfigurationError, DataError
from phonograph.lattice import harmonic_energy
from phonograph.phonons import AseForces, MolecularDynamics, molecular_dynamics
from phonograph.phonons.dynamics import dynamics_parts
from phonograph.phonons.harmonic import supercell_of
from phonograph.phonons.routes import kinetic_temperature
from phonograph.types import join_trajectories


@pytest.fixture(scope="module")
def crystal(quartic):
    return supercell_of(quartic(1.0, 0.0).crystal, np.diag([2, 2, 2]))


@pytest.fixture(scope="module")
def values(quartic, crystal):
    return quartic(1.0, 0.0).constants(crystal, 1.0)


def springs_of(crystal, values):
    """Harmonic forces by one matrix product."""
    flat = values.transpose(0, 2, 1, 3).reshape(3 * len(crystal), -1)

    class Springs(Calculator):
        implemented_properties = ("energy", "forces")

        def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
            super().calculate(atoms, properties, system_changes)
            u = (atoms.positions - crystal.positions_A).ravel()
            self.results = {"energy": 0.5 * float(u @ flat @ u), "forces": -(flat @ u).reshape(-1, 3)}

    return AseForces(factory=Springs, name="springs")


@pytest.fixture(scope="module")
def springs(crystal, values):
    return springs_of(crystal, values)


@pytest.mark.parametrize("thermostat", ["bussi", "langevin", "none"])
def test_a_run_that_goes_on_is_the_same_bit_for_bit(crystal, springs, thermostat):
    settings = MolecularDynamics(
        duration_ps=0.66, equilibration_ps=0.1, stride=1, time_step_fs=2.0, thermostat=thermostat
    )
    whole = list(dynamics_parts(crystal, springs, settings, seed=4))
    assert [part.step for part in whole] == [50, 150, 250, 350, 380]
    assert whole[0].trajectory is None
    for stopped_after in (0, 1, 3):
        again = list(dynamics_parts(crystal, springs, settings, seed=4, after=whole[stopped_after]))
        assert len(again) == len(whole) - 1 - stopped_after
        for one, other in zip(whole[stopped_after + 1 :], again, strict=True):
            for name in ("positions_A", "velocities_A_per_ps", "forces_eV_per_A", "energies_eV"):
                np.testing.assert_array_equal(getattr(one.trajectory, name), getattr(other.trajectory, name))
            np.testing.assert_array_equal(one.momenta, other.momenta)
    other_seed = next(iter(dynamics_parts(crystal, springs, settings, seed=5)))
    assert np.abs(other_seed.positions_A - whole[0].positions_A).max() > 1e-3


@pytest.mark.parametrize("thermostat", ["bussi", "langevin"])
def test_a_thermostat_keeps_the_temperature_and_equipartition(crystal, values, springs, thermostat):
    settings = MolecularDynamics(
        temperature_K=250.0,
        duration_ps=40.0,
        time_step_fs=8.0,
        stride=4,
        thermostat=thermostat,
        relaxation_time_ps=0.1,
    )
    trajectory = molecular_dynamics(crystal, springs, settings, seed=1)
    assert len(trajectory) == settings.frames == 1250
    assert trajectory.time_step_fs == 32.0
    # 45 quadratic freedoms of each kind, about 0.2 ps from one independent state to the next: 1.5 % and less.
    assert kinetic_temperature(trajectory) == pytest.approx(250.0, rel=0.06)
    moved = trajectory.positions_A - crystal.positions_A
    potential = 2 * harmonic_energy(values, moved).mean() / (45 * 8.617333e-5)
    assert potential == pytest.approx(250.0, rel=0.06)
    # The kinetic energy itself has the spread of the canonical law: var E = f/2 (kT)².
    drift = np.einsum("tia,i->ta", trajectory.velocities_A_per_ps, crystal.masses_amu)
    assert np.abs(drift).max() < 1e-9
    kinetic = (trajectory.velocities_A_per_ps**2 * crystal.masses_amu[:, None]).sum(axis=(1, 2))
    assert kinetic.std() / kinetic.mean() == pytest.approx(np.sqrt(2 / 45), rel=0.2)


def test_without_a_thermostat_the_energy_stays(crystal, springs):
    settings = MolecularDynamics(duration_ps=4.0, time_step_fs=2.0, stride=5, thermostat="none")
    trajectory = molecular_dynamics(crystal, springs, settings, seed=1)
    kinetic = 0.5 * (trajectory.velocities_A_per_ps**2 * crystal.masses_amu[:, None]).sum(axis=(1, 2))
    total = trajectory.energies_eV + kinetic * 1.0364270e-4
    assert np.ptp(total) < 5e-3 * np.ptp(trajectory.energies_eV)
    np.testing.assert_allclose(
        trajectory.forces_eV_per_A[3],
        -np.einsum("ijab,jb->ia", _constants(springs, crystal), _moved(trajectory, 3)),
        atol=1e-9,
    )


def _moved(trajectory, frame):
    return trajectory.positions_A[frame] - np.round(trajectory.positions_A[frame] / 2.0) * 2.0


def _constants(springs, crystal):
    from phonograph.phonons.engines import Engine

    engine = Engine(springs)
    rest = np.array(crystal.positions_A)
    found = np.zeros((len(crystal), len(crystal), 3, 3))
    for j in range(len(crystal)):
        for b in range(3):
            place = rest.copy()
            place[j, b] += 0.1
            found[:, j, :, b] = -engine.respond(crystal.cell_A, crystal.numbers, place)[1] / 0.1
    return found


def test_a_run_that_explodes_is_one_sentence(crystal, values):
    stiff = springs_of(crystal, 30.0 * values)  # 45 THz: verlet diverges beyond a step of 7 fs
    for step in (7.5, 20.0):
        settings = MolecularDynamics(time_step_fs=step, duration_ps=10.0, equilibration_ps=0.0, thermostat="none")
        with pytest.raises(DataError, match=r"heated up|NaN or infinite") as caught:
            molecular_dynamics(crystal, stiff, settings)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature_K": 0.0},
        {"temperature_K": float("nan")},
        {"time_step_fs": -1.0},
        {"thermostat": "nose"},
        {"stride": 0},
        {"duration_ps": 0.001},
    ],
)
def test_impossible_settings_are_one_sentence(settings):
    with pytest.raises(ConfigurationError, match="molecular_dynamics"):
        MolecularDynamics(**settings)


def test_parts_join_to_the_run(crystal, springs):
    settings = MolecularDynamics(duration_ps=0.5, equilibration_ps=0.0, stride=2, time_step_fs=2.0)
    parts = [part.trajectory for part in dynamics_parts(crystal, springs, settings)]
    whole = molecular_dynamics(crystal, springs, settings)
    np.testing.assert_array_equal(join_trajectories(parts).positions_A, whole.positions_A)
    assert whole.origin.seed == 0
