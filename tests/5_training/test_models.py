"""The networks are those of the paper, by either route, and see nothing that is not in the crystal."""

from __future__ import annotations

import warnings
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from phonograph.errors import ConfigurationError, DataError
from phonograph.graphs import GraphSpec, build_graphs
from phonograph.models import ARCHITECTURES, GraphConvNet, architecture, fit_input_scaling, make_batch
from phonograph.models.batch import PackedGraphs
from phonograph.models.elements import ELECTRONEGATIVITY, MASS_AMU, RADIUS_PM
from phonograph.models.features import (
    edge_weights,
    edges_outside,
    node_features,
    raw_features,
    without_electronegativity,
)
from phonograph.models.graphconv import GraphConv
from phonograph.testing import check_graph_model, cubic_antiperovskite, displaced, fcc
from phonograph.types import join_graphs

with warnings.catch_warnings():
    # torch_geometric imports with deprecated calls of its own.
    warnings.simplefilter("ignore")
    import torch_geometric.nn as pyg


class Reference(nn.Module):
    """The paper's network written with torch_geometric, weights copied from ours."""

    def __init__(self, ours, settings, dtype):
        super().__init__()
        widths = [4] + [settings.hidden_channels] * settings.convolutions
        self.convs = nn.ModuleList(pyg.GraphConv(a, b) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(pyg.BatchNorm(settings.hidden_channels) for _ in range(settings.convolutions))
        self.linear1, self.linear2 = nn.Linear(settings.hidden_channels, 16), nn.Linear(16, 1)
        self.settings = settings
        self.to(dtype)
        self.pairs = []
        for mine, theirs in zip(ours.convolutions, self.convs, strict=True):
            self.pairs += [(mine.neighbours.weight, theirs.lin_rel.weight), (mine.neighbours.bias, theirs.lin_rel.bias)]
            self.pairs += [(mine.itself.weight, theirs.lin_root.weight)]
        for mine, theirs in zip(ours.norms, self.norms, strict=True):
            self.pairs += [(mine.weight, theirs.module.weight), (mine.bias, theirs.module.bias)]
        for mine, theirs in ((ours.hidden, self.linear1), (ours.final, self.linear2)):
            self.pairs += [(mine.weight, theirs.weight), (mine.bias, theirs.bias)]
        with torch.no_grad():
            for mine, theirs in self.pairs:
                theirs.copy_(mine)

    def forward(self, x, edge_index, edge_weight, batch):
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = torch.relu(norm(conv(x, edge_index, edge_weight)))
        pool = pyg.global_max_pool if self.settings.pooling == "max" else pyg.global_mean_pool
        x = self.linear2(torch.relu(self.linear1(pool(x, batch)))).squeeze(-1)
        return {"sigmoid": torch.sigmoid, "relu": torch.relu, "linear": lambda y: y}[self.settings.output](x)


def relative(one, other):
    """Largest difference, relative to the largest value."""
    return float((one - other).detach().abs().max() / other.detach().abs().max())


def gradients(output, parameters):
    pull = torch.linspace(-1, 2, len(output), dtype=output.dtype)
    found = torch.autograd.grad((output * pull).sum(), parameters)
    return torch.cat([gradient.flatten().double() for gradient in found])


@pytest.mark.parametrize("route", ["dense", "sparse"])
@pytest.mark.parametrize("widths", [(4, 64), (64, 64), (32, 8)])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.float64, 1e-13)])
def test_the_layer_equals_torch_geometrics(graphs, route, widths, dtype, bound):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch_layer = pyg.GraphConv(*widths).to(dtype)
    layer = GraphConv(*widths).to(dtype)
    layer.load_state_dict(
        {
            "neighbours.weight": torch_layer.lin_rel.weight,
            "neighbours.bias": torch_layer.lin_rel.bias,
            "itself.weight": torch_layer.lin_root.weight,
        }
    )
    batch = make_batch(graphs.select(range(12)), dtype=dtype)
    batch = batch.as_edge_list() if route == "sparse" else batch
    h = torch.randn(60, widths[0], dtype=dtype, generator=torch.Generator().manual_seed(0)).requires_grad_()
    pull = torch.randn(60, widths[1], dtype=dtype, generator=torch.Generator().manual_seed(1))
    weight, copy = (batch.edge_weight.clone().requires_grad_() for _ in range(2))
    mine, theirs = layer(batch.with_edge_weight(weight), h), torch_layer(h, batch.edge_index, copy)
    assert relative(mine, theirs) < bound
    own = torch.autograd.grad((mine * pull).sum(), [*layer.parameters(), h, weight])
    other = torch.autograd.grad((theirs * pull).sum(), [*torch_layer.parameters(), h, copy])
    for one, reference in zip(own, other, strict=True):
        assert relative(one, reference) < bound


