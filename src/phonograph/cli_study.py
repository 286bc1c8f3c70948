"""``phonograph study``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from phonograph.cli_parser import add_retry_failed


def add_study(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "study",
        help="many networks compared: a grid of hyperparameters, ranked, and what matters among them",
        description="Train every point of [study] with several seeds (whatever rooms up to the graphs are not finished "
        "are run first), rank them on validation parts, judge the winner on the test part, and write RUN/study: "
        "study.csv, trials.csv, effects.csv, shares.csv, final.csv, and a section of the report.  Restartable at any "
        "point.",
    )
    parser.add_argument("config", type=Path, metavar="CONFIG.toml", help="the configuration")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="RUN", help="folder of the run")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help='override, such as study.strategy="halving"'
    )
    add_retry_failed(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="print the summary line only")
    parser.set_defaults(function=_study)


def _study(options: argparse.Namespace) -> int:
    from phonograph.config_files import read_config
    from phonograph.console import Console
    from phonograph.pipeline import study

    config = read_config(options.config, options.set)
    with Console(quiet=options.quiet) as console:
        found = study(
            config,
            options.output,
            retry_failed=options.retry_failed,
            progress=console.progress,
            say=console.say,
        )
    for target, unit in found.units.items():
        first = found.winner(target)
        chosen = ", ".join(f"{name} {value}" for name, value in zip(found.axes, first.values, strict=True))
        print(f"{target}: {chosen}; validation MAE {first.mae:.4g} {unit}")  # noqa: T201
        for verdict in found.verdicts:
            if verdict.target == target:
                print(f"{target}: {verdict.words}")  # noqa: T201
    for warning in found.warnings:
        print(f"note: {warning}")  # noqa: T201
    points = len(found.cells)
    print(  # noqa: T201
        f"{points} points, {len(found.trials)} networks, {found.core_seconds / 3600.0:.3g} core-hours of training; "
        f"tables: {options.output / 'study'}; report: {options.output / 'report.html'}"
    )
    return 0
