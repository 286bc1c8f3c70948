"""Trained networks on any structures: read → build graphs → predict → say what leaves the training range."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from phonograph.errors import ConfigurationError, DataError
from phonograph.files.bundle import load_bundle
from phonograph.files.structure_sets import read_crystals
from phonograph.graphs import build_graphs
from phonograph.models import predict
from phonograph.models.domain import Outside, outside
from phonograph.models.ensemble import distinct
from phonograph.types import (
    BoolArray,
    Configurations,
    Crystal,
    Fitted,
    FloatArray,
    GraphModel,
    PredictedColumn,
    Progress,
    StructurePredictions,
)

ATOMS_AT_ONCE = 20_000
"""Atoms whose graphs are in memory at the same time."""

Paths = Sequence[str | os.PathLike[str]]


def predict_structures(
    bundles: Paths | Sequence[Fitted],
    structures: Paths | Sequence[Crystal] | Configurations,
    *,
    model: GraphModel | None = None,
    progress: Progress | None = None,
) -> StructurePredictions:
    """Predict every target of ``bundles`` for every crystal of ``structures``.

    Networks of one target are an ensemble: the prediction is the mean of theirs, ``spread`` their standard deviation.
    A network that is given several times, by path or by its weights, counts once, which ``warnings`` say.
    A crystal that leaves the training range of any network is predicted, counted and named in ``warnings``.

    Parameters
    ----------
    bundles
        Folders that :func:`~phonograph.files.bundle.save_bundle` wrote, or trained networks.
    structures
        Files (see :func:`~phonograph.files.structure_sets.read_crystals`), crystals, or a set of configurations.
    model
        The object that builds the network, for bundles of a network of your own.
    progress
        Called as ``progress("structures", done, total)``.

    Raises
    ------
    UserError
        One sentence: a bundle or a structure that cannot be read, elements that a network does not know (naming the
        structure), or networks of one target with different units.
    """
    fits, copies = _networks(bundles, model)
    named = _named(structures)
    names, crystals = [name for name, _ in named], [crystal for _, crystal in named]
    _check_units(fits)
    for fitted in fits:
        _check_elements(fitted, names, crystals)
    values, leaves, warnings = _evaluate(fits, crystals, progress)
    targets = list(dict.fromkeys(fitted.target for fitted in fits))
    columns = tuple(_column(target, fits, values) for target in targets)
    made = StructurePredictions(
        names=tuple(names),
        crystals=tuple(crystals),
        columns=columns,
        short_edges=np.max([item.short_edges for item in leaves], axis=0),
        long_edges=np.max([item.long_edges for item in leaves], axis=0),
        composition=np.any([item.composition for item in leaves], axis=0),
        density=np.any([item.density for item in leaves], axis=0),
    )
    sentences = (*copies, *warnings, *_sentences(made), *_unknown_ranges(fits))
    return replace(made, warnings=tuple(dict.fromkeys(sentences)))


def _networks(
    bundles: Paths | Sequence[Fitted], model: GraphModel | None
) -> tuple[tuple[Fitted, ...], tuple[str, ...]]:
    """Read each bundle once; return the networks that differ, and what is said of copies."""
    given, read = _some(bundles, "a bundle"), dict[Path, Fitted]()
    fits = []
    for item in given:
        if not isinstance(item, Fitted):
            place = Path(item).resolve()
            if place not in read:
                read[place] = load_bundle(Path(item), model)
            item = read[place]
        fits.append(item)
    return distinct(fits, [item.name if isinstance(item, Fitted) else str(item) for item in given])


def _some(items: Paths | Sequence[Fitted], what: str) -> Paths | Sequence[Fitted]:
    if isinstance(items, str | os.PathLike):
        return [items]
    if not len(items):
        raise ConfigurationError(f"a prediction needs {what}; got none")
    return items


def _named(structures: Paths | Sequence[Crystal] | Configurations) -> list[tuple[str, Crystal]]:
    if isinstance(structures, Configurations):
        return list(zip(structures.ids, (structures.crystal(i) for i in range(len(structures))), strict=True))
    found: list[tuple[str, Crystal]] = []
    for place, item in enumerate([structures] if isinstance(structures, str | os.PathLike) else structures):
        found += [(f"structure {place}", item)] if isinstance(item, Crystal) else read_crystals(item)
    if not found:
        raise DataError("a prediction needs at least one structure; got none")
    return found


def _check_units(fits: Sequence[Fitted]) -> None:
    units: dict[str, tuple[str, str]] = {}
    for fitted in fits:
        name, unit = units.setdefault(fitted.target, (fitted.name, fitted.unit))
        if unit != fitted.unit:
            raise DataError(
                f"{name} predicts {fitted.target} in {unit} and {fitted.name} in {fitted.unit}; "
                "predict with networks of one unit"
            )


def _check_elements(fitted: Fitted, names: Sequence[str], crystals: Sequence[Crystal]) -> None:
    from ase.data import chemical_symbols

    known = set(fitted.inputs.elements)
    for name, crystal in zip(names, crystals, strict=True):
        unknown = sorted(set(crystal.numbers.tolist()) - known)
        if unknown:
            raise DataError(
                f"{name} holds {', '.join(chemical_symbols[z] for z in unknown)}, but network {fitted.name!r} was "
                f"trained on {', '.join(chemical_symbols[z] for z in sorted(known))} only; leave the structure out or "
                "train a network on crystals that hold these elements"
            )


def _evaluate(
    fits: Sequence[Fitted], crystals: Sequence[Crystal], progress: Progress | None
) -> tuple[list[FloatArray], list[Outside], list[str]]:
    """Return the predictions of each network, where the crystals leave its training range, and what graphs warn of."""
    specs = list(dict.fromkeys(fitted.graph for fitted in fits))
    values = [np.empty(len(crystals)) for _ in fits]
    leaves: list[list[Outside]] = [[] for _ in fits]
    warnings: list[str] = []
    for block in _blocks(crystals):
        part = [crystals[i] for i in block]
        made = Configurations.of_crystals("structures", part, [str(i) for i in block])
        for spec in specs:
            graphs = build_graphs(made, spec)
            warnings += graphs.warnings
            for place, fitted in enumerate(fits):
                if fitted.graph == spec:
                    values[place][block] = predict(fitted, graphs)
                    leaves[place].append(outside(fitted, graphs))
        if progress is not None:
            progress("structures", block.stop, len(crystals))
    return values, [_joined(parts) for parts in leaves], warnings


def _blocks(crystals: Sequence[Crystal]) -> Iterator[range]:
    """Yield ranges of crystals with at most :data:`ATOMS_AT_ONCE` atoms, or one crystal."""
    start, atoms = 0, 0
    for place, crystal in enumerate(crystals):
        if place > start and atoms + len(crystal) > ATOMS_AT_ONCE:
            yield range(start, place)
            start, atoms = place, 0
        atoms += len(crystal)
    yield range(start, len(crystals))


def _joined(parts: Sequence[Outside]) -> Outside:
    return Outside(
        short_edges=np.concatenate([part.short_edges for part in parts]),
        long_edges=np.concatenate([part.long_edges for part in parts]),
        composition=np.concatenate([part.composition for part in parts]),
        density=np.concatenate([part.density for part in parts]),
    )


def _column(target: str, fits: Sequence[Fitted], values: Sequence[FloatArray]) -> PredictedColumn:
    chosen = [(fitted, one) for fitted, one in zip(fits, values, strict=True) if fitted.target == target]
    table = np.array([one for _, one in chosen])
    ranges = np.array([fitted.train_range for fitted, _ in chosen])
    mean = table.mean(axis=0)
    return PredictedColumn(
        target=target,
        unit=chosen[0][0].unit,
        values=mean,
        spread=table.std(axis=0, ddof=1) if len(table) > 1 else np.full(len(mean), np.nan),
        # Inside means inside for every network of the ensemble.
        out_of_range=(mean < ranges[:, 0].max()) | (mean > ranges[:, 1].min()),
        models=tuple(fitted.name for fitted, _ in chosen),
    )


def _sentences(made: StructurePredictions) -> Iterator[str]:
    """Say how many structures leave the training range, in which way, and which is the first."""
    ways: tuple[tuple[str, BoolArray], ...] = (
        ("hold distances shorter than any of their pair of elements in training", made.short_edges > 0),
        ("hold distances longer than any in training", made.long_edges > 0),
        ("have a composition outside that of the training crystals", made.composition),
        ("have fewer or more neighbours per atom than any training crystal", made.density),
        *((f"have a {column.target} outside the training labels", column.out_of_range) for column in made.columns),
    )
    for what, which in ways:
        if which.any():
            first = made.names[int(np.argmax(which))]
            yield (
                f"{int(which.sum())} of {len(made)} structures {what} (the first is {first}): the network extrapolates."
            )


def _unknown_ranges(fits: Sequence[Fitted]) -> Iterator[str]:
    for fitted in fits:
        if fitted.domain is None:
            yield f"The bundle of {fitted.name!r} does not record its training range; only distances were compared."
