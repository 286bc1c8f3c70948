"""Everything the report shows, gathered: results of the rooms and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np

from phonograph.report.palette import set_colours
from phonograph.types import (
    Certificate,
    Configurations,
    Crystal,
    Evaluation,
    Explanation,
    Fitted,
    FloatArray,
    HyperparameterStudy,
    Labels,
    LearningCurve,
    NoiseFloor,
    Phonons,
    Study,
    ThermalCurve,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class ReportMaterial:
    """What :func:`phonograph.report.write_report` shows; only the title is required.

    A section whose data is absent says so in one sentence.

    Attributes
    ----------
    title
        Title of the report; any text, it is escaped.
    crystal
        The reference crystal (the cell of the structure file).
    phonons, sets, certificates, labels, study, fits, evaluation, explanations, curve
        Results of the rooms; of ``fits`` only name, architecture, target, history, range and split are shown.
    hyperparameters
        The study of a grid, made by ``phonograph study``; ``study`` is the small one of :func:`phonograph.run_study`.
    target
        Property that the key numbers and the open figures are about; empty: that of the explanation, the
        curve, the first metric or the first label column, in this order.
    noise
        The label-noise floor, drawn where errors are; None where it was not measured.
    learning_curve
        Errors against the number of labels; None where they were not measured.
    warnings
        (room, sentence) of every warning raised; the sets', labels' and models' own warnings must be in it.
    limits
        Further sentences for the box "What this does not show".
    manifest
        Plain values: ``command``, ``versions``, ``seeds``, ``hashes``, ``timings_s`` (room → seconds) and whatever
        else the run recorded; nested mappings become tables.
    config_toml
        The resolved configuration.
    citations
        References to cite, one sentence each; a DOI in it becomes a link.
    """

    title: str
    crystal: Crystal | None = None
    phonons: Phonons | None = None
    sets: tuple[Configurations, ...] = ()
    certificates: tuple[Certificate, ...] = ()
    labels: Labels | None = None
    study: Study | None = None
    hyperparameters: HyperparameterStudy | None = None
    fits: tuple[Fitted, ...] = ()
    evaluation: Evaluation | None = None
    explanations: tuple[Explanation, ...] = ()
    curve: ThermalCurve | None = None
    target: str = ""
    noise: NoiseFloor | None = None
    learning_curve: LearningCurve | None = None
    warnings: tuple[tuple[str, str], ...] = ()
    limits: tuple[str, ...] = ()
    manifest: Mapping[str, Any] = field(default_factory=dict)
    config_toml: str = ""
    citations: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "manifest", MappingProxyType(dict(self.manifest)))

    @cached_property
    def set_names(self) -> tuple[str, ...]:
        """Names of the sets in their order, from the sets, the labels and the training collections."""
        names = [item.name for item in self.sets]
        names += [item.name for item in self.certificates]
        names += self.labels.set_names if self.labels else ()
        names += [item.trained_on for item in self.fits]
        if self.evaluation:
            names += [name for row in self.evaluation.metrics for name in (row.trained_on, row.tested_on)]
        if self.learning_curve:
            trained = [row.trained_on for row in self.learning_curve.points]
            names += sorted(trained, key=lambda name: "-at-" in name)  # these need no colour of their own
        return tuple(dict.fromkeys(names))

    @cached_property
    def colours(self) -> Mapping[str, str]:
        """One colour per set, the same in every figure."""
        return set_colours(self.set_names)

    @cached_property
    def main_target(self) -> str:
        """The property that the key numbers are about; empty where nothing is predicted or labelled."""
        candidates = [self.target, *(item.target for item in self.explanations)]
        candidates += [point.target for point in self.curve.points] if self.curve else []
        candidates += [row.target for row in self.evaluation.metrics] if self.evaluation else []
        candidates += [item.target for item in self.fits]
        candidates += [column.name for column in self.labels.columns] if self.labels else []
        return next((name for name in candidates if name), "")

    @cached_property
    def targets(self) -> tuple[str, ...]:
        """All predicted properties, the main one first."""
        names = [self.main_target, *(item.target for item in self.fits)]
        names += [row.target for row in self.evaluation.metrics] if self.evaluation else []
        return tuple(dict.fromkeys(name for name in names if name))

    @cached_property
    def reference(self) -> Crystal | None:
        """The crystal that displacements refer to: the supercell of the phonons, or of the explanation."""
        if self.phonons is not None:
            return self.phonons.supercell
        return self.explanations[0].crystal if self.explanations else self.crystal

    @cached_property
    def first_sites(self) -> Crystal | None:
        """The equilibrium sites of the first configuration whose displacements are known, where nothing else is."""
        for configurations in self.sets:
            shifts = configurations.displacements_A[: configurations.offsets[1]]
            if np.isfinite(shifts).all():
                crystal = configurations.crystal(0)
                return replace(crystal, positions_A=crystal.positions_A - shifts, title="")
        return None


def displacements(configurations: Configurations) -> FloatArray:
    """Return the known displacements of a set, Å, shape (atoms with a known site, 3)."""
    values = configurations.displacements_A
    return values[np.isfinite(values).all(axis=1)]


def rms_displacement(configurations: Configurations) -> FloatArray:
    """Return √⟨u²⟩ over atoms and axes of each configuration, Å; NaN where displacements are unknown."""
    squares = (configurations.displacements_A**2).mean(axis=1)
    starts = configurations.offsets[:-1]
    return np.sqrt(np.add.reduceat(squares, starts) / np.diff(configurations.offsets))
