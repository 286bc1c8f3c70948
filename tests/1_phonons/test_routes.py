"""Mode projection and regression against known crystals, and the three routes against each other."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest
from ase.calculators.emt import EMT

from phonograph.errors import ConfigurationError, DataError
from phonograph.lattice import mode_variance, normal_modes
from phonograph.phonons import (
    AseForces,
    ForceRegression,
    ModeProjection,
    MolecularDynamics,
    Renormalisation,
    compute_phonons,
    molecular_dynamics,
)
from phonograph.phonons.curvature import third_order_of_modes
from phonograph.phonons.evaluate import ForceField
from phonograph.phonons.fit import SymmetricFit, free_directions
from phonograph.phonons.harmonic import supercell_of
from phonograph.phonons.law import thermal_law
from phonograph.phonons.levels import from_levels, levels_of, strongest_mixing, symmetrised
from phonograph.phonons.lines import Line
from phonograph.phonons.projection import equipartition_warnings, project
from phonograph.phonons.regression import regress
from phonograph.phonons.routes import kinetic_temperature
from phonograph.phonons.third_order import ThirdOrderFit
from phonograph.streams import stream
from phonograph.types import Crystal, ForceConstants, Origin, Phonons, Trajectory, displacements, matched
from phonograph.units import A_PER_PS, BOLTZMANN_EV_PER_K, THZ_PER_SQRT_EV_PER_A2_AMU

STEP_FS = 15.0


def swinging(supercell: Crystal, values: np.ndarray, frames: int, temperature_K: float, seed: int = 0) -> Trajectory:
    """The exact motion of a harmonic crystal from thermal initial conditions."""
    modes = normal_modes(values, supercell.masses_amu)
    root = np.sqrt(np.repeat(supercell.masses_amu, 3))[:, None]
    random = stream(seed, "swinging")
    angular = 2 * np.pi * modes.frequencies_THz
    scale = np.sqrt(mode_variance(modes.frequencies_THz, temperature_K, "classical"))
    cosine, sine = scale * random.standard_normal((2, len(angular)))
    phase = np.arange(frames)[:, None] * STEP_FS / 1000 * angular
    q = cosine * np.cos(phase) + sine * np.sin(phase)
    v = angular * (sine * np.cos(phase) - cosine * np.sin(phase))
    u = (q @ (modes.vectors / root).T).reshape(frames, -1, 3)
    flat = values.transpose(0, 2, 1, 3).reshape(root.size, root.size)
    return Trajectory(
        cell_A=supercell.cell_A,
        numbers=supercell.numbers,
        masses_amu=supercell.masses_amu,
        positions_A=supercell.positions_A + u,
        velocities_A_per_ps=(v @ (modes.vectors / root).T).reshape(frames, -1, 3),
        forces_eV_per_A=-(u.reshape(frames, -1) @ flat).reshape(frames, -1, 3),
        time_step_fs=STEP_FS,
        temperature_K=temperature_K,
    )


@pytest.fixture(scope="module")
def toy(quartic):
    made = quartic(1.0, 0.0)
    supercell = supercell_of(made.crystal, np.diag([2, 2, 2]))
    values = made.constants(supercell, 1.0)
    constants = ForceConstants(
        unitcell=made.crystal,
        supercell_matrix=np.diag([2, 2, 2]),
        supercell=supercell,
        values_eV_per_A2=values,
        origin=Origin(room="test"),
    )
    return made, constants, swinging(supercell, values, 600, 300.0)


@pytest.mark.parametrize("velocities", [True, False])
def test_a_harmonic_crystal_gives_its_own_frequencies_and_no_width(toy, velocities):
    made, constants, trajectory = toy
    if not velocities:
        trajectory = replace(trajectory, velocities_A_per_ps=None)
    phonons = compute_phonons(
        made.crystal, force_constants=constants, renormalisation=ModeProjection(), trajectory=trajectory
    )
    assert phonons.method == "mode-projection"
    assert phonons.temperature_K == 300.0
    apart = phonons.frequencies_THz - phonons.harmonic_frequencies_THz
    assert np.abs(apart / phonons.frequency_error_THz).max() < 3
    assert np.abs(apart).max() < 0.05
    assert np.isnan(phonons.line_width_errors_THz).all()
    assert (phonons.line_widths_THz >= 1 / 9.0).all()
    assert any("upper bounds" in sentence for sentence in phonons.warnings)
    values = phonons.force_constants.values_eV_per_A2
    assert np.abs(values - constants.values_eV_per_A2).max() < 0.03 * constants.values_eV_per_A2.max()
    np.testing.assert_allclose(values.sum(axis=1), 0, atol=1e-9)


def test_frequencies_come_from_the_trajectory_and_vectors_from_the_given_modes(toy):
    _, constants, _ = toy
    stiffer = swinging(constants.supercell, 1.3 * constants.values_eV_per_A2, 600, 300.0)
    start = constants.values_eV_per_A2
    found = project(constants.supercell, start, stiffer, ModeProjection())
    expected = normal_modes(1.3 * start, constants.supercell.masses_amu).frequencies_THz
    np.testing.assert_allclose(found.frequencies_THz, expected, atol=0.05)
    np.testing.assert_allclose(found.values_eV_per_A2, 1.3 * start, atol=0.2)
    # Imaginary modes of the given force constants simply get the frequency that is measured.
    found = project(constants.supercell, -start, stiffer, ModeProjection())
    np.testing.assert_allclose(found.frequencies_THz, expected, atol=0.05)


def test_lines_carry_the_kinetic_energy_of_their_modes(toy):
    """All of it for the crystal's own modes, and as much from differences of positions as from velocities."""
    _, constants, trajectory = toy
    start = constants.values_eV_per_A2
    found = project(constants.supercell, start, trajectory, ModeProjection())
    moved = project(constants.supercell, start, replace(trajectory, velocities_A_per_ps=None), ModeProjection())
    assert min(line.share for line in found.lines) > 0.9
    mean = sum(line.power * len(level) for line, level in zip(found.lines, found.levels, strict=True)) / 45
    kinetic = mean / A_PER_PS**2 / BOLTZMANN_EV_PER_K
    assert kinetic == pytest.approx(kinetic_temperature(trajectory), rel=0.05)
    ratios = [a.power / b.power for a, b in zip(moved.lines, found.lines, strict=True)]
    assert np.median(ratios) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(("energy", "told"), [(1.0, False), (0.6, True), (1.6, True)])
