"""Networks trained together are those trained alone; what a stack does by hand is what autograd does."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from phonograph.errors import DataError
from phonograph.models import ARCHITECTURES, GraphConvNet, architecture, fit_input_scaling, predict
from phonograph.models.batch import PackedGraphs
from phonograph.models.stacked import StackedNetwork, dense_batch
from phonograph.training import FitJob, TrainingSettings, fit, fit_many, fit_stack, make_split, plan_stacks
from phonograph.training.adam import Adam

QUICK = TrainingSettings(epochs=5, batch_size=16)
MODEL = GraphConvNet(hidden_channels=8)


def job(split, number=0, model=MODEL, **changes):
    own = {"name": f"job{number}", "target": "toy_eV", "settings": QUICK, "seed": number, "unit": "eV", **changes}
    return FitJob(split=split, model=model, **own)


def awkward(model, seed, count=1, dtype=torch.float64, **more):
    """Networks with normalisation weights of both signs, away from where they start."""
    modules = []
    for member in range(count):
        module = model.build(4, seed + member, **more).to(dtype)
        generator = torch.Generator().manual_seed(seed + member)
        with torch.no_grad():
            for norm in module.norms:
                norm.weight.copy_(torch.randn(norm.weight.shape, generator=generator))
                norm.bias.copy_(0.3 * torch.randn(norm.weight.shape, generator=generator))
            module.final.bias += 1.0
        modules.append(module)
    return modules


def worst(one, other):
    return float((one - other).detach().abs().max()) / max(1e-3, float(other.detach().abs().max()))


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    number=st.sampled_from(list(ARCHITECTURES)),
    output=st.sampled_from(["paper", "linear"]),
    members=st.integers(1, 3),
    same_data=st.booleans(),
    functions=st.sampled_from([1, 3]),
    targets=st.sampled_from([1, 2]),
)
def test_gradients_by_hand_are_those_of_autograd(graphs, seed, number, output, members, same_data, functions, targets):
    """Outputs, gradients, running moments and evaluation against torch's own modules, on the sparse route."""
    model = architecture(number, hidden_channels=6, **({} if output == "paper" else {"output": output}))
    law = "radial" if functions > 1 else "minmax"
    packed = PackedGraphs(graphs, fit_input_scaling(graphs, law, radial_functions=functions), torch.float64)
    modules = awkward(model, seed, members, outputs=targets, edge_features=functions)
    stack = StackedNetwork(modules, torch.float64)
    random = np.random.default_rng(seed)
    chosen = [random.choice(len(graphs), 7, replace=False) for _ in range(1 if same_data else members)]
    batches = [packed.batch(index) for index in chosen]
    pulls = torch.randn(members, 7, targets, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    batch = dense_batch(batches, 7)
    outputs = stack.forward(batch, training=True)
    stack.backward(batch, pulls)
    for member, module in enumerate(modules):
        sparse = batches[0 if same_data else member].as_edge_list()
        expected = module(sparse).view(7, targets)
        expected.backward(pulls[member])
        assert worst(outputs[member], expected) < 1e-11
        truth = torch.cat([parameter.grad.flatten() for parameter in module.parameters()])
        assert worst(stack.grad[member], truth) < 1e-10
        state = stack.state(member)
        assert state.keys() == module.state_dict().keys()
        for name, value in module.state_dict().items():
            assert torch.allclose(state[name], value, rtol=1e-12, atol=1e-14), name
        module.eval()
        assert worst(stack.forward(batch)[member], module(sparse).view(7, targets)) < 1e-11


def test_equivalent_atoms_share_the_gradient_of_a_maximum(crystal):
    """All Ag atoms of a perfect crystal tie; PyTorch shares the gradient of amax among them, and so does the stack."""
    from phonograph.graphs import GraphSpec, build_graphs
    from phonograph.testing import displaced

    graphs = build_graphs(displaced(crystal, 3, 0.0), GraphSpec())
    packed = PackedGraphs(graphs, fit_input_scaling(graphs), torch.float64)
    [module] = awkward(architecture(5, hidden_channels=6, output="linear"), 3)
    stack, batch = StackedNetwork([module], torch.float64), packed.batch([0, 1, 2])
    dense = dense_batch([batch], 3)
    stack.forward(dense, training=True)
    stack.backward(dense, torch.ones(1, 3, 1, dtype=torch.float64))
    module(batch).sum().backward()
    truth = torch.cat([parameter.grad.flatten() for parameter in module.parameters()])
    assert float((stack.grad[0] - truth).abs().max()) < 1e-9 * float(truth.abs().max())


@pytest.mark.parametrize("decays", [[0.0, 0.0], [0.0, 0.1]])
@pytest.mark.parametrize("rates", [[1e-2, 1e-2], [1e-2, 3e-3]])
def test_adam_is_torchs(rates, decays):
    generator = torch.Generator().manual_seed(0)
    flat = torch.randn(2, 7, dtype=torch.float64, generator=generator)
    leaves = [torch.nn.Parameter(row.clone()) for row in flat]
    theirs = [torch.optim.Adam([p], lr=r, weight_decay=d) for p, r, d in zip(leaves, rates, decays, strict=True)]
    own = Adam(flat, rates, decays)
    for _ in range(20):
        gradient = torch.randn(2, 7, dtype=torch.float64, generator=generator)
        for leaf, row, optimiser in zip(leaves, gradient, theirs, strict=True):
            leaf.grad = row.clone()
            optimiser.step()
        own.step(flat, gradient)
    assert torch.allclose(flat, torch.stack(leaves), rtol=1e-12)


VARIED = [
    {"model": replace(MODEL, dropout=0.4)},
    {"settings": replace(QUICK, learning_rate=1e-2)},
    {"settings": replace(QUICK, weight_decay=0.01)},
    {"settings": replace(QUICK, learning_rate=1e-3, patience=2)},
]


@pytest.mark.parametrize("same_data", [True, False])
@pytest.mark.parametrize("precision", ["single", "double"])
def test_a_stack_is_its_members_trained_alone(graphs, labels, split, same_data, precision):
    other = make_split(graphs.sample_ids, graphs.groups, seed=9)
    assert (len(other.train), len(other.validation)) == (len(split.train), len(split.validation))
    jobs = []
    for number, changes in enumerate(VARIED):
        own = {**changes, "settings": replace(changes.get("settings", QUICK), precision=precision)}
        if same_data:
            own["seed"] = 3
        jobs.append(job(other if number == 1 and not same_data else split, number, **own))
    assert plan_stacks(jobs) == [[0, 1, 2, 3]]
    bound = {"single": 1e-4, "double": 1e-10}[precision]
    for one, timed in zip(jobs, fit_stack(graphs, labels, jobs), strict=True):
        alone = fit(graphs, labels, one.split, one.model, one.settings, target="toy_eV", name=one.name, seed=one.seed)
        together = timed.fitted
        assert together.history[0].train_loss == pytest.approx(alone.history[0].train_loss, rel=bound / 10)
        for mine, theirs in zip(together.history, alone.history, strict=True):
            assert mine.train_loss == pytest.approx(theirs.train_loss, rel=bound)
            assert mine.gradient_norm == pytest.approx(theirs.gradient_norm, rel=10 * bound)
        assert (together.name, together.seed, together.inputs, together.scaling, together.split) == (
            (alone.name, alone.seed, alone.inputs, alone.scaling, alone.split)
        )
        assert dict(together.origin.inputs) == dict(alone.origin.inputs)
        assert np.allclose(predict(together, graphs), predict(alone, graphs), rtol=100 * bound)


def test_each_member_stops_by_its_own_patience(graphs, labels, split):
    eager = replace(QUICK, epochs=40, patience=3, learning_rate=0.03)
    jobs = [job(split, number, settings=replace(eager, patience=3 + 4 * number)) for number in range(4)]
    fits = [timed.fitted for timed in fit_stack(graphs, labels, jobs)]
    lengths = [len(fitted.history) for fitted in fits]
    assert len(set(lengths)) > 1, "all stopped together; the test says nothing"
    for number, fitted in enumerate(fits):
        losses = [epoch.validation_loss for epoch in fitted.history]
        assert fitted.best_epoch == int(np.argmin(losses))
        assert len(losses) in (40, fitted.best_epoch + 1 + 3 + 4 * number)


def test_one_batch_that_holds_all_is_that_of_its_members_also_when_one_leaves(graphs, labels, split):
    settings = replace(QUICK, batch_size=len(split.train), precision="double", epochs=20, patience=20)
    own = [settings, replace(settings, learning_rate=0.05, patience=1), replace(settings, learning_rate=1e-2)]
    jobs = [job(split, k, settings=each, model=replace(MODEL, dropout=0.4)) for k, each in enumerate(own)]
    assert plan_stacks(jobs) == [[0, 1, 2]]
    stacked = [timed.fitted for timed in fit_stack(graphs, labels, jobs)]
    assert len(stacked[1].history) < 20, "none left before the others; the test says nothing"
    for one, together in zip(jobs, stacked, strict=True):
        alone = fit(graphs, labels, one.split, one.model, one.settings, target="toy_eV", name=one.name, seed=one.seed)
        for mine, theirs in zip(together.history, alone.history, strict=True):
            assert mine.validation_loss == pytest.approx(theirs.validation_loss, rel=1e-8)


def same(one, other):
    return one.history == other.history and all(
        one.weights[name].tobytes() == other.weights[name].tobytes() for name in one.weights
    )


def test_a_stack_is_a_function_of_its_jobs_also_when_interrupted(graphs, labels, split, tmp_path):
    """R11 for stacks: twice the same bits; stopped and continued after members have left, the same bits."""
    base = replace(QUICK, epochs=12, patience=2, checkpoint_s=0.0, learning_rate=0.02)
    jobs = [
        job(split, number, replace(MODEL, dropout=0.2), settings=replace(base, patience=2 + 3 * number))
        for number in range(3)
    ]
    whole, again = (fit_stack(graphs, labels, jobs) for _ in range(2))
    assert all(same(a.fitted, b.fitted) for a, b in zip(whole, again, strict=True))

    class StoppedError(Exception):
        pass

    for last in (1, 3, 5, 8):

        def stop(_what, done, _total, last=last):
            if done == last:
                raise StoppedError

        try:
            fit_stack(graphs, labels, jobs, checkpoint=tmp_path / "stack", progress=stop)
        except StoppedError:
            torch.rand(3)
    resumed = fit_stack(graphs, labels, jobs, checkpoint=tmp_path / "stack")
    assert all(same(a.fitted, b.fitted) for a, b in zip(whole, resumed, strict=True))
    # All finished: nothing is trained again.
    calls = []
    fit_stack(graphs, labels, jobs, checkpoint=tmp_path / "stack", progress=lambda *call: calls.append(call))
    assert not calls


def test_plans_are_a_function_of_the_jobs(split, graphs):
    other = make_split(graphs.sample_ids, graphs.groups, (0.5, 0.25, 0.25))
    jobs = [
        job(split, 0, seed=0),
        job(split, 1, model=GraphConvNet(hidden_channels=16)),
        job(split, 2, seed=0, settings=replace(QUICK, learning_rate=1e-2)),
        job(other, 3),
        job(split, 4, model=replace(MODEL, dropout=0.5)),
        job(split, 5, settings=replace(QUICK, batch_size=8)),
        job(split, 6, model=GraphConvNet(hidden_channels=512), settings=replace(QUICK, batch_size=128)),
        job(split, 7, model=GraphConvNet(hidden_channels=512), settings=replace(QUICK, batch_size=128)),
    ]
    stacks = plan_stacks(jobs)
    assert sorted(map(sorted, stacks)) == [[0, 2, 4], [1], [3], [5], [6], [7]]
    assert sorted(chain(*stacks)) == list(range(len(jobs)))
    assert max(map(len, plan_stacks([job(split, n) for n in range(20)], largest=8))) == 8
    # Jobs with the same batches are kept together.
    mixed = plan_stacks([job(split, n, seed=n % 2) for n in range(8)], largest=4)
    assert sorted(map(sorted, mixed)) == [[0, 2, 4, 6], [1, 3, 5, 7]]


def test_a_mistake_in_a_stack_leaves_the_others(graphs, labels, split):
    jobs = [job(split, number) for number in range(3)]
    jobs[1] = replace(jobs[1], settings=replace(QUICK, weight_decay=1e39))
    seen = []
    with pytest.raises(DataError, match="training job1: training of job1 diverged in epoch"):
        fit_many(graphs, labels, jobs, on_result=lambda fitted: seen.append(fitted.name))
    assert sorted(seen) == ["job0", "job2"]


def test_holes_that_change_the_sizes_split_a_stack(graphs, values, split):
    place = {sample: i for i, sample in enumerate(graphs.sample_ids)}
    holes = values.copy()
    other = make_split(graphs.sample_ids, graphs.groups, seed=9)
    holes[place[next(s for s in split.train if s not in other.train)]] = np.nan
    jobs = [job(split, 0), job(other, 1)]
    assert plan_stacks(jobs) == [[0, 1]]
    fits = [timed.fitted for timed in fit_stack(graphs, holes, jobs)]
    assert "1 of 42 training samples have no label" in fits[0].warnings[0]
    for one, fitted in zip(jobs, fits, strict=True):
        alone = fit(graphs, holes, one.split, MODEL, QUICK, target="toy_eV", unit="eV", name=one.name, seed=one.seed)
        assert fitted.history[0].train_loss == pytest.approx(alone.history[0].train_loss, rel=1e-5)
