"""A trained network as a folder that holds no code: ``model.safetensors`` (weights) and ``model.json`` (all else).

``model.json`` names the network and its fields, what an edge is, how inputs and target are scaled, the target with its
unit, the split, the history, and the SHA-256 of the weights and of its own content, so that a changed byte is noticed.

Schema 2 adds the targets of a joint network (``heads``), the number of radial functions and the training range; bundles
of schema 1 are read for ever.
"""

from __future__ import annotations

import hashlib
import json
import typing
import warnings as python_warnings
from collections.abc import Mapping
from dataclasses import Field, astuple, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from phonograph.atomic import write_bytes
from phonograph.errors import ConfigurationError, DataError, InputFileError, UserError
from phonograph.files.safety import check_readable, shown
from phonograph.files.sidecar import entry, origin_from_plain, origin_to_plain, plain, read_sidecar, write_sidecar
from phonograph.models.features import EDGE_LAWS, NODE_FEATURES, raw_features
from phonograph.models.predict import network
from phonograph.models.spec import GraphConvNet
from phonograph.options import LARGEST_SEED
from phonograph.types import (
    Epoch,
    Fitted,
    GraphModel,
    GraphSpec,
    InputScaling,
    Split,
    TargetScaling,
    TrainingDomain,
)

SCHEMA = "phonograph-bundle-2"
SCHEMA_1 = "phonograph-bundle-1"
WEIGHTS_FILE, DESCRIPTION_FILE = "model.safetensors", "model.json"
MAX_WEIGHTS_BYTES = 2**31

MODELS: Mapping[str, type] = {"GraphConvNet": GraphConvNet}
"""Networks that a bundle may name; for any other the reader passes the object itself."""

OLD_VALUES: Mapping[str, Mapping[str, Any]] = {
    "InputScaling": {"radial_functions": 0, "node_features": "elements"},
    "GraphConvNet": {},
}
"""What fields meant before they existed: record → field → value, for bundles of schema 1."""

_ENTRIES = frozenset(
    "name model graph inputs scaling target unit heads trained_on train_range domain split seed best_epoch history "
    "weights_sha256".split()
)
_LARGEST = 1e300
_AGAIN = "; train the network again"
N_FEATURES = raw_features(np.array([1])).shape[1]

Record = TypeVar("Record")


def save_bundle(fitted: Fitted, folder: str | Path) -> None:
    """Write ``folder/model.safetensors`` and ``folder/model.json``, each atomically.

    Raises
    ------
    InputFileError
        When the folder cannot be written.
    DataError
        When :func:`load_bundle` would refuse what is to be written; nothing is written then.
    """
    weights = save({name: np.ascontiguousarray(value) for name, value in fitted.weights.items()})
    content = _content(fitted, hashlib.sha256(weights).hexdigest())
    place = Path(folder)
    _check_readable(fitted, weights, content, place)
    write_bytes(place / WEIGHTS_FILE, weights)
    write_sidecar(
        place / DESCRIPTION_FILE,
        SCHEMA,
        fitted.warnings,
        fitted.origin,
        **content,
        sha256=_digest(SCHEMA, content, fitted.warnings, origin_to_plain(fitted.origin)),
    )


def _check_readable(fitted: Fitted, weights: bytes, content: Mapping[str, Any], place: Path) -> None:
    """Refuse to write what could not be read: a network that was trained for hours would be lost without a word."""
    source = place / DESCRIPTION_FILE
    model = None if type(fitted.model) in MODELS.values() else fitted.model
    try:
        written, origin = json.loads(json.dumps([content, origin_to_plain(fitted.origin)]))
        document = {"warnings": fitted.warnings, "origin": origin_from_plain(origin, source)}
        _checked(_fitted(written, document, _arrays(weights, place / WEIGHTS_FILE), model, source), source)
    except (TypeError, ValueError, UserError) as error:
        reason = str(error).removesuffix(_AGAIN)
        raise DataError(
            f"the network {fitted.name!r} cannot be saved, because it could not be read again: {reason}; correct that "
            "and train again"
        ) from error


def load_bundle(folder: str | Path, model: GraphModel | None = None) -> Fitted:
    """Read a trained network; nothing in the bundle is trusted.

    Parameters
    ----------
    folder
        The bundle.
    model
        The network's own :class:`~phonograph.types.GraphModel` object, for networks that are not this program's: a
        bundle holds no code, so a network of your own is loaded into the object that built it.

    Raises
    ------
    InputFileError
        One sentence, when a file is missing, damaged or of another schema, or when the weights do not fit the network.
    """
    place = Path(folder)
    source = place / DESCRIPTION_FILE
    document = read_sidecar(source, SCHEMA, SCHEMA_1)
    schema = str(document["schema"])
    content = {k: v for k, v in document.items() if k not in ("schema", "warnings", "origin", "sha256")}
    if document.get("sha256") != _digest(schema, content, document["warnings"], origin_to_plain(document["origin"])):
        raise InputFileError(f"{shown(source)} was changed after it was written; train the network again")
    if schema == SCHEMA_1:
        content = _from_schema_1(content, source)
    odd = sorted(map(shown, _ENTRIES ^ content.keys()))
    if odd:
        raise InputFileError(f"{shown(source)} has missing or unknown entries: {', '.join(odd):.80}")
    weights = _weights(place / WEIGHTS_FILE, str(content["weights_sha256"]))
    try:
        return _checked(_fitted(content, document, weights, model, source), source)
    except (DataError, ConfigurationError) as error:
        raise InputFileError(f"{shown(source)}: {error}") from error


