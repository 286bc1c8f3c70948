"""P(T): exact harmonic truth, error bars at their nominal rate, every column and every warning."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from phonograph.errors import DataError, InputFileError
from phonograph.files.results import load_thermal, save_thermal
from phonograph.graphs import build_graphs
from phonograph.models import GraphConvNet, predict
from phonograph.testing import cubic_antiperovskite, displaced
from phonograph.thermal import predict_thermal
from phonograph.training import TrainingSettings, fit, make_split
from phonograph.types import Fitted, GraphSet, GraphSpec, LabelColumn, Labels, ThermalCurve

COLUMNS = "target,temperature_K,mean,standard_error,model_spread,n,unit,out_of_range,label_mean,label_error,label_n"


def labelled(graphs: GraphSet, values: np.ndarray, ids: tuple[str, ...] = ()) -> Labels:
    ids = ids or graphs.sample_ids[: len(values)]
    column = LabelColumn(name="squared_length_eV", unit="eV", values=values, engine="planted")
    return Labels(sample_ids=ids, set_names=("t",) * len(ids), columns=(column,), status=("ok",) * len(ids))


@pytest.mark.parametrize("pairs", [False, True])
def test_error_bars_cover_the_exact_average_at_the_nominal_rate(springs, make_fitted, pairs: bool) -> None:
    fitted, inside = make_fitted(), {1: 0, 2: 0}
    repeats, count = 150, 24
    for repeat in range(repeats):
        graphs = springs.graphs(300.0, count, seed=repeat, pairs=pairs)
        (point,) = predict_thermal([fitted], {300.0: graphs}, statistics="classical").points
        for width in inside:
            inside[width] += abs(point.mean - springs.truth(300.0)) <= width * point.standard_error
    # Student's t with 23 or 11 degrees of freedom: 0.67 and 0.94 (0.66 and 0.93); sampling error 0.04 and 0.02.
    assert inside[1] / repeats == pytest.approx(0.67, abs=0.10)
    assert inside[2] / repeats == pytest.approx(0.935, abs=0.06)


def test_curve_follows_the_classical_law(springs, make_fitted) -> None:
    temperatures = (100.0, 300.0, 500.0)
    graphs = {t: springs.graphs(t, 300, pairs=True) for t in temperatures}
    fitted = make_fitted()
    fitted = replace(fitted, inputs=replace(fitted.inputs, distance_min_A=2.0))
    curve = predict_thermal([fitted], graphs, statistics="classical")
    assert [point.temperature_K for point in curve.points] == list(temperatures)
    for point in curve.points:
        assert abs(point.mean - springs.truth(point.temperature_K)) < 4 * point.standard_error
        assert point.standard_error < 0.05 * (springs.truth(500.0) - springs.truth(100.0))
    # Classical displacements: the excess over the static value is proportional to T.
    excess = [springs.truth(t) - springs.truth(0.0) for t in temperatures]
    assert np.allclose(np.array(excess) / excess[0], [1, 3, 5])
    assert not [w for w in curve.warnings if "Monte-Carlo" in w or "extrapolation" in w]


def test_columns_are_mean_error_and_spread_of_the_predictions(springs, make_fitted) -> None:
    offsets = (0.0, 0.3, -0.1)
    fits = [make_fitted(seed, weights={"offset": np.array(o)}) for seed, o in enumerate(offsets)]
    graphs = springs.graphs(300.0, 30, pairs=True)
    (point,) = predict_thermal(fits, {300.0: graphs}, statistics="quantum").points
    values = np.array([predict(fitted, graphs) for fitted in fits])
    of_pair = values.mean(axis=0).reshape(-1, 2).mean(axis=1)
    assert point.mean == pytest.approx(values.mean())
    assert point.standard_error == pytest.approx(of_pair.std(ddof=1) / math.sqrt(15))
    assert point.model_spread == pytest.approx(np.std(offsets, ddof=1))
    assert (point.n, point.unit, point.label_n) == (30, "eV", 0)
    assert math.isnan(point.label_mean)


def test_several_targets_have_their_own_points(springs, make_fitted) -> None:
    fits = [make_fitted(0), make_fitted(1, target="other_eV")]
    graphs = {t: springs.graphs(t, 10) for t in (200.0, 100.0)}
    calls = []
    curve = predict_thermal(fits, graphs, statistics="classical", progress=lambda *call: calls.append(call))
    assert [(p.target, p.temperature_K) for p in curve.points] == [
        ("squared_length_eV", 100.0),
        ("squared_length_eV", 200.0),
        ("other_eV", 100.0),
        ("other_eV", 200.0),
    ]
    assert calls[-1] == ("predicting at temperature", 4, 4)


def test_direct_labels_and_the_bias_they_show(springs, make_fitted) -> None:
    graphs = springs.graphs(300.0, 40, pairs=True)
    fitted = make_fitted(weights={"offset": np.array(0.2)})
    noise = np.random.default_rng(3).normal(0.0, 0.02, 12)
    truth = predict(make_fitted(), graphs)[:12] + noise
    truth[5] = np.nan
    labels = labelled(graphs, np.append(truth, 8.5), (*graphs.sample_ids[:12], "elsewhere-00001"))
    curve = predict_thermal([fitted], {300.0: graphs}, statistics="classical", labels_by_temperature={300.0: labels})
    (point,) = curve.points
    known = np.append(np.delete(truth, 5), 8.5)
    assert point.label_n == 12
    assert point.label_mean == pytest.approx(known.mean())
    groups = [*(k // 2 for k in range(12) if k != 5), 99]
    residual = [sum(v - known.mean() for v, g in zip(known, groups, strict=True) if g == k) for k in set(groups)]
    assert point.label_error == pytest.approx(math.sqrt(7 / 6 * np.sum(np.square(residual)) / 12**2))
    assert any("1 configurations labelled at 300 K have no value" in w for w in curve.warnings)
    assert any("1 labelled configurations at 300 K are not among the predicted ones" in w for w in curve.warnings)
    (bias,) = [w for w in curve.warnings if "are off by" in w]
    assert "at 300 K the models are off by +0.2" in bias
    assert "on the 11 configurations that were also labelled" in bias


def test_labels_without_values_or_at_other_temperatures_are_no_label(springs, make_fitted) -> None:
    graphs = springs.graphs(300.0, 6)
    holes = labelled(graphs, np.full(3, np.nan))
    for labels in ({300.0: holes}, {100.0: holes}):
        curve = predict_thermal([make_fitted()], {300.0: graphs}, statistics="classical", labels_by_temperature=labels)
        assert curve.points[0].label_n == 0
        assert math.isnan(curve.points[0].label_mean)


def test_extrapolation_is_told_with_its_share(springs, make_fitted) -> None:
    graphs = {t: springs.graphs(t, 60) for t in (100.0, 600.0)}
    cold = predict(make_fitted(), graphs[100.0])
    fitted = make_fitted(train_range=(float(cold.min()), float(cold.max())))
    curve = predict_thermal([fitted], graphs, statistics="classical")
    low, high = (point.out_of_range for point in curve.points)
    hot = predict(fitted, graphs[600.0])
    assert low == 0.0
    assert high == pytest.approx(((hot > cold.max()) | (hot < cold.min())).mean())
    assert high > 0.5
    (told,) = [w for w in curve.warnings if "lie outside the range of the training labels" in w]
    assert f"{high:.0%} of the predictions at 600 K" in told


def test_atoms_closer_than_in_training_are_told(springs, make_fitted) -> None:
    fitted = make_fitted()
    fitted = replace(fitted, inputs=replace(fitted.inputs, distance_min_A=2.8))
    curve = predict_thermal([fitted], {600.0: springs.graphs(600.0, 20)}, statistics="classical")
    assert any("in 100% of the configurations at 600 K two atoms are closer" in w for w in curve.warnings)


def test_spread_and_noise_larger_than_the_trend_are_told(springs, make_fitted) -> None:
    fits = [make_fitted(s, weights={"offset": np.array(float(s))}) for s in range(3)]
    graphs = {t: springs.graphs(t, 4) for t in (300.0, 301.0)}
    warnings = predict_thermal(fits, graphs, statistics="classical").warnings
    assert any("the spread between models (up to 1 eV) is larger than the variation" in w for w in warnings)
    assert any("is within the Monte-Carlo error" in w for w in warnings)
    assert not any("single model" in w for w in warnings)


def test_what_has_no_error_is_undefined_and_told(springs, make_fitted) -> None:
    curve = predict_thermal([make_fitted()], {300.0: springs.graphs(300.0, 2, pairs=True)}, statistics="classical")
    assert math.isnan(curve.points[0].standard_error)
    assert math.isnan(curve.points[0].model_spread)
    assert any("no Monte-Carlo error" in w for w in curve.warnings)
    assert any("a single model has no model spread" in w for w in curve.warnings)


def test_wrong_use_is_one_sentence(springs, make_fitted) -> None:
    graphs = springs.graphs(300.0, 3)
    for fits, sets, statistics, words in (
        ([], {300.0: graphs}, "classical", "at least one model and one temperature; got 0 and 1"),
        ([make_fitted()], {}, "classical", "got 1 and 0"),
        ([make_fitted()], {300.0: graphs}, "bose", "statistics must be 'quantum' or 'classical'; got 'bose'"),
        ([make_fitted()], {-1.0: graphs}, "classical", "temperatures must be at least 0 K; got -1.0"),
        ([make_fitted()], {300.0: graphs.select([])}, "classical", "there is no configuration at 300 K"),
        ([make_fitted(), make_fitted(1, unit="meV")], {300.0: graphs}, "classical", "disagree on its unit: eV, meV"),
        ([make_fitted(graph=GraphSpec(cutoff_A=5.0))], {300.0: graphs}, "classical", "trained on graphs with cutoff 5"),
    ):
        with pytest.raises(DataError) as caught:
            predict_thermal(fits, sets, statistics=statistics)
        assert words in str(caught.value)


@pytest.fixture(scope="module")
def squashed() -> Fitted:
    """A real network with a sigmoid output, trained on crystals that move little."""
    graphs = build_graphs(displaced(cubic_antiperovskite(), 60, 0.1), GraphSpec(cutoff_A=4.5))
    graph = np.repeat(np.arange(60), np.diff(graphs.edge_offsets))
    values = np.bincount(graph, weights=0.5 * (1 + np.cos(np.pi * graphs.distance_A / 4.5)))
    return fit(
        graphs,
        values,
        make_split(graphs.sample_ids, graphs.groups),
        GraphConvNet(hidden_channels=16, pooling="mean", output="sigmoid"),
        TrainingSettings(epochs=150, learning_rate=1e-2),
        target="gap_eV",
        unit="eV",
        trained_on="cold",
    )


def test_a_squashed_output_that_saturates_is_told(squashed: Fitted) -> None:
    hot = build_graphs(displaced(cubic_antiperovskite(), 30, 0.4, seed=5), GraphSpec(cutoff_A=4.5))
    curve = predict_thermal([squashed], {900.0: hot}, statistics="classical")
    assert curve.points[0].out_of_range == 0.0  # a sigmoid never leaves the training range
    assert any("a squashed output saturates there" in w for w in curve.warnings)


@pytest.fixture
def curve(springs, make_fitted) -> ThermalCurve:
    return predict_thermal([make_fitted()], {t: springs.graphs(t, 6) for t in (100.0, 300.0)}, statistics="classical")


def test_files_come_back(curve: ThermalCurve, tmp_path: Path) -> None:
    save_thermal(curve, tmp_path)
    assert (tmp_path / "curve.csv").read_text().splitlines()[0] == COLUMNS
    again = load_thermal(tmp_path)
    assert repr(again.points) == repr(curve.points)
    assert (again.statistics, again.warnings) == ("classical", curve.warnings)
    assert again.origin.settings["temperatures_K"] == [100.0, 300.0]


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        ("curve.csv", "temperature_K", "T", "the header must be target,temperature_K"),
        ("curve.csv", ",6,", ",six,", "curve.csv line 2: n must be a whole number; got 'six'"),
        ("curve.json", "phonograph.thermal/1", "phonograph.thermal/9", "the schema must be"),
        ("curve.json", '"statistics": "classical"', '"statistics": 1', "statistics must be of type str; got int"),
    ],
)
def test_broken_files_are_one_sentence(curve, tmp_path: Path, name: str, old: str, new: str, words: str) -> None:
    save_thermal(curve, tmp_path)
    text = (tmp_path / name).read_text(encoding="utf-8")
    assert old in text
    (tmp_path / name).write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(InputFileError, match=words):
        load_thermal(tmp_path)
