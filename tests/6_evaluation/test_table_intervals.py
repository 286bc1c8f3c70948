"""The cross-test table says how certain its numbers are, and the verdicts go by that."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from phonograph.evaluation import corrected_t, cross_test, evaluate, merge_evaluations, metric_intervals
from phonograph.evaluation.bootstrap import bca
from phonograph.evaluation.summary import verdicts
from phonograph.types import Evaluation, MetricInterval

METRICS = ("mae", "rmse", "r2", "pearson_r2", "skill")


@pytest.fixture(scope="module")
def judged(world) -> Evaluation:
    return cross_test(world.fits, world.collections, world.labels)


def of(evaluation: Evaluation, **wanted: object) -> list[MetricInterval]:
    return [i for i in evaluation.intervals if all(getattr(i, key) == value for key, value in wanted.items())]


def test_every_line_of_the_summary_has_intervals_around_its_numbers(judged: Evaluation) -> None:
    lines = [s for s in judged.summary if s.n > 0]
    assert lines
    for s in lines:
        found = of(judged, trained_on=s.trained_on, tested_on=s.tested_on, split=s.split, scope=s.scope)
        assert [i.metric for i in found] == list(METRICS)
        for item in found:
            assert item.value == pytest.approx(getattr(s, item.metric), rel=1e-9, nan_ok=True)
            if np.isfinite(item.low):
                assert item.low <= item.high
                assert item.groups >= 5
    main = of(judged, split="test", scope="all", metric="mae")
    assert all(i.low < i.value < i.high and i.seed_low < i.value < i.seed_high and i.models == 3 for i in main)


def test_seed_bounds_are_the_corrected_t(judged: Evaluation, world) -> None:
    (item,) = of(judged, trained_on="phonon", tested_on="random", split="test", scope="all", metric="mae")
    lines = [
        m.mae
        for m in judged.metrics
        if (m.trained_on, m.tested_on, m.split, m.scope) == ("phonon", "random", "test", "all")
        and m.model != "mean-predictor"
    ]
    split = world.splits["random"][0]
    ratio = len(split.test) / (len(split.train) + len(split.validation))
    expected = corrected_t(lines, ratio).interval
    assert (item.seed_low, item.seed_high) == pytest.approx((expected.low, expected.high))


def test_networks_with_other_test_parts_share_the_draws_of_groups(judged: Evaluation, world) -> None:
    """Second route: sums by hand, group by group, for three seeds whose test parts overlap in part."""
    (item,) = of(judged, trained_on="phonon", tested_on="random", split="test", scope="all", metric="mae")
    graphs = world.graphs["random"]
    group = dict(zip(graphs.sample_ids, graphs.groups, strict=True))
    parts = [p for p in judged.predictions if (p.trained_on, p.tested_on, p.split) == ("phonon", "random", "test")]
    names = sorted({group[sample] for p in parts for sample in p.sample_ids})
    assert item.groups == len(names) > len({group[sample] for sample in parts[0].sample_ids})
    sums = np.zeros((len(names), 2 * len(parts)))
    for place, p in enumerate(parts):
        for sample, truth, prediction in zip(p.sample_ids, p.truth, p.prediction, strict=True):
            sums[names.index(group[sample]), 2 * place : 2 * place + 2] += [1.0, abs(prediction - truth)]

    def mean_error(totals: np.ndarray) -> np.ndarray:
        return (totals[..., 1::2] / totals[..., ::2]).mean(axis=-1)[..., None]

    (expected,) = bca(sums, mean_error, draws=1000)
    assert (item.value, item.low, item.high) == pytest.approx((expected.value, expected.low, expected.high))


def test_one_network_has_the_interval_of_its_predictions(world) -> None:
    fitted = world.fitted("combined", 0)
    graphs = world.graphs["combined"]
    alone = evaluate(fitted, graphs, world.labels)
    (p,) = [p for p in alone.predictions if p.split == "train"]
    group = dict(zip(graphs.sample_ids, graphs.groups, strict=True))
    by_hand = metric_intervals(p.truth, p.prediction, [group[sample] for sample in p.sample_ids], draws=1000)
    for name in METRICS[:4]:
        (item,) = of(alone, split="train", scope="all", metric=name)
        assert (item.low, item.high) == pytest.approx((by_hand[name].low, by_hand[name].high))
        assert np.isnan(item.seed_low)


def test_verdicts_go_by_intervals_not_by_points(judged: Evaluation) -> None:
    line = next(s for s in judged.summary if (s.trained_on, s.tested_on, s.scope) == ("combined", "combined", "all"))
    line = replace(line, split="test", skill=0.3)
    (interval,) = of(judged, trained_on="combined", tested_on="combined", split="test", scope="all", metric="skill")
    sure = replace(interval, value=0.3, low=0.1, high=0.5, seed_low=0.05, seed_high=0.55)
    assert verdicts([line], "all", [sure]) == ()
    for change in ({"low": -0.1}, {"seed_low": -0.1}):
        (sentence,) = verdicts([line], "all", [replace(sure, **change)])
        assert "cannot be claimed to beat the mean" in sentence
        assert "-0.10 to" in sentence
    (worse,) = verdicts([replace(line, skill=-0.2)], "all", [sure])
    assert "do not beat the mean" in worse


def test_an_unknown_interval_is_no_claim(judged: Evaluation) -> None:
    """One network on four groups: neither interval is known, and skill above zero says nothing."""
    line = next(s for s in judged.summary if (s.trained_on, s.tested_on, s.scope) == ("combined", "combined", "all"))
    line = replace(line, split="test", skill=0.3, models=1)
    (found,) = of(judged, trained_on="combined", tested_on="combined", split="test", scope="all", metric="skill")
    nan = float("nan")
    sure = replace(found, value=0.3, low=0.1, high=0.5, seed_low=0.05, seed_high=0.55)
    unknown = replace(sure, models=1, groups=4, low=nan, high=nan, seed_low=nan, seed_high=nan)
    (sentence,) = verdicts([line], "all", [unknown])
    assert "cannot be claimed to beat the mean" in sentence
    assert sentence.endswith("no interval: 1 network, 4 groups)")
    (sentence,) = verdicts([line], "all", [])
    assert "cannot be claimed to beat the mean" in sentence
    # One network has no interval over seeds by nature: that over samples decides, either way.
    assert verdicts([line], "all", [replace(sure, models=1, seed_low=nan, seed_high=nan)]) == ()
    for low in ({"low": -0.1, "seed_low": nan}, {"low": nan, "seed_low": -0.1}):
        assert "cannot be claimed" in verdicts([line], "all", [replace(sure, **low)])[0]


def test_one_network_on_few_groups_is_not_said_to_beat_the_mean(world) -> None:
    fitted = world.fitted("phonon", 0)
    graphs = world.graphs["phonon"]
    test = set(fitted.split.test)
    few = replace(
        graphs, groups=tuple("one" if s in test else g for s, g in zip(graphs.sample_ids, graphs.groups, strict=True))
    )
    told = [text for text in evaluate(fitted, few, world.labels).warnings if "1 network, 1 group" in text]
    assert any("cannot be claimed to beat the mean" in text for text in told)


def test_merging_keeps_what_is_still_true(world, judged: Evaluation) -> None:
    same = merge_evaluations([judged, judged])
    assert repr(same.intervals) == repr(judged.intervals)
    parts = [cross_test([world.fitted("phonon", seed)], world.collections, world.labels) for seed in (0, 1)]
    merged = merge_evaluations(parts)
    assert of(merged, trained_on="phonon", tested_on="phonon", split="test", metric="mae", scope="all") == []
    assert len(merged.summary) > 0
    lost = [text for text in merged.warnings if "have no interval" in text]
    assert len(lost) == 1
    keys = [{(i.trained_on, i.tested_on, i.split, i.scope) for i in part.intervals} for part in parts]
    assert lost[0].startswith(f"{len(keys[0] & keys[1])} lines ")
    assert not any("have no interval" in text for text in same.warnings)


def test_paper_filter_has_intervals_in_range_only(world) -> None:
    filtered = cross_test(world.fits, world.collections, world.labels, paper_filter=True)
    assert {i.scope for i in filtered.intervals} == {"in_range"}
