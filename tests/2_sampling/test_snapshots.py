"""MD snapshots: blocks from the autocorrelation time, an order that does not depend on n, and refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.signal import lfilter

from phonograph.errors import ConfigurationError, DataError
from phonograph.files.configurations import load_configurations, save_configurations
from phonograph.sampling import SnapshotSampler, Substitution, ThermalSampler, certify, sample
from phonograph.sampling.snapshots import require_same_blocks, spread_order
from phonograph.testing import check_sampler
from phonograph.types import Trajectory

MEMORY = 0.9
"""Of the amplitude of the planted vibrations, per frame."""


@pytest.fixture(scope="module")
def planted(silver_salt) -> Trajectory:
    """3000 frames of first-order autoregressive displacements, φ = 0.9: u² has ρ(t) = φ^2t and τ = 4.76 frames."""
    rng = np.random.default_rng(4)
    crystal = silver_salt.supercell
    noise = rng.normal(size=(3200, 40, 3)) * np.sqrt(1 - MEMORY**2)
    moved = 0.1 * lfilter([1.0], [1.0, -MEMORY], noise, axis=0)[200:]
    drift = 0.02 * np.arange(3000)[:, None, None]  # the thermostat lets the cell drift
    return Trajectory(
        cell_A=crystal.cell_A,
        numbers=crystal.numbers,
        masses_amu=crystal.masses_amu,
        positions_A=crystal.positions_A + moved + drift,
        time_step_fs=10.0,
        temperature_K=300.0,
    )


def u(made) -> np.ndarray:
    return made.displacements_A.reshape(len(made), -1)


def test_blocks_come_from_the_planted_memory(silver_salt, planted):
    made = sample(silver_salt.supercell, SnapshotSampler(trajectory=planted), 100, 1, name="md")
    settings = made.origin.settings["trajectory"]
    expected = 0.5 * (1 + MEMORY**2) / (1 - MEMORY**2)
    assert settings["frames_per_block"] == pytest.approx(2 * expected, rel=0.25)
    assert settings["blocks"] == 3000 // settings["frames_per_block"]
    longer = sample(
        silver_salt.supercell,
        SnapshotSampler(trajectory=planted, correlation_times_per_block=10.0),
        100,
        1,
        name="md",
    )
    assert longer.origin.settings["trajectory"]["frames_per_block"] == pytest.approx(10 * expected, rel=0.25)


def test_a_slow_observable_sets_the_blocks(silver_salt, planted):
    """Energies with a longer memory than the displacements."""
    slow = lfilter([1.0], [1.0, -0.98], np.random.default_rng(1).normal(size=3000))
    made = sample(silver_salt, SnapshotSampler(trajectory=replace(planted, energies_eV=slow)), 10, 1, name="md")
    assert made.origin.settings["trajectory"]["frames_per_block"] > 60
    assert "(potential energy)" in " ".join(made.warnings)


def test_a_slow_mode_is_seen_through_phonons(silver_salt, planted):
    """Two modes with a long memory are hidden in the mean square displacements, not in their own amplitude."""
    from phonograph.lattice import normal_modes

    modes = normal_modes(silver_salt.force_constants.values_eV_per_A2, silver_salt.supercell.masses_amu)
    slow = lfilter([1.0], [1.0, -0.995], np.random.default_rng(1).normal(size=(3000, 2)), axis=0)
    root = np.sqrt(np.repeat(silver_salt.supercell.masses_amu, 3))
    added = (0.15 * slow @ modes.vectors[:, :2].T / root).reshape(3000, 40, 3)
    hidden = SnapshotSampler(trajectory=replace(planted, positions_A=planted.positions_A + added))
    blind = sample(silver_salt.supercell, hidden, 5, 1, name="md").origin.settings["trajectory"]
    seeing = sample(silver_salt, hidden, 5, 1, name="md")
    assert "softest modes" in " ".join(seeing.warnings)
    assert seeing.origin.settings["trajectory"]["frames_per_block"] > 2 * blind["frames_per_block"]


def test_order_takes_every_frame_once_and_spreads():
    for frames in (1, 2, 3, 100, 257):
        order = spread_order(frames, 5)
        assert_array_equal(np.sort(order), np.arange(frames))
    order = spread_order(1000, 5)
    for n in (8, 50, 300):
        gaps = np.diff(np.sort(order[:n]))
        assert gaps.max() <= 4.1 * 1000 / n
    assert spread_order(1000, 5)[0] != spread_order(1000, 6)[0]


def test_samples_do_not_depend_on_n_and_never_repeat(silver_salt, planted):
    sampler = SnapshotSampler(trajectory=planted)
    long = sample(silver_salt, sampler, 3000, 1, name="long")
    short = sample(silver_salt, sampler, 40, 1, name="short")
    assert_array_equal(u(short), u(long)[:40])
    assert short.group == long.group[:40]
    assert len({row.tobytes() for row in u(long)}) == 3000
    assert_array_equal(u(sampler.sample_at(silver_salt, [17, 3], 1)), u(long)[[17, 3]])
    check_sampler(sampler, silver_salt)


def test_displacements_have_no_drift_and_are_those_of_the_frames(silver_salt, planted):
    made = sample(silver_salt, SnapshotSampler(trajectory=planted), 3000, 1, name="md")
    masses = silver_salt.supercell.masses_amu
    assert_allclose(masses @ made.displacements_A.reshape(-1, 40, 3), 0, atol=1e-9)
    frame = planted.positions_A[spread_order(3000, 1)[7]] - silver_salt.supercell.positions_A
    assert_allclose(u(made)[7].reshape(40, 3), frame - masses @ frame / masses.sum(), atol=1e-9)
    assert (made.temperature_K == 300.0).all()
    assert made.sampler == "md-snapshots"


def test_groups_are_blocks_of_frames_shared_by_sets(silver_salt, planted):
    sampler = SnapshotSampler(trajectory=planted)
    made = sample(silver_salt, sampler, 3000, 1, name="one")
    frames = spread_order(3000, 1)
    groups = np.array(made.group)[np.argsort(frames)]
    changes = np.flatnonzero(groups[1:] != groups[:-1])
    assert len(changes) + 1 == len(set(made.group)) == made.origin.settings["trajectory"]["blocks"]
    again = sample(silver_salt, sampler, 3000, 9, name="two")
    assert set(again.group) == set(made.group)
    first, last = (int(number) for number in made.group[0].split(":")[-1].split("-"))
    assert first <= frames[0] <= last


def test_sets_with_other_blocks_of_one_trajectory_are_refused_together(silver_salt, planted):
    sampler = SnapshotSampler(trajectory=planted)
    one = sample(silver_salt, sampler, 20, 1, name="one")
    same = sample(silver_salt, sampler, 20, 9, name="same")
    require_same_blocks([one, same, sample(silver_salt, ThermalSampler(), 5, 1, name="thermal")])
    for other in (replace(sampler, skip_ps=0.05), replace(sampler, correlation_times_per_block=3.0)):
        two = sample(silver_salt, other, 20, 1, name="two")
        with pytest.raises(ConfigurationError, match="sets 'one' and 'two' take frames of one trajectory in different"):
            require_same_blocks([one, two])


def test_equilibration_is_left_out(silver_salt, planted):
    made = sample(silver_salt, SnapshotSampler(trajectory=planted, skip_ps=10.0), 2000, 1, name="md")
    settings = made.origin.settings["trajectory"]
    assert (settings["first_frame"], settings["frames"]) == (1000, 2000)
    assert min(int(group.split(":")[-1].split("-")[0]) for group in made.group) == 1000


def test_what_users_must_know(silver_salt, planted):
    made = sample(silver_salt, SnapshotSampler(trajectory=planted), 1000, 1, name="md")
    told = " ".join(made.warnings)
    blocks = made.origin.settings["trajectory"]["blocks"]
    assert "no zero-point motion" in told
    assert f"1000 snapshots come from only {blocks} independent blocks" in told
    short = replace(planted.frames(0, 120), temperature_K=None)
    told = " ".join(sample(silver_salt, SnapshotSampler(trajectory=short), 5, 1, name="md").warnings)
    assert "lasts only" in told
    assert "temperature of the trajectory is not known" in told
    given = sample(silver_salt, SnapshotSampler(trajectory=short, temperature_K=250.0), 5, 1, name="md")
    assert (given.temperature_K == 250.0).all()


def test_a_set_survives_its_files_and_its_statistics(silver_salt, planted, tmp_path):
    made = sample(silver_salt, SnapshotSampler(trajectory=planted), 20, 1, name="md")
    save_configurations(made, tmp_path / "md.extxyz")
    read = load_configurations(tmp_path / "md.extxyz")
    assert read.group == made.group
    assert_array_equal(read.displacements_A, made.displacements_A)
    assert read.origin.settings["trajectory"] == made.origin.settings["trajectory"]
    statistics = certify(made, silver_salt)
    assert dict(statistics.species_rms_A)["Ag"] == pytest.approx(0.1, rel=0.1)


def test_snapshots_of_a_solid_solution_are_told(silver_salt, planted):
    composition = Substitution(replace="Br", by="I", fractions=(0.5,), lattice="fixed")
    made = sample(silver_salt, SnapshotSampler(trajectory=planted), 6, 1, name="md", composition=composition)
    pure = sample(silver_salt, SnapshotSampler(trajectory=planted), 6, 1, name="md")
    assert_array_equal(made.displacements_A, pure.displacements_A)
    assert ((made.numbers.reshape(6, 40) == 53).sum(axis=1) == 4).all()
    assert "others were put onto its sites" in " ".join(made.warnings)
    with pytest.raises(ConfigurationError, match="blocks of one trajectory must stay together"):
        sample(
            silver_salt,
            SnapshotSampler(trajectory=planted),
            6,
            1,
            name="md",
            composition=replace(composition, group_by_occupation=True),
        )


def test_impossible_requests_are_one_sentence(silver_salt, planted):
    with pytest.raises(ConfigurationError, match="3001 snapshots were asked for, but the trajectory has 3000 frames"):
        sample(silver_salt, SnapshotSampler(trajectory=planted), 3001, 1, name="md")
    with pytest.raises(ConfigurationError, match="3001 snapshots were asked for"):
        SnapshotSampler(trajectory=planted).sample_at(silver_salt, [3000], 1)
    with pytest.raises(ConfigurationError, match="needs a trajectory"):
        sample(silver_salt, SnapshotSampler(), 3, 1, name="md")
    unknown = replace(planted, time_step_fs=None)
    with pytest.raises(DataError, match="give time_step_fs"):
        sample(silver_salt, SnapshotSampler(trajectory=unknown, skip_ps=1.0), 3, 1, name="md")
    with pytest.raises(DataError, match="skip_ps = 30 leaves nothing"):
        sample(silver_salt, SnapshotSampler(trajectory=planted, skip_ps=30.0), 3, 1, name="md")
    few = silver_salt.supercell
    small = replace(few, positions_A=few.positions_A[:5], numbers=few.numbers[:5], masses_amu=few.masses_amu[:5])
    with pytest.raises(DataError, match="40 atoms"):
        sample(small, SnapshotSampler(trajectory=planted), 3, 1, name="md")
