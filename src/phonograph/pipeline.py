"""The method, executable: crystal → phonons → configurations → labels → graphs → networks → property(T).

Read :func:`run` and :data:`STEPS` top to bottom.  Only this module, its ``steps``, ``config`` and ``cli`` compose
rooms; each step loads what is finished and makes what is not.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from phonograph.config import Config
from phonograph.config_files import read_config
from phonograph.datasets import no_dataset
from phonograph.errors import ConfigurationError
from phonograph.labels import Export, LabelStatus
from phonograph.labels.plan import classes_to_retry
from phonograph.run_folder import STAGES, RoomNotFinished, RunFolder, open_run
from phonograph.steps.context import Context, RunResult, Say
from phonograph.steps.crystals import sampling_step
from phonograph.steps.labels import export, labels_step, noise, status
from phonograph.steps.learning_curve import learning_curve_step
from phonograph.steps.networks import evaluation_step, explanation_step, graphs_step, training_step
from phonograph.steps.paper.remake import check_items, remake
from phonograph.steps.phonons import phonons_step
from phonograph.steps.reporting import finish
from phonograph.steps.study import study_step
from phonograph.steps.temperature import thermal_step
from phonograph.types import HyperparameterStudy, LearningCurve, NoiseFloor, Progress
from phonograph.types.paper import PaperRun

Result = TypeVar("Result")

STEPS: Mapping[str, Callable[[Context, RunResult], RunResult]] = {
    "phonons": phonons_step,  # force constants, harmonic and renormalised
    "sampling": sampling_step,  # displaced supercells
    "labels": labels_step,  # properties from electronic structure
    "graphs": graphs_step,  # every periodic image within the cutoff
    "training": training_step,  # networks on each collection and seed
    "evaluation": evaluation_step,  # own, complementary and combined tests
    "explanation": explanation_step,  # which bonds matter
    "thermal": thermal_step,  # property(T)
}
"""Room → step, in the order in which data flows."""

UPTO = (*STAGES, "report", "all")


def run(
    config: Config | str | Path,
    output: str | Path | None = None,
    *,
    upto: str = "all",
    overrides: Sequence[str] = (),
    retry_failed: Sequence[str] = (),
    progress: Progress | None = None,
    say: Say | None = None,
) -> RunResult:
    """Run the method, from a crystal to an explained property at temperature.

    Parameters
    ----------
    config
        A configuration, or the path of a TOML file.
    output
        Folder of the run; ``runs/<name of the file>`` where not given.
    upto
        ``"all"``; the name of a room: it and whatever earlier rooms are unfinished; or ``"report"``: the report
        from the rooms that are finished, computing nothing.
    overrides
        ``key=value`` strings, only with a path.
    retry_failed
        Failure classes of labels that are computed again (:data:`phonograph.labels.FAILURES`).
    progress, say
        Called with progress and with sentences for the user.

    Returns
    -------
    RunResult
        Values of all rooms run or loaded.

    Raises
    ------
    UserError
        One sentence; nothing computed before is lost, and the same call continues where it was.
    """
    if not isinstance(config, Config):
        output = output or Path("runs") / Path(config).stem
        config = read_config(config, overrides)
    if output is None:
        raise ConfigurationError("run needs an output folder; pass run(config, 'runs/NAME')")
    _check_possible(config, upto)
    classes_to_retry(retry_failed)
    with open_run(Path(output), only_load=upto == "report") as folder:
        context = Context(
            config=config,
            folder=folder,
            progress=progress or (lambda what, done, total: None),
            say=say or (lambda text: None),
            workers=config.workers or os.cpu_count() or 1,
            retry_classes=tuple(retry_failed),
        )
        return finish(context, _run_rooms(context, upto), with_report=upto in ("all", "report"))


def study(
    config: Config | str | Path,
    output: str | Path,
    *,
    overrides: Sequence[str] = (),
    retry_failed: bool = False,
    progress: Progress | None = None,
    say: Say | None = None,
) -> HyperparameterStudy:
    """Compare many networks as ``[study]`` says, with whatever rooms up to the graphs are not finished.

    Parameters
    ----------
    config, output, overrides, progress, say
        As for :func:`run`.
    retry_failed
        Train again the networks that failed in an earlier run.

    Returns
    -------
    HyperparameterStudy
        Also written to ``study/`` of the run, and shown in its report.

    Raises
    ------
    UserError
        One sentence; finished networks are kept, and the same call continues where it was.
    """
    if not isinstance(config, Config):
        config = read_config(config, overrides)
    if config.study is None:
        raise ConfigurationError("there is no study in this configuration; add a [study] table, which may be empty")
    return _beside_the_rooms(study_step, config, output, retry_failed, progress, say)


def learning_curve(
    config: Config | str | Path,
    output: str | Path,
    *,
    overrides: Sequence[str] = (),
    retry_failed: bool = False,
    progress: Progress | None = None,
    say: Say | None = None,
) -> LearningCurve:
    """Measure errors against the number of labels, with whatever rooms up to the graphs are not finished.

    Parameters
    ----------
    config, output, overrides, progress, say
        As for :func:`run`; ``[learning_curve]`` says which sizes, seeds and tests.
    retry_failed
        Train again the networks that failed in an earlier run.

    Returns
    -------
    LearningCurve
        Also written to ``learning_curve/`` of the run, and shown in its report.

    Raises
    ------
    UserError
        One sentence; finished fits are kept, and the same call continues where it was.
    """
    if not isinstance(config, Config):
        config = read_config(config, overrides)
    return _beside_the_rooms(learning_curve_step, config, output, retry_failed, progress, say)


def paper(
    config: Config | str | Path,
    output: str | Path,
    *,
    items: Sequence[str] = (),
    overrides: Sequence[str] = (),
    retry_failed: bool = False,
    progress: Progress | None = None,
    say: Say | None = None,
) -> PaperRun:
    """Remake the paper's figures and tables on the sets of a configuration, each beside what is published.

    Parameters
    ----------
    config, output, overrides, progress, say
        As for :func:`run`; ``[paper]`` says which set plays which part.
    retry_failed
        Train again the networks that failed in an earlier run.
    items
        What to remake, such as ``["s9", "fig4"]``; those of ``paper.items``, or everything, where none is named.

    Returns
    -------
    PaperRun
        Also written to ``paper.html``, ``paper.json`` and ``paper.csv`` of the run; items lie in ``paper/``.

    Raises
    ------
    UserError
        One sentence; finished items and networks are kept, and the same call continues where it was.
    """
    if not isinstance(config, Config):
        config = read_config(config, overrides)
    _check_possible(config, "labels")
    check_items(items)
    with open_run(Path(output)) as folder:
        context = replace(_standing(config, folder, progress, say), retry_failed=retry_failed)
        return remake(context, _run_rooms(context, "labels"), items)


def _beside_the_rooms(
    step: Callable[[Context, RunResult], Result],
    config: Config,
    output: str | Path,
    retry_failed: bool,
    progress: Progress | None,
    say: Say | None,
) -> Result:
    """Run the rooms up to the graphs and then ``step``, and write the report anew."""
    _check_possible(config, "graphs")
    with open_run(Path(output)) as folder:
        context = replace(_standing(config, folder, progress, say), retry_failed=retry_failed)
        result = _run_rooms(context, "graphs")
        found = step(context, result)
        finish(context, result, with_report=False)
    run(config, output, upto="report", progress=progress, say=say)
    return found


def _run_rooms(context: Context, upto: str) -> RunResult:
    result = RunResult(folder=context.folder.path)
    for stage, step in STEPS.items():
        try:
            result = step(context, result)
        except RoomNotFinished:
            if not context.folder.seconds:
                raise ConfigurationError(
                    f"no room is finished in {context.folder.path}; make it with: phonograph run CONFIG.toml -o RUN"
                ) from None
            context.say(f"{stage}: not finished; the report ends before it")
            break
        if stage in context.folder.seconds:
            context.say(f"{stage}: {_how(context, stage)}")
        if stage == upto:
            break
    return result


def _how(context: Context, stage: str) -> str:
    """Say how a room's result came about."""
    folder = context.folder
    if stage in folder.outdated:
        return "shown as it is, although its configuration, inputs or code have changed since"
    return "unchanged" if folder.reused[stage] else f"done in {folder.seconds[stage]:.1f} s"


