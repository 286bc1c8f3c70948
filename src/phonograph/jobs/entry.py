"""What a worker does with a job: call its function in the job's own folder, and leave one file that says what came.

The file is text: one line of JSON and the SHA-256 of that line.  It is there whole or not at all, and from then on the
job is finished, whoever dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from phonograph.atomic import write_bytes
from phonograph.errors import InputFileError, UserError, describe_exception, one_line
from phonograph.execution import dispatch
from phonograph.execution.deadline import LONGEST_CLOCK_S, ended_after
from phonograph.jobs.job import DONE, FAILURES, Job, canonical
from phonograph.plain_json import read_json

SCHEMA = "phonograph-job-1"
SUFFIX = ".result"
GRACE_S = 15.0
"""A job that ends this much later than it should has lost its worker's own clock, s."""

_LOCK = ".at-work"
_LOOK_S = 0.05
_TIMED_OUT = b"Timeout ("
"""How :mod:`faulthandler` begins what it writes when a time limit ends the process."""


@dataclass(frozen=True, kw_only=True, eq=False)
class JobTask:
    """A job as a task of an executor; see :class:`phonograph.execution.seam.Task`.

    Attributes
    ----------
    job
        What to do.
    result
        The file to leave.
    folder
        The job's own folder.
    timeout_s
        Time limit, s.
    """

    job: Job
    result: Path
    folder: Path
    timeout_s: float

    @property
    def text(self) -> str:
        """The task as JSON."""
        return canonical(
            {
                "entry": f"{__name__}:run_job",
                "kind": self.job.kind,
                "parameters": self.job.text,
                "key": self.job.key,
                "cores": self.job.cores,
                "result": str(self.result),
                "folder": str(self.folder),
                "timeout_s": min(self.timeout_s, LONGEST_CLOCK_S),
            }
        )

    @property
    def limit_s(self) -> float:
        """Time after which the job has certainly ended, s."""
        return min(self.timeout_s, LONGEST_CLOCK_S) + GRACE_S


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """What one attempt gave."""

    key: str
    status: str
    result: Mapping[str, Any]
    message: str
    seconds: float
    cores: int
    host: str
    ended: str


def preparation(kind: str) -> str:
    """Return the task that imports what jobs of a kind need."""
    return canonical({"entry": f"{__name__}:prepare", "kind": kind})


def prepare(task: str) -> None:
    """Do what :func:`preparation` describes."""
    dispatch.found_entry(json.loads(task)["kind"])


def run_job(task: str) -> None:
    """Do the job that ``task`` describes, unless its result is there, and write its result file.

    Raises
    ------
    InputFileError
        A folder that cannot be written.
    """
    plain = json.loads(task)
    result, folder = Path(plain["result"]), Path(plain["folder"])
    with _alone_in(folder) as descriptor:
        if result.exists():  # another worker was faster
            return
        started = time.perf_counter()
        with ended_after(plain["timeout_s"], descriptor):
            status, given, message = _called(plain["kind"], json.loads(plain["parameters"]), folder)
        outcome = {
            "schema": SCHEMA,
            "key": plain["key"],
            "status": status,
            "result": given,
            "message": message,
            "seconds": time.perf_counter() - started,
            "cores": plain["cores"],
            "host": socket.gethostname(),
            "ended": now(),
        }
        line = canonical(outcome).encode()
        write_bytes(result, line + b"\n" + hashlib.sha256(line).hexdigest().encode() + b"\n")


def _called(kind: str, parameters: Mapping[str, Any], folder: Path) -> tuple[str, Mapping[str, Any], str]:
    """Return status, result and message; whatever the function raises is a named failure."""
    try:
        given = dispatch.found_entry(kind)(parameters, folder)
        canonical(given)
        if not isinstance(given, Mapping):
            raise TypeError(f"a job must return a mapping; {kind} returned {type(given).__name__}")
    except UserError as error:
        return "refused", {}, one_line(str(error))
    except (Exception, SystemExit) as error:
        return "crashed", {}, one_line(describe_exception(error))
    return DONE, given, ""


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[int]:
    """Hold the job's folder: a worker that a dead driver left behind may still be at it.

    The text of the lock file is what the system's clock wrote into it when it ended an earlier attempt.
    """
    lock = folder / _LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise InputFileError(
            f"cannot write {lock}: {error.strerror}; it needs a writable folder with free space (jobs finished so far "
            "are kept; run again to continue)"
        ) from error
    try:
        with contextlib.suppress(OSError):  # some network file systems know no locks
            while not _locked(descriptor):
                time.sleep(_LOOK_S)
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
        yield descriptor
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def timed_out(folder: Path) -> bool:
    """Return whether the last attempt in this folder was ended by its time limit."""
    try:
        return (folder / _LOCK).read_bytes().startswith(_TIMED_OUT)
    except OSError:
        return False


def load_outcome(path: Path) -> Outcome:
    """Read a result file.

    Raises
    ------
    InputFileError
        A file that is damaged in any byte, or is no result file.
    """
    problem = f"result file {path} is damaged or incomplete; delete it, its job is done again"
    try:
        line, _, digest = path.read_bytes().rstrip(b"\n").rpartition(b"\n")
        plain = read_json(line) if hashlib.sha256(line).hexdigest().encode() == digest else None
    except (OSError, ValueError) as error:
        raise InputFileError(problem) from error
    if not isinstance(plain, dict) or plain.get("schema") != SCHEMA or plain.get("status") not in (DONE, *FAILURES):
        raise InputFileError(problem)
    return Outcome(**{name: plain[name] for name in Outcome.__dataclass_fields__})


def now() -> str:
    """Return the time as text, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
