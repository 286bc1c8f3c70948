"""Training learns what is there, from the training part alone, and is a function of its arguments."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn

from phonograph.errors import ConfigurationError, DataError
from phonograph.files.bundle import load_bundle, save_bundle
from phonograph.graphs import GraphSpec, build_graphs
from phonograph.models import GraphConvNet, architecture, network, predict
from phonograph.models.batch import PackedGraphs
from phonograph.testing import displaced, fcc
from phonograph.training import FitJob, TrainingSettings, fit, fit_joint, make_split, paper_settings
from phonograph.training.data import fit_target_scaling, select
from phonograph.training.loop import Member, slices
from phonograph.types import Labels, Split, join_graphs

QUICK = TrainingSettings(epochs=6, batch_size=16)
SMALL = GraphConvNet(hidden_channels=16)


def train(graphs, labels, split, model=SMALL, settings=QUICK, **changes):
    return fit(graphs, labels, split, model, settings, target="toy_eV", **{"unit": "eV", "seed": 1, **changes})


def same_weights(one, other):
    return all(np.array_equal(one.weights[name], other.weights[name]) for name in one.weights)


def test_a_planted_law_is_learnt(graphs, labels, values, split):
    fitted = train(
        graphs, labels, split, GraphConvNet(pooling="mean"), TrainingSettings(epochs=150, learning_rate=1e-2)
    )
    place = {sample: i for i, sample in enumerate(graphs.sample_ids)}
    test = [place[sample] for sample in split.test]
    error = np.abs(predict(fitted, graphs) - values)[test].mean()
    trivial = np.abs(values[[place[s] for s in split.train]].mean() - values)[test].mean()
    assert error < 0.6 * trivial
    assert fitted.history[-1].train_loss < 0.5 * fitted.history[0].train_loss


def test_same_arguments_same_weights_and_the_global_generator_untouched(graphs, labels, split):
    model = replace(SMALL, dropout=0.4)
    state = torch.get_rng_state()
    one = train(graphs, labels, split, model)
    torch.rand(17)
    other = train(graphs, labels, split, model)
    torch.set_rng_state(state)
    assert same_weights(one, other)
    assert one.history == other.history
    train(graphs, labels, split, model)
    assert torch.equal(torch.get_rng_state(), state)
    assert not same_weights(one, train(graphs, labels, split, model, seed=2))


def test_the_test_part_is_never_read(graphs, labels, values, split):
    place = {sample: i for i, sample in enumerate(graphs.sample_ids)}
    changed = values.copy()
    changed[[place[sample] for sample in split.test]] = 1e6
    one, other = train(graphs, values, split), train(graphs, changed, split)
    assert same_weights(one, other)
    assert (one.scaling, one.inputs, one.history) == (other.scaling, other.inputs, other.history)
    assert dict(one.origin.inputs) == dict(other.origin.inputs)
    without = graphs.select([place[sample] for sample in (*split.train, *split.validation)])
    assert same_weights(one, train(without, labels, split))


def test_scalers_are_those_of_the_training_part(graphs, values, split):
    place = {sample: i for i, sample in enumerate(graphs.sample_ids)}
    rows = [place[sample] for sample in split.train]
    standard = train(graphs, values, split)
    assert standard.scaling.shift == pytest.approx(values[rows].mean(), rel=1e-14)
    assert standard.scaling.scale == pytest.approx(values[rows].std(), rel=1e-14)
    paper = train(graphs, values, split, architecture(5, hidden_channels=16), paper_settings(epochs=3))
    assert (paper.scaling.kind, paper.inputs.edge_law) == ("minmax", "minmax")
    assert paper.scaling.shift == values[rows].min()
    assert paper.scaling.shift + paper.scaling.scale == pytest.approx(values[rows].max(), rel=1e-14)
    assert paper.inputs.distance_max_A == graphs.select(rows).distance_A.max()
    assert standard.train_range == (values[rows].min(), values[rows].max())


def test_predictions_of_a_squashed_network_stay_in_the_training_range(graphs, values, split):
    fitted = train(graphs, values, split, architecture(5, hidden_channels=16))
    assert fitted.scaling.kind == "minmax"  # by output
    low, high = fitted.train_range
    predicted = predict(fitted, graphs)
    assert low <= predicted.min()
    assert predicted.max() <= high


def test_a_squashed_output_and_a_standardised_target_are_refused(graphs, values, split):
    with pytest.raises(ConfigurationError, match="sigmoid output cannot reach"):
        train(graphs, values, split, architecture(5), replace(QUICK, target_scaling="standard"))


def test_the_best_epoch_is_the_one_kept(graphs, labels, values, split):
    fitted = train(graphs, labels, split, settings=TrainingSettings(epochs=60, patience=8, learning_rate=0.03))
    losses = [epoch.validation_loss for epoch in fitted.history]
    assert fitted.best_epoch == int(np.argmin(losses))
    assert len(losses) < 60, "patience was not used up"
    assert len(losses) - 1 - fitted.best_epoch == 8
    place = {sample: i for i, sample in enumerate(graphs.sample_ids)}
    rows = [place[sample] for sample in split.validation]
    error = (predict(fitted, graphs.select(rows)) - values[rows]) / fitted.scaling.scale
    assert (error**2).mean() == pytest.approx(losses[fitted.best_epoch], rel=1e-4)


def test_history_holds_learning_rate_and_gradient_norm(graphs, labels, split):
    fitted = train(graphs, labels, split)
    assert [epoch.index for epoch in fitted.history] == list(range(6))
    assert all(epoch.learning_rate == QUICK.learning_rate and epoch.gradient_norm > 0 for epoch in fitted.history)


def test_the_loop_is_adam_on_the_mean_squared_error(graphs, values, split):
    """A second implementation, a dozen plain lines in float32, reaches the same losses."""
    settings = TrainingSettings(epochs=4, batch_size=64, weight_decay=0.01)
    fitted = train(graphs, values, split, settings=settings)
    data = select(graphs, values, split, "toy_eV")
    module = SMALL.build(4, 1)
    packed = PackedGraphs(data.graphs, fitted.inputs)
    y = torch.as_tensor((data.values - fitted.scaling.shift) / fitted.scaling.scale, dtype=torch.float32)
    optimiser = torch.optim.Adam(module.parameters(), lr=settings.learning_rate, weight_decay=0.01, foreach=False)
    for epoch in fitted.history:
        module.train()
        loss = ((module(packed.batch(data.train).as_edge_list()) - y[: data.n_train]) ** 2).mean()
        assert epoch.train_loss == pytest.approx(loss.item(), rel=1e-4)
        optimiser.zero_grad()
        loss.backward()
        norm = torch.cat([p.grad.flatten() for p in module.parameters()]).norm().item()
        assert epoch.gradient_norm == pytest.approx(norm, rel=1e-3)
        optimiser.step()
        module.eval()
        with torch.no_grad():
            held_out = ((module(packed.batch(data.validation)) - y[data.n_train :]) ** 2).mean()
        assert epoch.validation_loss == pytest.approx(held_out.item(), rel=1e-3)


def test_labels_that_are_missing_are_left_out_and_counted(graphs, values, split):
    holes = values.copy()
    place = {sample: i for i, sample in enumerate(graphs.sample_ids)}
    holes[[place[s] for s in split.train[:5]]] = np.nan
    holes[place[split.validation[0]]] = np.nan
    holes[place[split.test[0]]] = np.nan
    fitted = train(graphs, holes, split)
    assert "5 of 42 training samples have no label" in fitted.warnings[0]
    assert "1 of 9 validation samples have no label" in fitted.warnings[1]
    assert len(fitted.warnings) == 2


def test_data_that_cannot_be_learnt_from_are_refused(graphs, labels, values, split):
    with pytest.raises(DataError, match="is 2 for all 42 training samples"):
        train(graphs, np.full(60, 2.0), split)
    with pytest.raises(DataError, match="0 of 42 training samples have a label"):
        train(graphs, np.full(60, np.nan), split)
    with pytest.raises(DataError, match=r"shape \(60\)"):
        train(graphs, values[:10], split)
    with pytest.raises(DataError, match="no label 'other_eV'; the labels are toy_eV"):
        fit(graphs, labels, split, SMALL, QUICK, target="other_eV")
    with pytest.raises(DataError, match="unit of 'toy_eV' is not known"):
        fit(graphs, values, split, SMALL, QUICK, target="toy_eV")
    with pytest.raises(DataError, match="samples have no graph, the first is 'nobody'"):
        train(graphs, values, Split(train=("nobody",), validation=(), test=(), seed=0))
    with pytest.raises(DataError, match="60 sample ids occur twice"):
        train(join_graphs([graphs, graphs]), np.tile(values, 2), split)


@pytest.mark.parametrize("seed", [-1, 2**64, 10**23, 1.5, True, "1"])
def test_a_seed_that_no_bundle_can_hold_is_refused_before_training(graphs, labels, split, seed):
    words = r"the seed of .* must be at least 0 and below 2\^64, and a whole number; got"
    with pytest.raises(ConfigurationError, match=words):
        train(graphs, labels, split, seed=seed)
    with pytest.raises(ConfigurationError, match=words):
        FitJob(name="one", split=split, model=SMALL, target="toy_eV", settings=QUICK, seed=seed)
    with pytest.raises(ConfigurationError, match=words):
        fit_joint(graphs, labels, split, SMALL, QUICK, targets=["toy_eV", "other_eV"], seed=seed)


def test_the_largest_seed_comes_back_from_a_bundle(graphs, labels, split, tmp_path):
    fitted = train(graphs, labels, split, seed=np.uint64(2**64 - 1), settings=replace(QUICK, epochs=1))
    save_bundle(fitted, tmp_path)
    assert load_bundle(tmp_path).seed == 2**64 - 1


@pytest.mark.parametrize("settings", [QUICK, replace(QUICK, target_scaling="minmax")])
@pytest.mark.parametrize(("part", "label"), [("train", 1e300), ("train", -1.7e308), ("validation", 1e300)])
def test_a_label_that_cannot_be_scaled_is_named(graphs, values, split, part, label, settings):
    absurd, sample = values.copy(), getattr(split, part)[4]
    absurd[graphs.sample_ids.index(sample)] = label
    words = f"toy_eV: the label {label:g} of sample '{sample}' is so large".replace("+", r"\+")
    with pytest.raises(DataError, match=words):
        train(graphs, absurd, split, settings=settings)


def test_an_absurd_label_of_the_test_part_is_not_looked_at(graphs, values, split):
    absurd = values.copy()
    absurd[graphs.sample_ids.index(split.test[0])] = 1e300
    assert same_weights(train(graphs, absurd, split), train(graphs, values, split))


def test_units_come_from_the_labels(graphs, labels, split):
    fitted = fit(graphs, labels, split, SMALL, QUICK, target="toy_eV", trained_on="phonon")
    assert (fitted.unit, fitted.name, fitted.trained_on) == ("eV", "toy_eV-phonon-seed0", "phonon")


def test_elements_without_electronegativity_are_told():
    graphs = build_graphs(displaced(fcc("Ar", 5.3), 12, 0.1), GraphSpec())
    split = make_split(graphs.sample_ids, graphs.groups)
    fitted = fit(graphs, np.arange(12.0), split, SMALL, QUICK, target="energy_eV_per_atom")
    assert fitted.unit == "eV/atom"
    assert any("Ar: no Pauling electronegativity" in warning for warning in fitted.warnings)


def test_batches_never_hold_a_single_crystal_unless_there_is_only_one():
    for count in range(1, 40):
        for size in range(2, 9):
            parts = [np.arange(count)[part] for part in slices(count, size)]
            assert np.array_equal(np.concatenate(parts), np.arange(count))
            assert count == 1 or min(map(len, parts)) >= 2
            assert max(map(len, parts)) <= size + 1


def test_the_order_of_an_epoch_is_a_function_of_seed_and_epoch(graphs, values, split):
    data = select(graphs, values, split, "toy_eV")
    fitted = train(graphs, values, split)

    packed = PackedGraphs(data.graphs, fitted.inputs)

    def order(seed, epoch, shuffle=True):
        member = Member(
            name="order",
            seed=seed,
            settings=replace(QUICK, shuffle=shuffle),
            source=packed,
            values=torch.zeros(len(data.values), 1),
            train=data.train,
            validation=data.validation,
        )
        return member.order(epoch).tolist()

    assert order(1, 3) == order(1, 3)
    assert sorted(order(1, 3)) == data.train.tolist()
    assert order(1, 3) != order(1, 4)
    assert order(1, 3) != order(2, 3)
    assert order(1, 3, shuffle=False) == data.train.tolist()


def test_a_set_smaller_than_a_batch_trains(graphs, values):
    few = graphs.select(range(6))
    fitted = train(few, values[:6], make_split(few.sample_ids, few.groups), settings=replace(QUICK, batch_size=128))
    assert np.isfinite(predict(fitted, few)).all()


@pytest.mark.parametrize(("kind", "expected"), [("standard", (2.0, np.sqrt(2.0))), ("minmax", (0.0, 4.0))])
def test_target_scaling(kind, expected):
    scaling = fit_target_scaling(np.array([0.0, 1.0, 2.0, 3.0, 4.0]), kind, "x")
    assert (scaling.shift, scaling.scale) == pytest.approx(expected)


class TwoNumbers(nn.Module):
    """A user's own network on mean features and mean distance."""

    def __init__(self, features):
        super().__init__()
        self.layer = nn.Linear(features + 1, 1)

    def forward(self, batch):
        count = torch.bincount(batch.batch[batch.edge_index[1]], minlength=batch.n_graphs)
        distance = torch.zeros(batch.n_graphs, dtype=batch.x.dtype)
        distance = distance.index_add(0, batch.batch[batch.edge_index[1]], batch.edge_distance) / count
        return self.layer(torch.cat([batch.pool(batch.x, "mean"), distance[:, None]], 1)).squeeze(-1)


