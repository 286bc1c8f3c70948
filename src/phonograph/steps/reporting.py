"""The report, the manifest and the summary line: from results only."""

from __future__ import annotations

import json
import platform
import shlex
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from phonograph.atomic import write_text
from phonograph.citation import works
from phonograph.config_files import relocated, to_toml
from phonograph.files.structures import read_structure
from phonograph.report import ReportMaterial, write_report
from phonograph.run_folder import RECORD, STAGES, code_hash, file_hash, package_versions
from phonograph.sampling import failed_checks
from phonograph.steps.context import Context, RunResult
from phonograph.steps.labels import noise_of
from phonograph.steps.learning_curve import learning_curve_of
from phonograph.steps.study import study_of


def finish(context: Context, result: RunResult, *, with_report: bool) -> RunResult:
    """Write ``config.resolved.toml``, ``manifest.json`` and, where asked, ``report.html``; add the summary line.

    Written last, the first two describe what the folder holds: a mistake that stops a run, and a report of rooms
    that another configuration made, leave those of the run before.
    """
    path = context.folder.path
    manifest = _manifest(context, result)
    config_toml = to_toml(relocated(context.config, path))
    if not context.folder.outdated:
        write_text(path / "config.resolved.toml", config_toml)
        write_text(path / "manifest.json", json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
    if with_report:
        write_report(_material(context, result, manifest, config_toml), path / "report.html")
        result = replace(result, report=path / "report.html")
    else:
        # Without a report the warnings would only be counted.
        for room, sentence in all_warnings(result):
            context.say(f"warning ({room}): {sentence}")
    return replace(result, summary=_summary(context, result))


def _material(context: Context, result: RunResult, manifest: dict[str, Any], config_toml: str) -> ReportMaterial:
    config = context.config
    crystal = read_structure(config.path(config.crystal.file)) if config.crystal.file else None
    curve = learning_curve_of(context)
    study = study_of(context)
    told = [("learning curves", sentence) for sentence in curve.warnings] if curve is not None else []
    told += [("study", sentence) for sentence in study.warnings] if study is not None else []
    return ReportMaterial(
        title=config.title,
        crystal=crystal,
        phonons=result.phonons,
        sets=result.sets,
        certificates=result.certificates,
        labels=result.labels,
        hyperparameters=study,
        fits=result.fits,
        evaluation=result.evaluation,
        explanations=(result.explanation,) if result.explanation else (),
        curve=result.curve,
        target=config.training.targets[0],
        noise=noise_of(context),
        learning_curve=curve,
        warnings=(*all_warnings(result), *told, *_outdated(context)),
        limits=_limits(context) if result.curve is not None else (),
        manifest=manifest,
        config_toml=config_toml,
        citations=works(_cited(context)),
    )


def all_warnings(result: RunResult) -> Iterator[tuple[str, str]]:
    """Yield (room, sentence) of every distinct warning raised in the run; those about sets name them."""
    of_sets: dict[str, list[str]] = {}
    for item in result.sets:
        for sentence in dict.fromkeys(item.warnings):
            of_sets.setdefault(sentence, []).append(item.name)
    told = [("phonons", sentence) for sentence in (result.phonons.warnings if result.phonons else ())]
    told += [("sampling", f"{', '.join(names)}: {sentence}") for sentence, names in of_sets.items()]
    told += [("sampling", sentence) for item in result.certificates for sentence in failed_checks(item)]
    sources: list[tuple[str, Any]] = [("labels", result.labels), ("graphs", result.graphs)]
    sources += [("training", result.leakage), *(("training", item) for item in result.fits)]
    sources += [("evaluation", result.evaluation)]
    sources += [("explanation", result.explanation), ("thermal", result.curve)]
    told += [(room, sentence) for room, value in sources if value is not None for sentence in value.warnings]
    yield from dict.fromkeys(told)


def _outdated(context: Context) -> list[tuple[str, str]]:
    text = "this room was made with another configuration, other inputs or other code than the present ones"
    return [(room, text) for room in context.folder.outdated]


def _limits(context: Context) -> tuple[str, ...]:
    """Return what the configuration itself leaves out, for the report's honest box."""
    config = context.config
    limits = []
    if config.thermal.force_constants == "fixed" and config.phonons.renormalisation is not None:
        asked = getattr(config.phonons.renormalisation, "temperature_K", None)
        at = f"at {asked:g} K" if asked is not None else "at the temperature of the trajectory"
        limits.append(
            f"The curve uses the force constants renormalised {at} at every temperature; "
            'set thermal.force_constants = "renormalised" to renormalise at each.'
        )
    return tuple(limits)


def _cited(context: Context) -> set[str]:
    config = context.config
    keys = {"ase", "graphconv", "torch", "gnnexplainer", "3dmol"}
    if config.crystal.file:
        keys |= {"phonopy", config.phonons.forces.engine}
    if config.phonons.renormalisation is not None:
        keys |= {"symfc", config.phonons.route}
    keys |= {item.sampler_name for item in config.sampling.sets}
    return keys | {engine.engine.split()[0].lower() for engine in config.labels.engines}


def _manifest(context: Context, result: RunResult) -> dict[str, Any]:
    folder = context.folder
    files = {
        str(path.relative_to(folder.path)): file_hash(path)
        for stage in STAGES
        for path in sorted((folder.path / f"{STAGES.index(stage) + 1}_{stage}").glob("*"))
        if path.is_file() and path.name != RECORD and path.suffix in (".csv", ".yaml", ".extxyz", ".json")
    }
    return {
        "title": context.config.title,
        "command": shlex.join(["phonograph", *sys.argv[1:]]) if sys.argv else "phonograph",
        "versions": dict(package_versions()),
        "code": code_hash(),
        "machine": {"system": platform.platform(), "processor": platform.machine(), "workers": context.workers},
        "seeds": {"root": context.config.seed, "training": list(context.config.training.seeds)},
        "timings_s": {stage: round(folder.seconds[stage], 2) for stage in STAGES if stage in folder.seconds},
        "reused": {stage: folder.reused[stage] for stage in STAGES if stage in folder.reused},
        "keys": {stage: folder.keys[stage] for stage in STAGES if stage in folder.keys},
        "hashes": files,
        "warnings": [{"room": room, "warning": sentence} for room, sentence in all_warnings(result)],
    }


def _summary(context: Context, result: RunResult) -> str:
    seconds = sum(context.folder.seconds[s] for s, reused in context.folder.reused.items() if not reused)
    done = [stage for stage, reused in context.folder.reused.items() if not reused]
    what = f"{', '.join(done)} in {seconds:.0f} s" if done else "nothing had changed"
    where = result.report or context.folder.path
    warned = sum(1 for _ in all_warnings(result))
    return f"{what}; {warned} warning{'' if warned == 1 else 's'}; {'report' if result.report else 'results'}: {where}"