@pytest.mark.parametrize("route", ["dense", "sparse"])
@pytest.mark.parametrize("number", list(ARCHITECTURES))
def test_networks_equal_torch_geometrics(graphs, number, route):
    model = architecture(number, hidden_channels=32)
    outputs, pulls = {}, {}
    for dtype in (torch.float32, torch.float64):
        ours = model.build(4, seed=number)
        with torch.no_grad():
            ours.final.bias += 1.0  # else a relu output can be all zero, and equal for no good reason
        ours = ours.to(dtype)
        reference = Reference(ours, model, dtype)
        batch = make_batch(graphs.select(range(12)), dtype=dtype)
        batch = batch.as_edge_list() if route == "sparse" else batch
        assert (batch.adjacency is None) == (route == "sparse")
        weight, copy = (batch.edge_weight.clone().requires_grad_() for _ in range(2))
        own, others = zip(*reference.pairs, strict=True)
        outputs[dtype] = ours(batch.with_edge_weight(weight)), reference(batch.x, batch.edge_index, copy, batch.batch)
        pulls[dtype] = gradients(outputs[dtype][0], [*own, weight]), gradients(outputs[dtype][1], [*others, copy])
    assert relative(*outputs[torch.float64]) < 1e-12
    assert relative(*pulls[torch.float64]) < 1e-12
    assert relative(*outputs[torch.float32]) < 1e-5
    # Batch normalisation of nearly equal atoms cancels digits, so in single precision both are compared with the truth.
    truth = pulls[torch.float64][1]
    mine, theirs = ((pull - truth).norm() / truth.norm() for pull in pulls[torch.float32])
    assert truth.norm() > 0
    assert mine < 3 * theirs + 1e-6
    assert mine < 1e-4


def test_the_six_architectures_are_the_papers():
    found = {n: (m.convolutions, m.pooling, m.output) for n, m in ARCHITECTURES.items()}
    assert found == {
        1: (3, "max", "sigmoid"),
        2: (3, "mean", "sigmoid"),
        3: (3, "max", "relu"),
        4: (3, "mean", "relu"),
        5: (2, "max", "sigmoid"),
        6: (4, "max", "sigmoid"),
    }
    assert sum(p.numel() for p in architecture(5, hidden_channels=128).build(4, 0).parameters()) == 36641
    assert architecture(5, output="linear").description == "2conv-max-linear-h64"


def test_impossible_networks_are_refused():
    with pytest.raises(ConfigurationError, match="architecture must be one of"):
        architecture(7)
    for wrong in ({"pooling": "median"}, {"output": "tanh"}, {"convolutions": 0}, {"dropout": 1.0}):
        with pytest.raises(ConfigurationError, match="GraphConvNet"):
            GraphConvNet(**wrong)


@pytest.mark.parametrize("number", [2, 5])
def test_the_public_contract_holds(number):
    check_graph_model(architecture(number, output="linear"))
    check_graph_model(architecture(number))