@dataclass(frozen=True)
class OwnModel:
    wrong_shape: bool = False

    def build(self, features, seed):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return nn.Sequential(TwoNumbers(features), *([nn.Unflatten(0, (-1, 1))] if self.wrong_shape else []))


@dataclass(frozen=True)
class Exploding:
    def build(self, features, seed):
        module = OwnModel().build(features, seed)
        nn.init.constant_(module[0].layer.weight, 1e25)
        return module


def test_training_that_diverges_says_so(graphs, values, split):
    with pytest.raises(DataError, match=r"diverged in epoch 0 .* lower the learning rate, now 0\.003"):
        train(graphs, values, split, Exploding())


def test_a_network_of_ones_own_trains_and_predicts(graphs, values, split):
    fitted = train(graphs, values, split, OwnModel())
    assert predict(fitted, graphs).shape == (60,)
    with pytest.raises(DataError, match=r"one value per graph, shape \(16,\)"):
        train(graphs, values, split, OwnModel(wrong_shape=True))


class Numbers(nn.Module):
    """A network whose output nothing can learn from."""

    def __init__(self, features, what):
        super().__init__()
        self.layer, self.what = nn.Linear(features, 1), what

    def forward(self, batch):
        y = self.layer(batch.pool(batch.x, "mean")).squeeze(-1)
        return {"detached": y.detach(), "pair": (y, y)}[self.what]


