"""What runs on a node of the cluster: a keeper, and the process in which it lets tasks be done.

The keeper is called by the block's worker.  It gives tasks to a process of its own and outlives whatever happens to
that process: it knows how it died and when its time is up, so that a task which kills its process costs the block
nothing.  Text goes in and text comes out, on both sides.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from phonograph import errors
from phonograph.execution import dispatch, orphans, process

STARTUP_S = 300.0
"""Time in which an engine must have been loaded, s."""

_HIDDEN = ("SLURM_", "PMI_", "PMIX_", "SBATCH_", "SRUN_")
_kept: list[_Process] = []
"""State of this worker process: the process that does its tasks."""


def run(task: str, limit_s: float, folders: str) -> str:
    """Let one task be computed; return JSON that says how it ended, never a result.

    Parameters
    ----------
    task
        A task's text; see :mod:`phonograph.execution.dispatch`.
    limit_s
        Time after which its process is killed, s, not counting the loading of the engine.
    folders
        Folders from which the driver imports modules besides its installation, as in ``PYTHONPATH``.

    Returns
    -------
    str
        ``{"died": …, "timed_out": …, "error": …, "message": …}``; all empty for a task that has ended by itself.
    """
    if _kept and not _kept[0].alive():
        _kept.pop().end()
    if not _kept:
        _kept.append(_Process(folders))
    told = _kept[0].ask(task, limit_s)
    if told.get("died"):
        _kept.pop().end()
    return json.dumps({"died": "", "timed_out": False, "error": "", "message": "", **told})


class _Process:
    """A process that does tasks, seen from its keeper."""

    def __init__(self, folders: str) -> None:
        self._mark = orphans.new_mark("LABEL")
        self._cleanup = contextlib.ExitStack()
        scratch = self._cleanup.enter_context(orphans.scratch(self._mark))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "phonograph.execution.cluster_worker", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_environment(os.environ, folders) | {self._mark[0]: self._mark[1], "TMPDIR": scratch},
            process_group=0,
            bufsize=0,
        )

    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, task: str, limit_s: float) -> dict[str, Any]:
        """Return what the process answers, or how it died."""
        began = time.monotonic()
        until = began + limit_s + STARTUP_S
        writer = self._process.stdin
        assert writer is not None
        try:
            _write(writer.fileno(), task.encode() + b"\n")
            answer = self._answer(until)
        except BrokenPipeError:
            answer = b""
        if answer is None:
            return {"died": "stopped, its time was up", "timed_out": True}
        if answer:
            return dict(json.loads(answer))
        self._process.wait()
        return {"died": describe_exit(self._process.returncode), "seconds": time.monotonic() - began}

    def _answer(self, until: float) -> bytes | None:
        """Return one line; empty where the process is gone, None where the time is up."""
        reader = self._process.stdout
        assert reader is not None
        line = b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([reader], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                return None
            part = os.read(reader.fileno(), 65536)
            if not part:
                return b""
            line += part
        return line

    def end(self) -> None:
        """Kill the process and whatever it has started, and delete their temporary files."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        orphans.kill_marked(self._mark)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._cleanup.close()


def import_folders() -> str:
    """Return where this process imports modules from besides its installation, as in ``PYTHONPATH``."""
    own = tuple(os.path.realpath(prefix) + os.sep for prefix in (sys.prefix, sys.base_prefix))
    paths = [os.path.realpath(path) for path in sys.path if path and Path(path).is_dir()]
    return os.pathsep.join(dict.fromkeys(path for path in paths if not path.startswith(own)))


def describe_exit(code: int) -> str:
    """Return how a process ended, in a few words."""
    if code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f"killed by {name}" + (", perhaps out of memory" if code == -signal.SIGKILL else "")


def _environment(given: Mapping[str, str], folders: str) -> dict[str, str]:
    """Return the variables of a task's process: one thread, and no sign of the job.

    An MPI started inside a job would take the job's layout (one task per node) for the number of its ranks.
    """
    kept = {name: value for name, value in given.items() if not name.startswith(_HIDDEN)}
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1")
    paths = [path for path in (folders, given.get("PYTHONPATH", "")) if path]
    return {**kept, **threads, **({"PYTHONPATH": os.pathsep.join(paths)} if paths else {})}


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def main(keeper: int) -> None:
    """Do tasks from standard input until it ends; answer each with one line."""
    # Engines print; the line to the keeper is a descriptor that they do not know.
    answers = os.dup(1)
    process.start((), keeper, [])
    while task := sys.stdin.buffer.readline():
        _write(answers, json.dumps(_outcome(task.decode())).encode() + b"\n")


def _outcome(task: str) -> dict[str, Any]:
    try:
        dispatch.run(task)
    except errors.UserError as error:
        return {"error": type(error).__name__, "message": str(error)}
    except Exception:
        return {"error": "bug", "message": traceback.format_exc()}
    return {}


if __name__ == "__main__":
    main(int(sys.argv[1]))
