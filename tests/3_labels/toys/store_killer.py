"""Gate R1 in one process: store_killer.py FOLDER KILLS SEED [OLD_STORE].

Forks writers that record labels with all they can hold, kills each at a random moment, and compares what the store
holds with what the writer had acknowledged.  Forking saves the start of Python, so that 60 kills take seconds.
"""

from __future__ import annotations

import json
import os
import random
import select
import shutil
import signal
import sys
import time
from itertools import count
from pathlib import Path

from label_toys import copper
from store_toys import FORCES, PLAIN, attempt, success

from phonograph.labels.store import open_store
from phonograph.labels.task import structure_bytes

KILLS_PER_STORE = 10
CRYSTALS = [structure_bytes(crystal) for crystal in copper(400).crystals()]


def write(path: Path, start: int, pipe: int) -> None:
    """Record labels one after the other, in batches of 1 to 4, and tell each that is on disk."""
    chosen = random.Random(start)
    with open_store(path, "write") as store:
        place = start
        while place < len(CRYSTALS):
            batch = range(place, min(place + chosen.randint(1, 4), len(CRYSTALS)))
            store.record([attempt(CRYSTALS[i], c, success(i, c)) for i in batch for c in (FORCES, PLAIN)])
            os.write(pipe, "".join(f"{i}\n" for i in batch).encode())
            place = batch[-1] + 1
    os._exit(0)


def kill_once(path: Path, start: int, moments: random.Random) -> set[int]:
    """Fork a writer, kill it, and return what it acknowledged."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            write(path, start, writing)
        finally:
            os._exit(1)
    os.close(writing)
    # Every fourth kill hits while the store is opened, made or upgraded, the others while labels are written.
    if moments.random() < 0.25:
        time.sleep(moments.uniform(0.0, 0.05))
    else:
        select.select([reading], [], [], 10.0)
        time.sleep(moments.uniform(0.0, 0.15))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reading, encoding="ascii") as stream:
        told = {int(line) for line in stream.read().splitlines()}
    assert os.waitstatus_to_exitcode(status) in (-signal.SIGKILL, 0), "the writer failed by itself"
    return told


def main(folder: str, kills: str, seed: str, old: str = "") -> None:
    moments, report = random.Random(int(seed)), {"kills": 0, "told": 0, "lost": 0, "unreadable": 0, "slowest_s": 0.0}
    acknowledged: set[int] = set()
    for kill in range(int(kills)):
        path = Path(folder) / f"{kill // KILLS_PER_STORE}.sqlite"
        if kill % KILLS_PER_STORE == 0:
            acknowledged = set()
            if old:
                shutil.copy(old, path)
        told = kill_once(path, next(i for i in count() if i not in acknowledged), moments)
        report["told"] += len(told)
        acknowledged |= told
        started = time.monotonic()
        with open_store(path, "write") as store:
            report["slowest_s"] = max(report["slowest_s"], time.monotonic() - started)
            report["unreadable"] += len(store.problems())
            for i in acknowledged:
                for c in (FORCES, PLAIN):
                    found = store.find(CRYSTALS[i].key, c).result
                    report["lost"] += found is None or found.values != success(i, c).values
            # What was not acknowledged is there as a whole or not at all.
            report["unreadable"] += sum(found.damaged for found in store.find_many([s.key for s in CRYSTALS], FORCES))
        report["kills"] += 1
    print(json.dumps(report))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
