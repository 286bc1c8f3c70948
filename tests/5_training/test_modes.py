"""Modes differ in the options of their table and in nothing else, and each of these options does what it says."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from phonograph.config_files import parse_config, to_toml
from phonograph.config_modes import MODES, mode_differences, mode_options
from phonograph.errors import ConfigurationError, DataError
from phonograph.graphs import GraphSpec
from phonograph.models import fit_input_scaling
from phonograph.models.features import edge_weights, node_features, raw_features
from phonograph.tables import to_table
from phonograph.training import TrainingSettings, paper_code_settings
from phonograph.training.data import select, target_scaling
from phonograph.types import Split


def parsed(mode, **more):
    return parse_config({"training": {"mode": mode, **more.pop("training", {})}, **more}, Path())


def flat(config):
    tables = {
        "graphs": config.graphs,
        "training.model": config.training.model,
        "training.settings": config.training.settings,
        "evaluation": config.evaluation,
    }
    return {f"{where}.{key}": value for where, made in tables.items() for key, value in to_table(made).items()}


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_is_its_options(mode):
    options = flat(parsed(mode))
    assert {name: options[name] for name in mode_options(mode)} == mode_options(mode)
    default = flat(parsed("default"))
    changed = {name for name in options if options[name] != default[name]}
    place = MODES.index(mode)
    assert changed == {name for name, values in mode_differences().items() if values[place] != values[0]}
    # Written out and read again, it is the same whatever the defaults of the mode.
    written = tomllib.loads(to_toml(parsed(mode)))
    assert flat(parse_config(written, Path())) == options


def test_what_the_user_writes_wins():
    config = parsed(
        "paper-code",
        training={"settings": {"epochs": 7, "keep": "best"}},
        graphs={"convention": "all-images"},
        evaluation={"paper_filter": False},
    )
    assert (config.training.settings.epochs, config.training.settings.keep) == (7, "best")
    assert (config.graphs.convention, config.evaluation.paper_filter) == ("all-images", False)
    assert (config.training.settings.edge_law, config.training.model.dropout) == ("fixed", 0.4)


def test_mistakes_in_one_sentence():
    with pytest.raises(ConfigurationError, match=r"training\.mode must be one of .*'paper-code'; got 'papercode'"):
        parsed("papercode")
    with pytest.raises(ConfigurationError, match=r"training\.mode must be one of"):
        mode_options("fast")
    with pytest.raises(ConfigurationError, match="graphs must be a table; got 5"):
        parsed("paper-code", graphs=5)


def cut(values, train=6, validation=3):
    ids = tuple(f"s{i}" for i in range(len(values)))
    return Split(train=ids[:train], validation=ids[train : train + validation], test=ids[train + validation :], seed=0)


def named(graphs, count):
    return replace(graphs.select(range(count)), sample_ids=tuple(f"s{i}" for i in range(count)))


VALUES = np.array([0.30, 0.45, 0.60, 0.70, 0.80, 0.40, 0.20, 0.90, 0.50, 5.0, -5.0])


def test_the_target_is_scaled_on_the_part_that_is_named(graphs):
    small = named(graphs, len(VALUES))
    model = parsed("paper-code").training.model
    found = {}
    for part in ("training", "training+validation"):
        settings = paper_code_settings(scaling_part=part, smallest_gap_eV=0.0)
        data = select(small, VALUES, cut(VALUES), "band_gap_eV", settings)
        scaling = target_scaling(data, model, settings, "band_gap_eV")
        found[part] = (scaling.shift, scaling.shift + scaling.scale)
    assert found["training"] == pytest.approx((0.30, 0.80))
    # The test labels 5 and −5 are in neither.
    assert found["training+validation"] == pytest.approx((0.20, 0.90))


def test_small_gaps_are_left_out_and_counted(graphs):
    small = named(graphs, len(VALUES))
    data = select(small, VALUES, cut(VALUES), "band_gap_eV", paper_code_settings())
    assert data.graphs.sample_ids == ("s1", "s2", "s3", "s4", "s7", "s8")
    assert data.n_train == 4
    assert "2 of 6 labelled training samples have a gap of at most 0.4 eV" in data.warnings[0]
    assert "1 of 3 labelled validation samples" in data.warnings[1]
    other = select(small, VALUES, cut(VALUES), "vbm_eV", paper_code_settings())
    assert (len(other.values), other.warnings) == (9, ())
    with pytest.raises(DataError, match=r"1 validation samples have a gap above|0 training|lower it"):
        select(small, VALUES, cut(VALUES), "band_gap_eV", TrainingSettings(smallest_gap_eV=2.0))


def test_node_features_of_the_scripts(graphs):
    """By hand from their constants: index 0–88, electronegativity 0.79–3.98, mass 1.008–244, radius 42–298."""
    scaling = fit_input_scaling(graphs, "fixed", node_features="paper-code")
    silver = [46 / 88, (107.8682 - 1.008) / (244 - 1.008), (165 - 42) / 256, (1.93 - 0.79) / 3.19]
    sulphur = [15 / 88, (32.06 - 1.008) / (244 - 1.008), (88 - 42) / 256, (2.58 - 0.79) / 3.19]
    np.testing.assert_allclose(node_features(np.array([47, 16]), scaling), [silver, sulphur], rtol=1e-12)
    assert raw_features(np.array([35]), "paper-code").tolist() == [[34, 79.904, 94, 2.96]]
    for number, name in ((92, "U"), (2, "He"), (57, "La")):
        with pytest.raises(DataError, match=rf"no published radius or electronegativity of {name};"):
            raw_features(np.array([number]), "paper-code")
    # With our own table the same graphs are scaled to [0, 1].
    own = node_features(graphs.numbers, fit_input_scaling(graphs))
    assert (own.min(axis=0) == 0).all()
    assert (own.max(axis=0) == 1).all()


def test_fixed_bounds_do_not_depend_on_the_data(graphs):
    distances = np.array([0.7115, 2.4, 5.5, 6.0])
    for part in (graphs, graphs.select([0])):
        weights = edge_weights(distances, fit_input_scaling(part, "fixed"))
        np.testing.assert_allclose(weights, (distances - 0.7115) / (5.5 - 0.7115), rtol=1e-14)


@pytest.mark.parametrize("count", [2, 8, 16])
def test_radial_functions(graphs, count):
    scaling = fit_input_scaling(graphs, "radial", radial_functions=count)
    assert scaling.radial_functions == count
    low, cutoff = scaling.distance_min_A, graphs.spec.cutoff_A
    distances = np.linspace(low, cutoff, 301)
    weights = edge_weights(distances, scaling)
    assert weights.shape == (301, count)
    # The equation, one number at a time.
    width = (cutoff - low) / count
    for i in (0, 57, 200, 300):
        x = distances[i] / cutoff
        for k in range(count):
            gauss = np.exp(-((distances[i] - low - k * width) ** 2) / (2 * width**2))
            assert weights[i, k] == pytest.approx(gauss * (1 - 28 * x**6 + 48 * x**7 - 21 * x**8), abs=1e-14)
    # Each peaks at another distance, in order, and the first functions where they should (the envelope is flat there).
    peaks = distances[weights.argmax(axis=0)]
    assert (np.diff(peaks) > 0).all()
    assert weights.min() >= -1e-12


def test_radial_functions_end_smoothly_at_the_cutoff(graphs):
    """Value, slope and curvature vanish, from inside; beyond there is nothing."""
    scaling = fit_input_scaling(graphs, "radial", radial_functions=8)
    step = 1e-3
    d = 5.5 - step * np.arange(4)
    e = edge_weights(d, scaling)
    assert np.abs(e[0]).max() < 1e-12
    assert np.abs((e[0] - e[1]) / step).max() < 1e-5
    assert np.abs((e[0] - 2 * e[1] + e[2]) / step**2).max() < 0.1  # third derivative × step
    assert edge_weights(np.array([5.6, 9.0]), scaling).tolist() == np.zeros((2, 8)).tolist()


def test_one_function_laws_have_no_functions(graphs):
    for law in ("cosine", "minmax", "fixed"):
        scaling = fit_input_scaling(graphs, law, radial_functions=5)
        assert scaling.radial_functions == 0
        assert edge_weights(graphs.distance_A, scaling).shape == graphs.distance_A.shape
    with pytest.raises(ConfigurationError, match="node_features must be one of"):
        fit_input_scaling(graphs, node_features="mass")
    with pytest.raises(ConfigurationError, match="radial_functions must be at least 2; got 1"):
        fit_input_scaling(graphs, "radial", radial_functions=1)


def test_the_modes_name_the_published_convention():
    assert parsed("paper-code").graphs == GraphSpec(convention="paper-code")
    assert parsed("paper").graphs == GraphSpec()
