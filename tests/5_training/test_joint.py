"""One network, several targets; each by itself where nothing is shared, and holes of one do not cost the other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from phonograph.errors import ConfigurationError, DataError
from phonograph.files.bundle import load_bundle, save_bundle
from phonograph.models import GraphConvNet, network, predict
from phonograph.models.batch import PackedGraphs
from phonograph.training import FitJob, TrainingSettings, fit, fit_joint, fit_many
from phonograph.types import LabelColumn, Labels

QUICK = TrainingSettings(epochs=4, batch_size=64)
MODEL = GraphConvNet(hidden_channels=8, pooling="mean")
TARGETS = ("gap_eV", "stress_GPa")


@pytest.fixture(scope="module")
def both(graphs, values):
    rest = np.array(
        [graphs.distance_A[a:b].mean() for a, b in zip(graphs.edge_offsets, graphs.edge_offsets[1:], strict=False)]
    )
    return np.stack([values, 100 * rest], 1)


def joint(graphs, both, split, settings=QUICK, **changes):
    return fit_joint(
        graphs, both, split, MODEL, settings, targets=TARGETS, units=["eV", "GPa"], trained_on="toy", seed=1, **changes
    )


def test_every_target_has_its_own_result_with_shared_weights(graphs, both, split, tmp_path):
    gap, stress = joint(graphs, both, split)
    assert [fitted.name for fitted in (gap, stress)] == ["gap_eV-toy-seed1", "stress_GPa-toy-seed1"]
    assert (gap.target, gap.unit, stress.target, stress.unit) == ("gap_eV", "eV", "stress_GPa", "GPa")
    assert gap.heads == stress.heads == TARGETS
    assert all(np.array_equal(gap.weights[name], stress.weights[name]) for name in gap.weights)
    assert gap.weights["final.weight"].shape == (2, 16)
    for head, fitted in enumerate((gap, stress)):
        place = {sample: i for i, sample in enumerate(graphs.sample_ids)}
        rows = [place[sample] for sample in split.train]
        assert fitted.scaling.shift == pytest.approx(both[rows, head].mean(), rel=1e-14)
        assert fitted.train_range == (both[rows, head].min(), both[rows, head].max())
        predicted = predict(fitted, graphs)
        assert predicted.shape == (60,)
        with torch.no_grad():
            raw = network(fitted)(PackedGraphs(graphs, fitted.inputs, torch.float64).batch(np.arange(60)))
        assert np.allclose(predicted, fitted.scaling.shift + fitted.scaling.scale * raw[:, head].numpy(), rtol=1e-12)


def test_the_loss_is_the_mean_over_targets_without_the_holes(graphs, both, split):
    """By hand on one batch: the hole of one target leaves the sample's other target in the mean."""
    holes = both.copy()
    place = {sample: i for i, sample in enumerate(graphs.sample_ids)}
    rows = np.array([place[sample] for sample in split.train])
    holes[rows[:10], 0] = np.nan
    holes[rows[5:7], 1] = np.nan
    gap, stress = joint(graphs, holes, split, replace(QUICK, precision="double", epochs=1))
    assert "gap_eV: 10 of 42 training samples have no label" in gap.warnings[0]
    module = MODEL.build(4, 1, outputs=2).double()
    used = [i for i in rows if np.isfinite(holes[i]).any()]
    assert len(used) == 40  # both labels of two samples are missing
    outputs = module(PackedGraphs(graphs, gap.inputs, torch.float64).batch(np.array(used))).detach().numpy()
    losses = []
    for head, fitted in enumerate((gap, stress)):
        error = outputs[:, head] - (holes[used, head] - fitted.scaling.shift) / fitted.scaling.scale
        losses.append(np.nanmean(error**2))
    assert gap.history[0].train_loss == pytest.approx(np.mean(losses), rel=1e-10)


def test_a_label_that_is_missing_does_not_move_its_head(graphs, both, split):
    """Gradient of a masked target is zero: other values in the holes change nothing."""
    one, other = both.copy(), both.copy()
    place = {sample: i for i, sample in enumerate(graphs.sample_ids)}
    for sample in split.test:
        one[place[sample]], other[place[sample]] = np.nan, 1e6
    first, second = joint(graphs, one, split)[0], joint(graphs, other, split)[0]
    assert all(np.array_equal(first.weights[name], second.weights[name]) for name in first.weights)


