"""Gate R12: graph and prediction depend on the crystal, not on how it is written down.

``INVARIANCE_EXAMPLES`` in the environment is the number of examples of each law (nightly: 5000).
"""

from __future__ import annotations

import os
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from phonograph.graphs import build_graphs
from phonograph.models import GraphConvNet, predict
from phonograph.streams import stream
from phonograph.types import Configurations, Crystal, Fitted, GraphSpec, InputScaling, Split, TargetScaling

SPEC = GraphSpec(cutoff_A=4.0)
EXAMPLES = int(os.environ.get("INVARIANCE_EXAMPLES", "200"))
LAWS = ("translation", "rotation", "permutation", "wrapping", "other cell", "supercell")
ELEMENTS = (16, 35, 47)


@cache
def networks():
    """Untrained networks with every weight and every running average drawn at random: nothing is 0 or 1 by luck."""
    made = []
    for pooling, output, law in (
        ("max", "linear", "cosine"),
        ("mean", "sigmoid", "minmax"),
        ("mean", "linear", "cosine"),
    ):
        model = GraphConvNet(convolutions=2, pooling=pooling, output=output, hidden_channels=8)
        random = stream(1, pooling, output)
        weights = {}
        for name, value in model.build(4, 0).state_dict().items():
            drawn = random.normal(0, 0.5, tuple(value.shape)).astype(np.float64)
            drawn = np.abs(drawn) + 0.1 if "running_var" in name else drawn
            weights[name] = np.zeros((), np.int64) if value.dtype == torch.int64 else drawn.astype(np.float32)
        inputs = InputScaling(
            edge_law=law,
            distance_min_A=1.0,
            distance_max_A=4.0,
            feature_min=(16.0, 32.0, 90.0, 1.9),
            feature_max=(47.0, 108.0, 130.0, 2.9),
            elements=ELEMENTS,
        )
        made.append(
            Fitted(
                name=f"{pooling}-{output}",
                model=model,
                weights=weights,
                graph=SPEC,
                inputs=inputs,
                scaling=TargetScaling(kind="standard", shift=1.0, scale=2.0),
                target="band_gap_eV",
                unit="eV",
                trained_on="nothing",
                train_range=(0.0, 1.0),
                split=Split(train=(), validation=(), test=(), seed=0),
                seed=0,
                best_epoch=0,
                history=(),
            )
        )
    return made


@st.composite
def crystals(draw):
    """Crystals of one to six atoms in cells from cubic to flat and skewed, atoms at least 0.7 Å apart."""
    random = stream(draw(st.integers(0, 2**32)), "crystal")
    size = draw(st.integers(1, 6))
    skew = draw(st.floats(0.0, 0.6))
    while True:
        cell = np.diag(random.uniform(2.2, 6.0, 3)) @ (np.eye(3) + skew * random.uniform(-1, 1, (3, 3)))
        if abs(np.linalg.det(cell)) < 8.0 * size:
            cell = cell * (10.0 * size / max(abs(np.linalg.det(cell)), 1e-3)) ** (1 / 3)
        positions = random.uniform(-0.5, 1.5, (size, 3)) @ cell
        crystal = Crystal(cell_A=cell, positions_A=positions, numbers=random.choice(ELEMENTS, size))
        graph = build(crystal)
        if len(graph.distance_A) == 0 or graph.distance_A.min() > 0.7:
            return crystal


def build(*some):
    return build_graphs(Configurations.of_crystals("toy", some, [str(i) for i in range(len(some))]), SPEC)


def unimodular(random):
    """Return an integer matrix of determinant ±1: another choice of the same lattice's vectors."""
    matrix = np.eye(3, dtype=int)
    for _ in range(3):
        i, j = random.choice(3, 2, replace=False)
        matrix[i] += int(random.integers(-1, 2)) * matrix[j]
    return matrix[random.permutation(3)]


def rewritten(crystal, law, random):
    """Return the same crystal written in another way, and the atom of ``crystal`` that each of its atoms is."""
    cell, positions, numbers = crystal.cell_A, crystal.positions_A, crystal.numbers
    same = np.arange(len(numbers))
    if law == "translation":
        positions = positions + random.uniform(-9, 9, 3)
    elif law == "rotation":
        turn = np.linalg.qr(random.normal(size=(3, 3)))[0]  # proper or not
        cell, positions = cell @ turn, positions @ turn
    elif law == "permutation":
        same = random.permutation(len(numbers))
        positions, numbers = positions[same], numbers[same]
    elif law == "wrapping":
        positions = positions + random.integers(-3, 4, positions.shape) @ cell
    elif law == "other cell":
        cell = unimodular(random) @ cell
    else:
        m = random.integers(1, 3, 3)
        shifts = np.array([[i, j, k] for i in range(m[0]) for j in range(m[1]) for k in range(m[2])]) @ cell
        positions = (shifts[:, None] + positions).reshape(-1, 3)
        cell, numbers, same = m[:, None] * cell, np.tile(numbers, len(shifts)), np.tile(same, len(shifts))
    return Crystal(cell_A=cell, positions_A=positions, numbers=numbers), same


def around(graph, same, atoms):
    """Return, per atom of the original crystal, the sorted (neighbour's original atom, distance) of each copy."""
    found = {atom: [] for atom in range(atoms)}
    for i in range(len(same)):
        edges = graph.target == i
        order = np.lexsort((graph.distance_A[edges], same[graph.source[edges]]))
        found[same[i]].append((same[graph.source[edges]][order], graph.distance_A[edges][order]))
    return found


@pytest.mark.parametrize("law", LAWS)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(crystal=crystals(), seed=st.integers(0, 2**32))
def test_graph_and_prediction_do_not_depend_on_how_a_crystal_is_written(law, crystal, seed):
    other, same = rewritten(crystal, law, stream(seed, law))
    both = build(crystal, other)
    one, two = both.select([0]), both.select([1])
    original = around(one, np.arange(len(crystal)), len(crystal))
    for atom, copies in around(two, same, len(crystal)).items():
        who, distance = original[atom][0]
        assert copies
        for its_who, its_distance in copies:
            # A distance that rounding puts on either side of the cutoff may differ.
            if len(its_who) != len(who):
                assert SPEC.cutoff_A - max(distance.max(initial=0), its_distance.max(initial=0)) < 1e-8
                return
            assert np.array_equal(its_who, who)
            np.testing.assert_allclose(its_distance, distance, rtol=1e-9)
    for fitted in networks():
        expected, got = predict(fitted, both)
        assert abs(got - expected) <= 1e-9 * max(1.0, abs(expected)), fitted.name


def test_the_networks_of_these_tests_tell_crystals_apart():
    """Otherwise the law above would hold for a constant."""
    random = stream(4, "apart")
    some = [
        Crystal(cell_A=4 * np.eye(3), positions_A=random.uniform(0, 4, (3, 3)), numbers=np.array([47, 16, 35]))
        for _ in range(6)
    ]
    for fitted in networks():
        assert np.ptp(predict(fitted, build(*some))) > 1e-3
