"""A trained network as a folder that holds no code: ``model.safetensors`` (weights) and ``model.json`` (all else).

``model.json`` names the network and its fields, what an edge is, how inputs and target are scaled, the target with its
unit, the split, the history, and the SHA-256 of the weights and of its own content, so that a changed byte is noticed.
"""

from __future__ import annotations

import hashlib
import json
import typing
from collections.abc import Mapping
from dataclasses import Field, astuple, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from phonograph.atomic import write_bytes
from phonograph.errors import ConfigurationError, DataError, InputFileError
from phonograph.files.safety import check_readable, shown
from phonograph.files.sidecar import entry, origin_to_plain, plain, read_sidecar, write_sidecar
from phonograph.models.predict import network
from phonograph.models.spec import GraphConvNet
from phonograph.types import (
    Epoch,
    Fitted,
    GraphModel,
    GraphSpec,
    InputScaling,
    Split,
    TargetScaling,
)

SCHEMA = "phonograph-bundle-1"
WEIGHTS_FILE, DESCRIPTION_FILE = "model.safetensors", "model.json"
MAX_WEIGHTS_BYTES = 2**31

MODELS: Mapping[str, type] = {"GraphConvNet": GraphConvNet}
"""Networks that a bundle may name; for any other the reader passes the object itself."""

Record = TypeVar("Record")


def save_bundle(fitted: Fitted, folder: str | Path) -> None:
    """Write ``folder/model.safetensors`` and ``folder/model.json``, each atomically.

    Raises
    ------
    InputFileError
        When the folder cannot be written.
    """
    weights = save({name: np.ascontiguousarray(value) for name, value in fitted.weights.items()})
    content = _content(fitted, hashlib.sha256(weights).hexdigest())
    place = Path(folder)
    write_bytes(place / WEIGHTS_FILE, weights)
    write_sidecar(
        place / DESCRIPTION_FILE,
        SCHEMA,
        fitted.warnings,
        fitted.origin,
        **content,
        sha256=_digest(content, fitted.warnings, origin_to_plain(fitted.origin)),
    )


def load_bundle(folder: str | Path, model: GraphModel | None = None) -> Fitted:
    """Read a trained network; nothing in the bundle is trusted.

    Parameters
    ----------
    folder
        The bundle.
    model
        The network's own :class:`~phonograph.types.GraphModel` object, for networks that are not this program's.

    Raises
    ------
    InputFileError
        One sentence, when a file is missing, damaged or of another schema, or when the weights do not fit the network.
    """
    place = Path(folder)
    source = place / DESCRIPTION_FILE
    document = read_sidecar(source, SCHEMA)
    content = {k: v for k, v in document.items() if k not in ("schema", "warnings", "origin", "sha256")}
    if document.get("sha256") != _digest(content, document["warnings"], origin_to_plain(document["origin"])):
        raise InputFileError(f"{shown(source)} was changed after it was written; train the network again")
    weights = _weights(place / WEIGHTS_FILE, str(content.get("weights_sha256")))
    try:
        return _fitted(content, document, weights, model, source)
    except (DataError, ConfigurationError) as error:
        raise InputFileError(f"{shown(source)}: {error}") from error


def _content(fitted: Fitted, weights_sha256: str) -> dict[str, Any]:
    split = fitted.split
    content = {
        "name": fitted.name,
        "model": {"class": type(fitted.model).__name__, "fields": _settings(fitted.model)},
        "graph": _plain(fitted.graph),
        "inputs": _plain(fitted.inputs),
        "scaling": _plain(fitted.scaling),
        "target": fitted.target,
        "unit": fitted.unit,
        "trained_on": fitted.trained_on,
        "train_range": list(fitted.train_range),
        "split": {**_plain(split), "sha256": _split_digest(split)},
        "seed": fitted.seed,
        "best_epoch": fitted.best_epoch,
        "history": {
            "columns": [item.name for item in fields(Epoch)],
            "rows": [list(astuple(epoch)) for epoch in fitted.history],
        },
        "weights_sha256": weights_sha256,
    }
    return {name: plain(value) for name, value in content.items()}


def _settings(model: GraphModel) -> dict[str, Any]:
    """Return the fields of a network that is a dataclass, as JSON can hold them."""
    own: tuple[Field[Any], ...] = fields(typing.cast(Any, model)) if is_dataclass(model) else ()
    found = {item.name: plain(getattr(model, item.name)) for item in own}
    return {
        name: value if isinstance(value, str | int | float | list | dict | None) else repr(value)
        for name, value in found.items()
    }


def _plain(record: Any) -> dict[str, Any]:
    return {item.name: getattr(record, item.name) for item in fields(record)}