@dataclass(frozen=True)
class NumbersModel:
    what: str

    def build(self, features, seed):
        return Numbers(features, self.what)


@pytest.mark.parametrize(
    ("what", "words"), [("detached", "toy_eV-seed1 has no gradient"), ("pair", r"\(16,\).* returned a tuple")]
)
def test_an_output_that_cannot_be_trained_is_one_sentence(graphs, values, split, what, words):
    with pytest.raises(DataError, match=words):
        train(graphs, values, split, NumbersModel(what))


def test_prediction_does_not_depend_on_the_batch(graphs, labels, split):
    fitted = train(graphs, labels, split)
    mixed = join_graphs([graphs, build_graphs(displaced(fcc("Ag"), 5, 0.1, name="fcc"), GraphSpec())])
    together = predict(fitted, mixed)
    alone = np.concatenate([predict(fitted, mixed.select([i])) for i in range(len(mixed))])
    assert np.allclose(together, alone, rtol=1e-10)
    assert np.allclose(together, predict(fitted, mixed, batch_size=7), rtol=1e-10)
    module = network(fitted)
    assert not module.training


def test_prediction_refuses_what_the_network_does_not_know(graphs, labels, split, crystal):
    fitted = train(graphs, labels, split)
    copper = build_graphs(displaced(fcc("Cu"), 1, 0.1), GraphSpec())
    with pytest.raises(DataError, match="trained on S, Br, Ag and knows nothing about Cu"):
        predict(fitted, copper)
    wider = build_graphs(displaced(crystal, 1, 0.1), GraphSpec(cutoff_A=6.0))
    with pytest.raises(DataError, match=r"cutoff 5\.5 Å \(all-images\), but these have 6 Å"):
        predict(fitted, wider)
    broken = replace(fitted, weights={**fitted.weights, "final.weight": np.zeros((1, 3), np.float32)})
    with pytest.raises(DataError, match="do not fit its network"):
        predict(broken, graphs)


def test_labels_are_matched_by_name_not_by_place(graphs, labels, split):
    order = np.random.default_rng(0).permutation(60)
    column = labels.columns[0]
    shuffled = Labels(
        sample_ids=tuple(labels.sample_ids[i] for i in order),
        set_names=labels.set_names,
        columns=(replace(column, values=column.values[order]),),
        status=labels.status,
    )
    assert same_weights(train(graphs, labels, split), train(graphs, shuffled, split))
