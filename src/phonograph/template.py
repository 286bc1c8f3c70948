"""``phonograph init``: a commented configuration, generated from the settings dataclasses themselves."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from phonograph.atomic import write_text
from phonograph.config import (
    LABELLERS,
    SAMPLERS,
    Config,
    CrystalConfig,
    ExplanationConfig,
    LabelsConfig,
    PhononsConfig,
    SamplingConfig,
    ThermalConfig,
    TrainingConfig,
)
from phonograph.phonons import Relaxation, Renormalisation
from phonograph.tables import to_table
from phonograph.types import Crystal

WIDTH = 110


def write_template(structure: Path, output: Path) -> None:
    """Read ``structure`` (so that a bad file is told at once) and write a commented configuration for it."""
    from phonograph.files.structures import read_structure

    crystal = read_structure(structure)
    name = os.path.relpath(structure.absolute(), output.absolute().parent)
    write_text(output, template(crystal, name))


def template(crystal: Crystal, file: str) -> str:
    """Return the configuration for ``crystal`` as TOML text; every line not commented out is a choice made."""
    supercell = _about_forty_atoms(len(crystal))
    parts = [
        f"# Phonograph configuration for {crystal.formula} ({len(crystal)} atoms in the file's cell).",
        "# Run it:  phonograph run THIS_FILE -o runs/NAME      Change one value:  --set sampling.n=200",
        "",
        *_lines(Config(title=f"{crystal.formula} at finite temperature"), skip=_TABLES),
        "",
        "[crystal]",
        *_lines(CrystalConfig(file=file, supercell=supercell)),
        "# Symmetry-kept relaxation before the phonons; take the '#' off to use it.",
        *_commented("[crystal.relaxation]", Relaxation()),
        "",
        "[phonons]",
        *_lines(PhononsConfig(), skip=("forces", "renormalisation")),
        "[phonons.forces]",
        *_lines(PhononsConfig().forces),
        "# Renormalisation at temperature: needed where the crystal has imaginary modes at 0 K.",
        *_commented("[phonons.renormalisation]", Renormalisation()),
        "",
        "[sampling]",
        *_lines(SamplingConfig(), skip=("sets",)),
        *_sets(),
        "[labels]",
        *_lines(LabelsConfig(), skip=("engines",)),
        *_engines(),
        "[graphs]",
        *_lines(Config().graphs),
        "",
        *_training(),
        "[evaluation]",
        *_lines(Config().evaluation),
        "",
        "[explanation]",
        *_lines(ExplanationConfig(), skip=("explainer",)),
        "[explanation.explainer]",
        *_lines(ExplanationConfig().explainer),
        "",
        "[thermal]",
        *_lines(ThermalConfig(), skip=("sampler",)),
        "[thermal.sampler]",
        *_lines(ThermalConfig().sampler, skip=("temperature_K",)),
    ]
    return "\n".join(parts) + "\n"


_TABLES = tuple(item.name for item in fields(Config) if item.name not in ("title", "seed", "workers"))


def _about_forty_atoms(atoms: int) -> tuple[int, int, int]:
    multiple = max(1, min(4, round((40 / atoms) ** (1 / 3))))
    return (multiple, multiple, multiple)


def _sets() -> list[str]:
    lines = []
    choices = {"phonon": "thermal", "random": "paper-eq2", "matched": "matched-random"}
    for name, sampler_name in choices.items():
        sampler = SAMPLERS[sampler_name](**({"match": "phonon"} if sampler_name == "matched-random" else {}))
        skip = ("rms_A",)
        lines += ["", "[[sampling.sets]]", f'name = "{name}"', f'sampler = "{sampler_name}"']
        lines += _lines(sampler, skip=skip)
    return [*lines, f"# Other samplers: {', '.join(sorted(set(SAMPLERS) - set(choices.values())))}.", ""]


def _engines() -> list[str]:
    lines: list[str] = []
    for name in ("chgnet", "tblite"):
        engine = LABELLERS[name]()
        lines += ["", "[[labels.engines]]", f'engine = "{name}"', f"# gives {', '.join(engine.provides)}"]
        lines += _lines(engine)
    return [*lines, ""]


def _training() -> list[str]:
    defaults = TrainingConfig()
    return [
        "[training]",
        *_lines(defaults, skip=("collections", "study", "model", "settings")),
        "[training.collections]",
        'phonon = ["phonon"]',
        'random = ["random"]',
        'combined = ["phonon", "random"]',
        "[training.study]",
        *_lines(defaults.study),
        "[training.model]",
        *_lines(defaults.model),
        "[training.settings]",
        *_lines(defaults.settings),
        "",
    ]


def _commented(header: str, settings: Any) -> list[str]:
    lines = [header, *_lines(settings)]
    return [line if line.startswith("#") else f"# {line}" for line in lines]


def _lines(settings: Any, skip: tuple[str, ...] = ()) -> list[str]:
    """Return ``key = value`` lines of one table, each under its help."""
    plain = to_table(settings)
    lines = []
    for item in fields(settings):
        value = getattr(settings, item.name)
        if item.name in skip or item.name not in plain or is_dataclass(value) or isinstance(value, Mapping):
            continue
        text = item.metadata.get("help", "")
        choices = item.metadata.get("choices")
        if choices:
            text += f" One of: {', '.join(str(choice) for choice in choices)}."
        lines += [f"# {line}" for line in textwrap.wrap(text, WIDTH)]
        lines.append(f"{item.name} = {_value(plain[item.name])}")
    return lines


def _value(value: Any) -> str:
    import tomli_w

    return tomli_w.dumps({"v": value}, multiline_strings=False).strip().removeprefix("v = ").replace("\n", " ")
