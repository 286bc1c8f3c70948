"""The verbs of room 6: judge models on their own and on other collections of samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import Any

import numpy as np

from phonograph.errors import DataError
from phonograph.evaluation.audit import count_duplicates, fingerprints, refuse_leaks
from phonograph.evaluation.intervals import Tested, intervals
from phonograph.evaluation.paper import PaperFilter
from phonograph.evaluation.references import FittedReference
from phonograph.evaluation.scoring import SCOPES, score, training_mean, trivial
from phonograph.evaluation.skill import skill_verdicts, skills_over
from phonograph.evaluation.summary import summarise, verdicts
from phonograph.types import (
    Evaluation,
    Fitted,
    FloatArray,
    GraphSet,
    IntArray,
    Labels,
    Metric,
    MetricInterval,
    Origin,
    Predictions,
    Progress,
    Split,
)

Collection = tuple[GraphSet, Split | Mapping[int, Split]]
"""The graphs of a collection and its split: one for all models, or one per training seed."""

Judged = Fitted | FittedReference
"""What can be judged: networks, and the references that they have to beat."""

PARTS = ("train", "validation", "test")


def evaluate(
    fitted: Fitted, graphs: GraphSet, labels: Labels, split: Split | None = None, *, tested_on: str = ""
) -> Evaluation:
    """Judge one model on the train, validation and test part of one collection.

    Parameters
    ----------
    fitted
        The model.
    graphs
        Graphs that hold the samples of ``split`` (in any order, also more).
    labels
        Labels of the samples; holes (NaN) are left out and counted in the warnings.
    split
        Parts to test on; the model's own split where not given.
    tested_on
        Name of the collection; the model's training collection where not given.

    Returns
    -------
    Evaluation
        Per part and scope: n, MAE, RMSE, R², squared Pearson r of the model and of the mean predictor.

    Raises
    ------
    DataError
        A sample of the test (validation) part was used to fit the model, is not among the graphs, or the part
        has no label at all.
    """
    name = tested_on or fitted.trained_on
    split = split or fitted.split
    for part in PARTS:
        _need_labels(fitted, labels, getattr(split, part), part, name)
    return _judge([fitted], {name: (graphs, split)}, labels, parts=PARTS)


def cross_test(
    fits: Sequence[Judged],
    collections: Mapping[str, Collection],
    labels: Labels,
    *,
    own_parts: Sequence[str] = ("train", "validation"),
    paper_filter: bool = False,
    progress: Progress | None = None,
) -> Evaluation:
    """Judge every model on the test part of every collection: own, complementary and combined.

    Parameters
    ----------
    fits
        Trained models of one or several targets, training collections and seeds, and references fitted on their
        splits (:func:`phonograph.evaluation.fit_references`).
    collections
        Name → (graphs, split).  The split is one :class:`~phonograph.types.Split` for all models, or a mapping
        from training seed to split.  The names become ``tested_on``.
    labels
        Labels of all samples; holes (NaN) are left out and counted in the warnings; a part that holds nothing
        else gives lines with n = 0.
    own_parts
        Further parts that a model is judged on in the collection it was trained on.
    paper_filter
        Reproduce the authors' filtered cross-test instead: test labels inside the training range only, band gaps
        below 0.4 eV left out, models with R² < −1 dropped; what was left out is counted in the warnings.
    progress
        Called once per model.

    Returns
    -------
    Evaluation
        Lines for the scopes ``all``, ``in_range`` and ``out_of_range`` of the model's training labels, with counts,
        for each network, reference and the mean predictor; the summary is the mean ± standard deviation over seeds of
        the networks, with 95 % intervals over groups of test samples and over seeds; ``skills`` compares the networks
        with each reference.

    Raises
    ------
    DataError
        A sample used to fit a model would count as its test, a sample has no graph, or no part at all has a label.
    """
    if not fits or not collections:
        raise DataError(
            f"a cross-test needs at least one model and one collection; got {len(fits)} and {len(collections)}"
        )
    samples = tuple(sample for graphs, _ in collections.values() for sample in graphs.sample_ids)
    _need_labels(fits[0], labels, samples, "", ", ".join(collections))
    paper = PaperFilter() if paper_filter else None
    return _judge(fits, collections, labels, own_parts=() if paper else own_parts, paper=paper, progress=progress)


def merge_evaluations(evaluations: Sequence[Evaluation]) -> Evaluation:
    """Join evaluations into one table; lines that occur twice are kept once, the summary is made anew.

    Raises
    ------
    DataError
        Two lines of the same model, part and scope differ.
    """
    metrics: dict[tuple[object, ...], Metric] = {}
    for metric in (m for evaluation in evaluations for m in evaluation.metrics):
        key = (metric.model, *_key(metric), metric.scope)
        if repr(metrics.setdefault(key, metric)) != repr(metric):  # repr: NaN equals NaN
            raise DataError(
                f"two evaluations disagree on {metric.model} trained on {metric.trained_on!r} and tested on "
                f"{metric.tested_on!r} ({metric.split}, {metric.scope}); evaluate with the same labels"
            )
    predictions = {(p.model, *_key(p)): p for evaluation in evaluations for p in evaluation.predictions}
    certain, spread = _joined_intervals(evaluations)
    warnings = list(dict.fromkeys(w for evaluation in evaluations for w in evaluation.warnings))
    if spread:
        warnings.append(
            f"{spread} lines of the joined table have no interval, because their networks were judged in different "
            "evaluations; judge them in one call"
        )
    return Evaluation(
        metrics=tuple(metrics.values()),
        predictions=tuple(predictions.values()),
        summary=summarise(tuple(metrics.values())),
        skills=skills_over(tuple(metrics.values())),
        intervals=certain,
        warnings=tuple(warnings),
        origin=evaluations[0].origin if evaluations else Origin(room="evaluation"),
    )


def _joined_intervals(evaluations: Sequence[Evaluation]) -> tuple[tuple[MetricInterval, ...], int]:
    """Return the intervals of lines that stand in one evaluation only, or are the same in all that have them.

    A line whose networks are spread over evaluations has no interval; the second result counts such lines.
    """
    found: dict[tuple[str, ...], list[MetricInterval]] = {}
    for item in (item for evaluation in evaluations for item in evaluation.intervals):
        key = (item.target, item.trained_on, item.tested_on, item.split, item.scope, item.metric)
        found.setdefault(key, []).append(item)
    same = {key: len({repr(item) for item in items}) == 1 for key, items in found.items()}
    kept = tuple(items[0] for key, items in found.items() if same[key])
    return kept, len({key[:-1] for key in found if not same[key]})


def _key(line: Metric | Predictions) -> tuple[object, ...]:
    return (line.target, line.trained_on, line.tested_on, line.split, line.seed)


@dataclass(kw_only=True)
class _Notes:
    """What was left out or looked wrong, counted while judging."""

    holes: dict[tuple[str, str, str], list[tuple[int, int]]] = field(default_factory=dict)
    duplicates: dict[tuple[str, str], int] = field(default_factory=dict)
    without_baseline: list[str] = field(default_factory=list)
    unknown: dict[tuple[str, str], int] = field(default_factory=dict)

    def told_unknown(self, fitted: FittedReference, collection: Collection, tested_on: str, part: str) -> bool:
        """Return whether a reference cannot predict the whole part; then count what it cannot."""
        samples: tuple[str, ...] = getattr(_split_of(collection, fitted, tested_on), part)
        count = int(np.isnan(fitted.predict(samples)).sum())
        if count:
            place = (fitted.name, tested_on)
            self.unknown[place] = max(count, self.unknown.get(place, 0))
        return count > 0

    def sentences(self) -> Iterator[str]:
        for (target, tested_on, part), counts in self.holes.items():
            missing, total = max(counts)
            more = "up to " if len(set(counts)) > 1 else ""
            yield f"{target}: {more}{missing} of {total} {part} samples of {tested_on!r} have no label and are left out"
        for (trained_on, tested_on), count in self.duplicates.items():
            yield (
                f"up to {count} test samples of {tested_on!r} have the same structure as a sample that the models "
                f"trained on {trained_on!r} were fitted on; their error is not a test error"
            )
        for (reference, tested_on), count in self.unknown.items():
            yield (
                f"{reference} is not judged on {tested_on!r}: undisplaced positions of {count} samples are not known"
            )
        if self.without_baseline:
            yield (
                f"{len(self.without_baseline)} models have no labels of their training samples at hand, so they are "
                f"not compared with the mean predictor (first: {self.without_baseline[0]})"
            )


def _judge(
    fits: Sequence[Judged],
    collections: Mapping[str, Collection],
    labels: Labels,
    *,
    parts: Sequence[str] = ("test",),
    own_parts: Sequence[str] = (),
    paper: PaperFilter | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    notes = _Notes()
    metrics: list[Metric] = []
    predictions: list[Predictions] = []
    tested: list[Tested] = []
    references: dict[tuple[object, ...], list[Predictions]] = {}
    index = _Index.of(collections)
    for done, fitted in enumerate(fits):
        mean = training_mean(fitted, labels)
        if not np.isfinite(mean):
            notes.without_baseline.append(fitted.name)
        for tested_on, collection in collections.items():
            own = own_parts if tested_on == fitted.trained_on else ()
            for part in dict.fromkeys((*own, *parts)):
                if isinstance(fitted, FittedReference) and notes.told_unknown(fitted, collection, tested_on, part):
                    continue
                found = _predict_part(fitted, collection, labels, tested_on, part, index, notes)
                found = paper.narrow(found, fitted.train_range) if paper else found
                lines = score(found, fitted.train_range)
                lines += score(trivial(found, mean), fitted.train_range) if np.isfinite(mean) else ()
                kept = paper.keep(lines) if paper else lines
                metrics += kept
                if any(line.model == fitted.name for line in kept):
                    predictions.append(found)
                    if isinstance(fitted, Fitted):
                        tested.append(_tested(found, fitted, mean, collection, part))
                    else:
                        references.setdefault(_key(found), []).append(found)
        if progress:
            progress("judging models", done + 1, len(fits))
    sentences = (*notes.sentences(), *(paper.sentences() if paper else ()))
    settings = {
        "models": [fitted.name for fitted in fits],
        "collections": list(collections),
        "paper_filter": paper is not None,
    }
    paired = [_beside(item, references.get(_key(item.predictions), ())) for item in tested]
    return _assemble(metrics, predictions, sentences, settings, paired, index.groups)


def _tested(found: Predictions, fitted: Fitted, mean: float, collection: Collection, part: str) -> Tested:
    split = _split_of(collection, fitted, found.tested_on)
    rest = sum(len(getattr(split, other)) for other in PARTS if other != part)
    return Tested(predictions=found, train_range=fitted.train_range, mean=mean, rest=rest)


def _beside(item: Tested, references: Sequence[Predictions]) -> Tested:
    """Return a network's test with what the references of its split predict for the same samples."""
    ids = item.predictions.sample_ids
    return replace(item, references={p.model: p.prediction for p in references if p.sample_ids == ids})


