"""The command line: parse → load → call → save → one summary line.  Every command is one public function."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from phonograph.cli_audit import add_audit
from phonograph.cli_curves import add_curve_commands
from phonograph.cli_forces import add_force_commands
from phonograph.cli_labels import add_label_commands, add_label_options
from phonograph.cli_paper import add_paper_command
from phonograph.cli_parser import Parser
from phonograph.cli_predict import add_predict
from phonograph.cli_study import add_study
from phonograph.cli_tensorboard import add_tensorboard
from phonograph.errors import ConfigurationError, UserError

ROOM_COMMANDS = {
    "phonons": "phonons",
    "sample": "sampling",
    "label": "labels",
    "graphs": "graphs",
    "train": "training",
    "evaluate": "evaluation",
    "explain": "explanation",
    "thermal": "thermal",
}
"""Command → the room it runs (with whatever earlier rooms are missing)."""

_HELP = {
    "phonons": "force constants, harmonic and renormalised at temperature",
    "sample": "displaced supercells",
    "label": "properties from electronic-structure engines",
    "graphs": "radius graphs",
    "train": "networks",
    "evaluate": "metrics and cross-tests",
    "explain": "edge importances",
    "thermal": "the property as a function of temperature",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code: 0 done, 2 user error, 130 interrupted (resumable)."""
    parser = build_parser()
    try:
        options = parser.parse_args(arguments)
        if options.command is None:
            parser.print_help()
            return 0
        command: Callable[[argparse.Namespace], int] = options.function
        code = command(options)
        sys.stdout.flush()
        return code
    except UserError as error:
        print(f"phonograph: {error}", file=sys.stderr)  # noqa: T201
        return 2
    except KeyboardInterrupt:
        print("phonograph: interrupted; run the same command again to continue", file=sys.stderr)  # noqa: T201
        return 130
    except BrokenPipeError:
        if not _nobody_reads():
            raise
        return 0


def _nobody_reads() -> bool:
    """Tell whether the reader of the standard output has gone (``| head``), and drop what it left unread."""
    try:
        print(flush=True)  # noqa: T201
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = Parser(
        prog="phonograph",
        description="From a relaxed crystal to a trustworthy, explained model of its properties at temperature.",
    )
    parser.add_argument("--version", action="version", version=f"phonograph {_version()}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    _add_run(commands, "run", "all eight rooms and the report; only what changed is computed again", "all")
    for number, (name, room) in enumerate(ROOM_COMMANDS.items(), start=1):
        _add_run(commands, name, f"room {number}: {_HELP[name]}", room)
    add_predict(commands)
    _add_run(commands, "report", "report.html from what the run folder holds", "report")
    init = commands.add_parser(
        "init",
        help="write a commented configuration for a structure file",
        description="Write a commented configuration, every option with its help; an existing file is kept.",
    )
    init.add_argument(
        "structure", type=Path, metavar="STRUCTURE", help="POSCAR, CONTCAR, .vasp, .cif, .extxyz or phonopy.yaml"
    )
    init.add_argument("-o", "--output", type=Path, default=Path("phonograph.toml"), help="file to write")
    init.set_defaults(function=_init)
    add_force_commands(commands)
    add_audit(commands)
    add_label_commands(commands)
    add_curve_commands(commands)
    add_paper_command(commands)
    add_study(commands)
    add_tensorboard(commands)
    commands.add_parser("doctor", help="which engines are here, and what to install").set_defaults(function=_doctor)
    commands.add_parser("cite", help="what to cite").set_defaults(function=_cite)
    return parser


def _add_run(commands: Any, name: str, text: str, upto: str) -> None:
    more = " (and whatever earlier rooms are not finished)" if upto in ROOM_COMMANDS.values() else ""
    parser = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}{more}.")
    parser.add_argument("config", type=Path, metavar="CONFIG.toml", help="the configuration")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="RUN", help="folder of the run")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override, for example sampling.n=200"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="print the summary line only")
    if name == "label":
        add_label_options(parser)
    parser.set_defaults(function=_run, upto=upto)


def _run(options: argparse.Namespace) -> int:
    from phonograph.config_files import read_config
    from phonograph.console import Console
    from phonograph.pipeline import label_progress, run

    retry = getattr(options, "retry_failed", None)
    status = getattr(options, "status", False)
    if status and retry is not None:
        raise ConfigurationError("label --status computes nothing, --retry-failed computes again; give one of the two")
    config = read_config(options.config, options.set)
    if status:
        text = str(label_progress(config, options.output))
        print(text or "no engine computes labels here: every set brought its own")  # noqa: T201
        return 0
    with Console(quiet=options.quiet) as console:
        result = run(
            config,
            options.output,
            upto=options.upto,
            retry_failed=_classes(retry),
            progress=console.progress,
            say=console.say,
        )
    print(result.summary)  # noqa: T201
    return 0


def _classes(retry: Sequence[str] | None) -> tuple[str, ...]:
    """Return the failure classes of ``--retry-failed``: those given, all where none is, none without the option."""
    from phonograph.labels import FAILURES

    return () if retry is None else tuple(retry) or FAILURES


def _init(options: argparse.Namespace) -> int:
    from phonograph.template import write_template

    if options.output.exists():
        raise ConfigurationError(f"{options.output} exists and is kept; choose another name with -o")
    write_template(options.structure, options.output)
    print(f"wrote {options.output}; next: phonograph run {options.output} -o runs/{options.output.stem}")  # noqa: T201
    return 0


def _end_with_the_reader() -> None:
    """Let a closed pipe (`phonograph doctor | head`) end a command that only prints.

    Not for runs: there the same signal would come from the pipe of a worker that died, and end the run.
    """
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)


def _doctor(options: argparse.Namespace) -> int:
    from phonograph.doctor import as_text, examine

    _end_with_the_reader()
    findings = examine()
    print(as_text(findings))  # noqa: T201
    return 2 if any(finding.required and not finding.found for finding in findings) else 0


def _cite(options: argparse.Namespace) -> int:
    from phonograph.citation import works

    _end_with_the_reader()
    print("\n".join(works()))  # noqa: T201
    return 0


def _version() -> str:
    from phonograph import __version__

    return __version__


if __name__ == "__main__":
    sys.exit(main())
