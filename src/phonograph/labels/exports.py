"""The label store in formats that others read: extended XYZ, CSV, Parquet, ASE database.

Every export is written under a temporary name, read again and compared with the store, and only then gets its name.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from phonograph.atomic import replacing
from phonograph.errors import ConfigurationError, DataError, InputFileError
from phonograph.labels import export_frames, export_tables
from phonograph.labels.rows import Sample, StoredCalculation, StoredLabel
from phonograph.labels.store import LabelStore, open_store
from phonograph.labels.task import calculation, structure_bytes
from phonograph.types import Configurations, Labeller

Format = Literal["extxyz", "csv", "parquet", "ase-db"]

FORMATS = {".extxyz": "extxyz", ".xyz": "extxyz", ".csv": "csv", ".parquet": "parquet", ".db": "ase-db"}
"""Format by the end of the file's name."""

_WRITERS = {
    "extxyz": (export_frames.write_extxyz, export_frames.read_extxyz),
    "ase-db": (export_frames.write_ase_db, export_frames.read_ase_db),
    "csv": (export_tables.write_csv, export_tables.read_csv),
    "parquet": (export_tables.write_parquet, export_tables.read_parquet),
}
_TABLES = ("csv", "parquet")


@dataclass(frozen=True, kw_only=True)
class Export:
    """What an export holds.

    Attributes
    ----------
    path, format
        The file.
    labels
        Labels with values in it.
    holes
        Failed or damaged labels: rows with a status and no values in tables, left out of the others.
    warnings
        What the format cannot hold.
    """

    path: Path
    format: str
    labels: int
    holes: int
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        how = "kept as rows without values" if self.format in _TABLES else "left out"
        holes = f"; {self.holes} failed labels are {how}" if self.holes else ""
        return f"{self.path}: {self.labels} labels{holes}"


def export_store(
    store: LabelStore | str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    format: Format | Literal[""] = "",
    engines: Sequence[str] = (),
    properties: Sequence[str] = (),
    sets: Sequence[str] = (),
    configurations: Sequence[Configurations] = (),
    labellers: Sequence[Labeller] = (),
) -> Export:
    """Write labels of a store to a file of another format.

    One row or frame is one label: one structure by one calculation.

    Parameters
    ----------
    store
        An open store, or its path.
    path
        The file; replaced as a whole or not at all.
    format
        By default from the file's name: ``.extxyz``, ``.csv``, ``.parquet``, ``.db``.
    engines
        Labels of engines whose text contains one of these (``"tblite"``, ``"PBEsol"``); empty: all.
    properties
        Numbers and arrays to write, and only labels that have one of them; empty: all.
    sets
        Labels of structures in one of these sets; empty: all, also of structures that belong to no set.
    configurations
        Only labels of these, under their names: a store may hold other runs, and copies that measured noise.
    labellers
        Only labels by these; empty: by all.

    Returns
    -------
    Export
        How many labels were written, and how many holes there are.

    Raises
    ------
    ConfigurationError
        Unknown format, engine, property or set; the sentence lists those of the store.
    DataError
        Nothing to write.
    MissingEngineError
        Parquet without pyarrow.
    InputFileError
        A store that cannot be read, or a folder that cannot be written.

    Notes
    -----
    Units are those of the names (``band_gap_eV``).  The names ``REF_energy`` (eV), ``REF_forces`` (eV/Å),
    ``REF_stress`` (eV/Å³, positive = tensile), ``REF_charges`` (e) and ``REF_magmoms`` (μB) of extended XYZ are those
    that trainers of interatomic potentials expect.
    """
    if not isinstance(store, LabelStore):
        with open_store(store) as opened:
            chosen: dict[str, Any] = {"engines": engines, "properties": properties, "sets": sets}
            chosen |= {"configurations": configurations, "labellers": labellers}
            return export_store(opened, path, format=format, **chosen)
    target = Path(path)
    kind = _format(target, format)
    calculations = _chosen(store, engines, properties, {calculation(labeller).key for labeller in labellers})
    _check_sets(store.path, [one.name for one in configurations] or store.set_names(), sets)
    owners = _owners(configurations)
    write, read = _WRITERS[kind]
    names = _names(calculations, properties)
    digest, counts = hashlib.sha256(), {"labels": 0, "holes": 0}
    with replacing(target) as temporary:
        items = _counted(_items(store, calculations, names, sets, owners), kind, counts)
        write(temporary, items, names, calculations, digest)
        if not counts["labels"] and not (kind in _TABLES and counts["holes"]):
            raise DataError(f"nothing to write to {target}: the store has no label of the wanted engines and sets")
        again = hashlib.sha256()
        try:
            read(temporary, names, again)
        except Exception as error:  # whatever ASE, pyarrow or SQLite raise, the file is not as it should be
            raise InputFileError(f"{target} could not be read again and was not kept ({error})") from error
        if again.digest() != digest.digest():
            raise InputFileError(f"{target} reads differently from what was written and was not kept")
    return Export(path=target, format=kind, **counts, warnings=_warnings(kind, names))