def test_modes_that_do_not_share_their_energy_are_told(energy, told):
    """As where masses are wrong, or where a thermostat scales all velocities of modes that hardly couple."""
    rng = np.random.default_rng(3)
    levels = tuple(np.arange(3 * k, 3 * k + 3) for k in range(8))
    signals = rng.normal(size=(4000, 24))
    signals[:, 6:9] *= np.sqrt(energy)
    lines = [
        Line(
            frequency_THz=2.0 + k,
            frequency_error_THz=0.1,
            width_THz=0.2,
            width_error_THz=0.1,
            power=1.0,
            share=1.0,
            misfit=0.5,
        )
        for k in range(8)
    ]
    found = equipartition_warnings(signals, lines, levels)
    assert len(found) == told
    if told:
        assert "1 of 8 levels" in found[0]
        assert "at 4.00 THz" in found[0]


def test_regression_of_harmonic_forces_is_exact_and_needs_no_start(toy):
    made, constants, trajectory = toy
    for source in (trajectory, replace(trajectory, time_step_fs=None, velocities_A_per_ps=None)):
        phonons = compute_phonons(
            made.crystal, supercell_matrix=(2, 2, 2), renormalisation=ForceRegression(), trajectory=source
        )
        np.testing.assert_allclose(phonons.force_constants.values_eV_per_A2, constants.values_eV_per_A2, atol=1e-7)
        assert phonons.frequency_error_THz.max() < 1e-6
        measured = phonons.origin.settings["measured"]
        assert measured["fitted_anharmonicity"] < 1e-7
        # A quarter of a period of 4 to 8 THz is 2 to 4 frames; an ensemble is used whole.
        assert measured["fitted_stride"] in ((2, 3, 4) if source is trajectory else (1,))
        assert phonons.harmonic is None
        assert any("no harmonic force constants" in sentence for sentence in phonons.warnings)


