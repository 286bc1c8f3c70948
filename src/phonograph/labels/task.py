"""Labellers and structures as plain data: what the store is keyed by and what is sent to a worker process."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from phonograph.errors import ConfigurationError
from phonograph.types import ARRAY_UNITS, PROPERTY_UNITS, Crystal, Labeller

LABEL_REVISION = 1
"""Raise it when what a built-in labeller stores changes meaning: old labels are then never mistaken for new ones."""

_SUFFIX_UNITS: Mapping[str, str] = {"eV_per_atom": "eV/atom", "A3": "Å³", "A2": "Å²", "A": "Å"}


def property_unit(name: str) -> str:
    """Return the unit of a property: from :data:`PROPERTY_UNITS`, else the text after the last underscore.

    Raises
    ------
    ConfigurationError
        A name without a unit.
    """
    if name in PROPERTY_UNITS:
        return PROPERTY_UNITS[name]
    for suffix, unit in _SUFFIX_UNITS.items():
        if name.endswith("_" + suffix):
            return unit
    stem, _, suffix = name.rpartition("_")
    if not stem or not suffix:
        raise ConfigurationError(f"property {name!r} must end in its unit, for example 'polarisability_A3'")
    return suffix


@dataclass(frozen=True, kw_only=True)
class Calculation:
    """One labeller as data.

    Attributes
    ----------
    task
        JSON ``{"class": "module:Class", "settings": {...}}`` from which a worker rebuilds the labeller.
    engine, settings, provides
        Engine text, settings as JSON, and property names.
    key
        SHA-256 of class name, engine, settings, properties, arrays, identity and :data:`LABEL_REVISION`.
    arrays
        Names of the arrays it returns besides the numbers.
    cores, memory_GB
        What one label needs.
    """

    task: str
    engine: str
    settings: str
    provides: tuple[str, ...]
    key: bytes
    arrays: tuple[str, ...] = ()
    cores: int = 1
    memory_GB: float = 0.5


def calculation(labeller: Labeller) -> Calculation:
    """Describe a labeller as data, and check that a worker process can rebuild it.

    Raises
    ------
    ConfigurationError
        A labeller that is not a dataclass of plain fields defined at the top level of a module.
    MissingEngineError
        An engine that is not installed.
    """
    cls: Any = type(labeller)
    kind = str(cls.__qualname__)
    place = f"{cls.__module__}:{kind}"
    if not dataclasses.is_dataclass(cls) or _look_up(place) is not cls:
        raise ConfigurationError(
            f"labeller {kind} must be a dataclass at the top level of an importable module, "
            "so that worker processes can rebuild it"
        )
    engine, provides = labeller.engine, tuple(labeller.provides)
    if not engine.strip() or not provides:
        raise ConfigurationError(f"labeller {kind} must name its engine and at least one property")
    for name in provides:
        property_unit(name)
    arrays = tuple(getattr(labeller, "provides_arrays", ()))
    for name in arrays:
        if name not in ARRAY_UNITS:
            raise ConfigurationError(f"array {name!r} of {kind} is not one of {', '.join(ARRAY_UNITS)}")
    plain = {item.name: getattr(labeller, item.name) for item in dataclasses.fields(cls) if item.init}
    try:
        # Where files lie, how a program is started and how many steps it may take decide no number: they name nothing.
        deciding = {item.name for item in dataclasses.fields(cls) if item.metadata.get("decides", True)}
        settings = canonical_json({name: value for name, value in plain.items() if name in deciding})
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"the fields of {kind} must be plain values; {error}") from error
    task = canonical_json({"class": place, "settings": plain})
    identity = labeller.identity() if hasattr(labeller, "identity") else {}
    key = calculation_key(kind, engine, settings, provides, arrays, identity)
    return Calculation(
        task=task,
        engine=engine,
        settings=settings,
        provides=provides,
        key=key,
        arrays=arrays,
        cores=int(getattr(labeller, "cores", 1)),
        memory_GB=float(getattr(labeller, "memory_GB", 0.5)),
    )


def calculation_key(
    labeller: str,
    engine: str,
    settings: str,
    provides: tuple[str, ...],
    arrays: tuple[str, ...] = (),
    identity: Mapping[str, Any] | None = None,
) -> bytes:
    """Return the SHA-256 that names a calculation in the store."""
    content: dict[str, Any] = {"labeller": labeller, "engine": engine, "settings": settings, "provides": list(provides)}
    # Calculations without them keep the names they had before these existed.
    content |= {"arrays": list(arrays)} if arrays else {}
    content |= {"identity": dict(identity)} if identity else {}
    return hashlib.sha256(canonical_json({**content, "revision": LABEL_REVISION}).encode()).digest()


def canonical_json(value: Any) -> str:
    """Return JSON with sorted keys and exact floats; NaN and infinity are refused."""
    return json.dumps(value, sort_keys=True, allow_nan=False, separators=(",", ":"))


def rebuild(task: str) -> Labeller:
    """Return the labeller that :attr:`Calculation.task` describes."""
    content = json.loads(task)
    settings = {name: tuple(v) if isinstance(v, list) else v for name, v in content["settings"].items()}
    return cast(Labeller, _look_up(content["class"])(**settings))


def _look_up(place: str) -> Any:
    module, _, name = place.partition(":")
    # A script's own classes live in __main__, which a spawned worker imports under that name too.
    found = sys.modules[module] if module in sys.modules else importlib.import_module(module)
    return getattr(found, name, None) if name.isidentifier() else None


@dataclass(frozen=True, kw_only=True)
class StructureBytes:
    """A crystal as the store keeps it: little-endian arrays and their SHA-256.

    Only what a label depends on enters: numbers (i4), lattice vectors as rows (f8, Å) and positions (f8, Å).
    Equal means equal to the last bit; titles and masses do not matter.
    """

    numbers: bytes
    cell: bytes
    positions: bytes
    key: bytes


def structure_bytes(crystal: Crystal) -> StructureBytes:
    """Return the canonical bytes of a crystal."""
    numbers = crystal.numbers.astype("<i4").tobytes()
    # Adding zero turns −0.0 into 0.0, which is the same place.
    cell, positions = ((array + 0.0).astype("<f8").tobytes() for array in (crystal.cell_A, crystal.positions_A))
    return StructureBytes(numbers=numbers, cell=cell, positions=positions, key=structure_key(numbers, cell, positions))


def structure_key(numbers: bytes, cell: bytes, positions: bytes) -> bytes:
    """Return the SHA-256 of a structure's bytes, the number of atoms first so that no two layouts agree."""
    head = np.array([len(numbers) // 4], dtype="<i8").tobytes()
    return hashlib.sha256(head + numbers + cell + positions).digest()
