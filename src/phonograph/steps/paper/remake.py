"""Remake the paper: every item from what the verbs give, cheap ones first, each kept as soon as it is done."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from phonograph.config_paper import ITEMS
from phonograph.datasets import load_dataset
from phonograph.errors import ConfigurationError, DataError, UserError
from phonograph.files.paper import write_paper_tables
from phonograph.files.structures import read_structure
from phonograph.report.paper import write_paper_page
from phonograph.run_folder import file_hash, package_versions
from phonograph.steps.context import Context, RunResult
from phonograph.steps.curve_fits import TABLE as CURVE_TABLE
from phonograph.steps.fits import failures_of
from phonograph.steps.learning_curve import FITS, learning_curve_step
from phonograph.steps.learning_curve import FOLDER as CURVE
from phonograph.steps.networks import graphs_step
from phonograph.steps.paper import bonds, cells, curves, models, study
from phonograph.steps.paper.data import COMBINED, MD, PHONON, RANDOM, PaperData
from phonograph.steps.paper.judged import Judged
from phonograph.steps.paper.networks import Networks, configured, winners
from phonograph.steps.paper.once import once
from phonograph.steps.paper.published import STUDY_FIGURES
from phonograph.steps.paper.rest import energies_above_rest, failed_at_rest
from phonograph.steps.paper.shelf import finished, finished_or_made
from phonograph.steps.study import FOLDER as STUDY
from phonograph.steps.study import TABLE as STUDY_TABLE
from phonograph.steps.study import study_step
from phonograph.tables import to_table
from phonograph.types import HyperparameterStudy, LearningCurve
from phonograph.types.paper import PaperItem, PaperRun

CLAIMED_CUTOFF_A = 5.5


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How one item is made: what it costs in words, which tables of the configuration decide it, and the function."""

    cost: str
    make: Callable[[Makers], PaperItem]
    decided_by: tuple[str, ...] = ()
    with_fits: bool = False


@dataclass(frozen=True, eq=False)
class Makers:
    """What items are made from, each obtained when first asked for."""

    context: Context
    result: RunResult

    @cached_property
    def data(self) -> PaperData:
        """Sets by the part they play, with labels."""
        paper = self.context.config.paper
        assert self.result.labels is not None
        return PaperData(
            roles={PHONON: paper.phonon, RANDOM: paper.random, MD: paper.md},
            sets={item.name: item for item in self.result.sets},
            labels=self.result.labels,
        )

    @cached_property
    def seed(self) -> int:
        """Seed of every resampling."""
        return self.context.seed("paper") % 2**31

    @cached_property
    def with_graphs(self) -> RunResult:
        """Result of the run with room 4."""
        return graphs_step(self.context, self.result)

    @once
    def networks(self) -> Networks:
        """Networks of Table 1 and what is made of them."""
        config = self.context.config
        chosen = configured(config, self.data.labels)
        if config.paper.networks == "study":
            chosen = winners(config, self.study, chosen)
        return Networks(self.context, self.with_graphs, self.data, chosen)

    @once
    def study(self) -> HyperparameterStudy:
        """Study of the run, made where it is not."""
        if self.context.config.study is None:
            raise DataError("there is no study in this configuration; add a [study] table, which may be empty")
        return study_step(self.context, self.with_graphs)

    @once
    def judged(self) -> Judged:
        """Networks of Table 1 with their predictions."""
        return self.networks.judged()

    @once
    def learning_curve(self) -> LearningCurve:
        """Learning curves of the run, measured where they are not."""
        return learning_curve_step(self.context, self.with_graphs)

    @cached_property
    def curves(self) -> curves.Curves:
        """Learning curves by the part that collections play."""
        config = self.context.config
        names = {}
        for role in (PHONON, RANDOM, MD):
            name = self.data.roles[role]
            alone = [key for key, members in config.collections.items() if members == (name,)]
            if name and alone:
                names[role] = alone[0]
        if config.paper.combined in config.collections:
            names[COMBINED] = config.paper.combined
        return curves.Curves(self.learning_curve.rows, names)


def _equilibrium(makers: Makers) -> PaperItem:
    config = makers.context.config
    name = config.paper.crystal or config.crystal.file
    if not name:
        raise DataError("Figure S3 needs the equilibrium structure; add crystal = … to [paper]")
    return cells.pair_distribution(read_structure(config.path(name)))


