"""Room 8: the property as a function of temperature, from configurations sampled at each temperature."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from phonograph.files.configurations import save_configurations
from phonograph.files.results import load_thermal, save_thermal
from phonograph.graphs import build_graphs
from phonograph.sampling import sample
from phonograph.steps.context import Context, RunResult
from phonograph.steps.labels import label_sets, placed_engines, plain_engines
from phonograph.steps.renormalised import phonons_at_temperature
from phonograph.tables import to_table
from phonograph.thermal import predict_thermal
from phonograph.types import Configurations, Fitted, Labels, Phonons, ThermalCurve


def thermal_step(context: Context, result: RunResult) -> RunResult:
    """Room 8; skipped where there are no phonons to sample from."""
    config = context.config
    if result.phonons is None:
        context.say("thermal: skipped, there are no phonons to sample from ([crystal] file = …)")
        return result

    def make(folder: Path) -> ThermalCurve:
        curve = _curve(context, result, folder)
        save_thermal(curve, folder)
        return curve

    curve = context.folder.room(
        "thermal",
        {
            "thermal": to_table(config.thermal),
            "graphs": to_table(config.graphs),
            "engines": plain_engines(context) if config.thermal.check_labels else [],
            "seed": config.seed,
        },
        after=["phonons", "labels", "training"],
        make=make,
        load=load_thermal,
    )
    return replace(result, curve=curve)


def _curve(context: Context, result: RunResult, folder: Path) -> ThermalCurve:
    """Sample at each temperature, predict with every model of the chosen collection, and check some labels."""
    thermal = context.config.thermal
    assert result.phonons is not None
    sets = {}
    for done, temperature in enumerate(thermal.temperatures_K):
        sets[temperature] = _set_at(context, result.phonons, temperature)
        save_configurations(sets[temperature], folder / f"{sets[temperature].name}.extxyz")
        context.progress("sampling at temperature", done + 1, len(thermal.temperatures_K))
    curve = predict_thermal(
        chosen_fits(context, result.fits),
        {temperature: build_graphs(item, context.config.graphs) for temperature, item in sets.items()},
        statistics=thermal.sampler.statistics,
        labels_by_temperature=_checks(context, sets) if thermal.check_labels else None,
    )
    notes = [f"sampled at {temperature:g} K: {note}" for temperature, item in sets.items() for note in item.warnings]
    return replace(curve, warnings=(*curve.warnings, *notes))


def _set_at(context: Context, phonons: Phonons, temperature_K: float) -> Configurations:
    """Sample room 1's phonons, or those renormalised at ``temperature_K`` where that was asked for."""
    thermal = context.config.thermal
    name = f"thermal-{temperature_K:g}K"
    sampler = replace(thermal.sampler, temperature_K=temperature_K)
    renormalise = partial(phonons_at_temperature, context, phonons)
    reference = renormalise(temperature_K) if thermal.force_constants == "renormalised" else phonons
    made = sample(reference, sampler, thermal.n, context.seed("thermal", name), name=name, renormalise=renormalise)
    # What room 1 has told already need not be told once per temperature.
    own = [f"its renormalised phonons: {note}" for note in reference.warnings if note not in phonons.warnings]
    return replace(made, warnings=(*made.warnings, *own))


def chosen_fits(context: Context, fits: tuple[Fitted, ...]) -> list[Fitted]:
    """Return the models that predict the curve: one target, one collection, every seed."""
    config = context.config
    target, collection = config.chosen(config.thermal)
    return [fitted for fitted in fits if fitted.target == target and fitted.trained_on == collection]


def _checks(context: Context, sets: dict[float, Configurations]) -> dict[float, Labels]:
    """Label the first few configurations of each temperature directly, with the engine of the target only."""
    config = context.config
    target, _ = config.chosen(config.thermal)
    engines = [engine for engine in placed_engines(context) if target in engine.provides]
    few = [item.first(config.thermal.check_labels) for item in sets.values()]
    labels = label_sets(context, few, engines)
    return {temperature: labels.of_set(item.name) for temperature, item in sets.items()}