def _check_possible(config: Config, upto: str) -> None:
    """Refuse what cannot work before anything is computed or written."""
    if upto not in UPTO:
        raise ConfigurationError(f"upto must be one of {', '.join(UPTO)}; got {upto!r}")
    if not config.crystal.file and not config.data.sets:
        raise ConfigurationError("give a structure ([crystal] file = …) or displaced structures ([[data.sets]])")
    if not config.set_names and upto not in ("phonons", "report"):
        raise ConfigurationError("there is nothing to sample: add a [[sampling.sets]] or a [[data.sets]] table")
    if config.sampling.sets and not config.crystal.file:
        raise ConfigurationError("[[sampling.sets]] need a structure; add [crystal] file = …")
    if config.sampling.sets and not config.labels.engines and upto not in ("phonons", "sampling", "report"):
        raise ConfigurationError('sampled sets need labels; add [[labels.engines]] with engine = "chgnet" or "tblite"')
    provided = [name for engine in config.labels.engines for name in engine.provides]
    missing = [name for name in config.training.targets if name not in provided]
    if missing and provided and not config.data.sets and upto not in ("phonons", "sampling", "labels", "report"):
        raise ConfigurationError(
            f"training.targets: no engine gives {missing[0]!r}; they give {', '.join(provided)}: set training.targets"
        )
    for item in config.data.sets:
        if item.format == "dataset" and not item.comes_with_phonograph() and not config.path(item.structures).is_dir():
            raise ConfigurationError(no_dataset(item.structures, f" for the set {item.name!r}"))
    names = [config.crystal.file, config.phonons.file]
    names += [config.phonons.trajectory.file] if config.phonons.trajectory is not None else []
    names += [name for item in config.data.sets for name in item.files()]
    for name in filter(None, names):
        if not config.path(name).exists():
            raise ConfigurationError(f"{config.path(name)} not found; paths start at the configuration's folder")