def _assemble(
    metrics: Sequence[Metric],
    predictions: Sequence[Predictions],
    sentences: Sequence[str],
    settings: Mapping[str, Any],
    tested: Sequence[Tested],
    groups: Mapping[str, str],
) -> Evaluation:
    # Models of one seed share their split, and so their mean predictor: its lines are written once.
    unique = tuple({repr(metric): metric for metric in metrics}.values())
    summary, compared = summarise(unique), skills_over(unique)
    scope = "in_range" if settings["paper_filter"] else "all"
    certain = intervals(tested, groups, ["in_range"] if settings["paper_filter"] else SCOPES)
    return Evaluation(
        metrics=unique,
        predictions=tuple(p for p in predictions if p.sample_ids),
        summary=summary,
        skills=compared,
        intervals=certain,
        warnings=(*sentences, *verdicts(summary, scope, certain), *skill_verdicts(compared, scope, certain)),
        origin=Origin(
            room="evaluation", settings=settings, versions={name: version(name) for name in ("numpy", "torch")}
        ),
    )


@dataclass(frozen=True, kw_only=True)
class _Index:
    """Where each sample is, its group and its fingerprint, over all collections."""

    place: Mapping[str, Mapping[str, int]]
    groups: Mapping[str, str]
    fingerprint: Mapping[str, str]

    @classmethod
    def of(cls, collections: Mapping[str, Collection]) -> _Index:
        place: dict[str, dict[str, int]] = {}
        groups: dict[str, str] = {}
        prints: dict[str, str] = {}
        for name, (graphs, _) in collections.items():
            place[name] = {sample: position for position, sample in enumerate(graphs.sample_ids)}
            groups.update(zip(graphs.sample_ids, graphs.groups, strict=True))
            new = [position for sample, position in place[name].items() if sample not in prints]
            prints.update(fingerprints(graphs.select(new)))
        return cls(place=place, groups=groups, fingerprint=prints)


