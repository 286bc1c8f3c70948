"""Jobs for tests: each start is noted in a log, with its process."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from phonograph.errors import DataError


def note(parameters, folder: Path, word: str = "start") -> None:
    with open(os.environ["JOB_TOY_LOG"], "a", encoding="utf-8") as stream:
        stream.write(f"{os.getpid()} {word} {parameters['n']}\n")


def square(parameters, folder):
    note(parameters, folder)
    time.sleep(float(os.environ.get("JOB_TOY_SECONDS", "0")))
    note(parameters, folder, "end")
    return {"square": parameters["n"] ** 2, "text": "Å", "half": parameters["n"] / 2}


def counting(parameters, folder):
    """Ten steps, each kept in the job's folder: a job that goes on where it was."""
    note(parameters, folder)
    kept = folder / "steps.txt"
    for step in range(10):
        done = len(kept.read_text().splitlines()) if kept.exists() else 0
        if step < done:
            continue
        time.sleep(float(os.environ.get("JOB_TOY_SECONDS", "0")) / 10)
        with kept.open("a") as stream:
            stream.write(f"{step}\n")
    return {"n": parameters["n"], "steps": [int(line) for line in kept.read_text().splitlines()]}


def odd(parameters, folder):
    """What can go wrong, by number."""
    note(parameters, folder)
    n = parameters["n"]
    if n == 1:
        raise DataError("one is not\nliked; give two")
    if n == 2:
        raise ValueError("a bug")
    if n == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    if n == 4:
        time.sleep(1000)
    if n == 5:
        return [1, 2]
    if n == 6:
        return {"nan": float("nan")}
    if n == 7:
        raise SystemExit(0)
    if n == 8 and not (folder / "died").exists():
        (folder / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return {"n": n}
