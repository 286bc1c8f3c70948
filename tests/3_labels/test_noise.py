"""The noise floor finds the noise that was planted, names what it is due to, and is drawn."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from ase import Atoms
from label_toys import configurations_of, copper, displaced
from noise_toys import FailsWhenMoved, PlantedNoise, smooth

import phonograph as pg
from phonograph.errors import ConfigurationError, InputFileError
from phonograph.files.noise import load_noise, save_noise
from phonograph.labels import EmtLabeller, XtbLabeller, open_store
from phonograph.labels.noise import WORDS, about_the_mean, described_otherwise, measure_noise, root_mean
from phonograph.streams import stream
from phonograph.types import NOISE_CAUSES, NoiseFloor, NoiseRow

GAP = "band_gap_eV"


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> NoiseFloor:
    store = tmp_path_factory.mktemp("noise") / "s.sqlite"
    return measure_noise([copper(30)], [PlantedNoise()], store, n=25, copies=2, workers=1)


def test_planted_noise_is_found_for_every_cause(planted):
    assert [row.cause for row in planted.rows] == list(NOISE_CAUSES)
    for row in planted.rows:
        assert row.structures == 25
        # 25 structures: 0.02 ± 0.002 for copies (2 degrees of freedom each), ± 0.003 for differences (1 each).
        assert row.sd == pytest.approx(0.02, abs=4 * row.sd_error)
        assert 0.0008 < row.sd_error < 0.005
        assert row.largest >= row.rms
    copies = [row for row in planted.rows if row.cause in WORDS]
    for row in copies:
        assert row.rms == pytest.approx(0.02 * np.sqrt(2), rel=0.35), "a difference has the noise of two labels"
        assert abs(row.mean) < 0.02
    assert planted.floor(GAP) == max(row.sd for row in planted.rows)
    assert np.isnan(planted.floor("vbm_eV"))


def test_a_shift_is_not_noise_because_a_model_can_learn_it(planted):
    (tighter,) = (row for row in planted.rows if row.cause == "tighter settings")
    assert tighter.mean == pytest.approx(0.3, abs=0.02)
    assert tighter.rms == pytest.approx(0.3, abs=0.03)
    assert tighter.changed == "no noise"


def test_errors_cover_the_truth_as_often_as_they_should():
    draw = np.random.default_rng(0)
    missed = 0
    for _ in range(1000):
        labels = draw.normal(0.0, 0.02, (20, 3))
        sd, error = root_mean(labels.var(axis=1, ddof=1))
        missed += abs(sd - 0.02) > 2 * error
    # The normal law misses 46 of 1000 intervals of two standard errors, a jackknife of 20 structures some more.
    assert 30 < missed < 120


def test_two_differences_have_no_error_of_their_scatter():
    """About their own mean two differences are always equally far: that is no certainty."""
    sd, error = about_the_mean(np.array([0.1, 0.3]))
    assert sd == pytest.approx(0.2 / np.sqrt(2))
    assert np.isnan(error)
    draw = np.random.default_rng(1)
    missed = sum(abs(sd - 0.02) > 2 * e for sd, e in (about_the_mean(draw.normal(0.3, 0.02, 20)) for _ in range(1000)))
    assert 30 < missed < 130


def test_copies_are_the_same_crystal():
    crystal = displaced(Atoms("CuAg", positions=[[0, 0, 0], [1.9, 1.8, 1.7]], cell=[3.8, 3.9, 4.0], pbc=True), 0.05)
    for cause, copy in itertools.product(WORDS, range(5)):
        other = described_otherwise(crystal, cause, stream(0, cause, copy))
        assert smooth(other) == pytest.approx(smooth(crystal), abs=1e-9), cause
        assert other.volume_A3 == pytest.approx(crystal.volume_A3)
        assert np.linalg.det(other.cell_A) > 0, "proper rotations and right-handed lattices"
        changed = any(
            not np.array_equal(getattr(other, name), getattr(crystal, name))
            for name in ("cell_A", "positions_A", "numbers")
        )
        assert changed or cause == "permuted"
    with pytest.raises(ValueError, match="a crystal can be rotated"):
        described_otherwise(crystal, "tighter settings", stream(0))


def test_a_measurement_goes_on_where_it_was(tmp_path):
    told = []
    first = measure_noise([copper(3)], [PlantedNoise()], tmp_path / "s.sqlite", n=3, workers=1)
    again = measure_noise(
        [copper(3)],
        [PlantedNoise()],
        tmp_path / "s.sqlite",
        n=3,
        workers=1,
        progress=lambda what, done, total: told.append((done, total)),
    )
    assert first.rows == again.rows
    assert told[0] == (27, 27), "all known before anything is computed"
    with open_store(tmp_path / "s.sqlite") as store:
        assert store.problems() == ()


def test_holes_and_missing_settings_are_told(tmp_path):
    floor = measure_noise([copper(4)], [FailsWhenMoved(tight=False)], tmp_path / "s.sqlite", n=4, workers=1)
    holes = {row.cause: row.holes for row in floor.rows}
    assert holes["translated"] > 0
    assert any("failed and do not enter its noise" in words for words in floor.warnings)
    assert any("no tighter settings" in words for words in floor.warnings)


def test_an_exact_engine_has_no_noise(tmp_path):
    floor = measure_noise([copper(3)], [EmtLabeller()], tmp_path / "s.sqlite", n=3, workers=1)
    assert {row.property for row in floor.rows} == {"energy_eV_per_atom", "hydrostatic_stress_GPa"}
    assert all(row.sd < 1e-10 for row in floor.rows)


@pytest.mark.parametrize("wrong", [{"n": 1}, {"copies": 0}])
def test_too_little_is_refused(tmp_path, wrong):
    with pytest.raises(ConfigurationError, match="noise needs n of at least 2"):
        measure_noise([copper(3)], [EmtLabeller()], tmp_path / "s.sqlite", **wrong)


def test_the_file_gives_back_what_was_written(tmp_path, planted):
    save_noise(planted, tmp_path)
    assert load_noise(tmp_path).rows == planted.rows
    assert (tmp_path / "noise.csv").read_text(encoding="utf-8").count("\n") == 1 + len(planted.rows)


@pytest.mark.parametrize(
    "spoil",
    [lambda d: d["rows"][0].pop("sd"), lambda d: d["rows"][0].update(sd="0.1"), lambda d: d.update(rows=3)],
)
def test_a_malformed_file_is_one_sentence(tmp_path, planted, spoil):
    save_noise(planted, tmp_path)
    document = json.loads((tmp_path / "noise.json").read_text(encoding="utf-8"))
    spoil(document)
    (tmp_path / "noise.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(InputFileError, match=r"noise\.json"):
        load_noise(tmp_path)


def test_undefined_numbers_survive_the_file(tmp_path):
    names = dict.fromkeys(("set_name", "property", "unit", "engine", "cause", "changed"), "x")
    numbers = dict.fromkeys(("sd", "sd_error", "mean", "rms", "largest"), float("nan"))
    save_noise(NoiseFloor(rows=(NoiseRow(**names, structures=0, copies=2, holes=6, **numbers),)), tmp_path)
    assert np.isnan(load_noise(tmp_path).rows[0].sd)


@pytest.mark.slow
def test_tight_binding_of_a_salt_has_noise_below_its_threshold(tmp_path):
    from ase.build import bulk

    salt = configurations_of([displaced(bulk("NaCl", "rocksalt", 5.64, cubic=True), 0.1, seed) for seed in range(2)])
    floor = measure_noise([salt], [XtbLabeller()], tmp_path / "s.sqlite", n=2, copies=1, workers=1)
    assert {row.cause for row in floor.rows} == set(NOISE_CAUSES)
    assert all(row.sd < 0.01 for row in floor.rows)
    assert floor.floor(GAP) > 1e-9, "labels of a program with thresholds depend on the description"


@pytest.mark.parametrize(
    ("labeller", "finer"),
    [
        (pg.Cp2kLabeller(folder="jobs", version="2023.1"), ("cutoff_Ry", "rel_cutoff_Ry")),
        (pg.EspressoLabeller(folder="jobs", version="6.7MaX"), ("cutoff_Ry", "density_cutoff_Ry")),
        (pg.VaspLabeller(folder="jobs"), ("cutoff_eV",)),
    ],
    ids=["cp2k", "quantum-espresso", "vasp"],
)
def test_tightened_programs_are_finer_calculations_in_a_folder_of_their_own(labeller, finer):
    words, tight = labeller.tightened()
    assert type(tight) is type(labeller)
    assert all(getattr(tight, name) == 1.5 * getattr(labeller, name) for name in finer)
    assert f"{getattr(tight, finer[0]):g}" in words
    assert tight.folder == "jobs-tight"
