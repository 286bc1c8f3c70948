"""The pure parts of a study: points of a grid, nested splits, successive halving, and effects."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from phonograph.config_study import StudyConfig, parse_study
from phonograph.errors import ConfigurationError, DataError
from phonograph.evaluation.effects import REST, main_effects, response, variance_shares
from phonograph.models import ARCHITECTURES, GraphConvNet
from phonograph.training import TrainingSettings
from phonograph.training.grid import PAPER_AXES, check_axes, grid, made
from phonograph.training.halving import best, drawn, rank_correlation, rungs
from phonograph.training.nested import inner_split
from phonograph.types import Split

BASE = (GraphConvNet(), TrainingSettings())


def test_the_published_grid_has_480_different_points():
    points = grid(PAPER_AXES, *BASE)
    assert len(points) == 480
    assert len({(point.model, point.settings) for point in points}) == 480
    assert points[0].values == {"architecture": 1, "learning_rate": 1e-2, "hidden_channels": 32, "dropout": 0.0}
    assert points[1].values["dropout"] == 0.2, "the last axis is the fastest"
    assert points[-1].texts == ("6", "1e-06", "256", "0.6")
    for point in points:
        published = ARCHITECTURES[point.values["architecture"]]
        assert (point.model.convolutions, point.model.pooling, point.model.output) == (
            published.convolutions,
            published.pooling,
            published.output,
        )
        assert point.model.hidden_channels == point.values["hidden_channels"]
        assert point.settings.learning_rate == point.values["learning_rate"]


def test_a_point_changes_what_it_names_and_nothing_else():
    model, chosen = made(
        GraphConvNet(hidden_channels=96), TrainingSettings(epochs=7), {"architecture": 4, "output": "linear"}
    )
    assert (model.convolutions, model.pooling, model.output, model.hidden_channels) == (3, "mean", "linear", 96)
    assert chosen == TrainingSettings(epochs=7)
    assert made(*BASE, {"learning_rate": 1})[1].learning_rate == 1.0


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ({}, "study.axes is empty; name at least one axis"),
        ({"learning_rat": [1e-3]}, "unknown axis 'learning_rat' in [study.axes]; did you mean 'learning_rate'?"),
        ({"epochs": [10]}, "unknown axis 'epochs' in [study.axes]; set training.settings.epochs"),
        ({"checkpoint_s": [1.0]}, "unknown axis 'checkpoint_s'"),
        ({"dropout": []}, "study.axes.dropout must be a list of at least one value; got []"),
        ({"dropout": 0.2}, "study.axes.dropout must be a list of at least one value; got 0.2"),
        ({"dropout": [0.2, 0.2]}, "must name each value once"),
        ({"dropout": [2.0]}, "study.axes.dropout cannot be 2.0: GraphConvNet.dropout must be at most 0.95"),
        ({"architecture": [7]}, "study.axes.architecture cannot be 7: architectures are 1, 2, 3, 4, 5, 6; got 7"),
        ({"architecture": [True]}, "architectures are"),
        ({"hidden_channels": [32.5]}, "study.axes.hidden_channels cannot be 32.5: it must be a whole number"),
        ({"pooling": ["sum"]}, "study.axes.pooling cannot be 'sum'"),
        ({"architecture": [1], "pooling": ["max"]}, "architecture sets pooling too; leave one of the two out"),
    ],
)
def test_axes_that_are_none_are_one_sentence(axes, words):
    with pytest.raises(ConfigurationError) as told:
        check_axes(axes)
    assert words in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"axis": {}}, "unknown key 'axis' in [study]; did you mean 'axes'?"),
        ({"seeds": []}, "study.seeds must name at least one seed"),
        ({"seeds": [1, 1]}, "study.seeds must differ"),
        ({"strategy": "grid"}, "study.strategy must be one of 'full', 'halving', 'optuna'; got 'grid'"),
        ({"axes": [1]}, "study.axes must be a table of lists"),
        ({"axes": {"dropout": [0.1], "epochs": [1]}}, "unknown axis 'epochs'"),
        ({"halving": {"eta": 1}}, "study.halving.eta must be at least 2"),
        ({"search": {"ranges": {"dropout": [0.0, 0.5]}}}, 'set study.strategy = "optuna"'),
        ({"strategy": "optuna", "search": {"ranges": {"dropout": [0.5, 0.1]}}}, "must be [low, high]; got [0.5, 0.1]"),
        ({"strategy": "optuna", "search": {"ranges": {"width": [1, 2]}}}, "unknown axis 'width'"),
        (
            {"strategy": "optuna", "axes": {"dropout": [0.1]}, "search": {"ranges": {"dropout": [0.0, 0.5]}}},
            "both name 'dropout'",
        ),
    ],
)
def test_a_study_that_cannot_be_is_one_sentence(table, words):
    with pytest.raises(ConfigurationError) as told:
        parse_study(table)
    assert words in str(told.value)
    assert "\n" not in str(told.value)


def test_an_empty_study_is_the_published_grid():
    study = parse_study({})
    assert study == StudyConfig()
    assert len(grid(study.axes, *BASE)) == 480
    ranged = parse_study({"strategy": "optuna", "search": {"ranges": {"learning_rate": [1e-5, 1e-2]}}})
    assert ranged.axes == {}


@settings(max_examples=60, deadline=None)
@given(st.integers(8, 60), st.integers(2, 6), st.floats(0.05, 0.6), st.integers(0, 99))
def test_inner_splits_keep_groups_together_and_never_hold_the_outer_test(count, size, share, seed):
    samples = [f"{name}{n}" for name in "ab" for n in range(count)]
    groups = {sample: f"{sample[0]}-{int(sample[1:]) // size}" for sample in samples}
    in_test = {sample for sample in samples if int(sample[1:]) < 2 * size and count > 4 * size}
    rest = [sample for sample in samples if sample not in in_test]
    outer = Split(train=tuple(rest[::2]), validation=tuple(rest[1::2]), test=tuple(sorted(in_test)), seed=0)
    strata = {sample: sample[0] for sample in samples}
    if any(len({groups[s] for s in rest if s[0] == name}) < 2 for name in "ab"):
        with pytest.raises(DataError, match="needs at least 2"):
            inner_split(outer, groups, strata, share, seed)
        return
    inner = inner_split(outer, groups, strata, share, seed)
    assert sorted((*inner.train, *inner.validation)) == sorted(rest)
    assert inner.test == ()
    assert not {groups[s] for s in inner.train} & {groups[s] for s in inner.validation}
    for name in "ab":
        own = [s for s in rest if s[0] == name]
        validating = sum(s[0] == name for s in inner.validation)
        assert 0 < validating < len(own)
        if 2 * size < share * len(own) < len(own) - 2 * size:
            assert abs(validating - share * len(own)) <= size
    shuffled = Split(train=outer.validation, validation=outer.train, test=outer.test, seed=0)
    again = inner_split(shuffled, groups, strata, share, seed)
    assert set(again.validation) == set(inner.validation), "the order of samples does not matter"


def test_seeds_draw_different_inner_splits():
    samples = tuple(f"s{n}" for n in range(40))
    outer = Split(train=samples[:30], validation=samples[30:], test=(), seed=0)
    own = dict.fromkeys(samples, "set")
    drawn_parts = {inner_split(outer, {s: s for s in samples}, own, 0.2, seed).validation for seed in range(20)}
    assert len(drawn_parts) == 20


def test_rungs_end_at_the_full_budget():
    assert rungs(480, 10, 4, 300) == ((480, 10), (120, 40), (30, 160), (8, 300))
    assert rungs(5, 300, 4, 300) == ((5, 300),)
    assert rungs(3, 1, 2, 4) == ((3, 1), (2, 2), (1, 4))
    with pytest.raises(ConfigurationError, match="eta"):
        rungs(3, 1, 1, 4)


def test_the_best_are_the_lowest_and_failures_the_worst():
    assert best([3.0, 1.0, math.nan, 1.0, 2.0], 3) == (1, 3, 4)
    assert best([math.nan, math.nan, 5.0], 2) == (2, 0)


def test_the_check_holds_the_winner_and_is_drawn_evenly():
    samples = [drawn(20, 5, 7, seed) for seed in range(2000)]
    assert all(7 in sample and len(set(sample)) == 5 for sample in samples)
    counts = np.bincount(np.concatenate(samples), minlength=20)
    others = np.delete(counts, 7)
    expected = 2000 * 4 / 19
    assert abs(others - expected).max() < 5 * math.sqrt(expected)
    assert drawn(3, 9, 0, 1) == (0, 1, 2)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=30))
def test_the_rank_correlation_is_spearmans(pairs):
    left, right = zip(*pairs, strict=True)
    if len(set(left)) == 1 or len(set(right)) == 1:
        assert math.isnan(rank_correlation(left, right))
    else:
        assert rank_correlation(left, right) == pytest.approx(spearmanr(left, right).statistic, abs=1e-12)


AXES = {"a": ("0", "1", "2"), "b": ("0", "1", "2", "3"), "c": ("0", "1")}


def planted(a=(), b=(), ab=None, seeds=3, noise=0.0, seed=0, shift=True):
    draw = np.random.default_rng(seed)
    y = np.zeros((seeds, 3, 4, 2))
    y += np.asarray(a or [0.0] * 3)[None, :, None, None] + np.asarray(b or [0.0] * 4)[None, None, :, None]
    y += 0.0 if ab is None else np.asarray(ab)[None, :, :, None]
    y += draw.normal(size=(seeds, 1, 1, 1)) if shift else 0.0
    return y + noise * draw.normal(size=y.shape)


def test_main_effects_of_an_additive_grid_are_exact():
    rows = main_effects("t", AXES, planted(a=[-1.0, 0.0, 1.0], b=[0.0, 0.1, 0.2, 0.3]))
    found = {(row.axis, row.level): row.effect for row in rows}
    assert [found["a", level] for level in AXES["a"]] == pytest.approx([-1.0, 0.0, 1.0])
    assert [found["b", level] for level in AXES["b"]] == pytest.approx([-0.15, -0.05, 0.05, 0.15])
    assert [found["c", level] for level in AXES["c"]] == pytest.approx([0.0, 0.0], abs=1e-12)
    assert all(row.low == pytest.approx(row.effect) and row.high == pytest.approx(row.effect) for row in rows)
    alone = main_effects("t", AXES, planted(a=[-1.0, 0.0, 1.0], seeds=1))
    assert all(math.isnan(row.low) for row in alone), "one seed says nothing about its own uncertainty"


def test_intervals_of_main_effects_cover_as_often_as_they_say():
    inside = []
    for seed in range(300):
        rows = main_effects("t", AXES, planted(a=[-1.0, 0.0, 1.0], noise=0.5, seed=seed))
        (row,) = [row for row in rows if (row.axis, row.level) == ("a", "2")]
        inside.append(row.low <= 1.0 <= row.high)
    assert abs(np.mean(inside) - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 300)


def by_least_squares(y):
    """A second route: nested linear models with dummy variables; the drop of the residual is the term's share."""
    mean = y.mean(axis=0).ravel()
    shape = y.shape[1:]
    places = list(itertools.product(*map(range, shape)))

    def residual(terms):
        columns = [np.ones(len(places))]
        for term in terms:
            for levels in itertools.product(*(range(shape[k]) for k in term)):
                columns.append([float(all(p[k] == v for k, v in zip(term, levels, strict=True))) for p in places])
        design = np.array(columns, dtype=float).T
        fitted = design @ np.linalg.lstsq(design, mean, rcond=None)[0]
        return float(((mean - fitted) ** 2).sum())

    total = residual([])
    single = [total - residual([(k,)]) for k in range(3)]
    pairs = [total - residual([(k, m), (k,), (m,)]) - single[k] - single[m] for k, m in [(0, 1), (0, 2), (1, 2)]]
    parts = [*single, *pairs]
    return [part / total for part in parts] + [1 - sum(parts) / total]