def _space(makers: Makers) -> PaperItem:
    above, how = energies_above_rest(makers.context, makers.data)
    return cells.configuration_space(makers.data, above, how, makers.seed)


def _bonds(makers: Makers) -> PaperItem:
    good, poor, told = makers.networks.good_and_poor()
    return bonds.edge_importance(good, poor, told, makers.seed)


def _violins(key: str, makers: Makers) -> PaperItem:
    found = makers.study
    target = STUDY_FIGURES[key]
    if target not in found.units:
        raise DataError(f"the study does not hold {target}; add it to study.targets")
    return study.violins(key, found, makers.seed)


_TRAINED = ("training", "graphs", "seed", "study")
_CURVES = (*_TRAINED, "learning_curve")
PLANS: Mapping[str, Plan] = {
    "s3": Plan(cost="a second", make=_equilibrium),
    "s9": Plan(cost="a second", make=lambda makers: cells.gap_and_amplitude(makers.data, makers.seed)),
    "s11": Plan(cost="seconds", make=lambda makers: cells.pair_distance_distributions(makers.data, makers.seed)),
    "s10": Plan(cost="seconds", make=lambda makers: cells.label_distributions(makers.data, makers.seed)),
    "fig3": Plan(cost="a minute or two: CHGNet energies of atoms at rest", make=_space),
    "table1": Plan(
        cost="networks: targets × seeds",
        make=lambda makers: models.best_networks(makers.judged, makers.networks.words(), makers.networks.split_words()),
        decided_by=_TRAINED,
        with_fits=True,
    ),
    "fig2": Plan(
        cost="the networks of Table 1",
        make=lambda makers: models.parity(makers.judged),
        decided_by=_TRAINED,
        with_fits=True,
    ),
    "s2": Plan(
        cost="networks: cutoffs × seeds",
        make=lambda makers: study.cutoffs(makers.networks.over_cutoffs(), CLAIMED_CUTOFF_A),
        decided_by=_TRAINED,
        with_fits=True,
    ),
    "fig5": Plan(
        cost="one network more, and explanations", make=_bonds, decided_by=(*_TRAINED, "explanation"), with_fits=True
    ),
    "fig4": Plan(
        cost="networks: collections × sizes × seeds",
        make=lambda makers: curves.learning_curves(makers.curves),
        decided_by=_CURVES,
        with_fits=True,
    ),
    "table-s1": Plan(
        cost="the networks of Figure 4",
        make=lambda makers: curves.phonon_and_dynamics(makers.curves),
        decided_by=_CURVES,
        with_fits=True,
    ),
    **{
        key: Plan(
            cost="a study of hyperparameters",
            make=partial(_violins, key),
            decided_by=_TRAINED,
            with_fits=True,
        )
        for key in ("s5", "s6", "s7", "s8")
    },
}
"""Item → how it is made."""


def check_items(items: Sequence[str]) -> tuple[str, ...]:
    """Return the items in the order in which they are made; all where none is named.

    Raises
    ------
    ConfigurationError
        An item that is none.
    """
    for name in items:
        if name not in ITEMS:
            raise ConfigurationError(f"unknown item {name!r} of the paper; items are {', '.join(ITEMS)}")
    return tuple(key for key in ITEMS if key in items or not items)


def remake(context: Context, result: RunResult, items: Sequence[str]) -> PaperRun:
    """Make or load every item, write the page and its tables, and return all.

    An item that cannot be made (no molecular dynamics, no study) is named with the reason, and the others go on.  What
    was not asked for, and is finished and unchanged, stays on the page.
    """
    makers = Makers(context, result)
    asked = check_items(items or context.config.paper.items)
    made: dict[str, tuple[PaperItem, float]] = {}
    missing: dict[str, str] = {}
    for key in asked:
        inputs, make = partial(_inputs, makers, key), partial(_told, makers, key)
        anew = context.retry_failed and bool(_failed(makers, key))
        try:
            item, took, found = finished_or_made(
                context.folder.path, key, inputs, make, with_fits=PLANS[key].with_fits, anew=anew
            )
        except UserError as error:
            missing[key] = str(error)
            context.say(f"{key}: not made: {error}")
            continue
        made[key] = (item, took)
        context.say(f"{key}: {'unchanged' if found else f'done in {took:.1f} s'}")
        _written(makers, made, missing, asked)
    if not made:
        raise DataError(f"no item could be made: {'; '.join(f'{key}: {why}' for key, why in missing.items())}")
    run = _written(makers, made, missing, asked)
    if run.kept:
        context.say(f"also on the page, from earlier runs and unchanged since: {', '.join(run.kept)}")
    return run


