"""TOML files ↔ :class:`phonograph.config.Config`: reading, overriding, and writing out what was resolved."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from phonograph.config import SAMPLERS, Config, SamplingConfig, SetConfig
from phonograph.config_labels import LABELLERS, LabelsConfig, with_files
from phonograph.config_modes import with_mode
from phonograph.config_phonons import ROUTES, PhononsConfig
from phonograph.config_study import parse_study
from phonograph.errors import ConfigurationError, InputFileError
from phonograph.files.structures import read_structure
from phonograph.labels.engines.by_files import FileEngine
from phonograph.sampling import SnapshotSampler, Substitution
from phonograph.tables import convert, from_table, refuse_unknown, to_table

LARGEST_CONFIG_BYTES = 1_000_000


def read_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a TOML file and apply ``key=value`` overrides such as ``sampling.n=200``.

    Raises
    ------
    ConfigurationError
        One sentence naming the key, what was expected and what was got.
    InputFileError
        A file that is missing, empty or not TOML.
    """
    source = Path(path)
    if source.is_dir():
        raise InputFileError(f"configuration {source} is a folder; expected a TOML file")
    if not source.is_file():
        raise InputFileError(f"configuration {source} not found; write one with: phonograph init STRUCTURE -o {source}")
    if source.stat().st_size > LARGEST_CONFIG_BYTES:
        raise InputFileError(f"configuration {source} is larger than {LARGEST_CONFIG_BYTES} bytes; is it a TOML file?")
    try:
        table = tomllib.loads(source.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputFileError(f"configuration {source} is not valid TOML: {error}") from error
    if not table:
        raise InputFileError(f"configuration {source} is empty; write one with: phonograph init STRUCTURE -o {source}")
    for override in overrides:
        apply_override(table, override)
    return parse_config(table, source.absolute().parent)


def apply_override(table: dict[str, Any], override: str) -> None:
    """Set ``a.b.c=value`` in ``table``; the value is TOML, or plain text where it is not."""
    key, equals, text = override.partition("=")
    names = key.strip().split(".")
    if not equals or not all(names):
        raise ConfigurationError(f"--set takes key=value, for example sampling.n=200; got {override!r}")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    place: Any = table
    for name in names[:-1]:
        if isinstance(place, list):
            place = _list_entry(place, name, override)
        else:
            place = place.setdefault(name, {})
        if not isinstance(place, (dict, list)):
            raise ConfigurationError(f"--set {override!r}: {name!r} is not a table")
    if isinstance(place, list):
        raise ConfigurationError(f"--set {override!r}: name the list entry, for example sampling.sets.phonon.n=50")
    place[names[-1]] = value


def _list_entry(entries: list[Any], name: str, override: str) -> Any:
    """Find an entry of an array of tables by its position or its name."""
    for place, entry in enumerate(entries):
        if isinstance(entry, dict) and name in (str(place), entry.get("name"), entry.get("engine")):
            return entry
    raise ConfigurationError(f"--set {override!r}: the list has no entry {name!r}")


def parse_config(table: Mapping[str, Any], folder: Path) -> Config:
    """Build a :class:`Config` from the parsed TOML table; relative paths start at ``folder``."""
    left_out = ("phonons", "sampling", "labels", "study")
    plain = {key: value for key, value in with_mode(table).items() if key not in left_out}
    if "temperature_K" in _table(_table(table, "thermal"), "sampler"):
        raise ConfigurationError(
            "thermal.sampler.temperature_K would have no effect; the temperatures are thermal.temperatures_K"
        )
    # Made first: names of sampled and of brought sets refer to each other, so they are checked together.
    sampling = _parse_sampling(_table(table, "sampling"), folder)
    labels = _parse_labels(_table(table, "labels"))
    phonons = _parse_phonons(_table(table, "phonons"))
    study = {"study": parse_study(_table(table, "study"))} if "study" in table else {}
    return from_table(Config, plain, "", phonons=phonons, sampling=sampling, labels=labels, folder=folder, **study)


def _parse_phonons(table: Mapping[str, Any]) -> PhononsConfig:
    """Make the settings of the route that ``renormalisation.route`` names, which is the self-consistent one if none."""
    if "renormalisation" not in table:
        return from_table(PhononsConfig, table, "phonons")
    where = "phonons.renormalisation"
    entry = {"route": "self-consistent", **_table(table, "renormalisation")}
    name = _plugin_name(entry, "route", ROUTES, where)
    options = {key: value for key, value in entry.items() if key != "route"}
    for key in options:
        _refuse_of_other_routes(key, name, where)
    route = from_table(ROUTES[name], options, where)
    plain = {key: value for key, value in table.items() if key != "renormalisation"}
    return from_table(PhononsConfig, plain, "phonons", renormalisation=route)


def _refuse_of_other_routes(key: str, route: str, where: str) -> None:
    """Raise for an option that ``route`` does not have, naming the routes that do."""
    names = {name: [field.name for field in fields(cls)] for name, cls in ROUTES.items()}
    others = [name for name, known in names.items() if key in known]
    if key not in names[route] and others:
        raise ConfigurationError(
            f"[{where}] {key} is an option of route = {' and '.join(map(repr, others))}, not of {route!r}, whose "
            f"options are {', '.join(sorted(names[route]))}; leave it out"
        )


def _table(table: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = table.get(name, {})
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{name} must be a table; got {value!r}")
    return value


def _parse_sampling(table: Mapping[str, Any], folder: Path) -> SamplingConfig:
    refuse = ("n", "sets")
    for key in table:
        refuse_unknown(key, refuse, "sampling")
    n = convert(table.get("n", SamplingConfig().n), int, "sampling.n")
    default = SamplingConfig(n=n)
    entries = table.get("sets", [])
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise ConfigurationError("sampling.sets must be an array of tables, written [[sampling.sets]]")
    return replace(default, sets=tuple(_parse_set(entry, place, n, folder) for place, entry in enumerate(entries)))


def _parse_set(entry: Mapping[str, Any], place: int, n: int, folder: Path) -> SetConfig:
    where = f"sampling.sets[{place}]"
    if "name" not in entry:
        raise ConfigurationError(f"{where}.name is required: the name of the set, for example 'phonon'")
    sampler_name = _plugin_name(entry, "sampler", SAMPLERS, where)
    own = {k: v for k, v in entry.items() if k not in ("name", "n", "sampler", "composition")}
    sampler = from_table(SAMPLERS[sampler_name], own, where)
    composition = None
    if "composition" in entry:
        composition = from_table(Substitution, _table(entry, "composition"), f"{where}.composition")
        composition = _with_end_member(composition, folder)
    size = convert(entry.get("n", n), int, f"{where}.n")
    if size < 1:
        raise ConfigurationError(f"{where}.n must be at least 1; got {size}")
    name = convert(entry["name"], str, f"{where}.name")
    return SetConfig(name=name, n=size, sampler=sampler, sampler_name=sampler_name, composition=composition)


def _with_end_member(composition: Substitution, folder: Path) -> Substitution:
    if not composition.end_member_file:
        return composition
    return replace(composition, end_member=read_structure(folder / composition.end_member_file))


def _plugin_name(entry: Mapping[str, Any], key: str, known: Mapping[str, type[Any]], where: str) -> str:
    name = entry.get(key)
    if name is None:
        raise ConfigurationError(f"{where}.{key} is required: one of {', '.join(known)}")
    if name not in known:
        raise ConfigurationError(f"{where}.{key} must be one of {', '.join(known)}; got {name!r}")
    return str(name)


def _parse_labels(table: Mapping[str, Any]) -> LabelsConfig:
    entries = table.get("engines", [])
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise ConfigurationError("labels.engines must be an array of tables, written [[labels.engines]]")
    engines = []
    for place, entry in enumerate(entries):
        where = f"labels.engines[{place}]"
        name = _plugin_name(entry, "engine", LABELLERS, where)
        options = {key: value for key, value in entry.items() if key != "engine"}
        if issubclass(LABELLERS[name], FileEngine) and not options.get("command"):
            options.setdefault("folder", name)  # what waits for files needs a place in the run to wait in
        engines.append(from_table(LABELLERS[name], options, where))
    plain = from_table(LabelsConfig, {k: v for k, v in table.items() if k != "engines"}, "labels")
    return replace(plain, engines=tuple(engines))


def relocated(config: Config, folder: Path) -> Config:
    """Return ``config`` with every file named relative to ``folder``, so that its TOML text can be run from there."""

    def moved(name: str) -> str:
        return os.path.relpath(config.path(name), folder.absolute()) if name else ""

    def moved_set(item: SetConfig) -> SetConfig:
        if item.composition is not None:
            composition = replace(item.composition, end_member_file=moved(item.composition.end_member_file))
            item = replace(item, composition=composition)
        if isinstance(item.sampler, SnapshotSampler):
            item = replace(item, sampler=replace(item.sampler, file=moved(item.sampler.file)))
        return item

    sets = [moved_set(item) for item in config.sampling.sets]
    brought = [
        replace(
            item,
            structures=item.structures if item.comes_with_phonograph() else moved(item.structures),
            labels=moved(item.labels),
            equilibrium=moved(item.equilibrium),
        )
        for item in config.data.sets
    ]
    return replace(
        config,
        crystal=replace(config.crystal, file=moved(config.crystal.file)),
        phonons=replace(
            config.phonons,
            file=moved(config.phonons.file),
            trajectory=replace(config.phonons.trajectory, file=moved(config.phonons.trajectory.file))
            if config.phonons.trajectory is not None
            else None,
        ),
        sampling=replace(config.sampling, sets=tuple(sets)),
        labels=replace(
            config.labels,
            store=moved(config.labels.store),
            engines=tuple(with_files(engine, moved) for engine in config.labels.engines),
            executor=replace(config.labels.executor, folder=moved(config.labels.executor.folder))
            if config.labels.executor is not None
            else None,
        ),
        data=replace(config.data, sets=tuple(brought)),
        folder=folder,
    )


def plain_phonons(config: Config) -> dict[str, Any]:
    """Return ``[phonons]`` as plain values, the route by its name."""
    table: dict[str, Any] = to_table(config.phonons)
    if config.phonons.renormalisation is not None:
        table["renormalisation"] = {"route": config.phonons.route, **table["renormalisation"]}
    return table


def to_toml(config: Config) -> str:
    """Return the resolved configuration as TOML, every default written out."""
    import tomli_w

    table = to_table(config)
    table["phonons"] = plain_phonons(config)
    del table["thermal"]["sampler"]["temperature_K"]
    table["sampling"]["sets"] = [
        {
            "name": item.name,
            "n": item.n,
            "sampler": item.sampler_name,
            **to_table(item.sampler),
            **({"composition": to_table(item.composition)} if item.composition else {}),
        }
        for item in config.sampling.sets
    ]
    names = {cls: name for name, cls in LABELLERS.items()}
    table["labels"]["engines"] = [
        {"engine": names.get(type(engine), type(engine).__name__), **to_table(engine)}
        for engine in config.labels.engines
    ]
    return tomli_w.dumps(table)