def _predict_part(
    fitted: Judged, collection: Collection, labels: Labels, tested_on: str, part: str, index: _Index, notes: _Notes
) -> Predictions:
    graphs, split = collection[0], _split_of(collection, fitted, tested_on)
    samples: tuple[str, ...] = getattr(split, part)
    refuse_leaks(fitted, samples, part, tested_on, index.groups)
    places = _places(samples, index.place[tested_on], tested_on, part)
    truth = labels.aligned(fitted.target, samples)
    known = np.isfinite(truth)
    if not known.all():
        counts = (int((~known).sum()), len(samples))
        notes.holes.setdefault((fitted.target, tested_on, part), []).append(counts)
    chosen = tuple(sample for sample, has in zip(samples, known, strict=True) if has)
    copies = count_duplicates(fitted, chosen, part, index.fingerprint)
    if copies:
        pair = (fitted.trained_on, tested_on)
        notes.duplicates[pair] = max(copies, notes.duplicates.get(pair, 0))
    return Predictions(
        target=fitted.target,
        unit=fitted.unit,
        model=fitted.name,
        trained_on=fitted.trained_on,
        tested_on=tested_on,
        split=part,
        seed=fitted.seed,
        sample_ids=chosen,
        truth=truth[known],
        prediction=_values(fitted, graphs, places[known], chosen),
    )


