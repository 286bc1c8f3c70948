"""The table of labels: columns, and every hole and warning in words."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from typing import Any

import numpy as np

from phonograph.labels.failures import PASSING, failure
from phonograph.labels.plan import Work
from phonograph.labels.small_gaps import small_gap_warnings
from phonograph.labels.task import property_unit
from phonograph.labels.versions import UNKNOWN, noted_versions
from phonograph.types import ZERO_GAP_EV, Configurations, LabelColumn, Labeller, LabelResult, Labels, Origin

_EDGES = ("vbm_eV", "cbm_eV")


def table_of(work: Work, sets: Sequence[Configurations], labellers: Sequence[Labeller]) -> Labels:
    """Return the labels of every sample, in the order of the sets."""
    columns = []
    for c, item in enumerate(work.calculations):
        for name in item.provides:
            found = [_result(work, s, c).values.get(name, np.nan) for s in work.sample_structure]
            columns.append(LabelColumn(name=name, unit=property_unit(name), values=np.array(found), engine=item.engine))
    return Labels(
        sample_ids=tuple(work.sample_ids),
        set_names=tuple(work.set_names),
        columns=tuple(columns),
        status=tuple(_status(work, s) for s in work.sample_structure),
        warnings=_warnings(work, columns),
        origin=_origin(work, sets, labellers),
    )


def _results(work: Work, calculation: int) -> Iterator[LabelResult]:
    return (_result(work, structure, calculation) for structure in work.sample_structure)


def _result(work: Work, structure: int, calculation: int) -> LabelResult:
    result = work.results[structure][calculation]
    return result if result is not None else failure("crashed", "no attempt finished")


def _status(work: Work, structure: int) -> str:
    parts = []
    for c, item in enumerate(work.calculations):
        result = _result(work, structure, c)
        if result.failure:
            parts.append(f"{', '.join(item.provides)}: {result.failure}: {result.message}")
    return "failed: " + "; ".join(parts) if parts else "ok"


def _warnings(work: Work, columns: Sequence[LabelColumn]) -> tuple[str, ...]:
    sentences = []
    samples = len(work.sample_ids)
    for c, item in enumerate(work.calculations):
        classes = Counter(result.failure for result in _results(work, c))
        del classes[""]
        if classes:
            counts = ", ".join(f"{times} {kind}" for kind, times in sorted(classes.items()))
            sentences.append(
                f"{sum(classes.values())} of {samples} samples have no {', '.join(item.provides)} from {item.engine} "
                f"({counts}): named holes; {_when_again(classes)}."
            )
        versions = noted_versions(_results(work, c))
        if len(versions) > 1:
            counts = ", ".join(f"{times} of {version}" for version, times in sorted(versions.items()))
            sentences.append(
                f"{', '.join(item.provides)} are of several versions of the program: {counts}; "
                "set version to keep them apart."
            )
    shared = samples - len(work.structures)
    if shared:
        sentences.append(f"{shared} of {samples} samples repeat a structure; each structure was labelled once.")
    if work.damaged:
        sentences.append(f"{work.damaged} stored labels failed their checksum and were computed again.")
    if work.damaged_files:
        sentences.append(
            f"{work.damaged_files} result files of an earlier run were damaged; they are kept as *.damaged beside the "
            "store, and their labels were computed again."
        )
    return (*work.notes, *sentences, *_gap_warnings(columns), *small_gap_warnings(columns, work.calculations))


def _when_again(classes: Mapping[str, int]) -> str:
    """Say when holes of these classes are tried again."""
    passing = sorted(set(classes) & set(PASSING))
    if len(passing) == len(classes):
        return "every run tries them again"
    if not passing:
        return "they are tried again only on request (retry_failed)"
    return f"every run tries {' and '.join(passing)} again, the others are tried only on request (retry_failed)"


def _gap_warnings(columns: Sequence[LabelColumn]) -> Iterator[str]:
    names = [column.name for column in columns]
    for column in columns:
        zero = int((column.values <= ZERO_GAP_EV).sum()) if column.name == "band_gap_eV" else 0
        if zero:
            yield f"{zero} of {len(column.values)} band gaps are zero (≤ {ZERO_GAP_EV:g} eV); they are kept as values."
    edges = [name for name in _EDGES if name in names]
    if edges:
        yield (
            f"{' and '.join(edges)}: raw eigenvalues of one periodic calculation each; their zero of energy is not "
            "shared between cells, so values of different lattices or compositions must not be compared."
        )


def _origin(work: Work, sets: Sequence[Configurations], labellers: Sequence[Labeller]) -> Origin:
    settings = [
        {"labeller": type(labeller).__qualname__, "engine": item.engine, "settings": json.loads(item.settings)}
        for labeller, item in zip(labellers, work.calculations, strict=True)
    ]
    inputs: dict[str, str] = {}
    for configurations in sets:
        keys = b"".join(
            work.structures[s].key
            for s, name in zip(work.sample_structure, work.set_names, strict=True)
            if name == configurations.name
        )
        inputs[configurations.name] = hashlib.sha256(keys).hexdigest()
    versions: dict[str, Any] = {"numpy": metadata.version("numpy")}
    for c, item in enumerate(work.calculations):
        package, _, rest = item.engine.partition(" ")
        number = rest.split(" ")[0].rstrip(";")
        if number[:1].isdigit():
            versions[package] = number
        # What a program of another machine was is known from its outputs, and kept with their labels.
        for program, _, found in (
            name.rpartition(" ") for name in sorted(set(noted_versions(_results(work, c))) - {UNKNOWN})
        ):
            versions[program] = f"{versions[program]}, {found}" if program in versions else found
    return Origin(room="labels", settings={"labellers": settings}, inputs=inputs, versions=versions)
