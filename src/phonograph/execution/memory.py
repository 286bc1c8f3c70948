"""How many tasks fit on this machine at a time: cores and memory, with the limits of a container or a batch job."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_GB = 1e9
_UNLIMITED = 1 << 60
"""Version 1 of control groups writes about 2^63 where there is no limit."""


def usable_cores() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def usable_memory_GB(root: Path = Path("/")) -> float | None:
    """Return the memory that is free for this process, GB (10⁹ bytes), or None where the system does not say.

    The least of Linux's ``MemAvailable`` and, for the control group of this process and each above it (versions 1 and
    2), its limit less what it uses, pages of files that can be given up not counted.
    """
    free = [*_available(root), *_version_2(root), *_version_1(root)]
    return min(free) / _GB if free else None


def fitting(cores: int, memory_GB: float, root: Path = Path("/"), *, what: str = "task") -> tuple[int, str]:
    """Return how many tasks of this size run at a time, and a sentence where memory, not cores, decides.

    N = max(1, min(cores // cores per task, free memory // memory per task)).
    """
    by_cores = max(1, usable_cores() // max(1, cores))
    free = usable_memory_GB(root)
    if free is None or memory_GB <= 0 or free // memory_GB >= by_cores:
        return by_cores, ""
    fit = max(1, int(free // memory_GB))
    return fit, (
        f"memory decides how many {what}s run at a time: {fit} instead of {by_cores}, because {free:.1f} GB are free "
        f"and a {what} takes {memory_GB:g} GB"
    )


def _available(root: Path) -> Iterator[float]:
    for line in _text(root / "proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        if name == "MemAvailable" and rest.split()[:1]:
            yield float(rest.split()[0]) * 1024


def _version_2(root: Path) -> Iterator[float]:
    for folder in _groups(root, "", root / "sys/fs/cgroup"):
        yield from _free(folder, "memory.max", "memory.current", "inactive_file")


def _version_1(root: Path) -> Iterator[float]:
    for folder in _groups(root, "memory", root / "sys/fs/cgroup/memory"):
        yield from _free(folder, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def _groups(root: Path, controller: str, top: Path) -> Iterator[Path]:
    """Yield the folder of this process's control group and those above it, as far as they are visible here."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controller in controllers.split(","):
            place = top / path.lstrip("/")
            while top in place.parents:
                yield place
                place = place.parent
            yield top


def _free(folder: Path, limit: str, usage: str, reclaimable: str) -> Iterator[float]:
    most, used = _text(folder / limit).strip(), _text(folder / usage).strip()
    if not most.isdigit() or not used.isdigit() or int(most) >= _UNLIMITED:
        return
    lines = _text(folder / "memory.stat").splitlines()
    spare = [line.split()[1] for line in lines if line.startswith(f"{reclaimable} ")]
    yield max(0.0, int(most) - int(used) + float(spare[0] if spare else 0))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
