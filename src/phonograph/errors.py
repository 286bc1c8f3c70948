"""What went wrong, in one sentence a user can act on."""

from __future__ import annotations

import traceback
from pathlib import Path


class UserError(Exception):
    """A mistake in the input or the environment, told in one sentence.

    The sentence says what was wrong, what was expected, what was found and what to do.  The command line
    prints it without a traceback and exits with code 2.  Anything else that escapes is a bug and keeps its
    traceback.
    """


class ConfigurationError(UserError):
    """A configuration that cannot be understood (unknown key, wrong type, impossible value)."""


class InputFileError(UserError):
    """A file that is missing, truncated, hostile or not what its name says."""


class PhysicsError(UserError):
    """A physically impossible request, such as sampling imaginary modes without a policy."""


class DataError(UserError):
    """Data that cannot support the request (too few samples, holes, a constant target, …)."""


class MissingEngineError(UserError):
    """An optional engine that is not installed; the sentence says how to install it."""


class WorkerError(UserError, RuntimeError):
    """A worker process that died (killed, out of memory); what others finished is kept."""


LONGEST_MESSAGE = 300


def one_line(text: str) -> str:
    """Return ``text`` on one line, at most :data:`LONGEST_MESSAGE` characters."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_MESSAGE else line[: LONGEST_MESSAGE - 1] + "…"


def describe_exception(error: BaseException) -> str:
    """Return ``ValueError: text (file.py:12)``: enough to find the place, without machine-dependent paths."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"
