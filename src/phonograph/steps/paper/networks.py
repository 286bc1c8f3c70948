"""Networks that the items need, trained as jobs of one table of the run: what is trained is not trained again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from phonograph.config import Config
from phonograph.errors import DataError
from phonograph.explanation import explain
from phonograph.files.bundle import load_bundle
from phonograph.graphs import build_graphs
from phonograph.models import GraphConvNet
from phonograph.models.spec import describe
from phonograph.report.words import number
from phonograph.steps.context import Context, RunResult
from phonograph.steps.fit_jobs import VALIDATION
from phonograph.steps.fits import RETRY, FitOutcome, FitRequest, run_fits
from phonograph.steps.paper.data import PHONON, RANDOM, PaperData
from phonograph.steps.paper.judged import Judged
from phonograph.steps.paper.once import once
from phonograph.steps.paper.published import WORDS
from phonograph.steps.paper.shelf import FOLDER
from phonograph.training import FitJob, TrainingSettings, combine_splits, make_split
from phonograph.training.grid import point, text_of
from phonograph.types import (
    Configurations,
    Crystal,
    CurvePredictions,
    CurveRow,
    Explanation,
    GraphSet,
    HyperparameterStudy,
    Labels,
    Split,
    join_graphs,
)

GAP = "band_gap_eV"
TABLE = "fits.sqlite"
PARTS = ("train", VALIDATION, "test")
Network = tuple[GraphConvNet, TrainingSettings]


class Networks:
    """Trains and judges networks on the phonon and the random set together.

    Parameters
    ----------
    context, result
        The run, with graphs.
    data
        Sets by part.
    chosen
        Target → network and settings.
    """

    def __init__(self, context: Context, result: RunResult, data: PaperData, chosen: Mapping[str, Network]) -> None:
        assert result.graphs is not None
        assert result.labels is not None
        self.context, self.data, self.chosen = context, data, chosen
        self.graphs, self.labels = result.graphs, result.labels
        self.groups = dict(zip(self.graphs.sample_ids, self.graphs.groups, strict=True))

    @property
    def config(self) -> Config:
        """The configuration of the run."""
        return self.context.config

    def split(self, seed: int) -> Split:
        """Return the split of both sets together; each is split alone, so that both are in every part.

        After a study it is the outer split of the study for every seed.
        """
        sets = [self.data.set_of(role) for role in (PHONON, RANDOM)]
        fractions = self.config.training.fractions
        if self.config.paper.networks == "study":
            # The study has seen everything but the test part of this split.
            seed = self.config.training.seeds[0]
        return combine_splits([make_split(item.ids, item.group, fractions, seed) for item in sets])

    def request(self, target: str, seed: int, split: Split, *, keep: bool = False, rate: float = 0.0) -> FitRequest:
        """Return one network; ``rate`` replaces the learning rate."""
        model, settings = self.chosen[target]
        settings = replace(settings, learning_rate=rate) if rate else settings
        name = f"paper-{target}-{describe(model)}-lr{settings.learning_rate:g}-seed{seed}"
        job = FitJob(
            name=name,
            split=split,
            model=model,
            target=target,
            settings=settings,
            trained_on=self.config.paper.combined,
            seed=seed,
        )
        return FitRequest(job=job, tests={"train": split.train, "test": split.test}, keep=keep)

    def train(self, requests: Sequence[FitRequest], graphs: GraphSet | None = None) -> tuple[FitOutcome, ...]:
        """Train what is not trained yet; raises :class:`DataError` naming the first that failed."""
        outcomes = run_fits(
            graphs if graphs is not None else self.graphs,
            self.labels,
            requests,
            self.context.folder.path / FOLDER / TABLE,
            workers=self.context.workers,
            retry_failed=self.context.retry_failed,
            what="networks",
            progress=self.context.progress,
            say=self.context.say,
        )
        for outcome in outcomes:
            if outcome.failure:
                raise DataError(f"{outcome.name} could not be trained: {outcome.failure}; {RETRY}")
        return outcomes

    @once
    def best(self) -> tuple[tuple[FitRequest, ...], tuple[FitOutcome, ...]]:
        """Networks of Table 1: every target with every seed, each with its own split."""
        requests = tuple(
            self.request(target, seed, self.split(seed), keep=target == GAP)
            for target in self.config.paper.targets
            for seed in self.config.paper.seeds
        )
        return requests, self.train(requests)

    def judged(self) -> Judged:
        """Return the networks of Table 1 with their scores and predictions."""
        rows, predictions = [], []
        for request, outcome in zip(*self.best, strict=True):
            rows += [row for part in PARTS for row in self._rows(request, outcome, part)]
            predictions += [self._predictions(request, outcome, part) for part in PARTS]
        return Judged(rows, predictions, self.groups)

    def split_words(self) -> str:
        """Return what the seeds of Table 1 share."""
        if self.config.paper.networks == "study":
            return "all with the split whose test part the study has not seen"
        return "each with its own split"

    def words(self) -> Mapping[str, str]:
        """Return target → which network it is."""
        return {
            target: f"{describe(model)}, learning rate {settings.learning_rate:g}"
            for target, (model, settings) in self.chosen.items()
        }

    def _rows(self, request: FitRequest, outcome: FitOutcome, part: str) -> list[CurveRow]:
        job, score = request.job, outcome.score(part)
        return [
            CurveRow(
                target=job.target,
                unit="",
                trained_on=job.trained_on,
                tested_on=part,
                size=outcome.n_train + outcome.n_validation,
                seed=job.seed,
                candidate="",
                chosen=1,
                scope="all",
                n=score.n,
                n_train=outcome.n_train,
                n_validation=outcome.n_validation,
                n_available=sum(len(getattr(job.split, name)) for name in PARTS),
                mae=score.mae,
                rmse=score.rmse,
                r2=score.r2,
                pearson_r2=score.pearson_r2,
                naive_mae=float("nan"),
                validation_mae=outcome.score(VALIDATION).mae,
                best_epoch=outcome.best_epoch,
                epochs=outcome.epochs,
                steps=0,
            )
        ]

    def _predictions(self, request: FitRequest, outcome: FitOutcome, part: str) -> CurvePredictions:
        ids, truth, prediction = outcome.predictions(part)
        return CurvePredictions(
            target=request.job.target,
            trained_on=request.job.trained_on,
            tested_on=part,
            size=outcome.n_train + outcome.n_validation,
            seed=request.job.seed,
            candidate="",
            sample_ids=ids,
            truth=truth,
            prediction=prediction,
            train_range=outcome.train_range,
        )

    def over_cutoffs(self) -> dict[float, dict[int, float]]:
        """Return cutoff → seed → validation MAE of the gap; one split, that of the first seed, for all."""
        paper = self.config.paper
        split = self.split(paper.seeds[0])
        found = {}
        for cutoff in paper.cutoffs_A:
            graphs = self.graphs
            if cutoff != self.config.graphs.cutoff_A:
                spec = replace(self.config.graphs, cutoff_A=cutoff)
                sets = [self.data.set_of(role) for role in (PHONON, RANDOM)]
                graphs = join_graphs([build_graphs(item, spec) for item in sets])
            outcomes = self.train([self.request(GAP, seed, split) for seed in paper.seeds], graphs)
            found[cutoff] = {
                seed: outcome.score(VALIDATION).mae for seed, outcome in zip(paper.seeds, outcomes, strict=True)
            }
        return found

    def good_and_poor(self) -> tuple[Explanation, Explanation, list[str]]:
        """Explain the best network of the gap by validation, and the same trained with a far too low learning rate."""
        requests, outcomes = self.best
        gaps = [(r, o) for r, o in zip(requests, outcomes, strict=True) if r.job.target == GAP]
        if not gaps:
            raise DataError("Figure 5 explains the band gap; add band_gap_eV to paper.targets")
        request, good = min(gaps, key=lambda pair: pair[1].score(VALIDATION).mae)
        rate = self.config.paper.poor_learning_rate
        [poor] = self.train([self.request(GAP, request.job.seed, request.job.split, keep=True, rate=rate)])
        told = [
            f"{name} model: {outcome.name}, validation MAE {number(1000 * outcome.score(VALIDATION).mae)} meV, R² "
            f"{number(outcome.score(VALIDATION).r2, 2)}."
            for name, outcome in (("Good", good), ("Poor", poor))
        ]
        return self._explained(good.bundle), self._explained(poor.bundle), told

    def _explained(self, bundle: Path) -> Explanation:
        settings = self.config.explanation
        fitted = load_bundle(bundle)
        test = set(fitted.split.test) | set(self.split(fitted.seed).test)
        places = [place for place, sample in enumerate(self.graphs.sample_ids) if sample in test]
        return explain(
            fitted,
            self.graphs.select(places),
            self._reference(test),
            settings.explainer,
            [self.context.seed("explanation", run) for run in range(settings.runs)],
            n_configurations=settings.configurations,
            progress=self.context.progress,
        )

    def _reference(self, test: set[str]) -> Crystal:
        """Return the undisplaced cell of a tested phonon configuration, of Ag3SBr where there is one."""
        item = self.data.set_of(PHONON)
        order = sorted(
            (place for place, sample in enumerate(item.ids) if sample in test),
            key=lambda place: (not (item.fraction[place] == 0.0), place),
        )
        if not order:
            raise DataError(f"no configuration of {item.name!r} is in the test part; label more of them")
        return at_rest(item, order[0])


def at_rest(item: Configurations, place: int) -> Crystal:
    """Return one configuration with its atoms on their sites."""
    crystal = item.crystal(place)
    atoms = slice(int(item.offsets[place]), int(item.offsets[place + 1]))
    shift = item.displacements_A[atoms]
    if not np.isfinite(shift).all():
        raise DataError(f"the equilibrium positions of set {item.name!r} are not known; displacements are needed here")
    return replace(crystal, positions_A=crystal.positions_A - shift)


def configured(config: Config, labels: Labels) -> dict[str, Network]:
    """Return the configured network for every target of the paper that has labels."""
    there = {column.name for column in labels.columns}
    missing = [WORDS.get(target, target) for target in config.paper.targets if target not in there]
    if missing:
        raise DataError(f"there are no labels of the {missing[0]}; name the targets that there are in paper.targets")
    return {target: (config.training.model, config.training.settings) for target in config.paper.targets}


def winners(config: Config, study: HyperparameterStudy, chosen: Mapping[str, Network]) -> dict[str, Network]:
    """Return ``chosen`` with the winner of the study for every target.

    Raises
    ------
    DataError
        A target that the study does not hold, or a study of other samples than the phonon and the random set.
    """
    assert config.study is not None
    collection = config.collections[study.collection]
    if set(collection) != {config.paper.phonon, config.paper.random}:
        raise DataError(
            f"paper.networks = 'study' needs a study of the sets {config.paper.phonon!r} and {config.paper.random!r} "
            f"together; study.collection is {study.collection!r} ({', '.join(collection)})"
        )
    found = {}
    for target, (model, settings) in chosen.items():
        if target not in study.units:
            raise DataError(
                f"the study does not hold {target}; add it to study.targets, or leave it out of paper.targets"
            )
        texts = dict(zip(study.axes, study.winner(target).values, strict=True))
        known = {axis: {text_of(value): value for value in values} for axis, values in config.study.axes.items()}
        if any(axis not in known or text not in known[axis] for axis, text in texts.items()):
            raise DataError("paper.networks = 'study' needs a study of a grid (strategy 'full' or 'halving')")
        winner = point({axis: known[axis][text] for axis, text in texts.items()}, model, settings)
        found[target] = (winner.model, winner.settings)
    return found
