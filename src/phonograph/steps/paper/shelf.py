"""Finished items of a run, each named by everything that decides it: what is there is not computed again."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from phonograph.atomic import write_text
from phonograph.errors import InputFileError
from phonograph.files.paper import load_item, save_item
from phonograph.plain_json import read_json
from phonograph.run_folder import package_versions
from phonograph.types.paper import PaperItem

FOLDER, RECORD = "paper", "record.json"
CODE = ("steps/paper", "evaluation", "graphs", "types", "files/paper.py", "streams.py")
FIT_CODE = (
    "training",
    "models",
    "explanation",
    "steps/fits.py",
    "steps/fit_jobs.py",
    "steps/learning_curve.py",
    "steps/curve_fits.py",
    "steps/leakage.py",
    "steps/study.py",
    "steps/study_search.py",
    "steps/study_tables.py",
)


def finished_or_made(
    run: Path, key: str, inputs: Any, make: Callable[[], PaperItem], *, with_fits: bool
) -> tuple[PaperItem, float, bool]:
    """Return an item, the seconds that it took, and whether it was found finished.

    Parameters
    ----------
    run
        Folder of the run; the item lies in ``paper/<key>``.
    key
        Name of the item.
    inputs
        Plain values that decide it, besides code and versions.
    make
        Computes it.
    with_fits
        Whether it also depends on the code that trains.
    """
    folder = run / FOLDER / key
    name = _name(key, inputs, (*CODE, *FIT_CODE) if with_fits else CODE)
    record = _record(folder)
    if record.get("name") == name:
        try:
            return load_item(folder), float(record.get("seconds", 0.0)), True
        except InputFileError:
            pass  # damaged: made again
    started = time.perf_counter()
    item = make()
    # As it is kept, so that the page of a second call says the same.
    seconds = round(time.perf_counter() - started, 2)
    save_item(item, folder)
    write_text(folder / RECORD, json.dumps({"name": name, "seconds": seconds}, indent=1) + "\n")
    return item, seconds, False


def _record(folder: Path) -> dict[str, Any]:
    try:
        found = read_json((folder / RECORD).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _name(key: str, inputs: Any, code: Sequence[str]) -> str:
    parts = [key, inputs, _code(tuple(code)), dict(package_versions())]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


@cache
def _code(places: tuple[str, ...]) -> str:
    digest, root = hashlib.sha256(), Path(__file__).parents[2]
    for name in places:
        place = root / name
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            digest.update(path.read_bytes())
    return digest.hexdigest()