def test_shares_are_those_of_nested_linear_models():
    y = planted(seeds=1, noise=1.0, seed=5)
    rows = {row.axis: row.share for row in variance_shares("t", AXES, y)}
    names = ["a", "b", "c", "a × b", "a × c", "b × c", REST]
    assert [rows[name] for name in names] == pytest.approx(by_least_squares(y), abs=1e-12)


def test_planted_shares_are_found_and_noise_is_taken_off():
    interaction = 0.5 * np.outer([-1, 0, 1], [-1, 1, -1, 1])
    y = planted(a=[-1.0, 0.0, 1.0], ab=interaction, noise=0.4, seeds=8, seed=2)
    rows = {row.axis: row for row in variance_shares("t", AXES, y)}
    a, ab = 2 / 3, float((interaction**2).mean())
    assert rows["a"].share == pytest.approx(a / (a + ab), abs=0.06)
    assert rows["a × b"].share == pytest.approx(ab / (a + ab), abs=0.06)
    assert rows["c"].share < 0.02
    assert sum(row.share for row in rows.values()) == pytest.approx(1.0)
    raw = [planted(noise=1.0, seeds=5, seed=s).mean(axis=0).var() for s in range(40)]
    assert np.mean(raw) == pytest.approx(23 / 24 / 5, rel=0.3), "what noise alone would give the grid"


@pytest.mark.parametrize("seeds", [3, 6])
def test_intervals_of_shares_cover_as_often_as_they_say(seeds):
    interaction = 0.5 * np.outer([-1, 0, 1], [-1, 1, -1, 1])
    a, ab = 2 / 3, float((interaction**2).mean())
    inside = []
    for seed in range(150):
        y = planted(a=[-1.0, 0.0, 1.0], ab=interaction, noise=0.4, seeds=seeds, seed=seed)
        rows = {row.axis: row for row in variance_shares("t", AXES, y)}
        inside.append([rows["a"].low <= a / (a + ab) <= rows["a"].high, rows["a × b"].low <= ab / (a + ab)])
        assert all(0.0 <= row.low <= row.high <= 1.0 for row in rows.values())
    assert np.mean(inside, axis=0).min() > 0.88


def test_failed_networks_count_as_the_worst():
    values, stood_in = response(np.array([1e-2, np.nan, 1e-1, 0.0]))
    assert stood_in == 2
    assert values == pytest.approx([-2.0, -1.0, -1.0, -1.0])
    with pytest.raises(DataError, match="no network of the grid has a validation error"):
        response(np.array([np.nan, np.nan]))
