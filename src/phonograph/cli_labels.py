"""Commands about labels besides ``phonograph label``: noise, export, dataset; and the options of ``label``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from phonograph.errors import ConfigurationError


def add_label_options(parser: argparse.ArgumentParser) -> None:
    """Add what only ``phonograph label`` has."""
    parser.add_argument("--status", action="store_true", help="say how far the labels are, and compute nothing")
    parser.add_argument(
        "--retry-failed",
        nargs="*",
        type=_failure_class,
        metavar="CLASS",
        help="compute stored failures again: all, or those of these classes (timeout, not_converged, crashed, …)",
    )


def _failure_class(word: str) -> str:
    """Return ``word``, unless it is the configuration: the option takes every word that follows it."""
    if word.endswith(".toml"):
        raise argparse.ArgumentTypeError(f"{word} is no class of failure; write CONFIG.toml before this option")
    return word


def add_label_commands(commands: Any) -> None:
    """Add ``noise``, ``export`` and ``dataset``."""
    noise = commands.add_parser(
        "noise",
        help="how much of a label is noise",
        description="Label a sample of every set again, turned, moved, reordered and with tighter settings, and say "
        "how far labels of one crystal differ: no model can be better.  Writes 3_labels/noise.json and noise.csv.",
    )
    noise.add_argument("config", type=Path, metavar="CONFIG.toml", help="the configuration")
    noise.add_argument("-o", "--output", type=Path, required=True, metavar="RUN", help="folder of the run")
    noise.add_argument("-n", type=int, default=10, help="configurations of each set (10)")
    noise.add_argument("--copies", type=int, default=2, help="copies of each configuration per cause (2)")
    noise.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override an option")
    noise.add_argument("-q", "--quiet", action="store_true", help="print the result only")
    noise.set_defaults(function=_noise)
    export = commands.add_parser(
        "export",
        help="labels as extended XYZ, CSV, Parquet or ASE database",
        description="Write the labels of a run's sets by its engines, or all of a label store, to a file of another "
        "format.",
    )
    export.add_argument("source", type=Path, metavar="RUN", help="folder of a run, or a labels.sqlite")
    export.add_argument("-o", "--output", type=Path, required=True, help="file: .extxyz, .csv, .parquet or .db")
    export.add_argument("--engine", action="append", default=[], help="only engines whose text contains this")
    export.add_argument("--property", action="append", default=[], help="only this property, such as band_gap_eV")
    export.add_argument("--set", action="append", default=[], dest="sets", help="only structures of this set")
    export.set_defaults(function=_export)
    dataset = commands.add_parser(
        "dataset",
        help="datasets that come with Phonograph",
        description="Without a name: list the datasets.  With one: print its card.",
    )
    dataset.add_argument("name", nargs="?", help="name of a dataset, or a folder that holds one")
    dataset.set_defaults(function=_dataset)


def _noise(options: argparse.Namespace) -> int:
    from phonograph.config_files import read_config
    from phonograph.console import Console
    from phonograph.pipeline import label_noise

    config = read_config(options.config, options.set)
    with Console(quiet=options.quiet) as console:
        found = label_noise(
            config,
            options.output,
            n=options.n,
            copies=options.copies,
            progress=console.progress,
            say=console.say,
        )
    print(found)  # noqa: T201
    return 0


def _export(options: argparse.Namespace) -> int:
    from phonograph.labels import export_store
    from phonograph.pipeline import export_labels

    source: Path = options.source
    chosen = {"engines": options.engine, "properties": options.property, "sets": options.sets}
    if (source / "config.resolved.toml").is_file():
        done = export_labels(source, options.output, **chosen)
    else:
        store = source / "3_labels" / "labels.sqlite" if source.is_dir() else source  # of a run that is not at its end
        if not store.is_file():
            raise ConfigurationError(
                f"no label store at {store}; give the folder of a run whose labels were computed, or a labels.sqlite"
            )
        done = export_store(store, options.output, **chosen)
    print("\n".join([str(done), *(f"note: {warning}" for warning in done.warnings)]))  # noqa: T201
    return 0


def _dataset(options: argparse.Namespace) -> int:
    from phonograph.datasets import dataset_names, load_dataset

    if options.name is not None:
        print(load_dataset(options.name).card)  # noqa: T201
        return 0
    if not dataset_names():
        print("no datasets come with this installation")  # noqa: T201
    for name in dataset_names():
        data = load_dataset(name)
        sets = ", ".join(f"{len(item)} {item.name}" for item in data.sets)
        print(f"{name}: {len(data)} configurations ({sets}); {', '.join(c.name for c in data.labels.columns)}")  # noqa: T201
    return 0