def label_progress(config: Config, output: str | Path) -> LabelStatus:
    """Return how far the labels of a run are; also while another process computes them.

    Raises
    ------
    UserError
        Configurations that are not drawn yet, or a store that cannot be read.
    """
    return status(_standing(config, RunFolder(Path(output), only_load=True)))


def label_noise(
    config: Config,
    output: str | Path,
    *,
    n: int = 10,
    copies: int = 2,
    progress: Progress | None = None,
    say: Say | None = None,
) -> NoiseFloor:
    """Measure the irreducible error of a run's labels and keep it beside them; see :func:`phonograph.measure_noise`.

    Raises
    ------
    UserError
        Configurations that are not drawn yet, or what labelling raises.
    """
    with open_run(Path(output), only_load=True) as folder:
        return noise(_standing(config, folder, progress, say), n, copies)


def export_labels(run: str | Path, path: str | Path, **chosen: Sequence[str]) -> Export:
    """Write the labels that a run computed to a file of another format; also while another process computes more.

    Parameters
    ----------
    run
        Folder of the run; its ``config.resolved.toml`` names sets, engines and store.
    path, chosen
        As for :func:`phonograph.export_store`.

    Raises
    ------
    UserError
        No such run, configurations that are not drawn yet, or what exporting raises.
    """
    config = read_config(Path(run) / "config.resolved.toml")
    return export(_standing(config, RunFolder(Path(run), only_load=True)), Path(path), **chosen)


def _standing(config: Config, folder: RunFolder, progress: Progress | None = None, say: Say | None = None) -> Context:
    """Return the context of a run that is looked at, not continued."""
    return Context(
        config=config,
        folder=folder,
        progress=progress or (lambda what, done, total: None),
        say=say or (lambda text: None),
        workers=config.workers or os.cpu_count() or 1,
    )
