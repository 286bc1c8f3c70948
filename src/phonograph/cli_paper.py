"""``phonograph paper``: the paper's figures and tables, remade."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

from phonograph.cli_parser import add_retry_failed
from phonograph.config_paper import ITEMS


def add_paper_command(commands: Any) -> None:
    """Add ``paper``."""
    parser = commands.add_parser(
        "paper",
        help="the paper's figures and tables on your sets, each beside what is published",
        description="Remake the figures and tables of Why Physics Still Matters (2026) on the sets of a configuration: "
        "cheap items first, each kept as soon as it is done.  Writes RUN/paper.html, paper.json and paper.csv; a "
        f"killed command goes on where it was.  Items: {', '.join(ITEMS)}.",
    )
    parser.add_argument("config", type=Path, metavar="CONFIG.toml", help="the configuration")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="RUN", help="folder of the run")
    parser.add_argument("--items", default="", metavar="s9,s10,…", help="only these, with commas")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override, such as paper.seeds=[0,1,2]"
    )
    add_retry_failed(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="print the summary line only")
    parser.set_defaults(function=_paper)


def _paper(options: argparse.Namespace) -> int:
    from phonograph.config_files import read_config
    from phonograph.console import Console
    from phonograph.pipeline import paper

    items = [name.strip().lower() for name in options.items.split(",") if name.strip()]
    config = read_config(options.config, options.set)
    with Console(quiet=options.quiet) as console:
        made = paper(
            config,
            options.output,
            items=items,
            retry_failed=options.retry_failed,
            progress=console.progress,
            say=console.say,
        )
    found = Counter(line.verdict for item in made.items for line in item.comparisons)
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in found.most_common())
    lines = [f"not made: {key}: {why}" for key, why in made.missing.items()]
    earlier = f" ({len(made.kept)} of them from earlier runs)" if made.kept else ""
    lines.append(f"{len(made.items)} items{earlier}; statements: {verdicts}; {options.output / 'paper.html'}")
    print("\n".join(lines))  # noqa: T201
    return 0
