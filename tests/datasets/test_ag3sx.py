"""The shipped dataset ag3sx-gfn1: what the card says is what is there, and rows can be made again."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import phonograph as pg
from phonograph.datasets import dataset_folder, dataset_names
from phonograph.types import Configurations, Dataset

BROMINE, IODINE, SILVER, SULPHUR = 35, 53, 47, 16
ROWS = {"thermal": 2250, "random": 2250, "matched": 1000, "md": 1000, "static": 200, "regression": 200}


@pytest.fixture(scope="module")
def data() -> Dataset:
    return pg.load_dataset("ag3sx-gfn1")


def sources(data: Dataset, name: str) -> list[str]:
    return [source for source, own in zip(data.source, data.labels.set_names, strict=True) if own == name]


def per_atom(configurations: Configurations, values: np.ndarray) -> np.ndarray:
    return np.repeat(values, np.diff(configurations.offsets))


def rms_A(configurations: Configurations, chosen: np.ndarray, number: int) -> float:
    """Return the rms displacement per axis of one species in the ``chosen`` configurations, centre of mass at rest."""
    cube = configurations.displacements_A.reshape(len(configurations), -1, 3)[chosen]
    cube = cube - cube.mean(axis=1, keepdims=True)
    species = configurations.numbers.reshape(len(configurations), -1)[chosen] == number
    return float(np.sqrt((cube[species] ** 2).mean()))


def test_the_sets_are_as_large_as_the_card_says(data):
    assert {s.name: len(s) for s in data.sets} == ROWS
    assert len(data) == sum(ROWS.values()) == 6900
    for s in data.sets:
        assert set(np.diff(s.offsets)) == {40}
        assert f"| `{s.name}` | {len(s):,} |" in data.card


def test_it_fits_into_the_repository():
    size = sum(path.stat().st_size for name in dataset_names() for path in dataset_folder(name).iterdir())
    assert size < 30e6


def test_lattices_follow_vegard_and_compositions_are_whole_halogen_sites(data):
    for s in data.sets:
        numbers = s.numbers.reshape(len(s), 40)
        assert {*np.unique(numbers)} <= {SULPHUR, BROMINE, SILVER, IODINE}
        np.testing.assert_array_equal((numbers == SILVER).sum(1), 24)
        np.testing.assert_array_equal((numbers == SULPHUR).sum(1), 8)
        iodine = (numbers == IODINE).sum(1)
        np.testing.assert_allclose(s.fraction, iodine / 8)
        ends = (4.793, 4.869) if s.name == "static" else (4.90, 4.98)
        lattice = 2 * (ends[0] + (ends[1] - ends[0]) * s.fraction)
        np.testing.assert_allclose(s.cells_A, lattice[:, None, None] * np.eye(3), atol=1e-9)
    for name in ("thermal", "random"):
        assert Counter(data.set(name).fraction) == {x: 450 for x in (0.0, 0.25, 0.5, 0.75, 1.0)}
    halogens = data.set("random").numbers.reshape(-1, 40)[data.set("random").fraction == 0.5]
    # Each of the eight sites holds iodine in half of the cells, within five standard deviations.
    share = (halogens == IODINE).mean(0)[halogens[0] > SULPHUR]
    on_halogen_sites = share[(share > 0)]
    assert len(on_halogen_sites) == 8
    assert (abs(on_halogen_sites - 0.5) < 5 * 0.5 / np.sqrt(450)).all()


def test_temperatures_and_groups(data):
    assert Counter(data.set("thermal").temperature_K) == {t: 450 for t in (200.0, 300.0, 400.0, 500.0, 600.0)}
    assert Counter(data.set("md").temperature_K) == {200.0: 334, 400.0: 334, 600.0: 332}
    groups = Counter(data.set("md").group)
    assert max(groups.values()) > 1  # blocks of one trajectory stay together
    for group in groups:
        rows = [place for place, own in enumerate(data.set("md").group) if own == group]
        assert len({(data.set("md").temperature_K[row], data.set("md").fraction[row]) for row in rows}) == 1
    everything = [group for s in data.sets for group in set(s.group)]
    assert len(everything) == len(set(everything))


def test_random_is_uniform_in_the_amplitudes_of_the_paper(data):
    s = data.set("random")
    assert Counter(np.round(s.amplitude_A, 6)).keys() == set(np.round(np.arange(1, 9) / 10, 6))
    moves = np.abs(s.displacements_A).max(axis=1)
    bound = per_atom(s, s.amplitude_A)
    assert (moves <= bound + 1e-8).all()
    # The variance of U[−a, a] is a²/3; 90,000 atoms make its mean exact to half a per cent.
    np.testing.assert_allclose((s.displacements_A**2 / bound[:, None] ** 2).mean(), 1 / 3, rtol=0.01)


def test_matched_moves_every_species_as_thermal_does(data):
    thermal, matched = data.set("thermal"), data.set("matched")
    for fraction in (0.0, 1.0):
        for temperature in (200.0, 600.0):
            # A matched configuration has no temperature of its own; its source names the set it matches.
            block = f"x{round(100 * fraction):03d}-{temperature:g}K"
            twins = [source.startswith(f"matched-{block}:") for source in sources(data, "matched")]
            assert sum(twins) == 40
            of = [(thermal.fraction == fraction) & (thermal.temperature_K == temperature), np.array(twins)]
            for number in (SILVER, SULPHUR):
                one, other = rms_A(thermal, of[0], number), rms_A(matched, of[1], number)
                assert other == pytest.approx(one, rel=0.12)


def test_hotter_is_wider_and_the_gap_is_smaller(data):
    s = data.set("thermal")
    gap = data.labels.aligned("band_gap_eV", s.ids)
    for fraction in (0.0, 1.0):
        pure = s.fraction == fraction
        spread = [rms_A(s, pure & (s.temperature_K == t), SILVER) for t in (200.0, 400.0, 600.0)]
        assert spread == sorted(spread)
    assert gap[s.temperature_K == 200.0].mean() > gap[s.temperature_K == 600.0].mean()


def test_labels_have_units_engines_and_few_holes_that_are_named(data):
    columns = {column.name: column for column in data.labels.columns}
    assert {"band_gap_eV", "vbm_eV", "cbm_eV", "energy_eV_per_atom", "hydrostatic_stress_GPa"} <= columns.keys()
    assert columns["band_gap_eV"].engine.startswith("tblite")
    assert columns["energy_eV_per_atom"].engine.startswith("chgnet")
    for name, column in columns.items():
        holes = np.isnan(column.values)
        assert holes.mean() < 0.01
        assert all(f"{name}: " in data.labels.status[place] for place in np.flatnonzero(holes))
    gap, vbm, cbm = (columns[name].values for name in ("band_gap_eV", "vbm_eV", "cbm_eV"))
    known = np.isfinite(gap)
    np.testing.assert_allclose(gap[known], np.maximum(cbm - vbm, 0.0)[known], atol=1e-9)
    assert (gap[known] >= 0).all()


def test_arrays_are_packed_over_atoms_and_agree_with_the_numbers(data):
    assert data.arrays["forces_eV_per_A"].shape == (6900 * 40, 3)
    assert data.arrays["stress_GPa"].shape == (6900, 3, 3)
    hydrostatic = np.trace(data.arrays["stress_GPa"], axis1=1, axis2=2) / 3
    np.testing.assert_allclose(hydrostatic, data.labels.column("hydrostatic_stress_GPa").values, rtol=1e-4, atol=1e-4)
    forces = data.arrays["forces_eV_per_A"].reshape(6900, 40, 3)
    # A potential that is invariant under translations has no net force.
    assert np.nanmax(np.abs(forces.sum(axis=1))) < 1e-2


def test_every_row_names_its_source(data):
    assert len(set(data.source)) == len(data)
    assert data.source[0].startswith("thermal-x000-200K:")


@pytest.fixture(scope="module")
def dft() -> Dataset:
    return pg.load_dataset("ag3sx-pbesol")


@pytest.fixture(scope="module")
def forces() -> Dataset:
    return pg.load_dataset("ag3sx-pbesol-forces")


@pytest.mark.parametrize(
    ("name", "prefix", "rows"), [("ag3sx-pbesol", "pbesol", 150), ("ag3sx-pbesol-forces", "forces", 30)]
)
def test_a_dft_subset_is_the_same_structures_to_the_last_bit(data, name, prefix, rows):
    subset = pg.load_dataset(name)
    assert {s.name: len(s) for s in subset.sets} == {f"{prefix}-thermal": rows, f"{prefix}-random": rows}
    assert len(set(subset.source)) == len(subset)
    for s in subset.sets:
        origin = data.set(s.name.removeprefix(f"{prefix}-"))
        places = [origin.ids.index(source) for source in sources(subset, s.name)]
        for field in ("positions_A", "displacements_A", "numbers"):
            whole = getattr(origin, field).reshape(len(origin), 40, -1)[places]
            np.testing.assert_array_equal(getattr(s, field).reshape(len(s), 40, -1), whole)
        np.testing.assert_array_equal(s.cells_A, origin.cells_A[places])
        np.testing.assert_array_equal(s.temperature_K, origin.temperature_K[places])
        # Drawn at random: every composition is there, about as often as in the whole (five standard deviations).
        counts = Counter(s.fraction)
        assert set(counts) == {0.0, 0.25, 0.5, 0.75, 1.0}
        assert all(abs(count - rows / 5) < 5 * np.sqrt(rows / 5 * 0.8) for count in counts.values())


def test_dft_labels_are_whole_and_follow_from_each_other(dft):
    columns = {column.name: column.values for column in dft.labels.columns}
    assert set(dft.labels.status) == {"ok"}
    assert all(column.engine.startswith("CP2K 2023.1; PBEsol") for column in dft.labels.columns)
    gap = columns["cbm_eV"] - columns["vbm_eV"]
    np.testing.assert_allclose(columns["band_gap_eV"], np.maximum(gap, 0.0), atol=1e-9)
    assert (columns["vbm_mean_eV"] <= columns["vbm_eV"]).all()


def test_dft_forces_are_whole_and_balance(dft, forces):
    """No hole, next to no net force, a symmetric stress whose trace is the column, and the energies of ag3sx-pbesol."""
    assert set(forces.labels.status) == {"ok"}
    pulls = forces.arrays["forces_eV_per_A"].reshape(len(forces), 40, 3)
    stress = forces.arrays["stress_GPa"]
    assert np.isfinite(pulls).all()
    assert np.abs(pulls.mean(axis=1)).max() < 0.01 < 0.3 < pulls.std()
    np.testing.assert_allclose(stress, stress.transpose(0, 2, 1), atol=1e-5)
    trace = np.trace(stress, axis1=1, axis2=2) / 3
    np.testing.assert_allclose(forces.labels.column("hydrostatic_stress_GPa").values, trace, atol=1e-4)
    others = dft.labels.column("energy_eV_per_atom").values[[dft.source.index(name) for name in forces.source]]
    np.testing.assert_allclose(forces.labels.column("energy_eV_per_atom").values, others, atol=1e-3)


@pytest.mark.parametrize(("name", "properties"), [("ag3sx-pbesol", 5), ("ag3sx-pbesol-forces", 3)])
def test_cheap_labels_follow_dft_as_the_card_says(repository: Path, name, properties):
    """The table of the card is the one that the command prints from what is shipped."""
    command = [sys.executable, "datasets/ag3sx.py", "compare", "--dataset", name]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=300, check=True)
    lines = done.stdout.strip().splitlines()
    assert len(lines) == 2 + 2 * properties
    assert all(line in pg.load_dataset(name).card for line in lines)


@pytest.mark.slow
@pytest.mark.parametrize("row", ["pbesol-random-00001", "forces-thermal-00002"])
def test_a_dft_row_is_made_again_by_one_command(repository: Path, cp2k: str, row: str) -> None:
    command = [sys.executable, "datasets/ag3sx.py", "remake", row]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "positions drawn again differ by 0.0e+00" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("row", ["thermal-01234", "random-00321", "md-00777"])
def test_a_row_is_made_again_by_one_command(repository: Path, row: str) -> None:
    """Drawn from its stream and labelled by both engines: the same positions and, to rounding, the same labels."""
    command = [sys.executable, "datasets/ag3sx.py", "remake", row]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "positions drawn again differ by 0.0e+00" in done.stdout