def test_regression_equals_the_inverse_covariance_in_equilibrium(toy):
    """⟨f uᵀ⟩ = −kT in classical equilibrium, for any potential: Φ = kT ⟨u uᵀ⟩⁻¹ (here by Metropolis sampling)."""
    k, strength, thermal, size = 1.0, 30.0, 0.0258520, 200_000
    # One bond of the quartic toy along one axis: V = k d²/2 + λ d⁴/4.
    grid = np.linspace(-1.5, 1.5, 4001)
    density = np.exp(-(0.5 * k * grid**2 + 0.25 * strength * grid**4) / thermal)
    draws = stream(1, "metropolis").choice(grid, size=size, p=density / density.sum())
    slope = (draws * (k * draws + strength * draws**3)).mean() / (draws**2).mean()
    exact = thermal / ((density * grid**2).sum() / density.sum())
    assert slope == pytest.approx(exact, rel=0.01)
    assert exact > 1.5 * k


def test_regression_is_about_the_average_positions_where_symmetry_leaves_them_free():
    """Wurtzite, whose internal parameter u has moved: forces are linear about the new sites, not about the old."""
    a, c = 3.25, 5.2
    cell = np.array([[a, 0, 0], [-a / 2, a * np.sqrt(0.75), 0], [0, 0, c]])
    places = np.array([[1 / 3, 2 / 3, 0], [2 / 3, 1 / 3, 0.5], [1 / 3, 2 / 3, 0.38], [2 / 3, 1 / 3, 0.88]])
    crystal = Crystal(cell_A=cell, positions_A=places @ cell, numbers=[30, 30, 8, 8])
    supercell = supercell_of(crystal, np.diag([2, 2, 1]))
    random = stream(5, "free directions")
    values = SymmetricFit(supercell)(*random.standard_normal((2, 200, 16, 3)))
    (along,) = free_directions(supercell).T
    u = 0.05 * random.standard_normal((200, 16, 3))
    forces = -np.einsum("ijab,tjb->tia", values, u)
    moved = Trajectory(
        cell_A=supercell.cell_A,
        numbers=supercell.numbers,
        masses_amu=supercell.masses_amu,
        positions_A=supercell.positions_A + u + 0.3 * along.reshape(16, 3),
        forces_eV_per_A=forces,
        temperature_K=300.0,
    )
    found = regress(supercell, moved, ForceRegression())
    np.testing.assert_allclose(found.values_eV_per_A2, values, atol=1e-6 * np.abs(values).max())
    assert found.anharmonicity < 1e-6
    assert any("average positions of 16 atoms" in sentence for sentence in found.warnings)


def test_forces_and_displacements_of_dynamics_obey_the_virial_theorem(quartic):
    """⟨f_a Q_b⟩ = −kT δ_ab for all coordinates of a strongly anharmonic crystal in molecular dynamics."""
    toy, temperature = quartic(1.0, 30.0), 300.0
    supercell = supercell_of(toy.crystal, np.diag([2, 2, 2]))
    settings = MolecularDynamics(
        temperature_K=temperature,
        time_step_fs=4.0,
        duration_ps=10.0,
        equilibration_ps=1.0,
        stride=4,
        thermostat="langevin",
        relaxation_time_ps=0.1,
    )
    own = matched(molecular_dynamics(supercell, toy.forces(), settings, seed=1), supercell)
    root = np.sqrt(np.repeat(supercell.masses_amu, 3))
    vectors = normal_modes(toy.constants(supercell, toy.k), supercell.masses_amu).vectors
    q = displacements(own, supercell).reshape(len(own), -1) * root @ vectors
    f = own.forces_eV_per_A.reshape(len(own), -1) / root @ vectors
    ratio = -(f.T @ q) / len(own) / (BOLTZMANN_EV_PER_K * temperature)
    # About 0.2 ps from one independent state to the next: 3 % for the mean of 45 modes, 20 % for one element.
    assert np.diag(ratio).mean() == pytest.approx(1.0, abs=0.12)
    across = ratio[~np.eye(len(ratio), dtype=bool)]
    assert np.sqrt(np.mean(across**2)) < 0.15
    # Without the quartic force the same displacements would give (ω₀/ω)², a quarter less.
    harmonic = (2 * np.pi * normal_modes(toy.constants(supercell, toy.k), supercell.masses_amu).frequencies_THz) ** 2
    square = harmonic * (q**2).mean(axis=0) / A_PER_PS**2 / (BOLTZMANN_EV_PER_K * temperature)
    assert square.mean() < 0.85


