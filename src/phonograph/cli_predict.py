"""The command ``phonograph predict``: trained networks on any structures a user has."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phonograph.errors import ConfigurationError

if TYPE_CHECKING:
    from phonograph.types import GraphModel


def add_predict(commands: Any) -> None:
    """Add the command to the parser."""
    text = "what trained networks say about structures of your own"
    parser = commands.add_parser(
        "predict",
        help=text,
        description=f"{text[0].upper()}{text[1:]}. Several bundles of one target are an ensemble: mean and standard "
        "deviation. Room 8, the property as a function of temperature, is `phonograph thermal`.",
    )
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="BUNDLE… STRUCTURES…",
        help="folders of trained networks, then files of structures: POSCAR, CIF, extxyz with any number of frames, "
        "XDATCAR, .traj, vasprun.xml, an ASE database, computed entries, phonopy.yaml, or a folder of POSCAR files",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help=".csv, or .extxyz with the structures; else printed as CSV"
    )
    parser.add_argument(
        "--model", metavar="MODULE:FUNCTION", help="builds the network of a bundle whose network is your own code"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")
    parser.set_defaults(function=_predict)


def _predict(options: argparse.Namespace) -> int:
    from phonograph.console import Console
    from phonograph.files.predictions import predictions_csv, save_predictions
    from phonograph.steps.prediction import predict_structures

    bundles, structures = _sorted_out([Path(path) for path in options.paths])
    _check_output(options.output)
    model = _model(options.model) if options.model else None
    with Console(quiet=options.quiet) as console:
        made = predict_structures(bundles, structures, model=model, progress=console.progress)
    for sentence in made.warnings:
        print(f"warning: {sentence}", file=sys.stderr)  # noqa: T201
    if options.output is None:
        print(predictions_csv(made), end="")  # noqa: T201
        return 0
    save_predictions(made, options.output)
    targets = ", ".join(f"{column.target} ({_count(len(column.models))})" for column in made.columns)
    print(f"wrote {options.output}: {targets} of {len(made)} structures, {int(made.outside.sum())} outside training")  # noqa: T201
    return 0


def _count(networks: int) -> str:
    return "1 network" if networks == 1 else f"{networks} networks"


def _sorted_out(paths: list[Path]) -> tuple[list[Path], list[Path]]:
    """Tell bundles from structures by what each path is."""
    from phonograph.files.bundle import is_bundle

    config = next((path for path in paths if path.suffix == ".toml"), None)
    if config is not None:
        raise ConfigurationError(
            f"{config} is a configuration; the property as a function of temperature is: phonograph thermal {config} "
            "-o RUN"
        )
    missing = next((path for path in paths if not path.exists()), None)
    if missing is not None:
        raise ConfigurationError(f"{missing} does not exist; give folders of trained networks, then structures")
    bundles = [path for path in paths if is_bundle(path)]
    structures = [path for path in paths if path not in bundles]
    if not bundles:
        raise ConfigurationError(
            f"{paths[0]} is not a bundle, a folder with model.json and model.safetensors such as "
            "RUN/5_training/band_gap_eV-phonon-seed0; give one before the structures"
        )
    if not structures:
        raise ConfigurationError("predict needs structures after the bundles; got none")
    return bundles, structures


def _check_output(output: Path | None) -> None:
    """Refuse a name that cannot be written before anything is computed."""
    if output is not None and output.suffix.lower() not in (".csv", ".extxyz", ".xyz"):
        raise ConfigurationError(f"{output}: predictions are written as .csv or .extxyz; choose such a name with -o")


def _model(place: str) -> GraphModel:
    """Import the function that returns a user's own network and call it."""
    module, _, name = place.partition(":")
    advice = "give MODULE:FUNCTION of a function without arguments, in a module that can be imported"
    sys.path.insert(0, "")
    try:
        found = getattr(importlib.import_module(module), name, None)
    except (ImportError, ValueError) as error:
        raise ConfigurationError(f"--model {place}: {module!r} cannot be imported ({error}); {advice}") from error
    finally:
        sys.path.remove("")
    if not callable(found):
        raise ConfigurationError(f"--model {place}: {name!r} is not a function of {module!r}; {advice}")
    model: GraphModel = found()
    return model
