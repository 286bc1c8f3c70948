"""The parser of the command line: every mistake is one sentence that names the command."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from phonograph.errors import ConfigurationError


def add_retry_failed(parser: argparse.ArgumentParser) -> None:
    """Add ``--retry-failed`` to a command that trains networks as jobs."""
    parser.add_argument(
        "--retry-failed",
        action="store_true",
        help="compute stored failures again: the networks that could not be trained in an earlier run",
    )


class Parser(argparse.ArgumentParser):
    """A parser whose mistakes are errors like all others, and which refuses its own unknown options."""

    def error(self, message: str) -> NoReturn:
        """Raise what ``argparse`` would print below a usage."""
        raise ConfigurationError(f"{self._of_command()}{message}; see {self.prog} --help")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse, and refuse what is left over here, where it is known whose options there are."""
        options, left = super().parse_known_args(args, namespace)
        if left:
            self._refuse(next((word for word in left if word.startswith("-")), left[0]))
        return options, left

    def _refuse(self, word: str) -> NoReturn:
        if not word.startswith("-"):
            self.error(f"{word!r} is one argument too many")
        from phonograph.tables import nearest

        name = word.partition("=")[0]
        own = [name for action in self._actions for name in action.option_strings]
        # All names share their dashes, so that those of a mistake have to be more alike than keys.
        hint = nearest(name, own, likeness=0.7)
        raise ConfigurationError(f"{self._of_command()}unknown option {name}; {hint}")

    def _of_command(self) -> str:
        """Return ``"label: "`` for the parser of ``phonograph label``."""
        command = self.prog.partition(" ")[2]
        return f"{command}: " if command else ""