def test_levels_are_what_symmetry_keeps_together(quartic, aluminium, silver_sulfide_bromide):
    # 15 equivalent translations of the toy: accidental degeneracies (x, y and z do not couple) are told apart.
    for crystal, matrix, levels in ((aluminium, (2, 2, 2), 11), (silver_sulfide_bromide, (2, 2, 2), 31)):
        supercell = supercell_of(crystal, np.diag(matrix))
        fit = SymmetricFit(supercell)
        random = stream(3, "levels test")
        u, f = random.standard_normal((2, 60, len(supercell), 3))
        generic = fit(0.1 * u, f)
        modes, found = levels_of(normal_modes(generic, supercell.masses_amu), fit)
        assert len(found) == levels
        assert sorted(np.concatenate(found)) == list(range(3 * len(supercell) - 3))
        np.testing.assert_allclose(
            from_levels(modes, modes.frequencies_THz), generic, atol=1e-6 * np.abs(generic).max()
        )
        # A matrix of the same symmetry is proportional to 1 within each level.
        other = symmetrised(modes.vectors @ np.diag(np.arange(len(modes.frequencies_THz))) @ modes.vectors.T, fit)
        inner = modes.vectors.T @ other @ modes.vectors
        for level in found:
            block = inner[np.ix_(level, level)]
            np.testing.assert_allclose(block, np.eye(len(level)) * block[0, 0], atol=1e-6 * np.abs(inner).max())


def test_mixing_is_zero_for_own_modes_and_found_for_others():
    covariance = np.diag([1.0, 1.0, 2.0, 2.0])
    levels = (np.array([0, 1]), np.array([2, 3]))
    assert strongest_mixing(covariance, levels) == (0.0, (0, 0))
    covariance[0, 2] = covariance[2, 0] = 0.5
    share, pair = strongest_mixing(covariance, levels)
    assert share == pytest.approx(0.5 / np.sqrt(2))
    assert pair == (0, 1)


def test_bad_trajectories_are_one_sentence(toy):
    made, constants, trajectory = toy
    follow = functools.partial(compute_phonons, made.crystal, force_constants=constants)
    cases = [
        (replace(trajectory, time_step_fs=None), ModeProjection(), "missing time step"),
        (trajectory.frames(0, 60), ModeProjection(), "too short for the line fit"),
        (replace(trajectory, time_step_fs=150.0), ModeProjection(), "store a frame at least every"),
        (trajectory, ModeProjection(skip_ps=9.0), "leaves nothing"),
        (trajectory, ModeProjection(temperature_K=200.0), "is of 300 K, but 200 K is asked for"),
        (replace(trajectory, temperature_K=None), ModeProjection(), "does not say its temperature"),
        (replace(trajectory, forces_eV_per_A=None), ForceRegression(), "holds no forces"),
        (trajectory.frames(0, 12), ForceRegression(), "needs at least"),
        (replace(trajectory, cell_A=1.1 * trajectory.cell_A), ForceRegression(), "lattice of the trajectory"),
        (replace(trajectory, numbers=trajectory.numbers[::-1]), ForceRegression(), "another order"),
    ]
    for given, route, words in cases:
        with pytest.raises(DataError, match=words) as caught:
            follow(renormalisation=route, trajectory=given)
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="must be finite"):
        replace(trajectory, forces_eV_per_A=trajectory.forces_eV_per_A * np.nan)
    with pytest.raises(ConfigurationError, match="needs a trajectory"):
        follow(renormalisation=ModeProjection())
    with pytest.raises(ConfigurationError, match="has no effect"):
        follow(trajectory=trajectory)
    with pytest.raises(ConfigurationError, match="has no effect"):
        follow(made.forces(), renormalisation=Renormalisation(), trajectory=trajectory)


