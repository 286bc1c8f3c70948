"""What went wrong, in one sentence a user can act on."""

from __future__ import annotations


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