def _digest(content: Mapping[str, Any], warnings: tuple[str, ...], origin: Mapping[str, Any]) -> str:
    text = json.dumps([content, list(warnings), origin], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _split_digest(split: Split) -> str:
    parts = ["\x1f".join(part) for part in (split.train, split.validation, split.test)]
    return hashlib.sha256("\x1e".join(parts).encode()).hexdigest()


def _weights(source: Path, expected: str) -> dict[str, NDArray[Any]]:
    data = check_readable(source, MAX_WEIGHTS_BYTES).read_bytes()
    if hashlib.sha256(data).hexdigest() != expected:
        raise InputFileError(
            f"{shown(source)} is not the file that {DESCRIPTION_FILE} describes; train the network again"
        )
    try:
        weights: dict[str, NDArray[Any]] = load(data)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise InputFileError(f"{shown(source)} is not a safetensors file: {error}; train the network again") from error
    for name, value in weights.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise InputFileError(f"{shown(source)}: the weights {name!r} are not finite; train the network again")
    return weights


def _fitted(
    content: Mapping[str, Any],
    document: Mapping[str, Any],
    weights: dict[str, NDArray[Any]],
    model: GraphModel | None,
    source: Path,
) -> Fitted:
    split = dict(entry(content, "split", dict, source))
    expected = split.pop("sha256", None)
    parts = _record(Split, split, source)
    if _split_digest(parts) != expected:
        raise InputFileError(f"{shown(source)}: the split does not match its hash; train the network again")
    history = entry(content, "history", dict, source)
    fitted = Fitted(
        name=entry(content, "name", str, source),
        model=_model(entry(content, "model", dict, source), model, source),
        weights=weights,
        graph=_record(GraphSpec, entry(content, "graph", dict, source), source),
        inputs=_record(InputScaling, entry(content, "inputs", dict, source), source),
        scaling=_record(TargetScaling, entry(content, "scaling", dict, source), source),
        target=entry(content, "target", str, source),
        unit=entry(content, "unit", str, source),
        trained_on=entry(content, "trained_on", str, source),
        train_range=_convert(content.get("train_range"), tuple[float, float], "train_range", source),
        split=parts,
        seed=entry(content, "seed", int, source),
        best_epoch=entry(content, "best_epoch", int, source),
        history=_history(history, source),
        warnings=document["warnings"],
        origin=document["origin"],
    )
    network(fitted)  # raises unless names and shapes of the weights are those of the network
    return fitted


def _model(table: Mapping[str, Any], model: GraphModel | None, source: Path) -> GraphModel:
    name, settings = entry(table, "class", str, source), entry(table, "fields", dict, source)
    if model is not None:
        if (type(model).__name__, _settings(model)) != (name, settings):
            raise InputFileError(
                f"{shown(source)} holds {_words(name, settings)}; got "
                f"{_words(type(model).__name__, _settings(model))} to load it into"
            )
        return model
    if name not in MODELS:
        raise InputFileError(
            f"{shown(source)} holds a {name!r}, not a network of this program; pass it: load_bundle(…, model=…)"
        )
    built: GraphModel = _record(MODELS[name], settings, source)
    return built


def _words(name: str, settings: Mapping[str, Any]) -> str:
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in settings.items())})"


def _history(table: Mapping[str, Any], source: Path) -> tuple[Epoch, ...]:
    columns, rows = entry(table, "columns", list, source), entry(table, "rows", list, source)
    if not all(isinstance(row, list) and len(row) == len(columns) for row in rows):
        raise InputFileError(f"{shown(source)}: every row of the history must have {len(columns)} numbers")
    return tuple(_record(Epoch, dict(zip(columns, row, strict=True)), source) for row in rows)


def _record(cls: type[Record], table: Mapping[str, Any], source: Path) -> Record:
    """Build a frozen record from a table with exactly its fields."""
    hints = typing.get_type_hints(cls)
    names = [item.name for item in fields(typing.cast(Any, cls))]
    odd = sorted(set(names) ^ set(table))
    if odd:
        raise InputFileError(f"{shown(source)}: {cls.__name__} has missing or unknown entries: {', '.join(odd)}")
    return cls(**{name: _convert(table[name], hints[name], f"{cls.__name__}.{name}", source) for name in names})


def _convert(value: Any, hint: Any, where: str, source: Path) -> Any:
    """Check that a JSON value is of type ``hint`` (str, int, float, or a tuple of them) and return it."""
    if typing.get_origin(hint) is tuple:
        inner = typing.get_args(hint)
        exact = Ellipsis not in inner
        if isinstance(value, list) and (not exact or len(value) == len(inner)):
            return tuple(_convert(item, inner[0], where, source) for item in value)
    elif hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    raise InputFileError(f"{shown(source)}: {where} must be {hint}; got {value!r:.80}")
