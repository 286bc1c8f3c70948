"""Cross-tests: complete tables, honest scopes, no leaks, holes counted, the mean predictor beaten or not."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from phonograph.errors import DataError
from phonograph.evaluation import cross_test, evaluate, mean_absolute_error, merge_evaluations, summarise
from phonograph.models import predict
from phonograph.types import Evaluation, LabelColumn, Labels, Metric, Split

MEAN = "mean-predictor"


@pytest.fixture(scope="module")
def judged(world) -> Evaluation:
    return cross_test(world.fits, world.collections, world.labels)


def networks(evaluation: Evaluation, **wanted: object) -> list[Metric]:
    return [m for m in evaluation.metrics if m.model != MEAN and all(getattr(m, k) == v for k, v in wanted.items())]


def with_values(labels: Labels, values: np.ndarray) -> Labels:
    return replace(labels, columns=(LabelColumn(name="band_gap_eV", unit="eV", values=values, engine="x"),))


def test_every_model_on_every_test_part(judged, world) -> None:
    keys = {(m.trained_on, m.tested_on, m.seed, m.scope) for m in networks(judged, split="test")}
    names = ("phonon", "random", "combined")
    scopes = ("all", "in_range", "out_of_range")
    assert keys == {(a, b, s, c) for a in names for b in names for s in (0, 1, 2) for c in scopes}
    own = {(m.trained_on, m.tested_on) for m in networks(judged, split="train")}
    assert own == {(name, name) for name in names}


def test_lines_follow_from_the_predictions(judged, world) -> None:
    for p in judged.predictions:
        fitted = next(f for f in world.fits if f.name == p.model)
        assert np.array_equal(p.truth, world.labels.aligned("band_gap_eV", p.sample_ids))
        low, high = fitted.train_range
        chosen = {"all": np.ones(len(p.truth), bool), "in_range": (p.truth >= low) & (p.truth <= high)}
        chosen["out_of_range"] = ~chosen["in_range"]
        for scope, where in chosen.items():
            (line,) = networks(
                judged, trained_on=p.trained_on, tested_on=p.tested_on, split=p.split, seed=p.seed, scope=scope
            )
            assert line.n == where.sum()
            if where.any():
                assert line.mae == pytest.approx(np.abs(p.truth - p.prediction)[where].mean(), rel=1e-12)
            else:
                assert math.isnan(line.mae)
                assert math.isnan(line.r2)


def test_wider_set_is_out_of_range_of_the_narrow_one(judged) -> None:
    assert sum(m.n for m in networks(judged, trained_on="phonon", tested_on="random", scope="out_of_range")) > 0
    for m in networks(judged, split="train", scope="out_of_range"):
        assert m.n == 0


def test_predictions_are_those_of_the_model(judged, world) -> None:
    p = next(q for q in judged.predictions if q.tested_on == "combined" and q.trained_on == "random")
    graphs = world.graphs["combined"]
    places = [graphs.sample_ids.index(sample) for sample in p.sample_ids]
    fitted = next(f for f in world.fits if f.name == p.model)
    assert np.array_equal(p.prediction, predict(fitted, graphs.select(places)))


def test_order_of_the_graphs_does_not_matter(judged, world) -> None:
    backwards = {
        name: (graphs.select(range(len(graphs))[::-1]), split) for name, (graphs, split) in world.collections.items()
    }
    again = cross_test(world.fits, backwards, world.labels)
    for a, b in zip(judged.metrics, again.metrics, strict=True):
        assert (a.model, a.tested_on, a.scope, a.n) == (b.model, b.tested_on, b.scope, b.n)
        assert a.mae == pytest.approx(b.mae, rel=1e-9, nan_ok=True)


def test_evaluate_gives_train_validation_and_test(world, judged) -> None:
    fitted = world.fitted("phonon", 1)
    alone = evaluate(fitted, world.graphs["phonon"], world.labels, world.splits["phonon"][1])
    assert {(m.split, m.scope) for m in networks(alone)} == {
        (part, scope) for part in ("train", "validation", "test") for scope in ("all", "in_range", "out_of_range")
    }
    for m in networks(alone):
        (same,) = networks(judged, model=m.model, tested_on="phonon", split=m.split, scope=m.scope)
        assert repr(same) == repr(m)


def test_mean_predictor_and_skill(judged, world) -> None:
    fitted = world.fitted("phonon", 0)
    truth = world.labels.aligned("band_gap_eV", world.splits["random"][0].test)
    mean = world.labels.aligned("band_gap_eV", fitted.split.train).mean()
    (line,) = [
        m
        for m in judged.metrics
        if (m.model, m.trained_on, m.tested_on, m.seed, m.scope, m.split)
        == (MEAN, "phonon", "random", 0, "all", "test")
    ]
    assert line.mae == pytest.approx(np.abs(truth - mean).mean())
    (summary,) = [
        s
        for s in judged.summary
        if (s.trained_on, s.tested_on, s.split, s.scope) == ("phonon", "random", "test", "all")
    ]
    lines = networks(judged, trained_on="phonon", tested_on="random", split="test", scope="all")
    trivial = [m for m in judged.metrics if m.model == MEAN and (m.trained_on, m.tested_on) == ("phonon", "random")]
    by_seed = {m.seed: m.mae for m in trivial if m.scope == "all" and m.split == "test"}
    skill = [1 - m.mae / by_seed[m.seed] for m in lines]
    assert (summary.models, summary.n) == (3, 9.0)
    assert summary.mae == pytest.approx(np.mean([m.mae for m in lines]))
    assert summary.mae_sd == pytest.approx(np.std([m.mae for m in lines], ddof=1))
    assert summary.skill == pytest.approx(np.mean(skill))
    assert summary.skill_sd == pytest.approx(np.std(skill, ddof=1))


def test_a_network_worse_than_the_mean_is_named(world) -> None:
    fitted = world.fitted("phonon", 0)
    broken = replace(fitted, scaling=replace(fitted.scaling, shift=fitted.scaling.shift + 3.0))
    evaluation = evaluate(broken, world.graphs["phonon"], world.labels)
    (sentence,) = [w for w in evaluation.warnings if "do not beat the mean" in w]
    assert "'phonon'" in sentence
    assert "skill -" in sentence
    good = evaluate(world.fitted("phonon", 0), world.graphs["phonon"], world.labels)
    assert not [w for w in good.warnings if "do not beat" in w]


def test_a_training_sample_never_counts_as_test(world) -> None:
    fitted = world.fitted("phonon", 0)
    other = world.splits["phonon"][1]
    with pytest.raises(DataError, match=r"were used to fit band_gap_eV-phonon-seed0"):
        cross_test([fitted], {"phonon": (world.graphs["phonon"], other)}, world.labels)
    validated = Split(train=(), validation=(), test=(fitted.split.validation[0],), seed=0)
    with pytest.raises(DataError, match="were used to fit"):
        evaluate(fitted, world.graphs["phonon"], world.labels, validated)


def test_a_group_never_straddles(world) -> None:
    fitted = world.fitted("phonon", 0)
    graphs = world.graphs["phonon"]
    partner = dict(zip(graphs.sample_ids, graphs.groups, strict=True))[fitted.split.train[0]]
    groups = [
        partner if s == fitted.split.test[0] else g for s, g in zip(graphs.sample_ids, graphs.groups, strict=True)
    ]
    with pytest.raises(DataError, match="share a group"):
        evaluate(fitted, replace(graphs, groups=tuple(groups)), world.labels)


def test_copies_under_another_name_are_told(world) -> None:
    fitted, graphs = world.fitted("phonon", 0), world.graphs["phonon"]
    place = {sample: k for k, sample in enumerate(graphs.sample_ids)}
    order = list(range(len(graphs)))
    order[place[fitted.split.test[0]]] = place[fitted.split.train[0]]
    copied = replace(graphs.select(order), sample_ids=graphs.sample_ids, groups=graphs.groups)
    assert any("same structure" in w for w in evaluate(fitted, copied, world.labels).warnings)
    assert not any("same structure" in w for w in evaluate(fitted, graphs, world.labels).warnings)


def test_holes_are_left_out_and_counted(world) -> None:
    fitted = world.fitted("phonon", 0)
    values = np.array(world.labels.column("band_gap_eV").values)
    hole = fitted.split.test[2]
    values[world.labels.sample_ids.index(hole)] = np.nan
    evaluation = evaluate(fitted, world.graphs["phonon"], with_values(world.labels, values))
    (line,) = networks(evaluation, split="test", scope="all")
    assert line.n == len(fitted.split.test) - 1
    assert hole not in next(p for p in evaluation.predictions if p.split == "test").sample_ids
    assert "band_gap_eV: 1 of 9 test samples of 'phonon' have no label and are left out" in evaluation.warnings


def test_no_labels_at_all_is_one_sentence(world) -> None:
    values = np.full(len(world.labels.sample_ids), np.nan)
    with pytest.raises(DataError, match=r"none of the 42 train samples of 'phonon' has a label"):
        evaluate(world.fitted("phonon"), world.graphs["phonon"], with_values(world.labels, values))


def test_a_collection_without_labels_is_counted_and_the_others_are_judged(world) -> None:
    """A set whose labels all failed does not stop the run."""
    values = np.array(world.labels.column("band_gap_eV").values)
    values[[sample.startswith("random") for sample in world.labels.sample_ids]] = np.nan
    collections = {name: (world.graphs[name], world.splits[name][0]) for name in ("phonon", "random")}
    fitted = world.fitted("phonon", 0)
    evaluation = cross_test([fitted], collections, with_values(world.labels, values))
    sizes = {m.tested_on: m.n for m in networks(evaluation, split="test", scope="all")}
    assert sizes == {"phonon": len(fitted.split.test), "random": 0}
    assert any("of 'random' have no label and are left out" in warning for warning in evaluation.warnings)
    with pytest.raises(DataError, match="none of the 120 samples of 'phonon, random' has a label"):
        cross_test([fitted], collections, with_values(world.labels, np.full(len(values), np.nan)))


def test_missing_training_labels_drop_the_baseline_and_say_so(world) -> None:
    fitted = world.fitted("phonon", 0)
    keep = set(fitted.split.test)
    values = np.array(world.labels.column("band_gap_eV").values)
    values[[s not in keep for s in world.labels.sample_ids]] = np.nan
    test_only = replace(fitted.split, train=(), validation=())
    evaluation = evaluate(fitted, world.graphs["phonon"], with_values(world.labels, values), test_only)
    assert {m.model for m in evaluation.metrics} == {fitted.name}
    assert any("not compared with the mean predictor" in w for w in evaluation.warnings)
    assert math.isnan(next(s for s in evaluation.summary if s.split == "test").skill)


def test_wrong_collections_are_one_sentence(world) -> None:
    fitted = world.fitted("phonon", 2)
    with pytest.raises(DataError, match="no split for training seed 2"):
        cross_test([fitted], {"phonon": (world.graphs["phonon"], {0: world.splits["phonon"][0]})}, world.labels)
    with pytest.raises(DataError, match="are not among its 60 graphs"):
        cross_test([fitted], {"random": (world.graphs["phonon"], world.splits["random"])}, world.labels)
    with pytest.raises(DataError, match="at least one model"):
        cross_test([], {}, world.labels)


def test_paper_filter_counts_what_it_removes(world, judged) -> None:
    fitted = [f for f in world.fits if f.seed == 0]
    ranges = {f.name: f.train_range for f in fitted}
    filtered = cross_test(
        fitted, {n: (world.graphs[n], world.splits[n]) for n in world.splits}, world.labels, paper_filter=True
    )
    assert {m.scope for m in filtered.metrics} == {"in_range"}
    assert {m.split for m in filtered.metrics} == {"test"}
    kept = outside = small = 0
    for f in fitted:
        for name in world.splits:
            truth = world.labels.aligned("band_gap_eV", world.splits[name][0].test)
            inside = (truth >= ranges[f.name][0]) & (truth <= ranges[f.name][1])
            outside += (~inside).sum()
            small += (inside & (truth < 0.4)).sum()
            kept += (inside & (truth >= 0.4)).sum()
    assert sum(len(p.truth) for p in filtered.predictions) == kept
    assert (
        f"{outside} with a label outside the training range and {small} with a band gap below" in filtered.warnings[0]
    )


def test_paper_filter_drops_bad_models_by_name_and_small_gaps(world) -> None:
    fitted = world.fitted("phonon", 0)
    values = np.array(world.labels.column("band_gap_eV").values)
    values[world.labels.sample_ids.index(fitted.split.test[0])] = 0.39
    low = replace(fitted, train_range=(0.0, fitted.train_range[1]))
    broken = replace(low, name="bad", scaling=replace(fitted.scaling, shift=fitted.scaling.shift + 3.0))
    collection = {"phonon": (world.graphs["phonon"], fitted.split)}
    filtered = cross_test([low, broken], collection, with_values(world.labels, values), paper_filter=True)
    assert {m.model for m in filtered.metrics} == {fitted.name, MEAN}
    assert {p.model for p in filtered.predictions} == {fitted.name}
    assert any("1 results with R² < -1 are left out: bad on 'phonon'" in w for w in filtered.warnings)
    assert "and 2 with a band gap below 0.4 eV" in filtered.warnings[0]


def test_merge_keeps_each_line_once_and_refuses_contradictions(judged, world) -> None:
    fitted = world.fitted("phonon", 0)
    alone = evaluate(fitted, world.graphs["phonon"], world.labels)
    merged = merge_evaluations([judged, alone])
    assert list(map(repr, merged.metrics)) == list(map(repr, judged.metrics))
    assert repr(merged.summary) == repr(summarise(judged.metrics))
    assert len(merged.predictions) == len(judged.predictions)
    shifted = with_values(world.labels, world.labels.column("band_gap_eV").values + 0.1)
    with pytest.raises(DataError, match="two evaluations disagree"):
        merge_evaluations([judged, evaluate(fitted, world.graphs["phonon"], shifted)])


def test_a_test_label_changes_no_prediction(world, judged) -> None:
    fitted = world.fitted("combined", 0)
    values = np.array(world.labels.column("band_gap_eV").values)
    values[[s in fitted.split.test for s in world.labels.sample_ids]] += 1.0
    changed = evaluate(fitted, world.graphs["combined"], with_values(world.labels, values))
    before = next(p for p in judged.predictions if (p.model, p.tested_on, p.split) == (fitted.name, "combined", "test"))
    after = next(p for p in changed.predictions if p.split == "test")
    assert np.array_equal(before.prediction, after.prediction)
    assert mean_absolute_error(before.truth, after.truth) == pytest.approx(1.0)


def test_progress_is_called_per_model(world) -> None:
    calls = []
    cross_test(world.fits[:2], world.collections, world.labels, progress=lambda *call: calls.append(call))
    assert calls == [("judging models", 1, 2), ("judging models", 2, 2)]
