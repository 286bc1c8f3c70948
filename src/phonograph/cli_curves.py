"""``phonograph learning-curve``: errors against the number of labels."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from phonograph.cli_parser import add_retry_failed


def add_curve_commands(commands: Any) -> None:
    """Add ``learning-curve``."""
    parser = commands.add_parser(
        "learning-curve",
        help="errors against the number of labels, with tests of every difference",
        description="Train on nested subsets of every collection with many seeds, test on every set, fit power laws, "
        "and say which differences may be claimed.  Rooms 1–4 are run where they are not finished.  Writes "
        "RUN/learning_curve and the report; a killed command goes on where it was.",
    )
    parser.add_argument("config", type=Path, metavar="CONFIG.toml", help="the configuration")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="RUN", help="folder of the run")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override, such as learning_curve.sizes=[50]",
    )
    add_retry_failed(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="print what may be claimed only")
    parser.set_defaults(function=_learning_curve)


def _learning_curve(options: argparse.Namespace) -> int:
    from phonograph.config_files import read_config
    from phonograph.console import Console
    from phonograph.pipeline import learning_curve
    from phonograph.types import NO_CLAIM

    config = read_config(options.config, options.set)
    with Console(quiet=options.quiet) as console:
        curve = learning_curve(
            config,
            options.output,
            retry_failed=options.retry_failed,
            progress=console.progress,
            say=console.say,
        )
    claimed = [line for line in curve.verdicts if NO_CLAIM not in line]
    lines = [*claimed, *(f"note: {warning}" for warning in curve.warnings)]
    if len(claimed) < len(curve.verdicts):
        lines.append(f"in {len(curve.verdicts) - len(claimed)} comparisons {NO_CLAIM}: differences.csv")
    print("\n".join([*lines, f"learning curves: {options.output / 'learning_curve'}"]))  # noqa: T201
    return 0