def test_jobs_that_share_heads_are_one_training(graphs, both, split):
    columns = tuple(
        LabelColumn(name=name, unit=unit, values=both[:, head], engine="planted")
        for head, (name, unit) in enumerate(zip(TARGETS, ("eV", "GPa"), strict=True))
    )
    labels = Labels(sample_ids=graphs.sample_ids, set_names=("toy",) * 60, columns=columns, status=("ok",) * 60)
    jobs = [
        FitJob(name=f"{target}-job", split=split, model=MODEL, target=target, settings=QUICK, seed=1, heads=TARGETS)
        for target in TARGETS
    ]
    gap, stress = fit_many(graphs, labels, jobs)
    alone = joint(graphs, both, split)
    for fitted, expected in zip((gap, stress), alone, strict=True):
        assert fitted.target == expected.target
        assert all(np.array_equal(fitted.weights[name], expected.weights[name]) for name in fitted.weights)
    assert (gap.name, gap.unit, stress.unit) == ("gap_eV-job", "eV", "GPa")


def test_bad_requests_are_refused(graphs, both, split):
    with pytest.raises(DataError, match="at least two different targets; got gap_eV"):
        fit_joint(graphs, both, split, MODEL, QUICK, targets=["gap_eV"])
    with pytest.raises(DataError, match="0 of 42 training samples have a label"):
        joint(graphs, np.stack([both[:, 0], np.full(60, np.nan)], 1), split)
    with pytest.raises(DataError, match="heads must be at least two"):
        FitJob(name="a", split=split, model=MODEL, target="x", settings=QUICK, heads=TARGETS)

    class Narrow:
        def build(self, features, seed):
            return MODEL.build(features, seed)

    with pytest.raises(ConfigurationError, match="must also take outputs for several targets at once"):
        fit_joint(graphs, both, split, Narrow(), QUICK, targets=TARGETS, units=["eV", "GPa"])
    with pytest.raises(ConfigurationError, match="must also take edge_features"):
        fit(graphs, both[:, 0], split, Narrow(), replace(QUICK, edge_law="radial"), target="x", unit="eV")


@pytest.mark.parametrize("law", ["radial", "cosine"])
def test_keep_and_precision_are_obeyed(graphs, values, split, law):
    settings = replace(QUICK, epochs=12, patience=1, learning_rate=0.05, edge_law=law, radial_functions=3)
    best = fit(graphs, values, split, MODEL, settings, target="x", unit="eV")
    last = fit(graphs, values, split, MODEL, replace(settings, keep="last"), target="x", unit="eV")
    assert len(last.history) == 12
    assert last.best_epoch == 11
    assert len(best.history) < 12
    double = fit(graphs, values, split, MODEL, replace(settings, precision="double"), target="x", unit="eV")
    half = fit(graphs, values, split, MODEL, replace(settings, precision="bfloat16"), target="x", unit="eV")
    assert {value.dtype for name, value in double.weights.items() if "tracked" not in name} == {np.dtype(np.float64)}
    assert double.history[0].train_loss == pytest.approx(best.history[0].train_loss, rel=1e-5)
    gap = abs(half.history[0].train_loss / best.history[0].train_loss - 1)
    assert 1e-7 < gap < 0.05, "bfloat16 must round, and not much"
    # The network that comes back predicts what the loop saw, in every precision.
    place = {sample: i for i, sample in enumerate(graphs.sample_ids)}
    rows = [place[sample] for sample in split.validation]
    for fitted, bound in ((double, 1e-9), (last, 1e-3)):
        error = (predict(fitted, graphs.select(rows)) - values[rows]) / fitted.scaling.scale
        assert (error**2).mean() == pytest.approx(fitted.history[fitted.best_epoch].validation_loss, rel=bound)


def test_a_radial_network_survives_its_bundle(graphs, values, split, tmp_path):
    settings = replace(QUICK, edge_law="radial", radial_functions=3)
    fitted = fit(graphs, values, split, MODEL, settings, target="x", unit="eV")
    assert fitted.weights["convolutions.1.neighbours.weight"].shape == (8, 24)
    save_bundle(fitted, tmp_path)
    assert np.array_equal(predict(load_bundle(tmp_path), graphs), predict(fitted, graphs))