@pytest.mark.parametrize("how", ["max", "mean", "sum"])
def test_pooling_is_the_same_by_either_route(graphs, how):
    batch = make_batch(graphs.select(range(6)), dtype=torch.float64)
    h = torch.randn(30, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(batch.pool(h, how), batch.as_edge_list().pool(h, how), rtol=1e-14)


def test_equivalent_atoms_stay_equivalent_under_a_maximum():
    # In a perfect crystal all Ag atoms tie; the gradient must not pick one of them.
    graphs = build_graphs(displaced(cubic_antiperovskite(4.9), 1, 0.0), GraphSpec())
    batch = make_batch(graphs, dtype=torch.float64)
    weight = batch.edge_weight.clone().requires_grad_()
    module = architecture(5, output="linear").build(4, 0).double().eval()
    module(batch.with_edge_weight(weight)).sum().backward()
    silver_sulphur = (graphs.numbers[graphs.source] == 47) & (graphs.numbers[graphs.target] == 16)
    nearest = weight.grad.numpy()[silver_sulphur & (graphs.distance_A < 3)]
    assert len(nearest) == 6
    assert np.ptp(nearest) < 1e-12


def test_masked_edges_merge_and_keep_their_gradient(graphs):
    dense = make_batch(graphs.select(range(4)), dtype=torch.float64)
    sparse = dense.as_edge_list()
    h = torch.randn(20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mask = torch.rand(len(dense.edge_weight), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    gradients = []
    for batch in (dense, sparse):
        leaf = mask.clone().requires_grad_()
        total = batch.with_edge_weight(batch.edge_weight * leaf).aggregate(h)
        gradients.append(torch.autograd.grad((total**2).sum(), leaf)[0])
    assert torch.allclose(*gradients, rtol=1e-12)
    assert dense.with_features(2 * dense.x).x.sum() == 2 * dense.x.sum()


def test_batches_are_slices_of_the_set(graphs):
    scaling = fit_input_scaling(graphs)
    packed = PackedGraphs(graphs, scaling, torch.float64)
    order = np.array([7, 3, 40])
    one, other = packed.batch(order), make_batch(graphs.select(order), scaling, torch.float64)
    for name in ("x", "batch", "adjacency", "edge_index", "edge_weight", "edge_distance"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name


def test_crystals_of_different_size_share_a_batch(graphs):
    mixed = join_graphs([graphs.select([0, 1]), build_graphs(displaced(fcc("Ag"), 2, 0.1, name="fcc"), GraphSpec())])
    scaling = fit_input_scaling(mixed)
    module = GraphConvNet().build(4, 0).double().eval()
    together = module(make_batch(mixed, scaling, torch.float64))
    alone = [module(make_batch(mixed.select([i]), scaling, torch.float64)) for i in range(4)]
    assert torch.allclose(together, torch.cat(alone), rtol=1e-12)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), number=st.sampled_from(list(ARCHITECTURES)))
def test_equivalent_descriptions_of_a_crystal_give_one_prediction(seed, number):
    crystal = displaced(cubic_antiperovskite(), 1, 0.2, seed=seed).crystal(0)
    module = architecture(number, output="linear").build(4, seed).double().eval()

    def value(other):
        graphs = build_graphs(displaced(other, 1, 0.0), GraphSpec())
        return module(make_batch(graphs, fit_input_scaling(graphs), torch.float64)).item()

    expected = value(crystal)
    random = np.random.default_rng(seed)
    order = random.permutation(5)
    skew = np.array([[1, random.integers(-2, 3), random.integers(-2, 3)], [0, 1, random.integers(-2, 3)], [0, 0, 1]])
    rotation = np.linalg.qr(random.normal(size=(3, 3)))[0]
    doubled = {
        "cell_A": np.diag([2, 1, 1]) @ crystal.cell_A,
        "positions_A": np.concatenate([crystal.positions_A, crystal.positions_A + crystal.cell_A[0]]),
        "numbers": np.tile(crystal.numbers, 2),
        "masses_amu": np.tile(crystal.masses_amu, 2),
    }
    for name, changes in {
        "translated": {"positions_A": crystal.positions_A + random.normal(size=3)},
        "by lattice vectors": {"positions_A": crystal.positions_A + random.integers(-3, 4, (5, 3)) @ crystal.cell_A},
        "reordered": {
            "positions_A": crystal.positions_A[order],
            "numbers": crystal.numbers[order],
            "masses_amu": crystal.masses_amu[order],
        },
        "another basis": {"cell_A": skew @ crystal.cell_A},
        "rotated": {"cell_A": crystal.cell_A @ rotation, "positions_A": crystal.positions_A @ rotation},
        "supercell": doubled,
    }.items():
        assert value(replace(crystal, **changes)) == pytest.approx(expected, rel=1e-9), name


def test_initial_weights_depend_on_the_seed_alone():
    state = torch.get_rng_state()
    one, same, other = (GraphConvNet().build(4, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["hidden.weight"], other["hidden.weight"])


def test_the_table_of_elements_agrees_with_ase_and_pymatgen():
    from ase.data import atomic_masses, covalent_radii
    from pymatgen.core import Element

    assert np.allclose(MASS_AMU, atomic_masses[1:119], rtol=1e-9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pymatgen warns about each element without a value
        pauling = np.nan_to_num([Element.from_Z(z).X for z in range(1, 119)])
    assert np.allclose(ELECTRONEGATIVITY, pauling)
    assert without_electronegativity(np.arange(1, 119)) == (2, 10, 18, *range(104, 119))
    # Another set of covalent radii (Cordero 2008), known to Z = 96: same trend, 1.40 Å scale.
    cordero = 100 * covalent_radii[1:97]
    assert np.corrcoef(RADIUS_PM[:96], cordero)[0, 1] > 0.95
    assert raw_features(np.array([47]))[0].tolist() == [47, 107.8682, 128, 1.93]


def test_scaling_maps_the_training_set_to_the_unit_interval(graphs):
    scaling = fit_input_scaling(graphs, "minmax")
    features = node_features(graphs.numbers, scaling)
    assert features.min(axis=0).tolist() == [0] * 4
    assert features.max(axis=0).tolist() == [1] * 4
    weights = edge_weights(graphs.distance_A, scaling)
    assert (weights.min(), weights.max()) == (0, 1)
    assert scaling.distance_max_A == graphs.distance_A.max()
    cosine = fit_input_scaling(graphs, "cosine")
    assert cosine.distance_max_A == 5.5
    assert edge_weights(np.array([0.0, 2.75, 5.5]), cosine) == pytest.approx([1, 0.5, 0], abs=1e-15)


def test_features_constant_in_training_are_zero():
    graphs = build_graphs(displaced(fcc("Ag"), 2, 0.1), GraphSpec())
    assert (node_features(graphs.numbers, fit_input_scaling(graphs)) == 0).all()


def test_distances_outside_the_training_range_are_used_and_counted(graphs):
    scaling = replace(fit_input_scaling(graphs, "minmax"), distance_min_A=2.5, distance_max_A=5.0)
    weights = edge_weights(graphs.distance_A, scaling)
    outside = int(((weights < 0) | (weights > 1)).sum())
    assert outside > 0
    assert edges_outside(graphs, scaling) == outside


def test_scalings_that_cannot_be_fitted_are_refused(graphs):
    with pytest.raises(ConfigurationError, match="edge_law must be one of"):
        fit_input_scaling(graphs, "gaussian")
    with pytest.raises(DataError, match="0 training graphs have no edge"):
        fit_input_scaling(graphs.select([]), "cosine")
    perfect = build_graphs(displaced(fcc("Ag"), 1, 0.0), GraphSpec(cutoff_A=3.0))
    with pytest.raises(DataError, match=r"all training edges are 2\.86"):
        fit_input_scaling(perfect, "minmax")


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), functions=st.sampled_from([1, 2, 5]), count=st.integers(1, 6))
def test_three_routes_agree_for_any_number_of_edge_functions(graphs, seed, functions, count):
    """R21: dense, sparse, and torch_geometric's layer once per function; values, and gradients of edges and weights."""
    random = np.random.default_rng(seed)
    chosen = graphs.select(random.choice(len(graphs), count, replace=False))
    generator = torch.Generator().manual_seed(seed)
    for dtype, bound in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        batch = make_batch(chosen, dtype=dtype)
        shape = (len(chosen.distance_A), functions)[: 1 if functions == 1 else 2]
        weight = torch.rand(shape, generator=generator).to(dtype)
        batch = _with_functions(batch, weight)
        layer = GraphConv(4, 7, functions).to(dtype)
        theirs = [pyg.GraphConv(4, 7).to(dtype) for _ in range(functions)]
        for k, other in enumerate(theirs):
            other.lin_rel.weight.data = layer.neighbours.weight.data[:, 4 * k : 4 * (k + 1)].clone()
            other.lin_rel.bias.data = layer.neighbours.bias.data / functions
            other.lin_root.weight.data = layer.itself.weight.data / functions
        h = torch.randn(len(chosen.numbers), 4, generator=generator).to(dtype)
        pull = torch.randn(len(chosen.numbers), 7, generator=generator).to(dtype)
        results = []
        for route in (batch, batch.as_edge_list()):
            leaf = weight.clone().requires_grad_()
            out = layer(route.with_edge_weight(leaf), h)
            own = torch.autograd.grad((out * pull).sum(), [leaf, layer.neighbours.weight, layer.itself.weight])
            results.append([out, *own])
        leaf = weight.clone().requires_grad_()
        columns = leaf[:, None] if functions == 1 else leaf
        out = sum(other(h, batch.edge_index, columns[:, k]) for k, other in enumerate(theirs))
        grads = torch.autograd.grad(
            (out * pull).sum(), [leaf, *(o.lin_rel.weight for o in theirs), theirs[0].lin_root.weight]
        )
        results.append([out, grads[0], torch.cat(grads[1:-1], 1), grads[-1]])
        for other in results[1:]:
            for one, two in zip(results[0], other, strict=True):
                assert relative(one, two) < bound


def _with_functions(batch, weight):
    """The batch with edge weights of another number of functions, on both routes."""
    from phonograph.models.batch import Edges, GraphBatch

    size = batch.nodes_per_graph
    shape = (batch.n_graphs, size, size)
    return GraphBatch(
        x=batch.x,
        batch=batch.batch,
        n_graphs=batch.n_graphs,
        edges=Edges(batch.edge_index, weight, batch.edge_distance),
        nodes_per_graph=size,
        adjacency=torch.zeros(
            shape if weight.ndim == 1 else (shape[0], weight.shape[1], size, size), dtype=weight.dtype
        ),
    ).with_edge_weight(weight)


def test_what_the_first_convolution_reads_is_made_once(graphs):
    from phonograph.models.batch import GraphBatch

    for law in ("minmax", "radial"):
        packed = PackedGraphs(graphs, fit_input_scaling(graphs, law, radial_functions=3), torch.float64)
        batch = packed.batch([5, 2, 9])
        sums = torch.cat([batch.as_edge_list().aggregate(batch.x), batch.x], 1)
        assert torch.allclose(batch.first.flatten(0, 1), sums, rtol=1e-12)
        moved = batch.with_features(2 * batch.x)
        assert torch.allclose(moved.first, 2 * batch.first)
        assert isinstance(moved, GraphBatch)