def is_bundle(folder: str | Path) -> bool:
    """Tell whether ``folder`` is one that :func:`save_bundle` wrote, whole or damaged."""
    return any((Path(folder) / name).is_file() for name in (DESCRIPTION_FILE, WEIGHTS_FILE))


def _from_schema_1(content: dict[str, Any], source: Path) -> dict[str, Any]:
    """Return the entries of an old bundle as those of the present schema."""
    newer = sorted({"heads", "domain"} & content.keys())
    if newer:
        raise InputFileError(f"{shown(source)} has missing or unknown entries: {', '.join(newer)}")
    inputs, model = entry(content, "inputs", dict, source), entry(content, "model", dict, source)
    old = OLD_VALUES["GraphConvNet"] if model.get("class") == "GraphConvNet" else {}
    settings = {**old, **entry(model, "fields", dict, source)}
    return {
        **content,
        "heads": [],
        "domain": None,
        "inputs": {**OLD_VALUES["InputScaling"], **inputs},
        "model": {**model, "fields": settings},
    }


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
        "heads": list(fitted.heads),
        "trained_on": fitted.trained_on,
        "train_range": list(fitted.train_range),
        "domain": None if fitted.domain is None else _plain(fitted.domain),
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


def _digest(schema: str, content: Mapping[str, Any], warnings: tuple[str, ...], origin: Mapping[str, Any]) -> str:
    parts = [content, list(warnings), origin]
    text = json.dumps(parts if schema == SCHEMA_1 else [schema, *parts], sort_keys=True, ensure_ascii=False)
    # A file may hold halves of surrogate pairs; its digest is then that of no file that we wrote.
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def _split_digest(split: Split) -> str:
    parts = ["\x1f".join(part) for part in (split.train, split.validation, split.test)]
    return hashlib.sha256("\x1e".join(parts).encode()).hexdigest()


def _weights(source: Path, expected: str) -> dict[str, NDArray[Any]]:
    data = check_readable(source, MAX_WEIGHTS_BYTES).read_bytes()
    if hashlib.sha256(data).hexdigest() != expected:
        raise InputFileError(
            f"{shown(source)} is not the file that {DESCRIPTION_FILE} describes; train the network again"
        )
    return _arrays(data, source)


def _arrays(data: bytes, source: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of a file of weights, all of them finite."""
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
    domain = content["domain"]
    return Fitted(
        name=entry(content, "name", str, source),
        model=_model(entry(content, "model", dict, source), model, source),
        weights=weights,
        graph=_record(GraphSpec, entry(content, "graph", dict, source), source),
        inputs=_record(InputScaling, entry(content, "inputs", dict, source), source),
        scaling=_record(TargetScaling, entry(content, "scaling", dict, source), source),
        target=entry(content, "target", str, source),
        unit=entry(content, "unit", str, source),
        heads=_convert(content["heads"], tuple[str, ...], "heads", source),
        trained_on=entry(content, "trained_on", str, source),
        train_range=_convert(content["train_range"], tuple[float, float], "train_range", source),
        domain=None if domain is None else _record(TrainingDomain, entry(content, "domain", dict, source), source),
        split=parts,
        seed=entry(content, "seed", int, source),
        best_epoch=entry(content, "best_epoch", int, source),
        history=_history(history, source),
        warnings=document["warnings"],
        origin=document["origin"],
    )


def _checked(fitted: Fitted, source: Path) -> Fitted:
    """Return a model whose parts agree with each other, or raise one sentence."""
    inputs, features = fitted.inputs, (len(fitted.inputs.feature_min), len(fitted.inputs.feature_max))
    wrong = next(
        (
            sentence
            for sentence, holds in (
                ("the name, target, unit and heads must be printable", _printable(fitted)),
                (f"{features} lower and upper bounds of features must be {N_FEATURES}", features == (N_FEATURES,) * 2),
                ("the elements must be atomic numbers from 1 to 118", all(1 <= z <= 118 for z in inputs.elements)),
                (f"edge_law must be one of {', '.join(EDGE_LAWS)}", inputs.edge_law in EDGE_LAWS),
                (f"node_features must be one of {', '.join(NODE_FEATURES)}", inputs.node_features in NODE_FEATURES),
                ("the bounds of distances must be 0 ≤ minimum < maximum", _ordered(inputs)),
                ("the scale of the target must not be 0", fitted.scaling.scale != 0),
                ("the target must be one of the heads", not fitted.heads or fitted.target in fitted.heads),
                ("the best epoch must be one of the history", 0 <= fitted.best_epoch < max(1, len(fitted.history))),
                ("the seed must be at least 0 and below 2^64", 0 <= fitted.seed <= LARGEST_SEED),
            )
            if not holds
        ),
        None,
    )
    if wrong is not None:
        raise InputFileError(f"{shown(source)}: {wrong}{_AGAIN}")
    if type(fitted.model) in MODELS.values():
        # Without memory for its weights first: a few bytes of JSON can name a network of many gigabytes.
        import torch

        with torch.device("meta"), python_warnings.catch_warnings():
            python_warnings.simplefilter("ignore", UserWarning)
            network(fitted)
    network(fitted)  # raises unless names and shapes of the weights are those of the network
    return fitted


def _printable(fitted: Fitted) -> bool:
    return all(text.isprintable() for text in (fitted.name, fitted.target, fitted.unit, *fitted.heads))


def _ordered(inputs: InputScaling) -> bool:
    return 0 <= inputs.distance_min_A < inputs.distance_max_A < np.inf


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
    elif hint is float:
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST:
            return float(value)
    elif isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    raise InputFileError(f"{shown(source)}: {where} must be {hint}; got {value!r:.80}")
