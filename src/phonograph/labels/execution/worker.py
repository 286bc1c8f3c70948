"""One label, whatever its engine does: checked before, checked after, timed, and every exception a named failure."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from phonograph.errors import MissingEngineError, UserError, describe_exception
from phonograph.labels.failures import checked, failure, refuse
from phonograph.types import Crystal, Labeller, LabelResult

KILLED = "a program of the engine was killed, perhaps out of memory"
"""How the message of a label begins whose program somebody else killed: it is tried again as it is."""


class ProgramKilled(Exception):
    """An external program was killed by SIGKILL, and not by us: the system (out of memory), the batch queue, a user."""


def label_safely(labeller: Labeller, crystal: Crystal, arrays: Sequence[str] = ()) -> LabelResult:
    """Check the structure, label it, check the result, and time it; whatever an engine raises becomes a failure."""
    started = time.perf_counter()
    result = refuse(crystal)
    if result is None:
        try:
            result = checked(labeller.label(crystal), labeller.provides, arrays, len(crystal))
        except MissingEngineError:
            raise  # no label can succeed: this ends the run
        except UserError as error:
            result = failure("bad_input", str(error))
        except ProgramKilled as error:
            result = failure("crashed", f"{KILLED} ({error})")
        except (Exception, SystemExit) as error:
            # An engine that calls sys.exit() must not end the run.
            result = failure("crashed", describe_exception(error))
    return replace(result, seconds=time.perf_counter() - started)