def _written(
    makers: Makers, made: Mapping[str, tuple[PaperItem, float]], missing: Mapping[str, str], asked: Sequence[str]
) -> PaperRun:
    """Write the page and its tables with what is made and what was finished before; return what stands there."""
    folder = makers.context.folder.path
    run = _collected(makers, made, missing, _kept(makers, asked))
    write_paper_tables(run, folder)
    write_paper_page(run, folder / "paper.html")
    return run


def _kept(makers: Makers, asked: Sequence[str]) -> dict[str, tuple[PaperItem, float]]:
    """Return the items besides those asked for that are finished and unchanged, with their seconds."""
    run = makers.context.folder.path
    others = [key for key in check_items(()) if key not in asked]
    found = {key: finished(run, key, _inputs(makers, key), with_fits=PLANS[key].with_fits) for key in others}
    return {key: item for key, item in found.items() if item is not None}


def _failed(makers: Makers, key: str) -> list[tuple[str, str]]:
    """Return the networks and labels without which an item was made; those of Table 1 it cannot lack."""
    context, plan = makers.context, PLANS[key]
    if key == "fig3":
        return list(failed_at_rest(context))
    tables = []
    if "learning_curve" in plan.decided_by:
        tables.append(context.folder.path / CURVE / FITS / CURVE_TABLE)
    elif plan.with_fits and (key in STUDY_FIGURES or context.config.paper.networks == "study"):
        tables.append(context.folder.path / STUDY / STUDY_TABLE)
    return [failure for table in tables for failure in failures_of(table)]


def _told(makers: Makers, key: str) -> PaperItem:
    makers.context.say(f"{key}: {PLANS[key].cost}")
    return PLANS[key].make(makers)


def _inputs(makers: Makers, key: str) -> dict[str, Any]:
    plan, config, keys = PLANS[key], makers.context.config, makers.context.folder.keys
    tables = {name: to_table(getattr(config, name)) for name in plan.decided_by}
    paper = {name: value for name, value in to_table(config.paper).items() if name != "items"}
    crystal = config.paper.crystal or config.crystal.file
    return {
        "labels": keys.get("labels", ""),
        "sampling": keys.get("sampling", ""),
        "paper": paper,
        "crystal": file_hash(config.path(crystal)) if crystal and config.path(crystal).is_file() else "",
        "collections": to_table(config.collections),
        "seed": makers.seed,
        # What failed and is done again makes another item, whichever command did it.
        "failed": _failed(makers, key),
        **tables,
    }


def _command() -> str:
    """Return what was typed, without its items and retries; where Python called, the call."""
    typed = sys.argv[1:]
    if typed[:1] != ["paper"]:
        return "pg.paper(CONFIG, RUN)"
    if "--items" in typed:
        place = typed.index("--items")
        typed = typed[:place] + typed[place + 2 :]
    typed = [word for word in typed if not word.startswith("--items=") and word != "--retry-failed"]
    return shlex.join(["phonograph", *typed])


def _collected(
    makers: Makers,
    made: Mapping[str, tuple[PaperItem, float]],
    missing: Mapping[str, str],
    kept: Mapping[str, tuple[PaperItem, float]],
) -> PaperRun:
    known = {**kept, **made}
    found = {key: known[key] for key in ITEMS if key in known}
    context = makers.context
    config = context.config
    names = sorted({item.structures for item in config.data.sets if item.format == "dataset"})
    cards = []
    for name in names:
        item = next(entry for entry in config.data.sets if entry.structures == name)
        cards.append(load_dataset(config.structures(item)).card)
    sizes = ", ".join(f"{len(item)} {item.name}" for item in makers.result.sets)
    labels = context.folder.keys.get("labels", "")[:16]
    return PaperRun(
        title=config.title,
        items=tuple(item for item, _ in found.values()),
        kept=tuple(kept),
        data=f"{', '.join(names) or 'own data'} ({sizes})",
        card="\n\n".join(cards),
        command=_command(),
        seconds={key: took for key, (_, took) in found.items()},
        missing=dict(missing),
        provenance=(
            ("labels", labels),
            ("seed", str(config.seed)),
            *((name, version) for name, version in package_versions().items()),
        ),
    )
