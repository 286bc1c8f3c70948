"""What a benchmark keeps of a run: one JSON file in benchmarks/results, with the machine and the versions."""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def machine(*packages: str) -> dict[str, Any]:
    """Return the processor, how many of them, Python, and the versions of ``packages``."""
    listed = Path("/proc/cpuinfo")
    lines = listed.read_text().splitlines() if listed.exists() else []
    name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    versions = {package: version(package) for package in packages}
    return {"processor": name, "processors": os.cpu_count(), "python": platform.python_version(), **versions}


def keep(path: Path, found: dict[str, Any], *packages: str) -> None:
    """Write ``found`` with the command and the machine to ``path``; a run that stops later has kept this much."""
    command = shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"command": command, "machine": machine(*packages), **found}, indent=1) + "\n")