def _values(fitted: Judged, graphs: GraphSet, places: IntArray, samples: Sequence[str]) -> FloatArray:
    if isinstance(fitted, FittedReference):
        return fitted.predict(samples)
    from phonograph.models import predict

    return predict(fitted, graphs.select(places)) if len(places) else np.zeros(0)


def _need_labels(fitted: Judged, labels: Labels, samples: Sequence[str], part: str, tested_on: str) -> None:
    if len(samples) and not np.isfinite(labels.aligned(fitted.target, samples)).any():
        what = f"{part} samples" if part else "samples"
        raise DataError(
            f"none of the {len(samples)} {what} of {tested_on!r} has a label {fitted.target!r}; "
            "label them first, or check that the sample ids agree"
        )


def _split_of(collection: Collection, fitted: Judged, tested_on: str) -> Split:
    split = collection[1]
    if isinstance(split, Split):
        return split
    if fitted.seed not in split:
        raise DataError(
            f"collection {tested_on!r} has no split for training seed {fitted.seed} of {fitted.name}; "
            f"it has splits for {', '.join(str(seed) for seed in split) or 'none'}"
        )
    return split[fitted.seed]


def _places(samples: Sequence[str], place: Mapping[str, int], tested_on: str, part: str) -> IntArray:
    missing = [sample for sample in samples if sample not in place]
    if missing:
        raise DataError(
            f"{len(missing)} {part} samples of {tested_on!r} are not among its {len(place)} graphs "
            f"(first: {missing[0]!r}); give the graphs that the split was made from"
        )
    return np.array([place[sample] for sample in samples], dtype=np.int64)
