"""Trained networks as an ASE calculator."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from ase.calculators.calculator import Calculator, all_changes

from phonograph.errors import DataError
from phonograph.graphs import build_graphs
from phonograph.models.derivatives import Derivatives, differentiate, roughness
from phonograph.models.domain import outside
from phonograph.models.ensemble import distinct
from phonograph.models.predict import predict
from phonograph.types import Configurations, Crystal, Fitted, FloatArray, GraphSet, GraphSpec

PER_ATOM, TOTAL = "energy_eV_per_atom", "energy_eV"
"""Targets that are energies; the first is multiplied by the number of atoms."""


class PhonographCalculator(Calculator):  # type: ignore[misc]
    """An ASE calculator of trained networks.

    Every target is a scalar in ``results``, for example ``results["band_gap_eV"]``; several networks of one target are
    an ensemble, whose mean it is, with ``results["band_gap_eV_std"]``.  A target that is an energy gives ``energy``,
    and by automatic differentiation through the distances

        F = −∂E/∂r,    σ = (1/V) ∂E/∂ε (symmetric part; ASE's sign, positive = tensile),

    ``forces`` in eV/Å and ``stress`` in eV/Å³ (Voigt).  ``results["outside_training"]`` tells whether the crystal
    leaves the training crystals of any network.  A network trained on energies alone learns forces from differences of
    labels only: compare them with an engine's before using them.  Max pooling and ReLU give forces with kinks; an edge
    law that does not vanish at the cutoff (``minmax``) gives energies that jump, which is warned of.

    Parameters
    ----------
    fits
        One trained network or several, for example ``load_bundle(folder)``; copies count once, with a warning.
    arguments
        For :class:`ase.calculators.calculator.Calculator`.

    Raises
    ------
    DataError
        When there is no network, networks of one target have different units, or both kinds of energy are given.

    Examples
    --------
    >>> atoms.calc = PhonographCalculator(load_bundle("bundle"))  # doctest: +SKIP
    """

    default_parameters: ClassVar[dict[str, Any]] = {}

    def __init__(self, fits: Fitted | Sequence[Fitted], **arguments: Any) -> None:
        self.fits, copies = distinct((fits,) if isinstance(fits, Fitted) else tuple(fits))
        for sentence in copies:
            warnings.warn(sentence, stacklevel=2)
        self.targets = tuple(dict.fromkeys(fitted.target for fitted in self.fits))
        _check(self.fits, self.targets)
        self.energy_target = next((name for name in self.targets if name in (PER_ATOM, TOTAL)), "")
        energies = ["energy", "free_energy", "forces", "stress"] if self.energy_target else []
        self.implemented_properties = [*energies, *self.targets]
        for fitted in self.fits:
            for sentence in roughness(fitted):
                if fitted.target == self.energy_target and sentence.startswith("jumps"):
                    warnings.warn(f"{fitted.name} {sentence}", stacklevel=2)
        super().__init__(**arguments)

    def calculate(
        self,
        atoms: Any = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Fill ``results``; called by ASE.

        Raises
        ------
        DataError
            When the atoms are not periodic in all directions, or hold an element that a network does not know.
        """
        super().calculate(atoms, properties, system_changes)
        crystal = _crystal(self.atoms)
        graphs = _graphs(crystal, self.fits)
        derivatives = bool({"forces", "stress"} & set(properties))
        values: dict[str, list[float]] = {}
        found: list[Derivatives] = []
        for fitted in self.fits:
            graph = graphs[fitted.graph]
            if derivatives and fitted.target == self.energy_target:
                found.append(differentiate(fitted, graph, crystal.positions_A, crystal.cell_A))
                value = found[-1].value
            else:
                value = float(predict(fitted, graph)[0])
            values.setdefault(fitted.target, []).append(value)
        for target, several in values.items():
            self.results[target] = float(np.mean(several))
            if len(several) > 1:
                self.results[f"{target}_std"] = float(np.std(several, ddof=1))
        self.results["outside_training"] = any(_leaves(fitted, graphs[fitted.graph]) for fitted in self.fits)
        if self.energy_target:
            self._energies(crystal, found)

    def _energies(self, crystal: Crystal, found: Sequence[Derivatives]) -> None:
        factor = len(crystal) if self.energy_target == PER_ATOM else 1
        self.results["energy"] = self.results["free_energy"] = factor * self.results[self.energy_target]
        if found:
            strain = factor * np.mean([item.strain_gradient for item in found], axis=0)
            volume = abs(float(np.linalg.det(crystal.cell_A)))
            self.results["forces"] = -factor * np.mean([item.gradient for item in found], axis=0)
            self.results["stress"] = _voigt((strain + strain.T) / (2 * volume))


def _check(fits: Sequence[Fitted], targets: Sequence[str]) -> None:
    if not fits:
        raise DataError("a calculator needs at least one trained network; got none")
    for target in targets:
        units = sorted({fitted.unit for fitted in fits if fitted.target == target})
        if len(units) > 1:
            raise DataError(f"networks of {target} have different units: {', '.join(units)}; use networks of one unit")
    if {PER_ATOM, TOTAL} <= set(targets):
        raise DataError(f"networks of {PER_ATOM} and of {TOTAL} are two energies; give one of them")


def _crystal(atoms: Any) -> Crystal:
    if not all(atoms.pbc):
        raise DataError(
            "the networks are of crystals, but these atoms are not periodic in all directions; set pbc=True"
        )
    return Crystal(cell_A=np.asarray(atoms.cell), positions_A=atoms.positions, numbers=atoms.numbers)


def _graphs(crystal: Crystal, fits: Sequence[Fitted]) -> dict[GraphSpec, GraphSet]:
    made = Configurations.of_crystals("atoms", [crystal], ["atoms"])
    return {spec: build_graphs(made, spec) for spec in {fitted.graph for fitted in fits}}


def _leaves(fitted: Fitted, graph: GraphSet) -> bool:
    found = outside(fitted, graph)
    return bool(found.short_edges[0] or found.long_edges[0] or found.composition[0] or found.density[0])


def _voigt(stress: FloatArray) -> FloatArray:
    return np.asarray(stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]])