def _format(target: Path, wanted: str) -> str:
    if wanted and wanted not in _WRITERS:
        raise ConfigurationError(f"format must be one of {', '.join(_WRITERS)}; got {wanted!r}")
    kind = wanted or FORMATS.get(target.suffix.lower(), "")
    if not kind:
        raise ConfigurationError(f"the name of an export must end in one of {', '.join(FORMATS)}; got {target.name!r}")
    return kind


def _chosen(
    store: LabelStore, engines: Sequence[str], properties: Sequence[str], keys: Collection[bytes]
) -> list[StoredCalculation]:
    known = [c for c in store.calculations() if not keys or c.key in keys]
    for text in engines:
        if not any(text.lower() in c.engine.lower() for c in known):
            listed = "; ".join(dict.fromkeys(c.engine for c in known)) or "none"
            raise ConfigurationError(f"no labels of engine {text!r} in {store.path}; its engines are: {listed}")
    available = list(dict.fromkeys(name for c in known for name in (*c.provides, *c.arrays)))
    for name in properties:
        if name not in available:
            raise ConfigurationError(f"no property {name!r} in {store.path}; it has {', '.join(available) or 'none'}")
    wanted = [text.lower() for text in engines]
    return [
        c
        for c in known
        if (not wanted or any(text in c.engine.lower() for text in wanted))
        and (not properties or set(properties) & {*c.provides, *c.arrays})
    ]


def _check_sets(path: Path, known: Sequence[str], sets: Sequence[str]) -> None:
    for name in sets:
        if name not in known:
            raise ConfigurationError(f"no set {name!r} in {path}; it has {', '.join(known) or 'none'}")


def _owners(sets: Sequence[Configurations]) -> dict[bytes, tuple[Sample, ...]] | None:
    """Return the samples of every structure of ``sets``, by its key; None without sets."""
    owners: dict[bytes, tuple[Sample, ...]] = {}
    for one in sets:
        for i, crystal in enumerate(one.crystals()):
            sample = Sample(
                set_name=one.name,
                sample_id=one.ids[i],
                sampler=one.sampler,
                seed=one.origin.seed,
                index=int(one.index[i]),
                temperature_K=float(one.temperature_K[i]),
                amplitude_A=float(one.amplitude_A[i]),
                fraction=float(one.fraction[i]),
                group=one.group[i],
            )
            key = structure_bytes(crystal).key
            owners[key] = (*owners.get(key, ()), sample)
    return owners if sets else None


def _names(calculations: Sequence[StoredCalculation], properties: Sequence[str]) -> export_tables.Names:
    numbers = dict.fromkeys(name for c in calculations for name in c.provides)
    arrays = dict.fromkeys(name for c in calculations for name in c.arrays)
    return export_tables.Names(
        numbers=tuple(name for name in numbers if not properties or name in properties),
        arrays=tuple(name for name in arrays if not properties or name in properties),
    )


def _items(
    store: LabelStore,
    calculations: Iterable[StoredCalculation],
    names: export_tables.Names,
    sets: Sequence[str],
    owners: Mapping[bytes, tuple[Sample, ...]] | None,
) -> Iterator[StoredLabel]:
    for item in store.labels([c.key for c in calculations]):
        owned = item.samples if owners is None else owners.get(item.structure.key, ())
        samples = tuple(sample for sample in owned if not sets or sample.set_name in sets)
        if (sets or owners is not None) and not samples:
            continue
        result = replace(
            item.result,
            values={name: value for name, value in item.result.values.items() if name in names.numbers},
            arrays={name: value for name, value in item.result.arrays.items() if name in names.arrays},
        )
        yield replace(item, samples=samples, result=result)


def _counted(items: Iterable[StoredLabel], kind: str, counts: dict[str, int]) -> Iterator[StoredLabel]:
    for item in items:
        counts["holes" if item.result.failure else "labels"] += 1
        if kind in _TABLES or not item.result.failure:
            yield item


def _warnings(kind: str, names: export_tables.Names) -> tuple[str, ...]:
    beyond_frames = tuple(name for name in names.arrays if name not in (*export_frames.PER_ATOM, "stress_GPa"))
    left = {"csv": names.arrays, "extxyz": beyond_frames}.get(kind, ())
    if not left:
        return ()
    others = ".parquet or .db" if beyond_frames else ".extxyz, .parquet or .db"
    return (f"{kind} cannot hold {', '.join(left)}; export to {others} to have them.",)
