"""What is to be labelled: samples, unique structures, calculations, and which labels are missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from phonograph.errors import ConfigurationError, DataError, InputFileError
from phonograph.labels.failures import FAILURES
from phonograph.labels.store import LabelStore
from phonograph.labels.task import Calculation, StructureBytes, calculation, structure_bytes
from phonograph.types import Configurations, Labeller, LabelResult

Place = tuple[int, int]
"""One label of one call: number of its structure, number of its calculation."""


@dataclass
class Work:
    """Everything one call needs: samples, unique structures, calculations, and results as they come.

    ``results[structure][calculation]``; structures are unique by content and keep the order of first appearance.
    """

    sample_ids: list[str] = field(default_factory=list)
    set_names: list[str] = field(default_factory=list)
    sample_structure: list[int] = field(default_factory=list)
    structures: list[StructureBytes] = field(default_factory=list)
    calculations: list[Calculation] = field(default_factory=list)
    results: list[list[LabelResult | None]] = field(default_factory=list)
    damaged: int = 0
    damaged_files: int = 0
    notes: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """Number of labels."""
        return len(self.structures) * len(self.calculations)

    def structures_of(self, set_name: str) -> list[StructureBytes]:
        """Return the structures of the samples of one set."""
        places = zip(self.sample_structure, self.set_names, strict=True)
        return [self.structures[s] for s, name in places if name == set_name]

    def keep(self, place: Place, result: LabelResult) -> None:
        """Remember a result for the table; its arrays are in the store."""
        structure, number = place
        self.results[structure][number] = replace(result, arrays={})


def planned(sets: Sequence[Configurations], labellers: Sequence[Labeller]) -> Work:
    """Describe the work; raises what :func:`phonograph.labels.label` documents."""
    if not labellers:
        raise ConfigurationError("labelling needs at least one labeller; got none")
    if not sets:
        raise DataError("labelling needs at least one set of configurations; got none")
    work = Work(calculations=[calculation(labeller) for labeller in labellers])
    _check_providers(work.calculations)
    known: dict[bytes, int] = {}
    kinds: set[tuple[str, ...]] = set()
    for configurations in sets:
        work.sample_ids.extend(configurations.ids)
        work.set_names.extend([configurations.name] * len(configurations))
        for crystal in configurations.crystals():
            content = structure_bytes(crystal)
            kinds.add(tuple(sorted(set(crystal.symbols))))
            if content.key not in known:
                known[content.key] = len(work.structures)
                work.structures.append(content)
            work.sample_structure.append(known[content.key])
    if len(set(work.sample_ids)) != len(work.sample_ids):
        raise DataError("sample ids must be unique: give the sets different names")
    _check_elements(labellers, sorted(kinds))
    work.results = [[None] * len(work.calculations) for _ in work.structures]
    return work


def _check_providers(calculations: Sequence[Calculation]) -> None:
    providers = Counter(name for item in calculations for name in item.provides)
    for name, times in providers.items():
        if times > 1:
            engines = " and ".join(c.engine for c in calculations if name in c.provides)
            raise ConfigurationError(f"property {name!r} is provided {times} times, by {engines}; keep one of them")


def _check_elements(labellers: Sequence[Labeller], kinds: Sequence[tuple[str, ...]]) -> None:
    """Raise what a labeller has against the elements of every structure: a mistake in its settings, and no label comes.

    What it has against some of the structures only becomes their holes.
    """
    for labeller in labellers:
        objections = [why for elements in kinds if (why := _objection(labeller, elements))]
        if objections and len(objections) == len(kinds):
            raise objections[0]


def _objection(labeller: Any, elements: Sequence[str]) -> ConfigurationError | InputFileError | None:
    try:
        if hasattr(labeller, "check_elements"):
            labeller.check_elements(elements)
    except (ConfigurationError, InputFileError) as error:
        return error
    return None


def classes_to_retry(retry_failed: bool | Sequence[str]) -> tuple[str, ...]:
    """Return the failure classes to compute again.

    Raises
    ------
    ConfigurationError
        A class that does not exist.
    """
    if isinstance(retry_failed, bool):
        return FAILURES if retry_failed else ()
    chosen = (retry_failed,) if isinstance(retry_failed, str) else tuple(retry_failed)
    for kind in chosen:
        if kind not in FAILURES:
            raise ConfigurationError(f"retry_failed must name failure classes, {', '.join(FAILURES)}; got {kind!r}")
    return chosen


def look_up(work: Work, book: LabelStore, retry: Sequence[str]) -> list[Place]:
    """Fill in what the store knows; return what is to be computed, structure by structure."""
    missing = []
    keys = [structure.key for structure in work.structures]
    for c, item in enumerate(work.calculations):
        for s, found in enumerate(book.find_many(keys, item)):
            work.damaged += found.damaged
            if found.result is None or found.result.failure in retry:
                missing.append((s, c))
            else:
                work.keep((s, c), found.result)
    return sorted(missing)
