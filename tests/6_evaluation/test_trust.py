"""What a test label may never do: change a weight, a scaler or a choice."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from phonograph.evaluation import cross_test, nested_subset
from phonograph.graphs import build_graphs
from phonograph.models import GraphConvNet
from phonograph.steps.curve_fits import CurveUnit, run_units
from phonograph.testing import cubic_antiperovskite, displaced
from phonograph.training import FitJob, TrainingSettings, fit
from phonograph.types import Fitted, GraphSpec, LabelColumn, Labels, Split, join_graphs

MODEL = GraphConvNet(hidden_channels=8, dropout=0.1)
SETTINGS = TrainingSettings(epochs=8)
TARGET = "band_gap_eV"


def fingerprint(fitted: Fitted) -> str:
    """Return the SHA-256 of all weights."""
    digest = hashlib.sha256()
    for name in sorted(fitted.weights):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(fitted.weights[name]).tobytes())
    return digest.hexdigest()


def values_of(labels: Labels) -> np.ndarray:
    return np.array(labels.column(TARGET).values)


def relabelled(labels: Labels, values: np.ndarray) -> Labels:
    return replace(labels, columns=(LabelColumn(name=TARGET, unit="eV", values=values, engine="x"),))


def places(labels: Labels, samples: tuple[str, ...]) -> np.ndarray:
    return np.array([labels.sample_ids.index(sample) for sample in samples])


def trained(world, labels: Labels) -> Fitted:
    graphs, split = world.graphs["phonon"], world.splits["phonon"][0]
    return fit(graphs, labels, split, MODEL, SETTINGS, target=TARGET, trained_on="phonon", seed=0)


@pytest.fixture(scope="module")
def plain(world) -> Fitted:
    return trained(world, world.labels)


def shifted(labels: Labels, where: np.ndarray) -> np.ndarray:
    values = values_of(labels)
    values[where] += 3.0
    return values


def permuted(labels: Labels, where: np.ndarray) -> np.ndarray:
    values = values_of(labels)
    values[where] = values[where][::-1]
    return values


def missing(labels: Labels, where: np.ndarray) -> np.ndarray:
    values = values_of(labels)
    values[where] = np.nan
    return values


@pytest.mark.parametrize("change", [shifted, permuted, missing])
def test_no_test_label_changes_a_trained_weight(world, plain: Fitted, change) -> None:
    test = places(world.labels, world.splits["phonon"][0].test)
    other = trained(world, relabelled(world.labels, change(world.labels, test)))
    assert fingerprint(other) == fingerprint(plain)
    assert other.scaling == plain.scaling
    assert other.inputs == plain.inputs
    assert other.train_range == plain.train_range
    assert [epoch.validation_loss for epoch in other.history] == [epoch.validation_loss for epoch in plain.history]


def test_a_training_or_validation_label_does(world, plain: Fitted) -> None:
    """The test above can fail."""
    split = world.splits["phonon"][0]
    of_train = trained(world, relabelled(world.labels, permuted(world.labels, places(world.labels, split.train))))
    assert fingerprint(of_train) != fingerprint(plain)
    moved = shifted(world.labels, places(world.labels, split.validation))
    of_validation = trained(world, relabelled(world.labels, moved))
    assert [e.validation_loss for e in of_validation.history] != [e.validation_loss for e in plain.history]


def test_scalers_are_fitted_inside_the_fold(plain: Fitted) -> None:
    """Test crystals of far greater amplitude move no bound of the inputs, and their labels none of the target."""
    crystal = cubic_antiperovskite()
    calm = build_graphs(displaced(crystal, 30, 0.05, seed=1, name="calm"), GraphSpec(cutoff_A=4.5))
    wild = build_graphs(displaced(crystal, 10, 0.5, seed=2, name="wild"), GraphSpec(cutoff_A=4.5))
    ids = (*calm.sample_ids, *wild.sample_ids)
    values = np.concatenate([np.linspace(1.0, 1.2, 30), np.full(10, 50.0)])
    column = LabelColumn(name=TARGET, unit="eV", values=values, engine="x")
    labels = Labels(sample_ids=ids, set_names=("x",) * 40, columns=(column,), status=("ok",) * 40)
    parts = {"train": calm.sample_ids[:20], "validation": calm.sample_ids[20:], "seed": 0}
    graphs = join_graphs([calm, wild])
    found = [
        fit(graphs, labels, Split(test=test, **parts), MODEL, replace(SETTINGS, edge_law="minmax"), target=TARGET)
        for test in ((), wild.sample_ids)
    ]
    assert found[0].inputs == found[1].inputs
    assert found[0].scaling == found[1].scaling
    assert fingerprint(found[0]) == fingerprint(found[1])
    train = calm.select(range(20)).distance_A
    assert (found[1].inputs.distance_min_A, found[1].inputs.distance_max_A) == (train.min(), train.max())
    assert found[1].scaling.shift == pytest.approx(values[:20].mean())


def test_no_test_label_changes_which_candidate_is_chosen(world, tmp_path) -> None:
    """Through the whole of a learning curve's fit: predictions and validation errors stay, the judgement moves."""
    from phonograph.evaluation.curves import choose

    split = nested_subset([world.splits["phonon"][0]], 24)
    units = [
        CurveUnit(
            job=FitJob(
                name="",
                split=split,
                model=GraphConvNet(hidden_channels=width),
                target=TARGET,
                settings=SETTINGS,
                trained_on="phonon",
                seed=0,
            ),
            size=24,
            candidate=str(width),
            tests={"phonon": split.test},
            available={"phonon": 60},
        )
        for width in (4, 8)
    ]
    graphs = world.graphs["phonon"]
    wrong = relabelled(world.labels, shifted(world.labels, places(world.labels, split.test)))
    right = run_units(graphs, world.labels, units, tmp_path / "a")
    moved = run_units(graphs, wrong, units, tmp_path / "b")
    for one, other in zip(right, moved, strict=True):
        assert np.array_equal(one.predictions[0].prediction, other.predictions[0].prediction)
        assert one.rows[0].validation_mae == other.rows[0].validation_mae
        assert one.rows[0].mae != other.rows[0].mae
    chosen = [[row.chosen for row in choose([r for one in found for r in one.rows])] for found in (right, moved)]
    assert chosen[0] == chosen[1]


def test_judging_changes_no_model(world, plain: Fitted) -> None:
    before = fingerprint(plain)
    collections = {"phonon": (world.graphs["phonon"], world.splits["phonon"])}
    cross_test([plain], collections, world.labels)
    assert fingerprint(plain) == before
