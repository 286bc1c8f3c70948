"""``phonograph init``: a commented configuration, generated from the settings dataclasses themselves."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from phonograph.atomic import write_text
from phonograph.config import (
    SAMPLERS,
    Config,
    CrystalConfig,
    ExplanationConfig,
    SamplingConfig,
    ThermalConfig,
    TrainingConfig,
)
from phonograph.config_labels import LABELLERS, LabelsConfig
from phonograph.config_phonons import PhononsConfig, TrajectoryConfig
from phonograph.config_study import StudyConfig
from phonograph.execution.cluster_settings import ClusterSettings
from phonograph.phonons import MolecularDynamics, Relaxation, Renormalisation
from phonograph.tables import to_table
from phonograph.types import Crystal

WIDTH = 110

LONG_ENOUGH_A = 9.0
"""Edges of the proposed supercell are this long, Å, where :data:`MOST_ATOMS` allows it."""

MOST_ATOMS = 64
"""Most atoms of the proposed supercell, so that a first run takes minutes."""

METALS = frozenset(
    "Li Be Na Mg Al K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Cs Ba La Ce Pr Nd "
    "Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb".split()
)
"""A crystal of these elements alone is taken for a metal."""


def write_template(structure: Path, output: Path) -> None:
    """Read ``structure`` (so that a bad file is told at once) and write a commented configuration for it."""
    from phonograph.files.structures import read_structure

    crystal = read_structure(structure)
    folder = output.absolute().parent
    name = os.path.relpath(structure.absolute(), folder)
    supercell, forces = _of_phonopy(structure)
    write_text(output, template(crystal, name, supercell, os.path.relpath(forces, folder) if forces else ""))


def template(
    crystal: Crystal, file: str, supercell: tuple[int, ...] | None = None, force_constants_file: str = ""
) -> str:
    """Return the configuration for ``crystal`` as TOML text; every line not commented out is a choice made.

    Parameters
    ----------
    crystal, file
        The crystal, and its file as the configuration is to name it.
    supercell
        Three multiples or nine integers (rows); without one, the smallest with all edges of 9 Å or more and at most
        :data:`MOST_ATOMS` atoms.
    force_constants_file
        Force constants that are there already.
    """
    supercell = supercell or _multiples(crystal)
    metal = METALS.issuperset(crystal.symbols)
    parts = [
        f"# Phonograph configuration for {crystal.formula} ({len(crystal)} atoms in the file's cell).",
        "# Run it:  phonograph run THIS_FILE -o runs/NAME      Change one value:  --set sampling.n=200",
        "",
        *_lines(Config(title=f"{crystal.formula} at finite temperature"), skip=_TABLES),
        "",
        "[crystal]",
        *_lines(CrystalConfig(file=file, supercell=supercell)),
        f"# {_size(crystal, supercell)}",
        *([] if metal else ["# Band gaps are those at its Γ point: choose one that folds both band edges onto Γ."]),
        "# Symmetry-kept relaxation before the phonons; take the '#' off to use it.",
        *_commented("[crystal.relaxation]", Relaxation()),
        "",
        "[phonons]",
        *_lines(PhononsConfig(file=force_constants_file), skip=_PHONON_TABLES),
        "[phonons.forces]",
        *_lines(PhononsConfig().forces),
        "# Renormalisation at temperature: needed where the crystal has imaginary modes at 0 K.",
        "# Three routes: self-consistent (options below), mode-projection and regression (options: docs/1_phonons.md).",
        *_commented("[phonons.renormalisation]", Renormalisation(), 'route = "self-consistent"'),
        '# Molecular dynamics for "mode-projection" and "regression": a file that you have, or a run to make.',
        *_commented("[phonons.trajectory]", TrajectoryConfig(file="XDATCAR")),
        *_commented("[phonons.molecular_dynamics]", MolecularDynamics()),
        "",
        "[sampling]",
        *_lines(SamplingConfig(), skip=("sets",)),
        *_sets(),
        "[labels]",
        *_lines(LabelsConfig(), skip=("engines",)),
        "# Labels on a cluster instead of this machine (docs/cluster.md); nothing else changes.",
        *_commented("[labels.executor]", ClusterSettings(cores_per_node=32)),
        *_engines(metal),
        "[graphs]",
        *_lines(Config().graphs),
        "",
        *_training(metal),
        "# Many networks compared, by: phonograph study (docs/study.md); the paper's grid where no axes are given.",
        *_commented("[study]", StudyConfig()),
        *_commented("[study.halving]", StudyConfig().halving),
        "",
        "[evaluation]",
        *_lines(Config().evaluation),
        "# Errors against the number of labels: phonograph learning-curve THIS_FILE -o runs/NAME.",
        *_commented("[learning_curve]", Config().learning_curve),
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


_PHONON_TABLES = ("forces", "renormalisation", "trajectory", "molecular_dynamics")
_TABLES = tuple(item.name for item in fields(Config) if item.name not in ("title", "seed", "workers"))


def _of_phonopy(structure: Path) -> tuple[tuple[int, ...] | None, Path | None]:
    """Return the supercell that a phonopy YAML file names, and the force constants in it or beside it."""
    from phonograph.files.phonopy_yaml import read_phonopy_yaml
    from phonograph.files.structures import structure_format

    if structure_format(structure) != "phonopy":
        return None, None
    file = read_phonopy_yaml(structure)
    # phonopy's matrix is the transpose of ours.
    rows = None if file.supercell_matrix is None else tuple(int(x) for x in file.supercell_matrix.T.ravel())
    if rows is not None and not any(rows[k] for k in (1, 2, 3, 5, 6, 7)):
        rows = (rows[0], rows[4], rows[8])
    if file.force_constants_eV_per_A2 is not None:
        return rows, structure.absolute()
    beside = (structure.absolute().parent / name for name in ("FORCE_SETS", "FORCE_CONSTANTS", "force_constants.hdf5"))
    return rows, next((path for path in beside if path.is_file()), None)


def _multiples(crystal: Crystal) -> tuple[int, ...]:
    """Lengthen the shortest edges, equal ones together, until all are long enough or the cell is too large."""
    lengths = np.linalg.norm(crystal.cell_A, axis=1)
    multiples = np.ones(3, dtype=int)
    while (multiples * lengths).min() < LONG_ENOUGH_A:
        edges = multiples * lengths
        longer = multiples + (edges < 1.01 * edges.min())
        if len(crystal) * longer.prod() > MOST_ATOMS:
            break
        multiples = longer
    return tuple(int(multiple) for multiple in multiples)


def _size(crystal: Crystal, supercell: tuple[int, ...]) -> str:
    matrix = np.diag(supercell) if len(supercell) == 3 else np.reshape(supercell, (3, 3))
    edges = ", ".join(f"{edge:.1f}" for edge in np.linalg.norm(matrix @ crystal.cell_A, axis=1))
    atoms = len(crystal) * abs(round(float(np.linalg.det(matrix))))
    return f"This supercell has {atoms} atoms and edges of {edges} Å."


def _sets() -> list[str]:
    lines = []
    choices = {"phonon": "thermal", "random": "paper-eq2", "matched": "matched-random"}
    for name, sampler_name in choices.items():
        sampler = SAMPLERS[sampler_name](**({"match": "phonon"} if sampler_name == "matched-random" else {}))
        skip = ("rms_A",)
        lines += ["", "[[sampling.sets]]", f'name = "{name}"', f'sampler = "{sampler_name}"']
        lines += _lines(sampler, skip=skip)
    return [*lines, f"# Other samplers: {', '.join(sorted(set(SAMPLERS) - set(choices.values())))}.", ""]


def _engines(metal: bool) -> list[str]:
    lines = ["# A metal has no band gap, so that the energy is labelled and learned."] if metal else []
    for name in ("chgnet",) if metal else ("chgnet", "tblite"):
        engine = LABELLERS[name]()
        lines += ["", "[[labels.engines]]", f'engine = "{name}"', f"# gives {', '.join(engine.provides)}"]
        lines += _lines(engine)
    return [*lines, ""]


def _training(metal: bool) -> list[str]:
    defaults = TrainingConfig(targets=("energy_eV_per_atom",)) if metal else TrainingConfig()
    return [
        "[training]",
        *_lines(defaults, skip=("collections", "model", "settings")),
        "[training.collections]",
        'phonon = ["phonon"]',
        'random = ["random"]',
        'combined = ["phonon", "random"]',
        "[training.model]",
        *_lines(defaults.model),
        "[training.settings]",
        *_lines(defaults.settings),
        "",
    ]


def _commented(header: str, settings: Any, *first: str) -> list[str]:
    lines = [header, *first, *_lines(settings)]
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

    if isinstance(value, list):
        return f"[{', '.join(_value(item) for item in value)}]"
    return tomli_w.dumps({"v": value}, multiline_strings=False).strip().removeprefix("v = ").replace("\n", " ")