def test_wrong_units_of_velocities_and_moved_averages_are_told(toy):
    made, constants, trajectory = toy
    fast = replace(trajectory, velocities_A_per_ps=1000 * trajectory.velocities_A_per_ps)
    found = compute_phonons(made.crystal, force_constants=constants, renormalisation=ForceRegression(), trajectory=fast)
    assert any("unit of the velocities" in sentence for sentence in found.warnings)
    away = np.zeros((16, 3))
    away[0, 0], away[1, 0] = 0.3, -0.3
    moved = replace(trajectory, positions_A=trajectory.positions_A + away)
    told = regress(constants.supercell, moved, ForceRegression()).warnings
    assert any("although symmetry fixes them" in sentence for sentence in told)


@pytest.mark.slow
def test_three_routes_find_a_planted_quartic(quartic):
    """Each route against its own exact answer, all an eighth above the harmonic frequencies.

    The loop solves k + 3λ⟨d²⟩.  The regression finds −⟨f uᵀ⟩⟨u uᵀ⟩⁻¹, here by importance sampling without dynamics.
    The lines differ from that in second order of λ, as the loop does; that difference is the allowance for them.

    The thermostat must bring every mode to temperature by itself: modes so weakly coupled keep what energy they have.
    """
    toy, temperature = quartic(1.0, 30.0), 300.0
    source = toy.forces()
    loop = compute_phonons(
        toy.crystal,
        source,
        (2, 2, 2),
        renormalisation=Renormalisation(temperature_K=temperature, statistics="classical"),
    )
    _, consistent, _ = toy.solve(loop.supercell, temperature, "classical")
    static = toy.static(loop.supercell, temperature)
    settings = MolecularDynamics(
        temperature_K=temperature,
        time_step_fs=3.0,
        duration_ps=30.0,
        stride=6,
        thermostat="langevin",
        relaxation_time_ps=0.5,
    )
    trajectory = molecular_dynamics(loop.supercell, source, settings, seed=3)
    follow = functools.partial(compute_phonons, toy.crystal, force_constants=loop.harmonic, trajectory=trajectory)
    shift = static - loop.harmonic_frequencies_THz
    assert (shift > 0.12 * loop.harmonic_frequencies_THz).all()
    second_order = np.abs(consistent - static)
    assert (second_order < 0.1 * shift).all()
    for phonons, exact, allowance in (
        (loop, consistent, 0.0),
        (follow(renormalisation=ForceRegression()), static, 0.0),
        (follow(renormalisation=ModeProjection()), static, second_order),
    ):
        away = phonons.frequencies_THz - exact
        error = np.hypot(phonons.frequency_error_THz, allowance)
        assert np.sqrt(np.mean((away / error) ** 2)) < 2, phonons.method
        assert error.max() < 0.2 * shift.max()
        assert abs(away.mean()) < 0.05 * shift.mean(), phonons.method


