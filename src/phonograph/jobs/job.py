"""A job as data, and what came of it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from phonograph.errors import ConfigurationError

DONE = "done"
FAILURES = ("refused", "crashed", "timeout")
"""How a job can fail: its function refused its input in a sentence, raised or killed its process, or took too long."""

WAITING = "waiting"


@dataclass(frozen=True, kw_only=True)
class Job:
    """A function and its arguments.

    Attributes
    ----------
    kind
        ``"module:function"``, a function ``f(parameters: Mapping[str, Any], folder: Path) -> Mapping[str, Any]`` at the
        top level of a module.  It gives plain JSON; what is larger it leaves as files in ``folder``, which is the
        job's own and survives a kill, so that a checkpoint in it lets the next attempt go on.
    parameters
        Plain JSON; with ``kind`` it names the job, so it must hold everything that decides the result (hashes of
        input files, versions) and nothing else (no absolute path).
    cores, memory_GB
        What the job holds while it runs; they do not decide the result.
    work
        How long the job is expected to take next to the others, in any unit; the time left is told by it.
    """

    kind: str
    parameters: Mapping[str, Any]
    cores: int = 1
    memory_GB: float = 1.0
    work: float = 1.0

    def __post_init__(self) -> None:
        module, _, name = self.kind.partition(":")
        if not module or not name.isidentifier():
            raise ConfigurationError(f"a job's kind must be 'module:function'; got {self.kind!r}")
        if self.cores < 1 or not self.memory_GB > 0:
            raise ConfigurationError(
                f"a job needs at least 1 core and some memory; got {self.cores} cores, {self.memory_GB} GB"
            )
        if not 0 < self.work < math.inf:
            raise ConfigurationError(f"the work of a job must be a number above 0; got {self.work!r}")
        object.__setattr__(self, "parameters", MappingProxyType(dict(self.parameters)))
        _ = self.text

    @cached_property
    def text(self) -> str:
        """The parameters as canonical JSON."""
        try:
            return canonical(dict(self.parameters))
        except (TypeError, ValueError) as error:
            raise ConfigurationError(
                f"the parameters of a job must be plain JSON with finite numbers: {error}"
            ) from error

    @cached_property
    def key(self) -> str:
        """SHA-256 of kind and parameters, 64 hexadecimal digits."""
        return hashlib.sha256(canonical({"kind": self.kind, "parameters": self.text}).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True, eq=False)
class JobResult:
    """What came of a job.

    Attributes
    ----------
    key
        Name of the job, :attr:`Job.key`.
    status
        ``"done"``, or one of :data:`FAILURES`.
    result
        What its function returned; empty for a failure.
    message
        Why it failed, one line.
    seconds, cores
        Wall time of the attempt that decided it, and the cores it held; core-seconds are their product.
    attempts
        How often it was started in all, as far as its drivers lived to see it.
    host, ended
        Where and when (UTC).
    folder
        The job's own folder, with the files it left.
    """

    key: str
    status: str
    folder: Path
    result: Mapping[str, Any] = field(default_factory=dict)
    message: str = ""
    seconds: float = 0.0
    cores: int = 1
    attempts: int = 1
    host: str = ""
    ended: str = ""

    @property
    def failed(self) -> bool:
        """Whether there is no result."""
        return self.status != DONE


def canonical(value: Any) -> str:
    """Return JSON with sorted keys and exact floats; NaN and infinity are refused."""
    return json.dumps(value, sort_keys=True, allow_nan=False, separators=(",", ":"))
