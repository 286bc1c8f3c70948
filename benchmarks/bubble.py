"""Do the three routes agree on a weakly anharmonic metal once the cubic terms are counted?  EMT Cu and Al, 300 K.

python benchmarks/bubble.py                       both metals, 24 ps of dynamics each; ten minutes on an idle core
python benchmarks/bubble.py --metals Cu --ps 12

Prints differences of all 93 commensurate frequencies, classical: of the self-consistent loop, of the curvature of the
free energy (static bubble), and of the loop with the bubble at each mode's own frequency, from the regression of the
dynamics' forces and from its lines.  The own-frequency bubble is the real part of the classical self-energy,

    δω_a² = −½ Σ_cd |D_acd|² kT/(2ω_c²ω_d²) Re[(ω_c + ω_d)²/((ω_c + ω_d)² − z²) + (ω_c − ω_d)²/((ω_c − ω_d)² − z²)],

z = ω_a + iη: the broadening η stands for the continuum that a supercell has not.
Source: Maradudin & Fein, Phys. Rev. 128, 2589 (1962), doi:10.1103/PhysRev.128.2589.
"""

from __future__ import annotations

import argparse

import numpy as np

import phonograph as pg
from phonograph.lattice import Modes, crystal_modes
from phonograph.phonons.curvature import third_order_of_modes
from phonograph.phonons.evaluate import ForceField
from phonograph.phonons.third_order import ThirdOrderFit
from phonograph.types import Crystal, FloatArray, Phonons
from phonograph.units import BOLTZMANN_EV_PER_K, THZ_PER_SQRT_EV_PER_A2_AMU

METALS = {"Cu": (29, 3.5898), "Al": (13, 3.9937)}
TEMPERATURE_K = 300.0
BROADENINGS_THZ = (0.2, 0.3, 0.5, 1.0)
PAIRS = 160
FORCES = pg.CalculatorForces(engine="emt")


def crystal_of(name: str) -> Crystal:
    number, lattice_A = METALS[name]
    fractional = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    return Crystal(cell_A=lattice_A * np.eye(3), positions_A=lattice_A * fractional, numbers=[number] * 4, title=name)


def third_order(phonons: Phonons) -> tuple[Modes, FloatArray]:
    """Return the loop's modes and D_abc from pairs of its own law."""
    sampler = pg.ThermalSampler(temperature_K=TEMPERATURE_K, statistics="classical", antithetic=True)
    drawn = pg.sample(phonons, sampler, 2 * PAIRS, 1, name="pairs").displacements_A.reshape(2 * PAIRS, -1, 3)
    with ForceField(FORCES) as field:
        forces = field.evaluate(phonons.supercell, phonons.supercell.positions_A + drawn).forces_eV_per_A
    fit = ThirdOrderFit(phonons.supercell)
    even = 0.5 * (forces[::2] + forces[1::2])
    solution = fit.equations(drawn[::2], even, np.ones(PAIRS), np.zeros(PAIRS, dtype=np.int64)).solve()
    assert solution is not None
    modes = crystal_modes(phonons.force_constants)
    return modes, third_order_of_modes(fit.tensor(solution), modes)


def at_own_frequency(modes: Modes, third: FloatArray, broadening_THz: float) -> FloatArray:
    """Return the loop's frequencies with the bubble at each mode's own frequency, THz, ascending."""
    frequency = modes.frequencies_THz
    stiffness = (frequency / THZ_PER_SQRT_EV_PER_A2_AMU) ** 2
    plus, minus = np.add.outer(frequency, frequency) ** 2, np.subtract.outer(frequency, frequency) ** 2
    weight = BOLTZMANN_EV_PER_K * TEMPERATURE_K / np.outer(stiffness, stiffness) / 2.0
    shifts = []
    for own, couplings in zip(frequency, third, strict=True):
        square = (own + 1j * broadening_THz) ** 2
        shifts.append(-0.5 * (couplings**2 * weight * (plus / (plus - square) + minus / (minus - square)).real).sum())
    return np.sort(np.sqrt(stiffness + np.array(shifts)) * THZ_PER_SQRT_EV_PER_A2_AMU)


def compare(name: str, duration_ps: float) -> None:
    crystal = crystal_of(name)
    settings = pg.Renormalisation(
        temperature_K=TEMPERATURE_K,
        statistics="classical",
        frequency_tolerance_THz=0.02,
        free_energy_curvature=True,
    )
    loop = pg.compute_phonons(crystal, FORCES, (2, 2, 2), renormalisation=settings)
    dynamics = pg.MolecularDynamics(temperature_K=TEMPERATURE_K, time_step_fs=3.0, duration_ps=duration_ps)
    trajectory = pg.molecular_dynamics(loop.supercell, FORCES, dynamics)
    routes = {
        label: pg.compute_phonons(crystal, force_constants=loop.harmonic, renormalisation=route, trajectory=trajectory)
        for label, route in (("regression", pg.ForceRegression()), ("lines", pg.ModeProjection()))
    }
    modes, third = third_order(loop)
    rows = {
        "loop": (loop.frequencies_THz, loop.frequency_error_THz),
        "curvature": (loop.curvature_frequencies_THz, loop.curvature_errors_THz),
    }
    for broadening in BROADENINGS_THZ:
        label = f"bubble at ω, η = {broadening:g} THz"
        rows[label] = (at_own_frequency(modes, third, broadening), loop.frequency_error_THz)
    for label, (values, errors) in rows.items():
        for other, phonons in routes.items():
            apart = values - phonons.frequencies_THz
            ratio = apart / np.hypot(errors, phonons.frequency_error_THz)
            print(
                f"{name} {label:24} − {other:10}: mean {apart.mean():+.3f}, rms {np.sqrt((apart**2).mean()):.3f} THz; "
                f"rms {np.sqrt((ratio**2).mean()):.1f}, largest {np.abs(ratio).max():.1f} combined errors",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--metals", nargs="+", choices=tuple(METALS), default=tuple(METALS))
    parser.add_argument("--ps", type=float, default=24.0, help="length of the dynamics")
    options = parser.parse_args()
    for name in options.metals:
        compare(name, options.ps)


if __name__ == "__main__":
    main()