def dynamic_bubble(phonons: Phonons, source: AseForces, temperature_K: float, broadening_THz: float) -> np.ndarray:
    """Where classical lines should be: ω_a² minus the real part of the bubble at ω_a, THz, ascending.

    Static, a pair of modes counts D² kT/(2 ω_c² ω_d²); at ω its halves are multiplied by Ω²/(Ω² − ω²), Ω = ω_c ± ω_d
    (Maradudin & Fein, Phys. Rev. 128, 2589 (1962), doi:10.1103/PhysRev.128.2589).
    """
    crystal, constants = phonons.supercell, phonons.force_constants.values_eV_per_A2
    law = thermal_law(constants, crystal.masses_amu, temperature_K, "classical", 1.0)
    u = law.draw(stream(0, "dynamic bubble").standard_normal((60, 3 * len(crystal))))
    with ForceField(source) as field:
        forces = [field.evaluate(crystal, crystal.positions_A + sign * u).forces_eV_per_A for sign in (1, -1)]
    fit = ThirdOrderFit(crystal)
    equations = fit.equations(u, 0.5 * (forces[0] + forces[1]), np.ones(len(u)), np.zeros(len(u)))
    third = third_order_of_modes(fit.tensor(equations.solve()), law.modes)
    modes, stiffness = law.modes.frequencies_THz, (law.modes.frequencies_THz / THZ_PER_SQRT_EV_PER_A2_AMU) ** 2
    half = 0.5 * BOLTZMANN_EV_PER_K * temperature_K / np.outer(stiffness, stiffness)
    lowered = []
    for mode, own in enumerate(modes):
        at = (own + 1j * broadening_THz) ** 2
        factors = [pair**2 / (pair**2 - at) for pair in (np.add.outer(modes, modes), np.subtract.outer(modes, modes))]
        lowered.append(0.5 * (third[mode] ** 2 * half * np.real(sum(factors))).sum())
    return np.sort(np.sqrt(stiffness - lowered)) * THZ_PER_SQRT_EV_PER_A2_AMU


@pytest.mark.slow
def test_three_routes_on_copper_agree_once_the_bubble_is_counted():
    """EMT copper, 300 K: loop + static bubble = regression, loop + bubble at the frequency itself = lines."""
    a = 3.5898
    crystal = Crystal(
        cell_A=np.eye(3) * a,
        positions_A=np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]) * a,
        numbers=[29] * 4,
    )
    source = AseForces(factory=EMT, name="EMT")
    settings = Renormalisation(
        temperature_K=300.0, statistics="classical", frequency_tolerance_THz=0.02, free_energy_curvature=True
    )
    loop = compute_phonons(crystal, source, (2, 2, 2), renormalisation=settings)
    assert loop.converged
    motion = MolecularDynamics(temperature_K=300.0, time_step_fs=3.0, duration_ps=12.0)
    trajectory = molecular_dynamics(loop.supercell, source, motion)
    follow = functools.partial(compute_phonons, crystal, force_constants=loop.harmonic, trajectory=trajectory)
    lines, fitted = follow(renormalisation=ModeProjection()), follow(renormalisation=ForceRegression())
    assert lines.audit.positive_definite

    bare = np.hypot(loop.frequency_error_THz, fitted.frequency_error_THz)
    assert ((loop.frequencies_THz - fitted.frequencies_THz) / bare).min() > 3
    error = np.hypot(loop.curvature_errors_THz, fitted.frequency_error_THz)
    apart = loop.curvature_frequencies_THz - fitted.frequencies_THz
    assert abs(apart.mean()) < 0.01 < 0.1 < (loop.frequencies_THz - fitted.frequencies_THz).mean()
    assert np.sqrt(np.mean((apart / error) ** 2)) < 2
    assert np.abs(apart / error).max() < 4

    # 93 modes are no continuum: any broadening between 0.2 and 1 THz moves the mean by 0.015 THz at most.
    before = loop.frequencies_THz - lines.frequencies_THz
    static = loop.curvature_frequencies_THz - lines.frequencies_THz
    dynamic = dynamic_bubble(loop, source, 300.0, 0.5) - lines.frequencies_THz
    assert abs(dynamic.mean()) < 0.02 < -static.mean() < before.mean()
    assert np.sqrt(np.mean(dynamic**2)) < 0.5 * np.sqrt(np.mean(before**2))
